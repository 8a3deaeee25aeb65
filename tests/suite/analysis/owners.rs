//! Who is named as the owner of entries, on a live kernel: sockets that close, move or hide while the check looks, ports
//! that change hands, and users who are in the way.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Answer, binary, needs, sh};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is true.
fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a part of a test again, as root of namespaces of its own with a table, where lo and an interface to nowhere are
/// up.
fn again(part: &str) {
    needs("unshare", "util-linux");
    needs("ip", "iproute2");
    needs("nft", "nftables");
    let script = r#"
flags=(-UrnmC)
if unshare "${flags[@]}" -pf --mount-proc true 2>/dev/null; then
    flags+=(-pf --mount-proc --kill-child)
fi
exec timeout --kill-after=5 300 unshare "${flags[@]}" -- bash -euc '
ip link set lo up
ip link add nowhere type veth peer name nobody
ip address add 10.9.0.1/24 dev nowhere
ip link set nowhere up
ip link set nobody up
for far in 53 54; do
    ip neighbour add 10.9.0.$far lladdr 02:00:00:00:00:01 dev nowhere nud permanent
done
nft add table inet track
nft "add chain inet track out { type filter hook output priority 0; }"
nft add rule inet track out ct state new accept
exec "$@"' inside "$@"
"#;
    let exe = std::env::current_exe().unwrap();
    let part = crate::common::here(module_path!(), part);
    let mut arguments: Vec<&OsStr> = vec![exe.as_os_str()];
    arguments.extend(["--exact", &part, "--ignored", "--nocapture"].map(OsStr::new));
    let printed = sh(script, &arguments);
    assert!(printed.contains("1 passed"), "{printed}");
}

/// What the check says of this network namespace. No answer depends on how busy this host is.
fn check(arguments: &[&str]) -> Answer {
    let mut command = Command::new(binary());
    command.args(["--top", "--state-dir", "/nonexistent", "-t", "60"]);
    Answer::of(
        command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap(),
    )
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
fn connections(number: usize) -> (SocketAddr, Vec<[TcpStream; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held = (0..number).map(|_| {
        let near = TcpStream::connect(address).unwrap();
        [near, listener.accept().unwrap().0]
    });
    (address, held.collect())
}

/// How this process is shown.
fn me() -> String {
    format!("[{}])", std::process::id())
}

// ---- sockets that move ----------------------------------------------------------------------------------------------

/// A process that plays a part until this is dropped.
struct Player(Child);

impl Player {
    /// Starts a part in another process, and waits until it says that it is ready.
    fn start(part: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &crate::common::here(module_path!(), part)])
            .args(["--ignored", "--nocapture"])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_ready = lines.map_while(Result::ok).any(|line| line.contains(READY));
        let player = Self(child);
        assert!(is_ready, "{part} ended early");
        player
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const READY: &str = "=ready=";

/// Says that a part is played, until the test is over.
fn hold() {
    println!("{READY}");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Tests that need strace have it in their name.
mod strace {
    use super::*;

    #[test]
    fn a_socket_that_is_closed_between_the_two_looks_has_no_owner() {
        needs("strace", "strace");
        again("strace::closed_between_the_looks");
    }

    #[test]
    #[ignore = "run in namespaces of its own by the test above"]
    fn closed_between_the_looks() {
        let (address, mut held) = connections(10);
        // the first listing of a directory is that of the processes, and comes after the sockets were looked at
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(["-e", "inject=getdents64:delay_enter=4000000:when=1"])
            .arg(binary())
            .args(["--top", "--source", "netlink", "-t", "60"])
            .args(["--state-dir", "/nonexistent"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let strace_pid = strace.id();
        wait_for("the check to open the list of processes", || {
            has_proc_open(strace_pid)
        });
        // 4 connections of 10, both ends
        held.truncate(6);
        let stdout = std::io::read_to_string(strace.stdout.take().unwrap()).unwrap();
        assert!(strace.wait().unwrap().success(), "{stdout}");
        let answer = Answer {
            code: 0,
            text: stdout,
        };
        let line = line(&answer, &format!("to {address}/tcp local, 10 entries"));
        assert!(line.contains(&format!("{} 6 connections", me())), "{line}");
        assert!(line.ends_with(", no socket: 4 no socket left"), "{line}");
        for foreign in ["uid 0", "user root", "no process"] {
            assert!(
                !answer.text.contains(foreign),
                "{foreign} in {}",
                answer.text
            );
        }
    }

    /// Whether a child of this process has opened the directory of processes.
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

#[test]
fn a_socket_on_its_way_between_processes_has_no_process_and_that_is_said() {
    again("socket_on_its_way");
}

#[test]
#[ignore = "run in namespaces of its own by the test above"]
fn socket_on_its_way() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    let (address, mut held) = connections(3);
    let (here, _there) = UnixStream::pair().unwrap();
    let [near, far] = held.pop().unwrap();
    {
        let on_its_way = [near.as_fd(), far.as_fd()];
        let mut room = [MaybeUninit::uninit(); 64];
        let mut message = SendAncillaryBuffer::new(&mut room);
        assert!(message.push(SendAncillaryMessage::ScmRights(&on_its_way)));
        let byte = [IoSlice::new(b"x")];
        sendmsg(&here, &byte, &mut message, SendFlags::empty()).unwrap();
    }
    drop((near, far));
    let answer = check(&["--source", "netlink"]);
    let line = line(&answer, &format!("to {address}/tcp local, 3 entries"));
    assert!(line.contains(&format!("{} 2 connections", me())), "{line}");
    assert!(
        line.contains(", user root (no process) 1 connection"),
        "{line}"
    );
    assert!(
        answer.text.contains("\n1 sockets are held by no process: "),
        "{}",
        answer.text
    );
}

#[test]
fn a_thread_with_descriptors_of_its_own_is_found() {
    again("thread_with_descriptors_of_its_own");
}

#[test]
#[ignore = "run in namespaces of its own by the test above"]
fn thread_with_descriptors_of_its_own() {
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
    let answer = check(&["--source", "netlink"]);
    let line = line(&answer, &format!("to {address}/tcp local, 1 entry"));
    assert!(line.contains(&format!("{} 1 connection", me())), "{line}");
}

// ---- ports that change hands ----------------------------------------------------------------------------------------

/// A socket of UDP at a port of all addresses.
fn bound(port: u16) -> UdpSocket {
    UdpSocket::bind(("0.0.0.0", port)).unwrap()
}

#[test]
fn a_program_that_began_after_the_last_packet_is_not_named_by_its_port() {
    again("program_that_began_later");
}

#[test]
#[ignore = "run in namespaces of its own by the test above"]
fn program_that_began_later() {
    needs("conntrack", "conntrack");
    // a port that programs choose, and one that the kernel chooses
    let old = [bound(5000), bound(0)];
    let ports = [&old[0], &old[1]].map(|socket| socket.local_addr().unwrap().port());
    for socket in old {
        socket.send_to(b"x", "10.9.0.53:53").unwrap();
    }
    // 30 seconds after a packet, unless told otherwise
    wait_for("entries that have been silent for three seconds", || {
        let list = sh("conntrack -L -p udp 2>/dev/null", &[]);
        let mut left = list
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        left.all(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds <= 26))
    });
    let [one, other] = ports.map(|port| port.to_string());
    let later = Player::start("later_program", &[("PORTS", &format!("{one} {other}"))]);
    // this process is as old as its entry
    let own = bound(5001);
    own.send_to(b"x", "10.9.0.54:53").unwrap();
    let answer = check(&["--source", "netlink"]);
    let silent = line(&answer, "to 10.9.0.53:53/udp, 2 entries");
    assert!(
        silent.ends_with(", no socket: 2 no socket left"),
        "{silent}"
    );
    assert!(
        !answer.text.contains(&format!("[{}]", later.0.id())),
        "{}",
        answer.text
    );
    let named = line(&answer, "to 10.9.0.54:53/udp, 1 entry");
    assert!(named.contains(&format!("{} 1 connection", me())), "{named}");
    // the file tells the time that is left too
    let answer = check(&["--source", "procfs"]);
    let silent = line(&answer, "to 10.9.0.53:53/udp, 2 entries");
    assert!(
        silent.ends_with(", no socket: 2 no socket left"),
        "{silent}"
    );
}

#[test]
#[ignore = "another program of the test above"]
fn later_program() {
    let ports = std::env::var("PORTS").expect("only the test above starts this");
    let ports = ports.split(' ').map(|port| port.parse().unwrap());
    let sockets: Vec<UdpSocket> = ports.map(bound).collect();
    hold();
    drop(sockets);
}

#[test]
fn a_program_that_has_an_old_port_of_a_resolver_by_chance_is_not_named() {
    again("old_port_by_chance");
}

#[test]
#[ignore = "run in namespaces of its own by the test above"]
fn old_port_by_chance() {
    needs("conntrack", "conntrack");
    let own = bound(0);
    let port = own.local_addr().unwrap().port();
    // the sockets that a resolver had are closed, and this process has one of their ports by now
    let first = port - 1000;
    let entries: String = (first..first + 3000)
        .map(|port| {
            format!("-A -p udp -s 10.9.0.1 -d 10.9.0.53 --sport {port} --dport 53 -t 600\n")
        })
        .chain([format!(
            "-A -p udp -s 10.9.0.1 -d 10.9.0.54 --sport {port} --dport 53 -t 600\n"
        )])
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), entries).unwrap();
    sh(
        "conntrack -R \"$1\" >/dev/null 2>&1",
        &[file.path().as_os_str()],
    );
    let answer = check(&["--source", "netlink"]);
    let resolver = line(&answer, "to 10.9.0.53:53/udp, 3000 entries");
    assert!(
        resolver.ends_with(", no socket: 3000 no socket left"),
        "{resolver}"
    );
    // one entry at one port is no coincidence
    let named = line(&answer, "to 10.9.0.54:53/udp, 1 entry");
    assert!(named.contains(&format!("{} 1 connection", me())), "{named}");
}

// ---- other users ----------------------------------------------------------------------------------------------------

/// Tests that need root, to become somebody else.
mod root {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use check_conntrack::analysis::owners::Owners;
    use check_conntrack::model::user::Users;
    use check_conntrack::source::procfs::processes::owners;
    use rustix::process::Uid;
    use rustix::thread::set_thread_res_uid;

    fn is_root() {
        let uid = fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(uid, 0, "this test needs root, to become somebody else");
    }

    #[test]
    fn a_socket_that_another_user_opened_is_said_to_be_passed_on() {
        is_root();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // of this thread alone
        let opened = std::thread::spawn(move || {
            set_thread_res_uid(None, Uid::from_raw(1002), None).unwrap();
            TcpStream::connect(address).unwrap()
        });
        let near = opened.join().unwrap();
        let far = listener.accept().unwrap().0;
        let socket = |stream: &TcpStream| {
            let stat = rustix::fs::fstat(stream.as_fd()).unwrap();
            (stat.st_ino, stat.st_uid)
        };
        let sockets = [socket(&near), socket(&far)];
        assert_eq!(sockets.map(|(_, uid)| uid), [1002, 0]);
        let deadline = Instant::now() + PATIENCE;
        let mut found = owners(Path::new("/proc"), &sockets, deadline);
        assert!(found.missing.is_empty(), "{found:?}");
        // a child that another test starts has them too until it runs its program
        let me = std::process::id() as i32;
        found.processes.retain(|process| process.pid == me);
        let no_holder = found.no_holder();
        let owners =
            Owners::new(found.processes, no_holder, Users::default()).group(sockets.to_vec());
        assert_eq!(owners.len(), 1, "{owners:?}");
        let passed = owners[0].passed.clone().unwrap();
        assert_eq!((passed.user.uid, passed.connections), (1002, 1));
    }

    #[test]
    fn the_name_of_a_user_is_found_in_etc_passwd() {
        is_root();
        let root = check_conntrack::source::users::users(
            Path::new(check_conntrack::source::users::PASSWD),
            &[0],
        );
        assert_eq!(root.user(0).to_string(), "user root");
    }

    mod strace {
        use super::*;

        /// Three processes of another user with so many descriptors each.
        const HOARD: usize = 12_000;

        #[test]
        fn the_descriptors_of_a_user_without_such_sockets_are_not_all_looked_at() {
            is_root();
            needs("setpriv", "util-linux");
            let script = format!(
                "ulimit -n {}; for ((i = 0; i < {HOARD}; i++)); do exec {{fd}}</dev/null; done; echo ready; read -r _ || true",
                HOARD + 100
            );
            let hoards: Vec<Hoard> = (0..3).map(|_| Hoard::start(&script)).collect();
            let log = tempfile::NamedTempFile::new().unwrap();
            let status = Command::new(needs("strace", "strace"))
                .args(["-f", "-qq", "-e", "trace=openat,readlinkat", "-o"])
                .arg(log.path())
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", &crate::common::here(module_path!(), "look")])
                .args(["--ignored", "--quiet"])
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            let looked_at = links_of(&hoards, log.path());
            // a process is left when one link too many was read
            let sum: usize = looked_at.iter().sum();
            assert!((20_000..20_010).contains(&sum), "{looked_at:?}");
            assert_eq!(looked_at[2], 0, "{looked_at:?}");
        }

        #[test]
        #[ignore = "run under strace by the test above"]
        fn look() {
            // a socket of root's that nobody has
            let found = owners(
                Path::new("/proc"),
                &[(u64::MAX, 0)],
                Instant::now() + PATIENCE,
            );
            assert_eq!((found.missing, found.cut), (vec![u64::MAX], None));
        }

        struct Hoard(Child);

        impl Hoard {
            fn start(script: &str) -> Self {
                let mut child = Command::new("setpriv")
                    .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
                    .args(["bash", "-euc", script])
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

        /// How many links of each of these processes were read.
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
