//! The writing of a restore, by archives and neighbours that mean harm.

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use snapkeep::error::Kind as ErrorKind;
use snapkeep::source::{Kind, Time, xattrs};
use snapkeep::target::{Dir, Finished, Metadata, Notes, Policy, Replace, Target, is_temp_name};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tempfile::TempDir;

/// A base folder with a target `into` in it, and a bystander `outside` that nothing may touch.
fn target() -> (TempDir, Target) {
    let base = TempDir::new().unwrap();
    fs::create_dir(base.path().join("outside")).unwrap();
    fs::write(base.path().join("outside/letter"), "mine").unwrap();
    let target = Target::open(&base.path().join("into"), true).unwrap();
    (base, target)
}

fn untouched(base: &TempDir) {
    let outside: Vec<_> = fs::read_dir(base.path().join("outside")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(outside, ["letter"]);
    assert_eq!(fs::read(base.path().join("outside/letter")).unwrap(), b"mine");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn plain(mode: u32) -> Metadata {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Metadata { mode, uid, gid, mtime: Time { secs: 1_000_000_000, nanos: 123_456_789 }, xattrs: Vec::new() }
}

const NONE: Notes = Notes {
    owner: 0,
    mode: 0,
    setuid: 0,
    times: 0,
    rounded: 0,
    rounded_by: std::time::Duration::ZERO,
    xattrs: 0,
    acls: 0,
    faults: 0,
    fault: None,
};

const ALL_KEPT: Finished = Finished::Written(NONE);

fn put(dir: &Dir, name: &[u8], content: &[u8], replace: Replace) -> snapkeep::error::Result<Finished> {
    let mut temp = dir.create(name)?;
    temp.write_at(0, content)?;
    temp.finish(&plain(0o640), replace)
}

#[test]
fn a_file_appears_whole_with_its_metadata_and_nothing_beside_it() {
    let (base, target) = target();
    let (dir, made) = target.root().make_dir(b"2019").unwrap();
    assert!(made && !target.root().make_dir(b"2019").unwrap().1);
    let mut temp = dir.create(b"photo.jpg").unwrap();
    temp.write_at(5, b"world").unwrap();
    // The file, and the mark of a folder that is not finished.
    let two = names(&base.path().join("into/2019"));
    assert_eq!(two.len(), 2);
    for name in two {
        assert!(is_temp_name(name.as_bytes()), "{name}");
        let unfinished = fs::metadata(base.path().join("into/2019").join(name)).unwrap();
        assert_eq!(unfinished.mode() & 0o777, 0o600);
    }
    temp.write_at(0, b"hello").unwrap();
    let mut back = [0; 10];
    temp.read_at(0, &mut back).unwrap();
    assert_eq!(&back, b"helloworld");
    assert!(temp.read_at(5, &mut back).is_err());
    let finished = temp.finish(&plain(0o444), Replace::Never).unwrap();
    assert_eq!(finished, ALL_KEPT);
    assert_eq!(dir.finish(&plain(0o751), &[]).unwrap(), Notes::default());
    target.sync().unwrap();

    assert_eq!(names(&base.path().join("into/2019")), ["photo.jpg"]);
    let path = base.path().join("into/2019/photo.jpg");
    assert_eq!(fs::read(&path).unwrap(), b"helloworld");
    for (path, mode) in [(&path, 0o444), (&base.path().join("into/2019"), 0o751)] {
        let meta = fs::metadata(path).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (mode, 1_000_000_000, 123_456_789));
    }
    let stat = dir.existing(b"photo.jpg").unwrap().unwrap();
    assert_eq!((stat.kind, stat.size, stat.mode), (Kind::File, 10, 0o444));
    assert_eq!(dir.existing(b"none").unwrap(), None);
}

#[test]
fn an_unfinished_file_is_removed() {
    let (base, target) = target();
    let mut temp = target.root().create(b"a").unwrap();
    temp.write_at(0, b"half").unwrap();
    drop(temp);
    assert_eq!(names(&base.path().join("into")), [""; 0]);
}

#[test]
fn a_file_that_could_not_be_written_is_never_finished() {
    let (base, target) = target();
    let mut temp = target.root().create(b"a").unwrap();
    temp.write_at(0, b"half").unwrap();
    // Beyond the largest file that any system allows.
    let error = temp.set_len(u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Target);
    let error = temp.finish(&plain(0o644), Replace::Always).unwrap_err();
    assert!(error.to_string().contains("into/a"), "{error}");
    assert_eq!(names(&base.path().join("into")), [""; 0]);
}

#[test]
fn a_failed_write_is_an_error_of_the_target() {
    let (base, target) = target();
    let mut temp = target.root().create(b"a").unwrap();
    let error = temp.write_at(i64::MAX as u64 - 1, b"beyond the end of any file").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Target);
    assert!(error.io().is_some() && error.to_string().contains("into/a"), "{error}");
    assert!(temp.finish(&plain(0o644), Replace::Never).is_err());
    assert_eq!(names(&base.path().join("into")), [""; 0]);
}

#[test]
fn what_was_never_written_is_a_hole() {
    let (base, target) = target();
    let mut temp = target.root().create(b"a").unwrap();
    temp.write_at(1 << 20, b"middle").unwrap();
    temp.set_len(8 << 20).unwrap();
    assert_eq!(temp.finish(&plain(0o600), Replace::Never).unwrap(), ALL_KEPT);
    let meta = fs::metadata(base.path().join("into/a")).unwrap();
    assert_eq!(meta.len(), 8 << 20);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let (base, target) = target();
    let root = target.root();
    let path = base.path().join("into/a");
    fs::write(&path, "old").unwrap();
    assert_eq!(put(&root, b"a", b"new", Replace::Never).unwrap(), Finished::Exists);
    assert_eq!(root.symlink(b"a", b"x", Replace::Never, &plain(0)).unwrap(), Finished::Exists);
    assert_eq!(root.hard_link((&root, b"a"), b"a", Replace::Never).unwrap(), Finished::Exists);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(put(&root, b"a", b"new", Replace::Always).unwrap(), ALL_KEPT);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(root.symlink(b"a", b"b", Replace::Always, &plain(0)).unwrap(), ALL_KEPT);
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("b"));
    assert_eq!(names(&base.path().join("into")), ["a"]);

    // A folder is never replaced, empty or not.
    root.make_dir(b"folder").unwrap();
    for error in [
        put(&root, b"folder", b"x", Replace::Always).unwrap_err(),
        root.symlink(b"folder", b"x", Replace::Always, &plain(0)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    }
    assert_eq!(names(&base.path().join("into")), ["a", "folder"]);
}

#[test]
fn hostile_names_are_refused_everywhere() {
    let (base, target) = target();
    let root = target.root();
    let long = [b'x'; 256];
    for bad in [&b""[..], b".", b"..", b"/", b"../outside/x", b"/etc/passwd", b"a/b", b"a\0b", &long] {
        let errors = [
            root.make_dir(bad).map(drop),
            root.create(bad).map(drop),
            root.existing(bad).map(drop),
            root.symlink(bad, b"x", Replace::Always, &plain(0)).map(drop),
            root.hard_link((&root, b"x"), bad, Replace::Always).map(drop),
            root.hard_link((&root, bad), b"x", Replace::Always).map(drop),
        ];
        for error in errors {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Target, "{bad:?}");
        }
    }
    for good in [&b"C:"[..], b"a\\..\\b", b"...", b"\xff\xfe", b"a:b", b"CON", b"-rf", b"\x1b[31m"] {
        assert_eq!(put(&root, good, b"x", Replace::Never).unwrap(), ALL_KEPT);
    }
    assert_eq!(fs::read_dir(base.path().join("into")).unwrap().count(), 8);
    untouched(&base);
}

#[test]
fn a_link_in_the_place_of_a_folder_is_not_entered() {
    let (base, target) = target();
    symlink("../outside", base.path().join("into/album")).unwrap();
    fs::write(base.path().join("into/file"), "x").unwrap();
    for name in [&b"album"[..], b"file"] {
        let error = target.root().make_dir(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
        assert!(error.to_string().contains(std::str::from_utf8(name).unwrap()), "{error}");
    }
    untouched(&base);
}

#[test]
fn a_link_put_in_the_place_of_a_folder_after_it_was_made_is_not_entered() {
    let (base, target) = target();
    let (album, _) = target.root().make_dir(b"album").unwrap();
    let (deeper, _) = album.make_dir(b"deeper").unwrap();
    // One whose handle is not open yet.
    fs::create_dir(base.path().join("into/fresh")).unwrap();
    let (fresh, made) = target.root().make_dir(b"fresh").unwrap();
    assert!(!made);
    fs::rename(base.path().join("into/fresh"), base.path().join("into/moved")).unwrap();
    symlink("../outside", base.path().join("into/fresh")).unwrap();
    for error in [
        fresh.create(b"letter").map(drop).unwrap_err(),
        fresh.make_dir(b"x").map(drop).unwrap_err(),
        fresh.set_metadata(&plain(0o777)).map(drop).unwrap_err(),
        fresh.symlink(b"l", b"x", Replace::Always, &plain(0)).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Target);
        assert!(error.to_string().contains("into/fresh"), "{error}");
    }
    // One whose handle is open: what is written goes into the real folder, wherever in the target it is now.
    fs::rename(base.path().join("into/album"), base.path().join("into/elsewhere")).unwrap();
    symlink("../outside", base.path().join("into/album")).unwrap();
    let landed = put(&deeper, b"photo", b"x", Replace::Always).unwrap();
    assert_eq!(landed, ALL_KEPT);
    assert!(names(&base.path().join("into/elsewhere/deeper")).contains(&"photo".to_owned()));
    untouched(&base);
}

#[test]
fn a_handle_that_was_closed_for_want_of_room_is_not_got_back_through_a_link() {
    let (base, target) = target();
    let (album, _) = target.root().make_dir(b"album").unwrap();
    assert_eq!(put(&album, b"first", b"x", Replace::Never).unwrap(), ALL_KEPT);
    let before = fs::read_dir("/proc/self/fd").unwrap().count();
    let mut dirs = Vec::new();
    for n in 0..1_000 {
        let (dir, _) = target.root().make_dir(format!("d{n}").as_bytes()).unwrap();
        assert_eq!(put(&dir, b"photo", b"x", Replace::Never).unwrap(), ALL_KEPT);
        dirs.push(dir);
    }
    // Other tests of this process open some meanwhile.
    assert!(fs::read_dir("/proc/self/fd").unwrap().count() < before + 150);
    for dir in &dirs {
        assert_eq!(put(dir, b"more", b"y", Replace::Never).unwrap(), ALL_KEPT);
    }
    assert_eq!(dirs[7].finish(&plain(0o755), &[]).unwrap(), NONE);
    assert_eq!(names(&base.path().join("into/d7")), ["more", "photo"]);

    fs::rename(base.path().join("into/album"), base.path().join("into/moved")).unwrap();
    symlink("../outside", base.path().join("into/album")).unwrap();
    assert_eq!(put(&album, b"letter", b"x", Replace::Always).unwrap_err().kind(), ErrorKind::Target);
    untouched(&base);
}

#[test]
fn a_link_at_the_final_name_is_not_written_through() {
    let (base, target) = target();
    let root = target.root();
    for name in ["photo", "dangling"] {
        let to = if name == "photo" { "../outside/letter" } else { "../outside/new" };
        symlink(to, base.path().join("into").join(name)).unwrap();
        assert_eq!(put(&root, name.as_bytes(), b"x", Replace::Never).unwrap(), Finished::Exists);
        assert_eq!(root.existing(name.as_bytes()).unwrap().unwrap().kind, Kind::Symlink);
        untouched(&base);
        assert_eq!(put(&root, name.as_bytes(), b"x", Replace::Always).unwrap(), ALL_KEPT);
        assert!(fs::symlink_metadata(base.path().join("into").join(name)).unwrap().is_file());
    }
    // A second name for a link is a second link, and not one for what it leads to.
    symlink("../outside/letter", base.path().join("into/l")).unwrap();
    assert_eq!(root.hard_link((&root, b"l"), b"l2", Replace::Never).unwrap(), ALL_KEPT);
    assert!(fs::symlink_metadata(base.path().join("into/l2")).unwrap().is_symlink());
    assert_eq!(fs::metadata(base.path().join("outside/letter")).unwrap().nlink(), 1);
    untouched(&base);
}

#[test]
fn nobody_who_swaps_folders_for_links_all_the_time_gets_anything_out_of_the_target() {
    let (base, target) = target();
    let into = base.path().join("into");
    let stop = AtomicBool::new(false);
    fs::create_dir(into.join("album")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let _ = fs::rename(into.join("album"), into.join("real"));
                let _ = symlink("../outside", into.join("album"));
                std::thread::yield_now();
                let _ = fs::remove_file(into.join("album"));
                let _ = fs::rename(into.join("real"), into.join("album"));
                std::thread::yield_now();
            }
        });
        let mut landed = 0;
        for n in 0..100_000 {
            if n >= 3_000 && landed > 0 {
                break;
            }
            // A new target each time, so that no handle is open yet.
            let target = Target::open(&base.path().join("into"), false).unwrap();
            if let Ok((album, _)) = target.root().make_dir(b"album")
                && put(&album, format!("{n}").as_bytes(), b"x", Replace::Always).is_ok()
            {
                landed += 1;
            }
        }
        stop.store(true, Relaxed);
        assert!(landed > 0);
    });
    drop(target);
    untouched(&base);
}

#[test]
fn links_are_made_as_they_were_and_keep_their_time() {
    let (base, target) = target();
    let root = target.root();
    let outward = b"../../\xff/etc/passwd";
    assert_eq!(root.symlink(b"l", outward, Replace::Never, &plain(0o777)).unwrap(), ALL_KEPT);
    let path = base.path().join("into/l");
    assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), outward);
    let meta = fs::symlink_metadata(&path).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 123_456_789));
    for bad in [&b""[..], b"a\0b", &[b'x'; 5_000]] {
        assert_eq!(root.symlink(b"m", bad, Replace::Never, &plain(0)).unwrap_err().kind(), ErrorKind::Target);
    }
}

#[test]
fn hard_links_share_one_file() {
    let (base, target) = target();
    let (album, _) = target.root().make_dir(b"album").unwrap();
    assert_eq!(put(&album, b"a", b"x", Replace::Never).unwrap(), ALL_KEPT);
    assert_eq!(target.root().hard_link((&album, b"a"), b"b", Replace::Never).unwrap(), ALL_KEPT);
    // Again over itself: nothing changes, and no temporary name stays.
    assert_eq!(target.root().hard_link((&album, b"a"), b"b", Replace::Always).unwrap(), ALL_KEPT);
    assert_eq!(names(&base.path().join("into")), ["album", "b"]);
    let meta = fs::metadata(base.path().join("into/b")).unwrap();
    assert_eq!((meta.nlink(), meta.ino()), (2, fs::metadata(base.path().join("into/album/a")).unwrap().ino()));
    let error = target.root().hard_link((&album, b"gone"), b"c", Replace::Never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Target);
}

#[test]
fn setuid_bits_come_back_only_with_their_owner() {
    let (base, target) = target();
    let mode = |name: &str| fs::metadata(base.path().join("into").join(name)).unwrap().mode() & 0o7777;
    let restore = |target: &Target, name: &[u8], meta: &Metadata| {
        target.root().create(name).unwrap().finish(meta, Replace::Never).unwrap()
    };
    // As everybody may restore a snapshot, nothing of it runs with rights that nobody has given it.
    let withheld = Finished::Written(Notes { setuid: 1, ..NONE });
    assert_eq!(restore(&target, b"plain", &plain(0o6755)), withheld);
    assert_eq!(mode("plain"), 0o755);
    assert_eq!(restore(&target, b"sticky", &plain(0o1777)), ALL_KEPT);
    assert_eq!(mode("sticky"), 0o1777);
    // In folders, the bit only hands the group on.
    let (dir, _) = target.root().make_dir(b"shared").unwrap();
    assert_eq!(dir.finish(&plain(0o2775), &[]).unwrap(), NONE);
    assert_eq!(mode("shared"), 0o2775);
    let asked = Policy { owner: false, setuid: true };
    let target = target.with_policy(asked);
    assert_eq!(restore(&target, b"mine", &plain(0o4755)), ALL_KEPT);
    assert_eq!(mode("mine"), 0o4755);
    let foreign = Metadata { uid: 12_345, gid: 54_321, ..plain(0o4755) };
    assert_eq!(restore(&target, b"a", &foreign), withheld);
    assert_eq!(mode("a"), 0o755);
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: owners can only be restored by root");
        return;
    }
    let target = target.with_policy(Policy { owner: true, ..asked });
    assert_eq!(restore(&target, b"b", &foreign), ALL_KEPT);
    let meta = fs::metadata(base.path().join("into/b")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), mode("b")), (12_345, 54_321, 0o4755));
    // -1 is nobody: such a file must not become a setuid file of root.
    let nobody = Metadata { uid: u32::MAX, ..plain(0o4755) };
    assert_eq!(restore(&target, b"c", &nobody), Finished::Written(Notes { owner: 1, setuid: 1, ..NONE }));
    assert_eq!(mode("c"), 0o755);
    let target = target.with_policy(Policy::default());
    assert_eq!(restore(&target, b"d", &foreign), withheld);
    assert_eq!(mode("d"), 0o755);
}

#[test]
fn attributes_come_back_and_dangerous_ones_only_if_asked_for() {
    let (base, target) = target();
    if let Err(why) = rustix::fs::setxattr(base.path(), "user.x", b"x", XattrFlags::empty()) {
        eprintln!("SKIPPED: no user attributes on this file system: {why}");
        return;
    }
    let attribute = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let tag = attribute("user.xdg.tags", b"holiday\0\xff");
    // Read for everyone, and for user 1000 to write, too: owner, user 1000, group, mask, others.
    let mut acl = vec![2, 0, 0, 0];
    for (kind, rights, id) in [(1u8, 6u8, !0u32), (2, 6, 1000), (4, 4, !0), (16, 6, !0), (32, 4, !0)] {
        acl.extend([kind, 0, rights, 0]);
        acl.extend(id.to_le_bytes());
    }
    let acl = attribute("system.posix_acl_access", &acl);
    let capability = attribute("security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let meta = Metadata { xattrs: vec![tag.clone(), acl.clone(), capability.clone()], ..plain(0o664) };
    let withheld = Finished::Written(Notes { setuid: 1, ..NONE });
    let path = base.path().join("into/a");
    let temp = target.root().create(b"a").unwrap();
    assert_eq!(temp.finish(&meta, Replace::Never).unwrap(), withheld);
    assert_eq!(xattrs(&path).values, [acl.clone(), tag.clone()]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o664);

    // What the file system refuses is counted and no error.
    let odd =
        Metadata { xattrs: vec![attribute("user.", b""), attribute("user.big", &[0; 100_000]), tag], ..plain(0o600) };
    let temp = target.root().create(b"b").unwrap();
    let lost = Finished::Written(Notes { xattrs: 1, ..NONE });
    assert_eq!(temp.finish(&odd, Replace::Never).unwrap(), lost);

    if rustix::process::geteuid().is_root() {
        let target = target.with_policy(Policy { setuid: true, ..Policy::default() });
        let temp = target.root().create(b"c").unwrap();
        assert_eq!(temp.finish(&meta, Replace::Never).unwrap(), ALL_KEPT);
        assert!(xattrs(&base.path().join("into/c")).values.contains(&capability));
    } else {
        eprintln!("SKIPPED: security attributes can only be restored by root");
    }
}

/// Photos restored into a folder that gives everything in it to a group could be read by that group, whatever they were.
#[test]
fn what_a_folder_gives_to_everything_new_in_it_is_not_given_to_what_is_restored() {
    let (base, target) = target();
    let acl = |entries: &[(u8, u8, u32)]| {
        let rows =
            entries.iter().flat_map(|(kind, rights, id)| [&[*kind, 0, *rights, 0], &id.to_le_bytes()[..]].concat());
        [2, 0, 0, 0].into_iter().chain(rows).collect::<Vec<u8>>()
    };
    let given = acl(&[(1, 7, !0), (2, 7, 1000), (4, 7, !0), (16, 7, !0), (32, 0, !0)]);
    let into = base.path().join("into");
    if rustix::fs::setxattr(&into, "system.posix_acl_default", &given, XattrFlags::empty()).is_err() {
        eprintln!("SKIPPED: no access lists on this file system");
        return;
    }
    let (dir, _) = target.root().make_dir(b"private").unwrap();
    assert_eq!(put(&dir, b"a", b"x", Replace::Never).unwrap(), ALL_KEPT);
    assert_eq!(dir.finish(&plain(0o700), &[]).unwrap(), NONE);
    for (path, mode) in [("private", 0o700), ("private/a", 0o640)] {
        let found = xattrs(&into.join(path)).values;
        assert!(found.iter().all(|(name, _)| !name.starts_with(b"system.")), "{path}: {found:?}");
        assert_eq!(fs::metadata(into.join(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
}

/// What a restore that was killed has left was never removed, and the next backup took it for photos.
#[test]
fn what_a_restore_left_is_removed_and_what_one_is_still_writing_is_not() {
    let (base, target) = target();
    let into = base.path().join("into");
    let left = into.join(format!(".snapkeep-restore-{:032x}.tmp", 7));
    let mark = format!(".snapkeep-restore-{:016x}ffffffffffffffff.tmp", 7);
    for path in [&left, &into.join(&mark), &into.join("photo.jpg"), &into.join(".snapkeep-restore-mine.tmp")] {
        fs::write(path, "x").unwrap();
    }
    fs::create_dir(into.join(format!(".snapkeep-restore-{:032x}.tmp", 8))).unwrap();
    let mut temp = target.root().create(b"new.jpg").unwrap();
    temp.write_at(0, b"half").unwrap();
    let other = Target::open(&into, false).unwrap();
    let found = other.root().tidy().unwrap();
    assert_eq!((found.removed, found.marks), (1, vec![mark.as_bytes().into()]));
    assert!(!left.exists() && into.join("photo.jpg").exists());
    temp.write_at(4, b"whole").unwrap();
    assert_eq!(temp.finish(&plain(0o600), Replace::Never).unwrap(), ALL_KEPT);
    assert_eq!(names(&into).len(), 5, "{:?}", names(&into));
}

#[test]
fn absurd_times_are_no_reason_to_lose_a_photo() {
    let (base, target) = target();
    for (n, secs) in [i64::MIN, -1, 0, 1 << 40, i64::MAX].into_iter().enumerate() {
        let temp = target.root().create(format!("{n}").as_bytes()).unwrap();
        let meta = Metadata { mtime: Time { secs, nanos: u32::MAX }, ..plain(0o644) };
        assert!(matches!(temp.finish(&meta, Replace::Never).unwrap(), Finished::Written(_)));
    }
    assert_eq!(fs::metadata(base.path().join("into/1")).unwrap().mtime(), -1);
    assert_eq!(names(&base.path().join("into")).len(), 5);
}

#[test]
fn a_pipe_at_a_name_is_in_the_way_and_does_not_hang() {
    let (base, target) = target();
    mknodat(CWD, base.path().join("into/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(target.root().make_dir(b"pipe").unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(put(&target.root(), b"pipe", b"x", Replace::Never).unwrap(), Finished::Exists);
    assert_eq!(target.root().existing(b"pipe").unwrap().unwrap().kind, Kind::Other("fifo"));
}

#[test]
fn a_target_is_made_only_if_asked_and_must_be_a_folder() {
    let base = TempDir::new().unwrap();
    let error = Target::open(&base.path().join("a/b"), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Target);
    assert!(error.to_string().contains("a/b"), "{error}");
    Target::open(&base.path().join("a/b"), true).unwrap();
    Target::open(&base.path().join("a/b"), true).unwrap();
    fs::write(base.path().join("file"), "x").unwrap();
    assert_eq!(Target::open(&base.path().join("file"), true).unwrap_err().kind(), ErrorKind::Target);
}

#[test]
fn a_very_deep_tree_can_be_restored_by_many_threads() {
    let base = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
    let target = Target::open(&base.path().join("into"), true).unwrap();
    let mut dirs = vec![target.root()];
    for _ in 0..5_000 {
        let below = dirs[dirs.len() - 1].make_dir(b"deep").unwrap().0;
        dirs.push(below);
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let some = dirs.iter().rev().skip(thread).step_by(333).cloned().collect::<Vec<_>>();
            scope.spawn(move || {
                for dir in some {
                    assert_eq!(put(&dir, b"photo", b"x", Replace::Never).unwrap(), ALL_KEPT);
                }
            });
        }
    });
    assert_eq!(dirs[5_000].existing(b"photo").unwrap().unwrap().size, 1);
    assert_eq!(dirs[4_999 - 333].existing(b"photo").unwrap().unwrap().size, 1);
    assert_eq!(dirs[10].existing(b"photo").unwrap(), None);
    for dir in dirs.iter().rev().take(100) {
        assert_eq!(dir.set_metadata(&plain(0o755)).unwrap(), Notes::default());
    }
    let gone = std::process::Command::new("rm").arg("-rf").arg(base.path().join("into")).status().unwrap();
    assert!(gone.success());
}

#[test]
fn permission_to_write_is_not_needed_any_more_once_metadata_is_set() {
    let (base, target) = target();
    let (dir, _) = target.root().make_dir(b"readonly").unwrap();
    assert_eq!(put(&dir, b"a", b"x", Replace::Never).unwrap(), ALL_KEPT);
    assert_eq!(dir.set_metadata(&plain(0o555)).unwrap(), Notes::default());
    let meta = fs::metadata(base.path().join("into/readonly")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o555);
}
