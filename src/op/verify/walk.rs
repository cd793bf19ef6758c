//! Looking at snapshots: every directory is read, every chunk that a file needs must be held as what it is needed for,
//! and a directory must hold as much as is said of it.
//!
//! Directories are hostile: one may be named any number of times, so what is whole is looked at once, and what is damaged
//! at every place where it is named, but for no more files than anybody can read about.

use std::sync::Arc;

use super::content::{key, told_by_names};
use super::held::{Held, Holding};
use super::{AffectedFile, Check, LostChunk, WrongFile};
use crate::archive::{Claim, each_chunk, entries_of, lies_too_deep};
use crate::error::{Error, Kind, Result};
use crate::format::{Content, EntryKind};
use crate::id::{ChunkId, ChunkKind, FileHash, SnapshotId};
use crate::op::check_stop;
use crate::view::join;

/// Once damage has touched so many files, directories that were looked at before are passed over.
const MANY: usize = 1 << 18;
/// Lost chunks of one file that are told.
const MANY_CHUNKS: usize = 1 << 16;
/// Once paths of so many bytes are told, others are told by so many of their last bytes.
const MANY_BYTES: usize = 64 << 20;
const SHORT: usize = 200;
/// False counts of directories that are told.
const MANY_CLAIMS: usize = 1000;

/// How damage touches a file.
enum Touched {
    Not,
    /// Recovery data bring it back.
    Mended,
    Lost,
    /// All its parts are there, and it is something else than was recorded.
    Wrong(&'static str),
}

/// A directory to look below: the path of the one that it lies in, its name, its tree and what it says of itself; or one
/// whose last entry has been looked at: its tree, and what was touched before it.
enum Step {
    Enter(Arc<[u8]>, Vec<u8>, ChunkId, Option<Claim>),
    Leave(ChunkId, usize),
}

const WRONG_BYTES: &str = "its parts give other bytes than were recorded";
const TOO_DEEP: &str = "it lies in too many directories";

impl Check<'_> {
    /// Looks below the top of a snapshot; trees that are known to be whole are not read again.
    pub(super) fn tree(&mut self, snapshot: &SnapshotId, tree: &ChunkId) -> Result<()> {
        let mut todo = vec![Step::Enter(Arc::from(&b""[..]), Vec::new(), *tree, None)];
        while let Some(step) = todo.pop() {
            let (path, tree, claim) = match step {
                Step::Enter(above, name, tree, claim) if !self.passes_over(&tree) => (join(&above, &name), tree, claim),
                Step::Enter(above, name, tree, claim) => {
                    if let (Some(claim), Some(sum)) = (claim, self.sums.get(&tree).copied()) {
                        self.claim(snapshot, &join(&above, &name), claim, sum);
                    }
                    continue;
                }
                Step::Leave(tree, touched_before) => {
                    if self.touched() == touched_before {
                        self.clean.insert(tree);
                    }
                    continue;
                }
            };
            check_stop(self.observer)?;
            if lies_too_deep(&path) {
                self.wrong(snapshot, path, 0, None, TOO_DEEP);
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
            let sum = Claim::sum(&entries);
            self.sums.insert(tree, sum);
            if let Some(claim) = claim {
                self.claim(snapshot, &path, claim, sum);
            }
            todo.push(Step::Leave(tree, self.touched()));
            if !self.held.has(&tree, ChunkKind::Tree) {
                self.mend(snapshot, path.clone(), 0, None);
            }
            let above: Arc<[u8]> = Arc::from(path);
            for entry in entries {
                let claim = Claim::of(&entry);
                match &entry.kind {
                    EntryKind::Dir { tree, .. } => {
                        todo.push(Step::Enter(Arc::clone(&above), entry.name, *tree, claim));
                    }
                    EntryKind::File { size, content, hash, .. } => {
                        let path = join(&above, &entry.name);
                        match self.file(snapshot, &path, content, *size, hash)? {
                            Touched::Not => {}
                            Touched::Mended => self.mend(snapshot, path, *size, Some(*hash)),
                            Touched::Lost => self.lose(snapshot, path, *size, Some(*hash)),
                            Touched::Wrong(why) => self.wrong(snapshot, path, *size, Some(*hash), why),
                        }
                    }
                    EntryKind::Symlink { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Holds what a directory says of itself against what its entries add up to.
    fn claim(&mut self, snapshot: &SnapshotId, path: &[u8], claim: Claim, sum: Option<Claim>) {
        if let Some(wrong) = claim.held_against(sum)
            && self.found.false_claims.len() < MANY_CLAIMS
        {
            self.found.false_claims.push((*snapshot, path.to_vec(), wrong));
        }
    }

    /// How much damage was met in snapshots so far.
    fn touched(&self) -> usize {
        self.found.affected.len() + self.found.mended.len() + self.found.wrong.len()
    }

    fn passes_over(&self, tree: &ChunkId) -> bool {
        self.clean.contains(tree) || (self.touched() >= MANY && self.entered.contains(tree))
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
        let (mut offset, mut told, mut otherwise) = (0, 0, None);
        let archive = self.archive;
        let looked = each_chunk(&archive.reader(), content, size, &mut |chunks| {
            check_stop(self.observer)?;
            for chunk in chunks {
                let holds = |held: &Held| held.holds(&chunk.id, ChunkKind::Data, Some(chunk.len));
                match (holds(&self.held), holds(&self.held_mended)) {
                    (Holding::Yes, _) => {}
                    (_, Holding::Yes) if matches!(touched, Touched::Not) => touched = Touched::Mended,
                    (_, Holding::Yes) => {}
                    (Holding::Otherwise(why), _) | (_, Holding::Otherwise(why)) => {
                        otherwise = otherwise.or(Some(why));
                    }
                    (Holding::No, Holding::No) => {
                        // A file may name one lost chunk millions of times.
                        if told < MANY_CHUNKS {
                            self.lost_chunk(snapshot, path, ChunkKind::Data, chunk.id, offset, chunk.len);
                            told += 1;
                        }
                        touched = Touched::Lost;
                    }
                }
                offset += u64::from(chunk.len);
            }
            Ok(())
        });
        match looked {
            Ok(()) => {}
            Err(error) if error.kind().is_of_an_object() => {
                if let Content::List(list) = content {
                    self.lost_chunk(snapshot, path, ChunkKind::List, *list, 0, 0);
                }
                return Ok(Touched::Lost);
            }
            Err(error) => return Err(error),
        }
        if let Some(why) = otherwise {
            return Ok(Touched::Wrong(why));
        }
        let wrong = told_by_names(hash, content) == Some(false) || self.contents.is_wrong(&key(hash, size, content));
        Ok(if wrong && !matches!(touched, Touched::Lost) { Touched::Wrong(WRONG_BYTES) } else { touched })
    }

    fn lost_chunk(&mut self, snapshot: &SnapshotId, path: &[u8], kind: ChunkKind, id: ChunkId, offset: u64, len: u32) {
        let path = self.told_path(path.to_vec());
        self.found.lost.push(LostChunk { kind, id, snapshot: *snapshot, path, offset, len });
    }

    fn lost(&mut self, snapshot: &SnapshotId, path: Vec<u8>, size: u64, error: Error) -> Result<()> {
        if !error.kind().is_of_an_object() {
            return Err(error);
        }
        self.lose(snapshot, path, size, None);
        Ok(())
    }

    fn lose(&mut self, snapshot: &SnapshotId, path: Vec<u8>, size: u64, content: Option<FileHash>) {
        let path = self.told_path(path);
        self.found.affected.push(AffectedFile { snapshot: *snapshot, path, size, content });
    }

    fn mend(&mut self, snapshot: &SnapshotId, path: Vec<u8>, size: u64, content: Option<FileHash>) {
        let path = self.told_path(path);
        self.found.mended.push(AffectedFile { snapshot: *snapshot, path, size, content });
    }

    /// Notes what is there and is something else than was recorded, which counts as lost.
    fn wrong(&mut self, snapshot: &SnapshotId, path: Vec<u8>, size: u64, content: Option<FileHash>, why: &'static str) {
        let file = AffectedFile { snapshot: *snapshot, path: self.told_path(path), size, content };
        self.found.affected.push(file.clone());
        self.found.wrong.push(WrongFile { file, why });
    }

    /// A path as it is told: its end only, once so much is told that the memory must be spared.
    fn told_path(&mut self, path: Vec<u8>) -> Vec<u8> {
        self.told += path.len();
        match path.len().checked_sub(SHORT) {
            Some(cut) if self.told > MANY_BYTES => ["…".as_bytes(), &path[cut..]].concat(),
            _ => path,
        }
    }
}
