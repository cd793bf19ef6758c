//! What commands do on a terminal and not in a pipe.

use crate::common;
use crate::common::terminal;

use std::fs;
use std::process::{Command, Stdio};

use common::{Random, SMALL, TestArchive, has_tool, jpeg};
use terminal::Terminal;

fn archive() -> TestArchive {
    let archive = TestArchive::on_disk(&SMALL);
    fs::write(archive.source().join("a.jpg"), jpeg(&mut Random(1), 9000)).unwrap();
    fs::write(archive.source().join("notes.txt"), "Sommer in Köln\n").unwrap();
    archive.backup();
    archive
}

/// Whoever tried `cat` on a photo had a terminal full of signs, and perhaps one that no longer worked.
#[test]
fn photos_are_not_printed_on_a_terminal_and_text_is() {
    if !Terminal::is_there() {
        return;
    }
    let archive = archive();
    let said = |test: &str, command: &str, code: i32| {
        let terminal = Terminal::of(test, &archive, command);
        terminal.shows(&format!("ended with {code}"))
    };
    let screen = said("cat", "cat latest:source/a.jpg", 2);
    assert!(screen.contains("is no text") && screen.contains("> FILE") && !screen.contains('\u{fffd}'), "{screen}");
    assert!(said("dumped", "dump latest:source/a.jpg", 2).contains("is no text"));
    assert!(said("tarred", "dump latest", 2).contains("nothing for a terminal"));
    assert!(said("text", "cat latest:source/notes.txt", 0).contains("Sommer in Köln"));
    said("forced", "cat --force latest:source/a.jpg | tail -c 0", 0);
    said("really", "cat --force latest:source/a.jpg", 0);
}

#[test]
fn the_manual_is_readable_on_a_terminal() {
    if !Terminal::is_there() || !has_tool("man") {
        return;
    }
    let archive = archive();
    let terminal = Terminal::of("manual", &archive, "man");
    let screen = terminal.shows("SYNOPSIS");
    assert!(!screen.contains(".TH snap"), "{screen}");
    terminal.press(&["q"]);
    terminal.shows("ended with 0");
    // A pipe gets what `man` reads.
    let page = Command::new(env!("CARGO_BIN_EXE_snap")).arg("man").stdin(Stdio::null()).output().unwrap();
    assert!(page.stdout.windows(8).any(|bytes| bytes == b".TH snap"));
    assert!(String::from_utf8_lossy(&page.stdout).contains("Examples:"));
}

/// A photo with the name of a command must stay a name when it is completed.
#[test]
fn a_shell_completes_snapshots_and_what_is_in_them() {
    if !has_tool("bash") {
        return;
    }
    let archive = archive();
    let names = ["$(touch made)", "a b.jpg", "it's `here`.jpg", "two\nlines.jpg", "\u{1b}[2J.jpg", "a*b!.jpg"];
    fs::create_dir(archive.source().join("my album")).unwrap();
    for name in names {
        fs::write(archive.source().join("my album").join(name), "x").unwrap();
    }
    archive.backup();
    let program = env!("CARGO_BIN_EXE_snap");
    let script = Command::new(program).args(["completions", "bash"]).output().unwrap();
    fs::write(archive.beside("script"), script.stdout).unwrap();
    let complete = |line: &str| -> Vec<String> {
        // What is offered is read back as a shell reads a line.
        let ask = "snap() { \"$PROGRAM\" \"$@\"; }; source ./script; COMP_LINE=$1 COMP_POINT=${#1}; \
                   COMP_WORDS=($1) COMP_CWORD=1; _snap_or_word snap \"\" snap; \
                   for one in \"${COMPREPLY[@]}\"; do eval \"printf '%s\\n' $one\"; done";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", ask, "bash", line]).current_dir(archive.beside("")).env("PROGRAM", program);
        bash.env("SNAPKEEP_ARCHIVE", archive.path()).env("SNAPKEEP_CACHE_DIR", archive.cache()).env("TZ", "UTC");
        let done = bash.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let ids: Vec<String> = archive.open().snapshots().iter().map(|(id, _)| format!("{}:", id.short())).collect();
    let found = complete("snap ls ");
    assert!(
        ["latest:", "latest~1:", &ids[0], &ids[1]].iter().all(|name| found.iter().any(|one| one == name)),
        "{found:?}"
    );
    assert_eq!(complete(&format!("snap ls {}", &ids[0][..6])), [ids[0].as_str()]);
    // bash replaces what stands behind the colon.
    assert_eq!(complete("snap restore latest:"), ["source/"]);
    assert_eq!(complete("snap restore latest:source/n"), ["source/notes.txt"]);
    assert_eq!(complete("snap restore -t /tmp latest~1:source/"), ["source/a.jpg", "source/notes.txt"]);
    let found = complete("snap ls latest:source/my\\ album/");
    let mut plain: Vec<String> = names
        .iter()
        .filter(|name| !name.contains(char::is_control))
        .map(|name| format!("source/my album/{name}"))
        .collect();
    plain.sort();
    assert_eq!(found, plain);
    assert!(!archive.beside("made").exists(), "nothing was run");
    // Elsewhere, and where something is wrong, the words are those of the grammar, and nothing is said.
    for line in
        ["snap ls latest:nowhere/", "snap ls latest:source/\\$", "snap cat latest:a latest:", "snap restore -t "]
    {
        assert!(complete(line).iter().all(|word| !word.starts_with("source/")) || line.contains('$'), "{line}");
    }
    assert!(complete("snap ver").contains(&"verify".to_owned()));
    fs::remove_dir_all(archive.path()).unwrap();
    assert!(complete("snap ls lat").iter().all(|word| !word.starts_with("latest")));
}

/// A folder of which a shell finds the program, and the script that it sources.
fn found_by(archive: &TestArchive, shell: &str) {
    let script = Command::new(env!("CARGO_BIN_EXE_snap")).args(["completions", shell]).output().unwrap();
    fs::write(archive.beside("script"), script.stdout).unwrap();
}

/// The folder of the program, before all others.
fn path_with_the_program() -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_snap"));
    format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap())
}

#[test]
fn fish_completes_what_is_in_a_snapshot() {
    if !has_tool("fish") {
        return;
    }
    let archive = archive();
    found_by(&archive, "fish");
    let complete = |line: &str| -> Vec<String> {
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", "source ./script; complete -C $argv[1]", line]).current_dir(archive.beside(""));
        fish.env("PATH", path_with_the_program()).env("HOME", archive.beside("")).env("TZ", "UTC");
        fish.env("SNAPKEEP_ARCHIVE", archive.path()).env("SNAPKEEP_CACHE_DIR", archive.cache());
        let done = fish.stdin(Stdio::null()).output().unwrap();
        assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
        let lines = String::from_utf8(done.stdout).unwrap();
        lines.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    };
    assert!(complete("snap ls lat").contains(&"latest:".to_owned()));
    assert_eq!(complete("snap restore latest:source/n"), ["latest:source/notes.txt"]);
    assert_eq!(complete("snap cat latest:source/"), ["latest:source/a.jpg", "latest:source/notes.txt"]);
    assert!(complete("snap ver").contains(&"verify".to_owned()));
}

#[test]
fn zsh_completes_what_is_in_a_snapshot() {
    if !Terminal::is_there() || !has_tool("zsh") {
        return;
    }
    let archive = archive();
    found_by(&archive, "zsh");
    let environment = format!(
        "PATH='{}' SNAPKEEP_ARCHIVE='{}' SNAPKEEP_CACHE_DIR='{}' HOME='{}' zsh -f -i",
        path_with_the_program(),
        archive.path().display(),
        archive.cache().display(),
        archive.beside("").display(),
    );
    let terminal = Terminal::of("zsh", &archive, &format!("--version; {environment}"));
    terminal.press(&["autoload -U compinit && compinit -u -D && source ./script && echo it is re''ady", "Enter"]);
    terminal.shows("it is ready");
    terminal.press(&["snap ls latest:source/n", "Tab"]);
    terminal.shows("latest:source/notes.txt");
    terminal.press(&["Enter"]);
    terminal.press(&["snap veri", "Tab"]);
    terminal.shows("snap verify");
}
