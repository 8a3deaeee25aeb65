//! Reads the text form of a [`Recording`], whoever wrote it.
//!
//! Names and sentences lose what may not be printed.

use std::time::Duration;

use super::format::{
    HEADER, MAX_ADVICE, MAX_BYTES, MAX_LINE, MAX_LINES, MAX_NAMESPACES, MAX_TEXT, VERSION,
    source_name,
};
use super::history::{MAX_CLOCKS, MAX_INCIDENTS};
use super::{Clock, Holding, Incident, MAX_ENDPOINTS, RecordedFinding, Recording, Sample, Survey};
use crate::model::dump::Source;
use crate::model::netns::NetnsId;
use crate::model::no_recording::NoRecording;
use crate::model::readings::{Counts, Estimate, InUse};
use crate::model::sealed::{TextLines, fact, number, time, unseal};
use crate::model::text::{clean_command, clean_sentence};

/// The longest time between two samples, in seconds.
const MAX_PERIOD: u64 = 60;

impl Recording {
    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// [`NoRecording::OtherVersion`] or [`NoRecording::Damaged`].
    pub fn parse(text: &str) -> Result<Self, NoRecording> {
        let head = head(text).unwrap_or(text);
        let mut recording = Self::parse_head(head)?;
        recording.add_rest(text.get(head.len()..).unwrap_or_default())?;
        Ok(recording)
    }

    /// Reads the first part: everything but surveys, incidents, and samples that cannot be the highest of a later time.
    ///
    /// # Errors
    /// [`NoRecording::OtherVersion`] or [`NoRecording::Damaged`].
    pub fn parse_head(text: &str) -> Result<Self, NoRecording> {
        let header = text.split('\n').next().unwrap_or_default();
        match header.strip_prefix(HEADER) {
            Some(VERSION) if text.len() <= MAX_BYTES => {
                parse_head(text).ok_or(NoRecording::Damaged)
            }
            Some(other) if other != VERSION && number::<u32>(other).is_some() => {
                Err(NoRecording::OtherVersion)
            }
            _ => Err(NoRecording::Damaged),
        }
    }

    /// Adds the second part.
    ///
    /// # Errors
    /// [`NoRecording::Damaged`].
    pub fn add_rest(&mut self, text: &str) -> Result<(), NoRecording> {
        let rest = parse_rest(text).ok_or(NoRecording::Damaged)?;
        let last = self.at();
        let of_first_part = std::mem::replace(&mut self.samples, rest.samples);
        for sample in of_first_part {
            let place = self.samples.partition_point(|other| other.at <= sample.at);
            self.samples.insert(place, sample);
        }
        (self.surveys, self.incidents) = (rest.surveys, rest.incidents);
        let is_in_order = self.at() == last && self.is_in_order();
        is_in_order.then_some(()).ok_or(NoRecording::Damaged)
    }
}

/// The first part of a text, the last line of which is its hash; none if no line is one.
pub fn head(text: &str) -> Option<&str> {
    let facts = text.find("\ncheck ")? + 1;
    let check = text.get(facts..)?.find('\n')? + 1;
    text.get(..facts + check)
}

fn parse_head(text: &str) -> Option<Recording> {
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
    recording.samples = parse_samples(&mut lines)?;
    let is_whole = lines.next().is_none() && fits;
    (is_whole && recording.is_in_order()).then_some(recording)
}

/// The facts of the second part.
struct Rest {
    samples: Vec<Sample>,
    surveys: Vec<Survey>,
    incidents: Vec<Incident>,
}

fn parse_rest(text: &str) -> Option<Rest> {
    let mut lines = unseal(text)?;
    let mut rest = Rest {
        samples: parse_samples(&mut lines)?,
        surveys: Vec::new(),
        incidents: Vec::new(),
    };
    while let Some(survey) = fact(&mut lines, "survey") {
        rest.surveys.push(parse_survey(survey, &mut lines)?);
    }
    while let Some(incident) = fact(&mut lines, "incident") {
        rest.incidents.push(parse_incident(incident)?);
    }
    lines.next().is_none().then_some(rest)
}

fn parse_samples(lines: &mut TextLines<'_>) -> Option<Vec<Sample>> {
    let mut samples = Vec::new();
    while let Some(sample) = fact(lines, "sample") {
        samples.push(parse_sample(sample)?);
    }
    Some(samples)
}

impl Recording {
    /// True if everything stands in the order of time, and no more of it than the recorder keeps.
    fn is_in_order(&self) -> bool {
        self.clocks.is_sorted_by_key(|clock| clock.at)
            && self.samples.is_sorted_by_key(|sample| sample.at)
            && self.surveys.is_sorted_by_key(|survey| survey.at)
            && self.incidents.iter().all(|one| one.began <= one.until)
            && self.clocks.len() <= MAX_CLOCKS
            && self.incidents.len() <= MAX_INCIDENTS
            && self.at().is_some_and(|last| self.is_over_by(last))
    }

    /// True if nothing is later than this moment. The recorder takes a sample before it keeps anything else.
    fn is_over_by(&self, last: Duration) -> bool {
        self.clocks.iter().all(|clock| clock.at <= last)
            && self.surveys.iter().all(|survey| survey.at <= last)
            && self.incidents.iter().all(|one| one.until <= last)
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

/// Every check reads up to forty samples, so their numbers are read byte by byte: some 500 instructions less for each.
fn parse_sample(text: &str) -> Option<Sample> {
    let mut rest = text.as_bytes();
    let at = Duration::from_millis(next_number(&mut rest)?.checked_mul(10)?);
    let count = next_number(&mut rest)?.try_into().ok()?;
    let max = match rest {
        [b'-'] => {
            rest = &[];
            None
        }
        [b'-', b' ', after @ ..] if !after.is_empty() => {
            rest = after;
            None
        }
        _ => Some(next_number(&mut rest)?.try_into().ok()?),
    };
    let increases = match rest {
        [] => Some([0; 4]),
        b"?" => None,
        _ => {
            let mut moved = [0; 4];
            for increase in &mut moved {
                *increase = next_number(&mut rest)?;
            }
            rest.is_empty().then_some(())?;
            Some(moved)
        }
    };
    Some(Sample {
        at,
        count,
        max,
        increases,
    })
}

/// Takes a number and the blank that separates it from the next word.
fn next_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    let mut bytes = *rest;
    while let [digit @ b'0'..=b'9', after @ ..] = bytes {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        bytes = after;
    }
    let is_empty = bytes.len() == rest.len();
    *rest = match bytes {
        [b' ', after @ ..] if !after.is_empty() => after,
        [] => bytes,
        _ => return None,
    };
    (!is_empty).then_some(number)
}

fn parse_survey(text: &str, lines: &mut TextLines<'_>) -> Option<Survey> {
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
    let mut words = text.split(' ');
    let mut next = || words.next().and_then(number::<u32>);
    let mut counts = Counts {
        largest_endpoint: Estimate::exact(next()?),
        unreplied: next()?,
        evictable: next()?,
        ..Counts::default()
    };
    for class in &mut counts.classes {
        *class = next()?;
    }
    let mut next = || words.next().and_then(number::<u64>);
    let (used, of) = (next()?, next()?);
    counts.ports = Estimate::exact(InUse { used, of });
    // numbers without an interval are exact
    if let Some(at_least) = next() {
        let endpoint = &mut counts.largest_endpoint;
        endpoint.at_least = u32::try_from(at_least).ok()?;
        endpoint.at_most = u32::try_from(next()?).ok()?;
        counts.ports.at_least.used = next()?;
        counts.ports.at_most.used = next()?;
    }
    words.next().is_none().then_some(counts)
}

fn parse_finding(text: &str, lines: &mut TextLines<'_>) -> Option<RecordedFinding> {
    let (rule, sentence) = text.split_once(' ')?;
    let holder = match fact(lines, "holder") {
        Some(holder) => Some(parse_holding(holder, lines)?),
        None => None,
    };
    let mut advice = |name| fact(lines, name).and_then(|text| command(name, text));
    Some(RecordedFinding {
        rule: number(rule)?,
        sentence: clean_sentence(sentence, MAX_TEXT),
        holder,
        why: advice("why"),
        fix: advice("fix"),
        look: advice("look"),
    })
}

fn parse_holding(text: &str, lines: &mut TextLines<'_>) -> Option<Holding> {
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

/// A line of advice. One that is too long is left out: half a command does something else.
fn command(name: &str, text: &str) -> Option<String> {
    let command = clean_command(text, MAX_TEXT);
    let room = MAX_ADVICE.saturating_sub(name.len() + ": ".len());
    not_empty(command).filter(|command| command.len() <= room)
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

fn parse_source(name: &str) -> Option<Source> {
    let all = [Source::Netlink, Source::Procfs, Source::Sockets];
    all.into_iter().find(|source| source_name(*source) == name)
}
