//! What a restore will write, known before it writes anything.
//!
//! A directory may be named any number of times, so a few kilobytes can claim more entries than there are atoms. What lies
//! below a directory is held against what the directory says of itself, and that against what a restore can bear. A
//! directory says nothing of the directories below it, so what is named again is counted as well.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::Selection;
use super::there::Standing;
use crate::archive::{Budget, weight};
use crate::error::{Error, Kind, Result};
use crate::format::{Carried, Content, Entry, EntryKind, Tree};
use crate::id::ChunkId;
use crate::op::{Event, Observer, check_stop};
use crate::view::{Gap, Node, Short, View, depth};

/// Entries that are restored at once; more would not fit into memory.
const MAX_ENTRIES: u64 = 1 << 24;
/// Of these, entries of directories that are named more than once. Entries tell their number at the source, so directories
/// are alike only where a folder was backed up by two names.
const MAX_REPEATED: u64 = 1 << 20;

/// Directories, files and links, each naming the directory that it goes into.
pub(super) struct Plan {
    /// Parents before children.
    pub(super) dirs: Vec<Item>,
    /// In the order in which they lie in the archive.
    pub(super) files: Vec<Item>,
    /// Further names of files above: which item of `files`, and the name.
    pub(super) links: Vec<(usize, Item)>,
    pub(super) symlinks: Vec<Item>,
    /// Files and links among them that could not be read when the snapshot was taken, and are as an earlier one has them.
    pub(super) unread: u64,
    /// What of directories cannot be read, and where they go, below the target.
    pub(super) gaps: Vec<(PathBuf, Gap)>,
    /// Which of the patterns that were to be heard of fit something.
    pub(super) matched: BTreeSet<usize>,
    /// Sources that were met; a device number means something only within one.
    sources: Vec<Vec<u8>>,
    /// Directories that claim more than they hold, where they go below the target, and what is wrong.
    pub(super) short: Vec<(PathBuf, String)>,
}

/// An entry and the directory it goes into, by its place in `dirs`; none means the target itself.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) dir: Option<usize>,
    pub(super) entry: Entry,
    /// A file's bytes.
    pub(super) size: u64,
    /// What bore its name before.
    pub(super) standing: Standing,
    /// The name that it should have, if it cannot.
    pub(super) own: Option<Vec<u8>>,
    /// Its place in `files`, if it is one of them.
    pub(super) number: Option<usize>,
    /// Which source it is of.
    source: usize,
}

/// A directory that leads to what is being visited.
struct Above {
    /// How many names its path has.
    names: usize,
    entry: Entry,
    /// Its place in the plan, if it has one.
    planned: Option<usize>,
    /// What may still come below it.
    left: Declared,
    /// Whether it, or a directory above it, was named before.
    repeated: bool,
}

/// How many files and links, and how many bytes of files, a directory says are below it.
#[derive(Clone, Copy)]
struct Declared {
    files: u64,
    bytes: u64,
}

impl Declared {
    /// What an entry adds to those of its directory.
    fn of(entry: &Entry) -> Self {
        match entry.kind {
            EntryKind::File { size, .. } => Self { files: 1, bytes: size },
            EntryKind::Dir { files, bytes, .. } => Self { files, bytes },
            EntryKind::Symlink { .. } => Self { files: 1, bytes: 0 },
        }
    }

    fn take(&mut self, more: Self) -> Option<()> {
        self.files = self.files.checked_sub(more.files)?;
        self.bytes = self.bytes.checked_sub(more.bytes)?;
        Some(())
    }
}

impl Item {
    pub(super) fn is_symlink(&self) -> bool {
        matches!(self.entry.kind, EntryKind::Symlink { .. })
    }
}

impl Plan {
    pub(super) fn make(view: &View<'_>, node: &Node, selection: &Selection, observer: &dyn Observer) -> Result<Self> {
        Self::within(MAX_ENTRIES, view, node, selection, observer)
    }

    /// The plan, if it has no more than so many entries.
    fn within(
        limit: u64,
        view: &View<'_>,
        node: &Node,
        selection: &Selection,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let (dirs, files, links, symlinks, unread, gaps, matched, sources, short) = Default::default();
        let mut plan = Self { dirs, files, links, symlinks, unread, gaps, matched, sources, short };
        let mut gaps: Vec<(Vec<u8>, Gap)> = Vec::new();
        let mut unmatched: Vec<usize> = (0..selection.named.len()).collect();
        let mut above: Vec<Above> = Vec::new();
        let (mut left, mut count, mut again) = (Declared { files: limit, bytes: u64::MAX }, 0, 0);
        let mut entered: HashSet<ChunkId> = HashSet::new();
        let mut room = Budget::new(view.reader().archive());
        let mut visit = |visited: &Node| {
            check_stop(observer)?;
            // A walk goes through everything below a directory before what comes after it.
            let names = depth(&visited.path);
            while above.last().is_some_and(|dir| dir.names >= names) {
                above.pop();
            }
            let Some(entry) = &visited.entry else { return Ok(true) };
            let refused = |kind, why: &str| {
                let doing = format!("planning to restore \"{}\"", String::from_utf8_lossy(&visited.path));
                Err(Error::new(kind, doing, why))
            };
            if above.len() > Tree::MAX_DEPTH {
                return refused(Kind::Damaged, "it lies in too many directories");
            }
            let declared = Declared::of(entry);
            let inside = !above.is_empty();
            let fits = above.last_mut().map_or(&mut left, |dir| &mut dir.left).take(declared).is_some();
            if inside && !fits {
                return refused(Kind::Damaged, "there is more in its directory than the directory says");
            }
            count += 1;
            let repeated = above.last().is_some_and(|dir| dir.repeated);
            again += u64::from(repeated);
            if again > limit.min(MAX_REPEATED) {
                let why = format!("more than {MAX_REPEATED} entries are of directories that are named again and again");
                return refused(Kind::Unsupported, &why);
            }
            if !fits || count > limit {
                let why = format!("more than {limit} entries cannot be restored at once; a part of them can");
                return refused(Kind::Unsupported, &why);
            }
            plan.enter_source(&visited.path);
            unmatched.retain(|at| !selection.named[*at].fit(&visited.path));
            let excluded = selection.exclude.fit(&visited.path);
            if let EntryKind::Dir { tree, .. } = entry.kind {
                let repeated = !entered.insert(tree) || repeated;
                room.hold(weight(entry), &visited.path)?;
                above.push(Above { names, entry: entry.clone(), planned: None, left: declared, repeated });
                if !excluded && selection.takes(&visited.path) {
                    plan.dir(&mut above);
                }
                return Ok(!excluded);
            }
            if !excluded && selection.takes(&visited.path) {
                room.hold(weight(entry), &visited.path)?;
                let dir = plan.dir(&mut above);
                plan.add(dir, entry);
            }
            Ok(false)
        };
        let short = view.walk_readable(node, &mut visit, &mut |dir, gap| gaps.push((dir.path.clone(), gap)))?;
        plan.matched = (0..selection.named.len()).filter(|at| !unmatched.contains(at)).collect();
        // Paths at the target begin with the last name of what is restored.
        let above = crate::view::above(&node.path).to_vec();
        let below = |path: Vec<u8>| path[above.len()..].strip_prefix(b"/").unwrap_or(&path[above.len()..]).to_vec();
        plan.gaps.extend(gaps.into_iter().map(|(path, gap)| (path_of(&below(path)), gap)));
        plan.short.extend(short.into_iter().map(|Short { path, why }| (path_of(&below(path)), why)));
        plan.separate_links();
        plan.sort_by_place(view)?;
        let (files, bytes) =
            plan.files.iter().fold((0, 0), |(files, bytes), item| (files + 1, item.size.saturating_add(bytes)));
        observer.event(Event::Begin { files, bytes });
        Ok(plan)
    }

    /// Plans the directories above what is being visited, and says which is the innermost.
    fn dir(&mut self, above: &mut [Above]) -> Option<usize> {
        let mut inside = None;
        for Above { entry, planned, .. } in above {
            if planned.is_none() {
                self.dirs.push(self.item(inside, entry, 0));
                *planned = Some(self.dirs.len() - 1);
            }
            inside = *planned;
        }
        inside
    }

    /// Notes which source a path is of: its first name. A walk meets everything of a source before the next.
    fn enter_source(&mut self, path: &[u8]) {
        let source = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        if self.sources.last().is_none_or(|last| last != source) {
            self.sources.push(source.to_vec());
        }
    }

    fn item(&self, dir: Option<usize>, entry: &Entry, size: u64) -> Item {
        let standing = Standing::default();
        Item { dir, entry: entry.clone(), size, standing, own: None, number: None, source: self.sources.len() }
    }

    fn add(&mut self, dir: Option<usize>, entry: &Entry) {
        self.unread += u64::from(entry.meta.carried == Some(Carried::Unread));
        match &entry.kind {
            EntryKind::File { size, .. } => self.files.push(self.item(dir, entry, *size)),
            _ => self.symlinks.push(self.item(dir, entry, 0)),
        }
    }

    /// Of files that are the same one under several names, all but the first become links to it.
    fn separate_links(&mut self) {
        let mut first: HashMap<(usize, u64, u64, [u8; 32]), usize> = HashMap::new();
        let (mut files, mut links) = (Vec::new(), Vec::new());
        for item in std::mem::take(&mut self.files) {
            let meta = &item.entry.meta;
            let EntryKind::File { hash, .. } = &item.entry.kind else { continue };
            let key = (item.source, meta.device, meta.inode, *hash.as_bytes());
            let linked = meta.links > 1 && meta.inode != 0;
            match first.get(&key).filter(|_| linked) {
                Some(at) => links.push((*at, item)),
                None => {
                    if linked {
                        first.insert(key, files.len());
                    }
                    files.push(item);
                }
            }
        }
        self.files = files;
        self.links = links;
    }

    /// Puts files in the order in which the first chunk of each lies in the archive.
    fn sort_by_place(&mut self, view: &View<'_>) -> Result<()> {
        let mut order = Vec::with_capacity(self.files.len());
        for (at, item) in self.files.iter().enumerate() {
            let place = match &item.entry.kind {
                EntryKind::File { content: Content::Chunks(chunks), .. } => match chunks.first() {
                    Some(chunk) => view.reader().archive().locate(&chunk.id)?.first().copied(),
                    None => None,
                },
                _ => None,
            };
            order.push((place.map(|place| (place.pack, place.row.offset)), at));
        }
        order.sort_unstable();
        let mut moved = vec![0; order.len()];
        let mut files: Vec<Option<Item>> = std::mem::take(&mut self.files).into_iter().map(Some).collect();
        for (to, (_, from)) in order.into_iter().enumerate() {
            moved[from] = to;
            self.files.extend(files[from].take());
        }
        self.files.iter_mut().enumerate().for_each(|(at, item)| item.number = Some(at));
        for (first, _) in &mut self.links {
            *first = moved[*first];
        }
        Ok(())
    }

    /// Everything that goes into directories: files first, then their further names, then links.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.files.iter().chain(self.links.iter().map(|(_, item)| item)).chain(&self.symlinks)
    }

    pub(super) fn items_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.files.iter_mut().chain(self.links.iter_mut().map(|(_, item)| item)).chain(&mut self.symlinks)
    }

    /// Where an item goes, below the target.
    pub(super) fn path(&self, item: &Item) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let mut names = vec![item.entry.name.as_slice()];
        let mut dir = item.dir;
        while let Some(above) = dir.map(|at| &self.dirs[at]) {
            names.push(&above.entry.name);
            dir = above.dir;
        }
        names.into_iter().rev().map(std::ffi::OsStr::from_bytes).collect()
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

#[cfg(test)]
mod tests;
