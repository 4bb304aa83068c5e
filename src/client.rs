//! The client's side of one exchange.

use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::line::{LIMIT, read_line, write_line};

/// A connection to a server, until the message is sent.
#[derive(Debug)]
pub struct Session {
    reader: BufReader<Connection>,
    /// The address that answered.
    pub address: SocketAddr,
}

impl Session {
    /// Connects to the first of the addresses that answers. `timeout` is for this and the greeting
    /// together; sending and the server's close will have as long again.
    ///
    /// Each address but the last gets half of the time left, because it may be one where nothing
    /// ever answers: of 60 seconds, three addresses get 30, 15 and 15.
    ///
    /// # Errors
    ///
    /// The failure to look up a name (which takes as long as the system likes), the one address's
    /// failure, or of several addresses each with its failure.
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
                Ok(socket) => {
                    let reader = BufReader::new(Connection { socket, deadline });
                    return Ok(Self { reader, address });
                }
                Err(error) if is_last && failures.is_empty() => return Err(error),
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

    /// Sends the message, which is one line as [`write_line`] wants it, and half-closes.
    ///
    /// # Errors
    ///
    /// An error means that nothing was sent:
    /// [`ConnectionAborted`](ErrorKind::ConnectionAborted) if the server has closed or has said more
    /// than [`LIMIT`] bytes, or the connection's failure. The session ends with an orderly close.
    ///
    /// From the first attempt to send on, the message may have arrived; [`Replies::receive`] tells.
    pub fn send(mut self, message: &[u8]) -> io::Result<Replies> {
        let early = self.take_early().inspect_err(|_| self.close())?;
        // This drops what the reader had buffered; it is among what was early.
        let mut connection = self.reader.into_inner();
        connection.deadline = connection.deadline.again();
        let cut = write_line(&mut connection, message).err();
        connection.half_close();
        let (early, later) = (Cursor::new(early), BufReader::new(connection));
        Ok(Replies { cut, early, later })
    }

    /// Takes what the server sent after its greeting, and fails if the stream ends there.
    ///
    /// A close that came before the message proves nothing about it, but once the message is sent, it
    /// could no longer be told from one that came later. (To peek would not do: an end of the stream
    /// shows only when all before it is taken.)
    fn take_early(&self) -> io::Result<Vec<u8>> {
        let socket = &self.reader.get_ref().socket;
        let mut early = Vec::new();
        let mut stream = self.reader.buffer().chain(socket).take(LIMIT as u64 + 1);
        socket.set_nonblocking(true)?;
        let outcome = stream.read_to_end(&mut early);
        socket.set_nonblocking(false)?;
        let reason = match outcome {
            // The server waits: there is nothing more to read now.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(early),
            Err(error) => return Err(error),
            Ok(_) if early.len() > LIMIT => "the server had said too much",
            Ok(_) => "the server had closed",
        };
        Err(io::Error::new(ErrorKind::ConnectionAborted, reason))
    }

    /// Makes an orderly close without a message: half-closes, and reads on until the server has closed
    /// too, for 0.75 seconds at most. (If a session is only dropped, what the server still says meets
    /// a reset.)
    pub fn close(&mut self) {
        let connection = self.reader.get_mut();
        connection.deadline = connection.deadline.again();
        connection.begin_close();
        let _ = io::copy(&mut self.reader, &mut io::sink());
    }
}

/// What the server sends after its greeting, up to its close, the receipt for the message.
#[derive(Debug)]
pub struct Replies {
    /// What cut the message off, until [`receive`](Self::receive) has told it.
    cut: Option<io::Error>,
    early: Cursor<Vec<u8>>,
    later: BufReader<Connection>,
}

impl Replies {
    /// Receives a line; `None` is the end of the stream and [the
    /// receipt](crate#the-close-is-the-receipt).
    ///
    /// # Errors
    ///
    /// An error means that the message may have arrived, whole or in part: the connection's failure,
    /// while sending or since, [`TimedOut`](ErrorKind::TimedOut), or those of [`read_line`]. It is the
    /// last word: what is received after it is no receipt.
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        // Before any read: a socket tells its failure once, and may then seem closed in order.
        self.cut.take().map_or(Ok(()), Err)?;
        loop {
            match read_line(&mut (&mut self.early).chain(&mut self.later))? {
                // The terminator of a C server's string, after its line end, is not a line.
                Some(line) if line.bytes.is_empty() && line.end == Some(0) => {}
                Some(line) => return Ok(Some(line.bytes)),
                None => return self.confirm().map(|()| None),
            }
        }
    }

    /// Takes the end of the stream for a receipt, if it is one.
    fn confirm(&self) -> io::Result<()> {
        let Connection { socket, deadline } = self.later.get_ref();
        // Acknowledged? If the server closed while the message was still on its way, the message meets
        // a closed socket, and a reset comes back. Linux knows the peer's address until both directions
        // are closed and acknowledged (getpeername(2), ENOTCONN); nothing in std waits for that, so look
        // again and again. Windows may know it for ever, and macOS forgets it at once: no use there.
        while cfg!(target_os = "linux") && socket.peer_addr().is_ok() {
            deadline.remaining()?;
            thread::sleep(Duration::from_millis(1));
        }
        // Reset? `read` does not tell, if the end of the stream came first (socket(7), SO_ERROR).
        socket.take_error()?.map_or(Ok(()), Err)
    }
}
