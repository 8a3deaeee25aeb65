//! Entries, sockets and processes, counted by endpoint and owner. Pure.

pub mod census;
pub mod facts;
pub mod listening;
pub mod owners;
pub mod tally;
pub mod top;
pub mod traffic;
