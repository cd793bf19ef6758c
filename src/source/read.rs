//! Reading one file, its extended attributes, or a link's target.
//!
//! Files are opened without following a link at the end of the path and without waiting, and what was opened must be a
//! regular file: a pipe or a link put there since the walk is a [`Failure`], not a hang and not another file's content.
//! A file ends where reading ends, whatever length the file system says it has. Attributes that cannot be read cost
//! themselves: what can be read of them is given.

use super::failure::Failure;
use super::stat::{Kind, Stat};
use super::sys;
use crate::error::words_of;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, OFlags, fadvise, fgetxattr, flistxattr, lgetxattr, llistxattr, readlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// From this size on the system is told that a file will be read from front to back.
const WORTH_ADVICE: u64 = 256 * 1024;

/// A file that goes on for so many bytes past the length that the file system says it has is not believed to end.
const ENDLESS: u64 = 16 << 30;

/// Attributes that decide who may open a file; they are asked for by name where there are too many to be listed.
const NEEDED: [&[u8]; 3] = [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"];

/// An extended attribute: name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What could be read of the extended attributes of something, and what could not.
#[derive(Debug, Default)]
pub struct Xattrs {
    /// Sorted by name.
    pub values: Vec<Xattr>,
    /// Why some are missing, if some are.
    pub failure: Option<Failure>,
}

/// A regular file of the source, open for reading.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    path: PathBuf,
    /// The size when it was opened; less than that is a failed read.
    size: u64,
    position: u64,
}

impl SourceFile {
    /// Opens the file at `path`, which the walk found as `stat`. Fails if it is not a regular file any more. That it is
    /// still the same file is for [`SourceFile::unchanged_since`] to say.
    pub fn open(path: &Path, stat: &Stat) -> Result<Self, Failure> {
        let fail = |cause: io::Error| Failure::new("opening", path, cause);
        let reached = sys::reach(path).map_err(fail)?;
        let file = sys::open(reached.at(), reached.rest.as_os_str(), stat.uid, OFlags::empty()).map_err(fail)?;
        let now = sys::stat_open(&file).map_err(fail)?;
        if now.kind != Kind::File {
            return Err(fail(io::Error::other("no longer a regular file")));
        }
        if now.size >= WORTH_ADVICE {
            // Only a hint: a file that is read without it is read all the same.
            let _ = fadvise(&file, 0, None, Advice::Sequential);
        }
        Ok(Self { file: file.into(), path: path.to_owned(), size: now.size, position: 0 })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file system says of the open file now.
    pub fn stat(&self) -> Result<Stat, Failure> {
        sys::stat_open(&self.file).map_err(|cause| Failure::new("looking at", &self.path, cause))
    }

    /// Reads on from where the last call ended and fills `buf`. Fewer bytes, or none, mean the end of the file; an end
    /// before the size that the file had when it was opened is a failure.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while let Some(room) = buf.get_mut(filled..).filter(|room| !room.is_empty()) {
            let n = match self.file.read(room) {
                Ok(n) => n,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(self.failed_read(cause)),
            };
            filled += n;
            self.position += n as u64;
            if n == 0 {
                if self.position < self.size {
                    return Err(self.failed_read(self.cut_short()));
                }
                break;
            }
        }
        Ok(filled)
    }

    /// Fills all of `buf` from `offset` on, or fails.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Failure> {
        self.file.read_exact_at(buf, offset).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => self.failed_read(self.cut_short()),
            _ => self.failed_read(cause),
        })
    }

    /// Reads from `offset` on until `buf` is full or the file ends, and says how much that was. An end before the size
    /// that the file had when it was opened is a failure.
    pub fn fill_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while let Some(room) = buf.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, offset + filled as u64) {
                Ok(0) if offset + (filled as u64) < self.size => return Err(self.failed_read(self.cut_short())),
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.failed_read(cause)),
            }
        }
        Ok(filled)
    }

    /// Where the file ends that was `stat` when it was opened: mostly where that says. Where there is more although
    /// nothing has changed, as on file systems that do not know how long a file is, it is read to its end to find that;
    /// of a file that grows, the length in `stat` is given, and [`SourceFile::unchanged_since`] tells of the growth. Ends
    /// early, with whatever length, once `stop` is set.
    pub fn length(&self, stat: &Stat, stop: &AtomicBool) -> Result<u64, Failure> {
        let more = |offset, buf: &mut [u8]| self.fill_at(offset, buf);
        if more(stat.size, &mut [0])? == 0 || !self.unchanged_since(stat) {
            return Ok(stat.size);
        }
        count(stat.size, ENDLESS, stop, more)?.ok_or_else(|| self.failed_read(io::Error::other("it does not end")))
    }

    /// The extended attributes of the open file, as [`xattrs`] gives them.
    pub fn xattrs(&self) -> Xattrs {
        gather(
            &self.path,
            |buf| flistxattr(&self.file, spare_capacity(buf)),
            |name, buf| fgetxattr(&self.file, name, spare_capacity(buf)),
        )
    }

    /// Whether the open file is the one of `earlier` and nothing has been written to it since, as [`Stat::same_as`] tells.
    /// False too if the file system no longer answers.
    pub fn unchanged_since(&self, earlier: &Stat) -> bool {
        self.stat().is_ok_and(|now| now.same_as(earlier))
    }

    fn failed_read(&self, cause: io::Error) -> Failure {
        Failure::new("reading", &self.path, cause)
    }

    fn cut_short(&self) -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("ended before its {} bytes", self.size))
    }
}

/// The extended attributes of what lies at `path`; a link is not followed. POSIX ACLs are among them, as
/// `system.posix_acl_access` and `system.posix_acl_default`. A file system without attributes has none.
pub fn xattrs(path: &Path) -> Xattrs {
    let reached = match sys::reach(path) {
        Ok(reached) => reached,
        Err(cause) => return Xattrs { values: Vec::new(), failure: Some(Failure::new(ATTRIBUTES, path, cause)) },
    };
    let whole = reached.whole();
    gather(
        path,
        |buf| llistxattr(&*whole, spare_capacity(buf)),
        |name, buf| lgetxattr(&*whole, name, spare_capacity(buf)),
    )
}

const ATTRIBUTES: &str = "reading the attributes of";

/// The target of the symbolic link at `path`, byte for byte.
pub fn read_link(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |cause: io::Error| Failure::new("reading the link", path, cause);
    let reached = sys::reach(path).map_err(fail)?;
    let target = readlinkat(reached.at(), reached.rest, Vec::new()).map_err(|errno| fail(errno.into()))?;
    Ok(target.into_bytes())
}

/// How far a file reaches of which `read` gives what lies from an offset on, counted from `from`; none if it goes on for
/// more than `most` bytes. Ends early once `stop` is set.
fn count(
    from: u64,
    most: u64,
    stop: &AtomicBool,
    read: impl Fn(u64, &mut [u8]) -> Result<usize, Failure>,
) -> Result<Option<u64>, Failure> {
    let mut buf = vec![0; 1 << 20];
    let mut at = from;
    while !stop.load(Ordering::Relaxed) {
        let filled = read(at, &mut buf)?;
        at += filled as u64;
        if filled < buf.len() {
            break;
        }
        if at - from > most {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// Reads the list of names, then each value. An attribute that is taken away meanwhile is left out; one that cannot be read
/// does not cost the others.
fn gather(
    path: &Path,
    list: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
    get: impl Fn(&OsStr, &mut Vec<u8>) -> Result<usize, Errno>,
) -> Xattrs {
    let fail = |cause: io::Error| Failure::new(ATTRIBUTES, path, cause);
    let (names, mut failure) = match growing(list) {
        Ok(names) => (names, None),
        Err(Errno::NOTSUP | Errno::NOSYS) => return Xattrs::default(),
        Err(cause @ Errno::TOOBIG) => (NEEDED.join(&0), Some(fail(cause.into()))),
        Err(cause) => return Xattrs { values: Vec::new(), failure: Some(fail(cause.into())) },
    };
    let (mut values, mut unread) = (Vec::new(), Vec::new());
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        match growing(|buf| get(OsStr::from_bytes(name), buf)) {
            Ok(value) => values.push((name.to_vec(), value)),
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(cause) => unread.push((name, cause)),
        }
    }
    if let (None, Some((name, cause))) = (&failure, unread.first()) {
        let more = if unread.len() > 1 { format!(" and {} more", unread.len() - 1) } else { String::new() };
        let cause = io::Error::from(*cause);
        let why = format!("{}{more}: {}", String::from_utf8_lossy(name), words_of(&cause));
        failure = Some(fail(io::Error::new(cause.kind(), why)));
    }
    values.sort_unstable();
    Xattrs { values, failure }
}

/// Calls `read` with a larger buffer until what it reads fits. Linux bounds lists and values to 64 KiB.
fn growing(read: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buf = Vec::with_capacity(256);
    loop {
        buf.clear();
        match read(&mut buf) {
            Err(Errno::RANGE) if buf.capacity() < 1 << 24 => buf.reserve(buf.capacity() * 8),
            Err(cause) => return Err(cause),
            Ok(_) => {
                buf.shrink_to_fit();
                return Ok(buf);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of(len: u64, most: u64) -> Option<u64> {
        let read = |at: u64, buf: &mut [u8]| Ok(len.saturating_sub(at).min(buf.len() as u64) as usize);
        count(10, most, &AtomicBool::new(false), read).unwrap()
    }

    /// A file system that does not know a file's length must not cost the photo, and one that never ends not the backup.
    #[test]
    fn a_file_is_as_long_as_it_can_be_read_and_one_that_does_not_end_is_told() {
        let piece = 1 << 20;
        for len in [10, 11, piece, piece + 10, piece + 11, 5 * piece] {
            assert_eq!(length_of(len, 8 * piece), Some(len));
        }
        assert_eq!(length_of(u64::MAX, 8 * piece), None);
        let stopped = count(0, 8 * piece, &AtomicBool::new(true), |_, buf| Ok(buf.len())).unwrap();
        assert_eq!(stopped, Some(0), "who stops is not kept waiting");
    }

    /// One attribute that may not be read must not cost the others, nor the photo.
    #[test]
    fn an_attribute_that_cannot_be_read_does_not_cost_the_others() {
        use std::os::unix::ffi::OsStrExt;
        let put = |bytes: &[u8], buf: &mut Vec<u8>| {
            buf.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        let names = |buf: &mut Vec<u8>| put(b"user.z\0user.shut\0user.gone\0user.a\0user.ill\0", buf);
        let value = |name: &OsStr, buf: &mut Vec<u8>| match name.as_bytes() {
            b"user.shut" => Err(Errno::ACCESS),
            b"user.ill" => Err(Errno::IO),
            b"user.gone" => Err(Errno::NODATA),
            name => put(name, buf),
        };
        let found = gather(Path::new("photo"), names, value);
        let kept = [b"user.a", b"user.z"].map(|name| (name.to_vec(), name.to_vec()));
        assert_eq!(found.values, kept);
        let why = found.failure.unwrap().to_string();
        assert_eq!(why, "reading the attributes of photo: user.shut and 1 more: no permission");

        let too_many = gather(Path::new("photo"), |_| Err(Errno::TOOBIG), |name, buf| put(name.as_bytes(), buf));
        assert_eq!(too_many.values.len(), NEEDED.len(), "who may open it is asked by name");
        assert!(too_many.failure.is_some());
        assert!(gather(Path::new("photo"), |_| Err(Errno::NOTSUP), value).failure.is_none());
        assert!(gather(Path::new("photo"), |_| Err(Errno::IO), value).failure.is_some());
    }
}
