//! The lines below line 1 that belong to a finding: why it happens, what buys time, what mends it, what to look at.
//!
//! A command is complete and safe to paste: it deletes no entry and stops no service that the reader needs to get in.
//! Commands use none of the characters that Nagios takes out of notifications.

use std::net::IpAddr;
use std::time::Duration;

use crate::analysis::facts::{End, Port, Share, Who};
use crate::analysis::tally::Peer;
use crate::analysis::traffic::Direction;
use crate::diagnosis::relief::{BUCKET_BYTES, ENTRY_BYTES, Relief};
use crate::diagnosis::{
    Actor, Configured, Crowd, Finding, Flow, PortUse, ScanTarget, Setting, Sweep, Timeouts,
};
use crate::model::conntrack::{Class, Protocol};
use crate::report::finding::{AddressNames, Words, far_of, process, protocol_name};

/// Ports by which the reader or the monitoring gets in: ssh, Checkmk, Zabbix, NRPE, Icinga 2. No command limits them.
const PORTS_OF_THE_READER: [u16; 6] = [22, 5665, 5666, 6556, 10050, 10051];
/// A timeout for half-open entries that a flood does not outlast, seconds.
const SHORT_SYN_RECV: u64 = 10;
/// A timeout for idle connections that keeps no entry for days, seconds.
const SHORT_ESTABLISHED: u64 = 86_400;

/// A line with a command is at most 200 bytes long, its name included; a longer command would be cut.
const LONGEST_COMMAND: usize = 195;

/// What the lines rest on besides the finding.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// Names of addresses of containers.
    pub names: &'a AddressNames,
    /// Timeouts of the kernel.
    pub timeouts: Timeouts,
    /// A larger limit, if the table fills and memory permits one.
    pub relief: Option<Relief>,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
    /// The entries come from a capture: no command helps the host that runs this check.
    pub capture: bool,
}

/// The lines, each without its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    /// Why it happens.
    pub why: Option<String>,
    /// One command that buys time.
    pub now: Option<String>,
    /// What mends it.
    pub fix: Option<String>,
    /// One command that shows what the check could not see.
    pub look: Option<String>,
}

/// The advice for a finding; without one, the larger limit alone.
pub fn advice(finding: Option<&Finding>, basis: Basis<'_>) -> Advice {
    let words = Words { names: basis.names };
    let mut advice = match finding {
        None => Advice::default(),
        Some(finding) => of_finding(finding, basis, &words),
    };
    if advice.now.is_none() && raising_helps(finding) {
        advice.now = basis.relief.as_ref().map(larger_limit);
    }
    if basis.capture {
        advice.now = None;
        advice.look = None;
    }
    advice
}

/// Whether a larger limit buys time: not if chains or source ports are the reason.
fn raising_helps(finding: Option<&Finding>) -> bool {
    !matches!(
        finding,
        Some(Finding::LongChains { .. } | Finding::PortsUsedUp(_) | Finding::NotConfigured(_))
    )
}

fn of_finding(finding: &Finding, basis: Basis<'_>, words: &Words<'_>) -> Advice {
    match finding {
        Finding::LongChains {
            buckets, wanted, ..
        } => long_chains(*buckets, *wanted),
        Finding::PortsUsedUp(ports) => ports_used_up(ports),
        Finding::NotConfigured(configured) => not_configured(configured),
        Finding::NoAnswer(flow) => no_answer(flow, basis, words),
        Finding::OneWay {
            port, both_ways, ..
        } => one_way(*port, *both_ways),
        Finding::Scan(sweep) => scan(sweep),
        Finding::Crowd(crowd) => crowd_of(crowd, basis, words),
        Finding::NotReused(flow) => not_reused(flow, basis, words),
        Finding::KeptOpen(flow) => kept_open(flow, words),
        Finding::OneClient(flow) => one_client(flow, words),
        Finding::NotClosed(flow) => not_closed(flow, basis, words),
        Finding::PeersVanished { .. } => peers_vanished(basis),
        Finding::Dns {
            actor, direction, ..
        } => dns(actor, *direction, basis),
        Finding::OneSided { .. } => one_sided(),
        Finding::CountDisagrees(_) => count_disagrees(),
        Finding::NobodyStandsOut { .. } => nobody_stands_out(basis),
    }
}

/// `sysctl -w ...=32768 (room for 17 minutes at this growth, up to 9 MB)`.
fn larger_limit(relief: &Relief) -> String {
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

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000).max(1))
}

/// A time as people say it: `17 minutes`.
fn spoken(time: Duration) -> String {
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
fn timeout(known: Option<Duration>) -> String {
    known.map_or_else(|| "its timeout".to_owned(), spoken)
}

fn long_chains(buckets: u32, wanted: u32) -> Advice {
    Advice {
        why: Some(
            "since Linux 5.15 a new connection is refused if its hash chain is longer than 50, however empty the table is"
                .to_owned(),
        ),
        now: Some(format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={wanted} (shorter chains at once, {}, no entry is lost)",
            megabytes(u64::from(wanted) * BUCKET_BYTES)
        )),
        fix: Some(format!(
            "set nf_conntrack_buckets={wanted} in /etc/sysctl.d (now {buckets}) before you raise nf_conntrack_max"
        )),
        look: None,
    }
}

fn ports_used_up(ports: &PortUse) -> Advice {
    let far = far_of(ports);
    Advice {
        why: Some(format!(
            "each connection to {far} needs a source port of its own, so a bigger table does not help"
        )),
        now: (!ports.translated && ports.used.whole < 64_000).then(|| {
            "sysctl -w net.ipv4.ip_local_port_range=1024\\ 65535 (more source ports for new connections)"
                .to_owned()
        }),
        fix: Some(if ports.translated {
            format!("translate to more addresses (SNAT to a range), or open fewer connections to {far}")
        } else {
            format!("reuse connections to {far} (pool, keep-alive), or dial from or to more addresses")
        }),
        look: None,
    }
}

fn not_configured(configured: &Configured) -> Advice {
    let name = match configured.setting {
        Setting::Max => "net.netfilter.nf_conntrack_max",
        Setting::Buckets => "net.netfilter.nf_conntrack_buckets",
    };
    let more = configured.value.saturating_sub(configured.live);
    let bytes = match configured.setting {
        Setting::Max => more.saturating_mul(ENTRY_BYTES),
        Setting::Buckets => configured.value.saturating_mul(BUCKET_BYTES),
    };
    Advice {
        why: Some(format!(
            "{} was applied before the module nf_conntrack was loaded, or the value was changed since",
            configured.file
        )),
        now: Some(format!(
            "sysctl -w {name}={} (the configured value, up to {})",
            configured.value,
            megabytes(bytes)
        )),
        fix: Some(
            "load the module before sysctl runs: a line nf_conntrack in /etc/modules-load.d/nf_conntrack.conf"
                .to_owned(),
        ),
        look: None,
    }
}

fn no_answer(flow: &Flow, basis: Basis<'_>, words: &Words<'_>) -> Advice {
    let to = words.end(&flow.to);
    let stop = match &flow.actor {
        Actor::Here { held, .. } => format!("{} ends the retries", stopping(&held.who)),
        actor => format!("stop the retries of {}", words.actor(actor)),
    };
    Advice {
        why: Some(format!(
            "{} attempts wait for an answer, each for up to {}, and retries add more",
            flow.split.unanswered,
            timeout(basis.timeouts.syn_sent)
        )),
        fix: Some(format!("check that {to} is up and not firewalled; {stop}")),
        ..Advice::default()
    }
}

/// The command that ends a service, or words if it is not one of the system manager.
fn stopping(who: &Who) -> String {
    match &who.unit {
        Some(unit) => format!("systemctl stop {unit}"),
        None => format!("stopping {}", process(who)),
    }
}

fn restarting(who: &Who) -> String {
    match &who.unit {
        Some(unit) => format!("systemctl restart {unit}"),
        None => format!("restarting {}", process(who)),
    }
}

fn one_way(port: Port, both_ways: bool) -> Advice {
    let name = protocol_name(port);
    let matched = match port.protocol {
        Protocol::UDP => format!("udp --dport {}", port.number),
        protocol => protocol.0.to_string(),
    };
    let untrack = |chain| format!("iptables -t raw -I {chain} -p {matched} -j CT --notrack");
    Advice {
        why: Some(if both_ways {
            format!(
                "each side of {name} sends from ports of its own, so no entry ever sees an answer"
            )
        } else {
            format!("{name} has no answers, so each sender port keeps an entry of its own")
        }),
        fix: Some(format!(
            "do not track it: {}; {}",
            untrack("PREROUTING"),
            untrack("OUTPUT")
        )),
        ..Advice::default()
    }
}

fn scan(sweep: &Sweep) -> Advice {
    let found = match (&sweep.actor, sweep.candidates.first()) {
        (Actor::Here { held, .. }, _) => held.who.process.as_ref(),
        (_, Some(candidate)) => candidate.process.as_ref(),
        _ => None,
    };
    match sweep.direction {
        Direction::In => Advice {
            why: Some("probes without an answer each keep an entry; nothing says that one got in".to_owned()),
            fix: Some("drop this source at the network edge, or before it is tracked (chain prerouting, priority raw)".to_owned()),
            ..Advice::default()
        },
        Direction::Forwarded => Advice {
            why: Some(scanner_or_job()),
            fix: Some("find out what runs there, and limit new connections per source in the forward chain".to_owned()),
            ..Advice::default()
        },
        Direction::Out | Direction::Local => Advice {
            why: Some(scanner_or_job()),
            fix: Some("find out who started it; if nobody did, treat this host as broken into: isolate it, keep its disk".to_owned()),
            look: Some(match found {
                Some((_, pid)) => format!("systemctl status {pid} (unit, command line and parents of the process)"),
                None => match sweep.target {
                    ScanTarget::PortsOf(address, _) => format!("ss -tnp state syn-sent dst {address} (as root: the program that dials)"),
                    _ => "ss -tnp state syn-sent (as root: the program that dials)".to_owned(),
                },
            }),
            now: None,
        },
    }
}

fn scanner_or_job() -> String {
    "a program that dials so many addresses or ports without an answer is a scanner or a broken job, possibly a break-in"
        .to_owned()
}

fn crowd_of(crowd: &Crowd, basis: Basis<'_>, words: &Words<'_>) -> Advice {
    if !crowd.flood {
        return Advice {
            why: Some(
                "more clients than the limit allows for; no single one is the reason".to_owned(),
            ),
            fix: Some(permanent_limit(basis)),
            ..Advice::default()
        };
    }
    let syn_recv = crowd.split.is_mostly(Class::SynRecv);
    let service = words.end(&crowd.service);
    Advice {
        why: Some(format!(
            "the entries wait up to {} for an answer that does not come; source addresses may be forged, blocking them is of no use",
            timeout(if syn_recv {
                basis.timeouts.syn_recv
            } else {
                basis.timeouts.udp
            })
        )),
        fix: Some(if syn_recv {
            format!(
                "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_recv={SHORT_SYN_RECV}, then let synproxy answer for {service} (runbook)"
            )
        } else {
            format!("filter it before it gets here, or do not track {service} (runbook)")
        }),
        ..Advice::default()
    }
}

/// The limit that was advised, for good.
fn permanent_limit(basis: Basis<'_>) -> String {
    let wanted = basis
        .relief
        .map(|relief| relief.max)
        .or(basis.max.map(|max| u64::from(max).saturating_mul(2)));
    match wanted {
        Some(max) => format!(
            "set net.netfilter.nf_conntrack_max={max} in /etc/sysctl.d, the limit of {} is too small for this host",
            basis.max.unwrap_or_default()
        ),
        None => "set a larger net.netfilter.nf_conntrack_max in /etc/sysctl.d".to_owned(),
    }
}

fn not_reused(flow: &Flow, basis: Basis<'_>, words: &Words<'_>) -> Advice {
    let closed = format!(
        "a closed connection keeps its entry for {}",
        timeout(basis.timeouts.time_wait)
    );
    let (why, fix) = match &flow.actor {
        Actor::Here { held, .. } => {
            let who = &held.who;
            let open = flow.split.entries - flow.split.of(Class::TimeWait);
            (
                format!(
                    "{} opens a new connection for each request, and {closed}; it holds {} of the {open} still open",
                    who.name, held.entries
                ),
                format!(
                    "give {} a connection pool that outlives the request ({}, {} open)",
                    who.name,
                    count(who.threads, "thread"),
                    count(who.connections, "connection")
                ),
            )
        }
        actor => {
            let who = words.actor(actor);
            (
                format!("{who} opens a new connection for each request, and {closed}"),
                format!(
                    "let {who} reuse connections to {} (connection pool, keep-alive)",
                    words.end(&flow.to)
                ),
            )
        }
    };
    Advice {
        why: Some(why),
        fix: Some(fix),
        look: matches!(flow.actor, Actor::ThisHost).then(|| who_dials(&flow.to)),
        ..Advice::default()
    }
}

/// The command that shows who dials a destination while no socket of it was seen.
fn who_dials(to: &End) -> String {
    let to = match to {
        End::Remote(Peer::To { address, .. }) => format!(" dst {}", address.ip()),
        _ => String::new(),
    };
    format!("ss -tnp{to} (as root, a few times: the program that dials)")
}

fn count(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

fn kept_open(flow: &Flow, words: &Words<'_>) -> Advice {
    let why = "connections are opened and not closed: a leak, or a pool that is too large";
    match &flow.actor {
        Actor::Here { held, .. } => Advice {
            why: Some(format!(
                "{why} ({} in {})",
                count(held.who.threads, "thread"),
                plural_processes(held.who.processes)
            )),
            fix: Some(format!(
                "{} frees them within minutes; then limit its pool",
                restarting(&held.who)
            )),
            ..Advice::default()
        },
        actor => Advice {
            why: Some(why.to_owned()),
            fix: Some(format!(
                "let {} close connections or use fewer; a restart of the client or of the service frees them",
                words.actor(actor)
            )),
            ..Advice::default()
        },
    }
}

fn plural_processes(n: u64) -> String {
    format!("{n} {}", if n == 1 { "process" } else { "processes" })
}

fn one_client(flow: &Flow, words: &Words<'_>) -> Advice {
    let who = words.actor(&flow.actor);
    let forged = crate::diagnosis::is_unproven(&flow.split);
    let classes: Vec<String> = flow
        .split
        .largest_first()
        .into_iter()
        .take(2)
        .map(|(class, n)| {
            let name = Class::ALL.get(class.index()).map_or("", |(_, name)| name);
            format!("{name} {}", Share::new(n, flow.split.entries))
        })
        .collect();
    let forged = if forged {
        "; its address may be forged, no connection was completed"
    } else {
        ""
    };
    Advice {
        why: Some(format!(
            "one client opens more connections than any other ({}){forged}; ask its owner first",
            classes.join(", ")
        )),
        fix: Some(limit(flow).unwrap_or_else(|| {
            format!(
                "ask the owner of {who}, or limit its new connections in the firewall (runbook)"
            )
        })),
        ..Advice::default()
    }
}

/// A rule that lets one client open no more than 20 connections a second to one port; `nft delete table ip lim` ends it.
fn limit(flow: &Flow) -> Option<String> {
    let Actor::Client(Peer::From {
        address,
        length: None,
    }) = flow.actor
    else {
        return None;
    };
    let port = match flow.to {
        End::Service(port) => port,
        End::Remote(Peer::To {
            address, protocol, ..
        }) => Port {
            number: address.port(),
            protocol,
        },
        End::Remote(Peer::From { .. }) | End::Several(_) => return None,
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
        End::Service(_) => "input",
        _ => "forward",
    };
    let command = format!(
        "nft add table {family} lim \\; add chain {family} lim p {{ type filter hook {hook} priority 0 \\; }} \\; \
         add rule {family} lim p {family} saddr {address} {transport} dport {} ct state new limit rate over 20/second drop",
        port.number
    );
    (command.len() <= LONGEST_COMMAND).then_some(command)
}

fn not_closed(flow: &Flow, basis: Basis<'_>, words: &Words<'_>) -> Advice {
    let waits = timeout(basis.timeouts.close_wait);
    let (who, fix) = match &flow.actor {
        Actor::Here { held, .. } => (
            held.who.name.clone(),
            format!(
                "{} frees them; then let it close what the far side has closed",
                restarting(&held.who)
            ),
        ),
        _ => (
            "the other side".to_owned(),
            format!(
                "find the program that dials {}, and let it close what was closed",
                words.end(&flow.to)
            ),
        ),
    };
    Advice {
        why: Some(format!(
            "one side has closed and {who} has not; each such entry stays for {waits} after its last packet"
        )),
        fix: Some(fix),
        ..Advice::default()
    }
}

fn peers_vanished(basis: Basis<'_>) -> Advice {
    let now = basis.timeouts.established;
    Advice {
        why: Some(format!(
            "peers vanished without closing, and an idle entry stays for {}",
            timeout(now)
        )),
        fix: Some(format!(
            "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established={SHORT_ESTABLISHED} (now {}; acts at an entry's next packet, frees none that is there)",
            now.map_or_else(|| "unknown".to_owned(), |now| now.as_secs().to_string())
        )),
        ..Advice::default()
    }
}

fn dns(actor: &Actor, direction: Direction, basis: Basis<'_>) -> Advice {
    let untrack =
        |chain, side| format!("iptables -t raw -I {chain} -p udp --{side} 53 -j CT --notrack");
    let why = format!(
        "each query is an entry for {}, answered or not",
        timeout(basis.timeouts.udp)
    );
    let fix = match direction {
        Direction::In => format!(
            "do not track it: {}; {}",
            untrack("PREROUTING", "dport"),
            untrack("OUTPUT", "sport")
        ),
        Direction::Forwarded => {
            "let the clients ask a cache near them, or this host answer them".to_owned()
        }
        Direction::Out | Direction::Local => {
            let who = match actor {
                Actor::Here { held, .. } => format!(" for {}", held.who.name),
                _ => String::new(),
            };
            format!(
                "run a local cache{who} (systemd-resolved, unbound), or do not track DNS (runbook)"
            )
        }
    };
    Advice {
        why: Some(why),
        fix: Some(fix),
        ..Advice::default()
    }
}

fn one_sided() -> Advice {
    Advice {
        why: Some(
            "packets of the other direction take another route, or tracking began after the connections did; this is not a scan"
                .to_owned(),
        ),
        fix: Some("route both directions through this host, or do not track this port (runbook)".to_owned()),
        ..Advice::default()
    }
}

fn count_disagrees() -> Advice {
    Advice {
        why: Some(
            "the entries that are not listed have expired, are dying or leaked; they count until the kernel frees them"
                .to_owned(),
        ),
        fix: Some("if it lasts for minutes this kernel leaks entries: update it; only a reboot frees them".to_owned()),
        look: Some("conntrack -L dying (entries that something still holds)".to_owned()),
        now: None,
    }
}

fn nobody_stands_out(basis: Basis<'_>) -> Advice {
    Advice {
        why: Some("no address and no service is the reason: this host needs more entries than its limit allows".to_owned()),
        fix: Some(permanent_limit(basis)),
        ..Advice::default()
    }
}
