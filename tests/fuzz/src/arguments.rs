//! Command lines: the arguments behind the program's name, a NUL between them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use check_conntrack::cli::{self, Options, Request, UsageError};
use check_conntrack::judge::metric::Metric;
use check_conntrack::judge::threshold::{Severity, Thresholds};
use check_conntrack::model::elevation::Elevation;
use check_conntrack::report::Report;

use super::contract::Answer;
use super::judge;

/// A command line of these arguments.
pub(crate) fn parse(arguments: &[&[u8]], elevation: Elevation) -> Result<Request, UsageError> {
    let arguments = arguments
        .iter()
        .map(|argument| OsStr::from_bytes(argument).to_owned());
    cli::parse(
        std::iter::once(OsString::from("check_conntrack")).chain(arguments),
        elevation,
    )
}

/// A command line is read, or refused in one line that keeps the output contract; what was read means what it says.
pub fn arguments(data: &[u8]) {
    let arguments: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    // a program that has privileges of its own refuses more, and accepts nothing else
    let elevated = [Elevation::Capabilities, Elevation::AnotherUser]
        .map(|elevation| (elevation, parse(&arguments, elevation)));
    match parse(&arguments, Elevation::None) {
        Err(refusal) => {
            let answer = judge(&Report::unknown(&refusal.to_string()), 0);
            assert_eq!(answer.text.lines().count(), 1, "{}", answer.text);
            assert_eq!(answer.code, 3);
            assert!(answer.perfdata().is_empty(), "{}", answer.text);
            assert!(elevated.iter().all(|(_, parsed)| parsed.is_err()));
        }
        Ok(Request::Print(text)) => {
            let report = Report::information(&text);
            let answer = Answer {
                code: report.state.exit_code(),
                text: report.text,
            };
            answer.keeps_the_contract();
            assert_eq!(answer.code, 3);
        }
        Ok(Request::Check(options)) => {
            for (elevation, parsed) in elevated {
                let Ok(parsed) = parsed else { continue };
                let writes = elevation == Elevation::Capabilities;
                let expected = Options {
                    writes,
                    ..options.clone()
                };
                assert_eq!(parsed, Request::Check(expected));
                assert!(options.is_live() && options.table.is_none());
            }
            means_what_it_says(&options);
            let mut verbose = vec![&b"-v"[..]];
            verbose.extend_from_slice(&arguments);
            let expected = Options {
                verbosity: (options.verbosity + 1).min(3),
                ..options
            };
            assert_eq!(
                parse(&verbose, Elevation::None),
                Ok(Request::Check(expected))
            );
        }
    }
}

fn means_what_it_says(options: &Options) {
    assert!((1..=3600).contains(&options.timeout));
    assert!(options.top.is_none_or(|top| (1..=50).contains(&top)));
    assert!(options.verbosity <= 3);
    assert!(options.sample <= u64::from(u32::MAX));
    assert!(!options.proc_root.as_os_str().is_empty());
    assert!(!options.state_dir.as_os_str().is_empty());
    // the thresholds as they are printed are the same thresholds
    let given = |severity| -> Vec<String> {
        let of = |metric| options.thresholds.of(metric);
        Metric::all()
            .flat_map(of)
            .filter(|threshold| threshold.given && threshold.severity == severity)
            .map(|threshold| format!("{}={}", threshold.metric, threshold.range))
            .collect()
    };
    let printed = [Severity::Warning, Severity::Critical].map(given);
    let [warning, critical] = &printed;
    let again = Thresholds::parse(warning, critical)
        .unwrap_or_else(|refusal| panic!("{printed:?}: {refusal}"));
    for metric in Metric::all() {
        for severity in [Severity::Warning, Severity::Critical] {
            assert_eq!(
                again.range(metric, severity),
                options.thresholds.range(metric, severity),
                "{metric} {printed:?}"
            );
        }
    }
}
