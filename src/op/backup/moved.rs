//! Files that have another name now: what the previous snapshot had and the source no longer has under that name.
//!
//! A file is taken for one of them, without being read, if it lies on the same device of the source under the same inode
//! number and has the same length and modification time. That is sound only where inode numbers stay with their files. FAT
//! and exFAT make them up, and give themselves away by times that are whole hundredths of a second; a file whose last
//! change of metadata was recorded so is read again instead, and its chunks are found to be known. Either way a file whose
//! bytes are those of one that is gone counts as moved, and each that is gone counts once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::previous::{bearable, is_settled, time};
use super::{Previous, Root};
use crate::archive::{Budget, Reader, weight};
use crate::error::Result;
use crate::format::{Entry, EntryKind};
use crate::id::{ChunkId, FileHash};
use crate::source::{Kind, Node, Stat};

/// Times on FAT and exFAT are multiples of this, in nanoseconds.
const COARSE: u32 = 10_000_000;

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
            let mut todo: Vec<(ChunkId, Option<&Node>)> = vec![(*tree, Some(&root.scan.node))];
            while let Some((tree, node)) = todo.pop() {
                for entry in bearable(budget.enter(&tree, b""))? {
                    let now = node.and_then(|node| child(node, &entry.name));
                    match (&entry.kind, now.map(|now| now.stat.kind)) {
                        (EntryKind::Dir { tree, .. }, Some(Kind::Dir)) => todo.push((*tree, now)),
                        (EntryKind::Dir { tree, .. }, _) => todo.push((*tree, None)),
                        (EntryKind::File { size, hash, .. }, now) if now != Some(Kind::File) => {
                            if *size > 0 {
                                *gone.entry(*hash).or_default() += 1;
                            }
                            let settled = is_settled(&entry, known.since) && entry.meta.ctime.nanos % COARSE != 0;
                            // One that is not remembered is read, and its chunks are known.
                            if settled && budget.hold(weight(&entry), b"").is_ok() {
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

    /// The file that this one was, if it was one.
    pub(super) fn origin(&self, root: usize, device: u64, stat: &Stat) -> Option<&Entry> {
        let entry = self.files.get(&(root, device, stat.ino))?;
        let EntryKind::File { size, .. } = entry.kind else { return None };
        (size == stat.size && entry.meta.mtime == time(stat.mtime)).then_some(entry)
    }
}

fn child<'n>(node: &'n Node, name: &[u8]) -> Option<&'n Node> {
    node.children.binary_search_by(|child| child.name[..].cmp(name)).ok().map(|at| &node.children[at])
}
