//! Threshold ranges as the Monitoring Plugins guidelines define them, with exact decimal bounds.
//!
//! `[@]start:end`, "definitions/01.range_expressions.md" of the guidelines: a range alerts when the value is outside
//! `start..=end`; with `@` when it is inside; end points belong to the range; `start:` may be left out when it is 0;
//! `~` as start is minus infinity; a missing end is plus infinity. A bound may carry `%`, or where it is a time `s`, `m`
//! or `h` (contract of this plugin).
//!
//! The range that decides is the range that is printed: `parse(range.to_string()) == range`.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

use super::number::{Decimal, Ratio};
use crate::model::text::typed;

/// The suffixes that a bound may carry after its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suffixes {
    /// `%`.
    Percent,
    /// `s`, `m` and `h`: the value is a time.
    Time,
}

impl Suffixes {
    fn units(self) -> &'static [Suffix] {
        match self {
            Self::Percent => &[Suffix::Percent],
            Self::Time => &[Suffix::Seconds, Suffix::Minutes, Suffix::Hours],
        }
    }
}

/// The suffix after the number of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Suffix {
    /// Nothing: it is in the unit of the value.
    Bare,
    /// Percent of nf_conntrack_max.
    Percent,
    Seconds,
    Minutes,
    Hours,
}

impl Suffix {
    fn suffix(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::Percent => "%",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
        }
    }

    /// The number of units of the value in this unit; a percentage is compared with a percentage.
    fn factor(self) -> i128 {
        match self {
            Self::Bare | Self::Percent | Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3600,
        }
    }
}

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bound {
    number: Decimal,
    unit: Suffix,
}

impl Bound {
    const ZERO: Self = Self::bare(Decimal::from_int(0));

    const fn bare(number: Decimal) -> Self {
        Self {
            number,
            unit: Suffix::Bare,
        }
    }

    fn parse(text: &str, suffixes: Suffixes) -> Result<Self, RangeError> {
        let suffixed = suffixes
            .units()
            .iter()
            .find_map(|unit| Some((text.strip_suffix(unit.suffix())?, *unit)));
        let (digits, unit) = suffixed.unwrap_or((text, Suffix::Bare));
        let number = Decimal::parse(digits).map_err(|error| match error {
            // quote what was typed, sign and all
            RangeError::NotANumber { .. } => RangeError::NotANumber {
                found: text.to_owned(),
            },
            other => other,
        })?;
        // 0% of anything is 0: one form, so that printing round-trips
        Ok(Self {
            number,
            unit: if number.is_zero() { Suffix::Bare } else { unit },
        })
    }

    /// True if the bound is a part of nf_conntrack_max.
    pub fn is_percent(self) -> bool {
        self.unit == Suffix::Percent
    }

    /// The number before the `%` or the unit of time, if any.
    pub fn number(self) -> Decimal {
        self.number
    }

    /// The order of two bounds. A percentage and a number cannot be compared unless one of them is 0.
    fn order(self, other: Self) -> Option<Ordering> {
        let comparable = self.is_percent() == other.is_percent()
            || self.number.is_zero()
            || other.number.is_zero();
        comparable.then(|| self.ratio().cmp(&other.ratio()))
    }

    /// In the unit of the value, or in percent. Both parts are below 3600 * 10^18.
    fn ratio(self) -> Ratio {
        self.number.ratio().times(self.unit.factor())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit.suffix())
    }
}

/// The value that a range is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// The value, in the unit of a bare bound.
    pub value: Ratio,
    /// The value in percent of nf_conntrack_max, for bounds that carry `%`. None when there is no limit to take a
    /// percentage of: such a bound is never crossed.
    pub percent: Option<Ratio>,
}

/// The way in which a value leaves a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Below the start.
    Below(Bound),
    /// Above the end.
    Above(Bound),
    /// Inside a range given with `@`.
    Inside(Range),
}

impl Violation {
    /// True if the value is too high: above the end, or inside a range such as `@90:`.
    pub fn is_above(self) -> bool {
        match self {
            Self::Above(_) => true,
            Self::Below(_) => false,
            Self::Inside(range) => range.start.is_some() && range.end.is_none(),
        }
    }

    /// True if the value is too low: below the start, or inside a range such as `@~:10`.
    pub fn is_below(self) -> bool {
        match self {
            Self::Above(_) => false,
            Self::Below(_) => true,
            Self::Inside(range) => range.start.is_none() && range.end.is_some(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(bound) => write!(f, "below {bound}"),
            Self::Above(bound) => write!(f, "above {bound}"),
            Self::Inside(range) => {
                write!(f, "inside {}", range.to_string().trim_start_matches('@'))
            }
        }
    }
}

/// A threshold range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// `@`: alert inside instead of outside.
    inside: bool,
    /// None is minus infinity.
    start: Option<Bound>,
    /// None is plus infinity.
    end: Option<Bound>,
}

impl Range {
    /// `0:end`, the ordinary upper limit.
    pub const fn up_to(end: i64) -> Self {
        Self {
            inside: false,
            start: Some(Bound::ZERO),
            end: Some(Bound::bare(Decimal::from_int(end))),
        }
    }

    /// Reads a range whose bounds may carry a suffix.
    ///
    /// # Errors
    /// Everything the guidelines do not define, and what only some implementations accept: see [`RangeError`].
    pub fn parse(text: &str, suffixes: Suffixes) -> Result<Self, RangeError> {
        let (inside, bounds) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if bounds.is_empty() {
            return Err(RangeError::Empty);
        }
        let zero = Some(Bound::ZERO);
        let (start, end) = match bounds.split_once(':') {
            None if bounds.starts_with('~') => {
                let end = bounds.trim_start_matches('~');
                return Err(RangeError::TildeWithoutColon {
                    end: Bound::parse(end, suffixes).ok(),
                });
            }
            None => (zero, Some(Bound::parse(bounds, suffixes)?)),
            Some(("", "")) => return Err(RangeError::Empty),
            Some((start, end)) => {
                let start = match start {
                    "~" => None,
                    "" => zero,
                    path if path.starts_with('/') => {
                        return Err(RangeError::ExpandedTilde {
                            found: path.to_owned(),
                        });
                    }
                    number => Some(Bound::parse(number, suffixes)?),
                };
                let end = if end.is_empty() {
                    None
                } else {
                    Some(Bound::parse(end, suffixes)?)
                };
                (start, end)
            }
        };
        if let (Some(start), Some(end)) = (start, end) {
            if start.order(end) == Some(Ordering::Greater) {
                return Err(RangeError::StartAboveEnd {
                    start: start.to_string(),
                    end: end.to_string(),
                });
            }
        }
        Ok(Self { inside, start, end })
    }

    /// The side on which the value leaves the range, if the value alerts. A bound of unknown unit is never crossed.
    pub fn alert(&self, measure: &Measure) -> Option<Violation> {
        let against = |bound: &Bound| {
            let value = if bound.is_percent() {
                measure.percent
            } else {
                Some(measure.value)
            };
            value.map(|value| value.cmp(&bound.ratio()))
        };
        let start = self.start.as_ref().map(against);
        let end = self.end.as_ref().map(against);
        // a percentage of no limit
        if start == Some(None) || end == Some(None) {
            return None;
        }
        let below = start.flatten() == Some(Ordering::Less);
        let above = end.flatten() == Some(Ordering::Greater);
        match (self.inside, below, above) {
            (true, false, false) => Some(Violation::Inside(*self)),
            (false, true, _) => self.start.map(Violation::Below),
            (false, false, true) => self.end.map(Violation::Above),
            _ => None,
        }
    }

    /// The same for a value beyond every number.
    pub fn alert_at_infinity(&self) -> Option<Violation> {
        match (self.inside, self.end) {
            (true, None) => Some(Violation::Inside(*self)),
            (false, Some(end)) => Some(Violation::Above(end)),
            _ => None,
        }
    }

    /// True if no value is out of it: `~:`, which switches a metric off.
    pub fn never_alerts(&self) -> bool {
        !self.inside && self.start.is_none() && self.end.is_none()
    }

    /// True if every value outside of this range alerts by the other range too. False if a percentage would have to be
    /// compared with a number. A metric that is not `signed` has no value below 0.
    pub fn alerts_only_with(&self, other: &Self, signed: bool) -> bool {
        let above_0 = |bound: &Bound| signed || bound.number.ratio() > Ratio::from_int(0);
        let (start, other_start) = (self.start.filter(above_0), other.start.filter(above_0));
        let (end, other_end) = (self.end, other.end);
        let never = Self { start, ..*self }.never_alerts();
        !never
            && match (self.inside, other.inside) {
                (false, false) => starts_before(start, other_start) && ends_after(end, other_end),
                (true, true) => starts_before(other_start, start) && ends_after(other_end, end),
                (true, false) => is_below(end, other_start) || is_below(other_end, start),
                (false, true) => false,
            }
    }

    /// The bounds that are there.
    pub fn bounds(&self) -> impl Iterator<Item = Bound> {
        self.start.into_iter().chain(self.end)
    }

    /// True if any bound carries `%`.
    pub fn has_percent(&self) -> bool {
        self.bounds().any(Bound::is_percent)
    }

    /// The same range with every `%` taken off, for a metric whose bare numbers are percentages.
    #[must_use]
    pub fn without_percent(self) -> Self {
        let bare = |bound: Bound| Bound::bare(bound.number);
        Self {
            start: self.start.map(bare),
            end: self.end.map(bare),
            ..self
        }
    }

    /// The same range in whole units, percentages (or, with `all_percent`, every bound) taken of `whole`: the start
    /// rounded up and the end down, so that it alerts for the same whole values. None when no whole number is left
    /// between them, or a percentage is to be taken of no limit.
    pub fn in_units_of(&self, whole: Option<i64>, all_percent: bool) -> Option<Self> {
        let whole_number = |n: i128| i64::try_from(n).ok().map(Decimal::from_int);
        self.converted(
            whole,
            all_percent,
            |start| whole_number(start.ceil()),
            |end| whole_number(end.floor()),
        )
    }

    /// The same range with its percentages taken of `whole`, for values that have fractions.
    pub fn exactly_in_units_of(&self, whole: Option<i64>) -> Option<Self> {
        self.converted(whole, false, Ratio::decimal, Ratio::decimal)
    }

    fn converted(
        &self,
        whole: Option<i64>,
        all_percent: bool,
        of_start: impl Fn(Ratio) -> Option<Decimal>,
        of_end: impl Fn(Ratio) -> Option<Decimal>,
    ) -> Option<Self> {
        let exact = |bound: Bound| {
            if bound.is_percent() || (all_percent && !bound.number.is_zero()) {
                whole.map(|whole| Ratio::percent_of(bound.number, whole))
            } else {
                Some(bound.ratio())
            }
        };
        let start = match self.start {
            Some(bound) => Some(Bound::bare(of_start(exact(bound)?)?)),
            None => None,
        };
        let end = match self.end {
            Some(bound) => Some(Bound::bare(of_end(exact(bound)?)?)),
            None => None,
        };
        if let (Some(start), Some(end)) = (start, end) {
            if start.number.ratio() > end.number.ratio() {
                return None;
            }
        }
        Some(Self {
            inside: self.inside,
            start,
            end,
        })
    }

    /// The plain number Icinga 2 and most graphs need, where the range is `N`, `0:N` or `~:N`.
    pub fn plain(&self) -> Option<Bound> {
        let from_bottom = self.start.is_none_or(|start| start.number.is_zero());
        if self.inside || !from_bottom {
            None
        } else {
            self.end
        }
    }
}

/// True if a range with the first start begins at or below a range with the second start.
fn starts_before(start: Option<Bound>, other: Option<Bound>) -> bool {
    match (start, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(start), Some(other)) => start.order(other).is_some_and(Ordering::is_le),
    }
}

/// True if a range with the first end goes on at least to the end of a range with the second end.
fn ends_after(end: Option<Bound>, other: Option<Bound>) -> bool {
    match (end, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(end), Some(other)) => end.order(other).is_some_and(Ordering::is_ge),
    }
}

/// True if the end of one range is below the start of another range.
fn is_below(end: Option<Bound>, start: Option<Bound>) -> bool {
    let order = end.zip(start).and_then(|(end, start)| end.order(start));
    order.is_some_and(Ordering::is_lt)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
            f.write_str("@")?;
        }
        match (self.start, self.end) {
            (Some(start), Some(end)) if start.number.is_zero() => write!(f, "{end}"),
            (Some(start), Some(end)) => write!(f, "{start}:{end}"),
            (Some(start), None) => write!(f, "{start}:"),
            (None, Some(end)) => write!(f, "~:{end}"),
            (None, None) => f.write_str("~:"),
        }
    }
}

/// The reason why a text is not a range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeError {
    /// Nothing, `@` or `:`.
    #[error("the range is empty")]
    Empty,
    /// `~` or `~10`.
    #[error("':' missing after '~', write ~:{} for \"no lower bound\"", meant(.end))]
    TildeWithoutColon {
        /// The end that was meant, if it is one.
        end: Option<Bound>,
    },
    /// `/root:80`, which the shell made of `~:80`.
    #[error("the shell expanded ~ to {}, quote the range", typed(.found))]
    ExpandedTilde {
        /// The start.
        found: String,
    },
    /// Anything but `-?digits[.digits][%]`.
    #[error("{} is not a decimal number", typed(.found))]
    NotANumber {
        /// The bound.
        found: String,
    },
    /// More than 18 digits.
    #[error("{} has more than 18 digits", typed(.found))]
    TooManyDigits {
        /// The bound.
        found: String,
    },
    /// `20:10`, and `-5`, which is `0:-5`.
    #[error("the start {start} is above the end {end}")]
    StartAboveEnd {
        /// The start.
        start: String,
        /// The end.
        end: String,
    },
}

/// The end of a range that lacks its colon.
fn meant(end: &Option<Bound>) -> String {
    end.map_or_else(|| "END".to_owned(), |end| end.to_string())
}
