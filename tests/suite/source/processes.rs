//! From sockets to the processes that hold them: proc roots made for the test, and real connections of real processes.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::ProcRoot;
use crate::common::programs::{printed, program};
use check_conntrack::analysis::owners::{Owner, Owners as Grouped};
use check_conntrack::model::cgroup::{Cgroup, Name, Unit};
use check_conntrack::model::socket::{NoHolder, Process, SearchCut};
use check_conntrack::model::user::Users;
use check_conntrack::source::procfs::processes::{SocketProcesses, owners};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Sockets of the user that runs this test.
fn set(inodes: &[u64]) -> Vec<(u64, u32)> {
    let uid = rustix::process::geteuid().as_raw();
    inodes.iter().map(|inode| (*inode, uid)).collect()
}

fn group(processes: &[Process], sockets: &[(u64, u32)]) -> Vec<Owner> {
    let owners = Grouped::new(processes.to_vec(), NoHolder::NotPermitted, Users::default());
    owners.group(sockets.to_vec())
}

/// An owner in words, with its first process, sockets, processes and threads.
fn said(owner: &Owner) -> String {
    format!(
        "{} {} {} {}",
        owner.with_process(),
        owner.connections,
        owner.processes,
        owner.threads
    )
}

/// A process in a proc root: descriptors from 0 on, each with what its link says.
fn process(root: &ProcRoot, pid: i32, comm: &[u8], threads: u64, cgroup: &[u8], links: &[&str]) {
    let after = format!(") S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 {threads} 0 86 0 0\n");
    let stat = [format!("{pid} (").as_bytes(), comm, after.as_bytes()].concat();
    root.file(&format!("{pid}/comm"), [comm, b"\n"].concat())
        .file(&format!("{pid}/stat"), stat)
        .file(&format!("{pid}/cgroup"), cgroup);
    fs::create_dir_all(root.path().join(format!("{pid}/fd"))).unwrap();
    for (number, link) in links.iter().enumerate() {
        symlink(link, root.join(&format!("{pid}/fd/{number}"))).unwrap();
    }
}

const SIDEKIQ: &[u8] = b"0::/system.slice/sidekiq.service\n";

#[test]
fn holders_of_the_sockets_are_found_with_what_they_are() {
    let root = ProcRoot::empty();
    let links = ["/dev/null", "socket:[11]", "pipe:[12]", "socket:[13]"];
    process(&root, 900, b"ruby", 20, SIDEKIQ, &links);
    // the same socket twice, and one that nobody asked about
    let links = ["socket:[13]", "socket:[13]", "socket:[99]"];
    process(&root, 812, b"bundle", 5, SIDEKIQ, &links);
    process(&root, 7, b"cron", 1, b"0::/\n", &["socket:[99]"]);
    root.file("meminfo", "").file("self/comm", "ruby\n");
    let got = owners(root.path(), &set(&[11, 12, 13, 14]), soon());
    let sidekiq = |pid, command: &str, threads, inodes: &[u64]| Process {
        pid,
        command: command.to_owned(),
        cgroup: Cgroup {
            path: "/system.slice/sidekiq.service".to_owned(),
            name: Name::Unit(Unit {
                name: "sidekiq.service".to_owned(),
                user: None,
            }),
        },
        threads,
        inodes: inodes.to_vec(),
        ..Process::default()
    };
    assert_eq!(
        got,
        SocketProcesses {
            processes: vec![
                sidekiq(812, "bundle", 5, &[13]),
                sidekiq(900, "ruby", 20, &[11, 13]),
            ],
            missing: vec![12, 14],
            ..SocketProcesses::default()
        }
    );
    let owners = group(&got.processes, &[(11, 33), (13, 33), (14, 1000)]);
    let owners: Vec<String> = owners.iter().map(said).collect();
    assert_eq!(
        owners,
        ["sidekiq.service (bundle[812]) 2 2 25", "uid 1000 1 0 0"]
    );
}

#[test]
fn hostile_names_neither_hide_a_process_nor_reach_the_output() {
    let names: [(&[u8], &str); 8] = [
        (b"x|evil=1;rm", "xevil=1rm"),
        (b"a\nb) Z 1 (c", "command ab) Z 1 (c"),
        (b"\x1b[31m\xff\xfe", "[31m??"),
        (b")))", "command )))"),
        (b"(", "command ("),
        (b"", "(unnamed)"),
        (b"`$(id)`", "command (id)"),
        (b"\n", "(unnamed)"),
    ];
    for (comm, shown) in names {
        let root = ProcRoot::empty();
        process(&root, 5, comm, 3, b"0::/x|y;z.slice\n", &["socket:[1]"]);
        let got = owners(root.path(), &set(&[1]), soon());
        assert_eq!(got.processes.len(), 1, "{comm:?}");
        assert_eq!(got.processes[0].threads, 3, "{comm:?}");
        let owners = group(&got.processes, &[(1, 0)]);
        let command = shown.strip_prefix("command ").unwrap_or(shown);
        assert_eq!(owners[0].with_process(), format!("{shown} ({command}[5])"));
    }
    let root = ProcRoot::empty();
    let cgroup = b"1:name=systemd:/\n0::/system.slice/\xff|evil=1;rm.service\n";
    process(&root, 5, b"x", 3, cgroup, &["socket:[1]"]);
    let got = owners(root.path(), &set(&[1]), soon());
    assert_eq!(
        group(&got.processes, &[(1, 0)])[0].who.to_string(),
        "?evil=1rm.service"
    );
}

#[test]
fn a_container_is_named_by_as_much_of_its_id_as_people_use() {
    let id = "3f4e0a7d5c1b2988".repeat(4);
    let root = ProcRoot::empty();
    let cgroup = format!("0::/system.slice/docker-{id}.scope\n");
    process(&root, 5, b"nginx", 1, cgroup.as_bytes(), &["socket:[1]"]);
    let got = owners(root.path(), &set(&[1]), soon());
    let owner = group(&got.processes, &[(1, 0)])[0].with_process();
    assert_eq!(owner, "container 3f4e0a7d5c1b (nginx[5])");
}

#[test]
fn a_process_that_ends_meanwhile_is_no_error() {
    let root = ProcRoot::empty();
    process(&root, 5, b"x", 1, b"", &["socket:[1]"]);
    // gone before its descriptors, before its name, before the rest
    fs::create_dir_all(root.path().join("6")).unwrap();
    process(&root, 7, b"x", 1, b"", &["socket:[1]"]);
    root.remove("7/comm");
    process(&root, 8, b"x", 1, b"", &["socket:[1]"]);
    root.remove("8/stat").remove("8/cgroup");
    // not a process at all
    root.file("9", "").file("-3/comm", "");
    let got = owners(root.path(), &set(&[1]), soon());
    let pids: Vec<(i32, u64)> = got.processes.iter().map(|p| (p.pid, p.threads)).collect();
    assert_eq!(pids, [(5, 1), (8, 0)]);
    assert_eq!((got.unseen, got.cut), (false, None));
}

#[test]
fn what_stands_in_the_place_of_a_file_does_not_stop_it() {
    let root = ProcRoot::empty();
    process(&root, 5, b"x", 1, b"", &["socket:[1]"]);
    root.remove("5/cgroup").remove("5/stat");
    printed(program("mkfifo").arg(root.join("5/cgroup")));
    root.file("5/fd/8", "");
    for (to, name) in [
        ("/dev/zero", "stat"),
        ("socket:[1", "fd/7"),
        ("socket:[1]", "fd/x"),
    ] {
        symlink(to, root.join(&format!("5/{name}"))).unwrap();
    }
    process(&root, 6, b"y", 1, b"", &[]);
    fs::remove_dir(root.path().join("6/fd")).unwrap();
    root.file("6/fd", "socket:[1]");
    let got = owners(root.path(), &set(&[1]), soon());
    assert_eq!(got.processes.len(), 1, "{got:?}");
    assert_eq!(
        (got.processes[0].pid, got.processes[0].threads, got.unseen),
        (5, 0, false)
    );
}

#[test]
fn a_proc_root_that_is_not_there_has_no_processes() {
    let root = ProcRoot::empty();
    let nowhere = root.path().join("nowhere");
    let got = owners(&nowhere, &set(&[1]), soon());
    assert_eq!(
        (got.processes.len(), got.missing, got.unseen),
        (0, vec![1], true)
    );
}

#[test]
fn without_sockets_nobody_is_looked_for() {
    let root = ProcRoot::empty();
    process(&root, 5, b"x", 1, b"", &["socket:[1]"]);
    let past = Instant::now() - Duration::from_millis(1);
    assert_eq!(owners(root.path(), &[], past), SocketProcesses::default());
}

#[test]
fn the_deadline_ends_the_walk() {
    let root = ProcRoot::empty();
    process(&root, 5, b"x", 1, b"", &["socket:[1]"]);
    let past = Instant::now() - Duration::from_millis(1);
    let got = owners(root.path(), &set(&[1]), past);
    assert!(got.processes.is_empty(), "{got:?}");
    assert_eq!((got.missing, got.cut), (vec![1], Some(SearchCut::TimeUp)));
}

#[test]
fn the_deadline_ends_the_walk_inside_a_process() {
    let root = ProcRoot::empty();
    let links = vec!["socket:[1]"; 5000];
    process(&root, 5, b"x", 1, b"", &links);
    let deadline = Instant::now() + Duration::from_micros(500);
    // another socket is nowhere
    let got = owners(root.path(), &set(&[1, 2]), deadline);
    assert_eq!(got.cut, Some(SearchCut::TimeUp), "{got:?}");
    // what was found until then counts; nothing where this thread had to wait
    assert!(got.processes.iter().all(|process| process.inodes == [1]));
}

#[test]
fn descriptors_that_may_not_be_listed_are_counted_but_not_those_of_kernel_threads_and_zombies() {
    use std::os::unix::fs::PermissionsExt;
    let root = ProcRoot::empty();
    for pid in 5..=8 {
        process(&root, pid, b"x", 1, b"", &["socket:[1]"]);
    }
    let closed = |pid: i32, closed: bool| {
        let mode = fs::Permissions::from_mode(if closed { 0 } else { 0o700 });
        fs::set_permissions(root.path().join(format!("{pid}/fd")), mode).unwrap();
    };
    root.file(
        "7/stat",
        "7 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 20 0 1 0 9 0 0\n",
    );
    root.file(
        "8/stat",
        "8 (sh) Z 2 0 0 0 -1 4228108 0 0 0 0 0 0 0 0 20 0 1 0 9 0 0\n",
    );
    // only process 6 may hold a socket that cannot be seen
    (6..=8).for_each(|pid| closed(pid, true));
    let path = root.path().to_owned();
    // root may read anything until it gives up its capabilities, which are a thread's own
    let got = std::thread::spawn(move || {
        check_conntrack::runtime::privilege::give_up_all();
        owners(&path, &set(&[1, 2]), soon())
    })
    .join()
    .unwrap();
    (6..=8).for_each(|pid| closed(pid, false));
    assert_eq!(got.processes.len(), 1, "{got:?}");
    assert_eq!((got.unseen, got.cut), (true, None));
    assert_eq!(got.no_holder(), NoHolder::NotPermitted);
}

// ---- real processes -------------------------------------------------------------------------------------------------

fn inode(socket: impl AsFd) -> u64 {
    rustix::fs::fstat(socket).unwrap().st_ino
}

/// Connections to a listener of our own, both ends.
fn connections(number: usize) -> Vec<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (0..number)
        .map(|_| {
            let near = TcpStream::connect(address).unwrap();
            (near, listener.accept().unwrap().0)
        })
        .collect()
}

fn live_owners(sockets: &[(u64, u32)]) -> SocketProcesses {
    owners(Path::new("/proc"), sockets, soon())
}

/// In a process namespace of its own each of these tests knows every process there is.
mod pidns {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::common::namespaces::{Namespaces, inside, this_test};
    use crate::common::network::loopback_up;
    use crate::common::programs::{file, needs};

    #[test]
    fn this_very_process_is_found_with_its_threads_and_connections() {
        inside!(Namespaces::Processes);
        loopback_up();
        const THREADS: usize = 6;
        const EACH: usize = 25;
        let held: Vec<_> = (0..THREADS).map(|_| connections(EACH)).collect();
        let inodes = held.iter().flatten();
        let inodes: Vec<u64> = inodes
            .flat_map(|(near, far)| [inode(near), inode(far)])
            .collect();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let (got, count) = std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| wait.lock().unwrap().recv());
            }
            let threads = fs::read_dir("/proc/self/task").unwrap().count() as u64;
            let got = live_owners(&set(&inodes));
            drop(end);
            (got, threads)
        });
        assert_eq!(got.cut, None);
        assert_eq!(got.processes.len(), 1, "{:?}", got.processes);
        assert!(count > THREADS as u64);
        assert_eq!(got.processes[0].threads, count);
        let grouped = group(&got.processes, &set(&inodes));
        assert_eq!(grouped.len(), 1, "{grouped:?}");
        assert_eq!(grouped[0].connections, 2 * THREADS * EACH);
        assert_eq!(grouped[0].pid, std::process::id() as i32);
        // the first 15 bytes of the name of the executable, or of the main thread
        let command = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(grouped[0].command, command.trim_end());
    }

    /// A shell that holds a connection until this is dropped.
    struct Shell {
        child: Child,
        pid: i32,
        inode: u64,
        _far: TcpStream,
    }

    impl Shell {
        /// Runs tests/scripts/hold by this bash, with a part of it to play.
        fn start(bash: &Path, part: &[&OsStr]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut child = Command::new(bash)
                .arg(file("scripts/hold"))
                .arg(port.to_string())
                .args(part)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let far = listener.accept().unwrap().0;
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            let (pid, inode) = first.split_once(' ').unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "ready");
            Self {
                pid: pid.parse().unwrap(),
                inode: inode.parse().unwrap(),
                child,
                _far: far,
            }
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            drop(self.child.stdin.take());
            let _ = self.child.wait();
        }
    }

    /// The one owner of a shell's connection goes by the name that is shown of it.
    fn is_shown_as(shell: &Shell, name: &str) {
        let got = live_owners(&set(&[shell.inode]));
        let command = name.strip_prefix("command ").unwrap_or(name);
        let owners = group(&got.processes, &[(shell.inode, 0)]);
        let owners: Vec<String> = owners.iter().map(said).collect();
        let expected = format!("{name} ({command}[{}]) 1 1 1", shell.pid);
        assert_eq!(owners, [expected], "{name}");
    }

    #[test]
    fn a_process_that_gave_itself_a_hostile_name_is_found_by_the_cleaned_one() {
        inside!(Namespaces::Processes);
        loopback_up();
        let bash = needs("bash");
        let directory = crate::common::new_folder();
        for (name, shown) in [
            (&b"x|evil=1;rm"[..], "xevil=1rm"),
            (b"a\nb\n", "ab"),
            (b"\x1b[31mred", "[31mred"),
            (b"x) Z 1 (y", "command x) Z 1 (y"),
            (b"\xff\xfe)", "command ??)"),
            (b"\n", "(unnamed)"),
        ] {
            // the name of the file that is executed
            let file = directory.path().join(OsStr::from_bytes(name));
            symlink(&bash, &file).unwrap();
            is_shown_as(&Shell::start(&file, &[]), shown);
        }
        // a name that the process wrote
        for (name, shown) in [
            (&b"x|evil=1;rm"[..], "xevil=1rm"),
            (b"\x1b[31m\xff) \x80(", "command [31m?) ?("),
        ] {
            let part = ["comm".as_ref(), OsStr::from_bytes(name)];
            is_shown_as(&Shell::start(&bash, &part), shown);
        }
    }

    #[test]
    fn forked_processes_share_one_connection() {
        inside!(Namespaces::Processes);
        loopback_up();
        let shell = Shell::start(&needs("bash"), &["fork".as_ref(), "3".as_ref()]);
        let got = live_owners(&set(&[shell.inode]));
        let grouped = group(&got.processes, &[(shell.inode, 0)]);
        assert_eq!(grouped.len(), 1, "{grouped:?}");
        let Owner {
            processes,
            connections,
            threads,
            ..
        } = grouped[0];
        assert_eq!((processes, connections, threads), (4, 1, 4));
        assert!(got.processes.iter().any(|process| process.pid == shell.pid));
    }

    #[test]
    fn processes_that_come_and_go_disturb_nothing() {
        inside!(Namespaces::Processes);
        loopback_up();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let held = connections(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = Command::new("true").status();
                }
            });
            for _ in 0..30 {
                let got = live_owners(&set(&[inode(&held[0].0)]));
                // a child has the socket too, for a moment between fork and exec
                assert!(!got.processes.is_empty() && got.cut.is_none(), "{got:?}");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    mod strace {
        use super::*;

        /// The actions of the test under strace, between two calls that mark the begin and the end.
        fn look() {
            let held = connections(2);
            let _ = fs::metadata("/begin");
            let got = live_owners(&set(&[inode(&held[0].0)]));
            let _ = fs::metadata("/end");
            assert_eq!(got.processes.len(), 1);
        }

        #[test]
        fn nothing_that_waits_for_a_process_is_read() {
            inside!(Namespaces::Processes);
            if this_test!().part().is_some() {
                return look();
            }
            loopback_up();
            let log = crate::common::new_file();
            let path = log.path().to_str().unwrap();
            let strace = ["strace", "-f", "-e", "trace=%file,%desc", "-o", path];
            let status = this_test!()
                .again(&strace, "look")
                .stdout(Stdio::null())
                .status();
            assert!(status.unwrap().success());
            let calls = fs::read_to_string(log.path()).unwrap();
            only_descriptors_and_small_files(&calls);
        }

        fn only_descriptors_and_small_files(calls: &str) {
            let calls: Vec<&str> = calls
                .lines()
                .skip_while(|call| !call.contains("\"/begin\""))
                .skip(1)
                .take_while(|call| !call.contains("\"/end\""))
                .collect();
            assert!(calls.len() > 10, "{calls:?}");
            let mut opened = HashSet::new();
            for call in calls.iter().filter(|call| call.contains('"')) {
                let path = call.split('"').nth(1).unwrap();
                let number = path.bytes().all(|b| b.is_ascii_digit());
                match call {
                    _ if call.contains(" openat(AT_FDCWD, ") => {
                        assert!(["/proc", "/proc/uptime"].contains(&path), "{call}");
                    }
                    _ if call.contains(" openat(") && number => {
                        assert!(call.contains("O_PATH"), "{call}");
                    }
                    _ if call.contains(" openat(") => {
                        opened.insert(path.to_owned());
                    }
                    _ if call.contains(" readlinkat(") => assert!(number, "{call}"),
                    _ => assert!(
                        [" read(", " statx(", " newfstatat("]
                            .iter()
                            .any(|name| call.contains(name)),
                        "{call}"
                    ),
                }
            }
            opened.remove(".");
            let expected = ["fd", "comm", "stat", "cgroup"].map(str::to_owned);
            assert_eq!(opened, HashSet::from(expected));
        }
    }
}

mod admin {
    use super::*;
    use crate::common::namespaces::{Namespaces, ThisTest, inside, this_executable, this_test};
    use crate::common::network::loopback_up;
    use crate::common::plugin::AS_NOBODY;
    use crate::common::programs::{install, report};

    /// What a user without privileges, or with some, sees of a process of root: this one, which is the only other one
    /// there is.
    fn as_nobody(this: ThisTest, capabilities: &str) -> String {
        loopback_up();
        let held = connections(3);
        let inodes = held.iter().map(|(near, _)| inode(near).to_string());
        let inodes = inodes.collect::<Vec<_>>().join(" ");
        let folder = crate::common::new_folder();
        let executable = folder.path().join("owners");
        install(this_executable(), &executable);
        let [inheritable, ambient] =
            ["inh", "ambient"].map(|set| format!("--{set}-caps={capabilities}"));
        let words = [&AS_NOBODY[..], &[&inheritable, &ambient]].concat();
        let mut look = this.again_from(&words, &executable, inodes);
        let output = look.current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", report(&output));
        let stdout = String::from_utf8(output.stdout).unwrap();
        let found = stdout.lines().find_map(|line| {
            let (_, found) = line.split_once("found ")?;
            Some(found.to_owned())
        });
        found.unwrap_or_else(|| panic!("{stdout}"))
    }

    /// The part of the other user: whom these sockets belong to, and whether there are processes that could not be
    /// looked into.
    fn look(inodes: &str) {
        let inodes: Vec<u64> = inodes
            .split(' ')
            .map(|inode| inode.parse().unwrap())
            .collect();
        let sockets: Vec<(u64, u32)> = inodes.iter().map(|inode| (*inode, 0)).collect();
        let got = live_owners(&sockets);
        let unseen = if got.unseen { "some" } else { "none" };
        let names: Vec<String> = group(&got.processes, &sockets)
            .iter()
            .map(|owner| format!("{} {}", owner.pid, owner.connections))
            .collect();
        println!("\nfound {}, {unseen} unseen", names.join(", "));
    }

    /// Holds what a user with these capabilities sees against what it should be.
    macro_rules! seen_by_nobody {
        ($capabilities:expr, $expected:expr) => {
            inside!(Namespaces::RootProcesses);
            if let Some(inodes) = this_test!().part() {
                return look(inodes.to_str().unwrap());
            }
            assert_eq!(as_nobody(this_test!(), $capabilities), $expected);
        };
    }

    #[test]
    fn processes_of_others_are_unseen() {
        seen_by_nobody!("-all", "0 3, some unseen");
    }

    #[test]
    fn descriptors_that_may_be_listed_but_not_resolved_are_unseen_too() {
        seen_by_nobody!("+dac_read_search", "0 3, some unseen");
    }

    #[test]
    fn two_capabilities_are_enough() {
        seen_by_nobody!("+dac_read_search,+sys_ptrace", "1 3, none unseen");
    }
}
