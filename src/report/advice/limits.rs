//! The advice of rules 1 to 3: buckets, source ports, the configured limit.

use super::commands::megabytes;
use super::{Advice, AdviceContext};
use crate::diagnosis::relief::{BUCKET_BYTES, ENTRY_BYTES};
use crate::diagnosis::{Configured, PortUse, Setting};
use crate::report::sentence_parts::far_of;

pub(super) fn long_chains(buckets: u32, wanted: u32) -> Advice {
    Advice {
        why: Some(
            "since Linux 5.15 a new connection is refused if its hash chain is longer than 50, however empty the table is"
                .to_owned(),
        ),
        now: Some(format!(
            "sysctl -w net.netfilter.nf_conntrack_buckets={wanted} (shorter chains at once, {}, no entry is lost)",
            megabytes(u64::from(wanted) * BUCKET_BYTES)
        )),
        fix: Some(format!(
            "set net.netfilter.nf_conntrack_buckets={wanted} in /etc/sysctl.d (now {buckets}), and raise it before nf_conntrack_max"
        )),
        look: None,
    }
}

pub(super) fn ports_used_up(ports: &PortUse, basis: AdviceContext<'_>) -> Advice {
    let far = far_of(ports);
    Advice {
        why: Some(format!(
            "each connection to {far} needs a source port of its own, so a bigger table does not help"
        )),
        now: (!ports.translated && ports.used.whole < 64_000).then(|| {
            basis.inside(
                "sysctl -w net.ipv4.ip_local_port_range=1024\\ 65535 (more source ports; a service that restarts may find its port above 1023 taken)",
            )
        }),
        fix: Some(if ports.translated {
            format!("translate to more addresses (SNAT to a range), or open fewer connections to {far}")
        } else {
            format!("reuse connections to {far} (pool, keep-alive), or connect from or to more addresses")
        }),
        look: None,
    }
}

pub(super) fn not_configured(configured: &Configured) -> Advice {
    let name = match configured.setting {
        Setting::Max => "net.netfilter.nf_conntrack_max",
        Setting::Buckets => "net.netfilter.nf_conntrack_buckets",
    };
    let more = configured.value.saturating_sub(configured.live);
    let bytes = match configured.setting {
        Setting::Max => more.saturating_mul(ENTRY_BYTES),
        Setting::Buckets => configured.value.saturating_mul(BUCKET_BYTES),
    };
    Advice {
        why: Some(format!(
            "{} was applied before the module nf_conntrack was loaded, or the value was changed since",
            configured.file
        )),
        now: Some(format!(
            "sysctl -w {name}={} (the configured value, up to {})",
            configured.value,
            megabytes(bytes)
        )),
        fix: Some(
            "put the line nf_conntrack into /etc/modules-load.d/nf_conntrack.conf, so that the module is loaded before sysctl runs"
                .to_owned(),
        ),
        look: None,
    }
}
