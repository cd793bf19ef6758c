//! Which file systems are archives of this program that are mounted.
//!
//! The system is asked once, and an answer that cannot be had counts as "none": then a walk is as careful as it would be on
//! any other file system.

use std::collections::HashSet;

/// What the system calls the file system of an archive that `snap mount` shows: by its kind, or, where root mounted it, by
/// the name of what is mounted.
const MOUNTED_ARCHIVE: (&[u8], &[u8]) = (b"fuse.snapkeep", b"snapkeep");

/// The device numbers of archives that are mounted.
pub(super) fn mounted_archives() -> HashSet<u64> {
    std::fs::read("/proc/self/mountinfo").map(|table| archives_in(&table)).unwrap_or_default()
}

/// `36 35 0:51 / /mnt rw - fuse.snapkeep snapkeep rw`
fn archives_in(table: &[u8]) -> HashSet<u64> {
    let device = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = std::str::from_utf8(fields.nth(2)?).ok()?;
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, what) = (rest.next()?, rest.next()?);
        let is_ours = kind == MOUNTED_ARCHIVE.0 || (kind == b"fuse" && what == MOUNTED_ARCHIVE.1);
        let (major, minor) = device.split_once(':').filter(|_| is_ours)?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    table.split(|byte| *byte == b'\n').filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_other_mounts() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            36 22 0:51 / /home/a/Look\\040here rw,nosuid shared:7 master:2 - fuse.snapkeep snapkeep rw,user_id=0\n\
            42 27 0:39 / /m ro,nosuid - fuse snapkeep ro,user_id=0\n44 27 0:40 / /m ro - ext4 snapkeep rw\n\
            37 22 0:52 / /mnt rw - fuse.sshfs - fuse.snapkeep rw\nbroken\n\n36 22 x:y / /m rw - fuse.snapkeep a b\n";
        assert_eq!(archives_in(table), HashSet::from([rustix::fs::makedev(0, 51), rustix::fs::makedev(0, 39)]));
    }
}
