//! The order of bytes: what the kernel has in the order of the machine, headers, lengths, types, error codes and the
//! words of sock_diag, is built here with `to_ne_bytes`, and what it has in network order with `to_be_bytes`. The tests
//! run on machines of either order (`make toolchains` has a big-endian one); on a little-endian one they also hold what
//! is built against the recordings, byte for byte, so that it is what a kernel sends.

use std::net::IpAddr;
use std::ops::ControlFlow;

use check_conntrack::model::conntrack::{Entry, Protocol, TcpState, Tuple};
use check_conntrack::model::socket::LocalSocket;
use check_conntrack::source::netlink::conversation::{
    Datagram, SEQUENCE, Silence, Termination, listen,
};
use check_conntrack::source::netlink::{
    ct_dump as ctnetlink, ct_stats as counters, sock_diag as sockets,
};
use rustix::io::Errno;

/// NLA_F_NESTED.
const NESTED: u16 = 0x8000;

/// nlattr: length and type in the order of the machine, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

/// nlmsghdr, with the port of whoever asked.
fn message(kind: u16, port: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = crate::source::datagrams::message(kind, 2, SEQUENCE, payload);
    bytes[12..16].copy_from_slice(&port.to_ne_bytes());
    bytes
}

fn octets(address: &str) -> (bool, Vec<u8>) {
    match address.parse().unwrap() {
        IpAddr::V4(address) => (false, address.octets().to_vec()),
        IpAddr::V6(address) => (true, address.octets().to_vec()),
    }
}

/// CTA_TUPLE_ORIG or _REPLY of TCP: addresses as they stand in a packet, ports in network order.
fn tuple(kind: u16, source: (&str, u16), destination: (&str, u16)) -> Vec<u8> {
    let (is_v6, from) = octets(source.0);
    let (_, to) = octets(destination.0);
    let first = if is_v6 { 3 } else { 1 };
    nested(
        kind,
        &[
            nested(1, &[attribute(first, &from), attribute(first + 1, &to)]),
            nested(
                2,
                &[
                    attribute(1, &[6]),
                    attribute(2, &source.1.to_be_bytes()),
                    attribute(3, &destination.1.to_be_bytes()),
                ],
            ),
        ],
    )
}

/// A TCP entry as it is recorded; numbers in network order.
fn tcp_entry(
    family: u8,
    near: (&str, u16),
    far: (&str, u16),
    state: u8,
    status: u32,
    id: u32,
) -> Vec<u8> {
    let number = |kind, value: u32| attribute(kind, &value.to_be_bytes());
    let mut payload = vec![family, 0];
    payload.extend_from_slice(&0_u16.to_be_bytes());
    let attributes = [
        tuple(1, near, far),
        tuple(2, far, near),
        number(3, status),
        number(8, 0),
        number(12, id),
        number(11, 1),
        number(7, 599),
        nested(
            4,
            &[nested(
                1,
                &[
                    attribute(1, &[state]),
                    attribute(2, &[0]),
                    attribute(3, &[0]),
                    // struct nf_ct_tcp_flags: two bytes, no number
                    attribute(4, &[10, 0]),
                    attribute(5, &[10, 0]),
                ],
            )],
        ),
        nested(24, &[number(1, 0), number(2, 0), number(3, 0)]),
    ];
    payload.extend(attributes.concat());
    message(0x100, 2191, &payload)
}

/// The content of a recording, on a machine of the order it was recorded on.
fn is_as_recorded(built: &[u8], name: &str) {
    if cfg!(target_endian = "little") {
        assert_eq!(built, crate::source::datagrams::recorded(name), "{name}");
    }
}

/// Hands datagrams to the receiver, then silence: type and payload of each answer, and how they ended.
fn listened(datagrams: &[&[u8]]) -> (Vec<(u16, Vec<u8>)>, Termination) {
    let mut left = datagrams.iter();
    let mut answers = Vec::new();
    let outcome = listen(
        |buffer| {
            let bytes = left.next().ok_or(Silence::Deadline)?;
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(Datagram {
                length: bytes.len(),
                from_kernel: true,
            })
        },
        |kind, payload| {
            answers.push((kind, payload.to_vec()));
            ControlFlow::Continue(())
        },
    );
    (answers, outcome.end)
}

#[test]
fn entries_are_the_same_on_machines_of_either_order() {
    let v4 = tcp_entry(
        2,
        ("192.0.2.1", 40001),
        ("198.51.100.7", 443),
        3,
        0x0e,
        0x2932_fd50,
    );
    let v6 = tcp_entry(
        10,
        ("2001:db8::1", 40004),
        ("2001:db8::7", 22),
        5,
        0x0e,
        0x0d4e_878d,
    );
    is_as_recorded(&v4, "tcp-established");
    is_as_recorded(&v6, "tcp6-close-wait");
    let (answers, _) = listened(&[&v4, &v6]);
    let decoded: Vec<_> = answers
        .iter()
        .map(|(kind, payload)| (*kind, ctnetlink::decode(payload).unwrap()))
        .collect();
    let expected = |near: &str, port, far: &str, dialled, state| {
        let tuple = |from: &str, source_port, to: &str, destination_port| Tuple {
            source: from.parse::<IpAddr>().unwrap().into(),
            destination: to.parse::<IpAddr>().unwrap().into(),
            source_port,
            destination_port,
        };
        let entry = Entry {
            protocol: Protocol::TCP,
            original: tuple(near, port, far, dialled),
            reply: tuple(far, dialled, near, port),
            tcp_state: Some(state),
            replied: true,
            assured: true,
            offloaded: false,
            timeout: None,
        };
        (0x100, entry)
    };
    let established = TcpState::Established;
    assert_eq!(
        decoded,
        [
            expected("192.0.2.1", 40001, "198.51.100.7", 443, established),
            expected("2001:db8::1", 40004, "2001:db8::7", 22, TcpState::CloseWait),
        ]
    );
}

/// Bits 14 and 15, which a status in the other order would not have there.
#[test]
fn the_status_of_an_entry_is_in_network_order() {
    let near = ("192.0.2.1", 1);
    for (status, offloaded) in [(1_u32 << 14, true), (1 << 15, true), (1 << 22, false)] {
        let message = tcp_entry(2, near, ("192.0.2.2", 2), 3, status, 0);
        let entry = ctnetlink::decode(&message[16..]).unwrap();
        assert_eq!(entry.offloaded, offloaded, "{status:#x}");
        assert!(!entry.replied && !entry.assured, "{status:#x}");
    }
}

/// The number of the processor in the header, and the values.
#[test]
fn counters_are_in_network_order() {
    let mut payload = vec![0, 0];
    payload.extend_from_slice(&258_u16.to_be_bytes());
    for (kind, value) in [(9, 3_u32), (10, 0x0102_0304), (11, 2), (15, 0xffff_fffe)] {
        payload.extend(attribute(kind, &value.to_be_bytes()));
    }
    // drop, chaintoolong, early_drop, insert_failed
    let row = [Some(0x0102_0304), Some(0xffff_fffe), Some(2), Some(3)];
    assert_eq!(counters::decode(&payload), Some((258, row)));
}

/// Ports and addresses in network order, owner and inode in that of the machine.
#[test]
fn sockets_are_the_same_on_machines_of_either_order() {
    let mut payload = vec![2, 1, 0, 0];
    for port in [44401_u16, 6002] {
        payload.extend_from_slice(&port.to_be_bytes());
    }
    for _ in 0..2 {
        payload.extend_from_slice(&[127, 0, 0, 1]);
        payload.extend_from_slice(&[0; 12]);
    }
    // interface, cookie, expiry, queues; owner, inode
    for word in [0, 10, 0, 0, 0, 0, 0x0102_0304, 0x0003_371e_u32] {
        payload.extend_from_slice(&word.to_ne_bytes());
    }
    if cfg!(target_endian = "little") {
        let mut recorded = crate::source::datagrams::messages("sockets-tcp")
            .remove(1)
            .1;
        recorded.truncate(payload.len());
        recorded[64..68].copy_from_slice(&0x0102_0304_u32.to_le_bytes()); // made by root
        assert_eq!(payload, recorded);
    }
    assert_eq!(
        sockets::decode(Protocol::TCP, &payload),
        Some(LocalSocket {
            protocol: Protocol::TCP,
            local: "127.0.0.1:44401".parse().unwrap(),
            remote: "127.0.0.1:6002".parse().unwrap(),
            tcp_state: Some(TcpState::Established),
            listening: false,
            uid: 0x0102_0304,
            inode: 0x0003_371e,
        })
    );
}

#[test]
fn ends_and_refusals_are_understood_on_machines_of_either_order() {
    let done = message(3, 2191, &0_i32.to_ne_bytes());
    is_as_recorded(&done, "done");
    assert_eq!(listened(&[&done]).1, Termination::Done);
    let gave_up = message(3, 2191, &(-12_i32).to_ne_bytes());
    assert_eq!(
        listened(&[&gave_up]).1,
        Termination::DoneWithError(Errno::NOMEM)
    );
    let refused = message(2, 2501, &(-1_i32).to_ne_bytes());
    assert_eq!(listened(&[&refused]).1, Termination::Error(Errno::PERM));
}

/// struct nlmsghdr and what follows it, field by field.
#[test]
fn requests_are_in_the_order_of_the_machine() {
    let request = |kind: u16, payload: &[u8]| {
        // NLM_F_REQUEST and NLM_F_DUMP
        crate::source::datagrams::message(kind, 0x301, SEQUENCE, payload)
    };
    assert_eq!(ctnetlink::request(), request(0x101, &[0; 4]));
    assert_eq!(counters::request(), request(0x104, &[0; 4]));
    let mut payload = vec![10, 17, 0, 0];
    payload.extend_from_slice(&sockets::STATES.to_ne_bytes());
    payload.extend_from_slice(&[0; 48]);
    assert_eq!(
        sockets::request(Protocol::UDP, 10, sockets::STATES),
        request(20, &payload)
    );
}
