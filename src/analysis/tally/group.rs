//! Groups of entries that are looked at more closely than others: endpoints, dialled ports, and the whole table.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::packed_entries::{DialledPort, PackedEntry};
use super::{EndpointId, NO_GROUP, NOT_SHOWN, Tally};
use crate::analysis::facts::{Pair, PairEnd, Port, Split};
use crate::analysis::traffic::Traffic;
use crate::model::address::Address;
use crate::model::conntrack::Class;

/// So many different other ends of a group are counted; more are "over" that many.
const MAX_OTHERS: usize = 32_768;

/// So many far addresses are looked at: one that is dialled at most of all ports comes among the first.
const MAX_ADDRESSES: usize = 4096;

/// A group of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Every entry.
    All,
    /// The entries of an endpoint.
    Endpoint(EndpointId),
    /// The entries that dial a port in one direction, whatever the address.
    Port(Port, Traffic),
    /// The entries that dial a far address, whatever the port.
    Address(IpAddr),
}

/// The counts of a group, in entries that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Classes and replies.
    pub split: Split,
    /// Entries in each direction, in the order of [`Traffic::ALL`].
    pub directions: [u64; Traffic::ALL.len()],
    /// Different far ends: the sources of a destination, the destinations of a client, either of a port.
    pub others: u64,
    /// True if there are more of them than were counted.
    pub more_others: bool,
    /// Different ports that were dialled.
    pub ports: u64,
    /// Entries of the far end that has most.
    pub largest: u64,
    /// The other end of more than half of the entries, if there is one.
    pub pair: Option<Pair>,
}

impl Counted {
    /// The direction of most entries.
    pub fn traffic(&self) -> Traffic {
        let all = Traffic::ALL.iter().zip(self.directions);
        all.max_by_key(|(_, entries)| *entries)
            .map_or(Traffic::Output, |((traffic, _), _)| *traffic)
    }
}

impl Tally {
    /// Counts what is asked of each group, in the order of the list.
    pub fn look_at(&self, groups: &[Group]) -> Vec<Counted> {
        let members = Membership::new(self, groups);
        let mut counting: Vec<GroupCount> = groups.iter().map(|_| GroupCount::default()).collect();
        for seen in self.packed.iter() {
            for slot in members.slots(&seen) {
                let place = usize::from(slot);
                if let (Some(count), Some(group)) = (counting.get_mut(place), groups.get(place)) {
                    count.add(&seen, *group);
                }
            }
        }
        counting
            .into_iter()
            .zip(groups)
            .map(|(count, group)| self.counted(count, *group))
            .collect()
    }

    /// The ports that are dialled most, each with its direction, most entries first; and how many different ports are
    /// dialled.
    pub fn dialled_ports(&self, n: usize) -> (Vec<(Port, Traffic, u64)>, u64) {
        let mut counts: HashMap<DialledPort, u64, foldhash::fast::RandomState> = HashMap::default();
        for seen in self.packed.iter() {
            *counts.entry(seen.dialled).or_default() += 1;
        }
        // a port that is dialled in two directions is one port
        let is_first = |dialled: &&DialledPort| {
            let all = Traffic::ALL.iter().map(|(traffic, _)| *traffic);
            let mut earlier = all.take_while(|traffic| *traffic != dialled.traffic());
            !earlier.any(|traffic| counts.contains_key(&dialled.in_direction(traffic)))
        };
        let different = counts.keys().filter(is_first).count() as u64;
        let mut sorted: Vec<(DialledPort, u64)> = counts.into_iter().collect();
        sorted.sort_unstable_by_key(|(dialled, entries)| (Reverse(*entries), *dialled));
        sorted.truncate(n);
        let port =
            |(dialled, entries): (DialledPort, u64)| (port_of(dialled), dialled.traffic(), entries);
        (sorted.into_iter().map(port).collect(), different)
    }

    /// Different endpoints of the entries, and those of them that are destinations.
    pub fn endpoints(&self) -> (u64, u64) {
        let destinations = self.numbers.keys().filter(|key| !key.is_client());
        (self.numbers.len() as u64, destinations.count() as u64)
    }

    fn counted(&self, count: GroupCount, group: Group) -> Counted {
        let largest = count
            .others
            .iter()
            .max_by_key(|(other, entries)| (**entries, Reverse(**other)));
        let is_most = |entries: u64| entries * 2 > count.split.entries;
        let pair = largest
            .filter(|(_, entries)| is_most(u64::from(**entries)))
            .and_then(|(other, entries)| {
                let other = match group {
                    // a client's other end is what it dials
                    Group::Endpoint(EndpointId::From { .. }) if other & SERVICE != 0 => {
                        PairEnd::Service(port_of(DialledPort(*other & !SERVICE)))
                    }
                    Group::All => return None,
                    _ => PairEnd::Remote(self.peer(*other)?),
                };
                Some(Pair {
                    other,
                    entries: u64::from(*entries),
                })
            });
        Counted {
            split: count.split,
            directions: count.directions,
            others: count.others.len() as u64,
            more_others: count.more_others,
            ports: count.ports.len() as u64,
            largest: largest.map_or(0, |(_, entries)| u64::from(*entries)),
            pair,
        }
    }

    /// The endpoint of a number.
    fn peer(&self, number: u32) -> Option<EndpointId> {
        let (key, _) = self.numbers.iter().find(|(_, known)| **known == number)?;
        let members = self.members.get(number as usize)?;
        Some(key.peer(members.first.into(), members.several, self.aggregate))
    }
}

fn port_of(dialled: DialledPort) -> Port {
    Port {
        number: dialled.port(),
        protocol: dialled.protocol(),
    }
}

/// Marks the number of a service of this host among the other ends of a client: more groups than this no memory holds.
const SERVICE: u32 = 1 << 31;

/// The state of counting a group.
#[derive(Debug, Default)]
struct GroupCount {
    split: Split,
    directions: [u64; Traffic::ALL.len()],
    /// Entries of each other end.
    others: HashMap<u32, u32, foldhash::fast::RandomState>,
    more_others: bool,
    ports: HashSet<u32, foldhash::fast::RandomState>,
}

impl GroupCount {
    fn add(&mut self, seen: &PackedEntry, group: Group) {
        let traffic = seen.dialled.traffic();
        self.split.entries += 1;
        if let Some(class) = self.split.classes.get_mut(usize::from(seen.class)) {
            *class += 1;
        }
        let is = |class: Class| usize::from(seen.class) == class.index();
        if is(Class::SynSent) || (seen.unreplied && !is(Class::Established)) {
            self.split.unanswered += 1;
        } else if seen.unreplied {
            self.split.one_sided += 1;
        }
        if let Some(entries) = self.directions.get_mut(traffic as usize) {
            *entries += 1;
        }
        let [from, to] = seen.groups;
        let other = match group {
            Group::All => NO_GROUP,
            Group::Endpoint(EndpointId::To { .. }) => from,
            Group::Endpoint(EndpointId::From { .. }) if to == NO_GROUP => {
                seen.dialled.service() | SERVICE
            }
            Group::Port(_, Traffic::Input) => from,
            Group::Endpoint(EndpointId::From { .. }) | Group::Port(..) | Group::Address(_) => to,
        };
        if other != NO_GROUP {
            if let Some(entries) = self.others.get_mut(&other) {
                *entries = entries.saturating_add(1);
            } else if self.others.len() < MAX_OTHERS {
                self.others.insert(other, 1);
            } else {
                self.more_others = true;
            }
        }
        if group != Group::All && self.ports.len() < MAX_OTHERS {
            self.ports.insert(seen.dialled.service());
        }
    }
}

/// The slot of each numbered endpoint.
pub(super) struct Slots(Vec<u8>);

impl Slots {
    /// No more than [`NOT_SHOWN`] slots; `all` is how many endpoints there are.
    pub(super) fn new(groups: impl Iterator<Item = Option<u32>>, all: usize) -> Self {
        let mut slots = vec![NOT_SHOWN; all];
        for (group, slot) in groups.zip(0..NOT_SHOWN) {
            if let Some(place) = group.and_then(|group| slots.get_mut(group as usize)) {
                *place = slot;
            }
        }
        Self(slots)
    }

    /// The slots of the endpoints of an entry; [`NOT_SHOWN`] for one that has none.
    pub(super) fn of(&self, groups: [u32; 2]) -> [u8; 2] {
        groups.map(|group| self.0.get(group as usize).copied().unwrap_or(NOT_SHOWN))
    }
}

/// The groups of a list that an entry belongs to.
pub(super) struct Membership {
    endpoints: Slots,
    ports: HashMap<DialledPort, u8, foldhash::fast::RandomState>,
    /// The numbered endpoints of one far address, and its slot.
    of_address: (HashSet<u32, foldhash::fast::RandomState>, u8),
    all: u8,
}

impl Membership {
    pub(super) fn new(tally: &Tally, groups: &[Group]) -> Self {
        let endpoint = |group: &Group| match group {
            Group::Endpoint(peer) => tally.number(peer),
            Group::All | Group::Port(..) | Group::Address(_) => None,
        };
        let slots = || groups.iter().zip(0..NOT_SHOWN);
        Self {
            endpoints: Slots::new(groups.iter().map(endpoint), tally.members.len()),
            ports: slots()
                .filter_map(|(group, slot)| match group {
                    Group::Port(port, traffic) => {
                        let dialled = DialledPort::new(port.protocol, port.number, *traffic);
                        Some((dialled, slot))
                    }
                    Group::All | Group::Endpoint(_) | Group::Address(_) => None,
                })
                .collect(),
            of_address: slots()
                .find_map(|(group, slot)| match group {
                    Group::Address(address) => Some((tally.numbers_of(*address), slot)),
                    _ => None,
                })
                .unwrap_or((HashSet::default(), NOT_SHOWN)),
            all: slots()
                .find(|(group, _)| **group == Group::All)
                .map_or(NOT_SHOWN, |(_, slot)| slot),
        }
    }

    /// The slots of the groups of an entry.
    pub(super) fn slots(&self, seen: &PackedEntry) -> impl Iterator<Item = u8> + use<> {
        let [from, to] = self.endpoints.of(seen.groups);
        let port = if self.ports.is_empty() {
            NOT_SHOWN
        } else {
            self.ports.get(&seen.dialled).copied().unwrap_or(NOT_SHOWN)
        };
        let (numbers, slot) = &self.of_address;
        let of_address = if *slot != NOT_SHOWN && numbers.contains(&seen.groups[1]) {
            *slot
        } else {
            NOT_SHOWN
        };
        [from, to, port, of_address, self.all]
            .into_iter()
            .filter(|slot| *slot != NOT_SHOWN)
    }
}

impl Tally {
    /// The far address that is dialled at most different ports, and how many these are.
    pub fn most_swept(&self) -> Option<(IpAddr, u64)> {
        let mut ports: HashMap<Address, u64, foldhash::fast::RandomState> = HashMap::default();
        for key in self.numbers.keys() {
            let (address, is_local) = key.destination();
            if key.is_client() || is_local {
                continue;
            }
            if let Some(ports) = ports.get_mut(&address) {
                *ports += 1;
            } else if ports.len() < MAX_ADDRESSES {
                ports.insert(address, 1);
            }
        }
        let most = ports
            .into_iter()
            .max_by_key(|(address, ports)| (*ports, *address))?;
        Some((most.0.ip(), most.1))
    }

    /// The numbers of the destinations at a far address.
    fn numbers_of(&self, address: IpAddr) -> HashSet<u32, foldhash::fast::RandomState> {
        let wanted = (Address::from(address), false);
        self.numbers
            .iter()
            .filter(|(key, _)| !key.is_client() && key.destination() == wanted)
            .map(|(_, number)| *number)
            .collect()
    }
}
