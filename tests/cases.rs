//! Golden runs: each folder of tests/cases is a scenario, named after what happened and not after what is expected.
//!
//! `args` holds the arguments, one a line, CASE standing for the folder; `proc/` is the proc root; `stdout` and `status`
//! are what must come out. `recording/` is what a recorder wrote; its path in the output reads RECORDING.
//! With `before/` there was a previous run: it saw these files in place of those in `proc/`. A time of day in the output
//! reads TIME.
//! `UPDATE=1 cargo test --test cases` writes what came out; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "suite/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::folder::set_mode;
use common::programs::{printed, program};
use common::{Answer, answer, new_folder};
use libtest_mimic::{Arguments, Trial};

fn folder_of_all() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn run(scenario: &str) {
    // the place of the repository may be long and have blanks, and a link to the scenario has neither
    let short = new_folder();
    let folder = short.path().join("case");
    std::os::unix::fs::symlink(folder_of_all().join(scenario), &folder).unwrap();
    let moving = folder.join("before").is_dir().then(|| Moving::new(&folder));
    let proc_root = match &moving {
        Some(moving) => moving.proc_root(),
        None => folder.join("proc"),
    };
    let typed = fs::read_to_string(folder.join("args")).unwrap_or_default();
    let mut arguments = vec![
        "--proc-root".to_owned(),
        proc_root.to_str().unwrap().to_owned(),
    ];
    // CASE stands for the folder of the scenario
    let case = folder.to_str().unwrap();
    // that of this host is none of a scenario's business
    if !typed.contains("--state-dir") {
        let state = moving.as_ref().map(Moving::state);
        let state = state.unwrap_or_else(|| PathBuf::from("/nonexistent"));
        arguments.extend(["--state-dir", state.to_str().unwrap()].map(str::to_owned));
    }
    let recording = folder.join("recording");
    let recording = recording.is_dir().then(|| recorded(&recording));
    if let Some(recording) = &recording {
        let path = recording.path().to_str().unwrap();
        arguments.extend(["--recording", path].map(str::to_owned));
    }
    arguments.extend(typed.lines().map(|line| line.replace("CASE", case)));
    let got = match moving {
        Some(moving) => moving.answer(&arguments, &folder),
        None => answer(&arguments),
    };
    let shown = got
        .text
        .lines()
        .map(|line| without_place(line, &proc_root.to_string_lossy(), case))
        .map(|line| without_time(&line))
        .collect::<String>();
    let shown = match &recording {
        // a long path was cut at its front, and only the name of the file is left
        Some(recording) => shown
            .replace(recording.path().to_str().unwrap(), "RECORDING")
            .replace("CASE/recording", "RECORDING/recording"),
        None => shown,
    };
    let status = format!("{}\n", got.code);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(folder.join("stdout"), &shown).unwrap();
        fs::write(folder.join("status"), &status).unwrap();
    }
    assert!(got.fits_nrpe_2() || typed.contains("-v"), "{}", got.text);
    assert_eq!(
        shown,
        fs::read_to_string(folder.join("stdout")).expect("stdout"),
        "{scenario}"
    );
    assert_eq!(
        status,
        fs::read_to_string(folder.join("status")).expect("status"),
        "{scenario}"
    );
}

/// A copy of a recording that only its owner may write, whatever the umask of a checkout.
fn recorded(recording: &Path) -> tempfile::TempDir {
    let copy = new_folder();
    let mut command = program("cp");
    printed(command.arg("-r").arg(recording.join(".")).arg(copy.path()));
    set_mode(&copy.path().join("recording"), 0o750);
    copy
}

/// A host whose files change between two runs: a copy of them, and the state.
struct Moving(tempfile::TempDir);

impl Moving {
    fn new(folder: &Path) -> Self {
        let host = Self(new_folder());
        fs::create_dir(host.proc_root()).unwrap();
        fs::create_dir(host.state()).unwrap();
        host.shows(&folder.join("proc"));
        host
    }

    fn proc_root(&self) -> PathBuf {
        self.0.path().join("proc")
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Copies the files over those that are there.
    fn shows(&self, files: &Path) {
        let mut copy = program("cp");
        printed(copy.arg("-a").arg(files.join(".")).arg(self.proc_root()));
    }

    /// The answer of the second of two runs.
    fn answer(&self, arguments: &[String], folder: &Path) -> Answer {
        self.shows(&folder.join("before"));
        answer(arguments);
        self.shows(&folder.join("proc"));
        answer(arguments)
    }
}

/// Replaces the time at which the table is full, which is counted from now.
fn without_time(line: &str) -> String {
    match line.split_once(" full at ") {
        Some((lead, rest)) => {
            let (time, rest) = rest.split_at("00:00:00".len());
            assert!(rest.starts_with(" UTC"), "{time}{rest}");
            format!("{lead} full at TIME{rest}")
        }
        None => line.to_owned(),
    }
}

/// Replaces the proc root by PROC and the folder of the scenario by CASE. A long path is cut at its front.
fn without_place(line: &str, proc_root: &str, case: &str) -> String {
    let word = |word: &str| {
        let (lead, path) = word.split_at(word.find(['/', '.']).unwrap_or(word.len()));
        if let Some(rest) = path.strip_prefix(proc_root) {
            return format!("{lead}PROC{rest}");
        }
        if let Some(rest) = path.strip_prefix(case) {
            return format!("{lead}CASE{rest}");
        }
        let Some(cut) = path.strip_prefix("..") else {
            return word.to_owned();
        };
        // two dots and the end of the root, then what stands below it, or the name of a file in the folder
        match (cut.split_once("/proc"), cut.rsplit_once('/')) {
            (Some((_, rest)), _) => format!("{lead}PROC{rest}"),
            (None, Some((_, name))) => format!("{lead}CASE/{name}"),
            (None, None) => word.to_owned(),
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n"
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut scenarios: Vec<String> = fs::read_dir(folder_of_all())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    scenarios.sort();
    let test = |scenario: String| {
        let name = scenario.clone();
        Trial::test(name, move || {
            run(&scenario);
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, scenarios.into_iter().map(test).collect()).exit_code()
}
