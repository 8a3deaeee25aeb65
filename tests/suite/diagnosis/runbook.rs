//! The runbook leads from every hint, and from every text of an alert, to one of its sections. That the links lead
//! somewhere is seen to in tests/suite/docs.rs.

use std::fs;
use std::path::Path;

use check_conntrack::diagnosis::{Evidence, Hint, SeenAtSockets};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// Each kind of advice in each of its wordings. A new variant has to find its place here first.
fn hints() -> Vec<Hint> {
    let label = || "to 192.0.2.7:6379/tcp".to_owned();
    let client = |is_network, forwarded| Hint::ClientFloods {
        name: "198.51.100.9".to_owned(),
        is_network,
        forwarded,
        forged: is_network,
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
            owner: Some(Evidence {
                owner: "sidekiq.service".to_owned(),
                entries: 10,
                seen: SeenAtSockets {
                    entries: 9,
                    of_owner: 9,
                },
            }),
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

#[test]
fn every_hint_leads_to_its_section() {
    let rows = rows();
    for hint in hints() {
        let sentence = format!("hint: {hint}");
        let leads = rows
            .iter()
            .filter(|texts| {
                texts
                    .iter()
                    .any(|text| text.starts_with("hint: ") && says(&sentence, text))
            })
            .count();
        assert_eq!(leads, 1, "rows for {sentence}");
    }
}

/// What the check says somewhere in its cases or its tests, and every hint.
fn everything_said() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<String> = hints().iter().map(|hint| format!("hint: {hint}")).collect();
    for case in fs::read_dir(root.join("tests/cases")).unwrap() {
        texts.push(fs::read_to_string(case.unwrap().path().join("stdout")).unwrap());
    }
    for file in [
        "docs/thresholds.md",
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
