//! Facts for the tests of the rules: a table of 1000 entries, in which one group has a given part.

use std::net::{IpAddr, SocketAddr};

use super::case::Case;
use super::finding::Finding;
use crate::analysis::facts::{
    Client, Destination, Distinct, Facts, Held, Ownership, Pair, PairEnd, Port, Service,
    SocketHolder, Split,
};
use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::{Class, Protocol};

/// Entries of every sample.
pub(super) const ALL: u64 = 1000;

/// `n` entries of one class; those of SYN_SENT are unanswered.
pub(super) fn of_class(class: Class, n: u64) -> Split {
    let mut split = Split {
        entries: n,
        ..Split::default()
    };
    split.classes[class.index()] = n;
    if class == Class::SynSent {
        split.unanswered = n;
    }
    split
}

/// The sum of two splits.
pub(super) fn plus(one: Split, other: Split) -> Split {
    one.plus(&other)
}

/// Entries of UDP without a reply.
pub(super) fn unreplied_udp(n: u64) -> Split {
    Split {
        unanswered: n,
        ..of_class(Class::Udp, n)
    }
}

pub(super) fn to(address: &str, protocol: Protocol) -> EndpointId {
    EndpointId::To {
        address: address.parse::<SocketAddr>().unwrap(),
        protocol,
        local: false,
    }
}

pub(super) fn from(address: &str) -> EndpointId {
    EndpointId::From {
        address: address.parse::<IpAddr>().unwrap(),
        length: None,
    }
}

pub(super) fn tcp(number: u16) -> Port {
    Port {
        number,
        protocol: Protocol::TCP,
    }
}

pub(super) fn udp(number: u16) -> Port {
    Port {
        number,
        protocol: Protocol::UDP,
    }
}

pub(super) fn seen(n: u64) -> Distinct {
    Distinct {
        seen: n,
        at_least: false,
    }
}

/// sidekiq.service holds the sockets of `entries` entries.
pub(super) fn sidekiq(entries: u64) -> Ownership {
    Ownership {
        seen: entries,
        owners: vec![Held {
            who: SocketHolder {
                name: "sidekiq.service".to_owned(),
                unit: Some("sidekiq.service".to_owned()),
                process: Some(("ruby".to_owned(), 812)),
                processes: 1,
                threads: 25,
                connections: entries,
            },
            entries,
        }],
        closed: 0,
        without_socket: 0,
        complete: true,
    }
}

/// A table with these entries, and as many more ESTABLISHED ones of no group as make 1000.
pub(super) fn table(split: Split) -> Facts {
    Facts {
        all: plus(split, of_class(Class::Established, ALL - split.entries)),
        ..Facts::default()
    }
}

/// A table in which this host dials one destination.
pub(super) fn dialling(split: Split, ownership: Ownership) -> Facts {
    Facts {
        destinations: vec![Destination {
            peer: to("10.0.3.7:6379", Protocol::TCP),
            split,
            traffic: Traffic::Output,
            pair: None,
            sources: Distinct::default(),
            ownership,
        }],
        directions: [split.entries, ALL - split.entries, 0, 0],
        ..table(split)
    }
}

/// A table in which a client dials a service of this host.
pub(super) fn dialled_by(client: &str, split: Split, ownership: Ownership) -> Facts {
    Facts {
        clients: vec![Client {
            peer: from(client),
            split,
            traffic: Traffic::Input,
            pair: Some(Pair {
                other: PairEnd::Service(tcp(8080)),
                entries: split.entries,
            }),
            destinations: Distinct::default(),
            ports: seen(1),
            ownership,
        }],
        directions: [0, ALL, 0, 0],
        ..table(split)
    }
}

/// A table in which one port is dialled.
pub(super) fn of_port(port: Port, traffic: Traffic, split: Split, far: u64) -> Facts {
    Facts {
        services: vec![Service {
            port,
            traffic,
            split,
            far: seen(far),
            largest: split.entries / far.max(1),
            ownership: Ownership::default(),
        }],
        ports: vec![(port, split, seen(far))],
        directions: match traffic {
            Traffic::Output => [split.entries, ALL - split.entries, 0, 0],
            _ => [ALL - split.entries, split.entries, 0, 0],
        },
        ..table(split)
    }
}

/// The case of a table that fills.
pub(super) fn filling(facts: &Facts) -> Case<'_> {
    Case {
        facts: Some(facts),
        count: Some(1000),
        max: Some(1024),
        filling: true,
        ..Case::default()
    }
}

/// The finding for a table that fills.
pub(super) fn found(facts: &Facts) -> Option<Finding> {
    super::diagnose(&filling(facts))
}
