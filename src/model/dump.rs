//! Where entries are read from, and how reading them went.

use std::fmt;

use crate::model::error::ReadError;

/// Where entries were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A ctnetlink dump.
    Netlink,
    /// /proc/net/nf_conntrack.
    Procfs,
    /// A file of lines (`--table`).
    Capture,
    /// The local sockets, where the table may not be read.
    Sockets,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "from ctnetlink",
            Self::Procfs => "from /proc/net/nf_conntrack",
            Self::Capture => "from a capture",
            Self::Sockets => "from local sockets",
        })
    }
}

/// Where somebody wants entries to be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The best that is permitted.
    Auto,
    /// ctnetlink and nothing else.
    Netlink,
    /// /proc/net/nf_conntrack and nothing else.
    Procfs,
    /// The local sockets.
    Sockets,
}

/// How reading the table ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At its end.
    Whole,
    /// When as many entries as wanted were read.
    Sampled,
    /// When the time for it was up.
    TimeUp,
    /// With an error; what came before it counts.
    Failed(ReadError),
}

/// What is known of a reading of the table besides its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Where from.
    pub source: Source,
    /// Entries read.
    pub read: u64,
    /// Lines or messages that could not be understood and were left out.
    pub broken: u64,
    /// How it ended.
    pub end: End,
    /// The hash table was resized meanwhile, so entries are missing or double.
    pub inexact: bool,
}
