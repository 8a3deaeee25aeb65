//! The clock of the recorder: a tick every period, counted on while the host is suspended, until a signal stops it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::model::text::clean;

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A period is over, or several.
    Tick,
    /// SIGTERM or SIGINT.
    Stop,
}

/// The timer and the signals.
#[derive(Debug)]
pub struct Ticks {
    timer: OwnedFd,
    signals: SignalFd,
}

impl Ticks {
    /// Starts the timer. From now on SIGTERM and SIGINT end no work that is under way, and SIGHUP does nothing.
    ///
    /// # Errors
    /// The system's words.
    pub fn start(period: Duration) -> Result<Self, String> {
        let ours = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        ours.thread_block().map_err(reason)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&ours, flags).map_err(reason)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).map_err(reason)?;
        let period = Timespec {
            tv_sec: i64::try_from(period.as_secs()).unwrap_or(60),
            tv_nsec: 0,
        };
        let every = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every).map_err(reason)?;
        Ok(Self { timer, signals })
    }

    /// Waits for the next tick or the stop.
    ///
    /// # Errors
    /// The system's words.
    pub fn wait(&self) -> Result<Wake, String> {
        loop {
            let mut ready = [
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(reason(error)),
            }
            while let Ok(Some(signal)) = self.signals.read_signal() {
                if signal.ssi_signo != Signal::SIGHUP as u32 {
                    return Ok(Wake::Stop);
                }
            }
            let mut expirations = [0_u8; 8];
            if rustix::io::read(&self.timer, &mut expirations).is_ok() {
                return Ok(Wake::Tick);
            }
        }
    }
}

/// The CPU time that this process has used.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn reason(error: impl std::fmt::Display) -> String {
    clean(&error.to_string())
}
