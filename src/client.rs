//! The client's side of one exchange.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::deadline::{Deadline, LINGER, TimedStream};
use crate::line::{LIMIT, Line, read_line, write_line};

/// A connection to a server, until the message is sent.
#[derive(Debug)]
pub struct Session {
    reader: BufReader<TimedStream>,
    /// The address that answered.
    pub address: SocketAddr,
}

impl Session {
    /// Connects to the first of the addresses that answers; `timeout` is for this and the greeting
    /// together.
    ///
    /// Each address but the last gets half of the time left, because it may be one where nothing
    /// ever answers: of 60 seconds, three addresses get 30, 15 and 15.
    ///
    /// # Errors
    ///
    /// The failure to resolve a name (which takes as long as the system likes), or every address
    /// and why it failed.
    pub fn connect(addresses: impl ToSocketAddrs, timeout: Duration) -> io::Result<Self> {
        let deadline = Deadline::after(timeout);
        let mut addresses = addresses.to_socket_addrs()?.peekable();
        let mut failures = Vec::new();
        while let Some(address) = addresses.next() {
            let is_last = addresses.peek().is_none();
            let attempt = deadline.remaining().and_then(|left| {
                TcpStream::connect_timeout(&address, if is_last { left } else { left / 2 })
            });
            match attempt {
                Ok(stream) => {
                    let reader = BufReader::new(TimedStream::new(stream, deadline));
                    return Ok(Self { reader, address });
                }
                Err(error) => failures.push(format!("{}: {error}", address.ip())),
            }
        }
        Err(io::Error::other(failures.join("; ")))
    }

    /// Receives the greeting.
    ///
    /// # Errors
    ///
    /// Those of [`read_line`], the connection's failure, [`TimedOut`](ErrorKind::TimedOut), or
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the server closes instead.
    pub fn receive_greeting(&mut self) -> io::Result<Vec<u8>> {
        let closed = || io::Error::new(ErrorKind::UnexpectedEof, "closed without a greeting");
        Ok(read_line(&mut self.reader)?.ok_or_else(closed)?.bytes)
    }

    /// Sends the message, half-closes, and returns the lines that the server still sends, up to its
    /// orderly close. `timeout`, from now, is for all of this together.
    ///
    /// An end of the iterator without an error is [the receipt](crate#the-close-is-the-receipt).
    ///
    /// # Errors
    ///
    /// An error of `send` itself means that nothing was sent:
    /// [`ConnectionAborted`](ErrorKind::ConnectionAborted) if the server has closed or has said more
    /// than [`LIMIT`] bytes, or the connection's failure. The session ends with an orderly close.
    ///
    /// An error of the iterator means that the message may have arrived: the connection's failure,
    /// [`TimedOut`](ErrorKind::TimedOut), or those of [`read_line`].
    pub fn send(
        mut self,
        message: &[u8],
        timeout: Duration,
    ) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
        let early = self.take_early().inspect_err(|_| self.close(timeout))?;
        let server = self.reader.get_mut();
        server.deadline = Deadline::after(timeout);
        let sent = write_line(server, message);
        // Fails only where the connection is no more (shutdown(2), ENOTCONN); reading tells why.
        let _ = server.stream.shutdown(Shutdown::Write);

        let mut replies = Cursor::new(early).chain(self.reader);
        let replies = iter::from_fn(move || {
            // A reset right behind the end of the stream is no error to `read`; the socket keeps it
            // (socket(7), SO_ERROR).
            let reset = |server: &TcpStream| server.take_error().unwrap_or_else(Some).map(Err);
            let line = read_line(&mut replies).transpose();
            line.or_else(|| reset(&replies.get_ref().1.get_ref().stream))
        });
        // The terminator of a C server's string, behind its line end, is not a line.
        let replies = replies
            .filter(|line| !matches!(line, Ok(Line { bytes, end: Some(0) }) if bytes.is_empty()))
            .map(|line| Ok(line?.bytes));
        Ok(sent.err().map(Err).into_iter().chain(replies))
    }

    /// Takes what the server sent behind its greeting, and fails if that ends the stream.
    ///
    /// A close that came before the message proves nothing about the message, but after sending it
    /// could no longer be told from one that came later.
    fn take_early(&mut self) -> io::Result<Vec<u8>> {
        let mut early = self.reader.buffer().to_vec();
        self.reader.consume(early.len());
        let room = LIMIT.saturating_add(1).saturating_sub(early.len());
        let stream = &self.reader.get_ref().stream;
        stream.set_nonblocking(true)?;
        let ended = stream.take(room as u64).read_to_end(&mut early);
        stream.set_nonblocking(false)?;
        let reason = match ended {
            // The server waits: there is nothing more to read now.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(early),
            Err(error) => return Err(error),
            Ok(_) if early.len() > LIMIT => "the server had said too much",
            Ok(_) => "the server had closed",
        };
        Err(io::Error::new(ErrorKind::ConnectionAborted, reason))
    }

    /// Makes an orderly close without a message. What the server still says is read and thrown away,
    /// for 0.75 seconds or `timeout` at most; if a session is only dropped, it meets a reset.
    pub fn close(&mut self, timeout: Duration) {
        self.reader.get_mut().close(timeout.min(LINGER));
    }
}
