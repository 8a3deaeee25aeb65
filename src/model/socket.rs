//! A socket of this host and the process that holds it.

use std::net::SocketAddr;

use crate::model::conntrack::{Protocol, Sides, TcpState};

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
    /// Whether it only waits for connections.
    pub listening: bool,
    /// Its owner; 0 in TIME_WAIT.
    pub uid: u32,
    /// Its inode; 0 in TIME_WAIT and while it is being accepted: then no process holds it.
    pub inode: u64,
}

impl LocalSocket {
    /// Both ends, comparable with those of an entry.
    pub fn sides(&self) -> Sides {
        Sides::between(self.protocol, self.local, self.remote)
    }
}

/// A process that holds sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// Its name as the kernel keeps it: at most 15 bytes chosen by the process itself, so foreign text.
    pub command: String,
    /// The systemd unit of its cgroup (`sidekiq.service`), also foreign text.
    pub unit: Option<String>,
    /// Its threads.
    pub threads: u64,
    /// Which of the sockets asked for it holds.
    pub inodes: Vec<u64>,
}
