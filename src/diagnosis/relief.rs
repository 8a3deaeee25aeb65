//! Relief: a larger limit that lasts an hour at the present growth, if memory permits.

use std::time::Duration;

/// Bytes of kernel memory that an entry takes at most: 256 (320 before Linux 6.1), and 128 for its extensions.
pub const ENTRY_BYTES: u64 = 384;
/// Bytes of a hash bucket (`struct hlist_nulls_head`).
pub const BUCKET_BYTES: u64 = 8;
/// A larger limit may take at most this part of the memory.
const MEMORY_PART: u64 = 16;
/// A larger limit lasts so long at the present growth.
const LASTS_MINUTES: u64 = 60;
/// A full table has at most this mean chain, or buckets are raised too. An entry is in two chains.
const MAX_CHAIN: u64 = 8;
/// nf_conntrack_max is an int of the kernel; the largest power of two in it.
const LARGEST_MAX: u64 = 1 << 30;

/// The present limit and what it is set against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Entries in the table.
    pub count: u32,
    /// nf_conntrack_max.
    pub max: u32,
    /// nf_conntrack_buckets, if known.
    pub buckets: Option<u32>,
    /// Entries per minute, if known.
    pub growth: Option<i64>,
    /// MemTotal in bytes, if known.
    pub memory: Option<u64>,
}

/// A larger limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relief {
    /// nf_conntrack_max, a power of two.
    pub max: u64,
    /// nf_conntrack_buckets, if chains would grow too long without more of them.
    pub buckets: Option<u64>,
    /// Entries that fit besides those that are there.
    pub room: u64,
    /// Time until the table is full at the present growth; none if it does not grow.
    pub lasts: Option<Duration>,
    /// Bytes of memory that the change takes at most.
    pub memory: u64,
}

/// The larger limit; none if memory does not permit one.
pub fn relief(now: Room) -> Option<Relief> {
    let (count, max) = (u64::from(now.count), u64::from(now.max));
    let growth = now
        .growth
        .and_then(|growth| u64::try_from(growth).ok())
        .filter(|growth| *growth > 0);
    let in_an_hour = count.saturating_add(growth.unwrap_or_default().saturating_mul(LASTS_MINUTES));
    let wanted = in_an_hour
        .max(max.saturating_mul(2))
        .checked_next_power_of_two()
        .unwrap_or(u64::MAX);
    let affordable = now
        .memory
        .map_or(u64::MAX, |memory| memory / MEMORY_PART / ENTRY_BYTES);
    let largest = LARGEST_MAX.min(power_of_two_up_to(affordable));
    let new = wanted.min(largest);
    if new <= max || new <= count {
        return None;
    }
    let buckets = now
        .buckets
        .map(u64::from)
        .filter(|buckets| buckets.saturating_mul(MAX_CHAIN) < new.saturating_mul(2))
        .map(|_| new);
    let room = new - count;
    Some(Relief {
        max: new,
        buckets,
        room,
        lasts: growth.map(|growth| Duration::from_secs(room.saturating_mul(60) / growth)),
        memory: (new - max) * ENTRY_BYTES + buckets.map_or(0, |buckets| buckets * BUCKET_BYTES),
    })
}

/// The largest power of two that is not above `n`; 0 for 0.
fn power_of_two_up_to(n: u64) -> u64 {
    match n.checked_ilog2() {
        Some(bits) => 1 << bits,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    fn room(count: u32, max: u32, growth: Option<i64>, memory: u64) -> Room {
        Room {
            count,
            max,
            buckets: Some(max),
            growth,
            memory: Some(memory),
        }
    }

    #[test]
    fn the_new_limit_lasts_an_hour_at_the_present_growth() {
        let relief = relief(room(7595, 8192, Some(1400), 4 * GB)).unwrap();
        // 7595 + 60 * 1400 = 91595
        assert_eq!(relief.max, 131_072);
        assert_eq!(relief.lasts, Some(Duration::from_secs(5291)));
        assert_eq!(relief.buckets, Some(131_072), "2 * 131072 / 8192 = 32");
    }

    #[test]
    fn the_new_limit_takes_at_most_a_sixteenth_of_the_memory() {
        let of = |memory| relief(room(7595, 8192, Some(1400), memory)).map(|relief| relief.max);
        // a sixteenth of 256 MiB holds 43690 entries
        assert_eq!(of(GB / 4), Some(32_768));
        // 8192 entries take 3 MB, a sixteenth of 48 MiB
        assert_eq!(of(48 << 20), None);
        assert_eq!(of(0), None);
    }

    #[test]
    fn a_table_that_does_not_grow_gets_twice_the_limit() {
        for growth in [None, Some(0), Some(-5)] {
            let relief = relief(room(1000, 1000, growth, GB)).unwrap();
            assert_eq!((relief.max, relief.room, relief.lasts), (2048, 1048, None));
        }
    }

    #[test]
    fn buckets_stay_if_the_chains_of_a_full_table_stay_short() {
        let with = |buckets| {
            relief(Room {
                buckets,
                ..room(1000, 1024, None, GB)
            })
            .unwrap()
            .buckets
        };
        assert_eq!(with(Some(512)), None, "2 * 2048 / 512 = 8");
        assert_eq!(with(Some(511)), Some(2048));
        assert_eq!(with(None), None);
    }

    #[test]
    fn a_limit_beyond_an_int_is_never_advised() {
        let large = room(u32::MAX, 1 << 30, Some(i64::MAX), u64::MAX);
        assert_eq!(relief(large), None);
        let large = room(1000, 1 << 29, Some(i64::MAX), u64::MAX);
        assert_eq!(relief(large).unwrap().max, 1 << 30);
    }

    #[test]
    fn an_hour_is_sixty_minutes_of_growth() {
        let max = |count| relief(room(count, 8192, Some(1000), 4 * GB)).unwrap().max;
        // 5536 + 60 * 1000 = 65536
        assert_eq!(max(5536), 65_536);
        assert_eq!(max(5537), 131_072);
    }

    #[test]
    fn a_larger_limit_is_one_that_a_sixteenth_of_the_memory_holds_whole() {
        let max = |memory| relief(room(100, 1024, Some(i64::MAX), memory)).map(|relief| relief.max);
        let holds_65536 = 65_536 * ENTRY_BYTES * 16;
        assert_eq!(max(holds_65536), Some(65_536));
        assert_eq!(max(holds_65536 - 1), Some(32_768));
        let unknown = Room {
            memory: None,
            ..room(100, 1024, Some(i64::MAX), 0)
        };
        assert_eq!(relief(unknown).unwrap().max, 1 << 30);
        assert_eq!(max(u64::MAX), Some(1 << 30));
    }

    #[test]
    fn a_limit_that_is_no_larger_is_no_relief() {
        let max = |count, max| {
            relief(room(count, max, None, 2048 * ENTRY_BYTES * 16)).map(|relief| relief.max)
        };
        assert_eq!(max(1000, 2047), Some(2048));
        assert_eq!(max(1000, 2048), None);
        // the table may hold more than its limit
        assert_eq!(max(2047, 1024), Some(2048));
        assert_eq!(max(2048, 1024), None);
    }

    #[test]
    fn the_memory_is_that_of_the_additional_entries_and_of_all_new_buckets() {
        let memory = |buckets| {
            let relief = relief(Room {
                buckets,
                ..room(1000, 1024, None, GB)
            });
            relief.unwrap().memory
        };
        assert_eq!(memory(None), 1024 * 384);
        assert_eq!(memory(Some(511)), 1024 * 384 + 2048 * 8);
    }
}
