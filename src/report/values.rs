//! Phrases for measured values, which line 1 and the detail lines share.

use std::time::Duration;

use crate::judge::assess::{Assessment, Crossing, Reason};
use crate::judge::measure::{Measured, Measurements};
use crate::judge::metric::Metric;
use crate::judge::number::{Ratio, Truncated};
use crate::judge::range::Violation;
use crate::model::error::ReadError;
use crate::model::readings::{Change, Reading};
use crate::model::text::{duration, duration_nearest};

/// So many decimals are enough to show on which side of a threshold a value lies.
const MAX_DECIMALS: u32 = 6;

/// An error with the advice that belongs to it.
pub(super) fn with_hint(error: &ReadError) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// A value with one decimal, or with as many as show that it is above its threshold: 80.0004, not 80.0.
pub(super) fn with_enough_decimals(
    value: Ratio,
    metric: Metric,
    assessment: &Assessment,
) -> Truncated {
    let bound = assessment
        .crossings
        .iter()
        .find_map(|crossing| match crossing.reason {
            Reason::Range(Violation::Above(bound)) if crossing.metric == metric => {
                Some(bound.number().ratio())
            }
            _ => None,
        });
    (1..MAX_DECIMALS)
        .map(|decimals| value.truncated(decimals))
        .find(|shown| bound.is_none_or(|bound| shown.ratio() > bound))
        .unwrap_or_else(|| value.truncated(MAX_DECIMALS))
}

/// A time as people say it.
pub(super) fn ago(time: Duration) -> String {
    duration_nearest(time.as_secs())
}

/// Seconds until the table is full, if it grows and is not full.
pub(super) fn seconds_until_full(measurements: &Measurements) -> Option<u64> {
    let seconds = measurements.value(Metric::FullIn)?.floor();
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

/// A time until the table is full that is at least as long says nothing: the growth changes before. Seconds.
pub(super) const FAR_AHEAD: u64 = 86_400;

/// `full in 26s`.
pub(super) fn full_in(measurements: &Measurements) -> Option<String> {
    let seconds = seconds_until_full(measurements)?;
    Some(format!("full in {}", duration(seconds)))
}

/// Growth with its sign, and with a fraction if it is small.
pub(super) fn growth(measurements: &Measurements) -> Option<String> {
    let growth = measurements.value(Metric::Growth)?;
    let decimals = u32::from(growth.truncated(0).is_below(10));
    let shown = growth.truncated(decimals).to_string();
    let sign = if shown.starts_with('-') { "" } else { "+" };
    Some(format!("{sign}{shown} entries/min"))
}

/// `in the last 5m`, if there is a previous run.
pub(super) fn since(change: &Reading<Change>) -> Option<String> {
    let change = change.as_ref().ok()?;
    Some(format!("in the last {}", ago(change.counted_for)))
}

/// The interval of a number that a sample tells: ` (80 to 910)`; nothing if the number is exact.
pub(super) fn interval(measurements: &Measurements, metric: Metric) -> String {
    let Ok(Measured::Estimated(number)) = measurements.get(metric) else {
        return String::new();
    };
    let (decimals, unit) = if metric.is_percentage() {
        (1, "%")
    } else {
        (0, "")
    };
    let [low, high] = [number.at_least, number.at_most].map(|end| end.value.truncated(decimals));
    format!(" ({low} to {high}{unit})")
}

/// A metric and the range it is out of. Count, usage and free stand before it with their values.
pub(super) fn out_of_range(
    crossing: &Crossing,
    assessment: &Assessment,
    change: &Reading<Change>,
) -> String {
    let measurements = &assessment.measurements;
    let violation = match crossing.reason {
        Reason::Range(violation) => violation.to_string(),
        Reason::BeforeNextRun(_) if seconds_until_full(measurements).is_none() => {
            return "full now".to_owned();
        }
        Reason::BeforeNextRun(elapsed) => {
            return format!("full before the next check (every {})", ago(elapsed));
        }
    };
    let whole = || {
        let value = measurements.value(crossing.metric);
        value
            .map(|v| v.truncated(0).to_string())
            .unwrap_or_default()
    };
    match crossing.metric {
        Metric::Usage => format!("usage {violation}%"),
        // the numbers have been given
        Metric::Entries | Metric::Free | Metric::Lost => {
            format!("{} {violation}", crossing.metric)
        }
        Metric::Increase(counter) => {
            let since = since(change).map_or_else(String::new, |since| format!(" {since}"));
            format!("{} +{} {violation}{since}", counter.name(), whole())
        }
        Metric::Growth => {
            let growth = growth(measurements).unwrap_or_default();
            format!("growth {growth} {violation}")
        }
        Metric::FullIn => format!("full_in {violation}"),
        Metric::Peak | Metric::Ports | Metric::Expect => {
            let metric = crossing.metric;
            let value = measurements
                .value(metric)
                .map(|v| with_enough_decimals(v, metric, assessment).to_string());
            let interval = interval(measurements, metric);
            format!(
                "{metric} {}%{interval} {violation}%",
                value.unwrap_or_default()
            )
        }
        Metric::Endpoint | Metric::Unreplied | Metric::Evictable | Metric::Class(_) => {
            let interval = interval(measurements, crossing.metric);
            format!("{} {}{interval} {violation}", crossing.metric, whole())
        }
        Metric::Chain => {
            let mean = measurements
                .value(Metric::Chain)
                .map(|v| with_enough_decimals(v, Metric::Chain, assessment).to_string());
            format!("mean hash chain {} {violation}", mean.unwrap_or_default())
        }
    }
}

/// A time of day: `03:12:40 UTC`.
pub(super) fn time_of_day(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02} UTC",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_that_of_utc() {
        let at = |seconds| time_of_day(Duration::from_secs(seconds));
        assert_eq!(at(0), "00:00:00 UTC");
        assert_eq!(at(1_795_835_560), "03:12:40 UTC");
        assert_eq!(at(86_399), "23:59:59 UTC");
    }
}
