//! The look into the table against real traffic: a client, a router and a server in network namespaces this test makes
//! itself, counted again with conntrack -L. No privilege needed, no other table touched.

mod netns {
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use std::process::Stdio;

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::plugin::{UNPRIVILEGED, check_after};
    use crate::common::programs::{command_line, file, printed, printed_for, run, script};
    use crate::common::{Answer, conntrack, wait_for};
    use crate::common::{new_file, new_folder};
    use crate::roles::{Client, Role};

    // ---- namespaces ---------------------------------------------------------------------------------------------

    /// The topology of topology.sh.
    struct Net;

    const CLIENT: &str = "10.1.0.2";
    const ROUTER: &str = "10.1.0.1";
    /// The router as the server sees it.
    const ROUTER_INSIDE: &str = "10.2.0.1";
    const SERVER: &str = "10.2.0.2";
    const CLIENT6: &str = "2001:db8:1::2";
    const SERVER6: &str = "2001:db8:2::2";

    impl Net {
        fn new(parts: &[&str]) -> Self {
            printed(script("top/topology.sh").args(parts));
            Self
        }

        /// Runs a command line in one of the namespaces; returns what it printed.
        fn run(&self, name: &str, line: &str) -> String {
            run(&format!("ip netns exec {name} {line}"))
        }

        /// Sets a number below /proc/sys/net/netfilter.
        fn set(&self, name: &str, file: &str, value: u32) {
            let mut tee = command_line(&format!(
                "ip netns exec {name} tee /proc/sys/net/netfilter/{file}"
            ));
            printed_for(value.to_string(), &mut tee);
        }

        /// Runs the binary in one of the namespaces; `through` comes before it.
        fn answer(&self, name: &str, through: &[&str], arguments: &[&str]) -> Answer {
            self.answer_to(Stdio::null(), name, through, arguments)
        }

        fn answer_to(
            &self,
            stdin: Stdio,
            name: &str,
            through: &[&str],
            arguments: &[&str],
        ) -> Answer {
            let words = [&enter(name)[..], through].concat();
            let mut command = check_after(&words, arguments);
            let answer = Answer::of(command.stdin(stdin).output().unwrap());
            assert!(
                answer.fits_nrpe_2() || arguments.contains(&"-v"),
                "{}",
                answer.text
            );
            answer
        }

        /// The answer with every line: how many fit beside 1023 bytes depends on the limit of the host that tests.
        fn check(&self, name: &str, arguments: &[&str]) -> Answer {
            self.answer(name, &[], &[arguments, &["-v"]].concat())
        }

        /// The table as conntrack lists it.
        fn list(&self, name: &str) -> Vec<Listed> {
            let list = conntrack::list_by(&enter(name));
            list.lines().map(Listed::parse).collect()
        }

        /// Waits until so many entries, of which so many are in TIME_WAIT, are listed: the last packets of a connection
        /// may still be under way when both ends have closed it.
        fn settled(&self, name: &str, entries: usize, time_wait: usize) -> Vec<Listed> {
            let what = format!("{entries} entries in {name}, {time_wait} of them in TIME_WAIT");
            wait_for(&what, || {
                let listed = self.list(name);
                if (listed.len(), of_state(&listed, "TIME_WAIT")) == (entries, time_wait) {
                    Ok(listed)
                } else {
                    Err((listed.len(), classes(&listed)))
                }
            })
        }

        /// Empties a table of so many connections that all are closed now. A packet that comes later would make an
        /// entry again.
        fn forget(&self, name: &str, entries: usize) {
            self.settled(name, entries, entries);
            conntrack::flush_by(&enter(name));
        }

        /// Inserts entries given as conntrack's options, one a line.
        fn insert(&self, name: &str, entries: &str) {
            conntrack::insert_by(&enter(name), entries);
            assert_eq!(self.list(name).len(), entries.lines().count());
        }
    }

    /// The words that lead into one of the namespaces.
    fn enter(name: &str) -> [&str; 4] {
        ["ip", "netns", "exec", name]
    }

    /// A line of conntrack -L.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Listed {
        protocol: String,
        /// Entries of TCP that are not offloaded.
        state: Option<String>,
        source: IpAddr,
        destination: IpAddr,
        /// The destination's, where there are ports.
        port: Option<u16>,
        unreplied: bool,
        assured: bool,
    }

    impl Listed {
        fn parse(line: &str) -> Self {
            let words: Vec<&str> = line.split_whitespace().collect();
            // of the original direction, which comes first
            let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
            Self {
                protocol: words[0].to_owned(),
                state: (words[0] == "tcp").then(|| words[3].to_owned()),
                source: value("src=").unwrap().parse().unwrap(),
                destination: value("dst=").unwrap().parse().unwrap(),
                port: value("dport=").map(|port| port.parse().unwrap()),
                unreplied: words.contains(&"[UNREPLIED]"),
                assured: words.contains(&"[ASSURED]"),
            }
        }
    }

    fn of_state(listed: &[Listed], state: &str) -> usize {
        let of_state = |line: &&Listed| line.state.as_deref() == Some(state);
        listed.iter().filter(of_state).count()
    }

    /// The metrics of the table without `endpoint`, counted from conntrack's list.
    fn classes(listed: &[Listed]) -> Vec<(&'static str, usize)> {
        let is_icmp = |line: &Listed| line.protocol.starts_with("icmp");
        let count = |wanted: &dyn Fn(&Listed) -> bool| listed.iter().filter(|l| wanted(l)).count();
        let state = |state: &str| of_state(listed, state);
        vec![
            ("unreplied", count(&|line| line.unreplied)),
            ("evictable", count(&|line| !line.assured)),
            ("established", state("ESTABLISHED")),
            ("time_wait", state("TIME_WAIT")),
            ("syn_sent", state("SYN_SENT") + state("SYN_SENT2")),
            ("syn_recv", state("SYN_RECV")),
            ("fin_wait", state("FIN_WAIT")),
            ("close_wait", state("CLOSE_WAIT")),
            ("last_ack", state("LAST_ACK")),
            ("close", state("CLOSE")),
            ("udp", count(&|line| line.protocol == "udp")),
            ("icmp", count(&is_icmp)),
            (
                "other",
                count(&|line| !is_icmp(line) && !["tcp", "udp"].contains(&&*line.protocol)),
            ),
        ]
    }

    /// Every metric of the table stands in the perfdata, in the order of the contract, as conntrack counts it.
    fn counts_are_conntracks(answer: &Answer, largest: usize, listed: &[Listed]) {
        let mut expected = vec![format!("endpoint={largest}")];
        expected.extend(
            classes(listed)
                .iter()
                .map(|(label, n)| format!("{label}={n}")),
        );
        assert_eq!(table_perfdata(answer), expected, "{}", answer.text);
        assert_eq!(
            answer.value("entries").unwrap()[0],
            listed.len().to_string(),
            "{}",
            answer.text
        );
    }

    /// The perfdata that counts entries of the table, without thresholds.
    fn table_perfdata(answer: &Answer) -> Vec<String> {
        let perfdata = answer.perfdata();
        let begin = perfdata
            .iter()
            .position(|token| token.starts_with("endpoint="));
        let table = perfdata[begin.unwrap_or(perfdata.len())..].iter();
        table
            .take_while(|token| !token.starts_with("ports="))
            .map(|token| token.split(';').next().unwrap().to_owned())
            .collect()
    }

    /// The numbered lines.
    fn lines(answer: &Answer) -> Vec<&str> {
        let numbered = |line: &&str| {
            line.split_once(". ")
                .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
        };
        answer.text.lines().filter(numbered).collect()
    }

    /// The numbered lines without what only a live host tells: endpoint, share and classes without owners and missing
    /// sockets.
    fn endpoints(answer: &Answer) -> Vec<String> {
        let cut = |line: &str| line.split(", ").take(3).collect::<Vec<_>>().join(", ");
        lines(answer).into_iter().map(cut).collect()
    }

    fn has(answer: &Answer, part: &str) {
        assert!(answer.text.contains(part), "{part:?} in\n{}", answer.text);
    }

    fn first_has(answer: &Answer, part: &str) {
        let first = answer.first_line();
        assert!(
            first.contains(part),
            "{part:?} on line 1 of\n{}",
            answer.text
        );
    }

    fn lacks(answer: &Answer, part: &str) {
        assert!(
            !answer.text.contains(part),
            "{part:?} not in\n{}",
            answer.text
        );
    }

    /// As shares of a tenth or more are shown: never more than they are.
    fn percent(part: usize, whole: usize) -> String {
        assert!(part * 10 >= whole);
        format!("{}%", part * 100 / whole)
    }

    // ---- servers and clients ------------------------------------------------------------------------------------

    fn server(name: &str, listen: &str) -> Role {
        Role::server(&enter(name), listen)
    }

    /// A client that holds connections and has closed none.
    fn holding_client(name: &str, dial: &str, comm: &str, threads: u32, held: u32) -> Role {
        let client = Client {
            dial,
            comm,
            threads,
            held,
            closed: 0,
        };
        Role::client(&enter(name), &client)
    }

    // ---- traffic ------------------------------------------------------------------------------------------------

    const HELD: usize = 40;
    const CLOSED: usize = 300;
    const ALL: usize = HELD + CLOSED;

    /// 40 connections held and 300 in TIME_WAIT, by four threads.
    fn usual_client(dial: &str) -> Role {
        let client = Client {
            dial,
            comm: "sidekiq",
            threads: 4,
            held: HELD as u32,
            closed: CLOSED as u32,
        };
        let client = Role::client(&enter("client"), &client);
        // and the main thread, and the harness may have its own
        assert!((5..=6).contains(&client.threads()));
        client
    }

    /// The line of the only endpoint of the client: everything that `usual_client` does.
    fn usual_line(label: &str, client: &Role) -> String {
        format!(
            "1. {label}: {ALL} entries, 100.0%, TIME_WAIT {} ESTABLISHED {}, sidekiq (sidekiq[{}]) {HELD} connections {} \
             threads, {CLOSED} already closed (TIME_WAIT)",
            percent(CLOSED, ALL),
            percent(HELD, ALL),
            client.pid(),
            client.threads()
        )
    }

    #[test]
    fn a_client_that_does_not_reuse_connections_is_named() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        // so that it is seen to be read, and not known
        net.set("client", "nf_conntrack_tcp_timeout_time_wait", 321);
        let server = server("server", "[::]:6379");
        let client = usual_client(&format!("{SERVER}:6379"));
        let listed = net.settled("client", ALL, CLOSED);
        let label = format!("to {SERVER}:6379/tcp");

        let answer = net.check("client", &["--top", "3", "-w", "0"]);
        assert_eq!(answer.code, 1, "{}", answer.text);
        first_has(
            &answer,
            &format!(
                " - sidekiq {label} on redis[{}] holds 100% of the entries, {CLOSED} of {ALL} already closed (TIME_WAIT) - ",
                server.pid()
            ),
        );
        assert_eq!(lines(&answer), [usual_line(&label, &client)]);
        has(&answer, "\noutbound 100%\n");
        // 321 s
        has(
            &answer,
            &format!(
                "\nwhy: sidekiq opens a new connection for each request, and a closed connection keeps its entry for 5 \
                 minutes; it holds {HELD} of the {HELD} still open\n"
            ),
        );
        has(
            &answer,
            &format!(
                "\nfix: give sidekiq a connection pool that outlives the request ({} threads, {HELD} connections open)\n",
                client.threads()
            ),
        );
        counts_are_conntracks(&answer, ALL, &listed);

        // when all is well the list is the same, without advice
        let answer = net.check("client", &["--top"]);
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert_eq!(lines(&answer), [usual_line(&label, &client)]);
        for advice in ["\nwhy: ", "\nnow: ", "\nfix: ", "\nlook: "] {
            lacks(&answer, advice);
        }
        counts_are_conntracks(&answer, ALL, &listed);
    }

    #[test]
    fn a_server_sees_who_calls_and_which_process_answers() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        // one takes IPv4 as mapped addresses, the other does not
        for (listen, port) in [("[::]:6379", 6379), ("0.0.0.0:6380", 6380)] {
            let server = server("server", listen);
            let client = usual_client(&format!("{SERVER}:{port}"));
            let listed = net.settled("server", ALL, CLOSED);
            let answer = net.check("server", &["--top", "3", "-w", "0", "-v"]);
            assert_eq!(answer.code, 1, "{}", answer.text);
            first_has(
                &answer,
                &format!(
                    " - sidekiq[{}] ({CLIENT}) holds 100% of the entries, to :{port}/tcp of this host - ",
                    client.pid()
                ),
            );
            assert_eq!(
                lines(&answer),
                [format!(
                    "1. from {CLIENT}: {ALL} entries, 100.0%, TIME_WAIT {} ESTABLISHED {}, redis (redis[{}]) {HELD} \
                     connections {} threads, {CLOSED} already closed (TIME_WAIT)",
                    percent(CLOSED, ALL),
                    percent(HELD, ALL),
                    server.pid(),
                    server.threads()
                )]
            );
            has(
                &answer,
                &format!("\ninbound 100%, top local services: {port}/tcp 100%\n"),
            );
            has(
                &answer,
                &format!(" ip saddr {CLIENT} tcp dport {port} ct state new limit rate "),
            );
            counts_are_conntracks(&answer, ALL, &listed);
            drop(client);
            net.forget("server", ALL);
        }
    }

    /// The report of a router on forwarded connections that none of its sockets belongs to.
    fn only_forwards(net: &Net) {
        let listed = net.settled("router", ALL, CLOSED);
        // both lines do not fit into 1023 bytes
        let answer = net.check("router", &["--top", "3", "-v", "-w", "0"]);
        assert_eq!(answer.code, 1, "{}", answer.text);
        let split = format!(
            "TIME_WAIT {} ESTABLISHED {}",
            percent(CLOSED, ALL),
            percent(HELD, ALL)
        );
        let line = |n, label| {
            // both ends are namespaces of this machine, and the finding names them
            format!(
                "{n}. {label} forwarded: {ALL} entries, 100.0%, {split}, {ALL} in another namespace of this host"
            )
        };
        // equally many: by address
        assert_eq!(
            lines(&answer),
            [
                line(1, format!("from {CLIENT}")),
                line(2, format!("to {SERVER}:6379/tcp"))
            ],
            "{}",
            answer.text
        );
        has(&answer, "\nforwarded 100%\n");
        counts_are_conntracks(&answer, ALL, &listed);
    }

    #[test]
    fn dnat_is_seen_from_all_three_hosts() {
        inside!(Namespaces::Network);
        let net = Net::new(&["dnat", "masquerade"]);
        let server = server("server", "[::]:6379");
        let client = usual_client(&format!("{ROUTER}:8080"));

        // the client knows what it dialled
        let listed = net.settled("client", ALL, CLOSED);
        let answer = net.check("client", &["--top", "-w", "0"]);
        let label = format!("to {ROUTER}:8080/tcp");
        assert_eq!(lines(&answer), [usual_line(&label, &client)]);
        counts_are_conntracks(&answer, ALL, &listed);

        only_forwards(&net);

        // the server knows the router only
        let listed = net.settled("server", ALL, CLOSED);
        let answer = net.check("server", &["--top", "-w", "0"]);
        assert!(
            lines(&answer)[0].starts_with(&format!("1. from {ROUTER_INSIDE}: {ALL} entries, "))
        );
        assert_eq!(lines(&answer).len(), 1, "{}", answer.text);
        has(
            &answer,
            &format!("redis (redis[{}]) {HELD} connections", server.pid()),
        );
        first_has(
            &answer,
            " holds 100% of the entries, to :6379/tcp of this host - ",
        );
        counts_are_conntracks(&answer, ALL, &listed);
    }

    #[test]
    fn masquerade_is_seen_from_all_three_hosts() {
        inside!(Namespaces::Network);
        let net = Net::new(&["masquerade"]);
        let server = server("server", "0.0.0.0:6379");
        let client = usual_client(&format!("{SERVER}:6379"));
        net.settled("client", ALL, CLOSED);
        let answer = net.check("client", &["--top", "-w", "0"]);
        let label = format!("to {SERVER}:6379/tcp");
        assert_eq!(lines(&answer), [usual_line(&label, &client)]);

        only_forwards(&net);

        net.settled("server", ALL, CLOSED);
        let answer = net.check("server", &["--top", "-w", "0"]);
        assert!(
            lines(&answer)[0].starts_with(&format!("1. from {ROUTER_INSIDE}: {ALL} entries, "))
        );
        has(
            &answer,
            &format!("redis (redis[{}]) {HELD} connections", server.pid()),
        );
    }

    #[test]
    fn clients_stay_clients_when_the_server_sends_first_after_a_flush() {
        inside!(Namespaces::Network);
        const CALLS: usize = 200;
        let net = Net::new(&[]);
        let mut sender = Role::sender(&enter("server"), "app", "0.0.0.0:8080");
        let dial = format!("{SERVER}:8080");
        let clients = holding_client("client", &dial, "browser", 4, CALLS as u32);
        net.settled("server", CALLS, 0);

        conntrack::flush_by(&enter("server"));
        sender.send();
        let listed = net.settled("server", CALLS, 0);
        let from_here = |one: &&Listed| one.source == SERVER.parse::<IpAddr>().unwrap();
        assert_eq!(
            listed.iter().filter(from_here).count(),
            CALLS,
            "{listed:#?}"
        );

        let browser = format!("browser[{}] ({CLIENT})", clients.pid());
        let called = |answer: &Answer, who: &str, finding: &str| {
            first_has(answer, &format!(" - {who} {finding} - "));
            has(
                answer,
                "\ninbound 100%, top local services: 8080/tcp 100%\n",
            );
            assert_eq!(lines(answer).len(), 1, "{}", answer.text);
            let from = format!("1. from {CLIENT}: {CALLS} entries, ");
            assert!(lines(answer)[0].starts_with(&from), "{}", answer.text);
            assert_eq!(answer.code, 2, "{}", answer.text);
            assert_eq!(answer.value("endpoint").unwrap()[0], CALLS.to_string());
        };
        let ranges = ["--top", "-c", "endpoint=100"];
        let answer = net.check("server", &ranges);
        let keeps = format!(
            "keeps {CALLS} connections to :8080/tcp of this host open, 100% of the entries"
        );
        called(&answer, &browser, &keeps);
        has(
            &answer,
            &format!("app (app[{}]) {CALLS} connections", sender.pid()),
        );
        let procfs = [&ranges[..], &["--source", "procfs"]].concat();
        called(&net.check("server", &procfs), &browser, &keeps);
        // a range alone has it measured too
        assert_eq!(net.check("server", &["-c", "endpoint=100"]).code, 2);

        // somebody who is sent the list knows no sockets
        let capture = new_file();
        std::fs::write(capture.path(), net.run("server", "conntrack -L")).unwrap();
        let path = capture.path().to_str().unwrap();
        let from_afar = ["--table", path, "--own", SERVER];
        let answer = net.check("router", &[&ranges[..], &from_afar].concat());
        // the addresses of a list that was sent are those of another host
        called(
            &answer,
            CLIENT,
            "holds 100% of the entries, to :8080/tcp of this host",
        );
    }

    #[test]
    fn connections_that_this_host_opened_stay_outbound_after_a_flush() {
        inside!(Namespaces::Network);
        const CALLS: usize = 100;
        let net = Net::new(&[]);
        // the host listens on the port that it dials elsewhere
        let _own = server("client", "0.0.0.0:8080");
        let mut sender = Role::sender(&enter("server"), "app", "0.0.0.0:8080");
        let dial = format!("{SERVER}:8080");
        let _clients = holding_client("client", &dial, "browser", 4, CALLS as u32);
        net.settled("client", CALLS, 0);
        // the entries are new, and the first packet in each is an acknowledgement that this host sends
        for name in ["client", "server"] {
            conntrack::flush_by(&enter(name));
        }
        let late = "table ip late {
            chain in { type filter hook prerouting priority -400; tcp sport 8080 notrack; }
        }";
        printed_for(late, &mut command_line("ip netns exec client nft -f -"));
        sender.send();
        net.settled("client", CALLS, 0);
        let answer = net.check("client", &["--top", "-w", "0"]);
        first_has(
            &answer,
            &format!(
                " - {CALLS} of {CALLS} connections to {SERVER}:8080/tcp on app[{}] are seen from one side only - ",
                sender.pid()
            ),
        );
        has(&answer, "\noutbound 100%\n");
    }

    #[test]
    fn a_redirected_connection_has_its_server() {
        inside!(Namespaces::Network);
        let net = Net::new(&["redirect"]);
        let server = server("server", "[::]:6379");
        let client = usual_client(&format!("{SERVER}:80"));
        let listed = net.settled("server", ALL, CLOSED);
        // the socket is at 6379, the client dialled 80
        assert!(listed.iter().all(|line| line.port == Some(80)));
        let answer = net.check("server", &["--top", "-w", "0"]);
        assert!(lines(&answer)[0].starts_with(&format!("1. from {CLIENT}: {ALL} entries, ")));
        has(
            &answer,
            &format!("redis (redis[{}]) {HELD} connections", server.pid()),
        );
        has(&answer, &format!(", {CLOSED} already closed (TIME_WAIT)\n"));
        first_has(
            &answer,
            " holds 100% of the entries, to :80/tcp of this host - ",
        );
        counts_are_conntracks(&answer, ALL, &listed);
        net.settled("client", ALL, CLOSED);
        let answer = net.check("client", &["--top", "-w", "0"]);
        let label = format!("to {SERVER}:80/tcp");
        assert_eq!(lines(&answer), [usual_line(&label, &client)]);
    }

    #[test]
    fn ipv6_is_told_apart_by_address_or_by_network() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        let server = server("server", "[::]:6379");
        let client = usual_client(&format!("[{SERVER6}]:6379"));
        let listed = net.settled("client", ALL, CLOSED);
        let answer = net.check("client", &["--top", "-w", "0"]);
        let label = format!("to [{SERVER6}]:6379/tcp");
        assert_eq!(lines(&answer), [usual_line(&label, &client)]);
        first_has(
            &answer,
            &format!(
                " - sidekiq {label} on redis[{}] holds 100% of the entries, ",
                server.pid()
            ),
        );
        counts_are_conntracks(&answer, ALL, &listed);

        // one address of a network stands for itself
        let listed = net.settled("server", ALL, CLOSED);
        let answer = net.check(
            "server",
            &["--top", "-w", "0", "-v", "--aggregate", "32,64"],
        );
        assert!(lines(&answer)[0].starts_with(&format!("1. from {CLIENT6}: {ALL} entries, ")));
        has(
            &answer,
            &format!("redis (redis[{}]) {HELD} connections", server.pid()),
        );
        counts_are_conntracks(&answer, ALL, &listed);

        // two do not
        run("ip -n client address add 2001:db8:1::a/64 dev link1 nodad");
        run(&format!(
            "ip -n client -6 route add {SERVER6} via 2001:db8:1::1 src 2001:db8:1::a"
        ));
        let second = holding_client("client", &format!("[{SERVER6}]:6379"), "other", 2, 20);
        let listed = net.settled("server", ALL + 20, CLOSED);
        let answer = net.check("server", &["--top", "-w", "0", "--aggregate", "32,64"]);
        assert_eq!(lines(&answer).len(), 1, "{}", answer.text);
        assert!(
            lines(&answer)[0]
                .starts_with(&format!("1. from 2001:db8:1::/64: {} entries, ", ALL + 20))
        );
        has(
            &answer,
            &format!("redis (redis[{}]) {} connections", server.pid(), HELD + 20),
        );
        counts_are_conntracks(&answer, ALL + 20, &listed);
        let each = ["--top", "-v", "-w", "0", "--aggregate", "32,128"];
        let answer = net.check("server", &each);
        let got = lines(&answer);
        assert_eq!(got.len(), 2, "{}", answer.text);
        assert!(got[0].starts_with(&format!("1. from {CLIENT6}: {ALL} entries, ")));
        assert!(got[1].starts_with("2. from 2001:db8:1::a: 20 entries, "));
        counts_are_conntracks(&answer, ALL, &listed);

        // where the client is two programs, both are named
        let answer = net.check("client", &["--top", "-v", "-w", "0"]);
        assert_eq!(lines(&answer).len(), 1, "{}", answer.text);
        first_has(
            &answer,
            &format!(
                " - sidekiq {label} on redis[{}] holds 100% of the entries, ",
                server.pid()
            ),
        );
        has(
            &answer,
            &format!("sidekiq (sidekiq[{}]) {HELD} connections", client.pid()),
        );
        has(
            &answer,
            &format!(
                "other (other[{}]) 20 connections {} threads, {CLOSED} already closed (TIME_WAIT)\n",
                second.pid(),
                second.threads()
            ),
        );
    }

    #[test]
    fn traffic_within_a_host_is_local() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        let server = server("client", "127.0.0.1:7000");
        let client = usual_client("127.0.0.1:7000");
        let listed = net.settled("client", ALL, CLOSED);
        let answer = net.check("client", &["--top", "-w", "0"]);
        // both ends are here: the one that opens connections is named
        let label = "to 127.0.0.1:7000/tcp local";
        assert_eq!(lines(&answer), [usual_line(label, &client)]);
        lacks(&answer, &format!("[{}]", server.pid()));
        has(&answer, "\nwithin this host 100%\n");
        counts_are_conntracks(&answer, ALL, &listed);
    }

    #[test]
    fn udp_is_attributed_by_connection_or_by_port() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        // nobody is at home, and nobody says so
        net.run("server", "nft add rule inet track in meta l4proto udp drop");
        let one = Role::udp_client(&enter("client"), "resolver", "10.2.0.2:53,10.2.0.3:53");
        let listed = net.settled("client", 2, 0);
        let answer = net.check("client", &["--top"]);
        let line = |n: u32, address: &str| {
            format!(
                "{n}. to {address}:53/udp: 1 entry, 50.0%, UDP 100%, resolver (resolver[{}]) 1 connection {} threads",
                one.pid(),
                one.threads()
            )
        };
        assert_eq!(lines(&answer), [line(1, "10.2.0.2"), line(2, "10.2.0.3")]);
        counts_are_conntracks(&answer, 1, &listed);
        assert_eq!(answer.value("unreplied").unwrap(), ["2"]);
    }

    #[test]
    fn a_sample_still_counts_every_connection_of_its_owners() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        let server = server("server", "[::]:6379");
        let client = holding_client("client", &format!("{SERVER}:6379"), "sidekiq", 4, 100);
        for (name, label, role, comm) in [
            (
                "client",
                format!("to {SERVER}:6379/tcp"),
                &client,
                "sidekiq",
            ),
            ("server", format!("from {CLIENT}"), &server, "redis"),
        ] {
            net.settled(name, 100, 0);
            let answer = net.check(name, &["--top", "--sample", "30"]);
            first_has(&answer, ", estimated from 30 of 100 entries, +-");
            let owner = format!("{comm} ({comm}[{}]) 100 connections", role.pid());
            let line = format!("1. {label}: 100 entries, 100.0%, ESTABLISHED 100%, {owner} ");
            assert!(lines(&answer)[0].starts_with(&line), "{}", answer.text);
        }
    }

    #[test]
    fn sockets_tell_who_called_whom() {
        inside!(Namespaces::Network);
        let net = Net::new(&["redirect"]);
        let server = server("server", "[::]:6379");
        let dial = format!("{SERVER}:80,[{SERVER6}]:6379");
        let client = holding_client("client", &dial, "sidekiq", 4, 40);
        for (name, labels, role, comm) in [
            (
                "client",
                [
                    format!("to {SERVER}:80/tcp"),
                    format!("to [{SERVER6}]:6379/tcp"),
                ],
                &client,
                "sidekiq",
            ),
            (
                "server",
                [format!("from {CLIENT}"), format!("from {CLIENT6}")],
                &server,
                "redis",
            ),
        ] {
            net.settled(name, 40, 0);
            let answer = net.check(name, &["--top", "--source", "sockets"]);
            first_has(&answer, ", sees 40 of 40 entries|");
            let line = |n: usize| {
                format!(
                    "{n}. {}: 20 sockets, ESTABLISHED 100%, {comm} ({comm}[{}]) 20 connections {} threads",
                    labels[n - 1],
                    role.pid(),
                    role.threads()
                )
            };
            assert_eq!(lines(&answer), [line(1), line(2)], "{}", answer.text);
            assert_eq!(table_perfdata(&answer), [""; 0], "{}", answer.text);
        }
        // a socket does not know of REDIRECT
        let answer = net.check("server", &["--top", "--source", "sockets"]);
        has(&answer, "top local services: 6379/tcp 100%\n");
    }

    // ---- synthetic tables ---------------------------------------------------------------------------------------

    /// A table with entries of every kind, as the options of conntrack -A.
    fn of_every_kind() -> String {
        let mut lines = String::new();
        let mut add = |n: u32, entry: &dyn Fn(u32) -> String| {
            for i in 0..n {
                lines.push_str(&format!("-A -t 600 {}\n", entry(i)));
            }
        };
        const REPLIED: &str = "-u SEEN_REPLY";
        const ASSURED: &str = "-u SEEN_REPLY,ASSURED";
        let udp = |first: u32, flags: &'static str| {
            move |i| {
                let port = first + i;
                format!("-p udp -s {CLIENT} -d 198.51.100.53 --sport {port} --dport 53 {flags}")
            }
        };
        add(30, &udp(2000, ""));
        add(12, &udp(3000, ASSURED));
        add(7, &udp(4000, REPLIED));
        add(9, &|i| {
            format!("-p icmp -s {CLIENT} -d 198.51.100.9 --icmp-type 8 --icmp-code 0 --icmp-id {i}")
        });
        add(4, &|i| {
            format!(
                "-p icmpv6 -s {CLIENT6} -d 2001:db8::9 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id {i} {REPLIED}"
            )
        });
        let states = [
            (3, "SYN_SENT", ""),
            (4, "SYN_RECV", REPLIED),
            (6, "ESTABLISHED", ASSURED),
            (2, "ESTABLISHED", REPLIED),
            (1, "FIN_WAIT", ASSURED),
            (2, "CLOSE_WAIT", ASSURED),
            (3, "LAST_ACK", ASSURED),
            (5, "TIME_WAIT", ASSURED),
            (2, "CLOSE", ASSURED),
        ];
        // each with a client of its own
        for ((n, state, flags), client) in states.into_iter().zip(1..) {
            add(n, &move |i| {
                let port = 5000 + i;
                format!(
                    "-p tcp -s 192.0.2.{client} -d {CLIENT} --sport {port} --dport 443 --state {state} {flags}"
                )
            });
        }
        add(3, &|i| {
            let port = 6000 + i;
            format!(
                "-p sctp -s {CLIENT} -d 198.51.100.38 --sport {port} --dport 38412 --state ESTABLISHED \
                 --orig-vtag 1 --reply-vtag 2"
            )
        });
        lines
    }

    #[test]
    fn every_class_is_counted_as_conntrack_does() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        net.insert("client", &of_every_kind());
        let listed = net.list("client");
        let classes: BTreeMap<_, _> = classes(&listed).into_iter().collect();
        // what was set up is what conntrack lists
        for (class, n) in [
            ("unreplied", 30 + 9 + 3 + 3),
            ("evictable", 30 + 7 + 9 + 4 + 3 + 4 + 2 + 3),
            ("established", 8),
            ("time_wait", 5),
            ("syn_sent", 3),
            ("syn_recv", 4),
            ("fin_wait", 1),
            ("close_wait", 2),
            ("last_ack", 3),
            ("close", 2),
            ("udp", 49),
            ("icmp", 13),
            ("other", 3),
        ] {
            assert_eq!(classes[class], n, "{class}");
        }
        for source in ["auto", "netlink", "procfs"] {
            let answer = net.check("client", &["--top=3", "--source", source]);
            counts_are_conntracks(&answer, 49, &listed);
            assert_eq!(answer.code, 0, "{}", answer.text);
            assert!(
                lines(&answer)[0].starts_with("1. to 198.51.100.53:53/udp: 49 entries, "),
                "{}",
                answer.text
            );
            has(&answer, "UDP 100%, 49 no socket left\n");
        }
        let answer = net.check("client", &["--top=50", "-v"]);
        for line in [
            "to 198.51.100.9/icmp: 9 entries, ",
            "to 2001:db8::9/icmpv6: 4 entries, ",
            "to 198.51.100.38:38412/sctp: 3 entries, ",
        ] {
            has(&answer, line);
        }

        // the range itself decides, one entry on either side of it
        for (given, metric, n) in [
            ("endpoint", "endpoint", 49),
            ("time_wait", "time_wait", 5),
            ("unreplied", "unreplied", 45),
            ("evictable", "evictable", 62),
            ("other", "other", 3),
        ] {
            for (option, code) in [("-w", 1), ("-c", 2)] {
                let bound = n - 1;
                let answer = net.check("client", &[option, &format!("{given}={bound}")]);
                assert_eq!(answer.code, code, "{}", answer.text);
                first_has(&answer, &format!(", {metric} {n} above {bound}"));
                let answer = net.check("client", &[option, &format!("{given}={n}")]);
                assert_eq!(answer.code, 0, "{}", answer.text);
                // without --top nobody is named, yet everything is counted
                counts_are_conntracks(&answer, 49, &listed);
                assert!(lines(&answer).is_empty(), "{}", answer.text);
            }
        }

        // percent is of nf_conntrack_max, which is not ours to lower: another file is put over it
        for (max, code) in [(450, 0), (449, 1)] {
            let with_limit = file("scripts/with-limit");
            let max_text = max.to_string();
            let through = [with_limit.to_str().unwrap(), &max_text];
            let answer = net.answer("client", &through, &["-w", "unreplied=10%"]);
            assert_eq!(answer.code, code, "{}", answer.text);
            assert_eq!(
                answer.value("unreplied").unwrap()[..2],
                ["45", if max == 450 { "45" } else { "44" }],
                "{}",
                answer.text
            );
            if code == 1 {
                first_has(&answer, ", unreplied 45 above 10%");
            }
        }
    }

    /// The numbers of entries to 198.51.100.7:53, to 198.51.100.8:53, and to the others.
    const MANY: [usize; 3] = [12_000, 7_500, 10_500];
    const TOTAL: usize = MANY[0] + MANY[1] + MANY[2];

    /// A table of 30000 entries.
    fn many() -> String {
        let mut lines = String::new();
        for (last, n) in [(7, MANY[0]), (8, MANY[1])] {
            for i in 0..n {
                let port = 1024 + i;
                lines.push_str(&format!(
                    "-A -t 600 -p udp -s {CLIENT} -d 198.51.100.{last} --sport {port} --dport 53\n"
                ));
            }
        }
        for i in 0..MANY[2] {
            let (last, port) = (i % 250 + 1, 1000 + i / 250);
            let (source, destination) = if i % 2 == 0 {
                (CLIENT, format!("203.0.113.{last}"))
            } else {
                (CLIENT6, format!("2001:db8::{last}"))
            };
            lines.push_str(&format!(
                "-A -t 600 -p tcp -s {source} -d {destination} --sport {port} --dport 443 --state TIME_WAIT \
                 -u SEEN_REPLY,ASSURED\n"
            ));
        }
        lines
    }

    #[test]
    fn a_sample_stands_for_the_table() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        net.insert("client", &many());
        let listed = net.list("client");
        for (sample, arguments) in [(2_000, &["--sample", "2000"][..]), (20_000, &[])] {
            for source in ["netlink", "procfs"] {
                let given = ["--top", "3", "--source", source];
                let answer = net.check("client", &[&given[..], arguments].concat());
                let first = answer.first_line();
                let told = format!(", estimated from {sample} of {TOTAL} entries, +-");
                let (_, half_width) = first.split_once(&told).unwrap_or_else(|| panic!("{first}"));
                let half_width: f64 = half_width.split('%').next().unwrap().parse().unwrap();
                let share = MANY[0] as f64 / TOTAL as f64;
                let left = (TOTAL - sample) as f64 / (TOTAL - 1) as f64;
                let expected = 196.0 * (share * (1.0 - share) / sample as f64 * left).sqrt();
                // wider than the one of an endpoint that is chosen beforehand
                let is_of_the_largest = expected - 0.15..expected * 1.35 + 0.15;
                assert!(
                    is_of_the_largest.contains(&half_width),
                    "{half_width} {expected}"
                );
                let value = |label| -> f64 { answer.value(label).unwrap()[0].parse().unwrap() };
                // one in twenty is outside of it, one in ten thousand of twice as much
                for (label, n) in [
                    ("endpoint", MANY[0]),
                    ("udp", MANY[0] + MANY[1]),
                    ("unreplied", MANY[0] + MANY[1]),
                    ("time_wait", MANY[2]),
                ] {
                    let off = (value(label) - n as f64).abs() * 100.0 / TOTAL as f64;
                    assert!(off <= half_width * 2.0, "{label} is off by {off}%: {first}");
                }
                assert_eq!(value("entries"), TOTAL as f64);
                // each is rounded for itself
                let sum = value("udp") + value("time_wait");
                assert!((sum - TOTAL as f64).abs() <= 1.0, "{first}");
                let shown = format!("1. to 198.51.100.7:53/udp: {} entries, ", value("endpoint"));
                assert!(lines(&answer)[0].starts_with(&shown), "{}", answer.text);
            }
        }
        let answer = net.check("client", &["--top", "3", "--sample", "0"]);
        counts_are_conntracks(&answer, MANY[0], &listed);
        lacks(&answer, "estimated");
        // exactly as many as there are is no sample
        let answer = net.check("client", &["--top", "3", "--sample", &TOTAL.to_string()]);
        counts_are_conntracks(&answer, MANY[0], &listed);
        lacks(&answer, "estimated");
    }

    #[test]
    fn every_source_tells_the_same() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        net.insert("client", &many());
        let listed = net.list("client");
        // with room for all five wherever they are from
        let common = ["--top=5", "--sample", "0", "-v"];
        let expected = net.check("client", &[&common[..], &["--source", "netlink"]].concat());
        counts_are_conntracks(&expected, MANY[0], &listed);
        assert_eq!(endpoints(&expected).len(), 5, "{}", expected.text);
        let directory = new_folder();
        let capture = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let lists = |how: &str| {
            let list = |family| net.run("client", &format!("conntrack -L -f {family} {how}"));
            ["ipv4", "ipv6"].map(list).concat()
        };
        let listing = capture("list", &lists(""));
        let extended = capture("extended", &lists("-o extended"));
        let procfs = capture("procfs", &net.run("client", "cat /proc/net/nf_conntrack"));
        for arguments in [
            &["--source", "procfs"][..],
            &["--table", &listing],
            &["--table", &extended],
            &["--table", &procfs],
            // own addresses given instead of looked up
            &["--table", &listing, "--own", "10.1.0.0/24,2001:db8:1::/64"],
        ] {
            let answer = net.check("client", &[&common[..], arguments].concat());
            assert_eq!(endpoints(&answer), endpoints(&expected), "{}", answer.text);
            counts_are_conntracks(&answer, MANY[0], &listed);
        }
        let stdin = std::fs::File::open(&listing).unwrap();
        let arguments = [&common[..], &["--table", "-"]].concat();
        let answer = net.answer_to(stdin.into(), "client", &[], &arguments);
        assert_eq!(endpoints(&answer), endpoints(&expected), "{}", answer.text);
        counts_are_conntracks(&answer, MANY[0], &listed);
    }

    // ---- privilege ----------------------------------------------------------------------------------------------

    #[test]
    fn without_privilege_local_sockets_have_to_do() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        let _server = server("server", "[::]:6379");
        let dial = format!("{SERVER}:6379");
        let mine = Client {
            dial: &dial,
            comm: "mine",
            threads: 4,
            held: 25,
            closed: 30,
        };
        let own = Role::client(&[&enter("client")[..], &UNPRIVILEGED].concat(), &mine);
        let _other = holding_client("client", &dial, "privileged", 2, 15);
        net.settled("client", 70, 30);
        // root may read the file without any capability; its owner here is this namespace's root
        net.run("client", "chmod 0 /proc/net/nf_conntrack");

        for thresholds in [&[][..], &["-w", "0"], &["-c", "entries=5"]] {
            let plain = net.answer("client", &UNPRIVILEGED, thresholds);
            let privileged = net.check("client", &[thresholds, &["--top"]].concat());
            let answer = net.answer("client", &UNPRIVILEGED, &[thresholds, &["--top"]].concat());
            assert_eq!(answer.code, plain.code, "{}", answer.text);
            assert_eq!(privileged.code, plain.code, "{}", privileged.text);
            first_has(&answer, ", sees ");
            first_has(&answer, " of 70 entries (no CAP_NET_ADMIN)|");
            // sockets in TIME_WAIT count as long as the kernel has them
            assert!(
                lines(&answer)[0].starts_with(&format!("1. to {dial}/tcp: ")),
                "{}",
                answer.text
            );
            has(
                &answer,
                &format!(
                    "mine (mine[{}]) 25 connections {} threads",
                    own.pid(),
                    own.threads()
                ),
            );
            has(&answer, "user root 15 connections");
            has(&answer, "15 sockets belong to other users' processes");
            // sockets are not the table
            assert_eq!(table_perfdata(&answer), [""; 0], "{}", answer.text);
        }

        for metric in ["endpoint=1", "time_wait=100", "unreplied=10%"] {
            let answer = net.answer("client", &UNPRIVILEGED, &["--top", "-w", metric]);
            assert_eq!(answer.code, 3, "{}", answer.text);
            let (metric, _) = metric.split_once('=').unwrap();
            first_has(
                &answer,
                &format!(
                    ", {metric} not measured: only local sockets could be read, not the table (the table needs CAP_NET_ADMIN)"
                ),
            );
        }
        // what is worse than unknown stays
        let answer = net.answer("client", &UNPRIVILEGED, &["-w", "0", "-w", "endpoint=1"]);
        assert_eq!(answer.code, 1, "{}", answer.text);

        for (source, why) in [
            ("netlink", "CAP_NET_ADMIN"),
            ("procfs", "root, gid 0 or CAP_DAC_READ_SEARCH"),
        ] {
            let arguments = ["--top", "--source", source];
            let answer = net.answer("client", &UNPRIVILEGED, &arguments);
            assert_eq!(answer.code, 0, "{}", answer.text);
            first_has(&answer, ", cannot see who holds the entries: ");
            first_has(&answer, why);
            let with = [&arguments[..], &["-w", "endpoint=1000"]].concat();
            let answer = net.answer("client", &UNPRIVILEGED, &with);
            assert_eq!(answer.code, 3, "{}", answer.text);
            first_has(&answer, why);
        }

        // the file will do where it can be read
        net.run("client", "chmod 440 /proc/net/nf_conntrack");
        let answer = net.answer("client", &UNPRIVILEGED, &["--top", "-w", "endpoint=1000"]);
        assert_eq!(answer.code, 0, "{}", answer.text);
        counts_are_conntracks(&answer, 70, &net.list("client"));
    }

    #[test]
    fn foreign_names_do_not_break_the_answer() {
        inside!(Namespaces::Network);
        let net = Net::new(&[]);
        let _server = server("server", "[::]:6379");
        for (comm, cleaned) in [
            ("x|evil=1;rm", "xevil=1rm"),
            ("a\nb\u{1b}[31mc", "ab[31mc"),
            ("$(id)`id`<&>\"'~", "command (id)id"),
            ("| usage=99%;1;2", " usage=99%12"),
            ("\n", "(unnamed)"),
            ("d\u{e9}mon", "d"),
        ] {
            let client = holding_client("client", &format!("{SERVER}:6379"), comm, 2, 6);
            net.settled("client", 6, 0);
            let answer = net.check("client", &["--top", "-w", "0", "-v"]);
            let line = lines(&answer)[0];
            let (_, owner) = line.split_once("ESTABLISHED 100%, ").unwrap();
            let command = cleaned.strip_prefix("command ").unwrap_or(cleaned);
            let shown = format!("{cleaned} ({command}[{}]) 6 connections", client.pid());
            if comm.is_ascii() {
                assert!(owner.starts_with(shown.trim_start()), "{comm:?}: {line}");
                first_has(
                    &answer,
                    &format!(" - {} keeps 6 connections to ", cleaned.trim_start()),
                );
            } else {
                assert!(owner.starts_with(cleaned), "{comm:?}: {line}");
            }
            // nothing of it gets among the values
            assert_eq!(answer.value("usage").unwrap()[1], "0");
            assert!(answer.value("evil").is_none());
            drop(client);
            net.forget("client", 6);
        }
    }

    // ---- system calls -------------------------------------------------------------------------------------------

    /// These need strace too: both groups' names stand in theirs.
    mod strace {
        use super::super::trace;
        use super::*;

        #[test]
        fn an_ok_run_does_not_touch_the_table_unless_asked_to() {
            inside!(Namespaces::Network);
            let net = Net::new(&[]);
            net.insert("client", &of_every_kind());
            let traced = |arguments: &[&str]| {
                let through = ["ip", "netns", "exec", "client"];
                trace::calls(&through, arguments)
            };
            let plain = traced(&[]);
            assert_eq!(traced(&["--top", "--top-when", "problem"]), plain);
            assert!(!trace::opens_sockets(&plain), "{plain:#?}");
            // the same where there is a problem, or always: it would have been seen
            for arguments in [
                &["--top"][..],
                &["--top", "--top-when", "problem", "-w", "0"],
                &["-w", "endpoint=100"],
            ] {
                let calls = traced(arguments);
                assert!(trace::opens_sockets(&calls), "{arguments:?} {calls:#?}");
            }
        }

        #[test]
        fn a_kernel_that_does_not_track_is_asked_for_no_entries() {
            inside!(Namespaces::Network);
            // the live procfs, as far as the check can tell, of a kernel without the module
            run("mount -t tmpfs none /proc");
            std::fs::create_dir_all("/proc/sys/net/core").unwrap();
            for (state, code) in [("ok", 0), ("warning", 1), ("critical", 2), ("unknown", 3)] {
                for top in [
                    &["--top"][..],
                    &["--top", "--top-when", "problem"],
                    &["--top", "--source", "netlink"],
                    &["--top", "--source", "sockets"],
                    &["-w", "endpoint=1"],
                ] {
                    let arguments = [top, &["--absent", state]].concat();
                    let answer = crate::common::answer(&arguments);
                    assert_eq!(answer.code, code, "{}", answer.text);
                    assert!(
                        answer.fits_nrpe_2() && lines(&answer).is_empty(),
                        "{}",
                        answer.text
                    );
                    let calls = trace::calls(&[], &arguments);
                    assert!(!trace::opens_sockets(&calls), "{arguments:?} {calls:#?}");
                }
            }
        }
    }
}

/// The system calls of a run.
mod trace {
    use crate::common::plugin::check_after;

    /// The system calls of a run from its timer on, each with the path it opens. Before it are start-up and the
    /// handling of capabilities, which differs: they are given up at once where nothing will need them. Memory is left
    /// out, because the answer itself takes some.
    pub(crate) fn calls(through: &[&str], arguments: &[&str]) -> Vec<String> {
        let log = crate::common::new_file();
        let strace = ["strace", "-f", "-o", log.path().to_str().unwrap()];
        let output = check_after(&[through, &strace].concat(), arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.is_empty(), "{stderr}");
        let log = std::fs::read_to_string(log.path()).unwrap();
        let calls = log.lines().map(|line| {
            // the number of the process, which fills up a column of its own
            let (_, call) = line.split_once(' ').unwrap();
            let call = call.trim_start();
            let (name, rest) = call.split_once('(').unwrap_or((call, ""));
            match name {
                "openat" | "statx" | "newfstatat" | "socket" => {
                    // without pointers
                    let words = rest.split(' ').filter(|word| !word.starts_with("0x"));
                    format!("{name}({}", words.collect::<Vec<_>>().join(" "))
                }
                _ => name.to_owned(),
            }
        });
        const MEMORY: [&str; 5] = ["brk", "mmap", "munmap", "mremap", "mprotect"];
        const CAPABILITIES: [&str; 2] = ["capget", "capset"];
        calls
            .skip_while(|name| name != "alarm")
            .filter(|name| !MEMORY.contains(&&**name) && !CAPABILITIES.contains(&&**name))
            .collect()
    }

    /// True if it asks by netlink. The Unix socket, connected to nothing, tells the network namespace.
    pub(crate) fn opens_sockets(calls: &[String]) -> bool {
        assert!(calls.len() > 3, "{calls:?}");
        let other = |call: &&String| !call.starts_with("socket(AF_UNIX");
        calls
            .iter()
            .filter(other)
            .any(|call| call.starts_with("socket("))
    }
}

mod strace {
    use super::trace;
    use crate::common::ProcRoot;

    #[test]
    fn only_a_problem_makes_the_run_look_for_entries() {
        let root = ProcRoot::tracking("850\n", "1000\n");
        let shown = root.path().to_str().unwrap();
        let traced = |arguments: &[&str]| {
            trace::calls(&[], &[&["--proc-root", shown][..], arguments].concat())
        };
        let well = &["-w", "90"][..];
        let plain = traced(well);
        assert_eq!(
            traced(&[well, &["--top", "--top-when", "problem"]].concat()),
            plain
        );
        // 85 % is above 80 %
        assert_ne!(traced(&["--top", "--top-when", "problem"]), traced(&[]));
        assert_ne!(traced(&[well, &["--top"]].concat()), plain);
        assert!(
            !trace::opens_sockets(&traced(&["--top"])),
            "another proc root"
        );
    }

    #[test]
    fn nothing_is_looked_for_where_nothing_is_tracked() {
        let root = ProcRoot::empty();
        let shown = root.path().to_str().unwrap();
        let traced = |arguments: &[&str]| {
            trace::calls(&[], &[&["--proc-root", shown][..], arguments].concat())
        };
        for state in ["ok", "unknown"] {
            let plain = traced(&["--absent", state]);
            for when in ["always", "problem"] {
                let calls = traced(&["--absent", state, "--top", "--top-when", when]);
                assert_eq!(calls, plain);
                assert!(!trace::opens_sockets(&calls));
            }
        }
    }
}
