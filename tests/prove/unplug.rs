//! Unplugging: the drive is gone in the middle of a backup. The run must say so at once and of the drive, not of the
//! photos; and the next run goes on.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use super::drive::{self, Drive, Format, Log};
use super::rig::{Rig, Said, Tally, Verdict, form, hold};
use crate::common::{Random, jpeg, quick};

/// How long the program may take to notice. Beside other tests the machine is not its own.
fn at_once() -> Duration {
    Duration::from_secs(form(10, 1))
}

#[test]
fn the_file_system_is_gone() {
    if !drive::is_possible("unplugging") {
        return;
    }
    let drive = Drive::new(Format::Ext4, 400);
    unplug("its file system answers with errors", &drive, || drive.cut(Log::Lost), || drive.come_back());
}

/// One layer below: the file system is there, and the device beneath it answers with errors only.
#[test]
fn the_device_is_gone() {
    if !drive::is_possible("unplugging") {
        return;
    }
    let outer = Drive::new(Format::Ext4, 700);
    let image = outer.path().join("image");
    let drive = Drive::at(tempfile::TempDir::new().unwrap(), image, Format::Ext4, 400);
    let come_back = || {
        drive.unmount();
        outer.come_back();
        drive.mount();
    };
    unplug("its device answers with errors", &drive, || outer.cut(Log::Lost), come_back);
}

fn unplug(how: &str, drive: &Drive, cut: impl Fn(), come_back: impl Fn()) {
    let tally = Tally::default();
    let mut random = Random(11);
    let mut rig = Rig::new(quick());
    rig.archive = drive.path().join("archive");
    for number in 0..40 {
        fs::write(rig.source.join(format!("img{number}.jpg")), jpeg(&mut random, 2 << 20)).unwrap();
    }
    let usual = {
        let begun = Instant::now();
        assert_eq!(start_over(&rig).wait_with_output().unwrap().status.code(), Some(0));
        begun.elapsed()
    };
    let (mut slowest, mut missed) = (Duration::ZERO, 0);
    let unplugs = form(2, 50);
    let mut unplugged = 0;
    while unplugged < unplugs {
        let mut child = start_over(&rig);
        let wait = usual.mul_f64(random.below(1000) as f64 / 1100.0);
        thread::sleep(wait);
        let running = child.try_wait().unwrap().is_none();
        cut();
        let begun = Instant::now();
        let said: Said = child.wait_with_output().unwrap().into();
        let took = begun.elapsed();
        come_back();
        if !running || said.code == 0 {
            missed += 1; // it was done before
            assert!(missed < 10 + 3 * unplugs, "it is never in time");
            continue;
        }
        unplugged += 1;
        slowest = slowest.max(took);
        let verdict = clear(&said, took).and_then(|()| goes_on(&rig));
        tally.add(&format!("unplugged after {wait:?}"), verdict, None);
    }
    let method = format!("{how}, in the middle of a backup; the slowest end {} ms after", slowest.as_millis());
    tally.tell("unplugged, the program says so within a second, and the next run goes on", &method);
}

/// Begins a backup into a new archive.
fn start_over(rig: &Rig) -> Child {
    for folder in [&rig.archive, &rig.cache()] {
        let _ = fs::remove_dir_all(folder);
    }
    rig.done(&["init", rig.archive.to_str().unwrap()]).unwrap();
    rig.snap_command().arg("create").arg(&rig.source).spawn().unwrap()
}

/// It failed, by the archive and not by the photos, and tells what to look for.
fn clear(said: &Said, took: Duration) -> Verdict {
    hold(took < at_once(), || format!("it took {took:?} to say {}", said.err))?;
    hold(said.code == 1 && said.err.contains("drive still connected"), || format!("unclear: {said:?}"))
}

/// With the index as it is; or the archive was just being made.
fn goes_on(rig: &Rig) -> Verdict {
    rig.all_kept()?;
    rig.goes_on()
}
