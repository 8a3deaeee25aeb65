//! Source ports in use: how many connections share a source address and a far address and port. Each of them needs a
//! source port of its own.
//!
//! Of a translated connection the source address is the one that the far side sees, so the tuple of the reply tells.

use std::collections::HashMap;

use crate::analysis::traffic::Direction;
use crate::model::address::Address;
use crate::model::conntrack::{Entry, Protocol};

/// Pairs that are counted. A pair that uses most of its ports has thousands of entries, so one of them comes among the
/// first, whatever the table holds besides.
const MAX_PAIRS: usize = 4096;

/// A source address and what it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair {
    source: Address,
    far: Address,
    far_port: u16,
    protocol: Protocol,
    translated: bool,
}

/// Entries of each pair.
#[derive(Debug, Default)]
pub(super) struct PortUses(HashMap<Pair, u32, foldhash::fast::RandomState>);

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
    /// Whether this host translated the source address or port.
    pub translated: bool,
    /// Source ports in use.
    pub ports: u64,
}

impl PortUses {
    /// Counts an entry whose source port was chosen by this host.
    pub(super) fn add(&mut self, entry: &Entry, direction: Direction) {
        let (source, source_port) = entry.reply.to();
        let translated = (source, source_port) != entry.original.from();
        let chosen_here = match direction {
            Direction::Out => true,
            Direction::Forwarded => source != entry.original.source,
            Direction::In | Direction::Local => false,
        };
        if !chosen_here || !entry.protocol.has_ports() {
            return;
        }
        let (far, far_port) = entry.reply.from();
        let pair = Pair {
            source,
            far,
            far_port,
            protocol: entry.protocol,
            translated,
        };
        if let Some(ports) = self.0.get_mut(&pair) {
            *ports = ports.saturating_add(1);
        } else if self.0.len() < MAX_PAIRS {
            self.0.insert(pair, 1);
        }
    }

    /// The pair with most ports of each kind: local sockets, and translated connections.
    pub(super) fn largest(&self) -> [Option<PortCount>; 2] {
        [false, true].map(|translated| {
            let of_kind = self
                .0
                .iter()
                .filter(|(pair, _)| pair.translated == translated);
            let (pair, ports) = of_kind.max_by_key(|(pair, ports)| (**ports, **pair))?;
            Some(PortCount {
                source: pair.source,
                far: pair.far,
                far_port: pair.far_port,
                protocol: pair.protocol,
                translated,
                ports: u64::from(*ports),
            })
        })
    }
}
