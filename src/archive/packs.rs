//! What a pack holds, asked of the pack itself: its directory at the end, or, where that is damaged, its frames one by
//! one from the front.

use super::mend::{readable, restored};
use super::reader::unpack_frame;
use crate::error::{Error, Kind, Result};
use crate::format::{
    DIRECTORY_ROW_LEN, ENVELOPE_LEN, FRAME_HEADER_LEN, FrameHeader, PackContent, Row, SegmentPack, TRAILER_LEN,
    decode_directory, decode_frame_header, decode_trailer, frame_magic, names, pack_content,
};
use crate::id::PackId;
use crate::store::Store;

/// Longer packs are refused: whoever looks at a damaged one has all of it in memory. No writer makes longer ones:
/// they are closed at [`CLOSED_AT`], after a frame of the longest chunk at most, and a directory of the shortest
/// frames is no longer.
pub const MAX_PACK_LEN: u64 = 1 << 27;
/// Recovery data are no longer than what they are of, and their heads.
pub const MAX_PARITY_LEN: u64 = MAX_PACK_LEN + (1 << 20);
/// A pack is closed when it has so many bytes at the latest.
pub(super) const CLOSED_AT: u32 = 32 << 20;
/// The search for frames unpacks and hashes no more than so many times the bytes of the pack, and so many more: what
/// is packed small is long when it is unpacked.
const WORK_TIMES: u64 = 4;
const WORK_BYTES: u64 = 256 << 20;
/// Fails once whoever asked wants to stop.
pub type StopCheck<'c> = dyn Fn() -> Result<()> + Sync + 'c;
/// The end of a pack that is read at once; it holds the directory of 1,300 frames.
const TAIL: u64 = 1 << 16;

/// Reads a pack's directory, and its frames where the directory is damaged.
///
/// # Errors
/// Missing if the pack is not there, damaged if not one frame is found in it, or the store's error.
pub fn read_pack(store: &dyn Store, id: &PackId, len: u64, check: &StopCheck<'_>) -> Result<SegmentPack> {
    match read_directory(store, id, len) {
        Err(error) if error.kind() == Kind::Damaged => salvage(store, id, check),
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
/// Damaged if not one frame is whole, missing, the store's error, or that of `check`.
pub(super) fn read_frames(
    store: &dyn Store,
    id: &PackId,
    told: Option<&SegmentPack>,
    check: &StopCheck<'_>,
) -> Result<SegmentPack> {
    let name = names::pack(id);
    let bytes = match restored(store, &name, id.as_bytes(), MAX_PACK_LEN) {
        Ok(restored) => restored.bytes,
        Err(error) if error.kind() == Kind::Damaged => readable(store, &name, MAX_PACK_LEN)?.0,
        Err(error) => return Err(error),
    };
    let mut whole = Vec::new();
    for row in rows_of(id, &bytes, told, check)? {
        check()?;
        if frame_at(&bytes, &row).is_some_and(|frame| unpack_frame(row.frame.kind, &row.frame.id, frame).is_ok()) {
            whole.push(row);
        }
    }
    of_rows(id, whole).ok_or_else(|| there_are_none(&name))
}

/// Every place where a frame may lie in a pack that is damaged, in their order: by its frames, by its own directory,
/// and by what is `told` of it. Only of the kind that belongs in the pack; whether each is whole is for the reader to
/// find out.
///
/// # Errors
/// That of `check`.
pub fn rows_of(id: &PackId, pack: &[u8], told: Option<&SegmentPack>, check: &StopCheck<'_>) -> Result<Vec<Row>> {
    let mut rows = find_frames(pack, check)?;
    let listed = directory_of(id, pack).map(|pack| pack.rows).unwrap_or_default();
    rows.extend(listed.into_iter().chain(told.into_iter().flat_map(|pack| pack.rows.iter().copied())));
    rows.sort_by_key(|row| (row.offset, row.frame.id));
    rows.dedup();
    let content = told_content(pack).or(told.map(|pack| pack.content)).or_else(|| most_of(&rows));
    rows.retain(|row| Some(PackContent::of(row.frame.kind)) == content);
    Ok(rows)
}

/// The bytes of the frame that a row tells of.
pub fn frame_at<'b>(pack: &'b [u8], row: &Row) -> Option<&'b [u8]> {
    let start = row.offset as usize;
    pack.get(start..start + row.frame_len() as usize)
}

/// Finds the frames of a pack whose directory is lost.
fn salvage(store: &dyn Store, id: &PackId, check: &StopCheck<'_>) -> Result<SegmentPack> {
    let name = names::pack(id);
    let (bytes, _) = readable(store, &name, MAX_PACK_LEN)?;
    let mut rows = find_frames(&bytes, check)?;
    let content = told_content(&bytes).or_else(|| most_of(&rows));
    rows.retain(|row| Some(PackContent::of(row.frame.kind)) == content);
    of_rows(id, rows).ok_or_else(|| there_are_none(&name))
}

fn there_are_none(name: &str) -> Error {
    Error::new(Kind::Damaged, format!("looking for frames in pack {name}"), "there are none")
}

/// What most of these frames are, in bytes: those of a pack within a file are no more than a part of that file.
fn most_of(rows: &[Row]) -> Option<PackContent> {
    let bytes = |content| {
        let alike = rows.iter().filter(|row| PackContent::of(row.frame.kind) == content);
        alike.map(Row::frame_len).sum::<u64>()
    };
    [PackContent::Metadata, PackContent::Data].into_iter().max_by_key(|content| bytes(*content))
}

/// What belongs in a pack, as its own first frame says or, where that is damaged, its first bytes.
fn told_content(pack: &[u8]) -> Option<PackContent> {
    let first = pack.get(ENVELOPE_LEN..).and_then(|rest| decode_frame_header(rest).ok());
    first.map(|frame| PackContent::of(frame.kind)).or_else(|| pack_content(pack).ok())
}

/// Every frame whose header is whole and whose bytes are there, in the order in which they lie. What is between frames
/// is passed over.
///
/// From the front on, a header that its predecessor's lengths lead to is believed. Once one was damaged, nothing is
/// any more: what is searched for may be part of a file (an archive within the archive, or made to mislead), and so
/// may be the header that its lengths lead to. So from there to the end of the pack a frame counts only if it is of
/// the kind that belongs there and its bytes unpack to its chunk. That is work, so it has an end: where bytes claim
/// more of it than a pack of photos ever asks for, the rest of the claims are passed over.
///
/// # Errors
/// That of `check`, which is asked before each frame.
pub fn find_frames(pack: &[u8], check: &StopCheck<'_>) -> Result<Vec<Row>> {
    let content = told_content(pack);
    let mut left = WORK_TIMES * pack.len() as u64 + WORK_BYTES;
    let (mut rows, mut at, mut lost) = (Vec::new(), ENVELOPE_LEN, false);
    while let Some(rest) = pack.get(at..).filter(|rest| !rest.is_empty()) {
        check()?;
        if let Ok(frame) = decode_frame_header(rest) {
            let row = Row { frame, offset: at as u32 };
            let belongs = content.is_none_or(|content| PackContent::of(frame.kind) == content);
            let bytes = rest.get(..row.frame_len() as usize).filter(|_| belongs);
            if bytes.is_some_and(|bytes| !lost || unpacks(&frame, bytes, &mut left)) {
                rows.push(row);
                at += row.frame_len() as usize;
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
    Ok(rows)
}

/// Whether a frame that was searched for is one, if that may still be found out.
fn unpacks(frame: &FrameHeader, bytes: &[u8], left: &mut u64) -> bool {
    let work = bytes.len() as u64 + u64::from(frame.plain_len);
    match left.checked_sub(work) {
        None => false,
        Some(rest) => {
            *left = rest;
            unpack_frame(frame.kind, &frame.id, bytes).is_ok()
        }
    }
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
    use crate::format::{Hint, encode_frame_header, encode_pack_start};
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
        let rows = find_frames(&pack, &|| Ok(())).unwrap();
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
        // One that holds a piece of another archive's pack: a whole frame, and the head of one that goes on
        // elsewhere, and whose length leads over what comes after. It cost a photo.
        let cut = frame(&[9; 200]);
        let piece = [&frame(b"within")[..], &cut[..FRAME_HEADER_LEN + 20]].concat();
        assert_eq!(found(&[frame(&piece), frame(one), frame(two)], &[b"within", one, two]), [true, true, true]);
        // The same of a pack of directories, which do not belong here.
        let page = Chunk::new(ChunkKind::Tree, b"page").id();
        let mut tree = frame(b"page");
        tree[4] = ChunkKind::Tree.number();
        tree[16..48].copy_from_slice(page.as_bytes());
        let check = blake3::hash(&tree[..48]);
        tree[48..52].copy_from_slice(&check.as_bytes()[..4]);
        tree.extend(&cut[..FRAME_HEADER_LEN + 20]);
        assert_eq!(found(&[frame(&tree), frame(one), frame(two)], &[one, two]), [true, true]);
        // A codec that nobody knows, and a kind.
        for (at, number) in [(5, 9), (4, 9)] {
            let mut strange = frame(&[7; 90]);
            strange[at] = number;
            let check = blake3::hash(&strange[..48]);
            strange[48..52].copy_from_slice(&check.as_bytes()[..4]);
            assert_eq!(found(&[frame(&strange), frame(one), frame(two)], &[one, two]), [true, true], "{at}");
        }
    }

    /// A pack that no reader takes would be lost as soon as it is written.
    #[test]
    fn the_longest_pack_that_can_be_written_can_be_read() {
        let (closed_at, chunk) = (u64::from(CLOSED_AT), u64::from(crate::format::MAX_PLAIN_LEN));
        let frames = closed_at - 1 + FRAME_HEADER_LEN as u64 + chunk;
        let rows = closed_at.div_ceil(FRAME_HEADER_LEN as u64 + 1) + 1;
        let longest = frames + rows * DIRECTORY_ROW_LEN as u64 + TRAILER_LEN as u64;
        assert!(longest <= MAX_PACK_LEN, "{longest}");
        let parity = crate::parity::make(&vec![7; 1 << 22], 1000).unwrap().to_bytes();
        assert!(parity.len() as u64 <= (1 << 22) + (1 << 20), "{}", parity.len());
    }

    /// Heads by the thousand that each claim the longest frame, in a pack of 6 MB, kept a backup busy for eight
    /// minutes, and it did not even hear that it should stop.
    #[test]
    fn the_search_for_frames_does_no_more_work_than_a_pack_is_worth_and_stops_when_told() {
        let mut header = frame(b"x")[..FRAME_HEADER_LEN].to_vec();
        header[8..16].copy_from_slice(&[4_u32 << 20; 2].map(u32::to_le_bytes).concat());
        let check = blake3::hash(&header[..48]);
        header[48..52].copy_from_slice(&check.as_bytes()[..4]);
        let mut pack = encode_pack_start(PackContent::Data).to_vec();
        pack.extend([1; 60]);
        (0..20_000).for_each(|_| pack.extend_from_slice(&header));
        pack.resize(pack.len() + (4 << 20), 0);
        let (asked, most) = (std::sync::atomic::AtomicUsize::new(0), 100);
        let count = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(
            find_frames(&pack, &|| {
                count();
                Ok(())
            })
            .unwrap()
            .is_empty()
        );
        assert!(asked.into_inner() >= 20_000, "each is asked for");
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let stop = || match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            number if number >= most => Err(Error::interrupted()),
            _ => Ok(()),
        };
        assert_eq!(find_frames(&pack, &stop).unwrap_err().kind(), Kind::Interrupted);
        assert_eq!(asked.into_inner(), most + 1);

        // What may be unpacked, and how often.
        let bytes = frame(&vec![3; 1 << 20]);
        let head = decode_frame_header(&bytes).unwrap();
        let mut left = 5 << 20;
        let times = (0..100).filter(|_| unpacks(&head, &bytes, &mut left)).count();
        assert_eq!(times, 2, "each costs what it has and what it is");
    }

    #[test]
    fn frames_in_sequence_are_taken_as_they_are() {
        let mut pack = encode_pack_start(PackContent::Data).to_vec();
        let mut damaged = frame(b"its bytes are damaged");
        *damaged.last_mut().unwrap() ^= 1;
        pack.extend([frame(b"one"), damaged, frame(b"two")].concat());
        assert_eq!(find_frames(&pack, &|| Ok(())).unwrap().len(), 3);
    }
}
