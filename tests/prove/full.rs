//! A full drive: at every size of a drive in memory, at many of a real file system, and at every call by itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use super::drive::{self, Drive, Format, Memory, used_and_free};
use super::rig::{Rig, Tally, Verdict, first, form, hold, second};
use super::strace::{self, Fate, Threads};
use crate::common::{self, quick, run};

/// By how much the room grows.
const STEP: u64 = 4096;

/// A user without any snapshot, and one who has one and whose source has changed since.
const USERS: [fn(TempDir) -> Rig; 2] = [first, second];

/// Room is given step by step until the backup fits; a short write and then none at all come about as they do.
#[test]
fn in_memory_with_every_amount_of_room() {
    if !drive::is_possible("a full drive") {
        return;
    }
    let tally = Tally::default();
    let drive = Memory::new();
    for user in USERS {
        let mut rig = user(quick());
        let whole = std::mem::replace(&mut rig.archive, drive.path().join("archive"));
        for step in (0..).step_by(form(20, 1)) {
            drive.resize(64 << 20);
            begin_anew(&rig, &whole);
            drive.resize(used_and_free(drive.path()).0.max(STEP) + step * STEP);
            if !one_run(&tally, &rig, step, || drive.resize(64 << 20)) {
                break;
            }
        }
    }
    tally.tell("a full drive is named, and nothing is lost or left", "tmpfs, 4 KiB more room each time until it fits");
}

#[test]
fn on_ext4_with_many_amounts_of_room() {
    if !drive::is_possible("a full drive") {
        return;
    }
    let tally = Tally::default();
    let drive = Drive::new(Format::Ext4, 32);
    let filler = drive.path().join("filler");
    for user in USERS {
        let mut rig = user(quick());
        let whole = std::mem::replace(&mut rig.archive, drive.path().join("archive"));
        for step in (0..).step_by(form(40, 1)) {
            let _ = fs::remove_file(&filler);
            begin_anew(&rig, &whole);
            run(Command::new("sync").arg("-f").arg(drive.path()));
            // All room but so many steps is taken.
            let mut len = used_and_free(&drive.path()).1.saturating_sub(step * STEP) / STEP * STEP;
            File::create(&filler).unwrap();
            while !run_quietly(Command::new("fallocate").args(["-l", &len.to_string()]).arg(&filler)) {
                len -= STEP;
            }
            if !one_run(&tally, &rig, step, || fs::remove_file(&filler).unwrap()) {
                break;
            }
        }
    }
    tally.tell("a full drive is named, and nothing is lost or left", "ext4, 4 KiB more room each time until it fits");
}

fn run_quietly(command: &mut Command) -> bool {
    command.output().unwrap().status.success()
}

/// The archive with its one snapshot on the drive again, and an index that knows nothing else.
fn begin_anew(rig: &Rig, whole: &Path) {
    for folder in [&rig.archive, &rig.cache()] {
        let _ = fs::remove_dir_all(folder);
    }
    common::plain_copy(whole, &rig.archive);
}

/// Backs up without enough room, perhaps. Whether it was not enough.
fn one_run(tally: &Tally, rig: &Rig, step: u64, make_room: impl FnOnce()) -> bool {
    let said = rig.snap(&["create", rig.source.to_str().unwrap()]);
    let look = || -> Verdict {
        if said.code != 0 {
            let clear = said.code == 1 && said.err.contains("the drive that holds the archive is full");
            hold(clear, || format!("unclear: {said:?}"))?;
            rig.no_litter()?;
            let ids = rig.ids()?;
            hold(ids.len() == rig.kept.len(), || format!("there is a snapshot of it: {ids:?}"))?;
            rig.all_kept()?;
        }
        make_room();
        rig.recovers()
    };
    let verdict = look();
    tally.add(&format!("{step} steps of room"), verdict, None);
    said.code != 0
}

#[test]
fn at_every_call_by_itself() {
    if !strace::works() {
        return;
    }
    let tally = Tally::default();
    let hit = Mutex::new(BTreeSet::new());
    let rig = second(quick());
    for (error, every) in [("ENOSPC", form(60, 1)), ("EIO", form(60, 1))] {
        for threads in [Threads::Main, Threads::Each] {
            let source = rig.source.to_str().unwrap();
            let no_cache = (threads == Threads::Each).then_some("--no-cache");
            let arguments: Vec<&str> = no_cache.into_iter().chain(["create", source]).collect();
            let plain = strace::run(&rig.copy(quick()), &arguments, threads, None);
            for (call, _) in strace::calls(&plain.sites) {
                let (next, ended) = (AtomicUsize::new(1), AtomicBool::new(false));
                let work = || {
                    while !ended.load(Ordering::Relaxed) {
                        let when = next.fetch_add(every, Ordering::Relaxed);
                        let rig = rig.copy(quick());
                        let fate = Fate::Error(error);
                        let done = strace::run(&rig, &arguments, threads, Some((&call, when, fate)));
                        if done.sites.is_empty() {
                            return ended.store(true, Ordering::Relaxed);
                        }
                        let about = format!("{error} at {}, {threads:?} {when}", done.sites.join(", "));
                        // Neither the index nor an answer that nobody reads is a reason to take no snapshot.
                        let matters =
                            done.sites.iter().all(|site| !site.contains("the index") && !site.contains("said"));
                        let failed = hold(!matters || done.said.code == 1, || format!("it went on: {:?}", done.said));
                        let sound = hold(matches!(done.said.code, 0 | 1), || format!("{:?}", done.said));
                        hit.lock().unwrap().extend(done.sites);
                        tally.add(&about, failed.and(sound).and_then(|()| rig.recovers()), Some(rig));
                    }
                };
                thread::scope(|scope| {
                    scope.spawn(work);
                    scope.spawn(work);
                });
            }
        }
    }
    let sorts = hit.into_inner().unwrap().len();
    let method = format!("ENOSPC and EIO at every call that writes, syncs, renames or makes a folder ({sorts} sorts)");
    tally.tell("an archive that cannot be written to fails the run, and loses nothing", &method);
}
