//! The process edge: signals, the time limit, the one write and the exit code.
//!
//! Whatever happens, a plugin host is to find one answer on stdout and an exit code from 0 to 3. So the time limit and
//! the signals that end a check have a handler that gives the answer held in reserve. It is allowed nothing but what
//! signal-safety(7) lists, hence the raw calls; this is the one file with unsafe code.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, Ordering};

use nagiosplugin::ServiceState;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;

use crate::report::Report;

/// Nothing has been written.
const WORKING: u8 = 0;
/// Somebody is writing: the ordinary end or a handler.
const WRITING: u8 = 1;
/// The answer is out.
const WRITTEN: u8 = 2;

static STAGE: AtomicU8 = AtomicU8::new(WORKING);
/// The exit code of the answer that is out.
static VERDICT: AtomicI32 = AtomicI32::new(3);
/// What to answer when the time is up; leaked, because a handler may be reading it at any moment.
static RESERVE: AtomicPtr<Report> = AtomicPtr::new(std::ptr::null_mut());

/// The answer when somebody ends the check before its verdict.
const ENDED: &[u8] = b"CONNTRACK is UNKNOWN: the check was ended by a signal before its verdict\n";

/// Whether this process holds privileges its caller lacks: file capabilities, setuid or setgid (getauxval(3)).
pub fn is_elevated() -> bool {
    // SAFETY: getauxval reads the auxiliary vector, which the kernel set up; any argument is allowed.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// SO_NETNS_COOKIE: which network namespace a socket is in. None before 5.14 (sock_getsockopt in net/core/sock.c).
pub fn netns_cookie(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed and so open, and the kernel writes at most `length` bytes, which is the size
    // of `cookie`, and the length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size_of::<u64>()).then_some(cookie)
}

/// From now on a panic is an UNKNOWN with one line, instead of exit code 101 and text on stderr.
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
            crate::text::clean(text)
        ));
        deliver(&report);
        leave(VERDICT.load(Ordering::SeqCst));
    }));
}

/// Sets the time limit, in seconds above 0, and makes sure that it and the signals that end a check are heard.
pub fn arm(timeout: u32) {
    hold_in_reserve(Report::unknown(&format!(
        "no answer within {timeout} s, reading the kernel files took too long"
    )));
    // NODEFER: a write that blocks in the handler must not outlive the second alarm
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_NODEFER,
        SigSet::empty(),
    );
    let signals = [
        Signal::SIGALRM,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ];
    for signal in signals {
        // SAFETY: the handler only makes async-signal-safe calls and touches nothing but the atomics above and a
        // report that is never freed or changed once it is in RESERVE.
        let _ = unsafe { sigaction(signal, &action) };
    }
    // whoever started us may have blocked them, and a blocked mask is inherited
    let _ = SigSet::from_iter(signals).thread_unblock();
    alarm::set(timeout.max(1));
}

/// Replaces the answer to give when the time is up.
pub fn hold_in_reserve(report: Report) {
    RESERVE.store(Box::into_raw(Box::new(report)), Ordering::SeqCst);
}

/// Gives the answer, in one write, and tells the exit code; does something more when stdout took it.
pub fn answer(report: &Report, taken: impl FnOnce()) -> ExitCode {
    if deliver(report) {
        taken();
    }
    ExitCode::from(u8::try_from(VERDICT.load(Ordering::SeqCst)).unwrap_or(3))
}

/// Whether stdout took it.
fn deliver(report: &Report) -> bool {
    let mut taken = false;
    if STAGE.swap(WRITING, Ordering::SeqCst) == WORKING {
        VERDICT.store(3, Ordering::SeqCst);
        taken = write_all(report.text.as_bytes());
        if taken {
            VERDICT.store(report.state.exit_code(), Ordering::SeqCst);
        }
        STAGE.store(WRITTEN, Ordering::SeqCst);
    }
    taken
}

/// Writes to stdout; false when it did not take all of it (full, closed, broken pipe).
fn write_all(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(0) => return false,
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

fn leave(code: i32) -> ! {
    // SAFETY: _exit ends the process; it is async-signal-safe and runs no destructors, none of which matter here.
    unsafe { libc::_exit(code) }
}

extern "C" fn on_signal(signal: libc::c_int) {
    match STAGE.swap(WRITING, Ordering::SeqCst) {
        WORKING => {}
        // the answer is out and stands
        WRITTEN => leave(VERDICT.load(Ordering::SeqCst)),
        // the write itself blocks: a pipe nobody reads
        _ => leave(3),
    }
    // should the write below block
    alarm::set(1);
    let reserve = RESERVE.load(Ordering::SeqCst);
    // SAFETY: null, or from Box::into_raw and never freed or written to again.
    let reserve = unsafe { reserve.as_ref() }.filter(|_| signal == libc::SIGALRM);
    let (text, state) = match reserve {
        Some(report) => (report.text.as_bytes(), report.state),
        None => (ENDED, ServiceState::Unknown),
    };
    leave(if write_all(text) {
        state.exit_code()
    } else {
        3
    })
}
