//! A deadline: one instant for many waits.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The instant by which something must be over, however many reads and writes it takes.
///
/// A timeout for each read is not enough: a peer that sends one byte a minute never exceeds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    start: Instant,
    /// Stored apart from `start`, because `Instant + Duration` panics if the sum is too large for the
    /// system's clock.
    timeout: Duration,
}

impl Deadline {
    /// The deadline that is `timeout` from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        let start = Instant::now();
        Self { start, timeout }
    }

    /// Starts the deadline again: as long as before, from now.
    pub(crate) fn renew(&mut self) {
        *self = Self::after(self.timeout);
    }

    /// The time that is left. What is returned is never zero, because std rejects a zero timeout.
    ///
    /// # Errors
    ///
    /// [`timeout_error`](Self::timeout_error) if no time is left.
    pub(crate) fn remaining(self) -> io::Result<Duration> {
        match self.timeout.saturating_sub(self.start.elapsed()) {
            Duration::ZERO => Err(self.timeout_error()),
            remaining => Ok(remaining),
        }
    }

    /// The error for whatever was not over in time: [`TimedOut`](ErrorKind::TimedOut).
    pub(crate) fn timeout_error(self) -> io::Error {
        let reason = format!("timed out after {:?}", self.timeout);
        io::Error::new(ErrorKind::TimedOut, reason)
    }
}
