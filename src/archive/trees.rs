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

/// The entries of a directory, ascending by name.
///
/// # Errors
/// The reader's error, or damaged if the pages do not make a directory.
pub fn entries_of(reader: &Reader<'_>, tree: &ChunkId) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut room = Listed::new(reader.archive());
    let mut todo: Vec<(ChunkId, Option<Told>)> = vec![(*tree, None)];
    while let Some((id, told)) = todo.pop() {
        let doing = || format!("reading the directory {}", id.short());
        let bytes = reader.get(ChunkKind::Tree, &id)?;
        let page = Tree::decode(&bytes).map_err(|error| error.within(doing()))?;
        let found = match &page {
            Tree::Entries(entries) => (0, entries.first().map(|entry| &entry.name)),
            Tree::Pages { level, children } => (*level, children.first().map(|child| &child.first)),
        };
        if told.is_some_and(|(level, first)| found != (level, Some(&first))) {
            return Err(Error::new(Kind::Damaged, doing(), "a page is not the one that the page above tells of"));
        }
        match page {
            Tree::Entries(page) => {
                let joins = entries.last().map(|last| &last.name) < page.first().map(|first| &first.name);
                let empty = entries.is_empty() && page.is_empty();
                if !(joins || empty) || entries.len() + page.len() > MAX_ENTRIES {
                    return Err(Error::new(Kind::Damaged, doing(), "its pages do not follow each other"));
                }
                if !room.add(&page)? {
                    let why = "it claims more entries than an archive of this size can hold";
                    return Err(Error::new(Kind::Damaged, doing(), why));
                }
                entries.extend(page);
            }
            Tree::Pages { level, children } => {
                todo.extend(children.into_iter().rev().map(|child| (child.id, Some((level - 1, child.first)))));
                if todo.len() > MAX_ENTRIES {
                    return Err(Error::new(Kind::Damaged, doing(), "it has too many pages"));
                }
            }
        }
    }
    Ok(entries)
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
