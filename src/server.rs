//! The server's side of a connection.

use std::io::{self, BufReader, Read};
use std::net::TcpStream;
use std::time::Duration;

use crate::line::{Line, read_line, write_line};
use crate::{connection::Connection, deadline::Deadline};

/// One client, from accept to close.
///
/// Dropping the session without [`close`](Self::close) refuses the last line: its LF or NUL is still
/// unread, and closing a socket with unread bytes resets the connection. The same happens if the
/// process is killed. A line that ended with the stream left nothing unread, so it cannot be refused.
#[derive(Debug)]
pub struct Session {
    reader: BufReader<Unread>,
}

impl Session {
    /// Takes an accepted socket. Everything with this client must be over `timeout` from now, unless
    /// the deadline is [renewed](Self::renew).
    #[must_use]
    pub fn new(socket: TcpStream, timeout: Duration) -> Self {
        let deadline = Deadline::after(timeout);
        let connection = Connection { socket, deadline };
        let peeked = 0;
        let reader = BufReader::new(Unread { connection, peeked });
        Self { reader }
    }

    /// Sends one line, as [`write_line`] takes it: the greeting, or an answer.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        write_line(&mut self.reader.get_mut().connection, line)
    }

    /// Receives one line, or `None` if the client has closed without another one.
    ///
    /// Asking for the next line says that the one before is safe. Until then, or until
    /// [`close`](Self::close), the client cannot take it for delivered.
    ///
    /// # Errors
    ///
    /// The errors of [`read_line`], the connection's failure, or [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn receive(&mut self) -> io::Result<Option<Line>> {
        read_line(&mut self.reader)
    }

    /// Starts the deadline again: `timeout` from now. In a conversation, call this for each line.
    /// `receive` does not do it by itself. If it did, a client that sends line after line could hold a
    /// server for ever, and with it all other clients.
    pub fn renew(&mut self) {
        self.reader.get_mut().connection.deadline.renew();
    }

    /// Makes an orderly close, which is the client's receipt: half-closes, and reads until the client
    /// has closed, too, for 0.75 seconds at most. Returns how many bytes after the last received line
    /// were ignored.
    #[allow(clippy::must_use_candidate, reason = "not every server keeps a log")]
    pub fn close(self) -> usize {
        let ignored = self.reader.buffer().len();
        let mut unread = self.reader.into_inner();
        // First take the line from the system. If that fails, the connection is gone.
        let _ = (&unread.connection.socket).read(&mut vec![0; unread.peeked]);
        ignored + unread.connection.close()
    }
}

/// A stream that reads the client's bytes but leaves them in the receive buffer until the next read.
///
/// A [`BufReader`] reads again only when everything it had is consumed. If the bytes were taken from
/// the system at once, and the server then died before it had shown them, the system would make an
/// orderly close on its behalf, as if all were well.
#[derive(Debug)]
struct Unread {
    connection: Connection,
    /// How many bytes the last call read. They are still in the receive buffer.
    peeked: usize,
}

impl Read for Unread {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // First take from the receive buffer what the last call peeked. The bytes are there, so one `read`
        // gets them all and does not block; if there are none, `take(0)` makes no system call. The peek
        // then overwrites them.
        let _taken = (&self.connection.socket)
            .take(self.peeked as u64)
            .read(buffer)?;
        self.peeked = 0;
        self.peeked = self.connection.peek(buffer)?;
        Ok(self.peeked)
    }
}
