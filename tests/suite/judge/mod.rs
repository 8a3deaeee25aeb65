//! Ranges, and the comparison of two runs.

mod ranges;
mod state;
