//! The learner's experiments. Each breaks `naive`, and breaks neither `greet-server` nor `loop_server.c`, which is
//! the same server in C.

#[cfg(not(windows))]
use std::io;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use std::{fs, thread};

#[cfg(not(windows))]
use crate::examples::assert_failed_behind;
use crate::examples::start;
use crate::peers::{drip, read_one_line, send, wait_for_byte, write};
#[cfg(not(windows))]
use crate::peers::{read_to_end, read_to_end_and_close, reset_after};
#[cfg(not(windows))]
use crate::programs::try_until;
use crate::programs::{PATIENCE, Program, Server};

/// What all three send first.
pub const GREETING: &[u8] = b"Connect succeed. Please send a message to me\n";

fn naive() -> Server {
    start("naive", &[])
}

/// `greet-server` and, if it can be built, `loop_server.c`. A client may hold each for so many seconds.
pub fn repaired(seconds: &str) -> Vec<Server> {
    #[cfg(target_os = "linux")]
    let in_c = crate::c_server::start(seconds);
    #[cfg(not(target_os = "linux"))]
    let in_c = None;
    let in_rust = Server::start(&["--timeout", seconds]);
    [Some(in_rust), in_c].into_iter().flatten().collect()
}

/// Waits for something that comes sooner or later.
#[track_caller]
pub fn wait_for<T>(event: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(outcome) = event() {
            return outcome;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many times a program has gone to sleep, if it sleeps, as it does in `recv`: proc(5), /proc/PID/status.
/// Only Linux tells; elsewhere it is always zero times.
pub fn times_asleep(program: &Program) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id()));
    let Ok(status) = status else { return Some(0) };
    let mut lines = status.lines();
    lines.find(|line| line.starts_with("State:\tS"))?;
    let times = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t"))?;
    times.parse().ok()
}

/// Sends a piece to a server that waits for it, and returns when the server has taken it and waits again. So
/// the next piece cannot join it.
#[track_caller]
pub fn send_piece(server: &Server, client: &TcpStream, piece: &[u8]) {
    let before = wait_for(|| times_asleep(&server.program));
    write(client, piece);
    wait_for(|| {
        let waits_again = times_asleep(&server.program)? > before;
        // Linux forgets the peer once it has reset the connection.
        let is_lost = client.peer_addr().is_err();
        (waits_again || is_lost || !cfg!(target_os = "linux")).then_some(())
    });
}

#[test]
fn experiment_1_a_line_comes_in_pieces() {
    let naive = naive();
    let mut client = naive.connect();
    write(&client, b"good ");
    assert_eq!(naive.program.next_line(), b"good \n", "half of it");
    let _ = client.write_all(b"morning\n");
    let _ = send(&naive.connect(), b"next\n");
    assert_eq!(naive.program.next_line(), b"next\n", "the rest is lost");

    for server in repaired("60") {
        let client = server.connect();
        read_one_line(&client);
        send_piece(&server, &client, b"good ");
        write(&client, b"morning\n");
        assert_eq!(server.program.next_line(), b"good morning\n");
    }
}

#[test]
fn experiment_2_a_client_says_nothing_or_drips() {
    let naive = naive();
    let silent = naive.connect();
    read_one_line(&silent);
    let next = naive.connect();
    let a_moment = Duration::from_millis(200);
    next.set_read_timeout(Some(a_moment)).unwrap();
    let kind = wait_for_byte(&next).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(silent);
    assert_eq!(read_one_line(&next), GREETING);

    // A timeout for each `recv` is enough for the first of these, and not for the second.
    let ways: [fn(&TcpStream); 2] = [|_| (), |client| drip(client, b".")];
    thread::scope(|scope| {
        for hold in ways {
            for server in repaired("1") {
                scope.spawn(move || assert_is_not_held(&server, hold));
            }
        }
    });
}

/// The server must greet the next client, though this one does not go by itself.
fn assert_is_not_held(server: &Server, hold: fn(&TcpStream)) {
    let holding = server.connect();
    read_one_line(&holding);
    thread::scope(|scope| {
        scope.spawn(|| hold(&holding));
        let next = server.connect();
        let much_longer = Duration::from_secs(8);
        next.set_read_timeout(Some(much_longer)).unwrap();
        let greeted = wait_for_byte(&next);
        // Whatever came of it, nothing is held any more.
        let _ = holding.shutdown(Shutdown::Both);
        greeted.expect("a greeting for the next client");
    });
}

#[cfg(not(windows))] // Wine, which would run this, ends the stream before it resets.
#[test]
fn experiment_3_a_client_resets() {
    let naive = naive();
    reset_after(naive.connect(), b"").unwrap();
    assert_failed_behind(&naive.program.end(), 1, "naive: Connection reset by peer");

    for server in repaired("60") {
        reset_after(server.connect(), b"").unwrap();
        send(&server.connect(), b"still there?\n").unwrap();
        assert_eq!(server.program.next_line(), b"still there?\n");
    }
}

/// Sends two lines in one segment, and two more behind the server's half-close. Fails unless the close is
/// an orderly one.
#[cfg(not(windows))]
fn send_four_lines(server: &Server) -> io::Result<()> {
    let mut client = server.connect();
    read_one_line(&client);
    write(&client, format!("one\n{:x<299}\n", "").as_bytes());
    read_to_end(&client)?;
    send_piece(server, &client, b"three\n");
    client.write_all(b"four\n")?;
    read_to_end_and_close(&client)?;
    Ok(())
}

#[cfg(not(windows))] // Wine, which would run this, ends the stream before it resets.
#[test]
fn experiment_4_the_server_closes_with_bytes_unread() {
    send_four_lines(&naive()).unwrap_err();

    for server in repaired("60") {
        let exchange = || {
            let start = Instant::now();
            (send_four_lines(&server), start.elapsed())
        };
        // Without a half-close, the client reads the end of the stream only when the server has waited for
        // long enough. With one, that is too late for the other lines only on a machine that stalls.
        let in_time = |(_, time): &(_, Duration)| *time < Duration::from_millis(600);
        let (ending, _) = try_until(exchange, in_time);
        ending.expect("an orderly close");
        assert_eq!(server.program.next_line(), b"one\n");
    }
}

#[cfg(target_os = "linux")] // /dev/full is there.
#[test]
fn experiment_5_the_disk_is_full() {
    use crate::programs::{client_to, example, run, server_command};

    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let mut naive = example("naive");
    naive.arg("127.0.0.1:0");
    let mut replying = server_command();
    replying.args(["--reply", "kept"]);
    let told = "cannot print the line from 127.";
    let mut cases = vec![
        // It dies, the line is lost, and its client is told that all is well.
        (naive, &[][..], 0, "naive: No space left on device"),
        (server_command(), &[], 3, told),
        (replying, &["-rkept"], 3, told),
    ];
    if let Some(in_c) = crate::c_server::command(&["0"]) {
        let told = "loop_server: cannot print the line from 127.";
        cases.push((in_c, &[], 3, told));
    }
    for (mut server, options, status, told) in cases {
        let server = Server::start_by(server.stdout(full()));
        run(client_to(server.port).args(options), b"hello\n").assert_status(status);
        assert_failed_behind(&server.program.end(), 1, told);
    }
}
