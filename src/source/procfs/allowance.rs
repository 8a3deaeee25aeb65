//! How much of the processes of each user is looked at.
//!
//! A look at a descriptor takes two to five microseconds, and a kilobyte of the kernel's caches. Any user can have
//! millions of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::wanted::Count;

/// Descriptors looked at of a user while one of the user's sockets has no holder, and of root: databases have a hundred
/// thousand open files.
const DESCRIPTORS: usize = 200_000;
/// Descriptors looked at of a user otherwise.
const FEW_DESCRIPTORS: usize = 20_000;
/// No user but root takes more than this part of the time.
const SHARE_OF_TIME: u32 = 4;
/// The user that may take all of the time.
const ROOT: Option<u32> = Some(0);

/// What was spent on a user.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    descriptors: usize,
    time: Duration,
}

/// What was spent on each user, and what is left.
#[derive(Debug)]
pub(super) struct Allowances {
    deadline: Instant,
    /// For each user but root.
    time: Duration,
    users: BTreeMap<Option<u32>, Spent>,
}

/// What may be spent on a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    begin: Instant,
    /// The descriptors that may be looked at.
    pub(super) descriptors: usize,
    /// When the time for the user is over.
    pub(super) until: Instant,
}

impl Allowances {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            time: deadline.saturating_duration_since(Instant::now()) / SHARE_OF_TIME,
            users: BTreeMap::new(),
        }
    }

    /// What may be spent on the next process of a user that has so many of the sockets; none if nothing is left. A user
    /// without an id stands for all users.
    pub(super) fn of(&self, uid: Option<u32>, sockets: Count) -> Option<Allowance> {
        let spent = self.users.get(&uid).copied().unwrap_or_default();
        let limit = if sockets.missing > 0 || uid == ROOT {
            DESCRIPTORS
        } else {
            FEW_DESCRIPTORS
        };
        // a user with many sockets has as many descriptors
        let limit = limit + sockets.all;
        let begin = Instant::now();
        let until = if uid == ROOT || uid.is_none() {
            self.deadline
        } else {
            self.deadline
                .min(begin + self.time.saturating_sub(spent.time))
        };
        // one process leaves something for the others of its user
        let descriptors = (limit / 4 * 3).min(limit.saturating_sub(spent.descriptors));
        (descriptors > 0 && begin < until).then_some(Allowance {
            begin,
            descriptors,
            until,
        })
    }

    /// Notes what a process of a user took.
    pub(super) fn spend(&mut self, uid: Option<u32>, allowance: Allowance, descriptors: usize) {
        let spent = self.users.entry(uid).or_default();
        spent.descriptors += descriptors;
        spent.time += allowance.begin.elapsed();
    }
}
