//! Names as a terminal may see them.
//!
//! File names are bytes that someone else chose. Printed as they are, they could move the cursor, colour the screen, hide
//! a line or turn the reading order round; so whatever is no plain visible text is shown as an escape.

use std::path::Path;

use super::places::bytes_of;

/// A name in which everything that a terminal could act on is an escape. No two names look the same: a backslash is
/// doubled, and bytes that are no UTF-8 are shown as `\xNN`.
pub fn escape(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                char => push(&mut out, char),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02X}"));
        }
    }
    out
}

/// A path, escaped.
pub fn path(path: &Path) -> String {
    escape(&bytes_of(path.as_os_str()))
}

/// A sentence that may have names in it, made into one harmless line.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|char| push(&mut out, char));
    out
}

fn push(out: &mut String, char: char) {
    match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        char if char.is_ascii_control() => out.push_str(&format!("\\x{:02X}", u32::from(char))),
        char if char.is_control() || misleads(char) => out.push_str(&format!("\\u{{{:X}}}", u32::from(char))),
        char => out.push(char),
    }
}

/// Characters without a look of their own that change how the text around them reads.
fn misleads(char: char) -> bool {
    matches!(char,
        '\u{061C}' | '\u{200E}' | '\u{200F}' // direction marks
        | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' // direction overrides and isolates
        | '\u{2028}' | '\u{2029}' // line and paragraph separators
        | '\u{200B}' | '\u{2060}' | '\u{FEFF}' // no width at all
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_reaches_the_terminal_as_a_command() {
        let table: [(&[u8], &str); 11] = [
            (b"IMG_0001.JPG", "IMG_0001.JPG"),
            ("Sommer in Köln 🌻.jpg".as_bytes(), "Sommer in Köln 🌻.jpg"),
            (b"\x1b[31mred\x1b[0m", "\\x1B[31mred\\x1B[0m"),
            (b"two\nlines\r\t", "two\\nlines\\r\\t"),
            ("photo\u{202E}gpj.exe".as_bytes(), "photo\\u{202E}gpj.exe"),
            ("\u{2066}a\u{2069}\u{200F}".as_bytes(), "\\u{2066}a\\u{2069}\\u{200F}"),
            ("\u{9b}31m".as_bytes(), "\\u{9B}31m"),
            (b"caf\xe9.jpg", "caf\\xE9.jpg"),
            (b"a\\xE9", "a\\\\xE9"),
            (b"\0\x07\x7f", "\\x00\\x07\\x7F"),
            (b"", ""),
        ];
        for (name, shown) in table {
            assert_eq!(escape(name), shown);
        }
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(message("there is no \"a\nb\x1b[2J\" in \\x"), "there is no \"a\\nb\\x1B[2J\" in \\x");
    }
}
