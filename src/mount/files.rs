//! Open files: which chunk lies where, and reading ahead.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::chunks::Chunks;
use crate::error::Result;
use crate::view::{ChunkRef, Window};

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

/// A file that is open.
pub(super) struct OpenFile {
    /// The inode that was opened.
    pub(super) ino: u64,
    chunks: Vec<ChunkRef>,
    /// Where each chunk ends in the file.
    ends: Vec<u64>,
    /// Where the last read ended.
    reached: AtomicU64,
    /// The first chunk that was not asked for ahead.
    next: AtomicUsize,
}

impl OpenFile {
    pub(super) fn new(ino: u64, chunks: Vec<ChunkRef>) -> Self {
        let ends = chunks.iter().scan(0, |end: &mut u64, chunk| {
            *end = end.saturating_add(chunk.len.into());
            Some(*end)
        });
        Self { ino, ends: ends.collect(), chunks, reached: AtomicU64::new(0), next: AtomicUsize::new(0) }
    }

    /// Where a chunk begins.
    fn start(&self, at: usize) -> u64 {
        at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
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
    /// The reader's error for the first chunk that cannot be read.
    pub(super) fn read<T>(&self, file: &OpenFile, offset: u64, len: usize, take: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let end = offset.saturating_add(len as u64).min(file.ends.last().copied().unwrap_or(0));
        if offset >= end {
            return Ok(take(&[]));
        }
        let first = file.ends.partition_point(|end| *end <= offset);
        let last = file.ends.partition_point(|one| *one < end).min(file.chunks.len() - 1);
        self.look_ahead(file, offset, end, last);
        let part = |at: usize, bytes: &[u8]| {
            let start = file.start(at);
            let from = offset.saturating_sub(start) as usize;
            let to = bytes.len().min((end - start) as usize);
            from..to
        };
        if first == last {
            let bytes = self.shared.chunk(&file.chunks[first])?;
            return Ok(take(&bytes[part(first, &bytes)]));
        }
        let mut whole = Vec::with_capacity((end - offset) as usize);
        for at in first..=last {
            let bytes = self.shared.chunk(&file.chunks[at])?;
            whole.extend_from_slice(&bytes[part(at, &bytes)]);
        }
        Ok(take(&whole))
    }

    /// Asks for what comes next, if the file is read in order.
    fn look_ahead(&self, file: &OpenFile, offset: u64, end: u64, last: usize) {
        let reached = file.reached.fetch_max(end, Ordering::Relaxed);
        if reached.abs_diff(offset) > NEAR || (reached == 0 && offset > 0) {
            // Elsewhere: this is where reading in order may begin.
            file.reached.store(end, Ordering::Relaxed);
            file.next.store(last + 1, Ordering::Relaxed);
            return;
        }
        // A file of a single chunk, or its beginning: nobody knows yet whether more is wanted.
        if offset == 0 && last == 0 {
            return;
        }
        loop {
            let next = file.next.fetch_max(last + 1, Ordering::Relaxed).max(last + 1);
            let Some(chunk) = file.chunks.get(next).filter(|_| file.start(next) < end + AHEAD) else { return };
            if file.next.compare_exchange(next, next + 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            if self.shared.chunks.knows(&chunk.id) {
                continue;
            }
            if let Err(TrySendError::Full(_)) = self.ahead.try_send(*chunk) {
                let _ = file.next.compare_exchange(next + 1, next, Ordering::Relaxed, Ordering::Relaxed);
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
