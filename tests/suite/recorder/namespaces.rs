//! A recorder of every network namespace of a host, and checks on the host and inside the others.

mod pidns {
    use std::fs;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::super::{Directories, Recorder, last_count};
    use crate::common::conntrack;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, cover, loopback_up};
    use crate::common::wait::{holds, wait_for};
    use crate::common::{Answer, BUCKETS, MAX};

    /// A host with a limit of 1000, and the directories of a recorder and of a check.
    struct Host(Directories);

    impl Host {
        fn new() -> Self {
            loopback_up();
            cover(MAX, "1000\n");
            cover(BUCKETS, "65536\n");
            Self(Directories::new())
        }

        /// Starts a recorder of all namespaces by these words.
        fn record(&self, words: &[&str]) -> Recorder {
            self.0.record(words, &["--netns", "all"])
        }

        /// The recordings of other namespaces.
        fn others(&self) -> Vec<PathBuf> {
            let files = fs::read_dir(self.0.recording.path()).unwrap();
            let paths = files.map(|file| file.unwrap().path());
            let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            paths
                .filter(|path| name(path).starts_with("recording-"))
                .collect()
        }

        fn check(&self, words: &[&str], more: &[&str]) -> Answer {
            self.0.check(words, more)
        }
    }

    /// Waits until a recording of another namespace has this text, and returns its path.
    fn recorded(host: &Host, wanted: &str) -> PathBuf {
        wait_for(wanted, || {
            let texts = host.others().into_iter().map(|path| {
                let text = fs::read_to_string(&path).unwrap_or_default();
                (path, text)
            });
            let texts: Vec<(PathBuf, String)> = texts.collect();
            let found = texts.iter().find(|(_, text)| text.contains(wanted));
            found.map(|(path, _)| path.clone()).ok_or(texts)
        })
    }

    #[test]
    fn a_spike_in_a_container_is_named_after_it_is_over_with_and_without_the_privilege_to_enter() {
        inside!(Namespaces::Processes);
        let without_admin = ["setpriv", "--bounding-set=-sys_admin"];
        for words in [&[][..], &without_admin] {
            let host = Host::new();
            let recorder = host.record(words);
            let pod = Neighbour::with_entries(20);
            pod.run("ip addr add 198.51.100.7/32 dev lo");
            recorded(&host, "\nsample ");
            let before = host.check(&[], &["--netns", "all", "-w", "peak=80"]);
            assert_eq!(before.code, 0, "{}", before.text);
            let begin = Instant::now();
            conntrack::insert_by(&pod.words(), &conntrack::udp(1000..=1929));
            // two looks are never closer to each other than ten seconds
            wait_for("a look at the full table", || {
                let texts = host.others().into_iter().map(fs::read_to_string);
                let texts: Vec<String> = texts.map(|text| text.unwrap_or_default()).collect();
                let is_look =
                    |line: &str| line.starts_with("survey ") && line.contains(" 950 1000 ");
                holds(texts.iter().any(|text| text.lines().any(is_look)), texts)
            });
            conntrack::flush_by(&pod.words());
            wait_for("a sample of the calm table", || {
                let texts = host.others().into_iter().map(fs::read_to_string);
                let texts: Vec<String> = texts.map(|text| text.unwrap_or_default()).collect();
                let is_calm = texts.iter().all(|text| last_count(text) == Some(0));
                holds(is_calm, texts)
            });
            // a run within five seconds does not take the place of the run before
            wait_for("a later run", || {
                let elapsed = begin.elapsed();
                holds(elapsed > Duration::from_secs(6), elapsed)
            });
            let answer = host.check(&[], &["--netns", "all", "-w", "peak=80"]);
            let wanted = [
                " in sleep[",
                ", the worst of 2 network namespaces, no packets lost yet - peaked at 95.0% at ",
                "\nlook: cat ",
                "/incidents/2",
            ];
            for wanted in wanted {
                assert!(
                    answer.text.contains(wanted),
                    "{wanted:?} in {}",
                    answer.text
                );
            }
            // the file is of that namespace
            let files = fs::read_dir(host.0.kept.path().join("incidents")).unwrap();
            let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
            let [file] = files.as_slice() else {
                panic!("{files:?}");
            };
            assert!(
                file.to_str().unwrap().contains("Z-routesocket-"),
                "{files:?}"
            );
            let text = fs::read_to_string(file).unwrap();
            assert!(text.contains("% full in sleep["), "{text}");
            assert!(!text.contains("the worst of"), "{text}");
            recorder.stop();
        }
    }

    #[test]
    fn a_check_inside_a_namespace_finds_the_recording_that_the_host_made_of_it() {
        inside!(Namespaces::Processes);
        let host = Host::new();
        let pod = Neighbour::with_entries(20);
        let other = Neighbour::with_entries(30);
        let recorder = host.record(&[]);
        for netns in [&pod, &other] {
            wait_for("a recording of this namespace", || {
                let answer = host.check(&netns.words(), &["-v"]);
                holds(answer.text.contains("\nrecorded every 3s, "), answer.text)
            });
        }
        recorder.stop();
    }

    #[test]
    fn a_recording_goes_with_its_namespace_and_with_a_recorder_that_records_one_only() {
        inside!(Namespaces::Processes);
        let host = Host::new();
        let first = Neighbour::with_entries(20);
        let second = Neighbour::with_entries(30);
        let recorder = host.record(&[]);
        let wait = |n: usize| {
            wait_for(&format!("{n} recordings"), || {
                let others = host.others();
                holds(others.len() == n, others)
            });
        };
        wait(2);
        drop(first);
        wait(1);
        recorder.stop();
        assert_eq!(host.others().len(), 1);
        let paths = [host.0.recording.path(), host.0.kept.path()];
        let [directory, kept] = paths.map(|path| path.to_str().unwrap());
        let arguments = [
            "--record",
            "1",
            "--recording",
            directory,
            "--state-dir",
            kept,
        ];
        let recorder = Recorder::start(&[], &arguments);
        wait(0);
        recorder.stop();
        drop(second);
    }

    #[test]
    fn a_recorder_returns_to_its_own_namespace_after_it_entered_another() {
        inside!(Namespaces::Processes);
        let host = Host::new();
        let _pod = Neighbour::with_entries(700);
        let recorder = host.record(&[]);
        recorded(&host, "\nsurvey ");
        let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        wait_for("the recorder to be at home", || {
            let there = link(&recorder.0.pid().to_string());
            holds(there == link("self"), there)
        });
        let text = fs::read_to_string(host.0.recording.path().join("recording")).unwrap();
        assert!(!text.contains(" 700 1000"), "{text}");
        recorder.stop();
    }
}
