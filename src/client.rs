//! The client's side of a connection.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::{error::Error, thread, time::Duration};

use crate::line::{Line, MAX_LINE_LENGTH, encode, read_line, with_progress, write_line};
use crate::{connection::Connection, deadline::Deadline, fuse::Fuse};

/// A connection to a server, on which no line has been sent.
///
/// Once a step has failed, every later one fails, too: what comes then may be the rest of a line that was
/// cut off. A text that was refused is no failure.
#[derive(Debug)]
pub struct Session {
    stream: Fuse<BufReader<Connection>>,
    address: SocketAddr,
}

impl Session {
    /// Connects to the first address that answers. `timeout` is for this and the greeting together.
    /// [`ask`](Self::ask) and [`ready`](Self::ready) begin it again.
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
                let left = if is_last { left } else { left / 2 };
                let socket = TcpStream::connect_timeout(&address, left)?;
                let connection = refuse_itself(Connection { socket, deadline })?;
                Ok(Fuse::new(BufReader::new(connection)))
            });
            match attempt {
                Ok(stream) => return Ok(Self { stream, address }),
                Err(error) if is_last && failures.is_empty() => return Err(error),
                Err(error) => failures.push(format!("{}: {error}", address.ip())),
            }
        }
        if failures.is_empty() {
            failures.push("could not resolve to any addresses".into());
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
    /// The errors of [`read_line`], the connection's failure, [`TimedOut`](ErrorKind::TimedOut), or
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the server closes instead.
    pub fn receive_greeting(&mut self) -> io::Result<Vec<u8>> {
        let greeting = self.stream.step(read_line)?;
        let no_greeting = || io::Error::new(ErrorKind::UnexpectedEof, "closed without a greeting");
        Ok(greeting.ok_or_else(no_greeting)?.bytes)
    }

    /// Sends a line, keeps the connection open and receives one line as the answer. Both together have
    /// as long as [`connect`](Self::connect) had.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use std::{net::TcpListener, thread, time::Duration};
    /// # use greet::{client, server};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # let timeout = Duration::from_secs(10);
    /// # thread::spawn(move || {
    /// #     let mut server = server::Session::new(listener.accept()?.0, timeout);
    /// #     server.receive()?;
    /// #     server.send(b"4")?;
    /// #     std::io::Result::Ok(server.close())
    /// # });
    /// let mut client = client::Session::connect(address, timeout)?;
    /// assert_eq!(client.ask(b"2 + 2")?, b"4");
    /// client.close();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Before it sends, this looks at what has come, so that no answer is taken for that of another line.
    /// What is still on its way cannot be seen: if the greeting was not received and comes late, it is taken
    /// for the first answer, and the next `ask` fails.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the line would not arrive as it is, as
    /// [`check_line`](crate::line::check_line) says. Nothing is sent then, and the session goes on.
    ///
    /// [`ConnectionAborted`](ErrorKind::ConnectionAborted) if the server has closed, or has said something
    /// before it was asked. Nothing is sent then, and this kind means nothing else.
    ///
    /// Any other error means that the line may have arrived, unless an earlier step had failed: the errors of
    /// [`receive_greeting`](Self::receive_greeting). An answer that the end of the stream cuts off is one
    /// of them.
    pub fn ask(&mut self, line: &[u8]) -> io::Result<Vec<u8>> {
        let line = encode(line)?;
        self.stream.step(|reader| {
            reader.get_mut().deadline.renew();
            // A server in C may have sent the NUL of its string behind its last answer.
            if take_early(reader)?.iter().any(|byte| *byte != 0) {
                return Err(aborted_error(
                    "the server had said something before it was asked",
                ));
            }
            send_and_receive(reader, &line).map_err(|error| match error.kind() {
                // The system's own word for a lost connection must not mean that nothing was sent.
                ErrorKind::ConnectionAborted => io::Error::new(ErrorKind::ConnectionReset, error),
                _ => error,
            })
        })
    }

    /// Checks that the server still waits for the line. Call this as late as possible.
    ///
    /// If the server closed before we send, that says nothing about our line, and after sending we
    /// could no longer tell when it closed.
    ///
    /// # Errors
    ///
    /// An error means that nothing was sent, and the session ends:
    /// [`ConnectionAborted`](ErrorKind::ConnectionAborted) if the server has closed, in order or not, or has
    /// said more than [`MAX_LINE_LENGTH`] bytes, or an earlier step's failure.
    pub fn ready(self) -> io::Result<Ready> {
        let mut reader = self.stream.into_inner()?;
        reader.get_mut().deadline.renew();
        let early = take_early(&mut reader);
        let connection = reader.into_inner();
        match early {
            Ok(early) => Ok(Ready { early, connection }),
            Err(error) => {
                connection.close();
                Err(error)
            }
        }
    }

    /// Makes an orderly close without a line: half-closes, and reads until the server has closed,
    /// too, for 0.75 seconds at most. If a session is only dropped, what the server still sends is
    /// answered with a reset. After a failure, this only drops the session.
    pub fn close(self) {
        if let Ok(reader) = self.stream.into_inner() {
            let mut connection = reader.into_inner();
            // A person may have taken longer to type than the server had to answer.
            connection.deadline.renew();
            connection.close();
        }
    }
}

/// Refuses a connection of a socket to itself. If nobody listens on a port from which the system takes the
/// ports of outgoing connections, it may take that very port for this one, and then the socket meets
/// itself (RFC 9293, section 3.5, simultaneous open). It would echo the line, and then give a receipt.
fn refuse_itself(mut connection: Connection) -> io::Result<Connection> {
    // The address that was asked for says nothing: 0.0.0.0 reaches 127.0.0.1.
    if connection.socket.peer_addr().ok() != Some(connection.socket.local_addr()?) {
        return Ok(connection);
    }
    // If this were closed in order, its port would be taken for a minute (TIME_WAIT), and a server could not
    // start. A byte of its own that is left unread makes the close a reset.
    let _ = connection.write_all(b"\n");
    let _ = connection.peek(&mut [0]);
    Err(ErrorKind::ConnectionRefused.into())
}

/// Takes from a connection what the server has sent so far, without waiting for more.
///
/// # Errors
///
/// [`ConnectionAborted`](ErrorKind::ConnectionAborted) if the server does not wait for us any more.
fn take_early(reader: &mut BufReader<Connection>) -> io::Result<Vec<u8>> {
    let mut early = reader.buffer().to_vec();
    reader.consume(early.len());
    let socket = &reader.get_ref().socket;
    // Only reading everything that has come shows whether the stream ends after it.
    socket.set_nonblocking(true)?;
    let outcome = socket
        .take(MAX_LINE_LENGTH as u64 + 1)
        .read_to_end(&mut early);
    socket.set_nonblocking(false)?; // Whoever uses the socket next finds it as it was.
    match outcome {
        _ if early.len() > MAX_LINE_LENGTH => Err(aborted_error("the server had said too much")),
        Ok(_) => Err(aborted_error("the server had closed")),
        // The stream has not ended: the server waits for us.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(early),
        Err(error) => Err(aborted_error(error)),
    }
}

/// Sends a line, as [`encode`] made it, and receives one as the answer.
fn send_and_receive(reader: &mut BufReader<Connection>, line: &[u8]) -> io::Result<Vec<u8>> {
    reader.get_mut().write_all(line)?;
    let half = match read_reply(reader)? {
        Some(Line {
            bytes,
            end: Some(_),
        }) => return Ok(bytes),
        Some(Line { bytes, end: None }) => bytes,
        None => Vec::new(),
    };
    let closed = io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer");
    Err(with_progress(closed, half.len()))
}

/// The error of a step that has sent nothing, because the conversation had come to an end before.
fn aborted_error(reason: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, reason)
}

/// A connection on which nothing has been sent, just before the line is.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Ready {
    /// What the server sent before the line.
    early: Vec<u8>,
    connection: Connection,
}

impl Ready {
    /// Sends the line, and half-closes. Sending and the server's close must both be
    /// over `timeout` after the call of [`ready`](Session::ready).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the line would not arrive as it is, as
    /// [`check_line`](crate::line::check_line) says; nothing is sent then. Any other error means that the
    /// line may have arrived, whole or in part: the connection's failure, or
    /// [`TimedOut`](ErrorKind::TimedOut).
    pub fn send(mut self, line: &[u8]) -> io::Result<Replies> {
        write_line(&mut self.connection, line)?;
        self.connection.half_close();
        let reader = BufReader::new(Cursor::new(self.early).chain(self.connection));
        Ok(Replies {
            stream: Fuse::new(reader),
            has_receipt: false,
        })
    }
}

/// What the server sends after its greeting, up to its close, which is the receipt for the line.
///
/// A single `replies.receive()?` is no receipt, because it may have returned a line. The compiler warns of a
/// receipt that is forgotten altogether:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn forget(client: greet::client::Session) -> std::io::Result<()> {
///     client.ready()?.send(b"hello")?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "the line is delivered only once `receive` returns `None`, or `finish` succeeds"]
pub struct Replies {
    stream: Fuse<BufReader<Chain<Cursor<Vec<u8>>, Connection>>>,
    has_receipt: bool,
}

impl Replies {
    /// Receives a line, or `None` at the end of the stream, which is [the
    /// receipt](crate#the-close-is-the-receipt). From then on, this returns `None`.
    ///
    /// # Errors
    ///
    /// An error means that the line may have arrived, whole or in part: the errors of
    /// [`read_line`], the connection's failure, or [`TimedOut`](ErrorKind::TimedOut). From then on, this
    /// always fails: a socket reports a failure only once, and then looks as if it had been closed in order.
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.has_receipt {
            return Ok(None);
        }
        let reply = self.stream.step(|reader| {
            let reply = read_reply(reader)?;
            if reply.is_none() {
                let (_early, connection) = reader.get_ref().get_ref();
                confirm(connection)?;
            }
            Ok(reply)
        })?;
        self.has_receipt = reply.is_none();
        Ok(reply.map(|line| line.bytes))
    }

    /// Waits for the receipt, and throws away the replies before it.
    ///
    /// # Errors
    ///
    /// As for [`receive`](Self::receive).
    pub fn finish(mut self) -> io::Result<()> {
        while self.receive()?.is_some() {}
        Ok(())
    }
}

/// Makes sure that the end of the stream is a receipt: everything that we sent is acknowledged, and no
/// reset came.
fn confirm(connection: &Connection) -> io::Result<()> {
    // On other systems the peer's address says nothing: Windows may know it for ever, and macOS forgets it
    // at once. There, nothing is waited for.
    if cfg!(target_os = "linux") {
        wait_for_acknowledgement(connection)?;
    }
    // `read` does not report a reset that came after the end of the stream (socket(7), SO_ERROR).
    match connection.socket.take_error()? {
        Some(reset) => Err(reset),
        None => Ok(()),
    }
}

/// Waits until the server's system has acknowledged our end of the stream. If the server closed while the
/// line was on its way, it meets a closed socket, and a reset comes back instead.
fn wait_for_acknowledgement(connection: &Connection) -> io::Result<()> {
    loop {
        // Linux knows the peer's address until both directions are closed and acknowledged. Nothing in std
        // waits for that, so this looks again and again.
        match connection.socket.peer_addr() {
            Ok(_) => {}
            // This alone says that all is acknowledged (getpeername(2), ENOTCONN). Whatever else the call may
            // fail with, as in a sandbox that forbids it, tells nothing.
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error),
        }
        connection.deadline.remaining()?;
        thread::sleep(Duration::from_millis(1));
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
