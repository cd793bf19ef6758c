//! What this computer noticed and nothing in the archive tells: damage that was found, when files of the source were
//! last read, which of them are suspected to have decayed, and which snapshots were there at some time.
//!
//! It cannot be made again, so it is carried over when everything else is. Losing it costs nothing but time: damage is
//! found again, and what was never read is read first.

use std::collections::{HashMap, HashSet};

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::{DOING, Index, Parts, caught};
use crate::error::{Error, Kind, Result};
use crate::id::{FileHash, ID_LEN, SnapshotId};

/// A file of the source, by a hash of where it is.
pub type FileKey = [u8; ID_LEN];

const READS: TableDefinition<'_, &FileKey, i64> = TableDefinition::new("reads");
const SUSPECTS: TableDefinition<'_, &FileKey, &FileKey> = TableDefinition::new("suspects");
const SEEN: TableDefinition<'_, &FileKey, ()> = TableDefinition::new("seen");
const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
const DAMAGE: &str = "damage";

/// All of it.
#[derive(Default)]
pub(super) struct Notes {
    reads: HashMap<FileKey, i64>,
    suspects: HashMap<FileKey, FileHash>,
    damage: Option<Vec<u8>>,
    seen: HashSet<SnapshotId>,
}

/// What is to be noted.
#[derive(Default)]
pub struct NotesChange<'a> {
    /// Files that were read, and when.
    pub reads: &'a [(FileKey, i64)],
    /// Files that are suspected now, and the hash that is recorded of each.
    pub suspects: &'a [(FileKey, FileHash)],
    /// Files that are suspected no longer.
    pub cleared: &'a [FileKey],
    /// What is known of damage from now on: some, or none.
    pub damage: Option<Option<&'a [u8]>>,
    /// Snapshots that were there.
    pub seen: &'a [SnapshotId],
    /// Snapshots that were there, and of which it is known that nobody can tell them any more.
    pub forgotten: &'a [SnapshotId],
}

impl Index {
    /// When files of the source were last read, in seconds since 1970.
    ///
    /// # Errors
    /// As for all of these: if the file of the index turns out to be damaged; then [`Index::start_over`] is next.
    pub fn last_reads(&self) -> Result<HashMap<FileKey, i64>> {
        self.read().parts().map_or_else(|| Ok(HashMap::new()), reads)
    }

    /// Files whose bytes were not those of this hash, which is recorded, while nothing else had changed.
    pub fn suspects(&self) -> Result<HashMap<FileKey, FileHash>> {
        self.read().parts().map_or_else(|| Ok(HashMap::new()), suspects)
    }

    /// What damage was found, as whoever found it wrote it down.
    pub fn damage(&self) -> Result<Option<Vec<u8>>> {
        self.read().parts().map_or(Ok(None), damage)
    }

    /// Snapshots that were there at some time, whatever has become of them.
    pub fn seen(&self) -> Result<HashSet<SnapshotId>> {
        self.read().parts().map_or_else(|| Ok(HashSet::new()), seen)
    }

    /// Takes down what was noticed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note(&self, change: &NotesChange<'_>) -> Result<()> {
        let state = self.write();
        let parts = state.parts().ok_or_else(|| Error::new(Kind::Internal, DOING, "there is none"))?;
        caught(|| {
            let write = parts.database.begin_write()?;
            {
                let mut table = write.open_table(READS)?;
                for (file, time) in change.reads {
                    table.insert(file, time)?;
                }
                let mut table = write.open_table(SUSPECTS)?;
                for (file, hash) in change.suspects {
                    table.insert(file, hash.as_bytes())?;
                }
                for file in change.cleared {
                    table.remove(file)?;
                }
                note_seen(&write, change.seen.iter())?;
                let mut table = write.open_table(SEEN)?;
                for id in change.forgotten {
                    table.remove(id.as_bytes())?;
                }
                let mut table = write.open_table(NOTES)?;
                match change.damage {
                    Some(Some(damage)) => drop(table.insert(DAMAGE, damage)?),
                    Some(None) => drop(table.remove(DAMAGE)?),
                    None => {}
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    /// Takes down all of this, in an index that was begun anew. What cannot be written is lost.
    pub(super) fn carry_over(&self, notes: &Notes) {
        let reads: Vec<_> = notes.reads.iter().map(|(file, time)| (*file, *time)).collect();
        let suspects: Vec<_> = notes.suspects.iter().map(|(file, hash)| (*file, *hash)).collect();
        let seen: Vec<_> = notes.seen.iter().copied().collect();
        let damage = notes.damage.as_deref().map(Some);
        if !reads.is_empty() || !suspects.is_empty() || !seen.is_empty() || damage.is_some() {
            let change =
                NotesChange { reads: &reads, suspects: &suspects, damage, seen: &seen, ..NotesChange::default() };
            let _ = self.note(&change);
        }
    }
}

/// What a damaged file still gives of all this.
pub(super) fn readable(parts: &Parts) -> Notes {
    Notes {
        reads: reads(parts).unwrap_or_default(),
        suspects: suspects(parts).unwrap_or_default(),
        damage: damage(parts).unwrap_or_default(),
        seen: seen(parts).unwrap_or_default(),
    }
}

/// Takes down that these snapshots were there.
pub(super) fn note_seen<'s>(
    write: &WriteTransaction,
    snapshots: impl Iterator<Item = &'s SnapshotId>,
) -> std::result::Result<(), redb::Error> {
    let mut table = write.open_table(SEEN)?;
    for id in snapshots {
        table.insert(id.as_bytes(), ())?;
    }
    Ok(())
}

fn seen(parts: &Parts) -> Result<HashSet<SnapshotId>> {
    caught(|| {
        let mut found = HashSet::new();
        let Some(table) = there(parts.database.begin_read()?.open_table(SEEN))? else { return Ok(found) };
        for item in table.iter()? {
            found.insert(SnapshotId::from_bytes(*item?.0.value()));
        }
        Ok(found)
    })
}

fn reads(parts: &Parts) -> Result<HashMap<FileKey, i64>> {
    caught(|| {
        let mut found = HashMap::new();
        let Some(table) = there(parts.database.begin_read()?.open_table(READS))? else { return Ok(found) };
        for item in table.iter()? {
            let (file, time) = item?;
            found.insert(*file.value(), time.value());
        }
        Ok(found)
    })
}

fn suspects(parts: &Parts) -> Result<HashMap<FileKey, FileHash>> {
    caught(|| {
        let mut found = HashMap::new();
        let Some(table) = there(parts.database.begin_read()?.open_table(SUSPECTS))? else { return Ok(found) };
        for item in table.iter()? {
            let (file, hash) = item?;
            found.insert(*file.value(), FileHash::from_bytes(*hash.value()));
        }
        Ok(found)
    })
}

fn damage(parts: &Parts) -> Result<Option<Vec<u8>>> {
    caught(|| {
        let Some(table) = there(parts.database.begin_read()?.open_table(NOTES))? else { return Ok(None) };
        Ok(table.get(DAMAGE)?.map(|damage| damage.value().to_vec()))
    })
}

/// A table that nothing may have been written to yet.
fn there<T>(table: std::result::Result<T, TableError>) -> std::result::Result<Option<T>, redb::Error> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}
