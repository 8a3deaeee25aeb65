//! Threshold ranges against the written specification: monitoring-plugin-guidelines,
//! definitions/01.range_expressions.md, and the cases its implementations are known to get wrong.

use check_conntrack::judge::number::Ratio;
use check_conntrack::judge::range::{Measure, Range, Suffixes};
use proptest::prelude::*;

/// True if a range alerts for a value in tenths.
fn alerts(range: &str, tenths: i64) -> bool {
    let value = Ratio::new(tenths, 10).unwrap();
    Range::parse(range, Suffixes::Percent)
        .unwrap()
        .alert(&Measure {
            value,
            percent: Some(value),
        })
        .is_some()
}

#[test]
fn the_table_of_the_specification_below_at_and_above_each_end() {
    // range, values in tenths that are fine, values in tenths that alert
    let table: &[(&str, &[i64], &[i64])] = &[
        ("10", &[0, 1, 99, 100], &[-1, 101, 5000]),
        ("10:", &[100, 101, 1_000_000], &[99, 0, -100]),
        ("~:10", &[-1_000_000, 0, 99, 100], &[101]),
        ("10:20", &[100, 150, 200], &[99, 201]),
        ("@10:20", &[99, 201, -1], &[100, 150, 200]),
        ("-5:5", &[-50, 0, 50], &[-51, 51]),
        ("~:-5", &[-50, -51], &[-49, 0]),
        ("-5:-1", &[-50, -30, -10], &[-51, -9, 0]),
        ("0", &[0], &[-1, 1]),
        ("0:0", &[0], &[-1, 1]),
        ("@0", &[-1, 1], &[0]),
        ("@10", &[-1, 101], &[0, 50, 100]),
        ("@~:10", &[101], &[-5000, 100]),
        ("@10:", &[99], &[100, 5000]),
        (":10", &[0, 100], &[-1, 101]),
        ("0:", &[0, 9_999_999], &[-1]),
        ("~:", &[-9_999_999, 0, 9_999_999], &[]),
        ("010", &[80, 100], &[101]),
        ("10.5", &[105], &[106]),
        ("10.50:20.0", &[105, 200], &[104, 201]),
        ("-0", &[0], &[-1, 1]),
    ];
    for (range, fine, alert) in table {
        for value in *fine {
            assert!(!alerts(range, *value), "{range} is fine at {value}/10");
        }
        for value in *alert {
            assert!(alerts(range, *value), "{range} alerts at {value}/10");
        }
    }
}

#[test]
fn what_the_specification_does_not_define_is_refused() {
    for text in [
        "",
        "@",
        ":",
        "@:",
        "~",
        "@~",
        "~10",
        "10:~",
        "~:~",
        "-5",
        "20:10",
        "10:5",
        "5:-5",
        "@20:10",
        "0.2:0.1",
        "50%:40%",
        "abc",
        "10abc",
        "abc:10",
        "10:abc",
        "1:2:3",
        "::",
        "10::",
        "1,5",
        "1e3",
        "1E3",
        "0x10",
        "0b1",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "infinity",
        "1_000",
        " 5",
        "5 ",
        "5 :",
        "+10",
        ".5",
        "5.",
        "-",
        "-.5",
        "--5",
        "1.2.3",
        "\u{663}",
        "\u{ff11}",
        "10\n",
        "1234567890123456789",
        "0.1234567890123456789",
        "000000000000000000001",
        "99999999999999999999",
        "%",
        "%:10",
        "10%%",
        "%10",
        "@@10",
        "10@",
        "10;20",
        "10|20",
        "/root:80",
        "/root",
        "~~:1",
        "10-20",
        "10..20",
        "<10",
        ">10",
        "=10",
    ] {
        assert!(
            Range::parse(text, Suffixes::Percent).is_err(),
            "{text:?} is refused"
        );
    }
}

#[test]
fn the_shortest_form_is_printed() {
    for (text, printed) in [
        ("80", "80"),
        ("0:80", "80"),
        (":80", "80"),
        ("~:80", "~:80"),
        ("10:", "10:"),
        (":", ""),
        ("@0:5", "@5"),
        ("@10:20", "@10:20"),
        ("010", "10"),
        ("1.50", "1.5"),
        ("1.0", "1"),
        ("-0", "0"),
        ("0%:80%", "80%"),
        ("~:0%", "~:0"),
        ("-5:0%", "-5:0"),
        ("10%:90%", "10%:90%"),
        ("~:", "~:"),
        ("-0.05:0.5", "-0.05:0.5"),
    ] {
        match Range::parse(text, Suffixes::Percent) {
            Ok(range) => assert_eq!(range.to_string(), printed, "{text}"),
            Err(_) => assert_eq!(printed, "", "{text}"),
        }
    }
}

#[test]
fn perfdata_gets_a_plain_number_where_the_range_has_one() {
    for (text, plain) in [
        ("80", Some("80")),
        ("0:80", Some("80")),
        ("~:80", Some("80")),
        ("10:80", None),
        ("@80", None),
        ("80:", None),
        ("~:", None),
    ] {
        let range = Range::parse(text, Suffixes::Percent).unwrap();
        assert_eq!(
            range.plain().map(|bound| bound.to_string()).as_deref(),
            plain,
            "{text}"
        );
    }
}

#[test]
fn percentages_become_entries_that_alert_for_the_same_counts() {
    let entries = |range: &str, max| {
        Range::parse(range, Suffixes::Percent)
            .unwrap()
            .in_units_of(Some(max), true)
            .map(|r| r.to_string())
    };
    assert_eq!(entries("80", 262_144).as_deref(), Some("209715")); // 209715.2
    assert_eq!(entries("80", 210_000).as_deref(), Some("168000"));
    assert_eq!(entries("10:80", 262_144).as_deref(), Some("26215:209715")); // 26214.4
    assert_eq!(entries("~:80", 1000).as_deref(), Some("~:800"));
    assert_eq!(entries("50:50", 1000).as_deref(), Some("500:500"));
    assert_eq!(
        entries("@33.31:33.35", 1000),
        None,
        "no whole count lies there"
    );
    assert_eq!(
        Range::parse("80%", Suffixes::Percent)
            .unwrap()
            .in_units_of(None, false),
        None,
        "of no limit"
    );
}

#[test]
fn a_percentage_of_no_limit_is_never_crossed() {
    for range in ["80%", "10%:", "@10%:20%", "5:10%", "60:90%", "10%:40"] {
        let measure = Measure {
            value: Ratio::from_int(50),
            percent: None,
        };
        assert_eq!(
            Range::parse(range, Suffixes::Percent)
                .unwrap()
                .alert(&measure),
            None,
            "{range}"
        );
    }
}

/// A decimal number as somebody might type it, and its value in units of 10^-9.
fn number() -> impl Strategy<Value = (String, i128)> {
    (
        any::<bool>(),
        0_i64..1_000_000_000,
        0_usize..=9,
        0_i64..1_000_000_000,
    )
        .prop_map(|(minus, whole, digits, fraction)| {
            let fraction = fraction % 10_i64.pow(digits as u32);
            let sign = if minus { "-" } else { "" };
            let text = match digits {
                0 => format!("{sign}{whole}"),
                _ => format!("{sign}{whole}.{fraction:0digits$}"),
            };
            let value = i128::from(whole) * 1_000_000_000
                + i128::from(fraction) * 10_i128.pow(9 - digits as u32);
            (text, if minus { -value } else { value })
        })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same_range(
        inside in any::<bool>(), start in prop::option::of(number()), end in prop::option::of(number()), percent in any::<bool>(),
    ) {
        let mark = |text: &str| format!("{text}{}", if percent { "%" } else { "" });
        let start = start.map_or("~".to_owned(), |(text, _)| mark(&text));
        let end = end.map_or(String::new(), |(text, _)| mark(&text));
        let text = format!("{}{start}:{end}", if inside { "@" } else { "" });
        if let Ok(range) = Range::parse(&text, Suffixes::Percent) {
            prop_assert_eq!(Range::parse(&range.to_string(), Suffixes::Percent).unwrap(), range);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in ".*", near in "[@~:%0-9.-]{0,24}") {
        for text in [text, near] {
            if let Ok(range) = Range::parse(&text, Suffixes::Percent) {
                prop_assert_eq!(Range::parse(&range.to_string(), Suffixes::Percent).unwrap(), range);
            }
        }
    }

    #[test]
    fn comparison_is_exact_on_both_sides_of_both_ends(start in number(), end in number(), inside in any::<bool>(), step in 1_i128..3) {
        let ((low_text, low), (high_text, high)) = if start.1 <= end.1 { (start, end) } else { (end, start) };
        let range = Range::parse(&format!("{}{low_text}:{high_text}", if inside { "@" } else { "" }), Suffixes::Percent).unwrap();
        for value in [low - step, low, low + step, high - step, high, high + step] {
            // the same value as a quotient of whole numbers, as it comes out of the kernel's counts
            let ratio = Ratio::new(i64::try_from(value).unwrap(), 1_000_000_000).unwrap();
            let within = low <= value && value <= high;
            let alert = range.alert(&Measure { value: ratio, percent: None }).is_some();
            prop_assert_eq!(alert, within == inside, "{} at {}e-9", range, value);
        }
    }

    #[test]
    fn usage_in_percent_and_in_entries_are_the_same_verdict(count in 0_u32..=u32::MAX, max in 1_u32..=u32::MAX, end in 0_i64..=100) {
        let usage = Ratio::new(i64::from(count) * 100, i64::from(max)).unwrap();
        let percent = Range::up_to(end);
        let entries = percent.in_units_of(Some(i64::from(max)), true).unwrap();
        let by_percent = percent.alert(&Measure { value: usage, percent: Some(usage) }).is_some();
        let by_entries = entries.alert(&Measure { value: Ratio::from_int(i64::from(count)), percent: None }).is_some();
        prop_assert_eq!(by_percent, by_entries);
        prop_assert_eq!(by_percent, u64::from(count) * 100 > u64::from(max) * end as u64);
    }
}
