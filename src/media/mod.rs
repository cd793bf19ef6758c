//! What a file is by its content, where it may be cut, and when, where and with what it was taken.
//!
//! Invariants: nothing here looks at a name; the same bytes give the same answer on every machine; [`regions`] either says
//! nothing or covers the file exactly. No number in a file is believed before it is checked, and every walk has a limit of
//! bytes read and of things counted, so that a hostile file costs no more than a large one. Being wrong is safe: regions
//! only say where chunks end, facts are only shown, and neither changes a byte of what is stored.

mod bmff;
mod bytes;
mod cuts;
mod detect;
mod exif;
mod facts;
mod ifd;
mod jpeg;
mod png;
mod raf;
mod tiff;
mod video;

use std::io;
use std::ops::Range;

pub use detect::{Format, format};
pub use facts::{FACTS_VERSION, Facts, Place, Taken, facts};

use bytes::Window;
use cuts::Cuts;

/// The longest [`RegionKind::JpegImage`]; a longer image is [`RegionKind::Content`].
pub const MAX_IMAGE: u64 = 32 << 20;

/// The most that is read of a file to find its regions: an image is read once, what trails it perhaps twice.
const BUDGET: u64 = 3 * MAX_IMAGE;

/// A file's bytes, wherever they lie.
pub trait ReadAt {
    /// The number of bytes there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `offset` on; an error if they are not all there.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.get(start..)?.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        ReadAt::len(*self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        ReadAt::read_at(*self, offset, buf)
    }
}

/// What lies in a [`Region`], and so how it is best cut and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegionKind {
    /// Headers and tags: one chunk if it is no longer than a chunk may be, otherwise cut by content. It may compress.
    Metadata,
    /// A baseline, extended or progressive JPEG from its first table to EOI, no longer than [`MAX_IMAGE`]. With `FF D8`
    /// put before it, it is a complete JPEG. It should stay one chunk, as recompression needs it whole. Thumbnails inside
    /// EXIF are such regions too, of 2 KiB and more: recompression may find them too small to be worth its time.
    JpegImage,
    /// Anything else: to be cut by content.
    Content,
}

/// A run of a file's bytes that is cut on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// Where it begins, in bytes from the start of the file.
    pub start: u64,
    /// Its length in bytes; never 0.
    pub len: u64,
    /// What lies in it.
    pub kind: RegionKind,
}

impl Region {
    /// The bytes of the file that it covers.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }
}

/// Where the file may be cut: regions that cover it exactly, in order, none of them empty. `None` where nothing is known
/// or nothing is gained: then the whole file is cut by content.
///
/// A function of the bytes alone. It reads at most about 100 MB, most of it one time over the data of a JPEG. An error is
/// always one of `file`'s own.
pub fn regions(file: &dyn ReadAt) -> io::Result<Option<Vec<Region>>> {
    let mut window = Window::new(file, BUDGET);
    let mut cuts = Cuts::new(window.len());
    match format(file)? {
        Format::Jpeg => jpeg::cut(&mut window, &mut cuts)?,
        Format::Png => png::cut(&mut window, &mut cuts)?,
        Format::Raf => raf::cut(&mut window, &mut cuts)?,
        format if format.is_tiff() => tiff::cut(&mut window, &mut cuts)?,
        format if format.is_bmff() => {
            let end = window.len();
            bmff::cut(&mut window, &mut cuts, end)?;
        }
        _ => return Ok(None),
    }
    Ok(cuts.finish())
}

#[cfg(test)]
mod tests;
