//! The text of each file that `make definitions` writes.

use clap::Command;
use serde_json::Value;

// the tests include this file, too, from another folder
#[path = "director.rs"]
mod director;
#[path = "grafana.rs"]
mod grafana;
#[path = "graphite.rs"]
mod graphite;
#[path = "graphs.rs"]
pub(crate) mod graphs;
#[path = "icinga.rs"]
mod icinga;

/// The CheckCommand for Icinga 2, which has a variable and a description for each option.
const COMMAND: &str = include_str!("../icinga2/check_conntrack.conf");
/// The services for Icinga 2.
const SERVICES: &str = include_str!("../icinga2/services.conf");

/// Each file, by its name below packaging/, and its text. `options` is the command line, with the words that each option
/// accepts.
pub(crate) fn all(options: &Command) -> Result<Vec<(&'static str, String)>, String> {
    Ok(vec![
        (
            "icingaweb2/director-basket.json",
            json(&director::basket(options, COMMAND, SERVICES)?),
        ),
        ("icingaweb2/graphite-conntrack.ini", graphite::template()),
        (
            "grafana/icinga2-graphite.json",
            json(&grafana::dashboard(grafana::Writer::Graphite)),
        ),
        (
            "grafana/icinga2-influxdb.json",
            json(&grafana::dashboard(grafana::Writer::InfluxDb)),
        ),
    ])
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}
