//! Local sockets from net/tcp, net/tcp6, net/udp and net/udp6 below another procfs.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use procfs::FromBufReadSI;
use procfs::LocalSystemInfo;
use procfs::net::{
    TcpNetEntries, TcpNetEntry, TcpState as SocketState, UdpNetEntries, UdpNetEntry,
};

use crate::model::conntrack::{Protocol, TcpState};
use crate::model::error::ReadError;
use crate::model::socket::LocalSocket;
use crate::source::file;

/// A line is 150 bytes: some hundred thousand sockets.
const LONGEST: usize = 64 << 20;

/// What is longer is no line of such a table.
const LONGEST_LINE: usize = 512;

/// Hands on every socket of the four files; a file that is missing has none.
///
/// # Errors
/// That of net/tcp, when it cannot be read.
pub(in crate::source) fn sockets(
    proc_root: &Path,
    mut each: impl FnMut(&LocalSocket),
) -> Result<(), ReadError> {
    for (index, name) in ["net/tcp", "net/tcp6"].iter().enumerate() {
        match parsed::<TcpNetEntries>(&proc_root.join(name)) {
            Ok(TcpNetEntries(entries)) => entries.iter().map(tcp).for_each(|socket| each(&socket)),
            Err(error) if index == 0 => return Err(error),
            Err(_) => {}
        }
    }
    for name in ["net/udp", "net/udp6"] {
        if let Ok(UdpNetEntries(entries)) = parsed::<UdpNetEntries>(&proc_root.join(name)) {
            entries.iter().map(udp).for_each(|socket| each(&socket));
        }
    }
    Ok(())
}

/// Hands on the established TCP sockets, line by line, until `each` has enough; a missing net/tcp6 has none.
///
/// # Errors
/// That of either file, and [`ReadError::NotReached`] at the deadline.
pub(in crate::source) fn established(
    proc_root: &Path,
    deadline: Instant,
    each: &mut dyn FnMut(&LocalSocket) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut enough = false;
    for (index, name) in ["net/tcp", "net/tcp6"].iter().enumerate() {
        let path = proc_root.join(name);
        let mut parsed = Ok(());
        // the parser passes over the first line of what it is given, which is the header here
        let mut given = Vec::new();
        let mut take = |line: &[u8]| {
            given.extend_from_slice(line);
            let entries = parse(&path, &given);
            given.clear();
            given.push(b'\n');
            match entries {
                Ok(TcpNetEntries(entries)) => {
                    let mut open = entries
                        .iter()
                        .filter(|entry| entry.state == SocketState::Established);
                    enough = open.any(|entry| each(&tcp(entry)).is_break());
                }
                Err(error) => parsed = Err(error),
            }
            if enough || parsed.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        match file::lines(&path, LONGEST_LINE, deadline, &mut take) {
            Err(ReadError::Missing { .. }) if index > 0 => {}
            read => read.and(parsed)?,
        }
        if enough {
            break;
        }
    }
    Ok(())
}

fn parsed<T: FromBufReadSI>(path: &Path) -> Result<T, ReadError> {
    parse(path, &file::read(path, LONGEST)?)
}

fn parse<T: FromBufReadSI>(path: &Path, bytes: &[u8]) -> Result<T, ReadError> {
    T::from_buf_read(bytes, &LocalSystemInfo).map_err(|error| ReadError::Malformed {
        path: file::shown(path),
        found: crate::model::text::clean(&error.to_string()),
        expected: "a table of sockets",
    })
}

fn tcp(entry: &TcpNetEntry) -> LocalSocket {
    let state = match entry.state {
        SocketState::Established => Some(TcpState::Established),
        SocketState::SynSent => Some(TcpState::SynSent),
        SocketState::SynRecv | SocketState::NewSynRecv => Some(TcpState::SynRecv),
        SocketState::FinWait1 | SocketState::FinWait2 => Some(TcpState::FinWait),
        SocketState::TimeWait => Some(TcpState::TimeWait),
        SocketState::Close => Some(TcpState::Close),
        SocketState::CloseWait => Some(TcpState::CloseWait),
        SocketState::LastAck | SocketState::Closing => Some(TcpState::LastAck),
        SocketState::Listen => None,
    };
    LocalSocket {
        protocol: Protocol::TCP,
        local: entry.local_address,
        remote: entry.remote_address,
        tcp_state: state,
        listening: state.is_none(),
        uid: entry.uid,
        inode: entry.inode,
    }
}

fn udp(entry: &UdpNetEntry) -> LocalSocket {
    LocalSocket {
        protocol: Protocol::UDP,
        local: entry.local_address,
        remote: entry.remote_address,
        tcp_state: None,
        listening: entry.remote_address.port() == 0,
        uid: entry.uid,
        inode: entry.inode,
    }
}
