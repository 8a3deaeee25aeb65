//! The directories of the recorder: who may write there, and which recordings are in them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::error::NoState;
use crate::model::no_recording::NoRecorder;
use crate::recording::Recording;
use crate::recording::incidents::is_incident;
use crate::runtime::kept_files::KeptFiles;
use crate::source::file;
use crate::source::recording::{is_of_another_namespace, open};

/// The lock in the directory of the recording.
const LOCK: &str = "lock";
/// The directory in the state directory.
const INCIDENTS: &str = "incidents";
/// Files about incidents that are kept.
const MAX_FILES: usize = 20;

/// The directories.
pub(super) struct Files {
    directory: KeptFiles,
    /// The path of that directory.
    path: PathBuf,
    /// The directory of the incidents, and its path.
    incidents: Result<(KeptFiles, PathBuf), String>,
    /// Held as long as the recorder lives.
    _lock: File,
}

impl Files {
    /// Opens the directories, and locks the one of the recording.
    ///
    /// # Errors
    /// The reason why nothing can be recorded there.
    pub(super) fn open(directory: &Path, state: &Path) -> Result<Self, NoRecorder> {
        let path = file::shown(directory);
        let of = |problem| NoRecorder::Directory {
            path: path.clone(),
            problem,
        };
        let opened = KeptFiles::open(directory).map_err(of)?;
        if !opened.is_private() {
            return Err(NoRecorder::Shared { path });
        }
        let lock = opened
            .lock(LOCK)
            .map_err(|reason| of(NoState::Io { reason }))?;
        let lock = lock.ok_or(NoRecorder::Running { path: path.clone() })?;
        let incidents = KeptFiles::open(state)
            .map_err(|problem| format!("{} {problem}", file::shown(state)))
            .and_then(|state| state.within(INCIDENTS))
            .map(|incidents| (incidents, state.join(INCIDENTS)));
        Ok(Self {
            directory: opened,
            path: directory.to_owned(),
            incidents,
            _lock: lock,
        })
    }

    /// The recording that a recorder before this one left in the file, if it is of the same boot and namespace as the
    /// new one; else the new one.
    pub(super) fn continued(&self, name: &str, new: Recording, now: Duration) -> Recording {
        let stored = open(&self.path, name).and_then(|(mut recording, rest)| {
            rest.add_rest(&mut recording)?;
            Ok(recording)
        });
        match stored {
            Ok(old)
                if old.boot == new.boot
                    && old.namespaces == new.namespaces
                    && old.at().is_some_and(|at| at <= now) =>
            {
                Recording {
                    period: new.period,
                    spaced: None,
                    unread: None,
                    ..old
                }
            }
            _ => new,
        }
    }

    /// Replaces a recording.
    ///
    /// # Errors
    /// The system's words.
    pub(super) fn keep_recording(&self, name: &str, recording: &Recording) -> Result<(), String> {
        self.directory.replace(name, &recording.to_text())
    }

    /// Removes the recordings of other network namespaces but for those that have one of these names.
    pub(super) fn remove_recordings(&self, is_kept: impl Fn(&str) -> bool) {
        self.directory
            .remove(|name| is_of_another_namespace(name) && !is_kept(name));
    }

    /// The path of a file about an incident.
    ///
    /// # Errors
    /// The reason why there is no directory for it.
    pub(super) fn incident_path(&self, name: &str) -> Result<PathBuf, String> {
        match &self.incidents {
            Ok((_, path)) => Ok(path.join(name)),
            Err(why) => Err(why.clone()),
        }
    }

    /// Writes a file about an incident, and removes the oldest ones.
    ///
    /// # Errors
    /// The system's words.
    pub(super) fn keep_incident(&self, name: &str, text: &str) -> Result<(), String> {
        let (directory, _) = self.incidents.as_ref().map_err(Clone::clone)?;
        let written = directory.replace(name, text);
        directory.remove_oldest(MAX_FILES, is_incident);
        written
    }
}
