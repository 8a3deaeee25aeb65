//! The signals that end a check: time limit, CPU limit, TERM, INT and HUP. Each ends it with one text on stdout.
//!
//! The handler may call only what signal-safety(7) lists. It runs with all of these signals blocked, so handlers nest
//! at most once: the handler that prints unblocks them for its write, and a handler that interrupts a write returns.

use std::sync::atomic::{AtomicBool, Ordering};

use nagiosplugin::ServiceState;
use nix::libc::c_int;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::alarm;

use super::output::{self, Stage};
use super::unsafe_calls::{self, Latest};
use crate::report::Report;

/// The signals that end a check.
pub(super) const ENDING: [Signal; 5] = [
    Signal::SIGALRM,
    Signal::SIGXCPU,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
];

/// Seconds for a write that begins, or still waits for its reader, when a signal ends the check.
const TIME_LIMIT_OF_THE_WRITE: u32 = 1;

const TERMINATED: &[u8] =
    b"CONNTRACK is UNKNOWN: terminated by a signal before the check completed\n";
const OUT_OF_CPU_TIME: &[u8] =
    b"CONNTRACK is UNKNOWN: CPU time limit (RLIMIT_CPU) reached before the check completed\n";
const TIMED_OUT: &[u8] =
    b"CONNTRACK is UNKNOWN: timed out before the number of entries and the limit were read\n";

/// The report to print at the time limit, once there is a verdict.
static FALLBACK: Latest<Report> = Latest::none();
/// True if the write has its own time limit.
static WRITE_IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// Installs the handlers. The first call in `main`: a signal that comes earlier ends the process.
pub fn install() {
    unsafe_calls::handle_ending_signals();
    // A file that may not grow is then an error of write(2) (RLIMIT_FSIZE in setrlimit(2)).
    unsafe_calls::ignore(Signal::SIGXFSZ);
    // A process inherits the mask of the one that starts it. A signal that waited until now is handled here.
    let _ = SigSet::from_iter(ENDING).thread_unblock();
}

/// Sets the time limit, in seconds from now.
pub fn set_time_limit(seconds: u32) {
    alarm::set(seconds.max(1));
}

/// Replaces the report that is printed if the time limit is reached.
pub fn set_fallback(report: Report) {
    FALLBACK.set(report);
}

/// Limits the time of the write. Further calls do not prolong it.
pub(super) fn limit_the_write() {
    if !WRITE_IS_LIMITED.swap(true, Ordering::SeqCst) {
        alarm::set(TIME_LIMIT_OF_THE_WRITE);
    }
}

/// Handles each of [`ENDING`], with all of them blocked.
pub(super) extern "C" fn on_signal(signal: c_int) {
    match output::stage() {
        Stage::Checking => print_and_exit(signal),
        Stage::Writing if signal == Signal::SIGALRM as c_int => {
            output::stop_waiting();
            // Once more: the write may be about to wait, and would not be interrupted again.
            alarm::set(TIME_LIMIT_OF_THE_WRITE);
        }
        Stage::Writing => limit_the_write(),
        Stage::Written => output::exit_now(),
    }
}

fn print_and_exit(signal: c_int) -> ! {
    let fallback = FALLBACK.get();
    let (text, state) = match (Signal::try_from(signal), fallback) {
        (Ok(Signal::SIGALRM), Some(report)) => (report.text.as_bytes(), report.state),
        (Ok(Signal::SIGALRM), None) => (TIMED_OUT, ServiceState::Unknown),
        (Ok(Signal::SIGXCPU), _) => (OUT_OF_CPU_TIME, ServiceState::Unknown),
        _ => (TERMINATED, ServiceState::Unknown),
    };
    if output::begin() {
        limit_the_write();
        // If nobody reads stdout the write has to be interrupted.
        let _ = SigSet::from_iter(ENDING).thread_unblock();
        output::write(text, state);
    }
    output::exit_now()
}
