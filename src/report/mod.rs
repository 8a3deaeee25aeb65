//! The report: a verdict, a finding and the numbers in words. Pure.
//!
//! Line 1 carries all perfdata after the only `|`. A report is printable ASCII, at most 1023 bytes, or 4000 if details
//! were asked for: NRPE 2 packets pass 1023 bytes, Nagios loses what is beyond 4096.

pub mod advice;
mod details;
pub mod endpoints;
pub mod finding;
#[cfg(test)]
mod finding_tests;
mod fit;
mod in_range;
mod perfdata;
pub mod recorded;
pub mod sentence_parts;
mod status_line;
mod values;

use std::time::Duration;

use nagiosplugin::ServiceState;

use crate::analysis::top::{Basis, TopTable};
use crate::diagnosis::Finding;
use crate::judge::assess::Assessment;
use crate::judge::losses::Losses;
use crate::judge::netns::NetnsSummary;
use crate::model::error::ReadError;
use crate::model::readings::{Change, Reading, Readings};
use crate::model::text::{one_line, printable};
use advice::Advice;
use fit::{MAX_BYTES, MAX_BYTES_VERBOSE, assemble};
use perfdata::Perfdata;
use recorded::Told;
use sentence_parts::AddressNames;

/// The whole answer: what goes to stdout, and the state behind the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Decides the exit code.
    pub state: ServiceState,
    /// Ends with a line break.
    pub text: String,
}

/// Everything that a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The verdict, with the measurements.
    pub assessment: &'a Assessment,
    /// The readings of the namespace that decides.
    pub readings: &'a Readings,
    /// Its comparison with the previous run.
    pub change: &'a Reading<Change>,
    /// Packets that it lost since the previous run.
    pub losses: Option<Losses>,
    /// The reason why not every namespace could be seen.
    pub unseen: Option<&'a ReadError>,
    /// The other namespaces, if all were to be judged.
    pub overview: Option<&'a NetnsSummary>,
    /// The look into the table, if there was one.
    pub table: Option<Shown<'a>>,
    /// The finding of the diagnosis.
    pub finding: Option<&'a Finding>,
    /// What a recording says.
    pub told: &'a Told,
    /// Names of addresses of containers in the finding.
    pub names: &'a AddressNames,
    /// The advice.
    pub advice: &'a Advice,
    /// The options that shape the text.
    pub style: Style<'a>,
}

/// The part of the table that is shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The endpoints, if somebody asked for them.
    pub top: Option<&'a TopTable>,
    /// The basis of the numbers.
    pub basis: &'a Basis,
    /// The reason why no entry was read.
    pub unavailable: Option<&'a ReadError>,
}

/// Options and circumstances that shape the text, and never the state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style<'a> {
    /// `-v`, up to 3.
    pub verbosity: u8,
    /// The time limit in seconds, if this report is the fallback for a check that reaches it.
    pub timed_out: Option<u32>,
    /// Lines about where the numbers come from, for `-vv`.
    pub origin: &'a [String],
    /// True if values of the entries belong into the perfdata: not if they are read on some runs only.
    pub table_perfdata: bool,
    /// The time of day, since 1970 in UTC; none if it is not to be shown.
    pub now: Option<Duration>,
}

impl Report {
    /// The answer if there is nothing to judge: a usage error, a panic, a signal.
    pub fn unknown(why: &str) -> Self {
        let state = ServiceState::Unknown;
        let why = one_line(why, perfdata::room(state, &[]));
        Self {
            state,
            text: perfdata::status_line(state, &why, &[]) + "\n",
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

/// Renders a report.
pub fn render(answer: &Answer<'_>) -> Report {
    let perfdata = Perfdata::of(answer).render();
    let state = answer.assessment.state;
    let text = status_line::text(answer, perfdata::room(state, &perfdata));
    let first = perfdata::status_line(state, &text, &perfdata);
    let max = if answer.style.verbosity == 0 {
        MAX_BYTES
    } else {
        MAX_BYTES_VERBOSE
    };
    Report {
        state,
        text: assemble(first, details::lines(answer), max),
    }
}

/// A number with the noun that fits it.
fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
