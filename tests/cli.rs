//! The command line as a user meets it: sessions with their words, exit codes, JSON and pipes.

use crate::common::user;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use user::{User, said};

/// The text with ids, times and measured numbers replaced.
fn masked(text: &str, user: &User) -> String {
    let home = user.home.path().to_str().expect("text");
    let text = text.replace(home, "~");
    let mask = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let masked = words.iter().enumerate().map(|(at, word)| {
            let next = |step: usize| words.get(at + step).copied().unwrap_or_default();
            let digits = word.bytes().filter(u8::is_ascii_digit).count();
            let bare = word.trim_end_matches([',', ';']);
            match *word {
                _ if bare.len() == 8 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) => word.replace(bare, "ID"),
                _ if word.len() == 10 && digits == 8 => "DATE".to_owned(),
                _ if word.contains(':') && (digits == 4 || digits == 6) => "TIME".to_owned(),
                _ if next(1) == "s" && digits > 0 => "N".to_owned(),
                word => word.to_owned(),
            }
        });
        masked.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(mask).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_first_session() {
    let user = User::new();
    let said = user.snap(&["list"]);
    assert_eq!(said.code, 10);
    assert_eq!(
        masked(&said.err, &user),
        "snap: error: there is no archive yet, and none is named\n\
         hint: snap create FOLDER makes one in ~/.local/share/snapkeep/archive, and snap init FOLDER makes one elsewhere"
    );

    let said = user.snap(&["create", "Pictures"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(
        masked(&said.err, &user),
        "snap: made a new archive in ~/.local/share/snapkeep/archive; keep another copy on an external drive"
    );
    assert_eq!(
        masked(&said.out, &user).lines().next(),
        Some("snapshot ID saved: 3 new, 0 changed, 0 no longer in the source (still in the archive), 0 unreadable")
    );
    assert!(said.out.contains("3 files, 3.0 kB in the source; "), "{}", said.out);

    user.photo("Pictures/2019/a.jpg", 4);
    user.photo("Pictures/2019/d.jpg", 5);
    fs::remove_file(user.path("Pictures/c.jpg")).expect("removed");
    let out = user.done(&["create", "Pictures", "--tag", "daily", "--note", "before the trip", "-v"]);
    let mut lines: Vec<&str> = out.lines().collect();
    lines[..3].sort_unstable();
    assert_eq!(
        masked(&lines[..4].join("\n"), &user),
        "changed     ~/Pictures/2019/a.jpg\n\
         gone        ~/Pictures/c.jpg\n\
         new         ~/Pictures/2019/d.jpg\n\
         snapshot ID saved: 1 new, 1 changed, 1 no longer in the source (still in the archive), 0 unreadable"
    );

    assert_eq!(
        masked(&user.done(&["list"]), &user),
        "id        date              host    files    size  new  changed  gone  tags   note             sources\n\
         ID  DATE TIME  laptop      3  3.0 kB    3        0     0                          ~/Pictures\n\
         ID  DATE TIME  laptop      3  3.0 kB    1        1     1  daily  before the trip  ~/Pictures\n\
         2 snapshots"
    );
    assert_eq!(user.done(&["ls", "latest"]), "Pictures/\n");
    assert_eq!(user.done(&["ls", "latest~1:Pictures"]), "2019/\nc.jpg\n");
    assert_eq!(user.done(&["ls", "latest:Pictures", "--recursive"]), "2019/\n2019/a.jpg\n2019/b.jpg\n2019/d.jpg\n");
    let long = user.done(&["ls", "-l", "--human-readable", "latest~1:Pictures/c.jpg"]);
    assert_eq!(masked(&long, &user), "-rw-r--r--     1.0 kB  DATE TIME  c.jpg");

    let out = user.done(&["restore", "latest~1:Pictures/c.jpg", "-t", "back"]);
    assert_eq!(masked(&out, &user), "restored 1 file, 1.0 kB, to back in N s");
    let lost = fs::read(user.path("back/c.jpg")).expect("it is back");
    let cat = user.command(env!("CARGO_BIN_EXE_snap"), &["cat", "latest~1:Pictures/c.jpg"]).output().expect("it runs");
    assert_eq!(cat.stdout, lost);
    assert_eq!(lost, fs::read(user.photo("again.jpg", 3)).expect("a photo"));

    assert!(user.done(&["verify", "--read-data"]).ends_with("everything is there and whole\n"));
    assert_eq!(user.done(&["verify", "-q"]), "");
}

#[test]
fn what_is_there_is_left_and_said() {
    let user = User::new();
    user.done(&["create", "Pictures", "-q"]);
    user.done(&["restore", "latest", "-t", "back"]);
    fs::write(user.path("back/Pictures/c.jpg"), "mine").expect("written");
    let out = user.done(&["restore", "latest:Pictures/c.jpg", "-t", "back/Pictures", "-v"]);
    assert!(out.starts_with("left        back/Pictures/c.jpg\nrestored 0 files"), "{out}");
    assert!(
        out.ends_with("1 file was there and is left as before (--overwrite can change that; -v names them)\n"),
        "{out}"
    );
    assert_eq!(fs::read(user.path("back/Pictures/c.jpg")).expect("read"), b"mine");
    let out =
        user.done(&["restore", "latest:Pictures", "-t", "new", "-n", "-v", "--include", "*.jpg", "--exclude", "2019"]);
    assert_eq!(masked(&out, &user), "to restore  new/Pictures/c.jpg\nwould restore 1 file, 1.0 kB, to new in N s");
    assert!(!user.path("new").exists());
    user.done(&["restore", "latest:Pictures", "-t", "back", "--overwrite", "if-changed", "--verify"]);
    assert_ne!(fs::read(user.path("back/Pictures/c.jpg")).expect("read"), b"mine");
}

#[test]
fn snapshots_are_found_by_id_by_order_and_by_date() {
    let user = User::new();
    user.done(&["create", "Pictures", "-q", "--tag", "first,b", "--host", "old"]);
    user.photo("Pictures/new.jpg", 9);
    user.done(&["create", "Pictures", "-q"]);
    let ids = user.ids();
    let with_new = |selector: &str, flags: &[&str]| {
        let selector = format!("{selector}:Pictures");
        user.done(&[&["ls", selector.as_str()], flags].concat()).contains("new.jpg")
    };
    assert!(with_new("latest", &[]));
    assert!(!with_new("latest~1", &[]));
    assert!(!with_new(&ids[0][..8], &[]));
    assert!(with_new(&ids[1].to_uppercase(), &[]));
    assert!(with_new("today", &[]));
    assert!(!with_new("latest", &["--tag", "first,b"]));
    assert!(with_new("latest", &["--path", "Pictures"]));
    assert!(!with_new("latest", &["-H", "old"]));
    assert_eq!(user.done(&["list", "--tag", "first", "-q"]).lines().count(), 2);
    assert!(user.done(&["list", "--tag", "none"]).starts_with("0 of 2 snapshots"));
    // As it was at the source.
    let source = format!("latest:{}", user.path("Pictures/2019").display());
    assert_eq!(user.done(&["ls", &source]), "a.jpg\nb.jpg\n");

    let said = user.snap(&["ls", "2001-01"]);
    assert_eq!((said.code, said.err.contains("none from then or before")), (1, true), "{}", said.err);
    assert_eq!(user.snap(&["ls", "latest~2"]).code, 1);
    assert_eq!(user.snap(&["ls", "newest"]).code, 2);
}

#[test]
fn exit_codes_and_hints() {
    let user = User::new();
    let code = |arguments: &[&str]| user.snap(arguments).code;
    assert_eq!(code(&["create", "-a", "nowhere", "Pictures"]), 10);
    assert_eq!(code(&["create", "-n", "Pictures"]), 10);
    assert_eq!(code(&["init", "arch"]), 0);
    assert_eq!(code(&["init", "arch"]), 1);
    assert_eq!(code(&["init", "Pictures"]), 1);
    assert_eq!(code(&["create", "-a", "arch"]), 2);
    assert_eq!(code(&["create", "-a", "arch", "missing"]), 1);
    assert_eq!(code(&["create", "-a", "arch", "Pictures", "--exclude", "a/../b"]), 2);
    assert_eq!(code(&["create", "-a", "arch", "arch/packs"]), 2);
    assert_eq!(code(&["create", "-a", "arch", "Pictures"]), 0);
    assert_eq!(code(&["create", "-a", "arch", "Pictures", "--compression", "20"]), 2);
    assert_eq!(code(&["cat", "-a", "arch", "latest"]), 2);
    assert_eq!(code(&["cat", "-a", "arch", "latest:Pictures"]), 2);
    assert_eq!(code(&["cat", "-a", "arch", "latest:Pictures/none.jpg"]), 1);
    assert_eq!(code(&["frobnicate"]), 2);
    assert_eq!(code(&["--version"]), 0);

    let said = user.snap(&["frobnicate", "--json"]);
    let error: Value = serde_json::from_str(&said.err).expect("JSON");
    assert_eq!((&error["message_type"], &error["code"]), (&Value::from("exit_error"), &Value::from(2)));
    let said = user.snap(&["list", "-a", "nowhere", "--json"]);
    let error: Value = serde_json::from_str(&said.err).expect("JSON");
    assert_eq!((said.code, &error["code"]), (10, &Value::from(10)));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("nowhere")), "{error}");
}

#[test]
fn another_run_at_work_is_exit_code_11() {
    let user = User::new();
    user.done(&["init", "arch"]);
    let header = fs::File::options().read(true).write(true).open(user.path("arch/header")).expect("the header");
    header.lock().expect("locked");
    let said = user.snap(&["create", "-a", "arch", "Pictures"]);
    assert_eq!(said.code, 11, "{}", said.err);
    assert!(said.err.contains("hint: another run is at work"), "{}", said.err);
    drop(header);
    user.done(&["create", "-a", "arch", "Pictures"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_file_is_named_and_the_rest_is_saved() {
    // A file that even root may only write.
    let locked = "/proc/sys/vm/drop_caches";
    if !Path::new(locked).exists() || fs::File::open(locked).is_ok() {
        return;
    }
    let user = User::new();
    let said = user.snap(&["create", "Pictures", "/proc/sys/vm"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains(&format!("snap: warning: {locked}: ")), "{}", said.err);
    assert!(said.out.starts_with("snapshot "), "{}", said.out);
    let said = user.snap(&["create", "Pictures", "/proc/sys/vm", "--json"]);
    assert_eq!(said.code, 3);
    let errors: Vec<Value> = said.err.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let error = errors.iter().find(|error| error["item"] == locked).expect("it is named");
    assert_eq!((&error["message_type"], &error["during"]), (&Value::from("error"), &Value::from("archival")));
    assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
}

#[test]
fn what_cannot_be_restored_is_named_and_the_rest_is_restored() {
    let user = User::new();
    user.done(&["create", "Pictures", "-q"]);
    fs::create_dir_all(user.path("back/Pictures/c.jpg/full")).expect("a folder");
    let said = user.snap(&["restore", "latest", "-t", "back", "--overwrite", "always"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("c.jpg"), "{}", said.err);
    assert!(user.path("back/Pictures/2019/a.jpg").exists());
}

#[test]
fn what_can_be_mended_is_mended() {
    let user = User::new();
    user.done(&["init", "arch"]);
    user.done(&["create", "-a", "arch", "Pictures", "-q"]);
    user.damage(&user.path("arch"));
    let said = user.snap(&["verify", "-a", "arch", "--read-data"]);
    assert_eq!(said.code, 14, "{}{}", said.out, said.err);
    assert!(said.out.contains("mendable 1 photo in 1 album: Pictures"), "{}", said.out);
    assert!(!said.out.contains("packs/"), "people know photos, not packs: {}", said.out);
    assert!(user.snap(&["verify", "-a", "arch", "--read-data", "-v"]).out.contains("mendable packs/"));
    assert!(said.err.contains("1 object is damaged; all of it can be mended"), "{}", said.err);
    let said = user.snap(&["restore", "-a", "arch", "latest", "-t", "back"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("`snap repair` writes it anew"), "{}", said.err);
    let said = user.snap(&["repair", "-a", "arch", "--dry-run", "-v"]);
    assert_eq!((said.code, said.out.contains("mend     packs/")), (0, true), "{}{}", said.out, said.err);
    assert!(said.out.contains("would repair 1 object"), "{}", said.out);
    assert_eq!(user.snap(&["verify", "-a", "arch", "--read-data"]).code, 14, "a dry run changes nothing");
    let said = user.snap(&["repair", "-a", "arch", "--json"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("\"remedy\":\"mend\""), "{}", said.out);
    assert_eq!(user.snap(&["verify", "-a", "arch", "--read-data"]).code, 0);
    assert!(user.snap(&["repair", "-a", "arch"]).out.contains("nothing is damaged"));
}

#[test]
fn damage_is_exit_code_14_wherever_it_is_met() {
    let user = User::new();
    user.done(&["init", "arch"]);
    user.done(&["create", "-a", "arch", "Pictures", "-q"]);
    user.damage(&user.path("arch"));
    fs::remove_dir_all(user.path("arch/parity")).expect("recovery data");
    let said = user.snap(&["verify", "-a", "arch", "--read-data"]);
    assert_eq!(said.code, 14, "{}{}", said.out, said.err);
    assert!(said.out.contains("lost     1 photo in 1 album: Pictures"), "{}", said.out);
    assert!(said.out.contains(":Pictures/"), "{}", said.out);
    assert!(
        said.err.contains("the archive is damaged, and 1 file cannot be restored whole from 1 snapshot"),
        "{}",
        said.err
    );
    let said = user.snap(&["restore", "-a", "arch", "latest", "-t", "back"]);
    assert_eq!(said.code, 14, "{}", said.err);
    assert!(said.out.starts_with("restored 2 files"), "{}", said.out);
    let codes: Vec<i32> = ["2019/a.jpg", "2019/b.jpg", "c.jpg"]
        .iter()
        .map(|path| user.snap(&["cat", "-a", "arch", &format!("latest:Pictures/{path}")]).code)
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 14).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 2, "{codes:?}");
    let said = user.snap(&["repair", "-a", "arch"]);
    assert_eq!(said.code, 14, "{}{}", said.out, said.err);
    assert!(said.err.contains("1 file cannot be restored whole"), "{}", said.err);
    assert_eq!(user.snap(&["repair", "-a", "arch", "--source"]).code, 0);
    assert_eq!(user.snap(&["verify", "-a", "arch", "--read-data"]).code, 0);
}

#[test]
fn json_has_restics_shape() {
    let user = User::new();
    let summary = user.json(&["create", "Pictures", "--tag", "x"]).pop().expect("a summary");
    assert_eq!(summary["message_type"], "summary");
    assert_eq!((&summary["files_new"], &summary["dry_run"]), (&Value::from(3), &Value::from(false)));
    let list = user.json(&["list"]).remove(0);
    let snapshot = &list[0];
    assert_eq!(snapshot["id"], summary["snapshot_id"]);
    assert_eq!((&snapshot["hostname"], &snapshot["username"]), (&Value::from("laptop"), &Value::from("anna")));
    assert_eq!(snapshot["paths"][0], user.path("Pictures").to_str().expect("text"));
    assert_eq!((&snapshot["tags"][0], &snapshot["sequence"]), (&Value::from("x"), &Value::from(1)));
    let nodes = user.json(&["ls", "latest", "--recursive"]);
    assert_eq!(nodes[0]["struct_type"], "snapshot");
    let paths: Vec<&str> = nodes[1..].iter().filter_map(|node| node["path"].as_str()).collect();
    assert_eq!(paths, ["Pictures", "Pictures/2019", "Pictures/2019/a.jpg", "Pictures/2019/b.jpg", "Pictures/c.jpg"]);
    assert_eq!((&nodes[3]["type"], &nodes[3]["size"]), (&Value::from("file"), &Value::from(1005)));
    let restored = user.json(&["restore", "latest", "-t", "back"]).pop().expect("a summary");
    assert_eq!((&restored["files_restored"], &restored["total_files"]), (&Value::from(3), &Value::from(3)));
    let verified = user.json(&["verify"]).pop().expect("a summary");
    assert_eq!(verified["num_errors"], 0);
    let dry = user.json(&["create", "Pictures", "-n", "-vv"]);
    assert_eq!(dry[0]["message_type"], "verbose_status");
    assert_eq!(dry.last().map(|summary| summary["dry_run"].clone()), Some(Value::from(true)));
    assert_eq!(user.ids().len(), 1);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let user = User::new();
    for number in 0..2000 {
        fs::write(user.path(&format!("Pictures/{number}-{}", "n".repeat(100))), "").expect("a file");
    }
    user.done(&["create", "Pictures", "-q"]);
    let mut child = user.start(&["ls", "latest:Pictures"]);
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    let said = said(child.wait_with_output().expect("it ends"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(line.ends_with('\n'), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let user = User::new();
    user.done(&["create", "Pictures", "-q"]);
    let full = fs::File::options().write(true).open("/dev/full").expect("the full device");
    let said = said(user.command(env!("CARGO_BIN_EXE_snap"), &["list"]).stdout(full).output().expect("it runs"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("writing to standard output"), "{}", said.err);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_in_good_order_and_what_was_stored_is_kept() {
    let user = User::new();
    user.done(&["init", "arch"]);
    fs::File::create(user.path("Pictures/z.bin")).and_then(|file| file.set_len(1 << 36)).expect("a large file");
    let mut child = user.start(&["create", "-a", "arch", "Pictures", "-v", "--json"]);
    // It is at work once the first file is done.
    let mut out = child.stdout.take().expect("a pipe");
    let mut byte = [0];
    while out.read(&mut byte).expect("output") > 0 && byte != *b"\n" {}
    interrupt(&child);
    let rest = std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    let said = said(child.wait_with_output().expect("it ends"));
    rest.join().expect("joined").expect("output");
    assert_eq!(said.code, 130, "{}", said.err);
    assert!(said.err.contains("what was stored is kept and will not be stored again"), "{}", said.err);
    assert!(user.done(&["list", "-a", "arch"]).starts_with("no snapshots yet"));
    assert!(user.done(&["verify", "-a", "arch", "--read-data"]).contains("whole"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_what_only_waits_at_once() {
    let user = User::new();
    let mut child = user.start(&["list"]);
    child.wait().expect("it ends");
    let mut command = user.command(env!("CARGO_BIN_EXE_snap"), &["create", "--files-from", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let input = child.stdin.take();
    // Until it listens, the signal ends it as it ends any program.
    std::thread::sleep(std::time::Duration::from_millis(500));
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    drop(input);
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("interrupted");
}

#[test]
fn the_configuration_names_archives_and_sources() {
    let user = User::new();
    user.photo("Pictures/skip.tmp", 7);
    user.done(&["init", "usb stick"]);
    let config = user.path(".config/snapkeep/config.toml");
    fs::create_dir_all(config.parent().expect("a folder")).expect("a folder");
    let text = "default = \"usb\"\n[archives]\nusb = \"~/usb stick\"\n[create]\nsources = [\"~/Pictures\"]\nexclude = [\"*.tmp\"]\n";
    fs::write(&config, text).expect("written");
    user.done(&["create", "--exclude", "c.jpg"]);
    assert_eq!(user.done(&["ls", "-a", "usb stick", "latest:Pictures"]), "2019/\n");
    assert_eq!(user.done(&["ls", "-a", "usb", "latest:Pictures"]), "2019/\n");
    let said = user.snap(&["list", "-a", "ubs"]);
    assert_eq!(said.code, 10);
    assert!(said.err.contains("archives with a name: usb"), "{}", said.err);

    fs::write(&config, "[create]\n\nexcludes = []\n").expect("written");
    let said = user.snap(&["list", "-a", "usb stick"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("config.toml, line 3: unknown field `excludes`"), "{}", said.err);
    // Flags come before the environment, and that before the file.
    let run = |flags: &[&str], archive: &str| {
        let mut command = user.command(env!("CARGO_BIN_EXE_snap"), flags);
        command.env("SNAPKEEP_CONFIG", "/dev/null").env("SNAPKEEP_ARCHIVE", archive);
        said_code(command)
    };
    assert_eq!(run(&["list"], "usb stick"), 0);
    assert_eq!(run(&["list"], "nowhere"), 10);
    assert_eq!(run(&["list", "-a", "usb stick"], "nowhere"), 0);
}

fn said_code(mut command: Command) -> i32 {
    said(command.output().expect("it runs")).code
}

#[test]
fn names_on_standard_input_are_sources() {
    let user = User::new();
    let mut command = user.command(env!("CARGO_BIN_EXE_snap"), &["create", "--files-from-raw", "-", "-q"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(b"Pictures/c.jpg\0Pictures/2019\0").expect("written");
    assert_eq!(said(child.wait_with_output().expect("it ends")).code, 0);
    assert_eq!(user.done(&["ls", "latest"]), "2019/\nc.jpg\n");
}

#[test]
fn an_archive_in_its_own_source_does_not_grow_by_itself() {
    let user = User::new();
    let first = user.json(&["create", ".", "--exclude", ".cache"]).pop().expect("a summary");
    let second = user.json(&["create", ".", "--exclude", ".cache"]).pop().expect("a summary");
    assert_eq!((&first["files_new"], &second["files_new"]), (&Value::from(3), &Value::from(0)));
    assert_eq!(user.snap(&["create", ".local/share/snapkeep/archive/packs"]).code, 2);
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_go_in_and_out() {
    use std::os::unix::ffi::OsStrExt;
    let user = User::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.jpg");
    fs::write(user.path("Pictures").join(name), "bytes").expect("written");
    user.done(&["create", "Pictures", "-q"]);
    let mut command = user.command(env!("CARGO_BIN_EXE_snap"), &["cat"]);
    command.arg(std::ffi::OsStr::from_bytes(b"latest:Pictures/caf\xe9.jpg"));
    assert_eq!(command.output().expect("it runs").stdout, b"bytes");
    // A pipe gets the bytes; JSON gets text and the bytes in hexadecimal.
    let output = user.command(env!("CARGO_BIN_EXE_snap"), &["ls", "latest:Pictures"]).output().expect("it runs");
    assert_eq!(output.stdout, b"2019/\nc.jpg\ncaf\xe9.jpg\n");
    let nodes = user.json(&["ls", "latest:Pictures"]);
    assert_eq!(nodes[3]["name_hex"], "636166e92e6a7067");
}

#[test]
fn both_names_work_and_say_their_own() {
    let user = User::new();
    let run =
        |arguments: &[&str]| said(user.command(env!("CARGO_BIN_EXE_snapkeep"), arguments).output().expect("it runs"));
    assert!(run(&["--version"]).out.starts_with("snapkeep 0."));
    assert!(run(&["--help"]).out.contains("Usage: snapkeep "));
    assert!(run(&["list"]).err.starts_with("snapkeep: error: "));
    assert!(run(&["list"]).err.contains("hint: snapkeep create"));
    assert!(user.done(&["--help"]).contains("Usage: snap "));
    assert!(run(&["completions", "bash"]).out.contains("_snapkeep"));
}

#[test]
fn completions_and_manual() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(user.done(&["completions", shell]).contains("restore"), "{shell}");
    }
    let page = user.done(&["man"]);
    assert!(page.contains(".TH") && page.contains("SNAPKEEP_ARCHIVE") && page.contains("130"), "{page}");
    user.done(&["man", "pages"]);
    for page in ["snap.1", "snap-create.1", "snap-restore.1", "snap-ls.1"] {
        assert!(fs::metadata(user.path("pages").join(page)).is_ok_and(|page| page.len() > 500), "{page}");
    }
}

#[test]
fn help_names_the_flags() {
    let user = User::new();
    let which = ["--host", "--tag", "--path"];
    let create = [
        "--dry-run",
        "--exclude",
        "--iexclude",
        "--exclude-file",
        "--iexclude-file",
        "--exclude-caches",
        "--exclude-if-present",
        "--exclude-larger-than",
        "--one-file-system",
        "--files-from",
        "--files-from-raw",
        "--tag",
        "--host",
        "--note",
        "--skip-if-unchanged",
        "--reread",
        "--force",
        "--compression",
    ];
    let restore =
        ["--target", "--include", "--exclude", "--iinclude", "--iexclude", "--overwrite", "--dry-run", "--verify"];
    let global = ["--archive", "--json", "--quiet", "--verbose", "--no-progress", "--cache-dir", "--no-cache"];
    let table: [(&str, &[&str]); 9] = [
        ("init", &[]),
        ("create", &create),
        ("list", &which),
        ("ls", &["--long", "--recursive", "--human-readable"]),
        ("restore", &restore),
        ("cat", &which),
        ("verify", &["--read-data"]),
        ("completions", &[]),
        ("man", &[]),
    ];
    for (command, flags) in table {
        let help = user.done(&[command, "--help"]);
        for flag in flags.iter().chain(&global) {
            assert!(
                help.contains(&format!("{flag} "))
                    || help.contains(&format!("{flag}\n"))
                    || help.contains(&format!("{flag}...")),
                "{command} {flag}"
            );
        }
    }
}

#[test]
fn what_hands_reach_for_from_restic() {
    let user = User::new();
    user.photo("Other/x.jpg", 7);
    for (source, host) in [("Pictures", "a"), ("Other", "a"), ("Pictures", "b"), ("Pictures", "a"), ("Other", "a")] {
        user.done(&["create", source, "-H", host, "-q", "-e", "c.jpg"]);
    }
    // The newest of each set of sources of each machine.
    let ids = user.ids();
    let newest = |arguments: &[&str]| -> Vec<String> {
        let list = user.json(&[&["list"], arguments].concat()).remove(0);
        let ids = list.as_array().expect("an array").iter();
        ids.map(|snapshot| snapshot["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(newest(&["--latest", "1"]), ids[2..]);
    assert_eq!(newest(&["--latest", "2"]), ids);
    assert_eq!(newest(&["--latest", "1", "-H", "b"]), ids[2..3]);
    assert!(user.done(&["list", "--latest", "1"]).ends_with("3 of 5 snapshots\n"));
    assert_eq!(user.snap(&["list", "--latest", "0"]).code, 2);
    // Patterns have short names.
    assert!(!user.done(&["ls", "latest~1", "--recursive"]).contains("c.jpg"));
    user.done(&["restore", "latest~1", "-t", "out", "-i", "*.jpg", "-e", "b.jpg"]);
    assert!(user.path("out/Pictures/2019/a.jpg").exists() && !user.path("out/Pictures/2019/b.jpg").exists());
    let said = user.snap(&["ls", "2001-05"]);
    assert!(said.code == 1 && said.err.contains(&format!("the oldest is {} of 20", &ids[0][..8])), "{}", said.err);
}
