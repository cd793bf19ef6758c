//! Objects that are gone or do not belong here: what stays can tell them, is told of, and is repaired.

use crate::common;

use std::collections::BTreeSet;
use std::fs;

use common::{Heard, Known, SMALL, TestArchive, contents_of};
use snapkeep::archive::{Archive, Notice, Packing, Parameters};
use snapkeep::error::Kind;
use snapkeep::op::{Remedy, Repair, RepairOptions, repair};

fn repaired(archive: &TestArchive, dry_run: bool) -> Repair {
    repair(&archive.open(), &RepairOptions { dry_run, ..RepairOptions::default() }, &Heard::default()).unwrap()
}

fn assert_whole(known: &Known) {
    let archive: Archive = known.archive.open();
    for (id, held) in &known.held {
        assert!(contents_of(&archive, *id).unwrap() == *held);
    }
    let found = known.archive.verify(true);
    assert_eq!((found.damage, found.affected, found.untold), Default::default());
}

#[test]
fn segments_that_are_gone_are_written_again_from_the_packs() {
    let known = Known::new();
    for (_, path) in known.archive.objects_in("segments/") {
        fs::remove_file(path).unwrap();
    }
    // One pack has lost its recovery data as well; nobody misses those of a pack that no segment tells of.
    let (name, _) = known.archive.objects_in("packs/").swap_remove(0);
    fs::remove_file(known.archive.path().join(name.replace("packs", "parity"))).unwrap();
    let found = known.archive.verify(true);
    assert_eq!(found.untold.len(), known.archive.objects_in("packs/").len());
    assert_eq!(found.damage, [], "packs tell the same");
    assert_eq!(repaired(&known.archive, true).steps, [("segments".to_owned(), Remedy::Remake)]);
    assert_eq!(known.archive.objects_in("segments/").len(), 0, "a dry run writes nothing");
    let done = repaired(&known.archive, false);
    assert!(done.is_whole() && done.steps.len() == 1, "{done:?}");
    assert_eq!(known.archive.objects_in("segments/").len(), 1);
    assert_whole(&known);
    assert_eq!(repaired(&known.archive, false).steps, []);
}

/// Recovery data of metadata are as long as themselves: they are a second copy.
#[test]
fn directories_that_are_gone_with_their_segments_are_told_by_their_recovery_data() {
    let known = Known::new();
    for (_, path) in known.archive.objects_in("packs/").into_iter().chain(known.archive.objects_in("segments/")) {
        if path.parent().unwrap().ends_with("segments") || fs::read(&path).unwrap()[10] == 1 {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_dir_all(known.archive.cache()).unwrap();
    let found = known.archive.verify(true);
    assert_eq!(found.affected.len(), 2, "both snapshots' top directories: {:?}", found.affected);
    let foretold = repaired(&known.archive, true);
    assert!(foretold.is_whole(), "{:?}", foretold.lost);
    let done = repaired(&known.archive, false);
    assert!(done.is_whole(), "{done:?}");
    assert_eq!(done.steps, foretold.steps);
    assert!(done.steps.iter().any(|(name, remedy)| name.starts_with("packs/") && *remedy == Remedy::Mend));
    assert_whole(&known);
}

#[test]
fn what_can_be_mended_is_counted_apart_from_what_cannot() {
    let known = Known::new();
    let is_data = |path: &std::path::Path| fs::read(path).unwrap()[10] == 0;
    let packs = known.archive.objects_in("packs/");
    let [one, other] = [0, 1].map(|at| packs.iter().filter(|(_, path)| is_data(path)).nth(at).unwrap().clone());
    common::flip(&one.1, 8 * 500);
    fs::remove_file(&other.1).unwrap();
    let found = known.archive.verify(true);
    assert_eq!(found.damaged_objects(), (1, 1));
    let told: BTreeSet<(&str, bool)> =
        found.damage.iter().map(|damage| (damage.object.as_str(), damage.mendable)).collect();
    assert_eq!(told, BTreeSet::from([(one.0.as_str(), true), (other.0.as_str(), false)]));
    // What the flip touched is named and comes back; in both snapshots it is the same photo under two names.
    let touched: BTreeSet<_> = found.mended.iter().map(|file| (file.snapshot, &file.path)).collect();
    let lost: BTreeSet<_> = found.affected.iter().map(|file| (file.snapshot, &file.path)).collect();
    assert!(!touched.is_empty() && !lost.is_empty() && touched.is_disjoint(&lost), "{touched:?} {lost:?}");
    let archive = known.archive.open();
    for (id, held) in &known.held {
        let target = common::quick();
        common::restore_at(&archive, Some(*id), target.path()).unwrap();
        let back = common::contents(&target.path().join("source"));
        for (path, bytes) in held {
            let named = [b"source/", &path[..]].concat();
            assert_eq!(
                back.get(path) == Some(bytes),
                !lost.contains(&(*id, &named)),
                "{}",
                String::from_utf8_lossy(path)
            );
        }
    }
}

/// Somebody has copied the files of two drives into one folder.
#[test]
fn headers_of_two_archives_are_told_and_nothing_is_written_by_either() {
    let known = Known::new();
    let other = TestArchive::new(&Parameters { parity_permille: 0, ..SMALL });
    for name in ["header", "header.copy"] {
        let known = known.copy();
        let path = known.archive.path().join(name);
        fs::copy(other.path().join("header"), &path).unwrap();
        let archive = known.archive.open();
        let told = |notice: &Notice| matches!(notice, Notice::PassedOver(_, why) if why.contains("by mistake"));
        assert!(known.archive.notices.lock().unwrap().iter().any(told), "{name}");
        for (id, held) in &known.held {
            assert!(contents_of(&archive, *id).unwrap() == *held, "{name}: reading needs no header");
        }
        let error = archive.writer(Packing::default()).err().unwrap();
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.to_string().contains(&other.open().header().archive.to_hex()), "{error}");
        drop(archive);
        assert_eq!(known.archive.try_backup().err().unwrap().kind(), Kind::Damaged, "{name}");
        let found = known.archive.verify(false);
        assert_eq!(found.damaged_objects(), (0, 1), "{name}: nobody knows which one to make anew: {:?}", found.damage);
        let done = repaired(&known.archive, false);
        assert!(!done.is_whole() && done.steps.iter().all(|(_, remedy)| *remedy == Remedy::Leave), "{done:?}");
        // Whoever knows takes the wrong one away.
        fs::remove_file(&path).unwrap();
        let done = repaired(&known.archive, false);
        assert!(done.is_whole(), "{done:?}");
        assert_whole(&known);
        known.archive.backup();
    }
}
