//! The sources of entries, and the summary of a dump.

use std::fmt;

use crate::model::error::ReadError;

/// The source of the entries.
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

/// The source that the operator chose.
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
    /// The last look of a recorder.
    Recording,
}

/// How much of the table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Entries that are handed on at most; 0 for all.
    pub sample: u64,
    /// True if the entries beyond the sample are counted. nf_conntrack_count does not tell how many there are, because
    /// expired entries count until they are collected.
    pub count_on: bool,
}

impl Extent {
    /// Entries that are handed on at most if the table holds as many.
    pub fn of(self, entries: u32) -> usize {
        let all = entries as usize;
        match usize::try_from(self.sample) {
            Ok(sample @ 1..) => all.min(sample),
            _ => all,
        }
    }
}

impl From<u64> for Extent {
    /// A sample, beyond which nothing is read.
    fn from(sample: u64) -> Self {
        Self {
            sample,
            count_on: false,
        }
    }
}

/// The end of a dump of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpEnd {
    /// At its end.
    Whole,
    /// When as many entries as wanted were read.
    Sampled,
    /// When the time for it was up.
    TimeUp,
    /// With an error; what came before it counts.
    Failed(ReadError),
}

/// The summary of a dump of the table, besides its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpSummary {
    /// The source.
    pub source: Source,
    /// Entries that were handed on.
    pub read: u64,
    /// Entries that were seen: of a capture those after the sample too.
    pub seen: u64,
    /// True if `seen` is the number of all entries of the table although a sample of them was handed on.
    pub counted: bool,
    /// Lines or messages that could not be parsed and were left out.
    pub broken: u64,
    /// The lines among them by kind.
    pub unread: UnreadLines,
    /// The number of entries that `conntrack -L` says it listed, if its summary stands in a capture.
    pub shown: Option<u64>,
    /// The end of the dump.
    pub end: DumpEnd,
    /// The hash table was resized meanwhile, so entries are missing or double.
    pub inexact: bool,
}

impl DumpSummary {
    /// A reading from this source that ended so; nothing was left out.
    pub fn new(source: Source, read: u64, end: DumpEnd) -> Self {
        Self {
            source,
            read,
            seen: read,
            counted: false,
            broken: 0,
            unread: UnreadLines::default(),
            shown: None,
            end,
            inexact: false,
        }
    }

    /// The parts of the table that were not read although the reading came to its end. `count` is nf_conntrack_count,
    /// if it is of this table.
    pub fn gaps(&self, count: Option<u32>) -> Vec<Gap> {
        let unit = match self.source {
            Source::Netlink => "messages",
            _ => "lines",
        };
        let unparsed = (self.broken > 0).then_some(Gap::Unparsed {
            unread: self.broken,
            all: self.seen + self.broken,
            unit,
        });
        // lines that could not be parsed were there all the same
        let listed = self.seen + self.broken;
        let whole = matches!(self.end, DumpEnd::Whole | DumpEnd::Sampled);
        let excerpt = self.shown.filter(|shown| whole && listed < *shown);
        let excerpt = excerpt.map(|shown| Gap::Excerpt {
            read: self.seen,
            shown,
        });
        let count = count
            .map(u64::from)
            .filter(|_| self.end == DumpEnd::Whole || self.counted);
        let short = count.filter(|count| listed * 10 < count * 9);
        let short = short.map(|count| Gap::Listed { listed, count });
        [unparsed, excerpt, short].into_iter().flatten().collect()
    }
}

/// A part of the table that was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Lines or messages that could not be parsed.
    Unparsed {
        /// Their number.
        unread: u64,
        /// The number of all lines or messages, without blank lines.
        all: u64,
        /// `lines` or `messages`.
        unit: &'static str,
    },
    /// Entries that are missing in a capture, by the summary of `conntrack -L`.
    Excerpt {
        /// Entries in the capture.
        read: u64,
        /// Entries that were listed.
        shown: u64,
    },
    /// Entries that count in nf_conntrack_count and that the kernel does not list: expired ones that were not
    /// collected, unconfirmed ones, and entries hidden by a security policy.
    Listed {
        /// Entries in the list.
        listed: u64,
        /// nf_conntrack_count.
        count: u64,
    },
}

impl Gap {
    /// True if so much is missing that numbers of entries are not measured: a tenth or more.
    pub fn hides_the_numbers(self) -> bool {
        match self {
            Self::Unparsed { unread, all, .. } => unread * 10 >= all,
            Self::Excerpt { read, shown } => (shown - read) * 10 >= shown,
            // the list is whole, and what it does not hold is no connection
            Self::Listed { .. } => false,
        }
    }

    /// True if most of what is there could not be read, so that nothing can be said about the table.
    pub fn hides_the_table(self) -> bool {
        matches!(self, Self::Unparsed { unread, all, .. } if unread * 2 > all)
    }

    /// True if the entries that were read say too little about the table for a finding to rest on them.
    pub fn forbids_findings(self) -> bool {
        matches!(self, Self::Listed { .. }) || self.hides_the_table()
    }

    /// The entries that were seen all the same.
    pub fn read(self) -> u64 {
        match self {
            Self::Unparsed { unread, all, .. } => all - unread,
            Self::Excerpt { read, .. } => read,
            Self::Listed { listed, .. } => listed,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unparsed { unread, all, unit } => {
                write!(f, "{unread} of {all} {unit} could not be parsed")
            }
            Self::Excerpt { read, shown } => {
                write!(
                    f,
                    "read {read} of the {shown} entries that conntrack listed"
                )
            }
            Self::Listed { listed, count } => write!(f, "the table lists {listed} of {count}"),
        }
    }
}

/// A kind of line that is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The beginning of an entry.
    Cut,
    /// A later part of an entry.
    Wrapped,
    /// An entry in which addresses or ports were replaced.
    Redacted,
    /// Two entries without a line break.
    Glued,
    /// Something else.
    Foreign,
}

impl Unread {
    /// Every kind, with the words of the text.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Cut, "cut off"),
        (Self::Wrapped, "the rest of a wrapped line"),
        (Self::Redacted, "with addresses or ports removed"),
        (Self::Glued, "two lines in one"),
        (Self::Foreign, "other text"),
    ];
}

/// The number of lines of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnreadLines([u64; Unread::ALL.len()]);

impl UnreadLines {
    /// Counts a line.
    pub fn add(&mut self, kind: Unread) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// Lines of a kind.
    pub fn of(&self, kind: Unread) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for UnreadLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = Unread::ALL
            .iter()
            .filter(|(kind, _)| self.of(*kind) > 0)
            .map(|(kind, words)| format!("{} {words}", self.of(*kind)));
        f.write_str(&kinds.collect::<Vec<_>>().join(", "))
    }
}
