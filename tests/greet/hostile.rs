//! No peer can stop, stall or falsify the server's loop.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{Random, drip, flood, hear_all, hear_line, reset_after, say};
use crate::programs::{Server, connect};

/// Far less than the default deadline, and far more than a busy machine takes for what is prompt.
const PROMPT: Duration = Duration::from_secs(15);

/// Attacks a server with a deadline of half a second; the next client must have its turn then.
fn is_dropped_at_the_deadline(arguments: &[&str], attack: fn(&TcpStream)) {
    let server = Server::start(&[&["--timeout", "0.5"], arguments].concat());
    let start = Instant::now();
    let attacker = server.connect();
    let next = server.connect();
    thread::scope(|scope| {
        scope.spawn(|| attack(&attacker));
        say(&next, b"next\n").unwrap();
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert!(start.elapsed() < PROMPT);
    });
    assert_eq!(
        server.story_of(attacker.local_addr().unwrap()),
        "failed: timed out after 500ms"
    );
    assert_eq!(server.program.stop().output, "next\n");
}

#[test]
fn a_client_that_says_nothing_is_dropped_at_the_deadline() {
    is_dropped_at_the_deadline(&[], |client| drop(hear_all(client)));
}

#[test]
fn a_client_that_sends_a_byte_at_a_time_is_dropped_at_the_deadline() {
    is_dropped_at_the_deadline(&[], |client| drip(client, b"."));
}

#[test]
fn a_client_that_never_reads_its_long_greeting_is_dropped_at_the_deadline() {
    is_dropped_at_the_deadline(&["--greeting", &"x".repeat(60_000)], |_| ());
}

/// Lets a client go on after its line; the next one must not wait for the deadline of a minute.
fn does_not_delay_the_next(go_on: fn(&TcpStream)) {
    let server = Server::start(&[]);
    let mut attacker = server.connect();
    attacker.write_all(b"line\n").unwrap();
    assert_eq!(server.program.output(), b"line\n");
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| go_on(&attacker));
        say(&server.connect(), b"next\n").unwrap();
        assert!(start.elapsed() < PROMPT);
    });
    assert_eq!(server.program.output(), b"next\n");
    assert_eq!(
        server.story_of(attacker.local_addr().unwrap()),
        "4 bytes received"
    );
}

#[test]
fn a_client_that_does_not_close_after_its_line_does_not_delay_the_next() {
    does_not_delay_the_next(|_| ());
}

#[test]
fn a_client_that_does_not_stop_sending_after_its_line_does_not_delay_the_next() {
    does_not_delay_the_next(|client| drip(client, b"line\n"));
    does_not_delay_the_next(|client| _ = flood(client, usize::MAX));
}

#[test]
fn a_line_within_the_limit_is_shown_whole_and_a_longer_one_is_refused() {
    let server = Server::start(&[]);
    let longest = vec![b'x'; 65_536];
    for (sent, ending) in [
        ([&longest[..], b"\n"].concat(), "65536 bytes received"),
        ([&longest[..], b"\r\n"].concat(), "65536 bytes received"),
        (
            [&longest[..], b"x\n"].concat(),
            "failed: no line end within 65536 bytes",
        ),
        (
            [&longest[..], b"x"].concat(),
            "failed: no line end within 65536 bytes",
        ),
    ] {
        let client = server.connect();
        let _ = say(&client, &sent);
        assert_eq!(server.story_of(client.local_addr().unwrap()), ending);
    }
    let shown = [&longest[..], b"\n"].concat();
    let output = server.program.stop().output;
    assert_eq!(output.as_bytes(), shown.repeat(2));
}

#[cfg(target_os = "linux")]
#[test]
fn an_endless_line_is_refused_at_the_limit_in_little_memory() {
    let server = Server::start(&[]);
    server.serves();
    let before = server.program.peak_memory();
    assert!(
        flood(&server.connect(), 100_000_000) < 100_000_000,
        "the server read on"
    );
    assert!(server.program.peak_memory() < before + 1_000);
    server.serves();
    assert_eq!(server.program.stop().output, "still there?\n".repeat(2));
}

#[test]
fn a_client_that_resets_is_told_of_and_leaves_nothing() {
    let server = Server::start(&[]);
    for bytes in [&b""[..], b"half a mess"] {
        let client = server.connect();
        let address = client.local_addr().unwrap();
        reset_after(client, bytes);
        let ending = server.story_of(address);
        assert!(ending.starts_with("failed: "), "{ending}");
        server.serves();
        server.program.error();
        server.program.error();
    }
    assert_eq!(server.program.stop().output, "still there?\n".repeat(2));
}

#[test]
fn clients_that_are_gone_before_they_are_accepted_leave_only_what_they_sent() {
    let server = Server::start(&[]);
    let holding = server.connect();
    hear_line(&holding);
    drop(server.connect());
    server.connect().write_all(b"sent and gone\n").unwrap();
    say(&holding, b"held\n").unwrap();
    server.serves();
    assert_eq!(
        server.program.stop().output,
        "held\nsent and gone\nstill there?\n"
    );
}

#[test]
fn a_client_that_pipelines_gets_the_greeting_and_an_orderly_close_every_time() {
    let server = Server::start(&["--greeting", "hello"]);
    let more_than_one_read = b"more\n".repeat(10_000);
    for _ in 0..200 {
        let mut client = server.connect();
        client.set_nodelay(true).unwrap();
        for lines in [b"one\n", b"two\n", &more_than_one_read[..]] {
            client.write_all(lines).unwrap();
        }
        assert_eq!(hear_all(&client).unwrap(), b"hello\n");
    }
    assert_eq!(server.program.stop().output, "one\n".repeat(200));
}

#[test]
fn random_bytes_and_resets_do_no_harm() {
    let server = Server::start(&[]);
    let mut random = Random::new(1);
    for number in 0..10_000 {
        let client = server.connect();
        let bytes = random.bytes();
        if number % 2 == 0 {
            reset_after(client, &bytes);
        } else {
            say(&client, &bytes).unwrap();
        }
    }
    server.serves();
    let remains = server.program.stop();
    assert_eq!(remains.errors.lines().count(), 2 * 10_001);
}

#[test]
fn clients_that_wait_are_all_served_in_the_order_they_came() {
    let server = Server::start(&[]);
    let holding = server.connect();
    hear_line(&holding);
    let waiting: Vec<TcpStream> = (0..128)
        .map(|number| {
            let mut client = server.connect();
            client.write_all(format!("{number}\n").as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        })
        .collect();
    say(&holding, b"first\n").unwrap();
    assert_eq!(server.program.output(), b"first\n");
    for (number, client) in waiting.iter().enumerate() {
        hear_all(client).unwrap();
        assert_eq!(server.program.output(), format!("{number}\n").as_bytes());
    }
}

/// The open files and the peak memory of a server that is serving one client.
#[cfg(target_os = "linux")]
fn burden_of(server: &Server) -> (usize, u64) {
    let client = server.connect();
    hear_line(&client);
    (server.program.open_files(), server.program.peak_memory())
}

/// One of the attacks above; those that take the server's time are few.
#[cfg(target_os = "linux")]
fn attack(number: usize, client: TcpStream) {
    match number % 100 {
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

/// Sends ten good messages for each of `attacks` attacks, 16 clients at a time.
#[cfg(target_os = "linux")]
fn shows_each_good_message_once_among(attacks: usize) {
    let server = Server::start(&["--timeout", "1", "--greeting", "hello"]);
    let (files, memory) = burden_of(&server);

    let (port, numbers) = (server.port, Mutex::new(0..attacks * 11));
    let work = || {
        loop {
            let Some(number) = numbers.lock().unwrap().next() else {
                return;
            };
            let client = connect(port);
            if number % 11 == 0 {
                attack(number / 11, client);
            } else {
                let message = format!("good {number}\n");
                assert_eq!(say(&client, message.as_bytes()).unwrap(), b"hello\n");
            }
        }
    };
    thread::scope(|scope| (0..16).for_each(|_| _ = scope.spawn(work)));

    let (files_after, memory_after) = burden_of(&server);
    assert_eq!(files_after, files);
    assert!(
        memory_after < memory + 1_000,
        "{memory} kB before, {memory_after} kB after"
    );
    let remains = server.program.stop();
    let good = remains
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("good "));
    let mut shown: Vec<usize> = good.map(|number| number.parse().unwrap()).collect();
    shown.sort_unstable();
    assert!(
        shown
            .into_iter()
            .eq((0..attacks * 11).filter(|number| number % 11 > 0))
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_good_messages_among_a_hundred_attacks_are_each_shown_once() {
    shows_each_good_message_once_among(100);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes a minute"]
fn twenty_thousand_good_messages_among_two_thousand_attacks_are_each_shown_once() {
    shows_each_good_message_once_among(2_000);
}
