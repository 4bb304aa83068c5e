//! `greet-client`: prints a server's greeting and sends one line from standard input.

use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use greet::arguments::{parse_host, parse_timeout};
use greet::client::{Replies, Session};
use greet::line::{Line, read_line};
use greet::terminal::show;

/// Prints the greeting of a TCP server, then sends one line from standard input
#[derive(Parser)]
// Negative numbers, so that `-p -1` is refused as a port and not as an unknown option.
#[command(name = "greet-client", version, allow_negative_numbers = true)]
#[command(after_help = "\
Examples:
  greet-client -p 22 -t 2 ::1 </dev/null  see whether a port answers
  until echo done | greet-client HOST; do [ $? -eq 1 ] || exit; sleep 5; done
                                          try again until a line is delivered

Exit status: 0 the line was delivered, 1 nothing was sent, 2 bad arguments,
3 the line may have arrived, whole or in part.")]
struct Options {
    /// Host name, IPv4 or IPv6 address of the server
    #[arg(value_parser = parse_host)]
    host: String,

    /// TCP port of the server, 1 to 65535
    #[arg(short, long, default_value_t = 65432, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Longest wait, decimals allowed: for connection and
    /// greeting together, again for the close
    #[arg(short, long, value_name = "SECONDS", default_value = "60", value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    timeout: Duration,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (status, error) = match send_message(&options) {
        Err(error) => (1, error.context("nothing was sent")),
        Ok((replies, length)) => match receive_receipt(replies, length) {
            Err(error) => (3, error.context("the message may have arrived")),
            Ok(()) => return ExitCode::SUCCESS,
        },
    };
    // Escaped, as it may name a host, and an argument may hold anything.
    let reason = format!("greet-client: {error:#}");
    let _ = show(&mut io::stderr(), true, reason.as_bytes());
    ExitCode::from(status)
}

/// The first four steps of a TCP client. If one of them fails, nothing was sent.
fn send_message(options: &Options) -> anyhow::Result<(Replies, usize)> {
    // 1. create, 2. connect
    let mut session = connect_to_host(&options.host, options.port, options.timeout)
        .with_context(|| format!("cannot connect to {} port {}", options.host, options.port))?;
    guide(&format!("connected to {}\n", session.address));

    // 3. receive
    let greeting = session.receive_greeting();
    let greeting = greeting.with_context(|| format!("no greeting from {}", session.address))?;
    let message = print(&greeting, io::stdout().is_terminal()).and_then(|()| read_message());
    let message = message.inspect_err(|_| session.close())?;

    // 4. send, and half-close
    let replies = session.send(&message)?;
    Ok((replies, message.len()))
}

/// The fifth step. If it fails, the message may have arrived.
fn receive_receipt(mut replies: Replies, length: usize) -> anyhow::Result<()> {
    // 5. close, which dropping `replies` does, but not before the server: the end of its stream is the
    // receipt.
    let escaped = io::stdout().is_terminal();
    while let Some(reply) = replies.receive()? {
        print(&reply, escaped)?;
    }
    guide(&format!("{length} bytes delivered\n"));
    Ok(())
}

/// Connects to a host as it was typed.
fn connect_to_host(host: &str, port: u16, timeout: Duration) -> anyhow::Result<Session> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let session = Session::connect(&addresses[..], timeout);
    match addresses[..] {
        // The failure names each of several; the only one is named here, unless it was typed.
        [only] if !host.starts_with(&only.ip().to_string()) => session.with_context(|| only.ip()),
        _ => Ok(session?),
    }
}

/// Reads one line from standard input, and refuses one of which only a part would arrive.
fn read_message() -> anyhow::Result<Vec<u8>> {
    guide("> ");
    let line = read_line(&mut io::stdin().lock());
    if !matches!(&line, Ok(Some(line)) if line.end == Some(b'\n')) {
        guide("\n"); // Ctrl-D leaves the cursor at the prompt.
    }
    match line.context("standard input")? {
        None => bail!("no line on standard input"),
        Some(Line { end: Some(0), .. }) => bail!("a NUL in the line would end it early"),
        Some(line) if line.bytes.ends_with(b"\r") => bail!("a CR at its end would be dropped"),
        Some(line) => Ok(line.bytes),
    }
}

/// Prints a line from the server.
fn print(line: &[u8], escaped: bool) -> anyhow::Result<()> {
    show(&mut io::stdout(), escaped, line).context("cannot write to standard output")
}

/// Speaks to the person at the keyboard, if there is one, in one write (`eprint!` writes in pieces, and
/// panics where standard error is lost).
fn guide(text: &str) {
    if io::stdin().is_terminal() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
