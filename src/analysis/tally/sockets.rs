//! Sockets whose two ends are known, found by a hash of these.

use super::packed_entries;

/// The knowledge of the socket of an entry; more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SocketMatch {
    Nothing,
    TimeWait,
    Unheld,
    Held,
}

/// The part that is kept of a socket with two known ends: 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connected {
    /// A hash of [`crate::model::conntrack::FlowKey`].
    pub(super) sides: u64,
    pub(super) inode: u64,
    pub(super) uid: u32,
    pub(super) found: SocketMatch,
    /// The slot of the endpoint within this host that is its far end, or [`super::NOT_SHOWN`].
    pub(super) dials: u8,
}

/// Sockets by the hash of their sides. Hashes are spread evenly, so their first bits lead to the place of each.
#[derive(Debug)]
pub(super) struct ByFlow {
    sorted: Vec<Connected>,
    /// The place of the first socket of each beginning, and at last the number of sockets.
    starts: Vec<u32>,
    /// The number of last bits that a beginning lacks.
    shift: u32,
}

/// Sockets in no order.
#[derive(Debug, Default)]
pub(super) struct Unsorted(Vec<Connected>);

impl Unsorted {
    pub(super) fn push(&mut self, socket: Connected) {
        packed_entries::push(&mut self.0, socket);
    }

    /// No more than 2^32 sockets.
    pub(super) fn sort(self) -> ByFlow {
        let mut sorted = self.0;
        sorted.sort_unstable();
        let beginnings = sorted.len().next_power_of_two().max(2);
        let shift = u64::BITS - beginnings.ilog2();
        let places = beginnings + 1;
        let mut starts = Vec::with_capacity(places);
        for (socket, place) in sorted.iter().zip(0..) {
            let beginning = (socket.sides >> shift) as usize;
            starts.resize(starts.len().max(beginning + 1), place);
        }
        starts.resize(places, sorted.len() as u32);
        ByFlow {
            sorted,
            starts,
            shift,
        }
    }
}

impl ByFlow {
    /// A few sockets. If a socket has these sides, it is one of them.
    #[inline(always)] // of each entry, and for most of them there is none
    pub(super) fn near(&self, sides: u64) -> &[Connected] {
        let beginning = sides.wrapping_shr(self.shift) as usize;
        let place = |beginning: usize| {
            let place = self.starts.get(beginning).copied();
            place.unwrap_or_default() as usize
        };
        let places = place(beginning)..place(beginning.wrapping_add(1));
        self.sorted.get(places).unwrap_or_default()
    }
}
