//! What files tell about their taking.

use super::super::{Facts, Format, Place, Taken, facts, format};
use super::build::*;

fn told(file: &[u8]) -> Facts {
    facts(&file, format(&file).unwrap()).unwrap_or_default()
}

fn taken(parts: [u16; 6], millisecond: Option<u16>, offset_minutes: Option<i16>) -> Option<Taken> {
    let [year, month, day, hour, minute, second] = parts;
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(|part| part as u8);
    Some(Taken { year, month, day, hour, minute, second, millisecond, offset_minutes })
}

/// What [`camera_tiff`] says.
fn camera(width: u32, height: u32) -> Facts {
    Facts {
        taken: taken([2021, 7, 31, 18, 5, 9], Some(250), Some(120)),
        make: Some("Apple".into()),
        model: Some("iPhone 12".into()),
        width: Some(width),
        height: Some(height),
        orientation: Some(6),
        place: Some(Place { latitude: -33.51, longitude: 18.25, altitude: Some(-12.5) }),
        duration_ms: None,
        content_id: Some("0F3A5C2E-LIVE".into()),
    }
}

#[test]
fn every_container_gives_the_camera_s_tags() {
    let tags = camera_tiff();
    assert_eq!(told(&jpeg(&[&jfif(), &exif(&tags), &image(1, 3000)])), camera(160, 120));
    assert_eq!(told(&png(&[&chunk(b"IDAT", &[1; 3000]), &chunk(b"eXIf", &tags)])), camera(64, 48));
    assert_eq!(told(&heic(&tags)), camera(4032, 3024));
    assert_eq!(told(&raf(&jpeg(&[&exif(&tags), &image(1, 3000)]))), camera(160, 120));
    assert_eq!(told(&tags), Facts { width: None, height: None, ..camera(0, 0) });
}

#[test]
fn a_canon_raw_file_keeps_them_in_boxes() {
    let expected = Facts {
        taken: taken([2022, 12, 24, 20, 0, 1], None, None),
        make: Some("Canon".into()),
        model: Some("EOS R5".into()),
        width: Some(8192),
        height: Some(5464),
        ..Facts::default()
    };
    assert_eq!(told(&cr3()), expected);
}

#[test]
fn a_video_tells_its_time_in_utc_unless_quicktime_knows_better() {
    let plain = Facts {
        taken: taken([2020, 2, 29, 12, 0, 0], None, Some(0)),
        width: Some(1920),
        height: Some(1080),
        duration_ms: Some(2500),
        ..Facts::default()
    };
    assert_eq!(told(&[ftyp(b"mp42"), moov(&[])].concat()), plain);
    let tags = quicktime_meta(&[
        ("com.apple.quicktime.location.ISO6709", "+48.1374-011.5755+519.5/"),
        ("com.apple.quicktime.software", "15.1"),
        ("com.apple.quicktime.creationdate", "2019-06-01T09:00:30-0330"),
        ("com.apple.quicktime.make", "Apple"),
        ("com.apple.quicktime.content.identifier", "0F3A5C2E-LIVE"),
    ]);
    let known = Facts {
        taken: taken([2019, 6, 1, 9, 0, 30], None, Some(-210)),
        make: Some("Apple".into()),
        place: Some(Place { latitude: 48.1374, longitude: -11.5755, altitude: Some(519.5) }),
        content_id: Some("0F3A5C2E-LIVE".into()),
        ..plain.clone()
    };
    assert_eq!(told(&[ftyp(b"qt  "), boxed(b"mdat", &[&[7; 3000]]), moov(&[&tags])].concat()), known);
    let android = boxed(b"udta", &[&boxed(b"\xa9xyz", &[&[0, 18, 0x15, 0xc7], b"+48.1374+011.5755/"])]);
    let place = Some(Place { latitude: 48.1374, longitude: 11.5755, altitude: None });
    assert_eq!(told(&[ftyp(b"mp42"), moov(&[&android])].concat()), Facts { place, ..plain });
}

#[test]
fn dates_that_do_not_exist_are_left_out() {
    let date = |text: &str| told(&[TIFF, &directory(8, &[(0x0132, Value::Text(text))], 0)].concat()).taken;
    assert_eq!(date("2024:02:29 23:59:59"), taken([2024, 2, 29, 23, 59, 59], None, None));
    assert_eq!(date("1900:02:28 00:00:00"), taken([1900, 2, 28, 0, 0, 0], None, None));
    for text in [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "1900:02:29 00:00:00",
        "2023:04:31 00:00:00",
        "2023:13:01 00:00:00",
        "2023:01:01 24:00:00",
        "2023:01:01 10:00",
        "+123:01:01 10:00:00",
    ] {
        assert_eq!(date(text), None, "{text}");
    }
}

#[test]
fn texts_are_made_safe() {
    let make = |bytes: &[u8]| {
        let file = [TIFF, &directory(8, &[(0x010f, Value::Bytes(bytes))], 0)].concat();
        facts(&file.as_slice(), Format::Tiff).and_then(|facts| facts.make)
    };
    assert_eq!(make(b"  \x1b[31mNIKON\x07\r\n  \0rest").as_deref(), Some("[31mNIKON"));
    assert_eq!(make(b"Caf\xe9 Camera").as_deref(), Some("Caf\u{fffd} Camera"));
    assert_eq!(make(b"      \0\0\0"), None);
    let long = make("\u{e4}".repeat(400).as_bytes()).unwrap();
    assert_eq!(long, "\u{e4}".repeat(128));
}

#[test]
fn places_that_do_not_exist_are_left_out() {
    let place = |degrees: (u32, u32)| {
        let gps = [(2, Value::Fractions(&[degrees, (0, 1), (0, 1)])), (4, Value::Fractions(&[(0, 1); 3]))];
        let first = |at| directory(8, &[(0x8825, Value::Long(at))], 0);
        let at = 8 + first(0).len() as u32;
        told(&[TIFF, &first(at), &directory(at, &gps, 0)].concat()).place
    };
    assert_eq!(place((51, 1)), Some(Place { latitude: 51.0, longitude: 0.0, altitude: None }));
    for degrees in [(91, 1), (51, 0), (0, 1)] {
        assert_eq!(place(degrees), None, "{degrees:?}");
    }
}
