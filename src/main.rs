//! The process edge of check_conntrack: one command line in, one write and one exit code out.

use std::process::ExitCode;

use check_conntrack::args::{self, Request};
use check_conntrack::report::Report;
use check_conntrack::{process, run};

fn main() -> ExitCode {
    process::drop_privileges();
    process::catch_panics();
    let report = match args::parse(std::env::args_os(), process::is_elevated()) {
        Ok(Request::Check(options)) => {
            process::arm(options.timeout);
            run(&options, process::hold_in_reserve)
        }
        Ok(Request::Print(text)) => Report::information(&text),
        Err(refusal) => Report::unknown(&refusal.to_string()),
    };
    process::answer(&report)
}
