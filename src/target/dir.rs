//! The target and its directories.

use super::failed;
use super::metadata::{Metadata, Notes, Now, Policy, apply, change_owner, done, set_xattr, times, wanted};
use super::name::{check_name, os, temp_name};
use super::place::{Handles, Place};
use super::temp::{Finished, Replace, Temp};
use crate::error::{Error, Kind, Result};
use crate::source::{Kind as FileKind, Stat};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, XattrFlags, chownat, fstat, linkat, lsetxattr, mkdirat, openat, renameat, statat,
    symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;
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
    handles: Handles,
    run: u64,
    temps: AtomicU64,
}

impl Shared {
    pub(super) fn next_temp_name(&self) -> Vec<u8> {
        temp_name(self.run, self.temps.fetch_add(1, Relaxed))
    }
}

impl Target {
    /// Opens the directory at `path`, and with `create` makes it first, along with those above it, if it is not there. The
    /// path is the user's own, so a symbolic link in it is followed; from there on none is.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        if create {
            std::fs::create_dir_all(path).map_err(|cause| failed("creating", path, cause))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|cause| failed("opening", path, cause))?;
        let shared = Shared {
            path: path.to_owned(),
            policy: Policy::default(),
            plain_rename_only: AtomicBool::new(false),
            handles: Handles::default(),
            run: RandomState::new().build_hasher().finish(),
            temps: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared), root: Arc::new(Place::root(root)) })
    }

    /// The same target, restored to under another policy. Directories that were handed out before keep the former one.
    pub fn with_policy(self, policy: Policy) -> Self {
        let old = &self.shared;
        let shared = Shared {
            path: old.path.clone(),
            policy,
            plain_rename_only: AtomicBool::new(old.plain_rename_only.load(Relaxed)),
            handles: Handles::default(),
            run: RandomState::new().build_hasher().finish(),
            temps: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), root: self.root }
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
    /// [`Dir::set_metadata`]). A directory that is there is used. Anything else there, a link to a directory too, is an
    /// error of kind `Exists`.
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
        Ok((Dir { shared: Arc::clone(&self.shared), place }, made))
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
        let stat = Stat::from(fstat(&*dir).map_err(|cause| fail(cause.into()))?);
        let now = Now { mode: stat.mode, uid: stat.uid, gid: stat.gid };
        apply(dir.as_fd(), meta, self.shared.policy, &now).map_err(fail)
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
            let set = change_owner(meta, |uid, gid| chownat(&link, "", uid, gid, AtFlags::EMPTY_PATH));
            done(set, &mut notes.owner)?;
        }
        // There is no call for a link's attributes by its handle; this path is resolved from the directory's.
        for (xattr, value) in meta.xattrs.iter().filter(|(xattr, _)| wanted(xattr, policy)) {
            let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(os(name));
            set_xattr(lsetxattr(&path, os(xattr), value, XattrFlags::empty()), &mut notes)?;
        }
        done(utimensat(&link, "", &times(meta.mtime), AtFlags::EMPTY_PATH), &mut notes.times)?;
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

    fn handle(&self) -> Result<Arc<OwnedFd>> {
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
