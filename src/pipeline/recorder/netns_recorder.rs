//! The recording of one network namespace while it grows: its samples, looks into its table, and its incidents.

use std::time::{Duration, Instant};

use super::super::verdict::Verdict;
use super::super::{Deadlines, diagnosis, table};
use super::files::Files;
use super::survey::survey;
use crate::cli::Options;
use crate::judge::history::NetnsSnapshot;
use crate::model::error::ReadError;
use crate::model::netns::{Compared, Namespace, NetnsId};
use crate::model::readings::{Change, Reading};
use crate::recording::incidents::Watch;
use crate::recording::schedule::{Schedule, times_longer};
use crate::recording::{Recording, Sample};
use crate::runtime::ticks::cpu_time;
use crate::source::recording::{OWN_FILE, file_of};

/// The time for the entries of one look, and for the entries and their owners, on a host whose CPUs are idle: what the
/// recorder may use in a minute.
const LOOK: [Duration; 2] = [Duration::from_millis(800), Duration::from_millis(1200)];

/// The moment of a tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The time since the host was started.
    pub(super) at: Duration,
    /// The time of day, since 1970 in UTC.
    pub(super) utc: Duration,
}

/// A network namespace between two ticks.
pub(super) struct NetnsRecorder {
    /// The number of the namespace, if it is not the own one.
    pub(super) id: Option<NetnsId>,
    /// The file of its recording.
    pub(super) file: String,
    recording: Recording,
    schedule: Schedule,
    /// The factor by which the next look may take longer than [`LOOK`].
    times_longer: u32,
    watch: Watch,
    /// The numbers of the last tick.
    previous: Option<NetnsSnapshot>,
    /// Why the recording could not be written.
    pub(super) not_written: Option<String>,
    /// Why the file about an incident could not be written.
    pub(super) no_incident: Option<String>,
}

/// A look into the table that is to follow a sample.
pub(super) struct Look {
    namespace: Namespace,
    change: Reading<Change>,
    sample: Sample,
    /// True if the table is to be read: else there is only an incident to be described.
    pub(super) with_table: bool,
}

impl NetnsRecorder {
    /// Begins a recording, or goes on with the one of a recorder before this one.
    pub(super) fn begin(id: Option<NetnsId>, new: Recording, files: &Files, now: Duration) -> Self {
        let file = id.map_or_else(|| OWN_FILE.to_owned(), file_of);
        Self {
            recording: files.continued(&file, new, now),
            id,
            file,
            schedule: Schedule::default(),
            times_longer: 1,
            watch: Watch::default(),
            previous: None,
            not_written: None,
            no_incident: None,
        }
    }

    /// Adds a sample. Returns the look that is due, if one is.
    ///
    /// # Errors
    /// The reason why the number of entries is not known.
    pub(super) fn sample(
        &mut self,
        namespace: Namespace,
        moment: Moment,
    ) -> Result<Option<Look>, String> {
        let readings = &namespace.readings;
        let now = NetnsSnapshot::of(moment.at, readings).ok_or_else(|| match &readings.count {
            Err(why) => why.to_string(),
            Ok(_) => String::new(),
        })?;
        let none = || Err(ReadError::NotReached);
        let change = self.previous.as_ref().map_or_else(none, |previous| {
            let change = previous.change_until(&now);
            change.map_err(|why| ReadError::NoBaseline { why })
        });
        let sample = Sample {
            at: moment.at,
            count: now.count,
            max: now.max,
            increases: change.as_ref().ok().and_then(|change| change.counters),
        };
        self.previous = Some(now);
        self.recording.add_sample(sample, moment.utc);
        let is_incident = self.watch.see(&sample, moment.utc);
        let with_table = self.schedule.is_due(&sample);
        let is_wanted = with_table || (is_incident && self.watch.wants_text(&sample, false));
        Ok(is_wanted.then_some(Look {
            namespace,
            change,
            sample,
            with_table,
        }))
    }

    /// The time since the last look.
    pub(super) fn since_look(&self, now: Duration) -> Duration {
        self.schedule.since(now)
    }

    /// Runs the stages of a check, the table among them if that is due. Returns the CPU time of reading it.
    pub(super) fn look(
        &mut self,
        options: &Options,
        look: Look,
        sharing: Option<u64>,
        reads_table: bool,
    ) -> Duration {
        if !reads_table && !self.watch.wants_text(&look.sample, false) {
            return Duration::ZERO;
        }
        let began = cpu_time();
        let now = Instant::now();
        let [reading, owners] = LOOK.map(|time| now + time * self.times_longer);
        let deadlines = Deadlines { reading, owners };
        let sample = look.sample;
        let compared = Compared {
            namespace: look.namespace,
            change: look.change,
        };
        let verdict = Verdict::of_moment(options, compared, sharing);
        let table = reads_table.then(|| table::read(options, &verdict, deadlines));
        let (verdict, diagnosis) = match &table {
            Some(table) => {
                let verdict = verdict.with_table(options, table);
                let diagnosis = diagnosis::diagnose(options, &verdict, table, deadlines);
                (verdict, diagnosis)
            }
            None => {
                let diagnosis = diagnosis::without_table(options, &verdict);
                (verdict, diagnosis)
            }
        };
        if self.watch.wants_text(&sample, reads_table) {
            let report = diagnosis::report(options, &verdict, table.as_ref(), &diagnosis);
            self.watch.add(&sample, reads_table, report.text);
        }
        let Some(table) = table else {
            return Duration::ZERO;
        };
        self.recording.unread = table.unavailable.as_ref().map(ToString::to_string);
        let survey = survey(sample, &verdict, &table, &diagnosis);
        if let Some(survey) = survey {
            self.recording.add_survey(survey);
        }
        let cost = cpu_time().saturating_sub(began);
        // many other namespaces, one after another, would take too long
        if self.id.is_none() {
            self.times_longer = times_longer(now.elapsed(), cost);
        }
        // what is refused is refused the next time too
        let ran_out_of_time = matches!(table.unavailable, Some(ReadError::NotReached));
        self.schedule.looked(sample.at, cost, ran_out_of_time);
        self.recording.spaced = self.schedule.spaced();
        cost
    }

    /// Writes the file about the incident that lasts, if there is something new in it, and the recording.
    pub(super) fn keep(&mut self, files: &Files) {
        if self.watch.is_incident() {
            self.no_incident = self.keep_incident(files).err();
        }
        self.not_written = files.keep_recording(&self.file, &self.recording).err();
    }

    fn keep_incident(&mut self, files: &Files) -> Result<(), String> {
        let Some((began, text)) = self.watch.file() else {
            return Ok(());
        };
        let name = match self.id {
            // two namespaces may have an incident that begins in the same second
            Some(id) => format!("{began}-{}.txt", id.to_string().replace(' ', "-")),
            None => format!("{began}.txt"),
        };
        let path = files.incident_path(&name)?;
        if self.watch.take_news() {
            files.keep_incident(&name, &text)?;
        }
        if let Some(incident) = self.watch.incident(&path.to_string_lossy()) {
            self.recording.add_incident(incident);
        }
        Ok(())
    }

    /// Why the table could not be read at the last attempt.
    pub(super) fn unread(&self) -> Option<&String> {
        self.recording.unread.as_ref()
    }
}
