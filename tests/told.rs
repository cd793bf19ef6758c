//! What somebody is told who knows no more than the README: counts that agree, hints that fit, and nothing that is not so.

use crate::common::has_tool;
use crate::common::user;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Duration;

use user::User;

/// What was written just before a run may change again within the same tick of the clock, and is read again.
fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

/// `create` told of 16 files and `history` of 18, and whoever compared them looked for two photos that never were.
#[test]
fn links_are_no_files_in_any_count() {
    let user = User::new();
    for link in ["x", "y"] {
        symlink("a.jpg", user.path(&format!("Pictures/2019/{link}"))).unwrap();
    }
    settle();
    assert!(user.done(&["create", "Pictures"]).contains("3 files, 3.0 kB in the source"));
    let told = user.done(&["history", "Pictures/2019"]);
    assert!(told.contains("      2     2.0 kB  2 and 2 links added"), "{told}");
    assert!(user.done(&["find", "2019"]).ends_with("2 files and 2 links, 2.0 kB\n"));
    assert!(user.done(&["dump", "Pictures/2019", "-t", "a.tar"]).starts_with("wrote 2 files and 2 links, 2.0 kB"));
    fs::rename(user.path("Pictures/2019"), user.path("elsewhere")).unwrap();
    user.done(&["create", "Pictures"]);
    let told = user.done(&["diff"]);
    assert!(told.contains("-  Pictures/2019/  (2 files and 2 links, 2.0 kB)\n"), "{told}");
    assert!(told.ends_with("2 and 2 links gone (2.0 kB)\n"), "{told}");
    assert!(user.done(&["deleted"]).contains("2 files and 2 links in 1 folder, 2.0 kB"));
    assert!(
        user.snap(&["restore", "--deleted", "Pictures", "-t", "b"]).err.contains("2 files and 2 links, as snapshot")
    );
    assert_eq!(user.json(&["history", "Pictures/2019"])[0]["links"], 2);
}

/// Every snapshot file was gone, and the list of them said "no snapshots yet", as if nothing had ever been there.
#[test]
fn an_archive_without_its_snapshots_does_not_look_new() {
    let user = User::new();
    settle();
    user.done(&["create", "Pictures"]);
    user.done(&["create", "Pictures"]);
    assert!(user.done(&["deleted", "--under", "Pictures/2019"]).contains("nothing under Pictures/2019 was deleted"));
    let archive = user.path(".local/share/snapkeep/archive");
    fs::rename(archive.join("snapshots"), user.path("away")).unwrap();
    for words in [
        &["list"][..],
        &["deleted"],
        &["ls", "latest"],
        &["restore", "Pictures"],
        &["find", "a.jpg"],
        &["history", "Pictures"],
    ] {
        let said = user.snap(words);
        assert_eq!(said.code, 14, "{words:?}: {}{}", said.out, said.err);
        assert!(said.err.contains("recovery data of 2 snapshots are there"), "{words:?}: {}", said.err);
        assert!(said.err.contains("snap verify") && !said.out.contains("no snapshots yet"), "{words:?}: {}", said.err);
    }
    // Nor when this computer has never seen it.
    fs::remove_dir_all(user.path(".cache")).unwrap();
    assert_eq!(user.snap(&["list"]).code, 14);
    user.done(&["repair"]);
    assert!(user.done(&["list"]).ends_with("2 snapshots\n"));
}

/// Told that "no snapshot has ever had anything there", somebody took an album for lost whose name he had written small.
#[test]
fn a_path_that_is_not_there_names_what_is_meant() {
    let user = User::new();
    user.photo("Pictures/2020/Winter/Nikon D40.jpg", 7);
    user.photo("Pictures/2024 Großeltern/a.jpg", 8);
    settle();
    user.done(&["create", "Pictures"]);
    let winter = user.path("Pictures/2020/Winte").display().to_string();
    let full = user.path("Pictures/2020/Winter").display().to_string();
    for (words, hint) in [
        (&["history", "pictures/2020/winter"][..], "hint: Pictures/2020/Winter differs only in case"),
        (&["restore", "Pictures/2020/Winte"], "hint: is Pictures/2020/Winter meant?"),
        (&["restore", "latest:Pictures/2020/Wniter"], "hint: is Pictures/2020/Winter meant?"),
        (&["history", winter.as_str()], &format!("hint: is {full} meant?")),
        (&["ls", "latest:Pictures/2024 großeltern"], "hint: Pictures/2024 Großeltern differs only in case"),
        (&["ls", "Pictures/2019"], "hint: to look in the newest snapshot, write \"latest:Pictures/2019\""),
        (&["cat", "Pictures/2019/a.jpg"], "write \"latest:Pictures/2019/a.jpg\""),
        (&["diff", "Pictures/2019"], "write \"latest:Pictures/2019\""),
        (&["restore", "Nikon D40.jpg"], "there is Pictures/2020/Winter/Nikon D40.jpg; snap find \"Nikon D40.jpg\""),
        (&["deleted", "--under", "Pictures/201"], "hint: is Pictures/2019 meant?"),
        (&["ls", "latest:Pictures/elsewhere"], "snap list shows the snapshots"),
    ] {
        let said = user.snap(words);
        assert!((1..=2).contains(&said.code) && said.err.contains(hint), "{words:?}: {}", said.err);
    }
}

/// Of a source that had moved only a line among others told, and nothing said that the archive can be told of it.
#[test]
fn sources_that_are_away_or_lie_in_one_another_are_told_of() {
    let user = User::new();
    user.photo("Phone/1.jpg", 9);
    settle();
    user.done(&["create", "Pictures", "Phone"]);
    fs::rename(user.path("Phone"), user.path("Handy")).unwrap();
    for words in [&["create", "Pictures", "Phone"][..], &["create", "Phone"]] {
        let said = user.snap(words);
        assert_ne!(said.code, 0);
        assert!(said.err.contains("snap source rename OLD NEW"), "{}", said.err);
        assert!(said.err.contains("snap source retire OLD"), "{}", said.err);
    }
    let said = user.snap(&["create", "Pictures/2019", "Pictures"]);
    let inner = user.path("Pictures/2019").display().to_string();
    assert!(said.err.contains(&format!("{inner} lies in ")) && said.err.contains("stored once"), "{}", said.err);
    assert!(!user.snap(&["create", "Pictures", "Handy"]).err.contains(" lies in "));
}

/// "0 new" stood above "68.3 kB new", an album that had moved was told as gone, and a repair named an empty quarantine.
#[test]
fn what_a_run_has_done_is_told_as_it_is() {
    let user = User::new();
    settle();
    assert!(user.done(&["create", "Pictures"]).contains("of new data, stored as "));
    assert!(user.done(&["create", "Pictures"]).contains("in the source; no new data, in "));
    fs::rename(user.path("Pictures/2019"), user.path("Pictures/2020")).unwrap();
    let told = user.done(&["create", "Pictures", "-v"]);
    assert!(told.contains("2 moved, 0 no longer in the source") && !told.contains("gone "), "{told}");
    fs::remove_file(user.path("Pictures/c.jpg")).unwrap();
    let told = user.done(&["create", "Pictures", "-v"]);
    assert!(told.contains(&format!("gone        {}", user.path("Pictures/c.jpg").display())), "{told}");

    let archive = user.path(".local/share/snapkeep/archive");
    fs::remove_file(archive.join("header")).unwrap();
    let told = user.done(&["repair"]);
    assert!(told.contains("repaired 1 object\n"), "{told}");
    // What recovery data cannot bring back, something else may.
    for folder in ["packs", "parity"] {
        fs::remove_dir_all(archive.join(folder)).unwrap();
    }
    let said = user.snap(&["verify"]);
    assert!(said.code == 14 && said.err.contains("repair --source or --from COPY"), "{}", said.err);
    assert_ne!(user.snap(&["repair"]).code, 0);
    let told = user.done(&["status"]);
    assert!(told.contains("`snap create` stores again") && told.contains("`--from COPY`"), "{told}");
}

/// A photo with an old name came out of a zip in a second folder beside its own, with letters that nobody had written; and
/// what was called `.tar.gz` was opened by no program.
#[test]
fn what_is_dumped_is_what_its_name_says() {
    let user = User::new();
    let album = user.path("Pictures/2024 Großeltern");
    fs::create_dir(&album).unwrap();
    for (name, bytes) in [(&b"ok.jpg"[..], "1"), (b"lat\xfcn.jpg", "2"), (b"twin\xfc", "3"), (b"twin%FC", "4")] {
        fs::write(album.join(std::ffi::OsStr::from_bytes(name)), bytes).unwrap();
    }
    let old = fs::File::options().write(true).open(album.join("ok.jpg")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(86_400 * 365)).unwrap();
    settle();
    user.done(&["create", "Pictures"]);
    let said = user.snap(&["dump", "Pictures/2024 Großeltern", "-t", "g.zip"]);
    assert_eq!(said.code, 3, "one of the twins has no name left: {}{}", said.out, said.err);
    assert!(said.err.contains("lat\\xFCn.jpg stands as 2024 Großeltern/lat%FCn.jpg"), "{}", said.err);
    assert!(said.err.contains("twin\\xFC: its name is no UTF-8"), "{}", said.err);
    if has_tool("python3") {
        let script = "import sys,zipfile\nfor i in zipfile.ZipFile(sys.argv[1]).infolist():\n print(i.filename.encode(), \
                      i.date_time[0], b'UT\\x05\\x00\\x01' + (86400*365).to_bytes(4,'little') in i.extra)";
        let out =
            crate::common::run(std::process::Command::new("python3").args(["-c", script]).arg(user.path("g.zip")));
        let out = String::from_utf8(out).unwrap();
        assert!(out.lines().all(|line| line.starts_with("b'2024 Gro\\xc3\\x9feltern/")), "{out}");
        assert!(
            out.contains("/ok.jpg' 1980 True") && out.contains("/lat%FCn.jpg'") && !out.contains("twin%FC~"),
            "{out}"
        );
    }
    for (name, plain, program) in
        [("g.tar.gz", "g.tar", "gzip"), ("g.TGZ", "g.tar", "gzip"), ("g.tar.zst", "g.tar", "zstd")]
    {
        let said = user.snap(&["dump", "latest:Pictures", "-t", name]);
        assert!(said.code == 2 && !user.path(name).exists(), "{}", said.err);
        let hint = format!("name it {plain}, or pass it on: snap dump … | {program} > {name}");
        assert!(said.err.contains(&hint), "{}", said.err);
    }
    // A file that is stored compressed keeps its name.
    fs::write(user.path("Pictures/old.tar.gz"), "gzip").unwrap();
    user.done(&["create", "Pictures"]);
    user.done(&["dump", "latest:Pictures/old.tar.gz", "-t", "old.tar.gz"]);
}
