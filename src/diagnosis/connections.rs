//! Rules 8, 9, 11 and 12: connections that are closed too soon, or not at all.

use super::LARGE_SHARE;
use super::case::Case;
use super::finding::{Actor, Finding, Flow};
use crate::analysis::facts::{
    Client, Destination, Distinct, End, Facts, Held, Ownership, Pair, Share,
};
use crate::analysis::tally::Peer;
use crate::analysis::traffic::Direction;
use crate::model::conntrack::Class;

/// So many processes are few: workers of one service. More are the connections of many programs.
const FEW_PROCESSES: u64 = 64;
/// A table that grows by more than this share of its entries in a minute is filled now; peers that vanished are not the
/// reason. Percent.
const FAST_GROWTH: u64 = 2;

/// The flow to a destination: who dials it is a unit of this host, or the one client behind it.
pub(super) fn flow_to(facts: &Facts, destination: &Destination) -> Flow {
    Flow {
        actor: dialler(destination),
        to: End::Remote(destination.peer),
        split: destination.split,
        share: facts.share(destination.split.entries),
    }
}

fn dialler(destination: &Destination) -> Actor {
    if destination.direction == Direction::Forwarded {
        return match destination.pair {
            Some(Pair {
                other: End::Remote(client),
                ..
            }) => Actor::Client(client),
            _ => Actor::Clients(destination.sources),
        };
    }
    owner(&destination.ownership)
}

fn owner(ownership: &Ownership) -> Actor {
    match ownership.main() {
        Some(held) => Actor::Here {
            held: held.clone(),
            seen: ownership.seen,
        },
        None => Actor::ThisHost,
    }
}

/// Rule 8: one destination holds much of the table, and most of its entries are in TIME_WAIT.
pub(super) fn not_reused(facts: &Facts) -> Option<Finding> {
    let destination = facts.destinations.iter().find(|destination| {
        facts
            .share(destination.split.entries)
            .is_at_least(LARGE_SHARE)
            && destination.split.is_mostly(Class::TimeWait)
    })?;
    Some(Finding::NotReused(flow_to(facts, destination)))
}

/// Rule 9: one destination or client holds much of the table, most of it ESTABLISHED, at the sockets of few processes;
/// or forwarded between one client and one destination.
pub(super) fn kept_open(facts: &Facts) -> Option<Finding> {
    let is_large = |entries| facts.share(entries).is_at_least(LARGE_SHARE);
    let destination = facts.destinations.iter().find(|destination| {
        is_large(destination.split.entries)
            && destination.split.is_mostly(Class::Established)
            && match dialler(destination) {
                Actor::Here { held, .. } => {
                    holds_most(&held, destination.split.of(Class::Established))
                }
                Actor::Client(_) => true,
                Actor::ThisHost | Actor::Clients(_) => false,
            }
    });
    if let Some(destination) = destination {
        return Some(Finding::KeptOpen(flow_to(facts, destination)));
    }
    let client = facts.clients.iter().find(|client| {
        is_large(client.split.entries)
            && client.direction == Direction::In
            && client.split.is_mostly(Class::Established)
            && client
                .ownership
                .main()
                .is_some_and(|held| holds_most(held, client.split.of(Class::Established)))
    })?;
    Some(Finding::KeptOpen(flow_of(facts, client)?))
}

/// Whether the sockets of few processes make up most of these entries.
fn holds_most(held: &Held, established: u64) -> bool {
    (1..=FEW_PROCESSES).contains(&held.who.processes)
        && Share::new(held.entries, established).is_most()
}

/// The flow from a client to what it mostly dials.
pub(super) fn flow_of(facts: &Facts, client: &Client) -> Option<Flow> {
    Some(Flow {
        actor: Actor::Client(client.peer),
        to: client.pair.as_ref()?.other,
        split: client.split,
        share: facts.share(client.split.entries),
    })
}

/// Rule 11: most of the table is in CLOSE_WAIT: one side has closed, and the other does not.
pub(super) fn not_closed(facts: &Facts) -> Option<Finding> {
    let all = facts.all.of(Class::CloseWait);
    if !facts.all.is_mostly(Class::CloseWait) {
        return None;
    }
    let has_most = |entries| Share::new(entries, all).is_most();
    let destination = facts
        .destinations
        .iter()
        .find(|destination| has_most(destination.split.of(Class::CloseWait)));
    if let Some(destination) = destination {
        return Some(Finding::NotClosed(flow_to(facts, destination)));
    }
    let service = facts.services.iter().find(|service| {
        service.direction == Direction::In && has_most(service.split.of(Class::CloseWait))
    });
    let (actor, to, split) = match service {
        Some(service) => (
            owner(&service.ownership),
            End::Service(service.port),
            service.split,
        ),
        None => {
            let largest = facts.destinations.first()?;
            (
                Actor::Clients(Distinct::default()),
                End::Remote(largest.peer),
                facts.all,
            )
        }
    };
    Some(Finding::NotClosed(Flow {
        actor,
        to,
        split,
        share: facts.share(split.entries),
    }))
}

/// Rule 12: most of the table is ESTABLISHED, and most of these entries have no socket although all sockets were seen.
pub(super) fn peers_vanished(case: &Case<'_>, facts: &Facts) -> Option<Finding> {
    let established = facts.all.of(Class::Established);
    let ownership = &facts.ownership;
    let grows_fast = case
        .growth
        .and_then(|growth| u64::try_from(growth).ok())
        .is_some_and(|growth| facts.share(growth).is_at_least(FAST_GROWTH));
    let forwarded = facts.share(facts.in_direction(Direction::Forwarded));
    if !facts.all.is_mostly(Class::Established)
        || !Share::new(ownership.without_socket, established).is_most()
        || !ownership.complete
        || forwarded.is_most()
        || grows_fast
        || case.served_elsewhere
        || case.capture
    {
        return None;
    }
    Some(Finding::PeersVanished {
        share: facts.share(ownership.without_socket),
    })
}

/// Whether a peer is a network of several addresses.
pub(super) fn is_network(peer: &Peer) -> bool {
    matches!(
        peer,
        Peer::From {
            length: Some(_),
            ..
        }
    )
}
