//! The recording of a recorder, as this check uses it: only if it is of this boot and this network namespace, and fresh.

use std::path::Path;
use std::time::Duration;

use super::previous_run::Moment;
use crate::cli::Options;
use crate::judge::assess::Assessment;
use crate::judge::losses::Losses;
use crate::model::dump::Source;
use crate::model::error::ReadError;
use crate::model::netns::NetnsId;
use crate::model::no_recording::NoRecording;
use crate::model::readings::{Change, Reading, Readings, Usage};
use crate::recording::story::Peak;
use crate::recording::{Recording, Survey};
use crate::report::recorded::{About, Told};
use crate::runtime::unsafe_calls;
use crate::source::file;
use crate::source::procfs::{boot, netns_id};
use crate::source::recording::{OWN_FILE, Stored, open};

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
    /// The part that was not read yet.
    rest: Option<Stored>,
    now: Duration,
}

/// Reads the first part of the recording. `moment` is that of this run, if another stage needed it already.
pub(super) fn read(options: &Options, moment: Option<Moment>) -> Reading<Recorded> {
    if options.table.is_some() {
        return Err(ReadError::NoPreviousCapture);
    }
    let Some(directory) = &options.recording else {
        return Err(unused(Path::new("--recording"), NoRecording::OtherProcRoot));
    };
    let (recording, rest) = open(directory, OWN_FILE)?;
    let unused = |problem| unused(&directory.join(OWN_FILE), problem);
    let moment = match moment {
        Some(moment) if is_own(&moment) => moment,
        _ => this_moment(options).map_err(unused)?,
    };
    let age = age(&recording, &moment).map_err(unused)?;
    if age > recording.period * FRESH_PERIODS {
        return Err(unused(NoRecording::Stale { age }));
    }
    Ok(Recorded {
        recording,
        rest: Some(rest),
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
        match self.rest.take() {
            Some(rest) => rest.add_rest(&mut self.recording),
            None => Ok(()),
        }
    }

    /// The same recording with its second part.
    ///
    /// # Errors
    /// [`ReadError::NoRecording`] if the second part is damaged.
    pub(super) fn whole(mut self) -> Reading<Self> {
        self.read_rest().map(|()| self)
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

    fn age_of(&self, survey: &Survey) -> Duration {
        self.now.saturating_sub(survey.at)
    }

    fn about(&self) -> About {
        let last = self.recording.at().unwrap_or_default();
        About {
            period: self.recording.period,
            age: self.now.saturating_sub(last),
            survey: self.survey().map(|survey| self.age_of(survey)),
            spaced: self.recording.spaced,
            unread: self.recording.unread.clone(),
        }
    }
}

/// What an answer has to say from the recording depends on these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// The options.
    pub(super) options: &'a Options,
    /// The readings of the namespace that decides.
    pub(super) readings: &'a Readings,
    /// Its comparison with the previous run.
    pub(super) change: &'a Reading<Change>,
    /// Its verdict.
    pub(super) assessment: &'a Assessment,
    /// Its losses.
    pub(super) losses: Option<Losses>,
    /// The state is not OK, and the table fills.
    pub(super) is_filling: bool,
    /// The entries of the answer are those of the recording.
    pub(super) has_its_entries: bool,
    /// The answer has a finding of its own.
    pub(super) has_finding: bool,
}

/// Collects what an answer says from the recording.
pub(super) fn tell(recorded: &Reading<Recorded>, question: Question<'_>) -> Told {
    let options = question.options;
    let wanted = options.recording_is_wanted;
    let recorded = match recorded {
        Ok(recorded) => recorded,
        Err(why) => {
            return Told {
                unused: is_worth_a_note(why, wanted).then(|| why.clone()),
                wanted,
                ..Told::default()
            };
        }
    };
    let peak = peak(recorded, question);
    // the peak names who it was, unless the table is still too full: then it matters who it is
    let names_holder = peak.is_some() && !question.assessment.is_too_full();
    let survey = recorded.survey();
    let found = survey
        .filter(|_| question.is_filling && !question.has_finding && !names_holder)
        .filter(|_| question.has_its_entries || options.top.is_none())
        .and_then(|survey| Some((survey.finding.clone()?, recorded.age_of(survey))));
    let listed = survey.filter(|_| question.has_its_entries);
    let count = question.readings.count.as_ref().ok();
    Told {
        found,
        entries: listed.map(|survey| recorded.age_of(survey)),
        list: match (listed, options.top) {
            (Some(survey), Some(n)) => survey.lines.iter().take(n).cloned().collect(),
            _ => Vec::new(),
        },
        incident: recorded.incident(question.change),
        peak,
        names_holder,
        growth: count
            .filter(|_| question.is_filling)
            .and_then(|count| recorded.recording.growth(*count, recorded.now)),
        about: Some(recorded.about()),
        unused: None,
        wanted,
    }
}

/// A host without a recorder is no news.
fn is_worth_a_note(why: &ReadError, wanted: bool) -> bool {
    match why {
        ReadError::NoRecording { problem, .. } => {
            wanted || !matches!(problem, NoRecording::Missing | NoRecording::OtherProcRoot)
        }
        _ => false,
    }
}

/// The peak since the previous run, if it is over and the reader should know: packets were lost, or it was too high.
fn peak(recorded: &Recorded, question: Question<'_>) -> Option<Peak> {
    let from = recorded.since(question.change).ok()?;
    let peak = recorded.recording.peak_since(from)?;
    let now = Usage {
        count: *question.readings.count.as_ref().ok()?,
        max: question.readings.max(),
    };
    (matters(question.assessment, question.losses) && peak.is_over(now)).then_some(peak)
}

/// True if the reader should know the peak: packets were lost, or it was too high.
pub(super) fn matters(assessment: &Assessment, losses: Option<Losses>) -> bool {
    use crate::judge::metric::Metric;
    losses.is_some_and(|losses| losses.full_table || losses.long_chains)
        || assessment.is_above(Metric::Peak)
        || (assessment.peak_was_too_full() && !assessment.is_above(Metric::Usage))
}

impl Recorded {
    /// The file about the last incident since the previous run; without one, of the last hour.
    fn incident(&self, change: &Reading<Change>) -> Option<String> {
        let from = self.since(change).unwrap_or_default();
        let mut incidents = self.recording.incidents.iter().rev();
        let last = incidents.find(|incident| incident.until >= from)?;
        Some(last.path.clone())
    }
}
