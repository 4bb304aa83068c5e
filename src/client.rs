//! The client's side of one exchange.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::deadline::{Deadline, TimedStream};
use crate::line::{End, LIMIT, Line, read_line, write_line};

/// A connection to a server, until the message is sent.
#[derive(Debug)]
pub struct Session {
    reader: BufReader<TimedStream>,
    address: SocketAddr,
}

impl Session {
    /// Connects to the first of the addresses that answers; `timeout` is for this and the greeting
    /// together.
    ///
    /// Each address gets an equal share of the time left, because the first may be one where
    /// nothing ever answers.
    ///
    /// # Errors
    ///
    /// The failure to resolve a name (which takes as long as the system likes), or every address
    /// and why it failed.
    pub fn connect(addresses: impl ToSocketAddrs, timeout: Duration) -> io::Result<Self> {
        let deadline = Deadline::after(timeout);
        let addresses: Vec<SocketAddr> = addresses.to_socket_addrs()?.collect();
        let untried = (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev();
        let mut failures = Vec::new();
        for (address, untried) in iter::zip(addresses, untried) {
            let share = deadline
                .remaining()
                .map(|left| left.checked_div(untried).unwrap_or(left));
            match share.and_then(|share| TcpStream::connect_timeout(&address, share)) {
                Ok(stream) => {
                    let reader = BufReader::new(TimedStream::new(stream, deadline));
                    return Ok(Self { reader, address });
                }
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
        Err(io::Error::other(failures.join("; ")))
    }

    /// The address that answered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives the greeting.
    ///
    /// # Errors
    ///
    /// Those of [`read_line`], the connection's failure, [`TimedOut`](ErrorKind::TimedOut), or
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the server closes instead.
    pub fn greeting(&mut self) -> io::Result<Vec<u8>> {
        let closed = || io::Error::new(ErrorKind::UnexpectedEof, "closed without a greeting");
        read_line(&mut self.reader)?
            .map(|line| line.bytes)
            .ok_or_else(closed)
    }

    /// Sends the message and half-closes; returns what the server still says, line by line, until
    /// it has closed in order. `timeout` is for all of this together.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`](ErrorKind::ConnectionAborted) if the server had closed before anything
    /// was sent, the connection's failure, or [`TimedOut`](ErrorKind::TimedOut); the iterator also
    /// those of [`read_line`]. After any of them the message is not delivered for sure.
    pub fn send(
        mut self,
        message: &[u8],
        timeout: Duration,
    ) -> io::Result<impl Iterator<Item = io::Result<Line>>> {
        let early = self.take_early()?;
        let server = self.reader.get_mut();
        server.deadline = Deadline::after(timeout);
        write_line(server, message)?;
        // Fails only where there is no connection any more (shutdown(2), ENOTCONN).
        let reset = |_| io::Error::from(ErrorKind::ConnectionReset);
        server.stream.shutdown(Shutdown::Write).map_err(reset)?;

        let mut replies = Cursor::new(early).chain(self.reader);
        let lines = iter::from_fn(move || read_line(&mut replies).transpose());
        // The terminator of a C server's string, behind its line end, is not a line.
        Ok(lines
            .filter(|line| !matches!(line, Ok(Line { bytes, end: End::Nul }) if bytes.is_empty())))
    }

    /// Takes what the server sent behind its greeting, and fails if that ends the stream.
    ///
    /// A close that came before the message proves nothing about the message, but could no longer
    /// be told from one that came after it.
    fn take_early(&mut self) -> io::Result<Vec<u8>> {
        let mut early = self.reader.buffer().to_vec();
        self.reader.consume(early.len());
        let stream = &self.reader.get_ref().stream;
        stream.set_nonblocking(true)?;
        let taken = stream.take(LIMIT as u64).read_to_end(&mut early);
        stream.set_nonblocking(false)?;
        match taken {
            Ok(length) if length < LIMIT => Err(io::Error::new(
                ErrorKind::ConnectionAborted,
                "closed before anything was sent",
            )),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(early),
        }
    }
}
