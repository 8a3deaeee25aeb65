//! What the documentation shows is what the binary prints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::ffi::OsStr;

#[test]
fn every_output_in_the_documentation_is_what_is_printed() {
    let script = "cd \"$1\" && PATH=\"$(dirname \"$2\"):$PATH\" tests/docs-outputs";
    let root = OsStr::new(env!("CARGO_MANIFEST_DIR"));
    common::sh(script, &[root, common::binary().as_os_str()]);
}

#[test]
fn every_option_is_in_the_readme() {
    let readme = include_str!("../README.md");
    let command = check_conntrack::args::command();
    for option in command
        .get_arguments()
        .filter(|option| !option.is_hide_set())
    {
        let long = option.get_long().expect("every option has a long name");
        let short = option.get_short().map(|short| format!("`-{short}"));
        let found = readme.contains(&format!("--{long}"))
            || short.is_some_and(|short| readme.contains(&short));
        assert!(found, "--{long}");
    }
}

#[test]
fn every_metric_has_a_recipe() {
    let thresholds = include_str!("../docs/thresholds.md");
    for metric in check_conntrack::metric::Metric::all() {
        assert!(thresholds.contains(&format!("`{metric}`")), "{metric}");
    }
}
