//! Recorded answers of the kernel against what they mean, and what no kernel answers against panics and endless loops.

// the recordings come from a little-endian machine, and netlink headers have the machine's order
#![cfg(target_endian = "little")]
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::source::datagrams::{ENTRIES, messages, recorded};
use check_conntrack::model::conntrack::{Entry, Protocol, TcpState, Tuple};
use check_conntrack::model::error::ReadError;
use check_conntrack::model::socket::LocalSocket;
use check_conntrack::source::netlink::conversation::{
    BUFFER, Datagram, Outcome, SEQUENCE, Silence, Termination, listen,
};
use check_conntrack::source::netlink::{
    ct_dump as ctnetlink, ct_stats as counters, sock_diag as sockets,
};
use proptest::prelude::*;

fn tuple(source: &str, source_port: u16, destination: &str, destination_port: u16) -> Tuple {
    let address = |text: &str| text.parse::<IpAddr>().unwrap().into();
    Tuple {
        source: address(source),
        destination: address(destination),
        source_port,
        destination_port,
    }
}

fn entry(protocol: u8, original: Tuple, reply: Tuple) -> Entry {
    Entry {
        protocol: Protocol(protocol),
        original,
        reply,
        tcp_state: None,
        replied: false,
        assured: false,
        offloaded: false,
        timeout: None,
    }
}

/// The one entry of a recording.
fn decoded(name: &str) -> Entry {
    let messages = messages(name);
    assert_eq!(messages.len(), 1, "{name}");
    assert_eq!(messages[0].0, 0x100, "{name}");
    ctnetlink::decode(&messages[0].1).unwrap_or_else(|| panic!("{name} is not understood"))
}

#[test]
fn tcp_entries_have_their_states() {
    for (name, port, dialled, state) in [
        ("tcp-established", 40001, 443, TcpState::Established),
        ("tcp-time-wait", 40003, 6379, TcpState::TimeWait),
    ] {
        let expected = Entry {
            tcp_state: Some(state),
            replied: true,
            assured: true,
            ..entry(
                6,
                tuple("192.0.2.1", port, "198.51.100.7", dialled),
                tuple("198.51.100.7", dialled, "192.0.2.1", port),
            )
        };
        assert_eq!(decoded(name), expected, "{name}");
    }
}

#[test]
fn an_entry_without_an_answer_is_not_replied() {
    let expected = Entry {
        tcp_state: Some(TcpState::SynSent),
        ..entry(
            6,
            tuple("192.0.2.1", 40002, "198.51.100.7", 80),
            tuple("198.51.100.7", 80, "192.0.2.1", 40002),
        )
    };
    assert_eq!(decoded("tcp-syn-sent"), expected);
}

#[test]
fn ipv6_addresses_are_read_whole() {
    let expected = Entry {
        tcp_state: Some(TcpState::CloseWait),
        replied: true,
        assured: true,
        ..entry(
            6,
            tuple("2001:db8::1", 40004, "2001:db8::7", 22),
            tuple("2001:db8::7", 22, "2001:db8::1", 40004),
        )
    };
    assert_eq!(decoded("tcp6-close-wait"), expected);
    let expected = Entry {
        timeout: Some(599),
        ..entry(
            17,
            tuple("2001:db8::2", 2005, "2001:db8::ff", 53),
            tuple("2001:db8::ff", 53, "2001:db8::2", 2005),
        )
    };
    assert_eq!(decoded("udp6-unreplied"), expected);
}

#[test]
fn what_has_no_ports_gets_none() {
    // gre comes with its keys in the place of ports, icmp with type, code and id
    for (name, protocol, replied) in [
        ("icmp", 1, true),
        ("gre", 47, false),
        ("protocol-50", 50, false),
    ] {
        let expected = Entry {
            replied,
            ..entry(
                protocol,
                tuple("192.0.2.1", 0, "198.51.100.7", 0),
                tuple("198.51.100.7", 0, "192.0.2.1", 0),
            )
        };
        assert_eq!(decoded(name), expected, "{name}");
    }
    let expected = entry(
        58,
        tuple("2001:db8::1", 0, "2001:db8::2", 0),
        tuple("2001:db8::2", 0, "2001:db8::1", 0),
    );
    assert_eq!(decoded("icmpv6"), expected);
}

#[test]
fn the_state_of_sctp_is_not_one_of_tcp() {
    let expected = Entry {
        replied: true,
        ..entry(
            132,
            tuple("192.0.2.1", 5001, "198.51.100.7", 5002),
            tuple("198.51.100.7", 5002, "192.0.2.1", 5001),
        )
    };
    assert_eq!(decoded("sctp"), expected);
}

#[test]
fn translated_addresses_stand_in_the_reply() {
    let expected = Entry {
        tcp_state: Some(TcpState::Established),
        replied: true,
        assured: true,
        ..entry(
            6,
            tuple("192.0.2.1", 40005, "198.51.100.7", 8080),
            tuple("203.0.113.9", 9000, "192.0.2.1", 40005),
        )
    };
    assert_eq!(decoded("tcp-dnat"), expected);
    let expected = Entry {
        tcp_state: Some(TcpState::FinWait),
        replied: true,
        assured: true,
        ..entry(
            6,
            tuple("10.0.0.5", 40006, "198.51.100.7", 443),
            tuple("198.51.100.7", 443, "203.0.113.1", 61000),
        )
    };
    assert_eq!(decoded("tcp-snat"), expected);
}

#[test]
fn zones_change_nothing() {
    for (name, port, replied) in [
        ("udp-zone", 4001, true),
        ("udp-directional-zone", 4002, false),
    ] {
        let expected = Entry {
            replied,
            timeout: Some(599),
            ..entry(
                17,
                tuple("192.0.2.1", port, "198.51.100.7", 53),
                tuple("198.51.100.7", 53, "192.0.2.1", port),
            )
        };
        assert_eq!(decoded(name), expected, "{name}");
    }
}

#[test]
fn a_datagram_holds_several_entries_and_counters_are_passed_over() {
    let states: Vec<_> = messages("three-with-counters")
        .iter()
        .map(|(_, payload)| {
            let entry = ctnetlink::decode(payload).unwrap();
            (entry.original.source_port, entry.tcp_state.unwrap())
        })
        .collect();
    assert_eq!(
        states,
        [
            (50002, TcpState::Close),
            (50000, TcpState::SynRecv),
            (50001, TcpState::LastAck)
        ]
    );
}

/// The position of an attribute's value in a payload, found by its first eight bytes.
fn place(payload: &[u8], attribute: &[u8]) -> usize {
    let mut places = payload.windows(attribute.len()).enumerate();
    let (place, _) = places.find(|(_, window)| *window == attribute).unwrap();
    place
}

#[test]
fn offloaded_entries_are_marked_by_either_bit() {
    // made of a recording: IPS_OFFLOAD is bit 14 and IPS_HW_OFFLOAD bit 15, in the second byte from the right
    let payload = messages("tcp-established").remove(0).1;
    let status = place(&payload, &[8, 0, 3, 0, 0, 0, 0, 0x0e]) + 6;
    for bits in [0x40, 0x80, 0xc0] {
        let mut payload = payload.clone();
        payload[status] = bits;
        let entry = ctnetlink::decode(&payload).unwrap();
        assert!(
            entry.offloaded && entry.assured && entry.replied,
            "{bits:x}"
        );
    }
}

#[test]
fn later_kernels_may_add_attributes_and_states() {
    let payload = messages("tcp-established").remove(0).1;
    // type 300, nested and in network byte order, of five bytes and their padding; its value looks like nothing
    let mut longer = payload.clone();
    longer.extend_from_slice(&[9, 0, 0x2c, 0xc1, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]);
    assert_eq!(ctnetlink::decode(&longer), ctnetlink::decode(&payload));
    let mut other = payload.clone();
    let state = place(&payload, &[5, 0, 1, 0, 3, 0, 0, 0]) + 4;
    other[state] = 10;
    assert_eq!(ctnetlink::decode(&other).unwrap().tcp_state, None);
}

#[test]
fn a_value_that_is_too_short_is_no_value() {
    let payload = messages("tcp-established").remove(0).1;
    // a source address, the protocol, a source port, the status
    for header in [[8, 0, 1, 0], [5, 0, 1, 0], [6, 0, 2, 0], [8, 0, 3, 0]] {
        let mut other = payload.clone();
        // its padding takes the byte that is missing
        other[place(&payload, &header)] -= 1;
        assert_eq!(ctnetlink::decode(&other), None, "{header:?}");
    }
}

#[test]
fn an_entry_without_one_of_its_tuples_is_none() {
    let payload = messages("tcp-established").remove(0).1;
    for tuple in [[0x34, 0, 1, 0x80], [0x34, 0, 2, 0x80]] {
        let mut other = payload.clone();
        other[place(&payload, &tuple) + 2] = 99;
        assert_eq!(ctnetlink::decode(&other), None);
    }
}

#[test]
fn an_entry_cut_anywhere_is_none_or_lacks_only_what_is_cut() {
    for name in ENTRIES {
        for (_, payload) in messages(name) {
            let whole = ctnetlink::decode(&payload).unwrap();
            for length in 0..payload.len() {
                if let Some(entry) = ctnetlink::decode(&payload[..length]) {
                    assert_eq!(entry.original, whole.original, "{name} {length}");
                    assert_eq!(entry.reply, whole.reply, "{name} {length}");
                }
            }
        }
    }
}

fn socket(
    protocol: u8,
    local: &str,
    remote: &str,
    state: Option<TcpState>,
    inode: u64,
) -> LocalSocket {
    LocalSocket {
        protocol: Protocol(protocol),
        local: local.parse::<SocketAddr>().unwrap(),
        remote: remote.parse::<SocketAddr>().unwrap(),
        tcp_state: state,
        listening: false,
        uid: 0,
        inode,
    }
}

fn decoded_sockets(name: &str, protocol: Protocol) -> Vec<LocalSocket> {
    messages(name)
        .iter()
        .filter(|(message_type, _)| *message_type == 20)
        .map(|(_, payload)| sockets::decode(protocol, payload).unwrap())
        .collect()
}

/// The recordings hold this inode wherever they were made.
fn inodes(name: &str) -> Vec<u64> {
    let messages = messages(name);
    let sockets = messages.iter().filter(|(kind, _)| *kind == 20);
    sockets
        .map(|(_, payload)| u64::from(u32::from_ne_bytes(payload[68..72].try_into().unwrap())))
        .collect()
}

#[test]
fn tcp_sockets_have_both_ends_and_the_words_of_the_table() {
    let inode = inodes("sockets-tcp");
    assert!(inode.iter().all(|inode| *inode > 0));
    let established = Some(TcpState::Established);
    let listener = LocalSocket {
        listening: true,
        ..socket(6, "127.0.0.1:6001", "0.0.0.0:0", None, inode[0])
    };
    assert_eq!(
        decoded_sockets("sockets-tcp", Protocol::TCP),
        [
            listener,
            socket(
                6,
                "127.0.0.1:44401",
                "127.0.0.1:6002",
                established,
                inode[1]
            ),
            socket(
                6,
                "127.0.0.1:44400",
                "127.0.0.1:6001",
                established,
                inode[2]
            ),
            socket(
                6,
                "127.0.0.1:6001",
                "127.0.0.1:44400",
                established,
                inode[3]
            ),
        ]
    );
}

#[test]
fn an_ipv4_connection_of_an_ipv6_server_is_one_of_ipv4() {
    for (name, state) in [
        ("sockets-tcp6", TcpState::Established),
        ("sockets-tcp6-close-wait", TcpState::CloseWait),
    ] {
        let inode = inodes(name);
        let listener = LocalSocket {
            listening: true,
            ..socket(6, "[::]:6002", "[::]:0", None, inode[0])
        };
        assert_eq!(
            decoded_sockets(name, Protocol::TCP),
            [
                listener,
                socket(
                    6,
                    "127.0.0.1:6002",
                    "127.0.0.1:44401",
                    Some(state),
                    inode[1]
                )
            ]
        );
    }
}

#[test]
fn a_socket_in_time_wait_has_no_inode() {
    let ours = |local: &str, remote: &str, state| socket(6, local, remote, Some(state), 0);
    assert_eq!(
        decoded_sockets("sockets-tcp-time-wait", Protocol::TCP)[1..],
        [
            ours("127.0.0.1:44401", "127.0.0.1:6002", TcpState::FinWait),
            ours("127.0.0.1:6001", "127.0.0.1:44400", TcpState::TimeWait),
        ]
    );
}

#[test]
fn udp_sockets_have_no_state() {
    assert_eq!(
        decoded_sockets("sockets-udp", Protocol::UDP),
        [socket(
            17,
            "127.0.0.1:5353",
            "0.0.0.0:0",
            None,
            inodes("sockets-udp")[0]
        )]
    );
    assert_eq!(
        decoded_sockets("sockets-udp6", Protocol::UDP),
        [socket(
            17,
            "[::1]:5354",
            "[::1]:53",
            None,
            inodes("sockets-udp6")[0]
        )]
    );
}

#[test]
fn every_state_of_a_tcp_socket_has_a_word_of_the_table_but_listening() {
    let mut payload = messages("sockets-tcp").remove(1).1;
    // include/net/tcp_states.h, from TCP_ESTABLISHED to TCP_NEW_SYN_RECV; 13 is bound and nothing else
    let words = [
        (1, Some(TcpState::Established)),
        (2, Some(TcpState::SynSent)),
        (3, Some(TcpState::SynRecv)),
        (4, Some(TcpState::FinWait)),
        (5, Some(TcpState::FinWait)),
        (6, Some(TcpState::TimeWait)),
        (7, Some(TcpState::Close)),
        (8, Some(TcpState::CloseWait)),
        (9, Some(TcpState::LastAck)),
        (10, None),
        (11, Some(TcpState::LastAck)),
        (12, Some(TcpState::SynRecv)),
        (13, None),
    ];
    for (number, word) in words {
        payload[1] = number;
        let socket = sockets::decode(Protocol::TCP, &payload).unwrap();
        assert_eq!(socket.tcp_state, word, "{number}");
        assert_eq!(socket.listening, number == 10, "{number}");
        assert_eq!(sockets::STATES >> number & 1 == 1, number <= 12, "{number}");
    }
}

#[test]
fn sockets_that_there_was_no_time_to_read_are_not_reached() {
    let past = Instant::now() - Duration::from_secs(1);
    let mut seen = 0;
    let read = sockets::sockets(past, |_| seen += 1);
    assert_eq!((read, seen), (Err(ReadError::NotReached), 0));
}

#[test]
fn a_socket_cut_anywhere_is_none() {
    let payload = messages("sockets-tcp").remove(1).1;
    for length in 0..72 {
        assert_eq!(
            sockets::decode(Protocol::TCP, &payload[..length]),
            None,
            "{length}"
        );
    }
    let mut other = payload;
    other[0] = 1; // AF_UNIX
    assert_eq!(sockets::decode(Protocol::TCP, &other), None);
}

/// Payloads as the kernel would send them, the recorded ones with values of their own: 100 for each processor and the
/// number of the attribute.
fn counted() -> Vec<Vec<u8>> {
    let recorded = messages("counters");
    assert!(recorded.iter().all(|(kind, _)| *kind == 0x104));
    let with_values = |(processor, (_, mut payload)): (usize, (u16, Vec<u8>))| {
        for attribute in payload[4..].chunks_exact_mut(8) {
            attribute[7] = (100 * processor) as u8 + attribute[2];
        }
        payload
    };
    recorded.into_iter().enumerate().map(with_values).collect()
}

/// The result of these answers, if they end like this.
fn gathered(payloads: &[Vec<u8>], kind: u16, end: Termination) -> Option<Vec<[Option<u32>; 4]>> {
    let statistics = counters::gather(|answer| {
        for payload in payloads {
            assert!(answer(kind, payload).is_continue());
        }
        Outcome {
            end,
            interrupted: false,
        }
    });
    statistics.map(|statistics| statistics.processors)
}

#[test]
fn counters_are_found_by_their_numbers_and_rows_by_their_processors() {
    let zero: Vec<_> = messages("counters")
        .iter()
        .map(|(_, payload)| counters::decode(payload).unwrap())
        .collect();
    assert_eq!(zero, [(0, [Some(0); 4]), (1, [Some(0); 4])]);
    // drop, chaintoolong, early_drop, insert_failed
    let expected = [
        [Some(10), Some(15), Some(11), Some(9)],
        [Some(110), Some(115), Some(111), Some(109)],
    ];
    let mut payloads = counted();
    assert_eq!(
        gathered(&payloads, 0x104, Termination::Done).unwrap(),
        expected,
        "as recorded"
    );
    payloads.reverse();
    assert_eq!(
        gathered(&payloads, 0x104, Termination::Done).unwrap(),
        expected,
        "in another order"
    );
    let mut payload = payloads.remove(0);
    payload[2] = 1;
    let value = place(&payload, &[8, 0, 10, 0]) + 4;
    payload[value..value + 4].copy_from_slice(&[0xff, 0xfe, 0xfd, 0xfc]);
    let (processor, row) = counters::decode(&payload).unwrap();
    assert_eq!((processor, row[0]), (257, Some(0xfffe_fdfc)), "big endian");
}

#[test]
fn kernels_before_5_15_send_no_chain_limit_and_later_ones_may_send_more() {
    let payload = counted().remove(0);
    let older = &payload[..payload.len() - 8];
    let row = [Some(10), None, Some(11), Some(9)];
    assert_eq!(counters::decode(older), Some((0, row)));
    let mut newer = payload.clone();
    newer.extend_from_slice(&[5, 0, 16, 0, 7, 0, 0, 0]);
    assert_eq!(counters::decode(&newer), counters::decode(&payload));
}

#[test]
fn counters_that_are_not_whole_are_none() {
    let payloads = counted();
    assert_eq!(gathered(&[], 0x104, Termination::Done), None);
    assert_eq!(
        gathered(&payloads, 0x100, Termination::Done),
        None,
        "entries"
    );
    for end in [
        Termination::Deadline,
        Termination::Truncated,
        Termination::Malformed,
    ] {
        assert_eq!(gathered(&payloads, 0x104, end), None);
    }
    for length in 0..payloads[0].len() {
        let cut = [payloads[0][..length].to_vec(), payloads[1].clone()];
        // between two attributes nothing tells that there were more
        let seamless = length % 8 == 4;
        assert_eq!(
            gathered(&cut, 0x104, Termination::Done).is_some(),
            seamless,
            "{length}"
        );
    }
    // a value that is too short, a length that leads out of the message or nowhere
    for length in [0, 3, 4, 7, 9, 255] {
        let mut payload = payloads[0].clone();
        let drop = place(&payload, &[8, 0, 10, 0]);
        payload.truncate(drop + 8);
        payload[drop] = length;
        assert_eq!(counters::decode(&payload), None, "{length}");
    }
}

#[test]
fn requests_are_what_the_kernel_expects() {
    // the bytes conntrack -L and ss send, but for the sequence number and what they filter
    assert_eq!(
        ctnetlink::request(),
        [20, 0, 0, 0, 1, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        counters::request(),
        [20, 0, 0, 0, 4, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let request = sockets::request(Protocol::UDP, 10, sockets::STATES);
    assert_eq!(request.len(), 72);
    assert_eq!(
        request[..24],
        [
            72, 0, 0, 0, 20, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 10, 17, 0, 0, 0xfe, 0x1f, 0, 0
        ]
    );
    assert!(request[24..].iter().all(|byte| *byte == 0));
}

/// Hands one datagram to the receiver, then silence; how it ended and how many answers it took.
fn listened(bytes: &[u8]) -> (Termination, usize) {
    let mut left = Some(bytes);
    let mut answers = 0;
    let outcome = listen(
        |buffer| {
            let bytes = left.take().ok_or(Silence::Deadline)?;
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Ok(Datagram {
                length: bytes.len(),
                from_kernel: true,
            })
        },
        |_, payload| {
            answers += 1;
            let _ = ctnetlink::decode(payload);
            let _ = counters::decode(payload);
            let _ = sockets::decode(Protocol::TCP, payload);
            ControlFlow::Continue(())
        },
    );
    (outcome.end, answers)
}

/// Recordings with some bytes changed, cut at some place.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12);
    (
        prop::sample::select([&ENTRIES[..], &["counters"]].concat()),
        changes,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(name, changes, cut, whole)| {
            let mut bytes = recorded(name);
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_recordings_never_panic_and_never_loop(bytes in mutated()) {
        let (_, answers) = listened(&bytes);
        prop_assert!(answers <= bytes.len() / 16);
        let _ = ctnetlink::decode(bytes.get(16..).unwrap_or_default());
    }

    #[test]
    fn garbage_never_panics_and_never_loops(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut sequenced = bytes.clone();
        if let Some(sequence) = sequenced.get_mut(8..12) {
            sequence.copy_from_slice(&SEQUENCE.to_ne_bytes());
        }
        listened(&bytes);
        listened(&sequenced);
        let _ = ctnetlink::decode(&bytes);
        let _ = counters::decode(&bytes);
        let _ = sockets::decode(Protocol::UDP, &bytes);
    }
}

#[test]
fn a_datagram_longer_than_the_buffer_is_truncated_and_not_parsed() {
    let entry = recorded("tcp-established");
    let many: Vec<u8> = entry
        .iter()
        .copied()
        .cycle()
        .take(BUFFER / entry.len() * entry.len())
        .collect();
    assert_eq!(
        listened(&many),
        (Termination::Deadline, BUFFER / entry.len())
    );
    let more = [many.as_slice(), entry.as_slice()].concat();
    assert!(more.len() > BUFFER);
    assert_eq!(listened(&more), (Termination::Truncated, 0));
}
