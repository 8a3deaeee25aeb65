//! The values that an OK names: of each metric with a range that somebody gave.

use super::fit::{LINE_1, fitted};
use super::values::{ago, full_in, growth, interval};
use crate::judge::assess::Assessment;
use crate::judge::measure::Measured;
use crate::judge::metric::Metric;
use crate::model::error::ReadError;
use crate::model::readings::{Change, Reading};

/// The length of the prefix that the plugin format puts before the text of an OK.
const PREFIX: usize = "CONNTRACK is OK: ".len();

/// The values, if `so_far` bytes of the text stand before them. Values without room are counted.
pub(super) fn in_range(
    assessment: &Assessment,
    change: &Reading<Change>,
    so_far: usize,
) -> Vec<String> {
    let asked = |metric: &Metric| {
        let mut given = assessment.thresholds.of(*metric).filter(|t| t.given);
        given.any(|threshold| !threshold.range.never_alerts())
    };
    let mut phrases: Vec<String> = Vec::new();
    for phrase in Metric::all()
        .filter(asked)
        .filter_map(|metric| phrase(metric, assessment, change))
    {
        // metrics that wait for the same previous run
        if !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
    }
    fitted(phrases, LINE_1.saturating_sub(PREFIX + so_far), "in range")
}

/// A metric and its value. None if other words of line 1 have it, or if it has none.
fn phrase(metric: Metric, assessment: &Assessment, change: &Reading<Change>) -> Option<String> {
    let measurements = &assessment.measurements;
    let measured = match measurements.get(metric) {
        Ok(Measured::Value(measure)) => measure.value,
        Ok(Measured::Estimated(number)) => number.value.value,
        Ok(Measured::Infinite) => return Some("the table does not grow".to_owned()),
        Ok(Measured::Unlimited) => return None,
        Err(why @ ReadError::NoBaseline { .. }) => return Some(why.to_string()),
        Err(_) => return None,
    };
    let number = measured.truncated(0).to_string();
    let since = || {
        let change = change.as_ref().ok()?;
        Some(format!("in the last {}", ago(change.counted_for)))
    };
    let undecided = if assessment.is_undecided(metric) {
        ", a sample cannot tell if it is in range"
    } else {
        ""
    };
    match metric {
        // the numbers that line 1 begins with
        Metric::Usage | Metric::Entries | Metric::Free => None,
        // losses within a range are reported as others are
        Metric::Lost if number != "0" => None,
        Metric::Lost => Some(format!("no packets lost {}", since()?)),
        Metric::Increase(counter) => Some(format!("{} +{number} {}", counter.name(), since()?)),
        Metric::Growth => Some(format!("growth {}", growth(measurements)?)),
        Metric::FullIn => full_in(measurements),
        Metric::Peak | Metric::Ports | Metric::Expect => {
            let interval = interval(measurements, metric);
            Some(format!(
                "{metric} {}%{interval}{undecided}",
                measured.truncated(1)
            ))
        }
        Metric::Chain => Some(format!("mean hash chain {}", measured.truncated(1))),
        Metric::Endpoint | Metric::Unreplied | Metric::Evictable | Metric::Class(_) => {
            let interval = interval(measurements, metric);
            Some(format!("{metric} {number}{interval}{undecided}"))
        }
    }
}
