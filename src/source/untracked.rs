//! Established TCP connections to other hosts. Where the table holds no entry and there are some, nothing tracks them.
//!
//! This runs on every check of a host with an empty table. A look at the sockets makes the kernel walk its hash table
//! of them, which is sized by the memory of the host: measured, 0.6 ms for each family with 262144 chains, as long as the
//! whole rest of the check. So the kernel's own count of connections is read first: where it is 0 nothing else is, and
//! else the walk ends with the last one. This host's own addresses are looked up only where a connection leaves the
//! loopback network.

use std::ops::ControlFlow;

use super::addresses::{Origin, addresses};
use super::netlink::sock_diag;
use super::procfs::sockets;
use super::{Asking, entries, file};
use crate::model::local_addresses::LocalAddresses;
use crate::model::readings::{Reading, Readings};
use crate::model::socket::LocalSocket;

/// Below the proc root: counters of this network namespace (`snmp_seq_show` in net/ipv4/proc.c).
const SNMP: &str = "net/snmp";
/// A few kilobytes.
const SNMP_MAX: usize = 64 << 10;

/// The number in this network namespace, or below another procfs; [`Readings::MAX_UNTRACKED`] is as many or more.
///
/// # Errors
/// Sockets, or this host's own addresses, cannot be read.
pub(super) fn to_other_hosts(asking: Asking<'_>) -> Reading<u64> {
    let Asking {
        proc_root,
        live,
        deadline,
        ..
    } = asking;
    let all = file::read(&proc_root.join(SNMP), SNMP_MAX)
        .ok()
        .and_then(|bytes| parse_snmp(std::str::from_utf8(&bytes).ok()?));
    if all == Some(0) {
        return Ok(0);
    }
    let origin = if live {
        Origin::Kernel(asking.strict)
    } else {
        Origin::Files(proc_root)
    };
    let own_addresses = || {
        let found = addresses(origin, deadline);
        match found.incomplete {
            None => Ok(LocalAddresses::new(
                found.own,
                [asking.own, &found.networks].concat(),
            )),
            Some(why) => Err(why),
        }
    };
    let (mut own, mut seen, mut open) = (None, 0, 0);
    let mut each = |socket: &LocalSocket| {
        seen += 1;
        let [near, far] = [socket.local, socket.remote].map(|end| end.ip().to_canonical());
        // a connection from an address to itself stays here, whatever the interfaces have
        if !far.is_loopback() && far != near {
            match own.get_or_insert_with(own_addresses) {
                Ok(own) => open += u64::from(!own.contains(far.into())),
                Err(_) => return ControlFlow::Break(()),
            }
        }
        if open == Readings::MAX_UNTRACKED || Some(seen) == all {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let read = if live && entries::sock_diag_is_there(proc_root, &["tcp_diag "]) {
        sock_diag::established(deadline, &mut each)
    } else {
        sockets::established(proc_root, &mut each)
    };
    match own {
        Some(Err(error)) => Err(error),
        _ => read.map(|()| open),
    }
}

/// CurrEstab: the TCP connections in ESTABLISHED or CLOSE_WAIT, IPv4 and IPv6. Each protocol has a line of names and
/// one of values.
fn parse_snmp(text: &str) -> Option<u64> {
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (tcp.next()?, tcp.next()?);
    let (_, value) = names
        .split_ascii_whitespace()
        .zip(values.split_ascii_whitespace())
        .find(|(name, _)| *name == "CurrEstab")?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_found_by_name() {
        // 6.18, recorded, shortened
        let text = "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoAlgorithm RtoMin MaxConn ActiveOpens CurrEstab InSegs\nTcp: 1 200 -1 9 3 12345\nUdp: InDatagrams\nUdp: 7\n";
        assert_eq!(parse_snmp(text), Some(3));
        for other in [
            "",
            "Tcp: CurrEstab\n",
            "Tcp: RtoMin CurrEstab\nTcp: 3\n",
            "Tcp: CurrEstab\nTcp: -1\n",
            "Tcp: CurrEstab\nUdp: 3\n",
            "Tcp: currestab\nTcp: 3\n",
        ] {
            assert_eq!(parse_snmp(other), None, "{other:?}");
        }
    }
}
