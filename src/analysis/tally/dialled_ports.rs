//! Entries by what was dialled.

use std::cmp::Reverse;

use super::packed_entries::DialledPort;
use super::{LocalService, Tally};
use crate::analysis::facts::Port;
use crate::analysis::traffic::Traffic;

/// The ports that are dialled, each in one direction, with the entries that dial it.
#[derive(Debug)]
pub struct DialledPorts {
    /// Most entries first.
    ports: Vec<(DialledPort, u64)>,
    /// Different ports, whatever the direction.
    different: u64,
}

impl Tally {
    /// The ports that are dialled.
    pub fn dialled_ports(&self) -> DialledPorts {
        // a sort costs little if few ports are dialled, and no port that a far host chose makes it slow
        let mut all = self.packed.all_dialled().to_vec();
        all.sort_unstable();
        let mut ports: Vec<(DialledPort, u64)> = all
            .chunk_by(|one, next| one == next)
            .filter_map(|alike| Some((*alike.first()?, alike.len() as u64)))
            .collect();
        drop(all);
        // a port that is dialled in two directions is one port
        ports.sort_unstable_by_key(|(dialled, _)| dialled.service());
        let different = ports.chunk_by(|(one, _), (next, _)| one.service() == next.service());
        let different = different.count() as u64;
        ports.sort_unstable_by_key(|(dialled, entries)| (Reverse(*entries), *dialled));
        DialledPorts { ports, different }
    }
}

impl DialledPorts {
    /// The ports that are dialled most, each with its direction, most entries first.
    pub fn most(&self, n: usize) -> impl Iterator<Item = (Port, Traffic)> + '_ {
        let ports = self.ports.iter().take(n);
        ports.map(|(dialled, _)| (dialled.as_port(), dialled.traffic()))
    }

    /// The number of different ports.
    pub fn different(&self) -> u64 {
        self.different
    }

    /// The `n` services of this host that far clients hold most entries with, most first, then by port and protocol.
    pub fn services(&self, n: usize) -> Vec<LocalService> {
        let inbound = self.ports.iter();
        let inbound = inbound.filter(|(dialled, _)| dialled.traffic() == Traffic::Input);
        let mut services: Vec<LocalService> = inbound
            .map(|(dialled, entries)| LocalService {
                port: dialled.port(),
                protocol: dialled.protocol(),
                entries: *entries,
            })
            .collect();
        services.sort_unstable_by_key(|service| {
            (Reverse(service.entries), service.port, service.protocol)
        });
        services.truncate(n);
        services
    }
}
