//! The process edge: signals, limits, the one write and the exit code.
//!
//! Whatever happens, a plugin host is to find one answer on stdout and an exit code from 0 to 3. So the time limit, the
//! limit on processor time and the signals that end a check have a handler that gives the answer held in reserve, and
//! so does the allocator when there is no memory left. A handler is allowed nothing but what signal-safety(7) lists,
//! hence the raw calls; this is the one file with unsafe code.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, Ordering};

use nagiosplugin::ServiceState;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::cli::Elevation;
use crate::report::{CutShort, Report, Reserve};

/// Nothing has been written.
const WORKING: u8 = 0;
/// Somebody is writing: the ordinary end or a handler.
const WRITING: u8 = 1;
/// The answer is out.
const WRITTEN: u8 = 2;

static STAGE: AtomicU8 = AtomicU8::new(WORKING);
/// The exit code of the answer that is out.
static VERDICT: AtomicI32 = AtomicI32::new(3);
/// What to answer when the check is cut short; leaked, because a handler may be reading it at any moment.
static RESERVE: AtomicPtr<Reserve> = AtomicPtr::new(std::ptr::null_mut());

/// The answer when somebody ends the check before its verdict.
const ENDED: &[u8] = b"CONNTRACK is UNKNOWN: the check was ended by a signal before its verdict\n";
/// The answer when there is no memory, not even for one in reserve.
const NO_MEMORY: &[u8] = b"CONNTRACK is UNKNOWN: out of memory before anything was read\n";

/// include/uapi/linux/netlink.h; the C library's crate has it for Android alone.
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;

/// What this process may do that its caller may not (AT_SECURE in getauxval(3)).
pub fn elevation() -> Elevation {
    // SAFETY: getauxval reads the auxiliary vector, which the kernel set up; any argument is allowed.
    let auxiliary = |kind| unsafe { libc::getauxval(kind) };
    if auxiliary(libc::AT_EUID) != auxiliary(libc::AT_UID)
        || auxiliary(libc::AT_EGID) != auxiliary(libc::AT_GID)
    {
        Elevation::AnotherUser
    } else if auxiliary(libc::AT_SECURE) != 0 {
        Elevation::Capabilities
    } else {
        Elevation::None
    }
}

/// The system's allocator. Where that has nothing to give the answer in reserve is given, instead of the runtime's text
/// on stderr and SIGABRT.
#[derive(Debug)]
pub struct Allocator;

impl Allocator {
    fn given(block: *mut u8) -> *mut u8 {
        if block.is_null() {
            cut_short(CutShort::NoMemory);
        }
        block
    }
}

// SAFETY: every call goes to the system's allocator as it came, and what that returns is returned.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of this method, which are those of that one.
        Self::given(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: likewise.
        Self::given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: likewise.
        Self::given(unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { System.dealloc(block, layout) }
    }
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

/// NETLINK_GET_STRICT_CHK: the kernel checks what a netlink request for a dump says, and leaves out of the dump what was
/// not asked for. A kernel before 4.20 refuses the option and goes on to ignore all but the type of the request.
pub fn check_netlink_strictly(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is borrowed and so open, and the kernel reads no more than `size_of_val(&on)` bytes of `on`.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            NETLINK_GET_STRICT_CHK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
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
            crate::model::text::clean(text)
        ));
        deliver(&report);
        leave(VERDICT.load(Ordering::SeqCst));
    }));
}

/// Sets the time limit, in seconds above 0, and makes sure that it, other limits and the signals that end a check are
/// heard.
pub fn arm(timeout: u32) {
    hold_in_reserve(Reserve::of_nothing(timeout));
    // a file that may not grow is an error of write(2) then (RLIMIT_FSIZE in setrlimit(2))
    // SAFETY: no handler of ours runs.
    let _ = unsafe { sigaction(Signal::SIGXFSZ, &ignored()) };
    // NODEFER: a write that blocks in the handler must not outlive the second alarm
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_NODEFER,
        SigSet::empty(),
    );
    let signals = [
        Signal::SIGALRM,
        Signal::SIGXCPU,
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

fn ignored() -> SigAction {
    SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty())
}

/// Replaces the answer to give when the check is cut short.
pub fn hold_in_reserve(reserve: Reserve) {
    RESERVE.store(Box::into_raw(Box::new(reserve)), Ordering::SeqCst);
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
            Err(Errno::INTR) => {}
            // whoever has the other end made it so, and reads later; the time limit ends the wait
            Err(Errno::AGAIN) if has_room() => {}
            Err(_) => return false,
        }
    }
    true
}

/// Waits until stdout takes more, or nothing any more, which the next write tells.
fn has_room() -> bool {
    let stdout = rustix::stdio::stdout();
    let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
    matches!(poll(&mut ready, None), Ok(1..) | Err(Errno::INTR))
}

fn leave(code: i32) -> ! {
    // SAFETY: _exit ends the process; it is async-signal-safe and runs no destructors, none of which matter here.
    unsafe { libc::_exit(code) }
}

extern "C" fn on_signal(signal: libc::c_int) {
    match signal {
        libc::SIGALRM => cut_short(CutShort::TimeUp),
        libc::SIGXCPU => cut_short(CutShort::ProcessorTime),
        _ => {
            begin_last_words();
            give(ENDED, ServiceState::Unknown)
        }
    }
}

/// Gives the answer in reserve and leaves.
fn cut_short(by: CutShort) -> ! {
    begin_last_words();
    let reserve = RESERVE.load(Ordering::SeqCst);
    let mut room = [0; Reserve::ROOM];
    // SAFETY: null, or from Box::into_raw and never freed or written to again.
    match unsafe { reserve.as_ref() } {
        Some(reserve) => give(reserve.text(by, &mut room), reserve.state()),
        None => give(NO_MEMORY, ServiceState::Unknown),
    }
}

/// Leaves unless there is still an answer to be given.
fn begin_last_words() {
    match STAGE.swap(WRITING, Ordering::SeqCst) {
        WORKING => {}
        // the answer is out and stands
        WRITTEN => leave(VERDICT.load(Ordering::SeqCst)),
        // the write itself blocks: a pipe nobody reads
        _ => leave(3),
    }
    // should the write block
    alarm::set(1);
}

fn give(text: &[u8], state: ServiceState) -> ! {
    leave(if write_all(text) {
        state.exit_code()
    } else {
        3
    })
}
