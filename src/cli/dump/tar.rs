//! A tar as POSIX has it: ustar headers, and before those that say too little a pax header with what is missing.
//!
//! Names are bytes. Attributes go under `SCHILY.xattr.`, as GNU tar, star and libarchive write and read them.

use std::fmt::Write as _;

use crate::format::{Entry, EntryKind, Time};

use super::Pack;
use super::sink::Sink;
use crate::cli::exit::Failure;

const BLOCK: usize = 512;
/// The largest numbers that octal digits of a header hold.
const MAX_ID: u64 = 0o7_777_777;
const MAX_LONG: u64 = 0o77_777_777_777;

/// Writes a tar.
pub struct Tar {
    sink: Sink,
    /// Bytes that are missing to a whole block.
    padding: usize,
}

impl Tar {
    pub fn new(sink: Sink) -> Self {
        Self { sink, padding: 0 }
    }

    fn entry(&mut self, path: &[u8], entry: &Entry, kind: u8, size: u64, link: &[u8]) -> Result<(), Failure> {
        let meta = &entry.meta;
        let mut extra = Extra::default();
        let slashed = if kind == b'5' { [path, b"/"].concat() } else { path.to_vec() };
        extra.text(b"path", &slashed);
        extra.text(b"linkpath", link);
        extra.number(b"size", size, MAX_LONG);
        extra.number(b"uid", meta.uid.into(), MAX_ID);
        extra.number(b"gid", meta.gid.into(), MAX_ID);
        extra.time(meta.mtime);
        if kind != b'1' {
            for (name, value) in &meta.xattrs {
                // The name ends at the first equals sign.
                if !name.contains(&b'=') && std::str::from_utf8(name).is_ok() {
                    extra.record(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
                }
            }
        }
        let records = extra.done();
        if !records.is_empty() {
            let time = Time::default();
            let name =
                [b"PaxHeaders/".as_slice(), path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()].concat();
            let numbers = Numbers { mode: 0o644, uid: 0, gid: 0, size: records.len() as u64, time };
            self.sink.write(&header(&name, &numbers, b'x', b""))?;
            self.sink.write(&records)?;
            self.pad(records.len())?;
        }
        let (uid, gid) = (meta.uid.into(), meta.gid.into());
        let numbers = Numbers { mode: (meta.mode & 0o7777).into(), uid, gid, size, time: meta.mtime };
        self.sink.write(&header(&slashed, &numbers, kind, link))
    }

    fn pad(&mut self, len: usize) -> Result<(), Failure> {
        self.sink.write(&[0; BLOCK][..len.next_multiple_of(BLOCK) - len])
    }
}

impl Pack for Tar {
    fn refuses(&self, _: &[u8], _: &Entry) -> Option<&'static str> {
        None
    }

    fn link(&mut self, path: &[u8], entry: &Entry, to: &[u8]) -> Result<bool, Failure> {
        self.entry(path, entry, b'1', 0, to).map(|()| true)
    }

    fn begin(&mut self, path: &[u8], entry: &Entry, size: u64, _: u32) -> Result<(), Failure> {
        self.padding = (size.next_multiple_of(BLOCK as u64) - size) as usize;
        match &entry.kind {
            EntryKind::File { .. } => self.entry(path, entry, b'0', size, b""),
            EntryKind::Dir { .. } => self.entry(path, entry, b'5', 0, b""),
            EntryKind::Symlink { target } => self.entry(path, entry, b'2', 0, target),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write(bytes)
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.sink.write(&[0; BLOCK][..self.padding])
    }

    fn close(mut self) -> Result<Sink, Failure> {
        self.sink.write(&[0; 2 * BLOCK])?;
        Ok(self.sink)
    }
}

struct Numbers {
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    time: Time,
}

/// A block that says what follows. What does not fit is cut, and a pax header before it has the rest.
fn header(path: &[u8], numbers: &Numbers, kind: u8, link: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path[..path.len().min(100)]);
    put(100, octal(numbers.mode, 7).as_bytes());
    put(108, octal(numbers.uid.min(MAX_ID), 7).as_bytes());
    put(116, octal(numbers.gid.min(MAX_ID), 7).as_bytes());
    put(124, octal(numbers.size.min(MAX_LONG), 11).as_bytes());
    let seconds = u64::try_from(numbers.time.secs).unwrap_or(0);
    put(136, octal(seconds.min(MAX_LONG), 11).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &link[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{}\0 ", octal(sum, 6)).as_bytes());
    block
}

fn octal(number: u64, digits: usize) -> String {
    format!("{number:0digits$o}")
}

/// The records of a pax header.
#[derive(Default)]
struct Extra {
    records: Vec<u8>,
    binary: bool,
}

impl Extra {
    /// A name that does not fit into a header, or that readers could take for text in some character set.
    fn text(&mut self, key: &[u8], value: &[u8]) {
        let text = std::str::from_utf8(value).is_ok();
        if value.len() > 100 || (text && !value.is_ascii()) {
            self.binary |= !text;
            self.record(key, value);
        }
    }

    fn number(&mut self, key: &[u8], number: u64, largest: u64) {
        if number > largest {
            self.record(key, number.to_string().as_bytes());
        }
    }

    fn time(&mut self, time: Time) {
        if time.nanos > 0 || time.secs < 0 || time.secs as u64 > MAX_LONG {
            // A fraction counts away from zero: half a second before 1970 is -0.5.
            let nanos = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
            let (whole, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
            let mut text = format!("{}{whole}", if nanos < 0 { "-" } else { "" });
            if rest > 0 {
                let _ = write!(text, ".{rest:09}");
            }
            self.record(b"mtime", text.as_bytes());
        }
    }

    /// A record begins with its own length, which counts its digits as well.
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        self.records.extend_from_slice(len.to_string().as_bytes());
        for part in [b" ", key, b"=", value, b"\n"] {
            self.records.extend_from_slice(part);
        }
    }

    fn done(mut self) -> Vec<u8> {
        if self.binary {
            let others = std::mem::take(&mut self.records);
            self.record(b"hdrcharset", b"BINARY");
            self.records.extend(others);
        }
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(fill: impl FnOnce(&mut Extra)) -> String {
        let mut extra = Extra::default();
        fill(&mut extra);
        String::from_utf8_lossy(&extra.done()).into_owned()
    }

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for len in [0, 1, 88, 89, 90, 91, 92, 985, 986, 987, 988, 9_999] {
            let made = records(|extra| extra.record(b"path", &vec![b'x'; len]));
            let (told, _) = made.split_once(' ').expect("a length");
            assert_eq!(told.parse(), Ok(made.len()), "{len}");
        }
    }

    #[test]
    fn times_keep_their_fraction_on_both_sides_of_1970() {
        let time = |secs, nanos| records(|extra| extra.time(Time { secs, nanos }));
        assert_eq!(time(1_600_000_000, 0), "");
        assert_eq!(time(1_600_000_000, 5), "30 mtime=1600000000.000000005\n");
        assert_eq!(time(-2, 750_000_000), "22 mtime=-1.250000000\n");
        assert_eq!(time(-1, 500_000_000), "22 mtime=-0.500000000\n");
        assert_eq!(time(-86_400, 0), "16 mtime=-86400\n");
    }

    #[test]
    fn names_that_are_no_text_are_told_so() {
        let long = [vec![b'x'; 120], vec![0xE9]].concat();
        assert!(records(|extra| extra.text(b"path", &long)).starts_with("21 hdrcharset=BINARY\n"));
        assert_eq!(records(|extra| extra.text(b"path", b"caf\xe9")), "");
        assert_eq!(records(|extra| extra.text(b"path", "café".as_bytes())), "14 path=café\n");
    }
}
