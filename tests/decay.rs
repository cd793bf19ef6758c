//! Files whose bytes change while nothing else does: a drive that loses bits. A backup that goes by times never reads
//! them, and one that reads them must not take them for an edit.

use crate::common::user;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapkeep::archive::{Archive, Packing, entries_of, store_entries};
use snapkeep::format::{Entry, EntryKind, Meta, Snapshot, Time};
use snapkeep::id::ChunkId;
use snapkeep::store::Local;
use user::User;

const PHOTO: &str = "Pictures/2019/a.jpg";

fn settle() {
    // What was written just before a run may change again within the same tick of the clock, and is read again.
    std::thread::sleep(Duration::from_millis(120));
}

fn open(user: &User) -> Archive {
    let place = user.path(".local/share/snapkeep/archive");
    Archive::open(Arc::new(Local::new(place)), None, Arc::new(|_| {})).expect("an archive")
}

/// The entry at this path below a tree.
fn find(archive: &Archive, tree: &ChunkId, path: &[&str]) -> Entry {
    let entries = entries_of(&archive.reader(), tree).expect("a directory");
    let entry = entries.into_iter().find(|entry| entry.name == path[0].as_bytes()).expect("it is there");
    match &entry.kind {
        EntryKind::Dir { tree, .. } if path.len() > 1 => find(archive, tree, &path[1..]),
        _ => entry,
    }
}

/// The same tree with another entry at this path.
fn replaced(
    archive: &Archive,
    writer: &snapkeep::archive::Writer<'_>,
    tree: &ChunkId,
    path: &[&str],
    new: &Entry,
) -> ChunkId {
    let mut entries = entries_of(&archive.reader(), tree).expect("a directory");
    let entry = entries.iter_mut().find(|entry| entry.name == path[0].as_bytes()).expect("it is there");
    match &mut entry.kind {
        EntryKind::Dir { tree, .. } if path.len() > 1 => *tree = replaced(archive, writer, tree, &path[1..], new),
        _ => *entry = new.clone(),
    }
    store_entries(writer, entries).expect("stored")
}

/// No program can take bits from a file and leave all its times. So the photo is backed up, and then backed up with
/// other bytes; and then a snapshot is made that has the first bytes and the second times, as if only the bytes had
/// changed since.
fn decays(user: &User, path: &Path) -> Vec<u8> {
    let names: Vec<&str> = PHOTO.split('/').collect();
    let as_it_was = fs::read(path).expect("a photo");
    settle();
    user.done(&["create", "Pictures"]);
    let mut bytes = as_it_was.clone();
    bytes[500] ^= 1;
    fs::write(path, bytes).expect("written");
    settle();
    user.done(&["create", "Pictures"]);
    let archive = open(user);
    let snapshots = archive.snapshots();
    let [.., (_, before), (_, now)] = snapshots.as_slice() else { panic!("two snapshots") };
    let good = find(&archive, &before.tree, &names);
    let bad = find(&archive, &now.tree, &names);
    let writer = archive.writer(Packing::default()).expect("a writer");
    let meta = Meta { decayed: good.meta.decayed, ..bad.meta.clone() };
    let forged = Entry { kind: good.kind, meta, ..bad };
    let tree = replaced(&archive, &writer, &now.tree, &names, &forged);
    writer.finish().expect("finished");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("now");
    let time = Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() };
    archive.commit(&Snapshot { sequence: now.sequence + 1, time, tree, ..now.clone() }).expect("a snapshot");
    as_it_was
}

fn photo(user: &User) -> PathBuf {
    user.path(PHOTO)
}

/// A photo lost a bit on the drive; nobody noticed, and the next program that rewrote it made the loss look like an
/// edit.
#[test]
fn a_photo_that_decays_at_the_source_is_found_named_and_never_taken_for_an_edit() {
    let user = User::new();
    let as_it_was = decays(&user, &photo(&user));
    // A plain backup goes by the times, and keeps the good bytes as the newest.
    let said = user.done(&["create", "Pictures"]);
    assert!(said.contains("0 new, 0 changed"), "{said}");

    assert_eq!(user.snap(&["verify", "--source", "--for", "0s"]).code, 2);
    let said = user.snap(&["verify", "--source"]);
    assert_eq!(said.code, 14, "{}{}", said.out, said.err);
    assert!(said.out.contains(&format!("{PHOTO}: its bytes changed while nothing else did")), "{}", said.out);
    assert!(said.out.contains("read 3 files that look unchanged"), "{}", said.out);
    let line = said.out.lines().find(|line| line.contains("as it was:")).expect("how to get it back");
    let good = line.split('"').nth(1).expect("a snapshot and a path");
    user.done(&["restore", good, "-t", "back"]);
    assert_eq!(fs::read(user.path("back/a.jpg")).expect("restored"), as_it_was);

    // Now that it is suspected, the next backup reads it, keeps both, and says so.
    let said = user.snap(&["create", "Pictures"]);
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(said.err.contains("its bytes have changed while nothing else of it has"), "{}", said.err);
    assert!(said.out.contains("as it was:"), "{}", said.out);
    let said = user.done(&["history", PHOTO]);
    assert!(said.contains("its bytes changed while nothing else did"), "{said}");
    // It is told once. What is recorded is what is there, so there is no more to be found.
    user.done(&["create", "Pictures"]);
    user.done(&["create", "--force", "Pictures"]);
    let said = user.done(&["verify", "--source"]);
    assert!(said.contains("all that were read are as they were backed up"), "{said}");
    let said = user.done(&["history", PHOTO]);
    assert_eq!(said.matches("its bytes changed while nothing else did").count(), 1, "{said}");
}

/// The drive went on failing, and the version that had decayed first was named as the good one.
#[test]
fn what_has_decayed_twice_is_brought_back_as_it_was_at_first() {
    let user = User::new();
    let as_it_was = decays(&user, &photo(&user));
    assert_eq!(user.snap(&["create", "--force", "Pictures"]).code, 3);
    decays(&user, &photo(&user));
    for (number, arguments) in
        [&["verify", "--source"][..], &["create", "--reread", "Pictures"]].into_iter().enumerate()
    {
        let said = user.snap(arguments);
        let line = said.out.lines().find(|line| line.contains("as it was:")).expect("how to get it back");
        let back = format!("back{number}");
        user.done(&["restore", line.split('"').nth(1).expect("a snapshot and a path"), "-t", &back]);
        assert_eq!(fs::read(user.path(&back).join("a.jpg")).expect("restored"), as_it_was, "{arguments:?}");
    }
    // The forged snapshot between them goes back to what had decayed first.
    let said = user.done(&["history", PHOTO]);
    assert_eq!(said.matches("its bytes changed while nothing else did").count(), 3, "{said}");
}

/// Reading everything found other bytes, and recorded them as an ordinary change.
#[test]
fn reading_everything_tells_a_decayed_photo_from_an_edited_one() {
    let user = User::new();
    decays(&user, &photo(&user));
    user.photo("Pictures/2019/b.jpg", 17);
    let said = user.snap(&["create", "--force", "--json", "Pictures"]);
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    let sum: serde_json::Value = serde_json::from_str(said.out.lines().last().expect("a sum")).expect("JSON");
    let decayed = sum["decayed"].as_array().expect("a list");
    assert_eq!(decayed.len(), 1, "the edited photo is none: {sum}");
    assert_eq!(decayed[0]["good"]["path"], PHOTO);
    assert_eq!(sum["files_changed"], 2);
    user.done(&["restore", "latest", "-t", "back"]);
    let back = fs::read(user.path("back/Pictures/2019/a.jpg")).expect("restored");
    assert_eq!(back, fs::read(photo(&user)).expect("a photo"), "what is there is recorded");
    let said = user.done(&["history", "Pictures/2019/b.jpg"]);
    assert!(!said.contains("while nothing else did"), "{said}");
}

/// A decayed photo that was read for another reason, since it had been left out by a rule or the clock had been wrong, was taken
/// for an edit: in one run for a whole library.
#[test]
fn it_does_not_matter_why_a_decayed_photo_is_read() {
    for clock in [false, true] {
        let user = User::new();
        decays(&user, &photo(&user));
        if clock {
            let archive = open(&user);
            let snapshots = archive.snapshots();
            let (_, newest) = snapshots.last().expect("a snapshot");
            let time = Time { secs: newest.time.secs + 7200, ..newest.time };
            archive.commit(&Snapshot { sequence: newest.sequence + 1, time, ..newest.clone() }).expect("a snapshot");
        } else {
            user.done(&["create", "Pictures", "--exclude", "a.jpg"]);
        }
        user.photo("Pictures/2019/b.jpg", 17);
        let said = user.snap(&["create", "Pictures"]);
        assert_eq!(said.code, 3, "clock {clock}: {}{}", said.out, said.err);
        assert!(said.err.contains("its bytes have changed while nothing else of it has"), "{}", said.err);
        assert!(user.done(&["history", PHOTO]).contains("its bytes changed while nothing else did"));
        assert!(!user.done(&["history", "Pictures/2019/b.jpg"]).contains("while nothing else did"), "it was edited");
    }
}

/// What looks changed is for the next backup, not a fault of the drive.
#[test]
fn an_edited_or_missing_file_is_not_called_decayed() {
    let user = User::new();
    settle();
    user.done(&["create", "Pictures"]);
    user.photo("Pictures/2019/b.jpg", 18);
    fs::remove_file(user.path("Pictures/c.jpg")).expect("removed");
    let said = user.json(&["verify", "--source"]);
    let sum = said.last().expect("a sum");
    assert_eq!((&sum["files"], &sum["files_read"], &sum["files_changed"]), (&1.into(), &1.into(), &1.into()));
    fs::rename(user.path("Pictures"), user.path("away")).expect("moved");
    let said = user.snap(&["verify", "--source"]);
    assert_eq!(said.code, 3, "a source that is not there is not all right: {}{}", said.out, said.err);
}
