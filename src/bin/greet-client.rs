//! `greet-client`: prints a server's greeting and sends one line from standard input.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use greet::client::Session;
use greet::deadline::parse_timeout;
use greet::host::parse_host;
use greet::line::{Line, read_line};
use greet::terminal::{escape, show};

/// Prints the greeting of a TCP server, then sends one line from standard input
#[derive(Parser)]
#[command(
    name = "greet-client",
    version,
    // So that `-t -1` is refused as a time-out, and not as an unknown option.
    allow_negative_numbers = true,
    after_help = "\
Examples:
  greet-client 127.0.0.1                     type a line to a greet-server on this machine
  echo hello | greet-client example.org      send a line from a script
  greet-client -p 22 -t 2 ::1 </dev/null     see whether a port answers, and with what

Exit status: 0 if the line was sent and an orderly close followed, 1 if not, 2 for bad arguments."
)]
struct Options {
    /// Host name, IPv4 or IPv6 address of the server
    #[arg(value_parser = parse_host)]
    host: String,

    /// TCP port of the server, 1 to 65535
    #[arg(short, long, default_value_t = 65432, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Seconds to wait for connection and greeting together,
    /// then again for the server's close; decimals allowed
    #[arg(short, long, value_name = "SECONDS", default_value = "60", value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment)]
    timeout: Duration,
}

fn main() -> ExitCode {
    if let Err(error) = converse(&Options::parse()) {
        // It may name a host, and an argument may hold anything.
        let reason = escape(format!("greet-client: {error:#}").as_bytes());
        tell(&(reason + "\n"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The five steps of a TCP client.
fn converse(options: &Options) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let on_terminal = stdout.is_terminal();
    let mut print = |line: &[u8]| {
        show(&mut stdout, on_terminal, line).context("cannot write to standard output")
    };
    let interactive = io::stdin().is_terminal();
    let guide = |text: &str| interactive.then(|| tell(text));

    // 1. create, 2. connect
    let (host, port) = (options.host.as_str(), options.port);
    let mut session = Session::connect((host, port), options.timeout).map_err(|error| {
        // The reason names each address, but one that was typed is named already.
        let reason = error.to_string();
        let reason = reason.trim_start_matches(&format!("{host}: "));
        anyhow!("cannot connect to {host} port {port}: {reason}")
    })?;
    let server = session.address;
    guide(&format!("connected to {server}\n"));

    // 3. receive
    let greeting = session
        .receive_greeting()
        .with_context(|| format!("no greeting from {server}"))?;
    let nothing_was_sent = || format!("nothing was sent to {server}");
    let message = print(&greeting)
        .map(|()| guide("> "))
        .and_then(|_| read_message())
        .inspect_err(|_| session.close(options.timeout))
        .with_context(nothing_was_sent)?;

    // 4. send
    let mut replies = session
        .send(&message, options.timeout)
        .with_context(nothing_was_sent)?;

    // 5. close, after the server did: the end of its stream is the receipt.
    replies
        .try_for_each(|reply| print(&reply?))
        .with_context(|| format!("the message may have arrived at {server}"))?;
    guide(&format!("{} bytes delivered to {server}\n", message.len()));
    Ok(())
}

/// Reads one line from standard input, and refuses one of which only a part would arrive.
fn read_message() -> anyhow::Result<Vec<u8>> {
    match read_line(&mut io::stdin().lock()).context("cannot read standard input")? {
        None => bail!("no line on standard input"),
        Some(Line { end: Some(0), .. }) => bail!("a NUL in the line would end it early"),
        Some(line) => Ok(line.bytes),
    }
}

/// Speaks to the person at the keyboard, on standard error and in one write (`eprint!` writes in
/// pieces, and panics where standard error is lost).
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
