//! The file calls of a local store, recorded, and failed where a test wants it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use snapkeep::store::{Fs, FsFile, FsItem, Local, LockMode, Os, Tried};

/// One call. Open files have numbers; a call that failed is followed by `!`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    Create(usize, PathBuf),
    Open(usize, PathBuf),
    Append(usize),
    Sync(usize),
    Rename(PathBuf, PathBuf),
    SyncDir(PathBuf),
    CreateDir(PathBuf),
    Remove(PathBuf),
    List(PathBuf),
    Read(usize),
    Size(usize),
    Lock(usize),
}

impl Call {
    /// Whether it changes what is on the drive, or makes it durable.
    pub fn writes(&self) -> bool {
        !matches!(self, Call::Open(..) | Call::List(_) | Call::Read(_) | Call::Size(_) | Call::Lock(_))
    }
}

/// Which calls fail, and how.
#[derive(Clone, Copy)]
pub struct Fault {
    /// The first that fails, counted from 0.
    pub from: usize,
    /// How many fail.
    pub times: usize,
    /// Only calls that write count.
    pub only_writes: bool,
    pub errno: rustix::io::Errno,
}

/// A record of calls, and whether each went well.
#[derive(Default)]
pub struct Record {
    pub calls: Mutex<Vec<(Call, bool)>>,
    fault: Option<Fault>,
    counted: Mutex<usize>,
    files: Mutex<usize>,
    failed: Mutex<Vec<Call>>,
}

impl Record {
    pub fn new(fault: Option<Fault>) -> Arc<Self> {
        Arc::new(Self { fault, ..Self::default() })
    }

    pub fn store(self: &Arc<Self>, root: impl Into<PathBuf>) -> Arc<Local> {
        Arc::new(Local::with(root, Box::new(Watched(self.clone()))))
    }

    /// The calls that went well.
    pub fn done(&self) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(_, well)| *well).map(|(call, _)| call.clone()).collect()
    }

    /// The calls that were made to fail.
    pub fn failed(&self) -> Vec<Call> {
        self.failed.lock().unwrap().clone()
    }

    /// Makes a call, unless it is to fail; `half` is what such a call does before it fails.
    fn call<T>(&self, call: Call, half: impl FnOnce(), run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let fails = self.fault.filter(|fault| !fault.only_writes || call.writes()).is_some_and(|fault| {
            let mut counted = self.counted.lock().unwrap();
            *counted += 1;
            (fault.from..fault.from.saturating_add(fault.times)).contains(&(*counted - 1))
        });
        let done = match self.fault.filter(|_| fails) {
            Some(fault) => {
                half();
                self.failed.lock().unwrap().push(call.clone());
                Err(fault.errno.into())
            }
            None => run(),
        };
        self.calls.lock().unwrap().push((call, done.is_ok()));
        done
    }
}

struct Watched(Arc<Record>);

impl Watched {
    fn opened(
        &self,
        call: fn(usize, PathBuf) -> Call,
        path: &Path,
        open: impl FnOnce() -> io::Result<Box<dyn FsFile>>,
    ) -> io::Result<Box<dyn FsFile>> {
        let number = {
            let mut files = self.0.files.lock().unwrap();
            *files += 1;
            *files
        };
        let file = self.0.call(call(number, path.to_owned()), || {}, open)?;
        Ok(Box::new(WatchedFile { record: self.0.clone(), number, file: Mutex::new(file) }))
    }
}

impl Fs for Watched {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.opened(Call::Create, path, || Os.create_new(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.opened(Call::Open, path, || Os.open(path))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call(Call::Rename(from.to_owned(), to.to_owned()), || {}, || Os.rename_new(from, to))
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call(Call::Rename(from.to_owned(), to.to_owned()), || {}, || Os.rename_over(from, to))
    }

    /// Not really, to be quick: the order is what is looked at.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call(Call::SyncDir(path.to_owned()), || {}, || Ok(()))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call(Call::CreateDir(path.to_owned()), || {}, || Os.create_dir(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call(Call::Remove(path.to_owned()), || {}, || Os.remove(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FsItem>> {
        self.0.call(Call::List(path.to_owned()), || {}, || Os.list(path))
    }

    fn identity(&self, path: &Path) -> Option<Vec<u8>> {
        Os.identity(path)
    }
}

struct WatchedFile {
    record: Arc<Record>,
    number: usize,
    file: Mutex<Box<dyn FsFile>>,
}

impl FsFile for WatchedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (record, file) = (&self.record, &self.file);
        let half = || drop(file.lock().unwrap().append(&bytes[..bytes.len() / 2]));
        record.call(Call::Append(self.number), half, || file.lock().unwrap().append(bytes))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = || self.file.lock().unwrap().read_exact_at(buffer, offset);
        self.record.call(Call::Read(self.number), || {}, read)
    }

    fn size(&self) -> io::Result<u64> {
        self.record.call(Call::Size(self.number), || {}, || self.file.lock().unwrap().size())
    }

    fn sync(&self) -> io::Result<()> {
        self.record.call(Call::Sync(self.number), || {}, || Ok(()))
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<Tried> {
        self.record.call(Call::Lock(self.number), || {}, || self.file.lock().unwrap().try_lock(mode))
    }

    fn number(&self) -> Option<(u64, u64)> {
        self.file.lock().unwrap().number()
    }
}
