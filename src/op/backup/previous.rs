//! What the snapshots so far say of the same sources: by it unchanged files are recognised, without reading them.

use super::{BackupOptions, Root, bytes};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::{Archive, Reader, entries_of};
use crate::error::{Kind, Result};
use crate::format::{Device, Entry, EntryKind, Snapshot, Source, Time};
use crate::id::{ChunkId, SnapshotId};
use crate::source::{self, Stat};

/// A file whose times are this close to the start of the run that recorded it may have changed again within the same
/// tick of the clock, in nanoseconds: where times have fractions, and where they do not (FAT counts in two seconds).
const TICK_FINE: i128 = 50_000_000;
const TICK_COARSE: i128 = 2_000_000_000;

/// So many entries of earlier snapshots are kept in memory between being compared and being used.
const KEPT: usize = 150_000;

/// For each source its newest entry in the archive, if there is one.
pub(super) struct Previous {
    newest: Option<(SnapshotId, ChunkId)>,
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
    /// The devices of its source.
    pub(super) devices: Vec<Device>,
}

impl Previous {
    pub(super) fn find(archive: &Archive, options: &BackupOptions, roots: &[Root]) -> Result<Self> {
        let all = archive.snapshots();
        let sequence = all.last().map_or(0, |(_, last)| last.sequence);
        let ours = || all.iter().rev().filter(|(_, snapshot)| snapshot.host == options.host);
        let places: HashMap<Vec<u8>, usize> =
            roots.iter().enumerate().map(|(number, root)| (bytes(&root.path), number)).collect();
        let same = |snapshot: &Snapshot| {
            let all = || snapshot.sources.iter().all(|source| places.contains_key(&source.path));
            snapshot.sources.len() == places.len() && all()
        };
        let newest = ours().find(|(_, snapshot)| same(snapshot)).map(|(id, snapshot)| (*id, snapshot.tree));
        let (mut known, mut left) = (vec![None; roots.len()], places.clone());
        for (id, snapshot) in ours() {
            let met: Vec<(usize, &Source)> = snapshot
                .sources
                .iter()
                .filter_map(|source| left.remove(&source.path).map(|number| (number, source)))
                .collect();
            if !met.is_empty() {
                // What is damaged is as good as not there: the source is read again, which mends it.
                let entries = readable(entries_of(&archive.reader(), &snapshot.tree))?;
                for (number, source) in met {
                    known[number] = entry(&entries, id, snapshot, source);
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
        self.sequence.saturating_add(1)
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
fn entry(entries: &[Entry], id: &SnapshotId, snapshot: &Snapshot, source: &Source) -> Option<Known> {
    let at = entries.binary_search_by(|entry| entry.name.cmp(&source.name)).ok()?;
    let entry = entries[at].clone();
    let device = |entry: &Entry| source.devices.get(usize::try_from(entry.meta.device).ok()?).map(|device| device.0);
    let devices = source.devices.clone();
    Some(Known { device: device(&entry), devices, since: snapshot.time, snapshot: *id, entry })
}

/// Entries, or none where they are damaged or missing, on a bad sector for instance; an error of the drive is one all the
/// same.
pub(super) fn readable(entries: Result<Vec<Entry>>) -> Result<Vec<Entry>> {
    match entries {
        Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing) => Ok(Vec::new()),
        done => done,
    }
}

/// Whether a file is surely as it was recorded: same kind, length, times and number, and settled when it was recorded.
pub(super) fn is_unchanged(known: &Entry, since: Time, stat: &Stat) -> bool {
    let EntryKind::File { size, .. } = known.kind else { return false };
    let meta = &known.meta;
    let same = stat.kind == source::Kind::File
        && size == stat.size
        && meta.mtime == time(stat.mtime)
        && meta.ctime == time(stat.ctime)
        && meta.inode == stat.ino;
    same && is_settled(known, since)
}

/// Whether what was recorded of a file is surely all of it: it did not change while it was read, and none of its times is
/// so late that it could have changed within the same tick afterwards.
pub(super) fn is_settled(known: &Entry, since: Time) -> bool {
    let EntryKind::File { unsettled: false, .. } = known.kind else { return false };
    let meta = &known.meta;
    let tick = if meta.ctime.nanos == 0 && meta.mtime.nanos == 0 { TICK_COARSE } else { TICK_FINE };
    nanos(meta.mtime.max(meta.ctime)) + tick < nanos(since)
}

fn nanos(time: Time) -> i128 {
    i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos)
}

pub(super) fn time(time: source::Time) -> Time {
    Time { secs: time.secs, nanos: time.nanos }
}
