//! The perfdata, and line 1 in the plugin format: the one user of nagiosplugin's text types.

use nagiosplugin::{CheckResult, PerfString, Resource, ServiceState, ToPerfString, Unit};

use super::Answer;
use super::fit::MAX_BYTES;
use crate::judge::assess::Assessment;
use crate::judge::metric::Metric;
use crate::judge::range::Range;
use crate::judge::threshold::Severity;
use crate::model::readings::{Counter, Readings};

/// Beyond this, ranges that Icinga 2 would drop anyway are left out of the perfdata.
const MAX_PERFDATA: usize = 700;

/// The one use of the crate's text format. Labels are fixed identifiers, so every quote behind the text is the crate's
/// own around a label, which Checkmk would keep in the name.
pub(super) fn status_line(state: ServiceState, text: &str, perfdata: &[PerfString]) -> String {
    let mut resource = Resource::new("CONNTRACK")
        .with_fixed_state(state)
        .with_description(text);
    for value in perfdata {
        resource.push_result(CheckResult::new().with_perf_data(value.clone()));
    }
    let (_, line) = resource.nagios_result();
    match line.split_once('|') {
        // the crate always writes every field
        Some((text, perfdata)) => {
            let fields: Vec<&str> = perfdata
                .split_whitespace()
                .map(|field| field.trim_end_matches(';'))
                .collect();
            let perfdata = fields.join(" ").replace('\'', "");
            format!("{}|{perfdata}", text.trim_end())
        }
        None => line.trim_end().to_owned(),
    }
}

/// The bytes that the text of a status line may have.
pub(super) fn room(state: ServiceState, perfdata: &[PerfString]) -> usize {
    // a text of one byte, because an empty one has no blank before it; the byte it takes is the line feed's
    MAX_BYTES.saturating_sub(status_line(state, "-", perfdata).len())
}

/// Text where the crate wants a number.
struct Field(String);

impl ToPerfString for Field {
    fn to_perf_string(&self) -> String {
        self.0.clone()
    }
}

/// A value with its thresholds.
struct Value {
    label: &'static str,
    value: String,
    unit: Unit,
    /// Warning and critical.
    ranges: [Option<Range>; 2],
    min: Option<u32>,
    max: Option<u32>,
}

/// Everything measured, in a fixed order.
pub(super) struct Perfdata(Vec<Value>);

impl Perfdata {
    /// The values of an answer.
    pub(super) fn of(answer: &Answer<'_>) -> Self {
        let source = PerfdataSource {
            assessment: answer.assessment,
            whole: answer.readings.max().map(i64::from),
        };
        let mut values: Vec<Value> = Vec::new();
        values.extend(source.value(Metric::Usage, Unit::Percentage, 1, Some(100)));
        values.extend(source.entries(answer.readings));
        values.extend(source.value(Metric::Chain, Unit::None, 1, None));
        if let Ok(statistics) = &answer.readings.statistics {
            let counters = Counter::ALL.into_iter();
            values.extend(counters.filter_map(|counter| {
                let total = statistics.total(counter)?;
                Some(Value::plain(counter.name(), total, Unit::Counter))
            }));
        }
        values.extend(source.value(Metric::Lost, Unit::None, 0, None));
        values.extend(source.value(Metric::Growth, Unit::None, 1, None));
        values.extend(source.value(Metric::FullIn, Unit::Seconds, 0, None));
        let of_table =
            || Metric::all().filter(|metric| metric.needs_table() && answer.style.table_perfdata);
        let counts = of_table().filter(|metric| !metric.is_percentage());
        values.extend(counts.filter_map(|metric| source.value(metric, Unit::None, 0, None)));
        // not about the namespace that decides, and only if all of them were seen
        let namespaces = answer
            .overview
            .filter(|overview| overview.number > 1 || overview.deciding.is_none())
            .filter(|_| answer.unseen.is_none());
        values.extend(
            namespaces
                .map(|overview| Value::plain("namespaces", overview.number as u64, Unit::None)),
        );
        values.extend(source.value(Metric::Peak, Unit::Percentage, 1, Some(100)));
        let percentages = of_table().filter(|metric| metric.is_percentage());
        let percentage = |metric| source.value(metric, Unit::Percentage, 1, None);
        values.extend(percentages.filter_map(percentage));
        Self(values)
    }

    /// With as much of the thresholds as there is room for; values are never left out.
    pub(super) fn render(&self) -> Vec<PerfString> {
        let rendered = |detail| {
            self.0
                .iter()
                .map(|value| value.render(detail))
                .collect::<Vec<_>>()
        };
        let fits = |perfdata: &Vec<PerfString>| {
            let line = status_line(ServiceState::Ok, "", perfdata);
            line.split_once('|')
                .map_or(0, |(_, perfdata)| perfdata.len())
                <= MAX_PERFDATA
        };
        [ThresholdPart::Ranges, ThresholdPart::Numbers]
            .map(rendered)
            .into_iter()
            .find(fits)
            .unwrap_or_else(|| rendered(ThresholdPart::Values))
    }
}

/// The part of the thresholds that goes into the perfdata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThresholdPart {
    /// All of them.
    Ranges,
    /// Thresholds that are plain numbers, which every host understands.
    Numbers,
    /// None.
    Values,
}

/// The source of the values.
struct PerfdataSource<'a> {
    assessment: &'a Assessment,
    /// nf_conntrack_max, of which a threshold may be a percentage.
    whole: Option<i64>,
}

impl PerfdataSource<'_> {
    fn ranges(&self, metric: Metric) -> [Option<Range>; 2] {
        let thresholds = &self.assessment.thresholds;
        [Severity::Warning, Severity::Critical].map(|severity| thresholds.range(metric, severity))
    }

    /// The value of a metric; none if it was not measured.
    fn value(&self, metric: Metric, unit: Unit, decimals: u32, max: Option<u32>) -> Option<Value> {
        let value = self.assessment.measurements.value(metric)?;
        let in_numbers = |range: Option<Range>| match metric {
            Metric::Chain => range,
            metric if metric.is_percentage() => range,
            Metric::Growth | Metric::FullIn => {
                range.and_then(|range| range.exactly_in_units_of(self.whole))
            }
            _ => range.and_then(|range| range.in_units_of(self.whole, false)),
        };
        Some(Value {
            label: metric.name(),
            value: value.truncated(decimals).to_string(),
            unit,
            ranges: self.ranges(metric).map(in_numbers),
            min: has_floor(metric).then_some(0),
            max,
        })
    }

    /// The entries, whose thresholds are those of the usage unless they have their own.
    fn entries(&self, readings: &Readings) -> Option<Value> {
        let count = *readings.count.as_ref().ok()?;
        let own = self.ranges(Metric::Entries);
        let has_own = own.iter().any(Option::is_some);
        let in_entries =
            |range: Option<Range>| range.and_then(|range| range.in_units_of(self.whole, !has_own));
        let ranges = if has_own {
            own
        } else {
            self.ranges(Metric::Usage)
        };
        Some(Value {
            label: "entries",
            value: count.to_string(),
            unit: Unit::None,
            ranges: ranges.map(in_entries),
            min: Some(0),
            max: readings.max(),
        })
    }
}

/// True if hosts are told that a metric is never below 0.
fn has_floor(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Usage | Metric::Peak | Metric::Chain | Metric::Lost | Metric::FullIn
    )
}

impl Value {
    /// A value without thresholds.
    fn plain(label: &'static str, value: u64, unit: Unit) -> Self {
        Self {
            label,
            value: value.to_string(),
            unit,
            ranges: [None; 2],
            min: None,
            max: None,
        }
    }

    fn render(&self, detail: ThresholdPart) -> PerfString {
        let field = |range: &Option<Range>| {
            let range = range.as_ref()?;
            match (detail, range.plain()) {
                (ThresholdPart::Values, _) => None,
                (_, Some(bound)) => Some(Field(bound.number().to_string())),
                (ThresholdPart::Ranges, None) => Some(Field(range.to_string())),
                (ThresholdPart::Numbers, None) => None,
            }
        };
        let [warning, critical] = &self.ranges;
        let number = |n: Option<u32>| n.map(|n| Field(n.to_string()));
        PerfString::new(
            self.label,
            &Field(self.value.clone()),
            self.unit.clone(),
            field(warning).as_ref(),
            field(critical).as_ref(),
            number(self.min).as_ref(),
            number(self.max).as_ref(),
        )
    }
}
