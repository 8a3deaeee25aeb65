//! check_conntrack: how full is the connection tracking table, and what does that mean?
//!
//! Data flows one way. [`cli`] turns the command line into [`cli::Options`]; [`source`] reads kernel files into the
//! plain values of [`model`]; [`judge`] compares these with the thresholds; [`report`] puts the verdict into words.
//! [`run`] is the one function that knows the order. Only `source` opens anything, only `runtime` handles signals,
//! capabilities and exit codes, and the stages that decide and print are pure.
//!
//! The library exists for the binary, the tests and the packaging; it promises no stability.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod analysis;
pub mod cli;
pub mod diagnosis;
pub mod judge;
pub mod model;
pub mod pipeline;
pub mod recording;
pub mod report;
pub mod runtime;
pub mod source;

pub use pipeline::{record, run};
