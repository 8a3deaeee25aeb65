//! The words that sentences about findings share: actors, far ends, ports and bounds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::analysis::facts::{Distinct, Held, PairEnd, Port, SocketHolder};
use crate::analysis::tally::EndpointId;
use crate::diagnosis::{Actor, PortUse};
use crate::model::conntrack::Protocol;
use crate::model::netns::NetnsRepresentative;

/// The processes behind addresses of containers of this host.
pub type AddressNames = BTreeMap<IpAddr, NetnsRepresentative>;

/// The parts that every sentence needs.
pub(super) struct SentenceParts<'a> {
    pub(super) names: &'a AddressNames,
}

impl SentenceParts<'_> {
    pub(super) fn address(&self, address: IpAddr) -> String {
        match self.names.get(&address) {
            Some(resident) => resident.at(address),
            None => address.to_string(),
        }
    }

    pub(super) fn peer(&self, peer: &EndpointId) -> String {
        match peer {
            EndpointId::From {
                address,
                length: Some(length),
            } => format!("network {address}/{length}"),
            EndpointId::From {
                address,
                length: None,
            } => self.address(*address),
            EndpointId::To {
                address, protocol, ..
            } => {
                let end = if protocol.has_ports() {
                    format!("{address}/{protocol}")
                } else {
                    format!("{}/{protocol}", address.ip())
                };
                match self.names.get(&address.ip()) {
                    Some(resident) => format!("{end} on {resident}"),
                    None => end,
                }
            }
        }
    }

    pub(super) fn end(&self, end: &PairEnd) -> String {
        match end {
            PairEnd::Remote(peer) => self.peer(peer),
            PairEnd::Service(port) => format!("{port} of this host"),
            PairEnd::Forwarded(port) => format!("port {}", bare(*port)),
            PairEnd::Several(several) => {
                plural_of(*several, "port or address", "ports or addresses")
            }
        }
    }

    pub(super) fn actor(&self, actor: &Actor) -> String {
        match actor {
            Actor::Here { held, .. } => held.who.name.clone(),
            Actor::Owners(owners) => several(owners),
            Actor::Client(peer) => self.peer(peer),
            Actor::ThisHost => "this host".to_owned(),
            Actor::ClientAndOthers {
                client,
                share,
                others,
            } => format!(
                "{} ({share}) and {}",
                self.peer(client),
                plural_of(*others, "other client", "other clients")
            ),
            Actor::Clients(n) if n.seen == 0 => "a client".to_owned(),
            Actor::Clients(n) => plural_of(*n, "client", "clients"),
        }
    }
}

/// A port with the name of its protocol, if operators know it by that.
pub(super) fn protocol_name(port: Port) -> String {
    let name = match (port.protocol, port.number) {
        (Protocol::UDP, 514 | 1514) => " (syslog)",
        (Protocol::UDP, 2055 | 9995) => " (NetFlow)",
        (Protocol::UDP, 4739) => " (IPFIX)",
        (Protocol::UDP, 4789 | 8472) => " (VXLAN)",
        (Protocol::UDP, 6081) => " (Geneve)",
        (Protocol::UDP, 6343) => " (sFlow)",
        (Protocol::UDP, 8125) => " (statsd)",
        (Protocol::UDP, 12201) => " (GELF)",
        (Protocol::UDP, 25826) => " (collectd)",
        _ => "",
    };
    format!("{}{name}", bare(port))
}

/// `4789/udp`, `gre`.
pub(super) fn bare(port: Port) -> String {
    port.to_string().trim_start_matches(':').to_owned()
}

pub(super) fn plural_of(n: Distinct, one: &str, many: &str) -> String {
    format!("{n} {}", if n.seen == 1 { one } else { many })
}

/// The bound that no single one exceeds: `none above 0.6%`, `each under 0.1%`.
pub(super) fn none_above(largest: &str) -> String {
    if largest.starts_with("under") {
        format!("each {largest}")
    } else {
        format!("none above {largest}")
    }
}

/// The form of a verb that fits those who act.
pub(super) fn verb(actor: &Actor, one: &'static str, many: &'static str) -> &'static str {
    match actor {
        Actor::Owners(owners) if owners.len() > 1 => many,
        Actor::Clients(clients) if clients.seen > 1 => many,
        Actor::ClientAndOthers { .. } => many,
        _ => one,
    }
}

/// `nginx.service and php-fpm.service`, `nginx.service and 3 more`.
fn several(owners: &[Held]) -> String {
    match owners {
        [] => "this host".to_owned(),
        [only] => only.who.name.clone(),
        [first, second] => format!("{} and {}", first.who.name, second.who.name),
        [first, others @ ..] => format!("{} and {} more", first.who.name, others.len()),
    }
}

/// The far end of a pair whose source ports are used up.
pub(super) fn far_of(ports: &PortUse) -> String {
    std::net::SocketAddr::new(ports.far, ports.port.number).to_string()
        + &format!("/{}", ports.port.protocol)
}

/// A process as `ps` names it: `nmap[812]`; else the owner's name.
pub(super) fn process(who: &SocketHolder) -> String {
    match &who.process {
        Some((command, pid)) => format!("{command}[{pid}]"),
        None => who.name.clone(),
    }
}
