//! The text form of a [`Baseline`]: what stands in a state file. Pure.
//!
//! One line for each fact, so that an operator can read it and a parser can doubt it:
//!
//! ```text
//! check_conntrack state 2
//! boot 5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7
//! walked 8640000
//! namespace cookie 1
//! at 8640000
//! count 850
//! max 1000
//! counters 8640000
//! processor 12 0 3 0
//! processor 0 0 0 0
//! at 8610000
//! count 800
//! max 1000
//! check 9f86d081884c7d65
//! ```
//!
//! Times are in hundredths of a second since the host was started. `walked` stands there if a run with `--netns all` saw
//! every namespace. `namespace` begins a history, `at` begins a run in it: the last one, then the one before it.
//! `max` stands there if there is a limit, `counters` if counters were read, and when. `processor` has a value for each
//! of [`crate::model::readings::Counter::ALL`], `-` for a counter that the kernel does not have. `check` is a hash of all
//! lines before it: a text that was cut short or changed is no baseline.

use std::fmt;

use crate::judge::history::{Baseline, Counters, NetnsHistory, NetnsSnapshot};
use crate::model::error::NoBaseline;
use crate::model::netns::NetnsId;
use crate::model::readings::Statistics;
use crate::model::sealed::{TextLines, fact, hundredths, number, seal, time, unseal};

/// The first line but for the version.
const HEADER: &str = "check_conntrack state ";
/// The version of what follows the first line.
const VERSION: &str = "2";

impl Baseline {
    /// Reads what [`fmt::Display`] wrote.
    ///
    /// # Errors
    /// [`NoBaseline::OtherVersion`] or [`NoBaseline::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, NoBaseline> {
        let header = text.split('\n').next().unwrap_or_default();
        match header.strip_prefix(HEADER) {
            Some(VERSION) => parse_facts(text).ok_or(NoBaseline::Unreadable),
            Some(other) if number::<u32>(other).is_some() => Err(NoBaseline::OtherVersion),
            _ => Err(NoBaseline::Unreadable),
        }
    }
}

fn parse_facts(text: &str) -> Option<Baseline> {
    let mut lines = unseal(text)?;
    lines.next()?;
    let boot = fact(&mut lines, "boot")?.to_owned();
    let walked = match fact(&mut lines, "walked") {
        Some(at) => Some(time(at)?),
        None => None,
    };
    let mut namespaces = Vec::new();
    while lines.peek().is_some() {
        namespaces.push(parse_history(&mut lines)?);
    }
    Some(Baseline {
        boot,
        walked,
        namespaces,
    })
}

fn parse_history(lines: &mut TextLines<'_>) -> Option<NetnsHistory> {
    let id = NetnsId::parse(fact(lines, "namespace")?)?;
    let last = parse_snapshot(lines)?;
    let has_another = lines.peek().is_some_and(|line| line.starts_with("at "));
    Some(NetnsHistory {
        id,
        last,
        before: if has_another {
            Some(parse_snapshot(lines)?)
        } else {
            None
        },
    })
}

fn parse_snapshot(lines: &mut TextLines<'_>) -> Option<NetnsSnapshot> {
    let at = time(fact(lines, "at")?)?;
    let count = number(fact(lines, "count")?)?;
    let max = match fact(lines, "max") {
        Some(max) => Some(number(max)?),
        None => None,
    };
    let counters = match fact(lines, "counters") {
        Some(at) => Some(Counters {
            at: time(at)?,
            statistics: parse_rows(lines)?,
        }),
        None => None,
    };
    Some(NetnsSnapshot {
        at,
        count,
        max,
        counters,
    })
}

fn parse_rows(lines: &mut TextLines<'_>) -> Option<Statistics> {
    let mut processors = Vec::new();
    while let Some(text) = fact(lines, "processor") {
        let mut row = [None; 4];
        let mut words = text.split(' ');
        for cell in &mut row {
            *cell = match words.next()? {
                "-" => None,
                n => Some(number(n)?),
            };
        }
        if words.next().is_some() {
            return None;
        }
        processors.push(row);
    }
    (!processors.is_empty()).then_some(Statistics { processors })
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = format!("{HEADER}{VERSION}\nboot {}\n", self.boot);
        if let Some(walked) = self.walked {
            facts.push_str(&format!("walked {}\n", hundredths(walked)));
        }
        for history in &self.namespaces {
            facts.push_str(&history.to_string());
        }
        f.write_str(&seal(facts))
    }
}

impl fmt::Display for NetnsHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "namespace {}", self.id)?;
        write!(f, "{}", self.last)?;
        self.before
            .as_ref()
            .map_or(Ok(()), |before| write!(f, "{before}"))
    }
}

impl fmt::Display for NetnsSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at {}\ncount {}", hundredths(self.at), self.count)?;
        if let Some(max) = self.max {
            writeln!(f, "max {max}")?;
        }
        let Some(counters) = &self.counters else {
            return Ok(());
        };
        writeln!(f, "counters {}", hundredths(counters.at))?;
        for row in &counters.statistics.processors {
            let cells = row.map(|cell| cell.map_or_else(|| "-".to_owned(), |n| n.to_string()));
            writeln!(f, "processor {}", cells.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn ids() -> impl Strategy<Value = NetnsId> {
        prop_oneof![
            any::<u64>().prop_map(NetnsId::Cookie),
            any::<u64>().prop_map(NetnsId::RouteSocket),
            any::<u64>().prop_map(NetnsId::Inode),
            any::<u64>().prop_map(NetnsId::Statistics),
            Just(NetnsId::Unknown),
        ]
    }

    fn times() -> impl Strategy<Value = Duration> {
        (0..u64::MAX / 10).prop_map(|hundredths| Duration::from_millis(hundredths * 10))
    }

    pub(in crate::judge) fn snapshots() -> impl Strategy<Value = NetnsSnapshot> {
        let rows = prop::collection::vec(any::<[Option<u32>; 4]>(), 1..4);
        let counters = prop::option::of((times(), rows));
        (times(), any::<u32>(), any::<Option<u32>>(), counters).prop_map(
            |(at, count, max, counters)| NetnsSnapshot {
                at,
                count,
                max,
                counters: counters.map(|(at, processors)| Counters {
                    at,
                    statistics: Statistics { processors },
                }),
            },
        )
    }

    prop_compose! {
        fn histories()(id in ids(), last in snapshots(), before in prop::option::of(snapshots())) -> NetnsHistory {
            NetnsHistory { id, last, before }
        }
    }

    prop_compose! {
        pub(in crate::judge) fn baselines()(
            boot in "[0-9a-f-]{36}",
            walked in prop::option::of(times()),
            namespaces in prop::collection::vec(histories(), 0..4),
        ) -> Baseline {
            Baseline { boot, walked, namespaces }
        }
    }

    proptest! {
        #[test]
        fn a_baseline_that_is_written_is_read_again(baseline in baselines()) {
            prop_assert_eq!(Baseline::parse(&baseline.to_string()), Ok(baseline));
        }

        #[test]
        fn a_baseline_that_is_read_is_written_again(text in "(check_conntrack state 2\n)?(boot [0-9a-f]{1,4}\n)?((walked|at|namespace|namespace cookie|count|max|counters|processor|check) ?[0-9 -]{0,9}\n){0,9}") {
            // the right hash at its end takes the parser past its first doubt
            for text in [text.clone(), seal(text)] {
                if let Ok(baseline) = Baseline::parse(&text) {
                    let again = Baseline::parse(&baseline.to_string());
                    prop_assert_eq!(again, Ok(baseline));
                }
            }
        }

        #[test]
        fn anything_may_stand_in_the_file(text in ".*\n?.*") {
            prop_assert!(Baseline::parse(&text).is_err());
            let line = format!("{text}\n");
            prop_assert!(Baseline::parse(&seal(line)).is_err());
        }

        #[test]
        fn a_changed_byte_makes_it_unreadable(baseline in baselines(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let whole = baseline.to_string();
            let mut bytes = whole.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(text == whole || Baseline::parse(&text).is_err(), "{text}");
            }
        }

        #[test]
        fn a_cut_makes_it_unreadable(baseline in baselines(), at in any::<prop::sample::Index>()) {
            let whole = baseline.to_string();
            let cut = &whole[..at.index(whole.len())];
            // only its last line break may be missing
            prop_assert!(Baseline::parse(cut).is_err() || cut.len() + 1 == whole.len());
        }
    }

    #[test]
    fn a_row_of_counters_has_exactly_four_values() {
        let of = |row: &str| {
            Baseline::parse(&seal(format!(
                "check_conntrack state 2\nboot 5f3e\nnamespace cookie 1\nat 1\ncount 2\ncounters 1\nprocessor {row}\n"
            )))
        };
        assert!(of("1 - 3 4").is_ok());
        for row in ["1 - 3", "1 - 3 4 5", "1 - 3 4 -", "1 - 3 4 "] {
            assert_eq!(of(row), Err(NoBaseline::Unreadable), "{row:?}");
        }
    }

    #[test]
    fn a_file_of_another_version_is_told_from_a_damaged_one() {
        for (text, why) in [
            (
                "check_conntrack state 1\nboot 5f3e\nat 1\n",
                NoBaseline::OtherVersion,
            ),
            ("check_conntrack state 30\n", NoBaseline::OtherVersion),
            ("check_conntrack state 2\n", NoBaseline::Unreadable),
            ("check_conntrack state \n", NoBaseline::Unreadable),
            ("", NoBaseline::Unreadable),
        ] {
            assert_eq!(Baseline::parse(text), Err(why), "{text:?}");
        }
    }
}
