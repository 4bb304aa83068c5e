//! The other side of a connection, by its habits: the good, the clumsy and the hostile.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::programs::{PATIENCE, connect, with_patience};

/// Waits until something can be read, and leaves it unread. A wait with a timeout may be interrupted,
/// as other threads start programs (signal(7)); `peek` does not go on by itself.
pub fn wait_for_byte(stream: &TcpStream) -> io::Result<()> {
    loop {
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome.map(|_| ()),
        }
    }
}

/// Writes some bytes, all of which must go out.
#[track_caller]
pub fn write(mut stream: &TcpStream, bytes: &[u8]) {
    let written = stream.write_all(bytes);
    written.expect("the other side takes what is written");
}

/// Reads one line, byte by byte, so that nothing behind it is taken.
pub fn read_one_line(stream: impl Read) -> Vec<u8> {
    let mut line = Vec::new();
    BufReader::with_capacity(1, stream)
        .read_until(b'\n', &mut line)
        .unwrap();
    line
}

/// Reads to the orderly close. An error means that there was none. (A reset that is still on its way
/// behind the end of the stream is not seen.)
pub fn read_to_end(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    Ok(received)
}

/// Reads to the orderly close, and closes, too. An error means that the other side reset the
/// connection, if only behind the end of its stream.
pub fn read_to_end_and_close(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let received = read_to_end(stream)?;
    // This fails if it is closed already.
    let _ = stream.shutdown(Shutdown::Write);
    let start = Instant::now();
    // Linux forgets the peer once all is acknowledged, or reset.
    while cfg!(target_os = "linux") && stream.peer_addr().is_ok() {
        assert!(start.elapsed() < PATIENCE, "it is not acknowledged");
        thread::yield_now();
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(received),
    }
}

/// Sends a message, half-closes, and reads to the end, up to the acknowledgement or the reset of all
/// that was sent.
pub fn send(mut stream: &TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(message)?;
    stream.shutdown(Shutdown::Write)?;
    read_to_end_and_close(stream)
}

/// Sends some bytes, then resets the connection: that is what a system does when a program closes
/// a socket with bytes that it has not read, here the greeting.
pub fn reset_after(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    wait_for_byte(&stream)
}

/// Sends a few bytes now and then, until the other side has enough of it.
pub fn drip(mut stream: &TcpStream, bytes: &[u8]) {
    let start = Instant::now();
    while stream.write_all(bytes).is_ok() {
        assert!(start.elapsed() < PATIENCE, "nobody has enough of it");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends bytes without a line end, until the other side has enough of it.
pub fn flood(stream: &TcpStream) {
    let start = Instant::now();
    while (&*stream).write_all(&[b'x'; 16_000]).is_ok() {
        assert!(start.elapsed() < PATIENCE, "nobody has enough of it");
    }
}

/// Listens on a free port of the loopback interface.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that is not ours and takes one client.
pub struct Peer<T> {
    pub port: u16,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Peer<T> {
    /// Starts a server that does this with its client.
    pub fn start(behave: impl FnOnce(TcpStream) -> T + Send + 'static) -> Self {
        let (listener, address) = listener();
        let port = address.port();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            behave(with_patience(stream))
        });
        Self { port, thread }
    }

    /// What came of it. If no client ever came, a silent one takes its place, so that this does not
    /// wait for ever.
    #[track_caller]
    pub fn end(self) -> T {
        if !self.thread.is_finished() {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        }
        self.thread.join().unwrap()
    }
}

/// An address of this machine at which nothing listens, and nothing can: an accepted connection holds it. (The
/// port at its other end would not do. A client may be given that port as its own, and then connects to itself.)
pub fn closed_address() -> (SocketAddr, [TcpStream; 2]) {
    let (listener, address) = listener();
    let other_end = connect(address.port());
    let (accepted, _) = listener.accept().unwrap();
    drop(listener);
    // A program that another thread starts may hold the listener for a moment more.
    while TcpStream::connect(address).is_ok() {}
    (address, [accepted, other_end])
}
