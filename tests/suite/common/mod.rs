//! Shared by the tests: the plugin under test and kernel files made for it, the programs and folders of the host that a
//! test uses, namespaces to run in, and waiting.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    clippy::indexing_slicing
)] // tests/cases.rs uses a part

pub mod conntrack;
pub mod contract;
pub mod folder;
pub mod hosts;
pub mod namespaces;
pub mod network;
pub mod plugin;
pub mod programs;
pub mod wait;

pub use contract::Answer;
pub use folder::{new_file, new_folder};
pub use plugin::{
    BUCKETS, COUNT, MAX, ProcRoot, STATISTICS, STATISTICS_HEADER, answer, binary, check,
    statistics_row,
};
pub use programs::needs;
pub use wait::wait_for;

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
