//! The only folder that opens anything. Each file reads one kind of source; reading and parsing are two functions.

pub mod addresses;
pub mod capture;
pub mod configured;
pub mod elsewhere;
pub mod enter_netns;
pub mod entries;
pub mod expectations;
pub mod file;
pub mod netlink;
pub mod procfs;
pub mod recording;
mod untracked;
pub mod users;
mod wait;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::error::ReadError;
use crate::model::prefix::Prefix;
use crate::model::readings::{Limit, Readings};
use crate::model::text::clean;
use crate::model::timeouts::Timeouts;
use crate::model::udp::UdpSettings;
use crate::runtime::privilege;
use netlink::addresses::StrictCheck;
use netlink::ct_stats;
use procfs::{ct_stat, sysctl};

/// Reads how many entries the table holds and how many it may hold: all that the verdict needs.
pub fn usage(proc_root: &Path) -> Readings {
    let (count, limit) = sysctl::count_and_limit(proc_root);
    Readings {
        count,
        limit,
        ..Readings::none()
    }
}

/// Reads what a capture is held against: how many entries the table may hold here, unless `given` says how many its
/// host may hold. Nothing else is known of that host then.
pub fn limit(proc_root: &Path, given: Option<u32>) -> Readings {
    let (limit, buckets) = match given {
        Some(0) => (Ok(Limit::None(0)), Err(ReadError::NoBuckets)),
        Some(max) => (Ok(Limit::Entries(max)), Err(ReadError::NoBuckets)),
        None => (
            sysctl::count_and_limit(proc_root).1,
            Err(ReadError::NotReached),
        ),
    };
    Readings {
        limit,
        buckets,
        capture: true,
        ..Readings::none()
    }
}

/// Reads the timeouts that a diagnosis can be about; a timeout that cannot be read is none.
pub fn timeouts(proc_root: &Path) -> Timeouts {
    let timeout = |name| {
        let seconds = sysctl::timeout(proc_root, name)?;
        Some(Duration::from_secs(u64::from(seconds)))
    };
    Timeouts {
        time_wait: timeout("nf_conntrack_tcp_timeout_time_wait"),
        established: timeout("nf_conntrack_tcp_timeout_established"),
        syn_sent: timeout("nf_conntrack_tcp_timeout_syn_sent"),
        syn_recv: timeout("nf_conntrack_tcp_timeout_syn_recv"),
        close_wait: timeout("nf_conntrack_tcp_timeout_close_wait"),
        udp: timeout("nf_conntrack_udp_timeout"),
    }
}

/// True if the sysctls below a proc root are those of the first network namespace, which is the host's.
pub fn is_host_netns(proc_root: &Path) -> bool {
    procfs::sysctl::is_first_netns(proc_root)
}

/// True if root can set nf_conntrack_max here: in the host's network namespace and in the first user namespace.
pub fn sets_limits(proc_root: &Path) -> bool {
    is_host_netns(proc_root) && procfs::sysctl::is_first_user_namespace(proc_root)
}

/// Reads the settings that tell to whom an entry of UDP belongs. A setting that cannot be read is the kernel's default,
/// or none.
pub fn udp_settings(proc_root: &Path) -> UdpSettings {
    let timeout = |name| {
        let seconds = sysctl::timeout(proc_root, name)?;
        Some(u16::try_from(seconds).unwrap_or(u16::MAX))
    };
    UdpSettings {
        ephemeral: sysctl::local_ports(proc_root),
        timeout: timeout("nf_conntrack_udp_timeout"),
        timeout_stream: timeout("nf_conntrack_udp_timeout_stream"),
    }
}

/// Adds what makes the verdict better: the hash table's size and the counters.
#[must_use]
pub fn details(proc_root: &Path, readings: Readings) -> Readings {
    let buckets = if readings.buckets == Err(ReadError::NoBuckets) {
        readings.buckets
    } else {
        sysctl::buckets(proc_root)
    };
    // the counters of this host say nothing about a capture
    let statistics = if readings.capture {
        readings.statistics
    } else {
        ct_stat::read(proc_root)
    };
    Readings {
        buckets,
        statistics,
        ..readings
    }
}

/// The ways in which the kernel may be asked about the network namespace of this process.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The mount point of procfs.
    pub proc_root: &'a Path,
    /// True if that is the live one, so that netlink tells of the same kernel.
    pub live: bool,
    /// Has the kernel filter dumps by what their requests say.
    pub strict: StrictCheck,
    /// Addresses to count as this host's own.
    pub own: &'a [Prefix],
    /// True if the table may have to be read as well, which needs the same privilege.
    pub then_the_table: bool,
    /// Until when.
    pub deadline: Instant,
}

/// Adds what those files do not have of the network namespace of this process: the counters if there is no file of them,
/// and whether connections to other hosts are open while the table holds no entry. On most hosts that is nothing, and
/// nothing is opened.
#[must_use]
pub fn ask(asking: Asking<'_>, readings: Readings) -> Readings {
    // if the kernel does not track, asking for counters could load its module
    let uncounted = matches!(&readings.statistics, Err(error) if error.is_missing());
    let asks = uncounted && asking.live && readings.count.is_ok();
    let counted = (asks && privilege::permits(privilege::DUMP)).then(|| {
        privilege::raise(privilege::DUMP);
        ct_stats::read(asking.deadline, || {
            if asking.then_the_table {
                privilege::lower();
            } else {
                privilege::give_up(privilege::DUMP);
            }
        })
    });
    let untracked = if readings.count == Ok(0) {
        untracked::to_other_hosts(asking)
    } else {
        readings.untracked
    };
    Readings {
        statistics: counted.flatten().map_or(readings.statistics, Ok),
        untracked,
        ..readings
    }
}

/// Lines about where the readings come from: the version, the proc root and the network namespace.
pub fn origin(proc_root: &Path) -> Vec<String> {
    let namespace = match std::fs::read_link(proc_root.join("self/ns/net")) {
        Ok(link) => clean(&link.to_string_lossy()),
        Err(error) => format!("unknown ({})", clean(&error.to_string())),
    };
    let version = env!("CARGO_PKG_VERSION");
    vec![format!(
        "check_conntrack {version}, proc root {}, network namespace {namespace}",
        file::shown(proc_root)
    )]
}
