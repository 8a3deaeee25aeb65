//! The number that tells a network namespace from others, as far as it can be read without privilege.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::ct_stat;
use crate::model::error::ReadError;
use crate::model::netns::NetnsId;
use crate::source::file;

/// Asks for SO_NETNS_COOKIE of a socket (from 5.14): a number that no other network namespace gets while the host runs.
pub type CookieOf = fn(BorrowedFd<'_>) -> Option<u64>;

/// The netlink sockets of a namespace, below the directory of a process.
const SOCKETS: &str = "net/netlink";
/// The bytes of it that are looked through: 10000 sockets.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the number of the network namespace of this process: its cookie, else its inode. Below another proc root, where
/// there is no `cookie_of` a socket, what that shows.
///
/// # Errors
/// Those that may be over at the next run, which would find another number then.
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

/// Why the number of a process's network namespace was not read.
pub(super) enum Unread {
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
) -> Result<NetnsId, Unread> {
    let path = path.join(SOCKETS);
    let failed = |error: &std::io::Error| Unread::Failed(file::explain(&path, error));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let sockets = match openat(process, SOCKETS, flags, Mode::empty()) {
        Ok(sockets) => std::fs::File::from(sockets),
        Err(Errno::NOENT | Errno::SRCH) => {
            let still_there = statat(process, ct_stat::FILE, AtFlags::empty()).is_ok();
            return still_there
                .then_some(NetnsId::Statistics(statistics))
                .ok_or(Unread::Gone);
        }
        Err(error) => return Err(failed(&error.into())),
    };
    match route_socket(BufReader::new(sockets.take(MAX_BYTES))) {
        Ok(Some(inode)) => Ok(NetnsId::RouteSocket(inode)),
        Ok(None) => Err(Unread::Failed(ReadError::Malformed {
            path: file::shown(&path),
            found: "no rtnetlink socket of the kernel".to_owned(),
            expected: "one",
        })),
        Err(error) => Err(failed(&error)),
    }
}

/// Finds the inode of the kernel's rtnetlink socket: protocol 0, port 0 (`netlink_native_seq_show` in
/// net/netlink/af_netlink.c).
fn route_socket(lines: impl BufRead) -> std::io::Result<Option<u64>> {
    let mut columns: Option<[usize; 3]> = None;
    for line in lines.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some([protocol, port, inode]) = columns else {
            let column = |name| words.iter().position(|word| *word == name);
            let (Some(protocol), Some(port), Some(inode)) =
                (column("Eth"), column("Pid"), column("Inode"))
            else {
                return Ok(None);
            };
            columns = Some([protocol, port, inode]);
            continue;
        };
        let number = |column: usize| words.get(column)?.parse::<u64>().ok();
        if number(protocol) == Some(0) && number(port) == Some(0) {
            return Ok(number(inode).filter(|inode| *inode > 0));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";

    fn found(text: &str) -> Option<u64> {
        route_socket(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_kernels_rtnetlink_socket_is_found_among_those_of_processes() {
        let text = format!(
            "{HEADER}00000000b0afbcc5 0   812        00000000 0        0        0     2        0        99       \n\
             00000000b0afbcc5 0   0          00000000 0        0        0     2        0        4       \n\
             000000006df41300 4   0          00000000 0        0        0     2        0        562     \n"
        );
        assert_eq!(found(&text), Some(4));
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
            assert_eq!(found(text), None, "{text:?}");
        }
        assert_eq!(found(&format!("{HEADER}0 0 0 0 0 0 0 2 0 0\n")), None);
    }
}
