//! The network namespaces that have a process on this host, seen without privilege and without entering them.
//!
//! /proc/PID/net/stat/nf_conntrack (mode 0444, `get_proc_task_net` in fs/proc/proc_net.c) shows the count and the
//! counters of that process's namespace; its inode is another one in each, so finding the distinct ones is one stat(2)
//! a process. The limit and the hash chains are the whole kernel's.
//!
//! Entering one, for its table and its sockets, takes privilege and is done for the one that decides.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::ct_stat;
use super::process::command_and_cgroup;
use crate::model::cgroup::Name;
use crate::model::error::ReadError;
use crate::model::netns::{Identity, Namespace, Resident, Seen, sum};
use crate::model::readings::{Reading, Readings, Statistics};
use crate::source::file;

/// Asks for SO_NETNS_COOKIE of a socket (from 5.14): a number that no other network namespace gets while the host runs.
pub type CookieOf = fn(BorrowedFd<'_>) -> Option<u64>;

/// The file that shows a namespace, below the directory of a process.
const FILE: &str = ct_stat::FILE;
/// That of this process, below the proc root.
pub const OWN: &str = "self/net/stat/nf_conntrack";

/// What tells the network namespace of this process from others: its cookie, else its inode. Below another proc root,
/// where there is no `cookie` of a socket to ask for, what that shows.
///
/// # Errors
/// Those that may be over at the next run, which would find another identity then.
pub(crate) fn identity(proc_root: &Path, cookie_of: Option<CookieOf>) -> Result<Identity, Errno> {
    if let Some(of) = cookie_of {
        let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
        let cookie = match socket_with(family, SocketType::DGRAM, flags, None) {
            Ok(socket) => of(socket.as_fd()),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)) => {
                return Err(error);
            }
            // a sandbox without such sockets
            Err(_) => None,
        };
        if let Some(cookie) = cookie {
            return Ok(Identity::Cookie(cookie));
        }
    }
    let link = match std::fs::read_link(proc_root.join("self/ns/net")) {
        Ok(link) => link,
        Err(error) => match Errno::from_io_error(&error) {
            Some(error @ (Errno::NOMEM | Errno::IO)) => return Err(error),
            _ => return Ok(Identity::Unknown),
        },
    };
    let inode = || {
        let link = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
        link.parse().ok()
    };
    Ok(inode().map_or(Identity::Unknown, Identity::Inode))
}

/// What a look at every process came to.
struct Walk {
    /// Where the namespace of this process was seen.
    own: Option<Seen>,
    /// Each of the others once.
    others: Vec<Found>,
    /// The time was up before every process was looked at.
    cut_short: bool,
    /// Why processes, and so their namespaces, could not be seen.
    hidden: Option<ReadError>,
}

struct Found {
    seen: Seen,
    count: Reading<u32>,
    statistics: Reading<Statistics>,
}

/// Looks at every process until the deadline. One that ends meanwhile is no error.
///
/// # Errors
/// When not even the file of this process can be seen: then there is none to see of others.
fn walk(proc_root: &Path, live: bool, deadline: Instant) -> Result<Walk, ReadError> {
    let unseen = |name: &str| {
        let path = proc_root.join(name);
        move |error: Errno| match file::explain(&path, &error.into()) {
            ReadError::Missing { path } => ReadError::NotShown { path },
            other => other,
        }
    };
    let root = directory(CWD, proc_root).map_err(unseen(""))?;
    let own_file = statat(&root, OWN, AtFlags::empty()).map_err(unseen(OWN))?;
    let mut listing = Dir::read_from(&root).map_err(unseen(""))?;
    let mut walk = Walk {
        own: None,
        others: Vec::new(),
        cut_short: false,
        hidden: None,
    };
    // every process has one with the id 1 before it, so where there is none to be seen others are hidden too (hidepid=2)
    let (mut hidden, mut refused) = (live, false);
    // where each of the others stands in the list, by inode
    let mut places: Vec<(u64, usize)> = Vec::new();
    while let Some(entry) = listing.read() {
        let entry = entry.map_err(unseen(""))?;
        let Some(pid) = process(entry.file_name()) else {
            continue;
        };
        if Instant::now() >= deadline {
            walk.cut_short = true;
            break;
        }
        hidden &= pid != 1;
        let name = format!("{pid}/{FILE}");
        let inode = match statat(&root, &name, AtFlags::empty()) {
            Ok(stat) => stat.st_ino,
            // hidepid=1 (proc(5)): it is there, but not for this user
            Err(Errno::ACCESS | Errno::PERM) => {
                refused = true;
                continue;
            }
            // ended since it was listed
            Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => continue,
            Err(error) => {
                walk.hidden = Some(unseen(&name)(error));
                continue;
            }
        };
        let known = if inode == own_file.st_ino {
            Some(walk.own.get_or_insert(Seen { pid, inode }))
        } else {
            let place = place(inode, &places).ok().and_then(|at| places.get(at));
            place
                .and_then(|(_, index)| walk.others.get_mut(*index))
                .map(|found| &mut found.seen)
        };
        if let Some(seen) = known {
            seen.pid = seen.pid.min(pid);
        } else if let Some(found) = read(&root, proc_root, &name, Seen { pid, inode }) {
            let at = place(inode, &places).unwrap_or_else(|at| at);
            places.insert(at, (inode, walk.others.len()));
            walk.others.push(found);
        }
    }
    if refused || (hidden && !walk.cut_short) {
        walk.hidden.get_or_insert(ReadError::HiddenProcesses {
            proc_root: file::shown(proc_root),
        });
    }
    Ok(walk)
}

/// Where an inode stands among those in order, or belongs.
fn place(inode: u64, places: &[(u64, usize)]) -> Result<usize, usize> {
    places.binary_search_by_key(&inode, |(known, _)| *known)
}

/// Reads the file of a namespace by the process that was just looked at; nothing when that has ended since.
fn read(root: &OwnedFd, proc_root: &Path, name: &str, seen: Seen) -> Option<Found> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = proc_root.join(name);
    let opened = openat(root, name, flags, Mode::empty());
    let opened = opened.and_then(|file| fstat(&file).map(|stat| (file, stat)));
    let (count, statistics) = match opened {
        Ok((file, stat)) if stat.st_ino == seen.inode => {
            ct_stat::of_namespace(File::from(file), &path)
        }
        Ok(_) | Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => return None,
        Err(error) => {
            let error = file::explain(&path, &error.into());
            (Err(error.clone()), Err(error))
        }
    };
    Some(Found {
        seen,
        count,
        statistics,
    })
}

/// The process whose directory has this name.
fn process(name: &CStr) -> Option<i32> {
    let digits = name.to_str().ok()?;
    let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    canonical.then(|| digits.parse().ok())?
}

fn directory(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Adds to the own namespace, the only one in `namespaces`, every other that has a process here, and to the readings of
/// each the sum of the entries of all. `live` says that the proc root is the one of the running kernel. Tells whether
/// the time was up before every process was looked at; nothing when none could be.
pub fn add_others(
    proc_root: &Path,
    live: bool,
    deadline: Instant,
    namespaces: &mut Vec<Namespace>,
) -> Option<bool> {
    let own = namespaces.first_mut()?;
    let walk = match walk(proc_root, live, deadline) {
        Ok(walk) => walk,
        Err(why) => {
            own.readings.others = Some(why);
            return None;
        }
    };
    own.seen = walk.own;
    own.readings.others = walk.hidden;
    let of_the_kernel = Readings {
        count: Err(ReadError::NotReached),
        statistics: Err(ReadError::NotReached),
        untracked: Err(ReadError::NotReached),
        ..own.readings.clone()
    };
    namespaces.extend(walk.others.into_iter().map(|found| Namespace {
        identity: Identity::Statistics(found.seen.inode),
        readings: Readings {
            count: found.count,
            statistics: found.statistics,
            ..of_the_kernel.clone()
        },
        seen: Some(found.seen),
        own: false,
    }));
    if !walk.cut_short && of_the_kernel.others.is_none() {
        let sum = sum(namespaces);
        for namespace in namespaces {
            namespace.readings.sharing = sum;
        }
    }
    Some(walk.cut_short)
}

/// How many entries the other namespaces hold together, as far as they can be seen before the deadline.
pub(crate) fn entries_elsewhere(proc_root: &Path, deadline: Instant) -> u64 {
    let others = walk(proc_root, false, deadline).map_or(Vec::new(), |walk| walk.others);
    others
        .into_iter()
        .filter_map(|found| found.count.ok())
        .map(u64::from)
        .sum()
}

/// The directory of a process, if that is still in the namespace. While it is open it means no other process.
pub(in crate::source) fn still_there(proc_root: &Path, seen: Seen) -> Option<OwnedFd> {
    let process = directory(CWD, &proc_root.join(seen.pid.to_string())).ok()?;
    let stat = statat(&process, FILE, AtFlags::empty()).ok()?;
    (stat.st_ino == seen.inode).then_some(process)
}

/// Who is in a namespace.
pub fn resident(proc_root: &Path, seen: Option<Seen>) -> Resident {
    let Some(seen) = seen else {
        return Resident::default();
    };
    let process = still_there(proc_root, seen);
    let found = process.and_then(|process| command_and_cgroup(&process));
    let (command, name) = match found {
        Some((command, cgroup)) => (Some(command), cgroup.name),
        None => (None, Name::Nothing),
    };
    Resident {
        pid: Some(seen.pid),
        command,
        name,
    }
}
