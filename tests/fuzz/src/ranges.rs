//! Threshold ranges: a suffix kind, a value to hold against the range, and the text.

use std::cmp::Ordering;

use check_conntrack::judge::number::Ratio;
use check_conntrack::judge::range::{Measure, Range, Suffixes, Violation};

/// Compares a value, in tenths, with a bound as the guidelines and the contract have it, read by other means than those
/// of the plugin.
fn compare(tenths: i128, bound: &str, seconds: bool) -> Ordering {
    let (number, factor) = match bound.as_bytes().last() {
        Some(b's') if seconds => (&bound[..bound.len() - 1], 1),
        Some(b'm') if seconds => (&bound[..bound.len() - 1], 60),
        Some(b'h') if seconds => (&bound[..bound.len() - 1], 3600),
        // 0% of anything is 0
        _ => (bound.trim_end_matches('%'), 1),
    };
    let fraction = number.split_once('.').map_or(0, |(_, digits)| digits.len());
    let number: i128 = number.replacen('.', "", 1).parse().expect("a number");
    let unit = 10_i128.pow(u32::try_from(fraction).expect("a few digits"));
    (tenths * unit).cmp(&(number * factor * 10))
}

/// True if a range without percentages alerts, by the letter of the guidelines.
fn alerts(text: &str, seconds: bool, tenths: i128) -> bool {
    let (inside, bounds) = match text.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (start, end) = match bounds.split_once(':') {
        Some((start, end)) => (start, end),
        None => ("", bounds),
    };
    let from = match start {
        "~" => true,
        "" => tenths >= 0,
        start => compare(tenths, start, seconds) != Ordering::Less,
    };
    let to = end.is_empty() || compare(tenths, end, seconds) != Ordering::Greater;
    (from && to) == inside
}

/// An accepted range prints as a range that is read as the same and decides the same. It decides as the guidelines say.
pub fn ranges(data: &[u8]) {
    let Some((head, text)) = data.split_first_chunk::<6>() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let [kind, shift, number @ ..] = *head;
    let suffixes = if kind & 1 == 0 {
        Suffixes::Percent
    } else {
        Suffixes::Time
    };
    let range = match Range::parse(text, suffixes) {
        Ok(range) => range,
        Err(error) => {
            let refusal = error.to_string();
            assert!(
                !refusal.is_empty() && !refusal.contains(['|', ';', '\n']),
                "{refusal:?}"
            );
            return;
        }
    };
    let printed = range.to_string();
    let again = Range::parse(&printed, suffixes).expect("what is printed is a range");
    assert_eq!(again, range, "{text:?} {printed:?}");

    let number = i64::from(i32::from_le_bytes(number)) >> (shift % 32);
    let tenths = kind & 2 != 0;
    let value = Ratio::new(number, if tenths { 10 } else { 1 }).expect("above 0");
    let percent = (kind & 4 != 0).then_some(value);
    let measure = Measure { value, percent };
    let side = range.alert(&measure);
    assert_eq!(side, again.alert(&measure));
    if range.has_percent() {
        assert!(percent.is_some() || side.is_none(), "of no limit");
    } else {
        let seconds = suffixes == Suffixes::Time;
        assert_eq!(
            side.is_some(),
            alerts(
                text,
                seconds,
                i128::from(number) * if tenths { 1 } else { 10 }
            ),
            "{text:?} at {value:?}"
        );
    }
    match side {
        Some(Violation::Inside(inside)) => assert_eq!(inside, range),
        Some(Violation::Below(bound) | Violation::Above(bound)) => {
            assert!(range.bounds().any(|other| other == bound));
        }
        None => {}
    }
    let _ = range.alert_at_infinity();

    // in whole units it alerts for the same whole values
    let whole = (kind & 8 != 0).then(|| 1 + (number & 0xffff_ffff));
    let all_percent = kind & 16 != 0;
    let _ = (range.plain(), range.in_units_of(whole, all_percent));
    if !range.has_percent() && !all_percent && !tenths {
        if let Some(units) = range.in_units_of(whole, false) {
            assert_eq!(units.alert(&measure).is_some(), side.is_some(), "{units}");
        }
    }
}
