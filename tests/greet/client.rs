//! `greet-client`, at servers good and bad that are not ours. Most tests are the script of one exchange.

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{
    closed_address, drip, flood, listener, read_one_line, read_to_end, read_to_end_and_close,
    wait_for_byte, write,
};
use crate::programs::{
    CLIENT, Finished, LONGEST, MAY_HAVE_ARRIVED, PATIENCE, Program, REFUSED, TRY_AGAIN, client_to,
    piped, run, run_client, too_long, with_patience,
};

use Step::{
    Drips, EndsInOrder, Floods, GivesAMoment, HalfCloses, Hears, HearsAll, LeavesUnread,
    OutlastsTheDeadline, Prints, Says, Takes, Types, TypesTooMuch,
};

/// Enough for a client to connect and be greeted, even on a machine that stalls.
const TIMEOUT: &str = "-t1.2";

/// What happens at one of the two ends, one step behind the other.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// The server sends these bytes.
    Says(&'a [u8]),
    /// The server receives a line, which is this one with its LF.
    Hears(&'a [u8]),
    /// The server receives these bytes, and then the end of the stream.
    HearsAll(&'a [u8]),
    /// The server receives so many bytes.
    Takes(usize),
    /// The server waits until something has come, and leaves it there, so that its close is a reset.
    LeavesUnread,
    /// The server sends these bytes now and then, until the client has enough of it.
    Drips(&'a [u8]),
    /// The server sends bytes without a line end, until the client has enough of it.
    Floods,
    /// The server ends its stream.
    HalfCloses,
    /// The server closes behind the client, which has ended its stream in order, without a byte.
    EndsInOrder,
    /// The client prints this line.
    Prints(&'a [u8]),
    /// The user types this, and the end of the input behind it.
    Types(&'a [u8]),
    /// The user types this, but the client does not read all of it.
    TypesTooMuch(&'a [u8]),
    /// Nothing happens for a moment. A client that waits is still there then.
    GivesAMoment,
    /// The user waits until the deadline is over that began with the connection.
    OutlastsTheDeadline,
}

/// Runs the client with some options, and returns what it left behind. After the last step the server closes.
#[track_caller]
fn play(options: &[&str], steps: &[Step]) -> Finished {
    let (listener, address) = listener();
    play_with(&listener, client_to(address.port()).args(options), steps)
}

/// Runs a client that connects to this listener.
#[track_caller]
fn play_with(listener: &TcpListener, command: &mut Command, steps: &[Step]) -> Finished {
    let mut client = Program::start(command);
    let mut server = accept(listener);
    for step in steps {
        match *step {
            Says(bytes) => write(&server, bytes),
            Hears(line) => assert_eq!(read_one_line(&server), line),
            HearsAll(bytes) => assert_eq!(read_to_end(&server).unwrap(), bytes),
            Takes(length) => server.read_exact(&mut vec![0; length]).unwrap(),
            LeavesUnread => wait_for_byte(&server).unwrap(),
            Drips(bytes) => drip(&server, bytes),
            Floods => flood(&server),
            HalfCloses => server.shutdown(Shutdown::Write).unwrap(),
            EndsInOrder => assert_eq!(read_to_end_and_close(&server).unwrap(), b""),
            Prints(line) => assert_eq!(client.next_line(), line),
            Types(text) => _ = client.type_in(text),
            TypesTooMuch(text) => assert!(!client.type_in(text), "all of it is read"),
            GivesAMoment => thread::sleep(Duration::from_millis(100)),
            OutlastsTheDeadline => outlast_a_deadline(),
        }
    }
    drop(server);
    client.end()
}

/// Waits for a client, but not for ever.
#[track_caller]
fn accept(listener: &TcpListener) -> TcpStream {
    let start = Instant::now();
    listener.set_nonblocking(true).unwrap();
    let client = loop {
        if let Ok((client, _)) = listener.accept() {
            break client;
        }
        assert!(start.elapsed() < PATIENCE, "no client comes");
        thread::sleep(Duration::from_millis(1));
    };
    client.set_nonblocking(false).unwrap();
    with_patience(client)
}

/// Waits until a client gives up that has the same deadline, but started later.
#[track_caller]
fn outlast_a_deadline() {
    let (_silent, address) = listener();
    let client = run(client_to(address.port()).arg(TIMEOUT), b"");
    client.assert_failed(TRY_AGAIN, "", "timed out after 1.2s");
}

#[test]
fn sends_one_line_and_half_closes_and_prints_what_still_comes() {
    let late = b"\nlate\x1b\xc2\xb7\0\0\0\n\0no end";
    let all = "hello\nearly\n\nlate\x1b\u{b7}\n\nno end\n";
    // A server in C may send its strings with their terminator.
    for (greeting, late, shown) in [
        (&b"hello\r\nearly\n"[..], &late[..], all),
        (b"Connect succeed.\n\0", b"", "Connect succeed.\n"),
        (b"Welcom 127.0.0.1!\0", b"", "Welcom 127.0.0.1!\n"),
    ] {
        let typed = b"hi\r\nmore\n";
        let steps = [Says(greeting), Types(typed), HearsAll(b"hi\n"), Says(late)];
        play(&[], &steps).assert_delivered(shown);
    }
}

#[test]
fn prints_what_came_while_the_line_was_typed_in_order() {
    let early = ("x".repeat(1_023) + "\n").repeat(63) + &"y".repeat(1_013);
    let client = play(
        &[],
        &[
            Says(b"hello\nright away\n"),
            Prints(b"hello\n"),
            Says(early.as_bytes()),
            Types(b"hi\n"),
            HearsAll(b"hi\n"),
            Says(b"later\n"),
        ],
    );
    client.assert_delivered(&format!("right away\n{early}later\n"));
}

#[test]
fn the_line_may_take_longer_to_type_than_the_server_has_to_answer() {
    let typing = |line| {
        let steps = [
            Says(b"hello\n"),
            Prints(b"hello\n"),
            OutlastsTheDeadline,
            Types(line),
            HearsAll(line),
            // Even if it has nothing to send, the client must still be there to read this.
            GivesAMoment,
            Says(b"good bye\n"),
            EndsInOrder,
        ];
        play(&[TIMEOUT], &steps)
    };
    thread::scope(|scope| {
        scope.spawn(|| typing(b"hi\n").assert_delivered("good bye\n"));
        typing(b"").assert_failed(REFUSED, "", "no line on standard input");
    });
}

#[test]
fn refuses_what_is_not_one_line_before_anything_is_sent() {
    let longer = vec![b'x'; LONGEST + 1];
    let zeros = vec![0; 2 * LONGEST];
    let too_long = &too_long();
    let cases: [(&[u8], &str); 9] = [
        (b"", ": no line on standard input\n"),
        (b"early\0end\n", "NUL"),
        (b"\0\n", "NUL"),
        // As much as this would be too long, but that is not its mistake.
        (&zeros, "NUL"),
        (b"cut off\r", "a CR at the end would be dropped"),
        (b"\r\r\n", "a CR at the end would be dropped"),
        (&longer, too_long),
        (&[&longer[..], b"\n"].concat(), too_long),
        (&[&longer[..], b"\r\n"].concat(), too_long),
    ];
    for (input, reason) in cases {
        let client = play(&[], &[Says(b"hello\n"), Types(input), HearsAll(b"")]);
        client.assert_failed(REFUSED, "hello\n", reason);
    }
}

#[test]
fn says_what_is_wrong_with_the_line_before_it_waits_for_the_servers_close() {
    let (listener, address) = listener();
    let mut client = Program::start(&mut client_to(address.port()));
    let server = accept(&listener);
    write(&server, b"hello\n");
    client.type_in(b"");
    assert_eq!(read_to_end(&server).unwrap(), b"");
    // The client would wait for 0.75 seconds now, and the error comes before that is over.
    let told = client.next_error();
    assert!(told.ends_with(": no line on standard input"), "{told}");
    write(&server, b"good bye\n");
    assert_eq!(read_to_end_and_close(&server).unwrap(), b"");
}

#[cfg(unix)] // Standard input may be a socket or a folder there.
#[test]
fn standard_input_that_cannot_be_read_is_no_line() {
    use std::io::Write;
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let that_does_not_block = |half: &[u8]| {
        let (input, held) = UnixStream::pair().unwrap();
        (&held).write_all(half).unwrap();
        input.set_nonblocking(true).unwrap();
        (OwnedFd::from(input), Some(held))
    };
    let folder = std::fs::File::open("/").unwrap();
    let empty = ": standard input: Resource temporarily unavailable";
    for ((input, _held), status, reason) in [
        (that_does_not_block(b""), TRY_AGAIN, empty),
        // Half a line is gone once it is read, so another try would send the other half.
        (that_does_not_block(b"half"), REFUSED, empty),
        ((folder.into(), None), REFUSED, ": standard input: "),
    ] {
        let (listener, address) = listener();
        let mut client = client_to(address.port());
        let steps = [Says(b"hello\n"), HearsAll(b"")];
        let client = play_with(&listener, client.stdin(input), &steps);
        client.assert_failed(status, "hello\n", reason);
    }
}

#[test]
fn reads_no_more_of_standard_input_than_a_line_may_have() {
    let input = vec![b'x'; 200_000];
    let steps = [Says(b"hello\n"), TypesTooMuch(&input), HearsAll(b"")];
    let client = play(&[], &steps);
    client.assert_failed(REFUSED, "hello\n", &too_long());
}

#[test]
fn sends_nothing_when_the_server_closes_while_the_line_is_typed() {
    for (early, reason) in [
        (0, "the server had closed"),
        (9, "the server had closed"),
        (LONGEST, "the server had closed"),
        (LONGEST + 10_000, "the server had said too much"),
    ] {
        let client = play(
            &[],
            &[
                Says(b"hello\n"),
                Prints(b"hello\n"),
                Says(&vec![b'\n'; early]),
                HalfCloses,
                Types(b"too late\n"),
                EndsInOrder,
            ],
        );
        client.assert_failed(TRY_AGAIN, "", reason);
    }
}

#[test]
fn with_reply_only_the_reply_is_a_receipt() {
    let cut = "closed without an answer, 6 bytes without a line end";
    for (reply, status, shown, reason) in [
        (&b"thanks\nand more\n"[..], 0, "thanks\n", ""),
        (b"thanks\0", 0, "thanks\n", ""),
        (b"thank you\n", 3, "thank you\n", "the reply is another one"),
        (b"thanks!\n", 3, "thanks!\n", "the reply is another one"),
        (b"thanks", 3, "", cut),
        (b"", 3, "", "closed without an answer"),
    ] {
        let steps = [
            Says(b"hello\n"),
            Types(b"hi\n"),
            Hears(b"hi\n"),
            Says(reply),
        ];
        let client = play(&["--reply", "thanks"], &steps);
        let shown = "hello\n".to_owned() + shown;
        match status {
            0 => client.assert_delivered(&shown),
            _ => client.assert_failed(status, &shown, reason),
        }
    }
}

#[test]
fn the_reply_names_the_line_byte_for_byte() {
    for (typed, line, reply, printed) in [
        (
            &b"hi\n"[..],
            &b"hi\n"[..],
            &b"kept hi, {line}\n"[..],
            "kept hi, {line}\n",
        ),
        (b"\n", b"\n", b"kept , {line}\n", "kept , {line}\n"),
        (
            b"{line}\n",
            b"{line}\n",
            b"kept {line}, {line}\n",
            "kept {line}, {line}\n",
        ),
        (
            b"\xff\r\n",
            b"\xff\n",
            b"kept \xff, {line}\n",
            "kept \u{fffd}, {line}\n",
        ),
    ] {
        let steps = [Says(b"hello\n"), Types(typed), Hears(line), Says(reply)];
        let client = play(&["--reply", "kept {line}, {line}"], &steps);
        client.assert_delivered(&("hello\n".to_owned() + printed));
    }
}

#[test]
fn nothing_is_sent_if_the_expected_reply_cannot_be_a_line() {
    let shortest = LONGEST - "kept ".len() + 1;
    let refused = |reply, typed: &[u8], reason| {
        let steps = [Says(b"hello\n"), Types(typed), HearsAll(b"")];
        let client = play(&["--reply", reply], &steps);
        client.assert_failed(REFUSED, "hello\n", reason);
    };
    let reason = format!("the expected reply: {}", too_long());
    refused("kept {line}", &vec![b'm'; shortest], &reason);
    refused("\r{line}", b"\n", "the expected reply: a CR at the end");
}

#[test]
fn with_reply_nothing_behind_the_reply_matters() {
    // The client waits for nothing: once it has ended its stream, it is gone.
    let (listener, address) = listener();
    let mut client = Program::start(client_to(address.port()).arg("-rthanks"));
    let mut server = accept(&listener);
    write(&server, b"hello\n");
    client.type_in(b"hi\n");
    assert_eq!(read_one_line(&server), b"hi\n");
    write(&server, b"thanks\n");
    assert_eq!(read_to_end(&server).unwrap(), b"");
    client.end().assert_delivered("hello\nthanks\n");
    let late = std::io::Write::write_all(&mut server, b"late\n");
    let is_gone = late.and_then(|()| read_to_end_and_close(&server)).is_err();
    assert!(is_gone || cfg!(windows), "it still reads");
    if cfg!(windows) {
        return; // There a reset takes along what was not read before.
    }
    // A reset, by a line that is left unread, changes nothing.
    let steps = [
        Says(b"hello\n"),
        Types(b"hi\n"),
        LeavesUnread,
        Says(b"thanks\n"),
    ];
    play(&["-rthanks"], &steps).assert_delivered("hello\nthanks\n");
}

#[test]
fn a_check_prints_the_greeting_and_sends_nothing() {
    let check = |steps: &[Step]| play(&["--check"], steps);
    let says_hello = [
        Says(b"hello\n"),
        Types(b"not sent\n"),
        HearsAll(b""),
        EndsInOrder,
    ];
    check(&says_hello).assert_delivered("hello\n");
    check(&[Says(b"login: ")]).assert_delivered("login: \n");
    check(&[]).assert_failed(TRY_AGAIN, "", "closed without a greeting");
}

#[test]
fn fails_in_time_and_says_why_when_no_greeting_comes() {
    let seven = ": timed out after 1.2s, 7 bytes without a line end\n";
    let too_long = format!(": {}\n", too_long());
    let cases: [(&[Step], &str, &str); 5] = [
        (&[], "-t60", ": closed without a greeting\n"),
        (&[HearsAll(b"")], "-t0.5", ": timed out after 500ms\n"),
        (&[Drips(b".")], "-t0.5", ": timed out after 500ms"),
        (&[Says(b"login: "), HearsAll(b"")], TIMEOUT, seven),
        (&[Floods], "-t60", &too_long),
    ];
    thread::scope(|scope| {
        for (behaviour, timeout, reason) in cases {
            scope.spawn(move || {
                let steps = [&[Types(b"hi\n")], behaviour].concat();
                play(&[timeout], &steps).assert_failed(TRY_AGAIN, "", reason);
            });
        }
    });
}

#[test]
#[cfg_attr(windows, ignore = "Wine ends the stream before it resets")]
fn does_not_take_a_reset_for_delivery() {
    // The server takes nothing, a part, or all but the line's end.
    for (length, taken) in [(60_000, 0), (60_000, 5), (60_000, 30_000), (5, 5)] {
        let line = "x".repeat(length) + "\n";
        let typed = Types(line.as_bytes());
        let client = play(&[], &[Says(b"hello\n"), typed, Takes(taken), LeavesUnread]);
        client.assert_failed(MAY_HAVE_ARRIVED, "hello\n", ": no receipt from 127.0.0.1:");
        assert!(!client.stderr.contains("timed out"), "{client:?}");
    }
}

#[test]
fn gives_up_on_a_server_that_goes_on_instead_of_closing() {
    let too_long = format!(": {}\n", too_long());
    for (goes_on, reason) in [
        (Drips(b"\n"), ": timed out after 1.2s\n"),
        (Floods, &too_long),
    ] {
        let typed = Types(b"hi\nunread");
        let client = play(
            &[TIMEOUT],
            &[Says(b"hello\n"), typed, HearsAll(b"hi\n"), goes_on],
        );
        client.assert_failed(MAY_HAVE_ARRIVED, &client.stdout, reason);
        assert!(client.stderr.contains(": no receipt from 127.0.0.1:"));
        // Half a reply is not shown.
        assert_eq!(client.stdout.trim_end(), "hello");
    }
}

#[test]
fn names_host_and_port_once_and_the_reason_when_nothing_answers() {
    let (address, _held) = closed_address();
    let port = address.port();
    let client = run_client(port, b"hi\n");
    let step = format!("cannot connect to 127.0.0.1 port {port}: ");
    client.assert_failed(TRY_AGAIN, "", &step);
    for once in ["127.0.0.1", &port.to_string()] {
        assert_eq!(client.stderr.matches(once).count(), 1, "{client:?}");
    }
    // This is too long for a name, so no name server is asked. What was typed gives the terminal no orders.
    let no_name = "\u{202e}".to_owned() + &"x".repeat(64);
    let client = run(piped(CLIENT).args(["-p1", &no_name]), b"hi\n");
    client.assert_failed(TRY_AGAIN, "", "cannot connect to \\u{202e}xxx");
    assert!(
        client.stderr.contains("xxx port 1: ") && client.stderr.contains("lookup") || cfg!(windows)
    );
}

#[cfg(unix)] // Windows reads ahead.
mod shared_input {
    use std::fs;

    use super::*;
    use crate::needs::has;
    use crate::programs::{Server, TempPath};

    /// Runs a script in which `greet` is a client for the server, with some text on its standard input. Returns
    /// what it printed behind the greetings.
    #[track_caller]
    fn run_script(shell: &[&str], server: &Server, script: &str, input: &[u8]) -> String {
        let greet = format!("greet() {{ '{CLIENT}' 127.0.0.1 -p {}; }}\n", server.port);
        let mut command = piped(shell[0]);
        command.args(&shell[1..]);
        let finished = match script {
            // The script itself is what stands on standard input.
            "" => run(&mut command, &[greet.as_bytes(), input].concat()),
            _ => run(command.arg("-c").arg(greet + script), input),
        };
        finished.stdout.replace("hello\n", "")
    }

    #[test]
    fn what_stands_behind_the_line_is_left_for_whoever_reads_next() {
        let longest = "m".repeat(LONGEST);
        let one_more = longest.clone() + "m";
        let too_long = "m".repeat(LONGEST + 5_000);
        let account = |number| format!("account {number}: pay 1000 EUR\n");
        let accounts: String = (1..=1_000).map(account).collect();
        let fourth_on: String = (3..=1_000).map(account).collect();
        let two = "greet; echo $?; greet; echo $?; cat";
        let each = "while read -r line; do greet; done; cat";
        #[rustfmt::skip] // A table: the script, its input, what is printed behind the greetings, and what is sent.
        let cases: [(&str, &str, &str, &[&str]); 8] = [
            (two, "one\ntwo\r\nthree\nfour", "0\n0\nthree\nfour", &["one", "two"]),
            (two, &accounts, &format!("0\n0\n{fourth_on}"),
                &["account 1: pay 1000 EUR", "account 2: pay 1000 EUR"]),
            (each, "1\n2\n3\n4\n", "", &["2", "4"]),
            (two, &format!("{longest}\r\nnext\nrest"), "0\n0\nrest", &[&longest, "next"]),
            // A line that is refused is taken whole.
            (two, "pay\0 1000\nnext\nrest", "2\n0\nrest", &["next"]),
            (two, "pay\r\r\nnext\nrest", "2\n0\nrest", &["next"]),
            (two, &format!("{one_more}\nnext\nrest"), "2\n0\nrest", &["next"]),
            // But not a longer one: nobody may go on to read from this input.
            ("greet; echo $?; wc -c", &format!("{too_long}\n"), &format!("2\n{}\n", 4_999), &[]),
        ];
        let server = Server::start(&["--greeting", "hello"]);
        for (script, input, printed, sent) in cases {
            let left = run_script(&["sh"], &server, script, input.as_bytes());
            assert_eq!(left.replace(' ', ""), printed.replace(' ', ""), "{script}");
            for line in sent {
                assert_eq!(
                    server.program.next_line(),
                    [line.as_bytes(), b"\n"].concat()
                );
            }
        }
        // A file keeps its place, as a pipe does.
        let file = TempPath::new("shared-input");
        fs::write(&file.0, "one\ntwo\nthree\n").unwrap();
        let script = format!("{{ greet; greet; cat; }} <'{}'", file.0.display());
        assert_eq!(run_script(&["sh"], &server, &script, b""), "three\n");
        for line in [b"one\n", b"two\n"] {
            assert_eq!(server.program.next_line(), line);
        }
    }

    #[test]
    fn a_script_that_bash_reads_from_its_standard_input_goes_on() {
        let server = Server::start(&["--greeting", "hello"]);
        if !has("bash") {
            return;
        }
        let script = b"greet\nthis is the line\necho the script goes on\n";
        let printed = run_script(&["bash"], &server, "", script);
        assert_eq!(printed, "the script goes on\n");
        assert_eq!(server.program.next_line(), b"this is the line\n");
    }
}

#[cfg(unix)] // Standard output may be a socket there. Shutting it down takes its reader away, whoever has a copy.
mod lost_output {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};

    use super::*;

    #[test]
    fn sends_nothing_when_the_greeting_cannot_be_printed() {
        let greeting = "hello\n".to_owned() + &"more\n".repeat(10_000);
        for options in [&[][..], &["--check"]] {
            let (output, reader) = UnixStream::pair().unwrap();
            reader.shutdown(Shutdown::Both).unwrap();
            let (listener, address) = listener();
            let mut client = client_to(address.port());
            client.args(options).stdout(OwnedFd::from(output));
            let steps = [Types(b"hi\n"), Says(greeting.as_bytes()), EndsInOrder];
            let client = play_with(&listener, &mut client, &steps);
            client.assert_failed(TRY_AGAIN, "", "cannot write to standard output");
        }
    }

    #[test]
    fn the_message_may_have_arrived_when_a_reply_cannot_be_printed() {
        for options in [&[][..], &["-rthank you"]] {
            let (output, reader) = UnixStream::pair().unwrap();
            let (listener, address) = listener();
            let mut client = client_to(address.port());
            let mut client = Program::start(client.args(options).stdout(OwnedFd::from(output)));
            reader.set_read_timeout(Some(PATIENCE)).unwrap();
            let server = accept(&listener);
            write(&server, b"hello\n");
            assert_eq!(read_one_line(&reader), b"hello\n");
            reader.shutdown(Shutdown::Both).unwrap();
            client.type_in(b"hi\n");
            assert_eq!(read_one_line(&server), b"hi\n");
            write(&server, b"thank you\n");
            drop(server);
            let reason = ": cannot write to standard output";
            client.end().assert_failed(MAY_HAVE_ARRIVED, "", reason);
        }
    }
}
