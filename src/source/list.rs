//! Short files that somebody wrote by hand or another program made: patterns, names, a configuration.
//!
//! Reading one never waits and always ends: a named pipe to which nobody writes, a terminal or an endless device under its
//! name is an error. A pipe that is open already, as a shell hands it over, is waited for; that is how it is meant.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Where the system shows what a program has open already.
const OPEN_ALREADY: [&str; 4] = ["/dev/stdin", "/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"];

/// The bytes of a short file of at most so many; of a device only if there are none in it.
///
/// # Errors
/// If it cannot be read, is longer, or is nothing that ends.
pub fn read_list(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if OPEN_ALREADY.iter().any(|open| path.starts_with(open)) {
        return read_at_most(File::open(path)?, most);
    }
    // Opening a pipe waits otherwise until somebody writes to it.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let sort = file.metadata()?.file_type();
    if sort.is_fifo() {
        return Err(io::Error::other("it is a named pipe and not a file"));
    }
    if sort.is_file() || sort.is_dir() {
        return read_at_most(file, most);
    }
    let is_device = || io::Error::other("it is a device and not a file");
    match read_at_most(file, 0) {
        Ok(nothing) if sort.is_char_device() => Ok(nothing),
        _ => Err(is_device()),
    }
}

/// All bytes up to the end, if these are no more than `most`.
///
/// # Errors
/// If it cannot be read, or there are more.
pub fn read_at_most(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is too long: more than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration that was a pipe kept every command waiting for ever, and one that was a device filled the memory.
    #[test]
    fn what_does_not_end_is_refused_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        for path in
            [pipe.as_path(), Path::new("/dev/zero"), Path::new("/dev/tty"), Path::new("/dev/random"), dir.path()]
        {
            read_list(path, 1 << 20).expect_err(&path.display().to_string());
        }
        assert_eq!(read_list(Path::new("/dev/null"), 0).expect("nothing"), b"");
        let file = dir.path().join("list");
        std::fs::write(&file, "abc").expect("written");
        assert_eq!(read_list(&file, 3).expect("three bytes"), b"abc");
        assert!(read_list(&file, 2).expect_err("it is longer").to_string().contains("too long"));
    }
}
