//! What tells a file or folder from every other, also from a copy of it under the same path.
//!
//! | what is there | what counts |
//! |---|---|
//! | a file system with inode numbers and birth times of its own (ext4, XFS, btrfs, NTFS, APFS, tmpfs) | inode, birth time; of ext4, btrfs and ZFS the file system's own id as well |
//! | one that has no birth times (NFS, older ext) | inode, times of change of a file, path |
//! | one that makes inode numbers up (FAT, exFAT, FUSE) | birth time or time of change, in steps of 2 s, path |
//!
//! A copy is born later than what it is a copy of, and has another inode; no program sets either. A drive that is plugged in
//! again keeps both, whatever its device number is then; so do a snapshot of a btrfs or ZFS, which has another id. Only a copy of
//! a whole partition, bit for bit, is taken for what it is a copy of. Where birth times are lacking the path stands in; there a drive under another path counts as another
//! one, which costs time and nothing else.

use std::path::Path;
use std::time::UNIX_EPOCH;

/// Times on FAT come in such steps, in seconds; one that was just written is finer until the drive is plugged in again.
const COARSE: u128 = 2;

/// The identity of what has this path, if there is something.
pub(super) fn of(path: &Path) -> Option<Vec<u8>> {
    let meta = std::fs::metadata(path).ok()?;
    let born = meta.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok()).map(|born| born.as_nanos());
    let (inode, changed) = numbers(&meta);
    let system = system(path);
    let inode = inode.filter(|_| !system.makes_numbers_up);
    if let (Some(inode), Some(born)) = (inode, born) {
        return Some(parts(&[b"born", &system.id.to_le_bytes(), &inode.to_le_bytes(), &born.to_le_bytes()]));
    }
    let path = std::fs::canonicalize(path).ok()?;
    let time = match born {
        Some(born) => born / (COARSE * 1_000_000_000),
        // A folder changes whenever something is put into it.
        None if meta.is_dir() => 0,
        None => changed / COARSE,
    };
    let inode = inode.unwrap_or_default();
    Some(parts(&[b"path", &inode.to_le_bytes(), &time.to_le_bytes(), path.as_os_str().as_encoded_bytes()]))
}

/// Whether inode numbers last only as long as it is mounted on the file system that this lies on.
pub(super) fn makes_numbers_up(path: &Path) -> bool {
    system(path).makes_numbers_up
}

/// One run of bytes for each list.
fn parts(parts: &[&[u8]]) -> Vec<u8> {
    let each = parts.iter().flat_map(|part| [&(part.len() as u64).to_le_bytes()[..], part].concat());
    each.collect()
}

/// Inode, and when it last changed, in seconds.
#[cfg(unix)]
fn numbers(meta: &std::fs::Metadata) -> (Option<u64>, u128) {
    use std::os::unix::fs::MetadataExt;
    (Some(meta.ino()), u128::try_from(meta.ctime()).unwrap_or_default())
}

#[cfg(not(unix))]
fn numbers(_: &std::fs::Metadata) -> (Option<u64>, u128) {
    (None, 0)
}

/// What is to be known of a file system.
struct System {
    /// Inode numbers last only as long as it is mounted.
    makes_numbers_up: bool,
    /// Its id, where that is its own and not that of the device which it is on today; else 0.
    id: u64,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn system(path: &Path) -> System {
    const MADE_UP: [i64; 3] = [0x4D44, 0x2011_BAB0, 0x6573_5546]; // FAT, exFAT, FUSE
    const OWN_ID: [i64; 3] = [0xEF53, 0x9123_683E, 0x2FC1_2FC1]; // ext, btrfs, ZFS
    let Ok(found) = rustix::fs::statfs(path) else { return System { makes_numbers_up: true, id: 0 } };
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)] // it has another type on each kind of machine
    let kind = found.f_type as i64 & 0xFFFF_FFFF;
    let id = if OWN_ID.contains(&kind) { rustix::fs::statvfs(path).map_or(0, |found| found.f_fsid) } else { 0 };
    System { makes_numbers_up: MADE_UP.contains(&kind), id }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn system(_: &Path) -> System {
    System { makes_numbers_up: false, id: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_under_the_same_path_is_another_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, away) = (dir.path().join("archive"), dir.path().join("away"));
        let make = || {
            std::fs::create_dir(&path).expect("a folder");
            std::fs::write(path.join("header"), "the same").expect("a file");
            [of(&path), of(&path.join("header"))]
        };
        let first = make();
        assert!(first.iter().all(Option::is_some));
        std::fs::rename(&path, &away).expect("it is moved");
        let second = make();
        assert!(first[0] != second[0] && first[1] != second[1], "another folder, another file");
        std::fs::write(path.join("more"), "").expect("a file");
        assert_eq!(of(&path), second[0], "what is put into it makes no other of it");
        std::fs::remove_dir_all(&path).expect("it is removed");
        assert_eq!(of(&path), None);
        std::fs::rename(&away, &path).expect("it is moved back");
        assert_eq!([of(&path), of(&path.join("header"))], first, "and is what it was");
    }
}
