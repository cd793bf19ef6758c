//! Mending in memory: the bytes of a damaged object as they were, from what is left of it and its recovery data.
//!
//! Why it is safe: what leaves here hashes to the object's name. Nothing is written. One mended pack is kept, so that a
//! damaged pack is mended once for all of its chunks that are wanted, and a pack that cannot be mended is tried once.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use super::answering::is_unreadable;
use super::{Archive, MAX_PACK_LEN, MAX_PARITY_LEN, Notice};
use crate::error::{Error, Kind, Result};
use crate::format::names;
use crate::id::PackId;
use crate::parity::{self, Parity};
use crate::store::{Leftovers, Store};

/// A longer pack is read and mended again, rather than kept in memory, in bytes.
const MOST_KEPT: usize = 64 << 20;

/// Where an object cannot be read, it is read in pieces of this length, in bytes.
const PIECE: usize = 256 << 10;
/// And where such a piece cannot be, in these: what a drive loses at least.
const SECTOR: usize = 4096;
/// After so many of them that cannot be read, a piece is not looked into any more: a drive tries each for seconds.
const MOST_SECTORS: usize = 512;

/// What the drive gives of an object: its bytes, with zeros for those that cannot be read, and why they cannot.
///
/// # Errors
/// Missing, damaged if it is longer than `limit`, or the store's error.
pub fn readable(store: &dyn Store, name: &str, limit: u64) -> Result<(Vec<u8>, Option<Error>)> {
    let why = match store.get(name, limit) {
        Err(error) if is_unreadable(&error) => error,
        read => return Ok((read?, None)),
    };
    let len = store.len(name)?.unwrap_or(0).min(limit);
    let mut bytes = vec![0; len as usize];
    let mut lost = 0;
    for (number, piece) in bytes.chunks_mut(PIECE).enumerate() {
        let offset = (number * PIECE) as u64;
        if fill(store, name, offset, piece)? {
            continue;
        }
        for (number, sector) in piece.chunks_mut(SECTOR).enumerate() {
            if lost >= MOST_SECTORS || !fill(store, name, offset + (number * SECTOR) as u64, sector)? {
                sector.fill(0);
                lost += 1;
            }
        }
    }
    Ok((bytes, Some(why)))
}

/// Reads a piece of an object, if it can be read.
fn fill(store: &dyn Store, name: &str, offset: u64, piece: &mut [u8]) -> Result<bool> {
    match store.read_range(name, offset, piece) {
        Err(error) if error.kind() == Kind::Damaged => Ok(false),
        read => read.map(|()| true),
    }
}

/// An object as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Its bytes; their hash is its name.
    pub bytes: Vec<u8>,
    /// Whether they lie so under its name.
    pub whole: bool,
    /// How many of them were made anew.
    pub anew: u64,
}

/// The object of this name, whose bytes hash to `id`, as it was: from its own bytes, or those of a copy in quarantine, or
/// none at all, and its recovery data.
///
/// # Errors
/// [`Kind::Damaged`] if it cannot be mended, or the store's error.
pub fn restored(store: &dyn Store, name: &str, id: &[u8; 32], limit: u64) -> Result<Restored> {
    let mut left = vec![name.to_owned()];
    left.extend(quarantined(store, name)?);
    // One after the other, since each may be as long as a pack can be.
    let mut remains = Vec::with_capacity(left.len());
    for (number, name) in left.into_iter().enumerate() {
        match readable(store, &name, limit) {
            Ok((bytes, unread)) if blake3::hash(&bytes).as_bytes() == id => {
                return Ok(Restored { bytes, whole: number == 0 && unread.is_none(), anew: 0 });
            }
            Ok((bytes, _)) => remains.push((name, (number == 0 && bytes.len() <= MOST_KEPT).then_some(bytes))),
            Err(error) if matches!(error.kind(), Kind::Missing | Kind::Damaged) => {}
            Err(error) => return Err(error),
        }
    }
    let doing = || format!("mending {name}");
    let parity = readable(store, &names::parity(id), MAX_PARITY_LEN).and_then(|(bytes, _)| Parity::from_bytes(&bytes));
    let parity = parity.map_err(|error| match error.kind() {
        Kind::Missing | Kind::Unsupported => Error::new(Kind::Damaged, doing(), error.to_string()),
        _ => error.within(doing()),
    })?;
    let mut trouble = None;
    // As much parity as data makes the whole object of nothing.
    let nothing = std::iter::once((String::new(), Some(Vec::new())));
    for (name, kept) in remains.into_iter().chain(nothing) {
        let bytes = match kept.map_or_else(|| readable(store, &name, limit).map(|(bytes, _)| bytes), Ok) {
            Err(error) if matches!(error.kind(), Kind::Missing | Kind::Damaged) => continue,
            bytes => bytes?,
        };
        match parity::mend(bytes, &parity) {
            Ok(mended) if blake3::hash(&mended.bytes).as_bytes() == id => {
                let anew = mended.repaired.iter().map(|range| range.end - range.start).sum();
                return Ok(Restored { bytes: mended.bytes, whole: false, anew });
            }
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Damaged => trouble = trouble.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let other = || Error::new(Kind::Damaged, doing(), "its recovery data is of something else");
    Err(trouble.map_or_else(other, |error| error.within(doing())))
}

/// What was set aside of the object of this name.
pub(super) fn quarantined(store: &dyn Store, name: &str) -> Result<Vec<String>> {
    let place = names::quarantine(name);
    let folder = place.rsplit_once('/').map_or(names::QUARANTINE, |(folder, _)| folder);
    let numbered =
        |found: &str| found.strip_prefix(&place).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let found = store.list(folder, Leftovers::Leave)?;
    Ok(found.into_iter().map(|object| object.name).filter(|found| numbered(found)).collect())
}

/// What was mended, and what need not be tried again.
#[derive(Default)]
pub(super) struct Mender {
    kept: Option<(PackId, Arc<Vec<u8>>)>,
    hopeless: HashSet<PackId>,
    told: HashSet<String>,
}

impl Archive {
    /// A pack as it was, unless it is whole or cannot be mended: then there is nothing more in it than was found.
    ///
    /// # Errors
    /// The store's error.
    pub(super) fn mended_pack(&self, id: &PackId) -> Result<Option<Arc<Vec<u8>>>> {
        let mut mender = self.mender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = mender.kept.as_ref().filter(|(kept, _)| kept == id) {
            return Ok(Some(bytes.clone()));
        }
        if mender.hopeless.contains(id) {
            return Ok(None);
        }
        let name = names::pack(id);
        match restored(&**self.store(), &name, id.as_bytes(), MAX_PACK_LEN) {
            Ok(Restored { whole: true, .. }) => {}
            Ok(Restored { bytes, anew, .. }) => {
                let bytes = Arc::new(bytes);
                if bytes.len() <= MOST_KEPT {
                    mender.kept = Some((*id, bytes.clone()));
                }
                drop(mender);
                self.tell_mended(&name, anew);
                return Ok(Some(bytes));
            }
            Err(error) if error.kind() == Kind::Damaged => {}
            Err(error) => return Err(error),
        }
        mender.hopeless.insert(*id);
        Ok(None)
    }

    /// Forgets what could not be mended, once something was repaired.
    pub(super) fn forget_mended(&self) {
        let mut mender = self.mender.lock().unwrap_or_else(PoisonError::into_inner);
        mender.kept = None;
        mender.hopeless.clear();
    }

    /// Tells once of each object that it was mended.
    pub(super) fn tell_mended(&self, object: &str, bytes: u64) {
        let first = self.mender.lock().unwrap_or_else(PoisonError::into_inner).told.insert(object.to_owned());
        if first {
            self.notify(Notice::Mended { object: object.to_owned(), bytes });
        }
    }
}
