//! Segments: telling of packs in as many objects as it takes, so that none is longer than readers accept.

use super::aside::look_once_more;
use super::{Archive, check_hash, put_checked};
use crate::error::Result;
use crate::format::{DIRECTORY_ROW_LEN, Segment, SegmentPack, names};
use crate::id::SegmentId;
use crate::store::Store;

/// The longest segment that is read, in bytes: more than a million chunks. It is read whole, and its rows take more
/// in memory.
const MAX_LEN: usize = 64 << 20;
/// What a segment has beside its packs, and each pack beside its rows, in bytes.
const HEAD: usize = 20;
const PACK_HEAD: usize = 40;

impl Archive {
    /// Reads a segment and checks it against its name.
    ///
    /// # Errors
    /// Damaged, missing, of a newer program, or the store's error.
    pub fn read_segment(&self, id: &SegmentId) -> Result<Segment> {
        let name = names::segment(id);
        let bytes = self.store().get(&name, MAX_LEN as u64)?;
        check_hash(&name, id.as_bytes(), &bytes)?;
        Segment::decode(&bytes).map_err(|error| error.within(format!("reading {name}")))
    }
}

/// Writes segments that tell of these packs, durably, and looks whether they are there. Returns their names.
///
/// # Errors
/// The store's error.
pub(super) fn put_segments(store: &dyn Store, packs: &[SegmentPack]) -> Result<Vec<SegmentId>> {
    let put = |packs: &[SegmentPack]| {
        let bytes = Segment::encode_of(packs);
        let id = SegmentId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let name = names::segment(&id);
        put_checked(store, &name, id.as_bytes(), &bytes)?;
        look_once_more(store, &name, bytes.len() as u64)?;
        Ok(id)
    };
    divided(packs, MAX_LEN).into_iter().map(put).collect()
}

/// These packs in runs whose segments have at most `most` bytes, unless one pack alone takes more.
fn divided(packs: &[SegmentPack], most: usize) -> Vec<&[SegmentPack]> {
    let mut len = HEAD;
    let together = |pack: &SegmentPack, next: &SegmentPack| {
        len += len_of(pack);
        let fits = len + len_of(next) <= most;
        if !fits {
            len = HEAD;
        }
        fits
    };
    packs.chunk_by(together).collect()
}

/// What a pack takes in a segment, in bytes.
fn len_of(pack: &SegmentPack) -> usize {
    PACK_HEAD + pack.rows.len() * DIRECTORY_ROW_LEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{FrameHeader, Hint, PackContent, Row};
    use crate::id::{ChunkId, ChunkKind, PackId};

    fn pack(number: u8, rows: usize) -> SegmentPack {
        let id = ChunkId::from_bytes([number; 32]);
        let frame = FrameHeader {
            kind: ChunkKind::Data,
            codec: 0,
            codec_version: 0,
            hint: Hint::None,
            stored_len: 1,
            plain_len: 1,
            id,
        };
        let row = |at: usize| Row { frame, offset: 16 + 53 * at as u32 };
        SegmentPack {
            id: PackId::from_bytes([number; 32]),
            content: PackContent::Data,
            rows: (0..rows).map(row).collect(),
        }
    }

    #[test]
    fn no_segment_is_longer_than_readers_accept() {
        let packs: Vec<SegmentPack> = (0..50).map(|number| pack(number, 1 + usize::from(number) % 7)).collect();
        for most in [HEAD + len_of(&pack(1, 7)), 1000, 4096, 1 << 20] {
            let segments = divided(&packs, most);
            assert!(segments.iter().all(|packs| Segment::encode_of(packs).len() <= most), "{most}");
            let full = |two: &[&[SegmentPack]]| Segment::encode_of(two[0]).len() + len_of(&two[1][0]) > most;
            assert!(segments.windows(2).all(full), "not one more than it takes, of {most}");
            assert_eq!(segments.concat(), packs);
        }
        assert_eq!(divided(&[pack(1, 9), pack(2, 1)], 100).len(), 2, "one pack stays one");
        assert!(divided(&[], 100).is_empty());
    }
}
