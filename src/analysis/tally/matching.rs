//! Which local sockets the entries of an endpoint belong to.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use super::remains::{self, Place, Seen};
use super::{Endpoint, NOT_SHOWN, Peer, Shown, Tally};
use crate::model::address::Address;
use crate::model::conntrack::{Class, Protocol, TcpState};
use crate::model::socket::LocalSocket;

/// The sockets behind an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// Sockets that a process holds, most entries first, then by inode. An entry within this host may have two.
    pub holders: Vec<Holder>,
    /// The entries without such a socket.
    pub unattributed: Unattributed,
}

/// A socket that a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its inode.
    pub inode: u64,
    /// Its owner.
    pub uid: u32,
    /// Whether it is the end that was dialled, a server's.
    pub dialled: bool,
    /// How many of the endpoint's entries are its: one, but for unconnected UDP.
    pub entries: u64,
}

/// Entries of an endpoint that no process can be found for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unattributed {
    /// The connection is over: entry or socket are in TIME_WAIT, which for an entry takes twice as long.
    pub time_wait: u64,
    /// There is a socket, but no process holds it: closed and still sending, or not accepted yet.
    pub unheld: u64,
    /// Both ends are elsewhere.
    pub forwarded: u64,
    /// No socket: in another namespace, or the process ended and the entry lives on.
    pub other: u64,
}

impl Unattributed {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.time_wait + self.unheld + self.forwarded + self.other
    }
}

/// How much is known of the socket of an entry; more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    TimeWait,
    Unheld,
    Held,
}

/// Where an unconnected socket is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    /// To the address of this hash.
    To(u32),
    /// To 0.0.0.0.
    AnyV4,
    /// To ::, which takes IPv4 too unless IPV6_V6ONLY is set, and that sock_diag does not always tell.
    Any,
}

/// The state of [`Tally::match_sockets`].
pub struct Matching<'t> {
    tally: &'t Tally,
    shown: Shown,
    peers: Vec<Peer>,
    /// Sockets whose two ends are known.
    connected: Vec<Connected>,
    /// Unconnected ones of UDP: inode and owner.
    by_port: HashMap<(u16, Bound), (u64, u32)>,
}

impl<'t> Matching<'t> {
    pub(super) fn new(tally: &'t Tally, top: &[Endpoint]) -> Self {
        Self {
            tally,
            shown: Shown::new(
                top.iter().map(|endpoint| tally.number(&endpoint.peer)),
                tally.members.len(),
            ),
            peers: top.iter().map(|endpoint| endpoint.peer).collect(),
            connected: Vec::new(),
            by_port: HashMap::new(),
        }
    }

    /// Takes in one socket.
    pub fn add(&mut self, socket: &LocalSocket) {
        if socket.listening {
            return;
        }
        if socket.protocol == Protocol::UDP && socket.remote.port() == 0 {
            self.keep_unconnected(socket);
        } else {
            self.keep_connected(socket);
        }
    }

    fn keep_connected(&mut self, socket: &LocalSocket) {
        let dialled = self.peers.iter().zip(0..NOT_SHOWN).find(|(peer, _)| {
            matches!(peer, Peer::To { address, protocol, local: true }
                if *protocol == socket.protocol && same(socket.remote, *address))
        });
        let socket = Connected {
            sides: self.tally.hashes.hash_one(socket.sides()),
            found: match (socket.inode, socket.tcp_state) {
                (0, Some(TcpState::TimeWait)) => Found::TimeWait,
                (0, _) => Found::Unheld,
                _ => Found::Held,
            },
            inode: socket.inode,
            uid: socket.uid,
            dials: dialled.map_or(NOT_SHOWN, |(_, slot)| slot),
        };
        remains::push(&mut self.connected, socket);
    }

    fn keep_unconnected(&mut self, socket: &LocalSocket) {
        let bound = match socket.local.ip() {
            IpAddr::V4(address) if address.is_unspecified() => Bound::AnyV4,
            IpAddr::V6(address) if address.is_unspecified() => Bound::Any,
            address => Bound::To(self.tally.address_hash(address.into())),
        };
        let key = (socket.local.port(), bound);
        let socket = (socket.inode, socket.uid);
        let lowest = self.by_port.entry(key).or_insert(socket);
        *lowest = socket.min(*lowest);
    }

    /// What was found, in the order of the endpoints.
    pub fn finish(mut self) -> Vec<Attribution> {
        let connected = BySides::new(std::mem::take(&mut self.connected));
        let mut attributions = vec![Attribution::default(); self.peers.len()];
        let mut holders = Vec::new();
        for seen in self.tally.remains.iter() {
            let slots = self.shown.slots(seen.groups);
            if slots == [NOT_SHOWN; 2] {
                continue;
            }
            let mut found = Found::Nothing;
            let [original, reply] = seen.sides.unwrap_or_default();
            let mut by_sides = |sides| {
                for socket in connected.of(sides) {
                    found = found.max(socket.found);
                    if socket.found == Found::Held {
                        self.hold(&mut holders, slots, |slot, peer| Holder {
                            inode: socket.inode,
                            uid: socket.uid,
                            dialled: match peer {
                                Peer::From { .. } => true,
                                Peer::To { local, .. } => *local && slot != socket.dials,
                            },
                            entries: 1,
                        });
                    }
                }
            };
            if seen.sides.is_some() {
                by_sides(original);
                if reply != original {
                    by_sides(reply);
                }
            }
            let unconnected = (found == Found::Nothing).then(|| self.unconnected(&seen));
            if let Some((inode, uid)) = unconnected.flatten() {
                found = if inode == 0 {
                    Found::Unheld
                } else {
                    Found::Held
                };
                if inode != 0 {
                    self.hold(&mut holders, slots, |_, peer| Holder {
                        inode,
                        uid,
                        dialled: !matches!(peer, Peer::To { local: false, .. }),
                        entries: 1,
                    });
                }
            }
            let time_wait = usize::from(seen.class) == Class::TimeWait.index();
            for slot in &slots {
                let Some(attribution) = attributions.get_mut(usize::from(*slot)) else {
                    continue;
                };
                let reasons = &mut attribution.unattributed;
                let reason = match found {
                    Found::Held => continue,
                    Found::TimeWait => &mut reasons.time_wait,
                    Found::Unheld => &mut reasons.unheld,
                    Found::Nothing if seen.place == Place::Elsewhere => &mut reasons.forwarded,
                    Found::Nothing if time_wait => &mut reasons.time_wait,
                    Found::Nothing => &mut reasons.other,
                };
                *reason += 1;
            }
        }
        holders.sort_unstable();
        for (slot, holder) in holders {
            let Some(attribution) = attributions.get_mut(usize::from(slot)) else {
                continue;
            };
            match attribution.holders.last_mut() {
                Some(last)
                    if Holder {
                        entries: 1,
                        ..*last
                    } == holder =>
                {
                    last.entries += 1
                }
                _ => attribution.holders.push(holder),
            }
        }
        for attribution in &mut attributions {
            attribution
                .holders
                .sort_by_key(|holder| (Reverse(holder.entries), holder.inode, holder.dialled));
        }
        attributions
    }

    /// Inode and owner of the unconnected socket that an entry of UDP belongs to.
    fn unconnected(&self, seen: &Seen) -> Option<(u64, u32)> {
        let (here, port) = seen.udp?;
        let any_v4 = (seen.place == Place::HereV4).then_some(Bound::AnyV4);
        let mut bounds = [Some(Bound::To(here)), any_v4, Some(Bound::Any)]
            .into_iter()
            .flatten();
        bounds.find_map(|bound| self.by_port.get(&(port, bound)).copied())
    }

    /// Notes a socket for every shown endpoint of its entry.
    fn hold(
        &self,
        holders: &mut Vec<(u8, Holder)>,
        slots: [u8; 2],
        holder: impl Fn(u8, &Peer) -> Holder,
    ) {
        for slot in slots {
            if let Some(peer) = self.peers.get(usize::from(slot)) {
                holders.push((slot, holder(slot, peer)));
            }
        }
    }
}

/// What is kept of a socket whose two ends are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Connected {
    /// A hash of [`crate::model::conntrack::Sides`].
    sides: u64,
    inode: u64,
    uid: u32,
    found: Found,
    /// The slot of the endpoint within this host that is its far end, or [`NOT_SHOWN`].
    dials: u8,
}

/// Sockets by the hash of their sides. Hashes are spread evenly, so their first bits lead to where each would stand.
struct BySides {
    sorted: Vec<Connected>,
    /// Where the sockets of each beginning start, and where the last end.
    starts: Vec<u32>,
    /// How many of the last bits a beginning has not.
    shift: u32,
}

impl BySides {
    /// No more than 2^32 sockets.
    fn new(mut sockets: Vec<Connected>) -> Self {
        sockets.sort_unstable();
        let beginnings = sockets.len().next_power_of_two().max(2);
        let shift = u64::BITS - beginnings.ilog2();
        let mut starts = Vec::with_capacity(beginnings + 1);
        for (socket, place) in sockets.iter().zip(0..) {
            let beginning = (socket.sides >> shift) as usize;
            starts.resize(starts.len().max(beginning + 1), place);
        }
        starts.resize(beginnings + 1, sockets.len() as u32);
        Self {
            sorted: sockets,
            starts,
            shift,
        }
    }

    fn of(&self, sides: u64) -> impl Iterator<Item = &Connected> {
        let beginning = (sides >> self.shift) as usize;
        let alike = match self.starts.get(beginning..) {
            Some([start, end, ..]) => self.sorted.get(*start as usize..*end as usize),
            _ => None,
        };
        let alike = alike.unwrap_or_default().iter();
        alike.filter(move |socket| socket.sides == sides)
    }
}

/// Whether two ends are the same, mapped or not.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && Address::from(one.ip()) == Address::from(other.ip())
}
