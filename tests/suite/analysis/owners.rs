//! The owners of entries on a live kernel: sockets that close, move or hide while the check looks, ports that change
//! hands, and users who are in the way.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::common::wait::PATIENCE;

/// In namespaces of their own, with a table.
mod netns {
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;
    use crate::common::namespaces::{Namespaces, inside, this_test};
    use crate::common::network::{loopback_up, track};
    use crate::common::plugin::check_after;
    use crate::common::programs::{printed_for, program, run};
    use crate::common::wait::{holds, wait_for};
    use crate::common::{Answer, conntrack};
    use crate::roles::{self, Role};

    /// Has lo and an interface to nowhere up, and connections tracked.
    pub(super) fn set_up() {
        loopback_up();
        let lines = "link add nowhere type veth peer name nobody
            address add 10.9.0.1/24 dev nowhere
            link set nowhere up
            link set nobody up
            neighbour add 10.9.0.53 lladdr 02:00:00:00:00:01 dev nowhere nud permanent
            neighbour add 10.9.0.54 lladdr 02:00:00:00:00:01 dev nowhere nud permanent";
        printed_for(lines, program("ip").args(["-batch", "-"]));
        track();
    }

    /// The answer about this network namespace, with the smallest endpoints.
    fn says(arguments: [&str; 2]) -> Answer {
        crate::common::answer(["--top", "-v"].iter().chain(&arguments))
    }

    /// The line of an endpoint, without its number.
    fn line<'a>(answer: &'a Answer, label: &str) -> &'a str {
        let lines = answer.text.lines().filter_map(|line| line.split_once(". "));
        let mut lines = lines.map(|(_, line)| line);
        lines
            .find(|line| line.starts_with(label))
            .unwrap_or_else(|| panic!("{label} in\n{}", answer.text))
    }

    /// Connections within this host, both ends held by this process.
    pub(super) fn connections(number: usize) -> (SocketAddr, Vec<[TcpStream; 2]>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held = (0..number).map(|_| {
            let near = TcpStream::connect(address).unwrap();
            [near, listener.accept().unwrap().0]
        });
        (address, held.collect())
    }

    /// This process as it is shown.
    fn me() -> String {
        format!("[{}])", std::process::id())
    }

    // ---- sockets that move -------------------------------------------------------------------------------------

    /// Tests that need strace have it in their name.
    mod strace {
        use super::*;

        #[test]
        fn sockets_that_are_closed_or_accepted_between_the_two_looks_have_no_owner_of_their_own() {
            inside!(Namespaces::Network);
            set_up();
            let (address, mut held) = connections(10);
            let waiting = TcpListener::bind("127.0.0.1:0").unwrap();
            let second = waiting.local_addr().unwrap();
            let dialled = [0; 3].map(|_| TcpStream::connect(second).unwrap());
            // the first listing of a directory is that of the processes, and comes after the sockets were looked at
            let strace = [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "inject=getdents64:delay_enter=4000000:when=1",
            ];
            let mut strace = check_after(&strace, ["--top", "--source", "netlink"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let strace_pid = strace.id();
            wait_for("the check to open the list of processes", || {
                holds(has_proc_open(strace_pid), "not yet")
            });
            // 4 connections of 10, both ends
            held.truncate(6);
            let accepted = [0; 2].map(|_| waiting.accept().unwrap());
            let stdout = std::io::read_to_string(strace.stdout.take().unwrap()).unwrap();
            assert!(strace.wait().unwrap().success(), "{stdout}");
            let answer = Answer {
                code: 0,
                text: stdout,
            };
            for foreign in ["uid 0", "user root", "no process"] {
                assert!(
                    !answer.text.contains(foreign),
                    "{foreign} in {}",
                    answer.text
                );
            }
            let line = self::line(&answer, &format!("to {address}/tcp local: 10 entries, "));
            assert!(line.contains(&format!("{} 6 connections", me())), "{line}");
            assert!(line.ends_with(", 4 no socket left"), "{line}");
            let line = self::line(&answer, &format!("to {second}/tcp local: 3 entries, "));
            assert!(line.contains(&format!("{} 3 connections", me())), "{line}");
            drop((dialled, accepted));
        }

        /// True if a child of this process has opened the directory of processes.
        fn has_proc_open(parent: u32) -> bool {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            let children = children.unwrap_or_default();
            children.split_whitespace().any(|pid| {
                let links = fs::read_dir(format!("/proc/{pid}/fd"));
                let mut links = links.into_iter().flatten().flatten();
                links.any(|link| {
                    let target = fs::read_link(link.path());
                    target.is_ok_and(|target| target == Path::new("/proc"))
                })
            })
        }
    }

    /// Sends both ends of a connection away: they are on their way as long as the other end does not read.
    pub(super) fn send_away(here: &UnixStream, [near, far]: [TcpStream; 2]) {
        let on_its_way = [near.as_fd(), far.as_fd()];
        let mut room = [MaybeUninit::uninit(); 64];
        let mut message = SendAncillaryBuffer::new(&mut room);
        assert!(message.push(SendAncillaryMessage::ScmRights(&on_its_way)));
        let byte = [IoSlice::new(b"x")];
        sendmsg(here, &byte, &mut message, SendFlags::empty()).unwrap();
    }

    #[test]
    fn a_socket_on_its_way_between_processes_has_no_process_and_that_is_said() {
        inside!(Namespaces::Network);
        set_up();
        let (address, mut held) = connections(3);
        let (here, _there) = UnixStream::pair().unwrap();
        send_away(&here, held.pop().unwrap());
        let answer = says(["--source", "netlink"]);
        let line = line(&answer, &format!("to {address}/tcp local"));
        assert!(line.contains(&format!("{} 2 connections", me())), "{line}");
        assert!(!line.contains("uid 0 "), "without a reason: {line}");
        assert!(
            line.contains(", user root (no process) 1 connection"),
            "{line}"
        );
        assert!(
            answer.text.contains("\n2 sockets are held by no process: "),
            "{}",
            answer.text
        );
    }

    #[test]
    fn a_thread_with_descriptors_of_its_own_is_found() {
        inside!(Namespaces::Network);
        set_up();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (_end, wait) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            #[allow(unsafe_code)]
            // SAFETY: this thread uses no descriptor that another thread opens or closes afterwards
            unsafe {
                rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES).unwrap();
            }
            let near = TcpStream::connect(address).unwrap();
            tell.send(()).unwrap();
            let _ = wait.recv();
            drop(near);
        });
        told.recv().unwrap();
        let _far = listener.accept().unwrap();
        let answer = says(["--source", "netlink"]);
        let line = line(&answer, &format!("to {address}/tcp local"));
        assert!(line.contains(&format!("{} 1 connection", me())), "{line}");
    }

    // ---- ports that change hands -------------------------------------------------------------------------------

    /// A socket of UDP at a port of all addresses.
    fn bound(port: u16) -> UdpSocket {
        UdpSocket::bind(("0.0.0.0", port)).unwrap()
    }

    #[test]
    fn a_program_that_began_after_the_last_packet_is_not_named_by_its_port() {
        if let Some(ports) = this_test!().part() {
            let ports = ports.to_str().unwrap().split(' ');
            let sockets: Vec<UdpSocket> = ports.map(|port| bound(port.parse().unwrap())).collect();
            roles::hold();
            return drop(sockets);
        }
        inside!(Namespaces::Network);
        set_up();
        // a port that programs choose, and one that the kernel chooses
        let old = [bound(5000), bound(0)];
        let ports = [&old[0], &old[1]].map(|socket| socket.local_addr().unwrap().port());
        for socket in old {
            socket.send_to(b"x", "10.9.0.53:53").unwrap();
        }
        // 30 seconds after a packet, unless told otherwise
        wait_for("entries that have been silent for three seconds", || {
            let list = run("conntrack -L -p udp");
            let left = list
                .lines()
                .filter_map(|line| line.split_whitespace().nth(2));
            let left: Vec<u32> = left.map(|seconds| seconds.parse().unwrap()).collect();
            holds(left.iter().all(|seconds| *seconds <= 26), left)
        });
        let [one, other] = ports.map(|port| port.to_string());
        let mut later = this_test!().again(&[], format!("{one} {other}"));
        let later = Role::start(&mut later);
        // this process is as old as its entry
        let own = bound(5001);
        own.send_to(b"x", "10.9.0.54:53").unwrap();
        let answer = says(["--source", "netlink"]);
        assert!(
            !answer.text.contains(&format!("[{}]", later.pid())),
            "{}",
            answer.text
        );
        let silent = line(&answer, "to 10.9.0.53:53/udp: 2 entries, ");
        assert!(silent.ends_with(", 2 no socket left"), "{silent}");
        let named = line(&answer, "to 10.9.0.54:53/udp: 1 entry, ");
        assert!(named.contains(&format!("{} 1 connection", me())), "{named}");
        // the file tells the time that is left too
        let answer = says(["--source", "procfs"]);
        let silent = line(&answer, "to 10.9.0.53:53/udp: 2 entries, ");
        assert!(silent.ends_with(", 2 no socket left"), "{silent}");
    }

    #[test]
    fn a_program_that_has_an_old_port_of_a_resolver_by_chance_is_not_named() {
        inside!(Namespaces::Network);
        set_up();
        let own = bound(0);
        let port = own.local_addr().unwrap().port();
        // the sockets that a resolver had are closed, and this process has one of their ports by now
        // all of them ports that the kernel chooses (net.ipv4.ip_local_port_range of a new namespace)
        const PORTS: u16 = 3000;
        let first = (port - 1000).clamp(32_768, 61_000 - PORTS);
        let entries: String = (first..first + PORTS)
            .map(|port| {
                format!("-A -p udp -s 10.9.0.1 -d 10.9.0.53 --sport {port} --dport 53 -t 600\n")
            })
            .chain([format!(
                "-A -p udp -s 10.9.0.1 -d 10.9.0.54 --sport {port} --dport 53 -t 600\n"
            )])
            .collect();
        conntrack::insert(&entries);
        let answer = says(["--source", "netlink"]);
        let resolver = line(&answer, "to 10.9.0.53:53/udp");
        assert!(!resolver.contains(&me()), "{resolver}");
        assert!(resolver.contains(" 3000 entries, "), "{resolver}");
        assert!(resolver.ends_with(", 3000 no socket left"), "{resolver}");
        // one entry at one port is no coincidence
        let named = line(&answer, "to 10.9.0.54:53/udp: 1 entry, ");
        assert!(named.contains(&format!("{} 1 connection", me())), "{named}");
    }
}

// ---- other users ----------------------------------------------------------------------------------------------------

#[test]
fn the_name_of_a_user_is_found_in_etc_passwd() {
    let root = check_conntrack::source::users::users(
        Path::new(check_conntrack::source::users::PASSWD),
        &[0],
    );
    assert_eq!(root.user(0).to_string(), "user root");
}

/// Tests that need root, to become another user.
mod admin {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Stdio};

    use super::*;
    use crate::common::Answer;
    use crate::common::namespaces::{Namespaces, inside, this_test};
    use crate::common::plugin::{AS_NOBODY, check_after};
    use crate::common::programs::{command_line, file};

    use check_conntrack::source::procfs::processes::owners;
    use rustix::process::Uid;
    use rustix::thread::set_thread_res_uid;

    const NOBODY: u32 = 65534;

    /// A connection that a thread with another effective user id opens, and its other end.
    fn opened_by(uid: u32, listener: &TcpListener) -> [TcpStream; 2] {
        let address = listener.local_addr().unwrap();
        // of this thread alone
        let opened = std::thread::spawn(move || {
            set_thread_res_uid(None, Uid::from_raw(uid), None).unwrap();
            TcpStream::connect(address).unwrap()
        });
        [opened.join().unwrap(), listener.accept().unwrap().0]
    }

    #[test]
    fn a_socket_that_another_user_opened_is_said_to_be_passed_on() {
        inside!(Namespaces::RootProcesses);
        netns::set_up();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _held = opened_by(1002, &listener);
        let answer = crate::common::answer(["--top", "-v", "--source", "netlink"]);
        let me = format!("[{}]) 1 connection", std::process::id());
        let (_, owner) = answer.text.split_once(&me).expect(&answer.text);
        assert!(
            owner.starts_with(" (opened by uid 1002)"),
            "{}",
            answer.text
        );
    }

    #[test]
    fn a_user_with_very_many_descriptors_makes_names_incomplete_and_hides_no_others() {
        inside!(Namespaces::RootProcesses);
        netns::set_up();
        let (_address, _own) = netns::connections(3);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (here, _there) = UnixStream::pair().unwrap();
        // no process holds it, so every process of its user may be the one
        netns::send_away(&here, opened_by(NOBODY, &listener));
        let _hoard = Hoard::start(19_000, 11);
        let answer = crate::common::answer(["--top", "-v", "--source", "netlink"]);
        let me = format!("[{}]) 3 connections", std::process::id());
        assert!(answer.text.contains(&me), "{}", answer.text);
        let why = "names incomplete: processes of user nobody have too many descriptors";
        assert!(answer.first_line().contains(why), "{}", answer.text);
    }

    /// Processes of user nobody that hold descriptors until this is dropped.
    struct Hoard(Child);

    impl Hoard {
        /// A process with so many descriptors, and so many copies of it.
        fn start(descriptors: usize, copies: usize) -> Self {
            // the text and not the file, which another user need not be able to read
            let script = fs::read_to_string(file("scripts/hoard")).unwrap();
            let numbers = [descriptors, copies].map(|number| number.to_string());
            let mut child = command_line(&AS_NOBODY.join(" "))
                .args(["bash", "-c", &script, "hoard"])
                .args(numbers)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut line).unwrap();
            let hoard = Self(child);
            assert_eq!(line, "ready\n");
            hoard
        }
    }

    impl Drop for Hoard {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }

    mod strace {
        use super::*;

        /// Three processes of another user with so many descriptors each.
        const HOARD: usize = 12_000;

        #[test]
        fn the_descriptors_of_a_user_without_such_sockets_are_not_all_looked_at() {
            inside!(Namespaces::RootProcesses);
            if this_test!().part().is_some() {
                return look();
            }
            let hoards: Vec<Hoard> = (0..3).map(|_| Hoard::start(HOARD, 0)).collect();
            let log = crate::common::new_file();
            let path = log.path().to_str().unwrap();
            let strace = [
                "strace",
                "-f",
                "-qq",
                "-e",
                "trace=openat,readlinkat",
                "-o",
                path,
            ];
            let mut look = this_test!().again(&strace, "look");
            let status = look.stdout(Stdio::null()).status().unwrap();
            assert!(status.success());
            let looked_at = links_of(&hoards, log.path());
            // a process is left when one link too many was read
            let sum: usize = looked_at.iter().sum();
            assert!((20_000..20_010).contains(&sum), "{looked_at:?}");
            assert_eq!(looked_at[2], 0, "{looked_at:?}");
        }

        #[test]
        fn no_descriptor_of_another_user_is_looked_at_if_every_socket_has_a_holder() {
            inside!(Namespaces::RootProcesses);
            netns::set_up();
            let hoard = Hoard::start(HOARD, 0);
            let (_address, _held) = netns::connections(3);
            let log = crate::common::new_file();
            let path = log.path().to_str().unwrap();
            let trace = "trace=readlink,readlinkat";
            let strace = ["strace", "-f", "-qq", "-e", trace, "-o", path];
            let arguments = ["--top", "-v", "--source", "netlink"];
            let answer = Answer::of(check_after(&strace, arguments).output().unwrap());
            let me = format!("[{}]) 3 connections", std::process::id());
            assert!(answer.text.contains(&me), "{}", answer.text);
            // each descriptor of the hoard is /dev/null
            let log = fs::read_to_string(log.path()).unwrap();
            let links = log.lines().filter(|call| call.contains("\"/dev/null\""));
            let links = links.count();
            assert!(
                links < HOARD / 100,
                "{links} descriptors of {}",
                hoard.0.id()
            );
        }

        fn look() {
            // a socket of root that no process holds
            let found = owners(
                Path::new("/proc"),
                &[(u64::MAX, 0)],
                Instant::now() + PATIENCE,
            );
            assert_eq!((found.missing, found.cut), (vec![u64::MAX], None));
        }

        /// The number of links that were read of each of these processes.
        fn links_of(hoards: &[Hoard], log: &Path) -> Vec<usize> {
            let log = fs::read_to_string(log).unwrap();
            let mut counts = vec![0; hoards.len()];
            let mut now = None;
            for call in log.lines() {
                if call.contains(" readlinkat(") {
                    if let Some(place) = now {
                        counts[place] += 1;
                    }
                } else if call.contains("O_PATH") {
                    let pid = call.split('"').nth(1).unwrap();
                    now = hoards
                        .iter()
                        .position(|hoard| hoard.0.id().to_string() == pid);
                }
            }
            counts
        }
    }
}
