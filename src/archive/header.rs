//! The copies of the header: which of them counts, and what is done without any.
//!
//! Either is enough, and of either any part that is whole. Two whole ones that differ are never the archive's own doing; somebody
//! has put a file of another archive there. Nothing else in an archive tells which of them belongs to it, and a reader needs
//! neither, so reading goes on by the first, with a notice, and nothing is written until somebody has taken the wrong one away.
//!
//! Where both are lost, or so damaged that not even together they tell, reading goes on as well. The README says once more
//! what they said; without it the archive gets the usual parameters and an id that follows from what is in it, so that every
//! copy of it gets the same. Where there are packs and nothing else, there is no archive. That is no loss: ids of chunks and objects guard everything, parameters are for writers, and the
//! archive's own id only tells which index is about it. A repair writes them; until then nothing else is written.

use super::answering::is_of_the_medium;
use super::mend::restored;
use super::{MAX_SNAPSHOT_LEN, Notice, Notify, Parameters};
use crate::error::{Error, Kind, Result};
use crate::format::{HEADER_BLOCK_LEN, Header, Snapshot, names};
use crate::id::{ArchiveId, PackId, SnapshotId};
use crate::store::{Leftovers, Store};

/// A header or README that is longer is none of ours.
pub(super) const LONGEST: u64 = 1 << 16;
/// Of what an id is made where it is lost.
const LOST_CONTEXT: &str = "photo archive 2026 lost header";

/// What the headers say.
pub(super) struct Headers {
    /// The one that counts.
    pub(super) header: Header,
    /// The other copy, if it is whole and says something else.
    other: Option<Header>,
    /// Neither copy tells what it said.
    lost: bool,
    /// Objects that are always there.
    pub(super) signs: Vec<String>,
}

impl Headers {
    /// Reads what is whole, with a notice of what is not as it should be.
    ///
    /// # Errors
    /// [`Kind::NoArchive`] if there is none, or what both copies are.
    pub(super) fn read(store: &dyn Store, notify: &Notify) -> Result<Self> {
        let (mut found, mut faults, mut remains) = (Vec::new(), Vec::new(), Vec::new());
        for name in names::HEADERS {
            let bytes = store.get(name, LONGEST);
            match bytes.and_then(|bytes| salvaged(name, &bytes, &mut remains)) {
                Ok((header, damaged)) => {
                    if damaged {
                        notify(Notice::Mended { object: name.to_owned(), bytes: 0 });
                    }
                    found.push(header);
                }
                Err(error) => faults.push((name, error)),
            }
        }
        if found.is_empty() {
            let remains: Vec<&[u8]> = remains.iter().map(Vec::as_slice).collect();
            if let Ok(header) = Header::salvage(&remains) {
                faults.retain(|(_, error)| error.kind() == Kind::Missing);
                notify(Notice::Mended { object: names::HEADERS[0].to_owned(), bytes: 0 });
                found.push(header);
            }
        }
        let signs = names::HEADERS.map(str::to_owned).to_vec();
        if found.is_empty() {
            return Self::without(store, faults, notify);
        }
        for (name, error) in faults {
            notify(Notice::PassedOver(name.to_owned(), error.to_string()));
        }
        let header = found.swap_remove(0);
        let other = found.pop().filter(|other| *other != header);
        let headers = Self { header, other, lost: false, signs };
        if let Some(why) = headers.disagreement() {
            notify(Notice::PassedOver(names::HEADERS[1].to_owned(), why));
        }
        Ok(headers)
    }

    /// What serves where no copy tells anything.
    fn without(store: &dyn Store, faults: Vec<(&str, Error)>, notify: &Notify) -> Result<Self> {
        let place = || format!("opening the archive in {}", store.place());
        let none = || Error::new(Kind::NoArchive, place(), "there is none");
        // A newer archive is no damaged one, and a drive that fails says nothing of any file.
        let speaks = |error: &Error| match error.kind() {
            Kind::Damaged | Kind::Missing => false,
            Kind::Store => !is_of_the_medium(error),
            _ => true,
        };
        let known = known(store)?;
        if !is_an_archive(store, &known)? || faults.iter().any(|(_, error)| speaks(error)) {
            // The copy that is there says more than the one that is missing.
            let told = faults.into_iter().map(|(_, error)| error).find(|error| error.kind() != Kind::Missing);
            return Err(told.map_or_else(none, |error| error.within(place())));
        }
        for (name, error) in faults {
            notify(Notice::PassedOver(name.to_owned(), error.to_string()));
        }
        let header = match in_readme(store) {
            Some(header) => header,
            None => made_up(store, &known)?,
        };
        let mut signs: Vec<String> = names::HEADERS.map(str::to_owned).to_vec();
        signs.push(names::README.to_owned());
        signs.extend(known.into_iter().take(2));
        Ok(Self { header, other: None, lost: true, signs })
    }

    /// In what the copies differ, if they do.
    pub(super) fn disagreement(&self) -> Option<String> {
        let other = self.other.as_ref()?;
        let [first, copy] = names::HEADERS;
        Some(match other.archive == self.header.archive {
            true => format!("{first} and {copy} name the same archive with other parameters"),
            false => format!(
                "{first} is of the archive {} and {copy} of {}; one of them was put there by mistake",
                self.header.archive.to_hex(),
                other.archive.to_hex()
            ),
        })
    }

    /// Refuses to write where nobody knows by which header.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if the copies differ, or both are lost.
    pub(super) fn agree(&self) -> Result<()> {
        let [first, copy] = names::HEADERS;
        let why = match self.disagreement() {
            None if !self.lost => return Ok(()),
            None => format!("{first} and {copy} are lost; reading needs neither, and a repair makes both anew"),
            Some(why) => format!("{why}; take away the one that does not belong here, then repair makes it anew"),
        };
        Err(Error::new(Kind::Damaged, "writing to the archive", why))
    }
}

/// The header that this object tells, and whether some of it is damaged. What tells nothing by itself is kept.
fn salvaged(name: &str, bytes: &[u8], remains: &mut Vec<Vec<u8>>) -> Result<(Header, bool)> {
    match Header::salvage(&[bytes]) {
        Ok(header) => {
            let damaged = header.encode() != bytes;
            Ok((header, damaged))
        }
        Err(error) => {
            remains.push(bytes.to_vec());
            Err(error.within(format!("reading {name}")))
        }
    }
}

/// Objects that only an archive has: snapshots, or else packs; ascending.
fn known(store: &dyn Store) -> Result<Vec<String>> {
    for folder in [names::SNAPSHOTS, names::PACKS] {
        let mut found = store.list(folder, Leftovers::Leave)?;
        found.retain(|object| PackId::from_hex(names::last(&object.name)).is_some());
        if !found.is_empty() {
            return Ok(found.into_iter().map(|object| object.name).collect());
        }
    }
    Ok(Vec::new())
}

/// Whether what is there tells of an archive. Packs alone do not: a run that never came to an end may have left them, where a
/// drive should have been. So something must say that one did: a snapshot or recovery data of one, a segment, or the text.
fn is_an_archive(store: &dyn Store, known: &[String]) -> Result<bool> {
    let Some(first) = known.first() else { return Ok(false) };
    if first.starts_with(names::SNAPSHOTS) || in_readme(store).is_some() {
        return Ok(true);
    }
    if !store.list(names::SEGMENTS, Leftovers::Leave)?.is_empty() {
        return Ok(true);
    }
    for object in store.list(names::PARITY, Leftovers::Leave)? {
        let id = PackId::from_hex(names::last(&object.name)).filter(|id| !known.contains(&names::pack(id)));
        let Some(id) = id.filter(|_| object.len <= MAX_SNAPSHOT_LEN) else { continue };
        let name = names::snapshot(&SnapshotId::from_bytes(*id.as_bytes()));
        match restored(store, &name, id.as_bytes(), MAX_SNAPSHOT_LEN) {
            Ok(restored) if Snapshot::decode(&restored.bytes).is_ok() => return Ok(true),
            Err(error) if error.kind() == Kind::Store && !is_of_the_medium(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// The line of a README that says what the header says.
pub(super) fn line(header: &Header) -> String {
    header.encode_block().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the README says of the header.
fn in_readme(store: &dyn Store) -> Option<Header> {
    let text = store.get(names::README, LONGEST).ok()?;
    let block = |line: &[u8]| -> Option<Vec<u8>> {
        let line = std::str::from_utf8(line.trim_ascii()).ok().filter(|line| line.len() == 2 * HEADER_BLOCK_LEN)?;
        line.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
    };
    text.split(|byte| *byte == b'\n').filter_map(block).find_map(|block| Header::decode_block(&block).ok())
}

/// A header for an archive whose own is lost.
fn made_up(store: &dyn Store, known: &[String]) -> Result<Header> {
    let mut id = [0; 16];
    let first = known.first().map(String::as_str).unwrap_or_default();
    id.copy_from_slice(&blake3::derive_key(LOST_CONTEXT, first.as_bytes())[..16]);
    let mut created = None;
    for name in known.iter().filter(|name| name.starts_with(names::SNAPSHOTS)) {
        match store.get(name, MAX_SNAPSHOT_LEN).and_then(|bytes| Snapshot::decode(&bytes)) {
            Ok(snapshot) => {
                created = Some(created.map_or(snapshot.time.secs, |time: i64| time.min(snapshot.time.secs)))
            }
            Err(error) if error.kind() == Kind::Store && !is_of_the_medium(&error) => return Err(error),
            Err(_) => {}
        }
    }
    let Parameters { chunker, pack_size, parity_permille } = Parameters::default();
    let archive = ArchiveId::from_bytes(id);
    Ok(Header { archive, created: created.unwrap_or_default(), chunker, pack_size, parity_permille })
}
