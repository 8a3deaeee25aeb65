//! The process edge of check_conntrack: one command line in, one write and one exit code out.

use std::process::ExitCode;
use std::time::Instant;

use check_conntrack::cli::{self, Request};
use check_conntrack::report::Report;
use check_conntrack::run;
use check_conntrack::runtime::{privilege, process};

/// Answers when there is no memory left.
#[global_allocator]
static ALLOCATOR: process::Allocator = process::Allocator;

/// Seconds for an answer that takes no reading: a stdout that nobody reads must not hold it for ever.
const TO_PRINT: u32 = 8;

fn main() -> ExitCode {
    let begin = Instant::now();
    privilege::put_in_reserve();
    process::catch_panics();
    let report = match cli::parse(std::env::args_os(), process::elevation()) {
        Ok(Request::Check(options)) => {
            if !options.may_read_entries() {
                // the counters may take the one for the table
                privilege::give_up(privilege::PROCESSES.union(privilege::ENTER));
            } else if !options.may_enter_namespaces() {
                privilege::give_up(privilege::ENTER);
            }
            process::arm(options.timeout);
            let (report, written) = run(&options, begin, process::hold_in_reserve);
            // what nobody was told is left for the next run to tell
            return process::answer(&report, || {
                if let Some(written) = written {
                    written.keep();
                }
            });
        }
        Ok(Request::Print(text)) => Report::information(&text),
        Err(refusal) => Report::unknown(&refusal.to_string()),
    };
    process::arm(TO_PRINT);
    process::answer(&report, || ())
}
