//! The way out: chunks by their names.
//!
//! Nothing leaves here unchecked: a frame must say that it is the chunk that was asked for, and the decoded bytes must
//! hash to its name. If a place that the index names does not hold the chunk, its other places are tried, then the damaged
//! pack is mended in memory, and then the index is filled again once, so that a wrong index costs time and never an answer.

use std::borrow::Cow;
use std::cell::Cell;

use super::{Archive, Location};
use crate::chunk::Chunk;
use crate::codec;
use crate::error::{Error, Kind, Result, words_of};
use crate::format::{ChunkRef, FRAME_HEADER_LEN, decode_frame_header, names};
use crate::id::{ChunkId, ChunkKind};

/// Frames that lie this close together, in bytes, are read at once.
const GAP: u64 = 128 << 10;
/// At most this much is read at once, in bytes, unless one frame is longer; all threads together keep so many times as much.
const SPAN: u64 = 8 << 20;
const SPANS: u64 = 8;
/// A piece of a file has at most this many chunks.
const FEW: usize = 4096;
/// A buffer so many times as long is not kept for the next read.
const KEPT: u64 = 2;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Takes a chunk: its position among those that were asked for, and its bytes or why there are none.
pub type Take<'t> = dyn FnMut(usize, Result<&[u8]>) -> Result<()> + 't;

/// Reads chunks.
pub struct Reader<'a> {
    archive: &'a Archive,
}

impl<'a> Reader<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self { archive }
    }

    /// The archive it reads from.
    pub fn archive(&self) -> &'a Archive {
        self.archive
    }

    /// A chunk's original bytes.
    ///
    /// # Errors
    /// [`Kind::Missing`] or [`Kind::Damaged`] if no pack has it whole, [`Kind::Unsupported`] if it is packed in a way
    /// that is not known here, or the store's error.
    pub fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        self.archive.check_stop()?;
        let mut trouble = None;
        loop {
            let places = self.archive.locate(id)?;
            for place in &places {
                match self.read(kind, id, place) {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => {
                        if error.kind() == Kind::Damaged {
                            self.archive.distrust(place.pack);
                        }
                        trouble = Some(error);
                    }
                }
            }
            for place in &places {
                if let Some(bytes) = self.read_mended(kind, id, place)? {
                    return Ok(bytes);
                }
            }
            if !self.archive.look_again()? {
                break;
            }
        }
        // The index knew of it until all packs were asked for another chunk: what its frame is tells the truth.
        let trouble = match (trouble, self.archive.spoiled_place(id)) {
            (None, Some(place)) => self.read(kind, id, &place).err(),
            (trouble, _) => trouble,
        };
        let missing = || Error::new(Kind::Missing, format!("reading chunk {id}"), "it is in no pack of the archive");
        Err(in_words(trouble.unwrap_or_else(missing)))
    }

    /// Hands each of these data chunks to `each` with its position in `ids`, in the order in which they lie in the store,
    /// reading neighbours at once.
    ///
    /// # Errors
    /// The first error of a chunk, as [`Reader::get`], or of `each`; `failed` decides for each whether to go on.
    pub fn get_all(&self, ids: &[ChunkId], each: &mut Take<'_>) -> Result<()> {
        let mut wanted = Vec::with_capacity(ids.len());
        let mut unknown = Vec::new();
        // A file may be one chunk over and over.
        let mut last: Option<(&ChunkId, Option<Location>)> = None;
        for (position, id) in ids.iter().enumerate() {
            let place = match last {
                Some((known, place)) if known == id => place,
                _ => self.archive.locate(id)?.into_iter().next(),
            };
            last = Some((id, place));
            match place {
                Some(place) => wanted.push((place, position)),
                None => unknown.push(position),
            }
        }
        wanted.sort_unstable_by_key(|(place, position)| (place.pack, place.row.offset, *position));
        let mut rest = &wanted[..];
        while let Some(((first, _), _)) = rest.split_first() {
            let count = rest.iter().take_while(|(place, _)| place.pack == first.pack).count();
            let count = run(&rest[..count]);
            let (together, after) = rest.split_at(count);
            self.read_together(together, ids, each)?;
            rest = after;
        }
        for position in unknown {
            self.hand_over(ids, position, each)?;
        }
        Ok(())
    }

    /// The bytes of a piece of a file, which lies in these chunks; [`piece_of`] says how many are one.
    ///
    /// # Errors
    /// As [`Reader::get`], or damaged if a chunk has another length than its list says.
    pub fn bytes_of(&self, chunks: &[ChunkRef]) -> Result<Vec<u8>> {
        let mut offsets = Vec::with_capacity(chunks.len());
        let mut len = 0;
        for chunk in chunks {
            offsets.push(len);
            len += chunk.len as usize;
        }
        let mut piece = vec![0; len];
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        self.get_all(&ids, &mut |position, bytes| {
            let room = &mut piece[offsets[position]..offsets[position] + chunks[position].len as usize];
            let bytes = bytes?;
            if bytes.len() != room.len() {
                return Err(Error::new(Kind::Damaged, "reading a chunk", "it has another length than its list says"));
            }
            room.copy_from_slice(bytes);
            Ok(())
        })?;
        Ok(piece)
    }

    fn read_together(&self, run: &[(Location, usize)], ids: &[ChunkId], each: &mut Take<'_>) -> Result<()> {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Ok(()) };
        let start = u64::from(first.row.offset);
        let end = u64::from(last.row.offset) + last.row.frame_len();
        let len = (end - start) as usize;
        let longest = run.iter().map(|(place, _)| place.row.frame.plain_len).max().unwrap_or_default();
        let extra = if is_kept(len) { 0 } else { len as u64 };
        let room = self.archive.unpacking(extra + u64::from(longest));
        // The buffer is this thread's and used again; it is taken away meanwhile, since `each` may read, too.
        let mut buffer = BUFFER.take();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let read = self.archive.store().read_range(&names::pack(&first.pack), start, &mut buffer[..len]);
        let mut slow = Vec::new();
        for same in run.chunk_by(|(one, _), (other, _)| one.row.offset == other.row.offset) {
            let Some((place, first)) = same.first() else { continue };
            let at = (u64::from(place.row.offset) - start) as usize;
            let frame = read.as_ref().ok().and_then(|()| buffer.get(at..at + place.row.frame_len() as usize));
            let whole = frame.map(|frame| unpack(ChunkKind::Data, &ids[*first], place, frame));
            for (_, position) in same {
                match &whole {
                    Some(Ok(plain)) if ids[*position] == ids[*first] => each(*position, Ok(plain))?,
                    _ => slow.push(*position),
                }
            }
        }
        if is_kept(buffer.len()) {
            BUFFER.set(buffer);
        }
        drop(room);
        // The slow way knows the other places, and what to say.
        slow.into_iter().try_for_each(|position| self.hand_over(ids, position, each))
    }

    fn hand_over(&self, ids: &[ChunkId], position: usize, each: &mut Take<'_>) -> Result<()> {
        match self.get(ChunkKind::Data, &ids[position]) {
            Ok(bytes) => each(position, Ok(&bytes)),
            Err(error) => each(position, Err(error)),
        }
    }

    fn read(&self, kind: ChunkKind, id: &ChunkId, place: &Location) -> Result<Vec<u8>> {
        let name = names::pack(&place.pack);
        let offset = u64::from(place.row.offset);
        // As it lies there, and unpacked.
        let _room = self.archive.unpacking(place.row.frame_len() + u64::from(place.row.frame.plain_len));
        let frame = self.archive.store().get_range(&name, offset, place.row.frame_len() as usize)?;
        Ok(unpack(kind, id, place, &frame)?.into_owned())
    }

    /// The chunk from the pack as it was, if its recovery data tell that.
    fn read_mended(&self, kind: ChunkKind, id: &ChunkId, place: &Location) -> Result<Option<Vec<u8>>> {
        let Some(pack) = self.archive.mended_pack(&place.pack)? else { return Ok(None) };
        let start = place.row.offset as usize;
        let frame = pack.get(start..start + place.row.frame_len() as usize);
        Ok(frame.and_then(|frame| unpack(kind, id, place, frame).ok()).map(Cow::into_owned))
    }
}

/// How many of a file's next chunks are read at once: so many, and no more bytes than one read has, but at least one.
pub fn piece_of(chunks: &[ChunkRef]) -> usize {
    let mut len = 0;
    let fit = chunks.iter().take(FEW).take_while(|chunk| {
        len += u64::from(chunk.len);
        len <= SPAN
    });
    fit.count().max(1).min(chunks.len())
}

/// The same without the names of chunks and packs, which mean nothing to whoever wants a photo; verifying tells them.
fn in_words(error: Error) -> Error {
    let why = match (error.kind(), error.io()) {
        (Kind::Damaged | Kind::Missing, Some(io)) => words_of(io),
        (Kind::Damaged, None) => "it is damaged".to_owned(),
        (Kind::Missing, None) => "it is missing".to_owned(),
        _ => return error,
    };
    Error::new(error.kind(), "reading a part of it from the archive", why)
}

/// How much one thread of many reads at once, in bytes.
fn span() -> u64 {
    SPAN.min(SPANS * SPAN / rayon::current_num_threads() as u64)
}

fn is_kept(len: usize) -> bool {
    len as u64 <= KEPT * span()
}

/// How many of these frames of one pack are read at once: as long as they lie close together.
fn run(frames: &[(Location, usize)]) -> usize {
    let start = frames.first().map_or(0, |(place, _)| u64::from(place.row.offset));
    let (mut end, span) = (start, span());
    let close = frames.iter().take_while(|(place, _)| {
        let offset = u64::from(place.row.offset);
        let next = offset + place.row.frame_len();
        let close = offset <= end + GAP && (next - start <= span || end == start);
        end = end.max(next);
        close
    });
    close.count().max(1)
}

/// The chunk in a frame at a place, checked against its name.
fn unpack<'b>(kind: ChunkKind, id: &ChunkId, place: &Location, frame: &'b [u8]) -> Result<Cow<'b, [u8]>> {
    let doing = || format!("reading chunk {id} at {} of {}", place.row.offset, names::pack(&place.pack));
    unpack_frame(kind, id, frame).map_err(|error| error.within(doing()))
}

/// The chunk in a frame, checked against its name.
///
/// # Errors
/// Damaged if another chunk is there or its bytes are not what they were, unsupported if it is packed in a way that is
/// not known.
pub fn unpack_frame<'b>(kind: ChunkKind, id: &ChunkId, frame: &'b [u8]) -> Result<Cow<'b, [u8]>> {
    let header = decode_frame_header(frame)?;
    let stored = &frame[FRAME_HEADER_LEN..];
    if header.id != *id || header.kind != kind || header.stored_len as usize != stored.len() {
        return Err(Error::new(Kind::Damaged, "looking for it", "another chunk is there"));
    }
    let plain = codec::decode_ref(header.codec, header.codec_version, stored, header.plain_len as usize)?;
    if Chunk::new(kind, &plain).id() != *id {
        return Err(Error::new(Kind::Damaged, "unpacking it", "its bytes do not match its name"));
    }
    Ok(plain)
}
