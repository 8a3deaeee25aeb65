//! Rules 7 and 10: many clients of one service, or one client.

use super::case::Case;
use super::connections::{flow_of, is_network, peers_vanished};
use super::finding::{Actor, Crowd, Finding, Flow};
use super::unanswered::DNS_PORT;
use super::{LARGE_SHARE, NAMED_SHARE, NEARLY_ALL};
use crate::analysis::facts::{Client, Distinct, Facts, PairEnd, Share, Split};
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::Class;

/// A client that holds half of the table needs no comparison. Percent.
const ONE_CLIENT_SHARE: u64 = 50;
/// A client that holds a quarter stands out if it holds so many times what the next one holds.
const TIMES_THE_NEXT: u64 = 5;

/// Rule 7: most of the table belongs to one service, and none of its clients stands out. Clients that the service does
/// not let go (CLOSE_WAIT) are left to rule 11, and clients that are gone to rule 12.
pub(super) fn crowd(case: &Case<'_>, facts: &Facts) -> Option<Finding> {
    if facts.all.is_mostly(Class::CloseWait) || peers_vanished(case, facts).is_some() {
        return None;
    }
    let networks = facts.clients.iter().any(|client| is_network(&client.peer));
    let large = |entries| facts.share(entries).is_most();
    let none_named = |largest| !facts.share(largest).is_at_least(NAMED_SHARE);
    let service = facts.services.iter().find(|service| {
        service.traffic == Traffic::Input
            && large(service.split.entries)
            && none_named(service.largest)
            && service.port.number != DNS_PORT
    });
    if let Some(service) = service {
        let owner = service.ownership.main().map(|held| held.who.clone());
        return Some(Finding::Crowd(Crowd {
            service: PairEnd::Service(service.port),
            owner,
            clients: service.far,
            networks,
            largest: facts.share(service.largest),
            split: service.split,
            share: facts.share(service.split.entries),
            flood: is_flood(&service.split),
        }));
    }
    let largest = facts
        .clients
        .first()
        .map_or(0, |client| client.split.entries);
    let destination = facts.destinations.iter().find(|destination| {
        destination.traffic == Traffic::Forward
            && large(destination.split.entries)
            && none_named(largest)
    })?;
    Some(Finding::Crowd(Crowd {
        service: PairEnd::Remote(destination.peer),
        owner: None,
        clients: destination.sources,
        networks,
        largest: facts.share(largest),
        split: destination.split,
        share: facts.share(destination.split.entries),
        flood: is_flood(&destination.split),
    }))
}

/// True if most entries are half open, or UDP without a reply: nothing proves that their source addresses are true.
pub fn is_flood(split: &Split) -> bool {
    let half_open = split.of(Class::SynRecv) + split.of(Class::SynSent);
    let unproven = split.of(Class::SynRecv) + split.unanswered;
    Share::new(half_open.max(unproven), split.entries).is_most()
}

/// Rule 10: one client holds half of the table, or a quarter of it and five times as much as the next client.
pub(super) fn one_client(facts: &Facts) -> Option<Finding> {
    let client = facts.clients.first()?;
    let next = facts
        .clients
        .get(1)
        .map_or(0, |client| client.split.entries);
    let entries = client.split.entries;
    let share = facts.share(entries);
    let stands_out = share.is_at_least(ONE_CLIENT_SHARE)
        || (share.is_at_least(LARGE_SHARE) && entries >= next.saturating_mul(TIMES_THE_NEXT));
    stands_out.then(|| Finding::OneClient(flow(facts, client)))
}

/// The flow from a client to the one end that nearly all of its entries have; to several ends if there is no such end,
/// because to limit one of them would leave the others.
fn flow(facts: &Facts, client: &Client) -> Flow {
    let has_nearly_all = client
        .pair
        .as_ref()
        .is_some_and(|pair| Share::new(pair.entries, client.split.entries).is_at_least(NEARLY_ALL));
    let one_end = flow_of(facts, client).filter(|_| has_nearly_all);
    one_end.unwrap_or_else(|| Flow {
        actor: Actor::Client(client.peer),
        to: PairEnd::Several(most(client.ports, client.destinations)),
        split: client.split,
        share: facts.share(client.split.entries),
    })
}

fn most(ports: Distinct, destinations: Distinct) -> Distinct {
    if ports.seen >= destinations.seen {
        ports
    } else {
        destinations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::samples::{
        ALL, dialled_by, found, from, of_class, of_port, plus, sidekiq, tcp, udp,
    };

    #[test]
    fn a_service_with_most_of_the_table_and_no_large_client_has_a_crowd() {
        let facts = |n, clients| {
            of_port(
                tcp(443),
                Traffic::Input,
                of_class(Class::Established, n),
                clients,
            )
        };
        let Some(Finding::Crowd(crowd)) = found(&facts(501, 3900)) else {
            panic!("{:?}", found(&facts(501, 3900)))
        };
        assert_eq!(crowd.clients.seen, 3900);
        assert!(!crowd.flood);
        // half of the table is not most of it, and a tenth of it is one client's
        for near_miss in [facts(500, 3900), facts(600, 6)] {
            let found = found(&near_miss);
            assert!(!matches!(found, Some(Finding::Crowd(_))), "{found:?}");
        }
    }

    #[test]
    fn clients_whose_connections_have_no_socket_any_more_are_no_crowd() {
        let mut facts = of_port(
            tcp(443),
            Traffic::Input,
            of_class(Class::Established, ALL),
            900,
        );
        facts.ownership.complete = true;
        facts.ownership.without_socket = 500;
        assert!(matches!(found(&facts), Some(Finding::Crowd(_))));
        facts.ownership.without_socket = 501;
        assert!(matches!(found(&facts), Some(Finding::PeersVanished { .. })));
    }

    #[test]
    fn a_crowd_of_half_open_connections_is_a_flood() {
        let facts = |half_open| {
            let split = plus(
                of_class(Class::SynRecv, half_open),
                of_class(Class::Established, ALL - half_open),
            );
            of_port(tcp(443), Traffic::Input, split, 900)
        };
        let is_flood = |half_open| match found(&facts(half_open)) {
            Some(Finding::Crowd(crowd)) => crowd.flood,
            other => panic!("{other:?}"),
        };
        assert!(is_flood(501));
        assert!(!is_flood(500));
    }

    #[test]
    fn the_crowd_of_a_name_server_is_left_to_the_rule_of_dns() {
        let facts = of_port(udp(53), Traffic::Input, of_class(Class::Udp, 900), 900);
        assert!(matches!(found(&facts), Some(Finding::Dns { .. })));
    }

    #[test]
    fn a_client_of_several_services_is_not_said_to_dial_one() {
        let to = |entries| {
            let mut facts = dialled_by("198.51.100.9", of_class(Class::TimeWait, 900), sidekiq(0));
            facts.clients[0].pair.as_mut().unwrap().entries = entries;
            let Some(Finding::OneClient(flow)) = found(&facts) else {
                panic!("{:?}", found(&facts))
            };
            flow.to
        };
        assert_eq!(to(810), PairEnd::Service(tcp(8080)));
        assert!(matches!(to(809), PairEnd::Several(_)));
    }

    #[test]
    fn one_client_holds_half_of_the_table() {
        let facts = |n, next| {
            let mut facts = dialled_by("198.51.100.9", of_class(Class::TimeWait, n), sidekiq(0));
            let mut other = facts.clients[0].clone();
            other.peer = from("198.51.100.10");
            other.split = of_class(Class::TimeWait, next);
            facts.clients.push(other);
            facts
        };
        let holds = |n, next| matches!(found(&facts(n, next)), Some(Finding::OneClient(_)));
        assert!(holds(500, 499));
        assert!(!holds(499, 400));
        // a quarter, and five times the next
        assert!(holds(250, 50));
        assert!(!holds(250, 51));
        assert!(!holds(249, 0));
    }
}
