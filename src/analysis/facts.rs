//! Facts of the whole table: how many entries each endpoint, service and owner holds, and in which states. Plain values.
//!
//! Every number of entries is one of the whole table: a sample has been extrapolated before. A number of addresses is
//! what was seen, because a sample does not tell how many addresses it missed.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use crate::analysis::tally::EndpointId;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::{Class, Protocol};
use crate::model::few::largest_first;

/// A part of the entries of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Entries of the part.
    pub part: u64,
    /// Entries of the whole.
    pub whole: u64,
}

impl Share {
    /// `part` entries of `whole`.
    pub fn new(part: u64, whole: u64) -> Self {
        Self { part, whole }
    }

    /// True if the part is at least `percent` percent of the whole.
    pub fn is_at_least(self, percent: u64) -> bool {
        let (part, whole) = (u128::from(self.part), u128::from(self.whole));
        whole > 0 && part * 100 >= whole * u128::from(percent)
    }

    /// Compares two shares, each of its own whole.
    pub fn compare(self, other: Self) -> Ordering {
        let crosswise = |part: u64, whole: u64| u128::from(part) * u128::from(whole);
        crosswise(self.part, other.whole).cmp(&crosswise(other.part, self.whole))
    }

    /// True if the part is more than half of the whole.
    pub fn is_most(self) -> bool {
        u128::from(self.part) * 2 > u128::from(self.whole)
    }
}

impl fmt::Display for Share {
    /// Percent without decimals from 10 on, with one decimal below; never a 0 or a 100 that is not exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.whole == 0 {
            return f.write_str("0%");
        }
        let (part, whole) = (u128::from(self.part), u128::from(self.whole));
        let tenths = part * 1000 / whole;
        match tenths {
            0 if part > 0 => f.write_str("under 0.1%"),
            1..100 => write!(f, "{}.{}%", tenths / 10, tenths % 10),
            _ => write!(f, "{}%", tenths / 10),
        }
    }
}

/// A number of addresses or ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distinct {
    /// The number that was seen.
    pub seen: u64,
    /// True if there may be more: only a sample was read.
    pub at_least: bool,
}

impl fmt::Display for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.at_least && self.seen > 1 {
            "over "
        } else {
            ""
        };
        write!(f, "{over}{}", self.seen)
    }
}

/// Entries by class, and by the directions in which packets were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split {
    /// All of them.
    pub entries: u64,
    /// In the order of [`Class::ALL`].
    pub classes: [u64; Class::ALL.len()],
    /// TCP in SYN_SENT, and entries of any other protocol or state without a reply, but for ESTABLISHED.
    pub unanswered: u64,
    /// ESTABLISHED without a packet of the reply direction: only one side of the connection was seen.
    pub one_sided: u64,
}

impl Split {
    /// Entries of one class.
    pub fn of(&self, class: Class) -> u64 {
        self.classes.get(class.index()).copied().unwrap_or_default()
    }

    /// The sum of two groups.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut classes = self.classes;
        for (class, more) in classes.iter_mut().zip(other.classes) {
            *class += more;
        }
        Self {
            entries: self.entries + other.entries,
            classes,
            unanswered: self.unanswered + other.unanswered,
            one_sided: self.one_sided + other.one_sided,
        }
    }

    /// True if more than half of the entries are of one class.
    pub fn is_mostly(&self, class: Class) -> bool {
        Share::new(self.of(class), self.entries).is_most()
    }

    /// True if more than half of the entries are unanswered.
    pub fn is_mostly_unanswered(&self) -> bool {
        Share::new(self.unanswered, self.entries).is_most()
    }

    /// True if more than half of the entries are seen from one side only.
    pub fn is_mostly_one_sided(&self) -> bool {
        Share::new(self.one_sided, self.entries).is_most()
    }

    /// Classes that occur, the one with most entries first; the order of [`Class::ALL`] decides between equals.
    pub fn largest_first(&self) -> Vec<(Class, u64)> {
        let mut classes: Vec<(Class, u64)> = Class::ALL
            .into_iter()
            .zip(self.classes)
            .filter(|(_, entries)| *entries > 0)
            .map(|((class, _), entries)| (class, entries))
            .collect();
        largest_first(&mut classes, |(_, entries)| *entries);
        classes
    }
}

/// A port of a protocol: `:443/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port {
    /// The number; 0 if the protocol has no ports.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol.has_ports() {
            write!(f, ":{}/{}", self.number, self.protocol)
        } else {
            write!(f, "{}", self.protocol)
        }
    }
}

/// A holder of sockets on this host: a unit, a command, a container or a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketHolder {
    /// The name to print: `sidekiq.service`, `command ruby`, `user www-data`.
    pub name: String,
    /// The systemd unit that systemctl knows by this name, if it is one of this host's system manager.
    pub unit: Option<String>,
    /// Command and pid of the process with the lowest pid; none if only the user is known.
    pub process: Option<(String, i32)>,
    /// Processes that hold the sockets.
    pub processes: u64,
    /// Threads of these processes.
    pub threads: u64,
    /// Connections that they hold open.
    pub connections: u64,
}

/// An owner, and how many entries were found at a socket of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The owner.
    pub who: SocketHolder,
    /// Entries of this owner's sockets.
    pub entries: u64,
}

/// The owners of a group of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Entries that were found at a socket of a process or user.
    pub seen: u64,
    /// The owners, the one with most entries first.
    pub owners: Vec<Held>,
    /// Entries whose connection is over: the entry or the socket is in TIME_WAIT.
    pub closed: u64,
    /// Entries that ought to have a socket on this host and have none.
    pub without_socket: u64,
    /// True if all sockets were read and all processes could be seen.
    pub complete: bool,
}

impl Ownership {
    /// The owner of most of the entries that were found at a socket, unless nearly nothing was found.
    pub fn main(&self) -> Option<&Held> {
        let held = self.owners.first()?;
        Share::new(held.entries, self.seen)
            .is_most()
            .then_some(held)
    }
}

/// The largest part of a group that has one other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The other end: `10.244.4.17`, `10.96.0.50:80/tcp`, `:8080/tcp`.
    pub other: PairEnd,
    /// Entries between the two.
    pub entries: u64,
}

/// One end of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairEnd {
    /// A client or a destination elsewhere.
    Remote(EndpointId),
    /// A service of this host.
    Service(Port),
    /// A port of several hosts behind this one.
    Forwarded(Port),
    /// Several ports or destinations, none of which has most of the entries.
    Several(Distinct),
}

/// A destination: what is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its address, port and protocol.
    pub peer: EndpointId,
    /// Its entries.
    pub split: Split,
    /// The way that most of its entries go.
    pub traffic: Traffic,
    /// The source of most of its forwarded entries.
    pub pair: Option<Pair>,
    /// Sources that dial it through this host.
    pub sources: Distinct,
    /// The owner on this host that connects to it.
    pub ownership: Ownership,
}

/// A client: an address, or a network of addresses, that dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address or network.
    pub peer: EndpointId,
    /// Its entries.
    pub split: Split,
    /// The way that most of its entries go: to this host, or through it.
    pub traffic: Traffic,
    /// The destination of most of its entries.
    pub pair: Option<Pair>,
    /// Addresses that it dials through this host.
    pub destinations: Distinct,
    /// Ports that it dials.
    pub ports: Distinct,
    /// The owner on this host that answers it.
    pub ownership: Ownership,
}

/// A port that is dialled, in one direction, whatever the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The port.
    pub port: Port,
    /// The way its entries go.
    pub traffic: Traffic,
    /// Its entries.
    pub split: Split,
    /// Far addresses: the clients of an inbound service, else the destinations.
    pub far: Distinct,
    /// Entries of the far address that has most.
    pub largest: u64,
    /// The owner on this host that answers or connects.
    pub ownership: Ownership,
}

/// A far address that is dialled at many ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// The address.
    pub address: IpAddr,
    /// The way its entries go.
    pub traffic: Traffic,
    /// Ports of it that are dialled.
    pub ports: Distinct,
    /// Its entries.
    pub split: Split,
    /// The owner on this host that connects to it.
    pub ownership: Ownership,
}

/// Everything that the diagnosis rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// All entries that are listed.
    pub all: Split,
    /// Entries of the table, if these are more than all that were listed: expired entries are not listed.
    pub counted: u64,
    /// Entries in each direction, in the order of [`Traffic::ALL`].
    pub directions: [u64; Traffic::ALL.len()],
    /// Destinations, the one with most entries first.
    pub destinations: Vec<Destination>,
    /// Clients, the one with most entries first.
    pub clients: Vec<Client>,
    /// The ports that are dialled most, by direction, the one with most entries first.
    pub services: Vec<Service>,
    /// The ports that are dialled most, all directions together, the one with most entries first.
    pub ports: Vec<(Port, Split, Distinct)>,
    /// The far address with most dialled ports, if it holds much of the table.
    pub swept: Option<Swept>,
    /// Destinations and clients that were seen.
    pub endpoints: Distinct,
    /// Destinations that were seen: far addresses with their ports.
    pub dialled: Distinct,
    /// Different ports that are dialled, here or elsewhere, in all entries.
    pub dialled_ports: Distinct,
    /// Owners of the sockets of all entries, both directions.
    pub ownership: Ownership,
    /// Processes that hold a raw or packet socket: they can send what no TCP or UDP socket shows.
    pub raw_senders: Vec<SocketHolder>,
}

impl Facts {
    /// These entries as a share of the table.
    pub fn share(&self, entries: u64) -> Share {
        Share::new(entries, self.all.entries.max(self.counted))
    }

    /// True if this host seems to send packets that no socket of TCP or UDP sends: most of the table got no answer,
    /// most of it goes out, and few sockets are seen.
    pub fn lacks_senders(&self) -> bool {
        let out = self.in_direction(Traffic::Output);
        self.all.is_mostly_unanswered()
            && self.share(out).is_most()
            && !Share::new(self.ownership.seen, out).is_most()
    }

    /// Entries of one direction.
    pub fn in_direction(&self, traffic: Traffic) -> u64 {
        let all = Traffic::ALL.iter().zip(self.directions);
        all.filter(|((known, _), _)| *known == traffic)
            .map(|(_, entries)| entries)
            .sum()
    }
}
