//! The state directory and the files of this user in it: opened, read, replaced and removed. The one place that writes.
//!
//! Each service has a file of its own. Nothing is locked while a run lasts: a run reads the file, writes the next one
//! beside it under a name that did not exist before, and renames it. A reader finds the old file or the new one, whole,
//! and no other process can make a run wait. Nothing is written through a symbolic link, and nothing is read that this
//! user did not write.
//!
//! The file is not synced to the disk: it is of no use after the next boot.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat, accessat, flock,
    fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use crate::model::error::NoState;
use crate::model::netns::NetnsId;
use crate::model::text::clean;

/// The beginning of the names of all our files.
const PREFIX: &str = "check_conntrack-";
/// The end of the name of a file until it is whole.
const UNFINISHED: &str = ".new";
/// So many files are made at most until another run leaves one alone.
const ATTEMPTS: usize = 4;
/// Thousands of processors in hundreds of namespaces; what is longer is none of ours.
const MAX_BYTES: u64 = 16 << 20;

/// The facts that tell the state of one service from that of another.
#[derive(Debug, Clone, Copy)]
pub struct StateKey<'a> {
    /// The network namespace; none if the state is about all of them.
    pub netns: Option<NetnsId>,
    /// The procfs.
    pub proc_root: &'a Path,
    /// The command line.
    pub service: &'a str,
}

impl StateKey<'_> {
    /// The name of the file in the directory. Everything that tells it from another service is in the hash, the user
    /// too.
    fn file_name(&self) -> String {
        // std may choose another hash one day: then an update of this check makes one first run
        let mut hasher = DefaultHasher::new();
        let user = geteuid().as_raw();
        let key = format!("{:?}", (user, self.netns, self.proc_root, self.service));
        hasher.write(key.as_bytes());
        format!("{PREFIX}{:016x}", hasher.finish())
    }
}

/// The content of the place of a state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredState {
    /// No file.
    Nothing,
    /// A file, or something else, that this user did not write.
    Foreign,
    /// The text of the file; empty if it is not text.
    Text(String),
}

/// The directory for the state, open.
#[derive(Debug)]
pub struct StateDirectory(OwnedFd);

impl StateDirectory {
    /// Opens the directory if this user may write to it. A symbolic link in its place is not followed.
    ///
    /// # Errors
    /// The reason for which it cannot be used.
    pub fn open(path: &Path) -> Result<Self, NoState> {
        let path = without_trailing_slash(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let usable = || {
            let directory = retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))?;
            // by the effective user, as it will be used
            let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            accessat(&directory, ".", access, AtFlags::EACCESS)?;
            Ok(directory)
        };
        usable().map(Self).map_err(|error| match error {
            Errno::NOENT => NoState::Missing,
            Errno::NOTDIR | Errno::LOOP => NoState::NotADirectory,
            Errno::ACCESS | Errno::PERM => NoState::Denied,
            error => NoState::Io {
                reason: reason(error),
            },
        })
    }

    /// The open directory.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Returns the file of a service, whether it exists or not.
    pub fn file(self, key: StateKey<'_>) -> StateFile {
        StateFile {
            directory: self.0,
            name: key.file_name(),
        }
    }
}

/// Returns a path whose last component is the name of the directory. With a slash or a dot after it the kernel would
/// follow a symbolic link of that name (path_resolution(7)).
fn without_trailing_slash(path: &Path) -> Result<&Path, NoState> {
    let mut bytes = path.as_os_str().as_bytes();
    while let [rest @ .., b'/', b'.'] | [rest @ .., b'/'] = bytes {
        if rest.is_empty() {
            break;
        }
        bytes = rest;
    }
    if bytes == b".." || bytes.ends_with(b"/..") {
        return Err(NoState::EndsInParent);
    }
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// The state file of one service.
#[derive(Debug)]
pub struct StateFile {
    directory: OwnedFd,
    name: String,
}

impl StateFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The system could not read it this time.
    pub fn read(&self) -> Result<StoredState, NoState> {
        load(&self.directory, &self.name).map_err(|error| NoState::Io {
            reason: reason(error),
        })
    }

    /// Writes the next state to a file beside it that did not exist before. Something of another user in its place is
    /// taken away first: whoever may not do that may not put another file there either.
    ///
    /// # Errors
    /// The system's words.
    pub fn write(&self, stored: &StoredState, text: &str) -> Result<Unfinished, String> {
        if *stored == StoredState::Foreign {
            remove(&self.directory, &self.name).map_err(reason)?;
        }
        let (name, mut file) = self.new_file().map_err(reason)?;
        if let Err(error) = file.write_all(text.as_bytes()) {
            // on a full disk the next run needs its room
            let _ = remove(&self.directory, &name);
            return Err(clean(&error.to_string()));
        }
        Ok(Unfinished { name, _lock: file })
    }

    /// Makes a locked file, which no other run removes. Another run removes an unlocked file as left over, and a file is
    /// unlocked until this run comes to lock it. If another run was quicker this run makes another file.
    fn new_file(&self) -> Result<(String, File), Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        for _ in 0..ATTEMPTS {
            // a number that nobody guesses, and no other run has
            let random = RandomState::new().hash_one(());
            let name = format!("{}-{random:016x}{UNFINISHED}", self.name);
            let file = retry_on_intr(|| openat(&self.directory, &name, flags, mode))?;
            // without locks in the file system no run removes a file
            let is_being_removed = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(error) => error == Errno::WOULDBLOCK,
                Ok(()) => fstat(&file)?.st_nlink == 0,
            };
            if !is_being_removed {
                return Ok((name, File::from(file)));
            }
            // the other run may have ended before it removed the file
            remove(&self.directory, &name)?;
        }
        Err(Errno::AGAIN)
    }

    /// Puts a written state in the place of the file. If that fails the file stays as it was, and a later run removes
    /// what was written.
    pub fn replace(&self, unfinished: &Unfinished) {
        let (directory, new) = (&self.directory, &unfinished.name);
        let _ = renameat(directory, new, directory, &self.name);
    }

    /// Removes a written state that is not to be put in place.
    pub fn discard(&self, unfinished: &Unfinished) {
        let _ = remove(&self.directory, &unfinished.name);
    }

    /// Removes files of this user that no run writes any more, and those that were not written for `max_age` and that
    /// `is_in_use` does not want to keep. A file that cannot be removed is left.
    pub fn remove_unused(&self, max_age: Duration, is_in_use: impl Fn(&str) -> bool) {
        let Ok(entries) = Dir::read_from(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let unused = match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if !is_ours(&stat) => false,
                Ok(_) if key.ends_with(UNFINISHED) => is_left_over(&self.directory, name),
                // somebody may have set the clock, so its age alone says little
                Ok(stat) if is_old(&stat, max_age) => match load(&self.directory, name) {
                    Ok(StoredState::Text(text)) => !is_in_use(&text),
                    _ => false,
                },
                _ => false,
            };
            if unused {
                let _ = remove(&self.directory, name);
            }
        }
    }
}

/// A state that is written but not yet in its place. No run removes it while this exists.
#[derive(Debug)]
#[must_use]
pub struct Unfinished {
    name: String,
    /// The lock ends when the file is closed.
    _lock: File,
}

/// Reads a file of this user.
fn load(directory: &OwnedFd, name: &str) -> Result<StoredState, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(directory, name, flags, Mode::empty())) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(StoredState::Nothing),
        // our own, refused this time
        Err(error @ (Errno::ACCESS | Errno::PERM))
            if statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| is_ours(&stat)) =>
        {
            return Err(error);
        }
        // a symbolic link, a socket, somebody else's file
        Err(Errno::LOOP | Errno::NXIO | Errno::ACCESS | Errno::PERM) => {
            return Ok(StoredState::Foreign);
        }
        Err(error) => return Err(error),
    };
    if !is_ours(&fstat(&file)?) {
        return Ok(StoredState::Foreign);
    }
    // one read for most of them
    let mut bytes = Vec::with_capacity(4096);
    File::from(file)
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(StoredState::Text(
        String::from_utf8(bytes).unwrap_or_default(),
    ))
}

fn remove(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Returns true for a file of this user.
fn is_ours(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_uid == geteuid().as_raw()
}

/// Returns true if the run that wrote this file has ended.
fn is_left_over(directory: &OwnedFd, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty());
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// Returns true if the clock says that the file was not written for this time.
fn is_old(stat: &Stat, max_age: Duration) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let written = u64::try_from(stat.st_mtime).unwrap_or_default();
    now.as_secs().saturating_sub(written) > max_age.as_secs()
}

fn reason(error: Errno) -> String {
    clean(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_in_the_name_of_the_directory() {
        for (typed, opened) in [
            ("/var/lib/x", "/var/lib/x"),
            ("/var/lib/x/", "/var/lib/x"),
            ("/var/lib/x//", "/var/lib/x"),
            ("/var/lib/x/.", "/var/lib/x"),
            ("/var/lib/x//.//./", "/var/lib/x"),
            ("/var/lib/x/..name", "/var/lib/x/..name"),
            ("/var/lib/x.", "/var/lib/x."),
            ("x/", "x"),
            ("./", "."),
            (".", "."),
            ("/", "/"),
            ("//", "/"),
            ("/.", "/."),
            ("", ""),
        ] {
            let path = without_trailing_slash(Path::new(typed));
            assert_eq!(path, Ok(Path::new(opened)), "{typed:?}");
        }
        for parent in ["..", "../", "x/..", "x/../", "x/../.", "/x/..//"] {
            let path = without_trailing_slash(Path::new(parent));
            assert_eq!(path, Err(NoState::EndsInParent), "{parent:?}");
        }
    }
}
