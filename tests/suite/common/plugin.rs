//! The plugin under test, and the kernel files that a test makes for it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::contract::Answer;
use super::folder::{new_folder, set_mode};
use super::namespaces::is_inside;
use super::programs::needs;

/// The binary under test: the static one that is shipped if `make test` names it, else cargo's.
pub fn binary() -> PathBuf {
    match std::env::var_os("CHECK_CONNTRACK") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_check_conntrack")),
    }
}

/// A command that runs the binary with an empty standard input and next to no environment.
///
/// Unless the arguments say otherwise the run keeps no state, and has more time than any host needs: no answer depends
/// on what an earlier run left behind, or on how busy the host is. Fails if the run would read the host's own table.
pub fn check<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    check_after(&[], arguments)
}

/// The same, started by a program: `["prlimit", "--nofile=6"]`.
pub fn check_after<S: AsRef<OsStr>>(
    words: &[&str],
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    start(words, &binary(), &with_defaults(arguments))
}

/// The words that start a program without any capability, and without a way to one.
pub const UNPRIVILEGED: [&str; 4] = [
    "setpriv",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--no-new-privs",
];

/// The words that start a program as a user without any privilege.
pub const AS_NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// A command that runs the binary with these arguments and no others.
pub fn bare_check<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let arguments: Vec<OsString> = arguments
        .into_iter()
        .map(|word| word.as_ref().into())
        .collect();
    start(&[], &binary(), &arguments)
}

/// A command that runs a copy of the binary, or what stands in its place.
pub fn start(words: &[&str], plugin: &Path, arguments: &[OsString]) -> Command {
    assert!(
        is_inside() || reads_no_table_of_this_host(arguments),
        "{arguments:?} reads the table of this host: give --proc-root, or begin the test with inside!"
    );
    let mut command = match words {
        [program, rest @ ..] => {
            let mut command = Command::new(needs(program));
            command.args(rest).arg(plugin);
            command
        }
        [] => Command::new(plugin),
    };
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    // where `make coverage` keeps its counts
    if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", profile);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The arguments of a run that keeps no state and has plenty of time, unless they say otherwise.
pub fn with_defaults<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<OsString> {
    let given: Vec<OsString> = arguments
        .into_iter()
        .map(|word| word.as_ref().into())
        .collect();
    let has = |names: &[&str]| {
        let names_it = |word: &OsString| {
            let word = word.to_string_lossy();
            names.iter().any(|name| word.starts_with(name))
        };
        given.iter().any(names_it)
    };
    let mut all = Vec::new();
    if !has(&["--state-dir"]) {
        all.extend(["--state-dir", "/nonexistent"].map(OsString::from));
    }
    if !has(&["-t", "--timeout"]) {
        all.extend(["-t", "60"].map(OsString::from));
    }
    all.extend(given);
    all
}

fn reads_no_table_of_this_host(arguments: &[OsString]) -> bool {
    const ELSEWHERE: [&str; 5] = ["--proc-root", "-h", "--help", "-V", "--version"];
    arguments.iter().any(|word| {
        let word = word.to_string_lossy();
        ELSEWHERE
            .iter()
            .any(|name| word == *name || word.starts_with(&format!("{name}=")))
    })
}

/// Runs the binary and holds its answer against the output contract.
pub fn answer<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    Answer::of(check(arguments).output().expect("the binary starts"))
}

/// The answer to a command line that is refused, and so reads nothing.
pub fn refused<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    let mut command = Command::new(binary());
    command.args(with_defaults(arguments)).stdin(Stdio::null());
    let got = Answer::of(command.output().expect("the binary starts"));
    assert_eq!(got.code, 3, "{}", got.text);
    got
}

/// A proc root made for one test. Every user may read it.
pub struct ProcRoot {
    directory: tempfile::TempDir,
}

impl ProcRoot {
    /// An empty procfs: nothing but sys/net.
    pub fn empty() -> Self {
        let root = Self {
            directory: new_folder(),
        };
        root.make_folder("sys/net/netfilter");
        root
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

    /// The path of a file below the root, whose folder is made.
    pub fn join(&self, name: &str) -> PathBuf {
        let (folder, _) = name.rsplit_once('/').unwrap_or_default();
        self.make_folder(folder);
        self.path().join(name)
    }

    /// Makes a folder below the root, and those above it.
    pub fn make_folder(&self, name: &str) {
        let mut path = self.path().to_owned();
        for part in name.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            if !path.is_dir() {
                fs::create_dir(&path).expect("a folder below the root");
                set_mode(&path, 0o755);
            }
        }
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.join(name);
        let is_new = !path.exists();
        fs::write(&path, content).expect("a fixture file");
        if is_new {
            set_mode(&path, 0o644);
        }
        self
    }

    pub fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.path().join(name)).expect("a fixture file");
        self
    }

    /// Runs the binary on this root.
    pub fn answer(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.check(arguments).output().expect("the binary starts"))
    }

    /// A command that runs the binary on this root.
    pub fn check(&self, arguments: &[&str]) -> Command {
        let root = ["--proc-root".as_ref(), self.path().as_os_str()];
        check(root.into_iter().chain(arguments.iter().map(OsStr::new)))
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
