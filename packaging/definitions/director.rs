//! The basket for Icinga Director: fields for the variables of the CheckCommand, a template for each of the two services,
//! and a service set with both.

use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use super::icinga::{self, Argument, Service};

/// Variables whose value is a whole number.
const NUMBERS: [&str; 5] = [
    "conntrack_max",
    "conntrack_sample",
    "conntrack_timeout",
    "conntrack_top",
    "conntrack_verbose",
];

/// The templates: the name in the Director, and the beginning of the service in the shipped configuration.
const TEMPLATES: [(&str, &str); 2] = [
    ("conntrack usage", "apply Service \"conntrack\""),
    ("conntrack losses", "apply Service \"conntrack-lost\""),
];

/// The words that the option of a variable accepts; none if it accepts others.
fn words(options: &Command, variable: &str) -> Vec<String> {
    let option = variable.trim_start_matches("conntrack_").replace('_', "-");
    let arg = options
        .get_arguments()
        .find(|arg| arg.get_id() == option.as_str());
    let takes_words = |arg: &&Arg| arg.get_action().takes_values();
    let values = arg.filter(takes_words).map(Arg::get_possible_values);
    let values = values.unwrap_or_default().into_iter();
    // a word that ends with = is the beginning of a value, such as usage=
    let words = values.map(|value| value.get_name().to_owned());
    words.filter(|word| !word.ends_with('=')).collect()
}

fn datalist(variable: &str, words: &[String]) -> Value {
    let entries: Vec<Value> = words
        .iter()
        .map(|word| {
            json!({"entry_name": word, "entry_value": word, "format": "string", "allowed_roles": null})
        })
        .collect();
    json!({"list_name": variable, "owner": "check_conntrack", "entries": entries})
}

fn datafield(argument: &Argument, words: &[String]) -> Value {
    let variable = argument.variable.as_str();
    let (kind, settings) = if !words.is_empty() {
        let settings = json!({"datalist": variable, "data_type": "string", "behavior": "strict"});
        ("Datalist", settings)
    } else if argument.repeated {
        ("Array", json!({}))
    } else if NUMBERS.contains(&variable) {
        ("Number", json!({}))
    } else {
        ("String", json!({"visibility": "visible"}))
    };
    json!({
        "varname": variable,
        "caption": variable.replace('_', " "),
        "description": argument.description,
        "datatype": format!("Icinga\\Module\\Director\\DataType\\DataType{kind}"),
        "format": null,
        "settings": settings,
        "category": null
    })
}

/// A service template of the Director, with everything that the shipped service and its template set.
fn template(name: &str, common: &Service, service: &Service) -> Result<Value, String> {
    let mut vars = common.vars.clone();
    vars.extend(service.vars.clone());
    let attribute = |key: &str| {
        let own = service.attributes.get(key).or(common.attributes.get(key));
        own.and_then(Value::as_str)
            .ok_or_else(|| format!("{name} has no {key}"))
    };
    let seconds =
        |key: &str| icinga::seconds(attribute(key)?).ok_or_else(|| format!("{name}: {key}"));
    let attempts: u32 = attribute("max_check_attempts")?
        .parse()
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(json!({
        "object_name": name,
        "object_type": "template",
        "check_command": attribute("check_command")?,
        "check_interval": seconds("check_interval")?,
        "retry_interval": seconds("retry_interval")?,
        "max_check_attempts": attempts,
        "notes": attribute("notes")?,
        "notes_url": attribute("notes_url")?,
        // on the agent of the host, if it has one: the plugin has to run on the host that it judges
        "use_agent": true,
        "vars": vars,
        "fields": [],
        "imports": []
    }))
}

/// The whole basket.
pub(crate) fn basket(options: &Command, command: &str, services: &str) -> Result<Value, String> {
    let (mut lists, mut fields, mut links) = (Map::new(), Map::new(), Vec::new());
    for (number, argument) in (1..).zip(icinga::arguments(command)) {
        let words = words(options, &argument.variable);
        if !words.is_empty() {
            lists.insert(
                argument.variable.clone(),
                datalist(&argument.variable, &words),
            );
        }
        fields.insert(number.to_string(), datafield(&argument, &words));
        links.push(json!({"datafield_id": number, "is_required": "n", "var_filter": null}));
    }

    let common = icinga::service(services, "template Service \"conntrack-service\"")?;
    let (mut templates, mut set) = (Map::new(), Vec::new());
    for (name, beginning) in TEMPLATES {
        let service = icinga::service(services, beginning)?;
        templates.insert(name.to_owned(), template(name, &common, &service)?);
        let short = beginning.rsplit('"').nth(1).unwrap_or(name);
        set.push(json!({"object_name": short, "object_type": "object", "imports": [name], "fields": [], "vars": {}}));
    }

    Ok(json!({
        "DataList": lists,
        "Datafield": fields,
        // The CheckCommand itself comes with the package. The Director imports it as external, and does not deploy it.
        "ExternalCommand": {"conntrack": {
            "object_name": "conntrack",
            "object_type": "external_object",
            "methods_execute": "PluginCheck",
            "timeout": 60,
            "fields": links
        }},
        "ServiceTemplate": templates,
        "ServiceSet": {"conntrack": {
            "object_name": "conntrack",
            "object_type": "template",
            "description": "Connection tracking table: how full it is, and packets lost since the previous check",
            "assign_filter": null,
            "vars": {},
            "services": set
        }}
    }))
}
