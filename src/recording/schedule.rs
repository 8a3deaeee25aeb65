//! The moments at which the recorder looks into the table: often while the table is full, and never at a high cost.

use std::time::Duration;

use super::Sample;

/// Two looks are never closer to each other.
const CLOSEST: Duration = Duration::from_secs(10);
/// Looks at a calm table, which later ones are compared with, are so far apart.
const REFERENCE_EVERY: Duration = Duration::from_secs(300);
/// A table that is at least this full is looked at as often as permitted. Percent.
const LOOKED_AT: u64 = 50;
/// A look is followed by a pause of so many times the CPU time that it took: 2 percent of one CPU.
const PAUSE: u32 = 50;
/// A timer may be late once and punctual the next time.
const TOLERANCE: Duration = Duration::from_millis(100);

/// If several tables are read, all of them together are followed by a pause of so many times the CPU time. The pause of
/// some looks may last this much longer than until the next tick, which still is 2 percent over a minute.
const SHARED_PAUSE: u32 = 60;
const LEAD: Duration = Duration::from_secs(10);

/// The time for a look is never longer than so many times the time on an idle host: eight times 1.2 seconds is less than
/// the time between two looks.
const MOST_TIMES: u128 = 8;

/// The factor by which the next look may take longer than on an idle host. A host that is busy, or a limit on the CPU time of
/// the service, kept the look before from the CPU: it lasted `elapsed` and used `cost`.
pub fn times_longer(elapsed: Duration, cost: Duration) -> u32 {
    let times = elapsed.as_micros() / cost.as_micros().max(1);
    u32::try_from(times.clamp(1, MOST_TIMES)).unwrap_or(1)
}

/// The CPU time that looks into several tables may take together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    /// The moment at which the pause for all looks so far is over.
    paid: Duration,
}

impl Budget {
    /// True if one more look may be taken at this moment.
    pub fn permits(&self, at: Duration) -> bool {
        self.paid <= at + LEAD
    }

    /// Notes the CPU time of a look.
    pub fn spend(&mut self, at: Duration, cost: Duration) {
        self.paid = self.paid.max(at) + cost.saturating_mul(SHARED_PAUSE);
    }
}

/// The last look, and whether another one is owed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schedule {
    last: Option<Duration>,
    cost: Duration,
    is_owed: bool,
}

impl Schedule {
    /// True if the table is to be looked at beside this sample.
    pub fn is_due(&mut self, sample: &Sample) -> bool {
        self.is_owed |= sample.is_at_least(LOOKED_AT) || sample.lost() > 0;
        let Some(last) = self.last else {
            return true;
        };
        let since = sample.at.saturating_sub(last) + TOLERANCE;
        since >= self.spacing() && (self.is_owed || since >= REFERENCE_EVERY)
    }

    /// Notes a look at this moment and the CPU time that it took. A look that ran out of time is owed again.
    pub fn looked(&mut self, at: Duration, cost: Duration, ran_out_of_time: bool) {
        *self = Self {
            last: Some(at),
            cost,
            is_owed: ran_out_of_time,
        };
    }

    /// The time since the last look; the longest there is if there was none.
    pub fn since(&self, now: Duration) -> Duration {
        self.last
            .map_or(Duration::MAX, |last| now.saturating_sub(last))
    }

    /// The time between two looks, if it is longer than usual to spare the CPU.
    pub fn spaced(&self) -> Option<Duration> {
        Some(self.spacing()).filter(|spacing| *spacing > CLOSEST)
    }

    fn spacing(&self) -> Duration {
        CLOSEST.max(self.cost.saturating_mul(PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{sample, seconds};
    use super::*;

    fn looks(every: u64, until: u64, cost: Duration, count: impl Fn(u64) -> u32) -> Vec<u64> {
        let mut schedule = Schedule::default();
        let mut looks = Vec::new();
        for at in (0..=until).step_by(every as usize) {
            if schedule.is_due(&sample(at, count(at))) {
                schedule.looked(seconds(at), cost, false);
                looks.push(at);
            }
        }
        looks
    }

    #[test]
    fn a_calm_table_is_looked_at_every_five_minutes() {
        let cheap = Duration::from_millis(20);
        assert_eq!(looks(10, 650, cheap, |_| 499), [0, 300, 600]);
    }

    #[test]
    fn a_table_that_is_half_full_is_looked_at_every_ten_seconds_and_not_more_often() {
        let cheap = Duration::from_millis(20);
        assert_eq!(looks(10, 40, cheap, |_| 500), [0, 10, 20, 30, 40]);
        assert_eq!(looks(1, 25, cheap, |_| 500), [0, 10, 20]);
        assert_eq!(looks(60, 120, cheap, |_| 500), [0, 60, 120]);
        assert_eq!(
            looks(10, 60, cheap, |at| if at < 20 { 1 } else { 900 })[1],
            20
        );
    }

    #[test]
    fn looks_take_at_most_two_percent_of_a_cpu() {
        let dear = Duration::from_millis(600);
        assert_eq!(looks(10, 90, dear, |_| 900), [0, 30, 60, 90]);
        let mut schedule = Schedule::default();
        assert_eq!(schedule.spaced(), None);
        schedule.looked(seconds(0), dear, false);
        assert_eq!(schedule.spaced(), Some(seconds(30)));
    }

    #[test]
    fn looks_into_many_tables_take_at_most_two_percent_of_a_cpu_over_a_minute() {
        let mut budget = Budget::default();
        let cost = Duration::from_millis(5);
        let mut spent = Vec::new();
        for at in (0..600).step_by(10) {
            // more tables than can be read
            for _ in 0..1000 {
                if budget.permits(seconds(at)) {
                    budget.spend(seconds(at), cost);
                    spent.push(at);
                }
            }
        }
        for from in (0..540).step_by(10) {
            let minute = spent.iter().filter(|at| (from..from + 60).contains(*at));
            let looks = minute.count();
            assert!((150..=240).contains(&looks), "{looks} looks from {from}");
        }
    }

    #[test]
    fn a_look_that_waited_for_the_cpu_gives_the_next_one_more_time_within_the_time_between_two() {
        let ms = Duration::from_millis;
        assert_eq!(times_longer(ms(20), ms(20)), 1);
        assert_eq!(times_longer(ms(19), ms(20)), 1);
        assert_eq!(times_longer(ms(1200), ms(300)), 4);
        // as with CPUQuota=10%, or if the clock of the process has not moved
        for cost in [ms(120), Duration::ZERO] {
            let times = times_longer(ms(1200), cost);
            assert!(times == 8 && ms(1200) * times < CLOSEST, "{times}");
        }
    }

    #[test]
    fn losses_are_looked_at_even_if_the_table_is_calm_by_then() {
        let mut schedule = Schedule::default();
        schedule.looked(seconds(0), Duration::ZERO, false);
        let lost = Sample {
            increases: Some([5, 0, 0, 0]),
            ..sample(4, 10)
        };
        assert!(!schedule.is_due(&lost));
        assert!(schedule.is_due(&sample(10, 10)));
        schedule.looked(seconds(10), Duration::ZERO, false);
        assert!(!schedule.is_due(&sample(20, 10)));
    }

    #[test]
    fn a_look_that_ran_out_of_time_is_repeated_as_soon_as_permitted() {
        let mut schedule = Schedule::default();
        schedule.looked(seconds(0), Duration::from_millis(400), true);
        assert!(!schedule.is_due(&sample(10, 1)));
        assert!(schedule.is_due(&sample(20, 1)));
        schedule.looked(seconds(20), Duration::ZERO, false);
        assert!(!schedule.is_due(&sample(40, 1)));
    }

    #[test]
    fn a_timer_that_is_late_once_does_not_put_the_next_look_off() {
        let mut schedule = Schedule::default();
        schedule.looked(Duration::from_millis(10_030), Duration::ZERO, false);
        let punctual = Sample {
            at: Duration::from_millis(20_000),
            ..sample(0, 600)
        };
        assert!(schedule.is_due(&punctual));
    }
}
