//! The server's side of one exchange.

use std::io::{self, BufReader, Read};
use std::net::TcpStream;
use std::time::Duration;

use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::line::{read_line, write_line};

/// One client, from accept to close.
///
/// To refuse a message, drop the session: its LF or NUL is still unread, and the system answers a close
/// with bytes unread by a reset. (It does the same when the process is killed. A message that ended
/// with the stream leaves nothing unread.)
#[derive(Debug)]
pub struct Session {
    reader: BufReader<Unread>,
}

impl Session {
    /// Takes an accepted socket; everything with this client is over `timeout` from now.
    #[must_use]
    pub fn new(socket: TcpStream, timeout: Duration) -> Self {
        let deadline = Deadline::after(timeout);
        let connection = Connection { socket, deadline };
        let peeked = 0;
        let reader = BufReader::new(Unread { connection, peeked });
        Self { reader }
    }

    /// Sends the greeting, one line.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn greet(&mut self, greeting: &str) -> io::Result<()> {
        write_line(&mut self.reader.get_mut().connection, greeting.as_bytes())
    }

    /// Receives the message; `None` if the client closed without one.
    ///
    /// # Errors
    ///
    /// Those of [`read_line`], the connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(read_line(&mut self.reader)?.map(|line| line.bytes))
    }

    /// Makes an orderly close, the receipt for the message: half-closes, and reads on until the client
    /// has closed too, for 0.75 seconds at most. Returns how many bytes after the message were ignored.
    pub fn close(mut self) -> usize {
        self.reader.get_mut().connection.begin_close();
        self.reader.bytes().map_while(Result::ok).count()
    }
}

/// The client's bytes, read but left in the system until more is asked for.
///
/// A [`BufReader`] asks for more when all it had is consumed, and only then are the bytes taken from
/// the system. If they were taken at once, and the server then died before it had shown them, the
/// system would make an orderly close on its behalf, as if all were well.
#[derive(Debug)]
struct Unread {
    connection: Connection,
    /// How many bytes were read but not taken.
    peeked: u64,
}

impl Read for Unread {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Takes what was peeked, in one read, which never waits: there is something to take, or nothing
        // is asked for. `read_exact` might wait, as a peek may count bytes twice while urgent data arrives.
        let _taken = (&self.connection.socket).take(self.peeked).read(buffer)?;
        self.peeked = 0;
        let length = self.connection.peek(buffer)?;
        self.peeked = length as u64;
        Ok(length)
    }
}
