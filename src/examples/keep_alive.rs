//! Tutorial 4: a server that talks with ten clients at once, each in a thread of its own.
//!
//! ```sh
//! cargo run --example keep_alive
//! cargo run --example talk -- 127.0.0.1:6666   # in other terminals
//! ```

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::{process::ExitCode, thread, time::Duration};

use anyhow::Context;
use clap::Parser;
use greet::arguments::{DEFAULT_TIMEOUT, parse_timeout};
use greet::program::{self, log};
use greet::{server, terminal};

/// Answers each line of ten TCP clients at once with `keep alive`, until they say `stop`
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:6666")]
    address: SocketAddr,

    /// The longest wait for each line
    #[arg(default_value = DEFAULT_TIMEOUT, value_parser = parse_timeout)]
    seconds: Duration,
}

fn main() -> ExitCode {
    program::run("keep_alive", start)
}

fn start(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.address)
        .with_context(|| format!("cannot listen on {}", options.address))?;
    log(format!("listening on {}", listener.local_addr()?));
    // Ten threads accept from one listener. The eleventh client waits in the system's queue.
    let timeout = options.seconds;
    for _ in 1..10 {
        let listener = listener.try_clone()?;
        thread::Builder::new().spawn(move || serve(&listener, timeout))?;
    }
    serve(&listener, timeout)
}

/// Serves one client after another.
fn serve(listener: &TcpListener, timeout: Duration) -> ! {
    loop {
        let (socket, peer) = server::accept(listener, log);
        log(format!("{peer} connected"));
        match converse(server::Session::new(socket, timeout), peer) {
            Ok(()) => log(format!("{peer} closed")),
            Err(error) => log(format!("{peer} failed: {error}")),
        }
    }
}

/// Answers line by line, until the client says `stop` or closes.
fn converse(mut session: server::Session, peer: SocketAddr) -> io::Result<()> {
    while let Some(line) = session.receive()? {
        // The lines of ten threads come in any order, so each names its client.
        let said = [format!("{peer} ").as_bytes(), &line.bytes].concat();
        terminal::show(io::stdout(), io::stdout().is_terminal(), said)?;
        let is_last = line.bytes == b"stop";
        session.send(if is_last { b"stop" } else { b"keep alive" })?;
        if is_last {
            break;
        }
        session.renew(); // The next line has a deadline of its own.
    }
    session.close(); // If the session were only dropped, the last line would be refused.
    Ok(())
}
