//! What the tests of the whole library share: an archive to play with, sources to put into it, and a comparison by other
//! tools than ours.
#![allow(clippy::big_endian_bytes)] // cameras write so

pub mod hooked;
pub mod model;
pub mod picture;
pub mod terminal;
pub mod user;
pub mod watched;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use snapkeep::archive::{Archive, Filter, Notice, Parameters, Selector};
use snapkeep::error::Result;
use snapkeep::format::{Chunker, Time};
use snapkeep::id::SnapshotId;
use snapkeep::op::{
    Action, Backup, BackupOptions, Event, Observer, Overwrite, Restore, RestoreOptions, Selection, Verify,
    VerifyOptions, backup, restore, verify,
};
use snapkeep::source::RuleSpec;
use snapkeep::store::{Local, Store};
use snapkeep::view::{Node, View};
use tempfile::TempDir;

/// Small chunks and packs, so that a little data makes many of both.
pub const SMALL: Parameters =
    Parameters { chunker: Chunker { min: 256, average: 1024, max: 4096 }, pack_size: 1 << 16, parity_permille: 30 };

/// What is done at an event; the flag stops the run.
type AtEvent = Box<dyn Fn(&Event<'_>, &AtomicBool) + Sync + Send>;

/// Remembers what happened, and may do something at each event.
#[derive(Default)]
pub struct Heard {
    stop: AtomicBool,
    pub items: Mutex<Vec<(Action, PathBuf)>>,
    pub trouble: Mutex<Vec<(PathBuf, String)>>,
    at: Option<AtEvent>,
}

impl Heard {
    /// Calls `at` at each event, with the flag that stops the run.
    pub fn calling(at: impl Fn(&Event<'_>, &AtomicBool) + Sync + Send + 'static) -> Self {
        Self { at: Some(Box::new(at)), ..Self::default() }
    }

    /// How many entries something was done with.
    pub fn count(&self, action: Action) -> usize {
        self.items.lock().unwrap().iter().filter(|(done, _)| *done == action).count()
    }
}

impl Observer for Heard {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Item { action, path, .. } => self.items.lock().unwrap().push((action, path.to_owned())),
            Event::Trouble { path, why } => self.trouble.lock().unwrap().push((path.to_owned(), why.to_owned())),
            _ => {}
        }
        if let Some(at) = &self.at {
            at(&event, &self.stop);
        }
    }

    fn stop(&self) -> &AtomicBool {
        &self.stop
    }
}

/// Backs these up; all of it must be readable.
pub fn backup_of(archive: &Archive, sources: &[&Path]) {
    let done = backup(archive, &options(sources), &Heard::default()).unwrap();
    assert!(done.unread.is_empty(), "{:?}", done.unread);
}

/// What notices told.
pub type Notices = Arc<Mutex<Vec<Notice>>>;

/// An archive in a folder, with a source and a cache beside it.
pub struct TestArchive {
    dir: TempDir,
    pub notices: Notices,
}

impl TestArchive {
    pub fn new(parameters: &Parameters) -> Self {
        let archive = Self::unmade();
        Archive::create(&Local::new(archive.path()), parameters, 1_700_000_000).unwrap();
        archive
    }

    /// The folders only.
    pub fn unmade() -> Self {
        Self::within(quick())
    }

    /// The same where a drive's file system is needed, with all that it can keep.
    pub fn on_disk(parameters: &Parameters) -> Self {
        let archive = Self::within(TempDir::new().unwrap());
        Archive::create(&Local::new(archive.path()), parameters, 1_700_000_000).unwrap();
        archive
    }

    fn within(dir: TempDir) -> Self {
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { dir, notices: Notices::default() }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    pub fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// A place beside the archive.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of archive and source, to be damaged, with an index of its own.
    pub fn copy(&self) -> Self {
        let dir = quick();
        copy_tree(self.dir.path(), dir.path());
        let copy = Self { dir, notices: Notices::default() };
        if copy.cache().exists() {
            fs::remove_dir_all(copy.cache()).unwrap();
            drop(copy.try_open());
            copy.notices.lock().unwrap().clear();
        }
        copy
    }

    pub fn try_open(&self) -> Result<Archive> {
        self.open_through(Arc::new(Local::new(self.path())), &self.cache())
    }

    pub fn open(&self) -> Archive {
        self.try_open().unwrap()
    }

    /// Opens it through another store or with another cache.
    pub fn open_through(&self, store: Arc<dyn Store>, cache: &Path) -> Result<Archive> {
        let notices = self.notices.clone();
        Archive::open(store, Some(cache), Arc::new(move |notice| notices.lock().unwrap().push(notice)))
    }

    /// Backs up the source.
    pub fn try_backup(&self) -> Result<Backup> {
        backup(&self.try_open()?, &options(&[&self.source()]), &Heard::default())
    }

    /// Backs up the source, all of which must be readable.
    pub fn backup(&self) -> SnapshotId {
        let done = self.try_backup().unwrap();
        assert!(done.unread.is_empty(), "unread: {:?}", done.unread);
        done.id.unwrap()
    }

    pub fn verify(&self, read_data: bool) -> Verify {
        verify(&self.open(), &VerifyOptions { read_data, ..VerifyOptions::default() }, &Heard::default()).unwrap()
    }

    /// Restores the content of the source as this snapshot has it, into a folder of this name.
    pub fn restore_to(&self, id: SnapshotId, name: &str) -> PathBuf {
        let target = self.beside(name);
        let done = restore_at(&self.open(), Some(id), &target).unwrap();
        assert!(done.failed.is_empty() && done.left.is_empty(), "failed: {:?}, left: {:?}", done.failed, done.left);
        target.join("source")
    }

    /// Every object but the README, with its path, by name.
    pub fn objects(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.path()];
        while let Some(folder) = todo.pop() {
            for item in fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    let name = path.strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, path);
                }
            }
        }
        found.remove("README.txt");
        found
    }

    /// Objects whose name begins so.
    pub fn objects_in(&self, folder: &str) -> Vec<(String, PathBuf)> {
        self.objects().into_iter().filter(|(name, _)| name.starts_with(folder)).collect()
    }

    /// No write under way or interrupted has left anything.
    pub fn assert_no_litter(&self) {
        let litter: Vec<_> = self.objects().into_keys().filter(|name| name.contains(".tmp-")).collect();
        assert!(litter.is_empty(), "left behind: {litter:?}");
    }
}

/// A folder in memory, where there is one: thousands of syncs take their time elsewhere.
pub fn quick() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Restores a snapshot (the newest if none is named), never replacing anything.
pub fn restore_at(archive: &Archive, id: Option<SnapshotId>, target: &Path) -> Result<Restore> {
    let selector = id.map_or(Selector::Latest(0), |id| Selector::Prefix(id.to_hex()));
    let (id, snapshot) = archive.find(&selector, &Filter::default())?;
    let view = View::new(archive, id, snapshot);
    let options = RestoreOptions {
        target: target.to_owned(),
        selection: Selection::default(),
        overwrite: Overwrite::Never,
        dry_run: false,
        verify: false,
        setuid: true,
    };
    restore(&view, &Node { path: Vec::new(), entry: None }, &options, &Heard::default())
}

pub fn now() -> Time {
    after(Duration::ZERO)
}

/// So long after now.
pub fn after(wait: Duration) -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + wait;
    Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

pub fn options(sources: &[&Path]) -> BackupOptions {
    BackupOptions {
        sources: sources.iter().map(|path| path.to_path_buf()).collect(),
        rules: RuleSpec::default(),
        host: "here".to_owned(),
        user: "me".to_owned(),
        tags: Vec::new(),
        note: None,
        time: now(),
        offset_minutes: 0,
        program: "test".to_owned(),
        dry_run: false,
        skip_if_unchanged: false,
        packing: snapkeep::archive::Packing::default(),
        force: false,
        pinned: false,
        max_loss: None,
    }
}

/// Random numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }
}

/// What a camera writes, in small: EXIF, tables, an image of about `len` bytes that nobody can decode.
pub fn jpeg(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, body: &[u8]| {
        bytes.extend_from_slice(&[0xFF, marker]);
        bytes.extend_from_slice(&((body.len() + 2) as u16).to_be_bytes());
        bytes.extend_from_slice(body);
    };
    segment(0xE1, &[b"Exif\0\0".as_slice(), &random.bytes(1500)].concat());
    segment(0xDB, &[[0_u8].as_slice(), &[16; 64]].concat());
    segment(0xC0, &[8, 0, 16, 0, 16, 1, 1, 0x11, 0]);
    segment(0xDA, &[1, 1, 0, 0, 63, 0]);
    bytes.extend(random.bytes(len).into_iter().map(|byte| byte & 0x7F));
    bytes.extend_from_slice(&[0xFF, 0xD9]);
    bytes
}

/// A PNG as far as its structure goes.
pub fn png(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, body) in [(b"IHDR", vec![0; 13]), (b"IDAT", random.bytes(len)), (b"IEND", vec![])] {
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

/// A few albums: small, but with photos, notes, an empty file and folder, and a link.
pub fn album(root: &Path, seed: u64) {
    let mut random = Random(seed);
    for year in ["2019", "2020"] {
        let folder = root.join(year);
        fs::create_dir_all(folder.join("empty")).unwrap();
        for photo in 0..3 {
            let len = 3000 + random.below(9000) as usize;
            fs::write(folder.join(format!("img{photo}.jpg")), jpeg(&mut random, len)).unwrap();
        }
        fs::write(folder.join("scan.png"), png(&mut random, 5000)).unwrap();
        fs::write(folder.join("notes.txt"), format!("what happened in {year}\n").repeat(40)).unwrap();
        fs::write(folder.join("nothing"), "").unwrap();
        std::os::unix::fs::symlink("img0.jpg", folder.join("best")).unwrap();
    }
}

/// Runs a command that must succeed, and returns what it printed.
pub fn run(command: &mut Command) -> Vec<u8> {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// A copy of files, folders and links, without their metadata. It starts no other program, which would for a moment hold
/// the locks of this one.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let (item, to) = (item.as_ref().unwrap().path(), to.join(item.as_ref().unwrap().file_name()));
        if item.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(item).unwrap(), to).unwrap();
        } else if item.is_dir() {
            copy_tree(&item, &to);
        } else {
            fs::copy(item, to).unwrap();
        }
    }
}

/// A copy as it is now, with everything that `cp -a` keeps.
pub fn plain_copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Whether a tool is there. Tests that need it say so loudly and pass without, but not where everything must be tested.
pub fn has_tool(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{tool} is needed to test this");
        eprintln!("SKIPPED: {tool} is not there, so a comparison was NOT made");
    }
    there
}

/// In what two trees differ, as other tools than ours see it; empty if in nothing.
pub fn differences(one: &Path, other: &Path) -> String {
    let mut found = String::new();
    if has_tool("rsync") {
        let mut rsync = Command::new("rsync");
        let slash = |path: &Path| path.join("").into_os_string();
        found += &text(run(rsync.arg("-naicHAX").arg("--delete").arg(slash(one)).arg(slash(other))));
    }
    let (left, right) = (listing(one), listing(other));
    for line in left.iter().filter(|line| !right.contains(line)) {
        found += &format!("only in the first: {line:?}\n");
    }
    for line in right.iter().filter(|line| !left.contains(line)) {
        found += &format!("only in the second: {line:?}\n");
    }
    found
}

pub fn assert_same(one: &Path, other: &Path) {
    let found = differences(one, other);
    assert!(found.is_empty(), "{} and {} differ:\n{found}", one.display(), other.display());
}

/// Type, mode, owners, length, modification time, names and link target of everything, as `find` sees it.
fn listing(root: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.current_dir(root).args([".", "(", "-type", "d", "-printf", "d %m %U:%G - %T@ %n %P\\0", ")"]);
    find.args(["-o", "-printf", "%y %m %U:%G %s %T@ %n %P -> %l\\0"]);
    let found = run(&mut find);
    let mut lines: Vec<String> =
        found.split(|byte| *byte == 0).map(|line| format!("{}", line.escape_ascii())).collect();
    lines.sort();
    lines
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Sets the modification time.
pub fn touch(path: &Path, secs: i64, nanos: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: secs, tv_nsec: nanos as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Whether this process may do what only root may; if not, that is said loudly.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: not root, so {what} was NOT tested");
    }
    root
}

/// Flips one bit of a file.
pub fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

/// Sets the flag after so many files were dealt with.
pub fn stopping_after(files: usize) -> Heard {
    let seen = std::sync::atomic::AtomicUsize::new(0);
    Heard::calling(move |event, stop| {
        if matches!(event, Event::Item { .. }) && seen.fetch_add(1, Ordering::Relaxed) + 1 >= files {
            stop.store(true, Ordering::Relaxed);
        }
    })
}

/// What a folder holds: files by their bytes, links by their targets, folders by nothing.
pub fn contents(root: &Path) -> Contents {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                found.insert(name, Vec::new());
                todo.push(path);
            } else if meta.is_symlink() {
                found.insert(name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The same of the folder `source` in a snapshot, read from the archive and checked against every hash on the way.
pub fn contents_of(archive: &Archive, id: SnapshotId) -> Result<Contents> {
    use snapkeep::format::EntryKind;
    let (id, snapshot) = archive.find(&Selector::Prefix(id.to_hex()), &Filter::default())?;
    let view = View::new(archive, id, snapshot);
    let mut found = BTreeMap::new();
    view.walk(&Node { path: Vec::new(), entry: None }, &mut |node| {
        let Some(entry) = &node.entry else { return Ok(true) };
        let Some(path) = node.path.strip_prefix(b"source/") else { return Ok(true) };
        let mut bytes = Vec::new();
        match &entry.kind {
            EntryKind::File { .. } => view.read(node, &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?,
            EntryKind::Symlink { target } => bytes.clone_from(target),
            EntryKind::Dir { .. } => {}
        }
        found.insert(path.to_vec(), bytes);
        Ok(true)
    })?;
    Ok(found)
}

/// What a folder holds, by path.
pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// An archive with two snapshots, and what each holds.
pub struct Known {
    pub archive: TestArchive,
    pub held: Vec<(SnapshotId, Contents)>,
}

impl Known {
    pub fn new() -> Self {
        let archive = TestArchive::new(&SMALL);
        let mut held = Vec::new();
        album(&archive.source(), 1);
        fs::write(archive.source().join("film.mov"), Random(2).bytes(200_000)).unwrap();
        held.push((archive.backup(), contents(&archive.source())));
        fs::rename(archive.source().join("2019"), archive.source().join("nineteen")).unwrap();
        fs::write(archive.source().join("new.jpg"), Random(3).bytes(50_000)).unwrap();
        held.push((archive.backup(), contents(&archive.source())));
        Self { archive, held }
    }

    pub fn copy(&self) -> Self {
        Self { archive: self.archive.copy(), held: self.held.clone() }
    }
}
