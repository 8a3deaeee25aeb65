//! The unit or the container that a process belongs to. The cgroup path is its identity, its name is for people.

use std::fmt;

use crate::model::text::named;
use crate::model::user::{User, Users};

/// As many digits of a container's id as people use: `docker ps` shows twelve.
const SHORT_ID: usize = 12;

/// The control group of a process (cgroups(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cgroup {
    /// The path of the group, cut behind the directory that has the name. Two units of the same name have two paths.
    pub path: String,
    /// The name.
    pub name: Name,
}

/// The name of a control group.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Neither a unit nor a container: a login session, the init process, a kernel without control groups.
    #[default]
    Nothing,
    /// A unit of this host.
    Unit(Unit),
    /// A container. There may be as many processes as there are process ids, and few of them are in one.
    Container(Box<Container>),
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The full name, as in `nginx.service`.
    pub name: String,
    /// The user whose service manager runs the unit; none for a unit of the system's service manager.
    pub user: Option<User>,
}

/// A container, or the pod that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// The name, or the whole id; none for a process in a pod but in none of its containers.
    pub name: Option<ContainerName>,
    /// The prefix that a runtime gives to the group: `docker`, `cri-containerd`, `libpod`.
    pub runtime: Option<String>,
    /// The uid of the Kubernetes pod.
    pub pod: Option<String>,
    /// The unit inside the container.
    pub inside: Option<Unit>,
    /// The unit of this host that runs the container, unless the container is in a pod.
    pub outside: Option<Unit>,
    /// The user of this host that runs the container in a service manager of its own.
    pub user: Option<User>,
}

/// The name of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerName {
    /// An id of 64 hexadecimal digits.
    Id(String),
    /// A name that people gave.
    Given(String),
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id.get(..SHORT_ID).unwrap_or(id)),
            Self::Given(name) => f.write_str(&named(name)),
        }
    }
}

impl Container {
    fn head(&self) -> String {
        let container = self.name.as_ref().map(|name| format!("container {name}"));
        let pod = self.pod.as_ref().filter(|_| container.is_none());
        let pod = pod.map(|pod| format!("pod {}", named(pod)));
        let inside = self.inside.as_ref().map(|unit| named(&unit.name));
        let parts: Vec<String> = container.into_iter().chain(pod).chain(inside).collect();
        parts.join(", ")
    }

    fn remarks(&self) -> Vec<String> {
        let pod = self.pod.as_ref().filter(|_| self.name.is_some());
        let pod = pod.map(|pod| format!("pod {}", named(pod)));
        let outside = self.outside.as_ref().filter(|_| self.pod.is_none());
        let outside = outside.map(|unit| named(&unit.name));
        let inner = self.inside.as_ref().and_then(|unit| unit.user.clone());
        let user = inner.or_else(|| self.user.clone());
        let remarks = pod.into_iter().chain(outside);
        remarks.chain(user.map(|user| user.to_string())).collect()
    }
}

impl Name {
    /// The name with remarks in brackets, of which `more` are the last; none if the group has no name.
    pub fn with(&self, more: &[&str]) -> Option<String> {
        let (head, mut remarks) = match self {
            Self::Nothing => return None,
            Self::Unit(unit) => {
                let user = unit.user.as_ref().map(User::to_string);
                (named(&unit.name), user.into_iter().collect())
            }
            Self::Container(container) => (container.head(), container.remarks()),
        };
        remarks.extend(more.iter().map(|&remark| remark.to_owned()));
        Some(if remarks.is_empty() {
            head
        } else {
            format!("{head} ({})", remarks.join(", "))
        })
    }

    /// The user of this host in whose service manager the unit or the container is.
    pub fn user(&self) -> Option<u32> {
        let user = match self {
            Self::Nothing => None,
            Self::Unit(unit) => unit.user.as_ref(),
            Self::Container(container) => container.user.as_ref(),
        };
        user.map(|user| user.uid)
    }

    /// Gives the user of this host a name. A user id inside a container means a user of the container.
    pub fn name_user(&mut self, users: &Users) {
        let user = match self {
            Self::Nothing => None,
            Self::Unit(unit) => unit.user.as_mut(),
            Self::Container(container) => container.user.as_mut(),
        };
        if let Some(user) = user {
            *user = users.user(user.uid);
        }
    }
}

impl Cgroup {
    /// True for a service manager of this host: it keeps a copy of each socket that it passed to a service
    /// (sd_listen_fds(3)).
    pub fn is_service_manager(&self) -> bool {
        self.name == Name::Nothing && self.path.ends_with("/init.scope")
    }
}
