//! Reads what the recorder wrote: a file that belongs to root or to the user of this check, and that nobody else may write.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use super::file;
use crate::model::error::{NoRecording, ReadError};
use crate::model::netns::NetnsId;
use crate::model::text::clean;
use crate::recording::Recording;
use crate::recording::format::MAX_BYTES;

/// The file of the network namespace that the recorder runs in.
pub const OWN_FILE: &str = "recording";

/// The name of the file of another network namespace.
pub fn file_of(namespace: NetnsId) -> String {
    format!("{OWN_FILE}-{}", namespace.to_string().replace(' ', "-"))
}

/// The directory of the recordings, open.
#[derive(Debug)]
pub struct Directory<'a> {
    path: &'a Path,
    directory: OwnedFd,
}

impl<'a> Directory<'a> {
    /// Opens the directory. Somebody else who may write to it could put another file in the place of a recording.
    ///
    /// # Errors
    /// [`ReadError::NoRecording`].
    pub fn open(path: &'a Path) -> Result<Self, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || retry_on_intr(|| openat(CWD, path, flags, Mode::empty()));
        let opened = open().map_err(problem).and_then(|directory| {
            is_trusted(&fstat(&directory).map_err(problem)?)?;
            Ok(directory)
        });
        match opened {
            Ok(directory) => Ok(Self { path, directory }),
            Err(problem) => Err(no_recording(path, problem)),
        }
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// [`ReadError::NoRecording`].
    pub fn read(&self, name: &str) -> Result<Recording, ReadError> {
        self.text(name)
            .and_then(|text| Recording::parse(&text))
            .map_err(|problem| no_recording(&self.path.join(name), problem))
    }

    fn text(&self, name: &str) -> Result<String, NoRecording> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || openat(&self.directory, name, flags, Mode::empty());
        let recording = match retry_on_intr(open) {
            Ok(recording) => recording,
            Err(Errno::LOOP | Errno::NXIO) => return Err(NoRecording::NotAFile),
            Err(error) => return Err(problem(error)),
        };
        let stat = fstat(&recording).map_err(problem)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(NoRecording::NotAFile);
        }
        is_trusted(&stat)?;
        let bytes = file::contents(File::from(recording), self.path, MAX_BYTES);
        match bytes {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| NoRecording::Damaged),
            Err(ReadError::Empty { .. } | ReadError::TooLong { .. }) => Err(NoRecording::Damaged),
            Err(error) => Err(NoRecording::Io {
                reason: clean(&error.to_string()),
            }),
        }
    }
}

fn no_recording(path: &Path, problem: NoRecording) -> ReadError {
    ReadError::NoRecording {
        path: file::shown(path),
        problem,
    }
}

fn problem(error: Errno) -> NoRecording {
    match error {
        Errno::NOENT => NoRecording::Missing,
        Errno::ACCESS | Errno::PERM => NoRecording::Denied,
        Errno::NOTDIR => NoRecording::NotAFile,
        error => NoRecording::Io {
            reason: clean(&error.to_string()),
        },
    }
}

/// Whether a file or directory is of root or of the own user, and only its owner may write it.
fn is_trusted(stat: &Stat) -> Result<(), NoRecording> {
    let uid = stat.st_uid;
    if uid != 0 && uid != geteuid().as_raw() {
        return Err(NoRecording::Foreign { uid });
    }
    let others = Mode::WGRP | Mode::WOTH;
    if Mode::from_raw_mode(stat.st_mode).intersects(others) {
        return Err(NoRecording::Writable);
    }
    Ok(())
}
