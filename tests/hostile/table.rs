//! Every command on every hostile archive: it ends in time and within its memory, with a right answer or a clear error.
//!
//! Loss guarded against: an archive of 20 KB from somebody else's hands kept `create` from taking a backup for ten minutes, and
//! it did not even stop when it was told to.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use snapkeep::archive::{Writer, store_entries};
use snapkeep::format::{Entry, Segment, SegmentPack, Source, Time, names};
use snapkeep::id::{PackId, SegmentId};
use snapkeep::store::{Local, Store};

use super::attack::{Attack, Done, MOST_MEMORY, dir_of, file, memory};
use super::bombs;
use super::packs::Forged;

/// Exit codes that are documented and that may come of a hostile archive.
const CODES: [i32; 6] = [0, 1, 3, 13, 14, 15];

/// Commands that change nothing. The hostile snapshot is the newest, and `bad` is what is wrong in it.
const LOOKS: [&[&str]; 30] = [
    &["list"],
    &["list", "-v"],
    &["list", "--json"],
    &["status"],
    &["status", "--json"],
    &["ls", "latest"],
    &["ls", "latest:s/bad", "-l"],
    &["ls", "latest", "--recursive", "-l", "--photos"],
    &["ls", "latest", "--recursive", "--json"],
    &["cat", "latest:s/bad/f"],
    &["cat", "latest:s/bad/d000/d000"],
    &["history", "s"],
    &["history", "s/bad", "--json"],
    &["deleted"],
    &["deleted", "--json"],
    &["find", "*"],
    &["find", "*", "--json"],
    &["has", "photos"],
    &["has", "photos", "--json"],
    &["diff", "latest~1", "latest"],
    &["diff", "latest", "latest~1", "--json"],
    &["duplicates"],
    &["duplicates", "--json"],
    &["verify"],
    &["verify", "--json"],
    &["verify", "--read-data"],
    &["restore", "latest", "-t", "into", "--dry-run"],
    &["restore", "latest", "-t", "into"],
    &["restore", "latest:s/good", "-t", "into/good", "--json"],
    &["repair", "--dry-run"],
];

/// Commands that may change the archive, in this order on a copy of it.
const CHANGES: [&[&str]; 5] = [
    &["create", "photos", "--no-cache"],
    &["create", "photos", "--dry-run", "--json", "--no-cache"],
    &["squeeze", "--no-cache"],
    &["repair", "--no-cache"],
    &["repair", "--from", "archive", "--no-cache"],
];

/// An archive with a good snapshot and one with these entries besides.
pub fn attack(bad: impl FnOnce(&Writer<'_>) -> Vec<Entry>) -> Attack {
    let attack = Attack::new();
    let photos = attack.path("photos");
    for folder in ["good", "bad/d000/d000", "new"] {
        fs::create_dir_all(photos.join(folder)).unwrap();
    }
    for (name, text) in [("good/photo", "photo"), ("bad/f", "evil"), ("bad/d000/d000/f", "mine"), ("new/photo", "new")]
    {
        fs::write(photos.join(name), text).unwrap();
    }
    let path = photos.to_str().unwrap().as_bytes().to_vec();
    let good = |writer: &Writer<'_>| dir_of(writer, "good", vec![file(writer, "photo", b"photo")]);
    let source = |snapshot: &mut snapkeep::format::Snapshot| {
        let devices = snapshot.sources[0].devices.clone();
        snapshot.sources = vec![Source { name: b"s".to_vec(), path: path.clone(), devices }];
    };
    attack.told_snapshot(
        |writer| {
            let gone = dir_of(writer, "gone", vec![file(writer, "f", b"gone"), file(writer, "g", b"evil")]);
            store_entries(writer, vec![dir_of(writer, "s", vec![gone, good(writer)])]).unwrap()
        },
        source,
    );
    attack.told_snapshot(
        |writer| {
            let mut entries = bad(writer);
            entries.push(good(writer));
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            store_entries(writer, vec![Attack::source(writer, entries)]).unwrap()
        },
        source,
    );
    attack
}

/// What is printed is harmless, is JSON where that was asked for, and says why where it failed.
fn check(about: &str, arguments: &[&str], done: &Done) {
    assert!(
        CODES.contains(&done.code) || (arguments[0] == "cat" && done.code == 2),
        "{about}, {arguments:?}: {done:?}"
    );
    let says = done.err.chars().filter(|char| *char != '\n');
    assert!(!says.clone().any(char::is_control), "{about}, {arguments:?}: {:?}", done.err);
    if done.code != 0 {
        assert!(says.count() > 10 || !done.out.is_empty(), "{about}, {arguments:?}: {done:?}");
    }
    if arguments.contains(&"--json") {
        for line in done.out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok(), "{about}, {arguments:?}");
        }
    }
}

/// What the commands must say of an archive.
struct Right {
    /// Whether all of it can be restored, and listed.
    restore: i32,
    /// Whether it is sound.
    verify: i32,
    /// Whether there is anything that nobody can mend.
    repair: i32,
    /// Whether what is told of the past is all.
    past: i32,
    diff: i32,
}

/// One in which nothing is wrong that costs anything.
const SOUND: Right = Right { restore: 0, verify: 0, repair: 0, past: 0, diff: 0 };
/// One that claims so much that it is not looked into, though every byte of it is right.
const TOO_MUCH: Right = Right { restore: 1, verify: 0, repair: 0, past: 3, diff: 1 };
/// The same, and its counts are not so, which costs no file.
const FALSE_AND_TOO_MUCH: Right = Right { restore: 14, verify: 14, repair: 0, past: 3, diff: 1 };
/// One of which a part can never be read.
const BROKEN: Right = Right { restore: 14, verify: 14, repair: 14, past: 3, diff: 14 };

fn table(about: &str, right: &Right, attack: &Attack) {
    for arguments in LOOKS {
        let done = attack.snap(arguments);
        check(about, arguments, &done);
        let right_ones: &[i32] = match arguments {
            ["ls", "latest", "--recursive", ..] | ["restore", "latest", ..] => &[right.restore],
            ["verify", ..] => &[right.verify],
            ["repair", ..] => &[right.repair],
            ["diff", ..] => &[right.diff],
            ["find" | "deleted" | "duplicates", ..] | ["history", "s"] => &[right.past],
            // Nothing is known of what was not looked into.
            ["history", "s/bad", ..] => &[if right.past == 0 { 0 } else { 1 }],
            // It is not there, is a directory, or cannot be read; where it can, it is the file that was put there.
            ["cat", "latest:s/bad/f"] if done.out == b"evil" => &[0],
            ["cat", "latest:s/bad/f"] => &[1, 14],
            ["cat", ..] => &[1, 2, 14],
            // Its own entries are right wherever it can be listed.
            ["ls", "latest:s/bad", ..] => &[0, right.restore],
            // Of what is asked for, not all is in any of these archives.
            ["has", ..] => &[15],
            ["restore", "latest:s/good", ..] | ["list" | "status", ..] | ["ls", "latest"] => &[0],
            _ => panic!("it is not said what is right of {arguments:?}"),
        };
        assert!(right_ones.contains(&done.code), "{about}, {arguments:?}: {done:?}");
    }
    assert_eq!(fs::read(attack.path("into/good/good/photo")).unwrap(), b"photo", "{about}");
    // The backup is taken whatever the snapshots before it claim, and it is whole.
    copy(&attack.path("archive"), &attack.path("copy"));
    for arguments in CHANGES {
        let done = attack.attempt(&[arguments, &["-a", "copy"]].concat());
        check(about, arguments, &done);
        // Of what the newest snapshot has, much is no longer in the source.
        let code = match arguments[0] {
            "create" => 13,
            "repair" => right.repair,
            _ => 0,
        };
        assert_eq!(done.code, code, "{about}, {arguments:?}: {done:?}");
    }
    let done = attack.attempt(&["create", "photos", "-a", "copy", "--no-cache", "--accept-loss"]);
    // It says so where it cannot know what was in a folder that is there.
    let unknown = done.err.contains("the last state of");
    assert_eq!(done.code, if unknown { 3 } else { 0 }, "{about}: {done:?}");
    let done = attack.attempt(&["restore", "latest", "-t", "into/mine", "-a", "copy", "--no-cache"]);
    assert_eq!(done.code, 0, "{about}: {done:?}");
    let mine = attack.restored();
    for (name, text) in [("good/photo", "photo"), ("bad/d000/d000/f", "mine"), ("new/photo", "new")] {
        assert_eq!(mine[format!("mine/photos/{name}").as_bytes()], text.as_bytes(), "{about}");
    }
    mount(about, attack);
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        match item.file_type().unwrap().is_dir() {
            true => copy(&item.path(), &to.join(item.file_name())),
            false => drop(fs::copy(item.path(), to.join(item.file_name())).unwrap()),
        }
    }
}

/// The archive as a folder: read into for a while, and gone again when it is asked to go.
#[cfg(target_os = "linux")]
fn mount(about: &str, attack: &Attack) {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        eprintln!("SKIPPED: /dev/fuse cannot be opened, so mounting a hostile archive was NOT tested");
        return;
    }
    let dir = attack.path("into/mounted");
    fs::create_dir_all(&dir).unwrap();
    let mut command = attack.command(&["mount", "into/mounted"]);
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut told = String::new();
    while !told.contains("to end it") {
        assert_ne!(out.read_line(&mut told).unwrap(), 0, "{about}: it is not mounted");
    }
    let (begun, mut todo, mut bytes) = (Instant::now(), vec![dir], vec![0; 1 << 20]);
    while let Some(path) = todo.pop().filter(|_| begun.elapsed() < Duration::from_millis(400)) {
        let Ok(items) = fs::read_dir(&path) else { continue };
        for item in items.flatten().take(500) {
            match item.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(item.path()),
                Ok(kind) if kind.is_file() => {
                    // Neither the length nor the bytes need be there.
                    if let Ok(mut photo) = fs::File::open(item.path()) {
                        let _ = photo.read(&mut bytes);
                    }
                }
                _ => {}
            }
        }
    }
    let peak = memory(program.id());
    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    let code = ends(&mut program, Duration::from_secs(10));
    assert_eq!(code, Some(0), "{about}: mount");
    assert!(peak < MOST_MEMORY, "{about}: mount took {} MB", peak >> 20);
}

#[cfg(not(target_os = "linux"))]
fn mount(_: &str, _: &Attack) {}

/// Waits for a program to end. Its exit code.
fn ends(program: &mut std::process::Child, most: Duration) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < most {
        if let Some(status) = program.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(5));
    }
    program.kill().unwrap();
    program.wait().unwrap();
    None
}

macro_rules! rows {
    ($($name:ident: $right:expr, $make:expr;)*) => {
        $(#[test]
        fn $name() {
            let right = $right;
            table(stringify!($name), &right, &attack($make));
        })*
    };
}

rows! {
    a_bomb_of_empty_directories: TOO_MUCH, |writer| bombs::levels(writer, Vec::new(), 2, |_| 0);
    a_bomb_that_counts_right: TOO_MUCH, |writer| bombs::levels(writer, bombs::evil(writer), 2, |level| 1 << level);
    a_bomb_that_counts_wrong: FALSE_AND_TOO_MUCH, |writer| bombs::levels(writer, bombs::evil(writer), 2, |_| 1);
    a_bomb_of_a_thousand_names: FALSE_AND_TOO_MUCH, |writer| bombs::levels(writer, Vec::new(), 1000, |_| 7);
    a_wide_directory_named_again: TOO_MUCH, bombs::wide_again;
    a_directory_too_wide_for_its_archive: BROKEN, |writer| bombs::wide(writer, 8);
    directories_too_deep: BROKEN, |writer| bombs::deep(writer, 2100, "d000");
    paths_too_long: BROKEN, |writer| bombs::deep(writer, 300, &"n".repeat(255));
    paths_that_fill_the_memory: TOO_MUCH, bombs::brushes;
    files_of_millions_of_chunks: SOUND, |writer| bombs::millions_of_chunks(writer, 3);
    // What a file consists of is no matter of its past.
    lists_that_are_wrong: Right { past: 0, diff: 0, ..BROKEN }, bombs::wrong_lists;
    attributes_without_end: BROKEN, bombs::attributes;
    times_and_numbers_at_their_ends: SOUND, bombs::extremes;
    a_directory_that_claims_a_library: Right { restore: 14, verify: 14, ..SOUND }, bombs::claims;
}

/// Snapshots by the hundred, of all times that there are and of none, whose directories are the same.
#[test]
fn snapshots_of_strange_times_are_all_answered() {
    let attack = attack(|writer| vec![dir_of(writer, "bad", bombs::evil(writer))]);
    let archive = attack.open();
    let (_, newest) = archive.snapshots().pop().unwrap();
    let times = [i64::MIN, i64::MIN + 1, -62_135_596_801, -1, 0, 253_402_300_800, i64::MAX];
    for number in 0..300_u64 {
        let mut snapshot = newest.clone();
        snapshot.time = Time { secs: times[number as usize % times.len()], nanos: 999_999_999 };
        snapshot.offset_minutes = if number % 2 == 0 { 1559 } else { -1559 };
        snapshot.sequence = if number % 3 == 0 { u64::MAX - 1000 } else { number };
        snapshot.tags = vec![format!("{number}\u{202e}\u{e0041}")];
        archive.commit(&snapshot).unwrap();
    }
    drop(archive);
    table("strange times", &SOUND, &attack);
    let list = attack.snap(&["list", "--json"]);
    let text = String::from_utf8(list.out).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<serde_json::Value>>(&text).map_or(text.lines().count(), |all| all.len()),
        302
    );
}

/// A segment that tells of a pack that is not there, and of one that is with rows of another.
#[test]
fn segments_that_lie_cost_no_photo() {
    let attack = attack(|writer| vec![dir_of(writer, "bad", bombs::evil(writer))]);
    let archive = attack.open();
    let store = Local::new(attack.path("archive"));
    let mut packs: Vec<SegmentPack> = Vec::new();
    for object in store.list(names::SEGMENTS, snapkeep::store::Leftovers::Leave).unwrap() {
        let id = SegmentId::from_hex(names::last(&object.name)).unwrap();
        packs.extend(archive.read_segment(&id).unwrap().packs);
    }
    drop(archive);
    for pack in &mut packs {
        for row in &mut pack.rows {
            row.frame.plain_len = u32::MAX / 64;
        }
    }
    let gone = SegmentPack { id: PackId::from_bytes([7; 32]), ..packs[0].clone() };
    packs.push(gone);
    let bytes = Segment::encode_of(&packs);
    let id = SegmentId::from_bytes(*blake3::hash(&bytes).as_bytes());
    store.put_new(&names::segment(&id), &[&bytes]).unwrap();
    table("segments that lie", &Right { verify: 14, ..SOUND }, &attack);
    let mended = attack.attempt(&["verify", "--read-data", "-a", "copy", "--no-cache"]);
    assert_eq!(mended.code, 0, "it was repaired there: {mended:?}");
}

/// A library that many snapshots share, and that was backed up by several names, is no bomb.
#[test]
fn what_a_source_really_had_is_never_too_much() {
    let attack = Attack::new();
    for number in 0..60_u64 {
        attack.told_snapshot(
            |writer| {
                let album = |album: u64| {
                    let photo = |photo: u64| {
                        let mut entry = file(
                            writer,
                            format!("IMG_{photo:05}.jpg"),
                            &[&album.to_le_bytes()[..], &photo.to_le_bytes()].concat(),
                        );
                        entry.meta.inode = album * 1000 + photo;
                        entry
                    };
                    dir_of(writer, format!("{album:04}"), (0..100).map(photo).collect())
                };
                // Each snapshot has one more album; all of them lie below three names.
                let library = |name: &str| dir_of(writer, name, (0..20 + number).map(album).collect());
                let sources = [library("a"), library("b"), library("c")];
                store_entries(writer, sources.to_vec()).unwrap()
            },
            |snapshot| {
                let source = |name: &str| Source {
                    name: name.into(),
                    path: format!("/{name}").into(),
                    devices: snapshot.sources[0].devices.clone(),
                };
                snapshot.sources = ["a", "b", "c"].map(source).to_vec();
                snapshot.time.secs += 1000 * number as i64;
            },
        );
    }
    let done = attack.snap(&["ls", "latest", "--recursive"]);
    assert_eq!((done.code, done.out.split(|byte| *byte == b'\n').count() - 1), (0, 3 + 3 * 79 * 101), "{}", done.err);
    let done = attack.snap(&["find", "IMG_00000*", "--json"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    for command in [
        &["history", "a/0078"][..],
        &["diff", "latest~50", "latest"],
        &["verify"],
        &["restore", "latest", "-t", "into", "--dry-run"],
    ] {
        let done = attack.snap(command);
        assert!(done.code == 0 && !done.err.contains("claims"), "{command:?}: {done:?}");
    }
}

/// 20,000 heads that each claim the longest frame, in a pack whose directory is damaged: a backup ran for eight
/// minutes, and did not hear that it should stop.
#[test]
fn a_pack_of_heads_that_claim_the_longest_frames_costs_no_time() {
    let attack = attack(|writer| vec![dir_of(writer, "bad", bombs::evil(writer))]);
    let (pack, told) = Forged::bomb(20_000, 16 << 20).end_damaged();
    Local::new(attack.path("archive")).put_new(&names::pack(&told.id), &[&pack]).unwrap();
    table("heads that claim", &Right { verify: 14, ..SOUND }, &attack);
}
