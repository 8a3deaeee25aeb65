//! Runs the present test in another place: inside namespaces of its own (`inside!`), or in a process of its own
//! (`this_test!`).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::{fixed, needs, program, report};

/// The variable that holds the name of the test that runs inside namespaces.
const INSIDE: &str = "CHECK_CONNTRACK_INSIDE";

/// The variable that holds the part of a test that a process plays.
const PART: &str = "CHECK_CONNTRACK_PART";

/// The longest time that a test may take inside its namespaces, in seconds. Only a test that hangs meets this limit.
const TIME_LIMIT: &str = "600";

// ---- namespaces -----------------------------------------------------------------------------------------------------

/// The namespaces that a test runs in.
#[derive(Debug, Clone, Copy)]
pub enum Namespaces {
    /// A user, a network and a mount namespace of which the test is root. No privilege is needed. If the kernel permits
    /// a procfs, a process and a cgroup namespace too: other processes of this host are then invisible, and every
    /// process of the test ends with the test.
    Network,
    /// The same namespaces as `Network`, the process namespace always among them.
    Processes,
    /// A user namespace without any user. Even root may then only do what the modes of files allow everybody.
    NoUser,
    /// A network and a mount namespace, of which real root remains root.
    RootNetwork,
    /// A network, a mount and a process namespace with a procfs, of which real root remains root.
    RootProcesses,
}

/// A user namespace whose root is the user that runs the tests.
const USER: [&str; 4] = ["unshare", "--user", "--map-root-user", "--"];
const NETWORK: [&str; 3] = ["unshare", "--net", "--mount"];
/// A process namespace with a procfs. Its processes end when `unshare` ends.
const PROCESSES: [&str; 5] = [
    "--pid",
    "--fork",
    "--mount-proc",
    "--cgroup",
    "--kill-child",
];

impl Namespaces {
    /// The words that start a program inside these namespaces.
    fn words(self) -> Vec<&'static str> {
        // The network namespace is made after the user namespace has its map of users: the kernel gives files such as
        // /proc/net/nf_conntrack to the root of the user namespace, if there is one at that moment.
        let words = match self {
            Self::Network if !may_mount_procfs() => [&USER[..], &NETWORK].concat(),
            Self::Network | Self::Processes => [&USER[..], &NETWORK, &PROCESSES].concat(),
            Self::NoUser => vec!["unshare", "--user"],
            Self::RootNetwork => NETWORK.to_vec(),
            Self::RootProcesses => [&NETWORK[..], &PROCESSES].concat(),
        };
        [&words[..], &["--"]].concat()
    }
}

/// True if the kernel permits a procfs in a user namespace. A container with covered files below /proc does not.
fn may_mount_procfs() -> bool {
    let mut probe = program("unshare");
    probe.args(&USER[1..]).args(NETWORK).args(PROCESSES);
    let output = probe.arg("true").output();
    output.is_ok_and(|output| output.status.success())
}

/// Returns true in a process that runs inside namespaces that a test made.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the rest of the present test inside namespaces of its own.
///
/// The first time this executable is started again for this test alone, inside the namespaces, and the test returns
/// when that has passed. The second time, inside, the test goes on. So every test is one function, and what it does to
/// interfaces, rules and mounts is gone with its namespaces.
macro_rules! inside {
    ($namespaces:expr) => {
        if !crate::common::namespaces::this_test!().is_inside($namespaces) {
            return;
        }
    };
}
pub(crate) use inside;

// ---- the present test -----------------------------------------------------------------------------------------------

/// The test that calls this macro.
macro_rules! this_test {
    () => {
        crate::common::namespaces::ThisTest::of(std::any::type_name_of_val(&|| ()))
    };
}
pub(crate) use this_test;

/// A test, as the one that runs.
#[derive(Debug, Clone, Copy)]
pub struct ThisTest {
    /// As the test harness knows it: with its modules, without the crate.
    name: &'static str,
}

impl ThisTest {
    /// The test in which a closure of this type stands. `this_test!` calls it.
    pub fn of(closure: &'static str) -> Self {
        let name = closure.strip_suffix("::{{closure}}").expect("a closure");
        Self::named(name)
    }

    /// The test of this path, which begins with the crate.
    pub fn named(path: &'static str) -> Self {
        let (_, name) = path.split_once("::").expect("the name of the crate");
        Self { name }
    }

    /// Returns true if this process runs the test inside namespaces. Otherwise runs the test there and returns false
    /// after it has passed. `inside!` calls it.
    pub fn is_inside(self, namespaces: Namespaces) -> bool {
        if std::env::var_os(INSIDE).is_some_and(|name| name == self.name) {
            return true;
        }
        assert!(
            !is_inside(),
            "{self:?} runs inside the namespaces of another test"
        );
        let limit = ["timeout", "--kill-after=5", TIME_LIMIT];
        let words = [&limit[..], &namespaces.words()].concat();
        let mut command = self.run_by(&words, &this_executable());
        let output = command
            .env(INSIDE, self.name)
            .output()
            .expect("timeout starts");
        // a name that no test has is a run of nothing
        let ran = String::from_utf8_lossy(&output.stdout).contains("test result: ok. 1 passed;");
        assert!(
            output.status.success() && ran,
            "inside: {}",
            report(&output)
        );
        false
    }

    /// The part that this process plays, if the test started it by `again`.
    pub fn part(self) -> Option<OsString> {
        std::env::var_os(PART)
    }

    /// A command that runs this test again in a process of its own, which is started by `words` and plays `part`.
    pub fn again(self, words: &[&str], part: impl AsRef<OsStr>) -> Command {
        self.again_from(words, &this_executable(), part)
    }

    /// Like `again`, with a copy of this executable that another user may reach.
    pub fn again_from(self, words: &[&str], executable: &Path, part: impl AsRef<OsStr>) -> Command {
        let mut command = self.run_by(words, executable);
        command.env(PART, part);
        command
    }

    fn run_by(self, words: &[&str], executable: &Path) -> Command {
        let mut command = match words {
            [first, rest @ ..] => {
                let mut command = Command::new(needs(first));
                command.args(rest).arg(executable);
                command
            }
            [] => Command::new(executable),
        };
        command.args(["--exact", self.name, "--nocapture"]);
        fixed(command)
    }
}

pub fn this_executable() -> PathBuf {
    std::env::current_exe().expect("the name of this executable")
}
