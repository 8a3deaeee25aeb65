//! The second look for the holders of sockets, below proc roots made for the test: for what the first look cannot see.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use check_conntrack::model::socket::NoHolder;
use check_conntrack::source::procfs::processes::{Search, SocketProcesses};

use crate::common::ProcRoot;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A list of descriptors in a proc root: `5/fd`, or that of a thread.
fn list(root: &ProcRoot, path: &str, links: &[&str]) {
    fs::create_dir_all(root.join(path)).unwrap();
    for (number, link) in links.iter().enumerate() {
        symlink(link, root.join(&format!("{path}/{number}"))).unwrap();
    }
}

/// A process that began a second after the kernel.
fn process(root: &ProcRoot, pid: i32, links: &[&str]) {
    root.file(&format!("{pid}/comm"), "x\n")
        .file(
            &format!("{pid}/stat"),
            format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"),
        )
        .file(&format!("{pid}/cgroup"), "0::/\n");
    list(root, &format!("{pid}/fd"), links);
}

fn search(root: &Path, inodes: &[u64]) -> Search {
    let sockets = inodes.iter().map(|inode| (*inode, 33)).collect();
    let mut search = Search::new(root, sockets, soon());
    search.look();
    search
}

/// The holders of sockets, as process id and inode.
fn holders(found: &SocketProcesses) -> Vec<(i32, u64)> {
    let processes = found.processes.iter();
    let holders = processes.flat_map(|process| {
        let inodes = process.inodes.iter();
        inodes.map(|inode| (process.pid, *inode))
    });
    holders.collect()
}

#[test]
fn the_other_threads_of_a_process_have_its_descriptors_when_the_first_has_ended() {
    let root = ProcRoot::empty();
    process(&root, 5, &[]);
    list(&root, "5/task/5/fd", &[]);
    list(&root, "5/task/6/fd", &["socket:[1]", "socket:[2]"]);
    let found = search(root.path(), &[1, 2]).finish();
    assert_eq!(holders(&found), [(5, 1), (5, 2)]);
}

#[test]
fn a_list_that_a_thread_has_of_its_own_is_looked_at_for_what_is_missing() {
    let root = ProcRoot::empty();
    process(&root, 5, &["socket:[1]", "/dev/null"]);
    list(&root, "5/task/5/fd", &["socket:[1]", "/dev/null"]);
    list(&root, "5/task/6/fd", &["socket:[1]", "socket:[2]", "x"]);
    process(&root, 7, &["socket:[3]"]);
    let mut search = search(root.path(), &[1, 2, 3]);
    assert_eq!(search.missing(), [2]);
    search.look_again(&[1, 2, 3]);
    let found = search.finish();
    assert_eq!(holders(&found), [(5, 1), (5, 2), (7, 3)]);
    assert_eq!((found.missing.len(), found.closed.len()), (0, 0));
}

#[test]
fn a_socket_that_was_closed_meanwhile_is_neither_missing_nor_held() {
    let root = ProcRoot::empty();
    process(&root, 5, &["socket:[1]"]);
    let mut search = search(root.path(), &[1, 2, 3]);
    // a socket that was held is not looked for among those that are open
    search.look_again(&[3]);
    assert!(search.has_found(1) && !search.has_found(2) && !search.has_found(3));
    let found = search.finish();
    assert_eq!((found.closed, found.missing), (vec![2], vec![3]));
}

#[test]
fn a_process_that_began_after_the_first_look_is_looked_at_in_the_second() {
    let root = ProcRoot::empty();
    process(&root, 5, &["socket:[1]"]);
    let mut search = search(root.path(), &[1, 2]);
    process(&root, 4, &["socket:[2]"]);
    search.look_again(&[2]);
    let found = search.finish();
    assert_eq!(holders(&found), [(4, 2), (5, 1)]);
}

#[test]
fn a_socket_of_no_process_is_said_to_have_none_if_all_were_seen() {
    let root = ProcRoot::empty();
    process(&root, 5, &["socket:[1]"]);
    let mut search = search(root.path(), &[1, 2]);
    search.look_again(&[2]);
    let found = search.finish();
    assert_eq!(found.no_holder(), NoHolder::NoProcess);
}

#[test]
fn the_age_of_a_process_is_known_where_the_time_since_the_start_of_the_kernel_is() {
    let root = ProcRoot::empty();
    process(&root, 5, &["socket:[1]"]);
    let age = || search(root.path(), &[1]).finish().processes[0].age;
    assert_eq!(age(), None);
    root.file("uptime", "61.50 100.00\n");
    assert_eq!(age(), Some(Duration::from_millis(60_500)));
    // a process that began since then
    root.file("uptime", "0.50 100.00\n");
    assert_eq!(age(), Some(Duration::ZERO));
}
