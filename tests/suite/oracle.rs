//! The check against a second implementation of its ranges, verdicts and captures, tests/oracle, which shares no code
//! with it. `make oracle` compares many more cases.

use std::path::Path;
use std::process::Command;

use crate::common::{binary, needs};

#[test]
fn a_second_implementation_gives_the_same_answers() {
    needs("python3", "python3");
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/run");
    // the same cases each time: a test that passed passes again
    let compared = Command::new(oracle)
        .args(["--seed", "1", "--runs", "2000", "--lines", "2000"])
        .env("CHECK_CONNTRACK", binary())
        .output()
        .expect("tests/oracle/run starts");
    let said = [compared.stdout, compared.stderr].concat();
    assert!(
        compared.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
