//! Waiting for a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

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

/// Waits until a process catches this signal and sleeps: the plugin waits for input, or for room for its output.
pub fn wait_for_sleep(pid: u32, signal: u32) {
    wait_for("the check to wait", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.map_err(|error| error.to_string())?;
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim)
        };
        let caught = field("SigCgt").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        let catches = caught.is_some_and(|mask| mask & (1 << (signal - 1)) != 0);
        let sleeps = field("State").is_some_and(|state| state.starts_with('S'));
        holds(catches && sleeps, status.clone())
    });
}

/// For `wait_for`: the observation is the reason why a condition does not hold yet.
pub fn holds<T: Debug>(condition: bool, observed: T) -> Result<(), T> {
    if condition { Ok(()) } else { Err(observed) }
}
