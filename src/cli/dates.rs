//! Moments: how people name them, and how they are shown.
//!
//! A date names a span of time, and what counts is its **end**: `2024-06` is the last moment of June 2024, so that the
//! newest snapshot not later than it is the one that has the whole month. Local time, unless an offset is given.

use crate::format::Time;
use jiff::civil::{Date, DateTime, Time as Clock};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

/// The end of a date, of a moment or of a span that lies back: `2024`, `2024-06`, `2024-06-01`, `2024-06-01 18:00`,
/// `2024-06-01T18:00:30+02:00`, `today`, `yesterday`, `3 days ago`. None if it is nothing of this.
pub fn end_of(text: &str, now: &Zoned) -> Option<Time> {
    let text = text.trim();
    let end = relative(text, now).or_else(|| calendar(text, now.time_zone())).or_else(|| exact(text))?;
    let last = end.checked_sub(1.nanosecond()).ok()?;
    Some(stored(last))
}

/// The beginning of the same.
pub fn start_of(text: &str, now: &Zoned) -> Option<Time> {
    let text = text.trim();
    let zone = now.time_zone();
    let begin = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp());
    let named = relative(text, now).or_else(|| calendar(text, zone));
    let Some(end) = named else { return exact(text).and_then(|_| text.parse().ok()).map(stored) };
    let last = end.checked_sub(1.nanosecond()).ok()?;
    let day = last.to_zoned(zone.clone()).date();
    let parts: Vec<&str> = text.split('-').collect();
    let start = match parts.as_slice() {
        [year] if is_year(year) => begin(Date::new(day.year(), 1, 1).ok()?)?,
        [_, _] if !text.contains(' ') => begin(day.first_of_month())?,
        // A moment or a span of hours is its own beginning, but for what is cut off at its end.
        _ if text.contains(':') => last
            .checked_sub(if text.matches(':').count() > 1 { 1.second() } else { 1.minute() })
            .ok()?
            .checked_add(1.nanosecond())
            .ok()?,
        _ if text.ends_with("ago") && !is_of_days(text) => last,
        _ => begin(day)?,
    };
    Some(stored(start))
}

/// Whether this lies back by days, weeks, months or years, and so means whole days.
fn is_of_days(text: &str) -> bool {
    ["day", "week", "month", "year"].iter().any(|unit| text.to_lowercase().contains(unit))
}

/// What `2019`, `2019-07`, `2019-07-14` or two of these with `..` between or beside them mean to a camera's clock: from
/// when to before when, in seconds since 1970 began on it.
pub fn taken(text: &str) -> Option<(i64, i64)> {
    match text.split_once("..") {
        None => civil_span(text),
        Some((from, "")) => Some((civil_span(from)?.0, i64::MAX)),
        Some(("", to)) => Some((i64::MIN, civil_span(to)?.1)),
        Some((from, to)) => Some((civil_span(from)?.0, civil_span(to)?.1)),
    }
}

fn civil_span(text: &str) -> Option<(i64, i64)> {
    let parts: Vec<&str> = text.trim().split('-').collect();
    let month = |text| number(text, 2).map(|month| month as i8);
    let (first, after) = match parts.as_slice() {
        [year] => {
            let first = Date::new(number(year, 4)?, 1, 1).ok()?;
            (first, first.checked_add(1.year()).ok()?)
        }
        [year, text] => {
            let first = Date::new(number(year, 4)?, month(text)?, 1).ok()?;
            (first, first.checked_add(1.month()).ok()?)
        }
        [year, text, day] => {
            let first = Date::new(number(year, 4)?, month(text)?, month(day)?).ok()?;
            (first, first.tomorrow().ok()?)
        }
        _ => return None,
    };
    let seconds = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second());
    Some((seconds(first)?, seconds(after)?))
}

/// Whether this is a year and nothing more; such digits can also be the beginning of an id.
pub fn is_year(text: &str) -> bool {
    text.len() == 4 && (text.starts_with("19") || text.starts_with("20")) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The first moment after what is named.
fn relative(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let day = |back: Span| day_after(now.date().checked_sub(back).ok()?, now.time_zone());
    let (number, unit) = match words.as_slice() {
        ["today"] => return day(Span::new()),
        ["yesterday"] => return day(1.day()),
        [number, unit, "ago"] => (*number, unit.strip_suffix('s').unwrap_or(unit)),
        _ => return None,
    };
    let number: i64 = match number {
        "a" | "an" | "one" => 1,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    let span = Span::new();
    match unit {
        "minute" => moment_after(now, span.try_minutes(number).ok()?),
        "hour" => moment_after(now, span.try_hours(number).ok()?),
        "day" => day(span.try_days(number).ok()?),
        "week" => day(span.try_weeks(number).ok()?),
        "month" => day(span.try_months(number).ok()?),
        "year" => day(span.try_years(number).ok()?),
        _ => None,
    }
}

fn moment_after(now: &Zoned, back: Span) -> Option<Timestamp> {
    now.timestamp().checked_sub(back).ok()?.checked_add(1.nanosecond()).ok()
}

fn day_after(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    Some(date.tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp())
}

fn calendar(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let (date, clock) = match text.find([' ', 'T']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_start())),
        None => (text, None),
    };
    let date: Vec<&str> = date.split('-').collect();
    let begin = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp());
    match (date.as_slice(), clock) {
        ([year], None) if is_year(year) => begin(Date::new(number(year, 4)? + 1, 1, 1).ok()?),
        ([year, month], None) => {
            let first = Date::new(number(year, 4)?, number(month, 2)? as i8, 1).ok()?;
            begin(first.checked_add(1.month()).ok()?)
        }
        ([year, month, day], clock) => {
            let date = Date::new(number(year, 4)?, number(month, 2)? as i8, number(day, 2)? as i8).ok()?;
            match clock {
                None => day_after(date, zone),
                Some(clock) => clock_after(date, clock, zone),
            }
        }
        _ => None,
    }
}

/// `18:00` is over when the minute is, `18:00:30` when the second is.
fn clock_after(date: Date, clock: &str, zone: &TimeZone) -> Option<Timestamp> {
    let parts: Vec<&str> = clock.split(':').collect();
    let (second, length) = match parts.as_slice() {
        [_, _] => (0, 1.minute()),
        [_, _, second] => (number(second, 2)? as i8, 1.second()),
        _ => return None,
    };
    let clock = Clock::new(number(parts[0], 2)? as i8, number(parts[1], 2)? as i8, second, 0).ok()?;
    // An hour that a clock change makes happen twice is over when it is over the second time.
    let moment = zone.to_ambiguous_timestamp(DateTime::from_parts(date, clock)).later().ok()?;
    moment.checked_add(length).ok()
}

/// A moment with its offset from UTC, as `list --json` prints it.
fn exact(text: &str) -> Option<Timestamp> {
    let at = text.as_bytes().get(4).is_some_and(|byte| *byte == b'-');
    let moment: Timestamp = text.parse().ok().filter(|_| at)?;
    moment.checked_add(if text.contains('.') { 1.nanosecond() } else { 1.second() }).ok()
}

/// Exactly so many digits.
fn number(digits: &str, len: usize) -> Option<i16> {
    (digits.len() == len && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A moment as it is stored.
pub fn stored(moment: Timestamp) -> Time {
    let (secs, nanos) = (moment.as_second(), moment.subsec_nanosecond());
    // Before 1970 the fraction is negative here, and stored as one that is added to the second before.
    match u32::try_from(nanos) {
        Ok(nanos) => Time { secs, nanos },
        Err(_) => Time { secs: secs - 1, nanos: (nanos + 1_000_000_000) as u32 },
    }
}

fn timestamp(time: Time) -> Option<Timestamp> {
    Timestamp::new(time.secs, i32::try_from(time.nanos).ok()?).ok()
}

/// `2024-06-01 18:00`, in local time.
pub fn minute(time: Time) -> String {
    shown(time, "%Y-%m-%d %H:%M")
}

/// `2024-06-01 18:00:30`, in local time.
pub fn second(time: Time) -> String {
    shown(time, "%Y-%m-%d %H:%M:%S")
}

/// A moment in the name of a folder, to the minute and to the second: `2024-06-01 18.00`, `2024-06-01 18.00.30`. What is
/// no moment of a calendar has no `/` in it either.
pub fn in_a_name(time: Time) -> (String, String) {
    (shown(time, "%Y-%m-%d %H.%M"), shown(time, "%Y-%m-%d %H.%M.%S"))
}

/// A moment as DOS writes it, in local time and to two seconds: the time of day, and the day from 1980 to 2107.
pub fn dos(time: Time) -> (u16, u16) {
    let Some(clock) = timestamp(time).map(|moment| moment.to_zoned(TimeZone::system()).datetime()) else {
        return (0, 1 << 5 | 1);
    };
    match clock.year() {
        ..1980 => (0, 1 << 5 | 1),
        2108.. => (23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31),
        year => {
            let [hour, minute, second] = [clock.hour(), clock.minute(), clock.second() / 2].map(|part| part as u16);
            let [month, day] = [clock.month(), clock.day()].map(|part| part as u16);
            let year = (year - 1980) as u16;
            (hour << 11 | minute << 5 | second, year << 9 | month << 5 | day)
        }
    }
}

fn shown(time: Time, format: &str) -> String {
    match timestamp(time) {
        Some(moment) => moment.to_zoned(TimeZone::system()).strftime(format).to_string(),
        None => format!("{} s", time.secs),
    }
}

/// RFC 3339 with the offset that local time had then.
pub fn rfc3339(time: Time, offset_minutes: i16) -> String {
    let offset = jiff::tz::Offset::from_seconds(i32::from(offset_minutes) * 60).unwrap_or(jiff::tz::Offset::UTC);
    match timestamp(time) {
        Some(moment) => moment.display_with_offset(offset).to_string(),
        None => format!("{} s", time.secs),
    }
}

/// RFC 3339 in local time.
pub fn rfc3339_local(time: Time) -> String {
    let offset = timestamp(time).map_or(0, |moment| TimeZone::system().to_offset(moment).seconds() / 60);
    rfc3339(time, offset as i16)
}

/// What a camera's clock showed, so many seconds after 1970 began on it: `2019-07-14 18:03:21`.
pub fn camera(seconds: i64) -> String {
    match civil(seconds) {
        Some(clock) => clock.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => format!("{seconds} s"),
    }
}

/// The same as `2019-07-14T18:03:21.25+02:00`, as far as the photo says it.
pub fn camera_rfc3339(seconds: i64, millis: Option<u64>, offset_minutes: Option<i64>) -> String {
    let mut text = camera(seconds).replace(' ', "T");
    if let Some(millis) = millis {
        text += &format!(".{millis:03}");
    }
    if let Some(minutes) = offset_minutes {
        let sign = if minutes < 0 { '-' } else { '+' };
        text += &format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
    }
    text
}

fn civil(seconds: i64) -> Option<DateTime> {
    Some(Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::UTC).datetime())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        // Two hours ahead of UTC; winter time is one hour ahead.
        "2024-06-15T12:30:45[Europe/Berlin]".parse().expect("a time")
    }

    fn last(text: &str) -> Option<String> {
        end_of(text, &now()).map(|time| rfc3339(time, 0))
    }

    #[test]
    fn what_is_named_counts_to_its_end() {
        let table = [
            ("2023", "2023-12-31T22:59:59.999999999+00:00"),
            ("2024-06", "2024-06-30T21:59:59.999999999+00:00"),
            ("2023-12", "2023-12-31T22:59:59.999999999+00:00"),
            ("2024-06-01", "2024-06-01T21:59:59.999999999+00:00"),
            ("2024-02-29", "2024-02-29T22:59:59.999999999+00:00"),
            ("2024-06-01 18:00", "2024-06-01T16:00:59.999999999+00:00"),
            ("2024-06-01T18:00", "2024-06-01T16:00:59.999999999+00:00"),
            ("2024-06-01 18:00:30", "2024-06-01T16:00:30.999999999+00:00"),
            ("2024-06-01T18:00:30Z", "2024-06-01T18:00:30.999999999+00:00"),
            ("2024-06-01T18:00:30.25-03:00", "2024-06-01T21:00:30.25+00:00"),
            ("2023-10-29 02:30", "2023-10-29T01:30:59.999999999+00:00"), // happens twice
            ("today", "2024-06-15T21:59:59.999999999+00:00"),
            ("Yesterday", "2024-06-14T21:59:59.999999999+00:00"),
            ("3 days ago", "2024-06-12T21:59:59.999999999+00:00"),
            ("1 day ago", "2024-06-14T21:59:59.999999999+00:00"),
            ("a week ago", "2024-06-08T21:59:59.999999999+00:00"),
            ("2 weeks ago", "2024-06-01T21:59:59.999999999+00:00"),
            ("4 months ago", "2024-02-15T22:59:59.999999999+00:00"),
            ("5 years  ago", "2019-06-15T21:59:59.999999999+00:00"),
            ("an hour ago", "2024-06-15T09:30:45+00:00"),
            ("30 minutes ago", "2024-06-15T10:00:45+00:00"),
            ("1969-12-31", "1969-12-31T22:59:59.999999999+00:00"),
        ];
        for (text, moment) in table {
            assert_eq!(last(text).as_deref(), Some(moment), "{text}");
        }
    }

    #[test]
    fn what_is_named_has_a_beginning() {
        let table = [
            ("2023", "2022-12-31T23:00:00+00:00"),
            ("2024-06", "2024-05-31T22:00:00+00:00"),
            ("2024-06-01", "2024-05-31T22:00:00+00:00"),
            ("2024-06-01 18:00", "2024-06-01T16:00:00+00:00"),
            ("2024-06-01 18:00:30", "2024-06-01T16:00:30+00:00"),
            ("2024-06-01T18:00:30Z", "2024-06-01T18:00:30+00:00"),
            ("today", "2024-06-14T22:00:00+00:00"),
            ("yesterday", "2024-06-13T22:00:00+00:00"),
            ("3 days ago", "2024-06-11T22:00:00+00:00"),
            ("an hour ago", "2024-06-15T09:30:45+00:00"),
        ];
        for (text, moment) in table {
            let start = start_of(text, &now()).map(|time| rfc3339(time, 0));
            assert_eq!(start.as_deref(), Some(moment), "{text}");
        }
        assert_eq!(start_of("soon", &now()), None);
    }

    #[test]
    fn a_time_of_taking_is_a_span_of_the_cameras_clock() {
        let day = 86_400;
        let start_2019 = 1_546_300_800;
        let table = [
            ("2019", (start_2019, start_2019 + 365 * day)),
            ("2019-02", (start_2019 + 31 * day, start_2019 + 59 * day)),
            ("2019-01-31", (start_2019 + 30 * day, start_2019 + 31 * day)),
            ("2019-01..2019-02", (start_2019, start_2019 + 59 * day)),
            ("2019-02..", (start_2019 + 31 * day, i64::MAX)),
            ("..2018", (i64::MIN, start_2019)),
        ];
        for (text, span) in table {
            assert_eq!(taken(text), Some(span), "{text}");
        }
        for text in ["", "19", "2019-13", "2019-1", "july", "2019-01-01-01", "..", "2019...2020"] {
            assert_eq!(taken(text), None, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        let table = [
            "",
            "latest",
            "1f3a9c2e",
            "2024-13",
            "2024-02-30",
            "2024-6",
            "24-06-01",
            "2024-06-01 18",
            "2024-06-01 25:00",
            "2024-06-01 18:00:61",
            "3 days",
            "days ago",
            "-3 days ago",
            "3 fortnights ago",
            "99999999999 years ago",
            "20240601",
            "2024-06-01 18:00 x",
            "１ day ago",
            "3141",
            "2024-06T18:00",
        ];
        for text in table {
            assert_eq!(last(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_shown_as_they_were_stored() {
        let time = Time { secs: -1, nanos: 250_000_000 };
        assert_eq!(rfc3339(time, 0), "1969-12-31T23:59:59.25+00:00");
        assert_eq!(rfc3339(time, 90), "1970-01-01T01:29:59.25+01:30");
        assert_eq!(rfc3339(Time { secs: i64::MAX, nanos: 0 }, 0), "9223372036854775807 s");
        let moment: Timestamp = "1969-12-31T23:59:58.75Z".parse().expect("a time");
        assert_eq!(stored(moment), Time { secs: -2, nanos: 750_000_000 });
        assert_eq!(timestamp(stored(moment)), Some(moment));
    }

    #[test]
    fn a_cameras_clock_is_shown_as_it_stood() {
        assert_eq!(camera(1_563_127_401), "2019-07-14 18:03:21");
        assert_eq!(camera_rfc3339(1_563_127_401, Some(50), Some(-90)), "2019-07-14T18:03:21.050-01:30");
        assert_eq!(camera_rfc3339(-1, None, None), "1969-12-31T23:59:59");
        assert_eq!(camera(i64::MAX), "9223372036854775807 s");
    }
}
