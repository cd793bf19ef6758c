//! What is in an archive and what it takes, without reading a pack.

use std::collections::HashSet;

use super::verify::now;
use crate::archive::{Archive, DamageNote, MAX_PACK_LEN, Sizes, restored};
use crate::error::Result;
use crate::format::{Snapshot, Time, names};
use crate::id::{ArchiveId, PackId, SnapshotId};
use crate::store::{Leftovers, Object};

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

/// Objects that nothing needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Litter {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Litter {
    fn of<'o>(objects: impl Iterator<Item = &'o Object>) -> Self {
        objects.fold(Self::default(), |sum, object| Self { objects: sum.objects + 1, bytes: sum.bytes + object.len })
    }
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
    /// Damage that was found on this computer and has not been mended since.
    pub damage: Option<DamageNote>,
    /// What repairs have set aside.
    pub quarantine: Litter,
    /// What interrupted writes have left, or writes that are under way.
    pub unfinished: Litter,
    /// Recovery data of objects that are not there.
    pub orphans: Litter,
}

/// Looks at an archive.
///
/// # Errors
/// The store's error.
pub fn status(archive: &Archive) -> Result<Status> {
    let snapshots = archive.snapshots();
    let list = |folder: &str| archive.store().list(folder, Leftovers::Show);
    let (packs, parity) = (list(names::PACKS)?, list(names::PARITY)?);
    let (others, quarantine) = (
        list_all(archive, &[names::SEGMENTS, names::SNAPSHOTS, names::MARKS, names::DERIVED, ""])?,
        list(names::QUARANTINE)?,
    );
    let all = || packs.iter().chain(&parity).chain(&others).chain(&quarantine);
    let unfinished = Litter::of(all().filter(|object| is_unfinished(object)));
    let there: HashSet<&str> = packs.iter().chain(&others).map(|object| names::last(&object.name)).collect();
    let orphans = Litter::of(parity.iter().filter(|object| {
        let id = names::last(&object.name);
        PackId::from_hex(id).is_some() && !there.contains(id)
    }));
    let size =
        |objects: &[Object]| objects.iter().filter(|object| !is_unfinished(object)).map(|object| object.len).sum();
    let present = archive.present_packs(Leftovers::Leave)?;
    let (known, mut verified) = (archive.verified(), Verified::default());
    let recently = now() - VERIFIED_DAYS as i64 * 86_400;
    let damage = archive.damage_note();
    let damaged = |id: &PackId| damage.as_ref().is_some_and(|damage| damage.names.contains(&names::pack(id)));
    let mut oldest: Option<i64> = None;
    for (id, len) in &present {
        // What was right once and is damaged now was not verified.
        match known.get(id).filter(|_| !damaged(id)) {
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
        packs: size(&packs),
        parity: size(&parity),
        sizes: sizes(archive),
        verified,
        damage,
        quarantine: Litter::of(quarantine.iter()),
        unfinished,
        orphans,
    })
}

/// What repairs have set aside.
///
/// # Errors
/// The store's error.
pub fn quarantined(archive: &Archive) -> Result<Litter> {
    Ok(Litter::of(archive.store().list(names::QUARANTINE, Leftovers::Show)?.iter()))
}

/// How many snapshots are not there while their recovery data are. Each of those is read.
///
/// # Errors
/// The store's error.
pub fn missing_snapshots(archive: &Archive) -> Result<u64> {
    let store = archive.store();
    let mut missing = 0;
    for object in store.list(names::PARITY, Leftovers::Leave)? {
        let Some(id) = PackId::from_hex(names::last(&object.name)) else { continue };
        let name = names::snapshot(&SnapshotId::from_bytes(*id.as_bytes()));
        if store.len(&names::pack(&id))?.is_some() || store.len(&name)?.is_some() {
            continue;
        }
        match restored(&**store, &name, id.as_bytes(), MAX_PACK_LEN) {
            Ok(restored) => missing += u64::from(Snapshot::decode(&restored.bytes).is_ok()),
            Err(error) if error.kind().is_of_an_object() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// What all chunks of the archive add up to.
pub fn sizes(archive: &Archive) -> Sizes {
    let mut sizes = Sizes::default();
    archive.known_packs().iter().for_each(|pack| sizes += pack.sizes);
    sizes
}

fn list_all(archive: &Archive, folders: &[&str]) -> Result<Vec<Object>> {
    let mut all = Vec::new();
    for folder in folders {
        all.extend(archive.store().list(folder, Leftovers::Show)?);
    }
    Ok(all)
}

fn is_unfinished(object: &Object) -> bool {
    names::last(&object.name).starts_with('.')
}
