//! How far a file system's word goes about its files.
//!
//! What a file system says of a file is the kernel's own evidence only where the kernel keeps the file system: there an
//! inode number is given to one file at a time, and nobody but the kernel's clock sets the time of the last change. A
//! file system that is kept elsewhere (by a program, or by another machine) passes on what it likes, and one that has no
//! room for a number or a time makes it up. What is not known is not trusted. All that depends on the sort of a file system is
//! said in one table here.

use super::sys;
use std::os::fd::BorrowedFd;
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
    /// Nothing that they say tells one file from another: an image that is made whole has whatever numbers and times its maker
    /// wrote, and of what is not known nobody can say.
    Never,
}

/// What becomes of the inode numbers of a file system when it is mounted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// They stay as they were.
    Stay,
    /// They may be others: then another number says that something must be read, and nothing more.
    MayDiffer,
}

/// Whose clock the times of files are by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clock {
    /// This machine's.
    Own,
    /// Another machine's, or nobody knows.
    Other,
}

/// The numbers that Linux gives to sorts of file systems, and what is known of each.
const SORTS: [(u64, Trust, Numbers, Clock); 24] = {
    use Clock::*;
    use Numbers::*;
    use Trust::*;
    [
        // The kernel keeps them itself, with inode numbers, times of birth and times of change of their own.
        (0xEF53, Whole, Stay, Own),      // ext2, ext3, ext4
        (0x5846_5342, Whole, Stay, Own), // XFS
        (0x9123_683E, Whole, Stay, Own), // btrfs
        (0xF2F5_2010, Whole, Stay, Own), // F2FS
        (0x0102_1994, Whole, Stay, Own), // tmpfs
        (0x2FC1_2FC1, Whole, Stay, Own), // ZFS
        // Numbers are made up as files are met.
        (0x4D44, Name, MayDiffer, Own),        // FAT
        (0x2011_BAB0, Name, MayDiffer, Own),   // exFAT
        (0x6573_5546, Name, MayDiffer, Other), // FUSE: whatever the program behind it likes
        // The kernel keeps them for what another system wrote.
        (0x7366_746E, Place, Stay, Own), // NTFS
        (0x482B, Place, Stay, Own),      // HFS+
        // It keeps them itself; nobody has tried here how they do.
        (0x3153_464A, Place, Stay, Own), // JFS
        (0x5265_4973, Place, Stay, Own), // ReiserFS
        (0xCA45_1A4E, Place, Stay, Own), // bcachefs
        (0xF15F, Place, Stay, Own),      // eCryptfs, above another one
        // Files come from two file systems, and what is changed is this kernel's.
        (0x794C_7630, Place, Stay, Own), // overlay
        // Another machine gives them, or the kernel where that machine has none.
        (0x6969, Place, MayDiffer, Other), // NFS
        (0x517B, Place, MayDiffer, Other), // SMB, in three generations
        (0xFF53_4D42, Place, MayDiffer, Other),
        (0xFE53_4D42, Place, MayDiffer, Other),
        (0x0102_1997, Place, MayDiffer, Other), // 9p
        (0x00C3_6400, Place, Stay, Other),      // Ceph
        (0x0116_1970, Place, Stay, Other),      // GFS2
        (0x7461_636F, Place, Stay, Other),      // OCFS2
    ]
};

/// What is known of a sort of file system.
fn known(sort: u64) -> (Trust, Numbers, Clock) {
    let found = SORTS.iter().find(|(known, ..)| *known == sort);
    found.map_or((Trust::Never, Numbers::Stay, Clock::Other), |(_, trust, numbers, clock)| (*trust, *numbers, *clock))
}

/// What may be believed of the file system on which `path` lies, if that is the device `dev` still, and whose times it has.
pub fn trust(path: &Path, dev: u64) -> (Trust, Clock) {
    match sys::sort_of_file_system(path) {
        Ok((sort, asked)) if asked == dev => {
            let (trust, _, clock) = known(sort);
            (trust, clock)
        }
        _ => (Trust::Never, Clock::Other),
    }
}

/// Whether inode numbers may be others after the next mount where this lies, so that another one is no sign of another device.
pub(super) fn makes_numbers_up(dir: BorrowedFd<'_>) -> bool {
    sys::sort_of(dir).is_ok_and(|sort| known(sort).1 == Numbers::MayDiffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one table called the same for ever, another called made up.
    #[test]
    fn only_numbers_that_stay_are_believed_wherever_a_file_lies() {
        for (sort, trust, numbers, clock) in SORTS {
            assert_eq!(SORTS.iter().filter(|(other, ..)| *other == sort).count(), 1, "{sort:x}");
            assert!(trust != Trust::Whole || (numbers, clock) == (Numbers::Stay, Clock::Own), "{sort:x}");
            assert!(trust != Trust::Name || numbers == Numbers::MayDiffer, "{sort:x}");
            assert_eq!(known(sort), (trust, numbers, clock));
        }
        let unknown = known(0x1234_5678);
        assert_eq!((unknown.0, unknown.2), (Trust::Never, Clock::Other), "what is not known is not trusted");
    }
}
