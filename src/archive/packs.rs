//! What a pack holds, asked of the pack itself: its directory at the end, or, where that is damaged, its frames one by
//! one from the front.

use super::mend::{readable, restored};
use super::reader::unpack_frame;
use crate::error::{Error, Kind, Result};
use crate::format::{
    DIRECTORY_ROW_LEN, ENVELOPE_LEN, FRAME_HEADER_LEN, PackContent, Row, SegmentPack, TRAILER_LEN, decode_directory,
    decode_frame_header, decode_trailer, frame_magic, names, pack_content,
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

/// Looks at both ends of a pack: at how it begins, and at the end that says where its directory is.
///
/// # Errors
/// As [`read_directory`].
pub(super) fn look_at_ends(store: &dyn Store, id: &PackId, len: u64) -> Result<()> {
    let name = names::pack(id);
    let doing = || format!("looking at pack {name}");
    if len < (ENVELOPE_LEN + FRAME_HEADER_LEN + TRAILER_LEN) as u64 {
        return Err(Error::new(Kind::Damaged, doing(), format!("a pack cannot have {len} bytes")));
    }
    let trailer = store.get_range(&name, len - TRAILER_LEN as u64, TRAILER_LEN)?;
    decode_trailer(&trailer, len).map_err(|error| error.within(doing()))?;
    let front = store.get_range(&name, 0, ENVELOPE_LEN + FRAME_HEADER_LEN)?;
    pack_content(&front).map_err(|error| error.within(doing()))?;
    decode_frame_header(&front[ENVELOPE_LEN..]).map_err(|error| error.within(doing()))?;
    Ok(())
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

/// What a pack holds, from every byte of it: as it was, if that can be told, and else what is whole in it now. Where its own
/// directory, or what is `told` of it, says otherwise than its frames do, the frames count.
///
/// # Errors
/// Damaged if not one frame is whole, missing, or the store's error.
pub(super) fn read_frames(store: &dyn Store, id: &PackId, told: Option<&SegmentPack>) -> Result<SegmentPack> {
    let name = names::pack(id);
    let bytes = match restored(store, &name, id.as_bytes(), MAX_PACK_LEN) {
        Ok(restored) => restored.bytes,
        Err(error) if error.kind() == Kind::Damaged => readable(store, &name, MAX_PACK_LEN)?.0,
        Err(error) => return Err(error),
    };
    let frame = |row: &Row| {
        let start = row.offset as usize;
        bytes.get(start..start + row.frame_len() as usize)
    };
    let is_whole =
        |row: &Row| frame(row).is_some_and(|frame| unpack_frame(row.frame.kind, &row.frame.id, frame).is_ok());
    let mut rows = find_frames(&bytes);
    let listed = directory_of(id, &bytes).map(|pack| pack.rows).unwrap_or_default();
    rows.extend(listed.into_iter().chain(told.into_iter().flat_map(|pack| pack.rows.clone())));
    rows.sort_by_key(|row| row.offset);
    rows.dedup();
    rows.retain(is_whole);
    let nothing = || Error::new(Kind::Damaged, format!("looking for frames in pack {name}"), "there are none");
    let content = PackContent::of(rows.first().ok_or_else(nothing)?.frame.kind);
    let content = pack_content(&bytes).unwrap_or(content);
    rows.retain(|row| PackContent::of(row.frame.kind) == content);
    of_rows(id, rows).ok_or_else(nothing)
}

/// Finds the frames of a pack whose directory is lost.
fn salvage(store: &dyn Store, id: &PackId) -> Result<SegmentPack> {
    let name = names::pack(id);
    let (bytes, _) = readable(store, &name, MAX_PACK_LEN)?;
    let nothing = || Error::new(Kind::Damaged, format!("looking for frames in pack {name}"), "there are none");
    let mut rows = find_frames(&bytes);
    let first = rows.first().ok_or_else(nothing)?;
    let first_is = PackContent::of(first.frame.kind);
    // The frame at the front is surely the pack's own; one further on may be of a pack within a file.
    let content = match first.offset as usize {
        ENVELOPE_LEN => first_is,
        _ => pack_content(&bytes).unwrap_or(first_is),
    };
    rows.retain(|row| PackContent::of(row.frame.kind) == content);
    of_rows(id, rows).ok_or_else(nothing)
}

/// Every frame whose header is whole and whose bytes are there, in the order in which they lie. What is between frames
/// is passed over.
///
/// A header that its predecessor's lengths lead to is believed. One that was searched for may be part of a file (an archive
/// within the archive, or made to mislead), so it counts only if its bytes unpack to its chunk.
pub fn find_frames(pack: &[u8]) -> Vec<Row> {
    let (mut rows, mut at, mut lost) = (Vec::new(), ENVELOPE_LEN, false);
    while let Some(rest) = pack.get(at..).filter(|rest| !rest.is_empty()) {
        if let Ok(frame) = decode_frame_header(rest) {
            let row = Row { frame, offset: at as u32 };
            let bytes = rest.get(..row.frame_len() as usize);
            if bytes.is_some_and(|bytes| !lost || unpack_frame(frame.kind, &frame.id, bytes).is_ok()) {
                rows.push(row);
                at += row.frame_len() as usize;
                lost = false;
                continue;
            }
        }
        lost = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunk;
    use crate::format::{FrameHeader, Hint, encode_frame_header, encode_pack_start};
    use crate::id::ChunkKind;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let len = bytes.len() as u32;
        let id = Chunk::new(ChunkKind::Data, bytes).id();
        let header = FrameHeader {
            kind: ChunkKind::Data,
            codec: 0,
            codec_version: 0,
            hint: Hint::None,
            stored_len: len,
            plain_len: len,
            id,
        };
        [&encode_frame_header(&header)[..], bytes].concat()
    }

    /// Which of these chunks are found in a pack of these frames, after the header of the first was damaged.
    fn found(frames: &[Vec<u8>], wanted: &[&[u8]]) -> Vec<bool> {
        let mut pack = encode_pack_start(PackContent::Data).to_vec();
        pack.extend(frames.concat());
        pack[ENVELOPE_LEN + 20] ^= 1;
        let rows = find_frames(&pack);
        wanted
            .iter()
            .map(|bytes| {
                let id = Chunk::new(ChunkKind::Data, bytes).id();
                rows.iter().any(|row| {
                    let at = row.offset as usize;
                    let frame = &pack[at..at + row.frame_len() as usize];
                    row.frame.id == id && unpack_frame(ChunkKind::Data, &id, frame).is_ok()
                })
            })
            .collect()
    }

    #[test]
    fn what_a_file_holds_does_not_hide_frames_after_a_damaged_header() {
        let (one, two) = (b"the first that comes after".as_slice(), b"the second".as_slice());
        // A file that holds the header of a frame whose length leads over all that follows; its check fits.
        let mut far = encode_frame_header(&FrameHeader {
            kind: ChunkKind::Data,
            codec: 0,
            codec_version: 0,
            hint: Hint::None,
            stored_len: 100,
            plain_len: 100,
            id: Chunk::new(ChunkKind::Data, two).id(),
        })
        .to_vec();
        far.extend(b"bytes");
        assert_eq!(found(&[frame(&far), frame(one), frame(two)], &[one, two]), [true, true]);
        // One that holds a whole frame, as an archive within an archive does.
        let within = frame(b"within");
        assert_eq!(found(&[frame(&within), frame(one), frame(two)], &[b"within", one, two]), [true, true, true]);
        // A codec that nobody knows, and a kind.
        for (at, number) in [(5, 9), (4, 9)] {
            let mut strange = frame(&[7; 90]);
            strange[at] = number;
            let check = blake3::hash(&strange[..48]);
            strange[48..52].copy_from_slice(&check.as_bytes()[..4]);
            assert_eq!(found(&[frame(&strange), frame(one), frame(two)], &[one, two]), [true, true], "{at}");
        }
    }

    #[test]
    fn frames_in_sequence_are_taken_as_they_are() {
        let mut pack = encode_pack_start(PackContent::Data).to_vec();
        let mut damaged = frame(b"its bytes are damaged");
        *damaged.last_mut().unwrap() ^= 1;
        pack.extend([frame(b"one"), damaged, frame(b"two")].concat());
        assert_eq!(find_frames(&pack).len(), 3);
    }
}
