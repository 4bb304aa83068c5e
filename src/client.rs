//! The client's side of a connection.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::{thread, time::Duration};

use crate::line::{Line, MAX_LINE_LENGTH, read_line, write_line};
use crate::{connection::Connection, deadline::Deadline};

/// A connection to a server, on which no message has been sent.
#[derive(Debug)]
pub struct Session {
    reader: BufReader<Connection>,
    /// The address that answered.
    pub address: SocketAddr,
}

impl Session {
    /// Connects to the first address that answers. `timeout` is for this and the greeting together. Each
    /// later step has the same time again.
    ///
    /// Each address but the last gets half of the time that is left, because it may be one where
    /// nothing ever answers. Of 60 seconds, three addresses get 30, 15 and 15.
    ///
    /// # Errors
    ///
    /// The reason, if the name cannot be looked up; how long a look-up takes is up to the system. The
    /// connection's failure, if there is one address. Each address with its failure, if there are more.
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
        if failures.is_empty() {
            failures.push("could not resolve to any addresses".into());
        }
        Err(io::Error::other(failures.join("; ")))
    }

    /// Receives the greeting.
    ///
    /// # Errors
    ///
    /// The errors of [`read_line`], the connection's failure, [`TimedOut`](ErrorKind::TimedOut), or
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the server closes instead.
    pub fn receive_greeting(&mut self) -> io::Result<Vec<u8>> {
        let closed = || io::Error::new(ErrorKind::UnexpectedEof, "closed without a greeting");
        Ok(read_line(&mut self.reader)?.ok_or_else(closed)?.bytes)
    }

    /// Sends a line, keeps the connection open and receives one line as the answer. Both together have
    /// as long as [`connect`](Self::connect) had.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if an LF or NUL is in the line. Nothing is sent then:
    /// the server would take it for two lines, and each later answer would be one late.
    ///
    /// Otherwise the errors of [`receive_greeting`](Self::receive_greeting). An answer that the end of the
    /// stream cuts off is an error, too. After such an error the conversation is over: `ask` and `ready`
    /// fail from then on, because an answer that comes late would be taken for that of the next line.
    pub fn ask(&mut self, line: &[u8]) -> io::Result<Vec<u8>> {
        if line.contains(&b'\n') || line.contains(&0) {
            let reason = "an LF or a NUL would end the line early";
            return Err(io::Error::new(ErrorKind::InvalidInput, reason));
        }
        self.reader.get_mut().deadline.renew();
        let sent = write_line(self.reader.get_mut(), line);
        let error = match sent.and_then(|()| read_reply(&mut self.reader)) {
            Ok(Some(answer)) if answer.end.is_some() => return Ok(answer.bytes),
            Ok(_) => io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer"),
            Err(error) => error,
        };
        // Whatever comes later is not to be read. This fails only if the connection is gone already.
        let _ = self.reader.get_ref().socket.shutdown(Shutdown::Both);
        Err(error)
    }

    /// Checks that the server still waits for the message. Call this as late as possible.
    ///
    /// If the server closed before we send, that says nothing about our message, and after sending we
    /// could no longer tell when it closed.
    ///
    /// # Errors
    ///
    /// An error means that nothing was sent: [`ConnectionAborted`](ErrorKind::ConnectionAborted) if
    /// the server has closed or has said more than [`MAX_LINE_LENGTH`] bytes, or the connection's failure.
    /// The session ends with an orderly close.
    pub fn ready(self) -> io::Result<Ready> {
        let mut early = self.reader.buffer().to_vec();
        let mut connection = self.reader.into_inner();
        connection.deadline.renew();
        // Only reading everything that has come shows whether the stream ends after it.
        connection.socket.set_nonblocking(true)?;
        let mut stream = (&connection.socket).take(MAX_LINE_LENGTH as u64 + 1);
        let outcome = stream.read_to_end(&mut early);
        connection.socket.set_nonblocking(false)?;
        let reason = match outcome {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ if early.len() > MAX_LINE_LENGTH => "the server had said too much",
            Ok(_) => "the server had closed",
            // The stream has not ended: the server waits for us.
            Err(_) => return Ok(Ready { early, connection }),
        };
        connection.close();
        Err(io::Error::new(ErrorKind::ConnectionAborted, reason))
    }

    /// Makes an orderly close without a message: half-closes, and reads until the server has closed,
    /// too, for 0.75 seconds at most. If a session is only dropped, what the server still sends is
    /// answered with a reset.
    pub fn close(self) {
        let mut connection = self.reader.into_inner();
        connection.deadline.renew();
        connection.close();
    }
}

/// A connection on which nothing has been sent, just before the message is.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Ready {
    /// What the server sent before the message.
    early: Vec<u8>,
    connection: Connection,
}

impl Ready {
    /// Sends the message, which is one line as [`write_line`] takes it, and half-closes. Sending and
    /// the server's close must both be over `timeout` after the call of [`ready`](Session::ready).
    ///
    /// # Errors
    ///
    /// An error means that the message may have arrived, whole or in part: the connection's failure,
    /// or [`TimedOut`](ErrorKind::TimedOut).
    pub fn send(mut self, message: &[u8]) -> io::Result<Replies> {
        write_line(&mut self.connection, message)?;
        self.connection.half_close();
        let reader = BufReader::new(Cursor::new(self.early).chain(self.connection));
        Ok(Replies { reader })
    }
}

/// What the server sends after its greeting, up to its close, which is the receipt for the message.
#[derive(Debug)]
#[must_use = "the message is delivered only when `receive` returns `None`"]
pub struct Replies {
    reader: BufReader<Chain<Cursor<Vec<u8>>, Connection>>,
}

impl Replies {
    /// Receives a line. Returns it with what follows, or `None` at the end of the stream, which is [the
    /// receipt](crate#the-close-is-the-receipt).
    ///
    /// # Errors
    ///
    /// An error means that the message may have arrived, whole or in part: the errors of
    /// [`read_line`], the connection's failure, or [`TimedOut`](ErrorKind::TimedOut). It takes the
    /// replies along: a socket reports a failure only once, and then looks as if it had been closed in
    /// order.
    pub fn receive(mut self) -> io::Result<Option<(Vec<u8>, Self)>> {
        if let Some(reply) = read_reply(&mut self.reader)? {
            return Ok(Some((reply.bytes, self)));
        }
        self.confirm()?;
        Ok(None)
    }

    /// Makes sure that the end of the stream is a receipt: everything that we sent is acknowledged,
    /// and no reset came.
    fn confirm(&self) -> io::Result<()> {
        let (_, Connection { socket, deadline }) = self.reader.get_ref().get_ref();
        // Is it acknowledged? If the server closed while the message was on its way, the message meets
        // a closed socket, and a reset comes back. Linux knows the peer's address until both
        // directions are closed and acknowledged (getpeername(2), ENOTCONN). Nothing in std waits for
        // that, so this looks again and again. On other systems the address says nothing: Windows may
        // know it for ever, and macOS forgets it at once.
        while cfg!(target_os = "linux") && socket.peer_addr().is_ok() {
            deadline.remaining()?;
            thread::sleep(Duration::from_millis(1));
        }
        // Was there a reset? `read` does not report one that came after the end of the stream
        // (socket(7), SO_ERROR).
        match socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Reads a line from a server. Servers in C send the NUL of their string after its line end. That NUL
/// alone is not a line, and is skipped.
fn read_reply(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    loop {
        match read_line(reader)? {
            Some(line) if line.bytes.is_empty() && line.end == Some(0) => {}
            line => return Ok(line),
        }
    }
}
