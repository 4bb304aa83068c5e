//! `greet-client`: prints a server's greeting and sends one line from standard input.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Parser;
use greet::arguments::{DEFAULT_PORT, parse_host, parse_timeout};
use greet::line::{Line, read_line};
use greet::{client::Session, terminal};

/// Prints the greeting of a TCP server, then sends one line from standard input
#[derive(Parser)]
// `-p -1` is refused as a port, and not as an unknown option.
#[command(name = "greet-client", version, allow_negative_numbers = true)]
#[command(after_help = "\
Exit status:
  0  delivered: greet-server, if reached directly, has shown the line
  1  nothing was sent; another time may be better:
     while echo done | greet-client HOST; s=$?; [ $s -eq 1 ]; do sleep 5; done
  2  nothing was sent, nor will be: bad arguments, or no line that can be sent
  3  the line may have arrived, whole or in part")]
struct Options {
    /// Host name, IPv4 or IPv6 address of the server
    #[arg(value_parser = parse_host)]
    host: String,

    /// TCP port of the server, 1 to 65535
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Longest wait, decimals allowed: for connection and
    /// greeting together, again for the close
    #[arg(short, long, value_name = "SECONDS", default_value = "60", value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    timeout: Duration,
}

fn main() -> ExitCode {
    match exchange(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(status) => status,
    }
}

/// The five steps of a TCP client. A failure is reported where it happens, and returned as the exit
/// status, which says what is known of the line.
fn exchange(options: &Options) -> Result<(), ExitCode> {
    let try_again = |error| fail(1, "nothing was sent", &error);
    let refused = |error| fail(2, "nothing was sent", &error);
    let may_have_arrived = |error| fail(3, "the message may have arrived", &error);

    // 1. create, 2. connect
    let mut session = connect_to_host(&options.host, options.port, options.timeout)
        .with_context(|| format!("cannot connect to {} port {}", options.host, options.port))
        .map_err(try_again)?;
    let address = session.address;
    tell_user(&format!("connected to {address}\n"));

    // 3. receive
    let greeting = session
        .receive_greeting()
        .with_context(|| format!("no greeting from {address}"))
        .map_err(try_again)?;
    let printed = print(&greeting).map_err(try_again);
    let message = match printed.and_then(|()| read_message().map_err(refused)) {
        Ok(message) => message,
        Err(status) => {
            // An orderly close tells the server that no message comes. A reset could be any failure.
            session.close();
            return Err(status);
        }
    };

    // 4. send, and half-close. Up to `ready`, nothing was sent. From `send` on, that is not known.
    let no_receipt = |error: io::Error| {
        let step = format!("no receipt from {address}");
        may_have_arrived(anyhow::Error::new(error).context(step))
    };
    let ready = session.ready().map_err(|error| try_again(error.into()))?;
    let mut replies = ready.send(&message).map_err(no_receipt)?;

    // 5. close: dropping `replies` does it. First read to the end of the server's stream, because that
    // is the receipt.
    while let Some((reply, rest)) = replies.receive().map_err(no_receipt)? {
        print(&reply).map_err(may_have_arrived)?;
        replies = rest;
    }
    tell_user(&format!("{} bytes delivered\n", message.len()));
    Ok(())
}

/// Reports a failure: what is known of the line, and the reason.
fn fail(status: u8, fate: &str, error: &anyhow::Error) -> ExitCode {
    terminal::log(io::stderr(), &format!("greet-client: {fate}: {error:#}"));
    ExitCode::from(status)
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

/// Reads one line from standard input, and refuses a line that would not arrive as it is.
fn read_message() -> anyhow::Result<Vec<u8>> {
    tell_user("> ");
    let line = read_line(&mut io::stdin().lock());
    // Enter moves the cursor to the next line. Ctrl-D leaves it behind the prompt.
    if !matches!(&line, Ok(Some(line)) if line.end == Some(b'\n')) {
        tell_user("\n");
    }
    match line.context("standard input")? {
        None => bail!("no line on standard input"),
        Some(Line { end: Some(0), .. }) => bail!("a NUL in the line would end it early"),
        Some(line) if line.bytes.ends_with(b"\r") => bail!("a CR at the end would be dropped"),
        Some(line) => Ok(line.bytes),
    }
}

/// Prints a line from the server.
fn print(line: &[u8]) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let on_terminal = stdout.is_terminal();
    terminal::show(stdout, on_terminal, line).context("cannot write to standard output")
}

/// Tells something to the person at the keyboard. If standard input is not a terminal, nobody sits there.
/// This makes a single write; `eprint!` would write in pieces, and panic if standard error is lost.
fn tell_user(text: &str) {
    if io::stdin().is_terminal() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
