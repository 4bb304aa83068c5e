//! A line: what travels in either direction, and what is read from standard input.

use std::io::{self, BufRead, ErrorKind, Write};

/// The most bytes that a line may have, not counting its end.
///
/// Without a limit, a peer that never ends its line would fill the memory.
pub const MAX_LINE_LENGTH: usize = 65_536;

/// A line, as [`read_line`] found it.
#[derive(Debug, PartialEq, Eq)]
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
/// This reads not a byte more than the line needs. The server depends on that: what it has not read
/// when it closes makes the system reset the connection, so the client gets no false receipt.
///
/// # Errors
///
/// The failure of `reader`, or [`InvalidData`](ErrorKind::InvalidData) as soon as the line is known
/// to be longer than [`MAX_LINE_LENGTH`] bytes. What was read of the line so far is lost, because half a
/// line is not a line.
pub fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let mut end = None;
    // A CR at the end does not count yet. If the next byte is an LF, the CR is dropped with it.
    while end.is_none() && bytes.len() <= MAX_LINE_LENGTH + usize::from(bytes.ends_with(b"\r")) {
        let piece = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        if piece.is_empty() {
            break;
        }
        let mut length = None;
        // Most pieces of a long line hold no end. `contains` finds that out many bytes at a time,
        // while `position` looks at each byte.
        if piece.contains(&b'\n') || piece.contains(&0) {
            length = piece.iter().position(|byte| matches!(byte, b'\n' | 0));
        }
        let (text, rest) = piece.split_at(length.unwrap_or(piece.len()));
        bytes.extend_from_slice(text);
        end = rest.first().copied();
        let used = text.len() + usize::from(end.is_some());
        reader.consume(used);
    }

    if end == Some(b'\n') && bytes.ends_with(b"\r") {
        bytes.pop();
    }
    if bytes.len() > MAX_LINE_LENGTH {
        let reason = format!("the line is longer than {MAX_LINE_LENGTH} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    let is_line = end.is_some() || !bytes.is_empty();
    Ok(is_line.then_some(Line { bytes, end }))
}

/// Writes `text` and one LF with a single call of `write_all`. If they were written separately, the
/// LF might wait until the peer acknowledges the text (Nagle's algorithm, RFC 896), and another
/// program's line could come between them.
///
/// The caller makes sure that `text` arrives unchanged: it holds no LF and no NUL, it does not end
/// with a CR, and it is at most [`MAX_LINE_LENGTH`] bytes long.
///
/// # Errors
///
/// The failure of `writer`.
pub fn write_line(mut writer: impl Write, text: &[u8]) -> io::Result<()> {
    writer.write_all(&[text, b"\n"].concat())?;
    // std does not promise that standard output stays line-buffered when it is not a terminal.
    writer.flush()
}
