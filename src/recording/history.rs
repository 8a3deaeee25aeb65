//! What is kept of a recording, and what can be looked up in it.

use std::time::Duration;

use super::{Clock, Incident, KEPT, Recording, Sample, Survey};
use crate::model::netns::NetnsId;

/// Moments at which the time of day is noted. A clock that steps more often loses the oldest ones.
pub(super) const MAX_CLOCKS: usize = 32;
/// Incidents that are kept.
pub(super) const MAX_INCIDENTS: usize = 20;
/// The time of day may be off by less than this before it is noted again.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// Of the surveys of one such time the one at the highest usage is kept.
const SPAN: u64 = 60;
/// A survey that others are compared with is at least so old.
const REFERENCE_AGE: Duration = Duration::from_secs(600);

impl Recording {
    /// An empty recording.
    pub fn new(boot: String, namespaces: Vec<NetnsId>, period: Duration) -> Self {
        Self {
            boot,
            namespaces,
            period,
            spaced: None,
            unread: None,
            clocks: Vec::new(),
            samples: Vec::new(),
            surveys: Vec::new(),
            incidents: Vec::new(),
        }
    }

    /// Adds a sample that was taken at this time of day, and forgets what is too old by then.
    pub fn add_sample(&mut self, sample: Sample, utc: Duration) {
        let known = self.utc(sample.at);
        if known.is_none_or(|known| known.abs_diff(utc) >= CLOCK_STEP) {
            self.clocks.push(Clock { at: sample.at, utc });
        }
        self.samples.push(sample);
        self.forget(sample.at.saturating_sub(KEPT));
    }

    /// Adds a survey. The survey before it remains if no other one of its minute is at a higher usage.
    pub fn add_survey(&mut self, survey: Survey) {
        if let Some(last) = self.surveys.last_mut() {
            last.lines = Vec::new();
        }
        if let [.., before, last] = self.surveys.as_slice() {
            if before.at.as_secs() / SPAN == last.at.as_secs() / SPAN {
                let place = self.surveys.len() - 1;
                self.surveys
                    .remove(place - usize::from(!before.is_fuller_than(last)));
            }
        }
        self.surveys.push(survey);
    }

    /// Adds an incident, or the later end of the last one.
    pub fn add_incident(&mut self, incident: Incident) {
        match self.incidents.last_mut() {
            Some(last) if last.began == incident.began => *last = incident,
            _ => self.incidents.push(incident),
        }
        let too_many = self.incidents.len().saturating_sub(MAX_INCIDENTS);
        self.incidents.drain(..too_many);
    }

    /// Forgets what is older than this.
    fn forget(&mut self, oldest: Duration) {
        let old = self
            .samples
            .iter()
            .take_while(|sample| sample.at < oldest)
            .count();
        self.samples.drain(..old);
        self.surveys.retain(|survey| survey.at >= oldest);
        self.incidents.retain(|incident| incident.until >= oldest);
        // the last clock before the oldest sample tells its time of day
        let later = self.clocks.iter().skip(1);
        let unused = later.take_while(|clock| clock.at <= oldest).count();
        let too_many = self.clocks.len().saturating_sub(MAX_CLOCKS);
        self.clocks.drain(..unused.max(too_many));
    }

    /// The time of the last sample.
    pub fn at(&self) -> Option<Duration> {
        self.samples.last().map(|sample| sample.at)
    }

    /// The time of day at a moment, since 1970 in UTC.
    pub fn utc(&self, at: Duration) -> Option<Duration> {
        let before = self.clocks.iter().rev().find(|clock| clock.at <= at);
        let clock = before.or(self.clocks.first())?;
        (clock.utc + at).checked_sub(clock.at)
    }

    /// The first sample at the highest usage since this moment.
    pub fn fullest_since(&self, from: Duration) -> Option<&Sample> {
        let since = self.samples.iter().filter(|sample| sample.at >= from);
        since.reduce(|fullest, sample| {
            if sample.is_fuller_than(fullest) {
                sample
            } else {
                fullest
            }
        })
    }

    /// The survey that names who held the table at its fullest since this moment.
    pub fn survey_since(&self, from: Duration) -> Option<&Survey> {
        let names = |survey: &&Survey| survey.finding.is_some() && survey.at >= from;
        self.surveys.iter().filter(names).reduce(|fullest, survey| {
            if fullest.is_fuller_than(survey) {
                fullest
            } else {
                survey
            }
        })
    }

    /// The survey that shows how the table was before: the youngest one that is at least ten minutes old.
    pub fn reference(&self, now: Duration) -> Option<&Survey> {
        let old_enough = |survey: &&Survey| now.saturating_sub(survey.at) >= REFERENCE_AGE;
        self.surveys.iter().rev().find(old_enough)
    }
}

impl Survey {
    fn is_fuller_than(&self, other: &Self) -> bool {
        self.sample().is_fuller_than(&other.sample())
    }

    /// The numbers of its moment.
    pub fn sample(&self) -> Sample {
        Sample {
            at: self.at,
            count: self.count,
            max: self.max,
            increases: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::dump::Source;
    use crate::recording::{Holding, RecordedFinding};

    pub(in crate::recording) fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    pub(in crate::recording) fn sample(at: u64, count: u32) -> Sample {
        Sample {
            at: seconds(at),
            count,
            max: Some(1000),
            increases: Some([0; 4]),
        }
    }

    /// A survey in which this service holds all entries.
    pub(in crate::recording) fn survey(at: u64, count: u32, name: &str) -> Survey {
        let holding = Holding {
            entries: count.into(),
            name: name.to_owned(),
            owner: None,
        };
        Survey {
            at: seconds(at),
            count,
            max: Some(1000),
            source: Source::Netlink,
            read: count.into(),
            total: count.into(),
            finding: Some(RecordedFinding {
                rule: 8,
                sentence: format!("{name} holds 100% of the entries"),
                holder: Some(holding.clone()),
                ..RecordedFinding::default()
            }),
            endpoints: vec![holding],
            counts: None,
            lines: vec![format!("{name}: {count} entries")],
        }
    }

    pub(in crate::recording) fn empty() -> Recording {
        Recording::new(
            "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7".to_owned(),
            vec![NetnsId::Cookie(1), NetnsId::Inode(4_026_531_840)],
            seconds(10),
        )
    }

    #[test]
    fn samples_of_the_last_hour_are_kept() {
        let mut recording = empty();
        for n in 0..1000 {
            recording.add_sample(sample(n * 10, 1), seconds(1_000_000 + n * 10));
        }
        assert_eq!(recording.samples.len(), 361);
        assert_eq!(recording.samples[0].at, seconds(6390));
        assert_eq!(recording.at(), Some(seconds(9990)));
        assert_eq!(recording.clocks.len(), 1, "one clock tells them all");
        assert_eq!(recording.utc(seconds(6390)), Some(seconds(1_006_390)));
    }

    #[test]
    fn a_step_of_the_clock_changes_the_time_of_day_of_later_samples_only() {
        let mut recording = empty();
        recording.add_sample(sample(10, 1), seconds(1000));
        recording.add_sample(sample(20, 1), seconds(1010));
        // the clock was put back by five minutes
        recording.add_sample(sample(30, 1), seconds(720));
        recording.add_sample(sample(40, 1), seconds(730));
        let utc = |at| recording.utc(seconds(at)).map(|utc| utc.as_secs());
        assert_eq!(
            [10, 20, 30, 40].map(utc),
            [1000, 1010, 720, 730].map(Some),
            "{:?}",
            recording.clocks
        );
        assert_eq!(utc(0), Some(990), "before the first sample");
        assert_eq!(empty().utc(seconds(1)), None);
    }

    #[test]
    fn a_clock_that_steps_all_the_time_takes_no_more_room() {
        let mut recording = empty();
        for n in 0..400 {
            recording.add_sample(sample(n * 10, 1), seconds(n * 1000));
        }
        assert_eq!(recording.clocks.len(), MAX_CLOCKS);
        assert_eq!(recording.utc(seconds(3990)), Some(seconds(399_000)));
    }

    #[test]
    fn the_last_survey_is_kept_and_of_each_minute_before_it_the_one_at_the_highest_usage() {
        let mut recording = empty();
        for (at, count) in [
            (60, 100),
            (70, 300),
            (80, 200),
            (130, 50),
            (140, 40),
            (150, 45),
        ] {
            recording.add_survey(survey(at, count, "x"));
        }
        let kept: Vec<u64> = recording.surveys.iter().map(|s| s.at.as_secs()).collect();
        assert_eq!(kept, [70, 130, 150]);
        let with_lines = recording.surveys.iter().filter(|s| !s.lines.is_empty());
        assert_eq!(with_lines.count(), 1);
        assert!(!recording.surveys[2].lines.is_empty());
    }

    #[test]
    fn surveys_and_incidents_are_forgotten_after_an_hour() {
        let mut recording = empty();
        let incident = |began, until| Incident {
            began: seconds(began),
            until: seconds(until),
            path: "x".to_owned(),
        };
        recording.add_survey(survey(100, 100, "x"));
        recording.add_incident(incident(100, 100));
        recording.add_incident(incident(100, 130));
        recording.add_survey(survey(200, 100, "x"));
        recording.add_incident(incident(200, 200));
        recording.add_sample(sample(3731, 1), seconds(0));
        assert_eq!(recording.surveys.len(), 1);
        assert_eq!(recording.incidents, [incident(200, 200)]);
    }

    #[test]
    fn the_fullest_sample_is_the_first_at_the_highest_usage() {
        let mut recording = empty();
        for (at, count) in [(10, 990), (20, 500), (30, 1000), (40, 1000), (50, 100)] {
            recording.add_sample(sample(at, count), seconds(at));
        }
        let at = |from| {
            recording
                .fullest_since(seconds(from))
                .map(|s| s.at.as_secs())
        };
        assert_eq!(at(0), Some(30));
        assert_eq!(at(40), Some(40));
        assert_eq!(at(41), Some(50));
        assert_eq!(at(51), None);
        // by usage, not by entries
        let larger = Sample {
            max: Some(10_000),
            ..sample(60, 5000)
        };
        recording.add_sample(larger, seconds(60));
        assert_eq!(
            recording.fullest_since(seconds(0)).map(|s| s.at),
            Some(seconds(30))
        );
    }

    #[test]
    fn the_reference_is_the_youngest_survey_of_at_least_ten_minutes() {
        let mut recording = empty();
        for at in [0, 300, 600, 900] {
            recording.add_survey(survey(at, 100, "x"));
        }
        let at = |now| recording.reference(seconds(now)).map(|s| s.at.as_secs());
        assert_eq!(at(599), None);
        assert_eq!(at(600), Some(0));
        assert_eq!(at(1199), Some(300));
        assert_eq!(at(1500), Some(900));
    }
}
