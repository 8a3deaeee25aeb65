//! Which addresses are this host's, and so which way an entry goes.

use std::net::IpAddr;

use crate::analysis::traffic::Way;
use crate::model::address::Address;
use crate::model::conntrack::Entry;
use crate::model::prefix::{Network, Prefix};

/// How many networks are those of loopback addresses.
const LOOPBACK: usize = 2;

/// The addresses that are this host's own.
#[derive(Debug, Clone)]
pub struct Own {
    /// Sorted, because a host in front of a cluster may hold thousands (kube-ipvs0 holds every service's).
    addresses: Vec<Address>,
    /// Which last six bits occur among them: few others have to be searched for.
    endings: u64,
    /// The two of the loopback networks, then those given by hand.
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
            Prefix::new(IpAddr::from(address).to_canonical(), length).network()
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

    /// True if an address of this host other than those of the loopback networks stands in the entry.
    pub(crate) fn occurs_in(&self, entry: &Entry) -> bool {
        let loopback = self.networks.get(..LOOPBACK).unwrap_or_default();
        [entry.original, entry.reply]
            .iter()
            .flat_map(|tuple| [tuple.source, tuple.destination])
            .any(|address| {
                self.contains(address) && !loopback.iter().any(|network| network.contains(address))
            })
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
