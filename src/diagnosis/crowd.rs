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
    // SYN_SENT is among the unanswered ones
    let unproven = split.of(Class::SynRecv) + split.unanswered;
    Share::new(unproven, split.entries).is_most()
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

/// The larger number; of equal ones that of the destinations, of which there may be more than were counted.
fn most(ports: Distinct, destinations: Distinct) -> Distinct {
    if destinations.seen >= ports.seen {
        destinations
    } else {
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::Ownership;
    use crate::analysis::tally::EndpointId;
    use crate::diagnosis::samples::{
        ALL, dialled_by, dialling, found, from, of_class, of_port, plus, seen, sidekiq, tcp, to,
        udp, unreplied_udp,
    };
    use crate::model::conntrack::Protocol;

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

    fn crowd_of(facts: &Facts) -> Option<Crowd> {
        match found(facts) {
            Some(Finding::Crowd(crowd)) => Some(crowd),
            _ => None,
        }
    }

    #[test]
    fn a_crowd_has_no_client_with_a_tenth_of_the_table() {
        let facts = |largest, traffic| {
            let mut facts = of_port(tcp(443), traffic, of_class(Class::Established, 600), 900);
            facts.services[0].largest = largest;
            facts
        };
        assert_eq!(
            crowd_of(&facts(99, Traffic::Input)).map(|crowd| crowd.largest),
            Some(Share::new(99, ALL))
        );
        assert_eq!(crowd_of(&facts(100, Traffic::Input)), None);
        // this host is no crowd of its own
        assert_eq!(crowd_of(&facts(99, Traffic::Output)), None);
    }

    #[test]
    fn a_crowd_behind_this_host_has_no_client_with_a_tenth_of_the_table() {
        let facts = |n, largest| {
            let mut facts = dialling(of_class(Class::Established, n), Ownership::default());
            facts.destinations[0].traffic = Traffic::Forward;
            facts.destinations[0].sources = seen(900);
            facts.clients = dialled_by(
                "198.51.100.9",
                of_class(Class::Established, largest),
                Ownership::default(),
            )
            .clients;
            facts.clients[0].traffic = Traffic::Forward;
            facts
        };
        let crowd = crowd_of(&facts(501, 99)).unwrap();
        assert_eq!(
            (crowd.service, crowd.clients, crowd.largest),
            (
                PairEnd::Remote(to("10.0.3.7:6379", Protocol::TCP)),
                seen(900),
                Share::new(99, ALL)
            )
        );
        for near_miss in [facts(500, 99), facts(501, 100)] {
            assert_eq!(crowd_of(&near_miss), None);
        }
        let mut dialled_here = facts(501, 99);
        dialled_here.destinations[0].traffic = Traffic::Output;
        assert_eq!(crowd_of(&dialled_here), None);
    }

    #[test]
    fn clients_are_networks_if_they_are_counted_by_network() {
        let facts = |length| {
            let mut facts = of_port(
                tcp(443),
                Traffic::Input,
                of_class(Class::Established, 600),
                900,
            );
            facts.clients =
                dialled_by("198.51.100.0", of_class(Class::Established, 9), sidekiq(0)).clients;
            facts.clients[0].peer = EndpointId::From {
                address: "198.51.100.0".parse().unwrap(),
                length,
            };
            facts
        };
        assert!(crowd_of(&facts(Some(24))).unwrap().networks);
        assert!(!crowd_of(&facts(None)).unwrap().networks);
    }

    #[test]
    fn clients_that_a_service_does_not_let_go_are_no_crowd() {
        let facts = |n| {
            let split = plus(
                of_class(Class::CloseWait, n),
                of_class(Class::FinWait, ALL - n),
            );
            of_port(tcp(443), Traffic::Input, split, 900)
        };
        assert!(crowd_of(&facts(500)).is_some());
        assert!(matches!(found(&facts(501)), Some(Finding::NotClosed(_))));
    }

    #[test]
    fn a_crowd_of_datagrams_without_a_reply_is_a_flood() {
        let flood = |unreplied| {
            let split = plus(
                unreplied_udp(unreplied),
                of_class(Class::Udp, ALL - unreplied),
            );
            crowd_of(&of_port(udp(443), Traffic::Input, split, 900)).map(|crowd| crowd.flood)
        };
        assert_eq!(flood(501), Some(true));
        assert_eq!(flood(500), Some(false));
        // both kinds together
        let split = plus(
            plus(of_class(Class::SynRecv, 300), of_class(Class::SynSent, 300)),
            of_class(Class::Established, 400),
        );
        let both = crowd_of(&of_port(tcp(443), Traffic::Input, split, 900));
        assert_eq!(both.map(|crowd| crowd.flood), Some(true));
    }

    #[test]
    fn a_client_of_several_ends_has_as_many_as_its_ports_or_destinations() {
        let several = |ports, destinations| {
            let mut facts = dialled_by("198.51.100.9", of_class(Class::TimeWait, 900), sidekiq(0));
            facts.clients[0].pair = None;
            facts.clients[0].ports = seen(ports);
            facts.clients[0].destinations = Distinct {
                seen: destinations,
                at_least: true,
            };
            match found(&facts) {
                Some(Finding::OneClient(flow)) => flow.to,
                other => panic!("{other:?}"),
            }
        };
        let over = |n| {
            PairEnd::Several(Distinct {
                seen: n,
                at_least: true,
            })
        };
        assert_eq!(several(7, 3), PairEnd::Several(seen(7)));
        assert_eq!(several(3, 7), over(7));
        assert_eq!(several(7, 7), over(7));
    }
}
