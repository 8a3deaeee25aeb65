//! Owners of sockets: processes grouped by the unit, container or command that an operator would restart.

use core::time::Duration;
use std::cmp::Reverse;
use std::fmt;

use crate::model::cgroup::{Cgroup, Name};
use crate::model::socket::{NoHolder, Process};
use crate::model::text::{clean, named};
use crate::model::user::{User, Users};

/// The identity of an owner. Two owners may have the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerId {
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

impl fmt::Display for OwnerId {
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

impl OwnerId {
    /// The name by which systemctl knows it: of a service of this host's system manager.
    pub fn system_unit(&self) -> Option<String> {
        match self {
            Self::Group(Cgroup {
                name: Name::Unit(unit),
                ..
            }) if unit.user.is_none() && is_service(&unit.name) => Some(unit.name.clone()),
            _ => None,
        }
    }
}

/// True if systemctl takes this name for one service: of the characters that systemd.unit(5) allows, and short enough to
/// be printed whole. A scope can be stopped only, and that of a session is how somebody is logged in.
fn is_service(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.ends_with(".service")
        && !name.starts_with('-')
        && name.chars().all(is_allowed)
        && named(name) == name
}

/// True if a command could be taken for a unit, a container or a user. A process chooses its command itself.
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
    pub who: OwnerId,
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
    /// True if there may be more processes, because only a sample of the sockets was looked at.
    pub is_sample: bool,
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
            OwnerId::Group(group) => group.name.with(&[&process]).unwrap_or(process),
            who => format!("{who} ({process})"),
        }
    }
}

/// Reduces the connections of owners in proportion until they are no more than their `entries`, which are an estimate: a
/// sample may hold fewer of them than the table. An owner that is left without a connection is left out.
pub fn fit(owners: &mut Vec<Owner>, entries: u64) {
    let all: u64 = owners.iter().map(|owner| owner.connections as u64).sum();
    if all <= entries {
        return;
    }
    let part = |connections: u64| {
        let part = u128::from(connections) * u128::from(entries) / u128::from(all);
        usize::try_from(part).unwrap_or(usize::MAX)
    };
    let (mut so_far, mut fitted) = (0, 0);
    for owner in &mut *owners {
        so_far += owner.connections as u64;
        owner.connections = part(so_far).saturating_sub(fitted);
        fitted = part(so_far);
        if let Some(passed) = &mut owner.passed {
            passed.connections = part(passed.connections as u64).min(owner.connections);
        }
        owner.passed = owner.passed.take().filter(|passed| passed.connections > 0);
    }
    owners.retain(|owner| owner.connections > 0);
}

/// The owners of all sockets that processes were found for.
#[derive(Debug)]
pub struct Owners {
    processes: Vec<Process>,
    users: Users,
    no_holder: NoHolder,
    /// Each owner once.
    who: Vec<OwnerId>,
    /// The place of each process's owner.
    of_process: Vec<u32>,
    /// Inodes, each with the place of a process that holds it; in order.
    holders: Vec<(u64, u32)>,
}

impl Owners {
    /// The owners of what these processes hold. `no_holder` is why other sockets have no holder.
    pub fn new(processes: Vec<Process>, no_holder: NoHolder, users: Users) -> Self {
        let mut by_identity: Vec<(&Process, u32)> = processes.iter().zip(0..).collect();
        by_identity.sort_unstable_by_key(|(process, place)| (identity(process), *place));
        let mut of_process = vec![0; processes.len()];
        let mut owners = Vec::new();
        for group in by_identity.chunk_by(|(one, _), (next, _)| identity(one) == identity(next)) {
            for (_, place) in group {
                if let Some(owner) = of_process.get_mut(*place as usize) {
                    *owner = owners.len() as u32; // fewer than there are process ids
                }
            }
            let first = group.first();
            owners.extend(first.map(|(process, _)| who(process, &users)));
        }
        Self {
            holders: holders(&processes),
            who: owners,
            of_process,
            processes,
            users,
            no_holder,
        }
    }

    /// The user of a user id.
    pub fn user(&self, uid: u32) -> User {
        self.users.user(uid)
    }

    /// The owners of a socket: several if it was passed on and kept.
    pub fn of(&self, inode: u64) -> Vec<&OwnerId> {
        let mut owners: Vec<u32> = Vec::new();
        for (owner, ..) in self.places(inode) {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        let who = owners.iter().map(|owner| self.who.get(*owner as usize));
        who.flatten().collect()
    }

    /// The age of the oldest process that holds a socket; none if that is not known of each.
    pub fn age(&self, inode: u64) -> Option<Duration> {
        let ages = self.places(inode).map(|(.., process)| process.age);
        ages.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    /// The owner and the process of each holder of a socket.
    fn places(&self, inode: u64) -> impl Iterator<Item = (u32, u32, &Process)> {
        let begin = self.holders.partition_point(|(known, _)| *known < inode);
        let of_inode = self.holders.get(begin..).unwrap_or_default().iter();
        of_inode
            .take_while(move |(known, _)| *known == inode)
            .filter_map(|&(_, place)| {
                let owner = *self.of_process.get(place as usize)?;
                Some((owner, place, self.processes.get(place as usize)?))
            })
    }

    /// Groups sockets, given as inode and user id, by their owners: most connections first, then by name.
    ///
    /// Only processes that hold at least one of them count. Each of several owners of a socket has it. Sockets without
    /// an inode have no process; the kernel calls their owner user id 0 whoever it was, so they are not said to be
    /// root's.
    pub fn group(&self, sockets: Vec<(u64, u32)>) -> Vec<Owner> {
        let mut wanted = sockets;
        let all = wanted.len();
        wanted.retain(|(inode, _)| *inode != 0);
        let without_inode = all - wanted.len();
        wanted.sort_unstable();
        wanted.dedup_by_key(|(inode, _)| *inode);
        let mut groups = Groups::new(self.who.len());
        for &(inode, uid) in &wanted {
            groups.add(uid, self.places(inode));
        }
        groups.sort();
        let of_processes = groups.processes.chunk_by(|(one, _), (next, _)| one == next);
        let of_processes = of_processes.filter_map(|places| self.owner(places, &groups));
        let of_users = groups.of_users.chunk_by(|(one, _), (next, _)| one == next);
        let of_users = of_users.filter_map(|sockets| {
            let (_, uid) = *sockets.first()?;
            let user = self.users.user(uid);
            Some(nobody(OwnerId::User(user, self.no_holder), sockets.len()))
        });
        let without = (without_inode > 0).then(|| nobody(OwnerId::NoProcess, without_inode));
        let mut owners: Vec<Owner> = of_processes.chain(of_users).chain(without).collect();
        owners.sort_by_cached_key(|owner| {
            let name = owner.who.to_string();
            (Reverse(owner.connections), name, owner.pid)
        });
        owners
    }

    /// The owner of processes that hold sockets, given as the owner's place and theirs.
    fn owner(&self, places: &[(u64, u32)], groups: &Groups) -> Option<Owner> {
        let (owner, _) = *places.first()?;
        let processes = || {
            let places = places.iter();
            places.filter_map(|(_, place)| self.processes.get(*place as usize))
        };
        let first = processes().min_by_key(|process| process.pid)?;
        let passed = groups.passed.chunk_by(|one, next| one == next);
        let passed = passed.filter(|sockets| sockets.first().is_some_and(|(of, _)| *of == owner));
        // of equally many the lowest user id
        let most = passed.rev().max_by_key(|sockets| sockets.len());
        Some(Owner {
            who: self.who.get(owner as usize)?.clone(),
            command: first.command.clone(),
            pid: first.pid,
            processes: places.len(),
            connections: *groups.connections.get(owner as usize)?,
            threads: processes().fold(0, |sum, process| sum.saturating_add(process.threads)),
            is_sample: false,
            passed: most.and_then(|sockets| {
                let (_, uid) = *sockets.first()?;
                Some(Passed {
                    user: self.users.user(uid),
                    connections: sockets.len(),
                })
            }),
        })
    }
}

/// The identity of the owner of a process: the path of its group, and the command if the group has no name.
fn identity(process: &Process) -> (&str, &str) {
    let command = match process.cgroup.name {
        Name::Nothing => &process.command,
        _ => "",
    };
    (&process.cgroup.path, command)
}

/// The owner that a process belongs to.
fn who(process: &Process, users: &Users) -> OwnerId {
    let mut group = process.cgroup.clone();
    if group.name == Name::Nothing {
        return OwnerId::Command {
            command: process.command.clone(),
            path: group.path,
        };
    }
    group.name.name_user(users);
    OwnerId::Group(group)
}

/// The processes that hold each socket. A service manager that passed one to a service does not count beside it.
fn holders(processes: &[Process]) -> Vec<(u64, u32)> {
    // behind all other places
    const MANAGER: u32 = 1 << 31;
    let mut holders = Vec::new();
    for (process, place) in processes.iter().zip(0..) {
        let is_manager = process.cgroup.is_service_manager();
        let place: u32 = if is_manager { MANAGER | place } else { place };
        holders.extend(process.inodes.iter().map(|inode| (*inode, place)));
    }
    holders.sort_unstable();
    let mut last = None;
    holders.retain_mut(|(inode, place)| {
        let is_first = last.replace(*inode) != Some(*inode);
        let is_manager = *place & MANAGER != 0;
        *place &= !MANAGER;
        is_first || !is_manager
    });
    holders
}

/// Sockets by their owners.
struct Groups {
    /// For each owner.
    connections: Vec<usize>,
    /// The place of an owner and that of a process that holds one of its sockets.
    processes: Vec<(u64, u32)>,
    /// The place of an owner and the user of a socket that none of its holders is.
    passed: Vec<(u64, u32)>,
    /// The user of each socket without a holder, twice.
    of_users: Vec<(u64, u32)>,
    /// The owners of a socket, and whether it was passed on to each.
    of_socket: Vec<(u32, bool)>,
}

impl Groups {
    fn new(owners: usize) -> Self {
        Self {
            connections: vec![0; owners],
            processes: Vec::new(),
            passed: Vec::new(),
            of_users: Vec::new(),
            of_socket: Vec::new(),
        }
    }

    /// Adds a socket of a user with its holders.
    fn add<'a>(&mut self, uid: u32, holders: impl Iterator<Item = (u32, u32, &'a Process)>) {
        self.of_socket.clear();
        for (owner, place, process) in holders {
            self.processes.push((owner.into(), place));
            let is_foreign = uid != 0 && process.uid.is_some_and(|own| own != uid);
            let mut owners = self.of_socket.iter_mut();
            match owners.find(|(known, _)| *known == owner) {
                Some((_, all_are_foreign)) => *all_are_foreign &= is_foreign,
                None => self.of_socket.push((owner, is_foreign)),
            }
        }
        if self.of_socket.is_empty() {
            self.of_users.push((uid.into(), uid));
        }
        for &(owner, is_passed) in &self.of_socket {
            if let Some(connections) = self.connections.get_mut(owner as usize) {
                *connections += 1;
            }
            if is_passed {
                self.passed.push((owner.into(), uid));
            }
        }
    }

    fn sort(&mut self) {
        self.processes.sort_unstable();
        self.processes.dedup();
        self.passed.sort_unstable();
        self.of_users.sort_unstable();
    }
}

/// An owner without a process.
fn nobody(who: OwnerId, connections: usize) -> Owner {
    Owner {
        who,
        command: String::new(),
        pid: 0,
        processes: 0,
        connections,
        threads: 0,
        is_sample: false,
        passed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cgroup::{Container, ContainerName, Unit};

    #[test]
    fn connections_are_reduced_to_the_entries_that_an_estimate_leaves_them() {
        let fitted = |connections: &[usize], entries: u64| {
            let mut owners: Vec<Owner> = connections
                .iter()
                .map(|connections| Owner {
                    who: OwnerId::NoProcess,
                    command: String::new(),
                    pid: 1,
                    processes: 1,
                    connections: *connections,
                    threads: 1,
                    is_sample: false,
                    passed: None,
                })
                .collect();
            fit(&mut owners, entries);
            owners
                .iter()
                .map(|owner| owner.connections)
                .collect::<Vec<_>>()
        };
        assert_eq!(fitted(&[5, 1], 6), [5, 1]);
        assert_eq!(fitted(&[5, 1], 100), [5, 1]);
        assert_eq!(fitted(&[60, 30, 10], 50), [30, 15, 5]);
        assert_eq!(fitted(&[5, 1], 3), [2, 1]);
        assert_eq!(fitted(&[1, 1, 1], 1), [1]);
        assert_eq!(fitted(&[5, 1], 0), [0; 0]);
    }

    fn unit(path: &str, name: &str, user: Option<u32>) -> Cgroup {
        Cgroup {
            path: path.to_owned(),
            name: Name::Unit(Unit {
                name: name.to_owned(),
                user: user.map(User::unnamed),
            }),
        }
    }

    fn process(pid: i32, command: &str, cgroup: Cgroup, threads: u64, inodes: &[u64]) -> Process {
        Process {
            pid,
            command: command.to_owned(),
            cgroup,
            threads,
            inodes: inodes.to_vec(),
            ..Process::default()
        }
    }

    #[test]
    fn systemctl_gets_the_name_of_a_service_of_this_host_that_is_whole() {
        let of = |name: &str, user| OwnerId::Group(unit("/a", name, user)).system_unit();
        for name in ["nginx.service", "foo@1.service", r"app\x2dworker.service"] {
            assert_eq!(of(name, None).as_deref(), Some(name));
        }
        assert_eq!(of("nginx.service", Some(1000)), None);
        let long = format!("{}.service", "a".repeat(64));
        for name in [
            "session-3.scope",
            "-x.service",
            "a b.service",
            "a(b).service",
            &long,
        ] {
            assert_eq!(of(name, None), None, "{name}");
        }
    }

    /// A process in no unit.
    fn alone(pid: i32, command: &str, threads: u64, inodes: &[u64]) -> Process {
        process(pid, command, Cgroup::default(), threads, inodes)
    }

    fn of_user(uid: u32, process: Process) -> Process {
        Process {
            uid: Some(uid),
            ..process
        }
    }

    fn owners(processes: &[Process]) -> Owners {
        Owners::new(processes.to_vec(), NoHolder::NotPermitted, Users::default())
    }

    /// Owners in words: with the first process, connections, processes, threads, and what was passed on.
    fn said(owners: &[Owner]) -> Vec<String> {
        let said = |owner: &Owner| {
            let passed = owner.passed.as_ref();
            let passed =
                passed.map(|passed| format!(", {} of {}", passed.connections, passed.user));
            format!(
                "{} {} {} {}{}",
                owner.with_process(),
                owner.connections,
                owner.processes,
                owner.threads,
                passed.unwrap_or_default()
            )
        };
        owners.iter().map(said).collect()
    }

    fn group(processes: &[Process], sockets: &[(u64, u32)]) -> Vec<String> {
        said(&owners(processes).group(sockets.to_vec()))
    }

    #[test]
    fn processes_of_a_unit_are_one_owner_and_a_shared_socket_counts_once() {
        let sidekiq = || unit("/system.slice/sidekiq.service", "sidekiq.service", None);
        let processes = [
            process(900, "ruby", sidekiq(), 5, &[1, 2, 3]),
            process(812, "bundle", sidekiq(), 20, &[3, 4]),
            alone(7, "curl", 1, &[5]),
        ];
        let sockets = [(1, 33), (2, 33), (3, 33), (4, 33), (5, 0)];
        assert_eq!(
            group(&processes, &sockets),
            [
                "sidekiq.service (bundle[812]) 4 2 25",
                "curl (curl[7]) 1 1 1"
            ]
        );
    }

    #[test]
    fn units_of_the_same_name_are_told_apart_by_their_paths() {
        let container = Container {
            name: Some(ContainerName::Given("101".to_owned())),
            inside: Some(Unit {
                name: "nginx.service".to_owned(),
                user: None,
            }),
            ..Container::default()
        };
        let of_container = Cgroup {
            path: "/lxc/101/ns/system.slice/nginx.service".to_owned(),
            name: Name::Container(Box::new(container)),
        };
        let name = "nginx.service";
        let processes = [
            process(
                1,
                "nginx",
                unit("/system.slice/nginx.service", name, None),
                1,
                &[1, 2],
            ),
            process(
                2,
                "nginx",
                unit("/user@7.service/nginx.service", name, Some(7)),
                1,
                &[3],
            ),
            process(
                3,
                "nginx",
                unit("/user@8.service/nginx.service", name, Some(8)),
                1,
                &[4],
            ),
            process(4, "nginx", of_container, 1, &[5]),
            alone(5, name, 1, &[6]),
        ];
        let sockets = [1, 2, 3, 4, 5, 6].map(|inode| (inode, 33));
        assert_eq!(
            group(&processes, &sockets),
            [
                "nginx.service (nginx[1]) 2 1 1",
                "command nginx.service (nginx.service[5]) 1 1 1",
                "container 101, nginx.service (nginx[4]) 1 1 1",
                "nginx.service (uid 7, nginx[2]) 1 1 1",
                "nginx.service (uid 8, nginx[3]) 1 1 1",
            ]
        );
    }

    #[test]
    fn a_command_cannot_be_taken_for_anything_else() {
        for (command, shown) in [
            ("nginx", "nginx"),
            ("containerd-shim", "containerd-shim"),
            ("sshd.service", "command sshd.service"),
            (" SSHD.Service ", "command  SSHD.Service "),
            ("sshd\u{1b}.service", "command sshd.service"),
            ("a.service[1]", "command a.service[1]"),
            ("session-1.scope", "command session-1.scope"),
            ("container 4f2a", "command container 4f2a"),
            ("pod 1", "command pod 1"),
            ("uid 0", "command uid 0"),
            ("user root", "command user root"),
            ("no process", "command no process"),
            ("command x", "command command x"),
            ("x (user root)", "command x (user root)"),
            ("a, b", "command a, b"),
            ("|;", "(unnamed)"),
        ] {
            let owners = owners(&[alone(1, command, 1, &[1])]).group(vec![(1, 0)]);
            assert_eq!(owners[0].who.to_string(), shown, "{command:?}");
        }
    }

    #[test]
    fn commands_of_different_groups_are_different_owners() {
        let session = |number: u32| Cgroup {
            path: format!("/user.slice/session-{number}.scope"),
            name: Name::Nothing,
        };
        let processes = [
            process(1, "curl", session(1), 1, &[1]),
            process(2, "curl", session(2), 1, &[2]),
            process(3, "curl", session(1), 1, &[3]),
        ];
        assert_eq!(
            group(&processes, &[(1, 0), (2, 0), (3, 0)]),
            ["curl (curl[1]) 2 2 2", "curl (curl[2]) 1 1 1"]
        );
    }

    #[test]
    fn only_the_sockets_asked_for_count_and_only_the_processes_that_hold_them() {
        let processes = [alone(10, "nginx", 1, &[1, 2]), alone(11, "nginx", 64, &[2])];
        assert_eq!(group(&processes, &[(1, 33)]), ["nginx (nginx[10]) 1 1 1"]);
        assert_eq!(group(&processes, &[]), [""; 0]);
    }

    #[test]
    fn what_no_seen_process_holds_goes_by_its_user_and_says_why() {
        let sockets = [(1, 1000), (2, 1000), (3, 33), (4, 0)];
        let mut users = Users::default();
        users.add(1000, "alice");
        for (why, shown) in [
            (NoHolder::NotPermitted, ["user alice", "uid 0", "uid 33"]),
            (NoHolder::NotReached, ["user alice", "uid 0", "uid 33"]),
            (
                NoHolder::NoProcess,
                [
                    "user alice (no process)",
                    "uid 0 (no process)",
                    "uid 33 (no process)",
                ],
            ),
        ] {
            let owners = Owners::new(Vec::new(), why, users.clone()).group(sockets.to_vec());
            let names: Vec<String> = owners.iter().map(Owner::with_process).collect();
            assert_eq!(names, shown);
            assert_eq!(owners[0].connections, 2);
        }
    }

    #[test]
    fn sockets_without_an_inode_are_counted_each_and_are_nobodys() {
        let processes = [alone(1, "x", 1, &[0])];
        assert_eq!(
            group(&processes, &[(0, 0), (0, 0), (0, 1000)]),
            [format!("{NO_PROCESS} 3 0 0")]
        );
    }

    #[test]
    fn a_socket_listed_twice_is_one() {
        let processes = [alone(1, "x", 1, &[9, 9])];
        assert_eq!(group(&processes, &[(9, 0), (9, 0)]), ["x (x[1]) 1 1 1"]);
    }

    #[test]
    fn a_service_manager_does_not_count_beside_the_service_it_passed_a_socket_to() {
        let init = Cgroup {
            path: "/init.scope".to_owned(),
            name: Name::Nothing,
        };
        let rpcbind = unit("/system.slice/rpcbind.service", "rpcbind.service", None);
        let processes = [
            process(1, "systemd", init, 1, &[1, 2]),
            process(500, "rpcbind", rpcbind, 1, &[1]),
        ];
        let owners = owners(&processes);
        assert_eq!(
            said(&owners.group(vec![(1, 0)])),
            ["rpcbind.service (rpcbind[500]) 1 1 1"]
        );
        assert_eq!(
            said(&owners.group(vec![(2, 0)])),
            ["systemd (systemd[1]) 1 1 1"]
        );
        assert_eq!(owners.of(1).len(), 1);
    }

    #[test]
    fn sockets_of_another_user_are_said_to_be_passed_on_unless_that_user_is_root() {
        let dbus = || unit("/system.slice/dbus.service", "dbus.service", None);
        let broker = |inodes: &[u64]| of_user(81, process(70, "dbus", dbus(), 1, inodes));
        // three of mallory's, one of its own, one that root opened
        let sockets = [(1, 1002), (2, 1002), (3, 1002), (4, 81), (5, 0)];
        assert_eq!(
            group(&[broker(&[1, 2, 3, 4, 5])], &sockets),
            ["dbus.service (dbus[70]) 5 1 1, 3 of uid 1002"]
        );
        // the user that holds them too is no other user
        let mallory = of_user(1002, alone(80, "x", 1, &[1, 2]));
        assert_eq!(
            group(&[broker(&[1, 2, 3]), mallory.clone()], &sockets[..3]),
            [
                "dbus.service (dbus[70]) 3 1 1, 3 of uid 1002",
                "x (x[80]) 2 1 1",
            ]
        );
        // one of the processes of the unit may be that user's
        let worker = of_user(1002, process(71, "dbus", dbus(), 1, &[2]));
        assert_eq!(
            group(&[broker(&[1, 2]), worker], &sockets[..2]),
            ["dbus.service (dbus[70]) 2 2 2, 1 of uid 1002"]
        );
        // below a proc root that is no procfs users are not known
        let unknown = process(70, "dbus", dbus(), 1, &[1]);
        assert_eq!(
            group(&[unknown], &sockets[..1]),
            ["dbus.service (dbus[70]) 1 1 1"]
        );
    }

    #[test]
    fn the_age_of_a_socket_is_that_of_its_oldest_process_if_all_are_known() {
        let of_age = |seconds: Option<u64>, pid, inodes: &[u64]| Process {
            age: seconds.map(Duration::from_secs),
            ..alone(pid, "x", 1, inodes)
        };
        let owners = owners(&[
            of_age(Some(5), 1, &[1, 2, 3]),
            of_age(Some(9), 2, &[2]),
            of_age(None, 3, &[3]),
        ]);
        let ages = [1, 2, 3, 4].map(|inode| owners.age(inode).map(|age| age.as_secs()));
        assert_eq!(ages, [Some(5), Some(9), None, None]);
    }

    #[test]
    fn equal_numbers_are_ordered_by_name_whatever_the_order_of_the_processes() {
        let mut processes = vec![
            alone(3, "b", 1, &[1]),
            alone(2, "c", 1, &[2]),
            alone(9, "a", 1, &[3]),
        ];
        let sockets = [(1, 0), (2, 0), (3, 0)];
        let expected = ["a (a[9]) 1 1 1", "b (b[3]) 1 1 1", "c (c[2]) 1 1 1"];
        assert_eq!(group(&processes, &sockets), expected);
        processes.reverse();
        assert_eq!(group(&processes, &sockets), expected);
    }

    #[test]
    fn foreign_names_are_cleaned_and_never_empty() {
        let processes = [
            alone(1, "x|evil=1;rm\n\u{1b}[31m", 1, &[1]),
            alone(2, "", 1, &[2]),
            process(3, "|;$", unit("/b", "a`b.service", None), 1, &[3]),
            alone(4, &"y".repeat(200), u64::MAX, &[4]),
        ];
        let long = "y".repeat(64);
        assert_eq!(
            group(&processes, &[(1, 0), (2, 0), (3, 0), (4, 0)]),
            [
                "(unnamed) ((unnamed)[2]) 1 1 1".to_owned(),
                "ab.service ((unnamed)[3]) 1 1 1".to_owned(),
                "xevil=1rm[31m (xevil=1rm[31m[1]) 1 1 1".to_owned(),
                format!("{long} ({long}[4]) 1 1 {}", u64::MAX),
            ]
        );
    }
}
