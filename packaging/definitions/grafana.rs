//! The dashboards for Grafana, which read what a writer of Icinga 2 has stored.

use serde_json::{Value, json};

use super::graphite;
use super::graphs::{Curve, GRAPHS, Graph, Kind, Unit};

/// The place where Icinga 2 writes perfdata.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// GraphiteWriter, with its default name template.
    Graphite,
    /// InfluxdbWriter, with its default service template; queries are in InfluxQL.
    InfluxDb,
}

impl Writer {
    /// Grafana's name for the kind of data source.
    const fn plugin(self) -> &'static str {
        match self {
            Self::Graphite => "graphite",
            Self::InfluxDb => "influxdb",
        }
    }

    /// The data source that the operator has chosen in the dashboard.
    fn source(self) -> Value {
        json!({"type": self.plugin(), "uid": "${datasource}"})
    }
}

/// The version of Grafana's dashboard schema that the fields are those of. Grafana 9 has introduced it, and newer versions
/// of Grafana convert it.
const SCHEMA: u32 = 36;

/// Icinga 2 replaces these characters in the name of a metric, so that Grafana's variables have the name as it is stored.
const SERIES: &str = "icinga2.$host.services.$service.conntrack.perfdata";

fn target(writer: Writer, kind: Kind, curve: &Curve, id: &str) -> Value {
    let Curve { label, caption, .. } = curve;
    match writer {
        Writer::Graphite => {
            let metric = format!("{SERIES}.{label}.value");
            let metric = graphite::functions(kind, &metric);
            json!({
                "refId": id, "datasource": writer.source(), "target": format!("alias({metric}, '{caption}')"),
                "textEditor": true
            })
        }
        Writer::InfluxDb => {
            let mean = match kind {
                Kind::Rate => "non_negative_derivative(last(\"value\"), 1s)",
                Kind::Level(_) | Kind::Stacked => "mean(\"value\")",
            };
            let query = format!(
                "SELECT {mean} FROM \"conntrack\" WHERE \"hostname\" =~ /^$host$/ AND \"service\" =~ /^$service$/ \
                 AND \"metric\" = '{label}' AND $timeFilter GROUP BY time($__interval) fill(none)"
            );
            json!({
                "refId": id, "datasource": writer.source(), "query": query, "rawQuery": true, "alias": caption,
                "resultFormat": "time_series"
            })
        }
    }
}

fn panel(writer: Writer, number: usize, graph: &Graph) -> Value {
    let unit = match graph.kind {
        Kind::Level(Unit::Percent) => "percent",
        Kind::Level(Unit::Seconds) => "s",
        Kind::Rate => "pps",
        Kind::Level(Unit::Count) | Kind::Stacked => "short",
    };
    let stacking = if graph.kind == Kind::Stacked {
        "normal"
    } else {
        "none"
    };
    let fill = if graph.kind == Kind::Stacked { 50 } else { 10 };
    let ids = ('A'..='Z').map(String::from);
    let curves = graph.curves.iter().zip(ids);
    let targets: Vec<Value> = curves
        .map(|(curve, id)| target(writer, graph.kind, curve, &id))
        .collect();
    let colours: Vec<Value> = graph
        .curves
        .iter()
        .map(|curve| {
            json!({
                "matcher": {"id": "byName", "options": curve.caption},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": curve.colour}}]
            })
        })
        .collect();
    json!({
        "id": number + 1,
        "title": graph.title,
        "type": "timeseries",
        "datasource": writer.source(),
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number / 2), "w": 12, "h": 8},
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "custom": {"stacking": {"group": "A", "mode": stacking}, "fillOpacity": fill, "spanNulls": true}
            },
            "overrides": colours
        },
        "options": {
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "none"}
        },
        "targets": targets
    })
}

fn variable(writer: Writer, name: &str) -> Value {
    let query = match (writer, name) {
        (Writer::Graphite, "host") => "icinga2.*".to_owned(),
        (Writer::Graphite, _) => "icinga2.$host.services.*conntrack*".to_owned(),
        (Writer::InfluxDb, "host") => {
            "SHOW TAG VALUES FROM \"conntrack\" WITH KEY = \"hostname\"".to_owned()
        }
        (Writer::InfluxDb, _) => "SHOW TAG VALUES FROM \"conntrack\" WITH KEY = \"service\" \
                                  WHERE \"hostname\" =~ /^$host$/"
            .to_owned(),
    };
    json!({
        "name": name, "label": name, "type": "query", "datasource": writer.source(), "query": query,
        "definition": query, "refresh": 2, "sort": 1, "hide": 0, "multi": false, "includeAll": false
    })
}

/// The dashboard for a writer.
pub(crate) fn dashboard(writer: Writer) -> Value {
    let kind = writer.plugin();
    let name = match writer {
        Writer::Graphite => "Graphite",
        Writer::InfluxDb => "InfluxDB",
    };
    let panels: Vec<Value> = GRAPHS
        .iter()
        .enumerate()
        .map(|(number, graph)| panel(writer, number, graph))
        .collect();
    json!({
        "id": null,
        "title": format!("Connection tracking (Icinga 2, {name})"),
        "uid": format!("check-conntrack-{kind}"),
        "tags": ["check_conntrack", "icinga2"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "5m",
        "templating": {"list": [
            {
                "name": "datasource", "label": "data source", "type": "datasource", "query": kind,
                "refresh": 1, "regex": "", "hide": 0, "multi": false, "includeAll": false
            },
            variable(writer, "host"),
            variable(writer, "service")
        ]},
        "panels": panels
    })
}
