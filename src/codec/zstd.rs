//! The zstd codec, and the quick look that says whether it is worth a try.
//!
//! Stored form: one frame (RFC 8878) that states its content size, without a dictionary; nothing before or after it.
//! Memory when decoding is the plain length and a fixed working set: a frame is decoded in one go, straight into its
//! result, so the window that a frame asks for is never allocated.

use std::cell::RefCell;

use ::zstd::bulk::{Compressor, Decompressor};
use ::zstd::zstd_safe;

use super::{DOING, damaged};
use crate::error::{Error, Kind, Result};

/// How a frame begins. Checked because the library would also accept a frame that is only there to be skipped.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The bits of the byte after that which say that a dictionary is named.
const DICTIONARY: u8 = 3;

/// Shorter chunks are not tried: a frame's own header would eat most of what it saves.
const SHORTEST: usize = 64;

/// Chunks from this length on are tried in samples first, of this length.
const LONG: usize = 64 << 10;
const SAMPLE: usize = 4 << 10;

type Kept = RefCell<Option<(i32, Compressor<'static>)>>;

thread_local! {
    // Making a context costs more than packing a small file with it.
    static COMPRESSOR: Kept = const { RefCell::new(None) };
    static SAMPLER: Kept = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// `plain` as a frame, if that saves at least a twentieth.
pub(super) fn encode(plain: &[u8], level: i32) -> Option<Vec<u8>> {
    let level = level.clamp(1, 19);
    if plain.len() < SHORTEST || looks_random(plain) {
        return None;
    }
    // Where single bytes are uneven, samples tell whether zstd can make enough of it.
    let sampled =
        |sample: &[u8]| SAMPLER.with(|kept| frame(kept, sample, 1, SAMPLE)).map_or(SAMPLE, |frame| frame.len());
    if plain.len() >= LONG && samples::<4>(plain, SAMPLE).into_iter().map(sampled).sum::<usize>() > 4 * SAMPLE / 32 * 31
    {
        return None;
    }
    COMPRESSOR.with(|kept| frame(kept, plain, level, plain.len() - plain.len().div_ceil(20)))
}

/// `plain` as a frame, if that has `most` bytes or fewer.
fn frame(kept: &Kept, plain: &[u8], level: i32, most: usize) -> Option<Vec<u8>> {
    let mut kept = kept.borrow_mut();
    let (_, compressor) = match &mut *kept {
        Some(kept) if kept.0 == level => kept,
        kept => kept.insert((level, Compressor::new(level).ok()?)),
    };
    // A frame that does not fit is an error.
    let mut frame = Vec::with_capacity(most);
    compressor.compress_to_buffer(plain, &mut frame).ok()?;
    (frame.len() <= most).then_some(frame)
}

/// The middles of `N` equal parts: not the very front, where headers and tables are. `plain` is at least `N * len` long.
fn samples<const N: usize>(plain: &[u8], len: usize) -> [&[u8]; N] {
    std::array::from_fn(|n| &plain[(2 * n + 1) * plain.len() / (2 * N) - len / 2..][..len])
}

/// The plain bytes of a frame; the caller has checked that `plain_len` is not too much.
pub(super) fn decode(stored: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    if !stored.starts_with(&MAGIC) {
        return Err(damaged("it is not a zstd frame"));
    }
    if stored.get(MAGIC.len()).is_some_and(|flags| flags & DICTIONARY != 0) {
        return Err(damaged("its zstd frame asks for a dictionary"));
    }
    match zstd_safe::get_frame_content_size(stored) {
        Ok(Some(claim)) if claim == plain_len as u64 => {}
        Ok(Some(claim)) => return Err(damaged(format!("its zstd frame claims {claim} bytes, not {plain_len}"))),
        _ => return Err(damaged("its zstd frame does not say how long its content is")),
    }
    match zstd_safe::find_frame_compressed_size(stored) {
        Ok(len) if len == stored.len() => {}
        Ok(_) => return Err(damaged("there is something after its zstd frame")),
        Err(_) => return Err(damaged("its zstd frame is cut short or broken")),
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().map_err(|error| Error::caused(Kind::Internal, DOING, error))?),
        };
        let mut plain = Vec::with_capacity(plain_len);
        decompressor
            .decompress_to_buffer(stored, &mut plain)
            .map_err(|error| damaged(format!("its zstd frame cannot be unpacked: {error}")))?;
        if plain.len() != plain_len {
            return Err(damaged(format!("its zstd frame holds {} bytes, not {plain_len}", plain.len())));
        }
        Ok(plain)
    })
}

/// Whether the bytes are so evenly spread that packing them is a waste of time.
///
/// Counts how often two bytes of a sample are equal. Among random bytes that is one pair in 256; where bytes can be packed
/// by their frequencies to 95 % or less (7.6 bits each), it is at least one pair in 2^7.6, which is 1.32 times as many.
/// Entropy-coded image data lies between 1.0 and 1.2. What this look misses are bytes that are evenly spread and yet
/// repeat; whole repeated chunks are stored once anyway.
fn looks_random(plain: &[u8]) -> bool {
    let (mut equal, mut pairs) = (0u64, 0u64);
    let mut look = |sample: &[u8]| {
        let mut counts = [[0u16; 256]; 4];
        let (quads, rest) = sample.as_chunks::<4>();
        // Four tables, because a run of one byte would otherwise wait for its own last count.
        for quad in quads {
            for (table, byte) in counts.iter_mut().zip(quad) {
                table[usize::from(*byte)] += 1;
            }
        }
        for byte in rest {
            counts[0][usize::from(*byte)] += 1;
        }
        let [a, b, c, d] = counts;
        for (((a, b), c), d) in a.into_iter().zip(b).zip(c).zip(d) {
            let count = u64::from(a + b + c + d);
            equal += count * count.saturating_sub(1);
        }
        pairs += (sample.len() * (sample.len() - 1)) as u64;
    };
    match plain.len() {
        0..=2048 => look(plain),
        2049..LONG => samples::<2>(plain, 1024).into_iter().for_each(&mut look),
        _ => samples::<4>(plain, 1024).into_iter().for_each(&mut look),
    }
    // 1.28 times as many: a little below 1.32, for chance.
    let expected = pairs / 256;
    equal < expected * 32 / 25
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(stored: &[u8], plain_len: usize) -> String {
        let error = decode(stored, plain_len).expect_err("must be refused");
        assert_eq!(error.kind(), Kind::Damaged);
        error.to_string()
    }

    fn text() -> Vec<u8> {
        (0u32..2000).flat_map(|n| format!("{n} photos, ").into_bytes()).collect()
    }

    /// A frame of `blocks` blocks, each of which says "128 KiB of zeros" in four bytes.
    fn zeros(claim: Option<u64>, blocks: u32) -> Vec<u8> {
        let mut frame = MAGIC.to_vec();
        frame.extend([if claim.is_some() { 0xc0 } else { 0 }, 7 << 3]);
        frame.extend(claim.into_iter().flat_map(u64::to_le_bytes));
        for n in 1..=blocks {
            let header = u32::from(n == blocks) | 1 << 1 | (128 << 10) << 3;
            frame.extend([&header.to_le_bytes()[..3], &[0]].concat());
        }
        frame
    }

    #[test]
    fn a_frame_that_would_fill_the_memory_is_refused() {
        assert_eq!(decode(&zeros(Some(3 << 17), 3), 3 << 17).expect("a frame"), vec![0; 3 << 17]);
        // Ten gigabytes in a third of a megabyte: with a claim that is right, with others, and without one.
        for claim in [Some(10 << 30), Some(0), Some(1000), Some(super::super::MAX_PLAIN as u64), None] {
            let bomb = zeros(claim, 10 << 13);
            for plain_len in [0, 1000, super::super::MAX_PLAIN] {
                refused(&bomb, plain_len);
            }
        }
    }

    #[test]
    fn a_frame_that_lies_about_its_content_is_refused() {
        let plain = text();
        let frame = encode(&plain, 3).expect("text is packed");
        // The content size is a field of two bytes after magic and descriptor: 256 is taken off before it is stored.
        assert_eq!(frame[4] >> 6, 1);
        for claim in [256, plain.len() - 1, plain.len() + 1, 65_535] {
            let mut lying = frame.clone();
            lying[5..7].copy_from_slice(&((claim - 256) as u16).to_le_bytes());
            refused(&lying, plain.len());
            refused(&lying, claim);
        }
    }

    #[test]
    fn nothing_but_one_whole_frame_is_read() {
        let plain = text();
        let frame = encode(&plain, 3).expect("text is packed");
        assert_eq!(decode(&frame, plain.len()).expect("the frame itself"), plain);
        for len in 0..frame.len() {
            refused(&frame[..len], plain.len());
        }
        assert!(refused(&[&frame[..], b"x"].concat(), plain.len()).contains("something after"));
        refused(&frame.repeat(2), 2 * plain.len());
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
        refused(&skippable, 0);
        refused(&[&skippable[..], &frame].concat(), plain.len());
    }

    #[test]
    fn a_changed_frame_gives_an_error_or_as_many_bytes() {
        // Wrong bytes of the right length are for the caller's hash to find: the frame has no check sum of its own.
        let plain = text();
        let frame = encode(&plain, 3).expect("text is packed");
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                match decode(&changed, plain.len()) {
                    Ok(back) => assert_eq!(back.len(), plain.len()),
                    Err(error) => assert_eq!(error.kind(), Kind::Damaged),
                }
            }
        }
    }

    #[test]
    fn the_quick_look_knows_text_from_noise() {
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for len in [600, 1000, 4096, 4097, 100_000, 1 << 20] {
            assert!(looks_random(&noise[..len]), "{len} bytes of noise");
        }
        assert!(!looks_random(&text()));
        // A quarter of it is text, so a tenth or more can be saved.
        let mut mixed = noise[..50_000].to_vec();
        mixed[..text().len()].copy_from_slice(&text());
        assert!(!looks_random(&mixed));
    }
}
