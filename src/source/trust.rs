//! How far a file system's word goes about its files.
//!
//! What a file system says of a file is the kernel's own evidence only where the kernel keeps the file system: there an
//! inode number is given to one file at a time, and nobody but the kernel's clock sets the time of the last change. A
//! file system that is kept elsewhere (by a program, or by another machine) passes on what it likes, and one that has no
//! room for a number or a time makes it up. What is not known is not trusted.

use super::sys;
use std::path::Path;

/// What the word of a file system is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Device, inode number, time of birth and time of the last change say which file something is, wherever it lies.
    Whole,
    /// They say whether what lies at a path is what lay there before, and no more.
    Place,
    /// Inode numbers are made up and may be others each time it is mounted; the time of the last change may be a copy of
    /// the modification time.
    Name,
}

/// File systems that the kernel keeps itself, with inode numbers, times of birth and times of change of their own.
const WHOLE: [u64; 6] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // btrfs
    0xF2F5_2010, // F2FS
    0x0102_1994, // tmpfs
    0x2FC1_2FC1, // ZFS
];

/// File systems whose inode numbers are made up when they are mounted, or may be.
const NAME: [u64; 3] = [
    0x4D44,      // FAT
    0x2011_BAB0, // exFAT
    0x6573_5546, // FUSE: whatever the program behind it likes
];

/// What may be believed of the file system on which `path` lies, if that is the device `dev` still.
pub fn trust(path: &Path, dev: u64) -> Trust {
    match sys::sort_of_file_system(path) {
        Ok((sort, asked)) if asked == dev && WHOLE.contains(&sort) => Trust::Whole,
        Ok((sort, asked)) if asked == dev && NAME.contains(&sort) => Trust::Name,
        _ => Trust::Place,
    }
}
