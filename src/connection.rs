//! A TCP connection that keeps a deadline.

use std::io::{self, ErrorKind, ErrorKind::TimedOut, ErrorKind::WouldBlock, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::deadline::Deadline;

/// How a socket reports that its timeout is over. On Unix, `TimedOut` is something else: the connection
/// itself has ended, because the peer no longer acknowledges (tcp(7), `ETIMEDOUT`).
const WAIT_IS_OVER: ErrorKind = if cfg!(windows) { TimedOut } else { WouldBlock };

/// A TCP connection on which every wait ends by one deadline.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) deadline: Deadline,
}

impl Connection {
    /// Does what may wait, and has the system end that wait at the deadline. (A socket has one timeout
    /// for reading and one for writing. Linux counts a wait while it is asleep: a flood of urgent
    /// segments, which only raw packets make, was seen to stretch it by a quarter.)
    fn in_time(
        &self,
        set_timeout: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        operation: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let remaining = self.deadline.remaining()?;
        // Fails only where both directions are shut down (POSIX, setsockopt, EINVAL), and there
        // nothing waits.
        let _ = set_timeout(&self.socket, Some(remaining));
        match operation() {
            Err(error) if error.kind() == WAIT_IS_OVER => Err(self.deadline.missed()),
            outcome => outcome,
        }
    }

    /// Reads like [`read`](Read::read), but leaves what it has read in the system.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time(TcpStream::set_read_timeout, || self.socket.peek(buffer))
    }

    /// Ends the sending direction, which is how the peer learns that this was all.
    pub(crate) fn half_close(&self) {
        // Fails only where the connection is no more (shutdown(2), ENOTCONN); reading tells why.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Begins an orderly close: half-closes, and sets a deadline by which the caller, before it drops
    /// the connection, must have read the peer's direction to its end.
    ///
    /// A socket closed with bytes still unread, or still to come, answers with a reset (RFC 1122,
    /// section 4.2.2.13), which may even take from the peer what it has yet to read.
    pub(crate) fn begin_close(&mut self) {
        /// Some round trips around the Earth, yet less than a second: the server's next client waits.
        const LINGER: Duration = Duration::from_millis(750);
        /// Enough for what has come already, where showing the message took all the time.
        const A_MOMENT: Duration = Duration::from_millis(10);

        self.half_close();
        let remaining = self.deadline.remaining().unwrap_or(A_MOMENT);
        self.deadline = Deadline::after(remaining.min(LINGER));
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time(TcpStream::set_read_timeout, || (&self.socket).read(buffer))
    }
}

impl Write for Connection {
    /// Writing waits too: for a peer that does not read.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.in_time(TcpStream::set_write_timeout, || (&self.socket).write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
