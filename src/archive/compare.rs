//! What differs between two recorded states of a directory. Directories with the same id are the same and are not read.
//!
//! What is gone from one path and appears under another is a move, if its bytes are the same, or if a photo differs in
//! nothing but its tags; `moves` tells which of several it is. Every path is told of once, and every move has one origin
//! and one destination.

use std::collections::HashMap;

use super::moves::{Folders, pair_up};
use super::walk::{Patience, weight};
use super::{Archive, Budget};
use crate::error::Result;
use crate::format::{Carried, Entry, EntryKind, Meta};
use crate::id::{ChunkId, FileHash};

/// A path, names joined by `/`, and what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The path.
    pub path: Vec<u8>,
    /// The entry.
    pub entry: Entry,
}

/// What differs between an older and a newer state, each list ascending by path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// Directories that only the newer one has; what is in them is told apart.
    pub new_dirs: Vec<Place>,
    /// Directories that only the older one has; what was in them is told apart.
    pub gone_dirs: Vec<Place>,
    /// Files and links where nothing of the kind was.
    pub added: Vec<Place>,
    /// Files and links that are neither here nor under another path.
    pub removed: Vec<Place>,
    /// Files that another one, which moved here, has replaced.
    pub replaced: Vec<Place>,
    /// Files and links with other content than before.
    pub changed: Vec<Altered>,
    /// Entries with the same content and other metadata.
    pub touched: Vec<Altered>,
    /// Files that have another path now.
    pub moved: Vec<Moved>,
    /// Files and links that are as before, but were not read when the newer state was recorded, or not for the same reason,
    /// or were read again.
    pub marked: Vec<Altered>,
    /// Directories that were not read when the newer state was recorded, if that is new. What is in them is told apart.
    pub marked_dirs: Vec<Place>,
}

/// Something that is where it was, and is not as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Altered {
    /// Where it is.
    pub path: Vec<u8>,
    /// What it was.
    pub old: Entry,
    /// What it is.
    pub new: Entry,
    /// A photo of which nothing but the tags has changed.
    pub tags: bool,
}

/// A file that is not where it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Where it was.
    pub from: Place,
    /// Where it is.
    pub to: Place,
}

impl Comparison {
    /// Compares what is at `path`: before, if there was anything, and after, if there is.
    ///
    /// # Errors
    /// The reader's error, damaged trees among them; unsupported if either state claims more than the archive holds.
    pub fn of(archive: &Archive, path: &[u8], old: Option<&Entry>, new: Option<&Entry>) -> Result<Self> {
        Self::within(&mut Patience::new(archive)?, archive, path, old, new)
    }

    /// The same as one of several that are bounded together.
    pub(super) fn within(
        patience: &mut Patience,
        archive: &Archive,
        path: &[u8],
        old: Option<&Entry>,
        new: Option<&Entry>,
    ) -> Result<Self> {
        let (older, newer) = patience.met;
        let mut walk = Walk {
            older: Budget::going_on(archive, older),
            newer: Budget::going_on(archive, newer),
            todo: Vec::new(),
            found: Self::default(),
            altered: Vec::new(),
        };
        let done = walk.all(path, old, new);
        patience.met = (walk.older.met(), walk.newer.met());
        done?;
        let Walk { mut found, altered, .. } = walk;
        found.match_up(archive, altered);
        Ok(found)
    }

    /// Whether there is no difference at all.
    pub fn is_empty(&self) -> bool {
        self.len() + self.touched.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        let dirs = self.new_dirs.len() + self.gone_dirs.len() + self.marked_dirs.len();
        dirs + self.marked.len()
            + self.added.len()
            + self.removed.len()
            + self.replaced.len()
            + self.changed.len()
            + self.moved.len()
    }

    /// Finds out what has moved, and what became of the rest.
    fn match_up(&mut self, archive: &Archive, altered: Vec<Altered>) {
        self.added.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        self.removed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let picture = |entry: &Entry| archive.facts(&entry.content()?)?.picture;
        let (tags, altered): (Vec<_>, Vec<_>) = altered.into_iter().partition(|altered| {
            let old = picture(&altered.old);
            old.is_some() && old == picture(&altered.new)
        });
        // A path that holds something else now is both an origin and a destination of moves.
        let mut origins: Vec<Place> = std::mem::take(&mut self.removed);
        let mut arrivals: Vec<Place> = std::mem::take(&mut self.added);
        let at = |altered: &Altered, entry: &Entry| Place { path: altered.path.clone(), entry: entry.clone() };
        origins.extend(altered.iter().map(|altered| at(altered, &altered.old)));
        arrivals.extend(altered.iter().map(|altered| at(altered, &altered.new)));
        let mut stays: HashMap<Vec<u8>, Altered> =
            altered.into_iter().map(|altered| (altered.path.clone(), altered)).collect();

        let folders = Folders::same(&self.gone_dirs, &self.new_dirs);
        let (mut moved, origins, arrivals) = pair_up(origins, arrivals, &folders, |place| place.entry.content());
        // Only what is wholly gone and wholly new may have moved and got other tags on the way.
        let (gone, left): (Vec<_>, Vec<_>) = origins.into_iter().partition(|place| !stays.contains_key(&place.path));
        let (fresh, came): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|place| !stays.contains_key(&place.path));
        let (retagged, gone, fresh) = match (gone.is_empty(), fresh.is_empty()) {
            (false, false) => pair_up(gone, fresh, &folders, |place| picture(&place.entry)),
            _ => (Vec::new(), gone, fresh),
        };
        moved.extend(retagged);
        (self.removed, self.added) = (gone, fresh);
        // Of what stayed in its place, both sides may be left, or one of them.
        let came: HashMap<Vec<u8>, Place> = came.into_iter().map(|place| (place.path.clone(), place)).collect();
        for place in left {
            match (came.contains_key(&place.path), stays.remove(&place.path)) {
                (true, Some(altered)) => self.changed.push(altered),
                _ => self.replaced.push(place),
            }
        }
        self.added.extend(came.into_values().filter(|place| stays.contains_key(&place.path)));
        self.changed.extend(tags.into_iter().map(|altered| Altered { tags: true, ..altered }));
        self.moved = moved;
        self.sort();
    }

    fn sort(&mut self) {
        let dirs = [&mut self.new_dirs, &mut self.gone_dirs, &mut self.marked_dirs];
        for places in dirs.into_iter().chain([&mut self.added, &mut self.removed, &mut self.replaced]) {
            places.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        for altered in [&mut self.changed, &mut self.touched, &mut self.marked] {
            altered.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        self.moved.sort_unstable_by(|a, b| a.to.path.cmp(&b.to.path));
    }
}

/// The last name of a path.
pub fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// A directory, and why it was not read when its state was recorded.
type Dir = (ChunkId, Option<Carried>);

/// Directories that are yet to be compared, and what was found so far.
struct Walk<'a> {
    /// What the walk through each state may take.
    older: Budget<'a>,
    newer: Budget<'a>,
    todo: Vec<(Vec<u8>, Option<Dir>, Option<Dir>)>,
    found: Comparison,
    /// Files and links with other content.
    altered: Vec<Altered>,
}

impl Walk<'_> {
    fn all(&mut self, path: &[u8], old: Option<&Entry>, new: Option<&Entry>) -> Result<()> {
        self.pair(path.to_vec(), old.cloned(), new.cloned())?;
        while let Some((path, old, new)) = self.todo.pop() {
            self.dirs(&path, old, new)?;
        }
        Ok(())
    }

    fn dirs(&mut self, path: &[u8], old: Option<Dir>, new: Option<Dir>) -> Result<()> {
        let entries = |budget: &mut Budget<'_>, dir: Option<Dir>| {
            dir.map_or(Ok(Vec::new()), |(tree, _)| budget.enter(&tree, path))
        };
        let why = |dir: Option<Dir>| dir.and_then(|(_, why)| why);
        let (why_old, why_new) = (why(old), why(new));
        let (old, new) = (entries(&mut self.older, old)?, entries(&mut self.newer, new)?);
        let mut old = old.into_iter().map(|entry| entry.below(why_old)).peekable();
        let mut new = new.into_iter().map(|entry| entry.below(why_new)).peekable();
        loop {
            let (first, second) = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(a), Some(b)) if a.name == b.name => (old.next(), new.next()),
                (Some(a), Some(b)) if a.name < b.name => (old.next(), None),
                (Some(_), None) => (old.next(), None),
                _ => (None, new.next()),
            };
            let Some(name) = first.as_ref().or(second.as_ref()).map(|entry| entry.name.as_slice()) else {
                return Ok(());
            };
            let below = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            self.pair(below, first, second)?;
        }
    }

    fn pair(&mut self, path: Vec<u8>, old: Option<Entry>, new: Option<Entry>) -> Result<()> {
        let dir = |entry: &Option<Entry>| match entry.as_ref().map(|entry| (&entry.kind, entry.meta.carried)) {
            Some((EntryKind::Dir { tree, .. }, why)) => Some((*tree, why)),
            _ => None,
        };
        let (old_tree, new_tree) = (dir(&old), dir(&new));
        if old_tree != new_tree {
            self.newer.hold(path.len() as u64, &path)?;
            self.todo.push((path.clone(), old_tree, new_tree));
        }
        let told = old_tree.is_some() == new_tree.is_some() && old == new;
        for (budget, entry) in [(&mut self.older, &old), (&mut self.newer, &new)] {
            if let Some(entry) = entry.as_ref().filter(|_| !told) {
                budget.hold(weight(entry) + path.len() as u64, &path)?;
            }
        }
        match (old, new) {
            (Some(old), Some(new)) if old_tree.is_some() == new_tree.is_some() => {
                let marked = old.meta.carried != new.meta.carried;
                // A directory's tree and counts are told of below it.
                if old_tree.is_none() && what(&old) != what(&new) {
                    self.altered.push(Altered { path, old, new, tags: false });
                } else if marked && old_tree.is_none() {
                    self.found.marked.push(Altered { path, old, new, tags: false });
                } else if marked && new.meta.carried.is_some() {
                    self.found.marked_dirs.push(Place { path, entry: new });
                } else if old.meta != (Meta { carried: old.meta.carried, ..new.meta.clone() }) {
                    self.found.touched.push(Altered { path, old, new, tags: false });
                }
            }
            (old, new) => {
                if let Some(entry) = old {
                    let list = if old_tree.is_some() { &mut self.found.gone_dirs } else { &mut self.found.removed };
                    list.push(Place { path: path.clone(), entry });
                }
                if let Some(entry) = new {
                    let list = if new_tree.is_some() { &mut self.found.new_dirs } else { &mut self.found.added };
                    list.push(Place { path, entry });
                }
            }
        }
        Ok(())
    }
}

/// What a file or link holds, whatever else is recorded of it.
fn what(entry: &Entry) -> (Option<(u64, FileHash)>, Option<&[u8]>) {
    match &entry.kind {
        EntryKind::File { size, hash, .. } => (Some((*size, *hash)), None),
        EntryKind::Symlink { target } => (None, Some(target)),
        EntryKind::Dir { .. } => (None, None),
    }
}
