//! Rules 13, 15 and 16: DNS, a list that says too little, and a table that is too small.

use super::LARGE_SHARE;
use super::case::Case;
use super::finding::{Actor, Finding};
use super::unanswered::DNS_PORT;
use crate::analysis::facts::{Facts, Ownership, Service};
use crate::analysis::tally::Peer;
use crate::analysis::traffic::Direction;
use crate::model::conntrack::Protocol;

/// Rule 13: DNS over UDP holds much of the table.
pub(super) fn dns(facts: &Facts) -> Option<Finding> {
    let (_, split, _) = facts.ports.iter().find(|(port, split, _)| {
        port.number == DNS_PORT
            && port.protocol == Protocol::UDP
            && facts.share(split.entries).is_at_least(LARGE_SHARE)
    })?;
    let service = facts.services.iter().find(|service| {
        service.port.number == DNS_PORT && service.port.protocol == Protocol::UDP
    })?;
    let resolver = facts
        .destinations
        .iter()
        .find(|destination| asks(&destination.peer))
        .filter(|destination| destination.split.entries * 2 > split.entries);
    Some(Finding::Dns {
        actor: asker(service, &service.ownership),
        resolver: resolver.map(|destination| destination.peer),
        direction: service.direction,
        far: service.far,
        share: facts.share(split.entries),
    })
}

fn asks(peer: &Peer) -> bool {
    matches!(peer, Peer::To { address, protocol, .. }
        if address.port() == DNS_PORT && *protocol == Protocol::UDP)
}

fn asker(service: &Service, ownership: &Ownership) -> Actor {
    match (service.direction, ownership.main()) {
        (_, Some(held)) => Actor::Here {
            held: held.clone(),
            seen: ownership.seen,
        },
        (Direction::In | Direction::Forwarded, None) => Actor::Clients(service.far),
        (Direction::Out | Direction::Local, None) => Actor::ThisHost,
    }
}

/// Rule 15: no finding rests on a list that lacks a tenth of the entries or more.
pub(super) fn count_disagrees(case: &Case<'_>) -> Option<Finding> {
    let listed = case.listed?;
    listed
        .lacks_much()
        .then_some(Finding::CountDisagrees(listed))
}

/// Rule 16: nothing above explains it, so the limit is too small for what this host does.
pub(super) fn nobody_stands_out(facts: &Facts) -> Option<Finding> {
    if facts.all.entries == 0 {
        return None;
    }
    let endpoints = facts
        .destinations
        .iter()
        .map(|destination| destination.split.entries)
        .chain(facts.clients.iter().map(|client| client.split.entries));
    Some(Finding::NobodyStandsOut {
        endpoints: facts.endpoints,
        services: facts.ports.len() as u64,
        largest: facts.share(endpoints.max().unwrap_or_default()),
    })
}
