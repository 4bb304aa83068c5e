//! One line each way over TCP: the two sides of a small exchange, with blocking calls in one
//! thread.
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
//! server.greet("Please send a message to me")?;
//! assert_eq!(client.receive_greeting()?, b"Please send a message to me");
//!
//! let mut replies = client.send("你好".as_bytes())?;
//! assert_eq!(server.receive()?, Some("你好".into()));
//! server.close();
//! assert_eq!(replies.receive()?, None, "an orderly close: the receipt");
//! # Ok(())
//! # }
//! ```
//!
//! (One thread can play both sides, because the system completes a connection before it is accepted,
//! and stores what is sent before it is read.) Two programs do the same between two machines:
//! [`greet-server`](../greet_server/index.html) and [`greet-client`](../greet_client/index.html).
//!
//! # The protocol
//!
//! What a client or server in any language has to do:
//!
//! | server | client |
//! |---|---|
//! | accepts the connection | connects, by default to port 65432 |
//! | sends the greeting and one LF | reads one line, the greeting |
//! | reads one line, the message | sends the message and one LF |
//! | | shuts down its sending direction (the half-close) |
//! | shows the message | reads on; a server may reply with more lines |
//! | shuts down its own sending direction | reads the end of the stream, and closes |
//! | reads what the client still sends, and closes | |
//!
//! **A line** is the bytes up to the first of
//!
//! - an LF (byte 10); one CR (13) right before it is dropped with it,
//! - a NUL (0), because C programs send their strings with one,
//! - the end of the stream.
//!
//! It has at most 65,536 bytes without its end, in any encoding; they pass unchanged. (A CR at its end
//! would not; `greet-client` refuses it.) An end of stream before the first byte is *no line*. An LF
//! or NUL there is an *empty line*. TCP may cut and join what was sent anywhere, so a reader collects
//! bytes until it finds one of these three, however many reads that takes.
//!
//! **A message** is the first line that the client sends; the server throws away what follows it.
//! A line that a reset, the server's deadline or the limit cuts off is not a message.
//!
//! **The deadline** is one for all the server's dealings with a client, from accept to close, by
//! default 60 seconds; a client that exceeds it is dropped. After the message, the server reads on
//! for 0.75 seconds at most. Further clients wait in the system's queue, so a client should be
//! prepared to wait for its greeting; by default `greet-client` gives connection and greeting
//! 60 seconds together, and then sending and the server's close another 60.
//!
//! # The close is the receipt
//!
//! When `greet-client` ends with status 0, its line is on the standard output of `greet-server`. Three
//! rules make that exact:
//!
//! 1. *The server removes the message's LF from the system's buffer only after it has shown the
//!    message.* Until then it only looks (`MSG_PEEK`). Whatever ends the server in between (a full disk,
//!    a lost reader, a kill, its deadline) leaves that LF unread; and a socket that is closed with bytes
//!    unread sends a reset (RFC 1122, section 4.2.2.13; RFC 2525, section 2.17).
//! 2. *Before it has shown the message, the server never half-closes: it can only close.* A message
//!    that arrives after the server gave up meets a closed socket, which sends a reset.
//! 3. *The client takes the end of the stream for a receipt only once all that it sent has been
//!    acknowledged and no error is pending.* If the server closed while the message was on its way, a
//!    reset follows the end of the stream; the client waits for it, within its deadline.
//!
//! Not every message that is shown gets its receipt: the server may die, or the client's time may end,
//! just then. So the client tells two failures apart. Until it first tries to send, *nothing was
//! sent*, and trying again does no harm: status 1. From then on the message *may have arrived*, whole
//! or in part, shown or not: status 3. (Just before, it looks whether the server has closed already,
//! as such a close proves nothing about the message.)
//!
//! # What TCP cannot prove
//!
//! A status 0 is worth less than that where
//!
//! - **a relay is in between.** A proxy or a tunnel (`haproxy`, `ssh -L`) turns a reset into an orderly
//!   close: the relay has the line, perhaps nobody else.
//! - **the server is not `greet-server`.** Then 0 says that the server's system has the whole line and
//!   the server closed in order.
//! - **the client is not `greet-client`, and ends its line with the stream** instead of LF or NUL: that
//!   leaves nothing unread for the server to hold back. Nor can the server tell half of such a line
//!   from a whole one; that goes for a `greet-client`, too, whose time ends in the middle of sending.
//! - **standard output keeps nothing**: it is `/dev/null`, closed, open only for reading, or not yet on
//!   the disk. Shown means that the system has taken the line from the server.
//! - **one of the systems is not Linux.** macOS sends the reset (XNU, `tcp_disconnect`), but forgets the
//!   peer's address as soon as both directions are shut down (`getpeername`, `EINVAL`), so that the
//!   client cannot wait for it. Microsoft documents neither for Windows.
//!
//! # The modules
//!
//! In reading order:
//!
//! - [`line`](mod@line): reads and writes a line, on any stream.
//! - `deadline`: the instant by which something must be over.
//! - `connection`: a TCP connection that keeps a deadline.
//! - [`server`], [`client`]: the steps of each side.
//! - [`terminal`]: shows a line to a person without obeying it.
//! - [`arguments`]: what a person types.
//!
//! Nothing here prints or exits: that is for the programs.

pub mod arguments;
pub mod client;
mod connection;
mod deadline;
pub mod line;
pub mod server;
pub mod terminal;
