//! Compares this run with the previous one of the same service, and keeps what it read for the next one: the order of
//! reading the state file, judging and writing it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::judge::history::{Baseline, MAX_BASELINE_AGE, NetnsSnapshot, Snapshot};
use crate::model::error::{NoBaseline, NoState, ReadError};
use crate::model::netns::{Namespace, Walk};
use crate::model::text::{clean, clean_path};
use crate::runtime::state_file::{StateDirectory, StateFile, StateKey, Stored, Unfinished};
use crate::source::procfs::boot;
use crate::source::procfs::netns_id::{self, CookieOf};

/// Which state is meant, and what the run saw.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The directory of the state.
    pub directory: &'a Path,
    /// False in a setuid or setgid program, which would write the state as a user that its caller is not.
    pub writes: bool,
    /// The procfs.
    pub proc_root: &'a Path,
    /// The command line that the state belongs to.
    pub command_line: &'a str,
    /// Whether the state is about all network namespaces.
    pub all: bool,
    /// How much of the processes was looked at for them.
    pub walk: Walk,
    /// Asks for the cookie of the own network namespace, if the proc root is the live one.
    pub cookie_of: Option<CookieOf>,
}

/// The state for the next run, to be written once this run has read everything.
#[derive(Debug)]
pub struct NextState {
    file: StateFile,
    directory: PathBuf,
    stored: Stored,
    boot: String,
    at: Duration,
    /// Nothing if this run adds nothing to what is stored.
    baseline: Option<Baseline>,
}

/// The state for the next run, written, but not in its place yet.
#[derive(Debug)]
#[must_use]
pub struct Written {
    file: StateFile,
    /// What stood there when this run began.
    stored: Stored,
    unfinished: Unfinished,
    boot: String,
    at: Duration,
}

/// Compares each namespace with what the previous run read of it. The result is none if there is no state to keep.
pub fn compare(service: Service<'_>, namespaces: &mut [Namespace]) -> Option<NextState> {
    let fail = |namespaces: &mut [Namespace], why: ReadError| {
        for namespace in namespaces {
            namespace.readings.change = Err(why.clone());
        }
    };
    if namespaces
        .iter()
        .any(|namespace| namespace.readings.capture)
    {
        fail(namespaces, ReadError::NoPreviousCapture);
        return None;
    }
    let (mut next, snapshot) = match read(service, namespaces) {
        Ok(read) => read,
        Err(problem) => {
            let path = shown(service.directory);
            fail(namespaces, ReadError::NoState { path, problem });
            return None;
        }
    };
    let previous = match &next.stored {
        Stored::Text(text) => Baseline::parse(text),
        Stored::Foreign => Err(NoBaseline::Foreign),
        Stored::Nothing => Err(NoBaseline::FirstRun),
    };
    for namespace in namespaces {
        let readings = &mut namespace.readings;
        readings.change = match (&readings.count, &namespace.id, &previous) {
            (Err(why), ..) | (_, Err(why), _) => Err(why.clone()),
            (_, _, Err(why)) => Err(ReadError::FirstRun { why: *why }),
            (Ok(_), Ok(id), Ok(previous)) => NetnsSnapshot::of(snapshot.at, readings)
                .ok_or(ReadError::NotReached)
                .and_then(|now| previous.change(&snapshot, *id, &now)),
        };
    }
    next.baseline = Baseline::succeeded_by(previous.as_ref().ok(), &snapshot);
    Some(next)
}

/// Reads what the previous run left and what this run is, and numbers the own namespace.
///
/// # Errors
/// Also if something could not be read that may be read the next time: as a first run this run would take the baseline
/// of the next one away.
fn read(
    service: Service<'_>,
    namespaces: &mut [Namespace],
) -> Result<(NextState, Snapshot), NoState> {
    if !service.writes {
        return Err(NoState::AnotherUser);
    }
    let directory = StateDirectory::open(service.directory)?;
    let boot = boot::boot_id(service.proc_root)?;
    let at = boot::uptime(service.proc_root)?;
    let own = namespaces.iter_mut().find(|namespace| namespace.own);
    let mut netns = None;
    // a walk has numbered all of them in another way
    if let Some(own) = own.filter(|_| service.walk == Walk::NotDone) {
        let id =
            netns_id::own(service.proc_root, service.cookie_of).map_err(|error| NoState::Io {
                reason: clean(&error.to_string()),
            })?;
        own.id = Ok(id);
        netns = Some(id).filter(|_| !service.all);
    }
    let file = directory.file(StateKey {
        netns,
        proc_root: service.proc_root,
        service: service.command_line,
    });
    let next = NextState {
        stored: file.read()?,
        file,
        directory: service.directory.to_owned(),
        boot: boot.clone(),
        at,
        baseline: None,
    };
    Ok((next, Snapshot::of(boot, at, service.walk, namespaces)))
}

/// The path as it may be printed.
fn shown(path: &Path) -> String {
    clean_path(&path.to_string_lossy())
}

impl NextState {
    /// Writes the state for the next run, unless this run follows the previous one too closely to add anything.
    ///
    /// # Errors
    /// [`ReadError::StateNotWritten`].
    pub fn write(self) -> Result<Option<Written>, ReadError> {
        let Some(baseline) = &self.baseline else {
            return Ok(None);
        };
        self.file.remove_unused(MAX_BASELINE_AGE, |text| {
            Baseline::parse(text).is_ok_and(|other| other.usable(&self.boot, self.at).is_ok())
        });
        match self.file.write(&self.stored, &baseline.to_string()) {
            Ok(unfinished) => Ok(Some(Written {
                file: self.file,
                stored: self.stored,
                unfinished,
                boot: self.boot,
                at: self.at,
            })),
            Err(reason) => Err(ReadError::StateNotWritten {
                path: shown(&self.directory),
                reason,
            }),
        }
    }
}

impl Written {
    /// Puts the state in its place: to be done when this run has reported what it found, so that a run which is ended
    /// before that takes nothing away from the next. The state of a later run, which ended before this one, stays: it
    /// has reported all that this one has.
    pub fn keep(self) {
        let by_a_later_run = match self.file.read() {
            Ok(stored) if stored == self.stored => false,
            Ok(Stored::Text(text)) => Baseline::parse(&text)
                .is_ok_and(|now| now.boot == self.boot && now.at() >= Some(self.at)),
            _ => false,
        };
        if by_a_later_run {
            self.file.discard(&self.unfinished);
        } else {
            // an error leaves the old state, with which the next run reports the same losses once more
            let _ = self.file.replace(&self.unfinished);
        }
    }
}
