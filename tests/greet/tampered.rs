//! The system fails, or stops a program, at a moment that strace(1) chooses. Whatever happens, the close
//! is the receipt: if a client ends with status 0, its line was shown.

use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::needs::has;
use crate::peers::{Peer, flood, read_one_line, read_to_end, read_to_end_and_close, send, write};
use crate::programs::{
    CLIENT, Finished, LONGEST, MAY_HAVE_ARRIVED, PATIENCE, Program, SERVER, Server, TRY_AGAIN,
    client_to, example, piped, run, run_client, server_command, start_client,
};

/// Longer than what one read of the server takes.
const LONG: usize = 20_000;
/// How many sessions run at the same time: each holds several files.
const AT_ONCE: usize = 10;
const TIMEOUT: &str = "0.3";
const PAST_THE_TIMEOUT: Duration = Duration::from_millis(450);

/// The command under strace(1), or `None` if that cannot trace here.
fn under_strace(command: &Command, options: &[&str]) -> Option<Command> {
    let mut strace = piped("strace");
    // With -D the program itself, and not strace, is what the test starts and stops.
    strace.args(["-D", "-qq"]).args(options);
    strace.arg(command.get_program()).args(command.get_args());
    has("strace").then_some(strace)
}

/// The command with some of its system calls tampered with, or `None` if that cannot be done here.
pub fn tampered(command: &Command, tamper: &str) -> Option<Command> {
    under_strace(command, &["-o", "/dev/null", "-e", tamper])
}

/// Starts a server with some of its system calls tampered with.
fn start_tampered_server(tamper: &str) -> Option<Server> {
    tampered(&server_command(), tamper).map(|mut command| Server::start_by(&mut command))
}

/// Sends a signal to a program, if it is still there.
pub fn signal(program: &Program, name: &str) {
    let kill = format!("kill -s {name} {}", program.id());
    Command::new("sh").args(["-c", &kill]).output().unwrap();
}

/// Waits until a signal has stopped the program: proc(5), the state in /proc/PID/stat. A traced program has
/// that state for a moment at each call, too, so it must last.
fn wait_until_stopped(program: &Program) {
    let start = Instant::now();
    let mut times_in_a_row = 0;
    while times_in_a_row < 20 {
        assert!(start.elapsed() < PATIENCE, "it does not stop");
        let state = fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
        let is_stopped = state.contains(") T ") || state.contains(") t ");
        times_in_a_row = if is_stopped { times_in_a_row + 1 } else { 0 };
        thread::sleep(Duration::from_millis(5));
    }
}

/// Fails if a client's status says more than what came of its line.
#[track_caller]
fn assert_status_is_true(client: &Finished, server: Server, line: &str, moment: &str) -> i32 {
    let stdout = server.program.stop().stdout;
    let status = client.status.code().expect("no signal");
    match status {
        0 => assert_eq!(stdout, line, "{moment}"),
        1 => assert_eq!(stdout, "", "{moment}: {client:?}"),
        status => assert_eq!(status, 3, "{moment}: {client:?}"),
    }
    status
}

/// Tampers with each call of a session with a long line, one in each of many sessions. When the client has
/// typed its line, something happens. Returns the statuses of the clients.
fn tamper_with_each_call(tamper: &str, timeout: &str, happens: fn(&Server)) -> Vec<i32> {
    let line = "x".repeat(LONG) + "\n";
    let mut command = server_command();
    command.args(["--timeout", timeout]);
    if tampered(&command, "inject=none").is_none() {
        return Vec::new();
    }
    // Closing the socket is not among them, but what comes after it is.
    let calls = "accept4 1, accept4 2, write 2, write 3, write 4, sendto 1, shutdown 1, \
                 setsockopt 2, setsockopt 3, setsockopt 4, setsockopt 5, setsockopt 6, \
                 recvfrom 1, recvfrom 2, recvfrom 3, recvfrom 4, recvfrom 5, recvfrom 6, recvfrom 7";
    let calls = Mutex::new(calls.split(", "));
    let next_call = || calls.lock().unwrap().next();
    let statuses = Mutex::new(Vec::new());
    let run_sessions = || {
        while let Some((call, number)) = next_call().and_then(|call| call.split_once(' ')) {
            let moment = format!("inject={call}:{tamper}:when={number}");
            let server = Server::start_by(&mut tampered(&command, &moment).unwrap());
            let mut client = start_client(server.port, &["--timeout", "5"]);
            client.type_in(line.as_bytes());
            happens(&server);
            let status = assert_status_is_true(&client.end(), server, &line, &moment);
            statuses.lock().unwrap().push(status);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| _ = scope.spawn(run_sessions)));
    statuses.into_inner().unwrap()
}

#[test]
fn a_server_killed_at_any_moment_gives_no_false_receipt() {
    let statuses = tamper_with_each_call("signal=KILL", "60", |_| ());
    // Before the line is sent, before it is shown, and after the close.
    let has_all = [1, 3, 0].iter().all(|status| statuses.contains(status));
    assert!(statuses.is_empty() || has_all, "{statuses:?}");
}

#[test]
fn a_server_stopped_past_its_deadline_gives_no_false_receipt() {
    tamper_with_each_call("signal=STOP", TIMEOUT, |server| {
        thread::sleep(PAST_THE_TIMEOUT);
        signal(&server.program, "CONT");
    });
}

#[test]
fn a_server_interrupted_at_any_moment_shows_the_line_once() {
    let statuses = tamper_with_each_call("error=EINTR", "60", |_| ());
    assert!(statuses.iter().all(|status| *status == 0), "{statuses:?}");
}

#[test]
fn an_interrupted_echo_goes_on() {
    // Twice the look at the bytes; and both the look and the read that takes them.
    for calls in ["1..2", "1+2"] {
        let interrupt = format!("inject=recvfrom:error=EINTR:when={calls}");
        let mut echo = or_skip!(tampered(example("echo").arg("127.0.0.1:0"), &interrupt));
        let echo = Server::start_by(&mut echo);
        assert_eq!(send(&echo.connect(), b"hello").unwrap(), b"hello");
    }
}

#[test]
fn a_look_that_counts_too_many_bytes_makes_nobody_wait() {
    // As if urgent data had come at that moment: it says 3 NULs, which end a line, and 1 byte is there.
    let too_many = "inject=recvfrom:retval=3:when=1";
    let mut command = server_command();
    // The next client waits for less than this.
    command.args(["--timeout", "60"]);
    let server = Server::start_by(&mut or_skip!(tampered(&command, too_many)));
    let client = server.connect();
    read_one_line(&client);
    write(&client, b"x");
    read_one_line(&server.connect());
}

#[test]
fn a_line_that_cannot_be_taken_from_the_system_ends_its_session() {
    // It can be looked at, and then nothing can be read any more.
    let fails = "inject=recvfrom:error=EIO:when=2+";
    let server = or_skip!(start_tampered_server(fails));
    let client = server.connect();
    write(&client, b"hi\n");
    assert_eq!(server.ending_of(&client), "2 bytes received");
}

#[test]
fn a_reply_that_nobody_takes_holds_the_server_no_longer_than_a_close() {
    // The greeting goes out, and then the send buffer is full for ever. The deadline is a minute away.
    let full = "inject=sendto:error=EAGAIN:when=2+";
    let mut command = server_command();
    command.args(["--reply", "kept {line}"]);
    let server = Server::start_by(&mut or_skip!(tampered(&command, full)));
    let client = server.connect();
    write(&client, b"hi\n");
    let ending = server.ending_of(&client);
    assert_eq!(ending, "2 bytes received, without a reply");
}

#[test]
fn a_last_look_ends_though_each_read_takes_its_time() {
    // Up to its bound in bytes, the look would take minutes.
    let slow = "inject=recvfrom:delay_enter=20000";
    let mut command = server_command();
    command.args(["--timeout", TIMEOUT]);
    let server = Server::start_by(&mut or_skip!(tampered(&command, slow)));
    let client = server.connect();
    write(&client, b"line\n");
    thread::scope(|scope| {
        scope.spawn(|| flood(&client));
        read_one_line(&server.connect());
    });
    assert_eq!(server.program.next_line(), b"line\n");
}

#[test]
fn a_server_stopped_while_the_line_comes_gives_no_false_receipt() {
    thread::scope(|scope| {
        for length in [5, 8_191, 8_192, 8_193, LONGEST] {
            scope.spawn(move || {
                let server = Server::start(&["--timeout", TIMEOUT]);
                let mut client = start_client(server.port, &["--timeout", "5"]);
                client.next_line();
                signal(&server.program, "STOP");
                let line = "x".repeat(length) + "\n";
                client.type_in(line.as_bytes());
                thread::sleep(PAST_THE_TIMEOUT);
                signal(&server.program, "CONT");
                let moment = format!("{length} bytes");
                assert_status_is_true(&client.end(), server, &line, &moment);
            });
        }
    });
}

#[test]
fn what_has_come_is_read_though_the_server_was_stopped_in_its_close() {
    let stop = "inject=setsockopt:signal=STOP:when=4";
    let server = or_skip!(start_tampered_server(stop));
    let client = server.connect();
    let more_than_one_read = "more\n".repeat(4_000);
    write(
        &client,
        ("line\n".to_owned() + &more_than_one_read).as_bytes(),
    );
    // The end of the stream comes just before the call that stops the server.
    read_to_end(&client).unwrap();
    wait_until_stopped(&server.program);
    // The close waits for less than this.
    thread::sleep(Duration::from_millis(800));
    signal(&server.program, "CONT");
    let ending = server.ending_of(&client);
    assert_eq!(ending, "4 bytes received, 20000 more ignored");
    assert_eq!(read_to_end_and_close(&client).unwrap(), b"", "a reset");
}

#[test]
fn no_wait_is_begun_for_which_no_deadline_can_be_set() {
    let fail = "inject=setsockopt:error=EPERM:when=2+";
    let server = or_skip!(start_tampered_server(fail));
    for silent in [server.connect(), server.connect()] {
        let ending = server.ending_of(&silent);
        assert_eq!(ending, "failed: Operation not permitted (os error 1)");
    }
    let silent = Peer::start(|server| read_to_end(&server));
    let mut client = tampered(&client_to(silent.port), "inject=setsockopt:error=EPERM").unwrap();
    let reason = ": Operation not permitted (os error 1)\n";
    run(&mut client, b"hi\n").assert_failed(TRY_AGAIN, "", reason);

    // On macOS this is no failure: both directions are shut down, and nothing waits.
    let shut_down = "inject=setsockopt:error=EINVAL:when=2+";
    let server = start_tampered_server(shut_down).unwrap();
    run_client(server.port, b"hi\n").assert_status(0);
}

#[test]
fn goes_on_after_a_failed_accept_and_pauses_if_the_failure_may_last() {
    // With a pause after each of 300 it would take far more than patience. EMFILE lasts until a file is closed.
    for (error, times, pauses) in [
        ("ECONNABORTED", 300, 0),
        ("ECONNRESET", 300, 0),
        ("EMFILE", 1, 1),
    ] {
        let fail = format!("inject=accept4:error={error}:when=1..{times}");
        let start = Instant::now();
        let server = or_skip!(start_tampered_server(&fail));
        send(&server.connect(), b"here\n").unwrap();
        assert!(start.elapsed() >= Duration::from_secs(pauses), "it spins");
        for _ in 0..times {
            let refusal = server.program.next_error();
            assert!(refusal.starts_with("cannot accept a client: "), "{refusal}");
        }
        assert!(server.program.next_error().ends_with(" connected"));
    }
}

#[test]
fn a_lost_connection_is_status_1_before_the_line_is_sent_and_3_behind() {
    let reset = "Connection reset by peer (os error 104)\n";
    // That the peer's system no longer answers is not the deadline, which is reported otherwise.
    let lost = ": Connection timed out (os error 110)\n";
    // The system tells a reset behind the end of the stream only as SO_ERROR. 104 is ECONNRESET.
    let reset_behind = "getsockopt:poke_exit=@arg4=68000000";
    // A sandbox that forbids getpeername(2) hides whether all is acknowledged.
    let forbidden = "getpeername:error=EPERM";
    // On Windows ECONNABORTED is an ordinary loss. From `ask`, it says that nothing was sent.
    #[rustfmt::skip] // A table.
    let cases = [
        ("recvfrom:error=ECONNRESET:when=1", "", 1, "", reset),
        ("recvfrom:error=ECONNRESET:when=2", "", 1, "hello\n", reset),
        ("recvfrom:error=ETIMEDOUT:when=1", "", 1, "", lost),
        ("sendto:error=ECONNRESET", "", 3, "hello\n", reset),
        (reset_behind, "", 3, "hello\n", reset),
        (forbidden, "", 3, "hello\n", "not permitted"),
        ("recvfrom:error=ECONNABORTED:when=2", "-rthanks", 1, "hello\n", "abort"),
        ("recvfrom:error=ECONNABORTED:when=3", "-rthanks", 3, "hello\n", "abort"),
    ];
    for (tamper, options, status, stdout, reason) in cases {
        let server = Peer::start(|server| {
            write(&server, b"hello\n");
            read_to_end(&server).unwrap_or_default()
        });
        let mut client = client_to(server.port);
        client.args(options.split_whitespace());
        let mut client = or_skip!(tampered(&client, &format!("inject={tamper}")));
        let client = run(&mut client, b"hi\n");
        client.assert_failed(status, stdout, reason);
        let is_told = client.stderr.contains(": no receipt from 127.0.0.1:");
        assert_eq!(is_told, status == MAY_HAVE_ARRIVED, "{client:?}");
        assert!(server.end().is_empty() || is_told, "{client:?}");
    }
}

#[test]
fn the_log_says_what_came_of_a_greeting_or_a_reply_that_could_not_be_sent() {
    for (tamper, ending) in [
        ("EPIPE:when=1", "closed without a message"),
        ("ECONNABORTED:when=1", "closed without a message"),
        ("EPIPE:when=2", "2 bytes received, without a reply"),
    ] {
        let tamper = format!("inject=sendto:error={tamper}");
        let mut command = server_command();
        let mut command = or_skip!(tampered(command.args(["--reply", "thanks"]), &tamper));
        let server = Server::start_by(&mut command);
        let client = server.connect();
        let _ = send(&client, b"hi\n");
        assert_eq!(server.ending_of(&client), ending);
    }
}

#[test]
fn a_reply_that_is_late_or_fails_costs_no_receipt() {
    // The line is the third thing that is written, and takes longer than the client has. The greeting is
    // the first that is sent, and the reply the second.
    let late = ("inject=write:delay_exit=1200000:when=3", "1");
    let fails = ("inject=sendto:error=EPIPE:when=2", "60");
    let reply = ["--reply", "kept {line}"];
    let start = |(tamper, timeout): (&str, &str)| {
        let mut command = server_command();
        command.args(reply).args(["--timeout", timeout]);
        tampered(&command, tamper).map(|mut command| Server::start_by(&mut command))
    };
    thread::scope(|scope| {
        for way in [late, fails] {
            let foreign = or_skip!(start(way));
            scope.spawn(move || {
                let client = foreign.connect();
                assert!(!send(&client, b"hi\nmore").unwrap().ends_with(b"hi\n"));
                let ending = "2 bytes received, 4 more ignored, without a reply";
                assert_eq!(foreign.ending_of(&client), ending);
            });
            for (options, status) in [(&[][..], 0), (&reply[..], 3)] {
                let server = start(way).unwrap();
                scope.spawn(move || {
                    let client = run(client_to(server.port).args(options), b"hi\n");
                    client.assert_status(status);
                    assert_eq!(server.program.next_line(), b"hi\n");
                });
            }
        }
    });
}

#[test]
fn a_flood_while_the_line_is_typed_ends_with_what_a_line_may_have() {
    let server = Peer::start(|server| {
        write(&server, b"hello\n");
        flood(&server);
    });
    // Each read takes its time, so the flood never pauses for the client.
    let slow = "inject=recvfrom:delay_enter=5000";
    let mut client = or_skip!(tampered(&client_to(server.port), slow));
    let client = run(&mut client, b"hi\n");
    client.assert_failed(TRY_AGAIN, "hello\n", "the server had said too much");
    server.end();
}

#[test]
fn a_reset_behind_the_end_of_the_stream_is_no_receipt() {
    let server = Peer::start(|server| {
        write(&server, b"hello\n");
        server
    });
    // When the client has seen that the server waits, its line is held back for a moment, and meets a server
    // that has closed.
    let options = "-e inject=sendto:delay_enter=300000 -e trace=sendto,recvfrom";
    let options: Vec<&str> = options.split(' ').collect();
    let mut client = or_skip!(under_strace(&client_to(server.port), &options));
    let mut client = Program::start(&mut client);
    assert_eq!(client.next_line(), b"hello\n");
    let server = server.end();
    client.type_in(b"hi\n");
    while !client.next_error().contains("EAGAIN") {}
    drop(server);
    client.end().assert_status(3);
}

/// Starts a script in a network of its own, with a link-local address and an empty /mnt. `$0` is
/// `greet-client`, and `$1` is `greet-server`. `None` if that cannot be done here.
fn start_in_own_network(script: &str) -> Option<Program> {
    let network =
        "ip link set lo up && ip addr add fe80::1/64 dev lo nodad && mount -t tmpfs none /mnt";
    let mut command = piped("unshare");
    command.args(["-rmn", "sh", "-c", &format!("{network} && {script}")]);
    command.arg(CLIENT).arg(SERVER);
    has("a network of their own").then(|| Program::start(&mut command))
}

#[test]
fn a_connection_to_itself_is_refused_and_leaves_the_port_free() {
    // In this network the system has one port for outgoing connections, and nobody listens on it.
    let script = "echo 45678 45678 >/proc/sys/net/ipv4/ip_local_port_range
                  for host in 127.0.0.1 0.0.0.0 ::1; do
                    \"$0\" -p 45678 $host </dev/null; echo $?
                  done
                  exec \"$1\" -p 45678 -b ::";
    let program = or_skip!(start_in_own_network(script));
    for _ in 0..3 {
        let refused = program.next_error();
        let is_told = refused.ends_with(" port 45678: connection refused");
        assert!(is_told, "{refused}");
        assert_eq!(program.next_line(), b"1\n");
    }
    assert_eq!(program.next_error(), "listening on [::]:45678");
}

#[test]
fn a_link_local_client_keeps_its_interface_in_the_log() {
    // The server may not listen yet, and the system may need a moment until a new address can be reached.
    let script = "\"$1\" -b fe80::1%lo -n 1 & server=$!
                  for _ in 1 2 3 4 5 6 7 8 9 10; do
                    echo hi | \"$0\" fe80::1%lo; s=$?
                    [ $s -eq 1 ] || break
                    sleep 0.5
                  done
                  [ $s -eq 0 ] || kill $server; wait";
    let program = or_skip!(start_in_own_network(script));
    let finished = program.end();
    let logged = finished.stderr.lines().last().unwrap_or_default();
    assert!(logged.starts_with("[fe80::1%1]:"), "{finished:?}");
    assert!(logged.ends_with(" 2 bytes received"), "{finished:?}");
}

/// The network swallows the line of this client, while the server's end of the stream comes through.
#[test]
fn a_client_whose_line_got_lost_waits_for_its_acknowledgement() {
    let (sender, the_line_is_lost) = mpsc::channel();
    let server = Peer::start(move |server| {
        write(&server, b"hello\n");
        the_line_is_lost.recv().unwrap();
    });
    let mut command = client_to(server.port);
    let tamper = "-e inject=sendto:retval=3 -e inject=shutdown:retval=0 -e trace=sendto,shutdown";
    let options: Vec<&str> = tamper.split(' ').collect();
    let Some(mut command) = under_strace(command.args(["-t", "1"]), &options) else {
        return sender.send(()).unwrap();
    };
    let mut client = Program::start(&mut command);
    client.type_in(b"hi\n");
    while !client.next_error().starts_with("shutdown(") {}
    sender.send(()).unwrap();
    server.end();
    let finished = client.end();
    finished.assert_status(3);
    let is_told = finished.stderr.ends_with(": timed out after 1s\n");
    assert!(is_told, "{finished:?}");
}

#[test]
fn names_the_address_of_a_name_when_it_does_not_answer() {
    let script = "echo 127.0.0.1 one.test >/mnt/hosts && mount --bind /mnt/hosts /etc/hosts &&
                  \"$0\" -p 1 one.test </dev/null";
    let program = or_skip!(start_in_own_network(script));
    let told = ": cannot connect to one.test port 1: 127.0.0.1: Connection refused (os error 111)";
    let failed = program.next_error();
    assert!(failed.ends_with(told), "{failed}");
}

#[test]
fn every_address_of_a_name_is_tried_in_turn() {
    // Whichever the system names first, the server listens on the other one once.
    let script = "printf '127.0.0.1 two.test\\n127.0.0.2 two.test\\n' >/mnt/hosts
                  mount --bind /mnt/hosts /etc/hosts
                  for address in 127.0.0.1 127.0.0.2; do
                    rm -f /mnt/log
                    \"$1\" -b $address -n 1 2>/mnt/log & server=$!
                    until grep -qs '^listening ' /mnt/log; do sleep 0.01; done
                    echo $address | \"$0\" two.test >/dev/null || echo failed
                    kill $server; wait
                  done";
    let finished = or_skip!(start_in_own_network(script)).end();
    finished.assert_ended(0, "127.0.0.1\n127.0.0.2\n");
}
