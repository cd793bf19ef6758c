//! Capture facts from `moov`: the times and sizes of a video, QuickTime's tags, and what a Canon raw file keeps there.

use std::io;

use super::bmff::{Box4, find, next_box};
use super::bytes::{Window, be};
use super::exif;
use super::facts::{Facts, Place, Taken, decimal, text};
use super::ifd::Tiff;

/// From 1904, where QuickTime's seconds begin, to 1970.
const EPOCH: u64 = 2_082_844_800;

const MAX_TRACKS: usize = 64;
const MAX_KEYS: u64 = 256;

/// The longest value of a tag that is read.
const MAX_VALUE: u64 = 1 << 10;

/// What precedes the boxes of EXIF in a Canon raw file: the name of their container.
const CANON: &[u8] = b"\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48";

/// Reads a video.
pub(super) fn read(window: &mut Window<'_>, facts: &mut Facts) -> io::Result<()> {
    let limit = window.len();
    let Some(moov) = find(window, 0, limit, b"moov")? else { return Ok(()) };
    let mut at = moov.content;
    for _ in 0..MAX_TRACKS {
        let Some(part) = next_box(window, at, moov.end)? else { break };
        match &part.name {
            b"mvhd" => movie(window, &part, facts)?,
            b"trak" => track(window, &part, facts)?,
            b"meta" => keys(window, &part, facts)?,
            b"udta" => user_data(window, &part, facts)?,
            _ => {}
        }
        at = part.end;
    }
    Ok(())
}

/// Reads a Canon raw file, whose EXIF lies in three boxes.
pub(super) fn canon(window: &mut Window<'_>, facts: &mut Facts) -> io::Result<()> {
    let limit = window.len();
    let Some(moov) = find(window, 0, limit, b"moov")? else { return Ok(()) };
    let Some(uuid) = find(window, moov.content, moov.end, b"uuid")? else { return Ok(()) };
    if window.get(uuid.content, CANON.len())? != Some(CANON) {
        return Ok(());
    }
    let start = uuid.content + CANON.len() as u64;
    for name in [b"CMT1", b"CMT2", b"CMT4"] {
        let Some(part) = find(window, start, uuid.end, name)? else { continue };
        let Some(tiff) = Tiff::open(window, part.content)? else { continue };
        let Some(first) = tiff.directory(window, tiff.first)? else { continue };
        match name {
            b"CMT1" => exif::camera(window, &first, facts)?,
            b"CMT2" => exif::taking(window, &first, facts)?,
            _ => facts.place = exif::place(window, &first)?,
        }
    }
    Ok(())
}

/// When it was made, in UTC, and how long it is.
fn movie(window: &mut Window<'_>, part: &Box4, facts: &mut Facts) -> io::Result<()> {
    let Some(version) = window.get(part.content, 1)?.map(be) else { return Ok(()) };
    let wide = if version == 1 { 8 } else { 4 };
    let Some(fields) = window.get(part.content + 4, 3 * wide + 4)? else { return Ok(()) };
    let created = be(&fields[..wide]);
    let scale = be(&fields[2 * wide..2 * wide + 4]);
    let duration = &fields[2 * wide + 4..];
    if scale > 0 && duration.iter().any(|&byte| byte != 0xff) {
        let milliseconds = u128::from(be(duration)) * 1000 / u128::from(scale);
        facts.duration_ms = u64::try_from(milliseconds).ok().filter(|&duration| duration > 0);
    }
    // QuickTime's own date knows its time zone, so it goes before.
    if facts.taken.is_none() {
        facts.taken = created.checked_sub(EPOCH).filter(|&seconds| seconds > 0).and_then(utc);
    }
    Ok(())
}

/// The time so many seconds after the beginning of 1970.
fn utc(seconds: u64) -> Option<Taken> {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    if days > 3_000_000 {
        return None;
    }
    // Days since the first of March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let mut taken = Taken::new([year, month, day - (153 * march + 2) / 5 + 1, rest / 3600, rest / 60 % 60, rest % 60])?;
    taken.offset_minutes = Some(0);
    Some(taken)
}

/// The size of the first track that has one.
fn track(window: &mut Window<'_>, part: &Box4, facts: &mut Facts) -> io::Result<()> {
    let Some(header) = find(window, part.content, part.end, b"tkhd")? else { return Ok(()) };
    // The last two fields; 16 bits before the point, and 16 behind.
    let Some(size) = window.array::<8>(header.end - 8)? else { return Ok(()) };
    facts.set_size(Some((be(&size[..2]), be(&size[4..6]))));
    Ok(())
}

/// QuickTime's tags: a list of names, and a list of values that count them from 1.
fn keys(window: &mut Window<'_>, meta: &Box4, facts: &mut Facts) -> io::Result<()> {
    // MP4's `meta` has four more bytes than QuickTime's.
    let plain = window.get(meta.content + 4, 4)? == Some(b"hdlr");
    let start = meta.content + if plain { 0 } else { 4 };
    let Some(names) = find(window, start, meta.end, b"keys")? else { return Ok(()) };
    let Some(values) = find(window, start, meta.end, b"ilst")? else { return Ok(()) };
    let mut at = names.content + 8;
    for index in 1..=MAX_KEYS {
        let Some(name) = next_box(window, at, names.end)? else { break };
        at = name.end;
        let len = (name.end - name.content).min(64) as usize;
        let field = match window.get(name.content, len)? {
            Some(b"com.apple.quicktime.creationdate") => Field::Taken,
            Some(b"com.apple.quicktime.make") => Field::Make,
            Some(b"com.apple.quicktime.model") => Field::Model,
            Some(b"com.apple.quicktime.location.ISO6709") => Field::Place,
            Some(b"com.apple.quicktime.content.identifier") => Field::ContentId,
            _ => continue,
        };
        if let Some(value) = value(window, &values, index)? {
            field.set(&value, facts);
        }
    }
    Ok(())
}

/// The value that belongs to the name of this number.
fn value(window: &mut Window<'_>, values: &Box4, index: u64) -> io::Result<Option<Vec<u8>>> {
    let mut at = values.content;
    for _ in 0..MAX_KEYS {
        // The name of the box is the number, so it is not one that [`next_box`] takes.
        let Some(head) = window.array::<8>(at)? else { return Ok(None) };
        let size = be(&head[..4]);
        if size < 8 || at + size > values.end {
            return Ok(None);
        }
        if be(&head[4..]) == index {
            let Some(data) = find(window, at + 8, at + size, b"data")? else { return Ok(None) };
            let start = data.content + 8;
            let len = data.end.saturating_sub(start).min(MAX_VALUE) as usize;
            return Ok(window.get(start, len)?.map(<[u8]>::to_vec));
        }
        at += size;
    }
    Ok(None)
}

/// The tags of older QuickTime and of Android: two bytes of length, two of language, and the text.
fn user_data(window: &mut Window<'_>, udta: &Box4, facts: &mut Facts) -> io::Result<()> {
    let mut at = udta.content;
    for _ in 0..MAX_TRACKS {
        let Some(part) = next_box(window, at, udta.end)? else { break };
        at = part.end;
        let field = match &part.name {
            b"\xa9xyz" => Field::Place,
            b"\xa9mak" => Field::Make,
            b"\xa9mod" => Field::Model,
            _ => continue,
        };
        let Some(len) = window.get(part.content, 2)?.map(be) else { break };
        if part.content + 4 + len <= part.end
            && let Some(value) = window.get(part.content + 4, len.min(MAX_VALUE) as usize)?.map(<[u8]>::to_vec)
        {
            field.set(&value, facts);
        }
    }
    Ok(())
}

/// What a tag tells.
enum Field {
    Taken,
    Make,
    Model,
    Place,
    ContentId,
}

impl Field {
    fn set(self, value: &[u8], facts: &mut Facts) {
        match self {
            Self::Taken => facts.taken = Taken::parse(value).or(facts.taken),
            Self::Make => facts.make = text(value),
            Self::Model => facts.model = text(value),
            Self::Place => facts.place = iso6709(value).or(facts.place),
            Self::ContentId => facts.content_id = text(value),
        }
    }
}

/// Reads `+48.1234-011.5678+519.000/`: degrees with a point, and perhaps metres.
fn iso6709(bytes: &[u8]) -> Option<Place> {
    let bytes = &bytes[..bytes.len().min(64)];
    let mut numbers = [None; 3];
    let mut at = 0;
    for number in &mut numbers {
        let Some(&sign @ (b'+' | b'-')) = bytes.get(at) else { break };
        let len = bytes[at + 1..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.')).count();
        let digits = &bytes[at + 1..at + 1 + len];
        let point = digits.iter().position(|&byte| byte == b'.').unwrap_or(len);
        let (whole, part) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
        // Four digits and more before the point are minutes and seconds, which no camera writes.
        if whole.is_empty() || whole.len() > 6 || part.len() > 12 || part.contains(&b'.') {
            return None;
        }
        let found = decimal(whole) as f64 + decimal(part) as f64 / 10_f64.powi(part.len() as i32);
        *number = Some(if sign == b'-' { -found } else { found });
        at += 1 + len;
    }
    Place::new(numbers[0]?, numbers[1]?, numbers[2])
}
