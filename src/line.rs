//! A line: what travels in either direction, and what is read from standard input.

use std::io::{self, BufRead, ErrorKind, Write};

/// The most bytes a line may have, its end not counted.
///
/// Without a limit, a peer that never ends its line fills the memory.
pub const LIMIT: usize = 65_536;

/// A line, as [`read_line`] found it.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The bytes before the end, in whatever encoding they came.
    pub bytes: Vec<u8>,
    /// The byte that ended them: LF, or the NUL of a C program, which sends its string with the
    /// terminator and often with a whole uninitialised buffer after it. `None` is the end of the
    /// stream.
    pub end: Option<u8>,
}

/// Reads the bytes up to the first LF, NUL or end of stream; `None` if the stream ends before the
/// first byte.
///
/// TCP carries bytes, not messages (RFC 9293, section 2.2): a line may come in pieces, or together
/// with the next one, so one `read` is never taken for one line. What follows the line stays in
/// `reader`.
///
/// # Errors
///
/// What `reader` fails with, or [`InvalidData`](ErrorKind::InvalidData) as soon as the line is
/// known to exceed [`LIMIT`] bytes. What was read until then is lost: half a line is not a line.
pub fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let mut end = None;
    // A CR does not count yet: it is dropped if an LF comes next, perhaps in another piece.
    while end.is_none() && bytes.strip_suffix(b"\r").unwrap_or(&bytes).len() <= LIMIT {
        let piece = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        if piece.is_empty() {
            break;
        }
        let length = piece.iter().position(|byte| matches!(byte, b'\n' | 0));
        let (text, rest) = piece.split_at(length.unwrap_or(piece.len()));
        bytes.extend_from_slice(text);
        end = rest.first().copied();
        let used = text.len() + usize::from(end.is_some());
        reader.consume(used);
    }

    if end == Some(b'\n') && bytes.ends_with(b"\r") {
        bytes.pop();
    }
    if bytes.len() > LIMIT {
        let reason = format!("the line is longer than {LIMIT} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    let is_line = end.is_some() || !bytes.is_empty();
    Ok(is_line.then_some(Line { bytes, end }))
}

/// Writes `text` and one LF in one call. In two, the LF might wait until the peer acknowledges the
/// text (Nagle's algorithm, RFC 896), or come after another program's line.
///
/// The caller sees to it that `text` is one line: without LF or NUL, without a CR at its end, and of
/// at most [`LIMIT`] bytes.
///
/// # Errors
///
/// What `writer` fails with.
pub fn write_line(writer: &mut impl Write, text: &[u8]) -> io::Result<()> {
    writer.write_all(&[text, b"\n"].concat())?;
    writer.flush()
}
