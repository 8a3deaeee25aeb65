//! A host under test and its neighbours, for the situations of the diagnosis: network namespaces that a pair of
//! interfaces connects, and real sockets in them.
//!
//! A test is the host: its process is the program on the host, under a name that it chooses. Sockets of a neighbour
//! are made by a thread that enters the neighbour's namespace; they belong to the same process and are no sockets of
//! the host.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::common::network::{Neighbour, cover, loopback_up, rules};
use crate::common::programs::{printed, printed_for, program, run};
use crate::common::wait::{holds, wait_for};
use crate::common::{Answer, MAX, answer};

/// The address of the host.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The address of the neighbour that every scene has.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Another host. No process is in its network namespace, so it is no container.
pub(super) struct Far {
    namespace: File,
    /// The words that lead into it.
    words: [String; 2],
}

impl Far {
    fn new() -> Self {
        let neighbour = Neighbour::with_entries(0);
        link("far", 0, &neighbour);
        // every address of 10.20.0.0/16 is the neighbour's
        neighbour.run("ip route add local 10.20.0.0/16 dev lo");
        let namespace = namespace_of(neighbour.pid());
        let descriptor = namespace.as_raw_fd();
        let path = format!("/proc/{}/fd/{descriptor}", std::process::id());
        Self {
            words: ["nsenter".to_owned(), format!("--net={path}")],
            namespace,
        }
    }
}

/// A host that tracks its connections, and another one with many addresses.
pub(super) struct Scene {
    far: Far,
}

impl Scene {
    /// A host on which nf_conntrack_max reads `max`, whose program is called `name`.
    pub(super) fn new(name: &str, max: u32) -> Self {
        std::fs::write("/proc/self/comm", name).expect("a name");
        loopback_up();
        let far = Far::new();
        run(&format!("ip route add 10.20.0.0/16 via {FAR}"));
        // a reset would end an entry before its time
        rules(
            "table inet track {
                chain no_reset { type filter hook output priority raw; tcp flags & rst == rst drop; }
                chain in { type filter hook input priority 0; ct state new accept; }
                chain forward { type filter hook forward priority 0; ct state new accept; }
                chain out { type filter hook output priority 0; ct state new accept; }
            }",
        );
        let scene = Self { far };
        scene.limit(max);
        scene
    }

    /// Has nf_conntrack_max read another number.
    pub(super) fn limit(&self, max: u32) {
        cover(MAX, &format!("{max}\n"));
    }

    /// Has the other host drop what this rule matches.
    pub(super) fn far_drops(&self, rule: &str) {
        let [nsenter, namespace] = &self.far.words;
        printed_for(
            format!(
                "table inet silent {{
                    chain in {{ type filter hook prerouting priority raw; {rule} drop; }}
                }}"
            ),
            program(nsenter).args([namespace, "nft", "-f", "-"]),
        );
    }

    /// Runs a part of the test in the namespace of the other host.
    pub(super) fn over_there<T: Send>(&self, part: impl FnOnce() -> T + Send) -> T {
        over(&self.far.namespace, part)
    }

    /// The answer to `--top`, once line 1 has all of these parts. Line 1 keeps the rules for a finding.
    pub(super) fn says(&self, parts: &[&str]) -> Answer {
        says(["--top"], parts)
    }
}

/// The answer to these arguments, once line 1 has all of these parts. Line 1 keeps the rules for a finding.
pub(super) fn says<const N: usize>(arguments: [&str; N], parts: &[&str]) -> Answer {
    let mut first = None;
    let answer = wait_for(&format!("{parts:?}"), || {
        let answer = answer(arguments);
        let has_all = parts.iter().all(|part| words(&answer).contains(part));
        // the first answer is the one to report, because entries end while the test waits
        let first = first.get_or_insert_with(|| answer.text.clone());
        holds(has_all, first.clone()).map(|()| answer)
    });
    keeps_the_rules(&answer);
    answer
}

/// Line 1 without perfdata.
pub(super) fn words(answer: &Answer) -> &str {
    let first = answer.first_line();
    first.split_once('|').map_or(first, |(words, _)| words)
}

/// The line of the answer that begins with this word.
pub(super) fn line<'a>(answer: &'a Answer, word: &str) -> &'a str {
    let mut lines = answer.text.lines();
    lines
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("{word} in\n{}", answer.text))
}

/// Line 1 is at most 300 bytes long, its finding begins within 120, and each further line of advice has at most 200.
fn keeps_the_rules(answer: &Answer) {
    let words = words(answer);
    assert!(words.len() <= 300, "{}: {words}", words.len());
    let finding = words.find(" - ").expect("a finding");
    assert!(finding <= 117, "{finding}: {words}");
    for word in ["why", "now", "fix", "look"] {
        let mut lines = answer.text.lines();
        if let Some(line) = lines.find(|line| line.starts_with(&format!("{word}: "))) {
            assert!(line.len() <= 200, "{}: {line}", line.len());
        }
    }
}

/// The network namespace of a process.
pub(super) fn namespace_of(pid: u32) -> File {
    File::open(format!("/proc/{pid}/ns/net")).expect("a process")
}

/// Runs a part of the test in a network namespace.
pub(super) fn over<T: Send>(namespace: &File, part: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the namespace is the test's own");
            part()
        });
        thread.join().expect("the part there")
    })
}

/// Connects a neighbour with the host: 10.9.N.1 here, 10.9.N.2 there, by an interface of this name.
pub(super) fn link(name: &str, network: u8, neighbour: &Neighbour) {
    let pid = neighbour.pid();
    run(&format!(
        "ip link add {name} type veth peer name host netns {pid}"
    ));
    run(&format!("ip address add 10.9.{network}.1/24 dev {name}"));
    run(&format!("ip link set {name} up"));
    neighbour.run(&format!("ip address add 10.9.{network}.2/24 dev host"));
    neighbour.run("ip link set host up");
    neighbour.run(&format!("ip route add default via 10.9.{network}.1"));
}

/// The address of a client of the neighbour, another one for each number.
pub(super) fn client(number: u16) -> Ipv4Addr {
    let [high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 20, high, low)
}

/// Connections over TCP to a listener in another namespace, each accepted before the next one is opened. The client's
/// end comes first. `from` gives the address of each client.
pub(super) fn connections(
    listener: &TcpListener,
    number: u16,
    from: impl Fn(u16) -> Ipv4Addr,
) -> Vec<[TcpStream; 2]> {
    let to = listener.local_addr().expect("it listens");
    let pair = |number: u16| {
        // ports below those that the kernel gives, so that none is taken
        let from = SocketAddr::from((from(number), 10_000 + number));
        let near = TcpStream::from(dial(from, to, SocketFlags::CLOEXEC).expect("it listens"));
        [near, listener.accept().expect("a connection").0]
    };
    (0..number).map(pair).collect()
}

/// An attempt to connect, whose outcome is not waited for.
pub(super) fn attempt(from: impl Into<SocketAddr>, to: impl Into<SocketAddr>) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    dial(from.into(), to.into(), flags).expect("a free port")
}

fn dial(from: SocketAddr, to: SocketAddr, flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &from)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Datagrams from as many sockets of one address to another one.
pub(super) fn datagrams(
    from: impl Into<IpAddr>,
    to: impl Into<SocketAddr>,
    number: u16,
) -> Vec<UdpSocket> {
    let (from, to) = (from.into(), to.into());
    let send = |number| {
        let socket = UdpSocket::bind((from, 10_000 + number)).expect("a free port");
        socket.send_to(b"x", to).expect("a way");
        socket
    };
    (0..number).map(send).collect()
}

/// Two neighbours at a bridge of the host: 10.9.1.1 here, 10.9.1.2 and 10.9.1.3 there.
pub(super) fn bridged() -> [Neighbour; 2] {
    run("ip link add br0 type bridge");
    run("ip address add 10.9.1.1/24 dev br0");
    run("ip link set br0 up");
    [2, 3].map(|number| {
        let pod = Neighbour::with_entries(0);
        let pid = pod.pid();
        run(&format!(
            "ip link add pod{number} type veth peer name eth0 netns {pid}"
        ));
        run(&format!("ip link set pod{number} master br0 up"));
        pod.run(&format!("ip address add 10.9.1.{number}/24 dev eth0"));
        pod.run("ip link set eth0 up");
        pod.run("ip route add default via 10.9.1.1");
        pod
    })
}

/// Sends the first packet of a connection to each of these ports, over a raw socket, which is returned.
pub(super) fn send_syn(to: Ipv4Addr, ports: std::ops::Range<u16>) -> OwnedFd {
    let tcp = Some(rustix::net::ipproto::TCP);
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        tcp,
    );
    let socket = socket.expect("the root of a network namespace");
    for port in ports {
        // source port, destination port, number, acknowledgement, length and SYN, window, checksum, urgent
        let mut segment = [0; 20];
        segment[..2].copy_from_slice(&10_000_u16.to_be_bytes());
        segment[2..4].copy_from_slice(&port.to_be_bytes());
        segment[12..16].copy_from_slice(&[0x50, 0x02, 0x04, 0x00]);
        let to = SocketAddr::from((to, 0));
        let flags = rustix::net::SendFlags::empty();
        rustix::net::sendto(&socket, &segment, flags, &to).expect("a way");
    }
    socket
}

/// Runs the command of a line of advice as somebody would who pastes it, without what stands in brackets behind it.
pub(super) fn does(advice: &str) {
    let command = advice
        .split_once(" (")
        .map_or(advice, |(command, _)| command);
    printed(program("sh").args(["-c", command]));
}
