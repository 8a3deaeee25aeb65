//! Measures each metric once. Pure: readings in, [`Measurements`] out, which every later stage looks up.

use std::time::Duration;

use crate::judge::metric::Metric;
use crate::judge::number::Ratio;
use crate::judge::range::Measure;
use crate::model::error::{NoBaseline, ReadError};
use crate::model::readings::{Change, Counts, Estimate, InUse, Limit, Reading, Readings};

/// The value of a metric on this host.
#[derive(Debug, Clone, Copy)]
pub enum Measured {
    /// A number to compare.
    Value(Measure),
    /// A number that a sample tells, with its interval.
    Estimated(Estimate<Measure>),
    /// Beyond every number: the time until a table is full that does not grow.
    Infinite,
    /// There is no limit that could be approached.
    Unlimited,
}

impl Measured {
    /// A number that a sample tells; an ordinary one if the interval has no width.
    fn estimated(number: Estimate<Measure>) -> Self {
        if number.at_least.value.cmp(&number.at_most.value).is_eq() {
            Self::Value(number.value)
        } else {
            Self::Estimated(number)
        }
    }

    /// The number, if it is one.
    pub fn measure(&self) -> Option<Measure> {
        match self {
            Self::Value(measure) => Some(*measure),
            Self::Estimated(estimate) => Some(estimate.value),
            Self::Infinite | Self::Unlimited => None,
        }
    }
}

/// The values that metrics are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    /// The files of one network namespace.
    pub readings: &'a Readings,
    /// The comparison with the previous run.
    pub change: &'a Reading<Change>,
    /// Entries of all network namespaces, if all were counted: they share the hash chains.
    pub sharing: Option<u64>,
}

/// The values that the metrics of the table are computed from.
#[derive(Debug, Clone)]
pub struct TableNumbers {
    /// The entries.
    pub counts: Reading<Counts>,
    /// The expectations, of those there may be.
    pub expectations: Reading<InUse>,
}

impl TableNumbers {
    /// The numbers of a table that was not read for this reason.
    pub fn unread(why: ReadError) -> Self {
        Self {
            counts: Err(why.clone()),
            expectations: Err(why),
        }
    }
}

/// Every metric that was measured, once.
#[derive(Debug, Clone)]
pub struct Measurements {
    values: Vec<(Metric, Reading<Measured>)>,
}

impl Measurements {
    /// Measures every metric that needs no look into the table.
    pub fn of(numbers: Numbers<'_>) -> Self {
        let metrics = Metric::all().filter(|metric| !metric.needs_table());
        Self {
            values: metrics
                .map(|metric| (metric, of_files(metric, numbers)))
                .collect(),
        }
    }

    /// Adds the metrics of the table.
    #[must_use]
    pub fn with_table(mut self, table: &TableNumbers, limit: &Reading<Limit>) -> Self {
        let max = match limit {
            Ok(Limit::Entries(max)) => Some(*max),
            _ => None,
        };
        let metrics = Metric::all().filter(|metric| metric.needs_table());
        self.values
            .extend(metrics.map(|metric| (metric, of_table(metric, table, max))));
        self
    }

    /// The measurement of a metric.
    ///
    /// # Errors
    /// That of the reading it needs; [`ReadError::NotReached`] for a metric of a table that was not read.
    pub fn get(&self, metric: Metric) -> Reading<Measured> {
        let known = self.values.iter().find(|(known, _)| *known == metric);
        known.map_or(Err(ReadError::NotReached), |(_, value)| value.clone())
    }

    /// The value of a metric; none if it was not measured, or is no number.
    pub fn value(&self, metric: Metric) -> Option<Ratio> {
        let known = self.values.iter().find(|(known, _)| *known == metric);
        match known {
            Some((_, Ok(measured))) => measured.measure().map(|measure| measure.value),
            _ => None,
        }
    }
}

fn of_files(metric: Metric, numbers: Numbers<'_>) -> Reading<Measured> {
    let readings = numbers.readings;
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
        Metric::Lost => increase(numbers, Change::lost),
        Metric::Increase(counter) => increase(numbers, |change| change.increase(counter)),
        Metric::Growth => growth(numbers),
        Metric::FullIn => full_in(count()?, &limit()?, numbers.change),
        Metric::Peak => {
            let peak = readings.peak.clone()?;
            Ok(
                match peak
                    .max
                    .and_then(|max| percent(peak.count.into(), max.into()))
                {
                    Some(value) => Measured::Value(Measure {
                        value,
                        percent: Some(value),
                    }),
                    None => Measured::Unlimited,
                },
            )
        }
        Metric::Chain => {
            let (count, buckets) = (count()?, readings.buckets.clone()?);
            // all namespaces hang their entries into the same chains
            let count = numbers.sharing.map_or(count, signed);
            Ok(number(Ratio::new(2 * count, i64::from(buckets))))
        }
        Metric::Ports
        | Metric::Expect
        | Metric::Endpoint
        | Metric::Unreplied
        | Metric::Evictable
        | Metric::Class(_) => Err(ReadError::NotReached),
    }
}

fn of_table(metric: Metric, table: &TableNumbers, max: Option<u32>) -> Reading<Measured> {
    if metric == Metric::Expect {
        return table
            .expectations
            .clone()
            .map(used_percent)
            .map(Measured::Value);
    }
    let counts = table.counts.as_ref().map_err(Clone::clone)?;
    if let (Metric::Endpoint | Metric::Ports, Some(why)) = (metric, &counts.own_unknown) {
        return Err(why.clone());
    }
    if metric == Metric::Ports {
        return Ok(Measured::estimated(counts.ports.map(used_percent)));
    }
    let entries = |value: u32| Measure {
        value: Ratio::from_int(value.into()),
        percent: max.and_then(|max| percent(value.into(), max.into())),
    };
    if metric == Metric::Endpoint {
        return Ok(Measured::estimated(counts.largest_endpoint.map(entries)));
    }
    let value = match metric {
        Metric::Unreplied => counts.unreplied,
        Metric::Evictable => counts.evictable,
        Metric::Class(class) => counts.class(class),
        _ => return Err(ReadError::NotReached),
    };
    Ok(Measured::Value(entries(value)))
}

/// The increase of counters since the previous run.
fn increase(numbers: Numbers<'_>, of: impl Fn(&Change) -> Option<u64>) -> Reading<Measured> {
    let change = match numbers.change {
        // there is no state to compare with, whatever else is missing
        Err(why) if !matches!(why, ReadError::NoBaseline { .. }) => return Err(why.clone()),
        change => {
            let statistics = numbers.readings.statistics.as_ref();
            statistics.map_err(Clone::clone)?;
            change.clone()?
        }
    };
    let increase = of(&change).ok_or(ReadError::NoBaseline {
        why: NoBaseline::NoCounters,
    })?;
    Ok(number(Some(Ratio::from_int(signed(increase)))))
}

fn growth(numbers: Numbers<'_>) -> Reading<Measured> {
    let change = growing(numbers.change)?;
    let (per_minute, elapsed) = (6000 * change.entries, hundredths(change.elapsed));
    let percent = numbers.readings.max().and_then(|max| {
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

fn full_in(count: i64, limit: &Limit, change: &Reading<Change>) -> Reading<Measured> {
    let Limit::Entries(max) = limit else {
        return Ok(Measured::Unlimited);
    };
    let free = i64::from(*max) - count;
    let growing = growing(change);
    // it is full, whether it grows or not
    let comparable = matches!(
        growing,
        Ok(_) | Err(ReadError::NoBaseline { .. } | ReadError::PreviousRunIncomplete)
    );
    if free <= 0 && comparable {
        return Ok(number(Some(Ratio::from_int(0))));
    }
    let change = growing?;
    let seconds = Ratio::new(
        free.saturating_mul(hundredths(change.elapsed)),
        change.entries.saturating_mul(100),
    );
    Ok(match seconds {
        Some(_) => number(seconds),
        None => Measured::Infinite,
    })
}

/// The change over a time that is long enough to tell a trend.
fn growing(change: &Reading<Change>) -> Reading<Change> {
    let change = change.clone()?;
    if change.elapsed < Change::MIN_GROWTH_INTERVAL {
        return Err(ReadError::NoBaseline {
            why: NoBaseline::TooRecent,
        });
    }
    Ok(change)
}

/// A number that is no part of the limit.
fn number(value: Option<Ratio>) -> Measured {
    value.map_or(Measured::Unlimited, |value| {
        Measured::Value(Measure {
            value,
            percent: None,
        })
    })
}

/// The percentage in use; 0 if nothing can be used.
fn used_percent(InUse { used, of }: InUse) -> Measure {
    let whole = signed(of).max(1);
    Measure {
        value: percent(signed(used), whole).unwrap_or(Ratio::from_int(0)),
        percent: None,
    }
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
) -> Reading<Measured> {
    let Limit::Entries(max) = limit else {
        return Ok(Measured::Unlimited);
    };
    Ok(match value(count, i64::from(max)) {
        Some((value, percent)) => Measured::Value(Measure { value, percent }),
        None => Measured::Unlimited,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conntrack::Class;
    use crate::model::readings::{Counter, Statistics};

    fn readings(count: u32) -> Readings {
        Readings {
            count: Ok(count),
            limit: Ok(Limit::Entries(1000)),
            statistics: Ok(Statistics {
                processors: vec![[Some(5), Some(0), Some(0), Some(0)]],
            }),
            ..Readings::none()
        }
    }

    fn change(milliseconds: u64, entries: i64) -> Change {
        let elapsed = Duration::from_millis(milliseconds);
        Change {
            elapsed,
            entries,
            counters: Some([5, 0, 0, 0]),
            counted_for: elapsed,
            was_full: false,
        }
    }

    fn measured(readings: &Readings, change: Reading<Change>, metric: Metric) -> Reading<Measured> {
        let numbers = Numbers {
            readings,
            change: &change,
            sharing: None,
        };
        Measurements::of(numbers).get(metric)
    }

    /// The number, with two decimals.
    fn shown(measured: Reading<Measured>) -> Option<String> {
        let measure = measured.ok()?.measure()?;
        Some(measure.value.truncated(2).to_string())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn growth_is_entries_a_minute_over_5_seconds_at_least() {
        let growth = |elapsed, entries| {
            let change = change(elapsed, entries);
            shown(measured(&readings(10), Ok(change), Metric::Growth))
        };
        assert_eq!(growth(4990, 7), None);
        assert_eq!(growth(5000, 7), some("84.00"));
        assert_eq!(growth(6000, 7), some("70.00"));
        assert_eq!(growth(60_000, -7), some("-7.00"));
    }

    #[test]
    fn a_full_table_is_full_in_no_time_whether_it_grows_or_not() {
        let full_in = |count, entries| {
            measured(
                &readings(count),
                Ok(change(60_000, entries)),
                Metric::FullIn,
            )
        };
        assert_eq!(shown(full_in(1000, 0)), some("0.00"));
        assert_eq!(shown(full_in(1001, -5)), some("0.00"));
        assert!(matches!(full_in(999, 0), Ok(Measured::Infinite)));
        assert_eq!(shown(full_in(999, 2)), some("30.00"));
    }

    #[test]
    fn a_counter_without_a_previous_run_has_a_reason() {
        let mut unread = readings(10);
        unread.statistics = Err(ReadError::NotReached);
        let lost = |readings: &Readings, change| measured(readings, change, Metric::Lost);
        let first_run = || {
            Err(ReadError::NoBaseline {
                why: NoBaseline::FirstRun,
            })
        };
        assert!(matches!(
            lost(&readings(10), first_run()),
            Err(ReadError::NoBaseline { .. })
        ));
        // counters that cannot be read have nothing to be compared at the next run either
        assert_eq!(
            lost(&unread, first_run()).unwrap_err(),
            ReadError::NotReached
        );
        assert_eq!(
            lost(&unread, Ok(change(60_000, 0))).unwrap_err(),
            ReadError::NotReached
        );
        assert_eq!(
            lost(&unread, Err(ReadError::PreviousRunIncomplete)).unwrap_err(),
            ReadError::PreviousRunIncomplete
        );
        let drop = Metric::Increase(Counter::Drop);
        let counted = measured(&readings(10), Ok(change(60_000, 0)), drop);
        assert_eq!(shown(counted), some("5.00"));
    }

    fn table(change: impl Fn(&mut Counts)) -> TableNumbers {
        let mut counts = Counts::default();
        change(&mut counts);
        TableNumbers {
            counts: Ok(counts),
            expectations: Ok(InUse { used: 50, of: 200 }),
        }
    }

    #[test]
    fn a_class_is_counted_by_its_own_number() {
        let table = table(|counts| {
            counts.unreplied = 1;
            counts.evictable = 2;
            counts.classes[Class::TimeWait.index()] = 3;
        });
        for (metric, entries) in [
            (Metric::Unreplied, "1.00"),
            (Metric::Evictable, "2.00"),
            (Metric::Class(Class::TimeWait), "3.00"),
            (Metric::Class(Class::Udp), "0.00"),
            (Metric::Expect, "25.00"),
        ] {
            assert_eq!(
                shown(of_table(metric, &table, Some(1000))),
                some(entries),
                "{metric}"
            );
        }
    }

    #[test]
    fn a_share_of_nothing_is_none_of_it() {
        let percent = |used, of| {
            used_percent(InUse { used, of })
                .value
                .truncated(2)
                .to_string()
        };
        assert_eq!(percent(0, 0), "0.00");
        assert_eq!(percent(1, 1), "100.00");
        assert_eq!(percent(1, 200), "0.50");
    }

    #[test]
    fn a_number_of_a_sample_is_an_estimate_if_its_interval_has_a_width() {
        let endpoint = |at_least, at_most| {
            let table = table(|counts| {
                counts.largest_endpoint = Estimate {
                    value: 10,
                    at_least,
                    at_most,
                };
            });
            of_table(Metric::Endpoint, &table, Some(1000)).unwrap()
        };
        assert!(matches!(endpoint(10, 10), Measured::Value(_)));
        assert!(matches!(endpoint(9, 10), Measured::Estimated(_)));
        assert!(matches!(endpoint(10, 11), Measured::Estimated(_)));
    }
}
