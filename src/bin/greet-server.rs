//! `greet-server`: greets one client after another and prints one line from each.

use std::io::{self, ErrorKind, IsTerminal};
use std::net::{Ipv6Addr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::{CommandFactory, Parser, error::ErrorKind::ValueValidation};
use greet::arguments::{DEFAULT_PORT, parse_count, parse_host, parse_line};
use greet::arguments::{parse_port, parse_timeout};
use greet::line::{Line, nothing_came, reply_to};
use greet::terminal::{log, show};
use greet::{server, timestamp::timestamp};

/// The greeting of the tutorial that this program comes from.
const DEFAULT_GREETING: &str = "Connect succeed. Please send a message to me";

/// Stands for the client's IP address in a greeting.
const PEER: &str = "{peer}";

/// Greets TCP clients, one after another, and prints one line from each
#[derive(Parser)]
// `-p -1` is refused as a port, and not as an unknown option.
#[command(name = "greet-server", version, allow_negative_numbers = true)]
#[command(after_help = "Exit status: 0 after N messages, 1 on failure, 2 for bad arguments.")]
struct Options {
    /// TCP port; 0 picks a free one
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = parse_port(0))]
    port: u16,

    /// Local address to listen on, or a name: the first of
    /// its addresses that can be had
    #[arg(short, long, value_name = "HOST", default_value = "0.0.0.0", value_parser = parse_host)]
    #[arg(verbatim_doc_comment)]
    bind: String,

    /// One line; {peer} becomes the client's IP [default:
    /// Connect succeed. Please send a message to me]
    #[arg(short, long, value_name = "TEXT", default_value = DEFAULT_GREETING, verbatim_doc_comment)]
    #[arg(allow_hyphen_values = true, hide_default_value = true)]
    greeting: String,

    /// The longest one client may hold the server, from
    /// accept to close; decimals allowed
    #[arg(short, long, value_name = "SECONDS", default_value = "60", value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    timeout: Duration,

    /// Exit after N messages [default: never]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    messages: Option<u64>,

    /// One line sent back once the message is shown, which
    /// {line} becomes: a receipt, for a client that asks
    #[arg(short, long, value_name = "TEXT", value_parser = parse_line)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    reply: Option<String>,

    /// Begin each message with the time and the client's
    /// address: 2026-11-26T02:17:45Z 192.0.2.7:41000
    #[arg(short, long, verbatim_doc_comment)]
    stamp: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The client with the longest address must be greeted with one line, too. A parser could check that,
    // but clap quotes what a parser refuses, be it 100,000 bytes long.
    let longest_address = Ipv6Addr::from_bits(u128::MAX).to_string();
    if let Err(reason) = parse_line(&options.greeting.replace(PEER, &longest_address)) {
        let reason = format!("invalid value for '--greeting <TEXT>': {reason}");
        Options::command().error(ValueValidation, reason).exit();
    }
    let Err(error) = serve(&options) else {
        return ExitCode::SUCCESS;
    };
    log(&format!("greet-server: {error:#}"));
    ExitCode::FAILURE
}

/// The seven steps of a TCP server.
fn serve(options: &Options) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let on_terminal = stdout.is_terminal();
    let mut shown = 0;

    // 1. create, 2. bind, 3. listen. From here on the system completes connections by itself, and
    // queues them (the backlog) until they are accepted.
    let listener = TcpListener::bind((options.bind.as_str(), options.port))
        .with_context(|| format!("cannot listen on {} port {}", options.bind, options.port))?;
    log(&format!("listening on {}", listener.local_addr()?));

    while options.messages != Some(shown) {
        // 4. accept
        let (socket, address) = server::accept(&listener, log);
        let mut session = server::Session::new(socket, options.timeout);
        let peer = address.to_string();
        log(&format!("{peer} connected"));

        // 5. send, 6. receive
        let greeting = options.greeting.replace(PEER, &address.ip().to_string());
        let sent = session.send(greeting.as_bytes());
        let ending = match sent.and_then(|()| session.receive()) {
            Ok(Some(Line { mut bytes, end })) => {
                let length = bytes.len();
                let reply = options.reply.as_ref().map(|text| reply_to(&bytes, text));
                if options.stamp {
                    let stamp = format!("{} {peer} ", timestamp(SystemTime::now()));
                    bytes.splice(..0, stamp.into_bytes());
                }
                // The close is the client's receipt, and so is a reply. The message must be shown first.
                show(&mut stdout, on_terminal, bytes)
                    .with_context(|| format!("cannot show the message from {peer}"))?;
                shown += 1;
                // 7. close
                let (ignored, replied) = match reply {
                    Some(reply) => session.close_with(&reply),
                    None => (session.close(), Ok(())),
                };
                describe(length, end, ignored, replied.is_ok())
            }
            // In these cases, dropping the session closes it, and bytes that are left unread make that a
            // reset.
            Ok(None) => "closed without a message".into(),
            Err(error) if has_left(&error) => "closed without a message".into(),
            Err(error) => format!("failed: {error}"),
        };
        log(&format!("{peer} {ending}"));
    }
    Ok(())
}

/// What the log says of a client that has left a message.
fn describe(length: usize, end: Option<u8>, ignored: usize, is_replied: bool) -> String {
    let more = (ignored > 0).then(|| format!(", {ignored} more ignored"));
    let more = more.unwrap_or_default();
    let end = end.map_or(", without a line end", |_| "");
    let reply = if is_replied { "" } else { ", without a reply" };
    format!("{length} bytes received{more}{end}{reply}")
}

/// Whether the client was gone before a byte of a message came, as after a health check.
fn has_left(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let losses = [BrokenPipe, ConnectionAborted, ConnectionReset];
    losses.contains(&error.kind()) && nothing_came(error)
}
