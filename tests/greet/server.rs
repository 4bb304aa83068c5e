//! `greet-server`, seen by its clients and by whoever started it.

use std::io::Write;
use std::net::Shutdown;
#[cfg(unix)]
use std::process::{Command, Stdio};
#[cfg(unix)]
use std::time::{Duration, Instant};

use crate::peers::{hear_all, hear_line, say};
#[cfg(target_os = "linux")]
use crate::programs::tampered_with;
use crate::programs::{Program, Scratch, Server, connect, first_line_of, port_in, server_command};
#[cfg(unix)]
use crate::programs::{SERVER, run_client};

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
    let cases: [(&[u8], &[u8], &str); 12] = [
        (b"hi\n", b"hi", "2 bytes received"),
        (b"hi\r\n", b"hi", "2 bytes received"),
        (b"hi\0", b"hi", "2 bytes received"),
        (b"hi", b"hi", "2 bytes received"),
        (b"hi\r\r\n", b"hi\r", "3 bytes received"),
        (b"hi\r", b"hi\r", "3 bytes received"),
        (b"hi\r\0", b"hi\r", "3 bytes received"),
        (b"hi\rho\n", b"hi\rho", "5 bytes received"),
        (b"hi\nho\n", b"hi", "2 bytes received, 3 more ignored"),
        (b"hi\0ho\n", b"hi", "2 bytes received, 3 more ignored"),
        (b"\n", b"", "0 bytes received"),
        (b"\0hi\n", b"", "0 bytes received, 3 more ignored"),
    ];
    for (sent, shown, ending) in cases {
        let client = server.connect();
        say(&client, sent).unwrap();
        assert_eq!(server.program.output(), [shown, b"\n"].concat());
        assert_eq!(server.log_of(client.local_addr().unwrap()), ending);
    }
}

#[test]
fn takes_a_message_that_comes_byte_by_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    hear_line(&client);
    // So many that the server is sure to read before the last one is there.
    let message = "pieces ".repeat(1_000);
    for byte in (message.clone() + "\r\n").bytes() {
        client.write_all(&[byte]).unwrap();
    }
    hear_all(&client).unwrap();
    assert_eq!(server.program.output(), (message + "\n").as_bytes());
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
fn half_closes_after_the_message_before_it_waits_for_the_client_to_close() {
    let server = Server::start(&[]);
    // If the end of the stream were that of the close, what is sent after it would not be counted. A
    // busy machine may be late for that, but not every time.
    let is_read_on = |_| {
        let mut client = server.connect();
        client.write_all(b"hi\n").unwrap();
        hear_all(&client).unwrap();
        let _ = client.write_all(b"late");
        let _ = client.shutdown(Shutdown::Write);
        let ending = server.log_of(client.local_addr().unwrap());
        ending == "2 bytes received, 4 more ignored"
    };
    assert!((0..20).any(is_read_on));
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
    let ending = server.log_of(address);
    assert_eq!(ending, "5 bytes received, 994 more ignored");
}

#[test]
fn the_log_counts_what_came_behind_the_line_early_and_late() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.write_all(b"line\nearly").unwrap();
    // It has shown the line; what comes now is read in the close.
    assert_eq!(server.program.output(), b"line\n");
    client.write_all(&[b'x'; 10_000]).unwrap();
    let address = client.local_addr().unwrap();
    say(&client, b"late").unwrap();
    let ending = server.log_of(address);
    assert_eq!(ending, "4 bytes received, 10009 more ignored");
}

#[test]
fn a_client_without_a_message_is_no_message() {
    let server = Server::start(&["--messages", "1"]);
    let client = server.connect();
    say(&client, b"").unwrap();
    assert_eq!(
        server.log_of(client.local_addr().unwrap()),
        "closed without a message"
    );
    say(&server.connect(), b"\n").unwrap();
    let remains = server.program.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "\n");
}

#[test]
fn shows_a_message_before_it_closes() {
    let log = Scratch::new("shown");
    let server = Server::start_by(server_command().stdout(log.create()));
    for number in 1..=100 {
        say(&server.connect(), b"safe\n").unwrap();
        assert_eq!(
            std::fs::read_to_string(&log.0).unwrap(),
            "safe\n".repeat(number)
        );
    }
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
    let port = taken.port.to_string();
    let remains = Program::start(server_command().args(["-b", "127.0.0.1", "-p", &port])).end();
    assert_eq!(remains.status.code(), Some(1));
    let reason = remains.errors.strip_prefix(&format!(
        "greet-server: cannot listen on 127.0.0.1 port {port}: "
    ));
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
        assert!(remains.errors.starts_with(&format!(
            "greet-server: cannot listen on {host} port 65432: "
        )));
        assert_eq!(remains.errors.lines().count(), 1);
    }
}

#[test]
fn a_message_that_nobody_reads_ends_the_server() {
    let command = &mut server_command();
    command.args(["--bind", "127.0.0.1", "--port", "0"]);
    let server = Server::running(Program::start_without_reader(command));
    let client = server.connect();
    hear_line(&client);
    let heard = say(&client, b"lost\n");
    // Wine, where this runs for Windows, ends the stream before it resets.
    assert!(heard.is_err() || cfg!(windows), "there was a receipt");
    let address = client.local_addr().unwrap();
    let remains = server.program.end();
    assert_eq!(remains.status.code(), Some(1));
    let reason =
        format!("{address} connected\ngreet-server: cannot show the message from {address}: ");
    assert!(remains.errors.starts_with(&reason), "{}", remains.errors);
    assert_eq!(remains.errors.lines().count(), 2);
}

#[cfg(target_os = "linux")] // It has `/dev/full`, which is always full.
#[test]
fn a_full_disk_ends_the_server_and_its_client_is_never_told_that_all_is_well() {
    for _ in 0..10 {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let command = &mut server_command();
        let server = Server::start_by(command.stdout(full.unwrap()));
        let remains = run_client(server.port, b"lost\n");
        assert_eq!(remains.status.code(), Some(3), "{remains:?}");
        assert_eq!(server.program.end().status.code(), Some(1));
    }
}

/// `greet-server`, to be started by a shell that has run `first`.
#[cfg(unix)]
fn server_behind(first: &str) -> Command {
    let script = format!("{first}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", SERVER, "--bind", "127.0.0.1"]);
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[cfg(unix)] // Only there does a limit on a file's size kill.
#[test]
fn a_server_that_is_killed_while_it_shows_a_message_does_not_tell_that_all_is_well() {
    let file = Scratch::new("killed");
    let server = Server::start_by(server_behind("ulimit -f 0").stdout(file.create()));
    let remains = run_client(server.port, b"lost\n");
    assert_eq!(remains.status.code(), Some(3), "{remains:?}");
    assert_eq!(server.program.end().status.code(), None, "a signal");
}

#[test]
fn goes_on_when_standard_error_is_lost() {
    let command = &mut server_command();
    let mut child = command.args(["-p", "0", "-n", "2"]).spawn().unwrap();
    let (line, log) = first_line_of(child.stderr.take().unwrap());
    let program = Program::running(child);
    drop(log);
    let port = port_in(line.trim_end());
    for message in [b"1\n", b"2\n"] {
        say(&connect(port), message).unwrap();
    }
    let remains = program.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "1\n2\n");
}

#[cfg(unix)] // Only there can a shell limit the number of open files.
#[test]
fn logs_a_failed_accept_and_tries_again_without_spinning() {
    // The standard streams and the listener take descriptors 0 to 3, and none is left for a client.
    // An inherited descriptor would be in the way only as number 3, so that one is closed.
    let server = Server::start_by(&mut server_behind("exec 3<&-; ulimit -n 4"));
    let _client = server.connect();
    let refusal = "cannot accept a client: ";
    assert!(server.program.error().starts_with(refusal));
    let first = Instant::now();
    assert!(server.program.error().starts_with(refusal));
    assert!(first.elapsed() > Duration::from_millis(100), "it spins");
}

#[cfg(target_os = "linux")] // There accept(2) fails so only where strace(1), if installed, does it.
#[test]
fn accepts_at_once_behind_clients_that_are_gone_from_the_queue() {
    for error in ["ECONNABORTED", "ECONNRESET"] {
        let gone = format!("inject=accept4:error={error}:when=1..300");
        let Some(mut command) = tampered_with(&server_command(), &gone) else {
            return;
        };
        let server = Server::start_by(command.args(["-b", "127.0.0.1"]));
        // With a pause after each it would take far more than patience.
        say(&server.connect(), b"here\n").unwrap();
        for _ in 0..300 {
            let refusal = server.program.error();
            assert!(refusal.starts_with("cannot accept a client: "), "{refusal}");
        }
        assert!(server.program.error().ends_with(" connected"));
    }
}
