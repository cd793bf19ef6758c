//! What questions about the past cost: 100,000 photos in 1,000 albums, 1,000 snapshots with 200 changes each, made through
//! the real code, and then the commands that people type.
//!
//! `cargo bench --bench past -- --work DIR [--photos 100000] [--snapshots 1000]`. Needs about 1 GB.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use snapkeep::archive::{Archive, Packing, Parameters, Writer, store_entries};
use snapkeep::chunk::Chunk;
use snapkeep::format::{CaptureFacts, ChunkRef, Content, Device, Entry, EntryKind, Hint, Meta, Snapshot, Source, Time};
use snapkeep::id::{ChunkId, ChunkKind, FileHash};
use snapkeep::store::Local;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Photos of an album, changes of a snapshot, and albums that they fall on.
const PER_ALBUM: usize = 100;
const CHANGES: usize = 200;
const ALBUMS_CHANGED: usize = 10;
/// How often each command runs; the median counts.
const RUNS: usize = 7;

fn main() -> Outcome<()> {
    let options: Vec<String> = std::env::args().skip(1).filter(|option| option != "--bench").collect();
    let value = |name: &str| options.iter().position(|option| option == name).and_then(|at| options.get(at + 1));
    let Some(work) = value("--work") else {
        println!("cargo bench --bench past -- --work DIR [--photos 100000] [--snapshots 1000]");
        return Ok(());
    };
    let number = |name: &str, usual: usize| value(name).map_or(Ok(usual), |text| text.parse());
    let work = PathBuf::from(work).join(format!("snapkeep-past-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let done = run(&work, number("--photos", 100_000)?, number("--snapshots", 1000)?);
    fs::remove_dir_all(&work)?;
    done
}

fn run(work: &Path, photos: usize, snapshots: usize) -> Outcome<()> {
    let started = Instant::now();
    let lost = fill(work, photos, snapshots)?;
    println!("{photos} photos, {snapshots} snapshots with {CHANGES} changes each, made in {:.0} s", seconds(started));
    let started = Instant::now();
    snap(work, &["history", "library/00000"])?;
    println!("the past filled from nothing in {:.1} s\n\n| question | ms |\n|---|--:|", seconds(started));
    let ask = |what: &str, args: &[&str]| -> Outcome<()> {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            snap(work, args)?;
            times.push(seconds(started) * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("| {what} | {:.0} |", times[RUNS / 2]);
        Ok(())
    };
    let files = work.join("files");
    let files = files.to_str().ok_or("a work folder that is no text")?;
    ask("list", &["list"])?;
    ask("history of a photo", &["history", &lost])?;
    ask("history of an album", &["history", "library/00003"])?;
    ask("history of the whole library", &["history", "library"])?;
    ask("deleted", &["deleted"])?;
    ask("deleted, in one album", &["deleted", "--under", "library/00003"])?;
    ask("find --all by name", &["find", "--all", "*00042*"])?;
    ask("find --all by time and camera", &["find", "--all", "--taken", "1970-01-02", "--camera", "Camera 3"])?;
    ask("find in the newest by name", &["find", "*00042*"])?;
    ask("has on 1,000 files", &["has", files])?;
    ask("diff of neighbours", &["diff", "latest~500", "latest~499"])?;
    ask("diff of the first and the last", &["diff", &format!("latest~{}", snapshots - 1), "latest"])?;
    ask("duplicates", &["duplicates"])
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn snap(work: &Path, args: &[&str]) -> Outcome<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
    command.args(args).arg("-a").arg(work.join("archive")).arg("--cache-dir").arg(work.join("cache"));
    let output = command.stdout(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("snap {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

/// A library that changes: albums of photos, each with the number of its content.
struct Library {
    albums: Vec<BTreeMap<String, u64>>,
    trees: Vec<Option<Entry>>,
    next: u64,
}

/// Fills the archive and says where a photo was that was moved.
fn fill(work: &Path, photos: usize, snapshots: usize) -> Outcome<String> {
    let store = Local::new(work.join("archive"));
    Archive::create(&store, &Parameters::default(), 0)?;
    let archive = Archive::open(Arc::new(store), Some(&work.join("cache")), Arc::new(|_| {}))?;
    let writer = archive.writer(Packing::default())?;
    let albums = photos / PER_ALBUM;
    let album = |album: usize| (0..PER_ALBUM).map(|at| (name(at), (album * PER_ALBUM + at) as u64)).collect();
    let mut library = Library {
        albums: (0..albums).map(album).collect(),
        trees: (0..albums).map(|_| None).collect(),
        next: photos as u64,
    };
    let mut moved = String::new();
    let mut trees = Vec::new();
    let mut stored = BTreeSet::new();
    for sequence in 0..snapshots {
        if sequence > 0 {
            moved = library.change(sequence);
        }
        trees.push(library.store(&writer, &mut stored)?);
    }
    writer.finish()?;
    let facts = stored.iter().map(|number| {
        let facts = CaptureFacts {
            format: Some("jpeg".to_owned()),
            taken: Some(*number as i64 * 60),
            model: Some(format!("Camera {}", number % 7)),
            ..CaptureFacts::default()
        };
        (hash(*number), facts)
    });
    archive.put_facts(1, facts.collect())?;
    for (sequence, tree) in (1..).zip(trees) {
        archive.commit(&snapshot(sequence, tree))?;
    }
    fs::create_dir_all(work.join("files"))?;
    for number in (0..photos as u64).step_by((photos / 1000).max(1)) {
        fs::write(work.join(format!("files/{number}")), bytes(number))?;
    }
    Ok(moved)
}

impl Library {
    /// Two hundred changes in ten albums: a quarter each added, deleted, edited and moved. Says where one went.
    fn change(&mut self, sequence: usize) -> String {
        let mut moved = String::new();
        for turn in 0..ALBUMS_CHANGED {
            let at = (sequence * 37 + turn * 101) % self.albums.len();
            let to = (at + 1) % self.albums.len();
            for change in 0..CHANGES / ALBUMS_CHANGED {
                let names: Vec<&String> = self.albums[at].keys().collect();
                let name = names[(sequence * 13 + change * 7) % names.len()].clone();
                match change % 4 {
                    0 => drop(self.albums[at].insert(format!("new{sequence:05}-{change}.jpg"), self.next)),
                    1 => drop(self.albums[at].remove(&name)),
                    2 => drop(self.albums[at].insert(name, self.next)),
                    _ => {
                        let content = self.albums[at].remove(&name).unwrap_or_default();
                        let new = format!("moved{sequence:05}-{change}.jpg");
                        moved = format!("library/{to:05}/{new}");
                        self.albums[to].insert(new, content);
                    }
                }
                self.next += 1;
            }
            self.trees[at] = None;
            self.trees[to] = None;
        }
        moved
    }

    fn store(&mut self, writer: &Writer<'_>, stored: &mut BTreeSet<u64>) -> Outcome<ChunkId> {
        for (number, album) in self.albums.iter().enumerate() {
            if self.trees[number].is_some() {
                continue;
            }
            let mut entries = Vec::new();
            for (name, content) in album {
                let bytes = bytes(*content);
                let id = if stored.insert(*content) {
                    let chunk = Chunk::new(ChunkKind::Data, &bytes);
                    writer.put(&chunk, Hint::None)?;
                    chunk.id()
                } else {
                    ChunkId::of(ChunkKind::Data, &bytes)
                };
                let size = bytes.len() as u64;
                let content = Content::Chunks(vec![ChunkRef { id, len: size as u32 }]);
                let hash = FileHash::from_bytes(*id.as_bytes());
                entries.push(entry(name, EntryKind::File { size, hash, content, sparse: false, unsettled: false }));
            }
            let (files, bytes) = (entries.len() as u64, entries.len() as u64 * 300);
            let tree = store_entries(writer, entries)?;
            self.trees[number] = Some(entry(&format!("{number:05}"), EntryKind::Dir { tree, files, bytes }));
        }
        let albums: Vec<Entry> = self.trees.iter().flatten().cloned().collect();
        let tree = store_entries(writer, albums)?;
        let kind = EntryKind::Dir { tree, files: 0, bytes: 0 };
        Ok(store_entries(writer, vec![entry("library", kind)])?)
    }
}

fn name(at: usize) -> String {
    format!("IMG_{at:05}.jpg")
}

/// A photo of 300 bytes.
fn bytes(number: u64) -> [u8; 300] {
    let mut bytes = [0; 300];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn hash(number: u64) -> FileHash {
    FileHash::from_bytes(*blake3::hash(&bytes(number)).as_bytes())
}

fn entry(name: &str, kind: EntryKind) -> Entry {
    let meta = Meta { mode: 0o644, mtime: Time { secs: 1, nanos: 0 }, links: 1, ..Meta::default() };
    Entry { name: name.as_bytes().to_vec(), kind, meta }
}

fn snapshot(sequence: u64, tree: ChunkId) -> Snapshot {
    Snapshot {
        sequence,
        time: Time { secs: 1_700_000_000 + sequence as i64 * 3600, nanos: 0 },
        host: "past".to_owned(),
        user: "past".to_owned(),
        sources: vec![Source { name: b"library".to_vec(), path: b"/library".to_vec(), devices: vec![Device(1)] }],
        program: "past".to_owned(),
        ..Snapshot::of(tree)
    }
}
