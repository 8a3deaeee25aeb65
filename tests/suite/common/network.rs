//! Interfaces and rules of the network namespace that a test runs in.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags};

use super::conntrack;
use super::programs::{Running, command_line, printed, printed_for, program, run};
use super::wait::{holds, wait_for};

/// Takes the loopback interface up.
pub fn loopback_up() {
    run("ip link set lo up");
}

/// Loads rules of nftables.
pub fn rules(text: &str) {
    printed_for(text, program("nft").args(["-f", "-"]));
}

/// Has the kernel track connections: it does so where a rule asks for their state.
pub fn track() {
    rules(
        "table inet track {
            chain out { type filter hook output priority 0; ct state new accept; }
        }",
    );
}

/// Covers a file below /proc with another one, in the mount namespace of the test. nf_conntrack_max is one number for
/// the whole host and not the test's to lower.
pub fn cover(name: &str, content: &str) {
    let file = crate::common::new_file();
    std::fs::write(file.path(), content).expect("an own file");
    let path = Path::new("/proc").join(name);
    // nothing can be mounted over a file that is gone, as the last one is that covered it
    let _ = nix::mount::umount2(&path, MntFlags::empty());
    let none = None::<&str>;
    nix::mount::mount(Some(file.path()), &path, none, MsFlags::MS_BIND, none)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Another network namespace of this host, with a process "sleep" in it, until this is dropped.
#[derive(Debug)]
pub struct Neighbour {
    holder: Running,
    /// The words that lead into it.
    words: [String; 4],
}

impl Neighbour {
    /// A network namespace whose table holds so many entries.
    pub fn with_entries(entries: u32) -> Self {
        let holder = Running::start(&mut command_line("unshare --net -- sleep infinity"));
        let pid = holder.pid();
        let words = ["nsenter", "--net", "--target", &pid.to_string()].map(str::to_owned);
        // unshare makes the namespace before it becomes this program
        let comm = format!("/proc/{pid}/comm");
        wait_for("a process in another network namespace", || {
            let comm = std::fs::read_to_string(&comm);
            holds(comm.as_ref().is_ok_and(|comm| comm == "sleep\n"), comm)
        });
        let neighbour = Self { holder, words };
        neighbour.run("ip link set lo up");
        if entries > 0 {
            conntrack::insert_by(&neighbour.words(), &conntrack::udp(1..=entries));
        }
        neighbour
    }

    /// The words that start a program inside this network namespace.
    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// Runs a command line inside this network namespace.
    pub fn run(&self, line: &str) -> String {
        let line = format!("{} {line}", self.words.join(" "));
        printed(&mut command_line(&line))
    }

    /// Starts a command line inside this network namespace.
    pub fn start(&self, line: &str) -> Running {
        let line = format!("{} {line}", self.words.join(" "));
        Running::start(&mut command_line(&line))
    }

    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }
}
