//! A TCP connection that enforces a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::deadline::Deadline;

/// The longest time for which a close waits for the peer to close, too. It is long enough for some
/// round trips around the Earth, and less than a second, because the server's next client waits.
const LONGEST_CLOSE: Duration = Duration::from_millis(750);

/// The longest time for a last look at what has come. Without a bound, a peer that floods could make it endless.
const LONGEST_LAST_LOOK: Duration = Duration::from_millis(25);

/// The most bytes of a last look: 8 MiB. These alone would not bound its time: a read ends at each urgent byte
/// (`MSG_OOB`), so a peer that sends many of them makes many short reads.
const MAX_LAST_LOOK: u64 = 8 << 20;

/// A TCP connection on which every wait ends by one deadline.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) deadline: Deadline,
}

impl Connection {
    /// Runs a blocking call with the socket's timeout set to the time that is left. A socket has two
    /// timeouts, one for reading and one for writing; `set_timeout` sets the one that `call` obeys.
    fn with_deadline(
        &self,
        set_timeout: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let remaining = self.deadline.remaining()?;
            match set_timeout(&self.socket, Some(remaining)) {
                Ok(()) => {}
                // macOS refuses a timeout once both directions are shut down, and then no call waits.
                Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                // Without its timeout, the call could wait without end.
                Err(error) => return Err(error),
            }
            match call() {
                // A signal came (signal(7)). The call goes on, with what is left of the time.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // On Unix this means that the timeout is over; the next turn of the loop returns the
                // deadline's error. In non-blocking mode it means that nothing has come yet. From now on
                // the socket waits, or the loop would spin until the deadline.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.socket.set_nonblocking(false)?;
                }
                // On Windows this means that the timeout is over. On Unix it means that the connection
                // is lost, because the peer's system no longer acknowledges (tcp(7)).
                Err(error) if error.kind() == ErrorKind::TimedOut && cfg!(windows) => {
                    return Err(self.deadline.timeout_error());
                }
                outcome => return outcome,
            }
        }
    }

    /// Reads like [`read`](Read::read), but leaves the bytes in the receive buffer.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with_deadline(TcpStream::set_read_timeout, || self.socket.peek(buffer))
    }

    /// Ends the sending direction. This tells the peer that nothing more will come.
    pub(crate) fn half_close(&self) {
        // This fails only if the connection is gone (shutdown(2), ENOTCONN). Reading tells why.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Lets everything that is still to be done on this connection end in time for the next client.
    pub(crate) fn begin_close(&mut self) {
        let left = self.deadline.remaining().unwrap_or_default();
        self.deadline = Deadline::after(left.min(LONGEST_CLOSE));
    }

    /// Makes an orderly close: half-closes, then reads until the peer has closed, too. Returns how
    /// many bytes were read and thrown away.
    ///
    /// Dropping the socket at once would not do. If bytes are still unread, or come later, the system
    /// answers with a reset (RFC 1122, section 4.2.2.13), and a reset may even take from the peer what
    /// it has not read yet.
    pub(crate) fn close(mut self) -> usize {
        self.half_close();
        self.begin_close();
        let deadline = self.deadline;
        let mut discarded = discard(&mut self, deadline);
        // The deadline may be over already, or pass while this program is paused. What has come is
        // read even then, in one last look that does not wait.
        if deadline.remaining().is_err() && self.socket.set_nonblocking(true).is_ok() {
            // The bare socket keeps no deadline by itself, as the connection does.
            let stream = (&self.socket).take(MAX_LAST_LOOK);
            discarded += discard(stream, Deadline::after(LONGEST_LAST_LOOK));
        }
        discarded
    }
}

/// Reads and throws away everything up to the end of the stream, the first failure or the deadline. Returns
/// how many bytes that was.
fn discard(mut stream: impl Read, deadline: Deadline) -> usize {
    // Nearly every client leaves nothing here, so this is less than a `BufReader` would clear each time.
    let mut buffer = [0; 1_024];
    let mut discarded = 0;
    while deadline.remaining().is_ok() {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => discarded += length,
            Ok(0) | Err(_) => break,
        }
    }
    discarded
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with_deadline(TcpStream::set_read_timeout, || (&self.socket).read(buffer))
    }
}

impl Write for Connection {
    /// Writing waits, too, while the peer does not read.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.with_deadline(TcpStream::set_write_timeout, || (&self.socket).write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
