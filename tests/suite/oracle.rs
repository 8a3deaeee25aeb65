//! The check against a second implementation of its ranges, verdicts and captures, tests/oracle, which shares no code
//! with it. `make oracle` compares many more cases.

use crate::common::binary;
use crate::common::programs::{needs, printed, script};

#[test]
fn a_second_implementation_gives_the_same_answers() {
    needs("python3");
    let mut oracle = script("oracle/run");
    // the same cases each time: a test that passed passes again
    oracle.args(["--seed", "1", "--runs", "2000", "--lines", "2000"]);
    printed(oracle.env("CHECK_CONNTRACK", binary()));
}
