//! Local sockets to the processes that hold them.
//!
//! A socket is found by its inode, as the links in /proc/PID/fd name it: `socket:[4711]` (proc_pid_fd(5)). Read are
//! the list and the links of fd, and of the processes that hold one of the sockets comm, stat and cgroup; of those
//! whose fd may not be read, stat. Never cmdline, environ, maps or exe: these wait for the memory map of the process,
//! and so behind one that is stuck in uninterruptible sleep. The procfs crate walks the processes and keeps each one's
//! directory open, so that a process id that is used again is not taken for the old one. It looks at
//! sys/kernel/osrelease once, of /proc whatever the proc root is, to know how to open them.
//!
//! The files themselves are taken apart here. The crate's parsers give up a whole file that holds a cgroup's name
//! in another encoding, panic on a stat file that is cut short, and its list of descriptors drops those whose links may
//! not be read, so that a process that cannot be seen would look like one without sockets.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use procfs::ProcError;
use procfs::process::{Process as ProcessDirectory, all_processes_with_root};
use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat_raw};
use rustix::io::Errno;

use super::cgroup::parse_unit;
use crate::model::socket::Process;

/// 15 bytes, and 63 for a kernel thread.
const COMM_MAX: u64 = 256;
/// Some fifty numbers.
const STAT_MAX: u64 = 4096;
/// A line for each hierarchy, each at most PATH_MAX long in practice.
const CGROUP_MAX: u64 = 64 << 10;
/// `socket:[18446744073709551615]` is shorter; what is longer is no socket.
const LINK_MAX: usize = 64;
/// The clock is asked once in so many descriptors.
const BETWEEN_LOOKS: usize = 64;

/// PF_KTHREAD of include/linux/sched.h, in the flags of stat.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The processes behind sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// Those that hold at least one of the sockets, by process id.
    pub processes: Vec<Process>,
    /// Processes whose descriptors could not be read for lack of privilege. Without kernel threads and zombies, which
    /// hold none, and without those that hidepid=2 (proc(5)) does not show at all.
    pub unseen: usize,
    /// The time was up before every process was looked at.
    pub truncated: bool,
}

/// Looks for the processes that hold one of these sockets, until `deadline`. All processes are walked even when every
/// socket has been found, because one may be held by several.
///
/// Another user's descriptors take CAP_DAC_READ_SEARCH to list and CAP_SYS_PTRACE to resolve; without both they are
/// counted as unseen. A process that ends meanwhile is no error, and a proc root that cannot be read has no processes.
pub fn owners(proc_root: &Path, inodes: &HashSet<u64>, deadline: Instant) -> Owners {
    let mut owners = Owners::default();
    if inodes.is_empty() {
        return owners;
    }
    let Ok(directories) = all_processes_with_root(proc_root) else {
        return owners;
    };
    for directory in directories {
        if Instant::now() >= deadline {
            owners.truncated = true;
            break;
        }
        // ended between the listing and the opening
        let Ok(directory) = directory else { continue };
        let held = match held(&directory, inodes, deadline) {
            Ok(held) => held,
            Err(Unlisted::Denied) => {
                owners.unseen += usize::from(may_hold_sockets(&directory));
                continue;
            }
            Err(Unlisted::Gone) => continue,
        };
        owners.truncated |= held.truncated;
        if !held.inodes.is_empty() {
            owners.processes.extend(describe(&directory, held.inodes));
        }
        if owners.truncated {
            break;
        }
    }
    owners.processes.sort_unstable_by_key(|process| process.pid);
    owners
}

/// Why the descriptors of a process are not known.
enum Unlisted {
    Denied,
    Gone,
}

impl From<Errno> for Unlisted {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ACCESS | Errno::PERM => Self::Denied,
            _ => Self::Gone,
        }
    }
}

struct Held {
    inodes: Vec<u64>,
    truncated: bool,
}

/// Which of the sockets a process holds, in order.
fn held(
    directory: &ProcessDirectory,
    wanted: &HashSet<u64>,
    deadline: Instant,
) -> Result<Held, Unlisted> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = directory
        .open_relative_flags("fd", flags)
        .map_err(|error| match error {
            ProcError::PermissionDenied(_) => Unlisted::Denied,
            _ => Unlisted::Gone,
        })?;
    let mut links = Dir::new(fd)?;
    let mut held = Held {
        inodes: Vec::new(),
        truncated: false,
    };
    let mut seen = 0_usize;
    while let Some(link) = links.read() {
        let Ok(link) = link else { break };
        if !link.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        seen += 1;
        if seen % BETWEEN_LOOKS == 0 && Instant::now() >= deadline {
            held.truncated = true;
            break;
        }
        let mut buffer = [0_u8; LINK_MAX];
        let length = match readlinkat_raw(links.fd()?, link.file_name(), &mut buffer) {
            Ok(length) => length,
            // one right for all descriptors of a process
            Err(error @ (Errno::ACCESS | Errno::PERM)) => return Err(error.into()),
            // closed meanwhile
            Err(_) => continue,
        };
        let target = buffer.get(..length).unwrap_or_default();
        held.inodes
            .extend(socket_inode(target).filter(|inode| wanted.contains(inode)));
    }
    held.inodes.sort_unstable();
    held.inodes.dedup();
    Ok(held)
}

/// What is told of a process that holds sockets; nothing when it has ended.
fn describe(directory: &ProcessDirectory, inodes: Vec<u64>) -> Option<Process> {
    let comm = read(directory, "comm", COMM_MAX)?;
    let stat = read(directory, "stat", STAT_MAX).unwrap_or_default();
    let cgroup = read(directory, "cgroup", CGROUP_MAX).unwrap_or_default();
    Some(Process {
        pid: directory.pid(),
        command: parse_comm(&comm),
        unit: parse_unit(&cgroup),
        threads: Stat::parse(&stat).map_or(0, |stat| stat.threads),
        inodes,
    })
}

/// What a process calls itself and where it belongs, by its directory; nothing when it has ended.
pub(in crate::source) fn command_and_unit(directory: &OwnedFd) -> (Option<String>, Option<String>) {
    let read = |name, limit| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty()).ok()?;
        beginning(File::from(file), limit)
    };
    let unit = || parse_unit(&read("cgroup", CGROUP_MAX)?);
    match read("comm", COMM_MAX) {
        Some(comm) => (Some(parse_comm(&comm)), unit()),
        None => (None, None),
    }
}

/// Whether a process whose descriptors may not be read can have any that matter.
fn may_hold_sockets(directory: &ProcessDirectory) -> bool {
    let stat = read(directory, "stat", STAT_MAX).unwrap_or_default();
    Stat::parse(&stat).is_none_or(|stat| !stat.is_kernel_thread && !stat.is_zombie)
}

/// The beginning of a file of a process, without waiting for it; nothing when it cannot be read.
fn read(directory: &ProcessDirectory, name: &str, limit: u64) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = directory.open_relative_flags(name, flags).ok()?;
    beginning(file, limit)
}

fn beginning(file: File, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The inode in the target of a descriptor's link.
fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The name in comm, which ends with a line feed and may hold others.
fn parse_comm(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(bytes)).into_owned()
}

/// What is used of stat (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    is_kernel_thread: bool,
    /// Ended, with no thread left that has not.
    is_zombie: bool,
}

impl Stat {
    /// The second field is the name in brackets and may hold anything, brackets too: only what comes after the last
    /// bracket is sure.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bracket = bytes.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(bytes.get(bracket + 1..)?).ok()?;
        // from the third field on
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let flags: u64 = fields.nth(9 - 4)?.parse().ok()?;
        let threads = fields.nth(20 - 10)?.parse().ok()?;
        Some(Self {
            threads,
            is_kernel_thread: flags & KERNEL_THREAD != 0,
            is_zombie: matches!(state, "Z" | "X") && threads <= 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_link_of_a_socket_has_its_inode() {
        assert_eq!(socket_inode(b"socket:[4711]"), Some(4711));
        assert_eq!(
            socket_inode(b"socket:[18446744073709551615]"),
            Some(u64::MAX)
        );
        for target in [
            &b"socket:[18446744073709551616]"[..],
            b"socket:[]",
            b"socket:[-1]",
            b"socket:[1",
            b"socket:1",
            b"pipe:[4711]",
            b"/tmp/socket:[4711]",
            b"/dev/null",
            b"anon_inode:[eventpoll]",
            b"\xff",
            b"",
        ] {
            assert_eq!(socket_inode(target), None, "{target:?}");
        }
    }

    /// Of a shell on 6.18, but for the name, state, flags and threads.
    fn stat(name: &[u8], state: char, flags: u64, threads: u64) -> Vec<u8> {
        [
            b"812 (",
            name,
            format!(") {state} 1 812 812 0 -1 {flags} 1027 0 0 0 0 0 0 0 20 0 {threads} 0 86 4370432 880 18446744073709551615 0 0 0 0 0 0 65536 4 65538 1 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n").as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn threads_come_after_whatever_the_name_is() {
        for name in [
            &b"ruby"[..],
            b"",
            b"x|evil=1;rm",
            b"a b) Z 1 (c",
            b"))) ) ) S 99",
            b"line\nfeed",
            b"\xff\xfe)\x80",
        ] {
            let got = Stat::parse(&stat(name, 'S', 0x40_0000, 25)).unwrap();
            let expected = Stat {
                threads: 25,
                is_kernel_thread: false,
                is_zombie: false,
            };
            assert_eq!(got, expected, "{name:?}");
        }
    }

    #[test]
    fn kernel_threads_and_zombies_are_known() {
        let kthread = Stat::parse(&stat(b"kworker/0:1", 'I', 0x0420_8060, 1)).unwrap();
        assert!(kthread.is_kernel_thread && !kthread.is_zombie);
        let zombie = Stat::parse(&stat(b"sh", 'Z', 0x40_0000, 1)).unwrap();
        assert!(zombie.is_zombie && !zombie.is_kernel_thread);
        // its first thread has ended, the others work on
        let working = Stat::parse(&stat(b"go", 'Z', 0x40_0000, 9)).unwrap();
        assert!(!working.is_zombie && working.threads == 9);
    }

    #[test]
    fn a_stat_file_that_is_cut_short_says_nothing() {
        let whole = stat(b"ruby", 'S', 0, 25);
        let threads = String::from_utf8_lossy(&whole).find(" 25 ").unwrap();
        for end in 0..=threads {
            assert_eq!(Stat::parse(&whole[..end]), None, "{end}");
        }
        for broken in [&b")("[..], b"(", b")", b"1 (x)", b"1 (x) S a b c d e f g"] {
            assert_eq!(Stat::parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn one_line_feed_ends_a_name() {
        assert_eq!(parse_comm(b"ruby\n"), "ruby");
        assert_eq!(parse_comm(b"a\n\n"), "a\n");
        assert_eq!(parse_comm(b"\n"), "");
        assert_eq!(parse_comm(b"\xff\x1b[31m\n"), "\u{fffd}\u{1b}[31m");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (socket_inode(&bytes), Stat::parse(&bytes), parse_comm(&bytes));
        }
    }
}
