//! The packets that were lost since the previous run, and what the counters say about the reason. Pure.

use std::time::Duration;

use crate::model::readings::{Change, Counter, Readings};

/// A table that is fuller than this counts as full: the kernel's gc evicts entries of a full one down to 95 percent
/// (`gc_worker_can_early_drop` in nf_conntrack_core.c), and they come back at once.
const FULL_PERCENT: u64 = 95;

/// Packets that were lost since the previous run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// The number.
    pub packets: u64,
    /// The time in which they were lost.
    pub over: Duration,
    /// They were lost because the table was full.
    pub full_table: bool,
    /// They were lost because hash chains were too long.
    pub long_chains: bool,
    /// True if the reason still holds, so that packets are being lost now.
    pub now: bool,
}

/// The losses since the previous run; none if there were none, or if they are not known. `chains_long` is whether hash
/// chains are too long now.
pub fn losses(readings: &Readings, change: Option<&Change>, chains_long: bool) -> Option<Losses> {
    let change = change?;
    let packets = change.lost().filter(|lost| *lost > 0)?;
    let full_table = lost_to_a_full_table(readings, change);
    let long_chains = moved(change, Counter::ChainTooLong);
    Some(Losses {
        packets,
        over: change.counted_for,
        full_table,
        long_chains,
        now: (full_table && is_full(readings)) || (long_chains && chains_long),
    })
}

/// True if packets were lost below the limit: a clash of source ports, or the word of a tracker or helper.
pub fn lost_below_limit(readings: &Readings, change: Option<&Change>) -> bool {
    change.is_some_and(|change| {
        (moved(change, Counter::Drop) || moved(change, Counter::InsertFailed))
            && !moved(change, Counter::ChainTooLong)
            && !lost_to_a_full_table(readings, change)
    })
}

/// The kernel also counts as drop what it refuses for lack of memory, after an unresolved clash, or at the word of a
/// tracker or helper. So a full table is the reason only if entries were evicted too, or the table is or was full.
fn lost_to_a_full_table(readings: &Readings, change: &Change) -> bool {
    let at_limit =
        matches!((&readings.count, readings.max()), (Ok(count), Some(max)) if *count >= max);
    moved(change, Counter::Drop)
        && (moved(change, Counter::EarlyDrop) || change.was_full || at_limit || peaked(readings))
}

/// True if a recorder saw a full table since the previous run.
fn peaked(readings: &Readings) -> bool {
    match &readings.peak {
        Ok(peak) => at_least(peak.count, peak.max, FULL_PERCENT),
        Err(_) => false,
    }
}

fn moved(change: &Change, counter: Counter) -> bool {
    change.increase(counter) > Some(0)
}

fn is_full(readings: &Readings) -> bool {
    match &readings.count {
        Ok(count) => at_least(*count, readings.max(), FULL_PERCENT),
        Err(_) => false,
    }
}

fn at_least(count: u32, max: Option<u32>, percent: u64) -> bool {
    max.is_some_and(|max| u64::from(count) * 100 >= u64::from(max) * percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::readings::{Limit, Usage};

    fn readings(count: u32) -> Readings {
        Readings {
            count: Ok(count),
            limit: Ok(Limit::Entries(1000)),
            ..Readings::none()
        }
    }

    /// In the order of [`Counter::ALL`].
    fn change(counters: [u64; 4], was_full: bool) -> Change {
        Change {
            elapsed: Duration::from_secs(300),
            entries: 0,
            counters: Some(counters),
            counted_for: Duration::from_secs(300),
            was_full,
        }
    }

    fn of(count: u32, counters: [u64; 4], was_full: bool, chains_long: bool) -> Option<Losses> {
        let change = change(counters, was_full);
        losses(&readings(count), Some(&change), chains_long)
    }

    #[test]
    fn a_recorder_that_saw_a_full_table_knows_the_reason() {
        let change = change(counters(&[(DROP, 5)]), false);
        let of = |peak| {
            let readings = Readings {
                peak: Ok(Usage {
                    count: peak,
                    max: Some(1000),
                }),
                ..readings(10)
            };
            let losses = losses(&readings, Some(&change), false).unwrap();
            (
                losses.full_table,
                losses.now,
                lost_below_limit(&readings, Some(&change)),
            )
        };
        assert_eq!(of(950), (true, false, false));
        assert_eq!(of(949), (false, false, true));
    }

    const DROP: usize = 0;
    const CHAIN: usize = 1;
    const EARLY: usize = 2;
    const FAILED: usize = 3;

    fn counters(moved: &[(usize, u64)]) -> [u64; 4] {
        let mut all = [0; 4];
        for (index, n) in moved {
            all[*index] = *n;
        }
        all
    }

    #[test]
    fn the_counters_stand_in_this_order() {
        assert_eq!(
            Counter::ALL,
            [
                Counter::Drop,
                Counter::ChainTooLong,
                Counter::EarlyDrop,
                Counter::InsertFailed
            ]
        );
    }

    #[test]
    fn packets_are_being_lost_while_the_table_is_nearly_full() {
        let lost = counters(&[(DROP, 7), (EARLY, 1)]);
        let now = |count| of(count, lost, false, false).unwrap().now;
        assert!(now(950));
        assert!(!now(949), "it was full between two checks");
        let losses = of(950, lost, false, false).unwrap();
        assert_eq!(
            (losses.packets, losses.full_table, losses.long_chains),
            (7, true, false)
        );
    }

    #[test]
    fn drops_far_below_the_limit_have_another_reason() {
        let dropped = counters(&[(DROP, 50), (FAILED, 50)]);
        let losses = of(10, dropped, false, false).unwrap();
        assert!(!losses.full_table && !losses.now);
        assert!(lost_below_limit(
            &readings(10),
            Some(&change(dropped, false))
        ));
        assert!(!lost_below_limit(
            &readings(10),
            Some(&change(dropped, true))
        ));
        assert!(!lost_below_limit(
            &readings(1000),
            Some(&change(dropped, false))
        ));
        let chains = counters(&[(CHAIN, 5), (FAILED, 5)]);
        assert!(!lost_below_limit(
            &readings(10),
            Some(&change(chains, false))
        ));
        let failed = counters(&[(FAILED, 5)]);
        assert!(lost_below_limit(
            &readings(10),
            Some(&change(failed, false))
        ));
        assert_eq!(
            of(10, failed, false, false),
            None,
            "insert_failed alone loses no packet"
        );
    }

    #[test]
    fn long_chains_lose_packets_while_they_are_long() {
        let lost = counters(&[(CHAIN, 5)]);
        assert!(of(10, lost, false, true).unwrap().now);
        assert!(!of(10, lost, false, false).unwrap().now);
        assert_eq!(of(10, counters(&[]), false, true), None);
        assert_eq!(losses(&readings(10), None, true), None);
    }
}
