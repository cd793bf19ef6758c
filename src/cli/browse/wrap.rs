//! Text in so many columns: cut, or in several lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A text in so many columns; what does not fit is left out, which a `~` tells.
pub fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        out.push(char);
    }
    if width > 0 {
        out.push('~');
    }
    out
}

/// A text in lines of so many columns, all of it; it is broken between words where there are some. Later lines begin
/// with so many spaces.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let indent = if indent + 8 > width { 0 } else { indent };
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    let mut last_space = None;
    for char in text.chars() {
        let wide = char.width().unwrap_or(0);
        if used + wide > width && used > 0 {
            let rest = match last_space {
                // A line of which a word takes half or more is broken within the word.
                Some(at) if char != ' ' && at > line.len() / 2 => line.split_off(at),
                _ => String::new(),
            };
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(indent) + rest.trim_start();
            used = line.width();
            last_space = None;
            if char == ' ' && rest.trim_start().is_empty() {
                continue;
            }
        }
        line.push(char);
        used += wide;
        if char == ' ' {
            last_space = Some(line.len());
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("photo", 5), "photo");
        assert_eq!(fit("photos", 5), "phot~");
        assert_eq!(fit("写真", 3), "写~");
        assert_eq!(fit("photo", 0), "");
    }

    #[test]
    fn nothing_of_a_long_text_is_lost() {
        assert_eq!(wrap("short", 20, 4), ["short"]);
        assert_eq!(wrap("", 20, 4), [""]);
        assert_eq!(wrap("one two three four five", 12, 2), ["one two", "  three four", "  five"]);
        assert_eq!(wrap("IMG_20190714_180321_with_a_long_name.jpg", 16, 4).concat().replace("    ", "").len(), 40);
        for text in ["Sommer in Köln 🌻 und anderswo.jpg", "写真写真写真写真写真写真.jpg", "a b c d e f g", "   x"]
        {
            for width in 2..40 {
                let lines = wrap(text, width, 4);
                assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:?}");
                let bare = |text: &str| text.replace(' ', "");
                assert_eq!(bare(&lines.concat()), bare(text), "{width}");
            }
        }
    }
}
