//! Dumps of the real kernel, in network namespaces this test makes itself: no privilege needed, no other table touched.

mod netns {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Instant;

    use check_conntrack::model::conntrack::{Entry, Protocol, TcpState};
    use check_conntrack::model::dump::{Choice, DumpEnd, DumpSummary};
    use check_conntrack::model::error::ReadError;
    use check_conntrack::model::socket::LocalSocket;
    use check_conntrack::source::enter_netns::NetnsAccess;
    use check_conntrack::source::entries::{self, EntryQuery};
    use check_conntrack::source::netlink::{ct_dump as ctnetlink, sock_diag as sockets};

    use crate::common::conntrack;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::network::loopback_up;
    use crate::common::wait::{PATIENCE, holds, wait_for};

    fn soon() -> Instant {
        Instant::now() + PATIENCE
    }

    /// A dump. The time that an entry has left differs from one dump to the next, and is left out.
    fn dump(sample: u64) -> (DumpSummary, Vec<Entry>) {
        let mut entries = Vec::new();
        let mut sent = 0;
        let mut take = |entry: &Entry| {
            entries.push(Entry {
                timeout: None,
                ..*entry
            });
        };
        let listing = ctnetlink::dump(sample, soon(), || sent += 1, &mut take);
        assert_eq!(sent, 1);
        (
            listing.expect("the root of a namespace may dump it"),
            entries,
        )
    }

    /// Makes this many TCP entries in turn of eight states, and as many again of UDP over IPv6.
    fn insert(number: u64) {
        const STATES: [&str; 8] = [
            "SYN_SENT",
            "SYN_RECV",
            "ESTABLISHED",
            "FIN_WAIT",
            "CLOSE_WAIT",
            "LAST_ACK",
            "TIME_WAIT",
            "CLOSE",
        ];
        loopback_up();
        let mut entries = String::new();
        for (i, state) in (0..number).zip(STATES.iter().cycle()) {
            let (last, port) = (i % 250 + 1, 1024 + i);
            let status = if *state == "SYN_SENT" {
                ""
            } else {
                "-u SEEN_REPLY,ASSURED"
            };
            entries += &format!(
                "-A -p tcp -s 192.0.2.{last} -d 198.51.100.7 --sport {port} --dport 443 --state {state} -t 600 {status}\n\
                 -A -p udp -s 2001:db8::{last} -d 2001:db8::ffff --sport {port} --dport 53 -t 600\n"
            );
        }
        conntrack::insert(&entries);
    }

    #[test]
    fn a_dump_is_what_conntrack_lists() {
        inside!(Namespaces::Network);
        insert(1001);
        let (listing, entries) = dump(0);
        assert_eq!((listing.end, listing.broken), (DumpEnd::Whole, 0));
        assert!(!listing.inexact);
        assert_eq!((listing.read, entries.len()), (2002, 2002));
        assert_eq!(listing.read, conntrack::count());
        // conntrack -L: "tcp 6 599 STATE src=... dst=... sport=... dport=... [UNREPLIED] src=... [ASSURED] mark=0 use=1"
        let mut lines: Vec<String> = Vec::new();
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for line in conntrack::list_by(&[]).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let tuples: Vec<&str> = words
                .iter()
                .filter(|word| word.contains('=') && !word.starts_with(['m', 'u']))
                .copied()
                .collect();
            let flag = |flag: &str| words.contains(&flag);
            if words[0] == "tcp" {
                *states.entry(words[3].to_owned()).or_default() += 1;
            }
            lines.push(format!(
                "{} {} {} {}",
                words[0],
                tuples.join(" "),
                !flag("[UNREPLIED]"),
                flag("[ASSURED]")
            ));
        }
        let mut ours: Vec<String> = entries
            .iter()
            .map(|entry| {
                let tuples = [entry.original, entry.reply].map(|tuple| {
                    format!(
                        "src={} dst={} sport={} dport={}",
                        tuple.source, tuple.destination, tuple.source_port, tuple.destination_port
                    )
                });
                let tuples = tuples.join(" ");
                format!(
                    "{} {tuples} {} {}",
                    entry.protocol, entry.replied, entry.assured
                )
            })
            .collect();
        lines.sort();
        ours.sort();
        assert_eq!(ours, lines);
        let mut our_states: BTreeMap<String, u64> = BTreeMap::new();
        for state in entries.iter().filter_map(|entry| entry.tcp_state) {
            let (_, name) = TcpState::ALL
                .iter()
                .find(|(known, _)| *known == state)
                .unwrap();
            *our_states.entry((*name).to_owned()).or_default() += 1;
        }
        assert_eq!(our_states, states);
        assert_eq!(our_states.len(), 8);
        assert_eq!((our_states["SYN_SENT"], our_states["CLOSE"]), (126, 125));
    }

    #[test]
    fn a_sample_is_the_beginning_of_the_dump() {
        inside!(Namespaces::Network);
        insert(400);
        let (_, all) = dump(0);
        for sample in [1, 100, 799] {
            let (listing, entries) = dump(sample);
            assert_eq!((listing.end, listing.read), (DumpEnd::Sampled, sample));
            assert_eq!(entries, all[..sample as usize]);
        }
        assert_eq!(dump(800).0.end, DumpEnd::Whole);
        let mut read = 0;
        let late = ctnetlink::dump(0, Instant::now(), || {}, |_| read += 1).unwrap();
        assert_eq!((late.end, late.read, read), (DumpEnd::TimeUp, 0, 0));
    }

    #[test]
    fn privilege_is_needed_for_the_request_and_not_for_the_answers() {
        inside!(Namespaces::Network);
        insert(400);
        let mut read = 0;
        // the table is longer than the one datagram the kernel makes before it is asked for more
        let listing = ctnetlink::dump(
            0,
            soon(),
            check_conntrack::runtime::privilege::give_up_all,
            |_| read += 1,
        );
        let listing = listing.unwrap();
        assert_eq!(
            (listing.end, listing.read, read),
            (DumpEnd::Whole, 800, 800)
        );
        let mut sent = false;
        let refused = ctnetlink::dump(0, soon(), || sent = true, |_| panic!("an entry"));
        let expected = ReadError::NotPermitted {
            what: "the table",
            needs: "CAP_NET_ADMIN",
        };
        assert_eq!(refused, Err(expected));
        assert!(sent);
    }

    fn all_sockets() -> Vec<LocalSocket> {
        let mut all = Vec::new();
        sockets::sockets(soon(), |socket| all.push(*socket)).expect("sock_diag needs no privilege");
        all
    }

    #[test]
    fn local_sockets_are_seen_without_privilege() {
        inside!(Namespaces::Network);
        loopback_up();
        check_conntrack::runtime::privilege::give_up_all();
        assert_eq!(all_sockets(), []);
        let server = TcpListener::bind("[::]:6001").unwrap();
        let client = TcpStream::connect("127.0.0.1:6001").unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let unconnected = UdpSocket::bind("127.0.0.1:5353").unwrap();
        let connected = UdpSocket::bind("[::1]:5354").unwrap();
        connected.connect("[::1]:53").unwrap();
        let all = all_sockets();
        let find = |protocol, local: std::net::SocketAddr, remote: &str| {
            let remote = remote.parse().unwrap();
            let matches = |socket: &&LocalSocket| {
                (socket.protocol, socket.local, socket.remote) == (protocol, local, remote)
            };
            *all.iter()
                .find(matches)
                .unwrap_or_else(|| panic!("{local} {remote} in {all:?}"))
        };
        assert_eq!(all.len(), 5, "{all:?}");
        let far = client.local_addr().unwrap();
        let listening = find(Protocol::TCP, "[::]:6001".parse().unwrap(), "[::]:0");
        assert!(listening.listening && listening.tcp_state.is_none());
        let near = find(
            Protocol::TCP,
            "127.0.0.1:6001".parse().unwrap(),
            &far.to_string(),
        );
        let here = find(Protocol::TCP, far, "127.0.0.1:6001");
        assert_eq!(near.sides(), here.sides());
        for socket in [near, here] {
            assert_eq!(socket.tcp_state, Some(TcpState::Established));
            assert!(socket.inode > 0 && !socket.listening);
        }
        let local = unconnected.local_addr().unwrap();
        assert!(find(Protocol::UDP, local, "0.0.0.0:0").tcp_state.is_none());
        find(Protocol::UDP, connected.local_addr().unwrap(), "[::1]:53");

        // the client closes first and keeps the TIME_WAIT, without owner or inode
        client.shutdown(std::net::Shutdown::Both).unwrap();
        accepted.read_to_end(&mut Vec::new()).unwrap();
        accepted.flush().unwrap();
        drop((client, accepted));
        wait_for("a TIME_WAIT", || {
            let all = all_sockets();
            let left = all.iter().any(|socket| {
                socket.local == far
                    && socket.tcp_state == Some(TcpState::TimeWait)
                    && socket.inode == 0
            });
            holds(left, all)
        });
    }

    #[test]
    fn sockets_that_wait_are_read_without_the_connections() {
        inside!(Namespaces::Network);
        loopback_up();
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 50000").unwrap();
        let server = TcpListener::bind("0.0.0.0:8080").unwrap();
        let _other = TcpListener::bind("[::1]:45000").unwrap();
        let _client = TcpStream::connect("127.0.0.1:8080").unwrap();
        let _accepted = server.accept().unwrap();
        let _resolver = UdpSocket::bind("0.0.0.0:53").unwrap();
        let _six = UdpSocket::bind("[::]:5300").unwrap();
        // a port that the kernel may have given, and a connected socket
        let _given = UdpSocket::bind("127.0.0.1:45001").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:5301").unwrap();
        connected.connect("127.0.0.1:53").unwrap();
        let side = |protocol, text: &str| {
            let end: std::net::SocketAddr = text.parse().unwrap();
            (protocol, (end.ip().into(), end.port()))
        };
        let mut expected = vec![
            side(Protocol::TCP, "0.0.0.0:8080"),
            side(Protocol::TCP, "[::1]:45000"),
            side(Protocol::UDP, "0.0.0.0:53"),
            side(Protocol::UDP, "[::]:5300"),
        ];
        expected.sort();
        // by sock_diag, and from the files
        for live in [true, false] {
            let proc_root = std::path::PathBuf::from("/proc");
            let wanted = EntryQuery {
                place: NetnsAccess::own(&proc_root, live),
                proc_root,
                elsewhere: None,
                choice: Choice::Auto,
                extent: 0.into(),
                count: 0,
                is_recorded: false,
                deadline: soon(),
            };
            let mut found = entries::listening(&wanted).unwrap();
            found.sort();
            assert_eq!(found, expected, "live: {live}");
        }
    }
}
