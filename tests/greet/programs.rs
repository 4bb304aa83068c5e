//! The two programs, started as a user would start them and gone when the test is over.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// More than anything takes here on the busiest machine: what takes longer will never come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running program, its output and its errors line by line.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    errors: Receiver<Vec<u8>>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Remains {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Program {
    /// Starts a command, with every standard stream at hand that the test has not yet redirected.
    pub fn start(command: &mut Command) -> Self {
        Self::running(command.spawn().unwrap())
    }

    /// Takes a program that runs, with every stream at hand that the test has not yet taken.
    pub fn running(mut child: Child) -> Self {
        Self {
            input: child.stdin.take(),
            output: lines_of(child.stdout.take()),
            errors: lines_of(child.stderr.take()),
            child,
        }
    }

    /// Starts a command whose output nobody reads any more.
    pub fn start_without_reader(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        Self::running(child)
    }

    /// The next line on standard output, its end included.
    pub fn output(&self) -> Vec<u8> {
        self.output
            .recv_timeout(PATIENCE)
            .expect("a line on standard output")
    }

    /// The next line on standard error, without its end.
    pub fn error(&self) -> String {
        let line = self
            .errors
            .recv_timeout(PATIENCE)
            .expect("a line on standard error");
        String::from_utf8(line)
            .unwrap()
            .trim_end_matches('\n')
            .into()
    }

    /// Types `text`, and the end of input behind it; returns whether all of it could be written, which
    /// fails once the program is gone.
    pub fn type_in(&mut self, text: &[u8]) -> bool {
        self.input.take().unwrap().write_all(text).is_ok()
    }

    /// Waits until the program ends by itself.
    pub fn end(mut self) -> Remains {
        self.input = None;
        let output = rest_of(&self.output);
        let errors = rest_of(&self.errors);
        Remains {
            status: self.child.wait().unwrap(),
            output,
            errors,
        }
    }

    /// Sends the program a signal, by name.
    #[cfg(target_os = "linux")]
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
    }

    /// Ends the program.
    pub fn stop(mut self) -> Remains {
        self.child.kill().unwrap();
        self.end()
    }

    /// The most memory the program has had so far, in kB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// How many files the program has open.
    #[cfg(target_os = "linux")]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines as they come, so that the program never waits for the test.
fn lines_of(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stream) = stream {
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// Everything up to the program's end, which must come in time.
fn rest_of(lines: &Receiver<Vec<u8>>) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.extend(line),
            Err(RecvTimeoutError::Disconnected) => {
                return String::from_utf8_lossy(&rest).into_owned();
            }
            Err(RecvTimeoutError::Timeout) => panic!("the program does not end"),
        }
    }
}

fn piped(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Where `greet-server` is.
pub const SERVER: &str = env!("CARGO_BIN_EXE_greet-server");

/// `greet-server`, to be started.
pub fn server_command() -> Command {
    piped(SERVER)
}

/// `greet-client`, to be started.
pub fn client_command() -> Command {
    piped(env!("CARGO_BIN_EXE_greet-client"))
}

/// `greet-client` for a port of this machine, to be started.
pub fn client_to(port: u16) -> Command {
    let mut command = client_command();
    command.args(["127.0.0.1", "--port", &port.to_string()]);
    command
}

/// Whether a program is installed without which a test can do nothing. If it is not, the test says so,
/// and not by `eprintln!`, which the harness keeps to itself while tests pass.
#[cfg(target_os = "linux")]
pub fn is_installed(program: &str) -> bool {
    let is_installed = Command::new(program).arg("-V").output().is_ok();
    if !is_installed {
        let test = thread::current();
        let test = test.name().unwrap_or("a test");
        let _ = writeln!(std::io::stderr(), "{test} was left out: no {program}(1)");
    }
    is_installed
}

/// The command under strace(1), if that is installed.
#[cfg(target_os = "linux")]
pub fn under_strace(command: &Command, options: &[&str]) -> Option<Command> {
    let mut strace = piped("strace");
    // With -D the program itself, and not strace, is what the test starts and stops.
    strace.args(["-D", "-qq"]).args(options);
    strace.arg(command.get_program()).args(command.get_args());
    is_installed("strace").then_some(strace)
}

/// The command with some of its system calls tampered with.
#[cfg(target_os = "linux")]
pub fn tampered_with(command: &Command, tamper: &str) -> Option<Command> {
    under_strace(command, &["-o", "/dev/null", "-e", tamper])
}

/// The command in a terminal of its own, made by script(1), if that is installed: what is written to it
/// is typed, and its output is the screen.
#[cfg(target_os = "linux")]
pub fn in_terminal(command: &Command) -> Option<Command> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut script = piped("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    is_installed("script").then_some(script)
}

/// A running `greet-server`.
pub struct Server {
    pub program: Program,
    pub port: u16,
}

impl Server {
    /// Starts `greet-server` with some arguments more.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(
            server_command()
                .args(["--bind", "127.0.0.1"])
                .args(arguments),
        )
    }

    /// Starts a server by a command, on a free port.
    pub fn start_by(command: &mut Command) -> Self {
        Self::running(Program::start(command.args(["--port", "0"])))
    }

    /// Takes a server that runs, and learns its port from the first line of its log, as a script would.
    pub fn running(program: Program) -> Self {
        let port = port_in(&program.error());
        Self { program, port }
    }

    /// Connects to the server, as a client that is not ours.
    pub fn connect(&self) -> TcpStream {
        connect(self.port)
    }

    /// How the client with this address ended, by the next two lines of the log.
    pub fn log_of(&self, address: SocketAddr) -> String {
        assert_eq!(self.program.error(), format!("{address} connected"));
        let ending = self.program.error();
        let ending = ending.strip_prefix(&format!("{address} "));
        ending.expect("the same client").into()
    }

    /// Fails unless the server takes a message just now, behind everything that came before.
    pub fn serves(&self) {
        let status = run_client(self.port, b"still there?\n").status;
        assert!(status.success(), "{status}");
    }
}

/// The first line of a stream, and the stream, to be dropped when the test wants that.
pub fn first_line_of(stream: impl Read + Send + 'static) -> (String, impl Read) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut reader, mut line) = (BufReader::new(stream), String::new());
        reader.read_line(&mut line).unwrap();
        sender.send((line, reader))
    });
    receiver.recv_timeout(PATIENCE).expect("a line")
}

/// The port that a server says it listens on.
pub fn port_in(line: &str) -> u16 {
    let address = line.strip_prefix("listening on ").expect(line);
    address.parse::<SocketAddr>().unwrap().port()
}

/// Connects to a port of this machine.
pub fn connect(port: u16) -> TcpStream {
    patient(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
}

/// A connection that does not wait for ever.
pub fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Starts `greet-client` for a port of this machine.
pub fn start_client(port: u16, arguments: &[&str]) -> Program {
    Program::start(client_to(port).args(arguments))
}

/// Runs `greet-client` with `input` on its standard input.
pub fn run_client(port: u16, input: &[u8]) -> Remains {
    let mut client = start_client(port, &["--timeout", "10"]);
    client.type_in(input);
    client.end()
}

/// A file of the test's own, gone when the test is over.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let name = format!("greet-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub fn create(&self) -> File {
        File::create(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
