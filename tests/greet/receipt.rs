//! The close is the receipt: whose client ends with 0, that line was shown, whatever happens meanwhile.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::peers::serve_once;
use crate::programs::{
    Program, Remains, Server, client_to, server_command, start_client, tampered_with, under_strace,
};

/// Longer than what one read of the server takes.
const LONG: usize = 20_000;

/// Every system call of a session with a long line, by its name and how many such calls there were
/// since the start. (Closing the socket is not among them, but what comes after it is.)
fn calls_of_a_session() -> impl Iterator<Item = (&'static str, usize)> {
    let calls = [
        ("accept4", 1..=2),
        ("write", 2..=4),
        ("setsockopt", 2..=6),
        ("sendto", 1..=1),
        ("recvfrom", 1..=7),
        ("shutdown", 1..=1),
    ];
    calls
        .into_iter()
        .flat_map(|(name, numbers)| numbers.map(move |number| (name, number)))
}

/// A short time for a client in seconds, and more than that.
const TIMEOUT: &str = "0.5";
const PAST_THE_DEADLINE: Duration = Duration::from_millis(700);

/// Fails if a client's status says more than what came of its line.
fn check(client: &Remains, server: Server, line: &str, moment: &str) -> i32 {
    let output = server.program.stop().output;
    let status = client.status.code().expect("no signal");
    match status {
        0 => assert_eq!(output, line, "{moment}"),
        1 => assert_eq!(output, "", "{moment}: {client:?}"),
        status => assert_eq!(status, 3, "{moment}: {client:?}"),
    }
    status
}

/// Tampers with each call of a session, one in each of many sessions; when the client has typed its
/// line, something happens. Returns the statuses of the clients.
fn tamper_with_each_call(tamper: &str, timeout: &str, happens: fn(&Server)) -> Vec<i32> {
    let line = "x".repeat(LONG) + "\n";
    let run = |moment: String, mut command: Command| {
        let server = Server::start_by(&mut command);
        let mut client = start_client(server.port, &["--timeout", "5"]);
        client.type_in(line.as_bytes());
        happens(&server);
        check(&client.end(), server, &line, &moment)
    };
    let mut command = server_command();
    command.args(["--bind", "127.0.0.1", "--timeout", timeout]);
    let commands = calls_of_a_session().map_while(|(name, number)| {
        let moment = format!("inject={name}:{tamper}:when={number}");
        tampered_with(&command, &moment).map(|command| (moment, command))
    });
    thread::scope(|scope| {
        let runs: Vec<_> = commands
            .map(|(moment, command)| scope.spawn(|| run(moment, command)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

#[test]
fn a_server_killed_at_any_moment_gives_no_receipt_for_a_line_that_it_has_not_shown() {
    let statuses = tamper_with_each_call("signal=KILL", "60", |_| ());
    // Before the line is sent, before it is shown, and after the close.
    for status in [1, 3, 0] {
        assert!(
            statuses.is_empty() || statuses.contains(&status),
            "{status}"
        );
    }
}

#[test]
fn a_server_stopped_at_any_moment_past_its_deadline_gives_no_such_receipt() {
    tamper_with_each_call("signal=STOP", TIMEOUT, |server| {
        thread::sleep(PAST_THE_DEADLINE);
        server.program.signal("CONT");
    });
}

#[test]
fn a_server_interrupted_at_any_moment_shows_the_line_once() {
    let statuses = tamper_with_each_call("error=EINTR", "60", |_| ());
    assert!(statuses.iter().all(|status| *status == 0), "{statuses:?}");
}

#[test]
fn a_server_stopped_while_the_line_comes_gives_no_such_receipt() {
    thread::scope(|scope| {
        for length in [5, 8_191, 8_192, 8_193, 65_536] {
            scope.spawn(move || {
                let server = Server::start(&["--timeout", TIMEOUT]);
                let mut client = start_client(server.port, &["--timeout", "5"]);
                client.output();
                server.program.signal("STOP");
                let line = "x".repeat(length) + "\n";
                client.type_in(line.as_bytes());
                thread::sleep(PAST_THE_DEADLINE);
                server.program.signal("CONT");
                check(&client.end(), server, &line, &format!("{length} bytes"));
            });
        }
    });
}

/// A client whose line the network swallows, while the server's end of the stream comes through, must
/// end with status 3.
#[test]
fn a_client_whose_line_got_lost_waits_for_its_acknowledgement() {
    let (sender, the_line_is_lost) = mpsc::channel();
    let server = serve_once(move |mut server| {
        server.write_all(b"hello\n").unwrap();
        the_line_is_lost.recv().unwrap();
    });
    let mut command = client_to(server.port);
    let options = [
        ["-e", "inject=sendto:retval=3"],
        ["-e", "inject=shutdown:retval=0"],
        ["-e", "trace=sendto,shutdown"],
    ];
    let Some(mut command) = under_strace(command.args(["-t", "0.5"]), &options.concat()) else {
        sender.send(()).unwrap();
        return;
    };
    let mut client = Program::start(&mut command);
    client.type_in(b"hi\n");
    while !client.error().starts_with("shutdown(") {}
    sender.send(()).unwrap();
    server.outcome();
    let remains = client.end();
    assert_eq!(remains.status.code(), Some(3), "{remains:?}");
    assert!(
        remains.errors.ends_with(": timed out after 500ms\n"),
        "{remains:?}"
    );
}
