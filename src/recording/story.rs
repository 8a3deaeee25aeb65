//! What a check tells of a recording: the peak since the previous run and who it was, and what grew.

use std::time::Duration;

use super::{Holding, MAX_ENDPOINTS, Recording, Sample, Survey};
use crate::model::readings::Usage;

/// A survey says who held the table at its peak if it saw at least this part of the peak. Percent.
const SEEN_AT_PEAK: u64 = 50;

/// A peak is over if the usage was higher by so many percentage points then.
const OVER: u128 = 5;

/// The highest usage of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peak {
    /// The sample.
    pub sample: Sample,
    /// Its time of day, since 1970 in UTC.
    pub utc: Option<Duration>,
    /// Who held the table then.
    pub held: Option<PastHolders>,
    /// The file about it.
    pub incident: Option<String>,
}

/// Who held the table at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastHolders {
    /// The time of day of the moment, since 1970 in UTC.
    pub utc: Option<Duration>,
    /// The survey of that moment, whose finding names who it was.
    pub survey: Survey,
}

/// What was added to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Entries that were added.
    pub entries: u64,
    /// The time in which they were added.
    pub over: Duration,
    /// The endpoint that grew most, with the entries that it gained.
    pub most: Option<Holding>,
}

impl Peak {
    /// True if the table was fuller at the peak than it is now. Without a limit a twentieth more entries are fuller.
    pub fn is_over(&self, now: Usage) -> bool {
        let then = (u128::from(self.sample.count), self.sample.max);
        let count = u128::from(now.count);
        match (then, now.max) {
            ((then, Some(max_then)), Some(max)) => {
                let (max_then, max) = (u128::from(max_then), u128::from(max));
                then * 100 * max >= (count * 100 + OVER * max) * max_then
            }
            ((then, _), _) => then * 100 >= count * (100 + OVER),
        }
    }
}

impl Recording {
    /// The peak since this moment; none if there is no sample since then.
    pub fn peak_since(&self, from: Duration) -> Option<Peak> {
        let sample = *self.fullest_since(from)?;
        let survey = self.survey_since(from).filter(|survey| {
            u64::from(survey.count) * 100 >= u64::from(sample.count) * SEEN_AT_PEAK
        });
        let incident = self.incidents.iter().rev();
        Some(Peak {
            sample,
            utc: self.utc(sample.at),
            held: survey.map(|survey| PastHolders {
                utc: self.utc(survey.at),
                survey: survey.clone(),
            }),
            incident: incident
                .clone()
                .find(|incident| incident.until >= from)
                .map(|incident| incident.path.clone()),
        })
    }

    /// What was added to the table since the reference, if it holds `count` entries now.
    pub fn growth(&self, count: u32, now: Duration) -> Option<Growth> {
        let reference = self.reference(now)?;
        let last = self.surveys.last()?;
        let entries = count.checked_sub(reference.count).filter(|n| *n > 0)?;
        let entries = u64::from(entries);
        let gained = last.endpoints.iter().filter_map(|holding| {
            let gained = holding
                .entries
                .checked_sub(reference.at_most(&holding.name))?;
            Some(Holding {
                entries: gained.min(entries),
                ..holding.clone()
            })
        });
        Some(Growth {
            entries,
            over: now.saturating_sub(reference.at),
            most: gained
                .filter(|holding| holding.entries > 0)
                .max_by_key(|holding| holding.entries),
        })
    }
}

impl Survey {
    /// The entries of an endpoint, or the number of entries that an endpoint outside the list has at most.
    fn at_most(&self, name: &str) -> u64 {
        let listed = self.endpoints.iter().find(|holding| holding.name == name);
        match (listed, self.endpoints.get(MAX_ENDPOINTS - 1)) {
            (Some(holding), _) => holding.entries,
            (None, Some(last)) => last.entries,
            (None, None) => 0,
        }
    }
}

impl Holding {
    /// The endpoint with its owner before it: `sidekiq.service to 10.0.3.7:6379/tcp`.
    pub fn with_owner(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner} {}", self.name),
            None => self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Incident;
    use super::super::history::tests::{empty, sample, seconds, survey};
    use super::*;

    fn held(peak: &Peak) -> Option<&str> {
        let finding = peak.held.as_ref()?.survey.finding.as_ref()?;
        Some(&finding.holder.as_ref()?.name)
    }

    #[test]
    fn a_peak_has_who_held_the_table_at_its_fullest() {
        let mut recording = empty();
        for (at, count) in [(10, 100), (20, 1000), (30, 900), (40, 100)] {
            recording.add_sample(sample(at, count), seconds(5000 + at));
            recording.add_survey(survey(at, count, &format!("service at {at}")));
        }
        recording.add_incident(Incident {
            began: seconds(20),
            until: seconds(30),
            path: "/incidents/x.txt".to_owned(),
        });
        let peak = recording.peak_since(seconds(0)).unwrap();
        assert_eq!(peak.sample.count, 1000);
        assert_eq!(peak.utc, Some(seconds(5020)));
        assert_eq!(held(&peak), Some("service at 20"));
        assert_eq!(peak.incident.as_deref(), Some("/incidents/x.txt"));
        let later = recording.peak_since(seconds(35)).unwrap();
        assert_eq!(held(&later), Some("service at 40"));
        assert_eq!(later.incident, None);
        assert_eq!(recording.peak_since(seconds(41)), None);
    }

    #[test]
    fn a_survey_that_saw_less_than_half_of_the_peak_names_nobody() {
        let mut recording = empty();
        recording.add_sample(sample(10, 1000), seconds(10));
        recording.add_survey(survey(20, 499, "too late"));
        let peak = recording.peak_since(seconds(0)).unwrap();
        assert_eq!(held(&peak), None);
        recording.add_survey(survey(90, 500, "half"));
        let peak = recording.peak_since(seconds(0)).unwrap();
        assert_eq!(held(&peak), Some("half"));
    }

    #[test]
    fn growth_is_since_the_reference_and_names_the_endpoint_that_gained_most() {
        let mut recording = empty();
        let mut before = survey(0, 300, "old");
        before.endpoints.push(Holding {
            entries: 100,
            name: "grows".to_owned(),
            owner: None,
        });
        let mut after = survey(700, 900, "old");
        after.endpoints = vec![
            Holding {
                entries: 310,
                name: "old".to_owned(),
                owner: None,
            },
            Holding {
                entries: 550,
                name: "grows".to_owned(),
                owner: Some("x.service".to_owned()),
            },
        ];
        recording.add_survey(before);
        recording.add_survey(after);
        let growth = recording.growth(900, seconds(720)).unwrap();
        assert_eq!((growth.entries, growth.over), (600, seconds(720)));
        let most = growth.most.unwrap();
        assert_eq!(
            (most.entries, most.with_owner()),
            (450, "x.service grows".to_owned())
        );
        assert_eq!(recording.growth(300, seconds(720)), None);
        assert_eq!(recording.growth(900, seconds(500)), None, "no reference");
    }

    #[test]
    fn an_endpoint_outside_a_full_list_gained_no_more_than_is_certain() {
        let mut before = survey(0, 300, "x");
        before.endpoints = (0..MAX_ENDPOINTS as u64)
            .map(|n| Holding {
                entries: 30 - n,
                name: n.to_string(),
                owner: None,
            })
            .collect();
        let mut recording = empty();
        recording.add_survey(before);
        recording.add_survey(survey(700, 900, "new"));
        let growth = recording.growth(900, seconds(700)).unwrap();
        // 900 entries, and at most 21 before
        assert_eq!(growth.most.map(|most| most.entries), Some(600));
        let listed = Survey {
            count: 400,
            endpoints: vec![Holding {
                entries: 121,
                name: "new".to_owned(),
                owner: None,
            }],
            ..survey(1400, 400, "new")
        };
        recording.surveys.remove(1);
        recording.add_survey(listed);
        let growth = recording.growth(900, seconds(1400)).unwrap();
        assert_eq!(growth.most.map(|most| most.entries), Some(100));
    }
}
