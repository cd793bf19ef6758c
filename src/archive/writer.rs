//! The way in: known? → codec → frame → pack → store → segment.
//!
//! What counts as known, and why, is told in `belief`.
//!
//! Packs are closed and written in the background, each durable before [`Writer::finish`] writes the segment. A
//! writer that failed once stays failed: every later call returns an error, and no segment is written, so no snapshot
//! can follow.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::aside::look_once_more;
use super::belief::Belief;
use super::locks::patiently;
use super::segments::put_segments;
use super::{Archive, Change, MAX_PACK_LEN, MAX_PARITY_LEN, put_checked, put_parity};
use crate::chunk::Chunk;
use crate::codec::{self, Choice, Encoded};
use crate::error::{Error, Kind, Result};
use crate::format::{
    FrameHeader, Hint, PackContent, Row, SegmentPack, encode_frame_header, encode_pack_end, encode_pack_start, names,
};
use crate::id::{ChunkId, PackId, SegmentId, SnapshotId};
use crate::parity::Parity;
use crate::store::{Leftovers, Lock, Store};

/// How many packs are being written at once; while one waits for the drive, the next is handed over.
const WRITERS: usize = 2;
/// By how much a pack may outgrow its size without its buffer being moved, in bytes.
const ROOM: usize = 4 << 20;

/// How chunks are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packing {
    /// zstd's level, 1 to 19.
    pub level: i32,
    /// Whether images are recompressed at once.
    pub images: bool,
}

impl Default for Packing {
    fn default() -> Self {
        Self { level: Choice::default().level, images: false }
    }
}

/// What a writer added.
#[derive(Default)]
pub struct Written {
    /// Keeps those out who remove objects. Whoever records a snapshot of what was written holds it until then.
    pub lock: Option<Lock>,
    /// Whether the index on this computer has taken all of it over.
    pub indexed: bool,
    /// Packs.
    pub packs: Vec<PackId>,
    /// Chunks.
    pub chunks: u64,
    /// Their plain bytes.
    pub added: u64,
    /// Bytes by which packs and their recovery data grew.
    pub stored: u64,
    /// The segments that tell of the packs.
    pub segments: Vec<SegmentId>,
}

/// Adds chunks to an archive, from any number of threads.
pub struct Writer<'a> {
    archive: &'a Archive,
    packing: Packing,
    lock: Option<Lock>,
    belief: Belief<'a>,
    adopted: Vec<SegmentPack>,
    claimed: Mutex<HashSet<ChunkId>>,
    open: [Mutex<Open>; 2],
    sink: Option<SyncSender<Open>>,
    workers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    chunks: AtomicU64,
    added: AtomicU64,
}

/// What the background threads share with the writer.
struct Shared {
    store: Arc<dyn Store>,
    packs: Mutex<Vec<SegmentPack>>,
    /// Recovery data for packs of photo data and of metadata, in thousandths.
    permille: [u16; 2],
    /// Buffers of packs that have been written.
    spare: Mutex<Vec<Vec<u8>>>,
    /// What a buffer is given room for, in bytes.
    room: usize,
    stored: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// A pack that is being filled.
struct Open {
    content: PackContent,
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Open {
    /// An empty pack in this buffer. A buffer that is used again costs no new memory.
    fn new(content: PackContent, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&encode_pack_start(content));
        Self { content, bytes, rows: Vec::new() }
    }

    fn add(&mut self, frame: FrameHeader, stored: &[u8]) {
        self.rows.push(Row { frame, offset: self.bytes.len() as u32 });
        self.bytes.extend_from_slice(&encode_frame_header(&frame));
        self.bytes.extend_from_slice(stored);
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(archive: &'a Archive, packing: Packing) -> Result<Self> {
        // Another writer that sweeps is waited for; whoever removes objects holds the archive for longer.
        let (lock, present) = patiently(|| begin(archive))?;
        let writer = Self::among(archive, packing, Some(lock), present)?;
        writer.belief.look_at_newest()?;
        Ok(writer)
    }

    /// A writer to which only these packs count. Without a lock of its own its caller holds one.
    pub(super) fn among(
        archive: &'a Archive,
        packing: Packing,
        lock: Option<Lock>,
        present: HashMap<PackId, u64>,
    ) -> Result<Self> {
        let store = archive.store().clone();
        let (mut adopted, gone) = (Vec::new(), |error: &Error| error.kind() == Kind::Missing);
        let found = archive.adopt(&present, true)?;
        for pack in found.into_iter().filter(|pack| present.get(&pack.id).is_some_and(|len| pack.fills(*len))) {
            match store.confirm(&names::pack(&pack.id)).and_then(|()| protect(archive, &pack)) {
                Err(error) if gone(&error) => {} // all of it lies in others by now
                durable => durable.map(|()| adopted.push(pack))?,
            }
        }
        for id in repaired(&*store)?.filter(|id| present.contains_key(id)) {
            store.confirm(&names::pack(&id)).or_else(|error| if gone(&error) { Ok(()) } else { Err(error) })?;
        }
        let shared = Arc::new(Shared {
            store,
            packs: Mutex::default(),
            permille: [PackContent::Data, PackContent::Metadata].map(|content| archive.permille(content)),
            spare: Mutex::default(),
            room: archive.pack_size() + ROOM,
            stored: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
        });
        let (sink, source) = sync_channel(0);
        let source = Arc::new(Mutex::new(source));
        let workers = (0..WRITERS).map(|_| {
            let (shared, source) = (shared.clone(), source.clone());
            std::thread::Builder::new().spawn(move || work(&shared, &source))
        });
        // Those that have begun end when nobody can send to them any more.
        let workers: io::Result<Vec<JoinHandle<()>>> = workers.collect();
        let workers = workers.map_err(|error| Error::caused(Kind::Internal, "starting a thread that writes", error))?;
        Ok(Self {
            archive,
            packing,
            // Whoever has the caller's lock has the archive alone, and no pack takes another's place.
            belief: Belief::new(archive, present, lock.is_some()),
            lock,
            adopted,
            claimed: Mutex::default(),
            open: [PackContent::Data, PackContent::Metadata].map(|content| Mutex::new(Open::new(content, Vec::new()))),
            workers,
            sink: Some(sink),
            shared,
            chunks: AtomicU64::new(0),
            added: AtomicU64::new(0),
        })
    }

    /// Whether the archive holds this chunk where a reader would find it, as surely as what a snapshot records already
    /// has to be known.
    ///
    /// # Errors
    /// The store's error.
    pub fn knows(&self, id: &ChunkId) -> Result<bool> {
        if guard(&self.claimed).contains(id) {
            return Ok(true);
        }
        self.belief.knows(id)
    }

    /// Whether a chunk of a file that has moved is where it was, as far as can be seen without reading it: for what a
    /// snapshot records of which [`Writer::holds_all_of`] is true.
    ///
    /// # Errors
    /// The store's error.
    pub fn seems_to_have(&self, id: &ChunkId) -> Result<bool> {
        Ok(guard(&self.claimed).contains(id) || self.belief.seems_to_have(id)?)
    }

    /// Whether the archive holds all that a snapshot needs, as far as is known without a look at each chunk.
    pub fn holds_all_of(&self, snapshot: &SnapshotId) -> bool {
        self.belief.holds_all_of(snapshot)
    }

    /// Stores a chunk, unless the archive holds it already. Whether it was new. `hint` says what is known of it.
    ///
    /// # Errors
    /// The store's error. After one, the writer is of no use any more.
    pub fn put(&self, chunk: &Chunk<'_>, hint: Hint) -> Result<bool> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(self.failure());
        }
        if self.belief.has(chunk.kind(), &chunk.id())? || !guard(&self.claimed).insert(chunk.id()) {
            return Ok(false);
        }
        let (encoded, hint) = pack(chunk.bytes(), hint, &self.packing);
        let frame = FrameHeader {
            kind: chunk.kind(),
            codec: encoded.codec.number(),
            codec_version: encoded.version,
            hint,
            stored_len: encoded.bytes.len() as u32,
            plain_len: chunk.bytes().len() as u32,
            id: chunk.id(),
        };
        self.add(frame, &encoded.bytes)?;
        Ok(true)
    }

    /// Adds a frame as it is, also if its chunk is known: for moving chunks from one pack to another.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub(super) fn add(&self, frame: FrameHeader, stored: &[u8]) -> Result<()> {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.added.fetch_add(u64::from(frame.plain_len), Ordering::Relaxed);
        let content = PackContent::of(frame.kind);
        let mut open = guard(&self.open[content as usize]);
        open.add(frame, stored);
        if open.bytes.len() >= self.archive.pack_size() {
            let full = std::mem::replace(&mut *open, Open::new(content, self.shared.buffer()));
            drop(open);
            self.close(full)?;
        }
        Ok(())
    }

    /// The same, unless the chunk is known. Whether it was new.
    pub(super) fn add_unknown(&self, frame: FrameHeader, stored: &[u8]) -> Result<bool> {
        if self.belief.has(frame.kind, &frame.id)? || !guard(&self.claimed).insert(frame.id) {
            return Ok(false);
        }
        self.add(frame, stored)?;
        Ok(true)
    }

    /// Hands a full pack to the background.
    fn close(&self, pack: Open) -> Result<()> {
        let sent = self.sink.as_ref().is_some_and(|sink| sink.send(pack).is_ok());
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    /// Writes what is still open and then the segment. All of it is durable when this returns, and each object was there when
    /// it was looked at once more; only then may a snapshot be written that needs it.
    ///
    /// # Errors
    /// The store's error, whenever it happened.
    pub fn finish(mut self) -> Result<Written> {
        for open in &self.open {
            let mut open = guard(open);
            let content = open.content;
            if !open.rows.is_empty() {
                let last = std::mem::replace(&mut *open, Open::new(content, Vec::new()));
                drop(open);
                self.close(last)?;
            }
        }
        self.stop();
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(self.failure());
        }
        let mut packs = std::mem::take(&mut *guard(&self.shared.packs));
        let written: Vec<PackId> = packs.iter().map(|pack| pack.id).collect();
        // What was written may be what an interrupted run had written already.
        packs.extend(self.adopted.drain(..).filter(|pack| !written.contains(&pack.id)));
        let (mut indexed, mut told) = (true, Vec::new());
        if !packs.is_empty() {
            for pack in &packs {
                look_once_more(&*self.shared.store, &names::pack(&pack.id), pack.len())?;
            }
            let segments = put_segments(&*self.shared.store, &packs)?;
            let change = Change { packs: &packs, segments: &segments, sure: &written, ..Change::default() };
            if self.archive.index().apply(&change).is_err() {
                indexed = false;
                self.archive.index().start_over(); // the next command fills it again
                self.archive.refresh()?;
            }
            told = segments;
        }
        Ok(Written {
            lock: self.lock.take(),
            indexed,
            packs: written,
            segments: told,
            chunks: self.chunks.load(Ordering::Relaxed),
            added: self.added.load(Ordering::Relaxed),
            stored: self.shared.stored.load(Ordering::Relaxed),
        })
    }

    fn stop(&mut self) {
        self.sink = None;
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                self.shared.fail(Error::new(Kind::Internal, "writing a pack", "the thread that writes packs panicked"));
            }
        }
    }

    /// The failure that stopped this writer. Several threads may ask, and any of them may be the one that is heard.
    fn failure(&self) -> Error {
        let lost = || Error::new(Kind::Store, "writing to the archive", "an earlier write failed");
        guard(&self.shared.failure).clone().unwrap_or_else(lost)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn buffer(&self) -> Vec<u8> {
        guard(&self.spare).pop().unwrap_or_else(|| Vec::with_capacity(self.room))
    }

    fn fail(&self, error: Error) {
        guard(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    fn write(&self, mut pack: Open) -> Result<()> {
        let frames_end = pack.bytes.len() as u32;
        encode_pack_end(&pack.rows, frames_end, &mut pack.bytes);
        let len = pack.bytes.len() as u64;
        if len > MAX_PACK_LEN {
            return Err(Error::new(Kind::Internal, "closing a pack", format!("it has {len} bytes")));
        }
        let id = PackId::from_bytes(*blake3::hash(&pack.bytes).as_bytes());
        put_checked(&*self.store, &names::pack(&id), id.as_bytes(), &pack.bytes)?;
        let permille = self.permille[pack.content as usize];
        let parity = match permille {
            0 => 0,
            permille => put_parity(&*self.store, id.as_bytes(), &pack.bytes, permille)?,
        };
        self.stored.fetch_add(len + parity, Ordering::Relaxed);
        guard(&self.packs).push(SegmentPack { id, content: pack.content, rows: pack.rows });
        guard(&self.spare).push(pack.bytes);
        Ok(())
    }
}

/// Packs a chunk's bytes, and says what is known of them then.
pub(super) fn pack<'b>(bytes: &'b [u8], hint: Hint, packing: &Packing) -> (Encoded<'b>, Hint) {
    let choice = Choice { level: packing.level };
    match hint {
        Hint::Image if packing.images => match codec::encode_jpeg(bytes) {
            Some(encoded) => (encoded, Hint::Image),
            None => (codec::encode(bytes, &choice), Hint::Declined),
        },
        hint => (codec::encode(bytes, &choice), hint),
    }
}

fn work(shared: &Shared, source: &Mutex<Receiver<Open>>) {
    loop {
        let next = guard(source).recv();
        let Ok(pack) = next else { return };
        if shared.failed.load(Ordering::Acquire) {
            continue; // nothing after a failure counts
        }
        if let Err(error) = shared.write(pack) {
            shared.fail(error);
        }
    }
}

/// Holds the archive together with others who add, and lists its packs. Whoever finds the archive unused sweeps what
/// interrupted writes left, while nobody else can be writing.
fn begin(archive: &Archive) -> Result<(Lock, HashMap<PackId, u64>)> {
    match archive.try_alone() {
        Ok(lock) => {
            if archive.complete()? {
                drop(lock);
                return begin(archive); // it is held by the first copy of its header
            }
            let present = archive.sweep()?;
            lock.share()?;
            Ok((lock, present))
        }
        // Where nobody can tell who else is at work, whoever writes only adds.
        Err(error) if matches!(error.kind(), Kind::InUse | Kind::NoLocks) => {
            let lock = archive.try_shared()?;
            Ok((lock, archive.present_packs(Leftovers::Leave)?))
        }
        Err(error) => Err(error),
    }
}

/// Gives a pack its recovery data, if whoever wrote the pack did not come so far, or makes them durable. A damaged one gets none.
pub(super) fn protect(archive: &Archive, pack: &SegmentPack) -> Result<()> {
    let (store, id, permille) = (&**archive.store(), pack.id.as_bytes(), archive.permille(pack.content));
    if permille == 0 {
        return Ok(());
    }
    // A name is not enough: on FAT a power cut may leave it with nothing beneath.
    let name = names::parity(id);
    match store.get(&name, MAX_PARITY_LEN).and_then(|bytes| Parity::from_bytes(&bytes)) {
        Ok(parity) if parity.is_whole() => return store.confirm(&name),
        Err(error) if !matches!(error.kind(), Kind::Missing | Kind::Damaged) => return Err(error),
        _ => {}
    }
    let bytes = match store.get(&names::pack(&pack.id), MAX_PACK_LEN) {
        Err(error) if error.kind() == Kind::Damaged => return Ok(()),
        read => read?,
    };
    if blake3::hash(&bytes).as_bytes() == id {
        put_parity(store, id, &bytes, permille)?;
    }
    Ok(())
}

/// Packs that were repaired, as quarantine tells. Whoever repaired them may have been killed before they were durable.
fn repaired(store: &dyn Store) -> Result<impl Iterator<Item = PackId>> {
    let kept = store.list(&names::quarantine(names::PACKS), Leftovers::Leave)?;
    let ids = kept.into_iter().filter_map(|object| PackId::from_hex(names::last(&object.name).split('.').next()?));
    Ok(ids.collect::<HashSet<PackId>>().into_iter())
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
