//! The man page and the completions know every option, every metric and every word that an option takes.

use check_conntrack::cli;
use check_conntrack::judge::metric::Metric;
use clap_complete::Shell;

use crate::common::programs::{printed, script};

#[expect(dead_code, reason = "its main is that of the example")]
#[path = "../../../packaging/man/manual.rs"]
pub(super) mod manual;

/// The man page without the marks of roff in its words.
fn page() -> String {
    let page = manual::page("2026-01-02", "1.2.3").unwrap();
    let page = page.replace("\\-", "-").replace("\\fP", "");
    page.replace("\\fB", "").replace("\\fR", "")
}

/// The text after the heading, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!(".SH {heading}\n")).unwrap();
    rest.split_once(".SH ").map_or(rest, |(section, _)| section)
}

/// Each shown option as it is typed: `-w`, `--warning`.
fn options() -> Vec<String> {
    let command = check_conntrack::cli::command();
    let mut options = Vec::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        options.extend(arg.get_short().map(|short| format!("-{short}")));
        let names = arg.get_long_and_visible_aliases().unwrap_or_default();
        options.extend(names.iter().map(|name| format!("--{name}")));
    }
    assert!(options.len() > 20, "{options:?}");
    options
}

/// The words that bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let completion = manual::completion(Shell::Bash).unwrap();
    let file = crate::common::new_file();
    std::fs::write(file.path(), completion).unwrap();
    let reply = printed(script("scripts/offered").arg(file.path()).args(words));
    reply.lines().map(str::to_owned).collect()
}

#[test]
fn the_man_page_has_every_option() {
    let page = page();
    for option in options() {
        // the end of the word, so that --top is not found in --top-when
        let found = page.match_indices(&option).any(|(at, _)| {
            let next = page[at + option.len()..].chars().next();
            next.is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-')
        });
        assert!(found, "{option} is not in the man page");
    }
}

#[test]
fn the_man_page_has_every_metric() {
    let page = page();
    let metrics = section(&page, "METRICS");
    for metric in Metric::all() {
        let named = metrics
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|word| word == metric.name());
        assert!(named, "{metric} is not under METRICS");
    }
}

#[test]
fn the_man_page_has_date_and_version_and_no_placeholder() {
    let page = page();
    assert!(page.starts_with(".TH CHECK_CONNTRACK 8 2026-01-02 \"check_conntrack 1.2.3\""));
    for placeholder in ["@DATE@", "@VERSION@", "@OPTIONS@"] {
        assert!(!page.contains(placeholder), "{placeholder}");
    }
    for heading in [
        "RANGES",
        "EXIT STATUS",
        "FILES",
        "CAPABILITIES",
        "EXAMPLES",
        "SEE ALSO",
    ] {
        assert!(section(&page, heading).lines().count() > 3, "{heading}");
    }
}

#[test]
fn bash_completes_every_option() {
    let offered = offered(&["-"]);
    for option in options() {
        assert!(offered.contains(&option), "{option} in {offered:?}");
    }
}

#[test]
fn bash_completes_the_beginning_of_an_option() {
    assert_eq!(offered(&["--crit"]), ["--critical"]);
    assert_eq!(offered(&["--top", "3", "--top-"]), ["--top-when"]);
}

#[test]
fn bash_completes_the_words_an_option_takes() {
    assert_eq!(offered(&["--top-when", ""]), ["always", "problem"]);
    assert_eq!(offered(&["--source", "s"]), ["sockets"]);
    assert_eq!(offered(&["--netns", "a"]), ["all"]);
    let states = ["ok", "warning", "critical", "unknown"];
    assert_eq!(offered(&["--absent", ""]), states);
    assert_eq!(offered(&["--empty", ""]), states);
}

#[test]
fn bash_completes_the_metrics_of_a_threshold() {
    let all: Vec<String> = Metric::all().map(|metric| format!("{metric}=")).collect();
    for option in ["-w", "--warning", "-c", "--critical"] {
        assert_eq!(offered(&[option, ""]), all, "{option}");
        assert_eq!(offered(&[option, "full"]), ["full_in="], "{option}");
    }
    let completion = manual::completion(Shell::Bash).unwrap();
    assert_eq!(
        completion.matches("compopt -o nospace").count(),
        4,
        "no blank before the range of -w, --warning, -c and --critical"
    );
}

#[test]
fn the_options_of_the_man_page_stand_below_the_headings_of_the_help() {
    let page = page();
    let options = section(&page, "OPTIONS");
    let mut headings: Vec<&str> = options
        .lines()
        .filter_map(|l| l.strip_prefix(".SS "))
        .collect();
    for heading in &mut headings {
        *heading = heading.trim_matches('"');
    }
    let expected = [
        "Thresholds, repeatable",
        "Who fills the table",
        "Sources",
        "Recorder",
        "State",
        "Output",
    ];
    assert_eq!(headings, expected);
}

#[test]
fn what_is_completed_is_what_the_program_accepts() {
    let command = manual::command();
    for arg in command.get_arguments() {
        // a flag has true and false, which nobody types
        if !arg.get_action().takes_values() {
            continue;
        }
        for word in arg.get_possible_values() {
            // the range is for the user to add
            let range = if word.get_name().ends_with('=') {
                "0"
            } else {
                ""
            };
            let line = [
                "check_conntrack".to_owned(),
                format!("--{}", arg.get_long().unwrap()),
                format!("{}{range}", word.get_name()),
            ];
            let parsed = cli::parse(line.map(Into::into), cli::Elevation::None);
            assert!(parsed.is_ok(), "{arg}: {parsed:?}");
        }
    }
}
