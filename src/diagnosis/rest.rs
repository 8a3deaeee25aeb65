//! Rules 13, 15 and 16: DNS, a list that says too little, and a table that is too small.

use super::case::Case;
use super::connections::dialler;
use super::finding::{Actor, FarEnds, Finding};
use super::unanswered::DNS_PORT;
use super::{LARGE_SHARE, NEARLY_ALL};
use crate::analysis::facts::{Destination, Facts, Ownership, Service, Share, Split};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::Protocol;

/// Rule 13: DNS over UDP holds much of the table.
pub(super) fn dns(facts: &Facts) -> Option<Finding> {
    facts.ports.iter().find(|(port, split, _)| {
        port.number == DNS_PORT
            && port.protocol == Protocol::UDP
            && facts.share(split.entries).is_at_least(LARGE_SHARE)
    })?;
    let service = facts.services.iter().find(|service| {
        service.port.number == DNS_PORT && service.port.protocol == Protocol::UDP
    })?;
    let is_nearly_all =
        |entries| Share::new(entries, service.split.entries).is_at_least(NEARLY_ALL);
    let resolver = facts.destinations.iter().find(|destination| {
        asks(&destination.peer)
            && destination.traffic == service.traffic
            && is_nearly_all(destination.split.entries)
    });
    Some(Finding::Dns {
        actor: asker(service, &service.ownership),
        resolver: resolver.map(|destination| destination.peer),
        traffic: service.traffic,
        far: service.far,
        share: facts.share(service.split.entries),
    })
}

fn asks(peer: &EndpointId) -> bool {
    matches!(peer, EndpointId::To { address, protocol, .. }
        if address.port() == DNS_PORT && *protocol == Protocol::UDP)
}

fn asker(service: &Service, ownership: &Ownership) -> Actor {
    match (service.traffic, Actor::of(ownership)) {
        (Traffic::Input | Traffic::Forward, Actor::ThisHost) => Actor::Clients(service.far),
        (_, actor) => actor,
    }
}

/// Rule 15: no finding rests on a list that lacks a tenth of the entries or more.
pub(super) fn count_disagrees(case: &Case<'_>) -> Option<Finding> {
    let listed = case.listed?;
    listed
        .lacks_much()
        .then_some(Finding::CountDisagrees(listed))
}

/// Rule 16: no rule explains the entries, so the limit is too small for what this host does. An endpoint that holds much
/// of the table is named all the same.
pub(super) fn nobody_stands_out(facts: &Facts) -> Option<Finding> {
    if facts.all.entries == 0 {
        return None;
    }
    let destination = facts.destinations.first();
    let client = facts.clients.first();
    let entries_of = |split: Option<&Split>| split.map_or(0, |split| split.entries);
    let by_destination = entries_of(destination.map(|destination| &destination.split));
    let by_client = entries_of(client.map(|client| &client.split));
    let share = facts.share(by_destination.max(by_client));
    if !share.is_at_least(LARGE_SHARE) {
        let many = one_port_of_many(facts, share).or_else(|| dialled_by_one(facts, share));
        if many.is_some() {
            return many.map(Finding::ManyFarEnds);
        }
    }
    let of_destination =
        |destination: &Destination| (Some(dialler(facts, destination)), destination.peer);
    let holder = if by_client >= by_destination {
        client.map(|client| (None, client.peer))
    } else {
        destination.map(of_destination)
    };
    Some(Finding::NobodyStandsOut {
        endpoints: facts.endpoints,
        ports: facts.dialled_ports,
        largest: share,
        holder: holder.filter(|_| share.is_at_least(LARGE_SHARE)),
    })
}

/// One port that most entries go to, elsewhere.
fn one_port_of_many(facts: &Facts, largest: Share) -> Option<FarEnds> {
    let service = facts.services.iter().find(|service| {
        matches!(service.traffic, Traffic::Output | Traffic::Forward)
            && facts.share(service.split.entries).is_most()
    })?;
    Some(FarEnds {
        actor: Actor::of(&service.ownership),
        traffic: service.traffic,
        port: Some((service.port, service.far)),
        split: service.split,
        share: facts.share(service.split.entries),
        largest,
    })
}

/// An owner on this host at whose sockets most of the table was seen, whatever it dials.
fn dialled_by_one(facts: &Facts, largest: Share) -> Option<FarEnds> {
    let outbound = facts.share(facts.in_direction(Traffic::Output));
    let held = facts.ownership.main()?;
    if !outbound.is_most() || !facts.share(held.entries).is_most() {
        return None;
    }
    Some(FarEnds {
        actor: Actor::of(&facts.ownership),
        traffic: Traffic::Output,
        port: None,
        split: Split::default(),
        share: facts.share(held.entries),
        largest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::samples::{
        ALL, dialled_by, dialling, filling, found, from, of_class, of_port, seen, sidekiq, table,
        tcp, to, udp,
    };
    use crate::diagnosis::{Listed, diagnose};
    use crate::model::conntrack::Class;

    #[test]
    fn dns_holds_a_quarter_of_the_table() {
        let facts = |n| of_port(udp(53), Traffic::Output, of_class(Class::Udp, n), 2);
        assert!(matches!(
            found(&facts(250)),
            Some(Finding::Dns {
                actor: Actor::ThisHost,
                ..
            })
        ));
        assert!(!matches!(found(&facts(249)), Some(Finding::Dns { .. })));
        let mut owned = facts(250);
        owned.services[0].ownership = sidekiq(200);
        assert!(matches!(
            found(&owned),
            Some(Finding::Dns {
                actor: Actor::Here { .. },
                ..
            })
        ));
        let tcp = of_port(
            tcp(53),
            Traffic::Output,
            of_class(Class::Established, 250),
            2,
        );
        assert!(!matches!(found(&tcp), Some(Finding::Dns { .. })));
    }

    #[test]
    fn a_resolver_is_named_if_nearly_all_queries_go_to_it() {
        let resolver = |queries| {
            let mut facts = of_port(udp(53), Traffic::Output, of_class(Class::Udp, 300), 2);
            facts.destinations.push(Destination {
                peer: to("10.0.0.53:53", Protocol::UDP),
                split: of_class(Class::Udp, queries),
                traffic: Traffic::Output,
                pair: None,
                sources: seen(1),
                ownership: Ownership::default(),
            });
            match found(&facts) {
                Some(Finding::Dns { resolver, far, .. }) => (resolver.is_some(), far.seen),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(resolver(270), (true, 2));
        assert_eq!(resolver(269), (false, 2));
    }

    #[test]
    fn a_port_of_many_addresses_is_named_if_most_entries_go_to_it() {
        let facts = |n, traffic| {
            let mut facts = of_port(tcp(9100), traffic, of_class(Class::Established, n), 300);
            facts.services[0].ownership = sidekiq(n);
            facts
        };
        let ends = |facts: &Facts| match found(facts) {
            Some(Finding::ManyFarEnds(ends)) => Some(ends),
            Some(Finding::NobodyStandsOut { .. }) => None,
            other => panic!("{other:?}"),
        };
        let most = ends(&facts(501, Traffic::Output)).unwrap();
        assert_eq!(most.port, Some((tcp(9100), seen(300))));
        assert!(matches!(most.actor, Actor::Here { .. }));
        assert!(ends(&facts(501, Traffic::Forward)).is_some());
        assert_eq!(ends(&facts(500, Traffic::Output)), None);
        // a client that holds a quarter is named instead
        let mut with_client = facts(501, Traffic::Forward);
        let client = dialled_by(
            "10.0.0.7",
            of_class(Class::Established, 250),
            Ownership::default(),
        );
        let mut another = client.clients[0].clone();
        another.peer = from("10.0.0.8");
        another.split = of_class(Class::Established, 240);
        with_client.clients = vec![client.clients[0].clone(), another];
        assert_eq!(ends(&with_client), None);
    }

    #[test]
    fn an_owner_of_most_entries_is_named_although_it_dials_many_ports() {
        let facts = |held, out| Facts {
            directions: [out, ALL - out, 0, 0],
            ownership: sidekiq(held),
            ..table(of_class(Class::Established, ALL))
        };
        let names_owner =
            |held, out| matches!(found(&facts(held, out)), Some(Finding::ManyFarEnds(_)));
        assert!(names_owner(501, 501));
        assert!(!names_owner(500, 501));
        assert!(!names_owner(501, 500));
    }

    #[test]
    fn no_finding_rests_on_a_list_that_lacks_more_than_a_tenth() {
        let facts = of_port(udp(53), Traffic::Output, of_class(Class::Udp, 900), 2);
        let with = |listed| {
            diagnose(&Case {
                listed: Some(Listed {
                    listed,
                    count: 1000,
                }),
                ..filling(&facts)
            })
        };
        assert!(matches!(with(899), Some(Finding::CountDisagrees(_))));
        assert!(matches!(with(900), Some(Finding::Dns { .. })));
        assert!(matches!(with(2000), Some(Finding::Dns { .. })));
    }

    #[test]
    fn the_share_of_dns_is_that_of_the_direction_that_is_named() {
        let mut facts = of_port(udp(53), Traffic::Input, of_class(Class::Udp, 200), 2);
        facts.ports[0].1 = of_class(Class::Udp, 300);
        let Some(Finding::Dns { share, .. }) = found(&facts) else {
            panic!("{:?}", found(&facts))
        };
        assert_eq!(share.part, 200);
    }

    #[test]
    fn a_share_is_one_of_the_count_if_that_is_more_than_the_list() {
        let facts = Facts {
            counted: 1100,
            ..table(of_class(Class::Udp, 900))
        };
        assert_eq!(facts.share(990).to_string(), "90%");
    }

    #[test]
    fn a_table_without_a_reason_is_too_small() {
        let facts = table(of_class(Class::Established, 10));
        assert!(matches!(
            found(&facts),
            Some(Finding::NobodyStandsOut { .. })
        ));
        assert_eq!(found(&Facts::default()), None);
    }

    #[test]
    fn an_endpoint_that_holds_a_quarter_is_named_without_a_reason() {
        let holder = |n| {
            let facts = dialling(of_class(Class::FinWait, n), Ownership::default());
            match nobody_stands_out(&facts) {
                Some(Finding::NobodyStandsOut { holder, .. }) => holder,
                other => panic!("{other:?}"),
            }
        };
        assert!(holder(250).is_some());
        assert_eq!(holder(249), None);
    }

    #[test]
    fn only_a_destination_of_dns_over_udp_is_a_resolver() {
        let resolver = |n, address: &str, protocol| {
            let mut facts = of_port(udp(53), Traffic::Output, of_class(Class::Udp, 400), 2);
            facts.destinations =
                dialling(of_class(Class::Udp, n), Ownership::default()).destinations;
            facts.destinations[0].peer = to(address, protocol);
            match found(&facts) {
                Some(Finding::Dns { resolver, .. }) => resolver,
                other => panic!("{other:?}"),
            }
        };
        let address = "192.0.2.53:53";
        assert_eq!(
            resolver(360, address, Protocol::UDP),
            Some(to(address, Protocol::UDP))
        );
        assert_eq!(resolver(360, address, Protocol::TCP), None);
        assert_eq!(resolver(360, "192.0.2.53:54", Protocol::UDP), None);
    }

    #[test]
    fn queries_from_elsewhere_are_those_of_many_clients() {
        for traffic in [Traffic::Input, Traffic::Forward] {
            let facts = of_port(udp(53), traffic, of_class(Class::Udp, 400), 9);
            let Some(Finding::Dns { actor, .. }) = found(&facts) else {
                panic!("{:?}", found(&facts))
            };
            assert_eq!(actor, Actor::Clients(seen(9)));
        }
    }

    #[test]
    fn a_list_of_nothing_agrees_with_a_count_of_nothing() {
        let lacks = |listed, count| Listed { listed, count }.lacks_much();
        assert!(!lacks(0, 0));
        assert!(lacks(0, 1));
        assert!(!lacks(1, 1));
    }

    #[test]
    fn only_the_datagrams_of_dns_count_for_it() {
        let mut by_tcp = of_port(
            tcp(53),
            Traffic::Output,
            of_class(Class::Established, 250),
            2,
        );
        let few = of_port(udp(53), Traffic::Output, of_class(Class::Udp, 10), 2);
        by_tcp.services.extend(few.services);
        assert!(!matches!(found(&by_tcp), Some(Finding::Dns { .. })));
        let mut beside_another = of_port(udp(123), Traffic::Output, of_class(Class::Udp, 240), 2);
        let dns = of_port(udp(53), Traffic::Output, of_class(Class::Udp, 250), 2);
        beside_another.services.extend(dns.services);
        beside_another.ports = dns.ports;
        let Some(Finding::Dns { share, .. }) = found(&beside_another) else {
            panic!("{:?}", found(&beside_another))
        };
        assert_eq!(share.part, 250);
    }
}
