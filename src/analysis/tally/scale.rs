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

    /// The count in the whole table, rounded; the count itself where that was read.
    pub fn extrapolate(self, count: u64) -> u64 {
        if !self.is_sample() || self.read == 0 {
            return count;
        }
        let (count, read, total) = (
            u128::from(count),
            u128::from(self.read),
            u128::from(self.total),
        );
        let rounded = (count * total + read / 2) / read;
        // what was seen is there, even if it is more than the kernel's count
        let bounded = rounded.min(total).max(count);
        u64::try_from(bounded).unwrap_or(u64::MAX)
    }
}
