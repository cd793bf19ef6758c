//! What a file is, by its first bytes and, for raw pictures, by the first tags. Never by its name.

use std::io;

use super::ReadAt;
use super::bytes::Window;
use super::tiff;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JPEG, with whatever trails it.
    Jpeg,
    /// PNG or APNG.
    Png,
    /// TIFF that is none of the raw formats below, or not surely.
    Tiff,
    /// Adobe Digital Negative.
    Dng,
    /// Nikon raw.
    Nef,
    /// Canon raw, the older kind.
    Cr2,
    /// Sony raw.
    Arw,
    /// Olympus raw.
    Orf,
    /// Panasonic raw.
    Rw2,
    /// Fujifilm raw.
    Raf,
    /// HEIC and other HEIF stills.
    Heif,
    /// AVIF stills.
    Avif,
    /// Canon raw, the newer kind.
    Cr3,
    /// QuickTime video.
    Quicktime,
    /// MP4 and its relatives (3GP, M4V).
    Mp4,
    /// Another file made of ISO boxes.
    IsoBmff,
    /// Anything else.
    Other,
}

impl Format {
    /// Whether it is a moving picture.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Quicktime | Self::Mp4)
    }

    /// Whether it is a camera's raw picture.
    pub fn is_raw(self) -> bool {
        matches!(self, Self::Dng | Self::Nef | Self::Cr2 | Self::Arw | Self::Orf | Self::Rw2 | Self::Raf | Self::Cr3)
    }

    /// Whether it is a still picture, raw ones included.
    pub fn is_photo(self) -> bool {
        !self.is_video() && !matches!(self, Self::IsoBmff | Self::Other)
    }

    /// Whether it is laid out as a TIFF file is.
    pub(super) fn is_tiff(self) -> bool {
        matches!(self, Self::Tiff | Self::Dng | Self::Nef | Self::Cr2 | Self::Arw | Self::Orf | Self::Rw2)
    }

    /// Whether it is laid out as ISO boxes.
    pub(super) fn is_bmff(self) -> bool {
        matches!(self, Self::Heif | Self::Avif | Self::Cr3 | Self::Quicktime | Self::Mp4 | Self::IsoBmff)
    }
}

/// What the file is by its content. It reads no more than 1 MiB; an error is always one of `file`'s own.
pub fn format(file: &dyn ReadAt) -> io::Result<Format> {
    let mut window = Window::new(file, 1 << 20);
    let n = window.len().min(64) as usize;
    let head = match window.get(0, n)? {
        Some(head) => head.to_vec(),
        None => return Ok(Format::Other),
    };
    Ok(match head.as_slice() {
        [0xff, 0xd8, 0xff, ..] => Format::Jpeg,
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Format::Png,
        [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', b'C', b'C', b'D', b'-', b'R', b'A', b'W', ..] => Format::Raf,
        [b'I', b'I', b'*', 0, _, _, _, _, b'C', b'R', 2, ..] => Format::Cr2,
        [b'I', b'I', b'R', b'O' | b'S', ..] | [b'M', b'M', b'O', b'R', ..] => Format::Orf,
        [b'I', b'I', b'U', 0, ..] => Format::Rw2,
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => tiff::raw_kind(&mut window)?,
        [_, _, _, _, name @ ..] if name.len() >= 8 => boxes(&head),
        _ => Format::Other,
    })
}

/// The kind of a file whose first box is given.
fn boxes(head: &[u8]) -> Format {
    match (&head[4..8], head[0]) {
        (b"ftyp", 0) => {}
        // QuickTime before it knew brands.
        (b"moov" | b"mdat" | b"wide" | b"skip" | b"pnot", 0) => return Format::Quicktime,
        _ => return Format::Other,
    }
    let size = usize::from(head[3]).min(head.len());
    let major = &head[8..12];
    let others = head.get(16..size).unwrap_or_default();
    let names = |brand: &[u8]| major == brand || others.chunks_exact(4).any(|other| other == brand);
    match major {
        b"qt  " => Format::Quicktime,
        b"crx " => Format::Cr3,
        b"avif" | b"avis" => Format::Avif,
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Format::Heif,
        b"mif1" | b"msf1" if names(b"avif") => Format::Avif,
        b"mif1" | b"msf1" => Format::Heif,
        b"mp41" | b"mp42" | b"isom" | b"avc1" | b"M4V " | b"M4VH" | b"MSNV" | b"XAVC" | b"dash" => Format::Mp4,
        [b'3', b'g', ..] | [b'i', b's', b'o', _] => Format::Mp4,
        _ if names(b"mp41") || names(b"mp42") || names(b"isom") => Format::Mp4,
        _ => Format::IsoBmff,
    }
}
