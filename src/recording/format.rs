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
//! endpoint, without a reply, that may be evicted, and of each class. `check` is a hash of all lines before it.
//!
//! Names and sentences lose what may not be printed when they are read, whoever wrote them.

use std::fmt::Write;
use std::time::Duration;

use super::history::{MAX_CLOCKS, MAX_INCIDENTS};
use super::{Clock, Found, Holding, Incident, MAX_ENDPOINTS, Recording, Sample, Survey};
use crate::model::dump::Source;
use crate::model::error::NoRecording;
use crate::model::netns::NetnsId;
use crate::model::readings::Counts;
use crate::model::sealed::{Lines, fact, hundredths, number, seal, time, unseal};
use crate::model::text::{clean_command, clean_sentence};

/// A recording is never longer, in bytes.
pub const MAX_BYTES: usize = 256 << 10;

/// The first line but for the version.
const HEADER: &str = "check_conntrack recording ";
/// The version of what follows the first line.
const VERSION: &str = "1";
/// A sentence or name is never longer, in bytes.
const MAX_TEXT: usize = 240;
/// A line of the list of endpoints is never longer, in bytes.
const MAX_LINE: usize = 400;
/// A survey has at most so many lines of the list.
const MAX_LINES: usize = MAX_ENDPOINTS + 2;
/// The longest time between two samples, in seconds.
const MAX_PERIOD: u64 = 60;
/// A recording has at most so many numbers of its namespace.
const MAX_NAMESPACES: usize = 4;

impl Recording {
    /// The text, which [`Self::parse`] reads. If it would be too long the oldest samples are left out, then the oldest
    /// surveys.
    pub fn to_text(&self) -> String {
        let mut samples = self.samples.as_slice();
        let mut surveys = self.surveys.as_slice();
        loop {
            let text = seal(self.facts(samples, surveys));
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

    fn facts(&self, samples: &[Sample], surveys: &[Survey]) -> String {
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
        for sample in samples {
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

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// [`NoRecording::OtherVersion`] or [`NoRecording::Damaged`].
    pub fn parse(text: &str) -> Result<Self, NoRecording> {
        let header = text.split('\n').next().unwrap_or_default();
        match header.strip_prefix(HEADER) {
            Some(VERSION) if text.len() <= MAX_BYTES => {
                parse_facts(text).ok_or(NoRecording::Damaged)
            }
            Some(other) if other != VERSION && number::<u32>(other).is_some() => {
                Err(NoRecording::OtherVersion)
            }
            _ => Err(NoRecording::Damaged),
        }
    }
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
        let first = [counts.largest_endpoint, counts.unreplied, counts.evictable];
        let all = first.iter().chain(&counts.classes);
        let numbers: Vec<String> = all.map(u32::to_string).collect();
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

fn write_finding(text: &mut String, found: &Found) {
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

// ---- reading --------------------------------------------------------------------------------------------------------

fn parse_facts(text: &str) -> Option<Recording> {
    let mut lines = unseal(text)?;
    lines.next()?;
    let boot = clean_sentence(fact(&mut lines, "boot")?, 64);
    let mut namespaces = Vec::new();
    while let Some(namespace) = fact(&mut lines, "namespace") {
        namespaces.push(NetnsId::parse(namespace)?);
    }
    let period = number::<u64>(fact(&mut lines, "every")?)?;
    let fits = (1..=MAX_PERIOD).contains(&period) && namespaces.len() <= MAX_NAMESPACES;
    let spaced = match fact(&mut lines, "spaced") {
        Some(spaced) => Some(time(spaced)?),
        None => None,
    };
    let mut recording = Recording {
        spaced,
        unread: fact(&mut lines, "unread").and_then(sentence),
        ..Recording::new(boot, namespaces, Duration::from_secs(period))
    };
    while let Some(clock) = fact(&mut lines, "clock") {
        let [at, utc] = words(clock)?;
        recording.clocks.push(Clock {
            at: time(at)?,
            utc: time(utc)?,
        });
    }
    while let Some(sample) = fact(&mut lines, "sample") {
        recording.samples.push(parse_sample(sample)?);
    }
    while let Some(survey) = fact(&mut lines, "survey") {
        recording.surveys.push(parse_survey(survey, &mut lines)?);
    }
    while let Some(incident) = fact(&mut lines, "incident") {
        recording.incidents.push(parse_incident(incident)?);
    }
    let is_whole = lines.next().is_none() && fits;
    (is_whole && recording.is_in_order()).then_some(recording)
}

impl Recording {
    /// Whether everything stands in the order of time, and no more of it than the recorder keeps.
    fn is_in_order(&self) -> bool {
        self.clocks.is_sorted_by_key(|clock| clock.at)
            && self.samples.is_sorted_by_key(|sample| sample.at)
            && self.surveys.is_sorted_by_key(|survey| survey.at)
            && self.incidents.iter().all(|one| one.began <= one.until)
            && self.clocks.len() <= MAX_CLOCKS
            && self.incidents.len() <= MAX_INCIDENTS
            && !self.samples.is_empty()
    }
}

/// Exactly so many words.
fn words<const N: usize>(text: &str) -> Option<[&str; N]> {
    let mut all = [""; N];
    let mut words = text.split(' ');
    for word in &mut all {
        *word = words.next()?;
    }
    words.next().is_none().then_some(all)
}

fn parse_limit(text: &str) -> Option<Option<u32>> {
    match text {
        "-" => Some(None),
        max => number(max).map(Some),
    }
}

fn parse_sample(text: &str) -> Option<Sample> {
    let mut parts = text.splitn(4, ' ');
    let (at, count, max) = (parts.next()?, parts.next()?, parts.next()?);
    let increases = match parts.next() {
        None => Some([0; 4]),
        Some("?") => None,
        Some(moved) => {
            let [drop, chains, early, failed] = words(moved)?.map(number);
            Some([drop?, chains?, early?, failed?])
        }
    };
    Some(Sample {
        at: time(at)?,
        count: number(count)?,
        max: parse_limit(max)?,
        increases,
    })
}

fn parse_survey(text: &str, lines: &mut Lines<'_>) -> Option<Survey> {
    let [at, count, max, source, read, total] = words(text)?;
    let counts = match fact(lines, "counts") {
        Some(counts) => Some(parse_counts(counts)?),
        None => None,
    };
    let finding = match fact(lines, "finding") {
        Some(found) => Some(parse_finding(found, lines)?),
        None => None,
    };
    let mut survey = Survey {
        at: time(at)?,
        count: number(count)?,
        max: parse_limit(max)?,
        source: parse_source(source)?,
        read: number(read)?,
        total: number(total)?,
        finding,
        endpoints: Vec::new(),
        counts,
        lines: Vec::new(),
    };
    while let Some(holding) = fact(lines, "endpoint") {
        survey.endpoints.push(parse_holding(holding, lines)?);
    }
    while let Some(shown) = fact(lines, "line") {
        survey
            .lines
            .extend(not_empty(clean_sentence(shown, MAX_LINE)));
    }
    let fits = survey.endpoints.len() <= MAX_ENDPOINTS && survey.lines.len() <= MAX_LINES;
    fits.then_some(survey)
}

fn parse_counts(text: &str) -> Option<Counts> {
    let mut numbers = text.split(' ').map(number::<u32>);
    let mut next = || numbers.next().flatten();
    let mut counts = Counts {
        largest_endpoint: next()?,
        unreplied: next()?,
        evictable: next()?,
        ..Counts::default()
    };
    for class in &mut counts.classes {
        *class = next()?;
    }
    numbers.next().is_none().then_some(counts)
}

fn parse_finding(text: &str, lines: &mut Lines<'_>) -> Option<Found> {
    let (rule, sentence) = text.split_once(' ')?;
    let holder = match fact(lines, "holder") {
        Some(holder) => Some(parse_holding(holder, lines)?),
        None => None,
    };
    let mut advice = |name| fact(lines, name).and_then(command);
    Some(Found {
        rule: number(rule)?,
        sentence: clean_sentence(sentence, MAX_TEXT),
        holder,
        why: advice("why"),
        fix: advice("fix"),
        look: advice("look"),
    })
}

fn parse_holding(text: &str, lines: &mut Lines<'_>) -> Option<Holding> {
    let (entries, name) = text.split_once(' ')?;
    Some(Holding {
        entries: number(entries)?,
        name: clean_sentence(name, MAX_TEXT),
        owner: fact(lines, "owner").and_then(sentence),
    })
}

fn sentence(text: &str) -> Option<String> {
    not_empty(clean_sentence(text, MAX_TEXT))
}

fn command(text: &str) -> Option<String> {
    not_empty(clean_command(text, MAX_TEXT))
}

fn not_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn parse_incident(text: &str) -> Option<Incident> {
    let mut parts = text.splitn(3, ' ');
    Some(Incident {
        began: time(parts.next()?)?,
        until: time(parts.next()?)?,
        path: clean_sentence(parts.next()?, MAX_TEXT),
    })
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Netlink => "netlink",
        Source::Procfs => "procfs",
        Source::Capture => "capture",
        Source::Sockets => "sockets",
    }
}

fn parse_source(name: &str) -> Option<Source> {
    let all = [Source::Netlink, Source::Procfs, Source::Sockets];
    all.into_iter().find(|source| source_name(*source) == name)
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{empty, sample, seconds, survey};
    use super::*;
    use proptest::prelude::*;

    /// A recording of an hour in which a sample is taken every second, every minute has a survey, and every text is as long
    /// as it may be.
    fn largest() -> Recording {
        let long = |n: usize| "x".repeat(n);
        let holding = Holding {
            entries: u64::MAX,
            name: long(MAX_TEXT),
            owner: Some(long(MAX_TEXT)),
        };
        let found = Found {
            rule: 16,
            sentence: long(MAX_TEXT),
            holder: Some(holding.clone()),
            why: Some(long(MAX_TEXT)),
            fix: Some(long(MAX_TEXT)),
            look: Some(long(MAX_TEXT)),
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
        for n in 0..61 {
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
        let (facts, _) = text.split_at(text.rfind("check ").unwrap());
        let forged = facts.replace("[31mrm", "|evil=1;`id`");
        let read = Recording::parse(&seal(forged)).unwrap();
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
            let found = Found { rule, sentence: holding.name.clone(), holder: Some(holding), why, fix, look };
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
            for (step, survey) in surveys {
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
        fn anything_may_stand_in_a_recording(text in "(check_conntrack recording 1\n)?(boot [0-9a-f]{1,4}\n)?((namespace|namespace cookie|every|spaced|unread|clock|sample|survey|counts|finding|holder|owner|why|endpoint|line|incident) ?[0-9 -]{0,9}\n){0,12}") {
            for text in [text.clone(), seal(text)] {
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
