//! Power cuts: the drive's file system is stopped by the kernel in the middle of the work, and comes back as its journal
//! has it.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::drive::{self, Drive, Format, Log};
use super::rig::{Kept, Rig, Said, Tally, Verdict, form, hold, photos, saved};
use crate::common::{Random, plain_copy, quick};

/// A drive is used for so many cuts.
const CUTS: usize = 20;

#[test]
fn cuts_on_ext4() {
    cuts(Format::Ext4, 64);
}

#[test]
fn cuts_on_xfs() {
    cuts(Format::Xfs, 300);
}

/// Works on an archive without a pause, cuts the power at a random time, and looks at what is there when it is back. A
/// snapshot counts as reported only if the report was read before the cut.
fn cuts(format: Format, mib: u64) {
    if !drive::is_possible("a power cut") {
        return;
    }
    let cuts = form(3, 200);
    let tally = Tally::default();
    let (mut random, mut reported) = (Random(format as u64), 0);
    let mut on_drive = None;
    for cut in 0..cuts {
        if cut % CUTS == 0 {
            on_drive = None; // the old one goes first
        }
        let (drive, rig) = on_drive.get_or_insert_with(|| plugged_in(format, mib));
        let log = if cut % 5 == 4 { Log::Flushed } else { Log::Lost };
        let wait = Duration::from_micros(random.below(500_000));
        let first = rig.kept.len();
        let said = work_until_cut(rig, drive, wait, log, &mut random);
        reported += rig.kept.len() - first;
        drive.come_back();
        let verdict = told_of(&said).and_then(|()| looked_at(rig));
        let about = format!("{format:?}, cut {cut} after {wait:?}, log {log:?}");
        rig.watch(4);
        if verdict.is_ok() {
            tally.add(&about, verdict, None);
        } else if let Some((_drive, rig)) = on_drive.take() {
            plain_copy(&rig.archive, &rig.path("archive-after"));
            tally.add(&about, verdict, Some(rig));
        }
    }
    tally.tell(
        &format!("no reported snapshot is lost in a power cut ({format:?})"),
        &format!("FS_IOC_SHUTDOWN at random times, journal replayed; {reported} snapshots reported before the cuts"),
    );
}

fn plugged_in(format: Format, mib: u64) -> (Drive, Rig) {
    let drive = Drive::new(format, mib);
    let mut rig = Rig::new(quick());
    rig.archive = drive.path().join("archive");
    photos(&rig.source);
    rig.init();
    (drive, rig)
}

/// Backs up, and sometimes squeezes or restores, until the power is cut; what the last command said.
fn work_until_cut(rig: &mut Rig, drive: &Drive, wait: Duration, log: Log, random: &mut Random) -> Said {
    let before = rig.kept.len();
    let (reported, is_cut) = (Mutex::new(Vec::new()), Mutex::new(false));
    let draws: Vec<u64> = (0..1000).map(|_| random.below(8)).collect();
    let said = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            for draw in draws {
                let said = match draw {
                    0 => rig.snap(&["squeeze"]),
                    1 => {
                        let target = quick();
                        rig.snap(&["restore", "latest", "-t", target.path().to_str().unwrap()])
                    }
                    _ => {
                        rig.change_source();
                        rig.snap(&["create", rig.source.to_str().unwrap()])
                    }
                };
                // Whoever cuts holds this: what is heard after that does not count, and nothing is changed any more.
                let is_cut = is_cut.lock().unwrap_or_else(PoisonError::into_inner);
                if *is_cut {
                    return said;
                }
                assert!(said.code == 0 || draw < 2 && said.err.contains("no snapshot"), "before the cut: {said:?}");
                if let Some(id) = saved(&said.out) {
                    let held = rig.hold_state(&id);
                    reported.lock().unwrap().push(Kept { id, held });
                }
            }
            panic!("it was never cut");
        });
        thread::sleep(wait);
        let mut is_cut = is_cut.lock().unwrap();
        *is_cut = true;
        drive.cut(log);
        drop(is_cut);
        worker.join().unwrap()
    });
    rig.kept.extend(reported.into_inner().unwrap());
    assert!(rig.kept.len() >= before);
    said
}

/// A command that met the cut has failed, and not by the photos.
fn told_of(said: &Said) -> Verdict {
    hold(matches!(said.code, 0 | 1), || format!("it ended with {}: {}{}", said.code, said.out, said.err))
}

/// Everything is there with the index of before the cut, and without any.
fn looked_at(rig: &Rig) -> Verdict {
    rig.all_kept()?;
    let _ = std::fs::remove_dir_all(rig.cache());
    rig.recovers()
}
