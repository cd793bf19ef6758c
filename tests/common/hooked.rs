//! A drive on which something may happen at any call: a sector that cannot be read, a cable that is pulled.
#![allow(dead_code)] // each test takes what it needs

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapkeep::store::{Fs, FsFile, FsItem, Held, Local, LockMode, Tried};

/// A call, before it is made.
pub enum At<'a> {
    /// These bytes of a file are to be read.
    Read(&'a Path, Range<u64>),
    /// A file is to be given another name: from, to.
    Name(&'a Path, &'a Path),
    /// A file is to be locked.
    Lock(&'a Path),
    /// Any other.
    Other(&'a Path),
}

/// Lets a call be made, or fails it.
pub type Hook = Arc<dyn Fn(&At<'_>) -> io::Result<()> + Send + Sync>;

/// A store in this folder, on such a drive.
pub fn store(root: impl Into<PathBuf>, hook: Hook) -> Arc<Local> {
    Arc::new(Local::with(root, Box::new(Hooked(hook, Held::default()))))
}

/// What a drive answers for a bad sector, and one that is gone for everything.
pub fn io_error() -> io::Error {
    rustix::io::Errno::IO.into()
}

struct Hooked(Hook, Held);

impl Hooked {
    fn file(&self, path: &Path, file: io::Result<Box<dyn FsFile>>) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(HookedFile { hook: self.0.clone(), path: path.to_owned(), file: file? }))
    }

    fn other(&self, path: &Path) -> io::Result<()> {
        (self.0)(&At::Other(path))
    }
}

impl Fs for Hooked {
    fn hold(&self, root: &Path) -> io::Result<()> {
        self.1.hold(root)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.1.is_in_place()
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.other(path)?;
        self.file(path, self.1.create_new(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.other(path)?;
        self.file(path, self.1.open(path))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)(&At::Name(from, to))?;
        self.1.rename_new(from, to)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)(&At::Name(from, to))?;
        self.1.rename_over(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.other(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.other(path)?;
        self.1.create_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.other(path)?;
        self.1.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>> {
        self.other(path)?;
        self.1.list(path)
    }

    fn identity(&self, path: &Path) -> Option<Vec<u8>> {
        self.1.identity(path)
    }
}

struct HookedFile {
    hook: Hook,
    path: PathBuf,
    file: Box<dyn FsFile>,
}

impl FsFile for HookedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.hook)(&At::Other(&self.path))?;
        self.file.append(bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (self.hook)(&At::Read(&self.path, offset..offset + buffer.len() as u64))?;
        self.file.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (self.hook)(&At::Other(&self.path))?;
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        (self.hook)(&At::Other(&self.path))
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<Tried> {
        match (self.hook)(&At::Lock(&self.path)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Tried::CannotTell),
            done => done.and_then(|()| self.file.try_lock(mode)),
        }
    }

    fn number(&self) -> Option<(u64, u64)> {
        self.file.number()
    }
}
