//! Capture facts from EXIF: the first directory, the camera's own, and the one of the place. No other is followed.

use std::io;

use super::bytes::Window;
use super::facts::{Facts, Place, Taken, decimal, offset, text};
use super::ifd::{Directory, Tiff};

/// The tags that are read.
mod tag {
    pub(super) const WIDTH: u16 = 0x0100;
    pub(super) const HEIGHT: u16 = 0x0101;
    pub(super) const MAKE: u16 = 0x010f;
    pub(super) const MODEL: u16 = 0x0110;
    pub(super) const ORIENTATION: u16 = 0x0112;
    pub(super) const CHANGED: u16 = 0x0132;
    pub(super) const SUB_DIRECTORIES: u16 = 0x014a;
    pub(super) const EXIF: u16 = 0x8769;
    pub(super) const GPS: u16 = 0x8825;
    pub(super) const ORIGINAL: u16 = 0x9003;
    pub(super) const DIGITIZED: u16 = 0x9004;
    pub(super) const OFFSET_ORIGINAL: u16 = 0x9011;
    pub(super) const OFFSET_DIGITIZED: u16 = 0x9012;
    pub(super) const SUBSEC_ORIGINAL: u16 = 0x9291;
    pub(super) const SUBSEC_DIGITIZED: u16 = 0x9292;
    pub(super) const MAKER_NOTE: u16 = 0x927c;
    pub(super) const PIXELS_X: u16 = 0xa002;
    pub(super) const PIXELS_Y: u16 = 0xa003;
    /// In the directory of the place.
    pub(super) const LATITUDE_SIDE: u16 = 1;
    pub(super) const LATITUDE: u16 = 2;
    pub(super) const LONGITUDE_SIDE: u16 = 3;
    pub(super) const LONGITUDE: u16 = 4;
    pub(super) const ALTITUDE_SIDE: u16 = 5;
    pub(super) const ALTITUDE: u16 = 6;
    /// In Apple's maker note: what joins a Live Photo's halves.
    pub(super) const APPLE_CONTENT_ID: u16 = 0x0011;
}

/// More than any text that is read.
const TEXT: u64 = 1 << 10;

/// Reads the EXIF whose TIFF header lies at `base`, if there is one.
pub(super) fn read(window: &mut Window<'_>, base: Option<u64>, facts: &mut Facts) -> io::Result<()> {
    let Some(base) = base else { return Ok(()) };
    let Some(tiff) = Tiff::open(window, base)? else { return Ok(()) };
    let Some(first) = tiff.directory(window, tiff.first)? else { return Ok(()) };
    camera(window, &first, facts)?;
    let exif = match first.number(window, tag::EXIF)? {
        Some(at) => tiff.directory(window, at)?,
        None => None,
    };
    if let Some(exif) = exif {
        taking(window, &exif, facts)?;
    }
    // Better than nothing: scanners and old cameras write no other date.
    if facts.taken.is_none() {
        facts.taken = date(window, &first, tag::CHANGED, &[])?;
    }
    if let Some(at) = first.number(window, tag::GPS)?
        && let Some(gps) = tiff.directory(window, at)?
    {
        facts.place = place(window, &gps)?;
    }
    Ok(())
}

/// Reads a file that is laid out as TIFF itself: there the largest picture counts.
pub(super) fn read_tiff(window: &mut Window<'_>, facts: &mut Facts) -> io::Result<()> {
    let mut largest = None;
    if let Some(tiff) = Tiff::open(window, 0)?
        && let Some(first) = tiff.directory(window, tiff.first)?
    {
        largest = size(window, &first, tag::WIDTH, tag::HEIGHT)?;
        for at in first.numbers(window, tag::SUB_DIRECTORIES)?.unwrap_or_default().into_iter().take(16) {
            if let Some(sub) = tiff.directory(window, at)? {
                let found = size(window, &sub, tag::WIDTH, tag::HEIGHT)?;
                largest = largest.max_by_area(found);
            }
        }
    }
    let found = read(window, Some(0), facts);
    // Most raw files' first directory tells of a thumbnail.
    let told = facts.width.take().zip(facts.height.take()).map(|(width, height)| (width.into(), height.into()));
    facts.set_size(largest.max_by_area(told));
    found
}

/// Make, model and orientation.
pub(super) fn camera(window: &mut Window<'_>, first: &Directory, facts: &mut Facts) -> io::Result<()> {
    facts.make = first.bytes(window, tag::MAKE, TEXT)?.and_then(|bytes| text(&bytes));
    facts.model = first.bytes(window, tag::MODEL, TEXT)?.and_then(|bytes| text(&bytes));
    let orientation = first.number(window, tag::ORIENTATION)?.filter(|turn| (1..=8).contains(turn));
    facts.orientation = orientation.map(|turn| turn as u8);
    Ok(())
}

/// Date, size, and what the maker's note says.
pub(super) fn taking(window: &mut Window<'_>, exif: &Directory, facts: &mut Facts) -> io::Result<()> {
    facts.taken = date(window, exif, tag::ORIGINAL, &[tag::SUBSEC_ORIGINAL, tag::OFFSET_ORIGINAL])?;
    if facts.taken.is_none() {
        facts.taken = date(window, exif, tag::DIGITIZED, &[tag::SUBSEC_DIGITIZED, tag::OFFSET_DIGITIZED])?;
    }
    let told = size(window, exif, tag::PIXELS_X, tag::PIXELS_Y)?;
    facts.set_size(told);
    facts.content_id = apple_content_id(window, exif)?;
    Ok(())
}

/// Where it was taken.
pub(super) fn place(window: &mut Window<'_>, gps: &Directory) -> io::Result<Option<Place>> {
    let Some(latitude) = degrees(window, gps, tag::LATITUDE, tag::LATITUDE_SIDE, b'S')? else { return Ok(None) };
    let Some(longitude) = degrees(window, gps, tag::LONGITUDE, tag::LONGITUDE_SIDE, b'W')? else { return Ok(None) };
    let below = gps.bytes(window, tag::ALTITUDE_SIDE, 1)?.is_some_and(|side| side == [1]);
    let altitude = gps.fractions::<1>(window, tag::ALTITUDE)?.map(|[metres]| if below { -metres } else { metres });
    Ok(Place::new(latitude, longitude, altitude))
}

fn degrees(window: &mut Window<'_>, gps: &Directory, tag: u16, side: u16, minus: u8) -> io::Result<Option<f64>> {
    let Some([degrees, minutes, seconds]) = gps.fractions::<3>(window, tag)? else { return Ok(None) };
    let found = degrees + minutes / 60.0 + seconds / 3600.0;
    let negative = gps.bytes(window, side, 1)?.is_some_and(|side| side.eq_ignore_ascii_case(&[minus]));
    Ok(Some(if negative { -found } else { found }))
}

/// A date, and what the tags for its parts of a second and its offset say.
fn date(window: &mut Window<'_>, directory: &Directory, tag: u16, more: &[u16]) -> io::Result<Option<Taken>> {
    let Some(bytes) = directory.bytes(window, tag, 32)? else { return Ok(None) };
    let Some(mut taken) = Taken::parse(&bytes) else { return Ok(None) };
    if let [subsec, offset_tag] = *more {
        if let Some(digits) = directory.bytes(window, subsec, 9)? {
            let digits: Vec<_> = digits.into_iter().take_while(u8::is_ascii_digit).take(3).collect();
            let scale = [0, 100, 10, 1][digits.len()];
            taken.millisecond = (scale > 0).then_some(decimal(&digits) as u16 * scale);
        }
        taken.offset_minutes = directory.bytes(window, offset_tag, 8)?.as_deref().and_then(offset);
    }
    Ok(Some(taken))
}

fn size(window: &mut Window<'_>, directory: &Directory, x: u16, y: u16) -> io::Result<Option<(u64, u64)>> {
    Ok(directory.number(window, x)?.zip(directory.number(window, y)?))
}

fn apple_content_id(window: &mut Window<'_>, exif: &Directory) -> io::Result<Option<String>> {
    const NAME: &[u8] = b"Apple iOS\0\0\x01MM";
    if exif.bytes(window, tag::MAKER_NOTE, NAME.len() as u64)?.as_deref() != Some(NAME) {
        return Ok(None);
    }
    let Some(note) = exif.entry(tag::MAKER_NOTE) else { return Ok(None) };
    let Some(note) = Tiff::headless(note.at).directory(window, NAME.len() as u64)? else { return Ok(None) };
    Ok(note.bytes(window, tag::APPLE_CONTENT_ID, TEXT)?.and_then(|bytes| text(&bytes)))
}

trait MaxByArea {
    /// The larger of two pictures.
    fn max_by_area(self, other: Self) -> Self;
}

impl MaxByArea for Option<(u64, u64)> {
    fn max_by_area(self, other: Self) -> Self {
        let area = |size: &Self| size.map_or(0, |(width, height)| width.saturating_mul(height));
        if area(&other) > area(&self) { other } else { self }
    }
}
