//! The operating system's file calls that a local store makes, behind one small trait, so that tests can record them,
//! fail them or cut the power between them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::LockMode;

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

/// File calls on paths.
pub trait Fs: Send + Sync {
    /// Creates a file that must not exist yet, for writing.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Gives a file its name, unless that name is taken ([`io::ErrorKind::AlreadyExists`]).
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What lies in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>>;
}

/// Calls on an open file.
pub trait FsFile: Send + Sync {
    /// Appends all of `bytes`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Locks the file against other processes without waiting; `false` if another holds it.
    fn try_lock(&self, mode: LockMode) -> io::Result<bool>;
}

/// The real operating system. Long writes go past the page cache where the drive allows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl Fs for Os {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(OsFile { file: OpenOptions::new().write(true).create_new(true).open(path)?, written: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(OsFile { file: File::open(path)?, written: 0 }))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        platform::rename_new(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        platform::sync(&File::open(path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>> {
        let mut items = Vec::new();
        for item in std::fs::read_dir(path)? {
            let item = item?;
            let Ok(name) = item.file_name().into_string() else { continue };
            match item.metadata() {
                Ok(meta) => items.push(FsItem { name, is_dir: meta.is_dir(), len: meta.len() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // renamed or removed meanwhile
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }
}

struct OsFile {
    file: File,
    /// Bytes appended so far.
    written: u64,
}

impl FsFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let past = platform::write_past_cache(&mut self.file, self.written, bytes)?;
        self.file.write_all(&bytes[past..])?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        platform::read_exact_at(&self.file, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        platform::sync(&self.file)
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        let tried = match mode {
            LockMode::Shared => self.file.try_lock_shared(),
            LockMode::Exclusive => self.file.try_lock(),
        };
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            // A place without locks (some network drives): writers there only add, and each to names of its own.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
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

/// What differs between operating systems.
mod platform {
    use super::{File, Path, io};

    /// Syncs a file or folder. Where the strongest flush is not supported (macOS on some drives), the plain one serves.
    pub fn sync(file: &File) -> io::Result<()> {
        match file.sync_all() {
            Err(error) if super::super::local::is_unsupported(&error) => {
                rustix::fs::fsync(file).map_err(io::Error::from)
            }
            done => done,
        }
    }

    /// What is written past the page cache has at least this length, in bytes.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const LARGE: usize = 1 << 20;
    /// Memory, offsets and lengths of such writes are multiples of this, which satisfies every drive.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ALIGN: usize = 4096;
    /// As much is written at once, in bytes.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const STAGE: usize = 4 << 20;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    thread_local! {
        static STAGING: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    /// Writes the front of `bytes` straight to the drive, where that is possible, and says how much that was. A pack is
    /// written once and not read soon, so the page cache would only cost a copy and push out what the user needs. What is
    /// durable when does not change: the file is synced afterwards as any other.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn write_past_cache(file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        if bytes.len() < LARGE || !offset.is_multiple_of(ALIGN as u64) {
            return Ok(0);
        }
        let flags = fcntl_getfl(&*file)?;
        if fcntl_setfl(&*file, flags | OFlags::DIRECT).is_err() {
            return Ok(0);
        }
        let written = STAGING.with_borrow_mut(|staging| write_aligned(file, staging, bytes));
        fcntl_setfl(&*file, flags)?;
        written
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn write_past_cache(_: &mut File, _: u64, _: &[u8]) -> io::Result<usize> {
        Ok(0)
    }

    /// Writes whole blocks by way of an aligned buffer. A file system that refuses such writes gets none.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn write_aligned(file: &mut File, staging: &mut Vec<u8>, bytes: &[u8]) -> io::Result<usize> {
        use std::io::Write;
        staging.resize(STAGE + ALIGN, 0);
        let start = staging.as_ptr().align_offset(ALIGN);
        let stage = &mut staging[start..start + STAGE];
        let mut written = 0;
        loop {
            let len = (bytes.len() - written).min(STAGE) / ALIGN * ALIGN;
            if len == 0 {
                return Ok(written);
            }
            stage[..len].copy_from_slice(&bytes[written..written + len]);
            match file.write(&stage[..len]) {
                Ok(wrote) => {
                    written += wrote;
                    if wrote < len {
                        return Ok(written); // the rest goes the usual way, and says what is wrong
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(written),
                Err(error) => return Err(error),
            }
        }
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

    /// Renames without replacing. Where the file system cannot promise that, a look at the name comes before; objects
    /// are named by their content or drawn at random, so two writers of one name write the same bytes.
    pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                done => return done.map_err(io::Error::from),
            }
        }
        if to.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(from, to)
    }
}
