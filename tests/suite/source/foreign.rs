//! Things that `--table` is given and that are no table, or only a part of one; and packed ones.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use check_conntrack::model::conntrack::Entry;
use check_conntrack::model::dump::{DumpEnd, Source, Unread};
use check_conntrack::source::capture::line::{Line, parse_line};
use check_conntrack::source::capture::open::open_capture;
use check_conntrack::source::capture::{reader, unpack};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use crate::common::{Answer, ProcRoot, check};

/// The answer about a capture that comes through a pipe, on a kernel with this limit.
fn piped(capture: &[u8], arguments: &[&str]) -> Answer {
    let root = ProcRoot::tracking("7", "1000");
    let mut child = check(["--table", "-", "--state-dir", "/nonexistent", "--proc-root"])
        .arg(root.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let capture = capture.to_vec();
    // it may not want to read all of it
    let writer = std::thread::spawn(move || stdin.write_all(&capture));
    let answer = Answer::of(child.wait_with_output().unwrap());
    let _ = writer.join().unwrap();
    answer
}

fn is_unknown(answer: &Answer, part: &str) {
    assert_eq!(answer.code, 3, "{}", answer.text);
    assert!(
        answer.first_line().contains(part),
        "{part}: {}",
        answer.text
    );
}

/// An entry of one of many clients of 192.0.2.10:443.
fn line(number: usize) -> String {
    format!(
        "tcp      6 300 ESTABLISHED src=198.51.100.9 dst=192.0.2.10 sport={port} dport=443 src=192.0.2.10 dst=198.51.100.9 sport=443 dport={port} [ASSURED] mark=0 use=1\n",
        port = 20_000 + number
    )
}

fn lines(number: usize) -> String {
    (0..number).map(line).collect()
}

fn summary(entries: usize) -> String {
    format!("conntrack v1.4.7 (conntrack-tools): {entries} flow entries have been shown.\n")
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn text_that_is_no_table_is_unknown_and_named() {
    let wrapped: String = lines(5)
        .as_bytes()
        .chunks(76)
        .map(|part| format!("{}\n", String::from_utf8_lossy(part)))
        .collect();
    let cut: String = lines(5)
        .lines()
        .map(|line| format!("{}\n", &line[..90]))
        .collect();
    let redacted = lines(5).replace("198.51.100.9", "x.x.x.x");
    let utf16: String = lines(1).chars().flat_map(|c| [c, '\0']).collect();
    let utf16 = [b"\xff\xfe".as_slice(), utf16.as_bytes()].concat();
    let texts: &[(&[u8], &str)] = &[
        (b"", "standard input is empty"),
        (b"\n \r\n\t\n", "standard input is empty"),
        (b"\xef\xbb\xbf\r\n", "standard input is empty"),
        (
            b"conntrack v1.4.4 (conntrack-tools): Operation failed: sorry, you must be root or get CAP_NET_ADMIN capability to do this\n",
            "holds an error message: conntrack v1.4.4 (conntrack-tools): Operation failed",
        ),
        (
            b"cat: /proc/net/nf_conntrack: Permission denied\n",
            "holds an error message: cat: /proc/net/nf_conntrack: Permission denied",
        ),
        (
            b"bash: line 1: conntrack: command not found\n",
            "holds an error message: bash: line 1: conntrack: command not found",
        ),
        (b"<?xml version=\"1.0\"?>\n<conntrack>\n", "holds XML"),
        (b"{\"entries\": []}\n", "holds JSON"),
        (b"<!DOCTYPE html>\n", "holds a web page"),
        (b"cpu=0   \tfound=0 invalid=130 drop=0\n", "holds the counters of conntrack -S"),
        (
            b"entries  clashres found new invalid ignore delete chainlength\n00000003  00000000\n",
            "holds the counters of the kernel",
        ),
        (
            b"-A -t 29 -u SEEN_REPLY -s 192.0.2.1 -d 192.0.2.2 -p udp --sport 1 --dport 53\n",
            "holds the output of conntrack -o save",
        ),
        (
            b"    [NEW] udp      17 30 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=53 [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 sport=53 dport=1\n",
            "holds the events of conntrack -E",
        ),
        (
            b"[1700000000.123456]\t [DESTROY] udp      17 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=53 src=192.0.2.2 dst=192.0.2.1 sport=53 dport=1\n",
            "holds the events of conntrack -E",
        ),
        (b"263\n", "holds a number, as conntrack -C prints it"),
        (
            b"298 proto=6 src=192.0.2.1 dst=192.0.2.2 sport=0 dport=41000\n",
            "holds the expectations",
        ),
        (
            b"Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port\ntcp   ESTAB  0 0 192.0.2.1:22 192.0.2.2:999\n",
            "holds the sockets of ss or netstat",
        ),
        (b"Dear all,\n\nplease look at this.\n", "holds other text: Dear all,"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "holds bytes that are no text"),
        (&utf16, "is text in UTF-16, convert it with iconv"),
        (b"\xfd7zXZ\0\0\x04", "is compressed, unpack it with xz -d"),
        (b"\x28\xb5\x2f\xfd\x04\0", "is compressed, unpack it with zstd -d"),
        (b"BZh91AY&SY", "is compressed, unpack it with bzip2 -d"),
        (wrapped.as_bytes(), "holds entries whose lines were wrapped"),
        (cut.as_bytes(), "holds entries whose lines were all cut off"),
        (
            redacted.as_bytes(),
            "holds entries whose addresses or ports were all removed",
        ),
        (
            b"conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.\n",
            "holds none of the 5 entries that conntrack listed, only its summary",
        ),
    ];
    for (text, part) in texts {
        for arguments in [
            &[][..],
            &["--top", "--max", "100"],
            &["-c", "established=5"],
        ] {
            let answer = piped(text, arguments);
            is_unknown(&answer, part);
            is_unknown(&answer, "(--table takes lines of /proc/net/nf_conntrack");
            assert_eq!(answer.perfdata(), [""; 0], "{}", answer.text);
        }
    }
}

#[test]
fn no_input_is_no_table() {
    let root = ProcRoot::tracking("7", "1000");
    is_unknown(
        &root.answer(&["--table", "-"]),
        "standard input is closed, or /dev/null",
    );
    is_unknown(
        &root.answer(&["--table", "/dev/null"]),
        "/dev/null is empty",
    );
    root.file("nothing", "");
    let path = root.path().join("nothing");
    is_unknown(
        &root.answer(&["--table", path.to_str().unwrap()]),
        "nothing is empty, which is no table",
    );
}

#[test]
fn the_list_of_an_empty_table_is_a_table() {
    let answer = piped(summary(0).as_bytes(), &[]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert_eq!(answer.value("entries").unwrap()[0], "0");
    // the same below a line of something else is not
    is_unknown(
        &piped(
            format!("sudo: a terminal is required\n{}", summary(0)).as_bytes(),
            &[],
        ),
        "holds an error message",
    );
}

#[test]
fn from_a_tenth_unread_on_no_number_of_a_capture_is_measured() {
    let given = [
        "entries=500",
        "usage=50",
        "free=1:",
        "established=500",
        "endpoint=500",
    ];
    for (unread, measured) in [(9, true), (10, false)] {
        let text = format!("{}{}", lines(100 - unread), "nonsense\n".repeat(unread));
        let part = format!("{unread} of 100 lines could not be parsed");
        let own = ["--own", "192.0.2.10"];
        let answer = piped(text.as_bytes(), &own);
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert!(answer.first_line().contains(&part), "{}", answer.text);
        assert_eq!(answer.value("usage").is_some(), measured, "{}", answer.text);
        assert_eq!(
            answer.value("entries").is_some(),
            measured,
            "{}",
            answer.text
        );
        assert!(
            answer.text.contains(&format!(
                "lines that could not be parsed: {unread} other text"
            )),
            "{}",
            answer.text
        );
        for range in given {
            let answer = piped(text.as_bytes(), &[&own[..], &["-c", range]].concat());
            assert!(answer.first_line().contains(&part), "{}", answer.text);
            assert_eq!(answer.code, if measured { 0 } else { 3 }, "{}", answer.text);
            // the reason is said once, before everything else
            let said = answer
                .first_line()
                .starts_with(&format!("CONNTRACK is UNKNOWN: {part}"));
            assert_eq!(said, !measured, "{}", answer.text);
            assert!(!answer.first_line().contains("not measured"));
            let metric = range.split('=').next().unwrap();
            let value = answer.value(if metric == "free" { "entries" } else { metric });
            assert_eq!(value.is_some(), measured, "{}", answer.text);
        }
    }
}

#[test]
fn a_capture_of_which_most_lines_were_lost_is_unknown_without_a_range_too() {
    for (unread, code) in [(50, 0), (51, 3), (95, 3)] {
        let cut: String = lines(unread)
            .lines()
            .map(|line| format!("{}\n", &line[..90]))
            .collect();
        let text = format!("{cut}{}", lines(100 - unread));
        let answer = piped(text.as_bytes(), &["--own", "192.0.2.10", "--top", "1"]);
        assert_eq!(answer.code, code, "{}", answer.text);
        let part = format!("{unread} of 100 lines could not be parsed");
        assert!(answer.first_line().contains(&part), "{}", answer.text);
        let kinds = format!("lines that could not be parsed: {unread} cut off");
        assert!(answer.text.contains(&kinds), "{}", answer.text);
    }
}

#[test]
fn the_number_that_conntrack_says_it_listed_is_held_against_the_capture() {
    let own = ["--own", "192.0.2.10"];
    let ranged = [&own[..], &["-c", "established=500"]].concat();
    let part = |read, shown| format!("read {read} of the {shown} entries that conntrack listed");
    for (read, shown, complete) in [(45, 50, false), (46, 50, true), (4, 50, false)] {
        // stderr comes first, or last, or between
        for text in [
            format!("{}{}", summary(shown), lines(read)),
            format!("{}{}", lines(read), summary(shown)),
            format!("{}{}{}", line(0), summary(shown), lines(read - 1)),
        ] {
            let answer = piped(text.as_bytes(), &own);
            assert_eq!(answer.code, 0, "{}", answer.text);
            assert!(
                answer.first_line().contains(&part(read, shown)),
                "{}",
                answer.text
            );
            let answer = piped(text.as_bytes(), &ranged);
            assert_eq!(answer.code, if complete { 0 } else { 3 }, "{}", answer.text);
        }
    }
    for text in [
        format!("{}{}", summary(50), lines(50)),
        // two lists in one file
        format!("{}{}{}{}", lines(20), summary(20), lines(20), summary(20)),
        // a list that grew by what somebody added
        format!("{}{}", summary(10), lines(12)),
    ] {
        let answer = piped(text.as_bytes(), &ranged);
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert!(!answer.text.contains("listed"), "{}", answer.text);
    }
    // lines that could not be parsed were listed all the same
    let text = format!("{}{}nonsense\n", summary(50), lines(49));
    let answer = piped(text.as_bytes(), &own);
    assert!(!answer.text.contains("listed"), "{}", answer.text);
    assert!(
        answer.first_line().contains("1 of 50 lines"),
        "{}",
        answer.text
    );
}

#[test]
fn the_limit_of_a_captures_host_is_given_by_hand() {
    let text = lines(95);
    let own = ["--own", "192.0.2.10"];
    let with = |more: &[&str]| piped(text.as_bytes(), &[&own[..], more].concat());
    let answer = with(&["--max", "100"]);
    assert_eq!(answer.code, 2, "{}", answer.text);
    assert_eq!(answer.value("usage").unwrap()[0], "95.0%");
    assert_eq!(
        answer.value("entries").unwrap(),
        ["95", "80", "90", "0", "100"]
    );
    // the buckets of this host say nothing about that one
    assert_eq!(answer.value("chain"), None, "{}", answer.text);
    is_unknown(
        &with(&["--max", "1000", "-c", "chain=30"]),
        "chain not measured: a capture does not tell how many hash buckets its host has",
    );
    assert_eq!(with(&["--max", "1000", "-c", "free=906:"]).code, 2);
    let answer = with(&["--max", "0"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(answer.first_line().contains("no limit"), "{}", answer.text);
    // else the limit is this host's
    assert_eq!(with(&[]).value("usage").unwrap()[0], "9.5%");
}

#[test]
fn a_capture_without_an_address_of_its_host_says_that_own_is_missing() {
    let text = lines(10);
    let missing = "(name the addresses of its host with --own)";
    let root = ProcRoot::tracking("7", "1000");
    root.file("capture", &text).file(
        "net/fib_trie",
        "Main:\n     |-- 203.0.113.1\n        /32 host LOCAL\n",
    );
    let path = root.path().join("capture");
    let with = |more: &[&str]| {
        let arguments = [&["--table", path.to_str().unwrap()][..], more].concat();
        root.answer(&arguments)
    };
    for (arguments, said) in [
        (
            &["--top"][..],
            "no address of this host occurs in the capture",
        ),
        (&[], "no address of this host occurs in the capture"),
        (
            &["--top", "--own", "203.0.113.0/24"],
            "no address of --own occurs in the capture",
        ),
    ] {
        let answer = with(arguments);
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert!(answer.first_line().contains(said), "{}", answer.text);
        assert!(answer.first_line().contains(missing), "{}", answer.text);
        assert_eq!(answer.value("endpoint"), None, "{}", answer.text);
        assert!(answer.value("established").is_some(), "{}", answer.text);
    }
    // the largest endpoint may be the host itself
    is_unknown(
        &with(&["-c", "endpoint=5"]),
        "endpoint not measured: no address",
    );
    assert_eq!(with(&["-c", "established=5"]).code, 2);
    for own in [&["--own", "192.0.2.10"][..], &["--own", "198.51.100.9"]] {
        let answer = with(&[own, &["-c", "endpoint=5"]].concat());
        assert_eq!(answer.code, 2, "{}", answer.text);
        assert!(!answer.text.contains("--own"), "{}", answer.text);
    }
    // this host's own addresses are enough
    root.file(
        "net/fib_trie",
        "Main:\n     |-- 192.0.2.10\n        /32 host LOCAL\n",
    );
    let answer = with(&["-c", "endpoint=5", "--top", "1"]);
    assert_eq!(answer.code, 2, "{}", answer.text);
    assert!(
        answer
            .text
            .contains("\n1. from 198.51.100.9: 10 entries, 100.0%, "),
        "{}",
        answer.text
    );
}

// ---- the table of a kernel ----

#[test]
fn a_table_of_which_no_line_is_understood_measures_nothing() {
    let root = ProcRoot::tracking("50", "1000");
    root.file("net/nf_conntrack", "garbled\n".repeat(50));
    root.file("net/tcp", "  sl  local_address\n");
    let part = "none of the 50 lines of";
    for arguments in [
        &["-c", "established=500"][..],
        &["-c", "endpoint=500", "--top"],
        &["-c", "unreplied=5", "--source", "procfs"],
    ] {
        let answer = root.answer(arguments);
        is_unknown(&answer, part);
        is_unknown(&answer, "not measured");
        // the count is the kernel's own
        assert_eq!(answer.value("entries").unwrap()[0], "50");
    }
    let answer = root.answer(&["--top"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(answer.first_line().contains(part), "{}", answer.text);
    assert_eq!(answer.value("established"), None, "{}", answer.text);
}

#[test]
fn a_table_of_which_a_tenth_is_not_understood_measures_no_classes() {
    for (unread, measured) in [(9, true), (10, false)] {
        let root = ProcRoot::tracking("100", "1000");
        let text = format!("{}{}", lines(100 - unread), "garbled\n".repeat(unread));
        root.file("net/nf_conntrack", text);
        let part = format!("{unread} of 100 lines could not be parsed");
        let own = ["--own", "192.0.2.10"];
        let answer = root.answer(&[&own[..], &["-c", "established=500"]].concat());
        assert_eq!(answer.code, if measured { 0 } else { 3 }, "{}", answer.text);
        assert!(answer.first_line().contains(&part), "{}", answer.text);
        assert_eq!(
            answer.value("established").is_some(),
            measured,
            "{}",
            answer.text
        );
        // usage needs no lines
        let answer = root.answer(&[&own[..], &["--top", "-w", "usage=50"]].concat());
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert!(answer.first_line().contains(&part), "{}", answer.text);
        assert_eq!(answer.value("usage").unwrap()[0], "10.0%");
    }
}

#[test]
fn a_list_that_is_much_shorter_than_the_count_says_so_and_no_advice_rests_on_it() {
    for (listed, count, said) in [
        (4, 263, true),
        (89, 100, true),
        (90, 100, false),
        (100, 100, false),
    ] {
        let root = ProcRoot::tracking(&count.to_string(), &count.to_string());
        root.file("net/nf_conntrack", lines(listed)).file(
            "net/fib_trie",
            "Main:\n     |-- 192.0.2.10\n        /32 host LOCAL\n",
        );
        let part = format!("the table lists {listed} of {count}");
        for arguments in [&["--top"][..], &["-c", "established=1"]] {
            let answer = root.answer(arguments);
            assert_eq!(answer.code, 2, "{}", answer.text);
            assert_eq!(answer.first_line().contains(&part), said, "{}", answer.text);
            let share = listed * 100 / count;
            let named = format!(
                " - 198.51.100.9 holds {share}% of the entries, to :443/tcp of this host - "
            );
            let named = answer.first_line().contains(&named);
            assert_eq!(named, !said, "{}", answer.text);
            let advice = answer.text.contains("\nfix: nft add table ip lim ");
            assert_eq!(advice, !said, "{}", answer.text);
        }
    }
    // a sample is not the whole list
    let root = ProcRoot::tracking("200", "1000");
    root.file("net/nf_conntrack", lines(200));
    let answer = root.answer(&["--top", "--sample", "50"]);
    assert!(!answer.text.contains("the table lists"), "{}", answer.text);
}

#[test]
fn a_table_that_grew_while_it_was_read_lists_no_more_entries_than_its_count() {
    for (listed, count) in [(100, 50), (100, 99), (3, 1)] {
        let root = ProcRoot::tracking(&count.to_string(), "100000");
        root.file("net/nf_conntrack", lines(listed)).file(
            "net/fib_trie",
            "Main:\n     |-- 192.0.2.10\n        /32 host LOCAL\n",
        );
        let answer = root.answer(&["--top", "-v", "-w", "endpoint=100000"]);
        for label in ["endpoint", "established", "entries"] {
            let value = answer.value(label).unwrap();
            assert_eq!(value[0], count.to_string(), "{label}: {}", answer.text);
        }
        let entries = if count == 1 { "entry" } else { "entries" };
        let line = format!("\n1. from 198.51.100.9: {count} {entries}, 100.0%, ");
        assert!(answer.text.contains(&line), "{}", answer.text);
    }
}

// ---- lines that were changed on their way ----

#[test]
fn a_line_is_read_through_what_terminals_editors_and_mail_programs_add() {
    let plain = "ipv4     2 tcp      6 431999 ESTABLISHED src=192.168.1.2 dst=198.51.100.7 sport=33012 dport=443 src=198.51.100.7 dst=192.168.1.2 sport=443 dport=33012 [ASSURED] mark=0 zone=0 use=2";
    let Line::Entry(entry) = parse_line(plain.as_bytes()) else {
        panic!("{plain}")
    };
    assert!(entry.assured);
    for changed in [
        format!("     2\t{plain}"),
        format!("     2  {plain}"),
        format!("2 {plain}"),
        format!("12:{plain}"),
        format!("/proc/net/nf_conntrack:{plain}"),
        format!("table-of-yesterday.txt:12:{plain}"),
        format!("12: {plain}"),
        format!("> {plain}"),
        format!(">> > {plain}"),
        format!("> 12:{plain}"),
        format!("  \t {plain} \t \r\n"),
        format!("\u{feff}{plain}\r\n"),
        plain.replace(' ', "\t"),
        plain.replace(' ', "\u{a0}"),
        plain.replace("[ASSURED] ", "[ASSURED]\u{a0}"),
        plain.replace("[ASSURED] ", "[ASSURED]\t"),
        plain.replace("[ASSURED] ", "[ASSURED]\r"),
        plain.replace("tcp", "\x1b[01;31m\x1b[Ktcp\x1b[m\x1b[K"),
        plain.replace("[ASSURED]", "\x1b[01;31m\x1b[K[ASSURED]\x1b[m\x1b[K"),
        plain.replace("ASSURED", "\x1b[01;31m\x1b[KASSURED\x1b[m\x1b[K"),
        plain.replace("198.51.100.7", "\x1b[35m198.51.100.7\x1b[0m"),
        // the same addresses, written as those of IPv6
        plain.replace("=198.51.100.7", "=::ffff:198.51.100.7"),
        plain
            .replace("=198.51.100.7", "=::ffff:198.51.100.7")
            .replace("=192.168.1.2", "=::ffff:192.168.1.2"),
        plain
            .replace("=198.51.100.7", "=0000:0000:0000:0000:0000:ffff:c633:6407")
            .replace("=192.168.1.2", "=::ffff:192.168.1.2")
            .replace("ipv4     2", "ipv6     10"),
    ] {
        assert_eq!(
            parse_line(changed.as_bytes()),
            Line::Entry(entry),
            "{changed:?}"
        );
    }
    // an entry of IPv6 does not become one of IPv4 where only one address is mapped
    let mixed = plain
        .replace("ipv4     2", "ipv6     10")
        .replace("=198.51.100.7", "=2001:db8::7")
        .replace("=192.168.1.2", "=::ffff:192.168.1.2");
    assert!(matches!(parse_line(mixed.as_bytes()), Line::Entry(_)));
    let half = mixed.replace("::ffff:192.168.1.2", "192.168.1.2");
    assert_eq!(parse_line(half.as_bytes()), Line::Unread(Unread::Foreign));
}

#[test]
fn lines_that_stay_unread_are_told_apart() {
    let line = line(0);
    let line = line.trim_end();
    let changed = |from: &str, to: &str| line.replace(from, to);
    let kind = |line: &str| match parse_line(line.as_bytes()) {
        Line::Unread(kind) => kind,
        other => panic!("{other:?}: {line}"),
    };
    for (expected, lines) in [
        (
            Unread::Redacted,
            vec![
                changed("198.51.100.9", "x.x.x.x"),
                changed("198.51.100.9", "<ip>"),
                changed("198.51.100.9", "198.51.100.xxx"),
                changed("192.0.2.10", "***"),
                changed("192.0.2.10", "[redacted]"),
                changed("192.0.2.10", "a.b.c.d"),
                changed("192.0.2.10", ""),
                changed("sport=20000", "sport=XXXX"),
                format!("> 12:{}", changed("198.51.100.9", "client")),
            ],
        ),
        (
            Unread::Cut,
            vec![
                line[..line.len() - "ED] mark=0 use=1".len()].to_owned(),
                line[..100].to_owned(),
                line[..60].to_owned(),
                line[..30].to_owned(),
                "tcp      6 300".to_owned(),
                "ipv4     2".to_owned(),
                format!("  7\t{}", &line[..100]),
                changed(" [ASSURED] mark=0 use=1", ""),
            ],
        ),
        (
            Unread::Wrapped,
            vec![
                line[line.find("sport").unwrap()..].to_owned(),
                line[line.find(" src=192.0.2.10").unwrap()..].to_owned(),
                "mark=0 use=1".to_owned(),
                "[ASSURED] mark=0 use=1".to_owned(),
                "> dport=443 src=192.0.2.10 dst=198.51.100.9".to_owned(),
            ],
        ),
        (
            Unread::Glued,
            vec![
                format!("{line}{line}"),
                format!("{line} {line}"),
                format!("{} {line}", changed("use=1", "secctx=a:b:c:s0 use=1")),
                format!("{} {line}", &line[..line.len() - 10]),
            ],
        ),
        (
            Unread::Foreign,
            vec![
                "# conntrack -L".to_owned(),
                "Proto RefCnt Flags       Type".to_owned(),
                changed("192.0.2.10", "192.0.2.256"),
                changed("ESTABLISHED", "ESTABLISHD"),
                changed("tcp      6", "udp      6"),
                "tcp        0      0 192.0.2.1:22 192.0.2.2:9999 ESTABLISHED 812/sshd -".to_owned(),
                "Linux router 4.9.0 #1 SMP".to_owned(),
            ],
        ),
    ] {
        for line in lines {
            assert_eq!(kind(&line), expected, "{line}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_in_front_of_the_kernels_columns_does_not_change_an_entry(prefix in "[ -~]{0,12}") {
        let line = line(0);
        let changed = format!("{prefix}{line}");
        if let Line::Entry(entry) = parse_line(changed.as_bytes()) {
            prop_assert_eq!(parse_line(line.as_bytes()), Line::Entry(entry));
        }
    }
}

// ---- gzip ----

fn read(path: &Path, patience: Duration) -> (Vec<Entry>, reader::ReadLines) {
    let deadline = Instant::now() + patience;
    let capture = open_capture(path, deadline).unwrap();
    let mut entries = Vec::new();
    let text = unpack::text(capture).unwrap();
    let lines = reader::read(text, Source::Capture, 0, deadline, |entry| {
        entries.push(*entry)
    });
    (entries, lines)
}

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_packed_capture_says_what_the_plain_one_says() {
    let directory = tempfile::tempdir().unwrap();
    let [plain, gzip, members] =
        ["plain", "capture.gz", "members"].map(|name| directory.path().join(name));
    let text = lines(5000);
    let (first, second) = text.split_at(100_001);
    fs::write(&plain, &text).unwrap();
    fs::write(&gzip, packed(text.as_bytes())).unwrap();
    // as pigz, bgzip and cat make them, an empty one among them
    let several = [
        packed(first.as_bytes()),
        packed(b""),
        packed(second.as_bytes()),
    ]
    .concat();
    fs::write(&members, &several).unwrap();
    let expected = read(&plain, SOON);
    assert_eq!(expected.0.len(), 5000);
    for path in [&gzip, &members] {
        assert_eq!(read(path, SOON), expected, "{}", path.display());
    }
    let arguments = ["--own", "192.0.2.10", "--top", "1"];
    let answer = piped(text.as_bytes(), &arguments);
    assert!(
        answer
            .text
            .contains("\n1. from 198.51.100.9: 5000 entries, 100.0%, "),
        "{}",
        answer.text
    );
    for packed in [packed(text.as_bytes()), several] {
        assert_eq!(piped(&packed, &arguments).text, answer.text);
    }
    // packed twice, by mistake
    is_unknown(
        &piped(&packed(&packed(text.as_bytes())), &[]),
        "bytes that are no text",
    );
    is_unknown(&piped(&packed(b""), &[]), "is empty");
}

#[test]
fn a_packed_capture_comes_in_pieces_of_any_length() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let packed = packed(lines(50).as_bytes());
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || {
            let mut writer = fs::OpenOptions::new().write(true).open(fifo).unwrap();
            for byte in packed {
                writer.write_all(&[byte]).unwrap();
            }
        }
    });
    let (entries, lines) = read(&fifo, SOON);
    writer.join().unwrap();
    assert_eq!((entries.len(), lines.listing.end), (50, DumpEnd::Whole));
}

#[test]
fn a_packed_capture_that_ends_too_soon_or_is_damaged_is_read_up_to_there() {
    let whole = packed(lines(5000).as_bytes());
    let own = ["--own", "192.0.2.10", "--top", "1"];
    let cut = piped(&whole[..whole.len() / 2], &own);
    is_unknown(&cut, "reading the capture failed after ");
    is_unknown(&cut, " entries: its gzip data ends too soon");
    assert!(
        cut.text.contains("\n1. from 198.51.100.9: "),
        "{}",
        cut.text
    );
    // the trailer alone is missing
    is_unknown(
        &piped(&whole[..whole.len() - 1], &own),
        "failed after 5000 entries",
    );
    is_unknown(&piped(&whole[..12], &[]), "failed after 0 entries");
    is_unknown(&piped(&whole[..2], &[]), "failed after 0 entries");
    let mut damaged = whole.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    is_unknown(&piped(&damaged, &own), "its gzip data is damaged");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    is_unknown(&piped(&damaged, &own), "its gzip data");
    is_unknown(
        &piped(&[&whole[..], b"something else"].concat(), &own),
        "its gzip data is damaged",
    );
}

/// Packs so many bytes without ever holding them.
fn pack_to(path: &Path, byte: u8, length: u64) {
    let mut encoder = GzEncoder::new(fs::File::create(path).unwrap(), Compression::best());
    let written = std::io::copy(&mut std::io::repeat(byte).take(length), &mut encoder);
    assert_eq!(written.unwrap(), length);
    encoder.finish().unwrap();
}

#[test]
fn a_capture_that_unpacks_to_very_much_takes_no_memory_and_no_more_than_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let bomb = directory.path().join("bomb.gz");
    pack_to(&bomb, b'x', 64 << 20);
    assert!(fs::metadata(&bomb).unwrap().len() < 1 << 20);
    // many times as much as the process may have
    let output = std::process::Command::new("prlimit")
        .arg("--as=50331648")
        .arg(crate::common::binary())
        .args(["--state-dir", "/nonexistent", "-t", "60", "--table"])
        .arg(&bomb)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    is_unknown(&Answer::of(output), "holds other text: xxxx");
    let (entries, lines) = read(&bomb, Duration::ZERO);
    assert_eq!((entries.len(), lines.listing.end), (0, DumpEnd::TimeUp));
}
