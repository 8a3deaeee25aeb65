//! The holders of the entries.

mod owners;
mod picked_up;
pub(crate) mod tally;
mod top;
