//! The target and its directories.

use super::failed;
use super::metadata::{Habits, Metadata, Notes, Policy, apply, change_owner, is_set};
use super::name::{check_name, mark_name, os, temp_name};
use super::place::{Handles, Place};
use super::root;
use super::temp::{Finished, Replace, Temp};
use crate::error::{Error, Kind, Result};
use crate::source::{Kind as FileKind, Stat, Time};
use rustix::fs::{
    AtFlags, Mode, OFlags, XattrFlags, chownat, fstat, futimens, lgetxattr, linkat, lsetxattr, mkdirat, openat,
    readlinkat, renameat, statat, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The directory beneath which a restore writes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Target {
    shared: Arc<Shared>,
    root: Arc<Place>,
}

/// A directory of the target, or its root. Cheap to clone; holds no file handle of its own, so there may be any number.
#[derive(Debug, Clone)]
pub struct Dir {
    shared: Arc<Shared>,
    place: Arc<Place>,
}

/// What all directories of a target share.
#[derive(Debug)]
pub(super) struct Shared {
    pub path: PathBuf,
    pub policy: Policy,
    /// This file system was seen to know no rename without replacing.
    pub plain_rename_only: AtomicBool,
    /// Nor hard links.
    pub no_links: AtomicBool,
    pub habits: Habits,
    handles: Handles,
    run: u64,
    temps: AtomicU64,
}

impl Shared {
    fn new(path: PathBuf, policy: Policy) -> Self {
        let run = RandomState::new().build_hasher().finish();
        let (plain_rename_only, no_links, habits, handles, temps) = Default::default();
        Self { path, policy, plain_rename_only, no_links, habits, handles, run, temps }
    }

    pub(super) fn next_temp_name(&self) -> Vec<u8> {
        temp_name(self.run, self.temps.fetch_add(1, Relaxed))
    }
}

impl Target {
    /// Opens the directory at `path`, and with `create` makes it first, along with those above it, if it is not there. The
    /// path is the user's own, so a symbolic link in it is followed, by root only if it is root's; from there on none is.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let root = root::open(path, create)?;
        let shared = Arc::new(Shared::new(path.to_owned(), Policy::default()));
        Ok(Self { shared, root: Arc::new(Place::root(root)) })
    }

    /// The same target, restored to under another policy. Directories that were handed out before keep the former one.
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { shared: Arc::new(Shared::new(self.shared.path.clone(), policy)), root: self.root }
    }

    /// The target's own directory.
    pub fn root(&self) -> Dir {
        Dir { shared: Arc::clone(&self.shared), place: Arc::clone(&self.root) }
    }

    /// Waits until all that was restored is on the disk, and everything else of that file system with it. Meant to be
    /// called once, at the end: until then a power cut may leave restored files empty.
    pub fn sync(&self) -> Result<()> {
        let fail = |cause: io::Error| failed("syncing", &self.shared.path, cause);
        let root = self.shared.handles.of(&self.root, &self.shared.path)?;
        syncfs(&*root).map_err(|cause| fail(cause.into()))
    }
}

impl Dir {
    /// The path of this directory, for messages only.
    pub fn path(&self) -> PathBuf {
        self.place.path(&self.shared.path)
    }

    /// The directory `name` in this one, and whether it was made now (with no rights for others until
    /// [`Dir::set_metadata`], and with a mark in it until [`Dir::finish`]). A directory that is there is used. Anything else
    /// there, a link to a directory too, is an error of kind `Exists`.
    pub fn make_dir(&self, name: &[u8]) -> Result<(Dir, bool)> {
        let made = match mkdirat(self.handle_for(name)?, os(name), Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => match self.existing(name)? {
                Some(stat) if stat.kind == FileKind::Dir => false,
                _ => return Err(self.in_the_way(name, "something else than a directory lies there")),
            },
            Err(cause) => return Err(self.failed("creating the directory", name, cause)),
        };
        let place = Arc::new(Place::below(&self.place, name));
        let dir = Dir { shared: Arc::clone(&self.shared), place };
        if made {
            dir.mark();
        }
        Ok((dir, made))
    }

    /// Leaves a mark in a directory that was just made: should this run be killed, the next one knows by it that the
    /// directory's metadata are still to be set. Where that does not work, they are not.
    fn mark(&self) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = mark_name(self.shared.run);
        let _ = self.handle().map(|dir| openat(&*dir, os(&name), flags, Mode::RUSR | Mode::WUSR));
    }

    /// What this directory is now.
    pub fn stat(&self) -> Result<Stat> {
        let found = fstat(&*self.handle()?);
        Ok(found.map_err(|cause| failed("looking at", &self.path(), cause))?.into())
    }

    /// The file that bears the name, for reading, and what it is; a link is not followed, and nothing waits.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, Stat)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || {
            let file = openat(self.handle_for(name)?, os(name), flags, Mode::empty());
            let file = file.map_err(|cause| self.failed("opening", name, cause))?;
            let stat = fstat(&file).map_err(|cause| self.failed("looking at", name, cause))?;
            Ok((File::from(file), stat.into()))
        };
        open()
    }

    /// What the link that bears the name says.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        let said = readlinkat(self.handle_for(name)?, os(name), Vec::new());
        Ok(said.map_err(|cause| self.failed("reading the link", name, cause))?.into_bytes())
    }

    /// What bears the name, if anything does; a link is not followed.
    pub fn existing(&self, name: &[u8]) -> Result<Option<Stat>> {
        match statat(self.handle_for(name)?, os(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(self.failed("looking at", name, cause)),
        }
    }

    /// Starts a file that will be called `name`. Until it is finished it lies in this directory under a temporary name
    /// (see [`super::is_temp_name`]), readable by its owner alone.
    pub fn create(&self, name: &[u8]) -> Result<Temp> {
        let dir = self.handle_for(name)?;
        Temp::create(Arc::clone(&self.shared), Arc::clone(&self.place), dir, name)
    }

    /// Makes a symbolic link that says `target`, whatever that is and wherever it leads: nothing here ever follows it. Of
    /// the metadata, links have owner, time and attributes.
    pub fn symlink(&self, name: &[u8], target: &[u8], replace: Replace, meta: &Metadata) -> Result<Finished> {
        let dir = self.handle_for(name)?;
        let fail = |cause: Errno| self.failed("creating the link", name, cause);
        match replace {
            Replace::Never => match symlinkat(os(target), &*dir, os(name)) {
                Err(Errno::EXIST) => return Ok(Finished::Exists),
                made => made.map_err(fail)?,
            },
            Replace::Always => {
                let temp = self.shared.under_temp_name(|temp| symlinkat(os(target), &*dir, os(temp)));
                self.put(&dir, &temp.map_err(fail)?.0, name)?;
            }
        }
        let notes = self.set_link_metadata(&dir, name, meta);
        Ok(Finished::Written(
            notes.map_err(|cause| failed("setting the metadata of", &self.path().join(os(name)), cause))?,
        ))
    }

    /// Gives what is called `existing.1` in the directory `existing.0` a second name here. A link is not followed but gets
    /// the second name itself. A file system without hard links is an error; the caller then makes a file of its own.
    pub fn hard_link(&self, existing: (&Dir, &[u8]), name: &[u8], replace: Replace) -> Result<Finished> {
        let from = existing.0.handle_for(existing.1)?;
        let dir = self.handle_for(name)?;
        let fail = |cause: Errno| self.failed("linking", name, cause);
        let link = |name: &[u8]| linkat(&*from, os(existing.1), &*dir, os(name), AtFlags::empty());
        match replace {
            Replace::Never => match link(name) {
                Err(Errno::EXIST) => return Ok(Finished::Exists),
                made => made.map_err(fail)?,
            },
            Replace::Always => {
                let (temp, ()) = self.shared.under_temp_name(link).map_err(fail)?;
                self.put(&dir, &temp, name)?;
            }
        }
        Ok(Finished::Written(Notes::default()))
    }

    /// Sets this directory's own metadata. To be done last, and deepest directories first: rights that were restored may
    /// forbid to write in it, and writing in it changes its time.
    pub fn set_metadata(&self, meta: &Metadata) -> Result<Notes> {
        let fail = |cause: io::Error| failed("setting the metadata of", &self.path(), cause);
        let dir = self.handle()?;
        let before = Stat::from(fstat(&*dir).map_err(|cause| fail(cause.into()))?);
        apply(dir.as_fd(), meta, self.shared.policy, &before, &self.shared.habits).map_err(fail)
    }

    /// Sets this directory's own metadata and takes the marks of unfinished runs away: this run's, and `marks`.
    pub fn finish(&self, meta: &Metadata, marks: &[Box<[u8]>]) -> Result<Notes> {
        let dir = self.handle()?;
        let own = mark_name(self.shared.run);
        let unmark = || {
            for mark in marks.iter().map(|mark| &**mark).chain([own.as_slice()]) {
                let _ = unlinkat(&*dir, os(mark), AtFlags::empty());
            }
        };
        // A run that is killed in between leaves the mark or what is right; only where nobody may write, the mark goes first.
        let writable = meta.mode & 0o300 == 0o300 || rustix::process::geteuid().is_root();
        if !writable {
            unmark();
            return self.set_metadata(meta);
        }
        let notes = self.set_metadata(meta)?;
        unmark();
        self.set_time(meta.mtime)?;
        Ok(notes)
    }

    /// Sets this directory's time, which what was written in it has changed.
    pub fn set_time(&self, mtime: Time) -> Result<Notes> {
        let (dir, mut notes) = (self.handle()?, Notes::default());
        let set = self.shared.habits.set_time(mtime, &mut notes, |times| futimens(&*dir, times), || fstat(&*dir));
        set.map_err(|cause| failed("setting the time of", &self.path(), cause))?;
        Ok(notes)
    }

    /// The same where something may have been written, which is seen by its having another time now.
    pub fn put_back_time(&self, mtime: Time) -> Result<Notes> {
        if self.stat()?.mtime == mtime { Ok(Notes::default()) } else { self.set_time(mtime) }
    }

    /// By an open handle of the link itself, so that nothing put in its place meanwhile is touched.
    fn set_link_metadata(&self, dir: &OwnedFd, name: &[u8], meta: &Metadata) -> io::Result<Notes> {
        let mut notes = Notes::default();
        let policy = self.shared.policy;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = openat(dir, os(name), flags, Mode::empty())?;
        let stat = Stat::from(fstat(&link)?);
        if stat.kind != FileKind::Symlink {
            return Err(io::Error::other("the link was replaced by something else"));
        }
        if policy.owner && (stat.uid, stat.gid) != (meta.uid, meta.gid) {
            notes.hear(change_owner(meta, |uid, gid| chownat(&link, "", uid, gid, AtFlags::EMPTY_PATH)));
        }
        // There is no call for a link's attributes by its handle; this path is resolved from the directory's.
        for (xattr, value) in &meta.xattrs {
            let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(os(name));
            let set = lsetxattr(&path, os(xattr), value, XattrFlags::empty());
            if !is_set(set, value, &mut notes, |room| lgetxattr(&path, os(xattr), room)) {
                notes.lacks(xattr);
            }
        }
        let set = |times: &_| utimensat(&link, "", times, AtFlags::EMPTY_PATH);
        let found = self.shared.habits.set_time(meta.mtime, &mut notes, set, || fstat(&link))?;
        notes.compare(meta, None, policy, &found);
        Ok(notes)
    }

    /// Renames over what has the name; a temporary name that is still there afterwards is removed.
    fn put(&self, dir: &OwnedFd, temp: &[u8], name: &[u8]) -> Result<()> {
        let put = renameat(dir, os(temp), dir, os(name));
        // Also after success: two names of one file are left as they are by a rename.
        let _ = unlinkat(dir, os(temp), AtFlags::empty());
        put.map_err(|cause| match cause {
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => self.in_the_way(name, "a directory lies there"),
            cause => self.failed("restoring", name, cause),
        })
    }

    pub(super) fn handle(&self) -> Result<Arc<OwnedFd>> {
        self.shared.handles.of(&self.place, &self.shared.path)
    }

    /// This directory's handle, to do something with `name` in it.
    fn handle_for(&self, name: &[u8]) -> Result<Arc<OwnedFd>> {
        check_name(name).map_err(|error| error.within(format!("restoring into {}", self.path().display())))?;
        self.handle()
    }

    fn failed(&self, doing: &str, name: &[u8], cause: Errno) -> Error {
        failed(doing, &self.path().join(os(name)), cause)
    }

    fn in_the_way(&self, name: &[u8], why: &str) -> Error {
        Error::new(Kind::Exists, format!("restoring {}", self.path().join(os(name)).display()), why)
    }
}
