//! The runbook leads from every hint, and from every text of an alert, to one of its sections. That the links lead
//! somewhere is seen to in tests/suite/docs.rs.

use std::fs;
use std::path::Path;

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// The rows of the table at the top: the texts of an alert, `...` standing for what varies.
fn rows() -> Vec<Vec<&'static str>> {
    let rows: Vec<_> = RUNBOOK
        .lines()
        .skip_while(|line| *line != "| the alert says | go to |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let (texts, target) = line.trim_matches(['|', ' ']).split_once(" | ").unwrap();
            assert!(target.contains("](#"), "no section for {texts}");
            texts.split('`').skip(1).step_by(2).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "there is a table of alerts");
    rows
}

/// Whether a line has the parts of a pattern, in their order.
fn says(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split("...").all(|part| {
        rest.split_once(part.trim()).is_some_and(|(_, behind)| {
            rest = behind;
            true
        })
    })
}

/// What the check says somewhere in its cases or its tests.
fn everything_said() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<String> = Vec::new();
    for case in fs::read_dir(root.join("tests/cases")).unwrap() {
        texts.push(fs::read_to_string(case.unwrap().path().join("stdout")).unwrap());
    }
    for file in [
        "docs/options-and-metrics.md",
        "README.md",
        "tests/suite/source/namespaces.rs",
    ] {
        texts.push(fs::read_to_string(root.join(file)).unwrap());
    }
    texts
}

#[test]
fn what_it_leads_from_is_what_the_check_says() {
    let said = everything_said();
    for texts in rows() {
        for text in texts.iter().filter(|text| !text.starts_with("CHECK_NRPE")) {
            let found = said
                .iter()
                .flat_map(|text| text.lines())
                .any(|line| says(line, text));
            assert!(found, "nothing says {text}");
        }
    }
}
