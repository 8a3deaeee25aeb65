//! One process: the sockets among its descriptors, its name, its group.
//!
//! The check reads the list and the links of fd (`socket:[4711]`, proc_pid_fd(5)), and of a process that holds one of
//! the sockets comm, stat and cgroup; of a process whose fd may not be read, stat. It never reads cmdline, environ,
//! maps or exe: these wait for the memory map of the process, and so behind one that is stuck in uninterruptible sleep.
//! The directory of a process stays open meanwhile, so that a process id that is used again is not taken for the old
//! one.
//!
//! The files are taken apart here. The parsers of the procfs crate give up a whole file that holds a cgroup's name in
//! another encoding, panic on a stat file that is cut short, and leave out descriptors whose links may not be read, so
//! that a process that cannot be seen would look like one without sockets.

use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, openat, readlinkat_raw, statat};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::cgroup::parse_cgroup;
use crate::model::cgroup::Cgroup;
use crate::model::socket::Process;
use crate::source::file::beginning;

/// 15 bytes, and 63 for a kernel thread.
const COMM_MAX: usize = 256;
/// Some fifty numbers.
const STAT_MAX: usize = 4096;
/// A line for each hierarchy, each at most PATH_MAX long in practice.
const CGROUP_MAX: usize = 64 << 10;
/// `socket:[18446744073709551615]` is shorter; what is longer is no socket.
const LINK_MAX: usize = 64;
/// Room for a thousand names of descriptors.
const NAMES: usize = 32 << 10;

/// PF_KTHREAD of include/linux/sched.h, in the flags of stat.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// USER_HZ: the unit of times in stat is a hundredth of a second on every architecture that this check is built for.
const TICKS_PER_SECOND: u64 = 100;

/// The reason why the descriptors of a process are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// The process has ended.
    Gone,
    /// The process is there, and this user may not list or follow them, or the kernel has no room for it.
    Unseen,
}

impl From<Errno> for Unlisted {
    fn from(error: Errno) -> Self {
        match error {
            // a file in the place of the directory is none of a process
            Errno::NOENT | Errno::SRCH | Errno::NOTDIR => Self::Gone,
            _ => Self::Unseen,
        }
    }
}

/// The open directory of a process.
pub(super) struct ProcessDirectory {
    directory: OwnedFd,
    pid: i32,
}

impl ProcessDirectory {
    /// Opens the directory of a process below the open directory of a procfs.
    pub(super) fn open(root: &OwnedFd, pid: i32) -> Result<Self, Unlisted> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(root, DecInt::new(pid), flags, Mode::empty())?;
        Ok(Self { directory, pid })
    }

    /// Opens a list of descriptors: `fd`, or that of a thread.
    pub(super) fn descriptors(&self, path: &str) -> Result<OwnedFd, Unlisted> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&self.directory, path, flags, Mode::empty())?)
    }

    /// The number of descriptors in a list of them, which kernels from 6.2 tell as its size; 0 before.
    pub(super) fn length(&self, path: &str) -> i64 {
        statat(&self.directory, path, AtFlags::empty()).map_or(0, |list| list.st_size)
    }

    /// The threads besides the first, if there are any.
    pub(super) fn other_threads(&self) -> Vec<i32> {
        // a link for each thread, and two that every directory has
        let is_alone = statat(&self.directory, "task", AtFlags::empty())
            .map_or(true, |tasks| tasks.st_nlink == 3);
        let mut threads = Vec::new();
        if let Some(tasks) = (!is_alone).then(|| self.descriptors("task").ok()).flatten() {
            let mut room = Vec::with_capacity(NAMES);
            let _ = numbers(&tasks, &mut room, |thread| {
                let thread = thread.parse::<i32>().ok();
                threads.extend(thread.filter(|thread| *thread != self.pid));
                ControlFlow::Continue(())
            });
        }
        threads
    }

    /// The process with the sockets it holds; none if it has ended. `uptime` is the time since the kernel started.
    pub(super) fn describe(
        &self,
        uid: Option<u32>,
        uptime: Option<Duration>,
        inodes: Vec<u64>,
    ) -> Option<Process> {
        let comm = self.read("comm", COMM_MAX)?;
        let stat = self.read("stat", STAT_MAX).unwrap_or_default();
        let stat = Stat::parse(&stat);
        let started = stat.as_ref().and_then(|stat| stat.started);
        Some(Process {
            pid: self.pid,
            command: parse_comm(&comm),
            cgroup: self.cgroup(),
            uid,
            threads: stat.map_or(0, |stat| stat.threads),
            age: uptime
                .zip(started)
                .map(|(now, then)| now.saturating_sub(then)),
            inodes,
        })
    }

    fn cgroup(&self) -> Cgroup {
        parse_cgroup(&self.read("cgroup", CGROUP_MAX).unwrap_or_default())
    }

    /// True if a process whose descriptors may not be read can have any that matter.
    pub(super) fn may_hold_sockets(&self) -> bool {
        let stat = self.read("stat", STAT_MAX).unwrap_or_default();
        Stat::parse(&stat).is_none_or(|stat| !stat.is_kernel_thread && !stat.is_zombie)
    }

    /// The beginning of a file of a process, without waiting for it; none if it cannot be read.
    fn read(&self, name: &str, limit: usize) -> Option<Vec<u8>> {
        beginning(&self.directory, name, limit)
    }
}

/// The command of a process and its group, by its directory; none if the process has ended.
pub(in crate::source) fn command_and_cgroup(directory: &OwnedFd) -> Option<(String, Cgroup)> {
    let comm = beginning(directory, "comm", COMM_MAX)?;
    let cgroup = beginning(directory, "cgroup", CGROUP_MAX).unwrap_or_default();
    Some((parse_comm(&comm), parse_cgroup(&cgroup)))
}

/// Reads links of descriptors.
pub(super) struct Links {
    names: Vec<u8>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            names: Vec::with_capacity(NAMES),
        }
    }
}

impl Links {
    /// Hands on each descriptor of a list: the inode if it is a socket. Ends early if `each` breaks.
    pub(super) fn of(
        &mut self,
        list: &OwnedFd,
        mut each: impl FnMut(Option<u64>) -> ControlFlow<()>,
    ) -> Result<(), Unlisted> {
        let mut refused = None;
        numbers(list, &mut self.names, |number| {
            let mut target = [0_u8; LINK_MAX];
            match readlinkat_raw(list, number, &mut target) {
                Ok(length) => each(socket_inode(target.get(..length).unwrap_or_default())),
                // one right for all descriptors of a process
                Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                    refused = Some(error);
                    ControlFlow::Break(())
                }
                // closed meanwhile
                Err(_) => ControlFlow::Continue(()),
            }
        })?;
        refused.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Hands on the entries of a directory whose names are numbers.
pub(super) fn numbers(
    directory: &OwnedFd,
    room: &mut Vec<u8>,
    mut each: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let room: &mut [MaybeUninit<u8>] = room.spare_capacity_mut();
    let mut entries = RawDir::new(directory, room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_str().unwrap_or_default();
        let is_number = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        if is_number && each(name).is_break() {
            break;
        }
    }
    Ok(())
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

/// The time in uptime: seconds with two decimals since the kernel was started.
pub(super) fn parse_uptime(bytes: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (seconds, rest) = text.split_once('.')?;
    let hundredths: u32 = rest.get(..2)?.parse().ok()?;
    let seconds = seconds.parse().ok()?;
    Some(Duration::new(seconds, hundredths * 10_000_000))
}

/// The fields of stat (proc_pid_stat(5)) that are used.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    /// When the process started, counted from the start of the kernel.
    started: Option<Duration>,
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
        let ticks: Option<u64> = fields.nth(22 - 21).and_then(|ticks| ticks.parse().ok());
        let started = |ticks: u64| ticks.saturating_mul(1000 / TICKS_PER_SECOND);
        Some(Self {
            threads,
            started: ticks.map(started).map(Duration::from_millis),
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

    /// The file of a shell on 6.18, except for the name, state, flags and threads.
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
                started: Some(Duration::from_millis(860)),
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
    fn the_start_of_a_process_is_not_known_if_stat_ends_before_it() {
        let whole = stat(b"ruby", 'S', 0, 25);
        let before = String::from_utf8_lossy(&whole).find(" 86 ").unwrap();
        let stat = Stat::parse(&whole[..before]).unwrap();
        assert_eq!((stat.threads, stat.started), (25, None));
    }

    #[test]
    fn uptime_has_seconds_and_hundredths() {
        let uptime = parse_uptime(b"5025.07 9000.11\n");
        assert_eq!(uptime, Some(Duration::from_millis(5_025_070)));
        for broken in [
            &b""[..],
            b"5025",
            b"5025.1",
            b"x.07",
            b".07 1",
            b"1.\xff\xff",
        ] {
            assert_eq!(parse_uptime(broken), None, "{broken:?}");
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
            let _ = (socket_inode(&bytes), Stat::parse(&bytes), parse_comm(&bytes), parse_uptime(&bytes));
        }
    }
}
