//! `greet-server`, seen by its clients and by whoever started it.

use std::io::Write;
use std::time::{Duration, SystemTime};
use std::{fs, fs::File, thread};

use greet::timestamp::timestamp;

use crate::peers::{read_one_line, read_to_end, read_to_end_and_close, send, write};
use crate::programs::{SERVER, Server, TempPath, piped, run, server_command, try_until};

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
    let cases: [(&[u8], &[u8], &str); 7] = [
        (b"hi\r\n", b"hi", "2 bytes received"),
        (b"hi\0", b"hi", "2 bytes received"),
        (b"hi\r", b"hi\r", "3 bytes received, without a line end"),
        (b"hi\nho\n", b"hi", "2 bytes received, 3 more ignored"),
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
fn half_closes_after_the_message_and_counts_what_still_comes() {
    let server = Server::start(&[]);
    // If the end of the stream were that of the close, what is sent after it would not be counted.
    let outcome = || {
        let mut client = server.connect();
        write(&client, b"hi\nearly");
        read_to_end(&client).unwrap();
        thread::sleep(Duration::from_millis(500));
        let _ = client.write_all(&[b'x'; 10_000]);
        let closed = read_to_end_and_close(&client).map_err(|error| error.kind());
        assert_eq!(server.program.next_line(), b"hi\n");
        (server.ending_of(&client), closed)
    };
    let counted = ("2 bytes received, 10005 more ignored".into(), Ok(vec![]));
    let _ = try_until(outcome, |outcome| *outcome == counted);
}

#[test]
fn replies_once_the_message_is_shown() {
    let file = TempPath::new("replied");
    let mut command = server_command();
    let command = command.args(["--reply", "thanks", "--greeting", "hello"]);
    let server = Server::start_by(command.stdout(File::create(&file.0).unwrap()));
    let client = server.connect();
    write(&client, b"hi\n");
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
    let server = Server::start_by(server_command().stdout(File::create(&log.0).unwrap()));
    for number in 1..=100 {
        send(&server.connect(), b"safe\n").unwrap();
        assert_eq!(fs::read_to_string(&log.0).unwrap(), "safe\n".repeat(number));
    }
}

#[test]
fn an_address_that_cannot_be_had_is_an_error_with_the_reason() {
    let taken = Server::start(&[]);
    // The last is too long for a name, so no name server is asked. It gives the terminal no orders.
    let no_name = "\u{202e}".to_owned() + &"x".repeat(64);
    for (host, port) in [
        ("127.0.0.1", taken.port),
        ("192.0.2.200", 65_432),
        (&no_name, 65_432),
    ] {
        let mut command = piped(SERVER);
        let server = run(command.args(["-b", host, "-p", &port.to_string()]), b"");
        server.assert_ended(1, "");
        let host = host.replace('\u{202e}', "\\u{202e}");
        let step = format!("greet-server: cannot listen on {host} port {port}: ");
        let reason = server.stderr.strip_prefix(&step).expect(&server.stderr);
        assert_eq!(reason.lines().count(), 1);
        assert!(reason.starts_with(char::is_alphabetic), "{reason}");
    }
}

#[cfg(unix)] // A standard stream may be a socket there. Shutting it down takes its reader away, whoever has a copy.
mod lost_streams {
    use std::net::Shutdown;
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    use std::time::Instant;

    use super::*;
    use crate::programs::{PATIENCE, Program, connect, port_in};

    #[test]
    fn a_server_with_too_many_files_pauses_between_its_tries() {
        // Three standard streams, and the listener.
        let mut command = piped("sh");
        let script = "ulimit -n 4; exec \"$0\" --bind 127.0.0.1 --port 0";
        // Linux looks for a free descriptor first, so `accept` fails before anybody has come.
        let start = Instant::now();
        let server = Server::start_by(command.args(["-c", script, SERVER]));
        let _waiting = server.connect();
        let told = || {
            server
                .program
                .next_error()
                .starts_with("cannot accept a client: ")
        };
        assert!(told());
        assert!(told());
        let pause = Duration::from_millis(900)..PATIENCE;
        assert!(pause.contains(&start.elapsed()), "it spins");
    }

    #[test]
    fn goes_on_when_standard_error_is_lost() {
        let (log, reader) = UnixStream::pair().unwrap();
        let mut command = server_command();
        command.args(["--messages", "2"]).stderr(OwnedFd::from(log));
        let program = Program::start(&mut command);
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        let listening = String::from_utf8(read_one_line(&reader)).unwrap();
        reader.shutdown(Shutdown::Both).unwrap();
        for message in [b"1\n", b"2\n"] {
            send(&connect(port_in(listening.trim_end())), message).unwrap();
        }
        program.end().assert_ended(0, "1\n2\n");
    }
}
