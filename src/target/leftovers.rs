//! What a look into a directory of the target finds: its names, and what restores that were killed have left there.
//!
//! Only what bears a temporary name, is a file of whoever runs this and is held by nobody is removed: a restore that is
//! still at work holds a lock on each file that it writes.

use super::dir::Dir;
use super::failed;
use super::name::{is_mark_name, is_temp_name, os};
use crate::error::Result;
use crate::source::{Kind, Stat};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir, flock, openat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

/// Where nothing can be locked, what was not changed for so long is held by nobody, in seconds.
const OLD: i64 = 86_400;

/// What restores have left in a directory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Marks of restores that made this directory and have not finished it.
    pub marks: Vec<Box<[u8]>>,
    /// How many unfinished files were removed.
    pub removed: u64,
}

impl Dir {
    /// Removes the unfinished files of restores that were killed, and finds their marks.
    pub fn tidy(&self) -> Result<Found> {
        let mut found = Found::default();
        let dir = self.handle()?;
        self.each_name(&mut |name| {
            if is_mark_name(name) {
                found.marks.push(name.into());
            } else if is_temp_name(name) && is_abandoned(&dir, name) {
                found.removed += u64::from(unlinkat(&*dir, os(name), AtFlags::empty()).is_ok());
            }
        })?;
        Ok(found)
    }

    /// The names in this directory, just as it lists them.
    pub fn names(&self) -> Result<HashSet<Box<[u8]>>> {
        let mut names = HashSet::new();
        self.each_name(&mut |name| {
            names.insert(name.into());
        })?;
        Ok(names)
    }

    fn each_name(&self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let fail = |cause: Errno| failed("listing", &self.path(), cause);
        // A handle of its own: how far a listing has come belongs to the handle.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(&*self.handle()?, ".", flags, Mode::empty()).map_err(fail)?;
        let mut room = [MaybeUninit::<u8>::uninit(); 32 * 1024];
        let mut listing = RawDir::new(&dir, &mut room);
        while let Some(entry) = listing.next() {
            match entry {
                Ok(entry) => match entry.file_name().to_bytes() {
                    b"." | b".." => {}
                    name => take(name),
                },
                Err(Errno::INTR) => {}
                Err(cause) => return Err(fail(cause)),
            }
        }
        Ok(())
    }
}

/// Whether what bears a temporary name was left there.
fn is_abandoned(dir: &OwnedFd, name: &[u8]) -> bool {
    let Ok(stat) = statat(dir, os(name), AtFlags::SYMLINK_NOFOLLOW) else { return false };
    let (stat, me) = (Stat::from(stat), rustix::process::geteuid());
    let ours = me.is_root() || stat.uid == me.as_raw();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let is_old = stat.ctime.secs < now.saturating_sub(OLD);
    match stat.kind {
        Kind::File if ours => {
            let open = |more| openat(dir, os(name), more | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
            // Some network file systems lock only what is open for writing.
            let file = open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY | OFlags::NONBLOCK));
            match file.and_then(|file| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) => true,
                Err(Errno::WOULDBLOCK) => false,
                Err(_) => is_old,
            }
        }
        Kind::Symlink if ours => is_old,
        _ => false,
    }
}
