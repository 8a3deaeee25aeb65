//! The tests of check_conntrack, a module for each stage of the plugin, in the order of src: see CONTRIBUTING.md for how
//! to run one of them. The golden cases are in tests/cases.rs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod common;
mod heap;
mod roles;

mod cli;
mod source;

mod judge;

mod recorder;

mod analysis;
mod diagnosis;
mod runtime;

mod code;
mod docs;
mod fuzzing;
mod hosts;
mod kernel;
mod oracle;
mod packages;
