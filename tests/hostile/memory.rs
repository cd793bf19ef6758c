//! What an archive may cost in memory, on a computer of many cores: every command that reads what photos consist of.

use snapkeep::archive::{MAX_PACK_LEN, MAX_PARITY_LEN, Writer};
use snapkeep::chunk::Chunk;
use snapkeep::format::{ChunkRef, Content, Entry, EntryKind, Hint, names};
use snapkeep::id::{ChunkKind, FileHash, PackId, SegmentId};

use super::attack::{Attack, dir_of, meta};
use super::bombs;
use super::table::copy;

fn named(name: String, bytes: &[u8], chunks: Vec<ChunkRef>) -> Entry {
    let hash = FileHash::from_bytes(*blake3::hash(bytes).as_bytes());
    let kind = EntryKind::File {
        size: bytes.len() as u64,
        hash,
        content: Content::Chunks(chunks),
        sparse: false,
        unsettled: false,
    };
    Entry { name: name.into_bytes(), kind, meta: meta() }
}

fn put(writer: &Writer<'_>, bytes: &[u8]) -> ChunkRef {
    let chunk = Chunk::new(ChunkKind::Data, bytes);
    writer.put(&chunk, Hint::None).unwrap();
    ChunkRef { id: chunk.id(), len: bytes.len() as u32 }
}

/// Files that are each one chunk as long as a chunk may be, and packed small.
fn longest_chunks(writer: &Writer<'_>, files: usize) -> Vec<Entry> {
    let mut bytes = vec![0; 64 << 20];
    let all = (0..files).map(|number| {
        bytes[0] = number as u8 + 1;
        let chunk = put(writer, &bytes);
        let mut two = bytes.clone();
        two.push(number as u8);
        named(format!("f{number:03}"), &two, vec![chunk, put(writer, &[number as u8])])
    });
    vec![dir_of(writer, "bad", all.collect())]
}

/// Short files of as many chunks as a short file may have.
fn short_files_of_many_chunks(writer: &Writer<'_>, files: usize) -> Vec<Entry> {
    let ones: Vec<ChunkRef> = (0..=u8::MAX).map(|byte| put(writer, &[byte])).collect();
    let all = (0..files).map(|number| {
        let bytes: Vec<u8> = (0..4096).map(|at: usize| (at * (2 * number + 1) + at / 256) as u8).collect();
        let chunks = bytes.iter().map(|byte| ones[usize::from(*byte)]).collect();
        named(format!("f{number:03}"), &bytes, chunks)
    });
    vec![dir_of(writer, "bad", all.collect())]
}

/// Commands that read what files consist of, and how each ends.
const COMMANDS: [(&[&str], i32); 6] = [
    (&["dump", "latest:s/bad/f000", "-t", "into/one.tar", "--format", "tar"], 0),
    (&["dump", "latest:s/bad/f000", "-t", "into/one.zip"], 0),
    (&["cat", "latest:s/bad/f000"], 0),
    (&["has", "into/s"], 0),
    (&["has", "into/s", "--read-data"], 0),
    (&["create", "into/s", "-a", "copy"], 0),
];

/// What takes less than this does not grow with the number of cores, in bytes.
const MOST: u64 = 256 << 20;

/// Each command on a computer that has 16 cores, or believes so. `verify` may pass over what claims too much.
fn all_within_bounds(about: &str, verify: &[i32], attack: &Attack) {
    copy(&attack.path("archive"), &attack.path("copy"));
    let restore: [(&[&str], &[i32]); 2] =
        [(&["restore", "latest", "-t", "into"], &[0]), (&["verify", "--read-data"], verify)];
    let others = COMMANDS.iter().map(|(arguments, code)| (*arguments, std::slice::from_ref(code)));
    for (arguments, codes) in restore.into_iter().chain(others) {
        let (done, peak) = attack.measured(arguments, &[("RAYON_NUM_THREADS", "16")]);
        eprintln!("{about}, {arguments:?}: {} MB", peak >> 20);
        assert!(codes.contains(&done.code), "{about}, {arguments:?}: {} {}", done.code, done.err);
        assert!(peak < MOST, "{about}, {arguments:?} took {} MB", peak >> 20);
    }
}

/// So many, or with `SNAPKEEP_PROVE=long` so many.
fn form(short: usize, long: usize) -> usize {
    if std::env::var("SNAPKEEP_PROVE").is_ok_and(|form| form == "long") { long } else { short }
}

/// A few kilobytes took 2 GB on 16 cores: each of them unpacked the longest chunk that there may be.
#[test]
fn longest_chunks_are_not_unpacked_by_all_cores_at_once() {
    all_within_bounds("longest chunks", &[0], &Attack::of(|writer| longest_chunks(writer, form(8, 48))));
}

/// A restore held a quarter of a kilobyte for each chunk of 512 files at once, on every core.
#[test]
fn many_chunks_of_short_files_are_not_held_at_once() {
    let attack = Attack::of(|writer| short_files_of_many_chunks(writer, form(300, 400)));
    all_within_bounds("short files of many chunks", &[0, 3], &attack);
}

/// 200 files of four million chunks of a byte took 3.8 GB to restore.
#[test]
fn millions_of_chunks_are_not_held_at_once() {
    let attack = Attack::of(|writer| bombs::millions_of_chunks(writer, form(2, 200)));
    let (done, peak) = attack.measured(&["restore", "latest", "-t", "into"], &[("RAYON_NUM_THREADS", "16")]);
    assert!(done.code == 0 && peak < MOST, "{} MB: {done:?}", peak >> 20);
}

/// A file of 2 GB without a byte in it, under the name of a pack, took 2.1 GB to verify, and to take a backup beside
/// it.
#[test]
fn what_is_longer_than_a_pack_is_not_read_and_what_is_as_long_is_read_within_bounds() {
    let attack = Attack::of(|writer| vec![named("f".to_owned(), b"photo", vec![put(writer, b"photo")])]);
    std::fs::create_dir(attack.path("photos")).unwrap();
    std::fs::write(attack.path("photos/new"), "new").unwrap();
    let sparse = |name: String, len: u64| {
        let path = attack.path("archive").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(len).unwrap();
    };
    for (number, len) in [(1, (1 << 31) - 1), (2, MAX_PACK_LEN + 1), (3, MAX_PACK_LEN)] {
        sparse(names::pack(&PackId::from_bytes([number; 32])), len);
    }
    sparse(names::parity(&[3; 32]), MAX_PARITY_LEN);
    sparse(names::segment(&SegmentId::from_bytes([4; 32])), 512 << 20);
    let commands: [(&[&str], i32); 7] = [
        (&["verify"], 14),
        (&["verify", "--read-data"], 14),
        (&["create", "photos"], 0),
        (&["restore", "latest", "-t", "into"], 0),
        (&["squeeze"], 0),
        (&["repair"], 0),
        (&["verify", "--read-data"], 0),
    ];
    for (arguments, code) in commands {
        let (done, peak) = attack.measured(arguments, &[("RAYON_NUM_THREADS", "16")]);
        eprintln!("{arguments:?}: {} MB", peak >> 20);
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
    }
}
