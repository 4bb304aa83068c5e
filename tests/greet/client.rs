//! `greet-client`, at servers good and bad that are not ours.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::{thread, time::Duration};

use crate::peers::{
    closed_address, drip, flood, greet_and_read_to_end, read_one_line, read_to_end,
    read_to_end_and_close, serve_once, wait_for_byte, write,
};
use crate::programs::{
    CLIENT, Finished, MAY_HAVE_ARRIVED, Program, REFUSED, TRY_AGAIN, client_to, piped, run,
    run_client, start_client,
};

/// Enough for a client to connect and be greeted, even on a machine that stalls.
const TIMEOUT: &str = "1.5";
const PAST_THE_TIMEOUT: Duration = Duration::from_millis(1_600);

/// Runs the client against a server that behaves as told, and returns what is left of both.
#[track_caller]
fn client_at<T: Send + 'static>(
    arguments: &[&str],
    input: &[u8],
    behave: impl FnOnce(&TcpStream) -> T + Send + 'static,
) -> (Finished, T) {
    let server = serve_once(move |stream| behave(&stream));
    let client = run(client_to(server.port).args(arguments), input);
    (client, server.outcome())
}

/// A client that has printed `hello`, and its server.
#[track_caller]
fn greeted(arguments: &[&str], greeting: &'static [u8]) -> (Program, TcpStream) {
    let server = serve_once(move |server| {
        write(&server, greeting);
        server
    });
    let client = start_client(server.port, arguments);
    assert_eq!(client.next_line(), b"hello\n");
    (client, server.outcome())
}

#[test]
fn sends_one_line_and_half_closes_and_prints_what_still_comes() {
    let late = b"\nlate\x1b\xc2\xb7\0\0\0\n\0no end";
    let all = "hello\nearly\n\nlate\x1b\u{b7}\n\nno end\n";
    // A server in C may send its strings with their terminator.
    for (greeting, late, shown) in [
        (&b"hello\r\nearly\n"[..], &late[..], all),
        (b"Connect succeed.\n\0", b"", "Connect succeed.\n"),
        (b"Welcom 127.0.0.1!\0", b"", "Welcom 127.0.0.1!\n"),
    ] {
        let (client, received) = client_at(&[], b"hi\r\nmore\n", |server| {
            write(server, greeting);
            let received = read_to_end(server).unwrap();
            write(server, late);
            received
        });
        client.assert_delivered(shown);
        assert_eq!(received, b"hi\n");
    }
}

#[test]
fn prints_what_came_while_the_line_was_typed_in_order() {
    let (mut client, server) = greeted(&[], b"hello\nright away\n");
    let early = ("x".repeat(1_023) + "\n").repeat(63) + &"y".repeat(1_013);
    write(&server, early.as_bytes());
    client.type_in(b"hi\n");
    assert_eq!(read_to_end(&server).unwrap(), b"hi\n");
    write(&server, b"later\n");
    drop(server);
    let shown = "right away\n".to_owned() + &early + "later\n";
    client.end().assert_delivered(&shown);
}

#[test]
fn the_line_may_take_longer_to_type_than_the_server_has_to_answer() {
    for typed in [&b"hi\n"[..], b""] {
        let (mut client, server) = greeted(&["--timeout", TIMEOUT], b"hello\n");
        thread::sleep(PAST_THE_TIMEOUT);
        client.type_in(typed);
        assert_eq!(read_to_end(&server).unwrap(), typed);
        // Even if it has nothing to send, the client must still be there to read this.
        write(&server, b"good bye\n");
        read_to_end_and_close(&server).unwrap();
        match typed {
            b"" => client
                .end()
                .assert_failed(REFUSED, "", "no line on standard input"),
            _ => client.end().assert_delivered("good bye\n"),
        }
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
        (&too_long, ": the line is longer than "),
        (&[&too_long[..], b"\n"].concat(), "longer than 65536 bytes"),
    ];
    for (input, reason) in cases {
        let (client, received) = client_at(&[], input, greet_and_read_to_end);
        client.assert_failed(REFUSED, "hello\n", reason);
        assert_eq!(received, b"");
    }
}

#[cfg(unix)] // Standard input may be a socket or a folder there.
#[test]
fn standard_input_that_cannot_be_read_is_no_line() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let that_does_not_block = |half: &[u8]| {
        let (input, held) = UnixStream::pair().unwrap();
        (&held).write_all(half).unwrap();
        input.set_nonblocking(true).unwrap();
        (OwnedFd::from(input), Some(held))
    };
    let folder = std::fs::File::open("/").unwrap();
    let empty = ": standard input: Resource temporarily unavailable";
    for ((input, _held), status, reason) in [
        (that_does_not_block(b""), TRY_AGAIN, empty),
        // Half a line is gone once it is read, so another try would send the other half.
        (that_does_not_block(b"half"), REFUSED, empty),
        ((folder.into(), None), REFUSED, ": standard input: "),
    ] {
        let server = serve_once(|server| greet_and_read_to_end(&server));
        let client = Program::start(client_to(server.port).stdin(input)).end();
        client.assert_failed(status, "hello\n", reason);
        assert_eq!(server.outcome(), b"");
    }
}

#[cfg(unix)]
#[test]
fn leaves_what_stands_behind_the_line_for_the_next_program() {
    let server = crate::programs::Server::start(&[]);
    let script = format!(
        "\"$0\" 127.0.0.1 -p {0}; \"$0\" 127.0.0.1 -p {0}; cat",
        server.port
    );
    let mut shell = piped("sh");
    let left = run(
        shell.args(["-c", &script, CLIENT]),
        b"one\ntwo\r\nthree\nfour",
    );
    assert!(left.stdout.ends_with("to me\nthree\nfour"), "{left:?}");
    assert_eq!(server.program.next_line(), b"one\n");
    assert_eq!(server.program.next_line(), b"two\n");
}

#[test]
fn reads_no_more_of_standard_input_than_a_line_may_have() {
    let (mut client, server) = greeted(&[], b"hello\n");
    let is_all_read = client.type_in(&vec![b'x'; 200_000]);
    assert!(!is_all_read);
    client
        .end()
        .assert_failed(REFUSED, "", "the line is longer than 65536 bytes");
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
        let (mut client, server) = greeted(&[], b"hello\n");
        write(&server, &vec![b'\n'; early]);
        server.shutdown(Shutdown::Write).unwrap();
        client.type_in(b"too late\n");
        client.end().assert_failed(TRY_AGAIN, "", reason);
        assert_eq!(read_to_end_and_close(&server).unwrap(), b"");
    }
}

#[test]
fn with_reply_only_the_reply_is_a_receipt() {
    let cut = "closed without an answer, 6 bytes without a line end";
    for (reply, status, shown, reason) in [
        (&b"thanks\nand more\n"[..], 0, "thanks\n", ""),
        (b"thanks\0", 0, "thanks\n", ""),
        (b"thank you\n", 3, "thank you\n", "the reply is another one"),
        (b"thanks!\n", 3, "thanks!\n", "the reply is another one"),
        (b"thanks", 3, "", cut),
        (b"", 3, "", "closed without an answer"),
    ] {
        let (client, received) = client_at(&["--reply", "thanks"], b"hi\n", |server| {
            write(server, b"hello\n");
            let received = read_one_line(server);
            write(server, reply);
            received
        });
        let shown = "hello\n".to_owned() + shown;
        match status {
            0 => client.assert_delivered(&shown),
            _ => client.assert_failed(status, &shown, reason),
        }
        assert_eq!(received, b"hi\n");
    }
}

#[test]
fn with_reply_nothing_behind_the_reply_matters() {
    // The client waits for nothing: once it has ended its stream, it is gone.
    let (client, outcome) = client_at(&["-rthanks"], b"hi\n", |mut server| {
        write(server, b"hello\n");
        read_one_line(server);
        write(server, b"thanks\n");
        read_to_end(server).unwrap();
        let _ = server.write_all(b"late\n");
        read_to_end_and_close(server)
    });
    client.assert_delivered("hello\nthanks\n");
    assert!(outcome.is_err() || cfg!(windows), "it still reads");
    if cfg!(windows) {
        return; // There a reset takes along what was not read before.
    }
    // A reset, by a line that is left unread, changes nothing.
    let (client, ()) = client_at(&["-rthanks"], b"hi\n", |server| {
        write(server, b"hello\n");
        wait_for_byte(server).unwrap();
        write(server, b"thanks\n");
    });
    client.assert_delivered("hello\nthanks\n");
}

#[test]
fn a_check_prints_the_greeting_and_sends_nothing() {
    let (client, received) = client_at(&["--check"], b"not sent\n", greet_and_read_to_end);
    client.assert_delivered("hello\n");
    assert_eq!(received, b"");
    let (client, ()) = client_at(&["--check"], b"", |server| write(server, b"login: "));
    client.assert_delivered("login: \n");
    let (client, ()) = client_at(&["--check"], b"", |_| ());
    client.assert_failed(TRY_AGAIN, "", "closed without a greeting");
}

type Behaviour = fn(&TcpStream);

#[test]
fn fails_in_time_and_says_why_when_no_greeting_comes() {
    let says_login: Behaviour = |server| {
        write(server, b"login: ");
        read_to_end(server).unwrap();
    };
    let drips: Behaviour = |server| drip(server, b".");
    let seven = ": timed out after 1.5s, 7 bytes without a line end\n";
    let silent: Behaviour = |server| _ = read_to_end(server);
    let cases: [(Behaviour, &str, &str); 5] = [
        (|_| (), "60", ": closed without a greeting\n"),
        (silent, "0.5", ": timed out after 500ms\n"),
        (drips, "0.5", ": timed out after 500ms"),
        (says_login, TIMEOUT, seven),
        (flood, "60", ": the line is longer than 65536 bytes\n"),
    ];
    for (behave, timeout, reason) in cases {
        let (client, ()) = client_at(&["--timeout", timeout], b"hi\n", behave);
        client.assert_failed(TRY_AGAIN, "", reason);
    }
}

#[test]
#[cfg_attr(windows, ignore = "Wine ends the stream before it resets")]
fn does_not_take_a_reset_for_delivery() {
    // The server takes nothing, a part, or all but the line's end.
    for (length, taken) in [(60_000, 0), (60_000, 5), (60_000, 30_000), (5, 5)] {
        let message = "x".repeat(length) + "\n";
        let (client, ()) = client_at(&[], message.as_bytes(), move |mut server| {
            write(server, b"hello\n");
            server.read_exact(&mut vec![0; taken]).unwrap();
            // Closing with a part of the message unread resets the connection.
            wait_for_byte(server).unwrap();
        });
        client.assert_failed(MAY_HAVE_ARRIVED, "hello\n", ": no receipt from 127.0.0.1:");
        assert!(!client.stderr.contains("timed out"), "{client:?}");
    }
}

#[test]
fn gives_up_on_a_server_that_goes_on_instead_of_closing() {
    let cases: [(Behaviour, &str); 2] = [
        (|server| drip(server, b"\n"), ": timed out after 1.5s\n"),
        (flood, ": the line is longer than 65536 bytes\n"),
    ];
    for (go_on, reason) in cases {
        let (client, ()) = client_at(&["--timeout", TIMEOUT], b"hi\nunread", move |server| {
            greet_and_read_to_end(server);
            go_on(server);
        });
        client.assert_failed(MAY_HAVE_ARRIVED, &client.stdout, reason);
        assert!(client.stderr.contains(": no receipt from 127.0.0.1:"));
        // Half a reply is not shown.
        assert_eq!(client.stdout.trim_end(), "hello");
    }
}

#[test]
fn names_host_and_port_once_and_the_reason_when_nothing_answers() {
    let (address, _held) = closed_address();
    let port = address.port();
    let client = run_client(port, b"hi\n");
    let step = format!("cannot connect to 127.0.0.1 port {port}: ");
    client.assert_failed(TRY_AGAIN, "", &step);
    for once in ["127.0.0.1", &port.to_string()] {
        assert_eq!(client.stderr.matches(once).count(), 1, "{client:?}");
    }
    // No name server is asked for what is no name. What was typed gives the terminal no orders.
    let no_name = "\u{202e}".to_owned() + &"x".repeat(64);
    let client = run(piped(CLIENT).arg(&no_name), b"hi\n");
    let step = "cannot connect to \\u{202e}xxx";
    client.assert_failed(TRY_AGAIN, "", step);
    assert!(client.stderr.contains("lookup") || cfg!(windows));
}

#[cfg(unix)] // Standard output may be a socket there. Shutting it down takes its reader away, whoever has a copy.
mod lost_output {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};

    use super::*;

    #[test]
    fn sends_nothing_when_the_greeting_cannot_be_printed() {
        for options in [&[][..], &["--check"]] {
            let (output, reader) = UnixStream::pair().unwrap();
            reader.shutdown(Shutdown::Both).unwrap();
            let server = serve_once(|server| {
                write(&server, b"hello\n");
                write(&server, &b"more\n".repeat(10_000));
                read_to_end_and_close(&server)
            });
            let mut client = client_to(server.port);
            client.args(options).stdout(OwnedFd::from(output));
            let reason = "cannot write to standard output";
            run(&mut client, b"hi\n").assert_failed(TRY_AGAIN, "", reason);
            assert_eq!(server.outcome().unwrap(), b"");
        }
    }

    #[test]
    fn the_message_may_have_arrived_when_a_reply_cannot_be_printed() {
        for options in [&[][..], &["-rthank you"]] {
            let (output, reader) = UnixStream::pair().unwrap();
            let server = serve_once(|server| {
                write(&server, b"hello\n");
                assert_eq!(read_one_line(&server), b"hi\n");
                write(&server, b"thank you\n");
            });
            let mut client = client_to(server.port);
            let mut client = Program::start(client.args(options).stdout(OwnedFd::from(output)));
            assert_eq!(read_one_line(&reader), b"hello\n");
            reader.shutdown(Shutdown::Both).unwrap();
            client.type_in(b"hi\n");
            let reason = ": cannot write to standard output";
            client.end().assert_failed(MAY_HAVE_ARRIVED, "", reason);
            server.outcome();
        }
    }
}
