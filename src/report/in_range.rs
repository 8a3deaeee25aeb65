//! The values that an OK names: of each metric with a range that somebody gave.

use super::values::{ago, full_in, growth, interval};
use crate::judge::assess::Assessment;
use crate::judge::measure::Measured;
use crate::judge::metric::Metric;
use crate::model::error::ReadError;
use crate::model::readings::{Change, Reading};

/// Line 1 has at most this many bytes before its perfdata if nothing failed.
const LINE_MAX: usize = 300;
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
    fitted(phrases, LINE_MAX.saturating_sub(PREFIX + so_far))
}

/// As many as fit, each with a comma before it, and the number of the others.
fn fitted(mut phrases: Vec<String>, room: usize) -> Vec<String> {
    const COMMA: usize = 2;
    let all = phrases.len();
    let mut length: usize = phrases.iter().map(|phrase| phrase.len() + COMMA).sum();
    let mut left_out = String::new();
    while length + left_out.len() > room {
        let Some(last) = phrases.pop() else { break };
        length -= last.len() + COMMA;
        left_out = format!("{} more in range", all - phrases.len());
    }
    if !left_out.is_empty() {
        phrases.push(left_out);
    }
    phrases
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_room_are_counted() {
        let phrases = |n: usize| vec!["twelve bytes".to_owned(); n];
        assert_eq!(fitted(phrases(2), 28), phrases(2));
        assert_eq!(fitted(phrases(3), 34), ["twelve bytes", "2 more in range"]);
        assert_eq!(fitted(phrases(3), 20), ["3 more in range"]);
        assert_eq!(fitted(phrases(0), 0), Vec::<String>::new());
    }
}
