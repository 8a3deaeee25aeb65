//! The recording: samples, surveys of the table and incidents of the last hour, as the recorder keeps them and a check
//! reads them. Plain values and pure functions.
//!
//! Times are times since the host was started, which no step of the clock changes. A [`Clock`] says what time of day it
//! was then.

pub mod format;
mod history;
pub mod incidents;
mod parse;
pub mod schedule;
pub mod story;

pub use parse::head;

use std::time::Duration;

use crate::model::dump::Source;
use crate::model::netns::NetnsId;
use crate::model::readings::Counts;

/// Samples and surveys are kept for so long.
pub const KEPT: Duration = Duration::from_secs(3600);
/// The largest number of endpoints that a survey keeps.
pub const MAX_ENDPOINTS: usize = 10;

/// Everything that is recorded of one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The boot of the host (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// The numbers of the network namespace, each of another kind: a check may know one of them only.
    pub namespaces: Vec<NetnsId>,
    /// The time between two samples.
    pub period: Duration,
    /// The time between two surveys, if surveys were put off to spare the CPU.
    pub spaced: Option<Duration>,
    /// Why the table could not be read at the last attempt.
    pub unread: Option<String>,
    /// The time of day at some moments. Between two of them it went on without a step.
    pub clocks: Vec<Clock>,
    /// The samples, in the order of time.
    pub samples: Vec<Sample>,
    /// The surveys, in the order of time.
    pub surveys: Vec<Survey>,
    /// The incidents, in the order of time.
    pub incidents: Vec<Incident>,
}

/// The time of day at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The moment, as the time since the host was started.
    pub at: Duration,
    /// The time of day, since 1970 in UTC.
    pub utc: Duration,
}

/// The numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The time since the host was started.
    pub at: Duration,
    /// nf_conntrack_count.
    pub count: u32,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
    /// The increase of each of [`crate::model::readings::Counter::ALL`] since the sample before; none if it is not known.
    pub increases: Option<[u64; 4]>,
}

impl Sample {
    /// Packets lost since the sample before.
    pub fn lost(&self) -> u64 {
        let [drop, chains, ..] = self.increases.unwrap_or_default();
        drop.saturating_add(chains)
    }

    /// True if the usage is at least so many percent.
    pub fn is_at_least(&self, percent: u64) -> bool {
        self.max
            .is_some_and(|max| u64::from(self.count) * 100 >= u64::from(max) * percent)
    }

    /// True if the usage is higher than that of another sample. Without a limit the entries are compared.
    pub fn is_fuller_than(&self, other: &Self) -> bool {
        match (self.max, other.max) {
            (Some(max), Some(of_other)) => {
                u64::from(self.count) * u64::from(of_other)
                    > u64::from(other.count) * u64::from(max)
            }
            _ => self.count > other.count,
        }
    }
}

/// One look into the table: who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The time since the host was started.
    pub at: Duration,
    /// nf_conntrack_count.
    pub count: u32,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
    /// The source of the entries.
    pub source: Source,
    /// Entries that were read.
    pub read: u64,
    /// Entries that there were to read.
    pub total: u64,
    /// The finding of the diagnosis.
    pub finding: Option<RecordedFinding>,
    /// The remote endpoints that hold most entries, largest first.
    pub endpoints: Vec<Holding>,
    /// Entries by class; none if the source does not tell.
    pub counts: Option<Counts>,
    /// The lines of the list of endpoints; only the last survey has them.
    pub lines: Vec<String>,
}

/// A finding in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedFinding {
    /// The number of the rule.
    pub rule: u8,
    /// The sentence.
    pub sentence: String,
    /// Who holds the entries, if the finding names anybody.
    pub holder: Option<Holding>,
    /// The reason why it happens.
    pub why: Option<String>,
    /// The command or change that mends it.
    pub fix: Option<String>,
    /// One command that shows more.
    pub look: Option<String>,
}

/// A name and the entries that it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// Its entries in the whole table.
    pub entries: u64,
    /// An endpoint, or who holds it: `to 10.0.3.7:6379/tcp`.
    pub name: String,
    /// The unit, command or user of this host that holds most of its sockets.
    pub owner: Option<String>,
}

/// A time in which the table was nearly full or packets were lost, and the file about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its beginning.
    pub began: Duration,
    /// Its last moment so far.
    pub until: Duration,
    /// The file, cleaned.
    pub path: String,
}
