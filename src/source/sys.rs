//! The system calls of the walk, gathered where another platform would put its own.
//!
//! Every call is relative to an open directory, so no path is resolved twice and no length of path is too long.

use super::stat::{Kind, Stat};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::fs::{fstat, fstatfs, openat, openat2, statat, statx};
use rustix::io::Errno;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest path that is handed to the system in one piece; the rest of PATH_MAX is left as room.
const LONGEST: usize = 4000;

pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Whether this process may read `stat`'s file without touching its access time.
fn ours(uid: u32) -> bool {
    let me = rustix::process::geteuid();
    me.is_root() || me.as_raw() == uid
}

/// Opens for reading; never follows a link at the end of `path`, never waits, and leaves the access time alone if the
/// file (whose owner is `uid`) is ours.
pub(super) fn open(at: impl AsFd, path: &OsStr, uid: u32, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    if ours(uid) {
        match openat(&at, path, flags | OFlags::NOATIME, Mode::empty()) {
            // Some file systems, and user namespaces, refuse the wish.
            Err(Errno::PERM | Errno::INVAL) => {}
            other => return Ok(other?),
        }
    }
    Ok(openat(&at, path, flags, Mode::empty())?)
}

/// What is asked of each file: all that a plain `stat` tells, and when it was made.
const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// What lies under `path`; a link is not followed, and nothing is mounted by the question.
pub(super) fn stat(at: impl AsFd, path: &OsStr) -> io::Result<Stat> {
    match statx(&at, path, AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT), ASKED) {
        // An older kernel, or a sandbox that knows only what that one knew: there no time of birth is told.
        Err(Errno::NOSYS | Errno::PERM) => Ok(statat(at, path, AtFlags::SYMLINK_NOFOLLOW)?.into()),
        stat => Ok(stat?.into()),
    }
}

/// What is open as `file`.
pub(super) fn stat_open(file: impl AsFd) -> io::Result<Stat> {
    match statx(&file, "", AtFlags::EMPTY_PATH, ASKED) {
        Err(Errno::NOSYS | Errno::PERM) => Ok(fstat(file)?.into()),
        stat => Ok(stat?.into()),
    }
}

/// The number of the sort of file system on which `path` lies, which is not followed if it is a link, and the device that
/// was asked.
pub(super) fn sort_of_file_system(path: &Path) -> io::Result<(u64, u64)> {
    let reached = reach(path)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = openat(reached.at(), reached.rest, flags, Mode::empty())?;
    Ok((sort_of(there.as_fd())?, stat_open(&there)?.dev))
}

/// The same of what is open.
pub(super) fn sort_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    // The number is one of 32 bits, whatever the width of the field, and whatever sign that gives it.
    Ok(fstatfs(file)?.f_type as u64 & 0xFFFF_FFFF)
}

/// A name in a directory and, where the file system tells it with the name, what kind of thing bears it.
#[derive(Debug)]
pub(super) struct Listed {
    pub name: Box<[u8]>,
    pub kind: Option<Kind>,
}

/// The names in an open directory, without "." and "..", sorted by their bytes; and the error that ended the listing
/// early, if one did.
pub(super) fn list(dir: BorrowedFd<'_>) -> (Vec<Listed>, Option<io::Error>) {
    let mut buf = [MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut raw = RawDir::new(dir, &mut buf);
    let mut names: Vec<Listed> = Vec::new();
    let mut ended = None;
    while let Some(entry) = raw.next() {
        match entry {
            Ok(entry) => match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => {
                    let kind = match entry.file_type() {
                        FileType::Unknown => None,
                        kind => Some(Kind::from(kind)),
                    };
                    names.push(Listed { name: name.into(), kind });
                }
            },
            Err(Errno::INTR) => {}
            Err(cause) => {
                ended = Some(cause.into());
                break;
            }
        }
    }
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    (names, ended)
}

/// Goes down from `root` name by name, following no link, and gives the last directory, good only for opening what is in
/// it; `None` if there are no names.
pub(super) fn descend(root: BorrowedFd<'_>, names: &[&[u8]]) -> io::Result<Option<OwnedFd>> {
    const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let mut dir: Option<OwnedFd> = None;
    let mut rest = names;
    while !rest.is_empty() {
        let at = dir.as_ref().map_or(root, |dir| dir.as_fd());
        // As many names as one call takes: a thousand levels cost a handful of calls.
        let mut length = 0;
        let fits = |name: &&&[u8]| {
            length += name.len() + 1;
            length <= LONGEST
        };
        let taken = rest.iter().take_while(fits).count().max(1);
        let (head, tail) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
        let piece = head.join(&b'/');
        let next = match openat2(at, os(&piece), FLAGS, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // An older kernel, or a sandbox that knows only what that one knew.
            Err(Errno::NOSYS | Errno::PERM) => {
                let mut next = openat(at, os(head.first().copied().unwrap_or_default()), FLAGS, Mode::empty())?;
                for name in head.iter().skip(1) {
                    next = openat(&next, os(name), FLAGS, Mode::empty())?;
                }
                next
            }
            next => next?,
        };
        dir = Some(next);
        rest = tail;
    }
    Ok(dir)
}

/// Where a path starts and what is left of it, so that what is left is short enough for one system call.
pub(super) struct Reached<'p> {
    dir: Option<OwnedFd>,
    /// The path from [`Reached::at`] on.
    pub rest: &'p Path,
}

impl Reached<'_> {
    pub(super) fn at(&self) -> BorrowedFd<'_> {
        self.dir.as_ref().map_or(CWD, |dir| dir.as_fd())
    }

    /// A path for those calls that know no directory handles.
    pub(super) fn whole(&self) -> Cow<'_, Path> {
        use std::os::fd::AsRawFd;
        match &self.dir {
            None => Cow::Borrowed(self.rest),
            Some(dir) => Cow::Owned(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(self.rest)),
        }
    }
}

/// Walks down a path that is too long for one system call, piece by piece; a short one is left as it is.
pub(super) fn reach(path: &Path) -> io::Result<Reached<'_>> {
    let mut rest = path.as_os_str().as_bytes();
    let mut dir: Option<OwnedFd> = None;
    while rest.len() > LONGEST {
        let cut = rest.get(..LONGEST).and_then(|head| head.iter().rposition(|&b| b == b'/'));
        // A single name of 4000 bytes exists nowhere; let the system say so.
        let Some(cut) = cut.filter(|&cut| cut > 0) else { break };
        let (head, tail) = rest.split_at(cut);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = dir.as_ref().map_or(CWD, |dir| dir.as_fd());
        dir = Some(openat(at, os(head), flags, Mode::empty())?);
        let slashes = tail.iter().take_while(|&&b| b == b'/').count();
        rest = tail.get(slashes..).unwrap_or_default();
    }
    Ok(Reached { dir, rest: Path::new(os(rest)) })
}

/// The name that these bytes are.
pub fn name_of(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
