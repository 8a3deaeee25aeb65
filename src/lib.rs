//! check_conntrack: how full is the connection tracking table, and what does that mean?
//!
//! Data flows one way. [`cli`] turns the command line into [`cli::Options`]; [`source`] reads kernel files into the
//! plain values of [`model`]; [`judge`] compares these with the thresholds; [`report`] puts the verdict into words.
//! [`run`] is the one function that knows the order. Only `source` opens anything, only `runtime` handles signals,
//! capabilities and exit codes, and the stages that decide and print are pure.
//!
//! The library exists for the binary, the tests and the packaging; it promises no stability.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod analysis;
pub mod cli;
pub mod diagnosis;
pub mod judge;
pub mod model;
pub mod previous_run;
pub mod report;
pub mod runtime;
pub mod source;
pub mod survey;

use std::time::{Duration, Instant};

use cli::{Netns, Options, TopWhen};
use judge::assess::{self, Assessment};
use judge::netns::{self, Judged, Other, Overview};
use model::error::ReadError;
use model::netns::{Namespace, NetnsId, Resident, Walk};
use model::readings::Readings;
use nagiosplugin::ServiceState;
use previous_run::{NextState, Written};
use report::{Circumstances, Report};
use runtime::{privilege, unsafe_calls};
use source::enter_netns::{Place, go_to};
use source::procfs::netns::{add_others, resident};
use survey::Survey;

/// As many lines about namespaces as an answer can have.
const LISTED: usize = 100;

/// Runs the check. As soon as there is a verdict it is handed to `set_fallback`: the report to print if the time limit is
/// reached before everything else was read. `begin` is when the time started to run. What is returned beside the answer is
/// to be kept for the next run once the answer is out.
pub fn run(
    options: &Options,
    begin: Instant,
    set_fallback: impl Fn(Report),
) -> (Report, Option<Written>) {
    let all = options.netns == Netns::All;
    let limit = Duration::from_secs(u64::from(options.timeout));
    let mut readings = if options.table.is_some() {
        source::limit(&options.proc_root, options.max)
    } else {
        source::usage(&options.proc_root)
    };
    if all {
        // until they have been
        readings.others = Some(ReadError::NotReached);
    }
    set_fallback(fallback(options, &readings, None));
    if readings.tracks() {
        source::details(&options.proc_root, &mut readings);
        let asking = source::Asking {
            proc_root: &options.proc_root,
            live: options.is_live(),
            strict: unsafe_calls::check_netlink_strictly,
            own: &options.own,
            then_the_table: options.may_read_entries(),
            deadline: begin + Duration::from_secs(u64::from(options.timeout)) / 2,
        };
        source::ask(asking, &mut readings);
    }
    if !options.may_read_entries() {
        privilege::give_up_all();
    }
    readings.others = None;
    let tracks = readings.tracks();
    let mut namespaces = vec![Namespace {
        seen: None,
        own: true,
        id: Ok(NetnsId::Unknown),
        readings,
    }];
    let walk = if all && tracks {
        add_others(&options.proc_root, begin + limit / 2, &mut namespaces)
    } else {
        Walk::NotDone
    };
    let state = previous_run::compare(
        previous_run::Service {
            directory: &options.state_dir,
            writes: options.writes,
            proc_root: &options.proc_root,
            command_line: &options.service,
            all,
            walk,
            cookie_of: options.is_live().then_some(unsafe_calls::netns_cookie),
        },
        &mut namespaces,
    );
    let mut judged = netns::worst_first(
        namespaces,
        &options.thresholds,
        options.absent,
        options.empty,
    )
    .into_iter();
    let Some(deciding) = judged.next().map(|judged| judged.namespace) else {
        return (Report::unknown("no network namespace was judged"), None);
    };
    let overview = (walk != Walk::NotDone).then(|| overview(options, &deciding, judged.as_slice()));
    // before the other namespace is where this process is
    let origin = if options.verbosity > 1 {
        source::origin(&options.proc_root)
    } else {
        Vec::new()
    };
    let (own, seen) = (deciding.own, deciding.seen);
    let mut readings = deciding.readings;
    let wanted = entries_wanted(options, &readings);
    if let (false, Err(why)) = (wanted, &readings.count) {
        // nobody looks into a table that is not there, or would not know how much of it was read
        readings.table = Err(why.clone());
    }
    // a disk may hang as well as the table
    if wanted || all || state.is_some() {
        set_fallback(fallback(options, &readings, overview.as_ref()));
    }
    let survey = if wanted {
        let place = match seen {
            Some(seen) if !own => go_to(&options.proc_root, options.is_live(), seen),
            _ => Ok(Place::own(&options.proc_root, options.is_live())),
        };
        // there, or not to get there
        privilege::give_up(privilege::ENTER);
        // half of the time for the table, half of the rest for who is behind it
        survey::survey(
            options,
            &mut readings,
            place,
            begin + limit / 2,
            begin + limit / 4 * 3,
        )
    } else {
        Survey::default()
    };
    let written = match state.map(NextState::write) {
        Some(Ok(written)) => written,
        Some(Err(why)) => {
            readings.change = Err(why);
            None
        }
        None => None,
    };
    let report = answer(
        options,
        &readings,
        &survey,
        Circumstances {
            verbosity: options.verbosity,
            origin: &origin,
            overview: overview.as_ref(),
            ..Circumstances::default()
        },
    );
    (report, written)
}

/// The report if the time limit is reached now: the verdict on what was read so far, with a note.
fn fallback(options: &Options, readings: &Readings, overview: Option<&Overview>) -> Report {
    let circumstances = Circumstances {
        timed_out: Some(options.timeout),
        verbosity: options.verbosity,
        overview,
        ..Circumstances::default()
    };
    answer(
        options,
        &readings.clone().ended_early(),
        &Survey::default(),
        circumstances,
    )
}

/// What is told of the namespaces besides the verdict on the deciding one.
fn overview(options: &Options, deciding: &Namespace, others: &[Box<Judged>]) -> Overview {
    let resident = |seen| resident(&options.proc_root, seen);
    let mut overview = Overview::of(resident(deciding.seen), others);
    if options.verbosity > 0 {
        let other = |(index, judged): (usize, &Judged)| Other {
            resident: match judged.namespace.seen {
                // a name that could not be shown is not looked up
                Some(seen) if index >= LISTED => Resident {
                    pid: Some(seen.pid),
                    ..Resident::default()
                },
                seen => resident(seen),
            },
            state: judged.state,
            readings: judged.namespace.readings.clone(),
        };
        let others = others.iter().map(AsRef::as_ref);
        overview.others = others.enumerate().map(other).collect();
    }
    overview
}

/// Whether the entries themselves are to be read on this run.
fn entries_wanted(options: &Options, readings: &Readings) -> bool {
    if options.table.is_some() {
        return true;
    }
    // nothing to read there, and asking could load the module
    if !readings.tracks() || readings.count.is_err() {
        return false;
    }
    let problem = || judged(options, readings).state != ServiceState::Ok;
    let for_the_list = match options.top_when {
        TopWhen::Always => true,
        TopWhen::Problem => problem(),
    };
    options.thresholds.need_table() || (options.top.is_some() && for_the_list)
}

fn judged(options: &Options, readings: &Readings) -> Assessment {
    assess::assess(readings, &options.thresholds, options.absent, options.empty)
}

fn answer(
    options: &Options,
    readings: &Readings,
    survey: &Survey,
    circumstances: Circumstances<'_>,
) -> Report {
    let assessment = judged(options, readings);
    let hint = match assessment.state {
        ServiceState::Ok => None,
        // whether the table fills is not known
        ServiceState::Unknown if readings.limit.is_err() && !readings.capture => None,
        _ if !options.may_read_entries() => None,
        // some advice needs no look into the table
        _ => {
            let situation = survey.situation.clone().unwrap_or_default();
            diagnosis::hint(&situation.with(&assessment, readings))
        }
    };
    // values that come and go with the state would tear holes into every graph
    let steady = options.top_when == TopWhen::Always || options.thresholds.need_table();
    let circumstances = Circumstances {
        ranking: survey.ranking.as_ref(),
        unavailable: survey.unavailable.as_ref(),
        hint: hint.as_ref(),
        table_perfdata: steady,
        ..circumstances
    };
    report::report(readings, &assessment, circumstances)
}
