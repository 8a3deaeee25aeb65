//! The first pass: every entry, one after the other.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::BuildHasher;

use super::endpoint::Key;
use super::profiles::Profiles;
use super::remains::{self, Place, Remains, Seen, UdpEnd};
use super::services::Services;
use super::{Members, NONE, Tally};
use crate::analysis::local_addresses::Own;
use crate::analysis::traffic::Direction;
use crate::model::address::Address;
use crate::model::conntrack::{Class, Entry, Protocol};
use crate::model::prefix::Aggregate;

/// Counts entries.
#[derive(Debug)]
pub struct Counting {
    own: Own,
    tally: Tally,
    /// Endpoints whose groups are still to be found. While the kernel writes its next answer it pushes the groups out
    /// of the nearest caches, and looking for several in a row makes their ways back overlap: one alone takes a sixth
    /// of what an entry costs.
    waiting: Vec<Waiting>,
}

/// An endpoint of an entry.
#[derive(Debug)]
struct Waiting {
    key: Key,
    address: Address,
    /// Whether its group may have other addresses.
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
    /// Of nothing yet.
    pub fn new(own: Own, aggregate: Aggregate) -> Self {
        Self {
            own,
            tally: Tally {
                aggregate,
                numbers: HashMap::default(),
                members: Vec::new(),
                remains: Remains::default(),
                services: Services::default(),
                profiles: Profiles::default(),
                hashes: foldhash::quality::RandomState::default(),
            },
            waiting: Vec::with_capacity(WAITING + 1),
        }
    }

    /// Counts an entry.
    pub fn add(&mut self, entry: &Entry) {
        let tally = &mut self.tally;
        let way = self.own.way(entry);
        let direction = way.direction();
        let class = entry.class();
        tally.profiles.add(entry, class, direction);
        if direction == Direction::In {
            let port = entry.original.destination_port;
            tally.services.add(entry.protocol, port);
        }

        let sides = (class != Class::TimeWait).then(|| {
            let original = tally.hashes.hash_one(entry.original_sides());
            if entry.is_translated() {
                [original, tally.hashes.hash_one(entry.reply_sides())]
            } else {
                [original; 2]
            }
        });
        let here = way.here(entry);
        let place = tally.remains.len();
        tally.remains.push(&Seen {
            sides,
            groups: [NONE; 2],
            class: class as u8,
            place: match here {
                Some((address, _)) if address.is_ipv4() => Place::HereV4,
                Some(_) => Place::HereV6,
                None => Place::Elsewhere,
            },
            unreplied: !entry.replied,
            udp: here
                .filter(|_| entry.protocol == Protocol::UDP)
                .map(|(address, port)| UdpEnd {
                    address: tally.address_hash(address),
                    port,
                    left: entry.timeout.unwrap_or(u16::MAX),
                }),
        });

        if let Some(address) = way.from() {
            let (key, may_be_several) = Key::from(address, tally.aggregate);
            self.waiting.push(Waiting {
                key,
                address,
                may_be_several,
                entry: place,
                side: FROM,
            });
        }
        if let Some(to) = way.to() {
            self.waiting.push(Waiting {
                key: Key::to(to, entry.protocol, direction == Direction::Local),
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

    /// Finds the groups of those that wait.
    fn find_groups(&mut self) {
        for waiting in self.waiting.drain(..) {
            let number = self.tally.number_of(&waiting);
            let group = self.tally.remains.group(waiting.entry, waiting.side);
            if let Some(group) = group {
                *group = number;
            }
        }
    }

    /// What it comes to.
    pub fn finish(mut self) -> Tally {
        self.find_groups();
        self.tally
    }
}

impl Tally {
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
                let number = u32::try_from(self.members.len()).unwrap_or(NONE);
                slot.insert(number);
                remains::push(
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
