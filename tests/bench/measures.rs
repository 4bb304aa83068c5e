//! What the guarantees cost: `greet-server` side by side with a bare loop that gives none of them.
//!
//! Every figure is a ratio, or a count, of the real programs in this run. Sessions are measured in
//! short rounds, the two servers by turns, and the median of the rounds' ratios is printed, so that
//! a busy machine disturbs both alike. The servers have one processor and their clients another, as
//! on two machines, where taskset(1) is installed; left to the system, where it happens to put them
//! weighs more than what they do. Let the machine be quiet: what else runs on the two processors
//! falls on the bare loop and on the server unequally, and a bound may be missed by that alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark may fail by panicking, and its numbers are small"
)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use Bound::{AtLeast, AtMost};
use programs::{Program, SERVER, client_to, piped};

#[path = "../greet/programs.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod programs;

const PAIRS: usize = 10;
const ROUNDS: usize = 10;
const SESSIONS_PER_ROUND: usize = 480;
const SHORT_LINE: &[u8] = b"hello\n";
/// A line of 60,000 bytes, and its end.
const LONG_LINE: &[u8] = &{
    let mut line = [b'x'; 60_001];
    line[60_000] = b'\n';
    line
};
/// The processors of the servers and of their clients.
const SERVERS: &str = "0";
const CLIENTS: &str = "1";
const EITHER: &str = "0,1";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("bare-loop") => bare_loop(arguments[2].parse().unwrap(), read_once),
        Some("line-loop") => bare_loop(arguments[2].parse().unwrap(), read_to_line_end),
        _ => {}
    }

    pin(std::process::id(), CLIENTS);
    heading("greet-server", "bare loop");
    for clients in [1, 16] {
        let (rate, time) = compare_sessions("bare-loop", SHORT_LINE, clients);
        let measure = format!("sessions per second, {clients} at a time");
        row(&measure, rate.map(|rate| rate.median), AtLeast(0.90));
        let measure = format!("processor time per session, {clients} at a time");
        row(&measure, time.map(|time| time.median), AtMost(1.30));
    }
    let (_, time) = compare_sessions("line-loop", LONG_LINE, 1);
    row(
        "processor time, a line of 60,000 bytes",
        time.map(|time| time.median),
        AtMost(1.40),
    );
    row("system calls per session", system_calls(), AtMost(13.0));
    let [early, late] = peak_memory();
    row("peak memory after 100,000 sessions, MiB", late, AtMost(3.0));
    // Three bytes a session: less than the smallest leak.
    let growth = early.zip(late).map(|(early, late)| late - early);
    row("its growth in the last 90,000, MiB", growth, AtMost(0.25));

    heading("greet-client", "nc -N");
    let time = compare_clients();
    // The exchanges differ more among themselves than the two programs do.
    let spread = time.map_or(0.0, |time| time.median - time.lower_quartile);
    let measure = format!("one exchange, whole process; spread {spread:.2}");
    row(
        &measure,
        time.map(|time| time.median),
        AtMost(1.00 + spread),
    );
    println!(
        "\n\
A session is a client from accept to close. The bare loop accepts, writes the greeting, reads once,\n\
prints and closes. For the long line it reads up to the line end, with a buffer of 8 KiB. What the\n\
server does beyond that, each for a part of the processor time: it keeps a deadline, writes its log,\n\
leaves the line unread until it is printed, and closes so that no client is reset, for which it\n\
sometimes waits. Peak memory is what was resident at most; an exchange is one process from its start\n\
to its end."
    );
}

/// The loop of the tutorials, with a way to receive.
fn bare_loop(port: u16, receive: fn(&mut TcpStream) -> Vec<u8>) -> ! {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"Connect succeed. Please send a message to me\n");
        let received = receive(&mut stream);
        let _ = stdout().write_all(&received);
        let _ = stdout().flush();
    }
}

fn read_once(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 256];
    let length = stream.read(&mut buffer).unwrap_or(0);
    buffer[..length].to_vec()
}

fn read_to_line_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut line = Vec::new();
    let _ = BufReader::new(stream).read_until(b'\n', &mut line);
    line
}

/// Binds a process to processors.
fn pin(process: u32, processor: &str) {
    let mut command = Command::new("taskset");
    command.args(["-cp", processor, &process.to_string()]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// A server whose output and log nobody reads.
struct Server {
    program: Program,
    address: SocketAddr,
}

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut command = piped(program);
        command.args(arguments).arg(address.port().to_string());
        let program = Program::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        pin(program.id(), SERVERS);
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        Self { program, address }
    }

    fn greet() -> Self {
        Self::start(SERVER, &["--port"])
    }

    fn bare(kind: &str) -> Self {
        Self::start(env::current_exe().unwrap().to_str().unwrap(), &[kind])
    }

    /// Runs sessions, some at a time; returns the seconds they took.
    fn serve(&self, sessions: usize, clients: usize, line: &'static [u8]) -> f64 {
        let (start, address) = (Instant::now(), self.address);
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(move || (0..sessions / clients).for_each(|_| exchange(address, line)));
            }
        });
        start.elapsed().as_secs_f64()
    }

    /// Runs one round; returns the seconds it took and the nanoseconds of processor time.
    fn serve_round(&self, clients: usize, line: &'static [u8]) -> (f64, Option<f64>) {
        let before = self.processor_time();
        let duration = self.serve(SESSIONS_PER_ROUND, clients, line);
        let time = self
            .processor_time()
            .zip(before)
            .map(|(after, before)| after - before);
        (duration, time)
    }

    /// The processor time used so far, in nanoseconds: proc(5), /proc/PID/schedstat.
    fn processor_time(&self) -> Option<f64> {
        let times = fs::read_to_string(format!("/proc/{}/schedstat", self.program.id())).ok()?;
        times.split_whitespace().next()?.parse().ok()
    }
}

/// One session, as a client without frills has it.
fn exchange(address: SocketAddr, line: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut buffer = [0; 256];
    let _ = stream.read(&mut buffer).unwrap();
    stream.write_all(line).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

/// The server's sessions per second and processor time per session, each relative to the bare loop.
fn compare_sessions(
    bare: &str,
    line: &'static [u8],
    clients: usize,
) -> (Option<Ratios>, Option<Ratios>) {
    let (mut rates, mut times) = (Vec::new(), Vec::new());
    // One start may be luckier than the next, most of all without taskset.
    for pair in 1..=PAIRS {
        eprintln!(
            "{} bytes, {clients} at a time: pair {pair} of {PAIRS}",
            line.len()
        );
        let (bare, greet) = (Server::bare(bare), Server::greet());
        for round in 0..=ROUNDS {
            let (bare_duration, bare_time) = bare.serve_round(clients, line);
            let (duration, time) = greet.serve_round(clients, line);
            // The first round is for warming up.
            if round > 0 {
                rates.push(bare_duration / duration);
                times.extend(
                    time.zip(bare_time)
                        .map(|(time, bare_time)| time / bare_time),
                );
            }
        }
    }
    (Ratios::of(rates), Ratios::of(times))
}

/// System calls per session with default options: what twice as many sessions have more, without the
/// process's start and end.
fn system_calls() -> Option<f64> {
    const SESSIONS: usize = 1_000;
    let calls = count_system_calls(2 * SESSIONS)? - count_system_calls(SESSIONS)?;
    Some(calls / SESSIONS as f64)
}

/// All system calls of a server with so many sessions, counted by strace(1) where it is installed.
fn count_system_calls(sessions: usize) -> Option<f64> {
    let counts = env::temp_dir().join(format!("greet-calls-{}", std::process::id()));
    let (messages, file) = (sessions.to_string(), counts.to_str()?);
    let traced = ["-c", "-o", file, SERVER, "--messages", &messages, "--port"];
    Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .ok()?;
    let server = Server::start("strace", &traced);
    server.serve(sessions, 1, SHORT_LINE);
    server.program.end();
    let table = fs::read_to_string(&counts).ok()?;
    fs::remove_file(counts).ok()?;
    let total = table.lines().find(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// The server's peak memory after 10,000 and after 100,000 sessions.
fn peak_memory() -> [Option<f64>; 2] {
    let server = Server::greet();
    [10_000, 90_000].map(|sessions| {
        eprintln!("{sessions} sessions for the memory");
        server.serve(sessions, 16, SHORT_LINE);
        Some(server.program.peak_memory()? as f64 / 1024.0)
    })
}

/// The time of a whole `greet-client`, relative to that of `nc -N`.
fn compare_clients() -> Option<Ratios> {
    let server = Server::greet();
    let port = server.address.port();
    // A client's start and end weigh more here than its few waits.
    pin(server.program.id(), EITHER);
    pin(std::process::id(), EITHER);
    eprintln!("clients by turns");
    let mut nc = Command::new("nc");
    nc.args(["-N", "127.0.0.1", &port.to_string()]);
    let mut ratios = Vec::new();
    for _ in 0..500 {
        let greet = run(&mut client_to(port))?;
        ratios.push(greet / run(&mut nc)?);
    }
    Ratios::of(ratios)
}

/// Runs a client with a line on its standard input; returns the seconds it took.
fn run(client: &mut Command) -> Option<f64> {
    let start = Instant::now();
    client
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let mut child = client.spawn().ok()?;
    child.stdin.take()?.write_all(b"hello\n").ok()?;
    child
        .wait()
        .ok()?
        .success()
        .then(|| start.elapsed().as_secs_f64())
}

/// What the many ratios of a run come to.
#[derive(Clone, Copy)]
struct Ratios {
    lower_quartile: f64,
    median: f64,
}

impl Ratios {
    fn of(mut ratios: Vec<f64>) -> Option<Self> {
        ratios.sort_by(f64::total_cmp);
        Some(Self {
            lower_quartile: *ratios.get(ratios.len() / 4)?,
            median: *ratios.get(ratios.len() / 2)?,
        })
    }
}

/// What a figure must reach.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

fn heading(ours: &str, theirs: &str) {
    println!("\n{:48} {ours:>14}   must reach", format!("({theirs} = 1)"));
}

fn row(measure: &str, figure: Option<f64>, bound: Bound) {
    let Some(figure) = figure else {
        println!("{measure:48} {:>14}", "not here");
        return;
    };
    let (bound, reached) = match bound {
        AtLeast(bound) => (format!("at least {bound:.2}"), figure >= bound),
        AtMost(bound) => (format!("at most {bound:.2}"), figure <= bound),
    };
    let mark = if reached { "" } else { "   MISSED" };
    println!("{measure:48} {figure:>14.2}   {bound}{mark}");
}
