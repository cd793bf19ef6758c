//! The lists that say which chunks make up a file, read page by page.
//!
//! A list may have four million chunks, and a page of it may be named any number of times, so nobody puts a whole list
//! together: whoever wants all of it is handed one page after the other, and whoever wants a place in it goes down to the
//! page that tells of it. On both ways levels must go down, and each page must add up to what the page above says, so
//! that a list always ends and never gives other lengths than the file's.

use super::Reader;
use crate::error::{Error, Kind, Result};
use crate::format::{ChunkRef, Content, List};
use crate::id::{ChunkId, ChunkKind};

/// A file with more chunks is refused: 4 TiB at the usual length.
const MAX_CHUNKS: usize = 1 << 22;

/// Takes the next chunks of a file.
pub type TakeChunks<'t> = dyn FnMut(&[ChunkRef]) -> Result<()> + 't;

/// Hands the chunks of a file of `size` bytes to `take`, in order, as many at once as a page of its list has.
///
/// # Errors
/// The reader's error, that of `take`, or damaged if the chunks do not add up to the size.
pub fn each_chunk(reader: &Reader<'_>, content: &Content, size: u64, take: &mut TakeChunks<'_>) -> Result<()> {
    let top = match content {
        Content::Chunks(chunks) => return take(chunks),
        Content::List(top) => *top,
    };
    let mut todo = vec![(top, None, size)];
    // One page may be named again and again.
    let mut last: Option<(ChunkId, List)> = None;
    let (mut chunks, mut pages) = (0, 0);
    while let Some((id, level, len)) = todo.pop() {
        let page = match last.take() {
            Some((known, page)) if known == id => page,
            _ => read(reader, &id)?,
        };
        check(&page, &id, level, len)?;
        pages += 1;
        match &page {
            List::Chunks(rows) => {
                chunks += rows.len();
                bounded(chunks.max(pages), &id)?;
                take(rows)?;
            }
            List::Pages { level, pages: below } => {
                bounded(pages.max(todo.len() + below.len()), &id)?;
                todo.extend(below.iter().rev().map(|(id, len)| (*id, Some(level - 1), *len)));
            }
        }
        last = Some((id, page));
    }
    Ok(())
}

/// All chunks of a file: for files that are known to be short, since a long one has millions.
///
/// # Errors
/// As [`each_chunk`].
pub fn chunks_of(reader: &Reader<'_>, content: &Content, size: u64) -> Result<Vec<ChunkRef>> {
    first_chunks(reader, content, size, MAX_CHUNKS)
}

/// The first chunks of a file, and all of them if there are no more than `most`.
///
/// # Errors
/// As [`each_chunk`], as far as was read.
pub fn first_chunks(reader: &Reader<'_>, content: &Content, size: u64, most: usize) -> Result<Vec<ChunkRef>> {
    let mut found: Vec<ChunkRef> = Vec::new();
    let full = || Error::new(Kind::Internal, "reading a list of chunks", "there are enough");
    let done = each_chunk(reader, content, size, &mut |chunks| {
        let room = most - found.len();
        found.extend(chunks.iter().take(room));
        if found.len() < most || chunks.len() <= room { Ok(()) } else { Err(full()) }
    });
    match done {
        Err(error) if error.kind() != Kind::Internal || found.len() < most => Err(error),
        _ => Ok(found),
    }
}

/// The part of a file's list that tells of the byte at `offset`: where in the file it begins, and its chunks. `page` gives
/// the bytes of a page.
///
/// # Errors
/// That of `page`, or damaged if the list does not add up or has nothing there.
pub fn chunks_at(
    content: &Content,
    size: u64,
    offset: u64,
    page: &mut dyn FnMut(&ChunkId) -> Result<Vec<u8>>,
) -> Result<(u64, Vec<ChunkRef>)> {
    let top = match content {
        Content::Chunks(chunks) => return Ok((0, chunks.clone())),
        Content::List(top) => *top,
    };
    let (mut id, mut level, mut start, mut len) = (top, None, 0, size);
    loop {
        let list = decode(&id, &page(&id)?)?;
        check(&list, &id, level, len)?;
        match list {
            List::Chunks(rows) => return Ok((start, rows)),
            List::Pages { level: found, pages } => {
                let mut next = None;
                for (below, covers) in pages {
                    // It adds up to what the page above says, so this cannot run over.
                    if offset < start + covers {
                        next = Some((below, covers));
                        break;
                    }
                    start += covers;
                }
                let beyond = || wrong(&id, "it ends before that place");
                let (below, covers) = next.ok_or_else(beyond)?;
                (id, level, len) = (below, Some(found - 1), covers);
            }
        }
    }
}

fn read(reader: &Reader<'_>, id: &ChunkId) -> Result<List> {
    decode(id, &reader.get(ChunkKind::List, id)?)
}

fn decode(id: &ChunkId, bytes: &[u8]) -> Result<List> {
    List::decode(bytes).map_err(|error| error.within(doing(id)))
}

/// Whether a page is of the level and adds up to the length that the page above says.
fn check(page: &List, id: &ChunkId, level: Option<u8>, len: u64) -> Result<()> {
    let (found, sum) = match page {
        List::Chunks(rows) => (0, rows.iter().try_fold(0, |sum: u64, chunk| sum.checked_add(chunk.len.into()))),
        List::Pages { level, pages } => (*level, pages.iter().try_fold(0, |sum: u64, (_, len)| sum.checked_add(*len))),
    };
    if sum != Some(len) || level.is_some_and(|level| level != found) {
        return Err(wrong(id, "it does not add up"));
    }
    Ok(())
}

fn bounded(count: usize, id: &ChunkId) -> Result<()> {
    if count > MAX_CHUNKS { Err(wrong(id, "it has too many chunks")) } else { Ok(()) }
}

fn wrong(id: &ChunkId, why: &str) -> Error {
    Error::new(Kind::Damaged, doing(id), why)
}

fn doing(id: &ChunkId) -> String {
    format!("reading the chunk list {}", id.short())
}
