//! The answer of a check beside a recording.

use super::{Host, Recorder};
use crate::common::Answer;
use crate::common::wait::{holds, wait_for};

fn has(answer: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(answer.text.contains(text), "{text:?} in {}", answer.text);
    }
}

/// A check, a burst of ten seconds that fills the table and that a recorder sees, and a calm table again.
fn burst(thresholds: &[&str]) -> (Host, Answer) {
    burst_of(930, 100, thresholds)
}

/// A burst of so many connections to a Redis, with 70 other entries, that loses so many packets.
fn burst_of(connections: u32, lost: u32, thresholds: &[&str]) -> (Host, Answer) {
    let host = Host::new();
    host.holds(40, 60);
    host.check(thresholds);
    host.set_time(1100);
    host.holds(connections, 70);
    host.lost(lost);
    host.record();
    host.set_time(1290);
    host.holds(30, 70);
    host.record();
    host.set_time(1300);
    let answer = host.check(thresholds);
    (host, answer)
}

#[test]
fn the_next_check_names_who_filled_the_table_between_two_checks() {
    let (host, answer) = burst(&["-c", "lost=0"]);
    assert_eq!(answer.code, 2, "{}", answer.text);
    let first = answer.first_line().split('|').next().unwrap();
    has(
        &answer,
        &[
            "lost 100 packets between two checks (the table was full in the last 5m), not now",
            " - peaked at 100.0% at ",
            " UTC: this host to 10.0.3.7:6379/tcp held 93%",
            "\nwhy: the program on this host opens a new connection for each request",
            "\nfix: ",
        ],
    );
    assert!(first.len() <= 300, "{}: {first}", first.len());
    let files = host.incidents();
    assert_eq!(files.len(), 1, "{files:?}");
    let path = files[0].to_str().unwrap();
    has(&answer, &[&format!("\nlook: cat {path} (")]);
    let text = std::fs::read_to_string(path).unwrap();
    for wanted in [
        "First moment, ",
        "100.0% full",
        "1. to 10.0.3.7:6379/tcp: 930 entries",
    ] {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
}

#[test]
fn an_incident_between_two_looks_gets_its_culprit_by_the_next_look() {
    let host = Host::new();
    host.holds(40, 60);
    let recorder = Recorder::start(&[], &host.recording(&["--record", "1"]));
    wait_for("a look at the calm table", || {
        let text = host.text();
        holds(text.contains("\nsurvey 100000 "), text)
    });
    let incident = || {
        let files = host.incidents();
        // one that is being replaced is gone under the name that was listed
        let text = files.first().map(std::fs::read_to_string);
        text.and_then(Result::ok).unwrap_or_default()
    };
    // a look is never closer than ten seconds to the one before
    host.holds(930, 50);
    host.set_time(1003);
    wait_for("the file about the incident", || {
        holds(incident().contains("\nFirst moment, "), host.text())
    });
    let culprit = "\n1. to 10.0.3.7:6379/tcp: ";
    assert!(!incident().contains(culprit), "{}", incident());
    // less full than at the first moment, and still with the culprit
    host.holds(890, 50);
    host.set_time(1011);
    let look = "\nFirst look into the table, ";
    let text = wait_for("a look into the table in the file", || {
        let text = incident();
        if text.contains(look) {
            Ok(text)
        } else {
            Err(text)
        }
    });
    let (_, later) = text.split_once(look).unwrap();
    assert!(later.contains(culprit), "{text}");
    recorder.stop();
}

#[test]
fn the_peak_is_a_metric_with_perfdata_and_ranges() {
    let (_host, answer) = burst(&["-w", "peak=95"]);
    assert_eq!(answer.code, 1, "{}", answer.text);
    let fields = answer.value("peak").unwrap();
    assert_eq!(fields, ["100.0%", "95", "", "0", "100"]);
    has(&answer, &["peak 100.0% above 95%"]);
    let (_host, answer) = burst(&["-w", "peak=100"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    // the state is OK, and the reader should know all the same
    has(&answer, &["peaked at 100.0% at "]);
}

#[test]
fn a_peak_is_told_if_packets_were_lost_or_it_was_above_a_range_of_the_usage() {
    for (connections, thresholds, told) in [
        (930, &[][..], Some("peaked at 100.0% at ")),
        (730, &[], None),
        (730, &["-w", "79"], Some("peaked at 80.0% at ")),
        (930, &["-c", "entries=2000"], None),
    ] {
        let (_host, answer) = burst_of(connections, 0, thresholds);
        assert_eq!(answer.code, 0, "{}", answer.text);
        match told {
            Some(told) => has(&answer, &[told]),
            None => assert!(!answer.text.contains("peaked"), "{}", answer.text),
        }
    }
}

#[test]
fn a_peak_before_the_previous_run_is_not_told_again() {
    let (host, _) = burst(&["-c", "lost=0"]);
    host.set_time(1600);
    host.record();
    let answer = host.check(&["-c", "lost=0"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(!answer.text.contains("peaked"), "{}", answer.text);
    assert_eq!(answer.value("peak").unwrap()[0], "10.0%");
}

#[test]
fn without_a_recording_every_answer_is_as_before() {
    let host = Host::new();
    host.holds(850, 60);
    let directory = host.directory.path().to_str().unwrap();
    let plain = host.root.answer(&["--recording", directory, "-v"]);
    let alone = host.root.answer(&["-v"]);
    let note = ", recording not used: ";
    let (before, rest) = plain.text.split_once(note).expect("a note");
    let rest = &rest[rest.find('|').unwrap()..];
    assert_eq!(format!("{before}{rest}"), alone.text);
}

#[test]
fn an_unprivileged_check_names_who_holds_the_table_as_of_the_last_look() {
    let host = Host::new();
    host.holds(890, 60);
    host.record();
    host.set_time(1007);
    let answer = host.check(&["--top", "-v"]);
    assert_eq!(answer.code, 2, "{}", answer.text);
    has(
        &answer,
        &[
            " - this host to 10.0.3.7:6379/tcp holds 93% of the entries, 890 of 890 already closed (TIME_WAIT), as of 7s ago - ",
            "\n1. to 10.0.3.7:6379/tcp: 890 entries, 93.6%, TIME_WAIT 100%",
        ],
    );
    assert_eq!(answer.value("time_wait").unwrap()[0], "890");
    // a check that does not ask for the list says who it is all the same
    let plain = host.check(&[]);
    has(
        &plain,
        &["this host to 10.0.3.7:6379/tcp holds 93% of the entries"],
    );
    assert!(!plain.text.contains("\n1. "), "{}", plain.text);
    assert_eq!(plain.value("time_wait"), None);
}

#[test]
fn a_calm_table_has_no_finding() {
    let host = Host::new();
    host.holds(100, 60);
    host.record();
    let answer = host.check(&["--top"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(!answer.text.contains("holds"), "{}", answer.text);
    has(
        &answer,
        &[
            "entries as of 0s ago",
            "\n1. to 10.0.3.7:6379/tcp: 100 entries",
        ],
    );
}

#[test]
fn the_entries_of_an_answer_never_add_up_to_more_than_its_count() {
    let host = Host::new();
    host.holds(600, 400);
    host.record();
    let sum = |answer: &Answer| -> u64 {
        let of = |label| answer.value(label).unwrap()[0].parse::<u64>().unwrap();
        of("time_wait") + of("udp")
    };
    host.root.file(crate::common::COUNT, "900\n");
    let answer = host.check(&["--top", "--source", "recording"]);
    assert_eq!(sum(&answer), 900, "{}", answer.text);
    // by now it is another table
    host.root.file(crate::common::COUNT, "700\n");
    let answer = host.check(&["--top", "--source", "recording"]);
    assert_eq!(answer.value("time_wait"), None, "{}", answer.text);
    has(
        &answer,
        &["shows the table as of 0s ago, when it held 1000 entries"],
    );
    let unknown = host.check(&["--source", "recording", "-w", "time_wait=900"]);
    assert_eq!(unknown.code, 3, "{}", unknown.text);
}

#[test]
fn a_table_that_fills_says_what_grew_since_the_reference() {
    let host = Host::new();
    host.holds(150, 50);
    host.record();
    host.set_time(1000 + 720);
    host.holds(800, 100);
    host.record();
    let answer = host.check(&[]);
    has(
        &answer,
        &["\ngrew by 700 entries in 12m, of which 650 to 10.0.3.7:6379/tcp\n"],
    );
}

#[test]
fn details_tell_how_the_recorder_is() {
    let host = Host::new();
    host.holds(10, 10);
    host.record();
    host.set_time(1003);
    let answer = host.check(&["-v"]);
    has(
        &answer,
        &["\nrecorded every 60s, last 3s ago, table last read 3s ago\n"],
    );
    std::fs::remove_file(host.root.path().join(super::TABLE)).unwrap();
    host.record();
    let answer = host.check(&["-v"]);
    has(&answer, &["the recorder cannot read the table: "]);
}

#[test]
fn a_recorder_that_is_started_again_goes_on_with_its_recording() {
    let host = Host::new();
    host.holds(950, 0);
    host.check(&[]);
    host.set_time(1010);
    host.record();
    host.set_time(1030);
    host.holds(5, 0);
    host.record();
    let answer = host.check(&[]);
    assert_eq!(answer.value("peak").unwrap()[0], "95.0%", "{}", answer.text);
}

#[test]
fn after_a_reboot_a_recorder_begins_a_new_recording_and_keeps_the_files_about_incidents() {
    let host = Host::new();
    host.holds(950, 0);
    host.check(&[]);
    host.record();
    assert_eq!(host.incidents().len(), 1);
    let other = "00000000-5b1e-4a9c-8a55-0f1ff8d4b1c7\n";
    host.root.file("sys/kernel/random/boot_id", other);
    // the host has been up for longer than at the last sample of the boot before
    host.set_time(2000);
    host.holds(5, 0);
    host.check(&[]);
    host.set_time(2010);
    host.record();
    let samples = host.text();
    assert!(!samples.contains("\nsample 100000 "), "{samples}");
    let answer = host.check(&["-v"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert_eq!(answer.value("peak").unwrap()[0], "0.5%", "{}", answer.text);
    has(&answer, &["\nrecorded every 60s, last 0s ago"]);
    assert!(!answer.text.contains("incidents"), "{}", answer.text);
    assert_eq!(host.incidents().len(), 1);
}
