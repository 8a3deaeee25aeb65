//! Local sockets from net/tcp, net/tcp6, net/udp and net/udp6 below another procfs.

use std::path::Path;

use procfs::FromBufReadSI;
use procfs::LocalSystemInfo;
use procfs::net::{
    TcpNetEntries, TcpNetEntry, TcpState as SocketState, UdpNetEntries, UdpNetEntry,
};

use super::file;
use crate::entry::{Protocol, TcpState};
use crate::error::ReadError;
use crate::socket::LocalSocket;

/// A line is 150 bytes: some hundred thousand sockets.
const LONGEST: usize = 64 << 20;

/// Hands on every socket of the four files; a file that is missing has none.
///
/// # Errors
/// That of net/tcp, when it cannot be read.
pub(super) fn sockets(
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

fn parsed<T: FromBufReadSI>(path: &Path) -> Result<T, ReadError> {
    let bytes = file::read(path, LONGEST)?;
    T::from_buf_read(bytes.as_slice(), &LocalSystemInfo).map_err(|error| ReadError::Malformed {
        path: file::shown(path),
        found: crate::text::clean(&error.to_string()),
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
