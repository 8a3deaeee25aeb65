//! What can go wrong with a recording: reading it, and writing it.

use std::time::Duration;

use thiserror::Error;

use crate::model::error::NoState;
use crate::model::text::duration;

/// What is the matter with a recording.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRecording {
    /// There is none.
    #[error("does not exist")]
    Missing,
    /// This user may not read it.
    #[error("is not readable for this user")]
    Denied,
    /// It belongs to another user than root and the one of this check.
    #[error("belongs to another user (uid {uid})")]
    Foreign {
        /// The owner.
        uid: u32,
    },
    /// Somebody else than its owner may write it.
    #[error("may be written by others than its owner")]
    Writable,
    /// Something else stands in its place.
    #[error("is not a file")]
    NotAFile,
    /// Any other error of the system.
    #[error("cannot be read: {reason}")]
    Io {
        /// The system's words.
        reason: String,
    },
    /// It was cut short or changed.
    #[error("is damaged")]
    Damaged,
    /// It was written by another version of this program.
    #[error("was written by another version of check_conntrack")]
    OtherVersion,
    /// It was written before the host was started.
    #[error("is from before the last boot")]
    OtherBoot,
    /// It is of another network namespace.
    #[error("is of another network namespace")]
    OtherNamespace,
    /// Its last sample lies in the future.
    #[error("is from the future")]
    Future,
    /// No sample was added for three periods.
    #[error("is {} old", duration(.age.as_secs()))]
    Stale {
        /// The age of the last sample.
        age: Duration,
    },
    /// It has no sample since the previous run.
    #[error("has no sample since the previous run")]
    NoSample,
    /// The recorder has not read the table.
    #[error("does not say who holds the entries")]
    NoSurvey,
    /// The table has changed too much since the recorder read it.
    #[error("shows the table as of {} ago, when it held {count} entries", duration(.age.as_secs()))]
    Outdated {
        /// The age of the last look.
        age: Duration,
        /// The entries at that time.
        count: u32,
    },
    /// Nobody named a recording of the host that another proc root shows.
    #[error("is of this host, and another proc root was given")]
    OtherProcRoot,
}

/// Why a recorder does not begin, or ends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRecorder {
    /// There is no directory for the recording of another proc root.
    #[error("a recorder of another proc root needs --recording")]
    NoDirectory,
    /// The directory cannot be used.
    #[error("cannot record: {path} {problem}{}", if_missing(problem))]
    Directory {
        /// The directory.
        path: String,
        /// The fault of the file, as a verb and the rest of the sentence.
        problem: NoState,
    },
    /// Another user could put a file in the place of the recording.
    #[error(
        "cannot record: {path} must belong to the user of the recorder and not be writable by others (mode 0750)"
    )]
    Shared {
        /// The directory.
        path: String,
    },
    /// Another recorder writes there.
    #[error("cannot record: another recorder writes to {path}")]
    Running {
        /// The directory.
        path: String,
    },
    /// The recorder could not enter its own network namespace again, or not find out which one it is.
    #[error("cannot record other network namespaces: {reason}")]
    Namespace {
        /// The system's words.
        reason: String,
    },
    /// There is no timer.
    #[error("cannot record: no timer: {reason}")]
    Clock {
        /// The system's words.
        reason: String,
    },
}

/// The advice for a directory that is missing.
fn if_missing(problem: &NoState) -> &'static str {
    match problem {
        NoState::Missing => " (create it for the user of the recorder, with mode 0750)",
        _ => "",
    }
}
