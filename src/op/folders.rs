//! Recorded folders that are looked into again and again: each is read once, as long as it is asked for in the order of
//! paths, whatever its size.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::{Archive, Reader, entries_of};
use crate::error::Result;
use crate::format::{Entry, EntryKind};
use crate::id::{ChunkId, SnapshotId};
use crate::view::{above, last_name};

/// So many entries of folders are kept in memory, beside those of the folders that lead to the one that is asked for.
const KEPT: usize = 200_000;

/// Folders that were read.
pub(super) struct Folders<'a> {
    reader: Reader<'a>,
    /// By snapshot and path.
    known: HashMap<(SnapshotId, Vec<u8>), Arc<Vec<Entry>>>,
    kept: usize,
}

impl<'a> Folders<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self { reader: archive.reader(), known: HashMap::new(), kept: 0 }
    }

    /// What a snapshot with this top has at a path; none if nothing is there, or it cannot be read.
    pub(super) fn entry(&mut self, snapshot: SnapshotId, top: ChunkId, path: &[u8]) -> Result<Option<Entry>> {
        let Some(entries) = self.folder(snapshot, top, above(path))? else { return Ok(None) };
        let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(last_name(path)));
        Ok(at.ok().map(|at| entries[at].clone()))
    }

    fn folder(&mut self, snapshot: SnapshotId, top: ChunkId, path: &[u8]) -> Result<Option<Arc<Vec<Entry>>>> {
        // From the innermost folder above that is known.
        let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let all = names.clone();
        let known = loop {
            if let Some(known) = self.known.get(&(snapshot, names.join(&b'/'))) {
                break Some(known.clone());
            }
            if names.pop().is_none() {
                break None;
            }
        };
        let mut depth = names.len();
        let mut entries = match known {
            Some(known) => known,
            None => match self.read(snapshot, b"", &top)? {
                Some(entries) => entries,
                None => return Ok(None),
            },
        };
        while let Some(name) = all.get(depth) {
            let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name));
            let Some(EntryKind::Dir { tree, .. }) = at.ok().map(|at| &entries[at].kind) else { return Ok(None) };
            depth += 1;
            entries = match self.read(snapshot, &all[..depth].join(&b'/'), tree)? {
                Some(entries) => entries,
                None => return Ok(None),
            };
        }
        Ok(Some(entries))
    }

    fn read(&mut self, snapshot: SnapshotId, path: &[u8], tree: &ChunkId) -> Result<Option<Arc<Vec<Entry>>>> {
        let entries = match entries_of(&self.reader, tree) {
            Err(error) if error.kind().is_of_an_object() => return Ok(None),
            entries => Arc::new(entries?),
        };
        if self.kept + entries.len() > KEPT {
            // Those that lead here are asked for next, however large they are.
            let leads =
                |dir: &[u8]| dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"));
            self.known.retain(|(of, dir), _| *of == snapshot && leads(dir));
            self.kept = 0;
        }
        self.kept += entries.len();
        self.known.insert((snapshot, path.to_vec()), entries.clone());
        Ok(Some(entries))
    }
}
