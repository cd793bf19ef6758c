//! Capture facts: what files tell about their taking, kept apart from everything that a restore needs.
//!
//! They can be made again from the files, so an object of them may be dropped at any time, and one that is not understood
//! is as good as not there.

use super::bytes::{ENVELOPE_LEN, ObjectKind, Reader, envelope};
use super::cbor::{Decoder, Encoder, Fields};
use super::{damaged, unsupported};
use crate::error::Result;
use crate::id::{FileHash, PictureHash};

/// The longest plain body of an object of facts, in bytes.
pub const MAX_FACTS_LEN: u32 = 1 << 26;
/// Bytes before the stored body.
const HEAD_LEN: usize = ENVELOPE_LEN + 12;

/// What one file tells. Each part is there only if the file says it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CaptureFacts {
    /// What the file is: `jpeg`, `heif`, `quicktime`, ….
    pub format: Option<String>,
    /// When it was taken: seconds from 1970-01-01 00:00 to then by the clock of the camera, whatever its time zone.
    pub taken: Option<i64>,
    /// Milliseconds to add.
    pub taken_millis: Option<u64>,
    /// Minutes by which the camera's clock was ahead of UTC.
    pub taken_offset: Option<i64>,
    /// The maker of the camera.
    pub make: Option<String>,
    /// The camera.
    pub model: Option<String>,
    /// Pixels from left to right, as stored.
    pub width: Option<u64>,
    /// Pixels from top to bottom, as stored.
    pub height: Option<u64>,
    /// How it is to be turned, 1 to 8 as in EXIF.
    pub orientation: Option<u64>,
    /// Degrees north, times ten million.
    pub latitude: Option<i64>,
    /// Degrees east, times ten million.
    pub longitude: Option<i64>,
    /// Centimetres above the sea.
    pub altitude: Option<i64>,
    /// How long a video is, in milliseconds.
    pub duration: Option<u64>,
    /// What a Live Photo's still and video have in common.
    pub content_id: Option<String>,
    /// What is left of it without its tags: two files with the same differ in nothing but tags.
    pub picture: Option<PictureHash>,
}

impl CaptureFacts {
    /// The one encoding of these facts.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        self.write(&mut out);
        out.into_bytes()
    }

    /// Reads facts.
    ///
    /// # Errors
    /// Damaged if they are not exactly as [`CaptureFacts::encode`] writes them; unsupported if a field is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(bytes);
        let facts = Self::read(&mut decoder)?;
        decoder.end()?;
        Ok(facts)
    }

    fn write(&self, out: &mut Encoder) {
        out.map(|fields| {
            text(fields, 1, &self.format);
            int(fields, 2, self.taken);
            uint(fields, 3, self.taken_millis);
            int(fields, 4, self.taken_offset);
            text(fields, 5, &self.make);
            text(fields, 6, &self.model);
            uint(fields, 7, self.width);
            uint(fields, 8, self.height);
            uint(fields, 9, self.orientation);
            int(fields, 10, self.latitude);
            int(fields, 11, self.longitude);
            int(fields, 12, self.altitude);
            uint(fields, 13, self.duration);
            text(fields, 14, &self.content_id);
            if let Some(picture) = &self.picture {
                fields.key(15).bytes(picture.as_bytes());
            }
        });
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self> {
        let mut facts = Self::default();
        decoder.map(|key, value| {
            match key {
                1 => facts.format = Some(value.text()?.to_owned()),
                2 => facts.taken = Some(value.int()?),
                3 => facts.taken_millis = Some(value.uint()?),
                4 => facts.taken_offset = Some(value.int()?),
                5 => facts.make = Some(value.text()?.to_owned()),
                6 => facts.model = Some(value.text()?.to_owned()),
                7 => facts.width = Some(value.uint()?),
                8 => facts.height = Some(value.uint()?),
                9 => facts.orientation = Some(value.uint()?),
                10 => facts.latitude = Some(value.int()?),
                11 => facts.longitude = Some(value.int()?),
                12 => facts.altitude = Some(value.int()?),
                13 => facts.duration = Some(value.uint()?),
                14 => facts.content_id = Some(value.text()?.to_owned()),
                15 => facts.picture = Some(PictureHash::from_bytes(value.bytes32()?)),
                _ => return Err(unsupported(format!("facts have a field {key} that is not known here"))),
            }
            Ok(())
        })?;
        Ok(facts)
    }
}

fn text(fields: &mut Fields, key: u64, value: &Option<String>) {
    if let Some(value) = value {
        fields.key(key).text(value);
    }
}

fn int(fields: &mut Fields, key: u64, value: Option<i64>) {
    if let Some(value) = value {
        fields.key(key).int(value);
    }
}

fn uint(fields: &mut Fields, key: u64, value: Option<u64>) {
    if let Some(value) = value {
        fields.key(key).uint(value);
    }
}

/// The facts of many files, made by one version of what makes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FactsBatch {
    /// Which version made them; later ones may find more.
    pub maker: u32,
    /// Files by their hashes, ascending, and what they tell.
    pub files: Vec<(FileHash, CaptureFacts)>,
}

impl FactsBatch {
    /// The body, before a codec.
    pub fn encode_body(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.array(2 * self.files.len());
        for (hash, facts) in &self.files {
            out.bytes(hash.as_bytes());
            facts.write(&mut out);
        }
        out.into_bytes()
    }

    /// Reads a body that a codec gave back.
    ///
    /// # Errors
    /// As [`CaptureFacts::decode`]; damaged if the hashes do not ascend.
    pub fn decode_body(maker: u32, body: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(body);
        let items = decoder.array()?;
        if items % 2 != 0 {
            return Err(damaged("facts come in pairs"));
        }
        let mut files: Vec<(FileHash, CaptureFacts)> = Vec::new();
        for _ in 0..items / 2 {
            let hash = FileHash::from_bytes(decoder.bytes32()?);
            if files.last().map(|last| last.0) >= Some(hash) {
                return Err(damaged("its files are not in ascending order"));
            }
            files.push((hash, CaptureFacts::read(&mut decoder)?));
        }
        decoder.end()?;
        Ok(Self { maker, files })
    }
}

/// What stands before the stored body of an object of facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FactsHead {
    /// Which version made the facts.
    pub maker: u32,
    /// How the body is packed: a codec's number and version.
    pub codec: u8,
    /// The codec's version.
    pub codec_version: u8,
    /// Bytes of the body once unpacked; at most [`MAX_FACTS_LEN`].
    pub plain_len: u32,
}

impl FactsHead {
    /// An object of facts.
    pub fn encode(&self, stored: &[u8]) -> Vec<u8> {
        let mut out = envelope(ObjectKind::Derived).to_vec();
        out.extend_from_slice(&self.maker.to_le_bytes());
        out.extend_from_slice(&[self.codec, self.codec_version, 0, 0]);
        out.extend_from_slice(&self.plain_len.to_le_bytes());
        out.extend_from_slice(stored);
        out
    }

    /// The head of an object of facts, and its stored body.
    ///
    /// # Errors
    /// Damaged or unsupported, as for every object.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader::object(bytes, ObjectKind::Derived)?;
        let maker = reader.u32()?;
        let [codec, codec_version, 0, 0] = reader.array::<4>()? else {
            return Err(unsupported("it uses flags that are not known here"));
        };
        let plain_len = reader.u32()?;
        if plain_len > MAX_FACTS_LEN {
            return Err(damaged("it is too long"));
        }
        Ok((Self { maker, codec, codec_version, plain_len }, &bytes[HEAD_LEN..]))
    }
}
