//! The state file: its text, then, behind a NUL, numbers for the run that is compared with it.

use std::hash::{DefaultHasher, Hasher};

use check_conntrack::judge::history::{Baseline, Run, Space};
use check_conntrack::model::readings::Statistics;

/// The text with the hash that makes it one of ours, so that what is made up gets past the first doubt.
pub(crate) fn sealed(facts: &str) -> String {
    // as check_line in src/judge/history.rs has it; that the seeds are read says that it still does
    let mut hasher = DefaultHasher::new();
    hasher.write(facts.as_bytes());
    format!("{facts}check {:016x}\n", hasher.finish())
}

/// What is read is read again as it is printed, and compared with without a panic.
pub fn state(data: &[u8]) {
    let (text, numbers) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    for text in [text.to_owned(), sealed(text)] {
        if let Some(baseline) = Baseline::parse(&text) {
            let printed = baseline.to_string();
            assert_eq!(
                Baseline::parse(&printed).as_ref(),
                Some(&baseline),
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
    let at = if far & 1 == 0 {
        baseline.last.at.wrapping_add(u64::from(near))
    } else {
        u64::from(far) << 32 | u64::from(near)
    };
    // than whichever was made up
    let another = format!("{} again", baseline.boot);
    let mut spaces = Vec::new();
    for then in &baseline.last.spaces {
        let mut more = [0; 4];
        let statistics = then.statistics.as_ref().map(|statistics| Statistics {
            processors: statistics
                .processors
                .iter()
                .map(|row| {
                    let mut now = *row;
                    for (cell, more) in now.iter_mut().zip(&mut more) {
                        if let Some(cell) = cell {
                            let increase = next();
                            *cell = cell.wrapping_add(increase);
                            *more += u64::from(increase);
                        }
                    }
                    now
                })
                .collect(),
        });
        let now = Space {
            count: then.count.wrapping_add(next()),
            statistics,
            ..then.clone()
        };
        if let Ok(change) = baseline.change(&baseline.boot, at, &now) {
            assert!(change.elapsed > 0 && change.elapsed <= at);
            assert!(change.counters.is_none() || now.statistics.is_some());
            let _ = change.lost();
            let same = |space: &&Space| space.identity == then.identity;
            let is_only = baseline.last.spaces.iter().filter(same).count() == 1;
            let with_last = baseline.before.is_none() && is_only;
            if with_last {
                assert_eq!(change.elapsed, at - baseline.last.at);
                assert_eq!(change.entries, i64::from(now.count) - i64::from(then.count));
                assert!(change.counters.is_none_or(|counters| counters == more));
            }
        }
        assert!(baseline.change(&another, at, &now).is_err());
        spaces.push(now);
    }
    let now = Run { at, spaces };
    let Some(next) = Baseline::succeeded_by(Some(baseline), &baseline.boot, now.clone()) else {
        return;
    };
    assert_eq!(next.last, now);
    assert!(next.before.is_none_or(|before| before == baseline.last));
    let next = Baseline {
        before: Some(baseline.last.clone()),
        last: now,
        boot: baseline.boot.clone(),
    };
    assert_eq!(Baseline::parse(&next.to_string()), Some(next));
}
