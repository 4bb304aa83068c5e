//! One line each way over TCP: the two sides of a small exchange, with blocking calls in one
//! thread.
//!
//! A server greets each client, one at a time, with a line. The client answers with a line, its
//! message. That is little enough to read in one sitting, and it has everything that makes TCP
//! programs go wrong: a stream that is not made of messages, peers that are silent, slow, endless
//! or gone, and closing so that nothing is lost.
//!
//! # The protocol
//!
//! All that a client or server in any language has to do:
//!
//! | | server | client |
//! |---|---|---|
//! | 1 | accepts the connection | connects, by default to port 65432 |
//! | 2 | sends the greeting and one LF | reads one line, the greeting |
//! | 3 | reads one line, the message | sends the message and one LF |
//! | 4 | | shuts down its sending direction (the half-close) |
//! | 5 | shows the message | reads on; a server may reply with more lines |
//! | 6 | shuts down its own sending direction | sees the end of the stream, and closes |
//! | 7 | reads to the end what the client still sends, and closes | |
//!
//! **A line** is the bytes up to the first of
//!
//! - an LF (byte 10); one CR (13) right before it is dropped with it,
//! - a NUL (0), because C programs send their strings with one,
//! - the end of the stream.
//!
//! It has at most 65,536 bytes without its end, in any encoding; they pass unchanged. An end of
//! stream before the first byte is *no line*. An LF or NUL there is an *empty line*. TCP may cut
//! and join what was sent anywhere, so a reader collects bytes until one of the three ends,
//! however many reads it takes.
//!
//! **A message** is the first line that the client sends; the server throws away what follows it.
//! A line that a reset, the deadline or the limit cuts off is not a message. Of the message the
//! client knows by the end: if the stream ends (FIN) after the whole message was sent, the server
//! has closed in order; if it is reset (RST), or nothing comes in time, the message may be lost. An
//! end of stream that comes before the message was sent says nothing about it, so the client then
//! does not send.
//!
//! **The deadline** is one for all the server's dealings with a client, from accept to close, by
//! default 60 seconds; a client that exceeds it is dropped. After the message, the server reads on
//! for 0.75 seconds at most. Further clients wait in the system's queue, so a client should be
//! prepared to wait for its greeting; by default it gives connection and greeting 60 seconds
//! together, and the close another 60.
//!
//! # The modules
//!
//! - [`line`](mod@line): reads and writes a line, on any stream.
//! - [`deadline`]: the instant by which reads and writes are over.
//! - [`server`] and [`client`]: the steps of each side.
//! - [`terminal`]: shows a line to a person without obeying it.
//!
//! Nothing here prints or exits: that is for the programs, `greet-server` and `greet-client`.
//!
//! # Example
//!
//! A whole exchange. One thread can play both sides, because the system completes a connection
//! before it is accepted and stores what is sent before it is read:
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
//! let (connection, _address) = listener.accept()?;
//! let mut server = server::Session::new(connection, timeout);
//! server.greet("Please send a message to me")?;
//! assert_eq!(client.receive_greeting()?, b"Please send a message to me");
//!
//! let mut replies = client.send("你好".as_bytes(), timeout)?;
//! assert_eq!(server.receive()?, Some("你好".into()));
//! server.close();
//! assert!(replies.next().is_none(), "closed in order");
//! # Ok(())
//! # }
//! ```

pub mod client;
pub mod deadline;
pub mod host;
pub mod line;
pub mod server;
pub mod terminal;
