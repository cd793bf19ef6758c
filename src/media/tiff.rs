//! Regions of files laid out as TIFF: scans, DNG and most cameras' raw pictures.
//!
//! The directories name runs of strips or tiles and embedded JPEGs; each is a region, and what lies between them is
//! metadata. A program that writes tags moves those runs and keeps their bytes. If two of them overlap, or anything else
//! is not as it should be, nothing is said.

use std::io;
use std::ops::Range;

use super::bytes::Window;
use super::cuts::Cuts;
use super::ifd::{MAX_VALUES, Tiff};
use super::{Format, RegionKind, jpeg};

/// What is between two runs is taken for metadata up to this size.
const MAX_METADATA: u64 = 1 << 20;

/// Strips this close together are one run: writers pad them to even offsets.
const PADDING: u64 = 16;

/// A run below this size is not worth a region.
const SMALL: u64 = 1 << 10;

const MAX_DIRECTORIES: usize = 64;

/// How many strips one file may have.
const MAX_STRIPS: u64 = MAX_VALUES;

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

/// Which raw format a file is that begins like a TIFF.
pub(super) fn raw_kind(window: &mut Window<'_>) -> io::Result<Format> {
    let Some(tiff) = Tiff::open(window, 0)? else { return Ok(Format::Tiff) };
    let Some(first) = tiff.directory(window, tiff.first)? else { return Ok(Format::Tiff) };
    if first.entry(tag::DNG_VERSION).is_some() {
        return Ok(Format::Dng);
    }
    let make = first.bytes(window, tag::MAKE, 5)?.unwrap_or_default().to_ascii_uppercase();
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
    let Some(tiff) = Tiff::open(window, 0)? else { return Ok(None) };
    let mut todo = vec![tiff.first];
    let mut runs = Vec::new();
    let mut strips_left = MAX_STRIPS;
    for done in 0.. {
        let Some(&at) = todo.get(done) else { break };
        if todo.len() > MAX_DIRECTORIES {
            return Ok(None);
        }
        let Some(found) = tiff.directory(window, at)? else { return Ok(None) };
        let subs = found.numbers(window, tag::SUB_DIRECTORIES)?.unwrap_or_default();
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
            if found.entry(offsets).is_none() || found.entry(counts).is_none() {
                continue;
            }
            let (offsets, counts) = (found.numbers(window, offsets)?, found.numbers(window, counts)?);
            let (Some(offsets), Some(counts)) = (offsets, counts) else { return Ok(None) };
            if offsets.len() != counts.len() || offsets.len() as u64 > strips_left {
                return Ok(None);
            }
            strips_left -= offsets.len() as u64;
            add_run(&mut runs, offsets.into_iter().zip(counts).map(|(start, count)| start..start + count));
        }
        if !tiff.panasonic {
            continue;
        }
        if let Some(jpeg) = found.entry(tag::RW2_JPEG).filter(|jpeg| jpeg.wide == 1) {
            add_run(&mut runs, std::iter::once(jpeg.at..jpeg.at + jpeg.count));
        }
        if let Some(&[start]) = found.numbers(window, tag::RW2_DATA)?.as_deref() {
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
