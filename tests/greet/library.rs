//! The library, without programs: framing without a socket, and what no peer can be made to do.

use std::io::{BufReader, Cursor, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greet::client::Session;
use greet::line::{End, LIMIT, Line, read_line, write_line};
use greet::terminal::{escape, show};

use crate::peers::closed_port;
use crate::programs::PATIENCE;

fn line(bytes: &[u8], end: End) -> Line {
    let bytes = bytes.to_vec();
    Line { bytes, end }
}

#[test]
fn a_line_ends_at_a_line_feed_a_nul_or_the_end_and_leaves_the_rest() {
    let mut reader: &[u8] = b"one\r\ntwo\0\n\0\r\n\rthree\r";
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"one", End::LineFeed))
    );
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"two", End::Nul))
    );
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"", End::LineFeed))
    );
    assert_eq!(read_line(&mut reader).unwrap(), Some(line(b"", End::Nul)));
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"", End::LineFeed))
    );
    assert_eq!(
        read_line(&mut reader).unwrap(),
        Some(line(b"\rthree\r", End::EndOfStream))
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
            Some(line(b"\r", End::LineFeed))
        );
        assert_eq!(
            read_line(&mut reader).unwrap(),
            Some(line(b"hi", End::LineFeed))
        );
        assert_eq!(read_line(&mut reader).unwrap(), Some(line(b"", End::Nul)));
        assert_eq!(
            read_line(&mut reader).unwrap(),
            Some(line(b"\r", End::EndOfStream))
        );
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
    let mut endless = BufReader::new(std::io::repeat(b'x').take(1_000_000));
    read_line(&mut endless).unwrap_err();
    assert!(endless.get_ref().limit() > 900_000);
}

#[test]
fn a_line_that_is_cut_off_by_an_error_is_not_a_line() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
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
fn a_line_is_written_in_one_piece() {
    struct Pieces(Vec<Vec<u8>>);
    impl std::io::Write for Pieces {
        fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
            self.0.push(piece.to_vec());
            Ok(piece.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut pieces = Pieces(Vec::new());
    write_line(&mut pieces, b"hello").unwrap();
    assert_eq!(pieces.0, [b"hello\n"]);
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
    let minute = Duration::from_secs(60);
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let session = Session::connect(&[closed, open][..], minute).unwrap();
    assert_eq!(session.address(), open);

    let other = SocketAddr::from(([127, 0, 0, 2], closed.port()));
    let error = Session::connect(&[closed, other][..], minute)
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("{closed}: ")), "{error}");
    assert!(error.contains(&format!("; {other}: ")), "{error}");
}

#[test]
fn sending_to_a_peer_that_does_not_read_ends_at_the_deadline() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let session = Session::connect(address, PATIENCE).unwrap();
        let more_than_any_buffer = vec![b'x'; 100_000_000];
        let sent = session.send(&more_than_any_buffer, Duration::from_millis(300));
        sender.send(sent.err().map(|error| error.kind())).unwrap();
    });
    assert_eq!(
        receiver.recv_timeout(PATIENCE).unwrap(),
        Some(ErrorKind::TimedOut)
    );
}
