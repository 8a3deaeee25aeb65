//! The files for Icinga Web 2 and Grafana are made from the shipped configuration of Icinga 2 and from one table of graphs.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use check_conntrack::judge::metric::Metric;
use serde_json::Value;

use super::man_page::manual;
use crate::common::check;

#[path = "../../../packaging/definitions/files.rs"]
mod generated;

use generated::graphs::{GRAPHS, WITHOUT};

fn file(name: &str) -> String {
    let (_, text) = generated::all(&manual::command())
        .unwrap()
        .into_iter()
        .find(|(file, _)| *file == name)
        .unwrap();
    text
}

#[test]
fn the_shipped_files_are_what_make_definitions_writes() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for (name, text) in generated::all(&manual::command()).unwrap() {
        let shipped = fs::read_to_string(packaging.join(name)).unwrap_or_default();
        assert!(
            shipped == text,
            "packaging/{name} is old: run make definitions"
        );
    }
}

#[test]
fn every_label_of_the_perfdata_has_exactly_one_graph() {
    let drawn: Vec<&str> = GRAPHS
        .iter()
        .flat_map(|graph| graph.curves)
        .map(|curve| curve.label)
        .chain(WITHOUT)
        .collect();
    let once: BTreeSet<&str> = drawn.iter().copied().collect();
    assert_eq!(drawn.len(), once.len(), "{drawn:?}");
    for metric in Metric::all().filter(|metric| *metric != Metric::Free) {
        assert!(once.contains(metric.name()), "{metric} has no graph");
    }
    // the run with the most labels there is
    let arguments = [
        "--proc-root",
        "tests/cases/table-below-proc-root/proc",
        "--top",
    ];
    let output = check(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    for value in crate::common::Answer::of(output.unwrap()).perfdata() {
        let (label, _) = value.split_once('=').unwrap();
        assert!(once.contains(label), "{label} has no graph");
    }
    assert_eq!(GRAPHS[0].curves[0].label, "usage");
}

#[test]
fn every_option_of_the_icinga_command_has_a_field_in_the_basket() {
    let basket: Value = serde_json::from_str(&file("icingaweb2/director-basket.json")).unwrap();
    let fields = basket["Datafield"].as_object().unwrap();
    let linked = basket["ExternalCommand"]["conntrack"]["fields"]
        .as_array()
        .unwrap();
    assert_eq!(fields.len(), linked.len());
    let of = |option: &str| {
        let variable = format!("conntrack_{}", option.replace('-', "_"));
        let field = fields.values().find(|field| field["varname"] == *variable);
        field.unwrap_or_else(|| panic!("--{option} has no field"))
    };
    let command = check_conntrack::cli::command();
    for option in command
        .get_arguments()
        .filter(|option| !option.is_hide_set())
    {
        let name = option.get_long().unwrap();
        // no monitoring host runs a recorder
        if !["help", "version", "record"].contains(&name) {
            assert!(
                !of(name)["description"].as_str().unwrap().is_empty(),
                "--{name}"
            );
        }
    }
    for (option, kind) in [
        ("warning", "Array"),
        ("top", "Number"),
        ("top-when", "Datalist"),
        ("state-dir", "String"),
        ("lost", "String"),
    ] {
        let expected = format!("Icinga\\Module\\Director\\DataType\\DataType{kind}");
        assert_eq!(of(option)["datatype"], *expected, "--{option}");
    }
    let words = basket["DataList"]["conntrack_top_when"]["entries"]
        .as_array()
        .unwrap();
    let words: Vec<_> = words
        .iter()
        .map(|entry| entry["entry_name"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["always", "problem"]);
}

#[test]
fn the_templates_of_the_basket_have_what_the_shipped_services_have() {
    let basket: Value = serde_json::from_str(&file("icingaweb2/director-basket.json")).unwrap();
    let usage = &basket["ServiceTemplate"]["conntrack usage"];
    assert_eq!(usage["max_check_attempts"], 3);
    assert_eq!(usage["check_interval"], 300);
    assert_eq!(usage["vars"]["conntrack_verbose"], 1);
    assert_eq!(usage["vars"]["conntrack_top_when"], "problem");
    let losses = &basket["ServiceTemplate"]["conntrack losses"];
    assert_eq!(losses["max_check_attempts"], 1);
    let quiet = ["lost=0", "usage=0:", "chain=0:"];
    assert_eq!(
        losses["vars"]["conntrack_warning"],
        serde_json::json!(quiet)
    );
    let set = basket["ServiceSet"]["conntrack"]["services"]
        .as_array()
        .unwrap();
    let services: Vec<_> = set
        .iter()
        .map(|service| service["object_name"].as_str().unwrap())
        .collect();
    assert_eq!(services, ["conntrack", "conntrack-lost"]);
}

/// The panels and their queries; Grafana itself is not run.
#[test]
fn both_dashboards_have_a_query_for_every_label_with_a_graph() {
    for (name, key, before, after) in [
        (
            "grafana/icinga2-graphite.json",
            "target",
            ".perfdata.",
            ".value",
        ),
        (
            "grafana/icinga2-influxdb.json",
            "query",
            "\"metric\" = '",
            "'",
        ),
    ] {
        let dashboard: Value = serde_json::from_str(&file(name)).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        assert_eq!(panels.len(), GRAPHS.len());
        for (panel, graph) in panels.iter().zip(GRAPHS) {
            let targets = panel["targets"].as_array().unwrap();
            assert_eq!(targets.len(), graph.curves.len(), "{name}: {}", graph.name);
            for (target, curve) in targets.iter().zip(graph.curves) {
                let query = target[key].as_str().unwrap();
                assert!(
                    query.contains(&format!("{before}{}{after}", curve.label)),
                    "{query}"
                );
            }
        }
    }
}

/// The names of the template variables in a text: `$host`, `${datasource}`. Grafana's own begin with two underscores.
fn variables(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String {
        let rest = rest.trim_start_matches('{').chars();
        rest.take_while(|next| next.is_alphanumeric() || *next == '_')
            .collect()
    };
    let names = text.split('$').skip(1).map(name);
    names
        .filter(|name| !name.is_empty() && !name.starts_with("__") && name != "timeFilter")
        .collect()
}

/// The rules of Grafana's published schema (kinds/dashboard/dashboard_kind.cue, schema version 36), as far as the
/// dashboards use it. Grafana itself is not run.
#[test]
fn both_dashboards_keep_the_rules_of_the_schema_of_grafana() {
    for (name, kind) in [
        ("grafana/icinga2-graphite.json", "graphite"),
        ("grafana/icinga2-influxdb.json", "influxdb"),
    ] {
        let text = file(name);
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert!(dashboard["id"].is_null(), "a number is one Grafana's own");
        assert_eq!(dashboard["schemaVersion"], 36);
        let uid = dashboard["uid"].as_str().unwrap();
        assert!((8..=40).contains(&uid.len()), "{uid}");

        let listed = dashboard["templating"]["list"].as_array().unwrap();
        let defined: BTreeSet<String> = listed
            .iter()
            .map(|variable| variable["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(variables(&text), defined, "{name}");
        assert_eq!(listed[0]["type"], "datasource", "the others depend on it");
        assert_eq!(listed[0]["query"], kind);

        let source = serde_json::json!({"type": kind, "uid": "${datasource}"});
        for variable in &listed[1..] {
            assert_eq!(variable["type"], "query");
            assert_eq!(variable["datasource"], source, "{name}: {variable}");
        }
        let (mut numbers, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{panel}");
            assert_eq!(panel["type"], "timeseries");
            assert_eq!(panel["datasource"], source, "{name}: {panel}");
            assert!(panel["fieldConfig"]["overrides"].is_array() && panel["options"].is_object());
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            let (right, bottom) = (place("x") + place("w"), place("y") + place("h"));
            assert!(right <= 24, "the grid has 24 columns: {panel}");
            for x in place("x")..right {
                for y in place("y")..bottom {
                    assert!(cells.insert((x, y)), "two panels overlap: {panel}");
                }
            }
            let mut ids = BTreeSet::new();
            for target in panel["targets"].as_array().unwrap() {
                assert!(ids.insert(target["refId"].as_str().unwrap()), "{target}");
                assert_eq!(target["datasource"], source, "{name}: {target}");
            }
        }
    }
}
