//! Reading one file, its extended attributes, or a link's target.
//!
//! Files are opened without following a link at the end of the path and without waiting, and what was opened must be a
//! regular file: a pipe or a link put there since the walk is a [`Failure`], not a hang and not another file's content.

use super::failure::Failure;
use super::stat::{Kind, Stat};
use super::sys;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, OFlags, fadvise, fgetxattr, flistxattr, fstat, lgetxattr, llistxattr, readlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// From this size on the system is told that a file will be read from front to back.
const WORTH_ADVICE: u64 = 256 * 1024;

/// An extended attribute: name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

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
        let now = Stat::from(fstat(&file).map_err(|errno| fail(errno.into()))?);
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
        Ok(fstat(&self.file).map_err(|cause| Failure::new("looking at", &self.path, cause))?.into())
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
            // The expected end with room to spare: asking once more would cost a system call a file.
            if self.position == self.size && filled < buf.len() {
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

    /// The extended attributes of the open file, as [`xattrs`] gives them.
    pub fn xattrs(&self) -> Result<Vec<Xattr>, Failure> {
        gather(
            |buf| flistxattr(&self.file, spare_capacity(buf)),
            |name, buf| fgetxattr(&self.file, name, spare_capacity(buf)),
        )
        .map_err(|cause| Failure::new("reading the attributes of", &self.path, cause))
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

/// The extended attributes of what lies at `path`, sorted by name; a link is not followed. POSIX ACLs are among them, as
/// `system.posix_acl_access` and `system.posix_acl_default`. A file system without attributes has none.
pub fn xattrs(path: &Path) -> Result<Vec<Xattr>, Failure> {
    let fail = |cause: io::Error| Failure::new("reading the attributes of", path, cause);
    let reached = sys::reach(path).map_err(fail)?;
    let whole = reached.whole();
    gather(|buf| llistxattr(&*whole, spare_capacity(buf)), |name, buf| lgetxattr(&*whole, name, spare_capacity(buf)))
        .map_err(|errno| fail(errno.into()))
}

/// The target of the symbolic link at `path`, byte for byte.
pub fn read_link(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |cause: io::Error| Failure::new("reading the link", path, cause);
    let reached = sys::reach(path).map_err(fail)?;
    let target = readlinkat(reached.at(), reached.rest, Vec::new()).map_err(|errno| fail(errno.into()))?;
    Ok(target.into_bytes())
}

/// Reads the list of names, then each value. An attribute that is taken away meanwhile is left out.
fn gather(
    list: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
    get: impl Fn(&std::ffi::OsStr, &mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<Vec<Xattr>, Errno> {
    let names = match growing(list) {
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        match growing(|buf| get(std::ffi::OsStr::from_bytes(name), buf)) {
            Ok(value) => found.push((name.to_vec(), value)),
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(cause) => return Err(cause),
        }
    }
    found.sort_unstable();
    Ok(found)
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
