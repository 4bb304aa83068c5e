//! The server's side of one exchange.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::deadline::{Deadline, TimedStream};
use crate::line::{read_line, write_line};

/// The longest that a client may take to close once its message is there: some round trips around
/// the Earth, and less than the second that the next client may have to wait for it.
const LINGER: Duration = Duration::from_millis(750);

/// One client, from accept to close.
#[derive(Debug)]
pub struct Session {
    reader: BufReader<TimedStream>,
}

impl Session {
    /// Takes an accepted connection; everything with this client is over `timeout` from now.
    #[must_use]
    pub fn new(connection: TcpStream, timeout: Duration) -> Self {
        let stream = TimedStream::new(connection, Deadline::after(timeout));
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// Sends the greeting, one line.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn greet(&mut self, greeting: &str) -> io::Result<()> {
        write_line(self.reader.get_mut(), greeting.as_bytes())
    }

    /// Receives the message; `None` if the client closed without one.
    ///
    /// # Errors
    ///
    /// Those of [`read_line`], the connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(read_line(&mut self.reader)?.map(|line| line.bytes))
    }

    /// Closes in order, and so tells the client that its message was received. To refuse a message,
    /// drop the session.
    ///
    /// A socket closed with bytes still unread, or still to come, answers with a reset (RFC 1122,
    /// section 4.2.2.13), which may even take the greeting from a client that has yet to read it.
    /// So the server first ends its own direction, then reads the client's to its end, for 0.75
    /// seconds at most.
    pub fn close(mut self) {
        let client = self.reader.get_mut();
        let Ok(remaining) = client.deadline.remaining() else {
            return;
        };
        client.deadline = Deadline::after(remaining.min(LINGER));
        // The message is received, whatever fails from here on; the connection closes on return.
        let _ = client.stream.shutdown(Shutdown::Write);
        let _ = io::copy(&mut self.reader, &mut io::sink());
    }
}
