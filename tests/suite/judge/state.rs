//! The state of the previous run: what it makes of counters, and everything that may befall it between two runs.
//!
//! None of these may raise a false alarm, lose a loss, or follow where somebody else points.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::common::programs::{printed, program};
use crate::common::wait::holds;
use crate::common::{
    Answer, COUNT, ProcRoot, STATISTICS, STATISTICS_HEADER, answer, check, statistics_row,
};

const BOOT: &str = "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7";
const DAY: u64 = 86_400;

/// A host made of files, with a directory for the state.
struct Host {
    root: ProcRoot,
    state: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let root = ProcRoot::tracking("100\n", "1000\n");
        root.file("sys/kernel/random/boot_id", format!("{BOOT}\n"));
        let host = Self {
            root,
            state: crate::common::new_folder(),
        };
        host.namespace(4_026_531_840).at(1000);
        host
    }

    /// Seconds since it was started.
    fn at(&self, seconds: u64) -> &Self {
        self.root
            .file("uptime", format!("{seconds}.00 {seconds}.00\n"));
        self
    }

    fn namespace(&self, inode: u64) -> &Self {
        let link = self.root.join("self/ns/net");
        let _ = fs::remove_file(&link);
        symlink(format!("net:[{inode}]"), link).unwrap();
        self
    }

    fn count(&self, count: u32) -> &Self {
        self.root.file(COUNT, format!("{count}\n"));
        self
    }

    /// For each processor drop, chaintoolong, early_drop and insert_failed.
    fn counters(&self, processors: &[[u32; 4]]) -> &Self {
        let rows: String = processors
            .iter()
            .map(|[d, c, e, i]| statistics_row(*d, *c, *e, *i))
            .collect();
        self.root
            .file(STATISTICS, format!("{STATISTICS_HEADER}{rows}"));
        self
    }

    fn dropped(&self, drop: u32) -> &Self {
        self.counters(&[[drop, 0, 0, 0]])
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec![
            "--proc-root",
            self.root.path().to_str().unwrap(),
            "--state-dir",
            self.state.path().to_str().unwrap(),
        ];
        all.extend(more);
        all
    }

    fn answer(&self, arguments: &[&str]) -> Answer {
        answer(self.arguments(arguments))
    }

    /// A run of the service that most of these tests are about.
    fn run(&self) -> Answer {
        self.answer(&["-c", "lost=0"])
    }

    /// The reason why a further run of that service would be a first run; it changes nothing.
    fn why(&self) -> String {
        let answer = self.answer(&["-c", "lost=0", "-v"]);
        let line = answer.text.lines().find(|line| line.contains("first run"));
        line.unwrap_or("it is none").to_owned()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.state.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    fn only_file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn lost(answer: &Answer) -> Option<String> {
    answer.value("lost").map(|fields| fields[0].clone())
}

/// No alarm, and nothing said of losses.
fn is_first_run(answer: &Answer) {
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert_eq!(lost(answer), None, "{}", answer.text);
    assert_eq!(answer.reported_losses(), None, "{}", answer.text);
}

fn lost_is(answer: &Answer, expected: u64) {
    assert_eq!(lost(answer), Some(expected.to_string()), "{}", answer.text);
    let code = if expected > 0 { 2 } else { 0 };
    assert_eq!(answer.code, code, "{}", answer.text);
    assert_eq!(answer.reported_losses(), Some(expected), "{}", answer.text);
}

/// The part of line 1 behind how full the table is.
fn values(answer: &Answer) -> &str {
    let text = answer.first_line().split('|').next().unwrap();
    let (_, values) = text.split_once(" free)").expect(text);
    values
}

// ---- what an OK says ------------------------------------------------------------------------------------------------

#[test]
fn an_ok_names_each_metric_that_was_given_a_range_and_its_value() {
    let host = Host::new();
    host.dropped(7);
    let asked = [
        "-w",
        "lost=100",
        "-c",
        "drop=50",
        "-w",
        "growth=~:1000",
        "-w",
        "full_in=1m:",
        "-c",
        "chain=10",
        "-w",
        "usage=90",
        "-c",
        "entries=950",
        "-w",
        "free=1:",
    ];
    let first = host.answer(&asked);
    assert_eq!(
        values(&first),
        ", mean hash chain 0.2, first run: no previous run is known",
        "said once, of five metrics"
    );
    let second = host.at(1300).answer(&asked);
    assert_eq!(
        values(&second),
        ", mean hash chain 0.2, no packets lost in the last 5m, drop +0 in the last 5m, growth +0.0 entries/min, \
         the table does not grow"
    );
    // entries that grow by 300 in 5 minutes fill the other 600 in 10
    let third = host.at(1600).dropped(8).count(400).answer(&asked);
    assert_eq!(third.code, 0, "{}", third.text);
    for value in [
        ", mean hash chain 0.8",
        ", drop +1 in the last 5m",
        ", growth +60 entries/min",
        ", full in 10m",
    ] {
        assert!(values(&third).contains(value), "{value}: {}", third.text);
    }
    // what was lost within its range is told as ever
    assert!(third.first_line().contains("1 packet"), "{}", third.text);
    assert!(!third.text.contains("no packets lost"), "{}", third.text);
}

#[test]
fn an_ok_names_no_metric_that_has_a_default_range_only_and_no_other_state_names_any() {
    let host = Host::new();
    host.run();
    host.at(1300);
    assert_eq!(values(&host.answer(&[])), "");
    assert_eq!(values(&host.run()), ", no packets lost in the last 5m");
    let switched_off = host.answer(&["-w", "chain=~:", "-c", "lost=~:"]);
    assert_eq!(values(&switched_off), "");
    let warning = host.answer(&["-c", "early_drop=0", "-w", "entries=50"]);
    assert_eq!(warning.code, 1, "{}", warning.text);
    assert!(!warning.text.contains("early_drop +0"), "{}", warning.text);
}

#[test]
fn an_ok_with_many_ranges_names_as_many_values_as_fit_into_300_bytes_and_counts_the_others() {
    let host = Host::new();
    let entry = "ipv4 2 udp 17 29 src=192.0.2.7 dst=198.51.100.9 sport=1025 dport=53 src=198.51.100.9 dst=192.0.2.7 sport=53 dport=1025 use=1\n";
    host.count(1)
        .root
        .file("net/nf_conntrack", entry)
        .file("net/fib_trie", "");
    let metrics = "lost drop early_drop chaintoolong insert_failed growth established time_wait syn_sent syn_recv \
                   fin_wait close_wait last_ack close udp icmp other unreplied evictable endpoint";
    let all: Vec<String> = metrics
        .split_whitespace()
        .map(|metric| format!("-w{metric}=~:100000"))
        .collect();
    let asked: Vec<&str> = all.iter().map(String::as_str).collect();
    host.answer(&asked);
    let got = host.at(1300).answer(&asked);
    assert_eq!(got.code, 0, "{}", got.text);
    let text = got.first_line().split('|').next().unwrap();
    assert!((250..=300).contains(&text.len()), "{text}");
    let (named, more) = values(&got).rsplit_once(", ").unwrap();
    let left_out = more.strip_suffix(" more in range").expect(text);
    let left_out: usize = left_out.parse().unwrap();
    assert_eq!(named.matches(", ").count() + left_out, all.len(), "{text}");
}

// ---- what is measured -----------------------------------------------------------------------------------------------

#[test]
fn the_first_run_is_ok_and_the_second_tells_the_increase_of_all_processors() {
    let host = Host::new();
    host.counters(&[[1000, 50, 7, 60], [2000, 0, 0, 0]]);
    is_first_run(&host.run());
    host.at(1300)
        .counters(&[[1200, 84, 8, 94], [3000, 0, 0, 0]]);
    let got = host.run();
    lost_is(&got, 1234);
    assert!(
        got.first_line().starts_with(
            "CONNTRACK is CRITICAL: 10.0% full, lost 1234 packets between two checks (the table was full in the last 5m), \
             not now - hash table too small: 100 entries in 1000 buckets - 100 of 1000 entries, lost above 0"
        ),
        "{}",
        got.text
    );
    // as the graphs know them, the counters themselves do not change their meaning
    assert_eq!(got.value("drop").unwrap(), ["4200c"]);
    host.at(1600);
    lost_is(&host.run(), 0);
}

#[test]
fn losses_are_told_where_nobody_gave_a_threshold() {
    let host = Host::new();
    host.answer(&[]);
    host.at(1060).dropped(1);
    let got = host.answer(&[]);
    assert_eq!(got.code, 0);
    assert!(
        got.first_line().contains(", lost 1 packet in the last 60s"),
        "{}",
        got.text
    );
    assert_eq!(got.value("lost").unwrap(), ["1", "", "", "0"]);
}

#[test]
fn a_full_table_is_only_blamed_where_the_counters_say_so() {
    let full = |before: u32, after: u32, counters: [u32; 4]| {
        let host = Host::new();
        host.count(before).run();
        host.at(1300).count(after).counters(&[counters]);
        let got = host.run();
        const REASONS: [&str; 4] = [
            "(the table was full in the last 5m), not now",
            "(hash chains were too long in the last 5m), not now",
            "LOSING CONNECTIONS, table full: ",
            "(table full between two checks, insert clash, or helper drop)",
        ];
        let said = REASONS.map(|reason| got.first_line().contains(reason));
        assert_eq!(said.iter().filter(|said| **said).count(), 1, "{}", got.text);
        REASONS[said.iter().position(|said| *said).unwrap()]
    };
    // an unresolved clash, a helper's verdict
    assert!(full(100, 100, [9, 0, 0, 9]).starts_with("(table full between two checks"));
    assert!(full(100, 100, [9, 0, 1, 0]).starts_with("(the table was full"));
    assert!(full(1000, 100, [9, 0, 0, 0]).starts_with("(the table was full"));
    assert!(full(100, 1001, [9, 0, 0, 0]).starts_with("LOSING CONNECTIONS"));
    // evictions alone make room, and lose nothing but what was evicted
    assert!(full(1000, 1000, [0, 9, 9, 9]).starts_with("(hash chains were too long"));
}

#[test]
fn each_counter_has_a_threshold_of_its_own() {
    for (metric, counters) in [
        ("drop", [5, 0, 0, 0]),
        ("chaintoolong", [0, 5, 0, 0]),
        ("early_drop", [0, 0, 5, 0]),
        ("insert_failed", [0, 0, 0, 5]),
    ] {
        let host = Host::new();
        let (fine, exceeded) = (format!("{metric}=5"), format!("{metric}=4"));
        let arguments = ["-w", fine.as_str(), "-c", exceeded.as_str()];
        assert_eq!(host.answer(&arguments).code, 0);
        host.at(1300).counters(&[counters]);
        let got = host.answer(&arguments);
        assert_eq!(got.code, 2, "{}", got.text);
        let expected = format!("{metric} +5 above 4 in the last 5m");
        assert!(got.first_line().contains(&expected), "{}", got.text);
        host.at(1600);
        assert_eq!(host.answer(&arguments).code, 0);
    }
}

#[test]
fn growth_is_entries_a_minute_and_full_in_what_is_left_at_that() {
    let host = Host::new();
    let arguments = ["-w", "growth=~:10%", "-c", "full_in=5m:"];
    let first = host.answer(&arguments);
    assert_eq!((first.code, first.value("growth")), (0, None));
    // 100 of 1000 more in 60 s: 10 percent a minute, which is still fine; 800 left last for 8 minutes
    host.at(1060).count(200);
    let got = host.answer(&arguments);
    assert_eq!(got.code, 0, "{}", got.text);
    assert_eq!(got.value("growth").unwrap(), ["100.0", "100"]);
    assert_eq!(got.value("full_in").unwrap(), ["480s", "", "300:", "0"]);
    // 301 in 60 s: 499 left at 301 a minute
    host.at(1120).count(501);
    let got = host.answer(&arguments);
    assert_eq!(got.code, 2);
    assert!(
        got.first_line().contains(
            "50.1% full, no packets lost yet, full in 99s - 501 of 1000 entries, full_in below 5m, \
             growth +301 entries/min above 10%, full at "
        ),
        "{}",
        got.text
    );
    assert_eq!(got.value("full_in").unwrap()[0], "99s");
    // smaller and smaller: never full, and no number for it
    host.at(1180).count(480);
    let got = host.answer(&arguments);
    assert_eq!((got.code, got.value("full_in")), (0, None), "{}", got.text);
    assert_eq!(got.value("growth").unwrap()[0], "-21.0");
    // full, and not growing any more: full_in does not recover
    host.at(1240).count(1000);
    assert_eq!(host.answer(&arguments).code, 2);
    host.at(1300);
    let got = host.answer(&arguments);
    assert_eq!(got.code, 2);
    assert_eq!(got.value("full_in").unwrap()[0], "0s");
}

#[test]
fn a_table_without_a_limit_is_never_full() {
    let host = Host::new();
    host.root.file(crate::common::MAX, "0\n");
    let arguments = ["-c", "full_in=5m:", "-c", "growth=100"];
    host.answer(&arguments);
    host.at(1060).count(1100);
    let got = host.answer(&arguments);
    assert!(
        got.first_line()
            .contains("growth +1000 entries/min above 100")
    );
    assert!(!got.text.contains("full in"), "{}", got.text);
    assert_eq!(got.value("full_in"), None);
}

#[test]
fn a_problem_says_when_the_table_will_be_full() {
    let host = Host::new();
    host.count(800).answer(&[]);
    host.at(1300).count(900);
    let got = host.answer(&[]);
    assert_eq!(got.code, 1);
    assert!(
        got.first_line()
            .contains(": 90.0% full, no packets lost yet, full in 5m - "),
        "{}",
        got.text
    );
}

#[test]
fn a_kernel_that_does_not_limit_chains_loses_none_to_them() {
    let host = Host::new();
    let row = |drop: u32| {
        let header = STATISTICS_HEADER.replace("chainlength", "delete_list");
        host.root.file(
            STATISTICS,
            format!("{header}{}", statistics_row(drop, 77, 0, 0)),
        );
    };
    row(3);
    is_first_run(&host.run());
    host.at(1300);
    row(5);
    lost_is(&host.run(), 2);
    assert_eq!(host.answer(&["-c", "chaintoolong=0"]).code, 0);
}

#[test]
fn without_counters_growth_is_measured_and_losses_are_unknown() {
    let host = Host::new();
    host.root.remove(STATISTICS);
    let arguments = ["-c", "growth=1000", "-c", "lost=0"];
    host.answer(&arguments);
    host.at(1300).count(200);
    let got = host.answer(&arguments);
    assert_eq!(got.code, 3);
    assert!(got.text.contains("lost not measured: "), "{}", got.text);
    assert_eq!(got.value("growth").unwrap()[0], "20.0");
    // once they are there they need a run to be compared with
    host.at(1600).dropped(9);
    let got = host.answer(&arguments);
    assert_eq!((got.code, lost(&got)), (0, None), "{}", got.text);
    host.at(1900).dropped(10);
    lost_is(&host.answer(&arguments), 1);
}

// ---- when runs follow each other closely ----------------------------------------------------------------------------

#[test]
fn a_run_that_follows_within_5_seconds_sees_what_the_one_before_saw() {
    let host = Host::new();
    host.run();
    host.at(1300).dropped(7);
    lost_is(&host.run(), 7);
    // somebody looks for himself: the same, and the next scheduled run is not robbed
    host.at(1304).dropped(9);
    lost_is(&host.run(), 9);
    lost_is(&host.run(), 9);
    host.at(1600).dropped(10);
    lost_is(&host.run(), 3);
}

#[test]
fn two_runs_at_the_very_beginning_say_nothing_of_growth() {
    let host = Host::new();
    let arguments = ["-c", "growth=0", "-c", "full_in=1h:", "-c", "lost=0"];
    host.answer(&arguments);
    host.at(1001).count(900).dropped(3);
    let got = host.answer(&arguments);
    assert_eq!((got.value("growth"), got.value("full_in")), (None, None));
    lost_is(&got, 3);
    // not even a hundredth of a second later
    let host = Host::new();
    host.run();
    host.dropped(3);
    is_first_run(&host.run());
    host.at(1005);
    lost_is(&host.run(), 3);
}

#[test]
fn growth_is_measured_from_5_seconds_on() {
    let growth_at = |uptime: &str| {
        let host = Host::new();
        host.answer(&["-c", "growth=9999"]);
        host.count(200).root.file("uptime", uptime);
        let growth = host.answer(&["-c", "growth=9999"]).value("growth");
        growth.map(|fields| fields[0].clone())
    };
    assert_eq!(growth_at("1004.99 1.00\n"), None);
    // 100 entries in 5 seconds
    assert_eq!(growth_at("1005.00 1.00\n"), Some("1200.0".to_owned()));
}

// ---- what befalls a host --------------------------------------------------------------------------------------------

#[test]
fn after_a_reboot_it_is_a_first_run() {
    let host = Host::new();
    host.dropped(5).run();
    host.root.file(
        "sys/kernel/random/boot_id",
        "00000000-0000-4000-8000-000000000000\n",
    );
    // also where more time went by and more was lost than before it
    host.at(5000).dropped(900);
    is_first_run(&host.run());
    host.at(5300).dropped(903);
    lost_is(&host.run(), 3);
}

#[test]
fn after_a_reboot_that_is_what_is_said() {
    let host = Host::new();
    let arguments = ["-c", "lost=0", "-v"];
    host.answer(&arguments);
    host.root.file(
        "sys/kernel/random/boot_id",
        "00000000-0000-4000-8000-000000000000\n",
    );
    host.at(20);
    assert!(
        host.why()
            .contains("first run: the host was rebooted since the previous run"),
        "{}",
        host.why()
    );
}

#[test]
fn another_namespace_is_another_baseline() {
    let host = Host::new();
    host.run();
    host.at(1300).namespace(4_026_532_000).dropped(500);
    is_first_run(&host.run());
    // and each keeps its own
    host.at(1400).namespace(4_026_531_840).dropped(2);
    lost_is(&host.run(), 2);
    host.at(1700).namespace(4_026_532_000).dropped(501);
    lost_is(&host.run(), 1);
    assert_eq!(host.files().len(), 2);
}

#[test]
fn the_state_of_another_namespace_is_not_believed() {
    let host = Host::new();
    host.run();
    let mine = host.only_file();
    host.at(1300).namespace(4_026_532_000).dropped(500).run();
    let other = host.files().into_iter().find(|f| *f != mine).unwrap();
    host.at(1600).dropped(900);
    fs::write(&other, fs::read(&mine).unwrap()).unwrap();
    assert!(host.why().contains("did not see this network namespace"));
    is_first_run(&host.run());
}

#[test]
fn a_counter_that_wraps_goes_on() {
    let host = Host::new();
    host.counters(&[[u32::MAX - 4, 0, 0, 0], [3, 0, 0, 0]])
        .run();
    host.at(1300).counters(&[[5, 0, 0, 0], [3, 0, 0, 0]]);
    lost_is(&host.run(), 10);
}

#[test]
fn counters_that_were_reset_begin_anew() {
    for (then, now) in [
        // the module was loaded anew
        ([[300, 0, 4, 0], [0, 7, 0, 0]], [[0; 4]; 2]),
        ([[300, 0, 0, 0], [0; 4]], [[299, 0, 0, 0], [0; 4]]),
        // one of them looks like a wrap, but they fell together
        (
            [[u32::MAX - 9, 0, 0, 0], [u32::MAX - 3, 0, 0, 0]],
            [[2, 0, 0, 0], [1, 0, 0, 0]],
        ),
        ([[9, 0, 0, 0], [9, 0, 0, 0]], [[9, 0, 0, 0], [8, 0, 0, 0]]),
    ] {
        let host = Host::new();
        host.counters(&then).run();
        host.at(1300).counters(&now);
        assert!(host.why().contains("the counters were reset"), "{then:?}");
        is_first_run(&host.run());
        let mut more = now;
        more[1][0] += 6;
        host.at(1600).counters(&more);
        lost_is(&host.run(), 6);
    }
}

#[test]
fn processors_that_come_and_go_make_a_first_run() {
    let two = [[5, 0, 0, 0], [6, 0, 0, 0]];
    let three = [[50, 0, 0, 0], [60, 0, 0, 0], [70, 0, 0, 0]];
    for (then, now) in [(&two[..], &three[..]), (&three[..], &two[..])] {
        let host = Host::new();
        host.counters(then).run();
        host.at(1300).counters(now);
        assert!(host.why().contains("set of CPUs"));
        is_first_run(&host.run());
        host.at(1600);
        lost_is(&host.run(), 0);
    }
}

#[test]
fn the_clock_may_be_set_to_anything() {
    let host = Host::new();
    let other = ["-c", "lost=0", "-c", "drop=100"];
    host.run();
    host.answer(&other);
    for (shift, later) in [(30 * DAY, false), (30 * DAY, true)] {
        for file in host.files() {
            let now = SystemTime::now();
            let set = Duration::from_secs(shift);
            let time = if later { now + set } else { now - set };
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_modified(time).unwrap();
        }
        // a run writes, and looks for what is old
        host.at(if later { 1600 } else { 1300 })
            .dropped(4 + u32::from(later));
        assert_eq!(lost(&host.run()).unwrap(), if later { "1" } else { "4" });
        assert_eq!(host.files().len(), 2, "nobody's baseline was taken for old");
    }
    lost_is(&host.answer(&other), 5);
}

#[test]
fn a_previous_run_in_the_future_or_long_ago_is_none() {
    let host = Host::new();
    host.at(5000).run();
    host.at(4999).dropped(9);
    assert!(host.why().contains("lies in the future"));
    is_first_run(&host.run());
    host.at(4999 + 7 * DAY).dropped(10);
    lost_is(&host.run(), 1);
    host.at(4999 + 14 * DAY + 1).dropped(20);
    assert!(host.why().contains("more than 7 days ago"));
    is_first_run(&host.run());
}

// ---- what befalls the files -----------------------------------------------------------------------------------------

#[test]
fn a_state_that_was_cut_or_changed_anywhere_is_none() {
    let host = Host::new();
    host.counters(&[[5, 6, 7, 8], [1, 2, 3, 4]]).run();
    let file = host.only_file();
    let whole = fs::read(&file).unwrap();
    host.at(1300).counters(&[[9, 9, 9, 9], [9, 9, 9, 9]]);
    let mut damaged: Vec<Vec<u8>> = (0..whole.len())
        .step_by(7)
        .map(|n| whole[..n].to_vec())
        .collect();
    damaged.extend((0..whole.len()).step_by(5).map(|n| {
        let mut text = whole.clone();
        text[n] ^= 1;
        text
    }));
    damaged.extend([
        b"\0".repeat(4096),
        vec![0xff; 100],
        [whole.as_slice(), whole.as_slice()].concat(),
        b"check_conntrack state 2\n".to_vec(),
        b"check_conntrack state x\n".to_vec(),
    ]);
    for text in damaged {
        fs::write(&file, &text).unwrap();
        let got = host.run();
        is_first_run(&got);
        // it has been written anew
        assert_ne!(fs::read(&file).unwrap(), text);
    }
    host.at(1600).counters(&[[9, 9, 9, 9], [9, 10, 9, 9]]);
    lost_is(&host.run(), 1);
}

#[test]
fn a_state_of_another_version_is_a_first_run_once() {
    let host = Host::new();
    host.run();
    let file = host.only_file();
    // of 0.1.0
    let old = "check_conntrack state 1\nboot 5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7\nat 100000\nnamespace inode \
               4026531840\ncount 100\nmax 1000\nprocessor 0 0 0 0\ncheck 8cb6f5e0ba8e3d6a\n";
    fs::write(&file, old).unwrap();
    host.at(1300).dropped(50);
    let got = host.answer(&["-c", "lost=0", "-v"]);
    is_first_run(&got);
    assert!(
        got.text.contains(
            "first run: the state of the previous run was written by another version of this check"
        ),
        "{}",
        got.text
    );
    host.at(1600).dropped(52);
    lost_is(&host.run(), 2);
}

#[test]
fn nothing_is_followed_that_somebody_planted() {
    let host = Host::new();
    host.run();
    let file = host.only_file();
    let elsewhere = crate::common::new_folder();
    let target = elsewhere.path().join("target");
    let state = fs::read(&file).unwrap();
    fs::write(&target, &state).unwrap();
    // in the place of the state, and of one that is left over
    let unfinished = PathBuf::from(format!("{}-0123456789abcdef.new", file.display()));
    fs::remove_file(&file).unwrap();
    symlink(&target, &file).unwrap();
    symlink(&target, &unfinished).unwrap();
    host.at(1300).dropped(50);
    let why = host.why();
    assert!(why.contains("not a file of this user"), "{why}");
    is_first_run(&host.run());
    assert_eq!(fs::read(&target).unwrap(), state, "not written through");
    assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(fs::read_link(&unfinished).unwrap(), target, "not ours");
    fs::remove_file(&unfinished).unwrap();
    assert_eq!(host.only_file(), file, "nothing is left behind");
    // a fifo is not waited for, a directory not entered
    for _ in 0..2 {
        fs::remove_file(&file).unwrap();
        printed(program("mkfifo").arg(&file));
        host.at(1600).dropped(60);
        is_first_run(&host.run());
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let got = host.answer(&["-c", "lost=0"]);
    assert_eq!(got.code, 3, "{}", got.text);
    assert!(
        got.text
            .contains("lost not measured: the state for the next run could not be written to"),
        "{}",
        got.text
    );
}

#[test]
fn a_directory_that_is_a_symbolic_link_is_not_entered_however_it_is_written() {
    let host = Host::new();
    fs::create_dir(host.state.path().join("x")).unwrap();
    let elsewhere = crate::common::new_folder();
    let link = elsewhere.path().join("state");
    symlink(host.state.path(), &link).unwrap();
    let root = host.root.path().to_str().unwrap();
    let run = |directory: &str| {
        let arguments = [
            "--proc-root",
            root,
            "--state-dir",
            directory,
            "-c",
            "lost=0",
        ];
        answer(arguments)
    };
    let link = link.to_str().unwrap();
    for end in [
        "", "/", "//", "/.", "/./", "//.//", "/x/..", "/x/../", "/x/../.",
    ] {
        let got = run(&format!("{link}{end}"));
        assert_eq!(got.code, 3, "{end}: {}", got.text);
        let why = if end.contains("..") {
            "ends in .., which may lead through a symbolic link"
        } else {
            "is not a directory, or a symbolic link to one"
        };
        assert!(got.text.contains(why), "{end}: {}", got.text);
        assert_eq!(host.files().len(), 1, "nothing is written beside x");
    }
    // a directory itself is opened in each of these ways, and so is one that a link leads to
    let itself = host.state.path().join("x");
    let itself = itself.to_str().unwrap();
    let through = format!("{link}/x");
    for directory in ["", "/", "//", "/.", "/./"]
        .map(|end| format!("{itself}{end}"))
        .iter()
        .chain([&through])
    {
        host.at(1300).dropped(0);
        is_first_run(&run(directory));
        host.at(1600).dropped(1);
        lost_is(&run(directory), 1);
    }
}

#[test]
fn without_a_directory_to_write_to_only_what_was_asked_for_is_unknown() {
    let host = Host::new();
    let root = host.root.path().to_str().unwrap();
    let closed = host.state.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let file = host.state.path().join("file");
    fs::write(&file, "").unwrap();
    for (directory, reason) in [
        (closed.clone(), "may not be written to by this user"),
        (
            host.state.path().join("nothing"),
            "does not exist (create it",
        ),
        (file, "is not a directory"),
    ] {
        let directory = directory.to_str().unwrap();
        let answer = |more: &[&str]| {
            answer(
                ["--proc-root", root, "--state-dir", directory]
                    .iter()
                    .chain(more),
            )
        };
        let got = answer(&["-c", "lost=0"]);
        assert_eq!(got.code, 3, "{}", got.text);
        let said = got.first_line();
        assert!(
            said.contains("lost not measured: ") && said.contains(reason),
            "{said}"
        );
        // the verdict comes all the same
        assert_eq!(answer(&["-c", "lost=0", "-c", "entries=50"]).code, 2);
        // and who did not ask hears of it with details only
        let got = answer(&[]);
        assert_eq!((got.code, got.text.lines().count()), (0, 1), "{}", got.text);
        let got = answer(&["-v"]);
        assert_eq!(got.code, 0);
        assert!(
            got.text.contains("no comparison with a previous run: ") && got.text.contains(reason),
            "{}",
            got.text
        );
    }
    assert!(fs::read_dir(closed).unwrap().next().is_none());
}

#[test]
fn a_host_without_a_clock_or_an_identity_cannot_be_compared() {
    for missing in ["uptime", "sys/kernel/random/boot_id"] {
        let host = Host::new();
        host.root.remove(missing);
        let got = host.run();
        assert_eq!(got.code, 3);
        assert!(
            got.text.contains("cannot be used: ") && got.text.contains(missing),
            "{}",
            got.text
        );
        for odd in [
            "",
            "\n",
            "x\n",
            "12\n",
            "-1.00 1.00\n",
            "99999999999999999999.00 1\n",
            "1.0 1\n",
        ] {
            host.root.file(missing, odd);
            let got = host.run();
            assert_eq!(
                (got.code, lost(&got)),
                (3, None),
                "{missing} {odd:?}: {}",
                got.text
            );
        }
        assert!(host.files().is_empty());
    }
}

#[test]
fn the_files_are_this_users_alone() {
    let host = Host::new();
    host.run();
    let metadata = fs::metadata(host.only_file()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert!(metadata.len() < 1024, "{}", metadata.len());
}

#[test]
fn what_nobody_used_for_a_week_is_removed_and_nothing_else() {
    let host = Host::new();
    host.run();
    host.answer(&["-c", "drop=5"]);
    host.answer(&["-c", "drop=6"]);
    let age = |file: &PathBuf, days: u64| {
        let then = SystemTime::now() - Duration::from_secs(days * DAY);
        let file = fs::File::options().append(true).open(file).unwrap();
        file.set_modified(then).unwrap();
    };
    let files = host.files();
    let at_start: Vec<u64> = files
        .iter()
        .map(|file| file.metadata().unwrap().ino())
        .collect();
    assert_eq!(at_start.len(), 3);
    // neither ours nor a file of ours
    let mut others = Vec::new();
    for name in ["notes", "check_conntrack", ".check_conntrack-1"] {
        let file = host.state.path().join(name);
        fs::write(&file, "keep me").unwrap();
        age(&file, 30);
        others.push(file);
    }
    let directory = host.state.path().join("check_conntrack-directory");
    fs::create_dir(&directory).unwrap();
    others.push(directory);
    // left by a writer that was killed
    fs::write(host.state.path().join("check_conntrack-0.new"), "half").unwrap();
    // of another boot, so that its own clock says nothing
    let foreign = host.state.path().join("check_conntrack-ffff");
    fs::write(&foreign, "check_conntrack state 0\n").unwrap();
    age(&foreign, 6);
    host.at(1010);
    host.run();
    assert_eq!(
        host.files().len(),
        3 + others.len() + 1,
        "{:?}",
        host.files()
    );
    age(&foreign, 8);
    for file in &files {
        age(file, 8);
    }
    // the clock was only set: by the host's own time they are 10 s old
    host.at(1020).run();
    assert_eq!(host.files().len(), 3 + others.len(), "{:?}", host.files());
    for file in &files {
        age(file, 8);
    }
    host.at(1020 + 7 * DAY).run();
    let left: Vec<_> = host
        .files()
        .into_iter()
        .filter(|f| files.contains(f))
        .collect();
    assert_eq!(left.len(), 1, "only the service that still runs: {left:?}");
    assert!(others.iter().all(|file| file.exists()));
}

// ---- several at once ------------------------------------------------------------------------------------------------

#[test]
fn two_services_do_not_take_each_others_baseline() {
    let host = Host::new();
    let other = ["-c", "lost=0", "--top-when", "problem"];
    host.run();
    host.answer(&other);
    host.at(1060).dropped(5);
    lost_is(&host.run(), 5);
    host.at(1120).dropped(7);
    lost_is(&host.run(), 2);
    lost_is(&host.answer(&other), 7);
    // -v and -t make no other service
    host.at(1180).dropped(8);
    lost_is(&host.answer(&["-c", "lost=0", "-vv", "-t", "5"]), 1);
    host.at(1240);
    lost_is(&host.run(), 0);
    assert_eq!(host.files().len(), 2);
}

#[test]
fn concurrent_runs_all_tell_the_loss_and_leave_a_whole_state() {
    let host = Host::new();
    host.run();
    host.at(1300).dropped(11);
    let runs: Vec<_> = (0..12)
        .map(|_| {
            check(host.arguments(&["-c", "lost=0"]))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        lost_is(&Answer::of(run.wait_with_output().unwrap()), 11);
    }
    host.only_file();
    host.at(1600).dropped(12);
    lost_is(&host.run(), 1);
}

#[test]
fn a_lock_that_somebody_holds_changes_nothing() {
    use rustix::fs::{FlockOperation, flock};
    let host = Host::new();
    host.run();
    let directory = fs::File::open(host.state.path()).unwrap();
    flock(&directory, FlockOperation::LockExclusive).unwrap();
    for n in 1..4 {
        let state = fs::File::open(host.only_file()).unwrap();
        flock(&state, FlockOperation::LockExclusive).unwrap();
        host.at(1000 + 300 * n).dropped(4 * n as u32);
        lost_is(&host.run(), 4);
    }
    // nor does it turn another service into a first run for ever
    let other = ["-c", "lost=0", "-w", "usage=70"];
    is_first_run(&host.answer(&other));
    host.at(3000).dropped(13);
    lost_is(&host.answer(&other), 1);
}

#[test]
fn a_run_that_hangs_keeps_no_other_run_from_its_baseline() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let host = Host::new();
    host.run();
    // its state is written, and nobody reads its answer
    let (_reader, mut stdout) = UnixStream::pair().unwrap();
    stdout.set_nonblocking(true).unwrap();
    while stdout.write(&[b'.'; 4096]).is_ok() {}
    stdout.set_nonblocking(false).unwrap();
    host.at(1300).dropped(2);
    let mut hangs = check(host.arguments(&["-c", "lost=0", "-t", "600"]))
        .stdout(std::os::fd::OwnedFd::from(stdout))
        .spawn()
        .unwrap();
    crate::common::wait_for("a state that is not in its place", || {
        holds(host.files().len() == 2, host.files())
    });
    let other = ["-c", "lost=0", "-w", "usage=70"];
    is_first_run(&host.answer(&other));
    host.at(1600).dropped(5);
    lost_is(&host.answer(&other), 3);
    lost_is(&host.run(), 5);
    host.at(1900).dropped(6);
    lost_is(&host.run(), 1);
    assert_eq!(host.files().len(), 3, "that of the run at work stays");
    hangs.kill().unwrap();
    hangs.wait().unwrap();
    host.at(2200);
    lost_is(&host.run(), 0);
    assert_eq!(
        host.files().len(),
        2,
        "and is removed after it: {:?}",
        host.files()
    );
}

#[test]
fn a_run_that_ends_after_a_later_one_leaves_the_state_of_that() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let host = Host::new();
    host.run();
    let (mut reader, mut stdout) = UnixStream::pair().unwrap();
    stdout.set_nonblocking(true).unwrap();
    while stdout.write(&[b'.'; 4096]).is_ok() {}
    stdout.set_nonblocking(false).unwrap();
    host.at(1300).dropped(2);
    let mut early = check(host.arguments(&["-c", "lost=0", "-t", "600"]))
        .stdout(std::os::fd::OwnedFd::from(stdout))
        .spawn()
        .unwrap();
    crate::common::wait_for("a state that is not in its place", || {
        holds(host.files().len() == 2, host.files())
    });
    host.at(1310).dropped(5);
    lost_is(&host.run(), 5);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(early.wait().unwrap().code(), Some(2));
    assert!(String::from_utf8_lossy(&text).contains("lost 2 packets"));
    host.only_file();
    host.at(1600).dropped(6);
    lost_is(&host.run(), 1);
}

mod strace {
    use std::collections::HashMap;

    use super::*;
    use crate::common::plugin::check_after;

    /// The system calls of a run: each by its name, and the how many-eth of that name it is.
    fn calls(host: &Host) -> Vec<(String, usize)> {
        let log = crate::common::new_file();
        let words = ["strace", "-o", log.path().to_str().unwrap()];
        let output = check_after(&words, host.arguments(&["-c", "lost=0"])).output();
        Answer::of(output.unwrap());
        let text = fs::read_to_string(log.path()).unwrap();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let names = text
            .lines()
            .filter_map(|line| line.split_once('('))
            .map(|(name, _)| name);
        let nth = names.map(|name| {
            let n = seen.entry(name).or_default();
            *n += 1;
            (name.to_owned(), *n)
        });
        // the first one makes strace's process the check
        nth.filter(|(name, _)| name != "execve").collect()
    }

    #[test]
    fn two_services_on_a_slow_disk_both_have_a_baseline() {
        let host = Host::new();
        let other = ["-c", "lost=0", "-w", "usage=70"];
        let slow = ["strace", "-o", "/dev/null", "-e"];
        let slow = [
            &slow[..],
            &["inject=fsync,fdatasync,rename,renameat,renameat2:delay_enter=1000000"],
        ]
        .concat();
        for (files, drop, lost) in [(0, 0, None), (2, 7, Some(7))] {
            host.at(1000 + 300 * u64::from(drop)).dropped(drop);
            let mut first = check_after(&slow, host.arguments(&["-c", "lost=0"]));
            let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
            // on a busy host the first run may be over before anybody looks
            crate::common::wait_for("a state that is not on the disk", || {
                let has_ended = first.try_wait().unwrap().is_some();
                holds(has_ended || host.files().len() > files, host.files())
            });
            let second = host.answer(&other);
            let first = Answer::of(first.wait_with_output().unwrap());
            for answer in [second, first] {
                match lost {
                    Some(lost) => lost_is(&answer, lost),
                    None => is_first_run(&answer),
                }
            }
            assert_eq!(host.files().len(), 2, "{:?}", host.files());
        }
    }

    #[test]
    fn a_state_that_another_run_took_for_left_over_is_written_again() {
        let host = Host::new();
        let slow = ["strace", "-o", "/dev/null", "-e"];
        let slow = [&slow[..], &["inject=flock:delay_enter=3000000:when=1"]].concat();
        let mut first = check_after(&slow, host.arguments(&["-c", "lost=0"]));
        let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
        crate::common::wait_for("a state that is not locked yet", || {
            let has_ended = first.try_wait().unwrap().is_some();
            holds(has_ended || !host.files().is_empty(), host.files())
        });
        // takes away what nobody has locked
        is_first_run(&host.answer(&["-c", "lost=0", "-w", "usage=70"]));
        is_first_run(&Answer::of(first.wait_with_output().unwrap()));
        assert_eq!(host.files().len(), 2, "{:?}", host.files());
        let unfinished = |name: &PathBuf| name.to_string_lossy().ends_with(".new");
        assert!(!host.files().iter().any(unfinished), "{:?}", host.files());
    }

    #[test]
    fn a_run_that_is_killed_at_any_point_leaves_a_readable_state() {
        let host = Host::new();
        host.run();
        let (mut seconds, mut drops, mut silent) = (1000, 0, 0);
        let calls = calls(&host);
        assert!(calls.len() > 30, "{calls:?}");
        for (name, n) in &calls {
            seconds += 10;
            drops += 1;
            host.at(seconds).dropped(drops);
            let kill = format!("inject={name}:signal=KILL:when={n}");
            let words = ["strace", "-o", "/dev/null", "-e", &kill];
            let output = check_after(&words, host.arguments(&["-c", "lost=0"]))
                .output()
                .unwrap();
            assert_eq!(output.status.code(), None, "{kill}: {output:?}");
            // what it told before it was killed
            silent += usize::from(output.stdout.is_empty());
            let read = host.answer(&["-c", "lost=0", "-v"]);
            assert!(!read.text.contains("first run"), "{kill}: {}", read.text);
            // what the killed run may not have told is told now, and what it told is not told for ever
            assert_eq!(lost(&read).unwrap(), "1", "{kill}: {}", read.text);
            assert!(host.files().len() <= 2, "{:?}", host.files());
        }
        let killed = calls.len();
        assert!(
            (20..killed).contains(&silent),
            "{silent} of {killed} before their answer"
        );
        host.at(seconds + 10);
        host.run();
        host.only_file();
    }
}

#[test]
fn what_nobody_was_told_is_told_by_the_next_run() {
    let host = Host::new();
    host.run();
    host.at(1300).dropped(8);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let run = check(host.arguments(&["-c", "lost=0"]))
        .stdout(full)
        .status();
    assert_eq!(run.unwrap().code(), Some(3));
    host.at(1600).dropped(10);
    lost_is(&host.run(), 10);
    host.only_file();
}

/// Other users, for which these tests have to be root.
mod root {
    use std::fs;

    use super::{Host, is_first_run, lost, lost_is};
    use crate::common::folder::{new_folder, set_mode};
    use crate::common::plugin::{AS_NOBODY, start, with_defaults};
    use crate::common::programs::install;
    use crate::common::{Answer, binary};

    const NOBODY: u32 = 65534;

    /// The binary where everybody may run it.
    struct Nobody(tempfile::TempDir);

    impl Nobody {
        fn new(host: &Host) -> Self {
            let directory = new_folder();
            install(binary(), &directory.path().join("check_conntrack"));
            for open in [host.root.path(), host.state.path()] {
                set_mode(open, 0o755);
            }
            Self(directory)
        }

        fn run(&self, host: &Host) -> Answer {
            let arguments = with_defaults(host.arguments(&["-c", "lost=0"]));
            let program = self.0.path().join("check_conntrack");
            Answer::of(start(&AS_NOBODY, &program, &arguments).output().unwrap())
        }
    }

    #[test]
    fn two_users_do_not_take_each_others_baseline() {
        let host = Host::new();
        let nobody = Nobody::new(&host);
        // as a shared temporary directory is
        set_mode(host.state.path(), 0o1777);
        host.run();
        is_first_run(&nobody.run(&host));
        host.at(1300).dropped(5);
        lost_is(&host.run(), 5);
        host.at(1600).dropped(6);
        lost_is(&nobody.run(&host), 6);
        lost_is(&host.run(), 1);
        assert_eq!(host.files().len(), 2);
    }

    #[test]
    fn somebody_elses_file_is_not_believed_and_does_not_silence_the_check() {
        let host = Host::new();
        let nobody = Nobody::new(&host);
        set_mode(host.state.path(), 0o1777);
        nobody.run(&host);
        let file = host.only_file();
        // as good as its own, but root's, in a directory where nobody else may take it away
        std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
        set_mode(&file, 0o644);
        let planted = fs::read(&file).unwrap();
        host.at(1300).dropped(5);
        let got = nobody.run(&host);
        assert_eq!((got.code, lost(&got)), (3, None), "{}", got.text);
        assert!(got.text.contains("could not be written to"), "{}", got.text);
        assert_eq!(fs::read(&file).unwrap(), planted);
        // in a directory of its own it takes it away
        std::os::unix::fs::chown(host.state.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        is_first_run(&nobody.run(&host));
        host.at(1600).dropped(6);
        lost_is(&nobody.run(&host), 1);
    }
}

/// In user, mount and network namespaces of their own.
mod netns {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{Host, lost};
    use crate::common::conntrack::{self, udp};
    use crate::common::folder::{new_folder, set_mode};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{cover, loopback_up};
    use crate::common::programs::{printed, program};
    use crate::common::{Answer, MAX, STATISTICS, STATISTICS_HEADER, answer, statistics_row};

    #[test]
    fn a_full_disk_and_one_that_is_read_only_leave_the_verdict() {
        inside!(Namespaces::Network);
        let host = Host::new();
        let disk = host.state.path();
        let mount = |options: &str| {
            printed(
                program("mount")
                    .args(["-t", "tmpfs", "-o", options, "tmpfs"])
                    .arg(disk),
            );
        };
        mount("size=16k");
        let state = disk.join("d");
        fs::create_dir(&state).unwrap();
        set_mode(&state, 0o700);
        let run = |arguments: &[&str]| {
            let state = ["--state-dir", state.to_str().unwrap()];
            host.root.answer(&[&state, arguments].concat())
        };
        assert_eq!(run(&["-c", "lost=0"]).code, 0);
        // not a byte is left
        let fill = disk.join("fill");
        assert!(fs::write(&fill, vec![0; 1 << 20]).is_err());
        host.at(1300);
        let full = run(&["-c", "lost=0"]);
        assert_eq!(full.code, 3, "{}", full.text);
        assert!(
            full.first_line()
                .contains("lost not measured: the state for the next run could not be written")
                && full.first_line().contains("No space left on device"),
            "{}",
            full.text
        );
        assert_eq!(run(&[]).code, 0);
        let worse = run(&["-c", "entries=50", "-c", "lost=0"]);
        assert_eq!(worse.code, 2, "{}", worse.text);
        assert!(worse.first_line().contains("entries above 50"));
        fs::remove_file(&fill).unwrap();
        // nothing was lost of the baseline meanwhile
        let again = run(&["-c", "lost=0"]);
        assert_eq!((again.code, lost(&again).unwrap().as_str()), (0, "0"));
        host.at(1600);
        printed(program("mount").args(["-o", "remount,bind,ro"]).arg(disk));
        let unwritable = run(&["-c", "lost=0"]);
        assert_eq!(unwritable.code, 3, "{}", unwritable.text);
        assert!(
            unwritable.first_line().contains("Read-only file system"),
            "{}",
            unwritable.text
        );
        let plain = run(&[]);
        assert_eq!((plain.code, plain.text.lines().count()), (0, 1));
    }

    /// So many seconds after the host was started: another file is put over the kernel's.
    fn at(seconds: u32) {
        cover("uptime", &format!("{seconds}.00 {seconds}.00\n"));
    }

    #[test]
    fn growth_and_time_until_full_are_those_of_a_real_table() {
        inside!(Namespaces::Network);
        loopback_up();
        cover(MAX, "5000\n");
        let state = new_folder();
        let look = || {
            let state = state.path().to_str().unwrap();
            answer(["--state-dir", state, "-c", "full_in=1000000h:"])
        };
        at(1000);
        conntrack::insert(&udp(1..=100));
        assert_eq!(look().code, 0);
        // 900 entries in five minutes are 180 a minute, and at that rate 4000 take 1333 seconds
        at(1300);
        conntrack::insert(&udp(101..=1000));
        let got = look();
        assert_eq!(got.code, 2, "{}", got.text);
        let value = |label: &str| got.value(label).unwrap()[0].clone();
        assert_eq!(value("entries"), "1000");
        assert_eq!(value("growth"), "180.0", "{}", got.text);
        assert_eq!(value("full_in"), "1333s", "{}", got.text);
        assert!(
            got.first_line().contains("full in ")
                && got
                    .first_line()
                    .contains(" - 1000 of 5000 entries, full_in below 1000000h"),
            "{}",
            got.text
        );
    }

    /// A spike that came and went between two runs is not in the count. The kernel's own counters only move when the
    /// limit of the whole host is reached, which is for tests/kernels; here a file stands in their place.
    #[test]
    fn a_spike_between_two_runs_is_told_though_the_count_is_low_again() {
        inside!(Namespaces::Network);
        loopback_up();
        cover(MAX, "1000\n");
        let folder = new_folder();
        let root = folder.path();
        for name in ["sys", "self"] {
            symlink(Path::new("/proc").join(name), root.join(name)).unwrap();
        }
        fs::create_dir_all(root.join("net/stat")).unwrap();
        let state = root.join("state");
        fs::create_dir(&state).unwrap();
        set_mode(&state, 0o700);
        let look = |seconds: u32, drop: u32, early_drop: u32| -> Answer {
            let row = statistics_row(drop, 0, early_drop, 0);
            fs::write(root.join(STATISTICS), format!("{STATISTICS_HEADER}{row}")).unwrap();
            fs::write(root.join("uptime"), format!("{seconds}.00 1.00\n")).unwrap();
            let [root, state] = [root, &state].map(|path| path.to_str().unwrap());
            answer(["--proc-root", root, "--state-dir", state, "-c", "lost=0"])
        };
        super::is_first_run(&look(1000, 0, 0));
        conntrack::insert(&udp(1..=900));
        conntrack::flush();
        let got = look(1300, 77, 5);
        super::lost_is(&got, 77);
        assert!(
            got.first_line()
                .contains(": 0.0% full, lost 77 packets between two checks (the table was full in the last 5m), not now"),
            "{}",
            got.text
        );
    }
}
