//! The metrics a threshold can be put on.

use std::fmt;

/// What is measured. The names are those of the command line and of the perfdata.
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
}

impl Metric {
    /// Every metric, in the order of documentation and output.
    pub const ALL: [Self; 4] = [Self::Usage, Self::Entries, Self::Free, Self::Chain];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Entries => "entries",
            Self::Free => "free",
            Self::Chain => "chain",
        }
    }

    /// The metric of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether a bound may carry `%`, percent of nf_conntrack_max.
    pub fn takes_percent(self) -> bool {
        match self {
            Self::Usage | Self::Entries | Self::Free => true,
            Self::Chain => false,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
