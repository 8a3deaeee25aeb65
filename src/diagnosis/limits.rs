//! Rules 1 to 3: hash chains, source ports, and a limit that is not the configured one.

use super::case::{Case, PortUse};
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
/// (`nf_nat_l4proto_unique_tuple` in net/netfilter/nf_nat_core.c gives up, and the packet is dropped). Where a local
/// socket finds no port connect(2) fails and no counter moves: then a range on `ports` must have been crossed.
pub(super) fn ports_used_up(case: &Case<'_>) -> Option<Finding> {
    let dense = case.dense_ports.filter(|_| case.lost_below_limit);
    let largest = case
        .ports
        .filter(|_| case.lost_below_limit || case.ports_crossed);
    let asked_for = case.ports_crossed && !case.filling;
    let is_used_up = |ports: &PortUse| asked_for || ports.used.is_at_least(PORTS_USED_UP);
    let used_up = largest.filter(is_used_up);
    used_up.or(dense).map(Finding::PortsUsedUp)
}

/// Rule 3.
pub(super) fn not_configured(case: &Case<'_>) -> Option<Finding> {
    let configured = case.configured.as_ref()?;
    (configured.live < configured.value).then(|| Finding::NotConfigured(configured.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::facts::Share;
    use crate::diagnosis::samples::{filling, tcp};
    use crate::diagnosis::{Configured, PortUse, Setting, diagnose};

    fn ports(used: u64) -> PortUse {
        PortUse {
            source: "10.0.0.1".parse().unwrap(),
            far: "203.0.113.5".parse().unwrap(),
            port: tcp(443),
            used: Share::new(used, 100),
            translated: false,
        }
    }

    #[test]
    fn long_chains_come_first_and_ask_for_as_many_buckets_as_entries() {
        let case = Case {
            chains_long: true,
            count: Some(17_052),
            max: Some(1_000_000),
            buckets: Some(512),
            ports: Some(ports(100)),
            lost_below_limit: true,
            ..Case::default()
        };
        assert_eq!(
            diagnose(&case),
            Some(Finding::LongChains {
                buckets: 512,
                wanted: 1 << 20,
                count: Some(17_052)
            })
        );
        let unlimited = Case { max: None, ..case };
        assert!(matches!(
            diagnose(&unlimited),
            Some(Finding::LongChains { wanted: 32_768, .. })
        ));
    }

    #[test]
    fn source_ports_are_used_up_from_80_percent_on_if_packets_were_lost_below_the_limit() {
        let case = |used, lost_below_limit| Case {
            ports: Some(ports(used)),
            lost_below_limit,
            ..Case::default()
        };
        assert_eq!(
            diagnose(&case(80, true)),
            Some(Finding::PortsUsedUp(ports(80)))
        );
        assert_eq!(diagnose(&case(79, true)), None);
        assert_eq!(diagnose(&case(100, false)), None);
    }

    #[test]
    fn a_rule_that_gives_few_ports_explains_losses_below_the_limit() {
        let few = PortUse {
            used: Share::new(20, 20),
            translated: true,
            ..ports(0)
        };
        let case = |lost_below_limit| Case {
            ports: Some(ports(1)),
            dense_ports: Some(few),
            lost_below_limit,
            ..Case::default()
        };
        assert_eq!(diagnose(&case(true)), Some(Finding::PortsUsedUp(few)));
        assert_eq!(diagnose(&case(false)), None);
    }

    #[test]
    fn a_range_on_ports_explains_itself_unless_the_table_fills() {
        let case = |used, filling| Case {
            ports: Some(ports(used)),
            ports_crossed: true,
            filling,
            ..Case::default()
        };
        assert!(matches!(
            diagnose(&case(50, false)),
            Some(Finding::PortsUsedUp(_))
        ));
        assert_eq!(diagnose(&case(79, true)), None);
        assert!(matches!(
            diagnose(&case(80, true)),
            Some(Finding::PortsUsedUp(_))
        ));
    }

    #[test]
    fn a_limit_below_the_configured_one_is_a_finding_while_the_table_fills() {
        let configured = |value| Configured {
            setting: Setting::Max,
            file: "/etc/sysctl.d/90-conntrack.conf".to_owned(),
            value,
            live: 1024,
        };
        let facts = crate::analysis::facts::Facts::default();
        let case = |value, filling_now| Case {
            configured: Some(configured(value)),
            filling: filling_now,
            ..filling(&facts)
        };
        assert_eq!(
            diagnose(&case(1025, true)),
            Some(Finding::NotConfigured(configured(1025)))
        );
        assert_eq!(diagnose(&case(1024, true)), None);
        assert_eq!(
            diagnose(&case(1025, false)),
            None,
            "never without a problem"
        );
    }

    #[test]
    fn buckets_are_at_least_four_times_as_many_whatever_the_limit_is() {
        let wanted = |buckets, max| {
            let case = Case {
                chains_long: true,
                max: Some(max),
                buckets: Some(buckets),
                ..Case::default()
            };
            match diagnose(&case) {
                Some(Finding::LongChains { wanted, .. }) => wanted,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wanted(1024, 100), 4096);
        // 4 * 1025 = 4100
        assert_eq!(wanted(1025, 100), 8192);
        assert_eq!(wanted(1024, 4097), 8192);
        // no power of two that is larger fits into 32 bits
        assert_eq!(wanted(1024, u32::MAX), 1 << 31);
    }
}
