//! Counts of entries by class, traffic and flags, for the whole table.

use crate::analysis::traffic::Traffic;
use crate::model::conntrack::{Class, Entry};

// A profile is a number: the class in four bits, the direction in two, and two marks.
const CLASS: u8 = 0b1111;
const DIRECTION: u32 = 4;
const UNREPLIED: u8 = 1 << 6;
const EVICTABLE: u8 = 1 << 7;

/// Entries of each profile: one count to an entry, and what is asked for are sums.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [u64; 256],
    /// Entries that were counted as outbound and are inbound.
    turned: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; 256],
            turned: 0,
        }
    }
}

impl Histogram {
    /// Counts an entry.
    pub(super) fn add(&mut self, entry: &Entry, class: Class, traffic: Traffic) {
        let mut profile = class as u8 | (traffic as u8) << DIRECTION;
        if !entry.replied {
            profile |= UNREPLIED;
        }
        if entry.is_evictable() {
            profile |= EVICTABLE;
        }
        if let Some(count) = self.counts.get_mut(usize::from(profile)) {
            *count += 1;
        }
    }

    /// Entries of a class.
    pub(super) fn of_class(&self, class: Class) -> u64 {
        self.sum(|profile| profile & CLASS == class as u8)
    }

    /// Entries of a direction.
    pub(super) fn of_direction(&self, traffic: Traffic) -> u64 {
        let counted = self.sum(|profile| profile >> DIRECTION & 0b11 == traffic as u8);
        match traffic {
            Traffic::Output => counted.saturating_sub(self.turned),
            Traffic::Input => counted + self.turned,
            Traffic::Forward | Traffic::Local => counted,
        }
    }

    /// Takes an outbound entry for an inbound one.
    pub(super) fn turn(&mut self) {
        self.turned += 1;
    }

    /// Entries without a reply.
    pub(super) fn unreplied(&self) -> u64 {
        self.sum(|profile| profile & UNREPLIED != 0)
    }

    /// Entries the kernel may evict.
    pub(super) fn evictable(&self) -> u64 {
        self.sum(|profile| profile & EVICTABLE != 0)
    }

    fn sum(&self, wanted: impl Fn(u8) -> bool) -> u64 {
        let counts = self.counts.iter().zip(0..=u8::MAX);
        counts
            .filter(|(_, profile)| wanted(*profile))
            .map(|(count, _)| count)
            .sum()
    }
}
