//! A recorder on the live kernel, in namespaces of the test.

mod netns {
    use std::fs;
    use std::path::Path;

    use super::super::{Directories, Recorder, TimeOfDay, last_count};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{cover, loopback_up, track};
    use crate::common::plugin::check_after;
    use crate::common::programs::run;
    use crate::common::wait::{holds, wait_for};
    use crate::common::{Answer, BUCKETS, MAX, conntrack};
    use crate::roles::{Client, Role};

    /// The live kernel, with the directories of a recorder and of a check.
    struct Host(Directories);

    impl Host {
        /// A namespace that tracks connections, in which 500 entries are a full table.
        fn new() -> Self {
            loopback_up();
            run("ip address add 10.0.3.7/32 dev lo");
            track();
            cover(MAX, "500\n");
            cover(BUCKETS, "65536\n");
            Self(Directories::new())
        }

        fn record(&self) -> Recorder {
            self.record_by(&[])
        }

        /// Starts a recorder by these words, and waits for its first sample.
        fn record_by(&self, words: &[&str]) -> Recorder {
            let samples = || self.text().matches("\nsample ").count();
            let before = samples();
            let recorder = self.0.record(words, &[]);
            wait_for("a first sample", || holds(samples() > before, self.text()));
            recorder
        }

        fn text(&self) -> String {
            self.0.text()
        }

        fn wait_for(&self, what: &str, wanted: &str) {
            wait_for(what, || {
                let text = self.text();
                holds(text.contains(wanted), text)
            });
        }

        /// A check without any capability.
        fn check(&self, more: &[&str]) -> Answer {
            self.check_by(&[], more)
        }

        /// The same check, started by these words.
        fn check_by(&self, words: &[&str], more: &[&str]) -> Answer {
            self.0.check(words, more)
        }
    }

    /// Connections that a client opened and closed.
    fn burst() -> (Role, Role) {
        let server = Role::server(&[], "10.0.3.7:6379");
        let client = Client {
            dial: "10.0.3.7:6379",
            comm: "sidekiq",
            threads: 5,
            held: 100,
            closed: 380,
        };
        (server, Role::client(&[], &client))
    }

    /// Waits until the table is calm again, and until the recorder has a sample of that.
    fn wait_for_calm(host: &Host) {
        wait_for("a sample of the calm table", || {
            let count = conntrack::count();
            let sampled = last_count(&host.text());
            holds(
                sampled.is_some_and(|n| n <= 50) && count <= 50,
                (sampled, count),
            )
        });
    }

    #[test]
    fn an_unprivileged_check_names_the_program_of_a_burst_that_is_over() {
        inside!(Namespaces::Network);
        let host = Host::new();
        let recorder = host.record();
        let before = host.check(&["-w", "peak=80"]);
        assert_eq!(before.code, 0, "{}", before.text);
        let (server, client) = burst();
        host.wait_for("a look at the full table", "\nfinding ");
        drop((server, client));
        conntrack::flush();
        wait_for_calm(&host);
        let answer = host.check(&["-w", "peak=80"]);
        assert_eq!(answer.code, 1, "{}", answer.text);
        for wanted in [
            " - peaked at 9",
            " UTC: sidekiq to 10.0.3.7:6379/tcp held ",
            "\nwhy: ",
            "\nlook: cat ",
        ] {
            assert!(
                answer.text.contains(wanted),
                "{wanted:?} in {}",
                answer.text
            );
        }
        recorder.stop();
    }

    #[test]
    fn a_recorder_goes_on_after_a_suspension_and_without_one_the_recording_is_stale() {
        inside!(Namespaces::Network);
        // the time since the boot goes on while a host is suspended; the other clocks are as they were
        let asleep = |seconds| ["unshare", "--time", "--boottime", seconds, "--"];
        let host = Host::new();
        let recorder = host.record();
        let before = host.check(&["-w", "peak=80"]);
        assert_eq!(before.code, 0, "{}", before.text);
        let begin = TimeOfDay::now();
        let burst = burst();
        host.wait_for("a look at the full table", "\nfinding ");
        drop(burst);
        let end = TimeOfDay::now();
        conntrack::flush();
        wait_for_calm(&host);
        recorder.stop();
        let recorder = host.record_by(&asleep("600"));
        let answer = host.check_by(&asleep("600"), &["-w", "peak=80"]);
        assert_eq!(answer.code, 1, "{}", answer.text);
        assert!(answer.text.contains("sidekiq to "), "{}", answer.text);
        let peak = answer
            .text
            .split_once(" - peaked at 9")
            .map(|(_, rest)| rest);
        let (_, time) = peak
            .and_then(|rest| rest.split_once("% at "))
            .expect("a peak");
        assert!(
            TimeOfDay::of(&time[..8]).is_between(begin, end),
            "{}",
            answer.text
        );
        recorder.stop();
        let stale = host.check_by(&asleep("1200"), &[]);
        assert_eq!(stale.code, 0, "{}", stale.text);
        assert!(
            stale.text.contains(", recording not used: "),
            "{}",
            stale.text
        );
        assert!(stale.text.contains(" is 10m old ("), "{}", stale.text);
    }

    #[test]
    fn a_check_of_another_network_namespace_does_not_believe_the_recording() {
        inside!(Namespaces::Network);
        let host = Host::new();
        let recorder = host.record();
        let here = host.check(&["-v"]);
        assert!(here.text.contains("\nrecorded every 3s, "), "{}", here.text);
        let paths = [host.0.recording.path(), host.0.state.path()];
        let [directory, state] = paths.map(|path: &Path| path.to_str().unwrap());
        let words = ["unshare", "--net", "--"];
        let mut command = check_after(
            &words,
            ["--recording", directory, "--state-dir", state, "-v"],
        );
        let answer = Answer::of(command.output().unwrap());
        let why = "is of another network namespace";
        assert!(answer.text.contains(why), "{}", answer.text);
        recorder.stop();
    }

    #[test]
    fn a_recorder_holds_its_capabilities_permitted_and_never_in_effect_while_it_waits() {
        inside!(Namespaces::Network);
        let host = Host::new();
        let recorder = host.record();
        host.wait_for("a look at the table", "\nsurvey ");
        let status = || fs::read_to_string(format!("/proc/{}/status", recorder.0.pid())).unwrap();
        let of = |name: &str| {
            let text = status();
            let line = text.lines().find(|line| line.starts_with(name));
            let mask = line.unwrap().split_whitespace().nth(1).unwrap().to_owned();
            u64::from_str_radix(&mask, 16).unwrap()
        };
        // CAP_DAC_READ_SEARCH, CAP_NET_ADMIN and CAP_SYS_PTRACE
        assert_eq!(of("CapPrm"), 1 << 2 | 1 << 12 | 1 << 19);
        wait_for("the recorder to wait", || {
            holds(of("CapEff") == 0, status())
        });
        assert_eq!(of("NoNewPrivs"), 1);
        recorder.stop();
    }
    mod strace {
        use super::*;

        #[test]
        fn a_look_that_ran_out_of_time_is_repeated_long_before_the_next_one_at_a_calm_table() {
            inside!(Namespaces::Network);
            let host = Host::new();
            // longer than the time for the entries of a look
            let delay = "inject=recvfrom:delay_enter=2000000:when=1";
            // -D: the recorder has the process number, so it gets the signal
            let recorder = host.record_by(&["strace", "-D", "-o", "/dev/null", "-e", delay]);
            let unread = "\nunread timed out before it was read\n";
            host.wait_for("a look that ran out of time", unread);
            host.wait_for("a look at the table", "\nsurvey ");
            recorder.stop();
        }
    }
}
