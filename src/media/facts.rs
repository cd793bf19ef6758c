//! Capture facts: when, where and with what a picture was taken. They are shown to people and never needed by a restore.
//!
//! What a file says is read through [`Window`], tag by tag; it costs a bounded number of small reads and no memory to
//! speak of. Anything that makes no sense is left out, so facts that are there were written by something.

use std::io;

use super::bytes::Window;
use super::{Format, ReadAt, exif, raf, video};
use super::{bmff, jpeg, png};

/// Rises when the same bytes may give other facts than before, so that stored ones are made again.
pub const FACTS_VERSION: u32 = 2;

/// The most that is read of a file.
const BUDGET: u64 = 8 << 20;

/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 256;

/// What a file tells about its taking. Each part is there only if the file says it and it makes sense.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// When it was taken, by the clock of the camera.
    pub taken: Option<Taken>,
    /// The maker of the camera. At most 256 bytes, without control characters, like every text here.
    pub make: Option<String>,
    /// The camera.
    pub model: Option<String>,
    /// Pixels from left to right as stored, before `orientation`.
    pub width: Option<u32>,
    /// Pixels from top to bottom as stored, before `orientation`.
    pub height: Option<u32>,
    /// How it is to be turned, 1 to 8 as in EXIF.
    pub orientation: Option<u8>,
    /// Where it was taken.
    pub place: Option<Place>,
    /// How long a video is, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What a Live Photo's still and video have in common.
    pub content_id: Option<String>,
}

/// A date and a time of day as a clock showed them; always ones that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taken {
    /// 1800 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999.
    pub millisecond: Option<u16>,
    /// How far the clock was ahead of UTC.
    pub offset_minutes: Option<i16>,
}

/// A place on earth (WGS 84).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees, north positive, -90 to 90.
    pub latitude: f64,
    /// Degrees, east positive, -180 to 180.
    pub longitude: f64,
    /// Metres above the sea.
    pub altitude: Option<f64>,
}

/// What the file, being of this format, tells about its taking; `None` if nothing.
///
/// It reads at most 8 MiB, and never fails: what cannot be read or understood is left out.
pub fn facts(file: &dyn ReadAt, format: Format) -> Option<Facts> {
    let mut window = Window::new(file, BUDGET);
    let mut facts = Facts::default();
    // What was found before an error still holds.
    let _ = gather(&mut window, format, &mut facts);
    (facts != Facts::default()).then_some(facts)
}

fn gather(window: &mut Window<'_>, format: Format, facts: &mut Facts) -> io::Result<()> {
    match format {
        Format::Jpeg => still_jpeg(window, 0, facts),
        Format::Raf => match raf::jpeg_range(window)? {
            Some((start, _)) => still_jpeg(window, start, facts),
            None => Ok(()),
        },
        Format::Png => {
            let found = png::look(window)?;
            facts.set_size(found.size);
            exif::read(window, found.exif, facts)
        }
        Format::Heif | Format::Avif => {
            let found = bmff::look(window)?;
            facts.set_size(found.size);
            exif::read(window, found.exif, facts)
        }
        Format::Cr3 => video::canon(window, facts),
        format if format.is_tiff() => exif::read_tiff(window, facts),
        format if format.is_bmff() => video::read(window, facts),
        _ => Ok(()),
    }
}

fn still_jpeg(window: &mut Window<'_>, start: u64, facts: &mut Facts) -> io::Result<()> {
    let found = jpeg::look(window, start)?;
    facts.set_size(found.size);
    exif::read(window, found.exif, facts)
}

/// What a still picture's container says.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Width and height.
    pub(super) size: Option<(u64, u64)>,
    /// Where EXIF's TIFF header lies.
    pub(super) exif: Option<u64>,
}

impl Facts {
    /// Notes the size, unless one is known.
    pub(super) fn set_size(&mut self, size: Option<(u64, u64)>) {
        if let Some((width, height)) = size
            && let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height))
            && width > 0
            && height > 0
            && self.width.is_none()
        {
            (self.width, self.height) = (Some(width), Some(height));
        }
    }
}

impl Place {
    /// A place that exists. Nought, nought is what devices write that do not know.
    pub(super) fn new(latitude: f64, longitude: f64, altitude: Option<f64>) -> Option<Self> {
        let exists = latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && (latitude, longitude) != (0.0, 0.0);
        let altitude = altitude.filter(|altitude| altitude.abs() < 100_000.0);
        exists.then_some(Self { latitude, longitude, altitude })
    }
}

impl Taken {
    /// A time that exists, from year, month, day, hour, minute and second.
    pub(super) fn new(parts: [u64; 6]) -> Option<Self> {
        let [year, month, day, hour, minute, second] = parts;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 31,
        };
        let exists = (1800..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        exists.then_some(Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
            hour: hour as u8,
            minute: minute as u8,
            second: second as u8,
            millisecond: None,
            offset_minutes: None,
        })
    }

    /// Reads `2019:07:31 12:34:56` and `2019-07-31T12:34:56+02:00` and what is like them.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = [0; 6];
        for (i, part) in parts.iter_mut().enumerate() {
            let at = if i == 0 { 0 } else { 2 + i * 3 };
            let len = if i == 0 { 4 } else { 2 };
            let digits = text.get(at..at + len).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
            *part = decimal(digits);
        }
        let mut taken = Self::new(parts)?;
        taken.offset_minutes = text.get(19..).and_then(offset);
        Some(taken)
    }
}

/// The minutes that `+02:00`, `-0330` or `Z` are ahead of UTC.
pub(super) fn offset(text: &[u8]) -> Option<i16> {
    let (sign, digits) = match text {
        [b'Z', ..] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [a, b, b':', c, d, ..] | [a, b, c, d, ..] => ([*a, *b], [*c, *d]),
        _ => return None,
    };
    let digits = hours.iter().chain(&minutes).all(u8::is_ascii_digit);
    let (hours, minutes) = (decimal(&hours), decimal(&minutes));
    (digits && hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes) as i16)
}

/// The number that a few digits spell; the caller has seen that they are digits.
pub(super) fn decimal(digits: &[u8]) -> u64 {
    digits.iter().take(18).fold(0, |n, digit| n * 10 + u64::from(digit.wrapping_sub(b'0')))
}

/// A file's text made safe to keep and to show: up to the first NUL, without control characters, at most 256 bytes.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    let bytes = &bytes[..bytes.len().min(4 * MAX_TEXT)];
    let mut kept = String::new();
    for found in String::from_utf8_lossy(bytes).trim().chars().filter(|found| !found.is_control()) {
        if kept.len() + found.len_utf8() > MAX_TEXT {
            break;
        }
        kept.push(found);
    }
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}
