//! Regions of a PNG: the chunks that describe the picture, and each run of the chunks that hold it.

use std::io;

use super::RegionKind;
use super::bytes::{Window, be};
use super::cuts::Cuts;
use super::facts::Look;

/// Signature, and the least chunk: length, type, checksum.
const SIGNATURE: u64 = 8;
const FRAME: u64 = 12;

/// A chunk that describes the picture is a region of its own from this size on, as in a JPEG.
const LARGE: u64 = 1 << 10;

const MAX_CHUNKS: usize = 1 << 16;
const MAX_LOOKS: usize = 1 << 10;

/// Cuts a PNG file. From the first chunk that does not parse, and behind the last one, it is left to be cut by content.
pub(super) fn cut(window: &mut Window<'_>, cuts: &mut Cuts) -> io::Result<()> {
    let mut at = SIGNATURE;
    let mut before = RegionKind::Metadata;
    for _ in 0..MAX_CHUNKS {
        let Some(head) = window.array::<8>(at)? else { break };
        let size = FRAME + be(&head[..4]);
        let name = [head[4], head[5], head[6], head[7]];
        let next = at + size;
        if next > window.len() || !name.iter().all(u8::is_ascii_alphabetic) {
            break;
        }
        let kind = match &name {
            b"IDAT" | b"fdAT" | b"fcTL" => RegionKind::Content,
            _ => RegionKind::Metadata,
        };
        let large = kind == RegionKind::Metadata && size >= LARGE;
        if kind != before || large {
            cuts.to(at, before);
        }
        if large {
            cuts.to(next, kind);
        }
        before = kind;
        at = next;
        if &name == b"IEND" {
            break;
        }
    }
    cuts.to(at, before);
    Ok(())
}

/// Size and EXIF.
pub(super) fn look(window: &mut Window<'_>) -> io::Result<Look> {
    let mut found = Look::default();
    let mut at = SIGNATURE;
    // EXIF may stand behind the picture; each chunk costs a read.
    for _ in 0..MAX_LOOKS {
        let Some(head) = window.array::<16>(at)? else { break };
        match &head[4..8] {
            b"IHDR" => found.size = Some((be(&head[8..12]), be(&head[12..]))),
            b"eXIf" => found.exif = Some(at + 8),
            b"IEND" => break,
            _ => {}
        }
        at += FRAME + be(&head[..4]);
    }
    Ok(found)
}
