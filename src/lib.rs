//! check_conntrack: how full is the connection tracking table, and what does that mean?
//!
//! Data flows one way, and each stage takes a value and returns a new one:
//!
//! ```text
//! command line -> cli::Options
//!   source      the kernel's files, the table, sockets and processes -> the plain values of model
//!   judge       these values and the thresholds                      -> a verdict
//!   analysis    entries, sockets and processes                       -> facts of the whole table
//!   diagnosis   the verdict and the facts                            -> one finding
//!   report      all of these                                         -> the text, the perfdata, the state
//! ```
//!
//! [`run`] is the one function that knows the order. Only [`source`] opens anything, only [`runtime`] handles signals,
//! capabilities and exit codes, and the stages that decide and print are pure. [`record`] is the recorder: the same
//! stages once a period, and a [`recording`] of what they found.
//!
//! A tree of recorded kernel files goes in, a report comes out:
//!
//! ```
//! use std::time::Instant;
//!
//! use check_conntrack::cli::{self, Request};
//! use check_conntrack::model::elevation::Elevation;
//!
//! let command_line = "check_conntrack --proc-root tests/cases/half-full/proc --state-dir /nonexistent -w 45";
//! let words = command_line.split(' ').map(Into::into);
//! let Ok(Request::Check(options)) = cli::parse(words, Elevation::None) else {
//!     panic!("the command line asks for a check");
//! };
//! // nothing interrupts this run, so nobody needs the report that stands in for an interrupted one
//! let (report, _state) = check_conntrack::run(&options, Instant::now(), |_fallback| ());
//!
//! let (text, perfdata) = report.text.split_once('|').expect("an answer has perfdata");
//! assert_eq!(
//!     text,
//!     "CONNTRACK is WARNING: 50.0% full - 131072 of 262144 entries, usage above 45%"
//! );
//! assert!(perfdata.starts_with("usage=50.0%;45;"));
//! assert_eq!(report.state as i32, 1);
//! ```
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
