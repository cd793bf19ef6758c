//! What this computer noticed about the archive and its sources, beside what the archive tells of itself. It is a help
//! and no more: where it cannot be kept, everything works without.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Archive;
use super::index::{FileKey, NotesChange};
use crate::id::{FileHash, SnapshotId};

/// So many names of objects are kept of what was found damaged.
const MOST_NAMES: usize = 4096;
/// Bytes of a note before the names.
const FIXED: usize = 8 + 8 + 8 + 1;

/// That damage was found, and what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DamageNote {
    /// When, in seconds since 1970.
    pub time: i64,
    /// How many objects are damaged.
    pub objects: u64,
    /// How many files cannot be restored whole.
    pub files: u64,
    /// Whether it took reading data to find all of it.
    pub by_data: bool,
    /// The damaged objects, as far as they are remembered.
    pub names: BTreeSet<String>,
}

impl DamageNote {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.time.to_le_bytes().to_vec();
        bytes.extend(self.objects.to_le_bytes());
        bytes.extend(self.files.to_le_bytes());
        bytes.push(u8::from(self.by_data));
        let names: Vec<&str> = self.names.iter().take(MOST_NAMES).map(String::as_str).collect();
        bytes.extend(names.join("\n").as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, names) = bytes.split_first_chunk::<FIXED>()?;
        let field = |at: usize| fixed[at..].first_chunk::<8>().copied();
        let names = std::str::from_utf8(names).ok()?;
        Some(Self {
            time: i64::from_le_bytes(field(0)?),
            objects: u64::from_le_bytes(field(8)?),
            files: u64::from_le_bytes(field(16)?),
            by_data: fixed[FIXED - 1] != 0,
            names: names.split('\n').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })
    }
}

impl Archive {
    /// Snapshots that were in this place at some time, as far as this computer noticed.
    pub fn seen_snapshots(&self) -> HashSet<SnapshotId> {
        self.index().seen().unwrap_or_default()
    }

    /// Remembers no longer that these snapshots were in this place: it was told that they are lost.
    pub fn forget_snapshots(&self, ids: &[SnapshotId]) {
        // Where that cannot be kept, they are told of once more.
        let _ = self.index().note(&NotesChange { forgotten: ids, ..NotesChange::default() });
    }

    /// What damage was found here and has not been mended since, as far as is known on this computer.
    pub fn damage_note(&self) -> Option<DamageNote> {
        DamageNote::decode(&self.index().damage().ok()??)
    }

    /// Remembers what damage is known now.
    pub fn note_damage(&self, damage: Option<&DamageNote>) {
        let bytes = damage.map(DamageNote::encode);
        // Where it cannot be kept, the next look finds it again.
        let _ = self.index().note(&NotesChange { damage: Some(bytes.as_deref()), ..NotesChange::default() });
    }

    /// When files of the source were last read to look whether they decay, in seconds since 1970.
    pub fn last_reads(&self) -> HashMap<FileKey, i64> {
        self.index().last_reads().unwrap_or_default()
    }

    /// Remembers that these files were read at these times, which of them are suspected to have decayed and what is
    /// recorded of each, and which are so no longer.
    pub fn note_reads(&self, reads: &[(FileKey, i64)], suspects: &[(FileKey, FileHash)], cleared: &[FileKey]) {
        if reads.is_empty() && suspects.is_empty() && cleared.is_empty() {
            return;
        }
        // Where it cannot be kept, they are read again.
        let _ = self.index().note(&NotesChange { reads, suspects, cleared, ..NotesChange::default() });
    }

    /// Files of the source that are suspected to have decayed.
    pub fn suspects(&self) -> HashMap<FileKey, FileHash> {
        self.index().suspects().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let names = ["packs/a", "snapshots/b"].map(str::to_owned).into_iter().collect();
        let note = DamageNote { time: -5, objects: 2, files: 7, by_data: true, names };
        assert_eq!(DamageNote::decode(&note.encode()), Some(note));
        assert_eq!(DamageNote::decode(&DamageNote::default().encode()), Some(DamageNote::default()));
        assert_eq!(DamageNote::decode(b"short"), None);
    }
}
