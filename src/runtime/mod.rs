//! The process: its one write and exit status, its signals, its capabilities, its files and its clock.

pub mod kept_files;
pub mod manager;
pub mod output;
pub mod privilege;
pub mod signals;
pub mod state_file;
pub mod ticks;
pub mod unsafe_calls;
