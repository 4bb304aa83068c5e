//! The server's side of one exchange.

use std::io::{self, BufRead, Read};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::deadline::{Deadline, LINGER, TimedStream};
use crate::line::{read_line, write_line};

/// The least time for the close, where showing the message took all there was: what the client has
/// sent by now must not become a reset.
const A_MOMENT: Duration = Duration::from_millis(10);

/// One client, from accept to close.
///
/// To refuse a message, drop the session. Its LF or NUL is still unread in the system, which for that
/// reason answers with a reset, as it does when the process is killed. (A message that the end of the
/// stream ended leaves nothing unread; nobody can tell its sender that it was refused.)
#[derive(Debug)]
pub struct Session {
    reader: Unread,
}

impl Session {
    /// Takes an accepted connection; everything with this client is over `timeout` from now.
    #[must_use]
    pub fn new(connection: TcpStream, timeout: Duration) -> Self {
        Self {
            reader: Unread {
                stream: TimedStream::new(connection, Deadline::after(timeout)),
                buffer: vec![0; 8_192],
                peeked: 0,
                used: 0,
            },
        }
    }

    /// Sends the greeting, one line.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn greet(&mut self, greeting: &str) -> io::Result<()> {
        write_line(&mut self.reader.stream, greeting.as_bytes())
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
        let _ = self.reader.take_used();
        let client = &mut self.reader.stream;
        let left = client.deadline.remaining().unwrap_or_default();
        client.close(left.clamp(A_MOMENT, LINGER));
    }
}

/// The client's bytes, left unread in the system until more is asked for.
///
/// A [`BufReader`](io::BufReader) would take them at once. If the server then died before it had
/// shown them, the system would make an orderly close on its behalf, as if all was well.
#[derive(Debug)]
struct Unread {
    stream: TimedStream,
    buffer: Vec<u8>,
    /// How much of the buffer is also, and first, in the system.
    peeked: usize,
    /// How much of that is consumed.
    used: usize,
}

impl Unread {
    /// Takes from the system what was consumed. This does not wait, as the bytes are there.
    fn take_used(&mut self) -> io::Result<()> {
        let mut used = (&self.stream.stream).take(self.used as u64);
        io::copy(&mut used, &mut io::sink())?;
        (self.peeked, self.used) = (0, 0);
        Ok(())
    }
}

impl BufRead for Unread {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.peeked {
            self.take_used()?;
            let deadline = self.stream.deadline;
            let mut peeked = self.stream.peek(&mut self.buffer, deadline.last_call())?;
            if peeked.is_none() {
                // The last call: a client that sees this end before it has sent does not send, and
                // what was sent before that is still on its way.
                let _ = self.stream.stream.shutdown(Shutdown::Write);
                peeked = self.stream.peek(&mut self.buffer, deadline)?;
            }
            self.peeked = peeked.ok_or_else(|| deadline.missed())?;
        }
        Ok(self.buffer.get(self.used..self.peeked).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.peeked.min(self.used.saturating_add(amount));
    }
}

impl Read for Unread {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(buffer)?;
        self.consume(amount);
        Ok(amount)
    }
}
