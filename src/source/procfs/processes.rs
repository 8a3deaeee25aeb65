//! Local sockets to the processes that hold them.
//!
//! The search begins with the processes of the users that the sockets belong to. The processes of other users are looked
//! at only until every socket has a holder. What it costs is bounded for each process and each user.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, statat};
use rustix::path::DecInt;

use super::allowance::{Allowance, Allowances};
use super::process::{Links, ProcessDirectory, Unlisted, numbers, parse_uptime};
use super::wanted::Wanted;
use crate::model::socket::{NoHolder, Process, SearchCut};
use crate::source::file;

/// Descriptors looked at of all threads that may have a list of their own.
const DESCRIPTORS_OF_THREADS: usize = 20_000;
/// The clock is asked once in so many descriptors.
const BETWEEN_LOOKS: usize = 64;
/// uptime has two numbers.
const UPTIME_MAX: usize = 128;

/// The processes behind sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// The processes that hold at least one of the sockets, by process id.
    pub processes: Vec<Process>,
    /// The sockets that are still open and of which no holder was found, by inode.
    pub missing: Vec<u64>,
    /// The sockets that were closed during the search, by inode.
    pub closed: Vec<u64>,
    /// Whether there are processes whose descriptors may not be read for lack of privilege. Kernel threads and zombies
    /// do not count, because they hold no descriptors.
    pub unseen: bool,
    /// Why not every process was looked at that may hold one of the missing sockets.
    pub cut: Option<SearchCut>,
}

impl Owners {
    /// Why sockets are missing.
    pub fn no_holder(&self) -> NoHolder {
        match (self.cut, self.unseen) {
            (Some(_), _) => NoHolder::NotReached,
            (None, true) => NoHolder::NotPermitted,
            (None, false) => NoHolder::NoProcess,
        }
    }
}

/// Looks once for the processes that hold one of these sockets, given as inode and user id, until `deadline`.
pub fn owners(proc_root: &Path, sockets: &[(u64, u32)], deadline: Instant) -> Owners {
    let mut search = Search::new(proc_root, sockets, deadline);
    search.look();
    search.finish()
}

/// A process as the listing of the proc root shows it.
#[derive(Debug, Clone, Copy)]
struct Listed {
    pid: i32,
    /// The effective user id; none below a proc root that is no procfs, whose files belong to who made them.
    uid: Option<u32>,
}

/// A search for the processes that hold sockets.
///
/// Another user's descriptors take CAP_DAC_READ_SEARCH to list and CAP_SYS_PTRACE to follow. A process that ends
/// meanwhile is no error, and a proc root that cannot be read has no processes.
pub struct Search {
    root: Option<OwnedFd>,
    is_procfs: bool,
    uptime: Option<Duration>,
    deadline: Instant,
    wanted: Wanted,
    allowances: Allowances,
    closed: Vec<u64>,
    /// The processes that were looked at.
    known: Vec<i32>,
    processes: Vec<Process>,
    unseen: bool,
    cut: Option<SearchCut>,
    links: Links,
}

impl Search {
    /// Prepares a search for these sockets, given as inode and user id. Sockets without an inode have no holder.
    pub fn new(proc_root: &Path, sockets: &[(u64, u32)], deadline: Instant) -> Self {
        let wanted = Wanted::new(sockets);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // nothing is opened if nothing is wanted
        let open = || openat(CWD, proc_root, flags, Mode::empty()).ok();
        let root = if wanted.is_empty() { None } else { open() };
        let is_procfs = root
            .as_ref()
            .and_then(|root| fstatfs(root).ok())
            .is_some_and(|fs| fs.f_type == PROC_SUPER_MAGIC);
        Self {
            uptime: root.as_ref().and_then(|_| uptime(proc_root)),
            root,
            is_procfs,
            deadline,
            wanted,
            allowances: Allowances::new(deadline),
            closed: Vec::new(),
            known: Vec::new(),
            processes: Vec::new(),
            unseen: false,
            cut: None,
            links: Links::default(),
        }
    }

    /// Looks at every process that may hold one of the sockets.
    pub fn look(&mut self) {
        let mut listed = self.list();
        // who cannot see process 1 does not see those of other users (hidepid=2 in proc(5))
        self.unseen |= self.is_procfs && listed.first().is_none_or(|first| first.pid != 1);
        listed.sort_by_key(|process| self.wanted.is_stranger(process.uid));
        for process in listed {
            let is_needed = !self.wanted.are_all_held() || !self.wanted.is_stranger(process.uid);
            if !is_needed || self.is_over() {
                break;
            }
            self.look_at(process);
        }
    }

    /// Whether a holder was found of each socket.
    pub fn has_found_all(&self) -> bool {
        self.wanted.are_all_held()
    }

    /// Looks once more for the holders of the sockets that are missing, of which only `open`, in order, still exist: a
    /// socket may have gone to a process that began after the first look, or stand in the list of a thread.
    pub fn look_again(&mut self, open: &[u64]) {
        self.closed = self.wanted.close_all_but(open);
        if self.wanted.are_all_held() {
            return;
        }
        let listed = self.list();
        self.known.sort_unstable();
        let known = |process: &Listed| self.known.binary_search(&process.pid).is_ok();
        let (known, new): (Vec<Listed>, Vec<Listed>) = listed.into_iter().partition(known);
        for process in new {
            if self.wanted.are_all_held() || self.is_over() {
                return;
            }
            self.look_at(process);
        }
        self.look_at_threads(known);
    }

    /// What was found.
    pub fn finish(mut self) -> Owners {
        let missing = self.wanted.missing();
        let cut = self.cut.filter(|cut| match cut {
            SearchCut::TimeUp => !missing.is_empty(),
            SearchCut::TooManyDescriptors { uid } => self.wanted.count(*uid).missing > 0,
        });
        self.processes.sort_by_key(|process| process.pid);
        // the first list of a process and those of its threads
        self.processes.dedup_by(|more, process| {
            let is_same = more.pid == process.pid;
            if is_same {
                process.inodes.append(&mut more.inodes);
                process.inodes.sort_unstable();
                process.inodes.dedup();
            }
            is_same
        });
        Owners {
            processes: self.processes,
            missing,
            cut,
            closed: self.closed,
            unseen: self.unseen,
        }
    }

    /// The processes there are, by process id.
    fn list(&mut self) -> Vec<Listed> {
        let Some(root) = &self.root else {
            return Vec::new();
        };
        // a listing starts where the last one ended
        let Ok(root) = openat(root, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
            return Vec::new();
        };
        let mut listed = Vec::new();
        let mut names = Vec::with_capacity(16 << 10);
        let _ = numbers(&root, &mut names, |pid| {
            listed.extend(pid.parse().ok().map(|pid| Listed { pid, uid: None }));
            ControlFlow::Continue(())
        });
        if self.is_procfs {
            for process in &mut listed {
                // of the directory itself, which belongs to the effective user id whatever the process did to be
                // undumpable (`task_dump_owner` in fs/proc/base.c)
                let of_process = statat(&root, DecInt::new(process.pid), AtFlags::empty());
                process.uid = of_process.ok().map(|directory| directory.st_uid);
            }
        }
        listed.sort_unstable_by_key(|process| process.pid);
        listed
    }

    /// Whether the time is over.
    fn is_over(&mut self) -> bool {
        let is_over = Instant::now() >= self.deadline;
        if is_over {
            self.cut = Some(SearchCut::TimeUp);
        }
        is_over
    }

    /// Looks at the descriptors of a process.
    fn look_at(&mut self, Listed { pid, uid }: Listed) {
        let Some(allowance) = self.allowances.of(uid, self.wanted.count(uid)) else {
            self.leave_out(uid);
            return;
        };
        let Some(directory) = self.open(pid) else {
            return;
        };
        self.known.push(pid);
        let mut held = Vec::new();
        let mut looked_at = self.read_list(&directory, "fd", uid, allowance, &mut held);
        if looked_at == Ok(0) {
            // the first thread has ended and has no descriptors any more, the others have
            for thread in directory.other_threads() {
                let list = format!("task/{thread}/fd");
                looked_at = self.read_list(&directory, &list, uid, allowance, &mut held);
                if looked_at.is_ok_and(|looked_at| looked_at > 0) {
                    break;
                }
            }
        }
        if looked_at == Err(Unlisted::Denied) {
            self.unseen = self.unseen || directory.may_hold_sockets();
        }
        let descriptors = looked_at.unwrap_or_default();
        self.allowances.spend(uid, allowance, descriptors);
        self.note(&directory, uid, held);
    }

    fn open(&self, pid: i32) -> Option<ProcessDirectory> {
        ProcessDirectory::open(self.root.as_ref()?, pid)
    }

    /// Looks at the lists of threads that differ from the list of their process (CLONE_FILES in unshare(2)).
    fn look_at_threads(&mut self, processes: Vec<Listed>) {
        let users = self.wanted.missing_users();
        let of_the_users = processes
            .into_iter()
            .filter(|process| process.uid.is_none_or(|uid| users.contains(&uid)));
        let mut left = DESCRIPTORS_OF_THREADS;
        for Listed { pid, uid } in of_the_users {
            let Some(directory) = self.open(pid) else {
                continue;
            };
            let length = directory.length("fd");
            let mut held = Vec::new();
            for thread in directory.other_threads() {
                if self.wanted.are_all_held() || left == 0 || self.is_over() {
                    break;
                }
                let list = format!("task/{thread}/fd");
                // a list of the same length is taken for the same list, which is the rule
                if length > 0 && directory.length(&list) == length {
                    continue;
                }
                let Some(mut allowance) = self.allowances.of(uid, self.wanted.count(uid)) else {
                    break;
                };
                allowance.descriptors = allowance.descriptors.min(left);
                let looked_at = self.read_list(&directory, &list, uid, allowance, &mut held);
                let descriptors = looked_at.unwrap_or_default();
                self.allowances.spend(uid, allowance, descriptors);
                left -= descriptors;
            }
            self.note(&directory, uid, held);
        }
    }

    /// Adds the sockets of a list of descriptors that are wanted to `held`; returns how many descriptors were looked at.
    fn read_list(
        &mut self,
        directory: &ProcessDirectory,
        list: &str,
        uid: Option<u32>,
        allowance: Allowance,
        held: &mut Vec<u64>,
    ) -> Result<usize, Unlisted> {
        let list = directory.descriptors(list)?;
        let mut looked_at = 0;
        let mut is_whole = true;
        let wanted = &self.wanted;
        self.links.of(&list, |inode| {
            let is_over =
                looked_at % BETWEEN_LOOKS == BETWEEN_LOOKS - 1 && Instant::now() >= allowance.until;
            if is_over || looked_at >= allowance.descriptors {
                is_whole = false;
                return ControlFlow::Break(());
            }
            looked_at += 1;
            held.extend(inode.filter(|inode| wanted.contains(*inode)));
            ControlFlow::Continue(())
        })?;
        if !is_whole && !self.is_over() {
            self.leave_out(uid);
        }
        Ok(looked_at)
    }

    /// Notes that descriptors of a user are not looked at. That does not matter if none of the missing sockets is the
    /// user's.
    fn leave_out(&mut self, uid: Option<u32>) {
        if self.wanted.count(uid).missing > 0 {
            self.cut
                .get_or_insert(SearchCut::TooManyDescriptors { uid });
        }
    }

    /// Notes a process that holds some of the sockets, unless it has ended since.
    fn note(&mut self, directory: &ProcessDirectory, uid: Option<u32>, mut held: Vec<u64>) {
        if held.is_empty() {
            return;
        }
        held.sort_unstable();
        held.dedup();
        let Some(process) = directory.describe(uid, self.uptime, held) else {
            return;
        };
        process
            .inodes
            .iter()
            .for_each(|inode| self.wanted.hold(*inode));
        self.processes.push(process);
    }
}

fn uptime(proc_root: &Path) -> Option<Duration> {
    let bytes = file::read(&proc_root.join("uptime"), UPTIME_MAX).ok()?;
    parse_uptime(&bytes)
}
