//! What people and programs are shown.

use std::fs;
use std::process::Command;

use snapkeep::archive::store_entries;

use super::attack::{Attack, dir_of, file, link};
use crate::common::has_tool;

/// Colours, a title, a line of its own, a line over the last one, text from right to left, and a lone byte.
const NAMES: [&[u8]; 9] = [
    b"\n2 files, nothing is damaged",
    b"\r0 errors",
    b"\x1b[2J\x1b[31mred",
    b"\x1b]0;title\x07",
    "gpj.\u{202e}exe.\u{2066}".as_bytes(),
    b"\xc2\x9b31m\xff",
    // What nobody sees: a soft hyphen, joiners, tags, selectors, fillers, private and unassigned characters, line separators.
    "IMG\u{ad}_\u{200b}\u{200d}0\u{2060}\u{feff}.jpg".as_bytes(),
    "IMG_0\u{e0001}\u{e0061}\u{e007f}\u{fe0f}\u{e0100}\u{3164}.jpg".as_bytes(),
    "IMG_0\u{e000}\u{10fffd}\u{378}\u{2028}\u{2029}.jpg".as_bytes(),
];

/// What must not be seen on a terminal of these.
const UNSEEN: [char; 19] = [
    '\u{ad}',
    '\u{200b}',
    '\u{200d}',
    '\u{2060}',
    '\u{feff}',
    '\u{e0001}',
    '\u{e0061}',
    '\u{e007f}',
    '\u{fe0f}',
    '\u{e0100}',
    '\u{3164}',
    '\u{e000}',
    '\u{10fffd}',
    '\u{378}',
    '\u{2028}',
    '\u{2029}',
    '\u{202e}',
    '\u{2066}',
    '\u{9b}',
];

fn attack() -> Attack {
    let attack = Attack::new();
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    attack.told_snapshot(
        |writer| {
            let files = NAMES.map(|name| file(writer, name, name)).to_vec();
            let folders = NAMES.map(|name| dir_of(writer, name, files.clone())).to_vec();
            let links = NAMES.map(|name| link(name, &text(name))).to_vec();
            let s = vec![
                dir_of(writer, "files", files),
                dir_of(writer, "folders", folders),
                dir_of(writer, "links", links),
            ];
            store_entries(writer, vec![dir_of(writer, "s", s)]).unwrap()
        },
        |snapshot| {
            snapshot.host = text(NAMES[0]);
            snapshot.user = text(NAMES[1]);
            snapshot.tags = NAMES.map(text).to_vec();
            snapshot.tags.sort();
            snapshot.note = Some(text(NAMES[2]));
            snapshot.program = text(NAMES[3]);
            snapshot.sources[0].path = [b"/", NAMES[4]].concat();
        },
    );
    attack
}

/// Bytes that a terminal would act on, or that make the text read otherwise than it stands there.
fn is_harmless(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    !text.chars().any(|char| (char.is_control() && char != '\n') || UNSEEN.contains(&char))
}

const COMMANDS: [&[&str]; 9] = [
    &["list"],
    &["list", "-v"],
    &["status"],
    &["verify"],
    &["verify", "--read-data"],
    &["restore", "latest", "-t", "into", "--dry-run", "-v", "-v"],
    &["restore", "latest", "-t", "into", "-v", "-v"],
    &["restore", "latest", "-t", "into", "-v", "-v"],
    &["repair", "--dry-run"],
];

#[test]
fn names_are_shown_as_harmless_lines() {
    for damaged in [false, true] {
        let attack = attack();
        if damaged {
            // The photos are lost, so that their names are told as lost.
            let archive = attack.path("archive");
            for (name, _) in crate::common::contents(&archive) {
                let name = String::from_utf8(name).unwrap();
                let path = archive.join(&name);
                let is_data = path.is_file() && name.starts_with("packs/") && fs::read(&path).unwrap()[10] == 0;
                if is_data {
                    fs::write(&path, "gone").unwrap();
                    fs::remove_file(archive.join(name.replace("packs", "parity"))).unwrap();
                }
            }
        }
        for command in COMMANDS {
            let done = attack.snap(command);
            assert!(is_harmless(&done.out), "{command:?}: {}", String::from_utf8_lossy(&done.out));
            assert!(is_harmless(done.err.as_bytes()), "{command:?}: {}", done.err);
            assert!(
                !done.out.windows(17).any(|text| text == b"\n2 files, nothing"),
                "{command:?}: a line of their own"
            );
            assert!(!done.err.contains("\n2 files, nothing"), "{command:?}: {}", done.err);
        }
        // What is asked for by a hostile name, and not found.
        for name in NAMES {
            let name = String::from_utf8_lossy(name).into_owned();
            for command in [["cat", &format!("latest:{name}")], ["ls", &format!("latest:s/{name}")], ["ls", &name]] {
                let done = attack.snap(&command);
                assert!(done.code != 0 && is_harmless(done.err.as_bytes()), "{command:?}: {}", done.err);
            }
        }
    }
}

#[test]
fn json_is_one_object_a_line_whatever_the_names() {
    let attack = attack();
    let mut commands: Vec<Vec<&str>> = COMMANDS.map(|command| [command, &["--json"]].concat()).to_vec();
    commands.push(vec!["ls", "latest", "--recursive", "--json"]);
    commands.push(vec!["ls", "latest", "--recursive", "-l", "--photos", "--json"]);
    for command in commands {
        let done = attack.snap(&command);
        for line in done.out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let parsed: Result<serde_json::Value, _> = serde_json::from_slice(line);
            assert!(parsed.is_ok(), "{command:?}: {}", String::from_utf8_lossy(line));
            assert!(!line.iter().any(|byte| *byte < 0x20), "{command:?}: {}", String::from_utf8_lossy(line));
        }
    }
}

/// A pipe is given the bytes of names as they are, one to a line, as `ls` does; a terminal is not.
#[test]
fn on_a_terminal_listings_are_harmless() {
    if !has_tool("script") {
        return;
    }
    let attack = attack();
    for arguments in [
        "ls latest:s --recursive",
        "ls latest:s --recursive -l",
        "list",
        "list -v",
        "status",
        "verify",
        "find '*'",
        "duplicates",
        "history s",
        "deleted",
        "ls latest:s --recursive --json",
        "list --json",
        "find '*' --json",
        "duplicates --json",
        "cat 'latest:s/x\u{ad}\u{e0061}\u{200d}' --json",
        "ls 'latest:s/x\u{ad}\u{e0061}\u{200d}'",
    ] {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{} {arguments}", env!("CARGO_BIN_EXE_snap")), "/dev/null"]);
        script.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", attack.path("home")).env("TERM", "dumb");
        script.env("SNAPKEEP_ARCHIVE", attack.path("archive")).env("SNAPKEEP_PROGRESS_FPS", "0");
        let out = script.stdin(std::process::Stdio::null()).output().unwrap().stdout;
        let text = String::from_utf8_lossy(&out).replace("\r\n", "\n");
        assert!(!text.is_empty() || arguments == "deleted", "{arguments}");
        assert!(!text.chars().any(|char| UNSEEN.contains(&char)), "{arguments}: {}", text.escape_unicode());
        if arguments.ends_with("--json") {
            for line in text.lines().filter(|line| !line.is_empty()) {
                assert!(
                    serde_json::from_str::<serde_json::Value>(line).is_ok(),
                    "{arguments}: {}",
                    line.escape_debug()
                );
            }
        }
        for evil in [
            "\u{1b}[2J",
            "\u{1b}[31m",
            "\u{1b}]0;",
            "\u{202e}",
            "\u{2066}",
            "\u{9b}",
            "\r0 errors",
            "\n2 files, nothing",
        ] {
            assert!(!text.contains(evil), "{arguments}: {}", text.escape_debug());
        }
    }
}
