//! Whether what is to be written can fit, asked before anything is written.

use std::fmt;
use std::io;
use std::path::Path;

use super::plan::Plan;
use super::{Overwrite, RestoreOptions};
use crate::error::{Error, Kind, Result};
use crate::format::EntryKind;

/// So many times what is free may be written where a file system compresses, or where another one that may lies below it.
const COMPRESSED: u64 = 4;
/// Local file systems that store a byte in a byte: ext, XFS, tmpfs, FAT, exFAT, by the numbers that Linux gives them.
const PLAIN: [u64; 5] = [0xEF53, 0x5846_5342, 0x0102_1994, 0x4D44, 0x2011_BAB0];

/// What is to be written is more than there is room for. Found in the [`io::Error`] beneath an error of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// At least so many bytes are to be written.
    pub needed: u64,
    /// So many are free.
    pub free: u64,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are to be written, and {} are free there", self.needed, self.free)
    }
}

impl std::error::Error for NoRoom {}

/// An error if the target certainly has no room for all of it.
pub(super) fn check(plan: &Plan, options: &RestoreOptions) -> Result<()> {
    let Some((free, plain)) = free(&options.target) else { return Ok(()) };
    let most = if plain { free } else { free.saturating_mul(COMPRESSED) };
    // What is there already needs none, or only what it grows by; that is looked at only where it matters.
    let all = needed(plan, |_| 0);
    let there = |path: &Path| std::fs::symlink_metadata(path).map_or(0, |there| there.len());
    let stays = |path: &Path| std::fs::symlink_metadata(path).map_or(0, |_| u64::MAX);
    if all <= most || options.target.as_os_str().is_empty() {
        return Ok(());
    }
    let needed = needed(plan, |item| {
        let path = options.target.join(plan.path(item));
        if options.overwrite == Overwrite::Never { stays(&path) } else { there(&path) }
    });
    if needed <= most {
        return Ok(());
    }
    let cause = io::Error::new(io::ErrorKind::StorageFull, NoRoom { needed, free });
    Err(Error::caused(Kind::Target, format!("restoring to {}", options.target.display()), cause))
}

/// At least so many bytes are written, where so many of each file are there already. What has holes may need next to none.
fn needed(plan: &Plan, there: impl Fn(&super::plan::Item) -> u64) -> u64 {
    let whole = plan.files.iter().filter(|item| !matches!(item.entry.kind, EntryKind::File { sparse: true, .. }));
    whole.map(|item| item.size.saturating_sub(there(item))).fold(0, u64::saturating_add)
}

/// How many bytes are free where a path is or would be, and whether a byte takes a byte there; none if that is not known.
fn free(path: &Path) -> Option<(u64, bool)> {
    let whole = std::path::absolute(path).ok()?;
    let there = whole.ancestors().find(|path| path.exists())?;
    let (room, sort) = (rustix::fs::statvfs(there).ok()?, rustix::fs::statfs(there).ok()?);
    let blocks = if rustix::process::geteuid().is_root() { room.f_bfree } else { room.f_bavail };
    #[allow(clippy::unnecessary_cast)] // its width differs between platforms
    let plain = PLAIN.contains(&(sort.f_type as u64 & 0xFFFF_FFFF));
    (room.f_blocks > 0).then(|| (blocks.saturating_mul(room.f_frsize), plain))
}
