//! The values that an OK names: of each metric with a range that somebody gave.

use nagiosplugin::ServiceState;

use super::{ago, growth, value};
use crate::judge::assess::{Assessment, Measured, measure};
use crate::judge::metric::Metric;
use crate::model::readings::Readings;
use crate::model::text::duration;

/// Line 1 has at most this many bytes before its perfdata if nothing failed.
const LINE_MAX: usize = 300;
/// What the plugin format puts before the text of an OK.
const PREFIX: usize = "CONNTRACK is OK: ".len();

/// The values, each with a comma before it, behind `so_far` bytes of the text. Values without room are counted.
pub(super) fn in_range(readings: &Readings, assessment: &Assessment, so_far: usize) -> Vec<String> {
    if assessment.state != ServiceState::Ok {
        return Vec::new();
    }
    let asked = |metric: &Metric| {
        let mut given = assessment.thresholds.of(*metric).filter(|t| t.given);
        given.any(|threshold| !threshold.range.never_alerts())
    };
    let phrases = Metric::all()
        .filter(asked)
        .filter_map(|metric| Some(format!(", {}", phrase(metric, readings)?)));
    fitted(phrases.collect(), LINE_MAX.saturating_sub(PREFIX + so_far))
}

/// As many as fit, and the number of the others.
fn fitted(mut phrases: Vec<String>, room: usize) -> Vec<String> {
    let all = phrases.len();
    let more = |n: usize| format!(", {n} more in range");
    let mut length: usize = phrases.iter().map(String::len).sum();
    let mut left_out = String::new();
    while length + left_out.len() > room {
        let Some(last) = phrases.pop() else { break };
        length -= last.len();
        left_out = more(all - phrases.len());
    }
    if !left_out.is_empty() {
        phrases.push(left_out);
    }
    phrases
}

/// A metric and its value. None if other words of line 1 say it, or if it has none.
fn phrase(metric: Metric, readings: &Readings) -> Option<String> {
    let measured = match measure(metric, readings) {
        Ok(Measured::Value(measure)) => measure.value,
        Ok(Measured::Infinite) => return Some("the table does not grow".to_owned()),
        // a first run has nothing to compare with
        Ok(Measured::Unlimited) | Err(_) => return None,
    };
    let number = measured.truncated(0).to_string();
    let since = || {
        let change = readings.change.as_ref().ok()?;
        Some(format!("in the last {}", ago(change.counted_for)))
    };
    match metric {
        // the numbers that line 1 begins with
        Metric::Usage | Metric::Entries | Metric::Free => None,
        // losses within a range are told as others are
        Metric::Lost if number != "0" => None,
        Metric::Lost => Some(format!("no packets lost {}", since()?)),
        Metric::Increase(counter) => Some(format!("{} +{number} {}", counter.name(), since()?)),
        Metric::Growth => Some(format!("growth {}", growth(readings)?)),
        Metric::FullIn => {
            let seconds = u64::try_from(measured.floor()).ok()?;
            Some(format!("full in {}", duration(seconds)))
        }
        Metric::Chain => {
            let mean = value(Metric::Chain, readings)?.truncated(1);
            Some(format!("mean hash chain {mean}"))
        }
        Metric::Endpoint | Metric::Unreplied | Metric::Evictable | Metric::Class(_) => {
            Some(format!("{metric} {number}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_room_are_counted() {
        let phrases = |n: usize| vec![", twelve byte".to_owned(); n];
        assert_eq!(fitted(phrases(2), 26), phrases(2));
        assert_eq!(
            fitted(phrases(3), 33),
            [", twelve byte", ", 2 more in range"]
        );
        assert_eq!(fitted(phrases(3), 20), [", 3 more in range"]);
        assert_eq!(fitted(phrases(0), 0), Vec::<String>::new());
    }
}
