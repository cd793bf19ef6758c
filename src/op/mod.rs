//! What the commands do: one file for each. Nothing here prints; what happens on the way is told to an [`Observer`], and
//! what came of it is returned.

mod backup;
mod capture;
mod diff;
mod duplicates;
mod file;
mod folders;
mod has;
mod here;
mod repair;
mod reread;
mod restore;
mod sources;
mod squeeze;
mod status;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use backup::{Backup, BackupOptions, Kept, backup, source_path};
pub use diff::{Diff, diff};
pub use duplicates::{Doubled, Duplicates, duplicates};
pub use has::{Finding, Has, Verdict, has};
pub use repair::{Remedy, Repair, RepairOptions, repair};
pub use reread::{Decayed, Reread, RereadOptions, reread};
pub use restore::{NoRoom, Overwrite, Restore, RestoreOptions, Selection, restore};
pub use sources::{Speaker, bring_source_back, rename_source, retire_source};
pub use squeeze::{Squeeze, SqueezeOptions, squeeze};
pub use status::{Litter, Status, VERIFIED_DAYS, Verified, missing_snapshots, quarantined, sizes, status};
pub use verify::{
    AffectedFile, Damage, GoneRecord, LostChunk, Record, Share, Verify, VerifyOptions, WrongFile, distinct_files,
    verify,
};

use crate::error::{Error, Result};
use crate::source::Unseen;

/// Something that happened on the way. Counts are of files and bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So much of the source has been seen so far.
    Scanned {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The drive of the archive has fewer bytes free than there are in new and changed files. It may do all the same: what
    /// the archive has already takes no room.
    ScarceRoom {
        /// Bytes that are free.
        free: u64,
        /// Bytes that may come.
        coming: u64,
    },
    /// What lies ahead of the next phase in all.
    Begin {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// So much more of that has been done.
    Advance {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// An entry was dealt with.
    Item {
        /// What was done with it.
        action: Action,
        /// Its path at the source, or at the target of a restore.
        path: &'a Path,
        /// Its bytes.
        size: u64,
    },
    /// An entry could not be read or restored; the work goes on.
    Trouble {
        /// Its path.
        path: &'a Path,
        /// Why.
        why: &'a str,
    },
    /// Everything is read; what is left is being made durable.
    Finishing,
}

/// What was done with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The previous snapshot did not have it.
    New,
    /// It differs from the previous snapshot.
    Changed,
    /// The previous snapshot had it under another name.
    Moved,
    /// It is as it was.
    Unchanged,
    /// The previous snapshot had it, and it is no longer in the source.
    Gone,
    /// It is there and was not read, so the snapshot has it as an earlier one has it.
    Carried(Unseen),
    /// It is a socket or device and was passed over.
    PassedOver,
    /// It was written.
    Restored,
    /// It is there already, just as it would be written.
    Present,
    /// Something is there already and was left.
    Left,
}

/// Hears what happens, from any thread.
pub trait Observer: Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);

    /// Set once the user wants to stop.
    fn stop(&self) -> &AtomicBool;
}

/// Passes the user's wish to stop on, and nothing else.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn event(&self, _: Event<'_>) {}

    fn stop(&self) -> &AtomicBool {
        self.0.stop()
    }
}

/// Unwinds once the user wants to stop.
fn check_stop(observer: &dyn Observer) -> Result<()> {
    if observer.stop().load(Ordering::Relaxed) { Err(Error::interrupted()) } else { Ok(()) }
}
