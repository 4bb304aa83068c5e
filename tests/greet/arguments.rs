//! What may be typed behind the programs' names, and what they say about it.

use std::process::Command;

use crate::programs::{Program, Server, client_command, run_client, server_command, start_client};

/// The command must end with status 2 and a message about `culprit`, and without a panic.
fn is_refused(command: &mut Command, culprit: &str) {
    let remains = Program::start(command).end();
    assert_eq!(remains.status.code(), Some(2), "{command:?}: {remains:?}");
    assert!(remains.errors.starts_with("error: "), "{remains:?}");
    assert!(remains.errors.contains(culprit), "{remains:?}");
    assert_eq!(remains.output, "");
}

#[test]
fn a_timeout_must_be_a_number_of_seconds_from_0_001_to_1000000() {
    for timeout in [
        "0",
        "-0",
        "-1",
        "nan",
        "inf",
        "-inf",
        "0.0009",
        "1e-10",
        "1000000.1",
        "1e19",
        "1e300",
        "soon",
        "",
        "1,5",
        "5s",
    ] {
        let option = format!("--timeout={timeout}");
        let reason = "'--timeout <SECONDS>': must be a number of seconds from 0.001 to 1000000";
        is_refused(server_command().arg(&option), reason);
        is_refused(client_command().args(["::1", &option]), reason);
    }
    for negative in ["-1", "-inf", "-.5"] {
        let reason = "must be a number of seconds";
        is_refused(server_command().args(["--timeout", negative]), reason);
        is_refused(client_command().args(["::1", "-t", negative]), reason);
    }
}

#[test]
fn a_timeout_may_be_as_long_and_as_short_as_that() {
    for timeout in ["1000000", "1e6", "3600.5"] {
        let server = Server::start(&["--timeout", timeout]);
        let mut client = start_client(server.port, &["--timeout", timeout]);
        client.type_in(b"hi\n");
        assert!(client.end().status.success());
    }
    let server = Server::start(&["--timeout", "0.001"]);
    let client = server.connect();
    assert_eq!(
        server.log_of(client.local_addr().unwrap()),
        "failed: timed out after 1ms"
    );
}

#[test]
fn a_host_must_be_a_host_without_a_port() {
    for host in [
        "127.0.0.1:65432",
        "localhost:1",
        "[::1]",
        "[::1]:65432",
        "http://localhost/",
        "fe80::1%lo:80",
        "[localhost]",
    ] {
        is_refused(server_command().args(["--bind", host]), "--port");
        is_refused(client_command().arg(host), "--port");
    }
    let reason = "must not be empty";
    is_refused(server_command().args(["--bind", ""]), reason);
    is_refused(client_command().arg(""), reason);
    is_refused(&mut client_command(), "HOST");
    // An address with the interface it is on; no machine has this interface.
    let remains = Program::start(client_command().arg("fe80::1%no-such-interface")).end();
    assert_eq!(remains.status.code(), Some(1), "{remains:?}");
}

#[test]
fn what_was_typed_gives_the_terminal_no_orders() {
    for command in [
        server_command().args(["--bind", "\u{7}bell.invalid"]),
        client_command().arg("\u{7}bell.invalid"),
    ] {
        let remains = Program::start(command).end();
        assert_eq!(remains.status.code(), Some(1), "{remains:?}");
        assert!(remains.errors.contains("\\u{7}bell.invalid port 65432: "));
    }
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
    let too_long_for_ipv6 = "{peer}".repeat(65_536 / 39 + 1);
    for greeting in ["two\nlines", "line\n", "line\r", &too_long_for_ipv6] {
        is_refused(
            server_command().args(["--greeting", greeting]),
            "--greeting",
        );
    }
    let server = Server::start(&["--greeting", "-"]);
    assert_eq!(run_client(server.port, b"hi\n").output, "-\n");
    let server = Server::start(&["--greeting", ""]);
    assert_eq!(run_client(server.port, b"hi\n").output, "\n");
}

#[cfg(not(windows))] // There a command line ends at 32,767 characters.
#[test]
fn a_greeting_may_have_65536_bytes_and_no_more() {
    let longest = "g".repeat(65_536);
    let server = Server::start(&["--greeting", &longest]);
    let client = run_client(server.port, b"hi\n");
    assert!(client.status.success());
    assert_eq!(client.output, longest.clone() + "\n");
    is_refused(
        server_command().args(["--greeting", &(longest + "g")]),
        "--greeting",
    );
}

#[test]
fn the_other_arguments_are_checked_too() {
    for messages in ["0", "-1", "many"] {
        is_refused(
            server_command().args(["--messages", messages]),
            "--messages",
        );
    }
    is_refused(server_command().arg("extra"), "extra");
}

#[test]
fn the_programs_agree_on_the_port() {
    for command in [&mut server_command(), &mut client_command()] {
        let help = Program::start(command.arg("--help")).end().output;
        assert!(help.contains("[default: 65432]"), "{help}");
    }
}

#[test]
fn help_and_version_name_the_program() {
    for (name, command) in [
        ("greet-server", server_command as fn() -> _),
        ("greet-client", client_command),
    ] {
        let version = Program::start(command().arg("--version")).end();
        assert!(version.status.success());
        assert_eq!(
            version.output,
            format!("{name} {}\n", env!("CARGO_PKG_VERSION"))
        );
        let help = Program::start(command().arg("--help")).end();
        assert!(help.status.success());
        for part in [
            &format!("Usage: {name}"),
            " [OPTIONS]",
            "Examples:",
            "Exit status:",
            "-p, --port <PORT>",
            "-t, --timeout <SECONDS>",
            "[default: 60]",
        ] {
            assert!(help.output.contains(part), "{part} in {}", help.output);
        }
    }
}

#[test]
fn the_help_fits_a_terminal_of_80_columns() {
    for command in [&mut server_command(), &mut client_command()] {
        let help = Program::start(command.arg("--help")).end().output;
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }
}
