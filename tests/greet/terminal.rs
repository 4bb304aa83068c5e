//! The programs in a terminal, at which a person sits.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use crate::peers::{greet_and_hear_all, hear_all, say, serve_once};
use crate::programs::{Program, client_to, connect, in_terminal, port_in, server_command};

/// As a server whose greeting would turn a terminal's text red: greets, and hears the client out.
fn greet_in_red(mut server: &TcpStream) -> Vec<u8> {
    server.write_all(b"\x1b[31mhello\n").unwrap();
    hear_all(server).unwrap()
}

/// The next line on the screen.
fn screen(program: &Program) -> String {
    String::from_utf8(program.output())
        .unwrap()
        .trim_end()
        .into()
}

/// A client in a terminal that has greeted its person, and its server's port.
fn greeted_in_terminal(port: u16) -> Option<Program> {
    let client = Program::start(&mut in_terminal(&client_to(port))?);
    assert_eq!(screen(&client), format!("connected to 127.0.0.1:{port}"));
    assert_eq!(screen(&client), "\\u{1b}[31mhello");
    Some(client)
}

#[test]
fn a_person_is_told_where_the_client_connected_and_prompted_and_told_of_the_delivery() {
    let server = serve_once(|mut server| {
        let heard = greet_in_red(&server);
        server.write_all(b"thank\x07you\n").unwrap();
        heard
    });
    let Some(mut client) = greeted_in_terminal(server.port) else {
        return;
    };
    client.type_in("你好\n".as_bytes());
    let remains = client.end();
    assert!(remains.status.success(), "{remains:?}");
    // What is typed stands before or behind the prompt, as the terminal has it.
    for part in ["> ", "你好\r\n", "thank\\u{7}you\r\n"] {
        assert!(remains.output.contains(part), "{remains:?}");
    }
    assert!(remains.output.ends_with("6 bytes delivered\r\n"));
    assert_eq!(server.outcome(), "你好\n".as_bytes());
}

#[test]
fn after_ctrl_d_at_the_prompt_the_error_starts_its_own_line() {
    // At once, and after some text that no Enter ends: then it takes two.
    for (keys, error) in [
        (&b"\x04"[..], "no line on standard input"),
        (b"a\0b\x04\x04", "a NUL in the line would end it early"),
    ] {
        let server = serve_once(|server| greet_in_red(&server));
        let Some(mut client) = greeted_in_terminal(server.port) else {
            return;
        };
        client.type_in(keys);
        let remains = client.end();
        assert_eq!(remains.status.code(), Some(1), "{remains:?}");
        let error = format!("\r\ngreet-client: nothing was sent: {error}\r\n");
        assert!(remains.output.ends_with(&error), "{remains:?}");
        assert_eq!(server.outcome(), b"");
    }
}

#[test]
fn a_script_at_a_terminal_is_told_nothing() {
    let server = serve_once(greet_and_hear_all);
    let mut script = Command::new("sh");
    script.args(["-c", "echo hi | \"$0\" \"$@\""]);
    let client = client_to(server.port);
    script.arg(client.get_program()).args(client.get_args());
    let Some(mut script) = in_terminal(&script) else {
        return;
    };
    let remains = Program::start(&mut script).end();
    assert_eq!(remains.output, "hello\r\n");
    assert_eq!(server.outcome(), b"hi\n");
}

#[test]
fn the_server_shows_a_message_so_that_it_gives_the_terminal_no_orders() {
    let command = &mut server_command();
    let command = command.args(["--bind", "127.0.0.1", "--port", "0", "--messages", "1"]);
    let Some(mut command) = in_terminal(command) else {
        return;
    };
    let server = Program::start(&mut command);
    let port = port_in(&screen(&server));
    say(&connect(port), b"\x1b[31mred\xff\n").unwrap();
    assert!(screen(&server).ends_with(" connected"));
    assert_eq!(screen(&server), "\\u{1b}[31mred\\xff");
    assert!(screen(&server).ends_with(" 9 bytes received"));
}
