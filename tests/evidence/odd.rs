//! A file system with oddities, as pooled, network and foreign ones have them. What is done to it is done behind the
//! kernel's back, so that each step is cheap; it is read through the kernel as any other.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};
use tempfile::TempDir;

use super::life::{Disk, Files};

/// Which number a file shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// One of its own, for ever.
    Own,
    /// Another one each time it is mounted.
    Fresh,
    /// The lowest that is free.
    Reused,
    /// Everything has the same.
    One,
}

/// What the time of change is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ctime {
    Kept,
    /// A copy of the modification time.
    Date,
    None,
}

#[derive(Clone, Copy, Debug)]
pub struct Oddities {
    pub numbers: Numbers,
    /// Files have length 0, and can be read.
    pub zero_length: bool,
    /// Times count in two seconds.
    pub coarse: bool,
    /// So many seconds its clock is behind this machine's.
    pub behind: u64,
    pub ctime: Ctime,
}

struct Thing {
    folder: bool,
    bytes: Vec<u8>,
    mtime: u64,
    ctime: u64,
    mode: u16,
    names: u32,
    /// The number that is given again when this is gone.
    slot: u64,
}

/// How a file looks (its length and times), and what it holds.
type Looked = ((u64, u64, u64), Vec<u8>);
type Look = BTreeMap<PathBuf, Looked>;

struct State {
    oddities: Oddities,
    things: BTreeMap<u64, Thing>,
    paths: BTreeMap<PathBuf, u64>,
    made: u64,
    /// Nanoseconds since 1970.
    clock: u64,
    /// What it will be when it is right again.
    right: Option<u64>,
    mounted: u64,
    looked: Look,
    /// The file that reads with another first byte, once.
    spoilt: Option<u64>,
}

const TOP: u64 = 1;

impl State {
    fn stamp(&mut self) -> u64 {
        if self.right.is_none() {
            self.clock += 1000;
        }
        self.cut(self.clock)
    }

    fn cut(&self, time: u64) -> u64 {
        if self.oddities.coarse { time / 2_000_000_000 * 2_000_000_000 } else { time }
    }

    fn make(&mut self, path: &Path, folder: bool) -> u64 {
        self.made += 1;
        let (id, now) = (self.made, self.stamp());
        let taken = |slot: &u64| self.things.values().any(|thing| thing.slot == *slot);
        let slot = (2..).find(|slot| !taken(slot)).unwrap();
        let thing = Thing { folder, bytes: Vec::new(), mtime: now, ctime: now, mode: 0o644, names: 1, slot };
        self.things.insert(id, thing);
        self.paths.insert(path.to_owned(), id);
        id
    }

    fn thing(&mut self, path: &Path) -> &mut Thing {
        let id = self.paths[path];
        self.things.get_mut(&id).unwrap()
    }

    /// It changed.
    fn changed(&mut self, path: &Path, bytes: bool) {
        let now = self.stamp();
        let thing = self.thing(path);
        thing.ctime = now;
        if bytes {
            thing.mtime = now;
        }
    }

    fn unlink(&mut self, path: &Path) {
        let Some(id) = self.paths.remove(path) else { return };
        let now = self.stamp();
        let thing = self.things.get_mut(&id).unwrap();
        (thing.names, thing.ctime) = (thing.names - 1, now);
        if thing.names == 0 {
            self.things.remove(&id);
        }
    }

    fn attr(&self, id: u64, shown: bool) -> Option<FileAttr> {
        let thing = self.things.get(&id)?;
        let number = match self.oddities.numbers {
            _ if !shown => id,
            Numbers::Own => id,
            Numbers::Fresh => 2 + id.wrapping_mul(0x9E37_79B9).wrapping_add(self.mounted * 77) % 1_000_003,
            Numbers::Reused => thing.slot,
            Numbers::One => TOP,
        };
        let time = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        let (size, mtime, ctime) = self.look(thing);
        Some(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: time(mtime),
            mtime: time(mtime),
            ctime: time(ctime),
            crtime: SystemTime::UNIX_EPOCH,
            kind: if thing.folder { FileType::Directory } else { FileType::RegularFile },
            perm: if thing.folder { 0o755 } else { thing.mode },
            nlink: thing.names,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn look(&self, thing: &Thing) -> (u64, u64, u64) {
        let ctime = match self.oddities.ctime {
            Ctime::Kept => thing.ctime,
            Ctime::Date => thing.mtime,
            Ctime::None => 0,
        };
        (if self.oddities.zero_length { 0 } else { thing.bytes.len() as u64 }, thing.mtime, ctime)
    }

    fn path_of(&self, id: u64) -> Option<PathBuf> {
        self.paths.iter().find(|(_, known)| **known == id).map(|(path, _)| path.clone())
    }
}

struct Answers(Arc<Mutex<State>>);

impl Answers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Filesystem for Answers {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.state();
        let id = state.path_of(parent.0).and_then(|above| state.paths.get(&above.join(name)).copied());
        match id.and_then(|id| state.attr(id, false)) {
            Some(attr) => reply.entry(&Duration::ZERO, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state().attr(ino.0, true) {
            Some(attr) => reply.attr(&Duration::ZERO, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        let spoilt = state.spoilt.take_if(|id| *id == ino.0 && offset == 0).is_some();
        let Some(thing) = state.things.get(&ino.0) else { return reply.error(Errno::ENOENT) };
        // In pieces, as from a network.
        let from = thing.bytes.len().min(offset as usize);
        let to = thing.bytes.len().min(from + (size as usize).min(700));
        let mut piece = thing.bytes[from..to].to_vec();
        if let (true, Some(first)) = (spoilt, piece.first_mut()) {
            *first ^= 1;
        }
        reply.data(&piece);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.state();
        let Some(folder) = state.path_of(ino.0) else { return reply.error(Errno::ENOENT) };
        let inside = state.paths.iter().filter(|(path, _)| path.parent() == Some(&folder));
        for (at, (path, id)) in inside.enumerate().skip(offset as usize) {
            let kind = if state.things[id].folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(*id), at as u64 + 1, kind, path.file_name().unwrap()) {
                break;
            }
        }
        reply.ok();
    }
}

/// It, mounted.
pub struct Odd {
    _session: BackgroundSession,
    dir: TempDir,
    state: Arc<Mutex<State>>,
}

impl Odd {
    pub fn mount(oddities: Oddities) -> Self {
        let mut state = State {
            oddities,
            things: BTreeMap::new(),
            paths: BTreeMap::new(),
            made: 0,
            clock: 1_700_000_000_123_456_789,
            right: None,
            mounted: 0,
            looked: Look::new(),
            spoilt: None,
        };
        state.make(Path::new(""), true);
        let state = Arc::new(Mutex::new(state));
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("odd".to_owned())];
        let session = fuser::spawn_mount(Answers(state.clone()), &source, &config).unwrap();
        Self { _session: session, dir, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next reading of this file has another first byte.
    pub fn spoil(&self, path: &Path) {
        let mut state = self.state();
        state.spoilt = Some(state.paths[path]);
    }
}

impl Disk for Odd {
    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        if !state.paths.contains_key(path) {
            state.make(path, false);
        }
        state.thing(path).bytes = bytes.to_owned();
        state.changed(path, true);
    }

    fn edit(&mut self, path: &Path, at: usize, byte: u8) {
        let mut state = self.state();
        state.thing(path).bytes[at] = byte;
        state.changed(path, true);
    }

    fn cut(&mut self, path: &Path, len: usize) {
        let mut state = self.state();
        state.thing(path).bytes.truncate(len);
        state.changed(path, true);
    }

    fn date(&self, path: &Path) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.state().thing(path).mtime)
    }

    fn set_date(&mut self, path: &Path, date: SystemTime) {
        let mut state = self.state();
        state.changed(path, false);
        let date = date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        state.thing(path).mtime = state.cut(date);
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let mut state = self.state();
        state.unlink(to);
        let moved: Vec<(PathBuf, u64)> = state
            .paths
            .iter()
            .filter(|(path, _)| path.starts_with(from))
            .map(|(path, id)| (path.clone(), *id))
            .collect();
        for (path, id) in moved {
            state.paths.remove(&path);
            let below = path.strip_prefix(from).unwrap();
            let new = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            state.paths.insert(new, id);
        }
        state.changed(to, false);
    }

    fn link(&mut self, from: &Path, to: &Path) {
        let mut state = self.state();
        let id = state.paths[from];
        state.paths.insert(to.to_owned(), id);
        state.thing(to).names += 1;
        state.changed(to, false);
    }

    fn remove(&mut self, path: &Path) {
        self.state().unlink(path);
    }

    fn make_folder(&mut self, path: &Path) {
        self.state().make(path, true);
    }

    fn adorn(&mut self, path: &Path, what: u64) {
        let mut state = self.state();
        state.thing(path).mode = 0o600 + (what % 0o77) as u16;
        state.changed(path, false);
    }

    fn files(&self) -> Files {
        let state = self.state();
        let files = state.paths.iter().filter(|(_, id)| !state.things[id].folder);
        files.map(|(path, id)| (path.clone(), state.things[id].bytes.clone())).collect()
    }

    fn now(&self) -> SystemTime {
        let state = self.state();
        SystemTime::UNIX_EPOCH + Duration::from_nanos(state.clock) + Duration::from_secs(state.oddities.behind)
    }

    fn wait(&mut self, millis: u64) {
        // Only what is longer than clocks may differ changes what is believed.
        self.state().clock += millis * if millis > 1000 { 200_000_000 } else { 1_000_000 };
    }

    fn set_back(&mut self, path: &Path) -> bool {
        let mut state = self.state();
        if state.oddities.ctime != Ctime::Kept {
            return false;
        }
        state.right = Some(state.clock);
        state.clock = state.thing(path).ctime;
        true
    }

    fn set_right(&mut self) {
        let mut state = self.state();
        if let Some(right) = state.right.take() {
            state.clock = right;
        }
    }

    fn has_invisible(&mut self) -> bool {
        let mut state = self.state();
        state.mounted += 1;
        let files = state.paths.iter().filter(|(_, id)| !state.things[id].folder);
        let looks: Look = files
            .map(|(path, id)| (path.clone(), (state.look(&state.things[id]), state.things[id].bytes.clone())))
            .collect();
        let differs = |(path, (look, bytes)): (&PathBuf, &Looked)| {
            state.looked.get(path).is_some_and(|(then, held)| then == look && held != bytes)
        };
        let invisible = state.oddities.ctime != Ctime::Kept && looks.iter().any(differs);
        state.looked = looks;
        invisible
    }

    fn tells_folders_apart(&self) -> bool {
        let oddities = self.state().oddities;
        !(oddities.coarse && oddities.ctime == Ctime::Kept)
    }
}
