//! What the tests share: the binary under test, a proc root made for one test, and what a test needs from its host.
#![allow(dead_code, unreachable_pub, clippy::indexing_slicing)] // every test file uses its own part of this

pub mod contract;
pub mod hosts;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use contract::Answer;

/// The binary under test: the static one that is shipped where `make test` names it, else cargo's.
pub fn binary() -> PathBuf {
    match std::env::var_os("CHECK_CONNTRACK") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_check_conntrack")),
    }
}

/// A command that runs the binary with an empty stdin.
pub fn check<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the binary and holds its answer against the output contract.
pub fn answer<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    Answer::of(check(arguments).output().expect("the binary starts"))
}

/// A proc root made for one test.
pub struct ProcRoot {
    directory: tempfile::TempDir,
}

impl ProcRoot {
    /// An empty procfs: nothing but sys/net.
    pub fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(directory.path().join("sys/net/netfilter")).expect("sys/net");
        Self { directory }
    }

    /// A kernel with this many entries, as many buckets as its maximum, and no losses.
    pub fn tracking(count: &str, max: &str) -> Self {
        let root = Self::empty();
        root.file(COUNT, count).file(MAX, max);
        if max.trim().parse::<u32>().is_ok_and(|max| max > 0) {
            root.file(BUCKETS, max);
        }
        root.file(
            STATISTICS,
            format!("{STATISTICS_HEADER}{}", statistics_row(0, 0, 0, 0)),
        );
        root
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("its directory");
        path
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.join(name), content).expect("a fixture file");
        self
    }

    pub fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.path().join(name)).expect("a fixture file");
        self
    }

    /// Runs the binary on this root.
    pub fn answer(&self, arguments: &[&str]) -> Answer {
        let root = ["--proc-root".as_ref(), self.path().as_os_str()];
        answer(root.into_iter().chain(arguments.iter().map(OsStr::new)))
    }
}

pub const COUNT: &str = "sys/net/netfilter/nf_conntrack_count";
pub const MAX: &str = "sys/net/netfilter/nf_conntrack_max";
pub const BUCKETS: &str = "sys/net/netfilter/nf_conntrack_buckets";
pub const STATISTICS: &str = "net/stat/nf_conntrack";
pub const STATISTICS_HEADER: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n";

/// A row of /proc/net/stat/nf_conntrack as kernels from 5.15 print it.
pub fn statistics_row(drop: u32, chaintoolong: u32, early_drop: u32, insert_failed: u32) -> String {
    format!(
        "00000000  00000000 00000000 00000000 00000000 00000000 00000000 {chaintoolong:08x} 00000000 {insert_failed:08x} {drop:08x} {early_drop:08x} 00000000  00000000 00000000 00000000 00000000\n"
    )
}

/// Whether a program is on the PATH or where Debian keeps its daemons.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/lib/nagios/plugins"])
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
}

/// Fails, with what would help, when a program is missing. `make test` leaves out, by name and in its summary, the
/// tests whose programs are missing, so that a test that runs is a test that tests.
pub fn needs(program: &str, package: &str) -> PathBuf {
    which(program).unwrap_or_else(|| {
        panic!("this test needs {program}: apt-get install {package}, or run make test")
    })
}

/// Runs a shell script, its arguments behind it, and returns what it printed; fails with its stderr.
pub fn sh(script: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script, "test"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
    stdout
}

/// The answers in what a script printed, each followed by a line `=CODE`.
pub fn answers(printed: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut text = String::new();
    for line in printed.lines() {
        match line.strip_prefix('=') {
            Some(code) => answers.push(Answer {
                code: code.parse().expect("an exit code"),
                text: std::mem::take(&mut text),
            }),
            None => text = format!("{text}{line}\n"),
        }
    }
    assert_eq!(text, "", "{printed}");
    answers
}

/// Waits until a condition holds, at most ten seconds.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = writeln!(std::io::stderr(), "waited for {what}");
    panic!("{what} did not happen within 10 s");
}

/// Whether a signal is in one of the masks of a process: `SigBlk` has those that wait, `SigCgt` those with a handler.
pub fn in_mask(process: u32, mask: &str, signal: nix::sys::signal::Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix(mask)?.strip_prefix(':'))
        .map_or(0, |mask| {
            u64::from_str_radix(mask.trim(), 16).expect("a mask")
        });
    mask & (1 << (signal as u32 - 1)) != 0
}

/// Waits until a process has a handler for a signal.
pub fn wait_until_handled(process: u32, signal: nix::sys::signal::Signal) {
    wait_for(&format!("a handler of {signal}"), || {
        in_mask(process, "SigCgt", signal)
    });
}

/// The full name of a test in a module that says `module_path!()`, as the harness knows it: without the crate.
pub fn here(module: &str, test: &str) -> String {
    let (_, module) = module.split_once("::").unwrap_or(("", module));
    format!("{module}::{test}")
}

/// Runs an ignored test of this executable again, in the namespaces `unshare` makes by these flags, after a script has
/// set them up. A name that no test has is a failure, not a run of nothing.
pub fn again_in_namespaces(flags: &str, script: &str, test: &str) {
    let output = Command::new(needs("unshare", "util-linux"))
        .args([flags, "--", "bash", "-euo", "pipefail", "-c"])
        .arg(format!("{script}\nexec \"$@\""))
        .arg("namespaces")
        .arg(std::env::current_exe().expect("the name of this executable"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
