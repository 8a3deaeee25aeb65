//! The fuzz targets over what fuzzing begins with, and over every input that once was a finding: tests/fuzz/README.md.
//!
//! `CORPUS=DIRECTORY cargo test --test suite fuzzing::` also writes what fuzzing begins with there, as `make fuzz` does.

// the recordings of netlink come from a little-endian machine
#![cfg(target_endian = "little")]
#[path = "../fuzz/src/lib.rs"]
#[allow(clippy::duplicate_mod)]
// the fuzz targets are a crate of their own with the same output contract
mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz::files::{self, ProcRoot};
use fuzz::{TARGETS, Target, seeds};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The target, by name.
fn target(name: &str) -> Target {
    let known = TARGETS.iter().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("no target {name}")).1
}

/// Runs a target over an input. Where that panics, `what` was running.
fn run(target: Target, what: &str, input: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(input));
    assert!(outcome.is_ok(), "the finding above is of {what}");
}

/// Holds a target against its seeds and its regressions.
fn holds(name: &str) {
    let target = target(name);
    let inputs = seeds::inputs(name, &tests(), crate::source::datagrams::messages);
    assert!(!inputs.is_empty(), "{name} begins with nothing");
    if let Some(corpus) = std::env::var_os("CORPUS") {
        let folder = Path::new(&corpus).join(name);
        fs::create_dir_all(&folder).unwrap();
        for (index, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:03}")), input).unwrap();
        }
        let words = seeds::dictionary(&seeds::words(name));
        fs::write(Path::new(&corpus).join(format!("{name}.dict")), words).unwrap();
    }
    for (index, input) in inputs.iter().enumerate() {
        run(target, &format!("seed {index} of {name}"), input);
    }
    let regressions = tests().join("fuzz/regressions").join(name);
    if regressions.is_dir() {
        let files = listed(&regressions);
        assert!(!files.is_empty(), "{} is empty", regressions.display());
        for file in files {
            let input = fs::read(&file).unwrap();
            run(target, &file.display().to_string(), &input);
        }
    }
}

macro_rules! targets {
    ($($test:ident = $name:literal;)*) => {
        $(#[test] fn $test() { holds($name); })*
        const TESTED: &[&str] = &[$($name),*];
    };
}

targets! {
    ranges_decide_as_they_are_printed = "ranges";
    arguments_are_read_or_refused_in_one_line = "arguments";
    kernel_files_are_read_as_what_they_say = "kernel_files";
    datagrams_are_listed_or_counted_as_broken = "datagrams";
    lines_of_the_table_add_up = "table_text";
    answers_of_sock_diag_are_sockets_or_none = "sock_diag";
    a_state_is_read_as_it_was_written = "state";
    a_recording_is_read_as_it_was_written = "recording";
    files_of_processes_are_told_as_they_are = "proc_files";
    every_answer_keeps_the_contract = "pipeline";
}

#[test]
fn every_target_is_tested_and_has_its_program_and_nothing_else_has_regressions() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(tested, targets);
    let stems = |folder: &str| -> BTreeSet<String> {
        let paths = listed(&tests().join("fuzz").join(folder));
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        paths.iter().map(stem).collect()
    };
    assert_eq!(stems("fuzz_targets"), targets);
    let regressions = stems("regressions");
    assert!(regressions.is_subset(&targets), "{regressions:?}");
    let manifest = fs::read_to_string(tests().join("fuzz/.package/Cargo.toml")).unwrap();
    let programs: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"../fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(programs, targets);
}

/// Everything below a folder: where, of which kind, and what it holds or points to.
fn tree(folder: &Path) -> Vec<String> {
    let mut tree = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop().filter(|folder| folder.is_dir()) {
        for path in listed(&folder) {
            let kind = fs::symlink_metadata(&path).unwrap();
            let content = match (kind.is_file(), kind.is_symlink()) {
                (true, _) => format!("{:?}", fs::read(&path).ok()),
                (_, true) => format!("{:?}", fs::read_link(&path).unwrap()),
                _ => String::new(),
            };
            tree.push(format!(
                "{} {:?} {content}",
                path.display(),
                kind.file_type()
            ));
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    tree.sort();
    tree
}

#[test]
fn what_one_input_unpacks_is_nothing_to_the_next() {
    let mut inputs = seeds::inputs("proc_files", &tests(), crate::source::datagrams::messages);
    // the same with other things in the place of files
    let marked = |mark: u8| {
        let with_mark = move |input: &Vec<u8>| -> Vec<u8> {
            let mut input = input.clone();
            for place in (0..input.len() - 3).filter(|place| place % 2 == 0) {
                if input[place..].starts_with(b"== ") {
                    input[place + 1] = mark;
                }
            }
            input
        };
        inputs.iter().map(with_mark).collect::<Vec<_>>()
    };
    let others: Vec<Vec<u8>> = b"/|!".iter().flat_map(|mark| marked(*mark)).collect();
    inputs.extend(others);
    inputs.extend([
        b"== sys/net\nno directory\n".to_vec(),
        b"=/ sys/net\n".to_vec(),
        Vec::new(),
    ]);

    let below = |root: &ProcRoot| -> Vec<String> {
        let path = root.path();
        let shown = format!("{}/", path.display());
        tree(&path)
            .into_iter()
            .map(|line| line.replace(&shown, ""))
            .collect()
    };
    let mut used = ProcRoot::new();
    for (index, input) in inputs.iter().enumerate() {
        // one that differs in all comes before, and the same again
        for input in [&inputs[(index * 7) % inputs.len()], input, input] {
            used.hold(&files::parts(input, &[]), false);
        }
        let mut fresh = ProcRoot::new();
        fresh.hold(&files::parts(input, &[]), false);
        assert_eq!(
            below(&used),
            below(&fresh),
            "{}",
            String::from_utf8_lossy(input)
        );
    }
}

/// Name and version of every package in a lock file, ours left out.
fn packages(lock: &Path) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(lock).unwrap();
    let field = |line: &str, name: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(" = \"")?;
        Some(value.strip_suffix('"')?.to_owned())
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter_map(|pair| Some((field(pair[0], "name")?, field(pair[1], "version")?)))
        .filter(|(name, _)| !name.starts_with("check_conntrack"))
        .collect()
}

#[test]
fn what_is_fuzzed_is_built_of_the_versions_that_are_shipped() {
    let shipped = packages(&tests().join("../Cargo.lock"));
    let fuzzed = packages(&tests().join("fuzz/.package/Cargo.lock"));
    assert!(fuzzed.len() > 20 && shipped.len() > 20);
    let known: BTreeSet<&String> = shipped.iter().map(|(name, _)| name).collect();
    let others: Vec<_> = fuzzed
        .difference(&shipped)
        .filter(|(name, _)| known.contains(name))
        .collect();
    assert!(
        others.is_empty(),
        "{others:?}: cp Cargo.lock tests/fuzz/.package/ && cargo metadata --manifest-path tests/fuzz/.package/Cargo.toml"
    );
}
