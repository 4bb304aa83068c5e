//! Tutorial 1's loop server, with its mistakes. It is here to be broken: src/README.md says
//! how. `greet-server` is the one to use.
//!
//! ```sh
//! cargo run --example naive
//! ```

use std::io::{self, Read, Write, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Parser;
use greet::arguments::DEFAULT_PORT;
use greet::program;

#[allow(
    clippy::indexing_slicing,
    reason = "as in the tutorial; `recv` returns what fits"
)]
fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?; // socket, bind, listen
    eprintln!("listening on {}", listener.local_addr()?);
    loop {
        let (mut socket, address) = listener.accept()?; // accept
        eprintln!("{address} connected");
        socket.write_all(b"Connect succeed. Please send a message to me\n")?; // send
        let mut buffer = [0; 256];
        let length = socket.read(&mut buffer)?; // recv
        writeln!(stdout(), "{}", String::from_utf8_lossy(&buffer[..length]))?; // printf
    } // closesocket
}

/// Greets TCP clients, one after another, as a tutorial does
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value_t = (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into())]
    address: SocketAddr,
}

fn main() -> ExitCode {
    program::run("naive", |options: &Options| serve(options.address))
}
