//! Regions of a JPEG: each large APPn or COM segment, the small ones between them, the image, and what trails it.
//!
//! Programs that write tags insert, replace or remove APPn and COM segments and leave everything from the first table to
//! the end alone; so the image begins at its first table, whatever stands before it.

use std::io;

use memchr::{memchr, memmem};

use super::bmff;
use super::bytes::{AHEAD, Window, be};
use super::cuts::Cuts;
use super::facts::Look;
use super::{MAX_IMAGE, RegionKind};

/// A segment of this many bytes is a region of its own. A chunk costs about a hundred bytes of bookkeeping; below ten
/// times that it is cheaper to store a segment again with its neighbours.
const LARGE: u64 = 1 << 10;

/// The most segments before the image, and in it, and the most pictures in one file.
const MAX_SEGMENTS: usize = 4096;
const MAX_PARTS: usize = 64;

/// The most segments that are looked at for the capture facts.
const MAX_LOOKS: usize = 256;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// An embedded preview of this many bytes is a region of its own: a program that writes a date or a place into EXIF
/// rewrites all of the segment but the thumbnail in it.
const PREVIEW: u64 = 2 << 10;

/// How many places in one segment may look like a preview.
const MAX_PREVIEWS: usize = 8;

/// Where the parts of one JPEG lie.
struct Picture {
    /// The ends of its header regions and what is in them, in order; the last one is where the image begins.
    headers: Vec<(u64, RegionKind)>,
    /// Just behind EOI, if the image is complete and one that recompression may know.
    end: Option<u64>,
}

/// Cuts a JPEG file.
pub(super) fn cut(window: &mut Window<'_>, cuts: &mut Cuts) -> io::Result<()> {
    let len = window.len();
    let Some(first) = picture(window, 0, len)? else { return Ok(()) };
    if !first.push(cuts) {
        return Ok(());
    }
    for _ in 0..MAX_PARTS {
        let Some((start, part)) = next_part(window, cuts.at(), len)? else { break };
        match part {
            Part::Video => {
                cuts.to(start, RegionKind::Content);
                bmff::cut(window, cuts, len)?;
                break;
            }
            Part::Picture => match picture(window, start, len)? {
                Some(found) if found.end.is_some() => {
                    cuts.to(start, RegionKind::Content);
                    found.push(cuts);
                }
                // Bytes that only look like a picture: what is left is cut by content.
                _ => break,
            },
        }
    }
    Ok(())
}

/// Cuts the JPEG that lies inside another file, from [`Cuts::at`] to `end`; by content if it is none.
pub(super) fn cut_within(window: &mut Window<'_>, cuts: &mut Cuts, end: u64) -> io::Result<()> {
    if let Some(found) = picture(window, cuts.at(), end)?
        && found.end.is_some()
    {
        found.push(cuts);
    }
    cuts.to(end, RegionKind::Content);
    Ok(())
}

impl Picture {
    /// Adds the picture's regions; false if its end is not known.
    fn push(&self, cuts: &mut Cuts) -> bool {
        for &(end, kind) in &self.headers {
            cuts.to(end, kind);
        }
        if let Some(end) = self.end {
            cuts.to(end, RegionKind::JpegImage);
        }
        self.end.is_some()
    }
}

/// Reads the JPEG that begins at `start` and ends before `limit`; `None` if there is none.
fn picture(window: &mut Window<'_>, start: u64, limit: u64) -> io::Result<Option<Picture>> {
    if window.get(start, 2)? != Some(&[0xff, SOI]) {
        return Ok(None);
    }
    let mut found = Picture { headers: Vec::new(), end: None };
    // SOI goes with the first header, whatever that is: two bytes are not worth a chunk.
    let mut at = start + 2;
    for _ in 0..MAX_SEGMENTS {
        let Some((marker, next)) = segment_at(window, at, limit)? else { return Ok(None) };
        if !is_header(marker) {
            found.headers.push((at, RegionKind::Metadata));
            found.end = image_end(window, at, limit.min(at.saturating_add(MAX_IMAGE)))?;
            return Ok(Some(found));
        }
        if next - at >= LARGE {
            if at > start + 2 {
                found.headers.push((at, RegionKind::Metadata));
            }
            previews(window, at, next, &mut found.headers)?;
            found.headers.push((next, RegionKind::Metadata));
        }
        at = next;
    }
    Ok(None)
}

/// Finds the pictures in a segment, by looking for them: where a maker keeps his previews is his own affair.
fn previews(window: &mut Window<'_>, at: u64, next: u64, headers: &mut Vec<(u64, RegionKind)>) -> io::Result<()> {
    let Some(segment) = window.get(at, (next - at).min(1 << 16) as usize)? else { return Ok(()) };
    let starts: Vec<_> = memmem::find_iter(segment, &[0xff, SOI, 0xff]).take(MAX_PREVIEWS).collect();
    let mut done = at;
    for start in starts.into_iter().map(|start| at + start as u64).filter(|start| start - at >= 4) {
        if start < done {
            continue;
        }
        let Some(first) = first_table(window, start + 2, next)? else { continue };
        if let Some(end) = image_end(window, first, next)?
            && end - first >= PREVIEW
        {
            headers.push((first, RegionKind::Metadata));
            headers.push((end, RegionKind::JpegImage));
            done = end;
        }
    }
    Ok(())
}

/// Where the image of a preview begins, whose few headers stay with what is before it.
fn first_table(window: &mut Window<'_>, mut at: u64, limit: u64) -> io::Result<Option<u64>> {
    for _ in 0..MAX_PREVIEWS {
        match segment_at(window, at, limit)? {
            Some((marker, next)) if is_header(marker) => at = next,
            found => return Ok(found.map(|_| at)),
        }
    }
    Ok(None)
}

/// Whether a segment tells about the picture, and is not part of it: APPn and COM.
fn is_header(marker: u8) -> bool {
    matches!(marker, 0xe0..=0xef | 0xfe)
}

/// The end of the image whose first table is at `start`: just behind EOI.
fn image_end(window: &mut Window<'_>, start: u64, limit: u64) -> io::Result<Option<u64>> {
    let mut at = start;
    let (mut frames, mut scans) = (0, 0);
    for _ in 0..MAX_SEGMENTS {
        let Some((marker, next)) = segment_at(window, at, limit)? else { return Ok(None) };
        match marker {
            EOI => return Ok((frames == 1 && scans > 0).then_some(next)),
            // Baseline, extended and progressive, each with Huffman coding.
            0xc0..=0xc2 => frames += 1,
            SOS => scans += 1,
            // Tables, restart interval, number of lines, and comments between them.
            0xc4 | 0xdb | 0xdc | 0xdd | 0xe0..=0xef | 0xfe => {}
            _ => return Ok(None),
        }
        at = if marker == SOS {
            match scan_end(window, next, limit)? {
                Some(end) => end,
                None => return Ok(None),
            }
        } else {
            next
        };
    }
    Ok(None)
}

/// The marker at `at`, and where its segment ends. Fill bytes before it belong to it.
fn segment_at(window: &mut Window<'_>, at: u64, limit: u64) -> io::Result<Option<(u8, u64)>> {
    // A few fill bytes are allowed by the standard; nobody writes more.
    for fill in 0..16 {
        let here = at + fill;
        let (marker, end) = match window.array(here)? {
            Some([0xff, 0xff]) => continue,
            Some([0xff, EOI]) => (EOI, here + 2),
            Some([0xff, marker @ 0xc0..=0xfe]) if !matches!(marker, 0xd0..=0xd8) => {
                let Some(size) = window.get(here + 2, 2)?.map(be) else { return Ok(None) };
                if size < 2 {
                    return Ok(None);
                }
                (marker, here + 2 + size)
            }
            _ => return Ok(None),
        };
        return Ok((end <= limit).then_some((marker, end)));
    }
    Ok(None)
}

/// The first marker in coded data that is neither a stuffed `FF` nor a restart.
fn scan_end(window: &mut Window<'_>, start: u64, limit: u64) -> io::Result<Option<u64>> {
    let mut at = start;
    while at < limit {
        let Some(block) = window.rest(at)? else { return Ok(None) };
        let mut i = 0;
        while let Some(found) = memchr(0xff, &block[i..]) {
            i += found;
            match block.get(i + 1) {
                Some(0x00 | 0xd0..=0xd7) => i += 2,
                Some(0xff) => i += 1,
                Some(_) => return Ok(Some(at + i as u64)),
                None => break,
            }
        }
        // An `FF` at the very end of the block is looked at again, with what follows it.
        let done = if block.last() == Some(&0xff) { block.len() - 1 } else { block.len() } as u64;
        if done == 0 {
            return Ok(None);
        }
        at += done;
    }
    Ok(None)
}

/// Size and EXIF of the JPEG that begins at `start`.
pub(super) fn look(window: &mut Window<'_>, start: u64) -> io::Result<Look> {
    let mut found = Look::default();
    let mut at = start + 2;
    for _ in 0..MAX_LOOKS {
        let limit = window.len();
        let Some((marker, next)) = segment_at(window, at, limit)? else { break };
        match marker {
            0xe1 if found.exif.is_none() && window.get(at + 4, 6)? == Some(b"Exif\0\0") => found.exif = Some(at + 10),
            // Every kind of frame, known to recompression or not: precision, height, width.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                found.size = window.get(at + 5, 4)?.map(|size| (be(&size[2..]), be(&size[..2])));
                break;
            }
            EOI | SOS => break,
            _ => {}
        }
        at = next;
    }
    Ok(found)
}

/// What may trail an image.
enum Part {
    Picture,
    Video,
}

/// How far the blocks overlap in which parts are looked for: longer than any pattern, shorter than what a block has.
const OVERLAP: u64 = AHEAD / 2;

/// The next picture or video from `start` on. It need not be one: only its first bytes are looked at.
fn next_part(window: &mut Window<'_>, start: u64, limit: u64) -> io::Result<Option<(u64, Part)>> {
    let picture = memmem::Finder::new(&[0xff, SOI, 0xff]);
    let video = memmem::Finder::new(b"ftyp");
    let mut at = start;
    while at < limit {
        let Some(block) = window.rest(at)? else { return Ok(None) };
        let len = block.len() as u64;
        let first_picture = picture.find(block).map(|i| (i, Part::Picture));
        let first_video = video
            .find_iter(block)
            // Its size stands before it: a header of a few brands.
            .filter_map(|i| i.checked_sub(4))
            .find(|&i| (16..=256).contains(&be(&block[i..i + 4])))
            .map(|i| (i, Part::Video));
        let found = [first_picture, first_video].into_iter().flatten().min_by_key(|(i, _)| *i);
        if let Some((i, part)) = found {
            return Ok(Some((at + i as u64, part)));
        }
        if len <= OVERLAP {
            return Ok(None);
        }
        at += len - OVERLAP;
    }
    Ok(None)
}
