//! Packs: envelope, frames one after the other, a directory of them, and a trailer that finds and checks the directory.
//!
//! Everything is said twice: the directory lets a reader find any frame with one read, and each frame's own header
//! lets it be found from the front when the directory is lost. A pack's name is the BLAKE3 of its bytes.

use super::bytes::{ENVELOPE_LEN, ObjectKind, Reader, envelope};
use super::{damaged, unsupported};
use crate::error::Result;
use crate::id::{ChunkId, ChunkKind};

/// The longest plain length of a chunk, in bytes (64 MiB).
pub const MAX_PLAIN_LEN: u32 = 1 << 26;
/// Bytes of a frame's header.
pub const FRAME_HEADER_LEN: usize = 52;
/// Bytes of a row in a directory or a segment.
pub const DIRECTORY_ROW_LEN: usize = 48;
/// Bytes of a pack's trailer.
pub const TRAILER_LEN: usize = 48;
const FRAME_MAGIC: [u8; 4] = [0xF5, b'f', b'r', b'm'];

/// What sort of frames a pack holds; the two are never mixed, so that browsing reads no photo data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum PackContent {
    /// Bytes of files.
    Data = 0,
    /// Trees and chunk lists.
    Metadata = 1,
}

impl PackContent {
    /// The content with this stored number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Metadata),
            _ => None,
        }
    }

    /// Where chunks of this kind belong.
    pub const fn of(kind: ChunkKind) -> Self {
        if kind.is_metadata() { Self::Metadata } else { Self::Data }
    }
}

/// What a writer says of a chunk to later writers. Readers ignore it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hint {
    /// Nothing is known.
    #[default]
    None,
    /// The image of a JPEG, which may be recompressed.
    Image,
    /// The image of a JPEG, and recompression declined it.
    Declined,
    /// A number from a later version.
    Other(u8),
}

impl Hint {
    /// The hint with this stored number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Image,
            2 => Self::Declined,
            other => Self::Other(other),
        }
    }

    /// The number as stored.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Image => 1,
            Self::Declined => 2,
            Self::Other(other) => other,
        }
    }
}

/// What stands in front of a frame's stored bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// What the chunk holds.
    pub kind: ChunkKind,
    /// How its bytes are packed: a codec's number, which this room does not interpret, but for 0: as they are.
    pub codec: u8,
    /// The codec's version.
    pub codec_version: u8,
    /// What later writers may want to know.
    pub hint: Hint,
    /// Stored bytes that follow the header.
    pub stored_len: u32,
    /// Bytes of the chunk once unpacked; at most [`MAX_PLAIN_LEN`].
    pub plain_len: u32,
    /// The chunk's name.
    pub id: ChunkId,
}

/// Where a frame lies in its pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The frame, as its own header says it.
    pub frame: FrameHeader,
    /// Where its header begins, in bytes from the front of the pack.
    pub offset: u32,
}

impl Row {
    /// Bytes of header and stored bytes together.
    pub fn frame_len(&self) -> u64 {
        FRAME_HEADER_LEN as u64 + u64::from(self.frame.stored_len)
    }
}

/// The first bytes of a pack, before its frames.
pub fn encode_pack_start(content: PackContent) -> [u8; ENVELOPE_LEN] {
    let mut bytes = envelope(ObjectKind::Pack);
    bytes[10] = content as u8;
    bytes
}

/// Checks the first [`ENVELOPE_LEN`] bytes of a pack and says what it holds.
pub fn pack_content(bytes: &[u8]) -> Result<PackContent> {
    let mut start = [0; ENVELOPE_LEN];
    start.copy_from_slice(Reader::new(bytes).take(ENVELOPE_LEN)?);
    let content = std::mem::take(&mut start[10]);
    Reader::object(&start, ObjectKind::Pack)?;
    PackContent::from_number(content).ok_or_else(|| unsupported(format!("it is a pack of content {content}")))
}

/// The four bytes with which a frame begins, by which frames are found again where lengths are damaged.
pub const fn frame_magic() -> [u8; 4] {
    FRAME_MAGIC
}

/// The bytes of a frame's header.
pub fn encode_frame_header(frame: &FrameHeader) -> [u8; FRAME_HEADER_LEN] {
    let mut out = [0; FRAME_HEADER_LEN];
    out[..4].copy_from_slice(&FRAME_MAGIC);
    out[4] = frame.kind.number();
    out[5] = frame.codec;
    out[6] = frame.codec_version;
    out[7] = frame.hint.number();
    out[8..12].copy_from_slice(&frame.stored_len.to_le_bytes());
    out[12..16].copy_from_slice(&frame.plain_len.to_le_bytes());
    out[16..48].copy_from_slice(frame.id.as_bytes());
    let check = blake3::hash(&out[..48]);
    out[48..].copy_from_slice(&check.as_bytes()[..4]);
    out
}

/// Reads a frame's header from the front of `bytes`.
///
/// # Errors
/// Damaged unless its check sum fits; unsupported if its kind is not known.
pub fn decode_frame_header(bytes: &[u8]) -> Result<FrameHeader> {
    let mut reader = Reader::new(bytes);
    let bytes = reader.take(FRAME_HEADER_LEN)?;
    let (fields, check) = bytes.split_at(48);
    if fields[..4] != FRAME_MAGIC || blake3::hash(fields).as_bytes()[..4] != *check {
        return Err(damaged("there is no frame here"));
    }
    let mut reader = Reader::new(&fields[4..]);
    let (kind, codec, codec_version, hint) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
    let (stored_len, plain_len) = (reader.u32()?, reader.u32()?);
    frame(ChunkId::from_bytes(reader.array()?), stored_len, plain_len, kind, codec, codec_version, hint)
}

/// The rows of a directory, in the order of the frames.
pub fn encode_directory(rows: &[Row], out: &mut Vec<u8>) {
    for row in rows {
        out.extend_from_slice(row.frame.id.as_bytes());
        out.extend_from_slice(&row.offset.to_le_bytes());
        out.extend_from_slice(&row.frame.stored_len.to_le_bytes());
        out.extend_from_slice(&row.frame.plain_len.to_le_bytes());
        out.extend_from_slice(&[
            row.frame.kind.number(),
            row.frame.codec,
            row.frame.codec_version,
            row.frame.hint.number(),
        ]);
    }
}

/// The directory of `rows` and the trailer behind it: the end of a pack whose frames end at `offset`.
pub fn encode_pack_end(rows: &[Row], offset: u32, out: &mut Vec<u8>) {
    let start = out.len();
    encode_directory(rows, out);
    let hash = blake3::hash(&out[start..]);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(hash.as_bytes());
}

/// Reads a trailer, the last [`TRAILER_LEN`] bytes of a pack of `pack_len` bytes: where its directory begins, how many
/// rows it has, and the hash of the directory's bytes.
///
/// # Errors
/// Damaged unless directory and trailer exactly fill the pack's end.
pub fn decode_trailer(bytes: &[u8], pack_len: u64) -> Result<(u32, u32, [u8; 32])> {
    let mut reader = Reader::new(bytes);
    let (offset, rows, magic, zero) = (reader.u32()?, reader.u32()?, reader.array::<4>()?, reader.u32()?);
    let hash = reader.array()?;
    reader.end()?;
    let end = u64::from(offset) + u64::from(rows) * DIRECTORY_ROW_LEN as u64 + TRAILER_LEN as u64;
    if magic != FRAME_MAGIC || zero != 0 || end != pack_len || (offset as usize) < ENVELOPE_LEN {
        return Err(damaged("its trailer does not fit"));
    }
    Ok((offset, rows, hash))
}

/// Reads a directory. The rows of a pack follow each other without a gap, from the envelope to `frames_end`.
///
/// # Errors
/// Damaged unless `bytes` hash to `hash` and the frames fill the pack exactly.
pub fn decode_directory(bytes: &[u8], frames_end: u32, hash: &[u8; 32]) -> Result<Vec<Row>> {
    if blake3::hash(bytes).as_bytes() != hash {
        return Err(damaged("its directory does not match its check sum"));
    }
    decode_rows(bytes, frames_end)
}

/// Reads rows whose frames lie one after the other from the envelope to `frames_end`.
pub(super) fn decode_rows(bytes: &[u8], frames_end: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(bytes.len() / DIRECTORY_ROW_LEN);
    let mut reader = Reader::new(bytes);
    let mut expected = ENVELOPE_LEN as u64;
    while reader.len() > 0 {
        let id = ChunkId::from_bytes(reader.array()?);
        let (offset, stored_len, plain_len) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (kind, codec, codec_version, hint) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let frame = frame(id, stored_len, plain_len, kind, codec, codec_version, hint)?;
        let row = Row { frame, offset };
        if u64::from(offset) != expected {
            return Err(damaged("its frames do not follow each other"));
        }
        expected += row.frame_len();
        rows.push(row);
    }
    if expected != u64::from(frames_end) {
        return Err(damaged("its frames do not fill it"));
    }
    Ok(rows)
}

fn frame(
    id: ChunkId,
    stored_len: u32,
    plain_len: u32,
    kind: u8,
    codec: u8,
    codec_version: u8,
    hint: u8,
) -> Result<FrameHeader> {
    let kind = ChunkKind::from_number(kind).ok_or_else(|| unsupported(format!("a chunk of kind {kind}")))?;
    let bounds = 1..=MAX_PLAIN_LEN;
    if !bounds.contains(&plain_len)
        || stored_len == 0
        || stored_len > plain_len
        || (codec == 0 && stored_len < plain_len)
    {
        return Err(damaged(format!("a frame claims {stored_len} stored bytes for {plain_len}")));
    }
    let hint = Hint::from_number(hint);
    Ok(FrameHeader { kind, codec, codec_version, hint, stored_len, plain_len, id })
}
