//! A snapshot as a read-only tree, and the past of every path: what `ls`, `cat`, `history` and restore see. It can only
//! read.

mod past;
mod present;
mod window;

pub use past::{AlbumChange, Candidate, Episode, History, Past, Span, Spot, Tally};
pub use present::{Located, SourceLine, Sources};
pub use window::{Lost, Window};

pub use crate::archive::{FalseClaim, Gap, Listing, last_name};
pub use crate::normal::folded;
// What a view speaks of, for those who know nothing of an archive but its views.
pub use crate::format::{Carried, ChunkRef, Content, Entry, EntryKind, Meta, Snapshot, Source, Time};

use crate::archive::{
    Archive, Budget, Claim, Reader, TakeChunks, each_chunk, entries_of, readable_entries_of, weights,
};
use crate::error::{Error, Kind, Result};
use crate::id::{ChunkId, ChunkKind, FileHash, SnapshotId};
use crate::normal::{self, Meant};

/// One snapshot of an archive.
pub struct View<'a> {
    archive: &'a Archive,
    reader: Reader<'a>,
    id: SnapshotId,
    snapshot: Snapshot,
}

/// A place in a snapshot: its path there, and its entry; the top has none.
#[derive(Clone, Debug)]
pub struct Node {
    /// Names from the top, joined by `/`; empty for the top.
    pub path: Vec<u8>,
    /// What is there.
    pub entry: Option<Entry>,
}

/// A directory that claims more than it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Short {
    /// Its path in the snapshot.
    pub path: Vec<u8>,
    /// What it says and what there is.
    pub why: String,
}

/// So many of them are told.
const SHORT: usize = 1000;

/// A directory that is being walked through: its path, what is yet to come of it, and how much memory that may take.
struct Level {
    path: Vec<u8>,
    entries: std::vec::IntoIter<Entry>,
    held: u64,
}

/// Lists a directory, and says whether that is all of it.
type List<'l> = dyn FnMut(&mut Budget<'_>, &Node) -> Result<(Vec<Entry>, bool)> + 'l;

/// Goes into a directory.
fn enter_dir(node: Node, budget: &mut Budget<'_>, list: &mut List<'_>, short: &mut Vec<Short>) -> Result<Level> {
    let (mut entries, whole) = list(budget, &node)?;
    if let Some(wrong) = node.entry.as_ref().and_then(|entry| false_claim(entry, &entries)) {
        if wrong.more {
            let doing = format!("looking through \"{}\"", String::from_utf8_lossy(&node.path));
            return Err(Error::new(Kind::Damaged, doing, wrong.why));
        }
        // What is missing is told of by itself.
        if whole && short.len() < SHORT {
            short.push(Short { path: node.path.clone(), why: wrong.why });
        }
    }
    mark_carried(&node, &mut entries);
    let held = weights(&entries) + node.path.len() as u64;
    budget.hold(held, &node.path)?;
    Ok(Level { path: node.path, entries: entries.into_iter(), held })
}

/// What is wrong with the counts that a directory's entry has, if these are its entries.
pub fn false_claim(dir: &Entry, entries: &[Entry]) -> Option<FalseClaim> {
    Claim::of(dir)?.held_against(Claim::sum(entries))
}

impl Node {
    /// Whether there may be entries below it.
    pub fn is_dir(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| matches!(entry.kind, EntryKind::Dir { .. }))
    }
}

impl<'a> View<'a> {
    /// The archive that it is of.
    pub fn archive(&self) -> &'a Archive {
        self.archive
    }

    /// A view of this snapshot.
    pub fn new(archive: &'a Archive, id: SnapshotId, snapshot: Snapshot) -> Self {
        Self { archive, reader: archive.reader(), id, snapshot }
    }

    /// The snapshot's id.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The reader beneath.
    pub fn reader(&self) -> &Reader<'a> {
        &self.reader
    }

    /// The place with this path: names in the snapshot (`Pictures/2019`), or a path as it was at the source
    /// (`/home/anna/Pictures/2019`). A name that is not there just so is the only one that means the same (`ü` may be
    /// written in several ways).
    ///
    /// # Errors
    /// [`Kind::NotFound`], also if several names mean the same, or the reader's error.
    pub fn find(&self, path: &[u8]) -> Result<Node> {
        let inside = self.inside(path)?;
        let mut node = Node { path: Vec::new(), entry: None };
        for name in inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
            let missing = || {
                let path = String::from_utf8_lossy(path).into_owned();
                Error::new(Kind::NotFound, format!("looking for \"{path}\""), self.nothing_like(&node, name))
            };
            if !node.is_dir() {
                return Err(missing());
            }
            let Listing { mut entries, gaps } = self.list_readable(&node)?;
            let at = match normal::meant(name, entries.iter().map(|entry| entry.name.as_slice())) {
                Meant::One(at) => at,
                // What lies in a page that cannot be read is not known to be missing.
                Meant::None => {
                    return Err(gaps.into_iter().find(|gap| gap.may_have(name)).map_or_else(missing, |gap| gap.error));
                }
                Meant::Several => {
                    let path = String::from_utf8_lossy(path).into_owned();
                    let why =
                        format!("several names mean \"{}\", and none is written so", String::from_utf8_lossy(name));
                    return Err(Error::new(Kind::NotFound, format!("looking for \"{path}\""), why));
                }
            };
            let entry = entries.swap_remove(at);
            node = Node { path: join(&node.path, &entry.name), entry: Some(entry) };
        }
        Ok(node)
    }

    fn nothing_like(&self, node: &Node, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        let place = match node.path.as_slice() {
            [] => format!("snapshot {}", self.id.short()),
            path => format!("\"{}\" of snapshot {}", String::from_utf8_lossy(path), self.id.short()),
        };
        format!("there is no \"{name}\" in {place}")
    }

    /// A path as it was at the source, or as it is now that the source was renamed, as a path in the snapshot.
    fn inside(&self, path: &[u8]) -> Result<Vec<u8>> {
        if !path.starts_with(b"/") {
            return Ok(path.to_vec());
        }
        let longest = |above: &dyn Fn(&Source) -> Vec<u8>| {
            let sources = self.snapshot.sources.iter();
            let below = sources.filter_map(|source| Some((source, present::below(path, &above(source))?)));
            let nearest = below.min_by_key(|(_, below)| below.len());
            nearest.map(|(source, below)| join(&source.name, &below))
        };
        if let Some(inside) = longest(&|source| source.path.clone()) {
            return Ok(inside);
        }
        let renames = self.archive.renames()?;
        let Snapshot { host, sequence, .. } = &self.snapshot;
        Ok(longest(&|source| renames.path_now(host, &source.path, *sequence).to_vec()).unwrap_or_else(|| path.to_vec()))
    }

    /// What is in a directory, ascending by name. What lies in one that was carried forward was carried as well.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is none, or the reader's error.
    pub fn list(&self, node: &Node) -> Result<Vec<Entry>> {
        let mut entries = entries_of(&self.reader, self.tree(node)?)?;
        mark_carried(node, &mut entries);
        Ok(entries)
    }

    /// The same as part of a walk that may take so much, as far as it can be read.
    ///
    /// # Errors
    /// As [`View::list_readable`], and as [`Budget::enter_readable`].
    pub fn list_within(&self, budget: &mut Budget<'_>, node: &Node) -> Result<Listing> {
        let mut listing = budget.enter_readable(self.tree(node)?, &node.path)?;
        mark_carried(node, &mut listing.entries);
        Ok(listing)
    }

    /// What can be read of a directory, and what cannot.
    ///
    /// # Errors
    /// As [`View::list`], but not for what is lost, damaged or newer.
    pub fn list_readable(&self, node: &Node) -> Result<Listing> {
        let mut listing = readable_entries_of(&self.reader, self.tree(node)?)?;
        mark_carried(node, &mut listing.entries);
        Ok(listing)
    }

    fn tree<'n>(&'n self, node: &'n Node) -> Result<&'n ChunkId> {
        match &node.entry {
            None => Ok(&self.snapshot.tree),
            Some(Entry { kind: EntryKind::Dir { tree, .. }, .. }) => Ok(tree),
            Some(_) => {
                let path = String::from_utf8_lossy(&node.path);
                Err(Error::new(Kind::Invalid, format!("listing \"{path}\""), "it is not a directory"))
            }
        }
    }

    /// Visits everything below a place, depth first and by name, the place itself first unless it is the top. `visit`
    /// says of each directory whether to go into it. What directories claim and do not hold is returned.
    ///
    /// # Errors
    /// The first error of the reader or of `visit`; damaged if directories lie deeper in each other than they may or hold
    /// more than they say; unsupported if the place claims more than the archive holds.
    pub fn walk(&self, node: &Node, visit: &mut dyn FnMut(&Node) -> Result<bool>) -> Result<Vec<Short>> {
        self.walk_lists(node, visit, &mut |budget, node| Ok((budget.enter(self.tree(node)?, &node.path)?, true)))
    }

    /// The same for what can be read; `missing` hears what cannot, and in which directory.
    ///
    /// # Errors
    /// As [`View::walk`], but not for what is lost, damaged or newer.
    pub fn walk_readable(
        &self,
        node: &Node,
        visit: &mut dyn FnMut(&Node) -> Result<bool>,
        missing: &mut dyn FnMut(&Node, Gap),
    ) -> Result<Vec<Short>> {
        self.walk_lists(node, visit, &mut |budget, node| {
            let Listing { entries, gaps } = budget.enter_readable(self.tree(node)?, &node.path)?;
            let whole = gaps.is_empty();
            gaps.into_iter().for_each(|gap| missing(node, gap));
            Ok((entries, whole))
        })
    }

    fn walk_lists(
        &self,
        node: &Node,
        visit: &mut dyn FnMut(&Node) -> Result<bool>,
        list: &mut List<'_>,
    ) -> Result<Vec<Short>> {
        let mut budget = Budget::new(self.reader.archive());
        let mut short = Vec::new();
        let mut levels = Vec::new();
        let mut next = Some(node.clone());
        loop {
            if let Some(node) = next.take() {
                let enter = node.entry.is_none() || visit(&node)?;
                if enter && node.is_dir() {
                    levels.push(enter_dir(node, &mut budget, list, &mut short)?);
                }
            }
            let Some(Level { path, entries, held }) = levels.last_mut() else { return Ok(short) };
            match entries.next() {
                Some(entry) => {
                    let path = join(path, &entry.name);
                    budget.tell(&path)?;
                    next = Some(Node { path, entry: Some(entry) });
                }
                None => {
                    budget.release(*held);
                    levels.pop();
                }
            }
        }
    }

    /// The chunks of a file that is known to be short.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is no file, or the reader's error.
    pub fn chunks(&self, entry: &Entry) -> Result<Vec<ChunkRef>> {
        let mut all = Vec::new();
        self.each_chunk(entry, &mut |chunks| {
            all.extend_from_slice(chunks);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands the chunks of a file to `take`, in order, many at once.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is no file, the reader's error, or that of `take`.
    pub fn each_chunk(&self, entry: &Entry, take: &mut TakeChunks<'_>) -> Result<()> {
        let EntryKind::File { size, content, .. } = &entry.kind else {
            let name = String::from_utf8_lossy(&entry.name);
            return Err(Error::new(Kind::Invalid, format!("reading \"{name}\""), "it is not a file"));
        };
        each_chunk(&self.reader, content, *size, take)
    }

    /// Hands a file's bytes to `take`, piece by piece and in order, and checks the whole file's hash at the end.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if the bytes are not the ones that were recorded; the reader's error, or that of `take`.
    pub fn read(&self, node: &Node, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let path = || String::from_utf8_lossy(&node.path).into_owned();
        let Some(entry @ Entry { kind: EntryKind::File { hash, .. }, .. }) = &node.entry else {
            return Err(Error::new(Kind::Invalid, format!("reading \"{}\"", path()), "it is not a file"));
        };
        let mut hasher = blake3::Hasher::new();
        self.each_chunk(entry, &mut |chunks| {
            let mut last: Option<(ChunkRef, Vec<u8>)> = None;
            for chunk in chunks {
                let bytes = match last.take() {
                    Some((known, bytes)) if known == *chunk => bytes,
                    _ => self.reader.get(ChunkKind::Data, &chunk.id)?,
                };
                if bytes.len() != chunk.len as usize {
                    let why = "a chunk has another length than its list says";
                    return Err(Error::new(Kind::Damaged, format!("reading \"{}\"", path()), why));
                }
                hasher.update(&bytes);
                take(&bytes)?;
                last = Some((*chunk, bytes));
            }
            Ok(())
        })?;
        if FileHash::from_bytes(*hasher.finalize().as_bytes()) == *hash {
            Ok(())
        } else {
            let why = "its bytes do not match the hash that was recorded";
            Err(Error::new(Kind::Damaged, format!("reading \"{}\"", path()), why))
        }
    }
}

/// What lies in a directory that was carried forward was carried as well.
fn mark_carried(dir: &Node, entries: &mut [Entry]) {
    if let Some(carried) = dir.entry.as_ref().and_then(|entry| entry.meta.carried) {
        entries.iter_mut().for_each(|entry| entry.meta.carried = Some(carried));
    }
}

/// How many names a path has.
pub fn depth(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count()
}

/// Whether a path lies below a directory.
pub fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

/// The directory that a path lies in; empty for a single name.
pub fn above(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &path[..at])
}

/// A path and a name below it.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        path if name.is_empty() => path.to_vec(),
        path => [path, b"/", name.strip_prefix(b"/").unwrap_or(name)].concat(),
    }
}
