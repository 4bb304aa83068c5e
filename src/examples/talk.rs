//! Tutorials 2, 4 and 5: a client for a person, who talks to a server line by line until `exit` or `stop`.
//!
//! ```sh
//! cargo run --example talk -- 127.0.0.1:8080
//! ```

use std::io::{self, IsTerminal};
use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use greet::arguments::parse_address;
use greet::{client::Session, line::read_line, terminal};

/// The longest wait for the connection, and for each answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends what is typed line by line, and shows each answer, until `exit` or `stop`
#[derive(Parser)]
struct Options {
    /// Host and port of the server
    #[arg(value_parser = parse_address(1))]
    address: (String, u16),
}

fn main() -> ExitCode {
    let Err(error) = talk(&Options::parse()) else {
        return ExitCode::SUCCESS;
    };
    terminal::log(io::stderr(), &format!("talk: {error:#}"));
    ExitCode::FAILURE
}

fn talk(options: &Options) -> anyhow::Result<()> {
    let (host, port) = &options.address;
    let mut session = Session::connect((host.as_str(), *port), TIMEOUT)
        .with_context(|| format!("cannot connect to {host} port {port}"))?;
    let connected = format!("connected to {}", session.address());
    terminal::log(io::stderr(), &connected);

    // `read_line` returns nothing at the end of the input, which Ctrl-D makes.
    while let Some(line) = read_line(&mut io::stdin().lock()).context("standard input")? {
        if line.bytes == b"exit" {
            break;
        }
        // Each line waits for its answer, so no answer is one late.
        let answer = session.ask(&line.bytes).context("no answer")?;
        let stdout = io::stdout();
        terminal::show(stdout.lock(), stdout.is_terminal(), &answer)
            .context("cannot write to standard output")?;
        if line.bytes == b"stop" {
            break;
        }
    }
    session.close(); // The half-close tells the server that this was all.
    Ok(())
}
