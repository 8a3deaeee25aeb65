//! The third stage if this check may not read the table: the last look of a recorder stands in for one of its own.

use super::table::Table;
use super::verdict::Verdict;
use crate::analysis::top::{Basis, SampledPart};
use crate::cli::Options;
use crate::judge::measure::TableNumbers;
use crate::model::dump::Choice;
use crate::model::error::ReadError;
use crate::model::no_recording::NoRecording;
use crate::model::readings::Reading;
use crate::recording::Survey;

/// The last look of a recorder, if it may stand in for one of this check.
///
/// # Errors
/// The reason why it may not.
pub(super) fn survey<'a>(options: &Options, verdict: &'a Verdict) -> Reading<&'a Survey> {
    if !matches!(options.source, Choice::Auto | Choice::Recording) {
        return Err(ReadError::NotReached);
    }
    let recorded = verdict.recorded.as_ref().map_err(Clone::clone)?;
    recorded.survey_of(verdict.readings().count.clone()?)
}

/// The last look of a recorder in the place of a table that could not be read, or the reason why.
pub(super) fn or(options: &Options, verdict: &Verdict, why: ReadError) -> Table {
    match survey(options, verdict) {
        Ok(survey) => Table::recorded(options, verdict, survey, Some(why)),
        Err(_) => Table::unavailable(why, options.table.is_some()),
    }
}

/// The answer to `--source recording`.
pub(super) fn read(options: &Options, verdict: &Verdict) -> Table {
    match survey(options, verdict) {
        Ok(survey) => Table::recorded(options, verdict, survey, None),
        Err(why) => Table::unavailable(why, false),
    }
}

impl Table {
    /// The last look of a recorder. `why` is the reason why this check did not look itself.
    pub(super) fn recorded(
        options: &Options,
        verdict: &Verdict,
        survey: &Survey,
        why: Option<ReadError>,
    ) -> Self {
        let now = verdict.readings().count.as_ref().copied();
        let now = now.unwrap_or(u32::MAX);
        let sample = (survey.read < survey.total).then_some(SampledPart {
            read: survey.read,
            total: survey.total,
            half_width: None,
        });
        let no_counts = ReadError::NoRecording {
            path: "the recording".to_owned(),
            problem: NoRecording::NoSurvey,
        };
        let counts = survey.counts.as_ref();
        Self {
            numbers: TableNumbers {
                counts: counts
                    .map(|counts| counts.shrunk(survey.count, now))
                    .ok_or(no_counts),
                ..TableNumbers::unread(ReadError::NotReached)
            },
            basis: Basis {
                source: Some(survey.source),
                read: survey.read,
                why,
                sample,
                ..Basis::default()
            },
            unavailable: None,
            settings_of: Some(options.proc_root.clone()),
            is_recorded: true,
            ..Self::unavailable(ReadError::NotReached, false)
        }
    }
}
