//! The command line: the flags as clap reads them, and their conversion into validated [`Options`].
//!
//! clap keeps the values as text and this file judges them, so that `--help` wins over a bad value and every refusal
//! names the option, the value and what is accepted.

mod arguments;
mod command;
mod refusal;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use nagiosplugin::ServiceState;

pub use command::command;
pub use refusal::UsageError;

use arguments::Args;

use crate::judge::threshold::Thresholds;
use crate::model::dump::Choice;
pub use crate::model::elevation::Elevation;
use crate::model::prefix::{Aggregate, Prefix};

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

/// The options of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The ranges in force.
    pub thresholds: Thresholds,
    /// The number of remote endpoints to name; none without `--top`.
    pub top: Option<usize>,
    /// When to read the table.
    pub top_when: TopWhen,
    /// The networks by which `from` addresses are grouped.
    pub aggregate: Aggregate,
    /// Addresses to count as this host's own.
    pub own: Vec<Prefix>,
    /// The source of the entries.
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
    /// The namespaces that are judged.
    pub netns: Netns,
    /// The directory of the state of the previous run.
    pub state_dir: PathBuf,
    /// True if the state may be written: not with the rights of a user who is not the caller.
    pub writes: bool,
    /// The command line, without what changes neither state nor performance data: what tells one service's state from
    /// another's.
    pub service: String,
    /// The mount point of procfs.
    pub proc_root: PathBuf,
    /// Seconds until the answer is due, 1 to 3600.
    pub timeout: u32,
    /// The amount of detail lines, 0 to 3.
    pub verbosity: u8,
    /// Seconds between two samples, 1 to 60, if this program is to run as a recorder.
    pub record: Option<u32>,
    /// The directory of the recording; none if there is no recording of the host that the proc root shows.
    pub recording: Option<PathBuf>,
    /// True if the command line asks for the recording, so that its absence is worth a note.
    pub recording_is_wanted: bool,
}

impl Options {
    /// True if the proc root is the live one, so that netlink tells of the same kernel.
    pub fn is_live(&self) -> bool {
        self.proc_root == Path::new(LIVE_PROC_ROOT)
    }

    /// True if the entries themselves may have to be read.
    pub fn may_read_entries(&self) -> bool {
        self.top.is_some() || self.table.is_some() || self.thresholds.need_table()
    }

    /// True if the entries to be read may be those of another network namespace of the running kernel.
    pub fn may_enter_namespaces(&self) -> bool {
        self.netns == Netns::All && self.is_live() && self.may_read_entries()
    }
}

/// The mount point of procfs by default.
const LIVE_PROC_ROOT: &str = "/proc";
/// Where the recording is unless somebody says otherwise.
const RECORDING: &str = "/run/check_conntrack";
/// The directory of the state by default.
const STATE: &str = "/var/lib/check_conntrack";

/// The network namespaces to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netns {
    /// The namespace of this process.
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

/// The request of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A check.
    Check(Options),
    /// A text: help or version.
    Print(String),
}

/// Reads a command line, the program's name first. A program that may do what its caller may not accepts no option
/// that steers what it reads, and a program that is another user accepts none that steers what it writes.
///
/// # Errors
/// The first thing that is refused.
pub fn parse(
    command_line: impl IntoIterator<Item = OsString>,
    elevation: Elevation,
) -> Result<Request, UsageError> {
    let command_line: Vec<OsString> = command_line.into_iter().skip(1).collect();
    match command::options().try_get_matches_from(&command_line) {
        Ok(mut matches) => Args::new(&mut matches)
            .validate(elevation)
            .map(Request::Check),
        Err(error) => match error.kind() {
            ErrorKind::InvalidUtf8 => Err(UsageError::NotText {
                argument: refusal::not_text(&command_line),
            }),
            ErrorKind::DisplayHelp => Ok(Request::Print(command().render_help().to_string())),
            ErrorKind::DisplayVersion => Ok(Request::Print(error.render().to_string())),
            _ => Err(UsageError::CommandLine {
                sentence: refusal::sentence(&error, &command_line),
            }),
        },
    }
}

impl Args {
    fn validate(self, elevation: Elevation) -> Result<Options, UsageError> {
        let elevated = elevation != Elevation::None;
        let writes = elevation != Elevation::AnotherUser;
        let service = self.service();
        let thresholds = match self.positional.as_slice() {
            [] => Thresholds::parse(&self.warning, &self.critical)?,
            words => self.positional_thresholds(words)?,
        };
        let record = self.record(elevated)?;
        let proc_root = proc_root(self.proc_root, elevated)?;
        if self.table.is_some() && elevated {
            return Err(UsageError::Elevated { option: "--table" });
        }
        if self.table.is_some() && self.netns.as_deref() == Some("all") {
            return Err(UsageError::AllNamespacesOfACapture);
        }
        let recording_is_wanted =
            self.recording.is_some() || self.source.as_deref() == Some("recording");
        let is_live = proc_root == Path::new(LIVE_PROC_ROOT);
        let sample = self.sample.as_deref().unwrap_or(DEFAULT_SAMPLE);
        Ok(Options {
            top: self.top.as_deref().map(top).transpose()?,
            top_when: top_when(self.top_when.as_deref())?,
            aggregate: aggregate(self.aggregate.as_deref().unwrap_or(DEFAULT_AGGREGATE))?,
            own: own(&self.own)?,
            source: source(self.source.as_deref())?,
            max: max(self.max.as_deref(), self.table.is_some())?,
            table: self.table,
            sample: count("--sample", sample, 0, u64::from(u32::MAX))?,
            thresholds,
            absent: state("--absent", self.absent.as_deref().unwrap_or("unknown"))?,
            empty: state("--empty", self.empty.as_deref().unwrap_or("ok"))?,
            netns: netns(self.netns.as_deref())?,
            writes,
            state_dir: state_dir(self.state_dir, writes)?,
            service,
            proc_root,
            timeout: seconds(self.timeout.as_deref().unwrap_or(DEFAULT_TIMEOUT))?,
            verbosity: self.verbose.min(3),
            record,
            recording: self
                .recording
                .or_else(|| is_live.then(|| PathBuf::from(RECORDING))),
            recording_is_wanted,
        })
    }

    /// The seconds between two samples, if the program is to run as a recorder.
    fn record(&self, elevated: bool) -> Result<Option<u32>, UsageError> {
        for (option, given) in [
            ("--record", self.record.is_some()),
            ("--recording", self.recording.is_some()),
        ] {
            if given && elevated {
                return Err(UsageError::Elevated { option });
            }
        }
        let Some(typed) = &self.record else {
            return Ok(None);
        };
        let thresholds = [&self.warning, &self.critical, &self.positional];
        for (option, given) in [
            (
                "--warning and --critical",
                thresholds.iter().any(|typed| !typed.is_empty()),
            ),
            ("--table", self.table.is_some()),
            ("--top", self.top.is_some()),
            (
                "--source recording",
                self.source.as_deref() == Some("recording"),
            ),
        ] {
            if given {
                return Err(UsageError::BesideRecord { option });
            }
        }
        period(typed).map(Some)
    }

    /// The command line without `-v` and `-t`.
    fn service(&self) -> String {
        let service = Self {
            verbose: 0,
            timeout: None,
            ..self.clone()
        };
        format!("{service:?}")
    }

    /// The thresholds of `WARN CRIT`, the form of the scripts that this program replaces.
    fn positional_thresholds(&self, words: &[String]) -> Result<Thresholds, UsageError> {
        match words {
            [level] if self.verbose > 0 && level.len() == 1 => {
                Err(UsageError::NumberAfterVerbose {
                    argument: level.clone(),
                })
            }
            _ if !self.warning.is_empty() || !self.critical.is_empty() => {
                Err(UsageError::PositionalsBesideOptions {
                    arguments: words.to_vec(),
                })
            }
            [warn, crit] => Ok(Thresholds::parse(
                std::slice::from_ref(warn),
                std::slice::from_ref(crit),
            )?),
            _ => Err(UsageError::Positionals {
                arguments: words.to_vec(),
            }),
        }
    }
}

fn proc_root(typed: Option<PathBuf>, elevated: bool) -> Result<PathBuf, UsageError> {
    match typed {
        Some(_) if elevated => Err(UsageError::Elevated {
            option: "--proc-root",
        }),
        Some(directory) => Ok(directory),
        None => Ok(PathBuf::from(LIVE_PROC_ROOT)),
    }
}

fn state_dir(typed: Option<PathBuf>, writes: bool) -> Result<PathBuf, UsageError> {
    match typed {
        Some(_) if !writes => Err(UsageError::WritesAsAnother),
        Some(directory) => Ok(directory),
        None => Ok(PathBuf::from(STATE)),
    }
}

fn top_when(typed: Option<&str>) -> Result<TopWhen, UsageError> {
    match typed {
        None | Some("always") => Ok(TopWhen::Always),
        Some("problem") => Ok(TopWhen::Problem),
        Some(other) => Err(word("--top-when", other, "always and problem")),
    }
}

fn source(typed: Option<&str>) -> Result<Choice, UsageError> {
    match typed {
        None | Some("auto") => Ok(Choice::Auto),
        Some("netlink") => Ok(Choice::Netlink),
        Some("procfs") => Ok(Choice::Procfs),
        Some("sockets") => Ok(Choice::Sockets),
        Some("recording") => Ok(Choice::Recording),
        Some(other) => {
            let accepted = "auto, netlink, procfs, sockets and recording";
            Err(word("--source", other, accepted))
        }
    }
}

fn netns(typed: Option<&str>) -> Result<Netns, UsageError> {
    match typed {
        None | Some("self") => Ok(Netns::Own),
        Some("all") => Ok(Netns::All),
        Some(other) => Err(word("--netns", other, "self and all")),
    }
}

fn aggregate(typed: &str) -> Result<Aggregate, UsageError> {
    let accepted = "V4,V6, two prefix lengths up to 32 and 128";
    Aggregate::parse(typed).map_err(|_| word("--aggregate", typed, accepted))
}

/// A state by its name, or by the short name of the scripts that this program replaces.
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
            &["--proc-root", LIVE_PROC_ROOT],
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
            let (_, rest) = help.split_once(&format!("{name} <")).unwrap();
            let words: Vec<&str> = rest.split_whitespace().collect();
            let shown = words.iter().skip_while(|word| **word != "[default:").nth(1);
            assert_eq!(shown, Some(&&*format!("{value}]")), "{line:?}: {help}");
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
    }

    #[test]
    fn words_without_an_option_are_refused_with_the_way_to_give_a_threshold() {
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
        let refused = options(&["-v", "3"]).unwrap_err();
        assert_eq!(
            refused,
            "unexpected argument 3: -v takes no value, repeat it for more detail, up to -vvv"
        );
    }

    #[test]
    fn a_number_given_to_v_is_refused_with_the_way_to_see_more() {
        for typed in ["-v=3", "-v3", "-vv=3", "--verbose=3", "--verb=3"] {
            let wanted = format!(
                "{typed} refused: -v takes no value, repeat it for more detail, up to -vvv"
            );
            let refused = options(&[typed]).unwrap_err();
            assert!(refused.starts_with(&wanted), "{refused}");
        }
        assert_eq!(
            options(&["-vvv", "-w", "3"]).map(|options| options.verbosity),
            Ok(3)
        );
    }

    #[test]
    fn long_options_may_be_abbreviated_as_getopt_allows() {
        let timeout = |arguments: &[&str]| options(arguments).map(|options| options.timeout);
        assert_eq!(timeout(&["--timeo", "5"]), Ok(5));
        assert_eq!(timeout(&["--ti=5"]), Ok(5));
        let absent = |arguments: &[&str]| options(arguments).map(|options| options.absent);
        assert_eq!(absent(&["--no-c", "ok"]), Ok(ServiceState::Ok));
        // the whole name of one option that begins another one
        assert_eq!(options(&["--top"]).map(|options| options.top), Ok(Some(5)));
        let service = |arguments: &[&str]| options(arguments).map(|options| options.service);
        assert_eq!(service(&["--crit", "lost=0"]), service(&["-c", "lost=0"]));
    }

    #[test]
    fn an_abbreviation_of_several_options_is_refused_with_their_names() {
        for (typed, wanted) in [
            (
                "--to",
                "--to is short for several options: --top, --top-when",
            ),
            (
                "--ver",
                "--ver is short for several options: --verbose, --version",
            ),
        ] {
            let refused = options(&[typed]).unwrap_err();
            assert!(refused.starts_with(wanted), "{refused}");
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
            (&["--help=3|"], r"--help takes no value 3\x7c"),
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
