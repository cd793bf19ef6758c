//! Files whose parts are whole and that are not what was recorded. Whoever asks before deleting must not be told that
//! such a file is in the archive, and whoever verifies must not be told that everything is there and whole.

use std::fs;

use snapkeep::archive::Writer;
use snapkeep::chunk::Chunk;
use snapkeep::format::{ChunkRef, Content, Entry, EntryKind, Hint};
use snapkeep::id::{ChunkId, ChunkKind, FileHash};

use super::attack::{Attack, dir, file, meta};

/// A file that claims to be these bytes.
fn claims(name: &str, bytes: &[u8], chunks: Vec<ChunkRef>) -> Entry {
    let hash = FileHash::from_bytes(*blake3::hash(bytes).as_bytes());
    let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    let kind = EntryKind::File { size, hash, content: Content::Chunks(chunks), sparse: false, unsettled: false };
    Entry { name: name.as_bytes().to_vec(), kind, meta: meta() }
}

fn stored(writer: &Writer<'_>, kind: ChunkKind, bytes: &[u8]) -> ChunkRef {
    let chunk = Chunk::new(kind, bytes);
    writer.put(&chunk, Hint::None).unwrap();
    ChunkRef { id: chunk.id(), len: bytes.len() as u32 }
}

/// Makes an entry that claims to be these bytes.
type Make = fn(&Writer<'_>, &[u8]) -> Entry;

/// What is wrong, whether that is seen without reading data, and how it is made.
const WRONG: [(&str, bool, Make); 7] = [
    ("the chunks in another order", false, |writer, bytes| {
        let (front, back) = bytes.split_at(400);
        let [front, back] = [front, back].map(|piece| stored(writer, ChunkKind::Data, piece));
        claims("wrong.jpg", bytes, vec![back, front])
    }),
    ("other chunks", false, |writer, bytes| {
        let pieces = [[1; 500], [2; 500]].map(|piece| stored(writer, ChunkKind::Data, &piece));
        claims("wrong.jpg", bytes, pieces.to_vec())
    }),
    ("one other chunk", true, |writer, bytes| {
        claims("wrong.jpg", bytes, vec![stored(writer, ChunkKind::Data, &[3; 1000])])
    }),
    ("wrong lengths", true, |writer, bytes| {
        let (front, back) = bytes.split_at(400);
        let [mut front, mut back] = [front, back].map(|piece| stored(writer, ChunkKind::Data, piece));
        (front.len, back.len) = (front.len + 1, back.len - 1);
        claims("wrong.jpg", bytes, vec![front, back])
    }),
    ("a page of a directory instead of a part of a file", true, |writer, bytes| {
        let front = stored(writer, ChunkKind::Data, &bytes[..400]);
        let back = stored(writer, ChunkKind::Tree, &bytes[400..]);
        claims("wrong.jpg", bytes, vec![front, back])
    }),
    ("a chunk that is nowhere", true, |writer, bytes| {
        let front = stored(writer, ChunkKind::Data, &bytes[..400]);
        let back = ChunkRef { id: ChunkId::from_bytes([7; 32]), len: 600 };
        claims("wrong.jpg", bytes, vec![front, back])
    }),
    ("no chunk at all", true, |_, bytes| claims("wrong.jpg", bytes, Vec::new())),
];

/// A photo was said to be in the archive, was deleted, and could not be restored: the archive had been in other hands.
#[test]
fn nothing_is_called_held_that_cannot_be_restored() {
    let bytes: Vec<u8> = (0..1000).map(|number| (number % 251) as u8).collect();
    for (what, seen, make) in WRONG {
        let attack = Attack::of(|writer| vec![file(writer, "right.jpg", b"right"), make(writer, &bytes)]);
        let asked = attack.path("into/asked");
        fs::create_dir(&asked).unwrap();
        fs::write(asked.join("right.jpg"), b"right").unwrap();
        fs::write(asked.join("wrong.jpg"), &bytes).unwrap();

        let found = attack.snap(&["verify", "--read-data"]);
        let said = String::from_utf8_lossy(&found.out).into_owned();
        assert_eq!(found.code, 14, "{what}: {said}");
        assert!(said.contains("wrong.jpg") && !said.contains("right.jpg:"), "{what}: {said}");
        assert!(!said.contains("there and whole"), "{what}: {said}");
        assert_eq!(attack.snap(&["verify"]).code, if seen { 14 } else { 0 }, "{what}, by its structure");
        for more in [&["--read-data"][..], &[]] {
            let has = attack.snap(&[&["has", "into/asked"], more].concat());
            let said = String::from_utf8_lossy(&has.out).into_owned();
            assert_eq!(has.code, 15, "{what} {more:?}: {said}");
            assert!(said.contains("missing: into/asked/wrong.jpg") && !said.contains("right.jpg"), "{what}: {said}");
            assert!(said.contains("1 of 2 files are in the archive"), "{what}: {said}");
        }
        fs::remove_dir_all(asked).unwrap();
        let restored = attack.restore();
        assert_ne!(restored.code, 0, "{what}: it cannot be restored");
        assert!(attack.restored().values().all(|held| *held != bytes), "{what}");
        fs::remove_dir_all(attack.path("into")).unwrap();
        fs::create_dir(attack.path("into")).unwrap();
        // Repairing knows no remedy, and says so.
        let repaired = attack.snap(&["repair", "--dry-run"]);
        assert_eq!(repaired.code, 14, "{what}: {repaired:?}");
    }
}

/// The same files, told rightly: in one chunk, in several, empty, and cut elsewhere than the file at hand is cut.
#[test]
fn what_is_right_is_called_held() {
    let bytes: Vec<u8> = (0..1000).map(|number| (number % 251) as u8).collect();
    let attack = Attack::of(|writer| {
        let pieces = bytes.chunks(300).map(|piece| stored(writer, ChunkKind::Data, piece)).collect();
        vec![
            claims("cut.jpg", &bytes, pieces),
            claims("empty", b"", Vec::new()),
            file(writer, "one.jpg", b"in one chunk"),
        ]
    });
    let asked = attack.path("into/asked");
    fs::create_dir(&asked).unwrap();
    fs::write(asked.join("a.jpg"), &bytes).unwrap();
    fs::write(asked.join("b"), b"").unwrap();
    fs::write(asked.join("c.jpg"), b"in one chunk").unwrap();
    for command in [&["verify", "--read-data"][..], &["verify"], &["has", "into"], &["has", "into", "--read-data"]] {
        let done = attack.snap(command);
        assert_eq!(done.code, 0, "{command:?}: {done:?}");
    }
    fs::remove_dir_all(asked).unwrap();
    assert_eq!(attack.restore().code, 0);
}

/// A directory told of two files and held one; a restore that trusts it stops in the middle of the others.
#[test]
fn directories_that_do_not_hold_what_is_said_of_them_are_named() {
    for (files, bytes) in [(2, 5), (1, 6), (0, 0), (u64::MAX, 5)] {
        let attack = Attack::new();
        attack.snapshot(|writer| {
            let below = snapkeep::archive::store_entries(writer, vec![file(writer, "a.jpg", b"photo")]).unwrap();
            let middle = snapkeep::archive::store_entries(writer, vec![dir("told", below, files, bytes)]).unwrap();
            snapkeep::archive::store_entries(writer, vec![dir("s", middle, files, bytes)]).unwrap()
        });
        let found = attack.snap(&["verify"]);
        let said = String::from_utf8_lossy(&found.out).into_owned();
        assert_eq!(found.code, 14, "{said}");
        assert!(said.contains("s/told: it says") && said.contains(" and has 1 files of 5 bytes"), "{said}");
    }
}

/// A few kilobytes that claim to be a film of many terabytes kept whoever verifies reading for days.
#[test]
fn files_that_claim_more_than_can_be_read_are_counted_and_not_read() {
    let attack = Attack::of(|writer| {
        let zeros = stored(writer, ChunkKind::Data, &vec![0; 64 << 20]);
        let many = |number: usize| claims(&format!("{number:02}.mov"), &[number as u8], vec![zeros; 128]);
        (0..20).map(many).collect()
    });
    let found = attack.snap(&["verify", "--read-data"]);
    let said = format!("{}{}", String::from_utf8_lossy(&found.out), found.err);
    assert!(said.contains("claim more bytes than the archive can hold"), "{said}");
    assert!(matches!(found.code, 3 | 14), "{said}");
}
