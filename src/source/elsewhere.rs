//! Addresses of other network namespaces of this host, which are those of containers and pods as a rule.
//!
//! /proc/PID/net/fib_trie and if_inet6 (mode 0444, `get_proc_task_net` in fs/proc/proc_net.c) show the addresses of the
//! namespace of a process to every user. One process of each namespace is asked.

use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use super::procfs::{self, netns};
use crate::model::netns::{NetnsRepresentative, Sighting};
use crate::runtime::privilege;

/// The first process of a host, whose namespace is no container.
const INIT: i32 = 1;
/// The process that keeps the namespaces of a Kubernetes pod and does nothing else.
const PAUSE: &str = "pause";

/// Finds the network namespaces that have these addresses, and a process in each. An address that several namespaces
/// have is left out, because it does not tell which of them is meant; so are addresses that every namespace has.
pub fn residents(
    proc_root: &Path,
    wanted: &[IpAddr],
    deadline: Instant,
) -> Vec<(IpAddr, NetnsRepresentative)> {
    let mut wanted = wanted.to_vec();
    wanted.retain(|address| !is_everywhere(*address));
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Vec::new();
    }
    // the procfs of a sandbox may hide the processes of other users
    privilege::with(privilege::OPEN_NAMESPACE, || {
        looked_for(proc_root, &wanted, deadline)
    })
}

/// Looks for these addresses in every other network namespace.
fn looked_for(
    proc_root: &Path,
    wanted: &[IpAddr],
    deadline: Instant,
) -> Vec<(IpAddr, NetnsRepresentative)> {
    let mut found: Vec<(IpAddr, Sighting)> = Vec::new();
    let others = netns::others(proc_root, deadline).into_iter();
    for seen in others.filter(|seen| seen.pid != INIT) {
        if Instant::now() >= deadline {
            // an address that was found once may be in a namespace that was not looked at
            return Vec::new();
        }
        let process = proc_root.join(seen.pid.to_string());
        let own = procfs::addresses::read(&process, deadline);
        let of_wanted = wanted.iter().filter(|wanted| own.has(**wanted));
        found.extend(of_wanted.map(|address| (*address, seen)));
    }
    let is_unique =
        |address: IpAddr| found.iter().filter(|(known, _)| *known == address).count() == 1;
    let unique = found.iter().filter(|(address, _)| is_unique(*address));
    unique
        .map(|(address, seen)| (*address, resident(proc_root, *seen, deadline)))
        .filter(|(_, resident)| resident.command.is_some())
        .collect()
}

/// The process of a namespace that does the work, if it is not alone with the one that keeps the namespace.
fn resident(proc_root: &Path, seen: Sighting, deadline: Instant) -> NetnsRepresentative {
    let members = netns::members(proc_root, seen.inode, deadline);
    let mut residents = members
        .into_iter()
        .map(|member| netns::resident(proc_root, Some(member)));
    residents
        .find(|resident| {
            resident
                .command
                .as_ref()
                .is_some_and(|command| command != PAUSE)
        })
        .unwrap_or_else(|| netns::resident(proc_root, Some(seen)))
}

/// True of addresses that many namespaces have.
fn is_everywhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}
