//! The number that tells a network namespace from others, as far as it can be read without privilege.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::ct_stat;
use crate::model::error::{FileError, ReadError};
use crate::model::netns::NetnsId;
use crate::source::file;

/// Asks for SO_NETNS_COOKIE of a socket (from 5.14): a number that no other network namespace gets while the host runs.
pub type CookieOf = fn(BorrowedFd<'_>) -> Option<u64>;

/// The netlink sockets of a namespace, below the directory of a process.
const SOCKETS: &str = "net/netlink";
/// 10000 sockets.
const MAX_BYTES: usize = 1 << 20;

/// Reads the number of the network namespace of this process: its cookie, else its inode. `cookie_of` is none below
/// another proc root.
///
/// # Errors
/// Errors that may be over at the next run, which would find another number then.
pub fn own(proc_root: &Path, cookie_of: Option<CookieOf>) -> Result<NetnsId, Errno> {
    if let Some(of) = cookie_of {
        let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
        let cookie = match socket_with(family, SocketType::DGRAM, flags, None) {
            Ok(socket) => of(socket.as_fd()),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)) => {
                return Err(error);
            }
            // a sandbox without such sockets
            Err(_) => None,
        };
        if let Some(cookie) = cookie {
            return Ok(NetnsId::Cookie(cookie));
        }
    }
    let link = match std::fs::read_link(proc_root.join("self/ns/net")) {
        Ok(link) => link,
        Err(error) => match Errno::from_io_error(&error) {
            Some(error @ (Errno::NOMEM | Errno::IO)) => return Err(error),
            _ => return Ok(NetnsId::Unknown),
        },
    };
    let inode = || {
        let link = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
        link.parse().ok()
    };
    Ok(inode().map_or(NetnsId::Unknown, NetnsId::Inode))
}

/// The reason for which the number of a process's network namespace was not read.
pub(super) enum UnreadNetnsId {
    /// The process has ended.
    Gone,
    /// Reading failed this time.
    Failed(ReadError),
}

/// Reads the number of the network namespace of a process, by its open directory. `statistics` is the inode of its
/// net/stat/nf_conntrack, which is the number if the directory shows no netlink sockets.
///
/// # Errors
/// A number of another kind would be that of another namespace to the next run, so a failure is not replaced by one.
pub(super) fn of_process(
    process: &OwnedFd,
    path: &Path,
    statistics: u64,
) -> Result<NetnsId, UnreadNetnsId> {
    let path = path.join(SOCKETS);
    let sockets = match file::open_at(process, Path::new(SOCKETS)) {
        Ok(sockets) => sockets,
        Err(Errno::NOENT | Errno::SRCH) => {
            let still_there = statat(process, ct_stat::FILE, AtFlags::empty()).is_ok();
            return still_there
                .then_some(NetnsId::Statistics(statistics))
                .ok_or(UnreadNetnsId::Gone);
        }
        Err(error) => return Err(UnreadNetnsId::Failed(file::explain(&path, &error.into()))),
    };
    let text = file::contents(sockets, &path, MAX_BYTES).map_err(UnreadNetnsId::Failed)?;
    route_socket(&String::from_utf8_lossy(&text))
        .map(NetnsId::RouteSocket)
        .ok_or_else(|| {
            let malformed = FileError::Malformed {
                found: "no rtnetlink socket of the kernel".to_owned(),
                expected: "one",
            };
            UnreadNetnsId::Failed(ReadError::file(file::shown(&path), malformed))
        })
}

/// Finds the inode of the kernel's rtnetlink socket: protocol 0, port 0 (`netlink_native_seq_show` in
/// net/netlink/af_netlink.c).
fn route_socket(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let header = lines.next()?;
    let column = |name| {
        header
            .split_ascii_whitespace()
            .position(|word| word == name)
    };
    let (protocol, port, inode) = (column("Eth")?, column("Pid")?, column("Inode")?);
    let number = |line: &str, column| line.split_ascii_whitespace().nth(column)?.parse().ok();
    lines
        .find(|line| [protocol, port].map(|column| number(line, column)) == [Some(0); 2])
        .and_then(|line| number(line, inode))
        .filter(|inode| *inode > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";

    #[test]
    fn the_kernels_rtnetlink_socket_is_found_among_those_of_processes() {
        let text = format!(
            "{HEADER}00000000b0afbcc5 0   812        00000000 0        0        0     2        0        99       \n\
             00000000b0afbcc5 0   0          00000000 0        0        0     2        0        4       \n\
             000000006df41300 4   0          00000000 0        0        0     2        0        562     \n"
        );
        assert_eq!(route_socket(&text), Some(4));
    }

    #[test]
    fn without_that_socket_there_is_no_number() {
        let others = "0000 0 812 0 0 0 0 2 0 99\n0000 16 0 0 0 0 0 2 0 5\n";
        for text in [
            "",
            "nonsense\n0 0 0\n",
            HEADER,
            &format!("{HEADER}{others}"),
        ] {
            assert_eq!(route_socket(text), None, "{text:?}");
        }
        assert_eq!(
            route_socket(&format!("{HEADER}0 0 0 0 0 0 0 2 0 0\n")),
            None
        );
    }
}
