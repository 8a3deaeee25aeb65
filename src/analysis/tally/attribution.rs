//! The sockets behind an endpoint, and what has none.

use super::group::Counted;
use super::packed_entries;
use super::scale::Scale;

/// Sockets of a group that are kept at most.
pub const MAX_HOLDERS: usize = 32_768;

/// The sockets behind an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// Sockets that a process holds, by inode. An entry within this host may have two.
    pub holders: Vec<Holder>,
    /// The entries without such a socket.
    pub unattributed: Unattributed,
    /// The entries at such a socket.
    pub attributed: u64,
    /// The entries at such a socket of which the socket is not among the holders, because there are too many.
    pub beyond: u64,
}

/// A socket that a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The inode.
    pub inode: u64,
    /// The user id of the socket.
    pub uid: u32,
    /// True for the end that was connected to, a server's.
    pub dialled: bool,
    /// The ends that the socket and the entries have in common.
    pub fit: Fit,
    /// For a socket that was found by its port: seconds that its entries have seen no packet, at least. A process that
    /// is younger has not sent or received one.
    pub silent: u16,
    /// The number of the endpoint's entries that are the socket's: one, except for unconnected UDP.
    pub entries: u32,
}

/// The ends that a socket and an entry have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Both ends.
    BothEnds,
    /// This end, at a port that a program chose.
    Port,
    /// This end, at a port that the kernel may have chosen, and may have given to another program before.
    EphemeralPort,
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
    /// No socket is left, or none that is certain to be the entry's.
    pub other: u64,
}

impl Unattributed {
    /// The entries of a group of which no socket is known.
    pub(super) fn of(counted: &Counted) -> Self {
        let [.., forwarded, _] = counted.directions;
        let apart = forwarded.saturating_add(counted.ended);
        Self {
            time_wait: counted.ended,
            unheld: 0,
            forwarded,
            other: counted.split.entries.saturating_sub(apart),
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.time_wait + self.unheld + self.forwarded + self.other
    }
}

impl Attribution {
    /// Leaves out holders that were found by their port alone and are not believed. Their entries have no socket then.
    pub fn disbelieve(&mut self, is_wrong: impl Fn(&Holder) -> bool) {
        let mut entries = 0;
        self.holders.retain(|holder| {
            let is_left_out = holder.fit != Fit::BothEnds && is_wrong(holder);
            entries += u64::from(holder.entries) * u64::from(is_left_out);
            !is_left_out
        });
        self.attributed -= entries;
        self.unattributed.other += entries;
    }

    /// The scale from counts at the holders to counts at all sockets of the endpoint.
    pub fn scale(&self) -> Scale {
        Scale {
            read: self.attributed - self.beyond,
            total: self.attributed,
        }
    }

    /// Adds the sockets of an entry unless there are too many. Entries come in the order of their hash, so the first of
    /// them are a sample of all.
    pub(super) fn hold(&mut self, sockets: impl ExactSizeIterator<Item = Holder>) {
        if !self.has_room(sockets.len()) {
            self.beyond += 1;
            return;
        }
        for holder in sockets {
            packed_entries::push(&mut self.holders, holder);
        }
    }

    /// True if these sockets of one more entry can be kept.
    fn has_room(&mut self, sockets: usize) -> bool {
        if self.beyond > 0 || self.holders.len() + sockets <= MAX_HOLDERS {
            return self.beyond == 0;
        }
        // a server of UDP has one socket for all of its clients
        self.merge();
        // it costs too much to be done for a few entries
        self.holders.len() <= MAX_HOLDERS / 2
    }

    /// Puts holders that were noted for one entry each together.
    pub(super) fn merge(&mut self) {
        self.holders.sort_unstable();
        self.holders.dedup_by(|one, sum| {
            let is_same = Holder { entries: 0, ..*one } == Holder { entries: 0, ..*sum };
            if is_same {
                sum.entries = sum.entries.saturating_add(one.entries);
            }
            is_same
        });
    }
}
