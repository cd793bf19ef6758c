//! Writing long runs of bytes past the page cache, where the drive allows it.
//!
//! What is written once and not read soon costs a copy in the page cache and pushes out what the user needs. Nothing else
//! changes: the same bytes lie in the same file, and they are durable when the file has been synced, not before. Where
//! such writes are not possible, nothing is written here and the caller writes the usual way.

use std::fs::File;
use std::io;

/// Writes the front of `bytes` at `offset` and says how much that was: all whole blocks, or nothing.
///
/// # Errors
/// What the file system says, unless that is that it does not do such a thing.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn write_front(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    linux::write_front(file, offset, bytes)
}

/// Writes nothing: this system is left to its cache.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn write_front(_: &File, _: u64, _: &[u8]) -> io::Result<usize> {
    Ok(0)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    /// Shorter runs are left to the page cache, in bytes.
    const LARGE: usize = 1 << 20;
    /// Memory, offsets and lengths are multiples of this, which satisfies every drive.
    const ALIGN: usize = 4096;
    /// As much is written at once, in bytes.
    const STAGE: usize = 4 << 20;

    thread_local! {
        static STAGING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    pub fn write_front(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() < LARGE || !offset.is_multiple_of(ALIGN as u64) {
            return Ok(0);
        }
        let flags = fcntl_getfl(file)?;
        if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
            return Ok(0);
        }
        let written = STAGING.with_borrow_mut(|staging| write_blocks(file, offset, staging, bytes));
        fcntl_setfl(file, flags)?;
        written
    }

    /// Writes whole blocks by way of an aligned buffer. After a short write the usual way goes on, and says what is wrong.
    fn write_blocks(file: &File, offset: u64, staging: &mut Vec<u8>, bytes: &[u8]) -> io::Result<usize> {
        staging.resize(STAGE + ALIGN, 0);
        let start = staging.as_ptr().align_offset(ALIGN);
        let stage = &mut staging[start..start + STAGE];
        let mut written = 0;
        loop {
            let len = (bytes.len() - written).min(STAGE) / ALIGN * ALIGN;
            if len == 0 {
                return Ok(written);
            }
            stage[..len].copy_from_slice(&bytes[written..written + len]);
            match file.write_at(&stage[..len], offset + written as u64) {
                Ok(wrote) => {
                    written += wrote;
                    if wrote < len {
                        return Ok(written);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(written),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_written_so_is_there_and_the_rest_goes_the_usual_way() {
        // On a real drive if there is one: the system's temporary folder may be memory.
        let folder = std::env::current_dir().unwrap().join("target");
        let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
        let path = tempfile::Builder::new().tempfile_in(folder).unwrap();
        let bytes: Vec<u8> =
            (0..9_000_001_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for offset in [0, 4096, 5] {
            let file = File::options().write(true).truncate(true).open(path.path()).unwrap();
            let front = write_front(&file, offset, &bytes).unwrap();
            assert!(front.is_multiple_of(4096) && front <= bytes.len());
            assert!(offset != 5 || front == 0, "blocks only");
            file.write_all_at(&bytes[front..], offset + front as u64).unwrap();
            let mut read = Vec::new();
            File::open(path.path()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read[offset as usize..] == bytes[..]);
        }
        let file = File::options().write(true).open(path.path()).unwrap();
        assert_eq!(write_front(&file, 0, &bytes[..100]).unwrap(), 0, "short runs stay in the cache");
    }
}
