//! What is being done while the power goes: a drive as it was found, every call of one run, and what each snapshot holds.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapkeep::archive::{Archive, Packing, Parameters, read_directory};
use snapkeep::format::Chunker;
use snapkeep::id::{PackId, SnapshotId};
use snapkeep::op::{RepairOptions, SqueezeOptions, VerifyOptions, backup, repair, squeeze, verify};
use snapkeep::store::{Local, Memory, Store};
use tempfile::TempDir;

use super::common::{Contents, Heard, Random, contents, contents_of, options, quick};
use super::disk::{Blob, Disk, Op, SimFs};
use super::oracles::open;
use super::picture::photo;

/// Few and small objects, so that there are few calls.
pub const PARAMETERS: Parameters = Parameters {
    chunker: Chunker { min: 1 << 12, average: 1 << 14, max: 1 << 16 },
    pack_size: 1 << 16,
    parity_permille: 30,
};

/// A snapshot that may be listed.
#[derive(Clone)]
pub struct Held {
    pub id: SnapshotId,
    pub contents: Arc<Contents>,
    /// It must be there once so many were told that their work was done; 0 if it was there before.
    pub acked: usize,
}

/// One run.
#[derive(Clone)]
pub struct Scene {
    pub name: String,
    pub start: Arc<Disk>,
    pub log: Arc<Vec<Op>>,
    /// The power goes only after so many calls.
    pub from: usize,
    /// The drive after it, if the power stays.
    pub end: Arc<Disk>,
    /// After so many were told that their work was done, there is an archive.
    pub made: usize,
    pub held: Vec<Held>,
    /// What objects hold when they are whole.
    pub good: Arc<HashMap<String, Blob>>,
    /// What could not be read before the run.
    pub lost: Arc<HashSet<(SnapshotId, Vec<u8>)>>,
    /// Whether the run removes and replaces nothing.
    pub adds_only: bool,
    /// Whether nothing is lost any more when it has done.
    pub mends: bool,
    /// Whether it replaces damaged objects, or a run does that was killed before it.
    pub replaces: bool,
    /// What the next run backs up, and what is there.
    pub source: PathBuf,
    pub contents: Arc<Contents>,
    /// The index as the run left it on this computer.
    pub index: Option<Arc<TempDir>>,
    /// A second archive with the same snapshots.
    pub from_other: Option<Arc<Archive>>,
}

impl Scene {
    /// What objects there are and were in the record, besides those that are known already.
    fn knowing(mut self, good: &HashMap<String, Blob>) -> Self {
        let mut all: HashMap<String, Blob> = good.clone();
        for disk in [&self.start, &self.end] {
            for (name, blob) in disk.objects() {
                all.entry(name.to_owned()).or_insert_with(|| blob.clone());
            }
        }
        // Also those that were removed again.
        let mut files: Vec<Blob> = self.start.0.values().flatten().cloned().collect();
        for op in self.log.iter() {
            match op {
                Op::Create(..) => files.push(Blob::new(Vec::new())),
                Op::Append(ino, blob) => files[*ino] = Blob::new([files[*ino].bytes(), blob.bytes()].concat()),
                Op::Rename(ino, _, to, _) => {
                    if let Some(name) = to.strip_prefix("/drive/archive/") {
                        all.entry(name.to_owned()).or_insert_with(|| files[*ino].clone());
                    }
                }
                _ => {}
            }
        }
        self.good = Arc::new(all);
        self
    }

    /// The same run from another drive: after a crash, or after the run before it was killed.
    fn again(&self, name: &str, fs: &SimFs, start: Arc<Disk>, from: usize, told: usize) -> Self {
        let made = if self.made > told { 1 } else { 0 };
        if made == 1 && open(fs, None).is_err() {
            Archive::create(&*fs.store(), &PARAMETERS, 1_700_000_000).expect("an archive can be made");
        }
        let archive = open(fs, None).expect("it opens");
        let done = backup(&archive, &options(&[&self.source]), &Heard::default()).expect("the next run works");
        fs.told();
        let mut held = self.held.clone();
        for held in &mut held {
            held.acked = if held.acked <= told { 0 } else { usize::MAX };
        }
        let id = done.id.expect("a snapshot");
        held.retain(|held| held.id != id);
        held.push(Held { id, contents: self.contents.clone(), acked: 1 });
        let mut lost = (*self.lost).clone();
        if !lost.is_empty() {
            // The run relied on a pack that nobody has repaired.
            let unread = super::oracles::right(&archive, id, &self.contents).expect("what is read is right");
            lost.extend(unread.into_iter().map(|path| (id, path)));
        }
        let scene = Self {
            name: name.to_owned(),
            start,
            log: Arc::new(fs.log()),
            from,
            end: Arc::new(fs.disk()),
            made,
            held,
            lost: Arc::new(lost),
            mends: false,
            index: None,
            ..self.clone()
        };
        let mut good = (*self.good).clone();
        if made == 1 {
            good.retain(|name, _| !name.starts_with("header")); // it may be another archive
        }
        scene.knowing(&good)
    }

    /// A run after a crash that left the drive so, when so many had been told that their work was done.
    pub fn after_crash(&self, state: &Disk, told: usize) -> Self {
        let fs = SimFs::new(state);
        let scene = self.again("create after a crash", &fs, Arc::new(state.clone()), 0, told);
        Self { adds_only: true, replaces: false, ..scene }
    }

    /// A run after this one was killed, while the power stayed.
    pub fn after_kill(&self, calls: usize) -> Self {
        let fs = SimFs::after(&self.start, &self.log[..calls]);
        self.again("create after a kill", &fs, self.start.clone(), calls, 0)
    }
}

/// A source, and drives with archives of it.
pub struct Stage {
    dir: TempDir,
    contents: Arc<Contents>,
}

impl Stage {
    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// Records a run on this drive.
    fn record(&self, name: &str, start: &Disk, held: &[Held], run: &dyn Fn(&SimFs, &Path)) -> Scene {
        let (fs, cache) = (SimFs::new(start), quick());
        run(&fs, cache.path());
        fs.told();
        assert_eq!(fs.faults(), Vec::<String>::new());
        let scene = Scene {
            name: name.to_owned(),
            start: Arc::new(start.clone()),
            log: Arc::new(fs.log()),
            from: 0,
            end: Arc::new(fs.disk()),
            made: 0,
            held: held.to_vec(),
            good: Arc::default(),
            lost: Arc::default(),
            adds_only: true,
            mends: false,
            replaces: false,
            source: self.source(),
            contents: self.contents.clone(),
            index: Some(Arc::new(cache)),
            from_other: None,
        };
        scene.knowing(&HashMap::new())
    }

    fn backup(&self, name: &str, start: &Disk, held: &[Held], packing: Packing) -> Scene {
        let mut scene = self.record(name, start, held, &|fs, cache| {
            let archive = open(fs, Some(cache)).expect("it opens");
            let mut options = options(&[&self.source()]);
            options.packing = packing;
            let done = backup(&archive, &options, &Heard::default()).expect("it works");
            assert!(done.unread.is_empty());
        });
        let archive = open(&SimFs::new(&scene.end), None).expect("it opens");
        let (id, _) = archive.snapshots().pop().expect("a snapshot");
        assert!(contents_of(&archive, id).expect("it is read") == *self.contents);
        scene.held.push(Held { id, contents: self.contents.clone(), acked: 1 });
        scene
    }
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

/// A folder with a film, photos, notes, an empty file and folder, and a link.
fn filled() -> Stage {
    let dir = quick();
    let source = dir.path().join("source");
    write(&source, "film.mov", &Random(1).bytes(66_000));
    for number in 0..3 {
        write(&source, &format!("2019/{number}.jpg"), &photo(number, 80, 64));
    }
    write(&source, "2019/notes.txt", "what happened in 2019\n".repeat(20).as_bytes());
    write(&source, "2020/nothing", b"");
    fs::create_dir(source.join("2020/empty")).expect("a folder");
    std::os::unix::fs::symlink("2019/1.jpg", source.join("best")).expect("a link");
    let contents = Arc::new(contents(&source));
    Stage { dir, contents }
}

fn acked(held: &[Held]) -> Vec<Held> {
    held.iter().cloned().map(|held| Held { acked: 0, ..held }).collect()
}

/// Every run whose crashes are looked at, in the order in which they are told of.
pub struct Scenes {
    pub all: Vec<Scene>,
    _stages: [Stage; 2],
}

impl Scenes {
    pub fn record() -> Self {
        let one = filled();
        let mut init = one.record("init", &Disk::empty(), &[], &|fs, _| {
            Archive::create(&*fs.store(), &PARAMETERS, 1_700_000_000).expect("it works");
        });
        (init.made, init.index) = (1, None);
        let images = Packing { images: true, ..Packing::default() };
        let first = one.backup("first create", &init.end, &[], Packing::default());
        let packed = one.backup("create --squeeze", &init.end, &[], images);
        let mut squeezed = one.record("squeeze", &first.end, &acked(&first.held), &|fs, cache| {
            let archive = open(fs, Some(cache)).expect("it opens");
            let done = squeeze(&archive, &SqueezeOptions::default(), &Heard::default()).expect("it works");
            assert!(done.done.packs > 0 && done.left == 0, "{done:?}");
        });
        squeezed.adds_only = false;

        let mut two = filled();
        let before = two.backup("", &init.end, &[], Packing::default());
        let source = two.source();
        fs::rename(source.join("2019"), source.join("nineteen")).expect("it is renamed");
        write(&source, "new.mov", &Random(2).bytes(66_000));
        fs::remove_file(source.join("nineteen/2.jpg")).expect("it is removed");
        two.contents = Arc::new(contents(&source));
        let second = two.backup("second create", &before.end, &acked(&before.held), Packing::default());
        let repairs = repairs(&two, &second);
        rebuild(&second);

        let mut all = vec![init, first, second, packed, squeezed];
        all.extend(repairs);
        Self { all, _stages: [one, two] }
    }
}

/// Making the index again, verifying and reading change nothing on the drive.
fn rebuild(scene: &Scene) {
    let fs = SimFs::new(&scene.end);
    let cache = quick();
    for _ in 0..2 {
        let archive = open(&fs, Some(cache.path())).expect("it opens");
        let options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
        assert!(verify(&archive, &options, &Heard::default()).expect("it works").damage.is_empty());
        for held in &scene.held {
            assert!(contents_of(&archive, held.id).expect("it is read") == *held.contents);
        }
        drop(archive);
        fs::remove_dir_all(cache.path()).expect("the index is removed");
    }
    assert!(fs.log().is_empty(), "whoever only reads changes nothing: {:?}", fs.log());
}

fn repairs(stage: &Stage, second: &Scene) -> Vec<Scene> {
    let whole = &second.end;
    let copy = Arc::new(Memory::new());
    for (name, blob) in whole.objects() {
        copy.put_new(name, &[blob.bytes()]).expect("it is copied");
    }
    let other = Arc::new(Archive::open(copy, None, Arc::new(|_| {})).expect("it opens"));
    // The longest pack of photo data: it holds the film, and some photos.
    let of = |folder: &str| -> Vec<String> {
        let mut found: Vec<_> = whole.objects().filter(|(name, _)| name.starts_with(folder)).collect();
        found.sort_by_key(|(name, blob)| (std::cmp::Reverse(blob.bytes().len()), (*name).to_owned()));
        found.into_iter().map(|(name, _)| name.to_owned()).collect()
    };
    let (pack, segment, snapshot) = (&of("packs/")[0], &of("segments/")[0], &of("snapshots/")[0]);
    let bytes = |name: &str| whole.get(name).expect("it is there").bytes().to_vec();
    let flipped = |name: &str| {
        let mut bytes = bytes(name);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    // Beyond what its recovery data mend, and the directory is whole.
    let spoiled = |name: &str| {
        let mut bytes = bytes(name);
        let store = Local::with(super::disk::ROOT, Box::new(SimFs::new(whole)));
        let id = PackId::from_hex(name.rsplit('/').next().expect("a name")).expect("an id");
        let rows = read_directory(&store, &id, bytes.len() as u64).expect("a directory").rows;
        let longest = rows.iter().max_by_key(|row| row.frame_len()).expect("a frame");
        let start = longest.offset as usize + 100;
        bytes[start..start + longest.frame_len() as usize - 200].iter_mut().for_each(|byte| *byte = !*byte);
        bytes
    };
    type Damage<'d> = Box<dyn Fn(&mut Disk) + 'd>;
    let cases: Vec<(&str, Damage<'_>, bool)> = vec![
        ("repair a pack", Box::new(|disk| disk.put(pack, flipped(pack))), false),
        ("repair a snapshot", Box::new(|disk| disk.put(snapshot, flipped(snapshot))), false),
        ("repair a header", Box::new(|disk| disk.put("header", flipped("header"))), false),
        ("repair header.copy", Box::new(|disk| disk.remove("header.copy")), false),
        ("repair segments", Box::new(|disk| disk.put(segment, flipped(segment))), false),
        ("repair by the source", Box::new(|disk| disk.put(pack, spoiled(pack))), false),
        ("repair by a copy", Box::new(|disk| disk.put(pack, spoiled(pack))), true),
    ];
    let held = acked(&second.held);
    let record = |(name, damage, by_copy): &(&str, Damage<'_>, bool)| {
        let mut start = (**whole).clone();
        damage(&mut start);
        let mut scene = stage.record(name, &start, &held, &|fs, cache| {
            let archive = open(fs, Some(cache)).expect("it opens");
            let from = by_copy.then_some(&*other);
            let options = RepairOptions { from, source: !by_copy, dry_run: false };
            let done = repair(&archive, &options, &Heard::default()).expect("it works");
            assert!(done.is_whole() && !done.steps.is_empty(), "{name}: {done:?}");
        });
        (scene.adds_only, scene.mends, scene.replaces) = (false, true, true);
        scene.from_other = Some(other.clone());
        let archive = open(&SimFs::new(&start), None).expect("it opens");
        let mut lost = HashSet::new();
        for held in &held {
            let unread = super::oracles::right(&archive, held.id, &held.contents).expect("what is read is right");
            lost.extend(unread.into_iter().map(|path| (held.id, path)));
        }
        assert_eq!(lost.is_empty(), !["repair by the source", "repair by a copy"].contains(name), "{name}");
        scene.lost = Arc::new(lost);
        // What the damaged object was before; it wins over what was found.
        let good: HashMap<String, Blob> = whole.objects().map(|(name, blob)| (name.to_owned(), blob.clone())).collect();
        scene.knowing(&good)
    };
    cases.iter().map(record).collect()
}
