//! Rules 8, 9, 11 and 12: connections that are closed too soon, or not at all.

use super::case::Case;
use super::finding::{Actor, Finding, Flow};
use super::{LARGE_SHARE, NEARLY_ALL};
use crate::analysis::facts::{Client, Destination, Distinct, Facts, Held, Pair, PairEnd, Share};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::Class;

/// So many processes are few: workers of one service. More are the connections of many programs.
const FEW_PROCESSES: u64 = 64;
/// A table that grows by more than this share of its entries in a minute is filled now; peers that vanished are not the
/// reason. Percent.
const FAST_GROWTH: u64 = 2;

/// The flow to a destination: who dials it is a unit of this host, or the one client behind it.
pub(super) fn flow_to(facts: &Facts, destination: &Destination) -> Flow {
    Flow {
        actor: dialler(facts, destination),
        to: PairEnd::Remote(destination.peer),
        split: destination.split,
        share: facts.share(destination.split.entries),
    }
}

/// The actor that dials a destination: owners on this host, or clients behind it.
pub(super) fn dialler(facts: &Facts, destination: &Destination) -> Actor {
    if destination.traffic != Traffic::Forward {
        return Actor::of(&destination.ownership);
    }
    let Some(Pair {
        other: PairEnd::Remote(client),
        entries,
    }) = destination.pair
    else {
        return Actor::Clients(destination.sources);
    };
    if Share::new(entries, destination.split.entries).is_at_least(NEARLY_ALL) {
        return Actor::Client(client);
    }
    Actor::ClientAndOthers {
        client,
        share: facts.share(entries),
        others: Distinct {
            seen: destination.sources.seen.saturating_sub(1),
            ..destination.sources
        },
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
    let mut flow = flow_to(facts, destination);
    if !holds_most_open(&flow) {
        flow.actor = Actor::ThisHost;
    }
    Some(Finding::NotReused(flow))
}

/// True if the owners hold at least half of the open connections. If they hold fewer, nothing shows that the closed
/// connections were theirs: a closed connection has no socket.
fn holds_most_open(flow: &Flow) -> bool {
    let held: u64 = match &flow.actor {
        Actor::Here { held, .. } => held.entries,
        Actor::Owners(owners) => owners.iter().map(|held| held.entries).sum(),
        _ => return true,
    };
    held.saturating_mul(2) >= flow.split.of(Class::Established)
}

/// Rule 9: one destination or client holds much of the table, most of it ESTABLISHED, at the sockets of few processes;
/// or forwarded between one client and one destination.
pub(super) fn kept_open(facts: &Facts) -> Option<Finding> {
    let is_large = |entries| facts.share(entries).is_at_least(LARGE_SHARE);
    let destination = facts.destinations.iter().find(|destination| {
        is_large(destination.split.entries)
            && destination.split.is_mostly(Class::Established)
            && match dialler(facts, destination) {
                Actor::Here { held, .. } => {
                    hold_most(&[held], destination.split.of(Class::Established))
                }
                Actor::Owners(owners) => {
                    hold_most(&owners, destination.split.of(Class::Established))
                }
                Actor::Client(_) | Actor::ClientAndOthers { .. } => true,
                Actor::ThisHost | Actor::Clients(_) => false,
            }
    });
    if let Some(destination) = destination {
        return Some(Finding::KeptOpen(flow_to(facts, destination)));
    }
    let client = facts.clients.iter().find(|client| {
        is_large(client.split.entries)
            && client.traffic == Traffic::Input
            && client.split.is_mostly(Class::Established)
            && hold_most(
                &client.ownership.owners,
                client.split.of(Class::Established),
            )
    })?;
    Some(Finding::KeptOpen(flow_of(facts, client)?))
}

/// True if the sockets of few processes make up most of these entries.
fn hold_most(owners: &[Held], established: u64) -> bool {
    let processes: u64 = owners.iter().map(|held| held.who.processes).sum();
    let entries = owners.iter().map(|held| held.entries).sum();
    (1..=FEW_PROCESSES).contains(&processes) && Share::new(entries, established).is_most()
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
        service.traffic == Traffic::Input && has_most(service.split.of(Class::CloseWait))
    });
    let (actor, to, split) = match service {
        Some(service) => (
            Actor::of(&service.ownership),
            PairEnd::Service(service.port),
            service.split,
        ),
        // several services or destinations, none of which has most
        None => (
            close_wait_holder(facts),
            PairEnd::Several(facts.endpoints),
            facts.all,
        ),
    };
    Some(Finding::NotClosed(Flow {
        actor,
        to,
        split,
        share: facts.share(split.entries),
    }))
}

/// The actor that does not close connections of many services: the owner of most sockets, or a client behind this host.
fn close_wait_holder(facts: &Facts) -> Actor {
    if facts.share(facts.in_direction(Traffic::Forward)).is_most() {
        Actor::Clients(Distinct::default())
    } else {
        Actor::of(&facts.ownership)
    }
}

/// Rule 12: most of the table is ESTABLISHED, and most of these entries have no socket although all sockets were seen.
pub(super) fn peers_vanished(case: &Case<'_>, facts: &Facts) -> Option<Finding> {
    let established = facts.all.of(Class::Established);
    let ownership = &facts.ownership;
    let grows_fast = case
        .growth
        .and_then(|growth| u64::try_from(growth).ok())
        .is_some_and(|growth| facts.share(growth).is_at_least(FAST_GROWTH));
    let forwarded = facts.share(facts.in_direction(Traffic::Forward));
    if !facts.all.is_mostly(Class::Established)
        || !Share::new(ownership.without_socket, established).is_most()
        || !ownership.complete
        || forwarded.is_most()
        || grows_fast
        || case.capture
    {
        return None;
    }
    Some(Finding::PeersVanished {
        share: facts.share(ownership.without_socket),
    })
}

/// True if a peer is a network of several addresses.
pub(super) fn is_network(peer: &EndpointId) -> bool {
    matches!(
        peer,
        EndpointId::From {
            length: Some(_),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::Ownership;
    use crate::diagnosis::diagnose;
    use crate::diagnosis::samples::{
        ALL, dialled_by, dialling, filling, found, from, of_class, of_port, plus, seen, sidekiq,
        tcp,
    };

    #[test]
    fn connections_that_are_not_reused_fill_a_quarter_with_closed_entries() {
        let split = |closed, open| {
            plus(
                of_class(Class::TimeWait, closed),
                of_class(Class::Established, open),
            )
        };
        let Some(Finding::NotReused(flow)) = found(&dialling(split(200, 50), sidekiq(50))) else {
            panic!("no finding")
        };
        assert!(matches!(flow.actor, Actor::Here { .. }));
        for near_miss in [split(199, 50), split(150, 150)] {
            let found = found(&dialling(near_miss, sidekiq(50)));
            assert!(!matches!(found, Some(Finding::NotReused(_))), "{found:?}");
        }
    }

    #[test]
    fn closed_connections_are_those_of_an_owner_that_holds_half_of_the_open_ones() {
        let split = plus(
            of_class(Class::TimeWait, 200),
            of_class(Class::Established, 50),
        );
        let actor = |ownership| match found(&dialling(split, ownership)) {
            Some(Finding::NotReused(flow)) => flow.actor,
            other => panic!("{other:?}"),
        };
        assert!(matches!(actor(sidekiq(25)), Actor::Here { .. }));
        assert_eq!(actor(sidekiq(24)), Actor::ThisHost);
        let two = |each| {
            let mut ownership = sidekiq(each);
            ownership.owners.push(ownership.owners[0].clone());
            ownership.seen = 2 * each;
            ownership
        };
        assert!(matches!(actor(two(13)), Actor::Owners(_)));
        assert_eq!(actor(two(12)), Actor::ThisHost);
    }

    #[test]
    fn the_source_of_a_forwarded_destination_is_the_one_that_opens_connections() {
        let mut facts = dialling(of_class(Class::TimeWait, 300), Ownership::default());
        facts.destinations[0].traffic = Traffic::Forward;
        facts.destinations[0].pair = Some(Pair {
            other: PairEnd::Remote(from("10.244.4.17")),
            entries: 270,
        });
        facts.destinations[0].sources = seen(3);
        let actor = |facts: &Facts| match found(facts) {
            Some(Finding::NotReused(flow)) => flow.actor,
            other => panic!("{other:?}"),
        };
        assert_eq!(actor(&facts), Actor::Client(from("10.244.4.17")));
        // what others hold is not its
        facts.destinations[0].pair.as_mut().unwrap().entries = 269;
        assert_eq!(
            actor(&facts),
            Actor::ClientAndOthers {
                client: from("10.244.4.17"),
                share: Share::new(269, ALL),
                others: seen(2),
            }
        );
    }

    #[test]
    fn connections_kept_open_are_at_the_sockets_of_few_processes() {
        let facts = |n, held, processes| {
            let mut facts = dialling(of_class(Class::Established, n), sidekiq(held));
            facts.destinations[0].ownership.owners[0].who.processes = processes;
            facts
        };
        let keeps = |n, held, processes| {
            matches!(
                found(&facts(n, held, processes)),
                Some(Finding::KeptOpen(_))
            )
        };
        assert!(keeps(250, 126, 64));
        assert!(!keeps(249, 249, 1));
        assert!(!keeps(250, 125, 1), "half of them without a socket");
        assert!(!keeps(250, 250, 65));
    }

    #[test]
    fn connections_kept_open_by_several_owners_are_not_the_work_of_nobody() {
        let facts = |each: u64, processes| {
            let mut facts = dialling(of_class(Class::Established, 300), sidekiq(each));
            let ownership = &mut facts.destinations[0].ownership;
            let mut second = ownership.owners[0].clone();
            second.who.name = "php-fpm.service".to_owned();
            ownership.owners.push(second);
            ownership.seen = 2 * each;
            for owner in &mut ownership.owners {
                owner.who.processes = processes;
            }
            facts
        };
        let Some(Finding::KeptOpen(flow)) = found(&facts(76, 32)) else {
            panic!("{:?}", found(&facts(76, 32)))
        };
        let Actor::Owners(owners) = flow.actor else {
            panic!("{:?}", flow.actor)
        };
        assert_eq!(owners.len(), 2);
        for near_miss in [facts(75, 32), facts(76, 33)] {
            let found = found(&near_miss);
            assert!(!matches!(found, Some(Finding::KeptOpen(_))), "{found:?}");
        }
    }

    #[test]
    fn a_client_may_keep_connections_to_a_service_open() {
        let facts = |held| {
            dialled_by(
                "198.51.100.9",
                of_class(Class::Established, 400),
                sidekiq(held),
            )
        };
        assert!(matches!(
            found(&facts(300)),
            Some(Finding::KeptOpen(Flow {
                actor: Actor::Client(_),
                ..
            }))
        ));
        assert!(!matches!(found(&facts(100)), Some(Finding::KeptOpen(_))));
    }

    #[test]
    fn a_table_of_close_wait_names_the_side_that_does_not_close() {
        let facts = |n| dialling(of_class(Class::CloseWait, n), sidekiq(n));
        let Some(Finding::NotClosed(flow)) = found(&facts(501)) else {
            panic!("{:?}", found(&facts(501)))
        };
        assert!(matches!(flow.actor, Actor::Here { .. }));
        assert!(!matches!(found(&facts(500)), Some(Finding::NotClosed(_))));
        let service = of_port(
            tcp(8080),
            Traffic::Input,
            of_class(Class::CloseWait, 400),
            10,
        );
        let service = Facts {
            all: of_class(Class::CloseWait, 600),
            ..service
        };
        assert!(matches!(
            found(&service),
            Some(Finding::NotClosed(Flow {
                to: PairEnd::Service(_),
                ..
            }))
        ));
    }

    #[test]
    fn a_table_of_close_wait_at_many_ends_names_no_small_one() {
        let facts = |directions| {
            let mut facts = dialling(of_class(Class::CloseWait, 50), Ownership::default());
            facts.all = of_class(Class::CloseWait, ALL);
            facts.directions = directions;
            facts.ownership = sidekiq(900);
            facts
        };
        let actor = |directions| match found(&facts(directions)) {
            Some(Finding::NotClosed(Flow {
                actor,
                to: PairEnd::Several(_),
                ..
            })) => actor,
            other => panic!("{other:?}"),
        };
        let all_of =
            |one: Traffic| Traffic::ALL.map(|(traffic, _)| if traffic == one { ALL } else { 0 });
        assert!(matches!(actor(all_of(Traffic::Output)), Actor::Here { .. }));
        assert!(matches!(actor(all_of(Traffic::Forward)), Actor::Clients(_)));
    }

    #[test]
    fn peers_vanished_if_all_sockets_were_seen_and_the_table_does_not_grow_fast() {
        let facts = |without, complete| Facts {
            all: of_class(Class::Established, ALL),
            directions: [0, ALL, 0, 0],
            ownership: Ownership {
                without_socket: without,
                complete,
                ..Ownership::default()
            },
            ..Facts::default()
        };
        let vanished = |facts: &Facts, case: Case<'_>| {
            let case = Case {
                facts: Some(facts),
                ..case
            };
            matches!(diagnose(&case), Some(Finding::PeersVanished { .. }))
        };
        let gone = facts(501, true);
        assert!(vanished(&gone, filling(&gone)));
        assert!(!vanished(&facts(500, true), filling(&gone)));
        assert!(!vanished(&facts(501, false), filling(&gone)));
        let growing = |growth| Case {
            growth: Some(growth),
            ..filling(&gone)
        };
        assert!(vanished(&gone, growing(19)));
        assert!(!vanished(&gone, growing(20)));
        assert!(vanished(&gone, growing(-500)));
        let routed = Facts {
            directions: [0, 400, 600, 0],
            ..gone.clone()
        };
        assert!(!vanished(&routed, filling(&routed)));
    }

    #[test]
    fn connections_kept_open_behind_this_host_are_those_of_one_client() {
        let facts = |pair| {
            let mut facts = dialling(of_class(Class::Established, 400), Ownership::default());
            facts.destinations[0].traffic = Traffic::Forward;
            facts.destinations[0].pair = pair;
            facts
        };
        let of_one = facts(Some(Pair {
            other: PairEnd::Remote(from("10.244.4.17")),
            entries: 390,
        }));
        assert!(matches!(
            found(&of_one),
            Some(Finding::KeptOpen(Flow {
                actor: Actor::Client(_),
                ..
            }))
        ));
        let of_many = found(&facts(None));
        assert!(
            !matches!(of_many, Some(Finding::KeptOpen(_))),
            "{of_many:?}"
        );
    }

    #[test]
    fn a_client_keeps_connections_open_only_at_this_host_and_if_most_are_established() {
        let facts = |n, established, traffic| {
            let split = plus(
                of_class(Class::Established, established),
                of_class(Class::FinWait, n - established),
            );
            let mut facts = dialled_by("198.51.100.9", split, sidekiq(established));
            facts.clients[0].traffic = traffic;
            facts
        };
        let keeps = |n, established, traffic| {
            matches!(
                found(&facts(n, established, traffic)),
                Some(Finding::KeptOpen(_))
            )
        };
        assert!(keeps(250, 126, Traffic::Input));
        assert!(!keeps(249, 249, Traffic::Input));
        assert!(!keeps(250, 125, Traffic::Input));
        assert!(!keeps(250, 250, Traffic::Forward));
    }

    #[test]
    fn an_end_with_most_of_close_wait_is_named_and_one_with_half_is_not() {
        let end = |facts: &Facts| match found(facts) {
            Some(Finding::NotClosed(flow)) => flow.to,
            other => panic!("{other:?}"),
        };
        let destination = |n| Facts {
            all: of_class(Class::CloseWait, ALL),
            ..dialling(of_class(Class::CloseWait, n), sidekiq(n))
        };
        assert!(matches!(end(&destination(501)), PairEnd::Remote(_)));
        assert!(matches!(end(&destination(500)), PairEnd::Several(_)));
        let service = |traffic, n| Facts {
            all: of_class(Class::CloseWait, ALL),
            ..of_port(tcp(8080), traffic, of_class(Class::CloseWait, n), 10)
        };
        assert!(matches!(
            end(&service(Traffic::Input, 501)),
            PairEnd::Service(_)
        ));
        for (traffic, n) in [(Traffic::Input, 500), (Traffic::Output, 501)] {
            let end = end(&service(traffic, n));
            assert!(matches!(end, PairEnd::Several(_)), "{traffic:?} {n}");
        }
    }

    #[test]
    fn peers_vanished_if_most_is_established_and_half_or_less_is_forwarded() {
        let facts = |established, forwarded| Facts {
            all: plus(
                of_class(Class::Established, established),
                of_class(Class::FinWait, ALL - established),
            ),
            directions: [0, ALL - forwarded, forwarded, 0],
            ownership: Ownership {
                without_socket: established,
                complete: true,
                ..Ownership::default()
            },
            ..Facts::default()
        };
        let vanished = |facts: &Facts| matches!(found(facts), Some(Finding::PeersVanished { .. }));
        assert!(vanished(&facts(501, 500)));
        assert!(!vanished(&facts(500, 0)));
        assert!(!vanished(&facts(501, 501)));
        // a capture does not tell which sockets there are
        let facts = facts(501, 0);
        let capture = Case {
            capture: true,
            ..filling(&facts)
        };
        let found = diagnose(&capture);
        assert!(
            !matches!(found, Some(Finding::PeersVanished { .. })),
            "{found:?}"
        );
    }
}
