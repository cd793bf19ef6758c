//! Metadata of what is restored: what is set, in which order, and what a file system may refuse without it being an error.
//!
//! A file system may also say yes and do something else: FAT rounds times, many FUSE file systems ignore them, a default
//! ACL adds to what a new file has. So what was set is looked at afterwards, and what differs is counted.

use crate::source::{Stat, Time};
use rustix::fs::{
    Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fchmod, fchown, fgetxattr, fgetxattr_query,
    fremovexattr, fsetxattr, fstat, futimens,
};
use rustix::io::Errno;
use std::io;
use std::ops::AddAssign;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::name::os;

/// What a restored file, directory or link is to have besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky. Links have none of their own.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// Extended attributes: names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a restore may set. Permission bits, times, extended attributes and ACLs are always tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Give files to the owner and group they had. By default, when running as root.
    pub owner: bool,
    /// Restore what makes a file run with other rights than those of whoever starts it: setuid and setgid bits of files,
    /// and file capabilities. It happens only on what belongs to the owner it had. Off by default.
    pub setuid: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { owner: rustix::process::geteuid().is_root(), setuid: false }
    }
}

/// How many files lack some of their metadata, because the file system or the system's rules do not allow it. No content
/// is missing. An owner that the [`Policy`] does not ask for is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Without their owner or group.
    pub owner: u64,
    /// Without their permission bits.
    pub mode: u64,
    /// Without setuid or setgid bits or capabilities, which the policy does not ask for or which would be another's.
    pub setuid: u64,
    /// Without their time.
    pub times: u64,
    /// With their time to within two seconds, as the file system keeps it.
    pub rounded: u64,
    /// The largest such difference.
    pub rounded_by: Duration,
    /// Without an extended attribute.
    pub xattrs: u64,
    /// Without their access list, or with one that they did not have.
    pub acls: u64,
    /// Where setting something failed in a way that tells of a fault, not of what the file system can keep.
    pub faults: u64,
    /// The system's number of the first such error.
    pub fault: Option<i32>,
}

impl Notes {
    /// Whether everything could be kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes note of what a call said. What a file system or user cannot do will be seen by a look at the result.
    pub(super) fn hear(&mut self, result: Result<(), Errno>) {
        use Errno as E;
        match result {
            Ok(()) | Err(E::PERM | E::ACCESS | E::NOTSUP | E::NOSYS | E::INVAL | E::OVERFLOW | E::NODATA) => {}
            Err(cause) => {
                self.faults = 1;
                self.fault.get_or_insert(cause.raw_os_error());
            }
        }
    }

    /// The same of an attribute, which may also be too large for this file system's inodes; and that looks like a full
    /// disk.
    pub(super) fn hear_attribute(&mut self, result: Result<(), Errno>) {
        match result {
            Err(Errno::NOSPC | Errno::DQUOT | Errno::RANGE | Errno::TOOBIG) => {}
            result => self.hear(result),
        }
    }

    /// Counts what differs between what was wanted and what is there.
    pub(super) fn compare(&mut self, meta: &Metadata, mode: Option<u32>, policy: Policy, found: &Stat) {
        self.owner = u64::from(policy.owner && (found.uid, found.gid) != (meta.uid, meta.gid));
        self.mode = u64::from(mode.is_some_and(|mode| mode != found.mode));
        let off = distance(meta.mtime, found.mtime);
        self.times = u64::from(off >= CLOSE);
        self.rounded = u64::from(off < CLOSE && !off.is_zero());
        self.rounded_by = if off < CLOSE { off } else { Duration::ZERO };
    }

    /// Counts an attribute that was not taken.
    pub(super) fn lacks(&mut self, xattr: &[u8]) {
        let count = if xattr.starts_with(ACL) { &mut self.acls } else { &mut self.xattrs };
        *count = 1;
    }
}

impl AddAssign for Notes {
    fn add_assign(&mut self, more: Self) {
        self.owner += more.owner;
        self.mode += more.mode;
        self.setuid += more.setuid;
        self.times += more.times;
        self.rounded += more.rounded;
        self.rounded_by = self.rounded_by.max(more.rounded_by);
        self.xattrs += more.xattrs;
        self.acls += more.acls;
        self.faults += more.faults;
        self.fault = self.fault.or(more.fault);
    }
}

/// Times that are no further apart are the same to a file system that rounds them: FAT keeps every other second.
const CLOSE: Duration = Duration::new(2, 1);

const ACL: &[u8] = b"system.posix_acl_";
const CAPABILITY: &[u8] = b"security.capability";

pub(super) fn is_close(one: Time, other: Time) -> bool {
    distance(one, other) < CLOSE
}

/// How far apart two times are; no more than a day is told.
fn distance(one: Time, other: Time) -> Duration {
    let nanos = |time: Time| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos.min(999_999_999));
    let apart = (nanos(one) - nanos(other)).unsigned_abs();
    u64::try_from(apart).map_or(Duration::from_secs(86_400), Duration::from_nanos)
}

/// How this file system was seen to set times.
#[derive(Debug, Default)]
pub(super) struct Habits {
    /// It does nothing at all when only one of the two times is to be set.
    sets_both_times: AtomicBool,
    /// It keeps times only roughly, however they are set.
    rounds: AtomicBool,
}

impl Habits {
    /// Sets a time, and looks at what came of it by `look`. The time of access is left alone where that is possible.
    pub(super) fn set_time(
        &self,
        mtime: Time,
        notes: &mut Notes,
        set: impl Fn(&Timestamps) -> Result<(), Errno>,
        look: impl Fn() -> Result<rustix::fs::Stat, Errno>,
    ) -> io::Result<Stat> {
        let both = self.sets_both_times.load(Relaxed);
        if !both {
            notes.hear(set(&times(mtime, None)));
        }
        let mut found = look()?;
        let off = distance(mtime, Stat::from(found).mtime);
        // What was made just now has nearly the right time by chance.
        if both || off >= CLOSE || (!off.is_zero() && !self.rounds.load(Relaxed)) {
            let accessed = Timespec { tv_sec: found.st_atime as _, tv_nsec: found.st_atime_nsec as _ };
            notes.hear(set(&times(mtime, Some(accessed))));
            found = look()?;
            let left = distance(mtime, Stat::from(found).mtime);
            let habit = if left < off { &self.sets_both_times } else { &self.rounds };
            habit.fetch_or(left < off || (!both && off < CLOSE), Relaxed);
        }
        Ok(found.into())
    }
}

/// Sets metadata by an open handle and counts what could not be kept; `before` is what the thing has now. The order
/// matters: a change of owner drops setuid bits and capabilities, attributes need the write permission that the final bits
/// may take away, an ACL changes the bits, and times come last.
pub(super) fn apply(
    file: BorrowedFd<'_>,
    meta: &Metadata,
    policy: Policy,
    before: &Stat,
    habits: &Habits,
) -> io::Result<Notes> {
    let mut notes = Notes::default();
    let is_dir = before.kind == crate::source::Kind::Dir;
    let mut owned = (before.uid, before.gid) == (meta.uid, meta.gid);
    let mut touched = false;
    if policy.owner && !owned {
        let changed = change_owner(meta, |uid, gid| fchown(file, uid, gid));
        (owned, touched) = (changed.is_ok(), true);
        notes.hear(changed);
    }
    let ours = policy.setuid && owned;
    for name in [&b"system.posix_acl_access"[..], b"system.posix_acl_default"] {
        let recorded = meta.xattrs.iter().any(|(xattr, _)| xattr == name);
        // What the folder gives to everything new in it.
        if !recorded && (is_dir || name.ends_with(b"access")) && fgetxattr_query(file, os(name)).is_ok() {
            touched = true;
            if let Err(cause) = fremovexattr(file, os(name)) {
                notes.hear_attribute(Err(cause));
                notes.lacks(name);
            }
        }
    }
    for (name, value) in &meta.xattrs {
        if name == CAPABILITY && !ours {
            notes.setuid = 1;
            continue;
        }
        touched = true;
        let set = fsetxattr(file, os(name), value, XattrFlags::empty());
        if !is_set(set, value, &mut notes, |room| fgetxattr(file, os(name), room)) {
            notes.lacks(name);
        }
    }
    let mut mode = meta.mode & 0o7777;
    if mode & 0o6000 != 0 && !is_dir && !ours {
        mode &= 0o1777;
        notes.setuid = 1;
    }
    if mode != before.mode || touched {
        notes.hear(fchmod(file, Mode::from_raw_mode(mode)));
    }
    let found = habits.set_time(meta.mtime, &mut notes, |times| futimens(file, times), || fstat(file))?;
    notes.compare(meta, Some(mode), policy, &found);
    Ok(notes)
}

/// Whether an attribute has its value, after a call that was to set it; `get` reads it.
pub(super) fn is_set(
    set: Result<(), Errno>,
    value: &[u8],
    notes: &mut Notes,
    get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
) -> bool {
    let failed = set.is_err();
    notes.hear_attribute(set);
    // One that may be set but not read, as in a sandbox, is taken to be set.
    let mut room = vec![0; value.len() + 1];
    match get(&mut room) {
        Ok(len) => room.get(..len) == Some(value),
        Err(Errno::NODATA | Errno::RANGE) => false,
        Err(_) => !failed,
    }
}

/// Calls `change` unless a number is -1, which means "leave it" to the system and is nobody's number.
pub(super) fn change_owner(
    meta: &Metadata,
    change: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if meta.uid == u32::MAX || meta.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    change(Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

/// A time of change, and a time of access; none leaves that as it is.
fn times(mtime: Time, accessed: Option<Timespec>) -> Timestamps {
    Timestamps {
        last_access: accessed.unwrap_or(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ }),
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.min(999_999_999).into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const THEN: Time = Time { secs: 1_000_000_001, nanos: 500_000_000 };

    /// Photos restored onto bindfs had today's date, and nothing was said: it does nothing when told to leave the time of
    /// access alone.
    #[test]
    fn where_one_time_cannot_be_set_alone_both_are_and_that_is_remembered() {
        let (calls, habits) = (Cell::new(0), Habits::default());
        let there = Cell::new(0);
        let plain = fstat(std::fs::File::open("/").unwrap()).unwrap();
        let set = |times: &Timestamps| {
            calls.set(calls.get() + 1);
            if times.last_access.tv_nsec != UTIME_OMIT {
                there.set(times.last_modification.tv_sec);
            }
            Ok(())
        };
        let look = || {
            let mut stat = plain;
            (stat.st_mtime, stat.st_mtime_nsec) = (there.get() as _, 0);
            Ok(stat)
        };
        let mut notes = Notes::default();
        let found = habits.set_time(THEN, &mut notes, set, look).unwrap();
        assert_eq!((found.mtime.secs, calls.get()), (THEN.secs, 2));
        there.set(0);
        habits.set_time(THEN, &mut notes, set, look).unwrap();
        assert_eq!((there.get(), calls.get()), (THEN.secs, 3));
        assert!(notes.is_empty());
    }

    #[test]
    fn what_differs_is_told_from_what_is_rounded() {
        let meta = Metadata { mode: 0o640, uid: 1, gid: 2, mtime: THEN, xattrs: Vec::new() };
        let mut found = Stat::from(fstat(std::fs::File::open("/").unwrap()).unwrap());
        (found.mode, found.uid, found.gid, found.mtime) = (0o640, 1, 2, THEN);
        let counted = |found: &Stat, owner| {
            let mut notes = Notes::default();
            notes.compare(&meta, Some(0o640), Policy { owner, setuid: false }, found);
            notes
        };
        assert!(counted(&found, true).is_empty());
        let even = Stat { mtime: Time { secs: 1_000_000_000, nanos: 0 }, ..found };
        let by = Duration::from_millis(1500);
        assert_eq!(counted(&even, true), Notes { rounded: 1, rounded_by: by, ..Notes::default() });
        let now = Stat { mtime: Time { secs: 1_700_000_000, nanos: 0 }, mode: 0o755, uid: 0, ..found };
        assert_eq!(counted(&now, true), Notes { owner: 1, mode: 1, times: 1, ..Notes::default() });
        assert_eq!(counted(&now, false), Notes { mode: 1, times: 1, ..Notes::default() });
        let absurd = Time { secs: i64::MIN, nanos: u32::MAX };
        assert_eq!(distance(absurd, Time { secs: i64::MAX, nanos: 0 }), Duration::from_secs(86_400));
    }
}
