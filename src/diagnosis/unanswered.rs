//! Rules 4, 5, 6 and 14: entries without a reply.

use super::LARGE_SHARE;
use super::connections::flow_to;
use super::finding::{Actor, Finding, ScanTarget, Sweep};
use crate::analysis::facts::{Facts, PairEnd, Port, Share, SocketHolder};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::Protocol;

/// So many addresses or ports without an answer are a scan, and not a service that is down.
const MANY_TARGETS: u64 = 100;
/// From this share on a direction of a port counts for a tunnel, whose two ways are about equal. Percent.
const OTHER_WAY: u64 = 20;
/// Ports of UDP protocols that have no answers on the same port: syslog (two ports), NetFlow (two), IPFIX, VXLAN (two),
/// Geneve, sFlow, statsd, GELF and collectd. WireGuard answers on the port that was asked, so its port is missing.
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

fn is_tcp(peer: &EndpointId) -> bool {
    matches!(peer, EndpointId::To { protocol, .. } if *protocol == Protocol::TCP)
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

/// True if a port is dialled in two directions about equally.
fn goes_both_ways(facts: &Facts, port: Port) -> bool {
    let directions = facts.services.iter().filter(|service| service.port == port);
    let all: u64 = directions
        .clone()
        .map(|service| service.split.entries)
        .sum();
    let large = directions.filter(|service| {
        matches!(service.traffic, Traffic::Input | Traffic::Output)
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
    if swept.traffic != Traffic::Output
        || swept.ports.seen < MANY_TARGETS
        || !share.is_at_least(LARGE_SHARE)
        || !swept.split.is_mostly_unanswered()
    {
        return None;
    }
    let actor = Actor::of(&swept.ownership);
    Some(Sweep {
        traffic: Traffic::Output,
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
        service.traffic == Traffic::Output
            && service.far.seen >= MANY_TARGETS
            && facts.share(service.split.entries).is_at_least(LARGE_SHARE)
            && service.split.is_mostly_unanswered()
            && service.port.number != DNS_PORT
    })?;
    let actor = Actor::of(&service.ownership);
    Some(Sweep {
        traffic: Traffic::Output,
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
    let target = match client.traffic {
        Traffic::Input => ScanTarget::PortsHere(client.ports),
        _ => ScanTarget::Everything(client.destinations),
    };
    Some(Sweep {
        traffic: client.traffic,
        actor: Actor::Client(client.peer),
        target,
        candidates: Vec::new(),
        split: client.split,
        share: facts.share(client.split.entries),
    })
}

/// Many addresses and many ports, dialled from this host.
fn out_to_everywhere(facts: &Facts) -> Option<Sweep> {
    let share = facts.share(facts.in_direction(Traffic::Output));
    let destinations = facts.dialled;
    let named = facts.destinations.first().is_some_and(|destination| {
        facts
            .share(destination.split.entries)
            .is_at_least(LARGE_SHARE)
    });
    if !share.is_most() || named || destinations.seen < MANY_TARGETS {
        return None;
    }
    let actor = Actor::of(&facts.ownership);
    Some(Sweep {
        traffic: Traffic::Output,
        candidates: candidates(facts, &actor),
        actor,
        target: ScanTarget::Everything(destinations),
        split: facts.all,
        share,
    })
}

/// Processes that may be the sender if no socket tells.
fn candidates(facts: &Facts, actor: &Actor) -> Vec<SocketHolder> {
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
        .filter(|service| matches!(service.traffic, Traffic::Input | Traffic::Forward))
        .find(|service| Share::new(service.split.one_sided, facts.all.one_sided).is_most())
        .map(|service| match service.traffic {
            Traffic::Forward => PairEnd::Forwarded(service.port),
            _ => PairEnd::Service(service.port),
        });
    let destination = facts
        .destinations
        .iter()
        .find(|destination| Share::new(destination.split.one_sided, facts.all.one_sided).is_most())
        .map(|destination| PairEnd::Remote(destination.peer));
    Some(Finding::OneSided {
        service: destination.or(service),
        share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::{Distinct, Split, Swept};
    use crate::diagnosis::samples::{
        ALL, dialled_by, dialling, found, of_class, of_port, plus, seen, sidekiq, tcp, to, udp,
        unreplied_udp,
    };
    use crate::model::conntrack::Class;

    #[test]
    fn a_destination_with_a_quarter_of_the_table_and_no_answer_is_named() {
        let attempts = |n, answered| {
            plus(
                of_class(Class::SynSent, n),
                of_class(Class::Established, answered),
            )
        };
        let facts = dialling(attempts(250, 0), sidekiq(81));
        let Some(Finding::NoAnswer(flow)) = found(&facts) else {
            panic!("{:?}", found(&facts))
        };
        assert!(matches!(flow.actor, Actor::Here { seen: 81, .. }));
        assert_eq!(flow.share, Share::new(250, ALL));
        // a quarter is needed, and more than half of it without an answer
        for near_miss in [attempts(249, 0), attempts(150, 150)] {
            let found = found(&dialling(near_miss, sidekiq(81)));
            assert!(!matches!(found, Some(Finding::NoAnswer(_))), "{found:?}");
        }
    }

    #[test]
    fn an_established_entry_without_a_reply_is_not_an_attempt() {
        let one_sided = Split {
            one_sided: 900,
            ..of_class(Class::Established, 900)
        };
        let found = found(&dialling(one_sided, sidekiq(0)));
        assert!(matches!(found, Some(Finding::OneSided { .. })), "{found:?}");
    }

    #[test]
    fn a_tunnel_is_dialled_both_ways_without_an_answer() {
        let tunnel = |port, n| {
            let mut facts = of_port(udp(port), Traffic::Output, unreplied_udp(n / 2), 3);
            let mut inbound = facts.services[0].clone();
            inbound.traffic = Traffic::Input;
            facts.services.push(inbound);
            facts.ports[0].1 = unreplied_udp(n);
            facts
        };
        // 7777 is no port of a known tunnel
        for port in [4789, 7777] {
            let found = found(&tunnel(port, 250));
            assert!(
                matches!(
                    found,
                    Some(Finding::OneWay {
                        both_ways: true,
                        ..
                    })
                ),
                "{port}: {found:?}"
            );
        }
        let found = found(&tunnel(4789, 248));
        assert!(!matches!(found, Some(Finding::OneWay { .. })), "{found:?}");
    }

    #[test]
    fn syslog_has_no_answers_by_design_and_another_port_may_be_down() {
        let one_way = |port| found(&of_port(udp(port), Traffic::Output, unreplied_udp(300), 1));
        assert!(matches!(
            one_way(514),
            Some(Finding::OneWay {
                both_ways: false,
                ..
            })
        ));
        assert!(!matches!(one_way(7777), Some(Finding::OneWay { .. })));
        let answered = of_port(udp(514), Traffic::Output, of_class(Class::Udp, 300), 1);
        assert!(!matches!(found(&answered), Some(Finding::OneWay { .. })));
    }

    #[test]
    fn gre_is_a_tunnel_whatever_its_entries_say() {
        let gre = Port {
            number: 0,
            protocol: Protocol(47),
        };
        let facts = of_port(gre, Traffic::Output, of_class(Class::Other, 250), 1);
        assert!(matches!(found(&facts), Some(Finding::OneWay { .. })));
    }

    fn swept(ports: u64, n: u64) -> crate::analysis::facts::Facts {
        let split = of_class(Class::SynSent, n);
        crate::analysis::facts::Facts {
            swept: Some(Swept {
                address: "198.51.100.7".parse().unwrap(),
                traffic: Traffic::Output,
                ports: seen(ports),
                split,
                ownership: sidekiq(n),
            }),
            ..of_port(tcp(1), Traffic::Output, split, 1)
        }
    }

    #[test]
    fn a_scan_of_the_ports_of_one_address_names_its_process() {
        let facts = swept(100, 600);
        let Some(Finding::Scan(sweep)) = found(&facts) else {
            panic!("{:?}", found(&facts))
        };
        assert_eq!(sweep.traffic, Traffic::Output);
        assert!(matches!(sweep.actor, Actor::Here { .. }));
        assert!(matches!(
            sweep.target,
            ScanTarget::PortsOf(_, Distinct { seen: 100, .. })
        ));
        // 99 ports are too few, and half of the table answers
        for near_miss in [swept(99, 600), swept(100, 500)] {
            let found = found(&near_miss);
            assert!(!matches!(found, Some(Finding::Scan(_))), "{found:?}");
        }
    }

    #[test]
    fn a_scan_of_one_port_of_many_addresses_names_raw_senders_if_no_socket_tells() {
        let mut facts = of_port(tcp(23), Traffic::Output, of_class(Class::SynSent, 600), 100);
        facts.raw_senders = vec![crate::analysis::facts::SocketHolder {
            process: Some(("masscan".to_owned(), 99)),
            ..Default::default()
        }];
        let Some(Finding::Scan(sweep)) = found(&facts) else {
            panic!("{:?}", found(&facts))
        };
        assert_eq!(sweep.actor, Actor::ThisHost);
        assert_eq!(sweep.candidates.len(), 1);
        assert!(matches!(
            sweep.target,
            ScanTarget::Addresses(_, Distinct { seen: 100, .. })
        ));
        let few = of_port(tcp(23), Traffic::Output, of_class(Class::SynSent, 600), 99);
        assert!(!matches!(found(&few), Some(Finding::Scan(_))));
    }

    #[test]
    fn a_client_that_dials_many_ports_scans_this_host() {
        let mut facts = dialled_by("198.51.100.9", of_class(Class::SynSent, 600), sidekiq(0));
        facts.clients[0].ports = seen(100);
        let Some(Finding::Scan(sweep)) = found(&facts) else {
            panic!("{:?}", found(&facts))
        };
        assert_eq!(sweep.traffic, Traffic::Input);
        assert!(matches!(sweep.target, ScanTarget::PortsHere(_)));
        facts.clients[0].ports = seen(99);
        assert!(!matches!(found(&facts), Some(Finding::Scan(_))));
    }

    #[test]
    fn many_addresses_and_ports_are_a_scan_unless_one_of_them_stands_out() {
        let mut facts = of_port(tcp(1), Traffic::Output, of_class(Class::SynSent, 600), 50);
        facts.dialled = seen(100);
        assert!(matches!(
            found(&facts),
            Some(Finding::Scan(Sweep {
                target: ScanTarget::Everything(_),
                ..
            }))
        ));
        facts.dialled = seen(99);
        assert!(!matches!(found(&facts), Some(Finding::Scan(_))));
        let mut one = dialling(of_class(Class::SynSent, 600), sidekiq(0));
        one.dialled = seen(100);
        one.destinations[0].peer = to("192.0.2.53:53", Protocol::UDP);
        assert!(!matches!(found(&one), Some(Finding::Scan(_))));
    }

    #[test]
    fn connections_seen_from_one_side_are_no_scan() {
        let split = |one_sided| Split {
            one_sided,
            ..of_class(Class::Established, ALL)
        };
        let facts = |one_sided| of_port(tcp(80), Traffic::Input, split(one_sided), 500);
        let Some(Finding::OneSided { service, share }) = found(&facts(501)) else {
            panic!("{:?}", found(&facts(501)))
        };
        assert_eq!(service, Some(PairEnd::Service(tcp(80))));
        assert_eq!(share, Share::new(501, ALL));
        assert!(!matches!(
            found(&facts(500)),
            Some(Finding::OneSided { .. })
        ));
    }

    #[test]
    fn a_destination_of_datagrams_without_a_reply_is_not_said_to_be_down() {
        let mut facts = dialling(unreplied_udp(300), sidekiq(0));
        facts.destinations[0].peer = to("192.0.2.7:5000", Protocol::UDP);
        let found = found(&facts);
        assert!(!matches!(found, Some(Finding::NoAnswer(_))), "{found:?}");
    }

    fn both_ways(port: Port, out: u64, inward: u64) -> crate::analysis::facts::Facts {
        let mut facts = of_port(port, Traffic::Output, unreplied_udp(out), 3);
        let mut inbound = facts.services[0].clone();
        inbound.traffic = Traffic::Input;
        inbound.split = unreplied_udp(inward);
        facts.services.push(inbound);
        facts.ports[0].1 = unreplied_udp(out + inward);
        facts
    }

    #[test]
    fn a_tunnel_has_a_fifth_of_its_entries_at_least_each_way() {
        let is_tunnel = |port: Port, out, inward| {
            matches!(
                found(&both_ways(port, out, inward)),
                Some(Finding::OneWay { .. })
            )
        };
        assert!(is_tunnel(udp(7777), 320, 80));
        assert!(!is_tunnel(udp(7777), 324, 76));
        assert!(!is_tunnel(udp(53), 200, 200), "DNS may be down both ways");
        assert!(!is_tunnel(tcp(7777), 200, 200));
    }

    #[test]
    fn the_two_ways_of_a_tunnel_are_into_and_out_of_this_host() {
        let mut facts = both_ways(udp(7777), 200, 200);
        facts.services[1].traffic = Traffic::Forward;
        let forwarded = found(&facts);
        assert!(
            !matches!(forwarded, Some(Finding::OneWay { .. })),
            "{forwarded:?}"
        );
        // another port that is dialled the other way
        let mut facts = both_ways(udp(7777), 200, 200);
        facts.services[1].port = udp(7778);
        let another = found(&facts);
        assert!(
            !matches!(another, Some(Finding::OneWay { .. })),
            "{another:?}"
        );
    }

    #[test]
    fn ping_is_no_tunnel_and_a_quarter_is_needed_for_one() {
        let is_tunnel = |protocol, n| {
            let port = Port {
                number: 0,
                protocol: Protocol(protocol),
            };
            let facts = of_port(port, Traffic::Output, of_class(Class::Other, n), 1);
            matches!(found(&facts), Some(Finding::OneWay { .. }))
        };
        assert!(is_tunnel(47, 250));
        assert!(!is_tunnel(47, 249));
        for protocol in [Protocol::ICMP, Protocol::ICMPV6, Protocol::TCP] {
            assert!(!is_tunnel(protocol.0, 900), "{protocol}");
        }
    }

    /// A table of which 600 entries are unanswered.
    fn mostly_unanswered(facts: crate::analysis::facts::Facts) -> crate::analysis::facts::Facts {
        crate::analysis::facts::Facts {
            all: plus(
                of_class(Class::SynSent, 600),
                of_class(Class::Established, 400),
            ),
            directions: [400, 600, 0, 0],
            ..facts
        }
    }

    fn target(facts: crate::analysis::facts::Facts) -> Option<ScanTarget> {
        match found(&mostly_unanswered(facts)) {
            Some(Finding::Scan(sweep)) => Some(sweep.target),
            _ => None,
        }
    }

    #[test]
    fn a_scan_of_ports_holds_a_quarter_of_the_table_and_gets_no_answer() {
        let of_ports = |change: fn(&mut Swept)| {
            let mut facts = swept(100, 250);
            change(facts.swept.as_mut().unwrap());
            target(facts)
        };
        assert!(matches!(of_ports(|_| ()), Some(ScanTarget::PortsOf(_, _))));
        assert_eq!(
            of_ports(|swept| swept.split = of_class(Class::SynSent, 249)),
            None
        );
        assert_eq!(of_ports(|swept| swept.split.unanswered = 125), None);
        assert_eq!(of_ports(|swept| swept.traffic = Traffic::Forward), None);
    }

    #[test]
    fn a_scan_of_addresses_goes_out_holds_a_quarter_and_gets_no_answer() {
        let of_addresses = |n, unanswered, traffic, port| {
            let split = Split {
                unanswered,
                ..of_class(Class::SynSent, n)
            };
            target(of_port(port, traffic, split, 100))
        };
        assert!(matches!(
            of_addresses(250, 126, Traffic::Output, tcp(23)),
            Some(ScanTarget::Addresses(_, _))
        ));
        for (n, unanswered, traffic, port) in [
            (249, 249, Traffic::Output, tcp(23)),
            (250, 125, Traffic::Output, tcp(23)),
            (250, 250, Traffic::Input, tcp(23)),
            // a resolver that is down is asked at many addresses
            (250, 250, Traffic::Output, udp(53)),
        ] {
            let found = of_addresses(n, unanswered, traffic, port);
            assert_eq!(found, None, "{n} {unanswered} {traffic:?} {port}");
        }
    }

    #[test]
    fn a_client_that_scans_holds_a_quarter_and_gets_no_answer() {
        let by_client = |n, unanswered, traffic| {
            let split = Split {
                unanswered,
                ..of_class(Class::SynSent, n)
            };
            let mut facts = dialled_by("198.51.100.9", split, sidekiq(0));
            facts.clients[0].traffic = traffic;
            facts.clients[0].destinations = seen(100);
            target(facts)
        };
        assert_eq!(
            by_client(250, 126, Traffic::Forward),
            Some(ScanTarget::Everything(seen(100)))
        );
        assert_eq!(
            by_client(250, 126, Traffic::Input),
            Some(ScanTarget::PortsHere(seen(1)))
        );
        assert_eq!(by_client(249, 249, Traffic::Forward), None);
        assert_eq!(by_client(250, 125, Traffic::Forward), None);
    }

    #[test]
    fn a_scan_of_everything_goes_out_and_no_destination_holds_a_quarter() {
        let everything = |out, largest| {
            let mut facts =
                mostly_unanswered(dialling(of_class(Class::FinWait, largest), sidekiq(0)));
            facts.dialled = seen(100);
            facts.directions = [out, ALL - out, 0, 0];
            let found = found(&facts);
            matches!(
                found,
                Some(Finding::Scan(Sweep {
                    target: ScanTarget::Everything(_),
                    ..
                }))
            )
        };
        assert!(everything(501, 249));
        assert!(!everything(500, 249));
        assert!(!everything(501, 250));
    }

    #[test]
    fn an_end_is_named_with_most_of_the_connections_seen_from_one_side() {
        let split = |one_sided| Split {
            one_sided,
            ..of_class(Class::Established, ALL)
        };
        let end = |facts: &crate::analysis::facts::Facts| match found(facts) {
            Some(Finding::OneSided { service, .. }) => service,
            other => panic!("{other:?}"),
        };
        let service = |traffic, one_sided| {
            let mut facts = of_port(tcp(80), traffic, split(600), 500);
            facts.services[0].split.one_sided = one_sided;
            end(&facts)
        };
        for (traffic, end) in [
            (Traffic::Input, PairEnd::Service(tcp(80))),
            (Traffic::Forward, PairEnd::Forwarded(tcp(80))),
        ] {
            assert_eq!(service(traffic, 301), Some(end));
            assert_eq!(service(traffic, 300), None);
        }
        assert_eq!(service(Traffic::Output, 600), None);
        let destination = |one_sided| {
            let mut facts = dialling(split(600), sidekiq(0));
            facts.destinations[0].split.one_sided = one_sided;
            end(&facts)
        };
        assert!(matches!(destination(301), Some(PairEnd::Remote(_))));
        assert_eq!(destination(300), None);
    }
}
