//! What must be true of every state in which a power cut may leave the drive.
//!
//! | | |
//! |---|---|
//! | I0 | an object is there whole or not at all (or empty, on FAT); once the store has said that it is durable, it is there whole |
//! | I1 | every snapshot that was acknowledged before is there and is read bit for bit |
//! | I2 | a snapshot that is listed is one that was taken, and is read bit for bit |
//! | I3 | `verify` names exactly what is damaged or missing, and exactly the files that cannot be read |
//! | I4 | the next `create` needs no help, and what it records is read bit for bit |
//! | I5 | nothing beside the archive has changed |
//! | I6 | nothing panics, no other sort of error comes than is documented, no temporary file is read |
//! | I7 | an index on this computer, which may know more than the drive kept, changes none of these answers |
//! | I8 | the next `create` sweeps what was interrupted and takes loose packs into use; `repair` leaves an archive without damage |
//!
//! Where the drive lies about its syncs, nothing that the run told counts before the drive was ejected. Runs that only add
//! must then still keep what was acknowledged before; for the others, no wrong byte is ever read, what is lost is named, and
//! the next `create` works.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use snapkeep::archive::{Archive, Notify};
use snapkeep::error::{Error, Kind};
use snapkeep::format::{EntryKind, names};
use snapkeep::id::{PackId, SegmentId, SnapshotId};
use snapkeep::op::{RepairOptions, VerifyOptions, backup, repair, verify};
use snapkeep::view::{Node, View, join};

use super::common::{Contents, Heard, options};
use super::disk::{Blob, Disk, Name, SimFs};
use super::models::{Model, Moment};
use super::scenes::{Held, PARAMETERS, Scene};

/// What is wrong with a state.
#[derive(Clone, Debug)]
pub struct Fault {
    pub oracle: &'static str,
    pub what: String,
}

type Judged<T = ()> = Result<T, Fault>;

/// Whether two texts for whoever finds an archive are alike but for what they say of its header: a run that is killed before
/// there is a header leaves one of an archive that never was.
fn says_alike(one: &Blob, other: &Blob) -> bool {
    let parts = |blob: &Blob| {
        let bytes = blob.bytes().to_vec();
        let end = bytes.strip_suffix(b"\n").and_then(|text| text.iter().rposition(|byte| *byte == b'\n'));
        end.map(|end| (bytes[..end].to_vec(), bytes.len()))
    };
    parts(one).is_some() && parts(one) == parts(other)
}

fn fault<T>(oracle: &'static str, what: impl Into<String>) -> Judged<T> {
    Err(Fault { oracle, what: what.into() })
}

/// How much is asked of a state.
#[derive(Clone, Copy, PartialEq)]
pub struct Depth {
    /// I3, I4 and I8 as far as the next `create` goes.
    pub dear: bool,
    /// I7 and `repair`.
    pub dearest: bool,
}

/// What a state of a scene is measured by.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    pub scene: &'a Scene,
    pub moment: Moment,
    pub model: Model,
    /// What the store had promised by then.
    pub promises: &'a BTreeMap<Name, Option<Blob>>,
    /// Whether I0 is asked; without it, only what is lost or wrong counts.
    pub promise: bool,
}

/// What of a snapshot can be read: by path, what is there, or nothing if it cannot be read.
type Read = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

pub fn open(fs: &SimFs, cache: Option<&Path>) -> Result<Archive, Error> {
    let silent: Notify = Arc::new(|_| {});
    Archive::open(fs.store(), cache, silent)
}

impl Judge<'_> {
    pub fn judge(&self, state: &Disk, depth: Depth) -> Judged {
        let asked = catch_unwind(AssertUnwindSafe(|| self.ask(state, depth)));
        asked.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            fault("I6", format!("panic: {}", text.unwrap_or_else(|| "of another sort".to_owned())))
        })
    }

    fn lying(&self) -> bool {
        self.model == Model::Lying
    }

    /// Whether this run may remove what a lying drive has not got elsewhere.
    fn only_right(&self) -> bool {
        self.lying() && !self.scene.adds_only
    }

    fn told(&self, acked: usize) -> bool {
        acked == 0 || (!self.lying() && self.moment.told >= acked)
    }

    fn ask(&self, state: &Disk, depth: Depth) -> Judged {
        if self.promise && !self.lying() {
            self.whole(state)?;
        }
        let fs = SimFs::new(state);
        let archive = match open(&fs, None) {
            Ok(archive) => archive,
            Err(error) if !self.told(self.scene.made) && matches!(error.kind(), Kind::NoArchive | Kind::Damaged) => {
                return self.begins_anew(state);
            }
            Err(error) => return fault("I1", format!("opening: {error}")),
        };
        if self.only_in_quarantine(state) || self.lying() && self.has_no_header(state) {
            return self.repaired(state);
        }
        let unread = self.listed(&archive)?;
        drop(archive);
        self.nothing_else(&fs, state)?;
        if fs.disk() != *state {
            return fault("I5", "reading changed the archive");
        }
        if depth.dear {
            self.verified(&fs, &unread)?;
            self.goes_on(state, &unread, None)?;
        }
        if depth.dearest {
            self.another_index(state, &unread)?;
            self.repaired(state)?;
        }
        Ok(())
    }

    /// Objects are whole, and those that are promised are there.
    fn whole(&self, state: &Disk) -> Judged {
        for (name, blob) in self.promises.iter() {
            if state.0.get(name).cloned().flatten() != *blob {
                return fault("I0", format!("{name} is not as it was when it was told to be durable"));
            }
        }
        let torn = |(name, blob): &(&str, &Blob)| {
            let empty = self.model == Model::Vfat && blob.bytes().is_empty();
            let was = self.scene.start.get(name) == Some(*blob);
            let is_whole = |good: &Blob| good == *blob || (*name == names::README && says_alike(good, blob));
            !empty && !was && self.scene.good.get(*name).is_some_and(|good| !is_whole(good))
        };
        match state.objects().find(torn) {
            Some((name, _)) => fault("I0", format!("{name} is there, but not whole")),
            None => Ok(()),
        }
    }

    /// A drive that lies may lose both copies of the header, and then a writer asks for a repair.
    fn has_no_header(&self, state: &Disk) -> bool {
        let damaged = self.damaged(state);
        let is_lost = |name: &&str| {
            !state.objects().any(|(there, _)| there == *name) || damaged.iter().any(|other| other == *name)
        };
        names::HEADERS.iter().all(is_lost)
    }

    /// Whether a repair was cut off in the moment in which FAT has neither the damaged object nor the right one. Its remains lie in
    /// quarantine, and the repair has to be run again.
    pub fn only_in_quarantine(&self, state: &Disk) -> bool {
        let kept = |name: &str| state.get(&format!("quarantine/{name}")).is_some();
        self.model == Model::Vfat
            && self.scene.replaces
            && self
                .scene
                .start
                .objects()
                .any(|(name, _)| state.get(name).is_none_or(|b| b.bytes().is_empty()) && kept(name))
    }

    /// Nothing beside the archive has changed, and nothing was done that may not be done.
    fn nothing_else(&self, fs: &SimFs, state: &Disk) -> Judged {
        if fs.disk().outside() != state.outside() || state.outside() != self.scene.start.outside() {
            return fault("I5", "something beside the archive has changed");
        }
        match fs.faults().first() {
            Some(what) => fault("I6", what.clone()),
            None => Ok(()),
        }
    }

    /// The snapshots are those that may be there, and what each holds is right. Returns what cannot be read.
    fn listed(&self, archive: &Archive) -> Judged<BTreeSet<(SnapshotId, Vec<u8>)>> {
        let listed: BTreeSet<SnapshotId> = archive.snapshots().into_iter().map(|(id, _)| id).collect();
        for held in &self.scene.held {
            if self.told(held.acked) && !self.only_right() && !listed.contains(&held.id) {
                return fault("I1", format!("snapshot {} is gone", held.id.short()));
            }
        }
        let mut unread = BTreeSet::new();
        for id in &listed {
            let Some(held) = self.scene.held.iter().find(|held| held.id == *id) else {
                return fault("I2", format!("snapshot {} was never taken", id.short()));
            };
            let acked = self.told(held.acked);
            let missing = right(archive, *id, &held.contents).map_err(|what| Fault { oracle: "I1", what })?;
            for path in missing {
                // Half a snapshot may be there only where the drive lied, or where a repair has not come so far.
                let before = self.scene.lost.contains(&(*id, path.clone()));
                let allowed = before || self.lying() && (!acked || self.only_right());
                if !allowed {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    return fault(if acked { "I1" } else { "I2" }, format!("{path} of {} cannot be read", id.short()));
                }
                unread.insert((*id, path));
            }
            let mended = self.scene.mends && self.moment.calls == self.scene.log.len() && !self.lying();
            if mended && !unread.is_empty() {
                return fault("I1", "it was told to be repaired");
            }
        }
        Ok(unread)
    }

    /// Verifying names what is damaged, and the files that it costs.
    fn verified(&self, fs: &SimFs, unread: &BTreeSet<(SnapshotId, Vec<u8>)>) -> Judged {
        let archive = open(fs, None).or_else(|error| fault("I3", format!("opening: {error}")))?;
        let found = verify(&archive, &VerifyOptions { read_data: true, ..VerifyOptions::default() }, &Heard::default());
        let found = found.or_else(|error| fault("I3", format!("verifying: {error}")))?;
        let disk = fs.disk();
        let damaged = self.damaged(&disk);
        let named: BTreeSet<&str> = found.damage.iter().map(|damage| damage.object.as_str()).collect();
        if let Some(name) = damaged.iter().find(|name| !named.contains(name.as_str())) {
            return fault("I3", format!("{name} is damaged, and that is not named: {named:?}"));
        }
        if let Some(name) = named.iter().find(|name| !damaged.contains(**name) && disk.get(name).is_some()) {
            return fault("I3", format!("{name} is not damaged, but named: {:?}", found.damage));
        }
        let inside = |path: &[u8]| {
            let below = path.strip_prefix(b"source").unwrap_or(path);
            below.strip_prefix(b"/").unwrap_or(below).to_vec()
        };
        let affected: BTreeSet<_> = found.affected.iter().map(|file| (file.snapshot, inside(&file.path))).collect();
        if affected != *unread {
            return fault("I3", format!("{} files cannot be read, and {} are named", unread.len(), affected.len()));
        }
        Ok(())
    }

    /// Objects that are there with other bytes than they should have. Recovery data of nothing is only a leftover.
    fn damaged(&self, disk: &Disk) -> BTreeSet<String> {
        let wrong = disk.objects().filter(|(name, blob)| match name.split('/').next() {
            Some("header" | "header.copy") => self.scene.good.get(*name).is_some_and(|good| good != *blob),
            Some("packs" | "segments" | "snapshots" | "derived") => {
                blake3::hash(blob.bytes()).to_hex().as_str() != names::last(name)
            }
            Some("parity") => {
                let last = names::last(name);
                let of = [format!("packs/{}/{last}", &last[..2]), format!("snapshots/{last}")];
                of.iter().any(|of| disk.get(of).is_some())
                    && self.scene.good.get(*name).is_some_and(|good| good != *blob)
            }
            _ => false,
        });
        wrong.map(|(name, _)| name.to_owned()).collect()
    }

    /// The next `create` works, tidies up, and spoils nothing.
    fn goes_on(&self, state: &Disk, unread: &BTreeSet<(SnapshotId, Vec<u8>)>, cache: Option<&Path>) -> Judged {
        let fs = SimFs::new(state);
        let archive = open(&fs, cache).or_else(|error| fault("I4", format!("opening: {error}")))?;
        let done = backup(&archive, &options(&[&self.scene.source]), &Heard::default());
        let done = done.or_else(|error| fault("I4", format!("the next run: {error}")))?;
        let Some(id) = done.id.filter(|_| done.unread.is_empty()) else {
            return fault("I4", format!("the next run: unread {:?}", done.unread));
        };
        drop(archive);
        self.nothing_else(&fs, state)?;
        let archive = open(&fs, None).or_else(|error| fault("I4", format!("opening again: {error}")))?;
        let mut missing = right(&archive, id, &self.scene.contents).map_err(|what| Fault { oracle: "I4", what })?;
        // A pack of the right length with wrong bytes is found out only by whoever reads it.
        let sound = !self.damaged(state).iter().any(|name| name.starts_with("packs/"));
        let must_be_whole = sound || !self.lying() && self.scene.lost.is_empty();
        if let Some(path) = missing.pop_if(|_| must_be_whole) {
            return fault("I4", format!("{} of the next snapshot cannot be read", String::from_utf8_lossy(&path)));
        }
        let mut held = self.scene.held.clone();
        held.retain(|held| held.id != id);
        held.push(Held { id, contents: self.scene.contents.clone(), acked: usize::MAX });
        let after = Scene { held, ..self.scene.clone() };
        let after = Judge { scene: &after, ..*self };
        let mut still = after.listed_after(&archive, unread, id)?;
        still.extend(missing.into_iter().map(|path| (id, path)));
        drop(archive);
        after.verified(&fs, &still)?;
        self.tidy(&fs, state, cache.is_some())
    }

    /// What could be read before is read after, too. Returns what still cannot be.
    fn listed_after(
        &self,
        archive: &Archive,
        unread: &BTreeSet<(SnapshotId, Vec<u8>)>,
        new: SnapshotId,
    ) -> Judged<BTreeSet<(SnapshotId, Vec<u8>)>> {
        let mut still = BTreeSet::new();
        for (id, _) in archive.snapshots() {
            let Some(held) = self.scene.held.iter().find(|held| held.id == id) else {
                return fault("I2", format!("snapshot {} was never taken", id.short()));
            };
            if id == new {
                continue; // looked at by the caller
            }
            for path in right(archive, id, &held.contents).map_err(|what| Fault { oracle: "I4", what })? {
                // A folder that could not be read may be there again, and lead to what could not be read below it.
                let before = |(of, above): &(SnapshotId, Vec<u8>)| {
                    of == &id && (above.is_empty() || *above == path || is_below(above, &path))
                };
                if !unread.iter().any(before) {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    return fault("I4", format!("{path} of {} cannot be read any more", id.short()));
                }
                still.insert((id, path));
            }
        }
        Ok(still)
    }

    /// After a run nothing interrupted is left, packs are told of, and every name is one that the specification knows.
    fn tidy(&self, fs: &SimFs, state: &Disk, remembers: bool) -> Judged {
        let disk = fs.disk();
        if let Some(name) = disk.temporaries().next() {
            return fault("I8", format!("{name} is not swept"));
        }
        let archive = open(fs, None).or_else(|error| fault("I8", format!("opening: {error}")))?;
        let mut told = BTreeSet::new();
        for (name, _) in disk.objects() {
            if let Some(id) = SegmentId::from_hex(names::last(name)).filter(|_| name.starts_with("segments/"))
                && let Ok(segment) = archive.read_segment(&id)
            {
                told.extend(segment.packs.into_iter().map(|pack| pack.id));
            }
        }
        let damaged = self.damaged(&disk);
        for (name, _) in disk.objects() {
            let last = names::last(name);
            let known = match name.split('/').next() {
                Some("README.txt" | "header" | "header.copy") => !name.contains('/'),
                Some("packs" | "parity") => name.split('/').nth(1) == last.get(..2) && PackId::from_hex(last).is_some(),
                Some("segments" | "snapshots" | "derived") => PackId::from_hex(last).is_some(),
                Some("quarantine") => true,
                _ => false,
            };
            if !known {
                return fault("I8", format!("{name} is no name of an archive"));
            }
            let id = PackId::from_hex(last).filter(|_| name.starts_with("packs/"));
            // An index may remember a segment that is spoiled now; then a repair tells of its packs again.
            let spoiled = damaged.iter().any(|name| name.starts_with("segments/"));
            let retold = !(spoiled && (remembers || self.lying()));
            if let Some(id) = id.filter(|id| retold && !damaged.contains(name) && !told.contains(id)) {
                return fault("I8", format!("no segment tells of pack {id}"));
            }
        }
        if names::HEADERS.iter().any(|header| disk.get(header).is_none() && state.get(header).is_none()) {
            return fault("I8", "a copy of the header is still missing");
        }
        Ok(())
    }

    /// An index that knows all that the run did, also what the drive lost, changes no answer.
    fn another_index(&self, state: &Disk, unread: &BTreeSet<(SnapshotId, Vec<u8>)>) -> Judged {
        let Some(index) = &self.scene.index else { return Ok(()) };
        let cache = super::common::quick();
        super::common::copy_tree(index.path(), cache.path());
        let seen = |cache| {
            let archive = open(&SimFs::new(state), cache).or_else(|error| fault("I7", format!("opening: {error}")))?;
            let listed: Vec<SnapshotId> = archive.snapshots().into_iter().map(|(id, _)| id).collect();
            Ok((listed, self.listed(&archive)?))
        };
        // Of a snapshot that a lying drive spoiled the index may have the right bytes.
        if seen(Some(cache.path()))? != seen(None)? && !self.lying() {
            return fault("I7", "with another index there are other answers");
        }
        self.goes_on(state, unread, Some(cache.path())).map_err(|fault| Fault { oracle: "I7", ..fault })
    }

    /// A repair leaves nothing damaged and nothing lost.
    fn repaired(&self, state: &Disk) -> Judged {
        if self.lying() {
            return Ok(());
        }
        if !self.scene.lost.is_empty() {
            // Without help it does not mend all, but nothing that could be read is lost by it.
            let fs = SimFs::new(state);
            let archive = open(&fs, None).or_else(|error| fault("I8", format!("opening: {error}")))?;
            let done = repair(&archive, &RepairOptions::default(), &Heard::default());
            done.or_else(|error| fault("I8", format!("repairing alone: {error}")))?;
            drop(archive);
            let archive = open(&fs, None).or_else(|error| fault("I8", format!("opening: {error}")))?;
            let again = Scene { mends: false, ..self.scene.clone() };
            Judge { scene: &again, ..*self }.listed(&archive)?;
        }
        let fs = SimFs::new(state);
        let archive = open(&fs, None).or_else(|error| fault("I8", format!("opening: {error}")))?;
        let options = RepairOptions { from: self.scene.from_other.as_deref(), source: true, dry_run: false };
        let done = repair(&archive, &options, &Heard::default());
        let done = done.or_else(|error| fault("I8", format!("repairing: {error}")))?;
        if !done.is_whole() {
            return fault("I8", format!("a repair leaves {:?} {:?} {:?}", done.left, done.lost_snapshots, done.lost));
        }
        drop(archive);
        self.nothing_else(&fs, state)?;
        if let Some(name) = fs.disk().temporaries().next() {
            return fault("I8", format!("{name} is not swept by a repair"));
        }
        let archive = open(&fs, None).or_else(|error| fault("I8", format!("opening: {error}")))?;
        let found = verify(&archive, &VerifyOptions { read_data: true, ..VerifyOptions::default() }, &Heard::default());
        match found {
            Ok(found) if found.damage.is_empty() && found.affected.is_empty() => {}
            Ok(found) => return fault("I8", format!("after a repair there is damage: {:?}", found.damage)),
            Err(error) => return fault("I8", format!("verifying: {error}")),
        }
        let unread = self.listed(&archive)?;
        if unread.is_empty() { Ok(()) } else { fault("I8", "after a repair something cannot be read") }
    }

    /// Where there was no archive yet, one can be made, and used.
    fn begins_anew(&self, state: &Disk) -> Judged {
        let fs = SimFs::new(state);
        let made = Archive::create(&*fs.store(), &PARAMETERS, 1_700_000_000);
        if self.lying() && state.objects().any(|(name, _)| name.contains('/')) {
            // Half a header beside other objects may be all that is left of somebody's archive.
            return match made {
                Err(error) if error.kind() != Kind::Exists => fault("I6", format!("making an archive: {error:?}")),
                _ => Ok(()),
            };
        }
        made.or_else(|error| {
            fault("I4", format!("making an archive where the power went while one was made: {error}"))
        })?;
        let state = fs.disk();
        let good = Arc::new(state.objects().map(|(name, blob)| (name.to_owned(), blob.clone())).collect());
        let scene = Scene { good, made: 0, ..self.scene.clone() };
        let judge = Judge { scene: &scene, ..*self };
        self.nothing_else(&fs, &state)?;
        judge.verified(&fs, &BTreeSet::new())?;
        judge.goes_on(&state, &BTreeSet::new(), None)
    }
}

/// What of a snapshot cannot be read; what can be must be what it was.
pub fn right(archive: &Archive, id: SnapshotId, contents: &Contents) -> Result<Vec<Vec<u8>>, String> {
    let read = read(archive, id)?;
    let lost: Vec<&Vec<u8>> = read.iter().filter(|(_, bytes)| bytes.is_none()).map(|(path, _)| path).collect();
    for (path, bytes) in contents {
        match read.get(path) {
            Some(Some(found)) if found == bytes => {}
            Some(None) => {}
            None if lost.iter().any(|dir| dir.is_empty() || is_below(dir, path)) => {}
            found => {
                let what = if found.is_some() { "has wrong bytes" } else { "is gone" };
                return Err(format!("{} of {} {what}", String::from_utf8_lossy(path), id.short()));
            }
        }
    }
    if let Some(path) = read.keys().find(|path| !path.is_empty() && !contents.contains_key(*path)) {
        return Err(format!("{} of {} was never there", String::from_utf8_lossy(path), id.short()));
    }
    Ok(lost.into_iter().cloned().collect())
}

fn is_below(folder: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

fn read(archive: &Archive, id: SnapshotId) -> Result<Read, String> {
    let found = archive.snapshots().into_iter().find(|(listed, _)| *listed == id);
    let (id, snapshot) = found.ok_or_else(|| format!("snapshot {} is not listed", id.short()))?;
    let view = View::new(archive, id, snapshot);
    let mut read = Read::new();
    let mut todo = vec![Node { path: Vec::new(), entry: None }];
    let lost = |error: Error| match error.kind() {
        Kind::Damaged | Kind::Missing => Ok(None),
        _ => Err(format!("an error of another sort: {error:?}")),
    };
    let inside =
        |path: &[u8]| path.strip_prefix(b"source").map(|path| path.strip_prefix(b"/").unwrap_or(path).to_vec());
    while let Some(node) = todo.pop() {
        let path = inside(&node.path).unwrap_or_default();
        let bytes = match node.entry.as_ref().map(|entry| &entry.kind) {
            None | Some(EntryKind::Dir { .. }) => match view.list(&node) {
                Ok(below) => {
                    let place = |entry: snapkeep::format::Entry| join(&node.path, &entry.name);
                    todo.extend(below.into_iter().map(|e| Node { path: place(e.clone()), entry: Some(e) }));
                    Some(Vec::new())
                }
                Err(error) => lost(error)?,
            },
            Some(EntryKind::Symlink { target }) => Some(target.clone()),
            Some(EntryKind::File { .. }) => {
                let mut bytes = Vec::new();
                let done = view.read(&node, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                });
                match done {
                    Ok(()) => Some(bytes),
                    Err(error) => lost(error)?,
                }
            }
        };
        if bytes.is_none() || !path.is_empty() {
            read.insert(path, bytes);
        }
    }
    Ok(read)
}
