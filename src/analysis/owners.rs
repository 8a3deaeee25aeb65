//! Who owns sockets: processes grouped by what an operator would restart.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::socket::Process;
use crate::model::text::named;

/// The sockets that no process holds any more, or does not hold yet: in TIME_WAIT, orphaned, not yet accepted.
pub const NO_PROCESS: &str = "no process";

/// A service or program that holds sockets; or, with 0 processes, sockets of which only the user is known, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The systemd unit, else the command; `uid 1000` where no process was seen that holds them; [`NO_PROCESS`].
    pub name: String,
    /// The command of its process with the lowest id; empty without a process.
    pub command: String,
    /// The lowest process id; 0 without a process.
    pub pid: i32,
    /// Processes of the group that hold at least one of the sockets.
    pub processes: usize,
    /// How many of the sockets they hold; one that several of them share counts once.
    pub connections: usize,
    /// The threads of these processes.
    pub threads: u64,
}

/// What is one owner. As the kernel says it, because different names may look the same once they are cleaned.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Unit(&'a str),
    Command(&'a str),
    Uid(u32),
    NoProcess,
}

#[derive(Default)]
struct Group<'a> {
    processes: Vec<&'a Process>,
    inodes: BTreeSet<u64>,
    without_inode: usize,
}

/// Who holds these sockets, given as inode and uid: most connections first, then by name.
///
/// Only processes that hold at least one of them count. Where a socket is held by processes of several groups, as one
/// that systemd passed on, each group has it. Sockets without an inode have no process; the kernel calls their owner
/// uid 0 whoever it was, so they are not said to be root's.
pub fn group(processes: &[Process], sockets: &[(u64, u32)]) -> Vec<Owner> {
    let wanted: BTreeMap<u64, u32> = sockets.iter().copied().collect();
    let mut groups: BTreeMap<Key<'_>, Group<'_>> = BTreeMap::new();
    let mut held = BTreeSet::new();
    for process in processes {
        let inodes: Vec<u64> = process
            .inodes
            .iter()
            .copied()
            .filter(|inode| *inode != 0 && wanted.contains_key(inode))
            .collect();
        if inodes.is_empty() {
            continue;
        }
        let key = match &process.unit {
            Some(unit) => Key::Unit(unit),
            None => Key::Command(&process.command),
        };
        let group = groups.entry(key).or_default();
        group.processes.push(process);
        group.inodes.extend(&inodes);
        held.extend(inodes);
    }
    for (inode, uid) in wanted {
        if inode != 0 && !held.contains(&inode) {
            let group = groups.entry(Key::Uid(uid)).or_default();
            group.inodes.insert(inode);
        }
    }
    let without_inode = sockets.iter().filter(|(inode, _)| *inode == 0).count();
    if without_inode > 0 {
        groups.entry(Key::NoProcess).or_default().without_inode = without_inode;
    }
    let mut owners: Vec<Owner> = groups
        .into_iter()
        .map(|(key, group)| owner(&key, &group))
        .collect();
    owners.sort_by(|one, other| {
        other
            .connections
            .cmp(&one.connections)
            .then_with(|| one.name.cmp(&other.name))
            .then_with(|| one.pid.cmp(&other.pid))
    });
    owners
}

fn owner(key: &Key<'_>, group: &Group<'_>) -> Owner {
    let first = group.processes.iter().min_by_key(|process| process.pid);
    Owner {
        name: match key {
            Key::Unit(name) | Key::Command(name) => named(name),
            Key::Uid(uid) => format!("uid {uid}"),
            Key::NoProcess => NO_PROCESS.to_owned(),
        },
        command: first
            .map(|process| named(&process.command))
            .unwrap_or_default(),
        pid: first.map(|process| process.pid).unwrap_or_default(),
        processes: group.processes.len(),
        connections: group.inodes.len() + group.without_inode,
        threads: group
            .processes
            .iter()
            .fold(0, |sum, process| sum.saturating_add(process.threads)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(
        pid: i32,
        command: &str,
        unit: Option<&str>,
        threads: u64,
        inodes: &[u64],
    ) -> Process {
        Process {
            pid,
            command: command.to_owned(),
            unit: unit.map(str::to_owned),
            threads,
            inodes: inodes.to_vec(),
        }
    }

    fn owner(
        name: &str,
        command: &str,
        pid: i32,
        processes: usize,
        connections: usize,
        threads: u64,
    ) -> Owner {
        Owner {
            name: name.to_owned(),
            command: command.to_owned(),
            pid,
            processes,
            connections,
            threads,
        }
    }

    #[test]
    fn processes_of_a_unit_are_one_owner_and_a_shared_socket_counts_once() {
        let processes = [
            process(900, "ruby", Some("sidekiq.service"), 5, &[1, 2, 3]),
            process(812, "bundle", Some("sidekiq.service"), 20, &[3, 4]),
            process(7, "curl", None, 1, &[5]),
        ];
        let sockets = [(1, 33), (2, 33), (3, 33), (4, 33), (5, 0)];
        assert_eq!(
            group(&processes, &sockets),
            [
                owner("sidekiq.service", "bundle", 812, 2, 4, 25),
                owner("curl", "curl", 7, 1, 1, 1),
            ]
        );
    }

    #[test]
    fn only_the_sockets_asked_for_count_and_only_the_processes_that_hold_them() {
        let processes = [
            process(10, "nginx", None, 1, &[1, 2]),
            process(11, "nginx", None, 64, &[2]),
        ];
        assert_eq!(
            group(&processes, &[(1, 33)]),
            [owner("nginx", "nginx", 10, 1, 1, 1)]
        );
        assert_eq!(group(&processes, &[]), []);
    }

    #[test]
    fn what_no_seen_process_holds_goes_by_its_user() {
        let sockets = [(1, 1000), (2, 1000), (3, 33), (4, 0)];
        assert_eq!(
            group(&[], &sockets),
            [
                owner("uid 1000", "", 0, 0, 2, 0),
                owner("uid 0", "", 0, 0, 1, 0),
                owner("uid 33", "", 0, 0, 1, 0),
            ]
        );
    }

    #[test]
    fn sockets_without_an_inode_are_counted_each_and_are_nobodys() {
        let processes = [process(1, "x", None, 1, &[0])];
        assert_eq!(
            group(&processes, &[(0, 0), (0, 0), (0, 1000)]),
            [owner(NO_PROCESS, "", 0, 0, 3, 0)]
        );
    }

    #[test]
    fn a_socket_listed_twice_is_one() {
        let processes = [process(1, "x", None, 1, &[9, 9])];
        assert_eq!(
            group(&processes, &[(9, 0), (9, 0)]),
            [owner("x", "x", 1, 1, 1, 1)]
        );
    }

    #[test]
    fn a_command_does_not_pass_for_a_unit() {
        let processes = [
            process(1, "nginx", Some("nginx.service"), 1, &[1, 2]),
            process(2, "nginx.service", None, 1, &[3]),
        ];
        let got = group(&processes, &[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(
            got,
            [
                owner("nginx.service", "nginx", 1, 1, 2, 1),
                owner("nginx.service", "nginx.service", 2, 1, 1, 1),
            ]
        );
    }

    #[test]
    fn equal_numbers_are_ordered_by_name_whatever_the_order_of_the_processes() {
        let mut processes = vec![
            process(3, "b", None, 1, &[1]),
            process(2, "c", None, 1, &[2]),
            process(9, "a", None, 1, &[3]),
        ];
        let sockets = [(1, 0), (2, 0), (3, 0)];
        let got = group(&processes, &sockets);
        let names: Vec<&str> = got.iter().map(|owner| owner.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        processes.reverse();
        assert_eq!(group(&processes, &sockets), got);
    }

    #[test]
    fn foreign_names_are_cleaned_and_never_empty() {
        let processes = [
            process(1, "x|evil=1;rm\n\u{1b}[31m", None, 1, &[1]),
            process(2, "", None, 1, &[2]),
            process(3, "|;$", Some("a`b.service"), 1, &[3]),
            process(4, &"y".repeat(200), None, u64::MAX, &[4]),
        ];
        let got = group(&processes, &[(1, 0), (2, 0), (3, 0), (4, 0)]);
        assert_eq!(
            got,
            [
                owner("(unnamed)", "(unnamed)", 2, 1, 1, 1),
                owner("ab.service", "(unnamed)", 3, 1, 1, 1),
                owner("xevil=1rm[31m", "xevil=1rm[31m", 1, 1, 1, 1),
                owner(&"y".repeat(64), &"y".repeat(64), 4, 1, 1, u64::MAX),
            ]
        );
    }
}
