//! The names of stored things: 32-byte ids, each a type of its own.
//!
//! An id is a BLAKE3 hash, so whoever holds one can check what it names; two kinds of id never mix, because they are
//! two types. Hexadecimal exists only at the edges (object names, the command line, messages).

use std::fmt;

/// Bytes in an id.
pub const ID_LEN: usize = 32;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// The id with exactly these bytes.
            pub const fn from_bytes(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }

            /// Reads 64 lower-case hexadecimal digits; anything else is `None`.
            pub fn from_hex(hex: &str) -> Option<Self> {
                parse_hex(hex).map(Self)
            }

            /// 64 lower-case hexadecimal digits.
            pub fn to_hex(&self) -> String {
                self.0.iter().map(|byte| format!("{byte:02x}")).collect()
            }

            /// The first eight digits, for people.
            pub fn short(&self) -> String {
                self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

id_type!(
    /// Names a chunk, a tree or a chunk list by its original bytes.
    ChunkId
);
id_type!(
    /// Names a pack: the BLAKE3 of the pack's bytes as they lie in the store.
    PackId
);
id_type!(
    /// Names a segment: the BLAKE3 of its bytes.
    SegmentId
);
id_type!(
    /// Names a snapshot: the BLAKE3 of its object's bytes.
    SnapshotId
);
id_type!(
    /// Names a mark: the BLAKE3 of its object's bytes.
    MarkId
);
id_type!(
    /// Names an object of facts that can be made again: the BLAKE3 of its bytes.
    DerivedId
);
id_type!(
    /// The BLAKE3 of a whole file, as `b3sum` prints it.
    FileHash
);
id_type!(
    /// Names what is left of a photo without its tags: the BLAKE3 over the ids of the chunks that hold more than tags.
    PictureHash
);

/// What a chunk holds. The number is stored; another number is refused by readers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChunkKind {
    /// Bytes of a file.
    Data = 0,
    /// A page of a directory.
    Tree = 1,
    /// A page of a large file's list of chunks.
    List = 2,
}

impl ChunkKind {
    /// The kind with this stored number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Tree),
            2 => Some(Self::List),
            _ => None,
        }
    }

    /// The number as stored.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether it belongs in metadata packs, which browsing reads, and not among photo data.
    pub const fn is_metadata(self) -> bool {
        !matches!(self, Self::Data)
    }
}

impl ChunkId {
    /// The id of these original bytes: plain BLAKE3 for file data (what `b3sum` prints), and BLAKE3 in its key
    /// derivation mode for trees and lists, so that no file can pass itself off as a directory.
    pub fn of(kind: ChunkKind, bytes: &[u8]) -> Self {
        match kind {
            ChunkKind::Data => Self(*blake3::hash(bytes).as_bytes()),
            ChunkKind::Tree => Self(blake3::derive_key(TREE_CONTEXT, bytes)),
            ChunkKind::List => Self(blake3::derive_key(LIST_CONTEXT, bytes)),
        }
    }
}

/// The key derivation context of tree ids, as the format names it.
pub const TREE_CONTEXT: &str = "photo archive 2026 tree page";
/// The key derivation context of chunk list ids, as the format names it.
pub const LIST_CONTEXT: &str = "photo archive 2026 chunk list page";

/// Names an archive, for ever: 16 random bytes drawn when it was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArchiveId([u8; 16]);

impl ArchiveId {
    /// The id with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// 32 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveId({})", self.to_hex())
    }
}

fn parse_hex(hex: &str) -> Option<[u8; ID_LEN]> {
    let digits = hex.as_bytes();
    if digits.len() != 2 * ID_LEN {
        return None;
    }
    let mut bytes = [0; ID_LEN];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways_and_refuses_anything_else() {
        let id = ChunkId::from_bytes(*blake3::hash(b"photo").as_bytes());
        assert_eq!(ChunkId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(id.to_hex(), blake3::hash(b"photo").to_hex().as_str());
        assert!(id.to_hex().starts_with(&id.short()));
        assert_eq!(ChunkId::from_hex(&id.to_hex().to_uppercase()), None);
        assert_eq!(ChunkId::from_hex(&id.to_hex()[1..]), None);
        assert_eq!(ChunkId::from_hex(&"é".repeat(32)), None);
    }
}
