//! What this process may not do or have is told as that, and neither as the drive's fault nor as the photo's.

use crate::common;

use std::fs;

use common::user::{User, said};

/// A user with an archive of many folders, each with a photo.
fn with_albums(albums: u32) -> User {
    let user = User::new();
    (0..albums).for_each(|album| drop(user.photo(&format!("Pictures/{album}/x.jpg"), 100 + album)));
    user.done(&["init", "archive"]);
    user.done(&["-a", "archive", "create", "Pictures"]);
    user
}

/// With 64 open files not one of 80 photos came back, and each was told to be on a drive that is not connected.
#[test]
fn a_restore_gets_by_with_few_open_files() {
    let user = with_albums(80);
    let limited = |limit: u32, target: &str| {
        let snap = env!("CARGO_BIN_EXE_snap");
        let line = format!("ulimit -n {limit}; exec {snap} -a archive restore latest -t {target}");
        said(user.command("/bin/sh", &["-c", &line]).output().expect("it runs"))
    };
    let done = limited(64, "back");
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    for album in 0..80 {
        let name = format!("{album}/x.jpg");
        let (was, is) = (user.path("Pictures").join(&name), user.path("back/Pictures").join(&name));
        assert_eq!(fs::read(was).expect("a photo"), fs::read(is).expect("it is restored"), "{name}");
    }
    for limit in [4, 6, 8, 10, 12, 14, 16, 20] {
        let target = format!("back{limit}");
        let done = limited(limit, &target);
        assert!(!done.err.contains("still connected"), "of {limit}: {}", done.err);
        assert!(!done.err.contains("panicked") && !done.err.contains("please report"), "of {limit}: {}", done.err);
    }
}

/// A restore into the archive's own folder put photos among its objects.
#[test]
fn nothing_is_restored_into_the_archive() {
    let user = with_albums(1);
    std::os::unix::fs::symlink(user.path("archive"), user.path("elsewhere")).expect("a link");
    for target in ["archive", "archive/back", "archive/packs", "Pictures/../archive/x/y", "elsewhere/back"] {
        let done = user.snap(&["-a", "archive", "restore", "latest", "-t", target]);
        assert_eq!(done.code, 2, "{target}: {}{}", done.out, done.err);
        assert!(done.err.contains("archive's own folder"), "{target}: {}", done.err);
    }
    assert!(!user.path("archive/back").exists() && !user.path("archive/Pictures").exists());
    user.done(&["-a", "archive", "restore", "latest", "-t", "archive-back"]);
}

/// No thread could be started, and that was told as a fault of the program to be reported.
#[test]
fn a_system_that_gives_no_threads_is_told() {
    let user = with_albums(1);
    let snap = env!("CARGO_BIN_EXE_snap");
    for kilobytes in [20_000, 40_000, 60_000, 100_000, 200_000] {
        let line = format!("ulimit -v {kilobytes}; exec {snap} -a archive create Pictures");
        let done = said(user.command("/bin/sh", &["-c", &line]).output().expect("it runs"));
        assert!(!done.err.contains("panicked") && !done.err.contains("please report"), "{kilobytes}: {}", done.err);
        if done.code == 1 && done.err.contains("starting") {
            assert!(done.err.contains("no more memory or threads"), "{kilobytes}: {}", done.err);
        }
    }
}
