//! Compares a run with the previous one of the same service. Pure: what was read in, what changed out.
//!
//! A [`Baseline`] has a history for each network namespace: the readings of the last run and of the run before it. A
//! namespace that a run did not reach keeps its history, so that the next run that reaches it reports the losses since
//! it was last read. Counters that a run could not read are taken from the run before, for the same reason.

use std::time::Duration;

use crate::model::error::{NoBaseline, ReadError};
use crate::model::netns::{NetnsId, Walk};
use crate::model::readings::{Change, Reading, Readings, Statistics};

/// A run that follows another within this time is a repetition: both are compared with the run before them.
const MIN_RUN_INTERVAL: Duration = Change::MIN_GROWTH_INTERVAL;
/// A baseline that is older is not compared with, and a state file that was not written for so long may be removed.
pub const MAX_BASELINE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The histories that are kept of namespaces which no process is in any more. A namespace that `ip netns add` made may
/// have no process at one run and one at the next.
const MAX_VACANT_NAMESPACES: usize = 256;

/// The counters of a network namespace, and when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// The time since the host was started.
    pub at: Duration,
    /// The counters of each processor.
    pub statistics: Statistics,
}

/// The readings of one run from one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetnsSnapshot {
    /// The time since the host was started (/proc/uptime), which no step of the clock changes.
    pub at: Duration,
    /// nf_conntrack_count.
    pub count: u32,
    /// nf_conntrack_max, if there is a limit.
    pub max: Option<u32>,
    /// The counters, if this run or one before it could read them.
    pub counters: Option<Counters>,
}

impl NetnsSnapshot {
    /// Returns what is kept of these readings, or none if the entries could not be counted.
    pub fn of(at: Duration, readings: &Readings) -> Option<Self> {
        let counters = readings.statistics.as_ref().ok();
        let counters = counters.filter(|statistics| !statistics.processors.is_empty());
        Some(Self {
            at,
            count: *readings.count.as_ref().ok()?,
            max: readings.max(),
            counters: counters.map(|statistics| Counters {
                at,
                statistics: statistics.clone(),
            }),
        })
    }

    /// Returns what changed until a later run of the same namespace.
    ///
    /// # Errors
    /// The reason why the two cannot be compared.
    pub fn change_until(&self, now: &Self) -> Result<Change, NoBaseline> {
        compare(self, now)
    }

    /// Returns true if the counters were read by this run or by a repetition of it, and not by one before it.
    fn read_its_counters(&self) -> bool {
        let counters = self.counters.as_ref();
        counters.is_some_and(|counters| counters.at >= self.at)
    }

    /// A namespace as it was when the kernel made it: no entries, and no event counted on any processor.
    fn new_namespace(at: Duration, now: &Self) -> Self {
        let zeros = |counters: &Counters| Counters {
            at,
            statistics: counters.statistics.zeros(),
        };
        Self {
            at,
            count: 0,
            max: now.max,
            counters: now.counters.as_ref().map(zeros),
        }
    }
}

/// The readings of one run from all the network namespaces that it looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The boot of the host (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// The time since the host was started.
    pub at: Duration,
    /// The extent of the walk over the processes.
    pub walk: Walk,
    /// Each network namespace that was seen, and its readings; nothing if it could not be read.
    pub namespaces: Vec<(NetnsId, Option<NetnsSnapshot>)>,
}

impl Snapshot {
    /// Collects what was read at this time of this boot.
    pub fn of<'a>(
        boot: String,
        at: Duration,
        walk: Walk,
        namespaces: impl Iterator<Item = (&'a Reading<NetnsId>, &'a Readings)>,
    ) -> Self {
        let mut all_identified = true;
        let identified = |(id, readings): (&Reading<NetnsId>, &Readings)| {
            all_identified &= id.is_ok();
            Some((*id.as_ref().ok()?, NetnsSnapshot::of(at, readings)))
        };
        let namespaces = namespaces.filter_map(identified).collect();
        Self {
            boot,
            at,
            walk: match walk {
                Walk::Complete if !all_identified => Walk::Partial,
                walk => walk,
            },
            namespaces,
        }
    }

    /// Returns true if this run saw a namespace of this number, whether it could be read or not.
    fn saw(&self, id: NetnsId) -> bool {
        self.namespaces.iter().any(|(seen, _)| *seen == id)
    }

    /// Returns true if every namespace that has a process was seen, and its counters read.
    fn is_complete(&self) -> bool {
        let counted = |(_, read): &(NetnsId, Option<NetnsSnapshot>)| {
            read.as_ref().is_some_and(|read| read.counters.is_some())
        };
        self.walk == Walk::Complete && self.namespaces.iter().all(counted)
    }
}

/// The last two runs that read one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetnsHistory {
    /// The number of the namespace.
    pub id: NetnsId,
    /// The last run.
    pub last: NetnsSnapshot,
    /// The run before it, for a run that follows the last one too closely.
    pub before: Option<NetnsSnapshot>,
}

impl NetnsHistory {
    /// Returns the run that a run at this time is compared with.
    fn previous(&self, at: Duration) -> Result<&NetnsSnapshot, NoBaseline> {
        let age = age(self.last.at, at)?;
        let before = self.before.as_ref();
        Ok(before
            .filter(|_| age < MIN_RUN_INTERVAL)
            .unwrap_or(&self.last))
    }

    /// Returns the history with one more run. A repetition changes nothing, but if the last run could not read the
    /// counters it brings them.
    fn followed_by(&self, now: &NetnsSnapshot) -> Self {
        let mut next = self.clone();
        if now.at.saturating_sub(self.last.at) < MIN_RUN_INTERVAL {
            if now.counters.is_some() && !self.last.read_its_counters() {
                next.last.counters = now.counters.clone();
            }
            return next;
        }
        next.before = Some(std::mem::replace(&mut next.last, now.clone()));
        if next.last.counters.is_none() {
            next.last.counters = self.last.counters.clone();
        }
        next
    }
}

/// The history that the previous runs of one service left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// The boot of the host that it belongs to.
    pub boot: String,
    /// The last time at which every namespace with a process was seen and read; with `--netns all` only.
    pub walked: Option<Duration>,
    /// A history for each network namespace.
    pub namespaces: Vec<NetnsHistory>,
}

impl Baseline {
    /// Returns the time of the last run, as the time since the host was started.
    pub fn at(&self) -> Option<Duration> {
        self.namespaces.iter().map(|history| history.last.at).max()
    }

    /// Checks that a run at this time of this boot can be compared with it.
    ///
    /// # Errors
    /// The reason for which that run is a first run.
    pub fn usable(&self, boot: &str, at: Duration) -> Result<(), NoBaseline> {
        if self.boot != boot {
            return Err(NoBaseline::OtherBoot);
        }
        age(self.at().ok_or(NoBaseline::FirstRun)?, at).map(|_| ())
    }

    /// Returns what changed in a namespace up to now.
    ///
    /// # Errors
    /// [`ReadError::NoBaseline`], or [`ReadError::PreviousRunIncomplete`] if losses may have been missed.
    pub fn change(
        &self,
        run: &Snapshot,
        id: NetnsId,
        now: &NetnsSnapshot,
    ) -> Result<Change, ReadError> {
        let first_run = |why| ReadError::NoBaseline { why };
        self.usable(&run.boot, run.at).map_err(first_run)?;
        let Some(history) = self.history(id) else {
            let since = self.began_after(run).ok_or(match run.walk {
                Walk::NotDone => first_run(NoBaseline::OtherNamespace),
                Walk::Partial | Walk::Complete => ReadError::PreviousRunIncomplete,
            })?;
            let new = NetnsSnapshot::new_namespace(since, now);
            return compare(&new, now).map_err(first_run);
        };
        let then = history.previous(run.at).map_err(first_run)?;
        match compare(then, now) {
            // a container in the place of another one
            Err(NoBaseline::Reset) if id.may_be_reused() && run.walk != Walk::NotDone => {
                compare(&NetnsSnapshot::new_namespace(then.at, now), now)
            }
            other => other,
        }
        .map_err(first_run)
    }

    /// Returns what the next run finds, or none if this run adds nothing to the previous ones.
    pub fn succeeded_by(previous: Option<&Self>, now: &Snapshot) -> Option<Self> {
        let empty = Self {
            boot: now.boot.clone(),
            walked: None,
            namespaces: Vec::new(),
        };
        let usable = |previous: &&Self| previous.usable(&now.boot, now.at).is_ok();
        let previous = previous.filter(usable).unwrap_or(&empty);
        let read = now.namespaces.iter().filter_map(|(id, read)| {
            let read = read.as_ref()?;
            previous.next_history(*id, read, now)
        });
        let next = Self {
            walked: Some(now.at)
                .filter(|_| now.is_complete())
                .or(previous.walked),
            namespaces: read.chain(previous.not_read_by(now)).collect(),
            ..empty.clone()
        };
        (next.namespaces != previous.namespaces).then_some(next)
    }

    /// Returns the history of a namespace with this run in it. A new namespace of which no counters could be read is
    /// left to the next run, which then counts them from the beginning.
    fn next_history(
        &self,
        id: NetnsId,
        read: &NetnsSnapshot,
        run: &Snapshot,
    ) -> Option<NetnsHistory> {
        let only = |last| NetnsHistory {
            id,
            last,
            before: None,
        };
        match (self.history(id), self.began_after(run)) {
            (Some(history), _) if age(history.last.at, run.at).is_ok() => {
                Some(history.followed_by(read))
            }
            (Some(_), _) | (None, None) => Some(only(read.clone())),
            (None, Some(_)) if read.counters.is_none() => None,
            (None, Some(since)) => {
                Some(only(NetnsSnapshot::new_namespace(since, read)).followed_by(read))
            }
        }
    }

    fn history(&self, id: NetnsId) -> Option<&NetnsHistory> {
        self.namespaces.iter().find(|history| history.id == id)
    }

    /// Returns the time after which a namespace began that this run sees and no previous run saw. It is known only if a
    /// previous run saw every namespace. A namespace that had no process then is taken for a new one.
    fn began_after(&self, run: &Snapshot) -> Option<Duration> {
        let walked = self.walked.filter(|_| run.walk != Walk::NotDone)?;
        age(walked, run.at).ok().map(|_| walked)
    }

    /// Returns the histories of the namespaces that this run did not read, as they are kept for the next run. After a
    /// complete walk only the youngest ones are kept of those that have no process any more.
    fn not_read_by(&self, now: &Snapshot) -> Vec<NetnsHistory> {
        let unread = |history: &&NetnsHistory| {
            let read =
                |(id, read): &(NetnsId, Option<NetnsSnapshot>)| *id == history.id && read.is_some();
            !now.namespaces.iter().any(read) && age(history.last.at, now.at).is_ok()
        };
        let (mut vacant, mut kept): (Vec<_>, Vec<_>) = self
            .namespaces
            .iter()
            .filter(unread)
            .cloned()
            .partition(|history| now.walk == Walk::Complete && !now.saw(history.id));
        // the oldest ones go; a sort of these large values would be 10 KB of code
        while vacant.len() > MAX_VACANT_NAMESPACES {
            let times = vacant.iter().map(|history| history.last.at).enumerate();
            let oldest = times.min_by_key(|(_, at)| *at);
            vacant.swap_remove(oldest.map_or(0, |(index, _)| index));
        }
        for history in &mut vacant {
            history.before = None;
        }
        kept.append(&mut vacant);
        kept
    }
}

/// Returns the time between a previous run and now.
fn age(then: Duration, now: Duration) -> Result<Duration, NoBaseline> {
    let age = now.checked_sub(then).ok_or(NoBaseline::Future)?;
    if age > MAX_BASELINE_AGE {
        return Err(NoBaseline::TooOld);
    }
    Ok(age)
}

/// Compares two runs that read the same namespace.
fn compare(then: &NetnsSnapshot, now: &NetnsSnapshot) -> Result<Change, NoBaseline> {
    let elapsed = now.at.saturating_sub(then.at);
    if elapsed.is_zero() {
        return Err(NoBaseline::TooRecent);
    }
    let counters = match (&then.counters, &now.counters) {
        (Some(then), Some(now)) => Some((
            increases(&then.statistics, &now.statistics)?,
            now.at.saturating_sub(then.at),
        )),
        _ => None,
    };
    Ok(Change {
        elapsed,
        entries: i64::from(now.count) - i64::from(then.count),
        counters: counters.map(|(increases, _)| increases),
        counted_for: counters.map_or(elapsed, |(_, counted_for)| counted_for),
        was_full: then.max.is_some_and(|max| then.count >= max),
    })
}

/// The increase of each counter, all CPUs together.
///
/// The kernel's counters are 32 bits wide and wrap. One that fell has wrapped if it increased by less than 2^31 that
/// way; else it was reset, and all with it (the module was loaded anew; nothing else resets them). So it was when
/// several had counted something and each of them fell: they do not wrap together.
fn increases(then: &Statistics, now: &Statistics) -> Result<[u64; 4], NoBaseline> {
    if then.processors.len() != now.processors.len() {
        return Err(NoBaseline::OtherProcessors);
    }
    let cells = || {
        let rows = then.processors.iter().zip(&now.processors);
        rows.flat_map(|(then, now)| then.iter().zip(now).enumerate())
    };
    let (mut counted, mut fell) = (0, 0);
    let mut increases = [0_u64; 4];
    for (column, cell) in cells() {
        let (then, now) = match cell {
            (Some(then), Some(now)) => (*then, *now),
            (None, None) => continue,
            _ => return Err(NoBaseline::OtherProcessors),
        };
        counted += u32::from(then > 0);
        let is_less = now < then;
        fell += u32::from(is_less);
        let increase = now.wrapping_sub(then);
        if is_less && increase >= 1 << 31 {
            return Err(NoBaseline::Reset);
        }
        if let Some(sum) = increases.get_mut(column) {
            *sum += u64::from(increase);
        }
    }
    if fell > 1 && fell == counted {
        return Err(NoBaseline::Reset);
    }
    Ok(increases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::history_format::tests::{baselines, snapshots};
    use proptest::prelude::*;

    const OWN: NetnsId = NetnsId::RouteSocket(4);
    const POD: NetnsId = NetnsId::RouteSocket(900);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A namespace of one processor that dropped so many packets.
    fn dropped(drop: u32) -> Option<Option<u32>> {
        Some(Some(drop))
    }

    /// A run at this second that saw these namespaces: nothing if it could not be read, a count without counters, or the
    /// packets that were dropped.
    fn run(at: u64, walk: Walk, namespaces: &[(NetnsId, Option<Option<u32>>)]) -> Snapshot {
        let at = seconds(at);
        let read = |drop: Option<u32>| NetnsSnapshot {
            at,
            count: 10,
            max: Some(1000),
            counters: drop.map(|drop| Counters {
                at,
                statistics: Statistics {
                    processors: vec![[Some(drop), Some(0), Some(0), Some(0)]],
                },
            }),
        };
        Snapshot {
            boot: "boot".to_owned(),
            at,
            walk,
            namespaces: namespaces
                .iter()
                .map(|(id, found)| (*id, found.map(read)))
                .collect(),
        }
    }

    /// The packets that a run reports as lost in a namespace.
    fn lost(baseline: &Baseline, run: &Snapshot, id: NetnsId) -> Result<Option<u64>, ReadError> {
        let (_, now) = run.namespaces.iter().find(|(seen, _)| *seen == id).unwrap();
        let change = baseline.change(run, id, now.as_ref().unwrap())?;
        Ok(change.lost())
    }

    fn after(runs: &[Snapshot]) -> Baseline {
        let mut baseline = None;
        for run in runs {
            baseline = Baseline::succeeded_by(baseline.as_ref(), run).or(baseline);
        }
        baseline.unwrap()
    }

    fn all(at: u64, own: u32, pod: u32) -> Snapshot {
        run(
            at,
            Walk::Complete,
            &[(OWN, dropped(own)), (POD, dropped(pod))],
        )
    }

    #[test]
    fn a_namespace_that_a_run_did_not_reach_is_compared_with_the_run_that_read_it() {
        for missed in [
            run(300, Walk::Partial, &[(OWN, dropped(0))]),
            run(300, Walk::Complete, &[(OWN, dropped(0)), (POD, None)]),
            run(300, Walk::Complete, &[(OWN, dropped(0)), (POD, Some(None))]),
        ] {
            let baseline = after(&[all(0, 0, 5), missed.clone()]);
            let now = all(600, 1, 12);
            assert_eq!(lost(&baseline, &now, POD), Ok(Some(7)), "{missed:?}");
            assert_eq!(lost(&baseline, &now, OWN), Ok(Some(1)));
            let (_, read) = &now.namespaces[1];
            let change = baseline.change(&now, POD, read.as_ref().unwrap()).unwrap();
            assert_eq!(change.counted_for, seconds(600), "{missed:?}");
            let baseline = after(&[all(0, 0, 5), missed, now]);
            assert_eq!(lost(&baseline, &all(900, 1, 12), POD), Ok(Some(0)));
        }
    }

    #[test]
    fn a_namespace_that_is_new_since_a_complete_walk_lost_all_that_it_counted() {
        let alone = run(0, Walk::Complete, &[(OWN, dropped(3))]);
        let baseline = after(std::slice::from_ref(&alone));
        let now = all(300, 3, 40);
        assert_eq!(lost(&baseline, &now, POD), Ok(Some(40)));
        let (_, read) = &now.namespaces[1];
        let change = baseline.change(&now, POD, read.as_ref().unwrap()).unwrap();
        assert_eq!((change.entries, change.elapsed), (10, seconds(300)));
        let baseline = after(&[alone.clone(), now]);
        assert_eq!(lost(&baseline, &all(600, 3, 41), POD), Ok(Some(1)));
        assert_eq!(
            lost(&baseline, &all(302, 3, 41), POD),
            Ok(Some(41)),
            "a repetition"
        );
        // walks that were cut short in between saw no less than the complete one
        let partial = run(300, Walk::Partial, &[(OWN, dropped(3))]);
        let baseline = after(&[alone.clone(), partial]);
        assert_eq!(lost(&baseline, &all(600, 3, 40), POD), Ok(Some(40)));
        // and one that could not read it leaves it to the next
        for unread in [None, Some(None)] {
            let namespaces = [(OWN, dropped(3)), (POD, unread)];
            let unread = run(300, Walk::Complete, &namespaces);
            let baseline = after(&[alone.clone(), unread]);
            assert_eq!(lost(&baseline, &all(600, 3, 40), POD), Ok(Some(40)));
        }
    }

    #[test]
    fn a_namespace_that_no_complete_walk_missed_cannot_be_compared() {
        let partial = run(0, Walk::Partial, &[(OWN, dropped(3))]);
        let unread = run(0, Walk::Complete, &[(OWN, dropped(3)), (POD, None)]);
        for first in [partial, unread] {
            let baseline = after(&[first]);
            let why = lost(&baseline, &all(300, 3, 40), POD);
            assert_eq!(why, Err(ReadError::PreviousRunIncomplete));
            let baseline = after(&[baseline_run(&baseline), all(300, 3, 40)]);
            assert_eq!(lost(&baseline, &all(600, 3, 42), POD), Ok(Some(2)));
        }
        // without a walk nothing is known of other namespaces
        let baseline = after(&[run(0, Walk::Complete, &[(OWN, dropped(3))])]);
        let elsewhere = run(300, Walk::NotDone, &[(NetnsId::Cookie(1), dropped(9))]);
        assert_eq!(
            lost(&baseline, &elsewhere, NetnsId::Cookie(1)),
            Err(ReadError::NoBaseline {
                why: NoBaseline::OtherNamespace
            })
        );
    }

    /// The run that such a baseline is of.
    fn baseline_run(baseline: &Baseline) -> Snapshot {
        let history = &baseline.namespaces[0];
        Snapshot {
            boot: baseline.boot.clone(),
            at: history.last.at,
            walk: Walk::Partial,
            namespaces: vec![(history.id, Some(history.last.clone()))],
        }
    }

    #[test]
    fn a_namespace_without_a_process_at_one_run_is_known_at_the_next() {
        let alone = run(300, Walk::Complete, &[(OWN, dropped(0))]);
        let baseline = after(&[all(0, 0, 50), alone.clone()]);
        assert_eq!(lost(&baseline, &all(600, 0, 51), POD), Ok(Some(1)));
        // as many as there is room for, the youngest ones
        let many: Vec<Snapshot> = (0..300)
            .map(|n| {
                let id = NetnsId::RouteSocket(1000 + n);
                run(
                    10 * n,
                    Walk::Complete,
                    &[(OWN, dropped(0)), (id, dropped(1))],
                )
            })
            .collect();
        let baseline = after(&many);
        let known = |n: u64| baseline.history(NetnsId::RouteSocket(1000 + n)).is_some();
        assert_eq!(baseline.namespaces.len(), 2 + MAX_VACANT_NAMESPACES);
        assert!(known(299) && known(298) && known(299 - 256) && !known(299 - 257));
        // with one run each
        let without_process = baseline.namespaces.iter().filter(|known| known.id != OWN);
        let runs: Vec<_> = without_process
            .map(|known| known.before.is_some())
            .collect();
        assert!(!runs[1..].contains(&true), "{runs:?}");
        // and all of them if the walk was cut short
        let crowd: Vec<_> = (0..300)
            .map(|n| (NetnsId::RouteSocket(1000 + n), dropped(1)))
            .collect();
        let partial = run(300, Walk::Partial, &[(OWN, dropped(0))]);
        let baseline = after(&[run(0, Walk::Complete, &crowd), partial]);
        assert_eq!(baseline.namespaces.len(), 301);
        // for a week
        let late = MAX_BASELINE_AGE.as_secs() + 100;
        let often: Vec<Snapshot> = (0..=late / 86_400)
            .map(|day| run(day * 86_400 + 100, Walk::Complete, &[(OWN, dropped(0))]))
            .collect();
        let baseline = after(&[&[all(0, 0, 50)], &often[..]].concat());
        assert_eq!(baseline.history(POD), None);
    }

    #[test]
    fn a_container_whose_number_is_used_again_lost_all_that_it_counted() {
        let id = NetnsId::Statistics(77);
        let with = |at, drop| {
            run(
                at,
                Walk::Complete,
                &[(OWN, dropped(0)), (id, dropped(drop))],
            )
        };
        let baseline = after(&[with(0, 100)]);
        assert_eq!(lost(&baseline, &with(300, 30), id), Ok(Some(30)));
        // a number that is never used again is the same namespace: its module was loaded anew
        let baseline = after(&[all(0, 0, 100)]);
        assert_eq!(
            lost(&baseline, &all(300, 0, 30), POD),
            Err(ReadError::NoBaseline {
                why: NoBaseline::Reset
            })
        );
    }

    #[test]
    fn a_repetition_brings_the_counters_that_the_run_before_it_could_not_read() {
        let own = |at, drop| run(at, Walk::NotDone, &[(OWN, drop)]);
        // the first run had none: from the second on they are compared with
        let baseline = after(&[own(0, Some(None)), own(2, dropped(4))]);
        assert_eq!(
            lost(&baseline, &own(300, dropped(9)), OWN),
            Ok(Some(5)),
            "{baseline:?}"
        );
        // a later one had none: the repetition reports what was lost since the run before, and the next run does not
        let runs = [own(0, dropped(4)), own(300, Some(None))];
        let repetition = own(302, dropped(9));
        assert_eq!(lost(&after(&runs), &repetition, OWN), Ok(Some(5)));
        let baseline = after(&[&runs[..], &[repetition]].concat());
        assert_eq!(lost(&baseline, &own(600, dropped(9)), OWN), Ok(Some(0)));
    }

    #[test]
    fn a_repetition_reports_the_same_and_takes_nothing_from_the_next_run() {
        let baseline = after(&[all(0, 0, 0), all(300, 0, 7), all(304, 0, 9)]);
        assert_eq!(lost(&baseline, &all(304, 0, 9), POD), Ok(Some(9)));
        assert_eq!(lost(&baseline, &all(305, 0, 9), POD), Ok(Some(2)));
        assert_eq!(
            Baseline::succeeded_by(Some(&baseline), &all(304, 0, 9)),
            None
        );
        // after five seconds it is a run like any other
        let baseline = after(&[all(0, 0, 0), all(300, 0, 7), all(305, 0, 9)]);
        assert_eq!(lost(&baseline, &all(310, 0, 10), POD), Ok(Some(1)));
    }

    #[test]
    fn a_namespace_that_a_repetition_could_not_read_is_compared_as_if_it_had_not_been_tried() {
        let namespaces = [(OWN, dropped(0)), (POD, None)];
        let unread = run(302, Walk::Complete, &namespaces);
        let baseline = after(&[all(0, 0, 0), all(300, 0, 7), unread]);
        assert_eq!(lost(&baseline, &all(304, 0, 9), POD), Ok(Some(9)));
    }

    #[test]
    fn a_namespace_that_was_not_read_for_a_week_begins_anew() {
        let partial = run(6 * 86_400, Walk::Partial, &[(OWN, dropped(0))]);
        let baseline = after(&[all(0, 0, 5), partial.clone()]);
        let late = 7 * 86_400 + 100;
        assert_eq!(
            lost(&baseline, &all(late, 0, 50), POD),
            Err(ReadError::NoBaseline {
                why: NoBaseline::TooOld
            })
        );
        let baseline = after(&[all(0, 0, 5), partial, all(late, 0, 50)]);
        assert_eq!(lost(&baseline, &all(late + 2, 0, 53), POD), Ok(Some(3)));
    }

    #[test]
    fn a_counter_that_fell_has_wrapped_if_it_increased_by_less_than_half_of_its_range() {
        let increase = |then, now| {
            let rows = |drop| Statistics {
                processors: vec![[Some(drop), Some(0), Some(0), Some(0)]],
            };
            increases(&rows(then), &rows(now)).map(|[drop, ..]| drop)
        };
        let half = 1_u32 << 31;
        assert_eq!(increase(half + 1, 0), Ok(u64::from(half) - 1));
        assert_eq!(increase(half, 0), Err(NoBaseline::Reset));
        assert_eq!(increase(0, half), Ok(u64::from(half)));
        // one of them may wrap alone, and no two at once
        let both = |then: [u32; 2], now: [u32; 2]| {
            let rows = |[drop, early]: [u32; 2]| Statistics {
                processors: vec![[Some(drop), Some(0), Some(early), Some(0)]],
            };
            increases(&rows(then), &rows(now))
        };
        let last = u32::MAX;
        assert_eq!(both([last, 0], [0, 0]), Ok([1, 0, 0, 0]));
        assert_eq!(both([last, last], [0, last]), Ok([1, 0, 0, 0]));
        assert_eq!(both([last, last], [0, 0]), Err(NoBaseline::Reset));
        // a counter that never counted says nothing of a reset
        let three = |n| Statistics {
            processors: vec![[Some(n), Some(n), Some(n), Some(0)]],
        };
        let fell = increases(&three(last), &three(0));
        assert_eq!(fell, Err(NoBaseline::Reset));
    }

    #[test]
    fn a_counter_that_the_kernel_lacks_is_compared_with_none() {
        let rows = |chaintoolong| Statistics {
            processors: vec![[Some(7), chaintoolong, Some(0), Some(0)]],
        };
        assert_eq!(increases(&rows(None), &rows(None)), Ok([0; 4]));
        for (then, now) in [(None, Some(0)), (Some(0), None)] {
            let compared = increases(&rows(then), &rows(now));
            assert_eq!(compared, Err(NoBaseline::OtherProcessors));
        }
    }

    #[test]
    fn a_change_is_the_difference_of_two_runs_at_different_times() {
        let snapshot = |at, count| NetnsSnapshot {
            at: seconds(at),
            count,
            max: Some(1000),
            counters: None,
        };
        let change = snapshot(10, 30).change_until(&snapshot(40, 20)).unwrap();
        assert_eq!((change.elapsed, change.entries), (seconds(30), -10));
        let at_once = snapshot(10, 30).change_until(&snapshot(10, 20));
        assert_eq!(at_once, Err(NoBaseline::TooRecent));
        for (count, was_full) in [(999, false), (1000, true), (1001, true)] {
            let change = snapshot(10, count).change_until(&snapshot(40, 0)).unwrap();
            assert_eq!(change.was_full, was_full, "{count}");
        }
    }

    proptest! {
        #[test]
        fn comparing_never_panics(baseline in baselines(), now in snapshots(), at in any::<u32>(), walked in any::<bool>()) {
            let id = baseline.namespaces.first().map_or(OWN, |history| history.id);
            let walk = if walked { Walk::Complete } else { Walk::NotDone };
            let at = baseline.at().unwrap_or_default() + Duration::from_millis(u64::from(at) * 10);
            let now = NetnsSnapshot { at, ..now };
            let run = Snapshot { boot: baseline.boot.clone(), at, walk, namespaces: vec![(id, Some(now.clone()))] };
            if let Ok(change) = baseline.change(&run, id, &now) {
                prop_assert!(!change.elapsed.is_zero());
            }
            let next = Baseline::succeeded_by(Some(&baseline), &run);
            prop_assert!(next.is_none_or(|next| next != baseline && next.boot == run.boot));
        }

        #[test]
        fn counters_that_go_on_are_counted_exactly(then in any::<[[u32; 4]; 3]>(), more in any::<[[u16; 4]; 3]>()) {
            let rows = |cells: [[u32; 4]; 3]| Statistics { processors: cells.iter().map(|row| row.map(Some)).collect() };
            let mut now = then;
            let mut expected = [0_u64; 4];
            for (row, more) in now.iter_mut().zip(more) {
                for ((cell, more), sum) in row.iter_mut().zip(more).zip(&mut expected) {
                    *cell = cell.wrapping_add(u32::from(more));
                    *sum += u64::from(more);
                }
            }
            // twelve counters do not wrap together
            prop_assert_eq!(increases(&rows(then), &rows(now)), Ok(expected));
        }
    }
}
