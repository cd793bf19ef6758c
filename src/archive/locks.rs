//! Who holds the archive: together with others who add, or alone, as whoever removes objects must.
//!
//! A lock is tried again for a while before an archive counts as in use: whoever only looks whether somebody is at work
//! holds it alone for a moment, and so does a backup that begins. What is held is held until it is dropped; nobody who
//! would remove objects ever goes on without.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Archive;
use crate::error::{Error, Kind, Result};
use crate::format::names;
use crate::store::{Lock, LockMode};

/// How long an archive that is in use is tried again.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first pause between two tries; each is twice as long as the one before, up to the longest.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

impl Archive {
    /// Holds the archive alone, as whoever removes objects must.
    ///
    /// # Errors
    /// [`Kind::InUse`] while any other process writes to it, [`Kind::NoLocks`] where nobody can tell.
    pub fn lock_alone(&self) -> Result<Lock> {
        patiently(|| self.try_alone())
    }

    /// The same, if that is possible at once.
    pub(super) fn try_alone(&self) -> Result<Lock> {
        self.try_to_hold(self.held_by()?)
    }

    /// Holds the archive together with others who add. Where the place has no locks nobody is kept out by that, and whoever
    /// only adds needs nobody kept out.
    ///
    /// # Errors
    /// [`Kind::InUse`] while another process holds it alone.
    pub fn lock_shared(&self) -> Result<Lock> {
        patiently(|| self.try_shared())
    }

    /// The same, if that is possible at once.
    pub(super) fn try_shared(&self) -> Result<Lock> {
        self.store.lock(self.held_by()?, LockMode::Shared)
    }

    /// From now on this process is taken for the only one at work, where the place has no locks to tell by. Only for
    /// whoever was told so by a person.
    pub fn vouch_alone(&self) {
        self.vouched.store(true, Ordering::Relaxed);
    }

    /// The copy of the header that the archive is held by.
    fn held_by(&self) -> Result<&'static str> {
        let [first, copy] = names::HEADERS;
        let there = self.store.len(first)?.is_some_and(|len| len > 0);
        Ok(if there { first } else { copy })
    }

    /// Holds this copy of the header alone.
    pub(super) fn hold_alone(&self, header: &str) -> Result<Lock> {
        patiently(|| self.try_to_hold(header))
    }

    /// The same, if that is possible at once.
    pub(super) fn try_to_hold(&self, header: &str) -> Result<Lock> {
        let lock = self.store.lock(header, LockMode::Exclusive)?;
        if lock.is_certain() || self.vouched.load(Ordering::Relaxed) {
            return Ok(lock);
        }
        let why = "its file system has no locks, so nobody can tell whether another process is using it";
        Err(Error::new(Kind::NoLocks, format!("locking the archive {}", self.store.place()), why))
    }

    /// Whether another process adds to the archive, stores its chunks anew or repairs it.
    pub fn is_in_use(&self) -> bool {
        let held = |name: &&str| {
            let tried = |mode| self.store.lock(name, mode).is_err_and(|error| error.kind() == Kind::InUse);
            // Whoever holds it alone is met without keeping out those who add; the others are not.
            tried(LockMode::Shared) || tried(LockMode::Exclusive)
        };
        names::HEADERS.iter().any(held)
    }
}

/// Tries until it is not in use, or for long enough.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let (begun, mut pause) = (Instant::now(), PAUSE);
    loop {
        match attempt() {
            Err(error) if error.kind() == Kind::InUse && begun.elapsed() < PATIENCE => {
                std::thread::sleep(pause);
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            done => return done,
        }
    }
}
