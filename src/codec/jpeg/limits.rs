//! What is let through to the JPEG library: images and streams whose cost is known beforehand.
//!
//! The library takes memory for every coefficient of an image as soon as it has read the image's dimensions, and
//! as much as a stream's header claims in five other places. So the same headers are read here first, by code
//! that allocates nothing but one bounded buffer, and that knows only what our own encoder writes. What it does not
//! know, it refuses.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// The most memory that packing or unpacking one image may take, in bytes.
pub(super) const MEMORY: u64 = 384 << 20;

/// The most bytes that the headers of an image may have, all scans together: tables, and what came with them.
const MAX_HEADERS: usize = 1 << 20;

/// The most scans of a progressive image. Usual are 10; each costs a pass over the whole image.
const MAX_SCANS: usize = 64;

/// The bytes of a stream before its compressed header.
const FIXED: usize = 28;

/// Whether an image (a JPEG without its start marker) can be packed within the limits.
pub(super) fn image_fits(image: &[u8]) -> bool {
    shape(image, true).is_some_and(|shape| shape.fits(image.len()))
}

/// Whether a stream is one that our encoder could have made of `plain_len` bytes, and why not.
pub(super) fn stream_fits(stored: &[u8], plain_len: usize) -> Result<(), &'static str> {
    const OTHER: &str = "its recompressed JPEG has a header that is not ours";
    let (fixed, rest) = stored.split_first_chunk::<FIXED>().ok_or("its recompressed JPEG is cut short")?;
    // Magic and version; baseline or progressive; one part; reserved; "MS"; a length that nobody reads; how blocks are
    // predicted; library version and build, which nobody reads either; length of the JPEG; length of the header.
    let [0xcf, 0x84, 1, b'Z' | b'X', 1, 0, 0, 0, b'M', b'S', _, _, _, _, 0x83, _, _, _, _, _, lengths @ ..] = fixed
    else {
        return Err(OTHER);
    };
    let [a, b, c, d, e, f, g, h] = *lengths;
    if u64::from(u32::from_le_bytes([a, b, c, d])) != plain_len as u64 + 2 {
        return Err("its recompressed JPEG claims another length");
    }
    let packed = rest.get(..u32::from_le_bytes([e, f, g, h]) as usize).ok_or("its recompressed JPEG is cut short")?;

    let mut header = Vec::new();
    let most = MAX_HEADERS as u64 + 1024;
    match ZlibDecoder::new(packed).take(most).read_to_end(&mut header) {
        Ok(len) if (len as u64) < most => {}
        Ok(_) => return Err("its recompressed JPEG has too long a header"),
        Err(_) => return Err("its recompressed JPEG has a broken header"),
    }
    let tables = sections(&header, plain_len).ok_or(OTHER)?;
    match shape(tables, false) {
        Some(shape) if shape.fits(plain_len) => Ok(()),
        Some(_) => Err("its recompressed JPEG claims too large an image"),
        None => Err(OTHER),
    }
}

/// Checks a stream's unpacked header, section by section, and gives the JPEG tables in it.
fn sections(header: &[u8], plain_len: usize) -> Option<&[u8]> {
    let mut rest = header;
    let (name, tables) = (take(&mut rest, 3)?, take_counted(&mut rest)?);
    if name != b"HDR" {
        return None;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        match take(&mut rest, 3)? {
            // Padding bits.
            b"P0D" => _ = take(&mut rest, 1)?,
            // One part, from the first row on, that does not claim more bytes than there are.
            b"HH\x01" => {
                let [0, 0, a, b, c, d, ..] = *take(&mut rest, 16)? else { return None };
                if u64::from(u32::from_le_bytes([a, b, c, d])) > plain_len as u64 + 2 {
                    return None;
                }
                parts += 1;
            }
            // Where the image data end early.
            b"EEE" => _ = take(&mut rest, 28)?,
            // What follows the image data, as a rule the end marker.
            b"GRB" => _ = take_counted(&mut rest).filter(|tail| tail.len() <= plain_len)?,
            _ => return None,
        }
    }
    (parts == 1).then_some(tables)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn take_counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, left) = rest.split_first_chunk()?;
    *rest = left;
    take(rest, u32::from_le_bytes(*len) as usize)
}

/// What an image costs.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    /// Blocks of 64 coefficients, all colours together, with what is added to fill the last row and column.
    blocks: u64,
    /// All colours in one scan of full precision, which is worked on row by row.
    single_scan: bool,
}

impl Shape {
    /// Whether an image of this shape and length is worked on within the limits.
    fn fits(&self, len: usize) -> bool {
        let len = len as u64;
        // Two bytes a coefficient. Several scans need the image twice, and as much again for one scan's bytes.
        let image = self.blocks * 128 * if self.single_scan { 1 } else { 3 };
        // The stream as a whole and in blocks, and the bytes that come out of it.
        let bytes = 3 * len;
        // Every block takes a bit at least; so a short chunk cannot claim a large image.
        self.blocks <= 8 * len && image + bytes <= MEMORY
    }
}

/// Reads the segments of a JPEG after its start marker: up to the first scan, or, where the scans' data are left out, all
/// of them. `None` for anything that is not an image as it should be.
fn shape(mut rest: &[u8], scan_data_follow: bool) -> Option<Shape> {
    let (mut shape, mut scans, mut headers) = (None, 0, 0);
    let mut colours = 0;
    while !rest.is_empty() {
        let [0xff, marker] = *take(&mut rest, 2)? else { return None };
        let (len, _) = rest.split_first_chunk()?;
        let segment = take(&mut rest, usize::from(number(*len)))?.get(2..)?;
        headers += segment.len();
        if headers > MAX_HEADERS {
            return None;
        }
        match marker {
            // Quantisation and Huffman tables, restart interval, application data, comment.
            0xdb | 0xc4 | 0xdd | 0xe0..=0xef | 0xfe => {}
            // Start of frame: baseline, extended, progressive.
            0xc0..=0xc2 if shape.is_none() => {
                let [8, h1, h2, w1, w2, count @ 1..=3, ref samplings @ ..] = *segment else { return None };
                let (height, width) = (number([h1, h2]).into(), number([w1, w2]).into());
                colours = count;
                let blocks = blocks(height, width, samplings.get(..3 * usize::from(count))?)?;
                shape = Some(Shape { blocks, single_scan: marker != 0xc2 });
            }
            // Start of scan.
            0xda => {
                let shape = shape.as_mut()?;
                shape.single_scan &= *segment.first()? == colours;
                scans += 1;
                if scan_data_follow {
                    break;
                }
            }
            _ => return None,
        }
    }
    shape.filter(|_| (1..=MAX_SCANS).contains(&scans))
}

/// A JPEG's number, high byte first.
fn number([high, low]: [u8; 2]) -> u16 {
    u16::from(high) << 8 | u16::from(low)
}

/// How many blocks an image has whose colours are `[id, sampling, table]` each.
fn blocks(height: u64, width: u64, colours: &[u8]) -> Option<u64> {
    if height == 0 || width == 0 {
        return None;
    }
    let (colours, _) = colours.as_chunks::<3>();
    let samplings = colours.iter().map(|[_, sampling, _]| (u64::from(sampling >> 4), u64::from(sampling & 15)));
    if samplings.clone().any(|(across, down)| !(1..=2).contains(&across) || !(1..=2).contains(&down)) {
        return None;
    }
    let most_across = samplings.clone().map(|(across, _)| across).max()?;
    let most_down = samplings.clone().map(|(_, down)| down).max()?;
    let units = width.div_ceil(8 * most_across) * height.div_ceil(8 * most_down);
    Some(units * samplings.map(|(across, down)| across * down).sum::<u64>())
}
