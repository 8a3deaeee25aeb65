//! The traffic that an entry belongs to, and the endpoints that the entry counts for.

use std::fmt;

use crate::model::address::Address;
use crate::model::conntrack::{Entry, SocketAddress};
use crate::model::local_addresses::LocalAddresses;

/// The traffic that an entry belongs to, as this host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// From here to elsewhere.
    Output,
    /// From elsewhere to here.
    Input,
    /// Neither end is here.
    Forward,
    /// Both ends are here.
    Local,
}

impl Traffic {
    /// Every direction, with the words of the text.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Output, "out"),
        (Self::Input, "in"),
        (Self::Forward, "forwarded"),
        (Self::Local, "local"),
    ];
}

impl Traffic {
    /// The direction as a word of a list: `outbound`.
    pub fn adjective(self) -> &'static str {
        match self {
            Self::Output => "outbound",
            Self::Input => "inbound",
            Self::Forward => "forwarded",
            Self::Local => "within this host",
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::ALL.iter().find(|(traffic, _)| traffic == self);
        f.write_str(known.map_or("", |(_, word)| word))
    }
}

/// The way of an entry and the endpoints it counts for. Ports mean nothing where the protocol has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryTraffic {
    /// From here to elsewhere.
    Output {
        /// The destination. If that is an address of this host, the endpoint that answers.
        to: SocketAddress,
    },
    /// From elsewhere to here, also after DNAT or REDIRECT, and to all (broadcast, multicast).
    Input {
        /// The client.
        from: Address,
    },
    /// Through this host.
    Forward {
        /// The client, before masquerading.
        from: Address,
        /// The destination. If that is an address of this host, the endpoint that answers.
        to: SocketAddress,
    },
    /// From here to here.
    Local {
        /// The destination.
        to: SocketAddress,
    },
}

impl EntryTraffic {
    /// The way of an entry. The original direction tells who connects to what, the source of the reply who answers.
    pub fn of(entry: &Entry, local: &LocalAddresses) -> Self {
        let (from, dialled) = (entry.original.source, entry.original.to());
        let answering = entry.reply.from();
        if local.contains(from) {
            if !local.contains(dialled.0) {
                Self::Output { to: dialled }
            } else if !local.contains(answering.0) {
                // a service address held here, whose backend is elsewhere
                Self::Output { to: answering }
            } else {
                Self::Local { to: dialled }
            }
        } else if local.receives(answering.0) {
            // dialled directly, or translated to here (DNAT, REDIRECT)
            Self::Input { from }
        } else if dialled.0 != answering.0 && local.contains(dialled.0) {
            // a port of this router, forwarded to a host behind it
            Self::Forward {
                from,
                to: answering,
            }
        } else {
            Self::Forward { from, to: dialled }
        }
    }

    /// Without the addresses.
    pub fn traffic(self) -> Traffic {
        match self {
            Self::Output { .. } => Traffic::Output,
            Self::Input { .. } => Traffic::Input,
            Self::Forward { .. } => Traffic::Forward,
            Self::Local { .. } => Traffic::Local,
        }
    }

    /// The client, where it is elsewhere.
    pub fn from(self) -> Option<Address> {
        match self {
            Self::Input { from } | Self::Forward { from, .. } => Some(from),
            Self::Output { .. } | Self::Local { .. } => None,
        }
    }

    /// The destination, where it is more than one of this host's services.
    pub fn to(self) -> Option<SocketAddress> {
        match self {
            Self::Output { to } | Self::Forward { to, .. } | Self::Local { to } => Some(to),
            Self::Input { .. } => None,
        }
    }

    /// The end of the entry that a socket of this host would be bound to. Of two, the one that was dialled: the other
    /// is mostly connected, and then found by its full tuple.
    pub(crate) fn here(self, entry: &Entry) -> Option<SocketAddress> {
        match self {
            Self::Output { .. } => Some(entry.original.from()),
            Self::Input { .. } | Self::Local { .. } => Some(entry.reply.from()),
            Self::Forward { .. } => None,
        }
    }
}
