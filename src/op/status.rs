//! What is in an archive and what it takes, without reading a pack.

use crate::archive::{Archive, Sizes};
use crate::error::Result;
use crate::format::{Time, names};
use crate::id::{ArchiveId, SnapshotId};
use crate::store::Leftovers;

/// An archive at a glance. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its id.
    pub archive: ArchiveId,
    /// Where it is.
    pub place: String,
    /// How many snapshots it holds.
    pub snapshots: u64,
    /// The newest of them, and when it was taken.
    pub newest: Option<(SnapshotId, Time)>,
    /// What its packs take.
    pub packs: u64,
    /// What its recovery data takes.
    pub parity: u64,
    /// What its chunks add up to.
    pub sizes: Sizes,
}

/// Looks at an archive.
///
/// # Errors
/// The store's error.
pub fn status(archive: &Archive) -> Result<Status> {
    let snapshots = archive.snapshots();
    let size = |folder: &str| -> Result<u64> {
        Ok(archive.store().list(folder, Leftovers::Leave)?.iter().map(|object| object.len).sum())
    };
    let mut sizes = Sizes::default();
    for pack in archive.known_packs() {
        sizes += pack.sizes;
    }
    Ok(Status {
        archive: archive.header().archive,
        place: archive.store().place(),
        snapshots: snapshots.len() as u64,
        newest: snapshots.last().map(|(id, snapshot)| (*id, snapshot.time)),
        packs: size(names::PACKS)?,
        parity: size(names::PARITY)?,
        sizes,
    })
}
