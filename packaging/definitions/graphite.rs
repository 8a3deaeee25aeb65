//! The template for icingaweb2-module-graphite.

use std::fmt::Write as _;

use super::graphs::{Curve, GRAPHS, Graph, Kind, Unit};

/// The functions around a series. Graphite keeps a value a minute, and a check comes every five: the values in between are
/// those of the last check, for 15 minutes at most, and a rate is the mean of five minutes.
pub(crate) fn functions(kind: Kind, series: &str) -> String {
    match kind {
        Kind::Rate => format!("movingAverage(perSecond(keepLastValue({series})), '5min')"),
        Kind::Level(_) | Kind::Stacked => format!("keepLastValue({series}, 15)"),
    }
}

fn target(kind: Kind, curve: &Curve) -> String {
    let metric = functions(kind, "$metric$");
    let Curve {
        caption, colour, ..
    } = curve;
    format!("alias(color({metric}, '{colour}'), '{caption}')")
}

/// The lines for the ranges of the first curve, which Icinga writes if enable_send_thresholds is true.
fn ranges(graph: &Graph) -> Vec<(String, &'static str)> {
    let (Kind::Level(_), Some(first)) = (graph.kind, graph.curves.first()) else {
        return Vec::new();
    };
    let line = |end: &str| format!("{}.{end}", first.label);
    vec![
        (
            line("warn"),
            "alias(color(keepLastValue($metric$), '#ffaa44'), 'WARNING above')",
        ),
        (
            line("crit"),
            "alias(color(keepLastValue($metric$), '#ff0000'), 'CRITICAL above')",
        ),
    ]
}

fn section(graph: &Graph) -> String {
    let name = format!("conntrack-{}", graph.name);
    let mut filters = String::new();
    let mut functions = String::new();
    let curves = graph
        .curves
        .iter()
        .map(|curve| (format!("{}.value", curve.label), target(graph.kind, curve)));
    let ranges = ranges(graph)
        .into_iter()
        .map(|(key, function)| (key, function.to_owned()));
    for (key, function) in curves.chain(ranges) {
        // writing to a String cannot fail
        let _ = writeln!(
            filters,
            "{key} = \"$service_name_template$.perfdata.{key}\""
        );
        let _ = writeln!(functions, "{key} = \"{function}\"");
    }
    let area = match graph.kind {
        Kind::Stacked => "stacked",
        Kind::Level(_) => "first",
        Kind::Rate => "none",
    };
    let unit = match graph.kind {
        Kind::Level(Unit::Seconds) => "sec",
        Kind::Level(Unit::Percent | Unit::Count) | Kind::Stacked | Kind::Rate => "none",
    };
    // growth is below 0 while the table empties
    let floor = if graph.name == "growth" {
        ""
    } else {
        "min = \"0\"\n"
    };
    format!(
        "[{name}.graph]\ncheck_command = \"conntrack\"\n\n[{name}.metrics_filters]\n{filters}\n\
         [{name}.urlparams]\ntitle = \"{}\"\nareaAlpha = \"0.5\"\nareaMode = \"{area}\"\nlineWidth = \"2\"\n\
         hideLegend = \"false\"\n{floor}yUnitSystem = \"{unit}\"\n\n[{name}.functions]\n{functions}",
        graph.title
    )
}

/// The whole file.
pub(crate) fn template() -> String {
    let head = "; For /etc/icingaweb2/modules/graphite/templates: the graphs of the CheckCommand \"conntrack\".\n\
                ; Made by make definitions. WARNING and CRITICAL are drawn if the GraphiteWriter of Icinga 2 has\n\
                ; enable_send_thresholds = true.\n\n";
    let sections: Vec<String> = GRAPHS.iter().map(section).collect();
    head.to_owned() + &sections.join("\n\n")
}
