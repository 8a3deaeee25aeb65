//! The pages: how long they are, what they show, the pictures and tables in them that are made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{below, broken, links, markdown, name, read, root};

/// The pages that may be longer than others: you jump into them.
const LONG: [&str; 2] = ["docs/runbook.md", "docs/options-and-metrics.md"];

#[test]
fn the_readme_has_at_most_100_lines_and_no_page_more_than_250() {
    assert!(read(&root().join("README.md")).lines().count() <= 100);
    for page in pages() {
        let name = name(&page);
        let lines = read(&page).lines().count();
        assert!(
            LONG.contains(&name.as_str()) || lines <= 250,
            "{name} has {lines} lines"
        );
    }
}

/// The pages of docs.
fn pages() -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    below(&root().join("docs"))
        .into_iter()
        .filter(is_page)
        .collect()
}

// ---- links --------------------------------------------------------------------------------------------------------

/// A package has the README, SECURITY.md and docs, in the same places to each other.
#[test]
fn a_link_in_an_installed_page_leads_to_an_installed_page() {
    let docs = below(&root().join("docs"));
    let mut installed: BTreeSet<PathBuf> = docs.into_iter().collect();
    installed.extend(["README.md", "SECURITY.md"].map(|file| root().join(file)));
    let mut wrong = Vec::new();
    for page in installed
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
    {
        for target in links(&read(page)) {
            let file = target.split('#').next().unwrap_or_default();
            let to = match file {
                "" => page.clone(),
                file => normal(&page.parent().unwrap().join(file)),
            };
            if !installed.contains(&to) {
                wrong.push(format!("{}: {target}", name(page)));
            }
            wrong.extend(broken(page, &target));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts
}

/// A page that is followed step by step names the packages that are built.
#[test]
fn every_package_named_in_a_page_has_the_version_of_this_crate() {
    let mut seen = 0;
    for page in markdown() {
        let text = read(&page);
        let named = text.match_indices("check-conntrack").map(|(at, name)| {
            let rest = text[at + name.len()..].trim_start_matches(['-', '_']);
            rest.split(|next: char| next != '.' && !next.is_ascii_digit())
                .next()
                .unwrap_or_default()
        });
        for version in named.filter(|version| version.contains('.') && version.len() > 1) {
            seen += 1;
            assert_eq!(version, env!("CARGO_PKG_VERSION"), "{}", name(&page));
        }
    }
    assert!(seen >= 2, "only {seen} packages are named");
}

// ---- outputs ------------------------------------------------------------------------------------------------------

/// `make bench` writes this page, with answers about the tables that it makes.
const MEASURED: &str = "docs/internals/benchmarks.md";

/// Blocks of text show what the check says in situations that a command cannot repeat, such as a growing table. Each
/// line of an answer in them is a line of a golden case.
#[test]
fn every_answer_shown_in_a_block_of_text_is_that_of_a_golden_case() {
    let golden = golden_lines();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in markdown().iter().filter(|page| name(page) != MEASURED) {
        for line in text_blocks(&read(page)) {
            if !is_answer(&line) {
                continue;
            }
            seen += 1;
            if !golden.contains(&without_time(&line)) {
                wrong.push(format!("{}: {line}", name(page)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 40, "only {seen} lines of answers were found");
}

#[test]
fn an_answer_that_no_golden_case_has_is_noticed() {
    let golden = golden_lines();
    let shown = "CONNTRACK is CRITICAL: 95.2% full - 200000 of 210000 entries, usage above 90%";
    assert!(golden.contains(shown));
    assert!(!golden.contains(&shown.replace("95.2", "95.3")));
    assert_eq!(
        text_blocks("```text\n$ x\nwhy: a\n```\nwhy: b\n```console\nwhy: c\n```\n"),
        ["$ x", "why: a"]
    );
    assert!(is_answer("1. to 192.0.2.7:6379/tcp: 20 entries, 100.0%"));
    assert!(!is_answer("1. Look at both"));
}

/// True if a line is one that the check prints for a finding.
fn is_answer(line: &str) -> bool {
    let named = ["CONNTRACK is ", "why: ", "now: ", "fix: ", "look: "];
    let endpoint = line.split_once(". ").is_some_and(|(number, rest)| {
        number.parse::<u8>().is_ok() && (rest.starts_with("to ") || rest.starts_with("from "))
    });
    endpoint || named.iter().any(|begin| line.starts_with(begin))
}

/// The lines that golden cases print: whole, and line 1 without the values behind it.
fn golden_lines() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for case in fs::read_dir(root().join("tests/cases")).unwrap() {
        let text = read(&case.unwrap().path().join("stdout"));
        for line in text.lines() {
            let text = line.split('|').next().unwrap_or_default();
            lines.extend([line.to_owned(), text.to_owned()]);
        }
    }
    lines
}

/// The lines of the blocks that are marked text.
fn text_blocks(page: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(kind) };
        } else if fence == Some("text") {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The time of day reads TIME in a golden case.
fn without_time(line: &str) -> String {
    let Some((lead, rest)) = line.split_once(" full at ") else {
        return line.to_owned();
    };
    let rest = rest.split_once(" UTC").map_or(rest, |(_, rest)| rest);
    format!("{lead} full at TIME UTC{rest}")
}

// ---- what is made -------------------------------------------------------------------------------------------------

/// The picture is drawn by a script in Python.
mod python {
    use super::*;
    use crate::common::programs::{fixed, needs, printed};

    #[test]
    fn the_picture_is_the_one_that_its_script_draws() {
        needs("python3");
        let script = root().join("docs/internals/draw-table");
        let drawn = printed(&mut fixed(std::process::Command::new(script)));
        assert!(
            drawn == read(&root().join("docs/table.svg")),
            "docs/internals/draw-table >docs/table.svg draws it"
        );
    }
}

mod tree {
    use super::*;

    const PAGE: &str = "docs/internals/tree.md";
    const BEGIN: &str = "<!-- tree -->\n";
    const END: &str = "<!-- end of the tree -->\n";

    #[test]
    fn the_page_about_the_tree_has_every_file_of_src_with_its_first_sentence() {
        let path = root().join(PAGE);
        let page = read(&path);
        let (before, rest) = page.split_once(BEGIN).expect(BEGIN);
        let (shown, after) = rest.split_once(END).expect(END);
        let made = table();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, [before, BEGIN, &made, END, after].concat()).unwrap();
        } else {
            assert_eq!(
                shown, made,
                "UPDATE=1 cargo test --test suite docs::pages::tree writes it"
            );
        }
    }

    /// The files of src in the order of their paths.
    fn table() -> String {
        let mut table = "| file | purpose |\n|---|---|\n".to_owned();
        for file in below(&root().join("src")) {
            let purpose = first_sentence(&read(&file));
            let file = name(&file);
            table += &format!("| `{}` | {purpose} |\n", file.trim_start_matches("src/"));
        }
        table
    }

    /// The first sentence of the documentation of a module.
    fn first_sentence(source: &str) -> String {
        let lines: Vec<&str> = source
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect();
        let text = lines.join(" ").replace('|', "\\|");
        match text.split_once(". ") {
            Some((sentence, _)) => format!("{sentence}."),
            None => text,
        }
    }

    #[test]
    fn a_first_sentence_ends_at_its_full_stop() {
        let source = "//! Reads one\n//! file. It waits\n//!\n//! Never.\nuse std;\n";
        assert_eq!(first_sentence(source), "Reads one file.");
        assert_eq!(first_sentence("//! See x.y for a|b\n"), "See x.y for a\\|b");
    }
}
