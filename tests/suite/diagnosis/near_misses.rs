//! Tables that nearly fit a rule of the diagnosis, each with real traffic: the rule must leave them to another one.
//!
//! Near misses of rules 2 and 15 need counters of the kernel that no test can move at will. They are the golden cases
//! source-ports-three-quarters-used and list-of-ten-of-eleven.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;

use crate::common::ProcRoot;

/// A host with a table of 950 entries to one destination, 910 of them in TIME_WAIT. puma.service holds so many of the
/// others.
fn host_with_a_pool(size: u16) -> ProcRoot {
    let root = ProcRoot::tracking("950\n", "1000\n");
    let (mut entries, mut sockets) = (String::new(), "  sl\n".to_owned());
    for port in 40_000_u16..40_950 {
        let (state, left) = if port < 40_040 {
            ("ESTABLISHED", 431_000)
        } else {
            ("TIME_WAIT", 100)
        };
        writeln!(
            entries,
            "ipv4 2 tcp 6 {left} {state} src=10.0.0.1 dst=192.0.2.7 sport={port} dport=6379 src=192.0.2.7 dst=10.0.0.1 \
             sport=6379 dport={port} [ASSURED] mark=0 use=1"
        )
        .unwrap();
    }
    root.make_folder("800/fd");
    let address = u32::from_ne_bytes;
    let [near, far] = [[10, 0, 0, 1], [192, 0, 2, 7]].map(address);
    for number in 0..size {
        let (port, inode) = (40_000 + number, 7000 + number);
        writeln!(
            sockets,
            "{number}: {near:08X}:{port:04X} {far:08X}:18EB 01 0:0 0:0 0 1000 0 {inode} 1 0"
        )
        .unwrap();
        let descriptor = root.join(&format!("800/fd/{}", 3 + number));
        symlink(format!("socket:[{inode}]"), descriptor).unwrap();
    }
    root.file("net/nf_conntrack", entries)
        .file("net/tcp", sockets)
        .file("800/comm", "puma\n")
        .file("800/cgroup", "0::/system.slice/puma.service\n")
        .file(
            "800/stat",
            "800 (puma) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 5 0 100 0 0\n",
        );
    root
}

#[test]
fn the_pool_of_a_unit_is_not_blamed_for_the_closed_connections_of_others() {
    let says = |size| host_with_a_pool(size).answer(&["--top", "-v", "--own", "10.0.0.1"]);
    let has_most = says(20);
    assert!(
        has_most.first_line().contains("puma.service"),
        "{}",
        has_most.text
    );
    let has_few = says(10).text;
    let is_listed = |line: &&str| line.starts_with("1. ");
    let (listed, told): (Vec<&str>, Vec<&str>) = has_few.lines().partition(is_listed);
    let held = ", puma.service (puma[800]) 10 connections";
    assert!(listed.concat().contains(held), "{has_few}");
    assert!(!told.concat().contains("puma"), "{has_few}");
    let closed = "910 of 950 already closed (TIME_WAIT)";
    assert!(told.concat().contains(closed), "{has_few}");
}

/// In a network and a process namespace, so that no other process has a part in it.
mod pidns {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use rustix::net::sockopt::set_socket_linger as set_linger;

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{cover, rules};
    use crate::common::programs::run;
    use crate::common::{Answer, BUCKETS, conntrack};
    use crate::diagnosis::scene::{
        FAR, HOST, Scene, attempt, client, connections, datagrams, words,
    };

    /// Line 1 has the finding of another rule, and none of these words.
    fn says_without(scene: &Scene, other: &str, words_of_the_rule: &str) -> Answer {
        let answer = scene.says(&[other]);
        let line = words(&answer);
        assert!(!line.contains(words_of_the_rule), "{line}");
        answer
    }

    /// Closes both ends of connections so that their entries are in TIME_WAIT.
    fn close(open: Vec<[TcpStream; 2]>) {
        for [near, far] in open {
            near.shutdown(Shutdown::Write).unwrap();
            drop((far, near));
        }
    }

    /// Datagrams to four ports, none of which has a quarter of a hundred entries.
    fn others(number: u16) -> Vec<UdpSocket> {
        (0..4)
            .flat_map(|port| {
                (0..number / 4).map(move |n| {
                    let socket = UdpSocket::bind((HOST, 20_000 + 100 * port + n)).unwrap();
                    socket.send_to(b"x", (client(port), 7000 + port)).unwrap();
                    socket
                })
            })
            .collect()
    }

    #[test]
    fn chains_at_the_threshold_are_not_too_long() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        cover(BUCKETS, "14\n");
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        // 2 * 100 / 14 is 14.3
        says_without(&scene, "7000/udp holds 100%", "hash table too small");
    }

    #[test]
    fn a_limit_that_is_the_configured_one_is_no_finding() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        run("mount -t tmpfs none /run");
        std::fs::create_dir("/run/sysctl.d").unwrap();
        let file = "/run/sysctl.d/zz-limit.conf";
        std::fs::write(file, "net.netfilter.nf_conntrack_max = 105\n").unwrap();
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        says_without(&scene, "7000/udp holds 100%", "the limit is");
    }

    #[test]
    fn a_destination_that_answers_half_of_the_attempts_is_not_silent() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("checkout", 105);
        let listener = scene.over_there(|| TcpListener::bind((FAR, 443)).unwrap());
        let _open = connections(&listener, 50, |_| HOST);
        scene.far_drops("tcp dport 443");
        let _attempts: Vec<_> = (0..50)
            .map(|n| attempt((HOST, 11_000 + n), (FAR, 443)))
            .collect();
        says_without(
            &scene,
            "10.9.0.2:443/tcp holds 100% of the entries",
            "no answer",
        );
    }

    #[test]
    fn datagrams_one_way_to_an_unknown_port_are_no_tunnel() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("sender", 105);
        let _sent = datagrams(HOST, (FAR, 7777), 100);
        says_without(&scene, "10.9.0.2:7777/udp holds 100%", "without answers");
    }

    #[test]
    fn a_service_with_a_client_of_a_tenth_has_no_crowd() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = TcpListener::bind((HOST, 8080)).unwrap();
        let _open = scene
            .over_there(|| connections(&listener, 100, |n| client(if n < 10 { 0 } else { n })));
        says_without(
            &scene,
            "no one stands out: 1 port, 91 addresses, none above 10% of the entries",
            "clients of",
        );
    }

    #[test]
    fn connections_of_which_half_are_closed_are_reused() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("sidekiq", 105);
        let listener = scene.over_there(|| TcpListener::bind((FAR, 6379)).unwrap());
        let mut open = connections(&listener, 100, |_| HOST);
        close(open.drain(..50).collect());
        let answer = says_without(
            &scene,
            "sidekiq to 10.9.0.2:6379/tcp holds 100% of the entries",
            "already closed",
        );
        // half of them are not kept open, either
        assert!(!words(&answer).contains("keeps"), "{}", answer.text);
    }

    #[test]
    fn connections_below_a_quarter_of_the_table_are_not_kept_open() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("celery", 105);
        let listener = scene.over_there(|| TcpListener::bind((FAR, 5672)).unwrap());
        let _open = connections(&listener, 24, |_| HOST);
        let _others = others(76);
        says_without(
            &scene,
            "celery holds 100% of the entries, no endpoint above 24%",
            "keeps",
        );
    }

    #[test]
    fn a_client_below_half_is_not_the_one_client_if_the_next_one_has_as_much() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = TcpListener::bind((HOST, 8080)).unwrap();
        scene.over_there(|| {
            let of = |n: u16| client(if n < 98 { n % 2 } else { n });
            close(connections(&listener, 100, of));
        });
        says_without(
            &scene,
            "holds 49% of the entries, no known fault explains them",
            "to :8080",
        );
    }

    #[test]
    fn a_service_that_closes_half_of_its_connections_is_a_crowd() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("tomcat", 105);
        let listener = TcpListener::bind((HOST, 8080)).unwrap();
        let _open = scene.over_there(|| {
            let open = connections(&listener, 100, client);
            for [near, _] in open.iter().take(50) {
                near.shutdown(Shutdown::Write).unwrap();
            }
            open
        });
        says_without(&scene, "100 clients of :8080/tcp", "CLOSE_WAIT");
    }

    #[test]
    fn peers_of_which_half_are_there_have_not_vanished() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = TcpListener::bind((HOST, 8080)).unwrap();
        let mut open = scene.over_there(|| connections(&listener, 100, client));
        rules(
            "table inet cut {
                chain in { type filter hook prerouting priority raw; tcp dport 8080 drop; }
                chain out { type filter hook output priority raw; tcp sport 8080 drop; }
            }",
        );
        let gone: Vec<_> = open.drain(..50).collect();
        for end in gone.iter().flatten() {
            set_linger(end, Some(Duration::ZERO)).unwrap();
        }
        drop(gone);
        rules("delete table inet cut");
        says_without(&scene, "100 clients of :8080/tcp", "without a socket");
    }

    #[test]
    fn queries_below_a_quarter_of_the_table_are_not_the_reason() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("crawler", 105);
        let _resolver = scene.over_there(|| UdpSocket::bind((FAR, 53)).unwrap());
        let _queries = datagrams(HOST, (FAR, 53), 24);
        let _others = others(76);
        says_without(
            &scene,
            "crawler holds 100% of the entries, no endpoint above 24%",
            "DNS",
        );
    }

    #[test]
    fn connections_of_which_half_are_seen_from_both_sides_are_a_crowd() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = TcpListener::bind((HOST, 8080)).unwrap();
        let mut half = scene.over_there(|| connections(&listener, 50, client));
        let asymmetric = "table inet asymmetric {
            chain out { type filter hook output priority raw; tcp sport 8080 notrack; }
        }";
        rules(asymmetric);
        conntrack::flush();
        for [near, _] in &mut half {
            near.write_all(b"x").unwrap();
        }
        rules("delete table inet asymmetric");
        let _open = scene.over_there(|| connections(&listener, 50, |n| client(n + 50)));
        says_without(&scene, "100 clients of :8080/tcp", "one side");
    }

    #[test]
    fn an_endpoint_with_a_quarter_of_the_table_stands_out() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("celery", 105);
        let listener = scene.over_there(|| TcpListener::bind((FAR, 5672)).unwrap());
        let _open = connections(&listener, 25, |_| HOST);
        let _others = others(75);
        says_without(&scene, "celery keeps 25 connections", "no one stands out");
    }
}
