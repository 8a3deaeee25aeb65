//! The files that the recorder writes: replaced as a whole, readable by the group, never through a symbolic link.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{geteuid, umask};

use super::state_file::StateDirectory;
use crate::model::error::NoState;
use crate::model::text::clean;

/// The mode of a file: its group is the one of the monitoring agent.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);
/// The mode of a directory.
const DIRECTORY_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);

/// A directory of the recorder, open.
#[derive(Debug)]
pub struct KeptFiles(OwnedFd);

impl KeptFiles {
    /// Opens the directory if this user may write to it. From now on no file is made for users outside the group. A symbolic link in its place is not followed.
    ///
    /// # Errors
    /// The reason for which it cannot be used.
    pub fn open(path: &Path) -> Result<Self, NoState> {
        umask(Mode::WGRP | Mode::RWXO);
        Ok(Self(StateDirectory::open(path)?.into_descriptor()))
    }

    /// Opens a directory in this one, which is made if it is missing.
    ///
    /// # Errors
    /// The system's words.
    pub fn within(&self, name: &str) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || retry_on_intr(|| openat(&self.0, name, flags, Mode::empty()));
        let opened = match open() {
            Err(Errno::NOENT) => {
                mkdirat(&self.0, name, DIRECTORY_MODE).map_err(reason)?;
                open().map_err(reason)?
            }
            opened => opened.map_err(reason)?,
        };
        Ok(Self(opened))
    }

    /// True if only this user may write to the directory, so that nobody puts another file in the place of one of ours.
    pub fn is_private(&self) -> bool {
        let others = Mode::WGRP | Mode::WOTH;
        fstat(&self.0).is_ok_and(|stat| {
            stat.st_uid == geteuid().as_raw()
                && !Mode::from_raw_mode(stat.st_mode).intersects(others)
        })
    }

    /// Locks the directory until the file that is returned is closed; none if another process has locked it.
    ///
    /// # Errors
    /// The system's words.
    pub fn lock(&self, name: &str) -> Result<Option<File>, String> {
        // not open for writing, so that the file system may become read-only
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let lock = retry_on_intr(|| openat(&self.0, name, flags, mode)).map_err(reason)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(File::from(lock))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(reason(error)),
        }
    }

    /// Puts a file with this text in the place of the one of this name. A reader finds the old file or the new one,
    /// whole. If that fails the old file stays.
    ///
    /// # Errors
    /// The system's words.
    pub fn replace(&self, name: &str, text: &str) -> Result<(), String> {
        let unfinished = format!(".{name}.new");
        // left over from a recorder that was killed
        self.unlink(&unfinished);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| openat(&self.0, unfinished.as_str(), flags, FILE_MODE));
        let mut file = File::from(file.map_err(reason)?);
        let written = file
            .write_all(text.as_bytes())
            .map_err(|error| clean(&error.to_string()))
            .and_then(|()| renameat(&self.0, &unfinished, &self.0, name).map_err(reason));
        if written.is_err() {
            // on a full disk the next attempt needs its room
            self.unlink(&unfinished);
        }
        written
    }

    /// Removes all but the last `kept` files whose name `is_ours` accepts, in the order of their names.
    pub fn remove_oldest(&self, kept: usize, is_ours: impl Fn(&str) -> bool) {
        let mut ours = self.names(is_ours);
        ours.sort_unstable();
        ours.truncate(ours.len().saturating_sub(kept));
        for name in ours {
            self.unlink(&name);
        }
    }

    /// Removes all files whose name `is_unwanted` accepts.
    pub fn remove(&self, is_unwanted: impl Fn(&str) -> bool) {
        for name in self.names(is_unwanted) {
            self.unlink(&name);
        }
    }

    /// The names in the directory that are accepted.
    fn names(&self, is_accepted: impl Fn(&str) -> bool) -> Vec<String> {
        let Ok(entries) = Dir::read_from(&self.0) else {
            return Vec::new();
        };
        let names = entries.flatten();
        let names = names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| is_accepted(name)).collect()
    }

    fn unlink(&self, name: &str) {
        let _ = unlinkat(&self.0, name, AtFlags::empty());
    }
}

fn reason(error: Errno) -> String {
    clean(&error.to_string())
}
