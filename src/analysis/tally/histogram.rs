//! Counts of entries by class, direction and reply.

use super::Counted;
use crate::analysis::traffic::Traffic;
use crate::model::conntrack::Class;

// A profile is a number: the class in four bits, the direction in two, and a mark.
const CLASS: u8 = 0b1111;
const DIRECTION: u32 = 4;
const UNREPLIED: u8 = 1 << 7;

/// The class of an entry, its direction, and whether a packet came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile(u8);

impl Profile {
    /// The profile of a class and a direction, given by their places in [`Class::ALL`] and [`Traffic::ALL`]. Of the
    /// class the last four bits count, of the direction the last two.
    #[inline(always)] // of each entry
    pub(super) fn new(class: u8, traffic: u8, unreplied: bool) -> Self {
        let direction = (traffic & 0b11) << DIRECTION;
        let unreplied = if unreplied { UNREPLIED } else { 0 };
        Self(class & CLASS | direction | unreplied)
    }

    /// The place of the class in [`Class::ALL`].
    fn class(self) -> usize {
        usize::from(self.0 & CLASS)
    }

    /// The place of the direction in [`Traffic::ALL`].
    fn traffic(self) -> usize {
        usize::from(self.0 >> DIRECTION & 0b11)
    }

    /// True if no packet came back.
    fn is_unreplied(self) -> bool {
        self.0 & UNREPLIED != 0
    }
}

/// Entries by profile: one count to an entry, and the rest are sums.
#[derive(Debug)]
pub(super) struct Histogram([u64; 256]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Histogram {
    pub(super) fn add(&mut self, Profile(profile): Profile) {
        if let Some(entries) = self.0.get_mut(usize::from(profile)) {
            *entries += 1;
        }
    }

    /// Counts an entry by another profile than before.
    pub(super) fn change(&mut self, Profile(before): Profile, after: Profile) {
        if let Some(entries) = self.0.get_mut(usize::from(before)) {
            *entries = entries.saturating_sub(1);
        }
        self.add(after);
    }

    /// Entries of a class.
    pub(super) fn of_class(&self, class: Class) -> u64 {
        self.sum(|profile| profile.class() == class.index())
    }

    /// Entries of a direction.
    pub(super) fn of_direction(&self, traffic: Traffic) -> u64 {
        self.sum(|profile| profile.traffic() == traffic as usize)
    }

    /// Entries to which no packet came back.
    pub(super) fn unreplied(&self) -> u64 {
        self.sum(Profile::is_unreplied)
    }

    /// The sums that are asked of a group.
    pub(super) fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        let split = &mut counted.split;
        for (entries, profile) in self.profiles() {
            let unreplied = profile.is_unreplied();
            let is = |class: Class| profile.class() == class.index();
            split.entries += entries;
            if let Some(count) = split.classes.get_mut(profile.class()) {
                *count += entries;
            }
            if is(Class::SynSent) || (unreplied && !is(Class::Established)) {
                split.unanswered += entries;
            } else if unreplied {
                split.one_sided += entries;
            }
            if unreplied {
                counted.unreplied += entries;
            }
            let is_forwarded = profile.traffic() == Traffic::Forward as usize;
            if is(Class::TimeWait) && !is_forwarded {
                counted.ended += entries;
            }
            if let Some(count) = counted.directions.get_mut(profile.traffic()) {
                *count += entries;
            }
        }
        counted
    }

    fn sum(&self, wanted: impl Fn(Profile) -> bool) -> u64 {
        self.profiles()
            .filter(|(_, profile)| wanted(*profile))
            .map(|(entries, _)| entries)
            .sum()
    }

    /// The profiles that occur, with their entries.
    fn profiles(&self) -> impl Iterator<Item = (u64, Profile)> + '_ {
        let all = self.0.iter().copied().zip(0..=u8::MAX);
        all.filter(|(entries, _)| *entries != 0)
            .map(|(entries, profile)| (entries, Profile(profile)))
    }
}
