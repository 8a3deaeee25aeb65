//! Who holds the entries.

mod picked_up;
mod tally;
mod top;
