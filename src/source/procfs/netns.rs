//! The network namespaces that have a process on this host, seen without privilege and without entering them.
//!
//! /proc/PID/net/stat/nf_conntrack (mode 0444, `get_proc_task_net` in fs/proc/proc_net.c) shows the count and the
//! counters of that process's namespace; its inode is another one in each, so finding the distinct ones is one stat(2)
//! a process. The limit and the hash chains are the whole kernel's.
//!
//! Entering one, for its table and its sockets, takes privilege and is done for the one that decides.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::hidepid::Hiding;
use super::process::command_and_cgroup;
use super::{ct_stat, netns_id};
use crate::model::cgroup::Name;
use crate::model::error::{FilePurpose, ReadError};
use crate::model::netns::{Namespace, NetnsId, NetnsRepresentative, Observation, Sighting, Walk};
use crate::model::readings::{Reading, Readings, Statistics};
use crate::runtime::privilege;
use crate::source::file;

/// The file that shows a namespace, below the directory of a process.
const FILE: &str = ct_stat::FILE;
/// So many processes of a namespace are looked at for the one that does the work.
const MEMBERS: usize = 64;
/// The namespace of this process, below the proc root.
pub const OWN_STATISTICS: &str = "self/net/stat/nf_conntrack";

/// The result of a walk over the processes.
struct WalkResult {
    /// The namespace of this process.
    own: Option<Sighting>,
    /// Each of the others once.
    others: Vec<WalkedNetns>,
    /// The time was up before every process was looked at.
    cut_short: bool,
    /// The reason why processes, and so their namespaces, could not be seen.
    hidden: Option<ReadError>,
}

/// A network namespace that is not the one of this process.
struct WalkedNetns {
    seen: Sighting,
    id: Reading<NetnsId>,
    count: Reading<u32>,
    statistics: Reading<Statistics>,
}

/// The readings of a walk over the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WalkDetail {
    /// The counts of each namespace.
    Counts,
    /// The number of each namespace too, and hidden processes.
    Everything,
}

/// Looks at every process until the deadline. One that ends meanwhile is no error.
///
/// # Errors
/// When not even the file of this process can be seen: then there is none to see of others.
fn walk(proc_root: &Path, detail: WalkDetail, deadline: Instant) -> Result<WalkResult, ReadError> {
    let unseen = |name: &str| {
        let path = proc_root.join(name);
        move |error: Errno| file::explain(&path, &error.into()).about(FilePurpose::Namespace)
    };
    let root = directory(CWD, proc_root).map_err(unseen(""))?;
    let own_file =
        statat(&root, OWN_STATISTICS, AtFlags::empty()).map_err(unseen(OWN_STATISTICS))?;
    let mut listing = Dir::read_from(&root).map_err(unseen(""))?;
    let mut hiding = (detail == WalkDetail::Everything).then(|| Hiding::of(&root));
    let mut found = WalkResult {
        own: None,
        others: Vec::new(),
        cut_short: false,
        hidden: None,
    };
    // hidepid=1 (proc(5)): a process is there, but not for this user
    let mut refused = false;
    // the places of the others in the list, by inode
    let mut places: Vec<(u64, usize)> = Vec::new();
    while let Some(entry) = listing.read() {
        let entry = entry.map_err(unseen(""))?;
        let Some(pid) = process(entry.file_name()) else {
            continue;
        };
        if Instant::now() >= deadline {
            found.cut_short = true;
            break;
        }
        let name = format!("{pid}/{FILE}");
        let inode = match statat(&root, &name, AtFlags::empty()) {
            Ok(stat) => stat.st_ino,
            Err(Errno::ACCESS | Errno::PERM) => {
                refused = true;
                continue;
            }
            // ended since it was listed
            Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => continue,
            Err(error) => {
                found.hidden = Some(unseen(&name)(error));
                continue;
            }
        };
        if let Some(hiding) = &mut hiding {
            hiding.saw(&root, pid);
        }
        let seen = Sighting { pid, inode };
        let known = if inode == own_file.st_ino {
            Some(found.own.get_or_insert(seen))
        } else {
            let place = place(inode, &places).ok().and_then(|at| places.get(at));
            place
                .and_then(|(_, index)| found.others.get_mut(*index))
                .map(|other| &mut other.seen)
        };
        if let Some(known) = known {
            known.pid = known.pid.min(pid);
        } else if let Some(other) = read(&root, proc_root, seen, detail) {
            let at = place(inode, &places).unwrap_or_else(|at| at);
            places.insert(at, (inode, found.others.len()));
            found.others.push(other);
        }
    }
    let hides = hiding.is_some_and(|hiding| hiding.hides());
    if refused || (hides && !found.cut_short) {
        found.hidden.get_or_insert(ReadError::HiddenProcesses {
            proc_root: file::shown(proc_root),
        });
    }
    Ok(found)
}

/// The position of an inode among inodes in order, present or not.
fn place(inode: u64, places: &[(u64, usize)]) -> Result<usize, usize> {
    places.binary_search_by_key(&inode, |(known, _)| *known)
}

/// Reads a namespace by the process that was just looked at; nothing when that has ended since.
fn read(
    root: &OwnedFd,
    proc_root: &Path,
    seen: Sighting,
    detail: WalkDetail,
) -> Option<WalkedNetns> {
    let path = proc_root.join(seen.pid.to_string());
    // while it is open it means no other process
    let process = match directory(root, Path::new(&seen.pid.to_string())) {
        Ok(process) => process,
        Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => return None,
        Err(error) => {
            let error = file::explain(&path, &error.into());
            return Some(unread(seen, Err(error.clone()), error));
        }
    };
    let id = match detail {
        WalkDetail::Counts => Ok(NetnsId::Unknown),
        WalkDetail::Everything => match netns_id::of_process(&process, &path, seen.inode) {
            Ok(id) => Ok(id),
            Err(netns_id::UnreadNetnsId::Failed(why)) => Err(why),
            Err(netns_id::UnreadNetnsId::Gone) => return None,
        },
    };
    let path = path.join(FILE);
    let opened = file::open_at(&process, Path::new(FILE));
    let opened = opened.and_then(|file| fstat(&file).map(|stat| (file, stat)));
    match opened {
        Ok((file, stat)) if stat.st_ino == seen.inode => {
            let (count, statistics) = ct_stat::of_namespace(file, &path);
            Some(WalkedNetns {
                seen,
                id,
                count,
                statistics,
            })
        }
        Ok(_) | Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => None,
        Err(error) => Some(unread(seen, id, file::explain(&path, &error.into()))),
    }
}

/// A namespace that was seen and could not be read.
fn unread(seen: Sighting, id: Reading<NetnsId>, why: ReadError) -> WalkedNetns {
    WalkedNetns {
        seen,
        id,
        count: Err(why.clone()),
        statistics: Err(why),
    }
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

/// Every network namespace that has a process here, the own one first, of which these readings are. The limit and the
/// hash table are the whole kernel's.
pub fn all(proc_root: &Path, own: Readings, deadline: Instant) -> Observation {
    let found = match walk(proc_root, WalkDetail::Everything, deadline) {
        Ok(found) => found,
        Err(why) => {
            return Observation {
                unseen: Some(why),
                ..Observation::of_own(own)
            };
        }
    };
    let cut_short = found.cut_short.then_some(ReadError::WalkCutShort);
    let unseen = found.hidden.or(cut_short);
    let of_the_kernel = Readings {
        count: Err(ReadError::NotReached),
        statistics: Err(ReadError::NotReached),
        untracked: Err(ReadError::NotReached),
        ..own.clone()
    };
    let own = Namespace {
        id: own_id(proc_root),
        readings: own,
        seen: found.own,
        own: true,
    };
    let others = found.others.into_iter().map(|other| Namespace {
        id: other.id,
        readings: Readings {
            count: other.count,
            statistics: other.statistics,
            ..of_the_kernel.clone()
        },
        seen: Some(other.seen),
        own: false,
    });
    Observation {
        own,
        others: others.collect(),
        walk: if unseen.is_some() {
            Walk::Partial
        } else {
            Walk::Complete
        },
        unseen,
    }
}

/// The number of the namespace of this process, of the same kind as those of others: to a run in another namespace this
/// one is another.
///
/// # Errors
/// The reason why it cannot be read.
pub fn own_id(proc_root: &Path) -> Reading<NetnsId> {
    let path = proc_root.join("self");
    let failed = |error: Errno| file::explain(&path, &error.into());
    let process = directory(CWD, &path).map_err(failed)?;
    let inode = statat(&process, FILE, AtFlags::empty())
        .map_err(failed)?
        .st_ino;
    netns_id::of_process(&process, &path, inode).map_err(|why| match why {
        netns_id::UnreadNetnsId::Failed(why) => why,
        netns_id::UnreadNetnsId::Gone => failed(Errno::SRCH),
    })
}

/// The number of entries that the other namespaces hold together, as far as they can be seen before the deadline.
pub(crate) fn entries_elsewhere(proc_root: &Path, deadline: Instant) -> u64 {
    // the procfs of a sandbox may hide the processes of other users
    let walked = privilege::with(privilege::OPEN_NAMESPACE, || {
        walk(proc_root, WalkDetail::Counts, deadline)
    });
    let others = walked.map_or(Vec::new(), |found| found.others);
    others
        .into_iter()
        .filter_map(|other| other.count.ok())
        .map(u64::from)
        .sum()
}

/// The network namespaces besides that of this process, each with one of its processes.
pub(in crate::source) fn others(proc_root: &Path, deadline: Instant) -> Vec<Sighting> {
    let others =
        walk(proc_root, WalkDetail::Counts, deadline).map_or(Vec::new(), |found| found.others);
    others.into_iter().map(|other| other.seen).collect()
}

/// Processes of a network namespace, the lowest first.
pub(in crate::source) fn members(proc_root: &Path, inode: u64, deadline: Instant) -> Vec<Sighting> {
    let Ok(root) = directory(CWD, proc_root) else {
        return Vec::new();
    };
    let Ok(listing) = Dir::read_from(&root) else {
        return Vec::new();
    };
    let pids = listing
        .flatten()
        .filter_map(|entry| process(entry.file_name()));
    let mut members: Vec<Sighting> = pids
        .take_while(|_| Instant::now() < deadline)
        .filter(|pid| {
            let stat = statat(&root, format!("{pid}/{FILE}"), AtFlags::empty());
            stat.is_ok_and(|stat| stat.st_ino == inode)
        })
        .map(|pid| Sighting { pid, inode })
        .take(MEMBERS)
        .collect();
    members.sort_unstable_by_key(|member| member.pid);
    members
}

/// The directory of a process, if that is still in the namespace. While it is open it means no other process.
pub(in crate::source) fn still_there(proc_root: &Path, seen: Sighting) -> Option<OwnedFd> {
    let process = directory(CWD, &proc_root.join(seen.pid.to_string())).ok()?;
    let stat = statat(&process, FILE, AtFlags::empty()).ok()?;
    (stat.st_ino == seen.inode).then_some(process)
}

/// The resident of a namespace.
pub fn resident(proc_root: &Path, seen: Option<Sighting>) -> NetnsRepresentative {
    let Some(seen) = seen else {
        return NetnsRepresentative::default();
    };
    let process = still_there(proc_root, seen);
    let found = process.and_then(|process| command_and_cgroup(&process));
    let (command, name) = match found {
        Some((command, cgroup)) => (Some(command), cgroup.name),
        None => (None, Name::Nothing),
    };
    NetnsRepresentative {
        pid: Some(seen.pid),
        command,
        name,
    }
}
