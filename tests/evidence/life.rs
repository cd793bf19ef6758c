//! The life of a source: what is done to it, and the snapshots that are taken of it.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use snapkeep::archive::Archive;
use snapkeep::format::{EntryKind, Time, Unread};
use snapkeep::id::SnapshotId;
use snapkeep::op::{Event, backup};
use snapkeep::view::{Node, View};

use crate::common::{Heard, Random, SMALL, TestArchive, contents_of, options};

/// What files hold, by their path below the source.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Something that holds files, in which paths are those below the source.
pub trait Disk {
    /// Where the source is.
    fn source(&self) -> PathBuf;
    /// The folders and files are known to the caller, who asks for nothing that cannot be done.
    fn write(&mut self, path: &Path, bytes: &[u8]);
    /// Writes over what is there, in place.
    fn edit(&mut self, path: &Path, at: usize, byte: u8);
    fn cut(&mut self, path: &Path, len: usize);
    fn date(&self, path: &Path) -> SystemTime;
    fn set_date(&mut self, path: &Path, date: SystemTime);
    fn rename(&mut self, from: &Path, to: &Path);
    fn link(&mut self, from: &Path, to: &Path);
    fn remove(&mut self, path: &Path);
    fn make_folder(&mut self, path: &Path);
    /// Another mode or attribute.
    fn adorn(&mut self, path: &Path, what: u64);
    /// What is there, by another way than the one that is tried.
    fn files(&self) -> Files;
    /// What time it is there.
    fn now(&self) -> SystemTime;
    /// Time goes by.
    fn wait(&mut self, millis: u64);
    /// The clock is set back, to when this file last changed if that can be done; and forward again.
    fn set_back(&mut self, _: &Path) -> bool {
        false
    }
    fn set_right(&mut self) {}
    /// Whether something differs from the last time that this was asked and looks just as it did then.
    fn has_invisible(&mut self) -> bool {
        false
    }
    /// Whether two folders that change their names can be told apart.
    fn tells_folders_apart(&self) -> bool {
        true
    }
}

#[derive(Default)]
pub struct Sum {
    pub steps: u64,
    pub snapshots: u64,
    pub files: u64,
    pub unread: u64,
}

/// Batches of one life, each followed by a snapshot.
const BATCHES: u64 = 12;
/// At most so many things are done between two snapshots.
const BATCH: u64 = 12;
/// Photos of a burst have one length.
const LEN: usize = 900;

pub struct Life<D: Disk> {
    random: Random,
    disk: D,
    archive: TestArchive,
    seed: u64,
    made: u64,
    folders: Vec<PathBuf>,
    log: Vec<String>,
}

impl<D: Disk> Life<D> {
    pub fn new(seed: u64, disk: D) -> Self {
        Self {
            random: Random(seed),
            disk,
            archive: TestArchive::new(&SMALL),
            seed,
            made: 0,
            folders: vec![PathBuf::new()],
            log: Vec::new(),
        }
    }

    pub fn live(mut self, sum: &mut Sum) {
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let archive = self.archive.open();
            for name in ["2018", "2019"] {
                self.disk.make_folder(Path::new(name));
                self.folders.push(name.into());
            }
            (0..16).for_each(|_| self.add());
            for batch in 0..BATCHES {
                for _ in 0..self.random.below(BATCH) {
                    self.step();
                    sum.steps += 1;
                }
                self.snapshot(&archive, sum, batch + 1 == BATCHES);
            }
        }));
        if let Err(panic) = lived {
            eprintln!("SNAPKEEP_EVIDENCE_SEED={}:\n{}", self.seed, self.log.join("\n"));
            resume_unwind(panic);
        }
    }

    fn told(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    fn new_path(&mut self) -> PathBuf {
        self.made += 1;
        let folder = &self.folders[self.random.below(self.folders.len() as u64) as usize];
        folder.join(format!("IMG_{}.jpg", self.made))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = if self.random.below(4) == 0 { self.random.below(3000) as usize } else { LEN };
        self.random.bytes(len)
    }

    /// One of few dates, as of a burst or of scans.
    fn any_date(&mut self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000 + 2 * self.random.below(2), 0)
    }

    fn add(&mut self) {
        let (path, bytes) = (self.new_path(), self.bytes());
        self.told(format!("add {} with {} bytes", path.display(), bytes.len()));
        self.disk.write(&path, &bytes);
        if self.random.below(3) > 0 {
            let date = self.any_date();
            self.disk.set_date(&path, date);
        }
    }

    fn any(&mut self) -> Option<PathBuf> {
        let files: Vec<PathBuf> = self.disk.files().into_keys().collect();
        (!files.is_empty()).then(|| files[self.random.below(files.len() as u64) as usize].clone())
    }

    /// Changes a byte in place.
    fn edit(&mut self, path: &Path, keep_date: bool) {
        let date = self.disk.date(path);
        let len = self.disk.files()[path].len() as u64;
        if len > 0 {
            let (at, byte) = (self.random.below(len) as usize, self.random.below(256) as u8);
            self.disk.edit(path, at, byte);
        }
        if keep_date {
            self.disk.set_date(path, date);
        }
        self.told(format!("edit {}, date kept: {keep_date}", path.display()));
    }

    /// Another photo with the length and the date of this one.
    fn like(&mut self, path: &Path, to: &Path, date: SystemTime, len: usize) {
        let bytes = self.random.bytes(len);
        self.disk.write(to, &bytes);
        self.disk.set_date(to, date);
        self.told(format!("another photo like {} as {}", path.display(), to.display()));
    }

    fn step(&mut self) {
        let millis = self.random.below(300);
        self.disk.wait(millis);
        let Some(path) = self.any() else { return self.add() };
        let (date, len) = (self.disk.date(&path), self.disk.files()[&path].len());
        match self.random.below(18) {
            0..=2 => self.add(),
            3 => self.edit(&path, false),
            4 | 5 => self.edit(&path, true),
            6 => {
                let shorter = self.random.below(len as u64 + 1) as usize;
                self.told(format!("cut {} to {shorter}, date kept", path.display()));
                self.disk.cut(&path, shorter);
                self.disk.set_date(&path, date);
            }
            7 | 8 => {
                let to = self.new_path();
                self.told(format!("rename {} to {}", path.display(), to.display()));
                self.disk.rename(&path, &to);
                if self.random.below(2) == 0 {
                    self.edit(&to, true);
                }
            }
            9 => {
                let to = self.new_path();
                self.told(format!("link {} to {}", path.display(), to.display()));
                self.disk.link(&path, &to);
            }
            10 => {
                self.told(format!("remove {}", path.display()));
                self.disk.remove(&path);
            }
            11 => {
                // The number of the one that goes is free for the one that comes.
                self.disk.remove(&path);
                let to = if self.random.below(2) == 0 { path.clone() } else { self.new_path() };
                self.like(&path, &to, date, len);
            }
            12 => {
                let beside = self.new_path();
                self.like(&path, &beside, date, len);
                self.told(format!("and put in its place: {}", path.display()));
                self.disk.rename(&beside, &path);
            }
            13 => {
                let (to, bytes) = (self.new_path(), self.disk.files()[&path].clone());
                self.told(format!("copy {} to {}", path.display(), to.display()));
                self.disk.write(&to, &bytes);
                self.disk.set_date(&to, date);
            }
            14 => {
                let what = self.random.below(1000);
                self.told(format!("adorn {}", path.display()));
                self.disk.adorn(&path, what);
            }
            15 => {
                self.made += 1;
                let (at, to) = (self.random.below(2) as usize + 1, PathBuf::from(format!("album{}", self.made)));
                self.told(format!("rename {} to {}", self.folders[at].display(), to.display()));
                self.disk.rename(&self.folders[at].clone(), &to);
                self.folders[at] = to;
            }
            16 if self.disk.tells_folders_apart() => {
                // Photos of the same names in two folders, made in one moment, and the folders change their names.
                self.made += 1;
                let (one, other) = (self.folders[1].clone(), self.folders[2].clone());
                let name = format!("BURST_{}.raw", self.made);
                for folder in [&one, &other] {
                    let to = folder.join(&name);
                    self.like(&path, &to, date, LEN);
                }
                self.told("the folders change names".to_owned());
                self.disk.rename(&one, Path::new("aside"));
                self.disk.rename(&other, &one);
                self.disk.rename(Path::new("aside"), &other);
            }
            _ => self.told("nothing".to_owned()),
        }
    }

    fn snapshot(&mut self, archive: &Archive, sum: &mut Sum, with_bytes: bool) {
        if self.random.below(3) == 0 {
            self.disk.wait(3000);
        }
        let back = match self.any() {
            Some(path) if self.random.below(12) == 0 && self.disk.set_back(&path) => {
                self.told("the clock is set back");
                self.edit(&path, true);
                true
            }
            _ => false,
        };
        let mut asked = options(&[&self.disk.source()]);
        let since = self.disk.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        asked.time = Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() };
        if self.random.below(20) == 0 {
            asked.time.secs -= 3600; // the clock was wrong when the run began
        }
        // What no evidence shows is found by reading everything, and what is asked of that is no less.
        asked.force = self.disk.has_invisible();
        let read = std::sync::Arc::new(AtomicU64::new(0));
        let seen = read.clone();
        let heard = Heard::calling(move |event, _| {
            if let Event::Advance { files: 1, bytes } = event {
                seen.fetch_add(u64::from(*bytes > 0), Ordering::Relaxed);
            }
        });
        let done = backup(archive, &asked, &heard).unwrap();
        // An edit that the file system does not show looks as if a drive had decayed, and that is said.
        let decayed = |unread: &Unread| done.decayed.iter().any(|one| one.path.as_os_str().as_bytes() == unread.path);
        assert!(done.unread.iter().all(decayed), "{:?}", done.unread);
        assert!(done.decayed.is_empty() || asked.force, "{:?}", done.decayed);
        let id = done.id.unwrap();
        self.told(format!("snapshot {}, everything read: {}", id.short(), asked.force));
        sum.snapshots += 1;
        sum.unread += read.load(Ordering::Relaxed);
        sum.files += self.compare(archive, id, with_bytes);
        if back {
            self.disk.set_right();
        }
    }

    /// Every file of the snapshot is what the source has, and there is no other.
    fn compare(&self, archive: &Archive, id: SnapshotId, with_bytes: bool) -> u64 {
        let there = self.disk.files();
        let (id, snapshot) = (id, archive.snapshots().into_iter().find(|(known, _)| *known == id).unwrap().1.clone());
        let view = View::new(archive, id, snapshot);
        let mut found = BTreeMap::new();
        view.walk(&Node { path: Vec::new(), entry: None }, &mut |node| {
            let entry = node.entry.as_ref().map(|entry| &entry.kind);
            if let (Some(EntryKind::File { size, hash, .. }), Some(path)) = (entry, node.path.strip_prefix(b"source/"))
            {
                found.insert(PathBuf::from(crate::common::os(path)), (*size, *hash.as_bytes()));
            }
            Ok(true)
        })
        .unwrap();
        for (path, bytes) in &there {
            let recorded = found.remove(path);
            let true_one = (bytes.len() as u64, *blake3::hash(bytes).as_bytes());
            assert!(recorded == Some(true_one), "{} is not recorded as it is: {recorded:?}", path.display());
        }
        assert!(found.is_empty(), "{found:?} is recorded and not there");
        if with_bytes {
            let held = contents_of(archive, id).unwrap();
            for (path, bytes) in &there {
                assert!(held[path.as_os_str().as_encoded_bytes()] == *bytes, "{}", path.display());
            }
        }
        there.len() as u64
    }
}

/// A folder of a real file system.
pub struct Real {
    source: PathBuf,
}

impl Real {
    pub fn new(folder: &Path) -> Self {
        let source = folder.join("source");
        fs::create_dir(&source).unwrap();
        Self { source }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.source.join(path)
    }
}

impl Disk for Real {
    fn source(&self) -> PathBuf {
        self.source.clone()
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) {
        fs::write(self.at(path), bytes).unwrap();
    }

    fn edit(&mut self, path: &Path, at: usize, byte: u8) {
        let file = File::options().write(true).open(self.at(path)).unwrap();
        file.write_all_at(&[byte], at as u64).unwrap();
    }

    fn cut(&mut self, path: &Path, len: usize) {
        File::options().write(true).open(self.at(path)).unwrap().set_len(len as u64).unwrap();
    }

    fn date(&self, path: &Path) -> SystemTime {
        fs::metadata(self.at(path)).unwrap().modified().unwrap()
    }

    fn set_date(&mut self, path: &Path, date: SystemTime) {
        let file = File::options().write(true).open(self.at(path)).unwrap();
        file.set_times(FileTimes::new().set_modified(date)).unwrap();
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    fn link(&mut self, from: &Path, to: &Path) {
        fs::hard_link(self.at(from), self.at(to)).unwrap();
    }

    fn remove(&mut self, path: &Path) {
        fs::remove_file(self.at(path)).unwrap();
    }

    fn make_folder(&mut self, path: &Path) {
        fs::create_dir(self.at(path)).unwrap();
    }

    fn adorn(&mut self, path: &Path, what: u64) {
        let path = self.at(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + what as u32 % 0o77)).unwrap();
        // Not every file system has them.
        let value = what.to_le_bytes();
        let _ = rustix::fs::setxattr(&path, "user.rating", &value, rustix::fs::XattrFlags::empty());
    }

    fn files(&self) -> Files {
        let mut found = Files::new();
        let mut todo = vec![self.source.clone()];
        while let Some(folder) = todo.pop() {
            for item in fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    found.insert(path.strip_prefix(&self.source).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wait(&mut self, millis: u64) {
        // Only what is longer than the kernel's clock stands still changes what is believed.
        std::thread::sleep(Duration::from_millis(if millis > 1000 { 60 } else { millis / 300 }));
    }
}
