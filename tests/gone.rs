//! What is gone and left nothing but its recovery data: it is named, and brought back.

use crate::common;
use crate::common::hooked;
use crate::common::user;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Heard, Known, SMALL, TestArchive, album, contents, contents_of, flip, options};
use hooked::{At, Hook};
use snapkeep::archive::Archive;
use snapkeep::op::{Record, Repair, RepairOptions, Verify, backup, repair};
use user::User;

fn parity(archive: &Path, name: &str) -> PathBuf {
    let id = name.rsplit('/').next().unwrap();
    archive.join(format!("parity/{}/{id}", &id[..2]))
}

fn repaired(archive: &TestArchive) -> Repair {
    repair(&archive.open(), &RepairOptions::default(), &Heard::default()).unwrap()
}

fn damaged(found: &Verify) -> Vec<(&str, bool)> {
    found.damage.iter().map(|damage| (damage.object.as_str(), damage.mendable)).collect()
}

/// A snapshot's file was lost, and `verify` said that everything was there: nothing points at a snapshot.
#[test]
fn a_lost_snapshot_is_named_and_brought_back() {
    for newest in [true, false] {
        let known = Known::new();
        let (id, held) = if newest { known.held.last().unwrap() } else { known.held.first().unwrap() };
        let name = format!("snapshots/{}", id.to_hex());
        fs::remove_file(known.archive.path().join(&name)).unwrap();
        let found = known.archive.verify(false);
        assert_eq!(damaged(&found), [(name.as_str(), true)], "newest: {newest}");
        assert!(found.gone.iter().all(|gone| gone.lost && gone.mendable), "{:?}", found.gone);
        assert!(matches!(&found.gone[0].what, Record::Snapshot(snapshot) if snapshot.host == "here"));
        let done = repaired(&known.archive);
        assert!(done.is_whole() && done.gone.len() == 1, "{done:?}");
        assert!(contents_of(&known.archive.open(), *id).unwrap() == *held);
        assert!(known.archive.verify(true).is_whole());
    }
}

/// A snapshot was lost together with its recovery data, and everything was "there and whole", although this computer had seen
/// it and a later snapshot names it.
#[test]
fn a_snapshot_that_left_nothing_is_missed_by_who_has_seen_it() {
    let known = Known::new();
    let elsewhere = known.copy();
    let (first, _) = known.held[0];
    let name = format!("snapshots/{}", first.to_hex());
    let lose = |archive: &TestArchive| {
        fs::remove_file(archive.path().join(&name)).unwrap();
        fs::remove_file(parity(&archive.path(), &name)).unwrap();
    };
    lose(&known.archive);
    let found = known.archive.verify(false);
    assert!(!found.is_whole());
    assert!(
        matches!(found.gone[..], [ref gone] if gone.what == Record::LostSnapshot(first) && !gone.mendable),
        "{found:?}"
    );
    // Another archive has it.
    let copy = known.copy();
    let open = elsewhere.archive.open();
    let done = repair(
        &copy.archive.open(),
        &RepairOptions { from: Some(&open), ..RepairOptions::default() },
        &Heard::default(),
    );
    assert!(done.unwrap().is_whole() && copy.archive.verify(true).is_whole());
    // Nobody has it: a repair says so, once.
    let done = repaired(&known.archive);
    assert!(!done.is_whole() && done.gone.len() == 1, "{done:?}");
    assert!(known.archive.verify(true).is_whole() && repaired(&known.archive).is_whole());

    // Who has never seen it is told that it may be missing.
    let other = elsewhere.copy();
    lose(&other.archive);
    fs::remove_dir_all(other.archive.cache()).unwrap();
    let found = other.archive.verify(true);
    assert!(found.is_whole());
    assert_eq!(found.orphans, [(known.held[1].0, first)]);
}

/// Another computer has never seen the snapshot; but the one after it took it into account.
#[test]
fn a_gap_in_the_order_tells_that_a_snapshot_is_lost() {
    let known = Known::new();
    fs::remove_file(known.archive.path().join(format!("snapshots/{}", known.held[0].0.to_hex()))).unwrap();
    fs::remove_dir_all(known.archive.cache()).unwrap();
    assert_eq!(known.archive.verify(false).damage.len(), 1);
}

/// A backup that was killed in its last moment leaves the recovery data of a snapshot that never was: no photo is lost by
/// that, and nobody is to be frightened. It is told all the same, and can be had.
#[test]
fn what_was_never_committed_is_no_damage() {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 1);
    archive.backup();
    fs::write(archive.source().join("more"), "one more").unwrap();
    let hook: Hook = Arc::new(|at| match at {
        At::Name(_, to) if to.parent().is_some_and(|folder| folder.ends_with("snapshots")) => Err(hooked::io_error()),
        _ => Ok(()),
    });
    let failing = Archive::open(hooked::store(archive.path(), hook), None, Arc::new(|_| {})).unwrap();
    assert!(backup(&failing, &options(&[&archive.source()]), &Heard::default()).is_err());
    drop(failing);
    for again in [false, true] {
        if again {
            archive.backup(); // it has the same place in the order
        }
        let found = archive.verify(true);
        assert!(found.is_whole() && found.damage.is_empty(), "{:?}", found.damage);
        assert!(matches!(found.gone.as_slice(), [gone] if !gone.lost && gone.mendable), "{:?}", found.gone);
    }
    let done = repaired(&archive);
    assert!(done.is_whole() && done.gone.len() == 1, "{done:?}");
    let open = archive.open();
    assert_eq!(open.snapshots().len(), 3);
    for (id, _) in open.snapshots().iter().skip(1) {
        assert!(contents_of(&open, *id).unwrap() == contents(&archive.source()));
    }
    assert!(archive.verify(true).gone.is_empty());
}

/// A pack of directories was lost along with the segments: only what it costs was told, and not that it can be had back.
#[test]
fn a_pack_that_no_segment_tells_of_is_named_and_brought_back() {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 1);
    let id = archive.backup();
    let is_metadata = |path: &PathBuf| fs::read(path).unwrap()[10] == 1;
    let (name, path) = archive.objects_in("packs/").into_iter().find(|(_, path)| is_metadata(path)).unwrap();
    fs::remove_file(path).unwrap();
    archive.objects_in("segments/").iter().for_each(|(_, path)| fs::remove_file(path).unwrap());
    let found = archive.verify(false);
    assert!(damaged(&found).contains(&(name.as_str(), true)), "{:?}", found.damage);
    assert!(!found.affected.is_empty(), "what is below is not known until then");
    assert!(repaired(&archive).is_whole());
    assert!(contents_of(&archive.open(), id).unwrap() == contents(&archive.source()));
    assert!(archive.verify(true).is_whole());
}

/// Somebody had said that a folder is retired; a bad sector took that, and nobody ever said so.
#[test]
fn what_was_said_of_a_source_is_named_in_words() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    user.done(&["source", "retire", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    let mark = fs::read_dir(archive.join("marks")).unwrap().next().unwrap().unwrap().path();
    let (name, whole) = (format!("marks/{}", mark.file_name().unwrap().to_str().unwrap()), fs::read(&mark).unwrap());
    let pictures = user.path("Pictures").display().to_string();
    let told = format!("{pictures} on laptop is retired");

    fs::remove_file(&mark).unwrap();
    let said = user.snap(&["verify"]);
    assert_eq!(said.code, 14, "{}{}", said.out, said.err);
    assert!(said.out.contains("missing") && said.out.contains(&told), "{}", said.out);
    assert!(user.done(&["repair"]).contains(&told));
    assert_eq!(fs::read(&mark).unwrap(), whole);
    assert!(user.done(&["source", "list"]).contains("retired"));
    user.done(&["verify"]);

    // Both it and its recovery data are damaged: what is legible of it is told, and repairing sets it aside.
    let at = whole.windows(4).position(|bytes| bytes == b"anna").unwrap();
    flip(&mark, at as u64 * 8 + 1);
    fs::remove_file(parity(&archive, &name)).unwrap();
    for command in ["verify", "repair"] {
        let said = user.snap(&[command]);
        assert_eq!(said.code, 14, "{command}: {}{}", said.out, said.err);
        let legible = said.out.lines().any(|line| line.starts_with("lost") && line.contains(&told));
        assert!(legible && said.err.contains("source retire"), "{command}: {}{}", said.out, said.err);
    }
    user.done(&["verify"]);

    // Nothing of it is left but recovery data that are damaged, too.
    user.done(&["source", "retire", "Pictures"]);
    let mark = fs::read_dir(archive.join("marks")).unwrap().next().unwrap().unwrap().path();
    let parity = parity(&archive, mark.to_str().unwrap());
    fs::remove_file(&mark).unwrap();
    let mut bytes = fs::read(&parity).unwrap();
    let len = bytes.len();
    bytes[len / 4..len / 2].fill(0x55);
    fs::write(&parity, bytes).unwrap();
    for command in ["verify", "repair"] {
        let said = user.snap(&[command]);
        assert_eq!(said.code, 14, "{command}: {}{}", said.out, said.err);
        assert!(said.out.contains("its recovery data are damaged, too"), "{command}: {}", said.out);
    }
    user.done(&["verify"]);
}
