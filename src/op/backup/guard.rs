//! The guard: a source that looks as if something had happened to it is not recorded unless the user says so.
//!
//! A drive that is not mounted, a folder that was emptied, photos that a program has encrypted: a snapshot of that would
//! be the newest, and what it lacks would look deleted. Names, lengths and times are compared with the previous
//! snapshot; no file is read, and nothing is written before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::previous::{Known, Previous, time};
use super::{BackupOptions, Root};
use crate::archive::{Archive, Budget, Reader, weights};
use crate::error::{Error, Kind, Result};
use crate::format::{Entry, EntryKind, Time, Tree};
use crate::id::ChunkId;
use crate::op::{Observer, check_stop};
use crate::source::{self, Node};

/// So few files may always be lost or changed.
const FEW: u64 = 50;

/// Refuses sources that are empty, lie on another device, or have lost or changed too much.
///
/// # Errors
/// [`Kind::Loss`], or the archive's error.
pub(super) fn check(
    archive: &Archive,
    options: &BackupOptions,
    roots: &[Root],
    previous: &Previous,
    observer: &dyn Observer,
) -> Result<()> {
    let Some(percent) = options.max_loss else { return Ok(()) };
    for (number, root) in roots.iter().enumerate() {
        if let Some(known) = previous.root(number)
            && let Some(why) = doubt(archive, root, known, percent, previous, observer)?
        {
            return Err(Error::new(Kind::Loss, format!("backing up {}", root.path.display()), why));
        }
    }
    Ok(())
}

/// What is wrong with a source, if anything is.
fn doubt(
    archive: &Archive,
    root: &Root,
    known: &Known,
    percent: u8,
    previous: &Previous,
    observer: &dyn Observer,
) -> Result<Option<String>> {
    let snapshot = known.snapshot.short();
    let stat = &root.scan.node.stat;
    let EntryKind::Dir { tree, files, .. } = &known.entry.kind else {
        return Ok((stat.kind == source::Kind::Dir && root.scan.files + root.scan.links == 0)
            .then(|| format!("it is an empty folder now; in snapshot {snapshot} it is a file")));
    };
    if *files > 0 && root.scan.files + root.scan.links == 0 {
        return Ok(Some(format!("it is empty now; snapshot {snapshot} has {} in it", counted(*files))));
    }
    // A device may get another number at each start of the computer, but a folder keeps its own on the device.
    if known.device.is_some_and(|device| device != stat.dev) && known.entry.meta.inode != stat.ino {
        return Ok(Some(format!("it is on another device than in snapshot {snapshot}")));
    }
    let compare = Compare {
        reader: archive.reader(),
        previous,
        observer,
        budget: Mutex::new(Budget::new(archive)),
        come: Mutex::default(),
        gone: Mutex::default(),
    };
    let seen = compare.dir(*tree, Some(&root.scan.node), 1)?;
    let lost = seen.lost.saturating_sub(compare.moved());
    let affected = lost + seen.changed;
    if affected < FEW || affected * 100 <= u64::from(percent) * seen.files {
        return Ok(None);
    }
    let all = counted(seen.files);
    Ok(Some(match (lost, seen.changed) {
        (lost, 0) => format!("it has lost {lost} of the {all} that snapshot {snapshot} has"),
        (0, changed) => format!("{changed} of the {all} that snapshot {snapshot} has are changed"),
        (lost, changed) => {
            format!("of the {all} that snapshot {snapshot} has it has lost {lost}, and {changed} are changed")
        }
    }))
}

fn counted(files: u64) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

/// What a file looks like from outside; photos that were moved keep it.
type Look = (u64, Time);

struct Compare<'a> {
    reader: Reader<'a>,
    previous: &'a Previous,
    observer: &'a dyn Observer,
    /// What the walk through the snapshot may take; what is beyond it counts as not there.
    budget: Mutex<Budget<'a>>,
    /// Files under names that the snapshot does not have.
    come: Mutex<HashMap<Look, u64>>,
    /// Files under names that the source does not have.
    gone: Mutex<HashMap<Look, u64>>,
}

/// Files of the snapshot, and what became of them.
#[derive(Default)]
struct Seen {
    files: u64,
    lost: u64,
    changed: u64,
}

impl Compare<'_> {
    /// Compares a directory of the snapshot, which lies so deep, with what is there now.
    fn dir(&self, tree: ChunkId, now: Option<&Node>, depth: usize) -> Result<Seen> {
        check_stop(self.observer)?;
        if self.budget.lock().unwrap_or_else(PoisonError::into_inner).is_spent() {
            return Ok(Seen::default());
        }
        let entries = self.previous.entries(&self.reader, &tree)?;
        let held = weights(&entries);
        if depth > Tree::MAX_DEPTH || !self.bears(&tree, &entries, held)? {
            return Ok(Seen::default());
        }
        let children = now.map_or(&[][..], |node| node.children.as_slice());
        let known = |name: &[u8]| entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok();
        for child in children {
            let before = known(&child.name).map(|at| &entries[at].kind);
            match (child.stat.kind, before) {
                (source::Kind::File, Some(EntryKind::File { .. }))
                | (source::Kind::Dir, Some(EntryKind::Dir { .. })) => {}
                _ => self.note_come(child),
            }
        }
        let each = entries.par_iter().map(|entry| {
            let now = children.binary_search_by(|child| child.name[..].cmp(&entry.name)).ok().map(|at| &children[at]);
            self.entry(entry, now, depth)
        });
        let seen = each.try_reduce(Seen::default, |one, other| {
            let (files, lost) = (one.files + other.files, one.lost + other.lost);
            Ok(Seen { files, lost, changed: one.changed + other.changed })
        });
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).release(held);
        seen
    }

    /// Whether the walk may go on into a directory with these entries.
    fn bears(&self, tree: &ChunkId, entries: &[Entry], held: u64) -> Result<bool> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        match budget.count(tree, entries, b"").and_then(|()| budget.hold(held, b"")) {
            Err(error) if error.kind() == Kind::Unsupported => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn entry(&self, entry: &Entry, now: Option<&Node>, depth: usize) -> Result<Seen> {
        match &entry.kind {
            EntryKind::Dir { tree, .. } => {
                self.dir(*tree, now.filter(|now| now.stat.kind == source::Kind::Dir), depth + 1)
            }
            EntryKind::Symlink { .. } => Ok(Seen::default()),
            EntryKind::File { size, .. } => {
                let look = (*size, entry.meta.mtime);
                let now = now.filter(|now| now.stat.kind == source::Kind::File);
                if now.is_none() {
                    add(&self.gone, look);
                }
                let changed = now.is_some_and(|now| look != (now.stat.size, time(now.stat.mtime)));
                Ok(Seen { files: 1, lost: u64::from(now.is_none()), changed: u64::from(changed) })
            }
        }
    }

    fn note_come(&self, node: &Node) {
        let mut todo = vec![node];
        while let Some(node) = todo.pop() {
            if node.stat.kind == source::Kind::File {
                add(&self.come, (node.stat.size, time(node.stat.mtime)));
            }
            todo.extend(&node.children);
        }
    }

    /// How many of the lost files are likely to be somewhere else in the source.
    fn moved(&self) -> u64 {
        let come = self.come.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().map(|(look, count)| *count.min(come.get(look).unwrap_or(&0))).sum()
    }
}

fn add(looks: &Mutex<HashMap<Look, u64>>, look: Look) {
    *looks.lock().unwrap_or_else(PoisonError::into_inner).entry(look).or_default() += 1;
}
