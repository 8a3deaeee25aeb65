//! The network namespaces that are judged, and which of them decides. Pure.

use std::cmp::Ordering;

use nagiosplugin::ServiceState;

use crate::judge::assess::{assess, rank};
use crate::judge::threshold::Thresholds;
use crate::model::netns::{Namespace, Resident};
use crate::model::readings::Readings;

/// A namespace and the verdict on it alone.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Without the metrics of the table, which is read of the deciding namespace only.
    pub state: ServiceState,
    /// The namespace.
    pub namespace: Namespace,
}

/// Judges each namespace and sorts them: the highest state, then the highest usage, then the lowest process id. The
/// first one decides.
pub fn worst_first(
    namespaces: Vec<Namespace>,
    thresholds: &Thresholds,
    absent: ServiceState,
    empty: ServiceState,
) -> Vec<Box<Judged>> {
    let thresholds = thresholds.clone().without_table();
    // each at its place, as a pointer: a few hundred of them, and a sort of these large values is 10 KB of code
    let mut sorted: Vec<Box<Judged>> = Vec::with_capacity(namespaces.len());
    for namespace in namespaces {
        let judged = Judged {
            state: assess(&namespace.readings, &thresholds, absent, empty).state,
            namespace,
        };
        let place = sorted.partition_point(|other| is_worse(other, &judged));
        sorted.insert(place, Box::new(judged));
    }
    sorted
}

fn is_worse(one: &Judged, other: &Judged) -> bool {
    let order = rank(other.state)
        .cmp(&rank(one.state))
        .then_with(|| by_usage(&other.namespace.readings, &one.namespace.readings))
        .then_with(|| lowest_pid(one).cmp(&lowest_pid(other)));
    order == Ordering::Less
}

fn lowest_pid(judged: &Judged) -> i32 {
    judged.namespace.seen.map_or(i32::MAX, |seen| seen.pid)
}

/// Exactly: multiplied crosswise, 32 bits each. What was not counted is below everything; where there is no limit the
/// entries themselves are compared.
fn by_usage(one: &Readings, other: &Readings) -> Ordering {
    let count = |readings: &Readings| readings.count.as_ref().ok().copied().map(u64::from);
    let max = |readings: &Readings| readings.max().map(u64::from);
    match (count(one), count(other), max(one), max(other)) {
        (Some(count), Some(its_count), Some(max), Some(its_max)) => {
            (count * its_max).cmp(&(its_count * max))
        }
        // one with a limit before one without keeps this an order
        (Some(count), Some(its_count), max, its_max) => max
            .is_some()
            .cmp(&its_max.is_some())
            .then(count.cmp(&its_count)),
        (count, its_count, ..) => count.cmp(&its_count),
    }
}

/// What is told of the namespaces when all of them were to be judged.
#[derive(Debug, Clone)]
pub struct Overview {
    /// How many were seen.
    pub number: usize,
    /// Who is in the one that decides.
    pub deciding: Resident,
    /// How many of the others lost packets since the previous run.
    pub losing: usize,
    /// The others one by one, worst first, when somebody asked for them.
    pub others: Vec<Other>,
}

/// A namespace that does not decide.
#[derive(Debug, Clone)]
pub struct Other {
    /// Who is in it.
    pub resident: Resident,
    /// The verdict on it alone.
    pub state: ServiceState,
    /// What was read of it.
    pub readings: Readings,
}

impl Overview {
    /// Without a word about each of the others.
    pub fn of(deciding: Resident, others: &[Box<Judged>]) -> Self {
        let lost = |judged: &Judged| {
            let change = judged.namespace.readings.change.as_ref().ok();
            change.is_some_and(|change| change.lost().is_some_and(|lost| lost > 0))
        };
        Self {
            number: others.len() + 1,
            deciding,
            losing: others.iter().filter(|judged| lost(judged)).count(),
            others: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::ReadError;
    use std::time::Duration;

    use crate::model::netns::{NetnsId, Seen};
    use crate::model::readings::{Change, Limit, Statistics};

    fn namespace(pid: i32, count: u32, limit: Limit) -> Namespace {
        let inode = pid.unsigned_abs().into();
        Namespace {
            id: Ok(NetnsId::Statistics(inode)),
            readings: Readings {
                count: Ok(count),
                limit: Ok(limit),
                buckets: Ok(u32::MAX),
                ..Readings::none()
            },
            seen: Some(Seen { pid, inode }),
            own: false,
        }
    }

    fn order(namespaces: Vec<Namespace>, warning: &[&str], critical: &[&str]) -> Vec<i32> {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let thresholds = Thresholds::parse(&owned(warning), &owned(critical)).unwrap();
        worst_first(namespaces, &thresholds, ServiceState::Ok, ServiceState::Ok)
            .iter()
            .map(|judged| lowest_pid(judged))
            .collect()
    }

    #[test]
    fn the_highest_usage_decides_and_then_the_lowest_process() {
        let of = |pid, count| namespace(pid, count, Limit::Entries(1000));
        let all = vec![of(9, 10), of(4, 30), of(7, 30), of(5, 20)];
        assert_eq!(order(all, &[], &[]), [4, 7, 5, 9]);
        // 0.79999999995 and 0.8 percent of the whole, exactly
        let all = vec![
            namespace(1, 3_435_973_835, Limit::Entries(u32::MAX)),
            namespace(2, 4, Limit::Entries(5)),
        ];
        assert_eq!(order(all, &["usage=100"], &[]), [2, 1]);
    }

    #[test]
    fn a_higher_state_decides_whatever_the_usage_is() {
        let of = |pid, count| namespace(pid, count, Limit::Entries(1000));
        let mut lost = of(8, 1);
        lost.readings.statistics = Ok(Statistics {
            processors: vec![[Some(1), Some(0), Some(0), Some(0)]],
        });
        lost.readings.change = Ok(Change {
            elapsed: Duration::from_secs(60),
            entries: 0,
            counters: Some([1, 0, 0, 0]),
            counted_for: Duration::from_secs(60),
            was_full: false,
        });
        let mut unread = of(3, 0);
        unread.readings.count = Err(ReadError::NotReached);
        let all = || {
            vec![
                of(1, 700),
                unread.clone(),
                of(2, 850),
                lost.clone(),
                of(4, 300),
            ]
        };
        // WARNING by its usage, UNKNOWN, OK
        assert_eq!(order(all(), &[], &[]), [2, 3, 1, 4, 8]);
        // CRITICAL by its losses, WARNING by its usage, and the others do not know
        assert_eq!(order(all(), &[], &["lost=0"]), [8, 2, 1, 4, 3]);
    }

    #[test]
    fn metrics_of_the_table_have_no_say() {
        let of = |pid, count| namespace(pid, count, Limit::Entries(1000));
        let mut counted = of(2, 10);
        counted.readings.table = Ok(crate::model::readings::Counts {
            unreplied: 10,
            ..Default::default()
        });
        let all = vec![counted, of(1, 20)];
        assert_eq!(order(all, &["unreplied=5"], &[]), [1, 2]);
    }

    #[test]
    fn without_a_limit_the_entries_are_compared() {
        let all = vec![
            namespace(1, 5, Limit::None(0)),
            namespace(2, 1, Limit::Entries(1000)),
            namespace(3, 9, Limit::None(0)),
        ];
        assert_eq!(order(all, &[], &[]), [2, 3, 1]);
    }
}
