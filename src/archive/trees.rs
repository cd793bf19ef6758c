//! Directories and long chunk lists as chunks: cut into pages on the way in; directories are put together and checked on
//! the way out, lists elsewhere.
//!
//! Where a directory is cut into pages depends on names alone, so a changed entry costs one page. On the way out, pages
//! are hostile: levels must go down, names must ascend over all pages, and counts are bounded, so a page that names
//! itself or a fan of equal pages ends in an error and not in memory.

use super::walk::Listed;
use super::{Reader, Writer};
use crate::chunk::Chunk;
use crate::error::{Error, Kind, Result};
use crate::format::{Child, ChunkRef, Content, Entry, EntryKind, Hint, List, Tree};
use crate::id::{ChunkId, ChunkKind};

/// A page of entries is not cut before it has this many.
const PAGE_MIN: usize = 64;
/// One name in so many ends a page.
const PAGE_ONE_IN: u16 = 512;
/// A page is cut when it has this many entries, or weighs about this many bytes.
const PAGE_MAX: usize = 4096;
const PAGE_WEIGHT: usize = 1 << 20;
/// Pages in a page of pages.
const FAN: usize = 1024;
/// Chunks that a file's own entry names; longer lists go into pages.
const INLINE: usize = 128;
/// Chunks in a page of a list.
const LIST_PAGE: usize = 1024;
/// A directory with more entries is refused.
const MAX_ENTRIES: usize = 1 << 24;

/// Stores the entries of a directory, ascending by name, and returns its tree.
pub fn store_entries(writer: &Writer<'_>, entries: Vec<Entry>) -> Result<ChunkId> {
    let mut children = Vec::new();
    let (mut page, mut weight) = (Vec::new(), 0);
    for entry in entries {
        weight += entry_weight(&entry);
        let ends = ends_page(&entry.name);
        page.push(entry);
        if (ends && page.len() >= PAGE_MIN) || page.len() >= PAGE_MAX || weight >= PAGE_WEIGHT {
            children.push(store_page(writer, std::mem::take(&mut page))?);
            weight = 0;
        }
    }
    if !page.is_empty() || children.is_empty() {
        children.push(store_page(writer, page)?);
    }
    let mut level = 0;
    while children.len() > 1 {
        level += 1;
        let mut above = Vec::new();
        let mut rest = children.into_iter().peekable();
        while let Some(first) = rest.peek().map(|child| child.first.clone()) {
            let children = rest.by_ref().take(FAN).collect();
            let bytes = Tree::Pages { level, children }.encode();
            above.push(Child { first, id: put(writer, ChunkKind::Tree, &bytes)? });
        }
        children = above;
    }
    match children.pop() {
        Some(child) => Ok(child.id),
        None => Err(Error::new(Kind::Internal, "storing a directory", "it has no page")),
    }
}

fn store_page(writer: &Writer<'_>, page: Vec<Entry>) -> Result<Child> {
    let first = page.first().map(|entry| entry.name.clone()).unwrap_or_default();
    let bytes = Tree::Entries(page).encode();
    Ok(Child { first, id: put(writer, ChunkKind::Tree, &bytes)? })
}

fn put(writer: &Writer<'_>, kind: ChunkKind, bytes: &[u8]) -> Result<ChunkId> {
    let chunk = Chunk::new(kind, bytes);
    writer.put(&chunk, Hint::None)?;
    Ok(chunk.id())
}

fn ends_page(name: &[u8]) -> bool {
    let hash = blake3::hash(name);
    u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]).is_multiple_of(PAGE_ONE_IN)
}

fn entry_weight(entry: &Entry) -> usize {
    let xattrs: usize = entry.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    let kind = match &entry.kind {
        EntryKind::File { content: Content::Chunks(chunks), .. } => chunks.len() * crate::format::REF_LEN,
        EntryKind::Symlink { target } => target.len(),
        _ => 0,
    };
    100 + entry.name.len() + xattrs + kind
}

/// What the page above says of a page: its level, and the name with which it begins.
type Told = (u8, Vec<u8>);

/// What of a directory can be read.
#[derive(Debug)]
pub struct Listing {
    /// Its entries, ascending by name.
    pub entries: Vec<Entry>,
    /// Where entries are missing, ascending by name.
    pub gaps: Vec<Gap>,
}

/// Entries of a directory that cannot be read, because a page of it is gone, damaged or of a newer version.
#[derive(Debug)]
pub struct Gap {
    /// The first of them; none if it is not known where they begin.
    pub from: Option<Vec<u8>>,
    /// The first that can be read again, or could; none if they go on to the end.
    pub until: Option<Vec<u8>>,
    /// Why not.
    pub error: Error,
}

impl Gap {
    /// Whether an entry of this name may be among them.
    pub fn may_have(&self, name: &[u8]) -> bool {
        self.from.as_ref().is_none_or(|from| from.as_slice() <= name)
            && self.until.as_ref().is_none_or(|until| name < until.as_slice())
    }
}

/// The entries of a directory, ascending by name.
///
/// # Errors
/// The reader's error, or damaged if the pages do not make a directory.
pub fn entries_of(reader: &Reader<'_>, tree: &ChunkId) -> Result<Vec<Entry>> {
    pages(reader, tree, &mut |gap| Err(gap.error))
}

/// What of a directory can be read: a page that cannot be costs what it holds, and where that is is told.
///
/// # Errors
/// An error that is not of one object, such as that of a drive that is gone; damaged if there is more than any directory
/// may have.
pub fn readable_entries_of(reader: &Reader<'_>, tree: &ChunkId) -> Result<Listing> {
    let mut gaps: Vec<Gap> = Vec::new();
    let entries = pages(reader, tree, &mut |gap| {
        let of_an_object = match gap.error.kind() {
            Kind::Store => reader.archive().is_reachable(),
            kind => kind.is_of_an_object(),
        };
        if !of_an_object {
            return Err(gap.error);
        }
        match gaps.last_mut().filter(|last| last.until.is_some() && last.until == gap.from) {
            Some(last) => last.until = gap.until,
            None => gaps.push(gap),
        }
        Ok(())
    })?;
    Ok(Listing { entries, gaps })
}

/// Reads a directory page by page; what to do about a page that cannot be used, `missing` says.
fn pages(reader: &Reader<'_>, tree: &ChunkId, missing: &mut dyn FnMut(Gap) -> Result<()>) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut room = Listed::new(reader.archive());
    let mut todo: Vec<(ChunkId, Option<Told>, Option<Vec<u8>>)> = vec![(*tree, None, None)];
    while let Some((id, told, until)) = todo.pop() {
        let doing = || format!("reading the directory {}", id.short());
        let last = entries.last().map(|last| last.name.as_slice());
        let page = match page(reader, &id, told.as_ref(), last, until.as_deref()) {
            Ok(page) => page,
            Err(error) => {
                missing(Gap { from: told.map(|(_, first)| first), until, error: error.within(doing()) })?;
                continue;
            }
        };
        match page {
            Tree::Entries(page) => {
                if entries.len() + page.len() > MAX_ENTRIES {
                    return Err(Error::new(Kind::Damaged, doing(), "it has too many entries"));
                }
                if !room.add(&page)? {
                    let why = "it claims more entries than an archive of this size can hold";
                    let from = page.first().map(|first| first.name.clone());
                    missing(Gap { from, until: None, error: Error::new(Kind::Damaged, doing(), why) })?;
                    break;
                }
                entries.extend(page);
            }
            Tree::Pages { level, children } => {
                let mut until = until;
                for child in children.into_iter().rev() {
                    let first = child.first.clone();
                    todo.push((child.id, Some((level - 1, child.first)), until.replace(first)));
                }
                if todo.len() > MAX_ENTRIES {
                    return Err(Error::new(Kind::Damaged, doing(), "it has too many pages"));
                }
            }
        }
    }
    Ok(entries)
}

/// One page, if it is the one that was told of and lies between its neighbours.
fn page(
    reader: &Reader<'_>,
    id: &ChunkId,
    told: Option<&Told>,
    after: Option<&[u8]>,
    until: Option<&[u8]>,
) -> Result<Tree> {
    let wrong = |why: &str| Err(Error::new(Kind::Damaged, "putting its pages together", why));
    let page = Tree::decode(&reader.get(ChunkKind::Tree, id)?)?;
    let found = match &page {
        Tree::Entries(entries) => (0, entries.first().map(|entry| &entry.name)),
        Tree::Pages { level, children } => (*level, children.first().map(|child| &child.first)),
    };
    if told.is_some_and(|(level, first)| found != (*level, Some(first))) {
        return wrong("a page is not the one that the page above tells of");
    }
    if let Tree::Entries(entries) = &page {
        let joins = entries.first().is_none_or(|first| after < Some(&first.name));
        let ends = entries.last().is_none_or(|last| until.is_none_or(|until| last.name.as_slice() < until));
        if !joins || !ends || (entries.is_empty() && after.is_some()) {
            return wrong("its pages do not follow each other");
        }
    }
    Ok(page)
}

/// Stores the list of a file's chunks where it is too long for the file's entry.
pub fn store_content(writer: &Writer<'_>, chunks: Vec<ChunkRef>) -> Result<Content> {
    if chunks.len() <= INLINE {
        return Ok(Content::Chunks(chunks));
    }
    let mut pages = Vec::new();
    for page in chunks.chunks(LIST_PAGE) {
        let len = page.iter().map(|chunk| u64::from(chunk.len)).sum();
        pages.push((put(writer, ChunkKind::List, &List::Chunks(page.to_vec()).encode())?, len));
    }
    let mut level = 0;
    while pages.len() > 1 {
        level += 1;
        let mut above = Vec::new();
        for fan in pages.chunks(FAN) {
            let len = fan.iter().map(|(_, len)| len).sum();
            above.push((put(writer, ChunkKind::List, &List::Pages { level, pages: fan.to_vec() }.encode())?, len));
        }
        pages = above;
    }
    match pages.pop() {
        Some((id, _)) => Ok(Content::List(id)),
        None => Err(Error::new(Kind::Internal, "storing a list of chunks", "it has no page")),
    }
}
