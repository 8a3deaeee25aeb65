//! The largest of many groups, estimated from a sample.
//!
//! The group with most entries in a sample is mostly one that was drawn more often than the others: the largest count
//! of many small groups is far above the entries of each. So the group is chosen in one half of the sample and counted
//! in the other half, and the interval is one of the largest of all groups, not one of a group chosen beforehand.

use std::cmp::Reverse;

use super::endpoint::GroupKey;
use super::{Scale, Tally};
use crate::model::readings::Estimate;

/// The probability that the interval lies above the entries of the largest group, and that it lies below.
const MISSED: f64 = 0.025;

/// Terms of a sum that are smaller than this part of it are left out.
const NEGLIGIBLE: f64 = 1e-12;

/// The entries of the largest group in the whole table. A sample of it holds `seen` entries of that group, and an entry of
/// the sample is in `memberships` groups on average.
pub fn largest(seen: u64, memberships: f64, scale: Scale) -> Estimate<u64> {
    if !scale.is_sample() {
        return Estimate::exact(scale.extrapolate(seen));
    }
    let members = scale.total as f64 * memberships;
    Estimate {
        value: scale.extrapolate(seen),
        at_least: at_least(seen, members, scale),
        at_most: at_most(seen, scale),
    }
}

/// The smallest number of entries that the largest group may have if one group has `seen` entries in the sample.
///
/// Groups of `size` entries or fewer that hold `members` entries together have one with that many in the sample with a
/// probability of at most `members / size` times the one of a group of `size` entries.
fn at_least(seen: u64, members: f64, scale: Scale) -> u64 {
    let is_too_small = |size: u64| {
        let groups = members / size.max(1) as f64;
        groups * Draw::new(size, scale).at_least(seen) <= MISSED
    };
    first(seen, scale.extrapolate(seen), is_too_small)
}

/// The largest number of entries of a group of which `seen` entries are in the sample. The largest group has that many
/// or fewer of them, so no more groups have to be thought of.
fn at_most(seen: u64, scale: Scale) -> u64 {
    let unread = scale.total.saturating_sub(scale.read);
    let last = seen.saturating_add(unread).saturating_add(1);
    let is_likely = |size: u64| Draw::new(size, scale).at_most(seen) > MISSED;
    first(scale.extrapolate(seen), last, is_likely).saturating_sub(1)
}

/// The first number from `low` on for which this no longer holds, `high` at the latest.
fn first(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The number of entries of one group in a sample of a table (hypergeometric distribution).
struct Draw {
    size: f64,
    read: f64,
    total: f64,
}

impl Draw {
    fn new(size: u64, scale: Scale) -> Self {
        Self {
            size: size as f64,
            read: scale.read as f64,
            total: scale.total as f64,
        }
    }

    /// The probability of exactly `n` entries.
    fn exactly(&self, n: f64) -> f64 {
        let others = self.total - self.size;
        if n < 0.0 || n > self.size.min(self.read) || self.read - n > others {
            return 0.0;
        }
        let ways = ln_choose(self.size, n) + ln_choose(others, self.read - n);
        (ways - ln_choose(self.total, self.read)).exp()
    }

    /// The probability of `seen` entries or more, which are more than expected.
    fn at_least(&self, seen: u64) -> f64 {
        let mut n = seen as f64;
        let (mut term, mut sum) = (self.exactly(n), 0.0);
        while term > sum * NEGLIGIBLE {
            sum += term;
            let left = (self.size - n) * (self.read - n);
            term *= left / ((n + 1.0) * (self.total - self.size - self.read + n + 1.0));
            n += 1.0;
        }
        sum
    }

    /// The probability of `seen` entries or fewer, which are fewer than expected.
    fn at_most(&self, seen: u64) -> f64 {
        let mut n = seen as f64;
        let (mut term, mut sum) = (self.exactly(n), 0.0);
        while term > sum * NEGLIGIBLE {
            sum += term;
            let left = n * (self.total - self.size - self.read + n);
            term *= left / ((self.size - n + 1.0) * (self.read - n + 1.0));
            n -= 1.0;
        }
        sum
    }
}

/// The logarithm of the number of ways to choose `k` of `n`.
fn ln_choose(n: f64, k: f64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// The logarithm of n!, by the series of Stirling.
fn ln_factorial(n: f64) -> f64 {
    const EXACT: f64 = 10.0;
    if n < EXACT {
        return (2..=n as u32).map(|factor| f64::from(factor).ln()).sum();
    }
    let half_of_ln_tau = 0.5 * std::f64::consts::TAU.ln();
    (n + 0.5) * n.ln() - n + half_of_ln_tau + 1.0 / (12.0 * n) - 1.0 / (360.0 * n * n * n)
}

impl Tally {
    /// The entries of the endpoint that holds most, of which `seen` were read.
    pub fn largest(&self, seen: u64, scale: Scale) -> Estimate<u64> {
        if !scale.is_sample() || seen == 0 {
            return largest(seen, 1.0, scale);
        }
        let halves = [self.counts_of(0), self.counts_of(1)];
        let members: u64 = halves.iter().flatten().copied().map(u64::from).sum();
        let largest = largest(seen, members as f64 / self.read() as f64, scale);
        let [one, other] = &halves;
        let counted = self.chosen_in(one, other) + self.chosen_in(other, one);
        let estimate = scale.extrapolate(counted);
        Estimate {
            value: estimate.max(largest.at_least).min(largest.value),
            ..largest
        }
    }

    /// The entries in one half of the group that has most entries in the other half.
    fn chosen_in(&self, other: &[u32], half: &[u32]) -> u64 {
        let group = self.largest_group(other);
        let count = group.and_then(|group| half.get(group as usize));
        count.copied().unwrap_or_default().into()
    }

    /// Entries of each group, of every other entry that was read.
    fn counts_of(&self, half: usize) -> Vec<u32> {
        self.counts_in(self.packed.all_groups().iter().skip(half).step_by(2))
    }

    /// The group with most entries.
    fn largest_group(&self, counts: &[u32]) -> Option<u32> {
        let of = |number: &u32| counts.get(*number as usize).copied().unwrap_or_default();
        let groups = self.numbers.iter();
        let most =
            groups.max_by_key(|(key, number): &(&GroupKey, &u32)| (of(number), Reverse(**key)));
        most.map(|(_, number)| *number)
    }
}
