//! Fixed little-endian fields, and the sixteen bytes with which every object begins.
//!
//! [`Reader`] never reads past its slice and [`Reader::end`] refuses what is left over, so a decoder that ends with it
//! has looked at every byte.

use super::{damaged, unsupported};
use crate::error::Result;

/// The first bytes of every object; the line ends and the high bit show at once when a transfer mangled it.
pub(super) const MAGIC: [u8; 8] = [0x89, b'A', b'R', b'K', 0x0D, 0x0A, 0x1A, 0x0A];
/// Magic, kind, version and six bytes of zero.
pub const ENVELOPE_LEN: usize = 16;
/// The version of every object written now; 0 is the draft.
pub(super) const VERSION: u8 = 0;

/// What an object in the store is. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// The archive's identity and parameters.
    Header = 1,
    /// Many frames.
    Pack = 2,
    /// Which chunks one run added, and where.
    Segment = 3,
    /// One recorded state of the source.
    Snapshot = 4,
    /// Facts that can be made again.
    Derived = 7,
    /// Something said about snapshots or sources afterwards.
    Mark = 8,
}

/// The envelope of an object of this kind.
pub(super) fn envelope(kind: ObjectKind) -> [u8; ENVELOPE_LEN] {
    let mut bytes = [0; ENVELOPE_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = kind as u8;
    bytes[9] = VERSION;
    bytes
}

/// Reads fields from the front of a slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Begins an object: checks magic, kind, version and the reserved bytes.
    pub(super) fn object(bytes: &'a [u8], kind: ObjectKind) -> Result<Self> {
        let mut reader = Self::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(damaged("it does not begin as an object of an archive does"));
        }
        match reader.u8()? {
            number if number == kind as u8 => {}
            number @ (1..=4 | 6..=8) => {
                return Err(damaged(format!("it is an object of kind {number}, not {}", kind as u8)));
            }
            number => return Err(unsupported(format!("it is an object of kind {number}, which is not known here"))),
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unsupported(format!("it has format version {version}, and only {VERSION} is known here")));
        }
        if reader.take(6)? != [0; 6] {
            return Err(unsupported("it uses flags that are not known here"));
        }
        Ok(reader)
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Refuses what is left over.
    pub(super) fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(damaged(format!("{} bytes too many", self.rest.len()))) }
    }
}
