//! A host with more connections than the check keeps sockets of an endpoint. `make owners` makes a larger one.

mod netns {
    use std::fmt::Write as _;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use nix::mount::{MsFlags, mount};

    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::{Answer, BUCKETS, COUNT, MAX, ProcRoot};

    const PROCESSES: u32 = 10_000;
    const SOCKETS: u32 = 40_000;

    /// The port of the first connection.
    const FIRST_PORT: u32 = 2000;

    /// The lines of net/nf_conntrack: connections of 10.0.0.1 to 198.51.100.7:5432.
    fn entries() -> String {
        let mut lines = String::new();
        for port in FIRST_PORT..FIRST_PORT + SOCKETS {
            writeln!(
                lines,
                "ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.0.1 dst=198.51.100.7 sport={port} dport=5432 \
                 src=198.51.100.7 dst=10.0.0.1 sport=5432 dport={port} [ASSURED] mark=0 use=1"
            )
            .unwrap();
        }
        lines
    }

    /// The lines of net/tcp on the host of the clients, or on that of the server.
    fn sockets(of_clients: bool) -> String {
        let mut lines = String::from("  sl\n");
        let address = u32::from_ne_bytes;
        let far = format!("{:08X}:{:04X}", address([198, 51, 100, 7]), 5432);
        for number in 0..SOCKETS {
            let near = format!("{:08X}:{:04X}", address([10, 0, 0, 1]), FIRST_PORT + number);
            let ends = if of_clients {
                format!("{near} {far}")
            } else {
                format!("{far} {near}")
            };
            let inode = number + 1;
            writeln!(
                lines,
                "{number}: {ends} 01 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 0"
            )
            .unwrap();
        }
        lines
    }

    /// Processes of one unit, each with as many of the sockets.
    fn processes(root: &Path) {
        let each = SOCKETS / PROCESSES;
        for number in 0..PROCESSES {
            let process = root.join((number + 2).to_string());
            fs::create_dir(&process).unwrap();
            let descriptors = process.join("fd");
            fs::create_dir(&descriptors).unwrap();
            for name in ["stat", "comm", "cgroup"] {
                fs::hard_link(root.join("same").join(name), process.join(name)).unwrap();
            }
            for descriptor in 0..each {
                let socket = format!("socket:[{}]", 1 + number * each + descriptor);
                symlink(socket, descriptors.join((3 + descriptor).to_string())).unwrap();
            }
        }
    }

    /// A host of which pool.service holds the sockets, without its sockets.
    fn host() -> ProcRoot {
        let root = ProcRoot::empty();
        let none = None::<&str>;
        let (tmpfs, options) = (Some("tmpfs"), Some("nr_inodes=0,mode=755"));
        mount(none, root.path(), tmpfs, MsFlags::empty(), options).unwrap();
        root.file(COUNT, SOCKETS.to_string())
            .file(MAX, "1000000")
            .file(BUCKETS, "1000000")
            .file("sys/kernel/osrelease", "6.18.0\n")
            .file("net/nf_conntrack", entries())
            .file(
                "same/stat",
                "2 (worker) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n",
            )
            .file("same/comm", "worker\n")
            .file("same/cgroup", "0::/system.slice/pool.service\n");
        processes(root.path());
        root
    }

    fn top(root: &ProcRoot, own: &str, arguments: &[&str]) -> Answer {
        root.answer(&[&["--top", "--own", own], arguments].concat())
    }

    /// The number before this word, at its first place.
    fn number_before(text: &str, word: &str) -> u32 {
        let before = text.split(word).next().unwrap_or_default();
        let number = before.rsplit(' ').next().unwrap_or_default();
        number
            .parse()
            .unwrap_or_else(|_| panic!("a number before {word} in {text}"))
    }

    #[test]
    fn the_owners_of_very_many_sockets_are_told_and_never_too_few_of_their_processes() {
        inside!(Namespaces::Network);
        let root = host();
        root.file("net/tcp", sockets(true));
        for sample in ["0", "20000"] {
            let got = top(&root, "10.0.0.0/8", &["--sample", sample, "-t", "600"]);
            let owner = "pool.service (worker[2]) 40000 connections 10000 processes 10000 threads";
            assert!(
                got.code == 0 && got.text.contains(owner),
                "{sample}: {}",
                got.text
            );
        }
        // where the sockets of a service are too many to be kept, the answer says that there are more
        root.file("net/tcp", sockets(false));
        for sample in ["0", "20000"] {
            let got = top(&root, "198.51.100.7", &["--sample", sample, "-t", "600"]);
            let client = "1. from 10.0.0.1: ";
            let line = got.text.lines().find(|line| line.starts_with(client));
            let line = line.unwrap_or_else(|| panic!("{}", got.text));
            let entries = number_before(line, " entries");
            let connections = number_before(line, " connections");
            assert_eq!(entries, connections, "{line}");
            assert!(line.contains(" connections at least "), "{line}");
            let processes = number_before(line, " processes");
            assert!((1000..=PROCESSES).contains(&processes), "{line}");
        }
        // a time limit that may be too short
        root.file("net/tcp", sockets(true));
        let got = top(&root, "10.0.0.0/8", &["--sample", "0", "-t", "1"]);
        let is_whole = got.text.contains(" 10000 processes ");
        let says_why = ["names incomplete", "timed out", "the time was up"];
        let says_why = says_why.iter().any(|words| got.text.contains(words));
        assert!(is_whole || says_why, "{}", got.text);
    }
}
