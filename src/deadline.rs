//! A deadline: one instant for many waits.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The instant by which something must be over, however many reads and writes it takes.
///
/// A timeout for each read would not do: a peer that sends one byte a minute never exceeds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    start: Instant,
    /// Kept apart: `Instant + Duration` panics where the sum is beyond the clock.
    timeout: Duration,
}

impl Deadline {
    /// The instant `timeout` from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        let start = Instant::now();
        Self { start, timeout }
    }

    /// The same timeout, from now.
    pub(crate) fn again(self) -> Self {
        Self::after(self.timeout)
    }

    /// The time left, more than zero, which std refuses as a socket's timeout.
    ///
    /// # Errors
    ///
    /// [`missed`](Self::missed) if there is none.
    pub(crate) fn remaining(self) -> io::Result<Duration> {
        match self.timeout.saturating_sub(self.start.elapsed()) {
            Duration::ZERO => Err(self.missed()),
            remaining => Ok(remaining),
        }
    }

    /// The error for whatever was not over in time: [`TimedOut`](ErrorKind::TimedOut).
    pub(crate) fn missed(self) -> io::Error {
        let reason = format!("timed out after {:?}", self.timeout);
        io::Error::new(ErrorKind::TimedOut, reason)
    }
}
