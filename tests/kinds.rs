//! What lies under an object's name and is no file: it costs what the object held, and no command waits for it or ends by it.

use crate::common;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{Heard, Known, contents, contents_of, restore_at};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use snapkeep::error::Kind;
use snapkeep::op::{RepairOptions, repair};

/// What is put in the place of an object, by name.
const KINDS: [&str; 5] = ["pipe", "folder", "socket", "link to nowhere", "link to the archive"];

fn put(kind: &str, path: &Path, archive: &Path) {
    fs::remove_file(path).unwrap();
    match kind {
        "pipe" => mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        "folder" => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("theirs"), "somebody's").unwrap();
        }
        "socket" => {
            let short = archive.join("s"); // its whole path must be short
            drop(UnixListener::bind(&short).unwrap());
            fs::rename(short, path).unwrap();
        }
        "link to nowhere" => symlink("nowhere", path).unwrap(),
        _ => symlink(archive, path).unwrap(),
    }
}

/// Runs it, which must come to its end.
fn ends(about: &str, run: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel();
    let running = std::thread::spawn(move || {
        run();
        let _ = done.send(());
    });
    let waited = is_done.recv_timeout(Duration::from_secs(120));
    assert!(waited != Err(std::sync::mpsc::RecvTimeoutError::Timeout), "{about}: it waits for ever");
    running.join().unwrap_or_else(|_| panic!("{about}"));
}

/// A pipe in the place of a pack, and every command waited without end, deaf to signals; a folder, and `verify` and `repair`
/// both ended with the question whether the drive is connected.
#[test]
fn what_is_no_file_costs_what_it_holds_and_stops_nothing() {
    let known = Known::new();
    let largest = |folder: &str| {
        let of = known.archive.objects_in(folder);
        of.into_iter().max_by_key(|(_, path)| fs::metadata(path).unwrap().len()).expect("there is one").0
    };
    let objects = ["packs/", "parity/", "segments/", "snapshots/"].map(largest);
    for name in ["header".to_owned(), "README.txt".to_owned()].into_iter().chain(objects) {
        for kind in KINDS {
            let about = format!("a {kind} in the place of {name}");
            let (known, name, told) = (known.copy(), name.clone(), about.clone());
            ends(&about, move || costs_only_itself(&known, &name, kind, &told));
        }
    }
}

fn costs_only_itself(known: &Known, name: &str, kind: &str, about: &str) {
    let archive = &known.archive;
    put(kind, &archive.path().join(name), &archive.path());
    let _ = fs::remove_dir_all(archive.cache());
    let found = archive.verify(true);
    if name != "README.txt" {
        let object = found.damage.iter().find(|damage| damage.object == name);
        let why = &object.unwrap_or_else(|| panic!("{about} is not told: {:?}", found.damage)).why;
        let word = if kind == "link to the archive" { "folder" } else { kind.split(' ').next().unwrap() };
        assert!(why.contains(word), "{about}: it is told as {why}");
    }

    let opened = archive.open();
    for (id, held) in &known.held {
        let target = common::quick();
        let done = restore_at(&opened, Some(*id), target.path()).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(done.failed.is_empty(), !name.starts_with("packs/") || found.affected.is_empty(), "{about}");
        for (path, bytes) in contents(&target.path().join("source")) {
            assert_eq!(held.get(&path), Some(&bytes), "{about}: something else was restored");
        }
    }
    drop(opened);

    // The next run stores what is lost, and a repair puts all in order.
    let again = archive.backup();
    repair(&archive.open(), &RepairOptions::default(), &Heard::default())
        .unwrap_or_else(|error| panic!("{about}: {error}"));
    let after = archive.verify(true);
    assert!(after.is_whole() && after.damage.is_empty(), "{about}: {:?}", after.damage);
    for (id, held) in &known.held {
        assert_eq!(contents_of(&archive.open(), *id).unwrap(), *held, "{about}");
    }
    assert_eq!(contents_of(&archive.open(), again).unwrap(), contents(&archive.source()), "{about}");
    let there = fs::symlink_metadata(archive.path().join(name));
    assert!(
        there.is_ok_and(|meta| meta.is_file()) || name.starts_with("segments/") || name.starts_with("packs/"),
        "{about}"
    );
    if kind == "folder" {
        let kept = archive.objects_in("quarantine/").into_iter().find(|(name, _)| name.ends_with("/theirs"));
        let (_, kept) = kept.unwrap_or_else(|| panic!("{about}: what it held is gone"));
        assert_eq!(fs::read_to_string(kept).unwrap(), "somebody's");
    }
}

/// Whoever has moved a pack to another drive and left a link in its place has lost nothing.
#[test]
fn a_link_to_a_file_is_that_file() {
    let known = Known::new();
    let elsewhere = known.archive.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for (number, (_, path)) in known.archive.objects_in("packs/").into_iter().enumerate() {
        let moved = elsewhere.join(number.to_string());
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
    }
    let found = known.archive.verify(true);
    assert!(found.is_whole(), "{:?}", found.damage);
    known.archive.backup();
    let opened = known.archive.open();
    for (id, held) in &known.held {
        assert_eq!(contents_of(&opened, *id).unwrap(), *held);
    }
    // Without the other drive its packs are named, and nothing else is.
    drop(opened);
    fs::rename(&elsewhere, known.archive.beside("away")).unwrap();
    let found = known.archive.verify(true);
    assert!(found.damage.iter().any(|damage| damage.why.contains("leads nowhere")), "{:?}", found.damage);
    let opened = known.archive.open();
    let read = contents_of(&opened, known.held[0].0).err().map(|error| error.kind());
    assert!(matches!(read, None | Some(Kind::Damaged | Kind::Missing)), "{read:?}");
}
