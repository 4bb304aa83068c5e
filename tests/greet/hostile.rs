//! No peer can stop, stall or falsify the server's loop.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use std::{ops::Range, sync::Mutex, thread};

use crate::peers::{
    drip, flood, read_one_line, read_to_end, read_to_end_and_close, reset_after, send, write,
};
use crate::programs::{LONGEST, Program, Server, connect, server_command, too_long, try_until};

/// What `--timeout 1` sets. If the machine stalls, a good client misses it, too, but not every time.
const DEADLINE: Duration = Duration::from_secs(1);

#[test]
fn a_client_that_says_nothing_is_dropped_at_the_deadline() {
    let drop_at_deadline = |said: &str, received: &str| {
        let server = Server::start(&["--timeout", "0.5"]);
        let client = server.connect();
        write(&client, said.as_bytes());
        read_to_end(&client).unwrap();
        let told = format!("failed: timed out after 500ms{received}");
        assert_eq!(server.ending_of(&client), told);
        let late = send(&client, b" a line\n");
        // Wine, which runs this for Windows, lets a late line come without a reset.
        assert!(late.is_err() || cfg!(windows), "there was a receipt");
        assert_eq!(server.program.stop().stdout, "");
    };
    thread::scope(|scope| {
        scope.spawn(|| drop_at_deadline("", ""));
        drop_at_deadline("half", ", 4 bytes without a line end");
    });
}

/// What a client does behind what it has said.
pub type Behaviour = fn(&TcpStream);

/// The client behind one that says something and then does something must be greeted in time.
#[track_caller]
pub fn assert_is_greeted_behind(
    server: &Server,
    said: &[u8],
    and_then: Behaviour,
    milliseconds: Range<u128>,
) {
    let time = || {
        let start = Instant::now();
        let staying = server.connect();
        read_one_line(&staying);
        write(&staying, said);
        thread::scope(|scope| {
            scope.spawn(|| and_then(&staying));
            read_one_line(&server.connect());
            start.elapsed().as_millis()
        })
    };
    let in_time = try_until(time, |time| *time < milliseconds.end);
    assert!(in_time >= milliseconds.start, "{in_time}");
}

#[test]
fn greets_the_next_within_100_ms_of_the_deadline() {
    let cases: [(&[u8], Behaviour, u128); 3] = [
        (b"", |_| (), 500),
        (b"", |client| drip(client, b"."), 500),
        (b"line\n", |_| (), 0),
    ];
    thread::scope(|scope| {
        for (said, and_then, earliest) in cases {
            scope.spawn(move || {
                let server = Server::start(&["--timeout", "0.5"]);
                assert_is_greeted_behind(&server, said, and_then, earliest..600);
            });
        }
    });
}

#[test]
fn greets_the_next_within_a_second_of_a_line_however_its_client_goes_on() {
    // Wine, which runs this for Windows, takes long to read what a flood has left.
    let in_time = 0..if cfg!(windows) { 10_000 } else { 1_000 };
    let ways: [Behaviour; 3] = [|_| (), |client| drip(client, b"line\n"), flood];
    thread::scope(|scope| {
        for goes_on in ways {
            let in_time = in_time.clone();
            scope.spawn(move || {
                let server = Server::start(&[]);
                assert_is_greeted_behind(&server, b"line\n", goes_on, in_time);
            });
        }
    });
}

#[test]
fn a_line_over_the_limit_is_refused_with_a_reset() {
    let server = Server::start(&[]);
    let longest = vec![b'x'; LONGEST];
    for excess in [&b"x\n"[..], b"xx\n", &[b'x'; 4_464], b"x", b"\r\r\n"] {
        let client = server.connect();
        let received = send(&client, &[&longest, excess].concat());
        // Wine, which runs this for Windows, ends the stream before it resets.
        assert!(received.is_err() || cfg!(windows), "there was a receipt");
        let ending = server.ending_of(&client);
        assert_eq!(ending, format!("failed: {}", too_long()));
    }
    assert_eq!(server.program.stop().stdout, "");
}

#[cfg(not(windows))] // Wine, which would run this, ends the stream before it resets.
#[test]
fn a_client_that_resets_is_told_of_and_leaves_nothing() {
    let server = Server::start(&[]);
    let half = "failed: Connection reset by peer (os error 104), 11 bytes without a line end";
    for (bytes, told) in [
        (&b""[..], "closed without a message"),
        (b"half a mess", half),
    ] {
        reset_after(server.connect(), bytes).unwrap();
        assert!(server.program.next_error().ends_with(" connected"));
        let ending = server.program.next_error();
        let is_told = ending.ends_with(told) || !cfg!(target_os = "linux");
        assert!(is_told, "{ending}");
    }
    send(&server.connect(), b"still there?\n").unwrap();
    assert_eq!(server.program.stop().stdout, "still there?\n");
}

#[test]
fn clients_gone_before_they_are_accepted_leave_only_what_they_sent() {
    let server = Server::start(&[]);
    let holding = server.connect();
    read_one_line(&holding);
    drop(server.connect());
    write(&server.connect(), b"sent and gone\n");
    send(&holding, b"held\n").unwrap();
    // The log has two lines for each of the three.
    (0..6).for_each(|_| drop(server.program.next_error()));
    send(&server.connect(), b"still there?\n").unwrap();
    let stdout = server.program.stop().stdout;
    let kept = "held\nsent and gone\nstill there?\n";
    // On Windows the reset that answers the greeting may take along what was not read before.
    let is_lost = cfg!(windows) && stdout == "held\nstill there?\n";
    assert!(is_lost || stdout == kept, "{stdout}");
}

#[test]
fn a_client_that_pipelines_gets_the_greeting_and_an_orderly_close() {
    let server = Server::start(&["--greeting", "hello"]);
    let more_than_one_read = b"more\n".repeat(10_000);
    let exchange = |_| {
        let start = Instant::now();
        let mut client = server.connect();
        client.set_nodelay(true).unwrap();
        let pieces = [b"one\n", b"two\n", &more_than_one_read[..]];
        let sent = pieces.iter().try_for_each(|piece| client.write_all(piece));
        // What comes only when the server has waited for long enough may meet a reset.
        let was_paused = start.elapsed() > Duration::from_millis(500);
        let received = sent.and_then(|()| read_to_end_and_close(&client));
        assert!(was_paused || received.unwrap() == b"hello\n");
        start.elapsed()
    };
    // Two hundred slow ones would take minutes, so the first few must tell.
    let quickest = (0..10).map(exchange).min().unwrap();
    assert!(quickest < Duration::from_millis(500), "the next one waits");
    (10..200).for_each(|number| _ = exchange(number));
    assert_eq!(server.program.stop().stdout, "one\n".repeat(200));
}

#[test]
fn a_client_that_pipelines_is_not_reset_though_its_message_was_shown_late() {
    // A pipe that nobody reads holds less than the longest line and its end.
    let lines = "x".repeat(LONGEST) + "\n" + &"more\n".repeat(4_000);
    let ending = || {
        let mut program = server_command().args(["--timeout", "0.6"]).spawn().unwrap();
        let mut output = program.stdout.take().unwrap();
        let server = Server::running(Program::running(program));
        let mut client = server.connect();
        read_one_line(&client);
        let _ = client.write_all(lines.as_bytes());
        thread::sleep(Duration::from_millis(700));
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        (
            server.ending_of(&client),
            read_to_end_and_close(&client).err(),
        )
    };
    let is_whole =
        |(ending, _): &(String, _)| ending.starts_with(&format!("{LONGEST} bytes received"));
    let (_, reset) = try_until(ending, is_whole);
    assert!(reset.is_none(), "{reset:?}");
}

/// The most bytes that the server reads in its last look at what has come.
const MAX_LAST_LOOK: usize = 8 << 20;

#[test]
fn a_last_look_at_a_flood_ends() {
    // A pipe that nobody reads holds less than the longest line and its end.
    let mut program = server_command().args(["--timeout", "0.5"]).spawn().unwrap();
    let mut output = program.stdout.take().unwrap();
    let server = Server::running(Program::running(program));
    let client = server.connect();
    write(&client, &vec![b'x'; LONGEST]);
    write(&client, b"\n");
    let ending = thread::scope(|scope| {
        scope.spawn(|| flood(&client));
        thread::sleep(Duration::from_millis(600));
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        server.ending_of(&client)
    });
    let ignored = ending.split_once("bytes received, ").map(|(_, more)| more);
    let ignored = ignored.and_then(|more| more.strip_suffix(" more ignored"));
    // If the machine stalled, the line came too late, and nothing was looked at.
    let ignored: usize = ignored.map_or(0, |bytes| bytes.parse().unwrap());
    // Some bytes behind the line came with the read that brought its end.
    assert!(ignored <= MAX_LAST_LOOK + 8_192, "{ending}");
}

/// How many clients wait in the queue if std makes the listener.
pub const BACKLOG: usize = 128;

#[test]
fn clients_that_wait_are_all_served() {
    let server = Server::start(&[]);
    let holding = server.connect();
    read_one_line(&holding);
    let messages: Vec<_> = (101..101 + BACKLOG)
        .map(|number| format!("{number}\n"))
        .collect();
    let connect_and_send = |message: &String| {
        let client = server.connect();
        write(&client, message.as_bytes());
        client.shutdown(Shutdown::Write).unwrap();
        client
    };
    let waiting: Vec<_> = messages.iter().map(connect_and_send).collect();
    send(&holding, b"100\n").unwrap();
    for client in &waiting {
        read_to_end_and_close(client).unwrap();
    }
    let stdout = server.program.stop().stdout;
    // Their order is that in which the system completed their connections.
    let mut shown: Vec<_> = stdout.split_inclusive('\n').collect();
    assert_eq!(shown.remove(0), "100\n");
    shown.sort_unstable();
    assert_eq!(shown, messages);
}

/// The open files, and the peak memory in kB, of a server that is serving one client. Only Linux tells.
fn resources_of(server: &Server) -> (usize, u64) {
    let client = server.connect();
    read_one_line(&client);
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.program.id()));
    let memory = server.program.peak_memory().unwrap_or(0);
    (files.map_or(0, Iterator::count), memory)
}

/// One of several attacks. Those that take the server's time are few.
fn attack(number: usize, client: TcpStream) {
    match number {
        0 => drop(read_to_end(&client)),
        1 => drip(&client, b"."),
        2 => drip(&client, b"a line\n"),
        _ => match number % 5 {
            0 => drop(client),
            1 => drop(reset_after(client, b"half a mess")),
            2 => drop(send(&client, b"one\ntwo\nsix\n")),
            3 => {
                // Bytes without a pattern.
                let bytes = (0..number).map(|place| (place * place * number).to_le_bytes()[0]);
                let _ = send(&client, &bytes.collect::<Vec<u8>>());
            }
            _ => flood(&client),
        },
    }
}

/// Says a message, and again if the deadline has passed: a reset tells then that it was not shown.
fn send_until_received(port: u16, message: &str) {
    let start = Instant::now();
    let received = send(&connect(port), message.as_bytes());
    if received.is_err() && start.elapsed() >= DEADLINE {
        return send_until_received(port, message);
    }
    assert_eq!(received.unwrap(), b"hello\n");
}

#[test]
fn two_thousand_messages_among_two_hundred_attacks_are_shown_once() {
    const CLIENTS: usize = 2_200;
    let server = Server::start(&["--timeout", "1", "--greeting", "hello"]);
    // A client that misses the deadline is one file less, but no stall makes it one more.
    let resources = || (0..5).map(|_| resources_of(&server)).max().unwrap();
    let (files, memory) = resources();
    let (port, numbers) = (server.port, Mutex::new(0..CLIENTS));
    let is_attack = |number: &usize| number % 11 == 0;
    let next_number = || numbers.lock().unwrap().next();
    let work = || {
        while let Some(number) = next_number() {
            if is_attack(&number) {
                attack(number / 11, connect(port));
            } else {
                send_until_received(port, &format!("good {number}\n"));
            }
        }
    };
    thread::scope(|scope| (0..8).for_each(|_| _ = scope.spawn(work)));

    let (files_after, grown) = resources();
    assert_eq!(files_after, files);
    assert!(grown < memory + 1_000, "from {memory} to {grown} kB");
    let stdout = server.program.stop().stdout;
    let good = stdout.lines().filter_map(|line| line.strip_prefix("good "));
    let mut shown: Vec<usize> = good.map(|number| number.parse().unwrap()).collect();
    shown.sort_unstable();
    assert!((0..CLIENTS).filter(|number| !is_attack(number)).eq(shown));
}
