//! The index answers from a file, from memory, beside another process, and after its file was given up.

use super::*;
use crate::format::ENVELOPE_LEN;
use crate::format::{FrameHeader, Hint, PackContent, Row};
use crate::id::ChunkKind;

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([3; 16]);

fn pack(seed: u8, chunks: &[u8]) -> SegmentPack {
    let mut offset = ENVELOPE_LEN as u32;
    let row = |chunk: &u8| {
        let id = ChunkId::from_bytes([*chunk; 32]);
        let frame = FrameHeader {
            kind: ChunkKind::Data,
            codec: 1,
            codec_version: 2,
            hint: Hint::Image,
            stored_len: 7,
            plain_len: 9,
            id,
        };
        let row = Row { frame, offset };
        offset += row.frame_len() as u32;
        row
    };
    SegmentPack {
        id: PackId::from_bytes([seed; 32]),
        content: PackContent::Data,
        rows: chunks.iter().map(row).collect(),
    }
}

fn answers(index: &Index) {
    let packs = [pack(1, &[10, 11]), pack(2, &[11, 12])];
    let segment = SegmentId::from_bytes([5; 32]);
    let snapshot = (SnapshotId::from_bytes([6; 32]), b"snapshot".to_vec());
    let snapshots = std::slice::from_ref(&snapshot);
    index.apply(&Change { packs: &packs, segments: &[segment], snapshots, ..Change::default() }).unwrap();
    index.apply(&Change { packs: &packs, ..Change::default() }).unwrap();
    let found = index.locate(&ChunkId::from_bytes([11; 32])).unwrap();
    assert_eq!(found.len(), 2, "adding a pack again adds nothing");
    assert_eq!(found[0].pack, packs[1].id, "the newest place first");
    assert_eq!((found[1].row, found[1].pack_len), (packs[0].rows[1], packs[0].len()));
    assert!(index.locate(&ChunkId::from_bytes([13; 32])).unwrap().is_empty());
    assert!(index.segments().contains(&segment));
    assert_eq!(index.snapshots().get(&snapshot.0), Some(&snapshot.1));
    let known = index.packs();
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].sizes, Sizes { plain: 18, stored: 14, images_left: 18, count_left: 2, ..Sizes::default() });
}

#[test]
fn it_answers_alike_from_a_file_and_from_memory() {
    answers(&Index::in_memory(ARCHIVE));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/index.redb");
    let (index, fault) = Index::open(&path, ARCHIVE);
    assert!(fault.is_none() && !index.is_in_memory());
    answers(&index);
    drop(index);
    let (index, fault) = Index::open(&path, ARCHIVE);
    assert!(fault.is_none());
    assert_eq!(index.locate(&ChunkId::from_bytes([11; 32])).unwrap().len(), 2);
    let gone = Change {
        gone_packs: &[pack(1, &[10, 11])],
        gone_segments: &[SegmentId::from_bytes([5; 32])],
        gone_snapshots: &[SnapshotId::from_bytes([6; 32])],
        ..Change::default()
    };
    index.apply(&gone).unwrap();
    assert!(index.snapshots().is_empty() && index.segments().is_empty());
    assert_eq!(index.locate(&ChunkId::from_bytes([11; 32])).unwrap().len(), 1);
    assert_eq!(index.locate(&ChunkId::from_bytes([10; 32])).unwrap().len(), 0);
}

#[test]
fn a_second_process_reads_while_the_first_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.redb");
    let (writer, _) = Index::open(&path, ARCHIVE);
    let (reader, fault) = Index::open(&path, ARCHIVE);
    assert!(fault.is_none() && !reader.is_in_memory());
    writer.apply(&Change { packs: &[pack(1, &[1])], ..Change::default() }).unwrap();
    assert!(reader.locate(&ChunkId::from_bytes([1; 32])).unwrap().is_empty(), "as it was when opened");
    reader.apply(&Change { packs: &[pack(2, &[2])], ..Change::default() }).unwrap();
    assert_eq!(reader.locate(&ChunkId::from_bytes([1; 32])).unwrap().len(), 1, "both have written");
    assert_eq!(reader.locate(&ChunkId::from_bytes([2; 32])).unwrap().len(), 1);
}

#[test]
fn a_file_that_is_not_an_index_is_given_up() {
    // borg #1195: a power cut left an index of 0 bytes, and every command failed until somebody deleted it.
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("empty", vec![]), ("garbage", vec![0x5A; 100_000]), ("short", b"redb".to_vec())] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (index, _) = Index::open(&path, ARCHIVE);
        answers(&index);
    }
    let path = dir.path().join("other");
    drop(Index::open(&path, ArchiveId::from_bytes([4; 16])));
    let (index, fault) = Index::open(&path, ARCHIVE);
    assert!(fault.unwrap().contains("another version or archive"));
    answers(&index);
    let path = dir.path().join("empty/index.redb");
    let (index, _) = Index::open(&path, ARCHIVE);
    assert!(index.is_in_memory(), "its folder cannot be made, since a file is there");
    answers(&index);
}

#[test]
fn a_snapshot_is_known_as_long_as_its_packs_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.redb");
    let (snapshot, other) = (SnapshotId::from_bytes([6; 32]), SnapshotId::from_bytes([7; 32]));
    let (index, _) = Index::open(&path, ARCHIVE);
    index
        .apply(&Change { packs: &[pack(1, &[1])], segments: &[SegmentId::from_bytes([5; 32])], ..Change::default() })
        .unwrap();
    assert!(!index.knew_all_of(&snapshot));
    index.apply(&Change { known: Some(snapshot), ..Change::default() }).unwrap();
    drop(index);
    let (index, fault) = Index::open(&path, ARCHIVE);
    assert!(fault.is_none() && index.knew_all_of(&snapshot) && !index.knew_all_of(&other));
    index.apply(&Change { packs: &[pack(2, &[2])], ..Change::default() }).unwrap();
    assert!(index.knew_all_of(&snapshot), "more packs take nothing away");
    index.apply(&Change { gone_packs: &[pack(2, &[2])], ..Change::default() }).unwrap();
    assert!(!index.knew_all_of(&snapshot), "after packs were removed everything is looked at");
    index.apply(&Change { known: Some(other), ..Change::default() }).unwrap();
    assert!(index.knew_all_of(&other));
    index.start_over();
    assert!(!index.knew_all_of(&other));
}
