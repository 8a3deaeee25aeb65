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
