//! Whether what is recorded is what is there, whatever was done to the source in between: random edits with and without
//! their dates, renames of files and folders, links, recycled inode numbers, clocks that are set back, attributes; after each
//! batch a snapshot, and every file in it compared with the bytes that the source has.
//!
//! It is done on real file systems, and on one of our own making with the oddities that pooled, network and foreign file
//! systems have ([`odd`]). That no line of the evidence rule can be spared is shown beside the rule, in
//! `src/op/backup/evidence/tests.rs`, where each accident happens that only one line gives away.
//!
//! In `cargo test` it takes some seconds. The long form:
//!
//! ```text
//! SNAPKEEP_PROVE=long cargo test --test suite evidence:: -- --nocapture --test-threads 1
//! ```

use crate::common;
mod drives;
mod life;
mod odd;
mod stories;

use std::path::Path;

use common::{has_tool, is_root, quick};
use life::{Life, Real, Sum};
use odd::{Ctime, Numbers, Odd, Oddities};

/// Steps on each file system in the long form.
const LONG: u64 = 12_500;

fn steps(short: u64) -> u64 {
    if std::env::var("SNAPKEEP_PROVE").as_deref() == Ok("long") { LONG } else { short }
}

/// So many lives, each with an archive of its own, until there were so many steps.
fn lives(what: &str, steps: u64, mut live: impl FnMut(u64, &mut Sum)) -> Sum {
    let mut sum = Sum::default();
    // Other lives on each of them.
    let first = what.bytes().fold(0, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000);
    let mut seed = std::env::var("SNAPKEEP_EVIDENCE_SEED").map_or(first, |seed| seed.parse().unwrap());
    while sum.steps < steps {
        live(seed, &mut sum);
        seed += 1;
    }
    println!(
        "{what} | {} steps | {} snapshots, {} files compared, {} of them taken over unread | 0 wrong",
        sum.steps, sum.snapshots, sum.files, sum.unread
    );
    sum
}

fn on_real(what: &str, folder: &Path, short: u64) {
    let sum = lives(what, steps(short), |seed, sum| {
        let place = folder.join(format!("life{seed}"));
        std::fs::create_dir(&place).unwrap();
        Life::new(seed, Real::new(&place)).live(sum);
        std::fs::remove_dir_all(&place).unwrap();
    });
    assert!(sum.unread > 0, "everything was read, so nothing was tried");
}

fn on_odd(oddities: Oddities) {
    if !is_root("a file system with oddities") || !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: no file system can be mounted here, so {oddities:?} was NOT tested");
        return;
    }
    let sum = lives(&format!("{oddities:?}"), steps(150), |seed, sum| Life::new(seed, Odd::mount(oddities)).live(sum));
    // Where no length is known, everything is read each time; elsewhere nothing would be tried by that.
    assert_eq!(sum.unread > 0, !oddities.zero_length);
}

#[test]
fn on_tmpfs() {
    on_real("tmpfs", quick().path(), 400);
}

#[test]
fn on_the_disk_of_this_machine() {
    on_real("the disk here", tempfile::tempdir().unwrap().path(), 150);
}

#[test]
fn on_ext4() {
    on_drive("mkfs.ext4", &["-q", "-F"], 40);
}

#[test]
fn on_xfs() {
    on_drive("mkfs.xfs", &["-q", "-f"], 320);
}

#[test]
fn on_btrfs() {
    on_drive("mkfs.btrfs", &["-q", "-f"], 160);
}

fn on_drive(mkfs: &str, arguments: &[&str], mib: u64) {
    if !is_root(mkfs) || !has_tool(mkfs) {
        return;
    }
    match drives::Drive::new(mkfs, arguments, mib) {
        Some(drive) => on_real(mkfs, &drive.path(), 150),
        None => eprintln!("SKIPPED: there are no loop devices here, so {mkfs} was NOT tested"),
    }
}

const PLAIN: Oddities =
    Oddities { numbers: Numbers::Own, zero_length: false, coarse: false, behind: 0, ctime: Ctime::Kept };

#[test]
fn on_a_file_system_without_birth_times() {
    on_odd(PLAIN);
}

#[test]
fn on_one_that_makes_its_numbers_up() {
    on_odd(Oddities { numbers: Numbers::Fresh, ..PLAIN });
}

#[test]
fn on_one_that_uses_numbers_again() {
    on_odd(Oddities { numbers: Numbers::Reused, coarse: true, ..PLAIN });
}

#[test]
fn on_one_that_gives_all_one_number() {
    on_odd(Oddities { numbers: Numbers::One, coarse: true, ..PLAIN });
}

#[test]
fn on_one_that_knows_no_lengths() {
    on_odd(Oddities { zero_length: true, ..PLAIN });
}

#[test]
fn on_one_that_counts_in_two_seconds() {
    on_odd(Oddities { coarse: true, ..PLAIN });
}

#[test]
fn on_one_whose_clock_is_behind() {
    on_odd(Oddities { coarse: true, behind: 3, ..PLAIN });
}

#[test]
fn on_one_whose_time_of_change_is_the_date() {
    on_odd(Oddities { ctime: Ctime::Date, ..PLAIN });
}

#[test]
fn on_one_that_has_no_time_of_change() {
    on_odd(Oddities { ctime: Ctime::None, numbers: Numbers::One, coarse: true, ..PLAIN });
}
