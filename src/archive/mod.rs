//! An archive: a store with an identity, an index of what is in it, and the ways in and out.
//!
//! What is durable when: packs, each followed by its parity, then the segment that tells of them, then the snapshot, which alone commits. Two
//! processes may add at once, because each writes only objects of its own and every object is write-once; whoever would
//! remove objects needs the archive alone. A reader needs no lock at all.
//!
//! The index is only ever a hint. Whatever is wrong with it is mended here, by filling it again from segments and packs.

mod answering;
mod aside;
mod belief;
mod compare;
mod create;
mod facts;
mod header;
mod index;
mod lists;
mod locks;
mod marks;
mod memory;
mod mend;
mod moves;
mod notes;
mod packs;
mod past;
mod place;
mod probe;
mod put;
mod reader;
mod repair;
mod rewrite;
mod segments;
mod snapshots;
mod trees;
mod walk;
mod writer;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use compare::{Altered, Comparison, Moved, Place, last_name};
pub use index::{Began, Change, Ended, FileKey, Index, Location, PackInfo, PastRow, PastState, Sizes, Track};
pub use lists::{TakeChunks, chunks_at, chunks_of, each_chunk, first_chunks};
pub use marks::{MAX_MARK_LEN, Renames, SourceOrder};
pub use memory::{Memory, Taken};
pub use mend::{Restored, readable, restored};
pub use notes::DamageNote;
pub use packs::{MAX_PACK_LEN, MAX_PARITY_LEN, StopCheck, directory_of, frame_at, read_directory, read_pack, rows_of};
pub use place::CACHE_TAG;
pub use probe::Probes;
pub(crate) use put::{put_checked, put_parity};
pub use reader::{Reader, piece_of, unpack_frame};
pub use repair::{Repairer, Rescue};
pub use rewrite::{InTime, Recompressed, Rewriter, Trial};
pub use snapshots::{Filter, Selector};
pub use trees::{Gap, Listing, entries_of, readable_entries_of, store_content, store_entries};
pub use walk::{Budget, Claim, FalseClaim, lies_too_deep, weight, weights};
pub use writer::{Packing, Writer, Written};

use crate::error::{Error, Kind, Result};
use crate::format::{Chunker, Header, Mark, PackContent, Row, SegmentPack, names};
use crate::id::{ChunkId, MarkId, PackId, SegmentId, SnapshotId};
use crate::store::{Leftovers, Store};

/// Metadata is small and everything hangs on it: its recovery data is as long as itself.
const METADATA_PERMILLE: u16 = 1000;
/// Bytes of chunks that may be in memory at once while they are unpacked, by all threads together.
const UNPACKING: u64 = 96 << 20;
/// The longest snapshot object that is read, in bytes.
pub const MAX_SNAPSHOT_LEN: u64 = 64 << 20;

/// What happened besides what was asked for. The command line finds the words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The index could not be used (why) and is filled again.
    IndexRebuilt(String),
    /// There is no place for the index, so it is kept in memory for now.
    IndexInMemory,
    /// An object cannot be used and was passed over: its name, and why.
    PassedOver(String, String),
    /// An object is damaged, and was read as it was with the help of its recovery data.
    Mended {
        /// Its name.
        object: String,
        /// How many of its bytes were made anew.
        bytes: u64,
    },
}

/// A snapshot and its object's bytes.
type StoredSnapshot = (SnapshotId, Vec<u8>);

/// Hears notices, from any thread.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// What is fixed when an archive is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// How content is cut.
    pub chunker: Chunker,
    /// A pack is closed when it has reached this many bytes.
    pub pack_size: u32,
    /// Recovery data for each data pack, in thousandths of its length.
    pub parity_permille: u16,
}

impl Default for Parameters {
    fn default() -> Self {
        let chunker = Chunker { min: 1 << 18, average: 1 << 20, max: 1 << 22 };
        Self { chunker, pack_size: 32 << 20, parity_permille: 30 }
    }
}

/// An open archive.
pub struct Archive {
    store: Arc<dyn Store>,
    headers: header::Headers,
    index: Index,
    notify: Notify,
    looked: Mutex<Looked>,
    /// Packs in which a frame was found damaged: a writer does not count on them.
    distrusted: Mutex<HashSet<PackId>>,
    /// A pack does not begin or end as one does, so that what is in it must be read before it counts.
    suspects: AtomicBool,
    mender: Mutex<mend::Mender>,
    /// Chunks that a segment or directory tells of and whose frames are damaged, and where these are.
    spoiled: Mutex<HashMap<ChunkId, Location>>,
    /// Somebody vouches that no other process is at work on it.
    vouched: AtomicBool,
    /// What was said afterwards, once somebody has asked.
    marks: Mutex<Option<Marks>>,
    /// Room for chunks that are being unpacked.
    unpacking: Memory,
    /// Set once the user wants to stop.
    stop: OnceLock<&'static AtomicBool>,
}

/// All marks, oldest first.
type Marks = Arc<Vec<(MarkId, Mark)>>;

/// The segments that were there when the index was last brought up to date or filled from nothing because a chunk was
/// not found: as long as they are the same, looking again would find nothing new.
#[derive(Default)]
struct Looked {
    refreshed: Option<HashSet<SegmentId>>,
    refilled: Option<HashSet<SegmentId>>,
    asked: Option<HashSet<SegmentId>>,
}

impl Archive {
    /// Opens the archive in this store. Its index lies in `cache`, one for each place that a copy of the archive lies in, and
    /// is brought up to date here; without a place for it, it is kept in memory.
    ///
    /// # Errors
    /// [`Kind::NoArchive`] if there is none, or what the store is. An archive that has lost its header is opened for reading.
    pub fn open(store: Arc<dyn Store>, cache: Option<&Path>, notify: Notify) -> Result<Self> {
        store.remember();
        let headers = header::Headers::read(&*store, &notify)?;
        let header = &headers.header;
        let store: Arc<dyn Store> = Arc::new(answering::Answering(store, headers.signs.clone()));
        let index = match cache {
            None => Index::in_memory(header.archive),
            Some(cache) => {
                let place = place::Place::of(&*store, cache, &header.archive);
                let existed = place.index().exists();
                if !existed {
                    place.make_room();
                    place.tag();
                }
                let (index, fault) = Index::open(&place.index(), header.archive);
                let same = index.claim(&place.headers);
                match fault {
                    None if !same => notify(Notice::IndexRebuilt("another copy of it lies there now".to_owned())),
                    Some(why) => notify(Notice::IndexRebuilt(why)),
                    None if !existed && has_segments(&*store)? => {
                        notify(Notice::IndexRebuilt("there was none on this computer".to_owned()));
                    }
                    None => {}
                }
                if index.is_in_memory() {
                    notify(Notice::IndexInMemory);
                }
                index
            }
        };
        let (looked, distrusted, mender, spoiled) = Default::default();
        let (vouched, marks, stop) = (AtomicBool::new(false), Mutex::default(), OnceLock::new());
        let (suspects, unpacking) = (AtomicBool::new(false), Memory::new(UNPACKING));
        let archive = Self {
            store,
            headers,
            index,
            notify,
            looked,
            distrusted,
            suspects,
            mender,
            spoiled,
            vouched,
            marks,
            unpacking,
            stop,
        };
        archive.refresh()?;
        Ok(archive)
    }

    /// The archive's identity and parameters.
    pub fn header(&self) -> &Header {
        &self.headers.header
    }

    /// Takes room for so many bytes of chunks, until what comes back is dropped; waits while all room is taken. Whoever has
    /// some must not read chunks before it is dropped.
    pub fn unpacking(&self, bytes: u64) -> Taken<'_> {
        self.unpacking.take(bytes)
    }

    /// How much recovery data an object is given, in thousandths of its length; none if the archive has none.
    fn permille(&self, content: PackContent) -> u16 {
        match content {
            PackContent::Metadata if self.headers.header.parity_permille > 0 => METADATA_PERMILLE,
            _ => self.headers.header.parity_permille,
        }
    }

    /// A pack is closed when it has reached this many bytes: as the header says, if several of them fit into memory.
    fn pack_size(&self) -> usize {
        self.headers.header.pack_size.min(packs::CLOSED_AT) as usize
    }

    /// Where its objects lie.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Whether the store still answers: an error of one object is not that of a drive that is gone, then.
    pub fn is_reachable(&self) -> bool {
        answering::answers(&*self.store, &self.headers.signs)
    }

    /// The way out.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    /// The way in. Others may add at the same time.
    ///
    /// # Errors
    /// [`Kind::InUse`] if another process holds the archive alone and does not let go within two seconds,
    /// [`Kind::Damaged`] if the copies of the header are of different archives, the store's error.
    pub fn writer(&self, packing: Packing) -> Result<Writer<'_>> {
        self.headers.agree()?;
        Writer::new(self, packing)
    }

    /// Tells whoever listens.
    pub(crate) fn notify(&self, notice: Notice) {
        (self.notify)(notice);
    }

    /// Packs that the index knows.
    pub fn known_packs(&self) -> Vec<PackInfo> {
        self.index.packs()
    }

    /// When every byte of a pack was last read on this computer and found right, in seconds since 1970.
    pub fn verified(&self) -> HashMap<PackId, i64> {
        self.index.verified()
    }

    /// Remembers that every byte of these packs was right at this time.
    ///
    /// # Errors
    /// The store's error, if the index has to be filled again.
    pub fn set_verified(&self, packs: &[PackId], time: i64) -> Result<()> {
        let verified: Vec<_> = packs.iter().map(|id| (*id, time)).collect();
        self.change(&Change { verified: &verified, ..Change::default() })
    }

    /// The packs that are there now, with their lengths.
    pub fn present_packs(&self, leftovers: Leftovers) -> Result<HashMap<PackId, u64>> {
        let objects = self.store.list(names::PACKS, leftovers)?;
        let pack = |name: &str| PackId::from_hex(names::last(name)).filter(|id| names::pack(id) == name);
        Ok(objects.iter().filter_map(|object| Some((pack(&object.name)?, object.len))).collect())
    }

    /// Where a chunk lies, as far as is known without another look at the store.
    pub fn locate(&self, id: &ChunkId) -> Result<Vec<Location>> {
        match self.index.locate(id) {
            Err(fault) => {
                self.refill(&fault.to_string())?;
                self.index.locate(id)
            }
            done => done,
        }
    }

    /// Merges what other runs have added since.
    pub fn refresh(&self) -> Result<()> {
        match self.merge_new() {
            Err(fault) if fault.kind() == Kind::Internal => {
                self.notify(Notice::IndexRebuilt(fault.to_string()));
                self.index.start_over();
                self.merge_all()
            }
            done => done,
        }
    }

    /// Fills an index that begins with nothing; in memory, if its place is full.
    fn merge_all(&self) -> Result<()> {
        match self.merge_new() {
            Err(fault) if fault.kind() == Kind::Internal => {
                self.notify(Notice::IndexInMemory);
                self.index.leave_file();
                self.merge_new()
            }
            done => done,
        }
    }

    /// Remembers that this pack holds something damaged.
    pub(crate) fn distrust(&self, pack: PackId) {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(pack);
    }

    /// Remembers that there is a pack of which each chunk must be read before it counts.
    pub(crate) fn suspect(&self) {
        self.suspects.store(true, Ordering::Release);
    }

    /// Whether something damaged was met in any pack.
    pub(crate) fn distrusts_any(&self) -> bool {
        self.suspects.load(Ordering::Acquire)
            || !self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether something damaged was met in this pack.
    pub(crate) fn distrusts(&self, pack: &PackId) -> bool {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).contains(pack)
    }

    /// Looks again for a chunk that was not found or not where the index said. Whether the index may know more now.
    pub(crate) fn look_again(&self) -> Result<bool> {
        let listed = self.listed_segments()?;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.refreshed.as_ref() != Some(&listed) && !listed.is_subset(&self.index.segments()) {
            self.refresh()?;
            looked.refreshed = Some(listed);
            return Ok(true);
        }
        if looked.refilled.as_ref() != Some(&listed) {
            self.refill("a chunk was not where it said")?;
            looked.refilled = Some(listed);
            return Ok(true);
        }
        if looked.asked.as_ref() != Some(&listed) {
            self.ask_packs()?;
            looked.asked = Some(listed);
            return Ok(true);
        }
        Ok(false)
    }

    /// Fills the index again from the packs alone, before anything that a segment or directory does not tell of is called
    /// lost: a segment may be whole and wrong. Each pack's own directory counts; where a segment says something else, or
    /// something damaged was met in the pack, it is read whole: as it was, if its recovery data tell, and else frame by frame.
    fn ask_packs(&self) -> Result<()> {
        self.notify(Notice::IndexRebuilt("a chunk was in no pack that should have it".to_owned()));
        let (mut told, mut segments) = (HashMap::new(), Vec::new());
        for id in self.listed_segments()? {
            match self.read_segment(&id) {
                Ok(segment) => {
                    told.extend(segment.packs.into_iter().map(|pack| (pack.id, pack)));
                    segments.push(id);
                }
                Err(error) => self.pass_over(names::segment(&id), error)?,
            }
        }
        let present = self.present_packs(Leftovers::Leave)?;
        let mut packs = Vec::with_capacity(present.len());
        // One after the other: whoever waits here on the threads of a restore may be holding what they need.
        for (id, len) in &present {
            match self.own_words(id, *len, told.get(id)) {
                Ok(pack) => packs.push(pack),
                Err(error) => self.pass_over(names::pack(id), error)?,
            }
        }
        let (told, loose): (Vec<_>, Vec<_>) =
            packs.into_iter().partition(|pack: &SegmentPack| told.contains_key(&pack.id));
        self.index.start_over();
        let changes = [
            Change { packs: &told, segments: &segments, ..Change::default() },
            Change { packs: &loose, ..Change::default() },
        ];
        if changes.iter().try_for_each(|change| self.index.apply(change)).is_err() {
            self.notify(Notice::IndexInMemory);
            self.index.leave_file();
            changes.iter().try_for_each(|change| self.index.apply(change))?;
        }
        self.merge_new()
    }

    /// What a pack says of itself, held against what a segment says of it.
    fn own_words(&self, id: &PackId, len: u64, told: Option<&SegmentPack>) -> Result<SegmentPack> {
        let listed = match read_directory(&*self.store, id, len) {
            Ok(pack) if told.is_none_or(|told| *told == pack) && !self.distrusts(id) => return Ok(pack),
            Err(error) if error.kind() != Kind::Damaged => return Err(error),
            listed => listed.ok(),
        };
        let found = packs::read_frames(&*self.store, id, told, &|| self.check_stop());
        let whole: HashSet<ChunkId> = found.iter().flat_map(|pack| &pack.rows).map(|row| row.frame.id).collect();
        let named = listed.iter().chain(told).flat_map(|pack| &pack.rows).filter(|row| !whole.contains(&row.frame.id));
        let place = |row: &Row| Location { pack: *id, pack_len: len, row: *row };
        let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        spoiled.extend(named.map(|row| (row.frame.id, place(row))));
        found
    }

    /// Where a pack that is there should hold this chunk, and it is damaged.
    fn spoiled_place(&self, id: &ChunkId) -> Option<Location> {
        self.spoiled.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Fills the index again, from all segments and from the packs that no segment tells of.
    pub fn refill(&self, why: &str) -> Result<()> {
        self.notify(Notice::IndexRebuilt(why.to_owned()));
        self.index.start_over();
        self.merge_all()?;
        self.adopt(&self.present_packs(Leftovers::Leave)?, false)?;
        Ok(())
    }

    /// Takes packs into the index that no segment tells of: an interrupted run left them, or their segment is lost. For
    /// a writer these are also the ones that a reader took in before: it must make them durable, since whoever wrote them
    /// may not have come so far, and tell of them.
    pub(crate) fn adopt(&self, present: &HashMap<PackId, u64>, for_writer: bool) -> Result<Vec<SegmentPack>> {
        let mut adopted = Vec::new();
        for (id, len) in present {
            if self.index.pack(id).is_some_and(|pack| !(for_writer && pack.loose)) {
                continue;
            }
            match self.describe(id, *len) {
                Ok(pack) => adopted.push(pack),
                Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Unsupported) => {
                    self.notify(Notice::PassedOver(names::pack(id), error.to_string()));
                }
                Err(error) if error.kind() == Kind::Missing => {} // removed meanwhile
                Err(error) => return Err(error),
            }
        }
        let change = Change { packs: &adopted, ..Change::default() };
        if !adopted.is_empty() && self.index.apply(&change).is_err() {
            self.notify(Notice::IndexInMemory);
            self.index.leave_file();
            self.merge_new()?;
            self.index.apply(&change)?;
        }
        Ok(adopted)
    }

    /// What a pack holds, by its directory; where that is damaged, by the mended one, or else by its frames.
    fn describe(&self, id: &PackId, len: u64) -> Result<SegmentPack> {
        match read_directory(&*self.store, id, len) {
            Err(error) if error.kind() == Kind::Damaged => match self.mended_pack(id)? {
                Some(bytes) => directory_of(id, &bytes),
                None => read_pack(&*self.store, id, len, &|| self.check_stop()),
            },
            done => done,
        }
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    fn listed_segments(&self) -> Result<HashSet<SegmentId>> {
        let objects = self.store.list(names::SEGMENTS, Leftovers::Leave)?;
        Ok(objects.iter().filter_map(|object| SegmentId::from_hex(names::last(&object.name))).collect())
    }

    fn merge_new(&self) -> Result<()> {
        let listed = self.listed_segments()?;
        let merged = self.index.segments();
        if !merged.is_subset(&listed) {
            // Whoever removed a segment may have removed its packs; what the index says of them is worth nothing.
            self.notify(Notice::IndexRebuilt("segments that it was made from are gone".to_owned()));
            self.index.start_over();
        }
        let merged = self.index.segments();
        let (mut packs, mut segments) = (Vec::new(), Vec::new());
        for id in listed.difference(&merged) {
            let name = names::segment(id);
            match self.read_segment(id) {
                Ok(segment) => {
                    packs.extend(segment.packs);
                    segments.push(*id);
                }
                // Whoever stores chunks anew has removed it since it was listed, and another tells of its packs.
                Err(error) if error.kind() == Kind::Missing && self.store.len(&name)?.is_none() => {}
                Err(error) => self.pass_over(name, error)?,
            }
        }
        let (snapshots, gone) = self.new_snapshots()?;
        let (facts, derived) = self.new_facts()?;
        if segments.is_empty() && snapshots.is_empty() && gone.is_empty() && derived.is_empty() {
            return Ok(());
        }
        let (packs, segments, snapshots, gone_snapshots) = (&packs, &segments, &snapshots, &gone);
        let (facts, derived) = (&facts, &derived);
        self.index.apply(&Change { packs, segments, snapshots, gone_snapshots, facts, derived, ..Change::default() })
    }

    /// Reads a snapshot object and checks it against its name. A damaged one is mended, with a notice.
    ///
    /// # Errors
    /// Damaged if it cannot be mended, missing, or the store's error.
    pub fn read_snapshot_bytes(&self, id: &SnapshotId) -> Result<Vec<u8>> {
        let name = names::snapshot(id);
        let read = self.store.get(&name, MAX_SNAPSHOT_LEN);
        match read.and_then(|bytes| check_hash(&name, id.as_bytes(), &bytes).map(|()| bytes)) {
            Err(error) if error.kind() == Kind::Damaged => {
                let Ok(mended) = restored(&*self.store, &name, id.as_bytes(), MAX_SNAPSHOT_LEN) else {
                    return Err(error);
                };
                self.tell_mended(&name, mended.anew);
                Ok(mended.bytes)
            }
            done => done,
        }
    }

    /// Snapshots that the index lacks, as their objects' bytes, and those that it has and that are gone.
    fn new_snapshots(&self) -> Result<(Vec<StoredSnapshot>, Vec<SnapshotId>)> {
        let objects = self.store.list(names::SNAPSHOTS, Leftovers::Leave)?;
        let listed: HashSet<SnapshotId> =
            objects.iter().filter_map(|object| SnapshotId::from_hex(names::last(&object.name))).collect();
        let known = self.index.snapshots();
        // The index is only a hint: a flipped bit in it must not show another snapshot, or none.
        if known.iter().any(|(id, bytes)| blake3::hash(bytes).as_bytes() != id.as_bytes()) {
            return Err(Error::new(
                Kind::Internal,
                "using the index in the cache folder",
                "a snapshot in it is damaged",
            ));
        }
        let mut new = Vec::new();
        for id in listed.iter().filter(|id| !known.contains_key(id)) {
            match self.read_snapshot_bytes(id) {
                Ok(bytes) => new.push((*id, bytes)),
                Err(error) => self.pass_over(names::snapshot(id), error)?,
            }
        }
        Ok((new, known.into_keys().filter(|id| !listed.contains(id)).collect()))
    }

    /// Goes on after damage, and stops at errors of the store.
    fn pass_over(&self, name: String, error: Error) -> Result<()> {
        match error.kind() {
            Kind::Damaged | Kind::Unsupported | Kind::Missing => {
                self.notify(Notice::PassedOver(name, error.to_string()));
                Ok(())
            }
            _ => Err(error),
        }
    }
}
/// Checks that an object is what its name says.
pub(crate) fn check_hash(name: &str, id: &[u8; 32], bytes: &[u8]) -> Result<()> {
    if blake3::hash(bytes).as_bytes() == id {
        Ok(())
    } else {
        Err(Error::new(Kind::Damaged, format!("reading {name}"), "its bytes do not match its name"))
    }
}

fn has_segments(store: &dyn Store) -> Result<bool> {
    Ok(!store.list(names::SEGMENTS, Leftovers::Leave)?.is_empty())
}
