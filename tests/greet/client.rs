//! `greet-client`, at servers good and bad that are not ours.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{closed_port, drip, flood, greet_and_hear_all, hear_all, hear_line, serve_once};
use crate::programs::{
    PATIENCE, Program, Remains, Server, client_command, client_of, lost, start_client,
};

/// Runs the client against a server that behaves as told, and returns what is left of both.
fn client_at<T: Send + 'static>(
    input: &[u8],
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Remains, T) {
    let (port, server) = serve_once(behave);
    let remains = client_of(port, input);
    (remains, server.join().unwrap())
}

/// The client must have failed, with one line that says why.
fn failed(remains: &Remains, output: &str, reason: &str) {
    assert_eq!(remains.status.code(), Some(1), "{remains:?}");
    assert_eq!(remains.output, output);
    assert_eq!(remains.errors.lines().count(), 1, "{remains:?}");
    assert!(remains.errors.starts_with("greet-client: "), "{remains:?}");
    assert!(remains.errors.contains(reason), "{remains:?}");
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
    let (port, server) = serve_once(|mut server| {
        server.write_all(b"hello\nright away\n").unwrap();
        server
    });
    let mut client = start_client(port, &[]);
    assert_eq!(client.output(), b"hello\n");
    let mut server = server.join().unwrap();
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
    let cases: [(&[u8], &str); 5] = [
        (b"", "no message"),
        (b"early\0end\n", "NUL"),
        (b"\0\n", "NUL"),
        (&too_long, "65536"),
        (&[&too_long[..], b"\n"].concat(), "65536"),
    ];
    for (input, reason) in cases {
        let (remains, heard) = client_at(input, greet_and_hear_all);
        failed(&remains, "hello\n", reason);
        assert_eq!(heard, b"");
    }
}

#[test]
fn reads_no_more_of_standard_input_than_a_line_may_have() {
    let (port, server) = serve_once(greet_and_hear_all);
    let mut client = start_client(port, &[]);
    assert!(
        !client.type_in(&vec![b'x'; 10_000_000]),
        "all of it was read"
    );
    failed(&client.end(), "hello\n", "no line end within 65536 bytes");
    assert_eq!(server.join().unwrap(), b"");
}

#[test]
fn sends_nothing_when_the_server_closes_while_the_line_is_typed() {
    for early in [&b""[..], b"and more\n"] {
        let (port, server) = serve_once(|mut server| {
            server.write_all(b"hello\n").unwrap();
            server
        });
        let mut client = start_client(port, &[]);
        assert_eq!(client.output(), b"hello\n");
        let mut server = server.join().unwrap();
        server.write_all(early).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        client.type_in(b"too late\n");
        failed(&client.end(), "", "closed before anything was sent");
        assert_eq!(hear_all(&server).unwrap(), b"");
    }
}

#[test]
fn gives_up_at_the_deadline_on_a_server_that_does_not_greet() {
    let silent = |server: TcpStream| drop(hear_all(&server));
    let dripping = |server: TcpStream| drip(&server, b".");
    for behave in [silent, dripping] {
        let (port, server) = serve_once(behave);
        let start = Instant::now();
        let mut client = start_client(port, &["--timeout", "0.5"]);
        client.type_in(b"hi\n");
        failed(&client.end(), "", "timed out after 500ms");
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert!(start.elapsed() < PATIENCE);
        server.join().unwrap();
    }
}

#[test]
fn gives_up_on_a_greeting_without_an_end() {
    let (remains, sent) = client_at(b"hi\n", |server| flood(&server, 100_000_000));
    failed(&remains, "", "no line end within 65536 bytes");
    assert!(sent < 100_000_000);
}

#[test]
fn fails_when_the_server_closes_instead_of_greeting() {
    let (remains, ()) = client_at(b"hi\n", drop);
    failed(&remains, "", "closed without a greeting");
    let (remains, ()) = client_at(b"hi\n", |mut server| server.write_all(b"\n").unwrap());
    failed(&remains, "\n", "");
}

/// Whether the system has completed a connection to the port that nobody has accepted yet.
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
    while !has_connection_waiting(port) {
        thread::yield_now();
    }
    // Connections that were never accepted are reset when their listener closes.
    drop(listener);
    failed(&client.end(), "", "no greeting from");
}

#[test]
fn does_not_take_a_reset_for_delivery() {
    let (remains, ()) = client_at(&vec![b'x'; 60_000], |mut server| {
        server.write_all(b"hello\n").unwrap();
        // Closing with a part of the message unread resets the connection.
        server.peek(&mut [0]).unwrap();
    });
    failed(&remains, "hello\n", "not delivered");
}

#[test]
fn gives_up_at_the_deadline_on_a_server_that_does_not_close() {
    let (port, server) = serve_once(|server| {
        greet_and_hear_all(server.try_clone().unwrap());
        // Now there is only a deadline left to end this.
        drip(&server, b"\n");
    });
    let mut client = start_client(port, &["--timeout", "0.5"]);
    client.type_in(b"hi\n");
    let remains = client.end();
    assert_eq!(remains.status.code(), Some(1));
    assert!(
        remains.errors.contains("perhaps not delivered"),
        "{remains:?}"
    );
    server.join().unwrap();
}

#[test]
fn does_not_show_a_reply_that_is_cut_off() {
    let (remains, ()) = client_at(b"hi\nunread", |server| {
        greet_and_hear_all(server.try_clone().unwrap());
        flood(&server, 100_000_000);
    });
    failed(&remains, "hello\n", "no line end within 65536 bytes");
}

#[test]
fn names_the_address_and_the_reason_when_nothing_answers() {
    let port = closed_port();
    let address = format!("127.0.0.1:{port}: ");
    failed(&client_of(port, b"hi\n"), "", &address);
    let nowhere = Program::start(client_command().arg("no-such-host.invalid"));
    failed(&nowhere.end(), "", "no-such-host.invalid");
}

#[test]
fn fails_when_the_greeting_cannot_be_printed() {
    let (port, server) = serve_once(greet_and_hear_all);
    let port = port.to_string();
    let mut command = client_command();
    let mut client = Program::start(command.args(["127.0.0.1", "-p", &port]).stdout(lost()));
    client.type_in(b"hi\n");
    failed(&client.end(), "", "cannot write to standard output");
    assert_eq!(server.join().unwrap(), b"");
}
