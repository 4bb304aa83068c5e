//! `greet-client`, at servers good and bad that are not ours.

#[cfg(not(windows))]
use std::io::Read;
use std::io::Write;
#[cfg(target_os = "linux")]
use std::net::{Ipv4Addr, TcpListener};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{
    ClosedPort, drip, flood, greet_and_hear_all, hear_all, hear_all_and_close, hear_line,
    serve_once,
};
#[cfg(target_os = "linux")]
use crate::programs::tampered_with;
use crate::programs::{
    PATIENCE, Program, Remains, Server, client_command, client_to, first_line_of, run_client,
    start_client,
};

/// Runs the client against a server that behaves as told, and returns what is left of both.
fn client_at<T: Send + 'static>(
    input: &[u8],
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Remains, T) {
    let server = serve_once(behave);
    (run_client(server.port, input), server.outcome())
}

/// A client that has printed `hello`, and its server.
fn greeted(greeting: &'static [u8]) -> (Program, TcpStream) {
    let server = serve_once(move |mut server| {
        server.write_all(greeting).unwrap();
        server
    });
    let client = start_client(server.port, &[]);
    assert_eq!(client.output(), b"hello\n");
    (client, server.outcome())
}

/// The client must have failed, with one line that says what became of the message, and why.
fn failed(remains: &Remains, status: i32, fate: &str, output: &str, reason: &str) {
    assert_eq!(remains.status.code(), Some(status), "{remains:?}");
    assert_eq!(remains.output, output);
    assert_eq!(remains.errors.lines().count(), 1, "{remains:?}");
    assert!(remains.errors.starts_with(fate), "{remains:?}");
    assert!(remains.errors.contains(reason), "{remains:?}");
}

fn nothing_was_sent(remains: &Remains, output: &str, reason: &str) {
    let fate = "greet-client: nothing was sent: ";
    failed(remains, 1, fate, output, reason);
}

fn it_may_have_arrived(remains: &Remains, output: &str, reason: &str) {
    let fate = "greet-client: the message may have arrived: ";
    failed(remains, 3, fate, output, reason);
}

/// Runs the client with a line on its standard input and some of its system calls tampered with, if
/// strace(1) is installed.
#[cfg(target_os = "linux")]
fn run_tampered_client(port: u16, tamper: &str) -> Option<Remains> {
    let mut client = Program::start(&mut tampered_with(&client_to(port), tamper)?);
    client.type_in(b"hi\n");
    Some(client.end())
}

#[test]
fn sends_one_line_and_half_closes() {
    let (remains, heard) = client_at(b"hi\r\nmore\n", |mut server| {
        server.write_all(b"220 ready\r\n").unwrap();
        hear_all(&server).unwrap()
    });
    assert!(remains.status.success());
    assert_eq!(remains.output, "220 ready\n");
    assert_eq!(remains.errors, "");
    assert_eq!(heard, b"hi\n");
}

#[test]
fn prints_whatever_the_server_still_sends_line_by_line() {
    let (remains, ()) = client_at(b"hi\n", |mut server| {
        server.write_all(b"hello\r\nearly\n").unwrap();
        hear_all(&server).unwrap();
        server.write_all(b"\nlate\0\0\0\n\0no end").unwrap();
    });
    assert!(remains.status.success(), "{remains:?}");
    assert_eq!(remains.output, "hello\nearly\n\nlate\n\nno end\n");
}

#[test]
fn prints_what_came_while_the_line_was_typed_in_its_order() {
    let (mut client, mut server) = greeted(b"hello\nright away\n");
    server.write_all(b"a little ").unwrap();
    client.type_in(b"hi\n");
    assert_eq!(hear_all(&server).unwrap(), b"hi\n");
    server.write_all(b"later\n").unwrap();
    drop(server);
    let remains = client.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "right away\na little later\n");
}

#[test]
fn the_line_may_take_longer_to_type_than_the_server_has_to_answer() {
    let server = Server::start(&[]);
    let mut client = start_client(server.port, &["--timeout", "1.5"]);
    client.output();
    thread::sleep(Duration::from_millis(1_600));
    client.type_in(b"hi\n");
    assert!(client.end().status.success());
}

#[test]
fn understands_a_server_that_sends_its_strings_with_their_terminator() {
    for (greeting, shown) in [
        (&b"Connect succeed.\n\0"[..], "Connect succeed.\n"),
        (b"Welcom 127.0.0.1!\0", "Welcom 127.0.0.1!\n"),
    ] {
        let (remains, _) = client_at(b"hello\n", move |mut server| {
            server.write_all(greeting).unwrap();
            hear_line(&server)
        });
        assert!(remains.status.success(), "{remains:?}");
        assert_eq!(remains.output, shown);
    }
}

#[test]
fn refuses_what_is_not_one_line_before_anything_is_sent() {
    let too_long = vec![b'x'; 65_537];
    let cases: [(&[u8], &str); 7] = [
        (b"", "no line on standard input"),
        (b"early\0end\n", "NUL"),
        (b"\0\n", "NUL"),
        (b"cut off\r", "a CR at its end would be dropped"),
        (b"cut off\r\r\n", "a CR at its end would be dropped"),
        (&too_long, "the line is longer than 65536 bytes"),
        (&[&too_long[..], b"\n"].concat(), "longer than 65536 bytes"),
    ];
    for (input, reason) in cases {
        let (remains, heard) = client_at(input, greet_and_hear_all);
        nothing_was_sent(&remains, "hello\n", reason);
        assert_eq!(heard, b"");
    }
}

#[test]
fn makes_an_orderly_close_when_it_refuses_though_the_server_has_said_more() {
    let (remains, heard) = client_at(b"", |mut server| {
        server.write_all(b"hello\n").unwrap();
        server.write_all(&b"more\n".repeat(10_000)).unwrap();
        hear_all_and_close(&server)
    });
    nothing_was_sent(&remains, "hello\n", "no line on standard input");
    assert_eq!(heard.unwrap(), b"");
}

#[test]
fn makes_an_orderly_close_though_the_line_was_typed_for_longer_than_the_deadline() {
    let server = serve_once(|mut server| {
        server.write_all(b"hello\n").unwrap();
        hear_all(&server).unwrap();
        thread::sleep(Duration::from_millis(100));
        server.write_all(b"good bye\n").unwrap();
        hear_all_and_close(&server)
    });
    let mut client = start_client(server.port, &["--timeout", "0.7"]);
    client.output();
    thread::sleep(Duration::from_millis(800));
    client.type_in(b"");
    nothing_was_sent(&client.end(), "", "no line on standard input");
    server.outcome().unwrap();
}

#[cfg(unix)] // Where a folder can be opened.
#[test]
fn says_that_it_cannot_read_standard_input() {
    let server = serve_once(greet_and_hear_all);
    let folder = std::fs::File::open("/").unwrap();
    let client = Program::start(client_to(server.port).stdin(folder));
    nothing_was_sent(&client.end(), "hello\n", ": standard input: ");
    assert_eq!(server.outcome(), b"");
}

#[test]
fn a_client_that_refuses_its_line_leaves_no_message() {
    let server = Server::start(&[]);
    let mut client = start_client(server.port, &[]);
    client.type_in(b"");
    client.end();
    assert!(server.program.error().ends_with(" connected"));
    let ending = server.program.error();
    assert!(ending.ends_with(" closed without a message"), "{ending}");
}

#[test]
fn reads_no_more_of_standard_input_than_a_line_may_have() {
    let server = serve_once(greet_and_hear_all);
    let mut client = start_client(server.port, &[]);
    assert!(
        !client.type_in(&vec![b'x'; 10_000_000]),
        "all of it was read"
    );
    nothing_was_sent(
        &client.end(),
        "hello\n",
        "the line is longer than 65536 bytes",
    );
    assert_eq!(server.outcome(), b"");
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
        let remains = client.end();
        nothing_was_sent(&remains, "", reason);
        assert_eq!(hear_all(&server).unwrap(), b"");
    }
}

#[cfg(target_os = "linux")] // Where strace(1), if installed, resets a connection with nothing sent.
#[test]
fn sends_nothing_when_the_connection_is_reset_while_the_line_is_typed() {
    let server = serve_once(greet_and_hear_all);
    let reset = "inject=recvfrom:error=ECONNRESET:when=2";
    let Some(remains) = run_tampered_client(server.port, reset) else {
        return;
    };
    nothing_was_sent(&remains, "hello\n", "");
    assert_eq!(server.outcome(), b"");
}

#[test]
fn a_server_may_say_65536_bytes_while_the_line_is_typed() {
    let early = ("x".repeat(1_023) + "\n").repeat(64);
    let (mut client, mut server) = greeted(b"hello\n");
    server.write_all(early.as_bytes()).unwrap();
    client.type_in(b"hi\n");
    assert_eq!(hear_all(&server).unwrap(), b"hi\n");
    drop(server);
    let remains = client.end();
    assert!(remains.status.success(), "{}", remains.errors);
    assert_eq!(remains.output, early);
}

#[test]
fn gives_up_at_the_deadline_on_a_server_that_does_not_greet() {
    let silent = |server: TcpStream| drop(hear_all(&server));
    let dripping = |server: TcpStream| drip(&server, b".");
    for behave in [silent, dripping] {
        let server = serve_once(behave);
        let start = Instant::now();
        let mut client = start_client(server.port, &["--timeout", "0.5"]);
        client.type_in(b"hi\n");
        nothing_was_sent(&client.end(), "", "timed out after 500ms");
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert!(start.elapsed() < PATIENCE);
        server.outcome();
    }
}

#[test]
fn gives_up_on_a_greeting_without_an_end() {
    let (remains, sent) = client_at(b"hi\n", |server| flood(&server, 100_000_000));
    nothing_was_sent(&remains, "", "the line is longer than 65536 bytes");
    assert!(sent < 100_000_000);
}

#[test]
fn fails_when_the_server_closes_instead_of_greeting() {
    let (remains, ()) = client_at(b"hi\n", drop);
    nothing_was_sent(&remains, "", "closed without a greeting");
}

/// Whether the system has completed a connection to the port that nobody has accepted yet. Only
/// Linux tells.
#[cfg(target_os = "linux")]
fn has_connection_waiting(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let established = format!("0100007F:{port:04X} ");
    let is_waiting = |line: &str| line.contains(&established) && line.contains(" 01 ");
    table.lines().any(is_waiting)
}

#[cfg(target_os = "linux")]
#[test]
fn fails_when_the_server_resets_instead_of_greeting() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = start_client(port, &[]);
    let start = Instant::now();
    while !has_connection_waiting(port) {
        assert!(start.elapsed() < PATIENCE, "the client does not connect");
        thread::yield_now();
    }
    // Connections that were never accepted are reset when their listener closes.
    drop(listener);
    let reason = format!("no greeting from 127.0.0.1:{port}: Connection reset by peer");
    nothing_was_sent(&client.end(), "", &reason);
}

#[cfg(not(windows))] // Wine, where this would run, ends the stream before it resets.
#[test]
fn does_not_take_a_reset_for_delivery() {
    for taken in [0, 5, 30_000] {
        let message = [&b"hello"[..], &vec![b'x'; 60_000], b"\n"].concat();
        let (remains, ()) = client_at(&message, move |mut server| {
            server.write_all(b"hello\n").unwrap();
            // Closing with a part of the message unread resets the connection.
            server.read_exact(&mut vec![0; taken]).unwrap();
            server.peek(&mut [0]).unwrap();
        });
        it_may_have_arrived(&remains, "hello\n", "");
        assert!(!remains.errors.contains("timed out"), "{remains:?}");
    }
}

#[cfg(not(windows))] // As above.
#[test]
fn a_server_that_resets_behind_the_text_may_have_the_message() {
    for _ in 0..50 {
        let (remains, ()) = client_at(b"hello\n", |mut server| {
            server.write_all(b"hi\n").unwrap();
            server.read_exact(&mut [0; 5]).unwrap();
            server.peek(&mut [0]).unwrap();
        });
        it_may_have_arrived(&remains, "hi\n", "");
    }
}

#[cfg(target_os = "linux")] // The moment for it is short; strace(1), if installed, makes it longer.
#[test]
fn does_not_take_an_end_of_the_stream_with_a_reset_behind_it_for_delivery() {
    let server = serve_once(|mut server| {
        server.write_all(b"hello\n").unwrap();
        server.peek(&mut [0]).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
    });
    let late = "inject=shutdown:delay_enter=300000";
    let Some(remains) = run_tampered_client(server.port, late) else {
        return;
    };
    it_may_have_arrived(&remains, "hello\n", "");
    server.outcome();
}

#[cfg(target_os = "linux")] // There strace(1), if installed, makes sending fail.
#[test]
fn does_not_take_an_orderly_close_for_delivery_when_sending_failed() {
    let server = serve_once(greet_and_hear_all);
    let fail = "inject=sendto:error=ECONNRESET";
    let Some(remains) = run_tampered_client(server.port, fail) else {
        return;
    };
    it_may_have_arrived(&remains, "hello\n", "Connection reset by peer");
    assert_eq!(server.outcome(), b"");
}

#[test]
fn gives_up_at_the_deadline_on_a_server_that_does_not_close() {
    let server = serve_once(|server| {
        greet_and_hear_all(server.try_clone().unwrap());
        // Now there is only a deadline left to end this.
        drip(&server, b"\n");
    });
    let mut client = start_client(server.port, &["--timeout", "0.5"]);
    client.type_in(b"hi\n");
    let remains = client.end();
    it_may_have_arrived(&remains, &remains.output, ": timed out after 500ms\n");
    server.outcome();
}

#[test]
fn does_not_show_a_reply_that_is_cut_off() {
    let (remains, ()) = client_at(b"hi\nunread", |server| {
        greet_and_hear_all(server.try_clone().unwrap());
        flood(&server, 100_000_000);
    });
    it_may_have_arrived(&remains, "hello\n", "the line is longer than 65536 bytes");
}

#[test]
fn names_host_and_port_once_and_the_reason_when_nothing_answers() {
    let closed = ClosedPort::new();
    let port = closed.address().port();
    let remains = run_client(port, b"hi\n");
    nothing_was_sent(
        &remains,
        "",
        &format!("cannot connect to 127.0.0.1 port {port}: "),
    );
    assert_eq!(
        remains.errors.matches("127.0.0.1").count(),
        1,
        "{remains:?}"
    );
    assert_eq!(
        remains.errors.matches(&port.to_string()).count(),
        1,
        "{remains:?}"
    );
}

#[test]
fn names_each_address_of_a_name_when_nothing_answers() {
    let closed = ClosedPort::new();
    let port = closed.address().port().to_string();
    let remains = Program::start(client_command().args(["localhost", "-p", &port])).end();
    nothing_was_sent(
        &remains,
        "",
        &format!("cannot connect to localhost port {port}: "),
    );
    assert!(remains.errors.contains(" 127.0.0.1: "), "{remains:?}");
    // A failure to look up, not to connect.
    let nowhere = Program::start(client_command().arg("no-such-host.invalid")).end();
    nothing_was_sent(&nowhere, "", "cannot connect to no-such-host.invalid port ");
    assert!(
        nowhere.errors.contains("lookup") || cfg!(windows),
        "{nowhere:?}"
    );
}

#[test]
fn sends_nothing_when_the_greeting_cannot_be_printed() {
    let (sender, reader_is_gone) = mpsc::channel();
    let server = serve_once(move |mut server| {
        reader_is_gone.recv().unwrap();
        server.write_all(b"hello\n").unwrap();
        server.write_all(&b"more\n".repeat(10_000)).unwrap();
        hear_all_and_close(&server)
    });
    let mut client = Program::start_without_reader(&mut client_to(server.port));
    sender.send(()).unwrap();
    client.type_in(b"hi\n");
    let remains = client.end();
    nothing_was_sent(&remains, "", "cannot write to standard output");
    assert_eq!(server.outcome().unwrap(), b"");
}

#[test]
fn the_message_may_have_arrived_when_a_reply_cannot_be_printed() {
    let server = serve_once(|mut server| {
        let heard = greet_and_hear_all(server.try_clone().unwrap());
        server.write_all(b"thank you\n").unwrap();
        heard
    });
    let mut child = client_to(server.port).spawn().unwrap();
    let (_greeting, output) = first_line_of(child.stdout.take().unwrap());
    let mut client = Program::running(child);
    drop(output);
    client.type_in(b"hi\n");
    it_may_have_arrived(&client.end(), "", "cannot write to standard output");
    assert_eq!(server.outcome(), b"hi\n");
}
