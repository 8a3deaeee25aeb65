//! Groups of entries that are looked at more closely than others: endpoints, dialled ports, and the whole table.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::net::IpAddr;

use super::histogram::Histogram;
use super::packed_entries::{DialledPort, Kind};
use super::{EndpointId, NO_GROUP, NOT_SHOWN, Tally};
use crate::analysis::facts::{Pair, PairEnd, Port, Split};
use crate::analysis::traffic::Traffic;
use crate::model::address::Address;

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
    /// Entries to which no packet came back yet.
    pub unreplied: u64,
    /// Entries in TIME_WAIT that have an end here.
    pub ended: u64,
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
        let mut counting: Vec<GroupCount> = groups.iter().map(GroupCount::new).collect();
        for kind in self.packed.kinds() {
            for slot in &members.slots(kind.groups, kind.dialled) {
                if let Some(count) = counting.get_mut(usize::from(*slot)) {
                    count.add(&kind);
                }
            }
        }
        let counts = counting.into_iter().zip(groups);
        counts
            .map(|(count, group)| match group {
                Group::All => self.histogram.counted(),
                _ => self.counted(count, *group),
            })
            .collect()
    }

    /// Different endpoints of the entries, and those of them that are destinations.
    pub fn endpoints(&self) -> (u64, u64) {
        let destinations = self.numbers.keys().filter(|key| !key.is_client());
        (self.numbers.len() as u64, destinations.count() as u64)
    }

    fn counted(&self, count: GroupCount, group: Group) -> Counted {
        let mut counted = count.entries.counted();
        let ports = count.dialled_ports();
        let (others, more_others) = count.others.finish();
        let largest = others
            .iter()
            .max_by_key(|(other, entries)| (**entries, Reverse(**other)));
        if let Some((other, entries)) = largest {
            counted.largest = u64::from(*entries);
            if counted.largest * 2 > counted.split.entries {
                counted.pair = self.pair_end(*other, group).map(|other| Pair {
                    other,
                    entries: counted.largest,
                });
            }
        }
        counted.others = others.len() as u64;
        counted.more_others = more_others;
        counted.ports = ports;
        counted
    }

    /// The other end of a group, by its number.
    fn pair_end(&self, other: u32, group: Group) -> Option<PairEnd> {
        match group {
            // a client's other end is what it dials
            Group::Endpoint(EndpointId::From { .. }) if other & SERVICE != 0 => {
                let dialled = DialledPort(other & !SERVICE);
                Some(PairEnd::Service(dialled.as_port()))
            }
            _ => self.peer_of(other).map(PairEnd::Remote),
        }
    }

    /// The endpoint of a number.
    fn peer_of(&self, number: u32) -> Option<EndpointId> {
        let (key, _) = self.numbers.iter().find(|(_, known)| **known == number)?;
        self.peer(key, number)
    }
}

/// Marks the number of a service of this host among the other ends of a client: more groups than this no memory holds.
const SERVICE: u32 = 1 << 31;

/// The end of an entry that is counted as the other end of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherEnd {
    /// The source elsewhere.
    From,
    /// The destination elsewhere.
    To,
    /// The destination elsewhere, or the service of this host.
    Dialled,
}

/// The state of counting a group.
#[derive(Debug)]
struct GroupCount {
    end: OtherEnd,
    entries: Histogram,
    others: Others,
    /// The ports that a client dials, but for those of services that are among the other ends.
    ports: HashSet<u32, foldhash::fast::RandomState>,
}

impl GroupCount {
    fn new(group: &Group) -> Self {
        Self {
            end: match group {
                Group::Endpoint(EndpointId::To { .. }) | Group::Port(_, Traffic::Input) => {
                    OtherEnd::From
                }
                Group::Endpoint(EndpointId::From { .. }) => OtherEnd::Dialled,
                Group::All | Group::Port(..) | Group::Address(_) => OtherEnd::To,
            },
            entries: Histogram::default(),
            others: Others::default(),
            ports: HashSet::default(),
        }
    }

    fn add(&mut self, kind: &Kind) {
        self.entries.add(kind.profile);
        let [from, to] = kind.groups;
        let other = match self.end {
            OtherEnd::From => from,
            OtherEnd::Dialled if to == NO_GROUP => kind.dialled.service() | SERVICE,
            OtherEnd::To | OtherEnd::Dialled => to,
        };
        let is_counted = other != NO_GROUP && self.others.add(other);
        let is_service = is_counted && other & SERVICE != 0;
        if self.end == OtherEnd::Dialled && !is_service && self.ports.len() < MAX_OTHERS {
            self.ports.insert(kind.dialled.service() | SERVICE);
        }
    }

    /// Different ports that a client dials.
    fn dialled_ports(&self) -> u64 {
        let services = self.others.entries.keys().filter(|other| {
            let is_service = self.end == OtherEnd::Dialled && **other & SERVICE != 0;
            is_service && !self.ports.contains(*other)
        });
        (self.ports.len() + services.count()) as u64
    }
}

/// The entries of each other end of a group.
#[derive(Debug, Default)]
struct Others {
    entries: HashMap<u32, u32, foldhash::fast::RandomState>,
    /// True if there are more other ends than are counted.
    more: bool,
    /// The other end of the last entry, if it is counted. Most groups have one other end at most of their entries, and a
    /// search for it takes most of the time of an entry.
    last: Option<u32>,
    /// Entries of the last other end that are still to be added.
    repeated: u32,
}

impl Others {
    /// Counts an entry of another end; false if there are too many of them.
    fn add(&mut self, other: u32) -> bool {
        if self.last == Some(other) {
            self.repeated = self.repeated.saturating_add(1);
            return true;
        }
        if self.repeated > 0 {
            self.add_repeated();
        }
        self.last = Some(other);
        if let Some(entries) = self.entries.get_mut(&other) {
            *entries = entries.saturating_add(1);
        } else if self.entries.len() < MAX_OTHERS {
            self.entries.insert(other, 1);
        } else {
            self.more = true;
            self.last = None;
        }
        self.last.is_some()
    }

    /// Adds the entries that repeated the last other end.
    fn add_repeated(&mut self) {
        let repeated = mem::take(&mut self.repeated);
        if let Some(entries) = self.last.and_then(|last| self.entries.get_mut(&last)) {
            *entries = entries.saturating_add(repeated);
        }
    }

    /// The entries of each other end, and whether there are more other ends.
    fn finish(mut self) -> (HashMap<u32, u32, foldhash::fast::RandomState>, bool) {
        self.add_repeated();
        (self.entries, self.more)
    }
}

/// The groups of a list that an entry belongs to, by their places in the list.
pub(super) struct Membership {
    /// For each numbered endpoint its own group, and the group of its far address.
    of_number: Vec<[u8; 2]>,
    /// Few, so a search takes less time than a hash.
    ports: Vec<(DialledPort, u8)>,
}

impl Membership {
    /// Groups from the place [`NOT_SHOWN`] on have no entries.
    pub(super) fn new<'g>(tally: &Tally, groups: impl IntoIterator<Item = &'g Group>) -> Self {
        let mut membership = Self {
            of_number: vec![[NOT_SHOWN; 2]; tally.members.len()],
            ports: Vec::new(),
        };
        for (group, slot) in groups.into_iter().zip(0..NOT_SHOWN) {
            match group {
                Group::All => {}
                Group::Endpoint(peer) => {
                    if let Some([endpoint, _]) = membership.of(tally.number(peer)) {
                        *endpoint = slot;
                    }
                }
                Group::Port(port, traffic) => {
                    let dialled = DialledPort::new(port.protocol, port.number, *traffic);
                    membership.ports.push((dialled, slot));
                }
                Group::Address(address) => {
                    for number in tally.numbers_of(*address) {
                        if let Some([_, far]) = membership.of(Some(number)) {
                            *far = slot;
                        }
                    }
                }
            }
        }
        membership
    }

    fn of(&mut self, number: Option<u32>) -> Option<&mut [u8; 2]> {
        self.of_number.get_mut(number? as usize)
    }

    /// The places of the groups of an entry, without [`Group::All`]; [`NOT_SHOWN`] for those that it has not.
    #[inline]
    pub(super) fn slots(&self, groups: [u32; 2], dialled: DialledPort) -> [u8; 4] {
        let of = |number: u32| {
            let slots = self.of_number.get(number as usize).copied();
            slots.unwrap_or([NOT_SHOWN; 2])
        };
        let [from, to] = groups;
        let ([from, _], [to, far]) = (of(from), of(to));
        let port = self.ports.iter().find(|(port, _)| *port == dialled);
        let port = port.map_or(NOT_SHOWN, |(_, slot)| *slot);
        [from, to, port, far]
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
    fn numbers_of(&self, address: IpAddr) -> impl Iterator<Item = u32> + '_ {
        let wanted = (Address::from(address), false);
        self.numbers
            .iter()
            .filter(move |(key, _)| !key.is_client() && key.destination() == wanted)
            .map(|(_, number)| *number)
    }
}
