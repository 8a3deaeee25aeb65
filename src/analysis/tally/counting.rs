//! The first pass: every entry, one after the other.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::RangeInclusive;

use super::endpoint::GroupKey;
use super::histogram::{Histogram, Profile};
use super::packed_entries::{self, DialledPort, PackedEntries, PackedEntry, SocketHome, UdpEnd};
use super::port_use::PortUses;
use super::source_ports::SourcePorts;
use super::{Members, NO_GROUP, Tally};
use crate::analysis::listening::Listening;
use crate::analysis::traffic::{EntryTraffic, Traffic};
use crate::model::address::Address;
use crate::model::conntrack::{Class, Entry, Protocol, SocketAddress};
use crate::model::local_addresses::LocalAddresses;
use crate::model::prefix::Aggregate;

/// Counts entries.
#[derive(Debug)]
pub struct Counting {
    own: LocalAddresses,
    /// The sockets of this host that wait for connections.
    listening: Option<Listening>,
    /// The source ports of this host, if the sockets that wait are not known.
    source_ports: Option<SourcePorts>,
    /// True if an address of this host is still looked for.
    seeks_own: bool,
    tally: Tally,
    /// Endpoints whose groups are still to be found. While the kernel writes its next answer it pushes the groups out
    /// of the nearest caches, and looking for several in a row makes their ways back overlap: one alone takes a sixth
    /// of what an entry costs.
    waiting: Vec<Waiting>,
}

/// An endpoint of an entry.
#[derive(Debug)]
struct Waiting {
    key: GroupKey,
    address: Address,
    /// True if its group may have other addresses.
    may_be_several: bool,
    /// The place of the entry in the remains.
    entry: usize,
    /// The place of the endpoint among the groups of the entry.
    side: usize,
}

/// `from` and `to` among the groups of an entry.
const FROM: usize = 0;
const TO: usize = 1;

/// So many wait: more than a processor has under way at once, and few enough for the nearest cache.
const WAITING: usize = 64;

impl Counting {
    /// Creates an empty count.
    pub fn new(own: LocalAddresses, aggregate: Aggregate) -> Self {
        Self {
            own,
            listening: None,
            source_ports: None,
            seeks_own: false,
            tally: Tally {
                aggregate,
                numbers: HashMap::default(),
                members: Vec::new(),
                packed: PackedEntries::default(),
                histogram: Histogram::default(),
                evictable: 0,
                port_uses: PortUses::default(),
                knows_own: false,
                hashes: foldhash::quality::RandomState::default(),
            },
            waiting: Vec::with_capacity(WAITING + 1),
        }
    }

    /// Takes an entry that was picked up in mid-stream for one that the far side opened, if its original source is a
    /// socket that listens.
    #[must_use]
    pub fn with_listening(mut self, listening: Listening) -> Self {
        self.listening = Some(listening);
        self
    }

    /// Does the same by the source ports of all entries, if the sockets that listen are not known.
    #[must_use]
    pub fn by_source_ports(mut self) -> Self {
        self.source_ports = Some(SourcePorts::default());
        self
    }

    /// Takes the range of the source ports of local sockets.
    #[must_use]
    pub fn with_local_ports(mut self, range: RangeInclusive<u16>) -> Self {
        self.tally.port_uses.set_local(range);
        self
    }

    /// Looks for an address of this host in the entries, which may be those of another host.
    #[must_use]
    pub fn of_a_capture(mut self) -> Self {
        self.seeks_own = true;
        self.by_source_ports()
    }

    /// Makes room for this number of entries; more or fewer may come.
    #[must_use]
    pub fn with_room_for(mut self, entries: usize) -> Self {
        self.tally.packed.reserve(entries);
        self
    }

    /// Counts an entry.
    pub fn add(&mut self, entry: &Entry) {
        if let Some(listening) = &self.listening {
            if listening.is_reversed(entry, &self.own) {
                // the reversed entry does not begin at a socket that listens
                return self.add(&entry.reversed());
            }
        }
        if self.seeks_own {
            self.seek_own(entry);
        }
        let tally = &mut self.tally;
        let way = EntryTraffic::of(entry, &self.own);
        let traffic = way.traffic();
        let class = entry.class();
        let profile = Profile::new(class as u8, traffic as u8, !entry.replied);
        tally.histogram.add(profile);
        tally.evictable += u64::from(entry.is_evictable());
        tally.port_uses.add(entry, traffic);
        let sides = (class != Class::TimeWait).then(|| {
            let original = tally.flow_hash(entry.original_flow());
            if entry.is_translated() {
                [original, tally.flow_hash(entry.reply_flow())]
            } else {
                [original; 2]
            }
        });
        let place = tally.packed.len();
        let mut groups = [NO_GROUP; 2];
        if let (Some(ports), Traffic::Output | Traffic::Local) = (&mut self.source_ports, traffic) {
            groups = ports.note(entry);
        }
        let (from, to) = (way.from(), way.to());
        let dialled_port = to.map_or(entry.original.destination_port, |(_, port)| port);
        let here = (entry.protocol == Protocol::UDP).then(|| way.here(entry));
        tally.packed.push(&PackedEntry {
            sides,
            groups,
            class: class as u8,
            place: match traffic {
                Traffic::Forward => SocketHome::Elsewhere,
                // all addresses of an entry are of one family
                _ if entry.original.source.is_ipv4() => SocketHome::HereV4,
                _ => SocketHome::HereV6,
            },
            unreplied: !entry.replied,
            dialled: DialledPort::new(entry.protocol, dialled_port, traffic),
            udp: here.flatten().map(|(address, port)| UdpEnd {
                address: tally.address_hash(address),
                port,
                left: entry.timeout.unwrap_or(u16::MAX),
            }),
        });

        if let Some(address) = from {
            let (key, may_be_several) = GroupKey::from(address, tally.aggregate);
            self.waiting.push(Waiting {
                key,
                address,
                may_be_several,
                entry: place,
                side: FROM,
            });
        }
        if let Some(to) = to {
            self.waiting.push(Waiting {
                key: GroupKey::to(to, entry.protocol, traffic == Traffic::Local),
                address: to.0,
                may_be_several: false,
                entry: place,
                side: TO,
            });
        }
        if self.waiting.len() >= WAITING {
            self.find_groups();
        }
    }

    #[cold]
    fn seek_own(&mut self, entry: &Entry) {
        self.tally.knows_own = self.own.occurs_in(entry);
        self.seeks_own = !self.tally.knows_own;
    }

    /// Finds the groups of those that wait.
    fn find_groups(&mut self) {
        // a destination often repeats, and a comparison takes a tenth of the time of a search
        let mut last: Option<(GroupKey, u32)> = None;
        for waiting in &self.waiting {
            let number = match last {
                Some((key, number)) if key == waiting.key && waiting.side == TO => number,
                _ => self.tally.number_of(waiting),
            };
            if waiting.side == TO {
                last = Some((waiting.key, number));
            }
            let group = self.tally.packed.group(waiting.entry, waiting.side);
            if let Some(group) = group {
                *group = number;
            }
        }
        self.waiting.clear();
    }

    /// Ends the counting.
    pub fn finish(mut self) -> Tally {
        self.find_groups();
        if let Some(source_ports) = self.source_ports {
            self.tally.turn_picked_up(&source_ports);
        }
        self.tally
    }
}

impl Tally {
    /// Takes the entries whose source port is that of a server for entries that their destination opened.
    fn turn_picked_up(&mut self, source_ports: &SourcePorts) {
        let servers = source_ports.servers();
        let mut keys = Vec::new();
        if !servers.is_empty() {
            keys = self
                .numbers
                .iter()
                .map(|(key, number)| (*number, *key))
                .collect();
            keys.sort_unstable();
        }
        for entry in 0..self.packed.len() {
            let group = |side| self.packed.all_groups().get(entry)?.get(side).copied();
            let Some(number) = group(FROM).and_then(SourcePorts::number) else {
                continue;
            };
            let server = servers.get(&number);
            let destination = group(TO).and_then(|number| keys.get(number as usize));
            let groups = match (server, destination) {
                (Some(server), Some((_, key))) => self.opened_by(entry, key, *server),
                _ => [NO_GROUP, group(TO).unwrap_or(NO_GROUP)],
            };
            for (side, number) in groups.into_iter().enumerate() {
                if let Some(group) = self.packed.group(entry, side) {
                    *group = number;
                }
            }
        }
    }

    /// The groups of an entry to a server of this host, which the destination of its original direction opened.
    fn opened_by(
        &mut self,
        entry: usize,
        key: &GroupKey,
        (server, protocol): (SocketAddress, Protocol),
    ) -> [u32; 2] {
        let (address, is_local) = key.destination();
        let (key, address, may_be_several) = if is_local {
            (GroupKey::to(server, protocol, true), server.0, false)
        } else {
            let (key, may_be_several) = GroupKey::from(address, self.aggregate);
            (key, address, may_be_several)
        };
        let number = self.number_of(&Waiting {
            key,
            address,
            may_be_several,
            entry: 0,
            side: FROM,
        });
        let traffic = if is_local {
            Traffic::Local
        } else {
            Traffic::Input
        };
        let dialled = DialledPort::new(protocol, server.1, traffic);
        if let Some([before, after]) = self.packed.dial(entry, dialled) {
            self.histogram.change(before, after);
        }
        if is_local {
            [NO_GROUP, number]
        } else {
            [number, NO_GROUP]
        }
    }

    /// The number of the group with this key, which is a new one where there is none yet.
    fn number_of(&mut self, waiting: &Waiting) -> u32 {
        let address = || waiting.address.bits().to_be_bytes();
        match self.numbers.entry(waiting.key) {
            Slot::Occupied(slot) => {
                let number = *slot.get();
                let members = waiting
                    .may_be_several
                    .then(|| self.members.get_mut(number as usize));
                if let Some(members) = members.flatten() {
                    members.several |= members.first != address();
                }
                number
            }
            Slot::Vacant(slot) => {
                // no memory holds that many groups
                let number = u32::try_from(self.members.len()).unwrap_or(NO_GROUP);
                slot.insert(number);
                packed_entries::push(
                    &mut self.members,
                    Members {
                        first: address(),
                        several: false,
                    },
                );
                number
            }
        }
    }
}
