//! Rules 1 to 3: hash chains, source ports, and a limit that is not the configured one.

use super::case::Case;
use super::finding::Finding;

/// From this share on source ports count as used up. Percent.
const PORTS_USED_UP: u64 = 80;
/// Buckets are raised at least by this factor, because chains that are too long are four times too long.
const BUCKETS_FACTOR: u32 = 4;

/// Rule 1. Buckets come before the limit: a higher limit alone makes the chains longer.
pub(super) fn long_chains(case: &Case<'_>) -> Option<Finding> {
    let buckets = case.buckets.filter(|_| case.chains_long)?;
    let entries = case.max.or(case.count).unwrap_or_default();
    Some(Finding::LongChains {
        buckets,
        // kernels from 5.15 start with as many buckets as entries fit
        wanted: entries
            .max(buckets.saturating_mul(BUCKETS_FACTOR))
            .checked_next_power_of_two()
            .unwrap_or(1 << 31),
        count: case.count,
    })
}

/// Rule 2: drop or insert_failed moved below the limit, and one pair uses most of its source ports
/// (`nf_nat_l4proto_unique_tuple` in net/netfilter/nf_nat_core.c gives up, and the packet is dropped).
pub(super) fn ports_used_up(case: &Case<'_>) -> Option<Finding> {
    let ports = case.ports.filter(|_| case.lost_below_limit)?;
    ports
        .used
        .is_at_least(PORTS_USED_UP)
        .then_some(Finding::PortsUsedUp(ports))
}

/// Rule 3.
pub(super) fn not_configured(case: &Case<'_>) -> Option<Finding> {
    let configured = case.configured.as_ref()?;
    (configured.live < configured.value).then(|| Finding::NotConfigured(configured.clone()))
}
