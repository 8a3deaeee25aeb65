//! The command line: the flags as clap reads them, and their conversion into validated [`Options`].
//!
//! clap keeps the values as text and this file judges them, so that `--help` wins over a bad value and every refusal
//! names the option, the value and what is accepted.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, Parser};
use nagiosplugin::ServiceState;
use thiserror::Error;

use crate::judge::threshold::{ThresholdError, Thresholds};
use crate::model::dump::Choice;
pub use crate::model::elevation::Elevation;
use crate::model::prefix::{Aggregate, Prefix};
use crate::model::text::{FOREIGN_MAX, clean, typed};

/// The name in the help, whatever the caller passes as argv\[0\].
const PROGRAM: &str = "check_conntrack";
/// The longest time limit, in seconds.
const TIMEOUT_MAX: u32 = 3600;
/// The longest time between two samples of a recorder, in seconds.
const RECORD_MAX: u32 = 60;
/// The longest list of endpoints.
const TOP_MAX: u64 = 50;

// Defaults that the help names. They are applied in `validate`: clap would copy, parse and store each default on every
// run, which was a tenth of the instructions of a plain run.
const DEFAULT_AGGREGATE: &str = "32,64";
const DEFAULT_SAMPLE: &str = "20000";
const DEFAULT_TIMEOUT: &str = "8";
const DEFAULT_RECORD: &str = "10";

/// Checks how full the connection tracking table of the kernel (nf_conntrack) is
#[derive(Debug, Clone, Parser)]
#[command(name = PROGRAM, no_binary_name = true, version, disable_help_flag = true, disable_version_flag = true)]
#[group(skip)] // no other option refers to the group of all, which clap would fill on every run
pub struct Args {
    /// WARNING when METRIC is outside RANGE, repeatable [default: usage=80 chain=15]
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true, action = ArgAction::Append)]
    pub warning: Vec<String>,

    /// CRITICAL when METRIC is outside RANGE, repeatable [default: usage=90 chain=30]
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true, action = ArgAction::Append)]
    pub critical: Vec<String>,

    /// Name the N remote endpoints that hold most entries (1 to 50) [default: off, 5 without N]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5", allow_hyphen_values = false)]
    pub top: Option<String>,

    /// Read the table on every run (always) or only when the state is not OK without it (problem) [default: always]
    #[arg(long, value_name = "WHEN")]
    pub top_when: Option<String>,

    /// Group from addresses by these prefix lengths [default: 32,64]
    #[arg(long, value_name = "V4,V6")]
    pub aggregate: Option<String>,

    /// Further addresses to count as this host's own, separated by commas
    #[arg(long, value_name = "ADDR[/LEN],...")]
    pub own: Vec<String>,

    /// Where entries are read from: auto, netlink, procfs, sockets or recording [default: auto]
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,

    /// Analyse a capture: lines of /proc/net/nf_conntrack or conntrack -L, plain or gzip, - is stdin
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,

    /// With --table: nf_conntrack_max of the host that the capture comes from [default: this host's]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub max: Option<String>,

    /// Read at most N entries, then extrapolate; 0 reads the whole table [default: 20000]
    #[arg(long, value_name = "N")]
    pub sample: Option<String>,

    /// Run as a recorder: take a sample every SECONDS (1 to 60) until stopped [default: off, 10 without SECONDS]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_RECORD, allow_hyphen_values = false)]
    pub record: Option<String>,

    /// The directory of the recording that --record writes [default: /run/check_conntrack]
    #[arg(long, value_name = "DIR")]
    pub recording: Option<PathBuf>,

    /// State when the kernel does not track connections: ok, warning, critical or unknown
    #[arg(long, visible_alias = "no-conntrack", value_name = "STATE")]
    pub absent: Option<String>,

    /// State when the kernel tracks none although connections to other hosts are open: ok, warning, critical or unknown
    #[arg(long, value_name = "STATE")]
    pub empty: Option<String>,

    /// Judge this network namespace (self) or every one that has a process on this host (all) [default: self]
    #[arg(long, value_name = "WHICH")]
    pub netns: Option<String>,

    /// Where the counters of the previous run are kept [default: /var/lib/check_conntrack]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Another procfs mount, below which everything is read then [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc_root: Option<PathBuf>,

    /// After so many seconds (1 to 3600) answer with what was read until then [default: 8]
    #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub timeout: Option<String>,

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
  lost     packets lost since the previous run, so lost=0
  drop chaintoolong early_drop insert_failed   that counter since the previous run
  growth   entries per minute since the previous run, so growth=~:500 or ~:1%
  full_in  time until the table is full at that growth, so full_in=30m:
  ports    source ports in use to one far port, percent (reads the table, as all below)
  expect   expectations in percent of nf_conntrack_expect_max
  endpoint entries of the largest remote endpoint
  established time_wait syn_sent syn_recv fin_wait close_wait last_ack close udp
  icmp other unreplied evictable   entries in that class; 80% is percent of max
A range on usage, entries or free replaces the defaults of usage, one on chain
those of chain. Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
Examples:
  check_conntrack
  check_conntrack -w 75 -c 90 -w free=20000:
  check_conntrack -c entries=200000 --absent ok
  check_conntrack --top --top-when problem -w endpoint=30%";

/// What the check is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The ranges in force.
    pub thresholds: Thresholds,
    /// How many remote endpoints to name; none when nobody asked.
    pub top: Option<usize>,
    /// When to read the table.
    pub top_when: TopWhen,
    /// How `from` addresses are grouped.
    pub aggregate: Aggregate,
    /// Addresses to count as this host's own.
    pub own: Vec<Prefix>,
    /// Where entries are read from.
    pub source: Choice,
    /// A capture to read instead of the live table; `-` is stdin.
    pub table: Option<PathBuf>,
    /// The limit of the host that the capture comes from; 0 is no limit.
    pub max: Option<u32>,
    /// At most so many entries are read; 0 is no limit.
    pub sample: u64,
    /// The state of a kernel that does not track connections.
    pub absent: ServiceState,
    /// The state when the kernel tracks nothing although connections to other hosts are open.
    pub empty: ServiceState,
    /// Which namespaces are judged.
    pub netns: Netns,
    /// Where the state of the previous run is kept.
    pub state_dir: PathBuf,
    /// Whether anything may be written there: not as a user that the caller is not.
    pub writes: bool,
    /// The command line, without what changes neither state nor performance data: what tells one service's state from
    /// another's.
    pub service: String,
    /// Where procfs is.
    pub proc_root: PathBuf,
    /// Seconds until the answer is due, 1 to 3600.
    pub timeout: u32,
    /// How many detail lines, 0 to 3.
    pub verbosity: u8,
    /// Seconds between two samples, 1 to 60, if this program is to run as a recorder.
    pub record: Option<u32>,
    /// The directory of the recording; none if there is no recording of the host that the proc root shows.
    pub recording: Option<PathBuf>,
    /// Whether the command line asks for the recording, so that its absence is worth a note.
    pub recording_is_wanted: bool,
}

impl Options {
    /// Whether the proc root is the live one, so that netlink tells of the same kernel.
    pub fn is_live(&self) -> bool {
        self.proc_root == Path::new(LIVE)
    }

    /// Whether the entries themselves may have to be read.
    pub fn may_read_entries(&self) -> bool {
        self.top.is_some() || self.table.is_some() || self.thresholds.need_table()
    }

    /// Whether the entries to be read may be those of another network namespace of the running kernel.
    pub fn may_enter_namespaces(&self) -> bool {
        self.netns == Netns::All && self.is_live() && self.may_read_entries()
    }
}

/// Where procfs is unless somebody says otherwise.
const LIVE: &str = "/proc";
/// Where the recording is unless somebody says otherwise.
const RECORDING: &str = "/run/check_conntrack";
/// Where the state is unless somebody says otherwise.
const STATE: &str = "/var/lib/check_conntrack";

/// The network namespaces to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netns {
    /// That of this process.
    Own,
    /// Each that has a process on this host.
    All,
}

/// When the entries are read for `--top`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopWhen {
    /// On every run.
    Always,
    /// Only when the state is not OK without it.
    Problem,
}

/// What the command line asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A check.
    Check(Options),
    /// A text: help or version.
    Print(String),
}

/// Reads a command line, the program's name first. Where the program may do what its caller may not, nothing may steer
/// what it reads, and where it is another user, nothing what it writes.
///
/// # Errors
/// The first thing that is refused.
pub fn parse(
    command_line: impl IntoIterator<Item = OsString>,
    elevation: Elevation,
) -> Result<Request, UsageError> {
    let command_line: Vec<OsString> = command_line.into_iter().skip(1).collect();
    match Args::try_parse_from(&command_line) {
        Ok(args) => args.validate(elevation).map(Request::Check),
        Err(error) => match error.kind() {
            ErrorKind::InvalidUtf8 => Err(UsageError::NotText {
                argument: not_text(&command_line),
            }),
            ErrorKind::DisplayHelp => Ok(Request::Print(command().render_help().to_string())),
            ErrorKind::DisplayVersion => Ok(Request::Print(error.render().to_string())),
            _ => Err(UsageError::CommandLine {
                sentence: sentence(&error),
            }),
        },
    }
}

/// The first argument that is not UTF-8 although its option takes text, with the option before it. Options of files take
/// any bytes.
fn not_text(command_line: &[OsString]) -> String {
    let mut before = "";
    for argument in command_line {
        let text = argument.to_string_lossy();
        let option = text.split_once('=').map_or(before, |(option, _)| option);
        if let Some(text) = argument.to_str() {
            before = text;
        } else if !["--table", "--proc-root", "--state-dir"].contains(&option) {
            let option = if before.starts_with('-') { before } else { "" };
            return format!("{} {}", clean(option), not_utf8(argument))
                .trim()
                .to_owned();
        } else {
            before = "";
        }
    }
    String::new()
}

/// The command line as clap knows it, with the text below the options: for the help, the man page, the completions and
/// the tests.
pub fn command() -> clap::Command {
    Args::command().after_help(AFTER_HELP)
}

impl Args {
    fn validate(self, elevation: Elevation) -> Result<Options, UsageError> {
        let elevated = elevation != Elevation::None;
        let writes = elevation != Elevation::AnotherUser;
        let service = self.service();
        let (mut warning, mut critical) = (self.warning, self.critical);
        match self.positional.as_slice() {
            [] => {}
            arguments if !warning.is_empty() || !critical.is_empty() => {
                return Err(UsageError::PositionalsBesideOptions {
                    arguments: arguments.to_vec(),
                });
            }
            [warn, crit] => {
                warning.push(warn.clone());
                critical.push(crit.clone());
            }
            arguments => {
                return Err(UsageError::Positionals {
                    arguments: arguments.to_vec(),
                });
            }
        }
        let proc_root = match self.proc_root {
            Some(_) if elevated => {
                return Err(UsageError::Elevated {
                    option: "--proc-root",
                });
            }
            Some(directory) => directory,
            None => PathBuf::from(LIVE),
        };
        if self.table.is_some() && elevated {
            return Err(UsageError::Elevated { option: "--table" });
        }
        if self.table.is_some() && self.netns.as_deref() == Some("all") {
            return Err(UsageError::AllNamespacesOfACapture);
        }
        for (option, given) in [
            ("--record", self.record.is_some()),
            ("--recording", self.recording.is_some()),
        ] {
            if given && elevated {
                return Err(UsageError::Elevated { option });
            }
        }
        let record = self.record.as_deref().map(period).transpose()?;
        if record.is_some() {
            let thresholds = !warning.is_empty() || !critical.is_empty();
            for (option, given) in [
                ("--warning and --critical", thresholds),
                ("--table", self.table.is_some()),
                ("--top", self.top.is_some()),
                ("--netns all", self.netns.as_deref() == Some("all")),
                (
                    "--source recording",
                    self.source.as_deref() == Some("recording"),
                ),
            ] {
                if given {
                    return Err(UsageError::BesideRecord { option });
                }
            }
        }
        let is_live = proc_root == Path::new(LIVE);
        let recording_is_wanted =
            self.recording.is_some() || self.source.as_deref() == Some("recording");
        let recording = match self.recording {
            Some(directory) if directory.as_os_str().is_empty() => {
                return Err(word("--recording", "", "a directory"));
            }
            Some(directory) => Some(directory),
            None => is_live.then(|| PathBuf::from(RECORDING)),
        };
        let sample = self.sample.as_deref().unwrap_or(DEFAULT_SAMPLE);
        let aggregate = self.aggregate.as_deref().unwrap_or(DEFAULT_AGGREGATE);
        Ok(Options {
            top: self.top.as_deref().map(top).transpose()?,
            top_when: match self.top_when.as_deref() {
                None | Some("always") => TopWhen::Always,
                Some("problem") => TopWhen::Problem,
                Some(other) => return Err(word("--top-when", other, "always and problem")),
            },
            aggregate: Aggregate::parse(aggregate).map_err(|_| {
                word(
                    "--aggregate",
                    aggregate,
                    "V4,V6, two prefix lengths up to 32 and 128",
                )
            })?,
            own: own(&self.own)?,
            source: match self.source.as_deref() {
                None | Some("auto") => Choice::Auto,
                Some("netlink") => Choice::Netlink,
                Some("procfs") => Choice::Procfs,
                Some("sockets") => Choice::Sockets,
                Some("recording") => Choice::Recording,
                Some(other) => {
                    let accepted = "auto, netlink, procfs, sockets and recording";
                    return Err(word("--source", other, accepted));
                }
            },
            max: max(self.max.as_deref(), self.table.is_some())?,
            table: self.table,
            sample: count("--sample", sample, 0, u64::from(u32::MAX))?,
            thresholds: Thresholds::parse(&warning, &critical)?,
            absent: state("--absent", self.absent.as_deref().unwrap_or("unknown"))?,
            empty: state("--empty", self.empty.as_deref().unwrap_or("ok"))?,
            netns: match self.netns.as_deref() {
                None | Some("self") => Netns::Own,
                Some("all") => Netns::All,
                Some(other) => return Err(word("--netns", other, "self and all")),
            },
            writes,
            state_dir: match self.state_dir {
                Some(_) if !writes => return Err(UsageError::WritesAsAnother),
                Some(directory) => directory,
                None => PathBuf::from(STATE),
            },
            service,
            proc_root,
            timeout: seconds(self.timeout.as_deref().unwrap_or(DEFAULT_TIMEOUT))?,
            verbosity: self.verbose.min(3),
            record,
            recording,
            recording_is_wanted,
        })
    }
}

impl Args {
    /// The command line without `-v` and `-t`.
    fn service(&self) -> String {
        let service = Self {
            verbose: 0,
            timeout: None,
            ..self.clone()
        };
        format!("{service:?}")
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
    let refused = || UsageError::Timeout {
        value: text.to_owned(),
    };
    count("--timeout", text, 1, u64::from(TIMEOUT_MAX))
        .ok()
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(refused)
}

fn period(text: &str) -> Result<u32, UsageError> {
    let seconds = count("--record", text, 1, u64::from(RECORD_MAX))?;
    Ok(u32::try_from(seconds).unwrap_or(RECORD_MAX))
}

fn top(text: &str) -> Result<usize, UsageError> {
    let n = count("--top", text, 1, TOP_MAX)?;
    Ok(usize::try_from(n).unwrap_or_default())
}

/// A whole number between two others.
fn count(option: &'static str, text: &str, min: u64, max: u64) -> Result<u64, UsageError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits {
        text.parse::<u64>().ok()
    } else {
        None
    };
    number
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| UsageError::Number {
            option,
            value: text.to_owned(),
            min,
            max,
        })
}

/// The limit of a capture's host, as the host's nf_conntrack_max has it.
fn max(text: Option<&str>, capture: bool) -> Result<Option<u32>, UsageError> {
    let Some(text) = text else { return Ok(None) };
    if !capture {
        return Err(UsageError::MaxWithoutTable {
            value: text.to_owned(),
        });
    }
    let max = count("--max", text, 0, u64::from(u32::MAX))?;
    Ok(u32::try_from(max).ok())
}

fn own(values: &[String]) -> Result<Vec<Prefix>, UsageError> {
    let one = |text: &str| {
        Prefix::parse(text)
            .map_err(|_| word("--own", text, "addresses, or prefixes such as 192.0.2.0/24"))
    };
    values
        .iter()
        .flat_map(|value| value.split(','))
        .map(one)
        .collect()
}

fn word(option: &'static str, value: &str, accepted: &'static str) -> UsageError {
    UsageError::Word {
        option,
        value: value.to_owned(),
        accepted,
    }
}

/// clap's complaint in one sentence without its layout.
fn sentence(error: &clap::Error) -> String {
    // clap's own words, whose angle brackets go
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
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => typed(text),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let mut text = match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("unknown option {}", given(ContextKind::InvalidArg))
        }
        ErrorKind::ArgumentConflict => format!("{argument} was given more than once"),
        ErrorKind::InvalidValue => format!("{argument} needs a value"),
        ErrorKind::TooManyValues => format!(
            "{argument} takes no value {}",
            given(ContextKind::InvalidValue)
        ),
        ErrorKind::NoEquals => format!("{argument} needs its value behind a ="),
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
    #[error("{option} {} refused: accepted are ok, warning, critical and unknown", typed(.value))]
    State {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// Not a number of seconds.
    #[error("--timeout {} refused: accepted are whole seconds from 1 to {TIMEOUT_MAX}", typed(.value))]
    Timeout {
        /// The value.
        value: String,
    },
    /// Not a number in its range.
    #[error("{option} {} refused: accepted are whole numbers from {min} to {max}", typed(.value))]
    Number {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Not one of the words an option knows.
    #[error("{option} {} refused: accepted are {accepted}", typed(.value))]
    Word {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it knows.
        accepted: &'static str,
    },
    /// An argument that is not UTF-8, for an option that takes text.
    #[error("{argument} refused: it is not valid UTF-8, accepted is ASCII")]
    NotText {
        /// The argument, and the option that it belongs to, safe to print.
        argument: String,
    },
    /// Neither none nor two.
    #[error(
        "unexpected argument{} {}: give either no positional arguments or two (WARN CRIT), -w WARN -c CRIT is preferred",
        if .arguments.len() == 1 { "" } else { "s" },
        all_typed(.arguments)
    )]
    Positionals {
        /// All of them.
        arguments: Vec<String>,
    },
    /// Two ways of saying the same.
    #[error("positional WARN CRIT cannot be combined with -w or -c, given {}", all_typed(.arguments))]
    PositionalsBesideOptions {
        /// The positional ones.
        arguments: Vec<String>,
    },
    /// --max for the live table.
    #[error("--max {} refused: accepted with --table only, a live table has the limit of its kernel", typed(.value))]
    MaxWithoutTable {
        /// The value.
        value: String,
    },
    /// A capture does not say which namespace it is of.
    #[error("--netns all cannot be used with --table: a capture covers a single network namespace")]
    AllNamespacesOfACapture,
    /// An option that would let the caller use privileges that are not his.
    #[error("{option} is not allowed when the plugin has file capabilities or is setuid")]
    Elevated {
        /// The option.
        option: &'static str,
    },
    /// An option of a check beside --record.
    #[error(
        "{option} refused: not beside --record, a recorder judges nothing and reads the table itself"
    )]
    BesideRecord {
        /// The option.
        option: &'static str,
    },
    /// --state-dir while the program runs setuid or setgid.
    #[error(
        "--state-dir is not allowed in a setuid or setgid program: the state would be written as a different user"
    )]
    WritesAsAnother,
}

fn all_typed(arguments: &[String]) -> String {
    let typed: Vec<String> = arguments.iter().map(|argument| typed(argument)).collect();
    typed.join(" ")
}

/// An argument whose bytes are not all text.
fn not_utf8(argument: &OsStr) -> String {
    let chunks = argument.as_encoded_bytes().utf8_chunks();
    let shown: String = chunks
        .flat_map(|chunk| {
            let valid = (!chunk.valid().is_empty()).then(|| typed(chunk.valid()));
            let bytes = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
            valid.into_iter().chain(bytes)
        })
        .collect();
    shown.get(..FOREIGN_MAX).unwrap_or(&shown).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let line = std::iter::once("check_conntrack")
            .chain(arguments.iter().copied())
            .map(Into::into);
        match parse(line, Elevation::None) {
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
    fn the_defaults_in_the_help_are_those_in_force() {
        let help = options(&["-h"]).unwrap_err();
        let plain = options(&[]).unwrap();
        for line in [
            &["--top-when", "always"][..],
            &["--aggregate", "32,64"],
            &["--source", "auto"],
            &["--sample", "20000"],
            &["--netns", "self"],
            &["--state-dir", STATE],
            &["--proc-root", LIVE],
            &["--timeout", "8"],
        ] {
            let given = Options {
                service: plain.service.clone(),
                ..options(line).unwrap()
            };
            assert_eq!(given, plain, "{line:?}");
            let [name, value] = line else {
                panic!("{line:?}")
            };
            let shown = help
                .lines()
                .find(|shown| shown.contains(&format!("{name} <")));
            assert!(
                shown.unwrap().ends_with(&format!(" [default: {value}]")),
                "{line:?}: {shown:?}"
            );
        }
        assert_eq!(plain.absent, ServiceState::Unknown);
        assert_eq!(plain.empty, ServiceState::Ok);
    }

    #[test]
    fn positionals_mean_warning_and_critical() {
        // another command line, and so another service, which means the same
        let meaning = |arguments: &[&str]| {
            options(arguments).map(|options| Options {
                service: String::new(),
                ..options
            })
        };
        let expected = meaning(&["-w", "75", "-c", "90"]);
        assert!(expected.is_ok());
        assert_eq!(meaning(&["75", "90"]), expected);
        assert_eq!(meaning(&["75%", "90%"]), expected);
        let preferred =
            "give either no positional arguments or two (WARN CRIT), -w WARN -c CRIT is preferred";
        for (arguments, refusal) in [
            (&["75"][..], format!("unexpected argument 75: {preferred}")),
            (
                &["75", "8|0", "90"],
                format!(r"unexpected arguments 75 8\x7c0 90: {preferred}"),
            ),
            (
                &["-w", "75", "80", "90"],
                "positional WARN CRIT cannot be combined with -w or -c, given 80 90".to_owned(),
            ),
        ] {
            assert_eq!(options(arguments), Err(refusal));
        }
    }

    #[test]
    fn a_service_is_its_command_line_without_details_and_time_limit() {
        let service = |arguments: &[&str]| options(arguments).unwrap().service;
        let plain = service(&["-w", "lost=0"]);
        for same in [
            &["-w", "lost=0", "-vvv"][..],
            &["-t", "3", "--warning=lost=0"],
            &["-v", "-wlost=0", "--timeout", "20"],
        ] {
            assert_eq!(service(same), plain, "{same:?}");
        }
        for other in [
            &["-c", "lost=0"][..],
            &["-w", "lost=1"],
            &["-w", "lost=0", "--netns", "all"],
            &["-w", "lost=0", "--top"],
            &["-w", "lost=0", "--empty", "critical"],
        ] {
            assert_ne!(service(other), plain, "{other:?}");
        }
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
                .starts_with(r"--absent OK\x7c refused: accepted are ok")
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
            (&["--netns"], "--netns WHICH needs a value"),
            (&["--flush"], "unknown option --flush"),
            (&["--verbose=3|"], r"--verbose... takes no value 3\x7c"),
            (&["--a|b"], r"unknown option --a\x7cb"),
            (&["--state-dir", ""], "--state-dir DIR needs a value"),
        ] {
            let text = options(arguments).unwrap_err();
            assert!(text.starts_with(wanted), "{text}");
        }
    }

    #[test]
    fn a_capture_is_of_one_namespace() {
        let refused = options(&["--netns", "all", "--table", "-"]).unwrap_err();
        assert_eq!(
            refused,
            "--netns all cannot be used with --table: a capture covers a single network namespace"
        );
        assert!(options(&["--netns", "self", "--table", "-"]).is_ok());
        assert!(options(&["--netns", "all", "--top"]).is_ok());
    }

    #[test]
    fn the_limit_of_a_capture_is_a_whole_number_and_0_is_no_limit() {
        let max = |arguments: &[&str]| options(arguments).map(|options| options.max);
        assert_eq!(max(&["--table", "-"]), Ok(None));
        assert_eq!(max(&["--table", "-", "--max", "262144"]), Ok(Some(262_144)));
        assert_eq!(max(&["--max=0", "--table", "-"]), Ok(Some(0)));
        assert_eq!(
            max(&["--table", "-", "--max", "4294967295"]),
            Ok(Some(u32::MAX))
        );
        for bad in ["", "-1", "4294967296", "1e3", "10k", "0x10", "80%", " 5"] {
            let refused = max(&["--table", "-", "--max", bad]).unwrap_err();
            assert!(
                refused.starts_with("--max ") && refused.contains(" refused: accepted are whole"),
                "{refused}"
            );
        }
        let refused = max(&["--max", "5"]).unwrap_err();
        assert!(
            refused.starts_with("--max 5 refused: accepted with --table only"),
            "{refused}"
        );
    }

    #[test]
    fn privileges_of_others_are_not_to_be_steered() {
        for option in ["--proc-root", "--table"] {
            for elevation in [Elevation::Capabilities, Elevation::AnotherUser] {
                for value in ["/proc", "-"] {
                    let line = ["check_conntrack", option, value].map(Into::into);
                    assert_eq!(parse(line, elevation), Err(UsageError::Elevated { option }));
                }
            }
        }
    }

    #[test]
    fn nobody_says_where_another_user_writes() {
        let line = ["check_conntrack", "--state-dir", "/tmp"].map(Into::into);
        let writes = |elevation| match parse(line.clone(), elevation) {
            Ok(Request::Check(options)) => Ok(options.writes),
            Err(refusal) => Err(refusal),
            Ok(Request::Print(text)) => panic!("{text}"),
        };
        assert_eq!(writes(Elevation::None), Ok(true));
        // what the file capabilities permit is not in effect while files are opened
        assert_eq!(writes(Elevation::Capabilities), Ok(true));
        assert_eq!(
            writes(Elevation::AnotherUser),
            Err(UsageError::WritesAsAnother)
        );
        let line = ["check_conntrack"].map(Into::into);
        let Ok(Request::Check(options)) = parse(line, Elevation::AnotherUser) else {
            panic!("refused")
        };
        assert!(!options.writes);
    }
}
