//! Verifying: is everything there, and is it what it was?
//!
//! The packs themselves are asked, not the index. Structure means: headers, segments, snapshots and the directories of
//! packs are whole, every chunk that any snapshot needs is in some pack, of the kind and length that are needed,
//! directories hold as much as is said of them, and recovery data are there. Reading the data means: every byte of
//! every pack matches the pack's name, every frame unpacks to the chunk that it says it is, the chunks of every file
//! give the file that was recorded, and the recovery data of every pack is whole and its own. Neither needs a password.
//!
//! Others may work on the archive meanwhile: chunks are stored anew and their old packs removed, objects are half there
//! for a moment. So what looks damaged is looked at again as long as anybody is at work or anything has changed, and
//! counts as damage only if every look found it.
//!
//! Damage is reported by object, with whether it can be mended, and by the files that it touches: those that recovery
//! data bring back, and those that cannot be restored even with their help.

mod again;
mod content;
mod gone;
mod held;
mod packs;
mod walk;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use super::{Observer, check_stop};
use crate::archive::{
    Archive, Claim, DamageNote, FalseClaim, MAX_MARK_LEN, MAX_SNAPSHOT_LEN, Restored, readable, restored,
};
use crate::error::{Error, Kind, Result};
use crate::format::{HEADER_LEN, Header, Mark, SegmentPack, Snapshot, names};
use crate::id::{ChunkId, ChunkKind, DerivedId, FileHash, MarkId, PackId, SegmentId, SnapshotId};
use crate::store::{Leftovers, Object};
use content::Contents;
use held::Held;
use packs::{Looked, Looker, look_at_parity};

/// What to look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Read every byte of packs.
    pub read_data: bool,
    /// Of which.
    pub share: Share,
    /// Read no further pack after this long.
    pub time: Option<Duration>,
    /// Whoever asks holds the archive alone, so nobody else can be at work.
    pub alone: bool,
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

/// A file or directory of a snapshot that damage touches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AffectedFile {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its path in it.
    pub path: Vec<u8>,
    /// Its bytes; 0 for a directory whose content is unknown.
    pub size: u64,
    /// What they are, by their hash: a photo is one photo, under however many names. None of a directory.
    pub content: Option<FileHash>,
}

/// A file or directory whose parts are all there and that is not what was recorded all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongFile {
    /// Where it is.
    pub file: AffectedFile,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A snapshot or mark that is not there, or of which nothing is legible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GoneRecord {
    /// Its name in the store; of what nobody can tell, that of its recovery data.
    pub object: String,
    /// What it says.
    pub what: Record,
    /// Whether it can be made again.
    pub mendable: bool,
    /// Whether it was surely there; else whoever was writing it may have been interrupted in the last moment.
    pub lost: bool,
}

/// What is recorded, as far as can be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A snapshot.
    Snapshot(Box<Snapshot>),
    /// A snapshot that nobody can read.
    LostSnapshot(SnapshotId),
    /// Something that was said afterwards.
    Mark(Mark),
    /// The same, as its damaged bytes read now; perhaps not as it was said.
    DamagedMark(Option<Mark>),
    /// A snapshot or a mark.
    Unknown,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verify {
    /// Snapshots that were compared with one that is not here, and that one: it may have been removed, or it was lost.
    pub orphans: Vec<(SnapshotId, SnapshotId)>,
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
    /// What that costs, snapshot by snapshot: what cannot be restored whole.
    pub affected: Vec<AffectedFile>,
    /// Which chunks are missing in them.
    pub lost: Vec<LostChunk>,
    /// What is restored only with the help of recovery data, likewise.
    pub mended: Vec<AffectedFile>,
    /// Which of the affected files have all their parts and are something else than was recorded.
    pub wrong: Vec<WrongFile>,
    /// Directories that claim other counts than they hold: the snapshot, the path in it, and what is wrong.
    pub false_claims: Vec<(SnapshotId, Vec<u8>, FalseClaim)>,
    /// Snapshots and marks that are not there or not legible.
    pub gone: Vec<GoneRecord>,
    /// Packs that are whole and that no segment tells of: an interrupted run left them, or their segment is lost.
    pub untold: Vec<PackId>,
    /// What looked damaged in one moment and not in another while somebody was at work: objects and files. It was not
    /// checked.
    pub unsettled: u64,
    /// Somebody else was at work on the archive at the end.
    pub in_use: bool,
    /// Files that claim more bytes than can be read, and were not held against their hashes.
    pub unhashed: u64,
}

impl Verify {
    /// Whether nothing that was looked at is damaged or lost.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
            && self.affected.is_empty()
            && self.wrong.is_empty()
            && self.false_claims.is_empty()
            && !self.gone.iter().any(|gone| gone.lost)
    }

    /// How many objects are damaged that can be mended, and how many that cannot.
    pub fn damaged_objects(&self) -> (u64, u64) {
        let count = |mendable| {
            let objects = self.damage.iter().filter(|damage| damage.mendable == mendable);
            objects.map(|damage| &damage.object).collect::<BTreeSet<_>>().len() as u64
        };
        (count(true), count(false))
    }
}

/// How many of these files there are, each counted once however many snapshots have it, and under however many names.
pub fn distinct_files(affected: &[AffectedFile]) -> u64 {
    affected.iter().map(AffectedFile::what).collect::<BTreeSet<_>>().len() as u64
}

impl AffectedFile {
    /// What tells it from others: its content, or the path of a directory.
    pub fn what(&self) -> (Option<&FileHash>, &[u8]) {
        let path = if self.content.is_some() { &b""[..] } else { &self.path };
        (self.content.as_ref(), path)
    }
}

/// Verifies an archive.
///
/// # Errors
/// The store's error, or the user's wish to stop. Damage is no error but a result.
pub fn verify(archive: &Archive, options: &VerifyOptions, observer: &dyn Observer) -> Result<Verify> {
    let contents = if options.read_data { Contents::gather(archive, observer)? } else { Contents::default() };
    let mut looker = Looker {
        archive,
        observer,
        options: *options,
        started: Instant::now(),
        seen: HashMap::new(),
        contents,
        read_all: options.read_data,
        looks_again: false,
    };
    let mut found = again::until_settled(archive, options, observer, || look(&mut looker))?;
    found.unhashed = looker.contents.passed_over();
    remember(&looker, &found);
    Ok(found)
}

/// Notes on this computer what damage is known now. What was found before counts until a look that covers it finds
/// nothing.
fn remember(looker: &Looker<'_>, found: &Verify) {
    let known = looker.archive.damage_note();
    let covered = known.as_ref().is_none_or(|known| {
        !known.by_data
            || looker.read_all
            || (!known.names.is_empty() && known.names.iter().all(|name| looker.was_read(name)))
    });
    if found.is_whole() {
        if known.is_some() && covered && found.unsettled == 0 && found.unhashed == 0 {
            looker.archive.note_damage(None);
        }
        return;
    }
    let names: BTreeSet<String> = found.damage.iter().map(|damage| damage.object.clone()).collect();
    let (objects, files) = (names.len() as u64, distinct_files(&found.affected));
    let mut note = DamageNote { time: now(), objects, files, by_data: looker.options.read_data, names };
    if let Some(known) = known.filter(|_| !covered) {
        note.names.extend(known.names);
        note.objects = known.objects.max(note.names.len() as u64);
        note.files = note.files.max(known.files);
        note.by_data = true;
    }
    looker.archive.note_damage(Some(&note));
}

/// One look at everything. What was seen whole in an earlier one is not read again.
fn look(looker: &mut Looker<'_>) -> Result<Verify> {
    let (archive, observer) = (looker.archive, looker.observer);
    // In this order: whatever a snapshot or segment tells of was there before it, so packs that come later are not
    // missed.
    let snapshots = objects(archive, names::SNAPSHOTS)?;
    let segments = objects(archive, names::SEGMENTS)?;
    let packs = objects(archive, names::PACKS)?;
    looker.look(&packs)?;
    if looker.read_all {
        looker.contents.finish(archive, observer)?;
    }
    let (seen, contents) = (&looker.seen, &looker.contents);
    let mut check = Check {
        archive,
        observer,
        seen,
        contents,
        found: Verify::default(),
        packs: HashMap::new(),
        held: Held::default(),
        held_mended: Held::default(),
        untold: HashSet::new(),
        clean: HashSet::new(),
        entered: HashSet::new(),
        sums: HashMap::new(),
        told: 0,
        lost_trees: HashSet::new(),
        protected: HashSet::new(),
        mendable: HashSet::new(),
        whole: HashSet::new(),
    };
    check.headers()?;
    check.packs(&packs);
    check.segments(segments)?;
    check.snapshots(snapshots)?;
    check.marks()?;
    check.facts()?;
    let parity = objects(archive, names::PARITY)?;
    check.gone(&parity)?;
    check.recovery_data(parity)?;
    let chunks: HashSet<&ChunkId> = check.held.ids().chain(check.held_mended.ids()).collect();
    check.found.chunks = chunks.len() as u64;
    check.found.untold = check.untold.into_iter().collect();
    check.found.untold.sort_unstable();
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
    /// What was seen of packs, by their objects' names.
    seen: &'a HashMap<String, Looked>,
    contents: &'a Contents,
    found: Verify,
    /// What the directories of packs say.
    packs: HashMap<PackId, &'a SegmentPack>,
    /// Chunks that some pack holds.
    held: Held,
    /// Chunks that some pack holds once it is mended.
    held_mended: Held,
    /// Whole packs that no segment has told of so far.
    untold: HashSet<PackId>,
    /// Trees below which no damage is.
    clean: HashSet<ChunkId>,
    /// Trees that were looked at.
    entered: HashSet<ChunkId>,
    /// What the entries of those that could be read add up to.
    sums: HashMap<ChunkId, Option<Claim>>,
    /// Bytes of all paths that were told so far.
    told: usize,
    /// Trees that cannot be read.
    lost_trees: HashSet<ChunkId>,
    /// Objects whose recovery data must be there, because it was durable before they counted.
    protected: HashSet<String>,
    /// Damaged objects that can be made whole again.
    mendable: HashSet<String>,
    /// Recovery data whose object is known as it was, so that they can be made again.
    whole: HashSet<String>,
}

/// The objects in a folder. Foreign files, as file managers leave them, are none of the archive's.
fn objects(archive: &Archive, folder: &str) -> Result<Vec<Object>> {
    let mut objects = archive.store().list(folder, Leftovers::Leave)?;
    objects.retain(|object| PackId::from_hex(names::last(&object.name)).is_some());
    Ok(objects)
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
                Ok(_) => self.damaged(name.to_owned(), "it is not the same as the other header"),
                Err(error) => {
                    self.mendable.insert(name.to_owned());
                    self.note(name.to_owned(), error)?;
                }
            }
        }
        Ok(())
    }

    /// Whether an object that was listed, and that reading it says is missing, was removed meanwhile by somebody who
    /// may.
    fn is_gone(&self, name: &str, error: &Error) -> Result<bool> {
        Ok(error.kind() == Kind::Missing && self.archive.store().len(name)?.is_none())
    }

    /// Whether every pack that a segment tells of, and every snapshot, has recovery data. A pack of which everything lies
    /// in others that have some is about to be removed, and loses its own first.
    fn recovery_data(&mut self, objects: Vec<Object>) -> Result<()> {
        if self.archive.header().parity_permille == 0 {
            return Ok(());
        }
        self.found.objects += objects.len() as u64;
        let there: HashSet<String> = objects.into_iter().map(|object| object.name).collect();
        let missing: Vec<String> = std::mem::take(&mut self.protected).difference(&there).cloned().collect();
        if !missing.is_empty() {
            let mut held = Held::default();
            for pack in self.packs.values().filter(|pack| there.contains(&names::parity(pack.id.as_bytes()))) {
                pack.rows.iter().for_each(|row| held.add(&row.frame));
            }
            for name in missing {
                let pack = PackId::from_hex(names::last(&name)).and_then(|id| self.packs.get(&id));
                let replaced = pack.is_some_and(|pack| pack.rows.iter().all(|row| held.holds_frame(&row.frame)));
                // One that was there and is not any more has been removed, after its recovery data.
                let removed = || match pack {
                    Some(pack) => Ok(self.archive.store().len(&names::pack(&pack.id))?.is_none()),
                    None => Ok::<_, Error>(false),
                };
                if !replaced && !removed()? {
                    self.damaged(name, "it is missing");
                }
            }
        }
        self.mendable.extend(std::mem::take(&mut self.whole));
        Ok(())
    }

    /// Every segment, and whether the packs that it tells of are there and say the same. A pack that is gone is no damage
    /// if all of it lies in others: it may be removed at any time, and segments are tidied later.
    fn segments(&mut self, objects: Vec<Object>) -> Result<()> {
        let mut gone = Vec::new();
        for object in objects {
            check_stop(self.observer)?;
            let Some(id) = SegmentId::from_hex(names::last(&object.name)) else { continue };
            let segment = match self.archive.read_segment(&id) {
                Ok(segment) => segment,
                Err(error) if self.is_gone(&object.name, &error)? => continue,
                Err(error) => {
                    self.found.objects += 1;
                    self.mendable.insert(object.name.clone());
                    self.note(object.name, error)?;
                    continue;
                }
            };
            self.found.objects += 1;
            for told in segment.packs {
                let name = names::pack(&told.id);
                self.untold.remove(&told.id);
                let parity = names::parity(told.id.as_bytes());
                match self.packs.get(&told.id) {
                    Some(pack) if **pack == told => {}
                    Some(_) | None if self.found.damage.iter().any(|damage| damage.object == name) => {
                        self.held_as_told(&told)?;
                    }
                    Some(_) => self.differs(&object.name, &told.id)?,
                    None => {
                        gone.push(told);
                        continue;
                    }
                }
                self.protected.insert(parity);
            }
        }
        gone.retain(|told| !told.rows.iter().all(|row| self.held.holds_frame(&row.frame)));
        for told in gone {
            let id = &told.id;
            if self.protected.insert(names::parity(id.as_bytes())) {
                self.missing_pack(id)?;
            }
        }
        Ok(())
    }

    /// Every snapshot, and whether everything that it needs is held.
    fn snapshots(&mut self, objects: Vec<Object>) -> Result<()> {
        for object in objects {
            check_stop(self.observer)?;
            let Some(id) = SnapshotId::from_hex(names::last(&object.name)) else { continue };
            if self.archive.store().len(&object.name)?.is_none() {
                continue;
            }
            self.found.objects += 1;
            let read = restored(&**self.archive.store(), &object.name, id.as_bytes(), MAX_SNAPSHOT_LEN);
            match read.and_then(|read| Ok((Snapshot::decode(&read.bytes)?, read))) {
                Ok((snapshot, Restored { bytes, whole, .. })) => {
                    self.found.snapshots += 1;
                    if !whole {
                        let read = self.archive.store().get(&object.name, MAX_SNAPSHOT_LEN);
                        let why =
                            read.err().map_or("its bytes do not match its name".to_owned(), |error| error.to_string());
                        self.mendable(object.name, why);
                    }
                    self.whole.insert(names::parity(id.as_bytes()));
                    self.protected.insert(names::parity(id.as_bytes()));
                    let damage = look_at_parity(self.archive, id.as_bytes(), &bytes)?;
                    self.found.damage.extend(damage);
                    self.tree(&id, &snapshot.tree)?;
                }
                Err(error) => {
                    let damage = look_at_parity(self.archive, id.as_bytes(), &[])?;
                    self.found.damage.extend(damage);
                    self.illegible(&object.name, Record::LostSnapshot(id));
                    self.note(object.name, error)?;
                }
            }
        }
        Ok(())
    }

    /// Notes a record that is there and that nobody can tell.
    fn illegible(&mut self, object: &str, what: Record) {
        self.found.gone.push(GoneRecord { object: object.to_owned(), what, mendable: false, lost: true });
    }

    /// Every mark. Damage costs what it says and no file.
    fn marks(&mut self) -> Result<()> {
        for object in objects(self.archive, names::MARKS)? {
            check_stop(self.observer)?;
            self.found.objects += 1;
            let Some(id) = MarkId::from_hex(names::last(&object.name)) else { continue };
            let read = restored(&**self.archive.store(), &object.name, id.as_bytes(), MAX_MARK_LEN);
            match read.and_then(|read| Mark::decode(&read.bytes).map(|_| read)) {
                Ok(Restored { bytes, whole, .. }) => {
                    if !whole {
                        self.mendable(object.name, "its bytes do not match its name");
                    }
                    self.whole.insert(names::parity(id.as_bytes()));
                    self.protected.insert(names::parity(id.as_bytes()));
                    let damage = look_at_parity(self.archive, id.as_bytes(), &bytes)?;
                    self.found.damage.extend(damage);
                }
                Err(error) => {
                    let damage = look_at_parity(self.archive, id.as_bytes(), &[])?;
                    self.found.damage.extend(damage);
                    // One that is newer than this program is no loss.
                    if error.kind() == Kind::Damaged {
                        let legible = readable(&**self.archive.store(), &object.name, MAX_MARK_LEN);
                        let legible = legible.ok().and_then(|(bytes, _)| Mark::decode(&bytes).ok());
                        self.illegible(&object.name, Record::DamagedMark(legible));
                    }
                    self.note(object.name, error)?;
                }
            }
        }
        Ok(())
    }

    /// Every object of facts about photos. They can be made again, so damage costs no file.
    fn facts(&mut self) -> Result<()> {
        for object in objects(self.archive, names::DERIVED)? {
            check_stop(self.observer)?;
            self.found.objects += 1;
            let Some(id) = DerivedId::from_hex(names::last(&object.name)) else { continue };
            if let Err(error) = self.archive.read_facts(&id) {
                if self.is_gone(&object.name, &error)? {
                    continue;
                }
                self.mendable.insert(object.name.clone());
                self.note(object.name, error)?;
            }
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
