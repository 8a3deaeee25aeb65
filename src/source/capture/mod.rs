//! A capture: entries as text, from a file that somebody saved (`--table`).

pub mod line;
pub mod open;
pub mod reader;
