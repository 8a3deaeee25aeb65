//! The advice of rules 7 and 10: many clients, or one.

use std::time::Duration;

use super::commands::{LONGEST_LINE, closed_keeps, limit, spoken, timeout};
use super::{Advice, AdviceContext};
use crate::diagnosis::{Crowd, Flow};
use crate::model::conntrack::Class;
use crate::model::timeouts::defaults;
use crate::report::sentence_parts::SentenceParts;

/// A timeout for half-open entries that a flood does not outlast.
const SHORT_SYN_RECV: Duration = Duration::from_secs(10);

pub(super) fn crowd_of(
    crowd: &Crowd,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    if !crowd.flood {
        if crowd.split.is_mostly(Class::TimeWait) {
            return many_requests(crowd, basis, words);
        }
        return Advice {
            why: Some(
                if basis.limit_is_near {
                    "more clients than the limit allows for; no single one is the reason"
                } else {
                    "many clients, and no single one is the reason"
                }
                .to_owned(),
            ),
            fix: permanent_limit(basis),
            ..Advice::default()
        };
    }
    let syn_recv = crowd.split.is_mostly(Class::SynRecv);
    let service = words.end(&crowd.service);
    Advice {
        why: Some(format!(
            "the entries wait up to {} for an answer that does not come; source addresses may be forged, so blocking them does not help",
            if syn_recv {
                timeout(basis.timeouts.syn_recv, defaults::SYN_RECV)
            } else {
                timeout(basis.timeouts.udp, defaults::UDP)
            }
        )),
        fix: Some(if syn_recv {
            basis.inside(&format!(
                "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_recv={} (half-open entries end after {}), then put synproxy before {service} (runbook)",
                SHORT_SYN_RECV.as_secs(),
                spoken(SHORT_SYN_RECV)
            ))
        } else {
            format!("filter it before it gets here, or do not track {service} (runbook)")
        }),
        ..Advice::default()
    }
}

/// The advice for a crowd that closes each connection after one request.
fn many_requests(crowd: &Crowd, basis: AdviceContext<'_>, words: &SentenceParts<'_>) -> Advice {
    let reuse = format!(
        "let {} keep connections open for more than one request (keep-alive)",
        words.end(&crowd.service)
    );
    Advice {
        why: Some(format!(
            "each request of these clients is a connection of its own, and {}",
            closed_keeps(&basis.timeouts)
        )),
        fix: Some(or_larger_limit(reuse, basis)),
        ..Advice::default()
    }
}

/// This advice, and the larger limit beside it if that helps and both fit into a line.
pub(super) fn or_larger_limit(advice: String, basis: AdviceContext<'_>) -> String {
    let limit = permanent_limit(basis).filter(|_| basis.limit_is_near);
    let both = limit.map(|limit| format!("{advice}, or {limit}"));
    both.filter(|both| both.len() <= LONGEST_LINE)
        .unwrap_or(advice)
}

/// The limit that was advised, for good. While the table is far from full a larger limit does not help, but another
/// range may; a capture has crossed none.
pub(super) fn permanent_limit(basis: AdviceContext<'_>) -> Option<String> {
    if !basis.limit_is_near {
        return (!basis.capture).then(|| {
            "if so many entries are ordinary for this host, raise the range that was crossed (-w, -c): the table is far from full"
                .to_owned()
        });
    }
    let wanted = basis
        .relief
        .map(|relief| relief.max)
        .or(basis.max.map(|max| u64::from(max).saturating_mul(2)));
    Some(match wanted {
        Some(max) => format!(
            "set net.netfilter.nf_conntrack_max={max} in /etc/sysctl.d, the limit of {} is too small for this host",
            basis.max.unwrap_or_default()
        ),
        None => "set a larger net.netfilter.nf_conntrack_max in /etc/sysctl.d".to_owned(),
    })
}

pub(super) fn one_client(
    flow: &Flow,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    let who = words.actor(&flow.actor);
    let forged = crate::diagnosis::is_unproven(&flow.split);
    let classes: Vec<String> = flow
        .split
        .largest_first()
        .into_iter()
        .take(2)
        .map(|(class, n)| {
            let name = Class::ALL.get(class.index()).map_or("", |(_, name)| name);
            format!("{n} {name}")
        })
        .collect();
    let command = limit(flow, basis);
    let meaning = match (forged, command.is_some()) {
        (true, true) => {
            "; its address may be forged, no connection was completed; the fix allows it 20 new ones a second"
        }
        (true, false) => "; its address may be forged, no connection was completed",
        (false, true) => "; the fix allows it 20 new ones a second",
        (false, false) => "",
    };
    Advice {
        why: Some(format!(
            "one client opens more connections than any other ({}){meaning}",
            classes.join(", ")
        )),
        fix: Some(command.unwrap_or_else(|| {
            format!(
                "ask the owner of {who}, or limit its new connections in the firewall (runbook)"
            )
        })),
        ..Advice::default()
    }
}
