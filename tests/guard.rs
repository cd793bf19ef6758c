//! The guard: what is refused, what only looks like loss, and what the refusal says.

use crate::common::picture;
use crate::common::user;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use picture::{photo, tag};
use user::User;

const PHOTOS: u64 = 80;

/// A user with a backup of photos that differ.
fn library() -> (User, Vec<PathBuf>) {
    let user = User { home: tempfile::tempdir().expect("a home") };
    fs::create_dir_all(user.path("Pictures/2019")).expect("a folder");
    let paths: Vec<PathBuf> = (0..PHOTOS).map(|number| user.path(&format!("Pictures/2019/{number:02}.jpg"))).collect();
    for (number, path) in (0..).zip(&paths) {
        fs::write(path, photo(number, 48, 32)).expect("a photo");
        // Each is of another second: what is written within one tick of the clock would have one date.
        shift(path, -10_000 - i64::try_from(number).expect("few"));
    }
    user.done(&["create", "Pictures"]);
    (user, paths)
}

/// Moves a file's time by so many seconds.
fn shift(path: &Path, seconds: i64) {
    let before = fs::metadata(path).expect("a file").modified().expect("a time");
    let offset = std::time::Duration::from_secs(seconds.unsigned_abs());
    let after = if seconds < 0 { before - offset } else { before + offset };
    fs::File::options().write(true).open(path).expect("a file").set_modified(after).expect("set");
}

fn refused(user: &User, arguments: &[&str]) -> String {
    let before = user.ids();
    let said = user.snap(&[&["create", "Pictures"], arguments].concat());
    assert_eq!(said.code, 13, "{}{}", said.out, said.err);
    assert!(said.err.contains("--accept-loss"), "{}", said.err);
    assert_eq!(user.ids(), before, "nothing is recorded");
    said.err
}

/// Tagging a whole library looked like a program that encrypts it, and the backup was refused.
#[test]
fn other_tags_are_no_loss() {
    let (user, paths) = library();
    for path in &paths {
        let tagged = tag(&fs::read(path).expect("a photo"), 5, "in the garden");
        fs::write(path, tagged).expect("tagged");
    }
    let said = user.done(&["create", "Pictures"]);
    assert!(said.contains(&format!("{PHOTOS} changed")), "{said}");
    // And what programs write beside photos.
    let sidecar = |path: &Path, text: &[u8]| fs::write(path.with_extension("XMP"), text).expect("a sidecar");
    paths.iter().for_each(|path| sidecar(path, b"<x:xmpmeta>1</x:xmpmeta>"));
    user.done(&["create", "Pictures"]);
    paths.iter().for_each(|path| sidecar(path, b"<x:xmpmeta>five stars</x:xmpmeta>"));
    user.done(&["create", "Pictures"]);
}

/// What the guard is there for: names are kept, and what is in the files is gone.
#[test]
fn photos_that_were_encrypted_are_refused_and_named() {
    let (user, paths) = library();
    for (number, path) in (0..).zip(&paths) {
        let mut locked = blake3::Hasher::new_derive_key("a lock").update(&[number]).finalize_xof();
        let mut bytes = vec![0; 5000];
        locked.fill(&mut bytes);
        fs::write(path, bytes).expect("locked");
    }
    let said = refused(&user, &[]);
    assert!(said.contains("80 of the 80 files that snapshot") && said.contains("are changed"), "{said}");
    assert_eq!(said.matches("2019/").count(), 3, "three are named: {said}");
    assert!(said.contains("changed: 2019/") && said.contains(", …)"), "{said}");
    // Among photos that were tagged, too many of which are locked.
    for (number, path) in (0..).zip(&paths).filter(|(number, _)| number % 10 == 0) {
        fs::write(path, tag(&photo(number, 48, 32), 2, "more")).expect("tagged");
    }
    refused(&user, &[]);
    user.done(&["create", "Pictures", "--accept-loss"]);
    // A few of many may always go.
    for path in &paths[..30] {
        fs::remove_file(path).expect("removed");
    }
    user.done(&["create", "Pictures"]);
}

/// FAT keeps local times: from one day to the next in spring everything seemed to be changed.
#[test]
fn times_that_all_moved_by_the_same_hours_are_no_loss() {
    for hours in [1, -1, 9] {
        let (user, paths) = library();
        paths.iter().for_each(|path| shift(path, hours * 3600));
        // Those that were moved as well are known by the hours of the others.
        fs::create_dir(user.path("Pictures/best")).expect("a folder");
        for path in &paths[..60] {
            fs::rename(path, user.path("Pictures/best").join(path.file_name().expect("a name"))).expect("moved");
        }
        let said = user.done(&["create", "Pictures"]);
        assert!(said.contains("0 new, 0 changed, 60 moved, 0 no longer"), "{said}");
    }
    let (user, paths) = library();
    // Bytes of the same length and any other time are changed, until they are read.
    for (number, path) in (0..).zip(&paths) {
        fs::write(path, vec![number; fs::metadata(path).expect("a photo").len() as usize]).expect("overwritten");
        shift(path, 1000 + i64::from(number));
    }
    refused(&user, &[]);
}

/// The first run of a drive that was not mounted made an empty backup, and said that all was well.
#[test]
fn an_empty_source_is_refused_at_once() {
    let user = User { home: tempfile::tempdir().expect("a home") };
    fs::create_dir_all(user.path("Pictures/empty")).expect("a folder");
    user.done(&["init", "archive"]);
    let create = |more: &[&str]| user.snap(&[&["-a", "archive", "create", "Pictures"], more].concat());
    let said = create(&[]);
    assert_eq!((said.code, said.err.contains("there is no file in it")), (13, true), "{}", said.err);
    assert_eq!(create(&["--accept-loss"]).code, 0);
    // Whoever said that it is right need not say so again.
    assert_eq!(create(&[]).code, 0);
    // What rules leave out is there.
    fs::write(user.path("Pictures/a.tmp"), "x").expect("a file");
    let said = create(&["--host", "other", "--exclude", "*.tmp"]);
    assert_eq!(said.code, 0, "{}", said.err);
}

/// Below a quarter of the files, an album on a drive that was not mounted was recorded as deleted, and nothing was said.
#[test]
fn a_folder_whose_drive_is_not_mounted_is_not_deleted() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI has root");
        return eprintln!("SKIPPED: mounting needs root");
    }
    let (user, _) = library();
    let script = |text: &str| {
        let done = Command::new("sh").args(["-ec", text]).current_dir(user.home.path()).output().expect("it runs");
        assert!(done.status.success(), "{text}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let mount =
        "mount -t tmpfs none Pictures/2019/ext; mkdir -p Pictures/2019/ext/a; echo photo > Pictures/2019/ext/a/1.jpg";
    script("mkdir -p Pictures/2019/ext Pictures/2019/none");
    script(mount);
    let first = user.snap(&["create", "Pictures"]);
    script("umount Pictures/2019/ext");
    assert_eq!(first.code, 0, "{}", first.err);
    for _ in 0..2 {
        let said = user.snap(&["create", "Pictures"]);
        assert_eq!(said.code, 3, "{}{}", said.out, said.err);
        assert!(said.err.contains("2019/ext: ") && said.err.contains("not mounted"), "{}", said.err);
        assert_eq!(user.done(&["dump", "latest:Pictures/2019/ext/a/1.jpg"]), "photo\n");
        assert_eq!(user.done(&["deleted"]).matches(".jpg").count(), 0);
    }
    // It is there again, with an older photo gone.
    script(mount);
    script("mv Pictures/2019/ext/a Pictures/2019/ext/b");
    let again = user.snap(&["create", "Pictures"]);
    script("umount Pictures/2019/ext");
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(user.done(&["ls", "--recursive", "latest"]).contains("2019/ext/b/1.jpg"));
    // Without its folder it is gone for good.
    script("rmdir Pictures/2019/ext");
    assert_eq!(user.snap(&["create", "Pictures"]).code, 0);
    assert!(!user.done(&["ls", "--recursive", "latest"]).contains("2019/ext"));
}

/// A drive was mounted where another one had been. The top folder of every file system of a sort has one number, so it was "the
/// same folder", and its forty photos were recorded as deleted.
#[test]
fn another_drive_at_the_same_place_is_refused_whatever_numbers_it_has() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI has root");
        return eprintln!("SKIPPED: mounting needs root");
    }
    let user = User { home: tempfile::tempdir().expect("a home") };
    let script = |text: &str| {
        let done = Command::new("sh").args(["-ec", text]).current_dir(user.home.path()).output().expect("it runs");
        assert!(done.status.success(), "{text}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    // The one may get the number of the device that it stands in for, the other has another number.
    for (other, differs) in
        [("umount Drive; mount -t tmpfs none Drive", false), ("umount Drive; mount --move Next Drive", true)]
    {
        script("mkdir -p Drive Next; mount -t tmpfs none Drive; mount -t tmpfs none Next");
        script("for i in $(seq 40); do echo photo $i > Drive/$i.jpg; done; echo other > Next/other.jpg");
        let (first, before) = (user.snap(&["create", "Drive"]), script("stat -c '%d %i' Drive"));
        script(&format!("{other}; echo other > Drive/other.jpg"));
        let (said, after) = (user.snap(&["create", "Drive"]), script("stat -c '%d %i' Drive"));
        let told = user.done(&["deleted"]);
        script("umount Drive; umount Next 2>/dev/null || true; rm -rf .local .cache .config");
        assert_eq!(first.code, 0, "{}", first.err);
        assert!(!differs || before != after, "this test is of a drive with another number: {before}, {after}");
        assert_eq!(said.code, 13, "{}{}", said.out, said.err);
        assert!(said.err.contains("another device"), "{}", said.err);
        assert_eq!(told.matches(".jpg").count(), 0, "{told}");
    }
}

/// What the refusal names is what was lost, not what only moved.
#[test]
fn the_refusal_names_what_is_lost() {
    let (user, paths) = library();
    fs::create_dir(user.path("Pictures/moved")).expect("a folder");
    for (number, path) in (0..).zip(&paths) {
        match number {
            0..20 => {
                fs::rename(path, user.path(&format!("Pictures/moved/{number}.jpg"))).expect("moved");
            }
            20..75 => fs::remove_file(path).expect("removed"),
            _ => {}
        }
    }
    let said = refused(&user, &[]);
    assert!(said.contains("it has lost 55 of the 80 files"), "{said}");
    let named = said.split("(lost: ").nth(1).and_then(|rest| rest.split(')').next()).expect("examples");
    assert_eq!(named, "2019/20.jpg, 2019/21.jpg, 2019/22.jpg, …");
}

/// Photos that are named one by one were not looked at at all.
#[test]
fn single_files_are_guarded_together() {
    let (user, paths) = library();
    fs::write(user.path("list"), paths.iter().map(|path| format!("{}\n", path.display())).collect::<String>())
        .expect("a list");
    user.done(&["create", "--files-from", "list"]);
    paths.iter().for_each(|path| fs::write(path, "locked").expect("locked"));
    let said = user.snap(&["create", "--files-from", "list"]);
    assert_eq!(said.code, 13, "{}", said.err);
    assert!(said.err.contains("80 of the 80 files"), "{}", said.err);
}

/// A card that was put in again was "another device": numbers of files on exFAT are made up at each mount.
#[test]
fn a_card_that_is_put_in_again_is_the_same() {
    let tools = ["mkfs.exfat", "mount.exfat-fuse", "losetup"];
    let there = |tool: &&str| {
        Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().is_ok_and(|o| o.status.success())
    };
    if !rustix::process::geteuid().is_root() || !tools.iter().all(there) || !Path::new("/dev/fuse").exists() {
        assert!(std::env::var_os("CI").is_none(), "CI has root, {tools:?} and FUSE");
        return eprintln!("SKIPPED: a card needs root, FUSE and {tools:?}");
    }
    let user = User { home: tempfile::tempdir().expect("a home") };
    let script = |text: &str| {
        let done = Command::new("sh").args(["-ec", text]).current_dir(user.home.path()).output().expect("it runs");
        (done.status.success(), String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let plug = "L=$(losetup -f --show card); echo $L; mount.exfat-fuse $L Card >/dev/null 2>&1";
    assert!(script("truncate -s 32M card; mkfs.exfat card >/dev/null 2>&1; truncate -s 1M other; mkdir Card").0);
    let (mounted, first) = script(plug);
    if !mounted {
        script(&format!("losetup -d {first}"));
        assert!(std::env::var_os("CI").is_none(), "the card cannot be mounted");
        return eprintln!("SKIPPED: the card cannot be mounted here");
    }
    let number = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(user.path(path)).map(|about| (about.dev(), about.ino())).expect("a folder")
    };
    let made = script(
        "mkdir Card/MISC Card/PRIVATE Card/DCIM; for i in 1 2 3; do echo $i > Card/DCIM/$i.jpg; done; ls -R Card",
    )
    .0;
    let before = number("Card/DCIM");
    let backed_up = user.snap(&["create", "Card/DCIM"]);
    script(&format!("umount Card; losetup -d {first}"));
    let other = script("losetup -f --show other").1;
    let again = script(plug).1;
    let after = number("Card/DCIM");
    let said = user.snap(&["create", "Card/DCIM"]);
    script(&format!("umount Card; losetup -d {again}; losetup -d {other}"));
    assert!(made && backed_up.code == 0, "{}", backed_up.err);
    assert_ne!(before, after, "this test is of a card whose numbers differ");
    assert_eq!(said.code, 0, "{}", said.err);
}
