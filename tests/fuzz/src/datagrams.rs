//! Answers of ctnetlink: entries and counters. Datagrams in a row, each behind four bytes: flags, how much longer than
//! the buffer it claims to be, its length.

use std::ops::ControlFlow;

use check_conntrack::model::conntrack::{Entry, Protocol, TcpState};
use check_conntrack::source::addresses::Addresses;
use check_conntrack::source::capture::line::{Line, parse_line};
use check_conntrack::source::netlink::conversation::{
    BUFFER, Datagram, Outcome, Silence, Termination, listen,
};
use check_conntrack::source::netlink::{addresses, ct_dump as ctnetlink, ct_stats as counters};

/// Not from the kernel.
const FOREIGN: u8 = 1;
/// Longer than the buffer.
const TRUNCATED: u8 = 2;

/// An input of these datagrams, all of them whole and from the kernel.
pub(crate) fn input(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let one = |datagram: &Vec<u8>| {
        let length = u16::try_from(datagram.len()).expect("a datagram");
        let [low, high] = length.to_le_bytes();
        [&[0, 0, low, high], datagram.as_slice()].concat()
    };
    datagrams.iter().flat_map(one).collect()
}

/// Plays the kernel. Silence at the end is the deadline.
pub(crate) fn play(data: &[u8], each: impl FnMut(u16, &[u8]) -> ControlFlow<()>) -> Outcome {
    let mut rest = data;
    let source = |buffer: &mut [u8]| -> Result<Datagram, Silence> {
        let Some(([flags, more, low, high], after)) = rest.split_first_chunk::<4>() else {
            return Err(Silence::Deadline);
        };
        let wanted = usize::from(u16::from_le_bytes([*low, *high]));
        let (datagram, after) = after.split_at(wanted.min(after.len()));
        rest = after;
        let fits = datagram.len().min(buffer.len());
        buffer[..fits].copy_from_slice(&datagram[..fits]);
        Ok(Datagram {
            length: if flags & TRUNCATED == 0 {
                datagram.len()
            } else {
                BUFFER + 1 + usize::from(*more)
            },
            from_kernel: flags & FOREIGN == 0,
        })
    };
    listen(source, each)
}

/// The line that the kernel would print of an entry; none where its addresses are of both families, which it never has.
pub(crate) fn line(entry: &Entry) -> Option<String> {
    let tuples = [entry.original, entry.reply];
    let is_ipv4 = entry.original.source.is_ipv4();
    if tuples.iter().any(|tuple| {
        [tuple.source, tuple.destination]
            .iter()
            .any(|a| a.is_ipv4() != is_ipv4)
    }) {
        return None;
    }
    let family = if is_ipv4 { "ipv4     2" } else { "ipv6     10" };
    let number = entry.protocol.0;
    let known = Protocol::NAMES.iter().find(|(_, known)| *known == number);
    let name = known.map_or("unknown", |(name, _)| name);
    let state = entry.tcp_state.map(|state| {
        let known = TcpState::ALL.iter().find(|(known, _)| *known == state);
        format!("{} ", known.expect("one of all").1)
    });
    let [original, reply] = tuples.map(|tuple| {
        let addresses = format!("src={} dst={} ", tuple.source, tuple.destination);
        if entry.protocol.has_ports() {
            let (source, destination) = (tuple.source_port, tuple.destination_port);
            format!("{addresses}sport={source} dport={destination} ")
        } else {
            addresses
        }
    });
    let unreplied = if entry.replied { "" } else { "[UNREPLIED] " };
    let assured = if entry.assured { "[ASSURED] " } else { "" };
    let offloaded = if entry.offloaded { "[OFFLOAD] " } else { "" };
    // only the timeout of UDP is read
    let timeout = match (entry.protocol, entry.timeout) {
        (Protocol::UDP, None) => String::new(),
        (_, timeout) => format!("{} ", timeout.unwrap_or(119)),
    };
    Some(format!(
        "{family} {name:<8} {number} {timeout}{}{original}{unreplied}{reply}{assured}{offloaded}mark=0 zone=0 use=2",
        state.unwrap_or_default()
    ))
}

/// An entry is the same by netlink and as a line.
pub(crate) fn same_as_line(entry: &Entry) {
    if let Some(line) = line(entry) {
        assert_eq!(parse_line(line.as_bytes()), Line::Entry(*entry), "{line}");
    }
}

/// Every datagram is listed or counted as broken, to the end that the outcome tells, and not more than was asked for.
pub fn datagrams(data: &[u8]) {
    let Some((sample, data)) = data.split_first() else {
        return;
    };
    let mut messages = 0_u64;
    let outcome = play(data, |_, _| {
        messages += 1;
        ControlFlow::Continue(())
    });
    assert_ne!(outcome.end, Termination::Stopped);

    let sample = u64::from(*sample);
    let mut read = 0;
    let listing = ctnetlink::list(
        sample,
        |answer| play(data, answer),
        |entry| {
            read += 1;
            same_as_line(entry);
        },
    );
    match listing {
        Ok(listing) => {
            assert_eq!(listing.read, read);
            assert!(sample == 0 || read <= sample);
            let passed_over = messages - listing.read - listing.broken;
            assert!(passed_over == 0 || read == sample, "{listing:?}");
            assert!(outcome.interrupted || !listing.inexact);
        }
        Err(error) => {
            assert_eq!(read, 0);
            super::kernel_files::printable(&error);
        }
    }

    let rows = counters::gather(|answer| play(data, answer));
    if let Some(statistics) = rows {
        assert_eq!(outcome.end, Termination::Done);
        assert_eq!(statistics.processors.len() as u64, messages);
    }
    // decoding needs no conversation around it
    let _ = (ctnetlink::decode(data), counters::decode(data));
    let mut found = Addresses::default();
    let _ = addresses::decode_address(data, &mut found);
    let _ = addresses::decode_route(data, &mut found);
    assert!(found.own.len() + found.networks.len() <= 2);
}
