//! An archive beside plain copies of everything that it was told to keep. What is done is chosen from outside (random
//! numbers in a test, a fuzzer's bytes), and after each step the archive must give what the copies have.
#![allow(dead_code)] // each test takes what it needs

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use snapkeep::archive::{Archive, Filter, Packing, Parameters, Selector};
use snapkeep::format::{Chunker, Time};
use snapkeep::id::SnapshotId;
use snapkeep::op::{
    BackupOptions, Event, Observer, Overwrite, RepairOptions, RestoreOptions, Selection, SqueezeOptions, Verify,
    VerifyOptions, backup, repair, restore, squeeze, verify,
};
use snapkeep::source::RuleSpec;
use snapkeep::store::Local;
use snapkeep::view::{Node, View};

use super::picture;

/// Gives a number below the one that is asked for.
pub type Choose<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Files by their path: what a snapshot must give back.
type Files = BTreeMap<PathBuf, Vec<u8>>;

struct Quiet(AtomicBool);

impl Observer for Quiet {
    fn event(&self, _: Event<'_>) {}

    fn stop(&self) -> &AtomicBool {
        &self.0
    }
}

static QUIET: Quiet = Quiet(AtomicBool::new(false));

pub struct Model {
    root: PathBuf,
    held: Vec<(SnapshotId, Files)>,
    made: u64,
    /// What was done, for whoever looks for the reason of a failure.
    pub log: Vec<String>,
}

impl Model {
    /// An empty archive and an empty source in this folder.
    pub fn new(root: &Path) -> Self {
        fs::create_dir_all(root.join("source")).unwrap();
        let chunker = Chunker { min: 256, average: 1024, max: 4096 };
        let parameters = Parameters { chunker, pack_size: 1 << 16, parity_permille: 50 };
        Archive::create(&Local::new(root.join("archive")), &parameters, 1).unwrap();
        Self { root: root.to_owned(), held: Vec::new(), made: 0, log: Vec::new() }
    }

    /// Does one thing, whichever is chosen.
    pub fn step(&mut self, choose: &mut Choose<'_>) {
        match choose(20) {
            0..=2 => self.add(choose),
            3 => self.change(choose),
            4 => self.tag(choose),
            5 => self.rename(choose),
            6 => self.delete(choose),
            7..=9 => self.create(false),
            10 => self.create(true),
            11 => self.squeeze(),
            12..=13 => self.restore(choose),
            14 => self.verify(choose(2) == 0),
            15 => self.lose("cache"),
            16 => self.lose("archive/segments"),
            17..=18 => self.flip(choose),
            _ => self.repair(),
        }
    }

    /// Everything is as it should be.
    pub fn end(&mut self) {
        for at in 0..self.held.len() {
            self.restore(&mut |_| at as u64);
        }
        self.repair();
    }

    fn archive(&self) -> Archive {
        let store = Arc::new(Local::new(self.root.join("archive")));
        Archive::open(store, Some(&self.root.join("cache")), Arc::new(|_| {})).unwrap()
    }

    fn source(&self) -> PathBuf {
        self.root.join("source")
    }

    /// A file of the source, if there is one.
    fn file(&self, choose: &mut Choose<'_>) -> Option<PathBuf> {
        let files: Vec<PathBuf> = files(&self.source()).into_keys().collect();
        let at = choose(files.len().max(1) as u64) as usize;
        files.get(at).map(|path| self.source().join(path))
    }

    fn add(&mut self, choose: &mut Choose<'_>) {
        self.made += 1;
        let folder = self.source().join(["", "2019", "2020", "2020/sea"][choose(4) as usize]);
        fs::create_dir_all(&folder).unwrap();
        let (name, bytes) = match choose(4) {
            0 | 1 => ("jpg", picture::photo(self.made, 48, 32)),
            2 => ("bin", noise(self.made, choose(30_000) as usize)),
            _ => ("txt", b"all alike ".repeat(choose(500) as usize)),
        };
        let path = folder.join(format!("{}.{name}", self.made));
        self.log.push(format!("add {} with {} bytes", path.display(), bytes.len()));
        fs::write(path, bytes).unwrap();
    }

    fn change(&mut self, choose: &mut Choose<'_>) {
        let Some(path) = self.file(choose) else { return };
        let mut bytes = fs::read(&path).unwrap();
        match choose(3) {
            0 => bytes.extend(noise(self.made, 100)),
            1 => bytes.truncate(bytes.len() / 2),
            _ => bytes.iter_mut().take(1).for_each(|byte| *byte = byte.wrapping_add(1)),
        }
        self.log.push(format!("change {}", path.display()));
        fs::write(path, bytes).unwrap();
    }

    fn tag(&mut self, choose: &mut Choose<'_>) {
        let Some(path) = self.file(choose).filter(|path| path.extension().is_some_and(|end| end == "jpg")) else {
            return;
        };
        let photo = fs::read(&path).unwrap();
        if !(photo.starts_with(&[0xff, 0xd8, 0xff]) && photo.ends_with(&[0xff, 0xd9])) {
            return; // it was changed
        }
        self.log.push(format!("tag {}", path.display()));
        fs::write(path, picture::tag(&photo, choose(6) as u32, "at the lake")).unwrap();
    }

    fn rename(&mut self, choose: &mut Choose<'_>) {
        self.made += 1;
        let (from, to) = match choose(3) {
            0 => (self.source().join("2020"), self.source().join(format!("year{}", self.made))),
            _ => match self.file(choose) {
                Some(path) => (path, self.source().join(format!("{}.moved", self.made))),
                None => return,
            },
        };
        if from.exists() {
            self.log.push(format!("rename {} to {}", from.display(), to.display()));
            fs::rename(from, to).unwrap();
        }
    }

    fn delete(&mut self, choose: &mut Choose<'_>) {
        let Some(path) = self.file(choose) else { return };
        self.log.push(format!("delete {}", path.display()));
        fs::remove_file(path).unwrap();
    }

    fn create(&mut self, images: bool) {
        let archive = self.archive();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let options = BackupOptions {
            sources: vec![self.source()],
            rules: RuleSpec::default(),
            host: "here".to_owned(),
            user: "me".to_owned(),
            tags: Vec::new(),
            note: None,
            time: Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() },
            offset_minutes: 0,
            program: "model".to_owned(),
            dry_run: false,
            skip_if_unchanged: false,
            packing: Packing { images, ..Packing::default() },
            force: false,
            pinned: false,
            max_loss: None,
        };
        let done = backup(&archive, &options, &QUIET).unwrap();
        assert!(done.unread.is_empty());
        self.log.push(format!("create, images {images}: {}", done.id.unwrap().short()));
        self.held.push((done.id.unwrap(), files(&self.source())));
    }

    fn squeeze(&mut self) {
        self.log.push("squeeze".to_owned());
        squeeze(&self.archive(), &SqueezeOptions::default(), &QUIET).unwrap();
    }

    /// Restores one of the snapshots and compares it with its copy.
    fn restore(&mut self, choose: &mut Choose<'_>) {
        let at = choose(self.held.len().max(1) as u64) as usize;
        let Some((id, held)) = self.held.get(at) else { return };
        self.log.push(format!("restore {}", id.short()));
        let target = self.root.join("restored");
        let archive = self.archive();
        let (id, snapshot) = archive.find(&Selector::Prefix(id.to_hex()), &Filter::default()).unwrap();
        let view = View::new(&archive, id, snapshot);
        let options = RestoreOptions {
            target: target.clone(),
            selection: Selection::default(),
            overwrite: Overwrite::Never,
            dry_run: false,
            verify: false,
            setuid: true,
        };
        let done = restore(&view, &Node { path: Vec::new(), entry: None }, &options, &QUIET).unwrap();
        assert!(done.failed.is_empty() && done.left.is_empty(), "{done:?}");
        assert!(files(&target.join("source")) == *held, "{} is not what it was", id.short());
        fs::remove_dir_all(target).unwrap();
    }

    fn look(&self, read_data: bool) -> Verify {
        verify(&self.archive(), &VerifyOptions { read_data, ..VerifyOptions::default() }, &QUIET).unwrap()
    }

    fn verify(&mut self, read_data: bool) {
        self.log.push(format!("verify, read data {read_data}"));
        let found = self.look(read_data);
        assert_eq!((found.damage, found.affected, found.mended), Default::default());
        assert_eq!(found.snapshots, self.held.len() as u64);
    }

    fn lose(&mut self, what: &str) {
        self.log.push(format!("lose {what}"));
        match fs::remove_dir_all(self.root.join(what)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{what}: {error}"),
            _ => {}
        }
    }

    /// Flips a bit of any object: it is found, nothing is lost, and it is repaired.
    fn flip(&mut self, choose: &mut Choose<'_>) {
        let folder = self.root.join("archive");
        let objects: Vec<PathBuf> = files(&folder)
            .into_iter()
            .filter(|(path, bytes)| {
                !path.starts_with("quarantine") && !path.ends_with("README.txt") && !bytes.is_empty()
            })
            .map(|(path, _)| path)
            .collect();
        let name = &objects[choose(objects.len() as u64) as usize];
        let path = folder.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let bit = choose(bytes.len() as u64 * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        self.log.push(format!("flip bit {bit} of {}", name.display()));
        fs::write(path, bytes).unwrap();
        let found = self.look(true);
        assert!(found.affected.is_empty(), "{:?}", found.affected);
        assert!(
            found.damage.iter().all(|damage| damage.mendable && Path::new(&damage.object) == name),
            "{:?}",
            found.damage
        );
        assert!(!found.damage.is_empty(), "it was not found");
        self.restore(choose);
        if choose(3) == 0 {
            self.create(false);
        }
        self.repair();
    }

    fn repair(&mut self) {
        self.log.push("repair".to_owned());
        let done = repair(&self.archive(), &RepairOptions::default(), &QUIET).unwrap();
        assert!(done.is_whole(), "{done:?}");
        self.verify(true);
    }
}

/// All files below a folder.
fn files(root: &Path) -> Files {
    let mut found = Files::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(&folder).into_iter().flatten() {
            let path = item.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Bytes that do not compress, the same for the same number.
fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
