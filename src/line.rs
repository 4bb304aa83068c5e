//! A line: what travels in either direction, and what is read from standard input.

use std::io::{self, BufRead, ErrorKind, Write};

/// The most bytes that a line may have, not counting its end.
///
/// Without a limit, a peer that never ends its line would fill the memory.
pub const MAX_LINE_LENGTH: usize = 65_536;

/// What [`reply_to`] replaces by the line.
const PLACEHOLDER: &str = "{line}";

/// A line, as [`read_line`] found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The bytes before the end, in whatever encoding they came.
    pub bytes: Vec<u8>,
    /// The byte that ended the line: an LF, or the NUL that ends a C program's string. `None` means
    /// that the stream ended first. Then nobody can tell whether the line is whole: a sender that
    /// dies in the middle of a line ends the stream, too.
    pub end: Option<u8>,
}

/// Reads one line: the bytes up to the first LF, NUL or end of the stream. Returns `None` if the
/// stream ends before the first byte.
///
/// TCP carries bytes, not messages (RFC 9293, section 2.2). A line may come in pieces, or together
/// with the next one, so one `read` must never be taken for one line.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use greet::line::read_line;
///
/// let mut stream = &b"one\r\ntwo"[..];
/// let line = read_line(&mut stream)?.expect("a line");
/// assert_eq!((&line.bytes[..], line.end), (&b"one"[..], Some(b'\n')));
/// let line = read_line(&mut stream)?.expect("a line that the stream ends");
/// assert_eq!((&line.bytes[..], line.end), (&b"two"[..], None));
/// assert_eq!(read_line(&mut stream)?, None);
/// # Ok(())
/// # }
/// ```
///
/// This reads not a byte more than the line needs. The server depends on that: what it has not read
/// when it closes makes the system reset the connection, so the client gets no false receipt.
///
/// # Errors
///
/// The failure of `reader`. If a part of the line had come, the error has the same
/// [`kind`](io::Error::kind), and says how many bytes that were. If none had come, it is the reader's
/// own error.
///
/// [`InvalidData`](ErrorKind::InvalidData) as soon as the line is known to be longer than
/// [`MAX_LINE_LENGTH`] bytes.
///
/// What was read of the line so far is lost, because half a line is not a line. Do not read on: what
/// comes next is the other half.
pub fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let mut end = None;
    // The loop stops one byte behind the limit, because the end of a longer line may never come. A CR
    // does not count yet: if the next byte is an LF, the CR is dropped with it.
    while end.is_none() && bytes.len() <= MAX_LINE_LENGTH + usize::from(bytes.ends_with(b"\r")) {
        let piece = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(with_progress(error, bytes.len())),
            Ok([]) => break,
            Ok(piece) => piece,
        };
        let (text, rest) = piece.split_at(find_end(piece).unwrap_or(piece.len()));
        bytes.extend_from_slice(text);
        end = rest.first().copied();
        let used = text.len() + usize::from(end.is_some());
        reader.consume(used);
    }

    if end == Some(b'\n') && bytes.ends_with(b"\r") {
        bytes.pop();
    }
    if bytes.len() > MAX_LINE_LENGTH {
        return Err(too_long_error(ErrorKind::InvalidData));
    }
    let is_line = end.is_some() || !bytes.is_empty();
    Ok(is_line.then_some(Line { bytes, end }))
}

/// Where the first LF or NUL stands.
fn find_end(bytes: &[u8]) -> Option<usize> {
    const BLOCK_LENGTH: usize = 512;
    let mut passed = 0;
    for block in bytes.chunks(BLOCK_LENGTH) {
        // std's search for a single byte looks at many of them at once. A search for either of two bytes
        // looks at one after the other, which for a long line takes ten times as long.
        if block.contains(&b'\n') || block.contains(&0) {
            let place = block.iter().position(|byte| matches!(byte, b'\n' | 0));
            return place.map(|place| passed + place);
        }
        passed += block.len();
    }
    None
}

/// Adds to an error how many bytes of a line had come, if any. Without that, a peer that forgets the
/// line's end looks like one that says nothing.
pub(crate) fn with_progress(error: io::Error, received: usize) -> io::Error {
    if received == 0 {
        return error;
    }
    let reason = format!("{error}, {received} bytes without a line end");
    io::Error::new(error.kind(), reason)
}

/// Whether an error is the system's own. If [`read_line`] returned it, then not a byte of the line had come:
/// otherwise the error would say how many, and would be another one.
#[must_use]
pub fn nothing_came(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

/// The error for a line of more than [`MAX_LINE_LENGTH`] bytes.
fn too_long_error(kind: ErrorKind) -> io::Error {
    let reason = format!("the line is longer than {MAX_LINE_LENGTH} bytes");
    io::Error::new(kind, reason)
}

/// Refuses a text that would not arrive as it is. Whatever sends a line asks this first.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput) if the text has an LF or a NUL in it, which would make it
/// two lines; a CR at its end, which would be dropped; or more than [`MAX_LINE_LENGTH`] bytes.
pub fn check_line(text: &[u8]) -> io::Result<()> {
    let reason = if text.contains(&0) {
        "a NUL in the line would end it early"
    } else if text.contains(&b'\n') {
        "an LF in the line would end it early"
    } else if text.len() > MAX_LINE_LENGTH {
        return Err(too_long_error(ErrorKind::InvalidInput));
    } else if text.ends_with(b"\r") {
        "a CR at the end would be dropped"
    } else {
        return Ok(());
    };
    Err(io::Error::new(ErrorKind::InvalidInput, reason))
}

/// The reply to a line: `text`, in which the first `{line}` has become the line, byte for byte. What the
/// line itself contains is not replaced again.
///
/// ```
/// use greet::line::reply_to;
///
/// assert_eq!(reply_to(b"hello", "kept {line}"), b"kept hello");
/// assert_eq!(reply_to(b"{line}", "{line}, {line}"), b"{line}, {line}");
/// ```
#[must_use]
pub fn reply_to(line: &[u8], text: &str) -> Vec<u8> {
    match text.split_once(PLACEHOLDER) {
        Some((before, after)) => [before.as_bytes(), line, after.as_bytes()].concat(),
        None => text.into(),
    }
}

/// What travels for a text: the text and one LF, as one piece. If they were written separately, the LF
/// might wait until the peer acknowledges the text (Nagle's algorithm, RFC 896).
pub(crate) fn encode(text: &[u8]) -> io::Result<Vec<u8>> {
    check_line(text)?;
    Ok([text, b"\n"].concat())
}

/// Writes `text` and one LF with a single call of `write_all`, and flushes.
///
/// # Errors
///
/// The errors of [`check_line`], before anything is written, or the failure of `writer`.
pub fn write_line(mut writer: impl Write, text: &[u8]) -> io::Result<()> {
    writer.write_all(&encode(text)?)?;
    writer.flush()
}
