//! What is in the source and was not read this time: it is carried forward as an earlier snapshot has it.
//!
//! A photo that cannot be read, or that a rule leaves out now, is not deleted. Its entry goes into the new snapshot as the
//! previous one has it, marked so that nobody takes it for what was read now. An entry that is marked is no evidence later
//! on: what it stands for is read as soon as it can be.

use std::collections::HashMap;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::run::{Now, Run};
use crate::archive::{Budget, weights};
use crate::error::{Kind, Result};
use crate::format::{Carried, Entry, EntryKind, Tree};
use crate::id::ChunkId;
use crate::op::{Action, Event, check_stop};
use crate::source::{self, Node, Presence, Unseen};

/// Files and links that are in a snapshot as an earlier one has them, by why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// They could not be read.
    pub unread: u64,
    /// A rule leaves them out.
    pub excluded: u64,
}

/// The same while it is counted.
#[derive(Default)]
pub(super) struct Keeping {
    unread: AtomicU64,
    excluded: AtomicU64,
}

impl Keeping {
    pub(super) fn kept(&self) -> Kept {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Kept { unread: count(&self.unread), excluded: count(&self.excluded) }
    }
}

/// What is below a directory, at any depth.
#[derive(Clone, Copy, Default)]
pub(super) struct Below {
    files: u64,
    dirs: u64,
    symlinks: u64,
    bytes: u64,
    /// Files that the archive no longer has whole.
    lost: u64,
}

impl Below {
    fn add(&mut self, more: Self) {
        self.files = self.files.saturating_add(more.files);
        self.dirs = self.dirs.saturating_add(more.dirs);
        self.symlinks = self.symlinks.saturating_add(more.symlinks);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.lost = self.lost.saturating_add(more.lost);
    }
}

impl Run<'_> {
    /// An entry that stands for what is there and was not read, and all below it.
    pub(super) fn carry(&self, path: &Path, known: &Entry, why: Unseen) -> Result<Now> {
        let below = self.below(known, 0, &mut Budget::new(self.reader.archive()))?;
        for (counter, number) in [
            (&self.counts.files, below.files),
            (&self.counts.dirs, below.dirs),
            (&self.counts.symlinks, below.symlinks),
            (&self.counts.bytes, below.bytes),
        ] {
            counter.fetch_add(number, Ordering::Relaxed);
        }
        let (mark, counter) = match why {
            Unseen::Unread => (Carried::Unread, &self.keeping.unread),
            Unseen::Excluded => (Carried::Excluded, &self.keeping.excluded),
        };
        counter.fetch_add(below.files.saturating_add(below.symlinks), Ordering::Relaxed);
        self.observer.event(Event::Item { action: Action::Carried(why), path, size: below.bytes });
        if below.lost > 0 {
            let what = if below.lost == 1 { "a part".to_owned() } else { format!("{} files", below.lost) };
            self.trouble(path, format!("it was not read now, and the archive no longer has {what} of it whole"));
        }
        if known.meta.carried == Some(mark) {
            return Ok(Now::Same);
        }
        let mut entry = known.clone();
        entry.meta.carried = Some(mark);
        Ok(Now::Other(Box::new(entry)))
    }

    /// What an entry is and holds. A directory is read once, however often it is named; of one that is damaged nothing is
    /// known, and it is counted as an empty one; so is one that claims more than the archive holds.
    fn below(&self, entry: &Entry, depth: usize, budget: &mut Budget<'_>) -> Result<Below> {
        let tree = match entry.kind {
            EntryKind::File { size, .. } => {
                let lost = u64::from(!self.all_held && !self.holds_content(entry)?);
                return Ok(Below { files: 1, bytes: size, lost, ..Below::default() });
            }
            EntryKind::Symlink { .. } => return Ok(Below { symlinks: 1, ..Below::default() }),
            EntryKind::Dir { tree, .. } => tree,
        };
        if let Some(known) = self.counted_trees().get(&tree) {
            return Ok(*known);
        }
        check_stop(self.observer)?;
        let mut sum = Below { dirs: 1, ..Below::default() };
        if depth < Tree::MAX_DEPTH {
            let entries = match budget.enter(&tree, b"") {
                Err(error) if error.kind().is_of_an_object() || error.kind() == Kind::Unsupported => {
                    sum.lost = 1;
                    Vec::new()
                }
                entries => entries?,
            };
            let held = weights(&entries);
            if budget.hold(held, b"").is_ok() {
                for entry in &entries {
                    sum.add(self.below(entry, depth + 1, budget)?);
                }
            }
            budget.release(held);
        }
        self.counted_trees().insert(tree, sum);
        Ok(sum)
    }

    fn counted_trees(&self) -> std::sync::MutexGuard<'_, HashMap<ChunkId, Below>> {
        self.counted_trees.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what is known of a path is of the kind that is there now: else that is gone, and this is something new.
pub(super) fn is_of_kind(known: &Entry, kind: source::Kind) -> bool {
    kind_of(known) == kind
}

/// What is known in this directory of the thing that was recorded as this entry.
pub(super) fn presence<'n>(node: &'n Node, known: &Entry) -> Presence<'n> {
    node.below(&known.name, kind_of(known))
}

fn kind_of(known: &Entry) -> source::Kind {
    match known.kind {
        EntryKind::File { .. } => source::Kind::File,
        EntryKind::Dir { .. } => source::Kind::Dir,
        EntryKind::Symlink { .. } => source::Kind::Symlink,
    }
}
