//! Phrases and lines from a recording: who held the table then, the peak since the previous run, and what grew.

use std::time::Duration;

use super::values::{ago, time_of_day, with_hint};
use crate::analysis::facts::Share;
use crate::judge::number::Ratio;
use crate::model::error::ReadError;
use crate::recording::story::{Growth, Peak};
use crate::recording::{RecordedFinding, Survey};

/// Everything that an answer says from a recording.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The finding of the last survey and its age, if this check has none of its own.
    pub found: Option<(RecordedFinding, Duration)>,
    /// The age of the entries that this check did not read itself.
    pub entries: Option<Duration>,
    /// The list of endpoints, ready to print.
    pub list: Vec<String>,
    /// The peak since the previous run, if it is over and was high.
    pub peak: Option<Peak>,
    /// True if the peak names who held the table: not beside a finding of now.
    pub names_holder: bool,
    /// What was added to the table.
    pub growth: Option<Growth>,
    /// The file about the last incident since the previous run.
    pub incident: Option<String>,
    /// The state of the recorder, for `-v`.
    pub about: Option<About>,
    /// Why the recording is not used.
    pub unused: Option<ReadError>,
    /// True if the command line names a recording.
    pub wanted: bool,
}

/// The state of the recorder.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The time between two samples.
    pub period: Duration,
    /// The age of the last sample.
    pub age: Duration,
    /// The age of the last survey.
    pub survey: Option<Duration>,
    /// The time between two surveys, if they were put off.
    pub spaced: Option<Duration>,
    /// Why the recorder could not read the table.
    pub unread: Option<String>,
}

impl Told {
    /// The finding of the last survey, for line 1.
    pub(super) fn found(&self) -> Vec<String> {
        let Some((found, age)) = &self.found else {
            return Vec::new();
        };
        vec![found.sentence.clone(), as_of(*age)]
    }

    /// `peaked at 100.0% at 02:58:30 UTC: sidekiq.service to 10.0.3.7:6379/tcp held 93%`.
    pub(super) fn peak(&self) -> Option<String> {
        let peak = self.peak.as_ref()?;
        let mut text = format!("peaked at {}", fullness(peak));
        if let Some(utc) = peak.utc {
            text.push_str(&format!(" at {}", time_of_day(utc)));
        }
        let held = peak.held.as_ref().filter(|_| self.names_holder);
        if let Some(holder) = held.and_then(|held| holder(&held.survey)) {
            text.push_str(&format!(": {holder}"));
        }
        Some(text)
    }

    /// What else line 1 has to say.
    pub(super) fn notes(&self) -> Vec<String> {
        let unused = self.unused.as_ref().filter(|_| self.wanted);
        let unused = unused.map(|why| format!("recording not used: {}", with_hint(why)));
        let entries = self.entries.filter(|_| self.found.is_none());
        unused
            .into_iter()
            .chain(entries.map(|age| format!("entries {}", as_of(age))))
            .collect()
    }

    /// The lines below the advice.
    pub(super) fn lines(&self, verbose: bool) -> Vec<String> {
        let mut lines: Vec<String> = self.growth.as_ref().map(grew).into_iter().collect();
        let incident = self.incident.as_ref();
        lines.extend(incident.map(|path| format!("the recorder wrote {path}")));
        lines.extend(self.list.iter().cloned());
        if !verbose {
            return lines;
        }
        lines.extend(self.about.as_ref().map(About::line));
        let unused = self.unused.as_ref().filter(|_| !self.wanted);
        lines.extend(unused.map(|why| format!("recording not used: {}", with_hint(why))));
        lines
    }
}

impl About {
    fn line(&self) -> String {
        let (period, age) = (self.period.as_secs(), ago(self.age));
        let mut parts = vec![format!("recorded every {period}s, last {age} ago")];
        parts.extend(
            self.survey
                .map(|age| format!("table last read {} ago", ago(age))),
        );
        parts.extend(
            self.spaced
                .map(|spaced| format!("table read only every {} to spare the CPU", ago(spaced))),
        );
        let unread = self.unread.as_ref();
        parts.extend(unread.map(|why| format!("the recorder cannot read the table: {why}")));
        parts.join(", ")
    }
}

fn as_of(age: Duration) -> String {
    format!("as of {} ago", ago(age))
}

/// `100.0%`, or the entries if there was no limit.
fn fullness(peak: &Peak) -> String {
    let usage = peak.sample.max.and_then(|max| {
        Ratio::new(
            i64::from(peak.sample.count).saturating_mul(100),
            i64::from(max),
        )
    });
    match usage {
        Some(usage) => format!("{}%", usage.truncated(1)),
        None => format!("{} entries", peak.sample.count),
    }
}

/// The holder of the table in a survey and its share: `sidekiq.service to 10.0.3.7:6379/tcp held 93%`.
fn holder(survey: &Survey) -> Option<String> {
    let found = survey.finding.as_ref()?;
    Some(match &found.holder {
        Some(holder) => {
            let share = Share::new(holder.entries, u64::from(survey.count).max(holder.entries));
            format!("{} held {share}", holder.with_owner())
        }
        None => found.sentence.clone(),
    })
}

/// `grew by 31000 in 12m, of which 29800 sidekiq.service to 10.0.3.7:6379/tcp`.
fn grew(growth: &Growth) -> String {
    let mut text = format!("grew by {} entries in {}", growth.entries, ago(growth.over));
    if let Some(most) = &growth.most {
        text.push_str(&format!(
            ", of which {} {}",
            most.entries,
            most.with_owner()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dump::Source;
    use crate::recording::story::PastHolders;
    use crate::recording::{Holding, Sample};

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn peak(max: Option<u32>, holder: Option<Holding>) -> Peak {
        let survey = Survey {
            at: seconds(100),
            count: 1000,
            max,
            source: Source::Netlink,
            read: 1000,
            total: 1000,
            finding: Some(RecordedFinding {
                rule: 8,
                sentence: "3 clients of :443/tcp hold 90% of the entries".to_owned(),
                holder,
                ..RecordedFinding::default()
            }),
            endpoints: Vec::new(),
            counts: None,
            lines: Vec::new(),
        };
        Peak {
            sample: Sample {
                at: seconds(100),
                count: 1000,
                max,
                increases: None,
            },
            utc: Some(seconds(1_795_835_560)),
            held: Some(PastHolders { utc: None, survey }),
            incident: None,
        }
    }

    #[test]
    fn a_peak_says_how_high_when_and_who() {
        let holder = Holding {
            entries: 934,
            name: "sidekiq.service to 10.0.3.7:6379/tcp".to_owned(),
            owner: None,
        };
        let told = Told {
            peak: Some(peak(Some(1000), Some(holder))),
            names_holder: true,
            ..Told::default()
        };
        let text = told.peak().unwrap();
        let expected =
            "peaked at 100.0% at 03:12:40 UTC: sidekiq.service to 10.0.3.7:6379/tcp held 93%";
        assert_eq!(text, expected);
        let beside_a_finding = Told {
            names_holder: false,
            ..told
        };
        let text = beside_a_finding.peak().unwrap();
        assert_eq!(text, "peaked at 100.0% at 03:12:40 UTC");
    }

    #[test]
    fn a_peak_without_a_limit_or_a_holder_says_what_is_known() {
        let told = Told {
            peak: Some(peak(None, None)),
            names_holder: true,
            ..Told::default()
        };
        let expected =
            "peaked at 1000 entries at 03:12:40 UTC: 3 clients of :443/tcp hold 90% of the entries";
        assert_eq!(told.peak().as_deref(), Some(expected));
    }

    #[test]
    fn a_recording_that_was_not_asked_for_is_mentioned_only_with_details() {
        let told = Told {
            unused: Some(ReadError::OnlySockets),
            ..Told::default()
        };
        assert_eq!(told.notes(), Vec::<String>::new());
        assert_eq!(told.lines(false), Vec::<String>::new());
        assert_eq!(told.lines(true).len(), 1);
        let wanted = Told {
            wanted: true,
            ..told
        };
        assert_eq!(wanted.notes().len(), 1);
        assert_eq!(wanted.lines(true), Vec::<String>::new());
    }
}
