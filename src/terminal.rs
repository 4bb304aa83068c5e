//! Text that somebody else chose, made safe to look at.

use std::io::{self, Write};

/// Writes a line and one LF: escaped if a person reads it at a terminal, unchanged if a program reads it.
///
/// Both go out with a single call of `write_all`. If they were written in pieces, another program's line
/// could come between them. [`write_line`](crate::line::write_line) would not do, because it refuses what
/// would not arrive as it is, and what is only shown may end with a CR. The line is taken as a whole, so that
/// a long one need not be copied.
///
/// # Errors
///
/// The failure of `output`.
pub fn show(mut output: impl Write, on_terminal: bool, line: Vec<u8>) -> io::Result<()> {
    let mut text = if on_terminal && !is_plain(&line) {
        escape(&line).into_bytes()
    } else {
        line
    };
    text.push(b'\n');
    output.write_all(&text)?;
    // std does not promise that standard output stays line-buffered when it is not a terminal.
    output.flush()
}

/// Whether a text is printable ASCII, as nearly every line of a log is. It needs no escapes, so the search for
/// them, which takes longer, is left out.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Escapes whatever could control a terminal or deceive its reader: control characters other than TAB
/// (C0, DEL and C1), the explicit bidirectional controls (Unicode Standard Annex 9, section 2: U+202A
/// to U+202E, U+2066 to U+2069), and bytes that are not UTF-8, as `\xNN`.
///
/// All other text stays as it is. That includes the implicit marks U+200E, U+200F and U+061C, because
/// Arabic and Hebrew text needs them.
///
/// ```
/// use greet::terminal::escape;
///
/// assert_eq!(escape("你好\u{1b}[31m".as_bytes()), "你好\\u{1b}[31m");
/// assert_eq!(escape(b"\xff"), "\\xff");
/// ```
#[must_use]
pub fn escape(text: &[u8]) -> String {
    let mut safe = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let is_bidi = matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            if is_bidi || character.is_control() && character != '\t' {
                safe.extend(character.escape_default());
            } else {
                safe.push(character);
            }
        }
        safe.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    safe
}
