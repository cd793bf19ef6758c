//! Earlier snapshots, asked where the one that a source is compared with can no longer be read.
//!
//! What stands in is marked as not read, so it is never evidence: it says what may not be left out of the next snapshot, and
//! what is there is read.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::before::Before;
use super::bytes;
use crate::archive::Reader;
use crate::error::Result;
use crate::format::{Carried, EntryKind};
use crate::id::{ChunkId, SnapshotId};

/// So many different states of a source are looked through for a directory, the newest first.
const LOOKED: usize = 100;

/// The states of the sources of a machine before those that are known.
pub(super) struct Earlier {
    host: String,
    /// For each source its distinct top directories, the newest first. Nothing is looked for before something is damaged.
    tops: Mutex<HashMap<Vec<u8>, Arc<Vec<ChunkId>>>>,
}

impl Earlier {
    pub(super) fn of(host: &str) -> Self {
        Self { host: host.to_owned(), tops: Mutex::default() }
    }

    /// Fills the gaps of a directory with what the newest snapshot before `known` has there that can be read.
    pub(super) fn stand_in(
        &self,
        reader: &Reader<'_>,
        root: &Path,
        known: SnapshotId,
        path: &Path,
        before: &mut Before,
    ) -> Result<()> {
        let Ok(below) = path.strip_prefix(root) else { return Ok(()) };
        let names: Vec<&[u8]> = below.iter().map(|name| name.as_encoded_bytes()).collect();
        let mut seen: HashSet<(usize, ChunkId)> = HashSet::new();
        for top in self.tops(reader, &bytes(root), known)?.iter() {
            let Some(tree) = descend(reader, *top, &names, &mut seen)? else { continue };
            let found = Before::read(reader, &tree)?;
            let whole = found.is_whole();
            before.stand_in(found.entries.into_iter().map(|mut entry| {
                entry.meta.carried = Some(entry.meta.carried.unwrap_or(Carried::Unread));
                entry
            }));
            if whole {
                break;
            }
        }
        Ok(())
    }

    fn tops(&self, reader: &Reader<'_>, path: &[u8], known: SnapshotId) -> Result<Arc<Vec<ChunkId>>> {
        let mut tops = self.tops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = tops.get(path) {
            return Ok(found.clone());
        }
        let archive = reader.archive();
        let (renames, all) = (archive.renames()?, archive.snapshots());
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let older = all.iter().rev().skip_while(|(id, _)| *id != known).skip(1);
        for (_, snapshot) in older.filter(|(_, snapshot)| snapshot.host == self.host) {
            let Some(source) = renames.source_in(snapshot, path) else { continue };
            let entries = Before::read(reader, &snapshot.tree)?;
            let Some(at) = entries.find(&source.name) else { continue };
            if let EntryKind::Dir { tree, .. } = entries.entries[at].kind
                && seen.insert(tree)
            {
                found.push(tree);
            }
            if found.len() >= LOOKED {
                break;
            }
        }
        let found = Arc::new(found);
        tops.insert(path.to_vec(), found.clone());
        Ok(found)
    }
}

/// The directory that these names lead to, unless one was met on the way that was met before at the same place.
fn descend(
    reader: &Reader<'_>,
    top: ChunkId,
    names: &[&[u8]],
    seen: &mut HashSet<(usize, ChunkId)>,
) -> Result<Option<ChunkId>> {
    let mut tree = top;
    for (depth, name) in names.iter().enumerate() {
        if !seen.insert((depth, tree)) {
            return Ok(None);
        }
        let entries = Before::read(reader, &tree)?;
        match entries.find(name).map(|at| &entries.entries[at].kind) {
            Some(EntryKind::Dir { tree: next, .. }) => tree = *next,
            _ => return Ok(None),
        }
    }
    Ok(seen.insert((names.len(), tree)).then_some(tree))
}
