//! Whether what the past tells of can be had from the archive as it is now.
//!
//! Every chunk is looked at where it lies, each once, in the order of the packs. What cannot be made out counts as not
//! held: the wrong answer here would cost a photo.

use std::collections::HashMap;
use std::sync::Arc;

use super::same_chunks;
use crate::archive::{Archive, Location, Probes, Reader, first_chunks, piece_of};
use crate::error::Result;
use crate::format::{ChunkRef, Content, EntryKind, FRAME_HEADER_LEN, decode_frame_header, names};
use crate::id::{ChunkId, ChunkKind, FileHash, PackId};
use crate::op::folders::Folders;
use crate::op::{Observer, check_stop};
use crate::store::Leftovers;
use crate::view::{Episode, Past};

/// So many recorded files with one hash and other chunks than the file has are read, at most.
const TRIED: usize = 16;
/// A file with more chunks than this is not tried, unless the file itself is cut so.
const MOST_CHUNKS: usize = 1 << 20;
/// In no more than so many stretches of packs a block is looked at where the archive's bytes are not read.
const PROBES: usize = 1 << 16;

/// What identifies a state: the machine, the path there, and the position of the first snapshot that has it.
type StateId = (String, Vec<u8>, u32);

/// What is known of a state.
#[derive(Clone)]
enum State {
    /// Not that it could be restored.
    Not,
    /// It is what it says if these chunks are held.
    Chunks(Arc<Vec<ChunkRef>>),
    /// What its chunks give must be read.
    Unknown(FileHash, Arc<Vec<ChunkRef>>),
}

pub(super) struct Holding<'a> {
    archive: &'a Archive,
    past: &'a Past<'a>,
    reader: Reader<'a>,
    read_data: bool,
    observer: &'a dyn Observer,
    /// The packs that are there and their lengths.
    present: HashMap<PackId, u64>,
    folders: Folders<'a>,
    states: HashMap<StateId, State>,
    probes: Probes,
    /// Chunks that were asked for, and whether they are held.
    chunks: HashMap<(ChunkId, u32), Option<bool>>,
}

impl<'a> Holding<'a> {
    pub(super) fn new(
        archive: &'a Archive,
        past: &'a Past<'a>,
        read_data: bool,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let present = archive.present_packs(Leftovers::Leave)?;
        let (states, chunks) = Default::default();
        Ok(Self {
            archive,
            past,
            reader: archive.reader(),
            read_data,
            observer,
            present,
            folders: Folders::new(archive),
            states,
            probes: Probes::new(PROBES),
            chunks,
        })
    }

    /// Asks for the states of files, each with the chunks that the file is cut into; without them, the recorded ones are
    /// believed to make it up.
    pub(super) fn ask(&mut self, files: &[(Vec<Episode>, Option<Vec<ChunkRef>>)]) -> Result<()> {
        // In the order of folders, so that each is read once.
        let past = self.past;
        let mut asked: Vec<(&Episode, Option<&[ChunkRef]>)> =
            files.iter().flat_map(|(names, own)| names.iter().map(|name| (name, own.as_deref()))).collect();
        asked.sort_by_cached_key(|(episode, _)| {
            let last = past.last(episode);
            last.map(|(id, _)| (id, past.path_in(&past.spot(episode), &id)))
        });
        for (episode, own) in asked {
            check_stop(self.observer)?;
            let state = self.state(episode, own)?;
            if let State::Chunks(chunks) = &state {
                for chunk in chunks.iter() {
                    self.chunks.entry((chunk.id, chunk.len)).or_insert(None);
                }
            }
            self.states.insert(self.id(episode), state);
        }
        Ok(())
    }

    fn id(&self, episode: &Episode) -> StateId {
        let (host, path) = self.past.origin(&self.past.spot(episode));
        (host.to_owned(), path, episode.state.from)
    }

    fn state(&mut self, episode: &Episode, own: Option<&[ChunkRef]>) -> Result<State> {
        let Some((hash, size, content)) = self.content(episode)? else { return Ok(State::Not) };
        let most = own.map_or(usize::MAX - 1, |own| own.len().max(MOST_CHUNKS));
        let chunks = match first_chunks(&self.reader, &content, size, most + 1) {
            Err(error) if error.kind().is_of_an_object() => return Ok(State::Not),
            chunks => Arc::new(chunks?),
        };
        if chunks.len() > most {
            return Ok(State::Not);
        }
        let by_name = match chunks.as_slice() {
            [] => Some(blake3::hash(b"").as_bytes() == hash.as_bytes()),
            [only] => Some(only.id.as_bytes() == hash.as_bytes()),
            chunks => own.is_none_or(|own| same_chunks(own, chunks)).then_some(true),
        };
        Ok(match by_name {
            Some(true) => State::Chunks(chunks),
            None if chunks.len() <= MOST_CHUNKS => State::Unknown(hash, chunks),
            _ => State::Not,
        })
    }

    /// What an entry says of a file's bytes, if it is still there.
    fn content(&mut self, episode: &Episode) -> Result<Option<(FileHash, u64, Content)>> {
        let past = self.past;
        let Some((id, snapshot)) = past.last(episode) else { return Ok(None) };
        let Some(path) = past.path_in(&past.spot(episode), &id) else { return Ok(None) };
        Ok(match self.folders.entry(id, snapshot.tree, &path)?.map(|entry| entry.kind) {
            Some(EntryKind::File { hash, size, content, .. }) => Some((hash, size, content)),
            _ => None,
        })
    }

    /// Looks at every chunk that was asked for and not looked at yet.
    pub(super) fn look(&mut self) -> Result<()> {
        let new: Vec<(ChunkId, u32)> =
            self.chunks.iter().filter(|(_, held)| held.is_none()).map(|(chunk, _)| *chunk).collect();
        if self.read_data {
            let ids: Vec<ChunkId> = new.iter().map(|(id, _)| *id).collect();
            let (observer, chunks) = (self.observer, &mut self.chunks);
            return self.reader.get_all(&ids, &mut |at, read| {
                check_stop(observer)?;
                let held = match read {
                    Ok(bytes) => bytes.len() == new[at].1 as usize,
                    Err(error) if error.kind().is_of_an_object() => false,
                    Err(error) => return Err(error),
                };
                chunks.insert(new[at], Some(held));
                Ok(())
            });
        }
        let mut places = Vec::with_capacity(new.len());
        for (id, len) in new {
            let found = self.archive.locate(&id)?.into_iter().find(|place| self.fits(place, len));
            places.push((found.map(|place| (place.pack, place.row.offset)), id, len));
        }
        places.sort_unstable();
        for (_, id, len) in places {
            check_stop(self.observer)?;
            let held = self.lies_there(&id, len)?;
            self.chunks.insert((id, len), Some(held));
        }
        Ok(())
    }

    fn fits(&self, place: &Location, len: u32) -> bool {
        let frame = &place.row.frame;
        let there = self.present.get(&place.pack) == Some(&place.pack_len);
        there && frame.kind == ChunkKind::Data && frame.plain_len == len
    }

    /// Whether a frame with this chunk lies where the index says and no zeros are seen in it; where that is not so,
    /// whether the chunk can be read.
    fn lies_there(&self, id: &ChunkId, len: u32) -> Result<bool> {
        for place in self.archive.locate(id)?.iter().filter(|place| self.fits(place, len)) {
            let (name, offset) = (names::pack(&place.pack), u64::from(place.row.offset));
            let header = self.archive.store().get_range(&name, offset, FRAME_HEADER_LEN);
            let frame = header.and_then(|header| decode_frame_header(&header));
            let as_told = match frame {
                Ok(frame) if frame == place.row.frame => {
                    self.probes.see_zeros(&**self.archive.store(), place).map(|zeros| !zeros)
                }
                other => other.map(|_| false),
            };
            match as_told {
                Ok(true) => return Ok(true),
                Err(error) if !error.kind().is_of_an_object() => return Err(error),
                _ => {}
            }
        }
        match self.reader.get(ChunkKind::Data, id) {
            Ok(bytes) => Ok(bytes.len() == len as usize),
            Err(error) if error.kind().is_of_an_object() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Those of these states that can be had back; first those that the source has still.
    pub(super) fn held(&self, episodes: Vec<Episode>) -> Result<Vec<Episode>> {
        let (mut held, mut unknown) = (Vec::new(), Vec::new());
        for episode in episodes {
            match self.states.get(&self.id(&episode)) {
                Some(State::Chunks(chunks)) => {
                    let there = |chunk: &ChunkRef| self.chunks.get(&(chunk.id, chunk.len)) == Some(&Some(true));
                    if chunks.iter().all(there) {
                        held.push(episode);
                    }
                }
                Some(State::Unknown(hash, chunks)) => unknown.push((episode, *hash, chunks.clone())),
                Some(State::Not) | None => {}
            }
        }
        if held.is_empty() {
            for (episode, hash, chunks) in unknown.into_iter().take(TRIED) {
                if self.reads_as(&hash, &chunks)? {
                    held.push(episode);
                }
            }
        }
        held.sort_by_key(|episode| episode.state.ended.is_some());
        Ok(held)
    }

    /// Whether these chunks, read now, give a file with this hash.
    fn reads_as(&self, hash: &FileHash, chunks: &[ChunkRef]) -> Result<bool> {
        let mut hasher = blake3::Hasher::new();
        let mut rest = chunks;
        while !rest.is_empty() {
            check_stop(self.observer)?;
            let (piece, after) = rest.split_at(piece_of(rest));
            match self.reader.bytes_of(piece) {
                Ok(bytes) => hasher.update(&bytes),
                Err(error) if !error.kind().is_of_an_object() => return Err(error),
                Err(_) => return Ok(false),
            };
            rest = after;
        }
        Ok(hasher.finalize().as_bytes() == hash.as_bytes())
    }
}
