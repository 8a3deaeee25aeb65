//! The state file: its text, then, behind a NUL, numbers for the run that is compared with it.

use std::hash::{DefaultHasher, Hasher};

use std::time::Duration;

use check_conntrack::judge::history::{Baseline, Counters, NetnsHistory, NetnsSnapshot, Snapshot};
use check_conntrack::model::netns::{NetnsId, Walk};
use check_conntrack::model::readings::Statistics;

/// The text with the hash that makes it one of ours, so that what is made up gets past the first doubt.
pub(crate) fn sealed(facts: &str) -> String {
    // as check_line in src/judge/history_format.rs has it; that the seeds are read says that it still does
    let mut hasher = DefaultHasher::new();
    hasher.write(facts.as_bytes());
    format!("{facts}check {:016x}\n", hasher.finish())
}

/// A state that was read is read again as it is printed, and compared with without a panic.
pub fn state(data: &[u8]) {
    let (text, numbers) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    for text in [text.to_owned(), sealed(text)] {
        if let Ok(baseline) = Baseline::parse(&text) {
            let printed = baseline.to_string();
            assert_eq!(
                Baseline::parse(&printed).as_ref(),
                Ok(&baseline),
                "{printed}"
            );
            compare(&baseline, numbers);
        }
    }
}

fn compare(baseline: &Baseline, numbers: &[u8]) {
    let mut numbers = numbers.chunks(4).map(|chunk| {
        let mut number = [0; 4];
        number[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(number)
    });
    let mut next = || numbers.next().unwrap_or_default();
    let (near, far) = (next(), next());
    // mostly soon after the last run
    let hundredths = |n: u64| Duration::from_millis(n.saturating_mul(10));
    let at = if far & 1 == 0 {
        let last = baseline.at().unwrap_or_default();
        last.saturating_add(hundredths(near.into()))
    } else {
        hundredths(u64::from(far) << 20 | u64::from(near))
    };
    let walk = match far >> 1 & 3 {
        0 | 1 => Walk::NotDone,
        2 => Walk::Partial,
        _ => Walk::Complete,
    };
    let mut namespaces = Vec::new();
    let mut increases = Vec::new();
    for history in &baseline.namespaces {
        let mut more = [0; 4];
        let now = later(&history.last, at, &mut next, &mut more);
        namespaces.push((history.id, Some(now)));
        increases.push(more);
    }
    let run = Snapshot {
        boot: baseline.boot.clone(),
        at,
        walk,
        namespaces,
    };
    // than whichever was made up
    let another = Snapshot {
        boot: format!("{} again", baseline.boot),
        ..run.clone()
    };
    for (((id, now), history), more) in run
        .namespaces
        .iter()
        .zip(&baseline.namespaces)
        .zip(increases)
    {
        let now = now.as_ref().expect("it was read");
        if let Ok(change) = baseline.change(&run, *id, now) {
            assert!(!change.elapsed.is_zero());
            assert!(change.counters.is_none() || now.counters.is_some());
            let _ = change.lost();
            let is_only = baseline
                .namespaces
                .iter()
                .filter(|other| other.id == *id)
                .count()
                == 1;
            if is_only && history.before.is_none() && !id.may_be_reused() {
                assert_eq!(change.elapsed, at - history.last.at);
                let entries = i64::from(now.count) - i64::from(history.last.count);
                assert_eq!(change.entries, entries);
                assert!(change.counters.is_none_or(|counters| counters == more));
            }
        }
        assert!(baseline.change(&another, *id, now).is_err());
    }
    let Some(next) = Baseline::succeeded_by(Some(baseline), &run) else {
        return;
    };
    assert_eq!(next.boot, run.boot);
    assert_eq!(Baseline::parse(&next.to_string()), Ok(next));
}

/// The namespace at a later time, with counters that increased by so many.
fn later(
    then: &NetnsSnapshot,
    at: Duration,
    next: &mut impl FnMut() -> u32,
    more: &mut [u64; 4],
) -> NetnsSnapshot {
    let mut counters = then.counters.clone();
    if let Some(counters) = &mut counters {
        counters.at = at;
        for row in &mut counters.statistics.processors {
            for (cell, more) in row.iter_mut().zip(&mut *more) {
                if let Some(cell) = cell {
                    let increase = next();
                    *cell = cell.wrapping_add(increase);
                    *more += u64::from(increase);
                }
            }
        }
    }
    NetnsSnapshot {
        at,
        count: then.count.wrapping_add(next()),
        max: then.max,
        counters,
    }
}

/// A baseline with a namespace of each kind, two processors and a run before the last one.
pub(crate) fn example() -> Baseline {
    let seconds = Duration::from_secs;
    let snapshot = |at, count| NetnsSnapshot {
        at: seconds(at),
        count,
        max: Some(1000),
        counters: Some(Counters {
            at: seconds(at),
            statistics: Statistics {
                processors: vec![
                    [Some(12), None, Some(3), Some(0)],
                    [Some(u32::MAX), None, Some(0), Some(7)],
                ],
            },
        }),
    };
    let history = |id, count| NetnsHistory {
        id,
        last: snapshot(86_400, count),
        before: Some(snapshot(86_300, 700)),
    };
    Baseline {
        boot: "5f3e0a52-5b1e-4a9c-8a55-0f1ff8d4b1c7".to_owned(),
        walked: Some(seconds(86_400)),
        namespaces: vec![
            history(NetnsId::Cookie(1), 850),
            history(NetnsId::RouteSocket(4), 850),
            history(NetnsId::Inode(4_026_531_840), 850),
            history(NetnsId::Statistics(77), 5),
            history(NetnsId::Unknown, 0),
        ],
    }
}
