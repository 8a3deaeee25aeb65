//! The network namespaces that are judged, and which of them decides. Pure.

use std::cmp::Ordering;

use crate::judge::assess::{Assessment, Policy, Subject, assess, rank};
use crate::judge::losses::{Losses, losses};
use crate::judge::measure::{Measurements, Numbers};
use crate::judge::metric::Metric;
use crate::judge::threshold::Thresholds;
use crate::model::netns::{Compared, NetnsRepresentative};
use crate::model::readings::Readings;

/// A namespace and the verdict on it alone.
#[derive(Debug, Clone)]
pub struct AssessedNetns {
    /// The namespace.
    pub netns: Compared,
    /// The verdict, without the metrics of the table, which is read of the deciding namespace only.
    pub assessment: Assessment,
}

impl AssessedNetns {
    /// Packets that the namespace lost since the previous run.
    pub fn losses(&self) -> Option<Losses> {
        losses(
            &self.netns.namespace.readings,
            self.netns.change.as_ref().ok(),
            self.assessment.is_above(Metric::Chain),
        )
    }
}

/// The policy by which every namespace is judged.
#[derive(Debug, Clone, Copy)]
pub struct Bench<'a> {
    /// The thresholds, those of the table included.
    pub thresholds: &'a Thresholds,
    /// The state that the operator chose for hosts that track nothing.
    pub policy: Policy,
    /// Entries of all namespaces, if all were counted.
    pub sharing: Option<u64>,
    /// Not every namespace that was to be judged could be seen.
    pub others_unseen: bool,
}

/// Judges each namespace. The one with the highest state decides, then the highest usage, then the lowest process id;
/// the others follow in this order.
pub fn worst_first(
    own: Compared,
    others: Vec<Compared>,
    bench: Bench<'_>,
) -> (AssessedNetns, Vec<Box<AssessedNetns>>) {
    let thresholds = bench.thresholds.clone().without_table();
    let mut deciding = judge(own, &thresholds, bench);
    // each at its place, as a pointer: a few hundred of them, and a sort of these large values is 10 KB of code
    let mut sorted: Vec<Box<AssessedNetns>> = Vec::with_capacity(others.len());
    for other in others {
        let mut judged = judge(other, &thresholds, bench);
        if is_worse(&judged, &deciding) {
            std::mem::swap(&mut judged, &mut deciding);
        }
        let place = sorted.partition_point(|other| is_worse(other, &judged));
        sorted.insert(place, Box::new(judged));
    }
    (deciding, sorted)
}

fn judge(netns: Compared, thresholds: &Thresholds, bench: Bench<'_>) -> AssessedNetns {
    let readings = &netns.namespace.readings;
    let measurements = Measurements::of(Numbers {
        readings,
        change: &netns.change,
        sharing: bench.sharing,
    });
    let subject = Subject {
        readings,
        measurements,
        elapsed: netns.change.as_ref().ok().map(|change| change.elapsed),
        others_unseen: bench.others_unseen,
    };
    let assessment = assess(subject, thresholds, bench.policy);
    AssessedNetns { netns, assessment }
}

fn is_worse(one: &AssessedNetns, other: &AssessedNetns) -> bool {
    let of = |judged: &AssessedNetns| rank(judged.assessment.state);
    let order = of(other)
        .cmp(&of(one))
        .then_with(|| {
            by_usage(
                &other.netns.namespace.readings,
                &one.netns.namespace.readings,
            )
        })
        .then_with(|| lowest_pid(one).cmp(&lowest_pid(other)));
    order == Ordering::Less
}

fn lowest_pid(judged: &AssessedNetns) -> i32 {
    let seen = judged.netns.namespace.seen;
    seen.map_or(i32::MAX, |seen| seen.pid)
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

/// The report on the namespaces besides the verdict on the deciding one.
#[derive(Debug, Clone)]
pub struct NetnsSummary {
    /// The number that was seen.
    pub number: usize,
    /// True if the namespace of this check is that of the host, and not that of a container.
    pub is_host: bool,
    /// The resident of the deciding namespace; none if that is the namespace of this check.
    pub deciding: Option<NetnsRepresentative>,
    /// The one of this check, if another one decides.
    pub own: Option<AssessedNetns>,
    /// The number of other namespaces that lost packets since the previous run.
    pub losing: usize,
    /// The others one by one, worst first, if somebody asked for them.
    pub others: Vec<OtherNetns>,
}

/// A namespace that does not decide.
#[derive(Debug, Clone)]
pub struct OtherNetns {
    /// The resident of the namespace.
    pub resident: NetnsRepresentative,
    /// The readings of the namespace, and the verdict on it alone.
    pub judged: AssessedNetns,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::ReadError;
    use std::time::Duration;

    use nagiosplugin::ServiceState;

    use crate::model::netns::{Namespace, NetnsId, Sighting};
    use crate::model::readings::{Change, Limit, Statistics};

    fn namespace(pid: i32, count: u32, limit: Limit) -> Compared {
        let inode = pid.unsigned_abs().into();
        Compared {
            namespace: Namespace {
                id: Ok(NetnsId::Statistics(inode)),
                readings: Readings {
                    count: Ok(count),
                    limit: Ok(limit),
                    buckets: Ok(u32::MAX),
                    ..Readings::none()
                },
                seen: Some(Sighting { pid, inode }),
                own: false,
            },
            change: Err(ReadError::NotReached),
        }
    }

    fn bench(thresholds: &Thresholds) -> Bench<'_> {
        Bench {
            thresholds,
            policy: Policy {
                absent: ServiceState::Ok,
                empty: ServiceState::Ok,
            },
            sharing: None,
            others_unseen: false,
        }
    }

    fn order(namespaces: Vec<Compared>, warning: &[&str], critical: &[&str]) -> Vec<i32> {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let thresholds = Thresholds::parse(&owned(warning), &owned(critical)).unwrap();
        let mut namespaces = namespaces.into_iter();
        let own = namespaces.next().unwrap();
        let (deciding, others) = worst_first(own, namespaces.collect(), bench(&thresholds));
        std::iter::once(&deciding)
            .chain(others.iter().map(AsRef::as_ref))
            .map(lowest_pid)
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
        lost.namespace.readings.statistics = Ok(Statistics {
            processors: vec![[Some(1), Some(0), Some(0), Some(0)]],
        });
        lost.change = Ok(Change {
            elapsed: Duration::from_secs(60),
            entries: 0,
            counters: Some([1, 0, 0, 0]),
            counted_for: Duration::from_secs(60),
            was_full: false,
        });
        let mut unread = of(3, 0);
        unread.namespace.readings.count = Err(ReadError::NotReached);
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
        // what is not read of each cannot decide, and makes none of them UNKNOWN
        let all = vec![of(2, 10), of(1, 20)];
        assert_eq!(order(all, &["unreplied=5"], &[]), [1, 2]);
        // one that is UNKNOWN for another reason still stands out
        let mut unknown = of(3, 1);
        unknown.namespace.readings.limit = Err(ReadError::NotReached);
        let all = vec![of(2, 10), of(1, 20), unknown];
        assert_eq!(order(all, &["unreplied=5"], &[]), [3, 1, 2]);
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

    #[test]
    fn a_namespace_has_the_losses_of_its_own_change() {
        let mut judged = namespace(8, 1, Limit::Entries(1000));
        judged.namespace.readings.statistics = Ok(Statistics {
            processors: vec![[Some(1), Some(0), Some(0), Some(0)]],
        });
        let losses = |netns: Compared| {
            let thresholds = Thresholds::parse(&[], &[]).unwrap();
            let (deciding, _) = worst_first(netns, Vec::new(), bench(&thresholds));
            deciding.losses().is_some()
        };
        assert!(!losses(judged.clone()));
        judged.change = Ok(Change {
            elapsed: Duration::from_secs(60),
            entries: 0,
            counters: Some([1, 0, 0, 0]),
            counted_for: Duration::from_secs(60),
            was_full: false,
        });
        assert!(losses(judged));
    }
}
