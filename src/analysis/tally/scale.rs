//! The whole table, estimated from a sample.

/// From counts in the entries read to counts in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Entries read.
    pub read: u64,
    /// Entries in the table.
    pub total: u64,
}

impl Scale {
    /// True if only a part of the table was read.
    pub fn is_sample(self) -> bool {
        self.read < self.total
    }

    /// True if counts in the entries read are counts in the table.
    pub fn is_exact(self) -> bool {
        self.read == self.total
    }

    /// The count in the whole table, rounded; the count itself if the whole table was read. A table that grew after its
    /// entries were counted lists more entries than the count: each number is reduced in proportion, so that no
    /// answer names more entries than it says there are.
    pub fn extrapolate(self, count: u64) -> u64 {
        if self.is_exact() || self.read == 0 {
            return count;
        }
        let (count, read, total) = (
            u128::from(count),
            u128::from(self.read),
            u128::from(self.total),
        );
        if total < read {
            return u64::try_from(count * total / read).unwrap_or(u64::MAX);
        }
        let rounded = (count * total + read / 2) / read;
        // what was seen is there, even if it is more than the kernel's count
        let bounded = rounded.min(total).max(count);
        u64::try_from(bounded).unwrap_or(u64::MAX)
    }
}
