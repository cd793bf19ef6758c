//! What a writer believes of the packs that are there.
//!
//! A chunk counts as known only if the index names a pack that is there with the right length, and in which nothing
//! damaged has been met. What that is worth, since a segment or a directory on the drive may say anything, depends on
//! where the knowledge comes from:
//!
//! | what is known of a chunk | it counts for |
//! |---|---|
//! | a segment, or a directory when the index was filled, names a place of it | readers, who check what they read |
//! | all packs are there that were known when a snapshot was recorded here ([`Belief::holds_all_of`]) | its files, as they were |
//! | the same, and no zeros are seen in a block here and there ([`Belief::seems_to_have`]) | its files that have moved |
//! | the pack's own directory, read in this run, says the same | files of any snapshot that are not read now |
//! | the chunk itself was read here in this run, unpacked and hashed | everything |
//!
//! "Everything" is above all that bytes of the source are not stored again because they are known. Whoever was asked
//! to store them has read them, and lets go of them once they count; so they count only by what the archive gives
//! back, each chunk once in a run. A name, a length, a directory and the head of a frame are all right while
//! megabytes between them are zeros.
//!
//! After the index was lost, an unchanged source costs a look at the directories of its packs and no photo's bytes:
//! its chunks were there when its snapshot was committed. The packs that were written last, which a lost cache of a
//! drive hits, are looked at by each run. A pack that is not what it was is named, and what it had is stored anew
//! from the source.
//!
//! A pack that is gone is nothing of the kind as long as others have what it had: whoever stores chunks anew in a
//! better form removes it, at any time. So the index is asked again, and only what is found nowhere then is a loss.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::packs::look_at_ends;
use super::probe::Probes;
use super::{Archive, Location, Notice, PackInfo, read_directory, unpack_frame};
use crate::error::{Error, Kind, Result};
use crate::format::{Row, decode_frame_header, names};
use crate::id::{ChunkId, ChunkKind, PackId, SnapshotId};
use crate::store::Leftovers;

/// So many of the packs that were written last are looked at by each run: what a drive's cache holds, and some more.
const NEWEST: usize = 8;
/// In no more than so many stretches of packs a block is looked at in a run, for files that have moved.
const PROBES: usize = 2048;

/// What is believed, and why.
pub(super) struct Belief<'a> {
    archive: &'a Archive,
    /// Packs that count as there, with their lengths.
    present: Mutex<HashMap<PackId, u64>>,
    /// Whether packs may take the place of others meanwhile.
    renews: bool,
    /// Held while it is looked what took the place of a pack that is gone.
    renewing: Mutex<()>,
    /// Chunks that were read in this run and are what their names say.
    read: Mutex<HashSet<ChunkId>>,
    /// What the directories say that were read in this run; none of a pack whose directory is damaged.
    listed: Mutex<HashMap<PackId, Option<Arc<Listed>>>>,
    /// Packs that were told to be damaged.
    named: Mutex<HashSet<PackId>>,
    probes: Probes,
}

/// The rows of a directory, in short.
type Listed = HashSet<[u8; 16]>;

/// What a look at one place of a chunk came to.
enum Look {
    /// It counts.
    Right,
    /// It does not.
    Wrong,
    /// The pack is not there any more.
    Gone(Error),
}

impl<'a> Belief<'a> {
    /// These packs count. With `renews` so do others that take their place meanwhile.
    pub(super) fn new(archive: &'a Archive, present: HashMap<PackId, u64>, renews: bool) -> Self {
        Self {
            archive,
            present: Mutex::new(present),
            renews,
            renewing: Mutex::default(),
            read: Mutex::default(),
            listed: Mutex::default(),
            named: Mutex::default(),
            probes: Probes::new(PROBES),
        }
    }

    /// Looks at both ends of the packs that were written last.
    ///
    /// # Errors
    /// The store's error.
    pub(super) fn look_at_newest(&self) -> Result<()> {
        let newest = self.archive.known_packs().into_iter().rev().take(NEWEST);
        for pack in newest.filter(|pack| self.is_present(&pack.id, pack.len)) {
            match look_at_ends(&**self.archive.store(), &pack.id, pack.len) {
                // It was listed a moment ago: it was removed because all of it lies in others, or its chunks are
                // missed soon.
                Err(error) if error.kind() == Kind::Missing => self.renew(&pack.id)?,
                Err(error) if error.kind().is_of_an_object() => self.suspect(&pack.id, &error),
                looked => looked?,
            }
        }
        Ok(())
    }

    /// Whether the archive holds this chunk where a reader would find it, as surely as what a snapshot records already
    /// has to be known.
    ///
    /// # Errors
    /// The store's error.
    pub(super) fn knows(&self, id: &ChunkId) -> Result<bool> {
        self.at_a_place(id, &|place| match self.lists(place)? {
            Look::Wrong => self.reads(place.row.frame.kind, id, place),
            look => Ok(look),
        })
    }

    /// The same, so surely that these bytes need not be stored.
    ///
    /// # Errors
    /// The store's error.
    pub(super) fn has(&self, kind: ChunkKind, id: &ChunkId) -> Result<bool> {
        self.at_a_place(id, &|place| match place.row.frame.kind == kind {
            true => self.reads(kind, id, place),
            false => Ok(Look::Wrong),
        })
    }

    /// Whether a chunk that surely was stored once is where it was, as far as can be seen without reading it.
    ///
    /// # Errors
    /// The store's error.
    pub(super) fn seems_to_have(&self, id: &ChunkId) -> Result<bool> {
        self.at_a_place(id, &|place| match self.probes.see_zeros(&**self.archive.store(), place) {
            Ok(false) => Ok(Look::Right),
            // They may be its own.
            Ok(true) => self.reads(place.row.frame.kind, id, place),
            Err(error) => self.wrong_or_gone(place, error),
        })
    }

    /// Whether the archive holds all that a snapshot needs, without a look at each chunk: when it was recorded, the
    /// index knew where everything lies; it knows of the same packs still, all of them are there with the right
    /// length, and nothing damaged has been met.
    pub(super) fn holds_all_of(&self, snapshot: &SnapshotId) -> bool {
        let there = |pack: &PackInfo| self.is_present(&pack.id, pack.len);
        self.archive.index().knew_all_of(snapshot)
            && !self.archive.distrusts_any()
            && self.archive.known_packs().iter().all(there)
    }

    /// Whether a look at one of this chunk's places that can be counted on, as far as is known without reading, comes
    /// to that it is right.
    fn at_a_place(&self, id: &ChunkId, look: &dyn Fn(&Location) -> Result<Look>) -> Result<bool> {
        let mut gone: Vec<(PackId, Error)> = Vec::new();
        loop {
            let mut more = None;
            for place in self.archive.locate(id)? {
                if gone.iter().any(|(pack, _)| *pack == place.pack) || !self.counts(&place) {
                    continue;
                }
                match look(&place)? {
                    Look::Right => return Ok(true),
                    Look::Wrong => {}
                    Look::Gone(error) => more = Some((place.pack, error)),
                }
            }
            let Some((pack, error)) = more else { break };
            self.renew(&pack)?;
            gone.push((pack, error));
        }
        // Nothing took its place.
        gone.iter().for_each(|(pack, error)| self.doubt(pack, error));
        Ok(false)
    }

    fn is_present(&self, pack: &PackId, len: u64) -> bool {
        guard(&self.present).get(pack) == Some(&len)
    }

    fn counts(&self, place: &Location) -> bool {
        self.is_present(&place.pack, place.pack_len) && !self.archive.distrusts(&place.pack)
    }

    /// A pack is not there any more: others may have taken its place. What no segment tells of may not be durable yet.
    fn renew(&self, pack: &PackId) -> Result<()> {
        let _one_at_a_time = guard(&self.renewing);
        if guard(&self.present).remove(pack).is_none() || !self.renews {
            return Ok(());
        }
        self.archive.refresh()?;
        let there = self.archive.present_packs(Leftovers::Leave)?;
        let told = self.archive.known_packs().into_iter().filter(|info| !info.loose);
        guard(&self.present).extend(told.filter_map(|info| Some((info.id, *there.get(&info.id)?))));
        Ok(())
    }

    /// Whether the pack's own directory, which is read once in a run, says the same of this place. That of a pack in
    /// which damage was met is worth nothing.
    fn lists(&self, place: &Location) -> Result<Look> {
        if guard(&self.named).contains(&place.pack) {
            return Ok(Look::Wrong);
        }
        let known = guard(&self.listed).get(&place.pack).cloned();
        let rows = match known {
            Some(rows) => rows,
            // Others ask meanwhile, of this pack as well: it may be read twice, and nobody waits for the drive.
            None => {
                let rows = match read_directory(&**self.archive.store(), &place.pack, place.pack_len) {
                    Ok(pack) => Some(Arc::new(pack.rows.iter().map(in_short).collect::<Listed>())),
                    Err(error) if error.kind() == Kind::Missing => return Ok(Look::Gone(error)),
                    Err(error) if error.kind().is_of_an_object() => {
                        self.suspect(&place.pack, &error);
                        None
                    }
                    Err(error) => return Err(error),
                };
                guard(&self.listed).insert(place.pack, rows.clone());
                rows
            }
        };
        let says_so = rows.is_some_and(|rows| rows.contains(&in_short(&place.row)));
        Ok(if says_so { Look::Right } else { Look::Wrong })
    }

    /// Whether this place holds the chunk: it is read, unpacked and hashed, once in a run.
    fn reads(&self, kind: ChunkKind, id: &ChunkId, place: &Location) -> Result<Look> {
        if guard(&self.read).contains(id) {
            return Ok(Look::Right);
        }
        let (name, offset) = (names::pack(&place.pack), u64::from(place.row.offset));
        let _room = self.archive.unpacking(place.row.frame_len() + u64::from(place.row.frame.plain_len));
        let frame = match self.archive.store().get_range(&name, offset, place.row.frame_len() as usize) {
            Err(error) => return self.wrong_or_gone(place, error),
            Ok(frame) => frame,
        };
        // A frame that is whole and another's speaks against what was said of it, and not against the pack.
        let is_this = decode_frame_header(&frame).map_or(true, |header| header.id == *id);
        match unpack_frame(kind, id, &frame) {
            Ok(_) => {
                guard(&self.read).insert(*id);
                return Ok(Look::Right);
            }
            Err(error) if error.kind() == Kind::Damaged && is_this => self.doubt(&place.pack, &error),
            Err(_) => {}
        }
        Ok(Look::Wrong)
    }

    /// What an error of reading a pack comes to.
    fn wrong_or_gone(&self, place: &Location, error: Error) -> Result<Look> {
        match error.kind() {
            Kind::Missing => Ok(Look::Gone(error)),
            kind if kind.is_of_an_object() => {
                self.doubt(&place.pack, &error);
                Ok(Look::Wrong)
            }
            _ => Err(error),
        }
    }

    /// A pack's directory or one of its ends is damaged: what is in it counts only once it was read. That is told once.
    fn suspect(&self, pack: &PackId, why: &Error) {
        self.archive.suspect();
        if guard(&self.named).insert(*pack) {
            self.archive.notify(Notice::PassedOver(names::pack(pack), why.to_string()));
        }
    }

    /// A chunk of a pack is damaged, or all of it is gone: from now on nothing in it counts.
    fn doubt(&self, pack: &PackId, why: &Error) {
        self.archive.distrust(*pack);
        self.suspect(pack, why);
    }
}

/// A row of a directory, so short that many of them take little memory.
fn in_short(row: &Row) -> [u8; 16] {
    let frame = &row.frame;
    let mut hasher = blake3::Hasher::new();
    hasher.update(frame.id.as_bytes()).update(&row.offset.to_le_bytes());
    hasher.update(&frame.stored_len.to_le_bytes()).update(&frame.plain_len.to_le_bytes());
    hasher.update(&[frame.kind.number(), frame.codec, frame.codec_version]);
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
