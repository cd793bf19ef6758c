//! What `status` says agrees with what was found and with what lies on the drive.

use crate::common::picture;
use crate::common::user;

use std::fs;
use std::path::Path;

use picture::photo;
use user::User;

fn size_of(folder: &Path) -> u64 {
    let mut todo = vec![folder.to_owned()];
    let mut size = 0;
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = item.path();
            if path.is_dir() { todo.push(path) } else { size += item.metadata().expect("a file").len() }
        }
    }
    size
}

/// Damage was found in the night, by a timer; the next morning `status` said how much had been verified, and no word of
/// it.
#[test]
fn damage_that_was_found_is_told_until_it_is_mended() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    assert!(!user.done(&["status"]).contains("damaged"));
    user.damage(&archive);
    let said = user.snap(&["verify", "--read-data"]);
    assert_eq!(said.code, 14, "{}{}", said.out, said.err);
    assert!(!said.out.contains("packs/") && !said.out.contains("frame"), "told in photos: {}", said.out);
    let verbose = user.snap(&["verify", "--read-data", "-v"]);
    assert!(verbose.out.contains("packs/"), "{}", verbose.out);
    // A look that reads no data does not see it, and is no reason to forget it.
    user.snap(&["verify"]);
    // What was set aside once may be all that a photo is read from: nobody is to be told to delete it now.
    fs::create_dir_all(archive.join("quarantine/packs")).expect("made");
    fs::write(archive.join("quarantine/packs").join(format!("ab{}", "0".repeat(62))), "once").expect("written");
    let said = user.done(&["status"]);
    assert!(said.contains("quarantine 1 damaged object") && said.contains("keep them"), "{said}");
    assert!(!said.contains("may be deleted"), "{said}");
    fs::remove_dir_all(archive.join("quarantine")).expect("removed");
    let said = user.done(&["status"]);
    assert!(said.contains("damaged    found 20") && said.contains("1 object"), "{said}");
    assert_eq!(user.json(&["status"])[0]["damage"]["objects"], 1);
    user.done(&["repair"]);
    let said = user.done(&["status"]);
    assert!(!said.contains("damaged    "), "{said}");
    assert!(said.contains("quarantine 1 damaged object that was set aside"), "{said}");
    assert!(said.contains("finds everything whole, nothing needs them"), "{said}");
    let quarantined = user.json(&["status"])[0]["quarantine"]["size"].as_u64().expect("a size");
    assert_eq!(quarantined, size_of(&archive.join("quarantine")));
}

/// It was mended by hand, from another drive; a look that finds all whole is as good as a repair.
#[test]
fn damage_is_forgotten_when_a_look_that_covers_it_finds_nothing() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    let kept = user.path("kept");
    let copied = std::process::Command::new("cp").arg("-a").arg(archive.join("packs")).arg(&kept).status();
    assert!(copied.expect("copied").success());
    user.damage(&archive);
    assert_eq!(user.snap(&["verify", "--read-data"]).code, 14);
    fs::remove_dir_all(archive.join("packs")).expect("removed");
    fs::rename(&kept, archive.join("packs")).expect("put back");
    user.done(&["verify"]);
    assert!(user.done(&["status"]).contains("damaged    "), "nothing was read");
    user.done(&["verify", "--read-data"]);
    assert!(!user.done(&["status"]).contains("damaged    "));
}

/// Gigabytes lay in the archive's folder that no command ever spoke of.
#[test]
fn what_interrupted_runs_leave_is_counted() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    fs::write(archive.join("snapshots/.tmp-0123456789abcdef"), [0; 1000]).expect("written");
    fs::write(archive.join(".tmp-0123456789abcdef"), [0; 11]).expect("written");
    fs::create_dir_all(archive.join("parity/ab")).expect("made");
    fs::write(archive.join("parity/ab").join(format!("ab{}", "0".repeat(62))), [0; 500]).expect("written");
    let said = user.done(&["status"]);
    assert!(said.contains("leftovers  2 unfinished objects, 1.0 kB") && said.contains("sweeps them"), "{said}");
    assert!(said.contains("leftovers  1 object of recovery data, 500 B, of what is not there"), "{said}");
    user.photo("Pictures/new.jpg", 9);
    user.done(&["create", "Pictures"]);
    let status = user.json(&["status"]).remove(0);
    assert_eq!(status["unfinished"]["objects"], 0, "the next backup has swept them");
    assert_eq!(status["orphaned_parity"]["objects"], 1);
}

/// `squeeze` said that it had saved as much, `status` something else, and the drive had a third number.
#[test]
fn what_squeezing_saves_is_the_same_for_everybody() {
    let user = User { home: tempfile::tempdir().expect("a home") };
    for number in 0..12 {
        let path = user.path(&format!("Pictures/{number}.jpg"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, photo(number, 320, 240)).expect("a photo");
    }
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    let before = size_of(&archive);
    let said = user.done(&["status"]);
    assert!(said.contains("squeezed   0 images\n") && said.contains("left to squeeze: 12 images"), "{said}");
    assert!(user.done(&["squeeze", "-n"]).contains("left to squeeze: 12 images"));
    let done = user.json(&["squeeze"]).pop().expect("a sum");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    assert_eq!((number(&done["images_squeezed"]), number(&done["images_left"])), (12, 0));
    let squeeze = number(&done["bytes_before"]) - number(&done["bytes_after"]);
    let status = user.json(&["status"]).remove(0);
    assert_eq!((number(&status["images_squeezed"]), number(&status["images_left"])), (12, 0));
    let (plain, stored) = (number(&status["images_plain_size"]), number(&status["images_stored_size"]));
    let (images, drive) = (plain - stored, before - size_of(&archive));
    assert!(squeeze > 1000, "{squeeze}");
    let near = |one: u64, other: u64| one.abs_diff(other) * 100 <= other.max(1) * 3;
    assert!(near(squeeze, drive), "squeeze says {squeeze}, the drive {drive}");
    // Made photos are so plain that they had been packed a little before, which those of cameras cannot be.
    assert!(images >= squeeze, "the images are shorter by {images}, squeeze says {squeeze}");
}

/// `list` told another number than `status`, and `source list` other files than `create`.
#[test]
fn one_thing_has_one_number() {
    let user = User { home: tempfile::tempdir().expect("a home") };
    for number in 0..6 {
        let path = user.path(&format!("Pictures/{number}.jpg"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, photo(number, 320, 240)).expect("a photo");
    }
    std::os::unix::fs::symlink("0.jpg", user.path("Pictures/best")).expect("a link");
    assert!(user.done(&["create", "Pictures"]).contains("6 files"));
    assert!(user.done(&["source", "list"]).contains(" 6 files"));
    user.done(&["squeeze"]);
    let status = user.done(&["status"]);
    let saved = status.lines().find_map(|line| line.strip_prefix("squeezed   ")).expect("what was saved");
    let list = user.done(&["list"]);
    assert!(saved.starts_with("6 images: ") && list.contains(&format!("squeezed: {saved}\n")), "{list}{status}");
    // Of several sources at once, links are counted with the files, and that is said.
    fs::create_dir_all(user.path("Films")).expect("made");
    fs::write(user.path("Films/a.mov"), "a film").expect("written");
    user.done(&["create", "Pictures", "Films"]);
    let said = user.done(&["source", "list"]);
    assert!(said.contains("7 files and links") && said.contains("1 file or link"), "{said}");
}
