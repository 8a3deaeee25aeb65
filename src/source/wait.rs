//! Waits for a descriptor, no longer than until a deadline.

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits until a descriptor has something to read, or its end; returns false if the deadline came first.
///
/// # Errors
/// Those of poll(2), other than an interruption by a signal.
pub(super) fn until_readable(descriptor: impl AsFd, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // none for a time of centuries, which may as well be for ever
        let left = Timespec::try_from(left).ok();
        let mut ready = [PollFd::new(&descriptor, PollFlags::IN)];
        match poll(&mut ready, left.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
