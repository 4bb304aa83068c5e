//! One line each way over TCP: both sides of a small exchange, with blocking calls in one thread.
//!
//! ```
//! use std::net::TcpListener;
//! use std::time::Duration;
//! use greet::{client, server};
//!
//! # fn main() -> std::io::Result<()> {
//! let timeout = Duration::from_secs(10);
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = client::Session::connect(listener.local_addr()?, timeout)?;
//!
//! let (socket, _address) = listener.accept()?;
//! let mut server = server::Session::new(socket, timeout);
//! server.send(b"Please send a message to me")?;
//! assert_eq!(client.receive_greeting()?, b"Please send a message to me");
//!
//! let replies = client.ready()?.send("你好".as_bytes())?;
//! let line = server.receive()?.expect("a line");
//! assert_eq!(line.bytes, "你好".as_bytes());
//! server.close();
//! replies.finish()?; // The server has closed in order: this is the receipt.
//! # Ok(())
//! # }
//! ```
//!
//! One thread can play both sides here, because the system completes a connection before the server
//! accepts it, and stores what is sent before anybody reads it. Between two machines, two programs
//! do the same.
//!
//! # The files
//!
//! Each file uses only files that stand below it. What a program prints, how it reads its arguments
//! and how it ends is the business of the programs and of [`program`] alone.
//!
//! | file | what it is |
//! |---|---|
//! | [`greet-server`](../greet_server/index.html), [`greet-client`](../greet_client/index.html) | a program: the steps of its side, from top to bottom |
//! | [`program`] | how each program begins, keeps its log and ends |
//! | [`server`], [`client`] | the steps that one side can take on a connection |
//! | `connection` | a TCP connection on which every wait has a deadline, and how it is closed |
//! | `fuse` | after a failure, nothing passes for a line any more |
//! | `deadline` | one instant for many waits |
//! | [`terminal`] | printing what somebody else chose |
//! | [`arguments`] | what a person typed: a port, a timeout, a host |
//! | [`timestamp`](mod@timestamp) | the time of day as text |
//! | [`line`](mod@line) | a line: how to read and write one, on any stream |
//!
//! # The protocol
//!
//! This is what a client or server in any language has to do:
//!
//! | server | client |
//! |---|---|
//! | accepts the connection | connects, by default to port 65432 |
//! | sends the greeting and one LF | reads one line, the greeting |
//! | reads one line | sends one line and its LF |
//! | | shuts down its sending direction (the half-close) |
//! | prints the line | reads on, as a server may send more lines |
//! | with `--reply`, sends one line more | with `--reply`, reads that line before it closes, and need not half-close |
//! | shuts down its own sending direction | reads the end of the stream, and closes |
//! | reads what the client still sends, and closes | |
//!
//! **A line** is the bytes up to the first of
//!
//! - an LF (byte 10); a CR (13) just before it is dropped, too,
//! - a NUL (0), because programs in C send it at the end of a string,
//! - the end of the stream.
//!
//! A line has at most 65,536 bytes, not counting its end. They pass unchanged, whatever they stand
//! for: any byte but LF and NUL, and no CR at the end, which an LF would take with it. So UTF-8 and
//! GBK can be a line, and UTF-16, in which every other byte may be a NUL, cannot.
//! [`check_line`](line::check_line) refuses what would not arrive as it is, and whatever sends a
//! line here asks it first. If the stream ends before the first byte, there is *no line*. If an LF
//! or NUL is the first byte, there is an *empty line*.
//!
//! TCP may split and join what was sent anywhere. So a reader collects bytes until it finds one of
//! the three ends, however many reads that takes.
//!
//! The server prints the first line that the client sends, and throws away what follows it. If a
//! reset, the server's deadline or the limit cuts a line off, it is not a line, and is not printed.
//! The option `--messages` and the log call the client's line its *message*.
//!
//! **The deadline.** The server gives each client 60 seconds by default, from accept to close, and
//! then drops it. After the line, the server reads on for 0.75 seconds at most. Meanwhile other
//! clients wait in the system's queue (the backlog), so a client must be prepared to wait for its
//! greeting. By default `greet-client` allows 60 seconds for connection and greeting together, and
//! another 60 for sending and the server's close.
//!
//! # The close is the receipt
//!
//! **If you design the protocol, let the server reply** once it has printed the line (`--reply`,
//! and [`ask`](client::Session::ask)). A reply does not depend on how a connection ends, so it is a
//! receipt on every system, and through every relay that passes bytes unchanged. Let the reply name
//! the line, as `--reply 'kept {line}'` does. If a relay puts bytes before the line or changes it,
//! the reply is then another one, unless the relay changes it back. A fixed text would be a false
//! receipt there, because the server sends it for whatever it took for the line. And a word stands
//! before `{line}` because a server that only echoes would otherwise give the receipt. If you may
//! not change the protocol, the close can be made a receipt, between Linux systems. This is how.
//!
//! If both systems are Linux, and `greet-client` ends with status 0 after it reached a
//! `greet-server` directly, then its line is on that server's standard output. Three rules make
//! this certain:
//!
//! 1. *The server removes the end of the line from the receive buffer only after it has printed the
//!    line.* Until then it only looks at the bytes (`MSG_PEEK`). Many things may end the session
//!    before that: a full disk, a reader that is gone, a kill, the deadline. If the line had come,
//!    its LF is still unread, and a socket that is closed with unread bytes sends a reset (RFC
//!    1122, section 4.2.2.13; RFC 2525, section 2.17).
//! 2. *Before it has printed the line, the server never half-closes; it can only close.* So a line
//!    that arrives after the server gave up meets a closed socket, which sends a reset.
//! 3. *The client takes the end of the stream for a receipt only once everything that it sent is
//!    acknowledged and no error is pending.* If the server closed while the line was on its way, a
//!    reset follows the end of the stream. The client waits for it, within its deadline.
//!
//! `tests/greet/model.rs` visits every order in which the two programs and the network can take
//! their steps: with the three rules it finds no false receipt, and without any one of them it
//! finds one.
//!
//! On Linux only `ENOTCONN` from getpeername(2) says that everything is acknowledged. If that call
//! fails otherwise, as in a sandbox that forbids it, there is no receipt.
//!
//! The converse does not hold: a line may be printed without a receipt, because the server may die,
//! or the client's time may end, just then. So the client tells two kinds of failure apart. Until
//! it first tries to send, *nothing was sent*, and trying again does no harm. From then on the line
//! *may have arrived*, whole or in part, printed or not. In the library, [`Ready`](client::Ready)
//! is the border between the two. In the program, it is the border between status 1 or 2 and status
//! 3.
//!
//! # What TCP cannot prove
//!
//! In these cases an orderly close proves less.
//!
//! - **A relay is in between.** A proxy or a tunnel (`haproxy`, `ssh -L`, a container's published
//!   port) turns a reset into an orderly close. Then the relay has the line, and perhaps nobody
//!   else. A reply that names the line helps.
//! - **Both sides use Multipath TCP** (`mptcpize`). It loses the reset, too. A reply helps.
//! - **The server is not `greet-server`.** Then the server's system has the whole line, and the
//!   server has closed in order, whatever it did with the line. A reply helps, as that server does
//!   not send it.
//! - **The end of the stream ends the line,** instead of an LF or NUL. Nothing is left unread then
//!   that the server could hold back. Nor can the server tell half of such a line from a whole one;
//!   its log says `without a line end`. Other clients may send such lines, and so does a
//!   `greet-client` that is killed, or runs out of time, while it sends.
//! - **Standard output keeps nothing**, because it is `/dev/null`, closed, or open but not for
//!   writing, or what was written is not on the disk yet. *Printed* means that the system has taken
//!   the line from the server. No reply helps.
//! - **One of the systems is not Linux.** macOS sends the reset (XNU, `tcp_disconnect`), but it
//!   forgets the peer's address as soon as both directions are shut down (`getpeername`, `EINVAL`),
//!   so the client cannot wait for the reset. For Windows, Microsoft documents neither the reset
//!   nor the wait. A reply helps.
//!
//! Two things besides are up to the system. A peer can mark a byte as urgent (`MSG_OOB`), as none of
//! the programs here does. Linux takes the newest of these bytes out of the stream, and no log counts
//! it; older ones stay where they were. If one comes just while the server looks, Linux may return
//! some bytes twice, and the line is printed with them, or without others. And a limit on the size of
//! files (`ulimit -f`) ends `greet-server` by a signal, SIGXFSZ, without a word, also if only its log
//! has reached the limit: std cannot ignore that signal.

pub mod arguments;
pub mod client;
mod connection;
mod deadline;
mod fuse;
pub mod line;
pub mod program;
pub mod server;
pub mod terminal;
pub mod timestamp;
