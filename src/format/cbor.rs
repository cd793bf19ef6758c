//! Deterministic CBOR (RFC 8949 §4.2.1), as far as this format uses it: integers, byte and text strings, arrays, maps
//! with ascending unsigned keys, and `true`.
//!
//! The decoder accepts only what the encoder would have written: shortest lengths, definite sizes, ascending keys. It
//! allocates nothing and copies nothing, and counts are checked by the caller reading that many items.

use super::damaged;
use crate::error::Result;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TRUE: u8 = 0xF5;

/// Appends items to a buffer.
#[derive(Default)]
pub(super) struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    pub(super) fn after(out: Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn head(&mut self, major: u8, value: u64) {
        let major = major << 5;
        match value {
            0..=23 => self.out.push(major | value as u8),
            24..=0xFF => self.out.extend_from_slice(&[major | 24, value as u8]),
            0x100..=0xFFFF => self.wide(major | 25, value, 2),
            0x1_0000..=0xFFFF_FFFF => self.wide(major | 26, value, 4),
            _ => self.wide(major | 27, value, 8),
        }
    }

    /// CBOR's own byte order is most significant first.
    fn wide(&mut self, first: u8, value: u64, len: u32) {
        self.out.push(first);
        self.out.extend((0..len).rev().map(|byte| (value >> (8 * byte)) as u8));
    }

    pub(super) fn uint(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    pub(super) fn int(&mut self, value: i64) {
        if value < 0 { self.head(NEGATIVE, !value as u64) } else { self.head(UNSIGNED, value as u64) }
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.head(BYTES, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.head(TEXT, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
    }

    pub(super) fn array(&mut self, items: usize) {
        self.head(ARRAY, items as u64);
    }

    pub(super) fn yes(&mut self) {
        self.out.push(TRUE);
    }

    /// A map, its head written when its fields are known.
    pub(super) fn map(&mut self, fields: impl FnOnce(&mut Fields)) {
        let mut map = Fields { count: 0, last: None, items: Encoder::default() };
        fields(&mut map);
        self.head(MAP, map.count);
        self.out.extend_from_slice(&map.items.out);
    }
}

/// The fields of a map while it is being written, in ascending order of their keys.
pub(super) struct Fields {
    count: u64,
    last: Option<u64>,
    items: Encoder,
}

impl Fields {
    /// Writes a key; the value follows into what is returned.
    pub(super) fn key(&mut self, key: u64) -> &mut Encoder {
        debug_assert!(self.last < Some(key), "keys ascend");
        self.count += 1;
        self.last = Some(key);
        self.items.uint(key);
        &mut self.items
    }
}

/// Reads items from the front of a slice.
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = taken.ok_or_else(|| damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64)> {
        let first = self.take(1)?[0];
        let (major, short) = (first >> 5, first & 0x1F);
        let len = match short {
            0..=23 => return Ok((major, u64::from(short))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(damaged("it has an item of a form that is not used")),
        };
        let value = self.take(len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let least = [0, 24, 0x100, 0, 0x1_0000, 0, 0, 0, 0x1_0000_0000][len as usize];
        if value < least {
            return Err(damaged("it has a number that is not written in its shortest form"));
        }
        Ok((major, value))
    }

    fn of(&mut self, major: u8) -> Result<u64> {
        match self.head()? {
            (found, value) if found == major => Ok(value),
            (found, _) => Err(damaged(format!("it has an item of type {found} instead of {major}"))),
        }
    }

    pub(super) fn uint(&mut self) -> Result<u64> {
        self.of(UNSIGNED)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.uint()?).map_err(|_| damaged("it has a number that is too large"))
    }

    pub(super) fn int(&mut self) -> Result<i64> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| damaged("it has a number that is too large"))?;
        match major {
            UNSIGNED => Ok(value),
            NEGATIVE => Ok(!value),
            _ => Err(damaged(format!("it has an item of type {major} instead of a number"))),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.of(BYTES)?;
        self.take(len)
    }

    pub(super) fn bytes32(&mut self) -> Result<[u8; 32]> {
        self.bytes()?.try_into().map_err(|_| damaged("it has an id of the wrong length"))
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let len = self.of(TEXT)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| damaged("it has text that is not UTF-8"))
    }

    pub(super) fn array(&mut self) -> Result<u64> {
        self.of(ARRAY)
    }

    pub(super) fn yes(&mut self) -> Result<bool> {
        match self.take(1)? {
            [TRUE] => Ok(true),
            _ => Err(damaged("it has another item instead of a mark")),
        }
    }

    /// Reads a map by handing each key to `field`, which reads the value.
    pub(super) fn map(&mut self, mut field: impl FnMut(u64, &mut Self) -> Result<()>) -> Result<()> {
        let count = self.of(MAP)?;
        let mut last = None;
        for _ in 0..count {
            let key = self.uint()?;
            if last >= Some(key) {
                return Err(damaged("its fields are not in ascending order"));
            }
            last = Some(key);
            field(key, self)?;
        }
        Ok(())
    }

    /// Refuses what is left over.
    pub(super) fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(damaged(format!("{} bytes too many", self.rest.len()))) }
    }
}
