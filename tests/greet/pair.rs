//! The two programs with each other.

use std::net::Ipv4Addr;

use crate::programs::{Program, Server, client_command, run_client, server_command};

#[test]
fn the_client_prints_the_greeting_and_the_server_prints_the_line() {
    let server = Server::start(&[]);
    let client = run_client(server.port, "你好，世界\n".as_bytes());
    assert!(client.status.success());
    assert_eq!(
        client.output,
        "Connect succeed. Please send a message to me\n"
    );
    assert_eq!(client.errors, "");
    assert_eq!(server.program.output(), "你好，世界\n".as_bytes());
}

#[test]
fn any_bytes_pass_unchanged_in_both_directions() {
    let server = Server::start(&["--greeting", "caf\u{e9}\t\u{1b}[1m \u{202e}"]);
    let mut line: Vec<u8> = (1..=255).filter(|byte| *byte != b'\n').collect();
    line.push(b'\n');
    let client = run_client(server.port, &line);
    assert!(client.status.success());
    assert_eq!(client.output, "caf\u{e9}\t\u{1b}[1m \u{202e}\n");
    assert_eq!(server.program.output(), line);
}

#[test]
fn only_the_first_line_of_standard_input_is_sent() {
    let server = Server::start(&[]);
    assert!(
        run_client(server.port, b"first\r\nsecond\n")
            .status
            .success()
    );
    assert!(run_client(server.port, b"\nsecond\n").status.success());
    assert!(run_client(server.port, b"without an end").status.success());
    assert_eq!(server.program.output(), b"first\n");
    assert_eq!(server.program.output(), b"\n");
    assert_eq!(server.program.output(), b"without an end\n");
}

#[test]
fn a_message_of_65536_bytes_passes_whole() {
    let longest = "m".repeat(65_536);
    let server = Server::start(&[]);
    assert!(run_client(server.port, longest.as_bytes()).status.success());
    assert_eq!(server.program.output(), (longest + "\n").as_bytes());
}

#[test]
fn a_script_receives_one_line_with_messages_1() {
    let server = Server::start(&["--messages", "1"]);
    assert!(
        run_client(server.port, b"for the script\n")
            .status
            .success()
    );
    let remains = server.program.end();
    assert!(remains.status.success());
    assert_eq!(remains.output, "for the script\n");
}

#[test]
fn they_meet_on_ipv6_and_by_name() {
    for (bind, host) in [("::1", "::1"), ("localhost", "localhost")] {
        let server =
            Server::start_by(server_command().args(["--bind", bind, "-g", "hello {peer}"]));
        let port = server.port.to_string();
        let mut client = Program::start(client_command().args([host, "-p", &port]));
        client.type_in(b"over here\n");
        let client = client.end();
        assert!(client.status.success(), "{client:?}");
        assert!(["hello ::1\n", "hello 127.0.0.1\n"].contains(&client.output.as_str()));
        assert_eq!(server.program.output(), b"over here\n");
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_server_is_shown_as_ipv4() {
    let server = Server::start_by(server_command().args(["--bind", "::", "-g", "{peer}"]));
    let Ok(client) = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)) else {
        return; // Here IPv6 sockets are for IPv6 only.
    };
    assert_eq!(crate::peers::say(&client, b"hi\n").unwrap(), b"127.0.0.1\n");
    assert_eq!(
        server.log_of(client.local_addr().unwrap()),
        "2 bytes received"
    );
}

#[test]
fn an_empty_line_arrives_as_an_empty_message() {
    let server = Server::start(&["--messages", "1"]);
    assert!(run_client(server.port, b"\n").status.success());
    assert_eq!(server.program.end().output, "\n");
}
