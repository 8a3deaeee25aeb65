//! The addresses of a host: recorded files of two kernels, broken ones, and the kernel this runs on.

use std::net::IpAddr;

use crate::common::ProcRoot;
use crate::common::programs::{printed, program};
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
    printed(program("mkfifo").arg(fifo));
    std::os::unix::fs::symlink("/dev/zero", root.join(IF_INET6)).unwrap();
    assert!(addresses(Some(root.path())).is_err());
}

mod netns {
    use std::net::IpAddr;
    use std::path::Path;

    use super::{BROADCAST, OWN_V4, OWN_V6, addresses, ips};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::loopback_up;
    use crate::common::programs::{printed_for, program};

    /// Runs commands of ip, one a line.
    fn ip(lines: &str) {
        printed_for(lines, program("ip").args(["-batch", "-"]));
    }

    #[test]
    fn the_loopback_address_is_this_hosts_own() {
        inside!(Namespaces::Network);
        loopback_up();
        let got = addresses(None).unwrap();
        let loopback = [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()];
        assert_eq!(got.own, loopback);
    }

    #[test]
    fn the_set_is_what_was_added() {
        inside!(Namespaces::Network);
        ip("link set lo up
            link add veth0 type veth peer name veth1
            link set dev veth0 addrgenmode none
            link set dev veth1 addrgenmode none
            addr add 192.0.2.7/24 brd + dev veth0
            addr add 192.0.2.8/24 dev veth0
            addr add 198.51.100.1/31 dev veth0
            addr add 203.0.113.9 peer 203.0.113.10 dev veth1
            addr add 127.0.0.53/32 dev lo
            addr add 2001:db8::7/64 dev veth0 nodad
            addr add fe80::1/64 dev veth0 nodad
            link set veth0 up
            link set veth1 up");
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
        inside!(Namespaces::Network);
        let many: String = (1..=250)
            .map(|i| format!("addr add 2001:db8::{i}/64 dev veth1 nodad\n"))
            .collect();
        let lines = "link add veth0 type veth peer name veth1
            addr add 10.1.0.1/16 brd 10.255.255.255 dev veth0
            addr add 10.1.0.2/16 dev veth0
            addr add 10.9.0.1 peer 10.9.0.2/24 dev veth1\n";
        ip(&format!("{lines}{many}"));
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
        inside!(Namespaces::Network);
        let got = addresses(None).unwrap();
        assert_eq!((got.own, got.broadcast), (Vec::new(), Vec::new()));
        // fib_trie is empty here, if_inet6 too
        let files = addresses(Some(Path::new("/proc")));
        assert!(files.is_err() || files.is_ok_and(|files| files.own.is_empty()));
    }
}
