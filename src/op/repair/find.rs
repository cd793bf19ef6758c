//! Where the bytes are that something damaged had: in its recovery data, under another name, in another archive, at the
//! source.
//!
//! Nothing counts here but what hashes to the name of the object or chunk that is looked for.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::{Remedy, RepairOptions, Sort};
use crate::archive::{Archive, MAX_MARK_LEN, MAX_PACK_LEN, MAX_SNAPSHOT_LEN, Restored, restored};
use crate::chunk::Chunk;
use crate::error::Result;
use crate::format::{List, Tree, names};
use crate::id::{ChunkId, ChunkKind, MarkId, PackId, SnapshotId};
use crate::op::verify::{LostChunk, Verify};
use crate::store::Leftovers;

/// Takes a chunk.
type Take<'t> = dyn FnMut(&Chunk<'_>) -> Result<()> + 't;

/// Where to look.
pub(super) struct Find<'a> {
    archive: &'a Archive,
    other: Option<&'a Archive>,
    source: bool,
    /// Objects that lie under a name that is not theirs: by their hash, the name.
    misplaced: HashMap<[u8; 32], String>,
    /// By a snapshot and a source's name in it, the source's path now.
    sources: HashMap<(SnapshotId, Vec<u8>), Vec<u8>>,
}

impl<'a> Find<'a> {
    pub(super) fn new(archive: &'a Archive, options: &RepairOptions<'a>, found: &Verify) -> Result<Self> {
        let mut misplaced = HashMap::new();
        for damage in &found.damage {
            if matches!(Sort::of(&damage.object), Sort::Pack(_) | Sort::Snapshot(_) | Sort::Mark(_)) {
                match archive.store().get(&damage.object, MAX_PACK_LEN) {
                    Ok(bytes) => drop(misplaced.insert(*blake3::hash(&bytes).as_bytes(), damage.object.clone())),
                    Err(error) if error.kind().is_of_an_object() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let renames = archive.renames()?;
        let mut sources = HashMap::new();
        for (id, snapshot) in archive.snapshots() {
            for source in snapshot.sources {
                let now = renames.path_now(&snapshot.host, &source.path, snapshot.sequence).to_vec();
                sources.insert((id, source.name), now);
            }
        }
        Ok(Self { archive, other: options.from, source: options.source, misplaced, sources })
    }

    /// A pack's bytes, and by what they are told; [`Remedy::Leave`] if they lie where they belong.
    pub(super) fn pack(&self, id: &PackId) -> Result<Option<(Remedy, Vec<u8>)>> {
        self.object(&names::pack(id), id.as_bytes(), MAX_PACK_LEN)
    }

    /// A snapshot object's bytes, likewise.
    pub(super) fn snapshot(&self, id: &SnapshotId) -> Result<Option<(Remedy, Vec<u8>)>> {
        self.object(&names::snapshot(id), id.as_bytes(), MAX_SNAPSHOT_LEN)
    }

    /// A mark's bytes, likewise.
    pub(super) fn mark(&self, id: &MarkId) -> Result<Option<(Remedy, Vec<u8>)>> {
        self.object(&names::mark(id), id.as_bytes(), MAX_MARK_LEN)
    }

    /// Those of the pack, snapshot or mark with this id.
    pub(super) fn either(&self, id: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        let (snapshot, mark) = (SnapshotId::from_bytes(*id), MarkId::from_bytes(*id));
        let found = if self.archive.store().len(&names::mark(&mark))?.is_some() {
            self.mark(&mark)?
        } else if self.archive.store().len(&names::snapshot(&snapshot))?.is_some() {
            self.snapshot(&snapshot)?
        } else {
            self.pack(&PackId::from_bytes(*id))?
        };
        Ok(found.map(|(_, bytes)| bytes))
    }

    pub(super) fn object(&self, name: &str, id: &[u8; 32], limit: u64) -> Result<Option<(Remedy, Vec<u8>)>> {
        match restored(&**self.archive.store(), name, id, limit) {
            Ok(Restored { bytes, whole, .. }) => {
                return Ok(Some((if whole { Remedy::Leave } else { Remedy::Mend }, bytes)));
            }
            Err(error) if error.kind().is_of_an_object() => {}
            Err(error) => return Err(error),
        }
        if let Some(bytes) = self.misplaced(id)? {
            return Ok(Some((Remedy::Mend, bytes)));
        }
        match self.other.map(|other| restored(&**other.store(), name, id, limit)) {
            Some(Ok(found)) => Ok(Some((Remedy::Copy, found.bytes))),
            Some(Err(error)) if !error.kind().is_of_an_object() => Err(error),
            _ => Ok(None),
        }
    }

    /// Bytes that lie under the name of another damaged object, or by now in quarantine.
    fn misplaced(&self, id: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        let Some(name) = self.misplaced.get(id) else { return Ok(None) };
        let store = self.archive.store();
        let mut places = vec![name.clone()];
        let folder = names::quarantine(name.rsplit_once('/').map_or("", |(folder, _)| folder));
        places.extend(store.list(&folder, Leftovers::Leave)?.into_iter().map(|object| object.name));
        for place in places.iter().filter(|place| place.contains(names::last(name))) {
            match store.get(place, MAX_PACK_LEN) {
                Ok(bytes) if blake3::hash(&bytes).as_bytes() == id => return Ok(Some(bytes)),
                Ok(_) => {}
                Err(error) if error.kind().is_of_an_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether a lost chunk is found, with what is known below it.
    pub(super) fn has(&self, lost: &LostChunk) -> Result<bool> {
        let mut found = false;
        self.each(lost, &mut |chunk| {
            found |= chunk.id() == lost.id;
            Ok(())
        })?;
        Ok(found)
    }

    /// Hands on a lost chunk, if it is found, and the pages below it.
    pub(super) fn each(&self, lost: &LostChunk, take: &mut Take<'_>) -> Result<()> {
        if let Some(other) = self.other
            && from_archive(other, lost.kind, &lost.id, take)?
        {
            return Ok(());
        }
        match self.at_source(lost) {
            Some(bytes) => take(&Chunk::new(lost.kind, &bytes)),
            None => Ok(()),
        }
    }

    /// A file's chunk, read where the file was when the snapshot was taken. A source that cannot be read is one that does not
    /// have it.
    fn at_source(&self, lost: &LostChunk) -> Option<Vec<u8>> {
        if !self.source || lost.kind != ChunkKind::Data || lost.len == 0 {
            return None;
        }
        let path = self.path(lost)?;
        if !std::fs::symlink_metadata(&path).ok()?.is_file() {
            return None; // a pipe would wait for ever
        }
        let mut file = File::open(path).ok()?;
        file.seek(SeekFrom::Start(lost.offset)).ok()?;
        let mut bytes = vec![0; lost.len as usize];
        file.read_exact(&mut bytes).ok()?;
        (Chunk::new(ChunkKind::Data, &bytes).id() == lost.id).then_some(bytes)
    }

    fn path(&self, lost: &LostChunk) -> Option<PathBuf> {
        let end = lost.path.iter().position(|byte| *byte == b'/').unwrap_or(lost.path.len());
        let (source, below) = lost.path.split_at(end);
        let above = self.sources.get(&(lost.snapshot, source.to_vec()))?;
        path_of(&[above.as_slice(), below].concat())
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere a path may not be text
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// Hands on a chunk of another archive and the pages below it. Whether it is there.
fn from_archive(other: &Archive, kind: ChunkKind, id: &ChunkId, take: &mut Take<'_>) -> Result<bool> {
    let mut todo = vec![*id];
    let mut found = false;
    // Pages may be named any number of times.
    let mut met = HashSet::new();
    while let Some(id) = todo.pop() {
        if !met.insert(id) {
            continue;
        }
        let bytes = match other.reader().get(kind, &id) {
            Ok(bytes) => bytes,
            Err(error) if error.kind().is_of_an_object() => continue,
            Err(error) => return Err(error),
        };
        match kind {
            ChunkKind::Data => {}
            ChunkKind::Tree => {
                if let Ok(Tree::Pages { children, .. }) = Tree::decode(&bytes) {
                    todo.extend(children.into_iter().map(|child| child.id));
                }
            }
            ChunkKind::List => {
                if let Ok(List::Pages { pages, .. }) = List::decode(&bytes) {
                    todo.extend(pages.into_iter().map(|(id, _)| id));
                }
            }
        }
        take(&Chunk::new(kind, &bytes))?;
        found = true;
    }
    Ok(found)
}
