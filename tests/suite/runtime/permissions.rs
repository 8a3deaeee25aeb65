//! The promises of docs/grant-privilege.md about file capabilities: with the restrictions that a service manager puts on
//! an agent, and so on its plugins.

/// Each in a network namespace of its own with three entries, so that a range on a metric of the table is OK where the
/// table could be read, and UNKNOWN where it could not.
mod admin {
    use std::ffi::OsStr;
    use std::path::PathBuf;
    use std::process::Command;

    use crate::common::folder::{new_folder, set_mode};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::plugin::{AS_NOBODY, start, with_defaults};
    use crate::common::programs::{install, printed, program};
    use crate::common::wait::wait_until_it_waits;
    use crate::common::{Answer, binary, conntrack};

    const TABLE: &str = "-w endpoint=10 --source netlink";

    /// The output of a copy of the binary with these file capabilities to another user who starts it by these words.
    /// The capabilities go with the next program, which is what an agent would be.
    fn says(capabilities: &str, started_by: &str, arguments: &str) -> String {
        let installed = Installed::with(capabilities);
        let entry = |port| {
            format!(
                "-A -p tcp -s 192.0.2.1 -d 192.0.2.2 --sport {port} --dport 80 --state ESTABLISHED -t 600\n"
            )
        };
        conntrack::flush();
        conntrack::insert(&[1, 2, 3].map(entry).concat());
        let words: Vec<&str> = AS_NOBODY.into_iter().chain(started_by.split(' ')).collect();
        let arguments = with_defaults(arguments.split(' '));
        let output = start(&words, &installed.program(), &arguments)
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let code = output.status.code().unwrap();
        format!("{said}status {code}\n")
    }

    fn assert_read(said: &str) {
        let read = said.starts_with("CONNTRACK is OK: ")
            && said.contains(" endpoint=3;10")
            && said.ends_with("status 0\n");
        assert!(read, "{said}");
    }

    fn assert_not_read(said: &str) {
        let unread = said.starts_with("CONNTRACK is UNKNOWN: ")
            && said.contains("endpoint not measured: ")
            && said.contains("CAP_NET_ADMIN")
            && said.ends_with("status 3\n");
        assert!(unread, "{said}");
    }

    #[test]
    fn permitted_capabilities_of_the_file_are_enough() {
        inside!(Namespaces::RootNetwork);
        assert_read(&says("cap_net_admin=p", "env", TABLE));
        assert_not_read(&says("cap_net_raw=p", "env", TABLE));
        assert_not_read(&says("", "env", TABLE));
    }

    #[test]
    fn no_new_privileges_keep_them_from_taking_effect() {
        inside!(Namespaces::RootNetwork);
        let said = says("cap_net_admin=p", "setpriv --no-new-privs", TABLE);
        assert_not_read(&said);
    }

    #[test]
    fn a_bounding_set_without_them_lets_the_check_run_with_less_but_not_where_they_are_effective() {
        inside!(Namespaces::RootNetwork);
        let bounded = "--bounding-set=-net_admin env";
        assert_not_read(&says("cap_net_admin=p", bounded, TABLE));
        let said = says("cap_net_admin=ep", bounded, TABLE);
        assert!(
            said.contains("Operation not permitted") && said.ends_with("status 126\n"),
            "{said}"
        );
    }

    #[test]
    fn ambient_capabilities_survive_no_new_privileges() {
        inside!(Namespaces::RootNetwork);
        let ambient = "--inh-caps=+net_admin --ambient-caps=+net_admin setpriv --no-new-privs";
        assert_read(&says("", ambient, TABLE));
    }

    #[test]
    fn what_says_where_to_read_is_refused_only_while_they_take_effect() {
        inside!(Namespaces::RootNetwork);
        let where_to_read = "--proc-root /proc";
        let refused = says("cap_net_admin=p", "env", where_to_read);
        assert!(
            refused.starts_with("CONNTRACK is UNKNOWN: --proc-root is not allowed "),
            "{refused}"
        );
        let taken = says("cap_net_admin=p", "setpriv --no-new-privs", where_to_read);
        assert!(taken.starts_with("CONNTRACK is OK: "), "{taken}");
    }

    // ---- who runs it may not be helped to what is not his -----------------------------------------------------------

    const ALL: &str = "cap_net_admin,cap_sys_ptrace,cap_dac_read_search=p";
    const MARK: &str = "203.0.113.77";

    /// A copy of the binary with these file capabilities, and a directory that everybody may look into.
    struct Installed {
        directory: tempfile::TempDir,
    }

    impl Installed {
        fn with(capabilities: &str) -> Self {
            let installed = Self {
                directory: new_folder(),
            };
            install(binary(), &installed.program());
            if !capabilities.is_empty() {
                printed(program("setcap").arg(capabilities).arg(installed.program()));
            }
            installed
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn program(&self) -> PathBuf {
            self.path("check_conntrack")
        }

        /// A directory of the user that runs the check.
        fn own(&self, name: &str) -> PathBuf {
            let path = self.path(name);
            std::fs::create_dir(&path).unwrap();
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            path
        }

        /// Files of root alone, one of them in a directory of root alone. Each would do as a capture and a setting.
        fn secrets(&self) -> [PathBuf; 2] {
            let line = format!(
                "ipv4 2 tcp 6 431999 ESTABLISHED src={MARK} dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst={MARK} sport=2 dport=1 [ASSURED] use=1\n"
            );
            let hidden = self.path("hidden");
            std::fs::create_dir(&hidden).unwrap();
            let secrets = [self.path("secret"), hidden.join("secret")];
            for secret in &secrets {
                std::fs::write(secret, &line).unwrap();
                set_mode(secret, 0o600);
            }
            set_mode(&hidden, 0o700);
            secrets
        }

        /// Starts it as a user without any privilege.
        fn by_nobody<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
            let arguments = with_defaults(arguments);
            let mut command = start(&AS_NOBODY, &self.program(), &arguments);
            command.current_dir("/");
            command
        }

        fn answer<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Answer {
            Answer::of(self.by_nobody(arguments).output().unwrap())
        }

        /// Its answer to these arguments and no others.
        fn bare_answer(&self, arguments: &[&str]) -> Answer {
            let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
            Answer::of(
                start(&AS_NOBODY, &self.program(), &arguments)
                    .output()
                    .unwrap(),
            )
        }

        /// What it asks of the kernel, as that user. strace keeps its own privileges, so those of the file take effect.
        fn calls<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<String> {
            let log = crate::common::new_file();
            let path = log.path().to_str().unwrap();
            let words = ["strace", "-f", "-u", "nobody", "-s", "4096", "-o", path];
            let mut command = start(&words, &self.program(), &with_defaults(arguments));
            Answer::of(command.current_dir("/").output().unwrap());
            let calls = std::fs::read_to_string(log.path()).unwrap();
            let calls = calls
                .lines()
                .map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned());
            calls.collect()
        }
    }

    const NOBODY: u32 = 65534;

    /// Nothing but kernel files is opened while a capability is in effect, none of these files ever, and no program is
    /// started.
    fn assert_harmless(calls: &[String], secrets: &[PathBuf]) {
        let mut effective = false;
        let mut permitted = false;
        let mut started = 0;
        for call in calls {
            let name = call.split('(').next().unwrap_or_default();
            match name {
                "capset" => {
                    effective = !call.contains("effective=0,");
                    permitted |= !call.contains("permitted=0,");
                }
                "execve" | "execveat" | "fork" | "vfork" | "clone" | "clone3" => started += 1,
                _ => {}
            }
            let is_open = [
                "openat",
                "open",
                "readlinkat",
                "readlink",
                "newfstatat",
                "statx",
                "unlinkat",
                "renameat",
            ]
            .contains(&name);
            let path = call
                .split('"')
                .nth(1)
                .filter(|_| is_open)
                .unwrap_or_default();
            if effective && !path.is_empty() {
                // by a path of procfs, or by a name in a directory of it
                let of_the_kernel =
                    path.starts_with("/proc/") || path == "/proc" || !path.starts_with('/');
                assert!(of_the_kernel, "with a capability in effect: {call}");
            }
            let is_secret = secrets
                .iter()
                .any(|secret| path.starts_with(secret.to_str().unwrap()));
            assert!(!is_secret || call.contains(" = -1 "), "{call}");
        }
        assert!(
            permitted,
            "the capabilities of the file took no effect: {calls:#?}"
        );
        assert_eq!(started, 1, "{calls:#?}");
    }

    #[test]
    fn no_option_reads_what_only_root_may_read() {
        inside!(Namespaces::RootNetwork);
        let installed = Installed::with(ALL);
        let secrets = installed.secrets();
        let own = installed.own("own");
        let mut paths: Vec<PathBuf> = secrets.to_vec();
        paths.push(installed.path("hidden"));
        for (n, secret) in secrets.iter().enumerate() {
            let link = own.join(format!("link{n}"));
            std::os::unix::fs::symlink(secret, &link).unwrap();
            paths.push(link);
        }
        let mut tried = 0;
        for option in check_conntrack::cli::command().get_arguments() {
            let Some(long) = option.get_long() else {
                // WARN CRIT
                assert!(option.is_positional());
                for path in &paths {
                    let path = path.to_str().unwrap();
                    let got = installed.answer([path, path]);
                    assert!(got.code == 3 && !got.text.contains(MARK), "{}", got.text);
                }
                continue;
            };
            // what a value of it is, and whether that could be a file: a new option is to be thought about
            let is_path = match long {
                "table" | "proc-root" | "state-dir" | "recording" => true,
                "warning" | "critical" | "top" | "top-when" | "aggregate" | "own" | "source"
                | "max" | "sample" | "record" | "absent" | "empty" | "netns" | "timeout" => false,
                "verbose" | "version" | "help" => continue,
                other => panic!("--{other} is new: could its value be a file?"),
            };
            for path in &paths {
                let path = path.to_str().unwrap();
                for value in [
                    path.to_owned(),
                    format!("@{path}"),
                    format!("usage={path}"),
                    format!("{path}/../secret"),
                ] {
                    let arguments = [
                        format!("--{long}={value}"),
                        "-vvv".to_owned(),
                        "--top".to_owned(),
                    ];
                    let arguments = if long == "top" {
                        &arguments[..2]
                    } else {
                        &arguments[..]
                    };
                    let got = installed.answer(arguments);
                    assert!(!got.text.contains(MARK), "{arguments:?}: {}", got.text);
                    let refused = got.code == 3 && got.text.starts_with("CONNTRACK is UNKNOWN: ");
                    assert!(
                        refused || long == "state-dir",
                        "{arguments:?}: {}",
                        got.text
                    );
                    tried += 1;
                }
                if is_path {
                    let arguments = [
                        format!("--{long}={path}"),
                        "--top".to_owned(),
                        "-c".to_owned(),
                        "lost=0".to_owned(),
                    ];
                    assert_harmless(&installed.calls(arguments), &secrets);
                }
            }
        }
        assert!(tried > 200, "{tried}");
    }

    #[test]
    fn a_capture_from_standard_input_is_refused_like_one_from_a_file_while_capabilities_take_effect()
     {
        inside!(Namespaces::RootNetwork);
        let installed = Installed::with("cap_net_admin=p");
        for value in ["-", "/etc/passwd"] {
            let got = installed.answer(["--table", value]);
            assert_eq!(
                got.text,
                "CONNTRACK is UNKNOWN: --table is not allowed when the plugin has file capabilities or is setuid\n"
            );
        }
    }

    #[test]
    fn planted_links_are_not_followed_and_files_are_opened_without_any_capability() {
        inside!(Namespaces::RootNetwork);
        let installed = Installed::with(ALL);
        let secrets = installed.secrets();
        let before = std::fs::read(&secrets[0]).unwrap();
        let state = installed.own("state");
        let arguments = [
            "-c",
            "lost=0",
            "--top",
            "--state-dir",
            state.to_str().unwrap(),
        ];
        assert_harmless(&installed.calls(arguments), &secrets);
        let names = || -> Vec<String> {
            let files = std::fs::read_dir(&state).unwrap();
            files
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        let [name] = &names()[..] else {
            panic!("{:?}", names())
        };
        for planted in [name.clone(), format!("{name}.new")] {
            let _ = std::fs::remove_file(state.join(&planted));
            std::os::unix::fs::symlink(&secrets[0], state.join(&planted)).unwrap();
            assert_harmless(&installed.calls(arguments), &secrets);
            let got = installed.answer(arguments);
            assert!(!got.text.contains(MARK), "{}", got.text);
            assert_eq!(std::fs::read(&secrets[0]).unwrap(), before);
            assert!(
                std::fs::symlink_metadata(state.join(name))
                    .unwrap()
                    .is_file(),
                "{:?}",
                names()
            );
        }
        // a directory that is a link, to one of root and to his own
        for (n, target) in [installed.path("hidden"), state.clone()].iter().enumerate() {
            let link = installed.path(&format!("state{n}"));
            std::os::unix::fs::symlink(target, &link).unwrap();
            let arguments = ["-c", "lost=0", "--state-dir", link.to_str().unwrap()];
            assert_harmless(&installed.calls(arguments), &secrets);
            let got = installed.answer(arguments);
            assert!(
                got.code == 3
                    && got
                        .text
                        .contains("is not a directory, or a symbolic link to one"),
                "{}",
                got.text
            );
        }
        // and one of root's, which CAP_DAC_READ_SEARCH could read
        let hidden = installed.path("hidden");
        let got = installed.answer(["-c", "lost=0", "--state-dir", hidden.to_str().unwrap()]);
        assert!(
            got.code == 3
                && got
                    .text
                    .contains("hidden may not be written to by this user"),
            "{}",
            got.text
        );
        assert_eq!(std::fs::read_dir(hidden).unwrap().count(), 1);
    }

    #[test]
    fn the_environment_changes_not_one_byte() {
        inside!(Namespaces::RootNetwork);
        let installed = Installed::with(ALL);
        let poison = [
            ("LD_PRELOAD", "/tmp/evil.so"),
            ("LD_LIBRARY_PATH", "/tmp"),
            ("LD_AUDIT", "/tmp/evil.so"),
            ("GLIBC_TUNABLES", "glibc.malloc.perturb=165"),
            ("MALLOC_CHECK_", "3"),
            ("MALLOC_PERTURB_", "165"),
            ("MALLOC_ARENA_MAX", "1"),
            ("RUST_BACKTRACE", "full"),
            ("RUST_LIB_BACKTRACE", "1"),
            ("RUST_LOG", "trace"),
            ("RUST_MIN_STACK", "1"),
            ("PATH", "/nonexistent"),
            ("HOME", "/nonexistent"),
            ("TMPDIR", "/nonexistent"),
            ("LANG", "tr_TR.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LANGUAGE", "tr"),
            ("LOCPATH", "/tmp"),
            ("NLSPATH", "/tmp/%N"),
            ("GCONV_PATH", "/tmp"),
            ("TZ", ":/etc/shadow"),
            ("COLUMNS", "10"),
            ("TERM", "xterm"),
            ("CLICOLOR_FORCE", "1"),
            ("NO_COLOR", "1"),
            ("CLAP_COLOR", "always"),
            ("CHECK_CONNTRACK", "/nonexistent"),
        ];
        for arguments in [
            &["-h"][..],
            &["-V"],
            &["--nope"],
            &["-vvv", "--proc-root", "/"],
            &["-w", "usage=~"],
            &["-w", "0"],
        ] {
            let answer = |poisoned: bool| {
                // for the check alone, and not for what starts it
                let given = poison.map(|(name, value)| format!("{name}={value}"));
                let given = given.iter().map(String::as_str).filter(|_| poisoned);
                let words: Vec<&str> = AS_NOBODY
                    .into_iter()
                    .chain(["env", "-i"])
                    .chain(given)
                    .collect();
                let mut command = start(&words, &installed.program(), &with_defaults(arguments));
                Answer::of(command.output().unwrap())
            };
            assert_eq!(answer(true), answer(false), "{arguments:?}");
        }
    }

    #[test]
    fn each_capability_is_in_effect_for_its_one_use_and_the_one_for_the_table_is_gone_before_an_answer_is_read()
     {
        inside!(Namespaces::RootNetwork);
        let installed = Installed::with(ALL);
        let calls = installed.calls(["--top", "--source", "netlink"]);
        assert_harmless(&calls, &[]);
        let at = |what: &dyn Fn(&str) -> bool| calls.iter().position(|call| what(call));
        let begin = at(&|call| call.starts_with("prctl(PR_SET_NO_NEW_PRIVS, 1")).unwrap();
        let emptied = at(&|call| call.starts_with("capset(")).unwrap();
        let first = at(&|call| call.starts_with("alarm(")).unwrap();
        assert!(
            begin < emptied && emptied < first && calls[emptied].contains("effective=0,"),
            "{calls:#?}"
        );
        let raised =
            at(&|call| call.starts_with("capset(") && call.contains("effective=1<<CAP_NET_ADMIN,"))
                .unwrap();
        let asked = raised
            + calls[raised..]
                .iter()
                .position(|call| call.starts_with("sendto("))
                .unwrap();
        let gone = raised
            + calls[raised..]
                .iter()
                .position(|call| call.starts_with("capset(") && call.contains("effective=0,"))
                .unwrap();
        let heard = raised
            + calls[raised..]
                .iter()
                .position(|call| call.starts_with("recvfrom("))
                .unwrap();
        assert!(raised < asked && asked < gone && gone < heard, "{calls:#?}");
        assert!(!calls[gone].contains("CAP_NET_ADMIN"), "{}", calls[gone]);
        for call in calls.iter().filter(|call| call.starts_with("capset(")) {
            let known = [
                "effective=0,",
                "effective=1<<CAP_NET_ADMIN,",
                "effective=1<<CAP_DAC_READ_SEARCH|1<<CAP_SYS_PTRACE,",
            ];
            assert!(known.iter().any(|known| call.contains(known)), "{call}");
        }
        let last = calls
            .iter()
            .rposition(|call| call.starts_with("capset("))
            .unwrap();
        let written = calls
            .iter()
            .position(|call| call.starts_with("write(1, "))
            .unwrap();
        assert!(
            last < written && calls[last].contains("effective=0, permitted=0, inheritable=0"),
            "{}",
            calls[last]
        );
    }

    #[test]
    fn while_the_answer_waits_to_be_read_nothing_is_left_and_nobody_may_look_into_the_process() {
        inside!(Namespaces::RootNetwork);
        use std::io::{Read, Write};
        use std::os::unix::fs::MetadataExt;
        let installed = Installed::with(ALL);
        let (mut reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[b'.'; 4096]).is_ok() {}
        let stdout = std::os::fd::OwnedFd::from(writer);
        let mut child = installed
            .by_nobody(["--top"])
            .stdout(stdout)
            .spawn()
            .unwrap();
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let field = |name: &str| {
            let status = std::fs::read_to_string(process.join("status")).unwrap();
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap().trim().to_owned()
        };
        wait_until_it_waits(child.id());
        for (name, value) in [
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapInh", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            ("NoNewPrivs", "1"),
        ] {
            assert_eq!(field(name), value, "{name}");
        }
        assert_eq!(field("Uid"), ["65534"; 4].join("\t"));
        // not dumpable (PR_SET_DUMPABLE): its files are root's, no other process of this user may trace it, no core
        assert_eq!(std::fs::metadata(process.join("mem")).unwrap().uid(), 0);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(b"\n"));
        assert!(child.wait().unwrap().code().is_some());
    }

    #[test]
    fn as_another_user_than_its_caller_it_writes_nowhere() {
        inside!(Namespaces::RootNetwork);
        for (mode, what) in [("4755", "setuid"), ("2755", "setgid")] {
            let installed = Installed::with("");
            let plugin = installed.program();
            printed(program("chown").arg("daemon:daemon").arg(&plugin));
            printed(program("chmod").arg(mode).arg(&plugin));
            let state = installed.path("state");
            std::fs::create_dir(&state).unwrap();
            set_mode(&state, 0o777);
            let got = installed.bare_answer(&["--state-dir", state.to_str().unwrap()]);
            assert_eq!(
                got.text,
                "CONNTRACK is UNKNOWN: --state-dir is not allowed in a setuid or setgid program: the state would be written as a different user\n",
                "{what}"
            );
            let got = installed.bare_answer(&["-c", "lost=0"]);
            let sentence = "lost not measured: /var/lib/check_conntrack is not used while this program runs setuid or setgid";
            assert!(
                got.code == 3 && got.text.contains(sentence),
                "{what}: {}",
                got.text
            );
            for refused in [["--table", "-"], ["--proc-root", "/proc"]] {
                let got = installed.bare_answer(&refused);
                assert!(
                    got.code == 3 && got.text.contains(" is not allowed "),
                    "{what}: {}",
                    got.text
                );
            }
            assert!(
                installed.bare_answer(&[]).value("usage").is_some(),
                "{what}"
            );
            assert_eq!(std::fs::read_dir(state).unwrap().count(), 0, "{what}");
        }
    }
}
