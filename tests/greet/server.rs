//! `greet-server`, seen by its clients and by whoever started it.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, SystemTime};

use greet::timestamp::timestamp;

use crate::peers::{read_one_line, read_to_end, read_to_end_and_close, send};
use crate::programs::{
    Program, SERVER, Server, Stream, TempPath, connect, piped, port_in, server_command,
};

#[test]
fn greets_at_once_with_one_line() {
    let server = Server::start(&["--greeting", "hello {peer}, {peer}!"]);
    let client = server.connect();
    assert_eq!(read_one_line(&client), b"hello 127.0.0.1, 127.0.0.1!\n");
    assert_eq!(send(&client, b"").unwrap(), b"");
}

#[test]
fn takes_for_the_message_what_comes_before_the_first_line_feed_nul_or_end() {
    let server = Server::start(&[]);
    // A C program that sends its whole buffer: a string, its NUL, and whatever was there.
    let mut buffer = [0xcc; 1_000];
    buffer[..6].copy_from_slice(b"hello\0");
    buffer[500] = b'\n';
    let cases: [(&[u8], &[u8], &str); 13] = [
        (b"hi\n", b"hi", "2 bytes received"),
        (b"hi\r\n", b"hi", "2 bytes received"),
        (b"hi\0", b"hi", "2 bytes received"),
        (b"hi", b"hi", "2 bytes received, without a line end"),
        (b"hi\r\r\n", b"hi\r", "3 bytes received"),
        (b"hi\r", b"hi\r", "3 bytes received, without a line end"),
        (b"hi\r\0", b"hi\r", "3 bytes received"),
        (b"hi\rho\n", b"hi\rho", "5 bytes received"),
        (b"hi\nho\n", b"hi", "2 bytes received, 3 more ignored"),
        (b"hi\0ho\n", b"hi", "2 bytes received, 3 more ignored"),
        (b"\n", b"", "0 bytes received"),
        (b"\0hi\n", b"", "0 bytes received, 3 more ignored"),
        (&buffer, b"hello", "5 bytes received, 994 more ignored"),
    ];
    for (sent, shown, ending) in cases {
        let client = server.connect();
        send(&client, sent).unwrap();
        assert_eq!(server.program.next_line(), [shown, b"\n"].concat());
        assert_eq!(server.ending_of(&client), ending);
    }
}

#[test]
fn takes_a_message_that_comes_byte_by_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    read_one_line(&client);
    // These are so many that the server is sure to read before the last one is there.
    let message = "pieces ".repeat(1_000);
    for byte in (message.clone() + "\r\n").bytes() {
        client.write_all(&[byte]).unwrap();
    }
    read_to_end(&client).unwrap();
    assert_eq!(server.program.next_line(), (message + "\n").as_bytes());
}

#[test]
fn half_closes_after_the_message_and_counts_what_still_comes() {
    let server = Server::start(&[]);
    // If the end of the stream were that of the close, what is sent after it would not be counted. A
    // busy machine may be late for that, but not every time.
    let is_counted = |_| {
        let mut client = server.connect();
        client.write_all(b"hi\nearly").unwrap();
        read_to_end(&client).unwrap();
        thread::sleep(Duration::from_millis(500));
        let _ = client.write_all(&[b'x'; 10_000]);
        let is_orderly = read_to_end_and_close(&client).is_ok();
        assert_eq!(server.program.next_line(), b"hi\n");
        server.ending_of(&client) == "2 bytes received, 10005 more ignored" && is_orderly
    };
    assert!((0..20).any(is_counted));
}

#[test]
fn a_client_without_a_message_is_no_message() {
    let server = Server::start(&["--messages", "1"]);
    let client = server.connect();
    send(&client, b"").unwrap();
    assert_eq!(server.ending_of(&client), "closed without a message");
    send(&server.connect(), b"\n").unwrap();
    let finished = server.program.end();
    assert!(finished.status.success());
    assert_eq!(finished.stdout, "\n");
}

#[test]
fn replies_once_the_message_is_shown() {
    let file = TempPath::new("replied");
    let mut command = server_command();
    let command = command.args(["--reply", "thanks", "--greeting", "hello"]);
    let server = Server::start_by(command.stdout(file.create()));
    let mut client = server.connect();
    client.write_all(b"hi\n").unwrap();
    assert_eq!(read_one_line(&client), b"hello\n");
    assert_eq!(read_one_line(&client), b"thanks\n");
    assert_eq!(fs::read(&file.0).unwrap(), b"hi\n");
    assert_eq!(send(&client, b"more").unwrap(), b"");
    let ending = server.ending_of(&client);
    assert_eq!(ending, "2 bytes received, 4 more ignored");
}

#[test]
fn a_stamp_tells_when_a_message_came_and_from_whom() {
    let server = Server::start(&["--stamp"]);
    let client = server.connect();
    let before = timestamp(SystemTime::now());
    send(&client, b"2026-01-01T00:00:00Z 192.0.2.7:1 forged\n").unwrap();
    let line = String::from_utf8(server.program.next_line()).unwrap();
    let after = timestamp(SystemTime::now());
    let address = client.local_addr().unwrap();
    let rest = format!(" {address} 2026-01-01T00:00:00Z 192.0.2.7:1 forged\n");
    let time = line.strip_suffix(&rest).expect(&line);
    assert!((&*before..=&*after).contains(&time), "{time}");
}

#[test]
fn shows_a_message_before_it_closes() {
    let log = TempPath::new("shown");
    let server = Server::start_by(server_command().stdout(log.create()));
    for number in 1..=100 {
        send(&server.connect(), b"safe\n").unwrap();
        assert_eq!(fs::read_to_string(&log.0).unwrap(), "safe\n".repeat(number));
    }
}

#[test]
fn serves_the_next_client_only_when_it_is_done_with_this_one() {
    let server = Server::start(&[]);
    let first = server.connect();
    read_one_line(&first);
    let mut second = server.connect();
    second.write_all(b"second\n").unwrap();
    send(&first, b"first\n").unwrap();
    read_to_end(&second).unwrap();
    assert_eq!(server.program.next_line(), b"first\n");
    assert_eq!(server.program.next_line(), b"second\n");
}

/// The server must fail to start, and say this and one line of words.
#[track_caller]
fn assert_cannot_listen(host: &str, port: u16) {
    let command = &mut piped(SERVER);
    let finished = Program::start(command.args(["-b", host, "-p", &port.to_string()])).end();
    assert_eq!(finished.status.code(), Some(1));
    let step = format!("greet-server: cannot listen on {host} port {port}: ");
    let reason = finished.stderr.strip_prefix(&step).expect(&finished.stderr);
    assert_eq!(reason.lines().count(), 1);
    assert!(reason.starts_with(char::is_alphabetic), "{reason}");
}

#[test]
fn a_port_that_is_taken_is_an_error_with_the_address_and_the_reason() {
    let taken = Server::start(&[]);
    assert_cannot_listen("127.0.0.1", taken.port);
}

#[test]
fn a_host_to_listen_on_that_is_not_here_is_an_error_with_its_name() {
    // The second is no name, so no name server is asked.
    for host in ["192.0.2.200", "no-such-host..invalid"] {
        assert_cannot_listen(host, 65_432);
    }
}

#[test]
fn a_message_that_nobody_reads_ends_the_server() {
    let (program, _) = Program::start_and_lose(&mut server_command(), Stream::Output, 0);
    let server = Server::running(program);
    let client = server.connect();
    read_one_line(&client);
    let received = send(&client, b"lost\n");
    // Wine, which runs this for Windows, ends the stream before it resets.
    assert!(received.is_err() || cfg!(windows), "there was a receipt");
    let address = client.local_addr().unwrap();
    let finished = server.program.end();
    assert_eq!(finished.status.code(), Some(1));
    let log =
        format!("{address} connected\ngreet-server: cannot show the message from {address}: ");
    assert!(finished.stderr.starts_with(&log), "{}", finished.stderr);
    assert_eq!(finished.stderr.lines().count(), 2);
}

#[test]
fn goes_on_when_standard_error_is_lost() {
    let command = &mut server_command();
    let command = command.args(["--messages", "2"]);
    let (program, log) = Program::start_and_lose(command, Stream::Errors, 1);
    for message in [b"1\n", b"2\n"] {
        send(&connect(port_in(log.trim_end())), message).unwrap();
    }
    let finished = program.end();
    assert!(finished.status.success());
    assert_eq!(finished.stdout, "1\n2\n");
}

#[cfg(unix)] // Only there can a shell limit what a program may do.
mod limited {
    use std::process::Command;
    use std::time::Instant;

    use super::*;
    use crate::programs::run_client;

    /// `greet-server`, to be started by a shell that has run `first`.
    fn server_behind(first: &str) -> Command {
        let mut shell = piped("sh");
        shell.args(["-c", &format!("{first}; exec \"$@\""), "sh", SERVER]);
        shell.args(["--bind", "127.0.0.1", "--port", "0"]);
        shell
    }

    #[test]
    fn a_server_killed_while_it_shows_a_message_gives_no_receipt() {
        let file = TempPath::new("killed");
        let server = Server::start_by(server_behind("ulimit -f 0").stdout(file.create()));
        let finished = run_client(server.port, b"lost\n");
        assert_eq!(finished.status.code(), Some(3), "{finished:?}");
        assert_eq!(server.program.end().status.code(), None, "a signal");
    }

    #[test]
    fn logs_a_failed_accept_and_tries_again_without_spinning() {
        // The standard streams and the listener take descriptors 0 to 3, and none is left for a client.
        // An inherited descriptor would be in the way only as number 3, so that one is closed. Linux
        // refuses then before a client comes.
        let start = Instant::now();
        let server = Server::start_by(&mut server_behind("exec 3<&-; ulimit -n 4"));
        let _client = server.connect();
        for _ in 0..2 {
            let refusal = server.program.next_error();
            assert!(refusal.starts_with("cannot accept a client: "), "{refusal}");
        }
        assert!(start.elapsed() >= Duration::from_secs(1), "it spins");
    }
}
