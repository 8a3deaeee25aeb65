//! The process edge of check_conntrack: one command line in, one write and one exit code out.

use std::process::ExitCode;
use std::time::Instant;

use check_conntrack::cli::{self, Netns, Options, Request};
use check_conntrack::report::Report;
use check_conntrack::run;
use check_conntrack::runtime::{output, privilege, signals, unsafe_calls};

#[global_allocator]
static ALLOCATOR: unsafe_calls::Allocator = unsafe_calls::Allocator;

/// Time limit of an output that takes no reading, in case that nobody reads stdout.
const SECONDS_TO_PRINT: u32 = 8;

fn main() -> ExitCode {
    signals::install();
    let begin = Instant::now();
    privilege::retain();
    output::catch_panics();
    match cli::parse(std::env::args_os(), unsafe_calls::elevation()) {
        Ok(Request::Check(options)) => match options.record {
            Some(seconds) => record(&options, seconds),
            None => check(&options, begin),
        },
        Ok(Request::Print(text)) => print(&Report::information(&text)),
        Err(refusal) => print(&Report::unknown(&refusal.to_string())),
    }
}

fn print(report: &Report) -> ExitCode {
    signals::set_time_limit(SECONDS_TO_PRINT);
    output::finish(report, || ())
}

/// Runs as a recorder until a signal stops it. Its capabilities stay permitted, and are in effect around their use only.
fn record(options: &Options, seconds: u32) -> ExitCode {
    if options.netns == Netns::Own || !options.is_live() {
        privilege::give_up(privilege::ENTER);
    }
    privilege::repeat();
    match check_conntrack::record(options, seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => print(&Report::unknown(&why.to_string())),
    }
}

fn check(options: &Options, begin: Instant) -> ExitCode {
    if !options.may_read_entries() {
        // the counters may need the capability for the table
        privilege::give_up(privilege::PROCESSES.union(privilege::ENTER));
    } else if !options.may_enter_namespaces() {
        privilege::give_up(privilege::ENTER);
    }
    signals::set_time_limit(options.timeout);
    let (report, state) = run(options, begin, signals::set_fallback);
    output::finish(&report, || {
        // The state is committed only after stdout took the report, so that losses are reported at least once.
        if let Some(state) = state {
            state.keep();
        }
    })
}
