//! What differs between two recorded states of a directory. Directories with the same id are the same and are not read.
//!
//! What is gone from one path and appears under another is a move, if its bytes are the same, or if a photo differs in
//! nothing but its tags. Every path is told of once, and every move has one origin and one destination.

use std::collections::HashMap;

use super::walk::{Patience, weight};
use super::{Archive, Budget};
use crate::error::Result;
use crate::format::{Entry, EntryKind};
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
        let dirs = self.new_dirs.len() + self.gone_dirs.len();
        dirs + self.added.len() + self.removed.len() + self.replaced.len() + self.changed.len() + self.moved.len()
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

        let (mut moved, origins, arrivals) = pair_up(origins, arrivals, |place| place.entry.content());
        // Only what is wholly gone and wholly new may have moved and got other tags on the way.
        let (gone, left): (Vec<_>, Vec<_>) = origins.into_iter().partition(|place| !stays.contains_key(&place.path));
        let (fresh, came): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|place| !stays.contains_key(&place.path));
        let (retagged, gone, fresh) = match (gone.is_empty(), fresh.is_empty()) {
            (false, false) => pair_up(gone, fresh, |place| picture(&place.entry)),
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
        for places in [&mut self.new_dirs, &mut self.gone_dirs, &mut self.added, &mut self.removed, &mut self.replaced]
        {
            places.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        for altered in [&mut self.changed, &mut self.touched] {
            altered.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        self.moved.sort_unstable_by(|a, b| a.to.path.cmp(&b.to.path));
    }
}

/// Pairs origins with arrivals that have the same name, those of the same last name first. What is left over comes back.
fn pair_up<N: Eq + std::hash::Hash>(
    origins: Vec<Place>,
    arrivals: Vec<Place>,
    named: impl Fn(&Place) -> Option<N>,
) -> (Vec<Moved>, Vec<Place>, Vec<Place>) {
    let mut by_name: HashMap<N, Vec<usize>> = HashMap::new();
    for (at, place) in origins.iter().enumerate().rev() {
        if let Some(name) = named(place) {
            by_name.entry(name).or_default().push(at);
        }
    }
    let mut origins: Vec<Option<Place>> = origins.into_iter().map(Some).collect();
    let (mut moved, mut arrivals) = (Vec::new(), arrivals);
    for same_last_name in [true, false] {
        let mut left = Vec::new();
        for to in arrivals {
            let candidates = named(&to).and_then(|name| by_name.get_mut(&name));
            let found = candidates.and_then(|candidates| {
                let fits = |at: &usize| {
                    let from = origins[*at].as_ref();
                    !same_last_name || from.is_some_and(|from| last_name(&from.path) == last_name(&to.path))
                };
                let place = candidates.iter().rposition(fits)?;
                origins[candidates.remove(place)].take()
            });
            match found {
                Some(from) => moved.push(Moved { from, to }),
                None => left.push(to),
            }
        }
        arrivals = left;
    }
    (moved, origins.into_iter().flatten().collect(), arrivals)
}

/// The last name of a path.
pub fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Directories that are yet to be compared, and what was found so far.
struct Walk<'a> {
    /// What the walk through each state may take.
    older: Budget<'a>,
    newer: Budget<'a>,
    todo: Vec<(Vec<u8>, Option<ChunkId>, Option<ChunkId>)>,
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

    fn dirs(&mut self, path: &[u8], old: Option<ChunkId>, new: Option<ChunkId>) -> Result<()> {
        let entries = |budget: &mut Budget<'_>, tree: Option<ChunkId>| {
            tree.map_or(Ok(Vec::new()), |tree| budget.enter(&tree, path))
        };
        let (old, new) = (entries(&mut self.older, old)?, entries(&mut self.newer, new)?);
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
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
        let tree = |entry: &Option<Entry>| match entry.as_ref().map(|entry| &entry.kind) {
            Some(EntryKind::Dir { tree, .. }) => Some(*tree),
            _ => None,
        };
        let (old_tree, new_tree) = (tree(&old), tree(&new));
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
                // A directory's tree and counts are told of below it.
                if old_tree.is_none() && what(&old) != what(&new) {
                    self.altered.push(Altered { path, old, new, tags: false });
                } else if old.meta != new.meta {
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
