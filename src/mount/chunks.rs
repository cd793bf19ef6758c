//! Chunks that were decoded lately: a cache of so many bytes, in which a chunk that several ask for is read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::id::ChunkId;

/// A cache of chunks.
pub(super) struct Chunks {
    limit: usize,
    kept: Mutex<Kept>,
    arrived: Condvar,
}

#[derive(Default)]
struct Kept {
    by_id: HashMap<ChunkId, Slot>,
    by_age: BTreeMap<u64, ChunkId>,
    bytes: usize,
    clock: u64,
}

enum Slot {
    /// Somebody is reading it.
    Coming,
    /// Its bytes, and when they were asked for last.
    Here(Arc<Vec<u8>>, u64),
}

impl Chunks {
    /// Keeps so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default(), arrived: Condvar::new() }
    }

    /// Whether a chunk is there or being read.
    pub(super) fn knows(&self, id: &ChunkId) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// A chunk's bytes, by `read` if they are not there. While somebody else is reading them, this waits for him.
    ///
    /// # Errors
    /// That of `read`.
    pub(super) fn get(&self, id: &ChunkId, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        let mut kept = self.lock();
        loop {
            match kept.by_id.get(id) {
                None => break,
                Some(Slot::Here(..)) => return Ok(kept.touch(id)),
                Some(Slot::Coming) => kept = self.arrived.wait(kept).unwrap_or_else(PoisonError::into_inner),
            }
        }
        kept.by_id.insert(*id, Slot::Coming);
        drop(kept);
        // Whatever becomes of the reading, nobody waits for ever.
        let claim = Claim { chunks: self, id };
        let bytes = Arc::new(read()?);
        self.lock().put(*id, &bytes, self.limit);
        drop(claim);
        Ok(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Claim<'a> {
    chunks: &'a Chunks,
    id: &'a ChunkId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut kept = self.chunks.lock();
        if matches!(kept.by_id.get(self.id), Some(Slot::Coming)) {
            kept.by_id.remove(self.id);
        }
        drop(kept);
        self.chunks.arrived.notify_all();
    }
}

impl Kept {
    fn touch(&mut self, id: &ChunkId) -> Arc<Vec<u8>> {
        self.clock += 1;
        let clock = self.clock;
        let Some(Slot::Here(bytes, age)) = self.by_id.get_mut(id) else { return Arc::default() };
        let (bytes, before) = (Arc::clone(bytes), std::mem::replace(age, clock));
        self.by_age.remove(&before);
        self.by_age.insert(clock, *id);
        bytes
    }

    fn put(&mut self, id: ChunkId, bytes: &Arc<Vec<u8>>, limit: usize) {
        self.clock += 1;
        self.bytes += bytes.len();
        self.by_id.insert(id, Slot::Here(Arc::clone(bytes), self.clock));
        self.by_age.insert(self.clock, id);
        while self.bytes > limit {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            if let Some(Slot::Here(bytes, _)) = self.by_id.remove(&oldest) {
                self.bytes -= bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::error::{Error, Kind};

    fn id(number: u8) -> ChunkId {
        ChunkId::from_bytes([number; 32])
    }

    #[test]
    fn what_was_asked_for_last_stays_and_the_sum_is_bounded() {
        let chunks = Chunks::new(300);
        let get = |number: u8| chunks.get(&id(number), || Ok(vec![number; 100])).expect("a chunk");
        (1..=3).for_each(|number| assert_eq!(*get(number), vec![number; 100]));
        get(1);
        get(4);
        assert!(!chunks.knows(&id(2)) && [1, 3, 4].iter().all(|number| chunks.knows(&id(*number))));
        assert_eq!(chunks.lock().bytes, 300);
        chunks.get(&id(5), || Ok(vec![0; 1000])).expect("one that is too large is handed out and not kept");
        let kept = chunks.lock();
        assert_eq!((kept.bytes, kept.by_age.len()), (0, 0));
    }

    #[test]
    fn a_chunk_that_several_want_is_read_once_and_a_failure_is_nobodys_end() {
        let chunks = Chunks::new(1000);
        let reads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let read = || {
                        reads.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(20));
                        Ok(vec![7; 10])
                    };
                    assert_eq!(*chunks.get(&id(7), read).expect("a chunk"), [7; 10]);
                });
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        let failed = chunks.get(&id(8), || Err(Error::new(Kind::Damaged, "reading", "it is broken")));
        assert!(failed.is_err() && !chunks.knows(&id(8)));
        assert!(chunks.get(&id(8), || Ok(vec![1])).is_ok());
    }
}
