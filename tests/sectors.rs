//! A drive that cannot read some of its sectors any more is not a drive that is gone: what lies on such a sector is mended
//! or named, and everything else goes on. Only when nothing answers does everything end.

use crate::common;
use crate::common::hooked;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Contents, Heard, Known, Random, TestArchive, contents, contents_of, options, restore_at};
use hooked::{At, Hook, io_error};
use snapkeep::archive::{Archive, Notice};
use snapkeep::error::{Kind, Result};
use snapkeep::op::{RepairOptions, Restore, Share, VerifyOptions, backup, repair, verify};
use snapkeep::store::Local;

/// Opens it on a drive on which these bytes of these objects cannot be read. Bad sectors stay with their file, whatever it
/// is called.
fn opened<const N: usize>(archive: &TestArchive, bad: [(&str, Range<u64>); N]) -> Archive {
    let bad: BTreeMap<PathBuf, Range<u64>> =
        bad.into_iter().map(|(name, lost)| (archive.path().join(name), lost)).collect();
    let bad = Mutex::new(bad);
    let hook: Hook = Arc::new(move |at| {
        let mut bad = bad.lock().unwrap();
        match at {
            At::Read(path, read) => match bad.get(*path) {
                Some(lost) if read.start < lost.end && lost.start < read.end => return Err(io_error()),
                _ => {}
            },
            At::Name(from, to) => {
                bad.remove(*to);
                if let Some(lost) = bad.remove(*from) {
                    bad.insert(to.to_path_buf(), lost);
                }
            }
            At::Lock(_) | At::Other(_) => {}
        }
        Ok(())
    });
    archive.open_through(hooked::store(archive.path(), hook), &archive.cache()).unwrap()
}

const READ_DATA: VerifyOptions = VerifyOptions { read_data: true, share: Share::All, time: None, alone: false };

fn restored(archive: &Archive, held: &Known) -> Vec<(Restore, Contents)> {
    let restore = |id| {
        let target = common::quick();
        let done: Result<Restore> = restore_at(archive, Some(id), target.path());
        (done.unwrap(), contents(&target.path().join("source")))
    };
    held.held.iter().map(|(id, _)| restore(*id)).collect()
}

#[test]
fn one_bad_sector_in_any_object_costs_nothing() {
    let known = Known::new();
    let objects: Vec<String> = known.archive.objects().into_keys().collect();
    let (mut moved, mut mends) = (0, 0);
    for (number, name) in objects.iter().cloned().enumerate() {
        let known = known.copy();
        let archive = &known.archive;
        let len = fs::metadata(archive.path().join(&name)).unwrap().len();
        let sector = (number as u64 * 7 % len.div_ceil(4096)) * 4096;
        if number % 2 == 0 {
            fs::remove_dir_all(archive.cache()).unwrap();
        }
        let open = opened(archive, [(&name, sector..len.min(sector + 4096))]);
        for ((done, found), (_, held)) in restored(&open, &known).into_iter().zip(&known.held) {
            assert!(done.failed.is_empty(), "{name}: {:?}", done.failed);
            assert!(found == *held, "{name}");
        }
        for (id, held) in &known.held {
            assert!(contents_of(&open, *id).unwrap() == *held, "{name}");
        }
        let mended = |notice: &Notice| matches!(notice, Notice::Mended { object, .. } if *object == name);
        mends += usize::from(archive.notices.lock().unwrap().iter().any(mended));
        for read_data in [false, true] {
            let options = VerifyOptions { read_data, ..VerifyOptions::default() };
            let found = verify(&open, &options, &Heard::default()).unwrap();
            assert!(found.affected.is_empty(), "{name}: {:?}", found.affected);
            let damaged: BTreeSet<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
            if read_data {
                assert_eq!(damaged, BTreeSet::from([name.as_str()]), "{:?}", found.damage);
            } else {
                assert!(damaged.iter().all(|found| *found == name), "{:?}", found.damage);
            }
            assert!(found.damage.iter().all(|damage| damage.mendable), "{:?}", found.damage);
        }
        // A backup is not stopped by it, and a repair makes it whole, unless the backup has stored the same anew already.
        let done = backup(&open, &options(&[&archive.source()]), &Heard::default()).unwrap();
        assert!(done.unread.is_empty(), "{name}");
        let done = repair(&open, &RepairOptions::default(), &Heard::default()).unwrap();
        assert!(done.is_whole(), "{name}: {done:?}");
        assert!(verify(&open, &READ_DATA, &Heard::default()).unwrap().damage.is_empty(), "{name}");
        // What cannot be read lies in quarantine as it is, so that nothing new is written onto bad sectors.
        let aside = archive.path().join("quarantine").join(&name).exists();
        assert_eq!(aside, done.steps.iter().any(|(object, _)| *object == name), "{name}");
        moved += usize::from(aside);
    }
    assert!(moved > objects.len() / 2, "{moved} of {} moved aside", objects.len());
    let packs = objects.iter().filter(|name| name.starts_with("packs/")).count();
    assert!(mends > packs / 2, "{mends} mended, of {packs} packs"); // nobody asks for the directory of a known pack
}

#[test]
fn what_lies_on_more_bad_sectors_than_can_be_mended_is_named_and_the_rest_is_restored() {
    let known = Known::new();
    let archive = &known.archive;
    // All but the front of the pack in which most of the film lies, and its recovery data.
    let longest = |(name, path): &(String, PathBuf)| {
        (fs::read(path).unwrap()[10] == 0).then(|| (fs::metadata(path).unwrap().len(), name.clone()))
    };
    let (_, name) = archive.objects_in("packs/").iter().filter_map(longest).max().unwrap();
    let parity = name.replace("packs", "parity");
    let open = opened(archive, [(&name, 20_000..u64::MAX), (&parity, 0..u64::MAX)]);
    let found = verify(&open, &READ_DATA, &Heard::default()).unwrap();
    assert!(!found.affected.is_empty());
    let reason = |damage: &snapkeep::op::Damage| damage.object == name && damage.why.contains("input/output error");
    assert!(found.damage.iter().any(reason), "{:?}", found.damage);
    assert!(found.damage.iter().all(|damage| !damage.mendable), "{:?}", found.damage);
    for ((done, files), (id, held)) in restored(&open, &known).into_iter().zip(&known.held) {
        let lost: BTreeSet<Vec<u8>> = held
            .keys()
            .filter(|path| files.get(*path) != held.get(*path))
            .map(|path| [b"source/", &path[..]].concat())
            .collect();
        let told: BTreeSet<Vec<u8>> =
            found.affected.iter().filter(|file| file.snapshot == *id).map(|file| file.path.clone()).collect();
        assert_eq!(lost, told, "what verify names is what restore cannot restore");
        assert!(lost.len() < held.len() / 2);
        assert_eq!(done.failed.len(), lost.len());
        assert!(done.damaged || lost.is_empty());
        assert!(
            done.failed.iter().all(|(_, why)| why.contains("input/output error")
                || why.contains("piece")
                || why.contains("it is missing")),
            "{:?}",
            done.failed
        );
    }
    // The pack is moved aside unread, the front of it is rescued, and what the source still has is stored anew.
    let done = repair(&open, &RepairOptions::default(), &Heard::default()).unwrap();
    assert_eq!(done.lost, found.affected);
    drop(open);
    assert!(archive.path().join("quarantine").join(&name).exists());
    assert!(!archive.path().join(&name).exists());
    let id = archive.backup();
    assert!(contents_of(&archive.open(), id).unwrap() == contents(&archive.source()));
}

/// Opens the archive on a drive whose cable is pulled after so many calls, and then answers so. The counter counts calls.
fn pulled(known: &Known, after: usize, answer: io::ErrorKind) -> (Archive, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let hook: Hook = Arc::new(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
        number if number < after => Ok(()),
        _ if answer == io::ErrorKind::NotFound => Err(answer.into()),
        _ => Err(io_error()),
    });
    (Archive::open(hooked::store(known.archive.path(), hook), None, Arc::new(|_| {})).unwrap(), calls)
}

#[test]
fn a_drive_that_is_gone_ends_everything() {
    let known = Known::new();
    type Command = fn(&Archive) -> Result<()>;
    let commands: [Command; 3] = [
        |archive| restore_at(archive, None, common::quick().path()).map(drop),
        |archive| verify(archive, &READ_DATA, &Heard::default()).map(drop),
        |archive| verify(archive, &VerifyOptions::default(), &Heard::default()).map(drop),
    ];
    for answer in [io::ErrorKind::Other, io::ErrorKind::NotFound] {
        let (_, calls) = pulled(&known, usize::MAX, answer);
        let opening = calls.load(Ordering::Relaxed);
        for (number, command) in commands.iter().enumerate() {
            for more in 0.. {
                let (archive, calls) = pulled(&known, opening + more, answer);
                let done = command(&archive);
                if calls.load(Ordering::Relaxed) <= opening + more {
                    assert!(more > 20, "so many calls at least");
                    done.unwrap();
                    break;
                }
                let about = format!("command {number}, gone after {more} calls with {answer:?}");
                assert_eq!(done.expect_err(&about).kind(), Kind::Store, "{about}");
            }
        }
    }
}

/// Whoever removed objects in the moment between a run's last pack and its snapshot would have removed what it needs.
#[test]
fn the_archive_is_held_until_the_snapshot_is_recorded() {
    let archive = TestArchive::new(&common::SMALL);
    fs::write(archive.source().join("photo"), Random(1).bytes(10_000)).unwrap();
    let root = archive.path();
    let kept_out = Arc::new(AtomicUsize::new(0));
    let counted = kept_out.clone();
    let hook: Hook = Arc::new(move |at| {
        if matches!(at, At::Name(_, path) if path.parent().is_some_and(|folder| folder.ends_with("snapshots"))) {
            let other = Archive::open(Arc::new(Local::new(&root)), None, Arc::new(|_| {})).unwrap();
            let error = other.lock_alone().err();
            counted.fetch_add(usize::from(error.is_some_and(|error| error.kind() == Kind::InUse)), Ordering::Relaxed);
        }
        Ok(())
    });
    let open = archive.open_through(hooked::store(archive.path(), hook), &archive.cache()).unwrap();
    backup(&open, &options(&[&archive.source()]), &Heard::default()).unwrap();
    assert_eq!(kept_out.load(Ordering::Relaxed), 1);
    assert!(open.lock_alone().is_ok(), "and no longer");
}
