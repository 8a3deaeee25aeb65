//! The process: its one write and exit code, its signals, its capabilities and its state file.

pub mod privilege;
pub mod process;
pub mod state_file;
