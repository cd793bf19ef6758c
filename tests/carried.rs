//! What could not be read, and what a rule leaves out now, is neither deleted nor forgotten: the newest snapshot has it as
//! it last was, and every answer tells it from what is gone.

use crate::common::user;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::Value;
use user::{Said, User, said};

const NOBODY: u32 = 65534;

/// A user to whom files can be closed, which they cannot be to root.
struct Guest {
    user: User,
    root: bool,
}

impl Guest {
    /// None where this machine does not let anybody be somebody else; that is said.
    fn new() -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        let user = User { home: tempfile::tempdir().expect("a home") };
        fs::set_permissions(user.home.path(), fs::Permissions::from_mode(0o777)).expect("open");
        let guest = Self { user, root };
        let mut trial = guest.user.command(env!("CARGO_BIN_EXE_snap"), &["--version"]);
        if root && trial.uid(NOBODY).gid(NOBODY).output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "nobody cannot run the program");
            eprintln!("SKIPPED: as root, and nobody else can run the program where it lies");
            return None;
        }
        for album in ["a", "b"] {
            for number in 0..3 {
                guest.user.photo(&format!("src/{album}/{number}.jpg"), number + 10 * u32::from(album == "b"));
            }
        }
        guest.settle();
        Some(guest)
    }

    /// What was written just before a run may change again within the same tick of the clock, and is read again.
    fn settle(&self) {
        if self.root {
            let mut todo = vec![self.user.path("src")];
            while let Some(path) = todo.pop() {
                std::os::unix::fs::lchown(&path, Some(NOBODY), Some(NOBODY)).expect("given away");
                todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|item| item.path()));
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
    }

    fn snap(&self, arguments: &[&str]) -> Said {
        let mut command = self.user.command(env!("CARGO_BIN_EXE_snap"), arguments);
        if self.root {
            command.uid(NOBODY).gid(NOBODY);
        }
        said(command.output().expect("it runs"))
    }

    fn code(&self, code: i32, arguments: &[&str]) -> String {
        let said = self.snap(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
        said.out + &said.err
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.snap(&[arguments, &["--json"]].concat()).out;
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.user.path(path), fs::Permissions::from_mode(mode)).expect("closed or opened");
    }

    fn summary(&self) -> Value {
        let list = self.json(&["list"]).remove(0);
        list.as_array().expect("an array").last().expect("a snapshot")["summary"].clone()
    }

    fn counts(&self) -> [u64; 6] {
        let summary = self.summary();
        ["files_new", "files_changed", "files_moved", "files_gone", "files_unreadable", "total_files_processed"]
            .map(|name| summary[name].as_u64().expect("a number"))
    }

    fn latest(&self) -> Vec<String> {
        let out = self.code(0, &["ls", "--recursive", "latest"]);
        out.lines().filter(|line| line.ends_with(".jpg")).map(|line| line.trim().to_owned()).collect()
    }
}

const ALL: [&str; 6] = ["src/a/0.jpg", "src/a/1.jpg", "src/a/2.jpg", "src/b/0.jpg", "src/b/1.jpg", "src/b/2.jpg"];

/// A photo on a bad sector, or closed by mistake, vanished from the newest snapshot and was told as deleted: whoever then
/// kept only the newest snapshots lost it.
#[test]
fn a_file_or_folder_that_cannot_be_read_stays_as_it_was() {
    let Some(guest) = Guest::new() else { return };
    guest.code(0, &["create", "src"]);
    guest.mode("src/a/1.jpg", 0);
    guest.mode("src/b", 0);
    let told = guest.code(3, &["create", "src"]);
    assert!(told.contains("0 new, 0 changed, 0 no longer in the source"), "{told}");
    assert!(
        told.contains("2 places could not be read, or not whole")
            && told.contains("4 files and links in them are kept"),
        "{told}"
    );
    assert_eq!(guest.counts(), [0, 0, 0, 0, 2, 6]);
    assert_eq!(guest.latest(), ALL);
    assert_eq!(guest.summary()["total_dirs_processed"], 3);

    // It changes while it cannot be read, in a way that only reading shows.
    guest.mode("src/a/1.jpg", 0o644);
    guest.mode("src/b", 0o755);
    fs::remove_file(guest.user.path("src/b/2.jpg")).expect("removed");
    guest.user.photo("src/b/1.jpg", 99);
    guest.settle();
    let told = guest.code(0, &["create", "src"]);
    assert!(told.contains("0 new, 1 changed, 1 no longer in the source"), "{told}");
    assert_eq!(guest.latest(), ALL[..5]);
    guest.code(0, &["restore", "latest", "-t", "out"]);
    for path in &ALL[..5] {
        let restored = fs::read(guest.user.path(&format!("out/{path}"))).expect("restored");
        assert_eq!(restored, fs::read(guest.user.path(path)).expect("there"), "{path}");
    }
}

/// Every answer told what could not be read as deleted, and nothing said that the snapshot lacked anything.
#[test]
fn every_answer_tells_the_three_apart() {
    let Some(guest) = Guest::new() else { return };
    guest.user.photo("src/c/0.jpg", 100);
    guest.user.photo("src/c/1.jpg", 101);
    guest.settle();
    guest.code(0, &["create", "src"]);
    assert_eq!(guest.json(&["list"])[0][0]["incomplete"], false);
    guest.mode("src/a", 0);
    fs::remove_file(guest.user.path("src/c/1.jpg")).expect("removed");
    guest.code(3, &["create", "src", "--exclude", "src/b"]);

    let told = guest.code(0, &["deleted", "-v"]);
    assert!(told.contains("src/c/1.jpg") && told.contains("1 file in 1 folder"), "{told}");
    assert!(!told.contains("src/a") && !told.contains("src/b"), "{told}");
    for (path, what, json) in [
        ("src/a/1.jpg", "added; could not be read since", Some("unreadable")),
        ("src/b/1.jpg", "added; left out by rules since", Some("excluded")),
        ("src/c/1.jpg", "added; then deleted", None),
        ("src/c/0.jpg", "still there", None),
    ] {
        let told = guest.code(0, &["history", path]);
        assert!(told.contains(what), "{what:?} is not in {told}");
        assert_eq!(told.contains("deleted"), path == "src/c/1.jpg", "{told}");
        assert_eq!(told.contains("still there"), path == "src/c/0.jpg", "{told}");
        assert_eq!(guest.json(&["history", path])[0]["not_read"].as_str(), json, "{path}");
    }
    let told = guest.code(0, &["history", "src/a"]);
    assert!(told.contains("3 could not be read") && !told.contains("deleted"), "{told}");
    let told = guest.code(0, &["history", "src"]);
    assert!(told.contains("3 could not be read, 3 left out by rules, 1 deleted"), "{told}");

    let told = guest.code(0, &["diff"]);
    for line in ["?  src/a/  (3 files", "X  src/b/  (3 files", "-  src/c/1.jpg", "1 gone (", "3 could not be read and"]
    {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    let told = guest.json(&["diff"]);
    let with = |modifier: &str| told.iter().filter(|line| line["modifier"] == modifier).count();
    assert_eq!([with("?"), with("X"), with("-"), with("M"), with("+")], [3, 3, 1, 0, 0]);
    assert!(guest.code(0, &["list"]).contains("incomplete: 1 place could not be read"));
    assert_eq!(guest.json(&["list"])[0][1]["incomplete"], true);
    let told = guest.code(0, &["ls", "-l", "latest:src/a"]);
    assert_eq!(told.matches("(could not be read: as it was)").count(), 3, "{told}");
    assert!(guest.code(0, &["ls", "-l", "latest:src"]).contains("b/  (left out by rules: as it was)"));

    // All of it comes back, and what is not of this time is said.
    let told = guest.code(3, &["restore", "latest", "-t", "all"]);
    assert!(told.contains("3 files could not be read when this snapshot was taken"), "{told}");
    let told = guest.code(3, &["restore", "latest:src/a/2.jpg", "-t", "one"]);
    assert!(told.contains("1 file could not be read when this snapshot was taken"), "{told}");
    guest.code(0, &["restore", "latest:src/b", "-t", "other"]);
    let photo = |path: &str| fs::read(guest.user.path(path)).expect("a photo");
    assert_eq!(photo("one/2.jpg"), photo("all/src/a/2.jpg"));
    assert_eq!(photo("other/b/1.jpg"), photo("src/b/1.jpg"));

    // Once it can be read again, it never was away.
    guest.mode("src/a", 0o755);
    guest.code(0, &["create", "src"]);
    assert_eq!(guest.counts(), [0, 0, 0, 0, 0, 7]);
    assert!(guest.code(0, &["history", "src/a/1.jpg"]).contains("still there"));
    assert!(guest.code(0, &["diff"]).contains("no file differs"));
    guest.code(0, &["restore", "latest", "-t", "again"]);
    // A past that is told from the beginning says the same as one that was followed.
    let followed = guest.json(&["history", "src"]);
    fs::remove_dir_all(guest.user.path(".cache")).expect("forgotten");
    assert_eq!(guest.json(&["history", "src"]), followed);
}

/// A drive that fails in most places is no source that lost most of its photos, but no source to go on with either.
#[test]
fn too_much_that_cannot_be_read_is_refused_in_its_own_words() {
    let Some(guest) = Guest::new() else { return };
    for number in 0..60 {
        guest.user.photo(&format!("src/many/{number}.jpg"), 1000 + number);
    }
    guest.settle();
    guest.code(0, &["create", "src"]);
    // A rule is a wish.
    guest.code(0, &["create", "src", "--exclude", "many"]);
    guest.code(0, &["create", "src"]);
    guest.mode("src/many", 0);
    let told = guest.code(13, &["create", "src"]);
    assert!(told.contains("60 of the 66 files that snapshot") && told.contains("could not be read"), "{told}");
    assert!(!told.contains("lost"), "{told}");
    guest.code(3, &["create", "src", "--accept-loss"]);
    assert_eq!(guest.counts(), [0, 0, 0, 0, 1, 66]);
}

/// What cannot be read and never was is only named, and what is really gone from beside it is gone.
#[test]
fn what_has_no_past_is_only_named_and_what_is_gone_is_gone() {
    let Some(guest) = Guest::new() else { return };
    guest.code(0, &["create", "src"]);
    guest.user.photo("src/a/new.jpg", 77);
    guest.settle();
    guest.mode("src/a/new.jpg", 0);
    guest.mode("src/a/1.jpg", 0);
    fs::remove_file(guest.user.path("src/a/2.jpg")).expect("removed");
    guest.code(3, &["create", "src"]);
    assert_eq!(guest.counts(), [0, 0, 0, 1, 2, 5]);
    assert_eq!(guest.latest(), [ALL[0], ALL[1], ALL[3], ALL[4], ALL[5]]);
    // What was carried forward and is really gone then.
    fs::remove_file(guest.user.path("src/a/1.jpg")).expect("removed");
    guest.code(3, &["create", "src"]);
    assert_eq!(guest.counts(), [0, 0, 0, 1, 1, 4]);
    assert_eq!(guest.latest(), [ALL[0], ALL[3], ALL[4], ALL[5]]);
}

/// A new pattern made whole albums vanish from the newest snapshot.
#[test]
fn what_a_rule_leaves_out_now_stays_as_long_as_it_is_there() {
    let Some(guest) = Guest::new() else { return };
    guest.code(0, &["create", "src"]);
    let less = ["create", "src", "--exclude", "src/b", "--exclude", "a/1.jpg", "--exclude", "never"];
    let told = guest.code(0, &less);
    assert!(told.contains("4 left out by rules now: kept as they were"), "{told}");
    assert_eq!(guest.counts(), [0, 0, 0, 0, 0, 6]);
    assert_eq!(guest.latest(), ALL);
    // The same again is no change, and something that was never recorded is not there.
    guest.user.photo("src/never/1.jpg", 50);
    guest.settle();
    guest.code(0, &[&less[..], &["--skip-if-unchanged"]].concat());
    assert_eq!(guest.latest(), ALL);
    fs::remove_dir_all(guest.user.path("src/b")).expect("removed");
    guest.code(0, &less);
    assert_eq!(guest.counts(), [0, 0, 0, 3, 0, 3]);
    assert_eq!(guest.latest(), ALL[..3]);
    guest.code(0, &["create", "src"]);
    assert_eq!(guest.latest(), [ALL[0], ALL[1], ALL[2], "src/never/1.jpg"]);
}

/// An album was deleted and a file got its name, which a rule leaves out: the album was told as still there for ever, and
/// counted as held by the newest snapshot.
#[test]
fn a_thing_of_another_kind_with_a_name_left_out_is_not_what_was_there() {
    let Some(guest) = Guest::new() else { return };
    guest.code(0, &["create", "src"]);
    fs::remove_dir_all(guest.user.path("src/b")).expect("removed");
    fs::write(guest.user.path("src/b"), "a list").expect("written");
    fs::remove_file(guest.user.path("src/a/1.jpg")).expect("removed");
    std::os::unix::fs::symlink("2.jpg", guest.user.path("src/a/1.jpg")).expect("linked");
    guest.settle();
    guest.code(0, &["create", "src", "--exclude", "src/b", "--exclude", "a/1.jpg", "--accept-loss"]);
    assert_eq!(guest.counts(), [0, 0, 0, 4, 0, 2]);
    assert_eq!(guest.latest(), [ALL[0], ALL[2]]);
}

/// A photo was left out by a rule, and the archive had lost its bytes: every backup said that it was kept, and ended with 0.
#[test]
fn what_is_carried_and_no_longer_held_is_said() {
    let user = User::new();
    user.photo("Pictures/x/p.jpg", 33);
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    for folder in fs::read_dir(archive.join("packs")).unwrap().flatten() {
        for pack in fs::read_dir(folder.path()).unwrap().flatten() {
            let bytes = fs::read(pack.path()).unwrap();
            // Packs of photo data, by byte 10 of the envelope.
            if bytes[10] == 0 {
                fs::remove_file(pack.path()).unwrap();
                let name = pack.file_name().into_string().unwrap();
                fs::remove_file(archive.join("parity").join(&name[..2]).join(&name)).unwrap();
            }
        }
    }
    let said = user.snap(&["create", "Pictures", "-e", "x"]);
    assert!(
        said.code == 3 && said.err.contains("no longer has a part of it whole"),
        "{} {}{}",
        said.code,
        said.out,
        said.err
    );
    // Once it may be read, it is stored again.
    user.done(&["create", "Pictures"]);
    user.done(&["restore", "latest:Pictures/x", "-t", "back"]);
    assert_eq!(fs::read(user.path("back/x/p.jpg")).unwrap(), fs::read(user.path("Pictures/x/p.jpg")).unwrap());
}
