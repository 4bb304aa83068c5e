//! The programs in a terminal, in front of which a person sits.

use std::net::TcpStream;
use std::process::Command;

use crate::needs::has;
use crate::peers::{Peer, read_to_end, send, write};
use crate::programs::{Program, client_to, connect, piped, port_in, server_command};

/// Starts a command in a terminal of its own, made by script(1), or `None` if that is not installed.
/// What is typed in goes to the terminal, and the output is the screen.
fn start_in_terminal(command: &Command) -> Option<Program> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}' ", word.to_str().unwrap()));
    let mut script = piped("script");
    script.args(["-qec", &quoted.collect::<String>(), "/dev/null"]);
    has("script").then(|| Program::start(script.env("SHELL", "/bin/sh")))
}

/// As a server that would turn a terminal's text red: greets, and reads what the client sends, to the end.
fn greet_in_red(server: &TcpStream) -> Vec<u8> {
    write(server, b"\x1b[31mhello\n");
    read_to_end(server).unwrap()
}

#[track_caller]
fn screen(program: &Program) -> String {
    let line = String::from_utf8(program.next_line()).unwrap();
    line.trim_end().into()
}

#[track_caller]
fn greeted_in_terminal(port: u16, options: &[&str]) -> Option<Program> {
    let client = start_in_terminal(client_to(port).args(options))?;
    assert_eq!(screen(&client), format!("connected to 127.0.0.1:{port}"));
    assert_eq!(screen(&client), "\\u{1b}[31mhello");
    Some(client)
}

#[test]
fn a_person_is_told_of_the_connection_and_the_delivery() {
    let server = Peer::start(|server| {
        let received = greet_in_red(&server);
        write(&server, b"thank\x07you\n");
        received
    });
    let mut client = or_skip!(greeted_in_terminal(server.port, &[]));
    client.type_in("你好\n".as_bytes());
    let finished = client.end();
    finished.assert_status(0);
    // What is typed stands before or behind the prompt, as the terminal has it.
    for part in ["> ", "你好\r\n", "thank\\u{7}you\r\n"] {
        assert!(finished.stdout.contains(part), "{finished:?}");
    }
    for empty_line in ["\r\n\r\n", "> \r\n"] {
        assert!(!finished.stdout.contains(empty_line), "{finished:?}");
    }
    assert!(finished.stdout.ends_with("6 bytes delivered\r\n"));
    assert_eq!(server.end(), "你好\n".as_bytes());
}

#[test]
fn after_ctrl_d_at_the_prompt_the_error_starts_its_own_line() {
    // It is typed at once, and after some text that no Enter ends: then it takes two.
    for (keys, error) in [
        (&b"\x04"[..], "no line on standard input"),
        (b"a\0b\x04\x04", "a NUL in the line would end it early"),
    ] {
        let server = Peer::start(|server| greet_in_red(&server));
        let mut client = or_skip!(greeted_in_terminal(server.port, &[]));
        client.press(keys);
        while screen(&client) != format!("greet-client: nothing was sent: {error}") {}
        assert_eq!(client.end().status.code(), Some(2));
        assert_eq!(server.end(), b"");
    }
}

#[test]
fn a_line_that_the_terminal_has_cut_is_refused() {
    for (length, status) in [(4_094, 0), (5_000, 2)] {
        let server = Peer::start(|server| greet_in_red(&server));
        let mut client = or_skip!(greeted_in_terminal(server.port, &[]));
        client.type_in(&["x".repeat(length).as_bytes(), b"\n"].concat());
        let finished = client.end();
        finished.assert_status(status);
        let is_told = finished
            .stdout
            .contains("cuts a line at 4095 bytes: use a pipe");
        assert_eq!(is_told, status == 2, "{finished:?}");
        let received = server.end().len();
        assert_eq!(received, if status == 0 { length + 1 } else { 0 });
    }
}

#[test]
fn a_check_at_a_terminal_tells_where_it_connected_and_has_no_prompt() {
    let server = Peer::start(|server| greet_in_red(&server));
    let client = or_skip!(greeted_in_terminal(server.port, &["--check"]));
    client.end().assert_ended(0, "");
    assert_eq!(server.end(), b"");
}

#[test]
fn a_script_at_a_terminal_is_told_nothing() {
    let server = Peer::start(|server| {
        write(&server, b"hello\n");
        read_to_end(&server).unwrap()
    });
    let mut script = Command::new("sh");
    let client = client_to(server.port);
    script
        .args(["-c", "echo hi | \"$0\" \"$@\""])
        .arg(client.get_program());
    let client = or_skip!(start_in_terminal(script.args(client.get_args())));
    assert_eq!(client.end().stdout, "hello\r\n");
    assert_eq!(server.end(), b"hi\n");
}

#[test]
fn the_server_shows_a_message_so_that_it_gives_the_terminal_no_orders() {
    let server = or_skip!(start_in_terminal(
        server_command().args(["--messages", "1"])
    ));
    let port = port_in(&screen(&server));
    send(&connect(port), b"\x1b[31mred\xff\n").unwrap();
    assert!(screen(&server).ends_with(" connected"));
    assert_eq!(screen(&server), "\\u{1b}[31mred\\xff");
    assert!(screen(&server).ends_with(" 9 bytes received"));
}
