//! Entries as text: what the kernel and conntrack-tools print, and what may have become of it on its way.

use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use check_conntrack::model::conntrack::{Class, Entry, Protocol, TcpState, Tuple};
use check_conntrack::model::dump::{Choice, DumpEnd, Source, Unread};
use check_conntrack::model::error::ReadError;
use check_conntrack::source::capture::line::{Line, parse_line};
use check_conntrack::source::capture::open::{Capture, open_capture};
use check_conntrack::source::capture::reader;
use check_conntrack::source::capture::reader::{LONGEST_LINE, ReadLines};
use check_conntrack::source::enter_netns::NetnsAccess;
use check_conntrack::source::entries::{self as sources, EntryQuery};
use check_conntrack::source::procfs::ct_table;
use proptest::prelude::*;

use crate::common::namespaces::this_test;
use crate::common::programs::{printed, program};
use crate::heap;

const FILES: [&str; 8] = [
    "procfs-recorded.txt",
    "list-recorded.txt",
    "list-recorded-as-procfs.txt",
    "6.18-list.txt",
    "6.18-list-extended.txt",
    "6.18-list-ktimestamp-id-labels.txt",
    "6.18-procfs.txt",
    "6.18-list-both-outputs.txt",
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captures")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// An entry without its timeout, which differs from one listing to the next.
fn entry(line: &str) -> Entry {
    match parse_line(line.as_bytes()) {
        Line::Entry(entry) => without_timeout(&entry),
        other => panic!("{other:?}: {line}"),
    }
}

fn without_timeout(entry: &Entry) -> Entry {
    Entry {
        timeout: None,
        ..*entry
    }
}

/// The entries of a corpus file, all of whose lines are entries.
fn entries(name: &str) -> Vec<Entry> {
    text(name).lines().map(entry).collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn read_all(source: impl Read, which: Source, sample: u64) -> (Vec<Entry>, ReadLines) {
    let mut entries = Vec::new();
    let lines = reader::read(source, which, sample, soon(), |entry| {
        entries.push(without_timeout(entry))
    });
    assert_eq!(lines.listing.source, which);
    assert_eq!(lines.listing.read, entries.len() as u64);
    (entries, lines)
}

fn tuple(source: &str, destination: &str, source_port: u16, destination_port: u16) -> Tuple {
    Tuple {
        source: source.parse::<IpAddr>().unwrap().into(),
        destination: destination.parse::<IpAddr>().unwrap().into(),
        source_port,
        destination_port,
    }
}

/// An entry without address translation, not replied to.
fn plain(protocol: u8, one: &str, other: &str, port: u16, other_port: u16) -> Entry {
    Entry {
        protocol: Protocol(protocol),
        original: tuple(one, other, port, other_port),
        reply: tuple(other, one, other_port, port),
        tcp_state: None,
        replied: false,
        assured: false,
        offloaded: false,
        timeout: None,
    }
}

fn tcp(state: TcpState, one: &str, other: &str, port: u16, other_port: u16) -> Entry {
    Entry {
        tcp_state: Some(state),
        replied: true,
        ..plain(6, one, other, port, other_port)
    }
}

/// The offloaded connection of both recorded files.
fn offloaded() -> Entry {
    Entry {
        original: tuple("10.1.0.2", "10.1.0.1", 44400, 8080),
        reply: tuple("10.2.0.2", "10.2.0.1", 9000, 44400),
        replied: true,
        offloaded: true,
        timeout: None,
        ..plain(6, "::", "::", 0, 0)
    }
}

#[test]
fn lines_of_procfs_are_read_as_they_are_meant() {
    let local = |port, other| plain(17, "127.0.0.1", "127.0.0.1", port, other);
    let portless = |protocol| plain(protocol, "10.0.0.1", "10.0.0.2", 0, 0);
    let expected = [
        local(47752, 5003),
        local(47752, 5002),
        Entry {
            assured: true,
            ..tcp(TcpState::Established, "127.0.0.1", "127.0.0.1", 40366, 6000)
        },
        plain(17, "::1", "::1", 53342, 5000),
        local(47752, 5001),
        Entry {
            replied: true,
            ..plain(1, "127.0.0.1", "127.0.0.1", 0, 0)
        },
        plain(50, "127.0.0.1", "127.0.0.1", 0, 0),
        plain(47, "127.0.0.1", "127.0.0.1", 0, 0),
        plain(132, "10.0.0.1", "10.0.0.2", 1, 2),
        plain(33, "127.0.0.1", "127.0.0.1", 0, 0),
        offloaded(),
        plain(136, "10.0.0.1", "10.0.0.2", 1, 2),
        plain(58, "2001:db8::1", "2001:db8::2", 0, 0),
        portless(47),
        plain(33, "10.0.0.1", "10.0.0.2", 1, 2),
        portless(33),
        portless(136),
    ];
    let read = entries("procfs-recorded.txt");
    for (read, expected) in read.iter().zip(&expected) {
        assert_eq!(read, expected);
    }
    assert_eq!(read.len(), expected.len());
}

#[test]
fn lines_of_conntrack_are_read_as_they_are_meant() {
    let expected = [
        plain(17, "10.0.0.4", "10.0.0.9", 4001, 53),
        plain(17, "2001:db8::2", "2001:db8::ff", 2005, 53),
        Entry {
            assured: true,
            ..tcp(TcpState::Established, "10.0.0.3", "10.0.0.9", 3001, 53)
        },
        offloaded(),
    ];
    assert_eq!(entries("list-recorded.txt"), expected);
    let as_procfs = entries("list-recorded-as-procfs.txt");
    assert_eq!(as_procfs[..3], expected[..3]);
    let closed = Entry {
        tcp_state: Some(TcpState::Close),
        assured: true,
        offloaded: false,
        ..offloaded()
    };
    assert_eq!(as_procfs[5], closed);
}

#[test]
fn the_same_table_is_the_same_in_every_form() {
    let assured = |entry| Entry {
        assured: true,
        ..entry
    };
    let far = |state, port| tcp(state, "10.0.0.4", "10.0.0.9", port, 443);
    let resolver = |port| plain(17, "10.0.0.4", "10.0.0.9", port, 53);
    let expected = [
        far(TcpState::Close, 3105),
        far(TcpState::SynSent2, 3107),
        plain(50, "10.0.0.1", "10.0.0.2", 0, 0),
        assured(tcp(TcpState::TimeWait, "10.0.0.3", "10.0.0.9", 3003, 443)),
        far(TcpState::SynRecv, 3101),
        assured(tcp(TcpState::Established, "10.0.0.3", "10.0.0.9", 3001, 53)),
        resolver(4002),
        far(TcpState::FinWait, 3102),
        far(TcpState::None, 3100),
        plain(17, "2001:db8::2", "2001:db8::ff", 2005, 53),
        // --dst-nat 10.2.0.2:9000
        Entry {
            reply: tuple("10.2.0.2", "203.0.113.5", 9000, 44400),
            ..assured(tcp(
                TcpState::Established,
                "203.0.113.5",
                "10.1.0.1",
                44400,
                8080,
            ))
        },
        far(TcpState::SynSent2, 3106),
        plain(132, "10.0.0.1", "10.0.0.2", 1, 2),
        plain(33, "10.0.0.1", "10.0.0.2", 0, 0),
        resolver(4003),
        plain(47, "10.0.0.1", "10.0.0.2", 0, 0),
        plain(136, "10.0.0.1", "10.0.0.2", 1, 2),
        far(TcpState::LastAck, 3104),
        resolver(4001),
        // --src-nat 203.0.113.1
        Entry {
            reply: tuple("198.51.100.80", "203.0.113.1", 443, 5555),
            ..assured(tcp(
                TcpState::Established,
                "192.168.7.7",
                "198.51.100.80",
                5555,
                443,
            ))
        },
        far(TcpState::CloseWait, 3103),
        plain(1, "10.0.0.1", "10.0.0.2", 0, 0),
        Entry {
            replied: false,
            ..tcp(TcpState::SynSent, "10.0.0.3", "10.0.0.9", 3002, 443)
        },
        plain(58, "2001:db8::1", "2001:db8::2", 0, 0),
    ];
    let list = entries("6.18-list.txt");
    for (read, expected) in list.iter().zip(&expected) {
        assert_eq!(read, expected);
    }
    assert_eq!(list.len(), expected.len());
    for name in [
        "6.18-procfs.txt",
        "6.18-list-extended.txt",
        "6.18-list-ktimestamp-id-labels.txt",
    ] {
        assert_eq!(entries(name), list, "{name}");
    }
}

#[test]
fn a_summary_in_the_middle_of_an_entry_costs_nothing() {
    let (entries_read, lines) = read_all(
        text("6.18-list-both-outputs.txt").as_bytes(),
        Source::Capture,
        0,
    );
    assert_eq!(entries_read, entries("6.18-list.txt"));
    assert_eq!((lines.blank, lines.listing.broken), (1, 0));
    assert_eq!(lines.listing.end, DumpEnd::Whole);
}

const UDP: &str = "udp      17 29 src=192.0.2.1 dst=192.0.2.2 sport=1024 dport=53 [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 sport=53 dport=1024";

fn udp() -> Entry {
    plain(17, "192.0.2.1", "192.0.2.2", 1024, 53)
}

#[test]
fn the_timeout_is_that_of_udp_alone_and_never_negative() {
    let timeout = |line: &str| match parse_line(line.as_bytes()) {
        Line::Entry(entry) => entry.timeout,
        other => panic!("{other:?}: {line}"),
    };
    let whole = format!("{UDP} use=1");
    assert_eq!(timeout(&whole), Some(29));
    assert_eq!(timeout(&whole.replace(" 29 ", " ")), None);
    // expired, and not yet collected
    assert_eq!(timeout(&whole.replace(" 29 ", " -29 ")), None);
    let tcp = whole.replace("udp      17 29", "tcp      6 29 SYN_SENT");
    assert_eq!(timeout(&tcp), None);
}

#[test]
fn what_follows_the_tuples_does_not_matter() {
    for rest in [
        "use=1",
        "mark=0 use=2",
        "zone-reply=7 packets=0 bytes=0 mark=0 use=1",
        "mark=0 secmark=0 use=2",
        "mark=0 secctx=system_u:object_r:unlabeled_t:s0 zone=0 use=2",
        // AppArmor and Smack labels may be nearly anything
        "mark=0 secctx=a b source=198.51.100.9 sport=1 dport=2 [ASSURED] [OFFLOAD] = [UNREPLIED] zone=0 delta-time=3 use=2",
        "mark=0 secctx= zone=0 use=2",
        "secctx=caf\u{e9} use=2",
        "mark=0 delta-time=0 [start=Sun Nov 22 11:28:18 2026] [stop=Sun Nov 22 11:28:19 2026] use=1 id=2008309553",
        "mark=0 helper=ftp use=1",
        "mark=0 use=1 id=2008309553 labels=eth0-in,a label with blanks",
        "mark=0 some-day=new use=1",
        // words of router vendors, with digits in their keys and empty values
        "[FASTNAT] mark=0 nmark=256 sc=0 nomac swan no_if attrs= use=2",
        "[FASTNAT] [RTCACHE o33/r11] mark=0 ifw=11 mac=00:00:5e:00:53:03 slan attrs= use=2 id=12345",
        "mark=0 blog=1 iqprio=0 l7proto=http h323=1 A.b_c-d=2 use=2",
        "mark=0 use=2 qosclass 7 [HNAT]",
        // kernels that print no use=
        "mark=0",
        "mark=0 [HNAT cpu 1]",
        "nmark=",
        "mark=0 use=1 \t ",
        "mark=0 use=1\r\n",
        "mark=0 use=1\n",
    ] {
        assert_eq!(entry(&format!("{UDP} {rest}")), udp(), "{rest}");
    }
}

#[test]
fn what_stands_where_a_flag_may_stand_counts() {
    let with = |flag: &str| entry(&format!("{UDP} packets=0 bytes=0 {flag} mark=0 use=1"));
    let assured = with("[ASSURED]");
    assert!(assured.assured && !assured.offloaded && !assured.is_evictable());
    for flag in ["[OFFLOAD]", "[HW_OFFLOAD]"] {
        let offloaded = with(flag);
        assert!(!offloaded.assured && offloaded.offloaded && !offloaded.is_evictable());
    }
    assert!(!entry(&format!("{UDP} use=1")).replied);
    assert!(entry(&format!("{} use=1", UDP.replace("[UNREPLIED] ", ""))).replied);
}

#[test]
fn kernels_of_long_ago_are_read() {
    // /proc/net/ip_conntrack of 2.6
    let line = "tcp      6 431999 ESTABLISHED src=192.168.1.2 dst=198.51.100.7 sport=33012 dport=80 packets=5 bytes=700 src=198.51.100.7 dst=192.168.1.2 sport=80 dport=33012 packets=4 bytes=900 [ASSURED] mark=0 secmark=0 use=1 ";
    let expected = tcp(
        TcpState::Established,
        "192.168.1.2",
        "198.51.100.7",
        33012,
        80,
    );
    assert_eq!(
        entry(line),
        Entry {
            assured: true,
            ..expected
        }
    );
    // multicast: an unknown protocol, without a state
    let line = "unknown  2 535 src=192.168.1.2 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=192.168.1.2 use=1";
    assert_eq!(entry(line), plain(2, "192.168.1.2", "224.0.0.22", 0, 0));
    // expired, and not collected yet
    assert_eq!(
        entry(&format!("{UDP} use=1").replace(" 29 ", " -3 ")),
        udp()
    );
    let listen = line_of_tcp("LISTEN");
    assert_eq!(entry(&listen).tcp_state, Some(TcpState::SynSent2));
}

fn line_of_tcp(state: &str) -> String {
    format!("{UDP} mark=0 use=1").replace("udp      17 29", &format!("tcp      6 29 {state}"))
}

#[test]
fn an_offloaded_connection_is_established_and_may_have_no_timeout() {
    let hardware = "ipv4     2 tcp      6 src=10.1.0.2 dst=10.1.0.1 sport=44400 dport=8080 src=10.2.0.2 dst=10.2.0.1 sport=9000 dport=44400 [HW_OFFLOAD] mark=0 zone=0 use=3";
    assert_eq!(entry(hardware), offloaded());
    assert_eq!(entry(hardware).class(), Class::Established);
}

#[test]
fn lines_that_are_no_entries_are_told_from_blank_ones() {
    for blank in [
        "",
        "\n",
        " \t\r\n",
        "\x1b[m\x1b[K\n",
        "\u{feff}\r\n",
        "> \n",
    ] {
        assert_eq!(parse_line(blank.as_bytes()), Line::Blank, "{blank:?}");
    }
    let summary = "conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.";
    for summary in [summary, &format!("{summary}\r\n")] {
        assert_eq!(parse_line(summary.as_bytes()), Line::Shown(5));
    }
    let whole = format!("{UDP} mark=0 use=1");
    assert_eq!(entry(&whole), udp());
    let changed = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    for line in [
        // other files and commands
        "# conntrack -L",
        "Proto RefCnt Flags       Type       State         I-Node   Path",
        "conntrack v1.4.7 (conntrack-tools): Operation failed: such conntrack doesn't exist",
        "    [NEW] udp      17 30 src=192.0.2.1 dst=192.0.2.2 sport=1024 dport=53 [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 sport=53 dport=1024",
        "-A -t 29 -u SEEN_REPLY -s 192.0.2.1 -d 192.0.2.2 -p udp --sport 1024 --dport 53",
        "tcp 6",
        "tcp",
        "ipv4     2",
        // two lines that became one
        &format!("{whole} {whole}"),
        &format!("{whole}{whole}"),
        &format!("{UDP} packets=1 byt{whole}"),
        &format!("{UDP} [ASS{whole}"),
        // columns that contradict each other
        &format!("ipv6     10 {whole}"),
        &format!("ipv4     10 {whole}"),
        &format!("ipv4     2 unknown  {whole}"),
        &changed("17", "6"),
        &changed("17", "256"),
        &changed("17", "+17"),
        &changed("17", "0x11"),
        &changed("29", "soon later maybe"),
        // half translated
        &changed("src=192.0.2.1", "src=2001:db8::1"),
        &changed(
            "src=192.0.2.2 dst=192.0.2.1",
            "src=2001:db8::2 dst=2001:db8::1",
        ),
        // addresses and ports that are none
        &changed("192.0.2.1", "192.0.2.256"),
        &changed("192.0.2.1", "192.0.2.01"),
        &changed("192.0.2.1", "192.0.2"),
        &changed("192.0.2.1", "192.0.2.1.1"),
        &changed("192.0.2.1", "192.0..1"),
        &changed("192.0.2.1", ""),
        &changed("1024", "65536"),
        &changed("1024", "-1"),
        &changed("1024", "99999999999999999999"),
        &changed("sport=1024 ", ""),
        &changed("dport=53 ", ""),
        &changed("src", "source"),
        &changed("mark=0 use=1", ""),
        &changed("mark=0 use=1", "packets=0 bytes=0 [ASSURED] [FASTNAT] word"),
        &changed("[UNREPLIED]", "word"),
        &changed("[UNREPLIED]", "[UNREPLIED"),
        &changed("[UNREPLIED]", "dst=192.0.2.2"),
        &line_of_tcp("ESTABLISHD"),
        &line_of_tcp("ESTABLISHED CLOSE"),
    ] {
        assert!(is_unread(line.as_bytes()), "{line}");
    }
    assert!(is_unread(b"\xff\xfe\0"));
    let latin = [format!("{UDP} secctx=").as_bytes(), b"caf\xe9 use=1"].concat();
    assert!(is_unread(&latin));
}

fn is_unread(line: &[u8]) -> bool {
    matches!(parse_line(line), Line::Unread(_))
}

/// Lines of cases/vendor-kernel, and one of a kernel that prints no use=.
const VENDOR: [&str; 3] = [
    "ipv4     2 tcp      6 1191 ESTABLISHED src=192.168.1.151 dst=203.0.113.172 sport=63854 dport=80 packets=6 bytes=815 src=203.0.113.172 dst=192.168.0.10 sport=80 dport=63854 packets=5 bytes=617 [ASSURED] [FASTNAT] [RTCACHE o33/r11] mark=0 nmark=0 sc=0 ifw=11 ifl=33 mac=00:00:5e:00:53:03 slan attrs= use=2",
    "ipv4     2 icmp     1 src=172.16.0.2 dst=203.0.113.8 type=8 code=0 id=6184 packets=1 bytes=84 src=203.0.113.8 dst=172.16.0.2 type=0 code=0 id=0 packets=1 bytes=84 [FASTNAT] mark=0 nmark=0 sc=0 use=2",
    "tcp      6 27 TIME_WAIT src=192.168.2.1 dst=192.168.2.4 sport=52102 dport=443 src=192.168.2.4 dst=192.168.2.1 sport=443 dport=52102 [ASSURED] [FASTNAT] mark=0 nomac swan",
];

#[test]
fn a_line_that_was_cut_is_no_entry_or_says_the_same_as_the_whole_line() {
    let corpus = FILES.iter().map(|name| text(name)).collect::<String>();
    let mut refused = 0;
    for line in corpus.lines().chain(VENDOR) {
        let Line::Entry(whole) = parse_line(line.as_bytes()) else {
            continue;
        };
        let reply = line.rfind(" src=").unwrap();
        for length in 1..line.len() {
            let cut = &line[..length];
            match parse_line(cut.as_bytes()) {
                Line::Entry(entry) => {
                    assert_eq!(entry, whole, "{cut}");
                    assert!(length > reply, "{cut}");
                }
                Line::Unread(kind) => {
                    if cut.contains("src=") {
                        assert_eq!(kind, Unread::Cut, "{cut}");
                    }
                    refused += 1;
                }
                other => panic!("{other:?}: {cut}"),
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn every_state_of_a_socket_in_a_file_has_a_word_of_the_table() {
    let words = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT",
        "FIN_WAIT",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "", // listening
        "LAST_ACK",
        "SYN_RECV",
    ];
    let root = crate::common::ProcRoot::tracking("12", "1000");
    let mut file = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_owned();
    for (number, word) in (1..).zip(words) {
        let (address, port) = if word.is_empty() {
            ("00000000", 0)
        } else {
            ("070200C0", 5000 + number)
        };
        file += &format!(
            "{number:4}: 0A0200C0:9C4{number:X} {address}:{port:04X} {number:02X} 00000000:00000000 00:00000000 00000000  1000        0 70{number:02} 1 0000000000000000 20 4 30 10 -1\n"
        );
    }
    root.file("net/tcp", file);
    let answer = root.answer(&[
        "--top",
        "12",
        "--source",
        "sockets",
        "--own",
        "192.0.2.10",
        "-v",
    ]);
    for (number, word) in (1..).zip(words) {
        let line = format!("to 192.0.2.7:{}/tcp: 1 socket, {word} 100%", 5000 + number);
        assert_eq!(answer.text.contains(&line), !word.is_empty(), "{answer:#?}");
    }
}

#[test]
fn a_hash_that_was_resized_while_the_file_was_read_makes_it_inexact() {
    const BUCKETS: &str = "sys/net/netfilter/nf_conntrack_buckets";
    let root = crate::common::ProcRoot::tracking("24", "1000");
    root.file(BUCKETS, "1024\n");
    root.file(
        "net/nf_conntrack",
        fs::read(file("6.18-procfs.txt")).unwrap(),
    );
    let wanted = EntryQuery {
        proc_root: root.path().to_owned(),
        place: NetnsAccess::own(root.path(), false),
        elsewhere: None,
        choice: Choice::Auto,
        extent: 0.into(),
        count: 24,
        is_recorded: false,
        deadline: Instant::now() + Duration::from_secs(60),
    };
    for (meanwhile, inexact) in [("1024\n", false), ("2048\n", true)] {
        let mut read = 0;
        let entries = sources::entries(&wanted, |_| {
            read += 1;
            root.file(BUCKETS, meanwhile);
        });
        let listing = entries.unwrap().listing;
        assert_eq!((listing.end, listing.read), (DumpEnd::Whole, read));
        assert_eq!(listing.inexact, inexact, "{meanwhile}");
    }
}

#[test]
fn a_capture_is_counted_to_its_end_and_procfs_is_not() {
    let text = text("6.18-list.txt");
    let all = entries("6.18-list.txt");
    let (some, lines) = read_all(text.as_bytes(), Source::Capture, 5);
    assert_eq!(some, all[..5]);
    assert_eq!(
        (lines.listing.seen, &lines.listing.end),
        (24, &DumpEnd::Sampled)
    );
    let (some, lines) = read_all(text.as_bytes(), Source::Procfs, 5);
    assert_eq!(some, all[..5]);
    assert_eq!(
        (lines.listing.seen, &lines.listing.end),
        (5, &DumpEnd::Sampled)
    );
    // a sample as large as the table is the table
    for sample in [0, 24, 25] {
        for source in [Source::Capture, Source::Procfs] {
            let (some, lines) = read_all(text.as_bytes(), source, sample);
            assert_eq!((some.len(), lines.listing.seen), (24, 24));
            assert_eq!(lines.listing.end, DumpEnd::Whole);
        }
    }
}

#[test]
fn a_last_line_without_line_feed_counts_when_it_is_whole() {
    let whole = format!("{UDP} use=1");
    let (entries, lines) = read_all(whole.as_bytes(), Source::Capture, 0);
    assert_eq!((entries.len(), lines.listing.broken), (1, 0));
    let (entries, lines) = read_all(UDP.as_bytes(), Source::Capture, 0);
    assert_eq!((entries.len(), lines.listing.broken), (0, 1));
    let (entries, lines) = read_all(io::empty(), Source::Capture, 0);
    assert_eq!((entries.len(), lines.listing.seen, lines.blank), (0, 0, 0));
    assert_eq!(lines.listing.end, DumpEnd::Whole);
}

/// Gives what is in it, then this error for ever.
struct Breaks<'a>(&'a [u8], io::ErrorKind);

impl Read for Breaks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(self.1.into()),
            n => Ok(n),
        }
    }
}

#[test]
fn what_came_before_an_error_counts() {
    let whole = format!("{UDP} use=1\n{UDP} use=1\n{UDP} us");
    for (kind, source, expected) in [
        (
            io::ErrorKind::InvalidInput,
            Source::Capture,
            "reading the capture failed after 2 entries: ",
        ),
        (
            io::ErrorKind::OutOfMemory,
            Source::Procfs,
            "net/nf_conntrack cannot be read: ",
        ),
    ] {
        let (entries, lines) = read_all(Breaks(whole.as_bytes(), kind), source, 0);
        // a line that was not finished counts for nothing
        assert_eq!((entries.len(), lines.listing.broken), (2, 0));
        let DumpEnd::Failed(error) = lines.listing.end else {
            panic!("{:?}", lines.listing.end);
        };
        let said = error.to_string();
        assert!(said.starts_with(expected), "{said}");
    }
    let (entries, lines) = read_all(
        Breaks(whole.as_bytes(), io::ErrorKind::TimedOut),
        Source::Capture,
        0,
    );
    assert_eq!((entries.len(), lines.listing.end), (2, DumpEnd::TimeUp));
}

#[test]
fn nothing_is_read_after_the_deadline() {
    let lines = reader::read(io::repeat(b'\n'), Source::Procfs, 0, Instant::now(), |_| {});
    assert_eq!((lines.blank, lines.listing.end), (0, DumpEnd::TimeUp));
    // an endless source, too
    let soon = Instant::now() + Duration::from_millis(100);
    let lines = reader::read(io::repeat(b'\n'), Source::Capture, 0, soon, |_| {});
    assert_eq!(lines.listing.end, DumpEnd::TimeUp);
}

/// Remembers how much it was asked for at once.
struct Asked<R>(R, usize);

impl<R: Read> Read for Asked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1.max(buffer.len());
        self.0.read(buffer)
    }
}

#[test]
fn a_line_without_end_takes_no_memory() {
    const LENGTH: u64 = 256 << 20;
    let whole = format!("{UDP} use=1\n");
    let after = format!("\n{whole}");
    let mut source = Asked(
        whole
            .as_bytes()
            .chain(io::repeat(b'x').take(LENGTH))
            .chain(after.as_bytes()),
        0,
    );
    let ((entries, lines), peak) = heap::peak_of(|| read_all(&mut source, Source::Capture, 0));
    assert_eq!((entries.len(), lines.listing.broken), (2, 1));
    assert!(source.1 <= 64 << 10, "{}", source.1);
    assert!(peak < 1 << 20, "{peak} bytes");
}

#[test]
fn lines_are_read_up_to_the_longest() {
    let fill = |length: usize| {
        let line = format!("{UDP} mark=0 secctx= use=1");
        line.replace(
            "secctx=",
            &format!("secctx={}", "x".repeat(length - line.len())),
        )
    };
    let text = format!(
        "{}\n{}\n{UDP} use=1\n",
        fill(LONGEST_LINE),
        fill(LONGEST_LINE + 1)
    );
    let (entries, lines) = read_all(text.as_bytes(), Source::Capture, 0);
    assert_eq!((entries.len(), lines.listing.broken), (2, 1));
}

/// Delivers in pieces of these lengths, over and over.
struct Pieces<'a>(&'a [u8], Vec<usize>, usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.1[self.2 % self.1.len()];
        self.2 += 1;
        let length = buffer.len().min(piece);
        self.0.read(&mut buffer[..length])
    }
}

fn corpus() -> Vec<u8> {
    let mut text: Vec<u8> = FILES
        .iter()
        .flat_map(|name| text(name).into_bytes())
        .collect();
    text.extend_from_slice(b"\r\n\n");
    text
}

/// A part of the corpus in which some bytes are others and some are missing.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let corpus = corpus();
    let interesting = prop_oneof![
        any::<u8>(),
        prop::sample::select(b" \n\r=[]:.0129abcdesu".to_vec())
    ];
    let length = corpus.len();
    (
        0..length,
        0..8000_usize,
        prop::collection::vec(
            (any::<prop::sample::Index>(), interesting, 0..3_usize),
            0..20,
        ),
    )
        .prop_map(move |(start, length, changes)| {
            let end = (start + length).min(corpus.len());
            let mut text = corpus[start..end].to_vec();
            for (index, byte, removed) in changes {
                if text.is_empty() {
                    break;
                }
                let at = index.index(text.len());
                let until = (at + removed).min(text.len());
                text.splice(at..until, [byte]);
            }
            text
        })
}

/// Facts that must be true of every source.
fn adds_up(text: &[u8], pieces: Vec<usize>, sample: u64) {
    let mut expected = text.split(|byte| *byte == b'\n').count() as u64;
    if text.is_empty() || text.ends_with(b"\n") {
        expected -= 1;
    }
    let (entries, lines) = read_all(Pieces(text, pieces, 0), Source::Capture, sample);
    assert_eq!(
        lines.listing.seen + lines.blank + lines.listing.broken,
        expected
    );
    let at_once = read_all(text, Source::Capture, sample);
    assert_eq!(at_once, (entries, lines));
}

proptest! {
    #[test]
    fn any_bytes_add_up(
        text in prop::collection::vec(any::<u8>(), 0..2000),
        pieces in prop::collection::vec(1..300_usize, 1..5),
        sample in 0..4_u64,
    ) {
        parse_line(&text);
        adds_up(&text, pieces, sample);
    }

    #[test]
    fn damaged_lines_add_up(
        text in mutated(),
        pieces in prop::collection::vec(1..5000_usize, 1..5),
        sample in 0..40_u64,
    ) {
        for line in text.split(|byte| *byte == b'\n') {
            parse_line(line);
        }
        adds_up(&text, pieces, sample);
    }

    #[test]
    fn long_lines_add_up(
        lengths in prop::collection::vec(0..9000_usize, 0..20),
        pieces in prop::collection::vec(1..9000_usize, 1..5),
        last in any::<bool>(),
    ) {
        let mut text = lengths.iter().map(|length| "x".repeat(*length)).collect::<Vec<_>>().join("\n");
        if last {
            text.push('\n');
        }
        adds_up(text.as_bytes(), pieces, 0);
    }

    #[test]
    fn addresses_are_what_the_library_takes_for_addresses(text in "[0-9.]{0,16}|([0-9]{1,3}\\.){3}[0-9]{1,3}") {
        let line = format!("{UDP} use=1").replacen("192.0.2.1", &text, 1);
        let expected = text.parse::<std::net::Ipv4Addr>().ok();
        let read = match parse_line(line.as_bytes()) {
            Line::Entry(entry) => Some(entry.original.source),
            _ => None,
        };
        prop_assert_eq!(read, expected.map(Into::into));
    }

    #[test]
    fn every_entry_survives_its_text(
        v6: bool, one: u128, other: u128, ports: (u16, u16), number: u8, assured: bool, replied: bool, offloaded: bool,
    ) {
        let address = |bits: u128| -> std::net::IpAddr {
            if v6 { std::net::Ipv6Addr::from(bits).into() } else { std::net::Ipv4Addr::from(bits as u32).into() }
        };
        let (one, other) = (address(one).to_string(), address(other).to_string());
        let protocol = Protocol(number);
        let ports = if protocol.has_ports() { ports } else { (0, 0) };
        let timeout = (protocol == Protocol::UDP && !offloaded).then_some(10);
        let entry = Entry { replied, assured, offloaded, timeout, ..plain(number, &one, &other, ports.0, ports.1) };
        let name = Protocol::NAMES.iter().find(|(_, known)| *known == number).map_or("unknown", |(name, _)| name);
        let line = format!(
            "{name:<8} {number} {}src={one} dst={other} sport={} dport={} {}src={other} dst={one} sport={} dport={} {}{}mark=0 use=1",
            if offloaded { "" } else { "10 " }, ports.0, ports.1,
            if replied { "" } else { "[UNREPLIED] " }, ports.1, ports.0,
            if assured { "[ASSURED] " } else { "" }, if offloaded { "[OFFLOAD] " } else { "" },
        );
        prop_assert_eq!(parse_line(line.as_bytes()), Line::Entry(entry));
    }
}

// ---- opening ----

fn open(path: &Path, deadline: Instant) -> Result<Capture, ReadError> {
    open_capture(path, deadline)
}

#[test]
fn a_file_is_read_to_its_end() {
    let source = open(&file("6.18-procfs.txt"), soon()).unwrap();
    let (all, lines) = read_all(source, Source::Capture, 0);
    assert_eq!(all, entries("6.18-procfs.txt"));
    assert_eq!(lines.listing.end, DumpEnd::Whole);
    let (all, lines) = read_all(
        open(Path::new("/dev/null"), soon()).unwrap(),
        Source::Capture,
        0,
    );
    assert_eq!((all.len(), lines.listing.end), (0, DumpEnd::Whole));
}

#[test]
fn what_cannot_be_a_capture_is_named() {
    let directory = crate::common::new_folder();
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, said) in [
        (directory.path().to_owned(), " is a directory"),
        (directory.path().join("missing"), "missing does not exist"),
        (socket, "socket is a socket or an absent device"),
        (
            file("README.md/below"),
            "below cannot be read: Not a directory",
        ),
    ] {
        let error = open(&path, soon()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let missing = open(&directory.path().join("missing"), soon()).unwrap_err();
    assert!(missing.hint().unwrap().starts_with("--table takes"));
}

fn fifo() -> (tempfile::TempDir, PathBuf) {
    let directory = crate::common::new_folder();
    let path = directory.path().join("fifo");
    printed(program("mkfifo").arg(&path));
    (directory, path)
}

#[test]
fn a_fifo_without_a_writer_is_waited_for_until_the_deadline() {
    let (_directory, path) = fifo();
    let deadline = Instant::now() + Duration::from_millis(300);
    let source = open(&path, deadline).unwrap();
    let lines = reader::read(source, Source::Capture, 0, deadline, |_| {});
    assert_eq!(lines.listing.end, DumpEnd::TimeUp);
    assert!(Instant::now() >= deadline);
}

#[test]
fn a_fifo_whose_writer_hangs_gives_what_it_gave() {
    let (_directory, path) = fifo();
    let mut writer = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    write!(writer, "{UDP} use=1\n{UDP} use=").unwrap();
    // time enough to read two lines on a busy host
    let deadline = Instant::now() + Duration::from_secs(2);
    let source = open(&path, deadline).unwrap();
    let lines = reader::read(source, Source::Capture, 0, deadline, |_| {});
    assert_eq!(
        (lines.listing.seen, lines.listing.end),
        (1, DumpEnd::TimeUp)
    );
}

#[test]
fn a_fifo_whose_writer_comes_late_is_read_to_its_end() {
    let (_directory, path) = fifo();
    let source = open(&path, soon()).unwrap();
    let writer = std::thread::spawn(move || {
        let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for _ in 0..1000 {
            writeln!(writer, "{UDP} use=1").unwrap();
        }
    });
    let (entries, lines) = read_all(source, Source::Capture, 0);
    writer.join().unwrap();
    assert_eq!((entries.len(), lines.listing.end), (1000, DumpEnd::Whole));
}

#[test]
fn a_dash_is_standard_input() {
    if let Some(seconds) = this_test!().part() {
        let seconds = seconds.to_str().unwrap().parse().unwrap();
        return read_standard_input(Duration::from_secs(seconds));
    }
    let this = this_test!();
    let read = |stdin: Stdio, seconds: &str| {
        let output = this.again(&[], seconds).stdin(stdin).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let regular = fs::File::open(file("6.18-list.txt")).unwrap();
    assert_eq!(read(regular.into(), "60"), "24 Whole");
    let pipe = || {
        let (reader, mut writer) = io::pipe().unwrap();
        write!(writer, "{UDP} use=1\n\n").unwrap();
        (reader, writer)
    };
    let (reader, writer) = pipe();
    drop(writer);
    assert_eq!(read(reader.into(), "60"), "1 Whole");
    let (reader, _writer_that_hangs) = pipe();
    assert_eq!(read(reader.into(), "2"), "1 TimeUp");
    let directory = fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
    assert_eq!(
        read(directory.into(), "60"),
        "standard input is a directory"
    );
}

/// Reads a capture from standard input and says what came of it.
fn read_standard_input(patience: Duration) {
    let deadline = Instant::now() + patience;
    match open(Path::new("-"), deadline) {
        Ok(source) => {
            let lines = reader::read(source, Source::Capture, 0, deadline, |_| {});
            println!("\n={} {:?}", lines.listing.seen, lines.listing.end);
        }
        Err(error) => println!("\n={error}"),
    }
}

#[test]
fn the_table_as_text_is_found_under_both_names() {
    let root = crate::common::ProcRoot::empty();
    let error = ct_table::open_procfs(root.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("net/nf_conntrack does not exist"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("CONFIG_NF_CONNTRACK_PROCFS"));
    assert!(error.is_missing());
    root.file("net/ip_conntrack", format!("{UDP} use=1\n"));
    let (old, _) = read_all(
        ct_table::open_procfs(root.path()).unwrap(),
        Source::Procfs,
        0,
    );
    assert_eq!(old.len(), 1);
    root.file("net/nf_conntrack", text("6.18-procfs.txt"));
    let (new, _) = read_all(
        ct_table::open_procfs(root.path()).unwrap(),
        Source::Procfs,
        0,
    );
    assert_eq!(new, entries("6.18-procfs.txt"));
    root.remove("net/nf_conntrack");
    fs::create_dir(root.path().join("net/nf_conntrack")).unwrap();
    let error = ct_table::open_procfs(root.path()).unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
}

#[test]
fn from_6_16_on_the_file_costs_what_it_holds() {
    for (release, linear) in [
        ("6.16.0\n", true),
        ("6.16-rc1\n", true),
        ("6.16\n", true),
        ("6.18.44-fc-v657\n", true),
        ("7.0.0-1-amd64\n", true),
        ("10.1\n", true),
        ("6.15.11\n", false),
        ("6.1.0-43-amd64\n", false),
        ("5.20.3\n", false),
        ("2.6.32-754.el6.x86_64\n", false),
        ("6\n", false),
        ("6.\n", false),
        ("-6.18\n", false),
        ("+7.18\n", false),
        ("99999999999.1\n", false),
        ("six\n", false),
        ("\n", false),
    ] {
        let root = crate::common::ProcRoot::empty();
        root.file("sys/kernel/osrelease", release);
        assert_eq!(ct_table::procfs_is_linear(root.path()), linear, "{release}");
    }
    assert!(!ct_table::procfs_is_linear(
        crate::common::ProcRoot::empty().path()
    ));
}

mod netns {
    use super::*;
    use crate::common::conntrack;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::programs::{command_line, run};

    #[test]
    fn who_may_not_read_it_is_told_who_may() {
        if let Some(root) = this_test!().part() {
            let root = Path::new(&root);
            println!("\n={}", ct_table::open_procfs(root).unwrap_err());
            println!("={}", open(&root.join("capture"), soon()).unwrap_err());
            return;
        }
        let root = crate::common::ProcRoot::empty();
        for name in ["net/nf_conntrack", "capture"] {
            root.file(name, "");
            let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
            fs::set_permissions(root.join(name), nobody).unwrap();
        }
        // in a user namespace without any user not even root may what its mode forbids
        let output = this_test!()
            .again(&["unshare", "--user", "--"], root.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        for expected in [
            "/net/nf_conntrack: permission denied\n",
            "/capture cannot be read: permission denied\n",
        ] {
            assert!(said.contains(expected), "{said}");
        }
    }

    /// The tools of this host, so that what they print tomorrow is read too.
    #[test]
    fn conntrack_and_the_kernel_of_this_host_print_the_same_table() {
        inside!(Namespaces::Network);
        let mut entries = String::new();
        for i in 1..=300 {
            let (last, port) = (i % 250 + 1, 1024 + i);
            entries += &format!(
                "-A -p udp -s 192.0.2.{last} -d 198.51.100.7 --sport {port} --dport 53 -t 600\n\
                 -A -p tcp -s 2001:db8::{i} -d 2001:db8::ffff --sport {port} --dport 443 -t 600 --state TIME_WAIT \
                 -u SEEN_REPLY,ASSURED\n"
            );
        }
        entries += "-A -p tcp -s 203.0.113.5 -d 10.1.0.1 --sport 44400 --dport 8080 -t 300 --state ESTABLISHED \
                    -u SEEN_REPLY --dst-nat 10.2.0.2:9000\n";
        conntrack::insert(&entries);
        // what conntrack writes to stderr, too
        let both = command_line("conntrack -L").output().unwrap();
        let both = [both.stderr, both.stdout].concat();
        let extended = run("conntrack -L -o extended,id").into_bytes();
        // unless the kernel was built without it
        let procfs = fs::read("/proc/net/nf_conntrack").unwrap_or_default();
        let tables = [both, extended, procfs].map(|text| read_all(&text[..], Source::Capture, 0));
        for (entries, lines) in &tables[..2] {
            assert_eq!((entries.len(), lines.listing.broken), (601, 0));
            assert_eq!(entries, &tables[0].0);
        }
        assert_eq!(tables[0].1.blank, 1);
        if !tables[2].0.is_empty() {
            assert_eq!(tables[2].0, tables[0].0);
        }
    }
}
