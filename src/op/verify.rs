//! Verifying: is everything there, and is it what it was?
//!
//! The packs themselves are asked, not the index. Structure means: headers, segments, snapshots and the directories of
//! packs are whole, every chunk that any snapshot needs is in some pack, and recovery data are there. Reading the data means: every byte of every
//! pack matches the pack's name, every frame unpacks to the chunk that it says it is, and the recovery data of every pack
//! is whole and its own. Neither needs a password.
//! Damage is reported by object, with whether it can be mended, and by the files that it costs: those that cannot be
//! restored even with the help of recovery data.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use rayon::prelude::*;

use super::{Event, Observer, check_stop};
use crate::archive::{
    Archive, MAX_PACK_LEN, MAX_SNAPSHOT_LEN, Restored, chunks_of, directory_of, entries_of, find_frames,
    read_directory, restored, unpack_frame,
};
use crate::error::{Error, Kind, Result};
use crate::format::{Content, EntryKind, HEADER_LEN, Header, SegmentPack, Snapshot, names};
use crate::id::{ChunkId, ChunkKind, DerivedId, PackId, SegmentId, SnapshotId};
use crate::parity::Parity;
use crate::store::{Leftovers, Object};
use crate::view::join;

/// So many packs are read, by all cores, before the next is chosen and what was read is written down.
const GROUP: usize = 16;

/// What to look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Read every byte of packs.
    pub read_data: bool,
    /// Of which.
    pub share: Share,
    /// Read no further pack after this long.
    pub time: Option<Duration>,
}

/// Which packs are read. But for [`Share::Part`], those that were not read for longest.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Share {
    /// All of them.
    #[default]
    All,
    /// The first, second… of so many parts that together are all.
    Part {
        /// Which, from 1.
        number: u64,
        /// Of how many.
        of: u64,
    },
    /// So many hundredths of their bytes.
    Percent(f64),
    /// So many bytes.
    Bytes(u64),
}

/// An object that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Its name in the store.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether its bytes can be told from its recovery data, or it can be made again from other objects.
    pub mendable: bool,
}

/// A chunk that a snapshot needs and no pack has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostChunk {
    /// What it holds. Of a directory or a list, the topmost page is named, whichever page is lost.
    pub kind: ChunkKind,
    /// Its name.
    pub id: ChunkId,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The file or directory that needs it.
    pub path: Vec<u8>,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// How many bytes it has; 0 if that is not known.
    pub len: u32,
}

/// A file or directory of a snapshot that cannot be restored whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AffectedFile {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its path in it.
    pub path: Vec<u8>,
    /// Its bytes; 0 for a directory whose content is unknown.
    pub size: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verify {
    /// Objects looked at.
    pub objects: u64,
    /// Bytes of packs that were read and matched their names.
    pub bytes_read: u64,
    /// Bytes of all packs.
    pub bytes: u64,
    /// Chunks that are held.
    pub chunks: u64,
    /// Snapshots that were checked.
    pub snapshots: u64,
    /// What is not as it should be.
    pub damage: Vec<Damage>,
    /// What that costs, snapshot by snapshot.
    pub affected: Vec<AffectedFile>,
    /// Which chunks are missing in them.
    pub lost: Vec<LostChunk>,
}

/// Verifies an archive.
///
/// # Errors
/// The store's error, or the user's wish to stop. Damage is no error but a result.
pub fn verify(archive: &Archive, options: &VerifyOptions, observer: &dyn Observer) -> Result<Verify> {
    let mut check = Check {
        archive,
        observer,
        found: Verify::default(),
        held: HashSet::new(),
        clean: HashSet::new(),
        protected: HashSet::new(),
        mendable: HashSet::new(),
        whole: HashSet::new(),
    };
    check.headers()?;
    let packs = check.packs(options)?;
    check.segments(&packs)?;
    check.snapshots()?;
    check.facts()?;
    check.recovery_data()?;
    check.found.chunks = check.held.len() as u64;
    check.found.damage.sort_unstable_by(|a, b| a.object.cmp(&b.object));
    check.found.damage.dedup();
    for damage in &mut check.found.damage {
        damage.mendable = check.mendable.contains(&damage.object);
    }
    Ok(check.found)
}

struct Check<'a> {
    archive: &'a Archive,
    observer: &'a dyn Observer,
    found: Verify,
    /// Chunks that some pack holds.
    held: HashSet<ChunkId>,
    /// Trees below which nothing is lost.
    clean: HashSet<ChunkId>,
    /// Objects whose recovery data must be there, because it was durable before they counted.
    protected: HashSet<String>,
    /// Damaged objects that can be made whole again.
    mendable: HashSet<String>,
    /// Recovery data whose object is known as it was, so that they can be made again.
    whole: HashSet<String>,
}

impl Check<'_> {
    fn damaged(&mut self, object: String, why: impl Into<String>) {
        self.found.damage.push(Damage { object, why: why.into(), mendable: false });
    }

    /// Notes damage of an object that can be made again.
    fn mendable(&mut self, object: String, why: impl Into<String>) {
        self.mendable.insert(object.clone());
        self.damaged(object, why);
    }

    /// Notes damage, and passes on what is an error of the store.
    fn note(&mut self, object: String, error: Error) -> Result<()> {
        match error.kind() {
            Kind::Damaged | Kind::Missing | Kind::Unsupported => {
                self.damaged(object, error.to_string());
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn headers(&mut self) -> Result<()> {
        for name in names::HEADERS {
            self.found.objects += 1;
            let read = self.archive.store().get(name, HEADER_LEN as u64).and_then(|bytes| Header::decode(&bytes));
            match read {
                Ok(header) if header == *self.archive.header() => {}
                Ok(_) => self.mendable(name.to_owned(), "it is the header of another archive"),
                Err(error) => {
                    self.mendable.insert(name.to_owned());
                    self.note(name.to_owned(), error)?;
                }
            }
        }
        Ok(())
    }

    /// The objects in a folder. Foreign files, as file managers leave them, are none of the archive's.
    fn objects(&self, folder: &str) -> Result<Vec<Object>> {
        let mut objects = self.archive.store().list(folder, Leftovers::Leave)?;
        objects.retain(|object| PackId::from_hex(names::last(&object.name)).is_some());
        Ok(objects)
    }

    /// Looks at every pack, and learns which chunks are held.
    fn packs(&mut self, options: &VerifyOptions) -> Result<HashMap<PackId, SegmentPack>> {
        let objects = self.objects(names::PACKS)?;
        let order =
            if options.read_data { chosen(&objects, options.share, &self.archive.verified()) } else { Vec::new() };
        let bytes = order.iter().map(|at| objects[*at].len).sum();
        self.observer.event(Event::Begin { files: objects.len() as u64, bytes });
        let started = Instant::now();
        let in_time = || options.time.is_none_or(|time| started.elapsed() < time);
        let mut packs = HashMap::new();
        let mut rest: HashSet<usize> = (0..objects.len()).collect();
        for group in order.chunks(GROUP) {
            let read = |at: &usize| -> Result<_> {
                let looked = if in_time() { Some(self.pack(&objects[*at], true)?) } else { None };
                Ok((*at, looked))
            };
            let looked: Vec<(usize, Option<Looked>)> = group.par_iter().map(read).collect::<Result<_>>()?;
            let mut whole = Vec::new();
            for (at, looked) in looked {
                let Some(looked) = looked else { continue };
                rest.remove(&at);
                if looked.damage.is_empty() {
                    self.found.bytes_read += objects[at].len;
                    whole.extend(PackId::from_hex(names::last(&objects[at].name)));
                }
                self.seen(&objects[at], looked, &mut packs);
            }
            self.archive.set_verified(&whole, now())?;
        }
        let look = |at: usize| Ok((at, self.pack(&objects[at], false)?));
        let looked: Vec<(usize, Looked)> = rest.into_par_iter().map(look).collect::<Result<_>>()?;
        for (at, looked) in looked {
            self.seen(&objects[at], looked, &mut packs);
        }
        Ok(packs)
    }

    /// Takes in what a look at a pack found.
    fn seen(&mut self, object: &Object, looked: Looked, packs: &mut HashMap<PackId, SegmentPack>) {
        self.found.objects += 1;
        self.found.bytes += object.len;
        if looked.mendable {
            self.mendable.insert(object.name.clone());
        }
        if looked.mendable || looked.damage.is_empty() {
            self.whole.extend(names::parity_of(&object.name));
        }
        for why in looked.damage {
            self.damaged(object.name.clone(), why);
        }
        self.held.extend(looked.held);
        self.found.damage.extend(looked.parity);
        packs.extend(looked.pack.map(|pack| (pack.id, pack)));
    }

    fn pack(&self, object: &Object, read_data: bool) -> Result<Looked> {
        check_stop(self.observer)?;
        let id = PackId::from_hex(names::last(&object.name)).filter(|id| names::pack(id) == object.name);
        let Some(id) = id else {
            return Ok(Looked::only_damage("its name is not that of a pack".to_owned()));
        };
        let looked = if read_data { self.read_pack(&id, object) } else { self.look_at_pack(&id, object) };
        self.observer.event(Event::Advance { files: 1, bytes: if read_data { object.len } else { 0 } });
        let mut looked = match looked {
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) => {
                Looked::only_damage(error.to_string())
            }
            done => done?,
        };
        if !looked.damage.is_empty() {
            self.look_at_mended(&id, &mut looked)?;
        }
        Ok(looked)
    }

    /// What a damaged or missing pack holds once it is mended.
    fn look_at_mended(&self, id: &PackId, looked: &mut Looked) -> Result<()> {
        let mended = restored(&**self.archive.store(), &names::pack(id), id.as_bytes(), MAX_PACK_LEN);
        match mended.and_then(|mended| directory_of(id, &mended.bytes)) {
            Ok(pack) => {
                looked.mendable = true;
                looked.held.extend(pack.rows.iter().map(|row| row.frame.id));
                looked.pack = Some(pack);
                Ok(())
            }
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A pack's directory.
    fn look_at_pack(&self, id: &PackId, object: &Object) -> Result<Looked> {
        match read_directory(&**self.archive.store(), id, object.len) {
            Ok(pack) => {
                let held = pack.rows.iter().map(|row| row.frame.id).collect();
                Ok(Looked { held, pack: Some(pack), ..Looked::default() })
            }
            // What its frames hold is told by reading them.
            Err(error) if error.kind() == Kind::Damaged => {
                let mut looked = self.read_pack(id, object)?;
                looked.damage = vec![error.to_string()];
                Ok(looked)
            }
            Err(error) => Err(error),
        }
    }

    /// Every byte of a pack, and every frame in it.
    fn read_pack(&self, id: &PackId, object: &Object) -> Result<Looked> {
        let bytes = self.archive.store().get(&object.name, MAX_PACK_LEN)?;
        let mut looked = Looked { parity: self.look_at_parity(id.as_bytes(), &bytes)?, ..Looked::default() };
        if blake3::hash(&bytes).as_bytes() != id.as_bytes() {
            looked.damage.push("its bytes do not match its name".to_owned());
        }
        let directory = read_directory(&**self.archive.store(), id, object.len);
        let rows = match directory {
            Ok(pack) => {
                let rows = pack.rows.clone();
                looked.pack = Some(pack);
                rows
            }
            Err(error) if error.kind() == Kind::Damaged => {
                looked.damage.push(error.to_string());
                find_frames(&bytes)
            }
            Err(error) => return Err(error),
        };
        for row in rows {
            let start = row.offset as usize;
            let frame = bytes.get(start..start + row.frame_len() as usize).unwrap_or_default();
            match unpack_frame(row.frame.kind, &row.frame.id, frame) {
                Ok(_) => looked.held.push(row.frame.id),
                Err(error) => looked.damage.push(format!("the frame at {start}: {error}")),
            }
        }
        Ok(looked)
    }

    /// What is wrong with the recovery data of an object with these bytes, if there are any.
    fn look_at_parity(&self, id: &[u8; 32], bytes: &[u8]) -> Result<Option<Damage>> {
        let name = names::parity(id);
        let read = self.archive.store().get(&name, MAX_PACK_LEN).and_then(|stored| Parity::from_bytes(&stored));
        let why = match read {
            Ok(parity) if !parity.is_whole() => "some of it is damaged".to_owned(),
            Ok(parity) if blake3::hash(bytes).as_bytes() == id && !parity.fits(bytes) => {
                "it is the recovery data of something else".to_owned()
            }
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == Kind::Missing => return Ok(None), // told at the end, if it should be there
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Unsupported) => error.to_string(),
            Err(error) => return Err(error),
        };
        Ok(Some(Damage { object: name, why, mendable: false }))
    }

    /// Whether every pack that a segment tells of, and every snapshot, has recovery data.
    fn recovery_data(&mut self) -> Result<()> {
        if self.archive.header().parity_permille == 0 {
            return Ok(());
        }
        let objects = self.objects(names::PARITY)?;
        self.found.objects += objects.len() as u64;
        let there: HashSet<String> = objects.into_iter().map(|object| object.name).collect();
        for name in std::mem::take(&mut self.protected).difference(&there) {
            self.damaged(name.clone(), "it is missing");
        }
        self.mendable.extend(std::mem::take(&mut self.whole));
        Ok(())
    }

    /// Every segment, and whether the packs that it tells of are there and say the same.
    fn segments(&mut self, packs: &HashMap<PackId, SegmentPack>) -> Result<()> {
        let objects = self.objects(names::SEGMENTS)?;
        for object in objects {
            check_stop(self.observer)?;
            self.found.objects += 1;
            let Some(id) = SegmentId::from_hex(names::last(&object.name)) else { continue };
            let segment = match self.archive.read_segment(&id) {
                Ok(segment) => segment,
                Err(error) => {
                    self.mendable.insert(object.name.clone());
                    self.note(object.name, error)?;
                    continue;
                }
            };
            for told in segment.packs {
                let name = names::pack(&told.id);
                self.protected.insert(names::parity(told.id.as_bytes()));
                match packs.get(&told.id) {
                    Some(pack) if *pack == told => {}
                    Some(_) if self.found.damage.iter().any(|damage| damage.object == name) => {}
                    Some(_) => self.mendable(name, format!("{} says something else of it", object.name)),
                    None if self.found.damage.iter().any(|damage| damage.object == name) => {}
                    None => self.missing_pack(&told.id)?,
                }
            }
        }
        Ok(())
    }

    fn missing_pack(&mut self, id: &PackId) -> Result<()> {
        let name = names::pack(id);
        let mut looked = Looked::only_damage("it is missing".to_owned());
        self.look_at_mended(id, &mut looked)?;
        self.held.extend(looked.held);
        if looked.mendable {
            self.whole.insert(names::parity(id.as_bytes()));
            self.mendable.insert(name.clone());
        }
        self.damaged(name, "it is missing");
        Ok(())
    }

    /// Every snapshot, and whether everything that it needs is held.
    fn snapshots(&mut self) -> Result<()> {
        let objects = self.objects(names::SNAPSHOTS)?;
        for object in objects {
            check_stop(self.observer)?;
            self.found.objects += 1;
            let Some(id) = SnapshotId::from_hex(names::last(&object.name)) else { continue };
            let read = restored(&**self.archive.store(), &object.name, id.as_bytes(), MAX_SNAPSHOT_LEN);
            match read.and_then(|read| Ok((Snapshot::decode(&read.bytes)?, read))) {
                Ok((snapshot, Restored { bytes, whole, .. })) => {
                    self.found.snapshots += 1;
                    if !whole {
                        self.mendable(object.name, "its bytes do not match its name");
                    }
                    self.whole.insert(names::parity(id.as_bytes()));
                    self.protected.insert(names::parity(id.as_bytes()));
                    let damage = self.look_at_parity(id.as_bytes(), &bytes)?;
                    self.found.damage.extend(damage);
                    self.tree(&id, &[], &snapshot.tree)?;
                }
                Err(error) => {
                    let damage = self.look_at_parity(id.as_bytes(), &[])?;
                    self.found.damage.extend(damage);
                    self.note(object.name, error)?;
                }
            }
        }
        Ok(())
    }

    /// Every object of facts about photos. They can be made again, so damage costs no file.
    fn facts(&mut self) -> Result<()> {
        for object in self.objects(names::DERIVED)? {
            check_stop(self.observer)?;
            self.found.objects += 1;
            let Some(id) = DerivedId::from_hex(names::last(&object.name)) else { continue };
            if let Err(error) = self.archive.read_facts(&id) {
                self.mendable.insert(object.name.clone());
                self.note(object.name, error)?;
            }
        }
        Ok(())
    }

    /// Looks below a directory; trees that are known to be whole are not read again.
    fn tree(&mut self, snapshot: &SnapshotId, path: &[u8], tree: &ChunkId) -> Result<()> {
        let mut todo = vec![Step::Enter(path.to_vec(), *tree)];
        while let Some(step) = todo.pop() {
            let (path, tree) = match step {
                Step::Enter(path, tree) if !self.clean.contains(&tree) => (path, tree),
                Step::Enter(..) => continue,
                Step::Leave(tree, lost_before) => {
                    if self.found.affected.len() == lost_before {
                        self.clean.insert(tree);
                    }
                    continue;
                }
            };
            check_stop(self.observer)?;
            let entries = match entries_of(&self.archive.reader(), &tree) {
                Ok(entries) => entries,
                Err(error) => {
                    self.lost_chunk(snapshot, &path, ChunkKind::Tree, tree, 0, 0);
                    self.lost(snapshot, path, 0, error)?;
                    continue;
                }
            };
            todo.push(Step::Leave(tree, self.found.affected.len()));
            for entry in entries {
                let path = join(&path, &entry.name);
                match &entry.kind {
                    EntryKind::Dir { tree, .. } => todo.push(Step::Enter(path, *tree)),
                    EntryKind::File { size, content, .. } => {
                        if let Some(error) = self.missing(snapshot, &path, content, *size)? {
                            self.lost(snapshot, path, *size, error)?;
                        }
                    }
                    EntryKind::Symlink { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// What a file lacks, if it lacks something.
    fn missing(&mut self, snapshot: &SnapshotId, path: &[u8], content: &Content, size: u64) -> Result<Option<Error>> {
        let chunks = match chunks_of(&self.archive.reader(), content, size) {
            Ok(chunks) => chunks,
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) => {
                if let Content::List(list) = content {
                    self.lost_chunk(snapshot, path, ChunkKind::List, *list, 0, 0);
                }
                return Ok(Some(error));
            }
            Err(error) => return Err(error),
        };
        let (mut offset, mut lost) = (0, None);
        for chunk in chunks {
            if !self.held.contains(&chunk.id) {
                self.lost_chunk(snapshot, path, ChunkKind::Data, chunk.id, offset, chunk.len);
                lost = lost.or(Some(chunk.id));
            }
            offset += u64::from(chunk.len);
        }
        Ok(lost.map(|id| Error::new(Kind::Missing, format!("looking for chunk {id}"), "no pack has it whole")))
    }

    fn lost_chunk(&mut self, snapshot: &SnapshotId, path: &[u8], kind: ChunkKind, id: ChunkId, offset: u64, len: u32) {
        self.found.lost.push(LostChunk { kind, id, snapshot: *snapshot, path: path.to_vec(), offset, len });
    }

    fn lost(&mut self, snapshot: &SnapshotId, path: Vec<u8>, size: u64, error: Error) -> Result<()> {
        if !matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) {
            return Err(error);
        }
        self.found.affected.push(AffectedFile { snapshot: *snapshot, path, size });
        Ok(())
    }
}

/// Which packs are read, in their order: those that were not read for longest come first.
fn chosen(objects: &[Object], share: Share, verified: &HashMap<PackId, i64>) -> Vec<usize> {
    let id = |at: &usize| PackId::from_hex(names::last(&objects[*at].name));
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by_key(|at| id(at).and_then(|id| verified.get(&id)));
    let all: u64 = objects.iter().map(|object| object.len).sum();
    let room = match share {
        Share::All => return order,
        Share::Part { number, of } => {
            let part = |at: &usize| id(at).map_or(0, |id| u64::from_le_bytes(first_eight(id.as_bytes()))) % of.max(1);
            order.retain(|at| part(at) + 1 == number);
            return order;
        }
        Share::Percent(percent) => (all as f64 * percent / 100.0).ceil() as u64,
        Share::Bytes(bytes) => bytes,
    };
    let mut taken = 0;
    let within = order.iter().take_while(|at| {
        let fits = taken < room;
        taken += objects[**at].len;
        fits
    });
    let count = within.count();
    order.truncate(count);
    order
}

fn first_eight(id: &[u8; 32]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&id[..8]);
    first
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// A directory to look below, or one whose last entry has been looked at: its tree, and what was lost before it.
enum Step {
    Enter(Vec<u8>, ChunkId),
    Leave(ChunkId, usize),
}

/// What a look at one pack found.
#[derive(Default)]
struct Looked {
    damage: Vec<String>,
    /// Whether it can be mended.
    mendable: bool,
    /// Damage of its recovery data.
    parity: Option<Damage>,
    held: Vec<ChunkId>,
    pack: Option<SegmentPack>,
}

impl Looked {
    fn only_damage(why: String) -> Self {
        Self { damage: vec![why], ..Self::default() }
    }
}
