//! A damaged page of the last snapshot's tree is not a page that held nothing: what it may have held and was not read now
//! is kept as an earlier snapshot has it, or named.

use crate::common;
use crate::common::user;

use std::fs;
use std::path::PathBuf;

use common::{Heard, TestArchive, contents_of, options};
use snapkeep::archive::{Archive, Parameters, entries_of};
use snapkeep::error::{Kind, Result};
use snapkeep::format::{Entry, EntryKind, names};
use snapkeep::id::{ChunkId, SnapshotId};
use snapkeep::op::{Backup, BackupOptions, backup};

fn write(archive: &TestArchive, path: &str) {
    let path = archive.source().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Bytes and lengths that no other file has.
    fs::write(&path, path.to_str().unwrap().repeat(20 + path.as_os_str().len() % 7)).unwrap();
}

fn run(archive: &TestArchive, change: impl Fn(&mut BackupOptions)) -> Result<Backup> {
    let mut options = options(&[&archive.source()]);
    change(&mut options);
    backup(&archive.open(), &options, &Heard::default())
}

fn excluding(archive: &TestArchive, patterns: &[&str]) -> Backup {
    run(archive, |options| options.rules.exclude = patterns.iter().map(|text| (*text).to_owned()).collect()).unwrap()
}

/// The top page of the directory at this path.
pub fn tree_at(archive: &Archive, id: SnapshotId, path: &str) -> ChunkId {
    let mut tree = archive.snapshots().into_iter().find(|(other, _)| *other == id).unwrap().1.tree;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let entry: Entry = entries_of(&archive.reader(), &tree)
            .unwrap()
            .into_iter()
            .find(|entry| entry.name == name.as_bytes())
            .unwrap();
        let EntryKind::Dir { tree: below, .. } = entry.kind else { panic!("{path} is no folder") };
        tree = below;
    }
    tree
}

/// Damages the top page of a directory so that nothing can mend it.
fn lose(archive: &TestArchive, id: SnapshotId, path: &str) {
    let page = tree_at(&archive.open(), id, path);
    lose_page(archive, &page);
}

/// Damages a page so that nothing can mend it.
pub fn lose_page(archive: &TestArchive, page: &ChunkId) {
    let open = archive.open();
    let places = open.locate(page).unwrap();
    assert!(!places.is_empty());
    for place in places {
        let pack = archive.path().join(names::pack(&place.pack));
        let mut bytes = fs::read(&pack).unwrap();
        let at = usize::try_from(place.row.offset).unwrap();
        bytes[at..at + usize::try_from(place.row.frame_len()).unwrap()].fill(0x55);
        fs::write(&pack, bytes).unwrap();
        let _ = fs::remove_file(archive.path().join(names::parity(place.pack.as_bytes())));
    }
    drop(open);
    fs::remove_dir_all(archive.cache()).unwrap();
}

fn has(archive: &TestArchive, done: &Backup, path: &str) -> bool {
    let held = contents_of(&archive.open(), done.id.unwrap()).unwrap();
    held.contains_key(path.as_bytes())
}

fn named(done: &Backup) -> Vec<PathBuf> {
    let mut named: Vec<PathBuf> =
        done.unread.iter().map(|unread| PathBuf::from(String::from_utf8(unread.path.clone()).unwrap())).collect();
    named.sort();
    named
}

/// A photo that a new rule left out fell out of the newest snapshot without a word, because the page that had it was damaged.
#[test]
fn what_a_damaged_page_held_is_kept_as_an_earlier_snapshot_has_it_or_named() {
    let archive = TestArchive::new(&Parameters::default());
    ["a/0", "a/1", "a/2", "b/0"].iter().for_each(|path| write(&archive, path));
    archive.backup();
    write(&archive, "a/3");
    let second = archive.backup();
    lose(&archive, second, "source/a");
    let done = excluding(&archive, &["a/1", "a/3"]);
    assert_eq!(done.unknown, [archive.source().join("a")]);
    assert_eq!(named(&done), [archive.source().join("a/3")], "no earlier snapshot has it");
    assert_eq!(done.kept.excluded, 1);
    assert!(has(&archive, &done, "a/1") && has(&archive, &done, "a/0") && has(&archive, &done, "b/0"));
    assert_eq!((done.summary.new, done.summary.changed, done.summary.gone), (0, 0, 0), "nothing came or went");
    // It is whole again, and says nothing any more.
    let done = excluding(&archive, &["a/1", "a/3"]);
    assert!(done.unknown.is_empty() && done.unread.is_empty() && has(&archive, &done, "a/1"));
}

/// The page that names a folder was lost, and with it what was newly left out deep below.
#[test]
fn what_lay_below_a_damaged_page_is_kept_or_named_as_well() {
    for earlier in [true, false] {
        let archive = TestArchive::new(&Parameters::default());
        write(&archive, "a/deep/0");
        write(&archive, "a/deep/1");
        if earlier {
            archive.backup();
        }
        write(&archive, "a/more");
        let id = archive.backup();
        lose(&archive, id, "source/a");
        let done = excluding(&archive, &["deep/1"]);
        assert_eq!(done.unknown, [archive.source().join("a")]);
        assert_eq!(has(&archive, &done, "a/deep/1"), earlier);
        assert_eq!(named(&done).is_empty(), earlier, "{:?}", done.unread);
        assert!(has(&archive, &done, "a/deep/0") && has(&archive, &done, "a/more"));
    }
}

/// With the newest snapshot's own first page lost, every source looked as if it had never been backed up.
#[test]
fn a_snapshot_whose_sources_cannot_be_read_is_not_the_last_word() {
    let archive = TestArchive::new(&Parameters::default());
    ["a/0", "a/1"].iter().for_each(|path| write(&archive, path));
    archive.backup();
    write(&archive, "a/2");
    let second = archive.backup();
    lose(&archive, second, "");
    let done = excluding(&archive, &["a/1", "a/2"]);
    assert_eq!(done.unknown, [archive.source()]);
    assert!(has(&archive, &done, "a/0") && has(&archive, &done, "a/1"));
    assert_eq!(named(&done), [archive.source().join("a/2")]);
}

/// The guard took a folder whose page was damaged for one that had been empty, and let everything in it go.
#[test]
fn the_guard_counts_what_it_cannot_read() {
    let archive = TestArchive::new(&Parameters::default());
    (0..60).for_each(|number| write(&archive, &format!("many/{number}")));
    write(&archive, "b/0");
    let id = archive.backup();
    lose(&archive, id, "source/many");
    // What is there still is not lost.
    let guarded = |options: &mut BackupOptions| options.max_loss = Some(25);
    let tried =
        run(&archive, |options| *options = BackupOptions { dry_run: true, max_loss: Some(25), ..options.clone() });
    assert!(tried.unwrap().unread.is_empty());
    fs::remove_dir_all(archive.source().join("many")).unwrap();
    let error = run(&archive, guarded).expect_err("it has lost too much");
    assert_eq!(error.kind(), Kind::Loss);
    assert!(error.to_string().contains("lost 60 of the 61 files"), "{error}");
}

/// Exit 0, and nothing that a person could have read.
#[test]
fn it_is_said_and_the_exit_code_is_3() {
    let user = user::User::new();
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    let packs = fs::read_dir(archive.join("packs")).unwrap().flatten();
    let packs = packs.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten().map(|pack| pack.path()));
    let metadata: Vec<PathBuf> = packs.filter(|pack| fs::read(pack).unwrap()[10] == 1).collect();
    assert!(!metadata.is_empty());
    for pack in metadata {
        fs::write(pack, "").unwrap();
    }
    fs::remove_dir_all(archive.join("parity")).unwrap();
    let said = user.snap(&["create", "Pictures", "--exclude", "c.jpg"]);
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(said.err.contains("the last state of 1 folder in it cannot be read"), "{}", said.err);
    assert!(said.err.contains("c.jpg"), "{}", said.err);
    let said = user.snap(&["create", "Pictures"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}
