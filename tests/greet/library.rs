//! The library, without programs: framing without a socket, conversations, and hostile peers.

use std::io::{self, BufReader, BufWriter, Cursor, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant, UNIX_EPOCH};
use std::{fmt::Debug, sync::mpsc, thread};

use greet::line::{read_line, write_line};
use greet::terminal::{escape, show};
use greet::timestamp::timestamp;
use greet::{client, server};

use crate::peers::{
    closed_address, listener, read_one_line, read_to_end, read_to_end_and_close, wait_for_byte,
    write,
};
use crate::programs::{LONGEST, PATIENCE, connect, try_until, with_patience};

#[track_caller]
fn assert_fails<T: Debug>(outcome: io::Result<T>, kind: ErrorKind) {
    assert_eq!(outcome.unwrap_err().kind(), kind);
}

#[test]
fn a_line_ends_at_an_lf_a_nul_or_the_end_however_the_bytes_are_split() {
    let text = b"one\r\ntwo\0\n\0\r\n\r\r\n\n\0\rthree\r";
    let lines = ["one", "two", "", "", "", "\r", "", "", "\rthree\r"];
    let (lf, nul) = (Some(b'\n'), Some(0));
    let ends = [lf, nul, lf, nul, lf, lf, lf, nul, None];
    for size in 1..=text.len() {
        let mut reader = BufReader::with_capacity(size, &text[..]);
        for (line, end) in lines.into_iter().zip(ends) {
            let found = read_line(&mut reader).unwrap().unwrap();
            assert_eq!((&found.bytes[..], found.end), (line.as_bytes(), end));
        }
        assert_eq!(read_line(&mut reader).unwrap(), None);
    }
}

#[test]
fn the_limit_counts_a_line_without_its_end_and_ends_the_reading() {
    let longest = vec![b'x'; LONGEST];
    for size in [1, 7, LONGEST, LONGEST + 1, LONGEST + 2] {
        let read = |end: &[u8]| {
            let text = [&longest, end].concat();
            read_line(&mut BufReader::with_capacity(size, &text[..]))
        };
        for end in [&b"\n"[..], b"\r\n", b"\0", b""] {
            assert_eq!(read(end).unwrap().unwrap().bytes, longest);
        }
        for excess in [&b"x"[..], b"x\n", b"\r", b"\r\r\n", b"\rx", b"\r\0"] {
            assert_fails(read(excess), ErrorKind::InvalidData);
        }
    }
    let mut endless = BufReader::new(io::repeat(b'x').take(16 * LONGEST as u64));
    read_line(&mut endless).unwrap_err();
    assert!(endless.get_ref().limit() > 14 * LONGEST as u64);
}

/// Fails once, before it comes to its end.
struct Failing(Option<ErrorKind>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), |kind| Err(kind.into()))
    }
}

#[test]
fn an_error_cuts_a_line_off_and_an_interruption_does_not() {
    let read = |kind| {
        let failing = Failing(Some(kind)).chain(&b"ter\n"[..]);
        read_line(&mut BufReader::new(Cursor::new(b"la").chain(failing)))
    };
    assert_fails(read(ErrorKind::ConnectionReset), ErrorKind::ConnectionReset);
    let line = read(ErrorKind::Interrupted).unwrap().unwrap();
    assert_eq!(line.bytes, b"later");
}

/// Takes so many bytes at a time, and remembers each piece.
struct Pieces(usize, Vec<Vec<u8>>);

impl Write for Pieces {
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
fn a_line_is_written_in_one_piece_and_whole_though_writes_are_short() {
    for (most, pieces) in [(100, &[&b"hello\n"[..]][..]), (3, &[b"hel", b"lo\n"])] {
        let mut writer = Pieces(most, Vec::new());
        write_line(&mut writer, b"hello").unwrap();
        assert_eq!(writer.1, pieces);
    }
    let mut buffered = BufWriter::new(Vec::new());
    write_line(&mut buffered, b"hello").unwrap();
    assert_eq!(buffered.get_ref(), b"hello\n");
}

#[test]
fn a_terminal_gets_no_orders_and_a_program_gets_the_bytes() {
    let harmless = "\ttext \\x \u{a0} \u{200e} \u{202f} \u{206a} 你好，e\u{301} 🦀 مرحبا";
    for (text, safe) in [
        (harmless.as_bytes(), harmless),
        (b"\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
        (b"\0\x08\n\r\x1f\x7f", "\\u{0}\\u{8}\\n\\r\\u{1f}\\u{7f}"),
        (b"\xc2\x80\xc2\x9b31m\xc2\x9f", "\\u{80}\\u{9b}31m\\u{9f}"),
        ("\u{202a}\u{202e}".as_bytes(), "\\u{202a}\\u{202e}"),
        ("\u{2066}\u{2069}".as_bytes(), "\\u{2066}\\u{2069}"),
        (b"\xff \xe4\xbd \x9b31m", "\\xff \\xe4\\xbd \\x9b31m"),
    ] {
        assert_eq!(escape(text), safe);
        for (on_terminal, shown) in [(true, safe.as_bytes()), (false, text)] {
            let mut output = Vec::new();
            show(&mut output, on_terminal, text.to_vec()).unwrap();
            assert_eq!(output, [shown, b"\n"].concat());
        }
    }
}

#[test]
fn a_timestamp_is_the_date_of_the_calendar() {
    let days = "0 1970-01-01, 11016 2000-02-29, 11017 2000-03-01, 20513 2026-03-01, 21973 2030-02-28, \
                22704 2032-02-29, 47540 2100-02-28, 47541 2100-03-01, 156935 2399-09-04, \
                2932896 9999-12-31";
    for (day, date) in days.split(", ").filter_map(|day| day.split_once(' ')) {
        let seconds = day.parse::<u64>().unwrap() * 86_400 + 86_399;
        let last_second = UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(timestamp(last_second), format!("{date}T23:59:59Z"));
    }
    let time = UNIX_EPOCH + Duration::from_millis(1_795_659_465_999);
    assert_eq!(timestamp(time), "2026-11-26T02:17:45Z");
    let before_1970 = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(timestamp(before_1970), "1970-01-01T00:00:00Z");
}

#[test]
fn every_address_of_a_name_is_tried_and_each_failure_reported() {
    let ((closed, _held), (_listener, open)) = (closed_address(), listener());
    let other = SocketAddr::from(([127, 0, 0, 2], closed.port()));
    let connect = |addresses: &[SocketAddr]| client::Session::connect(addresses, PATIENCE);
    assert_eq!(connect(&[closed, open]).unwrap().address(), open);
    let only = connect(&[closed]).unwrap_err();
    assert_eq!(only.kind(), ErrorKind::ConnectionRefused);
    let both = connect(&[closed, other]).unwrap_err().to_string();
    assert_eq!(both, format!("127.0.0.1: {only}; 127.0.0.2: {only}"));
    let none = connect(&[]).unwrap_err().to_string();
    assert_eq!(none, "could not resolve to any addresses");
}

#[cfg(target_os = "linux")] // There a listener with its queue full does not answer at all.
#[test]
fn an_address_where_nothing_answers_leaves_time_for_the_next() {
    let ((_silent, nowhere), (_listener, open)) = (listener(), listener());
    // A connection stays in the queue though its client is gone.
    while TcpStream::connect_timeout(&nowhere, Duration::from_millis(500)).is_ok() {}
    let start = Instant::now();
    let timeout = Duration::from_secs(3);
    let session = client::Session::connect(&[nowhere, nowhere, open][..], timeout).unwrap();
    assert_eq!(session.address(), open);
    // A half for the first and a quarter for the second.
    assert!((timeout * 3 / 4..timeout).contains(&start.elapsed()));
}

/// A client's session, and the server's end of its connection.
fn client_session(timeout: Duration) -> (client::Session, TcpStream) {
    let (listener, address) = listener();
    let client = client::Session::connect(address, timeout).unwrap();
    (client, with_patience(listener.accept().unwrap().0))
}

/// Both ends of a new connection. The server's does not block.
fn accepted() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = connect(address.port());
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    (client, socket)
}

/// The client's end of a new connection, and a server's session.
fn server_session(timeout: Duration) -> (TcpStream, server::Session) {
    let (client, socket) = accepted();
    (client, server::Session::new(socket, timeout))
}

#[test]
fn a_text_that_would_not_arrive_as_it_is_is_refused_and_nothing_sent() {
    let too_long = vec![b'x'; LONGEST + 1];
    let two_lines = &b"two\nlines"[..];
    for text in [two_lines, b"a\0b", b"\n", b"\0", b"cut off\r", &too_long] {
        assert_fails(write_line(io::sink(), text), ErrorKind::InvalidInput);

        let (client, server) = client_session(PATIENCE);
        let sent = client.ready().unwrap().send(text);
        assert_fails(sent, ErrorKind::InvalidInput);
        assert_eq!(read_to_end_and_close(&server).unwrap(), b"");

        // The session goes on.
        let (mut client, server) = client_session(PATIENCE);
        assert_fails(client.ask(text), ErrorKind::InvalidInput);
        let _replies = client.ready().unwrap().send(b"fine").unwrap();
        assert_eq!(read_to_end(&server).unwrap(), b"fine\n");

        let (client, mut server) = server_session(PATIENCE);
        assert_fails(server.send(text), ErrorKind::InvalidInput);
        server.send(b"fine").unwrap();
        drop(server);
        assert_eq!(read_to_end(&client).unwrap(), b"fine\n");
    }
}

/// As a server that is not ours: takes one line, and says something.
fn answer(server: &TcpStream, line: &[u8], said: &[u8]) {
    assert_eq!(read_one_line(server), line);
    write(server, said);
}

#[test]
fn a_c_servers_nul_is_no_answer() {
    let (mut client, server) = client_session(PATIENCE);
    let server = thread::spawn(move || {
        answer(&server, b"1\n", b"1\n\0");
        answer(&server, b"2\n", b"2\n\0\0");
        read_to_end(&server).unwrap()
    });
    assert_eq!(client.ask(b"1").unwrap(), b"1");
    assert_eq!(client.ask(b"2").unwrap(), b"2");
    client.close();
    assert_eq!(server.join().unwrap(), b"");
}

#[test]
fn nothing_is_asked_once_the_server_has_closed_or_said_something() {
    // The first is a close in order, and then nothing was sent.
    let (mut client, server) = client_session(PATIENCE);
    server.shutdown(Shutdown::Write).unwrap();
    assert_fails(client.receive_greeting(), ErrorKind::UnexpectedEof);
    assert_fails(client.ask(b"what?"), ErrorKind::ConnectionAborted);
    drop(client);
    assert_eq!(read_to_end(&server).unwrap(), b"");

    // One answers with two lines, and one with a reset behind its answer. On Windows a reset takes along
    // what was not read before. A program that another thread starts may hold the reset back for a moment.
    for is_reset in [false, !cfg!(windows)] {
        let second_question = || {
            let (mut client, server) = client_session(PATIENCE);
            let server = thread::spawn(move || {
                if is_reset {
                    wait_for_byte(&server).unwrap();
                    write(&server, b"1\n"); // This leaves the line unread.
                } else {
                    answer(&server, b"1\n", b"1\n2\n");
                }
            });
            assert_eq!(client.ask(b"1").unwrap(), b"1");
            server.join().unwrap();
            let kind = client.ask(b"2").unwrap_err().kind();
            client.ask(b"3").unwrap_err();
            kind
        };
        let is_aborted = |kind: &ErrorKind| *kind == ErrorKind::ConnectionAborted;
        if is_reset {
            try_until(second_question, is_aborted);
        } else {
            assert!(is_aborted(&second_question()));
        }
    }
}

#[test]
fn a_receipt_stays_a_receipt() {
    let timeout = Duration::from_millis(300);
    let (client, server) = client_session(timeout);
    let mut replies = client.ready().unwrap().send(b"line").unwrap();
    assert_eq!(read_to_end(&server).unwrap(), b"line\n");
    write(&server, b"1\n");
    drop(server);
    assert_eq!(replies.receive().unwrap().unwrap(), b"1");
    assert_eq!(replies.receive().unwrap(), None);
    // It does so past the deadline, too.
    thread::sleep(timeout);
    assert_eq!(replies.receive().unwrap(), None);
    replies.finish().unwrap();
}

#[cfg(not(windows))] // Wine, which would run this, ends the stream before it resets.
#[test]
fn a_reset_is_no_receipt_however_often_it_is_asked_for() {
    // If it is asked for once, the system reports a reset. If it is asked for again, it reports nothing.
    let ways_to_ask: [fn(client::Replies) -> bool; 2] = [
        |replies| replies.finish().is_ok(),
        |mut replies| {
            while let Ok(Some(_)) = replies.receive() {}
            replies.receive().is_ok() || replies.finish().is_ok()
        },
    ];
    for ask in ways_to_ask {
        for is_read in [true, false] {
            let (client, server) = client_session(PATIENCE);
            let replies = client.ready().unwrap().send(b"line").unwrap();
            wait_for_byte(&server).unwrap();
            if is_read {
                assert_eq!(read_to_end(&server).unwrap(), b"line\n");
            }
            write(&server, b"1\n2\n");
            drop(server);
            assert_eq!(ask(replies), is_read);
        }
    }
}

#[test]
fn a_reply_is_the_last_line_and_fails_after_a_failure() {
    let (client, mut server) = server_session(PATIENCE);
    write(&client, b"line\nmore");
    client.shutdown(Shutdown::Write).unwrap();
    server.receive().unwrap();
    let (replied, ignored) = server.close_with(b"kept line");
    assert_eq!((replied.is_ok(), ignored), (true, 4));
    assert_eq!(read_to_end_and_close(&client).unwrap(), b"kept line\n");

    // What cannot be a line is not sent, and the line before it has its receipt all the same.
    let (client, mut server) = server_session(PATIENCE);
    write(&client, b"line\nmore");
    client.shutdown(Shutdown::Write).unwrap();
    server.receive().unwrap();
    let (replied, ignored) = server.close_with(b"two\nlines");
    assert_fails(replied, ErrorKind::InvalidInput);
    assert_eq!(ignored, 4);
    assert_eq!(read_to_end_and_close(&client).unwrap(), b"");

    let (client, mut server) = server_session(Duration::from_millis(100));
    write(&client, b"half");
    server.receive().unwrap_err();
    write(&client, b" a line\n");
    let (replied, ignored) = server.close_with(b"kept half");
    assert_eq!((replied.is_err(), ignored), (true, 0));
    assert!(read_to_end_and_close(&client).is_err() || cfg!(windows));
}

#[test]
fn the_second_half_of_a_line_does_not_pass_for_a_line() {
    let timeout = Duration::from_millis(300);
    let (client, mut server) = server_session(timeout);
    write(&client, b"do not ");
    let reason = server.receive().unwrap_err().to_string();
    assert_eq!(reason, "timed out after 300ms, 7 bytes without a line end");
    write(&client, b"delete everything\n");
    server.renew();
    server.receive().unwrap_err();
    server.receive_bytes().unwrap_err();
    server.send(b"received").unwrap_err();
    server.close();
    // There is no receipt. Wine, which runs this for Windows, ends the stream before it resets.
    assert!(read_to_end_and_close(&client).is_err() || cfg!(windows));

    let (mut client, server) = client_session(timeout);
    write(&server, b"half ");
    let reason = client.receive_greeting().unwrap_err().to_string();
    assert_eq!(reason, "timed out after 300ms, 5 bytes without a line end");
    write(&server, b"a greeting\n");
    client.receive_greeting().unwrap_err();
    client.ask(b"what?").unwrap_err();
    client.ready().unwrap_err();
    assert_eq!(read_to_end(&server).unwrap_or_default(), b"");

    // An answer that comes too late is not that of the next question.
    let (mut client, server) = client_session(timeout);
    assert_fails(client.ask(b"one"), ErrorKind::TimedOut);
    write(&server, b"one\n");
    client.ask(b"two").unwrap_err();
    client.receive_greeting().unwrap_err();
    client.ready().unwrap_err();
}

#[test]
fn each_question_has_a_deadline_of_its_own() {
    let timeout = Duration::from_millis(700);
    let (mut client, server) = client_session(timeout);
    thread::spawn(move || (0..3).for_each(|_| answer(&server, b"what?\n", b"4\n")));
    for question in 0..3 {
        if question > 0 {
            // The deadline of the last question passes, and so does that of the whole conversation.
            thread::sleep(timeout);
        }
        assert_eq!(client.ask(b"what?").unwrap(), b"4");
    }
}

#[cfg(unix)] // Where a wait that ends by its timeout is `WouldBlock`, too.
#[test]
fn a_socket_that_does_not_block_is_waited_for_without_spinning() {
    let (_client, socket) = accepted();
    let copy = socket.try_clone().unwrap();
    let timeout = Duration::from_millis(100);
    let mut server = server::Session::new(socket, timeout);
    assert_fails(server.receive(), ErrorKind::TimedOut);
    // The session has made the socket wait, so its copy waits, too.
    copy.set_read_timeout(Some(timeout)).unwrap();
    let start = Instant::now();
    assert_fails(wait_for_byte(&copy), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= timeout);
}

#[cfg(not(windows))] // There nobody documents that a close with unread bytes is a reset.
#[test]
fn a_server_that_is_dropped_and_not_closed_refuses_the_last_line() {
    for (line, size) in [("stop\n", 5), ("stop\n", 8_192), ("stop\0", 20_000)] {
        let sent = format!("{line:.<size$}"); // Dots follow the line.
        let outcome = |end: &dyn Fn(server::Session)| {
            let (client, mut server) = server_session(PATIENCE);
            write(&client, sent.as_bytes());
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(server.receive().unwrap().unwrap().bytes, b"stop");
            server.send(b"bye").unwrap();
            end(server);
            read_to_end_and_close(&client)
        };
        outcome(&drop).unwrap_err();
        let closed = outcome(&|server| assert_eq!(server.close(), sent.len() - 5));
        assert_eq!(closed.unwrap(), b"bye\n");
    }
}

#[test]
fn sending_to_a_peer_that_does_not_read_ends_at_the_deadline() {
    let (_client, mut server) = server_session(Duration::from_millis(300));
    let (line, start) = (vec![b'x'; LONGEST], Instant::now());
    // One line fits into the buffers of some systems. Without a deadline this would wait for ever.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send((0..).find_map(|_| server.send(&line).err())));
    let error = receiver.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(error.to_string(), "timed out after 300ms");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn the_greeting_has_what_the_connection_has_left_of_the_time() {
    let timeout = Duration::from_millis(300);
    let (mut client, server) = client_session(timeout);
    thread::sleep(timeout);
    write(&server, b"late\n");
    assert_fails(client.receive_greeting(), ErrorKind::TimedOut);
}
