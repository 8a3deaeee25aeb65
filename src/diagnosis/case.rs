//! The input of the diagnosis: what was measured and read, apart from words.

use crate::analysis::facts::{Facts, Port, Share};
use std::net::IpAddr;

/// Everything that a rule may look at.
#[derive(Debug, Clone, Default)]
pub struct Case<'a> {
    /// Facts of the entries; none if the table was not read.
    pub facts: Option<&'a Facts>,
    /// Entries in the table: nf_conntrack_count, or the number in a capture.
    pub count: Option<u32>,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
    /// nf_conntrack_buckets.
    pub buckets: Option<u32>,
    /// A range on the fullness of the table was crossed, or packets were lost because the table was full.
    pub filling: bool,
    /// The entries come from a capture, whose reader asks who holds them whatever the state is.
    pub capture: bool,
    /// A recorder asks, which notes who holds the entries whatever the state is.
    pub recording: bool,
    /// A range on the chain length was crossed, or packets were lost to long chains.
    pub chains_long: bool,
    /// The counters drop or insert_failed moved although the table was not full.
    pub lost_below_limit: bool,
    /// A range on the source ports in use was crossed.
    pub ports_crossed: bool,
    /// The source ports of the pair that uses most of its range.
    pub ports: Option<PortUse>,
    /// The source ports of the translated pair that uses nearly all of the few that a rule gives it.
    pub dense_ports: Option<PortUse>,
    /// A limit that is lower than the configured one.
    pub configured: Option<Configured>,
    /// Entries that a whole dump listed, beside the count.
    pub listed: Option<Listed>,
    /// Entries per minute since the previous run.
    pub growth: Option<i64>,
}

impl Case<'_> {
    /// True if a finding about fullness answers a question that the reader has.
    pub fn explains_fullness(&self) -> bool {
        self.filling || self.capture || self.recording
    }
}

/// Source ports in use between a local or translated address and one far address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortUse {
    /// The source address.
    pub source: IpAddr,
    /// The far address.
    pub far: IpAddr,
    /// The far port and its protocol.
    pub port: Port,
    /// Source ports in use, of those there are.
    pub used: Share,
    /// True if this host translates the source address; then the range is 1024 to 65535, and not ip_local_port_range.
    pub translated: bool,
}

/// A setting of the kernel that a file configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// net.netfilter.nf_conntrack_max.
    Max,
    /// net.netfilter.nf_conntrack_buckets, or the module's hashsize.
    Buckets,
}

/// A configured value that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// The setting.
    pub setting: Setting,
    /// The file that sets it, cleaned.
    pub file: String,
    /// The value in the file.
    pub value: u64,
    /// The value in force, which is lower.
    pub live: u64,
}

/// A whole dump beside nf_conntrack_count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Entries in the dump.
    pub listed: u64,
    /// nf_conntrack_count.
    pub count: u64,
}

impl Listed {
    /// Less than this share of the count is too little for a finding. Percent.
    const ENOUGH: u64 = 90;

    /// True if the list lacks so much that it says nothing about who holds the entries.
    pub fn lacks_much(self) -> bool {
        self.count > 0 && !Share::new(self.listed, self.count).is_at_least(Self::ENOUGH)
    }
}
