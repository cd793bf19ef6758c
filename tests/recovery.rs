//! What is lost or interrupted, and what serves instead: the index, segments, directories of packs, a copy of the header,
//! a run that was stopped, a machine that died.

use crate::common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Heard, Known, Random, SMALL, TestArchive, album, contents, contents_of, flip, options, restore_at};
use snapkeep::archive::{Archive, Notice, Parameters};
use snapkeep::error::{Error, Kind};
use snapkeep::id::SnapshotId;
use snapkeep::op::{Action, Backup, Event, RepairOptions, backup, repair};
use snapkeep::store::Local;

impl Known {
    /// The archive gives the answers that it always gave: to a reader, and to one who restores.
    fn answers(&self, about: &str) {
        let archive = self.archive.try_open().unwrap_or_else(|error| panic!("{about}: {error}"));
        let ids: Vec<SnapshotId> = archive.snapshots().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, self.held.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "{about}");
        for (id, held) in &self.held {
            let found = contents_of(&archive, *id).unwrap_or_else(|error| panic!("{about}: {error}"));
            assert!(found == *held, "{about}: another tree");
        }
        let target = common::quick();
        let done = restore_at(&archive, None, target.path()).unwrap();
        assert!(done.failed.is_empty(), "{about}: {:?}", done.failed);
        assert!(contents(&target.path().join("source")) == self.held[1].1, "{about}: restored another tree");
    }

    /// And the next run stores no photo again. (In a copy files have other numbers, so there are new pages of directories.)
    fn goes_on(&self, about: &str) {
        let done = self.archive.try_backup().unwrap_or_else(|error| panic!("{about}: {error}"));
        assert!(done.summary.added < 5000, "{about}: {} bytes were stored again", done.summary.added);
        let found = contents_of(&self.archive.open(), done.id.unwrap()).unwrap();
        assert!(found == self.held[1].1, "{about}: the new snapshot holds another tree");
    }

    fn index(&self) -> PathBuf {
        let [folder] = fs::read_dir(self.archive.cache()).unwrap().collect::<Vec<_>>().try_into().unwrap();
        // Beside it lies what says that it is a cache.
        let places = fs::read_dir(folder.unwrap().path()).unwrap().map(|place| place.unwrap().path());
        let [place] = places.filter(|place| place.is_dir()).collect::<Vec<_>>().try_into().unwrap();
        place.join("index.redb")
    }

    fn told(&self, what: impl Fn(&Notice) -> bool) -> bool {
        self.archive.notices.lock().unwrap().iter().any(what)
    }
}

#[test]
fn without_its_index_an_archive_gives_the_same_answers() {
    let known = Known::new();
    known.answers("untouched");
    fs::remove_dir_all(known.archive.cache()).unwrap();
    known.answers("without a cache");
    assert!(known.told(|notice| matches!(notice, Notice::IndexRebuilt(_))));
    assert!(known.index().exists());
    known.goes_on("without a cache");
}

/// borg #1195: a power cut left an index of 0 bytes, and every command failed until somebody deleted it.
#[test]
fn whatever_the_index_has_become_the_answers_are_the_same() {
    let known = Known::new();
    let len = fs::metadata(known.index()).unwrap().len() as usize;
    let whole = fs::read(known.index()).unwrap();
    let become_: [(&str, Vec<u8>); 6] = [
        ("empty", vec![]),
        ("short", whole[..100].to_vec()),
        ("half", whole[..len / 2].to_vec()),
        ("garbage", Random(5).bytes(len)),
        ("zeros", vec![0; len]),
        ("a head and garbage", [&whole[..4096], &Random(6).bytes(len - 4096)].concat()),
    ];
    for (how, bytes) in become_ {
        fs::write(known.index(), bytes).unwrap();
        known.answers(how);
        known.goes_on_in_a_copy(how);
    }
    // A folder is in the way: there is no place for an index, so it is kept in memory.
    fs::remove_file(known.index()).unwrap();
    fs::create_dir(known.index()).unwrap();
    known.answers("a folder");
    assert!(known.told(|notice| *notice == Notice::IndexInMemory));
}

impl Known {
    fn goes_on_in_a_copy(&self, about: &str) {
        self.copy().goes_on(about);
    }
}

#[test]
fn a_flipped_bit_in_the_index_changes_no_answer() {
    let known = Known::new();
    let whole = fs::read(known.index()).unwrap();
    // Where there is something at all, and not only room.
    let used: Vec<u64> = (0..whole.len() as u64).filter(|at| whole[*at as usize] != 0).collect();
    let mut random = Random(7);
    for turn in 0..200 {
        let byte = if turn % 4 == 0 {
            random.below(whole.len() as u64)
        } else {
            used[random.below(used.len() as u64) as usize]
        };
        let bit = byte * 8 + random.below(8);
        fs::write(known.index(), &whole).unwrap();
        flip(&known.index(), bit);
        let about = format!("bit {bit} flipped");
        known.answers(&about);
        if turn % 5 == 0 {
            let copy = known.copy();
            fs::write(copy.index(), &whole).unwrap();
            flip(&copy.index(), bit);
            let done = copy.archive.try_backup().unwrap_or_else(|error| panic!("{about}: {error}"));
            let found = contents_of(&copy.archive.open(), done.id.unwrap()).unwrap();
            assert!(found == known.held[1].1, "{about}: the new snapshot holds another tree");
        }
    }
}

/// The disk that the cache lies on is full, as it may well be when somebody restores onto it.
#[test]
fn a_full_cache_keeps_nobody_from_restoring() {
    if !common::is_root("a full cache") {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    fs::write(archive.source().join("film.mov"), Random(1).bytes(20 << 20)).unwrap();
    let id = archive.backup();
    let small = archive.beside("small");
    fs::create_dir(&small).unwrap();
    for room in ["1k", "300k", "600k", "1100k", "1300k"] {
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={room}"), "none"])
            .arg(&small)
            .output();
        if !mount.is_ok_and(|done| done.status.success()) {
            eprintln!("SKIPPED: nothing can be mounted here, so a full cache was NOT tested");
            return;
        }
        for _ in 0..2 {
            let opened = archive.open_through(Arc::new(Local::new(archive.path())), &small);
            let held = opened.and_then(|archive| contents_of(&archive, id));
            let done = beside(&archive, &archive.source(), "small", &Heard::default());
            // First of all nothing stays mounted.
            if held.is_err() || done.is_err() {
                common::run(std::process::Command::new("umount").arg("-l").arg(&small));
            }
            assert!(held.unwrap() == contents(&archive.source()), "{room}");
            assert!(done.unwrap().summary.added < 5000, "{room}");
        }
        common::run(std::process::Command::new("umount").arg("-l").arg(&small));
    }
    // Nor is a run in vain that could not tell its index.
    assert!(archive.verify(true).damage.is_empty());
}

/// A bit in the index's copy of a snapshot made the snapshot vanish from the list, or lead to a tree that was never there.
#[test]
fn the_index_cannot_show_another_snapshot() {
    let known = Known::new();
    let whole = fs::read(known.index()).unwrap();
    for (_, path) in known.archive.objects_in("snapshots/") {
        let snapshot = fs::read(path).unwrap();
        let copies = whole.windows(snapshot.len()).enumerate().filter(|(_, window)| *window == snapshot);
        let places: Vec<usize> = copies.map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "it is in the index");
        for place in places {
            for bit in (0..snapshot.len() * 8).step_by(61) {
                fs::write(known.index(), &whole).unwrap();
                flip(&known.index(), (place * 8 + bit) as u64);
                known.answers(&format!("bit {bit} of a snapshot flipped"));
            }
        }
    }
}

#[test]
fn without_segments_the_packs_tell_what_they_hold() {
    for cache_too in [true, false] {
        let known = Known::new();
        fs::remove_dir_all(known.archive.path().join("segments")).unwrap();
        if cache_too {
            fs::remove_dir_all(known.archive.cache()).unwrap();
        }
        known.answers("without segments");
        known.goes_on("without segments");
        assert_eq!(known.archive.objects_in("segments/").len(), 1, "and are told of again");
        let found = known.archive.verify(true);
        assert!(found.damage.is_empty() && found.affected.is_empty(), "{:?}", found.damage);
    }
}

/// perkeep #1068: a way to recover that did not recover, since nobody had tried it.
#[test]
fn without_segments_and_directories_the_frames_are_found() {
    for (how, damage) in [
        ("the trailer is garbage", (|bytes| bytes.len() - 48..bytes.len()) as fn(&[u8]) -> std::ops::Range<usize>),
        ("the directory's hash is wrong", |bytes| bytes.len() - 1..bytes.len()),
        ("the last row is wrong", |bytes| bytes.len() - 96..bytes.len() - 95),
    ] {
        let known = Known::new();
        let packs = known.archive.objects_in("packs/");
        assert!(packs.len() > 5);
        for (_, path) in packs {
            let mut bytes = fs::read(&path).unwrap();
            let range = damage(&bytes);
            bytes[range].iter_mut().for_each(|byte| *byte ^= 0x5A);
            fs::write(path, bytes).unwrap();
        }
        known.answers(how);
        fs::remove_dir_all(known.archive.path().join("segments")).unwrap();
        fs::remove_dir_all(known.archive.cache()).unwrap();
        known.answers(how);
        known.goes_on_in_a_copy(how);
        let found = known.archive.verify(true);
        assert_eq!(found.affected, [], "{how}");
        let damaged: BTreeSet<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
        assert_eq!(damaged.len(), known.archive.objects_in("packs/").len(), "{how}: {damaged:?}");
    }
}

/// A frame is lost as well, so the rows that are found have a gap. What is written then must be readable afterwards.
#[test]
fn a_pack_with_a_lost_directory_and_a_lost_frame_spoils_nothing_else() {
    let known = Known::new();
    fs::remove_dir_all(known.archive.path().join("segments")).unwrap();
    fs::remove_dir_all(known.archive.cache()).unwrap();
    let longest =
        known.archive.objects_in("packs/").into_iter().max_by_key(|(_, path)| fs::metadata(path).unwrap().len());
    let (name, path) = longest.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 48..].fill(0);
    let third = bytes.windows(4).enumerate().filter(|(_, four)| *four == b"\xF5frm").nth(2).unwrap().0;
    bytes[third] = 0;
    fs::write(&path, bytes).unwrap();

    for photo in ["2020/added.jpg", "added.jpg", "nineteen/added.jpg"] {
        fs::write(known.archive.source().join(photo), Random(11).bytes(3000)).unwrap();
    }
    let done = known.archive.try_backup().unwrap();
    assert!(done.summary.added > 3000 && done.unread.is_empty());
    let found = contents_of(&known.archive.open(), done.id.unwrap()).unwrap();
    assert!(found == contents(&known.archive.source()), "what was lost was read from the source again");
    let found = known.archive.verify(true);
    let damaged: BTreeSet<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
    assert_eq!(damaged, BTreeSet::from([name.as_str()]), "{:?}", found.damage);
    assert!(found.affected.is_empty(), "{:?}", found.affected);
}

#[test]
fn one_copy_of_the_header_is_enough_and_none_is_told_clearly() {
    let known = Known::new();
    for name in ["header", "header.copy"] {
        for (how, bytes) in [("missing", None), ("empty", Some(vec![])), ("garbage", Some(Random(8).bytes(96)))] {
            let known = known.copy();
            let path = known.archive.path().join(name);
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            known.answers(how);
            assert!(
                known.told(|notice| matches!(notice, Notice::PassedOver(object, _) if object == name)),
                "{how} {name}"
            );
            known.goes_on(how);
        }
    }
}

/// With both copies of the header damaged or lost nothing could be read, and `repair` refused, too, and sent people to `verify`.
#[test]
fn without_any_header_an_archive_is_read_and_a_repair_makes_it_usable_again() {
    type Loss = fn(&Path);
    let both = |root: &Path, what: &dyn Fn(PathBuf)| ["header", "header.copy"].map(|name| what(root.join(name)));
    let losses: [(&str, Loss); 5] = [
        ("missing", |root| ["header", "header.copy"].iter().for_each(|name| fs::remove_file(root.join(name)).unwrap())),
        ("empty", |root| ["header", "header.copy"].iter().for_each(|name| fs::write(root.join(name), "").unwrap())),
        ("garbage", |root| {
            ["header", "header.copy"].iter().for_each(|name| fs::write(root.join(name), Random(1).bytes(768)).unwrap());
        }),
        ("gone with the folder's text", |root| {
            ["header", "header.copy", "README.txt"].iter().for_each(|name| fs::remove_file(root.join(name)).unwrap());
        }),
        ("one missing, one damaged", |root| {
            fs::remove_file(root.join("header")).unwrap();
            fs::write(root.join("header.copy"), "rubbish").unwrap();
        }),
    ];
    let known = Known::new();
    let header = known.archive.open().header().clone();
    let mut made_up = Vec::new();
    for (how, loss) in losses {
        for keep_cache in [true, false] {
            let known = known.copy();
            loss(&known.archive.path());
            if !keep_cache {
                fs::remove_dir_all(known.archive.cache()).unwrap();
            }
            known.answers(how);
            assert!(known.told(|notice| matches!(notice, Notice::PassedOver(name, _) if name == "header")), "{how}");
            let error = known.archive.try_backup().expect_err("nothing is written");
            assert_eq!(error.kind(), Kind::Damaged, "{how}: {error}");
            assert!(error.to_string().contains("repair"), "{how}: {error}");
            let again = Archive::create(&Local::new(known.archive.path()), &SMALL, 5);
            assert_eq!(again.unwrap_err().kind(), Kind::Exists, "{how}: no other archive is made over it");
            let done = repair(&known.archive.open(), &RepairOptions::default(), &Heard::default()).unwrap();
            assert!(done.is_whole(), "{how}: {done:?}");
            let now = known.archive.open().header().clone();
            if how.contains("text") {
                assert_eq!(now.chunker, Parameters::default().chunker);
                made_up.push(now.archive);
            } else {
                assert_eq!(now, header, "{how}: the text has told");
            }
            known.archive.notices.lock().unwrap().clear();
            known.answers(how);
            assert!(!known.told(|notice| matches!(notice, Notice::PassedOver(..))), "{how}");
            assert_eq!(known.archive.verify(true).damage, [], "{how}");
            known.archive.try_backup().unwrap_or_else(|error| panic!("{how}: {error}"));
            let id = known.archive.backup();
            assert!(contents_of(&known.archive.open(), id).unwrap() == known.held[1].1, "{how}");
        }
    }
    both(&known.archive.path(), &|path| assert!(path.exists()));
    assert!(
        made_up.len() == 2 && made_up[0] == made_up[1] && made_up[0] != header.archive,
        "every copy gets the same id"
    );
}

#[test]
fn where_nothing_is_there_is_no_archive() {
    let archive = TestArchive::unmade();
    assert_eq!(error(archive.try_open()).kind(), Kind::NoArchive);
    fs::create_dir(archive.path()).unwrap();
    assert_eq!(error(archive.try_open()).kind(), Kind::NoArchive);
    fs::write(archive.path().join("header"), "rubbish").unwrap();
    let error = error(archive.try_open());
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(
        error.to_string().contains("header") && error.to_string().contains(archive.path().to_str().unwrap()),
        "{error}"
    );
}

fn error<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => error,
    }
}

/// A source of many files, of which each is new.
fn many(root: &Path, files: u64) {
    for file in 0..files {
        fs::write(root.join(format!("{file}.jpg")), Random(file).bytes(20_000)).unwrap();
    }
}

#[test]
fn an_interrupted_run_leaves_no_snapshot_and_is_not_in_vain() {
    let archive = TestArchive::new(&SMALL);
    many(&archive.source(), 40);
    let opened = archive.open();
    let error = error(backup(&opened, &options(&[&archive.source()]), &common::stopping_after(15)));
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(opened.snapshots().is_empty() && archive.objects_in("snapshots/").is_empty());
    drop(opened);
    archive.assert_no_litter();

    let done = archive.try_backup().unwrap();
    let rest = done.summary.added;
    assert!(rest > 0 && rest < 30 * 20_000, "only the rest is stored, not {rest} bytes");
    assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&archive.source()));
    assert!(archive.verify(true).damage.is_empty());
}

/// A machine that died: packs are there, and a half one, but no segment tells of them and some have no parity.
#[test]
fn what_a_dead_machine_left_is_taken_into_use() {
    let archive = TestArchive::new(&SMALL);
    many(&archive.source(), 40);
    let opened = archive.open();
    let stopped = backup(&opened, &options(&[&archive.source()]), &common::stopping_after(30));
    assert_eq!(error(stopped).kind(), Kind::Interrupted);
    drop(opened);
    let dead = archive.copy();
    fs::remove_dir_all(dead.path().join("segments")).unwrap();
    fs::remove_dir_all(dead.cache()).unwrap();
    let parity = dead.objects_in("parity/");
    fs::remove_file(&parity[0].1).unwrap();
    fs::write(parity[1].1.parent().unwrap().join(".tmp-00112233445566ff"), "half").unwrap();
    fs::write(dead.path().join("packs/.tmp-8899aabbccddeeff"), "half").unwrap();

    let done = dead.try_backup().unwrap();
    assert!(done.summary.added < 15 * 20_000, "only the rest is stored, not {} bytes", done.summary.added);
    dead.assert_no_litter();
    assert!(parity.iter().all(|(_, path)| path.exists()), "the parity that was missing is made");
    let found = dead.verify(true);
    assert!(found.damage.is_empty() && found.affected.is_empty(), "{:?}", found.damage);
    assert!(contents_of(&dead.open(), done.id.unwrap()).unwrap() == contents(&dead.source()));
    assert_eq!(dead.try_backup().unwrap().summary.added, 0);
}

/// Backs up a folder of an archive's, with a cache of its own or not.
fn beside(archive: &TestArchive, source: &Path, cache: &str, heard: &Heard) -> Result<Backup, Error> {
    let store = Arc::new(Local::new(archive.path()));
    let opened = archive.open_through(store, &archive.beside(cache))?;
    backup(&opened, &options(&[source]), heard)
}

#[test]
fn two_who_back_up_at_once_both_succeed() {
    for (turn, caches) in [["cache", "cache"], ["cache", "another"]].into_iter().cycle().take(8).enumerate() {
        let archive = TestArchive::new(&SMALL);
        let sources = ["one/source", "two/source"].map(|name| archive.beside(name));
        for (number, source) in sources.iter().enumerate() {
            fs::create_dir_all(source).unwrap();
            many(source, 20);
            fs::write(source.join("own"), Random(99 + number as u64).bytes(100_000)).unwrap();
        }
        let together = std::sync::Barrier::new(2);
        let done: Vec<_> = std::thread::scope(|scope| {
            let run = |number: usize| {
                together.wait();
                beside(&archive, &sources[number], caches[number], &Heard::default())
            };
            let threads: Vec<_> = (0..2).map(|number| scope.spawn(move || run(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let opened = archive.open();
        for (done, source) in done.into_iter().zip(&sources) {
            let done = done.unwrap_or_else(|error| panic!("turn {turn}: {error}"));
            assert!(contents_of(&opened, done.id.unwrap()).unwrap() == contents(source));
        }
        let found = archive.verify(true);
        assert!(found.damage.is_empty() && found.affected.is_empty(), "{:?}", found.damage);
        assert_eq!(found.snapshots, 2);
    }
}

/// Whoever comes first looks around alone, and for that moment nobody else may add; the others wait for it.
#[test]
fn of_many_who_begin_at_once_none_is_turned_away() {
    let archive = Known::new().archive;
    let opened: Vec<_> = (0..6).map(|_| archive.open()).collect();
    for _ in 0..40 {
        let together = std::sync::Barrier::new(opened.len());
        std::thread::scope(|scope| {
            for archive in &opened {
                scope.spawn(|| {
                    together.wait();
                    archive.writer(snapkeep::archive::Packing::default()).map(drop).unwrap();
                });
            }
        });
    }
}

#[test]
fn a_restore_goes_on_while_others_write() {
    let known = Known::new();
    let reader = known.archive.open();
    many(&known.archive.source(), 40);
    let turns = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let writing =
            scope.spawn(|| beside(&known.archive, &known.archive.source(), "another", &Heard::default()).unwrap());
        while !writing.is_finished() || turns.load(Ordering::Relaxed) == 0 {
            for (id, held) in &known.held {
                assert!(contents_of(&reader, *id).unwrap() == *held);
            }
            turns.fetch_add(1, Ordering::Relaxed);
        }
        writing.join().unwrap();
    });
    assert_eq!(reader.snapshots().len(), 2, "as it was when it was opened");
    reader.refresh().unwrap();
    assert_eq!(reader.snapshots().len(), 3);
}

#[test]
fn whoever_holds_the_archive_alone_keeps_writers_out_and_lets_readers_in() {
    let known = Known::new();
    let opened = known.archive.open();
    let alone = opened.lock_alone().unwrap();
    assert_eq!(error(known.archive.try_backup()).kind(), Kind::InUse);
    known.answers("while it is held");
    drop(alone);
    known.goes_on("afterwards");
}

#[test]
fn files_that_did_not_change_are_not_stored_or_counted_again() {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 4);
    let later = |seconds| common::after(std::time::Duration::from_secs(seconds));
    let run = |seconds| {
        let heard = Heard::calling(|event, _| assert!(!matches!(event, Event::Trouble { .. })));
        let mut options = options(&[&archive.source()]);
        options.time = later(seconds);
        (backup(&archive.open(), &options, &heard).unwrap(), heard)
    };
    let (first, heard) = run(60);
    assert_eq!((heard.count(Action::New), heard.count(Action::Unchanged)), (12, 0));
    let (second, heard) = run(120);
    assert_eq!((heard.count(Action::New), heard.count(Action::Changed), heard.count(Action::Unchanged)), (0, 0, 12));
    assert_eq!((second.summary.added, second.unchanged, second.parent), (0, true, first.id));
}

/// A directory that cannot be read looks as if nothing had been in it, and so does one that is empty now.
#[test]
fn a_damaged_directory_is_not_taken_over_when_it_is_empty_now() {
    let parameters = snapkeep::archive::Parameters { parity_permille: 0, ..SMALL };
    let archive = TestArchive::new(&parameters);
    fs::create_dir(archive.source().join("d")).unwrap();
    fs::write(archive.source().join("d/photo"), "photo").unwrap();
    archive.backup();
    // Every frame of every pack: 16 bytes of a pack's head, 52 of a frame's.
    for (_, path) in archive.objects_in("packs") {
        for at in (16 + 52..fs::metadata(&path).unwrap().len()).step_by(40) {
            flip(&path, at * 8);
        }
    }
    fs::remove_file(archive.source().join("d/photo")).unwrap();
    let id = archive.backup();
    let restored = archive.restore_to(id, "restored");
    common::assert_same(&archive.source(), &restored);
}
