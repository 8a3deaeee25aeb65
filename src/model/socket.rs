//! A socket of this host and the process that holds it.

use core::time::Duration;
use std::net::SocketAddr;

use crate::model::cgroup::Cgroup;
use crate::model::conntrack::{FlowKey, Protocol, TcpState};

/// A local socket as sock_diag tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalSocket {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// This end.
    pub local: SocketAddr,
    /// The far end; unspecified for a listening or unconnected socket.
    pub remote: SocketAddr,
    /// TCP's state in the words of the table; none for a listening socket and for UDP.
    pub tcp_state: Option<TcpState>,
    /// True if it only waits for connections.
    pub listening: bool,
    /// Its owner; 0 in TIME_WAIT.
    pub uid: u32,
    /// Its inode; 0 in TIME_WAIT and while it is being accepted: then no process holds it.
    pub inode: u64,
}

impl LocalSocket {
    /// Both ends, comparable with those of an entry.
    pub fn sides(&self) -> FlowKey {
        FlowKey::between(self.protocol, self.local, self.remote)
    }
}

/// The number of a TCP socket that waits for connections (include/net/tcp_states.h).
pub const TCP_LISTEN: u8 = 10;

/// The state of a TCP socket by its number (include/net/tcp_states.h), in the words of the table, which knows fewer. None
/// for a socket that listens and for numbers that no connection has.
pub fn tcp_state(number: u8) -> Option<TcpState> {
    Some(match number {
        1 => TcpState::Established,
        2 => TcpState::SynSent,
        3 | 12 => TcpState::SynRecv, // 12: TCP_NEW_SYN_RECV, a request that has no socket yet
        4 | 5 => TcpState::FinWait,
        6 => TcpState::TimeWait,
        7 => TcpState::Close,
        8 => TcpState::CloseWait,
        9 | 11 => TcpState::LastAck, // 11: TCP_CLOSING, both sides sent FIN
        _ => return None,
    })
}

/// A process that holds sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: i32,
    /// The name that the kernel keeps of the process: at most 15 bytes chosen by the process itself, so foreign text.
    pub command: String,
    /// The unit or container of the process.
    pub cgroup: Cgroup,
    /// The effective user id; none below a proc root that is no procfs.
    pub uid: Option<u32>,
    /// The number of threads.
    pub threads: u64,
    /// The time since the process started; none if that is not known.
    pub age: Option<Duration>,
    /// The sockets asked for that the process holds, in order.
    pub inodes: Vec<u64>,
}

/// The reason why no holder of a socket was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoHolder {
    /// The search ended before every process was looked at.
    NotReached,
    /// Some processes may not be looked into by the user of this check.
    NotPermitted,
    /// Every process was looked at. Such a socket is on the way from one process to another (SCM_RIGHTS in unix(7)), in
    /// a ring of io_uring(7), or one of the kernel's own, as NFS has them.
    NoProcess,
}

/// The reason why the search for the holders of sockets ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchCut {
    /// The time for it was over.
    TimeUp,
    /// The processes of a user have more descriptors than the search looks at for one user.
    TooManyDescriptors {
        /// The user; none below a proc root that is no procfs.
        uid: Option<u32>,
    },
}
