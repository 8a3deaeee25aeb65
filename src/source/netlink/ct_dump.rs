//! A ctnetlink dump: the request and the decoder.
//!
//! The request names no filter, ever: the kernel walks its whole table with soft interrupts off until a datagram is
//! full, so a filter that matches little stalls a processor, and several filters are ignored or inverted by some
//! kernels.
//!
//! The values of attributes are big endian (include/uapi/linux/netfilter/nfnetlink_conntrack.h,
//! net/netfilter/nf_conntrack_netlink.c).

use std::ops::ControlFlow;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use super::attributes::Part::{Field, Nest};
use super::attributes::{Layout, Layouts, Parts};
use super::conversation::{self, Conversation, Outcome, dump_request};
use crate::model::address::Address;
use crate::model::conntrack::{Entry, Protocol, TcpState, Tuple};
use crate::model::dump::{DumpEnd, DumpSummary, Extent, Source};
use crate::model::error::ReadError;
use crate::model::text::clean;

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
const CTA_TIMEOUT: u16 = 7;
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

/// Dumps the table to this extent. `on_sent` is called once, when the request has been sent
/// or could not be: nothing after it needs privilege, and nothing before it parses.
///
/// # Errors
/// [`ReadError::NotPermitted`] without CAP_NET_ADMIN, else [`ReadError::Netlink`]: then nothing at all was read. An
/// error after the first entry is the [`DumpEnd`] of the listing.
pub fn dump(
    extent: impl Into<Extent>,
    deadline: Instant,
    on_sent: impl FnOnce(),
    each: impl FnMut(&Entry),
) -> Result<DumpSummary, ReadError> {
    let asked = Conversation::open(NETFILTER).and_then(|conversation| {
        conversation.request(&request())?;
        Ok(conversation)
    });
    on_sent();
    let mut conversation = asked.map_err(refusal)?;
    list(
        extent,
        |answer| conversation.receive(deadline, answer),
        each,
    )
}

/// Makes a listing of answers, whoever gives them: `receive` hands type and payload of each to its argument.
///
/// # Errors
/// As [`dump`].
pub fn list(
    extent: impl Into<Extent>,
    receive: impl FnOnce(&mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>) -> Outcome,
    mut each: impl FnMut(&Entry),
) -> Result<DumpSummary, ReadError> {
    let Extent { sample, count_on } = extent.into();
    let (mut read, mut broken, mut beyond) = (0, 0, 0);
    let mut decoder = Decoder::default();
    let outcome = receive(&mut |message_type, payload| {
        // only the entry after the last one wanted tells a sample from a table that holds no more
        if sample > 0 && read == sample {
            beyond += u64::from(message_type == IPCTNL_MSG_CT_NEW);
            return if count_on {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            };
        }
        let entry = match message_type {
            IPCTNL_MSG_CT_NEW => decoder.entry(payload),
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
    let is_done = matches!(outcome.end, conversation::Termination::Done);
    let end = match outcome.end {
        conversation::Termination::Done if beyond == 0 => DumpEnd::Whole,
        // however the counting ended, the sample is complete
        _ if beyond > 0 => DumpEnd::Sampled,
        conversation::Termination::Done | conversation::Termination::Stopped => DumpEnd::Sampled,
        conversation::Termination::Deadline => DumpEnd::TimeUp,
        failure => {
            let error = failed(failure);
            if read == 0 && broken == 0 {
                return Err(error);
            }
            DumpEnd::Failed(error)
        }
    };
    let counted = count_on && beyond > 0 && is_done;
    Ok(DumpSummary {
        broken,
        inexact: outcome.interrupted,
        counted,
        seen: if counted { read + beyond } else { read },
        ..DumpSummary::new(Source::Netlink, read, end)
    })
}

/// The meaning of the kernel's refusal.
pub(super) fn refusal(error: Errno) -> ReadError {
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

/// The error for an end that is not one of the good ones.
pub(super) fn failed(end: conversation::Termination) -> ReadError {
    match end {
        conversation::Termination::Error(error) => refusal(error),
        other => ReadError::Netlink {
            what: "the ctnetlink dump",
            reason: other.reason(),
        },
    }
}

// The fields of an entry: seven of each tuple, and three more.
const SOURCE_V4: usize = 0;
const DESTINATION_V4: usize = 1;
const SOURCE_V6: usize = 2;
const DESTINATION_V6: usize = 3;
const PROTOCOL: usize = 4;
const SOURCE_PORT: usize = 5;
const DESTINATION_PORT: usize = 6;
const ORIGINAL: usize = 0;
const REPLY: usize = 7;
const STATUS: usize = 14;
const STATE: usize = 15;
const TIMEOUT: usize = 16;
const FIELDS: usize = 17;

/// The attributes that are read of an entry (`ctnetlink_fill_info`). Attributes this check has no use for, or that later
/// kernels add, are passed over; the protocols besides TCP have a CTA_PROTOINFO of their own.
const ENTRY: Parts = &[
    (CTA_TUPLE_ORIG, Nest(TUPLE, ORIGINAL)),
    (CTA_TUPLE_REPLY, Nest(TUPLE, REPLY)),
    (CTA_STATUS, Field(STATUS, 4)),
    (CTA_PROTOINFO, Nest(PROTOINFO, 0)),
    (CTA_TIMEOUT, Field(TIMEOUT, 4)),
];
/// `ctnetlink_dump_tuples`.
const TUPLE: Parts = &[
    (CTA_TUPLE_IP, Nest(ADDRESSES, 0)),
    (CTA_TUPLE_PROTO, Nest(PORTS, 0)),
];
const ADDRESSES: Parts = &[
    (CTA_IP_V4_SRC, Field(SOURCE_V4, 4)),
    (CTA_IP_V4_DST, Field(DESTINATION_V4, 4)),
    (CTA_IP_V6_SRC, Field(SOURCE_V6, 16)),
    (CTA_IP_V6_DST, Field(DESTINATION_V6, 16)),
];
const PORTS: Parts = &[
    (CTA_PROTO_NUM, Field(PROTOCOL, 1)),
    (CTA_PROTO_SRC_PORT, Field(SOURCE_PORT, 2)),
    (CTA_PROTO_DST_PORT, Field(DESTINATION_PORT, 2)),
];
const PROTOINFO: Parts = &[(CTA_PROTOINFO_TCP, Nest(TCP, 0))];
/// `tcp_to_nlattr`.
const TCP: Parts = &[(CTA_PROTOINFO_TCP_STATE, Field(STATE, 1))];

/// Decodes one entry: what stands behind the netlink header of a message. None where a tuple is missing, the two are of
/// different protocols, or an attribute does not fit into its surroundings.
pub fn decode(payload: &[u8]) -> Option<Entry> {
    Decoder::default().entry(payload)
}

/// Decodes the entries of a dump, one after the other.
#[derive(Debug, Default)]
struct Decoder(Layouts<FIELDS>);

impl Decoder {
    /// As [`decode`], whatever was decoded before.
    fn entry(&mut self, payload: &[u8]) -> Option<Entry> {
        let layout = self.0.of(payload, NFGENMSG, ENTRY)?;
        let [protocol] = layout.field(payload, ORIGINAL + PROTOCOL)?;
        if layout.field(payload, REPLY + PROTOCOL) != Some([protocol]) {
            return None;
        }
        let protocol = Protocol(protocol);
        // GRE's keys come as ports (nf_ct_port_tuple_to_nlattr) and are none
        let port_mask = if protocol.has_ports() { u16::MAX } else { 0 };
        let original = tuple(layout, payload, ORIGINAL, port_mask)?;
        let reply = tuple(layout, payload, REPLY, port_mask)?;
        let status = layout.field(payload, STATUS).map(u32::from_be_bytes);
        let status = status.unwrap_or_default();
        // a state later than those known is none
        let state = layout.field(payload, STATE);
        let state = state.and_then(|[state]| TcpState::from_number(state));
        let timeout = (protocol == Protocol::UDP)
            .then(|| layout.field(payload, TIMEOUT))
            .flatten()
            .map(u32::from_be_bytes);
        Some(Entry {
            protocol,
            original,
            reply,
            tcp_state: state.filter(|_| protocol == Protocol::TCP),
            replied: status & IPS_SEEN_REPLY != 0,
            assured: status & IPS_ASSURED != 0,
            offloaded: status & (IPS_OFFLOAD | IPS_HW_OFFLOAD) != 0,
            timeout: timeout.map(|left| u16::try_from(left).unwrap_or(u16::MAX)),
        })
    }
}

/// The tuple whose fields are counted from `base`; of the ports the bits of the mask.
#[inline(always)] // a tuple that is handed on is written and read again in other pieces, a tenth of what an entry costs
fn tuple(layout: &Layout<FIELDS>, payload: &[u8], base: usize, port_mask: u16) -> Option<Tuple> {
    Some(Tuple {
        source: address(layout, payload, base + SOURCE_V4, base + SOURCE_V6)?,
        destination: address(
            layout,
            payload,
            base + DESTINATION_V4,
            base + DESTINATION_V6,
        )?,
        source_port: port(layout, payload, base + SOURCE_PORT) & port_mask,
        destination_port: port(layout, payload, base + DESTINATION_PORT) & port_mask,
    })
}

/// The port in a field, 0 without the field.
#[inline(always)] // as above
fn port(layout: &Layout<FIELDS>, payload: &[u8], field: usize) -> u16 {
    layout.field(payload, field).map_or(0, u16::from_be_bytes)
}

/// The address in one of two fields.
#[inline(always)] // as above
fn address(layout: &Layout<FIELDS>, payload: &[u8], v4: usize, v6: usize) -> Option<Address> {
    match layout.field::<4>(payload, v4) {
        Some(octets) => Some(octets.into()),
        None => layout.field::<16>(payload, v6).map(Address::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An attribute and its padding.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple_of(family: bool, protocol: u8, ports: bool) -> Vec<u8> {
        let addresses = if family {
            [attribute(1, &[192, 0, 2, 1]), attribute(2, &[192, 0, 2, 2])]
        } else {
            [attribute(3, &[1; 16]), attribute(4, &[2; 16])]
        };
        let mut layer4 = attribute(1, &[protocol]);
        if ports {
            layer4.extend([attribute(2, &[1, 2]), attribute(3, &[3, 4])].concat());
        }
        [
            attribute(0x8001, &addresses.concat()),
            attribute(0x8002, &layer4),
        ]
        .concat()
    }

    /// Entries of the kinds that a table has, more of them than layouts are remembered.
    fn entry() -> impl Strategy<Value = Vec<u8>> {
        let kinds = (any::<bool>(), any::<bool>(), 0..3_usize, 0..4_u16);
        (kinds, any::<u8>()).prop_map(|((family, ports, rest, more), state)| {
            let protocol = if ports { 6 } else { 1 };
            let mut message = vec![2, 0, 0, 0];
            for kind in [0x8001, 0x8002] {
                message.extend(attribute(kind, &tuple_of(family, protocol, ports)));
            }
            message.extend(attribute(3, &[0, 0, 0, state]));
            for kind in 0..more {
                message.extend(attribute(0x100 + kind, &[9; 5]));
            }
            if rest > 0 {
                let tcp = attribute(0x8001, &attribute(rest as u16, &[state % 12]));
                message.extend(attribute(0x8004, &tcp));
            }
            message
        })
    }

    /// Some of them with bits changed, or cut.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let changes = prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..3)
        ];
        let cut = prop::option::weighted(0.1, any::<prop::sample::Index>());
        (entry(), changes, cut).prop_map(|(mut message, changes, cut)| {
            for (at, bit) in changes {
                let at = at.index(message.len());
                message[at] ^= 1_u8 << bit;
            }
            if let Some(cut) = cut {
                message.truncate(cut.index(message.len()));
            }
            message
        })
    }

    proptest! {
        #[test]
        fn an_entry_is_read_the_same_whatever_was_read_before(messages in prop::collection::vec(message(), 1..40)) {
            let mut decoder = Decoder::default();
            for message in messages {
                prop_assert_eq!(decoder.entry(&message), decode(&message));
            }
        }
    }
}
