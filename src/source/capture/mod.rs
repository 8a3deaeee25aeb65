//! A capture: entries as text, from a file that somebody saved (`--table`).

mod foreign;
pub mod line;
pub mod open;
pub mod reader;
pub mod unpack;
mod unread;
pub mod words;
