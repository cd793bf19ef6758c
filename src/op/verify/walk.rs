//! Looking at snapshots: every directory is read, every chunk that a file needs must be held as what it is needed for,
//! and a directory must hold as much as is said of it.
//!
//! Directories are hostile: one may be named any number of times, so what is whole is looked at once, and what is damaged
//! at every place where it is named, but for no more files than anybody can read about.

use super::content::{key, told_by_names};
use super::held::{Held, Holding};
use super::{AffectedFile, Check, LostChunk, WrongFile};
use crate::archive::{chunks_of, entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{Content, Entry, EntryKind, Tree};
use crate::id::{ChunkId, ChunkKind, FileHash, SnapshotId};
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
    /// All its parts are there, and it is something else than was recorded.
    Wrong(&'static str),
}

/// How many files and links lie below a directory, and how many bytes.
type Sums = (u64, u64);

/// A directory to look below, with what is said of it; or one whose last entry has been looked at: its tree, what it
/// holds, and what was touched before it.
enum Step {
    Enter(Vec<u8>, ChunkId, Option<Sums>),
    Leave(ChunkId, Sums, usize),
}

const WRONG_BYTES: &str = "its parts give other bytes than were recorded";
const WRONG_SUMS: &str = "it holds more or fewer files than is said of it";
const TOO_DEEP: &str = "it lies in too many directories";

impl Check<'_> {
    /// Looks below the top of a snapshot; trees that are known to be whole are not read again.
    pub(super) fn tree(&mut self, snapshot: &SnapshotId, tree: &ChunkId) -> Result<()> {
        let mut todo = vec![Step::Enter(Vec::new(), *tree, None)];
        while let Some(step) = todo.pop() {
            let (path, tree, said) = match step {
                Step::Enter(path, tree, said) if !self.passes_over(&tree) => (path, tree, said),
                Step::Enter(path, tree, said) => {
                    let sums = self.clean.get(&tree).copied();
                    self.holds_as_said(snapshot, &path, sums, said);
                    continue;
                }
                Step::Leave(tree, sums, touched_before) => {
                    if self.touched() == touched_before {
                        self.clean.insert(tree, sums);
                    }
                    continue;
                }
            };
            check_stop(self.observer)?;
            let affected = |path: &[u8], size| AffectedFile { snapshot: *snapshot, path: path.to_vec(), size };
            if depth(&path) > Tree::MAX_DEPTH {
                self.found.affected.push(affected(&path, 0));
                self.found.wrong.push(WrongFile { file: affected(&path, 0), why: TOO_DEEP });
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
            let sums = sums_of(&entries);
            self.holds_as_said(snapshot, &path, Some(sums), said);
            todo.push(Step::Leave(tree, sums, self.touched()));
            if !self.held.has(&tree, ChunkKind::Tree) {
                self.found.mended.push(affected(&path, 0));
            }
            for entry in entries {
                let path = join(&path, &entry.name);
                match &entry.kind {
                    EntryKind::Dir { tree, files, bytes } => {
                        todo.push(Step::Enter(path, *tree, Some((*files, *bytes))));
                    }
                    EntryKind::File { size, content, hash, .. } => {
                        match self.file(snapshot, &path, content, *size, hash)? {
                            Touched::Not => {}
                            Touched::Mended => self.found.mended.push(affected(&path, *size)),
                            Touched::Lost => self.found.affected.push(affected(&path, *size)),
                            Touched::Wrong(why) => {
                                self.found.affected.push(affected(&path, *size));
                                self.found.wrong.push(WrongFile { file: affected(&path, *size), why });
                            }
                        }
                    }
                    EntryKind::Symlink { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Notes a directory that does not hold what is said of it.
    fn holds_as_said(&mut self, snapshot: &SnapshotId, path: &[u8], sums: Option<Sums>, said: Option<Sums>) {
        if let (Some(sums), Some(said)) = (sums, said)
            && sums != said
        {
            let file = AffectedFile { snapshot: *snapshot, path: path.to_vec(), size: said.1 };
            self.found.wrong.push(WrongFile { file, why: WRONG_SUMS });
        }
    }

    /// How much damage was met in snapshots so far.
    fn touched(&self) -> usize {
        self.found.affected.len() + self.found.mended.len() + self.found.wrong.len()
    }

    fn passes_over(&self, tree: &ChunkId) -> bool {
        self.clean.contains_key(tree) || (self.touched() >= MANY && self.entered.contains(tree))
    }

    /// What becomes of a file.
    fn file(
        &mut self,
        snapshot: &SnapshotId,
        path: &[u8],
        content: &Content,
        size: u64,
        hash: &FileHash,
    ) -> Result<Touched> {
        let mut touched = match content {
            Content::List(list) if !self.held.has(list, ChunkKind::List) => Touched::Mended,
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
            let holds = |held: &Held| held.holds(&chunk.id, ChunkKind::Data, Some(chunk.len));
            match (holds(&self.held), holds(&self.held_mended)) {
                (Holding::Yes, _) => {}
                (_, Holding::Yes) if matches!(touched, Touched::Not) => touched = Touched::Mended,
                (_, Holding::Yes) => {}
                (Holding::Otherwise(why), _) | (_, Holding::Otherwise(why)) => return Ok(Touched::Wrong(why)),
                (Holding::No, Holding::No) => {
                    self.lost_chunk(snapshot, path, ChunkKind::Data, chunk.id, offset, chunk.len);
                    touched = Touched::Lost;
                }
            }
            offset += u64::from(chunk.len);
        }
        let wrong = told_by_names(hash, content) == Some(false) || self.contents.is_wrong(&key(hash, size, content));
        Ok(if wrong && !matches!(touched, Touched::Lost) { Touched::Wrong(WRONG_BYTES) } else { touched })
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

/// What the entries of a directory add up to, whatever they say.
fn sums_of(entries: &[Entry]) -> Sums {
    entries.iter().fold((0, 0), |(files, bytes), entry| {
        let (more, size) = match entry.kind {
            EntryKind::File { size, .. } => (1, size),
            EntryKind::Dir { files, bytes, .. } => (files, bytes),
            EntryKind::Symlink { .. } => (1, 0),
        };
        (files.saturating_add(more), bytes.saturating_add(size))
    })
}
