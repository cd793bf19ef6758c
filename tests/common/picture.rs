//! JPEGs made by hand: coefficients from a rule, written with tables in which every code is equally long. Nothing is
//! needed to make them, every reader of JPEGs can open them, and recompression gains much.
#![allow(dead_code)] // each test takes what it needs

const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

struct Bits(Vec<u8>, u32, u32);

impl Bits {
    fn put(&mut self, value: u32, len: u32) {
        for at in (0..len).rev() {
            self.1 = self.1 << 1 | (value >> at & 1);
            self.2 += 1;
            if self.2 == 8 {
                self.0.push(self.1 as u8);
                if self.1 == 0xff {
                    self.0.push(0);
                }
                (self.1, self.2) = (0, 0);
            }
        }
    }

    /// A coefficient's bits after the code for its size.
    fn put_value(&mut self, value: i32, size: u32) {
        self.put(if value < 0 { (value - 1) as u32 } else { value as u32 }, size);
    }

    fn pad(&mut self) {
        while self.2 != 0 {
            self.put(1, 1);
        }
    }
}

fn size(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

/// The AC symbols in the order of their codes, which have 8 bits each.
fn symbols() -> Vec<u8> {
    let mut symbols = vec![0x00, 0xf0];
    symbols.extend((0u8..16).flat_map(|run| (1u8..=10).map(move |size| run << 4 | size)));
    symbols
}

pub fn segment(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    let len = content.len() + 2;
    out.extend([0xff, marker, (len >> 8) as u8, len as u8]);
    out.extend(content);
}

/// What an image shows.
type Coefficient = dyn Fn(usize, usize, usize) -> i32;

/// A pattern.
fn pattern(colour: usize, block: usize, at: usize) -> i32 {
    let fall = 60 / (1 + at as i32);
    ((block * 7 + at * 3 + colour * 5) as i32 % 9 - 4) * fall / 4
}

/// Noise that looks as a photo does to a program: a wandering brightness, and few and small details.
fn noise(seed: u64, colour: usize, block: usize, at: usize) -> i32 {
    let mut random = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((block * 64 + at) * 4 + colour) as u64;
    for shift in [30, 27, 31] {
        random = (random ^ (random >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    let reach = 40 / (1 + at as i32 * at as i32 / 8);
    let value = (random >> 40) as i32 % (2 * reach + 2) - reach;
    if at < 24 { value } else { 0 }
}

fn put_dc(bits: &mut Bits, value: i32, last: &mut i32) {
    let (difference, length) = (value - *last, size(value - *last));
    *last = value;
    bits.put(length, 4);
    bits.put_value(difference, length);
}

fn put_ac(bits: &mut Bits, symbols: &[u8], coefficient: &dyn Fn(usize) -> i32) {
    let code = |symbol| symbols.iter().position(|s| *s == symbol).expect("a symbol") as u32;
    let mut run = 0;
    for at in 1..64 {
        match coefficient(at) {
            0 => run += 1,
            value => {
                for _ in 0..run / 16 {
                    bits.put(code(0xf0), 8);
                }
                bits.put(code(((run % 16) << 4) as u8 | size(value) as u8), 8);
                bits.put_value(value, size(value));
                run = 0;
            }
        }
    }
    if run > 0 {
        bits.put(code(0x00), 8);
    }
}

/// The image of a JPEG, without start marker: one or three colours, none of them subsampled.
pub fn image(width: u16, height: u16, colours: usize, progressive: bool) -> Vec<u8> {
    image_of(width, height, colours, progressive, &pattern)
}

fn image_of(width: u16, height: u16, colours: usize, progressive: bool, coefficient: &Coefficient) -> Vec<u8> {
    let symbols = symbols();
    let mut out = Vec::new();
    segment(&mut out, 0xdb, &[&[0][..], &[3; 64]].concat());
    let [h, w] = [height, width].map(|n| [(n >> 8) as u8, n as u8]);
    let mut frame = [&[8][..], &h, &w, &[colours as u8]].concat();
    frame.extend((1..=colours as u8).flat_map(|id| [id, 0x11, 0]));
    segment(&mut out, if progressive { 0xc2 } else { 0xc0 }, &frame);
    segment(
        &mut out,
        0xc4,
        &[&[0x00, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &(0..12).collect::<Vec<_>>()].concat(),
    );
    let counts = [0x10, 0, 0, 0, 0, 0, 0, 0, symbols.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0];
    segment(&mut out, 0xc4, &[&counts[..], &symbols].concat());
    let scan = |out: &mut Vec<u8>, ids: &[u8], from: u8, to: u8| {
        let mut content = vec![ids.len() as u8];
        content.extend(ids.iter().flat_map(|id| [*id, 0]));
        content.extend([from, to, 0]);
        segment(out, 0xda, &content);
    };
    let all: Vec<u8> = (1..=colours as u8).collect();
    let blocks = usize::from(width.div_ceil(8)) * usize::from(height.div_ceil(8));

    let mut bits = Bits(Vec::new(), 0, 0);
    let mut last = vec![0; colours];
    scan(&mut out, &all, 0, if progressive { 0 } else { 63 });
    for block in 0..blocks {
        for (colour, last) in last.iter_mut().enumerate() {
            put_dc(&mut bits, coefficient(colour, block, 0), last);
            if !progressive {
                put_ac(&mut bits, &symbols, &|at| coefficient(colour, block, at));
            }
        }
    }
    bits.pad();
    out.append(&mut bits.0);
    for (colour, id) in all.into_iter().enumerate().filter(|_| progressive) {
        scan(&mut out, &[id], 1, 63);
        for block in 0..blocks {
            put_ac(&mut bits, &symbols, &|at| coefficient(colour, block, at));
        }
        bits.pad();
        out.append(&mut bits.0);
    }
    out.extend(END);
    out
}

/// A photo as a camera writes it, another one for each seed: EXIF and an image of so many pixels, a third of a byte each.
pub fn photo(seed: u64, width: u16, height: u16) -> Vec<u8> {
    let mut out = START.to_vec();
    // A block of TIFF that has no tags, and a maker's note behind it.
    let note: Vec<u8> = (0..1200u64).map(|at| noise(seed ^ 77, 0, at as usize, 0) as u8).collect();
    segment(&mut out, 0xe1, &[&b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"[..], &note].concat());
    out.extend(image_of(width, height, 3, false, &move |colour, block, at| noise(seed, colour, block, at)));
    out
}

/// Writes a rating and a caption into a photo as programs that manage photos do: an XMP packet with room to grow, behind
/// the EXIF, in the place of one that is there.
pub fn tag(photo: &[u8], rating: u32, caption: &str) -> Vec<u8> {
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut packet = XMP.to_vec();
    packet.extend_from_slice(
        format!(
            "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF><rdf:Description xmp:Rating=\"{rating}\">\
             <dc:description>{caption}</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"
        )
        .as_bytes(),
    );
    packet.resize(packet.len() + 2000, b' ');
    let mut packets = Vec::new();
    segment(&mut packets, 0xe1, &packet);

    let end_of = |at: usize| at + 2 + (usize::from(photo[at + 2]) << 8 | usize::from(photo[at + 3]));
    let mut at = 2;
    while matches!(photo[at..], [0xff, 0xe0 | 0xe1, ..]) && !photo[at + 4..].starts_with(XMP) {
        at = end_of(at);
    }
    let rest = if photo[at + 4..].starts_with(XMP) { end_of(at) } else { at };
    [&photo[..at], &packets, &photo[rest..]].concat()
}
