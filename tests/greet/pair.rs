//! The two programs with each other.

use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::peers::send;
use crate::programs::{CLIENT, LONGEST, SERVER, Server, client_to, piped, run, run_client};

#[test]
fn a_script_receives_one_line_with_messages_1_with_and_without_a_reply() {
    let greeting = "Connect succeed. Please send a message to me\n";
    for (options, reply) in [(&[][..], ""), (&["--reply", "thanks"], "thanks\n")] {
        let options = [&["-t1000000"], options].concat();
        let server = Server::start(&[&["--messages", "1"], &options[..]].concat());
        // A client without a message does not count.
        send(&server.connect(), b"").unwrap();
        let line = "你好，世界\n";
        let client = run(client_to(server.port).args(options), line.as_bytes());
        client.assert_delivered(&(greeting.to_owned() + reply));
        server.program.end().assert_ended(0, line);
    }
}

#[test]
fn any_bytes_pass_unchanged_in_both_directions() {
    let server = Server::start(&["--greeting", "caf\u{e9}\t\u{1b}[1m \u{202e}"]);
    let line: Vec<u8> = (1..=255).filter(|byte| *byte != b'\n').collect();
    let client = run_client(server.port, &line);
    assert_eq!(client.stdout, "caf\u{e9}\t\u{1b}[1m \u{202e}\n");
    assert_eq!(server.program.next_line(), [&line[..], b"\n"].concat());
}

#[test]
fn the_first_line_alone_arrives_empty_or_of_65536_bytes() {
    let server = Server::start(&[]);
    let longest = "m".repeat(LONGEST);
    for (typed, line) in [
        ("first\r\nsecond\n", "first"),
        ("\nsecond\n", ""),
        ("without an end", "without an end"),
        (&longest, &longest),
    ] {
        run_client(server.port, typed.as_bytes()).assert_status(0);
        assert_eq!(server.program.next_line(), format!("{line}\n").as_bytes());
        assert!(server.program.next_error().ends_with(" connected"));
        // The client ends every line with an LF, whatever ended it on standard input.
        let ending = format!(" {} bytes received", line.len());
        assert!(server.program.next_error().ends_with(&ending), "{typed:?}");
    }
    run_client(server.port, b"cut off\r").assert_status(2);
    assert!(server.program.next_error().ends_with(" connected"));
    let ending = server.program.next_error();
    assert!(ending.ends_with(" closed without a message"), "{ending}");
}

#[test]
fn a_reply_names_the_line_once_byte_for_byte() {
    let options = ["--reply", "kept {line}, not {line}", "--greeting", "hello"];
    let server = Server::start(&options);
    let with_reply = |line: &[u8]| run(client_to(server.port).args(["-r", options[1]]), line);
    for line in ["", "{line}", "caf\u{e9} {peer}"] {
        let reply = format!("hello\nkept {line}, not {{line}}\n");
        with_reply(line.as_bytes()).assert_status(2 * i32::from(line.is_empty()));
        if !line.is_empty() {
            with_reply(line.as_bytes()).assert_delivered(&reply);
        }
    }
    with_reply(b"\n").assert_delivered("hello\nkept , not {line}\n");
    with_reply(b"\xff\n").assert_status(0);
    let other = run(client_to(server.port).args(["-r", "kept other"]), b"line");
    other.assert_failed(
        3,
        "hello\nkept line, not {line}\n",
        "the reply is another one",
    );
}

#[test]
fn a_reply_that_would_be_too_long_is_not_expected_and_not_sent() {
    let options = ["--reply", "kept {line}"];
    let server = Server::start(&options);
    let longest = vec![b'm'; LONGEST];
    let greeting = "Connect succeed. Please send a message to me\n";
    let refused = run(client_to(server.port).args(options), &longest);
    refused.assert_failed(2, greeting, "the expected reply: the line is longer than");
    run_client(server.port, &longest).assert_delivered(greeting);
    let log = || server.program.next_error();
    let [.., refused, _, shown] = [log(), log(), log(), log()];
    assert!(refused.ends_with(" closed without a message"), "{refused}");
    assert!(
        shown.ends_with(&format!(" {LONGEST} bytes received, without a reply")),
        "{shown}"
    );
}

#[test]
fn they_meet_on_ipv6_and_by_name_and_an_ipv4_client_is_shown_as_ipv4() {
    for bind in ["::1", "localhost", "::"] {
        let host = if bind == "::" { "127.0.0.1" } else { bind };
        let Ok(meeting) = TcpListener::bind((bind, 0))
            .and_then(|listener| TcpStream::connect((host, listener.local_addr()?.port())))
        else {
            continue;
        };
        let ip = meeting.local_addr().unwrap().ip();
        let server = Server::start_by(piped(SERVER).args(["-b", bind, "-p0", "-g", "{peer}"]));
        let port = server.port.to_string();
        let client = run(piped(CLIENT).args([host, "-p", &port]), b"over here\n");
        assert_eq!(client.stdout, format!("{ip}\n"), "{client:?}");
        assert_eq!(server.program.next_line(), b"over here\n");
        let logged = server.program.next_error().replace(" connected", "");
        assert_eq!(logged.parse::<SocketAddr>().unwrap().ip(), ip);
    }
}
