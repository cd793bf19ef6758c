//! What is in an archive and what it takes, without reading a pack.

use super::verify::now;
use crate::archive::{Archive, Sizes};
use crate::error::Result;
use crate::format::{Time, names};
use crate::id::{ArchiveId, SnapshotId};
use crate::store::Leftovers;

/// How long reading a pack counts as recent, in days.
pub const VERIFIED_DAYS: u64 = 90;

/// How much was verified when, on this computer: bytes of packs that were read and right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// In the last [`VERIFIED_DAYS`].
    pub recent: u64,
    /// At no time.
    pub never: u64,
    /// When the pack that was not read for longest was read, of those that ever were.
    pub oldest: Option<Time>,
}

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
    /// How much of its packs was verified when.
    pub verified: Verified,
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
    let present = archive.present_packs(Leftovers::Leave)?;
    let (known, mut verified) = (archive.verified(), Verified::default());
    let recently = now() - VERIFIED_DAYS as i64 * 86_400;
    let mut oldest: Option<i64> = None;
    for (id, len) in &present {
        match known.get(id) {
            Some(time) => {
                verified.recent += if *time >= recently { *len } else { 0 };
                oldest = Some(oldest.map_or(*time, |oldest| oldest.min(*time)));
            }
            None => verified.never += len,
        }
    }
    verified.oldest = oldest.map(|secs| Time { secs, nanos: 0 });
    Ok(Status {
        archive: archive.header().archive,
        place: archive.store().place(),
        snapshots: snapshots.len() as u64,
        newest: snapshots.last().map(|(id, snapshot)| (*id, snapshot.time)),
        packs: size(names::PACKS)?,
        parity: size(names::PARITY)?,
        sizes,
        verified,
    })
}
