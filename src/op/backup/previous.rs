//! What the snapshots so far say of the same sources: by it unchanged files are recognised, without reading them.

use super::before::Before;
use super::earlier::Earlier;
use super::evidence::{Asked, Grounds};
use super::{BackupOptions, Root, bytes};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::{Archive, Reader, Renames};
use crate::error::Result;
use crate::format::{Entry, Snapshot, Source, Time};
use crate::id::{ChunkId, SnapshotId};
use crate::source;

/// So many entries of earlier snapshots are kept in memory between being compared and being used.
const KEPT: usize = 150_000;

/// For each source its newest entry in the archive, if there is one.
pub(super) struct Previous {
    newest: Option<(SnapshotId, ChunkId)>,
    /// Of the next snapshot.
    sequence: u64,
    roots: Vec<Option<Known>>,
    /// Where each source is, and whether a newer snapshot than the known one has something of it that cannot be read.
    places: Vec<(PathBuf, bool)>,
    earlier: Earlier,
    /// Directories that were read to compare the source with them, and will be wanted again: up to [`KEPT`] entries.
    read: Mutex<Kept>,
}

/// Directories by their trees, and how many entries they have in all.
#[derive(Default)]
struct Kept {
    dirs: HashMap<ChunkId, Arc<Before>>,
    entries: usize,
}

/// An entry of an earlier snapshot.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) entry: Entry,
    /// When the run began that recorded it.
    pub(super) since: Time,
    /// The snapshot that has it.
    pub(super) snapshot: SnapshotId,
    /// The device that it lay on.
    pub(super) device: Option<u64>,
    /// All devices of its source.
    pub(super) devices: Vec<u64>,
    /// The paths that the snapshot names as not read, or not wholly; none if it does not name all of them.
    pub(super) doubted: Option<Arc<HashSet<Vec<u8>>>>,
}

impl Previous {
    pub(super) fn find(archive: &Archive, options: &BackupOptions, roots: &[Root]) -> Result<Self> {
        let all = archive.snapshots();
        // What was recorded under an earlier path of a source is its past.
        let renames = archive.renames()?;
        let sequence = archive.next_sequence()?;
        let ours = || all.iter().rev().filter(|(_, snapshot)| snapshot.host == options.host);
        let places: HashMap<Vec<u8>, usize> =
            roots.iter().enumerate().map(|(number, root)| (bytes(&root.path), number)).collect();
        fn now<'s>(renames: &'s Renames, snapshot: &'s Snapshot, source: &'s Source) -> &'s [u8] {
            renames.path_now(&snapshot.host, &source.path, snapshot.sequence)
        }
        let same = |snapshot: &Snapshot| {
            let all = || snapshot.sources.iter().all(|source| places.contains_key(now(&renames, snapshot, source)));
            snapshot.sources.len() == places.len() && all()
        };
        let newest = ours().find(|(_, snapshot)| same(snapshot)).map(|(id, snapshot)| (*id, snapshot.tree));
        let (mut known, mut left) = (vec![None; roots.len()], places.clone());
        let mut lost = vec![false; roots.len()];
        for (id, snapshot) in ours() {
            let mut met: Vec<(usize, &Source)> = Vec::new();
            for source in &snapshot.sources {
                met.extend(left.get(now(&renames, snapshot, source)).map(|number| (*number, source)));
            }
            if !met.is_empty() {
                let entries = Before::read(&archive.reader(), &snapshot.tree)?;
                let doubted = doubted(snapshot).map(Arc::new);
                for (number, source) in met {
                    // What cannot be read any more is told, and an earlier snapshot is what there is to compare with.
                    lost[number] |= entries.may_have_had(&source.name);
                    let Some(mut found) = entry(&entries, id, snapshot, source, &doubted) else { continue };
                    let path = bytes(&roots[number].path);
                    if left.remove(&path).is_none() {
                        continue; // named twice
                    }
                    if path != source.path {
                        // It was told that it moved, so another device is what is to be expected.
                        found.device = None;
                        // What could not be read is named by where it was.
                        found.doubted = None;
                    }
                    known[number] = Some(found);
                }
            }
            if left.is_empty() {
                break;
            }
        }
        let places = roots.iter().map(|root| root.path.clone()).zip(lost).collect();
        let earlier = Earlier::of(&options.host);
        Ok(Self { newest, sequence, roots: known, places, earlier, read: Mutex::default() })
    }

    pub(super) fn parent(&self) -> Option<SnapshotId> {
        self.newest.map(|(id, _)| id)
    }

    pub(super) fn tree(&self) -> Option<ChunkId> {
        self.newest.map(|(_, tree)| tree)
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// What is known of a source's directory at this path; kept for [`Previous::take`] as far as memory allows. Where its pages
    /// cannot be read, what an earlier snapshot has stands in, marked as not read.
    pub(super) fn before(
        &self,
        reader: &Reader<'_>,
        number: usize,
        path: &Path,
        tree: &ChunkId,
    ) -> Result<Arc<Before>> {
        let mut before = Before::read(reader, tree)?;
        if !before.is_whole() {
            if let (Some(known), Some((root, _))) = (self.root(number), self.places.get(number)) {
                self.earlier.stand_in(reader, root, known.snapshot, path, &mut before)?;
            }
            return Ok(Arc::new(before));
        }
        let before = Arc::new(before);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.entries + before.entries.len() <= KEPT {
            read.entries += before.entries.len();
            read.dirs.insert(*tree, before.clone());
        }
        Ok(before)
    }

    /// The same, for the last time.
    pub(super) fn take(&self, reader: &Reader<'_>, number: usize, path: &Path, tree: &ChunkId) -> Result<Arc<Before>> {
        let kept = self.read.lock().unwrap_or_else(PoisonError::into_inner).dirs.remove(tree);
        kept.map_or_else(|| self.before(reader, number, path, tree), Ok)
    }

    /// Whether a newer snapshot than the known one has something of a source that cannot be read any more.
    pub(super) fn has_lost(&self, number: usize) -> bool {
        self.places.get(number).is_some_and(|(_, lost)| *lost)
    }

    pub(super) fn root(&self, number: usize) -> Option<&Known> {
        self.roots.get(number).and_then(Option::as_ref)
    }
}

/// A source's entry among those of a snapshot's top.
fn entry(
    entries: &Before,
    id: &SnapshotId,
    snapshot: &Snapshot,
    source: &Source,
    doubted: &Option<Arc<HashSet<Vec<u8>>>>,
) -> Option<Known> {
    let entry = entries.find(&source.name).map(|at| entries.entries[at].clone())?;
    let devices: Vec<u64> = source.devices.iter().map(|device| device.0).collect();
    let device = usize::try_from(entry.meta.device).ok().and_then(|at| devices.get(at).copied());
    Some(Known { device, devices, doubted: doubted.clone(), since: snapshot.time, snapshot: *id, entry })
}

/// The paths that a snapshot names as not read, or not wholly; none if it does not name all of them.
fn doubted(snapshot: &Snapshot) -> Option<HashSet<Vec<u8>>> {
    let named = snapshot.unread.len() as u64 == snapshot.summary.unread;
    named.then(|| snapshot.unread.iter().map(|unread| unread.path.clone()).collect())
}

/// A source as it is, and a snapshot that has something of it.
pub(in crate::op) struct Recorded<'a> {
    /// Where it is now.
    pub(in crate::op) path: &'a Path,
    pub(in crate::op) node: &'a source::Node,
    pub(in crate::op) id: SnapshotId,
    pub(in crate::op) snapshot: &'a Snapshot,
    /// As the snapshot names it.
    pub(in crate::op) source: &'a Source,
}

/// What may be believed in a run that begins now of what snapshots have of these sources; none of one of which the snapshot has
/// nothing.
pub(in crate::op) fn grounds_of(
    archive: &Archive,
    recorded: &[Recorded<'_>],
    now: Time,
) -> Result<Vec<Option<(Entry, Grounds)>>> {
    let reader = archive.reader();
    let mut known = Vec::with_capacity(recorded.len());
    for one in recorded {
        let entries = Before::read(&reader, &one.snapshot.tree)?;
        known.push(entry(&entries, &one.id, one.snapshot, one.source, &doubted(one.snapshot).map(Arc::new)));
    }
    let asked: Vec<Asked<'_>> = recorded
        .iter()
        .zip(&known)
        .map(|(one, known)| Asked { path: one.path, node: one.node, known: known.as_ref() })
        .collect();
    let grounds = Grounds::find(&reader, &asked, now)?;
    Ok(known.into_iter().zip(grounds).map(|(known, grounds)| Some((known?.entry, grounds))).collect())
}

pub(super) fn time(time: source::Time) -> Time {
    Time { secs: time.secs, nanos: time.nanos }
}
