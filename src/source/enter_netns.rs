//! The way into another network namespace, for its table and its sockets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::procfs::netns::{OWN_STATISTICS, still_there};
use crate::model::error::ReadError;
use crate::model::netns::Sighting;
use crate::model::text::clean;
use crate::runtime::privilege;

/// Access to the files and the sockets of a namespace.
#[derive(Debug, Clone)]
pub struct NetnsAccess {
    /// The folder that has its `net/`: the proc root, or in it the directory of one of its processes.
    pub net_root: PathBuf,
    /// True if netlink tells of it.
    pub live: bool,
    /// The reason why it was not entered, if it is not the namespace of this process.
    pub not_entered: Option<ReadError>,
}

impl NetnsAccess {
    /// The namespace of this process. `live` says that the proc root is the one of the running kernel.
    pub fn own(proc_root: &Path, live: bool) -> Self {
        Self {
            net_root: proc_root.to_owned(),
            live,
            not_entered: None,
        }
    }
}

/// Goes where the entries of a namespace can be read: into it where that is permitted, which from then on is what
/// /proc/net, netlink and every socket mean; else to the files of its process.
///
/// # Errors
/// [`ReadError::ProcessGone`].
pub fn go_to(proc_root: &Path, live: bool, seen: Sighting) -> Result<NetnsAccess, ReadError> {
    let gone = || ReadError::ProcessGone { pid: seen.pid };
    let process = still_there(proc_root, seen).ok_or_else(gone)?;
    let files = |not_entered| NetnsAccess {
        net_root: proc_root.join(seen.pid.to_string()),
        live: false,
        not_entered,
    };
    if !live {
        return Ok(files(None));
    }
    let may_enter = privilege::permits(privilege::ENTER);
    let entered = privilege::with(privilege::ENTER.union(privilege::OPEN_NAMESPACE), || {
        enter(proc_root, &process, seen)
    });
    match entered {
        Ok(()) => Ok(NetnsAccess::own(proc_root, live)),
        Err(Refused::Open) if may_enter => Ok(files(Some(ReadError::NotEntered {
            needs: "CAP_SYS_PTRACE",
        }))),
        Err(Refused::Open | Refused::Enter) => Ok(files(Some(ReadError::NotEntered {
            needs: "CAP_SYS_ADMIN",
        }))),
        Err(Refused::Left) => Err(gone()),
    }
}

/// The network namespace that a recorder returns to after it entered another one.
#[derive(Debug)]
pub struct Home {
    namespace: OwnedFd,
    /// The inode of its statistics, and where the file is.
    statistics: (u64, PathBuf),
}

impl Home {
    /// Remembers the network namespace of this process.
    ///
    /// # Errors
    /// The system's words.
    pub fn open(proc_root: &Path) -> Result<Self, String> {
        let path = proc_root.join(OWN_STATISTICS);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = openat(CWD, proc_root.join("self/ns/net"), flags, Mode::empty());
        let namespace = opened.map_err(words)?;
        let inode = statat(CWD, &path, AtFlags::empty()).map_err(words)?.st_ino;
        Ok(Self {
            namespace,
            statistics: (inode, path),
        })
    }

    /// Enters it again, unless this process is there.
    ///
    /// # Errors
    /// The system's words.
    pub fn back(&self) -> Result<(), String> {
        let (inode, path) = &self.statistics;
        let here = statat(CWD, path, AtFlags::empty()).map_err(words)?;
        if here.st_ino == *inode {
            return Ok(());
        }
        privilege::with(privilege::ENTER, || {
            let net = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.namespace.as_fd(), net).map_err(words)
        })
    }
}

fn words(error: Errno) -> String {
    clean(&error.to_string())
}

/// The error on the way into a namespace.
enum Refused {
    /// The link in /proc/PID/ns.
    Open,
    /// setns(2).
    Enter,
    /// The process has gone to another one since it was looked at.
    Left,
}

fn enter(proc_root: &Path, process: &OwnedFd, seen: Sighting) -> Result<(), Refused> {
    let open = |at: BorrowedFd<'_>, name: &Path| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat(at, name, flags, Mode::empty()).map_err(|_| Refused::Open)
    };
    let into = |namespace: &OwnedFd| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|_| Refused::Enter)
    };
    let own = open(CWD, &proc_root.join("self/ns/net"))?;
    into(&open(process.as_fd(), Path::new("ns/net"))?)?;
    let here = statat(CWD, proc_root.join(OWN_STATISTICS), AtFlags::empty());
    if here.is_ok_and(|here| here.st_ino == seen.inode) {
        return Ok(());
    }
    into(&own)?;
    Err(Refused::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_cannot_be_remembered_has_the_words_of_the_system() {
        let error = Home::open(Path::new("/nonexistent")).unwrap_err();
        assert!(error.contains("No such file or directory"), "{error}");
    }
}
