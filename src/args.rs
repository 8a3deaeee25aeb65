//! The command line: the flags as clap reads them, and their conversion into validated [`Options`].
//!
//! clap keeps the values as text and this file judges them, so that `--help` wins over a bad value and every refusal
//! names the option, the value and what is accepted.

use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, Parser};
use nagiosplugin::ServiceState;
use thiserror::Error;

use crate::text::clean;
use crate::threshold::{ThresholdError, Thresholds};

/// The longest time limit, in seconds.
const TIMEOUT_MAX: u32 = 3600;

/// Checks how full the connection tracking table of the kernel (nf_conntrack) is
#[derive(Debug, Clone, Parser)]
#[command(name = "check_conntrack", version, disable_help_flag = true, disable_version_flag = true, after_help = AFTER_HELP)]
pub struct Args {
    /// WARNING when METRIC is outside RANGE, repeatable [default: usage=80 chain=15]
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true, action = ArgAction::Append)]
    pub warning: Vec<String>,

    /// CRITICAL when METRIC is outside RANGE, repeatable [default: usage=90 chain=30]
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true, action = ArgAction::Append)]
    pub critical: Vec<String>,

    /// State when the kernel does not track connections: ok, warning, critical or unknown
    #[arg(
        long,
        visible_alias = "no-conntrack",
        value_name = "STATE",
        default_value = "unknown",
        hide_default_value = true
    )]
    pub absent: String,

    /// Another procfs mount, below which everything is read then [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc_root: Option<PathBuf>,

    /// After so many seconds (1 to 3600) answer with what was read until then
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        default_value = "8",
        allow_hyphen_values = true
    )]
    pub timeout: String,

    /// More detail lines, up to -vvv; state and perfdata stay the same
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print the version and exit with 3
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Print this help and exit with 3
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    /// WARN CRIT, for the scripts this replaces; not for new definitions, hence not in the help
    #[arg(hide = true, value_name = "WARN CRIT")]
    positional: Vec<String>,
}

const AFTER_HELP: &str = "\
RANGE is [@]START:END as in the plugin guidelines. It alerts outside START to END,
with @ inside; the ends are not outside. N is 0:N, N: has no end, ~:N no start.
  usage    entries in percent of nf_conntrack_max (the metric of a bare RANGE)
  entries  entries in the table; 80% is percent of nf_conntrack_max
  free     entries that still fit, so free=20000: or free=10%:
  chain    mean hash chain length, 2 * entries / nf_conntrack_buckets
A range on usage, entries or free replaces the defaults of usage, one on chain
those of chain. Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
Examples:
  check_conntrack
  check_conntrack -w 75 -c 90 -w free=20000:
  check_conntrack -c entries=200000 --absent ok";

/// What the check is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The ranges in force.
    pub thresholds: Thresholds,
    /// The state of a kernel that does not track connections.
    pub absent: ServiceState,
    /// Where procfs is.
    pub proc_root: PathBuf,
    /// Seconds until the answer is due, 1 to 3600.
    pub timeout: u32,
    /// How many detail lines, 0 to 3.
    pub verbosity: u8,
}

/// What the command line asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A check.
    Check(Options),
    /// A text: help or version.
    Print(String),
}

/// Reads a command line, the program's name first. `elevated` says that the program holds privileges its caller lacks
/// (AT_SECURE): then nothing may steer what it opens.
///
/// # Errors
/// The first thing that is refused.
pub fn parse(
    command_line: impl IntoIterator<Item = std::ffi::OsString>,
    elevated: bool,
) -> Result<Request, UsageError> {
    match Args::try_parse_from(command_line) {
        Ok(args) => args.validate(elevated).map(Request::Check),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Request::Print(error.render().to_string()))
            }
            _ => Err(UsageError::CommandLine {
                sentence: sentence(&error),
            }),
        },
    }
}

/// The command line as clap knows it: for the man page, the completions and the tests.
pub fn command() -> clap::Command {
    Args::command()
}

impl Args {
    fn validate(self, elevated: bool) -> Result<Options, UsageError> {
        let (mut warning, mut critical) = (self.warning, self.critical);
        match self.positional.as_slice() {
            [] => {}
            _ if !warning.is_empty() || !critical.is_empty() => {
                return Err(UsageError::PositionalsBesideOptions);
            }
            [warn, crit] => {
                warning.push(warn.clone());
                critical.push(crit.clone());
            }
            other => {
                return Err(UsageError::Positionals {
                    given: other.len(),
                    first: other.join(" "),
                });
            }
        }
        let proc_root = match self.proc_root {
            Some(_) if elevated => {
                return Err(UsageError::Elevated {
                    option: "--proc-root",
                });
            }
            Some(directory) if directory.as_os_str().is_empty() => {
                return Err(UsageError::NoDirectory);
            }
            Some(directory) => directory,
            None => PathBuf::from("/proc"),
        };
        Ok(Options {
            thresholds: Thresholds::parse(&warning, &critical)?,
            absent: state("--absent", &self.absent)?,
            proc_root,
            timeout: seconds(&self.timeout)?,
            verbosity: self.verbose.min(3),
        })
    }
}

/// A state by its name, or by the short name of the scripts this replaces.
fn state(option: &'static str, name: &str) -> Result<ServiceState, UsageError> {
    match name {
        "ok" => Ok(ServiceState::Ok),
        "warning" | "warn" => Ok(ServiceState::Warning),
        "critical" | "crit" => Ok(ServiceState::Critical),
        "unknown" | "unkn" => Ok(ServiceState::Unknown),
        _ => Err(UsageError::State {
            option,
            value: name.to_owned(),
        }),
    }
}

fn seconds(text: &str) -> Result<u32, UsageError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits {
        text.parse::<u32>().ok()
    } else {
        None
    };
    number
        .filter(|n| (1..=TIMEOUT_MAX).contains(n))
        .ok_or_else(|| UsageError::Timeout {
            value: text.to_owned(),
        })
}

/// clap's complaint in one sentence without its layout.
fn sentence(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => clean(text),
        Some(ContextValue::Strings(texts)) => clean(&texts.join(" ")),
        Some(ContextValue::StyledStrs(texts)) => clean(
            &texts
                .iter()
                .map(StyledStr::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        ),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let mut text = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown option {argument}"),
        ErrorKind::ArgumentConflict => format!("{argument} was given more than once"),
        ErrorKind::InvalidValue => format!("{argument} needs a value"),
        ErrorKind::TooManyValues => format!(
            "{argument} takes no value {}",
            context(ContextKind::InvalidValue)
        ),
        ErrorKind::NoEquals => format!("{argument} needs its value behind a ="),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => error.kind().to_string(),
    };
    let suggestion = context(ContextKind::SuggestedArg);
    if !suggestion.is_empty() {
        text.push_str(&format!(", did you mean {suggestion}?"));
    }
    text
}

/// A command line that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UsageError {
    /// Refused by clap.
    #[error("{sentence} (see check_conntrack --help)")]
    CommandLine {
        /// What is wrong.
        sentence: String,
    },
    /// A value of `--warning` or `--critical`.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// No state of that name.
    #[error("{option} {} refused: accepted are ok, warning, critical and unknown", clean(.value))]
    State {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// Not a number of seconds.
    #[error("--timeout {} refused: accepted are whole seconds from 1 to {TIMEOUT_MAX}", clean(.value))]
    Timeout {
        /// The value.
        value: String,
    },
    /// `--proc-root ''`.
    #[error("--proc-root refused: it is empty, accepted is a directory where a procfs is mounted")]
    NoDirectory,
    /// Neither none nor two.
    #[error("{} refused: {given} bare arguments, accepted are none or two (WARN CRIT), better -w WARN -c CRIT", clean(.first))]
    Positionals {
        /// How many.
        given: usize,
        /// All of them.
        first: String,
    },
    /// Two ways of saying the same.
    #[error("bare WARN CRIT are refused beside -w and -c, accepted is either of the two")]
    PositionalsBesideOptions,
    /// An option that would let the caller use privileges that are not his.
    #[error(
        "{option} refused: not while this program has capabilities or runs setuid, accepted without them only"
    )]
    Elevated {
        /// The option.
        option: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let line = std::iter::once("check_conntrack")
            .chain(arguments.iter().copied())
            .map(Into::into);
        match parse(line, false) {
            Ok(Request::Check(options)) => Ok(options),
            Ok(Request::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn claps_own_consistency_checks_pass() {
        command().debug_assert();
    }

    #[test]
    fn positionals_mean_warning_and_critical() {
        assert_eq!(options(&["75", "90"]), options(&["-w", "75", "-c", "90"]));
        assert_eq!(options(&["75%", "90%"]), options(&["-w", "75", "-c", "90"]));
        assert!(options(&["75"]).unwrap_err().contains("1 bare arguments"));
        assert!(options(&["75", "80", "90"]).is_err());
        assert!(
            options(&["-w", "75", "80", "90"])
                .unwrap_err()
                .contains("beside -w and -c")
        );
    }

    #[test]
    fn the_scripts_this_replaces_spell_states_shorter() {
        for (name, expected) in [
            ("ok", ServiceState::Ok),
            ("warn", ServiceState::Warning),
            ("crit", ServiceState::Critical),
            ("unkn", ServiceState::Unknown),
        ] {
            assert_eq!(options(&["--no-conntrack", name]).unwrap().absent, expected);
        }
        assert!(
            options(&["--absent", "OK|"])
                .unwrap_err()
                .starts_with("--absent OK refused: accepted are ok")
        );
    }

    #[test]
    fn time_limits_are_whole_seconds_up_to_an_hour() {
        assert_eq!(options(&["-t", "1"]).unwrap().timeout, 1);
        assert_eq!(options(&["-t3600"]).unwrap().timeout, 3600);
        for bad in ["0", "3601", "-1", "1.5", "", "10s", "+5", "99999999999"] {
            assert!(
                options(&["--timeout", bad])
                    .unwrap_err()
                    .contains("refused"),
                "{bad}"
            );
        }
    }

    #[test]
    fn help_wins_over_a_bad_value() {
        assert!(
            options(&["-w", "nonsense", "-h"])
                .unwrap_err()
                .contains("Usage:")
        );
    }

    #[test]
    fn an_option_that_looks_like_a_value_is_seen_as_the_slip_it_is() {
        assert!(options(&["-w", "-c", "90"]).unwrap_err().contains("-w"));
    }

    #[test]
    fn what_clap_refuses_is_one_sentence() {
        for (arguments, wanted) in [
            (
                &["--criticl", "3"][..],
                "unknown option --criticl, did you mean --critical?",
            ),
            (&["-w"], "--warning [METRIC=]RANGE needs a value"),
            (
                &["--absent", "ok", "--absent", "ok"],
                "--absent STATE was given more than once",
            ),
            (&["--top"], "unknown option --top"),
            (&["--verbose=3"], "--verbose... takes no value 3"),
        ] {
            let text = options(arguments).unwrap_err();
            assert!(text.starts_with(wanted), "{text}");
        }
    }

    #[test]
    fn privileges_of_others_are_not_to_be_steered() {
        let line = ["check_conntrack", "--proc-root", "/proc"].map(Into::into);
        assert!(matches!(
            parse(line, true),
            Err(UsageError::Elevated { .. })
        ));
    }
}
