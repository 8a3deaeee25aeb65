//! End to end through real monitoring hosts: what arrives there is what the plugin said, and what it had to say.
//!
//! Each host runs on loopback, in a folder of its own, as user nagios, and is gone afterwards (tests/hosts). `make
//! test` installs them, or leaves these tests out and says so.

mod definitions;
mod notrack;

use std::fs;

use crate::common::hosts::{Plugin, as_nagios, netstrings, successful_host, through_nrpe};
use crate::common::programs::{printed, program};
use crate::common::{Answer, ProcRoot};

// ---- what the plugin is run on, and what it has to say to it -----------------------------------------------------

/// The exit status of each state in the guidelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

/// Kernel files and a command line, and what has to come out.
struct Case {
    plugin: Plugin,
    _root: ProcRoot,
    options: Vec<String>,
    state: State,
    /// The beginning of the status line.
    text: &'static str,
    /// All perfdata.
    perfdata: &'static str,
}

/// A quarter of the table in use.
fn quarter_full() -> Case {
    Case::on(
        ProcRoot::tracking("50000", "200000"),
        State::Ok,
        "CONNTRACK is OK: 25.0% full (50000 of 200000 entries, 150000 free)",
        "usage=25.0%;80;90;0;100 entries=50000;160000;180000;0;200000 chain=0.5;15;30;0 \
         drop=7c chaintoolong=1c early_drop=5c insert_failed=3c",
    )
}

fn above_the_warning_threshold() -> Case {
    Case::on(
        ProcRoot::tracking("170000", "200000"),
        State::Warning,
        "CONNTRACK is WARNING: 85.0% full - 170000 of 200000 entries, usage above 80%",
        "usage=85.0%;80;90;0;100 entries=170000;160000;180000;0;200000 chain=1.7;15;30;0 \
         drop=7c chaintoolong=1c early_drop=5c insert_failed=3c",
    )
}

fn above_the_critical_threshold() -> Case {
    Case::on(
        ProcRoot::tracking("190000", "200000"),
        State::Critical,
        "CONNTRACK is CRITICAL: 95.0% full - 190000 of 200000 entries, usage above 90%",
        "usage=95.0%;80;90;0;100 entries=190000;160000;180000;0;200000 chain=1.9;15;30;0 \
         drop=7c chaintoolong=1c early_drop=5c insert_failed=3c",
    )
}

/// A kernel that does not track connections.
fn without_the_files() -> Case {
    Case::on(
        ProcRoot::empty(),
        State::Unknown,
        "CONNTRACK is UNKNOWN: ",
        "",
    )
}

/// 85 % with a range that has no start, which no host may touch on its way to the plugin.
fn above_a_range_without_start() -> Case {
    Case {
        perfdata: "usage=85.0%;80;;0;100 entries=170000;160000;;0;200000 chain=1.7;15;30;0 \
                   drop=7c chaintoolong=1c early_drop=5c insert_failed=3c",
        ..above_the_warning_threshold().with(["-w", "~:80"])
    }
}

/// 95 % with a range that alerts inside, beside one for each of two other metrics.
fn inside_a_range() -> Case {
    Case {
        state: State::Warning,
        text: "CONNTRACK is WARNING: 95.0% full - 190000 of 200000 entries, usage inside 90:100%",
        perfdata: "usage=95.0%;@90:100;;0;100 entries=190000;@180000:200000;;0;200000 chain=1.9;20;@5:9;0 \
                   drop=7c chaintoolong=1c early_drop=5c insert_failed=3c",
        ..above_the_critical_threshold().with([
            "-w",
            "@90:100",
            "-w",
            "chain=20",
            "-c",
            "chain=@5:9",
            "-c",
            "free=5%:",
        ])
    }
}

impl Case {
    fn on(root: ProcRoot, state: State, text: &'static str, perfdata: &'static str) -> Self {
        if state != State::Unknown {
            let row = crate::common::statistics_row(7, 1, 5, 3);
            let header = crate::common::STATISTICS_HEADER;
            root.file(crate::common::STATISTICS, format!("{header}{row}"));
        }
        Self {
            plugin: Plugin::for_everybody(),
            options: vec![
                "--proc-root".into(),
                root.path().to_str().unwrap().into(),
                "--state-dir".into(),
                "/nonexistent".into(),
            ],
            _root: root,
            state,
            text,
            perfdata,
        }
    }

    fn with<const N: usize>(mut self, options: [&str; N]) -> Self {
        self.options.extend(options.map(str::to_owned));
        self
    }

    /// Program and options.
    fn words(&self) -> Vec<&str> {
        let program = self.plugin.path.as_str();
        [program]
            .into_iter()
            .chain(self.options.iter().map(String::as_str))
            .collect()
    }

    /// As a shell takes it.
    fn command_line(&self) -> String {
        command_line(&self.words())
    }

    /// The output of the plugin without a host in between, compared with the expected one.
    fn direct(&self) -> Answer {
        let answer = as_nagios(&self.words());
        assert_eq!(answer.code, self.state as i32, "{}", answer.text);
        assert!(answer.text.starts_with(self.text), "{}", answer.text);
        assert_eq!(answer.perfdata().join(" "), self.perfdata);
        answer
    }
}

/// Quoted for a shell where that changes anything.
fn command_line(words: &[&str]) -> String {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,%".contains(&b);
    let quoted = words.iter().map(|word| {
        assert!(!word.contains(['\'', '\n', '$']), "{word}");
        if !word.is_empty() && word.bytes().all(harmless) {
            (*word).to_owned()
        } else {
            format!("'{word}'")
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

// ---- NRPE ----------------------------------------------------------------------------------------------------------

mod nrpe {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Packets {
        /// 64 KiB.
        Version4,
        /// 1023 bytes: what every older check_nrpe falls back to.
        Version2,
    }

    /// Runs a command line through check_nrpe and a daemon.
    fn through(packets: Packets, command_line: &str) -> (i32, String) {
        let environment: &[_] = match packets {
            Packets::Version4 => &[],
            Packets::Version2 => &[("NRPE_PKT", "-2")],
        };
        through_nrpe(command_line, environment)
    }

    /// Holds what arrives against what the plugin prints.
    fn assert_arrives(case: &Case) {
        let direct = case.direct();
        let whole = (direct.code, direct.text.clone());
        assert_eq!(through(Packets::Version4, &case.command_line()), whole);
        let (code, text) = through(Packets::Version2, &case.command_line());
        assert_eq!(code, direct.code);
        if direct.fits_nrpe_2() {
            assert_eq!(text, direct.text);
        } else {
            let sent = text.strip_suffix('\n').expect("check_nrpe adds it");
            assert_eq!(sent, &direct.text[..1023]);
        }
    }

    /// Without `-v` the small packets have to be enough.
    fn assert_arrives_in_small_packets_too(case: &Case) {
        let direct = case.direct();
        assert!(direct.fits_nrpe_2(), "{}", direct.text);
        assert_arrives(case);
    }

    #[test]
    fn an_ok_arrives_as_it_was_printed() {
        assert_arrives_in_small_packets_too(&quarter_full());
    }

    #[test]
    fn a_warning_arrives_as_it_was_printed() {
        assert_arrives_in_small_packets_too(&above_the_warning_threshold());
    }

    #[test]
    fn a_critical_arrives_as_it_was_printed() {
        assert_arrives_in_small_packets_too(&above_the_critical_threshold());
    }

    #[test]
    fn an_unknown_arrives_as_it_was_printed() {
        assert_arrives_in_small_packets_too(&without_the_files());
    }

    #[test]
    fn quoted_ranges_reach_the_plugin_through_the_shell_of_the_daemon() {
        assert_arrives_in_small_packets_too(&above_a_range_without_start());
        assert_arrives_in_small_packets_too(&inside_a_range());
    }

    #[test]
    fn all_detail_lines_arrive() {
        let case = quarter_full().with(["-vvv"]);
        assert!(case.direct().text.lines().count() > 3);
        assert_arrives(&case);
    }

    #[test]
    fn the_longest_numbers_and_ranges_fit_into_a_small_packet() {
        let root = ProcRoot::tracking("4294967294", "4294967295");
        let text =
            "CONNTRACK is CRITICAL: 99.9% full - 4294967294 of 4294967295 entries, usage inside ";
        let case = Case::on(root, State::Critical, text, "").with([
            "-w",
            "usage=@12.345678901234567:87.654321098765432",
            "-w",
            "entries=12345678901234567:123456789012345678",
            "-w",
            "free=12345678901234567:123456789012345678",
            "-w",
            "chain=123456789012345.67:1234567890123456.78",
            "-c",
            "usage=@12.345678901234567:99.999999999999999",
            "-c",
            "entries=12345678901234567:123456789012345678",
            "-c",
            "free=12345678901234567:123456789012345678",
            "-c",
            "chain=123456789012345.67:1234567890123456.78",
        ]);
        let direct = as_nagios(&case.words());
        assert_eq!(direct.code, 2, "{}", direct.text);
        assert!(direct.text.starts_with(text), "{}", direct.text);
        assert!(direct.fits_nrpe_2(), "{}", direct.text);
        let arrived = through(Packets::Version2, &case.command_line());
        assert_eq!(arrived, (direct.code, direct.text));
    }

    /// The daemon on the loopback interface of a network namespace, whose table is judged.
    mod admin {
        use super::*;
        use crate::common::conntrack::{self, udp};
        use crate::common::namespaces::{Namespaces, inside};
        use crate::common::network::loopback_up;

        #[test]
        fn the_kernel_is_judged_without_a_proc_root() {
            inside!(Namespaces::RootNetwork);
            loopback_up();
            conntrack::insert(&udp(1..=7));
            let plugin = Plugin::for_everybody();
            let words = [&plugin.path, "--state-dir", "/nonexistent"];
            let direct = as_nagios(&words);
            assert_eq!(direct.value("entries").unwrap()[0], "7", "{}", direct.text);
            let whole = (direct.code, direct.text);
            let line = command_line(&words);
            assert_eq!(through(Packets::Version4, &line), whole);
            assert_eq!(through(Packets::Version2, &line), whole);
        }
    }

    #[test]
    fn a_usage_error_arrives_as_unknown() {
        let case = Case::on(
            ProcRoot::tracking("50000", "200000"),
            State::Unknown,
            "CONNTRACK is UNKNOWN: --warning 20:10 refused: ",
            "",
        )
        .with(["-w", "20:10"]);
        assert_arrives_in_small_packets_too(&case);
    }

    #[test]
    fn a_usage_error_about_an_endless_value_arrives_as_unknown() {
        let case = Case::on(
            ProcRoot::tracking("50000", "200000"),
            State::Unknown,
            "CONNTRACK is UNKNOWN: --critical ",
            "",
        )
        .with(["-c", "9".repeat(1500).as_str()]);
        assert_arrives_in_small_packets_too(&case);
    }

    #[test]
    fn help_arrives() {
        let plugin = Plugin::for_everybody();
        let direct = as_nagios(&[&plugin.path, "--help"]);
        assert!(direct.text.contains("Usage: check_conntrack"));
        let line = command_line(&[&plugin.path, "--help"]);
        assert_eq!(through(Packets::Version4, &line), (3, direct.text.clone()));
        // cut, but there
        let (code, text) = through(Packets::Version2, &line);
        assert_eq!(code, 3);
        assert!(text.contains("Usage: check_conntrack"), "{text}");
        assert!(direct.text.starts_with(text.trim_end()), "{text}");
    }

    #[test]
    fn the_version_arrives() {
        let plugin = Plugin::for_everybody();
        let line = command_line(&[&plugin.path, "--version"]);
        let version = format!("check_conntrack {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(through(Packets::Version4, &line), (3, version.clone()));
        assert_eq!(through(Packets::Version2, &line), (3, version));
    }
}

// ---- Nagios Core ---------------------------------------------------------------------------------------------------

mod nagios {
    use super::*;

    /// Lets Nagios check a case and holds what it stored against what the plugin printed.
    fn assert_stored(case: &Case) {
        let direct = case.direct();
        let objects = crate::common::new_file();
        let definitions = format!(
            "define command {{\n command_name t\n command_line {}\n}}\n\
             define service {{\n host_name h\n service_description t\n check_command t\n max_check_attempts 1\n \
             check_period 24x7\n notification_period 24x7\n contacts c\n}}\n",
            case.command_line()
        );
        fs::write(objects.path(), definitions).expect("a temporary file");
        let status = successful_host("nagios4.sh", [objects.path()], &[]);
        let field = |name: &str| {
            let prefix = format!("\t{name}=");
            let mut values = status.lines().filter_map(|line| line.strip_prefix(&prefix));
            let value = values
                .next()
                .unwrap_or_else(|| panic!("no {name} in\n{status}"));
            assert_eq!(values.next(), None, "one service\n{status}");
            value.to_owned()
        };
        assert_eq!(
            field("current_state"),
            (case.state as i32).to_string(),
            "{status}"
        );
        let (first, details) = direct.text.split_once('\n').expect("a line");
        let (text, perfdata) = first.split_once('|').unwrap_or((first, ""));
        assert_eq!(field("plugin_output"), text);
        assert_eq!(field("performance_data"), perfdata);
        assert_eq!(perfdata, case.perfdata);
        // line feeds are written as \n there
        assert_eq!(
            field("long_plugin_output"),
            details.trim_end().replace('\n', "\\n")
        );
    }

    #[test]
    fn an_ok_is_stored_with_its_details() {
        let case = quarter_full().with(["-v"]);
        assert!(case.direct().text.lines().count() > 1);
        assert_stored(&case);
    }

    #[test]
    fn a_warning_is_stored_with_its_details() {
        assert_stored(&above_the_warning_threshold().with(["-v"]));
    }

    #[test]
    fn a_critical_is_stored_with_its_details() {
        assert_stored(&above_the_critical_threshold().with(["-v"]));
    }

    #[test]
    fn an_unknown_is_stored_with_its_details() {
        assert_stored(&without_the_files().with(["-v"]));
    }

    #[test]
    fn all_details_are_stored() {
        assert_stored(&quarter_full().with(["-vvv"]));
    }

    #[test]
    fn ranges_reach_the_plugin_and_are_stored() {
        assert_stored(&above_a_range_without_start());
        assert_stored(&inside_a_range());
    }

    #[test]
    fn a_usage_error_is_stored_as_unknown() {
        let case = Case::on(
            ProcRoot::empty(),
            State::Unknown,
            "CONNTRACK is UNKNOWN: --warning 20:10 refused: ",
            "",
        );
        assert_stored(&case.with(["-w", "20:10"]));
    }
}

// ---- Icinga 2 ------------------------------------------------------------------------------------------------------

mod icinga {
    use std::collections::BTreeMap;
    use std::sync::OnceLock;

    use serde_json::Value;

    use super::*;

    /// The record that Icinga 2 keeps of a check, beside what the plugin printed when run directly.
    struct Stored {
        result: Value,
        direct: Answer,
    }

    /// Every case goes through one start of the daemon, which takes longer than all of them.
    fn stored() -> &'static BTreeMap<&'static str, Stored> {
        static STORED: OnceLock<BTreeMap<&'static str, Stored>> = OnceLock::new();
        STORED.get_or_init(|| {
            let cases = [
                ("ok", quarter_full()),
                ("ok with details", quarter_full().with(["-vvv"])),
                ("warning", above_the_warning_threshold()),
                ("warning without start", above_a_range_without_start()),
                ("warning inside", inside_a_range()),
                ("critical", above_the_critical_threshold()),
                ("unknown", without_the_files()),
            ];
            let mut results = check(&cases);
            let stored = cases.iter().map(|(name, case)| {
                let result = results
                    .remove(*name)
                    .unwrap_or_else(|| panic!("no result of {name}"));
                let direct = case.direct();
                (*name, Stored { result, direct })
            });
            stored.collect()
        })
    }

    /// Lets Icinga 2 check all cases and returns its check results.
    fn check(cases: &[(&str, Case)]) -> BTreeMap<String, Value> {
        let mut fragment = String::new();
        for (name, case) in cases {
            // its strings are JSON's as long as they are ASCII, and without a macro
            let words = serde_json::to_string(&case.words()).expect("strings");
            assert!(words.is_ascii() && !words.contains('$'), "{words}");
            fragment += &format!(
                "object CheckCommand \"{name}\" {{ command = {words}; timeout = 60s }}\n\
                 object Service \"{name}\" {{ host_name = \"h\"; check_command = \"{name}\"; check_interval = 1d; \
                 max_check_attempts = 1; enable_active_checks = false }}\n"
            );
        }
        let file = crate::common::new_file();
        fs::write(file.path(), fragment).expect("a temporary file");
        let state = successful_host("icinga2.sh", [file.path()], &[]);
        netstrings(&state)
            .into_iter()
            .filter(|object| object["type"] == "Service")
            .map(|object| {
                let name = object["name"].as_str().expect("a name");
                let service = name.strip_prefix("h!").expect("a service of h").to_owned();
                (service, object["update"]["last_check_result"].clone())
            })
            .collect()
    }

    fn assert_stored(name: &str, state: State, perfdata: &[&str]) {
        let Stored { result, direct } = &stored()[name];
        assert_eq!(
            result["state"].as_f64(),
            Some(state as i32 as f64),
            "{result}"
        );
        assert_eq!(
            result["exit_status"].as_i64(),
            Some(state as i64),
            "{result}"
        );
        assert_eq!(result["performance_data"], serde_json::json!(perfdata));
        assert_eq!(direct.perfdata(), perfdata);
        // the whole text, without the perfdata
        let (first, details) = direct.text.split_once('\n').expect("a line");
        let text = first.split('|').next().unwrap_or_default();
        let whole = format!("{text}\n{details}");
        assert_eq!(
            result["output"].as_str(),
            Some(whole.trim_end()),
            "{result}"
        );
    }

    #[test]
    fn an_ok_is_stored_with_each_value() {
        let perfdata = [
            "usage=25.0%;80;90;0;100",
            "entries=50000;160000;180000;0;200000",
            "chain=0.5;15;30;0",
            "drop=7c",
            "chaintoolong=1c",
            "early_drop=5c",
            "insert_failed=3c",
        ];
        assert_stored("ok", State::Ok, &perfdata);
        assert_stored("ok with details", State::Ok, &perfdata);
    }

    #[test]
    fn a_warning_is_stored_with_each_value() {
        let perfdata = [
            "usage=85.0%;80;90;0;100",
            "entries=170000;160000;180000;0;200000",
            "chain=1.7;15;30;0",
            "drop=7c",
            "chaintoolong=1c",
            "early_drop=5c",
            "insert_failed=3c",
        ];
        assert_stored("warning", State::Warning, &perfdata);
    }

    #[test]
    fn a_range_without_start_reaches_the_plugin_and_is_stored_as_a_number() {
        let perfdata = [
            "usage=85.0%;80;;0;100",
            "entries=170000;160000;;0;200000",
            "chain=1.7;15;30;0",
            "drop=7c",
            "chaintoolong=1c",
            "early_drop=5c",
            "insert_failed=3c",
        ];
        assert_stored("warning without start", State::Warning, &perfdata);
    }

    #[test]
    fn a_range_that_alerts_inside_reaches_the_plugin_and_is_stored() {
        let perfdata = [
            "usage=95.0%;@90:100;;0;100",
            "entries=190000;@180000:200000;;0;200000",
            "chain=1.9;20;@5:9;0",
            "drop=7c",
            "chaintoolong=1c",
            "early_drop=5c",
            "insert_failed=3c",
        ];
        assert_stored("warning inside", State::Warning, &perfdata);
    }

    #[test]
    fn a_critical_is_stored_with_each_value() {
        let perfdata = [
            "usage=95.0%;80;90;0;100",
            "entries=190000;160000;180000;0;200000",
            "chain=1.9;15;30;0",
            "drop=7c",
            "chaintoolong=1c",
            "early_drop=5c",
            "insert_failed=3c",
        ];
        assert_stored("critical", State::Critical, &perfdata);
    }

    #[test]
    fn an_unknown_is_stored_without_values() {
        assert_stored("unknown", State::Unknown, &[]);
    }

    /// The parts that Icinga 2 reads from perfdata tokens: label, value, unit, warning, critical, min, max. Not
    /// whether it is a counter: version 2.13 forgets that itself.
    fn parsed(tokens: &[String]) -> Value {
        let tokens = serde_json::to_string(tokens).expect("strings");
        let expression = format!(
            "Json.encode({tokens}.map(token => {{ var p = System.parse_performance_data(token); \
             return [ p.label, p.value, p.unit, p.warn, p.crit, p.min, p.max ] }}))"
        );
        let stdout = printed(program("icinga2").args(["console", "--eval", &expression]));
        // a string that holds JSON
        let encoded: String =
            serde_json::from_str(stdout.trim()).unwrap_or_else(|e| panic!("{e}: {stdout}"));
        serde_json::from_str(&encoded).unwrap_or_else(|e| panic!("{e}: {encoded}"))
    }

    #[test]
    fn the_defaults_are_read_as_values_with_thresholds_and_limits() {
        let expected = serde_json::json!([
            ["usage", 25, "percent", 80, 90, 0, 100],
            ["entries", 50000, "", 160000, 180000, 0, 200000],
            ["chain", 0.5, "", 15, 30, 0, null],
            ["drop", 7, "", null, null, null, null],
            ["chaintoolong", 1, "", null, null, null, null],
            ["early_drop", 5, "", null, null, null, null],
            ["insert_failed", 3, "", null, null, null, null],
        ]);
        assert_eq!(parsed(&quarter_full().direct().perfdata()), expected);
    }

    #[test]
    fn ranges_that_are_one_number_are_read_as_thresholds() {
        let case = quarter_full().with([
            "-w",
            "~:70.5",
            "-c",
            "0:85",
            "-w",
            "entries=~:150000",
            "-c",
            "entries=85%",
            "-w",
            "chain=:3.5",
        ]);
        let expected = serde_json::json!([
            ["usage", 25, "percent", 70.5, 85, 0, 100],
            ["entries", 50000, "", 150000, 170000, 0, 200000],
            ["chain", 0.5, "", 3.5, null, 0, null],
        ]);
        let answer = as_nagios(&case.words());
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert_eq!(parsed(&answer.perfdata()[..3]), expected);
    }

    #[test]
    fn true_ranges_do_not_disturb_the_value() {
        // Icinga 2 has no ranges: it drops them, and keeps the rest
        let expected = serde_json::json!([
            ["usage", 95, "percent", null, null, 0, 100],
            ["entries", 190000, "", null, null, 0, 200000],
            ["chain", 1.9, "", 20, null, 0, null],
        ]);
        assert_eq!(parsed(&inside_a_range().direct().perfdata()[..3]), expected);
    }
}
