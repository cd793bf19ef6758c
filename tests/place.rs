//! The place of an archive: a run ends at the place where it began, or without a snapshot.

use crate::common;
use crate::common::hooked;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Heard, Random, SMALL, TestArchive, contents, contents_of, options};
use hooked::{At, Hook};
use snapkeep::archive::Archive;
use snapkeep::error::{Error, Kind, Result};
use snapkeep::op::{Backup, backup};
use snapkeep::store::Local;

/// An archive with a snapshot, and a source that has much that is new.
fn begun() -> TestArchive {
    let archive = TestArchive::new(&SMALL);
    fs::write(archive.source().join("first"), Random(1).bytes(50_000)).unwrap();
    archive.backup();
    for photo in 0..20 {
        fs::write(archive.source().join(format!("img{photo}")), Random(10 + photo).bytes(60_000)).unwrap();
    }
    archive
}

/// Backs up while this happens: `happens` hears how many objects were about to get their names, and which one is.
fn backed_up(archive: &TestArchive, happens: impl Fn(usize, &Path) + Send + Sync + 'static) -> Result<Backup> {
    let named = AtomicUsize::new(0);
    let hook: Hook = Arc::new(move |at| {
        if let At::Name(_, to) = at {
            happens(named.fetch_add(1, Ordering::Relaxed), to);
        }
        Ok(())
    });
    let opened = archive.open_through(hooked::store(archive.path(), hook), &archive.cache())?;
    backup(&opened, &options(&[&archive.source()]), &Heard::default())
}

/// It was the drive, and not any object.
fn of_the_drive(error: &Error) {
    assert_eq!(error.kind(), Kind::Store, "{error}");
    assert!(error.to_string().contains("no longer"), "{error}");
    let cause = error.io().map(std::io::Error::kind);
    assert_eq!(cause, Some(std::io::ErrorKind::NotConnected), "{error}: the hint asks for the drive");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(folder).into_iter().flatten().map(|item| item.unwrap().path());
    items.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Opens it without an index and looks whether every snapshot can be read; gives how many there are.
fn whole(path: &Path) -> usize {
    let opened = Archive::open(Arc::new(Local::new(path)), None, Arc::new(|_| {})).unwrap();
    let snapshots = opened.snapshots();
    snapshots.iter().for_each(|(id, _)| drop(contents_of(&opened, *id).unwrap()));
    snapshots.len()
}

/// A drive dropped out of its port and was mounted again a tenth of a second later: a pack of the run lay on the system's disk
/// below the mount point, `create` said that all was saved, and photos of it could not be restored.
#[test]
fn a_drive_that_drops_out_and_comes_back_loses_no_photo() {
    for gone_from in 0..24 {
        let archive = begun();
        let (root, away) = (archive.path(), archive.beside("away"));
        let done = backed_up(&archive, move |number, _| {
            if number == gone_from {
                fs::rename(&root, &away).unwrap();
                fs::create_dir(&root).unwrap(); // its mount point
            } else if number == gone_from + 2 && away.exists() {
                let left = files(&root);
                assert!(left.is_empty(), "below the mount point: {left:?}");
                fs::remove_dir_all(&root).unwrap();
                fs::rename(&away, &root).unwrap();
            }
        });
        let (root, away) = (archive.path(), archive.beside("away"));
        match done {
            Err(error) => of_the_drive(&error),
            Ok(done) => {
                let opened = archive.open();
                assert_eq!(contents_of(&opened, done.id.unwrap()).unwrap(), contents(&archive.source()), "{gone_from}");
            }
        }
        if away.exists() {
            assert!(files(&root).is_empty(), "below the mount point: {:?}", files(&root));
            fs::remove_dir_all(&root).unwrap();
            fs::rename(&away, &root).unwrap();
        }
        whole(&root);
        let again = archive.backup();
        assert_eq!(contents_of(&archive.open(), again).unwrap(), contents(&archive.source()), "{gone_from}");
    }
}

/// The archive's folder was exchanged for its older copy in the middle of a run: packs lay in the one and the snapshot in the
/// other.
#[test]
fn a_copy_that_takes_the_archive_s_place_gets_nothing_of_the_run() {
    for at in [0, 3, 7, 12] {
        let archive = begun();
        let (root, away, copy) = (archive.path(), archive.beside("away"), archive.beside("copy"));
        common::copy_tree(&root, &copy);
        let before = files(&copy).len();
        let done = backed_up(&archive, move |number, _| {
            if number == at {
                fs::rename(&root, &away).unwrap();
                fs::rename(&copy, &root).unwrap();
            }
        });
        of_the_drive(&done.unwrap_err());
        assert_eq!(files(&archive.path()).len(), before, "the copy is as it was");
        assert_eq!((whole(&archive.path()), whole(&archive.beside("away"))), (1, 1));
    }
}

/// The drive was unmounted in the middle of a run, and megabytes of packs lay below its mount point, on the system's disk;
/// the run was told as damage.
#[test]
fn a_drive_that_is_gone_leaves_nothing_below_its_mount_point() {
    for at in [0, 1, 5, 9] {
        let archive = begun();
        let (root, away) = (archive.path(), archive.beside("away"));
        let done = backed_up(&archive, move |number, _| {
            if number == at {
                fs::rename(&root, &away).unwrap();
            }
        });
        of_the_drive(&done.unwrap_err());
        assert!(!archive.path().exists(), "the archive's folder was made again: {:?}", files(&archive.path()));
        assert_eq!(archive.try_open().err().map(|error| error.kind()), Some(Kind::NoArchive));
        assert_eq!(whole(&archive.beside("away")), 1);
    }
}

/// The same between opening the archive and the first write, where the archive's folder is the mount point itself: `repair`
/// made a header in the empty folder.
#[test]
fn an_archive_that_is_gone_before_the_first_write_gets_none() {
    let archive = begun();
    let opened = archive.open();
    fs::rename(archive.path(), archive.beside("away")).unwrap();
    fs::create_dir(archive.path()).unwrap();
    of_the_drive(&opened.repairer().err().unwrap());
    of_the_drive(&opened.lock_shared().err().unwrap());
    of_the_drive(&backup(&opened, &options(&[&archive.source()]), &Heard::default()).unwrap_err());
    assert!(fs::read_dir(archive.path()).unwrap().next().is_none(), "{:?}", files(&archive.path()));

    // Nor does a copy that lies there by then.
    fs::remove_dir(archive.path()).unwrap();
    common::copy_tree(&archive.beside("away"), &archive.path());
    let before = files(&archive.path());
    of_the_drive(&backup(&opened, &options(&[&archive.source()]), &Heard::default()).unwrap_err());
    assert_eq!(files(&archive.path()), before);
}

/// Somebody removed a pack of the run before its snapshot was recorded, which then told of photos that were nowhere.
#[test]
fn no_snapshot_tells_of_a_pack_that_is_gone_before_it() {
    let archive = begun();
    let removed = AtomicUsize::new(0);
    let root = archive.path();
    let done = backed_up(&archive, move |_, to| {
        // Its recovery data come after it.
        let pack = to.strip_prefix(root.join("parity")).map(|below| root.join("packs").join(below));
        if let Some(pack) = pack.ok().filter(|pack| pack.exists())
            && removed.fetch_add(1, Ordering::Relaxed) == 2
        {
            fs::remove_file(pack).unwrap();
        }
    });
    of_the_drive(&done.unwrap_err());
    assert_eq!(whole(&archive.path()), 1, "and what was recorded before is whole");
    archive.backup();
}

/// A run without a snapshot had left packs below a mount point. They were taken for an archive that has lost its headers,
/// `repair` made these anew, and from then on backups went onto the system's disk.
#[test]
fn packs_that_a_run_without_snapshot_left_are_no_archive() {
    let archive = begun();
    for name in ["header", "header.copy", "README.txt"] {
        fs::remove_file(archive.path().join(name)).unwrap();
    }
    let kept = archive.beside("kept");
    common::copy_tree(&archive.path(), &kept);
    for folder in ["segments", "snapshots", "parity"] {
        fs::remove_dir_all(archive.path().join(folder)).unwrap();
    }
    assert_eq!(archive.try_open().err().map(|error| error.kind()), Some(Kind::NoArchive));

    // Anything that tells of a run that came to its end is enough.
    for left in ["segments", "snapshots", "parity"] {
        let place = archive.beside(&format!("with-{left}"));
        common::copy_tree(&kept, &place);
        for other in ["segments", "snapshots", "parity"].into_iter().filter(|other| *other != left) {
            fs::remove_dir_all(place.join(other)).unwrap();
        }
        Archive::open(Arc::new(Local::new(&place)), None, Arc::new(|_| {}))
            .unwrap_or_else(|error| panic!("{left}: {error}"));
    }
}

/// A repair through another mount, whose locks are others, swept what a run was writing, and the run was told as damage.
#[test]
fn what_is_removed_under_a_run_is_told_as_the_work_of_others() {
    let archive = begun();
    let hook: Hook = Arc::new(|at| {
        if let At::Name(from, _) = at {
            fs::remove_file(from).unwrap();
        }
        Ok(())
    });
    let opened = archive.open_through(hooked::store(archive.path(), hook), &archive.cache()).unwrap();
    let error = backup(&opened, &options(&[&archive.source()]), &Heard::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::InUse, "{error}");
    assert!(error.to_string().contains("another mount"), "{error}");
    drop(opened);
    assert_eq!(whole(&archive.path()), 1);
}
