//! Writing what was planned.
//!
//! Files come in batches that lie together in the archive, so that one read serves many small files. A file's bytes are
//! hashed as a whole before it gets its name, whatever its chunks said of themselves.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::dirs::{Dirs, NAMES};
use super::log::{Log, is_hopeless, pass_over};
use super::plan::{Item, Plan};
use super::there::{Decision, Names, Standing, Taken, bears, decide, escaped, nameless};
use crate::archive::{Memory, piece_of};
use crate::error::{Error, Kind, Result};
use crate::format::{ChunkRef, Content, EntryKind, Meta};
use crate::id::{ChunkId, FileHash};
use crate::op::{Event, check_stop};
use crate::source;
use crate::target::{Dir, Finished, Metadata, Replace, Temp};
use crate::view::View;

/// A batch has at most this many bytes, in one or several files; a longer file is written in pieces of this length.
const BATCH: u64 = 8 << 20;
/// A piece of a file has at most this many chunks.
const FEW: usize = 4096;
/// And at most this many files.
const BATCH_FILES: usize = 512;
/// And these have at most so many chunks together.
const BATCH_CHUNKS: usize = 1 << 14;
/// What is in memory of each chunk until its file is written, about, in bytes.
const CHUNK_COST: u64 = 256;
/// What all threads together may have in memory of the files that they write, in bytes.
const WRITING: u64 = 64 << 20;
/// So many bytes of a file are read back at once.
const READ_BACK: u64 = 1 << 20;
/// Runs of zeros of this length become holes in a file that had holes, in bytes.
const HOLE: usize = 4096;

pub(super) struct Work<'a> {
    view: &'a View<'a>,
    plan: &'a Plan,
    dirs: &'a Dirs,
    log: &'a Log<'a>,
    /// Room for what is being written.
    memory: Memory,
    /// Which of the plan's files are at the target, under their own names.
    placed: Mutex<HashSet<usize>>,
    /// What could not have its name.
    nameless: Mutex<Vec<Item>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(view: &'a View<'a>, plan: &'a Plan, dirs: &'a Dirs, log: &'a Log<'a>) -> Self {
        let memory = Memory::new(WRITING);
        Self { view, plan, dirs, log, memory, placed: Mutex::default(), nameless: Mutex::default() }
    }

    pub(super) fn restore_files(&self) -> Result<()> {
        self.in_batches(&self.plan.files.iter().collect::<Vec<_>>())
    }

    /// Works on batches in their order, on all cores.
    fn in_batches(&self, items: &[&Item]) -> Result<()> {
        let batches = batches(items);
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        rayon::scope(|scope| {
            for _ in 0..rayon::current_num_threads() {
                scope.spawn(|_| {
                    while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.batch(batch) {
                            next.store(batches.len(), Ordering::Relaxed);
                            lock(&failure).get_or_insert(error);
                        }
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn batch(&self, items: &[&Item]) -> Result<()> {
        let mut files = Vec::with_capacity(items.len());
        for item in items {
            check_stop(self.log.observer)?;
            let Some(replace) = self.wanted(item)? else { continue };
            match &item.entry.kind {
                EntryKind::File { content: Content::Chunks(chunks), .. }
                    if item.size <= BATCH && chunks.len() <= FEW =>
                {
                    files.push(Gathered::new(item, chunks.clone(), replace));
                }
                // A list may have millions of chunks, however short the file.
                _ => {
                    if let Err(error) = self.long_file(item, replace) {
                        self.give_up(item, error)?;
                    }
                }
            }
        }
        self.short_files(files)
    }

    /// Whether an item is to be written, and over what, by a look at what lies there. If not, it is dealt with.
    fn wanted(&self, item: &Item) -> Result<Option<Replace>> {
        let decision = (|| decide(self.dirs.dir_of(item)?, item, self.log.options.overwrite, self.log.observer))();
        match decision {
            Ok(Decision::Write(replace)) => return Ok(Some(replace)),
            Ok(Decision::Leave) => {
                self.log.left(self.path(item), item);
                self.dirs.settled(item);
            }
            Ok(Decision::Present) => self.present(item),
            Ok(Decision::Rename) => self.rename_later(item),
            Err(error) => self.give_up(item, error)?,
        }
        Ok(None)
    }

    /// Reads the chunks of several files together, and finishes each file when the last of its chunks has come.
    fn short_files(&self, mut files: Vec<Gathered<'_>>) -> Result<()> {
        let cost = |file: &Gathered<'_>| file.item.size + file.chunks.len() as u64 * CHUNK_COST;
        let _room = self.memory.take(files.iter().map(cost).sum());
        let mut wanted = Vec::new();
        for (file, gathered) in files.iter().enumerate() {
            let mut offset = 0;
            for chunk in &gathered.chunks {
                wanted.push((chunk.id, file, offset, chunk.len as usize));
                offset += chunk.len as usize;
            }
        }
        for file in files.iter().filter(|file| file.chunks.is_empty()) {
            self.finish_file(file.item, &[], file.replace)?;
        }
        let ids: Vec<ChunkId> = wanted.iter().map(|(id, ..)| *id).collect();
        self.view.reader().get_all(&ids, &mut |position, bytes| {
            let (_, file, offset, len) = wanted[position];
            let file = &mut files[file];
            match bytes {
                Ok(bytes) if bytes.len() == len && file.chunks.len() == 1 => {
                    self.finish_file(file.item, bytes, file.replace)
                }
                Ok(bytes) if bytes.len() == len => {
                    file.bytes.resize(file.item.size as usize, 0);
                    file.bytes[offset..offset + len].copy_from_slice(bytes);
                    file.missing -= 1;
                    if file.missing > 0 {
                        return Ok(());
                    }
                    self.finish_file(file.item, &std::mem::take(&mut file.bytes), file.replace)
                }
                _ if file.failed => Ok(()),
                other => {
                    file.failed = true;
                    let error = other.err().unwrap_or_else(|| {
                        Error::new(Kind::Damaged, "reading a chunk", "it has another length than its list says")
                    });
                    self.give_up(file.item, error)
                }
            }
        })
    }

    fn finish_file(&self, item: &Item, bytes: &[u8], replace: Replace) -> Result<()> {
        let written = (|| {
            let mut file = self.create(item)?;
            if !is_one_chunk(item) {
                check_hash(item, FileHash::from_bytes(*blake3::hash(bytes).as_bytes()))?;
            }
            write(&mut file, item, 0, bytes)?;
            self.name_file(item, file, replace)
        })();
        match written {
            Err(error) => self.give_up(item, error),
            Ok(()) => {
                self.log.observer.event(Event::Advance { files: 0, bytes: item.size });
                Ok(())
            }
        }
    }

    /// Writes a file in pieces.
    fn long_file(&self, item: &Item, replace: Replace) -> Result<()> {
        let mut file = self.create(item)?;
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        self.view.each_chunk(&item.entry, &mut |mut rest| {
            while !rest.is_empty() {
                check_stop(self.log.observer)?;
                let (piece, after) = rest.split_at(piece_of(rest));
                let len: u64 = piece.iter().map(|chunk| u64::from(chunk.len)).sum();
                let _room = self.memory.take(len + piece.len() as u64 * CHUNK_COST);
                let bytes = self.view.reader().bytes_of(piece)?;
                hasher.update(&bytes);
                write(&mut file, item, offset, &bytes)?;
                offset += bytes.len() as u64;
                rest = after;
                self.log.observer.event(Event::Advance { files: 0, bytes: bytes.len() as u64 });
            }
            Ok(())
        })?;
        check_hash(item, FileHash::from_bytes(*hasher.finalize().as_bytes()))?;
        self.name_file(item, file, replace)
    }

    fn create(&self, item: &Item) -> Result<Temp> {
        self.dirs.dir_of(item)?.create(&item.entry.name)
    }

    /// Gives a complete file its metadata and its name.
    fn name_file(&self, item: &Item, mut file: Temp, replace: Replace) -> Result<()> {
        if is_sparse(item) {
            file.set_len(item.size)?;
        }
        if self.log.options.verify {
            read_back(item, &file)?;
        }
        self.finished(item, file.finish(&metadata(&item.entry.meta), replace)?);
        Ok(())
    }

    /// Gives files their further names; where the target cannot, they become files of their own.
    pub(super) fn restore_links(&self) -> Result<()> {
        let mut copies = Vec::new();
        for (first, item) in &self.plan.links {
            check_stop(self.log.observer)?;
            // What lay there and was left may be anything, and is not to be had under a second name.
            if !lock(&self.placed).contains(first) {
                copies.push(item);
                continue;
            }
            let Some(replace) = self.wanted(item)? else { continue };
            let first = &self.plan.files[*first];
            let (Some(from), Some(to)) = (self.dirs.dir(first), self.dirs.dir(item)) else { continue };
            match to.hard_link((from, &first.entry.name), &item.entry.name, replace) {
                Ok(finished) => self.finished(item, finished),
                Err(_) => copies.push(item),
            }
        }
        self.in_batches(&copies)
    }

    pub(super) fn restore_symlinks(&self) -> Result<()> {
        self.plan.symlinks.iter().try_for_each(|item| self.restore_symlink(item))
    }

    fn restore_symlink(&self, item: &Item) -> Result<()> {
        check_stop(self.log.observer)?;
        let EntryKind::Symlink { target } = &item.entry.kind else { return Ok(()) };
        let Some(replace) = self.wanted(item)? else { return Ok(()) };
        let made = self
            .dirs
            .dir_of(item)
            .and_then(|dir| dir.symlink(&item.entry.name, target, replace, &metadata(&item.entry.meta)));
        match made {
            Ok(finished) => self.finished(item, finished),
            Err(error) => self.give_up(item, error)?,
        }
        Ok(())
    }

    /// Restores what could not have its name under another one.
    pub(super) fn restore_renamed(&self) -> Result<()> {
        let (mut names, mut taken) = (Names::default(), Taken::default());
        for number in 1..NAMES {
            let (nameless, mut tries) = (std::mem::take(&mut *lock(&self.nameless)), Vec::new());
            if number == 1 {
                taken.leave_out(&nameless);
            }
            for mut item in nameless {
                check_stop(self.log.observer)?;
                let own = item.own.clone().unwrap_or_default();
                // At first its own name again: another run may have been quicker with the same.
                item.entry.name = if number == 1 { own } else { escaped(&own, number) };
                item.standing = Standing::Free;
                let is_planned = number > 1 && names.of(self.plan).contains(&(item.dir, item.entry.name.clone()));
                match self.dirs.dir_of(&item).and_then(|dir| self.is_had(dir, &item)) {
                    Ok(_) if is_planned => lock(&self.nameless).push(item),
                    Ok(None) => tries.push(item),
                    // What another item is at the target under its own name is that item.
                    Ok(Some(true)) if taken.claim(self.plan, self.dirs.dir_of(&item)?, &item)? => self.present(&item),
                    Ok(Some(true)) => lock(&self.nameless).push(item),
                    Ok(Some(false)) => lock(&self.nameless).push(item),
                    Err(error) => self.give_up(&item, error)?,
                }
            }
            let (links, files): (Vec<&Item>, Vec<&Item>) = tries.iter().partition(|item| item.is_symlink());
            self.in_batches(&files)?;
            links.into_iter().try_for_each(|item| self.restore_symlink(item))?;
        }
        let rest = std::mem::take(&mut *lock(&self.nameless));
        rest.iter().try_for_each(|item| self.give_up(item, nameless()))
    }

    /// Whether something has the name, and if so, whether it is this very item.
    fn is_had(&self, dir: &Dir, item: &Item) -> Result<Option<bool>> {
        match dir.existing(&item.entry.name)? {
            None => Ok(None),
            Some(_) => bears(dir, item, self.log.observer).map(Some),
        }
    }

    fn finished(&self, item: &Item, finished: Finished) {
        match finished {
            Finished::Written(notes) => {
                self.log.written(&self.path(item), item, notes);
                self.placed(item);
            }
            // This run found the name free, and now it is not.
            Finished::Exists => self.rename_later(item),
        }
    }

    fn present(&self, item: &Item) {
        self.log.present(&self.path(item), item);
        self.placed(item);
    }

    fn placed(&self, item: &Item) {
        match item.own.as_ref().filter(|own| **own != item.entry.name) {
            None => lock(&self.placed).extend(item.number),
            Some(own) => {
                let actual = self.path(item);
                self.log.renamed(actual.with_file_name(source::name_of(own)), actual);
            }
        }
        self.dirs.settled(item);
    }

    fn rename_later(&self, item: &Item) {
        let mut item = item.clone();
        item.own.get_or_insert_with(|| item.entry.name.clone());
        lock(&self.nameless).push(item);
    }

    /// Passes over an item that cannot be restored, or ends the restore if nothing else could be either.
    fn give_up(&self, item: &Item, error: Error) -> Result<()> {
        let hopeless = is_hopeless(&error, || self.view.reader().archive().is_reachable());
        pass_over(hopeless, error, |error| {
            self.log.failed(self.plan, item, error);
            self.dirs.settled(item);
        })
    }

    fn path(&self, item: &Item) -> PathBuf {
        self.log.path(self.plan, item)
    }
}

/// A short file whose chunks are coming in.
struct Gathered<'a> {
    item: &'a Item,
    replace: Replace,
    missing: usize,
    chunks: Vec<ChunkRef>,
    bytes: Vec<u8>,
    failed: bool,
}

impl<'a> Gathered<'a> {
    fn new(item: &'a Item, chunks: Vec<ChunkRef>, replace: Replace) -> Self {
        Self { item, replace, missing: chunks.len(), chunks, bytes: Vec::new(), failed: false }
    }
}

/// Neighbours, as many as one batch takes.
fn batches<'a, 'b>(items: &'b [&'a Item]) -> Vec<&'b [&'a Item]> {
    let (mut batches, mut rest) = (Vec::new(), items);
    while !rest.is_empty() {
        let (mut bytes, mut chunks) = (0, 0);
        let fit = rest.iter().take(BATCH_FILES).take_while(|item| {
            bytes = item.size.saturating_add(bytes);
            chunks += match &item.entry.kind {
                EntryKind::File { content: Content::Chunks(chunks), .. } => chunks.len(),
                _ => 0,
            };
            bytes <= BATCH && chunks <= BATCH_CHUNKS
        });
        let (batch, after) = rest.split_at(fit.count().max(1));
        batches.push(batch);
        rest = after;
    }
    batches
}

fn check_hash(item: &Item, found: FileHash) -> Result<()> {
    match &item.entry.kind {
        EntryKind::File { hash, .. } if *hash == found => Ok(()),
        _ => Err(Error::new(Kind::Damaged, "restoring", "its bytes do not match the hash that was recorded")),
    }
}

/// Whether a file is one chunk whose name is the file's own hash: the reader has checked the bytes against it already.
fn is_one_chunk(item: &Item) -> bool {
    match &item.entry.kind {
        EntryKind::File { size, hash, content: Content::Chunks(chunks), .. } => {
            matches!(chunks.as_slice(), [only] if only.id.as_bytes() == hash.as_bytes() && u64::from(only.len) == *size)
        }
        _ => false,
    }
}

fn is_sparse(item: &Item) -> bool {
    matches!(item.entry.kind, EntryKind::File { sparse: true, .. })
}

/// Writes bytes of a file, leaving holes where it had some.
fn write(file: &mut Temp, item: &Item, offset: u64, bytes: &[u8]) -> Result<()> {
    if !is_sparse(item) {
        return file.write_at(offset, bytes);
    }
    for (number, block) in bytes.chunks(HOLE).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_at(offset + (number * HOLE) as u64, block)?;
        }
    }
    Ok(())
}

/// Reads a file back from the target and checks that it holds what was written.
fn read_back(item: &Item, file: &Temp) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let (mut offset, mut buffer) = (0, vec![0; READ_BACK.min(item.size) as usize]);
    while offset < item.size {
        let len = READ_BACK.min(item.size - offset) as usize;
        file.read_at(offset, &mut buffer[..len])?;
        hasher.update(&buffer[..len]);
        offset += len as u64;
    }
    check_hash(item, FileHash::from_bytes(*hasher.finalize().as_bytes())).map_err(|_| {
        Error::new(Kind::Target, "reading back what was written", "the target gave back other bytes than were written")
    })
}

pub(super) fn metadata(meta: &Meta) -> Metadata {
    let mtime = source::Time { secs: meta.mtime.secs, nanos: meta.mtime.nanos };
    Metadata { mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime, xattrs: meta.xattrs.clone() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
