//! The two programs with each other.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::{io, thread};

use crate::peers::{Peer, read_one_line, read_to_end, send, write};
use crate::programs::{
    CLIENT, LONGEST, SERVER, Server, client_to, connect, piped, run, run_client, too_long,
};

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
fn the_first_line_alone_arrives_empty_or_as_long_as_a_line_may_be() {
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
fn a_reply_that_names_the_line_is_the_receipt_for_it() {
    let reply = ["--reply", "kept {line}, not {line}"];
    let server = Server::start(&[&reply[..], &["--greeting", "hello"]].concat());
    for line in ["", "{line}", "caf\u{e9} {peer}", "\u{1b}[31m"] {
        let client = run(
            client_to(server.port).args(reply),
            format!("{line}\n").as_bytes(),
        );
        client.assert_delivered(&format!("hello\nkept {line}, not {{line}}\n"));
    }
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'\n').collect();
    run(client_to(server.port).args(reply), &bytes).assert_status(0);
    // The server stamps what it prints, and not what it replies.
    let server = Server::start(&["--reply", "kept {line}", "--stamp"]);
    run(
        client_to(server.port).args(["-r", "kept {line}"]),
        b"line\n",
    )
    .assert_status(0);
}

#[test]
fn a_reply_that_cannot_be_a_line_is_not_expected_and_not_sent() {
    let reply = ["--reply", "kept {line}"];
    let server = Server::start(&reply);
    let longest = vec![b'm'; LONGEST];
    let greeting = "Connect succeed. Please send a message to me\n";
    let refused = run(client_to(server.port).args(reply), &longest);
    refused.assert_failed(2, greeting, &format!("the expected reply: {}", too_long()));
    assert!(server.program.next_error().ends_with(" connected"));
    let ending = server.program.next_error();
    assert!(ending.ends_with(" closed without a message"), "{ending}");

    run_client(server.port, &longest).assert_delivered(greeting);
    assert!(server.program.next_error().ends_with(" connected"));
    let ending = server.program.next_error();
    let shown = format!(" {LONGEST} bytes received, without a reply");
    assert!(ending.ends_with(&shown), "{ending}");
}

/// Takes one client, and passes on what it and the server send, once it has changed the client's bytes.
fn start_relay(server: u16, change: fn(Vec<u8>) -> Vec<u8>) -> Peer<()> {
    Peer::start(move |client| {
        let server = connect(server);
        let (mut replies, mut client_again) =
            (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = thread::spawn(move || {
            let _ = io::copy(&mut replies, &mut client_again);
            let _ = client_again.shutdown(Shutdown::Write);
        });
        let line = read_one_line(&client);
        write(&server, &change(line));
        let _ = read_to_end(&client);
        let _ = server.shutdown(Shutdown::Write);
        back.join().unwrap();
    })
}

#[test]
fn through_a_relay_that_changes_the_line_only_a_reply_that_names_it_is_true() {
    let server = Server::start(&["--reply", "kept {line}"]);
    let changes: [fn(Vec<u8>) -> Vec<u8>; 6] = [
        |line| [b"PROXY TCP4 192.0.2.7 192.0.2.1 41000 65432\r\n", &line[..]].concat(),
        |line| [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &line[..]].concat(),
        |line| [b"\xff\xfb\0", &line[..]].concat(), // IAC WILL BINARY
        |line| [b"\r\n", &line[..]].concat(),
        |line| {
            line.iter()
                .map(|byte| if *byte == b'\r' { b'\n' } else { *byte })
                .collect()
        },
        |line| line.to_ascii_uppercase(),
    ];
    for change in changes {
        let relay = start_relay(server.port, change);
        let mut client = client_to(relay.port);
        let client = run(client.args(["--reply", "kept {line}"]), b"pay\r1000\n");
        client.assert_status(3);
        relay.end();
        // A fixed text comes for whatever line the server took.
        let fixed = Server::start(&["--reply", "kept"]);
        let relay = start_relay(fixed.port, change);
        run(
            client_to(relay.port).args(["--reply", "kept"]),
            b"pay\r1000\n",
        )
        .assert_status(0);
        relay.end();
        assert_ne!(fixed.program.next_line(), b"pay\r1000\n");
    }
    let relay = start_relay(server.port, |line| line);
    run(
        client_to(relay.port).args(["--reply", "kept {line}"]),
        b"pay\r1000\n",
    )
    .assert_status(0);
    relay.end();
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
