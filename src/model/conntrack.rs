//! The content of the table: entries, their tuples, protocols and states, in the kernel's words.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use crate::model::address::Address;

/// One direction of an entry, as packets of that direction carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port; 0 where the protocol has none (ICMP, GRE, unknown ones).
    pub source_port: u16,
    /// Destination port; 0 where the protocol has none.
    pub destination_port: u16,
}

impl Tuple {
    /// The end that sends.
    pub fn from(&self) -> SocketAddress {
        (self.source, self.source_port)
    }

    /// The end that receives.
    pub fn to(&self) -> SocketAddress {
        (self.destination, self.destination_port)
    }
}

/// A layer 4 protocol by its number (IANA, /etc/protocols).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);

    /// The protocols the kernel names (`l4proto_name` in nf_conntrack_standalone.c), and its number.
    pub const NAMES: [(&'static str, u8); 8] = [
        ("icmp", 1),
        ("tcp", 6),
        ("udp", 17),
        ("dccp", 33),
        ("gre", 47),
        ("icmpv6", 58),
        ("sctp", 132),
        ("udplite", 136),
    ];

    /// True if its tuples have ports.
    pub fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "proto{}", self.0),
        }
    }
}

/// The state of a tracked TCP connection (`enum tcp_conntrack`, include/uapi/linux/netfilter/nf_conntrack_tcp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// No state yet.
    None,
    /// A SYN was seen.
    SynSent,
    /// A SYN and its SYN/ACK were seen.
    SynRecv,
    /// The handshake is complete.
    Established,
    /// One side sent FIN.
    FinWait,
    /// The other side acknowledged it.
    CloseWait,
    /// Both sent FIN.
    LastAck,
    /// The last ACK was seen; the entry stays for nf_conntrack_tcp_timeout_time_wait, 120 s.
    TimeWait,
    /// RST was seen.
    Close,
    /// Both sides sent SYN; once LISTEN.
    SynSent2,
}

impl TcpState {
    /// All states; the index is the kernel's number.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::None, "NONE"),
        (Self::SynSent, "SYN_SENT"),
        (Self::SynRecv, "SYN_RECV"),
        (Self::Established, "ESTABLISHED"),
        (Self::FinWait, "FIN_WAIT"),
        (Self::CloseWait, "CLOSE_WAIT"),
        (Self::LastAck, "LAST_ACK"),
        (Self::TimeWait, "TIME_WAIT"),
        (Self::Close, "CLOSE"),
        (Self::SynSent2, "SYN_SENT2"),
    ];

    /// By the kernel's number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).map(|(state, _)| *state)
    }

    /// By the name in /proc/net/nf_conntrack; kernels before 2.6.31 print LISTEN for the last.
    pub fn from_name(name: &str) -> Option<Self> {
        let by_name = Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(state, _)| *state);
        by_name.or((name == "LISTEN").then_some(Self::SynSent2))
    }

    /// The class of the entries in each state, in the order of [`TcpState::ALL`]: a table, because it is asked for
    /// every entry.
    const CLASSES: [Class; Self::ALL.len()] = [
        Class::Other,
        Class::SynSent,
        Class::SynRecv,
        Class::Established,
        Class::FinWait,
        Class::CloseWait,
        Class::LastAck,
        Class::TimeWait,
        Class::Close,
        Class::SynSent,
    ];

    fn class(self) -> Class {
        let class = Self::CLASSES.get(self as usize);
        class.copied().unwrap_or(Class::Other)
    }
}

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Layer 4 protocol.
    pub protocol: Protocol,
    /// As the first packet had it.
    pub original: Tuple,
    /// As an answer to it has it: not the reverse of the original where addresses are translated.
    pub reply: Tuple,
    /// TCP only, and not shown for offloaded entries.
    pub tcp_state: Option<TcpState>,
    /// A packet of the reply direction was seen (IPS_SEEN_REPLY; otherwise `[UNREPLIED]`).
    pub replied: bool,
    /// IPS_ASSURED: the kernel does not evict it for a new connection.
    pub assured: bool,
    /// IPS_OFFLOAD or IPS_HW_OFFLOAD: forwarded by a flow table.
    pub offloaded: bool,
    /// Seconds until the entry expires, rounded down, at most 65535; read for UDP only, and not shown for offloaded
    /// entries.
    pub timeout: Option<u16>,
}

/// The class every entry has exactly one of: the TCP states, and the protocols without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// TCP, established or offloaded.
    Established,
    /// TCP.
    TimeWait,
    /// TCP, one or both SYN only.
    SynSent,
    /// TCP.
    SynRecv,
    /// TCP.
    FinWait,
    /// TCP.
    CloseWait,
    /// TCP.
    LastAck,
    /// TCP.
    Close,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
    /// All the rest.
    Other,
}

impl Class {
    /// Every class, in the order of the contract, with the words of the text.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Established, "ESTABLISHED"),
        (Self::TimeWait, "TIME_WAIT"),
        (Self::SynSent, "SYN_SENT"),
        (Self::SynRecv, "SYN_RECV"),
        (Self::FinWait, "FIN_WAIT"),
        (Self::CloseWait, "CLOSE_WAIT"),
        (Self::LastAck, "LAST_ACK"),
        (Self::Close, "CLOSE"),
        (Self::Udp, "UDP"),
        (Self::Icmp, "ICMP"),
        (Self::Other, "other"),
    ];

    /// Its place in [`Class::ALL`], which is in the order of the variants.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl Entry {
    /// Its class.
    pub fn class(&self) -> Class {
        match (self.protocol, self.tcp_state) {
            (Protocol::UDP, _) => Class::Udp,
            (Protocol::ICMP | Protocol::ICMPV6, _) => Class::Icmp,
            (Protocol::TCP, _) if self.offloaded => Class::Established,
            (Protocol::TCP, Some(state)) => state.class(),
            _ => Class::Other,
        }
    }

    /// True if the kernel may evict it to make room (`early_drop` in nf_conntrack_core.c).
    pub fn is_evictable(&self) -> bool {
        !self.assured && !self.offloaded
    }

    /// True if its state proves that the source of the original direction opened the connection: no other state of TCP
    /// begins with its SYN (`tcp_conntracks` in nf_conntrack_proto_tcp.c).
    pub fn shows_who_opened_it(&self) -> bool {
        matches!(
            self.tcp_state,
            Some(TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2)
        )
    }

    /// The same entry as if its other side had sent the first packet.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            original: self.reply,
            reply: self.original,
            ..*self
        }
    }

    /// True if addresses are translated, so that the reply is not the reverse of the original.
    pub fn is_translated(&self) -> bool {
        self.original.from() != self.reply.to() || self.original.to() != self.reply.from()
    }

    /// Both sides of the original direction, as a socket of either end would have them.
    pub fn original_flow(&self) -> FlowKey {
        FlowKey::of(self.protocol, self.original.from(), self.original.to())
    }

    /// Both sides of the reply direction: different from the original where addresses are translated.
    pub fn reply_flow(&self) -> FlowKey {
        FlowKey::of(self.protocol, self.reply.from(), self.reply.to())
    }
}

/// An address and a port, which means nothing where the protocol has none.
pub type SocketAddress = (Address, u16);

/// A protocol and two address-port pairs in no order: what an entry and the socket behind it have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowKey {
    protocol: Protocol,
    ends: FlowEnds,
}

/// The two ends of a flow, the lower one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlowEnds {
    /// Both have an IPv4 address, which stands before the port in the last 48 bits.
    V4([u64; 2]),
    /// At least one has an IPv6 address.
    V6([SocketAddress; 2]),
}

impl Hash for FlowKey {
    /// Two or three writes instead of a dozen: it is computed for every entry of a table.
    #[inline(always)] // of each entry
    fn hash<H: Hasher>(&self, state: &mut H) {
        let protocol = u64::from(self.protocol.0) << 48;
        match self.ends {
            FlowEnds::V4([lower, higher]) => {
                state.write_u64(protocol | lower);
                state.write_u64(higher);
            }
            FlowEnds::V6([(lower, lower_port), (higher, higher_port)]) => {
                state.write_u128(lower.bits());
                state.write_u128(higher.bits());
                state.write_u64(protocol | u64::from(lower_port) << 16 | u64::from(higher_port));
            }
        }
    }
}

impl FlowKey {
    /// Between two ends; IPv4 addresses mapped into IPv6 are taken as what they are.
    pub fn between(protocol: Protocol, one: SocketAddr, other: SocketAddr) -> Self {
        let side = |end: SocketAddr| (end.ip().into(), end.port());
        Self::of(protocol, side(one), side(other))
    }

    #[inline(always)] // of each entry
    fn of(protocol: Protocol, one: SocketAddress, other: SocketAddress) -> Self {
        let ends = if one.0.is_ipv4() && other.0.is_ipv4() {
            let packed = |(address, port): SocketAddress| {
                u64::from(address.bits() as u32) << 16 | u64::from(port)
            };
            let (one, other) = (packed(one), packed(other));
            FlowEnds::V4([one.min(other), one.max(other)])
        } else {
            FlowEnds::V6([one.min(other), one.max(other)])
        };
        Self { protocol, ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_belongs_to_the_class_of_its_name() {
        for (state, name) in TcpState::ALL {
            let class = match state {
                TcpState::SynSent2 => "SYN_SENT",
                TcpState::None => "other",
                _ => name,
            };
            let (_, found) = Class::ALL[state.class().index()];
            assert_eq!(found, class, "{name}");
        }
    }
}
