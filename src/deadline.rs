//! A deadline, and a TCP stream that keeps one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest that one system call waits before the clock is looked at again.
///
/// So the socket's time-out seldom changes (each change is a system call of its own), and never
/// is a duration that overflows some system's arithmetic.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What a read or write past the socket's time-out fails with. On Unix `TimedOut` is another thing:
/// the connection's own end, because the peer no longer acknowledges (tcp(7), `ETIMEDOUT`).
const WAIT_IS_OVER: ErrorKind = if cfg!(windows) {
    ErrorKind::TimedOut
} else {
    ErrorKind::WouldBlock
};

/// The instant by which something must be over, however many reads and writes it takes.
///
/// A time-out for each read would not do: a peer that sends one byte a minute never exceeds it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    start: Instant,
    /// Kept apart, because `Instant + Duration` panics where the sum is beyond the clock.
    timeout: Duration,
}

impl Deadline {
    /// The instant `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self {
            start: Instant::now(),
            timeout,
        }
    }

    /// The time left, more than zero.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ErrorKind::TimedOut) if there is none.
    pub fn remaining(self) -> io::Result<Duration> {
        let remaining = self.timeout.saturating_sub(self.start.elapsed());
        if remaining.is_zero() {
            let reason = format!("timed out after {:?}", self.timeout);
            return Err(io::Error::new(ErrorKind::TimedOut, reason));
        }
        Ok(remaining)
    }

    /// Repeats `attempt`, which may wait as long as it is told, until it has a result or the time
    /// is up.
    fn keep<T>(self, mut attempt: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(self.remaining()?.min(LONGEST_WAIT)) {
                Err(error) if error.kind() == WAIT_IS_OVER => {}
                outcome => return outcome,
            }
        }
    }
}

/// Reads a time-out given in seconds, decimals allowed.
///
/// # Errors
///
/// What is wrong with it: not a number, not above zero, or more than the clock can count.
pub fn parse_timeout(seconds: &str) -> Result<Duration, String> {
    let number: f64 = seconds.parse().map_err(|_| "not a number")?;
    let timeout = Duration::try_from_secs_f64(number).map_err(|error| error.to_string())?;
    if timeout.is_zero() {
        return Err("must be more than zero".into());
    }
    Instant::now()
        .checked_add(timeout)
        .ok_or("more than the clock can count")?;
    Ok(timeout)
}

/// A TCP stream whose reads and writes all end by one deadline.
#[derive(Debug)]
pub(crate) struct TimedStream {
    pub(crate) stream: TcpStream,
    pub(crate) deadline: Deadline,
    read_timeout: Option<Duration>,
}

impl TimedStream {
    pub(crate) fn new(stream: TcpStream, deadline: Deadline) -> Self {
        Self {
            stream,
            deadline,
            read_timeout: None,
        }
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.deadline.keep(|wait| {
            if self.read_timeout.replace(wait) != Some(wait) {
                // Fails only where both directions are shut down (POSIX, setsockopt, EINVAL), and
                // there no read waits.
                let _ = self.stream.set_read_timeout(Some(wait));
            }
            self.stream.read(buffer)
        })
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.deadline.keep(|wait| {
            // Sending waits too: for a peer that does not read.
            self.stream.set_write_timeout(Some(wait))?;
            self.stream.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
