//! The past of every path, kept in the index: filled from snapshots, each compared with the one before, and filled again
//! whenever it is lost or no longer fits them.
//!
//! A source that was renamed is one: what was recorded under its earlier paths is the past of the path that it has now.
//! A snapshot that names a source and could not read it says nothing of it.
//!
//! Only what differs between two snapshots is read and written, so a new snapshot costs what has changed. A snapshot
//! whose trees are damaged has no place in the past until it is mended: the ones around it are compared instead.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::compare::{Comparison, Place};
use super::index::{Began, Ended, PastChange, PastRow, PastState, PastStep, Track};
use super::marks::Renames;
use super::walk::Patience;
use super::{Archive, Notice, entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{Entry, EntryKind, Snapshot, names};
use crate::id::{FileHash, SnapshotId};

/// So many steps are written at once, so that memory stays bounded.
const BATCH: usize = 50_000;
/// So many entries of snapshots' tops are kept in memory while it is filled.
const MAX_TOPS: usize = 500_000;

/// The machine of a source, and what its past is kept under.
type Name = (String, Vec<u8>);

/// A source of a machine: whose past it is.
struct Line<'s> {
    host: String,
    /// Where it is now.
    path: Vec<u8>,
    /// The snapshots that have it, oldest first.
    members: Vec<Member<'s>>,
}

impl Line<'_> {
    /// What its past is kept under: another one once it goes on where the past of another path ended, since what was
    /// merged so far is not all of it. The path is what is before the first zero byte.
    fn key(&self, renames: &Renames) -> Vec<u8> {
        let mut key = self.path.clone();
        let mut last = self.path.as_slice();
        for Member { snapshot, source, .. } in &self.members {
            let Some(source) = snapshot.sources.get(*source) else { continue };
            if source.path != last && source.path != self.path {
                key.push(0);
                key.extend_from_slice(&source.path);
            }
            last = &source.path;
        }
        if key.len() > self.path.len() {
            key.push(0);
            key.extend(renames.count(&self.host).to_string().into_bytes());
        }
        key
    }
}

impl Archive {
    /// Brings the past up to the newest snapshot and returns its tracks. What cannot be read is passed over with a
    /// notice.
    ///
    /// # Errors
    /// The store's error.
    pub fn past(&self) -> Result<Vec<Track>> {
        let snapshots = self.snapshots();
        self.fill_past(&snapshots, usize::MAX)?;
        self.known_past()
    }

    /// The same after a new snapshot, if that is little work: the past must have been complete before, and at most so many
    /// files may have changed. What is left undone is done when somebody asks.
    ///
    /// # Errors
    /// The store's error.
    pub fn follow_past(&self, changes: usize) -> Result<()> {
        let snapshots = self.snapshots();
        self.fill_past(&snapshots, changes)
    }

    /// The past of a track and path; an index that fails is filled again.
    ///
    /// # Errors
    /// The store's error, if the index has to be filled again.
    pub fn states(&self, track: u32, path: &[u8]) -> Result<Vec<PastState>> {
        self.ask_past(|index| {
            let mut found = Vec::new();
            index.states(track, path, &mut |row| {
                found.extend(row.state());
                ControlFlow::Continue(())
            })?;
            Ok(found)
        })
    }

    /// Goes through the past of a track and path, by path and then by time. If the index fails on the way, what was
    /// visited counts for nothing: [`Archive::refill_past`], and then again.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the index failed.
    pub fn visit_states(&self, track: u32, path: &[u8], visit: &mut dyn FnMut(PastRow<'_>)) -> Result<()> {
        self.index().states(track, path, &mut |row| {
            visit(row);
            ControlFlow::Continue(())
        })
    }

    /// Fills the index and the past again.
    ///
    /// # Errors
    /// The store's error.
    pub fn refill_past(&self, why: &str) -> Result<()> {
        self.refill(why)?;
        self.fill_past(&self.snapshots(), usize::MAX)
    }

    /// The first so many states of a path alone and, if there are none, of what is below it.
    ///
    /// # Errors
    /// As [`Archive::states`].
    pub fn states_from(&self, track: u32, path: &[u8], limit: usize) -> Result<Vec<PastState>> {
        self.ask_past(|index| {
            let mut found: Vec<PastState> = Vec::new();
            index.states(track, path, &mut |row| {
                let Some(state) = row.state() else { return ControlFlow::Continue(()) };
                let ends = found.len() == limit || (state.path != path && !found.is_empty());
                if ends {
                    return ControlFlow::Break(());
                }
                found.push(state);
                ControlFlow::Continue(())
            })?;
            Ok(found)
        })
    }

    /// Where files with these hashes were, in any track and at any time.
    ///
    /// # Errors
    /// As [`Archive::states`].
    pub fn states_with(&self, hashes: &[FileHash]) -> Result<Vec<Vec<(u32, PastState)>>> {
        self.ask_past(|index| index.states_with(hashes))
    }

    /// Files that differ in nothing but tags.
    ///
    /// # Errors
    /// As [`Archive::states`].
    pub fn files_of_picture(&self, picture: &crate::id::PictureHash) -> Result<Vec<FileHash>> {
        self.ask_past(|index| index.files_of_picture(picture))
    }

    fn known_past(&self) -> Result<Vec<Track>> {
        let mut tracks = self.ask_past(super::Index::tracks)?;
        for track in &mut tracks {
            let end = track.path.iter().position(|byte| *byte == 0);
            track.path.truncate(end.unwrap_or(track.path.len()));
        }
        Ok(tracks)
    }

    fn ask_past<T>(&self, ask: impl Fn(&super::Index) -> Result<T>) -> Result<T> {
        match ask(self.index()) {
            Err(fault) if fault.kind() == Kind::Internal => {
                self.refill_past(&fault.to_string())?;
                ask(self.index())
            }
            done => done,
        }
    }

    fn fill_past(&self, snapshots: &[(SnapshotId, Snapshot)], changes: usize) -> Result<()> {
        match self.try_fill_past(snapshots, changes) {
            Err(fault) if fault.kind() == Kind::Internal => {
                self.refill(&fault.to_string())?;
                self.try_fill_past(snapshots, changes)
            }
            done => done,
        }
    }

    fn try_fill_past(&self, snapshots: &[(SnapshotId, Snapshot)], changes: usize) -> Result<()> {
        let known = self.index().tracks()?;
        let mut next = known.iter().map(|track| track.number + 1).max().unwrap_or(0);
        let mut known: HashMap<Name, Track> =
            known.into_iter().map(|track| ((track.host.clone(), track.path.clone()), track)).collect();
        let renames = self.renames()?;
        let mut patience = Patience::new(self)?;
        let mut fill = Fill { archive: self, tops: Tops::default(), changes: Vec::new(), steps: 0 };
        for line in lines(snapshots, &renames) {
            let name = (line.host.clone(), line.key(&renames));
            let track = known.remove(&name);
            let number = track.as_ref().map_or_else(
                || {
                    next += 1;
                    next - 1
                },
                |track| track.number,
            );
            fill.track(number, &name, track, &line.members, changes, &mut patience)?;
        }
        // Nobody has these sources any more.
        for (_, track) in known {
            if !track.snapshots.is_empty() {
                let anew = Some((track.host, track.path));
                fill.add(Change { track: track.number, anew, snapshots: Vec::new(), steps: Vec::new() })?;
            }
        }
        fill.write()
    }
}

/// A snapshot, and which of its sources is meant.
#[derive(Clone, Copy)]
struct Member<'s> {
    id: SnapshotId,
    snapshot: &'s Snapshot,
    source: usize,
}

/// A [`PastChange`] that waits to be written.
struct Change {
    track: u32,
    anew: Option<Name>,
    snapshots: Vec<SnapshotId>,
    steps: Vec<PastStep>,
}

/// The tops of snapshots with many sources, so that each is read once and not for each source.
#[derive(Default)]
struct Tops {
    entries: HashMap<SnapshotId, Vec<Entry>>,
    held: usize,
}

/// The past while it is being filled: what is to be known of a track is written together with that of others.
struct Fill<'a> {
    archive: &'a Archive,
    tops: Tops,
    changes: Vec<Change>,
    steps: usize,
}

impl Fill<'_> {
    fn add(&mut self, change: Change) -> Result<()> {
        self.steps += 1 + change.steps.len();
        self.changes.push(change);
        if self.steps > BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let changes = std::mem::take(&mut self.changes);
        self.steps = 0;
        let changes: Vec<PastChange<'_>> = changes
            .iter()
            .map(|change| PastChange {
                track: change.track,
                anew: change.anew.as_ref().map(|(host, path)| (host.as_str(), path.as_slice())),
                snapshots: &change.snapshots,
                steps: &change.steps,
            })
            .collect();
        if changes.is_empty() { Ok(()) } else { self.archive.index().apply_past(&changes) }
    }

    fn track(
        &mut self,
        number: u32,
        name: &Name,
        track: Option<Track>,
        members: &[Member<'_>],
        changes: usize,
        patience: &mut Patience,
    ) -> Result<()> {
        let merged = track.map(|track| track.snapshots).unwrap_or_default();
        // Snapshots that are damaged are not merged, so those that are may be any of the members, in order.
        let mut rest = members.iter();
        let fits = merged.iter().all(|id| rest.any(|member| member.id == *id));
        let fits = fits && !merged.is_empty();
        if !fits {
            rest = members.iter();
        }
        let new: Vec<_> = rest.collect();
        if new.is_empty() {
            return Ok(());
        }
        let few = |snapshot: &Snapshot| {
            let summary = &snapshot.summary;
            let sum = [summary.changed, summary.moved, summary.gone]
                .iter()
                .fold(summary.new, |sum, more| sum.saturating_add(*more));
            sum <= changes as u64
        };
        if changes != usize::MAX && !(new.len() == 1 && few(new[0].snapshot)) {
            return Ok(());
        }
        let mut anew = (!fits).then(|| name.clone());
        let last = merged.last().filter(|_| fits);
        let before = last.and_then(|last| members.iter().find(|member| member.id == *last));
        let mut before = match before {
            Some(member) => self.entry_of(*member)?,
            None => None,
        };
        let mut position = if fits { merged.len() as u32 } else { 0 };
        let (mut steps, mut done) = (Vec::new(), Vec::new());
        for member in new {
            let archive = self.archive;
            let compared = self.entry_of(*member).and_then(|now| {
                let Some(now) = now else { return Ok(None) };
                let found = Comparison::within(patience, archive, b"", before.as_ref(), Some(&now))?;
                if patience.take(found.len()) {
                    return Ok(Some((found, Some(now))));
                }
                let why = "its history claims more than an archive of this size can hold";
                Err(Error::new(Kind::Unsupported, format!("comparing snapshot {}", member.id.short()), why))
            });
            match compared {
                // It could not be read then, which says nothing of what was in it.
                Ok(None) => {}
                Ok(Some((comparison, now))) => {
                    steps_of(position, comparison, &mut steps);
                    before = now;
                    position += 1;
                    done.push(member.id);
                }
                Err(error) if error.kind().is_of_an_object() => {
                    self.archive.notify(Notice::PassedOver(names::snapshot(&member.id), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            if steps.len() > BATCH {
                let (steps, done) = (std::mem::take(&mut steps), std::mem::take(&mut done));
                self.add(Change { track: number, anew: anew.take(), snapshots: done, steps })?;
            }
        }
        self.add(Change { track: number, anew, snapshots: done, steps })
    }

    /// A source's entry in a snapshot.
    fn entry_of(&mut self, Member { id, snapshot, source }: Member<'_>) -> Result<Option<Entry>> {
        let Some(name) = snapshot.sources.get(source).map(|source| &source.name) else { return Ok(None) };
        let find = |entries: &[Entry]| {
            entries.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|at| entries[at].clone())
        };
        if let Some(entries) = self.tops.entries.get(&id) {
            return Ok(find(entries));
        }
        let entries = entries_of(&self.archive.reader(), &snapshot.tree)?;
        let found = find(&entries);
        if snapshot.sources.len() > 1 && self.tops.held + entries.len() <= MAX_TOPS {
            self.tops.held += entries.len();
            self.tops.entries.insert(id, entries);
        }
        Ok(found)
    }
}

fn steps_of(position: u32, found: Comparison, steps: &mut Vec<PastStep>) {
    let mut end = |path: Vec<u8>, how| steps.push(PastStep::End(path, position, how));
    for Place { path, .. } in found.removed {
        end(path, Ended::Deleted);
    }
    for Place { path, .. } in found.replaced {
        end(path, Ended::Changed);
    }
    for altered in &found.changed {
        end(altered.path.clone(), Ended::Changed);
    }
    for moved in &found.moved {
        end(moved.from.path.clone(), Ended::Moved(moved.to.path.clone()));
    }
    for altered in found.marked {
        steps.push(PastStep::Mark(altered.path, position, altered.new.meta.carried));
    }
    let mut begin = |path, entry: &Entry, began| steps.extend(state(path, entry, position, began));
    for Place { path, entry } in found.added {
        begin(path, &entry, Began::Added);
    }
    for altered in found.changed {
        let began = match &altered.new.meta {
            meta if meta.decayed => Began::Decayed,
            _ if altered.tags => Began::Tags,
            _ => Began::Changed,
        };
        begin(altered.path, &altered.new, began);
    }
    for moved in found.moved {
        begin(moved.to.path, &moved.to.entry, Began::Moved(moved.from.path));
    }
}

/// The sources of these snapshots, in the order in which they were first met.
fn lines<'s>(snapshots: &'s [(SnapshotId, Snapshot)], renames: &Renames) -> Vec<Line<'s>> {
    let mut lines: Vec<Line<'s>> = Vec::new();
    let mut places: HashMap<(String, Vec<u8>), usize> = HashMap::new();
    for (id, snapshot) in snapshots {
        for (number, source) in snapshot.sources.iter().enumerate() {
            let path = renames.path_now(&snapshot.host, &source.path, snapshot.sequence).to_vec();
            let at = *places.entry((snapshot.host.clone(), path.clone())).or_insert(lines.len());
            if at == lines.len() {
                lines.push(Line { host: snapshot.host.clone(), path, members: Vec::new() });
            }
            if lines[at].members.last().is_none_or(|last| last.id != *id) {
                lines[at].members.push(Member { id: *id, snapshot, source: number });
            }
        }
    }
    lines
}

fn state(path: Vec<u8>, entry: &Entry, from: u32, began: Began) -> Option<PastStep> {
    let (symlink, size, hash) = match &entry.kind {
        EntryKind::File { size, hash, .. } => (false, *size, *hash),
        EntryKind::Symlink { target } => (true, 0, FileHash::from_bytes(*blake3::hash(target).as_bytes())),
        EntryKind::Dir { .. } => return None,
    };
    let mtime = entry.meta.mtime.secs;
    let carried = entry.meta.carried.map(|why| (from, why));
    Some(PastStep::Begin(PastState { path, from, began, ended: None, carried, symlink, size, mtime, hash }))
}
