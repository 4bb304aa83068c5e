//! The tutorials' other systems, with each other and with peers that are not ours.

use std::io::Read;
use std::net::TcpStream;
use std::{thread, time::Duration};

use crate::peers::{
    Peer, closed_address, drip, read_one_line, read_to_end, read_to_end_and_close, reset_after,
    send, wait_for_byte, write,
};
use crate::programs::{Finished, PATIENCE, Server, example, run};

pub fn start(name: &str, seconds: &[&str]) -> Server {
    Server::start_by(example(name).arg("127.0.0.1:0").args(seconds))
}

#[track_caller]
fn talk(port: u16, typed: &str) -> Finished {
    let address = format!("127.0.0.1:{port}");
    run(example("talk").arg(address), typed.as_bytes())
}

/// The program must have failed with one line behind its log, whatever it was told about backtraces.
#[track_caller]
pub fn assert_failed_behind(finished: &Finished, log: usize, reason: &str) {
    finished.assert_status(1);
    let last = finished.stderr.lines().nth(log).unwrap();
    assert!(last.contains(reason), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), log + 1, "{finished:?}");
}

/// Sends some bytes, and receives as many.
#[track_caller]
fn assert_answers(mut client: &TcpStream, bytes: &[u8], answer: &[u8]) {
    let mut answered = vec![0; answer.len()];
    write(client, bytes);
    client.read_exact(&mut answered).unwrap();
    assert_eq!(answered, answer);
}

/// Skips the lines of the log up to one that ends so.
#[track_caller]
fn wait_for_log(server: &Server, ending: &str) {
    while !server.program.next_error().ends_with(ending) {}
}

#[test]
fn the_echo_answers_bytes_without_a_line_end_until_the_half_close() {
    let echo = start("echo", &[]);
    let client = echo.connect();
    for bytes in [&b"hello"[..], b"two words\n\0", "你好".as_bytes(), &[0xff]] {
        assert_answers(&client, bytes, bytes);
    }
    assert_eq!(send(&client, b"the end").unwrap(), b"the end");
    wait_for_log(&echo, " 5 bytes received");
    wait_for_log(&echo, " closed");
}

#[test]
fn the_echo_serves_the_next_client_though_one_resets_or_drips() {
    let echo = start("echo", &["0.5"]);
    let client = echo.connect();
    write(&client, b"some bytes");
    reset_after(client, b"").unwrap();
    drip(&echo.connect(), b".");
    wait_for_log(&echo, " failed: timed out after 500ms");
    assert_answers(&echo.connect(), b"next", b"next");
}

#[test]
fn a_person_talks_to_the_echo_until_exit_or_the_end_of_input() {
    let echo = start("echo", &[]);
    for typed in ["hello\n\ntwo words\nexit\nnot sent\n", "hello\n\ntwo words"] {
        let talk = talk(echo.port, typed);
        talk.assert_ended(0, "hello\n\ntwo words\n");
        let connected = format!("connected to 127.0.0.1:{}\n", echo.port);
        assert_eq!(talk.stderr, connected);
        wait_for_log(&echo, " closed");
    }
}

#[test]
fn a_person_is_kept_alive_until_stop() {
    let server = start("keep_alive", &[]);
    let talk = talk(server.port, "Hello Server!\nstop\nnot sent\n");
    talk.assert_ended(0, "keep alive\nstop\n");
    let connected = server.program.next_error();
    let peer = connected.strip_suffix(" connected").unwrap();
    for said in ["Hello Server!", "stop"] {
        let line = server.program.next_line();
        assert_eq!(line, format!("{peer} {said}\n").as_bytes());
    }
    assert_eq!(server.program.next_error(), format!("{peer} closed"));
    // Behind `stop` the server closes, though this client does not.
    let client = server.connect();
    write(&client, b"stop\n");
    assert_eq!(read_to_end(&client).unwrap(), b"stop\n");
}

#[test]
fn the_eleventh_client_is_served_when_one_of_ten_leaves() {
    let server = start("keep_alive", &[]);
    let mut ten: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    for client in &ten {
        assert_answers(client, b"Hello Server!\n", b"keep alive\n");
        server.program.next_line();
        server.program.next_error();
    }
    let eleventh = server.connect();
    write(&eleventh, b"me, too\n");
    let a_moment = Duration::from_millis(200);
    eleventh.set_read_timeout(Some(a_moment)).unwrap();
    wait_for_byte(&eleventh).expect_err("an eleventh thread");
    eleventh.set_read_timeout(Some(PATIENCE)).unwrap();
    ten.pop();
    assert!(server.program.next_error().ends_with(" closed"));
    assert!(server.program.next_error().ends_with(" connected"));
    assert_eq!(send(&eleventh, b"stop\n").unwrap(), b"keep alive\nstop\n");
}

#[test]
fn a_client_that_leaves_or_is_silent_frees_its_thread() {
    // If each of these kept its thread, no thread would be left for the last.
    let server = start("keep_alive", &[]);
    for _ in 0..5 {
        drop(server.connect());
        reset_after(server.connect(), b"Hello Server!\n").unwrap();
    }
    talk(server.port, "stop\n").assert_ended(0, "stop\n");

    let server = start("keep_alive", &["0.5"]);
    let _silent: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    talk(server.port, "stop\n").assert_ended(0, "stop\n");
}

#[test]
fn each_line_to_keep_alive_has_seconds_of_its_own() {
    let server = start("keep_alive", &["1.5"]);
    let client = server.connect();
    for pause in [0, 800, 800] {
        thread::sleep(Duration::from_millis(pause));
        assert_answers(&client, b"Hello Server!\n", b"keep alive\n");
    }
}

#[test]
fn talk_fails_if_nobody_listens_or_answers() {
    let (address, _held) = closed_address();
    let refused = talk(address.port(), "hello\n");
    assert_failed_behind(&refused, 0, "talk: cannot connect to 127.0.0.1:");

    // An IPv6 address stands in brackets.
    let ipv6 = run(example("talk").arg("[::1]:1"), b"");
    assert_failed_behind(&ipv6, 0, "talk: cannot connect to [::1]:1: ");

    let peer = Peer::start(|server| read_one_line(&server));
    let closed = talk(peer.port, "hello\n");
    assert_failed_behind(&closed, 1, "talk: no answer: closed without an answer");
    assert_eq!(peer.end(), b"hello\n");
}

#[test]
fn talk_closes_in_order() {
    let peer = Peer::start(|server| {
        read_one_line(&server);
        write(&server, b"hi\n");
        let rest = read_to_end(&server).unwrap();
        // What comes behind the half-close would meet a reset if the client had only dropped its socket.
        write(&server, b"good bye\n");
        (rest, read_to_end_and_close(&server))
    });
    talk(peer.port, "hello\nexit\n").assert_ended(0, "hi\n");
    let (rest, ending) = peer.end();
    assert_eq!(rest, b"");
    ending.unwrap();
}

#[test]
fn an_example_that_cannot_listen_or_is_told_nonsense_says_so() {
    let taken = start("echo", &[]);
    let taken = format!("127.0.0.1:{}", taken.port);
    for name in ["echo", "keep_alive", "naive", "talk"] {
        if name != "talk" {
            let failed = run(example(name).arg(&taken), b"");
            assert_failed_behind(&failed, 0, &format!("{name}: "));
        }
        for nonsense in ["nonsense", "127.0.0.1:65536", ":8080", "010.0.0.1:8080", ""] {
            run(example(name).arg(nonsense), b"").assert_status(2);
        }
        run(example(name).args([&taken, "soon"]), b"").assert_status(2);
    }
    run(example("talk").arg("127.0.0.1:0"), b"").assert_status(2);
}
