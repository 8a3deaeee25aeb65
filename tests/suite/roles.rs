//! Servers and clients of the tests. Each is a process of this executable, so that it has a name, a process id and a
//! network namespace of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;

use crate::common::namespaces::ThisTest;
use crate::common::wait::PATIENCE;

/// The test in which every role is played.
const STAGE: &str = concat!(
    module_path!(),
    "::netns::servers_and_clients_get_ready_and_end_with_their_test"
);

/// The line of a process that has set up everything that its role demands.
const READY: &str = "=ready=";

/// A process that plays a role until this is dropped.
pub(crate) struct Role(Child);

/// The connections of a client.
pub(crate) struct Client<'a> {
    /// The addresses that the client connects to in turn, with commas in between.
    pub(crate) dial: &'a str,
    /// The name of the process.
    pub(crate) comm: &'a str,
    pub(crate) threads: u32,
    /// The number of connections that stay open.
    pub(crate) held: u32,
    /// The number of connections that the client closes before it is ready.
    pub(crate) closed: u32,
}

impl Role {
    /// A server that echoes at these addresses, started by these words.
    pub(crate) fn server(words: &[&str], listen: &str) -> Self {
        Self::play(words, "server", &[("LISTEN", listen), ("COMM", "redis")])
    }

    pub(crate) fn client(words: &[&str], client: &Client) -> Self {
        let numbers = [client.threads, client.held, client.closed, first_port()];
        let [threads, held, closed, port] = numbers.map(|number| number.to_string());
        let variables = [
            ("DIAL", client.dial),
            ("COMM", client.comm),
            ("THREADS", &threads),
            ("HELD", &held),
            ("CLOSED", &closed),
            ("PORT", &port),
        ];
        Self::play(words, "client", &variables)
    }

    /// A server that answers each connection once and, at each `send`, sends a byte over all of them.
    pub(crate) fn sender(words: &[&str], comm: &str, listen: &str) -> Self {
        Self::play(words, "sender", &[("LISTEN", listen), ("COMM", comm)])
    }

    /// Has a sender send.
    pub(crate) fn send(&mut self) {
        let orders = self.0.stdin.as_mut().expect("a pipe");
        orders.write_all(b"send\n").expect("a sender");
    }

    /// A client over UDP that sends one datagram to each of these addresses from one socket.
    pub(crate) fn udp_client(words: &[&str], comm: &str, dial: &str) -> Self {
        Self::play(words, "udp client", &[("DIAL", dial), ("COMM", comm)])
    }

    /// A client over UDP with one connected socket.
    pub(crate) fn udp_connection(words: &[&str], comm: &str, to: &str) -> Self {
        Self::play(words, "udp connection", &[("DIAL", to), ("COMM", comm)])
    }

    fn play(words: &[&str], role: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = ThisTest::named(STAGE).again(words, role);
        Self::start(command.envs(variables.iter().copied()))
    }

    /// Starts a process that plays a part of a test, and waits until it has called `hold`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this executable starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let process = Self(child);
        let ready = stdout
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains(READY));
        assert!(ready, "{command:?} ended early");
        process
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The number of threads as the kernel counts them: the workers and those of the test harness.
    pub(crate) fn threads(&self) -> u32 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("a process");
        let mut lines = status.lines();
        let threads = lines.find_map(|line| line.strip_prefix("Threads:"));
        threads.expect("a number").trim().parse().expect("a number")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first of a thousand ports of a client's own. The kernel's choice may fall on a port in TIME_WAIT, whose entry then
/// becomes that of the new connection.
fn first_port() -> u32 {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    NEXT.fetch_add(1000, Ordering::Relaxed).into()
}

// ---- in the process of a role ---------------------------------------------------------------------------------------

fn play(role: &str) {
    // the name that /proc shows, at most 15 bytes of it; the file takes one write
    std::fs::write("/proc/self/comm", variable("COMM")).expect("a name");
    match role {
        "server" => play_server(),
        "sender" => play_sender(),
        "client" => play_client(),
        "udp client" => play_udp_client(),
        "udp connection" => play_udp_connection(),
        other => panic!("no role {other}"),
    }
}

/// Says that everything is set up.
fn say_ready() {
    let mut stdout = std::io::stdout();
    let line = format!("{READY}\n");
    stdout.write_all(line.as_bytes()).expect("a reader");
    stdout.flush().expect("a reader");
}

/// Says that everything is set up, and waits until the test is done with it, or gone.
pub(crate) fn hold() {
    say_ready();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("no {name} for the role"))
}

fn number(name: &str) -> usize {
    variable(name).parse().expect("a number")
}

fn addresses(name: &str) -> Vec<SocketAddr> {
    let list = variable(name);
    let addresses = list.split(',').map(|one| one.parse().expect("an address"));
    addresses.collect()
}

fn play_server() {
    for address in addresses("LISTEN") {
        let listener = TcpListener::bind(address).expect("a free port");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || echo(stream));
            }
        });
    }
    hold();
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
}

fn play_sender() {
    let listener = TcpListener::bind(addresses("LISTEN")[0]).expect("a free port");
    let (accepted, streams) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.read_exact(&mut [0]).expect("a byte");
            stream.write_all(b"x").expect("a reader");
            accepted.send(stream).expect("the main thread waits");
        }
    });
    say_ready();
    let mut all: Vec<TcpStream> = Vec::new();
    for order in std::io::stdin().lines() {
        order.expect("a line");
        all.extend(streams.try_iter());
        for stream in &mut all {
            stream.write_all(b"y").expect("a reader");
        }
    }
}

/// The client uses each of its ports once: for a connection that it closes, or for one that it holds.
fn play_client() {
    let [threads, held, closed, first_port] = ["THREADS", "HELD", "CLOSED", "PORT"].map(number);
    assert!(closed <= 500 && held <= 500);
    let dial = addresses("DIAL");
    let (done, all_done) = mpsc::channel();
    for first in 0..threads {
        let (dial, done) = (dial.clone(), done.clone());
        std::thread::spawn(move || {
            let talk_to = |n: usize, port: usize| talk(dial[n % dial.len()], (port + n) as u16);
            (first..closed)
                .step_by(threads)
                .map(|n| talk_to(n, first_port))
                .for_each(leave);
            let streams: Vec<_> = (first..held)
                .step_by(threads)
                .map(|n| talk_to(n, first_port + 500))
                .collect();
            done.send(()).expect("the main thread waits");
            // the process ends with the connections open
            loop {
                std::thread::park();
                std::hint::black_box(&streams);
            }
        });
    }
    drop(done);
    for _ in 0..threads {
        // a thread that failed sends nothing
        all_done.recv_timeout(PATIENCE).expect("a thread got ready");
    }
    hold();
}

/// A connection from this port over which a byte went both ways.
fn talk(address: SocketAddr, port: u16) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let (family, any) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, IpAddr::from([0; 4])),
        SocketAddr::V6(_) => (AddressFamily::INET6, IpAddr::from([0_u16; 8])),
    };
    let end = socket(family, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&end, true).unwrap();
    bind(&end, &SocketAddr::new(any, port)).unwrap();
    connect(&end, &address).unwrap();
    let mut stream = TcpStream::from(end);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

/// Closes first, so that TIME_WAIT is at this end.
fn leave(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn play_udp_client() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for address in addresses("DIAL") {
        socket.send_to(b"x", address).unwrap();
    }
    hold();
}

fn play_udp_connection() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(variable("DIAL")).unwrap();
    hold();
}

mod netns {
    use super::*;
    use crate::common::namespaces::{Namespaces, inside, this_test};
    use crate::common::network::loopback_up;
    use crate::common::wait::{holds, wait_for};

    /// The connections of TCP that are open, without those that only wait to be forgotten.
    fn established() -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let state = |line: &str| line.split_whitespace().nth(3) == Some("01");
        table.lines().filter(|line| state(line)).count()
    }

    #[test]
    fn servers_and_clients_get_ready_and_end_with_their_test() {
        if let Some(role) = this_test!().part() {
            return play(role.to_str().unwrap());
        }
        inside!(Namespaces::Network);
        loopback_up();
        let server = Role::server(&[], "127.0.0.1:7000");
        let client = Role::client(
            &[],
            &Client {
                dial: "127.0.0.1:7000",
                comm: "caller",
                threads: 2,
                held: 3,
                closed: 4,
            },
        );
        assert_eq!(established(), 2 * 3);
        assert!(client.threads() > 2);
        let comm = |role: &Role| std::fs::read_to_string(format!("/proc/{}/comm", role.pid()));
        assert_eq!(comm(&client).unwrap(), "caller\n");
        assert_eq!(comm(&server).unwrap(), "redis\n");
        let _udp = Role::udp_client(&[], "resolver", "127.0.0.1:53,127.0.0.1:54");
        let _connected = Role::udp_connection(&[], "resolver", "127.0.0.1:53");
        drop(client);
        wait_for("the connections to end", || {
            let left = established();
            holds(left == 0, left)
        });
    }
}
