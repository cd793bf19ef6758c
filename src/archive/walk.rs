//! What a walk of stored directories may take: one budget for every walk.
//!
//! A directory may be named any number of times, and what is packed small may be large, so a few kilobytes can claim more
//! entries than there are atoms. Three rules bound a walk, and none of them refuses what a source really had:
//!
//! - entries of directories that were met before may be a few times as many as those met for the first time (a folder
//!   that was backed up by several names), and no more;
//! - what is held in memory may be so many times what the archive itself has of directories, and no more: real entries
//!   hold hashes and times, which nothing packs small;
//! - what a directory says lies below it must be what its entries add up to ([`Claim`]).
//!
//! Whoever walks asks here before he goes on, and hears the user's wish to stop here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Archive, Listing, Reader, entries_of, readable_entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{Content, Entry, EntryKind, PackContent, REF_LEN, Tree};
use crate::id::ChunkId;
use crate::store::Leftovers;

/// Entries of directories met before that any walk may have, and how many times those met for the first time.
const AGAIN: u64 = 1 << 16;
const AGAIN_TIMES: u64 = 8;
/// Bytes that a walk may hold of the entries it met, whatever the archive has.
const HELD: u64 = 96 << 20;
/// Bytes that the entries of one directory may take, whatever the archive has.
const LISTED: u64 = 64 << 20;
/// And how many times the stored bytes of directories beside.
const HELD_TIMES: u64 = 32;
/// Bytes of directories that are kept because they were met again.
const KEPT: u64 = 8 << 20;
/// States of paths that a single bringing-up of the past may add, beside one for each stored byte of directories.
const STATES: u64 = 1 << 20;

/// Files and links, and bytes of files, that lie below a directory, at any depth, as it says itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Files and links.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// A directory that claims other counts than it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FalseClaim {
    /// There is more in it than it says.
    pub more: bool,
    /// What it says and what there is, in words.
    pub why: String,
}

impl Claim {
    /// What a directory's entry says; nothing of what is none.
    pub fn of(entry: &Entry) -> Option<Self> {
        match entry.kind {
            EntryKind::Dir { files, bytes, .. } => Some(Self { files, bytes }),
            _ => None,
        }
    }

    /// What the entries of a directory add up to, by what they say themselves; nothing if that is no number.
    pub fn sum(entries: &[Entry]) -> Option<Self> {
        entries.iter().try_fold(Self { files: 0, bytes: 0 }, |sum, entry| {
            let (files, bytes) = match entry.kind {
                EntryKind::File { size, .. } => (1, size),
                EntryKind::Dir { files, bytes, .. } => (files, bytes),
                EntryKind::Symlink { .. } => (1, 0),
            };
            Some(Self { files: sum.files.checked_add(files)?, bytes: sum.bytes.checked_add(bytes)? })
        })
    }

    /// What is wrong with it, held against what the directory's entries add up to. When that is right in every directory,
    /// the counts are right at every depth.
    pub fn held_against(self, sum: Option<Self>) -> Option<FalseClaim> {
        if sum == Some(self) {
            return None;
        }
        let Some(sum) = sum else {
            return Some(FalseClaim { more: true, why: "its entries add up to more than there can be".to_owned() });
        };
        let more = sum.files > self.files || sum.bytes > self.bytes;
        let told = |claim: Self| format!("{} files of {} bytes", claim.files, claim.bytes);
        let end = if more {
            "there is more in its directory than the directory says"
        } else {
            "it claims more than it holds"
        };
        Some(FalseClaim { more, why: format!("it says {} and has {}; {end}", told(self), told(sum)) })
    }
}

/// How many entries were met for the first time, and how many again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Met {
    first: u64,
    again: u64,
}

impl Met {
    /// Counts more of them. Whether that is still a few times as many.
    fn count(&mut self, entries: u64, before: bool) -> bool {
        let counter = if before { &mut self.again } else { &mut self.first };
        *counter = counter.saturating_add(entries);
        self.again <= self.first.saturating_mul(AGAIN_TIMES).saturating_add(AGAIN)
    }
}

/// Bytes held in memory, against what the archive can show for them.
struct Room<'a> {
    archive: &'a Archive,
    held: u64,
    allowed: u64,
    looked: bool,
}

impl<'a> Room<'a> {
    fn new(archive: &'a Archive, allowed: u64) -> Self {
        Self { archive, held: 0, allowed, looked: false }
    }

    /// Holds more. Whether there is room for it.
    fn take(&mut self, bytes: u64) -> Result<bool> {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.allowed && !self.looked {
            self.looked = true;
            let stored = self.archive.stored_metadata()?;
            self.allowed = self.allowed.saturating_add(stored.saturating_mul(HELD_TIMES));
        }
        Ok(self.held <= self.allowed)
    }

    fn give(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }
}

/// What one walk has taken so far.
pub struct Budget<'a> {
    reader: Reader<'a>,
    room: Room<'a>,
    /// Bytes of the paths that were told.
    told: Room<'a>,
    count: Met,
    /// Directories that were met, and what is in them if they were met again.
    met: HashMap<ChunkId, Option<Arc<Vec<Entry>>>>,
    kept: u64,
    /// It was refused more, so it is refused everything.
    spent: bool,
}

impl<'a> Budget<'a> {
    /// That of a walk which begins.
    pub fn new(archive: &'a Archive) -> Self {
        Self::going_on(archive, Met::default())
    }

    /// That of a walk which is one of several that count together.
    pub fn going_on(archive: &'a Archive, count: Met) -> Self {
        let (room, told) = (Room::new(archive, HELD), Room::new(archive, HELD));
        Self { reader: archive.reader(), room, told, count, met: HashMap::new(), kept: 0, spent: false }
    }

    /// What was met so far, for the next walk.
    pub fn met(&self) -> Met {
        self.count
    }

    /// The entries of a directory with this path, ascending by name.
    ///
    /// # Errors
    /// The reader's error, the user's wish to stop, damaged if it lies too deep, unsupported if directories are named again
    /// and again.
    pub fn enter(&mut self, tree: &ChunkId, path: &[u8]) -> Result<Vec<Entry>> {
        if self.spent {
            return Err(too_often(path));
        }
        let entries = match self.kept(tree) {
            Some(kept) => kept,
            None => entries_of(&self.reader, tree)?,
        };
        self.met_whole(tree, &entries, path)?;
        Ok(entries)
    }

    /// What can be read of such a directory, and what cannot.
    ///
    /// # Errors
    /// As [`Budget::enter`], but not for what is lost, damaged or newer.
    pub fn enter_readable(&mut self, tree: &ChunkId, path: &[u8]) -> Result<Listing> {
        if self.spent {
            return Err(too_often(path));
        }
        let listing = match self.kept(tree) {
            Some(entries) => Listing { entries, gaps: Vec::new() },
            None => readable_entries_of(&self.reader, tree)?,
        };
        match listing.gaps.as_slice() {
            [] => self.met_whole(tree, &listing.entries, path)?,
            _ => self.count(tree, &listing.entries, path)?,
        }
        Ok(listing)
    }

    /// What is in a directory that was met again.
    fn kept(&self, tree: &ChunkId) -> Option<Vec<Entry>> {
        self.met.get(tree)?.as_ref().map(|kept| kept.to_vec())
    }

    /// Counts a directory of which everything was read, and keeps that if it is met again.
    fn met_whole(&mut self, tree: &ChunkId, entries: &[Entry], path: &[u8]) -> Result<()> {
        self.count(tree, entries, path)?;
        if let Some(kept @ None) = self.met.get_mut(tree)
            && self.count.again > 0
        {
            let weight = weights(entries);
            if self.kept + weight <= KEPT {
                self.kept += weight;
                *kept = Some(Arc::new(entries.to_vec()));
            }
        }
        Ok(())
    }

    /// Counts a directory that was read elsewhere.
    ///
    /// # Errors
    /// As [`Budget::enter`].
    pub fn count(&mut self, tree: &ChunkId, entries: &[Entry], path: &[u8]) -> Result<()> {
        self.room.archive.check_stop()?;
        if lies_too_deep(path) {
            return Err(Error::new(Kind::Damaged, looking(path), "it lies in too many directories"));
        }
        let before = self.met.contains_key(tree);
        if !before {
            self.met.insert(*tree, None);
        }
        if !self.count.count(entries.len() as u64, before) {
            self.spent = true;
            return Err(too_often(path));
        }
        Ok(())
    }

    /// Whether it is of no use to go on.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Holds so many bytes more in memory for what lies at this path.
    ///
    /// # Errors
    /// Unsupported if the archive has too little to show for it; the store's error.
    pub fn hold(&mut self, bytes: u64, path: &[u8]) -> Result<()> {
        if self.room.take(bytes)? {
            return Ok(());
        }
        let why = "it claims more entries than an archive of this size can hold";
        Err(Error::new(Kind::Unsupported, looking(path), why))
    }

    /// Tells of what has this path: names that are packed small add up to paths without end.
    ///
    /// # Errors
    /// As [`Budget::hold`].
    pub fn tell(&mut self, path: &[u8]) -> Result<()> {
        if self.told.take(path.len() as u64)? {
            return Ok(());
        }
        let why = "it claims more names than an archive of this size can hold";
        Err(Error::new(Kind::Unsupported, looking(path), why))
    }

    /// Lets go of so many.
    pub fn release(&mut self, bytes: u64) {
        self.room.give(bytes);
    }
}

/// What is put together of one directory.
pub(super) struct Listed<'a>(Room<'a>);

impl<'a> Listed<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self(Room::new(archive, LISTED))
    }

    /// Whether there is room for these entries, too.
    pub(super) fn add(&mut self, entries: &[Entry]) -> Result<bool> {
        self.0.take(weights(entries))
    }
}

/// What bringing up the past may take in all.
pub(super) struct Patience {
    /// What the walks met of older states, and of newer ones.
    pub(super) met: (Met, Met),
    states: u64,
}

impl Patience {
    pub(super) fn new(archive: &Archive) -> Result<Self> {
        Ok(Self { met: Default::default(), states: STATES.saturating_add(archive.stored_metadata()?) })
    }

    /// Takes so many states. Whether there is room for them.
    pub(super) fn take(&mut self, states: usize) -> bool {
        let left = self.states.checked_sub(states as u64);
        self.states = left.unwrap_or(0);
        left.is_some()
    }
}

impl Archive {
    /// Ends whatever is being read as soon as this is set.
    pub fn heed(&self, stop: &'static AtomicBool) {
        let _ = self.stop.set(stop);
    }

    /// Unwinds once the user wants to stop.
    pub(crate) fn check_stop(&self) -> Result<()> {
        match self.stop.get() {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(Error::interrupted()),
            _ => Ok(()),
        }
    }

    /// Bytes of the packs of directories and lists that are there.
    fn stored_metadata(&self) -> Result<u64> {
        let present = self.present_packs(Leftovers::Leave)?;
        let known = self.known_packs().into_iter().filter(|pack| pack.content == PackContent::Metadata);
        Ok(known.filter_map(|pack| present.get(&pack.id)).fold(0, |sum: u64, len| sum.saturating_add(*len)))
    }
}

/// Whether what has this path lies in more directories, or has a longer path, than anything may.
pub fn lies_too_deep(path: &[u8]) -> bool {
    path.len() > Tree::MAX_PATH || path.iter().filter(|byte| **byte == b'/').count() >= Tree::MAX_DEPTH
}

/// About how much memory an entry takes, in bytes.
pub fn weight(entry: &Entry) -> u64 {
    let xattrs: usize = entry.meta.xattrs.iter().map(|(name, value)| name.len() + value.len() + 96).sum();
    let own = match &entry.kind {
        EntryKind::File { content: Content::Chunks(chunks), .. } => chunks.len() * REF_LEN + 16,
        EntryKind::Symlink { target } => target.len() + 16,
        _ => 0,
    };
    (size_of::<Entry>() + entry.name.len() + 16 + xattrs + own) as u64
}

/// About how much memory these entries take.
pub fn weights(entries: &[Entry]) -> u64 {
    entries.iter().map(weight).sum()
}

fn too_often(path: &[u8]) -> Error {
    let why = "it claims more than the archive holds: directories are named in it again and again";
    Error::new(Kind::Unsupported, looking(path), why)
}

fn looking(path: &[u8]) -> String {
    const SHOWN: usize = 200;
    let shown = String::from_utf8_lossy(path.get(..SHOWN).unwrap_or(path)).into_owned();
    match path {
        [] => "looking through a snapshot".to_owned(),
        path => format!("looking through \"{shown}{}\"", if path.len() > SHOWN { "…" } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Meta;

    fn dir(files: u64, bytes: u64) -> Entry {
        let kind = EntryKind::Dir { tree: ChunkId::from_bytes([1; 32]), files, bytes };
        Entry { name: b"d".to_vec(), kind, meta: Meta::default() }
    }

    #[test]
    fn a_claim_is_held_against_what_its_entries_add_up_to() {
        let sum = Claim::sum(&[dir(2, 10), dir(3, 0)]);
        assert_eq!(sum, Some(Claim { files: 5, bytes: 10 }));
        assert_eq!(Claim { files: 5, bytes: 10 }.held_against(sum), None);
        for (claim, more) in [((4, 10), true), ((5, 9), true), ((6, 10), false), ((5, 11), false), ((6, 9), true)] {
            let wrong = Claim { files: claim.0, bytes: claim.1 }.held_against(sum).expect("it is wrong");
            assert_eq!(wrong.more, more, "{claim:?}: {}", wrong.why);
        }
        let huge = Claim::sum(&[dir(u64::MAX, 0), dir(1, 0)]);
        assert!(Claim { files: u64::MAX, bytes: 0 }.held_against(huge).is_some_and(|wrong| wrong.more));
    }

    #[test]
    fn a_library_that_was_backed_up_by_several_names_is_not_too_much_and_a_bomb_is() {
        let mut library = Met::default();
        assert!(library.count(500_000, false));
        assert!((0..AGAIN_TIMES).all(|_| library.count(500_000, true)));
        let mut bomb = Met::default();
        assert!(bomb.count(80, false));
        let held = (0..1_u64 << 40).take_while(|_| bomb.count(2, true)).count() as u64;
        assert!(held <= AGAIN, "{held}");
    }

    #[test]
    fn a_path_is_so_long_and_so_deep_at_most() {
        assert!(!lies_too_deep(&[b'a'; Tree::MAX_PATH]));
        assert!(lies_too_deep(&[b'a'; Tree::MAX_PATH + 1]));
        assert!(!lies_too_deep(vec!["d"; Tree::MAX_DEPTH].join("/").as_bytes()));
        assert!(lies_too_deep(vec!["d"; Tree::MAX_DEPTH + 1].join("/").as_bytes()));
    }
}
