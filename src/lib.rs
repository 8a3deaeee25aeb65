//! check_conntrack: how full is the connection tracking table, and what does that mean?
//!
//! Data flows one way. [`args`] turns the command line into [`args::Options`]; [`reading`] turns kernel files into the
//! plain values of [`table`]; [`assess`] holds these against the [`threshold`]s; [`report`] puts the verdict into words.
//! [`run`] is the one function that knows the order. Only `reading` opens anything, only `process` deals with signals
//! and exit codes, and what decides and what prints is pure.
//!
//! The library exists for the binary, the tests and the packaging; it promises no stability.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod args;
pub mod assess;
pub mod baseline;
pub mod entry;
pub mod error;
pub mod hint;
pub mod metric;
pub mod namespace;
pub mod own;
pub mod owner;
pub mod privilege;
pub mod process;
pub mod range;
pub mod ranking;
pub mod reading;
pub mod report;
pub mod socket;
pub mod survey;
pub mod table;
pub mod tally;
pub mod text;
pub mod threshold;

use std::time::{Duration, Instant};

use args::{Netns, Options, TopWhen};
use nagiosplugin::ServiceState;
use namespace::Namespace;
use reading::state::{State, Written};
use report::{Circumstances, Report};
use survey::Survey;
use table::Readings;

/// Runs the check. As soon as there is a verdict it is handed to `in_reserve`: the answer to give when the time is up
/// before everything else was read. `begin` is when the time started to run. What is returned beside the answer is to be
/// kept for the next run once the answer is out.
pub fn run(
    options: &Options,
    begin: Instant,
    in_reserve: impl Fn(Report),
) -> (Report, Option<Written>) {
    let mut readings = if options.table.is_some() {
        reading::limit(&options.proc_root)
    } else {
        reading::usage(&options.proc_root)
    };
    let reserve = Circumstances {
        time_up: Some(options.timeout),
        verbosity: options.verbosity,
        ..Circumstances::default()
    };
    in_reserve(answer(options, &readings, &Survey::default(), reserve));
    if readings.tracks() {
        reading::details(&options.proc_root, &mut readings);
    }
    let mut namespaces = vec![Namespace {
        identity: reading::identity(
            &options.proc_root,
            options.is_live().then_some(process::netns_cookie),
        ),
        readings,
    }];
    let state = reading::state::compare(
        reading::state::Wanted {
            directory: &options.state_dir,
            proc_root: &options.proc_root,
            service: &options.service,
            all: options.netns == Netns::All,
        },
        &mut namespaces,
    );
    let mut readings = namespaces
        .pop()
        .map_or_else(Readings::none, |namespace| namespace.readings);
    let survey = if entries_wanted(options, &readings) {
        in_reserve(answer(options, &readings, &Survey::default(), reserve));
        // half of the time for the table, half of the rest for who is behind it
        let limit = Duration::from_secs(u64::from(options.timeout));
        survey::survey(
            options,
            &mut readings,
            begin + limit / 2,
            begin + limit / 4 * 3,
        )
    } else {
        Survey::default()
    };
    let origin = if options.verbosity > 1 {
        reading::origin(&options.proc_root)
    } else {
        Vec::new()
    };
    let written = match state.map(State::write) {
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
            ..Circumstances::default()
        },
    );
    (report, written)
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
    let problem =
        || assess::assess(readings, &options.thresholds, options.absent).state != ServiceState::Ok;
    let for_the_list = match options.top_when {
        TopWhen::Always => true,
        TopWhen::Problem => problem(),
    };
    options.thresholds.need_table() || (options.top.is_some() && for_the_list)
}

fn answer(
    options: &Options,
    readings: &Readings,
    survey: &Survey,
    circumstances: Circumstances<'_>,
) -> Report {
    let assessment = assess::assess(readings, &options.thresholds, options.absent);
    let hint = match assessment.state {
        ServiceState::Ok => None,
        _ if !options.may_read_entries() => None,
        // some advice needs no look into the table
        _ => {
            let situation = survey.situation.clone().unwrap_or_default();
            hint::hint(&situation.with(&assessment, readings))
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
