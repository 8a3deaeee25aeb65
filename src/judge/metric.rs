//! The metrics a threshold can be put on.

use std::fmt;

use crate::model::conntrack::Class;
use crate::model::readings::Counter;

/// A measured quantity. Its name is the same on the command line and in the perfdata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Entries in percent of nf_conntrack_max.
    Usage,
    /// Entries in the table.
    Entries,
    /// Entries that still fit: nf_conntrack_max minus entries.
    Free,
    /// Mean hash chain length, 2 * entries / nf_conntrack_buckets: every entry hangs in two chains, one for each
    /// direction (net/netfilter/nf_conntrack_core.c).
    Chain,
    /// Packets lost since the previous run: the increase of drop and chaintoolong. insert_failed counts them again.
    Lost,
    /// The increase of one counter since the previous run.
    Increase(Counter),
    /// Entries per minute since the previous run.
    Growth,
    /// Seconds until the table is full at that growth; infinite when it does not grow.
    FullIn,
    /// Source ports in use, in percent of those there are, of the pair that uses most of its range: a local or translated
    /// source address, and a far address with its port.
    Ports,
    /// Expectations in percent of nf_conntrack_expect_max.
    Expect,
    /// The highest usage since the previous run, in percent of nf_conntrack_max; from a recording.
    Peak,
    /// Entries of the largest remote endpoint.
    Endpoint,
    /// Entries without a packet of the reply direction.
    Unreplied,
    /// Entries the kernel may evict for a new connection: not ASSURED and not offloaded.
    Evictable,
    /// Entries of one class.
    Class(Class),
}

/// The name of each metric, in the order of documentation and output.
const NAMES: [(Metric, &str); 28] = [
    (Metric::Usage, "usage"),
    (Metric::Entries, "entries"),
    (Metric::Free, "free"),
    (Metric::Chain, "chain"),
    (Metric::Lost, "lost"),
    (Metric::Increase(Counter::Drop), Counter::Drop.name()),
    (
        Metric::Increase(Counter::ChainTooLong),
        Counter::ChainTooLong.name(),
    ),
    (
        Metric::Increase(Counter::EarlyDrop),
        Counter::EarlyDrop.name(),
    ),
    (
        Metric::Increase(Counter::InsertFailed),
        Counter::InsertFailed.name(),
    ),
    (Metric::Growth, "growth"),
    (Metric::FullIn, "full_in"),
    (Metric::Peak, "peak"),
    (Metric::Ports, "ports"),
    (Metric::Expect, "expect"),
    (Metric::Endpoint, "endpoint"),
    (Metric::Unreplied, "unreplied"),
    (Metric::Evictable, "evictable"),
    (Metric::Class(Class::Established), "established"),
    (Metric::Class(Class::TimeWait), "time_wait"),
    (Metric::Class(Class::SynSent), "syn_sent"),
    (Metric::Class(Class::SynRecv), "syn_recv"),
    (Metric::Class(Class::FinWait), "fin_wait"),
    (Metric::Class(Class::CloseWait), "close_wait"),
    (Metric::Class(Class::LastAck), "last_ack"),
    (Metric::Class(Class::Close), "close"),
    (Metric::Class(Class::Udp), "udp"),
    (Metric::Class(Class::Icmp), "icmp"),
    (Metric::Class(Class::Other), "other"),
];

impl Metric {
    /// Every metric, in the order of documentation and output.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(metric, _)| *metric)
    }

    /// The name on the command line and in the perfdata.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(metric, _)| *metric == self)
            .map_or("", |(_, name)| name)
    }

    /// The metric of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(metric, _)| *metric)
    }

    /// True if the value is a percentage, so that `%` behind a bound changes nothing.
    pub fn is_percentage(self) -> bool {
        matches!(self, Self::Usage | Self::Peak | Self::Ports | Self::Expect)
    }

    /// True if a bound may carry `%`: of a metric that is no percentage, percent of nf_conntrack_max.
    pub fn takes_percent(self) -> bool {
        !matches!(
            self,
            Self::Chain | Self::Lost | Self::Increase(_) | Self::FullIn
        )
    }

    /// True if it is a time, whose bounds may carry `s`, `m` and `h`.
    pub fn is_time(self) -> bool {
        self == Self::FullIn
    }

    /// True if the entries themselves must be read for it.
    pub fn needs_table(self) -> bool {
        matches!(
            self,
            Self::Ports
                | Self::Expect
                | Self::Endpoint
                | Self::Unreplied
                | Self::Evictable
                | Self::Class(_)
        )
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
