//! What small archives can claim, and which names are those of one file.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::archive::{Archive, Packing, Parameters, Writer, store_entries};
use crate::chunk::Chunk;
use crate::error::Kind;
use crate::format::{Content, Device, Hint, Meta, Snapshot, Source};
use crate::id::{ChunkId, ChunkKind, FileHash};
use crate::store::Memory;

struct Quiet(AtomicBool);

impl Observer for Quiet {
    fn event(&self, _: Event<'_>) {}

    fn stop(&self) -> &AtomicBool {
        &self.0
    }
}

fn entry(name: &str, kind: EntryKind, meta: Meta) -> Entry {
    Entry { name: name.as_bytes().to_vec(), kind, meta }
}

fn dir(name: &str, tree: ChunkId, files: u64) -> Entry {
    entry(name, EntryKind::Dir { tree, files, bytes: 0 }, Meta { links: 1, ..Meta::default() })
}

fn empty_file(name: &str, meta: Meta) -> Entry {
    let hash = FileHash::from_bytes(*blake3::hash(b"").as_bytes());
    let content = Content::Chunks(Vec::new());
    entry(name, EntryKind::File { size: 0, hash, content, sparse: false, unsettled: false }, meta)
}

/// The plan of a snapshot whose top directory has these entries.
fn planned(limit: u64, entries: impl FnOnce(&Writer<'_>) -> Vec<Entry>) -> Result<Plan> {
    let store = Arc::new(Memory::default());
    Archive::create(&*store, &Parameters::default(), 0)?;
    let archive = Archive::open(store, None, Arc::new(|_| {}))?;
    let writer = archive.writer(Packing::default())?;
    let tree = store_entries(&writer, entries(&writer))?;
    writer.finish()?;
    let snapshot = Snapshot {
        sequence: 1,
        sources: vec![Source { name: b"s".to_vec(), path: b"/s".to_vec(), devices: vec![Device(0)] }],
        ..Snapshot::of(tree)
    };
    let id = archive.commit(&snapshot)?;
    let top = Node { path: Vec::new(), entry: None };
    Plan::within(limit, &View::new(&archive, id, snapshot), &top, &Selection::default(), &Quiet(AtomicBool::new(false)))
}

/// Forty directories, each of which names the next twice: 2⁴⁰ of them, with as many files as `files` says of each level.
fn bomb(writer: &Writer<'_>, last: Vec<Entry>, files: impl Fn(u32) -> u64) -> Vec<Entry> {
    let mut tree = store_entries(writer, last).unwrap();
    for level in 0..40 {
        tree = store_entries(writer, vec![dir("a", tree, files(level)), dir("b", tree, files(level))]).unwrap();
    }
    vec![dir("s", tree, files(40))]
}

#[test]
fn a_few_kilobytes_cannot_claim_more_than_a_restore_can_bear() {
    let file = || vec![empty_file("f", Meta { links: 1, ..Meta::default() })];
    let honest = planned(MAX_ENTRIES, |writer| bomb(writer, file(), |level| 1 << level)).err().unwrap();
    assert_eq!(honest.kind(), Kind::Unsupported, "{honest}");
    let lying = planned(MAX_ENTRIES, |writer| bomb(writer, file(), |level| u64::from(level == 0))).err().unwrap();
    assert_eq!(lying.kind(), Kind::Damaged, "{lying}");
    let empty = planned(MAX_ENTRIES, |writer| bomb(writer, Vec::new(), |_| 0)).err().unwrap();
    assert_eq!(empty.kind(), Kind::Unsupported, "{empty}");
    assert!(empty.to_string().contains("again"), "{empty}");
}

#[test]
fn what_is_as_it_says_is_planned_up_to_the_limit() {
    let entries = |writer: &Writer<'_>| {
        let inner =
            store_entries(writer, vec![empty_file("f", Meta::default()), empty_file("g", Meta::default())]).unwrap();
        vec![dir("s", store_entries(writer, vec![dir("d", inner, 2)]).unwrap(), 2)]
    };
    let plan = planned(4, entries).unwrap();
    assert_eq!((plan.dirs.len(), plan.files.len()), (2, 2));
    assert_eq!(planned(3, entries).err().unwrap().kind(), Kind::Unsupported);
}

#[test]
fn directories_lie_only_so_deep() {
    let nested = |writer: &Writer<'_>, depth: usize| {
        let mut tree = store_entries(writer, vec![empty_file("f", Meta::default())]).unwrap();
        for _ in 1..depth {
            tree = store_entries(writer, vec![dir("d", tree, 1)]).unwrap();
        }
        vec![dir("s", tree, 1)]
    };
    assert_eq!(planned(MAX_ENTRIES, |writer| nested(writer, Tree::MAX_DEPTH)).unwrap().dirs.len(), Tree::MAX_DEPTH);
    let deeper = planned(MAX_ENTRIES, |writer| nested(writer, Tree::MAX_DEPTH + 1)).err().unwrap();
    assert_eq!(deeper.kind(), Kind::Damaged);
}

#[test]
fn names_of_one_file_have_one_source_device_inode_and_hash() {
    let links = |inode, device, links| Meta { inode, device, links, ..Meta::default() };
    let plan = planned(MAX_ENTRIES, |writer| {
        let other = Chunk::new(ChunkKind::Data, b"other");
        writer.put(&other, Hint::None).unwrap();
        let hash = FileHash::from_bytes(*other.id().as_bytes());
        let content = Content::Chunks(vec![crate::format::ChunkRef { id: other.id(), len: 5 }]);
        let other = EntryKind::File { size: 5, hash, content, sparse: false, unsettled: false };
        let tree = store_entries(
            writer,
            vec![
                empty_file("a", links(7, 0, 2)),
                empty_file("b", links(7, 0, 2)),
                empty_file("c", links(7, 1, 2)),
                empty_file("d", links(7, 0, 1)),
                empty_file("e", links(0, 0, 2)),
                empty_file("f", links(0, 0, 2)),
                entry("g", other, links(7, 0, 2)),
            ],
        )
        .unwrap();
        let dir = |name| entry(name, EntryKind::Dir { tree, files: 7, bytes: 5 }, Meta::default());
        vec![dir("s"), dir("t")]
    });
    let plan = plan.unwrap();
    let paths = |plan: &Plan| -> Vec<PathBuf> { plan.links.iter().map(|(_, item)| plan.path(item)).collect() };
    assert_eq!(paths(&plan), [PathBuf::from("s/b"), PathBuf::from("t/b")]);
    for (first, item) in &plan.links {
        let first = plan.path(&plan.files[*first]);
        assert_eq!(first, plan.path(item).with_file_name("a"));
    }
}
