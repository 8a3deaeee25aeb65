//! Inbound entries by what was dialled.

use crate::model::conntrack::Protocol;

/// Entries by protocol and port: an index takes a fraction of what hashing takes, and its memory is the kernel's to
/// give only where something is counted.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// By protocol, then by port.
    counts: Vec<Vec<u32>>,
}

impl Services {
    /// Counts an entry. The port means nothing where the protocol has none.
    pub(super) fn add(&mut self, protocol: Protocol, port: u16) {
        let (number, port) = (usize::from(protocol.0), usize::from(port));
        let port = if protocol.has_ports() { port } else { 0 };
        let ports = self.counts.get_mut(number);
        match ports.and_then(|ports| ports.get_mut(port)) {
            Some(count) => *count = count.saturating_add(1),
            None => self.first(protocol, port),
        }
    }

    /// Counts the first entry of a protocol.
    #[cold]
    fn first(&mut self, protocol: Protocol, port: usize) {
        let number = usize::from(protocol.0);
        if self.counts.len() <= number {
            self.counts.resize(number + 1, Vec::new());
        }
        let ports = if protocol.has_ports() { 1 << 16 } else { 1 };
        if let Some(place) = self.counts.get_mut(number) {
            // zeros by calloc(3), which a resize would write
            *place = vec![0; ports];
            if let Some(count) = place.get_mut(port) {
                *count = 1;
            }
        }
    }

    /// Protocol, port and entries of all that have any.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Protocol, u16, u32)> {
        // neither index can be beyond its type
        let protocols = self.counts.iter().enumerate();
        protocols.flat_map(|(number, ports)| {
            let protocol = Protocol(number as u8);
            let ports = ports.iter().enumerate().filter(|(_, count)| **count > 0);
            ports.map(move |(port, count)| (protocol, port as u16, *count))
        })
    }
}
