//! A folder on a drive.
//!
//! How an object is written, and why it is safe: under a temporary name in its own folder; synced; renamed without
//! replacing; synced **again** through the still open file (FAT32 on Linux gives a renamed file its length only then);
//! the folder synced. Whoever sees the name sees the whole object, and whoever was told "written" keeps it through a
//! power cut. After any error the temporary file is given up and never synced a second time, because a second sync may
//! report success for data that the first one lost. A damaged object is replaced in the same way, but for its name.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::fs::{Fs, FsFile, Os, Tried, read_limited};
use super::{Leftovers, Lock, LockMode, Object, Put, Store, check_name};
use crate::error::{Error, Kind, Result};

/// How often a lock is tried whose file is replaced meanwhile. Where a file never is the one that its name leads to, nobody
/// can tell who holds what.
const TURNS: usize = 8;

/// Names beginning so are of writes under way or interrupted.
const TEMPORARY: &str = ".tmp-";

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
}

impl Local {
    /// The store in this folder, which need not exist until something is put into it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with(root, Box::new(Os))
    }

    /// The same, making its file calls through `fs`.
    pub fn with(root: impl Into<PathBuf>, fs: Box<dyn Fs>) -> Self {
        Self { root: root.into(), fs, unconfirmed: AtomicBool::new(false), settled: Mutex::default() }
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

    /// Makes a folder and those above it, each durable in the one above, whoever else may be making them.
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let made = match self.fs.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty()).ok_or(error)?;
                self.make_dir(above)?;
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
        let mut file = self.create(folder, &temporary)?;
        let written = (|| {
            self.settle(folder)?;
            for part in parts {
                file.append(part)?;
            }
            self.confirmed(file.sync())?;
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
        self.confirmed(self.fs.open(path)?.sync())?;
        self.confirmed(self.fs.sync_dir(path.parent().unwrap_or(&self.root)))
    }

    fn list_into(&self, folder: &str, leftovers: Leftovers, objects: &mut Vec<Object>) -> Result<()> {
        let path = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let items = match self.fs.list(&path) {
            Ok(items) => items,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("listing", folder, error)),
        };
        for item in items {
            if item.name.starts_with(TEMPORARY) {
                // In the top folder others may have files, so there the whole name has to fit.
                let ours = !item.is_dir && (!folder.is_empty() || is_temporary(&item.name));
                if leftovers == Leftovers::Remove && ours {
                    let removed = self.fs.remove(&path.join(&item.name));
                    removed.map_err(|error| failed("removing what an interrupted write left in", folder, error))?;
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
            if item.is_dir {
                self.list_into(&name, leftovers, objects)?;
            } else {
                objects.push(Object { name, len: item.len });
            }
        }
        Ok(())
    }
}

impl Store for Local {
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
            Err(error) => Err(failed("writing", name, error)),
        }
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        let path = self.path(name)?;
        self.write(&path, parts, Naming::Replace).map_err(|error| failed("replacing", name, error))
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let path = self.path(name)?;
        let bytes = self.fs.open(&path).and_then(|file| read_limited(&*file, limit));
        match bytes.map_err(|error| failed("reading", name, error))? {
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
            read => read.map_err(|error| failed("reading", name, error)),
        }
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        match self.fs.open(&self.path(name)?).and_then(|file| file.size()) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("looking at", name, error)),
        }
    }

    fn list(&self, folder: &str, leftovers: Leftovers) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        self.list_into(folder, leftovers, &mut objects)?;
        objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    fn confirm(&self, name: &str) -> Result<()> {
        self.confirm_path(&self.path(name)?).map_err(|error| failed("syncing", name, error))
    }

    fn rename(&self, name: &str, to: &str) -> Result<()> {
        let (from, path) = (self.path(name)?, self.path(to)?);
        let (left, entered) = (from.parent().unwrap_or(&self.root), path.parent().unwrap_or(&self.root));
        let renamed = (|| {
            self.make_dir(entered)?;
            self.fs.rename_new(&from, &path)?;
            self.confirmed(self.fs.sync_dir(entered))?;
            self.confirmed(self.fs.sync_dir(left))
        })();
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::caused(Kind::Exists, format!("renaming {name} to {to}"), error),
            _ => failed("renaming", name, error),
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
        let removed = self.fs.remove(&path).and_then(|()| self.confirmed(self.fs.sync_dir(folder)));
        removed.map_err(|error| failed("removing", name, error))
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<Lock> {
        let path = self.path(name)?;
        let open = || self.fs.open_to_lock(&path).map_err(|error| failed("locking", name, error));
        let mut file = open()?;
        for _ in 0..TURNS {
            match file.try_lock(mode).map_err(|error| failed("locking", name, error))? {
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

fn failed(doing: &str, name: &str, error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::NotFound { Kind::Missing } else { Kind::Store };
    Error::caused(kind, format!("{doing} {name}"), error)
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
