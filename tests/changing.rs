//! A source that does not hold still: files that change, shrink, vanish or become something else between the walk and the
//! last byte read. What is recorded is consistent or marked, and one bad file never costs the others.
//!
//! The changes are made at exact moments: after the walk, and after each piece of a long file that was read.

use crate::common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Heard, Random, SMALL, TestArchive, contents, options, touch};
use snapkeep::archive::Filter;
use snapkeep::format::{Entry, EntryKind};
use snapkeep::op::{Action, Backup, Event, backup, has};
use snapkeep::source::PassedOver;
use snapkeep::view::View;

/// Longer than what is read at once, so that there is a moment in the middle.
const LONG: usize = (16 << 20) + 100_000;

/// A source with a long file and a bystander.
fn source() -> (TestArchive, PathBuf) {
    let archive = TestArchive::new(&SMALL);
    fs::create_dir(archive.source().join("album")).unwrap();
    fs::write(archive.source().join("album/bystander"), Random(1).bytes(5000)).unwrap();
    let long = archive.source().join("long");
    fs::write(&long, Random(2).bytes(LONG)).unwrap();
    (archive, long)
}

/// Backs up while `change` is called with the number of the piece of the long file that was just read.
fn while_reading(archive: &TestArchive, change: impl Fn(usize) + Send + Sync + 'static) -> (Backup, Heard) {
    let pieces = AtomicUsize::new(0);
    let heard = Heard::calling(move |event, _| {
        // Short files are told of with as many bytes as they have.
        if matches!(event, Event::Advance { files: 0, bytes } if *bytes > 100_000) {
            change(pieces.fetch_add(1, Ordering::Relaxed));
        }
    });
    let done = backup(&archive.open(), &options(&[&archive.source()]), &heard).unwrap();
    (done, heard)
}

/// Backs up after `change` was made between walk and reading.
fn after_the_walk(archive: &TestArchive, change: impl Fn() + Send + Sync + 'static) -> (Backup, Heard) {
    let heard = Heard::calling(move |event, _| {
        if matches!(event, Event::Begin { .. }) {
            change();
        }
    });
    let done = backup(&archive.open(), &options(&[&archive.source()]), &heard).unwrap();
    (done, heard)
}

/// The entry of a file in the newest snapshot, and its bytes, which have been checked against the hash of the whole.
fn recorded(archive: &TestArchive, path: &str) -> Option<(Entry, Vec<u8>)> {
    let opened = archive.open();
    let (id, snapshot) = opened.snapshots().pop().unwrap();
    let view = View::new(&opened, id, snapshot);
    let node = view.find(format!("source/{path}").as_bytes()).ok()?;
    let mut bytes = Vec::new();
    view.read(&node, &mut |piece| bytes.write_all(piece).map_err(|_| unreachable!())).unwrap();
    Some((node.entry?, bytes))
}

fn is_unsettled(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File { unsettled: true, .. })
}

/// One path was told of as trouble, counted and recorded; the snapshot was taken, and the bystander is in it.
fn only_this_is_told(archive: &TestArchive, done: &Backup, heard: &Heard, path: &Path) {
    let told: Vec<PathBuf> = heard.trouble.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(told, [path]);
    assert_eq!((done.summary.unread, done.unread.len()), (1, 1));
    let (_, snapshot) = archive.open().snapshots().pop().expect("the snapshot was taken");
    assert_eq!(snapshot.unread, done.unread);
    assert_eq!(snapshot.unread[0].path, path.as_os_str().as_encoded_bytes());
    assert!(!snapshot.unread[0].why.is_empty());
    assert_eq!(recorded(archive, "album/bystander").unwrap().1, Random(1).bytes(5000));
}

fn nothing_is_told(done: &Backup, heard: &Heard) {
    assert_eq!((done.unread.len(), &*heard.trouble.lock().unwrap()), (0, &vec![]));
}

fn overwrite(path: &Path, byte: u8) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[byte; 5000], 1000).unwrap();
    file.write_all_at(&[byte; 5000], LONG as u64 - 6000).unwrap();
}

#[test]
fn a_file_that_changes_once_is_read_again() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("overwritten", |path| overwrite(path, 7)),
        ("overwritten, and its time set back", |path| {
            use std::os::unix::fs::MetadataExt;
            let before = fs::metadata(path).unwrap();
            overwrite(path, 8);
            common::touch(path, before.mtime(), before.mtime_nsec());
        }),
        ("grown", |path| fs::OpenOptions::new().append(true).open(path).unwrap().write_all(&[9; 70_000]).unwrap()),
        ("cut short", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(50_000).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), Random(5).bytes(LONG)).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
    ];
    for (how, change) in changes {
        let (archive, long) = source();
        let path = long.clone();
        let (done, heard) = while_reading(&archive, move |piece| {
            if piece == 0 {
                change(&path);
            }
        });
        assert!(fs::read(&long).unwrap() != Random(2).bytes(LONG), "{how}: it was changed indeed");
        nothing_is_told(&done, &heard);
        let (entry, bytes) = recorded(&archive, "long").unwrap();
        assert!(bytes == fs::read(&long).unwrap(), "{how}: not as it is now");
        assert!(!is_unsettled(&entry), "{how}");
    }
}

#[test]
fn a_file_that_never_rests_is_stored_and_marked() {
    let (archive, long) = source();
    let path = long.clone();
    let (done, heard) = while_reading(&archive, move |piece| overwrite(&path, piece as u8));
    only_this_is_told(&archive, &done, &heard, &long);
    let (entry, bytes) = recorded(&archive, "long").unwrap();
    assert!(is_unsettled(&entry), "it may be of several moments, and that is said");
    assert_eq!(bytes.len(), LONG);

    // It is not taken for unchanged afterwards, but read when it rests.
    let mut later = options(&[&archive.source()]);
    later.time = common::after(std::time::Duration::from_secs(60));
    for _ in 0..2 {
        backup(&archive.open(), &later, &Heard::default()).unwrap();
        let (entry, bytes) = recorded(&archive, "long").unwrap();
        assert!(!is_unsettled(&entry) && bytes == fs::read(&long).unwrap());
    }
}

/// What an earlier run carried forward counted as read by it, so that a photo that was still changing when it was read last
/// was never read again.
#[test]
fn what_was_carried_forward_is_read_as_soon_as_it_can_be() {
    let archive = TestArchive::new(&SMALL);
    fs::create_dir(archive.source().join("album")).unwrap();
    let names = ["one", "album/two", "album/three"];
    for (seed, name) in (0..).zip(names) {
        fs::write(archive.source().join(name), Random(seed).bytes(3000)).unwrap();
    }
    let run = |exclude: &[&str], time: i64| {
        let (read, seen) = (std::sync::Arc::new(AtomicUsize::new(0)), std::sync::Arc::new(AtomicUsize::new(0)));
        let (more, files) = (read.clone(), seen.clone());
        let heard = Heard::calling(move |event, _| match event {
            Event::Advance { files: 0, bytes: 3000 } => drop(more.fetch_add(1, Ordering::Relaxed)),
            Event::Advance { files: 1, .. } => drop(files.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        });
        let mut options = options(&[&archive.source()]);
        options.rules.exclude = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
        options.time.secs += time;
        let done = backup(&archive.open(), &options, &heard).unwrap();
        assert_eq!(done.summary.files, 3);
        (read.load(Ordering::Relaxed), seen.load(Ordering::Relaxed), done.kept.excluded)
    };
    // The first run begins so early that each file may have changed after it was read.
    assert_eq!(run(&[], -1000), (3, 3, 0));
    for exclude in [&["one", "three"][..], &["one", "album"]] {
        let (_, _, kept) = run(exclude, 1000);
        assert_eq!(kept, exclude.len() as u64 + u64::from(exclude[1] == "album"));
        let (read, seen, kept) = run(&[], 2000);
        assert_eq!((seen, kept), (3, 0));
        assert!(read >= 2, "what was not read last time was taken over unread: {read}");
    }
    assert_eq!(run(&[], 3000), (0, 3, 0), "and then it is known");
}

#[test]
fn a_file_that_keeps_shrinking_is_told_and_passed_over() {
    let (archive, long) = source();
    let path = long.clone();
    let left = Mutex::new(LONG as u64);
    let (done, heard) = while_reading(&archive, move |_| {
        let mut left = left.lock().unwrap();
        // Each time so that the next piece is not all there, but the file is still a long one for the next attempt.
        *left -= 1000;
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(*left).unwrap();
    });
    // Either it was cut off each time (then it is not there), or the last attempt came through (then it is marked).
    only_this_is_told(&archive, &done, &heard, &long);
    if let Some((entry, _)) = recorded(&archive, "long") {
        assert!(is_unsettled(&entry));
    }
}

#[test]
fn a_file_that_vanishes_while_it_is_read_is_told() {
    let (archive, long) = source();
    let path = long.clone();
    let (done, heard) = while_reading(&archive, move |_| drop(fs::remove_file(&path)));
    only_this_is_told(&archive, &done, &heard, &long);
    assert!(recorded(&archive, "long").is_none());
}

#[test]
fn what_is_no_longer_a_file_is_told_and_neither_followed_nor_waited_for() {
    type Become = fn(&Path);
    let becomes: [(&str, Become); 5] = [
        ("nothing", |_| {}),
        ("a pipe", |path| {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        }),
        ("a link", |path| symlink("/etc/passwd", path).unwrap()),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (how, become_) in becomes {
        let (archive, long) = source();
        let path = long.clone();
        let (done, heard) = after_the_walk(&archive, move || {
            fs::remove_file(&path).unwrap();
            become_(&path);
        });
        only_this_is_told(&archive, &done, &heard, &long);
        assert!(recorded(&archive, "long").is_none(), "{how}");
    }
}

#[test]
fn a_folder_that_vanishes_costs_what_was_in_it() {
    let (archive, long) = source();
    let album = archive.source().join("album");
    let gone = album.clone();
    let (done, heard) = after_the_walk(&archive, move || fs::remove_dir_all(&gone).unwrap());
    assert!(done.summary.unread >= 1);
    assert!(heard.trouble.lock().unwrap().iter().all(|(path, _)| path.starts_with(&album)));
    assert!(recorded(&archive, "long").unwrap().1 == fs::read(long).unwrap());
    assert!(archive.verify(true).damage.is_empty());
}

/// A folder above becomes a link to elsewhere: what lies there is not the source's.
#[test]
fn a_folder_that_becomes_a_link_changes_only_what_lies_in_it() {
    let (archive, _) = source();
    let elsewhere = archive.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("secret"), "not the source's").unwrap();
    let (album, to) = (archive.source().join("album"), elsewhere.clone());
    let (done, _) = after_the_walk(&archive, move || {
        fs::remove_dir_all(&album).unwrap();
        symlink(&to, &album).unwrap();
    });
    assert!(done.summary.unread >= 1);
    assert!(recorded(&archive, "album/secret").is_none() && recorded(&archive, "album/bystander").is_none());
}

#[test]
fn a_small_file_that_changes_after_the_walk_is_recorded_as_it_is_when_read() {
    let (archive, _) = source();
    let path = archive.source().join("album/bystander");
    let (done, heard) = after_the_walk(&archive, move || fs::write(&path, "something longer or shorter").unwrap());
    nothing_is_told(&done, &heard);
    let (entry, bytes) = recorded(&archive, "album/bystander").unwrap();
    assert_eq!(bytes, b"something longer or shorter");
    assert!(!is_unsettled(&entry));
}

#[test]
fn pipes_and_sockets_are_named_and_passed_over() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let (archive, _) = source();
    let pipe = archive.source().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let heard = Heard::default();
    let done = backup(&archive.open(), &options(&[&archive.source()]), &heard).unwrap();
    nothing_is_told(&done, &heard);
    assert_eq!(done.passed_over, [(pipe, PassedOver::Special("fifo"))]);
    assert_eq!(heard.count(Action::PassedOver), 1);
    assert!(recorded(&archive, "pipe").is_none());
}

/// A writer that changes a file all the time, for real and without any order. Whatever is recorded fits its own hash (which
/// reading it checks), and what is not marked is one of the states that the file really had.
#[test]
fn under_a_restless_writer_nothing_is_mixed_in_silence() {
    let (archive, long) = source();
    let len = 4 << 20;
    fs::write(&long, vec![0; len]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut marked = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::OpenOptions::new().write(true).open(&long).unwrap();
            for version in 1_u8.. {
                for piece in 0..64 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    file.write_all_at(&vec![version; len / 64], (piece * len / 64) as u64).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        });
        for _ in 0..12 {
            let done = archive.try_backup().unwrap();
            let (entry, bytes) = recorded(&archive, "long").unwrap();
            let borders = bytes.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(is_unsettled(&entry) || borders <= 1, "{borders} borders: of several moments, and not marked");
            assert_eq!(is_unsettled(&entry), !done.unread.is_empty());
            marked += usize::from(is_unsettled(&entry));
        }
        stop.store(true, Ordering::Relaxed);
    });
    eprintln!("{marked} of 12 were marked");
    archive.try_backup().unwrap();
    assert!(recorded(&archive, "long").unwrap().1 == contents(&archive.source())[&b"long"[..]]);
}

/// Somebody asked whether a photo was in the archive while a program wrote to it; what was read was there, and what the program
/// left was deleted.
#[test]
fn a_file_that_changes_each_time_it_is_read_is_not_plainly_here() {
    let (archive, long) = source();
    archive.backup();
    let (path, times) = (long.clone(), AtomicUsize::new(0));
    let heard = Heard::calling(move |event, _| {
        if matches!(event, Event::Advance { files: 0, bytes } if *bytes > 100_000) {
            touch(&path, 1_500_000_000 + times.fetch_add(1, Ordering::Relaxed) as i64, 0);
        }
    });
    let found = has(&archive.open(), &[archive.source()], &Filter::default(), false, &heard).unwrap();
    assert!(!found.all());
    assert_eq!(
        found.files.iter().map(|file| &file.path).collect::<Vec<_>>(),
        [&archive.source().join("album/bystander")]
    );
    assert!(
        matches!(found.unread.as_slice(), [(path, why)] if *path == long && why.contains("changed")),
        "{:?}",
        found.unread
    );
}
