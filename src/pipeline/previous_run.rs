//! Compares this run with the previous one of the same service, and keeps what it read for the next one: the order of
//! reading the state file, judging and writing it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::judge::history::{Baseline, MAX_BASELINE_AGE, NetnsSnapshot, Snapshot};
use crate::model::error::{NoBaseline, NoState, ReadError};
use crate::model::netns::{Compared, Namespace, NetnsId, Walk};
use crate::model::readings::Reading;
use crate::model::text::{clean, clean_path};
use crate::runtime::state_file::{StateDirectory, StateFile, StateKey, StoredState, Unfinished};
use crate::source::procfs::boot;
use crate::source::procfs::netns_id::{self, CookieOf};

/// The service whose state is meant, and the circumstances of its run.
#[derive(Debug, Clone, Copy)]
pub struct CheckedService<'a> {
    /// The directory of the state.
    pub directory: &'a Path,
    /// False in a setuid or setgid program, which would write the state as a user that its caller is not.
    pub writes: bool,
    /// The procfs.
    pub proc_root: &'a Path,
    /// The command line that the state belongs to.
    pub command_line: &'a str,
    /// True if the state is about all network namespaces.
    pub all: bool,
    /// The extent of the walk over the processes.
    pub walk: Walk,
    /// Asks for the cookie of the own network namespace, if the proc root is the live one.
    pub cookie_of: Option<CookieOf>,
}

/// The state for the next run, to be written once this run has read everything.
#[derive(Debug)]
pub struct NextState {
    file: StateFile,
    directory: PathBuf,
    stored: StoredState,
    boot: String,
    at: Duration,
    /// None if this run adds nothing to the stored state.
    baseline: Option<Baseline>,
}

/// The state for the next run, written, but not in its place yet.
#[derive(Debug)]
#[must_use]
pub struct Written {
    file: StateFile,
    /// The state that stood there when this run began.
    stored: StoredState,
    unfinished: Unfinished,
    boot: String,
    at: Duration,
}

/// The namespaces beside what the previous run read of them.
#[derive(Debug)]
pub struct Comparison {
    /// The namespace of this process.
    pub own: Compared,
    /// The others.
    pub others: Vec<Compared>,
    /// The state for the next run, if one can be kept.
    pub next: Option<NextState>,
    /// The moment of this run, if it was needed.
    pub moment: Option<Moment>,
}

/// The boot, the time and the network namespace of a run.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The boot of the host (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// The time since the host was started.
    pub at: Duration,
    /// The number of the network namespace of this process.
    pub id: Reading<NetnsId>,
}

impl Comparison {
    /// The same namespaces, none of which is compared.
    fn failed(own: Namespace, others: Vec<Namespace>, why: &ReadError) -> Self {
        let failed = |namespace| Compared {
            namespace,
            change: Err(why.clone()),
        };
        Self {
            own: failed(own),
            others: others.into_iter().map(failed).collect(),
            next: None,
            moment: None,
        }
    }
}

/// Compares each namespace with what the previous run read of it.
pub fn compare(service: CheckedService<'_>, own: Namespace, others: Vec<Namespace>) -> Comparison {
    if own.readings.capture {
        return Comparison::failed(own, others, &ReadError::NoPreviousCapture);
    }
    let (next, own_id) = match open(service, &own) {
        Ok(opened) => opened,
        Err(problem) => {
            let path = shown(service.directory);
            return Comparison::failed(own, others, &ReadError::NoState { path, problem });
        }
    };
    let previous = match &next.stored {
        StoredState::Text(text) => Baseline::parse(text),
        StoredState::Foreign => Err(NoBaseline::Foreign),
        StoredState::Nothing => Err(NoBaseline::FirstRun),
    };
    let numbered = others.iter().map(|other| (&other.id, &other.readings));
    let all = std::iter::once((&own_id, &own.readings)).chain(numbered);
    let run = Snapshot::of(next.boot.clone(), next.at, service.walk, all);
    let moment = Moment {
        boot: next.boot.clone(),
        at: next.at,
        id: own_id.clone(),
    };
    let compared = |namespace: Namespace, id: &Reading<NetnsId>| {
        let readings = &namespace.readings;
        let change = match (&readings.count, id, &previous) {
            (Err(why), ..) | (_, Err(why), _) => Err(why.clone()),
            (_, _, Err(why)) => Err(ReadError::NoBaseline { why: *why }),
            (Ok(_), Ok(id), Ok(previous)) => NetnsSnapshot::of(run.at, readings)
                .ok_or(ReadError::NotReached)
                .and_then(|now| previous.change(&run, *id, &now)),
        };
        Compared { namespace, change }
    };
    Comparison {
        own: compared(own, &own_id),
        others: others
            .into_iter()
            .map(|other| {
                let id = other.id.clone();
                compared(other, &id)
            })
            .collect(),
        next: Some(NextState {
            baseline: Baseline::succeeded_by(previous.as_ref().ok(), &run),
            ..next
        }),
        moment: Some(moment),
    }
}

/// Reads the state of the previous run, the boot and the time, and the number of the own namespace.
///
/// # Errors
/// Also if something could not be read that may be read the next time: as a first run this run would take the baseline
/// of the next one away.
fn open(
    service: CheckedService<'_>,
    own: &Namespace,
) -> Result<(NextState, Reading<NetnsId>), NoState> {
    if !service.writes {
        return Err(NoState::AnotherUser);
    }
    let directory = StateDirectory::open(service.directory)?;
    let boot = boot::boot_id(service.proc_root)?;
    let at = boot::uptime(service.proc_root)?;
    // a walk has numbered all of them in another way
    let own_id = if service.walk == Walk::NotDone {
        let id = netns_id::own(service.proc_root, service.cookie_of);
        Ok(id.map_err(|error| NoState::Io {
            reason: clean(&error.to_string()),
        })?)
    } else {
        own.id.clone()
    };
    let netns = own_id.as_ref().ok().copied();
    let file = directory.file(StateKey {
        netns: netns.filter(|_| !service.all && service.walk == Walk::NotDone),
        proc_root: service.proc_root,
        service: service.command_line,
    });
    let next = NextState {
        stored: file.read()?,
        file,
        directory: service.directory.to_owned(),
        boot,
        at,
        baseline: None,
    };
    Ok((next, own_id))
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
            Ok(StoredState::Text(text)) => Baseline::parse(&text)
                .is_ok_and(|now| now.boot == self.boot && now.at() >= Some(self.at)),
            _ => false,
        };
        if by_a_later_run {
            self.file.discard(&self.unfinished);
        } else {
            // if that fails the next run reports the same losses once more
            self.file.replace(&self.unfinished);
        }
    }
}
