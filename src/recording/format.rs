//! The text form of a [`Recording`]: what stands in the file that a check reads.
//!
//! One line for each fact, so that an operator can read it and a parser can doubt it:
//!
//! ```text
//! check_conntrack recording 1
//! boot 5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7
//! namespace cookie 1
//! every 10
//! clock 8640000 179583556000
//! sample 8640000 850 1000
//! sample 8641000 1000 1000 2110 0 87 2110
//! check 5c0ad5b3d8f9c1a2
//! survey 8641000 1000 1000 netlink 1000 1000
//! counts 970 0 790 206 764 0 0 0 0 0 0 30 0 0
//! finding 8 sidekiq.service to 10.0.3.7:6379/tcp holds 97% of the entries
//! holder 970 sidekiq.service to 10.0.3.7:6379/tcp
//! why sidekiq.service opens a new connection for each request
//! endpoint 970 to 10.0.3.7:6379/tcp
//! owner sidekiq.service
//! incident 8641000 8642000 /var/lib/check_conntrack/incidents/20261128T025830Z.txt
//! check 9f86d081884c7d65
//! ```
//!
//! Times are in hundredths of a second since the host was started, `clock` has the time of day beside one. `every` is the
//! number of seconds between two samples. A sample has the increase of each counter since the one before, nothing if no
//! counter moved, or `?` if that is not known. `-` is a limit that there is not. `counts` has the entries of the largest
//! endpoint, without a reply, that may be evicted, and of each class, then the source ports in use and how many there are.
//! The ends of the intervals of the largest endpoint and of the ports may follow; numbers without them are exact.
//!
//! A text has two parts, each of which ends with `check`, a hash of its lines. A check that finds nothing wrong reads the
//! first part only, for the time of the last sample and the highest usage since the previous run. So the first part has
//! those of the youngest samples that no later sample reaches. The second part begins with all other samples.
//!
//! Names and sentences lose what may not be printed when they are read, whoever wrote them.

use std::fmt::Write;

use super::{Holding, MAX_ENDPOINTS, RecordedFinding, Recording, Sample, Survey};
use crate::model::dump::Source;
use crate::model::sealed::{hundredths, seal};
use crate::model::text::{clean_command, clean_sentence};

/// A recording is never longer, in bytes.
pub const MAX_BYTES: usize = 256 << 10;

/// The first line but for the version.
pub(super) const HEADER: &str = "check_conntrack recording ";
/// The version of what follows the first line.
pub(super) const VERSION: &str = "1";
/// A sentence or name is never longer, in bytes.
pub(super) const MAX_TEXT: usize = 240;
/// A line of advice is never longer, its name included, in bytes.
pub(super) const MAX_ADVICE: usize = 200;
/// A line of the list of endpoints is never longer, in bytes.
pub(super) const MAX_LINE: usize = 400;
/// A survey has at most so many lines of the list.
pub(super) const MAX_LINES: usize = MAX_ENDPOINTS + 2;
/// The first part covers so many samples: those of five minutes between two checks, and some more.
const RECENT: usize = 40;
/// A recording has at most so many numbers of its namespace.
pub(super) const MAX_NAMESPACES: usize = 4;

impl Recording {
    /// The text, which [`Self::parse`] reads. If it would be too long the oldest samples are left out, then the oldest
    /// surveys.
    pub fn to_text(&self) -> String {
        let mut samples = self.samples.as_slice();
        let mut surveys = self.surveys.as_slice();
        loop {
            let older = samples.len().saturating_sub(RECENT);
            let (older, recent) = samples.split_at(older);
            let (highest, others) = divide(recent);
            let text = seal(self.head(&highest)) + &seal(self.rest(older, &others, surveys));
            if text.len() <= MAX_BYTES || (samples.is_empty() && surveys.is_empty()) {
                return text;
            }
            if samples.len() > surveys.len() {
                samples = samples.get(samples.len().div_ceil(4)..).unwrap_or_default();
            } else {
                surveys = surveys.get(surveys.len().div_ceil(4)..).unwrap_or_default();
            }
        }
    }

    /// The first part: what a check needs on every run.
    fn head(&self, highest: &[&Sample]) -> String {
        let mut text = format!(
            "{HEADER}{VERSION}\nboot {}\n",
            clean_sentence(&self.boot, 64)
        );
        for namespace in self.namespaces.iter().take(MAX_NAMESPACES) {
            line(&mut text, "namespace", &namespace.to_string());
        }
        line(&mut text, "every", &self.period.as_secs().to_string());
        if let Some(spaced) = self.spaced {
            line(&mut text, "spaced", &hundredths(spaced).to_string());
        }
        if let Some(why) = &self.unread {
            line(&mut text, "unread", &clean_sentence(why, MAX_TEXT));
        }
        for clock in &self.clocks {
            let (at, utc) = (hundredths(clock.at), hundredths(clock.utc));
            let _ = writeln!(text, "clock {at} {utc}");
        }
        for sample in highest {
            write_sample(&mut text, sample);
        }
        text
    }

    /// The second part.
    fn rest(&self, older: &[Sample], others: &[&Sample], surveys: &[Survey]) -> String {
        let mut text = String::new();
        for sample in older.iter().chain(others.iter().copied()) {
            write_sample(&mut text, sample);
        }
        for survey in surveys {
            write_survey(&mut text, survey);
        }
        for incident in &self.incidents {
            let (began, until) = (hundredths(incident.began), hundredths(incident.until));
            let path = clean_sentence(&incident.path, MAX_TEXT);
            let _ = writeln!(text, "incident {began} {until} {path}");
        }
        text
    }
}

/// Divides samples into those that no later sample reaches, and the others. The highest usage since any moment is found
/// among those that no later sample reaches. The first sample belongs to them too, as the beginning of the time that they
/// cover. Samples of one moment stay together.
fn divide(samples: &[Sample]) -> (Vec<&Sample>, Vec<&Sample>) {
    let begin = samples.first().map(|sample| sample.at);
    samples.iter().partition(|sample| {
        let since = samples.iter().filter(|other| other.at >= sample.at);
        let last_fullest = since.reduce(|fullest, later| {
            if fullest.is_fuller_than(later) {
                fullest
            } else {
                later
            }
        });
        begin == Some(sample.at) || last_fullest.is_some_and(|fullest| fullest.at == sample.at)
    })
}

/// Adds a line unless there is nothing to say.
fn line(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(text, "{name} {value}");
    }
}

fn limit(max: Option<u32>) -> String {
    max.map_or_else(|| "-".to_owned(), |max| max.to_string())
}

fn write_sample(text: &mut String, sample: &Sample) {
    let (at, max) = (hundredths(sample.at), limit(sample.max));
    let _ = write!(text, "sample {at} {} {max}", sample.count);
    let _ = match sample.increases {
        None => writeln!(text, " ?"),
        Some([0, 0, 0, 0]) => writeln!(text),
        Some([drop, chains, early, failed]) => {
            writeln!(text, " {drop} {chains} {early} {failed}")
        }
    };
}

fn write_survey(text: &mut String, survey: &Survey) {
    let Survey {
        at,
        count,
        max,
        source,
        read,
        total,
        ..
    } = survey;
    let _ = writeln!(
        text,
        "survey {} {count} {} {} {read} {total}",
        hundredths(*at),
        limit(*max),
        source_name(*source)
    );
    if let Some(counts) = &survey.counts {
        let (endpoint, ports) = (counts.largest_endpoint, counts.ports);
        let first = [endpoint.value, counts.unreplied, counts.evictable];
        let all = first.iter().chain(&counts.classes).copied().map(u64::from);
        let ports = [
            ports.value.used,
            ports.value.of,
            u64::from(endpoint.at_least),
            u64::from(endpoint.at_most),
            ports.at_least.used,
            ports.at_most.used,
        ];
        let numbers: Vec<String> = all.chain(ports).map(|n| n.to_string()).collect();
        line(text, "counts", &numbers.join(" "));
    }
    if let Some(found) = &survey.finding {
        write_finding(text, found);
    }
    for holding in survey.endpoints.iter().take(MAX_ENDPOINTS) {
        write_holding(text, "endpoint", holding);
    }
    for shown in survey.lines.iter().take(MAX_LINES) {
        line(text, "line", &clean_sentence(shown, MAX_LINE));
    }
}

fn write_finding(text: &mut String, found: &RecordedFinding) {
    let sentence = clean_sentence(&found.sentence, MAX_TEXT);
    let _ = writeln!(text, "finding {} {sentence}", found.rule);
    if let Some(holder) = &found.holder {
        write_holding(text, "holder", holder);
    }
    let advice = [
        ("why", &found.why),
        ("fix", &found.fix),
        ("look", &found.look),
    ];
    for (name, advice) in advice {
        if let Some(advice) = advice {
            line(text, name, &clean_command(advice, MAX_TEXT));
        }
    }
}

fn write_holding(text: &mut String, name: &str, holding: &Holding) {
    let called = clean_sentence(&holding.name, MAX_TEXT);
    let _ = writeln!(text, "{name} {} {called}", holding.entries);
    if let Some(owner) = &holding.owner {
        line(text, "owner", &clean_sentence(owner, MAX_TEXT));
    }
}

pub(super) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Netlink => "netlink",
        Source::Procfs => "procfs",
        Source::Capture => "capture",
        Source::Sockets => "sockets",
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{empty, sample, seconds, survey};
    use super::*;
    use crate::model::no_recording::NoRecording;
    use crate::model::readings::Counts;
    use proptest::prelude::*;
    use std::time::Duration;

    /// A recording of an hour in which a sample is taken every second, every minute has a survey, and every text is as long
    /// as it may be.
    fn largest() -> Recording {
        let long = |n: usize| "x".repeat(n);
        let holding = Holding {
            entries: u64::MAX,
            name: long(MAX_TEXT),
            owner: Some(long(MAX_TEXT)),
        };
        let found = RecordedFinding {
            rule: 16,
            sentence: long(MAX_TEXT),
            holder: Some(holding.clone()),
            why: Some(long(MAX_ADVICE - "why: ".len())),
            fix: Some(long(MAX_ADVICE - "fix: ".len())),
            look: Some(long(MAX_ADVICE - "look: ".len())),
        };
        let mut recording = empty();
        for n in 0..3600 {
            let full = Sample {
                count: u32::MAX,
                max: Some(u32::MAX),
                increases: Some([u64::MAX; 4]),
                ..sample(9_999_999 + n, 0)
            };
            recording.add_sample(full, seconds(1_795_835_560 + n));
        }
        for n in 0..60 {
            recording.add_survey(Survey {
                finding: Some(found.clone()),
                endpoints: vec![holding.clone(); MAX_ENDPOINTS],
                lines: vec![long(MAX_LINE); MAX_LINES],
                ..survey(9_999_999 + n * 60, u32::MAX, "x")
            });
        }
        recording
    }

    #[test]
    fn a_recording_is_never_longer_than_its_limit() {
        let text = largest().to_text();
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert!(text.len() > MAX_BYTES / 2, "{}", text.len());
        let read = Recording::parse(&text).unwrap();
        assert_eq!(read.surveys.last(), largest().surveys.last());
        assert_eq!(read.samples.last(), largest().samples.last());
    }

    #[test]
    fn an_ordinary_hour_of_samples_every_second_fits() {
        let mut recording = empty();
        for n in 0..3601 {
            recording.add_sample(sample(999_999 + n, 262_144), seconds(n));
        }
        for n in 0..60 {
            recording.add_survey(survey(999_999 + n * 60, 262_144, "sidekiq.service"));
        }
        let read = Recording::parse(&recording.to_text()).unwrap();
        assert_eq!(read, recording);
    }

    #[test]
    fn names_that_somebody_else_chose_lose_what_a_host_would_interpret() {
        let mut recording = empty();
        recording.add_sample(sample(1, 1), seconds(1));
        let mut hostile = survey(1, 1, "a\nsample 1 1 1\u{1b}[31m|`rm`");
        if let Some(found) = &mut hostile.finding {
            found.why = Some("$(reboot) | x\ncheck 0".to_owned());
        }
        recording.add_survey(hostile);
        let read = Recording::parse(&recording.to_text()).unwrap();
        let found = read.surveys[0].finding.as_ref().unwrap();
        assert_eq!(found.holder.as_ref().unwrap().name, "a sample 1 1 1 [31mrm");
        assert_eq!(found.why.as_deref(), Some("(reboot) x check 0"));
        // also if the text was not written by this program
        let text = recording.to_text();
        let (first, second) = text.split_at(super::super::head(&text).unwrap().len());
        let (facts, _) = second.split_at(second.rfind("check ").unwrap());
        let forged = facts.replace("[31mrm", "|evil=1;`id`");
        let read = Recording::parse(&(first.to_owned() + &seal(forged))).unwrap();
        let name = &read.surveys[0].endpoints[0].name;
        assert_eq!(name, "a sample 1 1 1 evil=1id");
    }

    #[test]
    fn a_recording_of_another_version_is_told_from_a_damaged_one() {
        for (text, why) in [
            ("check_conntrack recording 2\n", NoRecording::OtherVersion),
            ("check_conntrack recording 1\n", NoRecording::Damaged),
            ("check_conntrack state 2\n", NoRecording::Damaged),
            ("", NoRecording::Damaged),
        ] {
            assert_eq!(Recording::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_sample_is_read_only_as_it_is_written() {
        let with = |sample: &str| {
            let facts = format!("check_conntrack recording 1\nboot 1\nevery 1\n{sample}\n");
            Recording::parse(&(seal(facts) + &seal(String::new())))
        };
        let read = with("sample 8640000 7 - 1 2 3 18446744073709551615").unwrap();
        let expected = Sample {
            at: seconds(86_400),
            count: 7,
            max: None,
            increases: Some([1, 2, 3, u64::MAX]),
        };
        assert_eq!(read.samples, [expected]);
        assert_eq!(with("sample 1 1 1 ?").unwrap().samples[0].increases, None);
        for other in [
            "sample 1 1",
            "sample 1 1 ",
            "sample 1 1 - ",
            "sample 1 1 -5 1 1 1 1",
            "sample 1  1 1",
            "sample 1 1 1 ",
            "sample 1 1 1 1 1 1",
            "sample 1 1 1 1 1 1 1 1",
            "sample 1 1 1 ? 1",
            "sample +1 1 1",
            "sample 1 4294967296 1",
            "sample 1 1 1 1 1 1 18446744073709551616",
            "sample 18446744073709551615 1 1",
        ] {
            assert_eq!(with(other), Err(NoRecording::Damaged), "{other:?}");
        }
    }

    #[test]
    fn what_stands_out_of_order_is_damaged() {
        let mut recording = empty();
        for at in [1, 2, 3] {
            recording.add_sample(sample(at, 1), seconds(at));
        }
        assert!(Recording::parse(&recording.to_text()).is_ok());
        recording.samples.swap(0, 2);
        assert_eq!(
            Recording::parse(&recording.to_text()),
            Err(NoRecording::Damaged)
        );
        recording.samples.clear();
        let nothing = Recording::parse(&recording.to_text());
        assert_eq!(nothing, Err(NoRecording::Damaged));
        let mut eternal = empty();
        eternal.period = seconds(61);
        eternal.add_sample(sample(1, 1), seconds(1));
        assert_eq!(
            Recording::parse(&eternal.to_text()),
            Err(NoRecording::Damaged)
        );
    }

    #[test]
    fn a_constant_table_has_its_first_and_its_last_sample_in_the_first_part() {
        let mut recording = empty();
        for at in 0..60 {
            recording.add_sample(sample(at, if at == 30 { 8 } else { 7 }), seconds(at));
        }
        let text = recording.to_text();
        let first = Recording::parse_head(super::super::head(&text).unwrap()).unwrap();
        let at: Vec<u64> = first.samples.iter().map(|s| s.at.as_secs()).collect();
        assert_eq!(at, [20, 30, 59]);
        assert_eq!(Recording::parse(&text).unwrap().samples, recording.samples);
    }

    #[test]
    fn a_second_part_whose_samples_are_out_of_order_or_later_than_the_last_one_is_damaged() {
        let mut recording = empty();
        for at in 1..6 {
            recording.add_sample(sample(at, 7), seconds(at));
        }
        let text = recording.to_text();
        let (first, second) = text.split_at(super::super::head(&text).unwrap().len());
        let facts = &second[..second.rfind("check ").unwrap()];
        let with = |facts: String| Recording::parse(&(first.to_owned() + &seal(facts)));
        assert!(with(facts.to_owned()).is_ok());
        for (was, is) in [
            ("sample 300 ", "sample 100 "),
            ("sample 400 ", "sample 600 "),
        ] {
            assert!(facts.contains(was), "{facts}");
            let other = facts.replacen(was, is, 1);
            assert_eq!(with(other), Err(NoRecording::Damaged), "{is}");
        }
    }

    prop_compose! {
        fn samples()(
            step in 0..1000_u64,
            count in any::<u32>(),
            max in any::<Option<u32>>(),
            increases in any::<Option<[u64; 4]>>(),
        ) -> (u64, Sample) {
            (step, Sample { at: Duration::ZERO, count, max, increases })
        }
    }

    prop_compose! {
        fn holdings()(entries in any::<u64>(), name in ".{1,300}", owner in prop::option::of(".{1,99}")) -> Holding {
            Holding { entries, name, owner }
        }
    }

    prop_compose! {
        fn surveys()(
            step in 0..100_000_u64,
            holding in holdings(),
            endpoints in prop::collection::vec(holdings(), 0..4),
            rule in any::<u8>(),
            advice in prop::array::uniform3(prop::option::of(".{1,300}")),
            classes in any::<[u32; 11]>(),
            lines in prop::collection::vec(".{1,500}", 0..3),
        ) -> (u64, Survey) {
            let [why, fix, look] = advice;
            let found = RecordedFinding { rule, sentence: holding.name.clone(), holder: Some(holding), why, fix, look };
            let counts = Counts { classes, ..Counts::default() };
            let finding = Some(found);
            (step, Survey { finding, endpoints, counts: Some(counts), lines, ..survey(0, 7, "x") })
        }
    }

    prop_compose! {
        fn recordings()(
            samples in prop::collection::vec(samples(), 1..9),
            surveys in prop::collection::vec(surveys(), 0..4),
            spaced in prop::option::of(0..1_000_000_u64),
            unread in prop::option::of(".{1,300}"),
        ) -> Recording {
            let mut recording = Recording { spaced: spaced.map(seconds), unread, ..empty() };
            let mut at = 0;
            for (step, sample) in samples {
                at += step;
                recording.add_sample(Sample { at: seconds(at), ..sample }, seconds(at));
            }
            // looks follow a sample
            let mut left = at;
            at = 0;
            for (step, survey) in surveys {
                let step = step.min(left);
                left -= step;
                at += step;
                recording.surveys.push(Survey { at: seconds(at), ..survey });
            }
            recording
        }
    }

    proptest! {
        #[test]
        fn a_recording_that_is_written_is_read_again(recording in recordings()) {
            // names are cleaned when they are written, and cleaning them again changes nothing
            let read = Recording::parse(&recording.to_text());
            prop_assert!(read.is_ok(), "{}", recording.to_text());
            let read = read.unwrap();
            prop_assert_eq!(&read.samples, &recording.samples);
            prop_assert_eq!(Recording::parse(&read.to_text()), Ok(read));
        }

        #[test]
        fn the_first_part_has_the_highest_usage_since_each_moment_that_it_covers(
            counts in prop::collection::vec((0..9_u32, 0..3_u64), 1..60),
            limits in prop::collection::vec(1..4_u32, 60),
            is_limited in any::<bool>(),
        ) {
            let mut recording = empty();
            let mut at = 1000;
            for ((count, step), max) in counts.into_iter().zip(limits) {
                at += step;
                let max = is_limited.then_some(max);
                recording.add_sample(Sample { max, ..sample(at, count) }, seconds(at));
            }
            let text = recording.to_text();
            let first = Recording::parse_head(super::super::head(&text).unwrap()).unwrap();
            prop_assert_eq!(first.at(), recording.at());
            let youngest = recording.samples.len().saturating_sub(RECENT);
            let covered = &recording.samples[youngest..];
            prop_assert_eq!(first.samples[0].at, covered[0].at);
            // an older sample may be of the same moment as the first one
            for Sample { at, .. } in covered.iter().filter(|sample| sample.at > covered[0].at) {
                let [of_first, of_all] = [&first, &recording].map(|all| all.fullest_since(*at).unwrap());
                prop_assert!(!of_all.is_fuller_than(of_first), "{:?} since {:?} in {}", of_all, at, text);
            }
            prop_assert_eq!(Recording::parse(&text).unwrap().samples, recording.samples);
        }

        #[test]
        fn a_changed_byte_makes_a_recording_unreadable(recording in recordings(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let whole = recording.to_text();
            let mut bytes = whole.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(text == whole || Recording::parse(&text).is_err(), "{}", text);
            }
        }

        #[test]
        fn anything_may_stand_in_a_recording(
            head in "(check_conntrack recording 1\n)?(boot [0-9a-f]{1,4}\n)?((namespace|namespace cookie|every|spaced|unread|clock|sample) ?[0-9 -]{0,9}\n){0,9}",
            rest in "((sample|survey|counts|finding|holder|owner|why|endpoint|line|incident) ?[0-9 -]{0,9}\n){0,9}",
        ) {
            for text in [head.clone() + &rest, seal(head) + &seal(rest)] {
                if let Ok(recording) = Recording::parse(&text) {
                    let again = Recording::parse(&recording.to_text());
                    prop_assert_eq!(again, Ok(recording));
                }
            }
        }

        #[test]
        fn every_text_of_a_recording_can_be_printed(recording in recordings()) {
            let text = recording.to_text();
            prop_assert!(text.bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b)));
        }
    }
}
