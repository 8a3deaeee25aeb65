//! The state of the previous run: read, compared with, and written for the next one. The one place that writes.
//!
//! A file for each user, namespace, proc root and command line, so that two services on one host never take each
//! other's baseline. It is written to a file beside it that did not exist before, synced and renamed, so that whoever
//! reads it finds the old one or the new one, whole. Nothing is written through a symbolic link, and nothing is read
//! that this user did not write.
//!
//! Writers lock the directory. A file that a killed writer left is known to be nobody's then, and taken away.

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, Stat, accessat, flock, fstat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use crate::judge::history::{Baseline, Run, Space, TOO_OLD};
use crate::model::error::{FirstRun, NoState, ReadError};
use crate::model::netns::{Identity, Namespace};
use crate::model::text::{clean, clean_path};
use crate::source::file;
use crate::source::procfs::netns::{self, CookieOf};

/// What all our files begin with.
const PREFIX: &str = "check_conntrack-";
/// What a file is called until it is whole.
const UNFINISHED: &str = ".new";
/// Thousands of processors in hundreds of namespaces; what is longer is none of ours.
const LONGEST: u64 = 16 << 20;
/// How long to wait for another writer, and between two looks.
const PATIENCE: Duration = Duration::from_millis(200);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Which state is meant.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where it is kept.
    pub directory: &'a Path,
    /// Whether it is used at all: not where a user would write whom the caller is not.
    pub writes: bool,
    /// Where procfs is.
    pub proc_root: &'a Path,
    /// The command line that it belongs to.
    pub service: &'a str,
    /// Whether it is about all namespaces and not only that of this process.
    pub all: bool,
    /// Asks for the cookie of a network namespace, where the proc root is the live one.
    pub cookie_of: Option<CookieOf>,
}

/// The state for the next run, to be kept once this one has said what it has to say.
#[derive(Debug)]
pub struct State {
    directory: OwnedFd,
    path: PathBuf,
    name: String,
    /// Whether something stands in the place of the file that this user did not write.
    foreign: bool,
    boot: String,
    at: u64,
    next: Option<Baseline>,
}

/// The state for the next run, written, but not in its place yet.
#[derive(Debug)]
#[must_use]
pub struct Written {
    directory: OwnedFd,
    unfinished: String,
    name: String,
}

impl Written {
    /// Puts it in its place: to be done when this run has told what it found, so that a run which is ended before that
    /// takes nothing away from the next. What can go wrong with it has been tried before.
    pub fn keep(self) {
        let _ = renameat(
            &self.directory,
            &self.unfinished,
            &self.directory,
            &self.name,
        );
    }
}

/// Compares each namespace with what the previous run read of it. None where there is nothing to keep for the next.
pub fn compare(wanted: Wanted<'_>, namespaces: &mut [Namespace]) -> Option<State> {
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
    let opened = if wanted.writes {
        open(wanted)
    } else {
        Err(NoState::AnotherUser)
    };
    let Opened {
        directory,
        boot,
        at,
        identity,
        name,
        previous,
    } = match opened {
        Ok(opened) => opened,
        Err(problem) => {
            let path = file::shown(wanted.directory);
            fail(namespaces, ReadError::NoState { path, problem });
            return None;
        }
    };
    if let Some(namespace) = namespaces.iter_mut().find(|namespace| namespace.own) {
        namespace.identity = identity;
    }
    let known = |identity| {
        let previous = previous.as_ref().ok()?;
        previous.last_of(&boot, at, identity)
    };
    let mut spaces = Vec::new();
    let mut missing = false;
    for namespace in namespaces {
        let Some(mut space) = Space::of(namespace.identity, &namespace.readings) else {
            if let Err(why) = &namespace.readings.count {
                namespace.readings.change = Err(why.clone());
            }
            missing |= known(namespace.identity).is_some();
            continue;
        };
        namespace.readings.change = previous
            .as_ref()
            .map_err(|why| *why)
            .and_then(|previous| previous.change(&boot, at, &space))
            .map_err(|why| ReadError::FirstRun { why });
        if space.statistics.is_none() {
            // what was lost meanwhile is for the next run that can read them
            space.statistics = known(namespace.identity).and_then(|last| last.statistics.clone());
        }
        spaces.push(space);
    }
    // a run that read nothing, or not all, must not take away the baseline of the next
    let next = if spaces.is_empty() || missing {
        None
    } else {
        Baseline::succeeded_by(previous.as_ref().ok(), &boot, Run { at, spaces })
    };
    Some(State {
        directory,
        path: wanted.directory.to_owned(),
        name,
        foreign: matches!(previous, Err(FirstRun::Foreign)),
        boot,
        at,
        next,
    })
}

/// What there is to compare with, and where the next is to be kept.
struct Opened {
    directory: OwnedFd,
    boot: String,
    at: u64,
    identity: Identity,
    name: String,
    previous: Result<Baseline, FirstRun>,
}

/// Opens the directory and reads what the previous run left.
///
/// # Errors
/// Also where something could not be read that may be read the next time: as a first run this one would take its
/// baseline away.
fn open(wanted: Wanted<'_>) -> Result<Opened, NoState> {
    let failed = |error: Errno| NoState::Io {
        reason: clean(&error.to_string()),
    };
    let directory = open_directory(wanted.directory)?;
    let boot = boot(wanted.proc_root)?;
    let at = uptime(wanted.proc_root)?;
    let identity = netns::identity(wanted.proc_root, wanted.cookie_of).map_err(failed)?;
    let name = name(wanted, identity);
    let previous = match load(&directory, &name) {
        Ok(previous) => Ok(previous),
        Err(Unread::Known(why)) => Err(why),
        Err(Unread::Failed(error)) => return Err(failed(error)),
    };
    Ok(Opened {
        directory,
        boot,
        at,
        identity,
        name,
        previous,
    })
}

impl State {
    /// Writes the state for the next run, unless another writer keeps the directory locked or this run follows the
    /// previous one too closely.
    ///
    /// # Errors
    /// [`ReadError::StateNotWritten`].
    pub fn write(self) -> Result<Option<Written>, ReadError> {
        let Some(next) = &self.next else {
            return Ok(None);
        };
        let failed = |error: Errno| ReadError::StateNotWritten {
            path: clean_path(&self.path.to_string_lossy()),
            reason: clean(&error.to_string()),
        };
        if !self.lock().map_err(failed)? {
            return Ok(None);
        }
        self.remove_unused();
        let unfinished = self.write_beside(&next.to_string()).map_err(failed)?;
        Ok(Some(Written {
            directory: self.directory,
            unfinished,
            name: self.name,
        }))
    }

    /// Locks the directory; false when somebody else has it for too long. The lock ends with the process.
    #[expect(clippy::disallowed_methods, reason = "flock(2) has no time limit")]
    fn lock(&self) -> Result<bool, Errno> {
        let begin = Instant::now();
        loop {
            match flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK | Errno::INTR) if begin.elapsed() < PATIENCE => {
                    std::thread::sleep(BETWEEN_LOOKS);
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(false),
                // a file system without locks: then there is no other writer to wait for either
                Err(Errno::NOLCK | Errno::OPNOTSUPP) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes to a file beside it that did not exist before, and tells its name.
    fn write_beside(&self, text: &str) -> Result<String, Errno> {
        if self.foreign {
            // whoever may not take it away may not put another in its place
            remove(&self.directory, &self.name)?;
        }
        let unfinished = format!("{}{UNFINISHED}", self.name);
        remove(&self.directory, &unfinished)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = retry_on_intr(|| openat(&self.directory, &unfinished, flags, mode))?;
        let mut file = std::fs::File::from(file);
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        if written.is_err() {
            // on a full disk its room is what the next run needs
            let _ = remove(&self.directory, &unfinished);
        }
        written.map(|()| unfinished)
    }

    /// Removes what nobody used for seven days, and what killed writers left. That something stays there is no error.
    fn remove_unused(&self) {
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
                Ok(_) if key.ends_with(UNFINISHED) => true,
                Ok(stat) => is_old(&stat) && !self.is_in_use(name),
                Err(_) => false,
            };
            if unused {
                let _ = remove(&self.directory, name);
            }
        }
    }

    /// By the clock it is old. But somebody may have set the clock.
    fn is_in_use(&self, name: &str) -> bool {
        match load(&self.directory, name) {
            Ok(other) => other.is_in_use(&self.boot, self.at),
            Err(Unread::Known(_)) => false,
            Err(Unread::Failed(_)) => true,
        }
    }
}

fn remove(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// A file of this user.
fn is_ours(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_uid == geteuid().as_raw()
}

fn is_old(stat: &Stat) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let written = u64::try_from(stat.st_mtime).unwrap_or_default();
    now.as_secs().saturating_sub(written) > TOO_OLD / 100
}

/// Opens the directory if this user may write to it.
fn open_directory(path: &Path) -> Result<OwnedFd, NoState> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let usable = || {
        let directory = retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))?;
        // by the effective user, as it will be used
        let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        accessat(&directory, ".", access, AtFlags::EACCESS)?;
        Ok(directory)
    };
    usable().map_err(|error| match error {
        Errno::NOENT => NoState::Missing,
        Errno::NOTDIR | Errno::LOOP => NoState::NotADirectory,
        Errno::ACCESS | Errno::PERM => NoState::Denied,
        error => NoState::Io {
            reason: clean(&error.to_string()),
        },
    })
}

/// Its file in the directory. Everything that tells it from another service is in the hash.
fn name(wanted: Wanted<'_>, identity: Identity) -> String {
    let scope = if wanted.all { None } else { Some(identity) };
    // as in baseline.rs, another hash makes a first run
    let mut hasher = DefaultHasher::new();
    let key = format!(
        "{:?}",
        (geteuid().as_raw(), scope, wanted.proc_root, wanted.service)
    );
    hasher.write(key.as_bytes());
    format!("{PREFIX}{:016x}", hasher.finish())
}

/// Why there is nothing of a previous run.
enum Unread {
    /// There is none, or none that could ever be read.
    Known(FirstRun),
    /// The system could not read it this time.
    Failed(Errno),
}

impl From<FirstRun> for Unread {
    fn from(why: FirstRun) -> Self {
        Self::Known(why)
    }
}

/// What the previous run left.
fn load(directory: &OwnedFd, name: &str) -> Result<Baseline, Unread> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = retry_on_intr(|| openat(directory, name, flags, Mode::empty()));
    let file = opened.map_err(|error| match error {
        Errno::NOENT => Unread::Known(FirstRun::NoBaseline),
        // our own, refused this time
        Errno::ACCESS | Errno::PERM
            if statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| is_ours(&stat)) =>
        {
            Unread::Failed(error)
        }
        // a symbolic link, a socket, somebody else's file
        Errno::LOOP | Errno::NXIO | Errno::ACCESS | Errno::PERM => Unread::Known(FirstRun::Foreign),
        error => Unread::Failed(error),
    })?;
    if !is_ours(&fstat(&file).map_err(Unread::Failed)?) {
        return Err(FirstRun::Foreign.into());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| Unread::Failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    let text = std::str::from_utf8(&bytes).ok();
    let baseline = text.and_then(Baseline::parse);
    baseline.ok_or(Unread::Known(FirstRun::Unreadable))
}

/// Which start of the host this is.
fn boot(proc_root: &Path) -> Result<String, NoState> {
    let path = proc_root.join("sys/kernel/random/boot_id");
    let no_identity = || NoState::NoIdentity {
        path: file::shown(&path),
    };
    let bytes = file::read(&path, 64).map_err(|_| no_identity())?;
    let id = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    // a UUID
    let is_id = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_id.then(|| id.to_owned()).ok_or_else(no_identity)
}

/// Hundredths of a second since the host was started (proc_uptime(5)).
fn uptime(proc_root: &Path) -> Result<u64, NoState> {
    let path = proc_root.join("uptime");
    let hundredths = || {
        let bytes = file::read(&path, 64).ok()?;
        parse_uptime(std::str::from_utf8(&bytes).ok()?)
    };
    hundredths().ok_or_else(|| NoState::NoIdentity {
        path: file::shown(&path),
    })
}

/// `SECONDS.HUNDREDTHS` and the idle time.
fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if hundredths.len() != 2 || !digits(seconds) || !digits(hundredths) {
        return None;
    }
    seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(hundredths.parse().ok()?)
}
