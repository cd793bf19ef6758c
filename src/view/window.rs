//! A window: an archive to look into from many threads and for a long time. Like everything here it can only read.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Past, Sources, Span};
use crate::archive::{Archive, Filter, Listing, chunks_at, entries_of, readable_entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::{ChunkRef, Content, Entry, Snapshot};
use crate::id::{ChunkId, ChunkKind, SnapshotId};

/// An archive, and which of its snapshots count.
#[derive(Clone)]
pub struct Window {
    archive: Arc<Archive>,
    filter: Filter,
}

/// What is no longer in a source, and was in it once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The machine.
    pub host: String,
    /// The source's path there now.
    pub source: Vec<u8>,
    /// The name of the source in each snapshot that `files` name.
    pub names: HashMap<SnapshotId, Vec<u8>>,
    /// Each deleted path below the source, with the last snapshot that has it; ascending by path.
    pub files: Vec<(Vec<u8>, SnapshotId)>,
}

impl Window {
    /// A window on these snapshots of an archive.
    pub fn new(archive: Arc<Archive>, filter: Filter) -> Self {
        Self { archive, filter }
    }

    /// The snapshots that count, oldest first.
    pub fn snapshots(&self) -> Vec<(SnapshotId, Snapshot)> {
        let mut all = self.archive.snapshots();
        all.retain(|(_, snapshot)| self.filter.admits(snapshot));
        all
    }

    /// The sources of the snapshots that count.
    ///
    /// # Errors
    /// The archive's error.
    pub fn sources(&self) -> Result<Sources<'_>> {
        Sources::of(&self.archive, &self.filter)
    }

    /// All snapshots, by id.
    pub fn all_snapshots(&self) -> HashMap<SnapshotId, Snapshot> {
        self.archive.snapshots().into_iter().collect()
    }

    /// What is in a directory, ascending by name.
    ///
    /// # Errors
    /// The reader's error.
    pub fn list(&self, tree: &ChunkId) -> Result<Vec<Entry>> {
        entries_of(&self.archive.reader(), tree)
    }

    /// What can be read of a directory, and what cannot.
    ///
    /// # Errors
    /// The reader's error, but not for what is lost, damaged or newer.
    pub fn list_readable(&self, tree: &ChunkId) -> Result<Listing> {
        readable_entries_of(&self.archive.reader(), tree)
    }

    /// The chunks of a file around the byte at `offset`: where in the file the first of them begins, and as many of them as
    /// lie together in its list. `page` gives the bytes of a page of the list, as [`Window::list_page`] reads them.
    ///
    /// # Errors
    /// That of `page`, or damaged if the list is not as it should be.
    pub fn chunks_at(
        content: &Content,
        size: u64,
        offset: u64,
        page: &mut dyn FnMut(&ChunkId) -> Result<Vec<u8>>,
    ) -> Result<(u64, Vec<ChunkRef>)> {
        chunks_at(content, size, offset, page)
    }

    /// The bytes of a page of a list of chunks.
    ///
    /// # Errors
    /// The reader's error.
    pub fn list_page(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.archive.reader().get(ChunkKind::List, id)
    }

    /// A chunk of a file, checked against its name and of the length that its list says.
    ///
    /// # Errors
    /// The reader's error.
    pub fn chunk(&self, chunk: &ChunkRef) -> Result<Vec<u8>> {
        let bytes = self.archive.reader().get(ChunkKind::Data, &chunk.id)?;
        if bytes.len() == chunk.len as usize {
            return Ok(bytes);
        }
        let why = "it has another length than its list says";
        Err(Error::new(Kind::Damaged, format!("reading chunk {}", chunk.id), why))
    }

    /// What is in the archive and no longer in its source, for each source of the snapshots that count.
    ///
    /// # Errors
    /// The archive's error.
    pub fn lost(&self) -> Result<Vec<Lost>> {
        let past = Past::open(&self.archive, &self.filter)?;
        let mut found = Vec::new();
        for root in past.roots() {
            let (host, source) = past.origin(&root);
            let mut lost = Lost { host: host.to_owned(), source, names: HashMap::new(), files: Vec::new() };
            for episode in past.episodes(std::slice::from_ref(&root), Span::Deleted)? {
                if let Some((last, _)) = past.last(&episode) {
                    if !lost.names.contains_key(&last)
                        && let Some(name) = past.path_in(&root, &last)
                    {
                        lost.names.insert(last, name);
                    }
                    lost.files.push((episode.state.path, last));
                }
            }
            found.push(lost);
        }
        Ok(found)
    }

    /// Whether the archive still answers, as a drive does not that was unplugged.
    pub fn is_reachable(&self) -> bool {
        self.archive.is_reachable()
    }
}
