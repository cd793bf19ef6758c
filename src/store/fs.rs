//! The operating system's file calls that a local store makes, behind one small trait, so that tests can record them,
//! fail them or cut the power between them.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::LockMode;
use super::held::Held;
use crate::direct;

/// What lies in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FsItem {
    /// Its name; names that are not UTF-8 are none of ours and are left out.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Its length in bytes.
    pub len: u64,
}

/// What came of trying to lock a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tried {
    /// It is held, and nobody else can hold it in a way that does not go together.
    Held,
    /// Another process holds it.
    InUse,
    /// The file system has no locks, so nobody can tell who else is at work.
    CannotTell,
}

/// File calls on paths.
pub trait Fs: Send + Sync {
    /// Creates a file that must not exist yet, for writing.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;

    /// Opens a file in order to lock it. Some network drives lock for one alone only what is open for writing.
    ///
    /// # Errors
    /// The system's.
    fn open_to_lock(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.open(path)
    }
    /// Gives a file its name, unless that name is taken ([`io::ErrorKind::AlreadyExists`]).
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file its name, in place of a file that has it.
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What lies in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>>;
    /// From now on every path below `root` leads into the folder that is there now, wherever its own path may lead.
    ///
    /// # Errors
    /// The system's, if there is no folder.
    fn hold(&self, root: &Path) -> io::Result<()> {
        let _ = root;
        Ok(())
    }

    /// Whether the path of the folder that is held still leads to it.
    ///
    /// # Errors
    /// The system's.
    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// What tells this file or folder from every other, a copy of it among them, for as long as it lies there; none if
    /// that cannot be told.
    fn identity(&self, _: &Path) -> Option<Vec<u8>> {
        None
    }
}

/// Calls on an open file.
pub trait FsFile: Send + Sync {
    /// Appends all of `bytes`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Lets go of what is remembered of its content, so that the next read asks the drive. Best effort.
    fn forget(&self) {}
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Locks the file against other processes without waiting.
    fn try_lock(&self, mode: LockMode) -> io::Result<Tried>;
    /// What tells this open file from another one that is open now; none if that cannot be told.
    fn number(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The real operating system, by plain paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl Fs for Os {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Held::default().create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Held::default().open(path)
    }

    fn open_to_lock(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Held::default().open_to_lock(path)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Held::default().rename_new(from, to)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        Held::default().rename_over(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Held::default().sync_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Held::default().create_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Held::default().remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>> {
        Held::default().list(path)
    }

    fn identity(&self, path: &Path) -> Option<Vec<u8>> {
        Held::default().identity(path)
    }
}

/// An open file. Long writes go past the page cache where the drive allows it.
pub(super) struct OsFile {
    file: File,
    /// Bytes appended so far.
    written: u64,
}

impl OsFile {
    pub(super) fn boxed(file: File) -> Box<dyn FsFile> {
        Box::new(Self { file, written: 0 })
    }
}

impl FsFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let front = direct::write_front(&self.file, self.written, bytes)?;
        platform::write_all_at(&self.file, &bytes[front..], self.written + front as u64)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        platform::read_exact_at(&self.file, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn forget(&self) {
        platform::forget(&self.file);
    }

    fn sync(&self) -> io::Result<()> {
        platform::sync(&self.file)
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<Tried> {
        let tried = match mode {
            LockMode::Shared => self.file.try_lock_shared(),
            LockMode::Exclusive => self.file.try_lock(),
        };
        match tried {
            Ok(()) => Ok(Tried::Held),
            Err(TryLockError::WouldBlock) => Ok(Tried::InUse),
            // A place without locks, as some network drives are.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Tried::CannotTell),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    #[cfg(unix)]
    fn number(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
    }
}

/// Whether this is what a file system answers that cannot lock; some say of a file that is open for reading only that it
/// is the wrong one for it.
fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    let known = [Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOLCK, Errno::BADF];
    error.kind() == io::ErrorKind::Unsupported || code.is_some_and(|code| known.contains(&code))
}

/// Reads a whole file that is not an archive's object and may be longer than `limit`.
pub(super) fn read_limited(file: &dyn FsFile, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let size = file.size()?;
    if size > limit {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Syncs a file or folder.
pub(super) fn sync(file: &File) -> io::Result<()> {
    platform::sync(file)
}

/// What differs between operating systems.
mod platform {
    use super::{File, io};

    /// Syncs a file or folder. Where the strongest flush is not supported (macOS on some drives), the plain one serves.
    pub fn sync(file: &File) -> io::Result<()> {
        match file.sync_all() {
            Err(error) if super::super::local::is_unsupported(&error) => {
                rustix::fs::fsync(file).map_err(io::Error::from)
            }
            done => done,
        }
    }

    /// Drops a file's clean pages from the page cache.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn forget(file: &File) {
        // Where that is not possible the next read may be answered from memory.
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn forget(_: &File) {}

    #[cfg(unix)]
    pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
    }

    #[cfg(not(unix))]
    pub fn write_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek, Write};
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    #[cfg(unix)]
    pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
    }

    #[cfg(not(unix))]
    pub fn read_exact_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek};
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_without_locks_are_known_by_their_answers() {
        use rustix::io::Errno;
        let answers = |code: Errno| has_no_locks(&io::Error::from_raw_os_error(code.raw_os_error()));
        assert!([Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOLCK, Errno::BADF].into_iter().all(answers));
        assert!(!answers(Errno::IO) && !answers(Errno::ACCESS) && !answers(Errno::AGAIN));
    }
}
