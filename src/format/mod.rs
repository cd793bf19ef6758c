//! Bytes ↔ values of every stored object: pure functions, canonical, bounds-checked.
//!
//! `format-spec.md` is the truth and this room follows it; a test compares the numbers of both. Nothing here reads or
//! writes anything, and every input is hostile: no length is believed before it is checked against what is there, a
//! number that is not known is refused ([`Kind::Unsupported`]), and what is not written as the specification writes
//! it is refused as damaged. Each value has exactly one encoding.

mod bytes;
mod cbor;
mod facts;
mod header;
mod list;
mod mark;
mod pack;
mod segment;
mod snapshot;
mod tree;

pub use bytes::{ENVELOPE_LEN, ObjectKind};
pub use facts::{CaptureFacts, FactsBatch, FactsHead, MAX_FACTS_LEN};
pub use header::{Chunker, HEADER_BLOCK_LEN, HEADER_LEN, Header};
pub use list::{ChunkRef, List, REF_LEN};
pub use mark::{Mark, Says};
pub use pack::{
    DIRECTORY_ROW_LEN, FRAME_HEADER_LEN, FrameHeader, Hint, MAX_PLAIN_LEN, PackContent, Row, TRAILER_LEN,
    decode_directory, decode_frame_header, decode_trailer, encode_directory, encode_frame_header, encode_pack_end,
    encode_pack_start, frame_magic, pack_content,
};
pub use segment::{Segment, SegmentPack};
pub use snapshot::{Device, Snapshot, Source, Summary, Unread};
pub use tree::{Carried, Child, Content, Entry, EntryKind, Meta, Time, Tree};

use crate::error::{Error, Kind};

/// Where an object of each kind lies in a store, and how to read its name back.
pub mod names {
    use crate::id::{DerivedId, MarkId, PackId, SegmentId, SnapshotId};

    /// The header and its second copy.
    pub const HEADERS: [&str; 2] = ["header", "header.copy"];
    /// The text for whoever finds the drive.
    pub const README: &str = "README.txt";
    /// The folder of packs, with a folder for each first byte beneath.
    pub const PACKS: &str = "packs";
    /// The folder of segments.
    pub const SEGMENTS: &str = "segments";
    /// The folder of facts that can be made again.
    pub const DERIVED: &str = "derived";
    /// The folder of snapshots.
    pub const SNAPSHOTS: &str = "snapshots";
    /// The folder of marks.
    pub const MARKS: &str = "marks";

    /// The folder of recovery data.
    pub const PARITY: &str = "parity";

    /// The folder of damaged objects that were replaced or given up.
    pub const QUARANTINE: &str = "quarantine";

    /// Every place where an object may lie, but for packs: the folder that holds the others, and these.
    pub const PLACES: [&str; 7] = ["", SEGMENTS, SNAPSHOTS, MARKS, PARITY, DERIVED, QUARANTINE];

    /// `quarantine/packs/ab/abcd…`, for a damaged object of this name.
    pub fn quarantine(name: &str) -> String {
        format!("{QUARANTINE}/{name}")
    }

    /// `parity/ab/abcd…`, for the object (a pack, a snapshot or a mark) with this id.
    pub fn parity(id: &[u8; 32]) -> String {
        let hex = PackId::from_bytes(*id).to_hex();
        format!("{PARITY}/{}/{hex}", &hex[..2])
    }

    /// The name of the recovery data for the object of this name, if it is named by a hash.
    pub fn parity_of(name: &str) -> Option<String> {
        PackId::from_hex(last(name)).map(|id| parity(id.as_bytes()))
    }

    /// `packs/ab/abcd…`
    pub fn pack(id: &PackId) -> String {
        let hex = id.to_hex();
        format!("{PACKS}/{}/{hex}", &hex[..2])
    }

    /// `segments/abcd…`
    pub fn segment(id: &SegmentId) -> String {
        format!("{SEGMENTS}/{}", id.to_hex())
    }

    /// `derived/abcd…`
    pub fn derived(id: &DerivedId) -> String {
        format!("{DERIVED}/{}", id.to_hex())
    }

    /// `snapshots/abcd…`
    pub fn snapshot(id: &SnapshotId) -> String {
        format!("{SNAPSHOTS}/{}", id.to_hex())
    }

    /// `marks/abcd…`
    pub fn mark(id: &MarkId) -> String {
        format!("{MARKS}/{}", id.to_hex())
    }

    /// The last component of an object's name.
    pub fn last(name: &str) -> &str {
        name.rsplit('/').next().unwrap_or(name)
    }
}

/// Damage, told without an object: the caller names it with [`Error::within`].
fn damaged(why: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, "decoding", why)
}

/// A number or field that this version does not know.
fn unsupported(why: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, "decoding", why)
}

#[cfg(test)]
mod tests;
