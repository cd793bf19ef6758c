//! The header: an archive's identity and the parameters its writers keep to.
//!
//! It lies in the archive twice, and each copy says the same eight times, each time with a hash of its own: any one that is whole is
//! enough, and where none is, most of them still tell each bit. So no few wrong bits lose it, wherever they are.

use super::bytes::{ENVELOPE_LEN, ObjectKind, Reader, envelope};
use super::{damaged, unsupported};
use crate::error::{Kind, Result};
use crate::id::ArchiveId;

/// Bytes of a header object: its block so many times.
pub const HEADER_LEN: usize = TIMES * HEADER_BLOCK_LEN;
/// Bytes of one block, which says all of it.
pub const HEADER_BLOCK_LEN: usize = 96;
/// How often a header object says it.
const TIMES: usize = 8;
/// The chunker that this version writes with: FastCDC 2020.
const FASTCDC_2020: u8 = 1;

/// How content is cut where no structure says it. Only writers need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunker {
    /// No chunk but the last of a region is shorter, in bytes.
    pub min: u32,
    /// The length that cuts aim at, in bytes.
    pub average: u32,
    /// No chunk is longer, in bytes.
    pub max: u32,
}

/// An archive's identity and parameters, fixed when it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The archive's name for ever.
    pub archive: ArchiveId,
    /// When it was made, in seconds since 1970 (UTC).
    pub created: i64,
    /// How content is cut.
    pub chunker: Chunker,
    /// A pack is closed when it has reached this many bytes.
    pub pack_size: u32,
    /// Recovery data for each data pack, in thousandths of its length.
    pub parity_permille: u16,
}

impl Header {
    /// The one encoding of this header.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_block().repeat(TIMES)
    }

    /// One block of it.
    pub fn encode_block(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BLOCK_LEN);
        out.extend_from_slice(&envelope(ObjectKind::Header));
        out.extend_from_slice(self.archive.as_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.push(FASTCDC_2020);
        out.push(0); // seal: none
        out.extend_from_slice(&self.parity_permille.to_le_bytes());
        out.extend_from_slice(&self.chunker.min.to_le_bytes());
        out.extend_from_slice(&self.chunker.average.to_le_bytes());
        out.extend_from_slice(&self.chunker.max.to_le_bytes());
        out.extend_from_slice(&self.pack_size.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out
    }

    /// Reads a header object.
    ///
    /// # Errors
    /// Damaged if it is not exactly as written; unsupported if it asks for something that is not known here.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != HEADER_LEN {
            return Err(damaged(format!("it has {} bytes instead of {HEADER_LEN}", bytes.len())));
        }
        let header = Self::salvage(&[bytes])?;
        if header.encode() == bytes { Ok(header) } else { Err(damaged("some of it is damaged")) }
    }

    /// Reads what is left of one header object, or of several that should be equal: the first block that is whole counts, and
    /// where none is, each bit is what most blocks say it is.
    ///
    /// # Errors
    /// Damaged if that is not a whole block either; unsupported if a whole block asks for something that is not known here.
    pub fn salvage(objects: &[&[u8]]) -> Result<Self> {
        let blocks: Vec<&[u8]> =
            objects.iter().flat_map(|object| object.chunks_exact(HEADER_BLOCK_LEN).take(TIMES)).collect();
        let mut fault = damaged("it is too short");
        for block in &blocks {
            match Self::decode_block(block) {
                Err(error) if error.kind() == Kind::Damaged => fault = error,
                done => return done,
            }
        }
        let most = |at: usize| {
            let bit = |bit: usize| {
                let set = blocks.iter().filter(|block| block[at] >> bit & 1 == 1).count();
                u8::from(set * 2 > blocks.len()) << bit
            };
            (0..8).fold(0, |byte, at| byte | bit(at))
        };
        let voted: Vec<u8> = (0..HEADER_BLOCK_LEN).map(most).collect();
        Self::decode_block(&voted).map_err(|error| if error.kind() == Kind::Damaged { fault } else { error })
    }

    /// Reads one block.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn decode_block(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != HEADER_BLOCK_LEN {
            return Err(damaged(format!("it has {} bytes instead of {HEADER_BLOCK_LEN}", bytes.len())));
        }
        let (fields, hash) = bytes.split_at(HEADER_BLOCK_LEN - 32);
        if blake3::hash(fields).as_bytes() != hash {
            return Err(damaged("its check sum does not match"));
        }
        // Only now: the hash lies there in every version, so what is whole and not known is newer.
        let mut reader = Reader::object(bytes, ObjectKind::Header)?;
        let archive = ArchiveId::from_bytes(reader.array()?);
        let created = reader.i64()?;
        let chunker = reader.u8()?;
        let seal = reader.u8()?;
        let parity_permille = reader.u16()?;
        let header = Self {
            archive,
            created,
            parity_permille,
            chunker: Chunker { min: reader.u32()?, average: reader.u32()?, max: reader.u32()? },
            pack_size: reader.u32()?,
        };
        if seal != 0 {
            return Err(unsupported(format!("its contents are sealed with seal {seal}, which is not known here")));
        }
        if chunker != FASTCDC_2020 {
            return Err(unsupported(format!("its chunker is number {chunker}, which is not known here")));
        }
        if reader.u32()? != 0 {
            return Err(unsupported("it uses flags that are not known here"));
        }
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<()> {
        let Chunker { min, average, max } = self.chunker;
        let even = [min, average, max].iter().all(|size| size % 2 == 0);
        let ordered = (64..=1 << 20).contains(&min) && min <= average && average <= 1 << 22 && average <= max;
        if !even || !ordered || average < 256 || !(1024..=1 << 24).contains(&max) {
            return Err(damaged("its chunk sizes are out of bounds"));
        }
        if !(1 << 16..=1 << 30).contains(&self.pack_size) {
            return Err(damaged("its pack size is out of bounds"));
        }
        if self.parity_permille > 1000 {
            return Err(damaged("its share of recovery data is out of bounds"));
        }
        Ok(())
    }
}

const _: () = assert!(ENVELOPE_LEN + 16 + 8 + 4 + 12 + 4 + 4 + 32 == HEADER_BLOCK_LEN);
