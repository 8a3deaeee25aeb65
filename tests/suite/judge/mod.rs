//! Ranges, and the comparison of two runs.

mod losses;
mod ranges;
mod simulation;
mod state;
