//! The table of kernels in the documentation, which is made of what the scenarios hold every kernel to. The kernels
//! themselves are run by `make kernels`.

use std::path::Path;
use std::{env, fs};

use crate::common::programs::{printed, script};

const DOCUMENT: &str = "docs/internals/reliability.md";

/// The place of the table in the document: from its head to the first line that is none of it.
fn table_in(document: &str) -> std::ops::Range<usize> {
    let head = "| what | 5.10 |";
    let begin = document.find(head).expect("the head of the table");
    let end = document[begin..]
        .find("\n\n")
        .map_or(document.len(), |length| begin + length + 1);
    begin..end
}

#[test]
fn the_documentation_has_the_table_that_the_kernels_are_held_to() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = printed(&mut script("kernels/table"));
    assert!(made.lines().count() > 30, "{made}");
    let path = root.join(DOCUMENT);
    let document = fs::read_to_string(&path).expect(DOCUMENT);
    let range = table_in(&document);
    if env::var_os("UPDATE").is_some() {
        let updated = [&document[..range.start], &made, &document[range.end..]].concat();
        fs::write(&path, updated).expect(DOCUMENT);
    } else {
        assert_eq!(
            document[range], made,
            "UPDATE=1 cargo test --test suite kernel:: writes it"
        );
    }
}
