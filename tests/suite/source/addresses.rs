//! The addresses of a host: recorded files of two kernels, broken ones, and the kernel this runs on.

use std::net::IpAddr;

use crate::common::ProcRoot;
use check_conntrack::model::error::ReadError;
use check_conntrack::source::procfs::addresses::{addresses, parse_fib_trie, parse_if_inet6};

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

const FIB_TRIE: &str = "net/fib_trie";
const IF_INET6: &str = "net/if_inet6";

const FIB_TRIE_6_18: &str = include_str!("../../addresses/fib_trie-6.18");
const IF_INET6_6_18: &str = include_str!("../../addresses/if_inet6-6.18");
const FIB_TRIE_5_10: &str = include_str!("../../addresses/fib_trie-5.10");
const IF_INET6_5_10: &str = include_str!("../../addresses/if_inet6-5.10");

const OWN_V4: [&str; 6] = [
    "127.0.0.1",
    "127.0.0.53",
    "192.0.2.7",
    "192.0.2.8",
    "198.51.100.1",
    "203.0.113.9",
];
const OWN_V6: [&str; 3] = ["::1", "2001:db8::7", "fe80::1"];
const BROADCAST: [&str; 2] = ["127.255.255.255", "192.0.2.255"];

#[test]
fn recorded_files_have_what_was_configured() {
    // see tests/addresses/README.md
    let older = ["127.0.0.0", "127.255.255.255", "192.0.2.0", "192.0.2.255"];
    for (fib_trie, if_inet6, broadcast) in [
        (FIB_TRIE_6_18, IF_INET6_6_18, &BROADCAST[..]),
        (FIB_TRIE_5_10, IF_INET6_5_10, &older),
    ] {
        let parsed = parse_fib_trie(fib_trie);
        assert_eq!(parsed.own, ips(&OWN_V4));
        assert_eq!(parsed.broadcast, ips(broadcast));
        assert_eq!(parse_if_inet6(if_inet6).len(), 3);
        let root = ProcRoot::empty();
        root.file(FIB_TRIE, fib_trie).file(IF_INET6, if_inet6);
        let got = addresses(Some(root.path())).unwrap();
        assert_eq!(got.own, ips(&[&OWN_V4[..], &OWN_V6].concat()));
        assert_eq!(got.broadcast, ips(broadcast));
    }
}

#[test]
fn a_host_with_one_protocol_is_no_error() {
    let root = ProcRoot::empty();
    root.file(FIB_TRIE, FIB_TRIE_6_18);
    assert_eq!(addresses(Some(root.path())).unwrap().own, ips(&OWN_V4));
    // IPv6 in the kernel, on no interface
    root.file(IF_INET6, "");
    assert_eq!(addresses(Some(root.path())).unwrap().own, ips(&OWN_V4));
    root.file(IF_INET6, IF_INET6_6_18).remove(FIB_TRIE);
    let got = addresses(Some(root.path())).unwrap();
    assert_eq!((got.own, got.broadcast), (ips(&OWN_V6), Vec::new()));
}

#[test]
fn an_error_names_the_file_when_neither_can_be_read() {
    let root = ProcRoot::empty();
    let error = addresses(Some(root.path())).unwrap_err();
    assert!(matches!(&error, ReadError::Missing { path } if path.ends_with(FIB_TRIE)));
    std::fs::create_dir_all(root.join(FIB_TRIE)).unwrap();
    let error = addresses(Some(root.path())).unwrap_err();
    assert!(matches!(&error, ReadError::WrongKind { path, .. } if path.ends_with(FIB_TRIE)));
}

#[test]
fn nothing_waits_for_a_fifo_and_nothing_is_read_without_end() {
    let root = ProcRoot::empty();
    let fifo = root.join(FIB_TRIE);
    crate::common::sh("mkfifo -- \"$1\"", &[fifo.as_os_str()]);
    std::os::unix::fs::symlink("/dev/zero", root.join(IF_INET6)).unwrap();
    assert!(addresses(Some(root.path())).is_err());
}

#[test]
fn the_loopback_address_is_this_hosts_own() {
    let got = addresses(None).unwrap();
    let mut sorted = got.own.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(got.own, sorted);
    // a host without any configured interface is a sandbox, not a place for tests
    assert!(got.own.contains(&IpAddr::from([127, 0, 0, 1])), "{got:?}");
}

mod netns {
    use std::path::Path;

    use super::{BROADCAST, OWN_V4, OWN_V6, addresses, ips};
    use crate::common::{again_in_namespaces, needs};

    /// Runs a test below again, in a network namespace that the script has set up.
    fn again_in_namespace(test: &str, script: &str) {
        needs("ip", "iproute2");
        again_in_namespaces("-Urn", script, &crate::common::here(module_path!(), test));
    }

    #[test]
    fn the_set_is_what_was_added() {
        again_in_namespace(
            "added",
            "ip link set lo up
            ip link add veth0 type veth peer name veth1
            ip link set dev veth0 addrgenmode none; ip link set dev veth1 addrgenmode none
            ip addr add 192.0.2.7/24 brd + dev veth0; ip addr add 192.0.2.8/24 dev veth0
            ip addr add 198.51.100.1/31 dev veth0
            ip addr add 203.0.113.9 peer 203.0.113.10 dev veth1
            ip addr add 127.0.0.53/32 dev lo
            ip -6 addr add 2001:db8::7/64 dev veth0 nodad; ip -6 addr add fe80::1/64 dev veth0 nodad
            ip link set veth0 up; ip link set veth1 up",
        );
    }

    #[test]
    #[ignore = "run in a namespace of its own by the test above"]
    fn added() {
        let live = addresses(None).unwrap();
        assert_eq!(live.own, ips(&[&OWN_V4[..], &OWN_V6].concat()));
        assert_eq!(live.broadcast, ips(&BROADCAST));
        // older kernels, 5.10 for one, list more broadcast addresses in the file
        let files = addresses(Some(Path::new("/proc"))).unwrap();
        assert_eq!(files.own, live.own);
        assert!(live.broadcast.iter().all(|ip| files.broadcast.contains(ip)));
    }

    #[test]
    fn an_unusual_broadcast_address_and_interfaces_that_are_down_count() {
        again_in_namespace(
            "unusual",
            "ip link add veth0 type veth peer name veth1
            ip addr add 10.1.0.1/16 brd 10.255.255.255 dev veth0
            ip addr add 10.1.0.2/16 dev veth0
            ip addr add 10.9.0.1 peer 10.9.0.2/24 dev veth1
            for i in $(seq 1 250); do echo addr add 2001:db8::$i/64 dev veth1 nodad; done | ip -6 -batch -",
        );
    }

    #[test]
    #[ignore = "run in a namespace of its own by the test above"]
    fn unusual() {
        let got = addresses(None).unwrap();
        let v4: Vec<_> = got.own.iter().copied().filter(|ip| ip.is_ipv4()).collect();
        assert_eq!(v4, ips(&["10.1.0.1", "10.1.0.2", "10.9.0.1"]));
        assert_eq!(got.own.len(), 3 + 250);
        // the C library has the peer, 10.9.0.2, where a broadcast address would be
        assert_eq!(
            got.broadcast,
            ips(&["10.1.255.255", "10.9.0.255", "10.255.255.255"])
        );
    }

    #[test]
    fn a_namespace_without_addresses_has_none() {
        again_in_namespace("bare", ":");
    }

    #[test]
    #[ignore = "run in a namespace of its own by the test above"]
    fn bare() {
        let got = addresses(None).unwrap();
        assert_eq!((got.own, got.broadcast), (Vec::new(), Vec::new()));
        // fib_trie is empty here, if_inet6 too
        let files = addresses(Some(Path::new("/proc")));
        assert!(files.is_err() || files.is_ok_and(|files| files.own.is_empty()));
    }
}
