//! Losses are reported once, by the next run that can: in every network namespace, whatever fails in between.
//!
//! A simulation at the end makes random sequences of runs and faults, and keeps an account of every lost packet.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{
    Answer, BUCKETS, COUNT, MAX, ProcRoot, STATISTICS_HEADER, answer, statistics_row,
};

/// A host made of files: process 1 is in the network namespace of the check.
struct Host {
    root: ProcRoot,
    state: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let root = ProcRoot::empty();
        root.file(COUNT, "100\n")
            .file(MAX, "1000\n")
            .file(BUCKETS, "1000\n");
        symlink("1", root.path().join("self")).unwrap();
        symlink("self/net", root.path().join("net")).unwrap();
        let host = Self {
            root,
            state: tempfile::tempdir().unwrap(),
        };
        host.boot(1).at(1000);
        host.netns(1, 4).counters(1, &[[0; 4]]);
        host
    }

    fn boot(&self, n: u32) -> &Self {
        let id = format!("{n:08x}-5b1e-4a9c-8a55-0f1ff8d4b1c7\n");
        self.root.file("sys/kernel/random/boot_id", id);
        self
    }

    /// Seconds since the host was started.
    fn at(&self, seconds: u64) -> &Self {
        self.root.file("uptime", format!("{seconds}.00 0.00\n"));
        self
    }

    /// A process whose network namespace has this number.
    fn netns(&self, pid: u32, number: u64) -> &Self {
        let text = format!(
            "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n0 0 812 0 0 0 0 2 0 99\n0 0 0 0 0 0 0 2 0 {number}\n"
        );
        self.root.file(&format!("{pid}/net/netlink"), text);
        self
    }

    /// The counters of a process's network namespace: for each processor drop, chaintoolong, early_drop and
    /// insert_failed.
    fn counters(&self, pid: u32, processors: &[[u32; 4]]) -> &Self {
        let rows: String = processors
            .iter()
            .map(|[d, c, e, i]| statistics_row(*d, *c, *e, *i))
            .collect();
        let name = format!("{pid}/net/stat/nf_conntrack");
        self.root.file(&name, format!("{STATISTICS_HEADER}{rows}"));
        self
    }

    /// A process in a network namespace of its own that dropped so many packets.
    fn pod(&self, pid: u32, number: u64, drop: u32) -> &Self {
        self.netns(pid, number).counters(pid, &[[drop, 0, 0, 0]])
    }

    fn gone(&self, pid: u32) -> &Self {
        fs::remove_dir_all(self.root.path().join(pid.to_string())).unwrap();
        self
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        let fixed = [
            "--proc-root",
            self.root.path().to_str().unwrap(),
            "--state-dir",
            self.state.path().to_str().unwrap(),
        ];
        answer(fixed.iter().chain(arguments))
    }

    /// A run of every namespace that alerts at each loss.
    fn all(&self) -> Answer {
        self.run(&["--netns", "all", "-c", "lost=0"])
    }
}

/// The run reports so many lost packets, as those of the process that decides.
fn lost_is(answer: &Answer, expected: u32, of: u32) {
    let lost = answer.value("lost").map(|fields| fields[0].clone());
    assert_eq!(lost, Some(expected.to_string()), "{}", answer.text);
    assert_eq!(answer.code, if expected > 0 { 2 } else { 0 });
    let decides = format!("% full in process {of}, the worst of 2 network namespaces, ");
    assert!(answer.first_line().contains(&decides), "{}", answer.text);
    assert_eq!(answer.reported_losses(), Some(expected.into()));
}

fn is_unknown(answer: &Answer, why: &str) {
    assert_eq!(answer.code, 3, "{}", answer.text);
    let said = answer.first_line().split_once("lost not measured: ");
    assert!(
        said.is_some_and(|(_, said)| said.contains(why)),
        "{}",
        answer.text
    );
}

#[test]
fn a_namespace_whose_file_fails_once_is_compared_with_the_run_that_read_it() {
    let host = Host::new();
    host.pod(70, 900, 5);
    assert_eq!(host.all().code, 0);
    host.at(1300)
        .root
        .file("70/net/stat/nf_conntrack", "nonsense\n");
    assert_eq!(host.all().code, 3);
    host.at(1600).pod(70, 900, 12);
    let got = host.all();
    lost_is(&got, 7, 70);
    assert!(
        got.first_line().contains("lost 7 packets in the last 10m"),
        "since its file was read: {}",
        got.text
    );
    host.at(1900);
    assert_eq!(host.all().code, 0);
}

#[test]
fn a_namespace_that_is_not_seen_once_is_compared_with_the_run_that_saw_it() {
    let host = Host::new();
    host.pod(70, 900, 5);
    assert_eq!(host.all().code, 0);
    // as a namespace of `ip netns add` between two commands in it
    host.at(1300).gone(70);
    assert_eq!(host.all().code, 0);
    host.at(1600).pod(80, 900, 12);
    lost_is(&host.all(), 7, 80);
}

#[test]
fn a_container_in_the_place_of_another_lost_all_that_it_counted() {
    for (old, new, number) in [(5, 40, 901), (100, 3, 901), (100, 100, 901), (100, 3, 900)] {
        let host = Host::new();
        let files = |number| {
            if number == 900 {
                // a kernel that shows no netlink sockets: the number of the file may be used again
                let _ = fs::remove_file(host.root.path().join("70/net/netlink"));
            }
        };
        host.pod(70, 900, old);
        files(number);
        assert_eq!(host.all().code, 0);
        host.at(1300).pod(70, number, new);
        files(number);
        lost_is(&host.all(), new, 70);
        host.at(1600).pod(70, number, new + 1);
        files(number);
        lost_is(&host.all(), 1, 70);
    }
}

#[test]
fn a_namespace_that_the_previous_run_may_have_missed_is_unknown_and_never_ok() {
    for file in ["stat/nf_conntrack", "netlink"] {
        let host = Host::new();
        host.pod(70, 900, 30);
        host.root.file(&format!("70/net/{file}"), "nonsense\n");
        assert_eq!(host.all().code, 3, "{file}");
        host.at(1300).pod(70, 900, 40);
        is_unknown(
            &host.all(),
            "the previous run did not reach this network namespace",
        );
        host.at(1600).pod(70, 900, 42);
        lost_is(&host.all(), 2, 70);
    }
}

#[test]
fn a_namespace_without_a_number_this_time_is_unknown_and_known_the_next_time() {
    let host = Host::new();
    host.pod(70, 900, 5);
    assert_eq!(host.all().code, 0);
    host.at(1300).pod(70, 900, 6);
    host.root.file("70/net/netlink", "sk Eth Pid Inode\n");
    is_unknown(&host.all(), "/70/net/netlink ");
    host.at(1600).pod(70, 900, 12);
    lost_is(&host.all(), 7, 70);
}

#[test]
fn a_run_that_cannot_read_its_counters_leaves_the_losses_to_the_next_even_a_moment_later() {
    let host = Host::new();
    let own = || host.run(&["-c", "lost=0"]);
    let lost = |answer: &Answer| answer.value("lost").map(|fields| fields[0].clone());
    host.root.file("1/net/stat/nf_conntrack", "nonsense\n");
    assert_eq!(own().code, 3);
    host.at(1002).counters(1, &[[4, 0, 0, 0]]);
    assert_eq!(own().code, 0, "counters that nobody read before");
    host.at(1300).counters(1, &[[9, 0, 0, 0]]);
    assert_eq!(lost(&own()).as_deref(), Some("5"));
    host.at(1600)
        .root
        .file("1/net/stat/nf_conntrack", "nonsense\n");
    assert_eq!(own().code, 3);
    host.at(1602).counters(1, &[[11, 0, 0, 0]]);
    assert_eq!(lost(&own()).as_deref(), Some("2"));
    host.at(1900);
    assert_eq!(lost(&own()).as_deref(), Some("0"));
    host.at(2200)
        .root
        .file("1/net/stat/nf_conntrack", "nonsense\n");
    assert_eq!(own().code, 3);
    host.at(2500).counters(1, &[[18, 0, 0, 0]]);
    let got = own();
    assert_eq!(lost(&got).as_deref(), Some("7"));
    let said = "lost 7 packets in the last 10m";
    assert!(got.first_line().contains(said), "{}", got.text);
}
