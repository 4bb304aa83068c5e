//! No peer can stop, stall or falsify the server's loop.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use std::{sync::Mutex, thread};

use crate::peers::{
    Random, drip, flood, read_one_line, read_to_end, read_to_end_and_close, reset_after, send,
};
use crate::programs::{Program, Server, TempPath, connect, server_command};

/// What `--timeout 1` sets. If the machine stalls, a good client misses it, too, but not every time.
const DEADLINE: Duration = Duration::from_secs(1);

/// Attacks a server with a short deadline. The next client must have its turn then, and not before.
#[track_caller]
fn assert_is_dropped_at_the_deadline(attack: fn(&TcpStream)) {
    let is_next_served = |_| {
        let server = Server::start(&["--timeout", "1"]);
        let start = Instant::now();
        let attacker = server.connect();
        read_one_line(&attacker);
        let mut next = server.connect();
        next.write_all(b"next\n").unwrap();
        attack(&attacker);
        let ending = server.ending_of(&attacker);
        assert!(ending.starts_with("failed: timed out after 1s"), "{ending}");
        assert!(start.elapsed() >= DEADLINE);
        let _ = read_to_end_and_close(&next);
        server.ending_of(&next);
        server.program.stop().stdout == "next\n"
    };
    assert!((0..5).any(is_next_served));
}

#[test]
fn a_client_that_says_nothing_is_dropped_at_the_deadline() {
    assert_is_dropped_at_the_deadline(|client| {
        let received = read_to_end(client);
        let late = send(client, b"late\n");
        // Wine, which runs this for Windows, lets a late line come without a reset.
        assert!(cfg!(windows) || received.is_ok() && late.is_err());
    });
}

#[test]
fn a_client_that_sends_a_byte_at_a_time_is_dropped_at_the_deadline() {
    assert_is_dropped_at_the_deadline(|client| drip(client, b"."));
}

/// The client behind one that has said something and stays must be greeted in time. A busy machine may
/// be late, but not every time.
#[track_caller]
fn assert_is_greeted_behind(said: &[u8], server: &Server, at_least: u64, less_than: u64) {
    let is_prompt = |_| {
        let start = Instant::now();
        let mut staying = server.connect();
        read_one_line(&staying);
        staying.write_all(said).unwrap();
        read_one_line(&server.connect());
        assert!(start.elapsed() >= Duration::from_millis(at_least));
        start.elapsed() < Duration::from_millis(less_than)
    };
    assert!((0..20).any(is_prompt));
}

#[test]
fn greets_the_next_within_100_ms_of_the_deadline() {
    let server = Server::start(&["--timeout", "0.5"]);
    assert_is_greeted_behind(b"", &server, 500, 600);
    assert_is_greeted_behind(b"line\n", &server, 0, 600);
}

#[test]
fn greets_the_next_within_a_second_of_a_line() {
    assert_is_greeted_behind(b"line\n", &Server::start(&[]), 0, 1_000);
}

/// A client that goes on after its line must not make the next one wait for the deadline of a minute.
#[track_caller]
fn assert_does_not_delay_the_next(go_on: fn(&TcpStream)) {
    let server = Server::start(&[]);
    let mut attacker = server.connect();
    attacker.write_all(b"line\n").unwrap();
    assert_eq!(server.program.next_line(), b"line\n");
    let mut next = server.connect();
    next.write_all(b"next\n").unwrap();
    go_on(&attacker);
    assert_eq!(server.program.next_line(), b"next\n");
    let ending = server.ending_of(&attacker);
    assert!(ending.starts_with("4 bytes received"), "{ending}");
}

#[test]
fn a_client_that_goes_on_after_its_line_does_not_delay_the_next() {
    assert_does_not_delay_the_next(|client| drip(client, b"line\n"));
    assert_does_not_delay_the_next(|client| _ = flood(client, usize::MAX));
}

#[test]
fn a_line_over_the_limit_is_refused_with_a_reset() {
    let server = Server::start(&[]);
    let longest = vec![b'x'; 65_536];
    for end in [&b"\n"[..], b"\r\n", b"\0", b""] {
        let client = server.connect();
        send(&client, &[&longest, end].concat()).unwrap();
        let ending = server.ending_of(&client);
        assert!(ending.starts_with("65536 bytes received"), "{ending}");
    }
    for excess in [&b"x\n"[..], b"xx\n", &[b'x'; 4_464], b"x", b"\r\r\n"] {
        let client = server.connect();
        let received = send(&client, &[&longest, excess].concat());
        // Wine, which runs this for Windows, ends the stream before it resets.
        assert!(received.is_err() || cfg!(windows), "there was a receipt");
        let ending = server.ending_of(&client);
        assert_eq!(ending, "failed: the line is longer than 65536 bytes");
    }
    let shown = [&longest[..], b"\n"].concat().repeat(4);
    assert_eq!(server.program.stop().stdout.as_bytes(), shown);
}

#[test]
fn an_endless_line_is_refused_at_the_limit_in_little_memory() {
    let server = Server::start(&[]);
    let (_, memory) = resources_of(&server);
    assert!(flood(&server.connect(), 100_000_000) < 100_000_000);
    let (_, grown) = resources_of(&server);
    assert!(grown < memory + 1_000, "from {memory} to {grown} kB");
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
        let client = server.connect();
        let address = client.local_addr().unwrap();
        reset_after(client, bytes).unwrap();
        let ending = server.ending_of_address(address);
        assert!(ending == told || !cfg!(target_os = "linux"), "{ending}");
    }
    server.assert_serves();
    assert_eq!(server.program.stop().stdout, "still there?\n");
}

#[test]
fn clients_gone_before_they_are_accepted_leave_only_what_they_sent() {
    let server = Server::start(&[]);
    let holding = server.connect();
    read_one_line(&holding);
    drop(server.connect());
    server.connect().write_all(b"sent and gone\n").unwrap();
    send(&holding, b"held\n").unwrap();
    // The log has two lines for each of the three.
    (0..6).for_each(|_| drop(server.program.next_error()));
    server.assert_serves();
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
    let quickest = (0..200).map(exchange).skip(1).min().unwrap();
    assert!(quickest < Duration::from_millis(500), "the next one waits");
    assert_eq!(server.program.stop().stdout, "one\n".repeat(200));
}

#[test]
fn a_client_that_pipelines_is_not_reset_though_its_message_was_shown_late() {
    // A pipe that nobody reads holds less than the longest line and its end.
    let lines = "x".repeat(65_536) + "\n" + &"more\n".repeat(4_000);
    let is_received = |_| {
        let (server, mut output) = Program::start_unread(server_command().args(["--timeout", "1"]));
        let server = Server::running(server);
        let mut client = server.connect();
        read_one_line(&client);
        let _ = client.write_all(lines.as_bytes());
        thread::sleep(DEADLINE + Duration::from_millis(100));
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let is_received = server
            .ending_of(&client)
            .starts_with("65536 bytes received");
        assert!(!is_received || read_to_end_and_close(&client).is_ok());
        is_received
    };
    assert!((0..5).any(is_received));
}

#[test]
fn random_bytes_and_resets_do_no_harm() {
    let file = TempPath::new("random");
    let server = Server::start_by(server_command().stdout(file.create()));
    let mut random = Random::new(1);
    for number in 0..5_000 {
        let client = server.connect();
        let bytes = random.bytes();
        if number % 2 == 0 {
            reset_after(client, &bytes).unwrap();
        } else {
            send(&client, &bytes).unwrap();
        }
    }
    server.assert_serves();
    let next_error = |_| server.program.next_error();
    let log: Vec<String> = (0..2 * 5_001).map(next_error).collect();
    assert_eq!(server.program.stop().stderr, "");
    // Each line of the output is as long as the log says.
    let received = log.iter().filter_map(|line| {
        let (_address, length) = line.split(" bytes received").next()?.split_once(' ')?;
        length.parse::<usize>().ok()
    });
    let stdout = std::fs::read(&file.0).unwrap();
    let shown = stdout.split_inclusive(|byte| *byte == b'\n');
    assert!(received.eq(shown.map(|line| line.len() - 1)));
}

#[test]
fn clients_that_wait_are_all_served() {
    let server = Server::start(&[]);
    let holding = server.connect();
    read_one_line(&holding);
    let messages: Vec<_> = (100..228).map(|number| format!("{number}\n")).collect();
    let connect_and_send = |message: &String| {
        let mut client = server.connect();
        client.write_all(message.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    };
    let waiting: Vec<_> = messages.iter().map(connect_and_send).collect();
    send(&holding, b"").unwrap();
    for client in &waiting {
        read_to_end_and_close(client).unwrap();
    }
    let stdout = server.program.stop().stdout;
    // Their order is that in which the system completed their connections.
    let mut shown: Vec<_> = stdout.split_inclusive('\n').collect();
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

/// One of the attacks above. Those that take the server's time are few.
fn attack(number: usize, client: TcpStream) {
    match number {
        0 => drop(read_to_end(&client)),
        1 => drip(&client, b"."),
        2 => drip(&client, b"a line\n"),
        _ => match number % 5 {
            0 => drop(client),
            1 => drop(reset_after(client, b"half a mess")),
            2 => drop(send(&client, b"one\ntwo\nsix\n")),
            3 => drop(send(&client, &Random::new(number).bytes())),
            _ => _ = flood(&client, 1_000_000),
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
