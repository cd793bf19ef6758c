//! A zip: files as they are, each with its length and sum known beforehand, so that it can be read from a pipe as well.
//! Names are UTF-8 and say so: readers take names that do not for one encoding or another, and would put a photo into a
//! second folder beside its own. Bytes that are no UTF-8 stand as `%FC`.
//! Photos do not become smaller by compressing. What is too large for the old fields is in zip64's.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::format::{Entry, EntryKind, Meta};

use crate::view::last_name;

use super::Pack;
use super::sink::Sink;
use crate::cli::dates;
use crate::cli::exit::Failure;

/// A field with this says that the number stands in an extra field.
const LARGE: u32 = u32::MAX;
/// Made on Unix, by version 4.5 of the format: attributes are Unix's.
const MADE_BY: u16 = 3 << 8 | 45;

/// Writes a zip.
pub struct Zip {
    sink: Sink,
    /// The directory at the end.
    directory: Vec<u8>,
    entries: u64,
    /// A link's target, which is its content.
    target: Vec<u8>,
    /// Names that one which is no UTF-8 may stand as: they come before it.
    percent: HashSet<Vec<u8>>,
}

impl Zip {
    pub fn new(sink: Sink) -> Self {
        Self { sink, directory: Vec::new(), entries: 0, target: Vec::new(), percent: HashSet::new() }
    }
}

impl Pack for Zip {
    fn refuses(&self, path: &[u8], entry: &Entry) -> Option<&'static str> {
        let long = match &entry.kind {
            EntryKind::Symlink { target } => target.len() > usize::from(u16::MAX),
            _ => self.name(path).len() >= usize::from(u16::MAX),
        };
        let name = self.name(path);
        if matches!(name, Cow::Owned(_)) && self.percent.contains(&*name) {
            return Some("its name is no UTF-8, and as it would stand in a zip another has it; a tar can hold it");
        }
        match path.contains(&b'\\') {
            // Windows would take it for a folder, and `..\` for the one above.
            true => Some("a zip cannot hold a name with a backslash; a tar can"),
            false if long => Some("its name is too long for a zip; a tar can hold it"),
            false => None,
        }
    }

    fn name<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        if std::str::from_utf8(path).is_ok() {
            return Cow::Borrowed(path);
        }
        let mut name = Vec::with_capacity(path.len() + 2);
        for chunk in path.utf8_chunks() {
            name.extend(chunk.valid().bytes());
            chunk.invalid().iter().for_each(|byte| name.extend(format!("%{byte:02X}").bytes()));
        }
        Cow::Owned(name)
    }

    fn link(&mut self, _: &[u8], _: &Entry, _: &[u8]) -> Result<bool, Failure> {
        Ok(false)
    }

    fn begin(&mut self, path: &[u8], entry: &Entry, size: u64, sum: u32) -> Result<(), Failure> {
        let (mut path, mut size, mut sum) = (self.name(path).into_owned(), size, sum);
        // Bytes that are no UTF-8 are 0x80 and above. What is in a folder is told apart by the folder.
        let taken = |run: &[u8]| matches!(run, [b'%', b'8' | b'9' | b'A'..=b'F', _]);
        if last_name(&path).windows(3).any(taken) {
            self.percent.insert(path.clone());
        }
        let (mut attributes, kind) = (
            0_u32,
            match &entry.kind {
                EntryKind::File { .. } => 0o100_000,
                EntryKind::Dir { .. } => 0o040_000,
                EntryKind::Symlink { .. } => 0o120_000,
            },
        );
        match &entry.kind {
            EntryKind::File { .. } => {}
            EntryKind::Dir { .. } => {
                path.push(b'/');
                // What DOS calls a directory.
                attributes = 0x10;
            }
            EntryKind::Symlink { target } => {
                let mut crc = flate2::Crc::new();
                crc.update(target);
                (size, sum) = (target.len() as u64, crc.sum());
                self.target.clone_from(target);
            }
        }
        attributes |= (kind | (entry.meta.mode & 0o7777)) << 16;
        let offset = self.sink.len;
        let is_large = size >= LARGE.into();
        let common = common(&path, &entry.meta, size, sum);
        let mut extra = Vec::new();
        if is_large {
            extra.extend([1_u16, 16].iter().flat_map(|field| field.to_le_bytes()));
            extra.extend([size, size].iter().flat_map(|field| field.to_le_bytes()));
        }
        let times = times(&entry.meta);
        let len = (extra.len() + times.len()) as u16;
        self.sink.write(&[b"PK\x03\x04".as_slice(), &common, &len.to_le_bytes(), &path, &extra, &times].concat())?;

        let mut large: Vec<u64> = if is_large { vec![size, size] } else { Vec::new() };
        if offset >= LARGE.into() {
            large.push(offset);
        }
        let mut extra = Vec::new();
        if !large.is_empty() {
            extra.extend([1_u16, 8 * large.len() as u16].iter().flat_map(|field| field.to_le_bytes()));
            extra.extend(large.iter().flat_map(|field| field.to_le_bytes()));
        }
        extra.extend(&times);
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(MADE_BY.to_le_bytes());
        self.directory.extend(&common);
        self.directory.extend((extra.len() as u16).to_le_bytes());
        // No comment, on the first disk, and no text that is known as such.
        self.directory.extend([0; 6]);
        self.directory.extend(attributes.to_le_bytes());
        self.directory.extend((offset.min(LARGE.into()) as u32).to_le_bytes());
        self.directory.extend(&path);
        self.directory.extend(&extra);
        self.entries += 1;
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write(bytes)
    }

    fn end(&mut self) -> Result<(), Failure> {
        let target = std::mem::take(&mut self.target);
        self.sink.write(&target)
    }

    fn close(mut self) -> Result<Sink, Failure> {
        let (offset, len) = (self.sink.len, self.directory.len() as u64);
        self.sink.write(&self.directory)?;
        if offset.max(len) >= LARGE.into() || self.entries >= u16::MAX.into() {
            let end = self.sink.len;
            let mut record = b"PK\x06\x06".to_vec();
            record.extend(44_u64.to_le_bytes());
            record.extend(MADE_BY.to_le_bytes());
            record.extend(45_u16.to_le_bytes());
            record.extend([0; 8]);
            record.extend([self.entries, self.entries, len, offset].iter().flat_map(|field| field.to_le_bytes()));
            record.extend(b"PK\x06\x07\0\0\0\0");
            record.extend(end.to_le_bytes());
            record.extend(1_u32.to_le_bytes());
            self.sink.write(&record)?;
        }
        let count = (self.entries.min(u16::MAX.into()) as u16).to_le_bytes();
        let mut record = b"PK\x05\x06\0\0\0\0".to_vec();
        record.extend([count, count].as_flattened());
        record.extend((len.min(LARGE.into()) as u32).to_le_bytes());
        record.extend((offset.min(LARGE.into()) as u32).to_le_bytes());
        record.extend([0; 2]);
        self.sink.write(&record)?;
        Ok(self.sink)
    }
}

/// What stands before each file and in the directory, from the version that is needed to the length of the name.
fn common(path: &[u8], meta: &Meta, size: u64, sum: u32) -> Vec<u8> {
    let large = size >= LARGE.into();
    let version: u16 = if large { 45 } else { 20 };
    // Names are UTF-8.
    let flags: u16 = 1 << 11;
    let (time, date) = dates::dos(meta.mtime);
    let mut out = Vec::new();
    out.extend([version, flags, 0, time, date].iter().flat_map(|field| field.to_le_bytes()));
    let short = if large { LARGE } else { size as u32 };
    out.extend([sum, short, short].iter().flat_map(|field| field.to_le_bytes()));
    out.extend((path.len() as u16).to_le_bytes());
    out
}

/// The time to the second, which DOS cannot say, and the owner.
fn times(meta: &Meta) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(seconds) = i32::try_from(meta.mtime.secs) {
        out.extend(b"UT\x05\0\x01");
        out.extend(seconds.to_le_bytes());
    }
    out.extend(b"ux\x0b\0\x01\x04");
    out.extend(meta.uid.to_le_bytes());
    out.push(4);
    out.extend(meta.gid.to_le_bytes());
    out
}
