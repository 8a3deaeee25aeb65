//! The network namespaces that have a process on this host, seen without privilege and without entering them.
//!
//! /proc/PID/net/stat/nf_conntrack (mode 0444, `get_proc_task_net` in fs/proc/proc_net.c) shows the counters of that
//! process's namespace; its inode is another one in each, so finding the distinct ones is one stat(2) a process.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::file;
use crate::baseline::Identity;

/// Asks for SO_NETNS_COOKIE of a socket (from 5.14): a number that no other network namespace gets while the host runs.
pub type CookieOf = fn(BorrowedFd<'_>) -> Option<u64>;

/// Enough for the header and the first row.
const FIRST_ROWS: usize = 2 << 20;

/// What tells the network namespace of this process from others: its cookie, else its inode. Below another proc root,
/// where there is no `cookie` of a socket to ask for, what that shows.
pub(super) fn identity(proc_root: &Path, cookie_of: Option<CookieOf>) -> Identity {
    let cookie = |of: CookieOf| {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .ok()?;
        of(socket.as_fd())
    };
    let inode = || {
        let link = std::fs::read_link(proc_root.join("self/ns/net")).ok()?;
        let link = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
        link.parse().ok()
    };
    if let Some(cookie) = cookie_of.and_then(cookie) {
        return Identity::Cookie(cookie);
    }
    inode().map_or(Identity::Unknown, Identity::Inode)
}

/// How many entries the other namespaces hold together, as far as they can be seen before the deadline.
pub(super) fn entries_elsewhere(proc_root: &Path, deadline: Instant) -> u64 {
    let inode = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.ino());
    // the file of this process itself: ours
    let mut seen: HashSet<u64> = inode(&proc_root.join("self/net/stat/nf_conntrack"))
        .into_iter()
        .collect();
    let Ok(processes) = std::fs::read_dir(proc_root) else {
        return 0;
    };
    let mut total = 0;
    for process in processes.flatten() {
        if !process
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit())
        {
            continue;
        }
        if Instant::now() >= deadline {
            break;
        }
        // a process that ended meanwhile, or a kernel without the file
        let path = process.path().join("net/stat/nf_conntrack");
        if inode(&path).is_some_and(|inode| seen.insert(inode)) {
            total += entries(&path).unwrap_or_default();
        }
    }
    total
}

/// The first column of the first row: the namespace's count.
fn entries(path: &Path) -> Option<u64> {
    let bytes = file::read(path, FIRST_ROWS).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    u64::from_str_radix(text.lines().nth(1)?.split_ascii_whitespace().next()?, 16).ok()
}
