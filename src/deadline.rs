//! A deadline, and a TCP stream that keeps one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The time-outs that [`parse_timeout`] takes. The socket options of Linux, macOS and Windows can all
/// count them; Windows starts at a millisecond and stops at 49 days.
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(1_000_000);

/// The longest wait for a peer to close once all is said: some round trips around the Earth, and
/// less than the second that a server's next client may have to wait for it.
pub(crate) const LINGER: Duration = Duration::from_millis(750);

/// The first bytes fit into a new connection's send buffer (on Linux: tcp(7), `tcp_wmem`), so that a
/// usual line does not wait and is spared the system call for a time-out.
const SEND_BUFFER: usize = 1_024;

/// The shortest wait, where there is no time left and what has come already is still wanted.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(10);

/// What a read or write past the socket's time-out fails with. On Unix `TimedOut` is another thing:
/// the connection's own end, because the peer no longer acknowledges (tcp(7), `ETIMEDOUT`).
const WAIT_IS_OVER: ErrorKind = if cfg!(windows) {
    ErrorKind::TimedOut
} else {
    ErrorKind::WouldBlock
};

/// Reads a time-out from 0.001 to 1,000,000 seconds, decimals allowed.
///
/// # Errors
///
/// What it must be instead.
pub fn parse_timeout(seconds: &str) -> Result<Duration, &'static str> {
    let number = seconds.parse().unwrap_or(f64::NAN);
    let timeout = Duration::try_from_secs_f64(number).ok();
    let timeout = timeout.filter(|it| TIMEOUTS.contains(it));
    timeout.ok_or("must be a number of seconds from 0.001 to 1000000")
}

/// The instant by which something must be over, however many reads and writes it takes.
///
/// A time-out for each read would not do: a peer that sends one byte a minute never exceeds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    start: Instant,
    /// Kept apart, because `Instant + Duration` panics where the sum is beyond the clock.
    timeout: Duration,
}

impl Deadline {
    /// The instant `timeout` from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        let start = Instant::now();
        Self { start, timeout }
    }

    /// The instant from which it is too late to begin: a little before this one, so that what has
    /// begun can still end.
    pub(crate) fn last_call(self) -> Self {
        let timeout = self.timeout.saturating_sub(LINGER).max(self.timeout / 2);
        Self { timeout, ..self }
    }

    /// The time left, more than zero.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ErrorKind::TimedOut) if there is none.
    pub(crate) fn remaining(self) -> io::Result<Duration> {
        let remaining = self.timeout.saturating_sub(self.start.elapsed());
        let remaining = Some(remaining).filter(|it| !it.is_zero());
        remaining.ok_or_else(|| self.missed())
    }

    /// What reading and writing fail with from then on.
    pub(crate) fn missed(self) -> io::Error {
        let reason = format!("timed out after {:?}", self.timeout);
        io::Error::new(ErrorKind::TimedOut, reason)
    }

    /// Says in our words that a socket's wait is over.
    fn explain<T>(self, outcome: io::Result<T>) -> io::Result<T> {
        match outcome {
            Err(error) if error.kind() == WAIT_IS_OVER => Err(self.missed()),
            outcome => outcome,
        }
    }
}

/// A TCP stream on which every wait ends by one deadline.
#[derive(Debug)]
pub(crate) struct TimedStream {
    pub(crate) stream: TcpStream,
    pub(crate) deadline: Deadline,
    /// The bytes that the send buffer is sure to take, whether or not the peer reads.
    room: usize,
}

impl TimedStream {
    pub(crate) fn new(stream: TcpStream, deadline: Deadline) -> Self {
        Self {
            stream,
            deadline,
            room: SEND_BUFFER,
        }
    }

    /// Looks at the bytes that are there without taking them; `None` if none came in time.
    ///
    /// A peek takes nothing, so it may be repeated after a time-out. A read may not: on Windows, bytes
    /// that come at that moment may be lost (setsockopt, `SO_RCVTIMEO`).
    pub(crate) fn peek(&self, buffer: &mut [u8], until: Deadline) -> io::Result<Option<usize>> {
        // Looks at least once, whatever the time, as bytes that are there need no waiting.
        let wait = until.remaining().unwrap_or(A_MOMENT);
        // Fails only where both directions are shut down (POSIX, setsockopt, EINVAL), and there no
        // read waits.
        let _ = self.stream.set_read_timeout(Some(wait));
        match self.stream.peek(buffer) {
            Err(error) if error.kind() == WAIT_IS_OVER => Ok(None),
            peeked => peeked.map(Some),
        }
    }

    /// Makes an orderly close: ends its own direction, then reads the peer's to the end and throws
    /// that away, for `linger` at most.
    ///
    /// A socket closed with bytes still unread, or still to come, answers with a reset (RFC 1122,
    /// section 4.2.2.13), which may even take from the peer what it has yet to read.
    pub(crate) fn close(&mut self, linger: Duration) {
        // Where the peer has reset the connection both fail, and nothing is left to close.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.deadline = Deadline::after(linger);
        let _ = io::copy(self, &mut io::sink());
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wait = self.deadline.remaining()?;
        let _ = self.stream.set_read_timeout(Some(wait)); // As for a peek.
        self.deadline.explain(self.stream.read(buffer))
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wait = self.deadline.remaining()?;
        self.room = self.room.saturating_sub(bytes.len());
        if self.room == 0 {
            // Sending waits too: for a peer that does not read.
            self.stream.set_write_timeout(Some(wait))?;
        }
        self.deadline.explain(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
