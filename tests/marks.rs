//! Marks: what is said afterwards of a source that moved or is gone. A folder that moved goes on where it was, and what was
//! said is as safe as a snapshot.

use crate::common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Heard, SMALL, TestArchive, album, flip, has_tool, options};
use snapkeep::archive::{Archive, Began, Filter, Selector};
use snapkeep::error::Kind;
use snapkeep::format::{Mark, Says, Time};
use snapkeep::op::{Backup, RepairOptions, Speaker, backup, bring_source_back, rename_source, repair, retire_source};
use snapkeep::view::{History, Past, Sources, Span};

fn speaker() -> Speaker {
    let (host, user, program) = ("here".to_owned(), "me".to_owned(), "test".to_owned());
    Speaker { host, user, program, time: common::now(), offset_minutes: 0 }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

fn run(archive: &TestArchive, source: &Path) -> Backup {
    backup(&archive.open(), &options(&[source]), &Heard::default()).unwrap()
}

fn rename(archive: &TestArchive, old: &Path, new: &Path) -> snapkeep::error::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    rename_source(&archive.open(), &speaker(), "here", &bytes(old), &bytes(new))
}

#[test]
fn a_folder_that_moved_is_not_new_and_keeps_its_past() {
    // Whoever moved their photos to another drive had them all told as new, and their past under a path that is no more.
    let archive = TestArchive::new(&SMALL);
    let (old, new) = (archive.source(), archive.beside("Bilder"));
    album(&old, 1);
    run(&archive, &old);
    fs::remove_file(old.join("2019/img0.jpg")).unwrap();
    let first = run(&archive, &old);
    common::plain_copy(&old, &new);
    fs::remove_dir_all(&old).unwrap();

    assert_eq!(rename(&archive, &old, &new).unwrap(), [(bytes(&old), bytes(&new))]);
    let guarded = snapkeep::op::BackupOptions { max_loss: Some(25), ..options(&[&new]) };
    let done = backup(&archive.open(), &guarded, &Heard::default()).unwrap();
    let summary = done.summary;
    assert_eq!((summary.new, summary.changed, summary.moved, summary.gone), (0, 0, 0, 0));
    assert_eq!(done.parent, first.id, "it is compared with what the old path had");

    let open = archive.open();
    let past = Past::open(&open, &Filter::default()).unwrap();
    assert_eq!(past.roots().len(), 1, "one source");
    for path in [b"Bilder/2019/img1.jpg".to_vec(), [bytes(&new), b"/2019/img1.jpg".to_vec()].concat()] {
        let spot = &past.spots(&path).unwrap()[0];
        let History::File(found) = past.history(spot).unwrap() else { panic!("it is a file") };
        assert_eq!(found.len(), 1, "one state through both paths");
        assert_eq!((found[0].state.from, &found[0].state.began), (0, &Began::Added));
        assert!(found[0].state.ended.is_none());
    }
    let by_old_path = past.spots(&[bytes(&old), b"/2019/img1.jpg".to_vec()].concat()).unwrap();
    assert_eq!(past.path(&by_old_path[0]), b"Bilder/2019/img1.jpg");
    let deleted = past.episodes(&past.roots(), Span::Deleted).unwrap();
    assert_eq!(deleted.len(), 1, "{deleted:?}");
    let (id, _, inside) = past.place(&deleted[0]).unwrap();
    assert_eq!(
        (deleted[0].path.as_slice(), inside.as_slice()),
        (&b"Bilder/2019/img0.jpg"[..], &b"source/2019/img0.jpg"[..])
    );
    // What the last snapshot under the old path is called does not matter to who asks for it by the new one.
    let (_, snapshot) = open.find(&Selector::Prefix(id.to_hex()), &Filter::default()).unwrap();
    let view = snapkeep::view::View::new(&open, id, snapshot);
    assert!(view.find(&[bytes(&new), b"/2019/img0.jpg".to_vec()].concat()).is_ok());

    // The past is the same when it is made anew, and when it was there before the folder was renamed.
    fs::remove_dir_all(archive.cache()).unwrap();
    let open = archive.open();
    let anew = Past::open(&open, &Filter::default()).unwrap();
    assert_eq!(anew.episodes(&anew.roots(), Span::All).unwrap(), past.episodes(&past.roots(), Span::All).unwrap());
}

#[test]
fn what_comes_to_the_old_path_later_is_another_source() {
    let archive = TestArchive::new(&SMALL);
    let (old, new) = (archive.source(), archive.beside("moved"));
    album(&old, 1);
    run(&archive, &old);
    fs::rename(&old, &new).unwrap();
    rename(&archive, &old, &new).unwrap();
    fs::create_dir(&old).unwrap();
    fs::write(old.join("other.jpg"), b"another").unwrap();
    run(&archive, &old);
    let done = run(&archive, &new);
    assert_eq!((done.summary.new, done.summary.gone), (0, 0));
    let open = archive.open();
    let sources = Sources::of(&open, &Filter::default()).unwrap();
    let told: Vec<_> = sources.all().iter().map(|line| (line.path.clone(), line.snapshots.clone())).collect();
    assert_eq!(told, [(bytes(&new), vec![0, 2]), (bytes(&old), vec![1])]);
    let past = Past::open(&open, &Filter::default()).unwrap();
    assert!(past.episodes(&past.roots(), Span::Deleted).unwrap().is_empty());

    // Both were backed up in turn: they cannot be one.
    assert_eq!(rename(&archive, &old, &new).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(rename(&archive, &archive.beside("x"), &new).unwrap_err().kind(), Kind::NotFound);
    let of_another = rename_source(&open, &speaker(), "there", &bytes(&old), b"/q").unwrap_err();
    assert_eq!(of_another.kind(), Kind::NotFound);
}

#[test]
fn folders_below_one_that_moved_go_with_it() {
    let archive = TestArchive::new(&SMALL);
    let drive = archive.beside("drive");
    for name in ["Pictures", "Videos"] {
        album(&drive.join(name), 1);
        run(&archive, &drive.join(name));
    }
    let new = archive.beside("new drive");
    let renamed = rename(&archive, &drive, &new).unwrap();
    assert_eq!(renamed.len(), 2);
    fs::rename(&drive, &new).unwrap();
    for name in ["Pictures", "Videos"] {
        assert_eq!(run(&archive, &new.join(name)).summary.new, 0, "{name}");
    }
}

#[test]
fn a_retired_source_is_neither_there_nor_deleted() {
    // A card that was backed up once stood among the present for ever, or all of it among the deleted.
    let archive = TestArchive::new(&SMALL);
    let card = archive.beside("card");
    album(&card, 1);
    run(&archive, &card);
    fs::remove_file(card.join("2020/notes.txt")).unwrap();
    run(&archive, &card);
    album(&archive.source(), 2);
    archive.backup();
    let count = |span, all| {
        let open = archive.open();
        let past = Past::open(&open, &Filter::default()).unwrap();
        let roots = if all { past.all_roots() } else { past.roots() };
        let found = past.episodes(&roots, span).unwrap();
        found.iter().filter(|one| one.path.starts_with(b"card/")).count()
    };
    assert_eq!((count(Span::Newest, false), count(Span::Deleted, false)), (13, 1));
    retire_source(&archive.open(), &speaker(), "here", &bytes(&card)).unwrap();
    assert_eq!((count(Span::Newest, false), count(Span::Deleted, false), count(Span::All, true)), (0, 0, 14));
    let located = |path: &[u8]| {
        let open = archive.open();
        let sources = Sources::of(&open, &Filter::default()).unwrap();
        sources.locate(&Selector::Latest(0), path, "here").map(|found| found.path)
    };
    let error = located(b"card/2020").unwrap_err();
    assert!(error.to_string().contains("retired"), "{error}");
    assert_eq!(located(b"source/2020").unwrap(), b"source/2020");
    bring_source_back(&archive.open(), &speaker(), "here", &bytes(&card)).unwrap();
    assert_eq!(count(Span::Newest, false), 13);
    retire_source(&archive.open(), &speaker(), "here", &bytes(&card)).unwrap();
    run(&archive, &card);
    assert_eq!(count(Span::Newest, false), 13, "it is backed up again");
    assert_eq!(retire_source(&archive.open(), &speaker(), "here", b"/x").unwrap_err().kind(), Kind::NotFound);
}

/// Damages a file.
type Spoil = fn(&Path);

/// An archive with a mark, and the mark's name.
fn marked() -> (TestArchive, String) {
    let archive = TestArchive::new(&SMALL);
    album(&archive.source(), 1);
    archive.backup();
    rename(&archive, &archive.source(), Path::new("/elsewhere")).unwrap();
    let name = archive.objects_in("marks/").remove(0).0;
    (archive, name)
}

fn paths(archive: &Archive) -> Vec<Vec<u8>> {
    Sources::of(archive, &Filter::default()).unwrap().all().iter().map(|line| line.path.clone()).collect()
}

#[test]
fn a_mark_is_as_safe_as_a_snapshot() {
    // One wrong bit in a mark, and a library that had moved would be told as new and its past as deleted.
    let (whole, name) = marked();
    assert!(whole.verify(true).damage.is_empty());
    let parity = format!("parity/{}/{}", &name[6..8], &name[6..]);
    let spoilt: [(&str, &str, Spoil); 5] = [
        ("flipped", &name, |path| flip(path, 150)),
        ("cut", &name, |path| fs::write(path, &fs::read(path).unwrap()[..20]).unwrap()),
        ("gone", &name, |path| fs::remove_file(path).unwrap()),
        ("parity flipped", &parity, |path| flip(path, 700)),
        ("parity gone", &parity, |path| fs::remove_file(path).unwrap()),
    ];
    for (what, name, spoil) in spoilt {
        let archive = whole.copy();
        let before = fs::read(archive.path().join(name)).unwrap();
        spoil(&archive.path().join(name));
        if what != "gone" {
            assert_eq!(paths(&archive.open()), [b"/elsewhere".to_vec()], "{what}: it is read all the same");
        }
        // A mark that was lost was not named: nothing but its recovery data told of it.
        let found = archive.verify(what != "gone");
        assert_eq!(found.damage.iter().map(|damage| damage.object.as_str()).collect::<Vec<_>>(), [name], "{what}");
        assert!(found.damage[0].mendable, "{what}");
        let done = repair(&archive.open(), &RepairOptions::default(), &Heard::default()).unwrap();
        assert!(done.is_whole(), "{what}: {done:?}");
        assert_eq!(fs::read(archive.path().join(name)).unwrap(), before, "{what}");
        assert!(archive.verify(true).damage.is_empty(), "{what}");
    }
    // Without anything to mend it, it says nothing, and everything else is as it was.
    let archive = whole.copy();
    flip(&archive.path().join(&name), 150);
    fs::remove_file(archive.path().join(&parity)).unwrap();
    assert_eq!(paths(&archive.open()), [bytes(&whole.source())]);
    assert!(!archive.verify(false).damage.is_empty());
}

#[test]
fn a_newer_mark_is_passed_over_alone() {
    let (archive, _) = marked();
    let says = Says::SourceRetired { host: "here".to_owned(), path: bytes(&archive.source()) };
    let (host, user, program) = (String::new(), String::new(), String::new());
    let mark = Mark { sequence: 9, time: Time::default(), offset_minutes: 0, host, user, program, says };
    let mut newer = mark.encode();
    let at = newer.windows(2).position(|pair| pair == [20, 2]).unwrap();
    newer[at + 1] = 9;
    let id = blake3::hash(&newer).to_hex();
    fs::write(archive.path().join(format!("marks/{id}")), &newer).unwrap();
    let open = archive.open();
    assert_eq!(paths(&open), [b"/elsewhere".to_vec()], "the others count");
    let told = archive.notices.lock().unwrap().iter().filter(|notice| format!("{notice:?}").contains("marks/")).count();
    assert_eq!(told, 1);
    assert_eq!(archive.verify(false).damage.len(), 1, "it is told of");
}

#[test]
fn a_reader_of_the_specification_checks_marks() {
    if !has_tool("python3") || !has_tool("zstd") {
        return;
    }
    let (archive, name) = marked();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/read_archive.py");
    let verify = || {
        let mut python = Command::new("python3");
        python.env("READ_ARCHIVE_PURE", "1").arg(&script).arg(archive.path()).arg("verify").output().unwrap()
    };
    let said = verify();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("1 marks"), "{text}{}", String::from_utf8_lossy(&said.stderr));
    flip(&archive.path().join(&name), 150);
    let said = verify();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains(&name));
}
