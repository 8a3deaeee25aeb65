//! The advice of rules 13, 15 and 16.

use super::commands::{closed_keeps, not_tracked, sockets_of, timeout};
use super::crowd::{or_larger_limit, permanent_limit};
use super::{Advice, AdviceContext};
use crate::analysis::traffic::Traffic;
use crate::diagnosis::{Actor, FarEnds};
use crate::model::conntrack::Class;
use crate::model::timeouts::defaults;
use crate::report::sentence_parts::SentenceParts;

pub(super) fn dns(
    actor: &Actor,
    traffic: Traffic,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    let untrack =
        |chain, side| format!("iptables -t raw -I {chain} -p udp --{side} 53 -j CT --notrack");
    let why = format!(
        "each query keeps an entry for {}, answered or not",
        timeout(basis.timeouts.udp, defaults::UDP)
    );
    let fix = match traffic {
        Traffic::Input => not_tracked(
            [untrack("PREROUTING", "dport"), untrack("OUTPUT", "sport")],
            "OUTPUT and --sport",
            basis,
        ),
        Traffic::Forward => {
            "let the clients ask a cache near them, or this host answer them".to_owned()
        }
        Traffic::Output | Traffic::Local => {
            let who = match actor {
                Actor::Here { .. } | Actor::Owners(_) => format!(" for {}", words.actor(actor)),
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

pub(super) fn count_disagrees(basis: AdviceContext<'_>) -> Advice {
    Advice {
        why: Some(
            "the entries that are not listed have expired, are dying or leaked; they count until the kernel frees them"
                .to_owned(),
        ),
        fix: Some("if it lasts for minutes this kernel leaks entries: update it; only a reboot frees them".to_owned()),
        look: Some(basis.inside("conntrack -L dying (as root: entries that something still holds)")),
        now: None,
    }
}

pub(super) fn many_far_ends(
    ends: &FarEnds,
    basis: AdviceContext<'_>,
    words: &SentenceParts<'_>,
) -> Advice {
    if ends.traffic == Traffic::Forward {
        return nobody_stands_out(basis, false);
    }
    let who = words.actor(&ends.actor);
    let closed = if ends.split.is_mostly(Class::TimeWait) {
        format!(", and {}", closed_keeps(&basis.timeouts))
    } else {
        String::new()
    };
    let fewer = format!("let {who} open fewer connections at a time");
    let many = match ends.port {
        Some(_) => "so many addresses are contacted that no single one is the reason",
        None => {
            "its connections go to several addresses and ports, and no single one is the reason"
        }
    };
    Advice {
        why: Some(format!("{many}{closed}")),
        fix: Some(or_larger_limit(fewer, basis)),
        look: matches!(ends.actor, Actor::ThisHost).then(|| basis.inside(&sockets_of(&ends.split))),
        now: None,
    }
}

pub(super) fn nobody_stands_out(basis: AdviceContext<'_>, has_holder: bool) -> Advice {
    if basis.capture && !basis.limit_is_near {
        return Advice::default();
    }
    let why = if !basis.limit_is_near {
        "the entries look like ordinary traffic, and a larger limit does not make them fewer"
    } else if has_holder {
        "the entries look like ordinary traffic: it is more than before, or the limit is too small for it"
    } else {
        "no address and no service is the reason: this host needs more entries than its limit allows"
    };
    Advice {
        why: Some(why.to_owned()),
        fix: permanent_limit(basis),
        ..Advice::default()
    }
}
