//! A wish to stop: every command that may take long ends soon after it, and says so with its exit code.
//!
//! When a command is stopped is not left to the clock: it is held still in the middle of its work, as its calls of the
//! system tell, and told to end while it cannot move.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use snapkeep::archive::Writer;
use snapkeep::chunk::Chunk;
use snapkeep::format::{Entry, Hint};
use snapkeep::id::ChunkKind;

use super::attack::{Attack, dir_of, file};
use super::bombs;
use super::table::{attack, copy};
use crate::common::picture::photo;

/// So many folders, each with a photo of its own.
const FOLDERS: usize = 800;

fn folders(writer: &Writer<'_>, about: &str) -> Vec<Entry> {
    let bytes = |number: usize| format!("{about} {number} ").repeat(60).into_bytes();
    let one = |number: usize| dir_of(writer, format!("d{number:05}"), vec![file(writer, "a.jpg", &bytes(number))]);
    let twice = |number: usize| dir_of(writer, format!("e{number:05}"), vec![file(writer, "a.jpg", &bytes(number))]);
    (0..FOLDERS).map(one).chain((0..FOLDERS / 10).map(twice)).collect()
}

/// Snapshots that have nothing in common, and a folder that no snapshot knows.
fn library() -> Attack {
    let library = Attack::new();
    for about in ["first", "second"] {
        library.snapshot(|writer| {
            let source = Attack::source(writer, folders(writer, about));
            snapkeep::archive::store_entries(writer, vec![source]).unwrap()
        });
    }
    // What can be squeezed.
    library.snapshot(|writer| {
        let photos: Vec<Entry> = (0..40)
            .map(|number| {
                let bytes = photo(number, 320, 240);
                let chunk = Chunk::new(ChunkKind::Data, &bytes);
                writer.put(&chunk, Hint::Image).unwrap();
                file(writer, format!("{number:02}.jpg"), &bytes)
            })
            .collect();
        let entries = [folders(writer, "third"), vec![dir_of(writer, "squeezable", photos)]].concat();
        snapkeep::archive::store_entries(writer, vec![Attack::source(writer, entries)]).unwrap()
    });
    for number in 0..FOLDERS {
        let folder = library.path("photos").join(format!("d{number:05}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.jpg"), format!("fourth {number} ").repeat(60)).unwrap();
    }
    library
}

/// Calls of the system with which a program has read and written so far; none once it has ended.
fn calls(program: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/io", program.id())).ok()?;
    let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(of("syscr:")? + of("syscw:")?)
}

fn start(library: &Attack, arguments: &[&str]) -> Child {
    let _ = fs::remove_dir_all(library.path("into"));
    let _ = fs::remove_dir_all(library.path("copy"));
    fs::create_dir(library.path("into")).unwrap();
    copy(&library.path("archive"), &library.path("copy"));
    let mut command = library.command(&[arguments, &["-a", "copy", "--no-cache"]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How many calls it takes to do all of it.
fn whole(library: &Attack, arguments: &[&str]) -> u64 {
    let mut program = start(library, arguments);
    let mut most = 0;
    while program.try_wait().unwrap().is_none() {
        most = calls(&program).unwrap_or_default().max(most);
    }
    most
}

/// The exit code of a command that is told to end in the middle of its calls, of which there are so many in all.
fn stopped(library: &Attack, arguments: &[&str], all: u64, signal: Signal) -> i32 {
    // It may be through before it can be held, and not have begun to listen: then it is tried elsewhere.
    for tenths in [4, 6, 7, 8, 9, 3, 2, 5, 10, 10, 10] {
        if let Some(code) = stopped_after(library, arguments, all * tenths / 10, signal) {
            return code;
        }
    }
    panic!("{arguments:?} cannot be caught at work");
}

fn stopped_after(library: &Attack, arguments: &[&str], most: u64, signal: Signal) -> Option<i32> {
    let mut program = start(library, arguments);
    while program.try_wait().unwrap().is_none() {
        if calls(&program).unwrap_or_default() < most {
            continue;
        }
        let id = Pid::from_child(&program);
        for signal in [Signal::STOP, signal, Signal::CONT] {
            kill_process(id, signal).unwrap();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(status) = program.try_wait().unwrap() {
                // It may have been through with everything, and only about to end: then it is tried elsewhere.
                return status.code().filter(|code| *code != 0);
            }
            thread::sleep(Duration::from_millis(1));
        }
        program.kill().unwrap();
        program.wait().unwrap();
        panic!("{arguments:?} goes on as if nothing had been said");
    }
    None
}

/// Those that may take long. `mount`, which only waits, has its own way to end, and [`super::table`] holds it to that.
const COMMANDS: [&[&str]; 16] = [
    &["create", "photos"],
    &["create", "photos", "--dry-run"],
    &["restore", "latest", "-t", "into"],
    &["restore", "latest", "-t", "into", "--dry-run"],
    &["verify"],
    &["verify", "--read-data"],
    &["squeeze"],
    &["repair"],
    &["find", "*.jpg"],
    &["history", "s"],
    &["deleted"],
    &["duplicates"],
    &["diff", "latest~1", "latest"],
    &["has", "photos"],
    &["dump", "latest", "-t", "into/all.tar"],
    &["ls", "latest", "--recursive"],
];

/// `create` ignored SIGTERM for ten minutes while it looked through a bomb; others were never asked.
#[test]
fn every_long_command_hears_a_wish_to_stop() {
    let library = library();
    for arguments in COMMANDS {
        let all = whole(&library, arguments);
        for signal in [Signal::TERM, Signal::INT] {
            assert_eq!(stopped(&library, arguments, all, signal), 130, "{arguments:?}, {signal:?}");
        }
    }
}

/// The same in a bomb, where each step is one of more than anybody can take.
#[test]
fn a_wish_to_stop_is_heard_in_a_bomb() {
    let bomb = attack(bombs::wide_again);
    let create = &["create", "photos", "--accept-loss"][..];
    for arguments in [create, &["verify"], &["has", "photos"], &["restore", "latest", "-t", "into"]] {
        let all = whole(&bomb, arguments);
        assert_eq!(stopped(&bomb, arguments, all, Signal::TERM), 130, "{arguments:?}");
    }
}
