//! Sockets, addresses, processes and their network namespaces below a proc root: an archive of them.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use check_conntrack::model::dump::Choice;
use check_conntrack::model::netns::Walk;
use check_conntrack::model::socket::LocalSocket;
use check_conntrack::source::addresses::{Origin, addresses};
use check_conntrack::source::enter_netns::NetnsAccess;
use check_conntrack::source::entries::{EntryQuery, all_sockets};
use check_conntrack::source::procfs::addresses::{add_ipv6_route, parse_fib_trie, parse_if_inet6};
use check_conntrack::source::procfs::netns::{self, resident};
use check_conntrack::source::procfs::processes::owners;

use super::files::{NAMES, Part, ProcRoot, parts, with_root};
use super::kernel_files::{content, printable};

/// The check reports of processes and sockets only what the files say.
pub fn proc_files(data: &[u8]) {
    let parts = parts(data, &[]);
    with_root(|root| {
        root.hold(&parts, false);
        read(&root.path(), &parts);
        namespaces_are_each_told(root, &parts);
    });
}

/// The target of a link of this name.
fn target<'a>(parts: &[Part<'a>], name: &str) -> Option<&'a [u8]> {
    let part = parts.iter().rfind(|part| part.name == name)?;
    part.content.split(|byte| *byte == b'\n').next()
}

fn read(proc_root: &Path, parts: &[Part]) {
    let deadline = Instant::now() + Duration::from_secs(3600);
    let found = addresses(Origin::Files(proc_root), deadline);
    for list in [&found.own, &found.received] {
        assert!(list.is_sorted_by(|one, next| one < next), "{list:?}");
    }
    match found.incomplete {
        Some(error) => printable(&error),
        None => {
            let text = |name| String::from_utf8_lossy(content(parts, name).unwrap_or_default());
            let mut told = parse_fib_trie(&text("net/fib_trie"));
            for line in text("net/ipv6_route").lines() {
                add_ipv6_route(line, &mut told);
            }
            let interfaces = text("net/if_inet6");
            let interfaces = interfaces.lines().filter_map(parse_if_inet6);
            let told: BTreeSet<_> = told
                .own
                .into_iter()
                .chain(interfaces.map(Into::into))
                .collect();
            assert!(found.own.into_iter().eq(told), "each once, from all files");
        }
    }

    let wanted = EntryQuery {
        proc_root: proc_root.to_owned(),
        place: NetnsAccess::own(proc_root, false),
        elsewhere: None,
        choice: Choice::Sockets,
        extent: 0.into(),
        count: 0,
        is_recorded: false,
        deadline,
    };
    let mut sockets: Vec<LocalSocket> = Vec::new();
    if let Err(error) = all_sockets(&wanted, |socket| sockets.push(*socket)) {
        printable(&error);
    }
    // those of a table of sockets, and two that links may name
    let inodes: HashSet<u64> = sockets
        .iter()
        .map(|socket| socket.inode)
        .chain([4711, 0])
        .collect();
    let wanted: Vec<(u64, u32)> = inodes.iter().map(|inode| (*inode, 0)).collect();
    let found = owners(proc_root, &wanted, deadline);
    assert_eq!(found.cut, None);
    assert!(found.processes.is_sorted_by(|one, next| one.pid < next.pid));
    for process in &found.processes {
        assert!(process.inodes.is_sorted_by(|one, next| one < next));
        assert!(!process.inodes.is_empty());
        for inode in &process.inodes {
            assert!(inodes.contains(inode));
            let link = format!("socket:[{inode}]");
            let prefix = format!("{}/fd/", process.pid);
            let named = NAMES
                .iter()
                .filter(|name| name.starts_with(&prefix))
                .filter_map(|name| target(parts, name))
                // a number may be written with zeros before it
                .any(|target| target.len() >= link.len() && target.starts_with(b"socket:["));
            assert!(named, "{process:?}");
        }
    }
}

/// A process with a file of its own stands for a namespace of its own.
fn namespaces_are_each_told(root: &ProcRoot, parts: &[Part]) {
    let proc_root = &root.path();
    let with_file = |pid: &i32| root.has(&format!("{pid}/net/stat/nf_conntrack"));
    let pids: BTreeSet<i32> = [1, 812, 4711].into_iter().filter(with_file).collect();
    let own_pid = target(parts, "self")
        .filter(|_| root.has("self"))
        .and_then(|target| std::str::from_utf8(target).ok()?.parse().ok())
        .filter(with_file);

    let deadline = Instant::now() + Duration::from_secs(3600);
    let own = check_conntrack::source::usage(proc_root);
    let observation = netns::all(proc_root, own, deadline);
    // without a file of its own there is none to tell from others
    assert_eq!(
        observation.walk,
        own_pid.map_or(Walk::NotDone, |_| Walk::Complete)
    );
    assert_eq!(observation.unseen.is_some(), own_pid.is_none());
    let namespaces: Vec<_> = std::iter::once(observation.own)
        .chain(observation.others)
        .collect();
    assert_eq!(namespaces[0].seen.map(|seen| seen.pid), own_pid);
    let seen: Vec<i32> = namespaces
        .iter()
        .filter_map(|namespace| Some(namespace.seen?.pid))
        .collect();
    assert_eq!(seen.len(), if own_pid.is_some() { pids.len() } else { 0 });
    assert!(seen.iter().all(|pid| pids.contains(pid)), "{seen:?}");
    for namespace in &namespaces {
        let resident = resident(proc_root, namespace.seen);
        assert_eq!(resident.pid, namespace.seen.map(|seen| seen.pid));
        let text = resident.to_string();
        assert!(!text.contains(['|', ';', '\n']), "{text:?}");
    }
}
