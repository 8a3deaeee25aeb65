//! Rules 4, 5, 6 and 14: entries without a reply.

use super::LARGE_SHARE;
use super::connections::flow_to;
use super::finding::{Actor, Finding, ScanTarget, Sweep};
use crate::analysis::facts::{End, Facts, Ownership, Port, Share, Who};
use crate::analysis::tally::Peer;
use crate::analysis::traffic::Direction;
use crate::model::conntrack::Protocol;

/// So many addresses or ports without an answer are a scan, and not a service that is down.
const MANY_TARGETS: u64 = 100;
/// From this share on a direction of a port counts for a tunnel, whose two ways are about equal. Percent.
const OTHER_WAY: u64 = 20;
/// Ports of UDP protocols that are not answered on the same port: syslog, NetFlow and IPFIX, sFlow, Geneve, VXLAN (two
/// ports), statsd, GELF, collectd, L2TP in one direction, TZSP, WireGuard is not among them.
const ONE_WAY_PORTS: [u16; 12] = [
    514, 1514, 2055, 4739, 4789, 6081, 6343, 8125, 8472, 9995, 12201, 25826,
];

/// Rule 4: one destination holds much of the table, and most of its TCP entries got no answer.
pub(super) fn no_answer(facts: &Facts) -> Option<Finding> {
    let destination = facts.destinations.iter().find(|destination| {
        facts
            .share(destination.split.entries)
            .is_at_least(LARGE_SHARE)
            && destination.split.is_mostly_unanswered()
            && is_tcp(&destination.peer)
    })?;
    Some(Finding::NoAnswer(flow_to(facts, destination)))
}

fn is_tcp(peer: &Peer) -> bool {
    matches!(peer, Peer::To { protocol, .. } if *protocol == Protocol::TCP)
}

/// Rule 5: a port of UDP, or a protocol without ports, whose packets are never answered from the port they went to.
pub(super) fn one_way(facts: &Facts) -> Option<Finding> {
    let (port, split, peers) = facts.ports.iter().find(|(port, split, _)| {
        facts.share(split.entries).is_at_least(LARGE_SHARE)
            && match port.protocol {
                Protocol::TCP | Protocol::ICMP | Protocol::ICMPV6 => false,
                Protocol::UDP => {
                    split.is_mostly_unanswered()
                        && (ONE_WAY_PORTS.contains(&port.number)
                            || (port.number != DNS_PORT && goes_both_ways(facts, *port)))
                }
                _ => true,
            }
    })?;
    Some(Finding::OneWay {
        port: *port,
        peers: *peers,
        both_ways: goes_both_ways(facts, *port),
        share: facts.share(split.entries),
    })
}

/// The port of DNS.
pub(super) const DNS_PORT: u16 = 53;

/// Whether a port is dialled in two directions about equally.
fn goes_both_ways(facts: &Facts, port: Port) -> bool {
    let directions = facts.services.iter().filter(|service| service.port == port);
    let all: u64 = directions
        .clone()
        .map(|service| service.split.entries)
        .sum();
    let large = directions.filter(|service| {
        matches!(service.direction, Direction::In | Direction::Out)
            && Share::new(service.split.entries, all).is_at_least(OTHER_WAY)
    });
    large.count() > 1
}

/// Rule 6: most of the table is unanswered, and one source dials many addresses or many ports.
pub(super) fn scan(facts: &Facts) -> Option<Finding> {
    if !facts.all.is_mostly_unanswered() {
        return None;
    }
    ports_of_one_address(facts)
        .or_else(|| one_port_of_many_addresses(facts))
        .or_else(|| by_one_client(facts))
        .or_else(|| out_to_everywhere(facts))
        .map(Finding::Scan)
}

/// Many ports of one address.
fn ports_of_one_address(facts: &Facts) -> Option<Sweep> {
    let swept = facts.swept.as_ref()?;
    let share = facts.share(swept.split.entries);
    if swept.direction != Direction::Out
        || swept.ports.seen < MANY_TARGETS
        || !share.is_at_least(LARGE_SHARE)
        || !swept.split.is_mostly_unanswered()
    {
        return None;
    }
    let actor = here(&swept.ownership);
    Some(Sweep {
        direction: Direction::Out,
        candidates: candidates(facts, &actor),
        actor,
        target: ScanTarget::PortsOf(swept.address, swept.ports),
        split: swept.split,
        share,
    })
}

/// One port of many addresses, dialled from this host.
fn one_port_of_many_addresses(facts: &Facts) -> Option<Sweep> {
    let service = facts.services.iter().find(|service| {
        service.direction == Direction::Out
            && service.far.seen >= MANY_TARGETS
            && facts.share(service.split.entries).is_at_least(LARGE_SHARE)
            && service.split.is_mostly_unanswered()
            && service.port.number != DNS_PORT
    })?;
    let actor = here(&service.ownership);
    Some(Sweep {
        direction: Direction::Out,
        candidates: candidates(facts, &actor),
        actor,
        target: ScanTarget::Addresses(service.port, service.far),
        split: service.split,
        share: facts.share(service.split.entries),
    })
}

/// A client that dials many ports of this host, or many addresses through it.
fn by_one_client(facts: &Facts) -> Option<Sweep> {
    let client = facts.clients.iter().find(|client| {
        facts.share(client.split.entries).is_at_least(LARGE_SHARE)
            && client.split.is_mostly_unanswered()
            && client.ports.seen.max(client.destinations.seen) >= MANY_TARGETS
    })?;
    let target = match client.direction {
        Direction::In => ScanTarget::PortsHere(client.ports),
        _ => ScanTarget::Everything(client.destinations),
    };
    Some(Sweep {
        direction: client.direction,
        actor: Actor::Client(client.peer),
        target,
        candidates: Vec::new(),
        split: client.split,
        share: facts.share(client.split.entries),
    })
}

/// Many addresses and many ports, dialled from this host.
fn out_to_everywhere(facts: &Facts) -> Option<Sweep> {
    let share = facts.share(facts.in_direction(Direction::Out));
    let destinations = facts.dialled;
    let named = facts.destinations.first().is_some_and(|destination| {
        facts
            .share(destination.split.entries)
            .is_at_least(LARGE_SHARE)
    });
    if !share.is_most() || named || destinations.seen < MANY_TARGETS {
        return None;
    }
    let actor = here(&facts.ownership);
    Some(Sweep {
        direction: Direction::Out,
        candidates: candidates(facts, &actor),
        actor,
        target: ScanTarget::Everything(destinations),
        split: facts.all,
        share,
    })
}

fn here(ownership: &Ownership) -> Actor {
    match ownership.main() {
        Some(held) => Actor::Here {
            held: held.clone(),
            seen: ownership.seen,
        },
        None => Actor::ThisHost,
    }
}

/// Processes that may be the sender if no socket tells.
fn candidates(facts: &Facts, actor: &Actor) -> Vec<Who> {
    match actor {
        Actor::ThisHost => facts.raw_senders.clone(),
        _ => Vec::new(),
    }
}

/// Rule 14: most of the table is ESTABLISHED without a reply: the other direction takes another route, or tracking began
/// in the middle of the connections.
pub(super) fn one_sided(facts: &Facts) -> Option<Finding> {
    let share = facts.share(facts.all.one_sided);
    if !share.is_most() {
        return None;
    }
    let service = facts
        .services
        .iter()
        .filter(|service| matches!(service.direction, Direction::In | Direction::Forwarded))
        .find(|service| Share::new(service.split.one_sided, facts.all.one_sided).is_most())
        .map(|service| End::Service(service.port));
    let destination = facts
        .destinations
        .iter()
        .find(|destination| Share::new(destination.split.one_sided, facts.all.one_sided).is_most())
        .map(|destination| End::Remote(destination.peer));
    Some(Finding::OneSided {
        service: destination.or(service),
        share,
    })
}
