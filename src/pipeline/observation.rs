//! The first stage: what the kernel's files say about each network namespace that is judged.

use super::Deadlines;
use crate::cli::{Netns, Options};
use crate::model::netns::Observation;
use crate::model::readings::Readings;
use crate::runtime::unsafe_calls::check_netlink_strictly;
use crate::source::procfs::netns;
use crate::source::{self, Asking};

/// The two numbers that a verdict needs; of a capture the limit alone.
pub(super) fn count_and_limit(options: &Options) -> Readings {
    if options.table.is_some() {
        source::limit(&options.proc_root, options.max)
    } else {
        source::usage(&options.proc_root)
    }
}

/// Adds the hash table's size, the counters, and the other network namespaces if they are judged too.
pub(super) fn complete(options: &Options, first: Readings, deadlines: Deadlines) -> Observation {
    if !first.tracks() {
        return Observation::of_own(first);
    }
    let readings = source::details(&options.proc_root, first);
    let asking = Asking {
        proc_root: &options.proc_root,
        live: options.is_live(),
        strict: check_netlink_strictly,
        own: &options.own,
        then_the_table: options.may_read_entries(),
        deadline: deadlines.reading,
    };
    let readings = source::ask(asking, readings);
    match options.netns {
        Netns::Own => Observation::of_own(readings),
        Netns::All => netns::all(&options.proc_root, readings, deadlines.reading),
    }
}
