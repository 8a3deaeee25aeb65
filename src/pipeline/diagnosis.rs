//! The last stages: the diagnosis, what it needs besides the facts, and the report.

use std::path::Path;
use std::time::SystemTime;

use nagiosplugin::ServiceState;

use super::Deadlines;
use super::table::Table;
use super::told::{incident, is_about_limits, told, with_recorded};
use super::verdict::Verdict;
use crate::cli::{Options, TopWhen};
use crate::diagnosis::relief::{Room, relief};
use crate::diagnosis::{self, Case, Configured, Finding, Setting};
use crate::judge::losses::lost_below_limit;
use crate::judge::metric::Metric;
use crate::judge::number::Ratio;
use crate::model::error::ReadError;
use crate::model::timeouts::Timeouts;
use crate::report::advice::{Advice, AdviceContext, advice, inside};
use crate::report::recorded::Told;
use crate::report::sentence_parts::AddressNames;
use crate::report::{Answer, Report, Shown, Style, render};
use crate::source;
use crate::source::procfs::meminfo;

/// From this usage on a larger limit is advised whatever range was crossed. Percent.
const NEARLY_FULL: i64 = 80;

/// The finding and what to do.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    pub(super) finding: Option<Finding>,
    pub(super) names: AddressNames,
    pub(super) advice: Advice,
    told: Told,
}

/// The diagnosis if no entry was read: of the limits alone.
pub(super) fn without_table(options: &Options, verdict: &Verdict) -> Diagnosis {
    of(options, verdict, None)
}

/// The diagnosis of a table.
pub(super) fn diagnose(
    options: &Options,
    verdict: &Verdict,
    table: &Table,
    deadlines: Deadlines,
) -> Diagnosis {
    of(options, verdict, Some((table, deadlines)))
}

fn of(options: &Options, verdict: &Verdict, table: Option<(&Table, Deadlines)>) -> Diagnosis {
    let deadlines = table.map(|(_, deadlines)| deadlines);
    let table = table.map(|(table, _)| table);
    let readings = verdict.readings();
    let assessment = &verdict.deciding.assessment;
    let is_problem = assessment.state != ServiceState::Ok;
    let is_asked = is_problem || readings.capture || options.record.is_some();
    if !readings.tracks() || !is_asked {
        return Diagnosis {
            advice: look_only(verdict),
            told: told(options, verdict, table, &Case::default(), None),
            ..Diagnosis::default()
        };
    }
    let case = case(options, verdict, table);
    let limit_is_near = limit_is_near(verdict);
    let finding = diagnosis::diagnose(&case);
    let mut told = told(options, verdict, table, &case, finding.as_ref());
    // who it was matters more than who holds a table that is calm again
    let finding = finding.filter(|finding| !told.names_holder || is_about_limits(finding));
    let names = match (&finding, deadlines) {
        (Some(finding), Some(deadlines)) => names(options, finding, deadlines),
        _ => AddressNames::new(),
    };
    let timeouts = settings_root(options, table).map_or_else(Timeouts::default, source::timeouts);
    let advice = advice(
        finding.as_ref(),
        AdviceContext {
            names: &names,
            timeouts,
            relief: room(options, &case)
                .filter(|_| limit_is_near)
                .and_then(relief),
            max: readings.max(),
            limit_is_near,
            sets_limits: source::sets_limits(&options.proc_root),
            capture: readings.capture,
            netns: other_netns(verdict),
        },
    );
    let advice = if finding.is_none() {
        with_recorded(advice, &told)
    } else {
        advice
    };
    let is_seen = told.found.is_some() || told.names_holder;
    let look = advice
        .look
        .clone()
        .or_else(|| incident(&mut told))
        .or_else(|| look(options, verdict, table, case.filling && !is_seen));
    Diagnosis {
        finding,
        names,
        advice: Advice { look, ..advice },
        told,
    }
}

/// The processes behind the addresses of a finding that are those of containers of this host.
fn names(options: &Options, finding: &Finding, deadlines: Deadlines) -> AddressNames {
    // the addresses of a capture are those of another host
    if options.table.is_some() {
        return AddressNames::new();
    }
    let addresses = finding.addresses();
    let residents = source::elsewhere::residents(&options.proc_root, &addresses, deadlines.owners);
    residents.into_iter().collect()
}

/// A process in the network namespace that decides, if that is not the one of this check.
fn other_netns(verdict: &Verdict) -> Option<i32> {
    let netns = &verdict.deciding.netns.namespace;
    netns.seen.filter(|_| !netns.own).map(|seen| seen.pid)
}

/// The procfs that shows the settings of the namespace that decides.
fn settings_root<'a>(options: &'a Options, table: Option<&'a Table>) -> Option<&'a Path> {
    match table {
        Some(table) => table.settings_of.as_deref(),
        None => Some(&options.proc_root),
    }
}

fn case<'a>(options: &Options, verdict: &Verdict, table: Option<&'a Table>) -> Case<'a> {
    let readings = verdict.readings();
    let assessment = &verdict.deciding.assessment;
    let change = verdict.deciding.netns.change.as_ref().ok();
    let losses = verdict.deciding.losses();
    let growth = assessment.measurements.value(Metric::Growth);
    let filling = assessment.is_too_full()
        || assessment.is_below(Metric::FullIn)
        || assessment.is_above(Metric::Growth)
        || assessment.is_above(Metric::Endpoint)
        || losses.is_some_and(|losses| losses.full_table);
    Case {
        facts: table.and_then(|table| table.facts.as_ref()),
        count: readings.count.as_ref().ok().copied(),
        max: readings.max(),
        buckets: readings.buckets.as_ref().ok().copied(),
        filling,
        capture: readings.capture,
        recording: options.record.is_some(),
        chains_long: assessment.is_above(Metric::Chain)
            || losses.is_some_and(|losses| losses.long_chains),
        lost_below_limit: lost_below_limit(readings, change),
        ports_crossed: assessment.is_above(Metric::Ports),
        ports: table.and_then(|table| table.ports),
        dense_ports: table.and_then(|table| table.dense_ports),
        configured: limit_is_near(verdict)
            .then(|| configured(options, verdict))
            .flatten(),
        listed: table.and_then(|table| table.listed),
        growth: growth.and_then(|growth| i64::try_from(growth.floor()).ok()),
    }
}

/// True if a larger limit mends what was crossed: the table is full in proportion to its limit, or soon is. A number of
/// entries, their growth or the largest endpoint may be too large in a table that is far from full.
fn limit_is_near(verdict: &Verdict) -> bool {
    let assessment = &verdict.deciding.assessment;
    let losses = verdict.deciding.losses();
    let usage = assessment.measurements.value(Metric::Usage);
    assessment.is_above(Metric::Usage)
        || assessment.is_above_part(Metric::Entries)
        || assessment.is_below(Metric::Free)
        || assessment.is_below(Metric::FullIn)
        || losses.is_some_and(|losses| losses.full_table)
        || usage.is_some_and(|usage| usage >= Ratio::from_int(NEARLY_FULL))
}

/// A configured limit that is higher than the one in force. The files are those of this host.
fn configured(options: &Options, verdict: &Verdict) -> Option<Configured> {
    if !options.is_live() || options.table.is_some() {
        return None;
    }
    let readings = verdict.readings();
    let limits = source::configured::configured_limits(Path::new("/"));
    let of =
        |setting, configured: Option<source::configured::ConfiguredValue>, live: Option<u32>| {
            let configured = configured?;
            let live = u64::from(live?);
            (configured.value > live).then_some(Configured {
                setting,
                file: configured.file,
                value: configured.value,
                live,
            })
        };
    let buckets = readings.buckets.as_ref().ok().copied();
    of(Setting::Max, limits.max, readings.max())
        .or_else(|| of(Setting::Buckets, limits.buckets, buckets))
}

/// The numbers from which a larger limit is computed, while the table fills.
fn room(options: &Options, case: &Case<'_>) -> Option<Room> {
    if !case.filling || case.capture {
        return None;
    }
    Some(Room {
        count: case.count?,
        max: case.max?,
        buckets: case.buckets,
        growth: case.growth,
        memory: meminfo::total(&options.proc_root),
    })
}

/// The commands that show more on a host that looks well or tracks nothing.
fn look_only(verdict: &Verdict) -> Advice {
    let readings = verdict.readings();
    let state = verdict.deciding.assessment.state;
    let look = if !readings.tracks() && state != ServiceState::Ok {
        Some(
            "systemctl status nftables firewalld ufw (was the firewall loaded? modprobe nf_conntrack loads the module)",
        )
    } else if matches!(readings.untracked, Ok(1..)) {
        Some(
            "nft list ruleset (as root: if no rule has ct or nat, the kernel tracks nothing in this namespace)",
        )
    } else {
        None
    };
    Advice {
        look: look.map(|look| inside(other_netns(verdict), look)),
        ..Advice::default()
    }
}

/// The command that shows the holders of the entries, if this check could not see them.
fn look(
    options: &Options,
    verdict: &Verdict,
    table: Option<&Table>,
    filling: bool,
) -> Option<String> {
    let blind = look_only(verdict).look;
    let unseen = match table {
        Some(table) if table.is_recorded => false,
        Some(table) => {
            let why = table.unavailable.as_ref().or(table.basis.why.as_ref());
            why.is_some_and(ReadError::needs_privilege) && options.table.is_none()
        }
        // without --top no one looked
        None => filling && options.is_live(),
    };
    blind.or_else(|| {
        unseen.then(|| {
            inside(
                other_netns(verdict),
                "check_conntrack --top -v (as root: reads the whole table and says who holds it)",
            )
        })
    })
}

/// The report.
pub(super) fn report(
    options: &Options,
    verdict: &Verdict,
    table: Option<&Table>,
    diagnosis: &Diagnosis,
) -> Report {
    let style = Style {
        verbosity: options.verbosity,
        timed_out: None,
        origin: &verdict.origin,
        // values that come and go with the state would tear holes into every graph
        table_perfdata: options.top_when == TopWhen::Always || options.thresholds.need_table(),
        now: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok(),
    };
    render(&answer(verdict, table, diagnosis, style))
}

/// The report for a check that reaches its time limit.
pub(super) fn fallback(options: &Options, verdict: &Verdict) -> Report {
    let style = Style {
        verbosity: options.verbosity,
        timed_out: Some(options.timeout),
        ..Style::default()
    };
    render(&answer(verdict, None, &Diagnosis::default(), style))
}

fn answer<'a>(
    verdict: &'a Verdict,
    table: Option<&'a Table>,
    diagnosis: &'a Diagnosis,
    style: Style<'a>,
) -> Answer<'a> {
    Answer {
        assessment: &verdict.deciding.assessment,
        readings: verdict.readings(),
        change: &verdict.deciding.netns.change,
        losses: verdict.deciding.losses(),
        unseen: verdict.unseen.as_ref(),
        overview: verdict.overview.as_ref(),
        table: table.map(|table| Shown {
            top: table.top.as_ref(),
            basis: &table.basis,
            unavailable: table.unavailable.as_ref(),
        }),
        finding: diagnosis.finding.as_ref(),
        told: &diagnosis.told,
        names: &diagnosis.names,
        advice: &diagnosis.advice,
        style,
    }
}
