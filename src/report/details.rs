//! The lines below line 1, the most useful first: advice, endpoints, notes, and with `-v` the numbers.

use nagiosplugin::ServiceState;

use super::advice::Advice;
use super::fit::MAX_LINE;
use super::values::{ago, full_in, growth, with_hint};
use super::{Answer, endpoints};
use crate::judge::assess::Assessment;
use crate::judge::measure::Measurements;
use crate::judge::metric::Metric;
use crate::judge::netns::OtherNetns;
use crate::judge::slip::Slip;
use crate::judge::threshold::Thresholds;
use crate::model::error::ReadError;
use crate::model::readings::{Counter, Limit, Readings};
use crate::model::text::{one_line, printable};

/// The lines of an answer.
pub(super) fn lines(answer: &Answer<'_>) -> Vec<String> {
    let verbose = answer.style.verbosity > 0;
    let mut lines = advice(answer.advice);
    lines.extend(slips(&answer.assessment.thresholds, verbose));
    lines.extend(answer.told.lines(verbose));
    if let Some(table) = answer.table {
        if let Some(top) = table.top {
            lines.extend(endpoints::lines(
                top,
                table.basis,
                answer.readings,
                answer.names,
                verbose,
            ));
        }
        lines.extend(table.basis.notes.iter().cloned());
    }
    // nothing is judged if nothing is tracked
    if answer.readings.tracks() {
        lines.extend(unread(answer, verbose));
        if verbose {
            lines.extend(numbers_and_ranges(answer));
        }
        if let Some(overview) = answer.overview {
            lines.extend(own_namespace(answer));
            lines.extend(overview.others.iter().enumerate().map(other_netns));
        }
    }
    lines.extend(answer.style.origin.iter().cloned());
    if answer.style.verbosity > 2 {
        lines.extend(each_cpu(answer.readings));
    }
    let advised = advice(answer.advice).len();
    let clean = |(place, line): (usize, &String)| {
        // a command may need the semicolon that other lines may not have
        if place < advised {
            printable(line)
        } else {
            one_line(line, MAX_LINE)
        }
    };
    lines.iter().enumerate().map(clean).collect()
}

/// `why:`, `now:`, `fix:` and `look:`.
fn advice(advice: &Advice) -> Vec<String> {
    [
        ("why", &advice.why),
        ("now", &advice.now),
        ("fix", &advice.fix),
        ("look", &advice.look),
    ]
    .into_iter()
    .filter_map(|(name, line)| Some(format!("{name}: {}", line.as_ref()?)))
    .collect()
}

/// Ranges that probably are a mistake. A missing colon makes a check alert, or stay OK, for the wrong reason; a WARNING
/// range that is never reached does no harm.
fn slips(thresholds: &Thresholds, verbose: bool) -> Vec<String> {
    let never_reached = Slip::never_reached(thresholds).filter(|_| verbose);
    Slip::without_colon(thresholds)
        .chain(never_reached)
        .map(|slip| slip.to_string())
        .collect()
}

/// Readings that failed besides.
fn unread(answer: &Answer<'_>, verbose: bool) -> Vec<String> {
    let readings = answer.readings;
    let unmeasured = &answer.assessment.unmeasured;
    let mut lines = Vec::new();
    for (what, error) in [
        ("hash buckets", readings.buckets.as_ref().err()),
        ("counters", readings.statistics.as_ref().err()),
    ] {
        let Some(error) = error else { continue };
        let told = *error == ReadError::NotReached
            || readings.count.as_ref().err() == Some(error)
            || unmeasured.iter().any(|unmeasured| unmeasured.why == *error);
        // many kernels are built without the statistics file: no news
        if !told && (verbose || !error.is_missing()) {
            lines.push(format!("no {what}: {}", with_hint(error)));
        }
    }
    lines
}

fn numbers_and_ranges(answer: &Answer<'_>) -> Vec<String> {
    let readings = answer.readings;
    let mut lines = numbers(readings, &answer.assessment.measurements);
    // it changes nothing, but then nobody knows whether the table ought to be empty
    let untracked = readings.untracked.as_ref().err();
    if let Some(why) = untracked.filter(|why| **why != ReadError::NotReached) {
        lines.push(format!("connections to other hosts not counted: {why}"));
    }
    lines.extend(since_the_previous_run(answer));
    lines.push(thresholds_in_force(answer.assessment));
    lines
}

fn numbers(readings: &Readings, measurements: &Measurements) -> Vec<String> {
    let mut numbers = Vec::new();
    if let Ok(count) = readings.count {
        numbers.push(format!("nf_conntrack_count {count}"));
    }
    match readings.limit {
        Ok(Limit::Entries(max)) => numbers.push(format!("nf_conntrack_max {max}")),
        Ok(Limit::None(max)) => numbers.push(format!("nf_conntrack_max {max} (no limit)")),
        Err(_) => {}
    }
    if let Ok(buckets) = readings.buckets {
        numbers.push(format!("nf_conntrack_buckets {buckets}"));
    }
    if let Some(chain) = measurements.value(Metric::Chain) {
        numbers.push(format!("mean hash chain {}", chain.truncated(1)));
    }
    let mut lines = Vec::new();
    if !numbers.is_empty() {
        lines.push(numbers.join(", "));
    }
    if let Ok(statistics) = &readings.statistics {
        let counters: Vec<String> = Counter::ALL
            .into_iter()
            .filter_map(|counter| {
                Some(format!("{} {}", counter.name(), statistics.total(counter)?))
            })
            .collect();
        if !counters.is_empty() {
            lines.push(format!(
                "since this network namespace began: {}",
                counters.join(", ")
            ));
        }
    }
    lines
}

/// The comparison with the previous run, or why there is none.
fn since_the_previous_run(answer: &Answer<'_>) -> Option<String> {
    let measurements = &answer.assessment.measurements;
    let change = match answer.change {
        Ok(change) => change,
        // nobody expects one there
        Err(ReadError::NotReached | ReadError::NoPreviousCapture) => return None,
        Err(why) => {
            return Some(format!(
                "no comparison with a previous run: {}",
                with_hint(why)
            ));
        }
    };
    let mut parts: Vec<String> = [("lost", change.lost())]
        .into_iter()
        .chain(Counter::ALL.map(|counter| (counter.name(), change.increase(counter))))
        .filter_map(|(name, increase)| Some(format!("{name} +{}", increase?)))
        .collect();
    parts.extend(growth(measurements));
    parts.extend(full_in(measurements));
    if change.counted_for > change.elapsed {
        let since = ago(change.counted_for);
        parts.push(format!("the counters since {since} ago"));
    }
    Some(format!(
        "since the previous run {} ago: {}",
        ago(change.elapsed),
        parts.join(", ")
    ))
}

fn thresholds_in_force(assessment: &Assessment) -> String {
    let mut metrics = Vec::new();
    for metric in Metric::all() {
        let ranges: Vec<String> = assessment
            .thresholds
            .of(metric)
            .map(|threshold| {
                format!(
                    "{} {}{}",
                    threshold.severity,
                    threshold.range,
                    if threshold.given { "" } else { " (default)" }
                )
            })
            .collect();
        if !ranges.is_empty() {
            metrics.push(format!("{metric} {}", ranges.join(" ")));
        }
    }
    format!("thresholds: {}", metrics.join(", "))
}

fn each_cpu(readings: &Readings) -> Vec<String> {
    let Ok(statistics) = &readings.statistics else {
        return Vec::new();
    };
    let row = |(index, row): (usize, &[Option<u32>; 4])| {
        let cells = Counter::ALL
            .iter()
            .zip(row)
            .filter_map(|(counter, cell)| Some(format!("{} {}", counter.name(), (*cell)?)));
        format!("row {index}: {}", cells.collect::<Vec<_>>().join(", "))
    };
    statistics.processors.iter().enumerate().map(row).collect()
}

/// The network namespace of this check, if another one decides.
fn own_namespace(answer: &Answer<'_>) -> Option<String> {
    let overview = answer.overview?;
    let own = overview.own.as_ref()?;
    let usage = own.assessment.measurements.value(Metric::Usage)?;
    let place = if overview.is_host {
        "the host itself"
    } else {
        "the namespace of this check"
    };
    Some(format!("{place} is {}% full", usage.truncated(1)))
}

/// A network namespace that does not decide, in a line.
fn other_netns((index, other): (usize, &OtherNetns)) -> String {
    let readings = &other.judged.netns.namespace.readings;
    let usage = other.judged.assessment.measurements.value(Metric::Usage);
    let usage = usage.map(|usage| format!("{}%", usage.truncated(1)));
    let entries = match &readings.count {
        Ok(1) => "1 entry".to_owned(),
        Ok(count) => format!("{count} entries"),
        Err(error) => error.to_string(),
    };
    let mut parts = vec![match usage {
        Some(usage) => format!("{usage} ({entries})"),
        None => entries,
    }];
    let state = other.judged.assessment.state;
    if state != ServiceState::Ok {
        parts.push(state.to_string());
    }
    parts.push(other.resident.to_string());
    parts.extend(other.judged.losses().map(|losses| {
        format!(
            "{} packets lost in the last {}",
            losses.packets,
            ago(losses.over)
        )
    }));
    format!("namespace {}: {}", index + 2, parts.join(", "))
}
