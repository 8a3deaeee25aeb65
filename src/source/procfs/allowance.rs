//! A limit for the part of each user's processes that the check looks at.
//!
//! A look at a descriptor takes two to five microseconds, and a kilobyte of the kernel's caches. Any user can have
//! millions of them.

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

/// The cost of a user's processes so far.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    descriptors: usize,
    time: Duration,
}

/// The cost of each user's processes so far, and the limits.
#[derive(Debug)]
pub(super) struct Allowances {
    deadline: Instant,
    /// For each user but root.
    time: Duration,
    /// By user id.
    users: Vec<(Option<u32>, Spent)>,
}

/// The most that one process may cost.
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
            users: Vec::new(),
        }
    }

    /// The most that the next process of a user with so many of the sockets may cost; none if the user is at a limit. A
    /// user without an id stands for all users.
    pub(super) fn of(&self, uid: Option<u32>, sockets: Count) -> Option<Allowance> {
        let user = self.user(uid).ok().and_then(|place| self.users.get(place));
        let spent = user.map(|(_, spent)| *spent).unwrap_or_default();
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

    /// Notes the cost of a process of a user.
    pub(super) fn spend(&mut self, uid: Option<u32>, allowance: Allowance, descriptors: usize) {
        let place = self.user(uid).unwrap_or_else(|place| {
            self.users.insert(place, (uid, Spent::default()));
            place
        });
        if let Some((_, spent)) = self.users.get_mut(place) {
            spent.descriptors += descriptors;
            spent.time += allowance.begin.elapsed();
        }
    }

    fn user(&self, uid: Option<u32>) -> Result<usize, usize> {
        self.users.binary_search_by_key(&uid, |(user, _)| *user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 10_000_000;

    fn count(all: usize, missing: usize) -> Count {
        Count { all, missing }
    }

    /// The descriptors that are looked at of a user whose processes have `each` of them.
    fn looked_at(uid: Option<u32>, sockets: Count, each: usize) -> usize {
        let mut allowances = Allowances::new(Instant::now() + Duration::from_secs(3600));
        let mut sum = 0;
        while let Some(allowance) = allowances.of(uid, sockets) {
            let descriptors = each.min(allowance.descriptors);
            allowances.spend(uid, allowance, descriptors);
            sum += descriptors;
            assert!(sum < MANY);
        }
        sum
    }

    #[test]
    fn a_user_is_looked_at_as_far_as_its_sockets_are_missing() {
        let alice = Some(1000);
        assert_eq!(looked_at(alice, count(5, 1), 19_000), DESCRIPTORS + 5);
        assert_eq!(looked_at(alice, count(5, 0), 19_000), FEW_DESCRIPTORS + 5);
        assert_eq!(looked_at(alice, count(0, 0), 19_000), FEW_DESCRIPTORS);
        assert_eq!(looked_at(ROOT, count(0, 0), 19_000), DESCRIPTORS);
        assert_eq!(looked_at(None, count(9, 9), 19_000), DESCRIPTORS + 9);
        // a proxy with as many sockets as are looked for
        assert_eq!(
            looked_at(alice, count(500_000, 1), 300),
            DESCRIPTORS + 500_000
        );
    }

    #[test]
    fn one_process_leaves_a_quarter_for_the_others_of_its_user() {
        let allowances = Allowances::new(Instant::now() + Duration::from_secs(3600));
        let allowance = allowances.of(Some(1000), count(0, 0)).unwrap();
        assert_eq!(allowance.descriptors, FEW_DESCRIPTORS / 4 * 3);
    }

    #[test]
    fn what_one_user_spends_is_not_missing_for_another() {
        let mut allowances = Allowances::new(Instant::now() + Duration::from_secs(3600));
        let allowance = allowances.of(Some(1), count(0, 0)).unwrap();
        allowances.spend(Some(1), allowance, MANY);
        assert!(allowances.of(Some(1), count(0, 0)).is_none());
        assert!(allowances.of(Some(2), count(0, 0)).is_some());
    }

    #[test]
    fn no_user_but_root_takes_more_than_a_quarter_of_the_time() {
        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(400);
        let mut allowances = Allowances::new(deadline);
        let allowance = allowances.of(Some(1), count(1, 1)).unwrap();
        assert!(allowance.until <= begin + Duration::from_secs(101));
        assert_eq!(allowances.of(ROOT, count(1, 1)).unwrap().until, deadline);
        // as if the process had taken all of that time
        let long_ago = Allowance {
            begin: begin.checked_sub(Duration::from_secs(101)).unwrap(),
            ..allowance
        };
        allowances.spend(Some(1), long_ago, 1);
        assert!(allowances.of(Some(1), count(1, 1)).is_none());
        assert!(allowances.of(Some(2), count(1, 1)).is_some());
    }

    #[test]
    fn after_the_deadline_nothing_is_left_for_any_user() {
        let allowances = Allowances::new(Instant::now());
        for uid in [None, ROOT, Some(1)] {
            assert!(allowances.of(uid, count(1, 1)).is_none());
        }
    }
}
