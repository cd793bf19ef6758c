//! What is durable when: every file call that a backup makes on the archive, in its order; and what is there after any
//! one of them has failed.

use crate::common;
use crate::common::watched;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Heard, Random, SMALL, TestArchive, album, contents, contents_of, options};
use rustix::io::Errno;
use snapkeep::archive::{Archive, Repairer};
use snapkeep::error::{Kind, Result};
use snapkeep::op::{Backup, backup};
use snapkeep::store::{Local, Put, Store};
use watched::{Call, Fault, Record};

/// Opens an archive through a record, without an index on disk, and backs its source up.
fn backed_up(archive: &TestArchive, record: &Arc<Record>, heard: &Heard) -> Result<Backup> {
    let store = record.store(archive.path());
    let opened = Archive::open(store, None, Arc::new(|_| {}))?;
    backup(&opened, &options(&[&archive.source()]), heard)
}

fn open(archive: &TestArchive) -> Archive {
    Archive::open(Arc::new(Local::new(archive.path())), None, Arc::new(|_| {})).unwrap()
}

/// One object's way onto the drive, as places in the record.
#[derive(Debug)]
struct Written {
    path: PathBuf,
    renamed: usize,
    durable: usize,
}

/// Every object that was written, each by the rules; or which rule was broken.
fn written(calls: &[Call]) -> std::result::Result<Vec<Written>, String> {
    let mut found = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let Call::Create(file, temporary) = call else { continue };
        let of_file = |call: &&Call| match call {
            Call::Append(number) | Call::Sync(number) => number == file,
            Call::Rename(from, _) | Call::Remove(from) => from == temporary,
            _ => false,
        };
        let mut steps = calls[at..].iter().filter(of_file).skip_while(|call| matches!(call, Call::Append(_)));
        let name = temporary.file_name().unwrap().to_str().unwrap();
        if !name.starts_with(".tmp-") {
            return Err(format!("{name} is not a temporary name"));
        }
        if steps.next() != Some(&Call::Sync(*file)) {
            return Err(format!("{name} is not synced before it is renamed"));
        }
        let Some(Call::Rename(_, path)) = steps.next() else { return Err(format!("{name} is not renamed")) };
        if steps.next() != Some(&Call::Sync(*file)) || steps.next().is_some() {
            return Err(format!("{} is not synced once more", path.display()));
        }
        if path.parent() != temporary.parent() {
            return Err(format!("{} came from another folder", path.display()));
        }
        let place = |wanted: &Call, from: usize| {
            let after = calls[from..].iter().position(|call| call == wanted);
            after.map(|after| from + after).ok_or(format!("{wanted:?} is missing"))
        };
        let renamed = place(&Call::Rename(temporary.clone(), path.clone()), at)?;
        let synced = place(&Call::Sync(*file), renamed)?;
        let durable = place(&Call::SyncDir(path.parent().unwrap().to_owned()), synced)?;
        found.push(Written { path: path.clone(), renamed, durable });
    }
    for (at, call) in calls.iter().enumerate() {
        let Call::CreateDir(folder) = call else { continue };
        let above = Call::SyncDir(folder.parent().unwrap().to_owned());
        let synced = calls[at..].iter().position(|call| *call == above).map(|after| at + after);
        let first = found.iter().filter(|object| object.path.starts_with(folder)).map(|object| object.durable).min();
        if synced.is_none() || first.is_some_and(|first| synced > Some(first)) {
            return Err(format!("the folder {} is not made durable", folder.display()));
        }
    }
    Ok(found)
}

/// Whether everything that a snapshot needs is durable before it; or which rule was broken.
fn in_order(root: &Path, calls: &[Call]) -> std::result::Result<(), String> {
    let objects = written(calls)?;
    let of = |folder: &'static str| objects.iter().filter(move |object| object.path.starts_with(root.join(folder)));
    let [snapshot] = of("snapshots").collect::<Vec<_>>()[..] else { return Err("there is not one snapshot".into()) };
    for object in &objects {
        if object.path != snapshot.path && object.durable > snapshot.renamed {
            return Err(format!("{} is not durable before the snapshot", object.path.display()));
        }
    }
    for segment in of("segments") {
        let name = snapshot.path.file_name().unwrap();
        for object in of("packs").chain(of("parity").filter(|parity| parity.path.file_name() != Some(name))) {
            if object.durable > segment.renamed {
                return Err(format!("{} is not durable before the segment", object.path.display()));
            }
        }
    }
    for pack in of("packs") {
        let parity = of("parity").find(|parity| parity.path.file_name() == pack.path.file_name());
        match parity {
            Some(parity) if parity.renamed > pack.renamed => {}
            _ => return Err(format!("{} is not followed by its parity", pack.path.display())),
        }
    }
    if let Some(late) = calls[snapshot.durable + 1..].iter().find(|call| call.writes()) {
        return Err(format!("after the snapshot there is {late:?}"));
    }
    Ok(())
}

#[test]
fn an_object_is_written_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let record = Record::new(None);
    let store = record.store(dir.path());
    assert_eq!(store.put_new("packs/ab/one", &[b"some", b"bytes"]).unwrap(), Put::Written);
    let calls = record.done();
    let folder = dir.path().join("packs/ab");
    let Call::Create(_, temporary) = &calls[4] else { panic!("{calls:?}") };
    let number = 2; // the first attempt found no folder
    let expected = [
        Call::CreateDir(dir.path().join("packs")),
        Call::SyncDir(dir.path().to_owned()),
        Call::CreateDir(folder.clone()),
        Call::SyncDir(dir.path().join("packs")),
        Call::Create(number, temporary.clone()),
        Call::SyncDir(dir.path().parent().unwrap().to_owned()), // whoever made the root may have been killed since
        Call::Append(number),
        Call::Append(number),
        Call::Sync(number),
        Call::Rename(temporary.clone(), folder.join("one")),
        Call::Sync(number),
        Call::SyncDir(folder.clone()),
    ];
    assert_eq!(calls, expected);
    assert_eq!(written(&calls).unwrap().len(), 1);

    // An object that is there already is not touched, but made durable, since who wrote it may not have come so far.
    assert_eq!(store.put_new("packs/ab/one", &[b"somebytes"]).unwrap(), Put::Existed);
    let calls = &record.done()[expected.len()..];
    assert!(calls.iter().any(|call| matches!(call, Call::Remove(path) if path.starts_with(&folder))));
    let opened = calls.iter().rev().find_map(|call| match call {
        Call::Open(number, path) if *path == folder.join("one") => Some(*number),
        _ => None,
    });
    assert_eq!(calls[calls.len() - 2..], [Call::Sync(opened.unwrap()), Call::SyncDir(folder)]);
}

#[test]
fn a_damaged_object_is_replaced_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let record = Record::new(None);
    let store = record.store(dir.path());
    store.put_new("packs/ab/one", &[b"damaged"]).unwrap();
    let before = record.done().len();
    store.replace("packs/ab/one", &[b"whole"]).unwrap();
    let calls = &record.done()[before..];
    let [object] = &written(calls).unwrap()[..] else { panic!("{calls:?}") };
    assert_eq!(object.path, dir.path().join("packs/ab/one"));
    assert!(!calls.iter().any(|call| matches!(call, Call::Remove(_))), "there is one or the other at every moment");
}

/// A tree of several packs of both sorts, backed up into a new archive.
fn recorded() -> (TestArchive, Vec<Call>) {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 1);
    fs::write(archive.source().join("film.mov"), Random(2).bytes(300_000)).unwrap();
    let record = Record::new(None);
    backed_up(&archive, &record, &Heard::default()).unwrap();
    (archive, record.done())
}

#[test]
fn the_snapshot_comes_last_and_everything_it_needs_is_durable_before() {
    let (archive, calls) = recorded();
    in_order(&archive.path(), &calls).unwrap();
    let packs = written(&calls).unwrap();
    assert!(packs.iter().filter(|object| object.path.starts_with(archive.path().join("packs"))).count() > 4);
    for call in &calls {
        let paths: Vec<&PathBuf> = match call {
            Call::Rename(from, to) => vec![from, to],
            Call::Create(_, path) | Call::Remove(path) | Call::CreateDir(path) => vec![path],
            _ => vec![],
        };
        assert!(paths.iter().all(|path| path.starts_with(archive.path())), "outside of the archive: {call:?}");
    }

    // A run that finds nothing new writes the snapshot and its parity, and nothing else.
    let record = Record::new(None);
    let mut again = options(&[&archive.source()]);
    again.time = common::after(std::time::Duration::from_secs(60));
    let opened = Archive::open(record.store(archive.path()), None, Arc::new(|_| {})).unwrap();
    backup(&opened, &again, &Heard::default()).unwrap();
    in_order(&archive.path(), &record.done()).unwrap();
    assert_eq!(written(&record.done()).unwrap().len(), 2);
}

/// The checks above, held against a record in which one sync is missing, or one thing came too late: they must object.
#[test]
fn a_missing_sync_or_another_order_is_seen() {
    let (archive, calls) = recorded();
    let syncs = calls.iter().enumerate().filter(|(_, call)| matches!(call, Call::Sync(_)));
    for (at, _) in syncs {
        let mut fewer = calls.clone();
        fewer.remove(at);
        in_order(&archive.path(), &fewer).unwrap_err();
    }
    // Of folders, another sync of the same folder may serve as well; without any of them, nothing does.
    // What lies above the archive matters only to one whose maker was killed; tests/sim shows that.
    let within = |call: &&Call| matches!(call, Call::SyncDir(folder) if folder.starts_with(archive.path()));
    let folders: Vec<&Call> = calls.iter().filter(within).collect();
    for folder in folders {
        let fewer: Vec<Call> = calls.iter().filter(|call| *call != folder).cloned().collect();
        in_order(&archive.path(), &fewer).unwrap_err();
    }
    let renamed: Vec<usize> = (0..calls.len()).filter(|at| matches!(calls[*at], Call::Rename(..))).collect();
    let (last, others) = renamed.split_last().unwrap();
    for other in others {
        let mut moved = calls.clone();
        let snapshot = moved.remove(*last);
        moved.insert(*other, snapshot);
        in_order(&archive.path(), &moved).unwrap_err();
    }
    let mut late = calls.clone();
    late.push(Call::Remove(archive.path().join("packs/x")));
    in_order(&archive.path(), &late).unwrap_err();
}

#[test]
fn packs_of_an_interrupted_run_are_made_durable_before_they_count() {
    let (archive, _) = recorded();
    for folder in ["segments", "snapshots"] {
        fs::remove_dir_all(archive.path().join(folder)).unwrap();
    }
    let record = Record::new(None);
    backed_up(&archive, &record, &Heard::default()).unwrap();
    let calls = record.done();
    in_order(&archive.path(), &calls).unwrap();
    let segment =
        written(&calls).unwrap().into_iter().find(|object| object.path.starts_with(archive.path().join("segments")));
    let before = &calls[..segment.expect("the packs are told of").renamed];
    let opened: HashMap<usize, &PathBuf> = before
        .iter()
        .filter_map(|call| match call {
            Call::Open(number, path) => Some((*number, path)),
            _ => None,
        })
        .collect();
    for (name, path) in archive.objects_in("packs/") {
        let synced =
            before.iter().position(|call| matches!(call, Call::Sync(file) if opened.get(file) == Some(&&path)));
        let synced = synced.unwrap_or_else(|| panic!("{name} is not synced"));
        assert!(before[synced..].contains(&Call::SyncDir(path.parent().unwrap().to_owned())), "{name}");
    }
}

/// What is damaged lies in quarantine, durably, before anything takes its place; what was whole in a pack lies in another
/// one, with parity and a segment, before the pack is taken away.
#[test]
fn a_repair_takes_nothing_away_before_its_copy_is_durable() {
    let (archive, _) = recorded();
    let mut data: Vec<_> = archive.objects_in("packs/").into_iter().collect();
    data.retain(|(_, path)| fs::read(path).unwrap()[10] == 0);
    data.sort_by_key(|(_, path)| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    let (mended, hopeless) = (&data[0].1, &data[1].1);
    common::flip(mended, 99_999);
    let mut bytes = fs::read(hopeless).unwrap();
    bytes[..30_000].fill(0);
    fs::write(hopeless, bytes).unwrap();
    let record = Record::new(None);
    let opened = Archive::open(record.store(archive.path()), None, Arc::new(|_| {})).unwrap();
    let done = snapkeep::op::repair(&opened, &snapkeep::op::RepairOptions::default(), &Heard::default()).unwrap();
    assert_eq!(done.steps.len(), 2);

    let calls = record.done();
    let objects = written(&calls).unwrap();
    let kept = |path: &Path| {
        let place = archive.path().join("quarantine").join(path.strip_prefix(archive.path()).unwrap());
        objects.iter().find(|object| object.path == place).expect("it is kept").durable
    };
    let put = objects.iter().find(|object| object.path == *mended).expect("it is put in its place");
    assert!(kept(mended) < put.renamed);
    let removed = |call: &Call| matches!(call, Call::Remove(path) if path == hopeless);
    let removed = calls.iter().position(removed).expect("it is taken away");
    assert!(kept(hopeless) < removed);
    for folder in ["packs", "parity", "segments"] {
        let new = objects.iter().filter(|object| object.path.starts_with(archive.path().join(folder)));
        let new: Vec<_> = new.filter(|object| object.path != *mended).collect();
        let first = new.iter().map(|object| object.durable).min().expect("there is a new one");
        assert!(first < removed, "{folder}");
    }
    for call in &calls {
        let Call::Remove(path) = call else { continue };
        assert!(
            archive.path().join("quarantine").join(path.strip_prefix(archive.path()).unwrap()).exists(),
            "{call:?}"
        );
    }
}

/// An archive with a snapshot, whose source has changed since, and what an interrupted run left in it.
fn half_way() -> (TestArchive, snapkeep::id::SnapshotId) {
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    fs::create_dir(source.join("old")).unwrap();
    fs::write(source.join("old/photo"), Random(3).bytes(9000)).unwrap();
    let first = archive.backup();
    plain(&archive);
    fs::write(source.join("new"), Random(4).bytes(80_000)).unwrap();
    fs::write(source.join("old/note"), "changed").unwrap();
    fs::create_dir_all(archive.path().join("packs/00")).unwrap();
    fs::write(archive.path().join("packs/00/.tmp-0123456789abcdef"), "half").unwrap();
    (archive, first)
}

/// Keeps a copy of the source as it is now.
fn plain(archive: &TestArchive) {
    common::copy_tree(&archive.source(), &archive.beside("before"));
}

/// Fails call after call, until a run meets no fault any more, and looks after each what is there.
fn fail_each(fault: impl Fn(usize) -> Fault, may_recover: bool) -> usize {
    let (archive, first) = half_way();
    let mut from = 0;
    loop {
        let damaged = archive.copy();
        let record = Record::new(Some(fault(from)));
        let heard = Heard::default();
        let done = backed_up(&damaged, &record, &heard);
        let failed = record.failed();
        let about = || format!("call {from}, {:?}: {done:?}", failed.first());
        assert!(heard.trouble.lock().unwrap().is_empty(), "a photo was blamed: {}", about());
        assert!(!heard_stop(&heard));

        if failed.is_empty() {
            assert!(done.is_ok(), "{}", about());
            return from;
        }
        let snapshots = open(&damaged).snapshots();
        match &done {
            Ok(done) => {
                // If a drive goes for good and not one write failed, everything was durable before.
                let late = !failed.iter().any(Call::writes);
                assert!((may_recover || late) && !failed.iter().any(must_fail), "a fault was passed over: {}", about());
                assert!(done.unread.is_empty());
                assert_eq!(snapshots.len(), 2);
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Store, "{}", about());
                let cause = snapkeep::error::words_of(&std::io::Error::from(fault(from).errno));
                assert!(error.to_string().contains(&cause), "the cause is not told: {}", about());
                let renamed = |call: &Call| matches!(call, Call::Rename(_, to) if to.starts_with(damaged.path().join("snapshots")));
                assert_eq!(snapshots.len() > 1, record.done().iter().any(renamed), "{}", about());
            }
        }
        never_synced_again(&record);

        // Whatever is there is whole; the next run finishes the work and tidies up.
        let opened = open(&damaged);
        for (id, _) in &snapshots {
            let as_it_was = if *id == first { damaged.beside("before") } else { damaged.source() };
            assert_eq!(contents_of(&opened, *id).unwrap(), contents(&as_it_was), "{}", about());
        }
        drop(opened);
        let again = backed_up(&damaged, &Record::new(None), &Heard::default()).unwrap();
        damaged.assert_no_litter();
        let opened = open(&damaged);
        assert_eq!(contents_of(&opened, first).unwrap(), contents(&damaged.beside("before")), "{}", about());
        assert_eq!(contents_of(&opened, again.id.unwrap()).unwrap(), contents(&damaged.source()), "{}", about());
        from += 1;
    }
}

fn heard_stop(heard: &Heard) -> bool {
    use snapkeep::op::Observer;
    heard.stop().load(Ordering::Relaxed)
}

/// Reading may be tried again in another way; a write that failed has failed.
fn must_fail(call: &Call) -> bool {
    call.writes()
}

/// After a sync that failed, a second one may report success for data that the first one lost.
fn never_synced_again(record: &Record) {
    let calls = record.calls.lock().unwrap();
    for (at, (call, well)) in calls.iter().enumerate() {
        let Call::Sync(file) = call else { continue };
        let again =
            |(later, _): &(Call, bool)| matches!(later, Call::Sync(number) | Call::Append(number) if number == file);
        assert!(*well || !calls[at + 1..].iter().any(again), "file {file} was used again after a failed sync");
    }
}

const FOR_EVER: usize = usize::MAX;

#[test]
fn a_full_drive_fails_the_run_at_whichever_write() {
    let fault = |from| Fault { from, times: FOR_EVER, only_writes: true, errno: Errno::NOSPC };
    let writes = fail_each(fault, false);
    assert!(writes > 40, "there were {writes} writes");
}

#[test]
fn an_unplugged_drive_fails_the_run_at_whichever_call() {
    let fault = |from| Fault { from, times: FOR_EVER, only_writes: false, errno: Errno::IO };
    let calls = fail_each(fault, false);
    assert!(calls > 80, "there were {calls} calls");
}

/// borg PR #9853: a write that failed once was booked as an unreadable photo, and the run reported success.
#[test]
fn one_bad_call_is_never_taken_for_success_or_for_a_bad_photo() {
    let fault = |from| Fault { from, times: 1, only_writes: false, errno: Errno::IO };
    let calls = fail_each(fault, true);
    assert!(calls > 80, "there were {calls} calls");
}

/// Many threads hear of one failure; whichever of them ends the run, the user must be told that the drive is full.
#[test]
fn the_cause_of_a_failure_is_told_whoever_hears_of_it_first() {
    let archive = TestArchive::new(&SMALL);
    for album in 0..30 {
        fs::create_dir(archive.source().join(album.to_string())).unwrap();
        for photo in 0..10 {
            let bytes = Random(album * 10 + photo).bytes(20_000);
            fs::write(archive.source().join(format!("{album}/{photo}")), bytes).unwrap();
        }
    }
    for from in 10..40 {
        let fault = Fault { from, times: FOR_EVER, only_writes: true, errno: Errno::NOSPC };
        let error = backed_up(&archive, &Record::new(Some(fault)), &Heard::default()).unwrap_err();
        let cause = error.io().map(std::io::Error::kind);
        assert_eq!(cause, Some(std::io::ErrorKind::StorageFull), "at write {from}: {error}");
    }
}

#[test]
fn making_an_archive_that_fails_leaves_a_place_where_one_can_be_made() {
    for from in 0.. {
        let archive = TestArchive::unmade();
        let record = Record::new(Some(Fault { from, times: FOR_EVER, only_writes: false, errno: Errno::NOSPC }));
        let made = Archive::create(&*record.store(archive.path()), &SMALL, 0);
        if record.failed().is_empty() {
            made.unwrap();
            assert!(from > 10);
            break;
        }
        assert_eq!(made.unwrap_err().kind(), Kind::Store);
        let store = Local::new(archive.path());
        match archive.try_open() {
            // A header that became whole is an archive, though an empty one.
            Ok(opened) => assert!(opened.snapshots().is_empty()),
            Err(error) => {
                assert_eq!(error.kind(), Kind::NoArchive, "at call {from}: {error}");
                Archive::create(&store, &SMALL, 0).unwrap();
            }
        }
        fs::write(archive.source().join("photo"), "x").unwrap();
        archive.backup();
        assert!(!Repairer::lacks_readme(&archive.open()).unwrap(), "at call {from}: its text names this archive");
    }
}
