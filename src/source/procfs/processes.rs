//! Local sockets to the processes that hold them.
//!
//! The search begins with the processes of the users that the sockets belong to. The processes of other users are
//! looked at only until every socket has a holder. The cost is bounded for each process and each user.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, statat};
use rustix::path::DecInt;

use super::allowance::{Allowance, Allowances};
use super::process::{Links, ProcessDirectory, Unlisted, numbers, parse_uptime};
use super::wanted::WantedSockets;
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
pub struct SocketProcesses {
    /// The processes that hold at least one of the sockets, by process id.
    pub processes: Vec<Process>,
    /// The sockets that are still open and of which no holder was found, by inode.
    pub missing: Vec<u64>,
    /// The sockets that were closed during the search, by inode.
    pub closed: Vec<u64>,
    /// True if there are processes whose descriptors could not be read, for lack of privilege as a rule. Kernel threads
    /// and zombies do not count, because they hold no descriptors.
    pub unseen: bool,
    /// The reason why a process that may hold a missing socket was not looked at.
    pub cut: Option<SearchCut>,
}

impl SocketProcesses {
    /// The reason why sockets are missing.
    pub fn no_holder(&self) -> NoHolder {
        match (self.cut, self.unseen) {
            (Some(_), _) => NoHolder::NotReached,
            (None, true) => NoHolder::NotPermitted,
            (None, false) => NoHolder::NoProcess,
        }
    }
}

/// Looks once for the processes that hold one of these sockets, given as inode and user id, until `deadline`.
pub fn owners(proc_root: &Path, sockets: &[(u64, u32)], deadline: Instant) -> SocketProcesses {
    let mut search = Search::new(proc_root, sockets.to_vec(), deadline);
    search.look();
    search.finish()
}

/// A process as the listing of the proc root shows it.
#[derive(Debug, Clone, Copy)]
struct ListedProcess {
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
    wanted: WantedSockets,
    allowances: Allowances,
    closed: Vec<u64>,
    /// The processes that were looked at.
    known: Vec<i32>,
    processes: Vec<Process>,
    unseen: bool,
    cut: Option<SearchCut>,
    /// Descriptors of threads that may still be looked at.
    left: usize,
    links: Links,
}

impl Search {
    /// Prepares a search for these sockets, given as inode and user id. Sockets without an inode have no holder.
    pub fn new(proc_root: &Path, sockets: Vec<(u64, u32)>, deadline: Instant) -> Self {
        let wanted = WantedSockets::new(sockets);
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
            left: DESCRIPTORS_OF_THREADS,
            links: Links::default(),
        }
    }

    /// Looks at every process that may hold one of the sockets.
    pub fn look(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        let listed = self.list();
        // a user that cannot see process 1 does not see those of other users (hidepid=2 in proc(5))
        self.unseen |= self.is_procfs && listed.first().is_none_or(|first| first.pid != 1);
        for of_strangers in [false, true] {
            for process in &listed {
                if self.is_over() || (of_strangers && self.wanted.are_all_held()) {
                    return;
                }
                if self.wanted.is_stranger(process.uid) == of_strangers {
                    self.look_at(*process);
                }
            }
        }
    }

    /// True if a holder was found of each socket.
    pub fn has_found_all(&self) -> bool {
        self.wanted.are_all_held()
    }

    /// True if a holder was found of this socket.
    pub fn has_found(&self, inode: u64) -> bool {
        self.wanted.is_held(inode)
    }

    /// The sockets of which no holder was found yet, by inode.
    pub fn missing(&self) -> Vec<u64> {
        self.wanted.missing()
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
        let known = std::mem::take(&mut self.known);
        let is_known = |process: &ListedProcess| known.binary_search(&process.pid).is_ok();
        for process in listed.iter().filter(|process| !is_known(process)) {
            if self.wanted.are_all_held() || self.is_over() {
                return;
            }
            self.look_at(*process);
        }
        for process in listed.iter().filter(|process| is_known(process)) {
            self.look_at_threads(*process);
        }
    }

    /// Ends the search before the missing sockets were looked for again.
    pub fn break_off(&mut self) {
        self.cut = Some(SearchCut::TimeUp);
    }

    /// The result of the search.
    pub fn finish(self) -> SocketProcesses {
        let missing = self.missing();
        let cut = self.cut.filter(|cut| match cut {
            SearchCut::TimeUp => !missing.is_empty(),
            SearchCut::TooManyDescriptors { uid } => self.wanted.count(*uid).missing > 0,
        });
        let processes = by_pid(self.processes);
        SocketProcesses {
            processes,
            missing,
            cut,
            closed: self.closed,
            unseen: self.unseen,
        }
    }

    /// The processes there are, by process id.
    fn list(&mut self) -> Vec<ListedProcess> {
        let mut pids: Vec<i32> = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // each listing from its beginning
        let root = self
            .root
            .as_ref()
            .and_then(|root| openat(root, ".", flags, Mode::empty()).ok());
        let mut names = Vec::with_capacity(16 << 10);
        let listed = root.as_ref().map(|root| {
            numbers(root, &mut names, |pid| {
                pids.extend(pid.parse::<i32>());
                ControlFlow::Continue(())
            })
        });
        self.unseen |= !matches!(listed, Some(Ok(())));
        pids.sort_unstable();
        let listed = pids.into_iter().map(|pid| ListedProcess {
            pid,
            uid: self.user(pid),
        });
        listed.collect()
    }

    /// The effective user id of a process, to which its directory belongs even if nothing in it does: what is in it
    /// belongs to root if the process may not be dumped (`task_dump_owner` in fs/proc/base.c).
    fn user(&self, pid: i32) -> Option<u32> {
        let root = self.root.as_ref().filter(|_| self.is_procfs)?;
        let directory = statat(root, DecInt::new(pid), AtFlags::empty()).ok()?;
        Some(directory.st_uid)
    }

    /// True if the time is over.
    fn is_over(&mut self) -> bool {
        let is_over = Instant::now() >= self.deadline;
        if is_over {
            self.cut = Some(SearchCut::TimeUp);
        }
        is_over
    }

    /// Looks at the descriptors of a process.
    fn look_at(&mut self, ListedProcess { pid, uid }: ListedProcess) {
        let Some(allowance) = self.allowances.of(uid, self.wanted.count(uid)) else {
            self.leave_out(uid);
            return;
        };
        let directory = match self.open(pid) {
            Some(Ok(directory)) => directory,
            Some(Err(Unlisted::Unseen)) => {
                self.unseen = true;
                return;
            }
            Some(Err(Unlisted::Gone)) | None => return,
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
        if looked_at == Err(Unlisted::Unseen) {
            self.unseen = self.unseen || directory.may_hold_sockets();
        }
        let descriptors = looked_at.unwrap_or_default();
        self.allowances.spend(uid, allowance, descriptors);
        self.note(&directory, uid, held);
    }

    fn open(&self, pid: i32) -> Option<Result<ProcessDirectory, Unlisted>> {
        let root = self.root.as_ref()?;
        Some(ProcessDirectory::open(root, pid))
    }

    /// Looks at the lists of the threads of a process that differ from the list of the process (CLONE_FILES in
    /// unshare(2)).
    fn look_at_threads(&mut self, ListedProcess { pid, uid }: ListedProcess) {
        let is_needed = |search: &Self| search.wanted.count(uid).missing > 0 && search.left > 0;
        if !is_needed(self) {
            return;
        }
        let Some(Ok(directory)) = self.open(pid) else {
            return;
        };
        // the size of a directory elsewhere is another matter
        let length = if self.is_procfs {
            directory.length("fd")
        } else {
            0
        };
        let mut held = Vec::new();
        for thread in directory.other_threads() {
            let list = format!("task/{thread}/fd");
            // a list of the same length is taken for the same list, which is the rule
            if length > 0 && directory.length(&list) == length {
                continue;
            }
            let allowance = self.allowances.of(uid, self.wanted.count(uid));
            let Some(mut allowance) = allowance.filter(|_| is_needed(self) && !self.is_over())
            else {
                break;
            };
            allowance.descriptors = allowance.descriptors.min(self.left);
            let looked_at = self.read_list(&directory, &list, uid, allowance, &mut held);
            let descriptors = looked_at.unwrap_or_default();
            self.allowances.spend(uid, allowance, descriptors);
            self.left -= descriptors;
        }
        self.note(&directory, uid, held);
    }

    /// Adds the wanted sockets of a list of descriptors to `held`; returns how many descriptors were looked at.
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

/// Each process once, by process id: what the first list of a process and those of its threads have comes together.
fn by_pid(processes: Vec<Process>) -> Vec<Process> {
    if processes.is_sorted_by(|one, next| one.pid < next.pid) {
        return processes;
    }
    let pids = processes.iter().map(|process| process.pid);
    // process ids are positive
    let mut order: Vec<(u64, u32)> = pids.map(|pid| pid.unsigned_abs().into()).zip(0..).collect();
    order.sort_unstable();
    let mut processes: Vec<Option<Process>> = processes.into_iter().map(Some).collect();
    let mut sorted: Vec<Process> = Vec::with_capacity(processes.len());
    for (_, place) in order {
        let taken = processes.get_mut(place as usize).and_then(Option::take);
        match (taken, sorted.last_mut()) {
            (Some(mut more), Some(last)) if last.pid == more.pid => {
                last.inodes.append(&mut more.inodes);
                last.inodes.sort_unstable();
                last.inodes.dedup();
            }
            (taken, _) => sorted.extend(taken),
        }
    }
    sorted
}

fn uptime(proc_root: &Path) -> Option<Duration> {
    let bytes = file::read(&proc_root.join("uptime"), UPTIME_MAX).ok()?;
    parse_uptime(&bytes)
}
