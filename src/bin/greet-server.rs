//! `greet-server`: greets one client after another and prints one line from each.

use std::io::{self, ErrorKind, IsTerminal};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::{process::ExitCode, thread, time::Duration};

use anyhow::Context;
use clap::Parser;
use greet::arguments::{DEFAULT_PORT, parse_host, parse_timeout};
use greet::{line::MAX_LINE_LENGTH, server::Session, terminal};

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
    #[arg(short, long, default_value_t = DEFAULT_PORT)]
    port: u16,

    /// Local address or name to listen on
    #[arg(short, long, value_name = "HOST", default_value = "0.0.0.0", value_parser = parse_host)]
    bind: String,

    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(help = format!("One line; {PEER} becomes the client's IP [default:\n{DEFAULT_GREETING}]"))]
    #[arg(default_value = DEFAULT_GREETING, hide_default_value = true, value_parser = parse_greeting)]
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
        terminal::log(io::stderr(), &format!("greet-server: {error:#}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
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
    let address = listener.local_addr()?;
    terminal::log(io::stderr(), &format!("listening on {address}"));

    while options.messages != Some(shown) {
        // 4. accept
        let (socket, address) = accept(&listener);
        let mut session = Session::new(socket, options.timeout);
        // On an IPv6 socket, an IPv4 client has an address such as ::ffff:127.0.0.1.
        let peer = SocketAddr::new(address.ip().to_canonical(), address.port());
        terminal::log(io::stderr(), &format!("{peer} connected"));

        // 5. send, 6. receive
        let host = peer.ip().to_string();
        let greeting = options.greeting.replace(PEER, &host).into_bytes();
        let ending = match session.send(&greeting).and_then(|()| session.receive()) {
            Ok(Some(message)) => {
                // The close is the client's receipt, so the message must be shown first.
                terminal::show(&mut stdout, on_terminal, &message.bytes)
                    .with_context(|| format!("cannot show the message from {peer}"))?;
                shown += 1;
                // 7. close
                let ignored = session.close();
                let remark = match message.end {
                    None => ", without a line end".into(),
                    Some(_) if ignored == 0 => String::new(),
                    Some(_) => format!(", {ignored} more ignored"),
                };
                format!("{} bytes received{remark}", message.bytes.len())
            }
            // In these two cases, dropping the session closes it, and bytes that are left unread make
            // that a reset.
            Ok(None) => "closed without a message".into(),
            Err(error) => format!("failed: {error}"),
        };
        terminal::log(io::stderr(), &format!("{peer} {ending}"));
    }
    Ok(())
}

/// Waits for the next client. Returns its socket and its address.
fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept() {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        terminal::log(io::stderr(), &format!("cannot accept a client: {error}"));
        match error.kind() {
            // This client has left the queue, and the next may be there already (accept(2)).
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {}
            // Any other failure, such as too many open files, lasts a while. The loop must not spin.
            _ => thread::sleep(Duration::from_secs(1)),
        }
    }
}

/// Takes a greeting that is one line within the limit, even for a client with the longest address.
fn parse_greeting(greeting: &str) -> Result<String, String> {
    let longest = greeting.replace(PEER, &Ipv6Addr::from_bits(u128::MAX).to_string());
    if longest.len() > MAX_LINE_LENGTH || greeting.contains(['\r', '\n']) {
        return Err(format!(
            "must be one line of at most {MAX_LINE_LENGTH} bytes"
        ));
    }
    Ok(greeting.into())
}
