//! The addresses of a host from the files below a procfs: net/fib_trie (`fib_trie_seq_show` in net/ipv4/fib_trie.c),
//! net/if_inet6 (`if6_seq_show` in net/ipv6/addrconf.c) and net/ipv6_route (`ipv6_route_native_seq_show` in
//! net/ipv6/ip6_fib.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use crate::model::error::ReadError;
use crate::source::addresses::Addresses;
use crate::source::file;

const FIB_TRIE: &str = "net/fib_trie";
const IF_INET6: &str = "net/if_inet6";
const IPV6_ROUTE: &str = "net/ipv6_route";

/// The longest lines are those of ipv6_route, with 150 bytes.
const LONGEST_LINE: usize = 512;

// flags of a route (include/uapi/linux/ipv6_route.h)
const RTF_ANYCAST: u32 = 0x0010_0000;
const RTF_LOCAL: u32 = 0x8000_0000;

/// Reads the addresses that the files below `directory` show until `deadline`. A host without IPv6 has no if_inet6 and
/// no ipv6_route.
pub(in crate::source) fn read(directory: &Path, deadline: Instant) -> Addresses {
    let mut found = Addresses::default();
    let mut trie = FibTrie::default();
    let lines = |name, parse: &mut dyn FnMut(&str)| {
        file::lines(
            &directory.join(name),
            LONGEST_LINE,
            deadline,
            &mut |line: &[u8]| {
                // the kernel writes ASCII, but for the names of interfaces
                parse(&String::from_utf8_lossy(line));
                ControlFlow::Continue(())
            },
        )
    };
    let results = [
        lines(FIB_TRIE, &mut |line| trie.add_line(line, &mut found)),
        lines(IF_INET6, &mut |line| {
            found.own.extend(parse_if_inet6(line).map(IpAddr::V6));
        }),
        lines(IPV6_ROUTE, &mut |line| add_ipv6_route(line, &mut found)),
    ];
    let is_missing =
        |result: &Result<(), ReadError>| result.as_ref().is_err_and(ReadError::is_missing);
    let [v4, v6, _] = &results;
    let neither = is_missing(v4) && is_missing(v6);
    let mut failed = results.into_iter().filter_map(Result::err);
    found.incomplete = failed.find(|error| neither || !error.is_missing());
    found
}

/// The parser of net/fib_trie. The line of a leaf (`|-- 192.0.2.2`) is followed by one for each route to it
/// (`/32 host LOCAL`). The tables `main` and `local` show the same trie unless a rule of ip-rule(8) parts them.
#[derive(Debug, Default)]
struct FibTrie {
    leaf: Option<Ipv4Addr>,
    /// In a table other than these two, which a VRF has for its interfaces, and TPROXY for marked packets.
    other_table: bool,
}

impl FibTrie {
    fn add_line(&mut self, line: &str, found: &mut Addresses) {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("|--"), Some(address), _) => self.leaf = address.parse().ok(),
            (Some(length), Some(scope), Some(kind)) if length.starts_with('/') => {
                let to = self.leaf.map(IpAddr::V4);
                let length = length.strip_prefix('/').and_then(|n| n.parse::<u8>().ok());
                let (Some(to), Some(length @ ..=32)) = (to, length) else {
                    return;
                };
                match (scope, kind) {
                    ("host", "LOCAL") if length == 32 || !self.other_table => {
                        found.add_route(to, length, true);
                    }
                    ("link", "BROADCAST") => found.add_route(to, length, false),
                    _ => {}
                }
            }
            // a route of the same leaf that is cut short
            (Some(word), ..) if word.starts_with('/') => {}
            // an inner node, the name of a table
            (Some(word), ..) => {
                self.leaf = None;
                if word != "+--" {
                    self.other_table = word == "Id";
                }
            }
            _ => self.leaf = None,
        }
    }
}

/// Parses net/fib_trie as a whole.
pub fn parse_fib_trie(text: &str) -> Addresses {
    let mut found = Addresses::default();
    let mut trie = FibTrie::default();
    for line in text.lines() {
        trie.add_line(line, &mut found);
    }
    found
}

/// Parses a line of net/if_inet6: 32 hexadecimal digits, then index, prefix length, scope, flags and name of the
/// interface. None if the line begins otherwise.
pub fn parse_if_inet6(line: &str) -> Option<Ipv6Addr> {
    let digits = line.split_ascii_whitespace().next()?;
    Some(Ipv6Addr::from(hexadecimal(digits, 32)?))
}

/// Adds the destination of a route in net/ipv6_route that is local or anycast: destination and its length, source and
/// its length, next hop, metric, two counters, flags, interface. Other lines are passed over.
pub fn add_ipv6_route(line: &str, found: &mut Addresses) {
    let words: Vec<&str> = line.split_ascii_whitespace().take(9).collect();
    let [to, length, _from, from_length, _, _, _, _, flags] = words.as_slice() else {
        return;
    };
    let parsed = || {
        let to = Ipv6Addr::from(hexadecimal(to, 32)?);
        let length = u8::try_from(hexadecimal(length, 2)?).ok()?;
        let flags = u32::try_from(hexadecimal(flags, 8)?).ok()?;
        Some((IpAddr::V6(to), length, flags))
    };
    let Some((to, length @ ..=128, flags)) = parsed() else {
        return;
    };
    if flags & (RTF_LOCAL | RTF_ANYCAST) != 0 && *from_length == "00" {
        found.add_route(to, length, flags & RTF_LOCAL != 0);
    }
}

/// A number of exactly so many hexadecimal digits.
fn hexadecimal(word: &str, digits: usize) -> Option<u128> {
    let fits = word.len() == digits && word.bytes().all(|b| b.is_ascii_hexdigit());
    if fits {
        u128::from_str_radix(word, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::prefix::Prefix;
    use proptest::prelude::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_leaf_may_have_several_routes_and_only_those_of_this_host_count() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /32 link BROADCAST\n        /8 link UNICAST\n     |-- 10.0.0.1\n        /32 link UNICAST\n        /32 host LOCAL tos=8\n     |-- 10.0.0.2\n        /31 host LOCAL\n        /32 host UNICAST\n";
        let got = parse_fib_trie(text);
        assert_eq!(got.own, ips(&["10.0.0.1"]));
        assert_eq!(got.networks, [Prefix::parse("10.0.0.2/31").unwrap()]);
        assert_eq!(got.received, ips(&["10.0.0.0"]));
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
    fn a_table_for_marked_packets_makes_no_network_own_and_a_default_route_none_at_all() {
        let text = "Id 100:\n  |-- 0.0.0.0\n     /0 host LOCAL\n  |-- 203.0.113.0\n     /24 host LOCAL\n  |-- 203.0.113.9\n     /32 host LOCAL\nMain:\n  |-- 0.0.0.0\n     /0 host LOCAL\nLocal:\n  |-- 203.0.114.0\n     /24 host LOCAL\n";
        let got = parse_fib_trie(text);
        // a VRF has a table of its own for the addresses of its interfaces
        assert_eq!(got.own, ips(&["203.0.113.9"]));
        assert_eq!(got.networks, [Prefix::parse("203.0.114.0/24").unwrap()]);
    }

    #[test]
    fn an_ipv6_address_is_32_digits() {
        for (line, address) in [
            (
                "00000000000000000000000000000001 01 80 10 80       lo",
                Some("::1"),
            ),
            (
                "20010db8000000000000000000000007 02 40 00 80 |x;y",
                Some("2001:db8::7"),
            ),
            ("2001db8 02 40 00 80 eth0", None),
            ("+0010db8000000000000000000000007 02", None),
            ("x0010db8000000000000000000000007 02", None),
            ("", None),
        ] {
            let address = address.map(|text| text.parse::<Ipv6Addr>().unwrap());
            assert_eq!(parse_if_inet6(line), address, "{line}");
        }
    }

    #[test]
    fn an_ipv6_route_counts_by_its_flags() {
        let line = |to: &str, length: &str, from: &str, flags: &str| {
            let zero = "0".repeat(32);
            format!("{to} {length} {zero} {from} {zero} 00000400 00000001 00000000 {flags} lo")
        };
        let to = "20010db8000500000000000000000000";
        let parsed = |line: String| {
            let mut found = Addresses::default();
            add_ipv6_route(&line, &mut found);
            found
        };
        let address: IpAddr = "2001:db8:5::".parse().unwrap();
        let own = parsed(line(to, "80", "00", "80200001"));
        assert_eq!((own.own, own.networks), (vec![address], vec![]));
        let network = parsed(line(to, "30", "00", "80000001"));
        assert_eq!(
            network.networks,
            [Prefix::parse("2001:db8:5::/48").unwrap()]
        );
        let anycast = parsed(line(to, "80", "00", "00300001"));
        assert_eq!((anycast.own, anycast.received), (vec![], vec![address]));
        for other in [
            line(to, "30", "00", "00000001"),
            line(to, "81", "00", "80000001"),
            line(to, "00", "00", "80000001"),
            line(to, "30", "40", "80000001"),
            line(to, "30", "00", "8000000"),
            line(to, "3", "00", "80000001"),
            line("20010db8", "30", "00", "80000001"),
            "80000001".to_owned(),
        ] {
            assert_eq!(parsed(other.clone()), Addresses::default(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(\\|-- |/32 |host |LOCAL|link |BROADCAST|[0-9a-f.:]{0,34} ?|\n|.){0,40}") {
            let _ = (parse_fib_trie(&text), parse_if_inet6(&text));
            add_ipv6_route(&text, &mut Addresses::default());
        }
    }
}
