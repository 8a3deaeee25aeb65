//! Entries to endpoints: who holds how many, in which states, by which local socket.
//!
//! Two passes. [`Counting::add`] counts every entry for its endpoints and keeps 9 to 33 bytes of it. What only the endpoints
//! that are shown need, their states ([`Tally::top`]) and their sockets ([`Tally::match_sockets`]), is then looked up
//! in these remains, so that a table of nothing but different endpoints costs little more than any other.
//!
//! Far hosts choose what stands in the table, so everything is hashed with a random key; and nothing that is returned
//! depends on that key or on the order of the entries.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};

use crate::analysis::traffic::Traffic;
use crate::model::address::Address;
use crate::model::conntrack::{Class, FlowKey};
use crate::model::prefix::Aggregate;
use crate::model::socket::LocalSocket;
use crate::model::udp::UdpSettings;

mod attribution;
mod counting;
mod dialled_ports;
mod endpoint;
mod group;
mod histogram;
mod largest;
mod matching;
mod packed_entries;
mod port_use;
mod scale;
mod sockets;
mod source_ports;
mod udp;

pub use attribution::{Attribution, Fit, Holder, MAX_HOLDERS, Unattributed};
pub use counting::Counting;
pub use dialled_ports::DialledPorts;
use endpoint::GroupKey;
pub use endpoint::{Endpoint, EndpointId, LocalService};
pub use group::{Counted, Group};
use histogram::Histogram;
pub use largest::largest;
pub use matching::{Matched, Matching};
use packed_entries::PackedEntries;
pub use port_use::PortCount;
use port_use::PortUses;
pub use scale::Scale;

/// The addresses in a group.
#[derive(Debug, Clone, Copy)]
struct Members {
    first: [u8; 16],
    several: bool,
}

/// A mark of an end that belongs to no group.
const NO_GROUP: u32 = u32::MAX;

/// Entries by endpoint, class and direction.
#[derive(Debug)]
pub struct Tally {
    aggregate: Aggregate,
    /// From key to place in `members`, the number of the group.
    numbers: HashMap<GroupKey, u32, foldhash::fast::RandomState>,
    members: Vec<Members>,
    packed: PackedEntries,
    histogram: Histogram,
    /// Entries the kernel may evict.
    evictable: u64,
    port_uses: PortUses,
    /// True if an address of this host was seen; looked for in a capture only.
    knows_own: bool,
    /// Takes the place of the tuples themselves, so it must not collide.
    hashes: foldhash::quality::RandomState,
}

impl Tally {
    /// A hash of the two ends of a flow, by which entries and sockets find each other.
    #[inline(always)] // of each entry
    #[expect(
        clippy::manual_hash_one,
        reason = "a method of several callers is not inlined"
    )]
    fn flow_hash(&self, flow: FlowKey) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        flow.hash(&mut hasher);
        hasher.finish()
    }

    /// Half a hash: enough to tell the few addresses of a host apart.
    fn address_hash(&self, address: Address) -> u32 {
        self.hashes.hash_one(address) as u32
    }

    /// Entries counted.
    pub fn read(&self) -> u64 {
        self.packed.len() as u64
    }

    /// True if an address of the host occurs in the entries of a capture.
    pub fn knows_own(&self) -> bool {
        self.knows_own
    }

    /// Entries in each class, in the order of [`Class::ALL`].
    pub fn classes(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        let classes = Class::ALL.into_iter();
        classes.map(|(class, _)| (class, self.histogram.of_class(class)))
    }

    /// Entries in each direction, in the order of [`Traffic::ALL`].
    pub fn directions(&self) -> impl Iterator<Item = (Traffic, u64)> + '_ {
        let directions = Traffic::ALL.into_iter();
        directions.map(|(traffic, _)| (traffic, self.histogram.of_direction(traffic)))
    }

    /// Entries to which no packet came back yet.
    pub fn unreplied(&self) -> u64 {
        self.histogram.unreplied()
    }

    /// The pairs that use most source ports: of local sockets, and of translated connections.
    pub fn port_uses(&self) -> [Option<PortCount>; 2] {
        self.port_uses.largest()
    }

    /// The translated pair that uses nearly all of the few ports that a rule gives it.
    pub fn dense_ports(&self) -> Option<PortCount> {
        self.port_uses.dense()
    }

    /// Entries the kernel may evict.
    pub fn evictable(&self) -> u64 {
        self.evictable
    }

    /// The `n` endpoints with most entries, most first, then by address, port, protocol and kind; a network of clients
    /// stands at its network address.
    pub fn top(&self, n: usize) -> Vec<Endpoint> {
        let largest = self.largest_endpoints(n);
        let groups: Vec<Group> = largest.iter().copied().map(Group::Endpoint).collect();
        self.endpoints_of(&largest, &self.look_at(&groups))
    }

    /// Endpoints, given what was counted of the entries of each.
    pub fn endpoints_of(&self, peers: &[EndpointId], counted: &[Counted]) -> Vec<Endpoint> {
        let endpoints = peers.iter().zip(counted);
        endpoints
            .map(|(peer, counted)| self.endpoint(*peer, counted))
            .collect()
    }

    /// The identities of the `n` endpoints with most entries, in the order of [`Tally::top`].
    pub fn largest_endpoints(&self, n: usize) -> Vec<EndpointId> {
        let counts = self.counts();
        // the last of the best is on top, to be thrown out
        let mut best = BinaryHeap::new();
        for (key, number) in &self.numbers {
            let count = counts.get(*number as usize).copied().unwrap_or_default();
            let candidate = Reverse((count, Reverse(*key), *number));
            if count == 0 {
                // its entries turned out to be inbound
            } else if best.len() < n {
                best.push(candidate);
            } else if let Some(mut last) = best.peek_mut() {
                if candidate < *last {
                    *last = candidate;
                }
            }
        }
        // ascending order of what is reversed: most first
        let best = best.into_sorted_vec().into_iter();
        best.filter_map(|Reverse((_, Reverse(key), number))| self.peer(&key, number))
            .collect()
    }

    /// Entries of each group.
    fn counts(&self) -> Vec<u32> {
        self.counts_in(self.packed.all_groups().iter())
    }

    /// Entries of each group, of those that are given.
    fn counts_in<'a>(&self, entries: impl Iterator<Item = &'a [u32; 2]>) -> Vec<u32> {
        let mut counts = vec![0_u32; self.members.len()];
        for groups in entries {
            for group in groups {
                if let Some(count) = counts.get_mut(*group as usize) {
                    *count = count.saturating_add(1);
                }
            }
        }
        counts
    }

    fn endpoint(&self, peer: EndpointId, counted: &Counted) -> Endpoint {
        let entries = counted.split.entries;
        let [.., forwarded, _] = counted.directions;
        Endpoint {
            peer,
            entries,
            share: entries as f64 / self.packed.len() as f64,
            classes: counted.split.largest_first(),
            unreplied: counted.unreplied,
            forwarded: forwarded * 2 > entries,
        }
    }

    /// The endpoint of a group.
    fn peer(&self, key: &GroupKey, number: u32) -> Option<EndpointId> {
        let members = self.members.get(number as usize)?;
        Some(key.peer(members.first.into(), members.several, self.aggregate))
    }

    /// The number of an endpoint's group.
    fn number(&self, peer: &EndpointId) -> Option<u32> {
        let key = match *peer {
            EndpointId::To {
                address,
                protocol,
                local,
            } => GroupKey::to((address.ip().into(), address.port()), protocol, local),
            EndpointId::From { address, .. } => GroupKey::from(address.into(), self.aggregate).0,
        };
        self.numbers.get(&key).copied()
    }

    /// Finds the local sockets of endpoints from [`Tally::top`]: one result for each, in their order.
    ///
    /// A socket belongs to an entry when both have the same two ends, of the original direction (this end dialled) or
    /// of the reply (this end was dialled, perhaps under another address). A UDP entry without such a socket belongs to
    /// the unconnected one at its port and address, or at its port and any address. If several sockets of a user share
    /// these (SO_REUSEPORT) it belongs to the one with the lowest inode, because which of them the kernel chose cannot
    /// be known; if they are several users' it belongs to none. At a port that the kernel chose there have to be more
    /// such entries than chance gives.
    pub fn match_sockets<'a>(
        &self,
        top: &[Endpoint],
        sockets: impl Iterator<Item = &'a LocalSocket>,
    ) -> Vec<Attribution> {
        let mut matching = self.matching(top, UdpSettings::default());
        sockets.for_each(|socket| matching.add(socket));
        matching.finish().attributions(&[])
    }

    /// The same for sockets that come one by one.
    pub fn matching(&self, top: &[Endpoint], settings: UdpSettings) -> Matching<'_> {
        let groups = top.iter().map(|endpoint| Group::Endpoint(endpoint.peer));
        let groups: Vec<Group> = groups.collect();
        self.matching_of(&groups, &self.look_at(&groups), settings)
    }

    /// The same for any groups of entries, given what was counted of the entries of each.
    pub fn matching_of(
        &self,
        groups: &[Group],
        counted: &[Counted],
        settings: UdpSettings,
    ) -> Matching<'_> {
        let groups = groups.iter().copied().zip(counted);
        let groups = groups.map(|(group, counted)| (group, Unattributed::of(counted)));
        Matching::new(self, groups.collect(), settings)
    }
}

/// A mark of a group that is not in the list. No list is as long.
const NOT_SHOWN: u8 = u8::MAX;
