//! The words that sentences about findings share: actors, far ends, ports and bounds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::analysis::facts::{Distinct, Held, PairEnd, Port, SocketHolder};
use crate::analysis::tally::EndpointId;
use crate::diagnosis::{Actor, PortUse};
use crate::model::conntrack::Protocol;
use crate::model::netns::NetnsRepresentative;

/// The length of a name that is shown if line 1 would be too long, bytes.
const BRIEF_NAME: usize = 34;

/// The processes behind addresses of containers of this host.
pub type AddressNames = BTreeMap<IpAddr, NetnsRepresentative>;

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

/// The parts that every sentence needs.
pub(super) struct SentenceParts<'a> {
    names: &'a AddressNames,
    is_brief: bool,
}

impl<'a> SentenceParts<'a> {
    /// The parts with whole names.
    pub(super) fn whole(names: &'a AddressNames) -> Self {
        Self {
            names,
            is_brief: false,
        }
    }

    /// The parts with names that lost what a reader can look up.
    pub(super) fn brief(names: &'a AddressNames) -> Self {
        Self {
            names,
            is_brief: true,
        }
    }
}

impl SentenceParts<'_> {
    pub(super) fn address(&self, address: IpAddr) -> String {
        match self.names.get(&address) {
            Some(resident) if self.is_brief => resident.without_pod().at(address),
            Some(resident) => resident.at(address),
            None => address.to_string(),
        }
    }

    /// The name of an owner.
    pub(super) fn name(&self, who: &SocketHolder) -> String {
        match who.name.get(..BRIEF_NAME) {
            Some(beginning) if self.is_brief => format!("{beginning}.."),
            _ => who.name.clone(),
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
                    Some(resident) if self.is_brief => format!("{end} on {}", resident.process()),
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
            Actor::Here { held, .. } => self.name(&held.who),
            Actor::Owners(owners) => self.several(owners),
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

    /// The actor for a line below line 1: a client with a long name is `the client`, because line 1 has the name.
    pub(super) fn short_actor(&self, actor: &Actor) -> String {
        match actor {
            Actor::Client(peer) if self.is_resident(peer) => "the client".to_owned(),
            actor => self.actor(actor),
        }
    }

    /// The far end for a line below line 1: without the name of its container, because line 1 has the name.
    pub(super) fn short_end(&self, end: &PairEnd) -> String {
        match end {
            PairEnd::Remote(EndpointId::To {
                address, protocol, ..
            }) if self.names.contains_key(&address.ip()) && protocol.has_ports() => {
                format!("{address}/{protocol}")
            }
            end => self.end(end),
        }
    }

    /// True if the address of a peer is that of a container of this host.
    fn is_resident(&self, peer: &EndpointId) -> bool {
        let address = peer.single_address();
        address.is_some_and(|address| self.names.contains_key(&address))
    }

    /// The number of entries that were seen at a socket, if that is less than half of them.
    pub(super) fn evidence(&self, actor: &Actor, of: u64, what: &str) -> String {
        let Actor::Here { held, seen } = actor else {
            return String::new();
        };
        if seen.saturating_mul(2) >= of {
            return String::new();
        }
        let own = if held.entries == *seen {
            "all".to_owned()
        } else {
            held.entries.to_string()
        };
        let whose = if self.is_brief {
            "its own".to_owned()
        } else {
            format!("of {}", held.who.name)
        };
        format!(" ({seen} of {of} {what} seen at a socket, {own} {whose})")
    }

    /// `nginx.service and php-fpm.service`, `nginx.service and 3 others`.
    fn several(&self, owners: &[Held]) -> String {
        match owners {
            [] => "this host".to_owned(),
            [only] => self.name(&only.who),
            [first, second] => format!("{} and {}", self.name(&first.who), self.name(&second.who)),
            [first, others @ ..] => {
                format!("{} and {} others", self.name(&first.who), others.len())
            }
        }
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
