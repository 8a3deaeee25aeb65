//! Faults: system calls that fail, limits, memory that runs out, streams that are closed, tables and processes that
//! change meanwhile. Whatever happens there is one answer, and it is no lie. docs/internals/reliability.md has the table of them.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::plugin::check_after;
use crate::common::programs::file;
use crate::common::wait::{
    at_any_moment, holds, wait_for, wait_until_handled, wait_until_it_waits,
};
use crate::common::{Answer, ProcRoot, STATISTICS, STATISTICS_HEADER, check, statistics_row};

const BOOT: &str = "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7\n";

/// A host that can be compared with itself: so long after its start, having dropped so many packets.
fn host(uptime: &str, drop: u32) -> ProcRoot {
    let root = ProcRoot::tracking("850\n", "10000\n");
    root.file("sys/kernel/random/boot_id", BOOT);
    at(&root, uptime, drop);
    root
}

fn at(root: &ProcRoot, uptime: &str, drop: u32) {
    root.file("uptime", format!("{uptime} 1.00\n"));
    let row = statistics_row(drop, 0, 0, 0);
    root.file(STATISTICS, format!("{STATISTICS_HEADER}{row}"));
}

/// The arguments of a service for losses.
fn losses<'a>(root: &'a ProcRoot, state: &'a tempfile::TempDir) -> [&'a str; 6] {
    let [root, state] = [root.path(), state.path()].map(|path| path.to_str().unwrap());
    ["--proc-root", root, "--state-dir", state, "-c", "lost=0"]
}

/// The output and exit status of a run under these limits of prlimit.
fn under(limits: &[&str], arguments: &[&str]) -> Output {
    let words = [&["prlimit"][..], limits, &["--"]].concat();
    check_after(&words, arguments).output().unwrap()
}

fn entries_of(answer: &Answer) -> Option<u64> {
    Some(answer.value("entries")?[0].parse().unwrap())
}

/// Every system call of a run, failing once.
pub(crate) mod strace {
    use super::*;

    /// The errors of a call. Nothing for calls that cannot fail, or that fail in another way than by an error:
    /// brk(2) is refused by its result, which is what `limits` are for.
    pub(crate) fn errors(call: &str) -> &'static [&'static str] {
        match call {
            "openat" => &[
                "EMFILE", "ENFILE", "ENOMEM", "EINTR", "EACCES", "EIO", "EPERM", "ENOENT",
            ],
            "read" => &["EINTR", "EIO", "ENOMEM", "EAGAIN"],
            "write" => &["ENOSPC", "EINTR", "EIO", "EDQUOT", "EPIPE"],
            "close" => &["EIO", "EINTR"],
            "newfstatat" | "fstat" | "statx" => &["ENOMEM", "EACCES", "ENOENT", "EIO"],
            "socket" => &[
                "EMFILE",
                "ENOBUFS",
                "ENFILE",
                "EACCES",
                "EAFNOSUPPORT",
                "ENOMEM",
            ],
            "bind" => &["ENOMEM", "EACCES"],
            "sendto" => &["ENOBUFS", "EINTR", "ENOMEM", "EPERM"],
            "recvfrom" => &["ENOBUFS", "EINTR", "ENOMEM", "EIO"],
            "poll" | "ppoll" => &["EINTR", "ENOMEM"],
            "getsockopt" | "setsockopt" => &["ENOPROTOOPT"],
            "flock" => &["EINTR", "ENOLCK", "EIO", "EAGAIN"],
            "renameat" | "renameat2" => &["EROFS", "EIO", "ENOSPC"],
            "unlinkat" => &["EROFS", "EACCES", "EIO"],
            "getdents64" => &["EIO", "ENOMEM"],
            "fstatfs" => &["ENOSYS", "EIO"],
            "readlinkat" | "readlink" => &["EACCES", "ENOENT", "ENOMEM"],
            "faccessat2" | "faccessat" => &["EROFS", "EACCES", "ENOSYS"],
            "capget" | "capset" => &["EPERM"],
            "prctl" => &["EINVAL"],
            "getrandom" => &["ENOSYS"],
            "fcntl" => &["ENOMEM"],
            "setns" => &["EPERM", "EINVAL"],
            "munmap" | "mremap" => &["ENOMEM"],
            "prlimit64" | "sched_getaffinity" => &["EPERM"],
            "rseq" | "set_robust_list" => &["ENOSYS"],
            "lseek" | "uname" => &["EINVAL"],
            _ => &[],
        }
    }

    /// Calls that cannot fail on a running kernel, or whose failure ends a process before its main function: the C
    /// library's and the runtime's own memory (docs/internals/reliability.md).
    const NOT_MADE_TO_FAIL: [&str; 20] = [
        "execve",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "mprotect",
        "mmap",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sigaltstack",
        "gettid",
        "alarm",
        "exit_group",
        "geteuid",
        "getpid",
        "clock_nanosleep",
        "madvise",
        "getuid",
        "clock_gettime",
        "pread64",
    ];

    /// Runs the check under strace; one call fails, or, with nothing, none does and their list is returned.
    pub(crate) fn run(arguments: &[&str], fault: Option<&str>) -> (Output, Vec<String>) {
        let log = crate::common::new_file();
        let how = match fault {
            Some(fault) => ["-o", "/dev/null", "-e", fault],
            None => ["-o", log.path().to_str().unwrap(), "-e", "trace=all"],
        };
        let words = [&["strace", "-f"][..], &how].concat();
        let output = check_after(&words, arguments).output().unwrap();
        let calls = std::fs::read_to_string(log.path()).unwrap();
        let calls = calls
            .lines()
            .filter_map(|line| {
                let (name, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
                Some(name.to_owned())
            })
            .collect();
        (output, calls)
    }

    /// A call of a run that is to fail, as strace's -e takes it.
    pub(crate) struct Fault {
        pub(crate) call: String,
        pub(crate) inject: String,
    }

    /// Each call of a run once, with one of its errors in turn; with FAULTS=all with each of them.
    pub(crate) fn faults(calls: &[String]) -> Vec<Fault> {
        let all = std::env::var_os("FAULTS").is_some_and(|faults| faults == "all");
        // a binary that is not static loads its libraries first, which is not what is tested here
        let main = calls
            .iter()
            .position(|call| call == "prctl")
            .unwrap_or_default();
        let loader = if calls[..main].iter().any(|call| call == "access") {
            main
        } else {
            0
        };
        let mut nth: HashMap<&str, usize> = HashMap::new();
        let mut faults = Vec::new();
        for (place, call) in calls.iter().enumerate() {
            let n = nth.entry(call).or_default();
            *n += 1;
            if place < loader {
                continue;
            }
            let errors = errors(call);
            assert!(
                !errors.is_empty() || NOT_MADE_TO_FAIL.contains(&call.as_str()),
                "{call} is new: what can it fail with?"
            );
            // a close that fails has closed all the same; two of them show it
            if errors.is_empty() || (call == "close" && *n > 2 && !all) {
                continue;
            }
            let chosen = if all {
                errors
            } else {
                &errors[*n % errors.len()..][..1]
            };
            faults.extend(chosen.iter().map(|error| Fault {
                call: call.clone(),
                inject: format!("inject={call}:error={error}:when={n}"),
            }));
        }
        faults
    }

    /// Holds a faulty run against one without a fault: no other number, no other state but UNKNOWN, and for that a
    /// reason.
    pub(crate) fn assert_no_lie(clean: &Answer, output: Output, fault: &Fault) {
        let Fault { call, inject } = fault;
        if output.stdout.is_empty() {
            let code = output.status.code();
            assert!(call == "write" && code == Some(3), "{inject}: {output:?}");
            assert!(output.stderr.is_empty(), "{inject}: {output:?}");
            return;
        }
        let got = Answer::of(output);
        let text = &got.text;
        assert!(
            got.code == clean.code
                || (got.code == 3 && (clean.code == 0 || got.value("usage").is_none())),
            "{inject}: {text}"
        );
        for lie in [
            "internal error",
            "no socket left",
            "resized",
            "timed out",
            "first run",
            "out of memory",
        ] {
            assert!(!text.contains(lie), "{inject}: {text}");
        }
        assert!(
            // what came before a capture broke off is explained
            clean.text.contains("\nwhy: ")
                || !text.contains("\nwhy: ")
                || text.contains("the capture broke off"),
            "{inject}: {text}"
        );
        // a part of the table stands for the whole, and says so
        let part = text.contains("estimated from ") || text.contains("broke off");
        let sockets = text.contains(", sees ");
        // not a fault but an answer: a process that ended, a kernel without this file
        let not_there = inject.contains("error=ENOENT");
        for token in clean.perfdata() {
            let label = token.split('=').next().unwrap();
            let (before, now) = (clean.value(label).unwrap(), got.value(label));
            match now {
                Some(now) if part => {
                    let number =
                        |fields: &[String]| fields[0].trim_end_matches(['%', 'c']).parse::<f64>();
                    let bound = number(&clean.value("entries").unwrap()).unwrap();
                    assert!(
                        number(&now).unwrap() <= bound.max(100.0),
                        "{inject}: {text}"
                    );
                }
                // the namespaces of processes that could not be looked at
                Some(now) if label == "namespaces" => {
                    assert!(
                        now == before || text.contains("could not be checked") || not_there,
                        "{inject}: {text}"
                    );
                }
                // without its maximum a value has fewer fields
                Some(now) => assert_eq!(now[0], before[0], "{inject}: {label} in {text}"),
                None => {
                    let said = text.contains("cannot be read")
                        || text.contains("failed after")
                        || text.contains(" could not be checked: ")
                        || text.contains("not measured")
                        || text.contains("does not exist")
                        || text.contains("permission denied")
                        || text.contains("own addresses unknown")
                        // the reason may be among what found no room
                        || text.contains(" with -v\n")
                        || text.contains(" not shown\n")
                        // what a capture is held against is told by its absence
                        || text.contains(" entries in the capture")
                        || sockets;
                    let counters = ["drop", "chaintoolong", "early_drop", "insert_failed"];
                    let quiet = ["lost", "growth", "chain"].contains(&label)
                        || (not_there && counters.contains(&label));
                    assert!(said || quiet, "{inject}: {label} is missing in {text}");
                }
            }
        }
        if got.code == 3 {
            let reason = [
                "cannot be read",
                "failed after",
                "not measured: ",
                "does not exist",
                "permission denied",
                "could not be checked: ",
            ];
            assert!(
                reason.iter().any(|reason| text.contains(reason)),
                "{inject}: {text}"
            );
        }
    }

    /// Fails every call of a run, one at a time.
    pub(crate) fn every_call_fails_once(arguments: &[&str]) {
        // the first run may have something to set up
        run(arguments, None);
        let (output, calls) = run(arguments, None);
        let clean = Answer::of(output);
        let faults = faults(&calls);
        assert!(faults.len() > 30, "{calls:?}");
        for fault in &faults {
            let (output, _) = run(arguments, Some(&fault.inject));
            assert_no_lie(&clean, output, fault);
        }
    }

    #[test]
    fn a_call_that_fails_below_another_proc_root_changes_no_verdict() {
        let root = file("cases/table-below-proc-root/proc");
        every_call_fails_once(&["--proc-root", root.to_str().unwrap(), "--top"]);
    }

    #[test]
    fn a_call_that_fails_while_a_capture_is_read_makes_no_other_number() {
        let capture = file("cases/capture-redis-client/capture");
        let root = host("100.00", 0);
        every_call_fails_once(&[
            "--table",
            capture.to_str().unwrap(),
            "--proc-root",
            root.path().to_str().unwrap(),
            "--top",
            "--own",
            "192.0.2.10",
        ]);
    }

    /// If anything fails while losses are to be reported, either this run tells them or the next one does.
    #[test]
    fn what_was_lost_is_told_by_the_run_with_the_fault_or_by_the_next() {
        let root = host("100.00", 0);
        let state = crate::common::new_folder();
        let arguments = losses(&root, &state);
        assert_eq!(Answer::of(check(arguments).output().unwrap()).code, 0);
        let files = || -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(state.path()).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let [file] = &files()[..] else {
            panic!("one state")
        };
        let baseline = std::fs::read(file).unwrap();
        let lost =
            |answer: &Answer| -> Option<u64> { Some(answer.value("lost")?[0].parse().unwrap()) };
        at(&root, "200.00", 7);
        let (output, calls) = run(&arguments, None);
        assert_eq!(lost(&Answer::of(output)), Some(7));
        let faults = faults(&calls);
        assert!(faults.len() > 30, "{calls:?}");
        // a state that is said not to be there is none
        let possible = |fault: &&Fault| !fault.inject.contains("error=ENOENT");
        for fault in faults.iter().filter(possible) {
            let inject = &fault.inject;
            for left in files() {
                std::fs::remove_file(left).unwrap();
            }
            std::fs::write(file, &baseline).unwrap();
            at(&root, "200.00", 7);
            let (output, _) = run(&arguments, Some(inject));
            let told = if output.stdout.is_empty() {
                assert_eq!(output.status.code(), Some(3), "{inject}");
                None
            } else {
                let got = Answer::of(output);
                assert!(!got.text.contains("first run"), "{inject}: {}", got.text);
                match lost(&got) {
                    Some(lost) => assert_eq!((lost, got.code), (7, 2), "{inject}: {}", got.text),
                    None => {
                        // a long path is cut at its front
                        let folder = root.path().file_name().unwrap().to_str().unwrap();
                        let said =
                            got.text.contains(folder) || got.text.contains("lost not measured: ");
                        assert!(said && got.code == 3, "{inject}: {}", got.text);
                    }
                }
                lost(&got)
            };
            at(&root, "300.00", 7);
            let next = Answer::of(check(arguments).output().unwrap());
            // told twice is allowed: the answer was out and the state was not in its place
            let told_next = lost(&next).unwrap_or_else(|| panic!("{inject}: {}", next.text));
            assert!(
                told.unwrap_or(0).max(told_next) == 7,
                "{inject}: {}",
                next.text
            );
            assert_eq!(files().len(), 1, "{inject}: {:?}", files());
        }
    }

    #[test]
    fn a_stdout_that_takes_little_at_a_time_gets_the_whole_answer() {
        let root = host("100.00", 0);
        let arguments = ["--proc-root", root.path().to_str().unwrap()];
        let expected = Answer::of(check(arguments).output().unwrap());
        // the first call is told to have written nothing of its own accord, which is how a signal looks
        let (output, _) = run(&arguments, Some("inject=write:error=EINTR:when=1..9"));
        assert_eq!(Answer::of(output), expected);
        let (output, _) = run(&arguments, Some("inject=write:error=ENOSPC"));
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b""[..]));
    }
}

/// In a network namespace with a table, a server and clients of its own, and a /proc that shows nobody else.
mod pidns {
    use std::net::{TcpListener, TcpStream};
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, cover, loopback_up, track};
    use crate::common::programs::{compiled, printed};
    use crate::common::{MAX, answer, conntrack};
    use check_conntrack::model::conntrack::Class;

    /// So many entries of one client, and a server of this host with five connections.
    struct Table {
        directory: tempfile::TempDir,
        load: PathBuf,
        connections: Vec<(TcpStream, TcpStream)>,
    }

    impl Table {
        fn of(entries: u32) -> Self {
            loopback_up();
            track();
            let server = TcpListener::bind("127.0.0.1:7000").unwrap();
            let connections = (0..5).map(|_| {
                let client = TcpStream::connect("127.0.0.1:7000").unwrap();
                (client, server.accept().unwrap().0)
            });
            let table = Self {
                connections: connections.collect(),
                directory: crate::common::new_folder(),
                load: compiled("ctload"),
            };
            printed(Command::new(&table.load).arg(entries.to_string()));
            assert_eq!(table.connections.len(), 5);
            table
        }

        fn state(&self) -> String {
            self.directory.path().to_str().unwrap().to_owned()
        }
    }

    /// Does `step` over and over, in a thread of its own, while `work` runs. Between two steps it waits for `pause`.
    fn meanwhile<T>(
        pause: Duration,
        mut step: impl FnMut(u32) + Send,
        work: impl FnOnce() -> T,
    ) -> T {
        let (end, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0.. {
                    step(n);
                    if ended.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
                        break;
                    }
                }
            });
            let result = work();
            drop(end);
            result
        })
    }

    mod strace {
        use super::super::strace::{Fault, assert_no_lie, every_call_fails_once, run};
        use super::*;

        #[test]
        fn a_call_that_fails_while_the_table_is_read_changes_no_verdict_and_no_number() {
            inside!(Namespaces::Processes);
            let _table = Table::of(300);
            every_call_fails_once(&["--top", "-c", "endpoint=1000"]);
        }

        #[test]
        fn a_call_that_fails_while_namespaces_are_looked_for_changes_no_verdict_and_no_number() {
            inside!(Namespaces::Processes);
            let table = Table::of(300);
            // found by its process, which cannot be attributed to a command that may change its name
            let _other = Neighbour::with_entries(0);
            let state = table.state();
            every_call_fails_once(&["--netns", "all", "-w", "entries=250", "--state-dir", &state]);
        }

        #[test]
        fn a_call_that_fails_while_other_sources_are_read_changes_no_number() {
            inside!(Namespaces::Processes);
            let _table = Table::of(300);
            every_call_fails_once(&["--top", "--source", "sockets"]);
            every_call_fails_once(&["-c", "endpoint=1000", "--source", "procfs"]);
        }

        #[test]
        fn a_dump_that_fails_breaks_off_or_stalls_leaves_the_verdict() {
            inside!(Namespaces::Processes);
            let _table = Table::of(15_000);
            let within = |seconds| {
                // one, so that there is room for what is told besides
                let arguments = "--top=1 -w entries=10 --source netlink -t";
                arguments.split(' ').chain([seconds]).collect::<Vec<_>>()
            };
            let (clean, calls) = run(&within("60"), None);
            let clean = Answer::of(clean);
            assert_eq!((clean.code, entries_of(&clean)), (1, Some(15_005)));
            let receives = calls.iter().filter(|call| *call == "recvfrom").count();
            assert!(receives > 50, "{receives}");
            let got = |fault: &str| {
                // what lasts is to end soon, and nothing else is to end because others are busy
                let lasts = ["retval=0", "delay_enter", "ppoll:error=EINTR"];
                let lasts =
                    lasts.iter().any(|kind| fault.contains(kind)) && !fault.contains("1..200");
                let (output, _) = run(&within(if lasts { "6" } else { "60" }), Some(fault));
                let got = Answer::of(output);
                assert_eq!(
                    (got.code, entries_of(&got)),
                    (1, Some(15_005)),
                    "{fault}: {}",
                    got.text
                );
                got
            };
            let says = |fault: &str, sentence: &str| {
                let got = got(fault);
                assert!(got.text.contains(sentence), "{fault}: {}", got.text);
                got
            };
            // the addresses take one socket, those that wait one for each protocol and family
            const BEFORE: usize = 1 + 4;
            let opened = |call: &(usize, &String)| call.1 == "socket";
            let (dump, _) = calls.iter().enumerate().filter(opened).nth(BEFORE).unwrap();
            let nth = |wanted: &str, more: usize| {
                let before = calls[..dump].iter().filter(|call| *call == wanted);
                before.count() + more
            };
            // nothing was read
            says(
                &format!("inject=recvfrom:error=ENOBUFS:when={}", nth("recvfrom", 1)),
                "cannot see who holds the entries: the ctnetlink dump failed: No buffer space available",
            );
            says(
                &format!("inject=sendto:error=ENOBUFS:when={}", nth("sendto", 1)),
                "cannot see who holds the entries: the ctnetlink dump failed: No buffer space available",
            );
            says(
                &format!("inject=socket:error=EMFILE:when={}", BEFORE + 1),
                "cannot see who holds the entries: the ctnetlink dump failed: Too many open files",
            );
            // nobody knows which sockets wait
            for fault in [
                "inject=socket:error=EMFILE:when=2",
                "inject=socket:error=EAFNOSUPPORT:when=5",
                &format!("inject=recvfrom:error=ENOBUFS:when={}", nth("recvfrom", 0)),
            ] {
                assert_eq!(got(fault), clean, "{fault}");
            }
            // half of it was
            let half = says(
                &format!("inject=recvfrom:error=ENOBUFS:when={}", nth("recvfrom", 40)),
                " of 15005 entries, +-",
            );
            let largest: u64 = half.value("endpoint").unwrap()[0].parse().unwrap();
            assert!((14_000..=15_005).contains(&largest), "{}", half.text);
            // interrupted again and again, but not for ever
            let storm = got("inject=ppoll:error=EINTR:when=1..200");
            assert_eq!(storm, clean);
            let storm = got("inject=recvfrom:error=EINTR:when=1..200");
            assert_eq!(storm, clean);
            // never ready, or interrupted for ever
            for fault in ["inject=ppoll:retval=0", "inject=ppoll:error=EINTR"] {
                says(
                    fault,
                    "cannot see who holds the entries: timed out before it was read",
                );
            }
            // slow, so that half of the time is up with a part of it
            says(
                "inject=recvfrom:delay_enter=100000:when=1..60",
                "timed out reading the table, the entries read so far are used as a sample",
            );
        }

        #[test]
        fn a_dump_that_hangs_in_the_kernel_is_the_verdict_at_the_time_limit() {
            inside!(Namespaces::Processes);
            let _table = Table::of(300);
            // longer than the time limit, which is long enough for the rest on a busy host
            let hang = "inject=recvfrom:delay_enter=4500000:when=1";
            let (output, _) = run(&["--top", "-w", "entries=10", "-t", "3"], Some(hang));
            let got = Answer::of(output);
            let sentence = "timed out after 3 s, the remaining data is missing";
            assert!(
                got.code == 1 && got.first_line().contains(sentence),
                "{}",
                got.text
            );
            assert_eq!(entries_of(&got), Some(305));
            let (output, _) = run(&["-c", "endpoint=9999", "-t", "3"], Some(hang));
            let got = Answer::of(output);
            assert!(
                got.code == 3 && got.text.contains("endpoint not measured: timed out"),
                "{}",
                got.text
            );
        }

        #[test]
        fn a_full_table_stays_critical_whatever_fails() {
            inside!(Namespaces::Processes);
            const MOST: u32 = 15_000;
            let table = Table::of(MOST - 5);
            cover(MAX, &format!("{MOST}\n"));
            let arguments = ["--top", "--source", "netlink"];
            let clean = Answer::of(check(arguments).output().unwrap());
            assert!(
                clean.code == 2
                    && clean
                        .first_line()
                        .starts_with("CONNTRACK is CRITICAL: 100.0% full - 10.0.0.1 "),
                "{}",
                clean.text
            );
            for inject in [
                "inject=socket:error=EMFILE",
                "inject=sendto:error=ENOBUFS",
                "inject=recvfrom:error=ENOBUFS:when=2+",
                "inject=ppoll:error=EINTR:when=1..99",
                "inject=capset:error=EPERM",
                "inject=getdents64:error=EIO",
                "inject=readlinkat:error=EACCES",
                "inject=fsync:error=ENOSPC",
            ] {
                let (output, _) = run(&arguments, Some(inject));
                let got = Answer::of(output);
                assert_eq!(
                    (got.code, entries_of(&got)),
                    (2, Some(u64::from(MOST))),
                    "{inject}: {}",
                    got.text
                );
            }
            let limited = Answer::of(under(&["--as=67108864", "--nofile=6"], &arguments));
            assert_eq!(limited.first_line(), clean.first_line());
            drop(table);
        }

        #[test]
        fn privileges_that_cannot_be_given_up_or_raised_change_no_verdict() {
            inside!(Namespaces::Processes);
            let _table = Table::of(300);
            let arguments = ["--top", "-c", "endpoint=1000"];
            let clean = Answer::of(check(arguments).output().unwrap());
            for inject in [
                "inject=capset:error=EPERM",
                "inject=capget:error=EPERM",
                "inject=prctl:error=EINVAL",
            ] {
                let fault = Fault {
                    call: "capset".to_owned(),
                    inject: inject.to_owned(),
                };
                let (output, _) = run(&arguments, Some(inject));
                assert_no_lie(&clean, output, &fault);
            }
        }
    }

    #[test]
    fn under_limits_of_memory_descriptors_and_processes_the_answer_is_whole_or_says_what_is_missing()
     {
        inside!(Namespaces::Processes);
        let table = Table::of(20_000);
        let state = table.state();
        let arguments = [
            "--top",
            "-c",
            "lost=0",
            "-c",
            "endpoint=50000",
            "--state-dir",
            &state,
        ];
        check(arguments).output().unwrap();
        let clean = Answer::of(check(arguments).output().unwrap());
        assert_eq!((clean.code, entries_of(&clean)), (0, Some(20_005)));
        let steady = |answer: &Answer| answer.text.split(" growth=").next().unwrap().to_owned();
        // one with libraries and debug assertions takes more
        let shipped = std::env::var_os("CHECK_CONNTRACK").is_some();
        let small = [
            &["--as=16777216"][..],
            &["--as=8388608"],
            &["--stack=65536"],
        ];
        for limits in small.iter().filter(|_| shipped).chain(&[
            &["--as=67108864"][..],
            &["--as=33554432"],
            &["--nproc=0"],
            &["--memlock=0"],
            &["--cpu=10"],
            &["--core=0"],
            &["--fsize=1024000"],
            &["--nofile=6"],
            &["--as=67108864", "--stack=262144", "--nofile=6", "--nproc=0"],
        ]) {
            let got = Answer::of(under(limits, &arguments));
            assert_eq!(got.code, 0, "{limits:?}: {}", got.text);
            assert_eq!(entries_of(&got), Some(20_005), "{limits:?}: {}", got.text);
            for label in ["endpoint", "established", "lost"] {
                assert_eq!(
                    got.value(label),
                    clean.value(label),
                    "{limits:?}: {}",
                    steady(&got)
                );
            }
        }
        for files in if shipped { 0..6 } else { 5..6 } {
            let got = Answer::of(under(&[&format!("--nofile={files}")], &arguments));
            let whole = got.code == 0 && got.value("endpoint") == clean.value("endpoint");
            let told = got.code == 3
                && (got.text.contains("Too many open files")
                    || got.text.contains("not measured: "));
            assert!(whole || told, "{files}: {}", got.text);
            assert_eq!(
                entries_of(&got).unwrap_or(20_005),
                20_005,
                "{files}: {}",
                got.text
            );
        }
        if !shipped {
            return;
        }
        // from which size on it is enough is the C library's and the kernel's
        let (mut answered, mut out_of_memory) = (0, 0);
        for kilobytes in (1600..8192).step_by(200) {
            let space = format!("--as={}", kilobytes * 1024);
            let output = under(&["--core=0", &space], &arguments);
            if output.status.code().is_none() {
                // not even the C library could begin
                assert!(
                    answered == 0 && output.stdout.is_empty() && kilobytes < 3000,
                    "{kilobytes}: {output:?}"
                );
                continue;
            }
            answered += 1;
            let got = Answer::of(output);
            let whole = got.code == 0 && got.value("endpoint") == clean.value("endpoint");
            let line = "CONNTRACK is UNKNOWN: out of memory before the check completed\n";
            let ended = (got.code, &*got.text) == (3, line);
            assert!(whole || ended, "{kilobytes}: {}", got.text);
            out_of_memory += u32::from(ended);
        }
        assert!(
            answered > 20 && out_of_memory > 0,
            "{answered} {out_of_memory}"
        );
    }

    /// The kernel takes entries away that live for a second, while others are made as fast as one CPU makes them.
    #[test]
    fn a_table_that_changes_while_it_is_read_makes_no_number_that_could_not_be() {
        use std::sync::atomic::{AtomicU32, Ordering};
        inside!(Namespaces::Processes);
        const BATCH: u32 = 5000;
        let table = Table::of(500);
        let begun = AtomicU32::new(0);
        let make = |n: u32| {
            begun.store(n + 1, Ordering::SeqCst);
            // again and again the same ones, so that the table stays small enough to be read often
            let first = n % 4 * BATCH + 1000;
            let [number, first] = [BATCH.to_string(), format!("first={first}")];
            printed(Command::new(&table.load).args([&number, "timeout=1", &first]));
        };
        let begun = || begun.load(Ordering::SeqCst);
        meanwhile(Duration::ZERO, make, || {
            wait_for("entries", || holds(begun() > 2, begun()));
            let (first, mut highest) = (begun(), 0);
            for sample in ["0", "20000", "1000"].iter().cycle().take(30) {
                let before = begun();
                let got = answer(["--top", "--sample", sample, "--source", "netlink"]);
                // the batch that had begun, and those that have begun since
                let made = u64::from((begun() - before + 1) * BATCH);
                highest = highest.max(entries_of(&got).unwrap());
                assert_possible(&got, made);
            }
            assert!(
                begun() > first && highest > 505,
                "{first} {} {highest}",
                begun()
            );
        });
    }

    /// No number of an answer is larger than the table could have been while so many entries were made.
    fn assert_possible(got: &Answer, made: u64) {
        let text = &got.text;
        // how full it gets is this machine's
        assert!((0..=2).contains(&got.code), "{text}");
        let count = entries_of(got).unwrap();
        let number = |label: &str| got.value(label).unwrap()[0].parse::<u64>().unwrap();
        assert!(
            !text.contains("resized") && !text.contains("broke off"),
            "{text}"
        );
        let classes = Class::ALL.map(|(_, name)| name.to_ascii_lowercase());
        let sum: u64 = classes.iter().map(|class| number(class)).sum();
        assert!(sum <= count + made, "{sum} of {count}, {made} made: {text}");
        assert!(number("endpoint") <= sum.max(count), "{text}");
        let words = text.split_whitespace();
        let shares = words.filter_map(|word| {
            let share = word.trim_end_matches([',', ')']).strip_suffix('%')?;
            share
                .trim_start_matches(['(', '+', '-'])
                .parse::<f64>()
                .ok()
        });
        for share in shares {
            assert!((0.0..=100.0).contains(&share), "{share}: {text}");
        }
    }

    /// So many runs of every kind in turn (SOAK_RUNS), eight at a time. `make soak` makes it thousands.
    #[test]
    fn runs_of_every_kind_under_churn_are_right_and_leave_nothing_behind() {
        inside!(Namespaces::Processes);
        use std::sync::atomic::{AtomicUsize, Ordering};
        let runs = std::env::var("SOAK_RUNS").map_or(200, |text| text.parse().expect("a number"));
        let table = Table::of(500);
        // some 20000 entries a second come, and after four times 4000 all go
        let churn = |n: u32| {
            let first = format!("first={}", n % 10_000 * 4000 + 1000);
            printed(Command::new(&table.load).args(["4000", &first]));
            if n % 4 == 3 {
                conntrack::flush();
            }
        };
        let soak = Soak::below(&table.directory.path().join("state"));
        let kinds = soak.kinds();
        let (next, begin) = (AtomicUsize::new(0), std::time::Instant::now());
        let worker = || {
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= runs && soak.has_seen_every_state() {
                    break;
                }
                soak.run(run, &kinds[run % kinds.len()]);
                if run % 100 == 99 {
                    soak.look_at_the_state();
                }
            }
        };
        meanwhile(Duration::from_millis(200), churn, || {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(worker);
                }
            });
        });
        let took = begin.elapsed().as_secs();
        let services = kinds.iter().filter(|kind| kind.contains(&"--state-dir"));
        for kind in services {
            // a writer takes away what a killed one left, unless it follows another too closely to write
            wait_for("the state that was left to be taken away", || {
                answer(kind.iter().chain(&RANGES));
                let names = soak.names();
                holds(names.iter().all(|name| !name.ends_with(".new")), names)
            });
        }
        assert_eq!(soak.names().len(), 2, "{:?}", soak.names());
        no_process_is_left();
        let summary = soak.summary(next.into_inner(), took);
        if let Some(report) = std::env::var_os("SOAK_REPORT") {
            std::fs::write(report, &summary).unwrap();
        }
    }

    fn no_process_is_left() {
        let processes = std::fs::read_dir("/proc").unwrap();
        let left: Vec<String> = processes
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("comm")).ok())
            .filter(|comm| comm.starts_with("check_conntrack"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The address space that a run may take, four times what it takes with libraries and debug assertions.
    const KILOBYTES: u32 = 32_768;
    const RANGES: [&str; 4] = ["-w", "entries=5000", "-c", "entries=10000"];

    struct Soak {
        directory: String,
        seen: std::sync::Mutex<SeenInSoak>,
    }

    #[derive(Default)]
    struct SeenInSoak {
        states: [u32; 4],
        killed: u32,
        late: u32,
        highest: u64,
        /// The calls for the state, at the first look.
        bytes: u64,
    }

    impl Soak {
        fn below(state: &Path) -> Self {
            std::fs::create_dir(state).unwrap();
            Self {
                directory: state.to_str().unwrap().to_owned(),
                seen: std::sync::Mutex::default(),
            }
        }

        fn kinds(&self) -> [Vec<&str>; 10] {
            let state = ["--state-dir", &self.directory, "-c", "lost=0"];
            [
                vec![],
                vec!["--top"],
                state.to_vec(),
                vec!["--netns", "all"],
                vec!["--top", "--netns", "all", "-v", "-t", "20"],
                vec![
                    "-w",
                    "endpoint=999999",
                    "--sample",
                    "1000",
                    "--source",
                    "netlink",
                ],
                vec!["--top", "--source", "procfs", "--sample", "2000"],
                vec!["--top", "--source", "sockets"],
                [&state[..], &["-w", "growth=~:999999999", "--top"]].concat(),
                vec!["--nope"],
            ]
        }

        fn names(&self) -> Vec<String> {
            let files = std::fs::read_dir(&self.directory).unwrap();
            files
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect()
        }

        /// The states of a table that fills and is emptied, and of a refused command line.
        fn has_seen_every_state(&self) -> bool {
            let [ok, warning, critical, unknown] = self.seen.lock().unwrap().states;
            ok > 0 && warning + critical > 0 && unknown > 0
        }

        fn summary(&self, runs: usize, seconds: u64) -> String {
            let seen = self.seen.lock().unwrap();
            let [ok, warning, critical, unknown] = seen.states;
            let (files, bytes) = self.files();
            format!(
                "soak: {runs} runs in {seconds} s, {} killed, {} out of time, OK {ok} WARNING {warning} CRITICAL \
                 {critical} UNKNOWN {unknown} (refused), all right; up to {} entries, none above {KILOBYTES} kB of \
                 address space, state {files} files {bytes} bytes, no process left\n",
                seen.killed, seen.late, seen.highest,
            )
        }

        /// The number of files, and of bytes in them.
        fn files(&self) -> (usize, u64) {
            let files = std::fs::read_dir(&self.directory).unwrap();
            // one that is just being renamed is gone
            let sizes = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len()));
            sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
        }

        fn look_at_the_state(&self) {
            // one for each command line, and one that is being written
            let (count, bytes) = self.files();
            let mut seen = self.seen.lock().unwrap();
            if seen.bytes == 0 {
                seen.bytes = bytes;
            }
            assert!(
                count <= 4 && bytes <= 3 * seen.bytes.max(600),
                "{count} files, {bytes} bytes"
            );
        }

        /// Runs it once, ends it early or not, and holds its answer against its own numbers.
        fn run(&self, run: usize, kind: &[&str]) {
            use nix::sys::signal::{Signal, kill};
            let space = format!("--as={}", KILOBYTES * 1024);
            let child = check_after(&["prlimit", &space, "--"], kind.iter().chain(&RANGES))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let early = run % 7 == 3;
            if early {
                at_any_moment(Duration::from_micros(run as u64 * 137 % 30_000));
                let signal = if run % 2 == 0 {
                    Signal::SIGTERM
                } else {
                    Signal::SIGKILL
                };
                let _ = kill(nix::unistd::Pid::from_raw(child.id() as i32), signal);
            }
            let output = child.wait_with_output().unwrap();
            // by SIGKILL, or before the check began to listen to SIGTERM
            if early && output.status.code().is_none() {
                self.seen.lock().unwrap().killed += 1;
                return;
            }
            let got = Answer::of(output);
            let text = &got.text;
            if early && text.contains("terminated by a signal before the check completed") {
                assert_eq!(got.code, 3, "{text}");
                self.seen.lock().unwrap().killed += 1;
                return;
            }
            self.seen.lock().unwrap().states[got.code as usize] += 1;
            if kind == ["--nope"] {
                assert!(got.code == 3 && text.contains("--nope"), "{text}");
                return;
            }
            let entries = entries_of(&got).unwrap_or_else(|| panic!("{kind:?}: {text}"));
            let max: u64 = got.value("entries").unwrap()[4].parse().unwrap();
            let tenths = entries * 1000 / max;
            let usage = format!("{}.{}%", tenths / 10, tenths % 10);
            assert_eq!(got.value("usage").unwrap()[0], usage, "{text}");
            let expected = match entries {
                0..=5000 => 0,
                5001..=10_000 => 1,
                _ => 2,
            };
            // on a host that is busy with other things part of it may be missing, and then that is said
            let late = text.contains("timed out");
            assert!(
                got.code == expected || (late && (got.code, expected) == (3, 0)),
                "{kind:?}: {text}"
            );
            let lost = got.value("lost").map(|lost| lost[0].clone());
            assert!(lost.is_none() || lost.as_deref() == Some("0"), "{text}");
            for lie in ["internal error", "out of memory", "resized", "broke off"] {
                assert!(!text.contains(lie), "{kind:?}: {text}");
            }
            assert!(late || !text.contains("not measured"), "{kind:?}: {text}");
            let mut seen = self.seen.lock().unwrap();
            seen.highest = seen.highest.max(entries);
            seen.late += u32::from(late);
        }
    }

    #[test]
    fn processes_that_come_and_go_while_owners_are_looked_for_change_nothing_else() {
        inside!(Namespaces::Processes);
        let _table = Table::of(300);
        let storm = |_| {
            let many = (0..20).map(|_| Command::new("true").spawn().unwrap());
            for mut process in many.collect::<Vec<_>>() {
                process.wait().unwrap();
            }
        };
        meanwhile(Duration::ZERO, storm, || {
            for _ in 0..40 {
                let got = answer(["--top", "--netns", "all", "-c", "endpoint=1000", "-v"]);
                assert_eq!((got.code, entries_of(&got)), (0, Some(305)), "{}", got.text);
                assert_eq!(got.value("namespaces").unwrap()[0], "1", "{}", got.text);
                // this test holds both ends of the five connections
                for part in ["127.0.0.1:7000/tcp local: 5 entries, ", " 5 connections "] {
                    assert!(got.text.contains(part), "{}", got.text);
                }
                assert!(!got.text.contains("no socket left"), "{}", got.text);
            }
        });
    }
}

#[test]
fn a_file_size_limit_of_nothing_is_an_error_and_not_a_signal() {
    let root = host("100.00", 0);
    let state = crate::common::new_folder();
    let out = crate::common::new_file();
    let arguments = [
        "--proc-root",
        root.path().to_str().unwrap(),
        "--state-dir",
        state.path().to_str().unwrap(),
    ];
    let with = |more: &[&str]| under(&["--fsize=0"], &[&arguments[..], more].concat());
    let got = Answer::of(with(&["-c", "lost=0"]));
    assert_eq!(got.code, 3);
    let sentence = format!(
        "lost not measured: the state for the next run could not be written to {}: File too large",
        state.path().display()
    );
    assert!(got.text.contains(&sentence), "{}", got.text);
    assert_eq!(Answer::of(with(&[])).code, 0);
    assert_eq!(
        std::fs::read_dir(state.path()).unwrap().count(),
        0,
        "nothing is left"
    );
    // stdout is a file that may not grow
    let status = check_after(&["prlimit", "--fsize=0", "--"], arguments)
        .stdout(out.reopen().unwrap())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(std::fs::read(out.path()).unwrap(), b"");
}

#[test]
fn the_limit_of_cpu_time_is_unknown() {
    use nix::sys::signal::{Signal, kill};
    // a capture from a pipe that nobody writes to is waited for
    let root = host("100.00", 0);
    let mut child = root
        .check(&["--table", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_handled(child.id(), Signal::SIGXCPU);
    let stdin = child.stdin.take();
    kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        Signal::SIGXCPU,
    )
    .unwrap();
    let got = Answer::of(child.wait_with_output().unwrap());
    drop(stdin);
    assert_eq!(got.code, 3);
    assert_eq!(
        got.text,
        "CONNTRACK is UNKNOWN: CPU time limit (RLIMIT_CPU) reached before the check completed\n"
    );
}

#[test]
fn a_stdout_that_must_not_block_is_waited_for_as_long_as_there_is_time() {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    let root = host("100.00", 0);
    let expected = root.answer(&[]);
    for (reads, seconds) in [(true, "60"), (false, "1")] {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let mut filled = 0;
        loop {
            match writer.write(&[b'.'; 4096]) {
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let stdout = std::os::fd::OwnedFd::from(writer);
        // the command holds the other end of stdout, too
        let mut child = {
            let mut check = root.check(&["-t", seconds]);
            check.stdout(stdout).spawn().unwrap()
        };
        if reads {
            // it waits for room
            wait_until_it_waits(child.id());
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            let (dots, answer) = all.split_at(filled);
            assert!(dots.iter().all(|byte| *byte == b'.'));
            assert_eq!(String::from_utf8_lossy(answer), expected.text);
        }
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(if reads { expected.code } else { 3 }));
    }
}

/// The output and exit status of a run if some of its standard streams are closed: "02".
fn without_streams(streams: &str, arguments: &[&str]) -> Output {
    let script = file("scripts/without-streams");
    let words = [script.to_str().unwrap(), streams];
    check_after(&words, arguments).output().unwrap()
}

#[test]
fn closed_standard_streams_are_not_taken_for_the_files_that_are_opened_next() {
    let root = host("100.00", 0);
    let state = crate::common::new_folder();
    let arguments = losses(&root, &state);
    let clean = Answer::of(check(arguments).output().unwrap());
    for streams in 0..8 {
        let is_closed = |stream: &u32| streams & (1 << stream) != 0;
        let closed: String = (0..3).filter(is_closed).map(|n| n.to_string()).collect();
        at(&root, &format!("{}.00", 200 + 100 * streams), 0);
        let output = without_streams(&closed, &arguments);
        let open = streams & 2 == 0;
        assert_eq!(output.status.code(), Some(0), "{closed}");
        assert_eq!(output.stdout.is_empty(), !open, "{closed}");
        assert!(output.stderr.is_empty(), "{closed}");
        if open {
            let got = Answer::of(output);
            assert_eq!(
                got.value("lost"),
                Some(["0", "", "0", "0"].map(str::to_owned).to_vec()),
                "{}",
                got.text
            );
            assert_eq!(got.value("entries"), clean.value("entries"));
        }
        let files: Vec<_> = std::fs::read_dir(state.path())
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        let [file] = &files[..] else {
            panic!("{files:?}")
        };
        let text = std::fs::read_to_string(file).unwrap();
        assert!(
            text.starts_with("check_conntrack state 2\n") && !text.contains("CONNTRACK is"),
            "{text}"
        );
    }
    let root = root.path().to_str().unwrap();
    let got = Answer::of(without_streams("0", &["--table", "-", "--proc-root", root]));
    // the runtime puts /dev/null in its place, which is not an empty table
    let sentence = "standard input is closed, or /dev/null";
    assert!(got.code == 3 && got.text.contains(sentence), "{}", got.text);
}

#[test]
fn a_thousand_runs_at_once_answer_and_leave_one_state() {
    let root = host("100.00", 0);
    let state = crate::common::new_folder();
    let out = crate::common::new_folder();
    let arguments = losses(&root, &state);
    assert_eq!(Answer::of(check(arguments).output().unwrap()).code, 0);
    at(&root, "200.00", 7);
    let runs: Vec<_> = (0..1000)
        .map(|run| {
            let file = std::fs::File::create(out.path().join(run.to_string())).unwrap();
            let errors = file.try_clone().unwrap();
            let mut command = check(arguments);
            command.stdout(file).stderr(errors).spawn().unwrap()
        })
        .collect();
    for (run, mut child) in runs.into_iter().enumerate() {
        let code = child.wait().unwrap().code();
        let text = std::fs::read_to_string(out.path().join(run.to_string())).unwrap();
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.starts_with("CONNTRACK is CRITICAL: ") && text.contains(" lost=7;;0;0"),
            "{text}"
        );
        assert_eq!(text.matches("CONNTRACK").count(), 1, "{text}");
    }
    let names: Vec<String> = std::fs::read_dir(state.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        matches!(&names[..], [name] if !name.ends_with(".new")),
        "{names:?}"
    );
}
