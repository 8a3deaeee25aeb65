//! Ranges, and the comparison of two runs.

mod losses;
mod ranges;
mod samples;
mod simulation;
mod state;
