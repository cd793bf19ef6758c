//! The index: which chunks there are and where, which snapshots there are, and the past of every path. The only room that
//! knows redb.
//!
//! There is one for each place that a copy of the archive lies in, since a copy is another thing than what it was copied of.
//! It is a cache on this machine, derived from segments, packs and snapshots, and disposable: whatever it says is checked
//! against the pack before it counts, and what it does not say is unknown, not absent. redb does not check its pages
//! when it reads them and may even panic on a damaged file, so every call is caught; the first fault gives the file up
//! and the caller fills a new index. Where no file can be used at all, the same database lives in memory.
//!
//! Processes share the file: any number read, one at a time writes, for no longer than one merge.

mod notes;
mod past;
mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::InMemoryBackend;
use redb::{ConcurrencyMode, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use super::place::Headers;
use crate::error::{Error, Kind, Result};
use crate::format::{CaptureFacts, SegmentPack};
use crate::id::{ArchiveId, ChunkId, DerivedId, FileHash, ID_LEN, PackId, SegmentId, SnapshotId};

pub use notes::{FileKey, NotesChange};
pub use past::{Began, Ended, PastChange, PastRow, PastStep, State as PastState, Track};
use rows::{CHUNK_KEY, CHUNK_VALUE, NewRows, PACK_VALUE, Packs, chunk_key, gone_rows, new_rows, pack_value};
pub use rows::{Location, PackInfo, Sizes};

/// An index of another schema, or of another version of the database, is made again.
const SCHEMA: &str = "8 redb 4.5";
/// What the database may keep of its file in memory, in bytes.
const CACHE_BYTES: usize = 64 << 20;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const CHUNKS: TableDefinition<'_, &[u8; CHUNK_KEY], &[u8; CHUNK_VALUE]> = TableDefinition::new("chunks");
const PACKS: TableDefinition<'_, u32, &[u8; PACK_VALUE]> = TableDefinition::new("packs");
const VERIFIED: TableDefinition<'_, &[u8; ID_LEN], i64> = TableDefinition::new("verified");
const SEGMENTS: TableDefinition<'_, &[u8; ID_LEN], ()> = TableDefinition::new("segments");
const DERIVED: TableDefinition<'_, &[u8; ID_LEN], ()> = TableDefinition::new("derived");
const FACTS: TableDefinition<'_, &[u8; ID_LEN], &[u8]> = TableDefinition::new("facts");
const SNAPSHOTS: TableDefinition<'_, &[u8; ID_LEN], &[u8]> = TableDefinition::new("snapshots");

/// What is new in the archive, and what is gone from it.
#[derive(Clone, Copy, Default)]
pub struct Change<'a> {
    /// Packs; those that are known already are passed over. If no segment told of them, they are loose.
    pub packs: &'a [SegmentPack],
    /// Segments that told of packs.
    pub segments: &'a [SegmentId],
    /// Snapshots, as their objects' bytes.
    pub snapshots: &'a [(SnapshotId, Vec<u8>)],
    /// Facts about files, and the version of what made them.
    pub facts: &'a [(FileHash, u32, CaptureFacts)],
    /// Objects that such facts were read from.
    pub derived: &'a [DerivedId],
    /// The newest snapshot of which all files' facts were made, and by which version.
    pub facts_done: Option<(SnapshotId, u32)>,
    /// The newest snapshot of which the packs that are known hold everything.
    pub known: Option<SnapshotId>,
    /// Packs whose images were tried and are not worth recompressing.
    pub settled: &'a [PackId],
    /// Packs that this program has written here, so that what is said of them is surely so.
    pub sure: &'a [PackId],
    /// What the copies of the header are now, by what tells them from every other file.
    pub headers: Option<Headers>,
    /// Packs of which every byte was read and is right, and when, in seconds since 1970.
    pub verified: &'a [(PackId, i64)],
    /// Packs that were removed.
    pub gone_packs: &'a [SegmentPack],
    /// Segments that were removed.
    pub gone_segments: &'a [SegmentId],
    /// Snapshots that were removed.
    pub gone_snapshots: &'a [SnapshotId],
}

/// Chunks, packs, merged segments, snapshots and the past, in a file or in memory.
pub struct Index {
    /// None where it never had a file.
    path: Option<PathBuf>,
    archive: ArchiveId,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    in_memory: bool,
    packs: BTreeMap<u32, PackInfo>,
    numbers: HashMap<PackId, u32>,
    segments: HashSet<SegmentId>,
    snapshots: HashMap<SnapshotId, Vec<u8>>,
    derived: HashSet<DerivedId>,
    /// The only thing here that cannot be made again; it is kept when everything else is.
    verified: HashMap<PackId, i64>,
    facts_done: Option<Vec<u8>>,
    known: Option<Vec<u8>>,
    headers: Option<Headers>,
}

/// The database, and the tables of chunks and facts as they were when this process last wrote or opened it. Closing a damaged
/// file may panic too, so it is let go of with care.
struct Open(Option<Parts>);

struct Parts {
    chunks: ReadOnlyTable<&'static [u8; CHUNK_KEY], &'static [u8; CHUNK_VALUE]>,
    facts: ReadOnlyTable<&'static [u8; ID_LEN], &'static [u8]>,
    database: Database,
}

impl Open {
    fn into_parts(mut self) -> Option<Parts> {
        self.0.take()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let parts = self.0.take();
        // What could not be closed well is found out by whoever opens it next.
        let _ = caught(|| {
            drop(parts);
            Ok(())
        });
    }
}

impl Index {
    /// Opens the index of this archive in this file, making it where it is missing. The second value says why an index
    /// that was there had to be given up.
    pub fn open(path: &Path, archive: ArchiveId) -> (Self, Option<String>) {
        let index = Self { path: Some(path.to_owned()), archive, state: RwLock::default() };
        let existed = path.exists();
        match index.load(path) {
            Ok(state) => {
                *index.state.write().unwrap_or_else(PoisonError::into_inner) = state;
                (index, None)
            }
            Err(fault) => {
                let index = index.started_over();
                (index, existed.then(|| fault.to_string()))
            }
        }
    }

    /// An empty index in memory.
    pub fn in_memory(archive: ArchiveId) -> Self {
        let index = Self { path: None, archive, state: RwLock::default() };
        index.leave_file();
        index
    }

    /// Whether it lives in memory only.
    pub fn is_in_memory(&self) -> bool {
        self.read().in_memory
    }

    /// Takes the index for that of the archive whose copies of the header these are. If both are others than before, another
    /// copy of the archive lies there now: then it begins with nothing, and this is `false`.
    pub fn claim(&self, headers: &Headers) -> bool {
        let known = self.read().headers;
        let tells = |header: &[u8; 32]| *header != [0; 32];
        let same = known.is_none_or(|known| {
            let both = known.iter().zip(headers);
            let comparable = both.clone().any(|(known, now)| tells(known) && tells(now));
            !comparable || both.clone().any(|(known, now)| tells(now) && known == now)
        });
        if !same {
            self.write().verified.clear();
            self.start_over();
        }
        if known.as_ref() != Some(headers) || !same {
            // If it cannot be written down, whoever comes next takes it for another's and fills it again.
            let _ = self.apply(&Change { headers: Some(*headers), ..Change::default() }).or_else(|_| {
                self.start_over();
                self.apply(&Change { headers: Some(*headers), ..Change::default() })
            });
        }
        same
    }

    /// Gives up what is there and begins with nothing.
    pub fn start_over(&self) {
        let mut state = self.write();
        // A damaged file may not give them.
        let noticed = state.parts().map(notes::readable).unwrap_or_default();
        let State { verified: kept, headers, .. } = std::mem::take(&mut *state);
        let fresh = self.path.as_ref().and_then(|path| {
            // If the old file cannot be removed, opening it fails again and the index stays in memory.
            let _ = std::fs::remove_file(path);
            self.load(path).ok()
        });
        *state = fresh.unwrap_or_else(|| self.memory());
        drop(state);
        let verified: Vec<_> = kept.into_iter().collect();
        if !verified.is_empty() || headers.is_some() {
            // If it cannot be written down again, those packs count as never verified.
            let _ = self.apply(&Change { verified: &verified, headers, ..Change::default() });
        }
        self.carry_over(&noticed);
    }

    /// Gives up what is there and its file, and begins with nothing in memory.
    pub fn leave_file(&self) {
        let mut state = self.write();
        *state = State::default();
        if let Some(path) = &self.path {
            // What stays is found out by whoever opens it next.
            let _ = std::fs::remove_file(path);
        }
        *state = self.memory();
    }

    fn started_over(self) -> Self {
        self.start_over();
        self
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, path: &Path) -> Result<State> {
        caught(|| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(redb::StorageError::Io)?;
            }
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::MultiWriter);
            self.begin(builder.create(path)?)
        })
    }

    /// A database in memory; nothing at all if even that fails, and then every change is an error.
    fn memory(&self) -> State {
        let made = caught(|| self.begin(Database::builder().create_with_backend(InMemoryBackend::new())?));
        State { in_memory: true, ..made.unwrap_or_default() }
    }

    /// Takes a database over, and makes its tables if it is new.
    fn begin(&self, database: Database) -> std::result::Result<State, redb::Error> {
        let mark = [SCHEMA.as_bytes(), b" ", self.archive.as_bytes()].concat();
        let found = match database.begin_read()?.open_table(META) {
            Ok(table) => table.get("mark")?.map(|mark| mark.value().to_vec()),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match found {
            Some(found) if found == mark => {}
            Some(_) => return Err(redb::Error::Corrupted("it is of another version or archive".to_owned())),
            None => {
                let write = database.begin_write()?;
                write.open_table(META)?.insert("mark", mark.as_slice())?;
                write.open_table(CHUNKS)?;
                write.open_table(PACKS)?;
                write.open_table(VERIFIED)?;
                write.open_table(SEGMENTS)?;
                write.open_table(SNAPSHOTS)?;
                write.open_table(DERIVED)?;
                write.open_table(FACTS)?;
                past::make(&write)?;
                write.commit()?;
            }
        }
        State::read(database)
    }

    /// The segments that have been merged.
    pub fn segments(&self) -> HashSet<SegmentId> {
        self.read().segments.clone()
    }

    /// The snapshots that it has, as their objects' bytes.
    pub fn snapshots(&self) -> HashMap<SnapshotId, Vec<u8>> {
        self.read().snapshots.clone()
    }

    /// The packs that it knows.
    pub fn packs(&self) -> Vec<PackInfo> {
        self.read().packs.values().copied().collect()
    }

    /// What it knows of this pack.
    pub fn pack(&self, id: &PackId) -> Option<PackInfo> {
        let state = self.read();
        state.packs.get(state.numbers.get(id)?).copied()
    }

    /// When every byte of a pack was last read and right, in seconds since 1970.
    pub fn verified(&self) -> HashMap<PackId, i64> {
        self.read().verified.clone()
    }

    /// The objects of facts that have been merged.
    pub fn derived(&self) -> HashSet<DerivedId> {
        self.read().derived.clone()
    }

    /// Whether this version has made the facts of all files of this snapshot.
    pub fn facts_are_done(&self, snapshot: &SnapshotId, maker: u32) -> bool {
        self.read().facts_done.as_ref() == Some(&done_value(&(*snapshot, maker)))
    }

    /// Whether everything that this snapshot needs lay in packs that were known when it was recorded, and all of these are
    /// known still.
    pub fn knew_all_of(&self, snapshot: &SnapshotId) -> bool {
        let state = self.read();
        let Some(known) = &state.known else { return false };
        let end = known.get(ID_LEN..ID_LEN + 4).and_then(|end| end.first_chunk()).map(|end| u32::from_le_bytes(*end));
        end.is_some_and(|end| *known == known_value(snapshot, &state.packs, end))
    }

    /// What a file tells about its taking, and which version found that.
    ///
    /// # Errors
    /// If the file of the index turns out to be damaged; then [`Index::start_over`] is next.
    pub fn facts(&self, hash: &FileHash) -> Result<Option<(u32, CaptureFacts)>> {
        let state = self.read();
        let found = caught(|| {
            let Some(Parts { facts, .. }) = state.parts() else { return Ok(None) };
            Ok(facts.get(hash.as_bytes())?.map(|found| found.value().to_vec()))
        })?;
        Ok(found.and_then(|found| facts_of(&found)))
    }

    /// Goes through the facts of all files, in no order that means anything.
    ///
    /// # Errors
    /// If the file of the index turns out to be damaged; then [`Index::start_over`] is next.
    pub fn scan_facts(&self, visit: &mut dyn FnMut(FileHash, CaptureFacts)) -> Result<()> {
        let state = self.read();
        caught(|| {
            let Some(Parts { facts, .. }) = state.parts() else { return Ok(()) };
            for item in facts.iter()? {
                let (hash, value) = item?;
                if let Some((_, facts)) = facts_of(value.value()) {
                    visit(FileHash::from_bytes(*hash.value()), facts);
                }
            }
            Ok(())
        })
    }

    /// Where this chunk lies: every place that is known, the one written last in front.
    ///
    /// # Errors
    /// If the file turns out to be damaged; then [`Index::start_over`] is next.
    pub fn locate(&self, id: &ChunkId) -> Result<Vec<Location>> {
        let state = self.read();
        let (low, high) = (chunk_key(id, 0), chunk_key(id, u32::MAX));
        let mut found = Vec::new();
        caught(|| {
            let Some(Parts { chunks, .. }) = state.parts() else { return Ok(()) };
            for item in chunks.range::<&[u8; CHUNK_KEY]>(&low..=&high)? {
                let (key, value) = item?;
                found.extend(rows::location(&state.packs, id, key.value(), value.value()));
            }
            Ok(())
        })?;
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    /// Takes over what is new and forgets what is gone.
    ///
    /// # Errors
    /// If the file cannot be written; then nothing is known any more, and [`Index::start_over`] or
    /// [`Index::leave_file`] is next.
    pub fn apply(&self, change: &Change<'_>) -> Result<()> {
        let mut state = self.write();
        let (in_memory, open) = (state.in_memory, std::mem::take(&mut *state).open);
        let Some(Parts { chunks, facts, database }) = open.and_then(Open::into_parts) else {
            return Err(Error::new(Kind::Internal, DOING, "there is none"));
        };
        let next = caught(|| {
            drop((chunks, facts));
            let write = database.begin_write()?;
            {
                let mut table = write.open_table(PACKS)?;
                let known = Packs::read(&table)?;
                let NewRows { packs: new, rows, anew } = new_rows(change, &known);
                let gone = gone_rows(change.gone_packs, &known.numbers);
                for (number, pack) in new {
                    table.insert(number, &pack_value(&pack))?;
                }
                for (number, _) in &gone {
                    table.remove(number)?;
                }
                for (number, pack) in known.settle(change.settled) {
                    table.insert(number, &pack_value(&pack))?;
                }
                let known_now = match &change.known {
                    None => None,
                    Some(snapshot) => {
                        let now = Packs::read(&table)?;
                        Some(known_value(snapshot, &now.packs, now.next()))
                    }
                };
                let mut table = write.open_table(CHUNKS)?;
                if !anew.is_empty() {
                    // What was said of these packs before may be anything.
                    table.retain(|key, _| !rows::number_of(key).is_some_and(|number| anew.contains(&number)))?;
                }
                for (key, value) in rows {
                    table.insert(&key, &value)?;
                }
                for key in gone.iter().flat_map(|(_, keys)| keys) {
                    table.remove(key)?;
                }
                let mut table = write.open_table(VERIFIED)?;
                for (id, time) in change.verified {
                    table.insert(id.as_bytes(), time)?;
                }
                for pack in change.gone_packs {
                    table.remove(pack.id.as_bytes())?;
                }
                let mut table = write.open_table(SEGMENTS)?;
                for id in change.segments {
                    table.insert(id.as_bytes(), ())?;
                }
                for id in change.gone_segments {
                    table.remove(id.as_bytes())?;
                }
                let mut table = write.open_table(SNAPSHOTS)?;
                for (id, bytes) in change.snapshots {
                    table.insert(id.as_bytes(), bytes.as_slice())?;
                }
                for id in change.gone_snapshots {
                    table.remove(id.as_bytes())?;
                }
                notes::note_seen(&write, change.snapshots.iter().map(|(id, _)| id))?;
                let mut table = write.open_table(DERIVED)?;
                for id in change.derived {
                    table.insert(id.as_bytes(), ())?;
                }
                let mut table = write.open_table(FACTS)?;
                for (hash, maker, facts) in change.facts {
                    if table.get(hash.as_bytes())?.is_none_or(|found| maker_of(found.value()) <= Some(*maker)) {
                        table.insert(hash.as_bytes(), facts_value(*maker, facts).as_slice())?;
                    }
                }
                past::note_pictures(&write, change.facts)?;
                let mut table = write.open_table(META)?;
                if let Some(done) = &change.facts_done {
                    table.insert(FACTS_DONE, done_value(done).as_slice())?;
                }
                if let Some(headers) = &change.headers {
                    table.insert(HEADERS, headers.as_flattened())?;
                }
                if !change.gone_packs.is_empty() {
                    table.remove(KNOWN)?;
                }
                if let Some(known) = known_now {
                    table.insert(KNOWN, known.as_slice())?;
                }
            }
            write.commit()?;
            State::read(database)
        })?;
        *state = State { in_memory, ..next };
        Ok(())
    }
}

impl State {
    fn parts(&self) -> Option<&Parts> {
        self.open.as_ref()?.0.as_ref()
    }

    /// Reads what is small and wanted by every command, and a view of the chunks.
    fn read(database: Database) -> std::result::Result<Self, redb::Error> {
        let read = database.begin_read()?;
        let packs = Packs::read(&read.open_table(PACKS)?)?;
        let mut segments = HashSet::new();
        for item in read.open_table(SEGMENTS)?.iter()? {
            segments.insert(SegmentId::from_bytes(*item?.0.value()));
        }
        let mut snapshots = HashMap::new();
        for item in read.open_table(SNAPSHOTS)?.iter()? {
            let (id, bytes) = item?;
            snapshots.insert(SnapshotId::from_bytes(*id.value()), bytes.value().to_vec());
        }
        let mut derived = HashSet::new();
        for item in read.open_table(DERIVED)?.iter()? {
            derived.insert(DerivedId::from_bytes(*item?.0.value()));
        }
        let mut verified = HashMap::new();
        for item in read.open_table(VERIFIED)?.iter()? {
            let (id, time) = item?;
            verified.insert(PackId::from_bytes(*id.value()), time.value());
        }
        let meta = read.open_table(META)?;
        let facts_done = meta.get(FACTS_DONE)?.map(|done| done.value().to_vec());
        let known = meta.get(KNOWN)?.map(|known| known.value().to_vec());
        let headers = meta.get(HEADERS)?.and_then(|found| {
            let (headers, rest) = found.value().as_chunks::<32>();
            <Headers>::try_from(headers).ok().filter(|_| rest.is_empty())
        });
        let (chunks, facts) = (read.open_table(CHUNKS)?, read.open_table(FACTS)?);
        let open = Some(Open(Some(Parts { chunks, facts, database })));
        let Packs { packs, numbers } = packs;
        let found = Self { packs, numbers, segments, snapshots, derived, verified, ..Self::default() };
        Ok(Self { open, facts_done, known, headers, ..found })
    }
}

/// The key under which it is written what the copies of the header are.
const HEADERS: &str = "headers";

/// The key under which it is written of which snapshot everything was known, and by which packs.
const KNOWN: &str = "known";

/// A snapshot, and the packs with lower numbers than this that were known when it was recorded.
fn known_value(snapshot: &SnapshotId, packs: &BTreeMap<u32, PackInfo>, end: u32) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for (number, pack) in packs.range(..end) {
        hasher.update(&number.to_le_bytes()).update(pack.id.as_bytes()).update(&pack.len.to_le_bytes());
    }
    [snapshot.as_bytes().as_slice(), &end.to_le_bytes(), hasher.finalize().as_bytes()].concat()
}

/// The key under which it is written which snapshot's facts are done.
const FACTS_DONE: &str = "facts done";

fn facts_value(maker: u32, facts: &CaptureFacts) -> Vec<u8> {
    [maker.to_le_bytes().as_slice(), &facts.encode()].concat()
}

fn facts_of(value: &[u8]) -> Option<(u32, CaptureFacts)> {
    let (maker, facts) = value.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*maker), CaptureFacts::decode(facts).ok()?))
}

fn maker_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|maker| u32::from_le_bytes(*maker))
}

fn done_value((snapshot, maker): &(SnapshotId, u32)) -> Vec<u8> {
    [snapshot.as_bytes().as_slice(), &maker.to_le_bytes()].concat()
}

const DOING: &str = "using the index in the cache folder";

/// Runs database calls; errors and panics alike become an error of this room.
fn caught<T>(run: impl FnOnce() -> std::result::Result<T, redb::Error>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => done.map_err(|error| Error::caused(Kind::Internal, DOING, error)),
        Err(_) => Err(Error::new(Kind::Internal, DOING, "its file is damaged")),
    }
}

#[cfg(test)]
mod tests;
