//! What the format cannot hold is told when it is backed up, and never found out at a restore.

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use snapkeep::format::Tree;

use crate::common::{SMALL, TestArchive, restore_at};

#[test]
fn what_lies_too_deep_is_told_and_everything_above_is_restored() {
    let archive = TestArchive::new(&SMALL);
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut at = openat(CWD, archive.source(), flags, Mode::empty()).unwrap();
    // The source's own directory is the first, and one is too many.
    for _ in 0..Tree::MAX_DEPTH {
        let photo = openat(&at, "photo", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::io::write(&photo, b"deep").unwrap();
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    drop(at);
    let done = archive.try_backup().unwrap();
    assert_eq!(done.unread.len(), 1, "{:?}", done.unread);
    assert!(done.unread[0].why.contains("too deep"), "{:?}", done.unread);
    assert_eq!(done.summary.files, Tree::MAX_DEPTH as u64);

    let restored = restore_at(&archive.open(), done.id, &archive.beside("restored")).unwrap();
    assert!(restored.failed.is_empty(), "{:?}", restored.failed);
    assert_eq!((restored.files, restored.dirs), (Tree::MAX_DEPTH as u64, Tree::MAX_DEPTH as u64));
}
