//! Recompression of a JPEG's image without loss, by `lepton_jpeg`.
//!
//! Plain form: a JPEG without its first two bytes (the start marker), up to and with the end marker. Stored form: one
//! Lepton stream of the whole JPEG, start marker included; of all that the format allows, only the narrow part that is
//! written here is read (see [`limits`]).
//!
//! Invariant: what is returned was read back by [`decode`] and compared. Memory: before the library sees an image or a
//! stream, its headers are measured; what would take more than [`limits::MEMORY`] is declined or refused. A panic inside the
//! library costs this chunk's gain, or is reported as damage, and nothing else.

mod limits;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write};

use lepton_jpeg::{EnabledFeatures, SingleThreadPool, catch_unwind_result, decode_lepton, encode_lepton};

use super::{Codec, Encoded, damaged, holds};
use crate::error::Result;

const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

/// Where the stream's header names the build of the library that made it. Nothing reads these bytes; they are zeroed,
/// so that equal images give equal bytes wherever the program was built.
const BUILD: std::ops::Range<usize> = 16..20;

/// The settings are part of the stored form: a change of one that is not marked as free needs a new codec version.
fn settings() -> EnabledFeatures {
    EnabledFeatures {
        // Most progressive JPEGs come from the web and from phones' messengers; they gain as much as others.
        progressive: true,
        // How neighbours predict a block. The stream says which way was used; these two are what every reader of the
        // format has known from its beginning, with and without vector instructions.
        use_16bit_dc_estimate: true,
        use_16bit_adv_predict: true,
        // Images that are against the standard are not worth the risk of reading them differently one day.
        reject_dqts_with_zeros: true,
        accept_invalid_dht: false,
        // One model for the whole image: the smallest result, and a stream that can be measured before it is read. Many
        // images are packed at once instead of parts of one. `decode` reads streams of one part only.
        max_partitions: 1,
        // Free: how it is worked on, not what comes out. The caller keeps all cores busy.
        max_processor_threads: 1,
        // Free: our own limits are stricter, and are checked first.
        max_jpeg_width: u32::MAX,
        max_jpeg_height: u32::MAX,
        max_jpeg_file_size: u32::MAX,
        // What lies after an image's end belongs to the chunk, or the result would not be whole.
        stop_reading_at_eoi: false,
    }
}

/// Packs the image of a JPEG without loss: `image` is a JPEG from its first table (what follows the start marker and the
/// metadata) to its end marker.
///
/// `None` means declined: not such an image, of a kind that is not supported (four colours, arithmetic coding, lossless,
/// more than 8 bits), needing too much memory, or not smaller afterwards. Takes one thread, one second for some 10 MB, and
/// at most 384 MiB beside its input.
pub fn encode_jpeg(image: &[u8]) -> Option<Encoded<'static>> {
    if !image.ends_with(&END) || !limits::image_fits(image) {
        return None;
    }
    let mut stream = Cursor::new(Vec::with_capacity(image.len() / 5 * 4));
    quietly(|| encode_lepton(&mut Whole::new(image), &mut stream, &settings(), &SingleThreadPool {})).ok()?;
    let mut stream = stream.into_inner();
    stream.get_mut(BUILD)?.fill(0);
    let pays = stream.len() < image.len() && holds(Codec::Jpeg, &stream, image);
    pays.then(|| Encoded::new(Codec::Jpeg, stream))
}

/// The image that a stream holds; the caller has checked that `plain_len` is not too much.
pub(super) fn decode(stored: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    limits::stream_fits(stored, plain_len).map_err(damaged)?;
    let mut body = Body { start: 0, bytes: Vec::with_capacity(plain_len), len: plain_len };
    quietly(|| decode_lepton(&mut { stored }, &mut body, &settings(), &SingleThreadPool {}))
        .map_err(|error| damaged(format!("its recompressed JPEG cannot be unpacked: {error}")))?;
    if body.bytes.len() != plain_len {
        return Err(damaged(format!("its recompressed JPEG holds {} bytes, not {plain_len}", body.bytes.len())));
    }
    Ok(body.bytes)
}

thread_local! {
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside the JPEG library, where a panic is caught and means no more than "declined".
///
/// A program's own panic hook asks this, to stay silent then. (The library of a program cannot keep a panic's message from
/// the terminal in any other way.)
pub fn panic_is_caught() -> bool {
    TRYING.get()
}

fn quietly<T>(work: impl FnOnce() -> std::result::Result<T, lepton_jpeg::LeptonError>) -> io::Result<T> {
    TRYING.set(true);
    let result = catch_unwind_result(work);
    TRYING.set(false);
    result.map_err(io::Error::from)
}

/// A JPEG made whole again for reading: the start marker, then the image, which is not copied.
struct Whole<'a> {
    image: &'a [u8],
    at: usize,
}

impl<'a> Whole<'a> {
    fn new(image: &'a [u8]) -> Self {
        Self { image, at: 0 }
    }
}

impl BufRead for Whole<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = match self.at.checked_sub(START.len()) {
            None => START.get(self.at..),
            Some(at) => self.image.get(at..),
        };
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(into)?;
        self.consume(amount);
        Ok(amount)
    }
}

impl Seek for Whole<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = START.len() + self.image.len();
        let at = match to {
            SeekFrom::Start(at) => usize::try_from(at).ok(),
            SeekFrom::Current(by) => isize::try_from(by).ok().and_then(|by| self.at.checked_add_signed(by)),
            SeekFrom::End(by) => isize::try_from(by).ok().and_then(|by| len.checked_add_signed(by)),
        };
        self.at = at.filter(|at| *at <= len).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at as u64)
    }
}

/// Takes a whole JPEG, keeps its image, and fails at the first byte that is too much.
struct Body {
    /// How much of the start marker has passed.
    start: usize,
    bytes: Vec<u8>,
    len: usize,
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (start, image) = bytes.split_at(bytes.len().min(START.len() - self.start));
        if START[self.start..][..start.len()] != *start {
            return Err(io::Error::other("it does not begin as a JPEG"));
        }
        self.start += start.len();
        if image.len() > self.len - self.bytes.len() {
            return Err(io::Error::other("it is longer than it should be"));
        }
        self.bytes.extend_from_slice(image);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
