//! The system calls of the binary: start-up, signals and the timer, the files it is for, one write, exit.

mod strace {
    use std::path::Path;

    use crate::common::ProcRoot;
    use crate::common::plugin::check_after;

    /// The system calls of a run, one a line, without the process id.
    fn trace(arguments: &[&str]) -> (Vec<String>, Vec<u8>) {
        let log = crate::common::new_file();
        let path = log.path().to_str().unwrap();
        let words = ["strace", "-f", "-s", "4096", "-o", path];
        let output = check_after(&words, arguments).output().unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let calls = std::fs::read_to_string(log.path()).unwrap();
        let calls = calls
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned())
            .collect();
        (calls, output.stdout)
    }

    fn name(call: &str) -> &str {
        call.split('(').next().unwrap_or_default()
    }

    /// The live kernel.
    mod netns {
        use super::*;
        use crate::common::conntrack;
        use crate::common::namespaces::{Namespaces, inside};
        use crate::common::network::loopback_up;

        #[test]
        fn an_ordinary_run_reads_four_files_and_writes_once() {
            inside!(Namespaces::Network);
            loopback_up();
            reads_four_files_and_writes_once(true);
            conntrack::insert(&conntrack::udp(1..=1));
            reads_four_files_and_writes_once(false);
        }
    }

    fn reads_four_files_and_writes_once(empty: bool) {
        let nowhere = "/nonexistent/state";
        let (calls, stdout) = trace(&["--state-dir", nowhere]);
        let begin = calls
            .iter()
            .position(|call| call.starts_with("alarm("))
            .expect("the timer is set");
        let at = |what| calls.iter().position(|call| call.starts_with(what));
        let handled = at("rt_sigaction(SIGHUP, {").expect("a handler");
        assert!(Some(handled) < at("prctl("), "signals come first");
        // start-up: the C library, the Rust runtime, capabilities, signals
        for call in &calls[..begin] {
            let expected = [
                "execve",
                "brk",
                "arch_prctl",
                "set_tid_address",
                "set_robust_list",
                "rseq",
                "prlimit64",
                "readlink",
                "readlinkat",
                "getrandom",
                "mprotect",
                "poll",
                "rt_sigaction",
                "rt_sigprocmask",
                "sched_getaffinity",
                "sigaltstack",
                "mmap",
                "munmap",
                "gettid",
                "newfstatat",
                "fstat",
                "read",
                "close",
                "capset",
                "capget",
                "prctl",
                "access",
                "pread64",
            ];
            // the runtime looks up its own stack, to tell an overflow from another fault
            let stack = name(call) == "openat" && call.contains("\"/proc/self/maps\"");
            // a binary that is not static loads its libraries
            let library =
                name(call) == "openat" && (call.contains(".so") || call.contains("/etc/ld.so"));
            assert!(
                expected.contains(&name(call)) || stack || library,
                "at start-up: {call}"
            );
        }
        // nothing is parsed before the privileges are gone
        let gone = calls[..begin]
            .iter()
            .position(|call| call.starts_with("capset(") && call.contains("effective=0,"));
        let no_new = calls[..begin]
            .iter()
            .position(|call| call.starts_with("prctl(PR_SET_NO_NEW_PRIVS, 1"));
        assert!(no_new.unwrap() < gone.unwrap());
        let mut opened = Vec::new();
        let mut written = 0;
        let count = "/proc/sys/net/netfilter/nf_conntrack_count";
        for call in &calls[begin + 1..] {
            match name(call) {
                "openat" => {
                    let path = call.split('"').nth(1).unwrap();
                    assert!(call.contains("O_RDONLY"), "{call}");
                    opened.push(path.to_owned());
                }
                "write" => {
                    written += 1;
                    assert!(call.starts_with("write(1, "), "{call}");
                }
                "read" | "close" | "brk" | "mmap" | "munmap" | "sigaltstack" | "exit_group" => {}
                // the capability that was retained is given up when nothing can need it any more
                "capset" => assert!(call.contains("effective=0, permitted=0"), "{call}"),
                // where the table is empty: connections to other hosts, and which addresses are this host's own
                "socket" | "bind" | "setsockopt" | "sendto" | "ppoll" | "recvfrom" if empty => {
                    let socket = ["NETLINK_SOCK_DIAG", "NETLINK_ROUTE"];
                    assert!(
                        name(call) != "socket" || socket.iter().any(|kind| call.contains(kind)),
                        "{call}"
                    );
                }
                // the runtime's own check of descriptors, where debug assertions are on
                "fcntl" if call.contains("F_GETFD") => {}
                _ => assert!(call.starts_with("+++ exited"), "after start-up: {call}"),
            }
        }
        assert_eq!(written, 1, "one write");
        assert!(!stdout.is_empty());
        if empty {
            assert_eq!(opened[4], "/proc/net/snmp");
            let sockets = ["snmp", "modules", "tcp", "tcp6"].map(|name| match name {
                "modules" => format!("/proc/{name}"),
                name => format!("/proc/net/{name}"),
            });
            opened.retain(|path| !sockets.contains(path));
        }
        let expected = [
            count,
            "/proc/sys/net/netfilter/nf_conntrack_max",
            "/proc/sys/net/netfilter/nf_conntrack_buckets",
            "/proc/net/stat/nf_conntrack",
            nowhere,
            "/run/check_conntrack",
        ];
        assert_eq!(opened, expected);
    }

    #[test]
    fn everything_is_read_below_the_proc_root() {
        let root = ProcRoot::tracking("850\n", "1000\n");
        let shown = root.path().to_str().unwrap();
        let nowhere = root.path().join("nonexistent");
        let state = ["--state-dir", nowhere.to_str().unwrap()];
        for arguments in [&["--proc-root", shown][..], &["--proc-root", shown, "-vvv"]] {
            let (calls, _) = trace(&[arguments, &state].concat());
            let begin = calls
                .iter()
                .position(|call| call.starts_with("alarm("))
                .unwrap();
            for call in calls[begin..]
                .iter()
                .filter(|call| call.contains('"') && name(call) != "write")
            {
                let path = call.split('"').nth(1).unwrap();
                assert!(name(call) == "read" || path.starts_with(shown), "{call}");
            }
        }
    }

    #[test]
    fn connections_are_looked_at_where_the_table_is_empty_and_netlink_only_on_the_live_kernel() {
        for (count, looks) in [("0\n", true), ("1\n", false)] {
            let root = ProcRoot::tracking(count, "1000\n");
            let shown = root.path().to_str().unwrap();
            let (calls, _) = trace(&["--proc-root", shown, "--empty", "critical"]);
            let opens = |name: &str| {
                let path = format!("\"{shown}/{name}\"");
                calls.iter().any(|call| call.contains(&path))
            };
            for name in ["net/snmp", "net/tcp"] {
                assert_eq!(opens(name), looks, "{name} with count {count}");
            }
            let netlink = calls.iter().find(|call| call.contains("AF_NETLINK"));
            assert_eq!(netlink, None);
        }
    }

    #[test]
    fn a_state_is_written_beside_the_old_one_and_renamed_after_the_answer() {
        let root = ProcRoot::tracking("850\n", "1000\n");
        let boot = "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7\n";
        root.file("sys/kernel/random/boot_id", boot);
        let state = crate::common::new_folder();
        let arguments = ["--proc-root", "--state-dir"]
            .iter()
            .zip([root.path(), state.path()]);
        let arguments: Vec<&str> = arguments
            .flat_map(|(option, path)| [*option, path.to_str().unwrap()])
            .collect();
        for uptime in ["100.00 1.00\n", "200.00 1.00\n"] {
            root.file("uptime", uptime);
            let (calls, _) = trace(&arguments);
            let mut changing = Vec::new();
            for call in &calls {
                let is_open = name(call).starts_with("open");
                let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
                match name(call) {
                    _ if is_open && !writes.iter().any(|flag| call.contains(flag)) => {}
                    "write" | "openat" | "fsync" | "renameat" | "renameat2" | "rename"
                    | "unlink" | "unlinkat" | "mkdir" | "mkdirat" | "chmod" | "fchmod"
                    | "fchmodat" | "link" | "linkat" | "symlink" | "symlinkat" | "truncate"
                    | "ftruncate" | "flock" | "chown" | "fchown" | "fchownat" | "utimensat"
                    | "pwrite64" | "writev" | "creat" | "open" => changing.push(call.as_str()),
                    _ => {}
                }
            }
            let names: Vec<&str> = changing.iter().map(|call| name(call)).collect();
            let expected = ["openat", "flock", "write", "write", "renameat"];
            let names: Vec<&str> = names.iter().map(|n| n.trim_end_matches('2')).collect();
            assert_eq!(names, expected, "{changing:#?}");
            // by a name in the directory that was opened, never by a path
            for call in [changing[0], changing[4]] {
                let paths: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
                assert!(
                    paths
                        .iter()
                        .all(|path| path.starts_with("check_conntrack-") && !path.contains('/')),
                    "{call}"
                );
            }
            for flag in ["O_EXCL", "O_NOFOLLOW", "O_CREAT", "0600"] {
                assert!(changing[0].contains(flag), "{}", changing[0]);
            }
            assert!(
                changing[3].starts_with("write(1, "),
                "the answer comes before the rename"
            );
        }
    }

    #[test]
    fn any_answer_is_one_write() {
        let root = ProcRoot::tracking("950\n", "1000\n");
        let shown = root.path().to_str().unwrap();
        for arguments in [
            &["-h"][..],
            &["-V"],
            &["--proc-root", shown, "--nope"],
            &["--proc-root", shown, "-vvv"],
            &["--proc-root", "/nowhere"],
        ] {
            let (calls, stdout) = trace(arguments);
            assert_eq!(
                calls
                    .iter()
                    .filter(|call| name(call).starts_with("write"))
                    .count(),
                1,
                "{arguments:?}"
            );
            assert!(!stdout.is_empty());
        }
    }

    #[test]
    fn interrupted_and_short_reads_and_writes_are_finished() {
        let root = ProcRoot::tracking("950\n", "1000\n");
        let shown = root.path().to_str().unwrap();
        let expected = root.answer(&[]);
        let count = root.path().join(crate::common::COUNT);
        let run = |inject: &str, path: Option<&Path>| {
            let mut words = vec!["strace", "-o", "/dev/null", "-e", inject];
            // only calls on this file, not those of the loader and the runtime
            words.extend(
                path.into_iter()
                    .flat_map(|path| ["-P", path.to_str().unwrap()]),
            );
            let output = check_after(&words, ["--proc-root", shown])
                .output()
                .unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stdout).unwrap(),
            )
        };
        let expected = (Some(expected.code), expected.text);
        assert_eq!(
            run("inject=read:error=EINTR:when=1+2", Some(&count)),
            expected
        );
        assert_eq!(run("inject=write:error=EINTR:when=1..3", None), expected);
        let (code, text) = run("inject=write:error=ENOSPC", None);
        assert_eq!((code, text.as_str()), (Some(3), ""));
        let (code, text) = run("inject=openat:error=EMFILE", Some(&count));
        assert!(
            code == Some(3) && text.contains("cannot be read: Too many open files"),
            "{text}"
        );
        let (code, text) = run("inject=read:error=EIO", Some(&count));
        assert!(
            code == Some(3) && text.contains("cannot be read: Input/output error"),
            "{text}"
        );
    }
}
