//! A drive in memory, on which a local store does its work while every call that changes the drive, or promises something
//! about it, is written down.
//!
//! It behaves as a healthy operating system does that never lost power: what was done is seen at once. What of it a power
//! cut would leave is worked out from the record, in `models`. Reading under a temporary name is a fault of the program
//! and is noted: nothing that a reader does may depend on what an interrupted write holds.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use snapkeep::error::Result;
use snapkeep::store::{Fs, FsFile, FsItem, Leftovers, Local, Lock, LockMode, Object, Put, Store, Tried};

/// Where the archive is, and what surrounds it.
pub const ROOT: &str = "/drive/archive";

pub type Name = Arc<str>;
/// A file's number, the same whatever it is renamed to.
pub type Ino = usize;

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Blob(Arc<(Vec<u8>, OnceLock<u64>)>);

impl Blob {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new((bytes, OnceLock::new())))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0.0
    }

    pub fn hash(&self) -> u64 {
        *self.0.1.get_or_init(|| {
            u64::from_le_bytes(blake3::hash(&self.0.0).as_bytes()[..8].try_into().expect("eight bytes"))
        })
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.hash() == other.hash() && self.bytes() == other.bytes()
    }
}

/// What is on a drive: files by what they hold, folders by nothing.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Disk(pub BTreeMap<Name, Option<Blob>>);

pub fn is_temporary(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.starts_with(".tmp-"))
}

pub fn above(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(above, _)| above)
}

impl Disk {
    /// A drive with an empty place for an archive, and somebody's photo beside it.
    pub fn empty() -> Self {
        let photo = Some(Blob::new(b"a photo that is none of the archive's".to_vec()));
        Self([("/drive".into(), None), ("/drive/other".into(), None), ("/drive/other/photo.jpg".into(), photo)].into())
    }

    /// One number for everything on it; and one in which an interrupted write counts, but not what it holds.
    pub fn hashes(&self) -> (u64, u64) {
        let (mut full, mut plain) = (0_u64, 0_u64);
        for (name, blob) in &self.0 {
            let content = blob.as_ref().map_or(1, Blob::hash);
            let mix = |name: &str, content: u64| {
                let mut hasher = DefaultHasher::new();
                (name, content).hash(&mut hasher);
                hasher.finish()
            };
            full = full.wrapping_add(mix(name, content));
            plain = plain.wrapping_add(if is_temporary(name) { mix(above(name), 2) } else { mix(name, content) });
        }
        (full, plain)
    }

    /// The archive's objects: their names in the store, and what they hold.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &Blob)> {
        let inside = self.0.iter().filter_map(|(name, blob)| Some((name.strip_prefix(ROOT)?, blob.as_ref()?)));
        inside.filter(|(name, _)| !is_temporary(name)).map(|(name, blob)| (&name[1..], blob))
    }

    /// What is beside the archive.
    pub fn outside(&self) -> Vec<(&Name, &Option<Blob>)> {
        let outside = |name: &str| name != ROOT && !name.starts_with("/drive/archive/");
        self.0.iter().filter(|(name, _)| outside(name)).collect()
    }

    pub fn temporaries(&self) -> impl Iterator<Item = &Name> {
        self.0.keys().filter(|name| is_temporary(name))
    }

    pub fn get(&self, object: &str) -> Option<&Blob> {
        self.0.get(format!("{ROOT}/{object}").as_str())?.as_ref()
    }

    pub fn put(&mut self, object: &str, bytes: Vec<u8>) {
        self.0.insert(format!("{ROOT}/{object}").into(), Some(Blob::new(bytes)));
    }

    pub fn remove(&mut self, object: &str) {
        self.0.remove(format!("{ROOT}/{object}").as_str());
    }
}

/// A call that changed the drive or promised something.
#[derive(Clone, Debug)]
pub enum Op {
    MakeDir(Name),
    Create(Ino, Name),
    Append(Ino, Blob),
    /// Whether a file that had the new name made way.
    Rename(Ino, Name, Name, bool),
    Remove(Name),
    /// Whether through a file that was opened again, and not by the one who wrote it.
    Sync(Ino, bool),
    SyncDir(Name),
    /// No call: here the store had said that an object of this name is durably so, or durably gone.
    Promised(Name),
    /// No call: here somebody was told that the work is done.
    Told,
}

#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Dir,
    File(Ino),
}

#[derive(Default)]
struct Live {
    names: BTreeMap<Name, Entry>,
    files: Vec<Blob>,
    log: Vec<Op>,
    locks: HashMap<Ino, Vec<(u64, LockMode)>>,
    handles: u64,
    faults: Vec<String>,
}

/// The drive while a program works on it.
#[derive(Clone, Default)]
pub struct SimFs(Arc<Mutex<Live>>);

impl SimFs {
    /// A drive that was found so, all of it durable.
    pub fn new(disk: &Disk) -> Self {
        let mut live = Live::default();
        for (name, blob) in &disk.0 {
            let entry = match blob {
                None => Entry::Dir,
                Some(blob) => {
                    live.files.push(blob.clone());
                    Entry::File(live.files.len() - 1)
                }
            };
            live.names.insert(name.clone(), entry);
        }
        Self(Arc::new(Mutex::new(live)))
    }

    /// The same after these calls, as whoever did not lose power sees it: the program was killed, and the next one begins.
    pub fn after(disk: &Disk, log: &[Op]) -> Self {
        let sim = Self::new(disk);
        let mut live = sim.live();
        for op in log {
            live.apply(op.clone());
        }
        drop(live);
        sim
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(Promising { local: Local::with(ROOT, Box::new(self.clone())), fs: self.clone() })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().expect("nobody panics here")
    }

    pub fn log(&self) -> Vec<Op> {
        self.live().log.clone()
    }

    /// Notes that somebody is told now.
    pub fn told(&self) {
        self.live().log.push(Op::Told);
    }

    /// What a program did that none may do.
    pub fn faults(&self) -> Vec<String> {
        self.live().faults.clone()
    }

    /// What is on the drive now, if the power stays.
    pub fn disk(&self) -> Disk {
        let live = self.live();
        let blob = |entry: &Entry| match entry {
            Entry::Dir => None,
            Entry::File(ino) => Some(live.files[*ino].clone()),
        };
        Disk(live.names.iter().map(|(name, entry)| (name.clone(), blob(entry))).collect())
    }
}

impl Live {
    fn apply(&mut self, op: Op) {
        match &op {
            Op::MakeDir(name) => drop(self.names.insert(name.clone(), Entry::Dir)),
            Op::Create(ino, name) => {
                assert_eq!(*ino, self.files.len());
                self.files.push(Blob::new(Vec::new()));
                self.names.insert(name.clone(), Entry::File(*ino));
            }
            Op::Append(ino, blob) => {
                let old = &self.files[*ino];
                let new =
                    if old.bytes().is_empty() { blob.clone() } else { Blob::new([old.bytes(), blob.bytes()].concat()) };
                self.files[*ino] = new;
            }
            Op::Rename(ino, from, to, _) => {
                self.names.remove(from);
                self.names.insert(to.clone(), Entry::File(*ino));
            }
            Op::Remove(name) => drop(self.names.remove(name)),
            Op::Sync(..) | Op::SyncDir(_) | Op::Promised(_) | Op::Told => {}
        }
        self.log.push(op);
    }

    fn file(&self, name: &str) -> io::Result<Ino> {
        match self.names.get(name) {
            Some(Entry::File(ino)) => Ok(*ino),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn is_dir(&self, name: &str) -> bool {
        self.names.get(name) == Some(&Entry::Dir)
    }

    fn rename(&mut self, from: &str, to: &str, over: bool) -> io::Result<()> {
        let ino = self.file(from)?;
        if !self.is_dir(above(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        assert_eq!(above(from), above(to), "objects are made in the folder in which they stay");
        let taken = self.names.contains_key(to);
        if taken && !over {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.apply(Op::Rename(ino, from.into(), to.into(), taken));
        Ok(())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("names are plain")
}

impl SimFs {
    fn opened(&self, live: &mut Live, ino: Ino, is_writer: bool) -> Box<dyn FsFile> {
        live.handles += 1;
        Box::new(SimFile { fs: self.clone(), ino, handle: live.handles, is_writer })
    }
}

impl Fs for SimFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let (mut live, name) = (self.live(), text(path));
        if !live.is_dir(above(name)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if live.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let ino = live.files.len();
        live.apply(Op::Create(ino, name.into()));
        Ok(self.opened(&mut live, ino, true))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let (mut live, name) = (self.live(), text(path));
        if is_temporary(name) {
            live.faults.push(format!("{name} was opened"));
        }
        let ino = live.file(name)?;
        Ok(self.opened(&mut live, ino, false))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live().rename(text(from), text(to), false)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live().rename(text(from), text(to), true)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (mut live, name) = (self.live(), text(path));
        if !live.is_dir(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        live.apply(Op::SyncDir(name.into()));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (mut live, name) = (self.live(), text(path));
        if live.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !live.is_dir(above(name)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        live.apply(Op::MakeDir(name.into()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut live, name) = (self.live(), text(path));
        live.file(name)?;
        live.apply(Op::Remove(name.into()));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>> {
        let (live, folder) = (self.live(), text(path));
        if !live.is_dir(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = format!("{folder}/");
        let inside = live
            .names
            .range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(&below));
        let items = inside.filter_map(|(name, entry)| {
            let name = name[below.len()..].to_owned();
            let len = |ino: Ino| live.files[ino].bytes().len() as u64;
            (!name.contains('/')).then(|| match entry {
                Entry::Dir => FsItem { name, is_dir: true, len: 0 },
                Entry::File(ino) => FsItem { name, is_dir: false, len: len(*ino) },
            })
        });
        Ok(items.collect())
    }
}

struct SimFile {
    fs: SimFs,
    ino: Ino,
    handle: u64,
    is_writer: bool,
}

impl FsFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.live().apply(Op::Append(self.ino, Blob::new(bytes.to_vec())));
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let blob = self.fs.live().files[self.ino].clone();
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| blob.bytes().get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.fs.live().files[self.ino].bytes().len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.live().apply(Op::Sync(self.ino, !self.is_writer));
        Ok(())
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<Tried> {
        let mut live = self.fs.live();
        let holders = live.locks.entry(self.ino).or_default();
        let alone = |mode: LockMode| mode == LockMode::Exclusive;
        if holders.iter().any(|(handle, held)| *handle != self.handle && (alone(*held) || alone(mode))) {
            return Ok(Tried::InUse);
        }
        holders.retain(|(handle, _)| *handle != self.handle);
        holders.push((self.handle, mode));
        Ok(Tried::Held)
    }

    fn number(&self) -> Option<(u64, u64)> {
        Some((0, self.ino as u64))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(holders) = self.fs.live().locks.get_mut(&self.ino) {
            holders.retain(|(handle, _)| *handle != self.handle);
        }
    }
}

/// A local store, which writes down what it has promised.
struct Promising {
    local: Local,
    fs: SimFs,
}

impl Promising {
    fn promised<T>(&self, name: &str, done: Result<T>) -> Result<T> {
        if done.is_ok() {
            self.fs.live().log.push(Op::Promised(format!("{ROOT}/{name}").into()));
        }
        done
    }
}

impl Store for Promising {
    fn make_place(&self) -> Result<()> {
        self.local.make_place()
    }

    fn put_new(&self, name: &str, parts: &[&[u8]]) -> Result<Put> {
        self.promised(name, self.local.put_new(name, parts))
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        self.promised(name, self.local.replace(name, parts))
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        self.local.get(name, limit)
    }

    fn read_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.local.read_range(name, offset, buffer)
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        self.local.len(name)
    }

    fn list(&self, folder: &str, leftovers: Leftovers) -> Result<Vec<Object>> {
        self.local.list(folder, leftovers)
    }

    fn confirm(&self, name: &str) -> Result<()> {
        self.promised(name, self.local.confirm(name))
    }

    fn rename(&self, name: &str, to: &str) -> Result<()> {
        let done = self.promised(name, self.local.rename(name, to));
        self.promised(to, done)
    }

    fn answers(&self, name: &str) -> bool {
        self.local.answers(name)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.promised(name, self.local.delete(name))
    }

    fn lock(&self, name: &str, mode: LockMode) -> Result<Lock> {
        self.local.lock(name, mode)
    }

    fn place(&self) -> String {
        self.local.place()
    }

    fn confirms_writes(&self) -> bool {
        self.local.confirms_writes()
    }
}

/// What was promised after so many calls of a record: by name, what it holds, or that it is gone. What has been changed
/// since is promised no more.
pub fn promises(start: &Disk, log: &[Op]) -> Vec<Arc<BTreeMap<Name, Option<Blob>>>> {
    let fs = SimFs::new(start);
    let mut promised: Arc<BTreeMap<Name, Option<Blob>>> = Arc::default();
    let mut all = vec![promised.clone()];
    for op in log {
        let mut live = fs.live();
        live.apply(op.clone());
        match op {
            Op::Promised(name) => {
                let blob = live.file(name).ok().map(|ino| live.files[ino].clone());
                Arc::make_mut(&mut promised).insert(name.clone(), blob);
            }
            Op::Rename(_, _, name, _) | Op::Remove(name) => drop(Arc::make_mut(&mut promised).remove(name)),
            _ => {}
        }
        all.push(promised.clone());
    }
    all
}
