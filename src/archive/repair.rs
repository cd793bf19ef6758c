//! Writing anew what is damaged.
//!
//! Why it is safe: the archive is held alone, and nothing is deleted. What is damaged is copied into quarantine before
//! anything takes its place or it is taken out of the way; chunks that were whole in it are durable in new packs before.
//! A crash leaves a copy too many, or an object that lies in quarantine only: mending looks there as well.

use super::answering::is_unreadable;
use super::aside::{free_place, move_aside, put_or_replace};
use super::create::readme;
use super::segments::put_segments;
use super::writer::{Writer, protect};
use super::{
    Archive, MAX_PACK_LEN, MAX_PARITY_LEN, Packing, frame_at, mend, put_parity, read_directory, rows_of, unpack_frame,
};
use crate::chunk::Chunk;
use crate::error::{Kind, Result};
use crate::format::{Hint, Mark, PackContent, SegmentPack, Snapshot, names, pack_content};
use crate::id::{PackId, SegmentId};
use crate::store::{Leftovers, Lock};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Writes anew what is damaged. Nobody else writes meanwhile.
pub struct Repairer<'a> {
    archive: &'a Archive,
    alone: Mutex<Vec<Lock>>,
}

/// What became of a damaged object before something takes its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// There is none.
    Nothing,
    /// A copy of it lies in quarantine, or it is whole.
    Copied,
    /// It cannot be copied, only moved.
    Unreadable,
}

/// Takes chunks that were lost and are found elsewhere, and frames of packs that are given up.
pub struct Rescue<'a> {
    archive: &'a Archive,
    writer: Writer<'a>,
}

impl Archive {
    /// Holds the archive alone, against those who store chunks anew as well, and sweeps what interrupted writes left.
    ///
    /// # Errors
    /// [`Kind::InUse`] while any other process writes to it, [`Kind::NoLocks`] where nobody can tell.
    pub fn repairer(&self) -> Result<Repairer<'_>> {
        let mut alone = Vec::new();
        let there = |name: &str| Ok(self.store().len(name)?.is_some());
        if !there(names::HEADERS[0])? && !there(names::HEADERS[1])? {
            // An archive is held by its header, and adding it takes nothing from anybody.
            self.store().put_new(names::HEADERS[0], &[&self.header().encode()])?;
        }
        for name in names::HEADERS {
            if self.store().len(name)?.is_some() {
                alone.push(self.hold_alone(name)?);
            }
        }
        self.sweep()?;
        Ok(Repairer { archive: self, alone: Mutex::new(alone) })
    }
}

impl<'a> Repairer<'a> {
    /// Gives this name to the bytes that belong to it. What was there is kept in quarantine.
    ///
    /// # Errors
    /// The store's error.
    pub fn put_in_place(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let store = &**self.archive.store();
        match self.keep(name, Some(bytes))? {
            Kept::Copied => store.replace(name, &[bytes])?,
            Kept::Unreadable => {
                move_aside(store, name)?;
                put_or_replace(store, name, bytes)?;
            }
            Kept::Nothing => put_or_replace(store, name, bytes)?,
        }
        if names::HEADERS.contains(&name) {
            // Others hold the archive by the file that has this name now. Whoever came in between only adds.
            match self.archive.try_to_hold(name) {
                Ok(lock) => self.alone.lock().unwrap_or_else(PoisonError::into_inner).push(lock),
                Err(error) if error.kind() == Kind::InUse => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the text for whoever finds the archive is lost or damaged. One that somebody has edited is left alone, and so
    /// is any while nobody knows by which header it should be made.
    ///
    /// # Errors
    /// The store's error.
    pub fn lacks_readme(archive: &Archive) -> Result<bool> {
        if archive.headers.disagreement().is_some() {
            return Ok(false);
        }
        let text = readme(archive.header());
        match archive.store().get(names::README, text.len() as u64) {
            Ok(found) => Ok(found.is_empty() || found.len() == text.len() && found != text.as_bytes()),
            Err(error) if error.kind() == Kind::Missing || is_unreadable(&error) => Ok(true),
            Err(error) if error.kind() == Kind::Damaged => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes that text anew.
    ///
    /// # Errors
    /// The store's error.
    pub fn remake_readme(&self) -> Result<()> {
        self.put_in_place(names::README, readme(self.archive.header()).as_bytes())
    }

    /// Moves an object into quarantine, unless it is a whole pack: the rescue of its chunks may have made it so.
    ///
    /// # Errors
    /// The store's error.
    pub fn set_aside(&self, name: &str) -> Result<()> {
        if let Some(id) = PackId::from_hex(names::last(name)).filter(|id| names::pack(id) == name) {
            let read = self.archive.store().get(name, MAX_PACK_LEN);
            if read.is_ok_and(|bytes| blake3::hash(&bytes).as_bytes() == id.as_bytes()) {
                return Ok(());
            }
        }
        let kept = self.keep(name, None)?;
        self.archive.index().start_over(); // before, so that it never says that something gone is there
        match kept {
            Kept::Nothing => Ok(()),
            Kept::Copied => self.archive.store().delete(name),
            Kept::Unreadable => move_aside(&**self.archive.store(), name),
        }
    }

    /// Copies what has this name into quarantine, unless it is whole or cannot be read.
    fn keep(&self, name: &str, whole: Option<&[u8]>) -> Result<Kept> {
        let store = self.archive.store();
        let bytes = match store.get(name, MAX_PARITY_LEN) {
            Err(error) if error.kind() == Kind::Missing => return Ok(Kept::Nothing),
            // It cannot be read, or it is longer than anything that belongs in an archive.
            Err(error) if error.kind() == Kind::Damaged => return Ok(Kept::Unreadable),
            read => read?,
        };
        if whole == Some(bytes.as_slice()) {
            return Ok(Kept::Copied);
        }
        for kept in mend::quarantined(&**store, name)? {
            let same = store.len(&kept)? == Some(bytes.len() as u64);
            if same && store.get(&kept, MAX_PARITY_LEN).is_ok_and(|kept| kept == bytes) {
                return Ok(Kept::Copied);
            }
        }
        store.put_new(&free_place(&**store, name)?, &[&bytes])?;
        Ok(Kept::Copied)
    }

    /// Hands on what is left of a pack: what has its name, and what lies in quarantine under it; one after the other.
    ///
    /// # Errors
    /// The store's error, or that of `each`.
    pub fn each_remains(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let store = &**self.archive.store();
        for name in std::iter::once(name.to_owned()).chain(mend::quarantined(store, name)?) {
            match mend::readable(store, &name, MAX_PACK_LEN) {
                Ok((bytes, _)) => each(&bytes)?,
                Err(error) if error.kind().is_of_an_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the recovery data of an object anew, from its bytes.
    ///
    /// # Errors
    /// The store's error.
    pub fn remake_parity(&self, id: &[u8; 32], bytes: &[u8]) -> Result<()> {
        let is_metadata = Snapshot::decode(bytes).is_ok() || Mark::decode(bytes).is_ok();
        let content = if is_metadata { PackContent::Metadata } else { pack_content(bytes)? };
        if self.keep(&names::parity(id), None)? == Kept::Unreadable {
            move_aside(&**self.archive.store(), &names::parity(id))?;
        }
        match self.archive.permille(content) {
            0 => Ok(()),
            permille => put_parity(&**self.archive.store(), id, bytes, permille).map(drop),
        }
    }

    /// Takes chunks in, into new packs. What only these packs hold counts as not held.
    ///
    /// # Errors
    /// The store's error.
    pub fn rescue(&self, given_up: &HashSet<PackId>) -> Result<Rescue<'a>> {
        self.archive.refresh()?;
        let mut present = self.archive.present_packs(Leftovers::Leave)?;
        present.retain(|id, _| !given_up.contains(id));
        let writer = Writer::among(self.archive, Packing::default(), None, present)?;
        Ok(Rescue { archive: self.archive, writer })
    }

    /// Sees to it that every pack is told of by a segment, and that segments tell of nothing else. The others are set aside.
    ///
    /// # Errors
    /// The store's error.
    pub fn retell(&self) -> Result<()> {
        let store = self.archive.store();
        let mut untold = std::collections::BTreeMap::new();
        for (id, len) in self.archive.present_packs(Leftovers::Leave)? {
            match read_directory(&**store, &id, len) {
                Ok(pack) => drop(untold.insert(id, pack)),
                Err(error) => self.archive.pass_over(names::pack(&id), error)?,
            }
        }
        let present = untold.clone();
        let mut wrong = Vec::new();
        for object in store.list(names::SEGMENTS, Leftovers::Leave)? {
            let id = SegmentId::from_hex(names::last(&object.name));
            let read = id.map(|id| self.archive.read_segment(&id));
            match read {
                Some(Ok(segment)) if segment.packs.iter().all(|pack| present.get(&pack.id) == Some(pack)) => {
                    segment.packs.iter().for_each(|pack| drop(untold.remove(&pack.id)));
                }
                Some(Err(error)) if !error.kind().is_of_an_object() => return Err(error),
                _ => wrong.push(object.name),
            }
        }
        for pack in untold.values() {
            store.confirm(&names::pack(&pack.id))?;
            protect(self.archive, pack)?;
        }
        put_segments(&**store, &untold.into_values().collect::<Vec<_>>())?;
        for name in wrong {
            self.set_aside(&name)?;
        }
        self.archive.forget_mended();
        self.archive.refresh()
    }
}

impl Rescue<'_> {
    /// Moves what is whole in a damaged pack over. `told` is what a segment says of it, if one does. Returns how many
    /// chunks that were.
    ///
    /// # Errors
    /// The store's error.
    pub fn frames(&self, id: &PackId, bytes: &[u8], told: Option<&SegmentPack>) -> Result<u64> {
        let check = || self.archive.check_stop();
        let mut moved = 0;
        for row in rows_of(id, bytes, told, &check)? {
            check()?;
            let frame = frame_at(bytes, &row).unwrap_or_default();
            if unpack_frame(row.frame.kind, &row.frame.id, frame).is_ok() {
                let stored = &frame[frame.len() - row.frame.stored_len as usize..];
                moved += u64::from(self.writer.add_unknown(row.frame, stored)?);
            }
        }
        Ok(moved)
    }

    /// Takes a chunk in, with what is known of its kind. Whether it was not held.
    ///
    /// # Errors
    /// The store's error.
    pub fn chunk(&self, chunk: &Chunk<'_>, hint: Hint) -> Result<bool> {
        self.writer.put(chunk, hint)
    }

    /// Makes all of it durable.
    ///
    /// # Errors
    /// The store's error.
    pub fn finish(self) -> Result<()> {
        self.writer.finish().map(drop)
    }
}
