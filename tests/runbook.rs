//! The runbook leads from every hint, and from every text that a page may show, to a section that exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use check_conntrack::hint::Hint;

const RUNBOOK: &str = include_str!("../docs/runbook.md");

/// Each kind of advice in each of its wordings. A new variant has to find its place here first.
fn hints() -> Vec<Hint> {
    let label = || "to 192.0.2.7:6379/tcp".to_owned();
    let client = |is_network, forwarded| Hint::ClientFloods {
        name: "198.51.100.9".to_owned(),
        is_network,
        forwarded,
    };
    let all = vec![
        Hint::RaiseBuckets {
            buckets: 512,
            wanted: 1_000_000,
        },
        Hint::NoAnswer {
            label: label(),
            owner: None,
        },
        Hint::Scan,
        Hint::NotReused {
            label: label(),
            owner: Some("sidekiq.service".to_owned()),
            timeout: Some(120),
        },
        client(false, false),
        client(false, true),
        client(true, false),
        client(true, true),
        Hint::DeadPeers { timeout: None },
        Hint::RaiseMax {
            max: 1000,
            wanted: 2000,
        },
    ];
    for hint in &all {
        match hint {
            Hint::RaiseBuckets { .. }
            | Hint::NoAnswer { .. }
            | Hint::Scan
            | Hint::NotReused { .. }
            | Hint::ClientFloods { .. }
            | Hint::DeadPeers { .. }
            | Hint::RaiseMax { .. } => {}
        }
    }
    all
}

/// The rows of the table at the top: the texts of an alert, `...` standing for what varies, and where to go.
fn rows() -> Vec<(Vec<&'static str>, &'static str)> {
    let rows: Vec<_> = RUNBOOK
        .lines()
        .skip_while(|line| *line != "| the alert says | go to |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let (texts, target) = line.trim_matches(['|', ' ']).split_once(" | ").unwrap();
            let texts = texts.split('`').skip(1).step_by(2).collect();
            let anchor = target.split_once("](#").expect("a link").1;
            (texts, anchor.trim_end_matches(')'))
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

/// As GitHub makes them.
fn anchors() -> Vec<String> {
    let headings = RUNBOOK.lines().filter(|line| line.starts_with("## "));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches(['#', ' ']).to_lowercase();
            let kept = text
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || " -".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_hint_leads_to_its_section() {
    let rows = rows();
    for hint in hints() {
        let sentence = format!("hint: {hint}");
        let leads = rows
            .iter()
            .filter(|(texts, _)| {
                texts
                    .iter()
                    .any(|text| text.starts_with("hint: ") && says(&sentence, text))
            })
            .count();
        assert_eq!(leads, 1, "rows for {sentence}");
    }
}

#[test]
fn every_link_of_the_runbook_leads_somewhere() {
    let anchors = anchors();
    for (index, _) in RUNBOOK.match_indices("](#") {
        let target = RUNBOOK[index..]
            .trim_start_matches("](#")
            .split(')')
            .next()
            .unwrap();
        assert!(anchors.iter().any(|anchor| anchor == target), "#{target}");
    }
    assert_eq!(
        rows()
            .iter()
            .filter(|(_, target)| !anchors.iter().any(|a| a == target))
            .count(),
        0
    );
}

/// What the check says somewhere in its cases or its tests, and every hint.
fn everything_said() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<String> = hints().iter().map(|hint| format!("hint: {hint}")).collect();
    for case in fs::read_dir(root.join("tests/cases")).unwrap() {
        texts.push(fs::read_to_string(case.unwrap().path().join("stdout")).unwrap());
    }
    for file in ["docs/thresholds.md", "README.md", "tests/namespaces.rs"] {
        texts.push(fs::read_to_string(root.join(file)).unwrap());
    }
    texts
}

#[test]
fn what_it_leads_from_is_what_the_check_says() {
    let said = everything_said();
    for (texts, _) in rows() {
        for text in texts.iter().filter(|text| !text.starts_with("CHECK_NRPE")) {
            let found = said
                .iter()
                .flat_map(|text| text.lines())
                .any(|line| says(line, text));
            assert!(found, "nothing says {text}");
        }
    }
}
