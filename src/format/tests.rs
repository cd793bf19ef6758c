//! Round trips, refusals at every length, and one encoding only.

use super::*;
use crate::id::{ArchiveId, ChunkId, ChunkKind, FileHash, PackId, PictureHash, SnapshotId};

fn chunk_id(seed: u8) -> ChunkId {
    ChunkId::from_bytes([seed; 32])
}

fn header() -> Header {
    Header {
        archive: ArchiveId::from_bytes([7; 16]),
        created: 1_700_000_000,
        chunker: Chunker { min: 1 << 18, average: 1 << 20, max: 1 << 22 },
        pack_size: 32 << 20,
        parity_permille: 30,
    }
}

fn rows() -> Vec<Row> {
    let mut offset = ENVELOPE_LEN as u32;
    (1..=3_u8)
        .map(|seed| {
            let stored_len = u32::from(seed) * 10;
            let codec = seed % 2;
            let frame = FrameHeader {
                kind: ChunkKind::Data,
                codec,
                codec_version: 0,
                hint: Hint::from_number(seed),
                stored_len,
                plain_len: stored_len + 5 * u32::from(codec),
                id: chunk_id(seed),
            };
            let row = Row { frame, offset };
            offset += row.frame_len() as u32;
            row
        })
        .collect()
}

fn entries() -> Vec<Entry> {
    let meta = Meta {
        mode: 0o644,
        uid: 1000,
        gid: 100,
        mtime: Time { secs: -1, nanos: 999_999_999 },
        ctime: Time { secs: 1 << 40, nanos: 0 },
        inode: 12,
        device: 0,
        links: 2,
        xattrs: vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), vec![0, 255])],
        born: Some(Time { secs: 1_600_000_000, nanos: 7 }),
        carried: Some(Carried::Unread),
        decayed: false,
    };
    let hash = FileHash::from_bytes([9; 32]);
    let content = Content::Chunks(vec![ChunkRef { id: chunk_id(1), len: 5 }, ChunkRef { id: chunk_id(2), len: 6 }]);
    let file = EntryKind::File { size: 11, hash, content, sparse: true, unsettled: true };
    let empty =
        EntryKind::File { size: 0, hash, content: Content::Chunks(Vec::new()), sparse: false, unsettled: false };
    let large = Content::List(chunk_id(3));
    let large = EntryKind::File { size: 1 << 40, hash, content: large, sparse: false, unsettled: false };
    let dir = EntryKind::Dir { tree: chunk_id(4), files: 3, bytes: 500 };
    let link = EntryKind::Symlink { target: b"../\xff".to_vec() };
    [file, empty, large, dir, link]
        .into_iter()
        .zip(1_u8..)
        .map(|(kind, number)| {
            let decayed = matches!(kind, EntryKind::File { size: 11, .. });
            Entry { name: vec![number, 0xff], kind, meta: Meta { decayed, ..meta.clone() } }
        })
        .collect()
}

fn snapshot() -> Snapshot {
    Snapshot {
        sequence: 3,
        time: Time { secs: 1_700_000_000, nanos: 5 },
        offset_minutes: -90,
        host: "desk".into(),
        user: "anna".into(),
        sources: vec![Source {
            name: b"Pictures".to_vec(),
            path: b"/home/anna/Pictures".to_vec(),
            devices: vec![Device(7)],
        }],
        tree: chunk_id(5),
        parent: Some(SnapshotId::from_bytes([6; 32])),
        tags: vec!["a".into(), "b".into()],
        note: Some("before organising".into()),
        excludes: vec!["*.tmp".into()],
        program: "snapkeep 0.1.0".into(),
        summary: Summary { files: 1, millis: 1 << 33, ..Summary::default() },
        unread: vec![Unread { path: b"/x".to_vec(), why: "input/output error".into() }],
        pinned: true,
    }
}

fn mark(says: Says) -> Mark {
    Mark {
        sequence: 2,
        time: Time { secs: 1_700_000_000, nanos: 5 },
        offset_minutes: 60,
        host: "desk".into(),
        user: "anna".into(),
        program: "x".into(),
        says,
    }
}

fn renamed() -> Mark {
    mark(Says::SourceRenamed { host: "desk".into(), path: b"/p".to_vec(), new: b"/q".to_vec() })
}

/// Every proper prefix and every extension of a valid object is refused, and so is each flipped bit or its value differs.
fn refuses_all_but<T: PartialEq + std::fmt::Debug>(bytes: &[u8], decode: impl Fn(&[u8]) -> crate::error::Result<T>) {
    let value = decode(bytes).unwrap();
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "a prefix of {len} bytes was accepted");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(decode(&longer).is_err(), "a byte too many was accepted");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = decode(&flipped) {
            assert_ne!(other, value, "bit {bit} is not part of the value");
        }
    }
}

#[test]
fn every_object_comes_back_and_nothing_else_does() {
    assert_eq!(Header::decode(&header().encode()).unwrap(), header());
    refuses_all_but(&header().encode(), Header::decode);
    refuses_all_but(&header().encode_block(), Header::decode_block);

    let segment = Segment {
        packs: vec![SegmentPack { id: PackId::from_bytes([1; 32]), content: PackContent::Data, rows: rows() }],
    };
    assert_eq!(Segment::decode(&segment.encode()).unwrap(), segment);
    refuses_all_but(&segment.encode(), Segment::decode);

    assert_eq!(Snapshot::decode(&snapshot().encode()).unwrap(), snapshot());
    refuses_all_but(&snapshot().encode(), Snapshot::decode);

    let (host, path) = (String::from("desk"), b"/p\xff".to_vec());
    let back = mark(Says::SourceBack { host: host.clone(), path: path.clone() });
    for mark in [renamed(), mark(Says::SourceRetired { host, path }), back] {
        assert_eq!(Mark::decode(&mark.encode()).unwrap(), mark);
        refuses_all_but(&mark.encode(), Mark::decode);
    }

    let tree = Tree::Entries(entries());
    assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
    refuses_all_but(&tree.encode(), Tree::decode);

    let children =
        vec![Child { first: b"a".to_vec(), id: chunk_id(1) }, Child { first: b"b".to_vec(), id: chunk_id(2) }];
    let pages = Tree::Pages { level: 1, children };
    refuses_all_but(&pages.encode(), Tree::decode);

    let facts = CaptureFacts {
        format: Some("jpeg".into()),
        taken: Some(-5),
        taken_millis: Some(250),
        taken_offset: Some(-90),
        make: Some("Canon".into()),
        model: Some("EOS".into()),
        width: Some(6000),
        height: Some(4000),
        orientation: Some(8),
        latitude: Some(-337_654_321),
        longitude: Some(1_512_345_678),
        altitude: Some(-40),
        duration: Some(3200),
        content_id: Some("A-B".into()),
        picture: Some(PictureHash::from_bytes([9; 32])),
    };
    assert_eq!(CaptureFacts::decode(&facts.encode()).unwrap(), facts);
    refuses_all_but(&facts.encode(), CaptureFacts::decode);
    let files = vec![(FileHash::from_bytes([1; 32]), facts), (FileHash::from_bytes([2; 32]), CaptureFacts::default())];
    let batch = FactsBatch { maker: 3, files };
    refuses_all_but(&batch.encode_body(), |body| FactsBatch::decode_body(3, body));
    let head = FactsHead { maker: 3, codec: 1, codec_version: 0, plain_len: 9 };
    assert_eq!(FactsHead::decode(&head.encode(b"body")).unwrap(), (head, &b"body"[..]));

    let list = List::Chunks(vec![ChunkRef { id: chunk_id(1), len: 5 }]);
    refuses_all_but(&list.encode(), List::decode);
    let list = List::Pages { level: 2, pages: vec![(chunk_id(1), 1 << 40)] };
    refuses_all_but(&list.encode(), List::decode);
}

#[test]
fn what_decodes_encodes_to_the_same_bytes() {
    // One value, one encoding: otherwise equal directories could have two ids.
    let tree = Tree::Entries(entries()).encode();
    for bit in 0..tree.len() * 8 {
        let mut flipped = tree.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Tree::decode(&flipped) {
            assert_eq!(other.encode(), flipped, "bit {bit}");
        }
    }
    let snapshot = snapshot().encode();
    for bit in 0..snapshot.len() * 8 {
        let mut flipped = snapshot.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Snapshot::decode(&flipped) {
            assert_eq!(other.encode(), flipped, "bit {bit}");
        }
    }
}

#[test]
fn names_that_lead_out_of_a_directory_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b", &[b'x'; 256]] {
        let mut entry = entries().remove(0);
        entry.name = name.to_vec();
        assert!(Tree::decode(&Tree::Entries(vec![entry]).encode()).is_err(), "{name:?}");
    }
    let twice = vec![entries().remove(0), entries().remove(0)];
    assert!(Tree::decode(&Tree::Entries(twice).encode()).is_err());
    let mut descending = entries();
    descending.reverse();
    assert!(Tree::decode(&Tree::Entries(descending).encode()).is_err());
}

#[test]
fn what_no_writer_makes_is_damage() {
    let refused = |bytes: Vec<u8>| assert_eq!(Tree::decode(&bytes).unwrap_err().kind(), Kind::Damaged);
    let changed = |at: usize, change: &dyn Fn(&mut Entry)| {
        let mut entry = entries().remove(at);
        change(&mut entry);
        Tree::Entries(vec![entry]).encode()
    };
    refused(changed(0, &|entry| entry.meta.uid = u32::MAX));
    refused(changed(0, &|entry| entry.meta.gid = u32::MAX));
    for target in [vec![], b"a\0b".to_vec(), vec![b'x'; 65536]] {
        refused(changed(4, &|entry| entry.kind = EntryKind::Symlink { target: target.clone() }));
    }
    let (list, hash) = (Content::List(chunk_id(1)), FileHash::from_bytes([9; 32]));
    let empty = EntryKind::File { size: 0, hash, content: list, sparse: false, unsettled: false };
    refused(changed(0, &|entry| entry.kind = empty.clone()));
    for name in [&b""[..], b"a\0", &[b'x'; 256]] {
        refused(changed(0, &|entry| entry.meta.xattrs = vec![(name.to_vec(), Vec::new())]));
    }
    refused(changed(0, &|entry| entry.meta.xattrs = vec![(b"a".to_vec(), Vec::new()); 2]));
    refused(Tree::Pages { level: 1, children: Vec::new() }.encode());
    for list in [List::Chunks(vec![]), List::Pages { level: 1, pages: vec![] }] {
        assert!(List::decode(&list.encode()).is_err());
    }
    assert!(List::decode(&List::Pages { level: 1, pages: vec![(chunk_id(1), 0)] }.encode()).is_err());

    let source = snapshot().sources.remove(0);
    let nowhere = Source { devices: Vec::new(), ..source.clone() };
    let upwards = Source { name: b"..".to_vec(), ..source.clone() };
    for sources in [vec![source.clone(), source], vec![nowhere], vec![upwards]] {
        let bytes = Snapshot { sources, ..snapshot() }.encode();
        assert_eq!(Snapshot::decode(&bytes).unwrap_err().kind(), Kind::Damaged);
    }
    let frame = FrameHeader { codec: 0, stored_len: 5, plain_len: 5, ..rows()[0].frame };
    assert!(decode_frame_header(&encode_frame_header(&frame)).is_ok());
    for (codec, stored_len, plain_len) in [(0, 4, 5), (1, 0, 5), (1, 0, 0), (1, 6, 5), (9, 5, MAX_PLAIN_LEN + 1)] {
        let frame = FrameHeader { codec, stored_len, plain_len, ..frame };
        assert!(decode_frame_header(&encode_frame_header(&frame)).is_err(), "{codec} {stored_len} {plain_len}");
    }
    let pack = SegmentPack { id: PackId::from_bytes([1; 32]), content: PackContent::Metadata, rows: rows() };
    assert_eq!(Segment::decode(&Segment { packs: vec![pack] }.encode()).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_pack_is_found_by_its_trailer_and_by_its_frames() {
    let rows = rows();
    let mut pack = encode_pack_start(PackContent::Data).to_vec();
    for row in &rows {
        assert_eq!(row.offset as usize, pack.len());
        pack.extend_from_slice(&encode_frame_header(&row.frame));
        pack.resize(pack.len() + row.frame.stored_len as usize, 0xAB);
    }
    let frames_end = pack.len() as u32;
    encode_pack_end(&rows, frames_end, &mut pack);

    assert_eq!(pack_content(&pack).unwrap(), PackContent::Data);
    let (offset, count, hash) = decode_trailer(&pack[pack.len() - TRAILER_LEN..], pack.len() as u64).unwrap();
    assert_eq!((offset, count), (frames_end, 3));
    let directory = &pack[offset as usize..pack.len() - TRAILER_LEN];
    assert_eq!(decode_directory(directory, offset, &hash).unwrap(), rows);
    for row in &rows {
        assert_eq!(decode_frame_header(&pack[row.offset as usize..]).unwrap(), row.frame);
    }
    assert!(decode_trailer(&pack[pack.len() - TRAILER_LEN..], pack.len() as u64 + 1).is_err());
    assert!(decode_directory(directory, offset + 1, &hash).is_err());
    for bit in 0..FRAME_HEADER_LEN * 8 {
        let mut frame = encode_frame_header(&rows[0].frame);
        frame[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_frame_header(&frame).is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_newer_is_refused_as_newer_and_not_as_damaged() {
    let mut newer = snapshot().encode();
    newer[9] = 1;
    assert_eq!(Snapshot::decode(&newer).unwrap_err().kind(), Kind::Unsupported);
    let mut flagged = snapshot().encode();
    flagged[10] = 1;
    assert_eq!(Snapshot::decode(&flagged).unwrap_err().kind(), Kind::Unsupported);
    let mut kind = snapshot().encode();
    kind[8] = 5;
    assert_eq!(Snapshot::decode(&kind).unwrap_err().kind(), Kind::Unsupported);
    kind[8] = 3;
    assert_eq!(Snapshot::decode(&kind).unwrap_err().kind(), Kind::Damaged);
    let mut mark = renamed().encode();
    let says = mark.windows(2).position(|pair| pair == [20, 1]).unwrap() + 1;
    mark[says] = 4;
    assert_eq!(Mark::decode(&mark).unwrap_err().kind(), Kind::Unsupported);
    // A source that is retired has no new path, and one that is renamed has another one.
    mark[says] = 2;
    assert_eq!(Mark::decode(&mark).unwrap_err().kind(), Kind::Damaged);
    let last = mark.len() - 1;
    (mark[says], mark[last]) = (1, b'p');
    assert_eq!(Mark::decode(&mark).unwrap_err().kind(), Kind::Damaged);
    // A flipped bit in a header is damage; a newer header has a hash that fits.
    let mut header = header().encode_block();
    header[9] = 1;
    assert_eq!(Header::decode(&header.repeat(8)).unwrap_err().kind(), Kind::Damaged);
    let hash = blake3::hash(&header[..64]);
    header[64..].copy_from_slice(hash.as_bytes());
    assert_eq!(Header::decode(&header.repeat(8)).unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(Header::salvage(&[&header]).unwrap_err().kind(), Kind::Unsupported);
    let frame = FrameHeader { codec: 200, ..rows()[0].frame };
    assert_eq!(decode_frame_header(&encode_frame_header(&frame)).unwrap().codec, 200);
}

/// The specification, which these tests hold against the code.
const SPEC: &str = include_str!("../../format-spec.md");

/// The last column of the row that begins with this text.
fn told(row: &str) -> &'static str {
    let line =
        SPEC.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap_or_else(|| panic!("no row {row:?}"));
    line.trim_end_matches('|').rsplit('|').next().unwrap().trim().trim_matches('`')
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_test_vectors_of_the_specification_are_what_is_written() {
    let id = ChunkId::of(ChunkKind::Data, b"photo");
    let empty = Tree::Entries(Vec::new()).encode();
    let list = List::Chunks(vec![ChunkRef { id, len: 5 }]).encode();
    let frame = FrameHeader {
        kind: ChunkKind::Data,
        codec: 0,
        codec_version: 0,
        hint: Hint::None,
        stored_len: 5,
        plain_len: 5,
        id,
    };
    let archive = ArchiveId::from_bytes(std::array::from_fn(|at| at as u8));
    let time = Time { secs: 1, nanos: 500_000_000 };
    let meta =
        Meta { mode: 0o644, uid: 1000, gid: 100, mtime: time, ctime: time, inode: 7, links: 1, ..Meta::default() };
    let hash = FileHash::from_bytes(*id.as_bytes());
    let content = Content::Chunks(vec![ChunkRef { id, len: 5 }]);
    let kind = EntryKind::File { size: 5, hash, content, sparse: false, unsettled: false };
    let page = Tree::Entries(vec![Entry { name: b"a.jpg".to_vec(), kind, meta }]);
    let empty_id = ChunkId::of(ChunkKind::Tree, &empty);
    let children = ["a", "b"].map(|first| Child { first: first.into(), id: empty_id }).to_vec();
    let pages = Tree::Pages { level: 1, children };
    let lists = List::Pages { level: 1, pages: vec![(ChunkId::of(ChunkKind::List, &list), 5)] };
    let rows = vec![Row { frame, offset: ENVELOPE_LEN as u32 }];
    let mut pack = [&encode_pack_start(PackContent::Data)[..], &encode_frame_header(&frame), b"photo"].concat();
    let frames_end = pack.len() as u32;
    encode_pack_end(&rows, frames_end, &mut pack);
    let pack_id = PackId::from_bytes(*blake3::hash(&pack).as_bytes());
    let segment = Segment { packs: vec![SegmentPack { id: pack_id, content: PackContent::Data, rows }] };
    assert_eq!(segment.packs[0].len(), pack.len() as u64);
    let small = Snapshot {
        sequence: 1,
        offset_minutes: 60,
        sources: vec![Source { name: b"p".to_vec(), path: b"/p".to_vec(), devices: vec![Device(7)] }],
        tree: empty_id,
        parent: None,
        tags: Vec::new(),
        note: None,
        excludes: Vec::new(),
        program: "x".into(),
        summary: Summary { files: 1, bytes: 5, ..Summary::default() },
        unread: Vec::new(),
        pinned: false,
        ..snapshot()
    };
    let vectors = [
        (
            "page of level 1: the page with no entry stands in for both pages, first names `a` and `b`",
            hex(&pages.encode()),
        ),
        ("chunk list page of level 1: the list page above, covering 5 bytes", hex(&lists.encode())),
        ("pack of the one chunk `photo`", hex(&pack)),
        ("its id is the hash of these bytes; a segment of it", hex(&segment.encode())),
        (
            "snapshot: sequence 1, time 1700000000.000000005, 60 minutes, machine `desk`, user `anna`, source `p` at `/p` on device 7, top directory the empty one, program `x`, 1 file of 5 bytes",
            hex(&small.encode()),
        ),
        (
            "mark: sequence 2, the time, machine and user of that snapshot, program `x`, source `/p` of `desk` renamed to `/q`",
            hex(&renamed().encode()),
        ),
        ("id of the file chunk `photo`", id.to_hex()),
        ("an empty directory's page", hex(&empty)),
        ("its id", ChunkId::of(ChunkKind::Tree, &empty).to_hex()),
        ("the chunk list page of the one chunk `photo`", hex(&list)),
        ("frame header of that file chunk stored as it is", hex(&encode_frame_header(&frame))),
        (
            "block of a header: archive id 00 01 … 0F, created 1700000000, parity 30, sizes 262144, 1048576, 4194304, packs 33554432",
            hex(&Header { archive, ..header() }.encode_block()),
        ),
        (
            "page with one file `a.jpg` of the chunk `photo`, mode 0o644, owner 1000, group 100, both times 1.5 s, inode 7",
            hex(&page.encode()),
        ),
    ];
    for (row, bytes) in vectors {
        assert_eq!(told(row), bytes, "{row}");
    }
    let list_id = SPEC.lines().filter(|line| line.starts_with("| its id |")).nth(1).unwrap();
    assert!(
        list_id.contains(&ChunkId::of(ChunkKind::List, &list).to_hex()),
        "\n{}\n",
        ChunkId::of(ChunkKind::List, &list)
    );
}

#[test]
fn the_numbers_of_the_specification_are_those_of_the_code() {
    assert_eq!(told("plain length of a chunk"), MAX_PLAIN_LEN.to_string());
    assert_eq!(told("levels of pages"), Tree::MAX_LEVEL.to_string());
    assert_eq!(told("directories around an entry, the source's own among them"), Tree::MAX_DEPTH.to_string());
    assert_eq!(told("length of a directory's path in a snapshot, names joined by `/`"), Tree::MAX_PATH.to_string());
    assert_eq!(told("rows of a page (entries, chunks or pages)"), Tree::MAX_ROWS.to_string());
    assert_eq!(told("extended attributes of the entries of a page"), Tree::MAX_PAGE_XATTRS.to_string());
    assert_eq!((Tree::MAX_LEVEL, Tree::MAX_ROWS), (List::MAX_LEVEL, List::MAX_ROWS as u64));
    for sentence in [
        format!("| 0 | 8 | magic | {} |", spaced(&bytes::MAGIC)),
        format!("| 0 | 4 | magic | {} |", spaced(&frame_magic())),
        format!("{FRAME_HEADER_LEN} bytes and then the stored bytes"),
        format!("{HEADER_LEN} bytes: a block of {HEADER_BLOCK_LEN} bytes, 8 times. Either copy is enough"),
        format!("| {DIRECTORY_ROW_LEN} each | directory: a row for each frame"),
        format!("| {TRAILER_LEN} | trailer |"),
        format!("context `{}`", crate::id::TREE_CONTEXT),
        format!("context `{}`", crate::id::LIST_CONTEXT),
        format!("entries that could not be read, the first {}:", Snapshot::MAX_UNREAD),
        "| `header`, `header.copy` |".to_owned(),
        format!("{REF_LEN} bytes each, id (32) and plain length (4)"),
    ] {
        assert!(SPEC.contains(&sentence), "the specification does not say: {sentence}");
    }
    for (number, name) in [(1, "header"), (2, "pack"), (3, "segment"), (4, "snapshot"), (8, "mark")] {
        assert!(SPEC.contains(&format!("{number} {name}")), "{name}");
    }
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

/// One flipped bit lost a copy of the header, and one in each copy the archive.
#[test]
fn a_header_survives_damage_in_each_of_its_blocks() {
    let (header, whole) = (header(), header().encode());
    assert_eq!(whole.len(), HEADER_LEN);
    for wrong in 1..=3 {
        // Other bits in each block, in more blocks than are left whole: in all of them.
        let mut bytes = whole.clone();
        for (number, block) in bytes.chunks_exact_mut(HEADER_BLOCK_LEN).enumerate() {
            (0..wrong).for_each(|bit| block[(number * 11 + bit * 29) % HEADER_BLOCK_LEN] ^= 1 << (number % 8));
        }
        assert!(bytes.chunks_exact(HEADER_BLOCK_LEN).all(|block| Header::decode_block(block).is_err()));
        assert_eq!(Header::salvage(&[&bytes]).unwrap(), header);
        assert_eq!(Header::decode(&bytes).unwrap_err().kind(), Kind::Damaged, "and it is known to be damaged");
    }
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::salvage(&[&bytes]).unwrap(), header);
        assert!(Header::decode(&bytes).is_err());
    }
    for len in 0..whole.len() {
        assert_eq!(Header::salvage(&[&whole[..len]]).is_ok(), len >= HEADER_BLOCK_LEN, "cut to {len}");
    }
    // Two copies of which little is left tell together what neither tells alone.
    let (mut one, mut other) = (whole[..2 * HEADER_BLOCK_LEN].to_vec(), whole[..HEADER_BLOCK_LEN].to_vec());
    (one[5], one[HEADER_BLOCK_LEN + 6], other[7]) = (0, 0, 0);
    assert!(Header::salvage(&[&one]).is_err() && Header::salvage(&[&other]).is_err());
    assert_eq!(Header::salvage(&[&one, &other]).unwrap(), header);
    assert!(Header::salvage(&[]).is_err() && Header::salvage(&[&[0; HEADER_LEN]]).is_err());
}
