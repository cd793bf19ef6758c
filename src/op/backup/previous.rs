//! What the snapshots so far say of the same sources: by it unchanged files are recognised, without reading them.

use super::evidence::Grounds;
use super::{BackupOptions, Root, bytes};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::{Archive, Reader, Renames, entries_of};
use crate::error::{Kind, Result};
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
    /// Directories that were read to compare the source with them, and will be wanted again: up to [`KEPT`] entries.
    read: Mutex<Kept>,
}

/// Directories by their trees, and how many entries they have in all.
#[derive(Default)]
struct Kept {
    dirs: HashMap<ChunkId, Arc<Vec<Entry>>>,
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
        for (id, snapshot) in ours() {
            let met: Vec<(usize, &Source)> = snapshot
                .sources
                .iter()
                .filter_map(|source| left.remove(now(&renames, snapshot, source)).map(|number| (number, source)))
                .collect();
            if !met.is_empty() {
                // What is damaged is as good as not there: the source is read again, which mends it.
                let entries = readable(entries_of(&archive.reader(), &snapshot.tree))?;
                let doubted = doubted(snapshot).map(Arc::new);
                for (number, source) in met {
                    known[number] = entry(&entries, id, snapshot, source, &doubted);
                    if let Some(known) = known[number].as_mut().filter(|_| bytes(&roots[number].path) != source.path) {
                        // It was told that it moved, so another device is what is to be expected.
                        known.device = None;
                        // What could not be read is named by where it was.
                        known.doubted = None;
                    }
                }
            }
            if left.is_empty() {
                break;
            }
        }
        Ok(Self { newest, sequence, roots: known, read: Mutex::default() })
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

    /// The entries of a directory, as [`readable`] gives them; kept for [`Previous::take_entries`] as far as memory allows.
    pub(super) fn entries(&self, reader: &Reader<'_>, tree: &ChunkId) -> Result<Arc<Vec<Entry>>> {
        let entries = Arc::new(readable(entries_of(reader, tree))?);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.entries + entries.len() <= KEPT {
            read.entries += entries.len();
            read.dirs.insert(*tree, entries.clone());
        }
        Ok(entries)
    }

    /// The same, for the last time.
    pub(super) fn take_entries(&self, reader: &Reader<'_>, tree: &ChunkId) -> Result<Arc<Vec<Entry>>> {
        let kept = self.read.lock().unwrap_or_else(PoisonError::into_inner).dirs.remove(tree);
        kept.map_or_else(|| readable(entries_of(reader, tree)).map(Arc::new), Ok)
    }

    pub(super) fn root(&self, number: usize) -> Option<&Known> {
        self.roots.get(number).and_then(Option::as_ref)
    }
}

/// A source's entry among those of a snapshot's top.
fn entry(
    entries: &[Entry],
    id: &SnapshotId,
    snapshot: &Snapshot,
    source: &Source,
    doubted: &Option<Arc<HashSet<Vec<u8>>>>,
) -> Option<Known> {
    let at = entries.binary_search_by(|entry| entry.name.cmp(&source.name)).ok()?;
    let entry = entries[at].clone();
    let devices: Vec<u64> = source.devices.iter().map(|device| device.0).collect();
    let device = usize::try_from(entry.meta.device).ok().and_then(|at| devices.get(at).copied());
    Some(Known { device, devices, doubted: doubted.clone(), since: snapshot.time, snapshot: *id, entry })
}

/// The paths that a snapshot names as not read, or not wholly; none if it does not name all of them.
fn doubted(snapshot: &Snapshot) -> Option<HashSet<Vec<u8>>> {
    let named = snapshot.unread.len() as u64 == snapshot.summary.unread;
    named.then(|| snapshot.unread.iter().map(|unread| unread.path.clone()).collect())
}

/// Entries, or none where they are damaged or missing, on a bad sector for instance; an error of the drive is one all the
/// same.
pub(super) fn readable(entries: Result<Vec<Entry>>) -> Result<Vec<Entry>> {
    match entries {
        Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing) => Ok(Vec::new()),
        done => done,
    }
}

/// The same, where a walk is ended by a snapshot that claims more than the archive holds: what is not known of the past
/// is read again.
pub(super) fn bearable(entries: Result<Vec<Entry>>) -> Result<Vec<Entry>> {
    match entries {
        Err(error) if error.kind() == Kind::Unsupported => Ok(Vec::new()),
        entries => readable(entries),
    }
}

/// What may be believed in a run that begins now of what a snapshot has of a source that is at this path; none if it has nothing
/// of it.
pub(in crate::op) fn grounds_of(
    archive: &Archive,
    path: &Path,
    node: &source::Node,
    (id, snapshot, source): (&SnapshotId, &Snapshot, &Source),
    now: Time,
) -> Result<Option<(Entry, Grounds)>> {
    let entries = readable(entries_of(&archive.reader(), &snapshot.tree))?;
    let doubted = doubted(snapshot).map(Arc::new);
    let Some(known) = entry(&entries, id, snapshot, source, &doubted) else { return Ok(None) };
    let grounds = Grounds::find(&archive.reader(), path, node, Some(&known), now)?;
    Ok(Some((known.entry, grounds)))
}

pub(super) fn time(time: source::Time) -> Time {
    Time { secs: time.secs, nanos: time.nanos }
}
