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

use crate::model::text::typed;

/// More digits than any count has; what is longer is a slip of the keyboard.
const MAX_DIGITS: usize = 18;

/// A decimal number, exactly: `mantissa / 10^scale`, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i64,
    scale: u32,
}

impl Decimal {
    /// The whole number `n`.
    pub const fn from_int(n: i64) -> Self {
        Self {
            mantissa: n,
            scale: 0,
        }
    }

    /// Reads `-?digits[.digits]`, base ten, at most 18 digits in all.
    fn parse(text: &str) -> Result<Self, RangeError> {
        let not_a_number = || RangeError::NotANumber {
            found: text.to_owned(),
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(not_a_number()),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty()
            || !whole
                .bytes()
                .chain(fraction.bytes())
                .all(|b| b.is_ascii_digit())
        {
            return Err(not_a_number());
        }
        if whole.len() + fraction.len() > MAX_DIGITS {
            return Err(RangeError::TooManyDigits {
                found: text.to_owned(),
            });
        }
        let fraction = fraction.trim_end_matches('0');
        let magnitude: i64 = format!("{whole}{fraction}")
            .parse()
            .map_err(|_| not_a_number())?;
        Ok(Self {
            mantissa: if negative { -magnitude } else { magnitude },
            scale: fraction.len() as u32, // at most 18
        })
    }

    fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// This number as a ratio. Both parts are below 10^18.
    pub fn ratio(self) -> Ratio {
        Ratio {
            numerator: i128::from(self.mantissa),
            denominator: 10_i128.pow(self.scale),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let unit = 10_u64.pow(self.scale);
        let magnitude = self.mantissa.unsigned_abs();
        write!(f, "{sign}{}", magnitude / unit)?;
        if self.scale > 0 {
            write!(
                f,
                ".{:0width$}",
                magnitude % unit,
                width = self.scale as usize
            )?;
        }
        Ok(())
    }
}

/// An exact value: what is measured is a quotient of kernel numbers, and is compared as one.
///
/// Numerators and denominators stay below 2^60 for everything the kernel counts, also when it is divided by the time
/// between two runs, and below 2^127 in a bound of 18 digits, whatever its unit.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    /// `numerator / denominator`; none when the denominator is not positive.
    pub fn new(numerator: i64, denominator: i64) -> Option<Self> {
        (denominator > 0).then_some(Self {
            numerator: i128::from(numerator),
            denominator: i128::from(denominator),
        })
    }

    /// The whole number `n`.
    pub fn from_int(n: i64) -> Self {
        Self {
            numerator: i128::from(n),
            denominator: 1,
        }
    }

    /// This value with `decimals` decimals, the rest cut off (towards zero), so that 99.96 never reads as 100.0.
    pub fn truncated(self, decimals: u32) -> Truncated {
        let unit = 10_i128.pow(decimals);
        Truncated {
            units: self.numerator * unit / self.denominator,
            decimals,
        }
    }

    /// The largest whole number that is not above this value.
    pub fn floor(self) -> i128 {
        self.numerator.div_euclid(self.denominator)
    }

    /// The smallest whole number that is not below this value.
    pub fn ceil(self) -> i128 {
        -(-self.numerator).div_euclid(self.denominator)
    }

    /// What is above [`Ratio::floor`].
    fn fraction(self) -> Self {
        Self {
            numerator: self.numerator.rem_euclid(self.denominator),
            ..self
        }
    }

    /// One through this, for what is above 0.
    fn inverse(self) -> Self {
        Self {
            numerator: self.denominator,
            denominator: self.numerator,
        }
    }

    /// `percent` percent of `whole`, exactly.
    fn percent_of(percent: Decimal, whole: i64) -> Self {
        let ratio = percent.ratio();
        Self {
            numerator: ratio.numerator * i128::from(whole),
            denominator: ratio.denominator * 100,
        }
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Ratio {}
impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (*self, *other);
        loop {
            // denominators are positive by construction
            let left = a.numerator.checked_mul(b.denominator);
            let right = b.numerator.checked_mul(a.denominator);
            if let (Some(left), Some(right)) = (left, right) {
                return left.cmp(&right);
            }
            // whole parts first, then what is left of both: the smaller one is the one with the greater inverse
            let order = a.floor().cmp(&b.floor());
            let (a_rest, b_rest) = (a.fraction(), b.fraction());
            if order != Ordering::Equal || a_rest.numerator == 0 || b_rest.numerator == 0 {
                return order.then(a_rest.numerator.signum().cmp(&b_rest.numerator.signum()));
            }
            (a, b) = (b_rest.inverse(), a_rest.inverse());
        }
    }
}

/// A value cut to some decimals; prints as `95.2`.
#[derive(Debug, Clone, Copy)]
pub struct Truncated {
    units: i128,
    decimals: u32,
}

impl Truncated {
    /// Whether what is printed is nearer to zero than `n`.
    pub fn is_below(self, n: u32) -> bool {
        self.units.unsigned_abs() < u128::from(n) * 10_u128.pow(self.decimals)
    }

    /// What is printed, as a value.
    pub fn ratio(self) -> Ratio {
        Ratio {
            numerator: self.units,
            denominator: 10_i128.pow(self.decimals),
        }
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u128.pow(self.decimals);
        let magnitude = self.units.unsigned_abs();
        let sign = if self.units < 0 { "-" } else { "" };
        write!(f, "{sign}{}", magnitude / unit)?;
        if self.decimals > 0 {
            write!(
                f,
                ".{:0width$}",
                magnitude % unit,
                width = self.decimals as usize
            )?;
        }
        Ok(())
    }
}

/// What a bound may carry behind its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suffixes {
    /// `%`.
    Percent,
    /// `s`, `m` and `h`: the value is a time.
    Time,
}

impl Suffixes {
    fn units(self) -> &'static [Unit] {
        match self {
            Self::Percent => &[Unit::Percent],
            Self::Time => &[Unit::Seconds, Unit::Minutes, Unit::Hours],
        }
    }
}

/// What is behind the number of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    /// Nothing: it is in the unit of the value.
    Bare,
    /// Percent of nf_conntrack_max.
    Percent,
    Seconds,
    Minutes,
    Hours,
}

impl Unit {
    fn suffix(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::Percent => "%",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
        }
    }

    /// How many units of the value it is; a percentage is held against one.
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
    unit: Unit,
}

impl Bound {
    const ZERO: Self = Self::bare(Decimal::from_int(0));

    const fn bare(number: Decimal) -> Self {
        Self {
            number,
            unit: Unit::Bare,
        }
    }

    fn parse(text: &str, suffixes: Suffixes) -> Result<Self, RangeError> {
        let suffixed = suffixes
            .units()
            .iter()
            .find_map(|unit| Some((text.strip_suffix(unit.suffix())?, *unit)));
        let (digits, unit) = suffixed.unwrap_or((text, Unit::Bare));
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
            unit: if number.is_zero() { Unit::Bare } else { unit },
        })
    }

    /// The number before the `%` or the unit of time, if any.
    pub fn number(self) -> Decimal {
        self.number
    }

    fn is_percent(self) -> bool {
        self.unit == Unit::Percent
    }

    /// In the unit of the value, or in percent. Both parts are below 3600 * 10^18.
    fn ratio(self) -> Ratio {
        let number = self.number.ratio();
        Ratio {
            numerator: number.numerator * self.unit.factor(),
            ..number
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit.suffix())
    }
}

/// What a range is held against.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// The value, in the unit of a bare bound.
    pub value: Ratio,
    /// The value in percent of nf_conntrack_max, for bounds that carry `%`. None when there is no limit to take a
    /// percentage of: such a bound is never crossed.
    pub percent: Option<Ratio>,
}

/// How a value leaves a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Below the start.
    Below(Bound),
    /// Above the end.
    Above(Bound),
    /// Inside a range given with `@`.
    Inside(Range),
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
            // with a percentage only the sign can be compared: 0 is 0% of anything
            let comparable = start.is_percent() == end.is_percent()
                || start.number.is_zero()
                || end.number.is_zero();
            if comparable && start.ratio() > end.ratio() {
                return Err(RangeError::StartAboveEnd {
                    start: start.to_string(),
                    end: end.to_string(),
                });
            }
        }
        Ok(Self { inside, start, end })
    }

    /// Whether the value alerts, and on which side it lies then. A bound of unknown unit is never crossed.
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

    /// Whether no value is out of it: `~:`, which switches a metric off.
    pub fn never_alerts(&self) -> bool {
        !self.inside && self.start.is_none() && self.end.is_none()
    }

    /// The bounds that are there.
    pub fn bounds(&self) -> impl Iterator<Item = Bound> {
        self.start.into_iter().chain(self.end)
    }

    /// Whether any bound carries `%`.
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
        let exact = |bound: Bound| {
            if bound.is_percent() || (all_percent && !bound.number.is_zero()) {
                whole.map(|whole| Ratio::percent_of(bound.number, whole))
            } else {
                Some(bound.ratio())
            }
        };
        let whole_bound = |n: i128| {
            let n = i64::try_from(n).ok()?;
            Some(Bound::bare(Decimal::from_int(n)))
        };
        let start = match self.start {
            Some(bound) => Some(whole_bound(exact(bound)?.ceil())?),
            None => None,
        };
        let end = match self.end {
            Some(bound) => Some(whole_bound(exact(bound)?.floor())?),
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

/// Why a text is not a range.
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
    #[error("{} is not a decimal number", shown(.found))]
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

/// A bound in a sentence, where an empty one would leave a hole.
fn shown(found: &str) -> String {
    if found.is_empty() {
        "an empty bound".to_owned()
    } else {
        typed(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same quotient in terms whose products do not fit into 128 bits.
    fn long(numerator: i64, denominator: i64) -> Ratio {
        let terms = |n: i64| i128::from(n) << 80;
        Ratio {
            numerator: terms(numerator),
            denominator: terms(denominator),
        }
    }

    proptest! {
        #[test]
        fn ratios_of_any_length_compare(
            (a, b) in (-1000..1000_i64, 1..1000_i64),
            (c, d) in (-1_000_000_000_000..1_000_000_000_000_i64, 1..1_000_000_000_000_i64),
        ) {
            for (one, other) in [((a, b), (c, d)), ((c, d), (a, b)), ((a, b), (a * 7, b * 7)), ((a, b), (a * 7 + 1, b * 7))] {
                let expected = (i128::from(one.0) * i128::from(other.1)).cmp(&(i128::from(other.0) * i128::from(one.1)));
                prop_assert_eq!(long(one.0, one.1).cmp(&long(other.0, other.1)), expected);
            }
        }
    }
}
