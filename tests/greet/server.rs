//! `greet-server`, seen by its clients and by whoever started it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers::{hear_all, hear_line, say};
use crate::programs::{Program, Server, connect, lost, port_in, server_command};

#[test]
fn greets_at_once_with_one_line() {
    let server = Server::start(&["--greeting", "hello {peer}, {peer}!"]);
    let client = server.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hear_all(&client).unwrap(), b"hello 127.0.0.1, 127.0.0.1!\n");
}

#[test]
fn takes_for_the_message_what_comes_before_the_first_line_feed_nul_or_end() {
    let server = Server::start(&[]);
    let cases: [(&[u8], &[u8]); 12] = [
        (b"hi\n", b"hi"),
        (b"hi\r\n", b"hi"),
        (b"hi\0", b"hi"),
        (b"hi", b"hi"),
        (b"hi\r\r\n", b"hi\r"),
        (b"hi\r", b"hi\r"),
        (b"hi\r\0", b"hi\r"),
        (b"hi\rho\n", b"hi\rho"),
        (b"hi\nho\n", b"hi"),
        (b"hi\0ho\n", b"hi"),
        (b"\n", b""),
        (b"\0hi\n", b""),
    ];
    for (sent, shown) in cases {
        let client = server.connect();
        say(&client, sent).unwrap();
        assert_eq!(server.program.output(), [shown, b"\n"].concat());
        assert_eq!(
            server.story_of(client.local_addr().unwrap()),
            format!("{} bytes received", shown.len())
        );
    }
}

#[test]
fn takes_a_message_that_comes_byte_by_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    hear_line(&client);
    for byte in b"in pieces\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    hear_all(&client).unwrap();
    assert_eq!(server.program.output(), b"in pieces\n");
}

#[test]
fn closes_after_the_message_though_the_client_does_not_half_close() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.write_all(b"hi\r\n").unwrap();
    hear_all(&client).unwrap();
    assert_eq!(server.program.output(), b"hi\n");
}

#[test]
fn understands_a_client_that_sends_its_whole_buffer() {
    let server = Server::start(&[]);
    let mut buffer = [0xcc; 1_000];
    buffer[..6].copy_from_slice(b"hello\0");
    buffer[500] = b'\n';
    let mut client = server.connect();
    hear_line(&client);
    client.write_all(&buffer).unwrap();
    let address = client.local_addr().unwrap();
    drop(client);
    assert_eq!(server.program.output(), b"hello\n");
    assert_eq!(server.story_of(address), "5 bytes received");
}

#[test]
fn a_client_without_a_message_is_no_message() {
    let server = Server::start(&["--messages", "1"]);
    let client = server.connect();
    say(&client, b"").unwrap();
    assert_eq!(
        server.story_of(client.local_addr().unwrap()),
        "closed without a message"
    );
    say(&server.connect(), b"\n").unwrap();
    let remains = server.program.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "\n");
}

#[test]
fn shows_a_message_before_it_closes() {
    let log = std::env::temp_dir().join(format!("greet-{}.log", std::process::id()));
    let output = std::fs::File::create(&log).unwrap();
    let server = Server::from(server_command().stdout(output));
    for number in 1..=100 {
        say(&server.connect(), b"safe\n").unwrap();
        assert_eq!(
            std::fs::read_to_string(&log).unwrap(),
            "safe\n".repeat(number)
        );
    }
    std::fs::remove_file(log).unwrap();
}

#[test]
fn ends_with_status_0_after_the_last_message_asked_for() {
    let server = Server::start(&["--messages", "3"]);
    for message in [b"1\n", b"2\n", b"3\n"] {
        say(&server.connect(), message).unwrap();
    }
    let remains = server.program.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "1\n2\n3\n");
    assert_eq!(remains.errors.lines().count(), 6);
}

#[test]
fn serves_the_next_client_only_when_it_is_done_with_this_one() {
    let server = Server::start(&[]);
    let (first, mut second) = (server.connect(), server.connect());
    hear_line(&first);
    second.write_all(b"second\n").unwrap();
    say(&first, b"first\n").unwrap();
    hear_all(&second).unwrap();
    assert_eq!(server.program.output(), b"first\n");
    assert_eq!(server.program.output(), b"second\n");
}

#[test]
fn a_port_that_is_taken_is_an_error_with_the_address_and_the_reason() {
    let taken = Server::start(&[]);
    let address = format!("127.0.0.1:{}", taken.port);
    let port = taken.port.to_string();
    let remains = Program::start(server_command().args(["-b", "127.0.0.1", "-p", &port])).end();
    assert_eq!(remains.status.code(), Some(1));
    let reason = remains
        .errors
        .strip_prefix(&format!("greet-server: cannot listen on {address}: "));
    assert!(
        reason.is_some_and(|reason| reason.lines().count() == 1),
        "{}",
        remains.errors
    );
}

#[test]
fn a_host_to_listen_on_that_is_not_here_is_an_error_with_its_name() {
    for host in ["192.0.2.200", "no-such-host.invalid"] {
        let remains = Program::start(server_command().args(["--bind", host])).end();
        assert_eq!(remains.status.code(), Some(1));
        assert!(
            remains
                .errors
                .starts_with(&format!("greet-server: cannot listen on {host}:65432"))
        );
        assert_eq!(remains.errors.lines().count(), 1);
    }
}

#[test]
fn ends_with_an_error_when_a_message_cannot_be_shown() {
    let command = &mut server_command();
    let server = Server::from(
        command
            .args(["--bind", "127.0.0.1", "-n", "1"])
            .stdout(lost()),
    );
    let client = server.connect();
    let address = client.local_addr().unwrap();
    let _ = say(&client, b"lost\n");
    let remains = server.program.end();
    assert_eq!(remains.status.code(), Some(1));
    let start =
        format!("{address} connected\ngreet-server: cannot show the message from {address}: ");
    assert!(remains.errors.starts_with(&start), "{}", remains.errors);
    assert_eq!(remains.errors.lines().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn ends_with_an_error_when_the_disk_is_full() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let server = Server::from(server_command().args(["-n", "1"]).stdout(full));
    let _ = say(&server.connect(), b"lost\n");
    let remains = server.program.end();
    assert_eq!(remains.status.code(), Some(1));
    assert!(
        remains
            .errors
            .contains("greet-server: cannot show the message")
    );
}

#[test]
fn goes_on_when_standard_error_is_lost() {
    let (reader, writer) = io::pipe().unwrap();
    let program = Program::start(server_command().args(["-p", "0", "-n", "2"]).stderr(writer));
    let port = port_in(&BufReader::new(reader).lines().next().unwrap().unwrap());
    for message in [b"1\n", b"2\n"] {
        say(&connect(port), message).unwrap();
    }
    let remains = program.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "1\n2\n");
}

#[cfg(unix)]
#[test]
fn logs_a_failed_accept_and_tries_again_without_spinning() {
    let program = env!("CARGO_BIN_EXE_greet-server");
    let mut shell = Command::new("sh");
    // Four files, three of them the standard streams and one the listener: none left for a client.
    shell.args([
        "-c",
        "ulimit -n 4; exec \"$@\"",
        "sh",
        program,
        "--bind",
        "127.0.0.1",
    ]);
    let server = Server::from(shell.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let _client = server.connect();
    assert!(
        server
            .program
            .error()
            .starts_with("cannot accept a client: ")
    );
    let first = Instant::now();
    assert!(
        server
            .program
            .error()
            .starts_with("cannot accept a client: ")
    );
    assert!(
        first.elapsed() > Duration::from_millis(100),
        "the loop spins"
    );
}
