//! Any names in any directories, restored into a folder where links lie in wait: nothing appears, changes or goes outside.
#![no_main]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use libfuzzer_sys::fuzz_target;
use snapkeep::archive::{Archive, Packing, Parameters, Writer, store_entries};
use snapkeep::format::{Content, Device, Entry, EntryKind, Meta, Snapshot, Source};
use snapkeep::id::{ChunkId, FileHash};
use snapkeep::op::{Event, Observer, Overwrite, RestoreOptions, Selection, restore};
use snapkeep::store::Memory;
use snapkeep::view::{Node, View};

fuzz_target!(|bytes: &[u8]| {
    let root = PathBuf::from(format!("/dev/shm/snapkeep-fuzz-restore-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("outside")).expect("a folder");
    fs::create_dir_all(root.join("into")).expect("a folder");
    fs::write(root.join("outside/letter"), "dear").expect("a file");
    for (name, to) in [("a", "../outside"), ("b", "../outside/letter"), ("c", "/dev/shm"), ("d", "../outside/new")] {
        symlink(to, root.join("into").join(name)).expect("a link");
    }
    let before = below(&root);
    let mut rest = bytes;
    let overwrite = [Overwrite::Never, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Always];
    let overwrite = overwrite[usize::from(take(&mut rest)) % 4];
    // Whatever is refused may be refused.
    let _ = restored(&mut rest, &root.join("into"), overwrite);
    let after = below(&root);
    assert!(before == after, "outside is not what it was: {after:?}");
    let _ = fs::remove_dir_all(&root);
});

/// Everything in a folder but what is in `into`, links as what they lead to.
fn below(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).expect("a folder") {
            let path = item.expect("an item").path();
            let is_dir = path.is_dir() && !path.is_symlink();
            found.push((path.clone(), if is_dir { Vec::new() } else { fs::read(&path).unwrap_or_default() }));
            if is_dir && !path.ends_with("into") {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}

fn restored(rest: &mut &[u8], into: &Path, overwrite: Overwrite) -> snapkeep::error::Result<()> {
    let store = Arc::new(Memory::new());
    Archive::create(&*store, &Parameters { parity_permille: 0, ..Parameters::default() }, 0)?;
    let archive = Archive::open(store, None, Arc::new(|_| {}))?;
    let writer = archive.writer(Packing::default())?;
    let tree = tree(&writer, rest, 0)?.0;
    writer.finish()?;
    let snapshot = Snapshot {
        sequence: 1,
        sources: vec![Source { name: b"s".to_vec(), path: b"/s".to_vec(), devices: vec![Device(0)] }],
        ..Snapshot::of(tree)
    };
    let id = archive.commit(&snapshot)?;
    let view = View::new(&archive, id, snapshot);
    let options = RestoreOptions {
        target: into.to_owned(),
        selection: Selection::default(),
        overwrite,
        dry_run: false,
        verify: false,
        setuid: false,
    };
    restore(&view, &Node { path: Vec::new(), entry: None }, &options, &Quiet(AtomicBool::new(false))).map(drop)
}

/// A directory as the bytes tell it, and how many files are in it.
fn tree(writer: &Writer<'_>, rest: &mut &[u8], depth: usize) -> snapkeep::error::Result<(ChunkId, u64)> {
    let mut entries = Vec::new();
    let mut files = 0;
    for _ in 0..take(rest) % 6 {
        let name = name(rest);
        let kind = match take(rest) % 4 {
            0 if depth < 6 => {
                let (tree, below) = tree(writer, rest, depth + 1)?;
                files += below;
                EntryKind::Dir { tree, files: below, bytes: 0 }
            }
            1 => {
                files += 1;
                EntryKind::Symlink { target: name_or(rest, b"../outside") }
            }
            _ => {
                files += 1;
                let hash = FileHash::from_bytes(*blake3::hash(b"").as_bytes());
                EntryKind::File { size: 0, hash, content: Content::Chunks(Vec::new()), sparse: false, unsettled: false }
            }
        };
        let links = u64::from(take(rest) % 3) + 1;
        let mode = u32::from(take(rest)) << 4;
        entries.push(Entry { name, kind, meta: Meta { mode, links, inode: links, ..Meta::default() } });
    }
    // In order as often as not, so that what is after the first check is reached.
    if take(rest) % 4 != 0 {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok((store_entries(writer, entries)?, files))
}

fn name(rest: &mut &[u8]) -> Vec<u8> {
    match take(rest) % 8 {
        0 => b"..".to_vec(),
        1 => b"a".to_vec(),
        2 => b"b".to_vec(),
        3 => b"../outside/new".to_vec(),
        _ => name_or(rest, b"d"),
    }
}

fn name_or(rest: &mut &[u8], other: &[u8]) -> Vec<u8> {
    let len = usize::from(take(rest)) % 24;
    match len.min(rest.len()) {
        0 => other.to_vec(),
        len => {
            let (name, after) = rest.split_at(len);
            *rest = after;
            name.to_vec()
        }
    }
}

fn take(rest: &mut &[u8]) -> u8 {
    let (first, after) = rest.split_first().unwrap_or((&0, &[]));
    *rest = after;
    *first
}

struct Quiet(AtomicBool);

impl Observer for Quiet {
    fn event(&self, _: Event<'_>) {}

    fn stop(&self) -> &AtomicBool {
        &self.0
    }
}
