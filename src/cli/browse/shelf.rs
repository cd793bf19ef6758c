//! What can be looked at: snapshots, folders, what is gone from them, and what a file was. Only reading; one folder at a
//! time, when somebody looks at it.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::archive::{Archive, Began, Ended, Filter};
use crate::error::{Error, Kind, Result};
use crate::format::{Entry, EntryKind, Snapshot, Time};
use crate::id::{FileHash, SnapshotId};
use crate::view::{Episode, History, Listing, Node, Past, Span, Tally, View, above, depth, join};

use super::search::MOST;
use crate::cli::{dates, names, words};

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
    pub moved: u64,
    pub gone: u64,
    pub tags: Vec<String>,
    pub note: Option<String>,
    /// The paths of its sources.
    pub sources: Vec<Vec<u8>>,
}

impl Moment {
    /// What stands about it on the time line, in one harmless line.
    pub fn words(&self) -> String {
        let told = [(self.new, "new"), (self.changed, "changed"), (self.moved, "moved"), (self.gone, "gone")];
        let told = told.iter().filter(|(number, _)| *number > 0);
        let told: Vec<String> = told.map(|(number, what)| format!("{} {what}", words::count(*number))).collect();
        let mut text = format!(
            "{}  {:10}  {:>9} files  {:>9}",
            dates::minute(self.time),
            names::message(&self.host),
            words::count(self.files),
            words::bytes(self.bytes),
        );
        let sources: Vec<String> = self.sources.iter().map(|source| names::escape(source)).collect();
        let tags = names::message(&self.tags.join(","));
        let note = self.note.as_deref().map(names::message).unwrap_or_default();
        for more in [told.join(", "), sources.join(", "), tags, note] {
            if !more.is_empty() {
                text += "  ";
                text += &more;
            }
        }
        text
    }
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
    /// Of a source, its path.
    pub source: Option<Vec<u8>>,
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

/// Whether to look no further.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// What the browser looks at.
pub trait Shelf {
    /// Every snapshot, newest first.
    fn moments(&self) -> &[Moment];
    /// What can be read of a folder of a snapshot, and whether that is all of it.
    fn list(&self, snapshot: &SnapshotId, path: &[u8]) -> Result<(Vec<Row>, bool)>;
    /// What was in a folder once and is in the source no longer.
    fn gone(&self, path: &[u8]) -> Result<Vec<Row>>;
    /// What happened to a file or folder, newest first.
    fn history(&self, path: &[u8]) -> Result<Vec<Version>>;
    /// The paths of what fits in the folders below one of a snapshot, what is in that one itself left out.
    fn below(
        &self,
        snapshot: &SnapshotId,
        path: &[u8],
        fits: &dyn Fn(&Row) -> bool,
        stop: Stop<'_>,
    ) -> Result<Vec<Vec<u8>>>;
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
            Moment {
                id: *id,
                time: snapshot.time,
                host: snapshot.host.clone(),
                files: sum.files,
                bytes: sum.bytes,
                new: sum.new,
                changed: sum.changed,
                moved: sum.moved,
                gone: sum.gone,
                tags: snapshot.tags.clone(),
                note: snapshot.note.clone(),
                sources: snapshot.sources.iter().map(|source| source.path.clone()).collect(),
            }
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

    /// Where an episode can be restored from: its path in the last snapshot that has it.
    fn thing(past: &Past<'_>, episode: &Episode) -> Option<Thing> {
        let (snapshot, _, path) = past.place(episode)?;
        Some(Thing { snapshot, path })
    }
}

impl Shelf for Held<'_> {
    fn moments(&self) -> &[Moment] {
        &self.moments
    }

    fn list(&self, snapshot: &SnapshotId, path: &[u8]) -> Result<(Vec<Row>, bool)> {
        let view = self.view(snapshot)?;
        let node = view.find(path)?;
        let source = |name: &[u8]| {
            let sources = &view.snapshot().sources;
            let found = sources.iter().find(|source| path.is_empty() && source.name == name);
            found.map(|source| source.path.clone())
        };
        let Listing { entries, gaps } = view.list_readable(&node)?;
        let rows = entries.into_iter().map(|entry| {
            let source = source(&entry.name);
            Row { source, ..row(snapshot, path, entry) }
        });
        Ok((rows.collect(), gaps.is_empty()))
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
                        let (size, gone, source) = (state.size, Some(last.time), None);
                        Row { name, sort, size, mtime: last.time, hash, gone, source, thing }
                    }
                    None => {
                        let sort = if state.symlink { Sort::Link } else { Sort::File };
                        let hash = (!state.symlink).then_some(state.hash);
                        let mtime = Time { secs: state.mtime, nanos: 0 };
                        let (size, gone, source) = (state.size, Some(last.time), None);
                        Row { name, sort, size, mtime, hash, gone, source, thing }
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
                            (change.added, "new"),
                            (change.changed, "changed"),
                            (change.tags, "tagged"),
                            (change.moved_in, "moved in"),
                            (change.moved_within, "moved within"),
                            (change.moved_out, "moved out"),
                            (change.deleted, "deleted"),
                        ];
                        let told = told.iter().filter(|(tally, _)| !tally.is_empty());
                        let count = |tally: &Tally| words::count_and_links(tally.files, tally.links);
                        let told: Vec<_> = told.map(|(tally, what)| format!("{} {what}", count(tally))).collect();
                        let holds = words::files_and_links(change.holds.files, change.holds.links);
                        let what = format!("{}; it holds {holds}", told.join(", "));
                        let (_, path) = past.origin(&spot);
                        let thing = (!change.holds.is_empty()).then_some(Thing { snapshot: id, path });
                        versions.push(Version { since: moment.time, what, size: change.holds.bytes, thing });
                    }
                }
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version.since));
        Ok(versions)
    }

    fn below(
        &self,
        snapshot: &SnapshotId,
        path: &[u8],
        fits: &dyn Fn(&Row) -> bool,
        stop: Stop<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        let view = self.view(snapshot)?;
        let (node, mut found, mut seen) = (view.find(path)?, Vec::new(), 0_u64);
        let here = depth(&node.path);
        let visit = &mut |visited: &Node| {
            seen += 1;
            let ended = found.len() >= MOST || (seen.is_multiple_of(256) && stop());
            if ended {
                return Err(Error::interrupted());
            }
            if let Some(entry) = visited.entry.as_ref().filter(|_| depth(&visited.path) > here + 1)
                && fits(&row(snapshot, above(&visited.path), entry.clone()))
            {
                found.push(visited.path.clone());
            }
            Ok(true)
        };
        // A folder that is opened says itself what of it cannot be read.
        view.walk_readable(&node, visit, &mut |_, _| {})
            .or_else(|error| if error.kind() == Kind::Interrupted { Ok(Vec::new()) } else { Err(error) })?;
        Ok(found)
    }

    fn taken(&self, hash: &FileHash) -> Option<i64> {
        self.archive.facts(hash)?.taken
    }
}

/// What is in a folder of a snapshot, as a line.
fn row(snapshot: &SnapshotId, path: &[u8], entry: Entry) -> Row {
    let (sort, size, hash) = match entry.kind {
        EntryKind::File { size, hash, .. } => (Sort::File, size, Some(hash)),
        EntryKind::Dir { bytes, .. } => (Sort::Folder, bytes, None),
        EntryKind::Symlink { target } => (Sort::Link, target.len() as u64, None),
    };
    let thing = Thing { snapshot: *snapshot, path: join(path, &entry.name) };
    Row { name: entry.name, sort, size, mtime: entry.meta.mtime, hash, gone: None, source: None, thing }
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
            format!("; deleted by {}", dates::minute(when.time))
        }
        (Some((_, Ended::Moved(to))), _) => format!("; then moved to {}", String::from_utf8_lossy(to)),
        _ => String::new(),
    };
    let what = format!("{began}{ended}: {}", String::from_utf8_lossy(&episode.path));
    Some(Version { since: since.time, what, size: episode.state.size, thing: Held::thing(past, episode) })
}
