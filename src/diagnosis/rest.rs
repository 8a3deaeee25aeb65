//! Rules 13, 15 and 16: DNS, a list that says too little, and a table that is too small.

use super::LARGE_SHARE;
use super::case::Case;
use super::finding::{Actor, Finding};
use super::unanswered::DNS_PORT;
use crate::analysis::facts::{Facts, Ownership, Service};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
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
    let endpoints = facts
        .destinations
        .iter()
        .map(|destination| (destination.split.entries, destination.peer));
    let clients = facts
        .clients
        .iter()
        .map(|client| (client.split.entries, client.peer));
    let largest = endpoints.chain(clients).max_by_key(|(entries, _)| *entries);
    let share = facts.share(largest.map_or(0, |(entries, _)| entries));
    Some(Finding::NobodyStandsOut {
        endpoints: facts.endpoints,
        ports: facts.dialled_ports,
        largest: share,
        holder: largest
            .map(|(_, peer)| peer)
            .filter(|_| share.is_at_least(LARGE_SHARE)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::samples::{
        dialling, filling, found, of_class, of_port, sidekiq, table, tcp, udp,
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
}
