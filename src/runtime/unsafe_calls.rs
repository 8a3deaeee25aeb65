//! All unsafe code of the crate: calls for which no dependency has a safe wrapper.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{output, signals};
use crate::model::elevation::Elevation;

/// The privileges of this process that its caller lacks (AT_SECURE in getauxval(3)).
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

/// The network namespace of a socket (SO_NETNS_COOKIE). None before kernel 5.14 (sock_getsockopt in net/core/sock.c).
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

/// include/uapi/linux/netlink.h; the C library's crate has it for Android alone.
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;

/// Has the kernel check what a netlink request for a dump says, and leave out of the dump what was not asked for
/// (NETLINK_GET_STRICT_CHK). A kernel before 4.20 refuses the option and ignores all but the type of a request.
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

/// The allocator of the C library. An allocation that fails ends the check with an UNKNOWN line and exit status 3;
/// Rust's own handler prints to stderr and raises SIGABRT.
#[derive(Debug)]
pub struct Allocator;

fn or_end(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        output::out_of_memory();
    }
    block
}

// SAFETY: every method passes its arguments to the method of the same name of `System`, and returns its result.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this method, which is that of the method called.
        or_end(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        or_end(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        or_end(unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Takes the place of the function of this name in a C library that is linked in: it returns an error.
///
/// Rust's start-up asks for the bounds of the stack, only to name the thread on stderr if the stack overflows. The C
/// library reads /proc/self/maps for the answer, with scanf, and scanf brings the conversion of floating point numbers:
/// 122 KB of the binary and a tenth of the instructions of a plain run. Without the bounds nothing is printed if the
/// stack overflows.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(
    _thread: libc::pthread_t,
    _attributes: *mut libc::pthread_attr_t,
) -> libc::c_int {
    libc::ENOSYS
}

/// A value that is replaced as a whole, and that a signal handler can read at any moment.
#[derive(Debug)]
pub(super) struct Latest<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Latest<T> {
    pub(super) const fn none() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Replaces the value. The previous one is leaked, because a handler may be reading it.
    pub(super) fn set(&self, value: T) {
        self.0
            .store(Box::into_raw(Box::new(value)), Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or comes from Box::into_raw in `set`, and what it points to is never freed or
        // changed after that.
        unsafe { self.0.load(Ordering::SeqCst).as_ref() }
    }
}

/// Exits without destructors and exit handlers. Allowed in a signal handler.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: _exit ends the process and has no other requirement; signal-safety(7) lists it.
    unsafe { libc::_exit(status) }
}

/// Has `signals::on_signal` handle the signals that end a check, with all of them blocked while it runs.
pub(super) fn handle_ending_signals() {
    let action = SigAction::new(
        SigHandler::Handler(signals::on_signal),
        SaFlags::empty(),
        SigSet::from_iter(signals::ENDING),
    );
    for signal in signals::ENDING {
        // SAFETY: the handler makes only calls that signal-safety(7) lists, and reads only atomics and the value of a
        // `Latest`. It does not allocate, lock, panic, or change errno before it returns.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// Has the kernel ignore a signal.
pub(super) fn ignore(signal: Signal) {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler runs for a signal that is ignored.
    let _ = unsafe { sigaction(signal, &action) };
}
