//! The addresses of a host: recorded files of two kernels, broken ones, and the kernel this runs on.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::ProcRoot;
use crate::common::programs::{printed, program};
use check_conntrack::model::error::ReadError;
use check_conntrack::model::prefix::Prefix;
use check_conntrack::runtime::unsafe_calls::check_netlink_strictly;
use check_conntrack::source::addresses::{Addresses, Origin, addresses};
use check_conntrack::source::procfs::addresses::parse_if_inet6;

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

const FIB_TRIE: &str = "net/fib_trie";
const IF_INET6: &str = "net/if_inet6";
const IPV6_ROUTE: &str = "net/ipv6_route";

const FIB_TRIE_6_18: &str = include_str!("../../addresses/fib_trie-6.18");
const IF_INET6_6_18: &str = include_str!("../../addresses/if_inet6-6.18");
const FIB_TRIE_5_10: &str = include_str!("../../addresses/fib_trie-5.10");
const IF_INET6_5_10: &str = include_str!("../../addresses/if_inet6-5.10");

const LOCAL_ROUTES_6_18: &str = include_str!("../../addresses/local-routes/fib_trie-6.18");
const IPV6_ROUTE_6_18: &str = include_str!("../../addresses/local-routes/ipv6_route-6.18");
const LOCAL_ROUTES_5_10: &str = include_str!("../../addresses/local-routes/fib_trie-5.10");
const IPV6_ROUTE_5_10: &str = include_str!("../../addresses/local-routes/ipv6_route-5.10");

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

fn prefixes(list: &[&str]) -> Vec<Prefix> {
    list.iter()
        .map(|text| Prefix::parse(text).unwrap())
        .collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The networks may be repeated, by the tables `main` and `local` of fib_trie for example.
fn once(mut found: Addresses) -> Addresses {
    let mut seen = Vec::new();
    found.networks.retain(|network| {
        let new = !seen.contains(network);
        seen.push(*network);
        new
    });
    found
}

fn of_kernel() -> Addresses {
    once(addresses(Origin::Kernel(check_netlink_strictly), soon()))
}

fn of_files(root: &Path) -> Addresses {
    once(addresses(Origin::Files(root), soon()))
}

#[test]
fn recorded_files_have_what_was_configured() {
    // see tests/addresses/README.md
    let older = ["127.0.0.0", "127.255.255.255", "192.0.2.0", "192.0.2.255"];
    for (fib_trie, if_inet6, received) in [
        (FIB_TRIE_6_18, IF_INET6_6_18, &BROADCAST[..]),
        (FIB_TRIE_5_10, IF_INET6_5_10, &older),
    ] {
        assert_eq!(if_inet6.lines().filter_map(parse_if_inet6).count(), 3);
        let root = ProcRoot::empty();
        root.file(FIB_TRIE, fib_trie).file(IF_INET6, if_inet6);
        let got = of_files(root.path());
        assert_eq!(got.own, ips(&[&OWN_V4[..], &OWN_V6].concat()));
        assert_eq!(got.networks, prefixes(&["127.0.0.0/8", "192.0.2.128/25"]));
        assert_eq!(got.received, ips(received));
        assert_eq!(got.incomplete, None);
    }
}

#[test]
fn recorded_local_routes_are_told_from_those_for_marked_packets() {
    for (fib_trie, ipv6_route) in [
        (LOCAL_ROUTES_6_18, IPV6_ROUTE_6_18),
        (LOCAL_ROUTES_5_10, IPV6_ROUTE_5_10),
    ] {
        let root = ProcRoot::empty();
        root.file(FIB_TRIE, fib_trie).file(IPV6_ROUTE, ipv6_route);
        let got = of_files(root.path());
        let own = [
            "192.0.2.7",
            "203.0.113.80",
            "::1",
            "2001:db8::7",
            "2001:db8:80::1",
        ];
        assert!(ips(&own).iter().all(|ip| got.own.contains(ip)), "{got:?}");
        let networks = ["127.0.0.0/8", "203.0.114.0/24", "2001:db8:5::/48"];
        assert_eq!(got.networks, prefixes(&networks));
    }
}

#[test]
fn a_host_with_one_protocol_is_no_error() {
    let root = ProcRoot::empty();
    root.file(FIB_TRIE, FIB_TRIE_6_18);
    let only_v4 = of_files(root.path());
    assert_eq!((only_v4.own, only_v4.incomplete), (ips(&OWN_V4), None));
    // IPv6 in the kernel, on no interface
    root.file(IF_INET6, "").file(IPV6_ROUTE, "");
    let no_v6 = of_files(root.path());
    assert_eq!((no_v6.own, no_v6.incomplete), (ips(&OWN_V4), None));
    root.file(IF_INET6, IF_INET6_6_18).remove(FIB_TRIE);
    let only_v6 = of_files(root.path());
    assert_eq!((only_v6.own, only_v6.incomplete), (ips(&OWN_V6), None));
    assert_eq!(
        (only_v6.networks, only_v6.received),
        (Vec::new(), Vec::new())
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_others_count() {
    let root = ProcRoot::empty();
    let neither = of_files(root.path()).incomplete.unwrap();
    let says = |error: &ReadError, words| {
        let sentence = error.to_string();
        assert!(
            sentence.ends_with(&format!("/{FIB_TRIE}{words}")),
            "{sentence}"
        );
    };
    says(&neither, " does not exist");
    std::fs::create_dir_all(root.join(FIB_TRIE)).unwrap();
    root.file(IF_INET6, IF_INET6_6_18);
    let got = of_files(root.path());
    assert_eq!(got.own, ips(&OWN_V6));
    says(
        &got.incomplete.unwrap(),
        " is a directory, not a kernel file",
    );
}

#[test]
fn nothing_waits_for_a_fifo_and_nothing_is_read_without_end() {
    let root = ProcRoot::empty();
    let fifo = root.join(FIB_TRIE);
    printed(program("mkfifo").arg(fifo));
    std::os::unix::fs::symlink("/dev/zero", root.join(IF_INET6)).unwrap();
    assert!(of_files(root.path()).incomplete.is_some());
}

#[test]
fn addresses_that_were_not_read_in_time_are_known_to_be_missing() {
    let root = ProcRoot::empty();
    root.file(FIB_TRIE, FIB_TRIE_6_18);
    let late = addresses(Origin::Files(root.path()), Instant::now());
    assert_eq!(late.incomplete, Some(ReadError::NotReached));
}

#[test]
fn the_largest_endpoint_is_not_judged_without_the_own_addresses() {
    let entry = "ipv4 2 tcp 6 100 ESTABLISHED src=198.51.100.9 dst=192.0.2.7 sport=1025 dport=443 src=192.0.2.7 dst=198.51.100.9 sport=443 dport=1025 [ASSURED] use=1\n";
    let root = ProcRoot::tracking("2\n", "1000\n");
    root.file("net/nf_conntrack", entry.repeat(2));
    let judged = ["-c", "endpoint=1"];
    let not_known = root.answer(&judged);
    assert_eq!(not_known.code, 3, "{}", not_known.text);
    assert!(
        not_known.first_line().contains("endpoint not measured: ")
            && not_known.first_line().contains(FIB_TRIE),
        "{}",
        not_known.text
    );
    assert_eq!(not_known.value("endpoint"), None);
    // a class has no far side
    let class = root.answer(&["-c", "established=1"]);
    assert_eq!(class.code, 2, "{}", class.text);
    root.file(FIB_TRIE, FIB_TRIE_6_18);
    assert_eq!(root.answer(&judged).code, 2, "known, and above its range");
}

mod netns {
    use std::net::IpAddr;
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;

    use super::{BROADCAST, FIB_TRIE, IF_INET6, IPV6_ROUTE, OWN_V4, OWN_V6};
    use super::{ips, of_files, of_kernel, prefixes};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::loopback_up;
    use crate::common::plugin::check_after;
    use crate::common::programs::{printed_for, program, run};
    use crate::common::{Answer, ProcRoot, answer, conntrack};
    use check_conntrack::source::addresses::Addresses;

    /// Runs commands of ip, one a line.
    fn ip(lines: &str) {
        printed_for(lines, program("ip").args(["-batch", "-"]));
    }

    #[test]
    fn the_loopback_address_is_this_hosts_own() {
        inside!(Namespaces::Network);
        loopback_up();
        let loopback = [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()];
        assert_eq!(of_kernel().own, loopback);
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
        let live = of_kernel();
        assert_eq!(live.own, ips(&[&OWN_V4[..], &OWN_V6].concat()));
        assert_eq!(live.networks, prefixes(&["127.0.0.0/8"]));
        assert_eq!(live.received, ips(&BROADCAST));
        assert_eq!(live.incomplete, None);
        // older kernels, 5.10 for one, list more broadcast addresses in the file
        let files = of_files(Path::new("/proc"));
        assert_eq!((files.own, files.networks), (live.own, live.networks));
        assert!(live.received.iter().all(|ip| files.received.contains(ip)));
    }

    #[test]
    fn unusual_addresses_count_and_those_of_interfaces_that_are_down_too() {
        inside!(Namespaces::Network);
        let many: String = (1..=250)
            .map(|i| format!("addr add 2001:db8::{i}/64 dev veth1 nodad\n"))
            .collect();
        let lines = "link add veth0 type veth peer name veth1
            addr add 10.1.0.1/16 brd 10.255.255.255 dev veth0
            addr add 10.1.0.2/16 dev veth0
            addr add 10.9.0.1 peer 10.9.0.2/24 dev veth1
            addr add 2001:db8:1::9 peer 2001:db8:1::a dev veth1 nodad\n";
        ip(&format!("{lines}{many}"));
        let got = of_kernel();
        let v4: Vec<_> = got.own.iter().copied().filter(|ip| ip.is_ipv4()).collect();
        assert_eq!(v4, ips(&["10.1.0.1", "10.1.0.2", "10.9.0.1"]));
        assert_eq!(got.own.len(), 3 + 1 + 250);
        assert!(got.own.contains(&ips(&["2001:db8:1::9"])[0]), "{got:?}");
        assert_eq!(
            got.received,
            ips(&["10.1.255.255", "10.9.0.255", "10.255.255.255"])
        );
    }

    #[test]
    fn a_namespace_without_addresses_has_none() {
        inside!(Namespaces::Network);
        let nothing = Addresses::default();
        assert_eq!(of_kernel(), nothing);
        // fib_trie is empty here, if_inet6 too
        assert_eq!(of_files(Path::new("/proc")), nothing);
    }

    /// A load balancer's backend: service addresses that no interface has, one of them a network, in both families; and a
    /// transparent proxy, whose local default route is for marked packets. That rule parts the tables of IPv4.
    fn service_addresses() {
        ip("link set lo up
            link add veth0 type veth peer name veth1
            link set dev veth0 addrgenmode none
            link set dev veth1 addrgenmode none
            addr add 192.0.2.7/24 dev veth0
            addr add 2001:db8::7/64 dev veth0 nodad
            link set veth0 up
            link set veth1 up
            route add local 203.0.113.80/32 dev veth0
            route add local 203.0.114.0/24 dev lo
            route add local 2001:db8:80::1 dev lo
            route add local 2001:db8:5::/48 dev lo
            rule add fwmark 1 lookup 100
            route add local default dev lo table 100
            route add local ::/0 dev lo table 100");
        run("ip -6 rule add fwmark 1 lookup 100");
    }

    /// An entry of each of these clients to each of the service addresses, and one that is forwarded.
    fn clients() -> String {
        let mut pairs = Vec::new();
        for service in ["203.0.113.80", "203.0.114.9"] {
            for client in ["198.51.100.1", "198.51.100.2"] {
                pairs.extend([(client, service); 2]);
            }
        }
        pairs.extend(["2001:db8:80::1", "2001:db8:5::9"].map(|to| ("2001:db8:ff::1", to)));
        pairs.push(("198.51.100.3", "203.0.113.81"));
        let entry = |(number, (client, service))| {
            let port = 1024 + number;
            format!(
                "-A -p tcp -s {client} -d {service} --sport {port} --dport 443 --state ESTABLISHED -t 600 -u SEEN_REPLY,ASSURED\n"
            )
        };
        pairs.into_iter().enumerate().map(entry).collect()
    }

    fn endpoints(got: &Answer) -> Vec<String> {
        let lines = got.text.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(". ")?.1.split_once(" entr"))
            .map(|(endpoint, _)| endpoint.to_owned())
            .collect()
    }

    #[test]
    fn entries_to_an_address_of_a_local_route_are_inbound() {
        inside!(Namespaces::Network);
        service_addresses();
        conntrack::insert(&clients());
        let arguments = ["--top", "9", "--aggregate", "32,128"];
        let expected = [
            "from 198.51.100.1: 4",
            "from 198.51.100.2: 4",
            "from 2001:db8:ff::1: 2",
            "from 198.51.100.3 forwarded: 1",
            "to 203.0.113.81:443/tcp forwarded: 1",
        ];
        // whatever other namespaces of this host hold
        let dumped = [&arguments[..], &["--source", "netlink"]].concat();
        let live = answer(&dumped);
        assert_eq!(endpoints(&live), expected, "{}", live.text);

        // the same files and the same table below another proc root
        let root = ProcRoot::tracking("11\n", "1000\n");
        for name in [FIB_TRIE, IF_INET6, IPV6_ROUTE] {
            root.file(name, std::fs::read(Path::new("/proc").join(name)).unwrap());
        }
        root.file("net/nf_conntrack", conntrack::list_by(&[]));
        let files = root.answer(&arguments);
        assert_eq!(endpoints(&files), expected, "{}", files.text);

        // before 4.20 the kernel sends the routes of all tables
        let strace = ["strace", "-qq", "-o", "/dev/null"];
        let old_kernel = ["-e", "inject=setsockopt:error=ENOPROTOOPT"];
        let words = [&strace[..], &old_kernel].concat();
        let unfiltered = Answer::of(check_after(&words, &dumped).output().unwrap());
        assert_eq!(endpoints(&unfiltered), expected, "{}", unfiltered.text);
    }

    #[test]
    fn connections_to_an_address_of_a_local_route_are_no_reason_to_track() {
        inside!(Namespaces::Network);
        service_addresses();
        // else a connection to an address of a route comes from the same address
        ip("route change local 203.0.113.80/32 dev veth0 src 192.0.2.7
            route change local 203.0.114.0/24 dev lo src 192.0.2.7
            route change local 2001:db8:80::1 dev lo src 2001:db8::7");
        std::fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").unwrap();
        assert_eq!(conntrack::count(), 0);
        let services = [
            "203.0.113.80:7000",
            "203.0.114.9:7000",
            "[2001:db8:80::1]:7000",
        ];
        let mut open = Vec::new();
        for service in services {
            let listener = TcpListener::bind(service).unwrap();
            let stream = TcpStream::connect(service).unwrap();
            let ends = [stream.local_addr(), stream.peer_addr()].map(|end| end.unwrap().ip());
            assert_ne!(ends[0], ends[1]);
            open.push((listener.accept().unwrap(), stream));
        }
        for root in ["/proc", "/proc/../proc"] {
            let got = answer(["--proc-root", root, "--empty", "critical"]);
            assert!(
                got.code == 0 && !got.text.contains("tracks nothing"),
                "{}: {open:?}",
                got.text
            );
        }
    }
}
