//! Tutorials 2 and 5: an echo server. It sends back whatever comes, until the client half-closes. It serves
//! one client at a time, like `greet-server`.
//!
//! ```sh
//! cargo run --example echo                      # for tutorial 2's client
//! cargo run --example echo -- 127.0.0.1:27015   # for tutorial 5's client
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use greet::arguments::parse_timeout;
use greet::program::{self, log};
use greet::server;

/// Sends back what a TCP client sends
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:8080")]
    address: SocketAddr,

    /// The longest one client may hold the server: a person needs time to type
    #[arg(default_value = "600", value_parser = parse_timeout)]
    seconds: Duration,
}

fn main() -> ExitCode {
    program::run("echo", serve)
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.address)
        .with_context(|| format!("cannot listen on {}", options.address))?;
    log(format!("listening on {}", listener.local_addr()?));
    loop {
        let (socket, peer) = server::accept(&listener, log);
        log(format!("{peer} connected"));
        let session = server::Session::new(socket, options.seconds);
        // If this were `echo(session, peer)?`, one client's failure would end the server for all.
        match echo(session, peer) {
            Ok(()) => log(format!("{peer} closed")),
            Err(error) => log(format!("{peer} failed: {error}")),
        }
    }
}

/// An echo needs no lines, so it does not ask where one ends.
fn echo(mut session: server::Session, peer: SocketAddr) -> io::Result<()> {
    loop {
        let bytes = session.receive_bytes()?;
        if bytes.is_empty() {
            session.close();
            return Ok(());
        }
        log(format!("{peer} {} bytes received", bytes.len()));
        session.send_bytes(&bytes)?;
    }
}
