//! The runbook leads from the words of line 1 to a section with the card, and its commands work. Links are tested in
//! tests/suite/docs.rs.

use std::fs;
use std::path::{Path, PathBuf};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// The rows of the table at the top: the texts of an alert, `...` standing for what varies.
fn rows() -> Vec<Vec<&'static str>> {
    let rows: Vec<_> = RUNBOOK
        .lines()
        .skip_while(|line| *line != "| line 1 says | go to |")
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

/// True if a line has the parts of a pattern, in their order.
fn says(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split("...").all(|part| {
        rest.split_once(part.trim()).is_some_and(|(_, behind)| {
            rest = behind;
            true
        })
    })
}

/// The sentences of the check: outputs of golden cases, and the sources of the report.
fn everything_said() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let files = |folder: &str| {
        let folder = fs::read_dir(root.join(folder)).unwrap();
        folder.map(|entry| entry.unwrap().path())
    };
    let cases = files("tests/cases").map(|case| read(case.join("stdout")));
    let report = files("src/report").filter(|path| path.is_file()).map(read);
    cases.chain(report).collect()
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

// ---- the sections -------------------------------------------------------------------------------------------------

/// The five lines of the card, by which a section answers what its reader has to know.
const CARD: [&str; 5] = ["Losing packets?", "Buy time", "Who", "Undo", "Verify"];

/// The rules of the diagnosis, each of which has a section.
const RULES: usize = 16;

#[test]
fn each_rule_has_a_section_with_the_whole_card_that_the_table_leads_to() {
    let has = |section: &str, line: &str| section.contains(&format!("\n| {line} | "));
    let mut with_card = 0;
    for section in RUNBOOK.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        if !CARD.iter().any(|line| has(section, line)) {
            continue;
        }
        for line in CARD {
            assert!(has(section, line), "{heading}: no line {line}");
        }
        assert!(
            RUNBOOK.contains(&format!(" | [{heading}](#")),
            "the table does not lead to {heading}"
        );
        with_card += 1;
    }
    assert_eq!(with_card, RULES);
}

// ---- the commands -------------------------------------------------------------------------------------------------

/// The commands that change something: lines behind `# ` in blocks.
fn changes() -> Vec<&'static str> {
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in RUNBOOK.lines() {
        fenced ^= line.starts_with("```");
        commands.extend(line.strip_prefix("# ").filter(|_| fenced));
    }
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

/// The commands of the text itself: `sysctl -w NAME=VALUE` in a paragraph or in a card.
fn settings() -> Vec<&'static str> {
    let spans = RUNBOOK
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let settings: Vec<&str> = spans
        .chain(RUNBOOK.lines().filter_map(|line| line.strip_prefix("# ")))
        .filter_map(|command| command.strip_prefix("sysctl -w "))
        .collect();
    assert!(settings.len() > 10, "{settings:?}");
    settings
}

mod netns {
    use super::*;
    use crate::common::conntrack::{count, insert};
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::programs::{printed, program};

    /// An entry as conntrack inserts it, without its ends and its state.
    const ENTRY: &str = "-A -p tcp --sport 40001 -t 600 -u ASSURED,SEEN_REPLY";

    /// The limit and the buckets belong to the first network namespace: others may not write them.
    fn is_of_the_host(command: &str) -> bool {
        command.contains("nf_conntrack_max=") || command.contains("nf_conntrack_buckets=")
    }

    #[test]
    fn its_commands_do_what_they_are_there_for() {
        inside!(Namespaces::Network);
        let deletes = |command: &str| command.starts_with("conntrack -D ");
        for command in changes() {
            if is_of_the_host(command) || command.starts_with("iptables ") {
                continue;
            }
            if deletes(command) {
                insert(&format!(
                    "{ENTRY} -s 192.0.2.10 -d 192.0.2.7 --dport 6379 --state TIME_WAIT\n\
                     {ENTRY} -s 198.51.100.9 -d 192.0.2.10 --dport 5222 --state ESTABLISHED\n"
                ));
            }
            let before = count();
            printed(program("sh").args(["-c", command]));
            if deletes(command) {
                assert_eq!(count(), before - 1, "{command}");
            }
        }
        let rules = printed(program("nft").args(["list", "ruleset"]));
        assert!(
            !rules.contains("table inet"),
            "everything is undone: {rules}"
        );
    }

    #[test]
    fn the_settings_it_names_are_those_of_the_kernel() {
        inside!(Namespaces::Network);
        for setting in settings() {
            for assignment in setting.split(' ').filter(|word| word.contains('=')) {
                let (name, _) = assignment.split_once('=').unwrap();
                let path = Path::new("/proc/sys").join(name.replace('.', "/"));
                assert!(path.exists(), "{setting}");
            }
        }
    }
}

mod iptables {
    use super::*;
    use crate::common::namespaces::{Namespaces, inside};
    use crate::common::programs::{printed, program};

    #[test]
    fn its_commands_of_iptables_work_and_are_undone_by_d_in_place_of_i() {
        inside!(Namespaces::Network);
        let commands = changes();
        let commands: Vec<&&str> = commands
            .iter()
            .filter(|command| command.starts_with("iptables "))
            .collect();
        assert!(!commands.is_empty());
        for command in commands {
            printed(program("sh").args(["-c", command]));
            printed(program("sh").args(["-c", &command.replace(" -I ", " -D ")]));
        }
    }
}
