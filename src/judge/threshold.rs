//! Thresholds: which range of which metric means WARNING and which CRITICAL.

use std::fmt;

use thiserror::Error;

use crate::judge::metric::Metric;
use crate::judge::number::Decimal;
use crate::judge::range::{Range, RangeError, Suffixes};
use crate::model::text::{typed, typed_but};

/// The severity of a crossed threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// The option that sets it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Warning => "--warning",
            Self::Critical => "--critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// One range for one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// The metric that is compared with the range.
    pub metric: Metric,
    /// The severity if the range alerts.
    pub severity: Severity,
    /// The range.
    pub range: Range,
    /// False for a default nobody typed.
    pub given: bool,
}

/// All thresholds in force: at most one for each metric and severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thresholds(Vec<Threshold>);

impl Thresholds {
    /// Reads the values of `--warning` and `--critical`, each `[METRIC=]RANGE`, and adds the defaults they leave in
    /// force: `usage` 80 and 90 unless the fullness of the table is judged otherwise (`usage`, `entries`, `free`),
    /// `chain` 15 and 30 unless `chain` is given.
    ///
    /// # Errors
    /// The first value that is refused, with the option it was given to.
    pub fn parse(warning: &[String], critical: &[String]) -> Result<Self, ThresholdError> {
        let mut all: Vec<Threshold> = Vec::new();
        for (severity, values) in [(Severity::Warning, warning), (Severity::Critical, critical)] {
            for value in values {
                let refuse = |cause| ThresholdError {
                    severity,
                    value: value.clone(),
                    cause,
                };
                let (metric, range) = parse_one(value).map_err(refuse)?;
                if all
                    .iter()
                    .any(|other| other.severity == severity && other.metric == metric)
                {
                    return Err(refuse(Cause::Twice { metric }));
                }
                all.push(Threshold {
                    metric,
                    severity,
                    range,
                    given: true,
                });
            }
        }
        let judged = |metrics: &[Metric]| {
            all.iter()
                .any(|threshold| metrics.contains(&threshold.metric))
        };
        let mut defaults = Vec::new();
        if !judged(&[Metric::Usage, Metric::Entries, Metric::Free]) {
            defaults.extend([
                (Metric::Usage, Severity::Warning, 80),
                (Metric::Usage, Severity::Critical, 90),
            ]);
        }
        if !judged(&[Metric::Chain]) {
            defaults.extend([
                (Metric::Chain, Severity::Warning, 15),
                (Metric::Chain, Severity::Critical, 30),
            ]);
        }
        all.extend(
            defaults
                .into_iter()
                .map(|(metric, severity, end)| Threshold {
                    metric,
                    severity,
                    range: Range::up_to(end),
                    given: false,
                }),
        );
        Ok(Self(all))
    }

    /// The thresholds of one metric.
    pub fn of(&self, metric: Metric) -> impl Iterator<Item = &Threshold> {
        self.0
            .iter()
            .filter(move |threshold| threshold.metric == metric)
    }

    /// The range of one metric and severity.
    pub fn range(&self, metric: Metric, severity: Severity) -> Option<Range> {
        self.of(metric)
            .find(|threshold| threshold.severity == severity)
            .map(|threshold| threshold.range)
    }

    /// True if any needs the entries themselves.
    pub fn need_table(&self) -> bool {
        self.0
            .iter()
            .any(|threshold| threshold.metric.needs_table())
    }

    /// Takes the defaults of one metric out of force, where this kernel gives them no meaning.
    #[must_use]
    pub fn without_defaults_of(mut self, metric: Metric) -> Self {
        self.0
            .retain(|threshold| threshold.given || threshold.metric != metric);
        self
    }

    /// These without those that need the entries themselves.
    #[must_use]
    pub fn without_table(mut self) -> Self {
        self.0.retain(|threshold| !threshold.metric.needs_table());
        self
    }
}

fn parse_one(value: &str) -> Result<(Metric, Range), Cause> {
    let (metric, text) = match value.split_once('=') {
        Some((name, text)) => {
            let metric = Metric::from_name(name).ok_or_else(|| Cause::UnknownMetric {
                name: name.to_owned(),
            })?;
            (metric, text)
        }
        None => match Metric::from_name(value) {
            Some(metric) => return Err(Cause::NoRange { metric }),
            None => (Metric::Usage, value),
        },
    };
    let suffixes = if metric.is_time() {
        Suffixes::Time
    } else {
        Suffixes::Percent
    };
    if text.contains('%') && !metric.takes_percent() {
        return Err(Cause::NoPercent { metric });
    }
    let range = Range::parse(text, suffixes)?;
    if !metric.is_percentage() {
        return Ok((metric, range));
    }
    // the metric counts percent anyway: 80% is 80, and is printed so; then 50%:40 has its start above its end
    let range = Range::parse(&range.without_percent().to_string(), suffixes)?;
    let hundred = Decimal::from_int(100).ratio();
    match range
        .bounds()
        .map(|bound| bound.number())
        .find(|number| number.ratio() > hundred)
    {
        Some(number) if metric == Metric::Usage => Err(Cause::TooHighForUsage {
            number: number.to_string(),
        }),
        Some(number) => Err(Cause::Above100 {
            metric,
            number: number.to_string(),
        }),
        None => Ok((metric, range)),
    }
}

/// A value of `--warning` or `--critical` that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} {} refused: {cause} (accepted: [METRIC=][@]START:END, such as 80, 10:, ~:80, @10:20 or entries=200000)",
    .severity.option(), as_typed(.value))]
pub struct ThresholdError {
    /// The option.
    pub severity: Severity,
    /// Its value.
    pub value: String,
    /// The fault in it.
    pub cause: Cause,
}

/// The fault in a threshold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Cause {
    /// The range itself.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// No metric of that name.
    #[error("unknown metric {}, known are {}", typed(.name), known_metrics())]
    UnknownMetric {
        /// The name.
        name: String,
    },
    /// The name of a metric alone.
    #[error("{metric} is a metric without a range, write {metric}=RANGE")]
    NoRange {
        /// The metric.
        metric: Metric,
    },
    /// The same metric a second time.
    #[error("{metric} has a range already")]
    Twice {
        /// The metric.
        metric: Metric,
    },
    /// A metric that is no share of nf_conntrack_max.
    #[error("{metric} takes no %, it is no share of nf_conntrack_max")]
    NoPercent {
        /// The metric.
        metric: Metric,
    },
    /// A number of entries in the place of a percentage.
    #[error("{number} is above 100 percent, for a count write entries={number}")]
    TooHighForUsage {
        /// The bound.
        number: String,
    },
    /// A percentage that is never reached.
    #[error("{number} is above 100, and {metric} counts percent")]
    Above100 {
        /// The metric.
        metric: Metric,
        /// The bound.
        number: String,
    },
}

/// A value as it was typed. A `~` that begins a range is a sign of this program's own language.
fn as_typed(value: &str) -> String {
    let begin = value.find('=').map_or(0, |equals| equals + 1);
    let range = value.get(begin..).unwrap_or_default();
    let begin = begin + usize::from(range.starts_with('@'));
    let tilde = value
        .get(begin..)
        .is_some_and(|range| range.starts_with('~'));
    typed_but(value, tilde.then_some(begin))
}

fn known_metrics() -> String {
    Metric::all()
        .map(Metric::name)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds(warning: &[&str], critical: &[&str]) -> Result<Thresholds, String> {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        Thresholds::parse(&owned(warning), &owned(critical)).map_err(|error| error.to_string())
    }

    fn shown(thresholds: &Thresholds, metric: Metric) -> [Option<String>; 2] {
        [Severity::Warning, Severity::Critical]
            .map(|s| thresholds.range(metric, s).map(|r| r.to_string()))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn without_any_the_defaults_are_in_force() {
        let t = thresholds(&[], &[]).unwrap();
        assert_eq!(shown(&t, Metric::Usage), [some("80"), some("90")]);
        assert_eq!(shown(&t, Metric::Chain), [some("15"), some("30")]);
        assert_eq!(shown(&t, Metric::Entries), [None, None]);
    }

    #[test]
    fn one_severity_given_switches_both_defaults_off() {
        for metric in ["usage=50", "entries=100", "free=10:"] {
            let t = thresholds(&[metric], &[]).unwrap();
            assert_eq!(t.range(Metric::Usage, Severity::Critical), None, "{metric}");
            assert_eq!(
                shown(&t, Metric::Chain),
                [some("15"), some("30")],
                "{metric}"
            );
        }
        let t = thresholds(&[], &["chain=20"]).unwrap();
        assert_eq!(shown(&t, Metric::Chain), [None, some("20")]);
        assert_eq!(shown(&t, Metric::Usage), [some("80"), some("90")]);
    }

    #[test]
    fn a_bare_range_is_for_usage_and_percent_means_the_same() {
        let t = thresholds(&["70%", "ports=80%"], &["usage=10%:85", "expect=90"]).unwrap();
        assert_eq!(shown(&t, Metric::Usage), [some("70"), some("10:85")]);
        assert_eq!(shown(&t, Metric::Ports), [some("80"), None]);
        assert_eq!(shown(&t, Metric::Expect), [None, some("90")]);
    }

    #[test]
    fn what_is_refused_is_named_with_what_would_be_accepted() {
        for (value, wanted) in [
            ("200000", "for a count write entries=200000"),
            ("ports=5000", "5000 is above 100, and ports counts percent"),
            ("chain=10%", "chain takes no %"),
            (
                "foo=1",
                "unknown metric foo, known are usage, entries, free, chain",
            ),
            ("Usage=80", "unknown metric Usage"),
            ("", "the range is empty"),
            ("usage=", "the range is empty"),
            ("/root:80", "the shell expanded ~ to /root, quote the range"),
            ("80|rm", r"80\x7crm is not a decimal number"),
            (" 80", r"--warning \x2080 refused: \x2080 is not"),
            ("", "--warning (empty) refused: "),
        ] {
            let text = thresholds(&[value], &[]).unwrap_err();
            assert!(text.starts_with("--warning"), "{text}");
            assert!(text.contains(wanted), "{value}: {text}");
            assert!(text.contains("accepted:"), "{text}");
        }
        let text = thresholds(&[], &["80", "usage=90"]).unwrap_err();
        assert!(
            text.starts_with("--critical usage=90 refused: usage has a range already"),
            "{text}"
        );
    }

    #[test]
    fn the_same_metric_may_have_one_range_for_each_severity() {
        assert!(thresholds(&["entries=10"], &["entries=20"]).is_ok());
    }

    #[test]
    fn a_tilde_is_quoted_if_it_begins_a_range_and_only_then() {
        for value in ["~5", "@~5", "usage=~5", "usage=@~5"] {
            let text = thresholds(&[value], &[]).unwrap_err();
            let begin = format!("--warning {value} refused: ':' missing after '~', write ~:5 ");
            assert!(text.starts_with(&begin), "{text}");
        }
        let text = thresholds(&["usage=5~"], &[]).unwrap_err();
        assert!(!text.starts_with("--warning usage=5~ "), "{text}");
    }

    #[test]
    fn a_range_on_a_class_needs_the_table_and_one_on_usage_does_not() {
        let needs = |warning: &[&str]| thresholds(warning, &[]).unwrap().need_table();
        assert!(!needs(&[]));
        assert!(!needs(&["usage=5", "growth=5"]));
        assert!(needs(&["usage=5", "unreplied=5"]));
    }

    #[test]
    fn a_severity_has_a_name() {
        let names = [Severity::Warning, Severity::Critical].map(|severity| severity.to_string());
        assert_eq!(names, ["warning", "critical"]);
    }
}
