//! Open files: which chunk lies where, and reading ahead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::chunks::Chunks;
use crate::error::{Error, Kind, Result};
use crate::id::ChunkId;
use crate::view::{ChunkRef, Content, Window};

/// Bytes of decoded chunks that are kept.
const KEPT: usize = 96 << 20;
/// Whoever reads in order finds so many bytes read before he asks.
const AHEAD: u64 = 8 << 20;
/// A read that begins so close to where another ended goes on from there: the kernel asks for several pieces at once.
const NEAR: u64 = 1 << 20;
/// Threads that read ahead, and chunks that may wait for them.
const READERS: usize = 2;
const WAITING: usize = 32;

/// Reads files.
pub(super) struct Files {
    shared: Arc<Shared>,
    ahead: SyncSender<ChunkRef>,
}

struct Shared {
    window: Window,
    chunks: Chunks,
}

impl Shared {
    fn chunk(&self, chunk: &ChunkRef) -> Result<Arc<Vec<u8>>> {
        self.chunks.get(&chunk.id, || self.window.chunk(chunk))
    }
}

/// A file that is open. Its list of chunks may be long, so the part of it that is wanted is looked up each time.
pub(super) struct OpenFile {
    /// The inode that was opened.
    pub(super) ino: u64,
    content: Content,
    size: u64,
    /// Where the last read ended.
    reached: AtomicU64,
    /// Where in the file the first chunk begins that was not asked for ahead.
    next: AtomicU64,
}

/// A part of a file's list: where each of these chunks begins.
struct Part(Vec<(u64, ChunkRef)>);

impl Part {
    fn new(start: u64, chunks: Vec<ChunkRef>) -> Self {
        let place = |at: &mut u64, chunk: ChunkRef| {
            let start = *at;
            *at = start.saturating_add(chunk.len.into());
            Some((start, chunk))
        };
        Self(chunks.into_iter().scan(start, place).collect())
    }

    /// The chunks from the one on that holds the byte at `offset`.
    fn from(&self, offset: u64) -> &[(u64, ChunkRef)] {
        &self.0[self.0.partition_point(|(start, chunk)| start.saturating_add(chunk.len.into()) <= offset)..]
    }
}

impl OpenFile {
    pub(super) fn new(ino: u64, content: Content, size: u64) -> Self {
        Self { ino, content, size, reached: AtomicU64::new(0), next: AtomicU64::new(0) }
    }
}

impl Files {
    pub(super) fn new(window: Window) -> Self {
        let (ahead, wanted) = sync_channel(WAITING);
        let wanted = Arc::new(Mutex::new(wanted));
        let shared = Arc::new(Shared { window, chunks: Chunks::new(KEPT) });
        for number in 0..READERS {
            let (shared, wanted) = (Arc::clone(&shared), Arc::clone(&wanted));
            let name = format!("read-ahead-{number}");
            // Without it everything is as right, and slower.
            let _ = std::thread::Builder::new().name(name).spawn(move || read_ahead(&shared, &wanted));
        }
        Self { shared, ahead }
    }

    /// Hands the bytes of a file from `offset` on, `len` of them or as many as there are, to `take`.
    ///
    /// # Errors
    /// The reader's error for the first page or chunk that cannot be read.
    pub(super) fn read<T>(&self, file: &OpenFile, offset: u64, len: usize, take: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let end = offset.saturating_add(len as u64).min(file.size);
        if offset >= end {
            return Ok(take(&[]));
        }
        let mut part = self.part(file, offset)?;
        self.look_ahead(file, offset, end, &part);
        let within = |start: u64, bytes: &[u8]| {
            let from = offset.saturating_sub(start) as usize;
            from..bytes.len().min((end - start) as usize)
        };
        if let [(start, chunk), ..] = part.from(offset)
            && start.saturating_add(chunk.len.into()) >= end
        {
            let bytes = self.shared.chunk(chunk)?;
            return Ok(take(&bytes[within(*start, &bytes)]));
        }
        let mut whole = Vec::with_capacity((end - offset) as usize);
        let mut at = offset;
        let mut last: Option<(ChunkRef, Arc<Vec<u8>>)> = None;
        while at < end {
            for (start, chunk) in part.from(at).iter().take_while(|(start, _)| *start < end) {
                let bytes = match last.take() {
                    Some((known, bytes)) if known == *chunk => bytes,
                    _ => self.shared.chunk(chunk)?,
                };
                whole.extend_from_slice(&bytes[within(*start, &bytes)]);
                at = start.saturating_add(chunk.len.into());
                last = Some((*chunk, bytes));
            }
            if at < end {
                part = self.part(file, at)?;
                if part.from(at).is_empty() {
                    return Err(Error::new(Kind::Damaged, "reading a file", "its chunks end before it does"));
                }
            }
        }
        Ok(take(&whole))
    }

    /// Whether the list of a file can be read, at its beginning.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub(super) fn probe(&self, file: &OpenFile) -> Result<()> {
        self.part(file, 0).map(|_| ())
    }

    /// The part of a file's list that tells of a place in it.
    fn part(&self, file: &OpenFile, offset: u64) -> Result<Part> {
        let mut page = |id: &ChunkId| {
            let bytes = self.shared.chunks.get(id, || self.shared.window.list_page(id))?;
            Ok(bytes.to_vec())
        };
        let (start, chunks) = Window::chunks_at(&file.content, file.size, offset, &mut page)?;
        Ok(Part::new(start, chunks))
    }

    /// Asks for what comes next, if the file is read in order, as far as `part` tells of it.
    fn look_ahead(&self, file: &OpenFile, offset: u64, end: u64, part: &Part) {
        let asked = part.0.partition_point(|(start, _)| *start < end);
        let after = part.0.get(asked).map_or(end, |(start, _)| *start);
        let reached = file.reached.fetch_max(end, Ordering::Relaxed);
        if reached.abs_diff(offset) > NEAR || (reached == 0 && offset > 0) {
            // Elsewhere: this is where reading in order may begin.
            file.reached.store(end, Ordering::Relaxed);
            file.next.store(after, Ordering::Relaxed);
            return;
        }
        // A file of a single chunk, or its beginning: nobody knows yet whether more is wanted.
        if offset == 0 && asked <= 1 {
            return;
        }
        loop {
            let next = file.next.fetch_max(after, Ordering::Relaxed).max(after);
            let Some((start, chunk)) = part.from(next).first().filter(|(start, _)| *start < end + AHEAD) else {
                return;
            };
            let behind = start.saturating_add(chunk.len.into());
            if file.next.compare_exchange(next, behind, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            if self.shared.chunks.knows(&chunk.id) {
                continue;
            }
            if let Err(TrySendError::Full(_)) = self.ahead.try_send(*chunk) {
                let _ = file.next.compare_exchange(behind, next, Ordering::Relaxed, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Reads what will be asked for soon, until nobody is left to ask. What fails here fails again for whoever asks.
fn read_ahead(shared: &Shared, wanted: &Mutex<Receiver<ChunkRef>>) {
    loop {
        let next = wanted.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(chunk) = next else { return };
        if !shared.chunks.knows(&chunk.id) {
            let _ = shared.chunk(&chunk);
        }
    }
}
