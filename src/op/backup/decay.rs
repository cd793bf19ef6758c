//! Files whose bytes have changed while nothing else has: they may have decayed at the source.
//!
//! Such a file is met where one is read although it looks unchanged: because everything is read, or because reading the
//! source again has found it suspicious. What it holds now is recorded beside what it held, marked, and told aloud.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::archive::{Archive, FileKey};
use crate::id::{FileHash, SnapshotId};
use crate::op::reread::{Decayed, file_key};

pub(super) const FAILING: &str =
    "it reads differently each time: the drive, the cable or the memory is failing; it is recorded as it was";
pub(super) const WHY: &str = "its bytes have changed while nothing else of it has, as when a drive decays";

/// What is suspected, and what was found.
pub(super) struct Decay {
    suspects: HashMap<FileKey, FileHash>,
    host: String,
    settled: Mutex<Vec<FileKey>>,
    found: Mutex<Vec<Decayed>>,
}

impl Decay {
    pub(super) fn new(archive: &Archive, host: &str) -> Self {
        let (settled, found) = Default::default();
        Self { suspects: archive.suspects(), host: host.to_owned(), settled, found }
    }

    /// Whether a file that looks unchanged is to be read all the same.
    pub(super) fn suspects(&self, path: &Path) -> bool {
        !self.suspects.is_empty() && self.suspects.contains_key(&file_key(&self.host, path))
    }

    /// A suspect has been read.
    pub(super) fn settle(&self, path: &Path) {
        if self.suspects(path) {
            lock(&self.settled).push(file_key(&self.host, path));
        }
    }

    /// A file has other bytes than `good`, the snapshot and the path in it, has of it.
    pub(super) fn note(&self, path: &Path, size: u64, good: Option<(SnapshotId, Vec<u8>)>) {
        lock(&self.found).push(Decayed { path: path.to_owned(), good, size });
    }

    /// Suspects that were read, and what was found.
    pub(super) fn end(self) -> (Vec<FileKey>, Vec<Decayed>) {
        let settled = self.settled.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        (settled, found)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
