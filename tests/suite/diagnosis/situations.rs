//! The situations that the diagnosis knows, each with real traffic, and what line 1 says of it.

/// In a network and a process namespace, so that no other process has a part in it.
mod pidns {
    use std::net::{Shutdown, TcpListener};

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::rules;
    use crate::diagnosis::scene::{
        FAR, HOST, Scene, attempt, client, connections, datagrams, line, words,
    };

    /// A service of the host.
    fn service() -> TcpListener {
        TcpListener::bind((HOST, 8080)).unwrap()
    }

    /// A service of the neighbour.
    fn far_service(scene: &Scene) -> TcpListener {
        scene.over_there(|| TcpListener::bind((FAR, 6379)).unwrap())
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
        let _here = std::net::UdpSocket::bind((HOST, 4789)).unwrap();
        let _out = datagrams(HOST, (FAR, 4789), 50);
        let _in = scene.over_there(|| datagrams(FAR, (HOST, 4789), 50));
        let answer = scene.says(&["4789/udp (VXLAN) between this host and 1 peer holds 100%"]);
        assert!(line(&answer, "fix").contains("-p udp --dport 4789 -j CT --notrack"));
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
        let answer = scene.says(&["scan going out: masscan dials 150 ports of 10.9.0.2, 100%"]);
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
        scene.says(&["scan going out: worm dials port 23/tcp of 150 addresses, 100%"]);
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
        scene.says(&["scan coming in: 10.20.0.1 dials 150 ports of this host, 100%"]);
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
            "flood of :8080/tcp of this host",
            "half open",
            "100 clients",
        ]);
        assert!(
            line(&answer, "fix")
                .starts_with("sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_recv=10")
        );
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
        assert!(line(&answer, "fix").starts_with("nft add table ip lim"));
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
            rustix::net::sockopt::set_socket_linger(end, Some(std::time::Duration::ZERO)).unwrap();
        }
        drop((open, listener));
        rules("delete table inet cut");
        scene.says(&["100 connections ESTABLISHED without a socket on this host hold 100%"]);
    }

    // ---- 13: DNS -------------------------------------------------------------------------------------------------

    #[test]
    fn queries_to_one_resolver_are_dns_and_the_program_that_asks_is_named() {
        inside!(Namespaces::Processes);
        let scene = Scene::new("crawler", 105);
        let _resolver = scene.over_there(|| std::net::UdpSocket::bind((FAR, 53)).unwrap());
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
        let _resolver = std::net::UdpSocket::bind((HOST, 53)).unwrap();
        let _queries: Vec<_> = scene.over_there(|| {
            (0..100)
                .map(|n| datagrams(client(n), (HOST, 53), 1))
                .collect()
        });
        scene.says(&["DNS: 100 clients of :53/udp of this host (unbound) hold 100%"]);
    }
}
