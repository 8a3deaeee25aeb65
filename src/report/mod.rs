//! Puts a verdict into words: the status line, the perfdata, the detail lines. Pure, and the one file that knows the
//! nagiosplugin crate's text types.
//!
//! The output contract: line 1 carries all perfdata behind the only `|`; printable ASCII; at most 1023 bytes, or 4000
//! when details were asked for. NRPE 2 packets pass 1023 bytes, Nagios loses what is beyond 4096.

pub mod endpoints;
mod in_range;

use std::time::Duration;

use nagiosplugin::{CheckResult, PerfString, Resource, ServiceState, ToPerfString, Unit};

use crate::diagnosis::Hint;
use crate::judge::assess::{Assessment, Finding, Measured, measure};
use crate::judge::metric::Metric;
use crate::judge::netns::{Other, Overview};
use crate::judge::range::{Range, Ratio, Side, Truncated};
use crate::judge::threshold::Severity;
use crate::model::dump::Gap;
use crate::model::error::ReadError;
use crate::model::readings::{Counter, Limit, Readings};
use crate::model::text::{duration, duration_nearest, one_line, printable};
use crate::report::endpoints::Ranking;

/// What passes everywhere, line feed included.
const MAX_BYTES: usize = 1023;
/// What passes where somebody asked for details (`-v`, `-h`).
const MAX_BYTES_VERBOSE: usize = 4000;
/// Beyond this, ranges that Icinga 2 would drop anyway are left out of the perfdata.
const MAX_PERFDATA: usize = 700;
/// So many decimals are enough to show on which side of a threshold a value lies.
const MAX_DECIMALS: u32 = 6;

/// The whole answer: what goes to stdout, and the state behind the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Decides the exit code.
    pub state: ServiceState,
    /// Ends with a line feed.
    pub text: String,
}

impl Report {
    /// The answer when there is nothing to judge: a usage error, a panic, a signal.
    pub fn unknown(why: &str) -> Self {
        let why = one_line(why, room(ServiceState::Unknown, &[]));
        let text = status_line(ServiceState::Unknown, &why, &[]) + "\n";
        Self {
            state: ServiceState::Unknown,
            text,
        }
    }

    /// Help or version: not a verdict, hence exit code 3 (guidelines, "plugin options"). May span lines.
    pub fn information(text: &str) -> Self {
        let mut lines = text.lines().map(|line| printable(line.trim_end()));
        let first = lines.next().unwrap_or_default();
        Self {
            state: ServiceState::Unknown,
            text: assemble(first, lines.collect(), MAX_BYTES_VERBOSE),
        }
    }
}

/// What an answer is made from besides the readings and the verdict.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// `-v`, up to 3.
    pub verbosity: u8,
    /// The time limit in seconds, if this report is the fallback for a check that reaches it.
    pub timed_out: Option<u32>,
    /// Lines about where the readings come from, for `-vv`.
    pub origin: &'a [String],
    /// The network namespaces, when all of them were to be judged.
    pub overview: Option<&'a Overview>,
    /// The endpoints that hold most entries.
    pub ranking: Option<&'a Ranking>,
    /// Why there are none although somebody asked.
    pub unavailable: Option<&'a ReadError>,
    /// What to do about a problem.
    pub hint: Option<&'a Hint>,
    /// Whether values of the entries belong into the perfdata: not when they are read on some runs only.
    pub table_perfdata: bool,
}

/// Renders the answer.
pub fn report(
    readings: &Readings,
    assessment: &Assessment,
    circumstances: Circumstances<'_>,
) -> Report {
    let mut perfdata = Perfdata::of(readings, assessment, circumstances.table_perfdata);
    if let Some(overview) = circumstances.overview {
        perfdata.add_namespaces(readings, overview);
    }
    let perfdata = perfdata.render();
    let max = if circumstances.verbosity == 0 {
        MAX_BYTES
    } else {
        MAX_BYTES_VERBOSE
    };
    let text = status_text(readings, assessment, circumstances, &perfdata);
    let first = status_line(assessment.state, &text, &perfdata);
    let details = details(readings, assessment, circumstances);
    Report {
        state: assessment.state,
        text: assemble(first, details, max),
    }
}

// ---- the status line ----------------------------------------------------------------------------------------------

/// The one use of the crate's text format. Labels are fixed identifiers, so every quote behind the text is the crate's
/// own around a label, which Checkmk would keep in the name.
fn status_line(state: ServiceState, text: &str, perfdata: &[PerfString]) -> String {
    let mut resource = Resource::new("CONNTRACK")
        .with_fixed_state(state)
        .with_description(text);
    for value in perfdata {
        resource.push_result(CheckResult::new().with_perf_data(value.clone()));
    }
    let (_, line) = resource.nagios_result();
    match line.split_once('|') {
        // the crate always writes every field
        Some((text, perfdata)) => {
            let fields: Vec<&str> = perfdata
                .split_whitespace()
                .map(|field| field.trim_end_matches(';'))
                .collect();
            let perfdata = fields.join(" ").replace('\'', "");
            format!("{}|{perfdata}", text.trim_end())
        }
        None => line.trim_end().to_owned(),
    }
}

/// How many bytes the text of a status line may have.
fn room(state: ServiceState, perfdata: &[PerfString]) -> usize {
    // a text of one byte, because an empty one has no blank before it; the byte it takes is the line feed's
    MAX_BYTES.saturating_sub(status_line(state, "-", perfdata).len())
}

/// The text between the state and the perfdata: most important first, and what does not fit is left out.
fn status_text(
    readings: &Readings,
    assessment: &Assessment,
    circumstances: Circumstances<'_>,
    perfdata: &[PerfString],
) -> String {
    let room = room(assessment.state, perfdata);
    let mut parts = vec![headline(readings, assessment)];
    parts.extend(gaps(readings, circumstances.ranking));
    let own_missing = circumstances
        .ranking
        .and_then(|ranking| ranking.own_missing.as_ref());
    parts.extend(own_missing.map(|why| {
        let measured = assessment.unmeasured.iter().all(|one| one.why != *why);
        let endpoint = if measured {
            ""
        } else {
            "endpoint not measured: "
        };
        format!(", {endpoint}{}", with_hint(why))
    }));
    parts.extend(circumstances.overview.map(whereabouts));
    parts.extend(untracked(readings).map(|untracked| format!(", {untracked}")));
    parts.extend(losses(readings).map(|losses| format!(", {losses}")));
    parts.extend(
        assessment
            .findings
            .iter()
            .map(|finding| format!(", {}", out_of_range(finding, readings, assessment))),
    );
    let so_far = parts.iter().map(String::len).sum();
    parts.extend(in_range::in_range(readings, assessment, so_far));
    let announced = assessment
        .findings
        .iter()
        .any(|finding| finding.metric == Metric::FullIn);
    if assessment.state != ServiceState::Ok && !announced {
        parts.extend(full_in(readings).map(|when| format!(", {when}")));
    }
    if let Some(seconds) = circumstances.timed_out {
        parts.push(format!(
            ", timed out after {seconds} s, the remaining data is missing"
        ));
    }
    if let Some(overview) = circumstances.overview {
        parts.extend(losses_elsewhere(overview, circumstances.verbosity));
    }
    parts.extend(
        readings
            .others
            .as_ref()
            .map(|why| format!(", other network namespaces not seen: {}", with_hint(why))),
    );
    let ranking = circumstances.ranking;
    parts.extend(
        ranking
            .and_then(|ranking| ranking.phrase(0))
            .map(|phrase| format!(", {phrase}")),
    );
    let mut said = vec![
        readings.count.as_ref().err(),
        readings.limit.as_ref().err(),
        own_missing,
    ];
    for unmeasured in &assessment.unmeasured {
        // a missing count is the headline already
        if said.contains(&Some(&unmeasured.why))
            && matches!(unmeasured.why, ReadError::Incomplete(_))
        {
            parts.push(format!(", {} not measured", unmeasured.metric));
        } else if !said.contains(&Some(&unmeasured.why)) {
            parts.push(format!(
                ", {} not measured: {}",
                unmeasured.metric,
                with_hint(&unmeasured.why)
            ));
            said.push(Some(&unmeasured.why));
        }
    }
    if let Some(why) = circumstances
        .unavailable
        .filter(|why| !said.contains(&Some(*why)))
    {
        parts.push(format!(", no top endpoints: {}", with_hint(why)));
    }
    if let Some(ranking) = ranking {
        // the others have to leave room for what rests on them all
        parts.extend(ranking.aim().map(|aim| format!(", aimed at {aim}")));
        parts.extend(
            [1, 2]
                .into_iter()
                .filter_map(|index| ranking.phrase(index))
                .map(|phrase| format!(", {phrase}")),
        );
        parts.extend(ranking.basis().map(|basis| format!(", {basis}")));
    }
    let meanings = meanings(readings, assessment);
    if !meanings.is_empty() {
        parts.push(format!(" - {}", meanings.join(", ")));
    }
    let mut text = String::new();
    for part in parts {
        let part = one_line_part(&part);
        if text.len() + part.len() <= room {
            text.push_str(&part);
        }
    }
    text
}

/// One line, but keeping the blank or comma it begins with.
fn one_line_part(part: &str) -> String {
    let lead = if part.starts_with(' ') { " " } else { "" };
    format!("{lead}{}", one_line(part, MAX_BYTES))
}

/// How full the table is, or why that is not known.
fn headline(readings: &Readings, assessment: &Assessment) -> String {
    match (&readings.count, &readings.limit) {
        // what was expected needs no advice
        (Err(ReadError::Incomplete(gap @ Gap::Unparsed { .. })), _) => {
            let entries = if gap.read() == 1 { "entry" } else { "entries" };
            format!("{} {entries} read from the capture, {gap}", gap.read())
        }
        (Err(error), _) if assessment.state == ServiceState::Ok => error.to_string(),
        (Err(error), _) => with_hint(error),
        (Ok(count), Err(_)) if readings.capture => format!("{count} entries in the capture"),
        (Ok(count), Err(error)) => format!(
            "{count} entries in the connection tracking table, {}",
            with_hint(error)
        ),
        (Ok(count), Ok(Limit::None(max))) => {
            format!(
                "{count} entries in the connection tracking table, no limit (nf_conntrack_max is {max})"
            )
        }
        (Ok(count), Ok(Limit::Entries(max))) => {
            let free = i64::from(*max) - i64::from(*count);
            let room = if free < 0 {
                format!("{} over the limit", -free)
            } else {
                format!("{free} free")
            };
            let usage = match value(Metric::Usage, readings) {
                Some(usage) => format!("{}%", telling(usage, Metric::Usage, assessment)),
                None => "all".to_owned(),
            };
            format!("{usage} of the table in use ({count} of {max} entries, {room})")
        }
    }
}

/// The parts of the table that were not read, unless the headline has them.
fn gaps(readings: &Readings, ranking: Option<&Ranking>) -> Vec<String> {
    let gaps = ranking.map(|ranking| ranking.gaps.as_slice());
    let headline = match &readings.count {
        Err(ReadError::Incomplete(gap)) => Some(gap),
        _ => None,
    };
    let others = gaps.unwrap_or_default().iter();
    others
        .filter(|gap| Some(*gap) != headline)
        .map(|gap| format!(", {gap}"))
        .collect()
}

/// Which network namespace it is, and of how many.
fn whereabouts(overview: &Overview) -> String {
    let number = match overview.number {
        1 => "the only one".to_owned(),
        n => format!("1 of {n}"),
    };
    format!(
        " in the network namespace of {}, {number}",
        overview.deciding
    )
}

/// Whether anybody is woken by it or not, somebody's connections feel it.
fn losses_elsewhere(overview: &Overview, verbosity: u8) -> Option<String> {
    let namespaces = match overview.losing {
        0 => return None,
        1 => "1 other network namespace".to_owned(),
        n => format!("{n} other network namespaces"),
    };
    let see = if verbosity == 0 { ", see -v" } else { "" };
    Some(format!(", {namespaces} lost packets{see}"))
}

/// A network namespace that does not decide, in a line.
fn elsewhere((index, other): (usize, &Other)) -> String {
    let readings = &other.readings;
    let usage = value(Metric::Usage, readings).map(|usage| format!("{}%", usage.truncated(1)));
    let entries = match &readings.count {
        Ok(1) => "1 entry".to_owned(),
        Ok(count) => format!("{count} entries"),
        Err(error) => error.to_string(),
    };
    let mut parts = vec![match usage {
        Some(usage) => format!("{usage} ({entries})"),
        None => entries,
    }];
    if other.state != ServiceState::Ok {
        parts.push(other.state.to_string());
    }
    parts.push(other.resident.to_string());
    parts.extend(losses(readings));
    format!("namespace {}: {}", index + 2, parts.join(", "))
}

fn with_hint(error: &ReadError) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

fn value(metric: Metric, readings: &Readings) -> Option<Ratio> {
    match measure(metric, readings) {
        Ok(Measured::Value(measure)) => Some(measure.value),
        _ => None,
    }
}

/// A value with one decimal, or with as many as it takes to see that it is above its threshold: 80.0004, not 80.0.
fn telling(value: Ratio, metric: Metric, assessment: &Assessment) -> Truncated {
    let bound = assessment
        .findings
        .iter()
        .find_map(|finding| match finding.side {
            Side::Above(bound) if finding.metric == metric => Some(bound.number().ratio()),
            _ => None,
        });
    (1..MAX_DECIMALS)
        .map(|decimals| value.truncated(decimals))
        .find(|shown| bound.is_none_or(|bound| shown.ratio() > bound))
        .unwrap_or_else(|| value.truncated(MAX_DECIMALS))
}

/// Why an empty table looks as if it should not be: said whatever it counts for.
fn untracked(readings: &Readings) -> Option<String> {
    let open = match readings.untracked {
        Ok(1) => "1 TCP connection to another host is".to_owned(),
        Ok(n @ 2..Readings::MANY) => format!("{n} TCP connections to other hosts are"),
        Ok(n @ Readings::MANY..) => format!("{n} or more TCP connections to other hosts are"),
        _ => return None,
    };
    Some(format!(
        "tracks nothing although {open} open: is this a container's namespace? does any rule use connection tracking?"
    ))
}

/// What was lost since the previous run, and why where the counters tell.
fn losses(readings: &Readings) -> Option<String> {
    let change = readings.change.as_ref().ok()?;
    let lost = change.lost().filter(|lost| *lost > 0)?;
    let mut causes = Vec::new();
    if readings.lost_to_a_full_table() {
        causes.push("the table was full");
    } else if change.increase(Counter::Drop) > Some(0) {
        // a spike of entries that may not be evicted leaves no other trace
        causes.push("a full table in between, a clash or a helper");
    }
    if readings.lost_to_long_chains() {
        causes.push("hash chains too long");
    }
    let causes = if causes.is_empty() {
        String::new()
    } else {
        format!(" ({})", causes.join(", "))
    };
    let packets = if lost == 1 { "packet" } else { "packets" };
    Some(format!(
        "{lost} {packets} lost in the last {}{causes}",
        ago(change.counted_for)
    ))
}

/// How long ago the previous run was.
fn ago(time: Duration) -> String {
    duration_nearest(time.as_secs())
}

/// When the table will be full, where it grows and is not.
fn full_in(readings: &Readings) -> Option<String> {
    let seconds = value(Metric::FullIn, readings)?.floor();
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(format!(
        "full in {} at {}",
        duration(seconds),
        growth(readings)?
    ))
}

/// With its sign, and a fraction where it is small.
fn growth(readings: &Readings) -> Option<String> {
    let growth = value(Metric::Growth, readings)?;
    let decimals = u32::from(growth.truncated(0).is_below(10));
    let shown = growth.truncated(decimals).to_string();
    let sign = if shown.starts_with('-') { "" } else { "+" };
    Some(format!("{sign}{shown} entries/min"))
}

/// A metric and the range it is out of. Count, usage and free are in the headline with their values.
fn out_of_range(finding: &Finding, readings: &Readings, assessment: &Assessment) -> String {
    let side = finding.side;
    match finding.metric {
        Metric::Usage => format!("usage {side}%"),
        Metric::Entries | Metric::Free => format!("{} {side}", finding.metric),
        // the losses have been told
        Metric::Lost => format!("lost {side}"),
        Metric::Increase(counter) => {
            let increase = value(finding.metric, readings)
                .map(|v| v.truncated(0).to_string())
                .unwrap_or_default();
            let since = readings
                .change
                .as_ref()
                .map(|change| format!(" in the last {}", ago(change.counted_for)))
                .unwrap_or_default();
            format!("{} +{increase} {side}{since}", counter.name())
        }
        Metric::Growth => {
            let growth = growth(readings).unwrap_or_default();
            format!("growth {growth} {side}")
        }
        Metric::FullIn => {
            let when = full_in(readings);
            let when = when.map_or_else(String::new, |when| format!("{when}, "));
            format!("{when}full_in {side}")
        }
        Metric::Endpoint | Metric::Unreplied | Metric::Evictable | Metric::Class(_) => {
            let counted = value(finding.metric, readings)
                .map(|v| v.truncated(0).to_string())
                .unwrap_or_default();
            format!("{} {counted} {side}", finding.metric)
        }
        Metric::Chain => {
            let mean = value(Metric::Chain, readings)
                .map(|v| telling(v, Metric::Chain, assessment).to_string())
                .unwrap_or_default();
            format!("mean hash chain {mean} {side}")
        }
    }
}

/// What the findings mean to somebody who never heard of conntrack, each said once.
fn meanings(readings: &Readings, assessment: &Assessment) -> Vec<String> {
    let mut meanings = Vec::new();
    let fills = |finding: &Finding| match finding.metric {
        Metric::Usage | Metric::Entries => matches!(finding.side, Side::Above(_)),
        Metric::Free => matches!(finding.side, Side::Below(_)),
        _ => false,
    };
    // without a limit the table never gets full
    let limited = !matches!(readings.limit, Ok(Limit::None(_)));
    let fills = assessment.findings.iter().any(fills);
    if limited && (fills || readings.lost_to_a_full_table()) {
        let full = match (&readings.count, readings.max()) {
            (Ok(count), Some(max)) => *count >= max,
            _ => false,
        };
        meanings.push(if full {
            "the connection tracking table is full and new connections are dropped".to_owned()
        } else {
            "new connections are dropped when the connection tracking table is full".to_owned()
        });
    }
    let crowded = |finding: &Finding| {
        finding.metric == Metric::Chain && matches!(finding.side, Side::Above(_))
    };
    if assessment.findings.iter().any(crowded) || readings.lost_to_long_chains() {
        let now = readings
            .buckets
            .as_ref()
            .map(|buckets| format!(" (now {buckets})"))
            .unwrap_or_default();
        meanings.push(format!(
            "too few hash buckets for so many entries, kernels from 5.15 drop new connections once a chain passes 50, \
             raise nf_conntrack_buckets{now}"
        ));
    }
    meanings
}

// ---- perfdata -----------------------------------------------------------------------------------------------------

/// Text where the crate wants a number.
struct Field(String);

impl ToPerfString for Field {
    fn to_perf_string(&self) -> String {
        self.0.clone()
    }
}

struct Value {
    label: &'static str,
    value: String,
    unit: Unit,
    /// Warning and critical.
    ranges: [Option<Range>; 2],
    min: Option<u32>,
    max: Option<u32>,
}

/// Everything measured, in a fixed order.
struct Perfdata(Vec<Value>);

impl Perfdata {
    fn of(readings: &Readings, assessment: &Assessment, with_table: bool) -> Self {
        let thresholds = &assessment.thresholds;
        let ranges = |metric| {
            [Severity::Warning, Severity::Critical]
                .map(|severity| thresholds.range(metric, severity))
        };
        let mut values = Vec::new();
        if let Some(usage) = value(Metric::Usage, readings) {
            values.push(Value {
                label: "usage",
                value: usage.truncated(1).to_string(),
                unit: Unit::Percentage,
                ranges: ranges(Metric::Usage),
                min: Some(0),
                max: Some(100),
            });
        }
        if let Ok(count) = readings.count {
            let max = readings.max();
            let (own, of_usage) = (ranges(Metric::Entries), ranges(Metric::Usage));
            let has_own = own.iter().any(Option::is_some);
            let whole = max.map(i64::from);
            let in_entries =
                |range: Option<Range>| range.and_then(|range| range.in_units_of(whole, !has_own));
            values.push(Value {
                label: "entries",
                value: count.to_string(),
                unit: Unit::None,
                ranges: if has_own {
                    own.map(in_entries)
                } else {
                    of_usage.map(in_entries)
                },
                min: Some(0),
                max,
            });
        }
        if let Some(chain) = value(Metric::Chain, readings) {
            values.push(Value {
                label: "chain",
                value: chain.truncated(1).to_string(),
                unit: Unit::None,
                ranges: ranges(Metric::Chain),
                min: Some(0),
                max: None,
            });
        }
        if let Ok(statistics) = &readings.statistics {
            values.extend(Counter::ALL.into_iter().filter_map(|counter| {
                Some(Value {
                    label: counter.name(),
                    value: statistics.total(counter)?.to_string(),
                    unit: Unit::Counter,
                    ranges: [None; 2],
                    min: None,
                    max: None,
                })
            }));
        }
        for (metric, unit, decimals, min) in [
            (Metric::Lost, Unit::None, 0, Some(0)),
            (Metric::Growth, Unit::None, 1, None),
            (Metric::FullIn, Unit::Seconds, 0, Some(0)),
        ] {
            let whole = readings.max().map(i64::from);
            let Some(value) = value(metric, readings) else {
                continue;
            };
            values.push(Value {
                label: metric.name(),
                value: value.truncated(decimals).to_string(),
                unit,
                ranges: ranges(metric)
                    .map(|range| range.and_then(|range| range.in_units_of(whole, false))),
                min,
                max: None,
            });
        }
        let classes = Metric::all().filter(|metric| metric.needs_table() && with_table);
        values.extend(classes.filter_map(|metric| {
            let whole = readings.max().map(i64::from);
            Some(Value {
                label: metric.name(),
                value: value(metric, readings)?.truncated(0).to_string(),
                unit: Unit::None,
                ranges: ranges(metric)
                    .map(|range| range.and_then(|range| range.in_units_of(whole, false))),
                min: None,
                max: None,
            })
        }));
        Self(values)
    }

    /// How many namespaces there are, where all of them were seen: last, because it is not about the one that decides.
    fn add_namespaces(&mut self, readings: &Readings, overview: &Overview) {
        if readings.others.is_some() {
            return;
        }
        self.0.push(Value {
            label: "namespaces",
            value: overview.number.to_string(),
            unit: Unit::None,
            ranges: [None; 2],
            min: None,
            max: None,
        });
    }

    /// With as much of the thresholds as there is room for; values are never left out.
    fn render(&self) -> Vec<PerfString> {
        let rendered = |detail| {
            self.0
                .iter()
                .map(|value| value.render(detail))
                .collect::<Vec<_>>()
        };
        let fits = |perfdata: &Vec<PerfString>| {
            let line = status_line(ServiceState::Ok, "", perfdata);
            line.split_once('|')
                .map_or(0, |(_, perfdata)| perfdata.len())
                <= MAX_PERFDATA
        };
        [Detail::Ranges, Detail::Numbers]
            .map(rendered)
            .into_iter()
            .find(fits)
            .unwrap_or_else(|| rendered(Detail::Values))
    }
}

/// How much of the thresholds goes into the perfdata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// All of them.
    Ranges,
    /// Those that are plain numbers, which every host understands.
    Numbers,
    /// None.
    Values,
}

impl Value {
    fn render(&self, detail: Detail) -> PerfString {
        let field = |range: &Option<Range>| {
            let range = range.as_ref()?;
            match (detail, range.plain()) {
                (Detail::Values, _) => None,
                (_, Some(bound)) => Some(Field(bound.number().to_string())),
                (Detail::Ranges, None) => Some(Field(range.to_string())),
                (Detail::Numbers, None) => None,
            }
        };
        let [warning, critical] = &self.ranges;
        let number = |n: Option<u32>| n.map(|n| Field(n.to_string()));
        PerfString::new(
            self.label,
            &Field(self.value.clone()),
            self.unit.clone(),
            field(warning).as_ref(),
            field(critical).as_ref(),
            number(self.min).as_ref(),
            number(self.max).as_ref(),
        )
    }
}

// ---- detail lines -------------------------------------------------------------------------------------------------

fn details(
    readings: &Readings,
    assessment: &Assessment,
    circumstances: Circumstances<'_>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let verbose = circumstances.verbosity > 0;
    lines.extend(circumstances.hint.map(|hint| format!("hint: {hint}")));
    if let Some(ranking) = circumstances.ranking {
        lines.extend(ranking.lines());
        lines.extend(ranking.overview());
        lines.extend(ranking.notes.iter().cloned());
    }
    // nothing is judged where nothing is tracked
    if !readings.tracks() {
        lines.extend(
            circumstances
                .origin
                .iter()
                .map(|line| one_line(line, MAX_BYTES)),
        );
        return lines;
    }
    for (what, error) in [
        ("hash buckets", readings.buckets.as_ref().err()),
        ("counters", readings.statistics.as_ref().err()),
    ] {
        let Some(error) = error else { continue };
        let told = *error == ReadError::NotReached
            || assessment
                .unmeasured
                .iter()
                .any(|unmeasured| unmeasured.why == *error);
        // many kernels are built without the statistics file: no news
        if !told && (verbose || !error.is_missing()) {
            lines.push(format!("no {what}: {}", with_hint(error)));
        }
    }
    if verbose {
        lines.extend(numbers(readings));
        // it changes nothing, but then nobody knows whether the table ought to be empty
        let untracked = readings.untracked.as_ref().err();
        if let Some(why) = untracked.filter(|why| **why != ReadError::NotReached) {
            lines.push(format!("connections to other hosts not counted: {why}"));
        }
        lines.extend(since_the_previous_run(readings));
        lines.push(thresholds_in_force(assessment));
    }
    if let Some(overview) = circumstances.overview {
        lines.extend(overview.others.iter().enumerate().map(elsewhere));
    }
    lines.extend(circumstances.origin.iter().cloned());
    if circumstances.verbosity > 2 {
        lines.extend(each_processor(readings));
    }
    lines.iter().map(|line| one_line(line, MAX_BYTES)).collect()
}

fn numbers(readings: &Readings) -> Vec<String> {
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
    if let Some(chain) = value(Metric::Chain, readings) {
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
fn since_the_previous_run(readings: &Readings) -> Option<String> {
    let change = match &readings.change {
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
    parts.extend(growth(readings));
    parts.extend(full_in(readings));
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

fn each_processor(readings: &Readings) -> Vec<String> {
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

/// The lines that fit, whole, and a word about those that do not.
fn assemble(first: String, details: Vec<String>, max: usize) -> String {
    let more = |n: usize| format!("({n} more not shown)\n");
    let total = details.len();
    let mut text = first + "\n";
    for (shown, line) in details.into_iter().enumerate() {
        let left = total - shown;
        let reserve = if left > 1 { more(left - 1).len() } else { 0 };
        if text.len() + line.len() + 1 + reserve > max {
            if text.len() + more(left).len() <= max {
                text.push_str(&more(left));
            }
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_keeps_its_layout_and_loses_what_an_output_may_not_have() {
        let report =
            Report::information("Usage: x|y\u{1b}[31m [OPTIONS]  \n\n  -h  caf\u{e9}; help\r\n");
        assert_eq!(report.text, "Usage: xy[31m [OPTIONS]\n\n  -h  caf?; help\n");
        assert_eq!(report.state, ServiceState::Unknown);
    }
}
