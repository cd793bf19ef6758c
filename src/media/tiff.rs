//! Regions of files laid out as TIFF: scans, DNG and most cameras' raw pictures.
//!
//! The directories name runs of strips or tiles and embedded JPEGs; each is a region, and what lies between them is
//! metadata. A program that writes tags moves those runs and keeps their bytes. If two of them overlap, or anything else
//! is not as it should be, nothing is said.

use std::io;
use std::ops::Range;

use super::bytes::{Order, Window};
use super::cuts::Cuts;
use super::{Format, RegionKind, jpeg};

/// What is between two runs is taken for metadata up to this size.
const MAX_METADATA: u64 = 1 << 20;

/// Strips this close together are one run: writers pad them to even offsets.
const PADDING: u64 = 16;

/// A run below this size is not worth a region.
const SMALL: u64 = 1 << 10;

const MAX_DIRECTORIES: usize = 64;
const MAX_ENTRIES: u64 = 1024;
const MAX_STRIPS: u64 = 1 << 14;

/// The tags that say where data lies.
mod tag {
    pub(super) const SUBFILE: u16 = 0x00fe;
    pub(super) const MAKE: u16 = 0x010f;
    pub(super) const STRIP_OFFSETS: u16 = 0x0111;
    pub(super) const STRIP_COUNTS: u16 = 0x0117;
    pub(super) const TILE_OFFSETS: u16 = 0x0144;
    pub(super) const TILE_COUNTS: u16 = 0x0145;
    pub(super) const SUB_DIRECTORIES: u16 = 0x014a;
    pub(super) const JPEG_OFFSET: u16 = 0x0201;
    pub(super) const JPEG_COUNT: u16 = 0x0202;
    /// Panasonic: a JPEG as the value of a tag, and the sensor's data up to the end of the file.
    pub(super) const RW2_JPEG: u16 = 0x002e;
    pub(super) const RW2_DATA: u16 = 0x0118;
    pub(super) const DNG_VERSION: u16 = 0xc612;
    pub(super) const SONY_PRIVATE: u16 = 0xc634;
}

/// One entry of a directory.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    /// Bytes of one value: 2, 4, or 1 for everything else.
    wide: u64,
    count: u64,
    /// Where the values lie: in the entry itself if they fit there.
    at: u64,
}

struct Directory {
    entries: Vec<Entry>,
    next: u64,
}

/// Which raw format a file is that begins like a TIFF.
pub(super) fn raw_kind(window: &mut Window<'_>) -> io::Result<Format> {
    let Some((order, at)) = header(window)? else { return Ok(Format::Tiff) };
    let Some(first) = directory(window, order, at)? else { return Ok(Format::Tiff) };
    if first.entry(tag::DNG_VERSION).is_some() {
        return Ok(Format::Dng);
    }
    let make = match first.entry(tag::MAKE) {
        Some(make) => window.get(make.at, make.count.min(5) as usize)?.unwrap_or_default().to_ascii_uppercase(),
        None => Vec::new(),
    };
    let reduced = first.entry(tag::SUBFILE).is_some() && first.entry(tag::SUB_DIRECTORIES).is_some();
    Ok(match make.as_slice() {
        b"NIKON" if reduced => Format::Nef,
        b"SONY" | b"SONY\0" | b"SONY " if reduced || first.entry(tag::SONY_PRIVATE).is_some() => Format::Arw,
        _ => Format::Tiff,
    })
}

/// Cuts a TIFF file.
pub(super) fn cut(window: &mut Window<'_>, cuts: &mut Cuts) -> io::Result<()> {
    let Some(runs) = runs(window)? else { return Ok(()) };
    for run in runs {
        let between = run.start - cuts.at();
        cuts.to(run.start, if between <= MAX_METADATA { RegionKind::Metadata } else { RegionKind::Content });
        jpeg::cut_within(window, cuts, run.end)?;
    }
    if window.len() - cuts.at() <= MAX_METADATA {
        cuts.to(window.len(), RegionKind::Metadata);
    }
    Ok(())
}

/// The runs of picture data in order; `None` if there are none or they are not surely right.
fn runs(window: &mut Window<'_>) -> io::Result<Option<Vec<Range<u64>>>> {
    let Some((order, first)) = header(window)? else { return Ok(None) };
    let mut todo = vec![first];
    let mut runs = Vec::new();
    let mut strips_left = MAX_STRIPS;
    for done in 0.. {
        let Some(&at) = todo.get(done) else { break };
        if todo.len() > MAX_DIRECTORIES {
            return Ok(None);
        }
        let Some(found) = directory(window, order, at)? else { return Ok(None) };
        let subs = found.entry(tag::SUB_DIRECTORIES).filter(|subs| subs.count <= MAX_DIRECTORIES as u64);
        let subs = values(window, order, subs)?.unwrap_or_default();
        for next in subs.into_iter().chain([found.next]) {
            if next != 0 && !todo.contains(&next) {
                todo.push(next);
            }
        }
        for (offsets, counts) in [
            (tag::STRIP_OFFSETS, tag::STRIP_COUNTS),
            (tag::TILE_OFFSETS, tag::TILE_COUNTS),
            (tag::JPEG_OFFSET, tag::JPEG_COUNT),
        ] {
            let (Some(offsets), Some(counts)) = (found.entry(offsets), found.entry(counts)) else { continue };
            if offsets.count != counts.count || offsets.count > strips_left {
                return Ok(None);
            }
            strips_left -= offsets.count;
            let (offsets, counts) =
                (values(window, order, Some(offsets))?, values(window, order, Some(counts))?);
            let (Some(offsets), Some(counts)) = (offsets, counts) else { return Ok(None) };
            add_run(&mut runs, offsets.into_iter().zip(counts).map(|(start, count)| start..start + count));
        }
        if let Some(jpeg) = found.entry(tag::RW2_JPEG).filter(|jpeg| jpeg.wide == 1) {
            add_run(&mut runs, std::iter::once(jpeg.at..jpeg.at + jpeg.count));
        }
        if let Some(&[start]) = values(window, order, found.entry(tag::RW2_DATA))?.as_deref() {
            add_run(&mut runs, std::iter::once(start..window.len()));
        }
    }
    runs.retain(|run| run.end - run.start >= SMALL);
    runs.sort_by_key(|run| (run.start, run.end));
    // Two directories may name the same picture.
    runs.dedup();
    let apart = runs.windows(2).all(|pair| pair[0].end <= pair[1].start);
    let inside = runs.last().is_some_and(|last| last.end <= window.len());
    Ok((apart && inside).then_some(runs))
}

/// Adds strips, joining those that follow one another.
fn add_run(runs: &mut Vec<Range<u64>>, strips: impl Iterator<Item = Range<u64>>) {
    let first = runs.len();
    for strip in strips.filter(|strip| strip.start < strip.end) {
        match runs[first..].last_mut() {
            Some(last) if strip.start >= last.end && strip.start - last.end <= PADDING => last.end = strip.end,
            _ => runs.push(strip),
        }
    }
}

/// Byte order, and where the first directory lies. BigTIFF is not read.
fn header(window: &mut Window<'_>) -> io::Result<Option<(Order, u64)>> {
    let Some(head) = window.array::<8>(0)? else { return Ok(None) };
    let order = match &head[..4] {
        [b'M', b'M', 0, b'*'] | [b'M', b'M', b'O', b'R'] => Order::Big,
        [b'I', b'I', b'*', 0] | [b'I', b'I', b'U', 0] | [b'I', b'I', b'R', b'O' | b'S'] => Order::Little,
        _ => return Ok(None),
    };
    Ok(Some((order, u64::from(order.u32([head[4], head[5], head[6], head[7]])))))
}

fn directory(window: &mut Window<'_>, order: Order, at: u64) -> io::Result<Option<Directory>> {
    let Some(count) = window.array(at)? else { return Ok(None) };
    let count = u64::from(order.u16(count));
    if count == 0 || count > MAX_ENTRIES {
        return Ok(None);
    }
    let Some(bytes) = window.get(at + 2, count as usize * 12)? else { return Ok(None) };
    let entries = bytes.chunks_exact(12).zip(0..).map(|(entry, i)| {
        let count = u64::from(order.u32([entry[4], entry[5], entry[6], entry[7]]));
        let wide = match order.u16([entry[2], entry[3]]) {
            3 => 2,
            // LONG, and IFD, which is the same.
            4 | 13 => 4,
            _ => 1,
        };
        let value = u64::from(order.u32([entry[8], entry[9], entry[10], entry[11]]));
        let at = if count * wide <= 4 { at + 2 + i * 12 + 8 } else { value };
        Entry { tag: order.u16([entry[0], entry[1]]), wide, count, at }
    });
    let entries = entries.collect();
    // Some writers leave the last link out.
    let next = window.array(at + 2 + count * 12)?.map_or(0, |next| u64::from(order.u32(next)));
    Ok(Some(Directory { entries, next }))
}

impl Directory {
    fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }
}

/// The values of an entry of whole numbers; `None` if there is no such entry, or too many, or they are not in the file.
fn values(window: &mut Window<'_>, order: Order, entry: Option<Entry>) -> io::Result<Option<Vec<u64>>> {
    let Some(entry) = entry.filter(|entry| entry.wide > 1 && entry.count <= MAX_STRIPS) else { return Ok(None) };
    // MAX_STRIPS values of four bytes are one block.
    let bytes = window.get(entry.at, (entry.count * entry.wide) as usize)?;
    Ok(bytes.map(|bytes| {
        let number = |bytes: &[u8]| match *bytes {
            [a, b, c, d] => u64::from(order.u32([a, b, c, d])),
            [a, b] => u64::from(order.u16([a, b])),
            _ => 0,
        };
        bytes.chunks_exact(entry.wide as usize).map(number).collect()
    }))
}
