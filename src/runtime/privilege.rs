//! Capabilities: retained as permitted, raised around their one use, then given up for good (capabilities(7)).
//!
//! CAP_NET_ADMIN reads the table over ctnetlink. CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH together show the sockets of
//! other users' processes. CAP_SYS_ADMIN enters another network namespace. Each of them is optional.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

/// Capability for a ctnetlink dump, of entries or of counters.
pub const DUMP: CapabilitySet = CapabilitySet::NET_ADMIN;
/// Capabilities for the file descriptors of other users' processes. The second also opens /proc/net/nf_conntrack.
pub const PROCESSES: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// Capability for /proc/net/nf_conntrack, if the user is neither root nor in the group of that file.
pub const FILES: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;
/// Capability for setns(2), in the user namespaces that own this and the other network namespace.
pub const ENTER: CapabilitySet = CapabilitySet::SYS_ADMIN;
/// Capability for /proc/PID/ns/net of other users' processes.
pub const OPEN_NAMESPACE: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// Empties the effective set, and keeps in the permitted set only the capabilities that some part of the check can use.
///
/// A program that this process could be made to start has no more privileges (PR_SET_NO_NEW_PRIVS in prctl(2)). With a
/// capability left the process is marked non-dumpable, so that unprivileged processes of the same user cannot ptrace it
/// and read privileged data, and no core is written (PR_SET_DUMPABLE). File capabilities alone do not prevent that.
pub fn retain() {
    // An error is ignored: the option is older than every supported kernel, and the check starts no program.
    let _ = set_no_new_privs(true);
    shrink(|permitted| {
        let kept = permitted.intersection(DUMP.union(PROCESSES).union(ENTER));
        if !kept.is_empty() {
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        kept
    });
}

/// True if capabilities are used more than once.
static REPEATS: AtomicBool = AtomicBool::new(false);

/// From now on what is given up stays permitted: a recorder reads the table again and again. It is in effect around its
/// one use all the same.
pub fn repeat() {
    REPEATS.store(true, Ordering::Relaxed);
}

/// Gives up every capability for good. A recorder never does.
pub fn give_up_all() {
    set(CapabilitySet::empty(), CapabilitySet::empty());
}

/// Gives up these capabilities for good.
pub fn give_up(these: CapabilitySet) {
    if REPEATS.load(Ordering::Relaxed) {
        return lower();
    }
    shrink(|permitted| permitted.difference(these));
}

/// Runs `use_them` with the permitted ones of these capabilities in effect, and empties the effective set again.
pub fn with<T>(these: CapabilitySet, use_them: impl FnOnce() -> T) -> T {
    raise(these);
    let result = use_them();
    lower();
    result
}

/// True if all of these capabilities are permitted.
pub fn permits(these: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.permitted.contains(these))
}

/// Empties the effective set, and keeps the permitted one.
pub fn lower() {
    shrink(|permitted| permitted);
}

/// Puts the permitted ones of these capabilities in effect.
pub fn raise(these: CapabilitySet) {
    if let Ok(sets) = capabilities(None) {
        set(sets.permitted.intersection(these), sets.permitted);
    }
}

fn shrink(to: impl FnOnce(CapabilitySet) -> CapabilitySet) {
    // if the sets cannot be read, no capability is safer than an unknown set
    let permitted = capabilities(None).map_or(CapabilitySet::empty(), |sets| to(sets.permitted));
    set(CapabilitySet::empty(), permitted);
}

fn set(effective: CapabilitySet, permitted: CapabilitySet) {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    // An error is ignored: a thread may always shrink its own sets, and raise within the permitted one (capset(2)).
    let _ = set_capabilities(None, sets);
}
