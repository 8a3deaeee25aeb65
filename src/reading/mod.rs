//! The only folder that opens anything. Each file reads one kind of source; reading and parsing are two functions.

pub mod addresses;
pub mod capture;
pub mod ctnetlink;
mod file;
pub mod netlink;
pub mod owners;
pub mod sockets;
mod statistics;
mod sysctl;

use std::path::Path;

use crate::table::Readings;
use crate::text::clean;

/// Reads how many entries the table holds and how many it may hold: all that the verdict needs.
pub fn usage(proc_root: &Path) -> Readings {
    let (count, limit) = sysctl::count_and_limit(proc_root);
    Readings {
        count,
        limit,
        ..Readings::none()
    }
}

/// Adds what makes the verdict better: the hash table's size and the counters.
pub fn details(proc_root: &Path, readings: &mut Readings) {
    readings.buckets = sysctl::buckets(proc_root);
    readings.statistics = statistics::read(proc_root);
}

/// Lines about where the readings come from: the version, the proc root and the network namespace.
pub fn origin(proc_root: &Path) -> Vec<String> {
    let namespace = match std::fs::read_link(proc_root.join("self/ns/net")) {
        Ok(link) => clean(&link.to_string_lossy()),
        Err(error) => format!("unknown ({})", clean(&error.to_string())),
    };
    let version = env!("CARGO_PKG_VERSION");
    vec![format!(
        "check_conntrack {version}, proc root {}, network namespace {namespace}",
        file::shown(proc_root)
    )]
}
