//! Writing what was planned.
//!
//! Files come in batches that lie together in the archive, so that one read serves many small files. A file's bytes are
//! hashed as a whole before it gets its name, whatever its chunks said of themselves.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::{Item, Plan};
use super::{Overwrite, Restore, RestoreOptions, replaces, tell};
use crate::error::{Error, Kind, Result};
use crate::format::{ChunkRef, Content, EntryKind, Meta};
use crate::id::{ChunkId, FileHash};
use crate::op::{Action, Event, Observer, check_stop};
use crate::source;
use crate::target::{Dir, Finished, Metadata, Notes, Replace, Temp};
use crate::view::View;

/// A batch has at most this many bytes, in one or several files; a longer file is written in pieces of this length.
const BATCH: u64 = 8 << 20;
/// A piece of a file has at most this many chunks.
const FEW: usize = 4096;
/// And at most this many files.
const BATCH_FILES: usize = 512;
/// Runs of zeros of this length become holes in a file that had holes, in bytes.
const HOLE: usize = 4096;

pub(super) struct Work<'a> {
    view: &'a View<'a>,
    plan: &'a Plan,
    options: &'a RestoreOptions,
    observer: &'a dyn Observer,
    root: Option<Dir>,
    /// For each planned directory: itself, and whether it was made here.
    dirs: Vec<Option<(Dir, bool)>>,
    outcome: Mutex<Restore>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        view: &'a View<'a>,
        plan: &'a Plan,
        options: &'a RestoreOptions,
        observer: &'a dyn Observer,
    ) -> Self {
        Self { view, plan, options, observer, root: None, dirs: Vec::new(), outcome: Mutex::default() }
    }

    pub(super) fn into_outcome(self) -> Restore {
        let mut outcome = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.left.sort_unstable();
        outcome.failed.sort_unstable();
        outcome
    }

    /// Tells of directories that claim more than the archive has of them: what there is of them is restored.
    pub(super) fn tell_short(&self) {
        for short in &self.plan.short {
            let path = self.options.target.join(source::name_of(&short.path));
            self.observer.event(Event::Trouble { path: &path, why: &short.why });
            let mut outcome = self.outcome();
            outcome.damaged = true;
            outcome.failed.push((path, short.why.clone()));
        }
    }

    /// Makes the directories, parents first.
    pub(super) fn make_dirs(&mut self, root: Dir) {
        self.root = Some(root);
        for item in &self.plan.dirs {
            let made = self.dir(item).map(|dir| dir.make_dir(&item.entry.name));
            let dir = match made {
                Some(Ok((dir, made))) => {
                    self.outcome().dirs += u64::from(made);
                    Some((dir, made))
                }
                Some(Err(error)) => {
                    self.failed(item, &error);
                    None
                }
                None => None, // the directory above failed, and that was told
            };
            self.dirs.push(dir);
        }
    }

    /// The directory that an item goes into.
    fn dir(&self, item: &Item) -> Option<&Dir> {
        match item.dir {
            None => self.root.as_ref(),
            Some(at) => self.dirs.get(at)?.as_ref().map(|(dir, _)| dir),
        }
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
        check_stop(self.observer)?;
        let mut files = Vec::with_capacity(items.len());
        for item in items {
            match self.wanted(item) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    self.give_up(item, error)?;
                    continue;
                }
            }
            match &item.entry.kind {
                EntryKind::File { content: Content::Chunks(chunks), .. }
                    if item.size <= BATCH && chunks.len() <= FEW =>
                {
                    files.push(Gathered::new(item, chunks.clone()));
                }
                // A list may have millions of chunks, however short the file.
                _ => {
                    if let Err(error) = self.long_file(item) {
                        self.give_up(item, error)?;
                    }
                }
            }
        }
        self.short_files(files)
    }

    /// Whether an item is to be written, by a look at what lies there.
    fn wanted(&self, item: &Item) -> Result<bool> {
        let Some(dir) = self.dir(item) else {
            return Err(Error::new(Kind::Target, "restoring", "its directory could not be made"));
        };
        let there = match self.options.overwrite {
            Overwrite::Never | Overwrite::Always => None, // finishing the file decides
            _ => dir.existing(&item.entry.name)?,
        };
        let stay = |there: source::Stat| {
            !replaces(self.options.overwrite, item, there.size, (there.mtime.secs, there.mtime.nanos))
        };
        if there.is_some_and(stay) {
            self.left(item);
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads the chunks of several files together, and finishes each file when the last of its chunks has come.
    fn short_files(&self, mut files: Vec<Gathered<'_>>) -> Result<()> {
        let mut wanted = Vec::new();
        for (file, gathered) in files.iter().enumerate() {
            let mut offset = 0;
            for chunk in &gathered.chunks {
                wanted.push((chunk.id, file, offset, chunk.len as usize));
                offset += chunk.len as usize;
            }
        }
        for file in files.iter().filter(|file| file.chunks.is_empty()) {
            self.finish_file(file.item, &[])?;
        }
        let ids: Vec<ChunkId> = wanted.iter().map(|(id, ..)| *id).collect();
        self.view.reader().get_all(&ids, &mut |position, bytes| {
            let (_, file, offset, len) = wanted[position];
            let file = &mut files[file];
            match bytes {
                Ok(bytes) if bytes.len() == len && file.chunks.len() == 1 => self.finish_file(file.item, bytes),
                Ok(bytes) if bytes.len() == len => {
                    file.bytes.resize(file.item.size as usize, 0);
                    file.bytes[offset..offset + len].copy_from_slice(bytes);
                    file.missing -= 1;
                    if file.missing > 0 {
                        return Ok(());
                    }
                    self.finish_file(file.item, &std::mem::take(&mut file.bytes))
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

    fn finish_file(&self, item: &Item, bytes: &[u8]) -> Result<()> {
        let written = (|| {
            let mut file = self.create(item)?;
            if !is_one_chunk(item) {
                check_hash(item, FileHash::from_bytes(*blake3::hash(bytes).as_bytes()))?;
            }
            write(&mut file, item, 0, bytes)?;
            self.name_file(item, file)
        })();
        match written {
            Err(error) => self.give_up(item, error),
            Ok(()) => {
                self.observer.event(Event::Advance { files: 0, bytes: item.size });
                Ok(())
            }
        }
    }

    /// Writes a file in pieces.
    fn long_file(&self, item: &Item) -> Result<()> {
        let mut file = self.create(item)?;
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        self.view.each_chunk(&item.entry, &mut |mut rest| {
            while !rest.is_empty() {
                check_stop(self.observer)?;
                let mut len = 0;
                let fit = rest.iter().take(FEW).take_while(|chunk| {
                    len += u64::from(chunk.len);
                    len <= BATCH
                });
                let (piece, after) = rest.split_at(fit.count().max(1));
                let bytes = self.piece(piece)?;
                hasher.update(&bytes);
                write(&mut file, item, offset, &bytes)?;
                offset += bytes.len() as u64;
                rest = after;
                self.observer.event(Event::Advance { files: 0, bytes: bytes.len() as u64 });
            }
            Ok(())
        })?;
        check_hash(item, FileHash::from_bytes(*hasher.finalize().as_bytes()))?;
        self.name_file(item, file)
    }

    fn piece(&self, chunks: &[ChunkRef]) -> Result<Vec<u8>> {
        let mut offsets = Vec::with_capacity(chunks.len());
        let mut len = 0;
        for chunk in chunks {
            offsets.push(len);
            len += chunk.len as usize;
        }
        let mut piece = vec![0; len];
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        self.view.reader().get_all(&ids, &mut |position, bytes| {
            let room = &mut piece[offsets[position]..offsets[position] + chunks[position].len as usize];
            let bytes = bytes?;
            if bytes.len() != room.len() {
                return Err(Error::new(Kind::Damaged, "reading a chunk", "it has another length than its list says"));
            }
            room.copy_from_slice(bytes);
            Ok(())
        })?;
        Ok(piece)
    }

    fn create(&self, item: &Item) -> Result<Temp> {
        let unmade = || Error::new(Kind::Target, "restoring", "its directory could not be made");
        self.dir(item).ok_or_else(unmade)?.create(&item.entry.name)
    }

    /// Gives a complete file its metadata and its name.
    fn name_file(&self, item: &Item, mut file: Temp) -> Result<()> {
        if is_sparse(item) {
            file.set_len(item.size)?;
        }
        if self.options.verify {
            read_back(item, &file)?;
        }
        match file.finish(&metadata(&item.entry.meta), self.replace())? {
            Finished::Written(notes) => self.written(item, notes),
            Finished::Exists => self.left(item),
        }
        Ok(())
    }

    fn replace(&self) -> Replace {
        if self.options.overwrite == Overwrite::Never { Replace::Never } else { Replace::Always }
    }

    /// Gives files their further names; where the target cannot, they become files of their own.
    pub(super) fn restore_links(&self) -> Result<()> {
        let mut copies = Vec::new();
        for (first, item) in &self.plan.links {
            check_stop(self.observer)?;
            let first = &self.plan.files[*first];
            let (Some(from), Some(to)) = (self.dir(first), self.dir(item)) else {
                self.failed(item, &Error::new(Kind::Target, "restoring", "its directory could not be made"));
                continue;
            };
            // What lay there and was left may be anything, and is not to be had under a second name.
            if self.outcome().left.contains(&self.path(first)) {
                copies.push(item);
                continue;
            }
            match to.hard_link((from, &first.entry.name), &item.entry.name, self.replace()) {
                Ok(Finished::Written(notes)) => self.written(item, notes),
                Ok(Finished::Exists) => self.left(item),
                _ => copies.push(item),
            }
        }
        self.in_batches(&copies)
    }

    pub(super) fn restore_symlinks(&self) -> Result<()> {
        for item in &self.plan.symlinks {
            check_stop(self.observer)?;
            let EntryKind::Symlink { target } = &item.entry.kind else { continue };
            match self.wanted(item) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    self.give_up(item, error)?;
                    continue;
                }
            }
            let Some(dir) = self.dir(item) else { continue };
            match dir.symlink(&item.entry.name, target, self.replace(), &metadata(&item.entry.meta)) {
                Ok(Finished::Written(notes)) => {
                    let mut outcome = self.outcome();
                    outcome.symlinks += 1;
                    outcome.notes += notes;
                }
                Ok(Finished::Exists) => self.left(item),
                Err(error) => self.give_up(item, error)?,
            }
        }
        Ok(())
    }

    /// Sets what is kept of directories, the innermost first, since writing into one changes its times. Directories that
    /// were there before keep what they had, unless everything is to be replaced.
    pub(super) fn finish_dirs(&self) -> Result<()> {
        for (item, dir) in self.plan.dirs.iter().zip(&self.dirs).rev() {
            let Some((dir, made)) = dir else { continue };
            if *made || self.options.overwrite == Overwrite::Always {
                match dir.set_metadata(&metadata(&item.entry.meta)) {
                    Ok(notes) => self.outcome().notes += notes,
                    Err(error) => self.give_up(item, error)?,
                }
            }
        }
        Ok(())
    }

    fn written(&self, item: &Item, notes: Notes) {
        tell(self.observer, Action::Restored, &self.path(item), item.size);
        self.observer.event(Event::Advance { files: 1, bytes: 0 });
        let mut outcome = self.outcome();
        outcome.files += 1;
        outcome.bytes = outcome.bytes.saturating_add(item.size);
        outcome.notes += notes;
    }

    fn left(&self, item: &Item) {
        let path = self.path(item);
        tell(self.observer, Action::Left, &path, item.size);
        self.outcome().left.push(path);
    }

    /// Passes over an item that cannot be restored, or ends the restore if nothing else could be either.
    fn give_up(&self, item: &Item, error: Error) -> Result<()> {
        let hopeless = match error.kind() {
            Kind::Interrupted | Kind::Internal => true,
            Kind::Target => error.io().is_some_and(|cause| {
                use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
                matches!(cause.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
            }),
            // What cannot be opened costs what lies in it; a drive that is gone ends everything.
            Kind::Store => !self.view.reader().archive().is_reachable(),
            _ => false,
        };
        if hopeless {
            return Err(error);
        }
        self.failed(item, &error);
        Ok(())
    }

    fn failed(&self, item: &Item, error: &Error) {
        let (path, why) = (self.path(item), error.to_string());
        self.observer.event(Event::Trouble { path: &path, why: &why });
        let mut outcome = self.outcome();
        outcome.damaged |= matches!(error.kind(), Kind::Damaged | Kind::Missing);
        outcome.failed.push((path, why));
    }

    fn path(&self, item: &Item) -> PathBuf {
        self.options.target.join(self.plan.path(item))
    }

    fn outcome(&self) -> MutexGuard<'_, Restore> {
        lock(&self.outcome)
    }
}

/// A short file whose chunks are coming in.
struct Gathered<'a> {
    item: &'a Item,
    missing: usize,
    chunks: Vec<ChunkRef>,
    bytes: Vec<u8>,
    failed: bool,
}

impl<'a> Gathered<'a> {
    fn new(item: &'a Item, chunks: Vec<ChunkRef>) -> Self {
        Self { item, missing: chunks.len(), chunks, bytes: Vec::new(), failed: false }
    }
}

/// Neighbours, as many as one batch takes.
fn batches<'a, 'b>(items: &'b [&'a Item]) -> Vec<&'b [&'a Item]> {
    let (mut batches, mut rest) = (Vec::new(), items);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest.iter().take(BATCH_FILES).take_while(|item| {
            bytes = item.size.saturating_add(bytes);
            bytes <= BATCH
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
    let (mut offset, mut buffer) = (0, vec![0; BATCH.min(item.size) as usize]);
    while offset < item.size {
        let len = BATCH.min(item.size - offset) as usize;
        file.read_at(offset, &mut buffer[..len])?;
        hasher.update(&buffer[..len]);
        offset += len as u64;
    }
    check_hash(item, FileHash::from_bytes(*hasher.finalize().as_bytes())).map_err(|_| {
        Error::new(Kind::Target, "reading back what was written", "the target gave back other bytes than were written")
    })
}

fn metadata(meta: &Meta) -> Metadata {
    let mtime = source::Time { secs: meta.mtime.secs, nanos: meta.mtime.nanos };
    Metadata { mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime, xattrs: meta.xattrs.clone() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
