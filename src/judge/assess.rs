//! Compares the measurements with the thresholds. Pure: values in, a verdict out.

use std::time::Duration;

use nagiosplugin::ServiceState;

use crate::judge::measure::{Measured, Measurements};
use crate::judge::metric::Metric;
use crate::judge::number::Ratio;
use crate::judge::range::{Measure, Range, Violation};
use crate::judge::threshold::{Severity, Threshold, Thresholds};
use crate::model::error::ReadError;
use crate::model::readings::{Estimate, Readings};

/// The verdict and its reasons.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// CRITICAL over WARNING over UNKNOWN over OK.
    pub state: ServiceState,
    /// The thresholds that applied to this kernel.
    pub thresholds: Thresholds,
    /// Every metric out of range, with its more severe threshold only.
    pub crossings: Vec<Crossing>,
    /// Every metric whose given threshold could not be judged.
    pub unmeasured: Vec<Unmeasured>,
    /// The measurements that were compared.
    pub measurements: Measurements,
}

/// A metric out of range.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    /// The metric.
    pub metric: Metric,
    /// The severity of the threshold.
    pub severity: Severity,
    /// The way in which the value leaves the range.
    pub reason: Reason,
}

/// The way in which a value leaves the accepted values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It leaves a range.
    Range(Violation),
    /// The table is full before the next run, if that comes as long after this one as this one came after the previous.
    BeforeNextRun(Duration),
}

/// A metric that could not be measured although somebody asked for it.
#[derive(Debug, Clone)]
pub struct Unmeasured {
    /// The metric.
    pub metric: Metric,
    /// The reason.
    pub why: ReadError,
}

/// The state that the operator chose for hosts that track nothing.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The state of a kernel that does not track connections.
    pub absent: ServiceState,
    /// The state of a kernel that tracks none although connections to other hosts are open.
    pub empty: ServiceState,
}

/// The subject of an assessment.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The readings of the network namespace.
    pub readings: &'a Readings,
    /// Its metrics.
    pub measurements: Measurements,
    /// The time since the previous run, if it is known.
    pub elapsed: Option<Duration>,
    /// Not every network namespace that was to be judged could be seen.
    pub others_unseen: bool,
}

impl Assessment {
    /// True if the value of a metric is above its range.
    pub fn is_above(&self, metric: Metric) -> bool {
        self.crossings.iter().any(|crossing| {
            crossing.metric == metric
                && matches!(crossing.reason, Reason::Range(violation) if violation.is_above())
        })
    }

    /// True if the value of a metric is above a range that is a part of nf_conntrack_max.
    pub fn is_above_part(&self, metric: Metric) -> bool {
        self.crossings.iter().any(|crossing| {
            crossing.metric == metric
                && matches!(crossing.reason, Reason::Range(Violation::Above(bound)) if bound.is_percent())
        })
    }

    /// True if the value of a metric is below its range.
    pub fn is_below(&self, metric: Metric) -> bool {
        self.crossings.iter().any(|crossing| {
            crossing.metric == metric
                && matches!(crossing.reason, Reason::Range(violation) if violation.is_below())
        })
    }

    /// True if a sample cannot tell if a metric is out of one of its ranges.
    pub fn is_undecided(&self, metric: Metric) -> bool {
        let Ok(Measured::Estimated(number)) = self.measurements.get(metric) else {
            return false;
        };
        let ends = [number.at_least, number.at_most];
        self.thresholds.of(metric).any(|threshold| {
            let alerts = ends.map(|end| threshold.range.alert(&end));
            alerts.iter().any(Option::is_some) && certain_alert(&threshold.range, &number).is_none()
        })
    }

    /// True if the highest usage since the previous run is out of a range on the usage.
    pub fn peak_was_too_full(&self) -> bool {
        let Ok(Measured::Value(peak)) = self.measurements.get(Metric::Peak) else {
            return false;
        };
        let mut of_usage = self.thresholds.of(Metric::Usage);
        of_usage.any(|threshold| threshold.range.alert(&peak).is_some())
    }

    /// True if a range on the fullness of the table was crossed.
    pub fn is_too_full(&self) -> bool {
        self.is_above(Metric::Usage)
            || self.is_above(Metric::Entries)
            || self.is_below(Metric::Free)
    }
}

/// The verdict over these measurements.
pub fn assess(subject: Subject<'_>, thresholds: &Thresholds, policy: Policy) -> Assessment {
    let readings = subject.readings;
    let mut thresholds = thresholds.clone();
    if matches!(&readings.statistics, Ok(statistics) if !statistics.limits_chains()) {
        // long chains are slow there, but nothing is refused because of them
        thresholds = thresholds.without_defaults_of(Metric::Chain);
    }
    let mut assessment = Assessment {
        state: policy.absent,
        thresholds,
        crossings: Vec::new(),
        unmeasured: Vec::new(),
        measurements: subject.measurements,
    };
    if !readings.tracks() {
        return assessment;
    }
    for metric in Metric::all() {
        judge(metric, readings, &mut assessment);
    }
    let full_too_soon = full_before_next_run(&assessment, subject.elapsed);
    assessment.crossings.extend(full_too_soon);
    assessment.state = state(readings, &assessment, subject.others_unseen, policy);
    assessment
}

fn state(
    readings: &Readings,
    assessment: &Assessment,
    others_unseen: bool,
    policy: Policy,
) -> ServiceState {
    let seen = match &readings.count {
        Ok(_) => readings.limit.is_ok() || readings.capture,
        Err(ReadError::Incomplete(gap)) => !gap.hides_the_table(),
        Err(_) => false,
    };
    let unknown = !seen || others_unseen || !assessment.unmeasured.is_empty();
    let blind = matches!(readings.untracked, Ok(1..));
    let of_crossings = assessment
        .crossings
        .iter()
        .map(|crossing| match crossing.severity {
            Severity::Warning => ServiceState::Warning,
            Severity::Critical => ServiceState::Critical,
        });
    of_crossings
        .chain(unknown.then_some(ServiceState::Unknown))
        .chain(blind.then_some(policy.empty))
        .max_by_key(|state| rank(*state))
        .unwrap_or(ServiceState::Ok)
}

/// Our own order of states, of which the guidelines say nothing: a problem that was seen outweighs one that was not.
pub fn rank(state: ServiceState) -> u8 {
    match state {
        ServiceState::Ok => 0,
        ServiceState::Unknown => 1,
        ServiceState::Warning => 2,
        ServiceState::Critical => 3,
    }
}

/// Compares one metric: at most one crossing of it, the more severe one.
fn judge(metric: Metric, readings: &Readings, assessment: &mut Assessment) {
    let measured = assessment.measurements.get(metric);
    for severity in [Severity::Critical, Severity::Warning] {
        let mut thresholds = assessment.thresholds.of(metric);
        let Some(threshold) = thresholds.find(|t| t.severity == severity).copied() else {
            continue;
        };
        match violation(&threshold, &measured, readings) {
            Ok(None) => {}
            Ok(Some(violation)) => {
                assessment.crossings.push(Crossing {
                    metric,
                    severity,
                    reason: Reason::Range(violation),
                });
                return;
            }
            Err(why) => {
                // from now on there is something to compare with
                let baseline = matches!(why, ReadError::NoBaseline { .. });
                if threshold.given && !baseline {
                    assessment.unmeasured.push(Unmeasured { metric, why });
                }
                return;
            }
        }
    }
}

/// The violation of a threshold by a measurement, if any.
fn violation(
    threshold: &Threshold,
    measured: &Result<Measured, ReadError>,
    readings: &Readings,
) -> Result<Option<Violation>, ReadError> {
    match measured {
        // a percentage of a limit that could not be read
        Ok(measured)
            if threshold.range.has_percent()
                && measured.measure().is_some_and(|of| of.percent.is_none()) =>
        {
            readings.limit.clone().map(|_| None)
        }
        Ok(Measured::Unlimited) => Ok(None),
        Ok(Measured::Infinite) => Ok(threshold.range.alert_at_infinity()),
        Ok(Measured::Value(measure)) => Ok(threshold.range.alert(measure)),
        Ok(Measured::Estimated(estimate)) => Ok(certain_alert(&threshold.range, estimate)),
        Err(why) => Err(why.clone()),
    }
}

/// The violation of a range by a number that a sample tells: only if no number of the interval is in the range. The
/// largest of many groups is mostly overestimated, and must not alarm because of that.
fn certain_alert(range: &Range, number: &Estimate<Measure>) -> Option<Violation> {
    let lowest = range.alert(&number.at_least)?;
    range
        .alert(&number.at_most)
        .filter(|highest| *highest == lowest)
}

/// A table that is too full already, and full before the next run, is CRITICAL if no range says otherwise: nobody would
/// see it again before it loses packets.
fn full_before_next_run(assessment: &Assessment, elapsed: Option<Duration>) -> Option<Crossing> {
    let judged_by_range = assessment.thresholds.of(Metric::FullIn).next().is_some();
    if judged_by_range || !assessment.is_too_full() {
        return None;
    }
    let elapsed = elapsed?;
    let next = i64::try_from(elapsed.as_secs()).ok().map(Ratio::from_int)?;
    let full_in = assessment.measurements.value(Metric::FullIn)?;
    (full_in < next).then_some(Crossing {
        metric: Metric::FullIn,
        severity: Severity::Critical,
        reason: Reason::BeforeNextRun(elapsed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::measure::{Numbers, TableNumbers};
    use crate::model::error::{FileError, NoBaseline};
    use crate::model::readings::{Change, Counts, Limit, Reading, Statistics};

    fn readings(count: u32, limit: Limit, buckets: u32) -> Readings {
        let statistics = Statistics {
            processors: vec![[Some(0); 4]],
        };
        Readings {
            count: Ok(count),
            limit: Ok(limit),
            buckets: Ok(buckets),
            statistics: Ok(statistics),
            ..Readings::none()
        }
    }

    /// The verdict on one namespace, whose previous run and table are these.
    fn assessed(
        readings: &Readings,
        change: Reading<Change>,
        table: Option<Reading<Counts>>,
        ranges: [&[&str]; 2],
        policy: Policy,
    ) -> Assessment {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let thresholds = Thresholds::parse(&owned(ranges[0]), &owned(ranges[1])).unwrap();
        let mut measurements = Measurements::of(Numbers {
            readings,
            change: &change,
            sharing: None,
        });
        if let Some(table) = table {
            let table = TableNumbers {
                counts: table,
                expectations: Err(ReadError::NotReached),
            };
            measurements = measurements.with_table(&table, &readings.limit);
        }
        let subject = Subject {
            readings,
            measurements,
            elapsed: change.ok().map(|change| change.elapsed),
            others_unseen: false,
        };
        assess(subject, &thresholds, policy)
    }

    const POLICY: Policy = Policy {
        absent: UNKNOWN,
        empty: OK,
    };

    fn state(readings: &Readings, warning: &[&str], critical: &[&str]) -> ServiceState {
        let never = Err(ReadError::NotReached);
        assessed(readings, never, None, [warning, critical], POLICY).state
    }

    const OK: ServiceState = ServiceState::Ok;
    const WARNING: ServiceState = ServiceState::Warning;
    const CRITICAL: ServiceState = ServiceState::Critical;
    const UNKNOWN: ServiceState = ServiceState::Unknown;

    #[test]
    fn the_end_point_is_ok_and_one_entry_more_is_not() {
        let at = |count| readings(count, Limit::Entries(1000), 1000);
        for (count, expected) in [
            (800, OK),
            (801, WARNING),
            (900, WARNING),
            (901, CRITICAL),
            (1200, CRITICAL),
        ] {
            assert_eq!(state(&at(count), &[], &[]), expected, "{count} of 1000");
        }
        // 80.00000002 percent
        let big = |count| readings(count, Limit::Entries(u32::MAX), u32::MAX);
        assert_eq!(state(&big(3_435_973_836), &[], &[]), OK);
        assert_eq!(state(&big(3_435_973_837), &[], &[]), WARNING);
    }

    #[test]
    fn percentages_of_entries_and_free_are_of_the_maximum() {
        let at = |count| readings(count, Limit::Entries(1000), 1000);
        assert_eq!(state(&at(500), &["entries=50%"], &[]), OK);
        assert_eq!(state(&at(501), &["entries=50%"], &[]), WARNING);
        assert_eq!(state(&at(900), &[], &["free=10%:"]), OK);
        assert_eq!(state(&at(901), &[], &["free=10%:"]), CRITICAL);
        assert_eq!(state(&at(901), &[], &["free=100:"]), CRITICAL);
        assert_eq!(state(&at(1001), &[], &["free=0:"]), CRITICAL);
    }

    #[test]
    fn without_a_limit_nothing_that_needs_one_can_be_exceeded() {
        for limit in [Limit::None(0), Limit::None(-1)] {
            let r = readings(5_000_000, limit, 5_000_000);
            assert_eq!(state(&r, &[], &[]), OK);
            assert_eq!(state(&r, &["entries=1%"], &["free=100:"]), OK);
            assert_eq!(state(&r, &["entries=100%:"], &["@0:50"]), OK);
            assert_eq!(state(&r, &["entries=4000000"], &[]), WARNING);
        }
    }

    #[test]
    fn chains_have_defaults_where_the_kernel_limits_them() {
        let mut r = readings(16_000, Limit::Entries(1_000_000), 1000);
        assert_eq!(state(&r, &[], &[]), CRITICAL);
        assert_eq!(state(&r, &["chain=40"], &[]), OK);
        r.statistics = Ok(Statistics {
            processors: vec![[Some(0), None, Some(0), Some(0)]],
        });
        assert_eq!(state(&r, &[], &[]), OK, "kernels before 5.15");
        assert_eq!(state(&r, &["chain=15"], &[]), WARNING, "a given one counts");
        r.statistics = Err(ReadError::file(String::new(), FileError::Missing));
        assert_eq!(
            state(&r, &[], &[]),
            CRITICAL,
            "new kernels are built without the file"
        );
    }

    #[test]
    fn without_own_addresses_the_largest_endpoint_is_not_measured_and_every_class_is() {
        let r = readings(10, Limit::Entries(1000), 1000);
        let table = || {
            Some(Ok(Counts {
                largest_endpoint: Estimate::exact(7),
                unreplied: 3,
                own_unknown: Some(ReadError::NotReached),
                ..Default::default()
            }))
        };
        let state = |range: &str| {
            let never = Err(ReadError::NotReached);
            assessed(&r, never, table(), [&[range], &[]], POLICY).state
        };
        assert_eq!(state("endpoint=1000"), UNKNOWN);
        assert_eq!(state("unreplied=2"), WARNING);
        assert_eq!(state("unreplied=3"), OK);
    }

    #[test]
    fn a_number_that_a_sample_tells_alarms_only_if_no_number_of_its_interval_is_in_the_range() {
        let r = readings(10_000, Limit::Entries(10_000), 10_000);
        let table = || {
            Some(Ok(Counts {
                largest_endpoint: Estimate {
                    value: 500,
                    at_least: 80,
                    at_most: 910,
                },
                ..Default::default()
            }))
        };
        for (range, state, undecided) in [
            ("endpoint=79", WARNING, false),
            ("endpoint=80", OK, true),
            ("endpoint=300", OK, true),
            ("endpoint=909", OK, true),
            ("endpoint=910", OK, false),
            ("endpoint=911:", WARNING, false),
            ("endpoint=910:", OK, true),
            ("endpoint=600:", OK, true),
            ("endpoint=400:600", OK, true),
            ("endpoint=@80:910", WARNING, false),
            ("endpoint=@81:910", OK, true),
            ("endpoint=@911:", OK, false),
            ("endpoint=0.7%", WARNING, false),
            ("endpoint=0.8%", OK, true),
            ("endpoint=9.1%", OK, false),
        ] {
            let never = Err(ReadError::NotReached);
            let assessment = assessed(&r, never, table(), [&[range, "usage=~:"], &[]], POLICY);
            assert_eq!(assessment.state, state, "{range}");
            assert_eq!(
                assessment.is_undecided(Metric::Endpoint),
                undecided,
                "{range}"
            );
        }
    }

    #[test]
    fn a_table_that_is_full_too_soon_is_critical_whatever_the_form_of_its_range() {
        let change = Change {
            elapsed: Duration::from_secs(300),
            entries: 100,
            counters: Some([0; 4]),
            counted_for: Duration::from_secs(300),
            was_full: false,
        };
        let r = readings(950, Limit::Entries(1000), 1000);
        for (range, expected) in [
            ("80", CRITICAL),
            ("@80:", CRITICAL),
            ("entries=@80%:", CRITICAL),
            ("free=100:", CRITICAL),
            ("free=@~:100", CRITICAL),
            // alarms because of something else
            ("@80:99", WARNING),
            ("free=@0:100", WARNING),
            ("@~:99", WARNING),
            ("free=@10:", WARNING),
        ] {
            let assessment = assessed(&r, Ok(change), None, [&[range], &[]], POLICY);
            assert_eq!(assessment.state, expected, "{range}");
        }
    }

    #[test]
    fn what_could_not_be_measured_is_unknown_only_when_somebody_asked() {
        let mut r = readings(10, Limit::Entries(1000), 1);
        r.buckets = Err(ReadError::NotReached);
        assert_eq!(state(&r, &[], &[]), OK);
        assert_eq!(state(&r, &["chain=15"], &[]), UNKNOWN);
        assert_eq!(
            state(&r, &["chain=15"], &["entries=5"]),
            CRITICAL,
            "a seen problem outweighs it"
        );
    }

    #[test]
    fn a_missing_half_is_unknown_but_does_not_hide_what_was_seen() {
        let mut r = readings(10, Limit::Entries(1000), 1000);
        r.limit = Err(ReadError::NotReached);
        assert_eq!(state(&r, &[], &[]), UNKNOWN);
        assert_eq!(state(&r, &["entries=100"], &[]), UNKNOWN);
        assert_eq!(state(&r, &["entries=5"], &[]), WARNING);
        assert_eq!(state(&r, &["entries=5%"], &[]), UNKNOWN);
        // a capture needs no limit, but its percentages do
        r.capture = true;
        assert_eq!(state(&r, &["entries=100"], &[]), OK);
        assert_eq!(state(&r, &["entries=5%"], &[]), UNKNOWN);
        r.capture = false;
        r.count = Err(ReadError::NotReached);
        assert_eq!(state(&r, &["entries=5"], &[]), UNKNOWN);
    }

    #[test]
    fn absent_is_the_operators_decision() {
        let missing = || ReadError::NotTracking {
            directory: "/proc/sys/net".into(),
        };
        let r = Readings {
            count: Err(missing()),
            limit: Err(missing()),
            ..Readings::none()
        };
        for absent in [OK, WARNING, CRITICAL, UNKNOWN] {
            let policy = Policy { absent, ..POLICY };
            let never = Err(ReadError::NotReached);
            let got = assessed(&r, never, None, [&["entries=5"], &[]], policy);
            assert_eq!(got.state, absent);
        }
    }

    #[test]
    fn watching_nothing_is_the_operators_decision_and_hides_nothing_worse() {
        let mut r = readings(0, Limit::Entries(1000), 1000);
        let state = |r: &Readings, warning: &str, empty| {
            let policy = Policy { empty, ..POLICY };
            let never = Err(ReadError::NotReached);
            assessed(r, never, None, [&[warning], &[]], policy).state
        };
        for untracked in [Err(ReadError::NotReached), Ok(0)] {
            r.untracked = untracked;
            assert_eq!(state(&r, "80", CRITICAL), OK);
        }
        for untracked in [1, Readings::MAX_UNTRACKED] {
            r.untracked = Ok(untracked);
            for empty in [OK, WARNING, CRITICAL, UNKNOWN] {
                assert_eq!(state(&r, "80", empty), empty);
            }
            // entries are below 1
            assert_eq!(state(&r, "entries=1:", OK), WARNING);
            assert_eq!(state(&r, "entries=1:", UNKNOWN), WARNING);
            assert_eq!(state(&r, "entries=1:", CRITICAL), CRITICAL);
            // not measured
            assert_eq!(state(&r, "endpoint=1", OK), UNKNOWN);
            assert_eq!(state(&r, "endpoint=1", WARNING), WARNING);
        }
    }

    #[test]
    fn the_more_severe_finding_of_a_metric_is_the_one_that_is_told() {
        let r = readings(950, Limit::Entries(1000), 1000);
        let a = assessed(&r, Err(ReadError::NotReached), None, [&[], &[]], POLICY);
        assert_eq!(a.crossings.len(), 1);
        assert!(a.crossings.iter().all(|c| c.severity == Severity::Critical));
    }

    /// `entries` more than at the previous run, five minutes ago.
    fn grown(entries: i64) -> Reading<Change> {
        let elapsed = Duration::from_secs(300);
        Ok(Change {
            elapsed,
            entries,
            counters: Some([0; 4]),
            counted_for: elapsed,
            was_full: false,
        })
    }

    #[test]
    fn a_table_that_is_full_before_the_next_run_is_critical_once_it_is_too_full() {
        let state = |count, entries, ranges| {
            let r = readings(count, Limit::Entries(1000), 1000);
            assessed(&r, grown(entries), None, ranges, POLICY).state
        };
        let none: [&[&str]; 2] = [&[], &[]];
        // 150 entries fit, and 151 came in the same time
        assert_eq!(state(850, 151, none), CRITICAL);
        assert_eq!(
            state(850, 150, none),
            WARNING,
            "full at the next run, not before"
        );
        assert_eq!(state(800, 700, none), OK, "not above its warning threshold");
        assert_eq!(state(850, -151, none), WARNING);
        assert_eq!(
            state(500, 501, [&["60:"], &[]]),
            WARNING,
            "below its range, which is not too full"
        );
        assert_eq!(
            state(850, 151, [&[], &["full_in=~:"]]),
            WARNING,
            "switched off"
        );
        // a table that does not grow is never full: the time is longer than any
        let never_full = |warning| state(500, -1, [warning, &[]]);
        assert_eq!(never_full(&["full_in=1h:"]), OK);
        assert_eq!(never_full(&["full_in=:1h"]), WARNING);
        assert_eq!(never_full(&["full_in=@1h:"]), WARNING);
        assert_eq!(never_full(&["full_in=@:1h"]), OK);
        assert_eq!(state(850, 151, [&["full_in=1s:"], &[]]), WARNING);
        assert_eq!(
            state(850, 151, [&["free=200:"], &[]]),
            CRITICAL,
            "by free as well"
        );
        let first = Err(ReadError::NoBaseline {
            why: NoBaseline::FirstRun,
        });
        let r = readings(850, Limit::Entries(1000), 1000);
        assert_eq!(assessed(&r, first, None, none, POLICY).state, WARNING);
    }
}
