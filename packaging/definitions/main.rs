//! Writes the definitions that come from one table each into a folder, below the names that they have in packaging/:
//! `definitions FOLDER`. An example of the package and not a part of the program. `make definitions` calls it.

use std::path::Path;
use std::{env, error, fs};

use serde_json::Value;

mod director;
mod grafana;
mod graphite;
pub(crate) mod graphs;
mod icinga;

/// The CheckCommand for Icinga 2, which has a variable and a description for each option.
const COMMAND: &str = include_str!("../icinga2/check_conntrack.conf");
/// The services for Icinga 2.
const SERVICES: &str = include_str!("../icinga2/services.conf");

/// Each file, by its name below packaging/, and its text.
pub(crate) fn files() -> Result<Vec<(&'static str, String)>, String> {
    Ok(vec![
        (
            "icingaweb2/director-basket.json",
            json(&director::basket(COMMAND, SERVICES)?),
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

#[allow(dead_code, reason = "the tests include this file as a module")]
fn main() -> Result<(), Box<dyn error::Error>> {
    let folder = env::args().nth(1).ok_or("usage: definitions FOLDER")?;
    for (name, text) in files()? {
        let path = Path::new(&folder).join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
