//! `greet-server`: greets one client after another and prints one line from each.

use std::io::{self, ErrorKind, IsTerminal};
use std::net::{Ipv6Addr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Parser;
use greet::arguments::{DEFAULT_PORT, DEFAULT_TIMEOUT, parse_count, parse_host, parse_line};
use greet::arguments::{parse_port, parse_timeout};
use greet::line::{Line, nothing_came, reply_to};
use greet::program::{self, log};
use greet::{server, terminal, timestamp::timestamp};

/// The greeting of the tutorial that this program comes from.
const DEFAULT_GREETING: &str = "Connect succeed. Please send a message to me";

/// Stands for the client's IP address in a greeting.
const PEER: &str = "{peer}";

/// Greets TCP clients, one after another, and prints one line from each
#[derive(Parser)]
// `-p -1` is refused as a port, and not as an unknown option.
#[command(name = "greet-server", version, allow_negative_numbers = true)]
#[command(after_help = "\
Exit status:
  0  it has printed N lines
  1  standard output cannot be written, or the address cannot be bound
  2  bad arguments")]
struct Options {
    /// TCP port; 0 picks a free one
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = parse_port(0))]
    port: u16,

    /// Address to listen on; if a name, its first address
    /// that can be bound
    #[arg(short, long, value_name = "HOST", default_value = "0.0.0.0", value_parser = parse_host)]
    #[arg(verbatim_doc_comment)]
    bind: String,

    /// One line; {peer} becomes the client's IP [default:
    /// Connect succeed. Please send a message to me]
    #[arg(short, long, value_name = "TEXT", default_value = DEFAULT_GREETING)]
    #[arg(
        verbatim_doc_comment,
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    #[arg(value_parser = parse_greeting)]
    greeting: String,

    /// The longest one client may hold the server, from
    /// accept to close; decimals allowed
    #[arg(short, long, value_name = "SECONDS", default_value = DEFAULT_TIMEOUT, value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    timeout: Duration,

    /// Exit after N lines [default: never]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    messages: Option<u64>,

    /// One line sent back once the line is printed, as a
    /// receipt for greet-client --reply; in it, {line}
    /// becomes the line: 'kept {line}'
    #[arg(short, long, value_name = "TEXT", value_parser = parse_line)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    reply: Option<String>,

    /// Begin each line with the time and the client's
    /// address: 2026-11-26T02:17:45Z 192.0.2.7:41000
    #[arg(short, long, verbatim_doc_comment)]
    stamp: bool,
}

/// Takes a greeting, which must be one line for the client with the longest address, too.
fn parse_greeting(greeting: &str) -> io::Result<String> {
    let longest_address = Ipv6Addr::from_bits(u128::MAX).to_string();
    parse_line(&greeting.replace(PEER, &longest_address))?;
    Ok(greeting.into())
}

fn main() -> ExitCode {
    program::run("greet-server", serve)
}

/// The seven steps of a TCP server.
fn serve(options: &Options) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let on_terminal = stdout.is_terminal();
    let mut printed = 0;

    // 1. create, 2. bind, 3. listen. From here on the system completes connections by itself, and
    // queues them (the backlog) until they are accepted.
    let listener = TcpListener::bind((options.bind.as_str(), options.port))
        .with_context(|| format!("cannot listen on {} port {}", options.bind, options.port))?;
    log(format!("listening on {}", listener.local_addr()?));

    while options.messages != Some(printed) {
        // 4. accept
        let (socket, address) = server::accept(&listener, log);
        let mut session = server::Session::new(socket, options.timeout);
        let peer = address.to_string();
        log(format!("{peer} connected"));

        // 5. send, 6. receive
        let greeting = options.greeting.replace(PEER, &address.ip().to_string());
        let greeted = session.send(greeting.as_bytes());
        let ending = match greeted.and_then(|()| session.receive()) {
            Ok(Some(Line { mut bytes, end })) => {
                let length = bytes.len();
                let reply = options.reply.as_ref().map(|text| reply_to(&bytes, text));
                if options.stamp {
                    let stamp = format!("{} {peer} ", timestamp(SystemTime::now()));
                    bytes.splice(..0, stamp.into_bytes());
                }
                // The close is the client's receipt, and so is a reply. The line must be printed first.
                terminal::show(&mut stdout, on_terminal, bytes)
                    .with_context(|| format!("cannot print the line from {peer}"))?;
                printed += 1;
                // 7. close
                let (replied, ignored) = match reply {
                    Some(reply) => session.close_with(&reply),
                    None => (Ok(()), session.close()),
                };
                describe(length, end, ignored, replied.is_ok())
            }
            // In these cases, dropping the session closes it, and bytes that are left unread make that a
            // reset.
            Ok(None) => "closed without a message".into(),
            Err(error) if has_left(&error) => "closed without a message".into(),
            Err(error) => format!("failed: {error}"),
        };
        log(format!("{peer} {ending}"));
    }
    Ok(())
}

/// What the log says of a client that has left a line.
fn describe(length: usize, end: Option<u8>, ignored: usize, is_replied: bool) -> String {
    let more = match ignored {
        0 => String::new(),
        bytes => format!(", {bytes} more ignored"),
    };
    let end = if end.is_none() {
        ", without a line end"
    } else {
        ""
    };
    let reply = if is_replied { "" } else { ", without a reply" };
    format!("{length} bytes received{more}{end}{reply}")
}

/// Whether the client was gone before a byte of a line came, as after a health check. The greeting may be what
/// could not be sent then.
fn has_left(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let losses = [BrokenPipe, ConnectionAborted, ConnectionReset];
    losses.contains(&error.kind()) && nothing_came(error)
}
