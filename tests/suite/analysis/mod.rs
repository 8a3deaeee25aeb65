//! The holders of the entries.

mod owners;
mod picked_up;
mod tally;
mod top;
