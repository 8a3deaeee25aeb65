//! Ranges on the largest endpoint if only a sample of the table was read.

use std::fmt::Write;

use crate::analysis::tally::Numbers;
use crate::common::plugin::ProcRoot;

/// A table of 4000 entries of these clients, in a random order that is always the same.
fn shuffled(clients: impl Iterator<Item = u32>) -> String {
    let mut entries: Vec<(u32, u32)> = clients.zip(1024..).collect();
    assert_eq!(entries.len(), 4000);
    Numbers(1).draw(&mut entries, 4000);
    let mut text = String::new();
    for (client, port) in entries {
        let client = format!("198.51.{}.{}", client / 250, client % 250 + 1);
        let _ = writeln!(
            text,
            "ipv4 2 tcp 6 431999 ESTABLISHED src={client} dst=192.0.2.10 sport={port} dport=443 src=192.0.2.10 \
             dst={client} sport=443 dport={port} [ASSURED] mark=0 use=1"
        );
    }
    text
}

/// Line 1 and the exit status of a look at 400 of these entries, with a range on the largest endpoint.
fn judged(capture: &str, range: &str) -> (i32, String) {
    let root = ProcRoot::tracking("4000", "4000");
    root.file("capture", capture);
    let file = root.join("capture");
    let file = file.to_str().unwrap();
    let answer = root.answer(&[
        "--table",
        file,
        "--own",
        "192.0.2.10",
        "--sample",
        "400",
        "-w",
        "usage=~:",
        "-c",
        range,
    ]);
    (answer.code, answer.text)
}

#[test]
fn a_range_on_the_largest_endpoint_does_not_alarm_because_of_an_endpoint_that_was_drawn_often() {
    // 400 clients of ten entries each, of which a sample of a tenth has one on average, and of some four or five
    let capture = shuffled((0..4000).map(|entry| entry % 400));
    let (code, text) = judged(&capture, "endpoint=15");
    assert_eq!(code, 0, "{text}");
    let value = text.split_once(", endpoint ").map(|(_, rest)| rest);
    let value = value.and_then(|rest| rest.split_once(')'));
    let (value, rest) = value.unwrap_or_else(|| panic!("no interval: {text}"));
    let numbers: Vec<u32> = value
        .split([' ', '('])
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        matches!(numbers[..], [n, low, high] if low <= 10 && low <= n && n <= high && high >= 15),
        "{text}"
    );
    assert!(
        rest.starts_with(", a sample cannot tell if it is in range"),
        "{text}"
    );
    // no endpoint of 400 can be as large as that, and no interval holds it
    assert_eq!(judged(&capture, "endpoint=1000").0, 0);
}

#[test]
fn a_range_on_the_largest_endpoint_alarms_in_a_sample_if_the_whole_interval_is_out_of_it() {
    // one client of 1600 entries, and 240 of ten
    let client = |entry: u32| if entry < 1600 { 300 } else { entry % 240 };
    let capture = shuffled((0..4000).map(client));
    for (range, code) in [
        ("endpoint=1200", 2),
        ("endpoint=30%", 2),
        ("endpoint=35%", 0),
        ("endpoint=1600", 0),
        ("endpoint=2100", 0),
        ("endpoint=2100:", 2),
        ("endpoint=1600:", 0),
        ("endpoint=@1000:2500", 2),
        ("endpoint=@1600:2500", 0),
    ] {
        let (found, text) = judged(&capture, range);
        assert_eq!(found, code, "{range}: {text}");
        let (line, _) = text.split_once('|').unwrap();
        assert!(
            line.contains(", endpoint 1") && line.contains(" to "),
            "{range}: {text}"
        );
    }
}
