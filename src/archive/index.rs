//! The index: which chunks there are and where, which snapshots there are. The only file that knows redb.
//!
//! It is a cache on this machine, derived from segments, packs and snapshots, and disposable: whatever it says is checked
//! against the pack before it counts, and what it does not say is unknown, not absent. redb does not check its pages
//! when it reads them and may even panic on a damaged file, so every call is caught; the first fault gives the file up
//! and the caller fills a new index. Where no file can be used at all, the index lives in memory.
//!
//! Processes share the file: any number read, one at a time writes, for no longer than one merge.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{ConcurrencyMode, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::codec::Codec;
use crate::error::{Error, Kind, Result};
use crate::format::{CaptureFacts, FrameHeader, Hint, PackContent, Row, SegmentPack};
use crate::id::{ArchiveId, ChunkId, ChunkKind, DerivedId, FileHash, ID_LEN, PackId, SegmentId, SnapshotId};

/// An index of another schema, or of another version of the database, is made again.
const SCHEMA: &str = "5 redb 4.5";
/// What the database may keep of its file in memory, in bytes.
const CACHE_BYTES: usize = 64 << 20;

const CHUNK_KEY: usize = ID_LEN + 4;
const CHUNK_VALUE: usize = 16;
const PACK_VALUE: usize = ID_LEN + 2 + 6 * 8;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const CHUNKS: TableDefinition<'_, &[u8; CHUNK_KEY], &[u8; CHUNK_VALUE]> = TableDefinition::new("chunks");
const PACKS: TableDefinition<'_, u32, &[u8; PACK_VALUE]> = TableDefinition::new("packs");
const VERIFIED: TableDefinition<'_, &[u8; ID_LEN], i64> = TableDefinition::new("verified");
const SEGMENTS: TableDefinition<'_, &[u8; ID_LEN], ()> = TableDefinition::new("segments");
const DERIVED: TableDefinition<'_, &[u8; ID_LEN], ()> = TableDefinition::new("derived");
const FACTS: TableDefinition<'_, &[u8; ID_LEN], &[u8]> = TableDefinition::new("facts");
const SNAPSHOTS: TableDefinition<'_, &[u8; ID_LEN], &[u8]> = TableDefinition::new("snapshots");

/// Where a chunk lies, as far as the index knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// The length that the pack must have, in bytes.
    pub pack_len: u64,
    /// The frame in it.
    pub row: Row,
}

/// A pack that the index knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackInfo {
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub len: u64,
    /// What it holds.
    pub content: PackContent,
    /// What its chunks add up to.
    pub sizes: Sizes,
    /// No segment tells of it yet, so it may not even be durable.
    pub loose: bool,
}

/// What chunks add up to, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Original bytes of all chunks.
    pub plain: u64,
    /// Stored bytes of all chunks.
    pub stored: u64,
    /// Original bytes of recompressed images.
    pub images_plain: u64,
    /// Stored bytes of recompressed images.
    pub images_stored: u64,
    /// Original bytes of images that recompression has not been tried on.
    pub images_left: u64,
}

impl Sizes {
    fn of(rows: &[Row]) -> Self {
        let mut sizes = Self::default();
        for FrameHeader { codec, hint, stored_len, plain_len, .. } in rows.iter().map(|row| row.frame) {
            let (plain, stored) = (u64::from(plain_len), u64::from(stored_len));
            sizes.plain += plain;
            sizes.stored += stored;
            if codec == Codec::Jpeg.number() {
                sizes.images_plain += plain;
                sizes.images_stored += stored;
            } else if hint == Hint::Image {
                sizes.images_left += plain;
            }
        }
        sizes
    }

    /// In the order in which they are kept in a row.
    fn numbers(&self) -> [u64; 5] {
        [self.plain, self.stored, self.images_plain, self.images_stored, self.images_left]
    }
}

impl std::ops::AddAssign for Sizes {
    fn add_assign(&mut self, more: Self) {
        self.plain += more.plain;
        self.stored += more.stored;
        self.images_plain += more.images_plain;
        self.images_stored += more.images_stored;
        self.images_left += more.images_left;
    }
}

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
    /// Packs whose images were tried and are not worth recompressing.
    pub settled: &'a [PackId],
    /// Packs of which every byte was read and is right, and when, in seconds since 1970.
    pub verified: &'a [(PackId, i64)],
    /// Packs that were removed.
    pub gone_packs: &'a [SegmentPack],
    /// Segments that were removed.
    pub gone_segments: &'a [SegmentId],
    /// Snapshots that were removed.
    pub gone_snapshots: &'a [SnapshotId],
}

/// Chunks, packs, merged segments and snapshots, in a file or in memory.
pub struct Index {
    path: Option<PathBuf>,
    archive: ArchiveId,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    packs: BTreeMap<u32, PackInfo>,
    numbers: HashMap<PackId, u32>,
    /// Everything, where there is no file.
    chunks: BTreeMap<[u8; CHUNK_KEY], [u8; CHUNK_VALUE]>,
    segments: HashSet<SegmentId>,
    snapshots: HashMap<SnapshotId, Vec<u8>>,
    derived: HashSet<DerivedId>,
    /// The only thing here that cannot be made again; it is kept when everything else is.
    verified: HashMap<PackId, i64>,
    facts_done: Option<Vec<u8>>,
    /// All facts, where there is no file.
    facts: HashMap<FileHash, Vec<u8>>,
}

/// The file, and the tables of chunks and facts as they were when this process last wrote or opened it. Closing a damaged
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
        Self { path: None, archive, state: RwLock::default() }
    }

    /// Whether it lives in memory only.
    pub fn is_in_memory(&self) -> bool {
        self.read().open.is_none()
    }

    /// Gives up what is there and begins with nothing.
    pub fn start_over(&self) {
        let mut state = self.write();
        let kept = std::mem::take(&mut *state).verified;
        if let Some(path) = &self.path {
            // If the old file cannot be removed, opening it fails again and the index stays in memory.
            let _ = std::fs::remove_file(path);
            if let Ok(fresh) = self.load(path) {
                *state = fresh;
            }
        }
        drop(state);
        let verified: Vec<_> = kept.into_iter().collect();
        if !verified.is_empty() {
            // If it cannot be written down again, those packs count as never verified.
            let _ = self.apply(&Change { verified: &verified, ..Change::default() });
        }
    }

    /// Gives up what is there and its file, and begins with nothing in memory.
    pub fn leave_file(&self) {
        let mut state = self.write();
        *state = State::default();
        if let Some(path) = &self.path {
            // What stays is found out by whoever opens it next.
            let _ = std::fs::remove_file(path);
        }
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
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .set_concurrency_mode(ConcurrencyMode::MultiWriter)
                .create(path)?;
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
                    write.commit()?;
                }
            }
            State::read(database)
        })
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

    /// What a file tells about its taking, and which version found that.
    ///
    /// # Errors
    /// If the file of the index turns out to be damaged; then [`Index::start_over`] is next.
    pub fn facts(&self, hash: &FileHash) -> Result<Option<(u32, CaptureFacts)>> {
        let state = self.read();
        let found = match &state.open {
            None => state.facts.get(hash).cloned(),
            Some(open) => caught(|| {
                let Some(Parts { facts, .. }) = &open.0 else { return Ok(None) };
                Ok(facts.get(hash.as_bytes())?.map(|found| found.value().to_vec()))
            })?,
        };
        let Some(found) = found else { return Ok(None) };
        let facts = found.split_first_chunk::<4>().map(|(maker, facts)| (u32::from_le_bytes(*maker), facts));
        Ok(facts.and_then(|(maker, facts)| Some((maker, CaptureFacts::decode(facts).ok()?))))
    }

    /// Where this chunk lies: every place that is known, the one written last in front.
    ///
    /// # Errors
    /// If the file turns out to be damaged; then [`Index::start_over`] is next.
    pub fn locate(&self, id: &ChunkId) -> Result<Vec<Location>> {
        let state = self.read();
        let (low, high) = (chunk_key(id, 0), chunk_key(id, u32::MAX));
        let mut found = Vec::new();
        match &state.open {
            None => {
                for (key, value) in state.chunks.range(low..=high) {
                    found.extend(state.location(id, key, value));
                }
            }
            Some(open) => caught(|| {
                let Some(Parts { chunks, .. }) = &open.0 else { return Ok(()) };
                for item in chunks.range::<&[u8; CHUNK_KEY]>(&low..=&high)? {
                    let (key, value) = item?;
                    found.extend(state.location(id, key.value(), value.value()));
                }
                Ok(())
            })?,
        }
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
        let Some(Parts { chunks, facts, database }) = state.open.take().and_then(Open::into_parts) else {
            state.apply(change);
            return Ok(());
        };
        *state = caught(|| {
            drop((chunks, facts));
            let write = database.begin_write()?;
            {
                let mut table = write.open_table(PACKS)?;
                let known = Packs::read(&table)?;
                let (new, rows) = new_rows(change.packs, !change.segments.is_empty(), &known);
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
                let mut table = write.open_table(CHUNKS)?;
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
                if let Some(done) = &change.facts_done {
                    write.open_table(META)?.insert(FACTS_DONE, done_value(done).as_slice())?;
                }
            }
            write.commit()?;
            State::read(database)
        })?;
        Ok(())
    }
}

impl State {
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
        let facts_done = read.open_table(META)?.get(FACTS_DONE)?.map(|done| done.value().to_vec());
        let (chunks, facts) = (read.open_table(CHUNKS)?, read.open_table(FACTS)?);
        let open = Some(Open(Some(Parts { chunks, facts, database })));
        let Packs { packs, numbers } = packs;
        Ok(Self { open, packs, numbers, segments, snapshots, derived, verified, facts_done, ..Self::default() })
    }

    /// The same, in memory.
    fn apply(&mut self, change: &Change<'_>) {
        let known = Packs { packs: std::mem::take(&mut self.packs), numbers: std::mem::take(&mut self.numbers) };
        let (new, rows) = new_rows(change.packs, !change.segments.is_empty(), &known);
        Packs { packs: self.packs, numbers: self.numbers } = known;
        let gone = gone_rows(change.gone_packs, &self.numbers);
        for (number, pack) in new {
            self.numbers.insert(pack.id, number);
            self.packs.insert(number, pack);
        }
        self.chunks.extend(rows);
        for id in change.settled {
            let pack = self.numbers.get(id).and_then(|number| self.packs.get_mut(number));
            if let Some(pack) = pack {
                pack.sizes.images_left = 0;
            }
        }
        for (number, keys) in gone {
            if let Some(pack) = self.packs.remove(&number) {
                self.numbers.remove(&pack.id);
            }
            for key in keys {
                self.chunks.remove(&key);
            }
        }
        self.verified.extend(change.verified.iter().copied());
        for pack in change.gone_packs {
            self.verified.remove(&pack.id);
        }
        self.derived.extend(change.derived);
        for (hash, maker, facts) in change.facts {
            if self.facts.get(hash).is_none_or(|found| maker_of(found) <= Some(*maker)) {
                self.facts.insert(*hash, facts_value(*maker, facts));
            }
        }
        if let Some(done) = &change.facts_done {
            self.facts_done = Some(done_value(done));
        }
        self.segments.extend(change.segments);
        self.snapshots.extend(change.snapshots.iter().cloned());
        for id in change.gone_segments {
            self.segments.remove(id);
        }
        for id in change.gone_snapshots {
            self.snapshots.remove(id);
        }
    }

    /// What a row says, unless it makes no sense, and the number of its pack: a higher one was written later.
    fn location(&self, id: &ChunkId, key: &[u8; CHUNK_KEY], value: &[u8; CHUNK_VALUE]) -> Option<(u32, Location)> {
        let number = u32::from_le_bytes(key[ID_LEN..].try_into().ok()?);
        let pack = self.packs.get(&number)?;
        let field = |at: usize| Some(u32::from_le_bytes(value[at..at + 4].try_into().ok()?));
        let frame = FrameHeader {
            id: *id,
            kind: ChunkKind::from_number(value[12])?,
            codec: value[13],
            codec_version: value[14],
            hint: Hint::from_number(value[15]),
            stored_len: field(4)?,
            plain_len: field(8)?,
        };
        Some((number, Location { pack: pack.id, pack_len: pack.len, row: Row { frame, offset: field(0)? } }))
    }
}

/// The packs that are known, by their number in the index and by their id.
struct Packs {
    packs: BTreeMap<u32, PackInfo>,
    numbers: HashMap<PackId, u32>,
}

impl Packs {
    fn read(
        table: &impl ReadableTable<u32, &'static [u8; PACK_VALUE]>,
    ) -> std::result::Result<Self, redb::StorageError> {
        let mut found = Self { packs: BTreeMap::new(), numbers: HashMap::new() };
        for item in table.iter()? {
            let (number, value) = item?;
            let pack = pack_of(value.value())
                .ok_or_else(|| redb::StorageError::Corrupted("a pack's row makes no sense".to_owned()))?;
            found.numbers.insert(pack.id, number.value());
            found.packs.insert(number.value(), pack);
        }
        Ok(found)
    }

    /// These packs, with nothing left to recompress.
    fn settle(&self, packs: &[PackId]) -> Vec<(u32, PackInfo)> {
        let known = packs.iter().filter_map(|id| self.numbers.get(id));
        let settled = known.filter_map(|number| Some((*number, *self.packs.get(number)?)));
        settled
            .map(|(number, pack)| (number, PackInfo { sizes: Sizes { images_left: 0, ..pack.sizes }, ..pack }))
            .collect()
    }

    fn next(&self) -> u32 {
        self.packs.last_key_value().map_or(0, |(number, _)| number + 1)
    }
}

type Rows = Vec<([u8; CHUNK_KEY], [u8; CHUNK_VALUE])>;

/// The packs that are not known yet with their numbers, and their chunks in the order in which inserting is fast; and the
/// packs that are loose no longer.
fn new_rows(packs: &[SegmentPack], told: bool, known: &Packs) -> (Vec<(u32, PackInfo)>, Rows) {
    let mut seen = HashSet::new();
    let (mut infos, mut rows) = (Vec::new(), Rows::new());
    let mut next = known.next();
    for pack in packs.iter().filter(|pack| seen.insert(pack.id)) {
        let number = match known.numbers.get(&pack.id) {
            Some(number) if told && known.packs.get(number).is_some_and(|info| info.loose) => *number,
            Some(_) => continue,
            None => {
                next += 1;
                next - 1
            }
        };
        let sizes = Sizes::of(&pack.rows);
        infos.push((number, PackInfo { id: pack.id, len: pack.len(), content: pack.content, sizes, loose: !told }));
        rows.extend(pack.rows.iter().map(|row| (chunk_key(&row.frame.id, number), chunk_value(row))));
    }
    rows.sort_unstable();
    (infos, rows)
}

/// The key under which it is written which snapshot's facts are done.
const FACTS_DONE: &str = "facts done";

fn facts_value(maker: u32, facts: &CaptureFacts) -> Vec<u8> {
    [maker.to_le_bytes().as_slice(), &facts.encode()].concat()
}

fn maker_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|maker| u32::from_le_bytes(*maker))
}

fn done_value((snapshot, maker): &(SnapshotId, u32)) -> Vec<u8> {
    [snapshot.as_bytes().as_slice(), &maker.to_le_bytes()].concat()
}

/// The numbers of these packs, and the keys of their chunks.
fn gone_rows(packs: &[SegmentPack], known: &HashMap<PackId, u32>) -> Vec<(u32, Vec<[u8; CHUNK_KEY]>)> {
    let known = packs.iter().filter_map(|pack| Some((*known.get(&pack.id)?, pack)));
    let keys = |number: u32, pack: &SegmentPack| {
        pack.rows.iter().map(|row| chunk_key(&row.frame.id, number)).collect::<Vec<_>>()
    };
    known.map(|(number, pack)| (number, keys(number, pack))).collect()
}

fn chunk_key(id: &ChunkId, pack: u32) -> [u8; CHUNK_KEY] {
    let mut key = [0; CHUNK_KEY];
    key[..ID_LEN].copy_from_slice(id.as_bytes());
    key[ID_LEN..].copy_from_slice(&pack.to_le_bytes());
    key
}

fn chunk_value(row: &Row) -> [u8; CHUNK_VALUE] {
    let mut value = [0; CHUNK_VALUE];
    value[..4].copy_from_slice(&row.offset.to_le_bytes());
    value[4..8].copy_from_slice(&row.frame.stored_len.to_le_bytes());
    value[8..12].copy_from_slice(&row.frame.plain_len.to_le_bytes());
    let FrameHeader { kind, codec, codec_version, hint, .. } = row.frame;
    value[12..].copy_from_slice(&[kind.number(), codec, codec_version, hint.number()]);
    value
}

fn pack_value(pack: &PackInfo) -> [u8; PACK_VALUE] {
    let mut value = [0; PACK_VALUE];
    value[..ID_LEN].copy_from_slice(pack.id.as_bytes());
    value[ID_LEN] = pack.content as u8;
    value[ID_LEN + 1] = u8::from(pack.loose);
    let numbers = std::iter::once(pack.len).chain(pack.sizes.numbers());
    for (field, number) in value[ID_LEN + 2..].chunks_exact_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    value
}

fn pack_of(value: &[u8; PACK_VALUE]) -> Option<PackInfo> {
    let id = PackId::from_bytes(value[..ID_LEN].try_into().ok()?);
    let (fields, _) = value[ID_LEN + 2..].as_chunks::<8>();
    let [len, plain, stored, images_plain, images_stored, images_left] =
        <[[u8; 8]; 6]>::try_from(fields).ok()?.map(u64::from_le_bytes);
    let sizes = Sizes { plain, stored, images_plain, images_stored, images_left };
    Some(PackInfo { id, len, content: PackContent::from_number(value[ID_LEN])?, sizes, loose: value[ID_LEN + 1] != 0 })
}

/// Runs database calls; errors and panics alike become an error of this room.
fn caught<T>(run: impl FnOnce() -> std::result::Result<T, redb::Error>) -> Result<T> {
    let doing = "using the index in the cache folder";
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => done.map_err(|error| Error::caused(Kind::Internal, doing, error)),
        Err(_) => Err(Error::new(Kind::Internal, doing, "its file is damaged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ENVELOPE_LEN;

    const ARCHIVE: ArchiveId = ArchiveId::from_bytes([3; 16]);

    fn pack(seed: u8, chunks: &[u8]) -> SegmentPack {
        let mut offset = ENVELOPE_LEN as u32;
        let row = |chunk: &u8| {
            let id = ChunkId::from_bytes([*chunk; 32]);
            let frame = FrameHeader {
                kind: ChunkKind::Data,
                codec: 1,
                codec_version: 2,
                hint: Hint::Image,
                stored_len: 7,
                plain_len: 9,
                id,
            };
            let row = Row { frame, offset };
            offset += row.frame_len() as u32;
            row
        };
        SegmentPack {
            id: PackId::from_bytes([seed; 32]),
            content: PackContent::Data,
            rows: chunks.iter().map(row).collect(),
        }
    }

    fn answers(index: &Index) {
        let packs = [pack(1, &[10, 11]), pack(2, &[11, 12])];
        let segment = SegmentId::from_bytes([5; 32]);
        let snapshot = (SnapshotId::from_bytes([6; 32]), b"snapshot".to_vec());
        let snapshots = std::slice::from_ref(&snapshot);
        index.apply(&Change { packs: &packs, segments: &[segment], snapshots, ..Change::default() }).unwrap();
        index.apply(&Change { packs: &packs, ..Change::default() }).unwrap();
        let found = index.locate(&ChunkId::from_bytes([11; 32])).unwrap();
        assert_eq!(found.len(), 2, "adding a pack again adds nothing");
        assert_eq!(found[0].pack, packs[1].id, "the newest place first");
        assert_eq!((found[1].row, found[1].pack_len), (packs[0].rows[1], packs[0].len()));
        assert!(index.locate(&ChunkId::from_bytes([13; 32])).unwrap().is_empty());
        assert!(index.segments().contains(&segment));
        assert_eq!(index.snapshots().get(&snapshot.0), Some(&snapshot.1));
        let known = index.packs();
        assert_eq!(known.len(), 2);
        assert_eq!(known[0].sizes, Sizes { plain: 18, stored: 14, images_left: 18, ..Sizes::default() });
    }

    #[test]
    fn it_answers_alike_from_a_file_and_from_memory() {
        answers(&Index::in_memory(ARCHIVE));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/index.redb");
        let (index, fault) = Index::open(&path, ARCHIVE);
        assert!(fault.is_none() && !index.is_in_memory());
        answers(&index);
        drop(index);
        let (index, fault) = Index::open(&path, ARCHIVE);
        assert!(fault.is_none());
        assert_eq!(index.locate(&ChunkId::from_bytes([11; 32])).unwrap().len(), 2);
        let gone = Change {
            gone_packs: &[pack(1, &[10, 11])],
            gone_segments: &[SegmentId::from_bytes([5; 32])],
            gone_snapshots: &[SnapshotId::from_bytes([6; 32])],
            ..Change::default()
        };
        index.apply(&gone).unwrap();
        assert!(index.snapshots().is_empty() && index.segments().is_empty());
        assert_eq!(index.locate(&ChunkId::from_bytes([11; 32])).unwrap().len(), 1);
        assert_eq!(index.locate(&ChunkId::from_bytes([10; 32])).unwrap().len(), 0);
    }

    #[test]
    fn a_second_process_reads_while_the_first_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.redb");
        let (writer, _) = Index::open(&path, ARCHIVE);
        let (reader, fault) = Index::open(&path, ARCHIVE);
        assert!(fault.is_none() && !reader.is_in_memory());
        writer.apply(&Change { packs: &[pack(1, &[1])], ..Change::default() }).unwrap();
        assert!(reader.locate(&ChunkId::from_bytes([1; 32])).unwrap().is_empty(), "as it was when opened");
        reader.apply(&Change { packs: &[pack(2, &[2])], ..Change::default() }).unwrap();
        assert_eq!(reader.locate(&ChunkId::from_bytes([1; 32])).unwrap().len(), 1, "both have written");
        assert_eq!(reader.locate(&ChunkId::from_bytes([2; 32])).unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_is_not_an_index_is_given_up() {
        // borg #1195: a power cut left an index of 0 bytes, and every command failed until somebody deleted it.
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("empty", vec![]), ("garbage", vec![0x5A; 100_000]), ("short", b"redb".to_vec())] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let (index, _) = Index::open(&path, ARCHIVE);
            answers(&index);
        }
        let path = dir.path().join("other");
        drop(Index::open(&path, ArchiveId::from_bytes([4; 16])));
        let (index, fault) = Index::open(&path, ARCHIVE);
        assert!(fault.unwrap().contains("another version or archive"));
        answers(&index);
        let path = dir.path().join("empty/index.redb");
        let (index, _) = Index::open(&path, ARCHIVE);
        assert!(index.is_in_memory(), "its folder cannot be made, since a file is there");
        answers(&index);
    }
}
