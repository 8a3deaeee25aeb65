//! Endpoints and services: what they are found by, and what they are called.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::model::address::Address;
use crate::model::conntrack::{Class, Protocol, SocketAddress};
use crate::model::prefix::Aggregate;

/// The key of a group. Ordered as endpoints with equally many entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupKey {
    /// IPv4 in its place in IPv6; of a `from`, the network.
    address: [u8; 16],
    /// The port in the upper half, then the protocol and the kind: keys are compared once or twice for each entry.
    service: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    To,
    Local,
    From,
}

impl Hash for GroupKey {
    /// Two writes instead of one for each byte: half the time of counting is hashing.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.address));
        state.write_u32(self.service);
    }
}

impl GroupKey {
    fn new(address: Address, port: u16, protocol: u8, kind: Kind) -> Self {
        Self {
            address: address.bits().to_be_bytes(),
            service: u32::from(port) << 16 | u32::from(protocol) << 8 | kind as u32,
        }
    }

    pub(super) fn to((address, port): SocketAddress, protocol: Protocol, local: bool) -> Self {
        let port = if protocol.has_ports() { port } else { 0 };
        let kind = if local { Kind::Local } else { Kind::To };
        Self::new(address, port, protocol.0, kind)
    }

    /// The network of a client, and whether others may be in it.
    #[inline(always)] // of each entry
    pub(super) fn from(address: Address, aggregate: Aggregate) -> (Self, bool) {
        let (network, length) = aggregate.network(address);
        (Self::new(network, 0, 0, Kind::From), length.is_some())
    }

    fn kind(&self) -> Kind {
        match self.service as u8 {
            0 => Kind::To,
            1 => Kind::Local,
            _ => Kind::From,
        }
    }

    /// True if it is a client or a network of clients.
    pub(super) fn is_client(&self) -> bool {
        self.kind() == Kind::From
    }

    /// The address of a destination, and whether it is on this host.
    pub(super) fn destination(&self) -> (Address, bool) {
        (Address::from(self.address), self.kind() == Kind::Local)
    }

    /// The endpoint, given the first address of its group and whether there are more.
    pub(super) fn peer(&self, first: Address, several: bool, aggregate: Aggregate) -> EndpointId {
        match self.kind() {
            Kind::From if several => EndpointId::From {
                address: Address::from(self.address).ip(),
                length: aggregate.network(first).1,
            },
            Kind::From => EndpointId::From {
                address: first.ip(),
                length: None,
            },
            Kind::To | Kind::Local => EndpointId::To {
                address: SocketAddr::new(first.ip(), (self.service >> 16) as u16),
                protocol: Protocol((self.service >> 8) as u8),
                local: self.kind() == Kind::Local,
            },
        }
    }
}

/// The identity of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointId {
    /// Connections to a service.
    To {
        /// Its address and port; the port means nothing where the protocol has none.
        address: SocketAddr,
        /// Its protocol.
        protocol: Protocol,
        /// It is on this host, and so is the client.
        local: bool,
    },
    /// Connections from a client or a network of clients.
    From {
        /// The one address, or the network's.
        address: IpAddr,
        /// The prefix length, where the entries have more than one address.
        length: Option<u8>,
    },
}

impl EndpointId {
    /// The address elsewhere, unless the endpoint is a network of several addresses or a service within this host.
    pub fn single_address(&self) -> Option<IpAddr> {
        match self {
            Self::To { local: true, .. } => None,
            Self::To { address, .. } => Some(address.ip()),
            Self::From {
                address,
                length: None,
            } => Some(*address),
            Self::From { .. } => None,
        }
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To {
                address,
                protocol,
                local,
            } => {
                if protocol.has_ports() {
                    write!(f, "to {address}/{protocol}")?;
                } else {
                    write!(f, "to {}/{protocol}", address.ip())?;
                }
                f.write_str(if *local { " local" } else { "" })
            }
            Self::From {
                address,
                length: Some(length),
            } => write!(f, "from {address}/{length}"),
            Self::From {
                address,
                length: None,
            } => write!(f, "from {address}"),
        }
    }
}

/// One line of the ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// The identity.
    pub peer: EndpointId,
    /// Entries, of those that were read.
    pub entries: u64,
    /// These in all entries read, from 0 to 1. A forwarded entry counts for two endpoints, so shares may add up to more.
    pub share: f64,
    /// The number of entries in each class, most first; without the classes that have none.
    pub classes: Vec<(Class, u64)>,
    /// Entries to which no packet came back yet.
    pub unreplied: u64,
    /// True if most of the entries pass through this host. A client may also connect to this host itself: what it
    /// mostly does is what to look into first.
    pub forwarded: bool,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.forwarded { " forwarded" } else { "" };
        write!(f, "{}{mark}", self.peer)
    }
}

/// A service of this host, by what clients dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalService {
    /// Its port, before DNAT and REDIRECT; 0 where the protocol has none.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Entries, of those that were read.
    pub entries: u64,
}

impl fmt::Display for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol.has_ports() {
            write!(f, ":{}/{}", self.port, self.protocol)
        } else {
            write!(f, "{}", self.protocol)
        }
    }
}
