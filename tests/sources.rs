//! What is backed up when several things are named, and what of this program never is.

use crate::common;
use crate::common::user;
use crate::common::watched;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Heard, TestArchive, options};
use snapkeep::archive::Archive;
use snapkeep::op::backup;
use user::User;
use watched::Record;

/// One name that was misspelt, or one drive that was not there, and nothing at all was saved.
#[test]
fn a_source_that_is_missing_costs_only_itself() {
    let user = User::new();
    user.photo("Videos/v.mp4", 9);
    user.done(&["init", "archive"]);
    let create = |sources: &[&str]| user.snap(&[&["-a", "archive", "create"], sources].concat());
    let sources = |at: usize| {
        let list = user.json(&["-a", "archive", "list"]).remove(0);
        let paths = list[at]["paths"].as_array().expect("paths").clone();
        paths.iter().map(|path| path.as_str().expect("text").rsplit('/').next().expect("a name").to_owned()).collect()
    };
    let said = create(&["Pictures", "nothing", "Videos", "neither/../there"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("nothing: reading the source: there is no such file"), "{}", said.err);
    assert!(said.err.contains("neither/../there: ") && said.out.contains("4 new"), "{}{}", said.out, said.err);
    let first: Vec<String> = sources(0);
    assert_eq!(first, ["Pictures", "Videos"]);
    fs::write(user.path("list"), "Pictures/c.jpg\nPictures/d.jpg\nPictures/2019/a.jpg\n").expect("a list");
    let said = create(&["--files-from", "list"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("d.jpg: reading the source: there is no such file"), "{}", said.err);
    let second: Vec<String> = sources(1);
    assert_eq!(second, ["c.jpg", "a.jpg"]);
    assert!(user.done(&["-a", "archive", "list"]).contains("incomplete: 1 place could not be read"));

    // If nothing is there, there is nothing to record.
    for missing in [&["nothing"][..], &["nothing", "neither"]] {
        let said = create(missing);
        assert_eq!((said.code, said.err.contains("nothing: there is no such file")), (1, true), "{}", said.err);
    }
    assert_eq!(user.json(&["-a", "archive", "list"])[0].as_array().map(Vec::len), Some(2));
}

/// A list of names cost the square of its length: for each name the top of the snapshot was read once more.
#[test]
fn a_list_of_names_costs_what_it_is_long() {
    let archive = TestArchive::new(&common::SMALL);
    let calls = |number: usize| {
        let folder = archive.source().join(number.to_string());
        let files: Vec<PathBuf> = (0..number).map(|file| folder.join(format!("{}/same.jpg", file))).collect();
        for file in &files {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, file.as_os_str().as_encoded_bytes()).unwrap();
        }
        let sources: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let run = || {
            let record = Record::new(None);
            let opened =
                Archive::open(record.store(archive.path()), Some(&archive.cache()), std::sync::Arc::new(|_| {}))
                    .unwrap();
            let before = record.calls.lock().unwrap().len();
            let done = backup(&opened, &options(&sources), &Heard::default()).unwrap();
            let calls = record.calls.lock().unwrap().len() - before;
            (done, calls)
        };
        // What was written just before a run may change again within the same tick of the clock, and is read again.
        std::thread::sleep(std::time::Duration::from_millis(120));
        let (done, _) = run();
        assert_eq!(done.summary.new, number as u64);
        let (done, calls) = run();
        assert_eq!((done.summary.files, done.summary.new), (number as u64, 0));
        calls
    };
    let (few, many) = (calls(20), calls(400));
    // A few packs more are looked into, each once; 400 names are not.
    assert!(many <= few + 60, "{few} calls for 20 names, {many} for 400");
}

/// The index of every run was backed up by the next one, and an archive on the desktop would have been.
#[test]
fn what_belongs_to_the_program_is_never_backed_up() {
    let user = User::new();
    let leftover = format!("Pictures/.snapkeep-restore-{}.tmp", "0123456789abcdef".repeat(2));
    fs::write(user.path(&leftover), "half a photo").expect("a file");
    fs::write(user.path("Pictures/.snapkeep-restore-of-me.tmp"), "mine").expect("a file");
    // Another program's cache is nobody's business here, and a header alone makes no archive.
    fs::create_dir_all(user.path(".cache/thumbnails")).expect("a folder");
    fs::write(user.path(".cache/thumbnails/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55")
        .expect("a tag");
    fs::create_dir_all(user.path("look/alike")).expect("a folder");
    fs::write(user.path("look/alike/header"), "not one").expect("a file");
    let home = user.home.path().to_str().expect("text").to_owned();
    let name = home.rsplit('/').next().expect("a name").to_owned();
    symlink(&home, user.path("Pictures/way round")).expect("a link");
    for source in [home.clone(), format!("{home}/Pictures/way round/.")] {
        user.done(&["create", &source]);
        user.done(&["create", &source]);
    }
    let said = user.done(&["ls", "--recursive", "latest"]);
    for part in ["index.redb", "local/share/snapkeep/archive/", "packs/", &leftover[9..]] {
        assert!(!said.contains(part), "{part} is in {said}");
    }
    for part in ["thumbnails/CACHEDIR.TAG", "look/alike/header", "restore-of-me.tmp", "2019/a.jpg"] {
        assert!(said.contains(part), "{part} is not in {said}, which is of {name}");
    }
    let said = user.done(&["create", "-v", &home]);
    for what in ["a folder of this program", "what an unfinished restore left"] {
        assert!(said.contains(what), "{what:?} is not in {said}");
    }
    let tags =
        Command::new("find").args([&home, "-name", "CACHEDIR.TAG", "-path", "*snapkeep*"]).output().expect("find");
    let tag = fs::read_to_string(String::from_utf8_lossy(&tags.stdout).trim()).expect("one tag");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"), "{tag}");
}

/// Seen through another mount, an archive was a folder like any other.
#[test]
fn an_archive_is_left_out_by_whatever_path_it_is_reached() {
    let user = User::new();
    user.done(&["init", "elsewhere/archive"]);
    fs::create_dir(user.path("Pictures/drive")).expect("a folder");
    let bound =
        Command::new("mount").arg("--bind").args([user.path("elsewhere"), user.path("Pictures/drive")]).output();
    if !bound.is_ok_and(|done| done.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI can bind folders");
        return eprintln!("SKIPPED: folders cannot be bound here, which needs root");
    }
    let said = user.snap(&["-a", "elsewhere/archive", "create", "Pictures"]);
    let list = user.snap(&["-a", "elsewhere/archive", "ls", "--recursive", "latest"]);
    let inside = user.snap(&["-a", "elsewhere/archive", "create", "Pictures/drive/archive"]);
    let other = user.snap(&["-a", "elsewhere/archive", "create", "-x", "Pictures"]);
    let unbound = Command::new("umount").arg(user.path("Pictures/drive")).status();
    assert!(unbound.is_ok_and(|done| done.success()));
    assert_eq!((said.code, list.code), (0, 0), "{}", said.err);
    assert!(list.out.contains("Pictures/drive/") && !list.out.contains("archive"), "{}", list.out);
    assert_eq!(inside.code, 1, "{}", inside.err);
    assert!(inside.err.contains("belongs to this program"), "{}", inside.err);
    assert_eq!(other.code, 0, "{}", other.err);
}

/// Whoever asked what a run would do was not told how much it would read.
#[test]
fn a_dry_run_tells_bytes_and_other_file_systems_are_called_so() {
    let user = User::new();
    // What was written just before a run may change again within the same tick of the clock, and is read again.
    std::thread::sleep(std::time::Duration::from_millis(100));
    user.done(&["create", "Pictures"]);
    user.photo("Pictures/new.jpg", 40);
    fs::write(user.path("Pictures/c.jpg"), vec![1; 50_000]).expect("changed");
    let said = user.done(&["create", "-n", "Pictures"]);
    assert!(
        said.contains("1 new, 1 changed") && said.contains("51.0 kB in new and changed files would be read"),
        "{said}"
    );
    let told = user.json(&["create", "-n", "Pictures"]).pop().expect("a summary");
    assert_eq!(told["data_read"], 51_005);
    let said = user.snap(&["create", "-x", "-n", "/dev", "--exclude", "*"]);
    assert_eq!(said.code, 0, "{}", said.err);
    if Path::new("/dev/shm").exists() {
        let said = user.snap(&["create", "-x", "-n", "/dev"]);
        assert!(said.out.contains("on another file system not entered"), "{}{}", said.out, said.err);
    }
}
