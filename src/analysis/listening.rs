//! The sockets of this host that wait for others to open a connection.
//!
//! An entry that the kernel made in the middle of a connection, after the table was flushed or the entry had expired,
//! has its original direction from the side that sent first (nf_conntrack_tcp_loose). If that was a server of this
//! host, the entry looks as if the server had opened a connection to the client's port.

use crate::model::address::Address;
use crate::model::conntrack::{Entry, Protocol, SocketAddress};
use crate::model::local_addresses::LocalAddresses;

/// Ports from here on are those of clients: Linux takes them from 32768 on, IANA names those from 49152 on.
const CLIENT_PORTS: u16 = 32_768;

/// The addresses and ports on which sockets of this host wait: of TCP those that listen, of UDP the unconnected ones
/// whose port was chosen and not given by the kernel.
#[derive(Debug, Default)]
pub struct Listening {
    /// The ports, of both protocols: most entries have another one.
    ports: PortSet,
    /// Sorted.
    sides: Vec<(Protocol, SocketAddress)>,
}

impl Listening {
    /// By the local end of each socket; an unspecified address stands for every address of its family, that of IPv6
    /// for those of IPv4 too.
    pub fn new(sockets: impl IntoIterator<Item = (Protocol, SocketAddress)>) -> Self {
        let mut all = Self::default();
        for (protocol, (address, port)) in sockets {
            all.ports.add(port);
            all.sides.push((protocol, (address, port)));
        }
        all.sides.sort_unstable();
        all
    }

    /// True if a socket waits there.
    fn has(&self, protocol: Protocol, (address, port): SocketAddress) -> bool {
        let any_v4 = Address::from([0; 4]);
        let any = Address::from([0; 16]);
        let bound = [
            Some(address),
            Some(any),
            address.is_ipv4().then_some(any_v4),
        ];
        bound.into_iter().flatten().any(|bound| {
            let side = (protocol, (bound, port));
            self.sides.binary_search(&side).is_ok()
        })
    }

    /// True if the original direction of the entry is that of a server of this host, so that the far side opened the
    /// connection.
    #[inline]
    pub(crate) fn is_reversed(&self, entry: &Entry, own: &LocalAddresses) -> bool {
        self.ports.has(entry.original.source_port) && self.was_picked_up(entry, own)
    }

    #[cold]
    fn was_picked_up(&self, entry: &Entry, own: &LocalAddresses) -> bool {
        let (from, to) = (entry.original.from(), entry.original.to());
        // an unconnected socket of UDP may also be a client
        let by_a_client = entry.protocol != Protocol::UDP || to.1 >= CLIENT_PORTS;
        by_a_client
            && !entry.shows_who_opened_it()
            && own.contains(from.0)
            && self.has(entry.protocol, from)
            // both ends are servers of this host
            && !(own.contains(to.0) && self.has(entry.protocol, to))
    }
}

/// A set of ports.
#[derive(Debug)]
struct PortSet(Box<[u64; 1024]>);

impl Default for PortSet {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl PortSet {
    fn add(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port / 64)) {
            *word |= 1 << (port % 64);
        }
    }

    fn has(&self, port: u16) -> bool {
        let word = self.0.get(usize::from(port / 64));
        word.is_some_and(|word| word >> (port % 64) & 1 == 1)
    }
}
