//! Source ports in use: how many connections share a source address and a far address and port. Each of them needs a
//! source port of its own.
//!
//! Of a translated connection the source address is the one that the far side sees, so the tuple of the reply tells.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::analysis::traffic::Traffic;
use crate::model::address::Address;
use crate::model::conntrack::{Entry, Protocol};

/// Pairs that are counted. A pair that uses most of its ports has thousands of entries, so one of them comes among the
/// first, whatever the table holds besides.
const MAX_PAIRS: usize = 4096;

/// Source ports that translation gives if no rule says otherwise (`nf_nat_l4proto_unique_tuple` in nf_nat_core.c).
const TRANSLATED: RangeInclusive<u16> = 1024..=65_535;

/// Source ports that the kernel gives to local sockets if nothing says otherwise (ip_local_port_range).
const LOCAL: RangeInclusive<u16> = 32_768..=60_999;

/// So many ports are too few to tell that a rule gives a part of the range only.
const FEW_PORTS: u32 = 10;

/// From this share of the ports between the lowest and the highest one on, a rule gives these ports and no others.
/// Percent.
const DENSE: u64 = 80;

/// A source address and what it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PortsKey {
    source: Address,
    far: Address,
    far_port: u16,
    protocol: Protocol,
    translated: bool,
}

/// The source ports of a pair.
#[derive(Debug, Clone, Copy)]
struct UsedPorts {
    number: u32,
    lowest: u16,
    highest: u16,
}

impl UsedPorts {
    /// Ports from the lowest to the highest one.
    fn span(&self) -> u64 {
        size(&(self.lowest..=self.highest))
    }

    fn is_dense(&self) -> bool {
        self.number >= FEW_PORTS && u64::from(self.number) * 100 >= self.span() * DENSE
    }
}

/// Entries of each pair.
#[derive(Debug)]
pub(super) struct PortUses {
    /// The range of local sockets.
    local: RangeInclusive<u16>,
    pairs: HashMap<PortsKey, UsedPorts, foldhash::fast::RandomState>,
}

impl Default for PortUses {
    fn default() -> Self {
        Self {
            local: LOCAL,
            pairs: HashMap::default(),
        }
    }
}

/// The source ports that a pair uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortCount {
    /// The source address.
    pub source: Address,
    /// The far address.
    pub far: Address,
    /// The far port.
    pub far_port: u16,
    /// TCP, UDP or another protocol with ports.
    pub protocol: Protocol,
    /// True if this host translated the source address or port.
    pub translated: bool,
    /// Source ports in use.
    pub ports: u64,
    /// Source ports there are.
    pub of: u64,
}

impl PortUses {
    /// The range of the source ports of local sockets.
    pub(super) fn set_local(&mut self, range: RangeInclusive<u16>) {
        self.local = range;
    }

    /// Counts an entry whose source port was chosen by this host.
    pub(super) fn add(&mut self, entry: &Entry, traffic: Traffic) {
        let (source, port) = entry.reply.to();
        let chosen_here = match traffic {
            Traffic::Output => true,
            Traffic::Forward => source != entry.original.source,
            Traffic::Input | Traffic::Local => false,
        };
        if !chosen_here || !entry.protocol.has_ports() {
            return;
        }
        let translated = (source, port) != entry.original.from();
        if !self.range(translated).contains(&port) {
            return;
        }
        let (far, far_port) = entry.reply.from();
        let pair = PortsKey {
            source,
            far,
            far_port,
            protocol: entry.protocol,
            translated,
        };
        if let Some(ports) = self.pairs.get_mut(&pair) {
            ports.number = ports.number.saturating_add(1);
            ports.lowest = ports.lowest.min(port);
            ports.highest = ports.highest.max(port);
        } else if self.pairs.len() < MAX_PAIRS {
            let one = UsedPorts {
                number: 1,
                lowest: port,
                highest: port,
            };
            self.pairs.insert(pair, one);
        }
    }

    fn range(&self, translated: bool) -> &RangeInclusive<u16> {
        if translated { &TRANSLATED } else { &self.local }
    }

    /// The pair with most ports of each kind: local sockets, and translated connections.
    pub(super) fn largest(&self) -> [Option<PortCount>; 2] {
        [false, true].map(|translated| {
            let of_kind = self
                .pairs
                .iter()
                .filter(|(pair, _)| pair.translated == translated);
            let (pair, ports) = of_kind.max_by_key(|(pair, ports)| (ports.number, **pair))?;
            Some(count(pair, ports, size(self.range(translated))))
        })
    }

    /// The translated pair with most ports of those that use nearly all ports between their lowest and their highest
    /// one: a rule gives these ports alone, and they are what there is.
    pub(super) fn dense(&self) -> Option<PortCount> {
        let dense = self
            .pairs
            .iter()
            .filter(|(pair, ports)| pair.translated && ports.is_dense());
        let (pair, ports) = dense.max_by_key(|(pair, ports)| (ports.number, **pair))?;
        Some(count(pair, ports, ports.span()))
    }
}

/// Ports in a range.
fn size(range: &RangeInclusive<u16>) -> u64 {
    u64::from(range.end().saturating_sub(*range.start())) + 1
}

fn count(pair: &PortsKey, ports: &UsedPorts, of: u64) -> PortCount {
    PortCount {
        source: pair.source,
        far: pair.far,
        far_port: pair.far_port,
        protocol: pair.protocol,
        translated: pair.translated,
        ports: u64::from(ports.number),
        of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conntrack::Tuple;

    const FAR: [u8; 4] = [203, 0, 113, 5];

    /// A connection of a client to FAR:443, whose source the far side sees as `seen`.
    fn entry(from: ([u8; 4], u16), seen: ([u8; 4], u16)) -> Entry {
        let original = Tuple {
            source: from.0.into(),
            source_port: from.1,
            destination: FAR.into(),
            destination_port: 443,
        };
        let reply = Tuple {
            source: FAR.into(),
            source_port: 443,
            destination: seen.0.into(),
            destination_port: seen.1,
        };
        Entry {
            protocol: Protocol::TCP,
            original,
            reply,
            tcp_state: None,
            replied: true,
            assured: true,
            offloaded: false,
            timeout: None,
        }
    }

    const HOST: [u8; 4] = [10, 0, 0, 1];
    const CLIENT: [u8; 4] = [10, 0, 1, 2];

    #[test]
    fn local_sockets_use_the_range_of_the_kernel() {
        let mut uses = PortUses::default();
        uses.set_local(2000..=2009);
        for port in 1995..2005 {
            uses.add(&entry((HOST, port), (HOST, port)), Traffic::Output);
        }
        let [local, translated] = uses.largest();
        let local = local.unwrap();
        assert_eq!(
            (local.ports, local.of),
            (5, 10),
            "2000 to 2004 of 2000 to 2009"
        );
        assert_eq!(translated, None);
        assert_eq!(uses.dense(), None, "nobody restricts a local socket");
    }

    #[test]
    fn translated_connections_use_nearly_every_port() {
        let mut uses = PortUses::default();
        for port in 0..100 {
            let from = (CLIENT, 40_000 + port);
            uses.add(&entry(from, (HOST, 1000 + port)), Traffic::Forward);
            // nothing was translated
            uses.add(&entry(from, from), Traffic::Forward);
        }
        let [local, translated] = uses.largest();
        assert_eq!(local, None);
        let translated = translated.unwrap();
        assert_eq!((translated.ports, translated.of), (76, 64_512));
    }

    #[test]
    fn ports_that_follow_each_other_closely_are_all_that_a_rule_gives() {
        let dense = |ports: &[u16]| {
            let mut uses = PortUses::default();
            for port in ports {
                uses.add(&entry((CLIENT, 40_000), (HOST, *port)), Traffic::Forward);
            }
            uses.dense().map(|dense| (dense.ports, dense.of))
        };
        let ten: Vec<u16> = (10_000..10_010).collect();
        assert_eq!(dense(&ten), Some((10, 10)));
        assert_eq!(dense(&ten[..9]), None, "nine are too few");
        let spread = |last| [&ten[..], &[last]].concat();
        assert_eq!(dense(&spread(10_012)), Some((11, 13)), "84 of 100");
        assert_eq!(dense(&spread(10_013)), None, "78 of 100");
    }
}
