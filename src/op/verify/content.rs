//! Whole files: whether the chunks of each, one after the other, give the bytes that were recorded.
//!
//! Every chunk may be whole and a file still not be what it was: its list may name others, or name them in another
//! order. A file of one chunk is told by its names alone. The others are hashed while packs are read, each pack once: a
//! file within one pack at once, one that goes on in the next pack as far as it comes. What did not come in order is
//! read again at the end, in the order in which it lies in the archive.
//!
//! Memory is bounded: so many lists are kept and so many files begun; the rest waits for the end. Work is bounded as
//! well: a few kilobytes can claim files without end by naming one chunk again and again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::archive::{Archive, Memory, Reader, each_chunk, entries_of, first_chunks};
use crate::error::Result;
use crate::format::{ChunkRef, Content, EntryKind};
use crate::id::{ChunkId, ChunkKind, FileHash};
use crate::op::{Observer, check_stop};

/// So many chunks of files are remembered while packs are read; files beyond are read at the end.
const MOST_CHUNKS: usize = 2 << 20;
/// And of one file no more than so many.
const MOST_OF_ONE: usize = 1 << 18;
/// So many files that go on in another pack are kept begun.
const MOST_BEGUN: usize = 16 << 10;

/// Files together may be so many times as long as all chunks are, and so many bytes longer; the rest is not read.
const MOST_TIMES: u64 = 16;
const MOST_BYTES: u64 = 1 << 30;
/// What all threads together may have in memory of the files that are read at the end, in bytes.
const HASHING: u64 = 96 << 20;
/// What it costs to fetch a chunk, in bytes.
const CHUNK_COST: u64 = 4096;

/// A file's content, as its entry tells it: hash, length and chunks.
pub(super) type Key = [u8; 32];

/// What names the content that an entry tells of.
pub(super) fn key(hash: &FileHash, size: u64, content: &Content) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(hash.as_bytes()).update(&size.to_le_bytes());
    match content {
        Content::Chunks(chunks) => {
            for chunk in chunks {
                hasher.update(chunk.id.as_bytes()).update(&chunk.len.to_le_bytes());
            }
        }
        Content::List(list) => drop(hasher.update(list.as_bytes())),
    }
    *hasher.finalize().as_bytes()
}

/// Whether a file of at most one chunk is what its hash says; none if that takes reading it.
pub(super) fn told_by_names(hash: &FileHash, content: &Content) -> Option<bool> {
    match content {
        Content::Chunks(chunks) => match chunks.as_slice() {
            [] => Some(blake3::hash(b"").as_bytes() == hash.as_bytes()),
            [only] => Some(only.id.as_bytes() == hash.as_bytes()),
            _ => None,
        },
        Content::List(_) => None,
    }
}

/// Bytes of the chunks in a pack that was just read.
pub(super) trait Pieces {
    /// Those of a chunk of a file, if it lies in this pack and was kept.
    fn get(&self, id: &ChunkId) -> Option<&[u8]>;
    /// The chunks of files in it, in their order.
    fn ids(&self) -> impl Iterator<Item = &ChunkId>;
}

/// A file whose bytes are to be hashed.
struct Awaited {
    key: Key,
    hash: FileHash,
    /// Its chunks, among all.
    chunks: std::ops::Range<usize>,
    /// How many of them are hashed.
    next: usize,
    hasher: Option<Box<blake3::Hasher>>,
    done: bool,
}

/// A file that is too long to be kept, by what its entry tells.
struct Long {
    key: Key,
    hash: FileHash,
    size: u64,
    content: Content,
}

/// All files of an archive that are more than one chunk, each distinct content once.
#[derive(Default)]
pub(super) struct Contents {
    /// How much work may still be taken on.
    left: u64,
    /// Files that were not taken on.
    passed_over: u64,
    files: Vec<Awaited>,
    chunks: Vec<ChunkRef>,
    /// Which files go on with this chunk.
    waiting: HashMap<ChunkId, Vec<u32>>,
    begun: usize,
    long: Vec<Long>,
    wrong: HashSet<Key>,
}

impl Contents {
    /// Gathers what all snapshots have. What cannot be read is told by whoever looks at snapshots.
    pub(super) fn gather(archive: &Archive, observer: &dyn Observer) -> Result<Self> {
        let reader = archive.reader();
        let plain = archive.known_packs().iter().fold(0_u64, |sum, pack| sum.saturating_add(pack.sizes.plain));
        let left = plain.saturating_mul(MOST_TIMES).saturating_add(MOST_BYTES);
        let (mut found, mut seen, mut known) = (Self { left, ..Self::default() }, HashSet::new(), HashSet::new());
        let mut todo: Vec<ChunkId> = archive.snapshots().iter().map(|(_, snapshot)| snapshot.tree).collect();
        while let Some(tree) = todo.pop() {
            if !seen.insert(tree) {
                continue;
            }
            check_stop(observer)?;
            let entries = match entries_of(&reader, &tree) {
                Err(error) if error.kind().is_of_an_object() => continue,
                entries => entries?,
            };
            for entry in entries {
                match entry.kind {
                    EntryKind::Dir { tree, .. } => todo.push(tree),
                    EntryKind::Symlink { .. } => {}
                    EntryKind::File { size, hash, content, .. } => {
                        let key = key(&hash, size, &content);
                        if told_by_names(&hash, &content).is_none() && known.insert(key) {
                            found.add(archive, Long { key, hash, size, content })?;
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Takes so much more work on, if that can be borne.
    fn can_bear(&mut self, cost: u64) -> bool {
        let can = self.left_for(cost);
        self.passed_over += u64::from(!can);
        can
    }

    fn left_for(&mut self, cost: u64) -> bool {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn add(&mut self, archive: &Archive, file: Long) -> Result<()> {
        if !self.can_bear(file.size) {
            return Ok(());
        }
        let room = MOST_CHUNKS.saturating_sub(self.chunks.len()).min(MOST_OF_ONE);
        let chunks = match &file.content {
            Content::Chunks(chunks) => chunks.clone(),
            Content::List(_) if room == 0 => Vec::new(),
            Content::List(_) => match first_chunks(&archive.reader(), &file.content, file.size, room + 1) {
                Err(error) if error.kind().is_of_an_object() => return Ok(()),
                chunks => chunks?,
            },
        };
        let Some(first) = chunks.first().filter(|_| chunks.len() <= room) else {
            self.long.push(file);
            return Ok(());
        };
        if !self.can_bear(cost_of(&chunks)) {
            return Ok(());
        }
        self.waiting.entry(first.id).or_default().push(self.files.len() as u32);
        let start = self.chunks.len();
        self.chunks.extend_from_slice(&chunks);
        let Long { key, hash, .. } = file;
        let chunks = start..self.chunks.len();
        self.files.push(Awaited { key, hash, chunks, next: 0, hasher: None, done: false });
        Ok(())
    }

    /// Files that lie wholly in this pack, and whether each is what it should be. Changes nothing, so that many packs
    /// can be asked at once; ends early once the user wants to stop.
    pub(super) fn within(&self, pack: &impl Pieces, stop: &AtomicBool) -> Vec<(u32, bool)> {
        let begin = pack.ids().filter_map(|id| self.waiting.get(id)).flatten();
        let whole = begin.filter_map(|at| {
            let file = self.files.get(*at as usize).filter(|file| file.next == 0 && !stop.load(Ordering::Relaxed))?;
            let chunks = self.chunks.get(file.chunks.clone())?;
            let pieces: Option<Vec<&[u8]>> = chunks.iter().map(|chunk| pack.get(&chunk.id)).collect();
            let pieces = pieces?;
            let fits = pieces.iter().zip(chunks).all(|(piece, chunk)| piece.len() == chunk.len as usize);
            let mut hasher = blake3::Hasher::new();
            for piece in pieces {
                hasher.update(piece);
            }
            Some((*at, fits && hasher.finalize().as_bytes() == file.hash.as_bytes()))
        });
        whole.collect()
    }

    /// Takes in what [`Contents::within`] found in a pack, and goes on with the files that lie there in part.
    pub(super) fn take(&mut self, pack: &impl Pieces, whole: Vec<(u32, bool)>) {
        for (at, right) in whole {
            self.end(at, right);
        }
        for id in pack.ids() {
            for at in self.waiting.remove(id).unwrap_or_default() {
                self.go_on(at, pack);
            }
        }
    }

    fn go_on(&mut self, at: u32, pack: &impl Pieces) {
        let Some(file) = self.files.get_mut(at as usize).filter(|file| !file.done) else { return };
        let chunks = self.chunks.get(file.chunks.clone()).unwrap_or_default();
        if file.hasher.is_none() {
            if self.begun >= MOST_BEGUN {
                return; // it is read at the end
            }
            self.begun += 1;
        }
        let hasher = file.hasher.get_or_insert_with(Box::default);
        while let Some(chunk) = chunks.get(file.next) {
            let Some(piece) = pack.get(&chunk.id) else {
                self.waiting.entry(chunk.id).or_default().push(at);
                return;
            };
            if piece.len() != chunk.len as usize {
                return self.end(at, false);
            }
            hasher.update(piece);
            file.next += 1;
        }
        let right = hasher.finalize().as_bytes() == file.hash.as_bytes();
        self.end(at, right);
    }

    fn end(&mut self, at: u32, right: bool) {
        let Some(file) = self.files.get_mut(at as usize) else { return };
        self.begun -= usize::from(file.hasher.take().is_some());
        file.done = true;
        if !right {
            self.wrong.insert(file.key);
        }
    }

    /// Reads the files that did not come in order. Those of which something is lost are told by whoever looks at
    /// snapshots.
    pub(super) fn finish(&mut self, archive: &Archive, observer: &dyn Observer) -> Result<()> {
        self.waiting = HashMap::new();
        let mut left = Vec::new();
        for file in self.files.iter_mut().filter(|file| !file.done) {
            file.hasher = None;
            let first = self.chunks.get(file.chunks.start);
            let place =
                first.map(|first| archive.locate(&first.id)).transpose()?.and_then(|found| found.first().copied());
            left.push((place.map(|place| (place.pack, place.row.offset)), &*file));
        }
        left.sort_unstable_by_key(|(place, _)| *place);
        let memory = Memory::new(HASHING);
        let read = left.par_iter().map(|(_, file)| {
            let chunks = self.chunks.get(file.chunks.clone()).unwrap_or_default();
            let _room = memory.take(chunks.iter().map(|chunk| u64::from(chunk.len)).max().unwrap_or_default());
            Ok((!reads_as(archive, &file.hash, chunks, observer)?).then_some(file.key))
        });
        let mut wrong: Vec<Option<Key>> = read.collect::<Result<_>>()?;
        for file in std::mem::take(&mut self.long) {
            wrong.push((!self.long_reads_as(archive, &file, observer)?).then_some(file.key));
        }
        self.wrong.extend(wrong.into_iter().flatten());
        Ok(())
    }

    /// The same for a file that is read page by page of its list; true as well if it claims too much.
    fn long_reads_as(&mut self, archive: &Archive, file: &Long, observer: &dyn Observer) -> Result<bool> {
        let mut hashing = Hashing::of(archive.reader());
        let mut refused = false;
        let looked = each_chunk(&archive.reader(), &file.content, file.size, &mut |chunks| {
            check_stop(observer)?;
            refused = refused || !self.left_for(cost_of(chunks));
            if !refused {
                hashing.take(chunks, observer)?;
            }
            Ok(())
        });
        match looked {
            Err(error) if error.kind().is_of_an_object() => Ok(true),
            looked => {
                looked?;
                self.passed_over += u64::from(refused);
                Ok(refused || hashing.gave(&file.hash))
            }
        }
    }

    /// Files that claim more than anybody can read.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Whether this content was found to be other bytes than its hash says.
    pub(super) fn is_wrong(&self, key: &Key) -> bool {
        self.wrong.contains(key)
    }
}

/// What it costs to fetch these chunks, one after the other; one that was just fetched is at hand.
fn cost_of(chunks: &[ChunkRef]) -> u64 {
    chunks.chunk_by(|one, next| one == next).count() as u64 * CHUNK_COST
}

/// Whether these chunks give a file with this hash; true as well if one of them cannot be had.
fn reads_as(archive: &Archive, hash: &FileHash, chunks: &[ChunkRef], observer: &dyn Observer) -> Result<bool> {
    let mut hashing = Hashing::of(archive.reader());
    hashing.take(chunks, observer)?;
    Ok(hashing.gave(hash))
}

/// A file that is being read from its chunks.
struct Hashing<'a> {
    reader: Reader<'a>,
    hasher: blake3::Hasher,
    /// The chunk that was just fetched: a file may be one over and over.
    last: Option<(ChunkRef, Vec<u8>)>,
    /// How it ended before its end: a chunk cannot be had, or has another length.
    ended: Option<bool>,
}

impl<'a> Hashing<'a> {
    fn of(reader: Reader<'a>) -> Self {
        Self { reader, hasher: blake3::Hasher::new(), last: None, ended: None }
    }

    fn take(&mut self, chunks: &[ChunkRef], observer: &dyn Observer) -> Result<()> {
        for chunk in chunks {
            if self.ended.is_some() {
                return Ok(());
            }
            let bytes = match self.last.take() {
                Some((known, bytes)) if known == *chunk => bytes,
                _ => {
                    check_stop(observer)?;
                    match self.reader.get(ChunkKind::Data, &chunk.id) {
                        Err(error) if error.kind().is_of_an_object() => {
                            self.ended = Some(true);
                            return Ok(());
                        }
                        bytes => bytes?,
                    }
                }
            };
            if bytes.len() != chunk.len as usize {
                self.ended = Some(false);
                return Ok(());
            }
            self.hasher.update(&bytes);
            self.last = Some((*chunk, bytes));
        }
        Ok(())
    }

    fn gave(&self, hash: &FileHash) -> bool {
        self.ended.unwrap_or_else(|| self.hasher.finalize().as_bytes() == hash.as_bytes())
    }
}
