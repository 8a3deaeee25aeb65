//! Who holds the entries.

mod tally;
mod top;
