//! The output: one write to stdout, and the exit status that agrees with it.
//!
//! A signal may arrive at any moment, so the output has three stages. Before the write a signal handler may print its
//! own line and exit. During the write a handler decides nothing: only the code that writes knows whether stdout took
//! the text. After the write the exit status is recorded, and a handler exits with it.

use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use nagiosplugin::ServiceState;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{signals, unsafe_calls};
use crate::model::text::clean;
use crate::report::Report;

/// The stage before the write.
const CHECKING: u8 = 0;
/// The stage of the write.
const WRITING: u8 = 1;
/// The stage after the write, successful or not.
const WRITTEN: u8 = 2;

static STAGE: AtomicU8 = AtomicU8::new(CHECKING);
/// The exit status: UNKNOWN until stdout has taken the whole text.
static EXIT_STATUS: AtomicI32 = AtomicI32::new(3);
/// True from the moment when the time for a stdout that takes no more is over.
static STOP_WAITING: AtomicBool = AtomicBool::new(false);

/// Stage of the output, as a signal handler has to distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was written.
    Checking,
    /// The text is being written.
    Writing,
    /// The exit status is final.
    Written,
}

pub(super) fn stage() -> Stage {
    match STAGE.load(Ordering::SeqCst) {
        CHECKING => Stage::Checking,
        WRITING => Stage::Writing,
        _ => Stage::Written,
    }
}

/// Writes the report to stdout and returns the exit status. Calls `on_success` if stdout took all of it.
pub fn finish(report: &Report, on_success: impl FnOnce()) -> ExitCode {
    if begin() && write(report.text.as_bytes(), report.state) {
        on_success();
    }
    ExitCode::from(u8::try_from(EXIT_STATUS.load(Ordering::SeqCst)).unwrap_or(3))
}

/// Installs a panic hook that prints one UNKNOWN line and exits with 3. Without it a panic prints to stderr and exits
/// with 101.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|l| format!(" at {}:{}", l.file(), l.line()))
            .unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        let report = Report::unknown(&format!(
            "internal error{place}, please report it: {}",
            clean(text)
        ));
        if begin() {
            signals::limit_the_write();
            write(report.text.as_bytes(), report.state);
        }
        exit_now()
    }));
}

/// Prints one UNKNOWN line and exits, unless the output has begun. Called if the system has no memory left, so it must
/// not allocate.
pub(super) fn out_of_memory() -> ! {
    const TEXT: &[u8] = b"CONNTRACK is UNKNOWN: out of memory before the check completed\n";
    if begin() {
        signals::limit_the_write();
        write(TEXT, ServiceState::Unknown);
    }
    exit_now()
}

/// Begins the write. True for the first caller; there is one output.
pub(super) fn begin() -> bool {
    STAGE
        .compare_exchange(CHECKING, WRITING, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}

/// Writes the text and records the exit status. True if stdout took the whole text. Requires [`begin`].
pub(super) fn write(text: &[u8], state: ServiceState) -> bool {
    let taken = write_all(text);
    if taken {
        EXIT_STATUS.store(state.exit_code(), Ordering::SeqCst);
    }
    STAGE.store(WRITTEN, Ordering::SeqCst);
    taken
}

/// Ends a write that stdout does not take: the next signal that interrupts it is its end.
pub(super) fn stop_waiting() {
    STOP_WAITING.store(true, Ordering::SeqCst);
}

/// Exits with the recorded status, without destructors and exit handlers.
pub(super) fn exit_now() -> ! {
    unsafe_calls::exit(EXIT_STATUS.load(Ordering::SeqCst))
}

/// Returns false if stdout did not take the whole text: full, closed, or still not read when the time is over.
fn write_all(mut text: &[u8]) -> bool {
    let stdout = rustix::stdio::stdout();
    loop {
        match rustix::io::write(stdout, text) {
            Ok(0) => return false,
            Ok(n) if n >= text.len() => return true,
            Ok(n) => text = text.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // another process that has the same stdout made it non-blocking, and reads later
            Err(Errno::AGAIN) if wait_for_room(stdout) => {}
            Err(_) => return false,
        }
        if STOP_WAITING.load(Ordering::SeqCst) {
            return false;
        }
    }
}

/// Waits until stdout takes more, or never will, which the next write returns. True also if a signal ended the wait.
fn wait_for_room(stdout: BorrowedFd<'_>) -> bool {
    let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
    matches!(poll(&mut ready, None), Ok(_) | Err(Errno::INTR))
}
