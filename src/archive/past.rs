//! The past of every path, kept in the index: filled from snapshots, each compared with the one before, and filled again
//! whenever it is lost or no longer fits them.
//!
//! Only what differs between two snapshots is read and written, so a new snapshot costs what has changed. A snapshot
//! whose trees are damaged has no place in the past until it is mended: the ones around it are compared instead.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::compare::{Comparison, Place};
use super::index::{Began, Ended, PastChange, PastRow, PastState, PastStep, Track};
use super::walk::Patience;
use super::{Archive, Notice, entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{Entry, EntryKind, Snapshot, names};
use crate::id::{FileHash, SnapshotId};

/// So many steps are written at once, so that memory stays bounded.
const BATCH: usize = 50_000;

/// A source of a machine: whose past it is.
type Name = (String, Vec<u8>);

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
        self.ask_past(super::Index::tracks)
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
        let mut members: Vec<(Name, Vec<&(SnapshotId, Snapshot)>)> = Vec::new();
        let mut places: HashMap<Name, usize> = HashMap::new();
        for item in snapshots {
            for source in &item.1.sources {
                let name = (item.1.host.clone(), source.path.clone());
                let at = *places.entry(name.clone()).or_insert(members.len());
                if at == members.len() {
                    members.push((name, Vec::new()));
                }
                members[at].1.push(item);
            }
        }
        let mut patience = Patience::new(self)?;
        for (name, members) in members {
            let track = known.remove(&name);
            let number = track.as_ref().map_or_else(
                || {
                    next += 1;
                    next - 1
                },
                |track| track.number,
            );
            self.fill_track(number, &name, track, &members, changes, &mut patience)?;
        }
        // Nobody has these sources any more.
        for (_, track) in known {
            if !track.snapshots.is_empty() {
                let anew = Some((track.host.as_str(), track.path.as_slice()));
                self.index().apply_past(&PastChange { track: track.number, anew, snapshots: &[], steps: &[] })?;
            }
        }
        Ok(())
    }

    fn fill_track(
        &self,
        number: u32,
        name: &Name,
        track: Option<Track>,
        members: &[&(SnapshotId, Snapshot)],
        changes: usize,
        patience: &mut Patience,
    ) -> Result<()> {
        let merged = track.map(|track| track.snapshots).unwrap_or_default();
        // Snapshots that are damaged are not merged, so those that are may be any of the members, in order.
        let mut rest = members.iter();
        let fits = merged.iter().all(|id| rest.any(|member| member.0 == *id));
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
        if changes != usize::MAX && !(new.len() == 1 && few(&new[0].1)) {
            return Ok(());
        }
        let mut anew = (!fits).then_some((name.0.as_str(), name.1.as_slice()));
        let last = merged.last().filter(|_| fits);
        let before = last.and_then(|last| members.iter().find(|member| member.0 == *last));
        let mut before = match before {
            Some(member) => self.entry_of(member, name)?,
            None => None,
        };
        let mut position = if fits { merged.len() as u32 } else { 0 };
        let (mut steps, mut done) = (Vec::new(), Vec::new());
        for member in new {
            let compared = self.entry_of(member, name).and_then(|now| {
                let found = Comparison::within(patience, self, b"", before.as_ref(), now.as_ref())?;
                if patience.take(found.len()) {
                    return Ok((found, now));
                }
                let why = "its history claims more than an archive of this size can hold";
                Err(Error::new(Kind::Unsupported, format!("comparing snapshot {}", member.0.short()), why))
            });
            match compared {
                Ok((comparison, now)) => {
                    self.steps(position, comparison, &mut steps);
                    before = now;
                    position += 1;
                    done.push(member.0);
                }
                Err(error) if error.kind().is_of_an_object() => {
                    self.notify(Notice::PassedOver(names::snapshot(&member.0), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            if steps.len() > BATCH {
                self.index().apply_past(&PastChange { track: number, anew, snapshots: &done, steps: &steps })?;
                (steps, done, anew) = (Vec::new(), Vec::new(), None);
            }
        }
        self.index().apply_past(&PastChange { track: number, anew, snapshots: &done, steps: &steps })
    }

    /// A source's entry in a snapshot.
    fn entry_of(&self, (_, snapshot): &(SnapshotId, Snapshot), name: &Name) -> Result<Option<Entry>> {
        let Some(source) = snapshot.sources.iter().find(|source| source.path == name.1) else { return Ok(None) };
        let entries = entries_of(&self.reader(), &snapshot.tree)?;
        Ok(entries.into_iter().find(|entry| entry.name == source.name))
    }

    fn steps(&self, position: u32, found: Comparison, steps: &mut Vec<PastStep>) {
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
        let mut begin = |path, entry: &Entry, began| steps.extend(state(path, entry, position, began));
        for Place { path, entry } in found.added {
            begin(path, &entry, Began::Added);
        }
        for altered in found.changed {
            begin(altered.path, &altered.new, if altered.tags { Began::Tags } else { Began::Changed });
        }
        for moved in found.moved {
            begin(moved.to.path, &moved.to.entry, Began::Moved(moved.from.path));
        }
    }
}

fn state(path: Vec<u8>, entry: &Entry, from: u32, began: Began) -> Option<PastStep> {
    let (symlink, size, hash) = match &entry.kind {
        EntryKind::File { size, hash, .. } => (false, *size, *hash),
        EntryKind::Symlink { target } => (true, 0, FileHash::from_bytes(*blake3::hash(target).as_bytes())),
        EntryKind::Dir { .. } => return None,
    };
    let mtime = entry.meta.mtime.secs;
    Some(PastStep::Begin(PastState { path, from, began, ended: None, symlink, size, mtime, hash }))
}
