//! The source ports of a capture's host: which of them are those of servers.
//!
//! Nobody knows which sockets listened on the host of a capture. But a client has a port of its own for each
//! connection, or few of them at one port to different services, and the ports of services are mostly lower than those
//! of clients. So a port of the host that stands against many far ports above it, each of which may be a client's, is
//! that of a server, unless it opened a connection.

use std::collections::HashMap;

use super::{NONE, remains};
use crate::model::conntrack::{Entry, Protocol, Side};

/// Ports up to here are those of services (IANA: system ports).
const LAST_SYSTEM_PORT: u16 = 1023;
/// A server of FTP opens the connections for data, from this port.
const FTP_DATA: u16 = 20;
/// With so many different far ports a port is a server's.
const MANY: usize = 5;
/// At least one in so many far ports is above a server's port.
const ONE_ABOVE_IN: u32 = 4;

/// The far ports that a port of this host stands against.
#[derive(Debug, Clone, Copy, Default)]
struct FarPorts {
    /// Different ones above the port itself, until there are many; 0 stands for none.
    above: [u16; MANY],
    /// Entries with one above.
    entries_above: u32,
    /// Entries with one below, or the same.
    entries_below: u32,
    /// Whether a handshake shows that a connection was opened from the port.
    opens: bool,
}

impl FarPorts {
    fn add(&mut self, near: u16, far: u16) {
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
        !self.opens
            && !self.above.contains(&0)
            && self.entries_above.saturating_mul(ONE_ABOVE_IN) >= self.entries_below
    }
}

/// Marks the number of a source port, which stands in the place of the `from` group of an outbound entry while it is
/// counted.
const MARK: u32 = 1 << 31;

/// The source ports of a host, by number.
#[derive(Debug, Default)]
pub(super) struct SourcePorts {
    numbers: HashMap<(Side, Protocol), u32, foldhash::fast::RandomState>,
    far: Vec<FarPorts>,
}

impl SourcePorts {
    /// Notes the far port of an entry from this host to another end. Returns the groups of the entry so far: the marked
    /// number of its source port, if the entry may have been picked up in mid-stream.
    #[inline(never)]
    pub(super) fn note(&mut self, entry: &Entry) -> [u32; 2] {
        [self.marked(entry).unwrap_or(NONE), NONE]
    }

    fn marked(&mut self, entry: &Entry) -> Option<u32> {
        let (near, far) = (entry.original.from(), entry.original.to());
        // address translation takes place where a connection begins
        if !entry.protocol.has_ports() || far.1 <= LAST_SYSTEM_PORT || entry.is_translated() {
            return None;
        }
        if entry.protocol == Protocol::TCP && near.1 == FTP_DATA {
            return None;
        }
        let next = u32::try_from(self.far.len())
            .ok()
            .filter(|next| *next < MARK - 1)?;
        let number = *self.numbers.entry((near, entry.protocol)).or_insert(next);
        if number == next {
            remains::push(&mut self.far, FarPorts::default());
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
    pub(super) fn servers(&self) -> HashMap<u32, (Side, Protocol)> {
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
        (group != NONE && group & MARK != 0).then_some(group & !MARK)
    }
}
