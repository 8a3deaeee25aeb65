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

/// The distance, with a confidence of 95 %, that a share of the `read` entries may have from the share in all `total`:
/// the greater distance to the two bounds of Wilson's interval, with the correction for a finite population.
///
/// Beside the textbook's `1.96 * sqrt(p * (1 - p) / n)`, which this is for any sample worth its name, a handful of
/// entries that are all of one endpoint does not count as certainty.
pub fn half_width(share: f64, read: u64, total: u64) -> f64 {
    if read >= total {
        return 0.0;
    }
    if read == 0 {
        return 1.0;
    }
    const Z: f64 = 1.959_964;
    let (read, total) = (read as f64, total as f64);
    // as many entries of an endless table would tell as much
    let worth = read * (total - 1.0) / (total - read);
    let share = share.clamp(0.0, 1.0);
    let weight = Z * Z / worth;
    let centre = (share + weight / 2.0) / (1.0 + weight);
    let reach = (share * (1.0 - share) * weight + weight * weight / 4.0).sqrt() / (1.0 + weight);
    (centre - share).abs() + reach
}
