//! The names of processes by their cgroup, as hosts in the field have them.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use check_conntrack::analysis::owners::Owners;
use check_conntrack::model::socket::NoHolder;
use check_conntrack::model::user::Users;
use check_conntrack::source::procfs::processes::owners;

use crate::common::ProcRoot;

/// A line of a process's file cgroup and the name of the process, apart by a tab.
const NAMES: &str = include_str!("cgroup-names.tsv");

#[test]
fn a_container_is_named_by_its_id_or_name_with_its_pod_and_its_units() {
    let rows = NAMES.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<(&str, &str)> = rows.map(|row| row.split_once('\t').unwrap()).collect();
    assert!(rows.len() > 10);
    let root = ProcRoot::empty();
    for ((cgroup, _), pid) in rows.iter().zip(1..) {
        root.file(&format!("{pid}/comm"), "nginx\n")
            .file(&format!("{pid}/cgroup"), format!("{cgroup}\n"));
        fs::create_dir(root.path().join(format!("{pid}/fd"))).unwrap();
        let link = format!("socket:[{pid}]");
        symlink(link, root.join(&format!("{pid}/fd/3"))).unwrap();
    }
    let sockets: Vec<(u64, u32)> = (1..).take(rows.len()).map(|inode| (inode, 33)).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = owners(root.path(), &sockets, deadline);
    let by_process = Owners::new(found.processes, NoHolder::NoProcess, Users::default());
    for ((cgroup, name), socket) in rows.iter().zip(&sockets) {
        let group = by_process.group(vec![*socket]);
        assert_eq!(group[0].who.to_string(), *name, "{cgroup}");
    }
}
