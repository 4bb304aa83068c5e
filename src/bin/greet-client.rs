//! `greet-client`: prints a server's greeting and sends one line from standard input.

use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::{process::ExitCode, time::Duration};

use anyhow::{Context, anyhow};
use clap::Parser;
use greet::arguments::{
    DEFAULT_PORT, DEFAULT_TIMEOUT, parse_host, parse_line, parse_port, parse_timeout,
};
use greet::line::{MAX_LINE_LENGTH, check_line, reply_to};
use greet::{client::Session, program, terminal};

use Failure::{MayHaveArrived, Refused, TryAgain};

/// A terminal hands over at most so many bytes of a line on Linux, and drops the rest (termios(3),
/// canonical mode).
const TERMINAL_LIMIT: usize = 4_095;

/// Prints the greeting of a TCP server, then sends one line from standard input
#[derive(Parser)]
// `-p -1` is refused as a port, and not as an unknown option.
#[command(name = "greet-client", version, allow_negative_numbers = true)]
#[command(after_help = "\
Exit status:
  0  delivered: greet-server has printed the line, if both systems are Linux and
     the client reaches it directly; through a relay, use --reply 'kept {line}'
  1  nothing was sent; try again later:
     while echo done | greet-client HOST; s=$?; [ $s -eq 1 ]; do sleep 5; done
  2  nothing was sent, and another try would not help: bad arguments, or no line
     that can be sent
  3  the line may have arrived, whole or in part: look before you send it again")]
struct Options {
    /// Host name, IPv4 or IPv6 address of the server
    #[arg(value_parser = parse_host)]
    host: String,

    /// TCP port of the server, 1 to 65535
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = parse_port(1))]
    port: u16,

    /// Longest wait, decimals allowed: once until the
    /// greeting has come, and once more from the sending to
    /// the server's close
    #[arg(short, long, value_name = "SECONDS", default_value = DEFAULT_TIMEOUT, value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    timeout: Duration,

    /// The line that greet-server, with the same option,
    /// sends back as the receipt: 'kept {line}', as a fixed
    /// text would also confirm another line
    #[arg(short, long, value_name = "TEXT", value_parser = parse_line)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    reply: Option<String>,

    /// Send nothing: 0 if a greeting comes, 1 if none does
    #[arg(long, conflicts_with = "reply")]
    check: bool,
}

/// Why there is no receipt, by what is known of the line. Whoever passes an error on must choose.
enum Failure {
    /// Nothing was sent, and another try may succeed.
    TryAgain(anyhow::Error),
    /// Nothing was sent, and another try would end in the same way.
    Refused(anyhow::Error),
    /// The line was sent, or a part of it, or perhaps nothing.
    MayHaveArrived(anyhow::Error),
}

fn main() -> ExitCode {
    exchange(&program::arguments()).unwrap_or_else(report)
}

/// Says what is known of the line, and why there is no receipt. Returns the exit status for it.
fn report(failure: Failure) -> ExitCode {
    let (status, fate, reason) = match failure {
        TryAgain(reason) => (1, "nothing was sent", reason),
        Refused(reason) => (2, "nothing was sent", reason),
        MayHaveArrived(reason) => (3, "the line may have arrived", reason),
    };
    program::fail(status, &format!("greet-client: {fate}"), &reason)
}

/// The five steps of a TCP client.
fn exchange(options: &Options) -> Result<ExitCode, Failure> {
    // 1. create, 2. connect
    let mut session = connect_to_host(&options.host, options.port, options.timeout)
        .with_context(|| format!("cannot connect to {} port {}", options.host, options.port))
        .map_err(TryAgain)?;
    let address = session.address();
    tell_user(&format!("connected to {address}\n"));

    // 3. receive
    let greeting = session
        .receive_greeting()
        .with_context(|| format!("no greeting from {address}"))
        .map_err(TryAgain)?;
    let line = match print(greeting) {
        Ok(()) => line_to_send(options),
        Err(error) => Err(TryAgain(error)),
    };
    let line = match line {
        Ok(Some(line)) => line,
        // In both other cases an orderly close says that no line comes. A reset could be any failure.
        Ok(None) => {
            session.close();
            return Ok(ExitCode::SUCCESS);
        }
        Err(failure) => {
            // The reason is told first, because the close may have to wait for the server.
            let status = report(failure);
            session.close();
            return Ok(status);
        }
    };

    // 4. send, and half-close. Up to `ready`, nothing was sent. From `send` on, that is not known.
    let no_receipt = |error: io::Error| {
        let step = format!("no receipt from {address}");
        MayHaveArrived(anyhow::Error::new(error).context(step))
    };
    if let Some(reply) = &options.reply {
        let answer = session.ask(&line).map_err(|error| match error.kind() {
            ErrorKind::ConnectionAborted => TryAgain(error.into()),
            _ => no_receipt(error),
        })?;
        // The reply is the receipt, so nothing is left to wait for: dropping the session closes it.
        let is_receipt = answer == reply_to(&line, reply);
        print(answer).map_err(MayHaveArrived)?;
        if !is_receipt {
            return Err(no_receipt(io::Error::other("the reply is another one")));
        }
    } else {
        let ready = session.ready().map_err(|error| TryAgain(error.into()))?;
        let mut replies = ready.send(&line).map_err(no_receipt)?;

        // 5. close: dropping `replies` does it. First read to the end of the server's stream, because
        // that is the receipt.
        while let Some(reply) = replies.receive().map_err(no_receipt)? {
            print(reply).map_err(MayHaveArrived)?;
        }
    }
    tell_user(&format!("{} bytes delivered\n", line.len()));
    Ok(ExitCode::SUCCESS)
}

/// Connects to a host as it was typed.
fn connect_to_host(host: &str, port: u16, timeout: Duration) -> anyhow::Result<Session> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let session = Session::connect(&addresses[..], timeout);
    // std does not parse an address with its interface, such as `fe80::1%eth0`, as an `IpAddr`.
    let is_address = host.parse::<IpAddr>().is_ok() || host.contains('%');
    match addresses[..] {
        // The error of several addresses names them. That of a single address does not, so this does,
        // unless the user typed the address.
        [only] if !is_address => session.with_context(|| only.ip()),
        _ => Ok(session?),
    }
}

/// Reads the line to send from standard input, and refuses one that would not arrive as it is, or for which
/// no receipt could come. A check sends nothing.
fn line_to_send(options: &Options) -> Result<Option<Vec<u8>>, Failure> {
    if options.check {
        return Ok(None);
    }
    tell_user("> ");
    let mut input = Vec::new();
    let outcome = read_input(&mut input);
    // Enter moves the cursor to the next line. Ctrl-D leaves it behind the prompt.
    if !input.ends_with(b"\n") {
        tell_user("\n");
    }
    if let Err(error) = outcome {
        // Standard input is in non-blocking mode, and empty for the moment. If a part of the line had come,
        // another try would send the rest of it as if it were a line.
        let may_come_yet = error.kind() == ErrorKind::WouldBlock && input.is_empty();
        let failure = if may_come_yet { TryAgain } else { Refused };
        return Err(failure(anyhow::Error::new(error).context("standard input")));
    }
    if input.is_empty() {
        return Err(Refused(anyhow!("no line on standard input")));
    }

    let line = match input.as_slice() {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] | line => line,
    };
    check_line(line).map_err(|error| Refused(error.into()))?;
    if cfg!(target_os = "linux") && line.len() >= TERMINAL_LIMIT && io::stdin().is_terminal() {
        let reason = format!("the terminal cuts a line at {TERMINAL_LIMIT} bytes: use a pipe");
        return Err(Refused(anyhow!(reason)));
    }
    if let Some(reply) = &options.reply {
        // If this reply cannot be a line, it never comes.
        check_line(&reply_to(line, reply))
            .context("the expected reply")
            .map_err(Refused)?;
    }
    Ok(Some(line.to_vec()))
}

/// Appends the first line of standard input, with its end. If the line is too long, its rest is not read.
fn read_input(line: &mut Vec<u8>) -> io::Result<()> {
    let longest = MAX_LINE_LENGTH + b"\r\n".len();
    // A NUL does not end this line, as it ends one that is received. It is a mistake, for which the whole line
    // is refused, and not only its beginning.
    let mut input = standard_input()?.take(longest as u64);
    input.read_until(b'\n', line)?;
    Ok(())
}

/// Standard input, of which not a byte more is taken than is asked for. What stands behind the line belongs to
/// whatever reads next, so the shell's `read` reads a byte at a time, too. What std reads ahead would be lost.
#[cfg(unix)]
fn standard_input() -> io::Result<impl BufRead> {
    use std::{fs::File, os::fd::AsFd};
    let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(io::BufReader::with_capacity(1, File::from(descriptor)))
}

/// Standard input. What is read ahead of it is nobody's.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "on Unix it may fail")]
fn standard_input() -> io::Result<impl BufRead> {
    Ok(io::stdin().lock())
}

/// Prints a line from the server.
fn print(line: Vec<u8>) -> anyhow::Result<()> {
    terminal::show(io::stdout(), io::stdout().is_terminal(), line)
        .context("cannot write to standard output")
}

/// Tells something to the person at the keyboard. If standard input is not a terminal, nobody sits there.
/// This makes a single write; `eprint!` would write in pieces, and panic if standard error is lost.
fn tell_user(text: &str) {
    if io::stdin().is_terminal() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
