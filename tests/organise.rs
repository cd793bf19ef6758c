//! A session of somebody who organises a library: backs it up before, renames, moves, tags and deletes, loses an album,
//! asks what happened, gets exactly the lost album back without naming a snapshot, and proves that doubles may go.

use crate::common::picture;
use crate::common::user;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use picture::{photo, tag};
use user::User;

const PER_ALBUM: u64 = 12;

/// A user with three albums of photos that differ.
fn library() -> User {
    let user = User { home: tempfile::tempdir().expect("a home") };
    for (seed, album) in (0..).zip(["2018/Berge", "2019/Ostsee", "2019/Garten"]) {
        for number in 0..PER_ALBUM {
            let path = user.path(&format!("Pictures/{album}/IMG_{:04}.jpg", 100 * seed + number));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, photo(100 * seed + number, 48, 32)).expect("a photo");
        }
    }
    // What was written just before a run may change again within the same tick of the clock, and is read again.
    std::thread::sleep(std::time::Duration::from_millis(100));
    user
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = item.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(root).expect("below").to_owned(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

#[test]
fn a_library_is_organised_and_a_lost_album_comes_back() {
    let user = library();
    let pictures = user.path("Pictures");
    let said = user.done(&["create", "--keep-forever", "--note", "before organising", "Pictures"]);
    assert!(said.contains("36 new, 0 changed, 0 no longer in the source (still in the archive)"), "{said}");
    assert!(user.done(&["list"]).contains("for ever"));
    let ostsee = files(&pictures.join("2019/Ostsee"));

    // An album gets another name, a photo goes elsewhere, others get tags, one is edited, one is doubled, some go.
    let at = |path: &str| user.path(&format!("Pictures/{path}"));
    fs::rename(at("2018/Berge"), at("2018 In den Bergen")).expect("renamed");
    fs::rename(at("2019/Garten/IMG_0200.jpg"), at("2019/best.jpg")).expect("moved");
    for number in 201..204 {
        let path = at(&format!("2019/Garten/IMG_0{number}.jpg"));
        let tagged = tag(&fs::read(&path).expect("a photo"), 5, "in the garden");
        fs::write(&path, tagged).expect("tagged");
    }
    fs::write(at("2019/Garten/IMG_0204.jpg"), photo(999, 48, 32)).expect("edited");
    fs::copy(at("2019/Garten/IMG_0205.jpg"), at("double.jpg")).expect("doubled");
    fs::remove_file(at("2019/Garten/IMG_0206.jpg")).expect("deleted");
    let said = user.done(&["create", "Pictures"]);
    assert!(said.contains("1 new, 4 changed, 13 moved, 1 no longer in the source"), "{said}");

    let said = user.done(&["diff"]);
    for line in [
        "R  Pictures/2018/Berge/ → Pictures/2018 In den Bergen/  (12 files",
        "R  Pictures/2019/Garten/IMG_0200.jpg → Pictures/2019/best.jpg",
        "T  Pictures/2019/Garten/IMG_0201.jpg",
        "M  Pictures/2019/Garten/IMG_0204.jpg",
        "C  Pictures/double.jpg = Pictures/2019/Garten/IMG_0205.jpg",
        "-  Pictures/2019/Garten/IMG_0206.jpg",
        "1 new doubles",
        "13 moved",
        "3 with other tags",
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    let changes = user.json(&["diff", "latest~1", "latest"]);
    let with = |modifier: &str| changes.iter().filter(|line| line["modifier"] == modifier).count();
    assert_eq!([with("R"), with("T"), with("M"), with("C"), with("-"), with("+")], [13, 3, 1, 1, 1, 0]);
    assert_eq!(changes.last().expect("a sum")["moved"]["files"], 13);

    // The album goes, unnoticed, and more is done before anybody asks.
    fs::remove_dir_all(at("2019/Ostsee")).expect("lost");
    user.done(&["create", "Pictures"]);
    fs::write(at("2019/new.jpg"), photo(555, 48, 32)).expect("a photo");
    user.done(&["create", "Pictures"]);

    let said = user.done(&["deleted"]);
    assert!(said.contains("12 files") && said.contains("Pictures/2019/Ostsee/"), "{said}");
    assert!(said.contains("13 files in 2 folders"), "{said}");
    assert!(!said.contains("Berge"), "what has moved is not deleted: {said}");
    let only = user.json(&["deleted", "--under", "Pictures/2019/Ostsee"]);
    assert_eq!(only.len(), 13, "twelve photos and a sum");
    assert_eq!(user.json(&["deleted", "--since", "1 minute ago"]).len(), 14);
    assert!(user.done(&["deleted", "-v"]).contains("Pictures/2019/Garten/IMG_0206.jpg"));

    let said = user.done(&["history", "Pictures/2019/Ostsee"]);
    assert!(said.contains("12 added") && said.contains("12 deleted"), "{said}");
    let said = user.done(&["history", "Pictures/2019/best.jpg"]);
    assert!(said.contains("then moved to Pictures/2019/best.jpg: Pictures/2019/Garten/IMG_0200.jpg"), "{said}");
    assert!(said.contains("moved here from Pictures/2019/Garten/IMG_0200.jpg: Pictures/2019/best.jpg"), "{said}");
    let said = user.done(&["history", "Pictures/2019/Garten/IMG_0201.jpg"]);
    assert!(said.contains("only its tags changed"), "{said}");

    // Exactly the lost album, without a snapshot's name, beside the source and not over it.
    let before = files(&pictures);
    let said = user.snap(&["restore", "--deleted", "Pictures/2019/Ostsee"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("all of it, as snapshot") && said.out.contains("restored 12 files"),
        "{}{}",
        said.out,
        said.err
    );
    let fresh = fs::read_dir(user.home.path()).expect("home").flatten().map(|item| item.path());
    let fresh =
        fresh.into_iter().find(|path| path.to_string_lossy().contains("Pictures-restored-")).expect("a fresh folder");
    assert_eq!(files(&fresh.join("Ostsee")), ostsee);
    assert_eq!(files(&fresh).len(), ostsee.len());
    assert_eq!(files(&pictures), before, "the source is as it was");

    // And back where it was; what is there is not touched.
    fs::create_dir_all(at("2019/Ostsee")).expect("a folder");
    fs::write(at("2019/Ostsee/IMG_0100.jpg"), "mine").expect("a file");
    let path = at("2019/Ostsee");
    let said = user.snap(&["restore", "--in-place", "--deleted", path.to_str().expect("text")]);
    assert_eq!(said.code, 0, "{}", said.err);
    let mut expected = ostsee.clone();
    expected.insert("IMG_0100.jpg".into(), b"mine".to_vec());
    assert_eq!(files(&at("2019/Ostsee")), expected);
}

#[test]
fn a_photo_as_of_a_date() {
    let user = library();
    user.done(&["create", "Pictures"]);
    let path = "Pictures/2019/Garten/IMG_0206.jpg";
    let was = fs::read(user.path(path)).expect("a photo");
    // A year's end is not over, so the newest snapshot counts.
    let year = &user.json(&["list"])[0][0]["time"].as_str().expect("a time")[..4].to_owned();
    user.done(&["restore", &format!("{path}@{year}"), "--target", "there"]);
    assert_eq!(fs::read(user.path("there/IMG_0206.jpg")).expect("restored"), was);
    let said = user.snap(&["restore", &format!("{path}@1999"), "--target", "nowhere"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("there was no \"Pictures/2019/Garten/IMG_0206.jpg\" by 1999"), "{}", said.err);
    assert!(said.err.contains("snap history"), "{}", said.err);
    let said = user.snap(&["restore", &format!("{path}@someday")]);
    assert_eq!((said.code, said.err.contains("\"someday\" is no date")), (2, true), "{}", said.err);
    let said = user.snap(&["restore", "--deleted", path]);
    assert_eq!((said.code, said.err.contains("was deleted")), (1, true), "{}", said.err);
    let said = user.snap(&["restore", "--deleted", "Pictures/never"]);
    assert_eq!((said.code, said.err.contains("no snapshot has ever had anything there")), (1, true), "{}", said.err);
}

#[test]
fn doubles_may_go_once_it_is_proven_that_they_are() {
    let user = library();
    fs::create_dir_all(user.path("old phone")).expect("a folder");
    for number in 0..5 {
        let name = format!("IMG_{:04}.jpg", 100 + number);
        fs::copy(user.path(&format!("Pictures/2019/Ostsee/{name}")), user.path(&format!("old phone/copy of {name}")))
            .expect("copied");
    }
    user.done(&["create", "Pictures"]);
    let said = user.snap(&["has", "old phone"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(!said.out.contains("here:"), "only what is missing is listed: {}", said.out);
    let said = user.snap(&["has", "old phone", "-v", "--read-data"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("here: old phone/copy of IMG_0100.jpg = Pictures/2019/Ostsee/IMG_0100.jpg"),
        "{}",
        said.out
    );
    assert!(said.out.contains("all of it is in the archive, bit for bit"), "{}", said.out);

    let tagged = tag(&fs::read(user.path("old phone/copy of IMG_0100.jpg")).expect("a photo"), 3, "other words");
    fs::write(user.path("old phone/tagged.jpg"), tagged).expect("tagged");
    let said = user.snap(&["has", "old phone"]);
    assert_eq!(said.code, 15, "{}", said.out);
    assert!(said.out.contains("same picture, other tags: old phone/tagged.jpg = Pictures/2019/Ostsee/IMG_0100.jpg"));
    fs::write(user.path("old phone/other.jpg"), photo(4711, 48, 32)).expect("another");
    let said = user.snap(&["has", "old phone", "--json"]);
    assert_eq!(said.code, 15);
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sum = lines.last().expect("a sum");
    assert_eq!((&sum["here"], &sum["same_picture"], &sum["missing"]), (&5.into(), &1.into(), &1.into()));

    // The source has doubles too.
    let said = user.done(&["duplicates"]);
    assert!(said.contains("the source has nothing more than once"), "{said}");
    fs::copy(user.path("Pictures/2019/Ostsee/IMG_0101.jpg"), user.path("Pictures/again.jpg")).expect("copied");
    fs::hard_link(user.path("Pictures/2019/Ostsee/IMG_0102.jpg"), user.path("Pictures/link.jpg")).expect("linked");
    user.done(&["create", "Pictures"]);
    let said = user.done(&["duplicates"]);
    assert!(said.contains("  Pictures/2019/Ostsee/IMG_0101.jpg\n  Pictures/again.jpg\n"), "{said}");
    assert!(said.contains("1 file is more than needed"), "{said}");
    let size = fs::metadata(user.path("Pictures/again.jpg")).expect("a file").len();
    assert_eq!(user.json(&["duplicates"]).last().expect("a sum")["waste"], size);
}

#[test]
fn photos_are_found_by_name_and_by_what_they_are() {
    let user = library();
    fs::write(user.path("Pictures/notes.txt"), "a note").expect("a file");
    user.done(&["create", "Pictures"]);
    fs::remove_file(user.path("Pictures/2019/Garten/IMG_0203.jpg")).expect("deleted");
    user.done(&["create", "Pictures"]);
    let count = |arguments: &[&str]| user.json(&[&["find"], arguments].concat()).len() - 1;
    assert_eq!(count(&["IMG_02*"]), PER_ALBUM as usize - 1);
    assert_eq!(count(&["img_02*"]), 0);
    assert_eq!(count(&["-i", "img_02*"]), PER_ALBUM as usize - 1);
    assert_eq!(count(&["--all", "IMG_0203.jpg"]), 1);
    assert_eq!(count(&["--deleted"]), 1);
    assert_eq!(count(&["Ostsee"]), PER_ALBUM as usize);
    assert_eq!(count(&["--kind", "photo"]), 3 * PER_ALBUM as usize - 1);
    assert_eq!(count(&["--kind", "other"]), 1);
    assert_eq!(count(&["--kind", "other", "--kind", "photo"]), 3 * PER_ALBUM as usize);
    assert_eq!(count(&["--size", "-10"]), 1);
    assert_eq!(count(&["--size", "10"]), 3 * PER_ALBUM as usize - 1);
    assert_eq!(count(&["--taken", "2019"]), 0, "these photos do not say when they were taken");
    let hash = blake3::hash(b"a note").to_hex();
    assert_eq!(count(&["--hash", &hash[..10]]), 1);
    let said = user.snap(&["find", "--taken", "soon"]);
    assert_eq!(said.code, 2, "{}", said.err);
}

#[test]
fn a_source_that_something_has_happened_to_is_refused() {
    let user = User { home: tempfile::tempdir().expect("a home") };
    for number in 0..200 {
        user.photo(&format!("Pictures/{}/{number}.jpg", number % 4), number);
    }
    user.done(&["create", "Pictures"]);
    let refused = |what: &str, arguments: &[&str]| {
        let before = user.ids();
        let said = user.snap(&[&["create", "Pictures"], arguments].concat());
        assert_eq!(said.code, 13, "{}{}", said.out, said.err);
        assert!(said.err.contains(what) && said.err.contains("--accept-loss"), "{what:?} is not in {}", said.err);
        assert_eq!(user.ids(), before, "nothing is recorded");
    };
    // A quarter is not too much; one more is.
    let set_aside =
        |name: &str| fs::rename(user.path(&format!("Pictures/{name}")), user.path(&format!("aside {name}")));
    set_aside("0").expect("moved");
    fs::remove_dir_all(user.path("aside 0")).expect("removed");
    user.done(&["create", "Pictures", "--dry-run"]);
    refused("it has lost 50 of the 200 files", &["--max-loss", "20"]);
    fs::remove_file(user.path("Pictures/1/1.jpg")).expect("removed");
    refused("it has lost 51 of the 200 files", &[]);
    refused("it has lost 51 of the 200 files", &["--dry-run"]);
    // What moved within the source is not lost.
    fs::create_dir(user.path("Pictures/new")).expect("a folder");
    for name in ["1", "2", "3"] {
        fs::rename(user.path(&format!("Pictures/{name}")), user.path(&format!("Pictures/new/{name}"))).expect("moved");
    }
    refused("it has lost 51 of the 200 files", &[]);
    user.done(&["create", "Pictures", "--max-loss", "26"]);

    // A program writes into most of them.
    for number in (1..200).filter(|number| number % 4 != 0) {
        user.photo(&format!("Pictures/new/{}/{number}.jpg", number % 4), 1000 + number);
        let file =
            fs::File::options().append(true).open(user.path(&format!("Pictures/new/{}/{number}.jpg", number % 4)));
        std::io::Write::write_all(&mut file.expect("a file"), b"locked").expect("written");
    }
    refused("are changed", &[]);
    let said = user.snap(&["create", "Pictures", "--accept-loss"]);
    assert_eq!(said.code, 0, "{}", said.err);

    // A drive that is not mounted leaves an empty folder.
    fs::rename(user.path("Pictures"), user.path("elsewhere")).expect("moved");
    fs::create_dir(user.path("Pictures")).expect("a folder");
    refused("it is empty now", &[]);
    let said = user.snap(&["create", "Pictures", "--accept-loss"]);
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn a_source_on_another_device_is_refused() {
    let shared = Path::new("/dev/shm");
    let user = library();
    let other = tempfile::TempDir::new_in(shared);
    let device = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).map(|meta| meta.dev()).ok()
    };
    let Ok(other) = other else {
        return eprintln!("SKIPPED: there is no /dev/shm to be another device");
    };
    if device(other.path()) == device(user.home.path()) {
        return eprintln!("SKIPPED: /dev/shm is no other device than the folder of temporary files");
    }
    user.done(&["create", "Pictures"]);
    let link = user.path("Pictures");
    fs::rename(&link, user.path("aside")).expect("moved");
    let copied =
        std::process::Command::new("cp").arg("-a").arg(user.path("aside")).arg(other.path().join("copy")).status();
    assert!(copied.expect("cp runs").success());
    std::os::unix::fs::symlink(other.path().join("copy"), &link).expect("a link");
    let said = user.snap(&["create", "Pictures"]);
    assert_eq!(said.code, 13, "{}{}", said.out, said.err);
    assert!(said.err.contains("it is on another device"), "{}", said.err);
    assert_eq!(user.snap(&["create", "Pictures", "--accept-loss"]).code, 0);
}
