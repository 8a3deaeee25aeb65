//! The recording of a recorder, as this check uses it: only if it is of this boot and this network namespace, and fresh.

use std::path::Path;
use std::time::Duration;

use super::previous_run::Moment;
use crate::cli::Options;
use crate::model::dump::Source;
use crate::model::error::{NoBaseline, ReadError};
use crate::model::netns::{Compared, NetnsId};
use crate::model::no_recording::NoRecording;
use crate::model::readings::{Change, Reading, Usage};
use crate::recording::story::{Growth, Peak};
use crate::recording::{Recording, Survey};
use crate::report::recorded::About;
use crate::runtime::unsafe_calls;
use crate::source::file;
use crate::source::procfs::{boot, netns, netns_id};
use crate::source::recording::{OWN_FILE, OpenRecording, file_of, open};

/// A recording without a sample for so many periods is stale.
const FRESH_PERIODS: u32 = 3;
/// A look stands in for one of now while the number of entries differs by less than this. Percent.
const SIMILAR: u64 = 125;
/// The moment of the previous run may lie this much before the sample of the same second.
const ROUNDING: Duration = Duration::from_millis(10);

/// A recording that this check believes.
#[derive(Debug)]
pub(super) struct Recorded {
    recording: Recording,
    /// The part that was not read yet, or why it could not be read.
    rest: Reading<Option<OpenRecording>>,
    now: Duration,
}

/// Reads the first part of the recording of the own network namespace. `moment` is that of this run, if another stage
/// needed it already.
pub(super) fn read(options: &Options, moment: Option<Moment>) -> Reading<Recorded> {
    if options.table.is_some() {
        return Err(ReadError::NoPreviousCapture);
    }
    let Some(directory) = &options.recording else {
        return Err(unused(Path::new("--recording"), NoRecording::OtherProcRoot));
    };
    // without a recording nothing else is asked for
    let opened = open(directory, OWN_FILE)?;
    let path = directory.join(OWN_FILE);
    let moment = match moment {
        Some(moment) if is_own(&moment) => moment,
        _ => this_moment(options).map_err(|problem| unused(&path, problem))?,
    };
    match usable(opened, &moment).map_err(|problem| unused(&path, problem)) {
        Err(foreign) if is_of_another_namespace(&foreign) => {
            in_another_file(options, directory, moment).map_err(|_| foreign)
        }
        recorded => recorded,
    }
}

/// Reads the recording of the own network namespace that a recorder in another one wrote.
fn in_another_file(options: &Options, directory: &Path, moment: Moment) -> Reading<Recorded> {
    // that recorder numbers it as a walk over all processes does
    let id = netns::own_id(&options.proc_root)?;
    let moment = Moment {
        id: Ok(id),
        ..moment
    };
    read_file(directory, &file_of(id), &moment)
}

fn is_of_another_namespace(why: &ReadError) -> bool {
    let problem = NoRecording::OtherNamespace;
    matches!(why, ReadError::NoRecording { problem: other, .. } if *other == problem)
}

/// Recordings of other network namespaces, in the order of the namespaces.
pub(super) fn read_others(
    options: &Options,
    moment: Option<&Moment>,
    others: &[Compared],
) -> Vec<Reading<Recorded>> {
    let (Some(directory), Some(moment)) = (&options.recording, moment) else {
        return others.iter().map(|_| Err(ReadError::NotReached)).collect();
    };
    let read = |netns: &Compared| {
        let id = netns.namespace.id.clone()?;
        let moment = Moment {
            id: Ok(id),
            ..moment.clone()
        };
        read_file(directory, &file_of(id), &moment)
    };
    let all: Vec<Reading<Recorded>> = others.iter().map(read).collect();
    // beside recordings of others one that is missing is of a namespace that is new to the recorder
    let is_recorded = all.iter().any(Result::is_ok);
    let new = || {
        Err(ReadError::NoBaseline {
            why: NoBaseline::OtherNamespace,
        })
    };
    let is_missing = |why: &ReadError| {
        let problem = NoRecording::Missing;
        matches!(why, ReadError::NoRecording { problem: other, .. } if *other == problem)
    };
    all.into_iter()
        .map(|recorded| match recorded {
            Err(why) if is_recorded && is_missing(&why) => new(),
            recorded => recorded,
        })
        .collect()
}

/// Reads the first part of a recording that has to be of this boot and namespace, and fresh.
fn read_file(directory: &Path, name: &str, moment: &Moment) -> Reading<Recorded> {
    usable(open(directory, name)?, moment).map_err(|problem| unused(&directory.join(name), problem))
}

/// A recording of this boot and namespace that is fresh.
fn usable(
    (recording, rest): (Recording, OpenRecording),
    moment: &Moment,
) -> Result<Recorded, NoRecording> {
    let age = age(&recording, moment)?;
    if age > recording.period * FRESH_PERIODS {
        return Err(NoRecording::Stale { age });
    }
    Ok(Recorded {
        recording,
        rest: Ok(Some(rest)),
        now: moment.at,
    })
}

fn unused(path: &Path, problem: NoRecording) -> ReadError {
    ReadError::NoRecording {
        path: file::shown(path),
        problem,
    }
}

/// True if a recorder can know the number of the namespace. A walk over all processes numbers namespaces otherwise.
fn is_own(moment: &Moment) -> bool {
    matches!(moment.id, Ok(NetnsId::Cookie(_) | NetnsId::Inode(_)))
}

fn this_moment(options: &Options) -> Result<Moment, NoRecording> {
    let failed = |reason: String| NoRecording::Io { reason };
    let cookie_of = options
        .is_live()
        .then_some(unsafe_calls::netns_cookie as netns_id::CookieOf);
    let id = netns_id::own(&options.proc_root, cookie_of);
    Ok(Moment {
        boot: boot::boot_id(&options.proc_root).map_err(|error| failed(error.to_string()))?,
        at: boot::uptime(&options.proc_root).map_err(|error| failed(error.to_string()))?,
        id: Ok(id.map_err(|error| failed(error.to_string()))?),
    })
}

/// The age of the last sample, if the recording is of this boot and namespace.
fn age(recording: &Recording, moment: &Moment) -> Result<Duration, NoRecording> {
    if recording.boot != moment.boot {
        return Err(NoRecording::OtherBoot);
    }
    let known = matches!(&moment.id, Ok(id) if *id != NetnsId::Unknown && recording.namespaces.contains(id));
    if !known {
        return Err(NoRecording::OtherNamespace);
    }
    let last = recording.at().ok_or(NoRecording::NoSample)?;
    moment.at.checked_sub(last).ok_or(NoRecording::Future)
}

impl Recorded {
    /// The highest usage since the previous run.
    ///
    /// # Errors
    /// The reason for which there is no previous run, or no sample since then.
    pub(super) fn peak(&mut self, change: &Reading<Change>) -> Reading<Usage> {
        let from = self.since(change)?;
        let first = self.recording.samples.first();
        if first.is_none_or(|first| first.at > from) {
            self.read_rest()?;
        }
        let sample = self.recording.fullest_since(from);
        let sample = sample.ok_or_else(|| unused(Path::new(OWN_FILE), NoRecording::NoSample))?;
        Ok(Usage {
            count: sample.count,
            max: sample.max,
        })
    }

    /// The moment of the previous run.
    fn since(&self, change: &Reading<Change>) -> Reading<Duration> {
        let change = change.as_ref().map_err(Clone::clone)?;
        Ok(self.now.saturating_sub(change.elapsed + ROUNDING))
    }

    fn read_rest(&mut self) -> Result<(), ReadError> {
        let rest = self.rest.as_mut().map_err(|why| why.clone())?;
        let added = match rest.take() {
            Some(rest) => rest.add_rest(&mut self.recording),
            None => Ok(()),
        };
        if let Err(why) = &added {
            self.rest = Err(why.clone());
        }
        added
    }

    /// The same recording with its second part.
    ///
    /// # Errors
    /// [`ReadError::NoRecording`] if the second part is damaged.
    pub(super) fn whole(mut self) -> Reading<Self> {
        self.read_rest().map(|()| self)
    }

    /// The peak since the previous run, with who held the table then.
    pub(super) fn peak_since(&self, change: &Reading<Change>) -> Option<Peak> {
        self.recording.peak_since(self.since(change).ok()?)
    }

    /// What was added to a table that holds so many entries now.
    pub(super) fn growth(&self, count: u32) -> Option<Growth> {
        self.recording.growth(count, self.now)
    }

    /// The last look of the recorder into the table.
    pub(super) fn survey(&self) -> Option<&Survey> {
        self.recording.surveys.last()
    }

    /// The last look into the table, if it may stand in for a table that holds so many entries now.
    ///
    /// # Errors
    /// The reason why it may not.
    pub(super) fn survey_of(&self, count: u32) -> Reading<&Survey> {
        let unused = |problem| unused(Path::new(OWN_FILE), problem);
        let survey = self.survey();
        // a check can read the sockets itself
        let survey = survey.filter(|survey| survey.source != Source::Sockets);
        let survey = survey.ok_or_else(|| unused(NoRecording::NoSurvey))?;
        let (then, now) = (u64::from(survey.count), u64::from(count));
        if then * 100 > now * SIMILAR || now * 100 > then * SIMILAR {
            return Err(unused(NoRecording::Outdated {
                age: self.age_of(survey),
                count: survey.count,
            }));
        }
        Ok(survey)
    }

    pub(super) fn age_of(&self, survey: &Survey) -> Duration {
        self.now.saturating_sub(survey.at)
    }

    pub(super) fn about(&self) -> About {
        let last = self.recording.at().unwrap_or_default();
        About {
            period: self.recording.period,
            age: self.now.saturating_sub(last),
            survey: self.survey().map(|survey| self.age_of(survey)),
            spaced: self.recording.spaced,
            unread: self.recording.unread.clone(),
        }
    }

    /// The file about the last incident since the previous run; without one, of the last hour.
    pub(super) fn incident(&self, change: &Reading<Change>) -> Option<String> {
        let from = self.since(change).unwrap_or_default();
        let mut incidents = self.recording.incidents.iter().rev();
        let last = incidents.find(|incident| incident.until >= from)?;
        Some(last.path.clone())
    }
}
