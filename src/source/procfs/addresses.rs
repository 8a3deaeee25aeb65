//! The addresses of this host: every interface's, IPv4 and IPv6.
//!
//! Of the running kernel by getifaddrs(3), which asks rtnetlink for the addresses alone. net/fib_trie would list every
//! route too, and a router may have a million of them. Of another procfs there are only the files: fib_trie
//! (net/ipv4/fib_trie.c, `fib_trie_seq_show`) and if_inet6 (net/ipv6/addrconf.c, `if6_seq_show`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

use crate::model::error::ReadError;
use crate::model::text::clean;
use crate::source::file;

/// Where the running kernel tells of itself.
const LIVE: &str = "/proc";
const FIB_TRIE: &str = "net/fib_trie";
const IF_INET6: &str = "net/if_inet6";

/// The routes of a router with a quarter of the Internet's; a file beyond this is not read.
const FIB_TRIE_MAX: usize = 32 << 20;
/// Some ten thousand addresses.
const IF_INET6_MAX: usize = 1 << 20;

/// What is this host's own; sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Of its interfaces, up or down.
    pub own: Vec<IpAddr>,
    /// Their IPv4 networks' broadcast addresses, those of the loopback network too.
    pub broadcast: Vec<IpAddr>,
}

impl Addresses {
    fn of(own: Vec<IpAddr>, broadcast: Vec<IpAddr>) -> Self {
        let set = |mut list: Vec<IpAddr>| {
            list.sort_unstable();
            list.dedup();
            list
        };
        Self {
            own: set(own),
            broadcast: set(broadcast),
        }
    }
}

/// Reads the addresses of this network namespace, or those that the files below another procfs tell.
///
/// # Errors
/// When neither file can be read: of the running kernel with the reason of rtnetlink, below another procfs with that of
/// the IPv4 one. A host without IPv6 has no if_inet6, which is no error.
pub fn addresses(proc_root: Option<&Path>) -> Result<Addresses, ReadError> {
    match proc_root {
        // a sandbox without AF_NETLINK, or no descriptor left for a socket
        None => live().or_else(|error| below(Path::new(LIVE)).map_err(|_| error)),
        Some(proc_root) => below(proc_root),
    }
}

fn live() -> Result<Addresses, ReadError> {
    let interfaces = getifaddrs().map_err(|error| ReadError::Io {
        path: "the list of the interfaces' addresses".to_owned(),
        reason: clean(error.desc()),
    })?;
    let (mut own, mut broadcast) = (Vec::new(), Vec::new());
    for interface in interfaces {
        let Some(address) = &interface.address else {
            continue;
        };
        if let Some(v6) = address.as_sockaddr_in6() {
            own.push(IpAddr::V6(v6.ip()));
        } else if let Some(v4) = address.as_sockaddr_in() {
            own.push(IpAddr::V4(v4.ip()));
            broadcast.extend(broadcasts(v4.ip(), &interface).map(IpAddr::V4));
        }
    }
    Ok(Addresses::of(own, broadcast))
}

/// The last address of the network, which the kernel takes for a broadcast address whether it was configured or not
/// (`fib_add_ifaddr` in net/ipv4/fib_frontend.c), and the one that was configured.
///
/// Where none was, the C library has this host's address or its peer's in that place, so only one that could be the
/// last address of a network is believed.
fn broadcasts(
    address: Ipv4Addr,
    interface: &InterfaceAddress,
) -> impl Iterator<Item = Ipv4Addr> + use<> {
    let v4 = |of: &Option<SockaddrStorage>| {
        of.as_ref()
            .and_then(|storage| storage.as_sockaddr_in())
            .map(|v4| u32::from(v4.ip()))
    };
    // a network of one or two addresses has none (RFC 3021)
    let hosts = v4(&interface.netmask)
        .filter(|mask| mask.leading_ones() < 31)
        .map(|mask| !mask);
    let last = hosts.map(|hosts| u32::from(address) | hosts);
    let configured = v4(&interface.broadcast).filter(|ip| hosts.is_some_and(|h| ip & h == h));
    last.into_iter().chain(configured).map(Ipv4Addr::from)
}

fn below(proc_root: &Path) -> Result<Addresses, ReadError> {
    let text = |name, limit| {
        file::read(&proc_root.join(name), limit)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let v4 = text(FIB_TRIE, FIB_TRIE_MAX);
    // empty where no interface has an IPv6 address
    let v6 = match text(IF_INET6, IF_INET6_MAX) {
        Err(ReadError::Empty { .. }) => Ok(String::new()),
        other => other,
    };
    let (v4, v6) = match (v4, v6) {
        (Err(error), Err(_)) => return Err(error),
        (v4, v6) => (v4.unwrap_or_default(), v6.unwrap_or_default()),
    };
    let Addresses { mut own, broadcast } = parse_fib_trie(&v4);
    own.extend(parse_if_inet6(&v6).into_iter().map(IpAddr::V6));
    Ok(Addresses::of(own, broadcast))
}

/// The addresses in net/fib_trie: a leaf's line (`|-- 192.0.2.2`) is followed by one for each of its routes
/// (`/32 host LOCAL`). Both tables show the same trie unless a rule of ip-rule(8) parts them.
pub fn parse_fib_trie(text: &str) -> Addresses {
    let (mut own, mut broadcast) = (Vec::new(), Vec::new());
    let mut leaf = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("|--"), Some(address), _) => leaf = address.parse::<Ipv4Addr>().ok(),
            (Some("/32"), Some("host"), Some("LOCAL")) => own.extend(leaf.map(IpAddr::V4)),
            (Some("/32"), Some("link"), Some("BROADCAST")) => {
                broadcast.extend(leaf.map(IpAddr::V4));
            }
            // another route of the same leaf
            (Some(word), ..) if word.starts_with('/') => {}
            // an inner node, a table's name
            _ => leaf = None,
        }
    }
    Addresses::of(own, broadcast)
}

/// The addresses in net/if_inet6: 32 hexadecimal digits, then index, prefix length, scope, flags and name of the
/// interface. Lines that begin otherwise are passed over.
pub fn parse_if_inet6(text: &str) -> Vec<Ipv6Addr> {
    text.lines()
        .filter_map(|line| line.split_ascii_whitespace().next())
        .filter(|word| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit()))
        .filter_map(|word| u128::from_str_radix(word, 16).ok())
        .map(Ipv6Addr::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_leaf_may_have_several_routes_and_only_those_of_this_host_count() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /32 link BROADCAST\n        /8 link UNICAST\n     |-- 10.0.0.1\n        /32 link UNICAST\n        /32 host LOCAL tos=8\n     |-- 10.0.0.2\n        /31 host LOCAL\n        /32 host UNICAST\n";
        let got = parse_fib_trie(text);
        assert_eq!(got.own, ips(&["10.0.0.1"]));
        assert_eq!(got.broadcast, ips(&["10.0.0.0"]));
    }

    #[test]
    fn a_route_without_its_leaf_belongs_to_nobody() {
        for text in [
            "/32 host LOCAL\n",
            "|-- 10.0.0.1\n+-- 10.0.0.0/8 1 0 0\n/32 host LOCAL\n",
            "|-- 10.0.0.1\nLocal:\n/32 host LOCAL\n",
            "|-- 10.0.0.1.2\n/32 host LOCAL\n",
            "|-- 10.0.0.1\n|-- fe80::1\n/32 host LOCAL\n",
        ] {
            assert_eq!(parse_fib_trie(text), Addresses::default(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_is_32_digits() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000007 02 40 00 80 |x;y\n2001db8 02 40 00 80 eth0\n+0010db8000000000000000000000007 02\nx0010db8000000000000000000000007 02\n\n";
        assert_eq!(
            parse_if_inet6(text),
            [
                "::1".parse::<Ipv6Addr>().unwrap(),
                "2001:db8::7".parse().unwrap()
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(\\|-- |/32 |host |LOCAL|link |BROADCAST|[0-9a-f.:]{0,34}|\n|.){0,40}") {
            let _ = (parse_fib_trie(&text), parse_if_inet6(&text));
        }
    }
}
