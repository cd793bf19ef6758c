//! Verifying while others work, step by step: what is only being replaced is not called damaged, and what is damaged is.

use crate::common;
use crate::common::hooked;
use crate::common::picture;
use crate::common::user;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Heard, SMALL, TestArchive, flip, options};
use hooked::{At, Hook};
use picture::photo;
use snapkeep::archive::Archive;
use snapkeep::op::{RepairOptions, SqueezeOptions, Verify, VerifyOptions, backup, repair, squeeze, verify};
use user::{User, said};

fn photos(archive: &TestArchive) {
    for number in 0..8 {
        fs::write(archive.source().join(format!("{number}.jpg")), photo(number, 240, 160)).unwrap();
    }
    archive.backup();
}

/// The largest pack of photos.
fn pack(archive: &TestArchive) -> (String, PathBuf) {
    let packs = archive.objects_in("packs/");
    packs.into_iter().max_by_key(|(_, path)| fs::metadata(path).unwrap().len()).unwrap()
}

/// Verifies every byte. `between` is done by another process, as it were: each time that the packs of a look were listed and
/// the first of them is about to be read, with the number of the look.
fn verified(archive: &TestArchive, between: impl Fn(usize) + Send + Sync + 'static) -> Verify {
    let (lists, due, looks) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let armed = Arc::new(AtomicBool::new(false));
    let hook: Hook = {
        let armed = armed.clone();
        Arc::new(move |at| {
            match at {
                // Each look lists the packs to see whether anything changes, then to look at them, then again.
                At::Other(path) if armed.load(Ordering::Relaxed) && path.ends_with("packs") => {
                    let number = lists.fetch_add(1, Ordering::Relaxed);
                    due.store(number % 3 == 1, Ordering::Relaxed);
                }
                At::Other(path) if is_pack(path) && due.swap(false, Ordering::Relaxed) => {
                    between(looks.fetch_add(1, Ordering::Relaxed));
                }
                _ => {}
            }
            Ok(())
        })
    };
    let open = Archive::open(hooked::store(archive.path(), hook), None, Arc::new(|_| {})).unwrap();
    armed.store(true, Ordering::Relaxed);
    let options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
    verify(&open, &options, &Heard::default()).unwrap()
}

fn is_pack(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "packs") && path.is_file()
}

fn other(root: &Path) -> Archive {
    Archive::open(Arc::new(snapkeep::store::Local::new(root)), None, Arc::new(|_| {})).unwrap()
}

/// Every pack that had been listed was gone when it was looked at, and all photos counted as lost.
#[test]
fn packs_that_a_squeeze_replaces_are_not_lost() {
    let archive = TestArchive::new(&SMALL);
    photos(&archive);
    let root = archive.path();
    let found = verified(&archive, move |look| {
        if look == 0 {
            let done = squeeze(&other(&root), &SqueezeOptions::default(), &Heard::default()).unwrap();
            assert!(done.done.packs > 1, "it replaced something");
        }
    });
    assert!(found.is_whole() && found.unsettled == 0, "{:?} {:?}", found.damage, found.affected);
    assert_eq!(found.bytes_read, found.bytes, "all that is there now was read");
}

/// What was found damaged was mended before the look had ended.
#[test]
fn what_a_repair_mends_meanwhile_is_not_damaged() {
    let archive = TestArchive::new(&SMALL);
    photos(&archive);
    // A snapshot is looked at last, so the repair comes between.
    let (name, path) = archive.objects_in("snapshots/").remove(0);
    let whole = fs::read(&path).unwrap();
    flip(&pack(&archive).1, 9000);
    let read = AtomicBool::new(false);
    let root = archive.path();
    let lists = AtomicUsize::new(0);
    let hook: Hook = Arc::new(move |at| {
        // The last that a look does is to list the recovery data.
        if matches!(at, At::Other(path) if path.ends_with("derived"))
            && lists.fetch_add(1, Ordering::Relaxed) == 1
            && !read.swap(true, Ordering::Relaxed)
        {
            let done = repair(&other(&root), &RepairOptions::default(), &Heard::default()).unwrap();
            assert!(done.is_whole() && !done.steps.is_empty(), "{done:?}");
        }
        Ok(())
    });
    // Opening lists them, too; so there is an index.
    let open = Archive::open(hooked::store(archive.path(), hook), None, Arc::new(|_| {})).unwrap();
    let options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
    let found = verify(&open, &options, &Heard::default()).unwrap();
    assert!(found.is_whole(), "{:?}", found.damage);
    assert_eq!(fs::read(archive.path().join(name)).unwrap(), whole);
}

/// The recovery data of a snapshot are there before the snapshot is: in that moment it looked as if it had been lost.
#[test]
fn a_snapshot_that_is_being_recorded_is_not_lost() {
    let archive = TestArchive::new(&SMALL);
    photos(&archive);
    fs::write(archive.source().join("more.jpg"), photo(99, 240, 160)).unwrap();
    let (looked, found) = (AtomicBool::new(false), Arc::new(std::sync::Mutex::new(None)));
    let hook: Hook = {
        let (root, found) = (archive.path(), found.clone());
        Arc::new(move |at| {
            if matches!(at, At::Name(_, to) if to.parent().is_some_and(|folder| folder.ends_with("snapshots")))
                && !looked.swap(true, Ordering::Relaxed)
            {
                let options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
                *found.lock().unwrap() = Some(verify(&other(&root), &options, &Heard::default()).unwrap());
            }
            Ok(())
        })
    };
    let writing = Archive::open(hooked::store(archive.path(), hook), None, Arc::new(|_| {})).unwrap();
    let done = backup(&writing, &options(&[&archive.source()]), &Heard::default()).unwrap();
    assert!(done.id.is_some());
    let found = found.lock().unwrap().take().expect("it was looked at");
    assert!(found.is_whole() && found.in_use, "{:?}", found.damage);
    assert!(archive.verify(true).gone.is_empty());
}

/// A backup or a squeeze that goes on for hours is no reason to keep silent about what is really damaged, nor to name more.
#[test]
fn what_is_damaged_is_told_whatever_changes_meanwhile() {
    for squeezes in [true, false] {
        let archive = TestArchive::new(&SMALL);
        photos(&archive);
        let (name, path) = pack(&archive);
        fs::remove_file(archive.path().join(name.replace("packs", "parity"))).unwrap();
        flip(&path, 9000);
        // Another folder: what was just written here is read again by the next backup, which would store anew what is damaged.
        let (root, other_photos) = (archive.path(), tempfile::tempdir().unwrap());
        let source = other_photos.path().to_owned();
        let found = verified(&archive, move |look| {
            fs::write(source.join(format!("during {look}.jpg")), photo(100 + look as u64, 240, 160)).unwrap();
            backup(&other(&root), &options(&[&source]), &Heard::default()).unwrap();
            if squeezes {
                squeeze(&other(&root), &SqueezeOptions::default(), &Heard::default()).unwrap();
            }
        });
        let named: Vec<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
        assert!(named.contains(&name.as_str()), "squeezes: {squeezes}: {named:?}");
        let parity = name.replace("packs", "parity");
        assert!(named.iter().all(|object| [name.as_str(), parity.as_str()].contains(object)), "{named:?}");
        let photos: std::collections::BTreeSet<_> = found.affected.iter().map(|file| &file.path).collect();
        assert!((1..=3).contains(&photos.len()), "those of one pack: {photos:?}");
    }
}

/// The same by real processes: a squeeze that is held still in the middle, wherever that is.
#[test]
fn a_squeeze_that_stands_still_is_not_damage() {
    let user = User { home: tempfile::tempdir().expect("a home") };
    fs::create_dir_all(user.path("Pictures")).unwrap();
    for number in 0..30 {
        fs::write(user.path(&format!("Pictures/{number}.jpg")), photo(number, 320, 240)).unwrap();
    }
    user.done(&["create", "Pictures"]);
    let packs = || fs::read_dir(user.path(".local/share/snapkeep/archive/packs")).unwrap().count();
    let before = packs();
    let squeeze = user.start(&["squeeze"]);
    let pid = rustix::process::Pid::from_child(&squeeze);
    // Until it has written something, or ended.
    for _ in 0..2000 {
        if packs() != before {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
    let done = user.snap(&["verify", "--read-data"]);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
    assert!(matches!(done.code, 0 | 3), "{}: {}{}", done.code, done.out, done.err);
    assert_eq!(said(squeeze.wait_with_output().unwrap()).code, 0);
    user.done(&["verify", "--read-data"]);
}
