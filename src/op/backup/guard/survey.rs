//! What became of the files of an earlier snapshot, as far as names, lengths and times tell. No file is read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::archive::{Budget, Claim, Reader, weights};
use crate::error::{Kind, Result};
use crate::format::{Entry, EntryKind, Time, Tree};
use crate::id::{ChunkId, FileHash};
use crate::op::backup::carry::presence;
use crate::op::backup::previous::{Previous, time};
use crate::op::{Observer, check_stop};
use crate::source::{self, Node, Presence, Stat, Unseen};

/// So many of the files that are changed are kept as a sample.
const SAMPLE: usize = 64;
/// So many paths of each sort are named.
pub(super) const EXAMPLES: usize = 3;
/// Between summer and winter, and from one end of the earth to the other, local time differs by no more hours.
const MAX_HOURS: i64 = 26;

/// What a file looks like from outside; photos that were moved keep it.
type Look = (u64, Time);

/// A file that is not as it was.
#[derive(Clone)]
pub(super) struct Changed {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    /// What it was.
    pub(super) hash: FileHash,
}

/// Files of the snapshot, and what became of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) files: u64,
    /// They are as they were.
    pub(super) same: u64,
    pub(super) lost: u64,
    pub(super) changed: u64,
    pub(super) unread: u64,
    pub(super) excluded: u64,
    /// Bytes of files that are new or changed: no more than these come into the archive.
    pub(super) coming: u64,
}

impl Seen {
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            files: self.files.saturating_add(more.files),
            same: self.same.saturating_add(more.same),
            lost: self.lost.saturating_add(more.lost),
            changed: self.changed.saturating_add(more.changed),
            unread: self.unread.saturating_add(more.unread),
            excluded: self.excluded.saturating_add(more.excluded),
            coming: self.coming.saturating_add(more.coming),
        }
    }
}

/// A comparison of sources with an earlier snapshot.
pub(super) struct Survey<'a> {
    reader: Reader<'a>,
    previous: &'a Previous,
    observer: &'a dyn Observer,
    /// Which source is looked at; no matter which where there are only single files.
    number: usize,
    /// What the walk through the snapshot may take; what is beyond it counts as not there.
    budget: Mutex<Budget<'a>>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Files under names that the snapshot does not have.
    come: HashMap<Look, u64>,
    /// Files under names that the source does not have, and where some of them were.
    gone: HashMap<Look, (u64, Vec<PathBuf>)>,
    /// Files of the same length whose time differs by so many whole hours.
    shifted: HashMap<i64, u64>,
    /// Some of those that are changed, by what depends on nothing but their paths.
    changed: BTreeMap<[u8; 32], Changed>,
}

/// All that was found.
pub(super) struct Found {
    pub(super) seen: Seen,
    /// Paths of some files that are lost, ascending.
    pub(super) lost: Vec<PathBuf>,
    /// Some of the files that are changed.
    pub(super) changed: Vec<Changed>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(reader: Reader<'a>, previous: &'a Previous, observer: &'a dyn Observer, number: usize) -> Self {
        let budget = Mutex::new(Budget::new(reader.archive()));
        Self { reader, previous, observer, number, budget, notes: Mutex::default() }
    }

    fn budget(&self) -> MutexGuard<'_, Budget<'a>> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares an entry of the snapshot with what is there now; its path is made where it is needed.
    pub(super) fn entry(&self, path: &dyn Fn() -> PathBuf, entry: &Entry, now: Option<&Node>) -> Result<Seen> {
        self.entry_at(path, entry, now, 0)
    }

    /// The same for one that lies in so many directories.
    fn entry_at(&self, path: &dyn Fn() -> PathBuf, entry: &Entry, now: Option<&Node>, depth: usize) -> Result<Seen> {
        match &entry.kind {
            EntryKind::Dir { tree, files, .. } => {
                let now = now.filter(|now| now.stat.kind == source::Kind::Dir);
                self.dir(&path(), (*tree, *files), now, depth + 1)
            }
            EntryKind::Symlink { .. } => Ok(Seen::default()),
            EntryKind::File { size, hash, .. } => {
                let (look, files) = ((*size, entry.meta.mtime), Seen { files: 1, ..Seen::default() });
                let Some(now) = now.filter(|now| now.stat.kind == source::Kind::File) else {
                    let mut notes = self.notes();
                    let (count, paths) = notes.gone.entry(look).or_default();
                    *count += 1;
                    if paths.len() < EXAMPLES {
                        paths.push(path());
                    }
                    return Ok(Seen { lost: 1, ..files });
                };
                let mtime = time(now.stat.mtime);
                if now.stat.size == *size && mtime == entry.meta.mtime {
                    return Ok(Seen { same: 1, ..files });
                }
                if let Some(hours) = hours_between(entry.meta.mtime, mtime).filter(|_| now.stat.size == *size) {
                    *self.notes().shifted.entry(hours).or_default() += 1;
                    return Ok(files);
                }
                let path = path();
                let rank = *blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes();
                let mut notes = self.notes();
                notes.changed.insert(rank, Changed { path, stat: now.stat, hash: *hash });
                if notes.changed.len() > SAMPLE {
                    notes.changed.pop_last();
                }
                Ok(Seen { changed: 1, coming: now.stat.size, ..files })
            }
        }
    }

    /// Whether the walk may go on into a directory with these entries.
    fn bears(&self, tree: &ChunkId, entries: &[Entry], held: u64) -> Result<bool> {
        let mut budget = self.budget();
        match budget.count(tree, entries, b"").and_then(|()| budget.hold(held, b"")) {
            Err(error) if error.kind() == Kind::Unsupported => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Compares a directory, and so many files that are said to lie below it, with what is there now.
    fn dir(&self, path: &Path, (tree, claimed): (ChunkId, u64), now: Option<&Node>, depth: usize) -> Result<Seen> {
        check_stop(self.observer)?;
        if self.budget().is_spent() {
            return Ok(Seen::default());
        }
        let known = self.previous.before(&self.reader, self.number, path, &tree)?;
        let entries = &known.entries;
        let held = weights(entries);
        if depth > Tree::MAX_DEPTH || !self.bears(&tree, entries, held)? {
            return Ok(Seen::default());
        }
        let (mut come, mut new) = (Seen::default(), 0_u64);
        for child in now.map_or(&[][..], |now| now.children.as_slice()) {
            let before = entries.binary_search_by(|entry| entry.name.as_slice().cmp(&child.name));
            match (child.stat.kind, before.ok().map(|at| &entries[at].kind)) {
                (source::Kind::File, Some(EntryKind::File { .. }))
                | (source::Kind::Dir, Some(EntryKind::Dir { .. })) => {}
                _ => {
                    let (files, bytes) = self.note_come(child);
                    (new, come.coming) = (new.saturating_add(files), come.coming.saturating_add(bytes));
                }
            }
        }
        if !known.is_whole() {
            come = come.and(unknown(claimed, entries, new, now));
        }
        let each = entries.par_iter().map(|entry| {
            let path = || path.join(source::name_of(&entry.name));
            match now.map_or(Presence::Gone, |now| presence(now, entry)) {
                // A directory that was not entered is there with all that it had.
                Presence::Here(now) => match now.unseen() {
                    Some(why) => Ok(unseen(entry, why)),
                    None => self.entry_at(&path, entry, Some(now), depth),
                },
                Presence::Unseen(why) => Ok(unseen(entry, why)),
                Presence::Gone => self.entry_at(&path, entry, None, depth),
            }
        });
        let seen = each.try_reduce(Seen::default, |one, other| Ok(one.and(other))).map(|seen| seen.and(come));
        self.budget().release(held);
        seen
    }

    /// Notes files that have come, and gives their number and bytes.
    fn note_come(&self, node: &Node) -> (u64, u64) {
        let (mut todo, mut files, mut bytes) = (vec![node], 0, 0_u64);
        while let Some(node) = todo.pop() {
            if node.stat.kind == source::Kind::File {
                (files, bytes) = (files + 1, bytes.saturating_add(node.stat.size));
                *self.notes().come.entry((node.stat.size, time(node.stat.mtime))).or_default() += 1;
            }
            todo.extend(&node.children);
        }
        (files, bytes)
    }

    /// Takes what is likely to be somewhere else for moved, and what lies a number of hours off like everything else for
    /// unchanged: on FAT, times are local ones, and all move with summer time.
    pub(super) fn finish(self, mut seen: Seen) -> Found {
        let mut notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let shift = notes.shifted.iter().max_by_key(|(hours, count)| (**count, **hours)).map(|(hours, _)| *hours);
        for (hours, count) in &notes.shifted {
            if Some(*hours) == shift {
                seen.same += count;
            } else {
                seen.changed += count;
            }
        }
        let (mut lost, mut unsure) = (Vec::new(), Vec::new());
        for ((size, mtime), (count, paths)) in notes.gone {
            let shifted = shift.map(|hours| (size, Time { secs: mtime.secs.saturating_add(hours * 3600), ..mtime }));
            let mut left = count;
            for look in [Some((size, mtime)), shifted].into_iter().flatten() {
                if let Some(come) = notes.come.get_mut(&look) {
                    let moved = left.min(*come);
                    (left, *come) = (left - moved, *come - moved);
                }
            }
            seen.lost -= count - left;
            seen.same += count - left;
            match left {
                0 => {}
                all if all == count => lost.extend(paths),
                // Some of those that look alike are somewhere else, and nobody knows which.
                some => unsure.extend(paths.into_iter().take(some as usize)),
            }
        }
        if lost.is_empty() {
            lost = unsure;
        }
        lost.sort_unstable();
        lost.truncate(EXAMPLES);
        Found { seen, lost, changed: notes.changed.into_values().collect() }
    }
}

/// What became of the files of a directory whose entries cannot be read: as many as there are new ones are taken to be there
/// still, and the others are lost, unless not all of the directory was seen.
fn unknown(claimed: u64, entries: &[Entry], new: u64, now: Option<&Node>) -> Seen {
    let files = claimed.saturating_sub(Claim::sum(entries).map_or(claimed, |sum| sum.files));
    let (same, left) = (files.min(new), files.saturating_sub(new));
    let seen = Seen { files, same, ..Seen::default() };
    match now.and_then(Node::missing) {
        None => Seen { lost: left, ..seen },
        Some(Unseen::Unread) => Seen { unread: left, ..seen },
        Some(Unseen::Excluded) => Seen { excluded: left, ..seen },
    }
}

fn unseen(entry: &Entry, why: Unseen) -> Seen {
    let files = match entry.kind {
        EntryKind::File { .. } => 1,
        EntryKind::Dir { files, .. } => files,
        EntryKind::Symlink { .. } => 0,
    };
    match why {
        Unseen::Unread => Seen { files, unread: files, ..Seen::default() },
        Unseen::Excluded => Seen { files, excluded: files, ..Seen::default() },
    }
}

/// By how many whole hours a time is later than another, unless it is none or too many.
fn hours_between(one: Time, other: Time) -> Option<i64> {
    let seconds = other.secs.checked_sub(one.secs).filter(|_| one.nanos == other.nanos)?;
    let hours = seconds / 3600;
    (hours != 0 && seconds % 3600 == 0 && hours.abs() <= MAX_HOURS).then_some(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_hours_are_a_shift() {
        let at = |secs, nanos| Time { secs, nanos };
        let shift = |secs, nanos| hours_between(at(1_700_000_000, 5), at(1_700_000_000 + secs, nanos));
        assert_eq!(shift(3600, 5), Some(1));
        assert_eq!(shift(-7200, 5), Some(-2));
        assert_eq!(shift(26 * 3600, 5), Some(26));
        for (secs, nanos) in [(0, 5), (3600, 6), (3601, 5), (1800, 5), (27 * 3600, 5), (i64::MAX - 1_700_000_000, 5)] {
            assert_eq!(shift(secs, nanos), None, "{secs} {nanos}");
        }
        assert_eq!(hours_between(at(i64::MIN, 0), at(i64::MAX, 0)), None);
    }
}
