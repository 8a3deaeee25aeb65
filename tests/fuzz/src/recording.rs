//! The recording: its text, then, behind a NUL, numbers for the check that looks something up in it.

use std::time::Duration;

use check_conntrack::model::dump::Source;
use check_conntrack::model::netns::NetnsId;
use check_conntrack::model::readings::Counts;
use check_conntrack::model::sealed::seal;
use check_conntrack::recording::format::MAX_BYTES;
use check_conntrack::recording::{
    Clock, Holding, Incident, MAX_ENDPOINTS, RecordedFinding, Recording, Sample, Survey,
};

/// The first word of the line that seals a part of a recording.
const SEAL: &str = "check ";

/// The text with the hashes that make it one of ours, so that what is made up gets past the first doubt.
pub(crate) fn resealed(text: &str) -> String {
    let mut whole = String::new();
    let mut part = String::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with(SEAL) {
            whole.push_str(&seal(std::mem::take(&mut part)));
        } else {
            part.push_str(line);
        }
    }
    whole + &part
}

/// A recording that was read is read again as it is printed, holds nothing that may not be printed, and can be asked
/// for everything without a panic.
pub fn recording(data: &[u8]) {
    let (text, numbers) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    for text in [text.to_owned(), resealed(text)] {
        let Ok(recording) = Recording::parse(&text) else {
            continue;
        };
        is_bounded(&recording, &text);
        let printed = recording.to_text();
        assert!(printed.len() <= MAX_BYTES, "{}", printed.len());
        let again = Recording::parse(&printed);
        assert_eq!(again.as_ref(), Ok(&recording), "{printed}");
        asked(&recording, numbers);
        continued(recording, numbers);
    }
}

/// A recording that was read is no larger than one that is kept, and has no character that a plugin host would interpret.
fn is_bounded(recording: &Recording, text: &str) {
    assert!(text.len() <= MAX_BYTES);
    let is_clean = |text: &String| {
        let forbidden = |c: char| !(' '..='~').contains(&c) || c == '|';
        assert!(!text.contains(forbidden), "{text:?}");
    };
    for survey in &recording.surveys {
        assert!(survey.endpoints.len() <= MAX_ENDPOINTS);
        let found = survey.finding.iter();
        let holders = found.clone().filter_map(|found| found.holder.as_ref());
        for holding in holders.chain(&survey.endpoints) {
            is_clean(&holding.name);
            holding.owner.iter().for_each(is_clean);
        }
        for found in found {
            is_clean(&found.sentence);
            let advice = [&found.why, &found.fix, &found.look];
            advice.into_iter().flatten().for_each(is_clean);
        }
        survey.lines.iter().for_each(is_clean);
    }
    recording
        .incidents
        .iter()
        .for_each(|one| is_clean(&one.path));
    recording.unread.iter().for_each(is_clean);
}

/// The numbers behind the text, then zeros.
fn numbers(bytes: &[u8]) -> impl FnMut() -> u32 + '_ {
    let mut chunks = bytes.chunks(4);
    move || {
        let mut number = [0; 4];
        let chunk = chunks.next().unwrap_or_default();
        number[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(number)
    }
}

/// Everything that a check looks up, at a moment after the last sample or at any other one.
fn asked(recording: &Recording, bytes: &[u8]) {
    let mut next = numbers(bytes);
    let last = recording.at().unwrap_or_default();
    let back = Duration::from_millis(u64::from(next()) * 10);
    let now = last.saturating_add(Duration::from_millis(u64::from(next()) * 10));
    let from = now.saturating_sub(back);
    let count = next();
    let fullest = recording.fullest_since(from).copied();
    let peak = recording.peak_since(from);
    assert_eq!(peak.as_ref().map(|peak| peak.sample), fullest);
    if let Some(peak) = peak {
        assert!(peak.sample.at >= from);
        if let Some(held) = peak.held {
            assert!(held.survey.at >= from);
            assert!(held.survey.finding.is_some());
        }
    }
    if let Some(growth) = recording.growth(count, now) {
        assert!(growth.entries > 0 && growth.entries <= u64::from(count));
        assert!(
            growth
                .most
                .is_none_or(|most| most.entries <= growth.entries)
        );
    }
}

/// A recorder that goes on with a recording keeps what it may keep of it.
fn continued(mut recording: Recording, bytes: &[u8]) {
    let mut next = numbers(bytes);
    let last = recording.at().unwrap_or_default();
    let at = last.saturating_add(Duration::from_millis(u64::from(next()) * 10));
    let sample = Sample {
        at,
        count: next(),
        max: Some(next()),
        increases: Some([u64::from(next()); 4]),
    };
    recording.add_sample(sample, Duration::from_secs(next().into()));
    let survey = Survey {
        at,
        count: sample.count,
        max: sample.max,
        ..example_survey(0)
    };
    recording.add_survey(survey);
    let text = recording.to_text();
    let read = Recording::parse(&text);
    let read = read.unwrap_or_else(|why| panic!("{why}: {text}"));
    assert_eq!(read.samples.last(), Some(&sample));
    assert_eq!(read.surveys.last(), recording.surveys.last());
}

fn example_survey(seconds: u64) -> Survey {
    let holding = Holding {
        entries: 970,
        name: "to 10.0.3.7:6379/tcp".to_owned(),
        owner: Some("sidekiq.service".to_owned()),
    };
    Survey {
        at: Duration::from_secs(seconds),
        count: 1000,
        max: Some(1000),
        source: Source::Netlink,
        read: 1000,
        total: 1000,
        finding: Some(RecordedFinding {
            rule: 8,
            sentence: "sidekiq.service to 10.0.3.7:6379/tcp holds 97% of the entries".to_owned(),
            holder: Some(Holding {
                name: "sidekiq.service to 10.0.3.7:6379/tcp".to_owned(),
                owner: None,
                ..holding.clone()
            }),
            why: Some("sidekiq.service opens a new connection for each request".to_owned()),
            fix: Some("give sidekiq.service a connection pool".to_owned()),
            look: Some("ss -tnp dst 10.0.3.7; true".to_owned()),
        }),
        endpoints: vec![holding],
        counts: Some(Counts::default()),
        lines: vec!["1. to 10.0.3.7:6379/tcp: 970 entries, 97.0%".to_owned()],
    }
}

/// A recording with everything in it, taken at these seconds since the host was started.
pub(crate) fn example(at: &[u64]) -> Recording {
    let seconds = Duration::from_secs;
    let sample = |at: u64| Sample {
        at: seconds(at),
        count: 1000,
        max: Some(1000),
        increases: Some([2110, 0, 87, 2110]),
    };
    let began = at.first().copied().unwrap_or_default();
    let until = at.last().copied().unwrap_or_default();
    Recording {
        spaced: Some(seconds(30)),
        unread: Some("no permission".to_owned()),
        clocks: vec![Clock {
            at: seconds(began),
            utc: seconds(1_795_835_560),
        }],
        samples: at.iter().copied().map(sample).collect(),
        surveys: at.iter().copied().map(example_survey).collect(),
        incidents: vec![Incident {
            began: seconds(began),
            until: seconds(until),
            path: "/var/lib/check_conntrack-recorder/incidents/20261128T025830Z.txt".to_owned(),
        }],
        ..Recording::new(
            "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7".to_owned(),
            vec![NetnsId::Cookie(1), NetnsId::Inode(4_026_531_840)],
            seconds(10),
        )
    }
}
