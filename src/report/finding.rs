//! A finding in one sentence: who fills the table, what it does, and how much of the table that is.

use super::sentence_parts::{
    AddressNames, SentenceParts, bare, far_of, none_above, plural_of, process, protocol_name, verb,
};
use crate::analysis::facts::{Distinct, PairEnd, Port, Share, Split};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::diagnosis::{
    Actor, Configured, Crowd, FarEnds, Finding, Flow, Listed, PortUse, ScanTarget, Setting, Sweep,
};
use crate::model::conntrack::{Class, Protocol};

/// The room for a sentence that a later check prints.
pub const LATER_ROOM: usize = 150;

/// The sentence of line 1. If it is longer than `room`, names lose what a reader can look up: the pod of a container,
/// and the end of a name that is very long.
pub fn sentence(finding: &Finding, names: &AddressNames, room: usize) -> String {
    let whole = words_of(finding, SentenceParts::whole(names));
    if whole.len() <= room {
        return whole;
    }
    words_of(finding, SentenceParts::brief(names))
}

fn words_of(finding: &Finding, words: SentenceParts<'_>) -> String {
    match finding {
        Finding::LongChains { buckets, count, .. } => {
            let entries = count
                .map(|n| format!("{n} entries in "))
                .unwrap_or_default();
            format!("hash table too small: {entries}{buckets} buckets")
        }
        Finding::PortsUsedUp(ports) => words.ports_used_up(ports),
        Finding::NotConfigured(configured) => not_configured(configured),
        Finding::NoAnswer(flow) => words.no_answer(flow),
        Finding::OneWay {
            port,
            peers,
            both_ways,
            share,
        } => one_way(*port, *peers, *both_ways, *share),
        Finding::Scan(sweep) => words.scan(sweep),
        Finding::Crowd(crowd) => words.crowd(crowd),
        Finding::NotReused(flow) => format!(
            "{} to {} {} {} of the entries{}",
            words.actor(&flow.actor),
            words.end(&flow.to),
            verb(&flow.actor, "holds", "hold"),
            flow.share,
            already_closed(&flow.split)
        ),
        Finding::KeptOpen(flow) => format!(
            "{} {} {} connections to {} open, {} of the entries",
            words.actor(&flow.actor),
            verb(&flow.actor, "keeps", "keep"),
            flow.split.of(Class::Established),
            words.end(&flow.to),
            flow.share
        ),
        Finding::OneClient(flow) => format!(
            "{} {} {} of the entries, to {}",
            words.actor(&flow.actor),
            verb(&flow.actor, "holds", "hold"),
            flow.share,
            words.end(&flow.to)
        ),
        Finding::NotClosed(flow) => words.not_closed(flow),
        Finding::PeersVanished { share } => format!(
            "{} dead connections (ESTABLISHED, no socket on this host) hold {share} of the entries",
            share.part
        ),
        Finding::Dns {
            actor,
            resolver,
            traffic,
            far,
            share,
        } => words.dns(actor, resolver.as_ref(), *traffic, *far, *share),
        Finding::OneSided { service, share } => words.one_sided(service.as_ref(), *share),
        Finding::CountDisagrees(listed) => count_disagrees(*listed),
        Finding::ManyFarEnds(ends) => words.far_ends(ends),
        Finding::NobodyStandsOut {
            largest,
            holder: Some((actor, peer)),
            ..
        } => format!(
            "{} {largest} of the entries, no known fault explains them",
            words.held_by(actor.as_ref(), peer)
        ),
        Finding::NobodyStandsOut {
            endpoints,
            ports,
            largest,
            holder: None,
        } => format!(
            "no one stands out: {}, {}, {} of the entries",
            plural_of(*ports, "port", "ports"),
            plural_of(*endpoints, "address", "addresses"),
            none_above(&largest.to_string()),
        ),
    }
}

/// Who a finding names, and the entries that this one holds: `sidekiq.service to 10.0.3.7:6379/tcp`.
pub fn holder(finding: &Finding, names: &AddressNames) -> Option<(String, Share)> {
    let words = SentenceParts::whole(names);
    match finding {
        Finding::NoAnswer(flow)
        | Finding::NotReused(flow)
        | Finding::KeptOpen(flow)
        | Finding::OneClient(flow)
        | Finding::NotClosed(flow) => {
            let (actor, to) = (words.actor(&flow.actor), words.end(&flow.to));
            Some((format!("{actor} to {to}"), flow.share))
        }
        Finding::Dns {
            actor,
            resolver: Some(resolver),
            share,
            ..
        } => {
            let (actor, to) = (words.actor(actor), words.peer(resolver));
            Some((format!("{actor} to {to}"), *share))
        }
        Finding::ManyFarEnds(ends) if ends.traffic == Traffic::Output => {
            Some((words.to_far_ends(ends), ends.share))
        }
        _ => None,
    }
}

/// Fewer entries in the list than the count says.
pub fn count_disagrees(listed: Listed) -> String {
    format!("the table lists {} of {}", listed.listed, listed.count)
}

fn not_configured(configured: &Configured) -> String {
    let Configured {
        setting,
        file,
        value,
        live,
    } = configured;
    let name = match setting {
        Setting::Max => "the limit is",
        Setting::Buckets => "the hash table has",
    };
    let unit = match setting {
        Setting::Max => "",
        Setting::Buckets => " buckets",
    };
    format!("{name} {live}{unit}, but {file} sets {value}")
}

fn one_way(port: Port, peers: Distinct, both_ways: bool, share: Share) -> String {
    let name = protocol_name(port);
    let peers = plural_of(peers, "peer", "peers");
    if both_ways {
        format!("{name} between this host and {peers} holds {share} of the entries")
    } else {
        format!("{name} without answers ({peers}) holds {share} of the entries")
    }
}

/// The entries of connections that both sides have closed: `, 5498 of 6872 already closed (TIME_WAIT)`.
fn already_closed(split: &Split) -> String {
    let closed = split.of(Class::TimeWait);
    format!(", {closed} of {} already closed (TIME_WAIT)", split.entries)
}

impl SentenceParts<'_> {
    fn ports_used_up(&self, ports: &PortUse) -> String {
        let by = if ports.translated {
            "connections translated to "
        } else {
            "connections from "
        };
        format!(
            "{by}{} to {} use {} of {} source ports",
            self.address(ports.source),
            far_of(ports),
            ports.used.part,
            ports.used.whole
        )
    }

    fn no_answer(&self, flow: &Flow) -> String {
        let evidence = self.evidence(&flow.actor, flow.split.unanswered, "attempts");
        format!(
            "{} to {} {} no answer, {} of the entries{evidence}",
            self.actor(&flow.actor),
            self.end(&flow.to),
            verb(&flow.actor, "gets", "get"),
            flow.share
        )
    }

    fn not_closed(&self, flow: &Flow) -> String {
        let (n, of) = (flow.split.of(Class::CloseWait), flow.split.entries);
        let to = self.end(&flow.to);
        let is_here = matches!(flow.actor, Actor::Here { .. } | Actor::Owners(_));
        let who = match flow.to {
            PairEnd::Service(_) if !is_here => {
                format!("{to} does not close connections with its clients")
            }
            _ => format!(
                "{} {} not close connections with {to}",
                self.actor(&flow.actor),
                verb(&flow.actor, "does", "do")
            ),
        };
        format!(
            "{who}: {n} of {of} entries in CLOSE_WAIT, {} of the table",
            flow.share
        )
    }

    fn scan(&self, sweep: &Sweep) -> String {
        let way = match sweep.traffic {
            Traffic::Input => "scan coming in",
            Traffic::Forward => "scan through this host",
            Traffic::Output | Traffic::Local => "scan going out",
        };
        let target = match sweep.target {
            ScanTarget::PortsOf(address, ports) => {
                format!("{ports} ports of {}", self.address(address))
            }
            ScanTarget::PortsHere(ports) => format!("{ports} ports of this host"),
            ScanTarget::Addresses(port, n) if port.protocol.has_ports() => {
                format!("port {} of {n} addresses", bare(port))
            }
            ScanTarget::Addresses(_, n) => format!("{n} addresses"),
            ScanTarget::Everything(n) => format!("{n} addresses and ports"),
        };
        let candidates: Vec<String> = sweep.candidates.iter().take(3).map(process).collect();
        let candidates = match candidates.as_slice() {
            [] => String::new(),
            some => format!(" (no TCP socket, raw sockets: {})", some.join(", ")),
        };
        format!(
            "{way}: {} {} {target}, {} of the entries{candidates}",
            self.actor(&sweep.actor),
            sweep_verb(sweep),
            sweep.share
        )
    }

    fn crowd(&self, crowd: &Crowd) -> String {
        let owner = match &crowd.owner {
            Some(who) => format!(" ({})", self.name(who)),
            None => String::new(),
        };
        let (one, many) = if crowd.networks {
            ("network", "networks")
        } else {
            ("client", "clients")
        };
        let clients = plural_of(crowd.clients, one, many);
        let service = self.end(&crowd.service);
        let none_above = none_above(&crowd.largest.to_string());
        let closed = if crowd.split.is_mostly(Class::TimeWait) {
            already_closed(&crowd.split)
        } else {
            String::new()
        };
        if crowd.flood {
            format!(
                "flood against {service}{owner}: {} of the entries half open or unanswered, {clients}, {none_above}",
                crowd.share
            )
        } else {
            format!(
                "{clients} of {service}{owner} hold {} of the entries, {none_above}{closed}",
                crowd.share
            )
        }
    }

    fn dns(
        &self,
        actor: &Actor,
        resolver: Option<&EndpointId>,
        traffic: Traffic,
        far: Distinct,
        share: Share,
    ) -> String {
        match traffic {
            Traffic::Input => {
                let owner = match actor {
                    owner @ (Actor::Here { .. } | Actor::Owners(_)) => {
                        format!(" ({})", self.actor(owner))
                    }
                    _ => String::new(),
                };
                format!(
                    "DNS: {} of :53/udp of this host{owner} hold {share} of the entries",
                    plural_of(far, "client", "clients")
                )
            }
            _ => {
                let to = match resolver {
                    Some(peer) => self.peer(peer),
                    None => plural_of(far, "resolver", "resolvers"),
                };
                format!(
                    "DNS: {} to {to} {} {share} of the entries",
                    self.actor(actor),
                    verb(actor, "holds", "hold")
                )
            }
        }
    }

    /// `sidekiq.service to 10.0.3.7:6379/tcp holds`; the far end alone if nobody is known to dial it.
    fn held_by(&self, actor: Option<&Actor>, peer: &EndpointId) -> String {
        match actor {
            None | Some(Actor::ThisHost | Actor::Clients(_)) => {
                format!("{} holds", self.peer(peer))
            }
            Some(actor) => format!(
                "{} to {} {}",
                self.actor(actor),
                self.peer(peer),
                verb(actor, "holds", "hold")
            ),
        }
    }

    fn far_ends(&self, ends: &FarEnds) -> String {
        let held = if ends.traffic == Traffic::Forward {
            let port = ends
                .port
                .map(|(port, _)| format!(" to port {}", bare(port)));
            format!("forwarded connections{} hold", port.unwrap_or_default())
        } else {
            let verb = verb(&ends.actor, "holds", "hold");
            format!("{} {verb}", self.to_far_ends(ends))
        };
        let none_above = match ends.port {
            Some(_) => none_above(&ends.largest.to_string()),
            None => format!("no endpoint above {}", ends.largest),
        };
        // a closed connection has no socket, so how few were seen proves nothing
        let evidence = if ends.split.is_mostly(Class::TimeWait) {
            already_closed(&ends.split)
        } else {
            self.evidence(&ends.actor, ends.split.entries, "entries")
        };
        format!(
            "{held} {} of the entries, {none_above}{evidence}",
            ends.share
        )
    }

    /// `prometheus.service to port 9100/tcp of 339 addresses`.
    fn to_far_ends(&self, ends: &FarEnds) -> String {
        let actor = self.actor(&ends.actor);
        match ends.port {
            Some((port, far)) => {
                let addresses = plural_of(far, "address", "addresses");
                format!("{actor} to port {} of {addresses}", bare(port))
            }
            None => actor,
        }
    }

    fn one_sided(&self, service: Option<&PairEnd>, share: Share) -> String {
        let of = match service {
            Some(end) => format!(" to {}", self.end(end)),
            None => String::new(),
        };
        format!(
            "{} of {} connections{of} are seen from one side only",
            share.part, share.whole
        )
    }
}

/// The act of a scan. ICMP has no ports, and its entries are echo requests, and few other queries.
fn sweep_verb(sweep: &Sweep) -> &'static str {
    match sweep.target {
        ScanTarget::Addresses(port, _)
            if matches!(port.protocol, Protocol::ICMP | Protocol::ICMPV6) =>
        {
            verb(&sweep.actor, "pings", "ping")
        }
        _ => verb(&sweep.actor, "tries", "try"),
    }
}
