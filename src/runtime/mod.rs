//! The process: its one write and exit status, its signals, its capabilities and its state file.

pub mod output;
pub mod privilege;
pub mod signals;
pub mod state_file;
pub mod unsafe_calls;
