//! The two programs, started as a user would start them and gone when the test is over.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fmt::Debug, fs, thread};

use greet::line::MAX_LINE_LENGTH;

/// Longer than a wait takes here on a busy machine. What takes longer will never come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The length of the longest line, and what is said of a longer one.
pub const LONGEST: usize = MAX_LINE_LENGTH;
const _: () = assert!(
    LONGEST >= 65_536,
    "with its end, the longest line fills a pipe"
);

pub fn too_long() -> String {
    format!("the line is longer than {LONGEST} bytes")
}

pub const SERVER: &str = env!("CARGO_BIN_EXE_greet-server");
pub const CLIENT: &str = env!("CARGO_BIN_EXE_greet-client");

// The statuses of `greet-client` that are no success.
pub const TRY_AGAIN: i32 = 1;
/// Nothing was sent, and another try would end in the same way.
pub const REFUSED: i32 = 2;
pub const MAY_HAVE_ARRIVED: i32 = 3;

/// A running program, with its output and its errors line by line.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    errors: Receiver<Vec<u8>>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Fails unless the program ended with this status.
    #[track_caller]
    pub fn assert_status(&self, status: i32) {
        let is_so = self.status.code() == Some(status);
        assert!(
            is_so,
            "status {:?} instead of {status}: {self:?}",
            self.status.code()
        );
    }

    /// Fails unless the program ended with this status, and has printed this.
    #[track_caller]
    pub fn assert_ended(&self, status: i32, stdout: &str) {
        self.assert_status(status);
        assert_eq!(self.stdout, stdout, "{self:?}");
    }

    /// `greet-client` must have failed with one line, which says what became of the message, and why.
    #[track_caller]
    pub fn assert_failed(&self, status: i32, stdout: &str, reason: &str) {
        let fate = match status {
            MAY_HAVE_ARRIVED => "greet-client: the line may have arrived: ",
            _ => "greet-client: nothing was sent: ",
        };
        self.assert_ended(status, stdout);
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with(fate), "{self:?}");
        assert!(self.stderr.contains(reason), "{self:?}");
    }

    /// `greet-client` must have printed this, and said nothing else.
    #[track_caller]
    pub fn assert_delivered(&self, stdout: &str) {
        self.assert_ended(0, stdout);
        assert_eq!(self.stderr, "");
    }
}

impl Program {
    /// Starts a command, with every standard stream at hand that the test has not redirected.
    pub fn start(command: &mut Command) -> Self {
        Self::running(command.spawn().unwrap())
    }

    /// Takes a program that runs, with every stream at hand that the test has not taken.
    pub fn running(mut child: Child) -> Self {
        Self {
            input: child.stdin.take(),
            output: lines_of(child.stdout.take()),
            errors: lines_of(child.stderr.take()),
            child,
        }
    }

    /// The next line on standard output, its end included.
    #[track_caller]
    pub fn next_line(&self) -> Vec<u8> {
        let line = self.output.recv_timeout(PATIENCE);
        line.expect("a line on standard output")
    }

    /// The next line on standard error, without its end.
    #[track_caller]
    pub fn next_error(&self) -> String {
        let line = self.errors.recv_timeout(PATIENCE);
        let line = String::from_utf8(line.expect("a line on standard error")).unwrap();
        line.trim_end_matches('\n').into()
    }

    /// Types `keys`, and leaves the input open.
    #[cfg(target_os = "linux")]
    pub fn press(&mut self, keys: &[u8]) {
        self.input.as_mut().unwrap().write_all(keys).unwrap();
    }

    /// Types `text`, and the end of input behind it. Returns whether all of it could be written, which
    /// fails once the program is gone. A program that does not read what is typed would hold this for ever.
    #[track_caller]
    pub fn type_in(&mut self, text: &[u8]) -> bool {
        let (mut input, text) = (self.input.take().unwrap(), text.to_vec());
        let (sender, written) = mpsc::channel();
        thread::spawn(move || sender.send(input.write_all(&text).is_ok()));
        let written = written.recv_timeout(PATIENCE);
        written.expect("the program does not read its input")
    }

    /// Waits until the program ends by itself.
    #[track_caller]
    pub fn end(mut self) -> Finished {
        Finished {
            stdout: rest_of(&self.output),
            stderr: rest_of(&self.errors),
            status: self.child.wait().unwrap(),
        }
    }

    /// Ends the program.
    #[track_caller]
    pub fn stop(mut self) -> Finished {
        self.child.kill().unwrap();
        self.end()
    }

    /// The program's process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory the program has had so far, in kB: proc(5), /proc/PID/status. Only Linux tells.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim_end_matches("kB").trim().parse().ok()
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
#[track_caller]
fn rest_of(lines: &Receiver<Vec<u8>>) -> String {
    let (start, mut rest) = (Instant::now(), Vec::new());
    loop {
        match lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            Ok(line) => rest.extend(line),
            Err(RecvTimeoutError::Disconnected) => return String::from_utf8_lossy(&rest).into(),
            Err(RecvTimeoutError::Timeout) => panic!("the program does not end"),
        }
    }
}

/// A program with pipes for its standard streams, to be started.
pub fn piped(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// One of the tutorials' other systems, to be started.
pub fn example(name: &str) -> Command {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(build_examples);
    let programs = Path::new(SERVER).parent().unwrap();
    let example = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let mut command = piped(programs.join("examples").join(example).to_str().unwrap());
    command.env("RUST_BACKTRACE", "1"); // A failure is one line all the same.
    command
}

/// Builds the examples beside the programs, in the same way. `cargo test` has done so, but `cargo test NAME` and
/// `cargo test --test greet` have not: what is there may be missing, or be that of yesterday.
fn build_examples() {
    let programs = Path::new(SERVER).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--examples", "--offline", "--locked", "--quiet"]);
    // The programs are in TARGET_DIR/PROFILE, or with `--target` in TARGET_DIR/TARGET/PROFILE.
    let profile = programs.file_name().unwrap().to_str().unwrap();
    cargo.args([
        "--profile",
        if profile == "debug" { "dev" } else { profile },
    ]);
    let above = programs.parent().unwrap();
    let is_target_dir = |folder: &Path| folder.join(".rustc_info.json").exists();
    match above.parent() {
        Some(target_dir) if is_target_dir(target_dir) && !is_target_dir(above) => cargo
            .arg("--target-dir")
            .arg(target_dir)
            .arg("--target")
            .arg(above.file_name().unwrap()),
        _ => cargo.arg("--target-dir").arg(above),
    };
    match cargo.status() {
        Ok(status) => assert!(status.success(), "the examples do not compile: see above"),
        // Wine starts no program of the system below it.
        Err(_) => assert_examples_are_newer_than_their_source(&programs.join("examples")),
    }
}

const ADVICE: &str = "the examples are not those of this source: build them first, with `cargo build --examples` \
                      and the options with which you run the tests";

fn assert_examples_are_newer_than_their_source(examples: &Path) {
    let written = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let files_in = |folder| {
        fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
    };
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let shared = files_in("src").filter(is_source);
    let shared = shared.map(|path| written(&path).unwrap()).max().unwrap();
    for source in files_in("src/examples").filter(is_source) {
        let name = source.file_stem().unwrap().to_str().unwrap();
        let example = examples.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let newest = written(&source).unwrap().max(shared);
        let is_newer = written(&example).is_ok_and(|written| written >= newest);
        assert!(is_newer, "{ADVICE}");
    }
}

/// `greet-server` on a free port of the loopback interface, to be started.
pub fn server_command() -> Command {
    let mut command = piped(SERVER);
    command.args(["--bind", "127.0.0.1", "--port", "0"]);
    command
}

/// `greet-client` for a port of this machine, to be started.
pub fn client_to(port: u16) -> Command {
    let mut command = piped(CLIENT);
    command.args(["127.0.0.1", "--port", &port.to_string()]);
    command
}

#[cfg(target_os = "linux")]
pub fn start_client(port: u16, arguments: &[&str]) -> Program {
    Program::start(client_to(port).args(arguments))
}

/// Runs a command with `input` on its standard input.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    let mut program = Program::start(command);
    program.type_in(input);
    program.end()
}

/// Runs `greet-client` with `input` on its standard input.
#[track_caller]
pub fn run_client(port: u16, input: &[u8]) -> Finished {
    run(&mut client_to(port), input)
}

/// A running `greet-server`.
pub struct Server {
    pub program: Program,
    pub port: u16,
}

impl Server {
    /// Starts `greet-server` with some arguments more.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(server_command().args(arguments))
    }

    /// Starts a server by a command.
    #[track_caller]
    pub fn start_by(command: &mut Command) -> Self {
        Self::running(Program::start(command))
    }

    /// Takes a server that runs, and learns its port from the first line of its log.
    #[track_caller]
    pub fn running(program: Program) -> Self {
        let port = port_in(&program.next_error());
        Self { program, port }
    }

    /// Connects to the server, as a client that is not ours.
    pub fn connect(&self) -> TcpStream {
        connect(self.port)
    }

    /// How this client ended, by the next two lines of the log.
    #[track_caller]
    pub fn ending_of(&self, client: &TcpStream) -> String {
        let address = client.local_addr().unwrap();
        assert_eq!(self.program.next_error(), format!("{address} connected"));
        let ending = self.program.next_error();
        let ending = ending.strip_prefix(&format!("{address} "));
        ending.expect("the same client").into()
    }
}

/// The port that a server says it listens on.
#[track_caller]
pub fn port_in(line: &str) -> u16 {
    let address = line.strip_prefix("listening on ").expect(line);
    address.parse::<SocketAddr>().unwrap().port()
}

pub fn connect(port: u16) -> TcpStream {
    with_patience(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
}

/// A connection that does not wait for ever.
pub fn with_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Tries something until it is met in time, which a busy machine may miss, but not every time. Fails with what
/// the last try was, and does not try again what takes too long.
#[track_caller]
pub fn try_until<T: Debug>(mut attempt: impl FnMut() -> T, is_met: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    let mut last = attempt();
    for _ in 1..20 {
        if is_met(&last) || start.elapsed() > 2 * PATIENCE {
            break;
        }
        last = attempt();
    }
    assert!(is_met(&last), "{last:?}");
    last
}

/// A file or folder of the test's own, gone when the test is over.
pub struct TempPath(pub PathBuf);

impl TempPath {
    pub fn new(name: &str) -> Self {
        let name = format!("greet-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0).or_else(|_| fs::remove_dir_all(&self.0));
    }
}
