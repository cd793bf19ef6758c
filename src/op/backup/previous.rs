//! What the snapshots so far say of the same sources: by it unchanged files are recognised, without reading them.

use super::{BackupOptions, Root, bytes};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::{Archive, Reader, entries_of};
use crate::error::{Kind, Result};
use crate::format::{Entry, EntryKind, Snapshot, Source, Time};
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
}

impl Previous {
    pub(super) fn find(archive: &Archive, options: &BackupOptions, roots: &[Root]) -> Result<Self> {
        let all = archive.snapshots();
        let sequence = all.last().map_or(0, |(_, last)| last.sequence);
        let ours = || all.iter().rev().filter(|(_, snapshot)| snapshot.host == options.host);
        let paths: Vec<Vec<u8>> = roots.iter().map(|root| bytes(&root.path)).collect();
        let same = |snapshot: &Snapshot| {
            snapshot.sources.len() == paths.len() && snapshot.sources.iter().all(|source| paths.contains(&source.path))
        };
        let newest = ours().find(|(_, snapshot)| same(snapshot)).map(|(id, snapshot)| (*id, snapshot.tree));
        let mut known = Vec::new();
        for path in &paths {
            let found = ours().find_map(|(id, snapshot)| {
                Some((id, snapshot, snapshot.sources.iter().find(|source| source.path == *path)?))
            });
            known.push(match found {
                Some((id, snapshot, source)) => entry(archive, id, snapshot, source)?,
                None => None,
            });
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

/// A source's entry. What is damaged is as good as not there: the source is read again, which mends it.
fn entry(archive: &Archive, id: &SnapshotId, snapshot: &Snapshot, source: &Source) -> Result<Option<Known>> {
    let entries = readable(entries_of(&archive.reader(), &snapshot.tree))?;
    let entry = entries.into_iter().find(|entry| entry.name == source.name);
    let device = |entry: &Entry| source.devices.get(usize::try_from(entry.meta.device).ok()?).map(|device| device.0);
    Ok(entry.map(|entry| Known { device: device(&entry), since: snapshot.time, snapshot: *id, entry }))
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
