//! What a pack holds, asked of the pack itself: its directory at the end, or, where that is damaged, its frames one by
//! one from the front.

use crate::error::{Error, Kind, Result};
use crate::format::{
    DIRECTORY_ROW_LEN, ENVELOPE_LEN, PackContent, Row, SegmentPack, TRAILER_LEN, decode_directory, decode_frame_header,
    decode_trailer, frame_magic, names,
};
use crate::id::PackId;
use crate::store::Store;

/// Longer packs are refused; with it every offset in a pack fits 32 bits and every file system takes a pack.
pub const MAX_PACK_LEN: u64 = (1 << 31) - 1;
/// The end of a pack that is read at once; it holds the directory of 1,300 frames.
const TAIL: u64 = 1 << 16;

/// Reads a pack's directory, and its frames where the directory is damaged.
///
/// # Errors
/// Missing if the pack is not there, damaged if not one frame is found in it, or the store's error.
pub fn read_pack(store: &dyn Store, id: &PackId, len: u64) -> Result<SegmentPack> {
    match read_directory(store, id, len) {
        Err(error) if error.kind() == Kind::Damaged => salvage(store, id),
        done => done,
    }
}

/// Reads a pack's directory.
///
/// # Errors
/// Missing if the pack is not there, damaged if its end is not as a pack's end is, or the store's error.
pub fn read_directory(store: &dyn Store, id: &PackId, len: u64) -> Result<SegmentPack> {
    let name = names::pack(id);
    let doing = || format!("reading the directory of pack {name}");
    if !(ENVELOPE_LEN as u64 + TRAILER_LEN as u64..=MAX_PACK_LEN).contains(&len) {
        return Err(Error::new(Kind::Damaged, doing(), format!("a pack cannot have {len} bytes")));
    }
    let tail_len = len.min(TAIL);
    let tail = store.get_range(&name, len - tail_len, tail_len as usize)?;
    let (rest, trailer) = tail.split_at(tail.len() - TRAILER_LEN);
    let (frames_end, count, hash) = decode_trailer(trailer, len).map_err(|error| error.within(doing()))?;
    let wanted = count as usize * DIRECTORY_ROW_LEN;
    let longer;
    let directory = match rest.len().checked_sub(wanted) {
        Some(start) => &rest[start..],
        None => {
            longer = store.get_range(&name, u64::from(frames_end), wanted)?;
            &longer
        }
    };
    let rows = decode_directory(directory, frames_end, &hash).map_err(|error| error.within(doing()))?;
    of_rows(id, rows).ok_or_else(|| Error::new(Kind::Damaged, doing(), "it mixes photo data and metadata, or is empty"))
}

/// What a whole pack says of itself.
///
/// # Errors
/// Damaged if its end is not as a pack's end is.
pub fn directory_of(id: &PackId, pack: &[u8]) -> Result<SegmentPack> {
    let doing = || format!("reading the directory of pack {}", names::pack(id));
    let damaged = |why: &str| Error::new(Kind::Damaged, doing(), why);
    let start = pack.len().checked_sub(TRAILER_LEN).ok_or_else(|| damaged("it is too short"))?;
    let (frames_end, _, hash) =
        decode_trailer(&pack[start..], pack.len() as u64).map_err(|error| error.within(doing()))?;
    let directory = pack.get(frames_end as usize..start).unwrap_or_default();
    let rows = decode_directory(directory, frames_end, &hash).map_err(|error| error.within(doing()))?;
    of_rows(id, rows).ok_or_else(|| damaged("it mixes photo data and metadata, or is empty"))
}

/// Finds the frames of a pack whose directory is lost.
fn salvage(store: &dyn Store, id: &PackId) -> Result<SegmentPack> {
    let name = names::pack(id);
    let bytes = store.get(&name, MAX_PACK_LEN)?;
    let nothing = || Error::new(Kind::Damaged, format!("looking for frames in pack {name}"), "there are none");
    of_rows(id, find_frames(&bytes)).ok_or_else(nothing)
}

/// Every frame whose header is whole and whose bytes are there, in the order in which they lie. What is between frames
/// is passed over.
pub fn find_frames(pack: &[u8]) -> Vec<Row> {
    let (mut rows, mut at) = (Vec::new(), ENVELOPE_LEN);
    while let Some(rest) = pack.get(at..).filter(|rest| !rest.is_empty()) {
        if let Ok(frame) = decode_frame_header(rest) {
            let row = Row { frame, offset: at as u32 };
            if row.frame_len() <= rest.len() as u64 {
                rows.push(row);
                at += row.frame_len() as usize;
                continue;
            }
        }
        let magic = frame_magic();
        let next = rest[1..].windows(magic.len()).position(|window| window == magic);
        match next {
            Some(distance) => at += 1 + distance,
            None => break,
        }
    }
    rows
}

fn of_rows(id: &PackId, rows: Vec<Row>) -> Option<SegmentPack> {
    let content = PackContent::of(rows.first()?.frame.kind);
    let alike = rows.iter().all(|row| PackContent::of(row.frame.kind) == content);
    alike.then_some(SegmentPack { id: *id, content, rows })
}
