//! A network by its address and prefix length, and how addresses of clients are grouped.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::model::address::Address;
use crate::model::text::typed;

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
    /// The network of an address; `length` counts bits of the address's own family.
    pub(crate) const fn new(address: IpAddr, length: u8) -> Self {
        Self { address, length }
    }

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

    /// True if the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network().contains(address.into())
    }

    /// True if no more than one address lies in it.
    pub(crate) fn is_one_address(&self) -> bool {
        self.length >= width(self.address).0
    }

    pub(crate) fn network(&self) -> Network {
        Network::new(self.address, self.length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one_address() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

/// A prefix made ready for comparing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
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

    /// Its lowest and its highest address.
    pub(crate) fn ends(self) -> (Address, Address) {
        (self.address(), Address::from_bits(self.bits | !self.mask))
    }

    pub(crate) fn contains(self, address: Address) -> bool {
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

/// The networks by which `from` addresses are grouped: the prefix length for each family.
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
    #[inline]
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

/// The reason why a text is neither a prefix nor the lengths to group by.
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
    if found.is_empty() {
        "an empty text".to_owned()
    } else {
        typed(found)
    }
}
