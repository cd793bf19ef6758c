//! The system's file calls, relative to a folder that is held open or, with [`rustix::fs::CWD`], by plain paths.
//!
//! Opening never waits and gives nothing but regular files: a pipe, a device or a folder that lies where a file should be is
//! told as [`NotAFile`]. A link counts as what it leads to, so that a pack may lie on another drive.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::FsItem;

/// What lies where a file should be is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotAFile(&'static str);

impl fmt::Display for NotAFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAFile {}

impl NotAFile {
    fn of(kind: FileType) -> Option<Self> {
        Some(Self(match kind {
            FileType::RegularFile => return None,
            FileType::Directory => "it is a folder and no file",
            FileType::Fifo => "it is a pipe and no file",
            FileType::Socket => "it is a socket and no file",
            FileType::CharacterDevice | FileType::BlockDevice => "it is a device and no file",
            FileType::Symlink => "it is a link that leads nowhere",
            _ => "it is no file",
        }))
    }

    /// Whether this is why something could not be opened.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }

    fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// Opens a regular file.
pub(super) fn open(dir: impl AsFd, path: &Path, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match openat(&dir, path, flags | OFlags::NONBLOCK, Mode::empty()) {
        // Another program has been promised to be asked before; that ends, whatever it answers.
        Err(Errno::AGAIN) if kind(&dir, path, AtFlags::empty()) == Some(FileType::RegularFile) => {
            openat(&dir, path, flags, Mode::empty())
        }
        opened => opened,
    };
    let other = match &opened {
        Ok(file) => NotAFile::of(FileType::from_raw_mode(fstat(file)?.st_mode)),
        // A folder that is to be written to; what only its own programs may open; a link to nothing.
        Err(Errno::ISDIR | Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP) => {
            kind(&dir, path, AtFlags::empty()).and_then(NotAFile::of)
        }
        Err(Errno::NOENT | Errno::LOOP) => {
            let is_link = |kind: &FileType| *kind == FileType::Symlink;
            kind(&dir, path, AtFlags::SYMLINK_NOFOLLOW).filter(is_link).and_then(NotAFile::of)
        }
        Err(_) => None,
    };
    match other {
        Some(other) => Err(other.into_error()),
        None => Ok(opened?.into()),
    }
}

fn kind(dir: impl AsFd, path: &Path, flags: AtFlags) -> Option<FileType> {
    statat(dir, path, flags).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// Makes a file that must not exist yet, for writing.
pub(super) fn create_new(dir: impl AsFd, path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(openat(dir, path, flags, Mode::from_raw_mode(0o666))?.into())
}

/// Opens a folder.
pub(super) fn open_dir(dir: impl AsFd, path: &Path) -> io::Result<File> {
    Ok(openat(dir, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into())
}

pub(super) fn create_dir(dir: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(mkdirat(dir, path, Mode::from_raw_mode(0o777))?)
}

pub(super) fn remove(dir: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(unlinkat(dir, path, AtFlags::empty())?)
}

/// Gives a file its name, in place of a file that has it.
pub(super) fn rename_over(from: (impl AsFd, &Path), to: (impl AsFd, &Path)) -> io::Result<()> {
    Ok(renameat(from.0, from.1, to.0, to.1)?)
}

/// Renames without replacing. Where the file system cannot promise that, a look at the name comes before; objects
/// are named by their content or drawn at random, so two writers of one name write the same bytes.
pub(super) fn rename_new(from: (impl AsFd, &Path), to: (impl AsFd, &Path)) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(&from.0, from.1, &to.0, to.1, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
    }
    match statat(&to.0, to.1, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::NOENT) => rename_over(from, to),
        Err(error) => Err(error.into()),
    }
}

/// What lies in a folder. Of what is neither file nor folder there are no bytes to be had.
pub(super) fn list(dir: impl AsFd, path: &Path) -> io::Result<Vec<FsItem>> {
    let folder = open_dir(dir, path)?;
    let mut items = Vec::new();
    for item in Dir::read_from(&folder)? {
        let item = item?;
        let Ok(name) = item.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let stat = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue, // renamed or removed meanwhile
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let followed = (kind == FileType::Symlink).then(|| statat(&folder, name, AtFlags::empty()).ok()).flatten();
        let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
        let file = followed.or(Some(stat)).filter(|stat| is_file(stat.st_mode));
        let len = file.map_or(0, |stat| stat.st_size as u64);
        items.push(FsItem { name: name.to_owned(), is_dir: kind == FileType::Directory, len });
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    fn why(path: &Path) -> String {
        let error = open(CWD, path, OFlags::RDONLY).expect_err("it is no file");
        assert!(NotAFile::is(&error), "{error}");
        error.to_string()
    }

    /// A pipe in the place of an object was waited for without end.
    #[test]
    fn only_a_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
        std::fs::create_dir(at("folder")).expect("a folder");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).expect("a link");
        link("/dev/null", "device");
        link("nowhere", "dangling");
        link("loop", "loop");
        link("folder", "to-folder");
        link("file", "to-file");
        std::fs::write(at("file"), "bytes").expect("a file");
        for (name, what) in [
            ("pipe", "a pipe"),
            ("folder", "a folder"),
            ("to-folder", "a folder"),
            ("socket", "a socket"),
            ("device", "a device"),
            ("dangling", "leads nowhere"),
            ("loop", "leads nowhere"),
        ] {
            assert!(why(&at(name)).contains(what), "{name}: {}", why(&at(name)));
        }
        for name in ["file", "to-file"] {
            open(CWD, &at(name), OFlags::RDONLY).expect(name);
        }
        let missing = open(CWD, &at("missing"), OFlags::RDONLY).expect_err("nothing is there");
        assert!(missing.kind() == io::ErrorKind::NotFound && !NotAFile::is(&missing));

        let listed = list(CWD, dir.path()).expect("a listing");
        let of = |name: &str| {
            listed.iter().find(|item| item.name == name).map(|item| (item.is_dir, item.len)).expect("it is listed")
        };
        assert_eq!((of("file"), of("to-file"), of("folder")), ((false, 5), (false, 5), (true, 0)));
        for name in ["pipe", "socket", "device", "dangling", "loop", "to-folder"] {
            assert_eq!(of(name), (false, 0), "{name}");
        }
    }
}
