//! Which chunks make up a file: short lists lie in the file's entry, long ones in pages of their own.

use super::cbor::{Decoder, Encoder};
use super::damaged;
use crate::error::Result;
use crate::id::ChunkId;

/// Bytes of a chunk's row in a list.
pub const REF_LEN: usize = 36;
/// Bytes of a page's row in a page of pages.
const PAGE_REF_LEN: usize = 40;

/// A chunk of a file, and how many bytes it contributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkRef {
    /// The chunk.
    pub id: ChunkId,
    /// Its plain length in bytes; never zero.
    pub len: u32,
}

/// A page of a large file's list of chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum List {
    /// Chunks, in the order of the file.
    Chunks(Vec<ChunkRef>),
    /// Further pages, in the order of the file: a page's id, and the bytes of the file that it covers.
    Pages {
        /// How far above the chunks: its pages are of the level below, and 0 is a page of chunks.
        level: u8,
        /// The pages.
        pages: Vec<(ChunkId, u64)>,
    },
}

impl List {
    /// Pages above this level are refused; 255 rows a page already hold more than any file system.
    pub const MAX_LEVEL: u8 = 8;
    /// Rows in a page.
    pub const MAX_ROWS: usize = 65536;

    /// The one encoding of this page.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.array(2);
        match self {
            Self::Chunks(chunks) => {
                out.uint(0);
                out.bytes(&encode_refs(chunks));
            }
            Self::Pages { level, pages } => {
                out.uint(u64::from(*level));
                let mut rows = Vec::with_capacity(pages.len() * PAGE_REF_LEN);
                for (id, len) in pages {
                    rows.extend_from_slice(id.as_bytes());
                    rows.extend_from_slice(&len.to_le_bytes());
                }
                out.bytes(&rows);
            }
        }
        out.into_bytes()
    }

    /// Reads a page.
    ///
    /// # Errors
    /// Damaged if it is not exactly as [`List::encode`] writes it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != 2 {
            return Err(damaged("it is not a page of a chunk list"));
        }
        let level = decoder.uint()?;
        let rows = decoder.bytes()?;
        decoder.end()?;
        if rows.is_empty() {
            return Err(damaged("it has no rows"));
        }
        let row = if level == 0 { REF_LEN } else { PAGE_REF_LEN };
        if rows.len() > Self::MAX_ROWS * row {
            return Err(damaged("it has more rows than a page may have"));
        }
        if level == 0 {
            return Ok(Self::Chunks(decode_refs(rows)?));
        }
        let level = u8::try_from(level).ok().filter(|level| *level <= Self::MAX_LEVEL);
        let level = level.ok_or_else(|| damaged("its pages are nested too deeply"))?;
        let (rows, []) = rows.as_chunks::<PAGE_REF_LEN>() else {
            return Err(damaged("its rows have the wrong length"));
        };
        let pages = rows.iter().map(|row| {
            let (id, len) = row.split_at(32);
            let id = ChunkId::from_bytes(id.try_into().map_err(|_| damaged("it ends too early"))?);
            match u64::from_le_bytes(len.try_into().map_err(|_| damaged("it ends too early"))?) {
                0 => Err(damaged("it has an empty page")),
                len => Ok((id, len)),
            }
        });
        Ok(Self::Pages { level, pages: pages.collect::<Result<_>>()? })
    }
}

pub(super) fn encode_refs(chunks: &[ChunkRef]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(chunks.len() * REF_LEN);
    for chunk in chunks {
        rows.extend_from_slice(chunk.id.as_bytes());
        rows.extend_from_slice(&chunk.len.to_le_bytes());
    }
    rows
}

pub(super) fn decode_refs(rows: &[u8]) -> Result<Vec<ChunkRef>> {
    let (rows, []) = rows.as_chunks::<REF_LEN>() else {
        return Err(damaged("a list of chunks has the wrong length"));
    };
    rows.iter()
        .map(|row| {
            let (id, len) = row.split_at(32);
            let id = ChunkId::from_bytes(id.try_into().map_err(|_| damaged("it ends too early"))?);
            let len = u32::from_le_bytes(len.try_into().map_err(|_| damaged("it ends too early"))?);
            if len == 0 || len > super::MAX_PLAIN_LEN {
                return Err(damaged(format!("a chunk of {len} bytes is out of bounds")));
            }
            Ok(ChunkRef { id, len })
        })
        .collect()
}
