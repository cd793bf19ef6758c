//! One file on its way into the target: written under a temporary name, then given its own in one step.
//!
//! For as long as it has its temporary name, its writer holds a lock on it. So one that nobody holds was left by a restore
//! that was killed, and the next one may remove it.

use super::dir::Shared;
use super::failed;
use super::metadata::{Metadata, Notes, apply};
use super::name::os;
use super::place::Place;
use crate::direct;
use crate::error::{Error, Kind, Result};
use crate::source::Stat;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, linkat, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What to do if something already bears the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Leave it alone.
    Never,
    /// Put the restored file or link in the place of a file or link. A directory is never replaced.
    Always,
}

/// How a file or link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Finished {
    /// It bears its name. The notes say which metadata it lacks.
    Written(Notes),
    /// Something else has the name, and is untouched ([`Replace::Never`]).
    Exists,
}

/// A file that is being written under a temporary name. Dropped without [`Temp::finish`], it is removed.
#[derive(Debug)]
pub struct Temp {
    shared: Arc<Shared>,
    place: Arc<Place>,
    dir: Arc<OwnedFd>,
    file: File,
    /// What it was when it was made.
    made: Stat,
    temp_name: Vec<u8>,
    name: Box<[u8]>,
    /// A write failed; what is on the disk is not known.
    broken: bool,
    /// The temporary name is still there.
    named: bool,
}

impl Temp {
    pub(super) fn create(shared: Arc<Shared>, place: Arc<Place>, dir: Arc<OwnedFd>, name: &[u8]) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = shared.under_temp_name(|temp| {
            let file = openat(&*dir, os(temp), flags, Mode::RUSR | Mode::WUSR)?;
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
            let stat = fstat(&file)?;
            // Another run took it for one that was left, before it was locked.
            if stat.st_nlink == 0 || locked == Err(Errno::WOULDBLOCK) {
                return Err(Errno::EXIST);
            }
            Ok((file, stat.into()))
        });
        let (temp_name, (file, made)) =
            made.map_err(|cause| failed("creating a file in", &place.path(&shared.path), cause))?;
        let (file, name) = (file.into(), name.into());
        Ok(Self { shared, place, dir, file, made, temp_name, name, broken: false, named: true })
    }

    /// Writes all of `bytes` at `offset`. After a failed write the file cannot be finished any more.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = direct::write_front(&self.file, offset, bytes)
            .and_then(|front| self.file.write_all_at(&bytes[front..], offset + front as u64));
        self.broken |= written.is_err();
        written.map_err(|cause| failed("writing", &self.path(), cause))
    }

    /// Sets the length. What was never written below it reads as zeros and takes no room where the file system knows holes.
    pub fn set_len(&mut self, len: u64) -> Result<()> {
        let set = self.file.set_len(len);
        self.broken |= set.is_err();
        set.map_err(|cause| failed("setting the length of", &self.path(), cause))
    }

    /// Reads back all of `buf` from `offset` on, to compare it with what was meant to be there. This may come from the
    /// system's memory and not from the disk.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|cause| failed("reading back", &self.path(), cause))
    }

    /// Sets the metadata, then gives the file its name in one step. On [`Finished::Exists`] and on an error nothing of it
    /// is left.
    ///
    /// Where the file system cannot rename without replacing, the name is given by a hard link, which cannot replace
    /// either; where that does not work either, whatever it says, by a look and a rename, between which another program
    /// could take the name.
    pub fn finish(mut self, meta: &Metadata, replace: Replace) -> Result<Finished> {
        if self.broken {
            return Err(Error::new(
                Kind::Target,
                format!("finishing {}", self.path().display()),
                "a write to it failed",
            ));
        }
        let notes = apply(self.file.as_fd(), meta, self.shared.policy, &self.made, &self.shared.habits)
            .map_err(|cause| failed("setting the metadata of", &self.path(), cause))?;
        let placed = self.shared.place_name(&self.dir, &self.temp_name, &self.name, replace);
        match placed.map_err(|cause| self.misplaced(cause))? {
            true => {
                self.named = false;
                Ok(Finished::Written(notes))
            }
            false => Ok(Finished::Exists),
        }
    }

    fn misplaced(&self, cause: Errno) -> Error {
        match cause {
            // What a rename onto a directory gives.
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => {
                Error::new(Kind::Exists, format!("restoring {}", self.path().display()), "a directory lies there")
            }
            cause => failed("restoring", &self.path(), cause),
        }
    }

    fn path(&self) -> PathBuf {
        self.place.path(&self.shared.path).join(os(&self.name))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.named {
            // Nothing can be done about one that stays; its name tells what it is.
            let _ = unlinkat(&*self.dir, os(&self.temp_name), AtFlags::empty());
        }
    }
}

impl Shared {
    /// Makes something under a new temporary name and says which.
    pub(super) fn under_temp_name<T>(
        &self,
        make: impl Fn(&[u8]) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<(Vec<u8>, T)> {
        let mut tries = 0;
        loop {
            let name = self.next_temp_name();
            match make(&name) {
                Err(Errno::EXIST) if tries < 100 => tries += 1,
                made => return Ok((name, made?)),
            }
        }
    }

    /// Gives what bears the temporary name `temp` its own; false if that is taken and must stay. After `Ok(true)` the
    /// temporary name is gone.
    pub(super) fn place_name(
        &self,
        dir: &OwnedFd,
        temp: &[u8],
        name: &[u8],
        replace: Replace,
    ) -> rustix::io::Result<bool> {
        if replace == Replace::Always {
            renameat(dir, os(temp), dir, os(name))?;
            return Ok(true);
        }
        if !self.plain_rename_only.load(Relaxed) {
            match renameat_with(dir, os(temp), dir, os(name), RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(true),
                Err(Errno::EXIST) => return Ok(false),
                // Also said of a name that this file system does not allow, which the other ways will find out.
                Err(_) => {}
            }
        }
        if !self.no_links.load(Relaxed) {
            match linkat(dir, os(temp), dir, os(name), AtFlags::empty()) {
                Ok(()) => {
                    // A second name that stays is known by what it is called.
                    let _ = unlinkat(dir, os(temp), AtFlags::empty());
                    self.plain_rename_only.store(true, Relaxed);
                    return Ok(true);
                }
                Err(Errno::EXIST) => return Ok(false),
                Err(_) => {}
            }
        }
        match statat(dir, os(name), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => renameat(dir, os(temp), dir, os(name))?,
            Err(cause) => return Err(cause),
            Ok(_) => return Ok(false),
        }
        self.plain_rename_only.store(true, Relaxed);
        self.no_links.store(true, Relaxed);
        Ok(true)
    }
}
