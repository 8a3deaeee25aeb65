//! Capabilities: held in reserve, raised around their one use, then gone for good (capabilities(7)).
//!
//! CAP_NET_ADMIN reads the table over ctnetlink; CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH together show the sockets of
//! other users' processes; CAP_SYS_ADMIN enters another network namespace. Everything works without them, only with less
//! to tell.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

/// What a ctnetlink dump needs, of entries or of counters.
pub const DUMP: CapabilitySet = CapabilitySet::NET_ADMIN;
/// What the file descriptors of other users' processes need; the second also opens /proc/net/nf_conntrack.
pub const PROCESSES: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// What /proc/net/nf_conntrack needs for a user who is neither root nor in its group.
pub const FILES: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// What setns(2) needs, in the user namespaces that own this and the other network namespace.
pub const ENTER: CapabilitySet = CapabilitySet::SYS_ADMIN;
/// What /proc/PID/ns/net of other users' processes needs.
pub const OPEN_NAMESPACE: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// Empties the effective set, keeps in the permitted set only what some part of this check can use, and makes sure that
/// nothing this process could be made to start has more (PR_SET_NO_NEW_PRIVS in prctl(2)). What it read with them is
/// nobody's who has them not: no other process of this user may trace it and no core is written (PR_SET_DUMPABLE), which
/// capabilities of the file alone do not see to.
pub fn put_in_reserve() {
    // older than any kernel this check has been tried on; where it fails nothing is started all the same
    let _ = set_no_new_privs(true);
    shrink(|permitted| {
        let kept = permitted.intersection(DUMP.union(PROCESSES).union(ENTER));
        if !kept.is_empty() {
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        kept
    });
}

/// Gives up every capability.
pub fn give_up_all() {
    set(CapabilitySet::empty(), CapabilitySet::empty());
}

/// Gives up these for good.
pub fn give_up(these: CapabilitySet) {
    shrink(|permitted| permitted.difference(these));
}

/// Runs `use_them` with these in effect, as far as they are permitted, and takes them out of effect again.
pub fn with<T>(these: CapabilitySet, use_them: impl FnOnce() -> T) -> T {
    raise(these);
    let result = use_them();
    lower();
    result
}

/// Whether these may be put in effect.
pub fn permits(these: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.permitted.contains(these))
}

/// Takes all out of effect, and keeps them in reserve.
pub fn lower() {
    shrink(|permitted| permitted);
}

/// Puts these in effect, as far as they are permitted.
pub fn raise(these: CapabilitySet) {
    if let Ok(sets) = capabilities(None) {
        set(sets.permitted.intersection(these), sets.permitted);
    }
}

fn shrink(to: impl FnOnce(CapabilitySet) -> CapabilitySet) {
    // where the sets cannot be read, nothing is safer than something
    let permitted = capabilities(None).map_or(CapabilitySet::empty(), |sets| to(sets.permitted));
    set(CapabilitySet::empty(), permitted);
}

fn set(effective: CapabilitySet, permitted: CapabilitySet) {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    // fails for nobody: a thread may always shrink its own sets, and raise within the permitted one (capset(2))
    let _ = set_capabilities(None, sets);
}
