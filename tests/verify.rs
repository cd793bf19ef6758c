//! Verifying finds every flipped bit of every object, names the object, and says exactly which files of which snapshots it
//! costs. The archive lies in memory, so that thousands of damages take seconds.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Heard, SMALL, TestArchive, album};
use snapkeep::archive::{Archive, Parameters, read_pack, unpack_frame};
use snapkeep::error::Kind;
use snapkeep::format::{EntryKind, names};
use snapkeep::id::{ChunkId, ChunkKind, PackId, SnapshotId};
use snapkeep::op::{Share, Verify, VerifyOptions, verify};
use snapkeep::store::{Leftovers, Memory, Store};
use snapkeep::view::{Node, View};

type Objects = BTreeMap<String, Vec<u8>>;
/// Files and directories of snapshots.
type Paths = BTreeSet<(SnapshotId, Vec<u8>)>;

/// The objects of an archive with two snapshots.
fn objects(parameters: &Parameters) -> Objects {
    let archive = TestArchive::new(parameters);
    album(&archive.source(), 5);
    archive.backup();
    fs::write(archive.source().join("2019/notes.txt"), "changed").unwrap();
    fs::remove_file(archive.source().join("2020/img1.jpg")).unwrap();
    archive.backup();
    archive.objects().into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

fn open(objects: &Objects) -> Result<Archive, snapkeep::error::Error> {
    let store = Memory::new();
    for (name, bytes) in objects {
        store.put_new(name, &[bytes]).unwrap();
    }
    Archive::open(Arc::new(store), None, Arc::new(|_| {}))
}

fn look(archive: &Archive, read_data: bool) -> Verify {
    verify(archive, &VerifyOptions { read_data, ..VerifyOptions::default() }, &Heard::default()).unwrap()
}

fn affected(found: &Verify) -> Paths {
    found.affected.iter().map(|file| (file.snapshot, file.path.clone())).collect()
}

fn damaged(found: &Verify) -> BTreeSet<&str> {
    found.damage.iter().map(|damage| damage.object.as_str()).collect()
}

/// Every file and directory of every snapshot, and the chunks that it needs itself.
fn needs(archive: &Archive) -> BTreeMap<(SnapshotId, Vec<u8>), BTreeSet<ChunkId>> {
    let mut found = BTreeMap::new();
    for (id, snapshot) in archive.snapshots() {
        found.insert((id, Vec::new()), BTreeSet::from([snapshot.tree]));
        let view = View::new(archive, id, snapshot);
        let visit = &mut |node: &Node| {
            let entry = node.entry.as_ref().unwrap();
            let needs = match &entry.kind {
                EntryKind::File { .. } => view.chunks(entry)?.iter().map(|chunk| chunk.id).collect(),
                EntryKind::Dir { tree, .. } => BTreeSet::from([*tree]),
                EntryKind::Symlink { .. } => BTreeSet::new(),
            };
            found.insert((id, node.path.clone()), needs);
            Ok(true)
        };
        view.walk(&Node { path: Vec::new(), entry: None }, visit).unwrap();
    }
    found
}

/// Whether what is affected cannot be read, and everything else can.
fn others_can_be_read(archive: &Archive, affected: &Paths) {
    for (id, snapshot) in archive.snapshots() {
        let view = View::new(archive, id, snapshot);
        let mut todo = vec![Node { path: Vec::new(), entry: None }];
        while let Some(node) = todo.pop() {
            let lost = affected.contains(&(id, node.path.clone()));
            let place = || String::from_utf8_lossy(&node.path).into_owned();
            let read = if node.is_dir() {
                view.list(&node).map(|entries| {
                    let path = |name: &[u8]| snapkeep::view::join(&node.path, name);
                    todo.extend(entries.into_iter().map(|entry| Node { path: path(&entry.name), entry: Some(entry) }));
                })
            } else if matches!(node.entry.as_ref().unwrap().kind, EntryKind::Symlink { .. }) {
                Ok(())
            } else {
                view.read(&node, &mut |_| Ok(()))
            };
            match read {
                Ok(()) => assert!(!lost, "{} is said to be lost", place()),
                Err(error) => {
                    assert!(lost, "{} is lost and not named: {error}", place());
                    assert!(matches!(error.kind(), Kind::Damaged | Kind::Missing), "{error:?}");
                }
            }
        }
    }
}

/// Which chunk lies at each byte of each pack, if one does.
fn frames(archive: &Archive) -> BTreeMap<String, Vec<(std::ops::Range<u64>, ChunkId)>> {
    let store = archive.store();
    let packs = archive.present_packs(Leftovers::Leave).unwrap();
    let frames = |id: &PackId, len: u64| {
        let rows = read_pack(&**store, id, len, &|| Ok(())).unwrap().rows;
        rows.iter().map(|row| (u64::from(row.offset)..u64::from(row.offset) + row.frame_len(), row.frame.id)).collect()
    };
    packs.iter().map(|(id, len)| (names::pack(id), frames(id, *len))).collect()
}

#[test]
fn foreign_files_are_no_damage() {
    let mut objects = objects(&SMALL);
    let own = objects.len() as u64;
    for folder in ["packs", "packs/ab", "parity", "segments", "snapshots", "derived"] {
        objects.insert(format!("{folder}/Thumbs.db"), b"a file manager was here".to_vec());
    }
    let found = look(&open(&objects).unwrap(), true);
    assert_eq!((&found.damage, &found.affected), (&vec![], &vec![]));
    assert_eq!(found.objects, own);
}

#[test]
fn a_sound_archive_has_no_damage() {
    for parameters in [SMALL, Parameters::default(), Parameters { parity_permille: 0, ..SMALL }] {
        let objects = objects(&parameters);
        let archive = open(&objects).unwrap();
        for read_data in [false, true] {
            let found = look(&archive, read_data);
            assert_eq!((&found.damage, &found.affected), (&vec![], &vec![]));
            assert_eq!(found.objects, objects.len() as u64, "each was looked at");
            assert_eq!(found.snapshots, 2);
            assert!(found.chunks > 20);
            assert_eq!(found.bytes_read > 0, read_data);
        }
        others_can_be_read(&archive, &Paths::new());
    }
}

#[test]
fn every_flipped_bit_is_found_and_named_with_what_it_costs() {
    flip_each(&Parameters { parity_permille: 0, ..SMALL }, 1000);
}

#[test]
fn every_flipped_bit_is_found_and_with_recovery_data_costs_nothing() {
    flip_each(&SMALL, 5000);
}

fn flip_each(parameters: &Parameters, at_least: usize) {
    let objects = objects(parameters);
    let protected = parameters.parity_permille > 0;
    let whole = open(&objects).unwrap();
    let (needs, frames) = (needs(&whole), frames(&whole));
    let mut flips: Vec<(&str, usize)> = Vec::new();
    for (name, bytes) in &objects {
        let step = if bytes.len() <= 600 {
            1
        } else if protected {
            101
        } else {
            303
        };
        flips.extend((0..bytes.len() * 8).step_by(step).map(|bit| (name.as_str(), bit)));
    }
    assert!(flips.len() > at_least, "there are {} flips", flips.len());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((name, bit)) = flips.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut objects = objects.clone();
            objects.get_mut(*name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let archive = open(&objects).unwrap();
            let found = look(&archive, true);
            assert_eq!(damaged(&found), BTreeSet::from([*name]), "bit {bit} of {name}");

            let snapshot = name.strip_prefix("snapshots/").and_then(SnapshotId::from_hex);
            let at = *bit as u64 / 8;
            let hit = frames.get(*name).and_then(|frames| frames.iter().find(|(range, _)| range.contains(&at)));
            // A bit that the codec does not mind costs nothing.
            let unharmed = |(range, id): &(std::ops::Range<u64>, ChunkId)| {
                let frame = &objects[*name][range.start as usize..range.end as usize];
                [ChunkKind::Data, ChunkKind::Tree, ChunkKind::List]
                    .iter()
                    .any(|kind| unpack_frame(*kind, id, frame).is_ok())
            };
            let hit = hit.filter(|hit| !unharmed(hit));
            let costs = |need: &BTreeSet<ChunkId>| hit.is_some_and(|(_, chunk)| need.contains(chunk));
            let mendable = found.damage.iter().all(|damage| damage.mendable);
            let alone = name.starts_with("packs/") || name.starts_with("snapshots/");
            assert_eq!(mendable, protected || !alone, "bit {bit} of {name}");
            let costs = |need: &BTreeSet<ChunkId>| !protected && costs(need);
            let expected = needs.iter().filter(|(_, need)| costs(need)).map(|(place, _)| place.clone()).collect();
            assert_eq!(affected(&found), expected, "bit {bit} of {name}");
            if bit % 7 == 0 || hit.is_none() && bit % 3 == 0 {
                others_can_be_read(&archive, &expected);
            }
            if let Some(id) = snapshot.filter(|_| !protected) {
                assert!(archive.snapshots().iter().all(|(other, _)| *other != id), "it is not shown");
                assert_eq!(found.snapshots, 1);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// What is told of an object that is not there, cut short, longer, empty, garbage, or another one of its kind.
#[test]
fn whatever_an_object_is_replaced_by_is_found_and_named() {
    replace_each(&SMALL);
    replace_each(&Parameters { parity_permille: 0, ..SMALL });
}

fn replace_each(parameters: &Parameters) {
    let objects = objects(parameters);
    let protected = parameters.parity_permille > 0;
    let whole = open(&objects).unwrap();
    for (name, bytes) in &objects {
        let kind = name.split('/').next().unwrap();
        let other =
            objects.iter().find(|(other, bytes2)| other.starts_with(kind) && *other != name && *bytes2 != bytes);
        let mut replaced: Vec<(&str, Option<Vec<u8>>)> = vec![
            ("missing", None),
            ("empty", Some(Vec::new())),
            ("halved", Some(bytes[..bytes.len() / 2].to_vec())),
            ("one byte short", Some(bytes[..bytes.len() - 1].to_vec())),
            ("one byte long", Some([bytes.as_slice(), &[0]].concat())),
            ("garbage", Some(common::Random(9).bytes(bytes.len()))),
            ("zeros", Some(vec![0; bytes.len()])),
        ];
        if let Some((_, other)) = other {
            replaced.push(("another", Some(other.clone())));
        }
        for (how, bytes) in replaced {
            let mut objects = objects.clone();
            match &bytes {
                Some(bytes) => objects.insert(name.clone(), bytes.clone()),
                None => objects.remove(name),
            };
            let archive = open(&objects).unwrap();
            let about = format!("{name} is {how}");
            let found = look(&archive, true);
            let costs = affected(&found);
            others_can_be_read(&archive, &costs);
            let unnoticed = match kind {
                // What it said is in the packs.
                "segments" => bytes.is_none(),
                // Nobody knows that it was ever there, but for its recovery data.
                "snapshots" => bytes.is_none() && !protected,
                // It may be dropped at any time.
                "derived" => bytes.is_none(),
                _ => false,
            };
            // The newest may never have been committed, as far as anybody knows here; it is named all the same.
            let names = |found: &Verify| {
                damaged(found).contains(name.as_str()) || found.gone.iter().any(|gone| gone.object == *name)
            };
            assert_eq!(names(&found), !unnoticed, "{about}: {:?}", found.damage);
            assert!(costs.is_empty() || kind == "packs", "{about}: {costs:?}");
            let nothing_left = ["missing", "empty", "garbage", "zeros", "another"].contains(&how);
            assert!(!costs.is_empty() || kind != "packs" || !nothing_left || protected, "{about}");

            // The structure alone tells of everything but bytes of packs and of their parity.
            let found = look(&archive, false);
            if bytes.is_none() || kind != "parity" {
                assert_eq!(names(&found), !unnoticed, "{about}, by its structure: {:?}", found.damage);
            }
        }
    }
    others_can_be_read(&whole, &Paths::new());
}

#[test]
fn packs_that_are_gone_with_their_segments_are_missed_by_what_needs_them() {
    let mut objects = objects(&SMALL);
    let before = objects.len();
    objects.retain(|name, _| !name.starts_with("segments/") && !name.starts_with("packs/"));
    assert!(objects.len() < before);
    let archive = open(&objects).unwrap();
    let tops: Paths = archive.snapshots().into_iter().map(|(id, _)| (id, Vec::new())).collect();
    assert_eq!(tops.len(), 2);
    assert_eq!(affected(&look(&archive, false)), tops, "the top of each snapshot, and so all of it");
}

#[test]
fn the_text_for_people_and_other_peoples_files_are_no_damage() {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 6);
    archive.backup();
    fs::write(archive.path().join("README.txt"), "edited").unwrap();
    for folder in ["", "packs", "segments", "snapshots", "parity"] {
        fs::write(archive.path().join(folder).join(".DS_Store"), "x").unwrap();
        fs::write(archive.path().join(folder).join("a letter.txt"), "x").unwrap();
        fs::write(archive.path().join(folder).join(".tmp-0123456789abcdef"), "x").unwrap();
    }
    for read_data in [false, true] {
        let found = archive.verify(read_data);
        assert!(found.damage.is_empty() && found.affected.is_empty(), "{:?}", found.damage);
    }
}

/// Little by little, everything is read: what was not read for longest comes first, also after the index was lost.
#[test]
fn what_was_not_read_for_longest_is_read_first() {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 6);
    fs::write(archive.source().join("film.mov"), common::Random(7).bytes(600_000)).unwrap();
    archive.backup();
    let opened = archive.open();
    let packs = opened.present_packs(Leftovers::Leave).unwrap();
    let bytes: u64 = packs.values().sum();
    assert!(packs.len() >= 10, "{} packs", packs.len());
    let run = |share, time| {
        let options = VerifyOptions { read_data: true, share, time, ..VerifyOptions::default() };
        let found = verify(&opened, &options, &Heard::default()).unwrap();
        assert_eq!((found.damage, found.affected, found.bytes), (vec![], vec![], bytes));
        found.bytes_read
    };
    let status = || snapkeep::op::status(&opened).unwrap().verified;
    assert_eq!((status().recent, status().never, status().oldest), (0, bytes, None));
    let half = run(Share::Percent(50.0), None);
    assert!(half >= bytes / 2 && half < bytes * 3 / 4, "{half} of {bytes}");
    assert_eq!((status().recent, status().never), (half, bytes - half));
    opened.refill("a test").unwrap();
    assert_eq!(status().never, bytes - half, "it is remembered");
    let rest = run(Share::Bytes(bytes - half), None);
    assert_eq!(rest, bytes - half, "exactly the others");
    assert_eq!((status().recent, status().never), (bytes, 0));
    assert_eq!(run(Share::Percent(50.0), Some(std::time::Duration::ZERO)), 0, "there is no time");
    let parts: u64 = (1..=3).map(|number| run(Share::Part { number, of: 3 }, None)).sum();
    assert_eq!(parts, bytes, "three parts are the whole");
    let long_ago = 1_600_000_000;
    opened.set_verified(&packs.keys().copied().collect::<Vec<_>>(), long_ago).unwrap();
    assert_eq!((status().recent, status().oldest.map(|time| time.secs)), (0, Some(long_ago)));
    run(Share::Bytes(1), None);
    let verified = opened.verified();
    assert_eq!(verified.values().filter(|time| **time > long_ago).count(), 1, "at least one pack is read");
    drop(opened);
    assert_eq!(archive.open().verified(), verified, "by the next command as well");
}
