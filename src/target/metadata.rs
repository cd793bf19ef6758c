//! Metadata of what is restored: what is set, in which order, and what a file system may refuse without it being an error.

use crate::source::Time;
use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fchmod, fchown, fsetxattr, futimens};
use rustix::io::Errno;
use std::io;
use std::ops::AddAssign;
use std::os::fd::BorrowedFd;

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

/// What a restore may set. Permission bits, times, `user.*` attributes and POSIX ACLs are always tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Give files to the owner and group they had. By default, when running as root.
    pub owner: bool,
    /// Restore setuid and setgid bits, which happens only on what did get its owner back. By default, when running as root.
    pub setuid: bool,
    /// Restore attributes outside `user.*` and the ACLs, such as `security.*` and `trusted.*`. Off by default.
    pub security_xattrs: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let root = rustix::process::geteuid().is_root();
        Self { owner: root, setuid: root, security_xattrs: false }
    }
}

/// How much metadata could not be kept, because the file system or the system's rules do not allow it. No content is
/// missing. What the [`Policy`] does not ask for is not counted, except for setuid and setgid bits that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Files without their owner or group.
    pub owner: u64,
    /// Files without their permission bits, or without setuid and setgid.
    pub mode: u64,
    /// Files without their time.
    pub times: u64,
    /// Attributes that were not taken.
    pub xattrs: u64,
}

impl Notes {
    /// Whether everything could be kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Notes {
    fn add_assign(&mut self, more: Self) {
        self.owner += more.owner;
        self.mode += more.mode;
        self.times += more.times;
        self.xattrs += more.xattrs;
    }
}

/// What is known of a thing before its metadata is set.
pub(super) struct Now {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Sets metadata by an open handle. The order matters: a change of owner drops setuid bits and capabilities, attributes
/// need the write permission that the final bits may take away, an ACL changes the bits, and times come last.
pub(super) fn apply(file: BorrowedFd<'_>, meta: &Metadata, policy: Policy, now: &Now) -> io::Result<Notes> {
    let mut notes = Notes::default();
    let mut owned = false;
    if policy.owner {
        owned = (now.uid, now.gid) == (meta.uid, meta.gid)
            || done(change_owner(meta, |uid, gid| fchown(file, uid, gid)), &mut notes.owner)?;
    }
    for (name, value) in &meta.xattrs {
        if wanted(name, policy) {
            let set = fsetxattr(file, os(name), value, XattrFlags::empty());
            set_xattr(set, &mut notes)?;
        }
    }
    let mut mode = meta.mode & 0o7777;
    if mode & 0o6000 != 0 && !(policy.setuid && owned) {
        mode &= 0o1777;
        notes.mode += 1;
    }
    // A change of owner or an ACL may have touched the bits.
    if mode != now.mode || !meta.xattrs.is_empty() || mode & 0o6000 != 0 {
        done(fchmod(file, Mode::from_raw_mode(mode)), &mut notes.mode)?;
    }
    done(futimens(file, &times(meta.mtime)), &mut notes.times)?;
    Ok(notes)
}

/// Whether something worked; one that this file system or user cannot do is counted and no error.
pub(super) fn done(result: Result<(), Errno>, refused: &mut u64) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL | Errno::OVERFLOW) => {
            *refused += 1;
            Ok(false)
        }
        Err(cause) => Err(cause.into()),
    }
}

pub(super) fn wanted(xattr: &[u8], policy: Policy) -> bool {
    policy.security_xattrs || xattr.starts_with(b"user.") || xattr.starts_with(b"system.posix_acl_")
}

/// The same for an attribute, which may also be too large for this file system's inodes; and that looks like a full disk.
pub(super) fn set_xattr(result: Result<(), Errno>, notes: &mut Notes) -> io::Result<bool> {
    let result = match result {
        Err(Errno::NOSPC | Errno::DQUOT | Errno::RANGE | Errno::TOOBIG) => Err(Errno::NOTSUP),
        result => result,
    };
    done(result, &mut notes.xattrs)
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

/// Sets the time of change and leaves the time of access.
pub(super) fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.min(999_999_999).into() },
    }
}
