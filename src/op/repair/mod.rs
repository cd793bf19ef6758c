//! Repairing: what is damaged is made whole again, and what cannot be is named.
//!
//! First everything is verified, byte for byte, and a remedy is found for each damaged object; a dry run ends there. Then
//! each object gets its own bytes back under its name. A pack that nobody can tell any more gives its whole frames to a new
//! pack and is taken out of the way, so that its other chunks count as missing and the next backup stores them again.
//!
//! Nothing is deleted: what was damaged lies in quarantine afterwards. It may be stopped at any moment; the next run goes
//! on with what it finds.

mod find;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::verify::{AffectedFile, Damage, GoneRecord, LostChunk, Record, Verify, VerifyOptions, verify};
use super::{Event, Observer, Quiet, check_stop};
use crate::archive::{Archive, MAX_PACK_LEN, Repairer, directory_of};
use crate::error::{Error, Kind, Result};
use crate::format::{HEADER_LEN, Header, Hint, Mark, SegmentPack, Snapshot, names};
use crate::id::{ChunkId, MarkId, PackId, SegmentId, SnapshotId};
use crate::store::Leftovers;
use find::Find;

/// Where to look for what recovery data cannot tell.
#[derive(Clone, Copy, Default)]
pub struct RepairOptions<'a> {
    /// Another archive that may hold the same.
    pub from: Option<&'a Archive>,
    /// Whether to look into the files at the source, where the snapshots say that they were.
    pub source: bool,
    /// Only say what there is to do.
    pub dry_run: bool,
}

/// What is done about a damaged object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Its recovery data tell what it was.
    Mend,
    /// The other archive has it.
    Copy,
    /// Other objects say the same, so it is made anew.
    Remake,
    /// What is whole in it moves into a new pack, and it is set aside.
    Rescue,
    /// It is set aside.
    SetAside,
    /// Nothing; it needs somebody who knows more.
    Leave,
}

/// What came of it, or would.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// Each damaged object, and what is done about it.
    pub steps: Vec<(String, Remedy)>,
    /// Chunks that were lost and found in the other archive or at the source.
    pub found: u64,
    /// What stays damaged.
    pub left: Vec<Damage>,
    /// Snapshots that nobody can tell any more.
    pub lost_snapshots: Vec<SnapshotId>,
    /// Snapshots that are there again, and what was said of sources, and what of both nobody can tell any more.
    pub gone: Vec<GoneRecord>,
    /// What stays lost.
    pub lost: Vec<AffectedFile>,
}

impl Repair {
    /// Whether nothing is damaged or lost any more.
    pub fn is_whole(&self) -> bool {
        let told = self.gone.iter().all(|gone| gone.mendable);
        self.left.is_empty() && self.lost_snapshots.is_empty() && self.lost.is_empty() && told
    }
}

/// Repairs an archive.
///
/// # Errors
/// [`Kind::InUse`] while any other process writes to it, [`Kind::Interrupted`], or the store's error. In any case nothing is
/// lost that was not lost before.
pub fn repair(archive: &Archive, options: &RepairOptions<'_>, observer: &dyn Observer) -> Result<Repair> {
    if options.from.is_some_and(|other| other.store().place() == archive.store().place()) {
        return Err(Error::new(Kind::Invalid, "repairing", "the other archive is this one"));
    }
    let repairer = if options.dry_run { None } else { Some(archive.repairer()?) };
    let found = verify(
        archive,
        &VerifyOptions { read_data: true, alone: repairer.is_some(), ..VerifyOptions::default() },
        observer,
    )?;
    let work = Work { archive, find: Find::new(archive, options, &found)?, observer };
    let steps = work.plan(&found)?;
    let lost_snapshots = lost_snapshots(&steps);
    let gone = gone(&steps, &found);
    let done = match repairer {
        None => {
            let left = left(&steps, &found.damage);
            let (found, lost) = work.foretell(found)?;
            Ok(Repair { steps, found, left, lost_snapshots, gone, lost })
        }
        Some(_) if steps.is_empty() && found.lost.is_empty() => {
            Ok(Repair { gone, lost: wrong(&found), ..Repair::default() })
        }
        Some(repairer) => {
            let (more, after) = work.perform(&repairer, &steps)?;
            let mut lost = after.affected;
            // Only reading all data tells of these, and no other copy of their parts would help.
            lost.extend(wrong(&found).into_iter().filter(|file| !lost.contains(file)).collect::<Vec<_>>());
            Ok(Repair { steps, found: more, left: after.damage, lost_snapshots, gone, lost })
        }
    }?;
    if !options.dry_run {
        // Whoever repairs has been told of them.
        archive.forget_snapshots(&gone_for_ever(&done));
        if done.is_whole() {
            archive.note_damage(None);
        }
    }
    Ok(done)
}

/// Files and directories that are something else than was recorded although all their parts are there.
fn wrong(found: &Verify) -> Vec<AffectedFile> {
    found.wrong.iter().map(|wrong| wrong.file.clone()).collect()
}

struct Work<'a> {
    archive: &'a Archive,
    find: Find<'a>,
    observer: &'a dyn Observer,
}

/// An object that nothing but its recovery data tells of.
struct Vanished {
    name: String,
    remedy: Remedy,
    /// What a pack holds.
    chunks: Vec<ChunkId>,
}

/// A damaged object, by what it is.
enum Sort {
    Header,
    Pack(PackId),
    Parity([u8; 32]),
    Segment,
    Snapshot(SnapshotId),
    Mark(MarkId),
    Readme,
    Other,
}

impl Sort {
    fn of(name: &str) -> Self {
        let last = names::last(name);
        let pack = PackId::from_hex(last);
        match name.split('/').next() {
            Some(first) if names::HEADERS.contains(&first) => Self::Header,
            Some(names::README) => Self::Readme,
            Some(names::PACKS) => pack.filter(|id| names::pack(id) == name).map_or(Self::Other, Self::Pack),
            Some(names::PARITY) => pack.map_or(Self::Other, |id| Self::Parity(*id.as_bytes())),
            Some(names::SEGMENTS) => Self::Segment,
            Some(names::SNAPSHOTS) => SnapshotId::from_hex(last).map_or(Self::Other, Self::Snapshot),
            Some(names::MARKS) => MarkId::from_hex(last).map_or(Self::Other, Self::Mark),
            _ => Self::Other,
        }
    }
}

impl Work<'_> {
    /// A remedy for each damaged object, in the order in which they are applied: packs first, since other objects are made
    /// from them, and headers last, since the archive is held by them.
    fn plan(&self, found: &Verify) -> Result<Vec<(String, Remedy)>> {
        let damaged: BTreeSet<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
        let mut steps = Vec::new();
        for name in damaged {
            check_stop(self.observer)?;
            steps.push((name.to_owned(), self.remedy(name)?));
        }
        // The other archive may have a snapshot of which nothing is left here.
        for gone in &found.gone {
            if let (Sort::Snapshot(id), Record::LostSnapshot(_)) = (Sort::of(&gone.object), &gone.what)
                && let Some((remedy, _)) = self.find.snapshot(&id)?
            {
                steps.push((gone.object.clone(), remedy));
            }
        }
        for Vanished { name, remedy, .. } in self.vanished(found)? {
            steps.retain(|(other, _)| *other != name);
            steps.push((name, remedy));
        }
        // Recovery data from which nobody can tell what it was of.
        let unknown = found.gone.iter().filter(|gone| gone.what == Record::Unknown);
        steps.extend(unknown.map(|gone| (gone.object.clone(), Remedy::SetAside)));
        if !found.untold.is_empty() {
            steps.push((names::SEGMENTS.to_owned(), Remedy::Remake));
        }
        if Repairer::lacks_readme(self.archive)? {
            steps.push((names::README.to_owned(), Remedy::Remake));
        }
        steps.sort_by_key(|(name, _)| match Sort::of(name) {
            Sort::Pack(_) => 0,
            Sort::Snapshot(_) | Sort::Mark(_) => 1,
            Sort::Segment => 2,
            Sort::Parity(_) | Sort::Readme | Sort::Other => 3,
            Sort::Header => 4,
        });
        Ok(steps)
    }

    fn remedy(&self, name: &str) -> Result<Remedy> {
        let found = match Sort::of(name) {
            Sort::Pack(id) => match self.find.pack(&id)? {
                Some((Remedy::Leave, _)) => Some(Remedy::Remake), // it is whole, and a segment tells otherwise
                Some((remedy, _)) => Some(remedy),
                None => Some(Remedy::Rescue),
            },
            Sort::Snapshot(id) => self.find.snapshot(&id)?.map(|(remedy, _)| remedy),
            Sort::Mark(id) => self.find.mark(&id)?.map(|(remedy, _)| remedy),
            Sort::Parity(id) => self.find.either(&id)?.map(|_| Remedy::Remake),
            Sort::Segment | Sort::Readme => Some(Remedy::Remake),
            Sort::Header => {
                // One that is whole and of another archive: who knows which of the two belongs here?
                let read = self.archive.store().get(name, HEADER_LEN as u64);
                let foreign = read.and_then(|bytes| Header::decode(&bytes)).is_ok();
                Some(if foreign { Remedy::Leave } else { Remedy::Remake })
            }
            Sort::Other => None,
        };
        Ok(found.unwrap_or(Remedy::SetAside))
    }

    /// Snapshots and packs that are gone and can be had back while only their recovery data say that they were there: a
    /// snapshot whose directories are there, or a pack that holds what is lost. Others are what a crash has left.
    fn vanished(&self, found: &Verify) -> Result<Vec<Vanished>> {
        let store = self.archive.store();
        let lost: HashSet<ChunkId> = found.lost.iter().map(|lost| lost.id).collect();
        let mut vanished = Vec::new();
        for object in store.list(names::PARITY, Leftovers::Leave)? {
            let Sort::Parity(id) = Sort::of(&object.name) else { continue };
            let (pack, snapshot) = (PackId::from_bytes(id), SnapshotId::from_bytes(id));
            let mark = MarkId::from_bytes(id);
            let own = [names::pack(&pack), names::snapshot(&snapshot), names::mark(&mark)];
            if own.iter().map(|name| store.len(name)).collect::<Result<Vec<_>>>()?.iter().any(Option::is_some) {
                continue;
            }
            let Some((remedy, bytes)) = self.find.object(&names::pack(&pack), &id, MAX_PACK_LEN)? else { continue };
            if let Ok(decoded) = Snapshot::decode(&bytes) {
                if !self.archive.locate(&decoded.tree)?.is_empty() {
                    vanished.push(Vanished { name: names::snapshot(&snapshot), remedy, chunks: Vec::new() });
                }
            } else if Mark::decode(&bytes).is_ok() {
                vanished.push(Vanished { name: names::mark(&mark), remedy, chunks: Vec::new() });
            } else if let Ok(decoded) = directory_of(&pack, &bytes) {
                let chunks: Vec<ChunkId> = decoded.rows.iter().map(|row| row.frame.id).collect();
                if chunks.iter().any(|id| lost.contains(id)) {
                    vanished.push(Vanished { name: names::pack(&pack), remedy, chunks });
                }
            }
        }
        Ok(vanished)
    }

    /// How many lost chunks would be found, and which files would stay lost.
    fn foretell(&self, mut verified: Verify) -> Result<(u64, Vec<AffectedFile>)> {
        let coming: HashSet<ChunkId> =
            self.vanished(&verified)?.into_iter().flat_map(|vanished| vanished.chunks).collect();
        let (mut found, mut missing) = (BTreeSet::new(), HashSet::new());
        let lost = || verified.lost.iter().filter(|chunk| !coming.contains(&chunk.id));
        for chunk in lost() {
            check_stop(self.observer)?;
            // It may be needed by several files, and be found where one of them is.
            if !found.contains(&chunk.id) && self.find.has(chunk)? {
                found.insert(chunk.id);
            }
        }
        for chunk in lost().filter(|chunk| !found.contains(&chunk.id)) {
            missing.insert((chunk.snapshot, chunk.path.as_slice()));
        }
        let mut affected = std::mem::take(&mut verified.affected);
        let wrong = wrong(&verified);
        affected.retain(|file| missing.contains(&(file.snapshot, file.path.as_slice())) && !wrong.contains(file));
        affected.extend(wrong);
        Ok((found.len() as u64, affected))
    }

    /// Does it all, and looks what is left. Returns how many lost chunks were found, too.
    fn perform(&self, repairer: &Repairer<'_>, steps: &[(String, Remedy)]) -> Result<(u64, Verify)> {
        self.observer.event(Event::Begin { files: steps.len() as u64, bytes: 0 });
        let (headers, others): (Vec<_>, Vec<_>) =
            steps.iter().partition(|(name, _)| matches!(Sort::of(name), Sort::Header));
        for (name, remedy) in &others {
            check_stop(self.observer)?;
            self.apply(repairer, name, *remedy)?;
            self.observer.event(Event::Advance { files: 1, bytes: 0 });
        }
        let told = self.told(&given_up(steps))?;
        self.give_up(repairer, &told, steps)?;
        let frames = told.values().flat_map(|pack| &pack.rows).map(|row| row.frame);
        let hints: HashMap<ChunkId, Hint> = frames.map(|frame| (frame.id, frame.hint)).collect();
        repairer.retell()?;
        let (mut found, mut after) = (0, self.look()?);
        // What was below a directory that was lost is known only when that is found.
        while !after.lost.is_empty() {
            let more = self.fetch(repairer, &after.lost, &hints)?;
            if more == 0 {
                break;
            }
            found += more;
            after = self.look()?;
        }
        for (name, remedy) in &headers {
            self.apply(repairer, name, *remedy)?;
            self.observer.event(Event::Advance { files: 1, bytes: 0 });
        }
        if !headers.is_empty() {
            after = self.look()?;
        }
        Ok((found, after))
    }

    /// The bytes of everything have been looked at, or made just now.
    fn look(&self) -> Result<Verify> {
        verify(self.archive, &VerifyOptions { alone: true, ..VerifyOptions::default() }, &Quiet(self.observer))
    }

    /// Gives an object its own bytes back, or takes it out of the way.
    fn apply(&self, repairer: &Repairer<'_>, name: &str, remedy: Remedy) -> Result<()> {
        let gone = || Error::new(Kind::Damaged, format!("repairing {name}"), "what would mend it is no longer there");
        match (remedy, Sort::of(name)) {
            (Remedy::Mend | Remedy::Copy, Sort::Pack(id)) => {
                let (_, bytes) = self.find.pack(&id)?.ok_or_else(gone)?;
                repairer.put_in_place(name, &bytes)
            }
            (Remedy::Mend | Remedy::Copy, Sort::Snapshot(id)) => {
                let (_, bytes) = self.find.snapshot(&id)?.ok_or_else(gone)?;
                repairer.put_in_place(name, &bytes)
            }
            (Remedy::Mend | Remedy::Copy, Sort::Mark(id)) => {
                let (_, bytes) = self.find.mark(&id)?.ok_or_else(gone)?;
                repairer.put_in_place(name, &bytes)
            }
            (Remedy::Remake, Sort::Parity(id)) => {
                let bytes = self.find.either(&id)?.ok_or_else(gone)?;
                repairer.remake_parity(&id, &bytes)
            }
            (Remedy::Remake, Sort::Header) => repairer.put_in_place(name, &self.archive.header().encode()),
            (Remedy::Remake, Sort::Readme) => repairer.remake_readme(),
            (Remedy::SetAside, _) => repairer.set_aside(name),
            _ => Ok(()), // rescued together, retold together, or left
        }
    }

    /// Moves what is whole in packs that nobody can tell into new ones, and sets them aside.
    fn give_up(
        &self,
        repairer: &Repairer<'_>,
        told: &HashMap<PackId, SegmentPack>,
        steps: &[(String, Remedy)],
    ) -> Result<()> {
        let packs = given_up(steps);
        if packs.is_empty() {
            return Ok(());
        }
        let rescue = repairer.rescue(&packs)?;
        for id in &packs {
            check_stop(self.observer)?;
            let name = names::pack(id);
            // A power cut may have left it in quarantine only.
            repairer.each_remains(&name, &mut |bytes| rescue.frames(id, bytes, told.get(id)).map(drop))?;
        }
        rescue.finish()?;
        packs.iter().try_for_each(|id| repairer.set_aside(&names::pack(id)))
    }

    /// What segments say of these packs.
    fn told(&self, packs: &HashSet<PackId>) -> Result<HashMap<PackId, SegmentPack>> {
        let mut told = HashMap::new();
        for object in self.archive.store().list(names::SEGMENTS, Leftovers::Leave)? {
            let Some(id) = SegmentId::from_hex(names::last(&object.name)) else { continue };
            match self.archive.read_segment(&id) {
                Ok(segment) => {
                    told.extend(segment.packs.into_iter().filter(|p| packs.contains(&p.id)).map(|p| (p.id, p)));
                }
                Err(error) if error.kind().is_of_an_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    /// Takes in what is found of lost chunks, of which segments said this much. How many that were.
    fn fetch(&self, repairer: &Repairer<'_>, lost: &[LostChunk], hints: &HashMap<ChunkId, Hint>) -> Result<u64> {
        let rescue = repairer.rescue(&HashSet::new())?;
        let mut found = 0;
        for chunk in lost {
            check_stop(self.observer)?;
            self.find.each(chunk, &mut |chunk| {
                let hint = hints.get(&chunk.id()).copied().unwrap_or(Hint::None);
                found += u64::from(rescue.chunk(chunk, hint)?);
                Ok(())
            })?;
        }
        rescue.finish()?;
        Ok(found)
    }
}

/// Packs that nobody can tell any more.
fn given_up(steps: &[(String, Remedy)]) -> HashSet<PackId> {
    let packs = steps.iter().filter_map(|(name, remedy)| match Sort::of(name) {
        Sort::Pack(id) if *remedy == Remedy::Rescue => Some(id),
        _ => None,
    });
    packs.collect()
}

/// Damage that nothing is done about.
fn left(steps: &[(String, Remedy)], damage: &[Damage]) -> Vec<Damage> {
    let left: BTreeMap<&str, Remedy> = steps.iter().map(|(name, remedy)| (name.as_str(), *remedy)).collect();
    let stays = |damage: &&Damage| left.get(damage.object.as_str()) == Some(&Remedy::Leave);
    damage.iter().filter(stays).cloned().collect()
}

/// What becomes of snapshots and marks that were gone. Another archive may have what recovery data do not tell.
fn gone(steps: &[(String, Remedy)], found: &Verify) -> Vec<GoneRecord> {
    let comes_back = |gone: &GoneRecord| {
        steps.iter().any(|(name, remedy)| *name == gone.object && matches!(remedy, Remedy::Mend | Remedy::Copy))
    };
    let known = found.gone.iter().map(|gone| GoneRecord { mendable: comes_back(gone), ..gone.clone() });
    // Snapshots of which a damaged object is left are told by what is done about that.
    let is_left = |gone: &GoneRecord| found.damage.iter().any(|damage| damage.object == gone.object);
    known.filter(|gone| !matches!(gone.what, Record::LostSnapshot(_)) || !is_left(gone)).collect()
}

/// Snapshots of which nothing is left anywhere.
fn gone_for_ever(done: &Repair) -> Vec<SnapshotId> {
    let of = |gone: &GoneRecord| match gone.what {
        Record::LostSnapshot(id) if !gone.mendable => Some(id),
        _ => None,
    };
    done.gone.iter().filter_map(of).collect()
}

fn lost_snapshots(steps: &[(String, Remedy)]) -> Vec<SnapshotId> {
    let lost = steps.iter().filter(|(_, remedy)| *remedy == Remedy::SetAside);
    lost.filter_map(|(name, _)| match Sort::of(name) {
        Sort::Snapshot(id) => Some(id),
        _ => None,
    })
    .collect()
}
