//! The recorder: takes a sample every period, looks into the table with the stages of a check, and keeps what they found
//! for the checks of this host.

mod files;
mod netns_recorder;
mod survey;

use std::time::{Duration, Instant, SystemTime};

use super::observation;
use crate::cli::{Netns, Options};
use crate::model::netns::{Namespace, NetnsId, Observation, Walk};
use crate::model::no_recording::NoRecorder;
use crate::model::readings::Readings;
use crate::recording::schedule::Budget;
use crate::recording::{MAX_ENDPOINTS, Recording};
use crate::runtime::manager::Manager;
use crate::runtime::ticks::{Ticks, Wake};
use crate::runtime::unsafe_calls::{self, check_netlink_strictly};
use crate::source::enter_netns::Home;
use crate::source::procfs::{boot, netns, netns_id};
use crate::source::{self, Asking, file};
use files::Files;
use netns_recorder::{Look, Moment, NetnsRecorder};

/// The time for counters over netlink, and for the walk over the processes.
const NUMBERS: Duration = Duration::from_millis(800);
/// Details of the text about an incident, as with `-vv`.
const VERBOSITY: u8 = 2;
/// At most so many other network namespaces are recorded.
const MAX_OTHERS: usize = 256;

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
    recorder.tick()?;
    manager.ready();
    loop {
        manager.alive(&recorder.status());
        let wake = ticks.wait().map_err(clock)?;
        if wake == Wake::Stop {
            manager.stopping();
        }
        recorder.tick()?;
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
    boot: String,
    period: Duration,
    /// The way back from another network namespace, if others are recorded too.
    home: Option<Home>,
    own: NetnsRecorder,
    /// The other network namespaces.
    others: Vec<NetnsRecorder>,
    /// Network namespaces that are too many to be recorded.
    not_recorded: usize,
    /// The CPU time for looks into the tables of all of them.
    budget: Budget,
    /// Why the last tick took no sample.
    no_sample: Option<String>,
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
        let all = options.netns == Netns::All;
        let home = (all && options.is_live())
            .then(|| Home::open(&options.proc_root))
            .transpose()
            .map_err(|reason| NoRecorder::Namespace { reason })?;
        if !all {
            // left over from a recorder of all namespaces
            files.remove_recordings(|_| false);
        }
        let new = Recording::new(boot.clone(), namespaces(options), period);
        Ok(Self {
            own: NetnsRecorder::begin(None, new, &files, at),
            options: Options {
                top: Some(MAX_ENDPOINTS),
                verbosity: VERBOSITY,
                ..options.clone()
            },
            files,
            boot,
            period,
            home,
            others: Vec::new(),
            not_recorded: 0,
            budget: Budget::default(),
            no_sample: None,
        })
    }

    /// Takes a sample of each namespace, looks into the tables for which that is due, and writes the recordings.
    ///
    /// # Errors
    /// [`NoRecorder::Namespace`] if there is no way back from another namespace.
    fn tick(&mut self) -> Result<(), NoRecorder> {
        let moment = match boot::uptime(&self.options.proc_root) {
            Ok(at) => Moment { at, utc: utc() },
            Err(why) => {
                self.no_sample = Some(why.to_string());
                return Ok(());
            }
        };
        let observation = self.observe();
        let sharing = observation.entries_of_all();
        self.no_sample = None;
        match self.own.sample(observation.own, moment) {
            Ok(Some(look)) => {
                let is_alone = self.options.netns == Netns::Own;
                let permitted = is_alone || self.budget.permits(moment.at);
                let reads = look.with_table && permitted;
                let cost = self.own.look(&self.options, look, sharing, reads);
                self.budget.spend(moment.at, cost);
            }
            Ok(None) => {}
            Err(why) => {
                self.no_sample = Some(why);
                return Ok(());
            }
        }
        self.own.keep(&self.files);
        self.forget_gone(&observation.others, observation.walk);
        let looks = self.sample_others(observation.others, moment);
        self.look_into_others(looks, sharing, moment)?;
        for other in &mut self.others {
            other.keep(&self.files);
        }
        Ok(())
    }

    /// The numbers of this moment.
    fn observe(&self) -> Observation {
        let options = &self.options;
        let readings = numbers(options);
        if options.netns == Netns::Own || !readings.tracks() {
            return Observation::of_own(readings);
        }
        netns::all(&options.proc_root, readings, Instant::now() + NUMBERS)
    }

    /// Forgets the namespaces that have no process any more.
    fn forget_gone(&mut self, seen: &[Namespace], walk: Walk) {
        if walk != Walk::Complete {
            return;
        }
        let is_seen = |other: &NetnsRecorder| {
            seen.iter()
                .any(|netns| netns.id.as_ref().ok() == other.id.as_ref())
        };
        let before = self.others.len();
        self.others.retain(is_seen);
        // also those that a recorder before this one left
        if self.others.len() < before || self.others.is_empty() {
            let others = &self.others;
            let is_kept = |name: &str| others.iter().any(|other| other.file == name);
            self.files.remove_recordings(is_kept);
        }
    }

    /// Takes a sample of each other namespace. Returns the looks that are due with the places of the namespaces.
    fn sample_others(&mut self, seen: Vec<Namespace>, moment: Moment) -> Vec<(usize, Look)> {
        let mut looks = Vec::new();
        self.not_recorded = 0;
        for namespace in seen {
            let Some(place) = self.place_of(&namespace, moment.at) else {
                self.not_recorded += 1;
                continue;
            };
            let Some(other) = self.others.get_mut(place) else {
                continue;
            };
            // a namespace whose process has just ended has no count
            if let Ok(Some(look)) = other.sample(namespace, moment) {
                looks.push((place, look));
            }
        }
        looks
    }

    /// The place of a namespace among the others, which it gets at its first sample; none if it has no number or if there
    /// are too many.
    fn place_of(&mut self, namespace: &Namespace, now: Duration) -> Option<usize> {
        let id = namespace.id.as_ref().ok().copied()?;
        let known = self.others.iter().position(|other| other.id == Some(id));
        if known.is_some() || self.others.len() >= MAX_OTHERS || id == NetnsId::Unknown {
            return known;
        }
        let new = Recording::new(self.boot.clone(), vec![id], self.period);
        let other = NetnsRecorder::begin(Some(id), new, &self.files, now);
        self.others.push(other);
        Some(self.others.len() - 1)
    }

    /// Looks into the tables of other namespaces, first into the one that has waited longest, as far as the CPU time for
    /// looks goes. An incident is described all the same.
    fn look_into_others(
        &mut self,
        mut looks: Vec<(usize, Look)>,
        sharing: Option<u64>,
        moment: Moment,
    ) -> Result<(), NoRecorder> {
        let waited = |place: usize| {
            let other = self.others.get(place);
            other.map(|other| other.since_look(moment.at))
        };
        looks.sort_by_cached_key(|(place, _)| std::cmp::Reverse(waited(*place)));
        for (place, look) in looks {
            let Some(other) = self.others.get_mut(place) else {
                continue;
            };
            let reads = look.with_table && self.budget.permits(moment.at);
            let cost = other.look(&self.options, look, sharing, reads);
            self.budget.spend(moment.at, cost);
            if let Some(home) = &self.home {
                home.back()
                    .map_err(|reason| NoRecorder::Namespace { reason })?;
            }
        }
        Ok(())
    }

    fn status(&self) -> String {
        let all = || std::iter::once(&self.own).chain(&self.others);
        let first = |of: fn(&NetnsRecorder) -> Option<&String>| all().find_map(of).cloned();
        let problems = [
            ("no sample", self.no_sample.clone()),
            (
                "recording not written",
                first(|netns| netns.not_written.as_ref()),
            ),
            (
                "incident not written",
                first(|netns| netns.no_incident.as_ref()),
            ),
            ("table not read", first(NetnsRecorder::unread)),
        ];
        let problems = problems
            .into_iter()
            .filter_map(|(what, why)| Some(format!("{what}: {}", why?)));
        let mut parts: Vec<String> = problems.collect();
        if self.not_recorded > 0 {
            parts.push(format!(
                "{} network namespaces not recorded",
                self.not_recorded
            ));
        }
        if parts.is_empty() {
            "recording".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// The time of day, since 1970 in UTC.
fn utc() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
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
        deadline: Instant::now() + NUMBERS,
    };
    source::ask(asking, readings)
}
