//! Making an archive, and finishing what a power cut left of making one.
//!
//! There is an archive from the moment on at which one copy of its header is whole. Before, what is there is nobody's, and
//! making one again takes its place. Afterwards the first writer that is alone makes the other copy. So nobody has to tidy up
//! by hand, and nothing that might be somebody's is touched: a header that is damaged, in a place that holds any other
//! object, is an archive that needs a repair.

use std::collections::HashMap;

use super::aside::put_over;
use super::{Archive, Parameters, header};
use crate::error::{Error, Kind, Result};
use crate::format::{Header, names};
use crate::id::{ArchiveId, PackId};
use crate::store::{Leftovers, Put, Store};

const README: &str = include_str!("README.txt");

impl Archive {
    /// Makes a new archive in an empty store, or where a power cut left one half made.
    ///
    /// # Errors
    /// [`Kind::Exists`] if there is an archive already, or the store's error.
    pub fn create(store: &dyn Store, parameters: &Parameters, created: i64) -> Result<ArchiveId> {
        let exists = |why: &str| Error::new(Kind::Exists, format!("making an archive in {}", store.place()), why);
        if let Some(why) = is_taken(store)? {
            return Err(exists(why));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::new(Kind::Internal, "drawing a random number", error.to_string()))?;
        let archive = ArchiveId::from_bytes(id);
        let Parameters { chunker, pack_size, parity_permille } = *parameters;
        let header = Header { archive, created, chunker, pack_size, parity_permille };
        store.make_place()?;
        put_readme(store, &readme(&header))?;
        let [first, copy] = names::HEADERS;
        for name in [copy, first] {
            if store.put_new(name, &[&header.encode()])? == Put::Existed {
                return Err(exists("another process is making one"));
            }
        }
        Ok(archive)
    }

    /// Makes the copy of the header that a power cut kept from being made: one that is missing, or empty as FAT leaves it. Whether
    /// there was one. Nobody else may be writing.
    pub(super) fn complete(&self) -> Result<bool> {
        let (store, header) = (self.store(), self.header().encode());
        let mut lacked = false;
        for name in names::HEADERS {
            match store.len(name)? {
                None => drop(store.put_new(name, &[&header])?),
                Some(0) => put_over(&**store, name, &header)?,
                Some(_) => continue,
            }
            lacked = true;
        }
        Ok(lacked)
    }

    /// Removes what interrupted writes left, and lists the packs. Nobody else may be writing.
    pub(super) fn sweep(&self) -> Result<HashMap<PackId, u64>> {
        for place in names::PLACES {
            self.store().list(place, Leftovers::Remove)?;
        }
        self.present_packs(Leftovers::Remove)
    }
}

/// What is there, if it is an archive, or may be what is left of one whose headers are lost. Half a header and nothing else is
/// none, and is removed.
fn is_taken(store: &dyn Store) -> Result<Option<&'static str>> {
    let mut halves = Vec::new();
    for name in names::HEADERS {
        match store.get(name, header::LONGEST).and_then(|bytes| Header::salvage(&[&bytes])) {
            Err(error) if error.kind() == Kind::Missing => {}
            Err(error) if error.kind() == Kind::Damaged => halves.push(name),
            Err(error) if error.kind() != Kind::Unsupported => return Err(error),
            _ => return Ok(Some("there is an archive already")),
        }
    }
    let folders = names::PLACES.into_iter().filter(|place| !place.is_empty());
    for folder in folders.chain([names::PACKS]) {
        if !store.list(folder, Leftovers::Leave)?.is_empty() {
            return Ok(Some(
                "there are parts of an archive already, and no header; choose another folder, or take them away",
            ));
        }
    }
    halves.into_iter().try_for_each(|name| store.delete(name))?;
    Ok(None)
}

/// Puts the text for whoever finds the archive, but not over somebody else's. One that a power cut left of another beginning
/// says what another header says.
fn put_readme(store: &dyn Store, text: &str) -> Result<()> {
    match store.put_new(names::README, &[text.as_bytes()]) {
        Err(error) if error.kind() == Kind::Exists => match store.len(names::README)? {
            Some(0) => put_over(store, names::README, text.as_bytes()),
            _ => Ok(()),
        },
        Ok(Put::Existed) => {
            let found = store.get(names::README, text.len() as u64)?;
            let is_ours = found.starts_with(README.as_bytes()) && found != text.as_bytes();
            if is_ours { store.replace(names::README, &[text.as_bytes()]) } else { Ok(()) }
        }
        done => done.map(drop),
    }
}

/// The text, with what the header says as its last line.
pub(super) fn readme(header: &Header) -> String {
    format!("{README}{}\n", header::line(header))
}
