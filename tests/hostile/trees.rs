//! Directories.

use snapkeep::archive::{Writer, store_entries};
use snapkeep::chunk::Chunk;
use snapkeep::format::{Content, Entry, EntryKind, Hint, Tree};
use snapkeep::id::{ChunkId, ChunkKind, FileHash};

use super::attack::{Attack, dir, dir_of, file, meta, page};

/// Restores with one bad directory beside a good one: nothing of the bad one, and at least by itself the good one.
fn refused(about: &str, bad: impl FnOnce(&Writer<'_>) -> Vec<Entry>) {
    let attack = Attack::of(|writer| {
        let good = dir_of(writer, "good", vec![file(writer, "photo", b"photo")]);
        [bad(writer), vec![good]].concat()
    });
    for command in
        [&["restore", "latest", "-t", "into"][..], &["ls", "latest", "--recursive"], &["verify", "--read-data"]]
    {
        let done = attack.snap(command);
        if command[0] == "ls" && done.code == 0 {
            continue; // it does not look into files
        }
        assert!([1, 14].contains(&done.code), "{about}, {command:?}: {done:?}");
    }
    assert!(!attack.restored().values().any(|bytes| bytes == b"evil"), "{about}");
    assert_eq!(attack.snap(&["restore", "latest:s/good", "-t", "into"]).code, 0, "{about}");
    assert_eq!(attack.restored()[&b"good/photo"[..]], b"photo", "{about}");
}

#[test]
fn claims_of_length_are_checked_before_anything_is_made_of_them() {
    let pages: [(&str, &[u8]); 6] = [
        ("10⁹ entries", &[0x82, 0x00, 0x9a, 0x3b, 0x9a, 0xca, 0x00]),
        ("2⁶³ entries", &[0x82, 0x00, 0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("a name of 4 GB", &[0x82, 0x00, 0x81, 0xa1, 0x01, 0x5a, 0xff, 0xff, 0xff, 0xff, b'x']),
        ("a map of 2⁶³ fields", &[0x82, 0x00, 0x81, 0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("10⁹ pages", &[0x82, 0x01, 0x9a, 0x3b, 0x9a, 0xca, 0x00]),
        ("nested for ever", &[0x81; 5000]),
    ];
    for (about, bytes) in pages {
        refused(about, |writer| vec![dir("bad", page(writer, bytes), 1, 4)]);
    }
}

#[test]
fn directories_without_end_are_refused() {
    refused("5000 directories", |writer| {
        let mut tree = store_entries(writer, vec![file(writer, "f", b"evil")]).unwrap();
        for _ in 0..5000 {
            tree = store_entries(writer, vec![dir("d", tree, 1, 4)]).unwrap();
        }
        vec![dir("bad", tree, 1, 4)]
    });
}

#[test]
fn a_file_is_never_taken_for_a_directory() {
    let tree_in_a_file = |writer: &Writer<'_>| {
        let bytes = Tree::Entries(vec![file(writer, "f", b"evil")]).encode();
        let chunk = Chunk::new(ChunkKind::Data, &bytes);
        writer.put(&chunk, Hint::None).unwrap();
        chunk.id()
    };
    refused("a file as a directory", |writer| vec![dir("bad", tree_in_a_file(writer), 1, 4)]);
    refused("a directory as a list", |writer| {
        let tree = store_entries(writer, vec![file(writer, "f", b"evil")]).unwrap();
        let hash = FileHash::from_bytes([7; 32]);
        let kind = EntryKind::File { size: 4, hash, content: Content::List(tree), sparse: false, unsettled: false };
        vec![Entry { name: b"bad".to_vec(), kind, meta: meta() }]
    });
    refused("what is not there", |_| vec![dir("bad", ChunkId::from_bytes([9; 32]), 1, 4)]);
    let attack = Attack::new();
    attack.snapshot(tree_in_a_file);
    assert_eq!(attack.restore().code, 14, "nor for the top");
}

#[test]
fn unknown_kinds_of_entries_are_refused() {
    // A device: kind 3. An owner −1.
    let mut entry = Tree::Entries(vec![Entry {
        name: b"sda".to_vec(),
        kind: EntryKind::Symlink { target: vec![b'x'] },
        meta: meta(),
    }])
    .encode();
    let kind = entry.windows(3).position(|three| three == [b'a', 0x02, 0x02]).unwrap() + 2;
    entry[kind] = 3;
    refused("a device", |writer| vec![dir("bad", page(writer, &entry), 1, 0)]);
    let nobody = Tree::Entries(vec![Entry {
        name: b"x".to_vec(),
        kind: EntryKind::Symlink { target: vec![b'x'] },
        meta: snapkeep::format::Meta { uid: u32::MAX, ..meta() },
    }]);
    refused("an owner of −1", |writer| vec![dir("bad", page(writer, &nobody.encode()), 1, 0)]);
}

/// Forty directories, each of which names the next twice.
fn bomb(writer: &Writer<'_>, last: Vec<Entry>, files: impl Fn(u32) -> u64) -> Vec<Entry> {
    let mut tree = store_entries(writer, last).unwrap();
    for level in 0..40 {
        let (files, bytes) = (files(level), 4 * files(level));
        tree = store_entries(writer, vec![dir("a", tree, files, bytes), dir("b", tree, files, bytes)]).unwrap();
    }
    vec![dir("bad", tree, files(40), 4 * files(40))]
}

#[test]
fn a_bomb_is_refused_within_bounds_of_time_and_memory() {
    type Counts = fn(u32) -> u64;
    let bombs: [(&str, bool, Counts); 3] =
        [("empty", false, |_| 0), ("honest", true, |level| 1 << level), ("lying", true, |_| 1)];
    for (about, full, counts) in bombs {
        let attack = Attack::of(|writer| {
            let last = if full { vec![file(writer, "f", b"evil")] } else { Vec::new() };
            bomb(writer, last, counts)
        });
        let done = attack.restore();
        assert!([1, 14].contains(&done.code), "{about}: {done:?}");
        assert_eq!(attack.restored().len(), 0, "{about}: nothing is written before it is known");
        // Nothing is missing in it; that it counts wrong is said.
        let verify = if about == "lying" { 14 } else { 0 };
        assert_eq!(attack.snap(&["verify"]).code, verify, "{about}");
        assert_eq!(attack.snap(&["list"]).code, 0, "{about}");
    }
    // One whose last directory is lost is lost at 2⁴⁰ places.
    let attack = Attack::of(|writer| {
        let tree = (0..40).fold(ChunkId::from_bytes([9; 32]), |tree, _| {
            store_entries(writer, vec![dir("a", tree, 0, 0), dir("b", tree, 0, 0)]).unwrap()
        });
        vec![dir("bad", tree, 0, 0)]
    });
    assert_eq!(attack.snap(&["verify", "-q"]).code, 14);
}
