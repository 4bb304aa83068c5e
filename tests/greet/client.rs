//! `greet-client`, at servers good and bad that are not ours.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{
    ClosedPort, drip, flood, greet_and_read_to_end, read_one_line, read_to_end,
    read_to_end_and_close, serve_once, wait_for_byte,
};
use crate::programs::{
    Finished, PATIENCE, Program, Server, Stream, client_command, client_to, run, run_client,
    start_client,
};

/// Enough for a client to connect and be greeted, even on a machine that stalls.
const TIMEOUT: &str = "1.5";
const PAST_THE_TIMEOUT: Duration = Duration::from_millis(1_600);

/// Runs the client against a server that behaves as told, and returns what is left of both.
#[track_caller]
fn client_at<T: Send + 'static>(
    input: &[u8],
    behave: impl FnOnce(&TcpStream) -> T + Send + 'static,
) -> (Finished, T) {
    let server = serve_once(move |stream| behave(&stream));
    (run_client(server.port, input), server.outcome())
}

/// A client that has printed `hello`, and its server.
#[track_caller]
fn greeted(greeting: &'static [u8]) -> (Program, TcpStream) {
    let server = serve_once(move |mut server| {
        server.write_all(greeting).unwrap();
        server
    });
    let client = start_client(server.port, &[]);
    assert_eq!(client.next_line(), b"hello\n");
    (client, server.outcome())
}

pub const TRY_AGAIN: i32 = 1;
/// Nothing was sent, and the same again would end the same.
const REFUSED: i32 = 2;
pub const MAY_HAVE_ARRIVED: i32 = 3;

/// The client must have failed with one line, which says what became of the message, and why.
#[track_caller]
pub fn assert_failed(finished: &Finished, status: i32, stdout: &str, reason: &str) {
    let fate = match status {
        MAY_HAVE_ARRIVED => "greet-client: the line may have arrived: ",
        _ => "greet-client: nothing was sent: ",
    };
    assert_eq!(finished.status.code(), Some(status), "{finished:?}");
    assert_eq!(finished.stdout, stdout);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    assert!(finished.stderr.starts_with(fate), "{finished:?}");
    assert!(finished.stderr.contains(reason), "{finished:?}");
}

#[track_caller]
fn assert_delivered(finished: &Finished, stdout: &str) {
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(finished.stdout, stdout);
    assert_eq!(finished.stderr, "");
}

#[test]
fn sends_one_line_and_half_closes() {
    let (finished, received) = client_at(b"hi\r\nmore\n", |mut server| {
        server.write_all(b"220 ready\r\n").unwrap();
        read_to_end(server).unwrap()
    });
    assert_delivered(&finished, "220 ready\n");
    assert_eq!(received, b"hi\n");
}

#[test]
fn prints_whatever_the_server_still_sends_line_by_line() {
    let (finished, ()) = client_at(b"hi\n", |mut server| {
        server.write_all(b"hello\r\nearly\n").unwrap();
        read_to_end(server).unwrap();
        let late = b"\nlate\x1b\xc2\xb7\0\0\0\n\0no end";
        server.write_all(late).unwrap();
    });
    assert_delivered(&finished, "hello\nearly\n\nlate\x1b\u{b7}\n\nno end\n");
}

#[test]
fn prints_what_came_while_the_line_was_typed_in_order() {
    let (mut client, mut server) = greeted(b"hello\nright away\n");
    let early = ("x".repeat(1_023) + "\n").repeat(63) + &"y".repeat(1_013);
    server.write_all(early.as_bytes()).unwrap();
    client.type_in(b"hi\n");
    assert_eq!(read_to_end(&server).unwrap(), b"hi\n");
    server.write_all(b"later\n").unwrap();
    drop(server);
    let shown = "right away\n".to_owned() + &early + "later\n";
    assert_delivered(&client.end(), &shown);
}

#[test]
fn the_line_may_take_longer_to_type_than_the_server_has_to_answer() {
    let server = Server::start(&[]);
    let mut client = start_client(server.port, &["--timeout", TIMEOUT]);
    client.next_line();
    thread::sleep(PAST_THE_TIMEOUT);
    client.type_in(b"hi\n");
    assert_delivered(&client.end(), "");
}

#[test]
fn understands_a_server_that_sends_its_strings_with_their_terminator() {
    for (greeting, shown) in [
        (&b"Connect succeed.\n\0"[..], "Connect succeed.\n"),
        (b"Welcom 127.0.0.1!\0", "Welcom 127.0.0.1!\n"),
    ] {
        let (finished, _) = client_at(b"hello\n", move |mut server| {
            server.write_all(greeting).unwrap();
            read_one_line(server)
        });
        assert_delivered(&finished, shown);
    }
}

#[test]
fn refuses_what_is_not_one_line_before_anything_is_sent() {
    let too_long = vec![b'x'; 65_537];
    let cases: [(&[u8], &str); 7] = [
        (b"", ": no line on standard input\n"),
        (b"early\0end\n", "NUL"),
        (b"\0\n", "NUL"),
        (b"cut off\r", "a CR at the end would be dropped"),
        (b"cut off\r\r\n", "a CR at the end would be dropped"),
        (&too_long, "standard input: the line is longer than "),
        (&[&too_long[..], b"\n"].concat(), "longer than 65536 bytes"),
    ];
    for (input, reason) in cases {
        let (finished, received) = client_at(input, greet_and_read_to_end);
        assert_failed(&finished, REFUSED, "hello\n", reason);
        assert_eq!(received, b"");
    }
}

#[test]
fn makes_an_orderly_close_when_it_refuses_though_the_server_has_said_more() {
    let (finished, received) = client_at(b"", |mut server| {
        server.write_all(b"hello\n").unwrap();
        server.write_all(&b"more\n".repeat(10_000)).unwrap();
        read_to_end_and_close(server)
    });
    assert_failed(&finished, REFUSED, "hello\n", "no line on standard input");
    assert_eq!(received.unwrap(), b"");
}

#[test]
fn makes_an_orderly_close_though_the_line_was_typed_past_the_deadline() {
    let server = serve_once(|mut server| {
        server.write_all(b"hello\n").unwrap();
        read_to_end(&server).unwrap();
        // The client must still be there to read this.
        server.write_all(b"good bye\n").unwrap();
        read_to_end_and_close(&server)
    });
    let mut client = start_client(server.port, &["--timeout", TIMEOUT]);
    client.next_line();
    thread::sleep(PAST_THE_TIMEOUT);
    client.type_in(b"");
    assert_failed(&client.end(), REFUSED, "", "no line on standard input");
    server.outcome().unwrap();
}

#[cfg(unix)] // A folder can be opened there.
#[test]
fn says_that_it_cannot_read_standard_input() {
    let server = serve_once(|server| greet_and_read_to_end(&server));
    let folder = std::fs::File::open("/").unwrap();
    let client = Program::start(client_to(server.port).stdin(folder));
    assert_failed(&client.end(), REFUSED, "hello\n", ": standard input: ");
    assert_eq!(server.outcome(), b"");
}

#[test]
fn reads_no_more_of_standard_input_than_a_line_may_have() {
    let (mut client, server) = greeted(b"hello\n");
    let is_all_read = client.type_in(&vec![b'x'; 10_000_000]);
    assert!(!is_all_read);
    assert_failed(
        &client.end(),
        REFUSED,
        "",
        "the line is longer than 65536 bytes",
    );
    assert_eq!(read_to_end(&server).unwrap(), b"");
}

#[test]
fn sends_nothing_when_the_server_closes_while_the_line_is_typed() {
    for (early, reason) in [
        (0, "the server had closed"),
        (9, "the server had closed"),
        (65_536, "the server had closed"),
        (77_000, "the server had said too much"),
    ] {
        let (mut client, mut server) = greeted(b"hello\n");
        server.write_all(&vec![b'\n'; early]).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        client.type_in(b"too late\n");
        assert_failed(&client.end(), TRY_AGAIN, "", reason);
        assert_eq!(read_to_end_and_close(&server).unwrap(), b"");
    }
}

#[test]
fn with_reply_only_the_reply_is_a_receipt() {
    let cases: [(&[u8], i32, &str); 5] = [
        (b"thanks\nand more\n", 0, ""),
        (b"thanks\0", 0, ""),
        (b"thank you\n", MAY_HAVE_ARRIVED, "the reply is another one"),
        (
            b"thanks",
            MAY_HAVE_ARRIVED,
            "closed without an answer, 6 bytes without a line end",
        ),
        (b"", MAY_HAVE_ARRIVED, "closed without an answer"),
    ];
    for (replied, status, reason) in cases {
        let server = serve_once(move |mut server| {
            server.write_all(b"hello\n").unwrap();
            let received = read_one_line(&server);
            server.write_all(replied).unwrap();
            received
        });
        let finished = run(client_to(server.port).args(["--reply", "thanks"]), b"hi\n");
        if status == 0 {
            assert_delivered(&finished, "hello\nthanks\n");
        } else {
            assert_failed(&finished, status, &finished.stdout, reason);
        }
        assert_eq!(server.outcome(), b"hi\n");
    }
    // The client waits for nothing behind it: once it has ended its stream, it is gone.
    let server = serve_once(|mut server| {
        server.write_all(b"hello\n").unwrap();
        read_one_line(&server);
        server.write_all(b"thanks\n").unwrap();
        read_to_end(&server).unwrap();
        server
            .write_all(b"late\n")
            .and_then(|()| read_to_end_and_close(&server))
    });
    let finished = run(client_to(server.port).args(["-rthanks"]), b"hi\n");
    assert_delivered(&finished, "hello\nthanks\n");
    assert!(server.outcome().is_err() || cfg!(windows), "it still reads");
    // A reset behind the reply, by a line that is left unread, changes nothing.
    let server = serve_once(|mut server| {
        server.write_all(b"hello\n").unwrap();
        wait_for_byte(&server).unwrap();
        server.write_all(b"thanks\n").unwrap();
    });
    let finished = run(client_to(server.port).args(["-rthanks"]), b"hi\n");
    assert_delivered(&finished, "hello\nthanks\n");
}

#[test]
fn with_reply_nothing_is_sent_once_the_server_has_closed_or_spoken() {
    for (early, reason) in [
        (&b""[..], "the server had closed"),
        (
            b"early\n",
            "the server had said something before it was asked",
        ),
    ] {
        let server = serve_once(move |mut server| {
            server.write_all(&[b"hello\n", early].concat()).unwrap();
            server
        });
        let mut client = start_client(server.port, &["-rthanks"]);
        assert_eq!(client.next_line(), b"hello\n");
        let server = server.outcome();
        if early.is_empty() {
            server.shutdown(Shutdown::Write).unwrap();
        }
        client.type_in(b"hi\n");
        assert_failed(&client.end(), TRY_AGAIN, "", reason);
        assert_eq!(read_to_end(&server).unwrap_or_default(), b"");
    }
}

#[test]
fn the_pair_delivers_with_a_reply() {
    let server = Server::start(&["--reply", "thanks", "-n1"]);
    let finished = run(client_to(server.port).args(["--reply", "thanks"]), b"hi\n");
    let greeting = "Connect succeed. Please send a message to me\n";
    assert_delivered(&finished, &format!("{greeting}thanks\n"));
    assert_eq!(server.program.end().stdout, "hi\n");
}

#[test]
fn a_check_prints_the_greeting_and_sends_nothing() {
    let server = serve_once(|server| greet_and_read_to_end(&server));
    let finished = run(client_to(server.port).arg("--check"), b"not sent\n");
    assert_delivered(&finished, "hello\n");
    assert_eq!(server.outcome(), b"");

    let server = serve_once(|mut server| server.write_all(b"login: ").unwrap());
    let finished = run(client_to(server.port).arg("--check"), b"");
    assert_delivered(&finished, "login: \n");
    server.outcome();

    let closes = serve_once(drop);
    let finished = run(client_to(closes.port).arg("--check"), b"");
    assert_failed(&finished, TRY_AGAIN, "", "closed without a greeting");
    closes.outcome();
    let waits = serve_once(|mut server| {
        server.write_all(b"login: ").unwrap();
        read_to_end(&server)
    });
    let finished = run(client_to(waits.port).args(["--check", "-t0.5"]), b"");
    let reason = "timed out after 500ms, 7 bytes without a line end";
    assert_failed(&finished, TRY_AGAIN, "", reason);
}

#[cfg(unix)] // Its standard input may be a socket there.
#[test]
fn standard_input_that_is_empty_for_the_moment_is_status_1() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    // Half a line is gone once it is read, so another try would send the other half.
    for (half, status) in [(&b""[..], TRY_AGAIN), (b"half", REFUSED)] {
        let server = serve_once(|server| greet_and_read_to_end(&server));
        let (input, mut held) = UnixStream::pair().unwrap();
        held.write_all(half).unwrap();
        input.set_nonblocking(true).unwrap();
        let client = Program::start(client_to(server.port).stdin(OwnedFd::from(input)));
        let reason = ": standard input: Resource temporarily unavailable";
        assert_failed(&client.end(), status, "hello\n", reason);
        assert_eq!(server.outcome(), b"");
    }
}

#[test]
fn gives_up_at_the_deadline_on_a_server_that_does_not_greet() {
    let silent = |server: TcpStream| drop(read_to_end(&server));
    let dripping = |server: TcpStream| drip(&server, b".");
    for behave in [silent, dripping] {
        let server = serve_once(behave);
        let start = Instant::now();
        let finished = run(client_to(server.port).args(["--timeout", "0.5"]), b"hi\n");
        assert_failed(&finished, TRY_AGAIN, "", "timed out after 500ms");
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert!(start.elapsed() < PATIENCE);
        server.outcome();
    }
}

#[test]
fn gives_up_on_a_greeting_without_an_end() {
    let (finished, sent) = client_at(b"hi\n", |server| flood(server, 100_000_000));
    assert_failed(
        &finished,
        TRY_AGAIN,
        "",
        ": the line is longer than 65536 bytes",
    );
    assert!(sent < 100_000_000);
}

#[test]
fn fails_when_the_server_closes_instead_of_greeting() {
    let (finished, ()) = client_at(b"hi\n", |_| ());
    assert_failed(&finished, TRY_AGAIN, "", "closed without a greeting");
}

#[test]
#[cfg_attr(windows, ignore = "Wine ends the stream before it resets")]
fn does_not_take_a_reset_for_delivery() {
    // The server takes nothing, a part, or all but the line's end.
    let cases = [(60_000, 0), (60_000, 5), (60_000, 30_000)];
    for (length, taken) in cases.into_iter().chain([(5, 5); 50]) {
        let message = "x".repeat(length) + "\n";
        let (finished, ()) = client_at(message.as_bytes(), move |mut server| {
            server.write_all(b"hello\n").unwrap();
            server.read_exact(&mut vec![0; taken]).unwrap();
            // Closing with a part of the message unread resets the connection.
            wait_for_byte(server).unwrap();
        });
        assert_failed(
            &finished,
            MAY_HAVE_ARRIVED,
            "hello\n",
            ": no receipt from 127.0.0.1:",
        );
        assert!(!finished.stderr.contains("timed out"), "{finished:?}");
    }
}

#[test]
fn gives_up_at_the_deadline_on_a_server_that_does_not_close() {
    let server = serve_once(|server| {
        greet_and_read_to_end(&server);
        // Now only the deadline is left to end this.
        drip(&server, b"\n");
    });
    let finished = run(client_to(server.port).args(["--timeout", TIMEOUT]), b"hi\n");
    let reason = format!(":{}: timed out after 1.5s\n", server.port);
    assert_failed(&finished, MAY_HAVE_ARRIVED, &finished.stdout, &reason);
    server.outcome();
}

#[test]
fn does_not_show_a_reply_that_is_cut_off() {
    let (finished, _) = client_at(b"hi\nunread", |server| {
        greet_and_read_to_end(server);
        flood(server, 100_000_000)
    });
    assert_failed(
        &finished,
        MAY_HAVE_ARRIVED,
        "hello\n",
        ": no receipt from 127.0.0.1:",
    );
    assert!(
        finished
            .stderr
            .ends_with(": the line is longer than 65536 bytes\n")
    );
}

#[test]
fn names_host_and_port_once_and_the_reason_when_nothing_answers() {
    let closed = ClosedPort::new();
    let port = closed.address().port();
    let finished = run_client(port, b"hi\n");
    let step = format!("cannot connect to 127.0.0.1 port {port}: ");
    assert_failed(&finished, TRY_AGAIN, "", &step);
    for once in ["127.0.0.1", &port.to_string()] {
        assert_eq!(finished.stderr.matches(once).count(), 1, "{finished:?}");
    }
}

#[test]
fn says_that_a_name_cannot_be_looked_up() {
    // No name server is asked for what is no name.
    let finished = run(client_command().arg("no-such-host..invalid"), b"hi\n");
    let step = "cannot connect to no-such-host..invalid port 65432: ";
    assert_failed(&finished, TRY_AGAIN, "", step);
    assert!(finished.stderr.contains("lookup") || cfg!(windows));
}

#[test]
fn sends_nothing_when_the_greeting_cannot_be_printed() {
    let (sender, reader_is_gone) = mpsc::channel();
    let server = serve_once(move |mut server| {
        reader_is_gone.recv().unwrap();
        server.write_all(b"hello\n").unwrap();
        server.write_all(&b"more\n".repeat(10_000)).unwrap();
        read_to_end_and_close(&server)
    });
    let command = &mut client_to(server.port);
    let (mut client, _) = Program::start_and_lose(command, Stream::Output, 0);
    sender.send(()).unwrap();
    client.type_in(b"hi\n");
    assert_failed(
        &client.end(),
        TRY_AGAIN,
        "",
        "cannot write to standard output",
    );
    assert_eq!(server.outcome().unwrap(), b"");
}

#[test]
fn the_message_may_have_arrived_when_a_reply_cannot_be_printed() {
    let server = serve_once(|mut server| {
        let received = greet_and_read_to_end(&server);
        server.write_all(b"thank you\n").unwrap();
        received
    });
    let command = &mut client_to(server.port);
    let (mut client, greeting) = Program::start_and_lose(command, Stream::Output, 1);
    assert_eq!(greeting, "hello\n");
    client.type_in(b"hi\n");
    assert_failed(
        &client.end(),
        MAY_HAVE_ARRIVED,
        "",
        ": cannot write to standard output",
    );
    assert_eq!(server.outcome(), b"hi\n");
}
