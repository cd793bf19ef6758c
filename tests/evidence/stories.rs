//! What was lost, and what must cost nothing, one by one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{XattrFlags, setxattr};
use snapkeep::archive::{Filter, Selector};
use snapkeep::format::{EntryKind, Time};
use snapkeep::op::{Backup, Event, backup};
use snapkeep::view::{Node, View};

use super::PLAIN;
use super::drives::Drive;
use super::life::Disk;
use super::odd::{Numbers, Odd, Oddities};
use crate::common::{
    Heard, Random, SMALL, TestArchive, contents, contents_of, has_tool, is_root, now, options, run, touch,
};

/// Backs up a folder and says how many bytes of it were read.
fn backed_up(archive: &TestArchive, source: &Path, reread: bool) -> (Backup, u64) {
    let read = Arc::new(AtomicU64::new(0));
    let seen = read.clone();
    let heard = Heard::calling(move |event, _| {
        if let Event::Advance { files: 0, bytes } = event {
            seen.fetch_add(*bytes, Ordering::Relaxed);
        }
    });
    let mut asked = options(&[source]);
    (asked.time, asked.force) = (now(), reread);
    let done = backup(&archive.open(), &asked, &heard).unwrap();
    (done, read.load(Ordering::Relaxed))
}

/// A file system with oddities; none where nothing can be mounted.
fn odd(oddities: Oddities, what: &str) -> Option<Odd> {
    if !is_root(what) || !Path::new("/dev/fuse").exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "FUSE is needed to test {what}");
        eprintln!("SKIPPED: no file system can be mounted here, so {what} was NOT tested");
        return None;
    }
    Some(Odd::mount(oddities))
}

/// Backs up folders of one of these, so many seconds after what happened there last.
fn backed_up_after(archive: &TestArchive, disk: &Odd, folders: &[&str], seconds: i64) -> (Backup, Heard) {
    let sources: Vec<_> = folders.iter().map(|folder| disk.source().join(folder)).collect();
    let mut asked = options(&sources.iter().map(|path| path.as_path()).collect::<Vec<_>>());
    let since = disk.now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    asked.time = Time { secs: since.as_secs() as i64 + seconds, nanos: since.subsec_nanos() };
    let heard = Heard::default();
    (backup(&archive.open(), &asked, &heard).unwrap(), heard)
}

/// The drive flipped a bit in the first reading of a photo that the archive had lost; the second reading was good, and was thrown
/// away: the photo was recorded as it was, in chunks that nobody had any more.
#[test]
fn a_photo_that_reads_well_the_second_time_is_stored_where_the_archive_has_it_no_longer() {
    let Some(mut disk) = odd(PLAIN, "a drive that reads differently each time") else { return };
    let (archive, photo) = (TestArchive::new(&SMALL), Path::new("2019/a.jpg"));
    disk.make_folder(Path::new("2019"));
    disk.write(photo, &Random(1).bytes(3000));
    backed_up_after(&archive, &disk, &["."], 1000);
    let data = |archive: &TestArchive| {
        let packs = archive.objects_in("packs/").into_iter();
        packs.filter(|(_, path)| fs::metadata(path).unwrap().len() > 3000).collect::<Vec<_>>()
    };
    assert_eq!(data(&archive).len(), 1);
    // While the archive has it, it is recorded as it was, and nothing is stored.
    disk.spoil(photo);
    let (done, _) = backed_up_after(&archive, &disk, &["."], 2000);
    assert_eq!((done.read, data(&archive).len()), (0, 1), "it was not read");
    fs::remove_file(&data(&archive)[0].1).unwrap();
    // The recovery data of so small a pack is as good as a copy of it.
    for (_, path) in archive.objects_in("parity/") {
        fs::remove_file(path).unwrap();
    }
    let (done, heard) = backed_up_after(&archive, &disk, &["."], 3000);
    let trouble = heard.trouble.lock().unwrap();
    assert!(trouble.iter().any(|(_, why)| why.contains("reads differently each time")), "{trouble:?}");
    assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&disk.source()));
}

/// The hash of each file that a run recorded, by its path.
fn recorded(archive: &TestArchive, done: &Backup) -> Vec<(String, [u8; 32])> {
    let opened = archive.open();
    let (id, snapshot) = opened.find(&Selector::Prefix(done.id.unwrap().to_hex()), &Filter::default()).unwrap();
    let (view, mut held) = (View::new(&opened, id, snapshot), Vec::new());
    view.walk(&Node { path: Vec::new(), entry: None }, &mut |node| {
        if let Some(EntryKind::File { hash, .. }) = node.entry.as_ref().map(|entry| &entry.kind) {
            held.push((String::from_utf8(node.path.clone()).unwrap(), *hash.as_bytes()));
        }
        Ok(true)
    })
    .unwrap();
    held.sort();
    held
}

/// The same of these folders as they are.
fn there(disk: &Odd, folders: &[&str]) -> Vec<(String, [u8; 32])> {
    let all = disk.files().into_iter().filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)));
    all.map(|(path, bytes)| (path.to_str().unwrap().to_owned(), *blake3::hash(&bytes).as_bytes())).collect()
}

/// Two folders of a card changed their names. Each was a source of its own, and photos with one name, length and date (camera
/// burst numbers begin anew in each folder) were recorded as those of the other folder.
#[test]
fn photos_of_two_sources_that_changed_their_names_are_told_apart() {
    let oddities = Oddities { numbers: Numbers::Fresh, ctime: super::Ctime::Date, ..PLAIN };
    let Some(mut disk) = odd(oddities, "folders of a card that change their names") else { return };
    let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for (folder, names) in [("A", &["1.jpg", "2.jpg"][..]), ("B", &["1.jpg"]), ("C", &["2.jpg"])] {
        disk.make_folder(Path::new(folder));
        for name in names {
            let path = Path::new(folder).join(name);
            disk.write(&path, &Random(u64::from(folder.as_bytes()[0] ^ name.as_bytes()[0])).bytes(900));
            disk.set_date(&path, date);
        }
    }
    let archive = TestArchive::new(&SMALL);
    let swap = |disk: &mut Odd, one: &str, other: &str| {
        disk.rename(Path::new(one), Path::new("aside"));
        disk.rename(Path::new(other), Path::new(one));
        disk.rename(Path::new("aside"), Path::new(other));
    };
    let (done, _) = backed_up_after(&archive, &disk, &["A", "B"], 1000);
    assert_eq!(recorded(&archive, &done), there(&disk, &["A", "B"]));
    swap(&mut disk, "A", "B");
    let (done, _) = backed_up_after(&archive, &disk, &["A", "B"], 2000);
    assert_eq!(recorded(&archive, &done), there(&disk, &["A", "B"]));
    // The other one was never backed up.
    swap(&mut disk, "B", "C");
    let (done, _) = backed_up_after(&archive, &disk, &["A", "B", "C"], 3000);
    assert_eq!(recorded(&archive, &done), there(&disk, &["A", "B", "C"]));
}

/// Of a burst of photos with one length and one date the first was deleted, and the others were numbered anew: each was
/// recorded with the bytes of the one before, and nothing was told but one photo less.
#[test]
fn a_burst_that_is_numbered_anew_is_read() {
    let oddities = Oddities { numbers: Numbers::Fresh, ctime: super::Ctime::Date, ..PLAIN };
    let Some(mut disk) = odd(oddities, "a card whose photos are numbered anew") else { return };
    let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    disk.make_folder(Path::new("A"));
    let name = |number: u64| PathBuf::from(format!("A/{number}.raw"));
    for number in 1..=4 {
        disk.write(&name(number), &Random(number).bytes(900));
        disk.set_date(&name(number), date);
    }
    let archive = TestArchive::new(&SMALL);
    backed_up_after(&archive, &disk, &["A"], 1000);
    for run in 2..=4 {
        disk.remove(&name(1));
        for number in 2..=(6 - run) {
            disk.rename(&name(number), &name(number - 1));
        }
        let (done, _) = backed_up_after(&archive, &disk, &["A"], 1000 * run as i64);
        assert_eq!(recorded(&archive, &done), there(&disk, &["A"]), "run {run}");
    }
}

/// What was written just before a run may change again within the same tick of the clock.
fn settle() {
    std::thread::sleep(Duration::from_millis(70));
}

/// Three albums of five photos, and how many bytes they have.
fn library(source: &Path) -> u64 {
    for album in ["2017", "2018", "2019"] {
        fs::create_dir_all(source.join(album)).unwrap();
        for number in 0..5 {
            let path = source.join(album).join(format!("IMG_{number}.jpg"));
            fs::write(&path, Random(number).bytes(2000)).unwrap();
            touch(&path, 1_500_000_000, 0);
        }
    }
    settle();
    15 * 2000
}

/// A reorganised library must cost nothing, or nobody reorganises it.
#[test]
fn renamed_albums_are_not_read_and_a_renamed_photo_is_and_counts_as_moved() {
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    let all = library(&source);
    assert_eq!(backed_up(&archive, &source, false).1, all);
    assert_eq!(backed_up(&archive, &source, false).1, 0);
    for album in ["2017", "2018", "2019"] {
        fs::rename(source.join(album), source.join(format!("{album} at the sea"))).unwrap();
    }
    let (done, read) = backed_up(&archive, &source, false);
    assert_eq!((read, done.summary.moved, done.summary.new, done.summary.gone), (0, 15, 0, 0));
    fs::rename(source.join("2019 at the sea/IMG_1.jpg"), source.join("best.jpg")).unwrap();
    let (done, read) = backed_up(&archive, &source, false);
    assert_eq!((read, done.summary.moved, done.summary.new, done.summary.added < 2000), (2000, 1, 0, true));
    // Everything is read where that is asked for.
    let (done, read) = backed_up(&archive, &source, true);
    assert_eq!((read, done.unchanged), (all, true));
}

/// A rating was written into a photo in place and its date put back, and the photo was renamed: the photo without its rating
/// was recorded, for ever.
#[test]
fn a_photo_that_was_renamed_and_edited_with_its_date_kept_is_recorded_as_it_is() {
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    library(&source);
    backed_up(&archive, &source, false);
    let path = source.join("2018/IMG_3.jpg");
    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"RATING5", 400).unwrap();
    touch(&path, 1_500_000_000, 0);
    fs::rename(&path, source.join("2018/2017-07-14.jpg")).unwrap();
    for _ in 0..2 {
        let (done, _) = backed_up(&archive, &source, false);
        assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&source));
        settle();
    }
}

/// The length of a file that its file system does not know was believed: it was recorded as empty.
#[test]
fn a_file_that_is_said_to_be_empty_is_read_to_its_end() {
    let archive = TestArchive::new(&SMALL);
    let path = Path::new("/proc/version");
    let bytes = fs::read(path).unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), 0);
    let (done, read) = backed_up(&archive, path, false);
    assert_eq!((read, done.summary.bytes, done.unread.len()), (bytes.len() as u64, bytes.len() as u64, 0));
    let opened = archive.open();
    let (id, snapshot) = opened.snapshots().last().unwrap().clone();
    let view = View::new(&opened, id, snapshot);
    let mut held = Vec::new();
    view.walk(&Node { path: Vec::new(), entry: None }, &mut |node| {
        if let Some(EntryKind::File { sparse, .. }) = node.entry.as_ref().map(|entry| &entry.kind) {
            assert!(!sparse, "nothing is known of its holes");
            view.read(node, &mut |piece| {
                held.extend_from_slice(piece);
                Ok(())
            })?;
        }
        Ok(true)
    })
    .unwrap();
    assert!(held == bytes);
}

/// A photo was left out because the list of its attributes was too long; and what is missing of them must be said again by
/// the runs after that, which do not read the photo.
#[test]
fn attributes_that_cannot_be_read_cost_the_attributes_and_are_told_each_time() {
    if !is_root("attributes that cannot be read") || !has_tool("mkfs.xfs") || !has_tool("setfacl") {
        return;
    }
    let Some(drive) = Drive::new("mkfs.xfs", &["-q", "-f"], 320) else {
        return eprintln!("SKIPPED: there are no loop devices here, so unreadable attributes were NOT tested");
    };
    let source = drive.path().join("source");
    let all = library(&source);
    let path = source.join("2018/IMG_3.jpg");
    for number in 0..330 {
        let name = format!("user.{}{number:05}", "n".repeat(200));
        setxattr(&path, name, b"v", XattrFlags::empty()).unwrap();
    }
    run(Command::new("setfacl").args(["-m", "u:12345:r"]).arg(&path));
    settle();
    let archive = TestArchive::new(&SMALL);
    for expected in [all, 0] {
        let (done, read) = backed_up(&archive, &source, false);
        assert_eq!((read, done.unread.len()), (expected, 1), "{:?}", done.unread);
        assert!(done.unread[0].why.contains("attributes"), "{:?}", done.unread);
        assert!(contents_of(&archive.open(), done.id.unwrap()).unwrap() == contents(&source));
        let opened = archive.open();
        let (id, snapshot) = opened.snapshots().last().unwrap().clone();
        let mut kept = None;
        View::new(&opened, id, snapshot)
            .walk(&Node { path: Vec::new(), entry: None }, &mut |node| {
                if node.path == b"source/2018/IMG_3.jpg" {
                    kept = node.entry.as_ref().map(|entry| entry.meta.xattrs.clone());
                }
                Ok(true)
            })
            .unwrap();
        let names: Vec<Vec<u8>> = kept.unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [b"system.posix_acl_access".to_vec()], "who may open it is asked by name");
    }
}
