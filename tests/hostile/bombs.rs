//! Archives whose every hash is right, and that claim more than they hold or hold what no writer would put there.

use snapkeep::archive::{Writer, store_entries};
use snapkeep::chunk::Chunk;
use snapkeep::format::{Child, ChunkRef, Content, Entry, EntryKind, Hint, List, Meta, Time, Tree};
use snapkeep::id::{ChunkId, ChunkKind, FileHash};

use super::attack::{dir, dir_of, file, link, meta, page};

/// Forty directories, each of which names the next so many times: their files as `files` counts them at each level.
pub fn levels(writer: &Writer<'_>, last: Vec<Entry>, fan: u64, files: impl Fn(u32) -> u64) -> Vec<Entry> {
    let mut tree = store_entries(writer, last).unwrap();
    for level in 0..40 {
        let names = (0..fan).map(|number| format!("d{number:03}"));
        tree =
            store_entries(writer, names.map(|name| dir(name, tree, files(level), 4 * files(level))).collect()).unwrap();
    }
    vec![dir("bad", tree, files(40), files(40).saturating_mul(4))]
}

pub fn evil(writer: &Writer<'_>) -> Vec<Entry> {
    vec![file(writer, "f", b"evil")]
}

/// A page of so many links, whose names begin with this; it takes few bytes once it is packed.
fn links(front: &str, count: usize) -> Vec<Entry> {
    (0..count).map(|number| link(format!("{front}{number:06}"), "x")).collect()
}

/// Directories in directories, so many, each with names as long as they may be.
pub fn deep(writer: &Writer<'_>, depth: usize, name: &str) -> Vec<Entry> {
    let mut tree = store_entries(writer, evil(writer)).unwrap();
    for _ in 0..depth {
        tree = store_entries(writer, vec![dir(name, tree, 1, 4)]).unwrap();
    }
    vec![dir("bad", tree, 1, 4)]
}

/// One directory of so many pages of 65,536 entries.
pub fn wide(writer: &Writer<'_>, pages: usize) -> Vec<Entry> {
    let child = |number: usize| {
        let front = format!("{number:03}-");
        let entries = links(&front, Tree::MAX_ROWS as usize);
        Child { first: entries[0].name.clone(), id: page(writer, &Tree::Entries(entries).encode()) }
    };
    let top = Tree::Pages { level: 1, children: (0..pages).map(child).collect() };
    vec![dir("bad", page(writer, &top.encode()), pages as u64 * Tree::MAX_ROWS, 0)]
}

/// A directory of 20,000 entries, named in a chain of directories that each hold it a hundred times.
pub fn wide_again(writer: &Writer<'_>) -> Vec<Entry> {
    let tree = store_entries(writer, links("l", 20_000)).unwrap();
    let names = (0..100).map(|number| dir(format!("d{number:03}"), tree, 20_000, 0));
    let hundred = store_entries(writer, names.collect()).unwrap();
    let names = (0..100).map(|number| dir(format!("d{number:03}"), hundred, 2_000_000, 0));
    vec![dir("bad", store_entries(writer, names.collect()).unwrap(), 200_000_000, 0)]
}

/// Directories in directories, each with as many others beside the next as make a walk hold all their paths.
pub fn brushes(writer: &Writer<'_>) -> Vec<Entry> {
    let empty = store_entries(writer, Vec::new()).unwrap();
    let long = "n".repeat(200);
    let mut tree = empty;
    for _ in 0..300 {
        let others = (0..400).map(|number| dir(format!("a{number:03}{long}"), empty, 0, 0));
        let mut entries: Vec<Entry> = others.collect();
        entries.push(dir(format!("z{long}"), tree, 0, 0));
        tree = store_entries(writer, entries).unwrap();
    }
    vec![dir("bad", tree, 0, 0)]
}

/// The list of a file of one byte over and over: pages of 65,536 rows, the same one so many times.
fn ones(writer: &Writer<'_>, pages: usize) -> (ChunkId, u64) {
    let chunk = Chunk::new(ChunkKind::Data, b"x");
    writer.put(&chunk, Hint::None).unwrap();
    let rows = vec![ChunkRef { id: chunk.id(), len: 1 }; List::MAX_ROWS];
    let low = list(writer, &List::Chunks(rows));
    let len = List::MAX_ROWS as u64;
    (list(writer, &List::Pages { level: 1, pages: vec![(low, len); pages] }), len * pages as u64)
}

fn list(writer: &Writer<'_>, list: &List) -> ChunkId {
    let bytes = list.encode();
    let chunk = Chunk::new(ChunkKind::List, &bytes);
    writer.put(&chunk, Hint::None).unwrap();
    chunk.id()
}

fn of_list(name: &str, list: ChunkId, size: u64, hash: FileHash) -> Entry {
    let kind = EntryKind::File { size, hash, content: Content::List(list), sparse: false, unsettled: false };
    Entry { name: name.as_bytes().to_vec(), kind, meta: meta() }
}

fn hash_of(bytes: &[u8]) -> FileHash {
    FileHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Files of four million chunks of a byte, which all are as they say.
pub fn millions_of_chunks(writer: &Writer<'_>, files: usize) -> Vec<Entry> {
    let (list, size) = ones(writer, 64);
    let hash = hash_of(&vec![b'x'; size as usize]);
    let all = (0..files).map(|number| of_list(&format!("f{number}"), list, size, hash)).collect();
    vec![dir_of(writer, "bad", all)]
}

/// Lists that do not add up, that never end, that name what is none; and files whose hash is another's.
pub fn wrong_lists(writer: &Writer<'_>) -> Vec<Entry> {
    let (top, size) = ones(writer, 3);
    let hash = hash_of(&vec![b'x'; size as usize]);
    let data = file(writer, "true", b"evil");
    let EntryKind::File { content: Content::Chunks(chunks), .. } = &data.kind else { panic!("it is a file") };
    let data_id = chunks[0].id;
    let tree_id = store_entries(writer, Vec::new()).unwrap();
    let huge = list(writer, &List::Pages { level: 1, pages: vec![(top, u64::MAX), (top, 2)] });
    // A page of level 8 that leads to the same page of level 7 so often, and so on: 2 to the 56th chunks.
    let mut fan = (list(writer, &List::Chunks(vec![ChunkRef { id: data_id, len: 4 }; 128])), 512_u64);
    for level in 1..=8 {
        fan = (list(writer, &List::Pages { level, pages: vec![fan; 128] }), fan.1.saturating_mul(128));
    }
    let alone = |id: ChunkId, len: u32| {
        let content = Content::Chunks(vec![ChunkRef { id, len }]);
        EntryKind::File { size: len.into(), hash: hash_of(b"evil"), content, sparse: false, unsettled: false }
    };
    let named = |name: &str, kind| Entry { name: name.as_bytes().to_vec(), kind, meta: meta() };
    let all = vec![
        named("a-other-length", alone(data_id, 5)),
        named("b-directory-as-data", alone(tree_id, 3)),
        named("c-missing", alone(ChunkId::from_bytes([9; 32]), 4)),
        of_list("d-shorter", top, size + 1, hash),
        of_list("e-data-as-list", data_id, 4, hash_of(b"evil")),
        of_list("f-overflow", huge, u64::MAX, hash),
        of_list("g-fan", fan.0, fan.1, hash),
        of_list("h-other-hash", top, size, hash_of(b"other")),
        of_list("i-largest", ChunkId::from_bytes([8; 32]), u64::MAX, hash),
        of_list("j-largest", ChunkId::from_bytes([8; 32]), u64::MAX, hash),
    ];
    let tree = store_entries(writer, all).unwrap();
    vec![dir("bad", tree, 10, u64::MAX)]
}

/// Attributes without end: 40,000 of one file, and a page of them that may not be.
pub fn attributes(writer: &Writer<'_>) -> Vec<Entry> {
    let many = |count: usize| {
        let xattrs = (0..count).map(|number| (format!("user.{number:06}").into_bytes(), Vec::new())).collect();
        let entry = file(writer, "f", b"evil");
        Entry { meta: Meta { xattrs, ..entry.meta.clone() }, ..entry }
    };
    let large = page(writer, &Tree::Entries(vec![many(Tree::MAX_PAGE_XATTRS + 1)]).encode());
    vec![dir_of(writer, "bad", vec![many(40_000)]), dir("worse", large, 1, 4)]
}

/// Times and numbers at the ends of what there is.
pub fn extremes(writer: &Writer<'_>) -> Vec<Entry> {
    let times = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    let each = times.iter().enumerate().map(|(number, secs)| {
        let time = Time { secs: *secs, nanos: 999_999_999 };
        let entry = file(writer, format!("f{number}"), b"evil");
        let ends = Meta {
            mode: 0o7777,
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
            mtime: time,
            ctime: time,
            born: Some(time),
            inode: u64::MAX,
            device: 0,
            links: u64::MAX,
            ..Meta::default()
        };
        Entry { meta: ends, ..entry }
    });
    vec![dir_of(writer, "bad", each.collect())]
}

/// A directory that claims a library and holds a file.
pub fn claims(writer: &Writer<'_>) -> Vec<Entry> {
    vec![dir("bad", store_entries(writer, evil(writer)).unwrap(), 1_000_000, 1 << 50)]
}
