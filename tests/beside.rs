//! Verifying beside others: what is only being replaced is not called damaged.
//!
//! A few seconds in the short form; with `SNAPKEEP_PROVE=long`, minutes.

use crate::common::picture;
use crate::common::user;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use picture::photo;
use user::{Said, User, said};

/// How long others work and how often whoever verifies must have ended by then.
fn form() -> (Duration, u64) {
    match std::env::var("SNAPKEEP_PROVE").as_deref() {
        Ok("long") => (Duration::from_secs(300), 40),
        _ => (Duration::from_secs(6), 3),
    }
}

fn add(user: &User, number: u64) {
    let path = user.path(&format!("Pictures/{}/{number}.jpg", number % 5));
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, photo(number, 160, 120)).expect("a photo");
}

/// A number that looks drawn.
fn drawn(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Runs a command, and kills it every other time, in the middle.
fn run(user: &User, arguments: &[&str], random: &mut u64) -> Option<Said> {
    let mut child = user.start(arguments);
    if drawn(random).is_multiple_of(2) {
        std::thread::sleep(Duration::from_millis(drawn(random) % 60));
        let _ = child.kill();
        child.wait().expect("it ended");
        return None;
    }
    Some(said(child.wait_with_output().expect("it ended")))
}

/// Of fourteen runs of `verify --read-data` beside a backup and squeezing, thirteen ended with "damage was found", and
/// nothing was damaged: whoever believes that throws a good archive away.
#[test]
fn nothing_is_called_damaged_that_is_only_being_replaced() {
    let (time, at_least) = form();
    let user = User { home: tempfile::tempdir().expect("a home") };
    (0..20).for_each(|number| add(&user, number));
    user.done(&["create", "Pictures"]);
    let (begun, ended) = (Instant::now(), AtomicBool::new(false));
    let (verified, unsettled, worked) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (user, ended, worked) = (&user, &ended, &worked);
        for seed in 0..2_u64 {
            scope.spawn(move || {
                let mut random = seed + 7;
                for round in 1.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    add(user, 1000 * round + seed);
                    if let Some(said) = run(user, &["create", "Pictures", "--reread"], &mut random) {
                        // What was only replaced is no loss, and is not stored again.
                        assert!(!said.err.contains("no such file"), "create said: {}", said.err);
                        worked.fetch_add(u64::from(said.code == 0), Ordering::Relaxed);
                    }
                    let other = if drawn(&mut random).is_multiple_of(4) { "repair" } else { "squeeze" };
                    let code = run(user, &[other], &mut random).map(|said| said.code);
                    assert!(matches!(code, None | Some(0 | 11)), "{other} ended with {code:?}");
                }
            });
        }
        while begun.elapsed() < time || verified.load(Ordering::Relaxed) + unsettled.load(Ordering::Relaxed) < at_least
        {
            // With the index that the others use, and without.
            let looks = verified.load(Ordering::Relaxed) + unsettled.load(Ordering::Relaxed);
            let more: &[&str] = if looks.is_multiple_of(2) { &["--no-cache"] } else { &[] };
            let done = user.snap(&[&["verify", "--read-data"], more].concat());
            let counter = match done.code {
                0 => &verified,
                3 => &unsettled,
                code => {
                    ended.store(true, Ordering::Relaxed);
                    panic!("verify ended with {code}: {}{}", done.out, done.err);
                }
            };
            if done.code == 3 {
                assert!(done.err.contains("is working on this archive"), "{}", done.err);
            }
            counter.fetch_add(1, Ordering::Relaxed);
        }
        ended.store(true, Ordering::Relaxed);
    });
    let (verified, unsettled) = (verified.into_inner(), unsettled.into_inner());
    println!(
        "{verified} looks found everything whole, {unsettled} could not tell; {} backups ended",
        worked.into_inner()
    );
    assert!(verified > 0, "some looks must come to an end");
    user.done(&["repair"]);
    user.done(&["verify", "--read-data"]);
}

/// A pack was really lost while a backup went on for hours: that is no reason to keep silent about it.
#[test]
fn what_is_really_damaged_is_told_although_somebody_is_at_work() {
    let user = User { home: tempfile::tempdir().expect("a home") };
    (0..6).for_each(|number| add(&user, number));
    user.done(&["create", "Pictures"]);
    let archive = user.path(".local/share/snapkeep/archive");
    user.damage(&archive);
    let header = fs::File::open(archive.join("header")).expect("a header");
    header.lock_shared().expect("held, as by a backup that goes on");
    let done = user.snap(&["verify", "--read-data"]);
    assert_eq!(done.code, 14, "{}{}", done.out, done.err);
    drop(header);
}
