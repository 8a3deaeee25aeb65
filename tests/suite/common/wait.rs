//! Waiting for a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// The longest time that a test waits for a condition. Only a test that fails meets this limit.
pub const PATIENCE: Duration = Duration::from_secs(120);

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Waits until `look` returns a value. Fails after `PATIENCE` with what it waited for and the last reason that `look`
/// gave.
pub fn wait_for<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(value) => return value,
            Err(reason) => {
                assert!(
                    Instant::now() < end,
                    "waited {PATIENCE:?} for {what}, at last: {reason:?}"
                );
            }
        }
        pause();
    }
}

/// Waits a moment between two looks.
fn pause() {
    at_any_moment(BETWEEN_LOOKS);
}

/// Lets this much of a run pass, after which the test does something to the run that may come at any moment. No answer
/// depends on how long it really was.
#[expect(clippy::disallowed_methods, reason = "the one place where tests sleep")]
pub fn at_any_moment(time: Duration) {
    std::thread::sleep(time);
}

/// A line of /proc/PID/status.
fn status_of(process: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}

/// True if a signal is in one of the masks of a process: `SigBlk` has those that wait, `SigCgt` those with a handler.
pub fn in_mask(process: u32, mask: &str, signal: Signal) -> bool {
    let mask =
        status_of(process, mask).map_or(0, |mask| u64::from_str_radix(&mask, 16).expect("a mask"));
    mask & (1 << (signal as u32 - 1)) != 0
}

/// Waits until a process has a handler for a signal.
pub fn wait_until_handled(process: u32, signal: Signal) {
    wait_for(&format!("a handler of {signal}"), || {
        let handled = in_mask(process, "SigCgt", signal);
        holds(handled, status_of(process, "SigCgt"))
    });
}

/// Waits until a process has a handler for SIGALRM and sleeps: the plugin waits for input, or for room for its output.
pub fn wait_until_it_waits(process: u32) {
    wait_until_handled(process, Signal::SIGALRM);
    wait_for("the check to wait", || {
        let state = status_of(process, "State");
        let sleeps = state.as_ref().is_some_and(|state| state.starts_with('S'));
        holds(sleeps, state)
    });
}

/// For `wait_for`: the observation is the reason why a condition does not hold yet.
pub fn holds<T: Debug>(condition: bool, observed: T) -> Result<(), T> {
    if condition { Ok(()) } else { Err(observed) }
}
