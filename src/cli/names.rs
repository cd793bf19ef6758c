//! Names as a terminal may see them.
//!
//! File names are bytes that someone else chose. Printed as they are, they could move the cursor, colour the screen, hide
//! a line, turn the reading order round, or look just like another name; so whatever is no plain visible text is shown as
//! an escape.

use std::path::Path;

use super::places::bytes_of;

/// A name in which everything that a terminal could act on, or that nobody could see, is an escape. No two names look the
/// same for that: a backslash is doubled, and bytes that are no UTF-8 are shown as `\xNN`.
pub fn escape(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let mut before = '\0';
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                char => push(&mut out, before, char),
            }
            before = char;
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
    let mut before = '\0';
    for char in text.chars() {
        push(&mut out, before, char);
        before = char;
    }
    out
}

/// JSON as a terminal may see it: the same value, with what [`escape`] would escape in JSON's own form.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = '\0';
    for char in text.chars() {
        if is_plain(before, char) || char == '\n' {
            out.push(char);
        } else {
            // All such characters stand within strings.
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
        before = char;
    }
    out
}

fn push(out: &mut String, before: char, char: char) {
    match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        char if char.is_ascii_control() => out.push_str(&format!("\\x{:02X}", u32::from(char))),
        char if is_plain(before, char) => out.push(char),
        char => out.push_str(&format!("\\u{{{:X}}}", u32::from(char))),
    }
}

/// Whether a character may be shown as it is: it has a look of its own, and changes nothing of how the text around it reads.
fn is_plain(before: char, char: char) -> bool {
    match char {
        ' '..='~' => true,
        // Wide and narrow spaces, as cameras, screenshots and Japanese names have them.
        '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => true,
        // The picture that is meant by ❤ or ☀, and the form of an ideograph: marks of the character before, and of no other.
        '\u{FE0F}' => matches!(before, '\u{203C}'..='\u{3299}' | '\u{1F000}'..='\u{1FAFF}'),
        '\u{E0100}'..='\u{E01EF}' => matches!(before, '\u{3400}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}'),
        char => !is_unseen(char) && is_assigned(char),
    }
}

/// Characters without a look of their own that count as parts of words: joiners, fillers, selectors, tags.
fn is_unseen(char: char) -> bool {
    matches!(char,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{13430}'..='\u{1345F}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{10FFFF}'
    )
}

/// Whether Unicode has given it a meaning, and one that can be seen: no control, no private use. The standard library knows,
/// and tells it by what it escapes; marks that belong to the letter before are let through only behind one.
fn is_assigned(char: char) -> bool {
    let mut both = [b'a'; 5];
    let len = 1 + char.encode_utf8(&mut both[1..]).len();
    std::str::from_utf8(&both[..len]).is_ok_and(|both| both.escape_debug().nth(1) == Some(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_reaches_the_terminal_as_a_command() {
        let table: [(&[u8], &str); 24] = [
            ("so\u{AD}ft".as_bytes(), "so\\u{AD}ft"),
            ("a\u{200D}b\u{200C}c\u{2060}d\u{2064}".as_bytes(), "a\\u{200D}b\\u{200C}c\\u{2060}d\\u{2064}"),
            ("tag\u{E0001}\u{E0041}\u{E007F}".as_bytes(), "tag\\u{E0001}\\u{E0041}\\u{E007F}"),
            ("a\u{FE0F}b\u{FE01}\u{E0100}".as_bytes(), "a\\u{FE0F}b\\u{FE01}\\u{E0100}"),
            ("own \u{E000}\u{F0000}\u{10FFFD}".as_bytes(), "own \\u{E000}\\u{F0000}\\u{10FFFD}"),
            ("none \u{378}\u{FFFF}\u{FDD0}\u{40000}".as_bytes(), "none \\u{378}\\u{FFFF}\\u{FDD0}\\u{40000}"),
            ("a\u{2028}b\u{2029}".as_bytes(), "a\\u{2028}b\\u{2029}"),
            ("\u{115F}\u{3164}\u{FFA0}\u{2800}".as_bytes(), "\\u{115F}\\u{3164}\\u{FFA0}\\u{2800}"),
            ("Hochzeit ❤\u{FE0F}".as_bytes(), "Hochzeit ❤\u{FE0F}"),
            (
                "re\u{301}union, नमस्ते, 葛\u{E0100}, 東京\u{3000}駅".as_bytes(),
                "re\u{301}union, नमस्ते, 葛\u{E0100}, 東京\u{3000}駅",
            ),
            ("at 10.00\u{202F}AM".as_bytes(), "at 10.00\u{202F}AM"),
            ("Ünïcode – “quoted” 'too' \"so\"".as_bytes(), "Ünïcode – “quoted” 'too' \"so\""),
            ("\u{FFFD}".as_bytes(), "\u{FFFD}"),
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
    fn json_for_a_terminal_is_the_same_value() {
        let value = serde_json::json!({"path": "a\u{202E}b\u{AD}c\u{E0041}\u{9B}\u{7F}é\n", "x": [1]});
        let shown = json(&value.to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(value));
        assert!(shown.is_ascii() || shown.contains('é'), "{shown}");
        assert!(shown.contains("\\u202e") && shown.contains("\\u00ad") && shown.contains("\\udb40\\udc41"), "{shown}");
        assert!(shown.contains("\\u009b") && shown.contains("\\u007f"), "{shown}");
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(message("there is no \"a\nb\x1b[2J\" in \\x"), "there is no \"a\\nb\\x1B[2J\" in \\x");
    }
}
