//! Ranges that are accepted although they probably are a mistake.

use std::fmt;

use crate::judge::metric::Metric;
use crate::judge::range::Range;
use crate::judge::threshold::{Severity, Threshold, Thresholds};

/// A given range that probably means something else than it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// `free=20000` alerts while much is free: its colon is missing.
    NoColon(Threshold),
    /// The CRITICAL range alerts whenever the WARNING range does.
    WarningNeverReached {
        /// The metric of both ranges.
        metric: Metric,
        /// The WARNING range.
        warning: Range,
        /// The CRITICAL range.
        critical: Range,
    },
}

impl Slip {
    /// The ranges without their colon, in the order of the metrics.
    pub fn without_colon(thresholds: &Thresholds) -> impl Iterator<Item = Self> {
        [Metric::Free, Metric::FullIn]
            .into_iter()
            .flat_map(|metric| thresholds.of(metric))
            .filter(|threshold| threshold.given && threshold.range.plain().is_some())
            .map(|threshold| Self::NoColon(*threshold))
    }

    /// The WARNING ranges that are never reached, in the order of the metrics.
    pub fn never_reached(thresholds: &Thresholds) -> impl Iterator<Item = Self> {
        Metric::all().filter_map(|metric| {
            let warning = thresholds.range(metric, Severity::Warning)?;
            let critical = thresholds.range(metric, Severity::Critical)?;
            warning
                .alerts_only_with(&critical, metric == Metric::Growth)
                .then_some(Self::WarningNeverReached {
                    metric,
                    warning,
                    critical,
                })
        })
    }
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoColon(Threshold {
                metric,
                severity,
                range,
                ..
            }) => write!(
                f,
                "{} {metric}={range} alerts above {range}, did you mean {metric}={range}: (alerts below {range})",
                severity.option()
            ),
            Self::WarningNeverReached {
                metric,
                warning,
                critical,
            } => write!(
                f,
                "--warning {metric}={warning} is never reached before --critical {metric}={critical}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds(warning: &[&str], critical: &[&str]) -> Thresholds {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        Thresholds::parse(&owned(warning), &owned(critical)).unwrap()
    }

    fn never_reached(warning: &str, critical: &str) -> bool {
        Slip::never_reached(&thresholds(&[warning], &[critical]))
            .next()
            .is_some()
    }

    #[test]
    fn a_plain_number_on_a_metric_that_falls_lacks_its_colon() {
        let slips = |critical: &str| {
            Slip::without_colon(&thresholds(&[], &[critical]))
                .map(|slip| slip.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            slips("full_in=30m"),
            [
                "--critical full_in=30m alerts above 30m, did you mean full_in=30m: (alerts below 30m)"
            ]
        );
        assert_eq!(slips("free=10%").len(), 1);
        for meant in [
            "free=20000:",
            "full_in=30m:",
            "full_in=~:",
            "free=@20000",
            "free=5:9",
            "lost=0",
            "usage=80",
        ] {
            assert_eq!(slips(meant), [""; 0], "{meant}");
        }
    }

    #[test]
    fn a_warning_range_that_alerts_only_with_the_critical_one_is_never_reached() {
        for (warning, critical) in [
            ("90", "80"),
            ("80", "80"),
            ("~:90", "80"),
            ("90", "~:80"),
            ("free=10:", "free=20:"),
            ("free=1%:", "free=2%:"),
            ("chain=@50:60", "chain=40"),
            ("chain=@5:6", "chain=@4:7"),
            ("full_in=10m:", "full_in=1h:"),
            ("growth=-10:10", "growth=-5:5"),
            ("usage=5:95", "usage=10:90"),
        ] {
            assert!(never_reached(warning, critical), "{warning} {critical}");
        }
    }

    #[test]
    fn a_warning_range_that_alerts_first_is_no_slip() {
        for (warning, critical) in [
            ("80", "90"),
            ("80", "95:"),
            ("free=20:", "free=10:"),
            ("free=20:", "free=1%:"),
            ("entries=50%", "entries=40"),
            ("chain=@5:6", "chain=6"),
            ("chain=@10:20", "chain=@15:30"),
            ("chain=@10:20", "chain=@5:15"),
            ("chain=~:", "chain=15"),
            ("chain=0:", "chain=15"),
            ("growth=90", "growth=~:80"),
            ("usage=5:95", "usage=90"),
            ("usage=90", "usage=@80:100"),
        ] {
            let quiet = !never_reached(warning, critical);
            assert!(quiet, "{warning} {critical}");
        }
        assert_eq!(Slip::never_reached(&thresholds(&[], &[])).next(), None);
    }
}
