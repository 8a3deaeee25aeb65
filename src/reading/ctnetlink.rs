//! A ctnetlink dump: the request and the decoder.
//!
//! The request names no filter, ever: the kernel walks its whole table with soft interrupts off until a datagram is
//! full, so a filter that matches little stalls a processor, and several filters are ignored or inverted by some
//! kernels.
//!
//! Lengths and types of attributes are in the byte order of this machine, their values big endian
//! (include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::time::Instant;

use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED, NLA_HEADER_SIZE, NLA_TYPE_MASK};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use super::netlink::{self, Conversation, Outcome, dump_request};
use crate::entry::{End, Entry, Listing, Protocol, Source, TcpState, Tuple};
use crate::error::ReadError;
use crate::text::clean;

/// NFNL_SUBSYS_CTNETLINK in the upper byte (include/uapi/linux/netfilter/nfnetlink.h).
pub(super) const CTNETLINK: u16 = 1 << 8;
/// Asks for entries (`enum cntl_msg_types`).
const IPCTNL_MSG_CT_GET: u16 = CTNETLINK | 1;
/// An entry.
const IPCTNL_MSG_CT_NEW: u16 = CTNETLINK;

/// struct nfgenmsg: address family, version, resource id.
pub(super) const NFGENMSG: usize = 4;
/// AF_UNSPEC, so entries of every family; NFNETLINK_V0; no resource.
pub(super) const EVERY_FAMILY: [u8; NFGENMSG] = [0; NFGENMSG];

// enum ctattr_type
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
// enum ctattr_tuple
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
// enum ctattr_ip
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
// enum ctattr_l4proto
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
// enum ctattr_protoinfo, enum ctattr_protoinfo_tcp
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;

// enum ip_conntrack_status in include/uapi/linux/netfilter/nf_conntrack_common.h
const IPS_SEEN_REPLY: u32 = 1 << 1;
const IPS_ASSURED: u32 = 1 << 2;
const IPS_OFFLOAD: u32 = 1 << 14;
const IPS_HW_OFFLOAD: u32 = 1 << 15;

/// The request for the whole table of this network namespace.
pub fn request() -> Vec<u8> {
    dump_request(IPCTNL_MSG_CT_GET, &EVERY_FAMILY)
}

/// Dumps the table: the first `sample` entries, 0 for all. `on_sent` is called once, when the request has been sent
/// or could not be: nothing after it needs privilege, and nothing before it parses.
///
/// # Errors
/// [`ReadError::NotPermitted`] without CAP_NET_ADMIN, else [`ReadError::Netlink`]: then nothing at all was read. An
/// error after the first entry is the [`End`] of the listing.
pub fn dump(
    sample: u64,
    deadline: Instant,
    on_sent: impl FnOnce(),
    each: impl FnMut(&Entry),
) -> Result<Listing, ReadError> {
    let asked = Conversation::open(NETFILTER).and_then(|conversation| {
        conversation.request(&request())?;
        Ok(conversation)
    });
    on_sent();
    let conversation = asked.map_err(refusal)?;
    list(
        sample,
        |answer| conversation.receive(deadline, answer),
        each,
    )
}

/// Makes a listing of answers, whoever gives them: `receive` hands type and payload of each to its argument.
///
/// # Errors
/// As [`dump`].
pub fn list(
    sample: u64,
    receive: impl FnOnce(&mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>) -> Outcome,
    mut each: impl FnMut(&Entry),
) -> Result<Listing, ReadError> {
    let (mut read, mut broken) = (0, 0);
    let outcome = receive(&mut |message_type, payload| {
        // only the entry after the last one wanted tells a sample from a table that holds no more
        if sample > 0 && read == sample {
            return ControlFlow::Break(());
        }
        let entry = match message_type {
            IPCTNL_MSG_CT_NEW => decode(payload),
            _ => None,
        };
        match entry {
            Some(entry) => {
                read += 1;
                each(&entry);
            }
            None => broken += 1,
        }
        ControlFlow::Continue(())
    });
    let end = match outcome.end {
        netlink::End::Done => End::Whole,
        netlink::End::Stopped => End::Sampled,
        netlink::End::Deadline => End::TimeUp,
        failure => {
            let error = failed(failure);
            if read == 0 && broken == 0 {
                return Err(error);
            }
            End::Failed(error)
        }
    };
    Ok(Listing {
        source: Source::Netlink,
        read,
        broken,
        end,
        inexact: outcome.interrupted,
    })
}

/// What the kernel's refusal means.
fn refusal(error: Errno) -> ReadError {
    match error {
        Errno::PERM | Errno::ACCESS => ReadError::NotPermitted {
            what: "the table",
            needs: "CAP_NET_ADMIN",
        },
        _ => ReadError::Netlink {
            what: "the ctnetlink dump",
            reason: clean(&error.to_string()),
        },
    }
}

/// What an end that is not one of the good ones means.
fn failed(end: netlink::End) -> ReadError {
    match end {
        netlink::End::Error(error) => refusal(error),
        other => ReadError::Netlink {
            what: "the ctnetlink dump",
            reason: other.reason(),
        },
    }
}

/// Decodes one entry: what stands behind the netlink header of a message. None where a tuple is missing, the two are of
/// different protocols, or an attribute does not fit into its surroundings. Attributes this check has no use for, or
/// that later kernels add, are passed over.
pub fn decode(payload: &[u8]) -> Option<Entry> {
    let attributes = payload.get(NFGENMSG..)?;
    let (mut original, mut reply, mut status, mut state) = (None, None, 0, None);
    for attribute in Attributes::of(attributes) {
        let (kind, value) = attribute?;
        match kind {
            CTA_TUPLE_ORIG => original = Some(tuple(value)?),
            CTA_TUPLE_REPLY => reply = Some(tuple(value)?),
            CTA_STATUS => status = u32::from_be_bytes(*value.first_chunk()?),
            CTA_PROTOINFO => state = tcp_state(value)?,
            _ => {}
        }
    }
    let (protocol, original) = original?;
    let (_, reply) = reply.filter(|(its, _)| *its == protocol)?;
    Some(Entry {
        protocol,
        original,
        reply,
        tcp_state: state.filter(|_| protocol == Protocol::TCP),
        replied: status & IPS_SEEN_REPLY != 0,
        assured: status & IPS_ASSURED != 0,
        offloaded: status & (IPS_OFFLOAD | IPS_HW_OFFLOAD) != 0,
    })
}

/// `ctnetlink_dump_tuples`: addresses, and the protocol with its ports.
fn tuple(bytes: &[u8]) -> Option<(Protocol, Tuple)> {
    usual_tuple(bytes).or_else(|| any_tuple(bytes))
}

fn any_tuple(bytes: &[u8]) -> Option<(Protocol, Tuple)> {
    let (mut addresses, mut protocol, mut ports) = ((None, None), None, (0, 0));
    for attribute in Attributes::of(bytes) {
        match attribute? {
            (CTA_TUPLE_IP, value) => {
                for attribute in Attributes::of(value) {
                    match attribute? {
                        (CTA_IP_V4_SRC, value) => addresses.0 = Some(ipv4(value)?),
                        (CTA_IP_V4_DST, value) => addresses.1 = Some(ipv4(value)?),
                        (CTA_IP_V6_SRC, value) => addresses.0 = Some(ipv6(value)?),
                        (CTA_IP_V6_DST, value) => addresses.1 = Some(ipv6(value)?),
                        _ => {}
                    }
                }
            }
            (CTA_TUPLE_PROTO, value) => {
                for attribute in Attributes::of(value) {
                    match attribute? {
                        (CTA_PROTO_NUM, value) => protocol = Some(Protocol(*value.first()?)),
                        (CTA_PROTO_SRC_PORT, value) => ports.0 = port(value)?,
                        (CTA_PROTO_DST_PORT, value) => ports.1 = port(value)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(tuple_of(protocol?, addresses.0?, addresses.1?, ports))
}

fn tuple_of(
    protocol: Protocol,
    source: IpAddr,
    destination: IpAddr,
    ports: (u16, u16),
) -> (Protocol, Tuple) {
    // GRE's keys come as ports (nf_ct_port_tuple_to_nlattr) and are none
    let (source_port, destination_port) = if protocol.has_ports() { ports } else { (0, 0) };
    let tuple = Tuple {
        source,
        destination,
        source_port,
        destination_port,
    };
    (protocol, tuple)
}

/// The headers of the attributes of a tuple of IPv4 with ports, in the order and the places in which every kernel puts
/// them, and how long it is.
const USUAL: [(usize, u32); 7] = [
    (0, header(20, NLA_F_NESTED | CTA_TUPLE_IP)),
    (4, header(8, CTA_IP_V4_SRC)),
    (12, header(8, CTA_IP_V4_DST)),
    (20, header(28, NLA_F_NESTED | CTA_TUPLE_PROTO)),
    (24, header(5, CTA_PROTO_NUM)),
    (32, header(6, CTA_PROTO_SRC_PORT)),
    (40, header(6, CTA_PROTO_DST_PORT)),
];
const USUAL_LENGTH: usize = 48;

/// An attribute's length and type, in one number of this machine.
const fn header(length: u16, kind: u16) -> u32 {
    let ([a, b], [c, d]) = (length.to_ne_bytes(), kind.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// Whether these headers stand in these places.
#[inline(always)] // with both known the comparisons are a few instructions
fn has_headers<const N: usize>(bytes: &[u8; N], headers: &[(usize, u32)]) -> bool {
    headers.iter().all(|(at, header)| {
        let word = bytes.get(*at..).and_then(<[u8]>::first_chunk);
        word.copied().map(u32::from_ne_bytes) == Some(*header)
    })
}

/// The same for the tuples that nearly all entries have, without a walk from attribute to attribute, which is half of
/// what an entry costs. None for all others.
fn usual_tuple(bytes: &[u8]) -> Option<(Protocol, Tuple)> {
    let bytes: &[u8; USUAL_LENGTH] = bytes.try_into().ok()?;
    if !has_headers(bytes, &USUAL) {
        return None;
    }
    let value = |at| bytes.get(at..).unwrap_or_default();
    let ports = (port(value(36))?, port(value(44))?);
    let protocol = Protocol(*value(28).first()?);
    Some(tuple_of(protocol, ipv4(value(8))?, ipv4(value(16))?, ports))
}

/// `tcp_to_nlattr`; the protocols besides TCP have an attribute of their own. A state later than those known is none.
fn tcp_state(bytes: &[u8]) -> Option<Option<TcpState>> {
    let usual = <&[u8; USUAL_STATE_LENGTH]>::try_from(bytes).ok();
    let usual = usual.filter(|bytes| has_headers(bytes, &USUAL_STATE));
    match usual.and_then(|bytes| bytes.get(USUAL_STATE_AT)) {
        Some(state) => Some(TcpState::from_number(*state)),
        None => any_tcp_state(bytes),
    }
}

/// The headers of what TCP has: its state, both window scales, both pairs of flags.
const USUAL_STATE: [(usize, u32); 6] = [
    (0, header(44, NLA_F_NESTED | CTA_PROTOINFO_TCP)),
    (4, header(5, CTA_PROTOINFO_TCP_STATE)),
    (12, header(5, CTA_PROTOINFO_TCP_STATE + 1)),
    (20, header(5, CTA_PROTOINFO_TCP_STATE + 2)),
    (28, header(6, CTA_PROTOINFO_TCP_STATE + 3)),
    (36, header(6, CTA_PROTOINFO_TCP_STATE + 4)),
];
const USUAL_STATE_AT: usize = 8;
const USUAL_STATE_LENGTH: usize = 44;

fn any_tcp_state(bytes: &[u8]) -> Option<Option<TcpState>> {
    let mut state = None;
    for attribute in Attributes::of(bytes) {
        if let (CTA_PROTOINFO_TCP, value) = attribute? {
            for attribute in Attributes::of(value) {
                if let (CTA_PROTOINFO_TCP_STATE, value) = attribute? {
                    state = TcpState::from_number(*value.first()?);
                }
            }
        }
    }
    Some(state)
}

fn ipv4(value: &[u8]) -> Option<IpAddr> {
    let octets: [u8; 4] = *value.first_chunk()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

fn ipv6(value: &[u8]) -> Option<IpAddr> {
    let octets: [u8; 16] = *value.first_chunk()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)))
}

fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}

/// The attributes of a message or of a nesting attribute: type without the flag bits, and value. An attribute that
/// does not fit is the last, and none.
///
/// Of our own because netlink_packet_core's iterator, with its text in every error, doubles the cost of an entry:
/// 310 ns instead of 155 ns, of the 1.8 us the kernel needs for it.
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Type and value of the first, and what stands behind it.
    fn split(bytes: &'a [u8]) -> Option<(u16, &'a [u8], &'a [u8])> {
        // a load for each, which the compiler does not make of four bytes taken at once
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let kind = u16::from_ne_bytes(*rest.first_chunk()?) & NLA_TYPE_MASK;
        let value = bytes.get(NLA_HEADER_SIZE..length)?;
        // padded to a multiple of four, in two instructions: next_multiple_of was a fifth of all that an entry costs
        let padded = length.wrapping_add(NLA_ALIGNTO - 1) & !(NLA_ALIGNTO - 1);
        // the last one may come without its padding
        let rest = bytes.get(padded..).unwrap_or_default();
        Some((kind, value, rest))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((kind, value, rest)) = Self::split(self.0) else {
            self.0 = &[];
            return Some(None);
        };
        self.0 = rest;
        Some(Some((kind, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tuple of IPv4 with ports, as the kernel lays it out.
    fn laid_out(protocol: u8, values: [u8; 20]) -> Vec<u8> {
        let mut bytes = vec![0; USUAL_LENGTH];
        for (at, header) in USUAL {
            bytes[at..at + 4].copy_from_slice(&header.to_ne_bytes());
        }
        bytes[8..12].copy_from_slice(&values[..4]);
        bytes[16..20].copy_from_slice(&values[4..8]);
        bytes[28] = protocol;
        bytes[36..38].copy_from_slice(&values[8..10]);
        bytes[44..46].copy_from_slice(&values[10..12]);
        // what pads is nobody's
        bytes[29..32].copy_from_slice(&values[12..15]);
        bytes[46..48].copy_from_slice(&values[15..17]);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_read_at_once_is_what_a_walk_finds(protocol in prop_oneof![Just(6), Just(17), Just(47), any::<u8>()], values in any::<[u8; 20]>()) {
            let bytes = laid_out(protocol, values);
            prop_assert!(usual_tuple(&bytes).is_some());
            prop_assert_eq!(usual_tuple(&bytes), any_tuple(&bytes));
        }

        #[test]
        fn a_state_is_read_at_once_as_a_walk_finds_it(state in any::<u8>(), at in 0..USUAL_STATE_LENGTH, byte in prop::option::of(any::<u8>())) {
            let mut bytes = vec![0; USUAL_STATE_LENGTH];
            for (at, header) in USUAL_STATE {
                bytes[at..at + 4].copy_from_slice(&header.to_ne_bytes());
            }
            bytes[USUAL_STATE_AT] = state;
            if let Some(byte) = byte {
                bytes[at] = byte;
            }
            prop_assert_eq!(tcp_state(&bytes), any_tcp_state(&bytes));
        }

        #[test]
        fn what_is_changed_is_read_the_same_or_left_to_the_walk(values in any::<[u8; 20]>(), at in 0..USUAL_LENGTH, byte in any::<u8>(), length in 0..=USUAL_LENGTH + 8) {
            let mut bytes = laid_out(6, values);
            bytes[at] = byte;
            bytes.resize(length, 0);
            if let Some(usual) = usual_tuple(&bytes) {
                prop_assert_eq!(Some(usual), any_tuple(&bytes));
            }
        }
    }
}
