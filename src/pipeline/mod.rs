//! The stages of a check in their order: source, judge, analysis, diagnosis, report.
//!
//! Each stage takes the value of the stage before and returns a new one. Capabilities are raised around their one use
//! in [`crate::source`]; they are dropped for good here, as soon as no later stage can need them.

mod counting;
mod diagnosis;
mod last_look;
mod observation;
mod ownership;
mod port_use;
pub mod previous_run;
mod recorded;
mod recorder;
mod table;
mod told;
mod verdict;

use std::time::{Duration, Instant};

use crate::cli::Options;
use crate::report::Report;
use crate::runtime::privilege;

pub use previous_run::Written;
pub use recorder::record;

/// The times at which the stages stop reading.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    /// Half of the time limit: for files, namespaces and entries.
    reading: Instant,
    /// Half of the rest: for the owners of the entries.
    owners: Instant,
}

impl Deadlines {
    fn new(begin: Instant, seconds: u32) -> Self {
        let limit = Duration::from_secs(u64::from(seconds));
        Self {
            reading: begin + limit / 2,
            owners: begin + limit / 4 * 3,
        }
    }
}

/// Runs the check, which began at `begin`. As soon as there is a verdict it is handed to `set_fallback`: the report to
/// print if the time limit is reached before everything else was read. The state that is returned beside the report is
/// to be kept for the next run once the report is out.
pub fn run(
    options: &Options,
    begin: Instant,
    set_fallback: impl Fn(Report),
) -> (Report, Option<Written>) {
    let deadlines = Deadlines::new(begin, options.timeout);
    let first = observation::count_and_limit(options);
    set_fallback(verdict::early(options, &first));
    let observation = observation::complete(options, first, deadlines);
    if !options.may_read_entries() {
        privilege::give_up_all();
    }
    let (verdict, written) = verdict::judge(options, observation);
    let verdict = verdict.with_whole_recording(options);
    if !verdict.wants_table(options) {
        let verdict = verdict.without_table(options);
        let diagnosis = diagnosis::without_table(options, &verdict);
        return (
            diagnosis::report(options, &verdict, None, &diagnosis),
            written,
        );
    }
    set_fallback(verdict.interrupted(options));
    let table = table::read(options, &verdict, deadlines);
    privilege::give_up_all();
    let verdict = verdict.with_table(options, &table);
    let diagnosis = diagnosis::diagnose(options, &verdict, &table, deadlines);
    (
        diagnosis::report(options, &verdict, Some(&table), &diagnosis),
        written,
    )
}
