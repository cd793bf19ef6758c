//! Capture facts, made while a photo is at hand. They are a gift to whoever browses later, and never in the way: a file
//! that tells nothing, or nonsense, has no facts.

use crate::format::CaptureFacts;
use crate::media::{self, Facts, Format, ReadAt, Taken};

/// Which version makes facts; a later one makes them again.
pub(super) const MAKER: u32 = media::FACTS_VERSION;

/// What a file tells about its taking; none if it is no picture or video.
pub(super) fn capture(file: &dyn ReadAt) -> Option<CaptureFacts> {
    let format = media::format(file).ok()?;
    let name = name(format)?;
    let facts = media::facts(file, format).unwrap_or_default();
    Some(stored(name, facts))
}

fn stored(format: &str, facts: Facts) -> CaptureFacts {
    let Facts { taken, make, model, width, height, orientation, place, duration_ms, content_id } = facts;
    let degrees = |degrees: f64| (degrees * 1e7).round() as i64;
    CaptureFacts {
        format: Some(format.to_owned()),
        taken: taken.map(|taken| seconds(&taken)),
        taken_millis: taken.and_then(|taken| taken.millisecond).map(u64::from),
        taken_offset: taken.and_then(|taken| taken.offset_minutes).map(i64::from),
        make,
        model,
        width: width.map(u64::from),
        height: height.map(u64::from),
        orientation: orientation.map(u64::from),
        latitude: place.map(|place| degrees(place.latitude)),
        longitude: place.map(|place| degrees(place.longitude)),
        altitude: place.and_then(|place| place.altitude).map(|metres| (metres * 100.0).round() as i64),
        duration: duration_ms,
        content_id,
        picture: None,
    }
}

/// Seconds from 1970 to a date and time of day, by the calendar alone.
fn seconds(taken: &Taken) -> i64 {
    // Days from civil date: the year begins in March, so that the leap day is its last.
    let (year, month) = (i64::from(taken.year) - i64::from(taken.month < 3), i64::from(taken.month));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(taken.day) - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    ((days * 24 + i64::from(taken.hour)) * 60 + i64::from(taken.minute)) * 60 + i64::from(taken.second)
}

fn name(format: Format) -> Option<&'static str> {
    Some(match format {
        Format::Jpeg => "jpeg",
        Format::Png => "png",
        Format::Tiff => "tiff",
        Format::Dng => "dng",
        Format::Nef => "nef",
        Format::Cr2 => "cr2",
        Format::Arw => "arw",
        Format::Orf => "orf",
        Format::Rw2 => "rw2",
        Format::Raf => "raf",
        Format::Heif => "heif",
        Format::Avif => "avif",
        Format::Cr3 => "cr3",
        Format::Quicktime => "quicktime",
        Format::Mp4 => "mp4",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_becomes_seconds_by_the_calendar() {
        let at = |year, month, day, hour| {
            seconds(&Taken { year, month, day, hour, minute: 1, second: 2, millisecond: None, offset_minutes: None })
        };
        assert_eq!(at(1970, 1, 1, 0), 62);
        assert_eq!(at(2000, 2, 29, 12), 951_825_662);
        assert_eq!(at(2026, 11, 22, 9), 1_795_338_062);
        assert_eq!(at(1899, 12, 31, 23), -2_208_992_338);
    }
}
