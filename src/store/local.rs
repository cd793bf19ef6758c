//! A folder on a drive.
//!
//! How an object is written, and why it is safe: under a temporary name in its own folder; synced; renamed without
//! replacing; synced **again** through the still open file (FAT32 on Linux gives a renamed file its length only then);
//! the folder synced. Whoever sees the name sees the whole object, and whoever was told "written" keeps it through a
//! power cut. After any error the temporary file is given up and never synced a second time, because a second sync may
//! report success for data that the first one lost. A damaged object is replaced in the same way, but for its name.
//!
//! Before anything is locked, written or removed, the folder is held ([`super::held`]), and before each such step its path must
//! still lead to it: whoever began at one place never goes on at another. The folder itself is made only where somebody asks
//! for a new place: below the mount point of a drive that is gone nothing is ever made.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::at::NotAFile;
use super::fs::{Fs, FsFile, Tried, read_limited};
use super::held::Held;
use super::{Leftovers, Lock, LockMode, Object, Put, Store, check_name};
use crate::error::{Error, Kind, Result, what_is_full};

/// How often a lock is tried whose file is replaced meanwhile. Where a file never is the one that its name leads to, nobody
/// can tell who holds what.
const TURNS: usize = 8;

/// Names beginning so are of writes under way or interrupted.
const TEMPORARY: &str = ".tmp-";

/// Names of so many hexadecimal digits are of objects, and a folder that bears one is none that holds objects.
const HASH_DIGITS: usize = 64;

/// How a written file gets its name.
#[derive(Clone, Copy)]
enum Naming {
    /// Only if it is free.
    New,
    /// From whoever has it.
    Replace,
}

/// A store in a local folder.
pub struct Local {
    root: PathBuf,
    fs: Box<dyn Fs>,
    unconfirmed: AtomicBool,
    /// Folders in which the names of folders are durable.
    settled: Mutex<HashSet<PathBuf>>,
    /// What tells the place at which its user began from every other.
    remembered: OnceLock<Vec<u8>>,
    held: AtomicBool,
}

impl Local {
    /// The store in this folder, which need not exist until something is put into it ([`Store::make_place`]).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with(root, Box::new(Held::default()))
    }

    /// The same, making its file calls through `fs`.
    pub fn with(root: impl Into<PathBuf>, fs: Box<dyn Fs>) -> Self {
        let (unconfirmed, held) = (AtomicBool::new(false), AtomicBool::new(false));
        let (settled, remembered) = (Mutex::default(), OnceLock::new());
        Self { root: root.into(), fs, unconfirmed, settled, remembered, held }
    }

    /// Holds the folder, which must be the one at which its user began and still be where it was.
    fn enter(&self) -> io::Result<()> {
        if !self.held.load(Ordering::Acquire) {
            self.fs.hold(&self.root).map_err(|error| if is_absence(&error) { gone() } else { error })?;
            let is_other = |remembered: &Vec<u8>| self.fs.identity(&self.root).as_ref() != Some(remembered);
            if self.remembered.get().is_some_and(is_other) {
                return Err(gone());
            }
            self.held.store(true, Ordering::Release);
        }
        if self.fs.is_in_place()? { Ok(()) } else { Err(gone()) }
    }

    /// An error about one object. What is not there although the place is no longer there says nothing of the object.
    fn failed(&self, doing: &str, name: &str, error: io::Error) -> Error {
        let is_held = self.held.load(Ordering::Acquire);
        let error = if is_absence(&error) && is_held { self.enter().err().unwrap_or(error) } else { error };
        let kind = match &error {
            error if is_absence(error) => Kind::Missing,
            error if NotAFile::is(error) => Kind::Damaged,
            _ => Kind::Store,
        };
        Error::caused(kind, format!("{doing} {name}"), error)
    }

    /// An error of writing, which is always one of the place. What cannot be found while the place is there was removed by
    /// somebody, and whoever removes anything does so alone.
    fn unwritten(&self, doing: &str, name: &str, error: io::Error) -> Error {
        let error = match error.kind() {
            io::ErrorKind::NotFound => match self.enter() {
                Err(error) => error,
                Ok(()) => {
                    let why = "what was being written was removed: another process is at work that does not see this one's lock, \
                               on another computer or through another mount";
                    return Error::new(Kind::InUse, format!("{doing} {name}"), why);
                }
            },
            _ => what_is_full(&self.root, error),
        };
        Error::caused(Kind::Store, format!("{doing} {name}"), error)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }

    /// Lets a sync pass that this place does not support, and remembers it.
    fn confirmed(&self, synced: io::Result<()>) -> io::Result<()> {
        match synced {
            Err(error) if is_unsupported(&error) => {
                self.unconfirmed.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done,
        }
    }

    /// Makes a folder in the store and those above it, each durable in the one above, whoever else may be making them.
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.make_dir_below(path, &self.root)
    }

    /// The same, but for `top` and what is above it.
    fn make_dir_below(&self, path: &Path, top: &Path) -> io::Result<()> {
        if path == top {
            return Err(gone());
        }
        let made = match self.fs.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty()).ok_or(error)?;
                self.make_dir_below(above, top)?;
                self.fs.create_dir(path)
            }
            made => made,
        };
        match made {
            // Whoever made it may not have synced it yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        self.sync_above(path)?;
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).extend(path.parent().map(Path::to_owned));
        Ok(())
    }

    /// Makes a folder's name durable.
    fn sync_above(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(above) if above.as_os_str().is_empty() => self.confirmed(self.fs.sync_dir(Path::new("."))),
            Some(above) => self.confirmed(self.fs.sync_dir(above)),
            None => Ok(()),
        }
    }

    /// Makes the names of this folder and those above it durable that were there before: whoever made them may have been
    /// killed before they were. Once for each folder that they lie in.
    fn settle(&self, folder: &Path) -> io::Result<()> {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            let Some(above) = folder.parent().filter(|above| !settled.contains(*above)) else { continue };
            match self.sync_above(folder) {
                // What is above the archive may be closed to us, and was not made by us then.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && folder == self.root => {}
                synced => synced?,
            }
            settled.insert(above.to_owned());
        }
        Ok(())
    }

    fn create(&self, folder: &Path, temporary: &Path) -> io::Result<Box<dyn FsFile>> {
        match self.fs.create_new(temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_dir(folder)?;
                self.fs.create_new(temporary)
            }
            done => done,
        }
    }

    fn write(&self, path: &Path, parts: &[&[u8]], name: Naming) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        let temporary = folder.join(temporary_name()?);
        self.enter()?;
        let mut file = self.create(folder, &temporary)?;
        let written = (|| {
            self.settle(folder)?;
            for part in parts {
                file.append(part)?;
            }
            self.confirmed(file.sync())?;
            self.enter()?;
            match name {
                Naming::New => self.fs.rename_new(&temporary, path),
                Naming::Replace => self.fs.rename_over(&temporary, path),
            }
        })();
        if let Err(error) = written {
            drop(file);
            // Best effort: what stays is swept by the next writer that is alone.
            let _ = self.fs.remove(&temporary);
            return Err(error);
        }
        self.confirmed(file.sync())?;
        self.confirmed(self.fs.sync_dir(folder))
    }

    fn confirm_path(&self, path: &Path) -> io::Result<()> {
        self.enter()?;
        self.confirmed(self.fs.open(path)?.sync())?;
        self.confirmed(self.fs.sync_dir(path.parent().unwrap_or(&self.root)))
    }

    fn list_into(&self, folder: &str, leftovers: Leftovers, objects: &mut Vec<Object>) -> Result<()> {
        let path = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let items = match self.fs.list(&path).map_err(|error| self.failed("listing", folder, error)) {
            Ok(items) => items,
            Err(error) if error.kind() == Kind::Missing => return Ok(()),
            Err(error) => return Err(error),
        };
        for item in items {
            if item.name.starts_with(TEMPORARY) {
                // In the top folder others may have files, so there the whole name has to fit.
                let ours = !item.is_dir && (!folder.is_empty() || is_temporary(&item.name));
                if leftovers == Leftovers::Remove && ours {
                    let removed = self.enter().and_then(|()| self.fs.remove(&path.join(&item.name)));
                    removed
                        .map_err(|error| self.failed("removing what an interrupted write left in", folder, error))?;
                }
                if leftovers == Leftovers::Show && ours {
                    objects.push(Object { name: format!("{folder}/{}", item.name), len: item.len });
                }
                continue;
            }
            let name = if folder.is_empty() { item.name } else { format!("{folder}/{}", item.name) };
            if check_name(&name).is_err() || item.is_dir && folder.is_empty() {
                continue; // none of ours: file managers leave such things
            }
            let is_object = !item.is_dir || is_hash(name.rsplit('/').next().unwrap_or_default());
            if !is_object {
                self.list_into(&name, leftovers, objects)?;
            } else {
                objects.push(Object { name, len: item.len });
            }
        }
        Ok(())
    }
}

impl Store for Local {
    fn make_place(&self) -> Result<()> {
        let made = match self.fs.list(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_dir_below(&self.root, Path::new("")).and_then(|()| self.enter())
            }
            _ => Ok(()), // whatever is wrong with it, the first write tells
        };
        made.map_err(|error| Error::caused(Kind::Store, format!("making the folder {}", self.place()), error))
    }

    fn remember(&self) {
        if let Some(identity) = self.fs.identity(&self.root) {
            let _ = self.remembered.set(identity); // the first time counts
        }
    }

    fn put_new(&self, name: &str, parts: &[&[u8]]) -> Result<Put> {
        let path = self.path(name)?;
        match self.write(&path, parts, Naming::New) {
            Ok(()) => Ok(Put::Written),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let len: usize = parts.iter().map(|part| part.len()).sum();
                match self.len(name)? {
                    Some(found) if found == len as u64 => {
                        self.confirm(name)?;
                        Ok(Put::Existed)
                    }
                    found => {
                        let why = format!("there is another object of that name, with {} bytes", found.unwrap_or(0));
                        Err(Error::new(Kind::Exists, format!("writing {name}"), why))
                    }
                }
            }
            Err(error) => Err(self.unwritten("writing", name, error)),
        }
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        let path = self.path(name)?;
        self.write(&path, parts, Naming::Replace).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
                Error::caused(Kind::Exists, format!("replacing {name}"), error)
            }
            _ => self.unwritten("replacing", name, error),
        })
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let path = self.path(name)?;
        let bytes = self.fs.open(&path).and_then(|file| read_limited(&*file, limit));
        match bytes.map_err(|error| self.failed("reading", name, error))? {
            Some(bytes) => Ok(bytes),
            None => {
                Err(Error::new(Kind::Damaged, format!("reading {name}"), format!("it is longer than {limit} bytes")))
            }
        }
    }

    fn read_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let path = self.path(name)?;
        match self.fs.open(&path).and_then(|file| file.read_exact_at(buffer, offset)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::new(Kind::Damaged, format!("reading {name}"), "it is shorter than it should be"))
            }
            read => read.map_err(|error| self.failed("reading", name, error)),
        }
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        match self.fs.open(&self.path(name)?).and_then(|file| file.size()) {
            Ok(len) => Ok(Some(len)),
            Err(error) if NotAFile::is(&error) => Ok(Some(0)),
            Err(error) => match self.failed("looking at", name, error) {
                error if error.kind() == Kind::Missing => Ok(None),
                error => Err(error),
            },
        }
    }

    fn list(&self, folder: &str, leftovers: Leftovers) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        self.list_into(folder, leftovers, &mut objects)?;
        objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    fn confirm(&self, name: &str) -> Result<()> {
        self.confirm_path(&self.path(name)?).map_err(|error| self.failed("syncing", name, error))
    }

    fn rename(&self, name: &str, to: &str) -> Result<()> {
        let (from, path) = (self.path(name)?, self.path(to)?);
        let (left, entered) = (from.parent().unwrap_or(&self.root), path.parent().unwrap_or(&self.root));
        let renamed = (|| {
            self.enter()?;
            self.make_dir(entered)?;
            self.fs.rename_new(&from, &path)?;
            self.confirmed(self.fs.sync_dir(entered))?;
            self.confirmed(self.fs.sync_dir(left))
        })();
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::caused(Kind::Exists, format!("renaming {name} to {to}"), error),
            _ => self.failed("renaming", name, error),
        })
    }

    fn answers(&self, name: &str) -> bool {
        let read = |path: PathBuf| {
            let file = self.fs.open(&path)?;
            file.forget();
            file.read_exact_at(&mut [0], 0)
        };
        self.path(name).is_ok_and(|path| read(path).is_ok())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let folder = path.parent().unwrap_or(&self.root);
        let removed =
            self.enter().and_then(|()| self.fs.remove(&path)).and_then(|()| self.confirmed(self.fs.sync_dir(folder)));
        removed.map_err(|error| self.failed("removing", name, error))
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<Lock> {
        let path = self.path(name)?;
        let open = || {
            let opened = self.enter().and_then(|()| self.fs.open_to_lock(&path));
            opened.map_err(|error| self.failed("locking", name, error))
        };
        let mut file = open()?;
        for _ in 0..TURNS {
            match file.try_lock(mode).map_err(|error| self.failed("locking", name, error))? {
                Tried::Held => {}
                Tried::InUse => {
                    let doing = format!("locking the archive {}", self.place());
                    return Err(Error::new(Kind::InUse, doing, "another process is using it"));
                }
                Tried::CannotTell => break,
            }
            // Somebody may have put another file under this name after it was opened, and others would lock that one.
            let named = open()?;
            if named.number() == file.number() {
                return Ok(Lock { held: Some(file), certain: true });
            }
            file = named;
        }
        Ok(Lock { held: Some(file), certain: false })
    }

    fn identity(&self, name: &str) -> Option<Vec<u8>> {
        let path = if name.is_empty() { self.root.clone() } else { self.path(name).ok()? };
        self.fs.identity(&path)
    }

    fn free(&self) -> Option<u64> {
        let about = rustix::fs::statvfs(&self.root).ok()?;
        about.f_bavail.checked_mul(about.f_frsize)
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn confirms_writes(&self) -> bool {
        !self.unconfirmed.load(Ordering::Relaxed)
    }
}

impl Lock {
    /// A lock on a place that no other process can reach.
    pub(super) fn of_nothing() -> Self {
        Self { held: None, certain: true }
    }

    /// Whether it keeps others out. Where the place has no locks it does not, and whoever holds it must not believe to be
    /// alone.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    /// Lets others in who only add. Whoever held it alone must have done by then what needed that.
    ///
    /// # Errors
    /// [`Kind::InUse`] if another process came in between and holds it alone.
    pub fn share(&self) -> Result<()> {
        let shared = self.held.as_ref().map_or(Ok(Tried::Held), |file| file.try_lock(LockMode::Shared));
        match shared {
            Ok(Tried::Held | Tried::CannotTell) => Ok(()),
            Ok(Tried::InUse) => Err(Error::new(Kind::InUse, "locking the archive", "another process is using it")),
            Err(error) => Err(Error::caused(Kind::Store, "locking the archive", error)),
        }
    }
}

/// What file systems answer that cannot sync a file or a folder. Any other answer is an error.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::Unsupported || matches!(code, Some(Errno::INVAL | Errno::NOTTY | Errno::NOTSUP))
}

/// What is told of a place that is no longer there.
pub(super) fn gone() -> io::Error {
    let why = "the archive is no longer in its place: its folder is gone, or another one lies there";
    io::Error::new(io::ErrorKind::NotConnected, why)
}

/// Whether nothing has the name.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_hash(name: &str) -> bool {
    name.len() == HASH_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether this is a name such as [`temporary_name`] gives.
fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix(TEMPORARY);
    random.is_some_and(|random| random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn temporary_name() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{TEMPORARY}{:016x}", u64::from_le_bytes(random)))
}
