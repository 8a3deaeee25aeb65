//! Command lines that are refused, and the sentence for each.

use std::ffi::{OsStr, OsString};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use thiserror::Error;

use super::TIMEOUT_MAX;
use super::command::command;
use crate::judge::threshold::ThresholdError;
use crate::model::text::{FOREIGN_MAX, clean, typed};

/// The reason for a refused value of `-v`.
pub(super) const VERBOSE: &str = "-v takes no value, repeat it for more detail, up to -vvv";

/// The error of clap in one sentence, without the layout of clap.
pub(super) fn sentence(error: &clap::Error, command_line: &[OsString]) -> String {
    if let Some(word) = command_line
        .iter()
        .find_map(|word| verbose_with_value(word))
    {
        return format!("{} refused: {VERBOSE}", typed(word));
    }
    // the words of clap lose their angle brackets
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
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let argument = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(
            given(ContextKind::InvalidArg),
            &context(ContextKind::SuggestedArg),
        ),
        ErrorKind::ArgumentConflict => format!("{argument} was given more than once"),
        ErrorKind::InvalidValue => format!("{argument} needs a value"),
        ErrorKind::TooManyValues => format!(
            "{argument} takes no value {}",
            typed(given(ContextKind::InvalidValue))
        ),
        ErrorKind::NoEquals => format!("{argument} needs its value after a ="),
        _ => error.kind().to_string(),
    }
}

/// An option that does not exist, or an abbreviation of several.
fn unknown(option: &str, suggestion: &str) -> String {
    let meant = abbreviated(option);
    let option = typed(option);
    if meant.len() > 1 {
        return format!(
            "{option} is short for several options: {}",
            meant.join(", ")
        );
    }
    match suggestion {
        "" => format!("unknown option {option}"),
        _ => format!("unknown option {option}, did you mean {suggestion}?"),
    }
}

/// The long options that begin with what was typed.
fn abbreviated(option: &str) -> Vec<String> {
    let Some(beginning) = option.strip_prefix("--") else {
        return Vec::new();
    };
    command()
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|long| long.starts_with(beginning))
        .map(|long| format!("--{long}"))
        .collect()
}

/// A number given to `-v`, as other plugins take it: `-v=3`, `-v3`, `--verbose=3`.
fn verbose_with_value(word: &OsStr) -> Option<&str> {
    let word = word.to_str()?;
    let value = match word.strip_prefix("--") {
        Some(long) => {
            let (name, value) = long.split_once('=')?;
            (name.len() > 3 && "verbose".starts_with(name)).then_some(value)?
        }
        None => word
            .strip_prefix("-v")?
            .trim_start_matches('v')
            .trim_start_matches('='),
    };
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())).then_some(word)
}

/// The first argument that is not UTF-8 although its option takes text, with the option before it. Options of files take
/// any bytes.
pub(super) fn not_text(command_line: &[OsString]) -> String {
    let mut before = "";
    for argument in command_line {
        let text = argument.to_string_lossy();
        let option = text.split_once('=').map_or(before, |(option, _)| option);
        if let Some(text) = argument.to_str() {
            before = text;
        } else if !["--table", "--proc-root", "--state-dir", "--recording"].contains(&option) {
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

/// A command line that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UsageError {
    /// Refused by clap.
    #[error("{sentence} (see check_conntrack --help)")]
    CommandLine {
        /// The fault.
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
        /// The names that it knows.
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
    /// A number after `-v`.
    #[error("unexpected argument {}: {VERBOSE}", typed(.argument))]
    NumberAfterVerbose {
        /// The number.
        argument: String,
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
