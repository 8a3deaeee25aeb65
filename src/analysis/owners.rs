//! Who owns sockets: processes grouped by what an operator would restart.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::model::cgroup::{Cgroup, Name};
use crate::model::socket::{NoHolder, Process};
use crate::model::text::{clean, named};
use crate::model::user::{User, Users};

/// The identity of an owner. Two owners may have the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A unit or a container, by the path of its control group.
    Group(Cgroup),
    /// Processes of one command in a control group that has no name.
    Command {
        /// The command, which is foreign text.
        command: String,
        /// The path of the control group.
        path: String,
    },
    /// The user of sockets without a known holder.
    User(User, NoHolder),
    /// Sockets that no process holds any more, or does not hold yet: in TIME_WAIT, orphaned, not yet accepted.
    NoProcess,
}

/// The word for sockets without a process.
pub const NO_PROCESS: &str = "no process";

/// Beginnings of the names of owners that are no commands.
const OTHER_NAMES: [&str; 6] = [
    "container ",
    "pod ",
    "user ",
    "uid ",
    NO_PROCESS,
    "command ",
];

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(Cgroup { path, name }) => {
                f.write_str(&name.with(&[]).unwrap_or_else(|| named(path)))
            }
            Self::Command { command, .. } => {
                if looks_like_another(&clean(command)) {
                    f.write_str("command ")?;
                }
                f.write_str(&named(command))
            }
            Self::User(user, NoHolder::NoProcess) => write!(f, "{user} ({NO_PROCESS})"),
            Self::User(user, _) => user.fmt(f),
            Self::NoProcess => f.write_str(NO_PROCESS),
        }
    }
}

/// Whether a command could be taken for a unit, a container or a user. A process chooses its command itself.
fn looks_like_another(command: &str) -> bool {
    let command = command.trim_start().to_ascii_lowercase();
    OTHER_NAMES.iter().any(|name| command.starts_with(name))
        || [".service", ".scope"]
            .iter()
            .any(|unit| command.contains(unit))
        || command.contains(['(', ')', ','])
}

/// A service or program that holds sockets; or, with 0 processes, sockets of which only the user is known, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The identity.
    pub who: Who,
    /// The command of the process with the lowest id, which is foreign text; empty without a process.
    pub command: String,
    /// The lowest process id; 0 without a process.
    pub pid: i32,
    /// The processes of the group that hold at least one of the sockets.
    pub processes: usize,
    /// The number of the sockets they hold; a socket that several of them share counts once.
    pub connections: usize,
    /// The threads of these processes.
    pub threads: u64,
    /// The user that opened most of the sockets that came from another user.
    pub passed: Option<Passed>,
}

/// Sockets that a user opened and that processes of other users hold: they were passed on (SCM_RIGHTS in unix(7)), or
/// inherited. Root does so as a rule and is not noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The user that opened them.
    pub user: User,
    /// The number of such sockets.
    pub connections: usize,
}

impl Owner {
    /// The owner with its first process: `sidekiq.service (ruby[812])`.
    pub fn with_process(&self) -> String {
        let process = format!("{}[{}]", named(&self.command), self.pid);
        match &self.who {
            who if self.processes == 0 => who.to_string(),
            Who::Group(group) => group.name.with(&[&process]).unwrap_or(process),
            who => format!("{who} ({process})"),
        }
    }
}

/// The owners of all sockets that processes were found for.
#[derive(Debug)]
pub struct Owners {
    processes: Vec<Process>,
    users: Users,
    no_holder: NoHolder,
    /// Each owner once.
    who: Vec<Who>,
    /// The place of each process's owner.
    of_process: Vec<u32>,
    /// Inodes, each with the place of a process that holds it; in order.
    holders: Vec<(u64, u32)>,
}

impl Owners {
    /// The owners of what these processes hold. `no_holder` is why other sockets have no holder.
    pub fn new(processes: Vec<Process>, no_holder: NoHolder, users: Users) -> Self {
        let mut places: BTreeMap<Who, u32> = BTreeMap::new();
        let mut of_process = Vec::with_capacity(processes.len());
        for process in &processes {
            let next = places.len() as u32; // fewer than there are process ids
            of_process.push(*places.entry(who(process, &users)).or_insert(next));
        }
        let mut who: Vec<(Who, u32)> = places.into_iter().collect();
        who.sort_unstable_by_key(|(_, place)| *place);
        Self {
            holders: holders(&processes),
            who: who.into_iter().map(|(who, _)| who).collect(),
            of_process,
            processes,
            users,
            no_holder,
        }
    }

    /// The owners of a socket: several if it was passed on and kept.
    pub fn of(&self, inode: u64) -> Vec<&Who> {
        let mut places: Vec<u32> = self.places(inode).map(|(owner, _)| owner).collect();
        places.sort_unstable();
        places.dedup();
        let who = places
            .iter()
            .filter_map(|place| self.who.get(*place as usize));
        who.collect()
    }

    /// The age of the oldest process that holds a socket; none if that is not known of each.
    pub fn age(&self, inode: u64) -> Option<Duration> {
        let ages = self.places(inode).map(|(_, process)| process.age);
        ages.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    /// The owner and the process of each holder of a socket; a process that holds it twice comes once.
    fn places(&self, inode: u64) -> impl Iterator<Item = (u32, &Process)> {
        let begin = self.holders.partition_point(|(known, _)| *known < inode);
        let of_inode = self.holders.get(begin..).unwrap_or_default().iter();
        of_inode
            .take_while(move |(known, _)| *known == inode)
            .filter_map(|(_, place)| {
                let place = *place as usize;
                Some((*self.of_process.get(place)?, self.processes.get(place)?))
            })
    }

    /// Groups sockets, given as inode and user id, by their owners: most connections first, then by name.
    ///
    /// Only processes that hold at least one of them count. Each of several owners of a socket has it. Sockets without
    /// an inode have no process; the kernel calls their owner user id 0 whoever it was, so they are not said to be
    /// root's.
    pub fn group(&self, sockets: &[(u64, u32)]) -> Vec<Owner> {
        let mut wanted: Vec<(u64, u32)> = sockets.to_vec();
        wanted.retain(|(inode, _)| *inode != 0);
        wanted.sort_unstable();
        wanted.dedup_by_key(|(inode, _)| *inode);
        let without_inode = sockets.len() - sockets.iter().filter(|(inode, _)| *inode != 0).count();
        let mut groups: BTreeMap<u32, Group<'_>> = BTreeMap::new();
        let mut of_users: BTreeMap<u32, usize> = BTreeMap::new();
        for &(inode, uid) in &wanted {
            let mut is_held = false;
            for (owner, process) in self.places(inode) {
                groups.entry(owner).or_default().add(process, inode, uid);
                is_held = true;
            }
            if !is_held {
                *of_users.entry(uid).or_default() += 1;
            }
        }
        let of_processes = groups.into_iter().filter_map(|(place, group)| {
            let who = self.who.get(place as usize)?;
            Some(group.owner(who.clone(), &self.users))
        });
        let of_users = of_users.into_iter().map(|(uid, connections)| {
            let user = self.users.user(uid);
            nobody(Who::User(user, self.no_holder), connections)
        });
        let without = (without_inode > 0).then(|| nobody(Who::NoProcess, without_inode));
        let mut owners: Vec<Owner> = of_processes.chain(of_users).chain(without).collect();
        owners.sort_by_cached_key(|owner| {
            (Reverse(owner.connections), owner.who.to_string(), owner.pid)
        });
        owners
    }
}

/// The owner that a process belongs to.
fn who(process: &Process, users: &Users) -> Who {
    let mut group = process.cgroup.clone();
    if group.name == Name::Nothing {
        return Who::Command {
            command: process.command.clone(),
            path: group.path,
        };
    }
    group.name.name_user(users);
    Who::Group(group)
}

/// The processes that hold each socket. A service manager that passed one to a service does not count beside it.
fn holders(processes: &[Process]) -> Vec<(u64, u32)> {
    let manages = |place: u32| {
        let process = processes.get(place as usize);
        process.is_some_and(|process| process.cgroup.is_service_manager())
    };
    let mut holders: Vec<(u64, u32)> = processes
        .iter()
        .zip(0..)
        .flat_map(|(process, place)| process.inodes.iter().map(move |inode| (*inode, place)))
        .collect();
    holders.sort_unstable_by_key(|&(inode, place)| (inode, manages(place), place));
    let mut last = None;
    holders.retain(|&(inode, place)| {
        let is_needed = last != Some(inode) || !manages(place);
        last = Some(inode);
        is_needed
    });
    holders
}

/// The sockets of an owner.
#[derive(Default)]
struct Group<'a> {
    /// By process id.
    processes: BTreeMap<i32, &'a Process>,
    connections: usize,
    last: Option<u64>,
    /// Users that none of the holders of a socket is, each with the number of such sockets.
    passed: BTreeMap<u32, usize>,
    /// Whether the last socket counts as passed on so far.
    last_passed: bool,
}

impl<'a> Group<'a> {
    /// Adds a process that holds a socket. The processes that hold the same socket come one after the other.
    fn add(&mut self, process: &'a Process, inode: u64, uid: u32) {
        self.processes.insert(process.pid, process);
        let is_foreign = uid != 0 && process.uid.is_some_and(|own| own != uid);
        if self.last.replace(inode) != Some(inode) {
            self.connections += 1;
            self.last_passed = is_foreign;
            *self.passed.entry(uid).or_default() += usize::from(is_foreign);
        } else if self.last_passed && !is_foreign {
            self.last_passed = false;
            *self.passed.entry(uid).or_default() -= 1;
        }
    }

    fn owner(self, who: Who, users: &Users) -> Owner {
        let first = self.processes.values().next();
        let passed = self.passed.into_iter().filter(|(_, sockets)| *sockets > 0);
        let most = passed.max_by_key(|&(uid, sockets)| (sockets, Reverse(uid)));
        Owner {
            who,
            command: first.map_or(String::new(), |process| process.command.clone()),
            pid: first.map_or(0, |process| process.pid),
            processes: self.processes.len(),
            connections: self.connections,
            threads: self
                .processes
                .values()
                .fold(0, |sum, process| sum.saturating_add(process.threads)),
            passed: most.map(|(uid, connections)| Passed {
                user: users.user(uid),
                connections,
            }),
        }
    }
}

/// An owner without a process.
fn nobody(who: Who, connections: usize) -> Owner {
    Owner {
        who,
        command: String::new(),
        pid: 0,
        processes: 0,
        connections,
        threads: 0,
        passed: None,
    }
}
