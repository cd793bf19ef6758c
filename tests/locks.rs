//! Who keeps whom out, and what happens where nobody can tell: a lock is held or it is not.

use crate::common;
use crate::common::hooked;

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Heard, Known, contents_of};
use hooked::{At, Hook};
use snapkeep::archive::Archive;
use snapkeep::error::{Error, Kind, Result};
use snapkeep::op::{Repair, RepairOptions, Squeeze, SqueezeOptions, backup, repair, squeeze};
use snapkeep::store::{Local, LockMode, Store};

/// A file system without locks, as some network drives are.
fn lockless() -> Hook {
    Arc::new(|at| match at {
        At::Lock(_) => Err(io::ErrorKind::Unsupported.into()),
        _ => Ok(()),
    })
}

fn open(known: &Known, hook: Option<Hook>) -> Archive {
    let store: Arc<dyn Store> = match hook {
        Some(hook) => hooked::store(known.archive.path(), hook),
        None => Arc::new(Local::new(known.archive.path())),
    };
    Archive::open(store, None, Arc::new(|_| {})).unwrap()
}

fn repaired(archive: &Archive) -> Result<Repair> {
    repair(archive, &RepairOptions::default(), &Heard::default())
}

fn squeezed(archive: &Archive) -> Result<Squeeze> {
    squeeze(archive, &SqueezeOptions::default(), &Heard::default())
}

fn kind<T>(result: Result<T>) -> Kind {
    result.err().as_ref().map(Error::kind).expect("it is refused")
}

/// Where `flock` is not supported every process believed to be alone: a backup swept away what another one was just writing,
/// and a squeeze and a repair each removed packs.
#[test]
fn without_locks_nobody_believes_to_be_alone() {
    let known = Known::new();
    let writing = known.archive.path().join("packs/.tmp-0123456789abcdef");
    fs::write(&writing, "another process is at it").unwrap();
    let before = known.archive.objects();
    let archive = open(&known, Some(lockless()));
    assert_eq!(kind(archive.lock_alone()), Kind::NoLocks);
    assert_eq!(kind(repaired(&archive)), Kind::NoLocks);
    assert_eq!(kind(squeezed(&archive)), Kind::NoLocks);
    assert_eq!(known.archive.objects(), before, "nothing was touched");
    // Whoever only adds goes on, and adds only.
    fs::write(known.archive.source().join("more"), "one more").unwrap();
    let done = backup(&archive, &common::options(&[&known.archive.source()]), &Heard::default()).unwrap();
    assert!(contents_of(&archive, done.id.unwrap()).unwrap() == common::contents(&known.archive.source()));
    assert!(writing.exists() && before.values().all(|path| path.exists()));
    // Nor is anything kept from whoever looks for what there is to do.
    let dry = RepairOptions { dry_run: true, ..RepairOptions::default() };
    assert!(repair(&archive, &dry, &Heard::default()).unwrap().is_whole());
    // A person may know better.
    archive.vouch_alone();
    assert!(repaired(&archive).unwrap().is_whole());
    assert!(!writing.exists(), "and what was left is swept then");
    squeezed(&archive).unwrap();
}

/// A squeeze held `header.copy` only. When that file was replaced or lost between two groups of packs, a repair was let in,
/// and each of the two removed its copy of a chunk because the other had one.
#[test]
fn a_squeeze_and_a_repair_keep_each_other_out_whatever_becomes_of_the_header() {
    type Loss = fn(&std::path::Path);
    let losses: [(&str, Loss); 4] = [
        ("untouched", |_| {}),
        ("header.copy is lost", |root| fs::remove_file(root.join("header.copy")).unwrap()),
        ("header.copy is another file", |root| {
            fs::copy(root.join("header.copy"), root.join("new")).unwrap();
            fs::rename(root.join("new"), root.join("header.copy")).unwrap();
        }),
        ("header.copy is empty", |root| {
            fs::write(root.join("new"), "").unwrap();
            fs::rename(root.join("new"), root.join("header.copy")).unwrap();
        }),
    ];
    let known = Known::new();
    for (how, loss) in losses {
        for squeeze_first in [true, false] {
            let known = known.copy();
            let (one, other) = (open(&known, None), open(&known, None));
            if squeeze_first {
                let _rewriter = one.rewriter().unwrap();
                loss(&known.archive.path());
                assert_eq!(kind(other.repairer()), Kind::InUse, "{how}");
            } else {
                let _repairer = one.repairer().unwrap();
                loss(&known.archive.path());
                assert_eq!(kind(other.rewriter()), Kind::InUse, "{how}");
            }
            let again = open(&known, None);
            assert!(repaired(&again).unwrap().is_whole(), "{how}: and afterwards it goes on");
            squeezed(&again).unwrap();
        }
    }
}

/// While a squeeze is at work, others add; only what removes waits.
#[test]
fn a_backup_runs_beside_a_squeeze() {
    let known = Known::new();
    let (one, other) = (open(&known, None), open(&known, None));
    let rewriter = one.rewriter().unwrap();
    assert_eq!(kind(other.rewriter()), Kind::InUse);
    assert_eq!(kind(other.lock_alone()), Kind::InUse);
    fs::write(known.archive.source().join("more"), "one more").unwrap();
    known.archive.backup();
    rewriter.tidy_segments().unwrap();
    drop(rewriter);
    assert!(other.lock_alone().is_ok());
}

/// Whoever opened a file that was replaced before it was locked held what nobody else asks for.
#[test]
fn a_lock_is_of_the_file_that_has_the_name() {
    let known = Known::new();
    let (path, replaced) = (known.archive.path(), Arc::new(AtomicBool::new(false)));
    let hook: Hook = {
        let (path, replaced) = (path.clone(), replaced.clone());
        Arc::new(move |at| {
            if matches!(at, At::Lock(_)) && !replaced.swap(true, Ordering::Relaxed) {
                fs::copy(path.join("header"), path.join("new"))?;
                fs::rename(path.join("new"), path.join("header"))?;
            }
            Ok(())
        })
    };
    let lock = hooked::store(&path, hook).lock("header", LockMode::Exclusive).unwrap();
    assert!(replaced.load(Ordering::Relaxed) && lock.is_certain());
    assert_eq!(kind(Local::new(&path).lock("header", LockMode::Shared)), Kind::InUse);
}

/// What systems answer where there are no locks is told from what they answer where a lock could not be had.
#[test]
fn a_drive_that_fails_is_not_one_without_locks() {
    let known = Known::new();
    let failing: Hook = Arc::new(|at| match at {
        At::Lock(_) => Err(hooked::io_error()),
        _ => Ok(()),
    });
    assert_eq!(kind(hooked::store(known.archive.path(), failing).lock("header", LockMode::Shared)), Kind::Store);
}

/// Whoever only looked whether the archive is in use held it alone for a moment, and a squeeze, a repair or a word about a
/// source that began just then ended with "in use".
#[test]
fn a_look_at_whether_it_is_in_use_keeps_nobody_out() {
    type Work = fn(&Archive) -> Result<()>;
    let works: [(&str, Work); 4] = [
        ("squeeze", |archive| squeezed(archive).map(drop)),
        ("repair", |archive| repaired(archive).map(drop)),
        ("alone", |archive| archive.lock_alone().map(drop)),
        ("shared", |archive| archive.lock_shared().map(drop)),
    ];
    let known = Known::new();
    for (what, work) in works {
        for name in ["header", "header.copy"] {
            let known = known.copy();
            let looking = fs::File::open(known.archive.path().join(name)).unwrap();
            looking.lock().unwrap();
            let (looking, tries) = (std::sync::Mutex::new(Some(looking)), std::sync::atomic::AtomicUsize::new(0));
            // It lets go after the third try to hold what it holds.
            let hook: Hook = Arc::new(move |at| {
                if matches!(at, At::Lock(path) if path.ends_with(name)) && tries.fetch_add(1, Ordering::Relaxed) == 3 {
                    looking.lock().unwrap().take();
                }
                Ok(())
            });
            let archive = open(&known, Some(hook));
            work(&archive).unwrap_or_else(|error| panic!("{what}, {name}: {error}"));
        }
    }
}

/// Nor does such a look keep others out for longer than it takes.
#[test]
fn a_look_at_whether_it_is_in_use_holds_nothing() {
    let known = Known::new();
    let (one, other) = (open(&known, None), open(&known, None));
    assert!(!one.is_in_use());
    let shared = other.lock_shared().unwrap();
    assert!(one.is_in_use());
    drop(shared);
    let rewriter = other.rewriter().unwrap();
    assert!(one.is_in_use());
    drop(rewriter);
    assert!(!one.is_in_use() && other.repairer().is_ok());
}
