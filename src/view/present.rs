//! The present: each source as its own newest snapshot has it. The one place that says what that is.
//!
//! A source is a path of a machine, and goes on under another path once somebody said that it was renamed. Snapshots that
//! name a source and could not read it say nothing of it. What is retired is no longer present, nor deleted.

use std::collections::HashMap;

use super::join;
use crate::archive::{Archive, Filter, Renames, Selector, entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{Snapshot, Source};
use crate::id::SnapshotId;
use crate::normal;

/// All sources of the snapshots that count.
pub struct Sources<'a> {
    archive: &'a Archive,
    snapshots: Vec<(SnapshotId, Snapshot)>,
    renames: Renames,
    all: Vec<SourceLine>,
    /// Where each is among all, by machine and path.
    places: HashMap<Name, usize>,
}

/// A machine, and the path of a source on it now.
type Name = (String, Vec<u8>);

/// A source, and its snapshots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    /// The machine.
    pub host: String,
    /// Where it is on it now, as far as was told.
    pub path: Vec<u8>,
    /// Where it was before, the latest first.
    pub was: Vec<Vec<u8>>,
    /// Its name in its newest snapshot.
    pub name: Vec<u8>,
    /// Its other names in earlier ones.
    pub names: Vec<Vec<u8>>,
    /// It was retired, and not backed up since.
    pub retired: bool,
    /// Its snapshots, by their places among all that count, oldest first; at least one.
    pub snapshots: Vec<usize>,
}

/// A path in the snapshot that answers for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// The snapshot.
    pub id: SnapshotId,
    /// The same.
    pub snapshot: Snapshot,
    /// The path in it.
    pub path: Vec<u8>,
    /// The machine and the path of the source.
    pub origin: (String, Vec<u8>),
    /// Whether it is the newest snapshot of all that count.
    pub newest: bool,
    /// Other sources that have something under this path.
    pub others: Vec<(String, Vec<u8>)>,
}

impl<'a> Sources<'a> {
    /// The sources of the snapshots that count, in the order in which they were first met.
    ///
    /// # Errors
    /// The archive's error.
    pub fn of(archive: &'a Archive, filter: &Filter) -> Result<Self> {
        let renames = archive.renames()?;
        let mut snapshots = archive.snapshots();
        // Whoever was backed up since is not retired, also if that snapshot does not count here.
        let mut newest: HashMap<Name, u64> = HashMap::new();
        for (_, snapshot) in &snapshots {
            for source in &snapshot.sources {
                let now = renames.path_now(&snapshot.host, &source.path, snapshot.sequence).to_vec();
                newest.insert((snapshot.host.clone(), now), snapshot.sequence);
            }
        }
        snapshots.retain(|(_, snapshot)| filter.admits(snapshot));
        let (mut all, mut places): (Vec<SourceLine>, HashMap<Name, usize>) = (Vec::new(), HashMap::new());
        for (at, (_, snapshot)) in snapshots.iter().enumerate() {
            for Source { name, path, .. } in &snapshot.sources {
                let now = renames.path_now(&snapshot.host, path, snapshot.sequence);
                let known = *places.entry((snapshot.host.clone(), now.to_vec())).or_insert(all.len());
                if known == all.len() {
                    let (host, path) = (snapshot.host.clone(), now.to_vec());
                    let (was, names, snapshots) = (Vec::new(), Vec::new(), Vec::new());
                    all.push(SourceLine { host, path, was, name: name.clone(), names, retired: false, snapshots });
                }
                let Some(line) = all.get_mut(known) else { continue };
                if line.snapshots.last() == Some(&at) {
                    continue;
                }
                line.snapshots.push(at);
                if line.name != *name {
                    line.names.retain(|other| other != name);
                    line.names.push(std::mem::replace(&mut line.name, name.clone()));
                }
                if *path != line.path {
                    line.was.retain(|other| other != path);
                    line.was.insert(0, path.clone());
                }
            }
        }
        for line in &mut all {
            let newest = newest.get(&(line.host.clone(), line.path.clone())).copied().unwrap_or(0);
            line.retired = renames.is_retired(&line.host, &line.path, newest);
        }
        Ok(Self { archive, snapshots, renames, all, places })
    }

    /// Every source.
    pub fn all(&self) -> &[SourceLine] {
        &self.all
    }

    /// Those that count as present.
    pub fn present(&self) -> impl Iterator<Item = &SourceLine> {
        self.all.iter().filter(|line| !line.retired)
    }

    /// The snapshots that count, oldest first.
    pub fn snapshots(&self) -> &[(SnapshotId, Snapshot)] {
        &self.snapshots
    }

    /// The source that this one of a snapshot is.
    pub fn line_of(&self, snapshot: &Snapshot, source: &Source) -> Option<&SourceLine> {
        let now = self.renames.path_now(&snapshot.host, &source.path, snapshot.sequence);
        self.places.get(&(snapshot.host.clone(), now.to_vec())).and_then(|at| self.all.get(*at))
    }

    /// The newest snapshot that has a source, the one before, and so on, each with its place and the name that the source
    /// has in it. Those that could not read it are left out.
    pub fn states(&self, line: &SourceLine) -> impl Iterator<Item = (usize, &[u8])> {
        line.snapshots.iter().rev().filter_map(move |at| {
            let (_, snapshot) = self.snapshots.get(*at)?;
            let source = self.renames.source_in(snapshot, &line.path)?;
            let has = match entries_of(&self.archive.reader(), &snapshot.tree) {
                Ok(entries) => entries.iter().any(|entry| entry.name == source.name),
                // What is damaged is told by whoever looks into it.
                Err(_) => true,
            };
            has.then_some((*at, source.name.as_slice()))
        })
    }

    /// What answers for a path that follows `latest`, `latest~2` or a date: the newest snapshot of the source that it is in,
    /// the one before, or the newest one not later. Where several sources have something under the path, one of the
    /// machine `here` is meant, and then the one that was backed up last.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if no source has it, or the archive's error.
    pub fn locate(&self, selector: &Selector, path: &[u8], here: &str) -> Result<Located> {
        let mut found: Vec<(&SourceLine, usize, Vec<u8>)> = Vec::new();
        let mut missing: Option<Error> = None;
        let (mut retired, mut earlier) = (None, None);
        let mut lines: Vec<(&SourceLine, Vec<u8>)> =
            self.all.iter().filter_map(|line| Some((line, line.below(path)?))).collect();
        if lines.is_empty() {
            // A source that has another name now was called so.
            lines = self.all.iter().filter_map(|line| Some((line, line.below_earlier(path)?))).collect();
        }
        for (line, below) in lines {
            if line.retired && *selector == Selector::Latest(0) {
                retired = Some(line);
                continue;
            }
            let mut states = self.states(line);
            let state = match selector {
                Selector::Latest(back) => states.nth(*back).or_else(|| self.of_another_machine(line, *back)),
                Selector::AsOf(time) => states.find(|(at, _)| self.snapshots[*at].1.time <= *time),
                Selector::Prefix(_) => None,
            };
            let Some((at, name)) = state else {
                earlier = Some(line);
                continue;
            };
            let inside = if below.is_empty() { name.to_vec() } else { join(name, &below) };
            let (id, snapshot) = &self.snapshots[at];
            match super::View::new(self.archive, *id, snapshot.clone()).find(&inside) {
                Ok(node) => found.push((line, at, node.path)),
                Err(error) if error.kind() == Kind::NotFound => missing = Some(missing.unwrap_or(error)),
                // What is damaged is there, and told of by whoever looks into it.
                Err(error) if error.kind().is_of_an_object() => found.push((line, at, inside)),
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|(line, at, _)| (line.host == here, *at));
        let Some((line, at, path)) = found.pop() else {
            return Err(missing.unwrap_or_else(|| self.nowhere(path, retired, earlier.map(|line| (line, selector)))));
        };
        let (id, snapshot) = self.snapshots[at].clone();
        let origin = |line: &SourceLine| (line.host.clone(), line.path.clone());
        let others = found.iter().map(|(line, ..)| origin(line)).collect();
        Ok(Located { id, snapshot, path, origin: origin(line), newest: at + 1 == self.snapshots.len(), others })
    }

    /// So far back that this machine had no snapshot of a source yet: one of the same path, of what may be the same machine
    /// under the name that it had then.
    fn of_another_machine(&self, line: &SourceLine, back: usize) -> Option<(usize, &[u8])> {
        let own: Vec<usize> = self.states(line).map(|(at, _)| at).collect();
        let others = self.all.iter().filter(|other| other.path == line.path && other.host != line.host);
        let mut older: Vec<_> =
            others.flat_map(|other| self.states(other)).filter(|(at, _)| Some(at) < own.last()).collect();
        older.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        older.into_iter().nth(back.checked_sub(own.len())?)
    }

    /// Why nothing answers for a path.
    fn nowhere(&self, path: &[u8], retired: Option<&SourceLine>, earlier: Option<(&SourceLine, &Selector)>) -> Error {
        let doing = format!("looking for \"{}\"", String::from_utf8_lossy(path));
        if self.snapshots.is_empty() {
            return Error::new(Kind::NotFound, doing, "there is no snapshot to look in");
        }
        if let Some(line) = retired {
            let at = line.snapshots.last().and_then(|at| self.snapshots.get(*at));
            let last = at.map(|(id, _)| id.short()).unwrap_or_default();
            let why = format!("its source was retired; snapshot {last} is the last one that has it");
            return Error::new(Kind::NotFound, doing, why);
        }
        if let Some((line, selector)) = earlier {
            let why = match selector {
                Selector::AsOf(_) => "its source has no snapshot from then or before".to_owned(),
                _ => format!("its source has no more than {} snapshots", self.states(line).count()),
            };
            return Error::new(Kind::NotFound, doing, why);
        }
        let names: Vec<_> = self.present().map(|line| String::from_utf8_lossy(&line.name).into_owned()).collect();
        Error::new(Kind::NotFound, doing, format!("no source is called so; there are {}", names.join(", ")))
    }
}

impl SourceLine {
    /// What of a path lies below this source; nothing if it does not lie there. The path is written as in snapshots, or in
    /// full as it is or was at the source.
    pub fn below(&self, path: &[u8]) -> Option<Vec<u8>> {
        if path.starts_with(b"/") {
            let paths = std::iter::once(&self.path).chain(&self.was);
            return paths.filter_map(|above| below(path, above)).min_by_key(Vec::len);
        }
        below(path, &self.name)
    }

    /// The same by a name that it had in earlier snapshots.
    fn below_earlier(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.names.iter().filter_map(|above| below(path, above)).min_by_key(Vec::len)
    }
}

/// What of a path lies below another one, the path's own bytes; in whatever form either is written.
pub(super) fn below(path: &[u8], above: &[u8]) -> Option<Vec<u8>> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
        names.map(<[u8]>::to_vec).collect()
    };
    let (path, above) = (names(path), names(above));
    let fits = path.len() >= above.len() && above.iter().zip(&path).all(|(one, other)| normal::same(one, other));
    fits.then(|| path[above.len()..].join(&b'/'))
}
