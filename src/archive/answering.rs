//! The archive's store, as an archive sees it: it tells a bad sector from a drive that is gone.
//!
//! An object that the drive reports as unreadable, while it still answers for others, is a damaged object: it is mended,
//! passed over or named like any other damage. An error of anything else, or of a drive that no longer answers, stays one
//! of the store and ends the work; so does an object that is "missing" since the whole folder has gone. Only reading is
//! judged: an error of writing is never taken for anything else.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::store::{Leftovers, Lock, LockMode, Object, Put, Store};

/// A store whose unreadable objects are damaged ones; and objects that are always there.
pub(super) struct Answering(pub(super) Arc<dyn Store>, pub(super) Vec<String>);

impl Answering {
    fn judged<T>(&self, read: Result<T>) -> Result<T> {
        let read = read.map_err(|error| match error.kind() {
            Kind::Store if is_of_the_medium(&error) && answers(&*self.0, &self.1) => error.of_kind(Kind::Damaged),
            _ => error,
        });
        self.present(read)
    }

    /// In the empty folder of a drive that is no longer mounted nothing is there, and that says nothing of any object.
    fn still_there(&self) -> Result<()> {
        let mut trouble = None;
        for sign in &self.1 {
            match self.0.len(sign) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(error) => trouble = Some(error),
            }
        }
        let gone = || {
            let why = std::io::Error::new(std::io::ErrorKind::NotConnected, "it is no longer there");
            Error::caused(Kind::Store, format!("reading the archive in {}", self.0.place()), why)
        };
        Err(trouble.unwrap_or_else(gone))
    }

    /// What is missing is judged as what is read: of a place that is gone nothing is missing.
    fn present<T>(&self, done: Result<T>) -> Result<T> {
        done.map_err(|error| match error.kind() {
            Kind::Missing => self.still_there().err().unwrap_or(error),
            _ => error,
        })
    }
}

/// Whether a store still answers for what is always there.
pub(super) fn answers(store: &dyn Store, signs: &[String]) -> bool {
    signs.iter().any(|sign| store.answers(sign))
}

/// Whether an object is damaged because the drive cannot read it.
pub(super) fn is_unreadable(error: &Error) -> bool {
    error.kind() == Kind::Damaged && error.io().is_some()
}

/// Whether it is what systems answer for a sector that cannot be read, or for what a file system keeps and finds broken.
pub(super) fn is_of_the_medium(error: &Error) -> bool {
    let Some(error) = error.io() else { return false };
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let known = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::BADMSG, Errno::UCLEAN, Errno::REMOTEIO];
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let known = [Errno::IO];
        error.raw_os_error().is_some_and(|code| known.contains(&Errno::from_raw_os_error(code)))
    }
    #[cfg(not(unix))]
    {
        const CRC: i32 = 23;
        error.raw_os_error() == Some(CRC)
    }
}

impl Store for Answering {
    fn make_place(&self) -> Result<()> {
        self.0.make_place()
    }

    fn remember(&self) {
        self.0.remember();
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        self.judged(self.0.get(name, limit))
    }

    fn read_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.judged(self.0.read_range(name, offset, buffer))
    }

    fn put_new(&self, name: &str, parts: &[&[u8]]) -> Result<Put> {
        self.0.put_new(name, parts)
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        self.0.replace(name, parts)
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        self.0.len(name)
    }

    fn list(&self, folder: &str, leftovers: Leftovers) -> Result<Vec<Object>> {
        let found = self.0.list(folder, leftovers)?;
        self.still_there()?;
        Ok(found)
    }

    fn confirm(&self, name: &str) -> Result<()> {
        self.present(self.0.confirm(name))
    }

    fn rename(&self, name: &str, to: &str) -> Result<()> {
        self.present(self.0.rename(name, to))
    }

    fn answers(&self, name: &str) -> bool {
        self.0.answers(name)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.present(self.0.delete(name))
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<Lock> {
        self.present(self.0.lock(name, mode))
    }

    fn identity(&self, name: &str) -> Option<Vec<u8>> {
        self.0.identity(name)
    }

    fn free(&self) -> Option<u64> {
        self.0.free()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn confirms_writes(&self) -> bool {
        self.0.confirms_writes()
    }
}
