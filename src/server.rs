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
pub fn accept(listener: &TcpListener, log: impl Fn(&str)) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept() {
            Ok((socket, address)) => return (socket, unmapped(address)),
            Err(error) => error,
        };
        log(&format!("cannot accept a client: {error}"));
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
    stream: Fuse<BufReader<Unread>>,
}

impl Session {
    /// Takes an accepted socket. Everything with this client must be over `timeout` from now, unless
    /// the deadline is [renewed](Self::renew).
    #[must_use]
    pub fn new(socket: TcpStream, timeout: Duration) -> Self {
        let deadline = Deadline::after(timeout);
        let connection = Connection { socket, deadline };
        let peeked = 0;
        let stream = Fuse::new(BufReader::new(Unread { connection, peeked }));
        Self { stream }
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
        self.stream.pass(read_line)
    }

    /// Sends bytes, for a protocol without lines.
    ///
    /// # Errors
    ///
    /// The connection's failure, or [`TimedOut`](ErrorKind::TimedOut).
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream
            .pass(|reader| reader.get_mut().connection.write_all(bytes))
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
        self.stream.pass(|reader| {
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
        let _ = self.stream.pass(|reader| {
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
        self.stream.into_inner().map_or(0, close)
    }

    /// Sends a last line, and closes like [`close`](Self::close), whether it could be sent or not: the
    /// received line is safe in any case. Returns what `close` returns, too.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), in the second value.
    pub fn close_with(self, line: &[u8]) -> (usize, io::Result<()>) {
        let mut reader = match self.stream.into_inner() {
            Ok(reader) => reader,
            Err(error) => return (0, Err(error)),
        };
        let connection = &mut reader.get_mut().connection;
        let sent = write_line(connection, line);
        (close(reader), sent)
    }
}

fn close(reader: BufReader<Unread>) -> usize {
    let ignored = reader.buffer().len();
    let mut unread = reader.into_inner();
    // First take the line from the system. If that fails, the connection is gone.
    let _ = unread.take_peeked();
    ignored + unread.connection.close()
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

impl Unread {
    /// Removes from the receive buffer what the last call peeked. This does not wait, because the bytes
    /// are there; if there are none, it makes no system call.
    ///
    /// A single read takes them all. A second one could wait past the deadline: if urgent bytes come during
    /// a peek, Linux may count what lies behind them twice (tcp(7), `MSG_OOB`).
    fn take_peeked(&mut self) -> io::Result<()> {
        let mut peeked = (&self.connection.socket).take(self.peeked as u64);
        let mut bytes = vec![0; self.peeked];
        while let Err(error) = peeked.read(&mut bytes) {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.peeked = 0;
        Ok(())
    }
}

impl Read for Unread {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take_peeked()?;
        self.peeked = self.connection.peek(buffer)?;
        Ok(self.peeked)
    }
}
