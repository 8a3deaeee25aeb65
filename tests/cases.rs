//! Golden runs: each folder of tests/cases is a scenario, named after what happened and not after what is expected.
//!
//! `args` holds the arguments, one a line, CASE standing for the folder; `proc/` is the proc root; `stdout` and `status` are what must come out.
//! `UPDATE=1 cargo test --test cases` writes what came out; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use common::answer;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn run(scenario: &str) {
    let folder = folder().join(scenario);
    let proc_root = folder.join("proc");
    let typed = fs::read_to_string(folder.join("args")).unwrap_or_default();
    let mut arguments = vec![
        "--proc-root".to_owned(),
        proc_root.to_str().unwrap().to_owned(),
    ];
    // CASE stands for the folder of the scenario
    let case = folder.to_str().unwrap();
    // that of this host is none of a scenario's business
    if !typed.contains("--state-dir") {
        arguments.extend(["--state-dir", "/nonexistent"].map(str::to_owned));
    }
    arguments.extend(typed.lines().map(|line| line.replace("CASE", case)));
    let got = answer(&arguments);
    // a long path is cut at its front: say only what stands below the proc root
    let shown = got
        .text
        .lines()
        .map(|line| without_root(line, &proc_root.to_string_lossy()))
        .collect::<String>();
    let status = format!("{}\n", got.code);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(folder.join("stdout"), &shown).unwrap();
        fs::write(folder.join("status"), &status).unwrap();
    }
    assert!(got.fits_nrpe_2() || typed.contains("-v"), "{}", got.text);
    assert_eq!(
        shown,
        fs::read_to_string(folder.join("stdout")).expect("stdout"),
        "{scenario}"
    );
    assert_eq!(
        status,
        fs::read_to_string(folder.join("status")).expect("status"),
        "{scenario}"
    );
}

/// Replaces the proc root, whole or cut, by PROC.
fn without_root(line: &str, proc_root: &str) -> String {
    let word = |word: &str| {
        let (lead, path) = word.split_at(word.find(['/', '.']).unwrap_or(word.len()));
        if let Some(rest) = path.strip_prefix(proc_root) {
            return format!("{lead}PROC{rest}");
        }
        // cut: two dots and the end of the root, then what stands below it
        match path
            .strip_prefix("..")
            .and_then(|cut| cut.split_once("/proc"))
        {
            Some((_, rest)) => format!("{lead}PROC{rest}"),
            None => word.to_owned(),
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n"
}

macro_rules! cases {
    ($($name:ident = $scenario:literal;)*) => {
        $(#[test] fn $name() { run($scenario); })*
        const SCENARIOS: &[&str] = &[$($scenario),*];
    };
}

cases! {
    absent = "absent";
    absent_and_meant_to_be = "absent-and-meant-to-be";
    absent_but_statistics_exist = "absent-but-statistics-exist";
    at_the_threshold = "at-the-threshold";
    bare_positionals = "bare-positionals";
    capture_of_a_redis_client_without_a_pool = "capture-redis-client";
    capture_of_a_gateway = "capture-gateway";
    capture_of_a_syn_flood = "capture-of-a-syn-flood";
    capture_with_broken_lines = "capture-broken-lines";
    chains_long = "chains-long";
    chains_long_before_5_15 = "chains-long-before-5-15";
    chains_long_with_default_thresholds_off = "chains-long-with-other-threshold";
    count_empty = "count-empty";
    count_huge = "count-huge";
    count_negative = "count-negative";
    count_not_a_number = "count-not-a-number";
    count_not_utf8 = "count-not-utf8";
    count_without_max = "count-without-max";
    counters_of_many_processors = "counters-of-many-processors";
    empty_although_connected = "empty-although-connected";
    empty_although_connected_and_critical = "empty-although-connected-and-critical";
    empty_although_connected_over_ipv6 = "empty-although-connected-over-ipv6";
    empty_and_connected_to_an_address_that_is_its_own_too = "empty-and-connected-to-an-address-that-is-its-own-too";
    empty_and_connected_to_itself_only = "empty-and-connected-to-itself-only";
    empty_and_connections_unreadable = "empty-and-connections-unreadable";
    empty_and_not_connected = "empty-and-not-connected";
    entries_in_percent = "entries-in-percent";
    free_too_small = "free-too-small";
    full = "full";
    half_full = "half-full";
    just_above_the_threshold = "just-above-the-threshold";
    legacy_2_6 = "legacy-2-6";
    legacy_ip_conntrack_max = "legacy-ip-conntrack-max";
    legacy_max_beside_count = "legacy-max-beside-count";
    max_minus_one = "max-minus-one";
    max_without_count = "max-without-count";
    max_zero = "max-zero";
    namespaces_of_which_one_is_nearly_full = "namespaces-one-nearly-full";
    namespaces_that_cannot_be_seen = "namespaces-unseen";
    nearly_full = "nearly-full";
    nearly_full_with_all_details = "nearly-full-with-all-details";
    no_statistics = "no-statistics";
    no_sys_net = "no-sys-net";
    one_entry_beside_connections = "one-entry-beside-connections";
    over_the_limit = "over-the-limit";
    ranges_inside = "ranges-inside";
    statistics_garbled = "statistics-garbled";
    table_below_the_proc_root = "table-below-proc-root";
    table_below_the_proc_root_unasked = "table-below-proc-root-not-asked";
    table_metric_without_a_table = "table-metric-without-table";
    three_quarters_full_and_chains_asked_for = "buckets-unreadable";
    warning_full = "warning-full";
}

#[test]
fn every_folder_is_a_test() {
    let folders: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let tested: BTreeSet<String> = SCENARIOS.iter().map(|s| (*s).to_owned()).collect();
    assert_eq!(folders, tested);
}
