//! The text of line 1: is traffic being lost, who does it, and the numbers behind that.
//!
//! The three groups are set apart by ` - `. Within the first 120 bytes a reader knows the worst, and who it is.

use nagiosplugin::ServiceState;

use super::fit::{LINE_1, MAX_BYTES, fitted};
use super::values::{
    FAR_AHEAD, ago, full_in, out_of_range, seconds_until_full, time_of_day, with_enough_decimals,
    with_hint,
};
use super::{Answer, finding, in_range, plural};
use crate::analysis::top::{Basis, SampledPart};
use crate::diagnosis::Finding;
use crate::judge::assess::Crossing;
use crate::judge::losses::Losses;
use crate::judge::metric::Metric;
use crate::judge::netns::NetnsSummary;
use crate::judge::threshold::Severity;
use crate::model::dump::{Gap, Source};
use crate::model::error::ReadError;
use crate::model::readings::{Limit, Readings};
use crate::model::text::one_line;

/// The state, and what separates the last two groups.
const PREFIX: usize = "CONNTRACK is CRITICAL:  - ".len();

/// The text between the state and the perfdata. What does not fit into `room` bytes is left out, the least important
/// first.
pub(super) fn text(answer: &Answer<'_>, room: usize) -> String {
    let mut line = StatusLine::new(room);
    let is_ok = answer.assessment.state == ServiceState::Ok;
    line.group(head(answer));
    if is_ok {
        let so_far = line.text.len();
        line.more(in_range::in_range(answer.assessment, answer.change, so_far));
    }
    let notes = notes(answer);
    let has_numbers = !is_ok && answer.readings.count.is_ok();
    let sentence = answer.finding.map(|found| {
        // the numbers that stay if there is little room
        let numbers = if has_numbers {
            numbers(answer, LINE_1)
        } else {
            Vec::new()
        };
        let taken = PREFIX + line.text.len() + length(&numbers) + length(&notes);
        finding::sentence(found, answer.names, LINE_1.saturating_sub(taken))
    });
    line.group(sentence);
    line.group(answer.told.found());
    line.group(answer.told.peak());
    if has_numbers {
        let taken = line.text.len() + length(&notes);
        let mut numbers = numbers(answer, taken);
        let is_too_long = PREFIX + taken + length(&numbers) > LINE_1;
        // the first part has the time until then
        if is_too_long && full_at(answer).is_some() {
            numbers.pop();
        }
        line.group(numbers);
    }
    line.more(notes);
    line.text
}

/// The bytes of these parts, with what separates them.
fn length(parts: &[String]) -> usize {
    parts.iter().map(|part| part.len() + 2).sum()
}

/// Line 1 while it is put together.
struct StatusLine {
    text: String,
    room: usize,
}

impl StatusLine {
    fn new(room: usize) -> Self {
        Self {
            text: String::new(),
            room,
        }
    }

    /// Begins a group with these parts.
    fn group(&mut self, parts: impl IntoIterator<Item = String>) {
        let mut separator = if self.text.is_empty() { "" } else { " - " };
        for part in parts {
            if self.add(separator, &part) {
                separator = ", ";
            }
        }
    }

    /// Adds parts to the group that is there.
    fn more(&mut self, parts: impl IntoIterator<Item = String>) {
        for part in parts {
            let separator = if self.text.is_empty() { "" } else { ", " };
            self.add(separator, &part);
        }
    }

    fn add(&mut self, separator: &str, part: &str) -> bool {
        let part = one_line(part, MAX_BYTES);
        if self.text.is_empty() {
            self.text = one_line(&part, self.room);
            return true;
        }
        let fits = self.text.len() + separator.len() + part.len() <= self.room;
        if fits {
            self.text.push_str(separator);
            self.text.push_str(&part);
        }
        fits
    }
}

/// Is traffic being lost, and how full is the table?
fn head(answer: &Answer<'_>) -> Vec<String> {
    let state = answer.assessment.state;
    let place = answer.overview.map(whereabouts).unwrap_or_default();
    let full = usage(answer) + &place;
    let mut parts = match answer.losses {
        Some(losses) if losses.now || ports_used_up(answer) => {
            vec![losing(&losses) + &place]
        }
        Some(losses) => vec![full, lost(&losses)],
        None if state != ServiceState::Ok && nothing_lost(answer) => {
            vec![full, "no packets lost yet".to_owned()]
        }
        None => vec![full],
    };
    if let Some(seconds) = answer.style.timed_out {
        parts.push(format!(
            "timed out after {seconds} s, the remaining data is missing"
        ));
    }
    let is_near = seconds_until_full(&answer.assessment.measurements)
        .is_some_and(|seconds| seconds < FAR_AHEAD || answer.assessment.is_below(Metric::FullIn));
    if state != ServiceState::Ok && is_near {
        parts.extend(full_in(&answer.assessment.measurements));
    }
    parts.extend(blind(answer.readings, state));
    parts
}

fn entries(count: u32) -> String {
    plural(u64::from(count), "entry", "entries")
}

fn nothing_lost(answer: &Answer<'_>) -> bool {
    let lost = answer.change.as_ref().ok().and_then(|change| change.lost());
    lost == Some(0)
}

fn ports_used_up(answer: &Answer<'_>) -> bool {
    matches!(answer.finding, Some(Finding::PortsUsedUp(_)))
}

/// The usage of the table, or the reason why it is not known.
fn usage(answer: &Answer<'_>) -> String {
    let readings = answer.readings;
    match (&readings.count, &readings.limit) {
        // what was expected needs no advice
        (Err(error), _) if answer.assessment.state == ServiceState::Ok => error.to_string(),
        (Err(ReadError::NotTracking { directory }), _) => format!(
            "this kernel does not track connections, there is no conntrack file below {directory} - stateful rules and \
             NAT cannot work without it - a firewall that was not loaded looks like this, on a host that never tracks \
             use --absent ok"
        ),
        (Err(error), _) => with_hint(error),
        (Ok(count), Err(_)) if readings.capture => format!("{} in the capture", entries(*count)),
        (Ok(count), Err(error)) => format!("{}, {}", entries(*count), with_hint(error)),
        (Ok(count), Ok(Limit::None(max))) => {
            format!("{}, no limit (nf_conntrack_max is {max})", entries(*count))
        }
        (Ok(count), Ok(Limit::Entries(max))) => {
            let usage = answer.assessment.measurements.value(Metric::Usage);
            let usage = usage.map_or_else(String::new, |usage| {
                with_enough_decimals(usage, Metric::Usage, answer.assessment).to_string()
            });
            if answer.assessment.state == ServiceState::Ok {
                format!("{usage}% full ({})", of_limit(*count, *max, true))
            } else {
                format!("{usage}% full")
            }
        }
    }
}

/// `131072 of 262144 entries, 131072 free`.
fn of_limit(count: u32, max: u32, with_free: bool) -> String {
    let free = i64::from(max) - i64::from(count);
    if free < 0 {
        format!("{count} of {max} entries, over the limit")
    } else if with_free {
        format!("{count} of {max} entries, {free} free")
    } else {
        format!("{count} of {max} entries")
    }
}

/// The network namespace, and the number of namespaces.
fn whereabouts(overview: &NetnsSummary) -> String {
    let place = match &overview.deciding {
        Some(resident) => format!(" in {resident}"),
        None if overview.is_host => " on the host itself".to_owned(),
        None => " in the namespace of this check".to_owned(),
    };
    match (overview.number, &overview.deciding) {
        (1, None) => ", the only network namespace".to_owned(),
        // the answer of a recorder, which does not compare them
        (1, Some(_)) => place,
        (n, _) => format!("{place}, the worst of {n} network namespaces"),
    }
}

fn losing(losses: &Losses) -> String {
    let why = if losses.long_chains {
        "hash chains too long"
    } else if losses.full_table {
        "table full"
    } else {
        "source ports used up"
    };
    format!(
        "LOSING CONNECTIONS, {why}: {} lost in the last {}",
        packets(losses.packets),
        ago(losses.over)
    )
}

/// Losses that are over, or whose reason is another one than a full table.
fn lost(losses: &Losses) -> String {
    let packets = packets(losses.packets);
    let over = ago(losses.over);
    if losses.full_table || losses.long_chains {
        let why = if losses.full_table {
            "the table was full"
        } else {
            "hash chains were too long"
        };
        format!("lost {packets} between two checks ({why} in the last {over}), not now")
    } else {
        format!(
            "lost {packets} in the last {over} (table full between two checks, insert clash, or helper drop)"
        )
    }
}

fn packets(n: u64) -> String {
    format!("{n} {}", if n == 1 { "packet" } else { "packets" })
}

/// An empty table that looks as if it should not be.
fn blind(readings: &Readings, state: ServiceState) -> Option<String> {
    let open = match readings.untracked {
        Ok(1) => "1 TCP connection to another host is".to_owned(),
        Ok(n @ 2..Readings::MAX_UNTRACKED) => format!("{n} TCP connections to other hosts are"),
        Ok(n @ Readings::MAX_UNTRACKED..) => {
            format!("{n} or more TCP connections to other hosts are")
        }
        _ => return None,
    };
    let doubt = if state == ServiceState::Ok {
        "this OK may be blind: "
    } else {
        ""
    };
    Some(format!("{doubt}tracks nothing although {open} open"))
}

/// The numbers and the rule, beside so many bytes of other text. Ranges without room are counted.
fn numbers(answer: &Answer<'_>, taken: usize) -> Vec<String> {
    let readings = answer.readings;
    let mut parts = Vec::new();
    if let (Ok(count), Ok(Limit::Entries(max))) = (&readings.count, &readings.limit) {
        parts.push(of_limit(*count, *max, false));
    }
    let full_at = full_at(answer);
    let others = parts.iter().chain(&full_at).map(|part| part.len() + 2);
    let taken = PREFIX + taken + others.sum::<usize>();
    let mut crossings: Vec<&Crossing> = answer.assessment.crossings.iter().collect();
    // the first one is the reason for the state
    crossings.sort_by_key(|crossing| crossing.severity != Severity::Critical);
    let mut crossed = crossings
        .into_iter()
        .map(|crossing| out_of_range(crossing, answer.assessment, answer.change));
    let first = crossed.next();
    let taken = taken + first.as_ref().map_or(0, |first| first.len() + 2);
    parts.extend(first);
    parts.extend(fitted(
        crossed.collect(),
        LINE_1.saturating_sub(taken),
        "out of range",
    ));
    parts.extend(full_at);
    parts
}

/// The time of day at which the table is full.
fn full_at(answer: &Answer<'_>) -> Option<String> {
    let now = answer.style.now?;
    let seconds = seconds_until_full(&answer.assessment.measurements)?;
    // a time of day more than a day from now misleads
    (seconds < FAR_AHEAD).then(|| {
        let then = now.saturating_add(std::time::Duration::from_secs(seconds));
        format!("full at {}", time_of_day(then))
    })
}

/// Values that were not measured or seen, and the basis of the list.
fn notes(answer: &Answer<'_>) -> Vec<String> {
    let mut parts = answer.told.notes();
    let readings = answer.readings;
    parts.extend(gaps(answer));
    let mut said = vec![readings.count.as_ref().err(), readings.limit.as_ref().err()];
    for unmeasured in &answer.assessment.unmeasured {
        // a missing count is the headline already
        if !said.contains(&Some(&unmeasured.why)) {
            parts.push(format!(
                "{} not measured: {}",
                unmeasured.metric,
                with_hint(&unmeasured.why)
            ));
            said.push(Some(&unmeasured.why));
        }
    }
    parts.extend(
        answer
            .overview
            .and_then(|overview| losses_elsewhere(overview, answer.style.verbosity)),
    );
    parts.extend(answer.unseen.map(|why| {
        format!(
            "other network namespaces could not be checked: {}",
            with_hint(why)
        )
    }));
    let unavailable = answer.table.and_then(|table| table.unavailable);
    if let Some(why) = unavailable.filter(|why| !said.contains(&Some(*why))) {
        parts.push(format!(
            "cannot see who holds the entries: {}",
            with_hint(why)
        ));
    }
    if let Some(table) = answer.table.filter(|table| table.unavailable.is_none()) {
        parts.extend(basis(table.basis, readings));
        let shows_endpoints = table.top.is_some_and(|top| !top.endpoints.is_empty());
        let is_over = answer.losses.is_some_and(|losses| !losses.now) && !ports_used_up(answer);
        if shows_endpoints && is_over {
            parts.push("the list is of now, not of the time of the loss".to_owned());
        }
    }
    parts
}

/// The part of the table that was not read. Nothing that a finding, or another part of the line, has said.
fn gaps(answer: &Answer<'_>) -> Vec<String> {
    let Some(table) = answer.table else {
        return Vec::new();
    };
    let is_headline = |gap: &Gap| answer.readings.count == Err(ReadError::Incomplete(*gap));
    let is_finding = |gap: &Gap| {
        matches!(
            (gap, answer.finding),
            (Gap::Listed { .. }, Some(Finding::CountDisagrees(_)))
        )
    };
    let gaps = table.basis.gaps.iter();
    let gaps = gaps.filter(|gap| !is_headline(gap) && !is_finding(gap));
    let own_missing = table.basis.own_missing.as_ref().map(with_hint);
    let told = answer
        .assessment
        .unmeasured
        .iter()
        .any(|unmeasured| table.basis.own_missing.as_ref() == Some(&unmeasured.why));
    gaps.map(Gap::to_string)
        .chain(own_missing.filter(|_| !told))
        .collect()
}

fn losses_elsewhere(overview: &NetnsSummary, verbosity: u8) -> Option<String> {
    let namespaces = match overview.losing {
        0 => return None,
        1 => "1 other network namespace".to_owned(),
        n => format!("{n} other network namespaces"),
    };
    let see = if verbosity == 0 { ", see -v" } else { "" };
    Some(format!("{namespaces} lost packets{see}"))
}

/// The part of the table that was seen.
fn basis(basis: &Basis, readings: &Readings) -> Vec<String> {
    let mut parts = Vec::new();
    let count = readings.count.as_ref().copied().unwrap_or_default();
    let sample = basis.sample.as_ref();
    match (basis.source, sample) {
        (Some(Source::Sockets), _) => {
            let why = match &basis.why {
                Some(ReadError::NotPermitted { needs, .. } | ReadError::NotEntered { needs }) => {
                    format!(" (no {needs})")
                }
                Some(why) => format!(" ({why})"),
                None => String::new(),
            };
            // sockets that nothing tracks are among them
            let seen = basis.read.min(u64::from(count));
            parts.push(format!("sees {seen} of {count} entries{why}"));
        }
        (
            _,
            Some(SampledPart {
                read,
                total,
                half_width,
            }),
        ) => parts.push(match half_width {
            Some(half_width) => format!(
                "estimated from {read} of {total} entries, +-{:.1}%",
                // rounded up, because a smaller interval would not be true
                (half_width * 1000.0 - 1e-9).ceil() / 10.0
            ),
            None => format!("the first {read} of {total} entries"),
        }),
        (_, None) => {}
    }
    if basis.inexact {
        parts.push("inexact, the hash table was resized meanwhile".to_owned());
    }
    let incomplete = basis.names_incomplete.as_ref();
    parts.extend(incomplete.map(|why| format!("names incomplete: {why}")));
    parts
}
