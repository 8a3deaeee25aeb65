//! Entries that the kernel picked up in mid-stream: which side opened the connection.

use std::collections::{BTreeMap, BTreeSet};

use check_conntrack::analysis::listening::Listening;
use check_conntrack::analysis::tally::{Counting, Tally};
use check_conntrack::analysis::traffic::Traffic;
use check_conntrack::model::conntrack::{Entry, Protocol, SocketAddress, TcpState};
use check_conntrack::model::prefix::{Aggregate, Prefix};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::tally::{in_state, labels, own, plain, tcp, translated, udp};

/// The names of the endpoints, of the services and of the directions that entries have, with their numbers.
fn summary(tally: &Tally) -> [Vec<String>; 3] {
    let directions = tally.directions().filter(|(_, count)| *count > 0);
    let services = tally.dialled_ports().services(50);
    [
        labels(&tally.top(50)),
        services
            .iter()
            .map(|service| format!("{} {service}", service.entries))
            .collect(),
        directions
            .map(|(direction, count)| format!("{count} {direction}"))
            .collect(),
    ]
}

fn counted(counting: Counting, entries: &[Entry]) -> Tally {
    let mut counting = counting;
    for entry in entries {
        counting.add(entry);
    }
    counting.finish()
}

fn on(listening: &[(Protocol, &str)]) -> Counting {
    let side = |(protocol, text): &(Protocol, &str)| {
        let end: std::net::SocketAddr = text.parse().unwrap();
        (*protocol, (end.ip().into(), end.port()))
    };
    let listening = Listening::new(listening.iter().map(side));
    Counting::new(own(), Aggregate::default()).with_listening(listening)
}

fn capture() -> Counting {
    Counting::new(own(), Aggregate::default()).of_a_capture()
}

/// Connections of one client to a server here, as they look after the table was flushed and only the server sent.
fn after_a_flush() -> Vec<Entry> {
    (0..200)
        .map(|i| tcp("192.0.2.10:8080", &format!("198.51.100.9:{}", 40000 + i)))
        .collect()
}

#[test]
fn a_server_that_sent_first_after_a_flush_was_called() {
    let expected = [
        vec!["200 from 198.51.100.9".to_owned()],
        vec!["200 :8080/tcp".to_owned()],
        vec!["200 in".to_owned()],
    ];
    let entries = after_a_flush();
    for bound in ["192.0.2.10:8080", "0.0.0.0:8080", "[::]:8080"] {
        let tally = counted(on(&[(Protocol::TCP, bound)]), &entries);
        assert_eq!(summary(&tally), expected, "{bound}");
    }
    assert_eq!(summary(&counted(capture(), &entries)), expected);
    // nobody knows it without either
    let unknown = counted(Counting::new(own(), Aggregate::default()), &entries);
    assert_eq!(unknown.top(300).len(), 200);
}

#[test]
fn a_server_is_called_over_ipv6_and_over_udp_too() {
    let six: Vec<Entry> = (0..9)
        .map(|i| {
            tcp(
                "[2001:db8::10]:443",
                &format!("[2001:db8:1::{i}]:{}", 50000 + i),
            )
        })
        .collect();
    let tally = counted(on(&[(Protocol::TCP, "[::]:443")]), &six);
    assert_eq!(summary(&tally)[1..], [["9 :443/tcp"], ["9 in"]]);
    let tally = counted(capture(), &six);
    assert_eq!(summary(&tally)[1..], [["9 :443/tcp"], ["9 in"]]);
    let dns: Vec<Entry> = (0..9)
        .map(|i| udp("192.0.2.10:53", &format!("198.51.100.{i}:{}", 40000 + i)))
        .collect();
    let tally = counted(on(&[(Protocol::UDP, "0.0.0.0:53")]), &dns);
    assert_eq!(summary(&tally)[1..], [["9 :53/udp"], ["9 in"]]);
    let tally = counted(capture(), &dns);
    assert_eq!(summary(&tally)[1..], [["9 :53/udp"], ["9 in"]]);
}

#[test]
fn a_connection_within_the_host_goes_to_the_end_that_listens() {
    let entries: Vec<Entry> = (0..9)
        .map(|i| tcp("127.0.0.1:6379", &format!("127.0.0.1:{}", 40000 + i)))
        .collect();
    let expected = [
        vec!["9 to 127.0.0.1:6379/tcp local".to_owned()],
        vec![],
        vec!["9 local".to_owned()],
    ];
    let tally = counted(on(&[(Protocol::TCP, "127.0.0.1:6379")]), &entries);
    assert_eq!(summary(&tally), expected);
    assert_eq!(summary(&counted(capture(), &entries)), expected);
    // both ends listen: the first packet decides
    let both = [
        (Protocol::TCP, "0.0.0.0:6379"),
        (Protocol::TCP, "0.0.0.0:40000"),
    ];
    let tally = counted(on(&both), &entries[..1]);
    assert_eq!(summary(&tally)[0], ["1 to 127.0.0.1:40000/tcp local"]);
}

#[test]
fn a_translated_reply_of_a_server_that_listens_has_its_client() {
    // this router masquerades what its own server sends
    let entry = translated(
        Protocol::TCP,
        ["10.0.0.1:8080", "198.51.100.9:40000"],
        ["198.51.100.9:40000", "192.0.2.10:8080"],
    );
    let tally = counted(on(&[(Protocol::TCP, "10.0.0.1:8080")]), &[entry]);
    assert_eq!(summary(&tally)[0], ["1 from 198.51.100.9"]);
}

#[test]
fn entries_that_this_host_opened_stay_outbound_beside_sockets_that_listen() {
    let listening = [
        (Protocol::TCP, "192.0.2.10:8080"),
        (Protocol::TCP, "0.0.0.0:179"),
        (Protocol::UDP, "0.0.0.0:53"),
        (Protocol::UDP, "0.0.0.0:5060"),
    ];
    for (what, entry) in [
        ("another port", tcp("192.0.2.10:40000", "198.51.100.9:8080")),
        (
            "another address",
            tcp("10.0.0.1:8080", "198.51.100.9:40000"),
        ),
        (
            "another family",
            tcp("[2001:db8::10]:179", "[2001:db8::9]:40000"),
        ),
        (
            "another protocol",
            udp("192.0.2.10:8080", "198.51.100.9:40000"),
        ),
        (
            "a handshake from the port itself",
            in_state(
                TcpState::SynSent,
                tcp("192.0.2.10:179", "198.51.100.9:40000"),
            ),
        ),
        (
            "a handshake that was answered",
            in_state(
                TcpState::SynRecv,
                tcp("192.0.2.10:8080", "198.51.100.9:40000"),
            ),
        ),
        (
            "a resolver that asks from port 53",
            udp("192.0.2.10:53", "198.51.100.53:53"),
        ),
        (
            "a peer of UDP on a service port",
            udp("192.0.2.10:5060", "198.51.100.9:5060"),
        ),
    ] {
        let tally = counted(on(&listening), &[entry]);
        assert_eq!(summary(&tally)[2], ["1 out"], "{what}");
        assert_eq!(summary(&tally)[1], [""; 0], "{what}");
    }
    // a server behind this router, on a port that listens here too
    let behind = tcp("10.0.0.7:8080", "198.51.100.9:40000");
    let tally = counted(on(&[(Protocol::TCP, "0.0.0.0:8080")]), &[behind]);
    assert_eq!(summary(&tally)[2], ["1 forwarded"]);
}

/// Entries from this host to ports 40000 and up of one far host, by their number.
fn dialled(number: u16, one: impl Fn(u16) -> Entry) -> Vec<Entry> {
    (0..number).map(one).collect()
}

#[test]
fn entries_that_the_host_of_a_capture_opened_stay_outbound() {
    let far = |i: u16| format!("198.51.100.9:{}", 40000 + i);
    let from = |port: u16| format!("192.0.2.10:{port}");
    let with_handshake = |state| {
        let mut entries = dialled(50, |i| tcp("192.0.2.10:45123", &far(10_000 + i)));
        entries.push(in_state(state, tcp("192.0.2.10:45123", &far(20_000))));
        entries
    };
    for (what, entries) in [
        (
            "a source port for each connection",
            dialled(200, |i| tcp(&from(10_000 + i), &far(i))),
        ),
        (
            "one service of many hosts",
            dialled(200, |i| {
                tcp("192.0.2.10:8080", &format!("198.51.100.{}:40000", i % 250))
            }),
        ),
        (
            "too few different ports",
            dialled(200, |i| tcp("192.0.2.10:8080", &far(i % 4))),
        ),
        (
            "resolvers asked from port 53",
            dialled(200, |i| {
                udp("192.0.2.10:53", &format!("198.51.100.{}:53", i % 250))
            }),
        ),
        (
            "system ports, scanned from one port",
            dialled(200, |i| {
                tcp("192.0.2.10:80", &format!("198.51.100.9:{}", i + 1))
            }),
        ),
        (
            "services below the source port, which was used again for each",
            dialled(40, |i| {
                tcp("192.0.2.10:50000", &format!("198.51.100.9:{}", 30_000 + i))
            }),
        ),
        (
            "a scan of closed ports from one port",
            dialled(200, |i| {
                in_state(TcpState::Close, tcp("192.0.2.10:8080", &far(i)))
            }),
        ),
        (
            "translated where the connection began",
            dialled(200, |i| {
                let (own, far) = (from(8080), far(i));
                translated(Protocol::TCP, [&own, &far], [&far, "203.0.113.1:8080"])
            }),
        ),
        (
            "a service address with backends elsewhere",
            dialled(200, |i| {
                let (own, backend) = (from(8080), far(i));
                translated(Protocol::TCP, [&own, "10.96.0.1:40000"], [&backend, &own])
            }),
        ),
        ("a scan from one port", with_handshake(TcpState::SynSent)),
        (
            "a scan from one port that was answered",
            with_handshake(TcpState::SynRecv),
        ),
        (
            "the data connections of a server of FTP",
            dialled(200, |i| tcp("192.0.2.10:20", &far(i))),
        ),
        (
            "a protocol without ports",
            dialled(200, |i| {
                plain(
                    Protocol(47),
                    "192.0.2.10",
                    &format!("198.51.100.{}", i % 250),
                )
            }),
        ),
    ] {
        let tally = counted(capture(), &entries);
        let expected = vec![format!("{} out", entries.len())];
        assert_eq!(summary(&tally)[2], expected, "{what}");
        assert_eq!(summary(&tally)[1], [""; 0], "{what}");
        let plain = counted(Counting::new(own(), Aggregate::default()), &entries);
        assert_eq!(summary(&tally), summary(&plain), "{what}");
    }
    let forwarded = dialled(200, |i| tcp("10.0.0.7:8080", &far(i)));
    assert_eq!(
        summary(&counted(capture(), &forwarded))[2],
        ["200 forwarded"]
    );
}

#[test]
fn the_clients_of_a_capture_may_have_ports_below_the_servers() {
    // a router of the client's numbers source ports from 1024 on
    let entries: Vec<Entry> = (0..100)
        .map(|i| {
            tcp(
                "192.0.2.10:8080",
                &format!("198.51.100.9:{}", 2000 + 200 * i),
            )
        })
        .collect();
    assert_eq!(summary(&counted(capture(), &entries))[2], ["100 in"]);
}

#[test]
fn a_server_of_a_capture_may_have_a_port_above_those_of_clients() {
    let entries: Vec<Entry> = (0..200)
        .map(|i| {
            tcp(
                "192.0.2.10:61616",
                &format!("198.51.100.9:{}", 33_000 + 37 * i),
            )
        })
        .collect();
    assert_eq!(summary(&counted(capture(), &entries))[2], ["200 in"]);
    // as few may be services
    assert_eq!(summary(&counted(capture(), &entries[..40]))[2], ["40 out"]);
}

#[test]
fn grouped_clients_are_grouped_when_their_entries_turn_out_to_be_inbound() {
    let entries: Vec<Entry> = (0..20)
        .map(|i| tcp("192.0.2.10:8080", &format!("198.51.100.{i}:{}", 40000 + i)))
        .collect();
    let counting = Counting::new(own(), Aggregate::parse("24,64").unwrap()).of_a_capture();
    assert_eq!(
        summary(&counted(counting, &entries))[0],
        ["20 from 198.51.100.0/24"]
    );
}

#[test]
fn an_address_of_the_host_is_looked_for_in_every_place_of_an_entry() {
    let knows = |entry: Entry| counted(capture(), &[entry]).knows_own();
    let far = ["198.51.100.9:1000", "203.0.113.7:80"];
    assert!(knows(tcp("192.0.2.10:1", "203.0.113.7:80")));
    assert!(knows(tcp("203.0.113.7:1", "192.0.2.10:80")));
    // masqueraded to an address of this router, and a port of it that leads elsewhere
    assert!(knows(translated(
        Protocol::TCP,
        far,
        [far[1], "192.0.2.10:1000"]
    )));
    assert!(knows(translated(
        Protocol::TCP,
        [far[0], "192.0.2.10:80"],
        [far[1], far[0]]
    )));
    assert!(!knows(tcp(far[0], far[1])));
    // every host has these, and every host takes in what is sent to all
    assert!(!knows(tcp("127.0.0.1:1", "127.0.0.1:80")));
    assert!(!knows(tcp("[::1]:1", "[::1]:80")));
    assert!(!knows(udp("198.51.100.9:5353", "224.0.0.251:5353")));
    assert!(!knows(udp("198.51.100.9:68", "255.255.255.255:67")));
    let given = check_conntrack::model::local_addresses::LocalAddresses::new(
        [],
        vec![Prefix::parse("198.51.100.0/24").unwrap()],
    );
    let counting = Counting::new(given, Aggregate::default()).of_a_capture();
    assert!(counted(counting, &[tcp(far[0], far[1])]).knows_own());
}

/// An entry from or to one of few ports of this host.
fn of_a_few_ports() -> impl Strategy<Value = Entry> {
    let near = prop_oneof![
        Just("192.0.2.10:20"),
        Just("192.0.2.10:80"),
        Just("192.0.2.10:8080"),
        Just("192.0.2.10:40000"),
        Just("10.0.0.1:8080"),
        Just("127.0.0.1:8080"),
    ];
    let far = prop_oneof![
        (1..5_u16, 1020..1030_u16).prop_map(|(host, port)| format!("198.51.100.{host}:{port}")),
        (1..5_u16, 39_995..40_010_u16).prop_map(|(host, port)| format!("198.51.100.{host}:{port}")),
        (40_000..40_010_u16).prop_map(|port| format!("127.0.0.1:{port}")),
    ];
    let protocol = prop_oneof![Just(Protocol::TCP), Just(Protocol::UDP)];
    let state = prop_oneof![
        20 => Just(TcpState::Established),
        5 => Just(TcpState::TimeWait),
        2 => Just(TcpState::Close),
        1 => Just(TcpState::SynSent),
    ];
    (near, far, protocol, state, 0..20_u8).prop_map(|(near, far, protocol, state, how)| {
        let entry = match how {
            0 => plain(protocol, &far, near),
            1 => translated(protocol, [near, &far], [&far, "203.0.113.1:5"]),
            _ => plain(protocol, near, &far),
        };
        if protocol == Protocol::TCP {
            in_state(state, entry)
        } else {
            entry
        }
    })
}

/// The entries as they would be if every server of a capture had been called, told another way than the check does.
fn as_they_were_opened(entries: &[Entry]) -> Vec<Entry> {
    let is_candidate = |entry: &Entry| {
        own().contains(entry.original.source)
            && entry.original.destination_port > 1023
            && !entry.is_translated()
            && (entry.protocol, entry.original.source_port) != (Protocol::TCP, 20)
            && entry.tcp_state != Some(TcpState::Close)
    };
    let opens = |entry: &Entry| entry.tcp_state == Some(TcpState::SynSent);
    let mut groups: BTreeMap<(SocketAddress, Protocol), Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| is_candidate(entry)) {
        groups
            .entry((entry.original.from(), entry.protocol))
            .or_default()
            .push(entry);
    }
    let is_server = |entry: &Entry| {
        let group = &groups[&(entry.original.from(), entry.protocol)];
        let near = entry.original.source_port;
        let far = group.iter().map(|entry| entry.original.destination_port);
        let above: Vec<u16> = far.filter(|far| *far > near).collect();
        let different: BTreeSet<&u16> = above.iter().collect();
        !group.iter().any(|entry| opens(entry))
            && different.len() >= 5
            && above.len() * 4 >= group.len() - above.len()
    };
    entries
        .iter()
        .map(|entry| {
            if is_candidate(entry) && !opens(entry) && is_server(entry) {
                entry.reversed()
            } else {
                *entry
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn a_capture_counts_as_if_every_entry_had_been_seen_from_its_beginning(
        entries in prop::collection::vec(of_a_few_ports(), 0..120),
    ) {
        let tally = counted(capture(), &entries);
        let expected = counted(Counting::new(own(), Aggregate::default()), &as_they_were_opened(&entries));
        prop_assert_eq!(summary(&tally), summary(&expected));
        prop_assert_eq!(tally.classes().collect::<Vec<_>>(), expected.classes().collect::<Vec<_>>());
        let backwards: Vec<Entry> = entries.iter().rev().copied().collect();
        prop_assert_eq!(summary(&counted(capture(), &backwards)), summary(&tally));
        let inbound = tally.directions().find(|(direction, _)| *direction == Traffic::Input);
        let served: u64 = tally.dialled_ports().services(50).iter().map(|service| service.entries).sum();
        prop_assert_eq!(inbound.map(|(_, entries)| entries), Some(served));
    }
}

#[test]
fn the_entries_of_a_capture_that_are_made_up_hold_servers() {
    // or the test above would say little
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let entries = prop::collection::vec(of_a_few_ports(), 100..120);
    let turned = (0..50)
        .filter(|_| {
            let entries = entries.new_tree(&mut runner).unwrap().current();
            as_they_were_opened(&entries) != entries
        })
        .count();
    assert!(turned > 20, "{turned}");
}
