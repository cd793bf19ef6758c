//! The house, kept: which room imports which, and what no room may contain. Each rule is also shown something that
//! breaks it, so that a rule that sees nothing is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms each room may import, beside `error`, `id` and itself.
const TABLE: [(&str, &[&str]); 17] = [
    ("id", &[]),
    ("error", &[]),
    ("direct", &[]),
    ("normal", &[]),
    ("source", &["normal"]),
    ("target", &["source", "direct"]),
    ("media", &[]),
    ("chunk", &[]),
    ("codec", &[]),
    ("parity", &[]),
    ("format", &[]),
    ("store", &["direct"]),
    ("archive", &["chunk", "codec", "parity", "format", "store"]),
    ("view", &["normal", "archive", "format"]),
    (
        "op",
        &[
            "direct", "normal", "source", "target", "media", "chunk", "codec", "parity", "format", "store", "archive",
            "view",
        ],
    ),
    ("mount", &["view"]),
    ("cli", &["codec", "format", "source", "target", "store", "archive", "view", "op", "mount"]),
];

/// What is wrong with a file: one line for each fault.
type Rule = fn(&str, &str) -> Vec<String>;

const RULES: [(&str, Rule); 6] = [
    ("imports", imports),
    ("database", database),
    ("printing", printing),
    ("length", length),
    ("opening", opening),
    ("panics", panics),
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file of the library: its path below `src`, and its text.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![src()];
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            let name = path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
            let of_a_program = ["bin", "main.rs"].contains(&name.as_str());
            if path.is_dir() && !of_a_program {
                todo.push(path);
            } else if name.ends_with(".rs") && !of_a_program {
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Whether the whole file is a test.
fn is_test(file: &str) -> bool {
    file.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
}

/// The code of a file: without comments, strings' contents, and what is only compiled for tests.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    body.lines().map(blank).collect::<Vec<_>>().join("\n")
}

/// A line without its comment, and with what stands between quotes left out.
fn blank(line: &str) -> String {
    let (mut kept, mut quoted, mut before) = (String::new(), false, ' ');
    for (at, sign) in line.char_indices() {
        if !quoted && line[at..].starts_with("//") {
            break;
        }
        if sign == '"' && before != '\\' && before != '\'' {
            quoted = !quoted;
        } else if !quoted {
            kept.push(sign);
        }
        before = if before == '\\' { ' ' } else { sign };
    }
    kept
}

/// The rooms that `crate::` paths lead to, also those in braces (`use crate::{chunk, codec::Choice}`).
fn rooms_used(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_' || sign == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => {
                let (mut depth, mut start) = (0, true);
                for (at, sign) in list.char_indices() {
                    match sign {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        sign if depth == 0 && start && !sign.is_whitespace() => {
                            found.push(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|sign| sign.is_alphanumeric() || matches!(sign, '_' | '*')).collect()
}

fn imports(file: &str, text: &str) -> Vec<String> {
    let (here, code) = (room(file), code(text));
    let mut faults = Vec::new();
    if here == "lib" {
        return faults;
    }
    let Some((_, may)) = TABLE.iter().find(|(name, _)| *name == here) else {
        return vec![format!("the room {here} is not in the table")];
    };
    for used in rooms_used(&code) {
        if used == "*" {
            faults.push("it imports everything of the crate".to_owned());
        } else if !["id", "error", here].contains(&used.as_str()) && !may.contains(&used.as_str()) {
            faults.push(format!("{here} may not import {used}"));
        }
    }
    // Two steps up from a file of a room, or one from its top, is a way around the table. A module within a file is one
    // step further in, and so is a test.
    let inner = code.contains("\nmod ") && code.contains("mod platform {");
    let top = !file.contains('/') || (file.ends_with("/mod.rs") && file.matches('/').count() == 1);
    let steps = usize::from(!top) + usize::from(inner || is_test(file));
    if code.contains(&"super::".repeat(steps + 1)) {
        faults.push("it leaves its room by super".to_owned());
    }
    faults
}

fn database(file: &str, text: &str) -> Vec<String> {
    let uses = code(text).contains("redb");
    let knows = file.starts_with("archive/index/");
    if uses && !knows { vec!["only archive/index knows redb".to_owned()] } else { Vec::new() }
}

fn printing(file: &str, text: &str) -> Vec<String> {
    // What a person sees: the screen, the question before it writes somewhere, the whole terminal, and help.
    if ["cli/screen.rs", "cli/destination.rs", "cli/browse/mod.rs", "cli/mod.rs"].contains(&file) {
        return Vec::new();
    }
    let code = code(text);
    let prints = ["println!", "print!", "eprintln!", "eprint!", "dbg!", "stdout()", "stderr()"];
    prints.iter().filter(|what| code.contains(**what)).map(|what| format!("it prints by {what}")).collect()
}

fn length(_: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > 1000 { vec![format!("it has {lines} lines")] } else { Vec::new() }
}

fn opening(_: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") { Vec::new() } else { vec!["it does not begin by saying what it owns".to_owned()] }
}

fn panics(file: &str, text: &str) -> Vec<String> {
    if is_test(file) {
        return Vec::new();
    }
    let code = code(text);
    let ways = [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "unreachable!", "unwrap_unchecked"];
    let faults = ways.iter().filter(|way| code.contains(**way));
    faults.map(|way| format!("it can panic by {way}")).collect()
}

#[test]
fn every_file_keeps_every_rule() {
    let sources = sources();
    assert!(sources.len() > 40, "the sources were found: {}", sources.len());
    let mut faults = Vec::new();
    for (file, text) in &sources {
        for (name, rule) in RULES {
            faults.extend(rule(file, text).into_iter().map(|fault| format!("src/{file}: {fault} ({name})")));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_rule_objects_to_what_breaks_it() {
    let objects = |rule: Rule, file: &str, text: &str| !rule(file, text).is_empty();
    for (file, text) in [
        ("source/scan.rs", "use crate::archive::Archive;"),
        ("source/scan.rs", "let x = crate::store::Local::new();"),
        ("format/tree.rs", "use crate::{error::Result, store::Store};"),
        ("format/tree.rs", "use crate::{id::{ChunkId,\n    PackId}, codec};"),
        ("view/mod.rs", "use crate::op;"),
        ("chunk.rs", "use crate::*;"),
        ("attic/mod.rs", "use crate::id::ChunkId;"),
        ("store/local.rs", "use super::super::archive;"),
        ("store/mod.rs", "use super::archive;"),
        ("view/mod.rs", "use super::op::backup;"),
    ] {
        assert!(objects(imports, file, text), "{file}: {text}");
    }
    assert!(objects(database, "op/mod.rs", "use redb::Database;"));
    assert!(objects(printing, "op/mod.rs", "    eprintln!(\"{x}\");"));
    assert!(objects(printing, "cli/list.rs", "    println!(\"{x}\");"));
    assert!(objects(imports, "cli/list.rs", "use crate::parity::make;"));
    assert!(objects(length, "op/mod.rs", &"\n".repeat(1001)));
    assert!(objects(opening, "op/mod.rs", "use std::io;"));
    for text in
        ["let x = y.unwrap();", "y.expect(\"it is there\")", "panic!()", "todo!()", "let s = \"//\"; y.unwrap()"]
    {
        assert!(objects(panics, "op/mod.rs", text), "{text}");
    }
}

#[test]
fn no_rule_objects_to_what_is_right() {
    for (file, text) in [
        ("op/backup/run.rs", "//! x\nuse crate::archive::Archive;\nuse super::previous::Known;"),
        (
            "view/mod.rs",
            "//! See [`crate::op`].\n// crate::op::backup\nlet s = \"crate::op\";\nuse crate::id::ChunkId;",
        ),
        ("store/fs.rs", "//! x\nlet c = '\"'; let d = \"println!\"; y.unwrap_or_default();"),
        ("codec/mod.rs", "//! x\n#[cfg(test)]\nmod tests {\n    fn a() { b.unwrap(); }\n}"),
    ] {
        for (name, rule) in RULES {
            assert_eq!(rule(file, text), Vec::<String>::new(), "{name} on {file}");
        }
    }
}

#[test]
fn the_table_is_the_one_that_the_library_shows() {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let shown: BTreeMap<String, Vec<String>> = table(&text);
    let mut ours: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (room, may) in TABLE {
        let mut may: Vec<String> = may.iter().map(|name| name.to_string()).collect();
        may.sort();
        ours.insert(room.to_owned(), may);
    }
    assert_eq!(shown, ours);
    for room in ours.keys() {
        assert!(text.contains(&format!("mod {room};")), "{room} is a room of the library");
    }
    let rooms = text.lines().filter(|line| line.starts_with("pub mod ") || line.starts_with("mod "));
    assert_eq!(rooms.count(), ours.len(), "every room is in the table");
    assert_ne!(table(&text.replace("| `normal`, `archive`, `format` |", "| `archive` |")), ours, "the table is read");
}

/// The table of rooms in the library's documentation. "all of these" stands for every room above.
fn table(text: &str) -> BTreeMap<String, Vec<String>> {
    let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! | `")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let rooms = names(&format!("`{}", cells[0]));
        let mut may = match cells[2] {
            all if all.contains("all of these") => {
                found.keys().filter(|name| !["id", "error"].contains(&name.as_str())).cloned().collect()
            }
            cell => names(cell),
        };
        may.sort();
        for room in rooms {
            found.insert(room, may.clone());
        }
    }
    found
}
