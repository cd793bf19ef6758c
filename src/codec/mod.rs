//! How a chunk's bytes are packed: as they are, by zstd, or, for the image of a JPEG, by recompression.
//!
//! Invariant: what [`encode`] and [`encode_jpeg`] return was decoded again, from the very bytes that are returned and by
//! the decoder that will read them back, and compared with the original. An encoder that fails, or that does not pay, is
//! no error; the bytes are then kept as they are.
//!
//! Stored bytes are hostile: [`decode`] returns exactly the number of bytes that was asked for, or an error, and its
//! memory is bounded by that number and by constants, never by a claim inside the stored bytes. It does not prove that
//! the bytes are the *right* ones; the caller holds the chunk's hash and does that.

mod jpeg;
mod zstd;

use std::borrow::Cow;

pub use self::jpeg::{encode_jpeg, panic_is_caught};
use crate::error::{Error, Kind, Result};

/// The longest chunk there is, in plain bytes. A longer one could not be decoded.
pub const MAX_PLAIN: usize = 64 << 20;

/// A way to pack a chunk. The numbers are stored: they are never changed and never used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// The bytes as they are.
    Raw = 0,
    /// One zstd frame (RFC 8878) that states its content size, without a dictionary and with nothing after it.
    Zstd = 1,
    /// The image of a JPEG, from its first table to its end marker, recompressed without loss.
    Jpeg = 2,
}

impl Codec {
    /// The codec of a stored number, if it is known here.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::Jpeg),
            _ => None,
        }
    }

    /// The number that is stored.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The version of the codec's stored form that is written here, stored beside the codec's number. It changes with
    /// the form of the bytes, not with the library that makes them.
    pub const fn version(self) -> u8 {
        match self {
            Self::Raw | Self::Zstd => 0,
            Self::Jpeg => 1,
        }
    }
}

/// A packed chunk: how, and the bytes to store. Bytes that were left as they are, are borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// How the bytes are packed.
    pub codec: Codec,
    /// The version of the codec's stored form.
    pub version: u8,
    /// What is to be stored.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> Encoded<'a> {
    fn new(codec: Codec, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { codec, version: codec.version(), bytes: bytes.into() }
    }
}

/// What the user may choose about packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// zstd's level: 1 is fast, 19 is small. A number outside means the nearer of the two.
    pub level: i32,
}

impl Default for Choice {
    fn default() -> Self {
        Self { level: 3 }
    }
}

/// Packs a chunk: by zstd where that saves at least a twentieth, else as it is.
///
/// Costs next to nothing on bytes that do not compress, as photos and videos don't. `plain` is at most [`MAX_PLAIN`]
/// long.
pub fn encode<'a>(plain: &'a [u8], choice: &Choice) -> Encoded<'a> {
    debug_assert!(plain.len() <= MAX_PLAIN, "a chunk is at most MAX_PLAIN long");
    match zstd::encode(plain, choice.level) {
        Some(bytes) if holds(Codec::Zstd, &bytes, plain) => Encoded::new(Codec::Zstd, bytes),
        _ => Encoded::new(Codec::Raw, plain),
    }
}

/// Unpacks a chunk of `plain_len` bytes that was stored as `stored`.
///
/// [`Kind::Unsupported`] for a codec or version that is not known here; [`Kind::Damaged`] if the result would not be
/// exactly `plain_len` bytes, or would be longer than [`MAX_PLAIN`], which is refused before any memory is taken.
pub fn decode(codec_number: u8, version: u8, stored: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    decode_ref(codec_number, version, stored, plain_len).map(Cow::into_owned)
}

/// As [`decode`], but bytes that were stored as they are, are lent and not copied.
pub fn decode_ref(codec_number: u8, version: u8, stored: &[u8], plain_len: usize) -> Result<Cow<'_, [u8]>> {
    let codec = match Codec::from_number(codec_number) {
        Some(codec) if codec.version() == version => codec,
        _ => {
            let why = format!("codec {codec_number} version {version} is not known to this version of the program");
            return Err(Error::new(Kind::Unsupported, DOING, why));
        }
    };
    if plain_len > MAX_PLAIN {
        return Err(damaged(format!("it claims {plain_len} bytes, and a chunk has at most {MAX_PLAIN}")));
    }
    match codec {
        Codec::Raw if stored.len() == plain_len => Ok(Cow::Borrowed(stored)),
        Codec::Raw => Err(damaged(format!("{} bytes are stored where {plain_len} should be", stored.len()))),
        Codec::Zstd => zstd::decode(stored, plain_len).map(Cow::Owned),
        Codec::Jpeg => jpeg::decode(stored, plain_len).map(Cow::Owned),
    }
}

const DOING: &str = "unpacking a chunk";

fn damaged(why: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, DOING, why)
}

/// Whether `stored` is really what `plain` will be read back from.
fn holds(codec: Codec, stored: &[u8], plain: &[u8]) -> bool {
    decode_ref(codec.number(), codec.version(), stored, plain.len()).is_ok_and(|back| *back == *plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn text(len: usize) -> Vec<u8> {
        (0u32..).flat_map(|n| format!("line {n}: a photo is stored once\n").into_bytes()).take(len).collect()
    }

    fn there_and_back(plain: &[u8], expected: Codec) {
        let encoded = encode(plain, &Choice::default());
        assert_eq!(encoded.codec, expected, "{} bytes", plain.len());
        assert!(encoded.bytes.len() <= plain.len());
        assert_eq!(encoded.version, encoded.codec.version());
        let back = decode(encoded.codec.number(), encoded.version, &encoded.bytes, plain.len());
        assert_eq!(back.expect("what was encoded is decoded"), plain);
    }

    #[test]
    fn what_pays_is_packed_and_the_rest_is_left() {
        for len in [0, 1, 2, 40] {
            there_and_back(&text(len), Codec::Raw);
        }
        for len in [500, 4095, 4096, 4097, 300_000, 3_000_000] {
            there_and_back(&text(len), Codec::Zstd);
            there_and_back(&vec![0; len], Codec::Zstd);
            there_and_back(&noise(len), Codec::Raw);
        }
    }

    #[test]
    fn bytes_left_as_they_are_are_not_copied() {
        let plain = noise(10_000);
        let encoded = encode(&plain, &Choice::default());
        assert!(matches!(encoded.bytes, Cow::Borrowed(bytes) if std::ptr::eq(bytes, plain.as_slice())));
        let back = decode_ref(0, 0, &plain, plain.len()).expect("raw bytes");
        assert!(matches!(back, Cow::Borrowed(_)));
    }

    #[test]
    fn every_level_can_be_read_back() {
        let plain = text(100_000);
        // Those out of range count as the nearest that there is.
        for level in [i32::MIN, -5, 0, 1, 3, 9, 19, 22, i32::MAX] {
            let encoded = encode(&plain, &Choice { level });
            assert_eq!(encoded.codec, Codec::Zstd, "level {level}");
            assert_eq!(decode(1, 0, &encoded.bytes, plain.len()).expect("decodes"), plain);
        }
    }

    #[test]
    fn only_known_codecs_and_versions_are_read() {
        for number in 0..=255 {
            for version in 0..=255 {
                let codec = Codec::from_number(number);
                assert!(codec.is_none_or(|codec| codec.number() == number));
                let known = codec.is_some_and(|codec| codec.version() == version);
                let result = decode(number, version, b"some bytes", 10);
                let refused = result.is_err_and(|error| error.kind() == Kind::Unsupported);
                assert_eq!(refused, !known, "codec {number} version {version}");
            }
        }
        // Stored numbers: a change here makes every archive unreadable.
        let stored = [Codec::Raw, Codec::Zstd, Codec::Jpeg].map(|codec| (codec.number(), codec.version()));
        assert_eq!(stored, [(0, 0), (1, 0), (2, 1)]);
    }

    #[test]
    fn a_wrong_length_is_damage() {
        let plain = text(5000);
        let packed = encode(&plain, &Choice::default());
        for (codec, stored) in [(Codec::Raw, &*plain), (Codec::Zstd, &*packed.bytes)] {
            for wrong in [0, 1, 4999, 5001, MAX_PLAIN, MAX_PLAIN + 1, usize::MAX] {
                let error = decode(codec.number(), codec.version(), stored, wrong).expect_err("a wrong length");
                assert_eq!(error.kind(), Kind::Damaged, "{codec:?} as {wrong} bytes");
            }
        }
    }
}
