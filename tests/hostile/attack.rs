//! An archive made by the writer's own means, but with what no writer would put into it, and the program let loose on it.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use snapkeep::archive::{Archive, Packing, Writer, store_entries};
use snapkeep::chunk::Chunk;
use snapkeep::format::{ChunkRef, Content, Device, Entry, EntryKind, Hint, Meta, Snapshot, Source, Time};
use snapkeep::id::{ChunkId, ChunkKind, FileHash, SnapshotId};
use snapkeep::store::Local;

use crate::common::{Contents, SMALL, contents, quick};

/// More memory than this is too much, in bytes.
pub const MOST_MEMORY: u64 = 512 << 20;
/// And more time than this.
const MOST_TIME: Duration = Duration::from_secs(60);

/// A folder with an archive, a folder that is none of a restore's business, and a target.
pub struct Attack {
    dir: tempfile::TempDir,
}

/// What the program did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Attack {
    pub fn new() -> Self {
        let dir = quick();
        Archive::create(&Local::new(dir.path().join("archive")), &SMALL, 0).unwrap();
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/letter"), "dear").unwrap();
        fs::create_dir(dir.path().join("into")).unwrap();
        Self { dir }
    }

    /// One with a snapshot whose source has these entries.
    pub fn of(entries: impl FnOnce(&Writer<'_>) -> Vec<Entry>) -> Self {
        let attack = Self::new();
        attack.snapshot(|writer| {
            let entries = entries(writer);
            let (files, bytes) = declared(&entries);
            let tree = store_entries(writer, entries).unwrap();
            store_entries(writer, vec![dir("s", tree, files, bytes)]).unwrap()
        });
        attack
    }

    /// A source of these entries, whatever they claim.
    pub fn source(writer: &Writer<'_>, entries: Vec<Entry>) -> Entry {
        let (files, bytes) = declared(&entries);
        dir("s", store_entries(writer, entries).unwrap(), files, bytes)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn open(&self) -> Archive {
        Archive::open(Arc::new(Local::new(self.path("archive"))), None, Arc::new(|_| {})).unwrap()
    }

    /// A snapshot with this top directory.
    pub fn snapshot(&self, top: impl FnOnce(&Writer<'_>) -> ChunkId) -> SnapshotId {
        self.told_snapshot(top, |_| {})
    }

    /// One that tells what it likes.
    pub fn told_snapshot(
        &self,
        top: impl FnOnce(&Writer<'_>) -> ChunkId,
        tell: impl FnOnce(&mut Snapshot),
    ) -> SnapshotId {
        let archive = self.open();
        let writer = archive.writer(Packing::default()).unwrap();
        let tree = top(&writer);
        writer.finish().unwrap();
        let mut snapshot = Snapshot {
            sequence: 1 + archive.snapshots().len() as u64,
            time: Time { secs: 1_700_000_000, nanos: 0 },
            host: "host".to_owned(),
            user: "user".to_owned(),
            sources: vec![Source { name: b"s".to_vec(), path: b"/s".to_vec(), devices: vec![Device(0)] }],
            ..Snapshot::of(tree)
        };
        tell(&mut snapshot);
        archive.commit(&snapshot).unwrap()
    }

    /// What is in the folder beside the target and the cache.
    fn beside(&self) -> Contents {
        let mut found = contents(self.dir.path());
        found.retain(|path, _| !path.starts_with(b"into/") && !path.starts_with(b"home"));
        found
    }

    /// What is in the target.
    pub fn restored(&self) -> Contents {
        contents(&self.path("into"))
    }

    /// Runs the program on it. Whatever it is asked, it changes nothing but the target, ends without a panic, and takes no more
    /// memory than it may.
    pub fn snap(&self, arguments: &[&str]) -> Done {
        let before = self.beside();
        let done = self.attempt(arguments);
        assert!(self.beside() == before, "{arguments:?} changed something outside the target");
        done
    }

    /// The program, with these arguments, as somebody runs it beside the archive.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.env("HOME", self.path("home")).env("SNAPKEEP_ARCHIVE", self.path("archive")).env("TZ", "UTC");
        command.env("USER", "anna").env("SNAPKEEP_HOST", "host").stdin(Stdio::null());
        command
    }

    /// The same as [`Attack::snap`] for what may change the archive: it ends in time, without a panic, and takes no more
    /// memory than it may.
    pub fn attempt(&self, arguments: &[&str]) -> Done {
        self.measured(arguments, &[]).0
    }

    /// The same with these variables. What it did, and the most memory that it took, in bytes.
    pub fn measured(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (Done, u64) {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        // Files, so that nothing waits for a full pipe.
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut peak = 0;
        let status = loop {
            peak = peak.max(memory(child.id()));
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > MOST_TIME || peak >= MOST_MEMORY => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    let err = string(&mut err);
                    panic!("{arguments:?} took {} MB and {:?} and had not ended: {err}", peak >> 20, begun.elapsed());
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let done = Done { code: status.code().unwrap_or(-1), out: text(&mut out), err: string(&mut err) };
        assert!(![101, -1].contains(&done.code), "{arguments:?}: {done:?}");
        assert!(!done.err.contains("panicked"), "{arguments:?}: {}", done.err);
        assert!(peak < MOST_MEMORY, "{arguments:?} took {} MB", peak >> 20);
        (done, peak)
    }

    /// Restores everything. Returns the exit code.
    pub fn restore(&self) -> Done {
        self.snap(&["restore", "latest", "-t", "into"])
    }
}

/// The most memory that a process has had so far, in bytes, as long as it runs.
pub fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

fn text(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn string(file: &mut File) -> String {
    String::from_utf8_lossy(&text(file)).into_owned()
}

fn declared(entries: &[Entry]) -> (u64, u64) {
    entries.iter().fold((0, 0), |(files, bytes), entry| match entry.kind {
        EntryKind::File { size, .. } => (files + 1, u64::saturating_add(bytes, size)),
        EntryKind::Dir { files: more, bytes: size, .. } => {
            (u64::saturating_add(files, more), u64::saturating_add(bytes, size))
        }
        EntryKind::Symlink { .. } => (files + 1, bytes),
    })
}

pub fn meta() -> Meta {
    Meta { mode: 0o755, links: 1, ..Meta::default() }
}

pub fn dir(name: impl AsRef<[u8]>, tree: ChunkId, files: u64, bytes: u64) -> Entry {
    Entry { name: name.as_ref().to_vec(), kind: EntryKind::Dir { tree, files, bytes }, meta: meta() }
}

/// A directory of these entries.
pub fn dir_of(writer: &Writer<'_>, name: impl AsRef<[u8]>, entries: Vec<Entry>) -> Entry {
    let (files, bytes) = declared(&entries);
    dir(name, store_entries(writer, entries).unwrap(), files, bytes)
}

pub fn link(name: impl AsRef<[u8]>, target: &str) -> Entry {
    Entry {
        name: name.as_ref().to_vec(),
        kind: EntryKind::Symlink { target: target.as_bytes().to_vec() },
        meta: meta(),
    }
}

/// A file of one chunk.
pub fn file(writer: &Writer<'_>, name: impl AsRef<[u8]>, bytes: &[u8]) -> Entry {
    let chunk = Chunk::new(ChunkKind::Data, bytes);
    writer.put(&chunk, Hint::None).unwrap();
    let hash = FileHash::from_bytes(*blake3::hash(bytes).as_bytes());
    let content = Content::Chunks(vec![ChunkRef { id: chunk.id(), len: bytes.len() as u32 }]);
    let kind = EntryKind::File { size: bytes.len() as u64, hash, content, sparse: false, unsettled: false };
    Entry { name: name.as_ref().to_vec(), kind, meta: meta() }
}

/// Stores any bytes as a page of a directory.
pub fn page(writer: &Writer<'_>, bytes: &[u8]) -> ChunkId {
    let chunk = Chunk::new(ChunkKind::Tree, bytes);
    writer.put(&chunk, Hint::None).unwrap();
    chunk.id()
}
