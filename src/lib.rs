//! One line each way over TCP: the two sides of a small exchange, with blocking calls in one
//! thread.
//!
//! A server greets each client, one at a time, with a line. The client answers with a line, its
//! message. That is little enough to read in one sitting, and it has everything that makes TCP
//! programs go wrong: a stream that is not made of messages, peers that are silent, slow, endless
//! or gone, and a close that must not lose anything.
//!
//! # The protocol
//!
//! What a client or server in any language has to do (a close that is a receipt takes more: the next
//! section):
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
//! and join what was sent anywhere, so a reader collects bytes until it finds one of these three,
//! however many reads that takes.
//!
//! **A message** is the first line that the client sends; the server throws away what follows it.
//! A line that a reset, the deadline or the limit cuts off is not a message.
//!
//! **The deadline** is one for all the server's dealings with a client, from accept to close, by
//! default 60 seconds; a client that exceeds it is dropped. After the message, the server reads on
//! for 0.75 seconds at most. Further clients wait in the system's queue, so a client should be
//! prepared to wait for its greeting; by default `greet-client` gives connection and greeting
//! 60 seconds together, and the close another 60.
//!
//! # The close is the receipt
//!
//! A client that has sent its whole message, and then reads the end of the stream (FIN), knows that
//! the message was shown, but for [what TCP cannot prove](#what-tcp-cannot-prove). If it reads a
//! reset (RST) instead, or nothing in time, the message may have been shown or not.
//!
//! For that the server looks at the message without taking its end from the system (`MSG_PEEK`), and
//! takes it only once the message is shown. Whatever happens between the message's arrival and that
//! moment (a full disk, a lost reader, a kill, a refusal) leaves bytes unread, and for a socket that
//! is closed with bytes unread, the system answers with a reset (RFC 1122, section 4.2.2.13; RFC 2525,
//! section 2.17).
//!
//! **The last call.** A line may be on its way while the server gives up. Then each side's end of
//! the stream crosses the other's, and the client would take the server's for a receipt. So the
//! server shuts down its sending direction 0.75 seconds before its deadline, or after half of a
//! deadline under 1.5 seconds, and reads on until the deadline: a line that was sent before the client
//! could see that end, and comes in that time, is shown. `greet-client` looks for that end
//! before it sends, and if it is there, does not send.
//!
//! # What TCP cannot prove
//!
//! - **Through a relay, nothing.** A proxy or tunnel (`haproxy`, `ssh -L`) turns a reset into an
//!   orderly close. The receipt holds on a direct connection.
//! - **A line that crosses the server's end of the stream** has its receipt before it arrives. After
//!   the last call it is still shown, if it comes whole within the time that is left (0.75 seconds,
//!   or half of a time-out under 1.5) and standard output takes it. When a process is killed, or
//!   another server closes without waiting, it is lost.
//! - **A line that ends with the stream**, without LF or NUL, leaves nothing to hold back. A
//!   server that dies before it shows such a line gives a receipt; a sender that dies in the middle
//!   of one looks as if it had finished.
//! - **Where the system does not reset** a socket with bytes unread, a killed server gives a
//!   receipt. Linux does; Wine ends the stream first; other systems were not tried.
//! - **That anybody reads it.** Shown means written to the server's standard output. One that is
//!   closed, or open only for reading, loses that without an error, as `/dev/null` does.
//!
//! # The modules
//!
//! - [`line`](mod@line): reads and writes a line, on any stream.
//! - [`deadline`]: a time-out as a person types it, and the instant that it becomes.
//! - [`host`]: a host as a person types it.
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
//! let mut replies = client.send("你好".as_bytes())?;
//! assert_eq!(server.receive()?, Some("你好".into()));
//! server.close();
//! assert_eq!(replies.receive()?, None, "an orderly close: the receipt");
//! # Ok(())
//! # }
//! ```

pub mod arguments;
pub mod client;
mod connection;
mod deadline;
pub mod line;
pub mod server;
pub mod terminal;
