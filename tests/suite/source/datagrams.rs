//! Recorded answers of the kernel: the files of this folder, one datagram or several in a row each.
#![allow(dead_code, unreachable_pub)] // every test file uses its own part of this

use std::path::Path;

/// Every recording of ctnetlink entries.
pub const ENTRIES: [&str; 15] = [
    "gre",
    "icmp",
    "icmpv6",
    "protocol-50",
    "sctp",
    "tcp-dnat",
    "tcp-established",
    "tcp-snat",
    "tcp-syn-sent",
    "tcp-time-wait",
    "tcp6-close-wait",
    "udp-directional-zone",
    "udp-zone",
    "udp6-unreplied",
    "three-with-counters",
];

/// The bytes of a recording; what stands behind a `#` says what they are.
pub fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/datagrams")
        .join(format!("{name}.hex"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .flat_map(|line| {
            line.split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace()
        })
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect()
}

/// The messages of a recording: type, and what stands behind the header.
pub fn messages(name: &str) -> Vec<(u16, Vec<u8>)> {
    let bytes = recorded(name);
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        let message_type = u16::from_ne_bytes(rest[4..6].try_into().unwrap());
        messages.push((message_type, rest[16..length].to_vec()));
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    messages
}

/// A message with a header of our own making.
pub fn message(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(16 + payload.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(&message_type.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
