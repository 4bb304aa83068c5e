//! No peer can stop, stall or falsify the server's loop.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{
    Random, drip, flood, hear_all, hear_all_and_close, hear_line, reset_after, say,
};
use crate::programs::{PATIENCE, Program, Scratch, Server, connect, port_in, server_command};

/// A server's deadline in seconds, and the same as a duration.
const TIMEOUT: &str = "0.8";
const DEADLINE: Duration = Duration::from_millis(800);

/// Attacks a server with a short deadline. The next client must have its turn then.
#[track_caller]
fn assert_is_dropped_at_the_deadline(attack: fn(&TcpStream)) {
    let server = Server::start(&["--timeout", TIMEOUT]);
    let start = Instant::now();
    let attacker = server.connect();
    let mut next = server.connect();
    next.write_all(b"next\n").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| attack(&attacker));
        hear_all(&next).unwrap();
        assert!(start.elapsed() >= DEADLINE);
        assert!(start.elapsed() < PATIENCE);
    });
    assert_eq!(server.ending_of(&attacker), "failed: timed out after 800ms");
    assert_eq!(server.program.stop().stdout, "next\n");
}

#[test]
fn a_client_that_says_nothing_is_dropped_at_the_deadline() {
    assert_is_dropped_at_the_deadline(|client| drop(hear_all(client)));
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
        staying.write_all(said).unwrap();
        hear_line(&server.connect());
        assert!(start.elapsed() >= Duration::from_millis(at_least));
        start.elapsed() < Duration::from_millis(less_than)
    };
    assert!((0..20).any(is_prompt));
}

#[test]
fn the_client_behind_one_that_stays_is_greeted_within_a_tenth_of_a_second_of_the_deadline() {
    let server = Server::start(&["--timeout", "0.5"]);
    assert_is_greeted_behind(b"", &server, 500, 600);
    assert_is_greeted_behind(b"line\n", &server, 0, 600);
}

#[test]
fn the_client_behind_one_that_stays_after_its_line_is_greeted_within_a_second() {
    assert_is_greeted_behind(b"line\n", &Server::start(&[]), 0, 1_000);
}

#[cfg(not(windows))] // Wine, which would run this, lets a late line come without a reset.
#[test]
fn a_line_that_comes_after_the_deadline_meets_a_reset() {
    let server = Server::start(&["--timeout", TIMEOUT]);
    let client = server.connect();
    let start = Instant::now();
    hear_all(&client).unwrap();
    assert!(start.elapsed() >= DEADLINE, "half-closed");
    say(&client, b"late\n").unwrap_err();
    server.ending_of(&client);
    assert_eq!(server.program.stop().stdout, "");
}

/// A client that goes on after its line must not make the next one wait for the deadline of a minute.
#[track_caller]
fn assert_does_not_delay_the_next(go_on: fn(&TcpStream)) {
    let server = Server::start(&[]);
    let mut attacker = server.connect();
    attacker.write_all(b"line\n").unwrap();
    assert_eq!(server.program.next_line(), b"line\n");
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| go_on(&attacker));
        say(&server.connect(), b"next\n").unwrap();
        assert!(start.elapsed() < PATIENCE);
    });
    assert_eq!(server.program.next_line(), b"next\n");
    let ending = server.ending_of(&attacker);
    assert!(ending.starts_with("4 bytes received"), "{ending}");
}

#[test]
fn a_client_that_does_not_stop_sending_after_its_line_does_not_delay_the_next() {
    thread::scope(|scope| {
        scope.spawn(|| assert_does_not_delay_the_next(|client| drip(client, b"line\n")));
        assert_does_not_delay_the_next(|client| _ = flood(client, usize::MAX));
    });
}

#[test]
fn a_line_within_the_limit_is_shown_whole_and_a_longer_one_is_refused_with_a_reset() {
    let server = Server::start(&[]);
    let longest = vec![b'x'; 65_536];
    for end in [&b"\n"[..], b"\r\n", b"\0", b""] {
        let client = server.connect();
        say(&client, &[&longest, end].concat()).unwrap();
        let ending = server.ending_of(&client);
        assert!(ending.starts_with("65536 bytes received"), "{ending}");
    }
    for excess in [&b"x\n"[..], b"xx\n", &[b'x'; 4_464], b"x", b"\r\r\n"] {
        let client = server.connect();
        let heard = say(&client, &[&longest, excess].concat());
        // Wine, which runs this for Windows, ends the stream before it resets.
        assert!(heard.is_err() || cfg!(windows), "there was a receipt");
        assert_eq!(
            server.ending_of(&client),
            "failed: the line is longer than 65536 bytes"
        );
    }
    let shown = [&longest[..], b"\n"].concat();
    let stdout = server.program.stop().stdout;
    assert_eq!(stdout.as_bytes(), shown.repeat(4));
}

#[test]
fn an_endless_line_is_refused_at_the_limit_in_little_memory() {
    let server = Server::start(&[]);
    server.assert_serves();
    let (_, before) = burden_of(&server);
    let sent = flood(&server.connect(), 100_000_000);
    assert!(sent < 100_000_000, "the server read on");
    let (_, after) = burden_of(&server);
    assert!(
        after < before + 1_000,
        "{before} kB before, {after} kB after"
    );
}

#[cfg(not(windows))] // Wine, which would run this, ends the stream before it resets.
#[test]
fn a_client_that_resets_is_told_of_and_leaves_nothing() {
    let server = Server::start(&[]);
    for bytes in [&b""[..], b"half a mess"] {
        let client = server.connect();
        let address = client.local_addr().unwrap();
        reset_after(client, bytes);
        let ending = server.ending_of_address(address);
        assert!(ending.starts_with("failed: "), "{ending}");
    }
    server.assert_serves();
    assert_eq!(server.program.stop().stdout, "still there?\n");
}

#[test]
fn clients_that_are_gone_before_they_are_accepted_leave_only_what_they_sent() {
    let server = Server::start(&[]);
    let holding = server.connect();
    hear_line(&holding);
    drop(server.connect());
    server.connect().write_all(b"sent and gone\n").unwrap();
    say(&holding, b"held\n").unwrap();
    server.assert_serves();
    let stdout = server.program.stop().stdout;
    let kept = "held\nsent and gone\nstill there?\n";
    // On Windows the reset that answers the greeting may take along what was not read before.
    let lost = "held\nstill there?\n";
    assert!(
        stdout == kept || cfg!(windows) && stdout == lost,
        "{stdout}"
    );
}

#[test]
fn a_client_that_pipelines_gets_the_greeting_and_an_orderly_close_every_time() {
    let server = Server::start(&["--greeting", "hello"]);
    let more_than_one_read = b"more\n".repeat(10_000);
    let exchange = |_| {
        let start = Instant::now();
        let mut client = server.connect();
        client.set_nodelay(true).unwrap();
        for lines in [b"one\n", b"two\n", &more_than_one_read[..]] {
            client.write_all(lines).unwrap();
        }
        assert_eq!(hear_all_and_close(&client).unwrap(), b"hello\n");
        start.elapsed()
    };
    let quickest = (0..200).map(exchange).min().unwrap();
    assert!(quickest < Duration::from_millis(500), "each of them waits");
    assert_eq!(server.program.stop().stdout, "one\n".repeat(200));
}

#[test]
fn a_client_that_pipelines_is_not_reset_though_its_message_was_shown_late() {
    let command = &mut server_command();
    let (program, mut output) = Program::start_unread(command.args(["--timeout", TIMEOUT]));
    let port = port_in(&program.next_error());
    let line = "x".repeat(60_000);
    // A pipe that nobody reads holds one such line, but not two.
    say(&connect(port), line.as_bytes()).unwrap();
    let mut client = connect(port);
    let more_than_one_read = "more\n".repeat(4_000);
    client
        .write_all((line + "\n" + &more_than_one_read).as_bytes())
        .unwrap();
    hear_line(&client);
    thread::sleep(DEADLINE + Duration::from_millis(300));
    thread::scope(|scope| {
        scope.spawn(|| io::copy(&mut output, &mut io::sink()).unwrap());
        let heard = hear_all_and_close(&client);
        program.stop();
        assert_eq!(heard.unwrap(), b"");
    });
}

#[test]
fn random_bytes_and_resets_do_no_harm() {
    let file = Scratch::new("random");
    let server = Server::start_by(server_command().stdout(file.create()));
    let mut random = Random::new(1);
    for number in 0..5_000 {
        let client = server.connect();
        let bytes = random.bytes();
        if number % 2 == 0 {
            reset_after(client, &bytes);
        } else {
            say(&client, &bytes).unwrap();
        }
    }
    server.assert_serves();
    let log: Vec<String> = (0..2 * 5_001)
        .map(|_| server.program.next_error())
        .collect();
    assert_eq!(server.program.stop().stderr, "");
    // Each line of the output is as long as the log says.
    let received = log.iter().filter_map(|line| {
        let (_address, length) = line.split(" bytes received").next()?.split_once(' ')?;
        length.parse::<usize>().ok()
    });
    let stdout = std::fs::read(&file.0).unwrap();
    let shown = stdout
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.len() - 1);
    assert!(received.eq(shown));
}

#[test]
fn clients_that_wait_are_all_served() {
    let server = Server::start(&[]);
    let holding = server.connect();
    hear_line(&holding);
    let waiting: Vec<TcpStream> = (100..228)
        .map(|number| {
            let mut client = server.connect();
            client.write_all(format!("{number}\n").as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        })
        .collect();
    say(&holding, b"first\n").unwrap();
    assert_eq!(server.program.next_line(), b"first\n");
    for client in &waiting {
        hear_all(client).unwrap();
    }
    // Their order is that in which the system completed their connections.
    let mut shown: Vec<_> = waiting.iter().map(|_| server.program.next_line()).collect();
    shown.sort();
    assert!(
        (100..228)
            .map(|number| format!("{number}\n").into_bytes())
            .eq(shown)
    );
}

/// The open files, and the peak memory in kB, of a server that is serving one client. Only Linux tells.
fn burden_of(server: &Server) -> (usize, u64) {
    let client = server.connect();
    hear_line(&client);
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.program.id()));
    let memory = server.program.peak_memory();
    (files.map_or(0, Iterator::count), memory.unwrap_or(0))
}

/// One of the attacks above. Those that take the server's time are few.
fn attack(number: usize, client: TcpStream) {
    match number {
        0 => drop(hear_all(&client)),
        1 => drip(&client, b"."),
        2 => drip(&client, b"a line\n"),
        _ => match number % 5 {
            0 => drop(client),
            1 => reset_after(client, b"half a mess"),
            2 => drop(say(&client, b"one\ntwo\nsix\n")),
            3 => drop(say(&client, &Random::new(number).bytes())),
            _ => _ = flood(&client, 1_000_000),
        },
    }
}

#[test]
fn two_thousand_good_messages_among_two_hundred_attacks_are_each_shown_once() {
    const CLIENTS: usize = 2_200;
    let server = Server::start(&["--timeout", "1", "--greeting", "hello"]);
    let (files, memory) = burden_of(&server);

    let (port, numbers) = (server.port, Mutex::new(0..CLIENTS));
    let is_attack = |number: &usize| number % 11 == 0;
    let work = || {
        loop {
            let Some(number) = numbers.lock().unwrap().next() else {
                return;
            };
            let client = connect(port);
            if is_attack(&number) {
                attack(number / 11, client);
            } else {
                let message = format!("good {number}\n");
                assert_eq!(say(&client, message.as_bytes()).unwrap(), b"hello\n");
            }
        }
    };
    thread::scope(|scope| (0..8).for_each(|_| _ = scope.spawn(work)));

    let (files_after, memory_after) = burden_of(&server);
    assert_eq!(files_after, files);
    assert!(
        memory_after < memory + 1_000,
        "{memory} kB before, {memory_after} kB after"
    );
    let stdout = server.program.stop().stdout;
    let good = stdout.lines().filter_map(|line| line.strip_prefix("good "));
    let mut shown: Vec<usize> = good.map(|number| number.parse().unwrap()).collect();
    shown.sort_unstable();
    assert!((0..CLIENTS).filter(|number| !is_attack(number)).eq(shown));
}
