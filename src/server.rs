//! The server's side of a connection.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::{thread, time::Duration};

use crate::line::{Line, encode, read_line, write_line};
use crate::{connection::Connection, deadline::Deadline, fuse::Fuse};

/// Waits for the next client. Returns its socket and its address: that of an IPv4 client as IPv4, on an
/// IPv6 socket, too.
///
/// Nothing that `accept` may fail with ends this. `log` is told of each failure.
pub fn accept(listener: &TcpListener, log: impl Fn(String)) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept() {
            Ok((socket, address)) => return (socket, unmapped(address)),
            Err(error) => error,
        };
        log(format!("cannot accept a client: {error}"));
        match error.kind() {
            // This client has left the queue, and the next may be there already (accept(2)).
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {}
            // Any other failure, such as too many open files, lasts a while. The loop must not spin.
            _ => thread::sleep(Duration::from_secs(1)),
        }
    }
}

/// On an IPv6 socket, an IPv4 client has an address such as `::ffff:127.0.0.1`. Any other address stays
/// whole: a link-local one says nothing without its interface.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

/// One client, from accept to close.
///
/// Dropping the session without [`close`](Self::close) refuses the last line: its LF or NUL is still
/// unread, and closing a socket with unread bytes resets the connection. The same happens if the
/// process is killed. A line that ended with the stream left nothing unread, so it cannot be refused.
///
/// Once a step has failed, every later one fails, too: what comes then may be the rest of a line that
/// was cut off. [`renew`](Self::renew) does not mend that. A text that was refused is no failure.
#[derive(Debug)]
pub struct Session {
    stream: Fuse<BufReader<Peeking>>,
}

impl Session {
    /// Takes an accepted socket. Everything with this client must be over `timeout` from now, unless
    /// the deadline is [renewed](Self::renew).
    #[must_use]
    pub fn new(socket: TcpStream, timeout: Duration) -> Self {
        let deadline = Deadline::after(timeout);
        let stream = Peeking {
            connection: Connection { socket, deadline },
            peeked: 0,
        };
        Self {
            stream: Fuse::new(BufReader::new(stream)),
        }
    }

    /// Sends one line: the greeting, or an answer.
    ///
    /// If you send two lines in a row and the client answers only the second, the second may wait for 40
    /// milliseconds: Nagle's algorithm holds it back until the first is acknowledged, and the client's
    /// system delays the acknowledgement (RFC 896; RFC 1122, section 4.2.3.2). Send them with one
    /// [`send_bytes`](Self::send_bytes), or set `TCP_NODELAY` on the socket before.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the line would not arrive as it is, as
    /// [`check_line`](crate::line::check_line) says. Nothing is sent then, and the session goes on.
    ///
    /// The connection's failure, or [`TimedOut`](ErrorKind::TimedOut).
    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.send_bytes(&encode(line)?)
    }

    /// Receives one line, or `None` if the client has closed without another one.
    ///
    /// Asking for the next line says that the one before is safe. Until then, or until
    /// [`close`](Self::close), the client cannot take it for delivered.
    ///
    /// # Errors
    ///
    /// The errors of [`read_line`], the connection's failure, or [`TimedOut`](ErrorKind::TimedOut).
    pub fn receive(&mut self) -> io::Result<Option<Line>> {
        self.stream.step(read_line)
    }

    /// Sends bytes, for a protocol without lines.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](ErrorKind::TimedOut).
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream
            .step(|reader| reader.get_mut().connection.write_all(bytes))
    }

    /// Receives some bytes, as soon as there are any, for a protocol without lines. If none are returned, the
    /// client has ended its stream.
    ///
    /// As with [`receive`](Self::receive), asking for the next bytes says that those before are safe.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](ErrorKind::TimedOut).
    pub fn receive_bytes(&mut self) -> io::Result<Vec<u8>> {
        self.stream.step(|reader| {
            let bytes = reader.fill_buf()?.to_vec();
            reader.consume(bytes.len());
            Ok(bytes)
        })
    }

    /// Starts the deadline again: `timeout` from now. In a conversation, call this for each line.
    /// `receive` does not do it by itself. If it did, a client that sends line after line could hold a
    /// server for ever, and with it all other clients.
    pub fn renew(&mut self) {
        // This fails only after another failure, which the next step reports.
        let _ = self.stream.step(|reader| {
            reader.get_mut().connection.deadline.renew();
            Ok(())
        });
    }

    /// Makes an orderly close, which is the client's receipt: half-closes, and reads until the client
    /// has closed, too, for 0.75 seconds at most. Returns how many bytes after the last received line
    /// were ignored.
    ///
    /// After a failure there is nothing to give a receipt for, and the session is only dropped.
    #[allow(clippy::must_use_candidate, reason = "not every server keeps a log")]
    pub fn close(self) -> usize {
        match self.stream.into_inner() {
            Ok(reader) => close_in_order(reader),
            Err(_earlier_failure) => 0,
        }
    }

    /// Sends one line more, the reply, and then closes like [`close`](Self::close), whatever became of the
    /// reply. Both together take 0.75 seconds at most. The received line is safe by now, so a client that asked for no reply must have its receipt
    /// even if the reply is late or cannot be sent.
    ///
    /// Returns whether the reply was sent, which fails as [`send`](Self::send) does, and how many bytes after
    /// the last received line were ignored.
    #[allow(clippy::must_use_candidate, reason = "not every server keeps a log")]
    pub fn close_with(self, reply: &[u8]) -> (io::Result<()>, usize) {
        match self.stream.into_inner() {
            Ok(mut reader) => {
                let connection = &mut reader.get_mut().connection;
                // A client that does not read must not make the next one wait for longer than a close does.
                connection.begin_close();
                let replied = write_line(connection, reply);
                (replied, close_in_order(reader))
            }
            Err(earlier_failure) => (Err(earlier_failure), 0),
        }
    }
}

/// Closes in order, as [`Session::close`] says.
fn close_in_order(reader: BufReader<Peeking>) -> usize {
    let ignored = reader.buffer().len();
    let mut stream = reader.into_inner();
    // First take the line from the system. If that fails, the connection is gone.
    let _ = stream.take_peeked();
    ignored + stream.connection.close()
}

/// A stream that reads the client's bytes but leaves them in the receive buffer until the next read.
///
/// A [`BufReader`] reads again only when everything it had is consumed. If the bytes were taken from
/// the system at once, and the server then died before it had printed them, the system would make an
/// orderly close on its behalf, as if all were well.
#[derive(Debug)]
struct Peeking {
    connection: Connection,
    /// How many bytes the last call read. They are still in the receive buffer.
    peeked: usize,
}

impl Peeking {
    /// Removes from the receive buffer what the last call peeked. This does not wait, because something is
    /// there; if nothing was peeked, it makes no system call.
    ///
    /// One read takes it all. A second read could wait past the deadline for bytes that do not exist: if
    /// urgent data (`MSG_OOB`) comes during a peek, Linux may count what lies behind it twice.
    fn take_peeked(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; self.peeked];
        while self.peeked > 0 {
            match (&self.connection.socket).read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => self.peeked = 0,
            }
        }
        Ok(())
    }
}

impl Read for Peeking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take_peeked()?;
        self.peeked = self.connection.peek(buffer)?;
        Ok(self.peeked)
    }
}
