//! The advice of rules 8, 9, 11 and 12: connections closed too soon, or not at all.

use std::time::Duration;

use super::commands::LONGEST_LINE;
use super::commands::{closed_keeps, restarting, spoken, timeout};
use super::{Advice, AdviceContext};
use crate::analysis::facts::PairEnd;
use crate::diagnosis::{Actor, Flow};
use crate::model::conntrack::Class;
use crate::model::timeouts::defaults;
use crate::report::plural;
use crate::report::sentence_parts::{SentenceParts, verb};

/// A timeout for idle connections that keeps no entry for days.
const SHORT_ESTABLISHED: Duration = Duration::from_secs(86_400);

pub(super) fn not_reused(
    flow: &Flow,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    let closed = closed_keeps(&basis.timeouts);
    let (why, fix) = match &flow.actor {
        Actor::Here { held, .. } => {
            let (who, name) = (&held.who, words.actor(&flow.actor));
            let why = format!("{name} opens a new connection for each request, and {closed}");
            let open = flow.split.entries - flow.split.of(Class::TimeWait);
            // a connection within this host may be open at two sockets of one owner
            let holds = held.entries.min(open);
            let evidence = format!("; it holds {holds} of the {open} still open");
            (
                if open > 0 && why.len() + evidence.len() <= LONGEST_LINE {
                    why + &evidence
                } else {
                    why
                },
                format!(
                    "give {name} a connection pool that outlives the request ({}, {} open)",
                    plural(who.threads, "thread", "threads"),
                    plural(who.connections, "connection", "connections")
                ),
            )
        }
        actor => {
            let who = match actor {
                Actor::ThisHost => "the program on this host".to_owned(),
                actor => words.short_actor(actor),
            };
            (
                format!(
                    "{who} {} a new connection for each request, and {closed}",
                    verb(actor, "opens", "open")
                ),
                format!(
                    "let {who} reuse connections to {} (connection pool, keep-alive)",
                    words.short_end(&flow.to)
                ),
            )
        }
    };
    Advice {
        why: Some(why),
        fix: Some(fix),
        ..Advice::default()
    }
}

pub(super) fn kept_open(flow: &Flow, words: &SentenceParts<'_>) -> Advice {
    let why = "connections are opened and not closed: a leak, or a pool that is too large";
    match &flow.actor {
        Actor::Here { held, .. } => Advice {
            why: Some(format!(
                "{why} ({} in {})",
                plural(held.who.threads, "thread", "threads"),
                plural(held.who.processes, "process", "processes")
            )),
            fix: Some(format!(
                "{} frees them within minutes; then limit its pool",
                restarting(&held.who)
            )),
            ..Advice::default()
        },
        Actor::Owners(owners) => Advice {
            why: Some(format!(
                "{why} ({} in {} of {} owners)",
                plural(
                    owners.iter().map(|held| held.who.threads).sum(),
                    "thread",
                    "threads"
                ),
                plural(
                    owners.iter().map(|held| held.who.processes).sum(),
                    "process",
                    "processes"
                ),
                owners.len()
            )),
            fix: Some(format!(
                "restarting {} frees them within minutes; then limit each pool",
                words.actor(&flow.actor)
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

pub(super) fn not_closed(
    flow: &Flow,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    let waits = timeout(basis.timeouts.close_wait, defaults::CLOSE_WAIT);
    let (who, fix) = match &flow.actor {
        Actor::Here { held, .. } => (
            words.actor(&flow.actor),
            format!(
                "{} frees them; then have it repaired: it must close what the far side has closed",
                restarting(&held.who)
            ),
        ),
        owners @ Actor::Owners(_) => {
            let owners = words.actor(owners);
            let fix = format!(
                "restarting {owners} frees them; then have each repaired: it must close what the far side has closed"
            );
            (owners, fix)
        }
        _ if matches!(flow.to, PairEnd::Service(_)) => {
            let service = words.end(&flow.to);
            let fix = format!(
                "restart the program that serves {service}, which frees them; then have it repaired: it must close what its clients have closed"
            );
            (service, fix)
        }
        _ => (
            "the other side".to_owned(),
            format!(
                "find the program that connects to {}: it must close what the far side has closed",
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

pub(super) fn peers_vanished(basis: AdviceContext<'_>) -> Advice {
    let now = basis.timeouts.established;
    Advice {
        why: Some(format!(
            "peers vanished without closing, and an idle entry stays for {}",
            timeout(now, defaults::ESTABLISHED)
        )),
        fix: Some(basis.inside(&format!(
            "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established={} ({}, now {}; acts at the next packet, idle entries stay)",
            SHORT_ESTABLISHED.as_secs(),
            spoken(SHORT_ESTABLISHED),
            timeout(now, defaults::ESTABLISHED)
        ))),
        ..Advice::default()
    }
}
