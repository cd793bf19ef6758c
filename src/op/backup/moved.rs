//! Files that have another name now: what the previous snapshot had and the source no longer has under that name.
//!
//! A file that lay in a folder that has another name now is taken for the one that it was, without being read, where the
//! evidence says so. Any other file is read, and its chunks are found to be known. Either way a file whose bytes are those
//! of one that is gone counts as moved, and each that is gone counts once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::before::Before;
use super::carry::presence;
use super::evidence::Grounds;
use super::{Previous, Root};
use crate::archive::{Budget, Reader, weight};
use crate::error::Result;
use crate::format::{Entry, EntryKind};
use crate::id::{ChunkId, FileHash};
use crate::source::{Kind, Node, Presence, Stat};

/// Files that are gone from where they were, by source, device and inode number.
pub(super) struct Moved {
    files: HashMap<(usize, u64, u64), Entry>,
    /// How many files with this content are gone from where they were, and have not been met elsewhere.
    gone: Mutex<HashMap<FileHash, u64>>,
}

impl Moved {
    /// Compares the sources with what the archive has of them, by names alone.
    pub(super) fn find(reader: &Reader<'_>, roots: &[Root], previous: &Previous) -> Result<Self> {
        let (mut files, mut gone) = (HashMap::new(), HashMap::new());
        let mut budget = Budget::new(reader.archive());
        for (number, root) in roots.iter().enumerate() {
            let Some(known) = previous.root(number) else { continue };
            let EntryKind::Dir { tree, .. } = &known.entry.kind else { continue };
            let carried = known.entry.meta.carried.is_some();
            let mut todo: Vec<(ChunkId, Option<&Node>, bool)> = vec![(*tree, Some(&root.scan.node), carried)];
            while let Some((tree, node, carried)) = todo.pop() {
                for entry in Before::enter(&mut budget, &tree)?.entries {
                    // What was not read is not known to be gone.
                    let now = match node.map_or(Presence::Gone, |node| presence(node, &entry)) {
                        Presence::Here(node) => Some(node),
                        Presence::Unseen(_) => continue,
                        Presence::Gone => None,
                    };
                    let carried = carried || entry.meta.carried.is_some();
                    match (&entry.kind, now.map(|now| now.stat.kind)) {
                        (EntryKind::Dir { tree, .. }, Some(Kind::Dir)) => todo.push((*tree, now, carried)),
                        (EntryKind::Dir { tree, .. }, _) => todo.push((*tree, None, carried)),
                        (EntryKind::File { size, hash, .. }, now) if now != Some(Kind::File) => {
                            if *size > 0 {
                                *gone.entry(*hash).or_default() += 1;
                            }
                            // What an earlier run recorded is older than the start of the one that is compared with. One
                            // that is not remembered is read, and its chunks are known.
                            if !carried && budget.hold(weight(&entry), b"").is_ok() {
                                files.insert((number, entry.meta.device, entry.meta.inode), entry);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(Self { files, gone: Mutex::new(gone) })
    }

    /// Whether a file with this content, met under a new name, is one of those that are gone.
    pub(super) fn claim(&self, kind: &EntryKind) -> bool {
        let EntryKind::File { hash, .. } = kind else { return false };
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        match gone.get_mut(hash) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// The file that this one was, if it surely was one.
    pub(super) fn origin(&self, root: usize, grounds: &Grounds, stat: &Stat) -> Option<&Entry> {
        let entry = self.files.get(&(root, grounds.of(stat.dev).device?, stat.ino))?;
        grounds.evidence(entry, stat).is_moved().then_some(entry)
    }
}
