//! The definitions of packaging/: every plugin host loads the shipped files and runs what stands in them, and each
//! option of the plugin arrives there as it was meant.
//!
//! The plugin stands behind a script that notes its arguments. What the host then stores is held against what the
//! plugin says when it is called with the same arguments and nothing in between.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::Answer;
use crate::common::hosts::{Plugin, as_nagios, host_by, successful_host};
use crate::common::programs::{file, printed, program, script};

// ---- the options, and the plugin behind a script -----------------------------------------------------------------

/// The long names of all options of a check, without those that only print a text.
fn options() -> BTreeSet<String> {
    let command = check_conntrack::cli::command();
    command
        .get_arguments()
        .filter(|option| !option.is_hide_set())
        .filter_map(|option| option.get_long())
        // no monitoring host runs a recorder
        .filter(|name| !["help", "version", "record"].contains(name))
        .map(str::to_owned)
        .collect()
}

/// A plugin folder whose check_conntrack notes its arguments and becomes the plugin.
struct Recorder {
    plugin: Plugin,
    directory: PathBuf,
}

impl Recorder {
    /// Where nothing else is said the plugin judges the kernel files of this case of tests/cases.
    fn on(case: &str) -> Self {
        let plugin = Plugin::for_everybody();
        let directory = Path::new(&plugin.path).parent().unwrap().to_owned();
        let mut make = script("scripts/recorder");
        printed(make.arg(&directory).arg(file("cases")).arg(case));
        Self { plugin, directory }
    }

    fn path(&self, name: &str) -> String {
        let path = self.directory.join(name);
        path.into_os_string().into_string().expect("ASCII")
    }

    /// What the kernel files are from this call on: packets dropped since the host was started, and seconds since.
    fn round(&self, call: u32, drop: u32, uptime: u32) {
        let files = self.directory.join("rounds").join(call.to_string());
        fs::create_dir_all(files.join("net/stat")).expect("own directory");
        let rows = crate::common::STATISTICS_HEADER.to_owned()
            + &crate::common::statistics_row(drop, 0, 0, 0);
        fs::write(files.join(crate::common::STATISTICS), rows).expect("own file");
        fs::write(files.join("uptime"), format!("{uptime}.00 {uptime}.00\n")).expect("own file");
    }

    /// The arguments of every call until now, in no order.
    fn calls(&self) -> Vec<Vec<String>> {
        let mut calls: Vec<Vec<String>> = fs::read_dir(self.directory.join("calls"))
            .expect("own directory")
            .map(|call| {
                let file = call.expect("a call").path().join("arguments");
                let text = fs::read_to_string(file).expect("its arguments");
                text.lines().map(str::to_owned).collect()
            })
            .collect();
        calls.sort();
        calls
    }

    /// What the plugin says to these arguments when nothing is in between and nothing was before.
    fn direct(&self, arguments: &[String]) -> Answer {
        for file in fs::read_dir(self.directory.join("state")).expect("own directory") {
            fs::remove_file(file.expect("a file").path()).expect("own file");
        }
        let (root, state) = (self.path("proc"), self.path("state"));
        let mut words = vec![self.plugin.path.as_str()];
        for (option, value) in [("--proc-root", &root), ("--state-dir", &state)] {
            if !arguments.iter().any(|argument| argument == option) {
                words.extend([option, value]);
            }
        }
        words.extend(arguments.iter().map(String::as_str));
        as_nagios(&words)
    }

    /// A value for each option, in the order of their names; `--verbose` has none.
    fn every_option(&self) -> Vec<(&'static str, Vec<String>)> {
        let one = |value: &str| vec![value.to_owned()];
        let every = vec![
            ("absent", one("ok")),
            ("aggregate", one("24,64")),
            ("critical", vec!["@98:99".into(), "free=1:".into()]),
            ("empty", one("warning")),
            ("max", one("5000")),
            ("netns", one("self")),
            (
                "own",
                vec!["198.51.100.0/24,2001:db8::1".into(), "203.0.113.5".into()],
            ),
            ("proc-root", one(&self.path("proc"))),
            ("recording", one(&self.path("recording"))),
            ("sample", one("100")),
            ("source", one("procfs")),
            ("state-dir", one(&self.path("state"))),
            ("table", one(&self.path("capture"))),
            ("timeout", one("7")),
            ("top", one("3")),
            ("top-when", one("problem")),
            ("verbose", vec![]),
            ("warning", vec!["~:70.5".into(), "growth=~:5000".into()]),
        ];
        let names: BTreeSet<String> = every.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, options(), "an option without a value here");
        every
    }

    /// The same as arguments, without some.
    fn arguments(&self, without: &[&str]) -> Vec<String> {
        let mut arguments = Vec::new();
        for (name, values) in self.every_option() {
            if without.contains(&name) {
                continue;
            }
            if values.is_empty() {
                arguments.push(format!("--{name}"));
            }
            for value in values {
                arguments.extend([format!("--{name}"), value]);
            }
        }
        arguments
    }
}

/// The record that a host stored of one check.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    state: i64,
    /// Line 1 without the performance data, and the lines behind it.
    text: String,
    perfdata: String,
}

impl Stored {
    fn of(answer: &Answer) -> Self {
        let (first, details) = answer.text.split_once('\n').expect("a line");
        let (text, perfdata) = first.split_once('|').unwrap_or((first, ""));
        Self {
            state: answer.code.into(),
            text: format!("{text}\n{details}").trim_end().to_owned(),
            perfdata: perfdata.to_owned(),
        }
    }
}

/// Holds what a host stored, and which calls it made, against the arguments it should have made of each service.
fn assert_checked(
    recorder: &Recorder,
    stored: &BTreeMap<String, Stored>,
    expected: &BTreeMap<String, Vec<String>>,
) {
    // Icinga 2 sorts more than 16 arguments by a sort that is not stable
    let in_any_order = |calls: Vec<Vec<String>>| {
        let mut calls: Vec<_> = calls.iter().map(|call| options_of(call)).collect();
        calls.sort();
        calls
    };
    assert_eq!(
        in_any_order(recorder.calls()),
        in_any_order(expected.values().cloned().collect())
    );
    assert_eq!(
        stored.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (service, arguments) in expected {
        let direct = recorder.direct(arguments);
        assert!(!direct.text.contains(" refused: "), "{}", direct.text);
        assert_eq!(stored[service], Stored::of(&direct), "{service}");
    }
}

/// The options of a call with their values, sorted.
fn options_of(arguments: &[String]) -> Vec<Vec<String>> {
    let mut options: Vec<Vec<String>> = Vec::new();
    for argument in arguments {
        match options.last_mut() {
            Some(option) if !argument.starts_with('-') => option.push(argument.clone()),
            _ => options.push(vec![argument.clone()]),
        }
    }
    options.sort();
    options
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The arguments of the services for losses alone.
fn losses_alone() -> Vec<String> {
    words("-w lost=0 -c lost=100 -w usage=0: -w chain=0:")
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    fs::read_to_string(path.join(name)).expect("a shipped file")
}

/// A file with these texts one after another.
fn file_of(texts: &[&str]) -> tempfile::NamedTempFile {
    let file = crate::common::new_file();
    fs::write(file.path(), texts.concat()).expect("a temporary file");
    file
}

// ---- Icinga 2 ------------------------------------------------------------------------------------------------------

mod icinga {
    use serde_json::Value;

    use super::*;
    use crate::common::hosts::netstrings;

    /// What /etc/icinga2 has where the shipped files are put, but that nothing runs by itself.
    const AROUND: &str = r#"
        template Service "generic-service" {
          enable_active_checks = false
          max_check_attempts = 5
        }
        template Service "on-h" {
          import "generic-service"
          host_name = "h"
          check_command = "conntrack"
        }
    "#;

    /// The same where no host "h" is.
    const AROUND_AGENT: &str = r#"
        template Service "generic-service" { enable_active_checks = false }
    "#;

    /// Lets Icinga 2 check every service of the shipped files and of `more`; its results by host and service.
    fn results(recorder: &Recorder, more: &str, rounds: &str) -> BTreeMap<String, Value> {
        let command = shipped("icinga2/check_conntrack.conf");
        let services = shipped("icinga2/services.conf");
        let file = file_of(&[AROUND, &command, &services, more]);
        let plugins = recorder.path("plugins");
        let environment = [("PLUGIN_DIR", plugins.as_str()), ("ROUNDS", rounds)];
        let state = successful_host("icinga2.sh", [file.path()], &environment);
        results_in(&state)
    }

    /// The results in a state file, by host and service.
    fn results_in(state: &str) -> BTreeMap<String, Value> {
        netstrings(state)
            .into_iter()
            .filter(|object| object["type"] == "Service")
            .map(|object| {
                let name = object["name"].as_str().expect("a name").to_owned();
                (name, object["update"]["last_check_result"].clone())
            })
            .collect()
    }

    /// The same, as far as the plugin has a say in it.
    fn check(recorder: &Recorder, more: &str) -> BTreeMap<String, Stored> {
        let results = results(recorder, more, "1").into_iter();
        let stored = results.map(|(name, result)| {
            let perfdata: Vec<_> = result["performance_data"]
                .as_array()
                .expect("performance data")
                .iter()
                .map(|token| token.as_str().expect("as printed"))
                .collect();
            let stored = Stored {
                state: result["exit_status"].as_i64().expect("an exit status"),
                text: result["output"].as_str().expect("an output").to_owned(),
                perfdata: perfdata.join(" "),
            };
            (name, stored)
        });
        stored.collect()
    }

    fn service(name: &str, vars: &str) -> String {
        format!("object Service \"{name}\" {{\n  import \"on-h\"\n{vars}}}\n")
    }

    fn named<const N: usize>(expected: [(&str, Vec<String>); N]) -> BTreeMap<String, Vec<String>> {
        let named = expected.map(|(name, arguments)| (format!("h!{name}"), arguments));
        named.into_iter().collect()
    }

    /// Icinga 2 sorts options by their names, as `every_option` does, and the range of lost follows --critical.
    fn with_lost(mut arguments: Vec<String>, range: &str) -> Vec<String> {
        let last = arguments.iter().rposition(|word| word == "--critical");
        let at = last.expect("a critical range") + 2;
        arguments.splice(at..at, words(&format!("--critical lost={range}")));
        arguments
    }

    #[test]
    fn every_option_arrives_from_its_variable() {
        let recorder = Recorder::on("table-below-proc-root");
        let vars = |without: &[&str]| -> String {
            let every = recorder.every_option().into_iter();
            let lines = every
                .filter(|(name, _)| !without.contains(name))
                .map(|(name, values)| {
                    let value = match values.as_slice() {
                        [] => "true".to_owned(),
                        // a single one as a string and not as an array, as somebody would write it
                        [one] => serde_json::to_string(one).expect("a string"),
                        more => serde_json::to_string(more).expect("strings"),
                    };
                    format!("  vars.conntrack_{} = {value}\n", name.replace('-', "_"))
                });
            lines.collect()
        };
        let stored = check(
            &recorder,
            &[
                service("live", &vars(&["table", "max"])),
                // of a capture no metric compares with a previous run
                service(
                    "capture",
                    &(vars(&["warning"]) + "  vars.conntrack_warning = 70.5\n"),
                ),
            ]
            .concat(),
        );
        let mut capture = recorder.arguments(&["warning"]);
        // a number that is not whole is written with six places by Icinga 2
        capture.extend(words("--warning 70.500000"));
        let expected = named([
            ("capture", capture),
            (
                "live",
                with_lost(recorder.arguments(&["table", "max"]), "100"),
            ),
        ]);
        assert_checked(&recorder, &stored, &expected);
        assert!(
            stored["h!live"].text.contains("\n1. to 192.0.2.7:6379/tcp"),
            "{stored:?}"
        );
    }

    #[test]
    fn nothing_set_means_the_defaults_of_the_plugin_and_losses() {
        let recorder = Recorder::on("half-full");
        let stored = check(&recorder, &service("plain", ""));
        let expected = named([("plain", words("--critical lost=100"))]);
        assert_checked(&recorder, &stored, &expected);
        assert_eq!(stored["h!plain"].state, 0);
    }

    #[test]
    fn the_range_of_losses_can_be_changed_emptied_and_given_among_the_others() {
        let recorder = Recorder::on("half-full");
        let services = [
            ("empty", "vars.conntrack_lost = \"\""),
            ("null", "vars.conntrack_lost = null"),
            ("number", "vars.conntrack_lost = 0"),
            ("range", "vars.conntrack_lost = \"~:5\""),
            ("single", "vars.conntrack_critical = \"lost=7\""),
            (
                "among",
                "vars.conntrack_critical = [ \"95\", \"lost=7\", \"chain=~:\" ]",
            ),
            (
                "beside",
                "vars.conntrack_critical = [ \"95\", \"chain=~:\" ]",
            ),
        ]
        .map(|(name, vars)| service(name, &format!("  {vars}\n")));
        let stored = check(&recorder, &services.concat());
        let expected = named([
            ("empty", vec![]),
            ("null", vec![]),
            ("number", words("--critical lost=0")),
            ("range", words("--critical lost=~:5")),
            ("single", words("--critical lost=7")),
            (
                "among",
                words("--critical 95 --critical lost=7 --critical chain=~:"),
            ),
            (
                "beside",
                words("--critical 95 --critical chain=~: --critical lost=100"),
            ),
        ]);
        assert_checked(&recorder, &stored, &expected);
    }

    /// A host may have it from the package and from a global zone.
    #[test]
    fn a_second_copy_of_the_command_is_no_second_definition() {
        let recorder = Recorder::on("half-full");
        let again = shipped("icinga2/check_conntrack.conf");
        let stored = check(&recorder, &(again + &service("none", "")));
        let expected = named([("none", words("--critical lost=100"))]);
        assert_checked(&recorder, &stored, &expected);
    }

    #[test]
    fn a_constant_leaves_the_command_to_another_definition() {
        let recorder = Recorder::on("half-full");
        let own = r#"
            const ConntrackCommand = "own"
            object CheckCommand "conntrack" {
              command = [ PluginContribDir + "/check_conntrack", "--warning", "70" ]
            }
        "#;
        let command = shipped("icinga2/check_conntrack.conf");
        let file = file_of(&[AROUND, own, &command, &service("own", "")]);
        let plugins = recorder.path("plugins");
        successful_host("icinga2.sh", [file.path()], &[("PLUGIN_DIR", &plugins)]);
        assert_eq!(recorder.calls(), [words("--warning 70")]);
    }

    #[test]
    fn details_come_by_a_flag_or_by_their_number() {
        let recorder = Recorder::on("half-full");
        // details do not make another service, so each needs an option that does, or they compare with each other
        let cases = [
            ("false", 0),
            ("true", 1),
            ("0", 0),
            ("1", 1),
            ("2", 2),
            ("3", 3),
        ];
        let mut services = String::new();
        let mut expected = BTreeMap::new();
        for (sample, (value, flags)) in (1..).zip(cases) {
            services += &service(
                value,
                &format!(
                    "  vars.conntrack_lost = \"\"\n  vars.conntrack_sample = {sample}\n  \
                     vars.conntrack_verbose = {value}\n"
                ),
            );
            let line = format!("--sample {sample}") + &" --verbose".repeat(flags);
            expected.insert(format!("h!{value}"), words(&line));
        }
        let stored = check(&recorder, &services);
        assert_checked(&recorder, &stored, &expected);
    }

    #[test]
    fn the_shipped_services_go_by_host_group_and_take_the_ranges_of_the_host() {
        let recorder = Recorder::on("half-full");
        let hosts = r#"
            template Host "silent" { check_command = "dummy"; enable_active_checks = false }
            object Host "other" { import "silent" }
            object Host "not" { import "silent"; groups = [ "conntrack" ]; vars.no_conntrack = true }
            object Host "plain" { import "silent"; groups = [ "conntrack" ] }
            object Host "router" {
              import "silent"
              groups = [ "conntrack" ]
              vars.conntrack_warning = [ "free=40000:" ]
              vars.conntrack_critical = [ "free=10000:" ]
              vars.conntrack_lost = 1000
            }
        "#;
        let stored = check(&recorder, hosts);
        let quiet = "--warning lost=0 --warning usage=0: --warning chain=0:";
        let expected = [
            (
                "plain!conntrack",
                "--top 5 --top-when problem --verbose".to_owned(),
            ),
            (
                "plain!conntrack-lost",
                format!("--critical lost=100 --verbose {quiet}"),
            ),
            (
                "router!conntrack",
                "--critical free=10000: --top 5 --top-when problem --verbose --warning free=40000:"
                    .to_owned(),
            ),
            (
                "router!conntrack-lost",
                format!("--critical lost=1000 --verbose {quiet}"),
            ),
        ]
        .map(|(name, line)| (name.to_owned(), words(&line)));
        assert_checked(&recorder, &stored, &expected.into_iter().collect());
    }

    /// A hard state is what is notified.
    #[test]
    fn losses_are_a_hard_state_at_once_and_a_full_table_is_not() {
        let recorder = Recorder::on("half-full");
        // two services, so two calls in each of the two rounds
        for (call, drop, count) in [
            (1, 5, 100),
            (2, 5, 100),
            (3, 1239, 260_000),
            (4, 1239, 260_000),
        ] {
            recorder.round(call, drop, 1000 + 300 * call.div_ceil(2));
            let file = recorder
                .directory
                .join(format!("rounds/{call}"))
                .join(crate::common::COUNT);
            fs::create_dir_all(file.parent().unwrap()).expect("own directory");
            fs::write(file, format!("{count}\n")).expect("own file");
        }
        let host = r#"
            object Host "r" {
              check_command = "dummy"
              enable_active_checks = false
              groups = [ "conntrack" ]
            }
        "#;
        let results = results(&recorder, host, "2");
        for (service, hard) in [("conntrack", 0.0), ("conntrack-lost", 1.0)] {
            let result = &results[&format!("r!{service}")];
            assert_eq!(
                result["vars_before"]["state"].as_f64(),
                Some(0.0),
                "{result}"
            );
            assert_eq!(result["state"].as_f64(), Some(2.0), "{result}");
            let kind = result["vars_after"]["state_type"].as_f64();
            assert_eq!(kind, Some(hard), "{service}: {result}");
        }
    }

    mod admin {
        use super::*;

        /// Icinga's own way to a host: the master has the shipped definitions, the agent fetches the command, and the check
        /// of its host runs where the master has no plugin and the table is another one.
        #[test]
        fn an_agent_fetches_the_command_and_answers_for_its_own_table() {
            let plugin = Plugin::for_everybody();
            let plugins = Path::new(&plugin.path).parent().unwrap();
            let state = plugins.join("state");
            let command = file_of(&[&shipped("icinga2/check_conntrack.conf")]);
            let host = format!(
                r#"
            object Host "agent" {{
              check_command = "dummy"
              enable_active_checks = false
              address = "192.0.2.2"
              groups = [ "conntrack" ]
              vars.conntrack_endpoint = name
              vars.conntrack_warning = [ "entries=2" ]
              vars.conntrack_state_dir = "{}"
            }}
            "#,
                state.display()
            );
            let services = shipped("icinga2/services.conf");
            let master = file_of(&[AROUND_AGENT, &services, &host]);
            let in_agent = file("scripts/agent-with-three-entries");
            let mut agent = host_by(&[], "hosts/icinga2-agent.sh");
            agent.args([plugins, command.path(), master.path(), &in_agent, &state]);
            let results = results_in(&printed(&mut agent));
            assert_eq!(results.len(), 2, "{results:?}");
            let (level, lost) = (
                &results["agent!conntrack"],
                &results["agent!conntrack-lost"],
            );
            let path = plugin.path.as_str();
            let dir = state.to_str().unwrap();
            let line = format!(
                "{path} --state-dir {dir} --top 5 --top-when problem --verbose --warning entries=2"
            );
            assert_eq!(level["command"], serde_json::json!(words(&line)));
            for result in [level, lost] {
                assert_eq!(result["check_source"], "agent", "{result}");
                let output = result["output"].as_str().expect("an output");
                assert!(output.contains("% full"), "{output}");
                assert!(output.contains("3 of "), "{output}");
            }
            assert_eq!(level["state"].as_f64(), Some(1.0), "{level}");
            assert_eq!(lost["state"].as_f64(), Some(0.0), "{lost}");
            let entries = level["performance_data"][1].as_str().expect("a token");
            assert!(entries.starts_with("entries=3;2;;0;"), "{level}");
        }
    }
}

#[test]
fn every_option_has_a_variable_with_a_description_in_the_icinga_command() {
    let command = shipped("icinga2/check_conntrack.conf");
    for option in options() {
        let (_, behind) = command
            .split_once(&format!("\n    \"--{option}\" = {{\n"))
            .unwrap_or_else(|| panic!("--{option} is not in it"));
        let (block, _) = behind.split_once("\n    }").expect("an end");
        let variable = format!("$conntrack_{}$", option.replace('-', "_"));
        assert!(block.contains(&variable), "--{option}: {block}");
        assert!(block.contains("description = \""), "--{option}: {block}");
    }
}

// ---- Nagios --------------------------------------------------------------------------------------------------------

mod nagios {
    use super::*;

    /// What the configuration of Nagios and Naemon has where the shipped files are put.
    pub(super) const AROUND: &str = "
define service {
    name                    generic-service
    check_period            24x7
    max_check_attempts      3
    check_interval          10
    retry_interval          2
    contacts                c
    notification_options    w,u,c,r
    notification_interval   60
    notification_period     24x7
    register                0
}
define host {
    name                    generic-host
    address                 127.0.0.1
    max_check_attempts      1
    active_checks_enabled   0
    check_period            24x7
    notification_period     24x7
    contacts                c
    register                0
}
";

    /// A host in these host groups.
    pub(super) fn host(name: &str, hostgroups: &str) -> String {
        format!(
            "define host {{\n use generic-host\n host_name {name}\n hostgroups {hostgroups}\n}}\n"
        )
    }

    fn service(name: &str, command: &str) -> String {
        format!(
            "define service {{\n use generic-service\n host_name h\n service_description {name}\n \
             check_command {command}\n}}\n"
        )
    }

    /// The record that Nagios stored, by host and service, from blocks of its status.dat.
    pub(super) fn stored(status: &str) -> BTreeMap<String, Stored> {
        let blocks = status.split("servicestatus {\n").skip(1);
        let services = blocks.map(|block| {
            let fields: BTreeMap<_, _> = block
                .lines()
                .filter_map(|line| line.trim_start().split_once('='))
                .collect();
            let text = format!(
                "{}\n{}",
                fields["plugin_output"],
                fields["long_plugin_output"].replace("\\n", "\n")
            );
            let name = format!("{}!{}", fields["host_name"], fields["service_description"]);
            let stored = Stored {
                state: fields["current_state"].parse().expect("a state"),
                text: text.trim_end().to_owned(),
                perfdata: fields["performance_data"].to_owned(),
            };
            (name, stored)
        });
        services.collect()
    }

    fn check(recorder: &Recorder, definitions: &[&str]) -> BTreeMap<String, Stored> {
        let commands = shipped("nagios/check_conntrack.cfg");
        let file = file_of(&[AROUND, &commands, &definitions.concat()]);
        let plugins = recorder.path("plugins");
        let status = successful_host("nagios4.sh", [file.path()], &[("PLUGIN_DIR", &plugins)]);
        stored(&status)
    }

    #[test]
    fn every_option_arrives_from_check_command() {
        let recorder = Recorder::on("table-below-proc-root");
        let live = recorder.arguments(&["table", "max"]);
        let capture = recorder.arguments(&["warning"]);
        let line = |arguments: &[String]| {
            // as the comment in the shipped file says: a range that begins with ~ is quoted
            let quoted = arguments
                .iter()
                .map(|argument| match argument.contains('~') {
                    true => format!("'{argument}'"),
                    false => argument.clone(),
                });
            let line = quoted.collect::<Vec<_>>().join(" ");
            format!("check_conntrack_options!{line}")
        };
        let definitions = [
            service("live", &line(&live)),
            service("capture", &line(&capture)),
        ];
        let stored = check(&recorder, &definitions.each_ref().map(String::as_str));
        let expected = [("h!live", live), ("h!capture", capture)];
        let expected = expected.map(|(name, arguments)| (name.to_owned(), arguments));
        assert_checked(&recorder, &stored, &expected.into_iter().collect());
    }

    #[test]
    fn nothing_set_means_the_defaults_of_the_plugin_and_losses() {
        let recorder = Recorder::on("half-full");
        let definitions = [
            service("plain", "check_conntrack"),
            service("options", "check_conntrack_options"),
        ];
        let stored = check(&recorder, &definitions.each_ref().map(String::as_str));
        let expected = [
            ("h!plain".to_owned(), words("-c lost=100")),
            ("h!options".to_owned(), vec![]),
        ];
        assert_checked(&recorder, &stored, &expected.into());
        assert_eq!(stored["h!plain"].state, 0);
    }

    /// Three rounds of the shipped service for losses, with 1234 packets lost before the second; what was notified.
    fn spike(services: &str) -> String {
        let recorder = Recorder::on("half-full");
        for (round, drop) in [(1, 5), (2, 1239), (3, 1239)] {
            recorder.round(round, drop, 1000 + 300 * round);
        }
        let commands = shipped("nagios/check_conntrack.cfg");
        let file = file_of(&[
            AROUND,
            &commands,
            services,
            &host("here", "conntrack-local"),
        ]);
        let notified = file_of(&[]);
        let plugins = recorder.path("plugins");
        let environment = [
            ("PLUGIN_DIR", plugins.as_str()),
            ("ROUNDS", "3"),
            ("NOTIFIED", notified.path().to_str().unwrap()),
        ];
        let status = successful_host("nagios4.sh", [file.path()], &environment);
        // it did happen: three runs, and all is well at the end
        assert_eq!(recorder.calls(), vec![losses_alone(); 3]);
        let stored = stored(&status);
        assert_eq!(stored["here!conntrack-lost"].state, 0, "{stored:?}");
        fs::read_to_string(notified.path()).expect("own file")
    }

    /// Only the service for losses of this host.
    fn service_for_losses() -> String {
        let services = shipped("nagios/services.cfg");
        let template = services.find("# Packets lost since").expect("the template");
        let (template, _) = services[template..].split_once("\n}\n").expect("its end");
        let service = services.rfind("define service").expect("the last service");
        let group = services.rfind("define hostgroup").expect("the last group");
        let (group, _) = services[group..].split_once("\n}\n").expect("its end");
        format!("{group}\n}}\n{template}\n}}\n{}", &services[service..])
    }

    #[test]
    fn a_spike_of_one_interval_is_notified_and_so_is_its_end() {
        let notified = spike(&service_for_losses());
        let mut lines = notified.lines();
        let problem = lines.next().expect("a problem");
        assert!(
            problem.starts_with(
                "PROBLEM conntrack-lost CRITICAL CONNTRACK is CRITICAL: 50.0% full, lost 1234 packets in the last 5m ("
            ) && problem.ends_with(" - 131072 of 262144 entries, lost above 100"),
            "{notified}"
        );
        let recovery = lines.next().expect("a recovery");
        assert!(
            recovery.starts_with("RECOVERY conntrack-lost OK CONNTRACK is OK: "),
            "{notified}"
        );
        assert_eq!(lines.next(), None, "{notified}");
    }

    #[test]
    fn with_more_attempts_nobody_would_hear_of_the_spike() {
        let one = service_for_losses();
        let three = one.replace("max_check_attempts      1", "max_check_attempts      3");
        assert_ne!(one, three);
        assert_eq!(spike(&three), "");
    }
}

// ---- NRPE ----------------------------------------------------------------------------------------------------------

mod nrpe {
    use super::*;
    use crate::common::hosts::{host, on_a_free_port};

    /// The shipped commands, which name the plugin by its whole path; here it is another.
    fn commands(recorder: &Recorder) -> tempfile::NamedTempFile {
        let shipped = shipped("nrpe/check_conntrack.cfg");
        let here = recorder.path("plugins/check_conntrack");
        let moved = shipped.replace("/usr/lib/nagios/plugins/check_conntrack", &here);
        assert_ne!(moved, shipped);
        file_of(&[&moved])
    }

    /// Asks the daemon with the shipped commands; exit status and text.
    fn ask(recorder: &Recorder, question: &[&str]) -> (i32, String) {
        let file = commands(recorder);
        let output = on_a_free_port(|port| {
            let file = file.path().to_str().expect("ASCII");
            let mut words = vec![
                port,
                file,
                "check_nrpe",
                "-n",
                "-H",
                "127.0.0.1",
                "-p",
                port,
            ];
            words.extend(["-t", "30:UNKNOWN"]);
            words.extend(question);
            host("nrpe.sh", words, &[])
        });
        let code = output.status.code().expect("an exit status");
        assert!((0..=3).contains(&code), "{output:?}");
        (code, String::from_utf8(output.stdout).expect("ASCII"))
    }

    #[test]
    fn every_shipped_command_runs_without_arguments() {
        let problem = "--top --top-when problem";
        let expected = [
            ("check_conntrack", vec![]),
            ("check_conntrack_top", words(problem)),
            ("check_conntrack_lost", losses_alone()),
            (
                "check_conntrack_all",
                words(&format!("-c lost=100 {problem}")),
            ),
        ];
        let shipped = shipped("nrpe/check_conntrack.cfg");
        let names: Vec<_> = shipped
            .lines()
            .filter_map(|line| line.strip_prefix("command[")?.split_once(']'))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, expected.each_ref().map(|(name, _)| *name));
        for (name, arguments) in expected {
            let recorder = Recorder::on("nearly-full");
            let (code, text) = ask(&recorder, &["-c", name]);
            assert_eq!(recorder.calls(), [arguments.as_slice()]);
            let direct = recorder.direct(&arguments);
            assert!(!direct.text.contains(" refused: "), "{}", direct.text);
            assert_eq!((code, text), (direct.code, direct.text), "{name}");
        }
    }

    #[test]
    fn no_argument_comes_from_the_network() {
        let recorder = Recorder::on("half-full");
        let (code, text) = ask(&recorder, &["-c", "check_conntrack", "-a", "--top"]);
        assert_ne!(code, 0, "{text}");
        assert_eq!(recorder.calls(), Vec::<Vec<String>>::new(), "{text}");
        // and no shipped line would take one
        let shipped = shipped("nrpe/check_conntrack.cfg");
        let commands = shipped.lines().filter(|line| !line.starts_with('#'));
        assert!(!commands.into_iter().any(|line| line.contains('$')));
    }

    /// Nagios with the shipped commands and services, on its own loopback, where the port and the encryption are those
    /// that both sides have when nobody says anything.
    fn shipped_services_reach_shipped_commands() {
        let recorder = Recorder::on("half-full");
        let far = nagios::host("far", "conntrack");
        let here = nagios::host("here", "conntrack-local");
        let (definitions, services) = (
            shipped("nagios/check_conntrack.cfg"),
            shipped("nagios/services.cfg"),
        );
        let objects = file_of(&[nagios::AROUND, &definitions, &services, &far, &here]);
        let commands = commands(&recorder);
        let check_nrpe = crate::common::needs("check_nrpe");
        std::os::unix::fs::symlink(check_nrpe, recorder.path("plugins/check_nrpe"))
            .expect("own directory");
        let mut nrpe = host_by(&[], "hosts/nrpe.sh");
        nrpe.arg("5666")
            .arg(commands.path())
            .arg(file("hosts/nagios4.sh"));
        nrpe.arg(objects.path())
            .env("PLUGIN_DIR", recorder.path("plugins"))
            .env("NRPE_TLS", "1");
        let mut stored = nagios::stored(&printed(&mut nrpe));
        // both hosts are this one, and the second run of the same line may find what the first has left
        for service in stored.values_mut() {
            service.text = service.text.replace(
                "first run: the previous run is only a moment ago",
                "first run: no previous run is known",
            );
        }
        let top = words("--top --top-when problem");
        let expected = [
            ("far!conntrack", top.clone()),
            ("far!conntrack-lost", losses_alone()),
            ("here!conntrack", top),
            ("here!conntrack-lost", losses_alone()),
        ];
        let expected = expected.map(|(name, arguments)| (name.to_owned(), arguments));
        assert_checked(&recorder, &stored, &expected.into_iter().collect());
    }

    mod admin {
        mod nagios {
            use crate::common::namespaces::{Namespaces, inside};
            use crate::common::network::loopback_up;

            #[test]
            fn the_shipped_services_of_nagios_reach_the_shipped_commands() {
                inside!(Namespaces::RootNetwork);
                loopback_up();
                super::super::shipped_services_reach_shipped_commands();
            }
        }
    }
}

// ---- by format ------------------------------------------------------------------------------------------------------

/// For the agents that are no daemon of a monitoring host: their formats, by the rules of their documentation.
mod nagios_user {
    use std::process::Command;

    use super::*;

    /// Runs a shipped command line by a shell, as its agent does, with the plugin elsewhere and a fixed table.
    fn run_line(recorder: &Recorder, line: &str) -> (i32, String) {
        run_by(recorder, program("sh").arg("-c"), line)
    }

    fn run_by(recorder: &Recorder, shell: &mut Command, line: &str) -> (i32, String) {
        let here = recorder.path("plugins/check_conntrack");
        let moved = line.replace("/usr/lib/nagios/plugins/check_conntrack", &here);
        assert_ne!(moved, line);
        let output = shell.arg(&moved).output().expect("a shell starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let code = output.status.code().expect("an exit status");
        (code, String::from_utf8(output.stdout).expect("ASCII"))
    }

    /// A directory of whoever runs this, in the place of one that a shipped file names.
    fn with_own_state(line: &str, directory: &Path) -> String {
        let (before, behind) = line.split_once("--state-dir ").expect("its own directory");
        let end = behind.find([' ', ';']).unwrap_or(behind.len());
        let directory = directory.to_str().expect("ASCII");
        format!("{before}--state-dir {directory}{}", &behind[end..])
    }

    /// What the Checkmk agent takes of each line: the service, the interval if there is one, and the command line.
    fn mrpe(line: &str) -> (&str, &str, &str) {
        let (name, rest) = line.split_once(' ').expect("a service and a command");
        // (interval=300:...) in between
        let (interval, command) = match rest.strip_prefix('(') {
            Some(options) => {
                let (options, command) = options.split_once(") ").expect("options end");
                let interval = options.strip_prefix("interval=").expect("the one option");
                assert!(interval.parse::<u32>().is_ok(), "{line}");
                (interval, command)
            }
            None => ("", rest),
        };
        (name, interval, command)
    }

    #[test]
    fn the_lines_for_checkmk_are_services_whose_answers_it_understands() {
        let text = shipped("checkmk/mrpe.cfg");
        let mut lines: Vec<_> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        // the line that the agent quotes once more comes first
        lines.sort_by_key(|line| !line.contains("(interval="));
        for line in lines {
            let (name, interval, command) = mrpe(line);
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            assert!(command.starts_with("/usr/lib/nagios/plugins/check_conntrack "));
            let recorder = Recorder::on("nearly-full");
            let state = crate::common::new_folder();
            let command = with_own_state(command, state.path());
            let (code, text) = run_by(&recorder, script("scripts/mrpe").arg(interval), &command);
            assert!((0..=3).contains(&code));
            assert!(!text.contains(" refused: "), "{text}");
            let own = words(&format!("--state-dir {}", state.path().display()));
            let expected = match name {
                "Conntrack" => [words("--top --top-when problem"), own].concat(),
                "Conntrack_lost" => [own, losses_alone()].concat(),
                other => panic!("{other}"),
            };
            assert_eq!(recorder.calls(), [expected]);
            // what goes over the wire is one line, its line feeds are \1
            let sent = text.trim_end().replace('\n', "\u{1}");
            let mut received = sent.split('\u{1}');
            let (said, perfdata) = received.next().unwrap().split_once('|').expect("perfdata");
            assert!(!said.contains('\u{1}') && received.all(|line| !line.contains('|')));
            for token in perfdata.split_whitespace() {
                // a metric's name may not hold these, and levels are what is behind the last colon
                let (metric, fields) = token.split_once('=').expect("a metric");
                assert!(!metric.contains([' ', ':', '/', '\\', '\'']), "{token}");
                let mut fields = fields.split(';');
                let value = fields.next().unwrap().trim_end_matches(['%', 'c', 's']);
                assert!(value.parse::<f64>().is_ok(), "{token}");
                for level in fields.map(|field| field.rsplit(':').next().unwrap()) {
                    assert!(level.is_empty() || level.parse::<f64>().is_ok(), "{token}");
                }
            }
        }
    }

    /// What Telegraf's parser for data_format nagios takes of one token: label, value, unit, and the rest; its regular
    /// expression written out.
    fn telegraf(token: &str) -> Option<(&str, f64, &str, Vec<&str>)> {
        let (label, rest) = token.split_once('=')?;
        let (value, fields) = rest.split_once(';').unwrap_or((rest, ""));
        let digits = value
            .find(|c: char| !(c.is_ascii_digit() || "-+.eE".contains(c)))
            .unwrap_or(value.len());
        let (number, unit) = value.split_at(digits);
        let fields: Vec<_> = fields.split(';').collect();
        let range = |c: char| c.is_ascii_digit() || "-+.eE:~@".contains(c);
        let plain = |c: char| c.is_ascii_digit() || "-+.eE".contains(c);
        let fits = fields.iter().enumerate().all(|(n, field)| match n {
            0 | 1 => field.chars().all(range),
            2 | 3 => field.chars().all(plain),
            _ => false,
        });
        let known = unit
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_/%".contains(c));
        (fits && known).then_some((label, number.parse().ok()?, unit, fields))
    }

    #[test]
    fn the_input_of_telegraf_runs_the_check_and_all_perfdata_becomes_metrics() {
        let text = shipped("telegraf/check_conntrack.conf");
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let (table, settings) = lines.split_first().expect("a table");
        assert_eq!(*table, "[[inputs.exec]]");
        let settings: BTreeMap<_, _> = settings
            .iter()
            .map(|line| line.split_once(" = ").expect("key = value"))
            .collect();
        assert_eq!(
            settings.keys().copied().collect::<Vec<_>>(),
            ["commands", "data_format", "interval", "timeout"]
        );
        assert_eq!(settings["data_format"], "\"nagios\"");
        // TOML's arrays and strings are JSON's as long as they are as simple as these
        let commands: Vec<String> = serde_json::from_str(settings["commands"]).expect("strings");
        let [command] = commands.as_slice() else {
            panic!("{commands:?}")
        };
        let recorder = Recorder::on("nearly-full");
        let state = crate::common::new_folder();
        let (code, text) = run_line(&recorder, &with_own_state(command, state.path()));
        assert_eq!(code, 2, "{text}");
        let perfdata = Answer { code, text }.perfdata();
        let metrics: Vec<_> = perfdata
            .iter()
            .map(|token| telegraf(token).unwrap_or_else(|| panic!("{token}")))
            .collect();
        assert_eq!(
            metrics[0],
            ("usage", 95.2, "%", vec!["80", "90", "0", "100"])
        );
        let labels: Vec<_> = metrics.iter().map(|(label, ..)| *label).collect();
        assert!(
            labels.contains(&"entries") && labels.contains(&"chain"),
            "{labels:?}"
        );
    }

    /// The command lines of shipped files for agents, which put them through shells and quotes of their own.
    #[test]
    fn no_command_line_for_an_agent_has_quotes_or_a_tilde() {
        let files = [
            "checkmk/mrpe.cfg",
            "nrpe/check_conntrack.cfg",
            "prometheus/check_conntrack-textfile.service",
            "sudoers/check_conntrack",
            "systemd/check_conntrack.service",
            "telegraf/check_conntrack.conf",
            "zabbix/check_conntrack.conf",
        ];
        for file in files {
            let text = shipped(file).replace("\\\n", " ");
            let mut lines = 0;
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let Some((_, arguments)) = line.split_once("/check_conntrack") else {
                    continue;
                };
                // the end of a string of TOML
                let arguments = arguments.trim_end_matches("\"]");
                assert!(!arguments.contains(['\'', '"', '~', '*']), "{file}: {line}");
                lines += 1;
            }
            assert!(lines > 0, "{file}");
        }
    }

    /// The value that a regular expression of the shipped file takes from a text, as Zabbix does with output `\1`.
    fn zabbix(regex: &str, text: &str) -> String {
        let source = crate::common::new_file();
        fs::write(source.path(), text).expect("own file");
        let before = if regex.starts_with('^') { "" } else { ".*" };
        let mut sed = program("sed");
        sed.args(["-nE", &format!("s/{before}{regex}.*/\\1/p")])
            .arg(source.path());
        let found = printed(&mut sed);
        found.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_parameter_of_zabbix_runs_the_check_and_its_expressions_find_every_item() {
        let text = shipped("zabbix/check_conntrack.conf");
        let parameter = text
            .lines()
            .find_map(|line| line.strip_prefix("UserParameter="));
        let (key, command) = parameter
            .and_then(|line| line.split_once(','))
            .expect("an item");
        assert_eq!(key, "conntrack.check");
        let recorder = Recorder::on("nearly-full");
        let state = crate::common::new_folder();
        let (code, said) = run_line(&recorder, &with_own_state(command, state.path()));
        // the exit status of the line is that of echo, and Zabbix ignores it
        assert_eq!(code, 0, "{said}");
        assert!(said.ends_with("\nexit=2\n"), "{said}");
        let state = state.path().display();
        let expected =
            format!("--timeout 2 -c lost=100 --top --top-when problem --state-dir {state}");
        assert_eq!(recorder.calls(), [words(&expected)]);

        let items: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("#   conntrack."))
            .map(|line| {
                let (name, rest) = line.split_once(' ').expect("a name");
                (name, rest.split_whitespace().next().expect("an expression"))
            })
            .collect();
        let values = [
            ("state", "2"),
            ("usage", "95.2"),
            ("entries", "200000"),
            ("lost", ""),
        ];
        for (item, value) in values {
            assert_eq!(zabbix(items[item], &said), value, "{item}: {said}");
        }
        assert_eq!(zabbix(items["lost"], "OK|usage=1% lost=17;;100;0"), "17");
        let line = zabbix(items["text"], &said);
        assert!(
            said.starts_with(&line) && line.starts_with("CONNTRACK is CRITICAL: "),
            "{line}"
        );
        assert_eq!(items.len(), values.len() + 1);
    }

    /// The values in the text format of Prometheus, each with the type that stands above it.
    fn prometheus(text: &str) -> BTreeMap<String, (String, f64)> {
        let mut values = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(help) = lines.next() {
            let help = help.strip_prefix("# HELP ").expect("a help line first");
            let (name, sentence) = help.split_once(' ').expect("a sentence");
            assert!(
                name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
                    && sentence.ends_with('.')
            );
            let kind = lines
                .next()
                .and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix(&format!("{name} ")));
            let value: f64 = value.expect("a value").parse().expect("a number");
            let known = values.insert(name.to_owned(), (kind.expect("a type").to_owned(), value));
            assert_eq!(known, None, "{name} twice");
        }
        values
    }

    /// Runs the script of the unit with the unit's arguments, and with `plugin` in the place of the plugin.
    fn textfile(plugin: &str, file: &Path, state: &Path) -> (i32, String) {
        let unit = shipped("prometheus/check_conntrack-textfile.service").replace("\\\n", " ");
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let line = with_own_state(line.expect("a command"), state);
        let (script, arguments) = line.split_once(' ').expect("arguments");
        assert_eq!(script, "/usr/local/sbin/check_conntrack.sh");
        let (place, arguments) = arguments.split_once(' ').expect("options");
        assert!(place.ends_with("/check_conntrack.prom"), "{place}");
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/check_conntrack.sh");
        let mut run = program(script.to_str().expect("ASCII"));
        run.arg(file)
            .args(arguments.split_whitespace())
            .env("CHECK_CONNTRACK", plugin);
        let output = run.output().expect("the script starts");
        let text = String::from_utf8(output.stdout).expect("ASCII");
        (output.status.code().expect("an exit status"), text)
    }

    #[test]
    fn the_textfile_of_prometheus_has_the_state_and_every_value() {
        let recorder = Recorder::on("nearly-full");
        let (folder, state) = (crate::common::new_folder(), crate::common::new_folder());
        let file = folder.path().join("check_conntrack.prom");
        let plugin = recorder.path("plugins/check_conntrack");
        let (code, said) = textfile(&plugin, &file, state.path());
        assert_eq!(code, 0, "{said}");
        let perfdata = Answer {
            code: 2,
            text: said,
        }
        .perfdata();
        let values = prometheus(&fs::read_to_string(&file).expect("the file"));
        assert_eq!(values.len(), perfdata.len() + 1, "{values:?}");
        let gauge = |value: f64| ("gauge".to_owned(), value);
        assert_eq!(values["check_conntrack_state"], gauge(2.0));
        assert_eq!(values["check_conntrack_usage"], gauge(95.2));
        assert_eq!(values["check_conntrack_entries"], gauge(200_000.0));
        assert_eq!(
            values["check_conntrack_drop_total"],
            ("counter".to_owned(), 0.0)
        );

        // without the plugin the collector learns so, and old values are gone
        let (code, _) = textfile("/nonexistent/check_conntrack", &file, state.path());
        assert_eq!(code, 0);
        let values = prometheus(&fs::read_to_string(&file).expect("the file"));
        assert_eq!(
            values,
            BTreeMap::from([("check_conntrack_state".to_owned(), gauge(3.0))])
        );
        assert_eq!(fs::read_dir(folder.path()).expect("own folder").count(), 1);
    }
}

// ---- Kubernetes -----------------------------------------------------------------------------------------------------

mod kubernetes {
    use super::*;
    use check_conntrack::cli::{Elevation, Request, parse};

    #[test]
    fn the_daemon_set_is_valid_and_starts_a_recorder() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("packaging/kubernetes/check_conntrack-recorder.yaml");
        let printed = printed(crate::common::programs::script("scripts/daemonset").arg(file));
        let arguments = std::iter::once("check_conntrack").chain(printed.lines());
        let Ok(Request::Check(options)) = parse(arguments.map(Into::into), Elevation::None) else {
            panic!("{printed}");
        };
        assert_eq!(options.record, Some(10));
    }
}

// ---- systemd --------------------------------------------------------------------------------------------------------

mod systemd {
    use super::*;

    /// The settings of a unit by section and name, values of repeated ones in order.
    fn settings(unit: &str) -> BTreeMap<String, Vec<String>> {
        let mut section = "";
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in unit.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
            } else if let Some((name, value)) = line.split_once('=') {
                let values = settings.entry(format!("{section}{name}")).or_default();
                values.push(value.to_owned());
            }
        }
        settings
    }

    /// Every set of system calls by its name, as systemd knows them.
    fn sets() -> BTreeMap<String, Vec<String>> {
        let listed = printed(program("systemd-analyze").args(["--no-pager", "syscall-filter"]));
        let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut set = String::new();
        for line in listed.lines() {
            match line.strip_prefix("    ") {
                Some(call) => sets.entry(set.clone()).or_default().push(call.to_owned()),
                None => set = line.trim().to_owned(),
            }
        }
        sets
    }

    fn expand(sets: &BTreeMap<String, Vec<String>>, name: &str, calls: &mut BTreeSet<String>) {
        if !name.starts_with('@') {
            calls.insert(name.to_owned());
        }
        for call in sets.get(name).into_iter().flatten() {
            expand(sets, call, calls);
        }
    }

    #[test]
    fn the_units_are_valid() {
        let plugin = Plugin::for_everybody();
        let units = crate::common::new_folder();
        let mut verify = program("systemd-analyze");
        // the man page need not be installed here
        verify.args(["--recursive-errors=no", "--man=no", "verify"]);
        let shipped_units = [
            "systemd/check_conntrack.service",
            "systemd/check_conntrack.timer",
            "systemd/check_conntrack-recorder.service",
            "prometheus/check_conntrack-textfile.service",
            "prometheus/check_conntrack-textfile.timer",
        ];
        for unit in shipped_units.map(Path::new) {
            // systemd-analyze verifies that the program exists
            let text = shipped(unit.to_str().expect("ASCII"))
                .replace("/usr/lib/nagios/plugins/check_conntrack", &plugin.path)
                .replace("/usr/local/sbin/check_conntrack.sh", &plugin.path);
            let path = units.path().join(unit.file_name().expect("a file"));
            fs::write(&path, text).expect("own file");
            verify.arg(path);
        }
        let output = verify.output().expect("systemd-analyze starts");
        let said = String::from_utf8_lossy(&output.stderr);
        // it only tells of an unknown setting, and ends well
        assert!(output.status.success() && said.is_empty(), "{said}");
    }

    /// The live kernel, under strace.
    mod netns {
        mod strace {
            use super::super::*;
            use crate::common::namespaces::{Namespaces, inside};
            use crate::common::plugin::check_after;

            #[test]
            fn the_plugin_needs_no_system_call_and_no_socket_that_the_unit_forbids() {
                inside!(Namespaces::Network);
                let settings = settings(&shipped("systemd/check_conntrack.service"));
                let sets = sets();
                let mut allowed = BTreeSet::new();
                expand(&sets, "@default", &mut allowed);
                for filter in &settings["[Service]SystemCallFilter"] {
                    let mut named = BTreeSet::new();
                    let (taken_away, names) = match filter.strip_prefix('~') {
                        Some(names) => (true, names),
                        None => (false, filter.as_str()),
                    };
                    for name in names.split_whitespace() {
                        expand(&sets, name, &mut named);
                    }
                    match taken_away {
                        true => allowed.retain(|call| !named.contains(call)),
                        false => allowed.extend(named),
                    }
                }
                assert!(
                    allowed.contains("openat") && !allowed.contains("mount"),
                    "{allowed:?}"
                );
                let families: Vec<_> = settings["[Service]RestrictAddressFamilies"][0]
                    .split_whitespace()
                    .collect();

                let state = crate::common::new_folder();
                let trace = file_of(&[]);
                let [line] = settings["[Service]ExecStart"].as_slice() else {
                    panic!("{settings:?}")
                };
                let (_, arguments) = line.split_once(' ').expect("arguments");
                // The second run compares with the first one, and reads the table.
                for when in ["problem", "always"] {
                    let strace = ["strace", "-o", trace.path().to_str().unwrap(), "--"];
                    let given = arguments.replace("problem", when);
                    let state = ["--state-dir", state.path().to_str().unwrap()];
                    let all: Vec<&str> = given.split_whitespace().chain(state).collect();
                    let output = check_after(&strace, all).output().expect("strace starts");
                    assert!(!output.stdout.is_empty());
                    let trace = fs::read_to_string(trace.path()).expect("own file");
                    let calls = trace.lines().filter_map(|line| line.split_once('('));
                    for (call, rest) in calls.filter(|(call, _)| !call.contains(' ')) {
                        assert!(allowed.contains(call), "{call}({rest}");
                        if call == "socket" {
                            let family = rest.split(',').next().unwrap();
                            assert!(families.contains(&family), "{call}({rest}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_recorder_has_the_capabilities_of_the_documentation_and_a_small_exposure() {
        let settings = settings(&shipped("systemd/check_conntrack-recorder.service"));
        let capabilities = ["CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"];
        assert_eq!(settings["[Service]CapabilityBoundingSet"], capabilities);
        assert_eq!(settings["[Service]Type"], ["notify"]);
        assert_eq!(settings["[Install]WantedBy"], ["multi-user.target"]);
        let mut security = program("systemd-analyze");
        let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("packaging/systemd/check_conntrack-recorder.service");
        security.args(["security", "--offline=true", "--no-pager", "--threshold=19"]);
        let output = security.arg(unit).output().expect("systemd-analyze starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    }

    #[test]
    fn a_warning_leaves_the_unit_as_it_is_and_the_rest_makes_it_fail() {
        let settings = settings(&shipped("systemd/check_conntrack.service"));
        assert_eq!(settings["[Service]SuccessExitStatus"], ["1"]);
        assert_eq!(settings["[Service]StateDirectory"], ["check_conntrack"]);
        // below these the plugin would see nothing, or another host's table
        for name in [
            "PrivateNetwork",
            "ProcSubset",
            "PrivateUsers",
            "DynamicUser",
        ] {
            assert_eq!(settings.get(&format!("[Service]{name}")), None, "{name}");
        }
    }
}
