//! The server's side of one exchange.

use std::io::{self, BufReader, Read};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::deadline::{A_MOMENT, Deadline, LINGER, TimedStream};
use crate::line::{read_line, write_line};

/// One client, from accept to close.
///
/// To refuse a message, drop the session. Its LF or NUL is still unread in the system, which for that
/// reason answers with a reset, as it does when the process is killed. (A message that the end of the
/// stream ended leaves nothing unread; nobody can tell its sender that it was refused.)
#[derive(Debug)]
pub struct Session {
    reader: BufReader<Unread>,
}

impl Session {
    /// Takes an accepted connection; everything with this client is over `timeout` from now.
    #[must_use]
    pub fn new(connection: TcpStream, timeout: Duration) -> Self {
        let stream = TimedStream::new(connection, Deadline::after(timeout));
        let reader = BufReader::new(Unread { stream, peeked: 0 });
        Self { reader }
    }

    /// Sends the greeting, one line.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn greet(&mut self, greeting: &str) -> io::Result<()> {
        write_line(&mut self.reader.get_mut().stream, greeting.as_bytes())
    }

    /// Receives the message; `None` if the client closed without one.
    ///
    /// A little before the deadline it half-closes, as the last call: 0.75 seconds before, or half
    /// of a time-out under 1.5 seconds.
    ///
    /// # Errors
    ///
    /// Those of [`read_line`], the connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(read_line(&mut self.reader)?.map(|line| line.bytes))
    }

    /// Makes an orderly close, the receipt for the message. What the client still sends is read and
    /// thrown away, for 0.75 seconds at most.
    pub fn close(mut self) {
        let client = self.reader.get_mut();
        let _ = client.take_peeked();
        // Where showing the message took all the time, the close still gets a moment.
        let left = client.stream.deadline.remaining().unwrap_or(A_MOMENT);
        client.stream.close(left.min(LINGER));
    }
}

/// The client's bytes, read but left in the system until more is asked for.
///
/// A [`BufReader`] asks for more when all it had is consumed, and only then are the bytes taken from
/// the system. If they were taken at once, and the server then died before it had shown them, the
/// system would make an orderly close on its behalf, as if all were well.
#[derive(Debug)]
struct Unread {
    stream: TimedStream,
    /// How many bytes were read but not taken.
    peeked: u64,
}

impl Unread {
    /// Takes the peeked bytes from the system. This does not wait: they are already there.
    fn take_peeked(&mut self) -> io::Result<u64> {
        let mut peeked = (&self.stream.stream).take(mem::take(&mut self.peeked));
        io::copy(&mut peeked, &mut io::sink())
    }
}

impl Read for Unread {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take_peeked()?;
        let deadline = self.stream.deadline;
        // Past the deadline (a stopped process goes on late) there is no last call: its FIN would be
        // a receipt for a line that came meanwhile and is not shown. That line must meet a reset.
        deadline.remaining()?;
        let mut peeked = self.stream.peek(buffer, deadline.last_call())?;
        if peeked.is_none() {
            // The last call: a client that sees this end before it has sent does not send, and what
            // was sent before that is still on its way.
            let _ = self.stream.stream.shutdown(Shutdown::Write);
            peeked = self.stream.peek(buffer, deadline)?;
        }
        let length = peeked.ok_or_else(|| deadline.missed())?;
        self.peeked = length as u64;
        Ok(length)
    }
}
