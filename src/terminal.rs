//! What a peer sent, made safe to look at.

use std::io::{self, Write};

use crate::line::write_line;

/// Writes a line: escaped for a person at a terminal, unchanged for a program.
///
/// # Errors
///
/// What `output` fails with.
pub fn show(output: &mut impl Write, escaped: bool, line: &[u8]) -> io::Result<()> {
    if escaped {
        write_line(output, escape(line).as_bytes())
    } else {
        write_line(output, line)
    }
}

/// The text with escapes for control characters other than TAB (C0, DEL, C1), for the explicit
/// bidirectional controls (Unicode Standard Annex 9, section 2: U+202A to U+202E, U+2066 to U+2069),
/// and, as `\xNN`, for bytes that are not UTF-8.
///
/// All other text passes, and with it the implicit marks U+200E, U+200F and U+061C, which Arabic and
/// Hebrew text needs.
#[must_use]
pub fn escape(text: &[u8]) -> String {
    let mut safe = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let is_explicit =
                matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            if is_explicit || character.is_control() && character != '\t' {
                safe.extend(character.escape_default());
            } else {
                safe.push(character);
            }
        }
        safe.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    safe
}
