//! What is told of the present is so: each source's present is its own newest snapshot, whichever was backed up last.

use crate::common::user;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use user::User;

/// What was written just before a run may change again within the same tick of the clock, and is read again.
fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Pictures and videos, backed up one after the other.
fn apart() -> User {
    let user = User::new();
    user.photo("Videos/film.mov", 9);
    settle();
    user.done(&["create", "Pictures"]);
    user.done(&["create", "Videos"]);
    user
}

#[test]
fn folders_that_are_backed_up_apart_are_all_present() {
    // After `create Videos`, `latest:Pictures` was "not found": the newest snapshot was of the videos.
    let user = apart();
    assert_eq!(user.done(&["ls", "latest:Pictures"]), "2019/\nc.jpg\n");
    assert_eq!(user.done(&["ls", "latest:Videos"]), "film.mov\n");
    let pictures = user.path("Pictures/2019").display().to_string();
    assert_eq!(user.done(&["ls", &format!("latest:{pictures}")]), "a.jpg\nb.jpg\n");
    let said = user.snap(&["cat", "latest:Pictures/c.jpg"]);
    assert_eq!(said.code, 0);
    assert!(said.err.contains("as its newest snapshot"), "{}", said.err);
    user.done(&["restore", "latest:Pictures/2019", "-t", "found"]);
    assert!(user.path("found/2019/a.jpg").exists());
    // The newest snapshot as such is the newest snapshot, and what it has not is named.
    let said = user.snap(&["ls", "latest"]);
    assert_eq!(said.out, "Videos/\n");
    assert!(said.err.contains("Pictures"), "{}", said.err);
    let said = user.snap(&["ls", "latest:Musik"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("there are Pictures, Videos"), "{}", said.err);

    // Each source has its own one before, and its own past.
    fs::remove_file(user.path("Pictures/c.jpg")).unwrap();
    user.done(&["create", "Pictures"]);
    user.photo("Videos/second.mov", 10);
    user.done(&["create", "Videos"]);
    assert_eq!(user.done(&["ls", "latest~1:Pictures"]), "2019/\nc.jpg\n");
    let said = user.snap(&["ls", "latest~2:Pictures"]);
    assert!(said.code == 1 && said.err.contains("no more than 2 snapshots"), "{}", said.err);
    let said = user.snap(&["ls", "2001:Pictures"]);
    assert!(said.code == 1 && said.err.contains("no snapshot from then or before"), "{}", said.err);
    assert_eq!(user.done(&["ls", "2099:Videos"]), "film.mov\nsecond.mov\n");
    let told = user.done(&["diff"]);
    assert!(told.contains("-  Pictures/c.jpg\n") && told.contains("+  Videos/second.mov\n"), "{told}");
    assert!(!told.contains("film.mov") && !told.contains("a.jpg"), "{told}");
    let ids = user.ids();
    let told = user.done(&["diff", &ids[0]]);
    assert!(told.contains("-  Pictures/c.jpg\n") && !told.contains("Videos"), "{told}");
    let told = user.done(&["deleted"]);
    assert!(told.contains("1 file in 1 folder"), "{told}");
    assert!(user.done(&["find", "film.mov"]).contains("Videos/film.mov"));
    assert!(user.done(&["find", "a.jpg"]).contains("Pictures/2019/a.jpg"));
}

#[test]
fn a_photo_that_is_on_two_machines_is_that_of_this_one() {
    let user = User::new();
    settle();
    user.done(&["create", "Pictures"]);
    fs::remove_file(user.path("Pictures/c.jpg")).unwrap();
    user.done(&["create", "-H", "desk", "Pictures"]);
    let said = user.snap(&["ls", "latest:Pictures"]);
    assert_eq!(said.out, "2019/\nc.jpg\n", "{}", said.err);
    assert!(said.err.contains("of desk has it, too"), "{}", said.err);
    assert_eq!(user.done(&["ls", "-H", "desk", "latest:Pictures"]), "2019/\n");
}

#[test]
fn duplicates_are_what_is_there_now() {
    // Somebody deleted the copy that was named, asked again without a new backup, and deleted the other one as well.
    let user = User::new();
    user.photo("Pictures/copy.jpg", 3);
    user.photo("Videos/again.jpg", 3);
    settle();
    user.done(&["create", "Pictures"]);
    user.done(&["create", "Videos"]);
    let told = user.done(&["duplicates"]);
    assert!(told.contains("3 times") && told.contains("Videos/again.jpg"), "{told}");
    fs::remove_file(user.path("Pictures/copy.jpg")).unwrap();
    let said = user.snap(&["duplicates"]);
    assert!(said.out.contains("2 times") && !said.out.contains("copy.jpg"), "{}", said.out);
    assert!(said.err.contains("1 file is not counted"), "{}", said.err);
    fs::write(user.path("Videos/again.jpg"), "something else").unwrap();
    let said = user.snap(&["duplicates"]);
    assert!(said.out.contains("nothing more than once"), "{}", said.out);
    let elsewhere = user.snap(&["duplicates", "-H", "laptop"]);
    assert!(elsewhere.out.contains("nothing more than once"));
}

#[test]
fn sources_are_listed_renamed_and_retired() {
    let user = apart();
    let (pictures, bilder) = (user.path("Pictures").display().to_string(), user.path("Bilder").display().to_string());
    let listed = user.done(&["source", "list"]);
    assert!(listed.contains(&format!("laptop  {pictures}\n")) && listed.contains("3 files"), "{listed}");
    fs::rename(&pictures, &bilder).unwrap();
    assert!(user.done(&["sources"]).contains("not there"));
    let said = user.done(&["source", "rename", "Pictures", "Bilder/"]);
    assert!(said.contains(&format!("what was recorded of {pictures} is now the past of {bilder}")), "{said}");
    let said = user.done(&["create", "Bilder"]);
    assert!(said.contains("0 new, 0 changed, 0 no longer"), "{said}");
    let listed = user.json(&["source", "list"]);
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0]["path"].as_str(), listed[0]["was"][0].as_str()), (Some(&*bilder), Some(&*pictures)));
    let told = user.done(&["history", "Bilder/2019/a.jpg"]);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("added: Bilder/2019/a.jpg"), "{told}");
    assert_eq!(user.done(&["ls", "latest~1:Bilder"]), "2019/\nc.jpg\n", "as it was under its old name");
    assert!(user.done(&["deleted"]).contains("nothing that the archive has"), "nothing was deleted");
    let said = user.snap(&["source", "rename", "Musik", "Music"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no such source") && said.err.contains("source list"), "{}", said.err);

    fs::remove_file(user.path("Videos/film.mov")).unwrap();
    user.photo("Videos/other.mov", 11);
    user.done(&["create", "Videos"]);
    assert!(user.done(&["deleted"]).contains("Videos/"));
    user.done(&["source", "retire", "Videos"]);
    assert!(user.done(&["deleted"]).contains("nothing that the archive has"));
    assert!(user.done(&["deleted", "--all"]).contains("Videos/"));
    assert!(user.done(&["find", "*.mov"]).contains("0 files"));
    assert!(user.done(&["find", "--all", "*.mov"]).contains("2 states"));
    let said = user.snap(&["ls", "latest:Videos"]);
    assert!(said.code == 1 && said.err.contains("was retired"), "{}", said.err);
    assert!(user.done(&["source", "list"]).contains("retired"));
    assert_eq!(user.snap(&["source", "retire", "Videos"]).code, 2, "it is retired already");
    user.done(&["source", "retire", "--undo", "Videos"]);
    assert_eq!(user.done(&["ls", "latest:Videos"]), "other.mov\n");
    assert!(user.done(&["verify", "--read-data"]).contains("whole"));
}

/// A source was retired, and its photos were deleted from the disk; `find --all` and `history` said that they were still there.
#[test]
fn what_a_retired_source_had_to_the_last_is_not_said_to_be_there_still() {
    let user = apart();
    user.done(&["source", "retire", "Videos"]);
    fs::remove_dir_all(user.path("Videos")).unwrap();
    for (arguments, words) in [
        (&["find", "--all", "film.mov"][..], "Videos/film.mov (its source was retired)"),
        (&["history", "Videos/film.mov"], "added; then its source was retired: Videos/film.mov"),
    ] {
        let told = user.done(arguments);
        assert!(told.contains(words) && !told.contains("still there"), "{told}");
    }
    let told = user.json(&["find", "--all", "film.mov"]);
    assert_eq!(told[0]["source_retired"], true);
    let told = user.json(&["find", "--all", "a.jpg"]);
    assert!(told[0]["source_retired"].is_null() && user.done(&["find", "--all", "a.jpg"]).contains("still there"));
}

#[test]
fn names_are_found_as_they_are_typed() {
    // A folder from a Mac could not be named by typing it, and what was excluded by name was backed up.
    let user = User::new();
    let (composed, decomposed) = ("M\u{fc}nchen", "Mu\u{308}nchen");
    user.photo(&format!("Pictures/{decomposed}/p.jpg"), 7);
    user.photo(&format!("Pictures/{decomposed}/bu\u{308}cher/q.jpg"), 8);
    settle();
    user.done(&["create", "Pictures"]);
    let place = format!("Pictures/{composed}");
    assert_eq!(user.done(&["ls", &format!("latest:{place}")]), "bu\u{308}cher/\np.jpg\n");
    assert_eq!(user.done(&["ls", &format!("{}:{place}/b\u{fc}cher", &user.ids()[0][..8])]), "q.jpg\n");
    user.done(&["restore", &format!("latest:{place}"), "-t", "one"]);
    assert!(user.path(&format!("one/{decomposed}/p.jpg")).exists(), "under the name that it had");
    user.done(&["restore", "latest", "--include", composed, "-t", "two"]);
    assert!(user.path(&format!("two/Pictures/{decomposed}/p.jpg")).exists());
    assert!(user.done(&["find", &format!("{composed}/p*")]).contains("1 file,"));
    assert!(user.done(&["history", &format!("{place}/p.jpg")]).contains("still there"));
    assert!(user.done(&["history", &place]).contains("2 added"));
    let told = user.done(&["create", "-n", "--exclude", composed, "Pictures", "--accept-loss"]);
    assert!(told.contains("2 left out by rules now"), "{told}");
    // What is written just so comes first, and what is not written so and means several is not guessed.
    user.photo(&format!("Pictures/{composed}/other.jpg"), 12);
    user.done(&["create", "Pictures"]);
    assert_eq!(user.done(&["ls", &format!("latest:{place}")]), "other.jpg\n");
    for name in ["A\u{30a}", "\u{212b}"] {
        user.photo(&format!("Pictures/{name}/x.jpg"), 13);
    }
    user.done(&["create", "Pictures"]);
    let said = user.snap(&["ls", "latest:Pictures/\u{c5}"]);
    assert!(said.code == 1 && said.err.contains("several names mean"), "{}", said.err);
    let names = fs::read_dir(user.path("Pictures")).unwrap().flatten().map(|item| item.file_name());
    assert_eq!(names.filter(|name| !name.as_bytes().is_ascii()).count(), 4);
}

/// A card that is not mounted is an empty folder, and `has` said that all of it was in the archive; people delete on that
/// word. So it did of a link to a photo that was never backed up.
#[test]
fn has_vouches_for_nothing_that_it_did_not_look_at() {
    let user = User::new();
    user.done(&["create", "Pictures"]);
    fs::create_dir(user.path("CARD")).unwrap();
    let said = user.snap(&["has", "CARD"]);
    assert!(said.code == 1 && said.err.contains("mounted"), "{}", said.err);
    fs::copy(user.path("Pictures/c.jpg"), user.path("CARD/c.jpg")).unwrap();
    assert_eq!(user.snap(&["has", "CARD"]).code, 0);
    std::os::unix::fs::symlink("/nowhere/raw.nef", user.path("CARD/raw.nef")).unwrap();
    let said = user.snap(&["has", "CARD"]);
    assert!(said.code == 3 && said.err.contains("not looked at"), "{}{}", said.out, said.err);
}

/// A double that was edited since, at its old length, was still called one, and people delete by that list.
#[test]
fn a_double_that_was_edited_is_none() {
    let user = User::new();
    for name in ["Pictures/d.jpg", "Pictures/e.jpg"] {
        let path = user.photo(name, 7);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000)).unwrap();
    }
    settle();
    user.done(&["create", "Pictures"]);
    assert!(user.done(&["duplicates"]).contains("d.jpg"));
    let mut bytes = fs::read(user.path("Pictures/d.jpg")).unwrap();
    bytes[300] ^= 1;
    fs::write(user.path("Pictures/d.jpg"), bytes).unwrap();
    assert!(!user.done(&["duplicates"]).contains("d.jpg"));
}

/// An editor wrote into one of two equal photos and put its length and date back; both were still told as doubles, and the one
/// that had not been edited was deleted.
#[test]
fn a_double_that_was_edited_with_its_date_put_back_is_none() {
    let user = User::new();
    let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let dated = |path: &Path| fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
    for name in ["Pictures/d.jpg", "Pictures/e.jpg", "Pictures/f.jpg"] {
        dated(&user.photo(name, 7));
    }
    settle();
    user.done(&["create", "Pictures"]);
    let path = user.path("Pictures/d.jpg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    dated(&path);
    // One that only has another date has the same bytes, and is read to know that.
    let touched = fs::File::options().write(true).open(user.path("Pictures/f.jpg")).unwrap();
    touched.set_modified(date + Duration::from_secs(60)).unwrap();
    let said = user.snap(&["duplicates"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("2 times") && !said.out.contains("d.jpg"), "{}", said.out);
    assert!(said.err.contains("1 file is not counted"), "{}", said.err);
    fs::remove_file(user.path("Pictures/f.jpg")).unwrap();
    assert!(user.done(&["duplicates"]).contains("nothing more than once"));
}

/// Whoever named an album by a name that its source had once, by a short name, by a number or with `..` was told that there is
/// no such thing; a folder that is a source and lies in another one was "several places".
#[test]
fn an_album_is_found_by_every_name_that_it_has_or_had() {
    let user = User { home: tempfile::tempdir().unwrap() };
    let photos = ["Pictures/2018/1.jpg", "Pictures/a/2.jpg", "Pictures/me@2024.jpg", "a/3.jpg", "2017/4.jpg"];
    photos.iter().zip(0..).for_each(|(path, number)| drop(user.photo(path, number)));
    fs::create_dir(user.path("sub")).unwrap();
    user.done(&["init"]);
    user.done(&["create", "Pictures", "Pictures/2018"]);
    user.done(&["create", "a", "2017"]);
    let restored = |what: &str, target: &str, path: &str| {
        user.done(&["restore", what, "-t", target]);
        assert!(user.path(target).join(path).exists(), "{what}");
    };
    restored("Pictures/2018", "one", "2018/1.jpg");
    restored("a", "two", "a/3.jpg");
    restored("2017", "three", "2017/4.jpg");
    restored("Pictures/me@2024.jpg", "four", "me@2024.jpg");
    fs::remove_dir_all(user.path("Pictures/a")).unwrap();
    let sub = |arguments: &[&str]| {
        let mut command = user.command(env!("CARGO_BIN_EXE_snap"), arguments);
        let said = user::said(command.current_dir(user.path("sub")).output().unwrap());
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said.out
    };
    assert!(sub(&["history", "../Pictures/a/2.jpg"]).contains("added: Pictures/a/2.jpg"));
    user.done(&["dump", "Pictures/a@2099-01-01", "-t", "a.tar"]);
    fs::rename(user.path("Pictures"), user.path("Photos")).unwrap();
    user.done(&["source", "rename", "Pictures", "Photos"]);
    user.done(&["create", "Photos"]);
    for path in ["latest~1:Pictures/2018", "latest~1:Photos/2018", "latest:Pictures/2018"] {
        assert_eq!(user.done(&["ls", path]), "1.jpg\n", "{path}");
    }
    restored("Pictures/2018/1.jpg", "five", "1.jpg");
    let said = user.snap(&["restore", "Photos/a@2099-01-01", "-t", "six"]);
    assert!(said.code == 1 && said.err.contains("made by 2099-01-01 has no \"Photos/a\""), "{}", said.err);
}

/// Where two folders were backed up apart, one of them could be listed and not dumped; and a folder that was given as
/// `../Pictures` was not known to have been backed up here.
#[test]
fn every_command_finds_a_source_whichever_way_it_was_given() {
    let user = apart();
    user.done(&["dump", "latest:Pictures/2019", "-t", "album.tar"]);
    fs::create_dir(user.path("sub")).unwrap();
    user.photo("Music/cover.jpg", 21);
    user.done(&["create", "sub/../Music"]);
    fs::remove_file(user.path("Music/cover.jpg")).unwrap();
    user.done(&["restore", "latest:Music", "--in-place"]);
    assert!(user.path("Music/cover.jpg").exists());
    // What was said of a source is no rubbish.
    user.done(&["source", "rename", "sub/../Music", "sub/Music"]);
    assert!(!user.done(&["status"]).contains("leftovers"), "{}", user.done(&["status"]));
}

#[test]
fn a_name_that_differs_only_in_case_is_told() {
    let user = User::new();
    settle();
    user.done(&["create", "Pictures"]);
    let said = user.snap(&["find", "A.JPG"]);
    assert!(said.out.contains("0 files"), "{}", said.out);
    assert!(said.err.contains("nothing matches \"A.JPG\"; Pictures/2019/a.jpg differs only in case"), "{}", said.err);
    let said = user.snap(&["find", "pictures"]);
    assert!(said.err.contains("\"pictures\"; Pictures differs"), "{}", said.err);
    assert!(user.done(&["find", "-i", "A.JPG"]).contains("1 file,"));
    let said = user.snap(&["find", "nowhere"]);
    assert!(said.out.contains("0 files") && said.err.contains("nothing matches \"nowhere\""), "{}", said.err);
    let said = user.snap(&["find", "a.jpg", "nowhere"]);
    assert!(said.out.contains("1 file,") && said.err.contains("nothing matches \"nowhere\""), "{}", said.err);
    let said = user.snap(&["history", "Pictures/nowhere.jpg"]);
    assert!(said.code == 1 && said.err.contains("no snapshot has ever had anything there"), "{}", said.err);
}

#[test]
fn hints_fit_the_cause_and_nothing_has_a_number() {
    // "Is the drive still connected?" was said of a folder that belonged to somebody else.
    let user = User::new();
    let said = user.snap(&["create", "Nowhere"]);
    assert!(said.err.contains("there is no such file or folder") && said.err.contains("written right"), "{}", said.err);
    fs::create_dir_all(user.path(".config/snapkeep")).unwrap();
    fs::write(
        user.path(".config/snapkeep/config.toml"),
        "[create]\nsources = [\"~/Pictures\"]\nexclude = [\"~/Pictures/2019\"]\n",
    )
    .unwrap();
    let told = user.done(&["create"]);
    assert!(told.contains("1 new"), "~ is the home folder wherever a path may stand: {told}");
    fs::write(user.path("file"), "no folder").unwrap();
    let mut all = said.err;
    for words in [
        &["-a", "file", "list"][..],
        &["create", "--exclude-file", "nowhere", "Pictures"],
        &["create", "--files-from", "nowhere"],
        &["restore", "latest", "-t", "file/below"],
        &["mount", "file"],
        &["has", "nowhere"],
        &["init", "/proc/snapkeep"],
    ] {
        let said = user.snap(words);
        assert_ne!(said.code, 0, "{words:?}");
        all += &said.err;
    }
    assert!(!all.contains("os error"), "{all}");
}
