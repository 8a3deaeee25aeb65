//! The traffic that an entry belongs to, and the endpoints that the entry counts for.

use std::fmt;

use crate::model::address::Address;
use crate::model::conntrack::{Entry, Side};
use crate::model::local_addresses::LocalAddresses;

/// The traffic that an entry belongs to, as this host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From here to elsewhere.
    Out,
    /// From elsewhere to here.
    In,
    /// Neither end is here.
    Forwarded,
    /// Both ends are here.
    Local,
}

impl Direction {
    /// Every direction, with the words of the text.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Out, "out"),
        (Self::In, "in"),
        (Self::Forwarded, "forwarded"),
        (Self::Local, "local"),
    ];
}

impl Direction {
    /// The direction as a word of a list: `outbound`.
    pub fn adjective(self) -> &'static str {
        match self {
            Self::Out => "outbound",
            Self::In => "inbound",
            Self::Forwarded => "forwarded",
            Self::Local => "within this host",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::ALL.iter().find(|(direction, _)| direction == self);
        f.write_str(known.map_or("", |(_, word)| word))
    }
}

/// The way of an entry and the endpoints it counts for. Ports mean nothing where the protocol has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From here to elsewhere.
    Out {
        /// The destination. If that is an address of this host, the endpoint that answers.
        to: Side,
    },
    /// From elsewhere to here, also after DNAT or REDIRECT, and to all (broadcast, multicast).
    In {
        /// The client.
        from: Address,
    },
    /// Through this host.
    Forwarded {
        /// The client, before masquerading.
        from: Address,
        /// The destination. If that is an address of this host, the endpoint that answers.
        to: Side,
    },
    /// From here to here.
    Local {
        /// The destination.
        to: Side,
    },
}

impl Way {
    /// The way of an entry. The original direction tells who connects to what, the source of the reply who answers.
    pub fn of(entry: &Entry, local: &LocalAddresses) -> Self {
        let (from, dialled) = (entry.original.source, entry.original.to());
        let answering = entry.reply.from();
        if local.contains(from) {
            if !local.contains(dialled.0) {
                Self::Out { to: dialled }
            } else if !local.contains(answering.0) {
                // a service address held here, whose backend is elsewhere
                Self::Out { to: answering }
            } else {
                Self::Local { to: dialled }
            }
        } else if local.receives(answering.0) {
            // dialled directly, or translated to here (DNAT, REDIRECT)
            Self::In { from }
        } else if dialled.0 != answering.0 && local.contains(dialled.0) {
            // a port of this router, forwarded to a host behind it
            Self::Forwarded {
                from,
                to: answering,
            }
        } else {
            Self::Forwarded { from, to: dialled }
        }
    }

    /// Without the addresses.
    pub fn direction(self) -> Direction {
        match self {
            Self::Out { .. } => Direction::Out,
            Self::In { .. } => Direction::In,
            Self::Forwarded { .. } => Direction::Forwarded,
            Self::Local { .. } => Direction::Local,
        }
    }

    /// The client, where it is elsewhere.
    pub fn from(self) -> Option<Address> {
        match self {
            Self::In { from } | Self::Forwarded { from, .. } => Some(from),
            Self::Out { .. } | Self::Local { .. } => None,
        }
    }

    /// The destination, where it is more than one of this host's services.
    pub fn to(self) -> Option<Side> {
        match self {
            Self::Out { to } | Self::Forwarded { to, .. } | Self::Local { to } => Some(to),
            Self::In { .. } => None,
        }
    }

    /// The end of the entry that a socket of this host would be bound to. Of two, the one that was dialled: the other
    /// is mostly connected, and then found by its full tuple.
    pub(crate) fn here(self, entry: &Entry) -> Option<Side> {
        match self {
            Self::Out { .. } => Some(entry.original.from()),
            Self::In { .. } | Self::Local { .. } => Some(entry.reply.from()),
            Self::Forwarded { .. } => None,
        }
    }
}
