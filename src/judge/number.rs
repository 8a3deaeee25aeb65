//! Exact numbers: those of a threshold, and the values that are compared with them. No verdict rests on a float.

use std::cmp::Ordering;
use std::fmt;

use super::range::RangeError;

/// The digits of a number that is read. No count has more, so a longer number is a slip of the keyboard.
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
    pub(super) fn parse(text: &str) -> Result<Self, RangeError> {
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

    /// True for 0, -0 and 0.000.
    pub(super) fn is_zero(self) -> bool {
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
        let whole = Truncated {
            units: i128::from(self.mantissa),
            decimals: self.scale,
        };
        whole.fmt(f)
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

    /// This value as a decimal number, if it is one of at most 18 digits.
    pub(super) fn decimal(self) -> Option<Decimal> {
        let Self {
            mut numerator,
            mut denominator,
        } = self;
        while denominator % 10 == 0 && numerator % 10 == 0 {
            (numerator, denominator) = (numerator / 10, denominator / 10);
        }
        let scale = denominator.ilog10();
        let is_decimal = denominator == 10_i128.pow(scale);
        let mantissa = i64::try_from(numerator).ok().filter(|_| is_decimal)?;
        Some(Decimal { mantissa, scale })
    }

    /// The part above [`Ratio::floor`].
    fn fraction(self) -> Self {
        Self {
            numerator: self.numerator.rem_euclid(self.denominator),
            ..self
        }
    }

    /// One divided by this value, which has to be above 0.
    fn inverse(self) -> Self {
        Self {
            numerator: self.denominator,
            denominator: self.numerator,
        }
    }

    /// This value times `factor`, for a value from a [`Decimal`] and a factor of at most 3600.
    pub(super) fn times(self, factor: i128) -> Self {
        Self {
            numerator: self.numerator * factor,
            ..self
        }
    }

    /// `percent` percent of `whole`, exactly.
    pub(super) fn percent_of(percent: Decimal, whole: i64) -> Self {
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
    /// True if the printed value is nearer to zero than `n`.
    pub fn is_below(self, n: u32) -> bool {
        self.units.unsigned_abs() < u128::from(n) * 10_u128.pow(self.decimals)
    }

    /// The printed value.
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

    #[test]
    fn equal_quotients_are_equal_whatever_their_terms_are() {
        let ratio = |numerator, denominator| Ratio::new(numerator, denominator).unwrap();
        assert!(ratio(1, 2) == ratio(50, 100));
        assert!(ratio(0, 1) == ratio(0, 7));
        assert!(ratio(1, 2) != ratio(1, 3));
        assert!(ratio(1, 2) != ratio(-1, 2));
    }

    #[test]
    fn a_printed_value_is_below_a_number_only_if_it_is_nearer_to_zero() {
        let is_below = |hundredths, n| {
            let value = Ratio::new(hundredths, 100).unwrap();
            [0, 1].map(|decimals| value.truncated(decimals).is_below(n))
        };
        for (hundredths, expected) in [(999, true), (1000, false), (1100, false)] {
            assert_eq!(is_below(hundredths, 10), [expected; 2], "{hundredths}");
            assert_eq!(is_below(-hundredths, 10), [expected; 2], "-{hundredths}");
        }
        // 0.99 prints as 0 or as 0.9
        assert_eq!(is_below(99, 1), [true; 2]);
        assert_eq!(is_below(0, 0), [false; 2]);
    }

    #[test]
    fn a_number_has_18_digits_at_most_and_nothing_else() {
        let refused = |text: &str| Decimal::parse(text).unwrap_err().to_string();
        for text in ["123456789012345678", "-123456789.012345678", "0.5"] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), text);
        }
        for text in ["1234567890123456789", "1234567890.123456789"] {
            assert!(refused(text).contains("more than 18 digits"), "{text}");
        }
        for text in ["", "-", ".5", "5.", "1a", "1.a", "a", "--1"] {
            assert!(refused(text).contains("not a decimal number"), "{text}");
        }
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        for denominator in [0, -1] {
            assert!(Ratio::new(1, denominator).is_none());
        }
        assert_eq!(Ratio::new(1, 1), Some(Ratio::from_int(1)));
    }

    #[test]
    fn a_ratio_lies_between_its_floor_and_its_ceiling() {
        for (numerator, denominator, floor, ceil) in [
            (7, 2, 3, 4),
            (-7, 2, -4, -3),
            (6, 2, 3, 3),
            (5, 7, 0, 1),
            (0, 7, 0, 0),
        ] {
            let ratio = Ratio::new(numerator, denominator).unwrap();
            assert_eq!((ratio.floor(), ratio.ceil()), (floor, ceil), "{ratio:?}");
        }
    }

    #[test]
    fn a_ratio_is_a_decimal_number_if_its_denominator_is_a_power_of_ten() {
        let decimal = |numerator, denominator| {
            let ratio = Ratio::new(numerator, denominator).unwrap();
            ratio.decimal().map(|decimal| decimal.to_string())
        };
        for (numerator, denominator, expected) in [
            (25, 100, "0.25"),
            (120, 1000, "0.12"),
            (300, 100, "3"),
            (31, 10, "3.1"),
            (7, 1, "7"),
            (-70, 100, "-0.7"),
            (70, 1, "70"),
        ] {
            assert_eq!(decimal(numerator, denominator).as_deref(), Some(expected));
        }
        assert_eq!(decimal(1, 3), None);
        assert_eq!(decimal(1, 20), None);
    }

    #[test]
    fn a_percentage_is_a_hundredth_of_so_many() {
        let percent = |text| Ratio::percent_of(Decimal::parse(text).unwrap(), 1000);
        assert_eq!(percent("12.5"), Ratio::from_int(125));
        assert_eq!(percent("0.01"), Ratio::new(1, 10).unwrap());
        assert_eq!(Ratio::new(5, 2).unwrap().times(60), Ratio::from_int(150));
    }
}
