//! The recorder: takes a sample every period, looks into the table with the stages of a check, and keeps what they found
//! for the checks of this host.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::diagnosis::{self, Diagnosis};
use super::table::{self, Table};
use super::verdict::Verdict;
use super::{Deadlines, observation};
use crate::analysis::top::Ranked;
use crate::cli::Options;
use crate::judge::history::NetnsSnapshot;
use crate::model::dump::Source;
use crate::model::error::{NoState, ReadError};
use crate::model::netns::NetnsId;
use crate::model::no_recording::NoRecorder;
use crate::model::readings::{Change, Reading, Readings};
use crate::recording::incidents::{Watch, is_incident};
use crate::recording::schedule::Schedule;
use crate::recording::{Holding, MAX_ENDPOINTS, RecordedFinding, Recording, Sample, Survey};
use crate::report::{endpoints, finding};
use crate::runtime::kept_files::KeptFiles;
use crate::runtime::manager::Manager;
use crate::runtime::ticks::{Ticks, Wake, cpu_time};
use crate::runtime::unsafe_calls::{self, check_netlink_strictly};
use crate::source::procfs::{boot, netns_id};
use crate::source::recording::{OWN_FILE, open};
use crate::source::{self, Asking, file};

/// The lock in the directory of the recording.
const LOCK: &str = "lock";
/// The directory in the state directory.
const INCIDENTS: &str = "incidents";
/// Files about incidents that are kept.
const MAX_FILES: usize = 20;
/// The time for the entries of one look, and for the entries and their owners: what the recorder may use in a minute.
const LOOK: [Duration; 2] = [Duration::from_millis(800), Duration::from_millis(1200)];
/// Details of the text about an incident, as with `-vv`.
const VERBOSITY: u8 = 2;

/// Records until a signal stops it.
///
/// # Errors
/// The reason why it cannot begin, or why the clock stopped.
pub fn record(options: &Options, seconds: u32) -> Result<(), NoRecorder> {
    let period = Duration::from_secs(u64::from(seconds));
    let clock = |reason| NoRecorder::Clock { reason };
    let ticks = Ticks::start(period).map_err(clock)?;
    let mut manager = Manager::of_environment();
    let mut recorder = Recorder::begin(options, period)?;
    recorder.tick();
    manager.ready();
    loop {
        manager.alive(&recorder.status());
        let wake = ticks.wait().map_err(clock)?;
        if wake == Wake::Stop {
            manager.stopping();
        }
        recorder.tick();
        if wake == Wake::Stop {
            return Ok(());
        }
    }
}

/// A recorder between two ticks.
struct Recorder {
    /// The options of the look into the table.
    options: Options,
    files: Files,
    recording: Recording,
    schedule: Schedule,
    watch: Watch,
    /// What the last tick read.
    previous: Option<NetnsSnapshot>,
    problems: Problems,
}

/// The directories.
struct Files {
    directory: KeptFiles,
    /// The directory of the incidents, and its path.
    incidents: Result<(KeptFiles, PathBuf), String>,
    /// Held as long as the recorder lives.
    _lock: File,
}

/// What does not work at present, in words.
#[derive(Default)]
struct Problems {
    sample: Option<String>,
    recording: Option<String>,
    incident: Option<String>,
}

/// The numbers of one tick.
struct Tick {
    readings: Readings,
    change: Reading<Change>,
    sample: Sample,
    utc: Duration,
}

impl Recorder {
    fn begin(options: &Options, period: Duration) -> Result<Self, NoRecorder> {
        let directory = options.recording.as_deref();
        let directory = directory.ok_or(NoRecorder::NoDirectory)?;
        let files = Files::open(directory, &options.state_dir)?;
        let identity = |problem| NoRecorder::Directory {
            path: file::shown(directory),
            problem,
        };
        let boot = boot::boot_id(&options.proc_root).map_err(identity)?;
        let at = boot::uptime(&options.proc_root).map_err(identity)?;
        let new = Recording::new(boot, namespaces(options), period);
        Ok(Self {
            recording: continued(directory, new, at),
            options: Options {
                top: Some(MAX_ENDPOINTS),
                verbosity: VERBOSITY,
                ..options.clone()
            },
            files,
            schedule: Schedule::default(),
            watch: Watch::default(),
            previous: None,
            problems: Problems::default(),
        })
    }

    /// Takes a sample, looks into the table if that is due, and writes the recording.
    fn tick(&mut self) {
        let moment = match self.moment() {
            Ok(moment) => moment,
            Err(why) => {
                self.problems.sample = Some(why);
                return;
            }
        };
        self.problems.sample = None;
        let sample = moment.sample;
        self.recording.add_sample(sample, moment.utc);
        let is_incident = self.watch.see(&sample, moment.utc);
        let is_due = self.schedule.is_due(&sample);
        if is_due || (is_incident && self.watch.wants_text(&sample, false)) {
            self.look(moment, is_due);
        }
        if is_incident {
            self.keep_incident();
        }
        let text = self.recording.to_text();
        self.problems.recording = self.files.directory.replace(OWN_FILE, &text).err();
    }

    /// Reads the numbers of this moment.
    fn moment(&mut self) -> Result<Tick, String> {
        let options = &self.options;
        let at = boot::uptime(&options.proc_root).map_err(|why| why.to_string())?;
        let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let readings = numbers(options);
        let now = NetnsSnapshot::of(at, &readings).ok_or_else(|| match &readings.count {
            Err(why) => why.to_string(),
            Ok(_) => String::new(),
        })?;
        let none = || Err(ReadError::NotReached);
        let change = self.previous.as_ref().map_or_else(none, |previous| {
            let change = previous.change_until(&now);
            change.map_err(|why| ReadError::NoBaseline { why })
        });
        let sample = Sample {
            at,
            count: now.count,
            max: now.max,
            increases: change.as_ref().ok().and_then(|change| change.counters),
        };
        self.previous = Some(now);
        Ok(Tick {
            readings,
            change,
            sample,
            utc: utc.unwrap_or_default(),
        })
    }

    /// Runs the stages of a check, the table among them if it is due.
    fn look(&mut self, moment: Tick, with_table: bool) {
        let began = cpu_time();
        let now = Instant::now();
        let [reading, owners] = LOOK.map(|time| now + time);
        let deadlines = Deadlines { reading, owners };
        let options = &self.options;
        let sample = moment.sample;
        let verdict = Verdict::of_moment(options, moment.readings, moment.change);
        let table = with_table.then(|| table::read(options, &verdict, deadlines));
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
        if self.watch.wants_text(&sample, with_table) {
            let report = diagnosis::report(options, &verdict, table.as_ref(), &diagnosis);
            self.watch.add(&sample, report.text);
        }
        if let Some(table) = table {
            self.recording.unread = table.unavailable.as_ref().map(ToString::to_string);
            let survey = survey(sample, &verdict, &table, &diagnosis);
            if let Some(survey) = survey {
                self.recording.add_survey(survey);
            }
            self.schedule
                .looked(sample.at, cpu_time().saturating_sub(began));
            self.recording.spaced = self.schedule.spaced();
        }
    }

    /// Writes the file about the incident that lasts, if there is something new in it.
    fn keep_incident(&mut self) {
        let Some((name, text)) = self.watch.file() else {
            return;
        };
        let written = match &self.files.incidents {
            Ok((directory, path)) => {
                let path = path.join(&name);
                let incident = self.watch.incident(&path.to_string_lossy());
                let is_new = self.watch.take_news();
                let written = if is_new {
                    directory.replace(&name, &text)
                } else {
                    Ok(())
                };
                if is_new {
                    directory.remove_oldest(MAX_FILES, is_incident);
                }
                if let (Ok(()), Some(incident)) = (&written, incident) {
                    self.recording.add_incident(incident);
                }
                written
            }
            Err(why) => Err(why.clone()),
        };
        self.problems.incident = written.err();
    }

    fn status(&self) -> String {
        let problems = [
            ("no sample", &self.problems.sample),
            ("recording not written", &self.problems.recording),
            ("incident not written", &self.problems.incident),
            ("table not read", &self.recording.unread),
        ];
        let problems = problems
            .into_iter()
            .filter_map(|(what, why)| Some(format!("{what}: {}", why.as_ref()?)));
        let problems: Vec<String> = problems.collect();
        if problems.is_empty() {
            "recording".to_owned()
        } else {
            problems.join(", ")
        }
    }
}

impl Files {
    fn open(directory: &Path, state: &Path) -> Result<Self, NoRecorder> {
        let path = file::shown(directory);
        let of = |problem| NoRecorder::Directory {
            path: path.clone(),
            problem,
        };
        let opened = KeptFiles::open(directory).map_err(of)?;
        if !opened.is_private() {
            return Err(NoRecorder::Shared { path });
        }
        let lock = opened
            .lock(LOCK)
            .map_err(|reason| of(NoState::Io { reason }))?;
        let lock = lock.ok_or(NoRecorder::Running { path: path.clone() })?;
        let incidents = KeptFiles::open(state)
            .map_err(|problem| format!("{} {problem}", file::shown(state)))
            .and_then(|state| state.within(INCIDENTS))
            .map(|incidents| (incidents, state.join(INCIDENTS)));
        Ok(Self {
            directory: opened,
            incidents,
            _lock: lock,
        })
    }
}

/// Every number of the own network namespace: a check may know one of them only.
fn namespaces(options: &Options) -> Vec<NetnsId> {
    let cookie = options
        .is_live()
        .then_some(unsafe_calls::netns_cookie as netns_id::CookieOf);
    let mut ids: Vec<NetnsId> = [cookie, None]
        .into_iter()
        .filter_map(|cookie_of| netns_id::own(&options.proc_root, cookie_of).ok())
        .filter(|id| *id != NetnsId::Unknown)
        .collect();
    ids.dedup();
    ids
}

/// The recording that a recorder before this one left, if it is of the same boot and namespace; else the new one.
fn continued(directory: &Path, new: Recording, now: Duration) -> Recording {
    let stored = open(directory, OWN_FILE).and_then(|(mut recording, rest)| {
        rest.add_rest(&mut recording)?;
        Ok(recording)
    });
    match stored {
        Ok(old)
            if old.boot == new.boot
                && old.namespaces == new.namespaces
                && old.at().is_some_and(|at| at <= now) =>
        {
            Recording {
                period: new.period,
                spaced: None,
                unread: None,
                ..old
            }
        }
        _ => new,
    }
}

/// The files of the namespace, and the counters over netlink if there is no file of them.
fn numbers(options: &Options) -> Readings {
    let first = observation::count_and_limit(options);
    if !first.tracks() {
        return first;
    }
    let readings = source::details(&options.proc_root, first);
    if !matches!(&readings.statistics, Err(error) if error.is_missing()) {
        return readings;
    }
    let asking = Asking {
        proc_root: &options.proc_root,
        live: options.is_live(),
        own: &options.own,
        then_the_table: true,
        strict: check_netlink_strictly,
        deadline: Instant::now() + LOOK[0],
    };
    source::ask(asking, readings)
}

/// What is kept of a look into the table; nothing if the table could not be read.
fn survey(
    sample: Sample,
    verdict: &Verdict,
    table: &Table,
    diagnosis: &Diagnosis,
) -> Option<Survey> {
    let source = table.basis.source?;
    let top = table.top.as_ref()?;
    let readings = verdict.readings();
    let total = table.basis.sample.map_or(table.basis.read, |of| of.total);
    Some(Survey {
        at: sample.at,
        count: sample.count,
        max: sample.max,
        source,
        read: table.basis.read,
        total,
        finding: found(diagnosis),
        endpoints: top
            .endpoints
            .iter()
            .take(MAX_ENDPOINTS)
            .map(holding)
            .collect(),
        counts: table
            .numbers
            .counts
            .as_ref()
            .ok()
            .filter(|_| source != Source::Sockets)
            .cloned(),
        lines: endpoints::lines(top, &table.basis, readings, false),
    })
}

/// The finding in words, with the advice.
fn found(diagnosis: &Diagnosis) -> Option<RecordedFinding> {
    let finding = diagnosis.finding.as_ref()?;
    let holder = finding::holder(finding, &diagnosis.names);
    Some(RecordedFinding {
        rule: finding.rule(),
        sentence: finding::sentence(finding, &diagnosis.names),
        holder: holder.map(|(name, share)| Holding {
            entries: share.part,
            name,
            owner: None,
        }),
        why: diagnosis.advice.why.clone(),
        fix: diagnosis.advice.fix.clone(),
        look: diagnosis.advice.look.clone(),
    })
}

fn holding(ranked: &Ranked) -> Holding {
    Holding {
        entries: ranked.entries,
        name: endpoints::label(ranked),
        owner: ranked.owners.first().map(|owner| owner.who.to_string()),
    }
}
