//! The facts in the shipped configuration of Icinga 2 that other definitions repeat.

use serde_json::{Map, Value};

/// An option of the CheckCommand.
pub(crate) struct Argument {
    /// The custom variable, such as `conntrack_top`.
    pub(crate) variable: String,
    pub(crate) description: String,
    /// Several values make several options.
    pub(crate) repeated: bool,
}

/// The value of the first line `KEY = VALUE` of a block.
fn value<'a>(block: &'a str, key: &str) -> Option<&'a str> {
    block
        .lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(" = "))
}

/// The first custom variable `$conntrack_...$` in a block.
fn variable(block: &str) -> Option<&str> {
    let (_, rest) = block.split_once("$conntrack_")?;
    let (name, _) = rest.split_once('$')?;
    Some(name)
}

/// The arguments of the CheckCommand that have a description, in their order.
pub(crate) fn arguments(command: &str) -> Vec<Argument> {
    let blocks = command.split("\n    \"--").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("\n    }"));
    blocks
        .filter_map(|(block, _)| {
            let description = value(block, "description")?.trim_matches('"');
            Some(Argument {
                variable: format!("conntrack_{}", variable(block)?),
                description: description.to_owned(),
                repeated: value(block, "repeat_key") == Some("true"),
            })
        })
        .collect()
}

/// A service or a template of services.
pub(crate) struct Service {
    /// `vars.NAME = VALUE`; the values of the shipped file are JSON, too.
    pub(crate) vars: Map<String, Value>,
    /// The attributes that are no variables, as they are written.
    pub(crate) attributes: Map<String, Value>,
}

/// The service or template whose definition begins with these words.
pub(crate) fn service(services: &str, beginning: &str) -> Result<Service, String> {
    let (_, block) = services
        .split_once(&format!("\n{beginning} {{\n"))
        .ok_or_else(|| format!("no {beginning} in the services"))?;
    let (block, _) = block
        .split_once("\n}")
        .ok_or_else(|| format!("no end of {beginning}"))?;
    let mut service = Service {
        vars: Map::new(),
        attributes: Map::new(),
    };
    for line in block.lines() {
        let Some((key, value)) = line.trim().split_once(" = ") else {
            continue;
        };
        match key.strip_prefix("vars.") {
            Some(name) => {
                let value = serde_json::from_str(value)
                    .map_err(|error| format!("{beginning}: {key} = {value}: {error}"))?;
                service.vars.insert(name.to_owned(), value);
            }
            None if !key.contains(['/', ' ']) => {
                let value = value.trim_matches('"');
                service.attributes.insert(key.to_owned(), value.into());
            }
            None => {}
        }
    }
    Ok(service)
}

/// Seconds of a duration such as `5m`.
pub(crate) fn seconds(duration: &str) -> Option<u32> {
    let minutes: u32 = duration.strip_suffix('m')?.parse().ok()?;
    minutes.checked_mul(60)
}
