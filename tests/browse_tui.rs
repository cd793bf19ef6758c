//! The browser in a real terminal, driven by keys and read from the screen.

use crate::common;
use crate::common::terminal;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Random, SMALL, TestArchive, jpeg};
use terminal::Terminal;

/// Two snapshots; between them `2019/lost.jpg` was deleted and `notes.txt` changed.
fn archive() -> TestArchive {
    let archive = TestArchive::on_disk(&SMALL);
    let (source, mut random) = (archive.source(), Random(5));
    fs::create_dir(source.join("2019")).unwrap();
    fs::write(source.join("2019/kept.jpg"), jpeg(&mut random, 5000)).unwrap();
    fs::write(source.join("2019/lost.jpg"), jpeg(&mut random, 5000)).unwrap();
    fs::write(source.join("notes.txt"), "first").unwrap();
    fs::write(source.join(common::os(b"bad \x1b[2J name")), "x").unwrap();
    fs::create_dir(source.join("many")).unwrap();
    for number in 0..5000 {
        fs::write(source.join(format!("many/{number:05}.txt")), "x").unwrap();
    }
    fs::copy(source.join("2019/lost.jpg"), archive.beside("lost.jpg")).unwrap();
    archive.backup();
    fs::remove_file(source.join("2019/lost.jpg")).unwrap();
    fs::write(source.join("notes.txt"), "second").unwrap();
    archive.backup();
    archive
}

#[test]
fn what_was_deleted_is_found_and_brought_back() {
    if !Terminal::is_there() {
        return;
    }
    let archive = archive();
    let terminal = Terminal::running("gone", &archive, "");
    let line = terminal.shows("2 snapshots");
    assert!(line.contains("1 changed, 1 gone"), "{line}");
    terminal.press(&["Enter"]);
    terminal.shows("source/");
    terminal.press(&["Enter"]);
    let screen = terminal.shows("notes.txt");
    assert!(screen.contains("bad \\x1B[2J name"), "a name is shown and not obeyed:\n{screen}");
    terminal.press(&["Enter"]);
    assert!(!terminal.shows("kept.jpg").contains("lost.jpg"));
    terminal.press(&["d"]);
    assert!(terminal.shows("lost.jpg").contains("  x lost.jpg"));
    terminal.press(&["G", "r"]);
    terminal.shows("restore 1 thing into: ");
    terminal.press(&["Enter"]);
    terminal.shows("restored 1 file");
    terminal.press(&["q"]);
    terminal.shows("ended with 0");
    let restored = fs::read_dir(archive.beside("")).unwrap().map(|item| item.unwrap().path());
    let restored: Vec<_> = restored.filter(|path| path.to_string_lossy().contains("restored ")).collect();
    assert_eq!(restored.len(), 1, "{restored:?}");
    let bytes = |path: &Path| fs::read(path).unwrap();
    assert_eq!(bytes(&restored[0].join("lost.jpg")), bytes(&archive.beside("lost.jpg")));
}

#[test]
fn two_versions_of_a_file_are_restored_side_by_side_and_nothing_is_replaced() {
    if !Terminal::is_there() {
        return;
    }
    let archive = archive();
    let terminal = Terminal::running("versions", &archive, "");
    terminal.shows("2 snapshots");
    terminal.press(&["Enter"]);
    terminal.shows("source/");
    terminal.press(&["Enter"]);
    terminal.shows("notes.txt");
    terminal.press(&["G", "v"]);
    let screen = terminal.shows("the past of source/notes.txt");
    assert!(screen.contains("new: source/notes.txt") && screen.contains("changed: source/notes.txt"), "{screen}");
    terminal.press(&["Space", "Space"]);
    terminal.shows("(2 marked)");
    terminal.press(&["r"]);
    terminal.shows("restore 2 things into: ");
    // A folder that has something in it is refused.
    terminal.press(&["C-u"]);
    (0..120).for_each(|_| terminal.press(&["BSpace"]));
    terminal.press(&["-l", "source"]);
    terminal.press(&["Enter"]);
    terminal.shows("is not empty");
    terminal.press(&["r"]);
    terminal.shows("restore 2 things into: ");
    terminal.press(&["-l", " beside"]);
    terminal.press(&["Enter"]);
    terminal.shows("restored 2 files");
    terminal.press(&["q"]);
    terminal.shows("ended with 0");
    let found = fs::read_dir(archive.beside("")).unwrap().map(|item| item.unwrap().path());
    let target = found.into_iter().find(|path| path.to_string_lossy().ends_with(" beside")).unwrap();
    let mut texts: Vec<String> = fs::read_dir(&target)
        .unwrap()
        .map(|item| fs::read_to_string(item.unwrap().path().join("source/notes.txt")).unwrap())
        .collect();
    texts.sort();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(fs::read_to_string(archive.source().join("notes.txt")).unwrap(), "second");
}

#[test]
fn long_folders_other_sizes_and_help() {
    if !Terminal::is_there() {
        return;
    }
    let archive = archive();
    let terminal = Terminal::running("long", &archive, "");
    terminal.shows("2 snapshots");
    terminal.press(&["Enter", "Enter"]);
    terminal.shows("many/");
    terminal.press(&["Down", "Enter"]);
    terminal.shows("00000.txt");
    let begun = Instant::now();
    terminal.press(&["End"]);
    terminal.shows("04999.txt");
    assert!(begun.elapsed() < Duration::from_secs(5));
    terminal.tmux(&["resize-window", "-t", &terminal.name, "-x", "40", "-y", "10"]);
    let begun = Instant::now();
    while terminal.screen().lines().filter(|line| line.contains(".txt")).count() != 7 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", terminal.screen());
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(terminal.screen().contains("04999.txt"), "the cursor is still in sight");
    terminal.tmux(&["resize-window", "-t", &terminal.name, "-x", "80", "-y", "24"]);
    terminal.press(&["?"]);
    terminal.shows("Any key closes this.");
    terminal.press(&["x"]);
    terminal.shows("04999.txt");
    terminal.press(&["C-c"]);
    // The terminal is what it was: what is written appears, line by line.
    terminal.shows("ended with 0");
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let archive = archive();
    let mut browse = Command::new(env!("CARGO_BIN_EXE_snap"));
    browse.arg("browse").arg("-a").arg(archive.path()).arg("--cache-dir").arg(archive.cache());
    let said = browse.output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(words.contains("needs a terminal") && words.contains("snap ls"), "{words}");
}

/// The terminal library asks a terminal that has gone away for ever, and takes a processor for it.
#[test]
fn it_ends_when_its_terminal_goes_away() {
    if !Terminal::is_there() {
        return;
    }
    let archive = archive();
    let terminal = Terminal::running("hangup", &archive, "");
    terminal.shows("2 snapshots");
    let mark = archive.cache().into_os_string().into_encoded_bytes();
    let runs = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == mark)).count()
    };
    assert!(runs() > 0, "it runs");
    drop(terminal);
    let begun = Instant::now();
    while runs() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it runs still");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_looked_for_is_found_by_name_and_by_date() {
    if !Terminal::is_there() {
        return;
    }
    let archive = archive();
    common::touch(&archive.source().join("2019/kept.jpg"), 1_563_127_401, 0);
    fs::rename(archive.source().join("2019"), archive.source().join("Ostsee")).unwrap();
    archive.backup();
    let terminal = Terminal::running("search", &archive, "");
    let line = terminal.shows("3 snapshots");
    assert!(line.contains("1 moved"), "{line}");
    assert!(line.lines().any(|line| line.contains(">") && line.contains("1 moved")), "{line}");
    let path = archive.source().display().to_string();
    assert!(line.split_whitespace().collect::<String>().contains(&path), "the sources are shown: {line}");
    terminal.press(&["Enter"]);
    terminal.shows("source/");
    terminal.press(&["-l", "/KEPT"]);
    terminal.shows("look for: KEPT_");
    terminal.press(&["Enter"]);
    let screen = terminal.shows("1 of 1 for \"KEPT\"");
    assert!(screen.contains("source/Ostsee/") && screen.contains(">   kept.jpg"), "{screen}");
    terminal.press(&["Left"]);
    terminal.shows("many/");
    terminal.press(&["-l", "/2019-07"]);
    terminal.press(&["Enter"]);
    assert!(terminal.shows("1 of 1 for \"2019-07\"").contains(">   kept.jpg"));
    terminal.press(&["-l", "/0499"]);
    terminal.press(&["Enter"]);
    terminal.shows("nothing here is called or dated \"0499\"");
    terminal.press(&["Left"]);
    terminal.shows("many/");
    terminal.press(&["-l", "/0499"]);
    terminal.press(&["Enter"]);
    terminal.shows("1 of 11 for \"0499\"");
    terminal.press(&["n"]);
    assert!(terminal.shows("2 of 11 for").contains(">   04990.txt"));
    terminal.press(&["q"]);
    terminal.shows("ended with 0");
}

#[test]
fn what_is_long_is_shown_whole_where_the_cursor_is() {
    if !Terminal::is_there() {
        return;
    }
    let archive = TestArchive::on_disk(&SMALL);
    let long = format!("{}the end.jpg", "a photo with a name that says everything about it ".repeat(4));
    fs::write(archive.source().join(&long), "x").unwrap();
    fs::write(archive.source().join("short.jpg"), "x").unwrap();
    archive.backup();
    let terminal = Terminal::running("wrapped", &archive, "");
    terminal.shows("1 snapshot");
    terminal.tmux(&["resize-window", "-t", &terminal.name, "-x", "40", "-y", "16"]);
    terminal.press(&["Enter"]);
    terminal.shows("source/");
    terminal.press(&["Enter"]);
    let screen = terminal.shows("the end.jpg");
    assert!(screen.contains("short.jpg") && screen.contains("? help  q quit"), "{screen}");
    terminal.press(&["Down"]);
    let begun = std::time::Instant::now();
    while terminal.screen().contains("the end.jpg") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", terminal.screen());
    }
    assert!(terminal.screen().contains("~"), "what is cut says so: {}", terminal.screen());
    terminal.press(&["q"]);
    terminal.shows("ended with 0");
}
