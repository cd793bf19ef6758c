//! Packs, frames and snapshots.

use std::fs;

use snapkeep::archive::{Packing, store_entries};
use snapkeep::format::{
    ChunkRef, Content, ENVELOPE_LEN, Entry, EntryKind, FRAME_HEADER_LEN, FrameHeader, Hint, PackContent, Row, Segment,
    SegmentPack, encode_frame_header, encode_pack_end, encode_pack_start, names,
};
use snapkeep::id::{ChunkId, ChunkKind, FileHash, PackId, SegmentId};
use snapkeep::op::{VerifyOptions, verify};
use snapkeep::store::{Local, Store};

use super::attack::{Attack, Done, dir_of, file, meta};
use crate::common::Heard;

/// A pack of frames that somebody made by hand.
pub struct Forged {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Forged {
    pub fn new() -> Self {
        Self { bytes: encode_pack_start(PackContent::Data).to_vec(), rows: Vec::new() }
    }

    pub fn frame(&mut self, id: ChunkId, codec: u8, plain_len: u32, stored: &[u8]) {
        let stored_len = stored.len() as u32;
        let hint = Hint::None;
        let frame = FrameHeader { kind: ChunkKind::Data, codec, codec_version: 0, hint, stored_len, plain_len, id };
        self.rows.push(Row { frame, offset: self.bytes.len() as u32 });
        self.bytes.extend_from_slice(&encode_frame_header(&frame));
        self.bytes.extend_from_slice(stored);
    }

    /// So many heads that each claim the longest frame of bytes that are there, `len` bytes, in one frame of that
    /// many and more, whose own head is damaged.
    pub fn bomb(heads: usize, len: u32) -> Self {
        let claims = FrameHeader {
            kind: ChunkKind::Data,
            codec: 0,
            codec_version: 0,
            hint: Hint::None,
            stored_len: len,
            plain_len: len,
            id: ChunkId::from_bytes([7; 32]),
        };
        let mut stored = encode_frame_header(&claims).repeat(heads);
        stored.resize(stored.len() + len as usize, 0);
        let mut forged = Self::new();
        forged.frame(ChunkId::of(ChunkKind::Data, &stored), 0, stored.len() as u32, &stored);
        forged.bytes[ENVELOPE_LEN + 20] ^= 1;
        forged
    }

    /// The end, with a directory that was damaged once the pack had its name.
    pub fn end_damaged(mut self) -> (Vec<u8>, SegmentPack) {
        let end = self.bytes.len();
        encode_pack_end(&self.rows, end as u32, &mut self.bytes);
        let id = PackId::from_bytes(*blake3::hash(&self.bytes).as_bytes());
        self.bytes[end + 3] ^= 1;
        (self.bytes, SegmentPack { id, content: PackContent::Data, rows: self.rows })
    }

    fn end(mut self) -> Vec<u8> {
        let end = self.bytes.len() as u32;
        encode_pack_end(&self.rows, end, &mut self.bytes);
        self.bytes
    }
}

/// A file that is this one chunk, of which the archive knows only what its packs say.
fn wants(name: &str, id: ChunkId, len: u32) -> Entry {
    let hash = FileHash::from_bytes(*id.as_bytes());
    let content = Content::Chunks(vec![ChunkRef { id, len }]);
    let kind = EntryKind::File { size: len.into(), hash, content, sparse: false, unsettled: false };
    Entry { name: name.as_bytes().to_vec(), kind, meta: meta() }
}

/// An archive with this pack, and a snapshot of one file of it and of a good one; restored.
fn restored(about: &str, pack: &[u8], wanted: Entry) -> (Attack, Done) {
    let attack = Attack::new();
    let id = PackId::from_bytes(*blake3::hash(pack).as_bytes());
    Local::new(attack.path("archive")).put_new(&names::pack(&id), &[pack]).unwrap();
    attack.snapshot(|writer| {
        let entries = vec![file(writer, "good", b"photo"), wanted];
        store_entries(writer, vec![dir_of(writer, "s", entries)]).unwrap()
    });
    let done = attack.restore();
    assert!(!attack.restored().values().any(|bytes| bytes.starts_with(b"evil")), "{about}");
    assert_eq!(attack.restored()[&b"s/good"[..]], b"photo", "{about}: {done:?}");
    let verified = attack.snap(&["verify", "--read-data"]);
    assert_eq!(verified.code, 14, "{about}: {verified:?}");
    (attack, done)
}

#[test]
fn frames_that_lie_are_refused_and_only_they() {
    let id = ChunkId::of(ChunkKind::Data, b"the true bytes");
    let zeros = |len: usize| zstd::bulk::compress(&vec![0; len], 19).unwrap();
    let cases: [(&str, u8, u32, Vec<u8>); 8] = [
        ("other bytes under its name", 0, 4, b"evil".to_vec()),
        ("another length", 0, 14, b"evil".to_vec()),
        ("a codec that nobody knows", 77, 14, b"evil".to_vec()),
        ("an image that is none", 2, 14, b"evil".to_vec()),
        ("64 MB of zeros in a few bytes", 1, 14, zeros(64 << 20)),
        ("the same, declared", 1, 64 << 20, zeros(64 << 20)),
        ("more than a chunk may have", 1, 1 << 30, zeros(1 << 20)),
        ("4 GB", 1, u32::MAX, zeros(1 << 20)),
    ];
    for (about, codec, plain_len, stored) in cases {
        let mut forged = Forged::new();
        forged.frame(id, codec, plain_len, &stored);
        let (_, done) = restored(about, &forged.end(), wants("wanted", id, 14));
        assert!([3, 14].contains(&done.code), "{about}: {done:?}");
    }
}

/// A pack of another archive, or the frames of two packs exchanged: their names tell.
#[test]
fn packs_that_were_exchanged_are_no_answer() {
    let attack = Attack::of(|writer| vec![file(writer, "one", &[1; 70_000]), file(writer, "two", &[2; 70_000])]);
    let other = Attack::of(|writer| vec![file(writer, "evil", b"evil")]);
    let packs = |attack: &Attack| {
        let store = Local::new(attack.path("archive"));
        store.list(names::PACKS, snapkeep::store::Leftovers::Leave).unwrap()
    };
    let theirs = fs::read(other.path("archive").join(&packs(&other)[0].name)).unwrap();
    for pack in packs(&attack) {
        fs::write(attack.path("archive").join(&pack.name), &theirs).unwrap();
        fs::remove_file(attack.path("archive").join(pack.name.replace("packs", "parity"))).unwrap();
    }
    assert_eq!(attack.restore().code, 14);
    assert_eq!(attack.restored().len(), 0);
    assert_eq!(attack.snap(&["verify"]).code, 14);
}

#[test]
fn directories_of_packs_are_checked_before_they_are_believed() {
    let id = ChunkId::of(ChunkKind::Data, b"the true bytes");
    let sound = || {
        let mut forged = Forged::new();
        forged.frame(id, 0, 14, b"the true bytes");
        forged
    };
    let end = sound().bytes.len() as u32;
    type Change<'a> = Box<dyn Fn(&mut Vec<Row>) -> u32 + 'a>;
    let cases: [(&str, Change<'_>); 5] = [
        (
            "rows past the end",
            Box::new(move |rows| {
                rows[0].offset = 1 << 30;
                end
            }),
        ),
        (
            "rows that overlap",
            Box::new(move |rows| {
                rows.push(rows[0]);
                end
            }),
        ),
        (
            "a row over the directory",
            Box::new(move |rows| {
                rows[0].frame.stored_len = 200;
                end
            }),
        ),
        ("a directory past the end", Box::new(|_| u32::MAX)),
        ("a directory before its frames", Box::new(|_| 3)),
    ];
    for (about, change) in cases {
        let mut forged = sound();
        let end = change(&mut forged.rows);
        encode_pack_end(&forged.rows.clone(), end, &mut forged.bytes);
        // Its frame is sound, and found without the directory.
        let (attack, done) = restored(about, &forged.bytes, wants("wanted", id, 14));
        assert_eq!(done.code, 0, "{about}: {done:?}");
        assert_eq!(attack.restored()[&b"s/wanted"[..]], b"the true bytes", "{about}");
    }
}

#[test]
fn a_snapshot_under_another_name_is_none() {
    let attack = Attack::of(|writer| vec![file(writer, "photo", b"photo")]);
    let bytes = {
        let archive = attack.open();
        let writer = archive.writer(Packing::default()).unwrap();
        let top = store_entries(&writer, vec![dir_of(&writer, "s", vec![file(&writer, "f", b"evil")])]).unwrap();
        writer.finish().unwrap();
        let (_, mut snapshot) = archive.snapshots().pop().unwrap();
        snapshot.tree = top;
        snapshot.sequence = 99;
        snapshot.encode()
    };
    fs::write(attack.path("archive/snapshots").join("ab".repeat(32)), bytes).unwrap();
    let done = attack.restore();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(attack.restored()[&b"s/photo"[..]], b"photo");
    assert_eq!(attack.snap(&["verify"]).code, 14);
}

/// A file that holds a piece of another archive's pack, as a copy of an archive does once it is cut into chunks:
/// where the head of its frame was damaged, the heads in it were believed, and what they led over was lost.
#[test]
fn a_piece_of_a_pack_in_a_file_hides_no_photo_behind_it() {
    let mut inner = Forged::new();
    inner.frame(ChunkId::of(ChunkKind::Data, b"within"), 0, 6, b"within");
    inner.frame(ChunkId::of(ChunkKind::Data, &[9; 300]), 0, 300, &[9; 300]);
    let cut = inner.bytes.len() - 280;
    let piece = &inner.bytes[..cut];
    let mut forged = Forged::new();
    forged.frame(ChunkId::of(ChunkKind::Data, piece), 0, piece.len() as u32, piece);
    forged.bytes[ENVELOPE_LEN + FRAME_HEADER_LEN - 1] ^= 1;
    let id = ChunkId::of(ChunkKind::Data, b"the true bytes");
    forged.frame(id, 0, 14, b"the true bytes");
    let end = ChunkId::of(ChunkKind::Data, &[5; 400]);
    forged.frame(end, 0, 400, &[5; 400]);
    let (pack, _) = forged.end_damaged();
    let (attack, done) = restored("a piece of a pack", &pack, wants("wanted", id, 14));
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(attack.restored()[&b"s/wanted"[..]], b"the true bytes");
    let found = verify(&attack.open(), &VerifyOptions::default(), &Heard::default()).unwrap();
    assert!(found.lost.is_empty() && found.affected.is_empty(), "{:?}", found.affected);
}

/// `verify` named photos as lost that `restore` gives back: a segment tells where they lie, and only the search for
/// frames in a damaged pack did not find them.
#[test]
fn what_is_restored_from_a_damaged_pack_is_not_called_lost() {
    let id = ChunkId::of(ChunkKind::Data, b"the true bytes");
    let mut forged = Forged::bomb(100, 4 << 20);
    forged.frame(id, 0, 14, b"the true bytes");
    let (pack, told) = forged.end_damaged();
    let attack = Attack::new();
    let store = Local::new(attack.path("archive"));
    store.put_new(&names::pack(&told.id), &[&pack]).unwrap();
    let segment = Segment::encode_of(&[told]);
    let name = names::segment(&SegmentId::from_bytes(*blake3::hash(&segment).as_bytes()));
    store.put_new(&name, &[&segment]).unwrap();
    attack.snapshot(|writer| {
        let entries = vec![file(writer, "good", b"photo"), wants("wanted", id, 14)];
        store_entries(writer, vec![dir_of(writer, "s", entries)]).unwrap()
    });
    assert_eq!(attack.restore().code, 0);
    assert_eq!(attack.restored()[&b"s/wanted"[..]], b"the true bytes");
    for read_data in [false, true] {
        let options = VerifyOptions { read_data, ..VerifyOptions::default() };
        let found = verify(&attack.open(), &options, &Heard::default()).unwrap();
        assert!(!found.damage.is_empty(), "the pack is damaged");
        assert!(found.lost.is_empty() && found.affected.is_empty(), "{:?}", found.affected);
    }
}
