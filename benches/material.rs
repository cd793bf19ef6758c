//! What is backed up where no real files are given: the same bytes on every machine and in every run.

use std::fs;
use std::io;
use std::path::Path;

/// How long one of [`small_files`] is, on average.
pub const SMALL_FILE: usize = 2304;

/// Files in each directory of [`small_files`].
const PER_DIR: usize = 100;

/// Bytes that do not compress; another seed gives others.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// So many files of 512 to 4,095 bytes, every one different, a hundred in each directory.
pub fn small_files(dir: &Path, count: usize) -> io::Result<()> {
    for number in 0..count {
        let folder = dir.join(format!("{:03}/{:05}", number / PER_DIR / 100, number / PER_DIR));
        if number % PER_DIR == 0 {
            fs::create_dir_all(&folder)?;
        }
        let bytes = noise(number as u64, 4095);
        let len = 512 + usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % (2 * (SMALL_FILE - 512));
        fs::write(folder.join(format!("{number:07}.dat")), &bytes[..len])?;
    }
    Ok(())
}
