//! The local sockets that the entries of a sample belong to.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::attribution::{Attribution, Fit, Holder, Unattributed};
use super::group::{Group, Membership};
use super::packed_entries::{PackedEntry, SocketHome, UdpEnd};
use super::sockets::{ByFlow, Connected, SocketMatch, Unsorted};
use super::udp::ByPort;
use super::{EndpointId, NOT_SHOWN, Tally};
use crate::analysis::traffic::Traffic;
use crate::model::address::Address;
use crate::model::conntrack::{Class, Protocol, TcpState};
use crate::model::socket::LocalSocket;
use crate::model::udp::UdpSettings;

/// Takes in sockets one by one, for [`Tally::match_sockets`].
pub struct Matching<'t> {
    tally: &'t Tally,
    /// Each group with the reasons that its entries would have if none had a socket.
    groups: Vec<(Group, Unattributed)>,
    /// Sockets whose two ends are known.
    connected: Unsorted,
    /// Unconnected ones of UDP.
    by_port: ByPort,
}

impl<'t> Matching<'t> {
    pub(super) fn new(
        tally: &'t Tally,
        groups: Vec<(Group, Unattributed)>,
        settings: UdpSettings,
    ) -> Self {
        Self {
            tally,
            groups,
            connected: Unsorted::default(),
            by_port: ByPort::new(settings),
        }
    }

    /// Takes in one socket.
    pub fn add(&mut self, socket: &LocalSocket) {
        // below a proc root an unconnected socket of UDP listens as well
        if socket.protocol == Protocol::UDP && socket.remote.port() == 0 {
            let tally = self.tally;
            self.by_port
                .add(socket, |address| tally.address_hash(address.into()));
        } else if !socket.listening {
            self.keep_connected(socket);
        }
    }

    fn keep_connected(&mut self, socket: &LocalSocket) {
        let dialled = self
            .groups
            .iter()
            .zip(0..NOT_SHOWN)
            .find(|((group, _), _)| {
                matches!(group, Group::Endpoint(EndpointId::To { address, protocol, local: true })
                if *protocol == socket.protocol && same(socket.remote, *address))
            });
        self.connected.push(Connected {
            sides: self.tally.flow_hash(socket.sides()),
            found: match (socket.inode, socket.tcp_state) {
                (0, Some(TcpState::TimeWait)) => SocketMatch::TimeWait,
                (0, _) => SocketMatch::Unheld,
                _ => SocketMatch::Held,
            },
            inode: socket.inode,
            uid: socket.uid,
            dials: dialled.map_or(NOT_SHOWN, |(_, slot)| slot),
        });
    }

    /// All sockets are taken in.
    pub fn finish(self) -> Matched<'t> {
        Matched {
            tally: self.tally,
            groups: self.groups,
            connected: self.connected.sort(),
            by_port: self.by_port,
        }
    }
}

/// The entries of a sample and the sockets of this host, each findable by the other.
///
/// It keeps 24 bytes of a connected socket, and an index of at most 8 bytes more.
pub struct Matched<'t> {
    tally: &'t Tally,
    /// Each group with the reasons that its entries would have if none had a socket.
    groups: Vec<(Group, Unattributed)>,
    connected: ByFlow,
    by_port: ByPort,
}

/// A socket of an entry.
struct Match {
    holder: Holder,
    /// The slot of the endpoint within this host that is its far end, or [`NOT_SHOWN`].
    dials: u8,
}

impl Matched<'_> {
    /// The sockets that processes hold of all entries of the sample, shown or not: inode and user id, each once, in
    /// order. A UDP socket at a port that the kernel chose is left out, because it is not certain to be the entry's.
    pub fn of_sample(&self) -> Vec<(u64, u32)> {
        let mut sockets = Vec::new();
        self.each_entry(&[], |_, _, matches| {
            let certain = matches
                .iter()
                .filter(|found| found.holder.fit != Fit::EphemeralPort);
            sockets.extend(certain.map(|found| (found.holder.inode, found.holder.uid)));
        });
        sockets.sort_unstable();
        sockets.dedup();
        sockets
    }

    /// The sockets of each group of the list, in its order. The sockets whose inodes are in `closed`, in order, count as
    /// if they had not been there.
    pub fn attributions(&self, closed: &[u64]) -> Vec<Attribution> {
        let groups = || self.groups.iter().map(|(group, _)| group);
        let members = Membership::new(self.tally, groups());
        let all = groups()
            .zip(0..NOT_SHOWN)
            .find(|(group, _)| **group == Group::All);
        let all = all.map_or(NOT_SHOWN, |(_, slot)| slot);
        let mut groups: Vec<GroupSockets> = self.groups.iter().map(GroupSockets::new).collect();
        self.each_entry(closed, |seen, found, matches| {
            let is_exact = |found: &Match| found.holder.fit == Fit::BothEnds;
            let is_ephemeral = |end: UdpEnd| self.by_port.is_ephemeral(end.port);
            let is_ephemeral =
                seen.udp.is_some_and(is_ephemeral) && !matches.first().is_some_and(is_exact);
            // most entries of a gateway, and those of connections that are over
            if found == SocketMatch::Nothing && !is_ephemeral {
                return;
            }
            let reasons = [SocketMatch::Nothing, found].map(|found| Reason::of(seen, found));
            let [from, to, port, far] = members.slots(seen.groups, seen.dialled);
            for slot in &[from, to, port, far, all] {
                let slot = usize::from(*slot);
                let Some(group) = groups.get_mut(slot) else {
                    continue;
                };
                group.move_entry(reasons);
                group.ephemeral += u64::from(is_ephemeral);
                if !matches.is_empty() {
                    group.hold(slot, seen, matches);
                }
            }
        });
        let sockets = self.by_port.ephemeral_of_users();
        let attributions = groups.into_iter().map(|group| {
            let ephemeral = group.ephemeral;
            let mut attribution = group.attribution();
            attribution.merge();
            self.leave_out_chance(&mut attribution, ephemeral, &sockets);
            attribution
        });
        attributions.collect()
    }

    /// Leaves out the sockets that have the port of some of the entries by chance.
    fn leave_out_chance(
        &self,
        attribution: &mut Attribution,
        entries: u64,
        sockets: &HashMap<u32, u32>,
    ) {
        let mut matched: HashMap<u32, u64> = HashMap::new();
        let by_chance = |holder: &&Holder| holder.fit == Fit::EphemeralPort;
        for holder in attribution.holders.iter().filter(by_chance) {
            *matched.entry(holder.uid).or_default() += u64::from(holder.entries);
        }
        if matched.is_empty() {
            return;
        }
        attribution.disbelieve(|holder| {
            let sockets = sockets.get(&holder.uid).copied().unwrap_or_default();
            let matched = matched.get(&holder.uid).copied().unwrap_or_default();
            holder.fit == Fit::EphemeralPort && self.by_port.is_chance(matched, entries, sockets)
        });
    }

    /// Hands on every entry of the sample, in the order in which they were counted, with what was found and the sockets
    /// that processes hold.
    fn each_entry(
        &self,
        closed: &[u64],
        mut each: impl FnMut(&PackedEntry, SocketMatch, &[Match]),
    ) {
        let mut matches = Vec::new();
        for seen in self.tally.packed.iter() {
            matches.clear();
            let mut found = self.sockets_of(&seen, &mut matches);
            if !closed.is_empty() && found == SocketMatch::Held {
                matches.retain(|found| closed.binary_search(&found.holder.inode).is_err());
                if matches.is_empty() {
                    found = SocketMatch::Nothing;
                }
            }
            each(&seen, found, &matches);
        }
    }

    fn sockets_of(&self, seen: &PackedEntry, matches: &mut Vec<Match>) -> SocketMatch {
        let mut found = SocketMatch::Nothing;
        if let Some([original, reply]) = seen.sides {
            found = self.connected_of(original, matches);
            if reply != original {
                found = found.max(self.connected_of(reply, matches));
            }
        }
        if found == SocketMatch::Nothing {
            if let Some(holder) = self.by_port.of(seen) {
                if holder.inode == 0 {
                    return SocketMatch::Unheld;
                }
                matches.push(Match {
                    holder,
                    dials: NOT_SHOWN,
                });
                return SocketMatch::Held;
            }
        }
        found
    }

    #[inline(always)] // of each entry, and most have no socket
    fn connected_of(&self, sides: u64, matches: &mut Vec<Match>) -> SocketMatch {
        match self.connected.near(sides) {
            [] => SocketMatch::Nothing,
            near => Self::connected_among(near, sides, matches),
        }
    }

    fn connected_among(near: &[Connected], sides: u64, matches: &mut Vec<Match>) -> SocketMatch {
        let mut found = SocketMatch::Nothing;
        for socket in near.iter().filter(|socket| socket.sides == sides) {
            found = found.max(socket.found);
            if socket.found == SocketMatch::Held {
                matches.push(Match::of(socket));
            }
        }
        found
    }
}

/// The reason why an entry has a socket that a process holds, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Attributed,
    TimeWait,
    Unheld,
    Forwarded,
    Other,
}

impl Reason {
    fn of(seen: &PackedEntry, found: SocketMatch) -> Self {
        let time_wait = usize::from(seen.class) == Class::TimeWait.index();
        match found {
            SocketMatch::Held => Self::Attributed,
            SocketMatch::TimeWait => Self::TimeWait,
            SocketMatch::Unheld => Self::Unheld,
            SocketMatch::Nothing if seen.place == SocketHome::Elsewhere => Self::Forwarded,
            SocketMatch::Nothing if time_wait => Self::TimeWait,
            SocketMatch::Nothing => Self::Other,
        }
    }
}

/// A group while its sockets are looked for.
struct GroupSockets<'g> {
    group: &'g Group,
    /// Entries by [`Reason`].
    entries: [u64; 5],
    /// The sockets so far.
    held: Attribution,
    /// Entries at ports that the kernel chose, which have no socket of their own.
    ephemeral: u64,
}

impl<'g> GroupSockets<'g> {
    fn new((group, entries): &'g (Group, Unattributed)) -> Self {
        let Unattributed {
            time_wait,
            unheld,
            forwarded,
            other,
        } = *entries;
        Self {
            group,
            entries: [0, time_wait, unheld, forwarded, other],
            held: Attribution::default(),
            ephemeral: 0,
        }
    }

    /// Moves an entry from the reason for which it was counted to the one that was found.
    fn move_entry(&mut self, [counted, found]: [Reason; 2]) {
        if let Some(entries) = self.entries.get_mut(counted as usize) {
            *entries = entries.saturating_sub(1);
        }
        if let Some(entries) = self.entries.get_mut(found as usize) {
            *entries += 1;
        }
    }

    /// Adds the sockets of an entry, which has at least one.
    fn hold(&mut self, slot: usize, seen: &PackedEntry, matches: &[Match]) {
        let group = self.group;
        let sockets = matches.iter();
        self.held
            .hold(sockets.map(|found| found.of_group(slot, group, seen)));
    }

    fn attribution(self) -> Attribution {
        let [attributed, time_wait, unheld, forwarded, other] = self.entries;
        Attribution {
            attributed,
            unattributed: Unattributed {
                time_wait,
                unheld,
                forwarded,
                other,
            },
            ..self.held
        }
    }
}

impl Match {
    fn of(socket: &Connected) -> Self {
        Self {
            holder: Holder {
                inode: socket.inode,
                uid: socket.uid,
                dialled: false,
                fit: Fit::BothEnds,
                silent: 0,
                entries: 1,
            },
            dials: socket.dials,
        }
    }

    /// The socket as one of a group at this slot of the list.
    fn of_group(&self, slot: usize, group: &Group, seen: &PackedEntry) -> Holder {
        let dialled = match (group, self.holder.fit) {
            (Group::Endpoint(EndpointId::From { .. }), _) => true,
            (Group::Endpoint(EndpointId::To { local, .. }), Fit::BothEnds) => {
                *local && slot != usize::from(self.dials)
            }
            // of an entry within this host the end that was dialled, see `here`
            (Group::Endpoint(EndpointId::To { local, .. }), _) => *local,
            (Group::All | Group::Port(..) | Group::Address(_), _) => {
                seen.dialled.traffic() == Traffic::Input
            }
        };
        Holder {
            dialled,
            ..self.holder
        }
    }
}

/// True if two ends are the same, mapped or not.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && Address::from(one.ip()) == Address::from(other.ip())
}
