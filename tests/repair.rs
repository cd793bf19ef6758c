//! What every command makes of every damage of every sort of object, and that a repair may be cut off anywhere.

use crate::common;
use crate::common::picture::photo;
use crate::common::watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::{Heard, Random, SMALL, TestArchive, album, contents, flip, restore_at};
use rustix::io::Errno;
use snapkeep::archive::{Archive, Notice, Packing, read_directory};
use snapkeep::chunk::Chunk;
use snapkeep::error::{Kind, Result};
use snapkeep::format::{Hint, Row};
use snapkeep::id::SnapshotId;
use snapkeep::op::{Remedy, Repair, RepairOptions, SqueezeOptions, repair, squeeze};
use snapkeep::parity::Parity;
use snapkeep::store::{Leftovers, Local};
use watched::{Fault, Record};

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// An archive with two snapshots, its objects, and what each snapshot holds.
struct Whole {
    archive: TestArchive,
    objects: BTreeMap<String, Vec<u8>>,
    held: Vec<(SnapshotId, Files)>,
}

impl Whole {
    fn new() -> Self {
        let archive = TestArchive::new(&SMALL);
        album(&archive.source(), 1);
        fs::write(archive.source().join("film.mov"), Random(2).bytes(150_000)).unwrap();
        let mut held = vec![(archive.backup(), contents(&archive.source()))];
        fs::rename(archive.source().join("2019"), archive.source().join("nineteen")).unwrap();
        fs::write(archive.source().join("new.mov"), Random(3).bytes(150_000)).unwrap();
        held.push((archive.backup(), contents(&archive.source())));
        let objects = bytes_of(&archive);
        Self { archive, objects, held }
    }

    /// The longest object whose name begins so, and of which this is true; and the next one.
    fn longest(&self, folder: &str, fits: impl Fn(&[u8]) -> bool) -> [String; 2] {
        let mut found: Vec<_> =
            self.objects.iter().filter(|(name, bytes)| name.starts_with(folder) && fits(bytes)).collect();
        found.sort_by_key(|(name, bytes)| (std::cmp::Reverse(bytes.len()), name.to_owned()));
        [found[0].0.clone(), found[1].0.clone()]
    }

    fn data_pack(&self) -> [String; 2] {
        self.longest("packs/", |bytes| bytes[10] == 0)
    }

    /// One object of each sort, and another of it.
    fn sorts(&self) -> Vec<(&'static str, [String; 2])> {
        let parity = self.data_pack().map(|pack| pack.replace("packs", "parity"));
        vec![
            ("header", ["header", "header.copy"].map(str::to_owned)),
            ("header", ["header.copy", "header"].map(str::to_owned)),
            ("data", self.data_pack()),
            ("metadata", self.longest("packs/", |bytes| bytes[10] == 1)),
            ("parity", parity),
            ("segment", self.longest("segments/", |_| true)),
            ("snapshot", self.longest("snapshots/", |_| true)),
        ]
    }

    /// How long a run of damage the object's recovery data always mend.
    fn burst(&self, name: &str) -> Option<usize> {
        let folder = name.split('/').next()?;
        let parity = self.objects.get(&name.replace(folder, "parity").replace("snapshots", "parity"))?;
        Some(Parity::from_bytes(parity).ok()?.survives_burst() as usize)
    }
}

fn bytes_of(archive: &TestArchive) -> BTreeMap<String, Vec<u8>> {
    archive.objects().into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Does something to an object; `false` if that makes no sense for it.
fn damage(whole: &Whole, archive: &TestArchive, how: &str, sort: &str, [name, other]: &[String; 2]) -> bool {
    let path = archive.path().join(name);
    let bytes = &whole.objects[name];
    let burst = if sort == "data" { whole.burst(name).unwrap() } else { bytes.len().min(3000) / 2 };
    let zeroed = |len: usize| {
        let mut bytes = bytes.clone();
        let len = len.min(bytes.len());
        bytes[..len].iter_mut().for_each(|byte| *byte = !*byte);
        bytes
    };
    let damaged = match how {
        "delete" => {
            fs::remove_file(path).unwrap();
            return true;
        }
        "truncate" => bytes[..bytes.len() / 2].to_vec(),
        "extend" => [bytes.as_slice(), &[7; 1000]].concat(),
        "flip" => {
            flip(&path, bytes.len() as u64 * 4 + 3);
            return true;
        }
        "burst" => zeroed(burst),
        "past the limit" if sort == "data" => zeroed(burst + 4096),
        "past the limit" => return false,
        "swap" => {
            fs::write(archive.path().join(other), bytes).unwrap();
            whole.objects[other].clone()
        }
        "older copy" if sort == "header" => return false, // they never change
        "older copy" => whole.objects[other].clone(),
        _ => panic!("{how}"),
    };
    fs::write(path, damaged).unwrap();
    true
}

const DAMAGES: [&str; 8] = ["delete", "truncate", "extend", "flip", "burst", "past the limit", "swap", "older copy"];

fn repaired(archive: &TestArchive, options: &RepairOptions<'_>) -> Result<Repair> {
    repair(&archive.try_open()?, options, &Heard::default())
}

/// What can be restored: of each snapshot, its files.
fn restorable(archive: &Archive, held: &[(SnapshotId, Files)]) -> Vec<Files> {
    let restore = |id: &SnapshotId| {
        let target = tempfile::tempdir().unwrap();
        match restore_at(archive, Some(*id), target.path()) {
            Ok(_) => contents(&target.path().join("source")),
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::NotFound), "{error}");
                Files::new()
            }
        }
    };
    held.iter().map(|(id, _)| restore(id)).collect()
}

/// Everything can be restored but exactly what is named.
fn others_are_restored(about: &str, archive: &TestArchive, held: &[(SnapshotId, Files)], done: &Repair) {
    let found = restorable(&archive.open(), held);
    for ((id, held), found) in held.iter().zip(found) {
        for (path, bytes) in held {
            let named = |lost: &[u8]| lost == [b"source/", path.as_slice()].concat();
            let lost = done.lost.iter().any(|file| file.snapshot == *id && named(&file.path));
            assert_eq!(found.get(path) != Some(bytes), lost, "{about}: {}", String::from_utf8_lossy(path));
        }
    }
}

#[test]
fn every_command_on_every_damage_of_every_object() {
    let whole = Whole::new();
    let elsewhere = whole.archive.copy();
    let elsewhere = elsewhere.open();
    let (mut cases, mut mended) = (0, 0);
    for (sort, names) in whole.sorts() {
        for how in DAMAGES {
            let archive = whole.archive.copy();
            if !damage(&whole, &archive, how, sort, &names) {
                continue;
            }
            cases += 1;
            let about = format!("{sort} {}: {how}", names[0]);
            let hopeless = sort == "data" && ["delete", "truncate", "past the limit", "older copy"].contains(&how);
            let changed = bytes_of(&archive) != whole.objects;

            // Verifying names the object, unless nobody can know of it.
            let found = archive.verify(true);
            let named = found.damage.iter().any(|damage| damage.object == names[0]);
            let unnoticed = how == "delete" && sort == "segment";
            assert_eq!(named, changed && !unnoticed, "{about}: {:?}", found.damage);
            if named && how != "swap" {
                assert!(found.damage.iter().all(|damage| damage.mendable != hopeless), "{about}: {:?}", found.damage);
            }

            // Restoring mends on the way, and says so.
            let copy = archive.copy();
            fs::remove_dir_all(copy.cache()).unwrap();
            let restored = restorable(&copy.open(), &whole.held);
            let gone = sort == "snapshot" && how == "delete";
            if !hopeless && !gone && how != "swap" {
                assert!(restored.iter().zip(&whole.held).all(|(found, (_, held))| found == held), "{about}: restored");
                let told = copy.notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::Mended { .. }));
                let silent = ["header", "parity", "segment"].contains(&sort) || how == "extend" && sort != "snapshot";
                assert!(told || silent, "{about}: it is told");
            }
            for (found, (_, held)) in restored.iter().zip(&whole.held) {
                assert!(found.iter().all(|(path, bytes)| held.get(path) == Some(bytes)), "{about}: wrong bytes");
            }
            assert!(bytes_of(&copy) == bytes_of(&archive), "{about}: reading writes nothing");

            // Backing up goes on.
            let copy = archive.copy();
            let backed_up = copy.try_backup().unwrap_or_else(|error| panic!("{about}: {error}"));
            assert!(backed_up.unread.is_empty() && backed_up.id.is_some(), "{about}");

            // A dry run writes nothing and foretells what repairing does.
            let before = bytes_of(&archive);
            let foretold = repaired(&archive, &RepairOptions { dry_run: true, ..RepairOptions::default() }).unwrap();
            assert!(bytes_of(&archive) == before, "{about}: a dry run");
            let done = repaired(&archive, &RepairOptions::default()).unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(foretold.steps, done.steps, "{about}");
            assert_eq!(
                foretold.lost.iter().map(|file| (file.snapshot, &file.path)).collect::<BTreeSet<_>>(),
                done.lost.iter().map(|file| (file.snapshot, &file.path)).collect::<BTreeSet<_>>(),
                "{about}"
            );
            assert_eq!(done.is_whole(), !hopeless, "{about}: {done:?}");
            assert_eq!(done.steps.is_empty(), !changed, "{about}: {done:?}");
            others_are_restored(&about, &archive, &whole.held, &done);
            let after = archive.verify(true);
            assert_eq!(after.damage, [], "{about}");
            assert_eq!(after.affected, done.lost, "{about}");
            if !hopeless {
                mended += 1;
                for (name, bytes) in whole.objects.iter().filter(|(name, _)| !name.starts_with("segments/")) {
                    assert!(fs::read(archive.path().join(name)).ok().as_ref() == Some(bytes), "{about}: {name}");
                }
            }
            archive.assert_no_litter();
            assert_eq!(repaired(&archive, &RepairOptions::default()).unwrap().steps, [], "{about}: nothing is left");

            if hopeless {
                assert!(done.steps.contains(&(names[0].clone(), Remedy::Rescue)), "{about}: {done:?}");
                assert!(!done.lost.is_empty(), "{about}");
                // What the source still has is stored again by the next run, and the old snapshots are whole again.
                let copy = archive.copy();
                copy.backup();
                let found = copy.verify(true);
                assert!(found.damage.is_empty() && found.affected.is_empty(), "{about}: {:?}", found.affected);
                // Repairing finds it in another archive, too.
                let options = RepairOptions { from: Some(&elsewhere), ..RepairOptions::default() };
                let done = repaired(&archive, &options).unwrap();
                let found = done.found > 0 || done.steps.contains(&(names[0].clone(), Remedy::Copy));
                assert!(done.is_whole() && found, "{about}: {done:?}");
                others_are_restored(&about, &archive, &whole.held, &done);
            }
        }
    }
    println!("{cases} cases, {mended} mended to identical bytes");
    assert!(cases > 45 && mended > 40, "{cases} cases, {mended} mended");
}

/// The source has moved on a little: what is still where it was is found, whatever else has changed.
#[test]
fn what_is_lost_is_found_at_the_source_or_in_another_archive() {
    let whole = Whole::new();
    let elsewhere = whole.archive.copy();
    // The recorded paths are those of this source; copies of the archive name it, too.
    let archive = whole.archive.copy();
    for name in whole.objects.keys().filter(|name| name.starts_with("packs/") && whole.objects[*name][10] == 0) {
        fs::write(archive.path().join(name), "nothing is left").unwrap();
    }
    let verified = archive.verify(true);
    assert!(!verified.lost.is_empty());

    let source = archive.copy();
    let options = RepairOptions { source: true, ..RepairOptions::default() };
    let foretold = repaired(&source, &RepairOptions { dry_run: true, ..options }).unwrap();
    let done = repaired(&source, &options).unwrap();
    assert!(done.found > 100 && foretold.found == done.found, "{} and {}", done.found, foretold.found);
    assert!(done.is_whole(), "both snapshots share the photos of the renamed folder: {:?}", done.lost);
    others_are_restored("from the source", &source, &whole.held, &done);

    let copy = archive.copy();
    let other = elsewhere.open();
    let done = repaired(&copy, &RepairOptions { from: Some(&other), ..RepairOptions::default() }).unwrap();
    assert!(done.is_whole());
    assert!(done.steps.iter().all(|(name, remedy)| !name.starts_with("packs/") || *remedy == Remedy::Copy));
    for (name, bytes) in &whole.objects {
        assert!(fs::read(copy.path().join(name)).unwrap() == *bytes, "{name}");
    }

    // Metadata too, and an archive that packs the same differently: chunk by chunk.
    for name in whole.objects.keys().filter(|name| name.starts_with("packs/")) {
        fs::write(archive.path().join(name), "nothing is left").unwrap();
        drop(fs::remove_file(archive.path().join(name.replace("packs", "parity"))));
    }
    let differently = TestArchive::new(&snapkeep::archive::Parameters { pack_size: 1 << 20, ..SMALL });
    let other = differently.open();
    copy_chunks(&elsewhere.open(), &other);
    let done = repaired(&archive, &RepairOptions { from: Some(&other), ..RepairOptions::default() }).unwrap();
    assert!(done.is_whole(), "{:?}", done.lost);
    others_are_restored("chunk by chunk", &archive, &whole.held, &done);
    assert_eq!(archive.verify(true).damage, []);
}

/// What was taken in from the source could never be squeezed, and a dry run called photos lost that lay under another name.
#[test]
fn what_the_source_gives_back_is_as_it_was_stored() {
    let archive = TestArchive::new(&SMALL);
    fs::create_dir(archive.source().join("album")).unwrap();
    for number in 0..4 {
        fs::write(archive.source().join(format!("album/{number}.jpg")), photo(number, 240, 112)).unwrap();
    }
    archive.backup();
    let left = |archive: &TestArchive| {
        let dry = SqueezeOptions { dry_run: true, ..SqueezeOptions::default() };
        squeeze(&archive.open(), &dry, &Heard::default()).unwrap().images_left
    };
    let images = left(&archive);
    assert!(images >= 4);
    fs::rename(archive.source().join("album"), archive.source().join("renamed")).unwrap();
    archive.backup();
    for (name, path) in archive.objects_in("packs/") {
        if fs::read(&path).unwrap()[10] == 0 {
            fs::write(path, "nothing is left").unwrap();
            drop(fs::remove_file(archive.path().join(name.replace("packs", "parity"))));
        }
    }
    let options = RepairOptions { source: true, ..RepairOptions::default() };
    let foretold = repaired(&archive, &RepairOptions { dry_run: true, ..options }).unwrap();
    assert!(foretold.lost.is_empty(), "{:?}", foretold.lost);
    assert!(repaired(&archive, &options).unwrap().is_whole());
    assert_eq!(left(&archive), images);
}

/// Every chunk of one archive into another.
fn copy_chunks(from: &Archive, to: &Archive) {
    let writer = to.writer(Packing::default()).unwrap();
    for (id, len) in from.present_packs(Leftovers::Leave).unwrap() {
        for Row { frame, .. } in read_directory(&**from.store(), &id, len).unwrap().rows {
            let bytes = from.reader().get(frame.kind, &frame.id).unwrap();
            writer.put(&Chunk::new(frame.kind, &bytes), Hint::None).unwrap();
        }
    }
    writer.finish().unwrap();
}

/// What a repair gives up, since it cannot be mended, is stored again by the next backup if the source still has it.
#[test]
fn after_a_repair_the_next_backup_stores_again_what_the_source_still_has() {
    let whole = Whole::new();
    for name in whole.data_pack() {
        let bytes = Random(4).bytes(whole.objects[&name].len());
        fs::write(whole.archive.path().join(name), bytes).unwrap();
    }
    assert!(!whole.archive.verify(true).affected.is_empty());
    let done = repaired(&whole.archive, &RepairOptions::default()).unwrap();
    assert!(!done.lost.is_empty());
    others_are_restored("repaired", &whole.archive, &whole.held, &done);
    whole.archive.backup();
    let found = whole.archive.verify(true);
    assert_eq!((found.damage, found.affected), (vec![], vec![]));
}

/// Damage of every sort at once: mendable, and not.
fn damaged_all_over(whole: &Whole) -> TestArchive {
    let archive = whole.archive.copy();
    let [lost, flipped] = whole.data_pack();
    let [tree, _] = whole.longest("packs/", |bytes| bytes[10] == 1);
    let [segment, _] = whole.longest("segments/", |_| true);
    let [snapshot, other] = whole.longest("snapshots/", |_| true);
    let spoil = |name: &str, bytes: &[u8]| fs::write(archive.path().join(name), bytes).unwrap();
    spoil(&lost, &[&whole.objects[&lost][..20_000], &Random(1).bytes(9000)].concat());
    flip(&archive.path().join(&flipped), 4321);
    spoil(&tree, b"gone");
    spoil(&segment, b"gone");
    spoil(&snapshot, b"");
    spoil(&other.replace("snapshots", &format!("parity/{}", &other[10..12])), b"short");
    spoil("header.copy", b"gone");
    archive
}

#[test]
fn a_repair_that_is_cut_off_anywhere_loses_nothing_and_is_finished_by_the_next() {
    const FOR_EVER: usize = usize::MAX;
    let whole = Whole::new();
    let damaged = damaged_all_over(&whole);
    let before = restorable(&damaged.open(), &whole.held);
    let uncut = damaged.copy();
    let done = repaired(&uncut, &RepairOptions::default()).unwrap();
    assert!(!done.lost.is_empty() && done.left.is_empty());
    let lost: BTreeSet<_> = done.lost.iter().map(|file| (file.snapshot, file.path.clone())).collect();
    let mut cut = 0;
    for from in 0.. {
        let archive = damaged.copy();
        let fault = Fault { from, times: FOR_EVER, only_writes: true, errno: Errno::IO };
        let record = Record::new(Some(fault));
        let opened = Archive::open(record.store(archive.path()), None, Arc::new(|_| {})).unwrap();
        let stopped = repair(&opened, &RepairOptions::default(), &Heard::default());
        drop(opened);
        if record.failed().is_empty() {
            stopped.unwrap();
            break;
        }
        let about = format!("cut at write {from}, {:?}", record.failed()[0]);
        assert_eq!(stopped.unwrap_err().kind(), Kind::Store, "{about}");
        cut += 1;
        let plain = || Archive::open(Arc::new(Local::new(archive.path())), None, Arc::new(|_| {})).unwrap();
        for (before, now) in before.iter().zip(restorable(&plain(), &whole.held)) {
            for (path, bytes) in before {
                assert!(now.get(path) == Some(bytes), "{about}: {} is lost", String::from_utf8_lossy(path));
            }
        }
        let done = repair(&plain(), &RepairOptions::default(), &Heard::default()).unwrap();
        let lost_now = done.lost.iter().map(|file| (file.snapshot, file.path.clone())).collect();
        assert_eq!(lost, lost_now, "{about}");
        assert_eq!(done.left, [], "{about}");
        let litter: Vec<_> = archive.objects().into_keys().filter(|name| name.contains("/.tmp-")).collect();
        assert!(litter.is_empty(), "{about}: {litter:?}");
        let found = archive.verify(true);
        assert_eq!(found.damage, [], "{about}");
        assert_eq!(found.affected, done.lost, "{about}");
    }
    println!("cut at each of {cut} writes");
    assert!(cut > 50, "cut at {cut} writes");
}

#[test]
fn nothing_is_deleted_and_others_are_kept_out() {
    let whole = Whole::new();
    let archive = damaged_all_over(&whole);
    let damaged: BTreeSet<Vec<u8>> = archive
        .objects()
        .into_iter()
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .filter(|(name, bytes)| whole.objects.get(name) != Some(bytes))
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(damaged.len(), 5, "some of them are alike");
    let opened = archive.open();
    let writing = opened.lock_shared().unwrap();
    assert_eq!(repaired(&archive, &RepairOptions::default()).unwrap_err().kind(), Kind::InUse);
    drop(writing);
    let squeezing = opened.rewriter().unwrap();
    assert_eq!(repaired(&archive, &RepairOptions::default()).unwrap_err().kind(), Kind::InUse);
    drop(squeezing);
    repaired(&archive, &RepairOptions::default()).unwrap();
    let kept: BTreeSet<Vec<u8>> =
        archive.objects_in("quarantine/").into_iter().map(|(_, path): (_, PathBuf)| fs::read(path).unwrap()).collect();
    assert!(kept.is_superset(&damaged));
}

/// One wrong bit in every object, both copies of the header among them: `repair` refused to begin.
#[test]
fn a_wrong_bit_in_every_object_at_once_is_mended() {
    let whole = Whole::new();
    let readme = fs::read(whole.archive.path().join("README.txt")).unwrap();
    let mut random = Random(7);
    for turn in 0..4 {
        let archive = whole.archive.copy();
        for (name, bytes) in &whole.objects {
            flip(&archive.path().join(name), random.below(bytes.len() as u64 * 8));
        }
        flip(&archive.path().join("README.txt"), random.below(readme.len() as u64 * 8));
        if turn % 2 == 0 {
            fs::remove_dir_all(archive.cache()).unwrap();
        }
        let restored = restorable(&archive.open(), &whole.held);
        assert!(restored.iter().zip(&whole.held).all(|(found, (_, held))| found == held), "turn {turn}: read as it is");
        let done = repaired(&archive, &RepairOptions::default()).unwrap_or_else(|error| panic!("turn {turn}: {error}"));
        assert!(done.is_whole(), "turn {turn}: {done:?}");
        for (name, bytes) in &whole.objects {
            let made_anew = ["segments/", "derived/"].iter().any(|folder| name.starts_with(folder));
            let now = fs::read(archive.path().join(name)).ok();
            assert!(made_anew || now.as_ref() == Some(bytes), "turn {turn}: {name}");
        }
        assert_eq!(fs::read(archive.path().join("README.txt")).unwrap(), readme, "turn {turn}");
        let found = archive.verify(true);
        assert!(found.damage.is_empty() && found.affected.is_empty(), "turn {turn}: {:?}", found.damage);
        let restored = restorable(&archive.open(), &whole.held);
        assert!(restored.iter().zip(&whole.held).all(|(found, (_, held))| found == held), "turn {turn}");
        archive.backup();
    }
}

/// A text that somebody has written for himself is left alone.
#[test]
fn only_a_damaged_text_is_made_anew() {
    let whole = Whole::new();
    let readme = whole.archive.path().join("README.txt");
    fs::write(&readme, "photos of our children").unwrap();
    assert_eq!(repaired(&whole.archive, &RepairOptions::default()).unwrap().steps, []);
    assert_eq!(fs::read(&readme).unwrap(), b"photos of our children");
    fs::remove_file(&readme).unwrap();
    let done = repaired(&whole.archive, &RepairOptions::default()).unwrap();
    assert_eq!(done.steps, [("README.txt".to_owned(), Remedy::Remake)]);
    assert!(fs::read_to_string(&readme).unwrap().contains("restore latest"));
}
