//! Looking at snapshots: every directory is read, and every chunk that a file needs must be held.
//!
//! Directories are hostile: one may be named any number of times, so what is whole is looked at once, and what is damaged
//! at every place where it is named, but for no more files than anybody can read about.

use super::{AffectedFile, Check, LostChunk};
use crate::archive::{chunks_of, entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{Content, EntryKind, Tree};
use crate::id::{ChunkId, ChunkKind, SnapshotId};
use crate::op::check_stop;
use crate::view::{depth, join};

/// Once damage has touched so many files, directories that were looked at before are passed over.
const MANY: usize = 1 << 18;

/// How damage touches a file.
enum Touched {
    Not,
    /// Recovery data bring it back.
    Mended,
    Lost,
}

/// A directory to look below, or one whose last entry has been looked at: its tree, and what was touched before it.
enum Step {
    Enter(Vec<u8>, ChunkId),
    Leave(ChunkId, usize),
}

impl Check<'_> {
    /// Looks below a directory; trees that are known to be whole are not read again.
    pub(super) fn tree(&mut self, snapshot: &SnapshotId, path: &[u8], tree: &ChunkId) -> Result<()> {
        let mut todo = vec![Step::Enter(path.to_vec(), *tree)];
        while let Some(step) = todo.pop() {
            let (path, tree) = match step {
                Step::Enter(path, tree) if !self.passes_over(&tree) => (path, tree),
                Step::Enter(..) => continue,
                Step::Leave(tree, touched_before) => {
                    if self.touched() == touched_before {
                        self.clean.insert(tree);
                    }
                    continue;
                }
            };
            check_stop(self.observer)?;
            if depth(&path) > Tree::MAX_DEPTH {
                self.found.affected.push(AffectedFile { snapshot: *snapshot, path, size: 0 });
                continue;
            }
            let entries = match self.entered.insert(tree) {
                false if self.lost_trees.contains(&tree) => {
                    Err(Error::new(Kind::Missing, "reading a directory", "it was lost before"))
                }
                _ => entries_of(&self.archive.reader(), &tree),
            };
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) => {
                    self.lost_trees.insert(tree);
                    self.lost_chunk(snapshot, &path, ChunkKind::Tree, tree, 0, 0);
                    self.lost(snapshot, path, 0, error)?;
                    continue;
                }
            };
            todo.push(Step::Leave(tree, self.touched()));
            if !self.held.contains(&tree) {
                self.found.mended.push(AffectedFile { snapshot: *snapshot, path: path.clone(), size: 0 });
            }
            for entry in entries {
                let path = join(&path, &entry.name);
                match &entry.kind {
                    EntryKind::Dir { tree, .. } => todo.push(Step::Enter(path, *tree)),
                    EntryKind::File { size, content, .. } => match self.file(snapshot, &path, content, *size)? {
                        Touched::Not => {}
                        Touched::Mended => {
                            self.found.mended.push(AffectedFile { snapshot: *snapshot, path, size: *size });
                        }
                        Touched::Lost => {
                            self.found.affected.push(AffectedFile { snapshot: *snapshot, path, size: *size });
                        }
                    },
                    EntryKind::Symlink { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// How much damage was met in snapshots so far.
    fn touched(&self) -> usize {
        self.found.affected.len() + self.found.mended.len()
    }

    fn passes_over(&self, tree: &ChunkId) -> bool {
        self.clean.contains(tree) || (self.touched() >= MANY && self.entered.contains(tree))
    }

    /// What becomes of a file.
    fn file(&mut self, snapshot: &SnapshotId, path: &[u8], content: &Content, size: u64) -> Result<Touched> {
        let mut touched = match content {
            Content::List(list) if !self.held.contains(list) => Touched::Mended,
            _ => Touched::Not,
        };
        let chunks = match chunks_of(&self.archive.reader(), content, size) {
            Ok(chunks) => chunks,
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) => {
                if let Content::List(list) = content {
                    self.lost_chunk(snapshot, path, ChunkKind::List, *list, 0, 0);
                }
                return Ok(Touched::Lost);
            }
            Err(error) => return Err(error),
        };
        let mut offset = 0;
        for chunk in chunks {
            if self.held.contains(&chunk.id) {
            } else if !self.held_mended.contains(&chunk.id) {
                self.lost_chunk(snapshot, path, ChunkKind::Data, chunk.id, offset, chunk.len);
                touched = Touched::Lost;
            } else if matches!(touched, Touched::Not) {
                touched = Touched::Mended;
            }
            offset += u64::from(chunk.len);
        }
        Ok(touched)
    }

    fn lost_chunk(&mut self, snapshot: &SnapshotId, path: &[u8], kind: ChunkKind, id: ChunkId, offset: u64, len: u32) {
        self.found.lost.push(LostChunk { kind, id, snapshot: *snapshot, path: path.to_vec(), offset, len });
    }

    fn lost(&mut self, snapshot: &SnapshotId, path: Vec<u8>, size: u64, error: Error) -> Result<()> {
        if !matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) {
            return Err(error);
        }
        self.found.affected.push(AffectedFile { snapshot: *snapshot, path, size });
        Ok(())
    }
}
