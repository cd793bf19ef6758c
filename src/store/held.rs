//! The operating system's file calls in a folder that is held open.
//!
//! A path may lead elsewhere from one call to the next: a drive drops out and comes back, its mount point is an empty folder on
//! the system's own disk meanwhile, or a copy of the archive takes its place. So before the first write the folder is opened,
//! and from then on every call is relative to what was opened: nothing of one run can ever lie in two places. Whether the
//! path still leads there is asked by number; what is open keeps its number for as long as it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, OFlags, Stat, fstat, stat};
use rustix::io::Errno;

use super::fs::{Fs, FsFile, FsItem, OsFile, sync};
use super::{at, identity};

/// The operating system, and the archive's folder once it is held.
#[derive(Debug, Default)]
pub struct Held(OnceLock<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    open: std::fs::File,
    identity: Option<Vec<u8>>,
}

impl Held {
    /// Where a path begins, and what is left of it.
    fn at<'p>(&'p self, path: &'p Path) -> (BorrowedFd<'p>, &'p Path) {
        let below = self.0.get().and_then(|folder| Some((folder, path.strip_prefix(&folder.path).ok()?)));
        match below {
            Some((folder, below)) if below.as_os_str().is_empty() => (folder.open.as_fd(), Path::new(".")),
            Some((folder, below)) => (folder.open.as_fd(), below),
            None => (CWD, path),
        }
    }
}

impl Folder {
    fn is_in_place(&self) -> io::Result<bool> {
        let there = match stat(&self.path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            there => there?,
        };
        let held = fstat(&self.open)?;
        // Where a file system makes numbers up, the same folder may get another one with each question.
        let is_known =
            || there.st_dev == held.st_dev && self.identity.is_some() && self.identity == identity::of(&self.path);
        Ok(numbers(&there) == numbers(&held) || identity::makes_numbers_up(&self.path) && is_known())
    }
}

#[allow(clippy::unnecessary_cast, clippy::cast_lossless)] // they have other types on each kind of machine
fn numbers(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

impl Fs for Held {
    fn hold(&self, root: &Path) -> io::Result<()> {
        if self.0.get().is_none() {
            let open = at::open_dir(CWD, root)?;
            // Whoever comes second holds the same, or is told so.
            let _ = self.0.set(Folder { path: root.to_owned(), open, identity: identity::of(root) });
        }
        Ok(())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.0.get().map_or(Ok(true), Folder::is_in_place)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let (dir, path) = self.at(path);
        Ok(OsFile::boxed(at::create_new(dir, path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let (dir, path) = self.at(path);
        Ok(OsFile::boxed(at::open(dir, path, OFlags::RDONLY)?))
    }

    fn open_to_lock(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let (dir, path) = self.at(path);
        let file = at::open(dir, path, OFlags::RDWR).or_else(|_| at::open(dir, path, OFlags::RDONLY));
        Ok(OsFile::boxed(file?))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        at::rename_new(self.at(from), self.at(to))
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        at::rename_over(self.at(from), self.at(to))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, path) = self.at(path);
        sync(&at::open_dir(dir, path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, path) = self.at(path);
        at::create_dir(dir, path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, path) = self.at(path);
        at::remove(dir, path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>> {
        let (dir, path) = self.at(path);
        at::list(dir, path)
    }

    fn identity(&self, path: &Path) -> Option<Vec<u8>> {
        identity::of(path)
    }
}
