//! The advice of rules 4, 5, 6 and 14: entries without a reply.

use super::commands::{drop_scanner, not_tracked, protocol_of, sockets_of, stopping, timeout};
use super::{Advice, AdviceContext};
use crate::analysis::facts::Port;
use crate::analysis::traffic::Traffic;
use crate::diagnosis::{Actor, Flow, ScanTarget, Sweep};
use crate::model::conntrack::Protocol;
use crate::model::timeouts::defaults;
use crate::report::sentence_parts::{SentenceParts, protocol_name};

pub(super) fn no_answer(
    flow: &Flow,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    let to = words.end(&flow.to);
    let stop = match &flow.actor {
        Actor::Here { held, .. } => format!("{} ends the retries", stopping(&held.who)),
        Actor::ThisHost => "stop the retries of the program on this host".to_owned(),
        actor => format!("stop the retries of {}", words.actor(actor)),
    };
    Advice {
        why: Some(format!(
            "{} attempts wait for an answer, each for up to {}, and retries add more",
            flow.split.unanswered,
            timeout(basis.timeouts.syn_sent, defaults::SYN_SENT)
        )),
        fix: Some(format!("check that {to} is up and not firewalled; {stop}")),
        ..Advice::default()
    }
}

pub(super) fn one_way(port: Port, both_ways: bool, basis: AdviceContext<'_>) -> Advice {
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
        fix: Some(not_tracked(
            ["PREROUTING", "OUTPUT"].map(untrack),
            "OUTPUT",
            basis,
        )),
        ..Advice::default()
    }
}

pub(super) fn scan(sweep: &Sweep, basis: AdviceContext<'_>) -> Advice {
    let found = match (&sweep.actor, sweep.candidates.first()) {
        (Actor::Here { held, .. }, _) => held.who.process.as_ref(),
        (_, Some(candidate)) => candidate.process.as_ref(),
        _ => None,
    };
    match sweep.traffic {
        Traffic::Input => Advice {
            why: Some("probes without an answer each keep an entry; nothing says that one got in".to_owned()),
            fix: Some(drop_scanner(&sweep.actor, basis).unwrap_or_else(|| {
                "drop this source at the network edge, or here before it is tracked (runbook)".to_owned()
            })),
            ..Advice::default()
        },
        Traffic::Forward => Advice {
            why: Some(scanner_or_job()),
            fix: Some("find out what runs there, and limit new connections per source in the forward chain".to_owned()),
            ..Advice::default()
        },
        Traffic::Output | Traffic::Local => Advice {
            why: Some(scanner_or_job()),
            fix: Some("if no one started it, treat this host as broken into: cut it off the network and keep its disk".to_owned()),
            look: Some(match found {
                Some((_, pid)) => format!("systemctl status {pid} (unit, command line and parents of the process)"),
                None => basis.inside(&sockets_of_scan(sweep)),
            }),
            now: None,
        },
    }
}

/// The command that shows the sockets of a scan.
fn sockets_of_scan(sweep: &Sweep) -> String {
    match (protocol_of(&sweep.split), sweep.target) {
        (Protocol::TCP, ScanTarget::PortsOf(address, _)) => {
            format!("ss -tnp state syn-sent dst {address} (as root: the program that connects)")
        }
        (Protocol::TCP, _) => {
            "ss -tnp state syn-sent (as root: the program that connects)".to_owned()
        }
        _ => sockets_of(&sweep.split),
    }
}

pub(super) fn scanner_or_job() -> String {
    "a program that contacts so many addresses or ports without an answer is a scanner or a broken job, possibly a break-in"
        .to_owned()
}

pub(super) fn one_sided() -> Advice {
    Advice {
        why: Some(
            "packets of the other direction take another route, or tracking began after the connections did; this is not a scan"
                .to_owned(),
        ),
        fix: Some("route both directions through this host, or do not track this port (runbook)".to_owned()),
        ..Advice::default()
    }
}
