//! One file of the source: read once, cut, hashed, and stored or only looked at.
//!
//! The whole file's hash is made from the bytes as they were read, apart from cutting and storing. A file is read to its
//! end, whatever length the file system says it has, and what was read is its length. A file that changes while it is
//! read is read again, and if it never rests it is stored and marked. A short or failed read is a failure of that file;
//! attributes that cannot be read cost the attributes; an error of the archive ends the run.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use super::capture::capture;
use crate::archive::{Archive, Writer, store_content};
use crate::chunk::{Chunk, Cutter};
use crate::error::Result;
use crate::format::{CaptureFacts, ChunkRef, EntryKind, Hint};
use crate::id::{ChunkKind, FileHash, PictureHash};
use crate::media::{self, ReadAt, Region, RegionKind};
use crate::op::{Event, Observer, check_stop};
use crate::source::{Failure, SourceFile, Stat, Xattrs};

/// How often a file is read that changes meanwhile.
const ATTEMPTS: u32 = 3;
/// Files up to this length are read at once, in bytes.
const WHOLE: u64 = 16 << 20;
/// Longer ones are read through a window of at least this many bytes.
const WINDOW: usize = 8 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A file that is stored.
pub(super) struct Stored {
    pub(super) kind: EntryKind,
    /// As it was before it was read.
    pub(super) stat: Stat,
    /// How many bytes were read.
    pub(super) size: u64,
    pub(super) xattrs: Xattrs,
    /// What it tells about its taking.
    pub(super) facts: Option<CaptureFacts>,
}

/// A file that was only looked at.
pub(super) struct Looked {
    /// How many bytes were read.
    pub(super) size: u64,
    /// How many bytes it has, as its file system says.
    pub(super) said: u64,
    pub(super) hash: FileHash,
    /// What it is without its tags.
    pub(super) picture: Option<PictureHash>,
    /// How it is cut.
    pub(super) chunks: Vec<ChunkRef>,
    /// As it was before it was read.
    pub(super) stat: Stat,
    /// It did not change while it was read.
    pub(super) settled: bool,
}

/// Stores the file that the walk found at `path`.
pub(super) fn store(
    archive: &Archive,
    writer: &Writer<'_>,
    path: &Path,
    found: &Stat,
    observer: &dyn Observer,
) -> Result<std::result::Result<Stored, Failure>> {
    let read = match read(archive, Some(writer), path, found, observer)? {
        Ok(read) => read,
        Err(failure) => return Ok(Err(failure)),
    };
    let xattrs = read.file.xattrs();
    let (stat, size, unsettled, mut content) = (read.stat, read.size, !read.settled, read.content);
    let facts = content.facts.take().map(|facts| CaptureFacts { picture: content.picture(), ..facts });
    let hash = content.hash(size);
    let content = store_content(writer, content.chunks)?;
    // Who does not know how long a file is knows nothing of its holes either.
    let sparse = stat.sparse && size == stat.size;
    let kind = EntryKind::File { size, hash, content, sparse, unsettled };
    Ok(Ok(Stored { kind, stat, size, xattrs, facts }))
}

/// Reads the file that the walk found at `path` and stores nothing.
pub(super) fn look(
    archive: &Archive,
    path: &Path,
    found: &Stat,
    observer: &dyn Observer,
) -> Result<std::result::Result<Looked, Failure>> {
    let read = read(archive, None, path, found, observer)?;
    Ok(read.map(|Read { stat, size, content, settled, .. }| {
        let picture = content.facts.as_ref().and_then(|_| content.picture());
        let hash = content.hash(size);
        Looked { size, said: stat.size, hash, picture, chunks: content.chunks, stat, settled }
    }))
}

/// A file that was read to its end.
struct Read<'a> {
    file: SourceFile,
    /// As it was before it was read.
    stat: Stat,
    /// How many bytes it has.
    size: u64,
    /// It did not change while it was read.
    settled: bool,
    content: Content<'a>,
}

fn read<'a>(
    archive: &Archive,
    writer: Option<&'a Writer<'a>>,
    path: &Path,
    found: &Stat,
    observer: &'a dyn Observer,
) -> Result<std::result::Result<Read<'a>, Failure>> {
    let mut attempt = 1;
    loop {
        let (file, stat) = match open(path, found) {
            Ok(opened) => opened,
            Err(failure) => return Ok(Err(failure)),
        };
        let last = attempt == ATTEMPTS;
        let mut content = Content::new(archive, writer, observer);
        match content.read(&file, &stat)? {
            Err(failure) if last || file.unchanged_since(&stat) => return Ok(Err(failure)),
            Err(_) => {}
            Ok(size) => {
                let settled = file.unchanged_since(&stat);
                if settled || last {
                    return Ok(Ok(Read { file, stat, size, settled, content }));
                }
            }
        }
        attempt += 1;
    }
}

fn open(path: &Path, found: &Stat) -> std::result::Result<(SourceFile, Stat), Failure> {
    let file = SourceFile::open(path, found)?;
    let stat = file.stat()?;
    Ok((file, stat))
}

/// What the file at `path` tells about its taking, for one that is stored already, as these chunks.
pub(super) fn facts(path: &Path, found: &Stat, chunks: &[ChunkRef]) -> Option<CaptureFacts> {
    let file = SourceFile::open(path, found).ok()?;
    let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    let seen = Seen { file: &file, size };
    let facts = capture(&seen)?;
    let regions = media::regions(&seen).ok().flatten().unwrap_or_default();
    Some(CaptureFacts { picture: picture(&regions, chunks), ..facts })
}

/// What a file is without its tags; none where it is not known which of its bytes are tags.
fn picture(regions: &[Region], chunks: &[ChunkRef]) -> Option<PictureHash> {
    let mut hasher = blake3::Hasher::new();
    let (mut regions, mut at) = (regions.iter().peekable(), 0);
    for chunk in chunks {
        while regions.peek()?.range().end <= at {
            regions.next();
        }
        if regions.peek()?.kind != RegionKind::Metadata {
            hasher.update(chunk.id.as_bytes());
        }
        at += u64::from(chunk.len);
    }
    (hasher.count() > 0).then(|| PictureHash::from_bytes(*hasher.finalize().as_bytes()))
}

/// A file's content while it is being stored.
struct Content<'a> {
    /// None if it is only looked at.
    writer: Option<&'a Writer<'a>>,
    observer: &'a dyn Observer,
    cutter: Cutter,
    hasher: blake3::Hasher,
    chunks: Vec<ChunkRef>,
    /// Where it was cut apart; empty if nothing is known of its structure.
    regions: Vec<Region>,
    facts: Option<CaptureFacts>,
}

impl<'a> Content<'a> {
    fn new(archive: &Archive, writer: Option<&'a Writer<'a>>, observer: &'a dyn Observer) -> Self {
        let sizes = archive.header().chunker;
        let cutter = Cutter::new(sizes.min, sizes.average, sizes.max);
        let (chunks, regions, facts) = Default::default();
        Self { writer, observer, cutter, hasher: blake3::Hasher::new(), chunks, regions, facts }
    }

    /// Reads the file that was `stat` when it was opened, to its end, and says where that is.
    fn read(&mut self, file: &SourceFile, stat: &Stat) -> Result<std::result::Result<u64, Failure>> {
        BUFFER.with_borrow_mut(|buffer| {
            match at_once(file, stat, buffer) {
                Ok(Some(size)) => return self.read_whole(size, &buffer[..size as usize]).map(Ok),
                Ok(None) => {}
                Err(failure) => return Ok(Err(failure)),
            }
            let size = match file.length(stat, self.observer.stop()) {
                Ok(size) => size,
                Err(failure) => return Ok(Err(failure)),
            };
            check_stop(self.observer)?;
            Ok(self.read_long(file, size, buffer)?.map(|()| size))
        })
    }

    fn read_whole(&mut self, size: u64, bytes: &[u8]) -> Result<u64> {
        self.facts = capture(&bytes);
        self.regions = media::regions(&bytes).ok().flatten().unwrap_or_default();
        for region in runs(&self.regions, size) {
            let bytes = &bytes[region.start as usize..(region.start + region.len) as usize];
            self.store_region(bytes, region.kind)?;
        }
        // One chunk's id is the hash of its bytes already.
        if !matches!(self.chunks.as_slice(), [only] if u64::from(only.len) == size) {
            self.hasher.update(bytes);
        }
        self.observer.event(Event::Advance { files: 0, bytes: size });
        Ok(size)
    }

    fn store_region(&mut self, mut bytes: &[u8], kind: RegionKind) -> Result<()> {
        if is_whole(kind, bytes.len() as u64) && !bytes.is_empty() {
            return self.store_chunk(bytes, hint(kind));
        }
        while let Some(len) = self.cutter.cut(bytes, true) {
            let (chunk, rest) = bytes.split_at(len);
            self.store_chunk(chunk, Hint::None)?;
            bytes = rest;
        }
        Ok(())
    }

    fn read_long(
        &mut self,
        file: &SourceFile,
        size: u64,
        window: &mut Vec<u8>,
    ) -> Result<std::result::Result<(), Failure>> {
        let seen = Seen { file, size };
        self.facts = capture(&seen);
        // If that fails, reading it below tells what is wrong.
        self.regions = media::regions(&seen).ok().flatten().unwrap_or_default();
        for Region { start, len, kind } in runs(&self.regions, size) {
            let whole = is_whole(kind, len);
            let room = if whole { len as usize } else { WINDOW.max(2 * self.cutter.max()) };
            if window.len() < room {
                window.resize(room, 0);
            }
            let (mut at, end, mut held) = (start, start + len, 0);
            while at < end || held > 0 {
                check_stop(self.observer)?;
                let more = (room - held).min((end - at) as usize);
                if let Err(failure) = file.read_at(at, &mut window[held..held + more]) {
                    return Ok(Err(failure));
                }
                self.hasher.update(&window[held..held + more]);
                at += more as u64;
                held += more;
                let mut used = 0;
                if whole {
                    self.store_chunk(&window[..held], hint(kind))?;
                    used = held;
                }
                while let Some(cut) = self.cutter.cut(&window[used..held], at == end) {
                    self.store_chunk(&window[used..used + cut], Hint::None)?;
                    used += cut;
                }
                window.copy_within(used..held, 0);
                held -= used;
                self.observer.event(Event::Advance { files: 0, bytes: more as u64 });
            }
        }
        window.truncate(WHOLE as usize);
        window.shrink_to_fit();
        Ok(Ok(()))
    }

    fn store_chunk(&mut self, bytes: &[u8], hint: Hint) -> Result<()> {
        let chunk = Chunk::new(ChunkKind::Data, bytes);
        if let Some(writer) = self.writer {
            writer.put(&chunk, hint)?;
        }
        self.chunks.push(ChunkRef { id: chunk.id(), len: bytes.len() as u32 });
        Ok(())
    }

    /// The hash of the whole file, which has this length.
    fn hash(&self, size: u64) -> FileHash {
        FileHash::from_bytes(match self.chunks.as_slice() {
            [only] if u64::from(only.len) == size => *only.id.as_bytes(),
            _ => *self.hasher.finalize().as_bytes(),
        })
    }

    fn picture(&self) -> Option<PictureHash> {
        picture(&self.regions, &self.chunks)
    }
}

/// Reads a file that is not long into the buffer, and says where it ends; none of a long one.
fn at_once(file: &SourceFile, stat: &Stat, buffer: &mut Vec<u8>) -> std::result::Result<Option<u64>, Failure> {
    if stat.size > WHOLE {
        return Ok(None);
    }
    // One byte more than there should be: where it is found, the file goes on.
    let mut room = stat.size as usize + 1;
    let mut held = 0;
    loop {
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        held += file.fill_at(held as u64, &mut buffer[held..room])?;
        if held < room {
            return Ok(Some(held as u64));
        }
        if !file.unchanged_since(stat) {
            // It grows; the next attempt has all of it.
            return Ok(Some(stat.size));
        }
        if held > WHOLE as usize {
            return Ok(None);
        }
        room = (2 * room).clamp(4096, WHOLE as usize + 1);
    }
}

/// The longest region of metadata that is one chunk, in bytes; longer ones (the index of a long video) are cut.
const MAX_METADATA: u64 = 256 << 10;

/// Whether a region is stored as one chunk.
fn is_whole(kind: RegionKind, len: u64) -> bool {
    match kind {
        RegionKind::Metadata => len <= MAX_METADATA,
        RegionKind::JpegImage => len <= media::MAX_IMAGE,
        RegionKind::Content => false,
    }
}

/// What later writers may want to know of a region that is one chunk.
fn hint(kind: RegionKind) -> Hint {
    if kind == RegionKind::JpegImage { Hint::Image } else { Hint::None }
}

/// The regions of a file of this length: all of it is one where nothing is known of its structure.
fn runs(regions: &[Region], size: u64) -> Vec<Region> {
    match regions {
        [] if size > 0 => vec![Region { start: 0, len: size, kind: RegionKind::Content }],
        regions => regions.to_vec(),
    }
}

/// A long file, as the media room reads it.
struct Seen<'a> {
    file: &'a SourceFile,
    size: u64,
}

impl ReadAt for Seen<'_> {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer).map_err(|failure| failure.cause)
    }
}
