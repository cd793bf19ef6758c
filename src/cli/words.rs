//! Numbers as people read them.

use std::time::Duration;

use super::exit::Failure;

/// 18,032
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 1 file, 18,032 files
pub fn files(number: u64) -> String {
    things(number, "file", "files")
}

/// 16 files, 16 files and 2 links, 2 links: links are no files.
pub fn files_and_links(number: u64, links: u64) -> String {
    match (number, links) {
        (number, 0) => files(number),
        (0, links) => things(links, "link", "links"),
        (number, links) => format!("{} and {}", files(number), things(links, "link", "links")),
    }
}

/// The same where it is plain that files are counted: 16, 16 and 2 links, 2 links.
pub fn count_and_links(number: u64, links: u64) -> String {
    match (number, links) {
        (number, 0) => count(number),
        (0, links) => things(links, "link", "links"),
        (number, links) => format!("{} and {}", count(number), things(links, "link", "links")),
    }
}

/// The number with the word that goes with it.
pub fn things(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// 61.2 GB: decimal units, as drives are labelled.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1000.0;
    let mut unit = 0;
    // What would be rounded to 1000.0 is 1.0 of the next unit.
    while scaled >= 999.95 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// 0.4 s, 42 s, 3 min 12 s, 2 h 5 min
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        _ if time.as_secs_f64() < 9.95 => format!("{:.1} s", time.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", count(seconds / 3600), seconds % 3600 / 60),
    }
}

/// Reads a time: a number with s, m or h behind it, or several of them, such as 1h30m.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number with s, m or h behind it, such as 45m or 2h".to_owned();
    let (mut seconds, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            _ => return Err(wrong()),
        };
        seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Reads a size as restic does: bytes, or a number with k, m, g or t for powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is a number, perhaps with k, m, g or t behind it (powers of 1024), such as 500m".to_owned();
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// The same for a value of the configuration file or the environment, whose name the message tells.
pub fn parse_size_of(name: &str, text: &str) -> Result<u64, Failure> {
    parse_size(text).map_err(|why| Failure::usage(format!("{name} = \"{text}\": {why}")))
}

/// What squeezing has come to.
pub fn squeezed(sizes: &crate::archive::Sizes) -> String {
    let images = things(sizes.images, "image", "images");
    match sizes.images {
        0 => images,
        _ => format!("{images}: {} stored as {}", bytes(sizes.images_plain), bytes(sizes.images_stored)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (18_032, "18,032"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(count(number), text);
        }
        assert_eq!(files(1), "1 file");
        assert_eq!(files(0), "0 files");
        for (number, links, long, short) in [
            (16, 0, "16 files", "16"),
            (16, 2, "16 files and 2 links", "16 and 2 links"),
            (0, 1, "1 link", "1 link"),
            (0, 0, "0 files", "0"),
        ] {
            assert_eq!(
                (files_and_links(number, links).as_str(), count_and_links(number, links).as_str()),
                (long, short)
            );
        }
    }

    #[test]
    fn sizes_are_decimal_and_never_a_thousand_of_a_unit() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_250, "1.2 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (61_234_567_890, "61.2 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (number, text) in table {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_are_short() {
        let table = [
            (0, "0.0 s"),
            (420, "0.4 s"),
            (9_940, "9.9 s"),
            (9_960, "10 s"),
            (42_000, "42 s"),
            (59_700, "1 min 0 s"),
            (192_000, "3 min 12 s"),
            (7_500_000, "2 h 5 min"),
        ];
        for (millis, text) in table {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn times_are_read() {
        for (text, seconds) in [("90s", 90), ("45m", 2700), ("2h", 7200), ("1h30m", 5400)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "2", "h", "0s", "2d", "-1h", "1.5h", "99999999999999999999h", "9999999999999999h", "2hé"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_restic_reads_them() {
        let table =
            [("0", 0), ("1000", 1000), ("1k", 1024), ("1K", 1024), ("3m", 3 << 20), ("2G", 2 << 30), ("1t", 1 << 40)];
        for (text, number) in table {
            assert_eq!(parse_size(text), Ok(number));
        }
        for text in ["", "k", "-1", "+1", "1.5m", "1 m", "1kb", "99999999999999999999", "99999999999t", "m1", "1é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
