//! The part of an answer that comes from a recording.

use super::recorded::Recorded;
use super::table::Table;
use super::verdict::Verdict;
use crate::cli::Options;
use crate::diagnosis::{Case, Finding};
use crate::judge::assess::Assessment;
use crate::judge::losses::Losses;
use crate::judge::metric::Metric;
use crate::model::error::ReadError;
use crate::model::no_recording::NoRecording;
use crate::model::readings::{Change, Reading, Readings, Usage};
use crate::recording::RecordedFinding;
use crate::recording::story::Peak;
use crate::report::advice::Advice;
use crate::report::recorded::Told;

/// What the recording says beside a finding, or in its place.
pub(super) fn told(
    options: &Options,
    verdict: &Verdict,
    table: Option<&Table>,
    case: &Case<'_>,
    finding: Option<&Finding>,
) -> Told {
    let judged = &verdict.deciding;
    let question = Question {
        options,
        readings: &judged.netns.namespace.readings,
        change: &judged.netns.change,
        assessment: &judged.assessment,
        losses: judged.losses(),
        is_filling: case.filling,
        has_its_entries: table.is_some_and(|table| table.is_recorded),
        has_finding: finding.is_some(),
    };
    tell(&verdict.recorded, question)
}

/// A finding that holds whoever fills the table.
pub(super) fn is_about_limits(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::LongChains { .. } | Finding::PortsUsedUp(_) | Finding::NotConfigured(_)
    )
}

/// The advice with that of the recorder's finding.
pub(super) fn with_recorded(advice: Advice, told: &Told) -> Advice {
    // a command that shows who connects shows nothing once it is over
    let of_peak = || {
        let held = told.peak.as_ref()?.held.as_ref()?;
        let found = held.survey.finding.clone()?;
        Some(RecordedFinding {
            look: None,
            ..found
        })
    };
    let found = match &told.found {
        Some((found, _)) => Some(found.clone()),
        None => told.names_holder.then(of_peak).flatten(),
    };
    let found = found.unwrap_or_default();
    Advice {
        why: advice.why.or(found.why),
        fix: advice.fix.or(found.fix),
        look: advice.look.or(found.look),
        ..advice
    }
}

/// The command that shows the file about an incident. A path that is too long for it, or that a shell would take apart,
/// stays in the lines below the advice.
pub(super) fn incident(told: &mut Told) -> Option<String> {
    const ROOM: usize = 200 - "look: ".len();
    let is_word = |path: &String| !path.contains(|c: char| !is_plain(c));
    let path = told.incident.as_ref().filter(|path| is_word(path))?;
    let command = format!("cat {path} (as root: the table as the recorder saw it)");
    if command.len() > ROOM {
        return None;
    }
    told.incident = None;
    Some(command)
}

/// True if a shell takes the character for itself wherever it stands.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c)
}

/// What an answer has to say from the recording depends on these.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    /// The options.
    options: &'a Options,
    /// What was read of the namespace that decides.
    readings: &'a Readings,
    /// Its comparison with the previous run.
    change: &'a Reading<Change>,
    /// Its verdict.
    assessment: &'a Assessment,
    /// Its losses.
    losses: Option<Losses>,
    /// The state is not OK, and the table fills.
    is_filling: bool,
    /// The entries of the answer are those of the recording.
    has_its_entries: bool,
    /// The answer has a finding of its own.
    has_finding: bool,
}

/// Collects what an answer says from the recording.
fn tell(recorded: &Reading<Recorded>, question: Question<'_>) -> Told {
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
            .and_then(|count| recorded.growth(*count)),
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
    let peak = recorded.peak_since(question.change)?;
    let now = Usage {
        count: *question.readings.count.as_ref().ok()?,
        max: question.readings.max(),
    };
    (matters(question.assessment, question.losses) && peak.is_over(now)).then_some(peak)
}

/// Whether the reader should know the peak: packets were lost, or it was too high.
pub(super) fn matters(assessment: &Assessment, losses: Option<Losses>) -> bool {
    losses.is_some_and(|losses| losses.full_table || losses.long_chains)
        || assessment.is_above(Metric::Peak)
        || (assessment.peak_was_too_full() && !assessment.is_above(Metric::Usage))
}
