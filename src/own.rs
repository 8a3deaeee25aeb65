//! Whose an address is, this host's or another's, and so which way an entry goes.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::address::Address;
use crate::entry::{Entry, Side};
use crate::text::clean;

/// Bits of an address, and bits before them in [`Address`].
fn width(address: IpAddr) -> (u8, u8) {
    match address {
        IpAddr::V4(_) => (32, 96),
        IpAddr::V6(_) => (128, 0),
    }
}

/// The network part of an [`Address`], for a prefix length of the address's own family.
fn mask(address: IpAddr, length: u8) -> u128 {
    let (bits, before) = width(address);
    let host = 128 - u32::from(before + length.min(bits));
    u128::MAX.checked_shl(host).unwrap_or_default()
}

/// A network, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Reads `ADDR[/LEN]`. Host bits may be set, as in the output of `ip address`; without LEN it is one address.
    ///
    /// # Errors
    /// See [`PrefixError`].
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let parsed: IpAddr = address.parse().map_err(|_| PrefixError::NotAnAddress {
            found: address.to_owned(),
        })?;
        let longest = width(parsed).0;
        let length = match length {
            Some(length) => parse_length(length, longest)?,
            None => longest,
        };
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8
        let plain = parsed.to_canonical();
        match longest - width(plain).0 {
            mapped if length >= mapped => Ok(Self {
                address: Network::new(plain, length - mapped).address().ip(),
                length: length - mapped,
            }),
            _ => Err(PrefixError::NotAnAddress {
                found: text.to_owned(),
            }),
        }
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network().contains(address.into())
    }

    fn network(&self) -> Network {
        Network::new(self.address, self.length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == width(self.address).0 {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

/// A prefix made ready for comparing.
#[derive(Debug, Clone, Copy)]
struct Network {
    bits: u128,
    mask: u128,
}

impl Network {
    fn new(address: IpAddr, length: u8) -> Self {
        let mask = mask(address, length);
        Self {
            bits: Address::from(address).bits() & mask,
            mask,
        }
    }

    fn address(self) -> Address {
        Address::from_bits(self.bits)
    }

    fn contains(self, address: Address) -> bool {
        address.bits() & self.mask == self.bits
    }
}

fn parse_length(text: &str, longest: u8) -> Result<u8, PrefixError> {
    let not_a_length = || PrefixError::NotALength {
        found: text.to_owned(),
        longest,
    };
    // u8's own parser takes a sign
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_a_length());
    }
    text.parse()
        .ok()
        .filter(|length| *length <= longest)
        .ok_or_else(not_a_length)
}

/// How `from` addresses are grouped: the prefix length for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregate {
    /// For IPv4, at most 32.
    v4: u8,
    /// For IPv6, at most 128.
    v6: u8,
}

impl Default for Aggregate {
    /// Single IPv4 addresses; IPv6 by the /64 that a single host may choose its addresses from.
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

impl Aggregate {
    /// Reads `V4,V6`.
    ///
    /// # Errors
    /// See [`PrefixError`].
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let (v4, v6) = text
            .split_once(',')
            .ok_or_else(|| PrefixError::NotTwoLengths {
                found: text.to_owned(),
            })?;
        Ok(Self {
            v4: parse_length(v4, 32)?,
            v6: parse_length(v6, 128)?,
        })
    }

    /// The network of an address; with the prefix length where that is not a single address.
    pub(crate) fn network(self, address: Address) -> (Address, Option<u8>) {
        let (length, bits) = if address.is_ipv4() {
            (self.v4, 32)
        } else {
            (self.v6, 128)
        };
        if length == bits {
            return (address, None);
        }
        let mask = u128::MAX.checked_shl(u32::from(bits - length));
        let network = address.bits() & mask.unwrap_or_default();
        (Address::from_bits(network), Some(length))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.v4, self.v6)
    }
}

/// Why a text is not a prefix or not the lengths to group by.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// Also a mapped IPv4 address with a length that takes in more than IPv4.
    #[error("{} is not an IPv4 or IPv6 address or prefix", shown(.found))]
    NotAnAddress {
        /// The text.
        found: String,
    },
    /// Anything but digits, or longer than the address.
    #[error("{} is not a prefix length from 0 to {longest}", shown(.found))]
    NotALength {
        /// The text.
        found: String,
        /// Bits of the address.
        longest: u8,
    },
    /// One number where there must be two.
    #[error("{} is not a prefix length for IPv4 and one for IPv6, as in 24,64", shown(.found))]
    NotTwoLengths {
        /// The text.
        found: String,
    },
}

/// Foreign text in a sentence, where an empty one would leave a hole.
fn shown(found: &str) -> String {
    let found = clean(found);
    if found.is_empty() {
        "an empty text".to_owned()
    } else {
        found
    }
}

/// The addresses that are this host's own.
#[derive(Debug, Clone)]
pub struct Own {
    /// Sorted, because a host in front of a cluster may hold thousands (kube-ipvs0 holds every service's).
    addresses: Vec<Address>,
    /// Which last six bits occur among them: few others have to be searched for.
    endings: u64,
    networks: Vec<Network>,
    /// What is received here besides, sorted.
    broadcasts: Vec<Address>,
    /// Multicast of both families.
    multicast: [Network; 2],
}

impl Own {
    /// The addresses of the interfaces, and the prefixes given by hand. 127.0.0.0/8 and ::1 always belong to them.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, prefixes: Vec<Prefix>) -> Self {
        let known = |address: [u16; 8], length| {
            Prefix {
                address: IpAddr::from(address).to_canonical(),
                length,
            }
            .network()
        };
        let loopback = [
            known([0, 0, 0, 0, 0, 0xffff, 0x7f00, 0], 8),
            known([0, 0, 0, 0, 0, 0, 0, 1], 128),
        ];
        let addresses = sorted(addresses);
        Self {
            endings: addresses.iter().fold(0, |all, one| all | ending(*one)),
            addresses,
            networks: loopback
                .into_iter()
                .chain(prefixes.iter().map(Prefix::network))
                .collect(),
            broadcasts: sorted([IpAddr::from([255; 4])]),
            multicast: [
                known([0, 0, 0, 0, 0, 0xffff, 0xe000, 0], 4),
                known([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
            ],
        }
    }

    /// Adds the broadcast addresses of the interfaces; 255.255.255.255 is there already.
    #[must_use]
    pub fn with_broadcasts(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let before = self.broadcasts.into_iter().map(Address::ip);
        self.broadcasts = sorted(before.chain(addresses));
        self
    }

    /// Whether this host has the address.
    pub fn contains(&self, address: Address) -> bool {
        (self.endings & ending(address) != 0 && self.addresses.binary_search(&address).is_ok())
            || self
                .networks
                .iter()
                .any(|network| network.contains(address))
    }

    /// Whether this host takes in what others send to the address: its own ones, broadcast, multicast.
    fn receives(&self, address: Address) -> bool {
        self.contains(address)
            || self.broadcasts.binary_search(&address).is_ok()
            || self
                .multicast
                .iter()
                .any(|network| network.contains(address))
    }

    /// Which way an entry goes. The original direction tells who dialled what, the source of the reply who answers.
    pub fn way(&self, entry: &Entry) -> Way {
        let (from, dialled) = (entry.original.source, entry.original.to());
        let answering = entry.reply.from();
        if self.contains(from) {
            if !self.contains(dialled.0) {
                Way::Out { to: dialled }
            } else if !self.contains(answering.0) {
                // a service address held here, whose backend is elsewhere
                Way::Out { to: answering }
            } else {
                Way::Local { to: dialled }
            }
        } else if self.receives(answering.0) {
            // dialled directly, or translated to here (DNAT, REDIRECT)
            Way::In { from }
        } else if dialled.0 != answering.0 && self.contains(dialled.0) {
            // a port of this router, forwarded to a host behind it
            Way::Forwarded {
                from,
                to: answering,
            }
        } else {
            Way::Forwarded { from, to: dialled }
        }
    }
}

/// One bit of 64, by the last six of an address.
fn ending(address: Address) -> u64 {
    1 << (address.bits() & 63)
}

fn sorted(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Address> {
    let mut sorted: Vec<Address> = addresses.into_iter().map(Address::from).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// Which way an entry goes, as this host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From here to elsewhere.
    Out,
    /// From elsewhere to here.
    In,
    /// Neither end is here.
    Forwarded,
    /// Both ends are here.
    Local,
}

impl Direction {
    /// Every direction, with the words of the text.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Out, "out"),
        (Self::In, "in"),
        (Self::Forwarded, "forwarded"),
        (Self::Local, "local"),
    ];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::ALL.iter().find(|(direction, _)| direction == self);
        f.write_str(known.map_or("", |(_, word)| word))
    }
}

/// The way of an entry and the endpoints it counts for. Ports mean nothing where the protocol has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From here to elsewhere.
    Out {
        /// What was dialled; where that is an address of this host, who answers.
        to: Side,
    },
    /// From elsewhere to here, also after DNAT or REDIRECT, and to all (broadcast, multicast).
    In {
        /// The client.
        from: Address,
    },
    /// Through this host.
    Forwarded {
        /// The client, before masquerading.
        from: Address,
        /// What was dialled; where that is an address of this host, who answers.
        to: Side,
    },
    /// From here to here.
    Local {
        /// What was dialled.
        to: Side,
    },
}

impl Way {
    /// Without the addresses.
    pub fn direction(self) -> Direction {
        match self {
            Self::Out { .. } => Direction::Out,
            Self::In { .. } => Direction::In,
            Self::Forwarded { .. } => Direction::Forwarded,
            Self::Local { .. } => Direction::Local,
        }
    }

    /// The client, where it is elsewhere.
    pub fn from(self) -> Option<Address> {
        match self {
            Self::In { from } | Self::Forwarded { from, .. } => Some(from),
            Self::Out { .. } | Self::Local { .. } => None,
        }
    }

    /// The destination, where it is more than one of this host's services.
    pub fn to(self) -> Option<Side> {
        match self {
            Self::Out { to } | Self::Forwarded { to, .. } | Self::Local { to } => Some(to),
            Self::In { .. } => None,
        }
    }

    /// The end of the entry that a socket of this host would be bound to. Of two, the one that was dialled: the other
    /// is mostly connected, and then found by its full tuple.
    pub(crate) fn here(self, entry: &Entry) -> Option<Side> {
        match self {
            Self::Out { .. } => Some(entry.original.from()),
            Self::In { .. } | Self::Local { .. } => Some(entry.reply.from()),
            Self::Forwarded { .. } => None,
        }
    }
}
