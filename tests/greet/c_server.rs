//! `loop_server.c`, built outside of the tree by the C compiler of this machine, keeps the promises that it shares with
//! `greet-server`.

use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::{fd::OwnedFd, unix::net::UnixStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::examples::assert_failed_behind;
use crate::experiments::{GREETING, repaired, send_piece, times_asleep, wait_for};
use crate::hostile::{Behaviour, assert_is_greeted_behind};
use crate::needs::has;
use crate::peers::{
    drip, flood, read_one_line, read_to_end, read_to_end_and_close, reset_after, send, write,
};
use crate::programs::{
    LONGEST, MAY_HAVE_ARRIVED, PATIENCE, Program, Server, TRY_AGAIN, connect, piped, run,
    run_client, start_client, try_until,
};
use crate::tampered::{signal, tampered};

static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loop_server");
    // Other runs of the tests may build it, too, or run it.
    let unfinished = program.with_extension(std::process::id().to_string());
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra"]);
    if std::env::var_os("CI").is_some() {
        cc.arg("-Werror");
    }
    cc.arg("src/examples/loop_server.c").arg("-o");
    assert!(cc.arg(&unfinished).status().unwrap().success(), "cc fails");
    fs::rename(unfinished, &program).unwrap();
    program
});

/// The server in C with some arguments, to be started. `None` if it cannot be built here.
pub fn command(arguments: &[&str]) -> Option<Command> {
    has("cc").then(|| {
        let mut command = piped(BUILT.to_str().unwrap());
        command.args(arguments);
        command
    })
}

/// Starts the server in C on a free port. A client may hold it for so many seconds.
pub fn start(seconds: &str) -> Option<Server> {
    Some(Server::start_by(&mut command(&["0", seconds])?))
}

/// Starts the server in C by a shell, which redirects its standard streams.
fn start_redirected(redirections: &str) -> Option<Server> {
    let mut shell = piped("sh");
    shell.args(["-c", &format!("exec \"$0\" 0 {redirections}")]);
    shell.arg(command(&[])?.get_program());
    Some(Server::start_by(&mut shell))
}

/// Starts the server in C with a pipe for its output that nobody reads.
fn start_unread() -> Option<(Server, ChildStdout)> {
    let mut program = command(&["0"])?.spawn().unwrap();
    let output = program.stdout.take().unwrap();
    Some((Server::running(Program::running(program)), output))
}

/// Starts the server in C with some of its system calls tampered with.
fn start_tampered(tamper: &str) -> Option<Server> {
    tampered(&command(&["0"])?, tamper).map(|mut server| Server::start_by(&mut server))
}

/// The port of the client that the log says is connected.
#[track_caller]
fn port_of_next_client(server: &Server) -> u16 {
    let connected = server.program.next_error();
    let address = connected.strip_suffix(" connected").expect(&connected);
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// How many bytes have come to an end of a connection of this machine and were not taken, and whether the
/// other end has half-closed: proc(5), /proc/net/tcp. `None` if there is no such connection.
fn untaken(port: u16, port_of_other_end: u16) -> Option<(u64, bool)> {
    let [here, there] = [port, port_of_other_end].map(|port| format!(":{port:04X}"));
    let connections = fs::read_to_string("/proc/net/tcp").unwrap();
    // There may be thousands, most of which end here.
    let mut lines = connections.lines().filter(|line| line.contains(&there));
    lines.find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields[1].ends_with(&here) && fields[2].ends_with(&there);
        let (_sent, came) = is_it.then_some(fields[4])?.split_once(':')?;
        Some((u64::from_str_radix(came, 16).ok()?, fields[3] == "08"))
    })
}

/// Waits until the server has taken all that a client has sent and its half-close behind that, or is about
/// to take the half-close, and sleeps.
#[track_caller]
fn wait_until_all_is_taken(server: &Server, client_port: u16) {
    wait_for(|| {
        let (bytes, is_half_closed) = untaken(server.port, client_port)?;
        // The half-close counts as a byte.
        (is_half_closed && bytes <= 1).then_some(())
    });
    wait_for(|| times_asleep(&server.program));
}

#[track_caller]
fn assert_serves(server: &Server) {
    let client = server.connect();
    assert_eq!(send(&client, b"still there?\n").unwrap(), GREETING);
    assert_eq!(server.program.next_line(), b"still there?\n");
}

#[test]
fn the_c_server_takes_the_same_lines_as_greet_server_however_they_are_split() {
    let lines: [(&[u8], &[u8]); 9] = [
        (b"one\r\n", b"one"),
        (b"two\0", b"two"),
        (b"\n", b""),
        (b"\0", b""),
        (b"\r\n", b""),
        (b"\r\r\n", b"\r"),
        (b"\r\0", b"\r"),
        (b"\rthree %s\xff\n", b"\rthree %s\xff"),
        // The end of the stream ends it.
        (b"four\r", b"four\r"),
    ];
    thread::scope(|scope| {
        for server in repaired("60") {
            scope.spawn(move || {
                for (sent, shown) in lines {
                    for size in 1..=sent.len() {
                        let client = server.connect();
                        read_one_line(&client);
                        for piece in sent.chunks(size) {
                            send_piece(&server, &client, piece);
                        }
                        if !sent.ends_with(b"\n") && !sent.ends_with(b"\0") {
                            client.shutdown(Shutdown::Write).unwrap();
                        }
                        assert_eq!(read_to_end_and_close(&client).unwrap(), b"");
                        let line = server.program.next_line();
                        assert_eq!(line, [shown, b"\n"].concat(), "{size} at a time");
                    }
                }
            });
        }
    });
}

#[test]
fn the_c_server_refuses_a_line_over_the_limit_with_a_reset() {
    let server = or_skip!(start("60"));
    let longest = vec![b'x'; LONGEST];
    for end in [&b"\n"[..], b"\r\n", b"\0", b""] {
        let client = server.connect();
        let received = send(&client, &[&longest, end].concat());
        assert_eq!(received.unwrap(), GREETING, "{end:?}");
        assert_eq!(
            server.ending_of(&client),
            format!("{LONGEST} bytes received")
        );
        assert_eq!(server.program.next_line(), [&longest[..], b"\n"].concat());
    }
    for excess in [
        &b"x\n"[..],
        b"x",
        b"\r",
        b"\r\0",
        b"\rx",
        b"\r\r\n",
        &longest,
    ] {
        let client = server.connect();
        send(&client, &[&longest, excess].concat()).expect_err("a reset");
        assert_eq!(server.ending_of(&client), "failed: Message too long");
    }
    // The end of this one never comes.
    flood(&server.connect());
    assert_serves(&server);
    assert_eq!(server.program.stop().stdout, "");
}

#[test]
fn the_c_server_tells_greet_client_what_came_of_its_line() {
    let server = or_skip!(start("1"));
    let greeting = std::str::from_utf8(GREETING).unwrap();
    run_client(server.port, b"hello\n").assert_delivered(greeting);
    assert_eq!(server.program.next_line(), b"hello\n");
    // Up to the greeting, nothing was sent: the server closes at its deadline.
    (0..2).for_each(|_| drop(server.program.next_error()));
    let mut late = start_client(server.port, &[]);
    late.next_line();
    let client_port = port_of_next_client(&server);
    wait_for(|| untaken(client_port, server.port).is_none().then_some(()));
    late.type_in(b"late\n");
    late.end().assert_failed(TRY_AGAIN, "", "");
    let ending = server.program.next_error();
    let is_told = ending.ends_with(" failed: Connection timed out");
    assert!(is_told, "{ending}");
    assert_eq!(server.program.stop().stdout, "");
}

#[test]
fn the_c_server_says_of_each_client_how_it_ended() {
    let server = or_skip!(start("60"));
    for (sent, ending) in [
        ("hello\nmore\n", "5 bytes received"),
        ("\n", "0 bytes received"),
        ("", "closed without a message"),
    ] {
        let client = server.connect();
        // Without a message there is nothing to reset, either.
        assert_eq!(send(&client, sent.as_bytes()).unwrap(), GREETING);
        assert_eq!(server.ending_of(&client), ending);
    }
    reset_after(server.connect(), b"half").unwrap();
    port_of_next_client(&server);
    let ending = server.program.next_error();
    assert!(
        ending.ends_with(" failed: Connection reset by peer"),
        "{ending}"
    );
}

#[test]
fn the_c_server_gives_no_receipt_if_it_is_killed_before_the_line_is_shown() {
    // It has a part of the line.
    let server = or_skip!(start("60"));
    let client = server.connect();
    read_one_line(&client);
    send_piece(&server, &client, b"half a line");
    assert_eq!(server.program.stop().stdout, "");
    read_to_end_and_close(&client).expect_err("a reset");

    // It has all of the line, and waits for a reader: a pipe holds 65,536 bytes (pipe(7)).
    let longest = "x".repeat(LONGEST);
    let (server, _output) = start_unread().unwrap();
    let mut client = start_client(server.port, &[]);
    let client_port = port_of_next_client(&server);
    client.type_in(longest.as_bytes());
    wait_until_all_is_taken(&server, client_port);
    server.program.stop();
    client.end().assert_status(MAY_HAVE_ARRIVED);

    // Only the end of the stream ends the line, so nothing is left unread.
    let (server, _output) = start_unread().unwrap();
    let client = server.connect();
    write(&client, longest.as_bytes());
    client.shutdown(Shutdown::Write).unwrap();
    let client_port = client.local_addr().unwrap().port();
    wait_until_all_is_taken(&server, client_port);
    server.program.stop();
    read_to_end_and_close(&client).expect_err("a reset");
}

/// The server must have ended by itself, because it could not print.
#[track_caller]
fn assert_ended(server: Server, reason: &str) {
    let told = format!(": {reason}");
    let finished = server.program.end();
    assert_failed_behind(
        &finished,
        1,
        "loop_server: cannot print the line from 127.0.0.1:",
    );
    assert!(finished.stderr.trim_end().ends_with(&told), "{finished:?}");
}

#[test]
fn the_c_server_ends_with_a_reset_and_status_1_if_it_cannot_print() {
    for line in [&b"hello\n"[..], b"ended by the end of the stream"] {
        let server = or_skip!(start_redirected(">/dev/full"));
        send(&server.connect(), line).expect_err("a reset");
        assert_ended(server, "No space left on device");

        // A pipe would not do: a program that another test starts may hold its other end for a moment.
        let (output, reader) = UnixStream::pair().unwrap();
        reader.shutdown(Shutdown::Both).unwrap();
        let mut server = command(&["0"]).unwrap();
        let server = Server::start_by(server.stdout(OwnedFd::from(output)));
        send(&server.connect(), line).expect_err("a reset");
        assert_ended(server, "Broken pipe");
    }

    // The disk is full only for a moment, and has room for the line end again.
    let server = or_skip!(start_tampered("inject=write:error=ENOSPC:when=3"));
    let longer_than_a_buffer = "x".repeat(20_000) + "\n";
    send(&server.connect(), longer_than_a_buffer.as_bytes()).expect_err("a reset");
    assert_ended(server, "No space left on device");
}

#[test]
fn the_c_server_takes_no_client_for_a_standard_stream_that_is_closed() {
    // The listener would be standard input, and the client's socket standard output.
    let server = or_skip!(start_redirected("<&- >&-"));
    let client = server.connect();
    read_one_line(&client);
    write(&client, b"back to its sender?\n");
    read_to_end(&client).expect_err("a reset");
    assert_ended(server, "Bad file descriptor");

    // The client's socket would be standard error. The port must be known without the log.
    let port = port_in_time_wait().unwrap();
    let mut shell = piped("sh");
    shell.args(["-c", "exec \"$0\" \"$1\" <&- 2>&-"]);
    shell.arg(command(&[]).unwrap().get_program());
    let program = Program::start(shell.arg(port.to_string()));
    wait_for(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    assert_serves(&Server { program, port });
}

/// A port on which the server in C has been, and which it has closed first.
fn port_in_time_wait() -> Option<u16> {
    let server = start("60")?;
    let client = server.connect();
    write(&client, b"line\n");
    read_to_end(&client).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.ending_of(&client), "4 bytes received");
    server.program.stop();
    Some(server.port)
}

#[test]
fn the_c_server_can_be_started_again_at_once() {
    let port = or_skip!(port_in_time_wait()).to_string();
    let again = Server::start_by(&mut command(&[&port]).unwrap());
    assert_serves(&again);
    let other_address = (Ipv4Addr::new(127, 0, 0, 2), again.port);
    TcpStream::connect(other_address).expect_err("it listens on 127.0.0.1 alone");
}

#[test]
fn the_c_server_refuses_arguments_that_make_no_sense_and_a_port_that_is_taken() {
    for nonsense in [
        "",
        "x",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1x",
        "0x1",
        "65536",
        "99999999999999999999",
    ] {
        run(&mut or_skip!(command(&[nonsense])), b"").assert_ended(2, "");
    }
    for nonsense in ["", "0", "-1", "1.5", "1s", "1000001"] {
        run(&mut command(&["0", nonsense]).unwrap(), b"").assert_ended(2, "");
    }
    run(&mut command(&["0", "1", "1"]).unwrap(), b"").assert_ended(2, "");

    let server = start("60").unwrap();
    let taken = server.port.to_string();
    let refused = run(&mut command(&[&taken]).unwrap(), b"");
    let told = format!("loop_server: cannot listen on 127.0.0.1 port {taken}: ");
    assert_failed_behind(&refused, 0, &told);
    assert!(
        refused.stderr.contains("Address already in use"),
        "{refused:?}"
    );
}

#[test]
fn the_c_server_goes_on_after_an_interruption_and_after_a_short_send() {
    // A program that is stopped and goes on finds its wait interrupted (signal(7)).
    let server = or_skip!(start("60"));
    let client = server.connect();
    assert_eq!(read_one_line(&client), GREETING);
    send_piece(&server, &client, b"one ");
    signal(&server.program, "STOP");
    wait_for(|| {
        let status = fs::read_to_string(format!("/proc/{}/status", server.program.id()));
        status.unwrap().contains("State:\tT").then_some(())
    });
    signal(&server.program, "CONT");
    assert_eq!(send(&client, b"line\n").unwrap(), b"");
    assert_eq!(server.program.next_line(), b"one line\n");

    for (tamper, greeting) in [
        ("inject=accept:error=EINTR:when=1", GREETING),
        ("inject=sendto:error=EINTR:when=1", GREETING),
        ("inject=recvfrom:error=EINTR:when=1..3", GREETING),
        // As if 5 bytes had been sent: it must go on behind them.
        ("inject=sendto:retval=5:when=1", &GREETING[5..]),
    ] {
        let server = or_skip!(start_tampered(tamper));
        let client = server.connect();
        assert_eq!(send(&client, b"a line\n").unwrap(), greeting, "{tamper}");
        assert_eq!(server.ending_of(&client), "6 bytes received", "{tamper}");
    }
}

#[test]
fn the_c_server_goes_on_after_a_failed_accept_and_pauses_if_that_may_last() {
    for (error, times, pauses) in [
        ("ECONNABORTED", 300, 0),
        ("ECONNRESET", 300, 0),
        ("EMFILE", 1, 1),
    ] {
        let tamper = format!("inject=accept:error={error}:when=1..{times}");
        let start = Instant::now();
        let server = or_skip!(start_tampered(&tamper));
        assert_serves(&server);
        assert!(start.elapsed() >= Duration::from_secs(pauses), "it spins");
        for _ in 0..times {
            let failure = server.program.next_error();
            assert!(failure.starts_with("cannot accept a client: "), "{failure}");
        }
    }
}

#[test]
fn the_c_server_gives_its_receipt_to_a_client_that_closes_late_too() {
    thread::scope(|scope| {
        for server in repaired("60") {
            scope.spawn(move || {
                let late = server.connect();
                write(&late, b"line\n");
                assert_eq!(read_to_end(&late).unwrap(), GREETING);
                // The server waits for it, and goes on to the next one.
                read_one_line(&server.connect());
                assert_eq!(read_to_end_and_close(&late).unwrap(), b"");
            });
        }
    });
}

#[test]
fn the_c_server_is_not_held_by_a_client_that_stays_behind_its_line() {
    let ways: [Behaviour; 3] = [|_| (), |client| drip(client, b"line\n"), flood];
    thread::scope(|scope| {
        for stay in ways {
            let server = or_skip!(start("60"));
            scope.spawn(move || assert_is_greeted_behind(&server, b"line\n", stay, 0..1_000));
        }
        // At the deadline the reading ends, too.
        let server = start("1").unwrap();
        let time = || {
            let start = Instant::now();
            let slow = server.connect();
            read_one_line(&slow);
            thread::sleep(Duration::from_millis(700));
            write(&slow, b"line\n");
            read_one_line(&server.connect());
            start.elapsed()
        };
        try_until(time, |time| *time < Duration::from_millis(1_300));
    });
}

#[test]
fn the_c_server_lets_a_hundred_clients_wait_and_serves_them_all() {
    let server = or_skip!(start("60"));
    let address = (Ipv4Addr::LOCALHOST, server.port).into();
    let connect = |_| TcpStream::connect_timeout(&address, PATIENCE).expect("room in its queue");
    let clients: Vec<TcpStream> = (0..100).map(connect).collect();
    for client in &clients {
        assert_eq!(send(client, b"line\n").unwrap(), GREETING);
    }
    assert_eq!(server.program.stop().stdout, "line\n".repeat(100));
}

#[test]
fn the_c_server_shows_a_hundred_lines_among_resets_once_each() {
    let server = or_skip!(start("60"));
    let lines: Vec<_> = (0..100).map(|number| format!("good {number}\n")).collect();
    let attacks: [fn(TcpStream); 3] = [
        drop,
        |client| drop(reset_after(client, b"")),
        |client| drop(reset_after(client, b"half a line")),
    ];
    let port = server.port;
    thread::scope(|scope| {
        let good = scope.spawn(|| {
            for line in &lines {
                let received = send(&connect(port), line.as_bytes());
                assert_eq!(received.unwrap(), GREETING, "{line}");
            }
        });
        for attack in attacks.iter().cycle() {
            if good.is_finished() {
                break;
            }
            attack(connect(port));
        }
    });
    assert_eq!(server.program.stop().stdout, lines.concat());
}
