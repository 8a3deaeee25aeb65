//! Reads what the recorder wrote: a file that belongs to root or to the user of this check, and that nobody else may write.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use super::file;
use crate::model::error::ReadError;
use crate::model::netns::NetnsId;
use crate::model::no_recording::NoRecording;
use crate::model::text::clean;
use crate::recording::format::MAX_BYTES;
use crate::recording::{Recording, head};

/// The file of the network namespace that the recorder runs in.
pub const OWN_FILE: &str = "recording";
/// Bytes that are read at once: the first part of most recordings.
const CHUNK: usize = 4096;

/// The beginning of the name of the file of another network namespace.
const OTHER_FILE: &str = "recording-";

/// The name of the file of another network namespace.
pub fn file_of(namespace: NetnsId) -> String {
    format!("{OTHER_FILE}{}", namespace.to_string().replace(' ', "-"))
}

/// True if a name is that of the file of another network namespace.
pub fn is_of_another_namespace(name: &str) -> bool {
    let namespace = name.strip_prefix(OTHER_FILE);
    namespace.is_some_and(|id| NetnsId::parse(&id.replacen('-', " ", 1)).is_some())
}

/// A recording that is open: a recorder that replaces the file meanwhile changes nothing in it.
#[derive(Debug)]
pub struct OpenRecording {
    path: PathBuf,
    file: File,
    /// The text that was read, not all of it as long as only the first part was wanted.
    text: String,
    /// The length of the first part.
    first: usize,
}

/// Opens a recording and reads its first part.
///
/// # Errors
/// [`ReadError::NoRecording`].
pub fn open(directory: &Path, name: &str) -> Result<(Recording, OpenRecording), ReadError> {
    let opened = directory_of(directory).map_err(|problem| no_recording(directory, problem))?;
    let path = directory.join(name);
    let head = || {
        let mut stored = OpenRecording {
            path: path.clone(),
            file: trusted_file(&opened, name)?,
            text: String::new(),
            first: 0,
        };
        stored.first = stored.read_first()?;
        let head = stored.text.get(..stored.first).unwrap_or_default();
        Ok((Recording::parse_head(head)?, stored))
    };
    head().map_err(|problem| no_recording(&path, problem))
}

impl OpenRecording {
    /// Adds the second part to the recording that [`open`] returned.
    ///
    /// # Errors
    /// [`ReadError::NoRecording`].
    pub fn add_rest(mut self, recording: &mut Recording) -> Result<(), ReadError> {
        let mut add = || {
            while self.read_more()? {}
            recording.add_rest(self.text.get(self.first..).unwrap_or_default())
        };
        add().map_err(|problem| no_recording(&self.path, problem))
    }

    /// Reads until the first part is there, and returns its length.
    fn read_first(&mut self) -> Result<usize, NoRecording> {
        loop {
            if let Some(first) = head(&self.text) {
                return Ok(first.len());
            }
            if !self.read_more()? {
                return Ok(self.text.len());
            }
        }
    }

    /// Reads some more of the file. False at its end.
    fn read_more(&mut self) -> Result<bool, NoRecording> {
        let mut bytes = Vec::with_capacity(CHUNK);
        let read = retry_on_intr(|| rustix::io::read(&self.file, spare_capacity(&mut bytes)));
        read.map_err(problem)?;
        let more = std::str::from_utf8(&bytes).map_err(|_| NoRecording::Damaged)?;
        self.text.push_str(more);
        if self.text.len() > MAX_BYTES {
            return Err(NoRecording::Damaged);
        }
        Ok(!more.is_empty())
    }
}

/// Opens the directory. Another user who may write to it could put another file in the place of a recording.
fn directory_of(path: &Path) -> Result<OwnedFd, NoRecording> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = retry_on_intr(|| openat(CWD, path, flags, Mode::empty())).map_err(problem)?;
    is_trusted(&fstat(&directory).map_err(problem)?)?;
    Ok(directory)
}

/// Opens a file of the directory that only a trusted user can have written.
fn trusted_file(directory: &OwnedFd, name: &str) -> Result<File, NoRecording> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let recording = match retry_on_intr(|| openat(directory, name, flags, Mode::empty())) {
        Ok(recording) => recording,
        Err(Errno::LOOP | Errno::NXIO) => return Err(NoRecording::NotAFile),
        Err(error) => return Err(problem(error)),
    };
    let stat = fstat(&recording).map_err(problem)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(NoRecording::NotAFile);
    }
    is_trusted(&stat)?;
    Ok(File::from(recording))
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

/// True if a file or directory is of root or of the own user, and only its owner may write it.
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
