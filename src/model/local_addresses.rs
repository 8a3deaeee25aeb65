//! The local addresses of this host.

use std::net::IpAddr;

use crate::model::address::Address;
use crate::model::conntrack::Entry;
use crate::model::prefix::Prefix;

/// The local addresses of this host (RTN_LOCAL, `ip route show table local`).
#[derive(Debug, Clone)]
pub struct LocalAddresses {
    /// Sorted, because a host in front of a cluster may hold thousands (kube-ipvs0 holds every service's). Without
    /// those of loopback, which are known without a search.
    addresses: Vec<Address>,
    /// The last six bits that occur among them: few other addresses have to be searched for.
    endings: u64,
    networks: Networks,
    /// Broadcast and anycast addresses, sorted.
    broadcasts: Vec<Address>,
}

impl LocalAddresses {
    /// Single addresses, and networks of which every address is local. 127.0.0.0/8 and ::1 always belong to them.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, networks: Vec<Prefix>) -> Self {
        let mut addresses = sorted(addresses);
        addresses.retain(|address| !address.is_loopback());
        Self {
            endings: addresses.iter().fold(0, |all, one| all | ending(*one)),
            addresses,
            networks: Networks::of(networks),
            broadcasts: sorted([IpAddr::from([255; 4])]),
        }
    }

    /// Adds the broadcast and anycast addresses; 255.255.255.255 is there already.
    #[must_use]
    pub fn with_broadcasts(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let before = self.broadcasts.into_iter().map(Address::ip);
        self.broadcasts = sorted(before.chain(addresses));
        self
    }

    /// True if this host has the address.
    #[inline(always)] // asked two or three times an entry, and mostly answered without a search
    pub fn contains(&self, address: Address) -> bool {
        address.is_loopback()
            || (self.endings & ending(address) != 0 && self.is_listed(address))
            || (!self.networks.0.is_empty() && self.networks.contain(address))
    }

    fn is_listed(&self, address: Address) -> bool {
        self.addresses.binary_search(&address).is_ok()
    }

    /// True if an address of this host other than those of the loopback networks stands in the entry.
    pub(crate) fn occurs_in(&self, entry: &Entry) -> bool {
        [entry.original, entry.reply]
            .iter()
            .flat_map(|tuple| [tuple.source, tuple.destination])
            .any(|address| self.contains(address) && !address.is_loopback())
    }

    /// True if this host takes in packets that others send to the address: local, broadcast, anycast, multicast.
    pub(crate) fn receives(&self, address: Address) -> bool {
        self.contains(address)
            || address.is_multicast()
            || self.broadcasts.binary_search(&address).is_ok()
    }
}

/// Networks by their lowest and highest addresses: sorted and apart, so that only one can hold an address, however many
/// there are.
#[derive(Debug, Clone)]
struct Networks(Vec<(Address, Address)>);

impl Networks {
    fn of(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        let mut networks = Self(Vec::new());
        for prefix in prefixes {
            networks.add(prefix.network().ends());
        }
        networks
    }

    /// Adds a network. Of two networks that share an address one lies within the other.
    fn add(&mut self, (first, last): (Address, Address)) {
        // every host has this one, and it is known without a search
        let loopback = first.is_loopback() && last.is_loopback();
        if !loopback && self.last_of(first).is_none_or(|other| other < last) {
            let begin = self.0.partition_point(|(other, _)| *other < first);
            let end = self.0.partition_point(|(other, _)| *other <= last);
            self.0.drain(begin..end);
            self.0.insert(begin, (first, last));
        }
    }

    /// The highest address of the network that begins at the address or next below it.
    fn last_of(&self, address: Address) -> Option<Address> {
        let above = self.0.partition_point(|(first, _)| *first <= address);
        let (_, last) = self.0.get(above.checked_sub(1)?)?;
        Some(*last)
    }

    fn contain(&self, address: Address) -> bool {
        self.last_of(address).is_some_and(|last| address <= last)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn networks_contain_what_one_of_their_prefixes_contains(
            prefixes in proptest::collection::vec((0..8_u32, 26..=32_u8), 0..8),
            address in 0..64_u32,
        ) {
            // within 192.0.2.0/26, so that many lie within each other
            let ip = |host: u32| IpAddr::V4((0xc000_0200 + host).into());
            let prefixes: Vec<Prefix> = prefixes
                .iter()
                .map(|(eighth, length)| Prefix::new(ip(eighth * 8), *length))
                .collect();
            let expected = prefixes.iter().any(|prefix| prefix.contains(ip(address)));
            let networks = Networks::of(prefixes);
            prop_assert_eq!(networks.contain(ip(address).into()), expected);
            prop_assert!(networks.0.is_sorted_by(|(_, last), (first, _)| last < first));
        }
    }
}
