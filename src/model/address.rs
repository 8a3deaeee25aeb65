//! An address as one number, of which a table has four to an entry.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of either family. IPv4 takes its place in IPv6, `::ffff:0:0/96`, so that a mapped address, which is what
/// a dual-stack socket has, equals the plain one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u128);

impl Address {
    /// By its 128 bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its 128 bits.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// True if it is one of IPv4.
    pub const fn is_ipv4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// True if it is one of 127.0.0.0/8, or ::1.
    pub const fn is_loopback(self) -> bool {
        self.0 >> 24 == 0x00ff_ff7f || self.0 == 1
    }

    /// True if it is one of 224.0.0.0/4 or ff00::/8.
    pub const fn is_multicast(self) -> bool {
        self.0 >> 28 == 0x000f_fffe || self.0 >> 120 == 0xff
    }

    /// For printing; mapped ones come back as IPv4.
    pub fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self.0)).to_canonical()
    }
}

impl From<[u8; 4]> for Address {
    fn from(octets: [u8; 4]) -> Self {
        Self(0xffff << 32 | u128::from(u32::from_be_bytes(octets)))
    }
}

impl From<[u8; 16]> for Address {
    fn from(octets: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(octets))
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        address.octets().into()
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        address.octets().into()
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_multicast_are_what_the_standard_library_calls_so() {
        for text in [
            "126.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "128.0.0.0",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "223.255.255.255",
            "224.0.0.0",
            "239.255.255.255",
            "240.0.0.0",
            "feff::",
            "ff00::",
            "ff02::1",
            "2001:db8::1",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            let address = Address::from(ip);
            assert_eq!(address.is_loopback(), ip.is_loopback(), "{text}");
            assert_eq!(address.is_multicast(), ip.is_multicast(), "{text}");
        }
    }
}
