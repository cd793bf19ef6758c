//! Opening the directory beneath which everything is restored.
//!
//! The path is the user's own, and links in it are followed. But when root restores into a folder of somebody else, a link
//! that this somebody puts in the path would lead root's writing anywhere. So root goes down name by name, and follows no
//! link but root's own, whose words are walked in the same way.

use super::failed;
use super::name::os;
use crate::error::Result;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Links on the way to a target, as many as Linux follows.
const MAX_LINKS: usize = 40;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens it, and with `create` makes it first, along with those above it.
pub(super) fn open(path: &Path, create: bool) -> Result<OwnedFd> {
    if rustix::process::geteuid().is_root() {
        return walk(path, create).map_err(|cause| failed("opening", path, cause));
    }
    if create {
        std::fs::create_dir_all(path).map_err(|cause| failed("creating", path, cause))?;
    }
    openat(CWD, path, FLAGS, Mode::empty()).map_err(|cause| failed("opening", path, cause))
}

fn walk(path: &Path, create: bool) -> io::Result<OwnedFd> {
    const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let mut names: VecDeque<Vec<u8>> = split(path);
    let start = if path.is_absolute() { "/" } else { "." };
    let mut dir = openat(CWD, start, FLAGS, Mode::empty())?;
    let (mut links, mut walked) = (0, PathBuf::new());
    while let Some(name) = names.pop_front() {
        let step = match openat(&dir, os(&name), STEP, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                match mkdirat(&dir, os(&name), Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(cause) => return Err(cause.into()),
                }
                openat(&dir, os(&name), STEP, Mode::empty())?
            }
            step => step?,
        };
        walked.push(os(&name));
        let stat = fstat(&step)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            dir = step;
            continue;
        }
        links += 1;
        if stat.st_uid != 0 {
            let why = format!("{} is a link of another user; name the folder that it leads to", walked.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let leads = readlinkat(&step, "", Vec::new())?;
        let leads = Path::new(os(leads.as_bytes()));
        if leads.is_absolute() {
            dir = openat(CWD, "/", FLAGS, Mode::empty())?;
        }
        for name in split(leads).into_iter().rev() {
            names.push_front(name);
        }
    }
    // What was walked so far is only good for walking on.
    Ok(openat(&dir, ".", FLAGS, Mode::empty())?)
}

/// The names of a path; `..` stays.
fn split(path: &Path) -> VecDeque<Vec<u8>> {
    let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    names.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}
