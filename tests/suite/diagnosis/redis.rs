//! The story this plugin is for, from the kernel to the pager: an application opens a connection to its Redis for every
//! request, the table fills with TIME_WAIT, and the one line that arrives through NRPE's small packets says all of it.
//!
//! Connections, processes, rule and daemon are real, in namespaces of their own (tests/redis/story).
mod nrpe {
    mod admin {
        use crate::common::Answer;
        use crate::common::folder::new_folder;
        use crate::common::hosts::{AS_NAGIOS, host_by};
        use crate::common::programs::{file, install};
        use std::path::PathBuf;
        use std::process::Output;

        /// What of a packet of version 2 is text.
        const SMALL_PACKET: usize = 1023;

        /// The capabilities the package gives the plugin: for the table, and for the processes of other users.
        const CAPABILITIES: &str = "+net_admin,+sys_ptrace,+dac_read_search";

        /// Runs a command inside the story.
        fn in_story(words: &[&str], environment: &[(&str, &str)]) -> Output {
            let mut story = host_by(&[], "redis/story");
            story.args(words).envs(environment.iter().copied());
            story.output().expect("timeout starts")
        }

        /// The plugin, and the scripts that start the daemon, where user nagios may run them: a checkout may be for its owner
        /// alone.
        fn for_everybody() -> (tempfile::TempDir, String, String) {
            let directory = new_folder();
            let installed = |from: PathBuf, name: &str| {
                let path = directory.path().join(name);
                install(from, &path);
                path.into_os_string().into_string().expect("ASCII")
            };
            let plugin = installed(crate::common::binary(), "check_conntrack");
            installed(file("hosts/lib.sh"), "lib.sh");
            installed(file("scripts/scratch"), "scratch");
            installed(file("scripts/scratch"), "scratch");
            let script = installed(file("hosts/nrpe.sh"), "nrpe.sh");
            (directory, plugin, script)
        }

        /// What arrives through a daemon inside the namespace of the application. The daemon is user nagios from the start,
        /// so it can hand on the capabilities of `privileges`.
        fn arrives(privileges: &[&str], arguments: &str) -> (Option<i32>, String) {
            let (_directory, path, script) = for_everybody();
            // a namespace of its own, so every port is free
            let line = format!("{path} --state-dir /nonexistent -t 60 {arguments}");
            let words = [&AS_NAGIOS[..], privileges, &["--", &script, "5666", &line]].concat();
            let output = in_story(&words, &[("NRPE_PKT", "-2")]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            let text = String::from_utf8(output.stdout).expect("ASCII");
            let code = output.status.code();
            assert!(matches!(code, Some(0..=3)), "{}\n{stderr}", output.status);
            (code, text)
        }

        #[test]
        fn line_1_names_the_redis_the_share_of_time_wait_and_the_culprit_within_a_small_packet() {
            let inheritable = format!("--inh-caps={CAPABILITIES}");
            let ambient = format!("--ambient-caps={CAPABILITIES}");
            // said here because a table of this host that is a hundred times as large would rule the dump out
            let arguments = "--top --source netlink";
            let (code, text) = arrives(&[&inheritable, &ambient], arguments);
            assert!(text.len() <= SMALL_PACKET, "{}: {text}", text.len());
            assert_eq!(code, Some(2), "{text}");
            // all of it in the text of the first line, the only one a pager shows
            let first = text.lines().next().expect("a line");
            let (words, perfdata) = first.split_once('|').expect("perfdata");
            assert!(
                words.starts_with("CONNTRACK is CRITICAL: 98."),
                "nearly full: {words}"
            );
            // entries of the daemon's own connections are in the table too, so the numbers of the whole vary by a few
            for fact in [
                // who, and whom it dials: another network namespace of this host
                "% full - sidekiq to 10.0.3.7:6379/tcp on redis-server[",
                // how much of the table, and what the entries are
                "] holds 99% of the entries, 1648 of 2060 already closed (TIME_WAIT) - ",
                " of 2100 entries, usage above 90%",
            ] {
                assert!(words.contains(fact), "{fact:?} in {words}");
            }
            // who holds the rest, and what to do
            for fact in [
                "\nwhy: sidekiq opens a new connection for each request, ",
                "; it holds 412 of the 412 still open\n",
                "\nnow: sysctl -w net.netfilter.nf_conntrack_max=",
                "\nfix: give sidekiq a connection pool that outlives the request (25 threads, 412 connections open)\n",
            ] {
                assert!(text.contains(fact), "{fact:?} in {text}");
            }
            // the address is for people, not for labels
            assert!(!perfdata.contains("10.0.3.7"), "{perfdata}");
            assert!(perfdata.contains(" time_wait=16"), "{perfdata}");
        }

        #[test]
        fn without_privilege_the_redis_and_its_connections_are_still_named_and_what_is_missing_is_said()
         {
            let (code, text) = arrives(&[], "--top");
            assert!(text.len() <= SMALL_PACKET, "{}: {text}", text.len());
            assert_eq!(code, Some(2), "{text}");
            let first = text.lines().next().expect("a line");
            let (words, _) = first.split_once('|').expect("perfdata");
            assert!(words.contains(" to 10.0.3.7:6379/tcp "), "{words}");
            // the reason behind it is mostly the missing CAP_NET_ADMIN
            assert!(
                words.contains(", sees ") && words.contains(" entries (no CAP_NET_ADMIN)"),
                "{words}"
            );
            // the sockets are root's, and so is the process
            assert!(!words.contains("sidekiq"), "{words}");
        }

        #[test]
        fn with_the_verdict_alone_nobody_is_named() {
            let (code, text) = arrives(&[], "");
            assert_eq!(code, Some(2), "{text}");
            assert!(!text.contains("6379"), "{text}");
        }

        #[test]
        fn the_answer_keeps_the_contract_where_no_host_is_in_between() {
            let (_directory, path, _script) = for_everybody();
            let words = "--state-dir /nonexistent -t 60 --top --source netlink".split(' ');
            let words: Vec<&str> = [path.as_str()].into_iter().chain(words).collect();
            let answer = Answer::of(in_story(&words, &[]));
            assert_eq!(answer.code, 2, "{}", answer.text);
            assert!(answer.fits_nrpe_2(), "{}", answer.text);
            assert!(
                answer
                    .first_line()
                    .contains(" - sidekiq to 10.0.3.7:6379/tcp on redis-server["),
                "{}",
                answer.text
            );
            assert!(answer.text.contains("\nfix: "), "{}", answer.text);
        }
    }
}
