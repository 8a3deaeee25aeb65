//! Command lines that are refused, and the sentence for each.

use std::ffi::{OsStr, OsString};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use thiserror::Error;

use super::TIMEOUT_MAX;
use super::arguments::command;
use crate::judge::threshold::ThresholdError;
use crate::model::text::clean;

/// The reason for a refused value of `-v`.
pub(super) const VERBOSE: &str = "-v takes no value, repeat it for more detail, up to -vvv";

/// The error of clap in one sentence, without the layout of clap.
pub(super) fn sentence(error: &clap::Error, typed: &[OsString]) -> String {
    if let Some(word) = typed.iter().find_map(|word| verbose_with_value(word)) {
        return format!("{} refused: {VERBOSE}", clean(word));
    }
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
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&argument, &context(ContextKind::SuggestedArg)),
        ErrorKind::ArgumentConflict => format!("{argument} was given more than once"),
        ErrorKind::InvalidValue => format!("{argument} needs a value"),
        ErrorKind::TooManyValues => format!(
            "{argument} takes no value {}",
            context(ContextKind::InvalidValue)
        ),
        ErrorKind::NoEquals => format!("{argument} needs its value after a ="),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => error.kind().to_string(),
    }
}

/// An option that does not exist, or an abbreviation of several.
fn unknown(typed: &str, suggestion: &str) -> String {
    let meant = abbreviated(typed);
    if meant.len() > 1 {
        return format!("{typed} is short for several options: {}", meant.join(", "));
    }
    match suggestion {
        "" => format!("unknown option {typed}"),
        _ => format!("unknown option {typed}, did you mean {suggestion}?"),
    }
}

/// The long options that begin with what was typed.
fn abbreviated(typed: &str) -> Vec<String> {
    let Some(typed) = typed.strip_prefix("--") else {
        return Vec::new();
    };
    command()
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|long| long.starts_with(typed))
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

/// A refused value as it is printed.
fn shown(value: &str) -> String {
    match value {
        "" => "(empty)".to_owned(),
        _ => clean(value),
    }
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
    #[error("{option} {} refused: accepted are ok, warning, critical and unknown", shown(.value))]
    State {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// Not a number of seconds.
    #[error("--timeout {} refused: accepted are whole seconds from 1 to {TIMEOUT_MAX}", shown(.value))]
    Timeout {
        /// The value.
        value: String,
    },
    /// Not a number in its range.
    #[error("{option} {} refused: accepted are whole numbers from {min} to {max}", shown(.value))]
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
    #[error("{option} {} refused: accepted are {accepted}", shown(.value))]
    Word {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it knows.
        accepted: &'static str,
    },
    /// Words without an option, neither none nor two.
    #[error("unexpected argument {}: {reason}", shown(.typed))]
    Unexpected {
        /// The words.
        typed: String,
        /// The mistake, or what is accepted.
        reason: &'static str,
    },
    /// --max for the live table.
    #[error("--max {} refused: accepted with --table only, a live table has the limit of its kernel", shown(.value))]
    MaxWithoutTable {
        /// The value.
        value: String,
    },
    /// A capture covers one network namespace.
    #[error(
        "--netns all cannot be used with --table: a capture covers a single network namespace, accepted is self"
    )]
    AllNamespacesOfACapture,
    /// An option that would let the caller use privileges that the caller does not have.
    #[error(
        "{option} is not allowed in a program with capabilities, setuid or setgid: it is accepted without them only"
    )]
    Elevated {
        /// The option.
        option: &'static str,
    },
    /// --state-dir while the program runs setuid or setgid.
    #[error(
        "--state-dir is not allowed in a setuid or setgid program: the state would be written as a different user"
    )]
    WritesAsAnother,
}
