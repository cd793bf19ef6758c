//! What all threads together may have in memory at once of what they read.
//!
//! A frame of a few bytes may hold a chunk of 64 MiB, and there may be a thread for each of many cores. So whoever unpacks
//! takes room for it first, and waits while others have it. Room is given back by dropping what was taken. Whoever wants
//! more than there is at all gets everything, alone; so nobody waits for ever, as long as nobody takes twice from one and
//! the same memory.

use std::sync::{Condvar, Mutex, PoisonError};

/// Room for so many bytes.
pub struct Memory {
    all: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

/// Room that was taken. It is free again when this is dropped.
pub struct Taken<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Memory {
    /// All of it is free.
    pub fn new(bytes: u64) -> Self {
        Self { all: bytes, free: Mutex::new(bytes), freed: Condvar::new() }
    }

    /// Takes room for so many bytes, or all that there is; waits until it is free.
    pub fn take(&self, bytes: u64) -> Taken<'_> {
        let bytes = bytes.min(self.all);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free < bytes).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Taken { memory: self, bytes }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.memory.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.memory.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn never_more_is_taken_than_there_is_and_whoever_wants_more_gets_all() {
        let (memory, taken, most) = (Memory::new(100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for number in 0..16 {
                let (memory, taken, most) = (&memory, &taken, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let wanted = [1, 30, 60, 100, 1000][(number + round) % 5];
                        let room = memory.take(wanted);
                        let now = taken.fetch_add(wanted.min(100), Ordering::SeqCst) + wanted.min(100);
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        taken.fetch_sub(wanted.min(100), Ordering::SeqCst);
                        drop(room);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100);
        assert_eq!(*memory.free.lock().expect("a lock"), 100);
    }
}
