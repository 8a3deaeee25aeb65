//! Entries to endpoints: who holds how many, in which states, by which local socket.
//!
//! Two passes. [`Tally::add`] counts every entry for its endpoints and keeps 9 to 33 bytes of it. What only the endpoints
//! that are shown need, their states ([`Tally::top`]) and their sockets ([`Tally::match_sockets`]), is then looked up
//! in these remains, so that a table of nothing but different endpoints costs little more than any other.
//!
//! Far hosts choose what stands in the table, so everything is hashed with a random key; and nothing that is returned
//! depends on that key or on the order of the entries.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::{Entry as Slot, HashMap};
use std::hash::BuildHasher;

use crate::address::Address;
use crate::entry::{Class, Entry, Protocol};
use crate::own::{Aggregate, Direction, Own};
use crate::socket::LocalSocket;

mod endpoint;
mod matching;
mod remains;
mod scale;

use endpoint::Key;
pub use endpoint::{Endpoint, Peer, Service};
pub use matching::{Attribution, Holder, Matching, Unattributed};
use remains::{Place, Remains, Seen};
pub use scale::{Scale, half_width};

/// All entries of one endpoint.
#[derive(Debug, Clone, Copy)]
struct Group {
    count: u32,
    forwarded: u32,
}

/// The addresses in a group. Apart from its count, which every entry changes: few groups can have several.
#[derive(Debug, Clone, Copy)]
struct Members {
    first: [u8; 16],
    several: bool,
}

/// In place of the number of a group.
const NONE: u32 = u32::MAX;

/// Counts entries by endpoint, class and direction.
#[derive(Debug)]
pub struct Tally {
    own: Own,
    aggregate: Aggregate,
    /// From key to place in `groups`.
    numbers: HashMap<Key, u32, foldhash::fast::RandomState>,
    groups: Vec<Group>,
    /// Of the same groups.
    members: Vec<Members>,
    remains: Remains,
    /// Inbound entries by port and protocol dialled; there are only so many ports.
    services: HashMap<(u16, u8), u32, foldhash::fast::RandomState>,
    classes: [u64; Class::ALL.len()],
    directions: [u64; Direction::ALL.len()],
    unreplied: u64,
    evictable: u64,
    /// Takes the place of the tuples themselves, so it must not collide.
    hashes: foldhash::quality::RandomState,
}

impl Tally {
    /// An empty one.
    pub fn new(own: Own, aggregate: Aggregate) -> Self {
        Self {
            own,
            aggregate,
            numbers: HashMap::default(),
            groups: Vec::new(),
            members: Vec::new(),
            remains: Remains::default(),
            services: HashMap::default(),
            classes: [0; Class::ALL.len()],
            directions: [0; Direction::ALL.len()],
            unreplied: 0,
            evictable: 0,
            hashes: foldhash::quality::RandomState::default(),
        }
    }

    /// Counts an entry.
    pub fn add(&mut self, entry: &Entry) {
        let way = self.own.way(entry);
        let direction = way.direction();
        let class = entry.class();
        if let Some(count) = self.classes.get_mut(class.index()) {
            *count += 1;
        }
        if let Some(count) = self.directions.get_mut(direction as usize) {
            *count += 1;
        }
        self.unreplied += u64::from(!entry.replied);
        self.evictable += u64::from(entry.is_evictable());
        if direction == Direction::In {
            let port = if entry.protocol.has_ports() {
                entry.original.destination_port
            } else {
                0
            };
            let count = self.services.entry((port, entry.protocol.0)).or_default();
            *count = count.saturating_add(1);
        }

        let forwarded = direction == Direction::Forwarded;
        let from = way.from().map_or(NONE, |from| {
            let (key, may_be_several) = Key::from(from, self.aggregate);
            self.count(key, from, may_be_several, forwarded)
        });
        let to = way.to().map_or(NONE, |to| {
            let local = direction == Direction::Local;
            self.count(Key::to(to, entry.protocol, local), to.0, false, forwarded)
        });
        let sides = (class != Class::TimeWait).then(|| {
            let original = self.hashes.hash_one(entry.original_sides());
            if entry.is_translated() {
                [original, self.hashes.hash_one(entry.reply_sides())]
            } else {
                [original; 2]
            }
        });
        let here = way.here(entry);
        self.remains.push(&Seen {
            sides,
            groups: [from, to],
            class: class as u8,
            place: match here {
                Some((address, _)) if address.is_ipv4() => Place::HereV4,
                Some(_) => Place::HereV6,
                None => Place::Elsewhere,
            },
            udp: here
                .filter(|_| entry.protocol == Protocol::UDP)
                .map(|(address, port)| (self.address_hash(address), port)),
        });
    }

    /// Counts an entry for one endpoint; the number of its group.
    fn count(&mut self, key: Key, address: Address, may_be_several: bool, forwarded: bool) -> u32 {
        match self.numbers.entry(key) {
            Slot::Occupied(slot) => {
                let number = *slot.get();
                if let Some(group) = self.groups.get_mut(number as usize) {
                    group.count = group.count.saturating_add(1);
                    group.forwarded = group.forwarded.saturating_add(u32::from(forwarded));
                }
                let members = may_be_several.then(|| self.members.get_mut(number as usize));
                if let Some(members) = members.flatten() {
                    members.several |= members.first != address.bits().to_be_bytes();
                }
                number
            }
            Slot::Vacant(slot) => {
                // no memory holds that many groups
                let number = u32::try_from(self.groups.len()).unwrap_or(NONE);
                slot.insert(number);
                remains::push(
                    &mut self.groups,
                    Group {
                        count: 1,
                        forwarded: u32::from(forwarded),
                    },
                );
                remains::push(
                    &mut self.members,
                    Members {
                        first: address.bits().to_be_bytes(),
                        several: false,
                    },
                );
                number
            }
        }
    }

    /// Half a hash: enough to tell the few addresses of a host apart.
    fn address_hash(&self, address: Address) -> u32 {
        self.hashes.hash_one(address) as u32
    }

    /// Entries counted.
    pub fn read(&self) -> u64 {
        self.remains.len() as u64
    }

    /// Entries in each class, in the order of [`Class::ALL`].
    pub fn classes(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        let classes = Class::ALL.into_iter().map(|(class, _)| class);
        classes.zip(self.classes.iter().copied())
    }

    /// Entries in each direction, in the order of [`Direction::ALL`].
    pub fn directions(&self) -> impl Iterator<Item = (Direction, u64)> + '_ {
        let directions = Direction::ALL.into_iter().map(|(direction, _)| direction);
        directions.zip(self.directions.iter().copied())
    }

    /// Entries to which no packet came back yet.
    pub fn unreplied(&self) -> u64 {
        self.unreplied
    }

    /// Entries the kernel may evict.
    pub fn evictable(&self) -> u64 {
        self.evictable
    }

    /// The `n` services of this host that far clients hold most entries with, most first, then by port and protocol.
    pub fn services(&self, n: usize) -> Vec<Service> {
        let mut services: Vec<Service> = self
            .services
            .iter()
            .map(|((port, protocol), count)| Service {
                port: *port,
                protocol: Protocol(*protocol),
                entries: u64::from(*count),
            })
            .collect();
        services.sort_unstable_by_key(|service| {
            (Reverse(service.entries), service.port, service.protocol)
        });
        services.truncate(n);
        services
    }

    /// The `n` endpoints with most entries, most first, then by address, port, protocol and kind; a network of clients
    /// stands at its network address.
    pub fn top(&self, n: usize) -> Vec<Endpoint> {
        // the last of the best is on top, to be thrown out
        let mut best = BinaryHeap::new();
        for (key, number) in &self.numbers {
            let count = self
                .groups
                .get(*number as usize)
                .map_or(0, |group| group.count);
            let candidate = Reverse((count, Reverse(*key), *number));
            if best.len() < n {
                best.push(candidate);
            } else if let Some(mut last) = best.peek_mut() {
                if candidate < *last {
                    *last = candidate;
                }
            }
        }
        // ascending order of what is reversed: most first
        let best: Vec<(Key, u32)> = best
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse((_, Reverse(key), number))| (key, number))
            .collect();

        let shown = Shown::new(
            best.iter().map(|(_, number)| Some(*number)),
            self.groups.len(),
        );
        let mut splits = vec![[0_u64; Class::ALL.len()]; best.len()];
        for seen in self.remains.iter() {
            for slot in shown.slots(seen.groups) {
                let split = splits.get_mut(slot as usize);
                if let Some(count) = split.and_then(|split| split.get_mut(usize::from(seen.class)))
                {
                    *count += 1;
                }
            }
        }
        let endpoints = best.iter().zip(&splits);
        endpoints
            .filter_map(|((key, number), split)| self.endpoint(key, *number, split))
            .collect()
    }

    fn endpoint(&self, key: &Key, number: u32, split: &[u64]) -> Option<Endpoint> {
        let group = self.groups.get(number as usize)?;
        let members = self.members.get(number as usize)?;
        let mut classes: Vec<(Class, u64)> = Class::ALL
            .into_iter()
            .zip(split)
            .filter(|(_, count)| **count > 0)
            .map(|((class, _), count)| (class, *count))
            .collect();
        // stable: what is equal stays in the order of the contract
        classes.sort_by_key(|(_, count)| Reverse(*count));
        Some(Endpoint {
            peer: key.peer(members.first.into(), members.several, self.aggregate),
            entries: u64::from(group.count),
            share: f64::from(group.count) / self.remains.len() as f64,
            classes,
            forwarded: u64::from(group.forwarded) * 2 > u64::from(group.count),
        })
    }

    /// The number of an endpoint's group.
    fn number(&self, peer: &Peer) -> Option<u32> {
        let key = match *peer {
            Peer::To {
                address,
                protocol,
                local,
            } => Key::to((address.ip().into(), address.port()), protocol, local),
            Peer::From { address, .. } => Key::from(address.into(), self.aggregate).0,
        };
        self.numbers.get(&key).copied()
    }

    /// Finds the local sockets of endpoints from [`Tally::top`]: one result for each, in their order.
    ///
    /// A socket belongs to an entry when both have the same two ends, of the original direction (this end dialled) or
    /// of the reply (this end was dialled, perhaps under another address). A UDP entry without such a socket belongs to
    /// the unconnected one at its port and address, or at its port and any address; where several share these
    /// (SO_REUSEPORT), to the one with the lowest inode, because which of them the kernel chose cannot be known.
    pub fn match_sockets<'a>(
        &self,
        top: &[Endpoint],
        sockets: impl Iterator<Item = &'a LocalSocket>,
    ) -> Vec<Attribution> {
        let mut matching = self.matching(top);
        sockets.for_each(|socket| matching.add(socket));
        matching.finish()
    }

    /// The same for sockets that come one by one.
    pub fn matching(&self, top: &[Endpoint]) -> Matching<'_> {
        Matching::new(self, top)
    }
}

/// In place of a group's slot; more than any list is long.
const NOT_SHOWN: u8 = u8::MAX;

/// Which of the groups are shown, and where.
struct Shown(Vec<u8>);

impl Shown {
    /// No more than [`NOT_SHOWN`] groups; `all` is how many there are.
    fn new(groups: impl Iterator<Item = Option<u32>>, all: usize) -> Self {
        let mut slots = vec![NOT_SHOWN; all];
        for (group, slot) in groups.zip(0..NOT_SHOWN) {
            if let Some(place) = group.and_then(|group| slots.get_mut(group as usize)) {
                *place = slot;
            }
        }
        Self(slots)
    }

    /// Where the groups of an entry are shown.
    fn slots(&self, groups: [u32; 2]) -> impl Iterator<Item = u32> {
        groups.into_iter().filter_map(|group| {
            let slot = *self.0.get(group as usize)?;
            (slot != NOT_SHOWN).then_some(u32::from(slot))
        })
    }

    /// Whether one of them is.
    fn shows(&self, groups: [u32; 2]) -> bool {
        self.slots(groups).next().is_some()
    }
}
