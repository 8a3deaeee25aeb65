//! A whole check, or two in a row: an archive of the proc root, with parts of its own for the arguments, a capture, the
//! state and a recording.
//!
//! What stands behind `== then` is what has changed when the second check runs. Where there is a part `late`, the time
//! is up before anything has been read. No argument names a place outside the temporary directory, and the proc root is
//! never the live one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use check_conntrack::cli::{Elevation, Netns, Options, Request};
use check_conntrack::judge::threshold::Severity;
use check_conntrack::model::conntrack::Class;
use check_conntrack::report::Report;
use check_conntrack::run;

use super::arguments::parse;
use super::contract::Answer;
use super::files::{ProcRoot, parts, with_root};
use super::kernel_files::{content, printed_number};
use super::recording::resealed;
use super::state::sealed;

/// Parts that are no file of the proc root.
pub(crate) const OTHERS: [&str; 6] = ["args", "capture", "state", "recording", "then", "late"];

/// For every host and every command line the answer keeps the output contract and is about what is there.
pub fn pipeline(data: &[u8]) {
    let parts = parts(data, &OTHERS);
    let arguments = content(&parts, "args").unwrap_or_default();
    let arguments: Vec<&[u8]> = arguments
        .split(|byte| *byte == b'\n')
        .filter(|argument| !argument.is_empty())
        .collect();
    let Ok(Request::Check(options)) = parse(&arguments, Elevation::None) else {
        return; // the target named arguments looks at those
    };
    let then = parts.iter().position(|part| part.name == "then");
    let (first, second) = parts.split_at(then.unwrap_or(parts.len()));
    with_root(|root| {
        let late = parts.iter().any(|part| part.name == "late");
        let options = confined(options, root, late);
        empty(&options.state_dir);
        if let Some(directory) = &options.recording {
            keep_recording(directory, content(&parts, "recording"));
        }
        if let Some(capture) = &options.table {
            let lines = content(&parts, "capture").unwrap_or_default();
            fs::write(capture, lines).expect("a capture");
        }
        root.hold(first, false);
        check(&options, root, late);
        if let Some(facts) = content(&parts, "state") {
            replace_state(&options.state_dir, facts);
        }
        if !second.is_empty() {
            root.hold(second, true);
            check(&options, root, late);
        }
    });
}

/// These options with places below the temporary directory, and with all the time there is, or none.
fn confined(options: Options, root: &ProcRoot, late: bool) -> Options {
    Options {
        proc_root: root.path(),
        state_dir: root.beside("state"),
        table: options.table.map(|_| root.beside("capture")),
        recording: options.recording.map(|_| root.beside("recording")),
        timeout: if late { 1 } else { 3600 },
        ..options
    }
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(directory).expect("the state directory");
    files.map(|file| file.expect("a file").path()).collect()
}

fn empty(directory: &Path) {
    for file in files(directory) {
        fs::remove_file(file).expect("a file");
    }
}

/// Puts a recording in its place, as a recorder would have sealed it.
fn keep_recording(directory: &Path, facts: Option<&[u8]>) {
    if !directory.is_dir() {
        fs::create_dir(directory).expect("a directory of the recording");
        fs::set_permissions(directory, fs::Permissions::from_mode(0o750)).expect("its mode");
    }
    empty(directory);
    let Some(facts) = facts else { return };
    let text = match std::str::from_utf8(facts) {
        Ok(facts) => resealed(facts).into_bytes(),
        Err(_) => facts.to_vec(),
    };
    let file = directory.join("recording");
    fs::write(&file, text).expect("a recording");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("its mode");
}

fn replace_state(directory: &Path, facts: &[u8]) {
    for file in files(directory) {
        let text = match std::str::from_utf8(facts) {
            Ok(facts) => sealed(facts).into_bytes(),
            Err(_) => facts.to_vec(),
        };
        fs::write(file, text).expect("a state");
    }
}

/// Runs a check again and again: every time the answer is the same, but for the details that were asked for. The last
/// time its state is kept.
fn check(options: &Options, root: &ProcRoot, late: bool) {
    let one = |verbosity: u8| {
        let options = Options {
            verbosity,
            ..options.clone()
        };
        let begin = if late {
            Instant::now() - Duration::from_secs(2)
        } else {
            Instant::now()
        };
        let judge = |report: &Report| {
            let answer = super::judge(report, verbosity);
            answer.keeps_the_contract_of_a_check(options.table.is_some());
            answer
        };
        let fallback = |report: Report| {
            judge(&report);
        };
        let (report, written) = run(&options, begin, fallback);
        (judge(&report), written)
    };
    let (answer, _) = one(options.verbosity);
    let (again, _) = one(options.verbosity);
    assert_eq!(
        without_time_of_day(&answer.text),
        without_time_of_day(&again.text),
        "the same files, the same answer"
    );
    assert_eq!(answer.code, again.code, "{again:?}");
    let (other, written) = one((options.verbosity + 1 + answer.code as u8) % 4);
    assert_eq!(other.code, answer.code, "{other:?} {answer:?}");
    assert_eq!(other.perfdata(), answer.perfdata(), "{other:?} {answer:?}");
    if let Some(written) = written {
        written.keep();
    }
    if options.table.is_some() {
        adds_up(options, &answer);
    } else if options.netns == Netns::Own {
        is_right(options, root, &answer);
    }
    // the recorder numbered the lines of its list
    if !answer.text.contains("as of ") {
        ranking_is_one(options, &answer);
    }
}

/// A text without the one word that depends on when it was made: `full at 03:12:40 UTC`.
fn without_time_of_day(text: &str) -> String {
    match text.split_once(" full at ") {
        Some((before, behind)) => {
            let behind = behind.split_once(" UTC").map_or(behind, |(_, rest)| rest);
            format!("{before}{behind}")
        }
        None => text.to_owned(),
    }
}

fn number(answer: &Answer, label: &str) -> Option<u64> {
    let value = answer.value(label)?.first()?.clone();
    Some(value.trim_end_matches('c').parse().expect("a whole number"))
}

/// The usage and what follows from it where nobody gave a range, computed by other means than those of the plugin.
fn is_right(options: &Options, root: &ProcRoot, answer: &Answer) {
    let file = |name| printed_number(root.content(name)?);
    let (Some(count), Some(max)) = (
        file("sys/net/netfilter/nf_conntrack_count"),
        file("sys/net/netfilter/nf_conntrack_max"),
    ) else {
        return;
    };
    if !(0..=i64::from(u32::MAX)).contains(&count) || !(1..=i64::from(u32::MAX)).contains(&max) {
        return;
    }
    let usage = answer.value("usage").map(|fields| fields[0].clone());
    let tenths = count * 1000 / max;
    assert_eq!(
        usage,
        Some(format!("{}.{}%", tenths / 10, tenths % 10)),
        "{answer:?}"
    );
    assert_eq!(number(answer, "entries"), u64::try_from(count).ok());
    let mut given = check_conntrack::judge::metric::Metric::all()
        .flat_map(|metric| options.thresholds.of(metric))
        .filter(|threshold| threshold.given);
    let usage = |severity| {
        let range = options
            .thresholds
            .range(check_conntrack::judge::metric::Metric::Usage, severity);
        range.map(|range| range.to_string())
    };
    if given.next().is_none() && options.empty.exit_code() == 0 {
        assert_eq!(usage(Severity::Warning).as_deref(), Some("80"));
        assert_eq!(usage(Severity::Critical).as_deref(), Some("90"));
        let chains = answer.text.contains("mean hash chain");
        match (count * 100 > 90 * max, count * 100 > 80 * max) {
            (true, _) => assert_eq!(answer.code, 2, "{answer:?}"),
            (false, true) => {
                let soon = answer.text.contains("full before the next check");
                assert!(
                    answer.code == 1 || ((chains || soon) && answer.code == 2),
                    "{answer:?}"
                );
            }
            _ => assert!(answer.code == 0 || chains, "{answer:?}"),
        }
    }
}

/// The values of a capture's entries fit together.
fn adds_up(options: &Options, answer: &Answer) {
    let Some(entries) = number(answer, "entries") else {
        return;
    };
    for part in ["endpoint", "unreplied", "evictable"] {
        let part = number(answer, part).unwrap_or_default();
        assert!(part <= entries, "{answer:?}");
    }
    let classes = Class::ALL.map(|(_, name)| name.to_ascii_lowercase());
    let classes: Vec<u64> = classes
        .iter()
        .filter_map(|class| number(answer, class))
        .collect();
    if options.sample == 0 && !classes.is_empty() {
        assert_eq!(classes.iter().sum::<u64>(), entries, "{answer:?}");
    }
}

/// The lines of the endpoints are numbered, most entries first, and not more than were asked for.
fn ranking_is_one(options: &Options, answer: &Answer) {
    let mut before = u64::MAX;
    let mut held = [0, 0];
    let lines = answer.text.lines().skip(1);
    let mut shown = 0;
    for line in lines {
        let Some((place, rest)) = line.split_once(". ") else {
            continue;
        };
        let kind = match rest.split_once(' ') {
            Some(("to", _)) => 0,
            Some(("from", _)) => 1,
            _ => continue,
        };
        shown += 1;
        assert_eq!(place.parse(), Ok(shown), "{}", answer.text);
        let (_, held_by_it) = rest.split_once(": ").expect("what it holds");
        let (number, unit) = held_by_it.split_once(' ').expect("how many");
        let unit = unit.split(',').next().unwrap_or_default();
        let units = ["entry", "entries", "socket", "sockets"];
        assert!(units.contains(&unit), "{}", answer.text);
        let entries = number.parse::<u64>().expect("a number");
        assert!(entries <= before && entries > 0, "{}", answer.text);
        before = entries;
        held[kind] += entries;
    }
    assert!(shown <= options.top.unwrap_or_default(), "{}", answer.text);
    if options.table.is_some() && options.sample == 0 {
        if let Some(all) = number(answer, "entries") {
            assert!(held.iter().all(|held| *held <= all), "{}", answer.text);
        }
    }
}
