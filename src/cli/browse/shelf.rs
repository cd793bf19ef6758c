//! What can be looked at: snapshots, folders, what is gone from them, and what a file was. Only reading; one folder at a
//! time, when somebody looks at it.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use snapkeep::archive::{Archive, Began, Ended, Filter};
use snapkeep::error::{Error, Kind, Result};
use snapkeep::format::{Entry, EntryKind, Snapshot, Time};
use snapkeep::id::{FileHash, SnapshotId};
use snapkeep::view::{Episode, History, Past, Span, View, join};

use super::super::words;

/// What can be restored: a path in a snapshot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Thing {
    pub snapshot: SnapshotId,
    pub path: Vec<u8>,
}

/// A snapshot on the time line.
#[derive(Clone, Debug)]
pub struct Moment {
    pub id: SnapshotId,
    pub time: Time,
    pub host: String,
    pub files: u64,
    pub bytes: u64,
    pub new: u64,
    pub changed: u64,
    pub gone: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    Folder,
    File,
    Link,
}

/// A line of a folder.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: Vec<u8>,
    pub sort: Sort,
    pub size: u64,
    pub mtime: Time,
    pub hash: Option<FileHash>,
    /// It is no longer in the source, and this is when it was seen last.
    pub gone: Option<Time>,
    pub thing: Thing,
}

/// A line of a past.
#[derive(Clone, Debug)]
pub struct Version {
    /// The first snapshot that had it so.
    pub since: Time,
    /// What happened, and to what.
    pub what: String,
    pub size: u64,
    /// What can be restored of it.
    pub thing: Option<Thing>,
}

/// What the browser looks at.
pub trait Shelf {
    /// Every snapshot, newest first.
    fn moments(&self) -> &[Moment];
    /// What is in a folder of a snapshot.
    fn list(&self, snapshot: &SnapshotId, path: &[u8]) -> Result<Vec<Row>>;
    /// What was in a folder once and is in the source no longer.
    fn gone(&self, path: &[u8]) -> Result<Vec<Row>>;
    /// What happened to a file or folder, newest first.
    fn history(&self, path: &[u8]) -> Result<Vec<Version>>;
    /// When a photo was taken, by the clock of its camera.
    fn taken(&self, hash: &FileHash) -> Option<i64>;
}

/// An archive.
pub struct Held<'a> {
    archive: &'a Archive,
    filter: Filter,
    snapshots: BTreeMap<SnapshotId, Snapshot>,
    moments: Vec<Moment>,
    past: OnceCell<Past<'a>>,
}

impl<'a> Held<'a> {
    pub fn new(archive: &'a Archive, filter: Filter) -> Self {
        let mut all = archive.snapshots();
        all.retain(|(_, snapshot)| filter.admits(snapshot));
        let moment = |(id, snapshot): &(SnapshotId, Snapshot)| {
            let sum = &snapshot.summary;
            let (files, bytes, new, changed, gone) = (sum.files, sum.bytes, sum.new, sum.changed, sum.gone);
            Moment { id: *id, time: snapshot.time, host: snapshot.host.clone(), files, bytes, new, changed, gone }
        };
        let moments = all.iter().rev().map(moment).collect();
        Self { archive, filter, snapshots: all.into_iter().collect(), moments, past: OnceCell::new() }
    }

    /// A view of a snapshot, also of one that was not asked for: what is gone may lie there.
    pub fn view(&self, id: &SnapshotId) -> Result<View<'a>> {
        let found = self.snapshots.get(id).cloned();
        let all = || self.archive.snapshots().into_iter().find(|(one, _)| one == id).map(|(_, snapshot)| snapshot);
        let missing = || Error::new(Kind::NotFound, "looking into a snapshot", "it is no longer there");
        Ok(View::new(self.archive, *id, found.or_else(all).ok_or_else(missing)?))
    }

    fn past(&self) -> Result<&Past<'a>> {
        if let Some(past) = self.past.get() {
            return Ok(past);
        }
        let past = Past::open(self.archive, &self.filter)?;
        Ok(self.past.get_or_init(|| past))
    }

    /// Where an episode can be restored from: its path in the last snapshot that has it, or its path at the source where
    /// the source had another name then.
    fn thing(past: &Past<'_>, episode: &Episode) -> Option<Thing> {
        let (id, snapshot) = past.last(episode)?;
        let (_, origin) = past.origin(&past.spot(episode));
        let tail = episode.state.path.len();
        let top = |path: &[u8]| {
            let top = &path[..path.len().saturating_sub(tail)];
            if tail == 0 { top.to_vec() } else { top.strip_suffix(b"/").unwrap_or(top).to_vec() }
        };
        let (name, source) = (top(&episode.path), top(&origin));
        let same = snapshot.sources.iter().any(|one| one.name == name && one.path == source);
        Some(Thing { snapshot: id, path: if same { episode.path.clone() } else { origin } })
    }
}

impl Shelf for Held<'_> {
    fn moments(&self) -> &[Moment] {
        &self.moments
    }

    fn list(&self, snapshot: &SnapshotId, path: &[u8]) -> Result<Vec<Row>> {
        let view = self.view(snapshot)?;
        let node = view.find(path)?;
        let row = |entry: Entry| {
            let (sort, size, hash) = match entry.kind {
                EntryKind::File { size, hash, .. } => (Sort::File, size, Some(hash)),
                EntryKind::Dir { bytes, .. } => (Sort::Folder, bytes, None),
                EntryKind::Symlink { target } => (Sort::Link, target.len() as u64, None),
            };
            let thing = Thing { snapshot: *snapshot, path: join(path, &entry.name) };
            Row { name: entry.name, sort, size, mtime: entry.meta.mtime, hash, gone: None, thing }
        };
        Ok(view.list(&node)?.into_iter().map(row).collect())
    }

    fn gone(&self, path: &[u8]) -> Result<Vec<Row>> {
        let past = self.past()?;
        let spots = match path {
            [] => past.roots(),
            path => match past.spots(path) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
                spots => spots?,
            },
        };
        let mut found: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
        for spot in spots {
            let above = if path.is_empty() { Vec::new() } else { past.path(&spot) };
            for episode in past.episodes(&[spot], Span::Deleted)? {
                let (Some((_, last)), Some(thing)) = (past.last(&episode), Self::thing(past, &episode)) else {
                    continue;
                };
                let Some(rest) = episode.path.strip_prefix(above.as_slice()) else { continue };
                let rest = rest.strip_prefix(b"/").unwrap_or(rest);
                let end = rest.iter().position(|byte| *byte == b'/');
                let name = rest[..end.unwrap_or(rest.len())].to_vec();
                let state = &episode.state;
                let row = match end {
                    // A folder: as the newest snapshot has it that still has something of it.
                    Some(end) => {
                        let below = rest.len() - end;
                        let path = thing.path[..thing.path.len() - below].to_vec();
                        let (sort, hash) = (Sort::Folder, None);
                        let thing = Thing { path, ..thing };
                        Row { name, sort, size: state.size, mtime: last.time, hash, gone: Some(last.time), thing }
                    }
                    None => {
                        let sort = if state.symlink { Sort::Link } else { Sort::File };
                        let hash = (!state.symlink).then_some(state.hash);
                        let mtime = Time { secs: state.mtime, nanos: 0 };
                        Row { name, sort, size: state.size, mtime, hash, gone: Some(last.time), thing }
                    }
                };
                match found.get_mut(&row.name) {
                    Some(known) if known.sort == Sort::Folder => {
                        let size = known.size + row.size;
                        if known.gone < row.gone {
                            *known = row;
                        }
                        known.size = size;
                    }
                    Some(_) => {}
                    None => drop(found.insert(row.name.clone(), row)),
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn history(&self, path: &[u8]) -> Result<Vec<Version>> {
        let past = self.past()?;
        let mut versions = Vec::new();
        for spot in past.spots(path)? {
            match past.history(&spot)? {
                History::File(episodes) => versions.extend(episodes.iter().filter_map(|one| version(past, one))),
                History::Album(changes) => {
                    for (id, moment, change) in changes {
                        let told = [
                            (change.added.files, "new"),
                            (change.changed.files, "changed"),
                            (change.tags.files, "tagged"),
                            (change.moved_in.files, "moved in"),
                            (change.moved_within.files, "moved within"),
                            (change.moved_out.files, "moved out"),
                            (change.deleted.files, "deleted"),
                        ];
                        let told = told.iter().filter(|(number, _)| *number > 0);
                        let told: Vec<_> =
                            told.map(|(number, what)| format!("{} {what}", words::count(*number))).collect();
                        let what = format!("{}; it holds {}", told.join(", "), words::files(change.holds.files));
                        let (_, path) = past.origin(&spot);
                        let thing = (change.holds.files > 0).then_some(Thing { snapshot: id, path });
                        versions.push(Version { since: moment.time, what, size: change.holds.bytes, thing });
                    }
                }
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version.since));
        Ok(versions)
    }

    fn taken(&self, hash: &FileHash) -> Option<i64> {
        self.archive.facts(hash)?.taken
    }
}

fn version(past: &Past<'_>, episode: &Episode) -> Option<Version> {
    let (_, since) = past.since(episode)?;
    let began = match &episode.state.began {
        Began::Added => "new".to_owned(),
        Began::Changed => "changed".to_owned(),
        Began::Tags => "other tags".to_owned(),
        Began::Decayed => "its bytes changed while nothing else did".to_owned(),
        Began::Moved(from) => format!("moved from {}", String::from_utf8_lossy(from)),
    };
    let ended = match (&episode.state.ended, past.ended(episode)) {
        (Some((_, Ended::Deleted)), Some((_, when))) => {
            format!("; deleted by {}", super::super::dates::minute(when.time))
        }
        (Some((_, Ended::Moved(to))), _) => format!("; then moved to {}", String::from_utf8_lossy(to)),
        _ => String::new(),
    };
    let what = format!("{began}{ended}: {}", String::from_utf8_lossy(&episode.path));
    Some(Version { since: since.time, what, size: episode.state.size, thing: Held::thing(past, episode) })
}
