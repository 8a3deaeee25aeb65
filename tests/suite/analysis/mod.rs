//! Who holds the entries.

mod owners;
mod tally;
mod top;
