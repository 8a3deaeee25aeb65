//! The addresses of this host: those of its interfaces, and those of its local routes.
//!
//! A local route (RTN_LOCAL) makes the kernel take in packets to an address that no interface has. The agents of load
//! balancers add one for each service address, and AnyIP one for a whole network (`ip route add local`). Only routes of
//! the table `local` count, and below another procfs those of `main`, which shows the same ones: other tables hold local
//! routes for marked packets (TPROXY), often a default route, which makes no address this host's own.

use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use super::netlink::addresses::{self, StrictCheck};
use super::procfs;
use crate::model::error::ReadError;
use crate::model::prefix::Prefix;

/// The procfs of the running kernel.
const LIVE_PROC_ROOT: &str = "/proc";

/// At most this fraction of the time until the deadline is spent on addresses: fib_trie of a router with hundreds of
/// thousands of routes takes minutes to read, because the kernel walks the routes anew for each buffer.
const SHARE: u32 = 4;

/// Addresses that this host takes packets in for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Addresses of interfaces, up or down, and of local routes to one address: sorted, each once.
    pub own: Vec<IpAddr>,
    /// Networks of local routes, of which every address is this host's own: in the order of the source, which may repeat
    /// them.
    pub networks: Vec<Prefix>,
    /// Broadcast addresses of IPv4 networks and anycast addresses: received here, but never a sender's address. Sorted,
    /// each once.
    pub received: Vec<IpAddr>,
    /// The reason if some addresses may be missing.
    pub incomplete: Option<ReadError>,
}

impl Addresses {
    /// Adds the destination of a route: one that is local, or one that is received here for all.
    pub(super) fn add_route(&mut self, to: IpAddr, length: u8, local: bool) {
        let one = Prefix::new(to, length).is_one_address();
        match (local, one) {
            (true, true) => self.own.push(to),
            // a local default route makes no address this host's own
            (true, false) if length > 0 => self.networks.push(Prefix::new(to, length)),
            (false, true) => self.received.push(to),
            _ => {}
        }
    }

    /// True if an address is one of an interface or of a local route.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let of_network = |network: &Prefix| network.contains(address);
        self.own.contains(&address) || self.networks.iter().any(of_network)
    }

    fn sorted(mut self) -> Self {
        for list in [&mut self.own, &mut self.received] {
            list.sort_unstable();
            list.dedup();
        }
        self
    }
}

/// The place that addresses are read from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// The running kernel, in the network namespace of this process.
    Kernel(StrictCheck),
    /// The files of `net/` below this directory.
    Files(&'a Path),
}

/// Reads the addresses within a quarter of the time that is left until `deadline`.
pub fn addresses(origin: Origin<'_>, deadline: Instant) -> Addresses {
    let now = Instant::now();
    let deadline = now + deadline.saturating_duration_since(now) / SHARE;
    let found = match origin {
        Origin::Files(directory) => procfs::addresses::read(directory, deadline),
        Origin::Kernel(strict) => match addresses::read(strict, deadline) {
            Ok(found) => found,
            // a sandbox without AF_NETLINK, or no descriptor left for a socket
            Err(why) => {
                let files = procfs::addresses::read(Path::new(LIVE_PROC_ROOT), deadline);
                Addresses {
                    incomplete: files.incomplete.and(Some(why)),
                    ..files
                }
            }
        },
    };
    found.sorted()
}
