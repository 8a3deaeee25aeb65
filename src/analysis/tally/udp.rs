//! Unconnected UDP sockets, found by their own port and address alone.
//!
//! A port that the kernel chooses belongs to one program now and to another a moment later, while the entry lives on.
//! Two things tell a socket that only has an old port from the one that used it: its process is younger than the last
//! packet of the entry; and there are no more such matches than chance gives.

use std::collections::HashMap;
use std::net::IpAddr;

use super::attribution::{Fit, Holder};
use super::packed_entries::{PackedEntry, SocketHome};
use crate::model::socket::LocalSocket;
use crate::model::udp::UdpSettings;

/// The address that an unconnected socket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum BoundAddress {
    /// To the address of this hash.
    To(u32),
    /// To 0.0.0.0.
    AnyV4,
    /// To ::, which takes IPv4 too unless IPV6_V6ONLY is set, and that sock_diag does not always tell.
    Any,
}

/// The socket at a port and an address: of several the one with the lowest inode.
#[derive(Debug, Clone, Copy)]
struct Unconnected {
    inode: u64,
    uid: u32,
    /// True if several users share the port and the address (SO_REUSEADDR): a packet may be for any of them.
    is_shared: bool,
}

/// Unconnected sockets by port and address.
#[derive(Debug)]
pub(super) struct ByPort {
    settings: UdpSettings,
    sockets: HashMap<(u16, BoundAddress), Unconnected>,
}

impl ByPort {
    pub(super) fn new(settings: UdpSettings) -> Self {
        Self {
            settings,
            sockets: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, socket: &LocalSocket, address_hash: impl FnOnce(IpAddr) -> u32) {
        let bound = match socket.local.ip() {
            IpAddr::V4(address) if address.is_unspecified() => BoundAddress::AnyV4,
            IpAddr::V6(address) if address.is_unspecified() => BoundAddress::Any,
            address => BoundAddress::To(address_hash(address)),
        };
        let one = Unconnected {
            inode: socket.inode,
            uid: socket.uid,
            is_shared: false,
        };
        let key = (socket.local.port(), bound);
        let kept = self.sockets.entry(key).or_insert(one);
        let is_shared = kept.is_shared || kept.uid != one.uid;
        if one.inode < kept.inode {
            *kept = one;
        }
        kept.is_shared = is_shared;
    }

    /// The socket that an entry belongs to: one at its own address before one at any. None if several users share it.
    pub(super) fn of(&self, seen: &PackedEntry) -> Option<Holder> {
        let end = seen.udp?;
        let any_v4 = (seen.place == SocketHome::HereV4).then_some(BoundAddress::AnyV4);
        let mut bounds = [
            Some(BoundAddress::To(end.address)),
            any_v4,
            Some(BoundAddress::Any),
        ]
        .into_iter()
        .flatten();
        let socket = bounds.find_map(|bound| self.sockets.get(&(end.port, bound)))?;
        let fit = if self.is_ephemeral(end.port) {
            Fit::EphemeralPort
        } else {
            Fit::Port
        };
        (!socket.is_shared).then(|| Holder {
            inode: socket.inode,
            uid: socket.uid,
            dialled: false,
            fit,
            silent: self.settings.silent(end.left, seen.unreplied),
            entries: 1,
        })
    }

    pub(super) fn is_ephemeral(&self, port: u16) -> bool {
        self.settings.ephemeral.contains(&port)
    }

    /// The number of sockets that each user has at ports that the kernel chooses.
    pub(super) fn ephemeral_of_users(&self) -> HashMap<u32, u32> {
        let mut of_users = HashMap::new();
        for ((port, _), socket) in &self.sockets {
            if self.is_ephemeral(*port) {
                *of_users.entry(socket.uid).or_default() += 1;
            }
        }
        of_users
    }

    /// True if chance explains that `matched` of `entries` at ports of the kernel's choice are at ports which a user
    /// has by now, with this many sockets: there are no more than four standard deviations above the mean.
    pub(super) fn is_chance(&self, matched: u64, entries: u64, sockets: u32) -> bool {
        let ports = self.settings.ephemeral.clone().count().max(1) as f64;
        let expected = entries as f64 * f64::from(sockets) / ports;
        matched as f64 <= expected + 4.0 * expected.sqrt()
    }
}
