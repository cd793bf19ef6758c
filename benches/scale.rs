//! What an archive costs that holds much: a million chunks and five thousand snapshots, made through the real code, and
//! then the commands that people type, each with its time and peak memory.
//!
//! `cargo bench --bench scale -- --work DIR [--chunks 1000000] [--snapshots 5000]`. Needs GNU time and about 400 MB.
//! Also a slow drive: how often a restore from a store asks for something far from where it read last.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use snapkeep::archive::{Archive, Filter, Packing, Parameters, Selector, entries_of, store_entries};
use snapkeep::chunk::Chunk;
use snapkeep::format::{ChunkRef, Content, Entry, EntryKind, Hint, Meta, Snapshot, Source, Time};
use snapkeep::id::{ChunkId, ChunkKind, FileHash};
use snapkeep::op::{self, Event, Observer, Overwrite, RestoreOptions, Selection};
use snapkeep::store::{Leftovers, Local, Lock, LockMode, Object, Put, Store};
use snapkeep::view::View;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Chunks of a file, files of a directory.
const PER_FILE: usize = 10;
const PER_DIR: usize = 1000;

fn main() -> Outcome<()> {
    let options: Vec<String> = std::env::args().skip(1).filter(|option| option != "--bench").collect();
    let value = |name: &str| options.iter().position(|option| option == name).and_then(|at| options.get(at + 1));
    let Some(work) = value("--work") else {
        println!("cargo bench --bench scale -- --work DIR [--chunks 1000000] [--snapshots 5000]");
        return Ok(());
    };
    let number = |name: &str, usual: usize| value(name).map_or(Ok(usual), |text| text.parse());
    let work = PathBuf::from(work).join(format!("snapkeep-scale-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let done = run(&work, number("--chunks", 1_000_000)?, number("--snapshots", 5000)?);
    fs::remove_dir_all(&work)?;
    done
}

fn run(work: &Path, chunks: usize, snapshots: usize) -> Outcome<()> {
    let (archive, album) = (work.join("archive"), work.join("album"));
    make_album(&album)?;
    let started = Instant::now();
    fill(&archive, &work.join("cache"), chunks, snapshots)?;
    println!(
        "an archive of {chunks} chunks and {snapshots} snapshots, made in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    println!("| work | seconds | peak MB |\n|---|--:|--:|");
    let snap = |what: &str, args: &[&str]| -> Outcome<()> {
        let (seconds, peak) = timed(work, args)?;
        println!("| {what} | {seconds:.2} | {peak:.0} |");
        Ok(())
    };
    let album = album.to_str().ok_or("a work folder that is no text")?;
    let target = work.join("target");
    let target = target.to_str().ok_or("a work folder that is no text")?;
    snap("create, 100 new files", &["create", album])?;
    snap("create, nothing changed", &["create", album])?;
    snap("create, nothing changed, again", &["create", album])?;
    snap("open and status", &["status"])?;
    snap("list", &["list"])?;
    snap("ls of a directory of 1,000", &["ls", "latest~10:synthetic/00003"])?;
    snap("restore of an album of 100", &["restore", "latest", "-t", target])?;
    fs::remove_dir_all(work.join("cache"))?;
    snap("index made again, and status", &["status"])?;
    slow_drive(&archive, &work.join("cache"), &work.join("slow"))
}

/// A hundred files for the real part.
fn make_album(dir: &Path) -> Outcome<()> {
    fs::create_dir_all(dir)?;
    for number in 0..100_u64 {
        let mut bytes = vec![0; 300_000];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        fs::write(dir.join(format!("{number:03}.bin")), bytes)?;
    }
    Ok(())
}

fn fill(place: &Path, cache: &Path, chunks: usize, snapshots: usize) -> Outcome<()> {
    let store = Local::new(place);
    Archive::create(&store, &Parameters::default(), 0)?;
    let archive = Archive::open(Arc::new(store), Some(cache), Arc::new(|_| {}))?;
    let writer = archive.writer(Packing::default())?;
    let (mut dirs, mut entries, mut refs) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..chunks as u64 {
        let mut bytes = [0; 64];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let chunk = Chunk::new(ChunkKind::Data, &bytes);
        writer.put(&chunk, Hint::None)?;
        refs.push(ChunkRef { id: chunk.id(), len: 64 });
        if refs.len() == PER_FILE {
            let content = Content::Chunks(std::mem::take(&mut refs));
            let hash = FileHash::from_bytes(*chunk.id().as_bytes());
            let size = 64 * PER_FILE as u64;
            let kind = EntryKind::File { size, hash, content, sparse: false, unsettled: false };
            entries.push(entry(format!("{:05}.jpg", entries.len()), kind, 0));
        }
        if entries.len() == PER_DIR {
            dirs.push(directory(&writer, format!("{:05}", dirs.len()), std::mem::take(&mut entries))?);
        }
    }
    dirs.push(directory(&writer, "last".to_owned(), entries)?);
    let top = directory(&writer, "synthetic".to_owned(), dirs)?;
    let mut tree = store_entries(&writer, vec![top])?;
    writer.finish()?;
    for sequence in 1..=snapshots as u64 {
        if sequence % 100 == 0 {
            tree = changed(&archive, &tree, sequence)?;
        }
        archive.commit(&snapshot(sequence, tree))?;
    }
    Ok(())
}

/// The top tree with another time of the one entry in it.
fn changed(archive: &Archive, tree: &ChunkId, sequence: u64) -> Outcome<ChunkId> {
    let mut entries = entries_of(&archive.reader(), tree)?;
    for entry in &mut entries {
        entry.meta.mtime.secs = sequence as i64;
    }
    let writer = archive.writer(Packing::default())?;
    let tree = store_entries(&writer, entries)?;
    writer.finish()?;
    Ok(tree)
}

fn entry(name: String, kind: EntryKind, secs: i64) -> Entry {
    let meta = Meta { mode: 0o644, mtime: Time { secs, nanos: 0 }, links: 1, ..Meta::default() };
    Entry { name: name.into_bytes(), kind, meta }
}

fn directory(writer: &snapkeep::archive::Writer<'_>, name: String, entries: Vec<Entry>) -> Outcome<Entry> {
    let (mut files, mut bytes) = (0, 0);
    for entry in &entries {
        match &entry.kind {
            EntryKind::File { size, .. } => (files, bytes) = (files + 1, bytes + size),
            EntryKind::Dir { files: more, bytes: larger, .. } => (files, bytes) = (files + more, bytes + larger),
            EntryKind::Symlink { .. } => files += 1,
        }
    }
    Ok(entry(name, EntryKind::Dir { tree: store_entries(writer, entries)?, files, bytes }, 0))
}

fn snapshot(sequence: u64, tree: ChunkId) -> Snapshot {
    let device = vec![snapkeep::format::Device(1)];
    Snapshot {
        sequence,
        time: Time { secs: sequence as i64 * 3600, nanos: 0 },
        host: "scale".to_owned(),
        user: "scale".to_owned(),
        sources: vec![Source { name: b"synthetic".to_vec(), path: b"/synthetic".to_vec(), devices: device }],
        program: "scale".to_owned(),
        ..Snapshot::of(tree)
    }
}

/// Runs `snap` on the archive: seconds, and the most memory it held in megabytes.
fn timed(work: &Path, args: &[&str]) -> Outcome<(f64, f64)> {
    let log = work.join("time.log");
    let mut command = Command::new("/usr/bin/time");
    command.arg("-f").arg("%e %M").arg("-o").arg(&log).arg(env!("CARGO_BIN_EXE_snap")).args(args);
    command.arg("-a").arg(work.join("archive")).arg("--cache-dir").arg(work.join("cache")).arg("-q");
    let output = command.stdout(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("snap {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let figures = fs::read_to_string(log)?;
    let (seconds, kilobytes) = figures.trim().split_once(' ').ok_or("GNU time printed something else")?;
    Ok((seconds.parse()?, kilobytes.parse::<f64>()? / 1000.0))
}

/// Restores through a store that remembers what is read, and says what a drive of 10 ms a seek and 100 MB/s would need.
fn slow_drive(place: &Path, cache: &Path, target: &Path) -> Outcome<()> {
    let store = Arc::new(Throttled { inner: Local::new(place), head: Mutex::default(), ..Throttled::default() });
    let archive = Archive::open(store.clone(), Some(cache), Arc::new(|_| {}))?;
    println!("\n| on a drive of 10 ms a seek and 100 MB/s | seconds | seeks | packs of photo data read | MB read |");
    println!("|---|--:|--:|--:|--:|");
    let told = |what: &str| {
        let (seeks, bytes) = (store.seeks.swap(0, Ordering::Relaxed), store.bytes.swap(0, Ordering::Relaxed));
        let packs = std::mem::take(&mut *store.packs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)).len();
        let seconds = seeks as f64 * 0.010 + bytes as f64 / 100e6;
        println!("| {what} | {seconds:.2} | {seeks} | {packs} | {:.1} |", bytes as f64 / 1e6);
    };
    told("open");
    let found = archive.find(&Selector::Latest(0), &Filter::default())?;
    archive.snapshots();
    told("list");
    let view = View::new(&archive, found.0, found.1);
    let node = view.find(b"album")?;
    view.list(&node)?;
    told("ls");
    let options = RestoreOptions {
        target: target.to_owned(),
        selection: Selection::default(),
        overwrite: Overwrite::Never,
        dry_run: false,
        verify: false,
        setuid: false,
    };
    op::restore(&view, &node, &options, &Silent::default())?;
    told("restore of an album of 30 MB");
    Ok(())
}

#[derive(Default)]
struct Silent(std::sync::atomic::AtomicBool);

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}

    fn stop(&self) -> &std::sync::atomic::AtomicBool {
        &self.0
    }
}

/// A local store that counts what a drive's head would do.
struct Throttled {
    inner: Local,
    /// The object that was read last, and where that read ended.
    head: Mutex<(String, u64)>,
    seeks: AtomicU64,
    bytes: AtomicU64,
    packs: Mutex<std::collections::HashSet<String>>,
}

impl Default for Throttled {
    fn default() -> Self {
        Self {
            inner: Local::new("."),
            head: Mutex::default(),
            seeks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            packs: Mutex::default(),
        }
    }
}

impl Throttled {
    fn read(&self, name: &str, offset: u64, len: u64) {
        let mut head = self.head.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *head != (name.to_owned(), offset) {
            self.seeks.fetch_add(1, Ordering::Relaxed);
        }
        *head = (name.to_owned(), offset + len);
        self.bytes.fetch_add(len, Ordering::Relaxed);
        if name.starts_with("packs/") && len > 100_000 {
            self.packs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.to_owned());
        }
    }
}

impl Store for Throttled {
    fn make_place(&self) -> snapkeep::error::Result<()> {
        self.inner.make_place()
    }

    fn put_new(&self, name: &str, parts: &[&[u8]]) -> snapkeep::error::Result<Put> {
        self.inner.put_new(name, parts)
    }

    fn get(&self, name: &str, limit: u64) -> snapkeep::error::Result<Vec<u8>> {
        let bytes = self.inner.get(name, limit)?;
        self.read(name, 0, bytes.len() as u64);
        Ok(bytes)
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> snapkeep::error::Result<()> {
        self.inner.replace(name, parts)
    }

    fn read_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> snapkeep::error::Result<()> {
        self.read(name, offset, buffer.len() as u64);
        self.inner.read_range(name, offset, buffer)
    }

    fn len(&self, name: &str) -> snapkeep::error::Result<Option<u64>> {
        self.inner.len(name)
    }

    fn list(&self, folder: &str, leftovers: Leftovers) -> snapkeep::error::Result<Vec<Object>> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.inner.list(folder, leftovers)
    }

    fn confirm(&self, name: &str) -> snapkeep::error::Result<()> {
        self.inner.confirm(name)
    }

    fn rename(&self, name: &str, to: &str) -> snapkeep::error::Result<()> {
        self.inner.rename(name, to)
    }

    fn delete(&self, name: &str) -> snapkeep::error::Result<()> {
        self.inner.delete(name)
    }

    fn lock(&self, name: &str, mode: LockMode) -> snapkeep::error::Result<Lock> {
        self.inner.lock(name, mode)
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn confirms_writes(&self) -> bool {
        self.inner.confirms_writes()
    }
}
