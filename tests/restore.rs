//! Restoring onto what people have: file systems that lack or change things, runs that were stopped, archives that are
//! damaged or of somebody else.

use crate::common;
use crate::common::user;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Heard, Random, SMALL, TestArchive, album, contents, has_tool, is_root, run, stopping_after, touch};
use snapkeep::archive::{Archive, Packing};
use snapkeep::chunk::Chunk;
use snapkeep::error::{Kind, Result};
use snapkeep::format::{Child, Content, Device, Entry, EntryKind, Hint, Meta, Snapshot, Source, Time, Tree};
use snapkeep::id::{ChunkId, ChunkKind, FileHash};
use snapkeep::op::{Action, NoRoom, Overwrite, Restore, RestoreOptions, Selection, restore};
use snapkeep::view::{Node, View};
use user::User;

/// Restores the newest snapshot.
fn restored(archive: &Archive, target: &Path, overwrite: Overwrite, heard: &Heard) -> Result<Restore> {
    let (id, snapshot) = archive.snapshots().pop().unwrap();
    let options = RestoreOptions {
        target: target.to_owned(),
        selection: Selection::default(),
        overwrite,
        dry_run: false,
        verify: false,
        setuid: false,
    };
    restore(&View::new(archive, id, snapshot), &Node { path: Vec::new(), entry: None }, &options, heard)
}

/// A mount, unmounted at the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let gone = |program: &str, flag: &str| {
            Command::new(program).args([flag]).arg(&self.0).output().is_ok_and(|done| done.status.success())
        };
        assert!(gone("fusermount3", "-u") || gone("umount", "-l"), "{} stays mounted", self.0.display());
    }
}

/// A folder called `name` beside the archive, where this program has mounted something.
fn mounted(archive: &TestArchive, name: &str, program: &str, arguments: &[&str]) -> Mounted {
    let at = archive.beside(name);
    fs::create_dir(&at).unwrap();
    run(Command::new(program).args(arguments).arg(&at));
    Mounted(at)
}

/// What a folder holds, but for its times and owners.
fn same(one: &Path, other: &Path) {
    assert!(contents(one) == contents(other), "{:?} and {:?} differ", one, other);
}

fn mode_and_time(path: &Path) -> (u32, i64) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.mtime())
}

/// An archive of an album whose folders have times and rights of their own.
fn albums() -> TestArchive {
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    album(&source, 1);
    for (folder, mode, secs) in
        [("2019/empty", 0o750, 100), ("2019", 0o751, 200), ("2020", 0o555, 300), ("", 0o755, 400)]
    {
        fs::set_permissions(source.join(folder), fs::Permissions::from_mode(mode)).unwrap();
        touch(&source.join(folder), 1_500_000_000 + secs, 0);
    }
    archive.backup();
    archive
}

/// Photos restored onto bindfs, and onto many others that FUSE serves, had today's date, and nothing was said.
#[test]
fn dates_are_kept_where_both_times_must_be_set() {
    if !has_tool("bindfs") || !is_root("a mount that ignores times") {
        return;
    }
    let archive = albums();
    let below = archive.beside("below");
    fs::create_dir(&below).unwrap();
    let at = mounted(&archive, "at", "bindfs", &[below.to_str().unwrap()]);
    let done = restored(&archive.open(), &at.0, Overwrite::Never, &Heard::default()).unwrap();
    assert!(done.failed.is_empty() && done.notes.is_empty(), "{:?}", done.notes);
    for path in ["2019", "2019/empty", "2020", "2019/img0.jpg", "2020/best", ""] {
        let times = |root: &Path| fs::symlink_metadata(root.join(path)).unwrap().mtime();
        assert_eq!(times(&below.join("source")), times(&archive.source()), "{path}");
    }
}

/// Nothing at all could be restored to an rclone mount: link() says EIO there, and a plain rename was not tried.
#[test]
fn a_target_without_links_gets_every_photo_and_names_the_links() {
    if !has_tool("rclone") || !is_root("a mount without links") {
        return;
    }
    let archive = albums();
    let below = archive.beside("below");
    fs::create_dir(&below).unwrap();
    let remote = below.to_str().unwrap();
    fs::create_dir(archive.beside("at")).unwrap();
    let mount = ["mount", remote, archive.beside("at").to_str().unwrap(), "--vfs-cache-mode", "writes", "--daemon"]
        .map(str::to_owned);
    run(Command::new("rclone").args(mount).env("HOME", archive.beside("home")));
    let at = Mounted(archive.beside("at"));
    let done = restored(&archive.open(), &at.0, Overwrite::Never, &Heard::default()).unwrap();
    assert_eq!((done.files, done.symlinks), (12, 0), "{:?}", done.failed);
    let failed: Vec<_> =
        done.failed.iter().map(|(path, _)| path.strip_prefix(&at.0).unwrap().to_str().unwrap()).collect();
    assert_eq!(failed, ["source/2019/best", "source/2020/best"]);
    assert_eq!(
        fs::read(at.0.join("source/2019/img0.jpg")).unwrap(),
        fs::read(archive.source().join("2019/img0.jpg")).unwrap()
    );
}

/// On a drive that takes a.jpg and A.JPG for one name, the second photo replaced the first or was silently left out, and
/// two albums became one.
#[test]
fn names_that_the_target_takes_for_the_same_cost_no_photo() {
    if !has_tool("lowntfs-3g") || !has_tool("mkfs.ntfs") || !is_root("a file system that ignores case") {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    for folder in ["Foo", "foo"] {
        fs::create_dir(source.join(folder)).unwrap();
    }
    let files = ["a.jpg", "A.JPG", "A.jpg", "a (2).jpg", "Foo/x", "foo/x", "foo/X", "equal", "EQUAL", "foo (2)"];
    for (number, name) in files.into_iter().enumerate() {
        let bytes = if name.eq_ignore_ascii_case("equal") { "twice".into() } else { format!("photo {number}") };
        fs::write(source.join(name), bytes).unwrap();
    }
    symlink("a.jpg", source.join("LINK")).unwrap();
    fs::write(source.join("link"), "no link").unwrap();
    archive.backup();
    let image = archive.beside("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run(Command::new("mkfs.ntfs").args(["-q", "-F"]).arg(&image));
    let at = mounted(&archive, "at", "lowntfs-3g", &["-o", "ignore_case", image.to_str().unwrap()]);
    let wanted = |root: &Path| {
        let mut all: Vec<_> = contents(root).into_values().filter(|bytes| !bytes.is_empty()).collect();
        all.sort();
        all
    };
    let mut before = None;
    for overwrite in [Overwrite::Never, Overwrite::Never, Overwrite::IfChanged, Overwrite::Always] {
        let done = restored(&archive.open(), &at.0, overwrite, &Heard::default()).unwrap();
        assert!(done.failed.is_empty() && done.left.is_empty(), "{overwrite:?}: {:?} {:?}", done.failed, done.left);
        // A.JPG, A.jpg, one of each other pair, and the folder.
        assert_eq!(done.renamed.len(), 6, "{overwrite:?}: {:?}", done.renamed);
        assert_eq!(wanted(&at.0.join("source")), wanted(&source), "{overwrite:?}");
        let names: Vec<_> = contents(&at.0.join("source")).into_keys().collect();
        assert_eq!(*before.get_or_insert(names.clone()), names, "{overwrite:?}");
        if overwrite != Overwrite::Always {
            assert_eq!(done.files + done.symlinks + done.present, 12, "{overwrite:?}");
        }
    }
}

/// A card under exfat-fuse has a number for each spelling of a name: a second restore left out every photo whose name differed
/// from another's in case only, and said that all were there; with --overwrite it replaced one by the other.
#[test]
fn a_second_restore_to_a_card_keeps_what_differs_in_case_only() {
    if !has_tool("mount.exfat-fuse") || !has_tool("mkfs.exfat") || !is_root("a card") {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    let source = archive.source();
    for (path, bytes) in [("A/x.jpg", "lower"), ("A/X.jpg", "UPPER"), ("D/f", "three"), ("d/F", "four")] {
        fs::create_dir_all(source.join(path).parent().unwrap()).unwrap();
        fs::write(source.join(path), bytes).unwrap();
    }
    archive.backup();
    let image = archive.beside("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run(Command::new("mkfs.exfat").arg(&image));
    let device = Loop::of(&image);
    let at = mounted(&archive, "at", "mount.exfat-fuse", &[&device.0]);
    let all =
        |root: &Path| -> BTreeSet<Vec<u8>> { contents(root).into_values().filter(|bytes| !bytes.is_empty()).collect() };
    for overwrite in [Overwrite::Never, Overwrite::Never, Overwrite::IfChanged, Overwrite::Always] {
        let done = restored(&archive.open(), &at.0, overwrite, &Heard::default()).unwrap();
        assert!(done.failed.is_empty(), "{overwrite:?}: {:?}", done.failed);
        assert_eq!(all(&at.0.join("source")), all(&source), "{overwrite:?}: {:?} {:?}", done.renamed, done.left);
    }
}

/// On such a card two folders changed their names, and every file of one name, length and date was recorded with the other's
/// bytes.
#[test]
fn folders_of_a_card_that_change_names_are_recorded_as_they_are() {
    if !has_tool("mount.exfat-fuse") || !has_tool("mkfs.exfat") || !is_root("a card") {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    let image = archive.beside("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run(Command::new("mkfs.exfat").arg(&image));
    let device = Loop::of(&image);
    let at = mounted(&archive, "card", "mount.exfat-fuse", &[&device.0]);
    let photos = at.0.join("P");
    for (folder, number) in ["2019", "2020"].into_iter().flat_map(|folder| (0..5).map(move |number| (folder, number))) {
        fs::create_dir_all(photos.join(folder)).unwrap();
        let path = photos.join(folder).join(format!("{number}.xmp"));
        fs::write(&path, format!("{folder} {number}")).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000)).unwrap();
    }
    let opened = archive.open();
    common::backup_of(&opened, &[&photos]);
    for (from, to) in [("2019", "t"), ("2020", "2019"), ("t", "2020")] {
        fs::rename(photos.join(from), photos.join(to)).unwrap();
    }
    common::backup_of(&opened, &[&photos]);
    let target = archive.beside("target");
    restored(&opened, &target, Overwrite::Never, &Heard::default()).unwrap();
    same(&target.join("P"), &photos);
}

/// A loop device of a file.
struct Loop(String);

impl Loop {
    fn of(image: &Path) -> Self {
        let made = Command::new("losetup").args(["-f", "--show"]).arg(image).output().unwrap();
        Self(String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// A restore that was stopped and run again, as it advises, left folders that only their owner may enter, with today's date.
#[test]
fn a_restore_that_was_stopped_is_finished_by_the_next() {
    let archive = albums();
    let target = archive.beside("target");
    let whole = archive.restore_to(archive.open().snapshots()[0].0, "whole");
    for files in 1..9 {
        let opened = archive.open();
        let error = restored(&opened, &target, Overwrite::Never, &stopping_after(files)).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        // Nothing is left as it was while it was being filled.
        assert_ne!(mode_and_time(&target.join("source/2019")).0, 0o700);
        assert!(
            leftovers(&target).iter().all(|path| path.starts_with(target.join("source/2020"))),
            "only that is marked"
        );
        let heard = Heard::default();
        let done = restored(&opened, &target, Overwrite::Never, &heard).unwrap();
        assert!(done.failed.is_empty() && done.left.is_empty(), "{:?} {:?}", done.failed, done.left);
        assert_eq!(heard.count(Action::Present), done.present as usize);
        assert!(done.present > 0, "what is there and right is known again");
        assert_eq!(common::differences(&whole, &target.join("source")), "", "after {files}");
        run(Command::new("rm").arg("-rf").arg(&target));
    }
}

/// What restores call what is not finished, anywhere below a folder.
fn leftovers(below: &Path) -> Vec<PathBuf> {
    let found = contents(below).into_keys().map(|path| below.join(common::os(&path)));
    found.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".snapkeep-restore-")).collect()
}

/// An empty file with a strange name stayed beside the photos of a target that had become full.
#[test]
fn on_a_full_target_nothing_is_left_but_what_is_whole() {
    if !is_root("a full target") {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    for folder in ["2019", "2020", "2021"] {
        fs::create_dir(archive.source().join(folder)).unwrap();
        for photo in 0..4 {
            fs::write(archive.source().join(folder).join(format!("{photo}.raw")), format!("{folder} {photo}")).unwrap();
        }
    }
    archive.backup();
    // It has room for folders, and for some of the files.
    let target = mounted(&archive, "small", "mount", &["-t", "tmpfs", "-o", "size=8m,nr_inodes=14", "tmpfs"]);
    let done = restored(&archive.open(), &target.0, Overwrite::Never, &Heard::default());
    let (left, whole) = (leftovers(&target.0), contents(&target.0));
    assert_eq!(done.unwrap_err().kind(), Kind::Target);
    assert_eq!(left, Vec::<PathBuf>::new());
    let files: Vec<_> = whole.keys().filter(|path| path.ends_with(b".raw")).collect();
    assert!(!files.is_empty() && files.len() < 12, "some are there: {files:?}");
}

/// The same for one that was killed, which could not even tidy up; and its halves were backed up as photos.
#[test]
fn what_a_killed_restore_has_left_is_tidied_and_finished() {
    let archive = albums();
    let target = archive.beside("target");
    let whole = archive.restore_to(archive.open().snapshots()[0].0, "whole");
    for folder in ["source", "source/2019", "source/2020"] {
        fs::create_dir_all(target.join(folder)).unwrap();
        fs::set_permissions(target.join(folder), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(target.join(folder).join(format!(".snapkeep-restore-{:016x}{:016x}.tmp", 7, u64::MAX)), "").unwrap();
        fs::write(target.join(folder).join(format!(".snapkeep-restore-{:016x}{:016x}.tmp", 7, 1)), "half").unwrap();
    }
    let done = restored(&archive.open(), &target, Overwrite::Never, &Heard::default()).unwrap();
    assert!(done.failed.is_empty() && done.left.is_empty(), "{:?} {:?}", done.failed, done.left);
    assert_eq!(common::differences(&whole, &target.join("source")), "");
}

/// A folder of the user's own keeps its rights, and its date too, if it had the one that the archive has of it.
#[test]
fn a_folder_that_was_there_keeps_what_it_had() {
    let archive = albums();
    let target = archive.beside("target");
    fs::create_dir_all(target.join("source/2019")).unwrap();
    fs::create_dir_all(target.join("source/2020")).unwrap();
    fs::set_permissions(target.join("source/2019"), fs::Permissions::from_mode(0o700)).unwrap();
    touch(&target.join("source/2019"), 1_500_000_200, 0);
    touch(&target.join("source/2020"), 1_400_000_000, 0);
    restored(&archive.open(), &target, Overwrite::Never, &Heard::default()).unwrap();
    assert_eq!(mode_and_time(&target.join("source/2019")), (0o700, 1_500_000_200));
    assert!(mode_and_time(&target.join("source/2020")).1 > 1_500_000_300, "something was put into it now");
}

/// What is there and has the right length and date, but other bytes, is not what the archive has.
#[test]
fn what_is_there_is_judged_by_its_bytes() {
    let archive = albums();
    let target = archive.beside("target");
    restored(&archive.open(), &target, Overwrite::Never, &Heard::default()).unwrap();
    let rotten = target.join("source/2019/img1.jpg");
    let meta = fs::metadata(&rotten).unwrap();
    common::flip(&rotten, 4_000);
    touch(&rotten, meta.mtime(), meta.mtime_nsec());
    let again = |overwrite| restored(&archive.open(), &target, overwrite, &Heard::default()).unwrap();
    let done = again(Overwrite::Never);
    assert_eq!((done.files, done.present, done.left), (0, 13, vec![rotten.clone()]));
    assert_eq!(again(Overwrite::IfNewer).left, std::slice::from_ref(&rotten));
    let done = again(Overwrite::IfChanged);
    assert_eq!((done.files, done.present), (1, 13));
    same(&archive.source(), &target.join("source"));
}

fn file(name: &str) -> Entry {
    let hash = FileHash::from_bytes(*blake3::hash(b"").as_bytes());
    let content = Content::Chunks(Vec::new());
    let kind = EntryKind::File { size: 0, hash, content, sparse: false, unsettled: false };
    Entry { name: name.as_bytes().to_vec(), kind, meta: Meta { links: 1, mode: 0o644, ..Meta::default() } }
}

/// One page of a folder was lost, and nothing of the folder was restored.
#[test]
fn a_page_that_cannot_be_read_costs_what_it_holds() {
    let archive = TestArchive::new(&SMALL);
    let opened = archive.open();
    let writer = opened.writer(Packing::default()).unwrap();
    let put = |bytes: &[u8]| {
        let chunk = Chunk::new(ChunkKind::Tree, bytes);
        writer.put(&chunk, Hint::None).unwrap();
        chunk.id()
    };
    let page = |names: [&str; 2]| Tree::Entries(names.map(file).to_vec()).encode();
    let newer: Vec<u8> = {
        let mut bytes = page(["m", "n"]);
        bytes.truncate(bytes.len() - 1);
        bytes
    };
    let lost = ChunkId::from_bytes([7; 32]);
    let children = [("a", put(&page(["a", "b"]))), ("c", lost), ("m", put(&newer)), ("x", put(&page(["x", "y"])))];
    let children = children.map(|(first, id)| Child { first: first.as_bytes().to_vec(), id }).to_vec();
    let album = put(&Tree::Pages { level: 1, children }.encode());
    let dir = |name: &str, tree, files| Entry {
        name: name.as_bytes().to_vec(),
        kind: EntryKind::Dir { tree, files, bytes: 0 },
        meta: Meta { links: 1, mode: 0o755, ..Meta::default() },
    };
    let source = put(&Tree::Entries(vec![dir("album", album, 8), dir("gone", lost, 3), file("z")]).encode());
    let tree = put(&Tree::Entries(vec![dir("s", source, 12)]).encode());
    writer.finish().unwrap();
    let sources = vec![Source { name: b"s".to_vec(), path: b"/s".to_vec(), devices: vec![Device(0)] }];
    opened.commit(&Snapshot { sequence: 1, sources, ..Snapshot::of(tree) }).unwrap();
    let target = archive.beside("target");
    let done = restored(&opened, &target, Overwrite::Never, &Heard::default()).unwrap();
    let names: Vec<_> = contents(&target).into_keys().map(|name| String::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["s", "s/album", "s/album/a", "s/album/b", "s/album/x", "s/album/y", "s/gone", "s/z"]);
    assert!(done.damaged);
    let told: Vec<_> = done.failed.iter().map(|(path, why)| (path.strip_prefix(&target).unwrap(), why)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].0, Path::new("s/album"));
    assert!(told[0].1.starts_with("\"c\" and what comes before \"x\" in this folder is missing"), "{}", told[0].1);
    assert_eq!(told[1].0, Path::new("s/gone"));
    assert!(told[1].1.starts_with("everything in this folder is missing"), "{}", told[1].1);
}

/// A restore filled the drive for an hour before it said that there was no room.
#[test]
fn what_cannot_fit_is_told_before_anything_is_written() {
    if !is_root("a drive that is too small") {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    fs::write(archive.source().join("film.mov"), Random(1).bytes(3 << 20)).unwrap();
    fs::write(archive.source().join("photo.jpg"), Random(2).bytes(1 << 20)).unwrap();
    archive.backup();
    let at = mounted(&archive, "at", "mount", &["-t", "tmpfs", "-o", "size=2m", "none"]);
    let target = at.0.join("deep/target");
    let error = restored(&archive.open(), &target, Overwrite::Never, &Heard::default()).unwrap_err();
    let room = error.io().unwrap().get_ref().unwrap().downcast_ref::<NoRoom>().copied();
    assert_eq!(room.map(|room| room.needed), Some(4 << 20), "{error}");
    assert_eq!(fs::read_dir(&at.0).unwrap().count(), 0, "nothing was written");
    // What is there already needs no room.
    fs::create_dir_all(target.join("source")).unwrap();
    fs::File::create(target.join("source/film.mov")).unwrap().set_len(3 << 20).unwrap();
    let done = restored(&archive.open(), &target, Overwrite::Never, &Heard::default()).unwrap();
    assert_eq!((done.files, done.left.len()), (1, 1));
}

/// Root restores into a folder whose owner swaps folders for links all the while: nothing lands elsewhere.
#[test]
fn a_folder_swapped_for_a_link_while_a_restore_runs_leads_nowhere() {
    let archive = albums();
    let (into, outside) = (archive.beside("into"), archive.beside("outside"));
    fs::create_dir(&outside).unwrap();
    touch(&outside, 1_000, 0);
    let before = mode_and_time(&outside);
    fs::create_dir_all(into.join("source/2019")).unwrap();
    let stop = AtomicBool::new(false);
    let opened = archive.open();
    let album = into.join("source/2019");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(&album, into.join("real"));
                let _ = symlink(&outside, &album);
                std::thread::yield_now();
                let _ = fs::remove_file(&album);
                let _ = fs::rename(into.join("real"), &album);
                std::thread::yield_now();
            }
        });
        for _ in 0..60 {
            let _ = restored(&opened, &into, Overwrite::Always, &Heard::default());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(mode_and_time(&outside), before);
}

/// Somebody puts a link into the path that root names as the target.
#[test]
fn root_follows_nobody_elses_link_to_a_target() {
    if !is_root("what root does") {
        return;
    }
    let archive = albums();
    let outside = archive.beside("outside");
    fs::create_dir(&outside).unwrap();
    for (name, owner) in [("theirs", 1234), ("ours", 0)] {
        let link = archive.beside(name);
        symlink(&outside, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(owner), None).unwrap();
    }
    let error =
        restored(&archive.open(), &archive.beside("theirs/x"), Overwrite::Never, &Heard::default()).unwrap_err();
    assert!(error.to_string().contains("a link of another user"), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    restored(&archive.open(), &archive.beside("ours/x"), Overwrite::Never, &Heard::default()).unwrap();
    same(&archive.source(), &outside.join("x/source"));
}

/// An archive of somebody else said "/etc", and that was where `--in-place` wrote.
#[test]
fn an_archive_does_not_choose_where_a_restore_writes() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    let photo = user.path("Pictures/c.jpg");
    let bytes = fs::read(&photo).unwrap();
    let put_back = |user: &User| {
        fs::remove_file(&photo).unwrap();
        user.snap(&["restore", "latest", "--in-place"])
    };
    let said = put_back(&user);
    assert_eq!((said.code, fs::read(&photo).unwrap()), (0, bytes.clone()), "{}", said.err);
    // Without the note of this computer, the archive's word is not enough.
    let notes = user.path(".local/share/snapkeep/sources");
    fs::remove_dir_all(&notes).unwrap();
    let said = put_back(&user);
    assert_eq!((said.code, photo.exists()), (1, false), "{}", said.err);
    assert!(said.err.contains("has not backed up") && said.err.contains("--target"), "{}", said.err);
    assert!(said.err.contains("Pictures"), "the folder is named: {}", said.err);
    let said = user.snap(&["restore", "latest:Pictures/c.jpg"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let here: Vec<_> = fs::read_dir(user.home.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert!(here.iter().any(|name| name.to_string_lossy().starts_with("Pictures-restored-")), "{here:?}");
    // The next backup knows it again; one that another user made does not count.
    fs::write(&photo, &bytes).unwrap();
    user.done(&["create", "Pictures"]);
    fs::remove_file(&photo).unwrap();
    let mut other = user.command(env!("CARGO_BIN_EXE_snap"), &["restore", "latest", "--in-place"]);
    let said = user::said(other.env("USER", "bert").output().unwrap());
    assert_eq!((said.code, photo.exists()), (1, false), "{}", said.err);
    let mut other = user.command(env!("CARGO_BIN_EXE_snap"), &["restore", "latest", "--in-place"]);
    let said = user::said(other.env("SNAPKEEP_HOST", "desk").output().unwrap());
    assert_eq!((said.code, said.err.contains("another computer, laptop")), (1, true), "{}", said.err);
    assert_eq!(user.snap(&["restore", "latest", "--in-place"]).code, 0);
    assert_eq!(fs::read(&photo).unwrap(), bytes);
}

/// A source path that climbs is refused, whatever is noted here.
#[test]
fn a_source_path_that_leads_elsewhere_is_refused() {
    let user = User::new();
    user.done(&["init", "archive"]);
    let store = std::sync::Arc::new(snapkeep::store::Local::new(user.path("archive")));
    let archive = Archive::open(store, None, std::sync::Arc::new(|_| {})).unwrap();
    let writer = archive.writer(Packing::default()).unwrap();
    let bytes = Tree::Entries(vec![file("s")]).encode();
    let chunk = Chunk::new(ChunkKind::Tree, &bytes);
    writer.put(&chunk, Hint::None).unwrap();
    writer.finish().unwrap();
    let evil = b"../../../../../../tmp/evil".to_vec();
    let notes = user.path(".local/share/snapkeep/sources");
    fs::create_dir_all(&notes).unwrap();
    fs::write(notes.join(archive.header().archive.to_hex()), [&evil[..], b"\0"].concat()).unwrap();
    let sources = vec![Source { name: b"s".to_vec(), path: evil, devices: vec![Device(0)] }];
    let (host, who) = ("laptop".to_owned(), "anna".to_owned());
    let time = Time { secs: 1, nanos: 0 };
    archive.commit(&Snapshot { sequence: 1, sources, host, user: who, time, ..Snapshot::of(chunk.id()) }).unwrap();
    let said = user.snap(&["restore", "-a", "archive", "latest:s", "--in-place"]);
    assert_eq!((said.code, said.err.contains("no whole path")), (1, true), "{}", said.err);
    let said = user.snap(&["restore", "-a", "archive", "latest"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("to snapshot-restored-"), "into the current folder: {}", said.out);
}

/// `--include` with a slip of the finger restored nothing and ended with 0.
#[test]
fn what_matched_nothing_is_said() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    let said = user.snap(&["restore", "latest", "-t", "a", "--include", "2091", "--include", "*.jpg"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("nothing there fits --include \"2091\"") && !said.err.contains("*.jpg"), "{}", said.err);
    let said = user.snap(&["restore", "latest", "-t", "b", "--iexclude", "*.PNG", "--exclude", "2019"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("--iexclude \"*.PNG\"") && !said.err.contains("2019"), "{}", said.err);
    assert_eq!(user.snap(&["restore", "latest", "-t", "c", "-n", "--iinclude", "PICTURES"]).code, 0);
    assert_eq!(user.snap(&["restore", "latest", "-t", "c", "-n", "--iinclude", "PICTURE"]).code, 3);
}

#[test]
fn a_path_alone_means_the_newest_snapshot_that_has_it() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    fs::remove_dir_all(user.path("Pictures/2019")).unwrap();
    user.done(&["create", "Pictures"]);
    user.done(&["restore", "Pictures/2019", "-t", "back"]);
    assert_eq!(contents(&user.path("back/2019")).len(), 2);
    let said = user.snap(&["restore", "Pictures/2091", "-t", "back"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("names no snapshot, and nothing was ever there"), "{}", said.err);
}

/// Everything restored again cost as much as the first time, and told only that it was "left".
#[test]
fn what_is_there_already_is_said_to_be_right() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    user.done(&["restore", "latest", "-t", "back"]);
    fs::write(user.path("back/Pictures/c.jpg"), "mine").unwrap();
    let out = user.done(&["restore", "latest", "-t", "back"]);
    assert!(out.contains("2 files were there already, just as they are in the archive"), "{out}");
    assert!(out.contains("1 file was there and is left as before"), "{out}");
}

/// "(os error 30)" and no word about what to do.
#[test]
fn hints_fit_what_is_wrong_with_the_target() {
    if !is_root("a drive that can only be read") {
        return;
    }
    let user = User::new();
    user.done(&["create", "Pictures"]);
    fs::create_dir(user.path("at")).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "none"]).arg(user.path("at")));
    let at = Mounted(user.path("at"));
    let said = user.snap(&["restore", "latest", "-t", at.0.join("x").to_str().unwrap()]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err.contains("read-only") && said.err.contains("--target FOLDER") && !said.err.contains("os error"),
        "{}",
        said.err
    );
}
