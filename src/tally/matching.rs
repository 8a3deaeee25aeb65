//! Which local sockets the entries of an endpoint belong to.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use super::remains::Place;
use super::{Endpoint, Peer, Shown, Tally};
use crate::address::Address;
use crate::entry::{Class, Protocol, TcpState};
use crate::socket::LocalSocket;

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
    /// What was found for each entry.
    found: Vec<Found>,
    /// The entries of shown endpoints: hashes of both directions, and the place in the remains, sorted.
    by_sides: Vec<(u64, u32)>,
    /// Local ports of those of UDP, sorted.
    ports: Vec<u16>,
    /// Unconnected sockets at these ports: inode and owner.
    by_port: HashMap<(u16, Bound), (u64, u32)>,
    /// Slot of the endpoint, and a socket of one of its entries.
    holders: Vec<(u32, Holder)>,
}

impl<'t> Matching<'t> {
    pub(super) fn new(tally: &'t Tally, top: &[Endpoint]) -> Self {
        let shown = Shown::new(
            top.iter().map(|endpoint| tally.number(&endpoint.peer)),
            tally.groups.len(),
        );
        let shown_entries: u64 = top.iter().map(|endpoint| endpoint.entries).sum();
        // a forwarded entry counts for two endpoints
        let shown_entries = shown_entries.min(tally.read());
        let mut by_sides: Vec<(u64, u32)> =
            Vec::with_capacity(usize::try_from(shown_entries).unwrap_or_default());
        let mut ports = Vec::new();
        for (seen, place) in tally.remains.iter().zip(0..) {
            let Some([original, reply]) = seen.sides.filter(|_| shown.shows(seen.groups)) else {
                continue;
            };
            by_sides.push((original, place));
            if reply != original {
                by_sides.push((reply, place));
            }
            ports.extend(seen.udp.map(|(_, port)| port));
        }
        by_sides.sort_unstable();
        ports.sort_unstable();
        ports.dedup();
        Self {
            tally,
            shown,
            peers: top.iter().map(|endpoint| endpoint.peer).collect(),
            found: vec![Found::Nothing; tally.remains.len()],
            by_sides,
            ports,
            by_port: HashMap::new(),
            holders: Vec::new(),
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
            self.connected(socket);
        }
    }

    /// A socket whose two ends are known.
    fn connected(&mut self, socket: &LocalSocket) {
        let hash = self.tally.hashes.hash_one(socket.sides());
        let start = self.by_sides.partition_point(|(known, _)| *known < hash);
        let found = match (socket.inode, socket.tcp_state) {
            (0, Some(TcpState::TimeWait)) => Found::TimeWait,
            (0, _) => Found::Unheld,
            _ => Found::Held,
        };
        for (_, place) in self
            .by_sides
            .iter()
            .skip(start)
            .take_while(|(known, _)| *known == hash)
        {
            let place = *place as usize;
            if let Some(before) = self.found.get_mut(place) {
                *before = found.max(*before);
            }
            if found == Found::Held {
                let groups = self.tally.remains.groups(place);
                hold(
                    &mut self.holders,
                    &self.shown,
                    &self.peers,
                    groups,
                    |peer| {
                        let dialled = match peer {
                            Peer::From { .. } => true,
                            Peer::To { local: false, .. } => false,
                            Peer::To { address, .. } => !same(socket.remote, *address),
                        };
                        Holder {
                            inode: socket.inode,
                            uid: socket.uid,
                            dialled,
                            entries: 1,
                        }
                    },
                );
            }
        }
    }

    /// Keeps an unconnected UDP socket until all connected ones have been seen.
    fn keep_unconnected(&mut self, socket: &LocalSocket) {
        let port = socket.local.port();
        if self.ports.binary_search(&port).is_err() {
            return;
        }
        let bound = match socket.local.ip() {
            IpAddr::V4(address) if address.is_unspecified() => Bound::AnyV4,
            IpAddr::V6(address) if address.is_unspecified() => Bound::Any,
            address => Bound::To(self.tally.address_hash(address.into())),
        };
        let socket = (socket.inode, socket.uid);
        let lowest = self.by_port.entry((port, bound)).or_insert(socket);
        *lowest = socket.min(*lowest);
    }

    /// Gives the UDP entries that are left to the unconnected sockets.
    fn unconnected(&mut self) {
        if self.by_port.is_empty() {
            return;
        }
        for (seen, found) in self.tally.remains.iter().zip(&mut self.found) {
            let Some((here, port)) = seen.udp.filter(|_| *found == Found::Nothing) else {
                continue;
            };
            if !self.shown.shows(seen.groups) {
                continue;
            }
            let any_v4 = (seen.place == Place::HereV4).then_some(Bound::AnyV4);
            let mut bounds = [Some(Bound::To(here)), any_v4, Some(Bound::Any)]
                .into_iter()
                .flatten();
            let socket = bounds.find_map(|bound| self.by_port.get(&(port, bound)));
            let Some((inode, uid)) = socket.copied() else {
                continue;
            };
            if inode == 0 {
                *found = Found::Unheld;
                continue;
            }
            *found = Found::Held;
            let groups = seen.groups;
            hold(
                &mut self.holders,
                &self.shown,
                &self.peers,
                groups,
                |peer| Holder {
                    inode,
                    uid,
                    dialled: !matches!(peer, Peer::To { local: false, .. }),
                    entries: 1,
                },
            );
        }
    }

    /// What was found, in the order of the endpoints.
    pub fn finish(mut self) -> Vec<Attribution> {
        self.unconnected();
        let mut attributions = vec![Attribution::default(); self.peers.len()];
        for (seen, found) in self.tally.remains.iter().zip(&self.found) {
            for slot in self.shown.slots(seen.groups) {
                let Some(attribution) = attributions.get_mut(slot as usize) else {
                    continue;
                };
                let reasons = &mut attribution.unattributed;
                let time_wait = usize::from(seen.class) == Class::TimeWait.index();
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
        self.holders.sort_unstable();
        for (slot, holder) in self.holders {
            let Some(attribution) = attributions.get_mut(slot as usize) else {
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
}

/// Notes a socket for every shown endpoint of its entry.
fn hold(
    holders: &mut Vec<(u32, Holder)>,
    shown: &Shown,
    peers: &[Peer],
    groups: [u32; 2],
    holder: impl Fn(&Peer) -> Holder,
) {
    for slot in shown.slots(groups) {
        if let Some(peer) = peers.get(slot as usize) {
            holders.push((slot, holder(peer)));
        }
    }
}

/// Whether two ends are the same, mapped or not.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && Address::from(one.ip()) == Address::from(other.ip())
}
