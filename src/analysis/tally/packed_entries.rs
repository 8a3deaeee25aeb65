//! The part of each entry that is kept, packed: 13 bytes in TIME_WAIT, 21 of most others.

use super::histogram::Profile;
use crate::analysis::facts::Port;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::{Class, Protocol};

/// The part of an entry that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedEntry {
    /// Hashes of [`crate::model::conntrack::FlowKey`], so that a socket finds it: of the original, and of the reply, which is another
    /// where addresses are translated. None in TIME_WAIT: its connection is over, and no process holds a socket of it.
    pub(super) sides: Option<[u64; 2]>,
    /// The numbers of its groups or [`super::NO_GROUP`]: `from`, `to`.
    pub(super) groups: [u32; 2],
    /// Its place in [`crate::model::conntrack::Class::ALL`].
    pub(super) class: u8,
    /// The place of its socket.
    pub(super) place: SocketHome,
    /// True if no packet came back.
    pub(super) unreplied: bool,
    /// The destination, and the traffic.
    pub(super) dialled: DialledPort,
    /// For UDP the end where a socket would be here, if there is one.
    pub(super) udp: Option<UdpEnd>,
}

/// The dialled port with its protocol, and the direction of the entry: 16, 8 and 2 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DialledPort(pub(super) u32);

impl DialledPort {
    #[inline(always)] // of each entry
    pub(super) fn new(protocol: Protocol, port: u16, traffic: Traffic) -> Self {
        let port = if protocol.has_ports() { port } else { 0 };
        Self(u32::from(port) | u32::from(protocol.0) << 16 | (traffic as u32) << 24)
    }

    pub(super) fn port(self) -> u16 {
        self.0 as u16
    }

    pub(super) fn protocol(self) -> Protocol {
        Protocol((self.0 >> 16) as u8)
    }

    pub(super) fn traffic(self) -> Traffic {
        match self.0 >> 24 {
            0 => Traffic::Output,
            1 => Traffic::Input,
            2 => Traffic::Forward,
            _ => Traffic::Local,
        }
    }

    pub(super) fn as_port(self) -> Port {
        Port {
            number: self.port(),
            protocol: self.protocol(),
        }
    }

    /// The port and the protocol alone, as a number.
    pub(super) fn service(self) -> u32 {
        self.0 & 0x00ff_ffff
    }
}

/// The part of an entry by which it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The numbers of its groups or [`super::NO_GROUP`]: `from`, `to`.
    pub(super) groups: [u32; 2],
    /// The destination, and the traffic.
    pub(super) dialled: DialledPort,
    /// The class, the direction, and whether it was answered.
    pub(super) profile: Profile,
}

/// The end of an entry of UDP that is on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UdpEnd {
    /// A hash of the address.
    pub(super) address: u32,
    /// The port.
    pub(super) port: u16,
    /// Seconds until the entry expires; the highest number if that is not known.
    pub(super) left: u16,
}

/// The place of a socket of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketHome {
    /// On this host, bound to an IPv4 address.
    HereV4,
    /// On this host, bound to an IPv6 address.
    HereV6,
    /// On neither end that this host has.
    Elsewhere,
}

// A mark: the class in four bits, the place in two, and two more. An entry of UDP with a place here has a UDP end.
const CLASS: u8 = 0b1111;
const TIME_WAIT: u8 = Class::TimeWait as u8;
const HERE_V4: u8 = 1 << 4;
const HERE_V6: u8 = 2 << 4;
const PLACE: u8 = HERE_V4 | HERE_V6;
const TRANSLATED: u8 = 1 << 6;
const UNREPLIED: u8 = 1 << 7;
const UDP: u8 = Class::Udp as u8;

/// True if an entry with this mark has a UDP end.
fn has_udp_end(mark: u8) -> bool {
    mark & CLASS == UDP && mark & PLACE != 0
}

/// The profile of an entry with this mark and destination.
fn profile(mark: u8, dialled: DialledPort) -> Profile {
    Profile::new(mark, (dialled.0 >> 24) as u8, mark & UNREPLIED != 0)
}

/// The remains of all entries, in their order. What few of them have stands apart, in the same order.
#[derive(Debug, Default)]
pub(super) struct PackedEntries {
    marks: Vec<u8>,
    groups: Vec<[u32; 2]>,
    dialled: Vec<DialledPort>,
    /// Columns of entries that are not in TIME_WAIT.
    originals: Vec<u64>,
    /// Columns of entries that are marked as translated.
    replies: Vec<u64>,
    /// The ends of the entries of UDP that have a place here.
    udp: Vec<UdpEnd>,
}

impl PackedEntries {
    /// Makes room for this number of entries. Growth step by step would copy all of them several times.
    pub(super) fn reserve(&mut self, entries: usize) {
        // Room that no entry uses takes no memory: the kernel gives a page when it is written. Without room the columns
        // grow step by step.
        self.marks.try_reserve_exact(entries).ok();
        self.groups.try_reserve_exact(entries).ok();
        self.dialled.try_reserve_exact(entries).ok();
        self.originals.try_reserve_exact(entries).ok();
    }

    pub(super) fn push(&mut self, seen: &PackedEntry) {
        let mut mark = seen.class & CLASS;
        mark |= match seen.place {
            SocketHome::HereV4 => HERE_V4,
            SocketHome::HereV6 => HERE_V6,
            SocketHome::Elsewhere => 0,
        };
        if let Some([original, reply]) = seen.sides {
            push(&mut self.originals, original);
            if reply != original {
                mark |= TRANSLATED;
                push(&mut self.replies, reply);
            }
        }
        mark |= u8::from(seen.unreplied) * UNREPLIED;
        if let Some(udp) = seen.udp {
            push(&mut self.udp, udp);
        }
        push(&mut self.marks, mark);
        push(&mut self.groups, seen.groups);
        push(&mut self.dialled, seen.dialled);
    }

    /// Replaces what was dialled by an entry. Returns its profile before and after that.
    pub(super) fn dial(&mut self, entry: usize, dialled: DialledPort) -> Option<[Profile; 2]> {
        let mark = *self.marks.get(entry)?;
        let place = self.dialled.get_mut(entry)?;
        let profiles = [*place, dialled].map(|dialled| profile(mark, dialled));
        *place = dialled;
        Some(profiles)
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// One of the groups of an entry.
    pub(super) fn group(&mut self, entry: usize, side: usize) -> Option<&mut u32> {
        self.groups.get_mut(entry)?.get_mut(side)
    }

    /// The groups of all of them, or [`super::NO_GROUP`].
    pub(super) fn all_groups(&self) -> &[[u32; 2]] {
        &self.groups
    }

    /// The port that each of them dials.
    pub(super) fn all_dialled(&self) -> &[DialledPort] {
        &self.dialled
    }

    /// The kind of each of them.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        let every = self.marks.iter().zip(&self.groups).zip(&self.dialled);
        every.map(|((mark, groups), dialled)| Kind {
            groups: *groups,
            dialled: *dialled,
            profile: profile(*mark, *dialled),
        })
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = PackedEntry> + '_ {
        let (mut originals, mut replies) = (self.originals.iter(), self.replies.iter());
        let mut udp = self.udp.iter();
        let every = self.marks.iter().zip(&self.groups).zip(&self.dialled);
        every.map(move |((mark, groups), dialled)| PackedEntry {
            sides: (mark & CLASS != TIME_WAIT)
                .then(|| {
                    let original = *originals.next()?;
                    let reply = (mark & TRANSLATED != 0).then(|| replies.next()).flatten();
                    Some([original, reply.copied().unwrap_or(original)])
                })
                .flatten(),
            groups: *groups,
            class: mark & CLASS,
            place: match mark & PLACE {
                HERE_V4 => SocketHome::HereV4,
                HERE_V6 => SocketHome::HereV6,
                _ => SocketHome::Elsewhere,
            },
            unreplied: mark & UNREPLIED != 0,
            dialled: *dialled,
            udp: has_udp_end(*mark).then(|| udp.next().copied()).flatten(),
        })
    }
}

/// Appends, and grows by a quarter, because doubling would waste as much as the entries need.
pub(super) fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() == all.capacity() {
        all.reserve_exact(all.len() / 4 + 1024);
    }
    all.push(one);
}

#[cfg(test)]
mod tests {
    use super::super::NO_GROUP;
    use super::*;
    use proptest::prelude::*;

    fn seen() -> impl Strategy<Value = PackedEntry> {
        let place = prop_oneof![
            Just(SocketHome::HereV4),
            Just(SocketHome::HereV6),
            Just(SocketHome::Elsewhere)
        ];
        let reply = prop::option::of(any::<u64>());
        let end = any::<(u32, u16, u16)>();
        let end = end.prop_map(|(address, port, left)| UdpEnd {
            address,
            port,
            left,
        });
        let rest = (any::<bool>(), end, (0..1_u32 << 26).prop_map(DialledPort));
        (
            any::<u64>(),
            reply,
            any::<[u32; 2]>(),
            0..11_u8,
            place,
            rest,
        )
            .prop_map(
                |(original, reply, groups, class, place, (unreplied, end, dialled))| PackedEntry {
                    sides: (class != TIME_WAIT).then(|| [original, reply.unwrap_or(original)]),
                    groups,
                    class,
                    place,
                    unreplied,
                    dialled,
                    udp: (class == UDP && place != SocketHome::Elsewhere).then_some(end),
                },
            )
    }

    proptest! {
        #[test]
        fn what_was_kept_comes_back(all in prop::collection::vec(seen(), 0..50)) {
            let mut remains = PackedEntries::default();
            for seen in &all {
                remains.push(&PackedEntry { groups: [NO_GROUP; 2], ..*seen });
            }
            prop_assert_eq!(remains.len(), all.len());
            // found later
            for (entry, seen) in all.iter().enumerate() {
                for (side, group) in seen.groups.into_iter().enumerate() {
                    *remains.group(entry, side).unwrap() = group;
                }
            }
            prop_assert!(remains.all_groups().iter().eq(all.iter().map(|seen| &seen.groups)));
            prop_assert_eq!(remains.iter().collect::<Vec<_>>(), all);
        }
    }
}
