//! Squeezing: photos take fewer bytes, and nothing else changes, whatever happens meanwhile.

use crate::common;
use crate::common::hooked;
use crate::common::picture;
use crate::common::watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Heard, Random, SMALL, TestArchive, contents, contents_of, flip, options};
use picture::{photo, tag};
use rustix::io::Errno;
use snapkeep::archive::{Archive, Notice, PackInfo, Packing, Parameters, read_directory};
use snapkeep::chunk::Chunk;
use snapkeep::error::{Kind, Result};
use snapkeep::format::{Hint, PackContent};
use snapkeep::id::SnapshotId;
use snapkeep::op::{Event, Squeeze, SqueezeOptions, backup, squeeze};
use snapkeep::store::Local;
use watched::{Fault, Record};

/// Photos in two albums that shrink, one JPEG that nobody can decode, and some text.
fn photos(root: &Path, count: u64) {
    for number in 0..count {
        let album = root.join(format!("album{}", number % 2));
        fs::create_dir_all(&album).unwrap();
        fs::write(album.join(format!("{number}.jpg")), photo(number, 240, 160)).unwrap();
    }
    fs::write(root.join("broken.jpg"), common::jpeg(&mut Random(9), 20_000)).unwrap();
    fs::write(root.join("notes.txt"), "what happened in 2019\n".repeat(100)).unwrap();
}

/// An archive with a snapshot of so many photos.
fn archive_of(count: u64) -> (TestArchive, SnapshotId) {
    let archive = TestArchive::new(&SMALL);
    photos(&archive.source(), count);
    let id = archive.backup();
    (archive, id)
}

fn try_squeeze(archive: &Archive) -> Result<Squeeze> {
    squeeze(archive, &SqueezeOptions::default(), &Heard::default())
}

fn squeezed(archive: &TestArchive) -> Squeeze {
    try_squeeze(&archive.open()).unwrap()
}

/// Names of all objects, and their lengths.
fn listed(archive: &TestArchive) -> BTreeMap<String, u64> {
    archive.objects().into_iter().map(|(name, path)| (name, fs::metadata(path).unwrap().len())).collect()
}

fn names_in(archive: &TestArchive, folder: &str) -> BTreeSet<String> {
    archive.objects_in(folder).into_iter().map(|(name, _)| name.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Bytes of all packs and their recovery data.
fn stored(archive: &TestArchive) -> u64 {
    listed(archive).iter().filter(|(name, _)| name.starts_with("pa")).map(|(_, len)| len).sum()
}

/// The snapshot is as the source is, read with the cache and without one.
fn assert_whole(archive: &TestArchive, id: SnapshotId, source: &Path) {
    let expected = contents(source);
    assert!(contents_of(&archive.open(), id).unwrap() == expected, "with the cache");
    let fresh = archive.open_through(Arc::new(Local::new(archive.path())), &archive.beside("fresh")).unwrap();
    assert!(contents_of(&fresh, id).unwrap() == expected, "without a cache");
    drop(fresh);
    let _ = fs::remove_dir_all(archive.beside("fresh"));
}

/// Every pack has its recovery data and is told of by a segment, and neither exists for packs that are gone.
fn assert_tidy(archive: &TestArchive) {
    let packs = names_in(archive, "packs/");
    let snapshots = names_in(archive, "snapshots/");
    let parity: BTreeSet<String> = names_in(archive, "parity/").difference(&snapshots).cloned().collect();
    assert_eq!(parity, packs, "packs and recovery data");
    let opened = archive.open();
    let mut told: Vec<String> = Vec::new();
    for name in names_in(archive, "segments/") {
        let segment = opened.read_segment(&snapkeep::id::SegmentId::from_hex(&name).unwrap()).unwrap();
        told.extend(segment.packs.iter().map(|pack| pack.id.to_hex()));
    }
    told.sort();
    told.dedup(); // who adds meanwhile may take over a pack and tell of it once more
    assert_eq!(told, packs.into_iter().collect::<Vec<_>>(), "packs and segments");
    archive.assert_no_litter();
}

#[test]
fn photos_take_fewer_bytes_and_nothing_else_changes() {
    let (archive, id) = archive_of(8);
    let (before, size, old) = (listed(&archive), stored(&archive), names_in(&archive, "packs/"));

    let done = squeezed(&archive);
    assert_eq!((done.done.images, done.done.declined, done.left, done.stopped), (8, 1, 0, false));
    assert!(done.done.after < done.done.before / 10 * 9, "{done:?}");
    assert!(stored(&archive) < size / 10 * 9, "from {size} to {}", stored(&archive));

    // Ids are those of content: the snapshot is the same object, and only packs and what belongs to them are new.
    let after = listed(&archive);
    for (name, len) in before.iter().filter(|(name, _)| !name.starts_with("pa") && !name.starts_with("segments")) {
        assert_eq!(after.get(name), Some(len), "{name}");
    }
    let kept = names_in(&archive, "packs/").intersection(&old).count();
    assert!(kept > 0 && kept < old.len(), "packs of text and trees stay: {kept} of {}", old.len());
    assert_whole(&archive, id, &archive.source());
    assert_tidy(&archive);
    assert!(archive.verify(true).damage.is_empty());
    let restored = archive.restore_to(id, "restored");
    common::assert_same(&archive.source(), &restored);
}

#[test]
fn what_was_tried_is_not_rewritten_again() {
    let (archive, _) = archive_of(6);
    squeezed(&archive);
    let after = listed(&archive);
    for lose_cache in [false, true] {
        if lose_cache {
            fs::remove_dir_all(archive.cache()).unwrap();
        }
        let again = squeezed(&archive);
        assert_eq!((again.done.packs, again.done.images, again.left), (0, 0, 0), "cache lost: {lose_cache}");
        assert_eq!(listed(&archive), after, "cache lost: {lose_cache}");
    }
}

/// A pack of nothing but images that recompression declines is left as it is, for good.
#[test]
fn images_that_do_not_shrink_are_left_in_their_packs() {
    let archive = TestArchive::new(&SMALL);
    for number in 0..4 {
        fs::write(archive.source().join(format!("{number}.jpg")), common::jpeg(&mut Random(number), 30_000)).unwrap();
    }
    let id = archive.backup();
    let before = listed(&archive);
    let done = squeezed(&archive);
    assert_eq!((done.done.images, done.done.declined, done.done.packs, done.left), (0, 4, 0, 0));
    assert_eq!(squeezed(&archive).done.declined, 0, "it is known that they were tried");
    fs::remove_dir_all(archive.cache()).unwrap();
    squeezed(&archive);
    assert_eq!(listed(&archive), before);
    assert_whole(&archive, id, &archive.source());
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_is_left() {
    let (archive, _) = archive_of(4);
    let before = listed(&archive);
    let options = SqueezeOptions { dry_run: true, ..SqueezeOptions::default() };
    let found = squeeze(&archive.open(), &options, &Heard::default()).unwrap();
    assert!(found.left > 4 * 8_000 && found.done == Default::default() && !found.stopped, "{found:?}");
    assert_eq!(listed(&archive), before);
    assert_eq!(squeezed(&archive).left, 0);
}

#[test]
fn it_stops_when_told_and_the_next_run_goes_on() {
    let (archive, id) = archive_of(10);
    let no_time = SqueezeOptions { time: Some(Duration::ZERO), ..SqueezeOptions::default() };
    let before = listed(&archive);
    let done = squeeze(&archive.open(), &no_time, &Heard::default()).unwrap();
    assert!(done.stopped && done.done.packs == 0);
    assert_eq!(listed(&archive), before);

    let mut images = 0;
    for run in 1.. {
        let after_one_pack = Heard::calling(|event, stop| {
            if matches!(event, Event::Advance { .. }) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let done = squeeze(&archive.open(), &SqueezeOptions::default(), &after_one_pack).unwrap();
        assert!(done.done.packs <= 1);
        images += done.done.images;
        assert_whole(&archive, id, &archive.source());
        assert_tidy(&archive);
        if !done.stopped {
            assert!(run > 2, "there were several packs to do");
            break;
        }
    }
    assert_eq!(images, 10);
    assert_eq!(squeezed(&archive).left, 0);
}

/// Who opened the archive before, on this computer or on another, knows packs that are gone meanwhile.
#[test]
fn readers_that_began_before_and_other_computers_go_on() {
    let (archive, id) = archive_of(6);
    let store = || Arc::new(Local::new(archive.path()));
    let expected = contents(&archive.source());
    let here = archive.open_through(store(), &archive.beside("reading")).unwrap();
    let there = archive.open_through(store(), &archive.beside("elsewhere")).unwrap();
    drop(there);

    squeezed(&archive);
    assert!(contents_of(&here, id).unwrap() == expected);
    let there = archive.open_through(store(), &archive.beside("elsewhere")).unwrap();
    assert!(contents_of(&there, id).unwrap() == expected);
    let nothing = try_squeeze(&there).unwrap();
    assert_eq!((nothing.done.packs, nothing.left), (0, 0));
    // It also knows all photos again, and stores none of them a second time.
    let again = backup(&there, &options(&[&archive.source()]), &Heard::default()).unwrap();
    assert!(again.summary.added < 2000, "{:?}", again.summary);
}

#[test]
fn backups_that_run_meanwhile_keep_everything() {
    let (archive, first) = archive_of(12);
    common::copy_tree(&archive.source(), &archive.beside("before"));
    photos(&archive.source(), 20);
    let (opened, other) =
        (archive.open(), archive.open_through(Arc::new(Local::new(archive.path())), &archive.beside("other")).unwrap());
    let mut ids = Vec::new();
    std::thread::scope(|scope| {
        let squeezing = scope.spawn(|| try_squeeze(&opened).unwrap());
        for minute in 0..6 {
            let mut asked = options(&[&archive.source()]);
            asked.time = common::after(Duration::from_secs(60 * minute));
            fs::write(archive.source().join("notes.txt"), format!("minute {minute}")).unwrap();
            asked.force = true;
            ids.push((minute, backup(&other, &asked, &Heard::default()).unwrap().id.unwrap()));
        }
        assert!(squeezing.join().unwrap().done.packs > 0);
    });
    for round in ["as it is", "squeezed once more"] {
        let opened = archive.open();
        let mut expected = contents(&archive.source());
        for (minute, id) in &ids {
            expected.insert(b"notes.txt".to_vec(), format!("minute {minute}").into_bytes());
            assert!(contents_of(&opened, *id).unwrap() == expected, "{round}: minute {minute}");
        }
        drop(opened);
        assert_whole(&archive, first, &archive.beside("before"));
        assert!(archive.verify(true).damage.is_empty(), "{round}");
        squeezed(&archive);
    }
    assert_tidy(&archive);
}

#[test]
fn only_one_at_a_time_rewrites() {
    let (archive, _) = archive_of(2);
    let opened = archive.open();
    let held = opened.rewriter().unwrap();
    let error =
        try_squeeze(&archive.open_through(Arc::new(Local::new(archive.path())), &archive.beside("other")).unwrap());
    assert_eq!(error.unwrap_err().kind(), Kind::InUse);
    drop(held);
    assert!(squeezed(&archive).done.packs > 0);
}

#[test]
fn a_damaged_pack_is_named_and_left_alone() {
    let (archive, id) = archive_of(8);
    let whole = archive.copy();
    let opened = archive.open();
    let images: Vec<_> = opened.known_packs().into_iter().filter(|pack| pack.sizes.images_left > 0).collect();
    drop(opened);
    let name = images[1].id.to_hex();
    let (_, path) = archive.objects_in("packs/").into_iter().find(|(found, _)| found.ends_with(&name)).unwrap();
    flip(&path, 8 * 3000);
    let damaged = fs::read(&path).unwrap();

    let done = squeezed(&archive);
    assert!(done.done.packs > 0 && done.left > 0 && !done.stopped);
    let told = archive
        .notices
        .lock()
        .unwrap()
        .iter()
        .any(|notice| matches!(notice, Notice::PassedOver(object, _) if object.ends_with(&name)));
    assert!(told, "the pack is named");
    assert_eq!(fs::read(&path).unwrap(), damaged);
    assert!(names_in(&archive, "parity/").contains(&name), "what could mend it is still there");

    // Once it is mended, its photos are squeezed as well.
    let (_, from) = whole.objects_in("packs/").into_iter().find(|(found, _)| found.ends_with(&name)).unwrap();
    fs::copy(from, &path).unwrap();
    assert_eq!(squeezed(&archive).left, 0);
    assert_whole(&archive, id, &archive.source());
    assert_tidy(&archive);
}

#[test]
fn squeezing_at_once_stores_the_same() {
    let (later, id) = archive_of(6);
    squeezed(&later);
    let at_once = TestArchive::new(&SMALL);
    photos(&at_once.source(), 6);
    let mut asked = options(&[&at_once.source()]);
    asked.packing = Packing { images: true, ..Packing::default() };
    let done = backup(&at_once.open(), &asked, &Heard::default()).unwrap();
    assert_whole(&at_once, done.id.unwrap(), &at_once.source());
    assert!(contents_of(&later.open(), id).unwrap() == contents_of(&at_once.open(), done.id.unwrap()).unwrap());
    let sizes = |archive: &TestArchive| {
        let found = squeezed(archive);
        assert_eq!((found.done.packs, found.left), (0, 0), "nothing is left to do");
        (found.sizes.images_plain, found.sizes.images_stored)
    };
    assert_eq!(sizes(&at_once), sizes(&later));
    assert!(sizes(&later).1 > 0);
}

#[test]
fn a_photo_tagged_after_it_was_squeezed_costs_its_tag() {
    let (archive, _) = archive_of(6);
    squeezed(&archive);
    for rating in [1, 5] {
        for number in 0..6 {
            let path = archive.source().join(format!("album{}/{number}.jpg", number % 2));
            let tagged = tag(&fs::read(&path).unwrap(), rating, &format!("photo {number} at the lake"));
            fs::write(&path, tagged).unwrap();
        }
        let before = stored(&archive);
        let done = archive.try_backup().unwrap();
        assert_eq!(done.summary.changed, 6);
        assert!(done.summary.added < 6 * 4000 + 4000, "{:?}", done.summary);
        assert!(stored(&archive) - before < 6 * 10_000);
        assert_whole(&archive, done.id.unwrap(), &archive.source());
        assert_eq!(squeezed(&archive).done.packs, 0, "no image came back unsqueezed");
    }
}

/// Squeezes through a record, with an index in memory.
fn squeezed_through(archive: &TestArchive, record: &Arc<Record>) -> Result<Squeeze> {
    try_squeeze(&Archive::open(record.store(archive.path()), None, Arc::new(|_| {}))?)
}

/// Fails call after call, until a run meets no fault any more: each time both snapshots are whole, seen without a cache, and
/// the next run, with the cache of before, ends the work.
fn fail_each(fault: impl Fn(usize) -> Fault) -> usize {
    let archive = TestArchive::new(&SMALL);
    let add = |number| fs::write(archive.source().join(format!("{number}.jpg")), photo(number, 240, 112)).unwrap();
    (0..4).for_each(add);
    let mut expected = vec![(archive.backup(), contents(&archive.source()))];
    add(4);
    expected.push((archive.backup(), contents(&archive.source())));
    let mut from = 0;
    loop {
        let broken = archive.copy();
        let record = Record::new(Some(fault(from)));
        let done = squeezed_through(&broken, &record);
        let failed = record.failed();
        let about = format!("call {from}, {:?}: {done:?}", failed.first());
        match &done {
            // One call that fails, of a drive that answers the next, is a bad sector.
            Err(error) if error.kind() == Kind::Damaged => assert!(!failed[0].writes(), "{about}"),
            Err(error) => assert_eq!(error.kind(), Kind::Store, "{about}"),
            Ok(_) => assert!(!failed.iter().any(watched::Call::writes), "a fault was passed over: {about}"),
        }
        let fresh = Archive::open(Arc::new(Local::new(broken.path())), None, Arc::new(|_| {})).unwrap();
        for (id, expected) in &expected {
            assert!(contents_of(&fresh, *id).unwrap() == *expected, "{about}");
        }
        drop(fresh);

        let opened = broken.open();
        let again = try_squeeze(&opened).unwrap();
        assert_eq!((again.left, again.stopped), (0, false), "{about}");
        for (id, expected) in &expected {
            assert!(contents_of(&opened, *id).unwrap() == *expected, "{about}");
        }
        drop(opened);
        assert_tidy(&broken);
        if failed.is_empty() {
            assert_eq!(done.unwrap().left, 0);
            return from;
        }
        from += 1;
    }
}

#[test]
fn a_drive_that_is_unplugged_at_whichever_call_loses_nothing() {
    let calls = fail_each(|from| Fault { from, times: usize::MAX, only_writes: false, errno: Errno::IO });
    assert!(calls > 60, "there were {calls} calls");
}

#[test]
fn a_drive_that_is_full_or_cannot_be_written_loses_nothing() {
    let writes = fail_each(|from| Fault { from, times: usize::MAX, only_writes: true, errno: Errno::NOSPC });
    assert!(writes > 30, "there were {writes} writes");
}

#[test]
fn one_call_that_fails_loses_nothing() {
    let calls = fail_each(|from| Fault { from, times: 1, only_writes: false, errno: Errno::IO });
    assert!(calls > 60, "there were {calls} calls");
}

/// A limit of ten seconds took forty: the clock was asked between packs, of which each has hundreds of photos.
#[test]
fn time_is_asked_for_before_each_image() {
    let archive = TestArchive::new(&Parameters { pack_size: 8 << 20, ..SMALL });
    photos(&archive.source(), 12);
    let id = archive.backup();
    let before = listed(&archive);
    let open = archive.open();
    let todo: Vec<_> = open.known_packs().into_iter().filter(|pack| pack.sizes.count_left > 0).collect();
    assert_eq!(todo.len(), 1, "all of them lie in one pack");
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let in_time = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 6;
    let rewriter = open.rewriter().unwrap();
    let done = rewriter.recompress(&todo, &in_time, &|_| false).unwrap();
    rewriter.tidy_segments().unwrap();
    assert!((1..=6).contains(&done.images) && done.packs == 1, "{done:?}");
    drop(rewriter);
    drop(open);
    assert_whole(&archive, id, &archive.source());
    assert_tidy(&archive);
    // What was done counts, and the rest is done by the next run.
    let more = squeezed(&archive);
    assert_eq!((done.images + more.done.images, more.left), (12, 0));
    assert_whole(&archive, id, &archive.source());
    // Where there is no time at all, nothing is rewritten, and nothing counts as tried.
    let other = TestArchive::new(&Parameters { pack_size: 8 << 20, ..SMALL });
    photos(&other.source(), 12);
    other.backup();
    let open = other.open();
    let todo = open.known_packs();
    let done = open.rewriter().unwrap().recompress(&todo, &|| false, &|_| false).unwrap();
    assert_eq!((done.packs, done.declined), (0, 0));
    drop(open);
    assert_eq!((listed(&other).len(), squeezed(&other).done.images), (before.len(), 12));
}

/// `squeeze -n` told what camera photos usually gain, whatever the archive held, and how long it would take elsewhere.
#[test]
fn what_is_foretold_is_what_comes() {
    let (archive, _) = archive_of(40);
    let before = listed(&archive);
    let dry = SqueezeOptions { dry_run: true, ..SqueezeOptions::default() };
    let found = squeeze(&archive.open(), &dry, &Heard::default()).unwrap();
    let (foretold, time) = found.foretold(SMALL.parity_permille).unwrap();
    assert_eq!(listed(&archive), before);
    let done = squeezed(&archive);
    let saved = done.done.before - done.done.after;
    assert!(foretold.abs_diff(saved) * 10 < saved, "foretold {foretold}, saved {saved}");
    assert!(time > Duration::ZERO);
    // What squeezing says is what the folder of the archive has lost.
    let now: u64 = listed(&archive).values().sum();
    assert_eq!(before.values().sum::<u64>() - now, saved);
    let nothing = squeeze(&archive.open(), &dry, &Heard::default()).unwrap();
    assert_eq!(nothing.foretold(SMALL.parity_permille), None);
}

/// A second restore into the same place unpacked every squeezed photo again, five seconds of work for nothing.
#[test]
fn a_restore_that_finds_its_photos_there_reads_none_of_them() {
    let (archive, id) = archive_of(8);
    squeezed(&archive);
    let data: BTreeSet<String> = archive
        .objects_in("packs/")
        .into_iter()
        .filter(|(_, path)| fs::read(path).unwrap()[10] == 0)
        .map(|(name, _)| name)
        .collect();
    assert!(!data.is_empty());
    let read = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let hook: hooked::Hook = {
        let read = read.clone();
        Arc::new(move |at| {
            if let hooked::At::Read(path, _) = at {
                let name: Vec<_> = path.iter().rev().take(3).map(|part| part.to_str().unwrap().to_owned()).collect();
                read.lock().unwrap().insert(name.into_iter().rev().collect::<Vec<_>>().join("/"));
            }
            Ok(())
        })
    };
    for again in [false, true] {
        let open = archive.open_through(hooked::store(archive.path(), hook.clone()), &archive.cache()).unwrap();
        read.lock().unwrap().clear();
        let done = common::restore_at(&open, Some(id), &archive.beside("out")).unwrap();
        assert!(done.failed.is_empty());
        let packs = read.lock().unwrap().intersection(&data).count();
        assert_eq!(packs == 0, again, "again: {again}, {packs} packs of photos read");
    }
}

/// Previews beside a film were tried, said to be worth squeezing, and not mentioned when they stayed as they were.
#[test]
fn images_whose_pack_would_hardly_shrink_are_told_of() {
    let archive = TestArchive::new(&Parameters { pack_size: 8 << 20, ..SMALL });
    fs::write(archive.source().join("film.mov"), Random(4).bytes(3_000_000)).unwrap();
    fs::write(archive.source().join("film.jpg"), photo(1, 240, 160)).unwrap();
    archive.backup();
    let dry = SqueezeOptions { dry_run: true, ..SqueezeOptions::default() };
    let found = squeeze(&archive.open(), &dry, &Heard::default()).unwrap();
    assert_eq!(found.foretold(SMALL.parity_permille), None, "nothing to gain");
    let done = squeezed(&archive);
    assert_eq!((done.done.images, done.done.not_worth, done.left), (0, 1, 0));
}

/// A backup that goes on while packs are replaced found that they were gone, said that they "cannot be used", and
/// stored all of their photos a second time.
#[test]
fn a_backup_finds_what_took_the_place_of_a_pack_and_says_nothing_of_it() {
    let (archive, _) = archive_of(12);
    let (open, other) = (archive.open(), archive.beside("cache of another computer"));
    let rows: Vec<_> = {
        let packs = open.known_packs();
        let rows = |pack: &PackInfo| read_directory(&**open.store(), &pack.id, pack.len).unwrap().rows;
        packs.iter().flat_map(rows).map(|row| row.frame).collect()
    };
    let writer = open.writer(Packing::default()).unwrap();
    let beside = archive.open_through(Arc::new(Local::new(archive.path())), &other).unwrap();
    assert!(try_squeeze(&beside).unwrap().done.packs > 1);
    archive.notices.lock().unwrap().clear();
    for (number, frame) in rows.iter().enumerate() {
        // In each way in which a backup asks.
        let known = match number % 3 {
            0 => writer.knows(&frame.id).unwrap(),
            1 => writer.seems_to_have(&frame.id).unwrap(),
            _ => {
                let bytes = beside.reader().get(frame.kind, &frame.id).unwrap();
                !writer.put(&Chunk::new(frame.kind, &bytes), Hint::None).unwrap()
            }
        };
        assert!(known, "{:?} {number}", frame.kind);
    }
    assert_eq!(writer.finish().unwrap().chunks, 0, "nothing is stored twice");
    let told = archive.notices.lock().unwrap().clone();
    assert!(!told.iter().any(|one| matches!(one, Notice::PassedOver(..))), "{told:?}");
}

/// A pack that is gone and that nothing has replaced is named all the same, and what it had is stored again.
#[test]
fn a_pack_that_nothing_took_the_place_of_is_missed() {
    let (archive, _) = archive_of(12);
    let open = archive.open();
    let writer = open.writer(Packing::default()).unwrap();
    let packs = open.known_packs();
    let pack = packs.iter().find(|pack| pack.content == PackContent::Data).unwrap();
    let row = read_directory(&**open.store(), &pack.id, pack.len).unwrap().rows[0];
    let bytes = open.reader().get(row.frame.kind, &row.frame.id).unwrap();
    let name = snapkeep::format::names::pack(&pack.id);
    fs::remove_file(archive.path().join(&name)).unwrap();
    archive.notices.lock().unwrap().clear();
    assert!(!writer.knows(&row.frame.id).unwrap());
    assert!(writer.put(&Chunk::new(row.frame.kind, &bytes), Hint::None).unwrap(), "it is stored again");
    let told = archive.notices.lock().unwrap().clone();
    let named = |one: &&Notice| matches!(one, Notice::PassedOver(object, _) if *object == name);
    assert_eq!(told.iter().filter(named).count(), 1, "{told:?}");
}
