//! What may be typed behind the programs' names, and what they say about it.

use std::process::Command;

use crate::programs::{Program, Server, client_command, client_of, server_command, start_client};

/// The command must end with status 2 and a message about `culprit`, and without a panic.
fn is_refused(command: &mut Command, culprit: &str) {
    let remains = Program::start(command).end();
    assert_eq!(remains.status.code(), Some(2), "{command:?}: {remains:?}");
    assert!(remains.errors.starts_with("error: "), "{remains:?}");
    assert!(remains.errors.contains(culprit), "{remains:?}");
    assert_eq!(remains.output, "");
}

#[test]
fn a_time_out_must_be_a_time() {
    for timeout in [
        "0", "-0", "-1", "nan", "inf", "-inf", "1e300", "1e19", "1e-10", "soon", "",
    ] {
        let option = format!("--timeout={timeout}");
        is_refused(server_command().arg(&option), "--timeout");
        is_refused(client_command().args(["127.0.0.1", &option]), "--timeout");
    }
    is_refused(server_command().args(["--timeout", "-1"]), "--timeout");
}

#[test]
fn any_time_that_the_clock_can_count_will_do() {
    for timeout in ["9e18", "1e9", "3600.5"] {
        let server = Server::start(&["--timeout", timeout]);
        let mut client = start_client(server.port, &["--timeout", timeout]);
        client.type_in(b"hi\n");
        assert!(client.end().status.success());
    }
    let server = Server::start(&["--timeout", "1e-9"]);
    let client = server.connect();
    assert_eq!(
        server.story_of(client.local_addr().unwrap()),
        "failed: timed out after 1ns"
    );
}

#[test]
fn a_port_must_be_a_port() {
    for port in ["65536", "-1", "1.5", "http", ""] {
        is_refused(server_command().args(["--port", port]), "--port");
        is_refused(
            client_command().args(["127.0.0.1", "--port", port]),
            "--port",
        );
    }
    is_refused(
        client_command().args(["127.0.0.1", "--port", "0"]),
        "--port",
    );
}

#[test]
fn a_greeting_must_be_one_line_within_the_limit_for_every_client() {
    let too_long = "x".repeat(65_537);
    let too_long_for_ipv6 = "{peer}".repeat(65_536 / 39 + 1);
    for greeting in [
        "two\nlines",
        "line\n",
        "line\r",
        &too_long,
        &too_long_for_ipv6,
    ] {
        is_refused(
            server_command().args(["--greeting", greeting]),
            "--greeting",
        );
    }
    let server = Server::start(&["--greeting", "-"]);
    assert_eq!(client_of(server.port, b"hi\n").output, "-\n");
    let server = Server::start(&["--greeting", ""]);
    assert_eq!(client_of(server.port, b"hi\n").output, "\n");
}

#[test]
fn the_other_arguments_are_checked_too() {
    for messages in ["0", "-1", "many"] {
        is_refused(
            server_command().args(["--messages", messages]),
            "--messages",
        );
    }
    is_refused(server_command().args(["--bind", ""]), "--bind");
    is_refused(server_command().arg("extra"), "extra");
    is_refused(client_command().arg(""), "HOST");
    is_refused(&mut client_command(), "HOST");
}

#[test]
fn help_and_version_name_the_program() {
    for (name, command) in [
        ("server", server_command as fn() -> _),
        ("client", client_command),
    ] {
        let version = Program::start(command().arg("--version")).end();
        assert!(version.status.success());
        assert_eq!(
            version.output,
            format!("greet-{name} {}\n", env!("CARGO_PKG_VERSION"))
        );
        let help = Program::start(command().arg("--help")).end();
        assert!(help.status.success());
        for part in [
            "Usage: ",
            "Examples:",
            "Exit status:",
            "[default: 65432]",
            "econds",
        ] {
            assert!(help.output.contains(part), "{part} in {}", help.output);
        }
    }
}
