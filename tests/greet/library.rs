//! The library, without programs: framing without a socket, and what no peer can be made to do.

use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use greet::line::{LIMIT, Line, read_line, write_line};
use greet::terminal::{escape, show};
use greet::{client, server};

use crate::peers::ClosedPort;
use crate::programs::{PATIENCE, patient};

fn line(bytes: &[u8], end: Option<u8>) -> Line {
    let bytes = bytes.to_vec();
    Line { bytes, end }
}

#[test]
fn a_line_ends_at_a_line_feed_a_nul_or_the_end_and_leaves_the_rest() {
    let mut reader: &[u8] = b"one\r\ntwo\0\n\0\r\n\rthree\r";
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"one", Some(b'\n')))
    );
    assert_eq!(read_line(&mut reader).unwrap(), Some(line(b"two", Some(0))));
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"", Some(b'\n')))
    );
    assert_eq!(read_line(&mut reader).unwrap(), Some(line(b"", Some(0))));
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"", Some(b'\n')))
    );
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"\rthree\r", None))
    );
    assert_eq!(read_line(&mut reader).unwrap(), None);
}

#[test]
fn it_does_not_matter_where_the_bytes_are_split() {
    let text = b"\r\r\nhi\r\n\0\r";
    for size in 1..=text.len() {
        let mut reader = BufReader::with_capacity(size, &text[..]);
        assert_eq!(
            read_line(&mut reader).unwrap(),
            Some(line(b"\r", Some(b'\n')))
        );
        assert_eq!(
            read_line(&mut reader).unwrap(),
            Some(line(b"hi", Some(b'\n')))
        );
        assert_eq!(read_line(&mut reader).unwrap(), Some(line(b"", Some(0))));
        assert_eq!(read_line(&mut reader).unwrap(), Some(line(b"\r", None)));
    }
}

#[test]
fn the_limit_counts_a_line_without_its_end() {
    let longest = vec![b'x'; LIMIT];
    for end in [&b"\n"[..], b"\r\n", b"\0", b""] {
        for size in [1, 7, LIMIT, LIMIT + 1, LIMIT + 2] {
            let text = [&longest, end].concat();
            let mut reader = BufReader::with_capacity(size, &text[..]);
            assert_eq!(read_line(&mut reader).unwrap().unwrap().bytes, longest);
        }
    }
    for excess in [&b"x"[..], b"x\n", b"\r", b"\r\r\n", b"\rx", b"\r\0"] {
        for size in [1, 7, LIMIT, LIMIT + 1, LIMIT + 2] {
            let text = [&longest, excess].concat();
            let mut reader = BufReader::with_capacity(size, &text[..]);
            let error = read_line(&mut reader).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }
}

#[test]
fn a_line_over_the_limit_is_refused_without_reading_on() {
    let mut endless = BufReader::new(io::repeat(b'x').take(1_000_000));
    read_line(&mut endless).unwrap_err();
    assert!(endless.get_ref().limit() > 900_000);
}

#[test]
fn a_line_that_is_cut_off_by_an_error_is_not_a_line() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    let mut reader = BufReader::new(Cursor::new(b"half a li").chain(Broken));
    assert_eq!(
        read_line(&mut reader).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn a_line_goes_on_behind_an_interrupted_read() {
    struct Interrupted(bool);
    impl Read for Interrupted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 {
                return Err(ErrorKind::Interrupted.into());
            }
            (&b"ter\n"[..]).read(buffer)
        }
    }
    let mut reader = BufReader::new(Cursor::new(b"la").chain(Interrupted(false)));
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"later", Some(b'\n')))
    );
}

/// Takes so many bytes at a time, and remembers each piece.
struct Pieces(usize, Vec<Vec<u8>>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(self.0)];
        self.1.push(piece.to_vec());
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_is_written_in_one_piece() {
    let mut pieces = Pieces(100, Vec::new());
    write_line(&mut pieces, b"hello").unwrap();
    assert_eq!(pieces.1, [b"hello\n"]);
}

#[test]
fn a_line_is_written_whole_though_a_write_takes_three_bytes_of_it() {
    let mut pieces = Pieces(3, Vec::new());
    write_line(&mut pieces, b"hello").unwrap();
    assert_eq!(pieces.1.concat(), b"hello\n");
}

#[test]
fn a_terminal_gets_no_orders_from_a_peer() {
    for (text, safe) in [
        (&b"plain\ttext \\x"[..], "plain\ttext \\x"),
        (b"\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
        (b"over\rwritten\x08", "over\\rwritten\\u{8}"),
        (b"\0\n\x1f\x7f", "\\u{0}\\n\\u{1f}\\u{7f}"),
        (
            "\u{80}\u{9b}31m\u{9f}\u{a0}".as_bytes(),
            "\\u{80}\\u{9b}31m\\u{9f}\u{a0}",
        ),
        (
            "\u{202a}\u{202e}\u{202f}".as_bytes(),
            "\\u{202a}\\u{202e}\u{202f}",
        ),
        (
            "\u{2066}\u{2069}\u{206a}".as_bytes(),
            "\\u{2066}\\u{2069}\u{206a}",
        ),
        (b"\xff \xe4\xbd \x9b31m", "\\xff \\xe4\\xbd \\x9b31m"),
        (
            "你好，e\u{301} 🦀 مرحبا".as_bytes(),
            "你好，e\u{301} 🦀 مرحبا",
        ),
    ] {
        assert_eq!(escape(text), safe);
        let mut output = Vec::new();
        show(&mut output, true, text).unwrap();
        assert_eq!(output, (safe.to_owned() + "\n").as_bytes());
    }
}

#[test]
fn a_program_gets_the_bytes_as_they_are() {
    let mut output = Vec::new();
    show(&mut output, false, b"\x1b[1m\xff").unwrap();
    assert_eq!(output, b"\x1b[1m\xff\n");
}

#[test]
fn every_address_of_a_name_is_tried() {
    let port = ClosedPort::new();
    let closed = port.address();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let session = client::Session::connect(&[closed, open][..], PATIENCE).unwrap();
    assert_eq!(session.address, open);

    let other = SocketAddr::from(([127, 0, 0, 2], closed.port()));
    let error = client::Session::connect(&[closed, other][..], PATIENCE).unwrap_err();
    let reasons: Vec<String> = error.to_string().split("; ").map(str::to_owned).collect();
    assert!(reasons[0].starts_with("127.0.0.1: "), "{error}");
    assert!(reasons[1].starts_with("127.0.0.2: "), "{error}");
}

#[test]
fn the_failure_of_the_only_address_is_told_as_it_is() {
    let closed = ClosedPort::new();
    let error = client::Session::connect(closed.address(), PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[cfg(target_os = "linux")] // There a listener with its queue full does not answer at all.
#[test]
fn an_address_where_nothing_answers_leaves_time_for_the_next() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nowhere = silent.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&nowhere, Duration::from_millis(200)) {
        queue.push(client);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let start = Instant::now();
    let timeout = Duration::from_secs(2);
    let session = client::Session::connect(&[nowhere, nowhere, open][..], timeout).unwrap();
    assert_eq!(session.address, open);
    // A half for the first and a quarter for the second.
    assert!(start.elapsed() >= Duration::from_millis(1_500));
    assert!(start.elapsed() < timeout);
}

/// Both sides of a new connection.
fn pair(timeout: Duration) -> (client::Session, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = client::Session::connect(listener.local_addr().unwrap(), timeout).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, patient(server))
}

/// Does something that waits for a peer, which must have ended at the deadline.
fn ends_at_the_deadline(wait: impl FnOnce(Duration) -> Option<io::Error> + Send + 'static) {
    let timeout = Duration::from_millis(300);
    let start = Instant::now();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(wait(timeout)));
    let error = receiver.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "timed out after 300ms");
    assert!(start.elapsed() >= timeout);
}

#[test]
fn sending_to_a_peer_that_does_not_read_ends_at_the_deadline() {
    let more_than_any_buffer = vec![b'x'; 100_000_000];
    ends_at_the_deadline(move |timeout| {
        let (client, _server) = pair(timeout);
        let mut replies = client.send(&more_than_any_buffer).unwrap();
        replies.receive().err()
    });
}

#[test]
fn greeting_a_peer_that_does_not_read_ends_at_the_deadline() {
    let greeting = "x".repeat(LIMIT);
    ends_at_the_deadline(move |timeout| {
        let (_client, server) = pair(PATIENCE);
        let mut session = server::Session::new(server, timeout);
        // One greeting fits into the buffers of some systems.
        iter::repeat_with(|| session.greet(&greeting)).find_map(Result::err)
    });
}
