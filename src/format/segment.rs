//! Segments: the directories of the packs that one run added, in one small object.
//!
//! A segment says nothing that its packs do not say themselves; it saves reading the end of each of them.

use super::bytes::{ObjectKind, Reader, envelope};
use super::damaged;
use super::pack::{DIRECTORY_ROW_LEN, PackContent, Row, TRAILER_LEN, decode_rows, encode_directory};
use super::unsupported;
use crate::error::Result;
use crate::id::PackId;

/// One pack as a segment tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentPack {
    /// The pack.
    pub id: PackId,
    /// What it holds.
    pub content: PackContent,
    /// Its frames, in their order.
    pub rows: Vec<Row>,
}

impl SegmentPack {
    /// Where the frames end and the directory begins.
    pub fn frames_end(&self) -> u64 {
        self.rows.last().map_or(super::ENVELOPE_LEN as u64, |row| u64::from(row.offset) + row.frame_len())
    }

    /// Bytes of the whole pack; its frames, directory and trailer fix it.
    pub fn len(&self) -> u64 {
        self.frames_end() + (self.rows.len() * DIRECTORY_ROW_LEN + TRAILER_LEN) as u64
    }

    /// Whether its frames follow each other from the front and make a pack of `len` bytes. Those of a damaged pack may not,
    /// and then no segment can tell of it.
    pub fn fills(&self, len: u64) -> bool {
        let mut end = super::ENVELOPE_LEN as u64;
        let follows =
            |row: &Row| u64::from(row.offset) == std::mem::replace(&mut end, u64::from(row.offset) + row.frame_len());
        self.rows.iter().all(follows) && self.len() == len
    }

    /// Whether it holds no frame; such a pack is never written.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What one run added.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// The packs, in the order in which they were closed.
    pub packs: Vec<SegmentPack>,
}

impl Segment {
    /// The one encoding of this segment.
    pub fn encode(&self) -> Vec<u8> {
        Self::encode_of(&self.packs)
    }

    /// The one encoding of a segment of these packs.
    pub fn encode_of(packs: &[SegmentPack]) -> Vec<u8> {
        let mut out = envelope(ObjectKind::Segment).to_vec();
        out.extend_from_slice(&(packs.len() as u32).to_le_bytes());
        for pack in packs {
            out.extend_from_slice(pack.id.as_bytes());
            out.extend_from_slice(&(pack.rows.len() as u32).to_le_bytes());
            out.extend_from_slice(&[pack.content as u8, 0, 0, 0]);
            encode_directory(&pack.rows, &mut out);
        }
        out
    }

    /// Reads a segment object.
    ///
    /// # Errors
    /// Damaged if a count or a row does not fit the bytes that are there.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::object(bytes, ObjectKind::Segment)?;
        let count = reader.u32()? as usize;
        if count > reader.len() / (40 + DIRECTORY_ROW_LEN) {
            return Err(damaged(format!("it claims {count} packs and is too short for them")));
        }
        let mut packs = Vec::with_capacity(count);
        for _ in 0..count {
            let id = PackId::from_bytes(reader.array()?);
            let rows = reader.u32()? as usize;
            let content = reader.u8()?;
            let content =
                PackContent::from_number(content).ok_or_else(|| unsupported(format!("a pack of content {content}")))?;
            if reader.array::<3>()? != [0; 3] {
                return Err(unsupported("it uses flags that are not known here"));
            }
            let bytes = rows.checked_mul(DIRECTORY_ROW_LEN).ok_or_else(|| damaged("it ends too early"))?;
            let bytes = reader.take(bytes)?;
            let end = Reader::new(bytes.get(bytes.len().saturating_sub(DIRECTORY_ROW_LEN)..).unwrap_or_default());
            let rows = decode_rows(bytes, last_frame_end(end)?)?;
            if rows.iter().any(|row| PackContent::of(row.frame.kind) != content) {
                return Err(damaged("a pack holds what it should not"));
            }
            packs.push(SegmentPack { id, content, rows });
        }
        reader.end()?;
        Ok(Self { packs })
    }
}

/// Where the frame of the last row ends, so that the rows can be checked to fill the pack up to there.
fn last_frame_end(mut row: Reader<'_>) -> Result<u32> {
    row.take(32)?;
    let (offset, stored) = (row.u32()?, row.u32()?);
    offset
        .checked_add(stored)
        .and_then(|end| end.checked_add(super::FRAME_HEADER_LEN as u32))
        .ok_or_else(|| damaged("a frame lies beyond the largest pack"))
}
