//! Tutorials 2, 4 and 5: a client for a person, who talks to a server line by line until `exit` or `stop`.
//!
//! ```sh
//! cargo run --example talk -- 127.0.0.1:8080
//! ```

use std::io::{self, IsTerminal};
use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use greet::arguments::parse_host;
use greet::program::{self, log};
use greet::{client::Session, line::read_line, terminal};

/// The longest wait for the connection, and for each answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends what is typed line by line, and shows each answer, until `exit` or `stop`
#[derive(Parser)]
struct Options {
    /// Host and port of the server
    #[arg(value_name = "HOST:PORT", value_parser = parse_address)]
    address: String,
}

/// Takes a host and a port. Whether the host is there, and has this name, is not asked yet.
fn parse_address(address: &str) -> Result<String, &'static str> {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let Ok(1..) = port.parse::<u16>() else {
        return Err("must be a host and a port, as in 127.0.0.1:8080");
    };
    parse_host(host.trim_matches(['[', ']']))?;
    Ok(address.into())
}

fn main() -> ExitCode {
    program::run("talk", talk)
}

fn talk(options: &Options) -> anyhow::Result<()> {
    let mut session = Session::connect(options.address.as_str(), TIMEOUT)
        .with_context(|| format!("cannot connect to {}", options.address))?;
    log(format!("connected to {}", session.address()));

    // `read_line` returns nothing at the end of the input, which Ctrl-D makes.
    while let Some(line) = read_line(&mut io::stdin().lock()).context("standard input")? {
        if line.bytes == b"exit" {
            break;
        }
        // Each line waits for its answer, so no answer is one late.
        let answer = session.ask(&line.bytes).context("no answer")?;
        let stdout = io::stdout();
        terminal::show(stdout.lock(), stdout.is_terminal(), answer)
            .context("cannot write to standard output")?;
        if line.bytes == b"stop" {
            break;
        }
    }
    session.close(); // The half-close tells the server that this was all.
    Ok(())
}
