//! Links, and metadata.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use snapkeep::archive::store_entries;
use snapkeep::format::{Entry, Meta, Time};

use super::attack::{Attack, dir, dir_of, file, link, meta};

#[test]
fn nothing_is_written_below_or_through_a_link() {
    let attack = Attack::new();
    // First links, and then directories and files of the same names, restored over them.
    attack.snapshot(|writer| {
        let links = vec![link("d", "../../outside"), link("f", "../../outside/letter"), link("n", "../../outside/new")];
        store_entries(writer, vec![dir_of(writer, "s", links)]).unwrap()
    });
    assert_eq!(attack.restore().code, 0);
    assert!(attack.path("into/s/d/letter").exists(), "the link leads outside");
    attack.snapshot(|writer| {
        let below = dir_of(writer, "d", vec![file(writer, "letter", b"evil"), file(writer, "more", b"evil")]);
        let entries = vec![below, file(writer, "f", b"evil"), file(writer, "n", b"evil")];
        store_entries(writer, vec![dir_of(writer, "s", entries)]).unwrap()
    });
    for overwrite in ["never", "if-changed", "if-newer", "always"] {
        let done = attack.snap(&["restore", "latest", "-t", "into", "--overwrite", overwrite]);
        assert!([0, 3].contains(&done.code), "{overwrite}: {done:?}");
        assert_eq!(fs::read(attack.path("outside/letter")).unwrap(), b"dear", "{overwrite}");
    }
    assert_eq!(fs::read(attack.path("into/s/f")).unwrap(), b"evil", "the link itself was replaced, as was asked for");
}

#[test]
fn names_of_one_file_are_linked_only_within_the_target() {
    let attack = Attack::of(|writer| {
        let linked = |name: &str| {
            let entry = file(writer, name, b"evil");
            Entry { meta: Meta { inode: 7, links: 2, ..meta() }, ..entry }
        };
        vec![linked("a"), linked("b")]
    });
    fs::create_dir(attack.path("into/s")).unwrap();
    // What lies at the first name is left, and is not to be had under the second: a link, or somebody's own file.
    symlink("../../outside/letter", attack.path("into/s/a")).unwrap();
    for there in [&b"dear"[..], b"mine"] {
        let done = attack.restore();
        assert!([0, 3].contains(&done.code), "{done:?}");
        assert_eq!(fs::metadata(attack.path("outside/letter")).unwrap().nlink(), 1);
        assert_eq!(fs::read(attack.path("into/s/a")).unwrap(), there);
        assert_eq!(fs::read(attack.path("into/s/b")).unwrap(), b"evil", "as a file of its own");
        fs::remove_file(attack.path("into/s/b")).unwrap();
        fs::remove_file(attack.path("into/s/a")).unwrap();
        fs::write(attack.path("into/s/a"), "mine").unwrap();
    }
}

#[test]
fn the_target_itself_may_be_a_link_of_the_users_own() {
    let attack = Attack::of(|writer| vec![file(writer, "photo", b"photo")]);
    fs::create_dir(attack.path("into/real")).unwrap();
    symlink("real", attack.path("into/shown")).unwrap();
    assert_eq!(attack.snap(&["restore", "latest", "-t", "into/shown"]).code, 0);
    assert_eq!(attack.restored()[&b"real/s/photo"[..]], b"photo");
}

#[test]
fn absurd_times_and_modes_cost_no_photo() {
    let times = [i64::MIN, -1, i64::MAX];
    let attack = Attack::of(|writer| {
        let entry = |(at, secs): (usize, &i64)| {
            let entry = file(writer, at.to_string(), b"photo");
            Entry { meta: Meta { mtime: Time { secs: *secs, nanos: 999_999_999 }, mode: 0o7777, ..meta() }, ..entry }
        };
        times.iter().enumerate().map(entry).collect()
    });
    for command in [&["ls", "latest", "-l", "--recursive"][..], &["ls", "latest", "--recursive", "--json"], &["list"]] {
        assert_eq!(attack.snap(command).code, 0);
    }
    let done = attack.restore();
    assert!([0, 3].contains(&done.code), "{done:?}");
    for at in 0..times.len() {
        assert_eq!(attack.restored()[format!("s/{at}").as_bytes()], b"photo");
    }
}

#[test]
fn a_directory_that_says_less_than_it_holds_is_refused() {
    let attack = Attack::of(|writer| {
        let tree = store_entries(writer, vec![file(writer, "a", b"evil"), file(writer, "b", b"evil")]).unwrap();
        vec![dir("bad", tree, 1, 8)]
    });
    assert_eq!(attack.restore().code, 14);
    assert_eq!(attack.restored().len(), 0);
}
