//! The source ports of a capture's host: which of them are those of servers.
//!
//! The sockets that listened on the host of a capture are not known. A client takes another port for each connection,
//! or uses one port for few connections to different services, and ports of services are mostly lower than ports of
//! clients. So a port of the host is a server's if it stands against many far ports above it, unless an entry shows
//! that it opened a connection.

use std::collections::HashMap;

use super::{NO_GROUP, packed_entries};
use crate::model::conntrack::{Entry, Protocol, SocketAddress, TcpState};

/// Ports up to here are those of services (IANA: system ports).
const LAST_SYSTEM_PORT: u16 = 1023;
/// A server of FTP opens the connections for data, from this port.
const FTP_DATA: u16 = 20;
/// With so many different far ports a port is a server's.
const SERVER_PORTS: usize = 5;
/// Entries with a far port below a server's port are at most so many times those with a far port above.
const BELOW_TO_ABOVE: u32 = 4;
/// A port is a server's whatever the far ports are if so many of 64 residues occur among them, which takes some 90
/// different ports: no client uses a port of its own again for that many services.
const RESIDUES: u32 = 48;

/// The far ports that a port of this host stands against.
#[derive(Debug, Clone, Copy, Default)]
struct FarPorts {
    /// Different far ports above the port itself, until there are many; 0 stands for none.
    above: [u16; SERVER_PORTS],
    /// The residues of all far ports modulo 64, a bit for each.
    residues: u64,
    /// Entries with a far port above the port itself.
    entries_above: u32,
    /// Entries with a far port below the port itself, or with the same port.
    entries_below: u32,
    /// True if a handshake shows that a connection was opened from the port.
    opens: bool,
}

impl FarPorts {
    fn add(&mut self, near: u16, far: u16) {
        self.residues |= 1 << (far % 64);
        if far <= near {
            self.entries_below = self.entries_below.saturating_add(1);
            return;
        }
        self.entries_above = self.entries_above.saturating_add(1);
        let mut places = self.above.iter_mut();
        if let Some(place) = places.find(|place| **place == far || **place == 0) {
            *place = far;
        }
    }

    fn are_those_of_clients(&self) -> bool {
        let many_above = !self.above.contains(&0)
            && self.entries_above.saturating_mul(BELOW_TO_ABOVE) >= self.entries_below;
        !self.opens && (many_above || self.residues.count_ones() >= RESIDUES)
    }
}

/// Marks the number of a source port, which stands in the place of the `from` group of an outbound entry while it is
/// counted.
const MARK: u32 = 1 << 31;

/// The source ports of a host, by number.
#[derive(Debug, Default)]
pub(super) struct SourcePorts {
    numbers: HashMap<(SocketAddress, Protocol), u32, foldhash::fast::RandomState>,
    far: Vec<FarPorts>,
}

impl SourcePorts {
    /// Notes the far port of an entry from this host to another end. Returns the groups of the entry so far: the marked
    /// number of its source port, if the entry may have been picked up in mid-stream.
    #[inline(never)]
    pub(super) fn note(&mut self, entry: &Entry) -> [u32; 2] {
        [self.marked(entry).unwrap_or(NO_GROUP), NO_GROUP]
    }

    fn marked(&mut self, entry: &Entry) -> Option<u32> {
        let (near, far) = (entry.original.from(), entry.original.to());
        // addresses are translated by the first packet of a connection
        if !entry.protocol.has_ports() || far.1 <= LAST_SYSTEM_PORT || entry.is_translated() {
            return None;
        }
        if entry.protocol == Protocol::TCP && near.1 == FTP_DATA {
            return None;
        }
        // the answers of closed ports to a scan, which may come from one port
        if entry.tcp_state == Some(TcpState::Close) {
            return None;
        }
        let next = u32::try_from(self.far.len())
            .ok()
            .filter(|next| *next < MARK - 1)?;
        let number = *self.numbers.entry((near, entry.protocol)).or_insert(next);
        if number == next {
            packed_entries::push(&mut self.far, FarPorts::default());
        }
        let ports = self.far.get_mut(number as usize)?;
        if entry.shows_who_opened_it() {
            ports.opens = true;
            return None;
        }
        ports.add(near.1, far.1);
        Some(number | MARK)
    }

    /// The ends of this host that are servers, by number.
    pub(super) fn servers(&self) -> HashMap<u32, (SocketAddress, Protocol)> {
        self.numbers
            .iter()
            .filter(|(_, number)| {
                let far = self.far.get(**number as usize);
                far.is_some_and(FarPorts::are_those_of_clients)
            })
            .map(|(end, number)| (*number, *end))
            .collect()
    }

    /// The number of a source port, if the group is marked as one.
    pub(super) fn number(group: u32) -> Option<u32> {
        (group != NO_GROUP && group & MARK != 0).then_some(group & !MARK)
    }
}
