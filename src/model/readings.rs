//! The connection tracking table in our own words: plain values, as the kernel gave them.

use std::time::Duration;

use crate::model::conntrack::Class;
use crate::model::error::ReadError;

/// A value that was read, or the reason why it was not read. Absent is not zero, and unreadable is not empty.
pub type Reading<T> = Result<T, ReadError>;

/// Everything this check reads about one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// nf_conntrack_count: entries of this namespace, expired ones not yet collected and unconfirmed ones included.
    pub count: Reading<u32>,
    /// nf_conntrack_max.
    pub limit: Reading<Limit>,
    /// nf_conntrack_buckets: hash chains of the table, which all namespaces share.
    pub buckets: Reading<u32>,
    /// /proc/net/stat/nf_conntrack.
    pub statistics: Reading<Statistics>,
    /// Established TCP connections to other hosts while the table holds no entry: it looks as if it should.
    /// [`Self::MAX_UNTRACKED`] is as many or more.
    pub untracked: Reading<u64>,
    /// The moment of the highest usage since the previous run, from a recording.
    pub peak: Reading<Usage>,
    /// True if the entries come from a capture. The count is the number in it then, and a missing limit hides nothing.
    pub capture: bool,
}

/// A part of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    /// The part in use.
    pub used: u64,
    /// What there is.
    pub of: u64,
}

/// The fullness of the table at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// nf_conntrack_count.
    pub count: u32,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
}

/// A number of the whole table that a sample tells, with an interval of 95 %. All three are equal if the whole table was
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate<N> {
    /// The estimate.
    pub value: N,
    /// The lower end of the interval.
    pub at_least: N,
    /// The upper end of the interval.
    pub at_most: N,
}

impl<N: Copy> Estimate<N> {
    /// A number without an error.
    pub fn exact(value: N) -> Self {
        Self {
            value,
            at_least: value,
            at_most: value,
        }
    }

    /// The same interval in another unit.
    pub fn map<M>(self, unit: impl Fn(N) -> M) -> Estimate<M> {
        Estimate {
            value: unit(self.value),
            at_least: unit(self.at_least),
            at_most: unit(self.at_most),
        }
    }
}

/// Entries by class, in the whole table: extrapolated where only a sample was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// The entries of the remote endpoint that holds most.
    pub largest_endpoint: Estimate<u32>,
    /// The reason why the local addresses of this host are not known. Without them the remote end of an entry is not
    /// known either.
    pub own_unknown: Option<ReadError>,
    /// Source ports of the pair that uses most of its range.
    pub ports: Estimate<InUse>,
    /// Without a packet of the reply direction.
    pub unreplied: u32,
    /// The entries that the kernel may evict.
    pub evictable: u32,
    /// A value for each of [`Class::ALL`].
    pub classes: [u32; 11],
}

impl Counts {
    /// The same shares of a table that held `then` entries and holds `now` entries by now, if these are fewer.
    #[must_use]
    pub fn shrunk(&self, then: u32, now: u32) -> Self {
        let shrunk = |entries: u32| {
            if now >= then {
                return entries;
            }
            let part = u64::from(entries) * u64::from(now) / u64::from(then);
            u32::try_from(part).unwrap_or(now)
        };
        Self {
            largest_endpoint: self.largest_endpoint.map(shrunk),
            own_unknown: self.own_unknown.clone(),
            ports: self.ports,
            unreplied: shrunk(self.unreplied),
            evictable: shrunk(self.evictable),
            classes: self.classes.map(shrunk),
        }
    }

    /// Entries of one class.
    pub fn class(&self, class: Class) -> u32 {
        self.classes.get(class.index()).copied().unwrap_or_default()
    }
}

/// The change between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The time between the two runs, in hundredths of a second as /proc/uptime counts them.
    pub elapsed: Duration,
    /// Entries now, less those of then.
    pub entries: i64,
    /// The increase of each of [`Counter::ALL`], all processors together; none where one of the runs had no counters.
    /// What the kernel does not count did not increase.
    pub counters: Option<[u64; 4]>,
    /// The time in which the counters increased. It is longer than `elapsed` if the previous run could not read them.
    pub counted_for: Duration,
    /// True if the table held as many entries as it may, or more, at the previous run.
    pub was_full: bool,
}

impl Change {
    /// A shorter time says nothing about growth.
    pub const MIN_GROWTH_INTERVAL: Duration = Duration::from_secs(5);

    /// The increase of a counter.
    pub fn increase(&self, counter: Counter) -> Option<u64> {
        self.counters?.get(counter.index()).copied()
    }

    /// Packets lost: refused for lack of room, or because a hash chain was too long. An upper bound where a daemon
    /// creates entries over ctnetlink, since the kernel counts its refusals in chaintoolong too.
    pub fn lost(&self) -> Option<u64> {
        Some(self.increase(Counter::Drop)? + self.increase(Counter::ChainTooLong)?)
    }
}

impl Readings {
    /// No more untracked connections than these are counted.
    pub const MAX_UNTRACKED: u64 = 1000;

    /// Nothing has been read yet.
    pub fn none() -> Self {
        Self {
            count: Err(ReadError::NotReached),
            limit: Err(ReadError::NotReached),
            buckets: Err(ReadError::NotReached),
            statistics: Err(ReadError::NotReached),
            untracked: Err(ReadError::NotReached),
            peak: Err(ReadError::NotReached),
            capture: false,
        }
    }

    /// True if this kernel tracks connections, as far as that can be seen.
    pub fn tracks(&self) -> bool {
        !matches!(self.count, Err(ReadError::NotTracking { .. }))
    }

    /// The limit as a number of entries: none where there is none or it was not read.
    pub fn max(&self) -> Option<u32> {
        match self.limit {
            Ok(Limit::Entries(max)) => Some(max),
            _ => None,
        }
    }
}

/// nf_conntrack_max, compared by the kernel with each namespace's own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most this many entries, above 0.
    Entries(u32),
    /// 0 (kernels up to 6.18) or negative (5.10): no limit. Holds what the file says.
    None(i32),
}

/// The counters of the statistics file that this check shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Packets dropped: table full, no memory, an unresolved clash, or a tracker's or helper's verdict.
    Drop,
    /// Inserts refused because a hash chain was too long (from 5.15, where the column is named chainlength).
    ChainTooLong,
    /// Entries evicted to make room for a new one.
    EarlyDrop,
    /// Inserts that failed: clashes and chains too long.
    InsertFailed,
}

impl Counter {
    /// Every counter, in the order of the perfdata.
    pub const ALL: [Self; 4] = [
        Self::Drop,
        Self::ChainTooLong,
        Self::EarlyDrop,
        Self::InsertFailed,
    ];

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Drop => 0,
            Self::ChainTooLong => 1,
            Self::EarlyDrop => 2,
            Self::InsertFailed => 3,
        }
    }

    /// The name in the perfdata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::ChainTooLong => "chaintoolong",
            Self::EarlyDrop => "early_drop",
            Self::InsertFailed => "insert_failed",
        }
    }

    /// The name of the column in /proc/net/stat/nf_conntrack. Columns were renamed over the years, and what is called
    /// chainlength counts refusals: `ct_cpu_seq_show` in net/netfilter/nf_conntrack_standalone.c.
    pub fn column(self) -> &'static str {
        match self {
            Self::ChainTooLong => "chainlength",
            other => other.name(),
        }
    }
}

/// The counters since the namespace began, for each processor the kernel could have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// One row for each processor, a value for each of [`Counter::ALL`]; none where this kernel has no such column.
    pub processors: Vec<[Option<u32>; 4]>,
}

impl Statistics {
    /// The sum over all processors, in 64 bits; none when the kernel does not count it.
    pub fn total(&self, counter: Counter) -> Option<u64> {
        let mut values = self
            .processors
            .iter()
            .filter_map(|row| row.get(counter.index()).copied().flatten())
            .peekable();
        values.peek()?;
        Some(values.map(u64::from).sum())
    }

    /// The counters of the same processors before any event.
    pub fn zeros(&self) -> Self {
        let rows = self.processors.iter();
        Self {
            processors: rows.map(|row| row.map(|cell| cell.map(|_| 0))).collect(),
        }
    }

    /// True if this kernel refuses inserts into long chains and counts the refusals (from 5.15).
    pub fn limits_chains(&self) -> bool {
        self.total(Counter::ChainTooLong).is_some()
    }
}
