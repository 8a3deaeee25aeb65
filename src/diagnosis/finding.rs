//! The output of the diagnosis, as data.

use std::net::IpAddr;

use super::case::{Configured, Listed, PortUse};
use crate::analysis::facts::{
    Distinct, Held, Ownership, PairEnd, Port, Share, SocketHolder, Split,
};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;

/// The actor that opens the connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A unit, command or user of this host.
    Here {
        /// The owner and the entries that were seen at its sockets.
        held: Held,
        /// Entries that were seen at a socket of any owner.
        seen: u64,
    },
    /// Several units, commands or users of this host, the one with most entries first. None of them has most.
    Owners(Vec<Held>),
    /// An address elsewhere, or in a container of this host.
    Client(EndpointId),
    /// An address that has most of the entries, but not nearly all, and others.
    ClientAndOthers {
        /// The address.
        client: EndpointId,
        /// Its entries in the table.
        share: Share,
        /// The other addresses.
        others: Distinct,
    },
    /// This host, but no socket tells who.
    ThisHost,
    /// Several addresses elsewhere, none of which has most of the entries.
    Clients(Distinct),
}

impl Actor {
    /// The owners of the sockets on this host, or this host if no socket tells.
    pub(super) fn of(ownership: &Ownership) -> Self {
        match (ownership.main(), ownership.owners.as_slice()) {
            (Some(held), _) => Self::Here {
                held: held.clone(),
                seen: ownership.seen,
            },
            (None, []) => Self::ThisHost,
            (None, several) => Self::Owners(several.to_vec()),
        }
    }
}

/// A destination and who dials it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The actor that opens the connections.
    pub actor: Actor,
    /// The far end, or the service of this host.
    pub to: PairEnd,
    /// The entries between the two.
    pub split: Split,
    /// These entries in the table.
    pub share: Share,
}

/// Many far ends, none of which stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarEnds {
    /// The actor that opens the connections.
    pub actor: Actor,
    /// The direction of the entries: outbound or forwarded.
    pub traffic: Traffic,
    /// The port that is dialled and how many addresses it is dialled at; none if there are many ports.
    pub port: Option<(Port, Distinct)>,
    /// The entries to this port.
    pub split: Split,
    /// These entries in the table.
    pub share: Share,
    /// The entries of the largest endpoint, in the table.
    pub largest: Share,
}

/// Many clients of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowd {
    /// The service: of this host, or a destination behind it.
    pub service: PairEnd,
    /// The owner on this host that answers.
    pub owner: Option<SocketHolder>,
    /// Clients that were seen.
    pub clients: Distinct,
    /// True if clients are counted by network (`--aggregate`).
    pub networks: bool,
    /// Entries of the largest client, in the table.
    pub largest: Share,
    /// The service's entries.
    pub split: Split,
    /// These entries in the table.
    pub share: Share,
    /// True if most of them are half open: a flood, whose addresses may be forged.
    pub flood: bool,
}

/// The target of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanTarget {
    /// Many ports of one address.
    PortsOf(IpAddr, Distinct),
    /// Many ports of this host.
    PortsHere(Distinct),
    /// One port of many addresses.
    Addresses(Port, Distinct),
    /// Many addresses and ports.
    Everything(Distinct),
}

/// A scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Out of this host, into it or through it.
    pub traffic: Traffic,
    /// The actor that scans.
    pub actor: Actor,
    /// The target.
    pub target: ScanTarget,
    /// Processes that could send without a TCP or UDP socket.
    pub candidates: Vec<SocketHolder>,
    /// The entries of the scan.
    pub split: Split,
    /// These entries in the table.
    pub share: Share,
}

/// The one finding of an answer. The numbers are those of section 7 of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// 1: hash chains are too long.
    LongChains {
        /// nf_conntrack_buckets now.
        buckets: u32,
        /// The number that keeps chains short.
        wanted: u32,
        /// Entries in the chains, if known.
        count: Option<u32>,
    },
    /// 2: one pair uses up its source ports.
    PortsUsedUp(PortUse),
    /// 3: the limit is lower than the configured one.
    NotConfigured(Configured),
    /// 4: one destination does not answer.
    NoAnswer(Flow),
    /// 5: a tunnel or a one-way protocol.
    OneWay {
        /// The port or protocol.
        port: Port,
        /// Far addresses.
        peers: Distinct,
        /// True if entries go both ways: a tunnel, each side of which sends from a port of its own.
        both_ways: bool,
        /// Its entries in the table.
        share: Share,
    },
    /// 6: a scan.
    Scan(Sweep),
    /// 7: many clients of one service.
    Crowd(Crowd),
    /// 8: connections are closed after one use.
    NotReused(Flow),
    /// 9: connections are kept open.
    KeptOpen(Flow),
    /// 10: one client holds most of the table.
    OneClient(Flow),
    /// 11: one side does not close connections.
    NotClosed(Flow),
    /// 12: established entries whose sockets are gone.
    PeersVanished {
        /// Established entries without a socket, in the table.
        share: Share,
    },
    /// 13: DNS.
    Dns {
        /// The actor that asks or answers.
        actor: Actor,
        /// The one resolver that is asked; none if this host answers, or if there are several.
        resolver: Option<EndpointId>,
        /// The way the queries go.
        traffic: Traffic,
        /// Clients or resolvers.
        far: Distinct,
        /// Its entries in the table.
        share: Share,
    },
    /// 14: connections are seen from one side only.
    OneSided {
        /// The service that has most of them, if one does.
        service: Option<PairEnd>,
        /// Entries that are seen from one side only, in the table.
        share: Share,
    },
    /// 15: the list and the count disagree.
    CountDisagrees(Listed),
    /// 16: many far ends are dialled, and none of them stands out.
    ManyFarEnds(FarEnds),
    /// 16: no one stands out.
    NobodyStandsOut {
        /// Addresses that hold entries.
        endpoints: Distinct,
        /// Ports that are dialled.
        ports: Distinct,
        /// Entries of the largest endpoint, in the table.
        largest: Share,
        /// The largest endpoint, if it holds much of the table and no rule explains its entries; and who dials it, if
        /// it is a destination.
        holder: Option<(Option<Actor>, EndpointId)>,
    },
}

impl Finding {
    /// The number of the rule that found it, in the order in which the rules are tried.
    pub fn rule(&self) -> u8 {
        match self {
            Self::LongChains { .. } => 1,
            Self::PortsUsedUp(_) => 2,
            Self::NotConfigured(_) => 3,
            Self::NoAnswer(_) => 4,
            Self::OneWay { .. } => 5,
            Self::Scan(_) => 6,
            Self::Crowd(_) => 7,
            Self::NotReused(_) => 8,
            Self::KeptOpen(_) => 9,
            Self::OneClient(_) => 10,
            Self::NotClosed(_) => 11,
            Self::PeersVanished { .. } => 12,
            Self::Dns { .. } => 13,
            Self::OneSided { .. } => 14,
            Self::CountDisagrees(_) => 15,
            Self::ManyFarEnds(_) | Self::NobodyStandsOut { .. } => 16,
        }
    }

    /// The single addresses elsewhere that the finding names. Each may be that of a container of this host.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::NoAnswer(flow)
            | Self::NotReused(flow)
            | Self::KeptOpen(flow)
            | Self::OneClient(flow)
            | Self::NotClosed(flow) => flow.addresses(),
            Self::PortsUsedUp(ports) => vec![ports.source, ports.far],
            Self::Scan(sweep) => {
                let target = match sweep.target {
                    ScanTarget::PortsOf(address, _) => Some(address),
                    _ => None,
                };
                sweep.actor.address().into_iter().chain(target).collect()
            }
            Self::Crowd(crowd) => crowd.service.address().into_iter().collect(),
            Self::Dns {
                actor, resolver, ..
            } => {
                let resolver = resolver.as_ref().and_then(EndpointId::single_address);
                actor.address().into_iter().chain(resolver).collect()
            }
            Self::OneSided { service, .. } => service.iter().filter_map(PairEnd::address).collect(),
            Self::LongChains { .. }
            | Self::NotConfigured(_)
            | Self::OneWay { .. }
            | Self::PeersVanished { .. }
            | Self::CountDisagrees(_)
            | Self::ManyFarEnds(_) => Vec::new(),
            Self::NobodyStandsOut { holder, .. } => {
                let (actor, peer) = holder.as_ref().map_or((None, None), |(actor, peer)| {
                    (
                        actor.as_ref().and_then(Actor::address),
                        peer.single_address(),
                    )
                });
                actor.into_iter().chain(peer).collect()
            }
        }
    }
}

impl Flow {
    fn addresses(&self) -> Vec<IpAddr> {
        let actor = self.actor.address();
        actor.into_iter().chain(self.to.address()).collect()
    }
}

impl Actor {
    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Client(peer) | Self::ClientAndOthers { client: peer, .. } => {
                peer.single_address()
            }
            _ => None,
        }
    }
}

impl PairEnd {
    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Remote(peer) => peer.single_address(),
            Self::Service(_) | Self::Forwarded(_) | Self::Several(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::{Facts, Pair, Swept};
    use crate::diagnosis::samples::{
        ALL, dialled_by, dialling, found, from, of_class, of_port, plus, seen, sidekiq, table, tcp,
        to, udp,
    };
    use crate::diagnosis::{Case, diagnose};
    use crate::model::conntrack::{Class, Protocol};

    /// The rule that finds something in a table, and the addresses that it names.
    fn names(facts: &Facts) -> (u8, Vec<String>) {
        let finding = found(facts).unwrap();
        let addresses = finding.addresses();
        (
            finding.rule(),
            addresses.iter().map(ToString::to_string).collect(),
        )
    }

    fn is(rule: u8, addresses: &[&str]) -> (u8, Vec<String>) {
        (rule, addresses.iter().map(|&a| a.to_owned()).collect())
    }

    #[test]
    fn a_flow_names_its_client_and_its_destination() {
        let closed = of_class(Class::TimeWait, 400);
        let mut facts = dialling(closed, sidekiq(0));
        assert_eq!(names(&facts), is(8, &["10.0.3.7"]));
        facts.destinations[0].traffic = Traffic::Forward;
        facts.destinations[0].pair = Some(Pair {
            other: PairEnd::Remote(from("10.244.4.17")),
            entries: 400,
        });
        assert_eq!(names(&facts), is(8, &["10.244.4.17", "10.0.3.7"]));
        let mut facts = dialled_by("198.51.100.9", closed, sidekiq(0));
        assert_eq!(names(&facts), is(10, &["198.51.100.9"]));
        // a network of clients is no single address
        facts.clients[0].peer = EndpointId::From {
            address: "198.51.100.0".parse().unwrap(),
            length: Some(24),
        };
        assert_eq!(names(&facts), is(10, &[]));
    }

    #[test]
    fn each_finding_of_a_flow_names_its_destination() {
        for (class, rule) in [
            (Class::SynSent, 4),
            (Class::TimeWait, 8),
            (Class::Established, 9),
            (Class::CloseWait, 11),
        ] {
            let facts = dialling(of_class(class, 900), sidekiq(900));
            assert_eq!(names(&facts), is(rule, &["10.0.3.7"]));
        }
    }

    #[test]
    fn a_scan_names_its_client_or_the_address_whose_ports_it_tries() {
        let attempts = of_class(Class::SynSent, 900);
        let mut facts = dialled_by("198.51.100.9", attempts, sidekiq(0));
        facts.clients[0].ports = seen(100);
        assert_eq!(names(&facts), is(6, &["198.51.100.9"]));
        let facts = Facts {
            swept: Some(Swept {
                address: "198.51.100.7".parse().unwrap(),
                traffic: Traffic::Output,
                ports: seen(100),
                split: attempts,
                ownership: sidekiq(0),
            }),
            ..of_port(tcp(1), Traffic::Output, attempts, 1)
        };
        assert_eq!(names(&facts), is(6, &["198.51.100.7"]));
    }

    #[test]
    fn a_crowd_names_the_destination_behind_this_host() {
        let open = of_class(Class::Established, 900);
        let mut facts = dialling(open, Ownership::default());
        facts.destinations[0].traffic = Traffic::Forward;
        assert_eq!(names(&facts), is(7, &["10.0.3.7"]));
        let facts = of_port(tcp(443), Traffic::Input, open, 900);
        assert_eq!(names(&facts), is(7, &[]));
    }

    #[test]
    fn dns_names_the_resolver_and_connections_seen_from_one_side_their_destination() {
        let queries = of_class(Class::Udp, 900);
        let mut facts = of_port(udp(53), Traffic::Output, queries, 1);
        facts.destinations = dialling(queries, Ownership::default()).destinations;
        facts.destinations[0].peer = to("192.0.2.53:53", Protocol::UDP);
        assert_eq!(names(&facts), is(13, &["192.0.2.53"]));
        let one_sided = Split {
            one_sided: 900,
            ..of_class(Class::Established, 900)
        };
        let facts = dialling(one_sided, sidekiq(0));
        assert_eq!(names(&facts), is(14, &["10.0.3.7"]));
    }

    #[test]
    fn used_up_source_ports_are_those_of_two_addresses() {
        let case = Case {
            ports: Some(PortUse {
                source: "10.0.0.1".parse().unwrap(),
                far: "203.0.113.5".parse().unwrap(),
                port: tcp(443),
                used: Share::new(9, 10),
                translated: false,
            }),
            lost_below_limit: true,
            ..Case::default()
        };
        let finding = diagnose(&case).unwrap();
        assert_eq!(finding.rule(), 2);
        assert_eq!(finding.addresses().len(), 2);
    }

    #[test]
    fn a_table_of_many_small_ends_names_none() {
        let facts = table(plus(
            of_class(Class::FinWait, ALL - 1),
            of_class(Class::Close, 1),
        ));
        assert_eq!(names(&facts), is(16, &[]));
    }
}
