//! The situations that the diagnosis knows, each with real traffic, and what line 1 says of it.

/// In a network and a process namespace, so that no other process has a part in it.
mod pidns {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use rustix::net::sockopt::set_socket_linger as set_linger;

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::{Neighbour, cover, rules};
    use crate::common::programs::run;
    use crate::common::wait::{holds, wait_for};
    use crate::common::{BUCKETS, MAX, conntrack, new_folder};
    use crate::diagnosis::scene::{
        FAR, HOST, Scene, attempt, bridged, client, connections, datagrams, does, line, link,
        namespace_of, over, says, send_syn, words,
    };

    /// The file with the largest number of expectations.
    const EXPECT_MAX: &str = "sys/net/netfilter/nf_conntrack_expect_max";

    /// The file with the range of the source ports of this host.
    const LOCAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

    /// Has the host pass packets on.
    fn forward() {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    }

    /// A service of the host.
    fn service() -> TcpListener {
        TcpListener::bind((HOST, 8080)).unwrap()
    }

    /// A service of the neighbour.
    fn far_service(scene: &Scene) -> TcpListener {
        scene.over_there(|| TcpListener::bind((FAR, 6379)).unwrap())
    }

    // ---- 1, 2, 3: limits -----------------------------------------------------------------------------------------

    #[test]
    fn few_hash_buckets_are_the_reason_however_empty_the_table_is() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 10_000);
        cover(BUCKETS, "8\n");
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        let answer = scene.says(&[
            "1.0% full",
            "hash table too small: 100 entries in 8 buckets",
        ]);
        assert!(
            line(&answer, "now").starts_with("sysctl -w net.netfilter.nf_conntrack_buckets=16384")
        );
        does(line(&answer, "now"));
        let buckets = std::fs::read_to_string(format!("/proc/{BUCKETS}")).unwrap();
        assert_eq!(buckets, "16384\n");
        cover(BUCKETS, "16\n");
        assert_eq!(crate::common::answer(["--top"]).code, 0, "12.5 in a chain");
    }

    #[test]
    fn a_rule_that_translates_to_few_ports_loses_connections_and_is_named() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("router", 10_000);
        scene.far_drops("meta l4proto tcp");
        let pod = Neighbour::with_entries(0);
        link("pod", 1, &pod);
        forward();
        rules(
            "table ip hide {
                chain out { type nat hook postrouting priority 100; oifname far ip protocol tcp masquerade to :20000-20019; }
            }",
        );
        let state = new_folder();
        let state = state.path().to_str().unwrap();
        let arguments = ["--top", "-w", "lost=0", "--state-dir", state];
        assert_eq!(crate::common::answer(arguments).code, 0);
        let _attempts: Vec<_> = over(&namespace_of(pod.pid()), || {
            (0..50)
                .map(|n| attempt((Ipv4Addr::new(10, 9, 1, 2), 10_000 + n), (FAR, 443)))
                .collect()
        });
        let answer = says(
            arguments,
            &[
                "LOSING CONNECTIONS, source ports used up: ",
                " - connections translated to 10.9.0.1 to 10.9.0.2:443/tcp use 20 of 20 source ports",
            ],
        );
        assert!(line(&answer, "why").ends_with("so a bigger table does not help"));
    }

    #[test]
    fn the_source_ports_of_this_host_are_a_metric() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("sidekiq", 10_000);
        std::fs::write(LOCAL_PORTS, "40000 40019").unwrap();
        let listener = far_service(&scene);
        let to = listener.local_addr().unwrap();
        let mut open: Vec<_> = (0..16).map(|_| TcpStream::connect(to).unwrap()).collect();
        let ports = || crate::common::answer(["-w", "ports=80"]);
        assert_eq!(ports().code, 0, "{}", ports().text);
        assert_eq!(ports().value("ports").unwrap()[0], "80.0%");
        open.push(TcpStream::connect(to).unwrap());
        let answer = says(
            ["-w", "ports=80"],
            &[
                "connections from 10.9.0.1 to 10.9.0.2:6379/tcp use 17 of 20 source ports",
                "ports 85.0% above 80%",
            ],
        );
        assert_eq!(answer.code, 1, "{}", answer.text);
        does(line(&answer, "now"));
        let range = std::fs::read_to_string(LOCAL_PORTS).unwrap();
        assert_eq!(
            range.split_whitespace().collect::<Vec<_>>(),
            ["1024", "65535"]
        );
    }

    #[test]
    fn the_expectations_of_a_helper_are_a_metric() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("lftp", 10_000);
        rules(
            "table ip helpers {
                ct helper transfers { type \"ftp\" protocol tcp; }
                chain out { type filter hook output priority 0; tcp dport 21 ct helper set \"transfers\"; }
            }",
        );
        cover(EXPECT_MAX, "5\n");
        let expect = || crate::common::answer(["-w", "expect=70"]);
        assert_eq!(expect().value("expect").unwrap(), ["0.0%", "70"]);
        let server = scene.over_there(|| TcpListener::bind((FAR, 21)).unwrap());
        let mut open = connections(&server, 4, |_| HOST);
        for ([near, far], port) in open.iter_mut().zip(1..) {
            // the helper looks at whole lines, and knows where one begins from the line before
            for order in [
                "USER x\r\n".to_owned(),
                format!("PORT 10,9,0,1,200,{port}\r\n"),
            ] {
                near.write_all(order.as_bytes()).unwrap();
                far.read_exact(&mut vec![0; order.len()]).unwrap();
            }
        }
        let answer = wait_for("80 percent", || {
            let answer = expect();
            let is_seen = words(&answer).contains("expect 80.0% above 70%");
            holds(is_seen, answer.text.clone()).map(|()| answer)
        });
        assert_eq!(answer.code, 1, "{}", answer.text);
    }

    #[test]
    fn a_limit_below_the_configured_one_is_named_with_its_file() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        run("mount -t tmpfs none /run");
        std::fs::create_dir("/run/sysctl.d").unwrap();
        // the last of all files, so that what this host sets does not matter
        let file = "/run/sysctl.d/zz-limit.conf";
        std::fs::write(file, "net.netfilter.nf_conntrack_max = 1000000\n").unwrap();
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        let answer =
            scene.says(&["the limit is 105, but /run/sysctl.d/zz-limit.conf sets 1000000"]);
        assert!(
            line(&answer, "now").starts_with("sysctl -w net.netfilter.nf_conntrack_max=1000000")
        );
        does(line(&answer, "now"));
        let limit = std::fs::read_to_string(format!("/proc/{MAX}")).unwrap();
        assert_eq!(limit, "1000000\n");
        scene.limit(10_000);
        assert_eq!(
            crate::common::answer(["--top"]).code,
            0,
            "never the only reason"
        );
    }

    // ---- 4: nobody answers ---------------------------------------------------------------------------------------

    #[test]
    fn a_destination_that_does_not_answer_is_named_with_the_program_that_retries() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("checkout", 105);
        scene.far_drops("tcp dport 443");
        let _attempts: Vec<_> = (0..100)
            .map(|n| attempt((HOST, 10_000 + n), (FAR, 443)))
            .collect();
        let answer =
            scene.says(&["checkout to 10.9.0.2:443/tcp gets no answer, 100% of the entries"]);
        assert!(line(&answer, "fix").starts_with("check that 10.9.0.2:443/tcp is up"));
    }

    // ---- 5: one way ----------------------------------------------------------------------------------------------

    #[test]
    fn datagrams_that_go_both_ways_without_answers_are_a_tunnel() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("tunnel", 105);
        let _here = UdpSocket::bind((HOST, 4789)).unwrap();
        let out = datagrams(HOST, (FAR, 4789), 50);
        let inward = scene.over_there(|| datagrams(FAR, (HOST, 4789), 50));
        let answer = scene.says(&["4789/udp (VXLAN) between this host and 1 peer holds 100%"]);
        let (_, commands) = line(&answer, "fix").split_once(": ").unwrap();
        does(commands);
        conntrack::flush();
        drop((out, inward));
        let _out = datagrams(HOST, (FAR, 4789), 50);
        let _in = scene.over_there(|| datagrams(FAR, (HOST, 4789), 50));
        assert_eq!(conntrack::count(), 0);
    }

    // ---- 6: scans ------------------------------------------------------------------------------------------------

    #[test]
    fn a_scan_of_the_ports_of_one_address_is_going_out() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("masscan", 155);
        scene.far_drops("meta l4proto tcp");
        let _attempts: Vec<_> = (0..150)
            .map(|n| attempt((HOST, 10_000 + n), (FAR, 1 + n)))
            .collect();
        let answer = scene.says(&["scan going out: masscan tries 150 ports of 10.9.0.2, 100%"]);
        assert!(line(&answer, "look").starts_with("systemctl status "));
    }

    #[test]
    fn a_scan_of_one_port_of_many_addresses_is_going_out() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("worm", 155);
        scene.far_drops("meta l4proto tcp");
        let _attempts: Vec<_> = (0..150)
            .map(|n| attempt((HOST, 10_000 + n), (client(n), 23)))
            .collect();
        scene.says(&["scan going out: worm tries port 23/tcp of 150 addresses, 100%"]);
    }

    #[test]
    fn a_scan_over_a_raw_socket_names_the_process_that_holds_it() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("masscan", 155);
        scene.far_drops("meta l4proto tcp");
        let _raw = send_syn(FAR, 1..151);
        let answer = scene.says(&[
            "scan going out: this host tries 150 ports of 10.9.0.2, 100% of the entries (no TCP socket, raw sockets: masscan[",
        ]);
        assert!(line(&answer, "look").starts_with("systemctl status "));
    }

    #[test]
    fn a_scan_through_this_host_names_the_process_behind_it() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("router", 155);
        let pod = Neighbour::with_entries(0);
        link("pod", 1, &pod);
        forward();
        scene.far_drops("meta l4proto tcp");
        let _attempts: Vec<_> = over(&namespace_of(pod.pid()), || {
            (0..150)
                .map(|n| attempt((Ipv4Addr::new(10, 9, 1, 2), 10_000 + n), (client(n), 23)))
                .collect()
        });
        let who = format!(
            "scan through this host: sleep[{}] (10.9.1.2) tries 150 addresses",
            pod.pid()
        );
        scene.says(&[&who]);
    }

    #[test]
    fn few_ports_without_an_answer_are_no_scan() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("checkout", 105);
        scene.far_drops("meta l4proto tcp");
        let _attempts: Vec<_> = (0..100)
            .map(|n| attempt((HOST, 10_000 + n), (FAR, 1 + n % 99)))
            .collect();
        let answer = scene.says(&[" - "]);
        assert!(!words(&answer).contains("scan"), "{}", answer.text);
    }

    #[test]
    fn a_scan_of_the_ports_of_this_host_is_coming_in() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 155);
        let _attempts: Vec<_> = scene.over_there(|| {
            (0..150)
                .map(|n| attempt((client(0), 10_000 + n), (HOST, 1 + n)))
                .collect()
        });
        let answer = scene.says(&["scan coming in: 10.20.0.1 tries 150 ports of this host, 100%"]);
        does(line(&answer, "fix"));
        let ssh = TcpListener::bind((HOST, 22)).unwrap();
        let web = TcpListener::bind((HOST, 8080)).unwrap();
        // the scanner reaches ssh alone, others reach everything
        for (listener, first) in [(&ssh, client(0)), (&web, client(7))] {
            let to = listener.local_addr().unwrap();
            let _open = scene.over_there(|| {
                [(0, 30_000), (7, 30_001)].map(|(n, port)| attempt((client(n), port), to))
            });
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from.ip(), first);
        }
    }

    // ---- 7: a crowd ----------------------------------------------------------------------------------------------

    #[test]
    fn many_clients_of_one_service_are_a_crowd() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = service();
        let _open = scene.over_there(|| connections(&listener, 100, client));
        scene.says(&[
            "100 clients of :8080/tcp of this host (nginx) hold 100%",
            "none above 1.0%",
        ]);
    }

    #[test]
    fn half_open_connections_of_many_clients_are_a_flood() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let _listener = service();
        scene.far_drops("tcp flags & (syn | ack) == syn | ack");
        let _attempts: Vec<_> = scene.over_there(|| {
            (0..100)
                .map(|n| attempt((client(n), 10_000 + n), (HOST, 8080)))
                .collect()
        });
        let answer = scene.says(&[
            "flood against :8080/tcp of this host",
            "half open",
            "100 clients",
        ]);
        does(line(&answer, "fix"));
        let timeout = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_recv";
        assert_eq!(std::fs::read_to_string(timeout).unwrap(), "10\n");
    }

    // ---- 8, 9, 11: connections -----------------------------------------------------------------------------------

    #[test]
    fn connections_that_are_closed_after_one_use_are_named_with_who_opens_them() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("sidekiq", 105);
        let listener = far_service(&scene);
        let mut open = connections(&listener, 100, |_| HOST);
        open.drain(..80).for_each(|[near, far]| {
            near.shutdown(Shutdown::Write).unwrap();
            drop((far, near));
        });
        let answer = scene.says(&[
            "sidekiq to 10.9.0.2:6379/tcp holds 100% of the entries, 80 of 100 already closed (TIME_WAIT)",
        ]);
        assert!(line(&answer, "fix").contains("sidekiq"), "{}", answer.text);
    }

    #[test]
    fn connections_that_are_kept_open_are_named_with_their_program() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("celery", 105);
        let listener = far_service(&scene);
        let _open = connections(&listener, 100, |_| HOST);
        scene
            .says(&["celery keeps 100 connections to 10.9.0.2:6379/tcp open, 100% of the entries"]);
    }

    #[test]
    fn a_service_that_does_not_close_is_named() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("tomcat", 105);
        let listener = service();
        let _open = scene.over_there(|| {
            let open = connections(&listener, 100, client);
            for [near, _] in &open {
                near.shutdown(Shutdown::Write).unwrap();
            }
            open
        });
        scene.says(&[
            "tomcat does not close connections with :8080/tcp of this host: 100 of 100 entries in CLOSE_WAIT",
        ]);
    }

    // ---- 10: one client ------------------------------------------------------------------------------------------

    #[test]
    fn one_client_that_opens_and_closes_is_named_with_the_service_it_dials() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = service();
        scene.over_there(|| {
            for [near, far] in connections(&listener, 100, |_| client(0)) {
                near.shutdown(Shutdown::Write).unwrap();
                drop((far, near));
            }
        });
        let answer =
            scene.says(&["10.20.0.1 holds 100% of the entries, to :8080/tcp of this host"]);
        does(line(&answer, "fix"));
        let tables = run("nft list table ip lim");
        assert!(
            tables.contains("ip saddr 10.20.0.1 tcp dport 8080"),
            "{tables}"
        );
        // others are not limited
        let other = scene.over_there(|| connections(&listener, 50, |_| client(7)));
        assert_eq!(other.len(), 50);
    }

    // ---- 12: vanished peers --------------------------------------------------------------------------------------

    #[test]
    fn connections_whose_ends_are_gone_have_vanished_peers() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = service();
        let open = scene.over_there(|| connections(&listener, 100, client));
        scene.says(&["100 clients of :8080/tcp"]);
        // both ends go, and no packet says so
        rules(
            "table inet cut {
                chain in { type filter hook prerouting priority raw; tcp dport 8080 drop; }
                chain out { type filter hook output priority raw; tcp sport 8080 drop; }
            }",
        );
        for end in open.iter().flatten() {
            set_linger(end, Some(Duration::ZERO)).unwrap();
        }
        drop((open, listener));
        rules("delete table inet cut");
        let answer =
            scene.says(&["100 dead connections (ESTABLISHED, no socket on this host) hold 100%"]);
        does(line(&answer, "fix"));
        let timeout = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
        assert_eq!(std::fs::read_to_string(timeout).unwrap(), "86400\n");
        assert_eq!(conntrack::count(), 100, "none is freed that is idle");
    }

    // ---- 13: DNS -------------------------------------------------------------------------------------------------

    #[test]
    fn queries_to_one_resolver_are_dns_and_the_program_that_asks_is_named() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("crawler", 105);
        let _resolver = scene.over_there(|| UdpSocket::bind((FAR, 53)).unwrap());
        let _queries = datagrams(HOST, (FAR, 53), 100);
        let answer = scene.says(&["DNS: crawler to 10.9.0.2:53/udp holds 100% of the entries"]);
        assert!(
            line(&answer, "fix").contains("cache for crawler"),
            "{}",
            answer.text
        );
    }

    #[test]
    fn queries_of_many_clients_are_dns_of_this_host() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("unbound", 105);
        let _resolver = UdpSocket::bind((HOST, 53)).unwrap();
        let _queries: Vec<_> = scene.over_there(|| {
            (0..100)
                .map(|n| datagrams(client(n), (HOST, 53), 1))
                .collect()
        });
        scene.says(&["DNS: 100 clients of :53/udp of this host (unbound) hold 100%"]);
    }

    // ---- 14: one side only ---------------------------------------------------------------------------------------

    #[test]
    fn connections_that_are_seen_from_one_side_are_no_scan() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let listener = service();
        let mut open = scene.over_there(|| connections(&listener, 100, client));
        // the answers take another way from now on
        rules(
            "table inet asymmetric {
                chain out { type filter hook output priority raw; tcp sport 8080 notrack; }
            }",
        );
        conntrack::flush();
        for [near, _] in &mut open {
            near.write_all(b"x").unwrap();
        }
        scene.says(&[
            "100 of 100 connections to :8080/tcp of this host are seen from one side only",
        ]);
    }

    #[test]
    fn a_program_that_dials_many_addresses_is_named_with_the_port() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("prometheus", 105);
        let _exporters = scene.over_there(|| TcpListener::bind(("0.0.0.0", 9100)).unwrap());
        let _open: Vec<_> = (0..100)
            .map(|n| std::net::TcpStream::connect((client(n), 9100)).unwrap())
            .collect();
        let answer = scene.says(&[
            "prometheus to port 9100/tcp of 100 addresses holds 100% of the entries, none above 1.0%",
        ]);
        assert!(
            line(&answer, "fix").starts_with("let prometheus open fewer connections at a time")
        );
    }

    // ---- 16: no one ----------------------------------------------------------------------------------------------

    #[test]
    fn several_services_with_many_clients_each_mean_that_the_limit_is_too_small() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let services = [80, 443, 5222, 8080, 9090];
        let listeners = services.map(|port| TcpListener::bind((HOST, port)).unwrap());
        let _open = scene.over_there(|| {
            let of_service = |listener| connections(listener, 20, client);
            listeners.each_ref().map(of_service)
        });
        let answer = scene
            .says(&["no one stands out: 5 ports, 20 addresses, none above 5.0% of the entries"]);
        assert!(line(&answer, "fix").starts_with("set net.netfilter.nf_conntrack_max=256 "));
    }

    // ---- containers ----------------------------------------------------------------------------------------------

    /// Two pods at a bridge, and a service that the second one is.
    fn pods() -> [Neighbour; 2] {
        let pods = bridged();
        forward();
        rules(
            "table ip services {
                chain in { type nat hook prerouting priority -100; ip daddr 10.96.0.50 tcp dport 80 dnat to 10.9.1.3:8080; }
                chain out { type nat hook postrouting priority 100; oifname br0 ct status dnat masquerade; oifname far masquerade; }
            }",
        );
        pods
    }

    #[test]
    fn the_pod_that_floods_a_service_is_named_with_the_service_it_dials() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("kubelet", 105);
        let [caller, server] = pods();
        let listener = over(&namespace_of(server.pid()), || {
            TcpListener::bind((Ipv4Addr::new(10, 9, 1, 3), 8080)).unwrap()
        });
        over(&namespace_of(caller.pid()), || {
            for _ in 0..100 {
                let near = TcpStream::connect((Ipv4Addr::new(10, 96, 0, 50), 80)).unwrap();
                let (far, _) = listener.accept().unwrap();
                near.shutdown(Shutdown::Write).unwrap();
                drop((far, near));
            }
        });
        let who = format!(
            "sleep[{}] (10.9.1.2) to 10.96.0.50:80/tcp holds ",
            caller.pid()
        );
        scene.says(&[&who, "100 of 100 already closed (TIME_WAIT)"]);
    }

    #[test]
    fn connections_to_a_container_have_no_vanished_peers() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("dockerd", 105);
        let [_caller, server] = pods();
        rules(
            "table ip publish {
                chain in { type nat hook prerouting priority -100; ip daddr 10.9.0.1 tcp dport 8080 dnat to 10.9.1.3:8080; }
            }",
        );
        let listener = over(&namespace_of(server.pid()), || {
            TcpListener::bind((Ipv4Addr::new(10, 9, 1, 3), 8080)).unwrap()
        });
        let _open: Vec<_> = scene.over_there(|| {
            (0..100)
                .map(|n| {
                    let near = attempt((client(n), 10_000 + n), (HOST, 8080));
                    (near, listener.accept().unwrap())
                })
                .collect()
        });
        let answer = scene.says(&["100 clients of 10.9.1.3:8080/tcp on sleep"]);
        assert!(
            answer
                .text
                .contains("100 in another namespace of this host"),
            "{}",
            answer.text
        );
    }

    // ---- without --top -------------------------------------------------------------------------------------------

    #[test]
    fn a_full_table_without_a_list_says_how_to_get_one() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("nginx", 105);
        let _sent = datagrams(HOST, (FAR, 7000), 100);
        let answer = crate::common::answer([""; 0]);
        assert!(line(&answer, "look").starts_with("check_conntrack --top -v "));
        scene.limit(10_000);
        let answer = crate::common::answer([""; 0]);
        assert!(!answer.text.contains("look: "), "{}", answer.text);
    }
}
