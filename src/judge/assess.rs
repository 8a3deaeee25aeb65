//! Holds the readings against the thresholds. Pure: values in, a verdict out.

use std::time::Duration;

use nagiosplugin::ServiceState;

use crate::judge::metric::Metric;
use crate::judge::range::{Measure, Ratio, Side};
use crate::judge::threshold::{Severity, Thresholds};
use crate::model::error::{NoBaseline, ReadError};
use crate::model::readings::{Change, Limit, Readings};

/// The verdict and its reasons.
#[derive(Debug)]
pub struct Assessment {
    /// CRITICAL over WARNING over UNKNOWN over OK.
    pub state: ServiceState,
    /// The thresholds that applied to this kernel.
    pub thresholds: Thresholds,
    /// Every metric out of range, with its more severe threshold only.
    pub findings: Vec<Finding>,
    /// Every metric whose given threshold could not be judged.
    pub unmeasured: Vec<Unmeasured>,
}

/// A metric out of range.
#[derive(Debug)]
pub struct Finding {
    /// The metric.
    pub metric: Metric,
    /// What it means.
    pub severity: Severity,
    /// Where the value lies.
    pub side: Side,
}

/// A metric that could not be measured although somebody asked for it.
#[derive(Debug)]
pub struct Unmeasured {
    /// The metric.
    pub metric: Metric,
    /// The reason.
    pub why: ReadError,
}

/// A metric's value on this host.
#[derive(Debug, Clone, Copy)]
pub enum Measured {
    /// A number to compare.
    Value(Measure),
    /// Beyond every number: the time until a table is full that does not grow.
    Infinite,
    /// There is no limit that could be approached.
    Unlimited,
}

/// Measures one metric.
///
/// # Errors
/// That of the reading it needs.
pub fn measure(metric: Metric, readings: &Readings) -> Result<Measured, ReadError> {
    let count = || readings.count.clone().map(i64::from);
    let limit = || readings.limit.clone();
    match metric {
        Metric::Usage => of_limit(count()?, limit()?, |count, max| {
            percent(count, max).map(|usage| (usage, Some(usage)))
        }),
        Metric::Entries => {
            let count = count()?;
            let percent = readings
                .max()
                .and_then(|max| percent(count, i64::from(max)));
            Ok(Measured::Value(Measure {
                value: Ratio::from_int(count),
                percent,
            }))
        }
        Metric::Free => of_limit(count()?, limit()?, |count, max| {
            Some((Ratio::from_int(max - count), percent(max - count, max)))
        }),
        Metric::Lost => increase(readings, Change::lost),
        Metric::Increase(counter) => increase(readings, |change| change.increase(counter)),
        Metric::Growth => {
            let change = growing(readings)?;
            let (per_minute, elapsed) = (6000 * change.entries, hundredths(change.elapsed));
            let percent = readings.max().and_then(|max| {
                Ratio::new(
                    per_minute.saturating_mul(100),
                    elapsed.saturating_mul(i64::from(max)),
                )
            });
            Ok(match Ratio::new(per_minute, elapsed) {
                Some(value) => Measured::Value(Measure { value, percent }),
                None => Measured::Unlimited,
            })
        }
        Metric::FullIn => {
            let (count, Limit::Entries(max)) = (count()?, limit()?) else {
                return Ok(Measured::Unlimited);
            };
            let free = i64::from(max) - count;
            let growing = growing(readings);
            // it is full, whether it grows or not
            let comparable = matches!(
                growing,
                Ok(_) | Err(ReadError::FirstRun { .. } | ReadError::PreviousRunIncomplete)
            );
            if free <= 0 && comparable {
                return Ok(Measured::Value(Measure {
                    value: Ratio::from_int(0),
                    percent: None,
                }));
            }
            let change = growing?;
            let seconds = Ratio::new(
                free.saturating_mul(hundredths(change.elapsed)),
                change.entries.saturating_mul(100),
            );
            Ok(match seconds {
                Some(value) => Measured::Value(Measure {
                    value,
                    percent: None,
                }),
                None => Measured::Infinite,
            })
        }
        Metric::Endpoint | Metric::Unreplied | Metric::Evictable | Metric::Class(_) => {
            let counts = readings.table.clone()?;
            if let (Metric::Endpoint, Some(why)) = (metric, &counts.own_unknown) {
                return Err(why.clone());
            }
            let value = match metric {
                Metric::Endpoint => counts.largest_endpoint,
                Metric::Unreplied => counts.unreplied,
                Metric::Evictable => counts.evictable,
                Metric::Class(class) => counts.class(class),
                _ => 0,
            };
            let value = i64::from(value);
            let percent = readings
                .max()
                .and_then(|max| percent(value, i64::from(max)));
            Ok(Measured::Value(Measure {
                value: Ratio::from_int(value),
                percent,
            }))
        }
        Metric::Chain => {
            let (count, buckets) = (count()?, readings.buckets.clone()?);
            // all namespaces hang their entries into the same chains
            let count = readings.sharing.map_or(count, signed);
            Ok(match Ratio::new(2 * count, i64::from(buckets)) {
                Some(value) => Measured::Value(Measure {
                    value,
                    percent: None,
                }),
                None => Measured::Unlimited,
            })
        }
    }
}

/// What was counted since the previous run.
fn increase(
    readings: &Readings,
    of: impl Fn(&Change) -> Option<u64>,
) -> Result<Measured, ReadError> {
    let change = match &readings.change {
        // there is no state to compare with, whatever else is missing
        Err(why) if !matches!(why, ReadError::FirstRun { .. }) => return Err(why.clone()),
        change => {
            readings.statistics.as_ref().map_err(Clone::clone)?;
            change.clone()?
        }
    };
    let increase = of(&change).ok_or(ReadError::FirstRun {
        why: NoBaseline::NoCounters,
    })?;
    Ok(Measured::Value(Measure {
        value: Ratio::from_int(signed(increase)),
        percent: None,
    }))
}

/// What changed over a time that is long enough to tell a trend.
fn growing(readings: &Readings) -> Result<Change, ReadError> {
    let change = readings.change.clone()?;
    if change.elapsed < Change::MIN_GROWTH_INTERVAL {
        return Err(ReadError::FirstRun {
            why: NoBaseline::TooRecent,
        });
    }
    Ok(change)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A time in hundredths of a second, as exact as /proc/uptime.
fn hundredths(time: Duration) -> i64 {
    i64::try_from(time.as_millis() / 10).unwrap_or(i64::MAX)
}

fn percent(part: i64, whole: i64) -> Option<Ratio> {
    Ratio::new(100 * part, whole)
}

fn of_limit(
    count: i64,
    limit: Limit,
    value: impl Fn(i64, i64) -> Option<(Ratio, Option<Ratio>)>,
) -> Result<Measured, ReadError> {
    let Limit::Entries(max) = limit else {
        return Ok(Measured::Unlimited);
    };
    Ok(match value(count, i64::from(max)) {
        Some((value, percent)) => Measured::Value(Measure { value, percent }),
        None => Measured::Unlimited,
    })
}

/// The verdict over these readings. `absent` is the state of a kernel that does not track connections, `empty` that of
/// one that tracks none although some are open.
pub fn assess(
    readings: &Readings,
    thresholds: &Thresholds,
    absent: ServiceState,
    empty: ServiceState,
) -> Assessment {
    let mut thresholds = thresholds.clone();
    if matches!(&readings.statistics, Ok(statistics) if !statistics.limits_chains()) {
        // long chains are slow there, but nothing is refused because of them
        thresholds = thresholds.without_defaults_of(Metric::Chain);
    }
    let mut assessment = Assessment {
        state: ServiceState::Ok,
        thresholds,
        findings: Vec::new(),
        unmeasured: Vec::new(),
    };
    if !readings.tracks() {
        assessment.state = absent;
        return assessment;
    }
    for metric in Metric::all() {
        judge(metric, readings, &mut assessment);
    }
    let seen = match &readings.count {
        Ok(_) => readings.limit.is_ok() || readings.capture,
        Err(ReadError::Incomplete(gap)) => !gap.hides_the_table(),
        Err(_) => false,
    };
    let mut states = vec![if seen {
        ServiceState::Ok
    } else {
        ServiceState::Unknown
    }];
    if !assessment.unmeasured.is_empty() || readings.others.is_some() {
        states.push(ServiceState::Unknown);
    }
    if matches!(readings.untracked, Ok(1..)) {
        states.push(empty);
    }
    states.extend(
        assessment
            .findings
            .iter()
            .map(|finding| match finding.severity {
                Severity::Warning => ServiceState::Warning,
                Severity::Critical => ServiceState::Critical,
            }),
    );
    assessment.state = states
        .into_iter()
        .max_by_key(|state| rank(*state))
        .unwrap_or(ServiceState::Unknown);
    assessment
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

fn judge(metric: Metric, readings: &Readings, assessment: &mut Assessment) {
    // at most one of each; the more severe one is told
    for severity in [Severity::Critical, Severity::Warning] {
        let mut thresholds = assessment.thresholds.of(metric);
        let Some(threshold) = thresholds.find(|t| t.severity == severity).copied() else {
            continue;
        };
        let measured = match measure(metric, readings) {
            // a percentage of a limit that could not be read
            Ok(Measured::Value(Measure { percent: None, .. })) if threshold.range.has_percent() => {
                readings.limit.clone().map(|_| Measured::Unlimited)
            }
            other => other,
        };
        match measured {
            Ok(Measured::Unlimited) => {}
            Ok(Measured::Infinite) => {
                if let Some(side) = threshold.range.alert_at_infinity() {
                    assessment.findings.push(Finding {
                        metric,
                        severity: threshold.severity,
                        side,
                    });
                    return;
                }
            }
            Ok(Measured::Value(measure)) => {
                if let Some(side) = threshold.range.alert(&measure) {
                    assessment.findings.push(Finding {
                        metric,
                        severity: threshold.severity,
                        side,
                    });
                    return;
                }
            }
            Err(why) => {
                // from now on there is something to compare with
                let baseline = matches!(why, ReadError::FirstRun { .. });
                if threshold.given && !baseline {
                    assessment.unmeasured.push(Unmeasured { metric, why });
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::FileError;
    use crate::model::readings::Statistics;

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

    fn state(readings: &Readings, warning: &[&str], critical: &[&str]) -> ServiceState {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let thresholds = Thresholds::parse(&owned(warning), &owned(critical)).unwrap();
        assess(readings, &thresholds, UNKNOWN, OK).state
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
        let mut r = readings(10, Limit::Entries(1000), 1000);
        r.table = Ok(crate::model::readings::Counts {
            largest_endpoint: 7,
            unreplied: 3,
            own_unknown: Some(ReadError::NotReached),
            ..Default::default()
        });
        assert_eq!(state(&r, &["endpoint=1000"], &[]), UNKNOWN);
        assert_eq!(state(&r, &["unreplied=2"], &[]), WARNING);
        assert!(measure(Metric::Endpoint, &r).is_err());
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
        let thresholds = Thresholds::parse(&["entries=5".to_owned()], &[]).unwrap();
        for absent in [OK, WARNING, CRITICAL, UNKNOWN] {
            assert_eq!(assess(&r, &thresholds, absent, OK).state, absent);
        }
    }

    #[test]
    fn watching_nothing_is_the_operators_decision_and_hides_nothing_worse() {
        let mut r = readings(0, Limit::Entries(1000), 1000);
        let state = |r: &Readings, warning: &str, empty| {
            let thresholds = Thresholds::parse(&[warning.to_owned()], &[]).unwrap();
            assess(r, &thresholds, UNKNOWN, empty).state
        };
        for untracked in [Err(ReadError::NotReached), Ok(0)] {
            r.untracked = untracked;
            assert_eq!(state(&r, "80", CRITICAL), OK);
        }
        for untracked in [1, Readings::MANY] {
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
        let a = assess(&r, &Thresholds::parse(&[], &[]).unwrap(), UNKNOWN, OK);
        assert_eq!(a.findings.len(), 1);
        assert!(a.findings.iter().all(|f| f.severity == Severity::Critical));
    }
}
