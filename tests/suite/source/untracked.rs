//! What the kernel tells only when it is asked, in namespaces of this test: connections that nothing tracks, and the
//! counters where there is no file of them.

use crate::common::ProcRoot;
use crate::common::programs::{printed, program};

const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

/// Established connections from 192.0.2.1 to as many ports of 198.51.100.7.
fn net_tcp(connections: u16) -> String {
    let row = |port: u16| {
        format!(
            "{port:4}: 010200C0:0050 076433C6:{port:04X} 01 00000000:00000000 00:00000000 00000000     0        0 5000 1 0000000000000000 20 4 30 10 -1\n"
        )
    };
    HEADER.to_owned() + &(1..=connections).map(row).collect::<String>()
}

/// An empty table beside these.
fn beside(net_tcp: &[u8]) -> ProcRoot {
    let root = ProcRoot::tracking("0\n", "1000\n");
    root.file("net/tcp", net_tcp);
    root.file("net/if_inet6", "");
    root
}

#[test]
fn no_more_than_a_thousand_are_counted() {
    for (connections, told) in [
        (999, "although 999 TCP connections to other hosts are open"),
        (1000, "although 1000 or more TCP connections to other"),
        (5000, "although 1000 or more TCP connections to other"),
    ] {
        let got = beside(net_tcp(connections).as_bytes()).answer(&["--empty", "warning"]);
        assert!(got.code == 1 && got.text.contains(told), "{}", got.text);
    }
}

#[test]
fn the_look_ends_with_the_last_connection_that_the_kernel_counts() {
    let root = beside(net_tcp(20).as_bytes());
    for (count, told) in [
        (0, None),
        (7, Some("although 7 TCP")),
        (30, Some("although 20 TCP")),
    ] {
        let snmp = format!("Tcp: RtoMin CurrEstab InSegs\nTcp: 200 {count} 12345\n");
        let got = root.file("net/snmp", snmp).answer(&[]);
        assert_eq!(
            got.text.contains("tracks nothing"),
            told.is_some(),
            "{count}"
        );
        assert!(got.text.contains(told.unwrap_or_default()), "{}", got.text);
    }
}

#[test]
fn a_connection_from_an_address_to_itself_stays_here_whatever_the_interfaces_have() {
    // both ends are 203.0.113.80, which no interface has any more, or which was bound to without being there
    let row = |local: &str, remote: &str| {
        format!(
            "   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000     0        0 5000 1 0000000000000000 20 4 30 10 -1\n"
        )
    };
    let itself = row("507100CB:1F90", "507100CB:C350") + &row("507100CB:C350", "507100CB:1F90");
    let of = |rows: &str| {
        let root = beside(format!("{HEADER}{rows}").as_bytes());
        root.answer(&["--empty", "critical"])
    };
    let within = of(&itself);
    assert_eq!(within.code, 0, "{}", within.text);
    let other = of(&(itself + &row("507100CB:C351", "517100CB:1F90")));
    assert!(
        other.code == 2
            && other
                .text
                .contains("although 1 TCP connection to another host"),
        "{}",
        other.text
    );
}

#[test]
fn what_cannot_be_counted_is_told_with_details_and_judges_nothing() {
    let one = net_tcp(1);
    let long = format!("{HEADER}{}", "0".repeat(100_000));
    for content in [
        format!("{one}garbage\n").as_bytes(),
        &one.as_bytes()[..60 + HEADER.len()],
        long.as_bytes(),
        format!("{one}   1: 010200C0:0050 076433C6:01BB \u{fc}\n").as_bytes(),
        b"entries\n\xff\n",
    ] {
        let got = beside(content).answer(&["--empty", "critical", "-v"]);
        assert!(
            got.code == 0
                && got
                    .text
                    .contains("connections to other hosts not counted: "),
            "{}",
            got.text
        );
    }
    // which addresses are this host's own
    let root = beside(one.as_bytes());
    root.remove("net/if_inet6");
    let got = root.answer(&["--empty", "critical", "-v"]);
    assert!(
        got.code == 0 && got.text.contains("net/fib_trie does not exist"),
        "{}",
        got.text
    );
    printed(program("mkfifo").arg(root.join("net/tcp6")));
    assert_eq!(root.answer(&["--empty", "critical"]).code, 0);
    for nothing in ["", HEADER] {
        let got = beside(nothing.as_bytes()).answer(&["--empty", "critical", "-v"]);
        assert!(
            got.code == 0 && !got.text.contains("other hosts"),
            "{}",
            got.text
        );
    }
}

mod netns {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use crate::common::conntrack;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, loopback_up, track};
    use crate::common::plugin::{UNPRIVILEGED, check_after};
    use crate::common::programs::{printed_for, program, script};
    use crate::common::wait::{holds, wait_for};
    use crate::common::{Answer, answer};
    use crate::roles::Role;

    /// Ours and another host's, where a server listens.
    const OWN: &str = "192.0.2.1";
    const PEER: &str = "192.0.2.2:7000";
    const PEER_V6: &str = "[2001:db8::2]:7000";

    /// Another host, at the other end of a cable.
    fn peer() -> Neighbour {
        let peer = Neighbour::with_entries(0);
        let lines = format!(
            "link set lo up
            link add wire type veth peer name wire netns {}
            address add 192.0.2.1/24 dev wire
            address add 2001:db8::1/64 dev wire nodad
            link set wire up",
            peer.pid()
        );
        printed_for(lines, program("ip").args(["-batch", "-"]));
        for line in [
            "address add 192.0.2.2/24 dev wire",
            "address add 2001:db8::2/64 dev wire nodad",
            "link set wire up",
        ] {
            peer.run(&format!("ip {line}"));
        }
        peer
    }

    /// A connection that both ends know of.
    fn connect(to: &str) -> TcpStream {
        // an address of IPv6 may not be used at once
        let mut connection = wait_for("a connection to the peer", || TcpStream::connect(to));
        connection.write_all(b"x").unwrap();
        connection.read_exact(&mut [0]).unwrap();
        connection
    }

    /// The sentence about untracked connections, and the exit code; the same from sock_diag and from the files.
    fn untracked(arguments: &[&str]) -> (Option<String>, i32) {
        let told = |answer: &Answer| {
            let text = answer.first_line();
            let (before, rest) = text.split_once("tracks nothing although ")?;
            assert_eq!(
                before.ends_with(", this OK may be blind: "),
                answer.code == 0,
                "{text}"
            );
            let (told, _) = rest.split_once(" open").unwrap();
            assert!(
                answer.text.contains("\nlook: nft list ruleset (as root: "),
                "{}",
                answer.text
            );
            Some(told.to_owned())
        };
        let live = answer(arguments);
        // the same procfs by another name is another proc root
        let files = answer([arguments, &["--proc-root", "/proc/../proc"]].concat());
        assert_eq!(
            (told(&live), live.code),
            (told(&files), files.code),
            "{}{}",
            live.text,
            files.text
        );
        (told(&live), live.code)
    }

    #[test]
    fn connections_that_nothing_tracks_are_told_and_tracked_ones_are_not() {
        inside!(Namespaces::Network);
        let peer = peer();
        let critical = ["--empty", "critical"];
        assert_eq!(untracked(&critical), (None, 0), "no connection");

        let own = TcpListener::bind("[::]:7001").unwrap();
        let within: Vec<_> = ["127.0.0.1:7001", "[::1]:7001", "192.0.2.1:7001"]
            .iter()
            .map(|to| (TcpStream::connect(to).unwrap(), own.accept().unwrap()))
            .collect();
        assert_eq!(untracked(&critical), (None, 0), "within this host");

        let _server = Role::server(&peer.words(), "[::]:7000");
        let mut v4 = connect(PEER);
        let one = Some("1 TCP connection to another host is".to_owned());
        assert_eq!(v4.local_addr().unwrap().ip().to_string(), OWN);
        assert_eq!(untracked(&[]), (one.clone(), 0));
        assert_eq!(untracked(&["--empty", "unknown"]), (one.clone(), 3));
        assert_eq!(untracked(&["--empty", "warning"]), (one.clone(), 1));
        assert_eq!(untracked(&critical), (one, 2));
        assert_eq!(
            untracked(&["--empty", "critical", "--own", "192.0.2.2"]),
            (None, 0),
            "an address of its own"
        );
        let v6 = connect(PEER_V6);
        let two = Some("2 TCP connections to other hosts are".to_owned());
        assert_eq!(untracked(&critical), (two, 2));
        drop((v6, within));

        track();
        // the kernel takes up a connection in the middle with its next packet
        v4.write_all(b".").unwrap();
        wait_for("the connection to be tracked", || {
            let count = conntrack::count();
            holds(count > 0, count)
        });
        assert_eq!(untracked(&critical), (None, 0), "tracked");
    }

    #[test]
    fn counters_come_over_ctnetlink_where_there_is_no_file_of_them() {
        inside!(Namespaces::Network);
        loopback_up();
        conntrack::insert(&conntrack::udp(1..=1));
        // what is mounted over net of the process stays there when it becomes another program
        let hidden = script("scripts/without-proc-net").get_program().to_owned();
        let hidden = hidden.to_str().unwrap();
        let without_file = |words: &[&str], arguments: &[&str]| {
            let words = [&[hidden][..], words].concat();
            Answer::of(check_after(&words, arguments).output().unwrap())
        };
        let asked = without_file(&[], &["-vvv"]);
        let with_table = without_file(&[], &["-vvv", "-w", "established=1"]);
        let refused = without_file(&UNPRIVILEGED, &["-v"]);
        for name in ["drop", "chaintoolong", "early_drop", "insert_failed"] {
            let total = conntrack::counter(name);
            for answer in [&asked, &with_table] {
                assert_eq!(
                    answer.value(name).unwrap(),
                    [format!("{total}c")],
                    "{}",
                    answer.text
                );
            }
            assert_eq!(refused.value(name), None, "{}", refused.text);
        }
        // as many rows as the file has, so that runs compare whichever way they read
        let rows = |answer: &Answer| {
            let lines = answer.text.lines();
            lines.filter(|line| line.starts_with("row ")).count()
        };
        assert_eq!(rows(&asked), rows(&answer(["-vvv"])));
        assert!(
            with_table.value("established").is_some(),
            "the table is read after them: {}",
            with_table.text
        );
        assert!(
            refused
                .text
                .contains("no counters: /proc/net/stat/nf_conntrack does not exist (")
                && refused.text.contains("CAP_NET_ADMIN"),
            "{}",
            refused.text
        );
    }
}
