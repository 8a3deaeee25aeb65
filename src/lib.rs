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
pub mod entry;
pub mod error;
pub mod metric;
pub mod process;
pub mod range;
pub mod reading;
pub mod report;
pub mod socket;
pub mod table;
pub mod tally;
pub mod text;
pub mod threshold;

use args::Options;
use report::{Circumstances, Report};
use table::Readings;

/// Runs the check. As soon as there is a verdict it is handed to `in_reserve`: the answer to give when the time is up
/// before everything else was read.
pub fn run(options: &Options, in_reserve: impl FnOnce(Report)) -> Report {
    let mut readings = reading::usage(&options.proc_root);
    in_reserve(answer(options, &readings, Some(options.timeout), &[]));
    if readings.tracks() {
        reading::details(&options.proc_root, &mut readings);
    }
    let origin = if options.verbosity > 1 {
        reading::origin(&options.proc_root)
    } else {
        Vec::new()
    };
    answer(options, &readings, None, &origin)
}

fn answer(
    options: &Options,
    readings: &Readings,
    time_up: Option<u32>,
    origin: &[String],
) -> Report {
    let assessment = assess::assess(readings, &options.thresholds, options.absent);
    report::report(
        readings,
        &assessment,
        Circumstances {
            verbosity: options.verbosity,
            time_up,
            origin,
        },
    )
}
