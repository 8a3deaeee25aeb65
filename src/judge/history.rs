//! What one run leaves for the next, and how two runs are compared. Pure.
//!
//! A baseline is a small text of one line for each fact, so that an operator can read it and a parser can doubt it:
//!
//! ```text
//! check_conntrack state 1
//! boot 5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7
//! at 8640000
//! namespace cookie 1
//! count 850
//! max 1000
//! processor 12 0 3 0
//! processor 0 0 0 0
//! check 9f86d081884c7d65
//! ```
//!
//! `at` begins a run, newest first and at most two, in hundredths of a second since the host was started. `namespace`
//! begins what was read of one network namespace. `max` stands there where there is a limit. `processor` has a value for
//! each of [`crate::model::readings::Counter::ALL`], `-` for one that the kernel does not have. `check` is a hash of all lines before
//! it: a text that was cut short or changed is no baseline.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use crate::model::error::FirstRun;
use crate::model::netns::Identity;
use crate::model::readings::{Change, Readings, Statistics};

/// Runs closer together than this are both compared with the run before them. Hundredths of a second.
const TOO_RECENT: u64 = Change::SHORTEST;
/// What is older than this is not compared with, and a file that was not written for so long is removed. Hundredths of
/// a second.
pub const TOO_OLD: u64 = 7 * 24 * 3600 * 100;

/// What was read of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Which.
    pub identity: Identity,
    /// nf_conntrack_count.
    pub count: u32,
    /// nf_conntrack_max, where there is a limit.
    pub max: Option<u32>,
    /// Counters, where they could be read.
    pub statistics: Option<Statistics>,
}

impl Space {
    /// What is kept of the readings of a namespace; nothing when not even the entries were counted.
    pub fn of(identity: Identity, readings: &Readings) -> Option<Self> {
        Some(Self {
            identity,
            count: *readings.count.as_ref().ok()?,
            max: readings.max(),
            statistics: readings.statistics.as_ref().ok().cloned(),
        })
    }
}

/// What was read at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Hundredths of a second since the host was started (/proc/uptime), which no step of the clock changes.
    pub at: u64,
    /// Every namespace that was judged.
    pub spaces: Vec<Space>,
}

/// The last two runs of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// Which start of the host they belong to (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// The last one.
    pub last: Run,
    /// The one before, for a run that follows the last one too closely.
    pub before: Option<Run>,
}

impl Baseline {
    /// Why no run at this time of this boot can be compared with it; else for how long it has been there.
    fn age(&self, boot: &str, at: u64) -> Result<u64, FirstRun> {
        if self.boot != boot {
            return Err(FirstRun::OtherBoot);
        }
        let age = at.checked_sub(self.last.at).ok_or(FirstRun::Future)?;
        if age > TOO_OLD {
            return Err(FirstRun::TooOld);
        }
        Ok(age)
    }

    /// What changed in a namespace up to now.
    ///
    /// # Errors
    /// Why now is a first run.
    pub fn change(&self, boot: &str, at: u64, now: &Space) -> Result<Change, FirstRun> {
        let age = self.age(boot, at)?;
        let before = self.before.as_ref().filter(|_| age < TOO_RECENT);
        let (run, then) = before
            .into_iter()
            .chain([&self.last])
            .find_map(|run| {
                let same = |space: &&Space| space.identity == now.identity;
                Some((run, run.spaces.iter().find(same)?))
            })
            .ok_or(FirstRun::OtherNamespace)?;
        let elapsed = at
            .checked_sub(run.at)
            .filter(|elapsed| *elapsed > 0)
            .ok_or(FirstRun::TooRecent)?;
        let counters = match (&then.statistics, &now.statistics) {
            (Some(then), Some(now)) => Some(increases(then, now)?),
            _ => None,
        };
        Ok(Change {
            elapsed,
            entries: i64::from(now.count) - i64::from(then.count),
            counters,
            was_full: then.max.is_some_and(|max| then.count >= max),
        })
    }

    /// What the last run kept of a namespace, where a run at this time of this boot may be compared with it.
    pub fn last_of(&self, boot: &str, at: u64, identity: Identity) -> Option<&Space> {
        self.age(boot, at).ok()?;
        let mut spaces = self.last.spaces.iter();
        spaces.find(|space| space.identity == identity)
    }

    /// What the next run finds: none where this one stays, because now follows it too closely.
    pub fn succeeded_by(previous: Option<&Self>, boot: &str, now: Run) -> Option<Self> {
        let age = previous.map(|previous| previous.age(boot, now.at));
        if matches!(age, Some(Ok(age)) if age < TOO_RECENT) {
            return None;
        }
        let usable = previous.filter(|_| matches!(age, Some(Ok(_))));
        Some(Self {
            boot: boot.to_owned(),
            last: now,
            before: usable.map(|previous| previous.last.clone()),
        })
    }

    /// Whether somebody may still compare with it, as far as its own clock tells.
    pub fn is_in_use(&self, boot: &str, at: u64) -> bool {
        self.age(boot, at).is_ok()
    }

    /// Reads what [`fmt::Display`] wrote; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.trim_end_matches('\n').rfind('\n')? + 1;
        let (facts, check) = text.split_at_checked(end)?;
        if check != check_line(facts) {
            return None;
        }
        let mut lines = facts.split_terminator('\n').peekable();
        if lines.next() != Some(HEADER) {
            return None;
        }
        let boot = lines.next()?.strip_prefix("boot ")?.to_owned();
        let mut runs = Vec::new();
        while lines.peek().is_some() {
            runs.push(Run::parse(&mut lines)?);
        }
        let mut runs = runs.into_iter();
        let baseline = Self {
            boot,
            last: runs.next()?,
            before: runs.next(),
        };
        runs.next().is_none().then_some(baseline)
    }
}

/// The first line, with the version of what follows.
const HEADER: &str = "check_conntrack state 1";

type Lines<'a> = std::iter::Peekable<std::str::SplitTerminator<'a, char>>;

/// The rest of the next line, if it is about this fact.
fn fact<'a>(lines: &mut Lines<'a>, name: &str) -> Option<&'a str> {
    let next = lines.next_if(|line| line.split_once(' ').is_some_and(|(fact, _)| fact == name))?;
    next.split_once(' ').map(|(_, rest)| rest)
}

/// A number as it is printed: other ways of writing it were not written by us.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

impl Run {
    fn parse(lines: &mut Lines<'_>) -> Option<Self> {
        let at = number(fact(lines, "at")?)?;
        let mut spaces = Vec::new();
        while let Some(identity) = fact(lines, "namespace") {
            spaces.push(Space::parse(identity, lines)?);
        }
        Some(Self { at, spaces })
    }
}

impl Space {
    fn parse(identity: &str, lines: &mut Lines<'_>) -> Option<Self> {
        let identity = match identity.split_once(' ') {
            Some(("cookie", n)) => Identity::Cookie(number(n)?),
            Some(("inode", n)) => Identity::Inode(number(n)?),
            Some(("statistics", n)) => Identity::Statistics(number(n)?),
            None if identity == "unknown" => Identity::Unknown,
            _ => return None,
        };
        let count = number(fact(lines, "count")?)?;
        let max = match fact(lines, "max") {
            Some(max) => Some(number(max)?),
            None => None,
        };
        let mut processors = Vec::new();
        while let Some(row) = fact(lines, "processor") {
            processors.push(parse_row(row)?);
        }
        Some(Self {
            identity,
            count,
            max,
            statistics: (!processors.is_empty()).then_some(Statistics { processors }),
        })
    }
}

fn parse_row(text: &str) -> Option<[Option<u32>; 4]> {
    let mut row = [None; 4];
    let mut words = text.split(' ');
    for cell in &mut row {
        *cell = match words.next()? {
            "-" => None,
            n => Some(number(n)?),
        };
    }
    words.next().is_none().then_some(row)
}

fn check_line(facts: &str) -> String {
    // std may choose another hash one day: then an update of this check makes one first run
    let mut hasher = DefaultHasher::new();
    hasher.write(facts.as_bytes());
    format!("check {:016x}\n", hasher.finish())
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = format!("{HEADER}\nboot {}\n", self.boot);
        for run in [Some(&self.last), self.before.as_ref()]
            .into_iter()
            .flatten()
        {
            facts.push_str(&format!("at {}\n", run.at));
            for space in &run.spaces {
                facts.push_str(&space.to_string());
            }
        }
        write!(f, "{facts}{}", check_line(&facts))
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.identity {
            Identity::Cookie(n) => writeln!(f, "namespace cookie {n}")?,
            Identity::Inode(n) => writeln!(f, "namespace inode {n}")?,
            Identity::Statistics(n) => writeln!(f, "namespace statistics {n}")?,
            Identity::Unknown => writeln!(f, "namespace unknown")?,
        }
        writeln!(f, "count {}", self.count)?;
        if let Some(max) = self.max {
            writeln!(f, "max {max}")?;
        }
        for row in self.statistics.iter().flat_map(|s| &s.processors) {
            let cells = row.map(|cell| cell.map_or_else(|| "-".to_owned(), |n| n.to_string()));
            writeln!(f, "processor {}", cells.join(" "))?;
        }
        Ok(())
    }
}

/// How much each counter increased, all processors together.
///
/// The kernel's counters are 32 bits wide and wrap. One that fell has wrapped if it increased by less than 2^31 that
/// way; else it was reset, and all with it (the module was loaded anew; nothing else resets them). So it was when
/// several had counted something and each of them fell: they do not wrap together.
fn increases(then: &Statistics, now: &Statistics) -> Result<[u64; 4], FirstRun> {
    if then.processors.len() != now.processors.len() {
        return Err(FirstRun::OtherProcessors);
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
            _ => return Err(FirstRun::OtherProcessors),
        };
        counted += u32::from(then > 0);
        fell += u32::from(now < then);
        let increase = now.wrapping_sub(then);
        if now < then && increase >= 1 << 31 {
            return Err(FirstRun::Reset);
        }
        if let Some(sum) = increases.get_mut(column) {
            *sum += u64::from(increase);
        }
    }
    if fell > 1 && fell == counted {
        return Err(FirstRun::Reset);
    }
    Ok(increases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identities() -> impl Strategy<Value = Identity> {
        prop_oneof![
            any::<u64>().prop_map(Identity::Cookie),
            any::<u64>().prop_map(Identity::Inode),
            any::<u64>().prop_map(Identity::Statistics),
            Just(Identity::Unknown),
        ]
    }

    fn spaces() -> impl Strategy<Value = Space> {
        let rows = prop::collection::vec(any::<[Option<u32>; 4]>(), 0..4);
        (identities(), any::<u32>(), any::<Option<u32>>(), rows).prop_map(
            |(identity, count, max, processors)| Space {
                identity,
                count,
                max,
                statistics: (!processors.is_empty()).then_some(Statistics { processors }),
            },
        )
    }

    fn runs() -> impl Strategy<Value = Run> {
        let spaces = prop::collection::vec(spaces(), 0..4);
        (any::<u64>(), spaces).prop_map(|(at, spaces)| Run { at, spaces })
    }

    prop_compose! {
        fn baselines()(boot in "[0-9a-f-]{36}", last in runs(), before in prop::option::of(runs())) -> Baseline {
            Baseline { boot, last, before }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(baseline in baselines()) {
            prop_assert_eq!(Baseline::parse(&baseline.to_string()), Some(baseline));
        }

        #[test]
        fn whatever_is_read_was_written(text in "(check_conntrack state 1\n)?(boot [0-9a-f]{1,4}\n)?((at|namespace|namespace cookie|count|max|processor|check) ?[0-9 -]{0,9}\n){0,9}") {
            // the right hash behind it takes the parser past its first doubt
            for text in [text.clone(), format!("{text}{}", check_line(&text))] {
                if let Some(baseline) = Baseline::parse(&text) {
                    let again = Baseline::parse(&baseline.to_string());
                    prop_assert_eq!(again, Some(baseline));
                }
            }
        }

        #[test]
        fn anything_may_stand_in_the_file(text in ".*\n?.*") {
            prop_assert_eq!(Baseline::parse(&text), None);
            prop_assert_eq!(Baseline::parse(&format!("{text}\n{}", check_line(&format!("{text}\n")))), None);
        }

        #[test]
        fn a_changed_byte_makes_it_unreadable(baseline in baselines(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let whole = baseline.to_string();
            let mut bytes = whole.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(text == whole || Baseline::parse(&text).is_none(), "{text}");
            }
        }

        #[test]
        fn a_cut_makes_it_unreadable(baseline in baselines(), at in any::<prop::sample::Index>()) {
            let whole = baseline.to_string();
            let cut = &whole[..at.index(whole.len())];
            // only its last line feed may be missing
            prop_assert!(Baseline::parse(cut).is_none() || cut.len() + 1 == whole.len());
        }

        #[test]
        fn comparing_never_panics(baseline in baselines(), now in spaces(), at in any::<u64>()) {
            if let Ok(change) = baseline.change(&baseline.boot, at, &now) {
                prop_assert!(change.elapsed > 0 && change.elapsed <= 2 * TOO_OLD);
            }
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
