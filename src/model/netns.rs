//! A network namespace: its identity, what was read of it, and a process that is in it.

use std::fmt;
use std::net::IpAddr;

use crate::model::cgroup::Name;
use crate::model::error::ReadError;
use crate::model::readings::{Change, Reading, Readings};
use crate::model::sealed::number;
use crate::model::text::named;

/// The number that tells a network namespace from others, from one run to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetnsId {
    /// SO_NETNS_COOKIE (from 5.14): never used again while the host runs. Only a process inside the namespace can ask for
    /// it.
    Cookie(u64),
    /// The inode of the kernel's own rtnetlink socket, which /proc/PID/net/netlink shows to every user. The kernel counts
    /// these inodes upwards (`get_next_ino` in fs/inode.c), so the number of a namespace that is gone comes back only
    /// after 2^32 sockets and pipes.
    RouteSocket(u64),
    /// The inode of /proc/PID/ns/net. The kernel uses it again for a later namespace.
    Inode(u64),
    /// The inode of the namespace's net/stat/nf_conntrack. The kernel uses it again for a later namespace.
    Statistics(u64),
    /// There is no such number: below a proc root without these files.
    Unknown,
}

impl NetnsId {
    /// Returns true if a later namespace may get the number of one that is gone.
    pub fn may_be_reused(self) -> bool {
        matches!(self, Self::Inode(_) | Self::Statistics(_))
    }

    /// Reads what [`fmt::Display`] writes: the kind and the number.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            Some(("cookie", n)) => number(n).map(Self::Cookie),
            Some(("routesocket", n)) => number(n).map(Self::RouteSocket),
            Some(("inode", n)) => number(n).map(Self::Inode),
            Some(("statistics", n)) => number(n).map(Self::Statistics),
            None if text == "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(n) => write!(f, "cookie {n}"),
            Self::RouteSocket(n) => write!(f, "routesocket {n}"),
            Self::Inode(n) => write!(f, "inode {n}"),
            Self::Statistics(n) => write!(f, "statistics {n}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The extent of the walk over the processes, by which a run with `--netns all` finds their network namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// No process was looked at: `--netns all` was not given, or the proc root shows no network namespaces.
    NotDone,
    /// Some processes were not looked at: the time was up, or the procfs hides them.
    Partial,
    /// Every process was looked at.
    Complete,
}

/// A network namespace and what was read of it.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// The number that tells it from others, or why that could not be read this time.
    pub id: Reading<NetnsId>,
    /// The readings of the namespace.
    pub readings: Readings,
    /// The place where the namespace was seen; none if no processes were looked at.
    pub seen: Option<Sighting>,
    /// True if it is the one of this process.
    pub own: bool,
}

/// A network namespace and its comparison with the previous run.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The readings of the namespace.
    pub namespace: Namespace,
    /// The change since the previous run, or the reason why the change is not known.
    pub change: Reading<Change>,
}

/// Every network namespace that is judged.
#[derive(Debug)]
pub struct Observation {
    /// The namespace of this process.
    pub own: Namespace,
    /// The others that have a process on this host, if they are judged too.
    pub others: Vec<Namespace>,
    /// The part of the processes that was looked at for the namespaces.
    pub walk: Walk,
    /// The reason why not all namespaces could be seen, if all were to be judged.
    pub unseen: Option<ReadError>,
}

impl Observation {
    /// The namespace of this process alone.
    pub fn of_own(readings: Readings) -> Self {
        Self {
            own: Namespace {
                id: Ok(NetnsId::Unknown),
                readings,
                seen: None,
                own: true,
            },
            others: Vec::new(),
            walk: Walk::NotDone,
            unseen: None,
        }
    }

    /// The entries of all namespaces together, if every namespace was seen and counted.
    pub fn entries_of_all(&self) -> Option<u64> {
        if self.walk != Walk::Complete {
            return None;
        }
        let all = std::iter::once(&self.own).chain(&self.others);
        let counts = all.map(|namespace| {
            let count = namespace.readings.count.as_ref().ok();
            count.copied().map(u64::from)
        });
        counts.sum()
    }
}

/// The place where a namespace was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The lowest of its processes.
    pub pid: i32,
    /// The inode of its net/stat/nf_conntrack, by which it is known again.
    pub inode: u64,
}

/// The resident of a namespace, as far as it could still be read: its process with the lowest id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetnsRepresentative {
    /// The process; none where the namespace of this check has no process that could be seen.
    pub pid: Option<i32>,
    /// Its command; none where it ended meanwhile.
    pub command: Option<String>,
    /// The name of its unit or container.
    pub name: Name,
}

impl fmt::Display for NetnsRepresentative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, command) = match (self.pid, &self.command) {
            (None, _) => return f.write_str("this check"),
            (Some(pid), None) => return write!(f, "process {pid}"),
            (Some(pid), Some(command)) => (pid, command),
        };
        let process = process(command, pid);
        f.write_str(&self.name.with(&[&process]).unwrap_or(process))
    }
}

fn process(command: &str, pid: i32) -> String {
    format!("{}[{pid}]", named(command))
}

impl NetnsRepresentative {
    /// The process alone: `python3[4144]`.
    pub fn process(&self) -> String {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => process(command, pid),
            _ => self.to_string(),
        }
    }

    /// The resident without its pod and its unit on the host, if its container has a name.
    #[must_use]
    pub fn without_pod(&self) -> Self {
        let mut resident = self.clone();
        let Name::Container(container) = &mut resident.name else {
            return resident;
        };
        if container.name.is_some() {
            container.pod = None;
            container.outside = None;
        }
        resident
    }

    /// The resident with its address: `container 4f2ac1d2e3f4 (python3[4144], 172.17.0.5)`.
    pub fn at(&self, address: IpAddr) -> String {
        let address = address.to_string();
        let process = match (self.pid, &self.command) {
            (Some(pid), Some(command)) => process(command, pid),
            _ => return address,
        };
        let named = self.name.with(&[&process, &address]);
        named.unwrap_or_else(|| format!("{process} ({address})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cgroup::{Container, ContainerName};
    use crate::model::readings::Limit;

    fn namespace(pid: i32, count: u32, limit: Limit) -> Namespace {
        let inode = pid.unsigned_abs().into();
        Namespace {
            id: Ok(NetnsId::Statistics(inode)),
            readings: Readings {
                count: Ok(count),
                limit: Ok(limit),
                buckets: Ok(u32::MAX),
                ..Readings::none()
            },
            seen: Some(Sighting { pid, inode }),
            own: false,
        }
    }

    #[test]
    fn a_sum_is_of_all_or_none() {
        let of = |count| namespace(1, count, Limit::Entries(1));
        let mut all = Observation {
            own: of(u32::MAX),
            others: vec![of(u32::MAX)],
            walk: Walk::Complete,
            unseen: None,
        };
        assert_eq!(all.entries_of_all(), Some(2 * 0xffff_ffff));
        all.walk = Walk::Partial;
        assert_eq!(all.entries_of_all(), None);
        all.walk = Walk::Complete;
        all.others[0].readings.count = Err(ReadError::NotReached);
        assert_eq!(all.entries_of_all(), None);
    }

    #[test]
    fn a_resident_is_told_as_far_as_it_is_known() {
        let resident = |pid, command: Option<&str>, name| {
            NetnsRepresentative {
                pid,
                command: command.map(str::to_owned),
                name,
            }
            .to_string()
        };
        assert_eq!(resident(None, None, Name::Nothing), "this check");
        assert_eq!(resident(Some(5), None, Name::Nothing), "process 5");
        assert_eq!(resident(Some(5), Some("a|b;c\n"), Name::Nothing), "abc[5]");
        let container = Name::Container(Box::new(Container {
            name: Some(ContainerName::Id("4f2ac1d2e3f4".repeat(6))),
            pod: Some("aa".to_owned()),
            ..Container::default()
        }));
        assert_eq!(
            resident(Some(5), Some("nginx"), container),
            "container 4f2ac1d2e3f4 (pod aa, nginx[5])"
        );
    }
}
