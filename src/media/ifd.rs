//! Reading the directories of TIFF and EXIF: which tags there are, and their values. One entry is looked up at a time and
//! nothing is gathered, so memory does not grow with what a file claims.

use std::io;

use super::bytes::{Order, Window};

const MAX_ENTRIES: u64 = 1024;

/// The most values of one tag that are read: four bytes each, they fit a block of the window.
pub(super) const MAX_VALUES: u64 = 1 << 14;

/// Numbers laid out as a TIFF file, at some place of a file.
#[derive(Clone, Copy)]
pub(super) struct Tiff {
    order: Order,
    /// Where offsets count from.
    base: u64,
    /// The offset of the first directory.
    pub(super) first: u64,
    /// Whether it is Panasonic's kind, which has tags of its own.
    pub(super) panasonic: bool,
}

/// One list of tags.
pub(super) struct Directory {
    tiff: Tiff,
    entries: Vec<Entry>,
    /// The offset of the next directory, or 0.
    pub(super) next: u64,
}

/// One tag.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    tag: u16,
    /// Bytes of one whole number: 2 or 4; 1 for every type that is not whole numbers.
    pub(super) wide: u64,
    rational: bool,
    /// How many values there are.
    pub(super) count: u64,
    /// Where in the file they lie.
    pub(super) at: u64,
}

impl Tiff {
    /// The header at `base`; `None` if there is none. BigTIFF is not read.
    pub(super) fn open(window: &mut Window<'_>, base: u64) -> io::Result<Option<Self>> {
        let Some(head) = window.array::<8>(base)? else { return Ok(None) };
        let order = match &head[..4] {
            [b'M', b'M', 0, b'*'] | [b'M', b'M', b'O', b'R'] => Order::Big,
            [b'I', b'I', b'*' | b'U', 0] | [b'I', b'I', b'R', b'O' | b'S'] => Order::Little,
            _ => return Ok(None),
        };
        let first = u64::from(order.u32([head[4], head[5], head[6], head[7]]));
        Ok(Some(Self { order, base, first, panasonic: head[2] == b'U' }))
    }

    /// A big-endian directory without a header before it, whose offsets count from `base`.
    pub(super) fn headless(base: u64) -> Self {
        Self { order: Order::Big, base, first: 0, panasonic: false }
    }

    /// The directory at `offset`; `None` if it is not all there.
    pub(super) fn directory(self, window: &mut Window<'_>, offset: u64) -> io::Result<Option<Directory>> {
        let order = self.order;
        let at = self.base + offset;
        let Some(count) = window.array(at)? else { return Ok(None) };
        let count = u64::from(order.u16(count));
        if count == 0 || count > MAX_ENTRIES {
            return Ok(None);
        }
        let Some(bytes) = window.get(at + 2, count as usize * 12)? else { return Ok(None) };
        let entries = bytes.chunks_exact(12).zip(0..).map(|(entry, i)| {
            let count = u64::from(order.u32([entry[4], entry[5], entry[6], entry[7]]));
            let kind = order.u16([entry[2], entry[3]]);
            let (wide, size) = match kind {
                3 => (2, 2),
                // LONG, and IFD, which is the same.
                4 | 13 => (4, 4),
                // RATIONAL, signed or not, and DOUBLE.
                5 | 10 | 12 => (1, 8),
                8 => (1, 2),
                9 | 11 => (1, 4),
                _ => (1, 1),
            };
            let value = u64::from(order.u32([entry[8], entry[9], entry[10], entry[11]]));
            let at = if count * size <= 4 { at + 2 + i * 12 + 8 } else { self.base + value };
            Entry { tag: order.u16([entry[0], entry[1]]), wide, rational: kind == 5, count, at }
        });
        let entries = entries.collect();
        // Some writers leave the last link out.
        let next = window.array(at + 2 + count * 12)?.map_or(0, |next| u64::from(order.u32(next)));
        Ok(Some(Directory { tiff: self, entries, next }))
    }
}

impl Directory {
    /// The first entry with this tag.
    pub(super) fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }

    /// The whole numbers of a tag; `None` if there is no such tag, or too many of them, or they are not in the file.
    pub(super) fn numbers(&self, window: &mut Window<'_>, tag: u16) -> io::Result<Option<Vec<u64>>> {
        let entry = self.entry(tag).filter(|entry| entry.wide > 1 && entry.count <= MAX_VALUES);
        let Some(entry) = entry else { return Ok(None) };
        let order = self.tiff.order;
        let number = |bytes: &[u8]| match *bytes {
            [a, b, c, d] => u64::from(order.u32([a, b, c, d])),
            [a, b] => u64::from(order.u16([a, b])),
            _ => 0,
        };
        let bytes = window.get(entry.at, (entry.count * entry.wide) as usize)?;
        Ok(bytes.map(|bytes| bytes.chunks_exact(entry.wide as usize).map(number).collect()))
    }

    /// The one whole number of a tag.
    pub(super) fn number(&self, window: &mut Window<'_>, tag: u16) -> io::Result<Option<u64>> {
        Ok(self.numbers(window, tag)?.and_then(|numbers| numbers.first().copied()))
    }

    /// The first `N` unsigned fractions of a tag; `None` if one of them divides by nothing.
    pub(super) fn fractions<const N: usize>(&self, window: &mut Window<'_>, tag: u16) -> io::Result<Option<[f64; N]>> {
        let entry = self.entry(tag).filter(|entry| entry.rational && entry.count >= N as u64);
        let Some(entry) = entry else { return Ok(None) };
        let Some(bytes) = window.get(entry.at, N * 8)? else { return Ok(None) };
        let mut found = [0.0; N];
        for (value, bytes) in found.iter_mut().zip(bytes.chunks_exact(8)) {
            let above = self.tiff.order.u32([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let below = self.tiff.order.u32([bytes[4], bytes[5], bytes[6], bytes[7]]);
            if below == 0 {
                return Ok(None);
            }
            *value = f64::from(above) / f64::from(below);
        }
        Ok(Some(found))
    }

    /// The first bytes of a tag's value, at most `max` of them.
    pub(super) fn bytes(&self, window: &mut Window<'_>, tag: u16, max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(tag).filter(|entry| entry.wide == 1 && !entry.rational) else { return Ok(None) };
        Ok(window.get(entry.at, entry.count.min(max) as usize)?.map(<[u8]>::to_vec))
    }
}
