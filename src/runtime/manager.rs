//! The service manager that started the recorder (sd_notify(3)), and whoever reads its output.

use std::ffi::OsStr;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The manager, if one wants to know how the recorder is.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    status: String,
}

impl Manager {
    /// The manager that NOTIFY_SOCKET names.
    pub fn of_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name));
        let socket = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            // a manager that does not read must not stop the recorder
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        Self {
            socket,
            status: String::new(),
        }
    }

    /// Reports that the recorder has begun.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that the recorder is alive, and its status. A status that is new is also printed, for a journal.
    pub fn alive(&mut self, status: &str) {
        self.send(&format!("WATCHDOG=1\nSTATUS={status}"));
        if self.status != status {
            status.clone_into(&mut self.status);
            // a reader that is gone is no reason to stop
            let _ = std::io::stdout().write_all(format!("{status}\n").as_bytes());
        }
    }

    /// Reports that the recorder stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// A path, or with an at sign in front a name in the abstract namespace.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}
