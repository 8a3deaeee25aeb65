//! Commands that the advice prints, and the amounts and times beside them.
//!
//! A command is complete and safe to paste: it deletes no entry and stops nothing that the reader needs to get in.
//! Commands use none of the characters that Nagios takes out of notifications.

use super::AdviceContext;
use crate::analysis::facts::{PairEnd, Port, SocketHolder, Split};
use crate::analysis::tally::EndpointId;
use crate::diagnosis::relief::Relief;
use crate::diagnosis::{Actor, Flow};
use crate::model::conntrack::{Class, Protocol};
use crate::model::timeouts::{Timeouts, defaults};
use crate::report::sentence_parts::process;
use std::net::IpAddr;
use std::time::Duration;

/// Ports by which the reader or the monitoring gets in: ssh, Checkmk, Zabbix, NRPE, Icinga 2. No command limits them.
const PORTS_OF_THE_READER: [u16; 6] = [22, 5665, 5666, 6556, 10050, 10051];

/// Services by which the reader or the monitoring gets in, or without which the host has no network. No command stops or
/// restarts them.
const SERVICES_OF_THE_READER: [&str; 18] = [
    "ssh",
    "nagios-nrpe-server",
    "nrpe",
    "icinga2",
    "check-mk-agent",
    "check_mk",
    "cmk-agent",
    "zabbix-agent",
    "snmpd",
    "user@",
    "getty@",
    "systemd-",
    "dbus",
    "NetworkManager",
    "networking",
    "openvpn",
    "wg-quick@",
    "tailscaled",
];

/// A line is at most 200 bytes long, its name included; what is longer would be cut.
pub(super) const LONGEST_LINE: usize = 195;

/// `sysctl -w ...=32768 (room for 17 minutes at this growth, up to 9 MB)`.
pub(super) fn larger_limit(relief: &Relief) -> String {
    let buckets = match relief.buckets {
        Some(buckets) => format!(" net.netfilter.nf_conntrack_buckets={buckets}"),
        None => String::new(),
    };
    let room = match relief.lasts {
        Some(lasts) => format!("room for {} at this growth", spoken(lasts)),
        None => format!("room for {} more entries", relief.room),
    };
    format!(
        "sysctl -w net.netfilter.nf_conntrack_max={}{buckets} ({room}, up to {})",
        relief.max,
        megabytes(relief.memory)
    )
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000).max(1))
}

/// A time as people say it: `17 minutes`.
pub(super) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    let (n, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// A timeout, or words for one that could not be read.
pub(super) fn timeout(known: Option<Duration>, default: Duration) -> String {
    match known {
        Some(known) => spoken(known),
        None => format!("{} by default", spoken(default)),
    }
}

/// The reason why closed connections fill a table.
pub(super) fn closed_keeps(timeouts: &Timeouts) -> String {
    format!(
        "a closed connection keeps its entry for {}",
        timeout(timeouts.time_wait, defaults::TIME_WAIT)
    )
}

/// The command that ends a service, or words if it is not one of the system manager.
pub(super) fn stopping(who: &SocketHolder) -> String {
    match service(who) {
        Some(unit) => format!("systemctl stop {unit}"),
        None => format!("stopping {}", process(who)),
    }
}

/// The command that restarts a service, or words if it is not one of the system manager.
pub(super) fn restarting(who: &SocketHolder) -> String {
    match service(who) {
        Some(unit) => format!("systemctl restart {unit}"),
        None => format!("restarting {}", process(who)),
    }
}

/// The service of the system manager as a shell takes it, unless the reader may need it to get in.
fn service(who: &SocketHolder) -> Option<String> {
    let unit = who.unit.as_ref()?;
    let is_of_the_reader = SERVICES_OF_THE_READER
        .iter()
        .any(|service| unit.starts_with(service));
    (!is_of_the_reader).then(|| unit.replace('\\', "\\\\"))
}

/// The remark behind the commands that take traffic out of the table.
const UNTRACKED: &str = " (accept it without ct state first)";

/// The rules that take traffic out of the table: of packets that come in, and of packets that this host sends. In
/// another namespace there is room for one of them, and for what is different in the second one.
pub(super) fn not_tracked(
    [incoming, outgoing]: [String; 2],
    difference: &str,
    basis: AdviceContext<'_>,
) -> String {
    let incoming = basis.inside(&incoming);
    if basis.netns.is_some() {
        format!("do not track it: {incoming}; again with {difference}{UNTRACKED}")
    } else {
        format!("do not track it: {incoming}; {outgoing}{UNTRACKED}")
    }
}

/// A rule that refuses new connections of one client, except at the ports of the reader; `-D` in place of `-I` ends it.
pub(super) fn drop_scanner(actor: &Actor, basis: AdviceContext<'_>) -> Option<String> {
    let Actor::Client(EndpointId::From {
        address,
        length: None,
    }) = actor
    else {
        return None;
    };
    let iptables = match address {
        IpAddr::V4(_) => "iptables",
        IpAddr::V6(_) => "ip6tables",
    };
    let ports = PORTS_OF_THE_READER.map(|port| port.to_string()).join(",");
    let rule = format!(
        "{iptables} -I INPUT -s {address} -p tcp -m multiport ! --dports {ports} -m conntrack --ctstate NEW -j DROP"
    );
    let rule = basis.inside(&rule);
    let with_remark = format!("{rule} (keeps ssh and monitoring)");
    Some(if with_remark.len() <= LONGEST_LINE {
        with_remark
    } else {
        rule
    })
}

/// The command that shows who connects to a destination while no socket of it was seen.
pub(super) fn who_connects(to: &PairEnd) -> String {
    let to = match to {
        PairEnd::Remote(EndpointId::To { address, .. }) => format!(" dst {}", address.ip()),
        _ => String::new(),
    };
    format!("ss -tnp{to} (as root, a few times: the program that connects)")
}

/// The protocol of most of these entries: UDP, ICMP, or TCP for all others.
pub(super) fn protocol_of(split: &Split) -> Protocol {
    match split.largest_first().first() {
        Some((Class::Udp, _)) => Protocol::UDP,
        Some((Class::Icmp, _)) => Protocol::ICMP,
        _ => Protocol::TCP,
    }
}

/// The command that shows the sockets of the protocol of most of these entries.
pub(super) fn sockets_of(split: &Split) -> String {
    match protocol_of(split) {
        Protocol::UDP => "ss -aunp (as root: the programs with UDP sockets)".to_owned(),
        Protocol::ICMP => "ss -awnp (as root: the programs with raw sockets)".to_owned(),
        _ => "ss -tnp (as root, a few times: the program that connects)".to_owned(),
    }
}

/// A rule that lets one client open no more than 20 connections a second to one port; `nft delete table ip lim` ends it.
pub(super) fn limit(flow: &Flow, basis: AdviceContext<'_>) -> Option<String> {
    let Actor::Client(EndpointId::From {
        address,
        length: None,
    }) = flow.actor
    else {
        return None;
    };
    let port = match flow.to {
        PairEnd::Service(port) | PairEnd::Forwarded(port) => port,
        PairEnd::Remote(EndpointId::To {
            address, protocol, ..
        }) => Port {
            number: address.port(),
            protocol,
        },
        PairEnd::Remote(EndpointId::From { .. }) | PairEnd::Several(_) => return None,
    };
    let transport = match port.protocol {
        Protocol::TCP => "tcp",
        Protocol::UDP => "udp",
        _ => return None,
    };
    if PORTS_OF_THE_READER.contains(&port.number) {
        return None;
    }
    let family = match address {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    };
    let hook = match flow.to {
        PairEnd::Service(_) => "input",
        _ => "forward",
    };
    let command = format!(
        "nft add table {family} lim \\; add chain {family} lim p {{ type filter hook {hook} priority 0 \\; }} \\; \
         add rule {family} lim p {family} saddr {address} {transport} dport {} ct state new limit rate over 20/second drop",
        port.number
    );
    let command = basis.inside(&command);
    (command.len() <= LONGEST_LINE).then_some(command)
}
