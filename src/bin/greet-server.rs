//! `greet-server`: greets one client after another and prints one line from each.

use std::io::{self, ErrorKind, IsTerminal};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use greet::arguments::{parse_host, parse_timeout};
use greet::line::LIMIT;
use greet::server::Session;
use greet::terminal::show;

/// Stands for the client's IP address in a greeting.
const PEER: &str = "{peer}";

/// Greets TCP clients, one after another, and prints one line from each
#[derive(Parser)]
// Negative numbers, so that `-p -1` is refused as a port and not as an unknown option.
#[command(name = "greet-server", version, allow_negative_numbers = true)]
#[command(after_help = "\
Examples:
  greet-server -b 127.0.0.1 >>messages.log  keep what this machine sends
  line=$(greet-server -n 1)                 receive one line in a script

Exit status: 0 after N messages, 1 on failure, 2 for bad arguments.")]
struct Options {
    /// TCP port; 0 picks a free one
    #[arg(short, long, default_value_t = 65432)]
    port: u16,

    /// Local address or name to listen on
    #[arg(short, long, value_name = "HOST", default_value = "0.0.0.0", value_parser = parse_host)]
    bind: String,

    /// One line; {peer} becomes the client's IP address
    /// [default: Connect succeed. Please send a message
    /// to me]
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(default_value = "Connect succeed. Please send a message to me")]
    #[arg(verbatim_doc_comment, hide_default_value = true, value_parser = parse_greeting)]
    greeting: String,

    /// The longest one client may hold the server, from
    /// accept to close; decimals allowed
    #[arg(short, long, value_name = "SECONDS", default_value = "60", value_parser = parse_timeout)]
    #[arg(verbatim_doc_comment, allow_hyphen_values = true)]
    timeout: Duration,

    /// Exit after N messages [default: never]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
}

fn main() -> ExitCode {
    if let Err(error) = serve(&Options::parse()) {
        log(&format!("greet-server: {error:#}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The seven steps of a TCP server.
fn serve(options: &Options) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let on_terminal = stdout.is_terminal();
    let mut shown = 0;

    // 1. create, 2. bind, 3. listen. From here on the system completes connections by itself and
    // queues them (the backlog) until they are accepted.
    let listener = TcpListener::bind((options.bind.as_str(), options.port))
        .with_context(|| format!("cannot listen on {} port {}", options.bind, options.port))?;
    log(&format!("listening on {}", listener.local_addr()?));

    while options.messages != Some(shown) {
        // 4. accept
        let (socket, address) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                log(&format!("cannot accept a client: {error}"));
                match error.kind() {
                    // A client that is gone from the queue; the next may be there (accept(2)).
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {}
                    // Too many open files, say: that seldom goes away at once, and the loop must not
                    // spin until it does.
                    _ => thread::sleep(Duration::from_secs(1)),
                }
                continue;
            }
        };
        let mut session = Session::new(socket, options.timeout);
        // On an IPv6 socket an IPv4 client has an address such as ::ffff:127.0.0.1.
        let peer = SocketAddr::new(address.ip().to_canonical(), address.port());
        log(&format!("{peer} connected"));

        // 5. send, 6. receive
        let greeting = options.greeting.replace(PEER, &peer.ip().to_string());
        match session.greet(&greeting).and_then(|()| session.receive()) {
            Ok(Some(message)) => {
                // Before the close, which is the client's receipt.
                show(&mut stdout, on_terminal, &message)
                    .with_context(|| format!("cannot show the message from {peer}"))?;
                // 7. close
                let more = match session.close() {
                    0 => String::new(),
                    ignored => format!(", {ignored} more ignored"),
                };
                log(&format!("{peer} {} bytes received{more}", message.len()));
                shown += 1;
            }
            // In these two cases dropping the session closes it; bytes left unread make that a reset.
            Ok(None) => log(&format!("{peer} closed without a message")),
            Err(error) => log(&format!("{peer} failed: {error}")),
        }
    }
    Ok(())
}

/// Takes a greeting that is one line within the limit, even for a client with the longest address.
fn parse_greeting(greeting: &str) -> Result<String, String> {
    let longest = greeting.replace(PEER, &Ipv6Addr::from_bits(u128::MAX).to_string());
    if longest.len() > LIMIT || greeting.contains(['\r', '\n', '\0']) {
        return Err(format!(
            "must be one line without a NUL, of at most {LIMIT} bytes"
        ));
    }
    Ok(greeting.into())
}

/// Writes a line of the log to standard error, in one write (`eprintln!` writes in pieces). Where
/// standard error is lost, the service goes on without it (`eprintln!` would panic). Escaped, as it may
/// name a host, and an argument may hold anything.
fn log(text: &str) {
    let _ = show(&mut io::stderr(), true, text.as_bytes());
}
