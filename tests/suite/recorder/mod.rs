//! The recorder and the checks that read its recording: a spike between two checks, and whatever may be wrong with a
//! recording.

mod agent;
mod hostile;
mod live;
mod namespaces;
mod service;
mod story;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::SystemTime;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::plugin::{UNPRIVILEGED, check_after};
use crate::common::programs::Running;
use crate::common::wait::{holds, in_mask, wait_for};
use crate::common::{
    Answer, COUNT, ProcRoot, STATISTICS, STATISTICS_HEADER, new_folder, statistics_row,
};

const BOOT: &str = "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7";
/// The file of the kernel files that lists the entries.
const TABLE: &str = "net/nf_conntrack";

/// The number of entries at the last sample of a recording: the last one in its first part.
fn last_count(text: &str) -> Option<u64> {
    let head = check_conntrack::recording::head(text)?;
    let line = head.lines().rfind(|line| line.starts_with("sample "))?;
    line.split(' ').nth(2)?.parse().ok()
}

/// A time of day in UTC, in seconds.
#[derive(Debug, Clone, Copy)]
struct TimeOfDay(u64);

impl TimeOfDay {
    const DAY: u64 = 24 * 3600;

    fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(since.expect("a time after 1970").as_secs() % Self::DAY)
    }

    /// A time such as 02:58:30.
    fn of(text: &str) -> Self {
        let parts = text.split(':').map(|part| part.parse::<u64>().expect(text));
        Self(parts.fold(0, |all, part| all * 60 + part))
    }

    /// Times around midnight are in order too.
    fn is_between(self, begin: Self, end: Self) -> bool {
        let since_begin = |time: Self| (time.0 + Self::DAY - begin.0) % Self::DAY;
        since_begin(self) <= since_begin(end)
    }
}

/// A recorder until this is dropped, and what it wrote.
struct Recorder(Running);

impl Recorder {
    /// Starts a recorder with these arguments, by these words.
    fn start(words: &[&str], arguments: &[&str]) -> Self {
        let mut command = check_after(words, arguments);
        Self(Running::start(command.stdout(Stdio::null())))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("a process");
    }

    /// Waits until the recorder ends.
    fn end(mut self) -> ExitStatus {
        wait_for("the end of the recorder", || {
            self.0.0.try_wait().expect("a child").ok_or("it runs")
        })
    }

    /// Stops the recorder as a service manager does.
    fn stop(self) {
        self.signal(Signal::SIGTERM);
        let status = self.end();
        assert!(status.success(), "{status}");
    }
}

/// The directories of a recorder and of a check.
struct Directories {
    recording: TempDir,
    /// The state directory of the recorder.
    kept: TempDir,
    /// The state directory of the check.
    state: TempDir,
}

impl Directories {
    fn new() -> Self {
        Self {
            recording: new_folder(),
            kept: new_folder(),
            state: new_folder(),
        }
    }

    /// Starts a recorder by these words and with more arguments. Its recording is believed for nine seconds, because a
    /// busy host may keep it from the next sample for a while.
    fn record(&self, words: &[&str], more: &[&str]) -> Recorder {
        let paths = [self.recording.path(), self.kept.path()];
        let [recording, kept] = paths.map(|path| path.to_str().unwrap());
        let arguments = [
            "--record",
            "3",
            "--recording",
            recording,
            "--state-dir",
            kept,
        ];
        Recorder::start(words, &[&arguments[..], more].concat())
    }

    /// The answer of a check without any capability.
    fn check(&self, words: &[&str], more: &[&str]) -> Answer {
        let words = [words, &UNPRIVILEGED].concat();
        let paths = [self.recording.path(), self.state.path()];
        let [recording, state] = paths.map(|path| path.to_str().unwrap());
        let arguments = ["--recording", recording, "--state-dir", state];
        let mut command = check_after(&words, [&arguments[..], more].concat());
        Answer::of(command.output().expect("setpriv starts"))
    }

    /// The recording; empty before there is one.
    fn text(&self) -> String {
        fs::read_to_string(self.recording.path().join("recording")).unwrap_or_default()
    }
}

/// A host made of files, with the directories of a recorder and of a check.
struct Host {
    root: ProcRoot,
    directory: TempDir,
    /// The state directory of the recorder.
    kept: TempDir,
    /// The state directory of the check.
    state: TempDir,
}

impl Host {
    fn new() -> Self {
        let root = ProcRoot::tracking("100\n", "1000\n");
        root.file("sys/kernel/random/boot_id", format!("{BOOT}\n"));
        let host = Self {
            root,
            directory: new_folder(),
            kept: new_folder(),
            state: new_folder(),
        };
        host.namespace(4_026_531_840).at(1000)
    }

    fn namespace(self, inode: u64) -> Self {
        let link = self.root.join("self/ns/net");
        let _ = fs::remove_file(&link);
        symlink(format!("net:[{inode}]"), link).unwrap();
        self
    }

    /// Seconds since the host was started.
    fn at(self, seconds: u64) -> Self {
        self.set_time(seconds);
        self
    }

    fn set_time(&self, seconds: u64) {
        let text = format!("{seconds}.00 {seconds}.00\n");
        self.root.file("uptime", text);
    }

    /// The table holds so many closed connections to one Redis, and some more to a name server.
    fn holds(&self, to_redis: u32, others: u32) {
        let redis = |n: u32| {
            let port = 1024 + n;
            format!(
                "ipv4 2 tcp 6 100 TIME_WAIT src=192.0.2.1 dst=10.0.3.7 sport={port} dport=6379 src=10.0.3.7 \
                 dst=192.0.2.1 sport=6379 dport={port} [ASSURED] mark=0 zone=0 use=2\n"
            )
        };
        let other = |n: u32| {
            let port = 1024 + n;
            format!(
                "ipv4 2 udp 17 20 src=192.0.2.1 dst=192.0.2.53 sport={port} dport=53 src=192.0.2.53 \
                 dst=192.0.2.1 sport=53 dport={port} mark=0 zone=0 use=2\n"
            )
        };
        let entries: String = (0..to_redis)
            .map(redis)
            .chain((0..others).map(other))
            .collect();
        self.root.file(TABLE, entries);
        self.root.file(COUNT, format!("{}\n", to_redis + others));
    }

    /// The kernel lost so many packets since it was started.
    fn lost(&self, packets: u32) {
        let row = statistics_row(packets, 0, packets / 2, 0);
        self.root
            .file(STATISTICS, format!("{STATISTICS_HEADER}{row}"));
    }

    /// The arguments of a recorder.
    fn recording<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let paths = [self.root.path(), self.directory.path(), self.kept.path()];
        let [root, directory, kept] = paths.map(|path| path.to_str().unwrap());
        let mut all = vec!["--proc-root", root, "--recording", directory];
        all.extend(["--state-dir", kept, "--own", "192.0.2.1"]);
        all.extend(more);
        all
    }

    /// Starts a recorder whose next tick is far away, and waits for its first sample.
    fn start(&self) -> Recorder {
        self.start_by(&[])
    }

    /// Starts such a recorder by these words.
    fn start_by(&self, words: &[&str]) -> Recorder {
        let recorder = Recorder::start(words, &self.recording(&["--record", "60"]));
        wait_for("a recorder that a signal stops in good order", || {
            holds(
                in_mask(recorder.0.pid(), "SigBlk", Signal::SIGTERM),
                "not yet",
            )
        });
        let uptime = fs::read_to_string(self.root.path().join("uptime")).unwrap();
        let at: String = uptime.split(' ').next().unwrap().replace('.', "");
        let line = format!("\nsample {at} ");
        wait_for("a sample of this moment", || {
            let text = self.text();
            holds(text.contains(&line), text)
        });
        recorder
    }

    /// Runs a recorder for a moment: it takes its first and its last sample.
    fn record(&self) {
        self.record_by(&[]);
    }

    /// Runs such a recorder by these words.
    fn record_by(&self, words: &[&str]) {
        self.start_by(words).stop();
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("recording")
    }

    /// The recording; nothing if there is none.
    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// The files about incidents, in the order of time.
    fn incidents(&self) -> Vec<PathBuf> {
        let folder = self.kept.path().join("incidents");
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // a file that is being written has another name, and is soon gone under it
        files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        files.sort();
        files
    }

    /// A check that may not read the table itself.
    fn check(&self, more: &[&str]) -> Answer {
        let table = self.root.path().join(TABLE);
        let hidden = self.root.path().join("hidden");
        let is_there = fs::rename(&table, &hidden).is_ok();
        let paths = [self.directory.path(), self.state.path()];
        let [directory, state] = paths.map(|path| path.to_str().unwrap());
        let arguments = ["--recording", directory, "--state-dir", state];
        let answer = self.root.answer(&[&arguments[..], more].concat());
        if is_there {
            fs::rename(&hidden, &table).unwrap();
        }
        answer
    }
}
